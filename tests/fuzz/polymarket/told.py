"""What frames of the market channel honestly tell of each book, read slowly by other means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fuzz.honest import Lie
from fuzz.polymarket import numbers as n
from fuzz.polymarket.world import CONDITIONS, TOKEN_OF, TOKENS
from pr3dict.kernels import dtypes as d

DOLLAR: Final = 10_000
BOOK_KINDS: Final = ("book", "price_change", "last_trade_price", "tick_size_change", "best_bid_ask")
Sides = tuple[dict[int, int], dict[int, int]]


class Told(NamedTuple):
    """One market as its messages tell it."""

    sides: Sides = ({}, {})
    synced: bool = False
    exch_ns: int = 0
    tick: int = 100


class Trade(NamedTuple):
    """A trade that is told: the taker's side in YES terms."""

    market: int
    side: int
    price: int
    size: int


def messages(value: Any) -> list[Any]:
    """The messages of a frame."""
    return value if isinstance(value, list) else [value]


def after(books: tuple[Told, ...], msg: Any) -> tuple[tuple[Told, ...], Trade | None]:
    """The books after a message, and the trade that it tells.

    Raises:
        Lie: it is about a book, and says nothing that can be meant.
    """
    if not isinstance(msg, dict) or not isinstance(msg.get("event_type"), str) or not msg["event_type"]:
        raise Lie("no message")
    kind = msg["event_type"]
    if kind not in BOOK_KINDS:
        return books, None
    if kind == "price_change":
        return _changed(books, msg, n.stream_ms(msg.get("timestamp"))), None
    known = TOKEN_OF.get(n.text(msg.get("asset_id")))
    if known is None:
        return books, None
    at_ns = n.stream_ms(msg.get("timestamp"))
    row, is_no = known
    book = books[row]
    heard = book._replace(exch_ns=max(book.exch_ns, at_ns))
    if kind == "last_trade_price":
        side = {"BUY": d.BID, "SELL": d.ASK}[n.text(msg.get("side"))]
        price, size = _price(msg.get("price"), is_no=is_no), _size(msg.get("size"))
        return _put(books, row, heard), Trade(row, 1 - side if is_no else side, price, size)
    if kind == "best_bid_ask":
        return _put(books, row, heard), None
    if kind == "tick_size_change":
        tick = n.tick(n.text(msg.get("new_tick_size")))
        moved = book if tick == book.tick else Told(exch_ns=book.exch_ns, tick=tick)
        return _put(books, row, moved), None
    return _put(books, row, _whole(book, msg, at_ns, is_no=is_no)), None


def _put(books: tuple[Told, ...], row: int, book: Told) -> tuple[Told, ...]:
    return (*books[:row], book, *books[row + 1 :])


def _price(value: Any, *, is_no: bool) -> int:
    price = n.price(n.text(value))
    if not 0 < price < DOLLAR:
        raise Lie(f"{value!r} is no price of an order")
    return DOLLAR - price if is_no else price


def _size(value: Any) -> int:
    return n.scaled(n.text(value), 6)


def _changed(books: tuple[Told, ...], msg: Any, at_ns: int) -> tuple[Told, ...]:
    """What the YES token says counts, and what the NO token alone says."""
    said: dict[int, tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]] = {}
    if not isinstance(msg.get("price_changes"), list):
        raise Lie("no changes")
    for change in msg["price_changes"]:
        known = TOKEN_OF.get(n.text(change.get("asset_id")))
        if known is None:
            continue
        row, is_no = known
        side = {"BUY": d.BID, "SELL": d.ASK}[n.text(change.get("side"))]
        price = _price(change.get("price"), is_no=is_no)
        said.setdefault(row, ({}, {}))[is_no][1 - side if is_no else side, price] = _size(change.get("size"))
    for row, (yes, no) in said.items():
        book = books[row]
        sides = tuple(dict(side) for side in book.sides)
        for (side, price), size in (no | yes).items():
            sides[side].pop(price, None)
            if size:
                sides[side][price] = size
        fresh = book._replace(exch_ns=max(book.exch_ns, at_ns))
        books = _put(books, row, fresh._replace(sides=sides) if book.synced else fresh)  # type: ignore[arg-type]
    return books


def _whole(book: Told, msg: Any, at_ns: int, *, is_no: bool) -> Told:
    """A whole book; the older one of two is no news, nor is the other token's of the same time."""
    sides = []
    for name in ("bids", "asks"):
        levels = [(_price(level.get("price"), is_no=is_no), _size(level.get("size"))) for level in msg[name]]
        if len(dict(levels)) != len(levels):
            raise Lie("a price stands twice")
        sides.append({price: size for price, size in levels if size})
    tick = n.tick(n.text(msg["tick_size"])) if msg.get("tick_size") else book.tick
    if tick != book.tick:
        book = Told(tick=tick, exch_ns=book.exch_ns)
    if book.synced and (at_ns < book.exch_ns or (is_no and at_ns == book.exch_ns)):
        return book
    bids, asks = reversed(sides) if is_no else sides
    return Told((bids, asks), True, max(at_ns, book.exch_ns), tick)


def row_steps(rows: d.Array) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(market, kind, side, price, size, bits) of each row."""
    for row in rows.tolist():
        named = dict(zip(rows.dtype.names, row, strict=True))
        yield named["market"], named["kind"], named["side"], named["price"], named["qty"], named["bits"]


def resolved(msg: Any) -> tuple[int, int] | None:
    """(market, payout of one YES contract in micros) that a message announces; None: nothing of ours."""
    if msg["event_type"] != "market_resolved" or msg["market"] not in CONDITIONS:
        return None
    row = CONDITIONS.index(msg["market"])
    pays = {TOKENS[row][0]: 1_000_000, TOKENS[row][1]: 0}.get(msg.get("winning_asset_id") or "")
    return None if pays is None else (row, pays)
