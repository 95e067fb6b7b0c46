"""What must hold at every moment at Polymarket."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live.watch import DOLLAR, SECOND, Resting, Watch
from pr3dict.domain.units import BID
from pr3dict.risk.limits import RiskConfig
from standins.polymarket.matching import EXPIRES_EARLY_S
from standins.polymarket.values import BUY, YES
from standins.polymarket.venue import OPEN, POST_ONLY, RESTARTING

if TYPE_CHECKING:
    from standins.polymarket.state import MarketState, Order, Trade


class PolymarketWatch(Watch):
    """Looks at the stand-in of Polymarket."""

    def __init__(self, server: Any, risk: RiskConfig, latch: Path, mailbox: Path) -> None:
        super().__init__(server, risk, latch, mailbox)
        self._seen = 0  # trades that were looked at
        self._pending: list[Trade] = []
        self._gained: dict[int, tuple[int, int]] = {}  # by market
        self._rests: dict[int, list[Order]] = {}
        self._stale_ns = 0

    def look(self) -> None:
        """All checks, now."""
        trades = self.server.venue.trades
        fresh = list(itertools.islice(trades.values(), self._seen, None))
        self._seen = len(trades)
        for trade in fresh:
            self._add(trade, 1)
        for trade in [trade for trade in self._pending if trade.status in ("FAILED", "CONFIRMED")]:
            self._pending.remove(trade)
            if trade.status == "FAILED":
                self._add(trade, -1)
        self._pending += fresh
        self._rests = {}
        for order in self.server.venue.open.values():
            self._rests.setdefault(order.market.place, []).append(order)
        super().look()

    def _add(self, trade: Trade, sign: int) -> None:
        """What our part of a trade brings in, or did not."""
        for share in trade.makers:
            if share.order is not None:
                self._gain(trade, share.token, share.action, share.price, sign * share.size)
            elif trade.taker is not None:
                self._gain(trade, trade.token, trade.action, trade.price, sign * share.size)

    def _gain(self, trade: Trade, token: int, action: str, price: int, size: int) -> None:
        """`size` shares of a token change hands; negative: they did not."""
        size = size if action == BUY else -size
        cost = size * price // DOLLAR
        if_yes, if_no = self._gained.get(trade.market.place, (0, 0))
        won = (size, 0) if token == YES else (0, size)
        self._gained[trade.market.place] = if_yes + won[0] - cost, if_no + won[1] - cost

    def orders(self, market: MarketState) -> list[Order]:
        """Ours that rest."""
        return self._rests.get(market.place, [])

    def market(self, ticker: str) -> MarketState:
        """By condition, which the catalogue may name shorter."""
        return self.server.venue.by_condition["0x" + ticker.removeprefix("0x").ljust(64, "0")]

    def ticker(self, market: MarketState) -> str:
        """As the catalogue names its condition."""
        return market.spec.condition[:-2] if market.spec.version == "v2" else market.spec.condition

    def event(self, market: MarketState) -> str:
        """Its event."""
        return market.spec.event

    def resting(self, order: Order) -> Resting:
        """The price of the other token is what this one leaves of a dollar."""
        return Resting(order.side, order.yes_price, order.left)

    def check_order(self, order: Order, now_ns: int) -> None:
        """It ends by itself."""
        self._check_expiry(order.id, (order.expiry_s - EXPIRES_EARLY_S) * SECOND, now_ns)

    def touch(self, market: MarketState) -> tuple[int, int]:
        """Of everybody, us included."""
        own: dict[tuple[int, int], int] = {}
        for order in self.server.venue.open.values():
            if order.market is market:
                key = order.side, order.yes_price
                own[key] = own.get(key, 0) + order.left
        bids, asks = (
            [p for p, size in market.book.totals[side].items() if size > own.get((side, p), 0)]
            for side in (BID, 1 - BID)
        )
        return max(bids, default=-1), min(asks, default=-1)

    def gained(self, market: MarketState) -> tuple[int, int]:
        """By all trades that did not fail."""
        return self._gained.get(market.place, (0, 0))

    def is_open(self, market: MarketState) -> bool:
        """It takes orders, and so does the venue."""
        return market.status == "active" and market.accepting and self.server.venue.mode in (OPEN, POST_ONLY)

    def is_active(self) -> bool:
        """A restart carries no cancels out, and for a while afterwards what was left may still rest."""
        venue = self.server.venue
        if venue.mode == RESTARTING:
            self._stale_ns = venue.now_ns
        return venue.now_ns - self._stale_ns > 45 * SECOND

    def is_paid(self, market: MarketState) -> bool:
        """It is resolved."""
        return market.status == "resolved"
