"""Commands become the right requests, and each answer the event that is true."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest
from aiohttp import web

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.domain.market import MarketStatus
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.account_models import Fill
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire, group_limit
from pr3dict.venues.kalshi.budget import ORDERS, Budget, Charge
from pr3dict.venues.kalshi.frames import read_frame
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import life_of, listed
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.own_orders import OwnOrder, OwnOrders
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects

SECOND = 1_000_000_000
EXPIRY_NS = 2_000_000_000 * SECOND + 5
AT_NS = 1_795_355_184 * SECOND


def body_of(kind, body):
    return reader_of(kind)(json.dumps(body).encode())


def lives_of(bodies, *tickers):
    event, series = body_of(m.Event, bodies.EVENT), body_of(m.Series, bodies.SERIES)
    found = []
    for row, ticker in enumerate(tickers or ("KXA-1",)):
        market = body_of(m.Market, {**bodies.MARKET, "ticker": ticker})
        told = listed(market, event, series, row=row, at_ns=AT_NS, direct_member=True)
        found.append(life_of(told, market, None))
    return found


@pytest.fixture
def rig(small, bodies):
    """Runs a test body with a venue, a sink and a wire to it."""

    @asynccontextmanager
    async def wired(streams=False, tickers=("KXA-1",), answer_s=2.0, **terms):
        async with small.SmallVenue(bodies) as venue:
            clock, ear = small.WallClock(), small.Ear()
            http = KalshiHttp(venue.base, small.SIGNER, clock, Budget(clock.now_ns()), answer_s=answer_s)
            wire = KalshiWire(
                http, None, ear, clock, lives_of(bodies, *tickers), AdapterTerms(prefix="test", **terms)
            )
            if streams:
                links = Reconnects(Backoff(5_000_000, 50_000_000, random.Random(7).randrange), SECOND)
                wire.streams = KalshiStreams(
                    venue.ws_url, small.SIGNER, clock, ear, wire.lives.rows, wire.hear, links
                )
                await wire.start()
                await ear.until(e.FeedUp)
            try:
                yield venue, ear, wire
            finally:
                await wire.close()

    def run(body, **options):
        async def all_of_it():
            async with wired(**options) as (venue, ear, wire):
                await body(venue, ear, wire)
                assert wire._failure is None

        asyncio.run(all_of_it())

    return run


def place(order_id=7, side=BID, price=4500, size=10_000_000, tif=d.POST_ONLY, market=0, **more):
    return c.Place(order_id=order_id, market=market, side=side, price=price, size=size, tif=tif, **more)


# --- new orders -------------------------------------------------------------------------------------


def test_a_quote_carries_every_protection(rig):
    async def body(venue, ear, wire):
        wire._maker.group_of[2] = "g2"
        wire.send(0, [place(side=ASK, price=4725, size=12_340_000, expiry_ns=EXPIRY_NS)])
        accepted = await ear.until(e.Accepted)
        assert venue.log[-1][3] == {
            "ticker": "KXA-1",
            "side": "ask",
            "count": "12.34",
            "price": "0.4725",
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
            "client_order_id": "test-7",
            "exchange_index": 2,
            "post_only": True,
            "subaccount": 0,
            "cancel_order_on_pause": True,
            "expiration_time": 2_000_000_000,
            "order_group_id": "g2",
        }
        assert ear.events == [e.Sent(order_id=7), accepted]
        assert accepted == e.Accepted(order_id=7, venue_id="venue-1", filled=0)

    rig(body)


def test_an_exit_that_takes_has_no_expiry_and_is_not_post_only(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place(tif=d.IOC, expiry_ns=EXPIRY_NS)])
        await ear.until(e.Accepted)
        sent = venue.log[-1][3]
        assert sent["time_in_force"] == "immediate_or_cancel"
        assert not {"post_only", "expiration_time"} & set(sent)

    rig(body)


@pytest.mark.parametrize(
    ("filled", "left", "tif", "closed"),
    [
        ("0.00", "10.00", d.POST_ONLY, None),
        ("4.00", "6.00", d.LIMIT, None),
        ("10.00", "0.00", d.LIMIT, ("filled", 10_000_000)),
        ("0.00", "0.00", d.POST_ONLY, ("post_only_cross", 0)),
        ("4.00", "0.00", d.IOC, ("unfilled_ioc", 4_000_000)),
        ("4.00", "0.00", d.LIMIT, ("self_trade", 4_000_000)),
    ],
)
def test_what_an_accepted_order_did_at_once(rig, filled, left, tif, closed):
    async def body(venue, ear, wire):
        venue.script["POST", ORDERS] = [
            (201, {"order_id": "v", "fill_count": filled, "remaining_count": left})
        ]
        wire.send(0, [place(tif=tif)])
        accepted = await ear.until(e.Accepted)
        assert accepted.filled == int(float(filled) * 1e6)
        wanted = [] if closed is None else [e.Closed(order_id=7, why=closed[0], filled=closed[1])]
        assert ear.of(e.Closed) == wanted

    rig(body)


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (
            (400, {"error": {"code": "invalid_order", "message": "m", "details": "post only cross"}}),
            e.Refused(order_id=7, why="post_only_cross", text="invalid_order: m: post only cross"),
        ),
        (
            (429, {"error": "too many requests"}),
            e.Refused(order_id=7, why="rate_limit", text="too many requests"),
        ),
        (
            (409, {"error": {"code": "order_already_exists", "message": "m"}}),
            e.AnswerLost(order_id=7, request="place", why="HTTP 409: order_already_exists: m"),
        ),
        (
            (500, {"error": {"code": "internal", "message": "m"}}),
            e.AnswerLost(order_id=7, request="place", why="HTTP 500: internal: m"),
        ),
        ((502, b"<html>"), e.AnswerLost(order_id=7, request="place", why="HTTP 502 without a reason")),
        (
            (201, {"order_id": "v", "fill_count": "0.00"}),
            e.AnswerLost(order_id=7, request="place", why="an answer that can't be read"),
        ),
    ],
)
def test_what_other_answers_to_a_new_order_mean(rig, reply, event):
    async def body(venue, ear, wire):
        venue.script["POST", ORDERS] = [reply]
        wire.send(0, [place()])
        assert await ear.until(type(event)) == event
        assert bool(ear.of(e.Malformed)) == (reply[0] == 201)

    rig(body)


def test_a_size_that_kalshi_does_not_know_never_leaves(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place(size=1)])
        assert "no multiple of 0.01" in (await ear.until(e.NotSent)).why
        assert venue.log == []

    rig(body)


def test_many_quotes_go_as_one_batch_and_each_has_its_own_fate(rig):
    async def body(venue, ear, wire):
        venue.create(body_of_order("test-3"))  # this client id is taken
        wire.send(0, [place(order_id=n) for n in range(1, 6)])
        await ear.until(e.Accepted, 4)
        assert [call[1] for call in venue.calls("POST", ORDERS)] == [f"{ORDERS}/batched"]
        assert {a.order_id: a.venue_id for a in ear.of(e.Accepted)} == {
            1: "venue-2",
            2: "venue-3",
            4: "venue-4",
            5: "venue-5",
        }
        assert [lost.order_id for lost in ear.of(e.AnswerLost)] == [3]
        wire.send(0, [c.Cancel(order_id=n, market=0) for n in (1, 2, 4, 5)])
        await ear.until(e.Closed, 4)
        assert venue.calls("DELETE", ORDERS)[0][1] == f"{ORDERS}/batched"
        assert {(x.order_id, x.why, x.filled) for x in ear.of(e.Closed)} == {
            (n, "none", 0) for n in (1, 2, 4, 5)
        }

    def body_of_order(client_id):
        return {
            "ticker": "KXA-1",
            "side": "bid",
            "count": "1.00",
            "price": "0.1000",
            "exchange_index": 2,
            "client_order_id": client_id,
        }

    rig(body)


@pytest.mark.parametrize(
    "items", [[], [{}], [{"order_id": "v"}] * 5, "x", [{"client_order_id": "test-2"}] * 5]
)
def test_a_batch_whose_answer_does_not_name_every_order_is_lost(rig, items):
    async def body(venue, ear, wire):
        venue.script["POST", f"{ORDERS}/batched"] = [(201, {"orders": items})]
        wire.send(0, [place(order_id=n) for n in range(1, 6)])
        await ear.until(e.AnswerLost, 5)
        assert {lost.order_id for lost in ear.of(e.AnswerLost)} == {1, 2, 3, 4, 5} and not ear.of(e.Accepted)

    rig(body)


# --- cancels, reductions, renewals --------------------------------------------------------------------


def test_a_cancel_waits_for_the_answer_to_its_order(rig):
    async def slow(request, path, body):
        await asyncio.sleep(0.05)

    async def body(venue, ear, wire):
        venue.script["POST", ORDERS] = [slow]
        wire.send(0, [place()])
        wire.send(0, [c.Cancel(order_id=7, market=0)])
        assert await ear.until(e.Closed) == e.Closed(order_id=7, why="none", filled=0)
        assert [type(event) for event in ear.events] == [e.Sent, e.Accepted, e.Closed]
        assert venue.log[-1][2] == {"subaccount": "0", "exchange_index": "2", "market_ticker": "KXA-1"}

    rig(body)


def test_an_order_that_is_cancelled_before_its_turn_never_leaves(rig, small):
    async def body(venue, ear, wire):
        budget, now_ns = wire._http.budget, wire._clock.now_ns()
        for _ in range(7):
            assert budget.take(Charge(10, write=True, shard=2), now_ns)
        wire.send(0, [place()])
        await asyncio.sleep(0.02)
        wire.send(0, [c.Cancel(order_id=7, market=0)])
        assert (await ear.until(e.NotSent)).order_id == 7
        await asyncio.sleep(0.05)
        assert venue.log == [] and [type(event) for event in ear.events] == [e.Sent, e.NotSent]
        wire.send(0, [place(order_id=8)])
        await ear.until(e.Accepted)

    rig(body)


def test_a_cancel_of_an_order_whose_answer_was_lost_finds_it_by_our_own_id(rig):
    def lose(request, path, body):
        venue_of[0].create(body)
        return 503, b""

    venue_of = []

    async def body(venue, ear, wire):
        venue_of.append(venue)
        venue.script["POST", ORDERS] = [lose]
        wire.send(0, [place()])
        await ear.until(e.AnswerLost)
        wire.send(0, [c.Cancel(order_id=7, market=0)])
        assert await ear.until(e.Closed) == e.Closed(order_id=7, why="none", filled=0)

    rig(body)


def test_a_cancel_of_an_order_that_never_arrived_is_refused_as_unknown(rig):
    async def body(venue, ear, wire):
        wire.send(0, [c.Cancel(order_id=9, market=0)])
        assert (await ear.until(e.RequestRefused)).why == "unknown_order"
        assert venue.calls("DELETE", ORDERS) == []

    rig(body)


def test_a_cancel_says_what_traded_before(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place()])
        await ear.until(e.Accepted)
        venue.orders["venue-1"] |= {"fill_count_fp": "4.00", "remaining_count_fp": "6.00"}
        wire.send(0, [c.Cancel(order_id=7, market=0, venue_id="venue-1")])
        assert await ear.until(e.Closed) == e.Closed(order_id=7, why="none", filled=4_000_000)

    rig(body)


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (
            (404, {"error": {"code": "not_found", "message": "m"}}),
            e.RequestRefused(order_id=7, request="cancel", why="unknown_order", text="not_found: m"),
        ),
        (
            (400, {"error": {"code": "x", "message": "m", "details": "MARKET_INACTIVE"}}),
            e.RequestRefused(order_id=7, request="cancel", why="not_active", text="x: m: MARKET_INACTIVE"),
        ),
        ((504, b""), e.AnswerLost(order_id=7, request="cancel", why="HTTP 504 without a reason")),
        (
            (200, {"order_id": "venue-1"}),
            e.AnswerLost(order_id=7, request="cancel", why="an answer that can't be read"),
        ),
    ],
)
def test_what_other_answers_to_a_cancel_mean(rig, reply, event):
    async def body(venue, ear, wire):
        venue.script["DELETE", "*"] = [reply]
        wire.send(0, [c.Cancel(order_id=7, market=0, venue_id="venue-1")])
        assert await ear.until(type(event)) == event

    rig(body)


def test_429_only_delays_a_cancel(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place()])
        await ear.until(e.Accepted)
        venue.script["DELETE", "*"] = [(429, {"error": "too many requests"})] * 2
        wire.send(0, [c.Cancel(order_id=7, market=0)])
        assert (await ear.until(e.Closed)).filled == 0
        assert wire.figures()["rate_limited"] == 2 and not ear.of(e.RequestRefused)

    rig(body)


def test_a_reduction_keeps_the_order_and_the_doubt_about_its_total(rig, bodies):
    async def body(venue, ear, wire):
        wire.send(0, [place()])
        await ear.until(e.Accepted)
        wire.send(0, [c.Reduce(order_id=7, market=0, venue_id="venue-1", remaining=6_500_000)])
        assert await ear.until(e.Reduced) == e.Reduced(order_id=7, remaining=6_500_000)
        assert venue.log[-1][3] == {"exchange_index": 2, "market_ticker": "KXA-1", "reduce_to": "6.50"}
        wire.send(0, [c.Cancel(order_id=7, market=0)])
        assert (await ear.until(e.Closed)).filled == -1  # a fill may have come in between: nobody said

    rig(body)


def test_a_renewal_repeats_price_and_total_so_that_the_place_stays(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place(side=ASK, price=4700)])
        await ear.until(e.Accepted)
        venue.orders["venue-1"] |= {"fill_count_fp": "4.00", "remaining_count_fp": "6.00"}
        wire.send(0, [c.Renew(order_id=7, market=0, venue_id="venue-1", expiry_ns=EXPIRY_NS)])
        assert await ear.until(e.Renewed) == e.Renewed(order_id=7, expiry_ns=EXPIRY_NS)
        assert venue.log[-1][1].endswith("/venue-1/amend")
        assert venue.log[-1][3] == {
            "ticker": "KXA-1",
            "side": "ask",
            "price": "0.4700",
            "count": "10.00",
            "exchange_index": 2,
            "expiration_time": 2_000_000_000,
        }

    rig(body)


@pytest.mark.parametrize("status", ["resting", "canceled", None])
def test_a_renewal_after_a_restart_asks_first(rig, status):
    async def body(venue, ear, wire):
        venue.create(
            {
                "ticker": "KXA-1",
                "side": "ask",
                "count": "10.00",
                "price": "0.4700",
                "exchange_index": 2,
                "client_order_id": "test-7",
            }
        )
        if status is None:
            venue.orders.clear()
        else:
            venue.orders["venue-1"] |= {
                "fill_count_fp": "4.00",
                "remaining_count_fp": "3.00",
                "status": status,
            }
        wire.send(0, [c.Renew(order_id=7, market=0, venue_id="venue-1", expiry_ns=EXPIRY_NS)])
        if status == "resting":
            await ear.until(e.Renewed)
            assert (venue.log[-1][3]["count"], venue.log[-1][3]["price"]) == ("7.00", "0.4700")
        else:
            assert (await ear.until(e.RequestRefused)).why == "unknown_order"
            assert venue.calls("POST", ORDERS) == []

    rig(body)


def test_an_amended_order_may_get_another_id(rig):
    async def body(venue, ear, wire):
        wire.send(0, [place()])
        await ear.until(e.Accepted)
        venue.script["POST", f"{ORDERS}/venue-1/amend"] = [(200, {"order_id": "venue-9"})]
        wire.send(0, [c.Renew(order_id=7, market=0, venue_id="venue-1", expiry_ns=EXPIRY_NS)])
        await ear.until(e.Renewed)
        wire.send(0, [c.Cancel(order_id=7, market=0, venue_id="venue-1")])
        await ear.until(e.RequestRefused)
        assert venue.log[-1][1].endswith("/venue-9")
        assert wire.orders.of_venue_id("venue-1") == wire.orders.of_venue_id("venue-9") == 7

    rig(body)


@pytest.mark.parametrize("allowed", [True, False])
def test_everything_is_cancelled_with_or_without_the_one_call_for_it(rig, allowed, monkeypatch):
    monkeypatch.setattr("pr3dict.venues.kalshi.desk.READ_LAG_NS", 1_000_000)

    async def body(venue, ear, wire):
        wire.send(0, [place(order_id=n) for n in (1, 2)])
        await ear.until(e.Accepted, 2)
        if not allowed:
            venue.script["DELETE", ORDERS] = [
                (403, {"error": {"code": "forbidden", "message": "members only"}})
            ]
        wire.send(0, [c.CancelAll(venue="kalshi", why="halt")])
        await asyncio.sleep(0.15)
        assert {order["status"] for order in venue.orders.values()} == {"canceled"}
        assert len(ear.of(e.Closed)) == (0 if allowed else 2)  # else the streams say it

    rig(body)


# --- reads ------------------------------------------------------------------------------------------


def test_reads_say_as_of_when_and_what_is_ours(rig, bodies, small):
    async def body(venue, ear, wire):
        wire.send(0, [place()])
        await ear.until(e.Accepted)
        venue.orders["foreign"] = {
            **bodies.ORDER,
            "order_id": "foreign",
            "client_order_id": "somebody-7",
            "ticker": "KXOTHER",
        }
        venue.fills = [
            {**bodies.FILL, "order_id": "venue-1"},
            {**bodies.FILL, "ticker": "KXOTHER", "trade_id": "t-2", "market_ticker": "KXOTHER"},
            {**bodies.FILL, "trade_id": "t-3", "order_id": "foreign"},
        ]
        venue.positions = [bodies.POSITION, {**bodies.POSITION, "ticker": "KXOTHER"}]
        since_ns = 1_795_000_000 * SECOND
        wire.send(
            0,
            [
                c.ReadOrders(venue="kalshi"),
                c.ReadFills(venue="kalshi", since_ns=since_ns),
                c.ReadPositions(venue="kalshi"),
                c.ReadBalance(venue="kalshi"),
                c.ReadBook(market=0),
                c.ReadOrder(order_id=7, market=0),
            ],
        )
        orders = await ear.until(e.OrdersRead)
        assert orders.as_of_ns <= small.WallClock().now_ns() and orders.as_of_ns % SECOND == 0
        assert [(o.order_id, o.venue_id, o.market) for o in orders.orders] == [
            (7, "venue-1", 0),
            (0, "foreign", -1),
        ]
        assert orders.orders[0].remaining == 10_000_000 and orders.orders[0].expiry_ns > 0
        fills = await ear.until(e.FillsRead)
        assert [(f.trade_id, f.order_id, f.size, f.fee_micros, f.maker) for f in fills.fills] == [
            ("t-1", 7, 4_000_000, 17_400, True),
            ("t-3", 0, 4_000_000, 17_400, True),
        ]
        assert fills.since_ns == since_ns
        assert venue.calls("GET", "/portfolio/fills")[0][2]["min_ts"] == "1795000000"
        positions = await ear.until(e.PositionsRead)
        assert positions.positions == (e.VenuePosition(market=0, yes_contracts=0, no_contracts=4_000_000),)
        assert (await ear.until(e.BalanceRead)).cash_micros == 123_456_700
        book = await ear.until(e.BookRead)
        assert (book.bid_price, book.ask_price) == (4500, 4700)
        found = await ear.until(e.OrderRead)
        assert (found.status, found.venue_id, found.remaining) == ("open", "venue-1", 10_000_000)
        assert wire.figures()["unlisted"] == 3

    rig(body)


@pytest.mark.parametrize(
    ("status", "said"), [("canceled", "closed"), ("executed", "closed"), ("resting", "open"), ("limbo", None)]
)
def test_a_looked_up_order_is_open_closed_or_not_readable(rig, status, said):
    async def body(venue, ear, wire):
        venue.create(
            {
                "ticker": "KXA-1",
                "side": "bid",
                "count": "10.00",
                "price": "0.4700",
                "exchange_index": 2,
                "client_order_id": "test-7",
            }
        )
        venue.orders["venue-1"]["status"] = status
        wire.send(0, [c.ReadOrder(order_id=7, market=0, venue_id="venue-1")])
        if said is None:
            assert "limbo" in (await ear.until(e.ReadFailed)).why
        else:
            assert (await ear.until(e.OrderRead)).status == said

    rig(body)


@pytest.mark.parametrize("venue_id", ["", "venue-5"])
def test_an_order_that_kalshi_does_not_show_is_not_found(rig, venue_id):
    async def body(venue, ear, wire):
        wire.send(0, [c.ReadOrder(order_id=7, market=0, venue_id=venue_id)])
        assert (await ear.until(e.OrderRead)).status == "not_found"

    rig(body)


@pytest.mark.parametrize("path", ["/exchange/user_data_timestamp", "/portfolio/fills"])
def test_a_read_without_a_usable_answer_failed(rig, path):
    async def body(venue, ear, wire):
        replies = ((500, b""), (200, {"fills": [{"trade_id": "t"}], "cursor": "", "as_of_time": 7}))
        for number, reply in enumerate(replies, 1):
            venue.script["GET", path] = [reply]
            wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
            await ear.until(e.ReadFailed, number)
        assert {x.read for x in ear.of(e.ReadFailed)} == {"fills"} and not ear.of(e.FillsRead)

    rig(body)


# --- what streams say ---------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after", "without"])
def test_a_fill_is_told_before_after_and_without_the_answer(rig, bodies, when):
    async def body(venue, ear, wire):
        fill = {**bodies.FRAMES["fill"], "order_id": "venue-1"}

        async def answer(request, path, sent):
            reply = venue.create(sent)
            if when == "before":
                await venue.say("fill", "fill", **fill)
                await asyncio.sleep(0.05)
            return (503, b"") if when == "without" else reply

        venue.script["POST", ORDERS] = [answer]
        wire.send(0, [place()])
        await ear.until(e.AnswerLost if when == "without" else e.Accepted)
        if when != "before":
            await venue.say("fill", "fill", **fill)
        filled = await ear.until(e.Filled)
        assert filled == e.Filled(
            trade_id="t-1",
            order_id=7,
            market=0,
            side=BID,
            price=4500,
            size=4_000_000,
            fee_micros=17_400,
            maker=True,
            exch_ns=1_795_355_184_001_000_000,
            venue_id="venue-1",
        )
        listed_fill = await wire._reads.filled(body_of(Fill, {**bodies.FILL, "order_id": "venue-1"}))
        assert msgspec.structs.replace(listed_fill, exch_ns=filled.exch_ns) == filled  # both routes agree

    rig(body, streams=True)


def test_a_fill_without_our_id_is_looked_up(rig, bodies):
    async def body(venue, ear, wire):
        venue.create(
            {
                "ticker": "KXA-1",
                "side": "bid",
                "count": "10.00",
                "price": "0.4500",
                "exchange_index": 2,
                "client_order_id": "test-31",
            }
        )
        fill = {**bodies.FRAMES["fill"], "order_id": "venue-1", "client_order_id": None}
        await venue.say("fill", "fill", **fill)
        assert (await ear.until(e.Filled)).order_id == 31
        await venue.say("fill", "fill", **{**fill, "trade_id": "t-2", "order_id": "gone"})
        assert (await ear.until(e.Filled, 2)).order_id == 0

    rig(body, streams=True)


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({}, e.Accepted(order_id=7, venue_id="o-1", filled=4_000_000)),
        ({"last_update_reason": "Decrease"}, e.Reduced(order_id=7, remaining=6_000_000, filled=4_000_000)),
        ({"status": "executed"}, e.Closed(order_id=7, why="filled", filled=4_000_000)),
        (
            {"status": "canceled", "last_update_reason": None},
            e.Closed(order_id=7, why="none", filled=4_000_000),
        ),
        (
            {"status": "canceled", "last_update_reason": "ExpiryCancel"},
            e.Closed(order_id=7, why="expired", filled=4_000_000),
        ),
        (
            {"status": "canceled", "last_update_reason": "PostOnlyCrossCancel"},
            e.Closed(order_id=7, why="post_only_cross", filled=4_000_000),
        ),
        (
            {"status": "canceled", "last_update_reason": "BrandNew"},
            e.Closed(order_id=7, why="none", filled=4_000_000),
        ),
        ({"status": "frozen"}, None),
        ({"client_order_id": "other-7"}, None),
        ({"subaccount_number": 3}, None),
        ({"subaccount_number": None}, e.Accepted(order_id=7, venue_id="o-1", filled=4_000_000)),
        ({"ticker": "KXOTHER"}, None),
    ],
)
def test_what_an_order_message_means(rig, bodies, changes, event):
    async def body(venue, ear, wire):
        frame = read_frame(
            "user_order",
            json.dumps(
                {"type": "user_order", "sid": 1, "msg": {**bodies.FRAMES["user_order"], **changes}}
            ).encode(),
        )
        wire.hear(frame, 5)
        assert ear.events == ([] if event is None else [event])

    rig(body)


def test_an_order_message_settles_the_total_after_a_decrease(rig, bodies):
    async def body(venue, ear, wire):
        wire.orders.add(OwnOrder(7, 0, BID, 4500, -1))
        wire.hear(
            read_frame(
                "user_order",
                json.dumps({"type": "user_order", "sid": 1, "msg": bodies.FRAMES["user_order"]}).encode(),
            ),
            5,
        )
        assert wire.orders.get(7).total == 10_000_000

    rig(body)


def test_a_fired_order_group_halts_and_no_order_leaves_until_it_is_armed(rig, bodies):
    async def body(venue, ear, wire):
        assert wire.groups == {"g2": 2}
        group = {**bodies.FRAMES["order_group_updates"], "order_group_id": "g2"}
        await venue.say("order_group_updates", "order_group_updates", **{**group, "order_group_id": "other"})
        await venue.say("order_group_updates", "order_group_updates", **group)
        halt = await ear.until(e.Halt)
        assert halt.who == "kalshi" and "15 seconds" in halt.reason and len(ear.of(e.Halt)) == 1
        wire.send(0, [place()])
        await ear.until(e.NotSent)
        assert venue.calls("POST", ORDERS) == []
        await wire.arm()
        assert venue.calls("PUT", "/portfolio/order_groups/g2/reset")
        wire.send(0, [place(order_id=8)])
        await ear.until(e.Accepted)
        assert venue.log[-1][3]["order_group_id"] == "g2"

    rig(body, streams=True, group_limit=5_000_000)


def test_a_group_that_is_not_armed_again_stays_fired(rig):
    async def body(venue, ear, wire):
        wire.groups["g2"], wire.fired["g2"] = 2, None
        venue.script["PUT", "/portfolio/order_groups/g2/reset"] = [(500, b"")] * 9
        with pytest.raises(WorkError, match="not armed"):
            await wire.arm()
        assert wire.fired

    rig(body)


def test_the_start_learns_the_budget_and_tells_the_status(rig):
    async def body(venue, ear, wire):
        assert (await ear.until(e.VenueStatus)).status == "open"
        assert any(rows["kind"][0] == d.STATUS and rows["aux"][0] == MarketStatus.ACTIVE for rows in ear.rows)
        assert wire.figures()["connections"] == 1

    rig(body, streams=True)


@pytest.mark.parametrize(
    ("shards", "word"),
    [
        ([(2, True, True)], "open"),
        ([(2, True, False)], "paused"),
        ([(2, False, False)], "closed"),
        ([(5, False, False)], "open"),
    ],
)
def test_only_our_shards_count(rig, shards, word):
    async def body(venue, ear, wire):
        venue.script["GET", "/exchange/status"] = [
            (
                200,
                {
                    "exchange_active": True,
                    "trading_active": True,
                    "exchange_index_statuses": [
                        {"exchange_index": i, "exchange_active": x, "trading_active": t} for i, x, t in shards
                    ],
                },
            )
        ]
        wire._spawn(wire._watch_status())
        assert (await ear.until(e.VenueStatus)).status == word

    rig(body)


# --- ids, limits, faults --------------------------------------------------------------------------------


def test_our_ids_are_recognised_and_nobody_elses():
    orders = OwnOrders("test")
    assert [orders.of_client_id(text) for text in ("test-7", "test-70")] == [7, 70]
    for text in (
        None,
        "",
        "test",
        "test-",
        "test-0",
        "test-07",
        "test-x",
        "tes-7",
        "test--7",
        "x-test-7",
        "test-²",
    ):
        assert orders.of_client_id(text) == 0
    for prefix in ("", "abc", "a-b-c-d", "x" * 33, "wörd"):
        with pytest.raises(ConfigError):
            OwnOrders(prefix)


def test_old_orders_are_forgotten_and_new_ones_kept(monkeypatch):
    monkeypatch.setattr("pr3dict.venues.kalshi.own_orders.MAX_KEPT", 10)
    orders = OwnOrders("test")
    for number in range(1, 31):
        orders.add(OwnOrder(number, 0, BID, 1, 1))
        orders.named(number, f"v{number}")
    assert len(orders) == 10 and orders.of_venue_id("v1") == 0 and orders.of_venue_id("v30") == 30


def test_the_group_limit_costs_at_most_the_sweep():
    assert group_limit(25_000_000) == 25_000_000
    assert group_limit(25_000_000, 300_000) == 83_000_000
    with pytest.raises(ConfigError):
        group_limit(999_999)


def test_a_fault_of_the_adapter_stops_the_next_command(rig, small):
    async def broken():
        raise ZeroDivisionError("a fault")

    async def body(venue, ear, wire):
        wire._spawn(broken())
        await asyncio.sleep(0.02)
        with pytest.raises(WorkError, match="a fault"):
            wire.send(0, [place()])
        wire._failure = None

    rig(body)


def test_a_command_for_nobody_is_a_fault(rig):
    async def body(venue, ear, wire):
        with pytest.raises(WorkError, match="SetLatch"):
            wire.send(0, [c.SetLatch(reason="x", text="y")])

    rig(body)


def test_lost_connections_lose_answers_and_nothing_else(rig):
    """100 orders, each answer lost in its own way: what the venue holds is what we may believe."""

    async def body(venue, ear, wire):
        dice = random.Random(11)

        async def maybe(request, path, sent):
            arrived = dice.random() < 0.5
            if arrived:
                venue.create(sent)
            kind = dice.randrange(3)
            if kind == 0:
                request.transport.abort()
                return web.Response()
            return (503, b"") if kind == 1 else (504, {"error": {"code": "timeout", "message": "m"}})

        venue.script["POST", ORDERS] = [maybe] * 100
        wire._desk.batch_from, wire._desk.place_wait_ns = 1000, 2**62
        wire._http.budget.cost = lambda *_: 0
        wire.send(0, [place(order_id=n) for n in range(1, 101)])
        await ear.until(e.AnswerLost, 100)
        assert not ear.of(e.Accepted) and not ear.of(e.Refused) and not ear.of(e.NotSent)
        wire.send(0, [c.ReadOrder(order_id=n, market=0) for n in range(1, 101)])
        await ear.until(e.OrderRead, 100)
        held = {int(order["client_order_id"].removeprefix("test-")) for order in venue.orders.values()}
        assert {x.order_id for x in ear.of(e.OrderRead) if x.status == "open"} == held
        assert 30 < len(held) < 70 and np.all([x.as_of_ns > 0 for x in ear.of(e.OrderRead)])

    rig(body)
