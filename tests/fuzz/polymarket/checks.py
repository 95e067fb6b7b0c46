"""What an answer may become: the tables of docs/venues/polymarket.md; events against what the text says."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from fuzz import honest
from fuzz.honest import Lie
from fuzz.polymarket import numbers as n
from fuzz.polymarket import ours
from fuzz.polymarket.world import TOKEN_OF
from fuzz.rig import Said, same
from pr3dict.domain import commands as c
from pr3dict.domain import events as e

REFUSING: Final = frozenset({400, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431})
SIGNED: Final = {"Poly-RateLimit-Remaining": "0"}
LOST_WORDS: Final = ("internal", "timeout", "timed out", "unavailable", "unexpected", "try again")
GONE: Final = ("already", "not found", "can't be found", "does not exist", "matched", "canceled")
MODES: Final = ("post-only mode", "post-only-mode", "cancel-only", "cancel only")


def verdicts(said: Said) -> set[str]:
    """What the table makes of an answer, for each way to read it."""
    status, raw = said.status, said.body
    if 200 <= status < 300:
        return {"accepted"}
    if status == 429:
        return {"refused" if said.headers else "unknown"}
    if status in (401, 403, 425):
        return {"refused"}
    texts = {_problem(value) for value in honest.readings(raw, strict=True)} or {None}
    return {_verdict(status, text, raw) for text in texts}


def _problem(value: Any) -> str | None:
    inner = value.get("error") if isinstance(value, dict) else None
    value = inner if isinstance(inner, dict) else value
    if not isinstance(value, dict):
        return None
    said = [value.get(k) for k in ("error", "errorMsg", "error_msg", "message", "code")]
    texts = [text for text in said if isinstance(text, str) and text]
    return ": ".join(dict.fromkeys(texts))[:300] or None


def _verdict(status: int, text: str | None, raw: bytes) -> str:
    if text is None:
        plain = raw[:300].decode("utf-8", "replace").lower().replace("_", "-")
        closed = status == 503 and any(mode in plain for mode in MODES[2:])
        return "refused" if closed and not any(mode in plain for mode in MODES[:2]) else "unknown"
    said = text.lower()
    if status == 503 and any(mode in said.replace("_", "-") for mode in MODES):
        return "refused"
    if status in REFUSING:
        return "unknown" if "duplicated" in said else "refused"
    return "refused" if status == 500 and "order timed out" in said else "unknown"


# --- orders -----------------------------------------------------------------------------------------


def leg_verdict(leg: Any, digest: str) -> str:
    """What one order's own answer means."""
    words = {name: _optional(leg.get(name)) for name in ("errorMsg", "orderID", "status")}
    error, named = words["errorMsg"], words["orderID"]
    if leg.get("success") not in (None, True, False):
        raise Lie("success is neither true nor false")
    for name in ("makingAmount", "takingAmount"):
        if leg.get(name) is not None:
            n.MEANINGS["SizeOrEmpty"](leg[name])
    if error and not named:
        said = error.lower()
        lost = "order timed out" not in said and any(word in said for word in LOST_WORDS)
        return "unknown" if lost or "duplicated" in said else "refused"
    if error or not named or leg.get("success") is False or named.lower() != digest:
        return "unknown"
    word = words["status"].lower().removeprefix("order_status_")
    return "accepted" if word in ("live", "matched", "delayed") else "unknown"


def _optional(value: Any) -> str:
    return "" if value is None else str(n.text(value))


def leg_of(value: Any, place: int, count: int) -> Any:
    """One order's answer among those of a batch."""
    if not isinstance(value, list) or len(value) != count:
        raise Lie("the answer names another number of orders")
    return value[place]


def check_placed(leg: Any, digest: str, event: e.Control, more: list[e.Control]) -> None:
    """Accepted or refused as the order's own answer says, with what had traded."""
    wanted = {"accepted": e.Accepted, "refused": e.Refused}[leg_verdict(leg, digest)]
    same(type(event), wanted)
    if isinstance(event, e.Accepted):
        taken = leg.get("takingAmount")
        filled = 0 if taken in (None, "") else n.scaled(taken, 6)
        same((event.venue_id.lower(), event.filled), (digest, filled))
        is_over = filled >= ours_size(event) and not leg["status"].lower().endswith("delayed")
        same([x.filled for x in more if isinstance(x, e.Closed)], [filled] if is_over else [])


def ours_size(_: e.Accepted) -> int:
    """All our orders here have the same size."""
    return 10_000_000


def cancel_verdict(body: Any, digest: str) -> str:
    """What an answer to cancels means for one order: accepted, unknown_order, none or unknown."""
    gone, kept = body.get("canceled"), body.get("not_canceled")
    if gone is None and kept is None:
        return "unknown"
    names = [n.text(name).lower() for name in gone or ()]
    why = next((n.text(text) for name, text in (kept or {}).items() if name.lower() == digest), None)
    for text in (kept or {}).values():
        n.text(text)
    if digest in names and why is None:
        return "accepted"
    if digest in names or why is None:
        return "unknown"
    said = why.lower()
    if "delayed" in said or "pending" in said:
        return "none"
    return "unknown_order" if any(word in said for word in GONE) else "unknown"


# --- reads ------------------------------------------------------------------------------------------

Orders = Mapping[str, c.Place]


def check_orders(event: e.OrdersRead, value: Any, orders: Orders) -> None:
    """Each order as its body says, in YES terms."""
    told = [x for x in value["data"] if _left(x, orders) >= ours.LOT]
    same(len(event.orders) == len(told) or value["next_cursor"] != "LTE=", True)
    for order, said in zip(event.orders, told, strict=False):
        place = orders.get(said["id"].lower())
        same((order.venue_id, order.order_id), (said["id"], place.order_id if place else 0))
        size, matched = _sizes(said, place)
        same((order.remaining, order.filled), (size - matched, matched))
        if said["asset_id"] in TOKEN_OF:
            at = ours.in_yes_terms(said["asset_id"], said["side"], n.price(n.text(said["price"])))
            same((order.market, order.side, order.sell, order.price), at)
        else:
            same(order.market, -1)


def _sizes(said: Any, place: c.Place | None) -> tuple[int, int]:
    """(size, traded), in whichever unit they came."""
    size = n.scaled(n.text(said["original_size"]), 6)
    matched = n.MEANINGS["SizeOrEmpty"](said["size_matched"])
    base = size == place.size * 10**6 if place else size >= 10**12
    if place and not base:
        same(size, place.size)
    if base:
        same((size % 10**6, max(0, matched) % 10**6), (0, 0))
        size, matched = size // 10**6, matched // 10**6 if matched > 0 else matched
    if matched > size:
        raise Lie("more traded than there was")
    return size, max(0, matched)


def _left(said: Any, orders: Orders) -> int:
    size, matched = _sizes(said, orders.get(said["id"].lower()))
    return size - matched


def check_order(event: e.OrderRead, said: Any, orders: Orders) -> None:
    """Open or closed by its status."""
    if event.status == "not_found":
        same(said, None)
        return
    size, matched = _sizes(said, orders.get(said["id"].lower()))
    same((event.venue_id, event.filled), (said["id"], matched))
    word = ours.word_of(said["status"], "ORDER").removeprefix("ORDER_")
    ended = word in ours.ENDED or word.startswith(("CANCELED_", "CANCELLED_"))
    if event.status == "open":
        same((ended, event.remaining), (False, size - matched))
    else:
        same(ended or size - matched < ours.LOT or word in ("MATCHED", "UNMATCHED"), True)


def check_fills(event: e.FillsRead, value: Any, orders: Orders) -> None:
    """Every fill of ours in the trades, and nothing else."""
    wanted: dict[str, tuple[ours.Fill, int, bool]] = {}
    for said in value["data"]:
        word = ours.word_of(said["status"], "TRADE")
        at_ns = n.moment(said["match_time"])
        for name, fill in ours.read_fills(said, orders, sure=True).items():
            wanted[name] = fill, at_ns, word == "CONFIRMED"
    for got in event.fills:
        fill, at_ns, final = wanted[got.trade_id]
        same((got.exch_ns, got.final, got.fee_micros), (at_ns, final, ours.fee_of(fill)))
        same(
            (got.market, got.side, got.sell, got.price, got.size, got.maker),
            (fill.market, fill.side, fill.sell, fill.price, fill.size, fill.maker),
        )


def check_book(event: e.BookRead, value: Any) -> None:
    """The touch of the YES token."""
    prices = []
    for name in ("bids", "asks"):
        levels = [(n.price(n.text(x["price"])), n.scaled(n.text(x["size"]), 6)) for x in value[name]]
        prices.append([price for price, size in levels if size])
    best = (max(prices[0], default=-1), min(prices[1], default=-1))
    same((event.bid_price, event.ask_price), best)


def payout_of(market: Any) -> int | None:
    """What one YES contract of a catalogue's market pays; None: it does not say."""
    done = "resolved" in [
        str(market.get(k) or "").lower() for k in ("umaResolutionStatus", "resolutionStatus")
    ]
    prices = market.get("outcomePrices")
    if market.get("closed") is not True or not done or prices is None:
        return None
    yes, no = n.MEANINGS["Numbers"](prices)
    known = {(1, 0): 1_000_000, (0, 1): 0, (Decimal("0.5"), Decimal("0.5")): 500_000}
    return known.get((yes, no))
