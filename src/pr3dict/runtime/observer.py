"""What a replay looked like on its way: samples of every market at fixed times, and its books at day ends.

The observer only reads the world, between two calls of the replay loop, so a replay that is watched comes to
the same result as one that is not. At a stop the world is as it was after all that we had seen by that time;
the exchange's side of it may be one feed latency older.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pr3dict.analytics.live import snapshot
from pr3dict.analytics.report import AccountReport
from pr3dict.analytics.series import SAMPLE
from pr3dict.domain.units import NS_PER_SECOND, format_contracts, format_dollars
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World
from pr3dict.runtime.tapeset import TapeSet
from pr3dict.store.tape import TapeMeta

IntArray = npt.NDArray[np.int64]

POINTS = 1_500  # samples a market at most, and fewer where
ALL_POINTS = 300_000  # many markets would need more than this together
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True, slots=True)
class Block:
    """What one market did on one trading day: money in micros, size in micro-contracts."""

    market: int  # place in the tapes
    day: str  # date of the venue's trading day, ISO 8601
    net_micros: int
    contracts: int
    fills: int

    def to_json(self, meta: TapeMeta) -> dict[str, object]:
        """The block with the names of its market, exact decimal strings."""
        return {
            "market": meta.ticker,
            "session": meta.session,
            "event": meta.event_id,
            "day": self.day,
            "net": format_dollars(self.net_micros),
            "contracts": format_contracts(self.contracts),
            "fills": self.fills,
        }


def step_ns(span_ns: int, points: int) -> int:
    """The shortest round step that cuts a span into at most `points` pieces; above a day, whole days."""
    for step_s in STEPS_S:
        if span_ns <= points * step_s * NS_PER_SECOND:
            return step_s * NS_PER_SECOND
    day_ns = STEPS_S[-1] * NS_PER_SECOND
    return -(-span_ns // (points * day_ns)) * day_ns


def trading_days(venue: str, first_ns: int, last_ns: int) -> tuple[list[str], list[int]]:
    """Dates of the trading days from `first_ns` to `last_ns`, and the times at which all but the first begin.

    Kalshi keeps New York time, Polymarket UTC.
    """
    zone = NEW_YORK if venue == "kalshi" else UTC
    day = datetime.fromtimestamp(first_ns // NS_PER_SECOND, zone).date()
    days, ends = [day.isoformat()], list[int]()
    while True:
        day += timedelta(days=1)
        midnight_ns = int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_SECOND
        if midnight_ns > last_ns:
            return days, ends
        days.append(day.isoformat())
        ends.append(midnight_ns)


class Observer:
    """Says at which event to stop a replay (`next_event`) and takes notes there (`look`)."""

    def __init__(self, tapes: TapeSet, world: World, points: int) -> None:
        """Plan the stops; `points` samples a market at most, 0 for day ends only."""
        self.tapes, self.world = tapes, world
        n = len(tapes.metas)
        self.days = [
            trading_days(meta.venue, first, last)
            for meta, first, last in zip(tapes.metas, tapes.first_ns, tapes.last_ns, strict=True)
        ]
        day_ends = {end for _, ends in self.days for end in ends}
        wanted = _sample_times(tapes, min(points, ALL_POINTS // n)) if points else np.zeros((0, 2), np.int64)
        self.samples: d.Array = np.zeros(len(wanted), SAMPLE)
        self.samples["at_ns"], self.samples["market"] = wanted[:, 0], wanted[:, 1]
        self.stops_ns = np.union1d(wanted[:, 0], np.array(sorted(day_ends), np.int64))
        self.first_row = np.searchsorted(wanted[:, 0], self.stops_ns)
        self.stop_events = np.searchsorted(tapes.events["local_ns"], self.stops_ns, side="right")
        self.done = 0
        self.at_day_end: dict[int, list[tuple[int, int, int]]] = {}
        self.day_ends = day_ends

    @property
    def next_event(self) -> int:
        """Number of events that we have seen at the next stop; all of them when none is left."""
        if self.done == len(self.stop_events):
            return len(self.tapes.events)
        return int(self.stop_events[self.done])

    def look(self) -> None:
        """Take notes of every stop that the replay has reached."""
        seen = int(self.world.clock[0].local_event)
        while self.done < len(self.stop_events) and int(self.stop_events[self.done]) <= seen:
            last = self.done + 1 == len(self.first_row)
            end = len(self.samples) if last else int(self.first_row[self.done + 1])
            _sample(self.world, self.samples[int(self.first_row[self.done]) : end])
            now_ns = int(self.stops_ns[self.done])
            if now_ns in self.day_ends:
                self.at_day_end[now_ns] = _books(self.world)
            self.done += 1

    def blocks(self, report: AccountReport) -> tuple[Block, ...]:
        """One block a market and trading day of a replay that is over; they add up to each market's net."""
        return tuple(block for m in range(len(self.days)) for block in self._market_blocks(m, report))

    def _market_blocks(self, m: int, report: AccountReport) -> Iterator[Block]:
        figures = report.markets[m].figures
        end = (figures.pnl.net_micros, figures.count("contracts_filled"), figures.count("fills"))
        days, ends = self.days[m]
        books: Sequence[tuple[int, int, int]] = [*(self.at_day_end[at][m] for at in ends), end]
        before = (0, 0, 0)
        for day, now in zip(days, books, strict=True):
            net, contracts, fills = (a - b for a, b in zip(now, before, strict=True))
            yield Block(m, day, net, contracts, fills)
            before = now


def _sample_times(tapes: TapeSet, points: int) -> IntArray:
    """(time, market) of every sample, in order; a market is sampled from its first to its last event."""
    parts = []
    for m, (first, last) in enumerate(zip(tapes.first_ns, tapes.last_ns, strict=True)):
        step = step_ns(last - first, max(2, points))
        times = np.arange(-(-first // step) * step, last + 1, step, dtype=np.int64)
        parts.append(np.column_stack((times, np.full(len(times), m, np.int64))))
    flat = np.concatenate(parts)
    ordered: IntArray = flat[np.lexsort((flat[:, 1], flat[:, 0]))]
    return ordered


def _sample(world: World, rows: d.Array) -> None:
    """Fill SAMPLE rows of one instant from the world as it stands."""
    if not len(rows):
        return
    m = rows["market"]
    books, held = world.exchange_books[m], world.holdings[m]
    grid, bid, ask = books["grid"], books["bid_level"], books["ask_level"]
    prices = world.grids.price_of_level
    trades = (books["status"] == d.ACTIVE) | (books["status"] == d.PAUSED)
    rows["bid_price"] = np.where(trades & (bid >= 0), prices[grid, np.maximum(bid, 0)], -1)
    has_ask = trades & (ask < world.grids.level_count[grid])
    rows["ask_price"] = np.where(has_ask, prices[grid, np.minimum(ask, prices.shape[1] - 1)], -1)
    own_bid, own_ask = held["own_bid_price"], held["own_ask_price"]
    rows["own_bid_price"] = np.where(own_bid == d.NO_BID, -1, own_bid)
    rows["own_ask_price"] = np.where(own_ask == d.NO_ASK, -1, own_ask)
    rows["fair_micros"] = world.quotes["fair_micros"][m]
    rows["net_contracts"] = held["yes_contracts"] - held["no_contracts"]


def _books(world: World) -> list[tuple[int, int, int]]:
    """Profit marked at the last two-sided mid, contracts and fills of each market so far."""
    contracts = world.stats["contracts_filled"].tolist()
    return [
        (market.pnl_micros, filled, market.fills)
        for market, filled in zip(snapshot(world), contracts, strict=True)
    ]
