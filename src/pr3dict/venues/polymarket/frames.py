"""Polymarket's WebSocket messages that are not about a book: our orders, our trades, the ends of markets.

`read_frame` turns bytes into one of these or None (a type that we do not follow). Numbers are strict; words
that Polymarket may add to stay text, and fields that it leaves out or empty now and then may be missing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.venues.polymarket.account_models import (
    MakerOrder,
    OrderState,
    TradeState,
    order_state,
    trade_state,
)
from pr3dict.venues.polymarket.amounts import Side
from pr3dict.venues.polymarket.models import Body
from pr3dict.venues.polymarket.numbers import (
    UNKNOWN,
    Exact,
    Moment,
    MomentOrEmpty,
    Price,
    Reader,
    SizeOrEmpty,
    Texts,
    human_sizes,
    reader_of,
)


class OrderFrame(Body, frozen=True, kw_only=True):
    """How one of our orders stands. For FAK and FOK buys `original_size` is a budget in dollars."""

    id: str
    market: str
    asset_id: str
    side: Side
    price: Price
    original_size: SizeOrEmpty
    size_matched: SizeOrEmpty | None = None
    type: str = ""
    status: str = ""
    order_type: str = ""
    owner: str = ""
    timestamp: MomentOrEmpty | None = None

    @property
    def state(self) -> OrderState:
        """What `status` means, or where it is left out, the kind of message."""
        if self.status:
            return order_state(self.status)
        return OrderState.CANCELED if self.type == "CANCELLATION" else OrderState.LIVE

    def sizes(self, sent: int | None = None) -> tuple[int, int]:
        """(size, what of it traded) in micro-contracts, whichever unit they came in; UNKNOWN: not said.

        Raises:
            DataError: no unit fits what we `sent`.
        """
        matched = UNKNOWN if self.size_matched is None else int(self.size_matched)
        if self.original_size == UNKNOWN:
            return UNKNOWN, matched
        size, matched = human_sizes(int(self.original_size), matched, sent=sent)
        return size, matched


class TradeFrame(Body, frozen=True, kw_only=True):
    """A trade of ours at one step of its way. Token, side, price and size at the top are the taker's."""

    id: str
    taker_order_id: str
    market: str
    asset_id: str
    side: Side
    size: SizeOrEmpty
    price: Exact
    status: str
    maker_orders: tuple[MakerOrder, ...] = ()
    match_time: MomentOrEmpty | None = None
    matchtime: MomentOrEmpty | None = None  # another spelling of it
    timestamp: MomentOrEmpty | None = None
    owner: str = ""
    trade_owner: str = ""
    maker_address: str = ""
    trader_side: str = ""

    @property
    def state(self) -> TradeState:
        """What `status` means."""
        return trade_state(self.status)

    @property
    def matched_ns(self) -> int:
        """When it was matched.

        Raises:
            DataError: it does not say.
        """
        for moment in (self.match_time, self.matchtime, self.timestamp):
            if moment is not None and moment != UNKNOWN:
                return int(moment)
        raise DataError("a trade does not say when it was matched", key="match_time")


class ResolvedFrame(Body, frozen=True, kw_only=True):
    """`market_resolved`: who won; no asset: nobody, the market is void."""

    market: str
    timestamp: Moment
    winning_asset_id: str | None = None
    winning_outcome: str | None = None
    assets_ids: Texts | None = None


class NewMarketFrame(Body, frozen=True, kw_only=True):
    """`new_market`: Gamma lists another market."""

    market: str
    slug: str = ""
    assets_ids: Texts | None = None


Frame = OrderFrame | TradeFrame | ResolvedFrame | NewMarketFrame

_READERS: Final[dict[str, Reader]] = {
    "order": reader_of(OrderFrame),
    "trade": reader_of(TradeFrame),
    "market_resolved": reader_of(ResolvedFrame),
    "new_market": reader_of(NewMarketFrame),
}
KINDS: Final = frozenset(_READERS)


def read_frame(kind: str, raw: bytes) -> Frame | None:
    """The message of type `kind`; None for types that we do not follow. Raises `DataError`."""
    reader = _READERS.get(kind)
    if reader is None:
        return None
    frame: Frame = reader(raw)
    return frame


class _Kind(msgspec.Struct):
    event_type: str = ""


_KIND: Final = msgspec.json.Decoder(_Kind)


def kind_of(raw: bytes) -> str:
    """The type of a message of the user channel; raises `DataError` for what has none."""
    try:
        kind = _KIND.decode(raw).event_type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"a message can't be read ({type(error).__name__}): {raw[:80]!r}") from None
    if not kind:
        raise DataError(f"a message without a type: {raw[:80]!r}", key="event_type")
    return kind
