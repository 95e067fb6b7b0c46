"""Polymarket bitcoin up/down windows of 15 minutes: five levels a side once a second, one Parquet a window.

Each second is stored up to 15 times; exact copies are dropped. YES is the Up token, the Down token's book
checks it. A book that changed is a snapshot; a changed last trade is a recorded trade before it, of which a
second keeps the last of each token. The Chainlink price of each second becomes a reference series. What each
rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings
from pr3dict.store.importers.common import (
    EventRow,
    Imported,
    ImportedSeries,
    ImportedTape,
    Importer,
    MarketReport,
    counted,
    each_once,
    event_row,
    events_of,
    files_at,
    snapshot_rows,
)
from pr3dict.store.importers.polymarket_common import (
    MIN_SIZE,
    MS_NS,
    Ticks,
    exact_units,
    read_columns,
    whole_numbers,
    words,
)
from pr3dict.store.series import REFERENCE_SCALE, SCHEMAS, SeriesMeta
from pr3dict.store.tape import TapeFee, TapeMeta

NAME: Final = "polymarket-btc15m-book5"
PATTERN: Final = "btc-updown-15m-*.parquet"
RANKS: Final = range(1, 6)
UP: Final = "up"
DOWN: Final = "down"
TOKENS: Final = (UP, DOWN)
BOOK_SIDES: Final = {"bid": d.BID, "ask": d.ASK}
TAKERS: Final = {"BUY": d.BID, "SELL": d.ASK}
OUTAGE_NS: Final = 60 * NS_PER_SECOND
SETTLE_DELAY_NS: Final = NS_PER_SECOND
DECIDED: Final = PRICE_SCALE * 95 // 100
LATE_START_NS: Final = 60 * NS_PER_SECOND
FEE: Final = TapeFee(
    kind="polymarket",
    taker_ppm=62_500,
    rebate_ppm=100_000,
    source=(
        "Polymarket's schedule for short crypto markets in February 2026 was 0.25 (p (1 - p))^2 a contract, "
        "with a fifth of it back to the maker. Tapes hold p (1 - p) only: the taker's 0.0625 p (1 - p) is "
        "equal at 0.50 and dearer elsewhere; the rebate is a tenth of that, never too much between 0.15 and "
        "0.85 and at most $0.0002 a contract beyond."
    ),
)
COALESCED: Final = (
    "polled once a second: of the trades of a second only the last of each token is kept, so volume is a "
    "lower bound, and five levels a side are all that is known"
)
TIMES_SOURCE: Final = (
    "open_ns and close_ns are the window of the recording; the market resolves on its end, "
    "so expected_resolution_ns is the close."
)


def find(paths: Sequence[Path]) -> list[Path]:
    """The windows at `paths`: files or folders of them, each once."""
    missing = f"no {NAME} recording here: expected {PATTERN}"
    return each_once(paths, lambda path: files_at(path, PATTERN, strict=True), missing)


def read(path: Path) -> Iterator[Imported]:
    """The tape of a window and the series of its Chainlink prices.

    Raises:
        DataError: names file and row (from 1) of what is not as the format promises.
    """
    window = _read_window(path)
    yield _tape(path, window, _read_outcome(path))
    if window.prices:
        yield _price_series(window)


IMPORTER: Final = Importer(NAME, "Polymarket bitcoin windows, five levels a second", find, read)


# --- reading --------------------------------------------------------------------------------------


Levels = tuple[tuple[int, int, int], ...]  # side, price, size in YES terms, best first, bids before asks
LastTrade = tuple[int, int, int]  # taker's side, price, size in YES terms


class _Second(NamedTuple):
    now_ms: int
    up: Levels
    down: Levels  # the Down token's book, mirrored
    trades: tuple[LastTrade | None, LastTrade | None]  # last of each token


class _Window(NamedTuple):
    slug: str
    yes: str
    start_ns: int
    end_ns: int
    rows: int
    copies: int
    seconds: list[_Second]
    prices: list[tuple[int, int]]  # ms, Chainlink price
    first_price: str  # the first Chainlink price that the recorder saw, as its text
    backwards: int


def _read_window(path: Path) -> _Window:
    names = [
        f"{s}_{what}_{t}_{i}" for t in TOKENS for s in BOOK_SIDES for what in ("px", "sz") for i in RANKS
    ]
    trade_names = [f"last_trade_{what}_{t}" for t in TOKENS for what in ("px", "sz", "side")]
    facts = ("market_slug", "token_id_up", "window_start_ms", "window_end_ms")
    table = read_columns(path, ("ts_ms", *facts, "chainlink_btc", "window_start_price", *names, *trade_names))
    slug, yes = (_single(words(table, name, path), name, path) for name in facts[:2])
    start_ms, end_ms = (_single(whole_numbers(table, name, path).tolist(), name, path) for name in facts[2:])
    if not 0 < start_ms < end_ms:
        raise DataError("the window ends before it starts", file=path, key="window_end_ms")
    times = whole_numbers(table, "ts_ms", path).tolist()
    if min(times) <= 0:
        raise DataError("a time before 1970", file=path, row=times.index(min(times)) + 1, key="ts_ms")
    lines = list(
        zip(times, *(_books(table, token, path) for token in TOKENS), _trades(table, path), strict=True)
    )
    seen: dict[int, int] = {}  # the first row of each time
    for row, now_ms in enumerate(times):
        first = seen.setdefault(now_ms, row)
        if lines[first] != lines[row]:
            sentence = f"two different rows of the time {now_ms}; rows of one time must be copies"
            raise DataError(sentence, file=path, row=row + 1)
    kept = sorted(seen.values(), key=lambda row: times[row])
    backwards = sum(b < a for a, b in pairwise(seen))
    coins = exact_units(table, "chainlink_btc", REFERENCE_SCALE, path, empty=True, rounded=True)
    starts = [p for p in table.column("window_start_price").to_pylist() if p is not None]
    return _Window(
        slug=slug,
        yes=yes,
        start_ns=start_ms * MS_NS,
        end_ns=end_ms * MS_NS,
        rows=len(times),
        copies=len(times) - len(kept),
        seconds=[_Second(*lines[row]) for row in kept],
        prices=[(times[row], int(coins.values[row])) for row in kept if coins.known[row]],
        first_price=str(starts[0]) if starts else "",
        backwards=backwards,
    )


T = TypeVar("T", int, str)


def _single(values: Sequence[T], name: str, path: Path) -> T:
    for row, value in enumerate(values, 1):
        if value != values[0]:
            raise DataError(f"{value} beside {values[0]}; a file is one window", file=path, row=row, key=name)
    return values[0]


def _books(table: pa.Table, token: str, path: Path) -> list[Levels]:
    """The token's levels of every row; those of Down in terms of Up."""
    levels: list[list[tuple[int, int, int]]] = [[] for _ in range(table.num_rows)]
    sides = BOOK_SIDES if token == UP else dict(reversed(BOOK_SIDES.items()))  # bids of YES first
    for name, side in sides.items():
        for rank in RANKS:
            price = exact_units(table, f"{name}_px_{token}_{rank}", PRICE_SCALE, path, empty=True)
            size = exact_units(table, f"{name}_sz_{token}_{rank}", QTY_SCALE, path, empty=True)
            columns = (price.values.tolist(), size.values.tolist(), price.known.tolist(), size.known.tolist())
            for row, (at, of, has_price, has_size) in enumerate(zip(*columns, strict=True)):
                if has_price != has_size or (has_price and not (0 < at < PRICE_SCALE and of)):
                    sentence = f"level {rank} of {name}s has price {at} and size {of}, or lacks one of them"
                    raise DataError(sentence, file=path, row=row + 1, key=f"{name}_px_{token}_{rank}")
                if not has_price:
                    continue
                level = (side, at, of) if token == UP else (d.ASK - side, PRICE_SCALE - at, of)
                above = levels[row][-1] if levels[row] else None
                if above and above[0] == level[0] and (above[1] > level[1]) != (level[0] == d.BID):
                    sentence = f"the {name} levels are not in order, best first"
                    raise DataError(sentence, file=path, row=row + 1, key=f"{name}_px_{token}_{rank}")
                levels[row].append(level)
    return [tuple(row) for row in levels]


def _trades(table: pa.Table, path: Path) -> list[tuple[LastTrade | None, LastTrade | None]]:
    found: list[list[LastTrade | None]] = []
    for token in TOKENS:
        key = f"last_trade_px_{token}"
        price = exact_units(table, key, PRICE_SCALE, path, empty=True)
        size = exact_units(table, f"last_trade_sz_{token}", QTY_SCALE, path, empty=True)
        sides = words(table, f"last_trade_side_{token}", path, empty=True)
        last: list[LastTrade | None] = []
        columns = (
            price.values.tolist(),
            size.values.tolist(),
            sides,
            price.known.tolist(),
            size.known.tolist(),
        )
        for row, (at, of, side, has_price, has_size) in enumerate(zip(*columns, strict=True)):
            if not has_price and not has_size and not side:
                last.append(None)
            elif not (has_price and has_size and 0 < at < PRICE_SCALE and of and side in TAKERS):
                sentence = f"the last trade has price {at}, size {of} and side {side!r}"
                raise DataError(sentence, file=path, row=row + 1, key=key)
            elif token == UP:
                last.append((TAKERS[side], at, of))
            else:
                last.append((d.ASK - TAKERS[side], PRICE_SCALE - at, of))
        found.append(last)
    return list(zip(*found, strict=True))


class _Outcome(NamedTuple):
    outcome: Literal["yes", "no"] | None
    by_book: Literal["yes", "no"] | None


def _read_outcome(path: Path) -> _Outcome:
    """What windows.csv beside the file says of its outcome; nothing where there is no such file."""
    facts = path.parent / "windows.csv"
    if not facts.is_file():
        return _Outcome(None, None)
    try:
        for line, row in enumerate(csv.DictReader(io.StringIO(facts.read_text("utf-8")), strict=True), 2):
            if row.get("file") == path.name:
                return _Outcome(
                    *(_up_or_down(row.get(key), facts, line) for key in ("outcome", "outcome_by_final_book"))
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a CSV text ({error})", file=facts) from error
    return _Outcome(None, None)


def _up_or_down(text: str | None, path: Path, line: int) -> Literal["yes", "no"] | None:
    if text not in (None, "", "up", "down"):
        raise DataError(f"outcome {text!r} is neither up nor down", file=path, row=line)
    return {"up": "yes", "down": "no"}.get(text or "")  # type: ignore[return-value]


# --- the tape -------------------------------------------------------------------------------------


class _Builder:
    """Collects the rows of a tape second by second, with the checks made on the way."""

    def __init__(self) -> None:
        self.rows: list[EventRow] = []
        self.ticks = Ticks()
        self.figures: Counter[str] = Counter()
        self._before: _Second | None = None

    def take(self, second: _Second) -> None:
        """Apply one second: its trades, then its book where that changed."""
        now_ns = second.now_ms * MS_NS
        before = self._before
        self._before = second
        self.figures["mirror_checked"] += 1
        self.figures["mirror_equal"] += second.up == second.down
        if before is not None:
            self._trade(now_ns, before, second)
            if now_ns - before.now_ms * MS_NS > OUTAGE_NS:
                self.figures["outages"] += 1
        if before is None or before.up != second.up:
            self.figures["book_changes"] += 1
            if self.ticks.finer(price for _, price, _ in second.up):
                self.rows.append(event_row(now_ns, now_ns, d.TICK, aux=len(self.ticks.seen) - 1))
            self.rows += snapshot_rows(now_ns, now_ns, second.up)

    def _trade(self, now_ns: int, before: _Second, second: _Second) -> None:
        new = [now for was, now in zip(before.trades, second.trades, strict=True) if now and now != was]
        self.figures["last_trade_changes"] += len(new)
        if len(new) == 2 and new[0] == new[1]:  # perhaps one trade that both tokens tell
            self.figures["trades_told_twice"] += 1
            del new[1]
        for side, price, size in new:
            self.rows.append(event_row(now_ns, now_ns, d.TRADE, side=side, price=price, qty=size))


def _book_outcome(levels: Levels) -> Literal["yes", "no"] | None:
    """Up or down where the last book leaves no doubt."""
    if any(side == d.BID and price >= DECIDED for side, price, _ in levels):
        return "yes"
    if any(side == d.ASK and price <= PRICE_SCALE - DECIDED for side, price, _ in levels):
        return "no"
    return None


def _tape(path: Path, window: _Window, told: _Outcome) -> ImportedTape:
    builder = _Builder()
    first_trades = sum(trade is not None for trade in window.seconds[0].trades)
    inside = [second for second in window.seconds if second.now_ms * MS_NS < window.end_ns]
    if not inside:
        raise DataError("holds no row before the window's end", file=path)
    for second in inside:
        builder.take(second)
    after = len(window.seconds) - len(inside)
    final = _book_outcome(window.seconds[-1].up) if after else None
    outcome = final or told.outcome
    by_book = "the last book of the recording" if final else ""
    source = by_book or ("the Chainlink prices of the recording (windows.csv)" if outcome else "")
    rows = _framed(builder.rows, window, outcome if after else None, seen_close=after > 0)
    events, crossed, _ = recordings.uncross(events_of(rows))
    figures = builder.figures
    defects = _defects(window, builder, crossed)
    if final and told.outcome not in (None, final):
        defects.append(
            "the Chainlink prices (windows.csv) say the other outcome than the last book; the book is trusted"
        )
    if final and told.by_book not in (None, final):
        defects.append("windows.csv reads the last book otherwise; the book in the recording is trusted")
    if not after:
        defects.append("the recording stops before the window's end: no settlement on the tape")
    report = MarketReport(
        session=_session(window),
        market=window.slug,
        events=len(events),
        rows=window.rows,
        snapshots=figures["book_changes"],
        trades=sum(row[6] == d.TRADE for row in builder.rows),
        settled=bool(after and outcome),
        defects=tuple(defects),
        details={
            "copies": window.copies,
            "seconds": len(window.seconds),
            "seconds_after_close": after,
            "through_close": after > 0,
            "book_changes_in_all": _changes(window),
            "last_trade_changes_in_all": _trade_changes(window) + first_trades,
            **{
                key: figures[key]
                for key in ("mirror_checked", "mirror_equal", "trades_told_twice", "outages")
            },
            "tick_changes": len(builder.ticks.seen) - 1,
        },
    )
    return ImportedTape(events, _meta(window, builder, report, outcome, source), report)


def _changes(window: _Window) -> int:
    """Seconds with another book than the one before, the first included."""
    books = [second.up for second in window.seconds]
    return 1 + sum(a != b for a, b in pairwise(books))


def _trade_changes(window: _Window) -> int:
    pairs = pairwise(window.seconds)
    return sum(a.trades[k] != b.trades[k] for a, b in pairs for k in (0, 1))


def _defects(window: _Window, builder: _Builder, crossed: int) -> list[str]:
    figures = builder.figures
    unlike = figures["mirror_checked"] - figures["mirror_equal"]
    twice = figures["trades_told_twice"]
    late_ns = window.seconds[0].now_ms * MS_NS - window.start_ns
    cases = [
        (window.copies, f"{counted(window.copies, 'exact copy', 'exact copies')} of rows left out"),
        (True, COALESCED),
        (late_ns > 0, f"the recording starts {late_ns // NS_PER_SECOND} s after the window's start"),
        (
            unlike,
            f"{counted(unlike, 'second')} in which the Down token's book does not mirror the Up token's",
        ),
        (twice, f"{counted(twice, 'second')} with the same trade on both tokens, taken as one"),
        (
            window.backwards,
            f"{counted(window.backwards, 'row')} with a time before the one above, sorted",
        ),
        (
            figures["outages"],
            f"{counted(figures['outages'], 'silence')} of more than 60 s: recorder outages",
        ),
        (crossed, f"{counted(crossed, 'instant')} with a crossed book; the older level was removed"),
    ]
    return [sentence for holds, sentence in cases if holds]


def _framed(
    rows: Sequence[EventRow], window: _Window, outcome: Literal["yes", "no"] | None, *, seen_close: bool
) -> list[EventRow]:
    """The market's life around its book: active at the start, closed and settled where that was seen."""
    first_ns, end_ns = rows[0][0], window.end_ns
    framed = [event_row(first_ns, first_ns, d.STATUS, aux=d.ACTIVE), *rows]
    if seen_close:
        framed.append(event_row(end_ns, end_ns, d.STATUS, aux=d.CLOSED))
        if outcome is not None:
            at_ns = end_ns + SETTLE_DELAY_NS
            value = MONEY_SCALE if outcome == "yes" else 0
            framed.append(event_row(at_ns, at_ns, d.SETTLE, qty=value))
    return framed


def _session(window: _Window) -> str:
    return f"{datetime.fromtimestamp(window.start_ns // NS_PER_SECOND, UTC):%Y%m%d-%H%M}"


def _meta(
    window: _Window,
    builder: _Builder,
    report: MarketReport,
    outcome: Literal["yes", "no"] | None,
    outcome_source: str,
) -> TapeMeta:
    start, end = (
        f"{datetime.fromtimestamp(ns // NS_PER_SECOND, UTC):%Y-%m-%d %H:%M}"
        for ns in (window.start_ns, window.end_ns)
    )
    return TapeMeta(
        venue="polymarket",
        ticker=window.slug,
        event_id=window.slug,
        title=f"Bitcoin up from {start} to {end} UTC?",
        session=report.session,
        source_format=NAME,
        contract_id=window.yes,
        grids=tuple(polymarket_grid(tick) for tick in builder.ticks.seen),
        min_size=MIN_SIZE,
        lot=QTY_SCALE,
        fee=FEE,
        nets_positions=False,
        reduce_in_place=False,
        open_ns=window.start_ns,
        close_ns=window.end_ns,
        expected_resolution_ns=window.end_ns,
        times_source=TIMES_SOURCE,
        strike=None,  # the recorder's start price is the first that it saw, some seconds after the start
        outcome=outcome,
        outcome_source=outcome_source,
        has_trades="recorded",
        quality={
            "snapshots": report.snapshots,
            "trades": report.trades,
            "trades_coalesced": True,
            "first_chainlink_price_seen": window.first_price,
            "defects": len(report.defects),
            **report.details,
        },
    )


def _price_series(window: _Window) -> ImportedSeries:
    times = [now_ms * MS_NS for now_ms, _ in window.prices]
    values = [value for _, value in window.prices]
    table = pa.table([times, times, values], schema=SCHEMAS["reference"])
    report = MarketReport(
        session=_session(window),
        market=f"{window.slug}-chainlink",
        kind="reference",
        events=len(times),
        rows=0,  # the same rows as the tape's
        details={"price_changes": sum(a != b for a, b in pairwise(values))},
    )
    meta = SeriesMeta(
        kind="reference",
        venue="chainlink",
        name="chainlink-btc",
        title="Chainlink BTC/USD as polled once a second; the time is the poll's",
        session=report.session,
        source_format=NAME,
        unit="USD per BTC",
        quality=report.details,
    )
    return ImportedSeries(table, meta, report)
