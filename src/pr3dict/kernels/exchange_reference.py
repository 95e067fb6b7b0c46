"""The simulated exchange written once more in the slow, obvious way.

Levels are dicts from price to size, orders plain objects in order of arrival, and whatever can be recomputed
is recomputed: nothing is kept up to date. It shares no code with the compiled exchange, so a test that feeds
both the same recording and the same messages and finds the same reports has two opinions that agree. Units
as everywhere: price 1/10,000 $, size 1/1,000,000 contract, money micros, time ns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pr3dict.domain.fees import FeeState, FeeTerms, charge
from pr3dict.kernels import dtypes as d

DOLLAR = 10_000  # price units
UNIT_MICROS = 100  # micros a price unit
CONTRACT = 1_000_000  # micro-contracts
SECOND_NS = 1_000_000_000
_ENDED = (d.CLOSED, d.DETERMINED, d.SETTLED)


class Report(NamedTuple):
    """One report to us; the fields are those of a MESSAGE row, price and fees of fills only."""

    at_ns: int
    kind: int
    market: int
    slot: int
    id: int
    qty: int
    why: int = d.WHY_NONE
    price: int = 0
    fee_micros: int = 0
    rebate_micros: int = 0
    maker: bool = False


class Trade(NamedTuple):
    """One own fill; the fields are those of a FILL row."""

    exch_ns: int
    order_id: int
    qty: int
    cash_micros: int
    fee_micros: int
    rebate_micros: int
    mid_micros: int
    net_contracts: int
    price: int
    market: int
    side: int
    maker: bool


@dataclass
class Own:
    """An own order at the exchange."""

    id: int
    slot: int
    side: int
    leg: int
    price: int
    qty: int
    remaining: int
    expiry_ns: int
    front: int = 0
    traded: int = 0
    fee_state: FeeState = field(default_factory=FeeState)
    was_filled: bool = False


@dataclass
class Statistics:
    """What MARKET_STATS holds of a market."""

    rejects: int = 0
    fills: int = 0
    orders_filled: int = 0
    contracts_filled: int = 0
    traded_contracts: int = 0
    max_inventory: int = 0
    observed_ns: int = 0
    quotable_ns: int = 0
    two_sided_ns: int = 0
    rebalancing_ns: int = 0
    quoted_spread_sum: int = 0
    skew_sum: int = 0
    settled: int = 0
    mark_micros: int = -1
    mark_before_settle_micros: int = -1


@dataclass
class Market:
    """One market: the recording's book, what we took of it, our orders and what we hold."""

    grid: int
    nets: bool
    min_size: int
    fees: FeeTerms
    status: int = d.ACTIVE
    levels: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    taken: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    orders: list[Own] = field(default_factory=list)  # resting, in order of arrival
    yes: int = 0
    no: int = 0
    cost_micros: int = 0
    since_ns: int | None = None
    stats: Statistics = field(default_factory=Statistics)

    def best(self, side: int) -> int | None:
        """Best price of the recording."""
        prices = [price for price, size in self.levels[side].items() if size > 0]
        if not prices:
            return None
        return max(prices) if side == d.BID else min(prices)

    def mid_micros(self) -> int:
        """Middle of the recording's touch; -1 without two sides, or with a locked or crossed book."""
        bid, ask = self.best(d.BID), self.best(d.ASK)
        if bid is None or ask is None or bid >= ask:
            return -1
        return (bid + ask) * UNIT_MICROS // 2

    def displayed(self, side: int, price: int) -> int:
        """What the recording shows at a price and we have not taken."""
        return max(0, self.levels[side].get(price, 0) - self.taken[side].get(price, 0))

    def reached(self, side: int, price: int) -> list[Own]:
        """Own orders on `side` that a taker with limit `price` reaches, in price-time order."""
        if side == d.BID:
            hit = [order for order in self.orders if order.price >= price]
            hit = [order for order in hit if order.side == d.BID]
            return sorted(hit, key=lambda order: -order.price)  # stable: arrival order within a price
        hit = [order for order in self.orders if order.price <= price]
        hit = [order for order in hit if order.side == d.ASK]
        return sorted(hit, key=lambda order: order.price)

    def crossed(self, side: int, price: int) -> list[tuple[int, int]]:
        """(price, displayed size) of the other side that an order of `side` meets, best first."""
        if side == d.BID:
            prices = sorted(p for p in self.levels[d.ASK] if p <= price)
        else:
            prices = sorted((p for p in self.levels[d.BID] if p >= price), reverse=True)
        shown = [(p, self.displayed(1 - side, p)) for p in prices]
        return [(p, size) for p, size in shown if size > 0]

    def reserved_micros(self, extra: Own | None = None) -> int:
        """Cash that resting orders (and one more) lock: what each costs, less what closes a held pair.

        On a venue that nets, as many contracts of a side as are held of the other kind cost nothing; they are
        counted at the side's cheapest price, whichever of the orders that will be.
        """
        total = 0
        for side in (d.BID, d.ASK):
            orders = [*self.orders, extra] if extra is not None else self.orders
            buys = [o for o in orders if o.side == side and o.leg == d.BUY_LEG]
            if not buys:
                continue
            unit = {o.id: o.price if side == d.BID else DOLLAR - o.price for o in buys}
            need = sum(_up(unit[o.id] * o.remaining) for o in buys)
            closing = (self.no if side == d.BID else self.yes) if self.nets else 0
            free = min(closing, sum(o.remaining for o in buys))
            total += max(0, need - _up(min(unit.values()) * free))
        return total

    def unsold(self, side: int) -> int:
        """Held contracts that a sell order of `side` may still promise."""
        held = self.no if side == d.BID else self.yes
        return held - sum(o.remaining for o in self.orders if o.side == side and o.leg == d.SELL_LEG)


def _up(units: int) -> int:
    return -(-units // DOLLAR)


def behind_share(front: float, back: float, model: int, power: float) -> float:
    """Share of cancelled contracts that stood behind us: the formulas of hftbacktest's `queue.rs`."""
    if model == d.QUEUE_RISK_AVERSE or front <= 0:
        return 1.0
    if model == d.QUEUE_OPTIMISTIC or back <= 0:
        return 0.0
    shares: dict[int, float] = {
        d.QUEUE_POWER: back**power / (back**power + front**power),
        d.QUEUE_POWER2: back**power / (back + front) ** power,
        d.QUEUE_POWER3: 1 - (front / (front + back)) ** power,
        d.QUEUE_LOG: math.log(1 + back) / (math.log(1 + back) + math.log(1 + front)),
        d.QUEUE_LOG2: math.log(1 + back) / math.log(1 + back + front),
    }
    return shares[model]


def front_after_change(front: int, old: int, new: int, traded: int, model: int, power: float) -> int:
    """Size ahead of us after the level went from `old` to `new`, of which `traded` is explained by trades."""
    cancelled = old - new - traded
    if cancelled > 0 and front > 0 and model != d.QUEUE_RISK_AVERSE:
        back = max(0, old - front)
        share = behind_share(front / CONTRACT, back / CONTRACT, model, power)
        from_behind = math.ceil(share * cancelled)
        from_ahead = cancelled - from_behind
        more_than_stood_behind = max(0, from_behind - back)
        front = front - from_ahead - more_than_stood_behind
    return max(0, min(front, new))


class Exchange:
    """Our orders against a recording; `reports` and `fills` grow, every other answer is computed when asked.

    `grids` are the valid prices of each grid.
    """

    def __init__(
        self,
        grids: Sequence[Sequence[int]],
        markets: Sequence[Market],
        *,
        cash_micros: int,
        queue: int = d.QUEUE_RISK_AVERSE,
        power: float = 1.0,
        response_ns: int = 0,
        merge_threshold: int = 0,
        order_rate: float = 0.0,
        order_burst: float = 0.0,
        rebalance_threshold: int = 0,
    ) -> None:
        self.grids = [sorted(grid) for grid in grids]
        self.markets = list(markets)
        self.cash_micros = cash_micros
        self.queue = queue
        self.power = power
        self.response_ns = response_ns
        self.merge_threshold = merge_threshold
        self.order_rate = order_rate
        self.order_burst = order_burst
        self.rebalance_threshold = rebalance_threshold
        self.tokens = 0.0
        self.tokens_ns = 0
        self.reports: list[Report] = []
        self.fills: list[Trade] = []

    # --- the recording ------------------------------------------------------------------------------

    def level(self, now_ns: int, m: int, side: int, price: int, size: int) -> None:
        """`size` rests at (side, price)."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        old = market.levels[side].get(price, 0)
        grown = size - old
        for order in market.reached(1 - side, price):
            if grown <= 0:
                break
            # Had our order been there, the newcomer would have traded with it first.
            met = min(grown, order.remaining)
            self._trade(now_ns, m, order, order.price, met, maker=True)
            market.taken[side][price] = market.taken[side].get(price, 0) + met
            grown -= met
        market.levels[side][price] = size
        market.taken[side][price] = min(market.taken[side].get(price, 0), size)
        for order in market.orders:
            if order.side == side and order.price == price:
                order.front = front_after_change(order.front, old, size, order.traded, self.queue, self.power)
                order.traded = 0
        self._note_mark(m)

    def trade(self, now_ns: int, m: int, taker: int, price: int, size: int) -> None:
        """A taker on side `taker` traded `size` at `price`."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        market.stats.traded_contracts += size
        left = size
        for order in market.reached(1 - taker, price):
            reaches_us = left
            if order.price == price:
                reaches_us = max(0, left - order.front)
                order.front = max(0, order.front - left)
                order.traded += size
            met = min(reaches_us, order.remaining)
            if met > 0:
                self._trade(now_ns, m, order, order.price, met, maker=True)
                left -= met

    def status(self, now_ns: int, m: int, status: int) -> None:
        """The market's status becomes `status`."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        before, market.status = market.status, status
        if status in _ENDED:
            self._cancel_all(now_ns, m, d.WHY_CLOSED)
        if before == d.PAUSED and status == d.ACTIVE and market.nets:
            self._cancel_all(now_ns, m, d.WHY_REACTIVATED)  # Kalshi wipes the book when it reactivates

    def tick(self, now_ns: int, m: int, grid: int) -> None:
        """The price grid becomes `grid`: prices it lacks move away from the other side, or to its edge."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        valid = self.grids[grid]
        if grid != market.grid:
            for books in (market.levels, market.taken):
                for side in (d.BID, d.ASK):
                    moved: dict[int, int] = {}
                    for price, size in books[side].items():
                        to = _outward(valid, side, price)
                        moved[to] = moved.get(to, 0) + size
                    books[side].clear()
                    books[side].update(moved)
        market.grid = grid
        for order in list(market.orders):
            if order.price not in valid:
                self._cancel(now_ns, m, order, d.WHY_OFF_GRID)
        self._note_mark(m)

    def settle(self, now_ns: int, m: int, value_micros: int, refund: bool) -> None:
        """Each YES contract pays `value_micros`, each NO contract the rest of its dollar; or costs return."""
        market = self.markets[m]
        self.status(now_ns, m, d.SETTLED)
        market.stats.settled = 2 if refund else 1
        market.stats.mark_before_settle_micros = market.stats.mark_micros
        paid = (market.yes * value_micros + market.no * (1_000_000 - value_micros)) // CONTRACT
        if refund:
            paid = market.cost_micros
        self.cash_micros += paid
        market.cost_micros -= paid
        market.yes = market.no = 0

    def expire(self, now_ns: int) -> None:
        """Cancel what has expired."""
        for m, market in enumerate(self.markets):
            for order in list(market.orders):
                if 0 < order.expiry_ns <= now_ns:
                    self._cancel(now_ns, m, order, d.WHY_EXPIRED)

    # --- our messages -------------------------------------------------------------------------------

    def new(self, now_ns: int, m: int, order: Own, tif: int) -> None:
        """A new order arrives."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        why = self._refusal(now_ns, m, order, tif)
        if why != d.WHY_NONE:
            market.stats.rejects += 1
            self._report(now_ns, d.REJECT, m, order, order.qty, why)
            return
        self._report(now_ns, d.ACK, m, order, order.qty)
        if tif != d.POST_ONLY:
            for price, size in market.crossed(order.side, order.price):
                met = min(size, order.remaining)
                if met > 0:
                    gone = market.taken[1 - order.side]
                    gone[price] = gone.get(price, 0) + met
                    self._trade(now_ns, m, order, price, met, maker=False)
        if order.remaining == 0:
            return
        if tif in (d.IOC, d.FOK):
            self._report(now_ns, d.CANCELED, m, order, order.remaining, d.WHY_UNFILLED_IOC)
            return
        order.front = market.displayed(order.side, order.price)
        market.orders.append(order)

    def cancel(self, now_ns: int, m: int, slot: int, order_id: int) -> None:
        """A cancel arrives."""
        order = self._named(now_ns, m, slot, order_id)
        if order is not None:
            self._cancel(now_ns, m, order, d.WHY_NONE)

    def reduce(self, now_ns: int, m: int, slot: int, order_id: int, size: int) -> None:
        """A request arrives that no more than `size` of an order shall rest; it keeps its place."""
        order = self._named(now_ns, m, slot, order_id)
        if order is None:
            return
        if size <= 0:
            self._cancel(now_ns, m, order, d.WHY_NONE)
            return
        order.remaining = min(order.remaining, size)
        self._report(now_ns, d.REDUCED, m, order, order.remaining)

    # --- how it is done -----------------------------------------------------------------------------

    def _refusal(self, now_ns: int, m: int, order: Own, tif: int) -> int:
        """The first check that a new order fails."""
        return next((why for why, fails in self._checks(now_ns, m, order, tif) if fails), d.WHY_NONE)

    def _checks(self, now_ns: int, m: int, order: Own, tif: int) -> Iterator[tuple[int, bool]]:
        market = self.markets[m]
        open_to_all = market.status == d.ACTIVE
        open_to_makers = market.status == d.POST_ONLY_MODE and tif == d.POST_ONLY
        yield d.WHY_NOT_ACTIVE, not (open_to_all or open_to_makers)
        yield d.WHY_RATE_LIMIT, not self._spend_token(now_ns)
        yield d.WHY_EXPIRED, 0 < order.expiry_ns <= now_ns
        yield d.WHY_OFF_GRID, order.price not in self.grids[market.grid]
        yield d.WHY_MIN_SIZE, order.qty < market.min_size
        yield d.WHY_SELF_TRADE, bool(market.reached(1 - order.side, order.price))
        yield d.WHY_NOT_HELD, order.leg == d.SELL_LEG and order.qty > market.unsold(order.side)
        reserved_elsewhere = self.reserved_micros() - market.reserved_micros()
        need = market.reserved_micros(order) + reserved_elsewhere
        more = need > self.reserved_micros()
        yield d.WHY_NO_CASH, more and need > self.cash_micros
        meets = sum(size for _, size in market.crossed(order.side, order.price))
        yield d.WHY_POST_ONLY_CROSS, tif == d.POST_ONLY and meets > 0
        yield d.WHY_UNFILLED_IOC, tif == d.FOK and meets < order.qty

    def reserved_micros(self) -> int:
        """Cash that the resting orders of all markets lock."""
        return sum(market.reserved_micros() for market in self.markets)

    def _spend_token(self, now_ns: int) -> bool:
        if self.order_rate <= 0:
            return True
        gained = (now_ns - self.tokens_ns) * self.order_rate / 1e9
        self.tokens = min(self.order_burst, self.tokens + gained)
        self.tokens_ns = now_ns
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def _named(self, now_ns: int, m: int, slot: int, order_id: int) -> Own | None:
        """The resting order that a cancel or a reduction names; without it the request is refused."""
        market = self.markets[m]
        self._pass_time(m, now_ns)
        found = [order for order in market.orders if order.slot == slot and order.id == order_id]
        why = d.WHY_UNKNOWN_ORDER if not found else d.WHY_NONE
        if market.status == d.RESTARTING:
            why = d.WHY_NOT_ACTIVE
        if why == d.WHY_NONE:
            return found[0]
        self.reports.append(Report(now_ns + self.response_ns, d.CANCEL_REJECT, m, slot, order_id, 0, why))
        return None

    def _cancel(self, now_ns: int, m: int, order: Own, why: int) -> None:
        self._pass_time(m, now_ns)
        self.markets[m].orders.remove(order)
        self._report(now_ns, d.CANCELED, m, order, order.remaining, why)

    def _cancel_all(self, now_ns: int, m: int, why: int) -> None:
        for order in list(self.markets[m].orders):
            self._cancel(now_ns, m, order, why)

    def _report(self, now_ns: int, kind: int, m: int, order: Own, qty: int, why: int = d.WHY_NONE) -> None:
        at_ns = now_ns + self.response_ns
        self.reports.append(Report(at_ns, kind, m, order.slot, order.id, qty, why))

    def _trade(self, now_ns: int, m: int, order: Own, price: int, size: int, *, maker: bool) -> None:
        """`size` of an own order trades at `price`."""
        market = self.markets[m]
        cash = -_up(price * size) if order.side == d.BID else price * size // DOLLAR
        # What the order's own contract costs: YES at the price, or NO at a dollar less the price.
        revenue = cash if order.side == d.BID else cash - size
        fee = charge(
            market.fees, price=price, size=size, revenue_micros=revenue, maker=maker, state=order.fee_state
        )
        order.fee_state = fee.state
        before = self.cash_micros
        self._book(market, order, cash, size)
        market.cost_micros -= self.cash_micros - before
        self.cash_micros += fee.rebate_micros - fee.fee_micros
        stats = market.stats
        stats.orders_filled += not order.was_filled
        order.was_filled = True
        order.remaining -= size
        if maker and order.remaining == 0:
            market.orders.remove(order)
        net = market.yes - market.no
        stats.fills += 1
        stats.contracts_filled += size
        stats.max_inventory = max(stats.max_inventory, abs(net))
        self.fills.append(
            Trade(
                now_ns, order.id, size, cash, fee.fee_micros, fee.rebate_micros, market.mid_micros(), net,
                price, m, order.side, maker,
            )
        )  # fmt: skip
        self.reports.append(
            Report(
                now_ns + self.response_ns, d.FILL_REPORT, m, order.slot, order.id, size, d.WHY_NONE, price,
                fee.fee_micros, fee.rebate_micros, maker,
            )
        )  # fmt: skip

    def _book(self, market: Market, order: Own, cash: int, size: int) -> None:
        """Contracts change hands. An ask sells YES where it may, else it buys NO: a dollar less its price."""
        held = market.no if order.side == d.BID else market.yes
        sold = min(held, size) if market.nets or order.leg == d.SELL_LEG else 0
        bought = size - sold
        if order.side == d.BID:
            market.no -= sold
            market.yes += bought
            self.cash_micros += cash + sold  # selling NO at 1 - p is buying YES at p and redeeming the pair
        else:
            market.yes -= sold
            market.no += bought
            self.cash_micros += cash - bought
        pairs = min(market.yes, market.no)
        if 0 < self.merge_threshold <= pairs:
            market.yes -= pairs
            market.no -= pairs
            self.cash_micros += pairs

    def _note_mark(self, m: int) -> None:
        market = self.markets[m]
        if market.mid_micros() >= 0 and market.status != d.SETTLED:
            market.stats.mark_micros = market.mid_micros()

    def _pass_time(self, m: int, now_ns: int) -> None:
        """Count the time in which the market stood as it stands; called before each event."""
        market, stats = self.markets[m], self.markets[m].stats
        span = 0 if market.since_ns is None else now_ns - market.since_ns
        market.since_ns = now_ns
        if market.status in _ENDED:
            return
        net = abs(market.yes - market.no)
        stats.observed_ns += span
        stats.skew_sum += net * span
        stats.rebalancing_ns += span if net > self.rebalance_threshold else 0
        if market.status != d.ACTIVE or market.mid_micros() < 0:
            return
        stats.quotable_ns += span
        bids = [order.price for order in market.orders if order.side == d.BID]
        asks = [order.price for order in market.orders if order.side == d.ASK]
        if bids and asks:
            stats.two_sided_ns += span
            stats.quoted_spread_sum += (min(asks) - max(bids)) * UNIT_MICROS * span

    def close_books(self, now_ns: int) -> None:
        """Bring the statistics of every market up to `now_ns`."""
        for m in range(len(self.markets)):
            self._pass_time(m, now_ns)


def _outward(valid: Sequence[int], side: int, price: int) -> int:
    """The valid price at `price` or next to it away from the other side; the grid's edge beyond it."""
    if side == d.BID:
        return max((p for p in valid if p <= price), default=valid[0])
    return min((p for p in valid if p >= price), default=valid[-1])
