"""Section 5, reads: orders, queue, fills, positions, settlements, money, and what has grown old."""

from __future__ import annotations

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    T2,
    accepted,
    adapter,
    changed,
    listening,
    live,
    place,
    run,
    signer,
    small,
    until,
)
from conformance.kalshi.rows import row
from conformance.kalshi.trade import Books, named, orders, resting, room, small_pages
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.rest import ReadFailedError
from standins.kalshi import KalshiStandIn

DAY_S = 86_400


@row(
    "5.46", "Open orders are read whole, page after page: whose they are, side, price, what rests and traded."
)
def test_open_orders(monkeypatch):
    small_pages(monkeypatch, 3)

    async def body(server, ear, wire):
        until_ns = (server.now_ns() // SECOND + 60) * SECOND
        wire.send(0, [place(wire, n, T0, BID, 4500 - 100 * (n % 3)) for n in range(1, 8)])
        wire.send(0, [place(wire, 8, T1, ASK, 5100, expiry_ns=until_ns)])
        await ear.until(e.Accepted, 8)
        server.do("take", ticker=T1, taker="bid", price="0.5100", contracts="4")
        by_hand = server.do("place_by_hand", ticker=T2, side="bid", price="0.4000", contracts="5")
        await ear.until(e.Filled)
        with listening(server) as heard:
            wire.send(0, [c.ReadOrders(venue="kalshi")])
            read = await ear.until(e.OrdersRead)
        pages = [h.query for h in heard if h.path == "/portfolio/orders"]
        assert len(pages) == 3 and {q["subaccount"] for q in pages} == {"0"}
        assert {o.order_id for o in read.orders} == {*range(9)}
        [ask] = [o for o in read.orders if o.order_id == 8]
        assert (ask.side, ask.price, ask.remaining, ask.filled, ask.expiry_ns) == (
            ASK, 5100, 6 * CONTRACT, 4 * CONTRACT, until_ns,
        )  # fmt: skip
        [foreign] = [o for o in read.orders if o.order_id == 0]
        assert foreign.venue_id == by_hand["order_id"] and foreign.market == wire.lives.rows[T2]

    live(body)


@row(
    "5.47",
    "An order is open while it rests, closed when it was cancelled or executed; no other word is believed.",
)
def test_status_words():
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        for number, price in ((1, 4500), (2, 4900), (3, 4400)):
            await accepted(ear, wire, place(wire, number, price=price))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
        wire.send(0, [c.Cancel(order_id=3, market=market)])
        await named(ear, e.Closed, 3)
        wire.send(0, [c.ReadOrder(order_id=n, market=market) for n in (1, 2, 3)])
        await ear.until(e.OrderRead, 3)
        said = {x.order_id: (x.status, x.remaining, x.filled) for x in ear.of(e.OrderRead)}
        assert said == {
            1: ("open", 10 * CONTRACT, 0), 2: ("closed", 0, 10 * CONTRACT), 3: ("closed", 0, 0),
        }  # fmt: skip
        changed(server, "order", lambda answer: {"order": answer["order"] | {"status": "pondering"}})
        wire.send(0, [c.ReadOrder(order_id=1, market=market)])
        assert "pondering" in (await ear.until(e.ReadFailed)).why

    live(body)


@row("5.48", "An order that is looked for by our own id is looked for from shortly before it was placed on.")
def test_a_look_up_by_our_own_id():
    async def body(server, ear, wire):
        server.faults.change({"lost_answer": 1.0, "drop_private": 1.0})
        wire.send(0, [place(wire, 1)])
        await named(ear, e.AnswerLost, 1)
        wire.orders.get(1).venue_id = ""
        with listening(server) as heard:
            wire.send(0, [c.ReadOrder(order_id=1, market=wire.lives.rows[T0])])
            read = await ear.until(e.OrderRead)
        [asked] = [h.query for h in heard if h.path == "/portfolio/orders"]
        assert asked["ticker"] == T0 and read.venue_id == orders(server)["conf1-1"]["order_id"]
        assert 0 <= server.now_ns() // SECOND - int(asked["min_ts"]) < 120

    live(body)


@row("5.49", "An order of an earlier run is looked for among as many pages as it takes, and no more.")
def test_a_look_up_among_many(monkeypatch):
    small_pages(monkeypatch, 2)
    monkeypatch.setattr("pr3dict.venues.kalshi.reads.STRIDE", 3)

    async def work():
        async with KalshiStandIn(small(), tier="prestige") as server:
            async with adapter(server, signer(server.key)) as (ear, wire):
                for number in range(1, 21):
                    if number != 15:  # which never arrived
                        await accepted(ear, wire, place(wire, number, size=CONTRACT))
            runs = {"prefix": "conf2", "first_order": 21, "earlier": (("conf1", 1),)}
            async with adapter(server, signer(server.key), **runs) as (ear, wire):
                asked = server.requests["orders"]
                for number, status in ((19, "open"), (3, "open"), (15, "not_found")):
                    wire.send(0, [c.ReadOrder(order_id=number, market=wire.lives.rows[T0])])
                    assert (await named(ear, e.OrderRead, number)).status == status
                    pages, asked = server.requests["orders"] - asked, server.requests["orders"]
                    assert pages == {19: 1, 3: 9, 15: 5}[number]

    run(work())


@row("5.50", "The contracts ahead of an order are what Kalshi says, in hundredths.")
def test_queue_positions():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4800))
        await accepted(ear, wire, place(wire, 2, price=4800, size=CONTRACT))
        server.do("take", ticker=T0, taker="ask", price="0.4800", contracts="2.25")
        found = {q.order_id: int(q.queue_position_fp) for q in await wire.rest.queue_positions([T0])}
        ids = [orders(server)[f"conf1-{n}"]["order_id"] for n in (1, 2)]
        assert found == {ids[0]: 97_750_000, ids[1]: 107_750_000}
        assert await wire.rest.queue_position(ids[0]) == 97_750_000

    live(body)


@row("5.51", "A listed fill says nothing of our own id: its order is known by Kalshi's, or asked for once.")
@pytest.mark.parametrize("name", ["trade_id", "fill_id"])
def test_listed_fills(name):
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T1, ASK, 5100))
        server.do("take", ticker=T1, taker="bid", price="0.5100", contracts="4")
        await ear.until(e.Filled)
        changed(server, "fills", lambda a: a | {"fills": [without(f, name) for f in a["fills"]]})
        wire.orders._by_venue.clear()
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        [fill] = (await ear.until(e.FillsRead)).fills
        told = ear.of(e.Filled)[0]
        assert (fill.order_id, fill.trade_id, fill.fee_micros) == (1, told.trade_id, told.fee_micros)
        assert (fill.side, fill.price, fill.size, fill.maker) == (ASK, 5100, 4 * CONTRACT, True)
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        await ear.until(e.FillsRead, 2)
        assert server.requests["order"] == 1

    def without(fill, kept):
        other = {"trade_id": "fill_id", "fill_id": "trade_id"}[kept]
        return {k: v for k, v in fill.items() if k != other and k != "client_order_id"}

    live(body)


@row(
    "5.52",
    "A fill whose order Kalshi does not show yet waits for that: it is never taken for a stranger's.",
)
def test_a_fill_before_its_order_is_shown():
    async def body(server, ear, wire):
        for name in ("fill", "user_order"):
            hide_client_ids(server, name)
        server.faults.change({"read_lag_ms": [300, 300], "lost_answer": 1.0})
        wire.send(0, [place(wire, 1, price=5200, tif=d.IOC)])
        await named(ear, e.AnswerLost, 1)
        assert (await ear.until(e.Filled)).order_id == 1
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        read = await ear.until(e.FillsRead)
        assert {f.order_id for f in (*ear.of(e.Filled), *read.fills)} == {1}

    live(body, speed=1.0)


def hide_client_ids(server, kind):
    """Private frames without our own id."""
    real = server.venue.note

    def note(said):
        if said.type == kind and isinstance(said.body, dict):
            said = said._replace(body={k: v for k, v in said.body.items() if k != "client_order_id"})
        real(said)

    server.venue.note = note


@row("5.53", "A trade of an order that is not ours is told as such, and never given to an order of ours.")
def test_a_foreign_fill():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        server.do("place_by_hand", ticker=T0, side="bid", price="0.5200", contracts="5")
        fill = await ear.until(e.Filled)
        assert fill.order_id == 0 and books.yes(T0) == 5 * CONTRACT
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        assert [f.order_id for f in (await ear.until(e.FillsRead)).fills] == [0]

    live(body)


@row("5.54", "Fills are read from a time on, whole, page after page.")
def test_fills_since(monkeypatch):
    small_pages(monkeypatch, 2)

    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4900))
        for _ in range(5):
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="1")
        await ear.until(e.Filled, 5)
        since_ns = server.now_ns() - 30 * SECOND
        with listening(server) as heard:
            wire.send(0, [c.ReadFills(venue="kalshi", since_ns=since_ns)])
            read = await ear.until(e.FillsRead)
        pages = [h.query for h in heard if h.path == "/portfolio/fills"]
        assert len(pages) == 3 and {q["min_ts"] for q in pages} == {str(since_ns // SECOND)}
        assert {q["subaccount"] for q in pages} == {"0"} and len(read.fills) == 5
        assert read.since_ns == since_ns and not any(h.path.startswith("/historical") for h in heard)

    live(body)


@row("5.55", "After a long pause fills and orders are read where Kalshi keeps what is old.")
def test_after_a_long_pause():
    async def work():
        async with KalshiStandIn(small(close_in_s=400.0 * DAY_S), tier="prestige") as server:
            async with adapter(server, signer(server.key)) as (ear, wire):
                await accepted(ear, wire, place(wire, 1, price=4900))
                await accepted(ear, wire, place(wire, 2, price=4300))
                server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
                began_ns = server.now_ns()
                await ear.until(e.Filled)
                trade = ear.of(e.Filled)[0]
            server._start_ns += 100 * DAY_S * SECOND
            runs = {"prefix": "conf2", "first_order": 5, "earlier": (("conf1", 1),)}
            async with adapter(server, signer(server.key), **runs) as (ear, wire):
                assert await wire.rest.fills() == []
                with pytest.raises(ReadFailedError, match="not_found"):
                    await wire.rest.order(orders(server)["conf1-1"]["order_id"])
                market = wire.lives.rows[T0]
                wire.send(0, [c.ReadFills(venue="kalshi", since_ns=began_ns - SECOND)])
                [fill] = (await ear.until(e.FillsRead)).fills
                assert (fill.trade_id, fill.order_id, fill.size) == (trade.trade_id, 1, trade.size)
                for number, status in ((1, "closed"), (2, "open"), (3, "not_found")):
                    wire.send(0, [c.ReadOrder(order_id=number, market=market)])
                    assert (await named(ear, e.OrderRead, number)).status == status
                asked = server.requests["old_orders"]
                wire.send(0, [c.ReadOrder(order_id=3, market=market)])
                await ear.until(e.OrderRead, 4)
                assert server.requests["old_orders"] == asked  # what is old does not change

    run(work())


@row("5.56", "What we hold in a market is one number, YES above zero and NO below; settled markets drop out.")
def test_positions():
    async def body(server, ear, wire):
        wire.send(
            0, [place(wire, 1, T0, BID, 5200, 3 * CONTRACT, d.IOC), place(wire, 2, T1, ASK, 4800, tif=d.IOC)]
        )
        await ear.until(e.Filled, 2)
        wire.send(0, [c.ReadPositions(venue="kalshi")])
        read = await ear.until(e.PositionsRead)
        assert set(read.positions) == {
            e.VenuePosition(market=wire.lives.rows[T0], yes_contracts=3 * CONTRACT, no_contracts=0),
            e.VenuePosition(market=wire.lives.rows[T1], yes_contracts=0, no_contracts=10 * CONTRACT),
        }
        server.do("determine", ticker=T0, result="yes")
        server.do("finalize", ticker=T0)
        wire.send(0, [c.ReadPositions(venue="kalshi")])
        assert [p.market for p in (await ear.until(e.PositionsRead, 2)).positions] == [wire.lives.rows[T1]]

    live(body)


@row("5.57", "What a market paid is listed with its result, what was held, revenue in cents and fees.")
def test_settlements():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T0, BID, 5200, 3 * CONTRACT, d.IOC)])
        await ear.until(e.Filled)
        server.do("determine", ticker=T0, result="scalar", scalar_price="0.3000")
        server.do("finalize", ticker=T0)
        [paid] = await wire.rest.settlements()
        assert (paid.ticker, paid.market_result) == (T0, "scalar") and int(paid.value) == 300_000
        assert (int(paid.yes_count_fp), int(paid.no_count_fp)) == (3 * CONTRACT, 0)
        assert (int(paid.revenue), int(paid.yes_total_cost_dollars)) == (900_000, 1_560_000)
        assert int(paid.fee_cost) == sum(f.fee_micros for f in ear.of(e.Filled))

    live(body)


@row("5.58", "Money is read in exact dollars, not in the cents that are cut off, over all shards or of one.")
def test_balance():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T0, BID, 5200, 1_370_000, d.IOC)])
        fill = await ear.until(e.Filled)
        cash = 4 * 10_000_000_000 - 5200 * 1_370_000 // 10_000 - fill.fee_micros
        assert cash % 10_000
        wire.send(0, [c.ReadBalance(venue="kalshi")])
        assert (await ear.until(e.BalanceRead)).cash_micros == cash
        balance = await wire.rest.balance()
        assert {int(s.exchange_index): int(s.balance) for s in balance.balance_breakdown} == {
            0: cash - 30_000_000_000, 1: 10_000_000_000, 2: 10_000_000_000, 3: 10_000_000_000,
        }  # fmt: skip
        assert int((await wire.rest.balance(exchange_index=2)).balance_dollars) == 10_000_000_000

    live(body)


@row("5.59", "Each call that may be about several subaccounts names ours.")
def test_the_subaccount_is_named():
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await room(wire)
        with listening(server) as heard:
            wire.send(0, [place(wire, n) for n in range(1, 6)])
            await ear.until(e.Accepted, 5)
            wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
            wire.send(0, [c.Reduce(order_id=2, market=market, remaining=CONTRACT)])
            await ear.until(e.Renewed)
            await ear.until(e.Reduced)
            wire.send(0, [c.Cancel(order_id=n, market=market) for n in range(1, 6)])
            await until(lambda: not resting(server))
            for read in (c.ReadOrders, c.ReadPositions, c.ReadBalance):
                wire.send(0, [read(venue="kalshi")])
            wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0), c.CancelAll(venue="kalshi", why="halt")])
            await wire.rest.queue_positions([T0])
            await wire.rest.settlements()
            await wire.arm()
            await until(lambda: len({type(x) for x in ear.events} & READS) == 4)
            await until(lambda: server.requests["cancel_all"] == 1)
        calls = [
            h
            for h in heard
            if h.path.startswith("/portfolio") and not h.path.startswith("/portfolio/orders/v")
        ]
        assert len({h.path for h in calls}) >= 10
        for call in calls:
            told = call.query.get("subaccount"), (call.body or {}).get("subaccount")
            items = [item.get("subaccount") for item in (call.body or {}).get("orders", ())]
            assert "0" in told or 0 in told or (items and set(items) == {0}), call

    live(body, terms={"group_limit": 100 * CONTRACT})


READS = {e.OrdersRead, e.PositionsRead, e.BalanceRead, e.FillsRead}


@row("5.60", "A read without a usable answer is told as failed, and says nothing about anything.")
def test_failed_reads():
    async def body(server, ear, wire):
        server.faults.change({"read_error": 1.0})
        reads = [kind(venue="kalshi") for kind in (c.ReadOrders, c.ReadPositions, c.ReadBalance)]
        wire.send(0, [*reads, c.ReadFills(venue="kalshi", since_ns=0)])
        await ear.until(e.ReadFailed, 4)
        assert {x.read for x in ear.of(e.ReadFailed)} == {"orders", "positions", "balance", "fills"}
        assert not {type(x) for x in ear.events} & READS

    live(body)
