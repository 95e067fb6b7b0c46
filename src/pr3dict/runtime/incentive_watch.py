"""What our orders would score under stated incentives or rewards in a replay: looks at the exchange.

Like the observer it only reads the world between two calls of the replay loop, so a watched replay comes to
the same result as one that is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from pr3dict.analytics.incentives import Own, PeriodCount, PeriodScore, Side, snapshot_ns
from pr3dict.analytics.rewards import RewardCount, RewardScore, sample_times
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World
from pr3dict.risk.programme import IncentiveTerms
from pr3dict.runtime.tapeset import TapeSet


class Watch(ABC):
    """Says at which event to stop a replay (`next_event`) and takes the snapshots that are due (`look`)."""

    def __init__(self, tapes: TapeSet, world: World, plan: list[tuple[int, int]]) -> None:
        """`plan`: when to look (ns), and a number that `take` is told."""
        self.world = world
        self.total = len(tapes.events)
        self.plan = sorted(plan)
        times = np.array([at_ns for at_ns, _ in self.plan], np.int64)
        self.stops = np.searchsorted(tapes.events["local_ns"], times, side="right").tolist()
        self.done = 0

    @property
    def next_event(self) -> int:
        """Number of events that we have seen at the next snapshot; all of them when none is left."""
        return self.stops[self.done] if self.done < len(self.stops) else self.total

    def look(self) -> None:
        """Take every snapshot that the replay has reached."""
        seen = int(self.world.clock[0].local_event)
        while self.done < len(self.stops) and self.stops[self.done] <= seen:
            self.take(*self.plan[self.done])
            self.done += 1

    @abstractmethod
    def take(self, at_ns: int, number: int) -> None:
        """One snapshot of the plan."""


class IncentiveWatch(Watch):
    """One look a second in each reward period."""

    def __init__(self, tapes: TapeSet, world: World, terms: Sequence[IncentiveTerms]) -> None:
        """Plan the snapshots of every period whose market is among the tapes, from its first event on."""
        tickers = [meta.ticker for meta in tapes.metas]
        self.counts: list[tuple[int, PeriodCount]] = []
        plan: list[tuple[int, int]] = []
        for one in terms:
            for m in [k for k, ticker in enumerate(tickers) if ticker == one.ticker]:
                count = PeriodCount(one)
                first = max(one.start_ns, tapes.first_ns[m])
                last = min(one.end_ns, tapes.last_ns[m])
                seconds = range(-(-first // NS_PER_SECOND), last // NS_PER_SECOND)
                plan += [(snapshot_ns(one.ticker, second), len(self.counts)) for second in seconds]
                count.unseen = one.end_ns // NS_PER_SECOND - -(-one.start_ns // NS_PER_SECOND) - len(seconds)
                self.counts.append((m, count))
        super().__init__(tapes, world, plan)

    def take(self, at_ns: int, number: int) -> None:  # noqa: ARG002 - each second weighs the same
        """One second of a period."""
        m, count = self.counts[number]
        found = _shown(self.world, m)
        if found is None:
            count.void += 1
        else:
            count.look(*found)

    def scores(self) -> tuple[PeriodScore, ...]:
        """What each period scored so far."""
        return tuple(count.result() for _, count in self.counts)


class RewardWatch(Watch):
    """One look a minute at each market that pays liquidity rewards."""

    def __init__(self, tapes: TapeSet, world: World, terms: Mapping[int, RewardTerms]) -> None:
        """`terms` by market, a place among the tapes."""
        self.counts = {m: RewardCount(tapes.names[m], one) for m, one in terms.items()}
        plan = [
            (at_ns, m)
            for m in terms
            for at_ns in sample_times(tapes.names[m], tapes.first_ns[m], tapes.last_ns[m])
        ]
        super().__init__(tapes, world, plan)

    def take(self, at_ns: int, number: int) -> None:
        """One minute of a market."""
        found = _shown(self.world, number)
        if found is None:
            self.counts[number].void += 1
        else:
            self.counts[number].look(at_ns, *found)

    def scores(self) -> tuple[RewardScore, ...]:
        """What each market scored so far."""
        return tuple(count.result() for count in self.counts.values())


def _shown(world: World, m: int) -> tuple[tuple[Side, Side], list[Own]] | None:
    """Everybody's sizes at the exchange, ours included, and our orders; None while it takes no orders."""
    book = world.exchange_books[m]
    if int(book.status) != d.ACTIVE:
        return None
    prices = world.grids.price_of_level[int(book.grid)]
    rows = world.exchange_orders[m]
    rows = rows[(rows["active"] == 1) & (rows["remaining"] > 0)]
    orders = [
        Own(int(row["side"]), int(row["price"]), int(row["remaining"]))
        for row in rows[["side", "price", "remaining"]]
    ]
    sides: list[Side] = []
    for side in (d.BID, d.ASK):
        depth = world.exchange_depth[m, side] - world.consumed[m, side]
        shown = {int(prices[level]): int(depth[level]) for level in np.flatnonzero(depth > 0)}
        for order in orders:
            if order.side == side:
                shown[order.price] = shown.get(order.price, 0) + order.size
        sides.append(shown)
    return (sides[0], sides[1]), orders
