"""What changes at the stand-in: markets, orders, order groups, and the notes that streams are made of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from standins.kalshi.catalog import MarketSpec, ranges_of
from standins.kalshi.values import (
    ASK,
    BID,
    DOLLAR,
    MS,
    SECOND,
    Json,
    count_text,
    fixed_uuid,
    iso,
    iso_s,
    money_text,
    no_price,
    price_text,
)

USER_ID = fixed_uuid("user")
BOOK_SIDE = ("bid", "ask")
OUTCOME = ("yes", "no")


class Note(NamedTuple):
    """Something that a channel tells. `market` is its place, -1 where the note is not of one market."""

    channel: str
    type: str
    market: int
    body: Any


class BookChange(NamedTuple):
    """The body of a note of the book: both sides in YES prices."""

    side: int
    price: int
    delta: int
    ts_ms: int
    client_order_id: str


@dataclass(slots=True)
class Candle:
    """One minute: open, high, low and close of the touch and of trades, and the volume."""

    bid: list[int]
    ask: list[int]
    trades: list[int] = field(default_factory=list)
    volume: int = 0
    open_interest: int = 0


@dataclass(slots=True)
class MarketState:
    """A market as it stands."""

    spec: MarketSpec
    place: int
    open_ns: int
    close_ns: int
    visible_ns: int
    status: str = "initialized"
    grid: int = 0
    result: str = ""
    value: int = -1  # micros of one YES contract
    expiration_value: str = ""
    settled_ns: int = 0
    determined_ns: int = 0
    updated_ns: int = 0
    others: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    shown: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    waiting: dict[tuple[int, int], int] = field(default_factory=dict)  # levels while nothing trades
    last_price: int = 0
    last_size: int = 0
    volume: int = 0
    dollar_volume: int = 0
    open_interest: int = 0
    previous: tuple[int, int, int] = (0, DOLLAR, 0)
    touch: tuple[int, int, int, int] = (0, 0, DOLLAR, 0)
    trades: list[Json] = field(default_factory=list)
    candles: dict[int, Candle] = field(default_factory=dict)
    fee_waiver_ns: int = 0
    floor: int = 0  # settlement floor, price units

    @property
    def is_over(self) -> bool:
        """Past its close."""
        return self.status not in ("initialized", "active", "inactive")

    def best(self) -> tuple[int, int, int, int]:
        """Best bid, its size, best ask, its size; 0 and 1 dollar where a side is empty."""
        bids, asks = self.shown
        bid, ask = max(bids, default=0), min(asks, default=DOLLAR)
        return bid, bids.get(bid, 0), ask, asks.get(ask, 0)

    def book_json(self, depth: int = 0) -> Json:
        """`orderbook_fp`: NO bids in NO prices, best last."""
        bids = sorted(self.shown[BID].items())
        asks = sorted(((no_price(p), size) for p, size in self.shown[ASK].items()))
        if depth:
            bids, asks = bids[-depth:], asks[-depth:]
        return {
            "yes_dollars": [[price_text(p), count_text(size)] for p, size in bids],
            "no_dollars": [[price_text(p), count_text(size)] for p, size in asks],
        }

    def json(self, created_ns: int) -> Json:
        """A `Market`."""
        spec = self.spec
        bid, bid_size, ask, ask_size = self.best()
        was_bid, was_ask, was_last = self.previous
        body: Json = {
            "ticker": spec.ticker, "event_ticker": spec.event, "market_type": "binary",
            "yes_sub_title": spec.title, "no_sub_title": spec.title, "created_time": iso_s(created_ns),
            "updated_time": iso(self.updated_ns), "open_time": iso_s(self.open_ns),
            "close_time": iso_s(self.close_ns), "expected_expiration_time": iso_s(self.close_ns),
            "latest_expiration_time": iso_s(self.close_ns + 7 * 86_400 * SECOND),
            "settlement_timer_seconds": spec.settlement_timer_s, "status": self.status,
            "yes_bid_dollars": price_text(bid), "yes_bid_size_fp": count_text(bid_size),
            "yes_ask_dollars": price_text(ask), "yes_ask_size_fp": count_text(ask_size),
            "no_bid_dollars": price_text(no_price(ask)), "no_ask_dollars": price_text(no_price(bid)),
            "last_price_dollars": price_text(self.last_price), "volume_fp": count_text(self.volume),
            "volume_24h_fp": count_text(self.volume), "result": self.result,
            "can_close_early": spec.can_close_early, "open_interest_fp": count_text(self.open_interest),
            "notional_value_dollars": "1.0000", "previous_yes_bid_dollars": price_text(was_bid),
            "previous_yes_ask_dollars": price_text(was_ask), "previous_price_dollars": price_text(was_last),
            "expiration_value": self.expiration_value, "rules_primary": "", "rules_secondary": "",
            "price_level_structure": spec.labels[self.grid],
            "price_ranges": ranges_of(spec.grids[self.grid]), "exchange_index": spec.exchange_index,
            "settlement_bounds_type": "floor" if self.floor else "default",
        }  # fmt: skip
        if self.floor:
            body["settlement_floor_dollars"] = price_text(self.floor)
        if spec.floor_strike is not None:
            body |= {"strike_type": "greater_or_equal", "floor_strike": spec.floor_strike}
        if self.value >= 0:
            body["settlement_value_dollars"] = price_text(self.value // 100)
        if self.settled_ns:
            body["settlement_ts"] = iso(self.settled_ns)
        if self.fee_waiver_ns:
            body["fee_waiver_expiration_time"] = iso_s(self.fee_waiver_ns)
        return body

    def ticker_json(self, now_ns: int) -> Json:
        """The body of a `ticker`."""
        bid, bid_size, ask, ask_size = self.best()
        return {
            "market_ticker": self.spec.ticker, "market_id": self.spec.id,
            "price_dollars": price_text(self.last_price), "yes_bid_dollars": price_text(bid),
            "yes_ask_dollars": price_text(ask), "yes_bid_size_fp": count_text(bid_size),
            "yes_ask_size_fp": count_text(ask_size), "last_trade_size_fp": count_text(self.last_size),
            "volume_fp": count_text(self.volume), "open_interest_fp": count_text(self.open_interest),
            "dollar_volume": self.dollar_volume // 1_000_000,
            "dollar_open_interest": self.open_interest // 2_000_000,
            "ts": now_ns // SECOND, "ts_ms": now_ns // MS, "time": iso(now_ns),
        }  # fmt: skip


@dataclass(slots=True)
class Order:
    """An order of the account. `key` is its present number inside the matching engine."""

    id: str
    client_order_id: str
    market: int
    ticker: str
    exchange_index: int
    side: int
    price: int
    total: int  # what it asks for: filled and resting
    key: int
    created_ns: int
    stp: str
    post_only: bool
    has_client_id: bool = True
    group: str = ""
    cancel_on_pause: bool = False
    expiry_s: int = 0
    status: str = "resting"
    filled: int = 0
    remaining: int = 0
    taker_cost: int = 0  # micros, in the price of the held side
    maker_cost: int = 0
    taker_fees: int = 0
    maker_fees: int = 0
    paid: int = 0  # price units x micro-contracts in YES prices, for the average
    updated_ns: int = 0
    reason: str = ""
    end_reason: str = ""  # why its rest will be cancelled after what it trades now

    @property
    def is_open(self) -> bool:
        """Rests in the book."""
        return self.status == "resting"

    def averages(self) -> Json:
        """Average price and fee of its fills, empty without."""
        if not self.filled:
            return {}
        fee = (self.taker_fees + self.maker_fees) * 1_000_000 // self.filled
        return {
            "average_fill_price": price_text(self.paid // self.filled),
            "average_fee_paid": money_text(fee),
        }

    def _sides(self) -> Json:
        return {"outcome_side": OUTCOME[self.side], "book_side": BOOK_SIDE[self.side]}

    def _costs(self) -> Json:
        return {
            "taker_fees_dollars": money_text(self.taker_fees),
            "maker_fees_dollars": money_text(self.maker_fees),
            "taker_fill_cost_dollars": money_text(self.taker_cost),
            "maker_fill_cost_dollars": money_text(self.maker_cost),
        }

    def _counts(self) -> Json:
        return {
            "initial_count_fp": count_text(self.total), "fill_count_fp": count_text(self.filled),
            "remaining_count_fp": count_text(self.remaining),
        }  # fmt: skip

    def json(self) -> Json:
        """As lists show it. The time in force is not said."""
        return {
            "order_id": self.id, "user_id": USER_ID, "client_order_id": self.client_order_id,
            "ticker": self.ticker, "type": "limit", "status": self.status,
            "side": OUTCOME[self.side], "action": "buy",
            "yes_price_dollars": price_text(self.price), "no_price_dollars": price_text(no_price(self.price)),
            **self._sides(), **self._counts(), **self._costs(),
            "expiration_time": iso_s(self.expiry_s * SECOND) if self.expiry_s else None,
            "created_time": iso(self.created_ns), "last_update_time": iso(self.updated_ns),
            "self_trade_prevention_type": self.stp, "order_group_id": self.group or None,
            "cancel_order_on_pause": self.cancel_on_pause, "subaccount_number": 0,
            "exchange_index": self.exchange_index,
        }  # fmt: skip

    def told(self) -> Json:
        """The body of a `user_order`."""
        body: Json = {
            "order_id": self.id, "user_id": USER_ID, "ticker": self.ticker,
            "exchange_index": self.exchange_index, "status": self.status, **self._sides(),
            "side": OUTCOME[self.side], "is_yes": self.side == BID,
            "yes_price_dollars": price_text(self.price), **self._counts(), **self._costs(),
            "client_order_id": self.client_order_id, "self_trade_prevention_type": self.stp,
            "created_time": iso_s(self.created_ns), "created_ts_ms": self.created_ns // MS,
            "last_updated_ts_ms": self.updated_ns // MS, "subaccount_number": 0,
        }  # fmt: skip
        if self.group:
            body["order_group_id"] = self.group
        if self.expiry_s:
            body["expiration_ts_ms"] = self.expiry_s * 1_000
        if self.reason:
            body["last_update_reason"] = self.reason
        return body


@dataclass(slots=True)
class Group:
    """An order group and what its orders matched in the last 15 s."""

    id: str
    exchange_index: int
    limit: int  # micro-contracts
    triggered: bool = False
    matched: deque[tuple[int, int]] = field(default_factory=deque)  # (ns, micro-contracts)

    def matched_by(self, now_ns: int, window_ns: int) -> int:
        """What matched inside the window."""
        while self.matched and self.matched[0][0] <= now_ns - window_ns:
            self.matched.popleft()
        return sum(size for _, size in self.matched)

    def json(self) -> Json:
        """As lists show it."""
        return {
            "id": self.id, "contracts_limit_fp": count_text(self.limit),
            "is_auto_cancel_enabled": True, "exchange_index": self.exchange_index,
        }  # fmt: skip
