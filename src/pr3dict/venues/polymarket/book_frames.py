"""Messages of Polymarket's market channel about books, as they come: texts, still to be read by `book.py`."""

from __future__ import annotations

from typing import Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.venues.polymarket.numbers import refuse


class BookLost(DataError):
    """A message about the book of `market` (a row; -1: of any) can't be used: that book is worthless."""

    def __init__(self, error: DataError, market: int) -> None:
        super().__init__(error.message, key=error.key)
        self.market = market


class BookLevel(msgspec.Struct, frozen=True, gc=False):
    """A price with everything that rests there."""

    price: str
    size: str


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    """A level's new total, and of the whole book behind it the hash and the touch."""

    asset_id: str
    price: str
    size: str
    side: str
    hash: str | None = None
    best_bid: str | None = None
    best_ask: str | None = None


class BookFrame(msgspec.Struct, frozen=True, tag_field="event_type", tag="book"):
    """A token's whole book."""

    asset_id: str
    timestamp: str
    bids: list[BookLevel]
    asks: list[BookLevel]
    hash: str | None = None
    tick_size: str | None = None
    last_trade_price: str | None = None


class ChangeFrame(msgspec.Struct, frozen=True, tag_field="event_type", tag="price_change", gc=False):
    """Levels that changed, of both tokens."""

    timestamp: str
    price_changes: list[LevelChange]


class LastTradeFrame(msgspec.Struct, frozen=True, tag_field="event_type", tag="last_trade_price"):
    """A trade; `side` is the taker's."""

    asset_id: str
    timestamp: str
    price: str
    size: str
    side: str


class TickFrame(msgspec.Struct, frozen=True, tag_field="event_type", tag="tick_size_change"):
    """Another price grid."""

    asset_id: str
    timestamp: str
    new_tick_size: str


class TouchFrame(msgspec.Struct, frozen=True, tag_field="event_type", tag="best_bid_ask"):
    """The touch alone."""

    asset_id: str
    timestamp: str
    best_bid: str | None = None
    best_ask: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """What a message that can't be read is about."""

    event_type: str = ""
    asset_id: str | None = None
    market: str | None = None
    price_changes: list[msgspec.Raw] | None = None


KNOWN: Final = frozenset({"book", "price_change", "last_trade_price", "tick_size_change", "best_bid_ask"})
_LISTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
ENVELOPE: Final = msgspec.json.Decoder(Envelope)
FRAME: Final = msgspec.json.Decoder(BookFrame | ChangeFrame | LastTradeFrame | TickFrame | TouchFrame)
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_JSON_MARKS: Final = (b"{", b"[", b'"')


def messages(raw: bytes) -> list[bytes]:
    """The messages of a frame: one object, or an array of them; none in words that are no JSON by design.

    Raises:
        BookLost: what may have been messages can't be read: any book may have missed something.
    """
    if raw[:1] == b"{":
        return [raw]
    if raw[:1] != b"[":
        if not any(mark in raw for mark in _JSON_MARKS):
            return []
        raw = raw.strip(b" \t\r\n")
        if raw[:1] == b"{":
            return [raw]
    try:
        return [bytes(part) for part in _LISTS.decode(raw)]
    except UNREADABLE as error:
        raise BookLost(refused(raw, error), -1) from None


def refused(raw: bytes, error: Exception) -> DataError:
    """The error for a message that is none of these."""
    if isinstance(error, msgspec.DecodeError):
        return refuse(raw, error)
    return DataError(f"message is not JSON: {type(error).__name__}")
