"""Polymarket recording of a hockey game: Parquet of level changes and prints of all tokens, and a score feed.

Two tokens whose changes mirror each other row by row are one market; the one that appears first is YES. There
is no snapshot, so levels are learned from their changes, and the best bid and ask that each change states
tell which learned level is stale and when the touch is known: there the tape begins. Prints come some 20 ms
after the change that they caused and are moved before it. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import polymarket_schedule
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE, QTY_SCALE
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
from pr3dict.store.importers.polymarket_common import MIN_SIZE, MS_NS, Ticks, fee_of
from pr3dict.store.importers.polymarket_nhl_game import (
    Change,
    Market,
    Print,
    Scores,
    markets,
    read_recording,
    read_scores,
)
from pr3dict.store.series import REFERENCE_SCALE, SCHEMAS, SeriesMeta
from pr3dict.store.tape import TapeMeta

NAME: Final = "polymarket-nhl-l2"
PRINT_LAG_MS: Final = 20  # the usual time from a level change to the print that caused it
MOST_LAG_MS: Final = 150
ROUNDING: Final = QTY_SCALE // 100  # levels are stated in 1/100 contract, prints in 1/1,000,000
WARM_UP_MS: Final = 600_000  # deltas alone are also judged on what follows this much of the recording
FEE_SOURCE: Final = (
    "Polymarket's sports schedule at the time of the recording: takers pay 0.03 p (1 - p) a contract, "
    "makers nothing, and a quarter of the taker's fee comes back to the maker."
)
TIMES_SOURCE: Final = (
    "expected_resolution_ns is the estimated end of the game, with hindsight of this recording's score feed: "
    "its last clock, the game clock left run down at the pace seen there, and 18 minutes for each break left."
)


def find(paths: Sequence[Path]) -> list[Path]:
    """The recordings at `paths`, each once: a folder is one recording in several files, a file one alone."""
    missing = f"no {NAME} recording here: expected polymarket_*.parquet"
    return each_once(paths, lambda path: [path] if _parts(path) else [], missing)


def _parts(path: Path) -> list[Path]:
    return files_at(path, "polymarket_*.parquet", strict=True)


def read(path: Path) -> Iterator[Imported]:
    """One tape a market, and a series a team with its score where a feed (espn_*.csv) stands beside.

    Raises:
        DataError: names file and row (from 1) of what is not as the format promises.
    """
    parts = _parts(path)
    session = parts[0].stem.removeprefix("polymarket_")
    scores = [read_scores(feed) for feed in sorted(parts[0].parent.glob("espn_*.csv"))]
    recording = read_recording(parts)
    game = scores[0] if len(scores) == 1 else None
    for market in markets(recording):
        yield _tape(session, market, game)
    for score in scores:
        yield from _score_series(session, score)


IMPORTER: Final = Importer(NAME, "Polymarket hockey order books and prints with a score feed", find, read)


# --- the book -------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """What a row took from a level; `row` is its place among the tape's rows (-1: before the tape)."""

    price: int
    size: int
    row: int


class _Builder:
    """Learns the book from its changes and collects the rows of its tape with the checks made on the way."""

    def __init__(self, start_ms: int) -> None:
        self.rows: list[EventRow] = []
        self.known: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.told: tuple[dict[int, int], dict[int, int]] = ({}, {})  # by changes alone, for comparison
        self.ticks = Ticks()
        self.taken: defaultdict[tuple[int, int], list[Taken]] = defaultdict(list)  # by side and ms
        self.figures: Counter[str] = Counter()
        self._start_ms = start_ms
        self._paused = False

    def take(self, message: Sequence[Change]) -> None:
        """Apply the changes of one message, all of one time and one stated touch."""
        now_ms, _, _, _, bid, ask = message[0]
        if self.rows and self.ticks.finer(change.price for change in message):
            self._row(now_ms, d.TICK, aux=len(self.ticks.seen) - 1)
        for change in message:
            self._change(change)
        self._compare_told(now_ms, bid, ask)
        self._remove_stale(now_ms, bid, ask)
        right = self._touch() == (bid, ask)
        if not self.rows:
            self.figures["changes_before_start"] += len(message)
            if right:
                self._begin(now_ms)
        if self.rows:
            self.figures["messages_checked"] += 1
            self.figures["messages_equal"] += right
            if right == self._paused:  # a touch whose size is not known is not quoted against
                self._paused = not right
                self._row(now_ms, d.STATUS, aux=d.ACTIVE if right else d.PAUSED, bits=d.SYNTHETIC)

    def _row(
        self,
        now_ms: int,
        kind: int,
        *,
        side: int = 0,
        price: int = 0,
        qty: int = 0,
        aux: int = 0,
        bits: int = 0,
    ) -> None:
        now_ns = now_ms * MS_NS
        self.rows.append(event_row(now_ns, now_ns, kind, side=side, price=price, qty=qty, aux=aux, bits=bits))

    def _change(self, change: Change) -> None:
        now_ms, side, price, size, _, _ = change
        old = self.known[side].get(price)
        if old is None and not size and self.rows:
            self.figures["unknown_levels_removed"] += 1
        if old is not None and size < old:
            self.taken[side, now_ms].append(Taken(price, old - size, self._place()))
        for book in (self.known, self.told):
            if size:
                book[side][price] = size
            else:
                book[side].pop(price, None)
        if self.rows:
            self._row(now_ms, d.LEVEL, side=side, price=price, qty=size)

    def _place(self) -> int:
        return len(self.rows) if self.rows else -1

    def _touch(self) -> tuple[int, int]:
        return max(self.known[d.BID], default=0), min(self.known[d.ASK], default=PRICE_SCALE)

    def _compare_told(self, now_ms: int, bid: int, ask: int) -> None:
        touch = max(self.told[d.BID], default=0), min(self.told[d.ASK], default=PRICE_SCALE)
        self.figures["messages"] += 1
        self.figures["messages_equal_untouched"] += touch == (bid, ask)
        if now_ms - self._start_ms > WARM_UP_MS:
            self.figures["messages_after_600_s"] += 1
            self.figures["messages_after_600_s_equal_untouched"] += touch == (bid, ask)

    def _remove_stale(self, now_ms: int, bid: int, ask: int) -> None:
        """Levels better than the stated touch are gone: the venue took them without a word."""
        stale = [(d.BID, p) for p in self.known[d.BID] if p > bid]
        stale += [(d.ASK, p) for p in self.known[d.ASK] if p < ask]
        for side, price in stale:
            size = self.known[side].pop(price)
            self.taken[side, now_ms].append(Taken(price, size, self._place()))
            self.figures["stale_levels_removed"] += 1
            if self.rows:
                self._row(now_ms, d.LEVEL, side=side, price=price, bits=d.SYNTHETIC)

    def _begin(self, now_ms: int) -> None:
        levels = [(side, p, q) for side in (d.BID, d.ASK) for p, q in self.known[side].items()]
        self.ticks.finer(price for _, price, _ in levels)
        self._row(now_ms, d.STATUS, aux=d.ACTIVE)
        now_ns = now_ms * MS_NS
        for row in snapshot_rows(now_ns, now_ns, levels):
            self.rows.append((*row[:-1], row[-1] | d.SYNTHETIC))


# --- prints ---------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    """A trade of the tape: before row `row`, at that row's time."""

    row: int
    trade: Print


Parts = list[Taken]


def _exact(trade: Print, free: Parts) -> Parts:
    """One level that lost the print's size at the print's price."""
    return next(([t] for t in free if t.price == trade.price and abs(t.size - trade.size) <= ROUNDING), [])


def _swept(trade: Print, free: Parts) -> Parts:
    """Levels from the best one on that together lost the print's size; its price is their average."""
    parts = sorted(free, key=lambda t: t.price, reverse=trade.side == d.ASK)
    total = 0
    for n, part in enumerate(parts, 1):
        total += part.size
        inside = min(parts[0].price, part.price) <= trade.price <= max(parts[0].price, part.price)
        if n > 1 and inside and abs(total - trade.size) <= n * ROUNDING:
            return parts[:n] if trade.size > total - part.size else []
    return []


def _larger(trade: Print, free: Parts) -> Parts:
    """One level that lost more than the print at its price: something was cancelled in the same instant."""
    return next(([t] for t in free if t.price == trade.price and t.size > trade.size), [])


MATCHES: Final[dict[str, Callable[[Print, Parts], Parts]]] = {
    "prints_matched_exactly": _exact,
    "prints_matched_as_sweep": _swept,
    "prints_matched_in_larger_change": _larger,
}


def match_prints(
    prints: Sequence[Print], taken: dict[tuple[int, int], list[Taken]]
) -> tuple[dict[int, Parts], Counter[str]]:
    """What each print (by its place) took, and how many were matched by which rule.

    The surest rule goes first over all prints; of several instants that fit, the one whose distance to the
    print is nearest to the usual wins. Nothing is taken twice.
    """
    left = {key: list(parts) for key, parts in taken.items()}
    times = {side: sorted(ms for at, ms in taken if at == side) for side in (d.BID, d.ASK)}
    matched: dict[int, Parts] = {}
    figures: Counter[str] = Counter(dict.fromkeys(MATCHES, 0))
    for rule, fits in MATCHES.items():
        for place, trade in enumerate(prints):
            if place in matched:
                continue
            side = d.ASK - trade.side  # of the book: the taker met the other side
            low = bisect_left(times[side], trade.now_ms - MOST_LAG_MS)
            near = times[side][low : bisect_right(times[side], trade.now_ms)]
            for now_ms in sorted(near, key=lambda ms: abs(trade.now_ms - ms - PRINT_LAG_MS)):
                parts = fits(trade, left[side, now_ms])
                if parts:
                    matched[place] = parts
                    figures[rule] += 1
                    for part in parts:
                        left[side, now_ms].remove(part)
                    break
    return matched, figures


def _placed(builder: _Builder, prints: Sequence[Print]) -> tuple[list[_Placed], Counter[str]]:
    """Every print of the tape as trades before the rows that they caused, the others at their own time."""
    matched, figures = match_prints(prints, builder.taken)
    times = [row[0] for row in builder.rows]
    placed: list[_Placed] = []
    for place, trade in enumerate(prints):
        parts = matched.get(place)
        if parts is None:
            row = bisect_right(times, trade.now_ms * MS_NS)
            figures["prints_unmatched" if row else "prints_before_start"] += 1
            if row:
                placed.append(_Placed(row, trade))
            continue
        if parts[0].row < 0:
            figures["prints_before_start"] += 1
            continue
        rest = trade.size
        for part in parts:
            size = rest if part is parts[-1] else part.size
            rest -= size
            placed.append(_Placed(part.row, trade._replace(price=part.price, size=size)))
    return placed, figures


def _with_trades(rows: Sequence[EventRow], placed: Sequence[_Placed]) -> list[EventRow]:
    before: defaultdict[int, list[Print]] = defaultdict(list)
    for row, trade in placed:
        before[row].append(trade)
    out: list[EventRow] = []
    for place in range(len(rows) + 1):
        for trade in before.get(place, ()):
            local_ns = trade.now_ms * MS_NS
            exch_ns = rows[place][0] if place < len(rows) and rows[place][0] <= local_ns else local_ns
            out.append(
                event_row(exch_ns, local_ns, d.TRADE, side=trade.side, price=trade.price, qty=trade.size)
            )
        out += rows[place : place + 1]
    return out


# --- the tape -------------------------------------------------------------------------------------


def _tape(session: str, market: Market, game: Scores | None) -> ImportedTape:
    builder = _Builder(market.changes[0].now_ms if market.changes else 0)
    for _, message in groupby(market.changes, key=lambda c: (c.now_ms, c.bid, c.ask)):
        builder.take(list(message))
    if not builder.rows:
        raise DataError(f"the touch of token {market.yes} never becomes known; nothing to replay")
    placed, figures = _placed(builder, market.prints)
    events, crossed, _ = recordings.uncross(events_of(_with_trades(builder.rows, placed)))
    figures = Counter({**builder.figures, **figures})
    name = f"nhl-{game.event_id if game else session}-{market.yes[:12]}"
    report = MarketReport(
        session=session,
        market=name,
        events=len(events),
        rows=market.rows,
        deltas=len(market.changes),
        trades=len(placed),
        defects=tuple(_defects(market, figures, crossed, game)),
        details={
            "yes_token": market.yes,
            "other_token": market.other,
            "price_changes": market.price_changes,
            "prints": len(market.prints),
            "mirrored": market.mirrored,
            "unmirrored": market.price_changes - 2 * market.mirrored,
            "rows_out_of_order": market.late,
            "tick_changes": len(builder.ticks.seen) - 1,
            **{key: figures[key] for key in FIGURES},
        },
    )
    return ImportedTape(events, _meta(market, builder, report, game), report)


FIGURES: Final = (
    "messages",
    "messages_equal_untouched",
    "messages_after_600_s",
    "messages_after_600_s_equal_untouched",
    "messages_checked",
    "messages_equal",
    "changes_before_start",
    "stale_levels_removed",
    "unknown_levels_removed",
    *MATCHES,
    "prints_unmatched",
    "prints_before_start",
)


def _defects(market: Market, figures: Counter[str], crossed: int, game: Scores | None) -> list[str]:
    unmirrored = market.price_changes - 2 * market.mirrored if market.other else 0
    unlike = figures["messages_checked"] - figures["messages_equal"]
    learned = figures["changes_before_start"]
    early = figures["prints_before_start"]
    removed = counted(figures["unknown_levels_removed"], "such level")
    stale = figures["stale_levels_removed"]
    loose = figures["prints_unmatched"]
    missing = "no snapshot: levels that have not changed since the recording began are missing"
    cases = [
        (True, f"{missing}; {removed} showed by being removed"),
        (learned, f"{counted(learned, 'level change')} until both touches were known, only learned from"),
        (early, f"{counted(early, 'print')} before that, left out"),
        (stale, f"{counted(stale, 'level')} better than the stated touch, removed"),
        (unlike, f"{counted(unlike, 'message')} with a touch of unknown size; the market is paused there"),
        (market.late, f"{counted(market.late, 'row')} with a time before the row above, sorted"),
        (loose, f"{counted(loose, 'print')} that no level change matches, left at its own time"),
        (crossed, f"{counted(crossed, 'instant')} with a crossed book; the older level was removed"),
        (not market.other, "no other token mirrors this one: the market's other token is missing"),
        (unmirrored, f"{counted(unmirrored, 'level change')} that only one of the two tokens tells"),
        (not game, "no single score feed (espn_*.csv) beside it, so its time of resolution is not known"),
    ]
    return [sentence for holds, sentence in cases if holds]


def _meta(market: Market, builder: _Builder, report: MarketReport, game: Scores | None) -> TapeMeta:
    expected_ns = game.expected_end_ns() if game else None
    event_id = f"nhl-{game.event_id}" if game else f"nhl-{report.session}"
    about = f"{game.teams[0]} - {game.teams[1]}" if game else "a hockey game"
    return TapeMeta(
        venue="polymarket",
        ticker=report.market,
        event_id=event_id,
        title=f"{about}: token {market.yes[:12]}..., whose question was not recorded",
        session=report.session,
        source_format=NAME,
        contract_id=market.yes,
        grids=tuple(polymarket_grid(tick) for tick in builder.ticks.seen),
        min_size=MIN_SIZE,
        lot=QTY_SCALE,
        fee=fee_of(polymarket_schedule("sports").at(builder.rows[0][0]), FEE_SOURCE),
        nets_positions=False,
        reduce_in_place=False,
        expected_resolution_ns=expected_ns,
        times_source=TIMES_SOURCE if expected_ns else "",
        has_trades="recorded",
        quality={
            "deltas": report.deltas,
            "trades": report.trades,
            "defects": len(report.defects),
            **report.details,
        },
    )


def _score_series(session: str, scores: Scores) -> Iterator[ImportedSeries]:
    times = [poll.now_ms * MS_NS for poll in scores.polls]
    for place, team in enumerate(scores.teams):
        goals = [poll.goals[place] for poll in scores.polls]
        table = pa.table(
            [times, times, [value * REFERENCE_SCALE for value in goals]], schema=SCHEMAS["reference"]
        )
        report = MarketReport(
            session=session,
            market=f"nhl-{scores.event_id}-goals-{team}",
            kind="reference",
            events=len(times),
            rows=0 if place else len(times),  # the same polls
            details={"score_changes": sum(a != b for a, b in pairwise(goals))},
        )
        meta = SeriesMeta(
            kind="reference",
            venue="espn",
            name=report.market,
            title=f"Goals of {team}, polled; the time is the poll's, prices move before it",
            session=session,
            source_format=NAME,
            unit="goals",
            quality={**report.details, "seconds": (times[-1] - times[0]) // NS_PER_SECOND},
        )
        yield ImportedSeries(table, meta, report)
