"""Polymarket's market-channel frames to EVENT rows in YES terms.

One economic book stands behind a market's two tokens: a bid for YES at p is shown as an ask for NO at 1 - p.
So book frames of the NO token repeat those of the YES token and are skipped where both are subscribed,
while trades of either count. A frame is one object or an array of objects.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.wire import (
    PRICE_PLACES,
    BookCache,
    Decimals,
    EventRows,
    Sizes,
    YesPrices,
    milliseconds_to_ns,
    refusal,
)


class _Level(msgspec.Struct, gc=False):
    price: str
    size: str


class _Change(msgspec.Struct, gc=False):
    price: str
    size: str
    side: str
    asset_id: str | None = None  # the older frame names it once, outside


class _Book(msgspec.Struct, tag_field="event_type", tag="book"):
    asset_id: str
    timestamp: str
    bids: list[_Level]
    asks: list[_Level]


class _PriceChange(msgspec.Struct, tag_field="event_type", tag="price_change"):
    timestamp: str
    price_changes: list[_Change] | None = None
    changes: list[_Change] | None = None  # the older frame
    asset_id: str | None = None


class _LastTrade(msgspec.Struct, tag_field="event_type", tag="last_trade_price"):
    asset_id: str
    timestamp: str
    price: str
    size: str
    side: str


class _TickSizeChange(msgspec.Struct, tag_field="event_type", tag="tick_size_change"):
    asset_id: str
    timestamp: str
    new_tick_size: str


class _Envelope(msgspec.Struct):
    event_type: str


_LISTS = ("price_changes", "changes", "bids", "asks")
KNOWN_TYPES = frozenset({"book", "price_change", "last_trade_price", "tick_size_change"})


class _Token(msgspec.Struct):
    book: BookCache
    is_no: bool
    shadow: bool  # the YES token tells the same book


class PolymarketDecoder:
    """Decodes frames of one connection into a buffer of EVENT rows.

    tokens: asset id to (the market's row number, whether it is the NO token). out: (n,) EVENT, the buffer
    that `decode` fills from its start; 19,998 rows hold any book. grids: tick size in 1/10,000 dollar to
    the row of its price grid, for `tick_size_change`.

    `ignored` counts messages of no interest or of unknown tokens.
    """

    def __init__(
        self, tokens: Mapping[str, tuple[int, bool]], out: d.Array, grids: Mapping[int, int]
    ) -> None:
        self._frames = msgspec.json.Decoder(_Book | _PriceChange | _LastTrade | _TickSizeChange)
        self._arrays = msgspec.json.Decoder(list[msgspec.Raw])
        self._envelope = msgspec.json.Decoder(_Envelope)
        books = {market: BookCache(market) for market, _ in tokens.values()}
        with_yes = {market for market, is_no in tokens.values() if not is_no}
        self._tokens = {
            asset: _Token(books[market], is_no, is_no and market in with_yes)
            for asset, (market, is_no) in tokens.items()
        }
        self._grids = dict(grids)
        self._rows = EventRows(out)
        self._prices = {f: (YesPrices(f), YesPrices(f, of_no=True)) for f in ("price", *_LISTS)}
        self._sizes = {f: Sizes(f) for f in ("size", *_LISTS)}
        self._ticks = Decimals("new_tick_size", PRICE_PLACES)
        self.ignored = 0

    def reset(self) -> None:
        """Forget all books, as after a reconnect."""
        for token in self._tokens.values():
            token.book.clear()

    def decode(self, raw: bytes, local_ns: int) -> int:
        """Write the rows that `raw` means and return their number; 0 for a frame of another kind.

        local_ns: when it was received. Text that is not JSON by design (`PONG`) gives 0. Raises
        `DataError` with field and value for what the format forbids.
        """
        self._rows.count = 0
        if raw[:1] == b"[":
            try:
                parts = self._arrays.decode(raw)
            except msgspec.DecodeError as error:
                raise refusal(raw, error) from None
            for part in parts:
                self._decode_one(bytes(part), local_ns)
        elif raw != b"PONG":
            self._decode_one(raw, local_ns)
        return self._rows.count

    def _decode_one(self, raw: bytes, local_ns: int) -> None:
        try:
            message = self._frames.decode(raw)
        except msgspec.DecodeError as error:
            self._ignore_or_refuse(raw, error)
            return
        if type(message) is _PriceChange:
            self._on_price_change(message, local_ns)
            return
        token = self._tokens.get(message.asset_id or "")
        if token is None:
            self.ignored += 1
        elif type(message) is _Book:
            self._on_book(token, message, local_ns)
        elif type(message) is _LastTrade:
            self._on_trade(token, message, local_ns)
        elif type(message) is _TickSizeChange:
            self._on_tick(token, message, local_ns)

    def _ignore_or_refuse(self, raw: bytes, error: msgspec.DecodeError) -> None:
        try:
            kind = self._envelope.decode(raw).event_type
        except msgspec.DecodeError:
            raise refusal(raw, error) from None
        if kind in KNOWN_TYPES:
            raise refusal(raw, error)
        self.ignored += 1

    def _exch_ns(self, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise DataError(f"{text!r} is not a time in Unix milliseconds", key="timestamp")
        return milliseconds_to_ns(int(text), "timestamp")

    def _side(self, token: _Token, text: str) -> int:
        """Side in YES terms that buying or selling this token means; -1: unknown word."""
        if text == "BUY":
            return d.ASK if token.is_no else d.BID
        if text == "SELL":
            return d.BID if token.is_no else d.ASK
        return -1

    def _on_price_change(self, message: _PriceChange, local_ns: int) -> None:
        exch_ns = self._exch_ns(message.timestamp)
        field = "price_changes" if message.price_changes is not None else "changes"
        changes = message.price_changes if message.price_changes is not None else message.changes
        if changes is None:
            raise DataError("a price_change without its changes", key="price_changes")
        prices = self._prices[field]
        sizes = self._sizes[field]
        for change in changes:
            token = self._tokens.get(change.asset_id or message.asset_id or "")
            if token is None:
                self.ignored += 1
                continue
            side = self._side(token, change.side)
            if side < 0:
                raise DataError(f"{change.side!r} is neither BUY nor SELL", key=f"{field}.side")
            price = prices[token.is_no][change.price]
            size = sizes[change.size]
            if token.shadow:
                continue
            levels = token.book.sides[side]
            if size == 0:
                levels.pop(price, None)
            else:
                levels[price] = size
            self._rows.put(d.LEVEL, token.book.market, exch_ns, local_ns, side, price, size)

    def _on_book(self, token: _Token, message: _Book, local_ns: int) -> None:
        exch_ns = self._exch_ns(message.timestamp)
        fresh = []
        for field, listed in (("bids", message.bids), ("asks", message.asks)):
            prices = self._prices[field][token.is_no]
            sizes = self._sizes[field]
            fresh.append({prices[level.price]: sizes[level.size] for level in listed})
        if token.shadow:
            return
        bids, asks = reversed(fresh) if token.is_no else fresh
        token.book.replace(self._rows, bids, asks, exch_ns, local_ns)

    def _on_trade(self, token: _Token, message: _LastTrade, local_ns: int) -> None:
        exch_ns = self._exch_ns(message.timestamp)
        price = self._prices["price"][token.is_no][message.price]
        size = self._sizes["size"][message.size]
        side = self._side(token, message.side)
        if side < 0:
            self.ignored += 1
            return
        self._rows.put(d.TRADE, token.book.market, exch_ns, local_ns, side, price, size)

    def _on_tick(self, token: _Token, message: _TickSizeChange, local_ns: int) -> None:
        exch_ns = self._exch_ns(message.timestamp)
        grid = self._grids.get(self._ticks[message.new_tick_size])
        if grid is None:
            raise DataError(f"no price grid is known for tick {message.new_tick_size!r}", key="new_tick_size")
        if not token.shadow:
            self._rows.put(d.TICK, token.book.market, exch_ns, local_ns, 0, 0, 0, 0, grid)
