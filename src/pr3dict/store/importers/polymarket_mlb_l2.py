"""Polymarket baseball moneyline recordings: one gzip CSV a game, one row a price level, both tokens mixed.

`book` rows of one token, hash and timestamp are a snapshot, `price_change` rows new resting sizes. The token
that appears first is YES; the other one mirrors it and only checks it. The venue sends a `book` after a
trade, so what a snapshot takes from the touch is an inferred trade. What each rule rests on is told in
docs/tapes.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import PriceGrid, polymarket_grid
from pr3dict.domain.units import NS_PER_HOUR, PRICE_SCALE, QTY_SCALE, parse_price, parse_quantity
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings
from pr3dict.store.importers.common import (
    EventRow,
    ImportedTape,
    Importer,
    MarketReport,
    Remembered,
    counted,
    each_once,
    event_row,
    events_of,
    files_at,
    read_gzip,
    snapshot_rows,
)
from pr3dict.store.importers.polymarket_common import MIN_SIZE, MS_NS, Ticks
from pr3dict.store.tape import TapeFee, TapeMeta

NAME: Final = "polymarket-mlb-l2"
NEEDED: Final = ("market_slug", "asset_id", "event_type", "price", "side", "size", "hash", "timestamp")
SIDES: Final = {"bid": d.BID, "BUY": d.BID, "ask": d.ASK, "SELL": d.ASK}
OUTAGE_NS: Final = 60_000 * MS_NS  # a longer silence is a recorder outage
MOST_OTHER_CHANGES: Final = (
    3  # a snapshot that differs in more levels than this besides its trade is no trade's
)
DECIDED: Final = PRICE_SCALE * 95 // 100  # a final price at or beyond this is the practical end of the game
FEE: Final = TapeFee(
    kind="none",
    source="Polymarket charged no fee on sports markets in June 2025; its category fees began on 2026-03-30.",
)
TIMES_SOURCE: Final = (
    "expected_resolution_ns is estimated with hindsight, since the recording does not tell it: the last "
    "event where the final price is at least 0.95 or at most 0.05, one hour after the last event elsewhere."
)

Level = tuple[int, int, int]  # side, price, size in YES terms


class _Message(NamedTuple):
    """One `book` or one run of `price_change` rows of a token at one instant, in YES terms."""

    now_ns: int
    is_yes: bool
    is_book: bool
    levels: list[Level]


class _Recording(NamedTuple):
    slug: str
    tokens: list[str]
    rows: int
    messages: list[_Message]
    defects: list[str]
    outages: int


def find(paths: Sequence[Path]) -> list[Path]:
    """The CSV files at `paths`: files, folders of them, or sets with an `events` folder, each once."""
    return each_once(paths, _files, f"no {NAME} recording here: expected *.csv.gz")


def _files(path: Path) -> list[Path]:
    inner = path / "events" if (path / "events").is_dir() else path
    return files_at(inner, "*.csv.gz", strict=True)


def read(path: Path) -> list[ImportedTape]:
    """The one tape of a game.

    Raises:
        DataError: names file and row (the header is row 1) of what is not as the format promises.
    """
    return [_tape(path, _read_recording(path))]


IMPORTER: Final = Importer(NAME, "Polymarket baseball order books, one CSV a game", find, read)


# --- reading --------------------------------------------------------------------------------------


class _Row(NamedTuple):
    slug: str
    token: str
    is_book: bool
    key: tuple[str, ...]  # equal in the rows of one message
    now_ns: int
    level: Level  # as the token's own book has it


def _read_rows(path: Path, malformed: list[int]) -> Iterator[_Row]:
    """The rows of a file; numbers of rows with another number of columns go to `malformed`."""
    price_of, size_of = Remembered(parse_price), Remembered(parse_quantity)
    row = 0
    try:
        lines = csv.reader(io.StringIO(read_gzip(path).decode()), strict=True)
        header = next(lines, [])
        for name in NEEDED:
            if name not in header:
                raise DataError(f"the column {name!r} is missing")  # noqa: TRY301 - gets its place below
        slug, token, kind, price, side, size, digest, timestamp = (header.index(name) for name in NEEDED)
        for row, cells in enumerate(lines, 2):
            if len(cells) != len(header):
                malformed.append(row)
                continue
            yield _Row(
                cells[slug],
                cells[token],
                _is_book(cells[kind]),
                (cells[token], cells[kind], cells[digest], cells[timestamp]),
                _time_ns(cells[timestamp]),
                (_side(cells[side]), _inside(price_of[cells[price]], cells[price]), size_of[cells[size]]),
            )
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"not a CSV text ({error})", file=path, row=row + 1) from error
    except DataError as error:
        raise error.at(file=path, row=row or None) from None


def _is_book(kind: str) -> bool:
    if kind not in ("book", "price_change"):
        raise DataError(f"unknown event type {kind!r}", key="event_type")
    return kind == "book"


def _side(text: str) -> int:
    side = SIDES.get(text)
    if side is None:
        raise DataError(f"side {text!r} is none of {', '.join(SIDES)}", key="side")
    return side


def _inside(price: int, text: str) -> int:
    if not 0 < price < PRICE_SCALE:
        raise DataError(f"a level at {text} is outside the book", key="price")
    return price


def _time_ns(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == len("1750212212579")):
        raise DataError(f"{text!r} is not a time in ms since 1970", key="timestamp")
    return int(text) * MS_NS


def _read_recording(path: Path) -> _Recording:
    malformed: list[int] = []
    tokens: list[str] = []
    messages: list[_Message] = []
    slug = ""
    last_key: tuple[str, ...] = ()
    rows = backwards = outages = 0
    longest_ns = now_ns = 0
    for row in _read_rows(path, malformed):
        rows += 1
        slug = slug or row.slug
        if row.slug != slug:
            raise DataError(f"holds two markets, {slug} and {row.slug}; one file is one game", file=path)
        if row.token not in tokens:
            tokens.append(row.token)
        is_yes = row.token == tokens[0]
        side, price, size = row.level
        level = row.level if is_yes else (d.ASK - side, PRICE_SCALE - price, size)
        if row.key == last_key:
            messages[-1].levels.append(level)
            continue
        last_key = row.key
        backwards += row.now_ns < now_ns
        if now_ns and row.now_ns - now_ns > OUTAGE_NS:
            outages += 1
            longest_ns = max(longest_ns, row.now_ns - now_ns)
        now_ns = max(now_ns, row.now_ns)
        messages.append(_Message(now_ns, is_yes, row.is_book, [level]))
    if not messages:
        raise DataError("holds no rows", file=path)
    if len(tokens) > 2:
        raise DataError(f"holds {len(tokens)} tokens; a game's market has two", file=path)
    defects = []
    if malformed:
        defects.append(f"{counted(len(malformed), 'malformed row')} left out (first: row {malformed[0]})")
    if backwards:
        defects.append(f"{counted(backwards, 'message')} with a time before the one above, moved up to it")
    if outages:
        longest_s = longest_ns // (1000 * MS_NS)
        defects.append(
            f"{counted(outages, 'silence')} of more than 60 s (longest {longest_s:,} s): recorder outages"
        )
    return _Recording(slug, tokens, rows, messages, defects, outages)


# --- the tape -------------------------------------------------------------------------------------


class Sides(NamedTuple):
    """A book as price to size a side."""

    bids: dict[int, int]
    asks: dict[int, int]

    @classmethod
    def of(cls, levels: Sequence[Level]) -> Sides:
        """The book that a snapshot's levels make; levels without size are none."""
        book = cls({}, {})
        for side, price, size in levels:
            if size:
                book[side][price] = size
        return book

    def changed(self, other: Sides) -> int:
        """How many levels differ."""
        return sum(
            self[side].get(p) != other[side].get(p) for side in (0, 1) for p in {*self[side], *other[side]}
        )


def swept(before: Sides, after: Sides, side: int) -> list[tuple[int, int]]:
    """What a taker must have taken from `side`, best price first: levels that vanished, one that shrank."""
    taken = []
    for price in sorted(before[side], reverse=side == d.BID):
        left = after[side].get(price, 0)
        if left >= before[side][price]:
            break
        taken.append((price, before[side][price] - left))
        if left:
            break
    return taken


def implied_trade(before: Sides, after: Sides) -> tuple[int, list[tuple[int, int]]] | None:
    """(side that was taken from, prices and sizes) of the trade that a snapshot follows; None where unclear.

    Unclear: the touch shrank on neither or on both sides, or too many other levels changed as well.
    """
    takings = [swept(before, after, side) for side in (d.BID, d.ASK)]
    sides = [side for side in (d.BID, d.ASK) if takings[side]]
    if len(sides) != 1:
        return None
    taken = takings[sides[0]]
    if before.changed(after) - len(taken) > MOST_OTHER_CHANGES:
        return None
    return sides[0], taken


class _Builder:
    """Replays a recording once and collects the rows of its tape with the checks made on the way."""

    def __init__(self) -> None:
        self.rows: list[EventRow] = []
        self.book: Sides | None = None  # None before the first snapshot
        self.ticks = Ticks()
        self.snapshots = self.deltas = self.trades = 0
        self.checked = self.equal = self.identical = 0
        self.mirror_checked = self.mirror_equal = self.unclear = self.early = 0
        self._mirrors: list[Sides] = []
        self._now_ns = 0

    def take(self, message: _Message) -> None:
        """Apply one message."""
        if message.now_ns != self._now_ns:
            self.end_instant()
        quiet_ns = message.now_ns - self._now_ns
        self._now_ns = message.now_ns
        self._note_tick(message)
        if not message.is_yes:
            if message.is_book:
                self._mirrors.append(Sides.of(message.levels))
        elif message.is_book:
            self._snapshot(message, trade_may_show=quiet_ns <= OUTAGE_NS)
        else:
            self._changes(message)

    def end_instant(self) -> None:
        """Check the other token's snapshots of the instant that ends against the book."""
        for mirror in self._mirrors:
            if self.book is not None:
                self.mirror_checked += 1
                self.mirror_equal += self.book == mirror
        self._mirrors.clear()

    def _note_tick(self, message: _Message) -> None:
        """The venue announces no tick here: a finer price than any before shows that it changed."""
        if self.ticks.finer(price for _, price, _ in message.levels):
            self.rows.append(event_row(message.now_ns, message.now_ns, d.TICK, aux=len(self.ticks.seen) - 1))

    def _snapshot(self, message: _Message, *, trade_may_show: bool) -> None:
        self.snapshots += 1
        now_ns = message.now_ns
        after = Sides.of(message.levels)
        if self.book is not None:
            self.checked += 1
            changed = self.book.changed(after)
            trade = implied_trade(self.book, after) if changed and trade_may_show else None
            self.identical += not changed
            self.equal += changed == (len(trade[1]) if trade else 0)
            self.unclear += bool(changed) and trade is None
            side, taken = trade or (0, [])
            self.trades += len(taken)
            for price, size in taken:
                self.rows.append(
                    event_row(
                        now_ns, now_ns, d.TRADE, side=d.ASK - side, price=price, qty=size, bits=d.INFERRED
                    )
                )
        self.book = after
        levels = [(side, price, size) for side in (d.BID, d.ASK) for price, size in after[side].items()]
        self.rows += snapshot_rows(now_ns, now_ns, levels)

    def _changes(self, message: _Message) -> None:
        self.deltas += len(message.levels)
        if self.book is None:
            self.early += len(message.levels)
            return
        for side, price, size in message.levels:
            if size:
                self.book[side][price] = size
            else:
                self.book[side].pop(price, None)
            self.rows.append(
                event_row(message.now_ns, message.now_ns, d.LEVEL, side=side, price=price, qty=size)
            )


def _tape(path: Path, recording: _Recording) -> ImportedTape:
    builder = _Builder()
    for message in recording.messages:
        builder.take(message)
    builder.end_instant()
    if builder.book is None:
        raise DataError("holds no `book` row of its first token, so its order book is unknown", file=path)
    defects = list(recording.defects)
    if builder.early:
        defects.append(f"{counted(builder.early, 'level change')} before the first snapshot, left out")
    first_ns = builder.rows[0][0]
    rows = [event_row(first_ns, first_ns, d.STATUS, aux=d.ACTIVE), *builder.rows]
    events, crossed, _ = recordings.uncross(events_of(rows))
    if crossed:
        defects.append(f"{counted(crossed, 'instant')} with a crossed book; the older level was removed")
    if builder.unclear:
        unclear = counted(builder.unclear, "snapshot")
        defects.append(f"{unclear} that no single trade explains; no trade was inferred there")
    if builder.mirror_equal != builder.mirror_checked:
        unlike = counted(builder.mirror_checked - builder.mirror_equal, "snapshot")
        defects.append(f"{unlike} of the other token that the replayed book does not mirror")
    report = MarketReport(
        session=path.name.removesuffix(".csv.gz"),
        market=recording.slug,
        events=len(events),
        snapshots=builder.snapshots,
        rows=recording.rows,
        deltas=builder.deltas,
        trades=builder.trades,
        trades_inferred=builder.trades,
        volume=None,
        volume_explained=None,
        settled=False,
        snapshots_checked=builder.checked,
        snapshots_equal=builder.equal,
        defects=tuple(defects),
        details={
            "rows": recording.rows,
            "yes_token": recording.tokens[0],
            "snapshots_identical": builder.identical,
            "mirror_checked": builder.mirror_checked,
            "mirror_equal": builder.mirror_equal,
            "tick_changes": len(builder.ticks.seen) - 1,
            "outages": recording.outages,
        },
    )
    return ImportedTape(events, _meta(recording, builder, report), report)


def _resolution_ns(book: Sides, last_ns: int) -> int:
    bid = max(book.bids, default=None)
    ask = min(book.asks, default=None)
    low = bid if bid is not None else ask
    high = ask if ask is not None else bid
    decided = (
        low is None or high is None or low + high >= 2 * DECIDED or low + high <= 2 * (PRICE_SCALE - DECIDED)
    )
    return last_ns if decided else last_ns + NS_PER_HOUR


def _meta(recording: _Recording, builder: _Builder, report: MarketReport) -> TapeMeta:
    assert builder.book is not None
    grids: tuple[PriceGrid, ...] = tuple(polymarket_grid(tick) for tick in builder.ticks.seen)
    return TapeMeta(
        venue="polymarket",
        ticker=recording.slug,
        event_id=recording.slug,
        title=f"{recording.slug}: the token that the recording shows first wins",
        session=report.session,
        source_format=NAME,
        contract_id=recording.tokens[0],
        grids=grids,
        min_size=MIN_SIZE,
        lot=QTY_SCALE,
        fee=FEE,
        nets_positions=False,
        reduce_in_place=False,
        expected_resolution_ns=_resolution_ns(builder.book, recording.messages[-1].now_ns),
        times_source=TIMES_SOURCE,
        has_trades="inferred",
        quality={
            "deltas": report.deltas,
            "snapshots": report.snapshots,
            "snapshots_checked": report.snapshots_checked,
            "snapshots_equal": report.snapshots_equal,
            "defects": len(report.defects),
            **report.details,
        },
    )
