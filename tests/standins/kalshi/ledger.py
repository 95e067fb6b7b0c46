"""The account: positions, cash on each shard, fills and settlements, in exact integers.

Kept from the fills alone by the reference's section on collateral, apart from the books of the simulated
exchange, so that the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from standins.common.history import History
from standins.kalshi.state import USER_ID, MarketState, Order
from standins.kalshi.values import ASK, BID, DOLLAR, MICRO, Json, count_text, iso, money4_text, money_text


@dataclass(slots=True)
class Position:
    """What is held in one market; signed micro-contracts of YES."""

    size: int = 0
    cost: int = 0  # micros paid for what is held
    realized: int = 0
    fees: int = 0
    traded: int = 0  # micros that changed hands
    volume: int = 0
    updated_ns: int = 0


@dataclass(slots=True)
class Ledger:
    """The account's books. `cash` is by shard, what resting orders lock included."""

    history: History
    cash: dict[int, int]
    positions: dict[int, Position] = field(default_factory=dict)
    fills: list[Json] = field(default_factory=list)
    fill_ns: list[int] = field(default_factory=list)
    settlements: list[tuple[int, Json]] = field(default_factory=list)
    payouts: dict[int, tuple[int, int]] = field(default_factory=dict)  # market: (size, paid)

    def fill(self, now_ns: int, order: Order, price: int, size: int, fee: int) -> Position:
        """Book one fill in YES terms."""
        held = self.positions.setdefault(order.market, Position())
        signed = size if order.side == BID else -size
        closes = min(abs(held.size), size) if held.size * signed < 0 else 0
        opens = size - closes
        own = price if order.side == BID else DOLLAR - price  # what a contract of the bought side costs
        proceeds = (DOLLAR - own) * closes // DOLLAR
        released = held.cost * closes // abs(held.size) if closes else 0
        spent = own * opens // DOLLAR
        held.cost += spent - released
        held.realized += proceeds - released
        held.size += signed
        held.fees += fee
        held.traded += own * size // DOLLAR
        held.volume += size
        held.updated_ns = now_ns
        self.cash[order.exchange_index] += proceeds - spent - fee
        return held

    def settle(self, now_ns: int, market: MarketState, value: int, *, refund: bool) -> int:
        """Pay a market's position out and list the settlement; returns what was paid."""
        held = self.positions.setdefault(market.place, Position())
        size, cost = held.size, held.cost
        own = value if size > 0 else MICRO - value
        # a void undoes every trade, closed ones too
        paid = cost - held.realized if refund else abs(size) * own // MICRO
        rest = 0 if refund or value in (0, MICRO) else paid % 10_000  # less than a cent is kept
        paid -= rest
        self.cash[market.spec.exchange_index] += paid
        self.payouts[market.place] = (size, paid)
        held.realized += paid - cost
        held.size = held.cost = 0
        held.updated_ns = now_ns
        if size or held.volume:
            row = _settlement(now_ns, market, size, cost, paid, value, held.fees + rest)
            self.settlements.append((now_ns, row))
        return paid

    def amend(self, now_ns: int, market: MarketState, value: int) -> int:
        """A market that has paid out pays another value; returns the difference."""
        size, paid = self.payouts[market.place]
        own = value if size > 0 else MICRO - value
        due = abs(size) * own // MICRO
        self.payouts[market.place] = (size, due)
        self.cash[market.spec.exchange_index] += due - paid
        self.positions[market.place].realized += due - paid
        for place, (at_ns, row) in enumerate(self.settlements):
            if row["ticker"] == market.spec.ticker:
                changed = row | {"market_result": market.result, "revenue": due // 10_000}
                changed |= {"value": value // 10_000, "settled_time": iso(now_ns)}
                self.settlements[place] = (at_ns, changed)
        return due - paid

    def note(self, now_ns: int, market: MarketState | None = None) -> None:
        """Remember cash, and a market's position, for reads that lag."""
        self.history.note(now_ns, ("cash",), dict(self.cash))
        if market is not None and market.place in self.positions:
            row = (self.position_json(market), market.spec.event)
            self.history.note(now_ns, ("position", market.place), row)

    def position_json(self, market: MarketState) -> Json:
        """A `market_position` of the REST answer."""
        held = self.positions[market.place]
        return {
            "ticker": market.spec.ticker, "exchange_index": market.spec.exchange_index,
            "total_traded_dollars": money_text(held.traded), "position_fp": count_text(held.size),
            "market_exposure_dollars": money_text(held.cost),
            "realized_pnl_dollars": money_text(held.realized), "fees_paid_dollars": money_text(held.fees),
            "last_updated_ts": iso(held.updated_ns),
        }  # fmt: skip

    def told(self, market: MarketState) -> Json:
        """The body of a `market_position`."""
        held = self.positions[market.place]
        return {
            "user_id": USER_ID, "market_ticker": market.spec.ticker, "position_fp": count_text(held.size),
            "position_cost_dollars": money4_text(held.cost),
            "realized_pnl_dollars": money4_text(held.realized),
            "fees_paid_dollars": money4_text(held.fees), "position_fee_cost_dollars": money4_text(held.fees),
            "volume_fp": count_text(held.volume), "subaccount": 0,
        }  # fmt: skip


def _settlement(
    now_ns: int, market: MarketState, size: int, cost: int, paid: int, value: int, fees: int
) -> Json:
    yes, no = max(size, 0), max(-size, 0)
    return {
        "ticker": market.spec.ticker, "event_ticker": market.spec.event,
        "exchange_index": market.spec.exchange_index, "market_result": market.result,
        "yes_count_fp": count_text(yes), "yes_total_cost_dollars": money_text(cost if yes else 0),
        "no_count_fp": count_text(no), "no_total_cost_dollars": money_text(cost if no else 0),
        "revenue": paid // 10_000, "value": None if market.value < 0 else value // 10_000,
        "fee_cost": money_text(fees),
        "settled_time": iso(now_ns),
    }  # fmt: skip


def reserved(orders: list[Order], size: int) -> int:
    """Cash that one market's resting orders lock: what closes a position is covered, cheapest first."""
    total = 0
    for side in (BID, ASK):
        need, cheapest, count = 0, DOLLAR, 0
        for order in orders:
            if order.side == side and order.remaining:
                own = order.price if side == BID else DOLLAR - order.price
                need += own * order.remaining // DOLLAR
                cheapest, count = min(cheapest, own), count + order.remaining
        covered = min(max(-size if side == BID else size, 0), count)
        total += max(0, need - cheapest * covered // DOLLAR)
    return total
