"""What frames of the account's channel honestly say of our orders and trades."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple

from fuzz.honest import Lie
from fuzz.polymarket import numbers as n
from fuzz.polymarket.world import OWNER, TOKEN_OF, WALLET
from fuzz.rig import same
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d

LOT: Final = 10_000
RATE: Final = Decimal("0.04")
ENDED: Final = ("CANCELED", "CANCELLED", "INVALID")
STANDS: Final = ("LIVE", "MATCHED", "DELAYED")
Orders = Mapping[str, c.Place]


class Fill(NamedTuple):
    """One fill of ours, in YES terms; `order_id` 0: of an order that we do not know."""

    order_id: int
    market: int
    side: int
    sell: bool
    price: int
    size: int
    maker: bool
    digest: str


def fee_of(fill: Fill) -> int:
    """Makers pay nothing; takers rate x size x p x (1 - p), to five decimals of a dollar."""
    if fill.maker:
        return 0
    price = Decimal(fill.price) / 10_000
    dollars = RATE * Decimal(fill.size) / 10**6 * price * (1 - price)
    return int(dollars.quantize(Decimal("0.00001"), ROUND_HALF_UP) * 10**6)


def word_of(status: Any, prefix: str) -> str:
    """A status without its prefix."""
    word = str(n.text(status)).upper().removeprefix(f"{prefix}_STATUS_")
    return "MATCHED" if word == "MATCHED_NOT_BROADCASTED" else word


def in_yes_terms(asset: str, side: str, price: int) -> tuple[int, int, bool, int]:
    """(market, side, sell, YES price) of buying or selling a token at its own price."""
    row, is_no = TOKEN_OF[asset]
    book_side = {"BUY": d.BID, "SELL": d.ASK}[side]
    return row, 1 - book_side if is_no else book_side, side == "SELL", 10_000 - price if is_no else price


def read_order(msg: Any, orders: Orders) -> tuple[str, int, set[int]]:
    """(word of the status, our id (0: not ours), what may have traded) of an order's message."""
    digest = n.text(msg.get("id")).lower()
    for key in ("market", "asset_id"):
        n.text(msg.get(key))
    if msg.get("side") not in ("BUY", "SELL"):
        raise Lie("no side")
    n.MEANINGS["Price"](msg.get("price"))
    sizes = [n.MEANINGS["SizeOrEmpty"](msg.get("original_size"))]
    matched = msg.get("size_matched")
    sizes.append(n.UNKNOWN if matched is None else n.MEANINGS["SizeOrEmpty"](matched))
    status = msg.get("status") or ""
    word = word_of(status, "ORDER").removeprefix("ORDER_") if status else ""
    if not word:
        word = "CANCELED" if msg.get("type") == "CANCELLATION" else "LIVE"
    place = orders.get(digest)
    if place is None:
        return word, 0, set()
    size, filled = sizes
    if size == place.size * 10**6:
        filled = filled // 10**6 if filled % 10**6 == 0 else n.UNKNOWN
    elif size not in (place.size, n.UNKNOWN):
        raise Lie(f"its size is {size}, we sent {place.size}")
    return word, place.order_id, {filled}


def read_fills(msg: Any, orders: Orders, *, sure: bool = False) -> dict[str, Fill]:
    """Our fills in a trade, by name; of an order that we do not know nothing is read, unless `sure`."""
    for key in ("id", "taker_order_id", "market", "asset_id", "status"):
        n.text(msg.get(key))
    if msg.get("side") not in ("BUY", "SELL"):
        raise Lie("no side")
    n.plain(n.text(msg.get("price")) if isinstance(msg.get("price"), str) else msg.get("price"))
    size = n.MEANINGS["SizeOrEmpty"](msg.get("size"))
    rows = msg.get("maker_orders", [])
    for row in rows:
        n.scaled(n.text(row.get("matched_amount")), 6), n.price(n.text(row.get("price")))
        n.text(row.get("order_id")), n.text(row.get("asset_id"))
        if row.get("side") not in ("BUY", "SELL"):
            raise Lie("no side")
    if msg["asset_id"] not in TOKEN_OF:
        return {}
    found: dict[str, Fill] = {}
    taker = msg["taker_order_id"].lower()
    if taker in orders or msg.get("owner") == OWNER or msg.get("trader_side") == "TAKER":
        found |= _taken(msg, rows, size, taker, orders, sure=sure)
    for row in rows:
        digest = row["order_id"].lower()
        owned = row.get("owner") == OWNER or str(row.get("maker_address")).lower() == WALLET.maker.lower()
        if digest in orders or (owned and sure):
            at = in_yes_terms(row["asset_id"], row["side"], n.price(row["price"]))
            found[f"{msg['id']}/{digest}"] = _fill(orders, digest, at, row, maker=True)
        elif owned:
            found[f"{msg['id']}/{digest}"] = _stranger(digest)
    return found


def _taken(msg: Any, rows: Any, size: int, taker: str, orders: Orders, *, sure: bool) -> dict[str, Fill]:
    if taker not in orders and not sure:
        return {f"{msg['id']}/{taker}/": _stranger(taker)}
    found = {}
    total = sum(n.scaled(row["matched_amount"], 6) for row in rows)
    if not rows or (size != n.UNKNOWN and abs(total - size) >= LOT * len(rows)):
        raise Lie("its parts are not the trade")
    for row in rows:
        price = n.price(row["price"])
        own = price if row["asset_id"] == msg["asset_id"] else 10_000 - price
        at = in_yes_terms(msg["asset_id"], msg["side"], own)
        found[f"{msg['id']}/{taker}/{row['order_id'].lower()}"] = _fill(orders, taker, at, row, maker=False)
    return found


def _stranger(digest: str) -> Fill:
    """A fill whose order is looked up before its parts are read."""
    return Fill(0, -1, 0, False, 0, 0, False, digest)


def _fill(orders: Orders, digest: str, at: tuple[int, int, bool, int], row: Any, *, maker: bool) -> Fill:
    market, side, sell, price = at
    size = n.scaled(row["matched_amount"], 6)
    if not 0 < price < 10_000 or size <= 0:
        raise Lie("a fill of nothing, or at no price")
    order_id = orders[digest].order_id if digest in orders else 0
    return Fill(order_id, market, side, sell, price, size, maker, digest)


def matched_ns(msg: Any) -> int:
    """When a trade was matched."""
    for key in ("match_time", "matchtime", "timestamp"):
        if msg.get(key) not in (None, ""):
            return n.moment(msg[key])
    raise Lie("it does not say when it was matched")


def explain(event: e.Control, msg: Any, orders: Orders) -> None:
    """An event that followed from a message says what the message says."""
    kind = msg["event_type"]
    match event:
        case e.Accepted() | e.Closed():
            same(kind, "order")
            word, order_id, filled = read_order(msg, orders)
            same(event.order_id, order_id)
            known = filled if isinstance(event, e.Closed) else {max(0, one) for one in filled}
            same(event.filled in known, True)
            ended = word in ENDED or word.startswith(("CANCELED_", "CANCELLED_"))
            if isinstance(event, e.Accepted) or event.why != "filled":
                same(word in STANDS if isinstance(event, e.Accepted) else ended, True)
        case e.Filled():
            same(kind, "trade")
            fill = read_fills(msg, orders)[event.trade_id]
            got = Fill(
                event.order_id, event.market, event.side, event.sell, event.price, event.size, event.maker,
                event.venue_id.lower(),
            )  # fmt: skip
            same(got, fill)
            same((event.fee_micros, event.exch_ns), (fee_of(fill), matched_ns(msg)))
            same(event.final, word_of(msg["status"], "TRADE") == "CONFIRMED")
        case e.FillFinal() | e.FillVoided():
            same(kind, "trade")
            same(event.market, read_fills(msg, orders)[event.trade_id].market)
            wanted = "CONFIRMED" if isinstance(event, e.FillFinal) else "FAILED"
            same(word_of(msg["status"], "TRADE"), wanted)
        case _:
            raise Lie(f"a message about us made a {type(event).__name__}")
