"""What a run must survive at its beginning: reads that fail, trades of markets nobody follows, slow trips."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import life_of, listed
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import SKEW_TRIP_NS, KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.kalshi import KalshiStandIn, small_catalog

MS = 1_000_000
SECOND = 1_000_000_000


@asynccontextmanager
async def wired(small, server, followed, **terms):
    """A wire, not started, that follows the places `followed` of the stand-in's markets."""
    clock, ear = SessionClock(EngineTime(SystemClock())), small.Ear()
    signer = Signer(server.key.id, server.key.pem)
    http = KalshiHttp(server.url, signer, clock, Budget(clock.now_ns()), answer_s=1.0)
    rest = KalshiRest(http)
    lives = []
    for row in followed:
        market = await rest.market(server.venue.markets[row].spec.ticker)
        event = await rest.event(market.event_ticker)
        series = await rest.series(event.series_ticker)
        told = listed(market, event, series, row=row, at_ns=clock.now_ns(), direct_member=True)
        lives.append(life_of(told, market, event.exchange_index))
    wire = KalshiWire(http, None, ear, clock, lives, AdapterTerms(prefix="life1", **terms))
    links = Reconnects(Backoff(20 * MS, 500 * MS, random.Random(5).randrange), SECOND)
    wire.streams = KalshiStreams(server.ws_url, signer, clock, ear, wire.lives.rows, wire.hear, links)
    try:
        yield ear, wire
    finally:
        await wire.close()


def run(body, **options):
    async def all_of_it():
        async with KalshiStandIn(small_catalog(), tier="prestige", **options) as server:
            await body(server)

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


def order_in(row):
    return c.Place(order_id=1, market=row, side=BID, price=4500, size=5_000_000, tif=d.POST_ONLY)


def test_trades_of_a_market_that_nobody_follows_any_more_are_read(small):
    """A run that did not choose the market again must still find what an earlier one booked there."""

    async def body(server):
        ticker = server.venue.markets[0].spec.ticker
        async with wired(small, server, (0, 1)) as (ear, first):
            await first.start()
            await ear.until(e.FeedUp)
            first.send(0, [order_in(0)])
            await ear.until(e.Accepted)
            server.do("take", ticker=ticker, taker="ask", price="0.4500", contracts="500")
            traded = await ear.until(e.Filled)
        async with wired(small, server, (1,)) as (ear, second):
            second.lives.know({ticker: 0})
            await second.start()
            await ear.until(e.FeedUp)
            assert second.streams.is_up and second.lives.rows == {server.venue.markets[1].spec.ticker: 1}
            second.send(0, [c.ReadFills(venue="kalshi", since_ns=0), c.ReadPositions(venue="kalshi")])
            (again,) = (await ear.until(e.FillsRead)).fills
            assert (again.trade_id, again.market, again.order_id) == (traded.trade_id, 0, 1)
            (held,) = (await ear.until(e.PositionsRead)).positions
            assert (held.market, held.yes_contracts) == (0, 5_000_000)

    run(body)


def test_a_start_asks_again(small):
    """Failing reads and group requests cost a start a moment, not its life."""

    async def body(server):
        async with wired(small, server, (0, 1, 2), group_limit=15_000_000) as (_, wire):
            server.faults.change({"read_error": 0.4, "too_many_requests": 0.2, "error_after_apply": 0.3})
            await wire.start()
            assert sorted(wire.groups.values()) == [0, 1, 2]
            assert sum(server.faults.fired[name] for name in ("read_error", "too_many_requests")) > 0

    run(body, seed=4)


def test_patience_ends(small):
    async def body(server):
        async with wired(small, server, (0,)) as (_, wire):
            server.faults.change({"read_error": 1.0})
            before = server.requests["account_limits"] + server.requests["balance"]
            with pytest.raises(ReadFailedError):
                await KalshiRest(wire.rest.http, tries=START_TRIES).balance()
            assert server.requests["account_limits"] + server.requests["balance"] == before + START_TRIES
            with pytest.raises(WorkError):
                await wire.start()

    run(body)


def test_a_slow_round_trip_says_nothing_about_clocks(small):
    async def body(server):
        async with wired(small, server, (0,)) as (ear, wire):
            await wire.start()
            first = await ear.until(e.ClockSkewed)
            assert abs(first.skew_ns) < SECOND // 4 and SKEW_TRIP_NS <= SECOND
            server.faults.change({"frame_delay_ms": [1_200, 1_200]})
            alive = len(ear.of(e.FeedAlive))
            await ear.until(e.FeedAlive, alive + 2, 10)
            assert ear.of(e.ClockSkewed) == [first]

    run(body)
