"""What must hold at every moment at Kalshi."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from live.watch import SECOND, Resting, Watch

if TYPE_CHECKING:
    from standins.kalshi.state import MarketState, Order


class KalshiWatch(Watch):
    """Looks at the stand-in of Kalshi."""

    def orders(self, market: MarketState) -> list[Order]:
        """Ours that rest."""
        return list(self.server.venue.open_of[market.place].values())

    def market(self, ticker: str) -> MarketState:
        """By ticker."""
        return self.server.venue.by_ticker[ticker]

    def ticker(self, market: MarketState) -> str:
        """Its ticker."""
        return market.spec.ticker

    def event(self, market: MarketState) -> str:
        """Its event's ticker."""
        return market.spec.event

    def resting(self, order: Order) -> Resting:
        """Orders are in YES terms."""
        return Resting(order.side, order.price, order.remaining)

    def check_order(self, order: Order, now_ns: int) -> None:
        """It ends by itself, and by the exchange's own switches."""
        self._check_expiry(order.client_order_id, order.expiry_s * SECOND, now_ns)
        if not order.cancel_on_pause or not order.group:
            self._say(f"{order.client_order_id} can't be cancelled by the exchange")

    def touch(self, market: MarketState) -> tuple[int, int]:
        """Of everybody else: the feed does not show our own orders."""
        own: Counter[tuple[int, int]] = Counter()
        for order in self.orders(market):
            own[order.side, order.price] += order.remaining
        bids = [p for p, size in market.shown[0].items() if size > own[0, p]]
        asks = [p for p, size in market.shown[1].items() if size > own[1, p]]
        return max(bids, default=-1), min(asks, default=-1)

    def gained(self, market: MarketState) -> tuple[int, int]:
        """What is held, with what was gained already."""
        held = self.server.venue.ledger.positions.get(market.place)
        if held is None:
            return 0, 0
        gained = held.realized - held.cost
        return gained + max(held.size, 0), gained + max(-held.size, 0)

    def is_open(self, market: MarketState) -> bool:
        """Neither is paused."""
        return market.status == "active" and self.server.venue.trading_active

    def is_active(self) -> bool:
        """No maintenance."""
        return self.server.venue.exchange_active

    def is_paid(self, market: MarketState) -> bool:
        """It has paid out."""
        return market.status == "finalized"
