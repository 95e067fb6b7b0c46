"""Queue positions are polled with what is left of the reads, and told only where they are new."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import BASIC, COMMON, Budget, Charge
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Lives, life_of, listed
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict
from pr3dict.venues.kalshi.own_orders import OwnOrders
from pr3dict.venues.kalshi.queue import FORGET_NS, MOST_DOUBLINGS, PATH, QueuePoll, may_ask
from pr3dict.venues.kalshi.rest import ReadFailedError

SECOND = 1_000_000_000
MS = 1_000_000
AT_NS = 1_795_355_184 * SECOND
QUEUES = ("GET", PATH)


def body_of(kind, body):
    return reader_of(kind)(json.dumps(body).encode())


def lives_of(bodies, *tickers):
    event, series = body_of(m.Event, bodies.EVENT), body_of(m.Series, bodies.SERIES)
    found = []
    for row, ticker in enumerate(tickers):
        market = body_of(m.Market, {**bodies.MARKET, "ticker": ticker})
        told = listed(market, event, series, row=row, at_ns=AT_NS, direct_member=True)
        found.append(life_of(told, market, None))
    return found


class Hands:
    """A clock that moves when it is told to, or when somebody sleeps."""

    def __init__(self):
        self.at_ns = AT_NS
        self.slept: list[int] = []

    def now_ns(self):
        return self.at_ns

    async def sleep(self, span_ns):
        self.slept.append(span_ns)
        self.at_ns += span_ns
        await asyncio.sleep(0)


class Rest:
    """Answers of Kalshi's one after another; an exception is raised, the last answer repeats."""

    def __init__(self, budget, *answers):
        self.http = type("Http", (), {"budget": budget})()
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    async def queue_positions(self, tickers):
        self.asked.append(list(tickers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [
            body_of(a.QueuePosition, {"order_id": i, "market_ticker": t, "queue_position_fp": q})
            for i, t, q in answer
        ]


FAILED = ReadFailedError("GET", Outcome(Verdict.UNKNOWN, text="timeout"), 0)


def poller(bodies, *answers, poll_ns=SECOND, tickers=("KXA-1", "KXA-2")):
    clock = Hands()
    budget = Budget(clock.now_ns())
    rest, orders = Rest(budget, *answers), OwnOrders("test")
    for number in (1, 2, 3):
        orders.named(number, f"v{number}")
    poll = QueuePoll(rest, orders, Lives(lives_of(bodies, *tickers)), clock, poll_ns)
    return poll, rest, clock


def told(read):
    return None if read is None else [(place.order_id, place.ahead) for place in read.positions]


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 500))
def test_a_poll_never_goes_below_the_reserve(tokens, cost, capacity):
    allowed = may_ask(tokens, cost, capacity)
    assert allowed == (2 * (tokens - cost) >= capacity)


def test_only_new_figures_are_told_and_markets_without_orders_are_not_asked_for(bodies):
    first = [("v1", "KXA-1", "12.50"), ("v2", "KXA-2", "3.00"), ("stranger", "KXA-1", "9.00")]
    second = [("v1", "KXA-1", "12.50"), ("v2", "KXA-2", "1.00")]
    poll, rest, clock = poller(bodies, first, second, [("v1", "KXA-1", "12.50")], second)

    async def body():
        assert await poll.poll() is None and rest.asked == []  # nothing was ever placed
        poll.placed(0)
        poll.placed(1)
        read = await poll.poll()
        assert (read.venue, read.asked_ns, read.as_of_ns) == ("kalshi", AT_NS, AT_NS)
        assert told(read) == [(1, 12_500_000), (2, 3_000_000)]
        assert told(await poll.poll()) == [(2, 1_000_000)]
        assert told(await poll.poll()) == []  # order 2 is gone, order 1 stands as it stood
        clock.at_ns += FORGET_NS + 1
        assert told(await poll.poll()) == [(2, 1_000_000)]  # told again, though it is what it was
        rest.answers = [[("v1", "KXA-1", "12.50")]]
        await poll.poll()
        await poll.poll()
        assert rest.asked[0] == ["KXA-1", "KXA-2"] and rest.asked[-1] == ["KXA-1"]
        poll.placed(1)
        await poll.poll()
        assert rest.asked[-1] == ["KXA-1", "KXA-2"]

    asyncio.run(body())


def test_a_poll_waits_for_budget_and_backs_off(bodies):
    good = [("v1", "KXA-1", "1.00")]
    poll, rest, clock = poller(bodies, *[FAILED] * 8, good)
    read_bucket = Charge(BASIC.read.bucket_capacity // 2, write=False)
    heard = asyncio.Event()

    async def body():
        poll.placed(0)
        assert rest.http.budget.take(read_bucket, clock.now_ns())
        assert await poll.poll() is None and rest.asked == [] and poll.skipped == 1
        clock.at_ns += 10 * SECOND
        task = asyncio.create_task(poll.run(lambda _read: heard.set()))
        await heard.wait()
        task.cancel()

    asyncio.run(body())
    doublings = [clock.slept[k] // SECOND for k in range(9)]
    assert doublings == [2 ** min(k, MOST_DOUBLINGS) for k in range(9)]
    assert poll.failed == 8 and poll.asked == 1 and clock.slept[9:] in ([], [SECOND])


def test_polls_of_many_markets_are_paid_by_the_hundred(bodies):
    poll, rest, clock = poller(bodies, [], tickers=tuple(f"KXA-{k}" for k in range(250)))
    budget = rest.http.budget
    for market in range(250):
        poll.placed(market)
    free = budget.tokens(clock.now_ns())["read"] - BASIC.read.bucket_capacity // 2
    assert budget.take(Charge(free - 29, write=False), clock.now_ns())  # 3 calls of 10 do not fit
    assert asyncio.run(poll.poll()) is None and poll.skipped == 1
    clock.at_ns += SECOND // BASIC.read.refill_rate + 1
    assert told(asyncio.run(poll.poll())) == []


def bucket(rate, capacity):
    return {"refill_rate": rate, "bucket_capacity": capacity}


@pytest.mark.parametrize("every_ms", [1, 50])
def test_polling_takes_nothing_from_orders(small, bodies, every_ms):
    """However often it polls: write tokens are untouched, reads keep their reserve, a read is not delayed."""

    async def body():
        async with small.SmallVenue(bodies) as venue:
            clock, ear = small.WallClock(), small.Ear()
            http = KalshiHttp(venue.base, small.SIGNER, clock, Budget(clock.now_ns()), answer_s=2.0)
            terms = AdapterTerms(prefix="test", queue_poll_ns=every_ms * MS)
            wire = KalshiWire(http, None, ear, clock, lives_of(bodies, "KXA-1"), terms)
            limits = {"read": bucket(400, 400), "write": bucket(1000, 1000), "usage_tier": "basic"}
            venue.script["GET", "/account/limits"] = [(200, limits)] * 100
            venue.script[QUEUES] = [
                (200, {"queue_positions": [
                    {"order_id": "venue-1", "market_ticker": "KXA-1", "queue_position_fp": f"{k}.00"}
                ]})
                for k in range(5000)
            ]  # fmt: skip
            try:
                await wire.start()
                await asyncio.sleep(1.1)  # buckets began empty
                place = c.Place(order_id=1, market=0, side=BID, price=4500, size=10**6, tif=d.POST_ONLY)
                wire.send(0, [place])
                await ear.until(e.Accepted)
                write = http.budget.tokens(clock.now_ns(), [COMMON])[f"write_{COMMON}"]
                least = 10**9
                for _ in range(100):
                    await asyncio.sleep(0.01)
                    tokens = http.budget.tokens(clock.now_ns(), [COMMON])
                    least = min(least, tokens["read"])
                    assert tokens[f"write_{COMMON}"] >= write
                assert least >= 200 - 40  # others read, too
                wire.send(0, [c.ReadBalance(venue="kalshi")])
                begun = clock.now_ns()
                await ear.until(e.BalanceRead)
                assert clock.now_ns() - begun < SECOND // 2
                figures = wire.figures()
                assert figures["rate_limited"] == 0 and figures["queue_polls"] > 10
                assert (figures["queue_polls_left_out"] > 0) == (every_ms == 1)
                assert len(ear.of(e.QueueRead)) == figures["queue_polls"]
                assert wire._failure is None
            finally:
                await wire.close()

    asyncio.run(body())
