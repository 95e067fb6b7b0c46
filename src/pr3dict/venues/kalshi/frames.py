"""Kalshi's WebSocket frames that are not market data: replies to commands, the account's messages, lifecycle.

`read_frame` turns bytes into one of these or None (a type that we do not follow). Numbers are strict; words
that Kalshi may add to stay text.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import ASK, BID
from pr3dict.venues.kalshi.models import PriceRange
from pr3dict.venues.kalshi.numbers import (
    Count,
    MomentMs,
    MomentS,
    Money,
    Price,
    Ratio,
    Reader,
    SignedSize,
    Size,
    reader_of,
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Root of what frames carry."""


class FillMessage(Message, frozen=True, kw_only=True):
    """One trade of ours; `fee_cost` is the whole fee of it, `post_position_fp` the position after it."""

    trade_id: str
    order_id: str
    market_ticker: str
    yes_price_dollars: Price
    count_fp: Size
    fee_cost: Money
    is_taker: bool
    book_side: str | None = None
    outcome_side: str | None = None
    client_order_id: str | None = None
    exchange_index: int | None = None
    post_position_fp: SignedSize | None = None
    subaccount: int | None = None
    ts_ms: MomentMs | None = None
    ts: MomentS | None = None


class OrderMessage(Message, frozen=True, kw_only=True):
    """How one of our orders stands after a change."""

    order_id: str
    ticker: str
    status: str
    yes_price_dollars: Price
    initial_count_fp: Size
    fill_count_fp: Size
    remaining_count_fp: Size
    book_side: str | None = None
    outcome_side: str | None = None
    client_order_id: str | None = None
    order_group_id: str | None = None
    exchange_index: int | None = None
    last_update_reason: str | None = None
    last_updated_ts_ms: MomentMs | None = None
    expiration_ts_ms: int | None = None
    subaccount_number: int | None = None


class PositionMessage(Message, frozen=True, kw_only=True):
    """What we hold in a market."""

    market_ticker: str
    position_fp: SignedSize
    subaccount: int | None = None


class GroupMessage(Message, frozen=True, kw_only=True):
    """What happened to an order group."""

    event_type: str
    order_group_id: str
    contracts_limit_fp: Size | None = None
    ts_ms: MomentMs | None = None


class Metadata(Message, frozen=True, kw_only=True):
    """What of a market's description binds our orders, and which event it belongs to."""

    event_ticker: str | None = None
    settlement_floor_dollars: Price | None = None


class LifecycleMessage(Message, frozen=True, kw_only=True):
    """What happened to a market; each kind of event fills fields of its own."""

    event_type: str
    market_ticker: str
    open_ts: MomentS | None = None
    close_ts: MomentS | None = None
    determination_ts: MomentS | None = None
    settled_ts: MomentS | None = None
    exchange_index: int | None = None
    price_ranges: tuple[PriceRange, ...] | None = None
    result: str | None = None
    settlement_value: Price | None = None
    settlement_floor_dollars: Price | None = None
    additional_metadata: Metadata | None = None
    is_deactivated: bool | None = None


class EventFeeMessage(Message, frozen=True, kw_only=True):
    """An event's fee moved; null: the series' fee counts again."""

    event_ticker: str
    fee_type_override: str | None = None
    fee_multiplier_override: Ratio | None = None


class SubscribedMessage(Message, frozen=True, kw_only=True):
    """A channel and the number of its subscription."""

    channel: str
    sid: Count


class ErrorMessage(Message, frozen=True, kw_only=True):
    """Why a command failed, or a subscription ended."""

    code: int
    msg: str = ""


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What every frame may have around its message."""

    id: int = 0
    sid: int = 0
    seq: int = 0
    sending_ts_ms: MomentMs | None = None


class FillFrame(_Frame, frozen=True, kw_only=True):
    """`fill`."""

    msg: FillMessage


class OrderFrame(_Frame, frozen=True, kw_only=True):
    """`user_order`."""

    msg: OrderMessage


class PositionFrame(_Frame, frozen=True, kw_only=True):
    """`market_position`."""

    msg: PositionMessage


class GroupFrame(_Frame, frozen=True, kw_only=True):
    """`order_group_updates`."""

    msg: GroupMessage


class LifecycleFrame(_Frame, frozen=True, kw_only=True):
    """`market_lifecycle_v2`."""

    msg: LifecycleMessage


class EventFeeFrame(_Frame, frozen=True, kw_only=True):
    """`event_fee_update`."""

    msg: EventFeeMessage


class SubscribedFrame(_Frame, frozen=True, kw_only=True):
    """`subscribed`."""

    msg: SubscribedMessage


class OkFrame(_Frame, frozen=True, kw_only=True):
    """`ok`; its message depends on the command."""

    msg: Any = None

    def subscriptions(self) -> dict[int, str] | None:
        """The answer to `list_subscriptions`, as sid to channel; None: it answers something else."""
        if not isinstance(self.msg, list):
            return None
        try:
            return {int(s.sid): s.channel for s in msgspec.convert(self.msg, list[_Listed])}
        except msgspec.ValidationError as error:
            raise DataError(f"a list of subscriptions can't be read: {error}", key="ok.msg") from None


class _Listed(msgspec.Struct, frozen=True):
    channel: str
    sid: int


class UnsubscribedFrame(_Frame, frozen=True, kw_only=True):
    """`unsubscribed`."""


class ErrorFrame(_Frame, frozen=True, kw_only=True):
    """`error`."""

    msg: ErrorMessage


Frame = (
    FillFrame | OrderFrame | PositionFrame | GroupFrame | LifecycleFrame | EventFeeFrame
    | SubscribedFrame | OkFrame | UnsubscribedFrame | ErrorFrame
)  # fmt: skip

_READERS: Final[dict[str, Reader]] = {
    "fill": reader_of(FillFrame),
    "user_order": reader_of(OrderFrame),
    "market_position": reader_of(PositionFrame),
    "order_group_updates": reader_of(GroupFrame),
    "market_lifecycle_v2": reader_of(LifecycleFrame),
    "event_fee_update": reader_of(EventFeeFrame),
    "subscribed": reader_of(SubscribedFrame),
    "ok": reader_of(OkFrame),
    "unsubscribed": reader_of(UnsubscribedFrame),
    "error": reader_of(ErrorFrame),
}
KINDS: Final = frozenset(_READERS)


def read_frame(kind: str, raw: bytes) -> Frame | None:
    """The frame of type `kind`; None for types that we do not follow. Raises `DataError`."""
    reader = _READERS.get(kind)
    if reader is None:
        return None
    frame: Frame = reader(raw)
    return frame


def side_of(book_side: str | None, outcome_side: str | None) -> int:
    """BID or ASK in YES terms, by Kalshi's words for it; raises `DataError` where they are unknown."""
    if book_side in ("bid", "ask"):
        return BID if book_side == "bid" else ASK
    if outcome_side in ("yes", "no"):
        return BID if outcome_side == "yes" else ASK
    raise DataError(f"{book_side!r} is no side of the book, {outcome_side!r} no outcome", key="msg.book_side")
