"""One YES book of each market, live, from the frames of both its tokens.

A bid for YES at p is the same resting order as an ask for NO at 1 - p, and both tokens tell it: what the NO
token says is mirrored and checked against what the YES token says, never added. Sizes are totals, so a change
that comes twice changes nothing.

There are no sequence numbers. A book is checked instead: by the touch that every change states, and by the
hash over the whole book that every change states (`verify`, for it costs too much to be done on each). A tick
change begins a new book: nothing counts until the next whole one.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import POLYMARKET_TICKS
from pr3dict.domain.units import PRICE_SCALE, format_contracts
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book_frames import (
    ENVELOPE,
    FRAME,
    KNOWN,
    UNREADABLE,
    BookFrame,
    BookLost,
    ChangeFrame,
    Envelope,
    LastTradeFrame,
    LevelChange,
    TickFrame,
    TouchFrame,
    refused,
)
from pr3dict.venues.wire import MAX_MS, NS_PER_MS, PRICE_PLACES, Decimals, EventRows, Sizes, YesPrices

DOUBTS: Final = 3  # so many frames in a row that state another touch than ours: the book is wrong
NONE: Final = -1  # no price
KNOWN_TOUCHES: Final = 1 << 14
_SIDES: Final = ({"BUY": d.BID, "SELL": d.ASK}, {"BUY": d.ASK, "SELL": d.BID})  # in YES terms: of YES, of NO
_encode: Final = msgspec.json.Encoder().encode


class BookSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known of a market to follow its book. `tick` in 1/10,000 dollar."""

    market: int  # row
    condition: str
    yes: str  # asset ids
    no: str
    tick: int
    min_size: int  # micro-contracts; part of what the hash covers, as is `neg_risk`
    neg_risk: bool

    @property
    def assets(self) -> tuple[str, str]:
        """Both tokens."""
        return self.yes, self.no


class TickChange(NamedTuple):
    """The price grid of a market is another one from now on."""

    market: int
    tick: int  # 1/10,000 dollar
    exch_ns: int


class Other(NamedTuple):
    """A message that is not about a book; its bytes are still to be read."""

    kind: str
    raw: bytes


class Hash(enum.Enum):
    """What the venue's hash says of our book."""

    MATCHES = "matches"
    DIFFERS = "differs"  # and nothing but a wrong book can be why
    UNKNOWN = "unknown"  # none was stated, or not all that it covers is known


# --- books ------------------------------------------------------------------------------------------


class YesBook:
    """One market's book: micro-contracts by price in 1/10,000 dollar; mutable, owned by the decoder."""

    __slots__ = (
        "best",
        "doubts",
        "exch_ns",
        "hashable",
        "heard_ns",
        "sides",
        "spec",
        "stated",
        "stated_by_change",
        "suspect",
        "synced",
        "tick",
        "traded",
        "trades",
    )

    def __init__(self, spec: BookSpec) -> None:
        self.spec = spec
        self.tick = spec.tick
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.best = [NONE, NONE]  # bid, ask
        self.synced = False  # a whole book has come
        self.exch_ns = 0  # newest venue time; 0: none
        self.heard_ns = 0  # when anything of it came last
        self.doubts = 0
        self.stated: tuple[bool, str, str] | None = None  # newest hash: of NO, its timestamp, itself
        self.stated_by_change = False  # else by a whole book
        self.hashable = False  # a change's hash has matched once: all that it covers is known
        self.suspect = False  # the hash that was verified last differed
        self.trades: list[str | None] = [None, None]  # last trade prices as texts: YES, NO; None: not known
        self.traded = False  # since these were stated

    def clear(self) -> None:
        """What is known counts for nothing until the next whole book."""
        self.sides = ({}, {})
        self.best = [NONE, NONE]
        self.synced = False
        self.doubts = 0
        self.suspect = False
        self.stated = None

    def levels(self) -> tuple[dict[int, int], dict[int, int]]:
        """Copies of bids and asks."""
        return dict(self.sides[0]), dict(self.sides[1])

    def set(self, side: int, price: int, size: int) -> bool:
        """A level's new total; False: it is what it was."""
        levels = self.sides[side]
        if levels.get(price, 0) == size:
            return False
        if size:
            levels[price] = size
            best = self.best[side]
            if best == NONE or (price > best if side == d.BID else price < best):
                self.best[side] = price
        else:
            del levels[price]
            if price == self.best[side]:
                self.best[side] = _best(side, levels)
        return True

    def replace(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """A whole book."""
        self.sides = bids, asks
        self.best = [_best(d.BID, bids), _best(d.ASK, asks)]
        self.synced = True
        self.doubts = 0


def _best(side: int, levels: dict[int, int]) -> int:
    return max(levels, default=NONE) if side == d.BID else min(levels, default=NONE)


class _Levels(YesPrices):
    """Prices of one token's orders that buy, or that sell, as levels of the YES book: 2 x price + side."""

    def __init__(self, field: str, side: int, *, of_no: bool) -> None:
        super().__init__(field, of_no=of_no)
        self._side = side

    def checked(self, value: int, text: str) -> int:
        """The level."""
        return 2 * super().checked(value, text) + self._side


class _Ticks(Decimals):
    """Tick sizes that Polymarket has."""

    def checked(self, value: int, text: str) -> int:
        """`value`, where it is one of them."""
        if value not in POLYMARKET_TICKS:
            raise self.refuse(text, "is no tick size that Polymarket has")
        return value


class BookDecoder:
    """Frames of the market channel to EVENT rows and, beside them, what else they say.

    out: (n,) EVENT, the buffer that `decode` fills from its start; 19,998 rows hold any book. `ignored`
    counts messages of unknown tokens, `mirrors_differ` frames whose two tokens contradict each other.
    """

    def __init__(self, out: d.Array) -> None:
        self.books: dict[str, YesBook] = {}  # by condition
        self.ignored = 0
        self.mirrors_differ = 0
        self._tokens: dict[str, tuple[YesBook, bool]] = {}
        self._rows = EventRows(out)
        fields = ("price", "bids", "asks")
        self._prices = {f: (YesPrices(f), YesPrices(f, of_no=True)) for f in fields}
        self._sizes = {f: Sizes(f) for f in ("size", "bids", "asks")}
        self._levels = tuple(
            {word: _Levels("price_changes", side, of_no=is_no) for word, side in _SIDES[is_no].items()}
            for is_no in (False, True)
        )
        self._totals = Sizes("price_changes")
        self._touch = Decimals("best_bid", PRICE_PLACES)
        self._touches: dict[tuple[str | None, str | None, bool], list[int]] = {}
        self._ticks = _Ticks("tick_size", PRICE_PLACES)

    def add(self, spec: BookSpec) -> None:
        """Follow a market."""
        if spec.condition not in self.books:
            book = YesBook(spec)
            self.books[spec.condition] = book
            self._tokens[spec.yes] = book, False
            self._tokens[spec.no] = book, True

    def remove(self, condition: str) -> None:
        """Follow a market no more."""
        book = self.books.pop(condition, None)
        if book is not None:
            del self._tokens[book.spec.yes], self._tokens[book.spec.no]

    def clear(self, conditions: Iterable[str]) -> None:
        """Forget these books."""
        for condition in conditions:
            self.books[condition].clear()

    def book_of(self, asset: str) -> YesBook | None:
        """The book that a token belongs to."""
        known = self._tokens.get(asset)
        return None if known is None else known[0]

    # --- one message ------------------------------------------------------------------------------

    def decode(self, raw: bytes, local_ns: int) -> tuple[int, TickChange | Other | None]:
        """Write the rows that one message means; returns their number, and what it says beside them.

        local_ns: when it was received. A message is applied as a whole or not at all; a tick change is to be
        told before the rows.

        Raises:
            BookLost: it can't be read, or contradicts the book: that book must be asked for anew.
        """
        self._rows.count = 0
        try:
            frame = FRAME.decode(raw)
        except UNREADABLE as error:
            return 0, self._other(raw, error)
        if type(frame) is ChangeFrame:
            if not self._on_pair(frame, local_ns):
                self._on_changes(frame, local_ns)
            return self._rows.count, None
        known = self._tokens.get(frame.asset_id)
        if known is None:
            self.ignored += 1
            return 0, None
        book, is_no = known
        try:
            said = self._on_one(book, is_no, frame, local_ns)
        except BookLost:
            raise
        except DataError as error:
            raise BookLost(error, book.spec.market) from None
        return self._rows.count, said

    def _on_one(
        self,
        book: YesBook,
        is_no: bool,
        frame: BookFrame | LastTradeFrame | TickFrame | TouchFrame,
        local_ns: int,
    ) -> TickChange | None:
        match frame:
            case BookFrame():
                return self._on_book(book, is_no, frame, local_ns)
            case LastTradeFrame():
                self._on_trade(book, is_no, frame, local_ns)
            case TickFrame():
                return self._on_tick(book, self._ticks[frame.new_tick_size], _ns(frame.timestamp))
            case TouchFrame():
                self._heard(book, _ns(frame.timestamp), local_ns)
        return None

    def _other(self, raw: bytes, error: Exception) -> Other:
        try:
            envelope = ENVELOPE.decode(raw)
        except UNREADABLE:
            raise BookLost(refused(raw, error), -1) from None
        if envelope.event_type in KNOWN or not envelope.event_type:
            raise BookLost(refused(raw, error), self._market_of(envelope))
        return Other(envelope.event_type, raw)

    def _market_of(self, envelope: Envelope) -> int:
        """The row that a message which can't be read is about; -1: it can't be told."""
        book = self.books.get(envelope.market or "")
        if book is None and envelope.asset_id:
            book = self.book_of(envelope.asset_id)
        return -1 if book is None else book.spec.market

    @staticmethod
    def _heard(book: YesBook, exch_ns: int, local_ns: int) -> None:
        book.heard_ns = local_ns
        if exch_ns > book.exch_ns:
            book.exch_ns = exch_ns

    # --- changes ----------------------------------------------------------------------------------

    def _on_changes(self, frame: ChangeFrame, local_ns: int) -> None:
        changes = frame.price_changes
        first = self._tokens.get(changes[0].asset_id) if changes else None
        market = -1 if first is None else first[0].spec.market
        try:
            exch_ns = _ns(frame.timestamp)
            parts = self._read_changes(changes)
            touch = None if first is None else self._touch_of(changes[-1], first[0])
        except DataError as error:
            raise BookLost(error, market) from None
        for book, (told, mirrored) in parts.items():
            self._heard(book, exch_ns, local_ns)
            if not book.synced:
                self.ignored += 1
                continue
            merged = told if told == mirrored or not mirrored else self._merged(told, mirrored)
            for level, size in merged.items():
                side, price = level & 1, level >> 1
                if book.set(side, price, size):
                    self._rows.put(d.LEVEL, book.spec.market, book.exch_ns, local_ns, side, price, size)
        if first is not None and len(parts) == 1 and first[0].synced:
            last = changes[-1]
            self._check(first[0], last, last.asset_id == first[0].spec.no, frame.timestamp, touch)

    def _on_pair(self, frame: ChangeFrame, local_ns: int) -> bool:
        """The usual frame, at speed: one level of a book, told by both its tokens alike.

        False, with nothing done, for any other frame, and for one that the way for all frames refuses.
        """
        changes = frame.price_changes
        if len(changes) != 2:
            return False
        one, two = changes
        first, second = self._tokens.get(one.asset_id), self._tokens.get(two.asset_id)
        if first is None or second is None or first[0] is not second[0] or one.size != two.size:
            return False
        (book, is_no), of_no = first, second[1]
        levels, mirrored = self._levels[is_no].get(one.side), self._levels[of_no].get(two.side)
        if is_no is of_no or not book.synced or levels is None or mirrored is None:
            return False
        try:
            level = levels[one.price]
            if level != mirrored[two.price]:
                return False
            size, exch_ns = self._totals[one.size], _ns(frame.timestamp)
            touch = self._touches.get((two.best_bid, two.best_ask, of_no)) or self._touch_of(two, book)
        except DataError:
            return False
        book.heard_ns = local_ns
        if exch_ns > book.exch_ns:
            book.exch_ns = exch_ns
        side, price = level & 1, level >> 1
        if book.set(side, price, size):
            self._rows.put(d.LEVEL, book.spec.market, book.exch_ns, local_ns, side, price, size)
        self._check(book, two, of_no, frame.timestamp, touch)
        return True

    def _read_changes(
        self, changes: list[LevelChange]
    ) -> dict[YesBook, tuple[dict[int, int], dict[int, int]]]:
        """What the YES token says of each book, and what the NO token says: levels to totals."""
        parts: dict[YesBook, tuple[dict[int, int], dict[int, int]]] = {}
        for change in changes:
            known = self._tokens.get(change.asset_id)
            if known is None:
                self.ignored += 1
                continue
            book, is_no = known
            levels = self._levels[is_no].get(change.side)
            if levels is None:
                raise DataError(f"{change.side!r} is neither BUY nor SELL", key="price_changes.side")
            part = parts.get(book)
            if part is None:
                part = parts[book] = ({}, {})
            part[is_no][levels[change.price]] = self._totals[change.size]
        return parts

    def _merged(self, told: dict[int, int], mirrored: dict[int, int]) -> dict[int, int]:
        """What the YES token says, and what the NO token alone says."""
        if told and any(told.get(level, size) != size for level, size in mirrored.items()):
            self.mirrors_differ += 1
        return mirrored | told

    def _touch_of(self, last: LevelChange, book: YesBook) -> list[int] | None:
        """YES bid and ask that the frame states; None: it states none."""
        if last.best_bid is None or last.best_ask is None:
            return None
        is_no = last.asset_id == book.spec.no
        touch = self._touches.get((last.best_bid, last.best_ask, is_no))
        return self._stated_touch(last.best_bid, last.best_ask, is_no=is_no) if touch is None else touch

    def _check(
        self, book: YesBook, last: LevelChange, is_no: bool, timestamp: str, touch: list[int] | None
    ) -> None:
        """Whether the touch that the frame states is ours; doubts add up until the book counts as wrong."""
        book.stated = (is_no, timestamp, last.hash) if last.hash else None
        book.stated_by_change = True
        if touch is None:
            return
        if book.best == touch:
            book.doubts = 0
            return
        book.doubts += 1
        if book.doubts >= DOUBTS:
            what = f"the venue's bid and ask are {touch}, ours {book.best}"
            raise BookLost(DataError(what, key=book.spec.condition), book.spec.market)

    def _stated_touch(self, bid_text: str, ask_text: str, *, is_no: bool) -> list[int]:
        """YES bid and ask; a side without orders is stated as nothing, as 0 or as the other end."""
        bid, ask = (self._touch[text] if text else 0 for text in (bid_text, ask_text))
        bid, ask = (price if 0 < price < PRICE_SCALE else NONE for price in (bid, ask))
        if is_no:
            bid, ask = (PRICE_SCALE - price if price != NONE else NONE for price in (ask, bid))
        if len(self._touches) >= KNOWN_TOUCHES:
            self._touches.clear()
        found = self._touches[bid_text, ask_text, is_no] = [bid, ask]
        return found

    # --- whole books, trades, grids -----------------------------------------------------------------

    def _on_book(self, book: YesBook, is_no: bool, frame: BookFrame, local_ns: int) -> TickChange | None:
        """A whole book; one that speaks of an older time than ours is no news."""
        exch_ns = _ns(frame.timestamp)
        fresh = []
        for field, listed in (("bids", frame.bids), ("asks", frame.asks)):
            prices, sizes = self._prices[field][is_no], self._sizes[field]
            levels = {prices[level.price]: sizes[level.size] for level in listed}
            if len(levels) < len(listed):
                raise DataError("a book names a price twice", key=field)
            fresh.append({price: size for price, size in levels.items() if size})
        tick = self._ticks[frame.tick_size] if frame.tick_size else book.tick
        moved = self._on_tick(book, tick, exch_ns)  # where the change itself was never told
        if book.synced and exch_ns < book.exch_ns:
            book.heard_ns = local_ns
            return None
        book.trades[is_no] = frame.last_trade_price
        if is_no and book.synced and exch_ns == book.exch_ns:
            book.heard_ns = local_ns
            return None
        bids, asks = (fresh[1], fresh[0]) if is_no else (fresh[0], fresh[1])
        self._heard(book, exch_ns, local_ns)
        if not book.synced or book.sides != (bids, asks):
            book.replace(bids, asks)
            self._put_whole(book, book.exch_ns, local_ns)
        if frame.hash:
            book.stated = is_no, frame.timestamp, frame.hash
            book.stated_by_change = False
        book.traded = False
        return moved

    def _put_whole(self, book: YesBook, exch_ns: int, local_ns: int) -> None:
        """All levels as SNAPSHOT rows; an empty book is one row without a price."""
        levels = [
            (side, price, book.sides[side][price])
            for side in (d.BID, d.ASK)
            for price in sorted(book.sides[side])
        ] or [(d.BID, 0, 0)]
        last = len(levels) - 1
        for i, (side, price, size) in enumerate(levels):
            bits = (d.SNAP_FIRST if i == 0 else 0) | (d.SNAP_LAST if i == last else 0)
            self._rows.put(d.SNAPSHOT, book.spec.market, exch_ns, local_ns, side, price, size, bits)

    def _on_trade(self, book: YesBook, is_no: bool, frame: LastTradeFrame, local_ns: int) -> None:
        exch_ns = _ns(frame.timestamp)
        price = self._prices["price"][is_no][frame.price]
        size = self._sizes["size"][frame.size]
        if frame.side not in ("BUY", "SELL"):
            raise DataError(f"{frame.side!r} is neither BUY nor SELL", key="side")
        side = d.BID if (frame.side == "BUY") != is_no else d.ASK
        self._heard(book, exch_ns, local_ns)
        book.trades[is_no] = frame.price
        book.traded = True
        self._rows.put(d.TRADE, book.spec.market, book.exch_ns, local_ns, side, price, size)

    def _on_tick(self, book: YesBook, tick: int, exch_ns: int) -> TickChange | None:
        """A new grid begins a new book; the other token's notice of it is no news."""
        if tick == book.tick:
            return None
        book.tick = tick
        book.clear()
        return TickChange(book.spec.market, tick, exch_ns)

    # --- checks -----------------------------------------------------------------------------------

    def verify(self, book: YesBook) -> Hash:
        """Whether our book has the hash that the venue stated last.

        A hash covers the price of the token's last trade, too, so after a trade what does not match proves
        nothing; nor does it while no change's hash of this market has ever matched.
        """
        if not book.synced or book.stated is None:
            return Hash.UNKNOWN
        is_no, timestamp, stated = book.stated
        traded = book.trades[is_no]
        if traded is None:
            return Hash.UNKNOWN
        if token_hash(book, is_no=is_no, timestamp=timestamp, last_trade=traded) == stated:
            book.hashable = book.hashable or book.stated_by_change
            return Hash.MATCHES
        return Hash.DIFFERS if book.hashable and not book.traded else Hash.UNKNOWN


def _ns(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and 0 < (ms := int(text)) < MAX_MS):
        raise DataError(f"{text[:40]!r} is not a time in Unix milliseconds", key="timestamp")
    return ms * NS_PER_MS


def decimal_text(value: int) -> str:
    """A price of 1/10,000 as the venue writes it: no more digits than it needs."""
    whole, part = divmod(value, PRICE_SCALE)
    return f"{whole}.{part:04d}".rstrip("0").rstrip(".")


def token_hash(book: YesBook, *, is_no: bool, timestamp: str, last_trade: str) -> str:
    """SHA-1 of a token's book as compact JSON with an empty hash: what the venue states as its hash."""
    spec = book.spec
    bids, asks = book.sides
    own, other = (asks, bids) if is_no else (bids, asks)

    def listed(levels: dict[int, int], *, rising: bool) -> list[dict[str, str]]:
        sizes = {(PRICE_SCALE - price if is_no else price): size for price, size in levels.items()}
        return [
            {"price": decimal_text(price), "size": format_contracts(sizes[price])}
            for price in sorted(sizes, reverse=not rising)
        ]

    body = {
        "market": spec.condition,
        "asset_id": spec.no if is_no else spec.yes,
        "timestamp": timestamp,
        "hash": "",
        "bids": listed(own, rising=True),
        "asks": listed(other, rising=False),
        "min_order_size": format_contracts(spec.min_size),
        "tick_size": decimal_text(book.tick),
        "neg_risk": spec.neg_risk,
        "last_trade_price": last_trade,
    }
    return hashlib.sha1(_encode(body), usedforsecurity=False).hexdigest()
