"""The one door for new orders: checks a wish against the market, the limits and everything that is open.

The gate repeats on its own what the brain has already checked, with the pessimistic reading of every doubt
(`exposure.py`), and adds the caps of `RiskConfig`. With those off and without provisional fills it passes all
that `kernels.diff` sends: limits stop only what makes the worst case worse, and an order that closes what is
surely held is never stopped by a loss limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pr3dict.domain.commands import Place
from pr3dict.domain.units import (
    ASK,
    BID,
    MICROS_PER_PRICE_UNIT,
    MONEY_SCALE,
    NS_PER_SECOND,
    PRICE_SCALE,
    ceil_div,
    format_contracts,
    format_dollars,
    format_price,
)
from pr3dict.kernels import dtypes as d
from pr3dict.risk.exposure import EventLoss, Exposure, OrderExposure, losses
from pr3dict.risk.limits import RiskConfig

NO_LIMIT = -1
MAX_SIZE = 10**15  # micro-contracts: a billion contracts; sums of such stay exact in 64 bits
NS_PER_MINUTE = 60 * NS_PER_SECOND
ABSURD = frozenset({"price_range", "price_band", "price_collar", "bad_size", "fat_finger"})


class Wish(NamedTuple):
    """An order that the brain (or a person's flatten) asks for."""

    order_id: int
    market: int
    side: int  # BID buys YES terms
    sell: bool
    price: int
    size: int
    tif: int  # kernels.dtypes.POST_ONLY, LIMIT, IOC, FOK
    expiry_ns: int = 0


class MarketFacts(NamedTuple):
    """What is known of the market at this instant."""

    status: int  # kernels.dtypes.ACTIVE, ...
    min_size: int
    lot: int
    on_grid: Callable[[int], bool]  # whether an order may rest at a price
    fair_micros: int  # -1: none
    book_age_ns: int  # since the book was last known to be current
    held: bool  # the engine or a breaker holds the market
    price_band_micros: int  # of the strategy; 0: none
    nets_positions: bool
    best_bid: int = -1  # own orders in; -1: that side is empty
    best_ask: int = -1
    max_order_size: int = 0  # of the strategy, micro-contracts; 0: none


class Portfolio(NamedTuple):
    """What is known beyond the market, as it stood when the order was wished."""

    killed: bool  # daily loss or kill latch
    halted: bool  # a person or a breaker stopped everything
    cash_micros: int
    locked_micros: int  # what own open orders lock
    siblings: EventLoss = EventLoss()  # the other markets of the same exclusive event
    others_loss_micros: int = 0  # worst-case loss of all other events
    sure_siblings: EventLoss = EventLoss()  # both without orders that may be gone in a moment
    sure_others_micros: int = 0
    heat_limit_micros: int = NO_LIMIT  # the strategy's: equity x max_portfolio_heat


class Refusal(NamedTuple):
    """Why an order was not approved: a stable word, and a sentence with the figures."""

    code: str
    text: str

    @property
    def is_absurd(self) -> bool:
        """A price or size that no sound strategy asks for: several of them halt the market."""
        return self.code in ABSURD


class Gate:
    """Approves orders one by one; the caller counts each approved order as open before the next wish.

    Its only state is when the last orders left, at most as many as the cap a minute allows.
    """

    def __init__(self, config: RiskConfig) -> None:
        self._config = config
        self._per_second = config.max_orders_per_second
        self._per_minute = config.max_orders_per_minute
        # Plain integers: reading a setting converts a decimal.
        self._max_size = config.max_order_size_contracts
        self._collar = config.price_collar_micros
        self._max_age_ns = config.max_data_age_ns
        self._market_cap = config.max_loss_per_market_micros
        self._event_cap = config.max_loss_per_event_micros
        self._total_cap = config.max_total_loss_micros
        self._free_cash = config.min_free_cash_micros
        self._sent_ns: deque[int] = deque(maxlen=max(self._per_second, self._per_minute, 1))

    def approve(
        self, now_ns: int, wish: Wish, facts: MarketFacts, exposure: Exposure, portfolio: Portfolio
    ) -> Place | Refusal:
        """The order as it may leave, or the first reason against it; O(open orders of the market)."""
        refusal = (
            self._stopped(wish, facts, portfolio)
            or self._absurd(wish, facts)
            or self._against_market(wish, facts)
            or _own_cross(wish, exposure)
            or self._against_limits(wish, exposure, portfolio)
            or self._too_fast(now_ns)
        )
        if refusal is not None:
            return refusal
        place = Place(
            order_id=wish.order_id,
            market=wish.market,
            side=wish.side,
            sell=wish.sell,
            price=int(wish.price),
            size=int(wish.size),
            tif=wish.tif,
            expiry_ns=wish.expiry_ns,
        )
        self.fold(now_ns, place)
        return place

    def _stopped(self, wish: Wish, facts: MarketFacts, portfolio: Portfolio) -> Refusal | None:
        if portfolio.killed:
            return Refusal("killed", "trading is killed until a person resumes it")
        if portfolio.halted:
            return Refusal("halted", "trading is halted until a person resumes it")
        if facts.held:
            return Refusal("held", f"market {wish.market} is held")
        post_only_mode = facts.status == d.POST_ONLY_MODE
        if facts.status != d.ACTIVE and not (post_only_mode and wish.tif == d.POST_ONLY):
            return Refusal("not_active", f"market status {facts.status} takes no such order now")
        return None

    def _absurd(self, wish: Wish, facts: MarketFacts) -> Refusal | None:
        """Price and size by themselves and against fair value."""
        if wish.side not in (BID, ASK):
            return Refusal("price_range", f"side {wish.side} is neither bid nor ask")
        # Written so that NaN and infinity fail: what is no whole number was never a price or a size.
        if not (0 < wish.price < PRICE_SCALE and wish.price == int(wish.price)):
            return Refusal("price_range", f"price of {wish.price} units is not inside 0 to 1 dollar")
        if not (0 < wish.size <= MAX_SIZE and wish.size == int(wish.size)):
            return Refusal("bad_size", f"size of {wish.size} micro-contracts is none that can be traded")
        for cap in (facts.max_order_size, self._max_size):
            if 0 < cap < wish.size:
                return Refusal("fat_finger", f"{_size(wish.size)} is over the largest order of {_size(cap)}")
        if not 0 <= facts.fair_micros <= MONEY_SCALE:
            return Refusal("no_fair", f"fair value {facts.fair_micros} can't check the price")
        distance = abs(wish.price * MICROS_PER_PRICE_UNIT - facts.fair_micros)
        for code, band in (("price_band", facts.price_band_micros), ("price_collar", self._collar)):
            if 0 < band < distance:
                return Refusal(
                    code,
                    f"{format_price(wish.price)} is {format_dollars(distance)} from fair value "
                    f"{format_dollars(facts.fair_micros)}, over {format_dollars(band)}",
                )
        return None

    def _against_market(self, wish: Wish, facts: MarketFacts) -> Refusal | None:
        """What the venue would refuse, and a book too old to price on."""
        if 0 < self._max_age_ns < facts.book_age_ns:
            age, most = facts.book_age_ns / NS_PER_SECOND, self._max_age_ns / NS_PER_SECOND
            return Refusal("stale", f"the book is {age:.3f} s old, over {most:.3f} s")
        if not facts.on_grid(wish.price):
            return Refusal("off_grid", f"no order may rest at {format_price(wish.price)}")
        if wish.size < facts.min_size:
            return Refusal(
                "min_size", f"{_size(wish.size)} is below the least order of {_size(facts.min_size)}"
            )
        if wish.size % max(facts.lot, 1) != 0:
            return Refusal("lot", f"{_size(wish.size)} is no multiple of {_size(facts.lot)}")
        far = facts.best_ask if wish.side == BID else facts.best_bid
        crosses = far >= 0 and (wish.price >= far if wish.side == BID else wish.price <= far)
        if self._config.refuse_crossing and wish.tif == d.POST_ONLY and crosses:
            price, touch = format_price(wish.price), format_price(far)
            return Refusal("post_only_cross", f"{price} would take from the far touch at {touch}")
        return None

    def _against_limits(self, wish: Wish, exposure: Exposure, portfolio: Portfolio) -> Refusal | None:
        """Worst case and cash after the order; one that only closes what is surely held is exempt.

        Beyond a cap nothing may leave that makes it worse. What stood before is measured without the orders
        that may be gone in a moment: one that is being cancelled would hide what its successor adds.
        """
        if exposure.closing_contracts(wish.side) >= wish.size:
            return None
        order = OrderExposure(wish.side, wish.sell, wish.price, wish.size)
        before, sure = losses(exposure), losses(exposure.without_doubtful())
        after = losses(exposure.with_order(order))
        others = portfolio.others_loss_micros
        event_sure = portfolio.sure_siblings.joined(*sure)
        event_after = portfolio.siblings.joined(*after)
        total_sure = portfolio.sure_others_micros + event_sure
        total_before, total_after = others + portfolio.siblings.joined(*before), others + event_after
        for code, limit, was, now in (
            ("market_loss", self._market_cap or NO_LIMIT, max(sure), max(after)),
            ("event_loss", self._event_cap or NO_LIMIT, event_sure, event_after),
            ("total_loss", self._total_cap or NO_LIMIT, total_sure, total_after),
            ("heat", portfolio.heat_limit_micros, total_before, total_after),
        ):
            if limit >= 0 and now > was and now > limit:
                return Refusal(
                    code,
                    f"the worst case would be {format_dollars(now)} (now {format_dollars(was)}), "
                    f"over {format_dollars(limit)}",
                )
        return self._too_dear(wish, exposure, portfolio)

    def _too_dear(self, wish: Wish, exposure: Exposure, portfolio: Portfolio) -> Refusal | None:
        """Cash: what the order locks beyond what closes the net position."""
        closed = -exposure.net_contracts if wish.side == BID else exposure.net_contracts
        paid = 0 if wish.sell else wish.size - min(max(closed, 0), wish.size)
        unit = wish.price if wish.side == BID else PRICE_SCALE - wish.price
        cost = ceil_div(unit * paid, PRICE_SCALE)
        free = portfolio.cash_micros
        if self._free_cash > 0:
            free -= portfolio.locked_micros + self._free_cash
        if cost <= max(free, 0):
            return None
        cash, locked = format_dollars(portfolio.cash_micros), format_dollars(portfolio.locked_micros)
        return Refusal(
            "cash",
            f"the order costs {format_dollars(cost)}; cash is {cash}, of which open orders lock {locked} "
            f"and {format_dollars(self._free_cash)} must stay",
        )

    def _too_fast(self, now_ns: int) -> Refusal | None:
        for code, most, span in (
            ("rate_second", self._per_second, NS_PER_SECOND),
            ("rate_minute", self._per_minute, NS_PER_MINUTE),
        ):
            # The one `most` orders ago must have left the window.
            if 0 < most <= len(self._sent_ns) and self._sent_ns[-most] > now_ns - span:
                return Refusal(
                    code, f"{most} orders left in the last {span // NS_PER_SECOND} s, which is the cap"
                )
        return None

    def encode(self) -> bytes:
        """The state as canonical bytes: equal states give equal bytes."""
        return msgspec.msgpack.encode(list(self._sent_ns))

    def load(self, blob: bytes) -> None:
        """Take over the state that `encode` gave; raises `msgspec.DecodeError` for other bytes."""
        sent_ns = msgspec.msgpack.decode(blob, type=list[int])
        self._sent_ns.clear()
        self._sent_ns.extend(sent_ns)

    def fold(self, now_ns: int, _place: Place) -> None:
        """An order was approved and left: it counts against the rates (`approve` folds its own)."""
        if self._per_second or self._per_minute:
            self._sent_ns.append(now_ns)


def _own_cross(wish: Wish, exposure: Exposure) -> Refusal | None:
    """No own bid may meet an own ask, also not one whose fate is unknown."""
    for order in exposure.orders:
        if order.side == wish.side:
            continue
        meets = order.price <= wish.price if wish.side == BID else order.price >= wish.price
        if meets:
            price, own = format_price(wish.price), format_price(order.price)
            return Refusal("own_cross", f"{price} would meet our own order at {own}")
    return None


def _size(size: int) -> str:
    return f"{format_contracts(size)} contracts"
