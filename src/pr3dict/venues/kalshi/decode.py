"""Kalshi's market-data frames to EVENT rows in YES terms.

Kalshi keeps bids only, on two sides: a NO bid at q is a YES ask at 1 - q of the same size. Deltas are
increments and our kernels want what rests in the end, so the decoder adds them up per market. It refuses
what it can't account for (a delta without a snapshot, a level below zero): the session subscribes anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.wire import (
    SIZE_END,
    SIZE_PLACES,
    BookCache,
    Decimals,
    EventRows,
    Prices,
    Sizes,
    YesPrices,
    milliseconds_to_ns,
    refusal,
)


class _SnapshotBody(msgspec.Struct):
    market_ticker: str
    yes_dollars_fp: list[tuple[str, str]] | None = None  # a side without levels is left out
    no_dollars_fp: list[tuple[str, str]] | None = None
    ts_ms: int | None = None


class _DeltaBody(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: str
    ts_ms: int | None = None


class _TradeBody(msgspec.Struct, gc=False):
    market_ticker: str
    yes_price_dollars: str
    count_fp: str
    taker_outcome_side: str | None = None
    taker_side: str | None = None  # what older frames call it
    ts_ms: int | None = None


class _TickerBody(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: str
    yes_bid_dollars: str
    yes_ask_dollars: str
    volume_fp: str
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    last_trade_size_fp: str | None = None
    ts_ms: int | None = None


class _Snapshot(msgspec.Struct, tag_field="type", tag="orderbook_snapshot"):
    msg: _SnapshotBody
    sid: int = 0
    seq: int = 0


class _Delta(msgspec.Struct, tag_field="type", tag="orderbook_delta"):
    msg: _DeltaBody
    sid: int = 0
    seq: int = 0


class _Trade(msgspec.Struct, tag_field="type", tag="trade"):
    msg: _TradeBody
    sid: int = 0
    seq: int = 0


class _TickerFrame(msgspec.Struct, tag_field="type", tag="ticker"):
    msg: _TickerBody
    sid: int = 0
    seq: int = 0


class _Envelope(msgspec.Struct):
    type: str
    sid: int = 0
    seq: int = 0


UNREADABLE = "unreadable"  # what `KalshiDecoder.kind` says of a frame that has no type
KNOWN_TYPES = frozenset({"orderbook_snapshot", "orderbook_delta", "trade", "ticker"})


class Ticker(msgspec.Struct, frozen=True):
    """The newest ticker of a market. It moves no book: it checks one, and tells volume.

    Prices in 1/10,000 dollar of YES, sizes in micro-contracts; -1: not in the message.
    """

    market: int
    exch_ns: int
    last_price: int
    bid_price: int  # 0: no bid
    ask_price: int  # 10,000: no ask
    bid_size: int
    ask_size: int
    last_trade_size: int
    volume: int


class KalshiDecoder:
    """Decodes frames of one connection into a buffer of EVENT rows.

    markets: ticker to the market's row number. out: (n,) EVENT, the buffer that `decode` fills from its
    start; 19,998 rows hold any snapshot. no_side_in_yes_price: the book was subscribed with
    `use_yes_price`, so NO levels come as YES prices.

    A connection that is followed live sets `live`: a snapshot then becomes SNAPSHOT rows, all of it, and
    deltas of a market that waits for its snapshot are skipped. `follow` is asked with the subscription and
    the sequence number of each frame that has one, before anything of it is applied; where it says no, the
    frame is skipped.

    After a frame, `sid` and `seq` are its subscription and sequence number (0: it has none), `kind` its type
    where it is none of market data ("" else), `ticker` the last ticker; `ignored` counts frames of no
    interest or of unknown markets. After a `DataError`, `lost` is the market whose book missed a frame ("":
    none, or one that its number will show).
    """

    def __init__(
        self,
        markets: Mapping[str, int],
        out: d.Array,
        *,
        no_side_in_yes_price: bool = False,
        live: bool = False,
        follow: Callable[[int, int], bool] | None = None,
    ) -> None:
        self._frames = msgspec.json.Decoder(_Delta | _Snapshot | _Trade | _TickerFrame)
        self._envelope = msgspec.json.Decoder(_Envelope)
        self._books = {ticker: BookCache(row) for ticker, row in markets.items()}
        self._rows = EventRows(out)
        self._delta_prices = _both_sides("msg.price_dollars", no_side_in_yes_price)
        self._delta_sizes = Decimals("msg.delta_fp", SIZE_PLACES)
        yes_levels = _both_sides("msg.yes_dollars_fp", no_side_in_yes_price)
        no_levels = _both_sides("msg.no_dollars_fp", no_side_in_yes_price)
        self._level_prices = (yes_levels["yes"], no_levels["no"])
        self._level_sizes = (Sizes("msg.yes_dollars_fp"), Sizes("msg.no_dollars_fp"))
        self._trade_prices = YesPrices("msg.yes_price_dollars")
        self._trade_sizes = Sizes("msg.count_fp")
        self._ticker_prices = {
            f: Prices(f"msg.{f}") for f in ("price_dollars", "yes_bid_dollars", "yes_ask_dollars")
        }
        self._ticker_sizes = {
            f: Sizes(f"msg.{f}")
            for f in ("yes_bid_size_fp", "yes_ask_size_fp", "last_trade_size_fp", "volume_fp")
        }
        self._live = live
        self._follow = follow
        self.sid = 0
        self.seq = 0
        self.kind = ""
        self.ignored = 0
        self.lost = ""
        self.ticker: Ticker | None = None

    def reset(self) -> None:
        """Forget all books, as after a reconnect."""
        self.forget(self._books)

    def forget(self, tickers: Iterable[str]) -> None:
        """Forget the books of these markets: each waits for its next snapshot."""
        for ticker in tickers:
            self._books[ticker].clear()

    def add(self, ticker: str, market: int) -> None:
        """Follow another market."""
        self._books.setdefault(ticker, BookCache(market))

    def remove(self, ticker: str) -> None:
        """Follow a market no more."""
        self._books.pop(ticker, None)

    def is_synced(self, ticker: str) -> bool:
        """Whether a market's book is whole."""
        return self._books[ticker].synced

    def decode(self, raw: bytes, local_ns: int) -> int:
        """Write the rows that `raw` means and return their number; 0 for a frame of another kind.

        local_ns: when it was received; it also stands in for an exchange time where the market has shown
        none yet. Raises `DataError` with field and value for what the format forbids.
        """
        self._rows.count = 0
        self.lost = ""
        try:
            frame = self._frames.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._ignore_or_refuse(raw, error)
            return 0
        self.kind = ""
        self.sid = frame.sid
        self.seq = frame.seq
        if self._follow is not None and frame.seq and not self._follow(frame.sid, frame.seq):
            return 0
        book = self._books.get(frame.msg.market_ticker)
        if book is None:
            self.ignored += 1
            return 0
        if type(frame) is _Delta:
            self.lost = frame.msg.market_ticker
            self._on_delta(book, frame.msg, local_ns)
            self.lost = ""
        elif type(frame) is _Snapshot:
            self.lost = frame.msg.market_ticker
            self._on_snapshot(book, frame.msg, local_ns)
            self.lost = ""
        elif type(frame) is _Trade:
            self._on_trade(book, frame.msg, local_ns)
        elif type(frame) is _TickerFrame:
            self._on_ticker(book, frame.msg, local_ns)
        return self._rows.count

    def _ignore_or_refuse(self, raw: bytes, error: Exception) -> None:
        self.kind = ""
        self.sid = self.seq = 0
        try:
            envelope = self._envelope.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.kind = UNREADABLE
            raise _refused(raw, error) from None
        if envelope.type in KNOWN_TYPES:
            raise _refused(raw, error)
        self.kind = envelope.type
        self.sid = envelope.sid  # answers to commands are numbered like the data of their subscription
        self.seq = envelope.seq
        self.ignored += 1
        if self._follow is not None and envelope.seq:
            self._follow(envelope.sid, envelope.seq)

    def _exch_ns(self, book: BookCache, ts_ms: int | None, local_ns: int) -> int:
        """Exchange time, never running backwards within a market."""
        if ts_ms is None:
            return book.exch_ns or local_ns
        exch_ns = milliseconds_to_ns(ts_ms, "msg.ts_ms")
        if exch_ns > book.exch_ns:
            book.exch_ns = exch_ns
        return book.exch_ns

    def _on_delta(self, book: BookCache, msg: _DeltaBody, local_ns: int) -> None:
        prices = self._delta_prices.get(msg.side)
        if prices is None:
            raise DataError(f"{msg.side!r} is neither yes nor no", key="msg.side")
        side = d.BID if msg.side == "yes" else d.ASK
        price = prices[msg.price_dollars]
        change = self._delta_sizes[msg.delta_fp]
        if not book.synced:
            if self._live:
                self.ignored += 1
                return
            raise DataError(
                "a delta came before the market's snapshot; subscribe anew", key=msg.market_ticker
            )
        levels = book.sides[side]
        size = levels.get(price, 0) + change
        if size < 0:
            raise DataError(
                f"delta {msg.delta_fp!r} at {msg.price_dollars!r} leaves less than nothing: a frame "
                "was lost, subscribe anew",
                key=msg.market_ticker,
            )
        if size >= SIZE_END:
            raise DataError(f"delta {msg.delta_fp!r} makes a level too large", key="msg.delta_fp")
        exch_ns = self._exch_ns(book, msg.ts_ms, local_ns)
        if size == 0:
            levels.pop(price, None)
        else:
            levels[price] = size
        self._rows.put(d.LEVEL, book.market, exch_ns, local_ns, side, price, size)

    def _on_snapshot(self, book: BookCache, msg: _SnapshotBody, local_ns: int) -> None:
        fresh = []
        for side, listed in ((d.BID, msg.yes_dollars_fp), (d.ASK, msg.no_dollars_fp)):
            prices = self._level_prices[side]
            sizes = self._level_sizes[side]
            levels = {prices[price]: sizes[size] for price, size in listed or ()}
            if len(levels) < len(listed or ()):
                raise DataError("a snapshot names a price twice", key=msg.market_ticker)
            fresh.append(levels)
        exch_ns = self._exch_ns(book, msg.ts_ms, local_ns)
        if self._live:
            self._put_whole(book, fresh[0], fresh[1], exch_ns, local_ns)
        else:
            book.replace(self._rows, fresh[0], fresh[1], exch_ns, local_ns)

    def _put_whole(
        self, book: BookCache, bids: dict[int, int], asks: dict[int, int], exch_ns: int, local_ns: int
    ) -> None:
        """All levels as SNAPSHOT rows; an empty book is one row without a price."""
        sides = (
            {price: size for price, size in bids.items() if size},
            {price: size for price, size in asks.items() if size},
        )
        levels = [
            (side, price, sides[side][price]) for side in (d.BID, d.ASK) for price in sorted(sides[side])
        ]
        levels = levels or [(d.BID, 0, 0)]
        last = len(levels) - 1
        for i, (side, price, size) in enumerate(levels):
            bits = (d.SNAP_FIRST if i == 0 else 0) | (d.SNAP_LAST if i == last else 0)
            self._rows.put(d.SNAPSHOT, book.market, exch_ns, local_ns, side, price, size, bits)
        book.sides = sides
        book.synced = True

    def _on_trade(self, book: BookCache, msg: _TradeBody, local_ns: int) -> None:
        price = self._trade_prices[msg.yes_price_dollars]
        size = self._trade_sizes[msg.count_fp]
        taker = msg.taker_outcome_side if msg.taker_outcome_side is not None else msg.taker_side
        exch_ns = self._exch_ns(book, msg.ts_ms, local_ns)
        if taker not in ("yes", "no"):
            self.ignored += 1
            return
        side = d.BID if taker == "yes" else d.ASK
        self._rows.put(d.TRADE, book.market, exch_ns, local_ns, side, price, size)

    def _on_ticker(self, book: BookCache, msg: _TickerBody, local_ns: int) -> None:
        prices = self._ticker_prices
        self.ticker = Ticker(
            market=book.market,
            exch_ns=self._exch_ns(book, msg.ts_ms, local_ns),
            last_price=prices["price_dollars"][msg.price_dollars],
            bid_price=prices["yes_bid_dollars"][msg.yes_bid_dollars],
            ask_price=prices["yes_ask_dollars"][msg.yes_ask_dollars],
            bid_size=self._ticker_size("yes_bid_size_fp", msg.yes_bid_size_fp),
            ask_size=self._ticker_size("yes_ask_size_fp", msg.yes_ask_size_fp),
            last_trade_size=self._ticker_size("last_trade_size_fp", msg.last_trade_size_fp),
            volume=self._ticker_size("volume_fp", msg.volume_fp),
        )

    def _ticker_size(self, name: str, text: str | None) -> int:
        return -1 if text is None else self._ticker_sizes[name][text]


def _refused(raw: bytes, error: Exception) -> DataError:
    """As `wire.refusal`, where the bytes may be no JSON at all."""
    try:
        if isinstance(error, msgspec.DecodeError):
            return refusal(raw, error)
        return DataError(f"message is not JSON: {type(error).__name__}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DataError(f"message is not JSON: {error}: {raw[:80]!r}")


def _both_sides(field: str, no_side_in_yes_price: bool) -> dict[str, YesPrices]:
    return {"yes": YesPrices(field), "no": YesPrices(field, of_no=not no_side_in_yes_price)}
