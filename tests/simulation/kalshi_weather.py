"""What befalls a Kalshi account once a virtual second, besides the weather of every venue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.flow import Row
from simulation.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.simulator import Simulation


class KalshiWeather:
    """Asks the knobs of Kalshi that stand for an event in time."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.venue = sim.kalshi
        self.befalls: dict[str, Callable[[], None]] = {
            "sweep": self._sweep,
            "shard_poor": self._poor,
            "shard_down": self._down,
            "shard_unknown": self._unknown,
            "close_moved": self._close_moved,
        }

    def _amount(self, knob: str, low: int, high: int) -> int:
        return self.world.amount(knob, low, high)

    def _shard(self, knob: str) -> int:
        shards = sorted(set(self.venue.shard_of))
        return shards[self._amount(knob, 0, 10**6) % len(shards)]

    def _sweep(self) -> None:
        """Somebody takes every quote of a market, level by level, and comes back for what is placed anew."""
        market = self._amount("sweep", 0, 10**6) % self.sim.options.markets
        for k in range(self._amount("sweep", 1, 4)):
            self.world.after(k * SECOND, self._take_all, market)

    def _take_all(self, market: int) -> None:
        if market in self.venue.closed:
            return
        rows: list[Row] = []
        for order in self.venue.open_orders():
            if order.market == market:
                rows += self.sim.take_own(order)
        self.sim.publish(market, rows)

    def _poor(self) -> None:
        """A person leaves a dollar on a shard and moves the rest."""
        source = self._shard("shard_poor")
        target = max(self.venue.cash_of, key=lambda shard: (shard != source, shard))
        self.venue.move_between(source, target, max(self.venue.cash_of[source] - 1_000_000, 0))

    def _down(self) -> None:
        shard = self._shard("shard_down")
        self.venue.down.add(shard)
        self.world.after(self._amount("shard_down", 2, 10) * SECOND, self.venue.down.discard, shard)

    def _unknown(self) -> None:
        until = self.world.now_ns + self._amount("shard_unknown", 2, 10) * SECOND
        self.venue.unknown_until_ns[self._shard("shard_unknown")] = until

    def _close_moved(self) -> None:
        """Market 0 stays open: there must be something to be alive for."""
        market = 1 + self._amount("close_moved", 0, 10**6) % (self.sim.options.markets - 1)
        if market in self.sim.fates:
            return
        self.world.effect(105)
        seconds = self._amount("close_moved", 4, 60)
        self.venue.move_close(market, self.world.now_ns + seconds * SECOND)
