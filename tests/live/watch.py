"""What must hold at every moment of a run, looked at once a venue second beside the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pr3dict.domain.events import Resume
from pr3dict.domain.units import BID
from pr3dict.engine.view import EngineView, MarketView
from pr3dict.risk.limits import RiskConfig
from pr3dict.store.latch import LatchFile
from pr3dict.store.mailbox import Mailbox

if TYPE_CHECKING:
    from standins.kalshi import KalshiStandIn
    from standins.kalshi.state import MarketState, Order

SECOND: Final = 1_000_000_000
DOLLAR: Final = 10_000  # price units
STALE_S: Final = 45.0  # a book that is wrong for longer must have no order: silence, time-out, cancels
RESUME_AFTER_S: Final = 45.0
LOOK_S: Final = 1.0


class Watch:
    """Looks at the stand-in's truth and at what the engine shows; `wrong` says what must not be."""

    def __init__(self, server: KalshiStandIn, risk: RiskConfig, latch: Path, mailbox: Path) -> None:
        self.server = server
        self.risk = risk
        self.wrong: list[str] = []
        self.looks = 0
        self.resumes = 0
        self.share_under_faults: dict[str, float] = {}
        self.figures: dict[str, int] = {}  # what the adapter counts
        self.quoted: Counter[str] = Counter()  # looks at which a market had an order
        self.quotable: Counter[str] = Counter()  # looks at which it was open
        self.worst_micros = 0  # most that could be lost at one look
        self.last: EngineView | None = None
        self._latch = LatchFile(latch)
        self._mailbox_path = mailbox
        self._latched_ns = 0
        self._true_ns: dict[str, int] = {}  # when our book of a market was last the exchange's

    def seen(self, view: EngineView) -> None:
        """What the engine shows of itself."""
        self.last = view
        for shown in view.markets:
            market = self.server.venue.by_ticker[shown.ticker]
            bid, ask = others_touch(market, self.server.venue.open_of[market.place].values())
            if (shown.best_bid, shown.best_ask) == (bid, ask):
                self._true_ns[shown.ticker] = self.server.venue.now_ns

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    @property
    def quoted_share(self) -> dict[str, float]:
        """Share of the time at which each market had an order of ours while it could be traded."""
        return {
            ticker: round(self.quoted[ticker] / looks, 3) for ticker, looks in sorted(self.quotable.items())
        }

    def begin_quiet(self) -> None:
        """Nothing goes wrong from now on: what is quoted counts anew."""
        self.share_under_faults = self.quoted_share
        self.quoted.clear()
        self.quotable.clear()

    def check_quoted_again(self) -> None:
        """Every market that could be traded since `begin_quiet` was quoted."""
        for ticker, looks in self.quotable.items():
            if looks and not self.quoted[ticker]:
                shown = self._shown(ticker)
                why = shown and (shown.holds, shown.reasons)
                self._say(f"{ticker} is not quoted again within {looks} s: {why}")

    def _shown(self, ticker: str) -> MarketView | None:
        markets = self.last.markets if self.last is not None else ()
        return next((market for market in markets if market.ticker == ticker), None)

    def look(self) -> None:
        """All checks, now."""
        self.looks += 1
        self._hear_latch()
        losses: dict[str, int] = {}
        for market in self.server.venue.markets:
            orders = list(self.server.venue.open_of[market.place].values())
            self._check_orders(market, orders)
            loss = max(0, self._worst(market, orders))
            event = market.spec.event
            losses[event] = losses.get(event, 0) + loss
            self._limit(f"market {market.spec.ticker}", loss, self.risk.max_loss_per_market_micros)
            self._note_quoted(market, orders)
        for event, loss in losses.items():
            self._limit(f"event {event}", loss, self.risk.max_loss_per_event_micros)
        self.worst_micros = max(self.worst_micros, sum(losses.values()))
        self._limit("everything", sum(losses.values()), self.risk.max_total_loss_micros)

    def _say(self, what: str) -> None:
        if len(self.wrong) < 100:
            self.wrong.append(f"at {self.server.venue.now_ns}: {what}")

    def _limit(self, what: str, loss: int, limit: int) -> None:
        if limit and loss > limit:
            self._say(f"{what} may lose {loss} micros, the limit is {limit}")

    def _check_orders(self, market: MarketState, orders: list[Order]) -> None:
        now_ns = self.server.venue.now_ns
        for order in orders:
            if not order.expiry_s or order.expiry_s * SECOND < now_ns - SECOND:
                self._say(f"{order.client_order_id} rests past its expiry {order.expiry_s}")
            elif order.expiry_s * SECOND > now_ns + self.risk.order_life_ns + SECOND:
                self._say(f"{order.client_order_id} lives longer than set")
            if not order.cancel_on_pause or not order.group:
                self._say(f"{order.client_order_id} can't be cancelled by the exchange")
        bids = [order.price for order in orders if order.side == BID]
        asks = [order.price for order in orders if order.side != BID]
        if bids and asks and max(bids) >= min(asks):
            self._say(f"own orders cross in {market.spec.ticker}: {max(bids)} and {min(asks)}")
        true_ns = self._true_ns.get(market.spec.ticker, now_ns)
        if orders and self.server.venue.exchange_active and now_ns - true_ns > STALE_S * SECOND:
            shown = self._shown(market.spec.ticker)
            self._say(
                f"{len(orders)} orders rest in {market.spec.ticker} on a book that is wrong for "
                f"{(now_ns - true_ns) / SECOND:.0f} s: {shown and (shown.best_bid, shown.best_ask)}, truly "
                f"{others_touch(market, orders)}"
            )

    def _worst(self, market: MarketState, orders: list[Order]) -> int:
        """Micros that can be lost in a market with every resting order filled, fees apart."""
        if market.status == "finalized":
            return 0
        held = self.server.venue.ledger.positions.get(market.place)
        if_yes = if_no = 0
        if held is not None:
            gained = held.realized - held.cost
            if_yes = -(gained + max(held.size, 0))
            if_no = -(gained + max(-held.size, 0))
        for order in orders:
            price = order.price if order.side == BID else DOLLAR - order.price
            cost = -(-price * order.remaining // DOLLAR)
            if order.side == BID:
                if_no += cost
            else:
                if_yes += cost
        return max(if_yes, if_no)

    def _note_quoted(self, market: MarketState, orders: list[Order]) -> None:
        if market.status == "active" and self.server.venue.trading_active:
            self.quotable[market.spec.ticker] += 1
            self.quoted[market.spec.ticker] += bool(orders)

    def _hear_latch(self) -> None:
        """The operator: some time after everything was stopped, goes on."""
        now_ns = self.server.venue.now_ns
        if self._latch.read() is None:
            self._latched_ns = 0
        elif not self._latched_ns:
            self._latched_ns = now_ns
        elif now_ns - self._latched_ns > RESUME_AFTER_S * SECOND:
            command = Resume(command_id="", who="operator", reason="looked at it")
            Mailbox(self._mailbox_path).post(command)
            self.resumes += 1
            self._latched_ns = now_ns


def others_touch(market: MarketState, orders: object) -> tuple[int, int]:
    """Best bid and ask of everybody else; 0 and a dollar where there is none."""
    own: Counter[tuple[int, int]] = Counter()
    for order in orders:  # type: ignore[attr-defined]
        own[order.side, order.price] += order.remaining
    bids = [p for p, size in market.shown[0].items() if size > own[0, p]]
    asks = [p for p, size in market.shown[1].items() if size > own[1, p]]
    return max(bids, default=-1), min(asks, default=-1)
