"""Section 5, semantics: crossing, self-trades, duplicates, what reads show late, pauses."""

from __future__ import annotations

import asyncio

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    accepted,
    adapter,
    heard,
    live,
    place,
    signer,
    until,
)
from conformance.kalshi.rows import row
from conformance.kalshi.trade import Books, error, named, orders, refusing, resting, room
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK
from pr3dict.kernels import dtypes as d


@row("5.23", "A trade happens at the price of the order that rested, and so it is booked.")
def test_price_of_a_trade():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=5600, size=150 * CONTRACT, tif=d.IOC))
        await ear.until(e.Filled, 2)
        assert [(f.price, f.size) for f in ear.of(e.Filled)] == [
            (5200, 100 * CONTRACT),
            (5300, 50 * CONTRACT),
        ]
        assert books.yes(T0) == 150 * CONTRACT and not any(f.maker for f in ear.of(e.Filled))

    live(body)


@row("5.24", "An id that Kalshi knows already is one of our orders whose answer was lost: it is looked up.")
def test_a_duplicate():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.faults.change({"lost_answer": 1.0})
        books = Books(server, ear, wire)
        books.send(place(wire, 2, price=4400))
        await named(ear, e.AnswerLost, 2)
        server.faults.change({"lost_answer": 0})
        again = wire._maker.create(place(wire, 2, price=4400))
        answer = await wire._requests.create(again)
        assert (answer.status, answer.outcome.verdict.value) == (409, "unknown")
        wire.send(0, [c.ReadOrder(order_id=2, market=wire.lives.rows[T0])])
        read = await named(ear, e.OrderRead, 2)
        assert (read.status, read.venue_id) == ("open", resting(server)["conf1-2"]["order_id"])
        assert books.state(2) == "live" and len(orders(server)) == 2

    live(body)


@row(
    "5.25",
    "No id is sent for two orders, not even by a later run, which recognises the orders of earlier ones.",
)
def test_ids_stay_burned():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 7))
        runs = {"first_order": 8, "earlier": (("conf1", 1),)}
        async with adapter(server, signer(server.key), prefix="conf2", **runs) as (later, again):
            await accepted(later, again, place(again, 8, price=4400))
            again.send(0, [c.Cancel(order_id=7, market=again.lives.rows[T0])])
            assert (await named(later, e.Closed, 7)).filled == 0
        assert set(orders(server)) == {"conf1-7", "conf2-8"}

    live(body)


@row(
    "5.26",
    "A post-only quote that would cross is refused, or taken and cancelled at once: the order is over.",
)
@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_post_only_crosses(taken, batch):
    async def body(server, ear, wire):
        server.faults.change({"post_only_cancel": float(taken)})
        books = Books(server, ear, wire)
        await room(wire)
        crossing = [place(wire, n, price=5200 + n * 100) for n in range(1, 5 if batch else 2)]
        books.send(*crossing)
        for order in crossing:
            ended = await named(ear, e.Closed if taken else e.Refused, order.order_id)
            assert ended.why == "post_only_cross" and books.state(order.order_id) == ""
        assert server.requests["create_batch"] == batch and not ear.of(e.Filled) and not resting(server)

    live(body)


@row("5.27", "An order that would meet one of our own ends there: the one that rests stays as it is.")
def test_self_trade():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, side=ASK, price=5100))
        await named(ear, e.Accepted, 1)
        books.send(place(wire, 2, price=5100, tif=d.LIMIT))
        closed = await named(ear, e.Closed, 2)
        assert (closed.why, closed.filled) == ("self_trade", 0)
        assert set(resting(server)) == {"conf1-1"} and books.state(1) == "live" and books.state(2) == ""

    live(body)


@row("5.28", "What traded before an order met one of our own stands.")
def test_self_trade_after_fills():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, side=ASK, price=5300))
        await named(ear, e.Accepted, 1)
        books.send(place(wire, 2, price=5400, size=150 * CONTRACT, tif=d.IOC))
        closed = await named(ear, e.Closed, 2)
        await ear.until(e.Filled)
        assert closed.filled == 100 * CONTRACT == books.yes(T0)
        assert books.state(2) == "" and resting(server)["conf1-1"]["remaining_count_fp"] == "10.00"

    live(body)


@row("5.29", "A fill-or-kill order without enough on the other side is refused and nothing of it trades.")
def test_fill_or_kill():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=5200, size=101 * CONTRACT, tif=d.FOK))
        assert (await named(ear, e.Refused, 1)).why == "unfilled_ioc" and books.state(1) == ""
        books.send(place(wire, 2, price=5200, size=100 * CONTRACT, tif=d.FOK))
        await ear.until(e.Filled)
        assert books.yes(T0) == 100 * CONTRACT

    live(body)


@row("5.30", "An immediate order says at once what it traded; the rest of it is over.")
def test_immediate_or_cancel():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=5200, size=120 * CONTRACT, tif=d.IOC))
        closed = await named(ear, e.Closed, 1)
        await ear.until(e.Filled)
        assert closed.filled == 100 * CONTRACT == books.yes(T0) and books.state(1) == ""

    live(body)


@row(
    "5.31", "A cancel that finds no order proves nothing: the order stays exposed until its fills were read."
)
def test_cancel_of_a_dead_order():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=4900))
        await named(ear, e.Accepted, 1)
        books.hear()
        server.faults.change({"drop_private": 1.0, "gap": 1.0})
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
        books.send(c.Cancel(order_id=1, market=wire.lives.rows[T0]))
        assert (await named(ear, e.RequestRefused, 1)).why == "unknown_order"
        assert books.state(1) == "closing" and books.account.order(1).remaining == 10 * CONTRACT
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        await until(lambda: books.yes(T0) == 10 * CONTRACT)
        assert books.state(1) == ""

    live(body)


@row("5.32", "A read that still shows an order resting after its cancel was confirmed revives nothing.")
def test_resting_after_a_cancel():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1))
        await named(ear, e.Accepted, 1)
        await asyncio.sleep(0.25)
        server.faults.change({"read_lag_ms": [250, 250]})
        books.send(c.Cancel(order_id=1, market=wire.lives.rows[T0]))
        await named(ear, e.Closed, 1)
        wire.send(0, [c.ReadOrders(venue="kalshi"), c.ReadOrder(order_id=1, market=wire.lives.rows[T0])])
        assert len((await ear.until(e.OrdersRead)).orders) == 1
        assert (await ear.until(e.OrderRead)).status == "open"
        assert books.state(1) == "" and server.requests["cancel"] == 1

    live(body)


@row("5.33", "A fresh order that reads do not show yet is not given up.")
def test_a_fresh_order_is_absent():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        server.faults.change({"read_lag_ms": [400, 400]})
        books.send(place(wire, 1))
        await named(ear, e.Accepted, 1)
        for count in (1, 2, 3):
            wire.send(0, [c.ReadOrders(venue="kalshi"), c.ReadOrder(order_id=1, market=wire.lives.rows[T0])])
            assert not (await ear.until(e.OrdersRead, count)).orders
        assert (await ear.until(e.OrderRead)).status == "not_found"
        assert books.state(1) == "live"

    live(body)


@row("5.34", "A cancel right behind its order waits for the order's answer, and takes it out.")
def test_a_cancel_behind_its_order():
    async def body(server, ear, wire):
        server.faults.change({"answer_delay_ms": [30, 40]})
        books = Books(server, ear, wire)
        await room(wire)
        books.send(place(wire, 1))
        await asyncio.sleep(0.01)
        books.send(c.Cancel(order_id=1, market=wire.lives.rows[T0]))
        assert (await named(ear, e.Closed, 1)).filled == 0
        await until(lambda: not resting(server))
        assert orders(server)["conf1-1"]["status"] == "canceled" and books.state(1) == ""

    live(body)


@row("5.35", "An order whose answer is lost is found by our own id before its cancel leaves.")
def test_a_cancel_after_a_lost_answer():
    async def body(server, ear, wire):
        server.faults.change({"error_after_apply": 1.0, "drop_private": 1.0})
        wire.send(0, [place(wire, 1)])
        await named(ear, e.AnswerLost, 1)
        server.faults.change({"error_after_apply": 0})
        wire.orders.get(1).venue_id = ""
        wire.send(0, [c.Cancel(order_id=1, market=wire.lives.rows[T0])])
        assert (await named(ear, e.Closed, 1)).filled == 0 and not resting(server)

    live(body)


@row("5.36", "While trading is paused orders and changes are refused, and cancels go on.")
def test_trading_is_paused():
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await accepted(ear, wire, place(wire, 1))
        server.venue.orders[wire.orders.get(1).venue_id].cancel_on_pause = False
        server.do("pause_trading")
        wire.send(
            0, [place(wire, 2), c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + SECOND * 60)]
        )
        assert (await named(ear, e.Refused, 2)).why == "not_active"
        assert (await named(ear, e.RequestRefused, 1)).why == "not_active"
        wire.send(0, [c.Cancel(order_id=1, market=market)])
        assert (await named(ear, e.Closed, 1)).filled == 0

    live(body)


@row("5.37", "While the whole exchange is paused a cancel is refused as well, and the order is not given up.")
def test_the_exchange_is_paused():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1))
        await named(ear, e.Accepted, 1)
        server.venue.orders[wire.orders.get(1).venue_id].cancel_on_pause = False
        server.do("pause_exchange")
        books.send(c.Cancel(order_id=1, market=wire.lives.rows[T0]))
        refused = await named(ear, e.RequestRefused, 1)
        assert refused.why == "not_active" and books.state(1) == "live"
        await until(lambda: any(x.status == "closed" for x in ear.of(e.VenueStatus)), 8)

    live(body, speed=4.0)


@row("5.38", "What the exchange cancels because its market pauses is over here too.")
def test_cancelled_by_a_pause():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.do("pause_market", ticker=T0)
        closed = await named(ear, e.Closed, 1)
        assert (closed.why, closed.filled) == ("not_active", 0)
        await heard(ear, wire.lives.rows[T0], d.STATUS, d.PAUSED)

    live(body)


@row("5.39", "A market that is closed takes no order and no cancel: both are refused, never lost.")
def test_a_closed_market():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T1))
        market = server.venue.by_ticker[T1]
        market.close_ns = server.venue.now_ns
        server.venue.close_time(market)  # its own cancels follow a moment later
        wire.send(0, [place(wire, 2, T1), c.Cancel(order_id=1, market=wire.lives.rows[T1])])
        assert (await named(ear, e.Refused, 2)).why == "not_active"
        assert (await named(ear, e.RequestRefused, 1)).why == "not_active"
        assert (await named(ear, e.Closed, 1)).why == "closed"

    live(body)


@row("5.40", "An order under way when its market pauses is refused or cancelled, and either is heard.")
def test_a_pause_under_way():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        server.faults.change({"answer_delay_ms": [20, 30]})
        books.send(place(wire, 1))
        await until(lambda: "conf1-1" in orders(server))
        server.do("pause_market", ticker=T0)
        books.send(place(wire, 2))
        await until(lambda: books.state(1) == books.state(2) == "")
        assert not resting(server)

    live(body)


@row("5.41", "Each fill of an order is told once, in YES terms, whichever of answer and notices comes first.")
@pytest.mark.parametrize(
    "faults", [{"answer_delay_ms": [20, 30]}, {"duplicate_private": 1.0}, {"shuffle": 1.0}]
)
def test_fills_in_any_order(faults):
    async def body(server, ear, wire):
        server.faults.change(faults)
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=5300, size=120 * CONTRACT, tif=d.IOC))
        books.send(place(wire, 2, T1, side=ASK, price=4800, size=20 * CONTRACT, tif=d.IOC))
        await until(lambda: books.yes(T0) == 120 * CONTRACT and books.yes(T1) == -20 * CONTRACT)
        await until(lambda: books.state(1) == books.state(2) == "")
        assert {f.side for f in ear.of(e.Filled) if f.market == wire.lives.rows[T1]} == {ASK}
        truth = server.do("truth")
        assert {f["trade_id"] for f in truth["fills"]} == {f.trade_id for f in ear.of(e.Filled)}

    live(body)


@row("5.42", "An order refused for its size, its price or its market says why in our words.")
def test_refusals_of_an_order():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, price=4550)])
        assert (await named(ear, e.Refused, 1)).why == "off_grid"
        wire.send(0, [place(wire, 2, size=5_000)])  # half a hundredth of a contract: never leaves
        assert "0.01" in (await named(ear, e.NotSent, 2)).why
        with refusing(server, "create", 400, error("invalid_order_size")):
            wire.send(0, [place(wire, 3)])
            assert (await named(ear, e.Refused, 3)).why == "min_size"
        server.do("raise_floor", ticker=T0, price="0.4600")
        wire.send(0, [place(wire, 4)])
        assert "settlement floor" in (await named(ear, e.Refused, 4)).text
        assert not orders(server)

    live(body)


@row("5.43", "When a settlement floor rises, the orders that it cancels are over here too.")
def test_settlement_floor():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.do("raise_floor", ticker=T0, price="0.4600")
        closed = await named(ear, e.Closed, 1)
        assert (closed.why, closed.filled) == ("off_grid", 0)

    live(body)


@row("5.44", "An order may trade in hundredths of a contract although it asked for whole ones.")
def test_fractional_fills():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, price=4900))
        await named(ear, e.Accepted, 1)
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="0.37")
        await until(lambda: books.yes(T0) == 370_000)
        books.send(c.Cancel(order_id=1, market=wire.lives.rows[T0]))
        closed = await named(ear, e.Closed, 1)
        assert closed.filled == 370_000 and books.state(1) == ""

    live(body)


@row("5.45", "A time-out leaves an order in doubt with its whole exposure, and it is never sent again.")
def test_a_timeout():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        server.faults.change({"answer_delay_ms": [1100, 1100], "drop_private": 1.0, "gap": 1.0})
        books.send(place(wire, 1))
        lost = await named(ear, e.AnswerLost, 1)
        assert lost.why == "timeout" and books.state(1) == "unknown"
        assert books.account.order(1).remaining == 10 * CONTRACT
        assert server.requests["create"] == 1

    live(body)
