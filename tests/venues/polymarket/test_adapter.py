"""The adapter trades at the stand-in: every command, every end of an order, every kind of fill."""

from __future__ import annotations

import asyncio

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.commands import (
    Cancel,
    CancelAll,
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
    Reduce,
    Renew,
)
from pr3dict.kernels import dtypes as d

SECOND = 1_000_000_000
PROMPT = {"mine_s": [0.05, 0.1], "confirm_s": [0.05, 0.1], "stream_first": 0.5}


@pytest.fixture
def run(trading_of):
    """Runs a body against a session."""

    def go(body, **options):
        async def all_of_it():
            async with trading_of.trading(**options) as session:
                await body(session)

        asyncio.run(all_of_it())

    return go


def test_an_order_is_named_before_it_leaves_and_taken(run):
    async def body(t):
        t.place(1)
        accepted = await t.ear.until(e.Accepted, order_id=1)
        sent = t.ear.of(e.Sent, order_id=1)[0]
        assert sent.venue_id == accepted.venue_id and len(t.server.venue.open) == 1
        assert t.ear.events.index(sent) < t.ear.events.index(accepted)
        order = next(iter(t.server.venue.open.values()))
        assert (order.id, order.action, order.price, order.size) == (sent.venue_id, "BUY", 4_000, 10_000_000)

    run(body)


def test_an_ask_without_inventory_buys_no_and_with_inventory_sells_yes(run):
    async def body(t):
        t.server.do("split", market="plain-0", shares="20")
        t.place(1, side=d.ASK, price=6_000)
        t.place(2, side=d.ASK, price=6_100, sell=True)
        t.place(3, side=d.BID, price=3_900, sell=True)
        await t.ear.until(e.Accepted, order_id=1)
        await t.ear.until(e.Accepted, order_id=2)
        await t.ear.until(e.Accepted, order_id=3)
        orders = {(o.action, o.token, o.price) for o in t.server.venue.open.values()}
        assert orders == {("BUY", 1, 4_000), ("SELL", 0, 6_100), ("SELL", 1, 6_100)}

    run(body)


def test_many_orders_leave_as_batches_each_with_its_own_answer(run):
    async def body(t):
        places = [t_place(t, n, 3_000 + 100 * n) for n in range(1, 20)]
        places[4] = t_place(t, 5, 9_000)  # crosses
        t.wire.send(t.clock.now_ns(), places)
        refused = await t.ear.until(e.Refused, order_id=5)
        assert refused.why == "post_only_cross"
        await t.ear.until(e.Accepted, 18)
        assert t.server.requests["place_many"] == 2

    run(body)


def t_place(t, order_id, price):
    from pr3dict.domain.commands import Place

    return Place(
        order_id=order_id, market=1, side=d.BID, price=price, size=5_000_000, tif=d.POST_ONLY,
        expiry_ns=t.clock.now_ns() + 300 * SECOND,
    )  # fmt: skip


def test_cancels_end_with_what_the_channel_says(run):
    async def body(t):
        t.place(1)
        await t.ear.until(e.Accepted, order_id=1)
        t.wire.send(0, [Cancel(order_id=1, market=0)])
        closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("none", 0) and not t.server.venue.open
        t.wire.send(0, [Cancel(order_id=1, market=0)])
        refused = await t.ear.until(e.RequestRefused, order_id=1)
        assert refused.why == "unknown_order"

    run(body)


def test_a_cancel_waits_for_the_answer_to_its_order(run):
    async def body(t):
        t.server.faults.change({"answer_delay_ms": [100, 100]})
        t.place(1)
        t.wire.send(0, [Cancel(order_id=1, market=0)])
        await t.ear.until(e.Closed, order_id=1)
        assert not t.server.venue.open

    run(body)


def test_an_order_that_is_cancelled_before_its_turn_never_leaves(run):
    async def body(t):
        t.wire._http.budget._signer["orders"].drain(t.clock.now_ns())
        t.place(1)
        t.wire.send(0, [Cancel(order_id=1, market=0)])
        await t.ear.until(e.NotSent, order_id=1)
        await asyncio.sleep(0.1)
        assert t.server.requests["place"] == t.server.requests["cancel"] == 0

    run(body)


def test_cancel_all_leaves_nothing(run):
    async def body(t):
        for n in range(1, 8):
            t.place(n, price=3_000 + 100 * n)
        await t.ear.until(e.Accepted, 6)
        t.wire.send(0, [CancelAll(venue="polymarket", why="test")])
        await t.ear.until(e.Closed, 7)
        assert not t.server.venue.open

    run(body)


def test_changes_in_place_are_refused(run):
    async def body(t):
        t.place(1)
        await t.ear.until(e.Accepted, order_id=1)
        t.wire.send(0, [Reduce(order_id=1, market=0, remaining=5_000_000)])
        t.wire.send(0, [Renew(order_id=1, market=0, expiry_ns=t.clock.now_ns() + 600 * SECOND)])
        assert {r.request for r in t.ear.of(e.RequestRefused)} == {"reduce", "renew"}
        assert len(t.server.venue.open) == 1

    run(body)


def test_a_maker_fill_is_provisional_then_final_and_counts_once(run):
    async def body(t):
        t.place(1, price=4_900)  # the best bid
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="4")
        fill = await t.ear.until(e.Filled, order_id=1)
        assert (fill.side, fill.sell, fill.price, fill.size) == (d.BID, False, 4_900, 4_000_000)
        assert not fill.final and fill.maker and fill.fee_micros == 0
        final = await t.ear.until(e.FillFinal)
        assert final.trade_id == fill.trade_id
        assert len(t.ear.of(e.Filled)) == 1

    run(body, faults=PROMPT)


def test_a_failed_trade_is_taken_back(run):
    async def body(t):
        t.place(1, price=4_900)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="10")
        fill = await t.ear.until(e.Filled, order_id=1)
        void = await t.ear.until(e.FillVoided)
        assert (void.market, void.trade_id) == (fill.market, fill.trade_id)
        assert not t.ear.of(e.FillFinal)

    run(body, faults={**PROMPT, "trade_failed": 1.0})


def test_a_no_bid_fills_as_an_ask(run):
    async def body(t):
        t.place(1, side=d.ASK, price=5_100)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="bid", price="0.52", shares="4")
        fill = await t.ear.until(e.Filled, order_id=1)
        assert (fill.side, fill.sell, fill.price, fill.size) == (d.ASK, False, 5_100, 4_000_000)

    run(body, faults=PROMPT)


def test_a_taker_fill_has_the_prices_that_it_took_and_the_fee(run, trading_of):
    async def body(t):
        t.place(1, price=6_000, tif=d.IOC, size=20_000_000)
        closed = await t.ear.until(e.Closed, order_id=1)
        await trading_of.until(lambda: sum(f.size for f in t.ear.of(e.Filled)) >= closed.filled > 0)
        fills = t.ear.of(e.Filled, order_id=1)
        assert fills and not any(f.maker for f in fills) and all(f.price < 6_000 for f in fills)
        await t.ear.until(e.FillFinal, len(fills))
        t.wire.send(0, [ReadBalance(venue="polymarket")])
        read = await t.ear.until(e.BalanceRead)
        cost = sum(f.price * f.size // 10_000 + f.fee_micros for f in fills)
        assert read.cash_micros == 10_000_000_000 - cost

    run(body, faults=PROMPT)


@pytest.mark.parametrize("fault", ["lost_answer", "error_after_apply", "malformed_answer", "ip_limit_after"])
def test_an_order_whose_answer_is_lost_is_found_by_its_digest(run, fault):
    async def body(t):
        t.server.faults.change({fault: 1.0, "drop_user": 1.0})
        t.place(1)
        lost = await t.ear.until(e.AnswerLost, order_id=1)
        assert lost.request == "place"
        t.server.faults.change({fault: 0.0})
        digest = t.ear.of(e.Sent)[0].venue_id
        t.wire.send(0, [ReadOrder(order_id=1, market=0, venue_id=digest)])
        read = await t.ear.until(e.OrderRead)
        assert (read.status, read.venue_id, read.remaining) == ("open", digest, 10_000_000)

    run(body)


@pytest.mark.parametrize("fault", ["lost_request", "error_before_apply", "ip_limit_before"])
def test_an_order_that_never_came_is_not_found(run, fault):
    async def body(t):
        t.server.faults.change({fault: 1.0})
        t.place(1)
        await t.ear.until(e.AnswerLost, order_id=1)
        t.server.faults.change({fault: 0.0})
        t.wire.send(0, [ReadOrder(order_id=1, market=0)])
        assert (await t.ear.until(e.OrderRead)).status == "not_found"

    run(body)


def test_reads_say_what_is_true(run):
    async def body(t):
        t.server.do("split", market="plain-0", shares="30")
        t.place(1)
        t.place(2, side=d.ASK, price=6_000, sell=True, size=7_500_000)
        await t.ear.until(e.Accepted, 2)
        reads = [ReadOrders(venue="polymarket"), ReadPositions(venue="polymarket"), ReadBook(market=0)]
        t.wire.send(0, [*reads, ReadBalance(venue="polymarket"), ReadFills(venue="polymarket", since_ns=0)])
        orders = await t.ear.until(e.OrdersRead)
        shown = {(o.order_id, o.side, o.sell, o.price, o.remaining) for o in orders.orders}
        assert shown == {(1, d.BID, False, 4_000, 10_000_000), (2, d.ASK, True, 6_000, 7_500_000)}
        positions = await t.ear.until(e.PositionsRead)
        held = {p.market: (p.yes_contracts, p.no_contracts) for p in positions.positions}
        assert held == {0: (30_000_000, 30_000_000)}
        assert (await t.ear.until(e.BalanceRead)).cash_micros == 9_970_000_000
        assert (await t.ear.until(e.FillsRead)).fills == ()
        book = await t.ear.until(e.BookRead)
        best = t.streams.decoder.books[t.lives[0].condition].best
        assert [book.bid_price, book.ask_price] == best

    run(body)


def test_a_read_of_fills_finds_what_no_message_told(run):
    async def body(t):
        t.server.faults.change({"drop_user": 1.0})
        t.place(1, price=4_900)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="4")
        await asyncio.sleep(0.4)
        assert not t.ear.of(e.Filled)
        t.wire.send(0, [ReadFills(venue="polymarket", since_ns=t.clock.now_ns() - 60 * SECOND)])
        read = await t.ear.until(e.FillsRead)
        assert [(f.order_id, f.size, f.final) for f in read.fills] == [(1, 4_000_000, True)]

    run(body, faults=PROMPT)


def test_balances_count_trades_from_the_match_on(run):
    async def body(t):
        t.place(1, price=4_900)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="4")
        await t.ear.until(e.Filled, order_id=1)
        t.wire.send(0, [ReadBalance(venue="polymarket"), ReadPositions(venue="polymarket")])
        assert (await t.ear.until(e.BalanceRead)).cash_micros == 10_000_000_000 - 1_960_000
        positions = (await t.ear.until(e.PositionsRead)).positions
        assert [(p.market, p.yes_contracts) for p in positions] == [(0, 4_000_000)]

    run(body, faults={"mine_s": [600, 600]})


def test_orders_of_an_earlier_process_are_recognised(run, trading_of):
    async def body(t):
        t.place(7, price=4_400)
        accepted = await t.ear.until(e.Accepted, order_id=7)
        digest = accepted.venue_id
        orders = t.wire.orders
        orders._by_digest.clear()  # a process that remembers nothing but the journaled intent
        orders._digests.clear()
        orders._orders.clear()
        orders.know(trading_of.Known(7, 0))
        t.wire.send(0, [ReadOrders(venue="polymarket")])
        listed = (await t.ear.until(e.OrdersRead)).orders
        assert [(o.order_id, o.venue_id) for o in listed] == [(7, digest)]

    run(body)


def test_heartbeats_keep_orders_alive_and_their_loss_is_told(run, trading_of):
    async def body(t):
        t.place(1)
        await t.ear.until(e.Accepted, order_id=1)
        await asyncio.sleep(1.5)  # thirty seconds at the venue
        assert len(t.server.venue.open) == 1 and t.wire.heartbeats.beats >= 5
        t.server.faults.change({"clock_skew_ms": 1e9})  # every signature is out of date
        down = await t.ear.until(e.FeedDown)
        assert "heartbeat" in down.why
        await trading_of.until(lambda: not t.server.venue.open)
        t.server.faults.change({"clock_skew_ms": 0})
        await t.ear.until(e.FeedUp, 2)
        assert not t.server.venue.open and t.wire.heartbeats.lost == 1

    run(body, speed=20.0)


def test_a_restart_is_told_and_everything_compared_after_it(run):
    async def body(t):
        t.server.do("restart", seconds=20, post_only_s=120)
        t.place(1)
        refused = await t.ear.until(e.Refused, order_id=1)
        assert refused.why == "not_active"
        await t.ear.until(e.VenueStatus, status="restarting")
        statuses = [int(r["aux"]) for r in t.ear.rows_of(d.STATUS, 0)]
        assert statuses[-1] == d.POST_ONLY_MODE
        await t.ear.until(e.VenueStatus, 2, status="open")
        await t.ear.until(e.FeedUp, 2)

    run(body, speed=20.0)


def test_resolution_pays_and_unredeemed_winnings_count_as_cash(run):
    async def body(t):
        t.server.do("split", market="plain-0", shares="10")
        t.server.do("resolve", market="plain-0", result="yes")
        settled = await t.ear.until(e.Settled)
        assert (settled.market, settled.value_micros) == (0, 1_000_000)
        t.wire.send(0, [ReadBalance(venue="polymarket"), ReadPositions(venue="polymarket")])
        assert (await t.ear.until(e.BalanceRead)).cash_micros == 10_000_000_000
        assert (await t.ear.until(e.PositionsRead)).positions == ()

    run(body)


def test_a_resolution_that_no_message_tells_is_read(run):
    async def body(t):
        t.server.do("resolve", market="plain-0", result="void")
        settled = await t.ear.until(e.Settled)
        assert settled.value_micros == 500_000
        assert [int(r["aux"]) for r in t.ear.rows_of(d.STATUS, 0)][-1] == d.SETTLED

    run(body, speed=60.0, faults={"drop_resolved": 1.0})
