"""What must hold at every moment of a run, looked at once a venue second beside the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from pr3dict.domain.events import Resume
from pr3dict.domain.units import BID
from pr3dict.engine.view import EngineView, MarketView
from pr3dict.risk.breaker_table import BREAKERS
from pr3dict.risk.limits import RiskConfig
from pr3dict.store.latch import LatchFile
from pr3dict.store.mailbox import Mailbox

SECOND: Final = 1_000_000_000
DOLLAR: Final = 10_000  # price units
STALE_S: Final = 45.0  # a book that is wrong for longer must have no order: silence, time-out, cancels
RESUME_AFTER_S: Final = 45.0
LOOK_S: Final = 1.0
HALTS: Final = frozenset(f"breaker:{b.name}" for b in BREAKERS.values() if b.action == "halt")


class Resting(NamedTuple):
    """An order of ours in YES terms."""

    side: int
    price: int
    left: int


class Watch:
    """Looks at the stand-in's truth and at what the engine shows; `wrong` says what must not be.

    What differs between venues is filled in by who looks at one (`orders` and below).
    """

    def __init__(self, server: Any, risk: RiskConfig, latch: Path, mailbox: Path) -> None:
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
            if (shown.best_bid, shown.best_ask) == self.touch(self.market(shown.ticker)):
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
            orders, ticker = self.orders(market), self.ticker(market)
            self._check_orders(market, orders)
            loss = max(0, self._worst(market, orders))
            event = self.event(market)
            losses[event] = losses.get(event, 0) + loss
            self._limit(f"market {ticker}", loss, self.risk.max_loss_per_market_micros)
            if self.is_open(market):
                self.quotable[ticker] += 1
                self.quoted[ticker] += bool(orders)
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

    def _check_orders(self, market: Any, orders: list[Any]) -> None:
        now_ns, ticker = self.server.venue.now_ns, self.ticker(market)
        for order in orders:
            self.check_order(order, now_ns)
        mine = [self.resting(order) for order in orders]
        bids = [order.price for order in mine if order.side == BID]
        asks = [order.price for order in mine if order.side != BID]
        if bids and asks and max(bids) >= min(asks):
            self._say(f"own orders cross in {ticker}: {max(bids)} and {min(asks)}")
        true_ns = self._true_ns.get(ticker, now_ns)
        if orders and self.is_active() and now_ns - true_ns > STALE_S * SECOND:
            shown = self._shown(ticker)
            self._say(
                f"{len(orders)} orders rest in {ticker} on a book that is wrong for "
                f"{(now_ns - true_ns) / SECOND:.0f} s: {shown and (shown.best_bid, shown.best_ask)}, truly "
                f"{self.touch(market)}"
            )

    def _check_expiry(self, name: str, expiry_ns: int, now_ns: int) -> None:
        if not expiry_ns or expiry_ns < now_ns - SECOND:
            self._say(f"{name} rests past its expiry {expiry_ns}")
        elif expiry_ns > now_ns + self.risk.order_life_ns + 2 * SECOND:
            self._say(f"{name} lives longer than set")

    def _worst(self, market: Any, orders: list[Any]) -> int:
        """Micros that can be lost in a market with every resting order filled, fees apart."""
        if self.is_paid(market):
            return 0
        if_yes, if_no = (-gained for gained in self.gained(market))
        for order in map(self.resting, orders):
            price = order.price if order.side == BID else DOLLAR - order.price
            cost = -(-price * order.left // DOLLAR)
            if order.side == BID:
                if_no += cost
            else:
                if_yes += cost
        return max(if_yes, if_no)

    # --- what the venue is ----------------------------------------------------------------------------

    def orders(self, market: Any) -> list[Any]:
        """Ours that rest."""
        raise NotImplementedError

    def market(self, ticker: str) -> Any:
        """By the engine's name of it."""
        raise NotImplementedError

    def ticker(self, market: Any) -> str:
        """The engine's name of a market."""
        raise NotImplementedError

    def event(self, market: Any) -> str:
        """The event that it is one of."""
        raise NotImplementedError

    def resting(self, order: Any) -> Resting:
        """An order in YES terms."""
        raise NotImplementedError

    def check_order(self, order: Any, now_ns: int) -> None:
        """What every order must have."""
        raise NotImplementedError

    def touch(self, market: Any) -> tuple[int, int]:
        """Best bid and ask as the engine should show them; -1: there is none."""
        raise NotImplementedError

    def gained(self, market: Any) -> tuple[int, int]:
        """Micros that what was traded brings in if the market ends YES, and NO; fees apart."""
        raise NotImplementedError

    def is_open(self, market: Any) -> bool:
        """Whether it can be quoted."""
        raise NotImplementedError

    def is_active(self) -> bool:
        """Whether the venue carries cancels out."""
        raise NotImplementedError

    def is_paid(self, market: Any) -> bool:
        """Whether nothing can be lost there any more."""
        raise NotImplementedError

    # --- a person ---------------------------------------------------------------------------------------

    def _hear_latch(self) -> None:
        """The operator: some time after everything, or a market, was stopped for good, goes on."""
        now_ns = self.server.venue.now_ns
        if self._latch.read() is None and not self._is_halted():
            self._latched_ns = 0
        elif not self._latched_ns:
            self._latched_ns = now_ns
        elif now_ns - self._latched_ns > RESUME_AFTER_S * SECOND:
            command = Resume(command_id="", who="operator", reason="looked at it")
            Mailbox(self._mailbox_path).post(command)
            self.resumes += 1
            self._latched_ns = now_ns

    def _is_halted(self) -> bool:
        """Whether a breaker has stopped a market until a person resumes."""
        markets = self.last.markets if self.last is not None else ()
        return any(hold in HALTS for market in markets for hold in market.holds)
