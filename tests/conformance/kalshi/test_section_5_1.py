"""Section 5, orders: what each request says, and what its answer means."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    accepted,
    changed,
    live,
    place,
    until,
)
from conformance.kalshi.rows import Unused, row
from conformance.kalshi.trade import ORDERS, Books, error, named, orders, refusing, resting, room, writes
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.outcomes import judge
from standins.kalshi import small_catalog

UNUSED = (
    Unused(
        "Amendments of price or size",
        "another price goes to the end of the queue anyway, and a cancel with a new order can't be mistaken",
    ),
    Unused("Subaccounts other than the one of the settings", "one process trades one of them"),
    Unused("The limit of 200,000 open orders", "we hold far fewer"),
    Unused(
        "Self-trade prevention `maker`", "the order that rests has the better place in the queue: it stays"
    ),
)


@row("5.1", "A quote says side, price and size as texts, and carries every protection that Kalshi has.")
def test_a_quote():
    async def body(server, ear, wire):
        until_ns = server.now_ns() + 600 * SECOND
        with writes(server) as heard:
            await accepted(ear, wire, place(wire, 1, T1, ASK, 5550, 5_250_000, expiry_ns=until_ns))
        [sent] = heard
        group = wire._maker.group(wire.lives.rows[T1])
        assert (sent.method, sent.path) == ("POST", ORDERS)
        assert sent.body == {
            "ticker": T1, "side": "ask", "price": "0.5550", "count": "5.25", "client_order_id": "conf1-1",
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
            "post_only": True, "cancel_order_on_pause": True, "order_group_id": group, "subaccount": 0,
            "exchange_index": 1, "expiration_time": until_ns // SECOND,
        }  # fmt: skip
        order = resting(server)["conf1-1"]
        assert (order["book_side"], order["yes_price_dollars"]) == ("ask", "0.5550")
        assert (order["remaining_count_fp"], order["order_group_id"]) == ("5.25", group)

    live(body, terms={"group_limit": 100 * CONTRACT}, catalog=with_fine_grid())


def with_fine_grid():
    base = small_catalog()
    return replace(
        base, markets=tuple(replace(m, labels=("center_half_edge_deci_cent",)) for m in base.markets)
    )


@row("5.2", "An accepted order has Kalshi's id and says what it traded at once.")
@pytest.mark.parametrize(("side", "price", "filled"), [(BID, 4500, 0), (BID, 5200, 10 * CONTRACT)])
def test_an_accepted_order(side, price, filled):
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T0, side, price, tif=d.LIMIT)])
        await until(lambda: filled in [x.filled for x in ear.of(e.Accepted)])
        assert {x.venue_id for x in ear.of(e.Accepted)} == {orders(server)["conf1-1"]["order_id"]}

    live(body)


@row("5.3", "No order call of the first API version is ever used, in a whole life of orders.")
def test_no_dead_call():
    async def body(server, ear, wire):
        await room(wire)
        with writes(server) as heard:
            wire.send(0, [place(wire, n) for n in range(1, 7)])
            await ear.until(e.Accepted, 6)
            market = wire.lives.rows[T0]
            wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
            wire.send(0, [c.Reduce(order_id=2, market=market, remaining=CONTRACT)])
            await ear.until(e.Renewed)
            await ear.until(e.Reduced)
            wire.send(0, [c.Cancel(order_id=1, market=market)])
            await named(ear, e.Closed, 1)
            wire.send(0, [c.Cancel(order_id=n, market=market) for n in range(2, 6)])
            wire.send(0, [c.ReadOrder(order_id=6, market=market), c.ReadOrders(venue="kalshi")])
            await ear.until(e.OrdersRead)
            wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
            await until(lambda: not resting(server))
            await asyncio.sleep(0.05)
        assert server.requests["dead"] == 0
        assert len({h.path for h in heard}) >= 5 and all(h.path.startswith(ORDERS) for h in heard)
        assert judge(410, b'{"error":{"code":"deprecated_v1_order_endpoint"}}').verdict.value == "refused"

    live(body)


@row("5.4", "A cancel names subaccount, shard and market; what it took out says what had traded.")
@pytest.mark.parametrize("traded", [0, 4])
def test_a_cancel(traded):
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T3, price=4900))
        if traded:
            server.do("take", ticker=T3, taker="ask", price="0.4900", contracts=str(traded))
            await ear.until(e.Filled)
        with writes(server) as heard:
            wire.send(0, [c.Cancel(order_id=1, market=wire.lives.rows[T3])])
            closed = await named(ear, e.Closed, 1)
        assert heard[0].query == {"subaccount": "0", "exchange_index": "3", "market_ticker": T3}
        assert heard[0].path == f"{ORDERS}/{orders(server)['conf1-1']['order_id']}"
        assert (closed.filled, closed.why) == (traded * CONTRACT, "none")

    live(body)


@row("5.5", "An order is renewed by an amendment of its expiry alone: its place in the queue stays.")
def test_a_renewal():
    async def body(server, ear, wire):
        market, soon = wire.lives.rows[T0], server.now_ns() + 60 * SECOND
        await accepted(ear, wire, place(wire, 1, price=4800, expiry_ns=soon))
        server.do("level", ticker=T0, side="bid", price="0.4800", contracts=300)  # 200 more behind us
        [before] = await wire.rest.queue_positions([T0])
        with writes(server) as heard:
            wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=soon + 540 * SECOND)])
            await ear.until(e.Renewed)
        assert heard[0].body == {
            "ticker": T0, "side": "bid", "price": "0.4800", "count": "10.00", "exchange_index": 0,
            "expiration_time": (soon + 540 * SECOND) // SECOND,
        }  # fmt: skip
        assert heard[0].query == {"subaccount": "0"} and heard[0].path.endswith("/amend")
        [after] = await wire.rest.queue_positions([T0])
        assert after == before and int(before.queue_position_fp) == 100 * CONTRACT
        [order] = await wire.rest.orders(status="resting")
        assert int(order.expiration_time) == (soon + 540 * SECOND) // SECOND * SECOND

    live(body)


@row("5.6", "A renewal repeats the total, filled contracts included, so that what rests stays as it is.")
def test_a_renewal_after_fills():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
        await ear.until(e.Filled)
        until_ns = server.now_ns() + 60 * SECOND
        wire.send(0, [c.Renew(order_id=1, market=wire.lives.rows[T0], expiry_ns=until_ns)])
        await ear.until(e.Renewed)
        order = resting(server)["conf1-1"]
        assert (order["initial_count_fp"], order["remaining_count_fp"]) == ("10.00", "6.00")

    live(body)


@row(
    "5.7", "A reduction is a decrease to what shall rest: the order keeps its id and its place in the queue."
)
def test_a_reduction():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T2, price=4800))
        server.do("level", ticker=T2, side="bid", price="0.4800", contracts=300)
        [before] = await wire.rest.queue_positions([T2])
        with writes(server) as heard:
            wire.send(0, [c.Reduce(order_id=1, market=wire.lives.rows[T2], remaining=2_500_000)])
            assert (await ear.until(e.Reduced)).remaining == 2_500_000
        sent = {"exchange_index": 2, "market_ticker": T2, "reduce_to": "2.50"}
        assert heard[0].body == sent and heard[0].path.endswith("/decrease")
        assert await wire.rest.queue_positions([T2]) == [before]
        assert resting(server)["conf1-1"]["remaining_count_fp"] == "2.50"

    live(body)


@row("5.8", "A renewal and a reduction that meet never make the order larger again.")
@pytest.mark.parametrize("first", ["renewal", "reduction"])
@pytest.mark.parametrize("lag_ms", [0, 400])
def test_renewal_meets_reduction(first, lag_ms):
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await accepted(ear, wire, place(wire, 1))
        server.faults.change({"answer_delay_ms": [5, 30], "read_lag_ms": [lag_ms, lag_ms]})
        renew = c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)
        reduce = c.Reduce(order_id=1, market=market, remaining=3 * CONTRACT)
        wire.send(0, [renew, reduce] if first == "renewal" else [reduce, renew])
        await ear.until(e.Reduced)
        for _ in range(8):  # and again, while reads still show what was
            wire.send(0, [renew])
            await asyncio.sleep(0.02)
        await until(lambda: len(ear.of(e.Renewed)) >= 1)
        assert resting(server)["conf1-1"]["remaining_count_fp"] == "3.00"

    live(body)


@row("5.80", "A renewal that waits for the budget does not leave once a reduction has overtaken it.")
def test_an_overtaken_renewal():
    async def body(server, ear, wire):
        market = wire.lives.rows[T1]
        await accepted(ear, wire, place(wire, 1, T1))
        await until(lambda: wire.figures()["write_1"] >= 20)
        wire.send(0, [place(wire, n, T1, price=4400) for n in (2, 3, 4)])
        await asyncio.sleep(0.05)
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        await asyncio.sleep(0.01)
        wire.send(0, [c.Reduce(order_id=1, market=market, remaining=3 * CONTRACT)])
        await ear.until(e.Reduced)
        assert server.requests["amend"] == 0
        lost = await named(ear, e.AnswerLost, 1)
        assert lost.request == "renew" and server.requests["amend"] == 0
        assert resting(server)["conf1-1"]["remaining_count_fp"] == "3.00"

    live(body, tier="basic")


@row("5.9", "What is said of an order from before its reduction is not repeated by a renewal.")
def test_an_old_word_after_a_reduction():
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await accepted(ear, wire, place(wire, 1))
        await asyncio.sleep(0.3)
        server.faults.change({"reorder_private": 1.0, "duplicate_private": 0.5})
        wire.send(0, [c.Reduce(order_id=1, market=market, remaining=3 * CONTRACT)])
        await ear.until(e.Reduced)
        server.faults.change({"read_lag_ms": [300, 300]})
        wire.send(0, [c.ReadOrders(venue="kalshi")])
        read = await ear.until(e.OrdersRead)
        assert read.orders[0].remaining == 10 * CONTRACT  # from before
        own = wire.orders.get(1)
        assert own.total in (-1, 3 * CONTRACT)
        own.total = -1
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        await ear.until(e.AnswerLost)  # it asks, is shown what was, and leaves it at that
        await asyncio.sleep(0.35)
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        await ear.until(e.Renewed)
        assert resting(server)["conf1-1"]["remaining_count_fp"] == "3.00"

    live(body)


@row("5.10", "An amendment may give the order another id: what follows uses the newest.")
def test_another_id():
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await accepted(ear, wire, place(wire, 1))
        real = wire.orders.get(1).venue_id
        await asyncio.sleep(0.02)
        server.faults.change({"drop_private": 1.0})
        changed(server, "amend", lambda answer: answer | {"order_id": "another"})
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        await ear.until(e.Renewed)
        with writes(server) as heard:
            wire.send(0, [c.Cancel(order_id=1, market=market, venue_id=real)])
            await ear.until(e.RequestRefused)
        assert heard[0].path == f"{ORDERS}/another"
        assert wire.orders.of_venue_id(real) == wire.orders.of_venue_id("another") == 1

    live(body)


@row("5.11", "Figures that an amendment's answer leaves null mean that nothing changed.")
def test_null_figures():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        seen = []
        changed(server, "amend", lambda answer: seen.append(answer) or answer)
        until_ns = server.now_ns() + 60 * SECOND
        wire.send(0, [c.Renew(order_id=1, market=wire.lives.rows[T0], expiry_ns=until_ns)])
        assert (await ear.until(e.Renewed)).expiry_ns == until_ns
        assert (seen[0]["remaining_count"], seen[0]["fill_count"]) == (None, None)
        assert not ear.of(e.Malformed) and wire.orders.get(1).total == 10 * CONTRACT

    live(body)


@row("5.12", "Four new orders at once go as one batch, and each has a fate of its own.")
def test_a_batch():
    async def body(server, ear, wire):
        await room(wire)
        with writes(server) as heard:
            prices = (4500, 5300, 4400, 4567, 4300)  # the second would cross, the fourth is off the grid
            wire.send(0, [place(wire, n, price=p) for n, p in enumerate(prices, 1)])
            await ear.until(e.Accepted, 3)
            await ear.until(e.Refused, 2)
        assert [h.path for h in heard] == [f"{ORDERS}/batched"] and len(heard[0].body["orders"]) == 5
        assert {x.order_id: x.why for x in ear.of(e.Refused)} == {2: "post_only_cross", 4: "off_grid"}
        real = {x["client_order_id"]: x["order_id"] for x in resting(server).values()}
        assert {f"conf1-{x.order_id}": x.venue_id for x in ear.of(e.Accepted)} == real

    live(body)


@row("5.13", "An order of a batch that its answer does not name, or names without figures, counts as lost.")
def test_a_batch_with_holes():
    async def body(server, ear, wire):
        def holes(answer):
            answer["orders"][1] = {"client_order_id": "conf1-2"}
            answer["orders"][3] |= {"client_order_id": "conf1-1"}
            return answer

        await room(wire)
        changed(server, "create_batch", holes)
        wire.send(0, [place(wire, n) for n in range(1, 5)])
        await ear.until(e.AnswerLost, 2)
        assert {x.order_id for x in ear.of(e.AnswerLost)} == {2, 4}
        changed(server, "create_batch", lambda answer: answer | {"orders": answer["orders"][:-1]})
        wire.send(0, [place(wire, n) for n in range(5, 9)])
        await ear.until(e.AnswerLost, 6)  # one is missing: no answer can be told apart

    live(body)


@row("5.14", "Four cancels at once go as one batch; each names its shard and market, and has its own fate.")
def test_a_batch_of_cancels():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, n, t) for n, t in enumerate((T0, T1, T2, T3), 1)])
        await ear.until(e.Accepted, 4)
        server.do("cancel_by_hand", order=orders(server)["conf1-3"]["order_id"])
        await named(ear, e.Closed, 3)
        with writes(server) as heard:
            tickers = enumerate((T0, T1, T2, T3), 1)
            wire.send(0, [c.Cancel(order_id=n, market=wire.lives.rows[t]) for n, t in tickers])
            for number in (1, 2, 4):
                assert (await named(ear, e.Closed, number)).filled == 0
            gone = await named(ear, e.RequestRefused, 3)
        assert gone.why == "unknown_order"
        assert [(h.method, h.path) for h in heard] == [("DELETE", f"{ORDERS}/batched")]
        items = heard[0].body["orders"]
        assert [(i["exchange_index"], i["market_ticker"], i["subaccount"]) for i in items] == [
            (0, T0, 0), (1, T1, 0), (2, T2, 0), (3, T3, 0),
        ]  # fmt: skip

    live(body)


@row("5.15", "One call cancels everything on every shard; nothing of ours that was under way is left behind.")
def test_cancel_all():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, n, t) for n, t in enumerate((T0, T1, T2), 1)])
        await ear.until(e.Accepted, 3)
        server.faults.change({"answer_delay_ms": [20, 40]})
        with writes(server) as heard:
            wire.send(0, [place(wire, 4, T3)])
            await asyncio.sleep(0)
            wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
            await until(lambda: len(orders(server)) in (3, 4) and not resting(server))
            await asyncio.sleep(0.1)
        every = [h for h in heard if (h.method, h.path) == ("DELETE", ORDERS)]
        assert [h.query for h in every] == [{"subaccount": "0"}] and not resting(server)
        assert not any(x.order_id == 4 for x in ear.of(e.Accepted)) or await named(ear, e.Closed, 4)

    live(body, speed=4.0)


@row("5.16", "Where the one call for everything is not allowed, what rests is cancelled order by order.")
def test_cancel_all_without_the_call():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, n, t) for n, t in enumerate((T0, T1), 1)])
        await ear.until(e.Accepted, 2)
        with refusing(server, "cancel_all", 403, error("forbidden")):
            wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
            await until(lambda: not resting(server) and {x.order_id for x in ear.of(e.Closed)} >= {1, 2})
        assert {x.order_id for x in ear.of(e.Closed)} == {1, 2}

    live(body)


@row("5.17", "A cancel of everything may reach orders of the following minute: they are closed here as well.")
def test_the_reach_of_cancel_all():
    async def body(server, ear, wire):
        server.faults.change({"cancel_all_reach_ms": 60_000})
        wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
        await until(lambda: server.requests["cancel_all"] == 1)
        books = Books(server, ear, wire)
        books.send(place(wire, 1))
        assert (await named(ear, e.Closed, 1)).filled == 0
        assert books.state(1) == "" and not resting(server)

    live(body)


@row("5.18", "A cancel of everything takes no order of ours that was placed after it.")
def test_cancel_all_spares_what_is_new():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
        await named(ear, e.Closed, 1)
        await accepted(ear, wire, place(wire, 2, T1))
        await until(lambda: server.requests["orders"] >= 1)
        await asyncio.sleep(0.1)
        assert set(resting(server)) == {"conf1-2"}

    live(body, speed=4.0)


@row("5.19", "Each time in force is said as Kalshi names it; only what rests has an expiry, in Unix seconds.")
@pytest.mark.parametrize(
    ("tif", "word", "expires"),
    [
        (d.POST_ONLY, "good_till_canceled", True),
        (d.LIMIT, "good_till_canceled", True),
        (d.IOC, "immediate_or_cancel", False),
        (d.FOK, "fill_or_kill", False),
    ],
)
def test_times_in_force(tif, word, expires):
    async def body(server, ear, wire):
        until_ns = server.now_ns() + 90 * SECOND
        with writes(server) as heard:
            await accepted(
                ear, wire, place(wire, 1, price=4500 if expires else 5300, tif=tif, expiry_ns=until_ns)
            )
        sent = heard[0].body
        assert sent["time_in_force"] == word and sent.get("post_only", False) == (tif == d.POST_ONLY)
        assert sent.get("expiration_time") == (until_ns // SECOND if expires else None)

    live(body)


@row("5.20", "Selling what is held asks for reduce-only, which only an immediate order may.")
def test_reduce_only():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=5200, size=3 * CONTRACT, tif=d.IOC))
        market = wire.lives.rows[T0]
        sale = c.Place(
            order_id=2, market=market, side=ASK, sell=True, price=4800, size=5 * CONTRACT, tif=d.IOC
        )
        with writes(server) as heard:
            wire.send(0, [sale])
            closed = await named(ear, e.Closed, 2)
        assert heard[0].body["reduce_only"] is True and closed.filled == 3 * CONTRACT
        with writes(server) as heard:
            rests = c.Place(
                order_id=3, market=market, side=ASK, sell=True, price=5500, size=CONTRACT, tif=d.POST_ONLY
            )
            await accepted(ear, wire, rests)
        assert "reduce_only" not in heard[0].body

    live(body)


@row("5.21", "An order expires by itself at the second that we named, and is over here too.")
def test_expiry():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, expiry_ns=server.now_ns() + 3 * SECOND))
        closed = await named(ear, e.Closed, 1)
        assert (closed.why, closed.filled) == ("expired", 0) and not resting(server)

    live(body, speed=4.0)


@row("5.22", "No disconnect cancels anything: what a dead process leaves ends by its own expiry.")
def test_what_a_dead_process_leaves():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, expiry_ns=server.now_ns() + 4 * SECOND))
        await wire.close()
        assert resting(server)
        await until(lambda: not resting(server))

    live(body, speed=4.0)
