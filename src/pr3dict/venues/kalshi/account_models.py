"""Kalshi's bodies about an account: orders, fills, positions, money, order groups, limits.

As in `models.py`: what we do not use is left out, a field without a default must be there.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pr3dict.venues.kalshi.models import Body
from pr3dict.venues.kalshi.numbers import (
    Amount,
    Cents,
    Count,
    Moment,
    MomentMs,
    MomentS,
    Money,
    Price,
    SignedSize,
    Size,
)

BookSide = Literal["bid", "ask"]


# --- orders: what we send -----------------------------------------------------------------------------


class CreateOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /portfolio/events/orders`. `price` and `count` are texts; `expiration_time` in Unix seconds."""

    ticker: str
    side: BookSide
    count: str
    price: str
    time_in_force: Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
    self_trade_prevention_type: Literal["taker_at_cross", "maker"]
    client_order_id: str
    exchange_index: int
    post_only: bool = False
    reduce_only: bool = False
    cancel_order_on_pause: bool = False
    expiration_time: int | None = None
    order_group_id: str | None = None
    subaccount: int | None = None


class AmendOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST .../{order_id}/amend`: `count` is the new total, filled contracts included."""

    ticker: str
    side: BookSide
    price: str
    count: str
    exchange_index: int
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expiration_time: int | None = None  # None: as it was, 0: none


class DecreaseOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST .../{order_id}/decrease`: exactly one of both."""

    exchange_index: int
    market_ticker: str
    reduce_by: str | None = None
    reduce_to: str | None = None


class CancelItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order of a batch to cancel."""

    order_id: str
    exchange_index: int
    market_ticker: str
    subaccount: int | None = None


# --- orders: what comes back --------------------------------------------------------------------------


class Created(Body, frozen=True, kw_only=True):
    """Answer to a new order."""

    order_id: str
    fill_count: Size
    remaining_count: Size
    client_order_id: str | None = None
    average_fill_price: Money | None = None
    average_fee_paid: Money | None = None
    ts_ms: MomentMs | None = None


class Canceled(Body, frozen=True, kw_only=True):
    """Answer to a cancel: `reduced_by` was still resting."""

    order_id: str
    reduced_by: Size
    client_order_id: str | None = None
    ts_ms: MomentMs | None = None


class Amended(Body, frozen=True, kw_only=True):
    """Answer to an amendment; a figure that did not change is null."""

    order_id: str
    client_order_id: str | None = None
    remaining_count: Size | None = None
    fill_count: Size | None = None
    ts_ms: MomentMs | None = None


class Decreased(Body, frozen=True, kw_only=True):
    """Answer to a decrease."""

    order_id: str
    remaining_count: Size
    client_order_id: str | None = None
    ts_ms: MomentMs | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was refused: Kalshi's code, and its words."""

    code: str = ""
    message: str = ""
    details: str = ""


class CreatedItem(Body, frozen=True, kw_only=True):
    """One order of a batch: accepted, or refused with an `error`; raw where its numbers are absent."""

    order_id: str | None = None
    client_order_id: str | None = None
    fill_count: Size | None = None
    remaining_count: Size | None = None
    error: Problem | None = None


class CreatedBatch(Body, frozen=True, kw_only=True):
    """Answer to a batch of new orders, in the order of the request."""

    orders: tuple[CreatedItem, ...]


class CanceledItem(Body, frozen=True, kw_only=True):
    """One order of a batch of cancels."""

    order_id: str | None = None
    client_order_id: str | None = None
    reduced_by: Size | None = None
    error: Problem | None = None


class CanceledBatch(Body, frozen=True, kw_only=True):
    """Answer to a batch of cancels."""

    orders: tuple[CanceledItem, ...]


class Order(Body, frozen=True, kw_only=True):
    """An order as reads list it."""

    order_id: str
    ticker: str
    status: str
    book_side: str
    yes_price_dollars: Price
    initial_count_fp: Size
    fill_count_fp: Size
    remaining_count_fp: Size
    client_order_id: str | None = None
    expiration_time: Moment | None = None
    created_time: Moment | None = None
    last_update_time: Moment | None = None
    order_group_id: str | None = None
    cancel_order_on_pause: bool | None = None
    subaccount_number: int | None = None
    exchange_index: int | None = None


class OrderAnswer(Body, frozen=True, kw_only=True):
    """`GET /portfolio/orders/{id}`."""

    order: Order


class Orders(Body, frozen=True, kw_only=True):
    """A page of `GET /portfolio/orders`."""

    orders: tuple[Order, ...]
    cursor: str


class QueuePosition(Body, frozen=True, kw_only=True):
    """Contracts ahead of one of our orders."""

    order_id: str
    market_ticker: str
    queue_position_fp: Size


class QueuePositions(Body, frozen=True, kw_only=True):
    """`GET /portfolio/orders/queue_positions`."""

    queue_positions: tuple[QueuePosition, ...] | None = None


class QueuePositionAnswer(Body, frozen=True, kw_only=True):
    """`GET /portfolio/orders/{id}/queue_position`."""

    queue_position_fp: Size


# --- fills, positions, money ----------------------------------------------------------------------------


class Fill(Body, frozen=True, kw_only=True):
    """One trade of ours as reads list it; `fee_cost` is the whole fee of it."""

    order_id: str
    book_side: str
    count_fp: Size
    yes_price_dollars: Price
    is_taker: bool
    fee_cost: Money
    trade_id: str | None = None
    fill_id: str | None = None
    ticker: str | None = None
    market_ticker: str | None = None
    exchange_index: int | None = None
    created_time: Moment | None = None
    ts: MomentS | None = None
    subaccount_number: int | None = None

    @property
    def market(self) -> str:
        """Its ticker, under either name; "" where both are absent."""
        return self.ticker or self.market_ticker or ""

    @property
    def id(self) -> str:
        """Its id, under either name; "" where both are absent."""
        return self.trade_id or self.fill_id or ""

    @property
    def traded_ns(self) -> int | None:
        """When it traded, as exactly as it is said."""
        return self.created_time if self.created_time is not None else self.ts


class Fills(Body, frozen=True, kw_only=True):
    """A page of `GET /portfolio/fills`."""

    fills: tuple[Fill, ...]
    cursor: str


class MarketPosition(Body, frozen=True, kw_only=True):
    """What is held in a market; below 0: NO."""

    ticker: str
    position_fp: SignedSize
    market_exposure_dollars: Money
    realized_pnl_dollars: Money
    fees_paid_dollars: Money
    total_traded_dollars: Money | None = None
    exchange_index: int | None = None
    last_updated_ts: Moment | None = None


class Positions(Body, frozen=True, kw_only=True):
    """A page of `GET /portfolio/positions`."""

    market_positions: tuple[MarketPosition, ...]
    cursor: str | None = None


class Settlement(Body, frozen=True, kw_only=True):
    """What a market paid us."""

    ticker: str
    market_result: str
    yes_count_fp: Size
    no_count_fp: Size
    yes_total_cost_dollars: Money
    no_total_cost_dollars: Money
    revenue: Cents
    settled_time: Moment
    event_ticker: str | None = None
    value: Cents | None = None
    fee_cost: Money | None = None
    exchange_index: int | None = None


class Settlements(Body, frozen=True, kw_only=True):
    """A page of `GET /portfolio/settlements`."""

    settlements: tuple[Settlement, ...]
    cursor: str


class ShardBalance(Body, frozen=True, kw_only=True):
    """Money at one shard."""

    exchange_index: Count
    balance: Amount


class Balance(Body, frozen=True, kw_only=True):
    """`GET /portfolio/balance`; `balance` is cut to cents, `balance_dollars` is exact."""

    balance: Cents
    balance_dollars: Money
    portfolio_value: Cents
    balance_breakdown: tuple[ShardBalance, ...] | None = None


class Cutoff(Body, frozen=True, kw_only=True):
    """`GET /historical/cutoff`: what is older is only listed under /historical; resting orders never are."""

    trades_created_ts: Moment
    orders_updated_ts: Moment
    market_settled_ts: Moment | None = None
    market_positions_last_updated_ts: Moment | None = None


# --- order groups ---------------------------------------------------------------------------------------


class GroupCreated(Body, frozen=True, kw_only=True):
    """`POST /portfolio/order_groups/create`."""

    order_group_id: str
    subaccount: int | None = None
    exchange_index: int | None = None


class OrderGroup(Body, frozen=True, kw_only=True):
    """A kill switch at the exchange: so many contracts in 15 seconds cancel its orders."""

    is_auto_cancel_enabled: bool
    id: str | None = None
    contracts_limit_fp: Size | None = None
    exchange_index: int | None = None
    orders: tuple[str, ...] | None = None


class OrderGroups(Body, frozen=True, kw_only=True):
    """`GET /portfolio/order_groups`."""

    order_groups: tuple[OrderGroup, ...] | None = None


class Empty(Body, frozen=True, kw_only=True):
    """A body that says nothing."""


# --- limits ---------------------------------------------------------------------------------------------


class BucketTerms(Body, frozen=True, kw_only=True):
    """One token bucket; one that never refills or holds nothing is refused: nothing could be sent."""

    refill_rate: Count
    bucket_capacity: Count

    def __post_init__(self) -> None:
        if not (self.refill_rate and self.bucket_capacity):
            raise ValueError(f"a bucket of {self.bucket_capacity} tokens, {self.refill_rate} a second")


class Grant(Body, frozen=True, kw_only=True):
    """Why the tier is what it is."""

    exchange_instance: str | None = None
    level: str | None = None
    expires_ts: int | None = None
    source: str | None = None


class AccountLimits(Body, frozen=True, kw_only=True):
    """`GET /account/limits`."""

    usage_tier: str
    read: BucketTerms
    write: BucketTerms
    grants: tuple[Grant, ...] | None = None


class EndpointCost(Body, frozen=True, kw_only=True):
    """Tokens of one call."""

    method: str
    path: str
    cost: Count


class EndpointCosts(Body, frozen=True, kw_only=True):
    """`GET /account/endpoint_costs`."""

    default_cost: Count
    endpoint_costs: tuple[EndpointCost, ...]


class ApiKey(Body, frozen=True, kw_only=True):
    """One key of the account."""

    api_key_id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None
    subaccount: int | None = None


class ApiKeys(Body, frozen=True, kw_only=True):
    """`GET /api_keys`; after the attested region expires, sports, elections and shows can't be traded."""

    api_keys: tuple[ApiKey, ...]
    api_key_region_expiration_ts: int | None = None
