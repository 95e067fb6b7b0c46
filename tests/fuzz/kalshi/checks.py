"""What an answer may become: the table of docs/venues/kalshi.md; events against what the text says."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from fuzz import honest
from fuzz.honest import Lie
from fuzz.kalshi.world import TICKERS
from fuzz.rig import Said, same
from pr3dict.domain import commands as c
from pr3dict.domain import events as e

SURE: Final = frozenset({400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431})
CONFLICTS: Final = ("fill_or_kill_insufficient_resting_volume", "trading_is_paused", "exchange_is_paused")
TOTAL: Final = 10_000_000


def verdicts(said: Said) -> set[str]:
    """What the table of docs/venues/kalshi.md makes of an answer, for each way to read it."""
    status, raw = said.status, said.body
    if 200 <= status < 300:
        return {"accepted"}
    if status == 429:
        return {"refused"}
    found = {_verdict(status, value) for value in honest.readings(raw, strict=True)}
    return found or {"unknown"}


def _verdict(status: int, value: Any) -> str:
    inner = value.get("error", value) if isinstance(value, dict) else None
    said = isinstance(inner, str) or (
        isinstance(inner, dict) and any(inner.get(k) not in (None, "") for k in ("code", "message", "msg"))
    )
    if not said:
        return "unknown"
    if status == 409:
        return "refused" if isinstance(inner, dict) and inner.get("code") in CONFLICTS else "unknown"
    return "refused" if status in SURE else "unknown"


def item(value: Any, place: int, count: int) -> Any:
    if len(value["orders"]) != count:
        raise Lie("the answer names another number of orders")
    return value["orders"][place]


def refuses(item: Any) -> bool:
    code = item["error"]["code"]
    if not isinstance(code, str):
        raise Lie("no code")
    return bool(code) and code != "order_already_exists"


def check_created(item: Any, order: c.Place, event: e.Accepted, more: Sequence[e.Control]) -> None:
    filled, left = honest.size(item["fill_count"]), honest.size(item["remaining_count"])
    same((event.venue_id, event.filled), (item["order_id"], filled))
    same(item.get("client_order_id") in (None, f"test-{order.order_id}"), True)
    same(bool(event.venue_id), True)
    same([x.filled for x in more if isinstance(x, e.Closed)], [] if left else [filled])


def check_taken_out(item: Any, event: e.Closed) -> None:
    taken = honest.size(item["reduced_by"])
    same(event.filled, TOTAL - taken if taken <= TOTAL else -1)


def check_repeated(sent: Any, order: Any) -> None:
    same(honest.price(sent["price"]), honest.price(order["yes_price_dollars"]))
    total = honest.size(order["fill_count_fp"]) + honest.size(order["remaining_count_fp"])
    same(Decimal(sent["count"]).scaleb(6), total)
    same((sent["side"], order["status"]), (order["book_side"], "resting"))


def check_orders(event: e.OrdersRead, value: Any) -> None:
    rows = {ticker: row for row, ticker in enumerate(TICKERS)}
    told = [x for x in value["orders"] if honest.size(x["remaining_count_fp"])]
    same(len(event.orders) - len(told) == 0 or bool(value["cursor"]), True)  # else another page follows
    for order, said in zip(event.orders, told, strict=False):
        same((order.venue_id, order.market), (said["order_id"], rows.get(said["ticker"], -1)))
        same(order.price, honest.price(said["yes_price_dollars"]))
        same(order.remaining, honest.size(said["remaining_count_fp"]))
        same(order.filled, honest.size(said["fill_count_fp"]))
        same(order.side, {"bid": 0, "ask": 1}[said["book_side"]])
        expiry = said.get("expiration_time")
        same(order.expiry_ns, 0 if expiry is None else honest.moment(expiry))


def check_order(event: e.OrderRead, value: Any) -> None:
    said = value["order"]
    same(event.status, {"resting": "open", "executed": "closed", "canceled": "closed"}[said["status"]])
    same((event.venue_id, event.remaining), (said["order_id"], honest.size(said["remaining_count_fp"])))
    same(event.filled, honest.size(said["fill_count_fp"]))


def check_fills(event: e.FillsRead, value: Any) -> None:
    told = {x.get("trade_id") or x.get("fill_id") or "": x for x in value["fills"]}
    ours = [x for x in told.values() if (x.get("ticker") or x.get("market_ticker")) in TICKERS]
    if value["cursor"]:
        return  # the next page tells some of them again
    same(len(event.fills), len(ours))
    for fill, said in zip(event.fills, ours, strict=True):
        same(fill.price, honest.price(said["yes_price_dollars"]))
        same(fill.size, honest.size(said["count_fp"]))
        same(fill.fee_micros - fill.rebate_micros, honest.decimal(said["fee_cost"], 6))
        same((fill.side, fill.maker), ({"bid": 0, "ask": 1}[said["book_side"]], not said["is_taker"]))
        at = said.get("created_time")
        same(fill.exch_ns, honest.moment(at) if at is not None else honest.MEANINGS["MomentS"](said["ts"]))


def check_positions(event: e.PositionsRead, value: Any) -> None:
    told = [(x["ticker"], honest.decimal(x["position_fp"], 6)) for x in value["market_positions"]]
    wanted = [(TICKERS.index(t), max(0, n), max(0, -n)) for t, n in told if n and t in TICKERS]
    got = [(p.market, p.yes_contracts, p.no_contracts) for p in event.positions]
    same(got[: len(wanted)] if value.get("cursor") else got, wanted)


def check_balance(event: e.BalanceRead, value: Any) -> None:
    same(event.cash_micros, honest.decimal(value["balance_dollars"], 6))


def check_book(event: e.BookRead, value: Any) -> None:
    sides = value["orderbook_fp"]
    best = []
    for name in ("yes_dollars", "no_dollars"):
        levels = [(honest.price(price), honest.size(size)) for price, size in sides[name] or ()]
        best.append(max((price for price, size in levels if size), default=-1))
    same((event.bid_price, event.ask_price), (best[0], 10_000 - best[1] if best[1] >= 0 else -1))


def check_queue(place: e.QueueAhead, value: Any) -> None:
    said = [x for x in value["queue_positions"] if x["order_id"] == "o-1"]
    same(place.order_id, 7)
    same(place.ahead, honest.size(said[-1]["queue_position_fp"]))


def check_settled(event: e.Settled, value: Any, known: dict[int, int]) -> None:
    said = [x for x in value["markets"] if x["ticker"] == TICKERS[event.market]][-1]
    same(said["status"] in ("settled", "finalized"), True)
    stated = said.get("settlement_value_dollars")
    if stated is not None:
        same(event.value_micros, 100 * honest.price(stated))
    elif known[event.market] >= 0:
        same(event.value_micros, known[event.market])
    else:
        pays = {"yes": (1_000_000, False), "no": (0, False), "void": (0, True)}
        same((event.value_micros, event.refund), pays[said["result"]])
