"""What befalls a Polymarket wallet once a virtual second, besides the weather of every venue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.simulator import Simulation


class PolymarketWeather:
    """Asks the knobs of Polymarket that stand for an event in time."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.venue = sim.polymarket
        self.befalls: dict[str, Callable[[], None]] = {
            "beats_lost": self._deaf,
            "beat_stranger": self.venue.stranger_beats,
            "book_cleared": self._clear,
            "unsupported": self._unsupport,
            "user_mute": self._mute,
        }

    def _deaf(self) -> None:
        """Our heartbeats get lost, long enough for the venue to cancel everything or nearly so."""
        self.venue.deaf_until_ns = self.world.now_ns + self.world.amount("beats_lost", 6, 18) * SECOND

    def _mute(self) -> None:
        """The account's channel stays up and carries nothing."""
        until_ns = self.world.now_ns + self.world.amount("user_mute", 5, 30) * SECOND
        self.sim.session.user_stream.mute_until_ns = until_ns

    def _clear(self) -> None:
        market = self.world.amount("book_cleared", 0, 10**6) % self.sim.options.markets
        if any(order.market == market for order in self.venue.open_orders()):
            self.world.effect(209)
        self.venue.clear_book(market)

    def _unsupport(self) -> None:
        orders = [order for order in self.venue.open_orders() if order.order_id]
        if orders:
            self.world.effect(210)
            self.venue.unsupport(orders[self.world.amount("unsupported", 0, 10**6) % len(orders)])
