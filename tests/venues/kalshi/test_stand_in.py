"""The adapter against the stand-in exchange: a whole life in the open, and one under every fault."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import numpy as np
import pytest

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import life_of, listed
from pr3dict.venues.kalshi.rest import KalshiRest
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.kalshi import KalshiStandIn, small_catalog

SECOND = 1_000_000_000
MS = 1_000_000


class VenueClock:
    """The stand-in's time, which may run faster than ours."""

    def __init__(self, server: KalshiStandIn) -> None:
        self._server = server

    def now_ns(self) -> int:
        return self._server.now_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9 / (self._server.speed or 1.0))


async def lives_at(rest: KalshiRest, now_ns: int):
    """All markets of the exchange, as a process lists them."""
    found = []
    for row, market in enumerate(await rest.markets()):
        event = await rest.event(market.event_ticker)
        series = await rest.series(event.series_ticker)
        told = listed(market, event, series, row=row, at_ns=now_ns, direct_member=True)
        found.append(life_of(told, market, event.exchange_index))
    return found


@asynccontextmanager
async def connected(small, server, key, **terms):
    """A started wire with its ear."""
    clock, ear, signer = VenueClock(server), small.Ear(), Signer(key.id, key.pem)
    http = KalshiHttp(server.url, signer, clock, Budget(clock.now_ns()), answer_s=1.0)
    lives = await lives_at(KalshiRest(http), clock.now_ns())
    wire = KalshiWire(http, None, ear, clock, lives, AdapterTerms(prefix="life1", **terms))
    links = Reconnects(Backoff(20 * MS, 500 * MS, random.Random(5).randrange), SECOND)
    wire.streams = KalshiStreams(server.ws_url, signer, clock, ear, wire.lives.rows, wire.hear, links)
    try:
        await wire.start()
        await ear.until(e.FeedUp)
        yield ear, wire
    finally:
        await wire.close()


def live(small, body, *, kind="ed25519", terms=None, **options):
    async def all_of_it():
        async with KalshiStandIn(small_catalog(), **{"tier": "prestige", **options}) as server:
            key = server.key if kind == "ed25519" else server.rsa_key
            async with connected(small, server, key, **(terms or {})) as (ear, wire):
                await body(server, ear, wire)
                assert wire._failure is None and wire.streams.failure() is None

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def order_in(wire, ticker, number, side=BID, price=4500, size=10_000_000, tif=d.POST_ONLY, expiry_ns=0):
    return c.Place(
        order_id=number,
        market=wire.lives.rows[ticker],
        side=side,
        price=price,
        size=size,
        tif=tif,
        expiry_ns=expiry_ns,
    )


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_life_in_the_open(small, kind):
    async def body(server, ear, wire):
        ticker = server.venue.markets[0].spec.ticker
        row = wire.lives.rows[ticker]
        wire.send(0, [order_in(wire, ticker, 1, expiry_ns=server.now_ns() + 60 * SECOND)])
        wire.send(0, [order_in(wire, ticker, 2, side=ASK, price=5500, size=5_500_000)])
        await ear.until(e.Accepted, 2)
        until_ns = server.now_ns() + 300 * SECOND
        wire.send(0, [c.Renew(order_id=1, market=row, expiry_ns=until_ns)])
        await ear.until(e.Renewed)
        wire.send(0, [c.Reduce(order_id=2, market=row, remaining=2_250_000)])
        await ear.until(e.Reduced)
        listing = {o["client_order_id"]: o for o in server.do("truth")["open_orders"]}
        assert listing["life1-2"]["remaining_count_fp"] == "2.25"
        server.do("take", ticker=ticker, taker="ask", price="0.4500", contracts="500")
        filled = await ear.until(e.Filled)
        assert (filled.order_id, filled.side, filled.price, filled.maker) == (1, BID, 4500, True)
        wire.send(0, [c.Cancel(order_id=2, market=row)])
        await small.until(lambda: any(x.order_id == 2 for x in ear.of(e.Closed)))
        assert {x.filled for x in ear.of(e.Closed) if x.order_id == 2} <= {0, -1}
        venue = server.do("truth")
        wire.send(
            0,
            [
                c.ReadPositions(venue="kalshi"),
                c.ReadFills(venue="kalshi", since_ns=0),
                c.ReadBalance(venue="kalshi"),
                c.ReadOrders(venue="kalshi"),
                c.ReadBook(market=row),
            ],
        )
        held = (await ear.until(e.PositionsRead)).positions
        assert sum(f.size for f in ear.of(e.Filled)) == held[0].yes_contracts
        assert {f.trade_id for f in (await ear.until(e.FillsRead)).fills} == {
            f.trade_id for f in ear.of(e.Filled)
        }
        await ear.until(e.OrdersRead)
        await ear.until(e.BalanceRead)
        await ear.until(e.BookRead)
        queue = await wire.rest.queue_positions([ticker])
        assert len(queue) == len(venue["open_orders"])
        assert not ear.of(e.Malformed) and not ear.of(e.AnswerLost) and venue["unexplained"] == []

    live(small, body, kind=kind)


def test_our_book_is_the_exchanges_after_gaps(small):
    async def body(server, ear, wire):
        ticker = server.venue.markets[0].spec.ticker
        row = wire.lives.rows[ticker]
        dice = random.Random(3)
        server.faults.change({"gap": 0.1})
        for _ in range(150):
            side, price = (
                ("bid", dice.randint(1, 48)) if dice.random() < 0.5 else ("ask", dice.randint(52, 99))
            )
            server.do(
                "level", ticker=ticker, side=side, price=f"0.{price:02d}00", contracts=dice.randint(0, 30)
            )
            await asyncio.sleep(0.003)
        server.faults.change({"gap": 0})
        server.do("level", ticker=ticker, side="bid", price="0.0100", contracts=77)
        wire.send(0, [c.Resubscribe(market=row)])
        await asyncio.sleep(0.5)
        assert wire.streams.sequences.gaps > 3 and len(ear.of(e.BookInvalid)) > 3
        book = ({}, {})
        for rows in ear.rows:
            for at in rows[rows["market"] == row]:
                if at["kind"] == d.SNAPSHOT and at["bits"] & d.SNAP_FIRST:
                    book = ({}, {})
                if at["kind"] in (d.SNAPSHOT, d.LEVEL) and at["price"]:
                    book[at["side"]].pop(int(at["price"]), None)
                    if at["qty"]:
                        book[at["side"]][int(at["price"])] = int(at["qty"])
        sides = await wire.rest.orderbook(ticker)
        assert book[BID] == {int(p): int(q) for p, q in sides.yes_dollars}
        assert book[ASK] == {PRICE_SCALE - int(p): int(q) for p, q in sides.no_dollars}

    live(small, body)


def test_markets_pause_close_and_pay(small):
    async def body(server, ear, wire):
        first, second = (market.spec.ticker for market in server.venue.markets[:2])
        wire.send(0, [order_in(wire, first, 1)])
        await ear.until(e.Accepted)
        server.do("pause_market", ticker=first)
        closed = await ear.until(e.Closed)
        assert (closed.order_id, closed.filled) == (1, 0)
        reads = len(ear.of(e.OrdersRead))
        server.do("activate_market", ticker=first)
        await ear.until(e.OrdersRead, reads + 1)
        server.do("change_grid", ticker=first, grid=2)
        server.do("close_market", ticker=second)
        server.do("determine", ticker=second, result="yes")
        server.do("finalize", ticker=second)
        assert (await ear.until(e.Settled)).value_micros == 1_000_000
        rows = np.concatenate(ear.rows)
        of_first = rows[rows["market"] == wire.lives.rows[first]]
        assert of_first["aux"][of_first["kind"] == d.STATUS].tolist() == [d.ACTIVE, d.PAUSED, d.ACTIVE]
        assert (of_first["kind"] == d.TICK).sum() == 1
        server.do("pause_trading", seconds=15.0)
        await small.until(lambda: any(x.status == "paused" for x in ear.of(e.VenueStatus)), 10)

    live(small, body, speed=3.0)


def test_a_group_that_fires_halts_us(small):
    async def body(server, ear, wire):
        ticker = server.venue.markets[0].spec.ticker
        wire.send(0, [order_in(wire, ticker, n, price=4900) for n in range(1, 8)])
        await ear.until(e.Accepted, 7)
        server.do("take", ticker=ticker, taker="ask", price="0.4900", contracts="500")
        await ear.until(e.Halt)
        wire.send(0, [order_in(wire, ticker, 20)])
        assert (await ear.until(e.NotSent)).order_id == 20
        await wire.arm()
        wire.send(0, [order_in(wire, ticker, 21)])
        await small.until(lambda: any(x.order_id == 21 for x in ear.of(e.Accepted)))

    live(small, body, terms={"group_limit": 15_000_000})


class Forwarder:
    """A sink whose target is made after the wire."""

    target: LiveSource

    def put_rows(self, rows):
        self.target.put_rows(rows)

    def push(self, event):
        self.target.push(event)


def test_the_wire_serves_a_live_source(small):
    """Commands through `LiveSource`, events and rows out of its batches."""

    async def body(server, ear, wire):
        clock, forwarder = EngineTime(SystemClock()), Forwarder()
        venues = dict.fromkeys(wire.lives.by_row, "kalshi")
        source = LiveSource(Inbox(), clock, {"kalshi": wire}, venues)
        forwarder.target = source
        wire._sink = wire.streams.sink = forwarder
        ticker = server.venue.markets[0].spec.ticker
        source.send(clock.now_ns(), [order_in(wire, ticker, 1), c.ReadOrders(venue="kalshi")])
        events, rows = [], 0
        while not {e.Accepted, e.OrdersRead, e.FeedAlive} <= {type(event) for event in events} or not rows:
            server.do("level", ticker=ticker, side="bid", price="0.0100", contracts=len(events) + 1)
            batch = await source.next(clock.now_ns() + SECOND)
            events += batch.events
            rows += len(batch.data)
        assert all(isinstance(event, e.Event) for event in events) and not source.inbox.overflows

    live(small, body)


FAULTS = {
    "error_after_apply": 0.08,
    "error_before_apply": 0.05,
    "lost_answer": 0.08,
    "lost_request": 0.05,
    "too_many_requests": 0.05,
    "malformed_answer": 0.05,
    "read_error": 0.1,
    "answer_delay_ms": [0, 30],
    "read_lag_ms": [0, 300],
    "post_only_cancel": 0.5,
    "gap": 0.02,
    "duplicate_private": 0.1,
    "drop_private": 0.05,
    "reorder_private": 0.1,
    "omit_ts": 0.1,
    "malformed_frame": 0.02,
}


@pytest.mark.parametrize("seed", [1])
def test_under_every_fault_what_we_were_told_is_true(small, seed):
    """Places, cancels, renewals and takers at random; then the exchange's truth against the events.

    Each accepted, refused or closed order is so at the exchange, each fill is one of its fills with its
    figures, and what we were not told is found by reads.
    """

    async def body(server, ear, wire):
        dice = random.Random(seed)
        server.faults.change({**FAULTS, "seed": seed})
        tickers = [market.spec.ticker for market in server.venue.markets]
        for number in range(1, 61):
            ticker = dice.choice(tickers)
            row = wire.lives.rows[ticker]
            price = dice.choice((4500, 4900, 5500, 5600))
            side = BID if price < 5000 else ASK
            wire.send(0, [order_in(wire, ticker, number, side, price, dice.randint(1, 900) * 10_000)])
            old = dice.randint(1, number)
            if number % 3 == 0:
                wire.send(0, [c.Cancel(order_id=old, market=market_of(wire, old, row))])
            if number % 5 == 0:
                renewal = server.now_ns() + 600 * SECOND
                wire.send(0, [c.Renew(order_id=old, market=market_of(wire, old, row), expiry_ns=renewal)])
            if number % 4 == 0:
                taker, at = dice.choice((("ask", "0.4900"), ("bid", "0.5500")))
                server.do("take", ticker=ticker, taker=taker, price=at, contracts=dice.randint(1, 30))
            if number % 40 == 0:
                server.do("disconnect")
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.5)
        server.faults.change(dict.fromkeys(FAULTS, 0))
        await ear.until(e.FeedUp, len(ear.of(e.FeedDown)) + 1, 10)
        await asyncio.sleep(0.6)
        before = len(ear.of(e.FillsRead)), len(ear.of(e.OrdersRead))
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0), c.ReadOrders(venue="kalshi")])
        fills = (await ear.until(e.FillsRead, before[0] + 1)).fills
        orders = (await ear.until(e.OrdersRead, before[1] + 1)).orders
        check_truth(server.do("truth"), ear, fills, orders)

    live(small, body, seed=seed)


def market_of(wire, order_id, otherwise):
    own = wire.orders.get(order_id)
    return otherwise if own is None else own.market


def check_truth(truth, ear, fills, orders):
    """Everything that we were told, against what happened."""
    by_client = {o["client_order_id"]: o for o in truth["orders"]}
    assert truth["unexplained"] == [] and len(by_client) == len(truth["orders"])
    for event in ear.of(e.Accepted):
        assert by_client[f"life1-{event.order_id}"]["order_id"] == event.venue_id
    for event in (*ear.of(e.Refused), *ear.of(e.NotSent)):
        assert f"life1-{event.order_id}" not in by_client
    for event in ear.of(e.Closed):
        order = by_client[f"life1-{event.order_id}"]
        assert order["status"] != "resting"
        assert event.filled in (-1, round(float(order["fill_count_fp"]) * 1e6))
    told = set(range(1, 61)) - {
        x.order_id
        for x in (*ear.of(e.Accepted), *ear.of(e.Refused), *ear.of(e.NotSent), *ear.of(e.AnswerLost))
    }
    assert told == set()  # every order got some answer
    true_fills = {f["trade_id"]: f for f in truth["fills"]}
    for fill in (*ear.of(e.Filled), *fills):
        real = true_fills[fill.trade_id]
        assert fill.order_id == int(
            by_order(truth, real["order_id"])["client_order_id"].removeprefix("life1-")
        )
        assert fill.size == round(float(real["count_fp"]) * 1e6) and fill.price == round(
            float(real["yes_price_dollars"]) * 1e4
        )
        assert fill.fee_micros == round(float(real["fee_cost"]) * 1e6)
    assert {f.trade_id for f in fills} == set(true_fills)
    open_now = {o["order_id"]: o for o in truth["open_orders"]}
    assert {o.venue_id for o in orders} == set(open_now)
    for order in orders:
        assert f"life1-{order.order_id}" == open_now[order.venue_id]["client_order_id"]
        assert order.remaining == round(float(open_now[order.venue_id]["remaining_count_fp"]) * 1e6)


def by_order(truth, venue_id):
    return next(o for o in truth["orders"] if o["order_id"] == venue_id)
