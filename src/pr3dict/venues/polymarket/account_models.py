"""Polymarket's bodies about an account: orders, trades, balances, heartbeats, rewards earned.

As in `models.py`: what we do not use is left out, a field without a default must be there.
"""

from __future__ import annotations

import enum
from typing import Final, Literal

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.venues.polymarket.amounts import Side
from pr3dict.venues.polymarket.models import Body
from pr3dict.venues.polymarket.numbers import (
    UNKNOWN,
    Allowance,
    Exact,
    Moment,
    Price,
    Seconds,
    Size,
    SizeOrEmpty,
    Units,
    human_sizes,
)

OrderType = Literal["GTC", "GTD", "FAK", "FOK"]

# --- orders: what we send -----------------------------------------------------------------------------


class SignedOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The signed order as `POST /order` carries it; `expiration` (Unix seconds) is not signed."""

    salt: int
    maker: str
    signer: str
    token_id: str
    maker_amount: str
    taker_amount: str
    side: Side
    expiration: str
    signature_type: int
    timestamp: str
    metadata: str
    builder: str
    signature: str


class PostOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of `POST /order`, and an element of `POST /orders`."""

    order: SignedOrder
    owner: str
    order_type: OrderType
    post_only: bool
    defer_exec: bool = False


# --- orders: what comes back --------------------------------------------------------------------------


class Posted(Body, frozen=True, kw_only=True):
    """Answer to a new order, alone or in a batch. `success` says little: look at `outcomes.judge_leg`."""

    success: bool | None = None
    errorMsg: str | None = None  # noqa: N815 - the wire's name
    orderID: str | None = None  # noqa: N815
    status: str | None = None
    makingAmount: SizeOrEmpty | None = None  # noqa: N815
    takingAmount: SizeOrEmpty | None = None  # noqa: N815
    tradeIDs: tuple[str, ...] | None = None  # noqa: N815

    def filled(self, side: Side) -> int:
        """Micro-contracts that traded at once; UNKNOWN where the answer does not say."""
        amount = self.takingAmount if side == "BUY" else self.makingAmount
        return UNKNOWN if amount is None else int(amount)


class Canceled(Body, frozen=True, kw_only=True):
    """Answer to every form of cancel: order ids, and why others were not cancelled."""

    canceled: tuple[str, ...] | None = None
    not_canceled: dict[str, str] | None = None


class Heartbeat(Body, frozen=True, kw_only=True):
    """The id that the next heartbeat must name; with `error_msg`, the one that this should have named."""

    heartbeat_id: str
    error_msg: str | None = None


class OrderState(enum.Enum):
    """What an order's status means."""

    LIVE = "live"
    MATCHED = "matched"  # nothing of it rests any more
    DELAYED = "delayed"  # a marketable order waits; it can't be cancelled
    UNMATCHED = "unmatched"  # it waited in vain: it rests or is gone, which has to be asked
    CANCELED = "canceled"
    INVALID = "invalid"
    UNKNOWN = "unknown"


_STATES: Final = {state.value.upper(): state for state in OrderState if state is not OrderState.UNKNOWN}
_STATES["CANCELLED"] = OrderState.CANCELED


def order_state(text: str) -> OrderState:
    """The state that a status names, with or without prefix and reason ("CANCELED_MARKET_RESOLVED")."""
    word = text.upper().removeprefix("ORDER_STATUS_").removeprefix("ORDER_")
    found = _STATES.get(word)
    if found is not None:
        return found
    return OrderState.CANCELED if word.startswith(("CANCELED_", "CANCELLED_")) else OrderState.UNKNOWN


class OpenOrder(Body, frozen=True, kw_only=True):
    """An order of ours, resting or finished. For FAK and FOK buys `original_size` is a budget in dollars."""

    id: str
    status: str
    market: str
    asset_id: str
    side: Side
    original_size: Size
    size_matched: SizeOrEmpty
    price: Price
    created_at: Moment
    order_type: str = ""
    expiration: Seconds | None = None
    outcome: str = ""
    owner: str = ""
    maker_address: str = ""

    @property
    def state(self) -> OrderState:
        """What `status` means."""
        return order_state(self.status)

    def sizes(self, sent: int | None = None) -> tuple[int, int]:
        """(size, what of it traded) in micro-contracts, whichever unit they came in; UNKNOWN: not said.

        `sent`: the size that we sent, where it is known. Raises `DataError` as `numbers.human_sizes`, and
        when more has traded than there was.
        """
        size, matched = human_sizes(int(self.original_size), int(self.size_matched), sent=sent)
        if matched > size:
            raise DataError(f"order {self.id}: {matched} of {size} traded", key="size_matched")
        return size, matched


class OpenOrders(Body, frozen=True, kw_only=True):
    """A page of `GET /data/orders`; the end of the list is the cursor "LTE="."""

    data: tuple[OpenOrder, ...]
    next_cursor: str


# --- trades -------------------------------------------------------------------------------------------


class TradeState(enum.Enum):
    """How far a trade is on its way onto the chain."""

    MATCHED = "matched"
    MINED = "mined"
    RETRYING = "retrying"
    CONFIRMED = "confirmed"  # final: it stands
    FAILED = "failed"  # final: it never was
    UNKNOWN = "unknown"  # a new word: neither final nor void


def trade_state(text: str) -> TradeState:
    """The state that a status names, with or without its prefix."""
    word = text.upper().removeprefix("TRADE_STATUS_")
    if word == "MATCHED_NOT_BROADCASTED":
        return TradeState.MATCHED
    try:
        return TradeState(word.lower())
    except ValueError:
        return TradeState.UNKNOWN


class MakerOrder(Body, frozen=True, kw_only=True):
    """One resting order that a trade took from, in its own token, side and price."""

    order_id: str
    asset_id: str
    side: Side
    matched_amount: Size
    price: Price
    owner: str = ""
    maker_address: str = ""
    outcome: str = ""


class Trade(Body, frozen=True, kw_only=True):
    """`GET /data/trades`. Token, side, price and size at the top are the taker's, ours in `maker_orders`."""

    id: str
    taker_order_id: str
    market: str
    asset_id: str
    side: Side
    size: Size
    price: Exact  # of the taker: where it took several prices, between them
    status: str
    match_time: Moment
    maker_orders: tuple[MakerOrder, ...]
    last_update: Moment | None = None
    owner: str = ""
    maker_address: str = ""
    transaction_hash: str | None = None
    trader_side: str = ""

    @property
    def state(self) -> TradeState:
        """What `status` means."""
        return trade_state(self.status)


class Trades(Body, frozen=True, kw_only=True):
    """A page of trades."""

    data: tuple[Trade, ...]
    next_cursor: str


# --- account ------------------------------------------------------------------------------------------


class BalanceAllowance(Body, frozen=True, kw_only=True):
    """What the wallet holds of an asset, base units, and what each contract may take of it."""

    balance: Units
    allowances: dict[str, Allowance] | None = None


class ClosedOnly(Body, frozen=True, kw_only=True):
    """Whether the account may only close positions."""

    closed_only: bool


class ApiKeys(Body, frozen=True, kw_only=True):
    """Ids of the address's API keys."""

    apiKeys: tuple[str, ...]  # noqa: N815 - the wire's name


class RateLimitTier(Body, frozen=True, kw_only=True):
    """Which limits the signer has."""

    tier: str


class Scoring(Body, frozen=True, kw_only=True):
    """Whether an order earns rewards just now."""

    scoring: bool


class Earning(Body, frozen=True, kw_only=True):
    """Rewards of one day in one market."""

    date: Moment
    condition_id: str
    earnings: Exact
    asset_rate: Exact | None = None
    asset_address: str = ""
    maker_address: str = ""


class Earnings(Body, frozen=True, kw_only=True):
    """A page of them."""

    data: tuple[Earning, ...]
    next_cursor: str


class TotalEarning(Body, frozen=True, kw_only=True):
    """Rewards of one day in one asset."""

    date: Moment
    earnings: Exact
    asset_rate: Exact | None = None
    asset_address: str = ""
