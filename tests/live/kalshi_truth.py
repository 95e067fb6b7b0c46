"""What is true at the stand-in of Kalshi, in the words that `tests/crash/audit.py` compares journals with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from live.truth import MICRO, Told, TrueOrder, micros
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.venues.simulated.wire import Truth

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9]{4,32}-([1-9][0-9]*)")
SIDES: Final = {"bid": BID, "ask": ASK}


def told(body: Mapping[str, Any], rows: Mapping[str, int]) -> Told:
    """The body of `GET /admin/truth`; `rows` is the engine's row of each ticker."""
    wrong: list[str] = []
    used: set[int] = set()
    numbers: dict[str, int] = {}  # by the stand-in's order id
    for order in body["orders"]:
        found = CLIENT_ID.fullmatch(order["client_order_id"])
        if found is None:
            wrong.append(f"order {order['client_order_id']!r} at the exchange is not ours")
            numbers[order["order_id"]] = -1 - len(numbers)
            continue
        number = int(found[1])
        if number in used:
            wrong.append(f"the order id of {order['client_order_id']} was used twice")
        used.add(number)
        numbers[order["order_id"]] = number
    truth = Truth(
        now_ns=body["now_ns"],
        cash_micros=sum(map(micros, body["cash"].values())),
        positions=tuple(_position(rows[ticker], size) for ticker, size in body["positions"].items()),
        open_orders=tuple(_open_order(order, rows, numbers) for order in body["open_orders"]),
        fills=tuple(_fill(fill, rows, numbers) for fill in body["fills"]),
        orders=len(numbers),
        unexplained=tuple(body["unexplained"]),
        settled=tuple(_settled(row, rows) for row in body["settlements"]),
        order_ids=tuple(numbers.values()),
    )
    mine = tuple(_true_order(order, rows, numbers) for order in body["orders"])
    return Told(truth, wrong, mine)


def _position(market: int, contracts: float) -> e.VenuePosition:
    size = round(contracts * MICRO)
    return e.VenuePosition(market=market, yes_contracts=max(size, 0), no_contracts=max(-size, 0))


def _true_order(order: Mapping[str, Any], rows: Mapping[str, int], numbers: Mapping[str, int]) -> TrueOrder:
    return TrueOrder(
        numbers[order["order_id"]], rows[order["ticker"]], SIDES[order["book_side"]], None,
        micros(order["yes_price_dollars"]) // 100, micros(order["initial_count_fp"]),
    )  # fmt: skip


def _open_order(
    order: Mapping[str, Any], rows: Mapping[str, int], numbers: Mapping[str, int]
) -> e.VenueOrder:
    return e.VenueOrder(
        order_id=numbers[order["order_id"]],
        venue_id=order["order_id"],
        market=rows[order["ticker"]],
        side=SIDES[order["book_side"]],
        price=micros(order["yes_price_dollars"]) // 100,
        remaining=micros(order["remaining_count_fp"]),
        filled=micros(order["fill_count_fp"]),
    )


def _fill(fill: Mapping[str, Any], rows: Mapping[str, int], numbers: Mapping[str, int]) -> e.Filled:
    fee = micros(fill["fee_cost"])
    return e.Filled(
        trade_id=fill["trade_id"],
        order_id=numbers[fill["order_id"]],
        market=rows[fill["ticker"]],
        side=SIDES[fill["book_side"]],
        price=micros(fill["yes_price_dollars"]) // 100,
        size=micros(fill["count_fp"]),
        fee_micros=max(0, fee),
        rebate_micros=max(0, -fee),
        maker=not fill["is_taker"],
        exch_ns=fill["ts"] * 1_000_000_000,
        venue_id=fill["order_id"],
    )


def _settled(row: Mapping[str, Any], rows: Mapping[str, int]) -> e.Settled:
    """A listed settlement; its value is in whole cents, which is all that these runs pay."""
    if row["value"] is None:
        return e.Settled(market=rows[row["ticker"]], value_micros=0, refund=True)
    return e.Settled(market=rows[row["ticker"]], value_micros=row["value"] * 10_000)
