"""Requests are signed, paced and judged; reads follow every page; budgets keep cancels possible."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from aiohttp import web

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi.budget import BASIC, ORDERS, Budget, Charge, template
from pr3dict.venues.kalshi.http import HOSTS, Call, KalshiHttp, check_url
from pr3dict.venues.kalshi.numbers import Count
from pr3dict.venues.kalshi.orders import KalshiOrders, contracts_up
from pr3dict.venues.kalshi.outcomes import Verdict
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import NEVER_NS

SECOND = 1_000_000_000


def run(small, bodies, body, *, limits=None, answer_s=2.0):
    """A test body with a venue and a connection."""

    async def all_of_it():
        async with small.SmallVenue(bodies) as venue:
            clock = small.WallClock()
            budget = Budget(clock.now_ns(), limits or BASIC)
            http = KalshiHttp(venue.base, small.SIGNER, clock, budget, answer_s=answer_s)
            try:
                await body(venue, http)
            finally:
                await http.close()

    asyncio.run(all_of_it())


def order(number: int, shard: int = 0) -> a.CreateOrder:
    return a.CreateOrder(
        ticker="KXA-1",
        side="bid",
        count="10.00",
        price="0.4500",
        time_in_force="good_till_canceled",
        self_trade_prevention_type="taker_at_cross",
        client_order_id=f"test-{number}",
        exchange_index=shard,
    )


def test_a_signed_read_is_answered_and_a_wrong_signature_is_refused(small, bodies):
    async def body(venue, http):
        balance = await KalshiRest(http).balance()
        assert int(balance.balance_dollars) == 123_456_700 and int(balance.balance) == 123_450_000
        assert [int(s.balance) for s in balance.balance_breakdown] == [23_456_700]
        http._root = "/elsewhere"
        with pytest.raises(ReadFailedError, match="bad signature") as error:
            await KalshiRest(http).balance()
        assert error.value.status == 401

    run(small, bodies, body)


def test_a_query_is_sent_but_not_signed(small, bodies):
    async def body(venue, http):
        await KalshiRest(http, subaccount=3).orders(status="resting", ticker="KX A/1")
        assert venue.log[-1][2] == {
            "status": "resting",
            "ticker": "KX A/1",
            "subaccount": "3",
            "limit": "1000",
        }

    run(small, bodies, body)


def test_every_page_is_read_and_a_cursor_that_turns_in_circles_is_refused(small, bodies):
    async def body(venue, http):
        def page(cursor):
            return 200, {"fills": [bodies.FILL], "cursor": cursor}

        venue.script["GET", "/portfolio/fills"] = [page("b"), page("c"), page("")]
        assert len(await KalshiRest(http).fills()) == 3
        assert [call[2].get("cursor") for call in venue.log] == [None, "b", "c"]
        venue.script["GET", "/portfolio/fills"] = [page("b"), page("c"), page("b")]
        with pytest.raises(DataError, match="repeats the cursor"):
            await KalshiRest(http).fills()

    run(small, bodies, body)


@pytest.mark.parametrize("broken", [{"fills": [], "cursor": None}, {"fills": []}, {"cursor": ""}, [], "x"])
def test_a_page_that_may_be_cut_off_is_refused(small, bodies, broken):
    async def body(venue, http):
        venue.script["GET", "/portfolio/fills"] = [(200, broken)]
        with pytest.raises(DataError, match="GET /portfolio/fills"):
            await KalshiRest(http).fills()

    run(small, bodies, body)


def test_what_never_left_what_was_lost_and_what_was_refused(small, bodies):
    async def hang(request, path, body):
        await asyncio.sleep(1)
        return 200, {}

    async def cut(request, path, body):
        request.transport.abort()
        return web.Response()

    async def body(venue, http):
        orders = KalshiOrders(http)
        key = ("POST", ORDERS)
        venue.script[key] = [
            hang,
            cut,
            (503, {"code": "x", "message": "y"}),
            (302, b""),
            (201, b"{}"),
            (400, {"error": {"code": "insufficient_balance", "message": "m"}}),
        ]
        verdicts = [(await orders.create(order(n))).outcome.verdict for n in range(6)]
        assert verdicts == [Verdict.UNKNOWN] * 5 + [Verdict.REFUSED]
        answer = await orders.create(order(9))
        assert answer.outcome.verdict is Verdict.ACCEPTED and answer.body.order_id == "venue-1"
        assert int(answer.body.remaining_count) == 10_000_000

    run(small, bodies, body, answer_s=0.2)


def test_an_accepted_answer_that_cannot_be_read_is_unknown_and_said(small, bodies):
    async def body(venue, http):
        venue.script["POST", ORDERS] = [(201, {"order_id": "x", "fill_count": 0, "remaining_count": "1.00"})]
        answer = await KalshiOrders(http).create(order(1))
        assert answer.outcome.verdict is Verdict.UNKNOWN and "fill_count" in answer.malformed

    run(small, bodies, body)


def test_nobody_there_is_not_sent(small):
    async def body():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        clock = small.WallClock()
        http = KalshiHttp(
            f"http://127.0.0.1:{port}/trade-api/v2", small.SIGNER, clock, Budget(clock.now_ns())
        )
        answer = await KalshiOrders(http).create(order(1))
        assert answer.outcome.verdict is Verdict.NOT_SENT
        await http.close()

    asyncio.run(body())


def test_a_hundred_requotes_a_second_stay_inside_a_basic_tier(small, bodies):
    """The venue counts tokens itself, with its own clock: not one answer of 429."""

    async def body(venue, http):
        level, at, refused = 100.0, time.monotonic(), []

        def pay(cost):
            def step(request, path, body):
                nonlocal level, at
                now = time.monotonic()
                level, at = min(100.0, level + (now - at) * 100), now
                if level < cost:
                    refused.append(path)
                    return 429, {"error": "too many requests"}
                level -= cost
                return None

            return step

        orders = KalshiOrders(http)
        venue.script["POST", ORDERS] = [pay(10)] * 300
        venue.script["DELETE", "*"] = [pay(2)] * 300
        sent, kept = [], []

        async def requote(number):
            answer = await orders.create(order(number), wait_ns=SECOND // 4)
            (sent if answer.outcome.verdict is Verdict.ACCEPTED else kept).append(answer)
            if answer.body is not None:
                gone = await orders.cancel(answer.body.order_id, ticker="KXA-1", shard=0)
                assert gone.outcome.verdict is Verdict.ACCEPTED

        tasks = []
        for number in range(150):
            tasks.append(asyncio.create_task(requote(number)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert refused == [] and http.rate_limited == 0
        assert len(sent) >= 12 and all(answer.outcome.why == "rate_limit" for answer in kept)
        assert {answer.outcome.verdict for answer in kept} == {Verdict.NOT_SENT}

    run(small, bodies, body)


def test_429_empties_our_count(small, bodies):
    async def body(venue, http):
        venue.script["DELETE", f"{ORDERS}/x"] = [(429, {"error": "too many requests"})]
        answer = await KalshiOrders(http).cancel("x", ticker="KXA-1", shard=2)
        assert (answer.outcome.verdict, answer.status) == (Verdict.REFUSED, 429)
        now_ns = http.clock.now_ns()
        assert http.budget.tokens(now_ns, (0, 2))["write_2"] < 10
        assert http.budget.tokens(now_ns, (0, 2))["write_0"] == 95

    run(small, bodies, body)


def test_a_cancel_names_its_shard_and_market(small, bodies):
    async def body(venue, http):
        await KalshiOrders(http, subaccount=0).cancel("o/1", ticker="KXA-1", shard=2)
        method, path, query, _ = venue.log[-1]
        assert (method, path) == ("DELETE", f"{ORDERS}/o/1")
        assert query == {"subaccount": "0", "exchange_index": "2", "market_ticker": "KXA-1"}

    run(small, bodies, body)


def test_order_groups(small, bodies):
    async def body(venue, http):
        orders = KalshiOrders(http)
        made = await orders.create_group(2_500_001, shard=2)
        assert made.body.order_group_id == "g2"
        assert venue.log[-1][3] == {"contracts_limit": 3, "exchange_index": 2}
        for work, method, path in (
            (orders.set_group_limit("g2", 5_000_000, shard=2), "PUT", "/portfolio/order_groups/g2/limit"),
            (orders.trigger_group("g2", shard=2), "PUT", "/portfolio/order_groups/g2/trigger"),
            (orders.reset_group("g2", shard=2), "PUT", "/portfolio/order_groups/g2/reset"),
            (orders.delete_group("g2", shard=2), "DELETE", "/portfolio/order_groups/g2"),
        ):
            assert (await work).outcome.verdict is Verdict.ACCEPTED
            assert venue.log[-1][:3] == (method, path, {"exchange_index": "2"})
        assert contracts_up(0) == 1

    run(small, bodies, body)


# --- budget -----------------------------------------------------------------------------------------


def test_quotes_leave_the_reserve_to_cancels():
    budget = Budget(0)
    for _ in range(7):  # 100, less 5 for what may travel longer, less 20 for cancels
        assert budget.take(Charge(10, write=True), 0)
    assert not budget.take(Charge(10, write=True), 0)
    assert all(budget.take(Charge(2, write=True, urgent=True), 0) for _ in range(12))
    assert not budget.take(Charge(2, write=True, urgent=True), 0)
    assert budget.take(Charge(10, write=True, shard=2), 0)  # another shard's own bucket
    assert budget.wait_ns(Charge(90, write=True), 0) == NEVER_NS


def test_costs_come_from_the_venue_where_it_says_them():
    budget = Budget(0)
    assert (budget.cost("DELETE", f"{ORDERS}/{{}}"), budget.cost("GET", "/portfolio/fills")) == (2, 10)
    assert (budget.cost("POST", f"{ORDERS}/batched", 3), budget.cost("DELETE", f"{ORDERS}/batched", 3)) == (
        30,
        6,
    )
    said = a.EndpointCost(
        method="DELETE", path="/trade-api/v2/portfolio/events/orders/{order_id}", cost=Count(3)
    )
    budget.set_costs(a.EndpointCosts(default_cost=Count(11), endpoint_costs=(said,)))
    assert (budget.cost("DELETE", f"{ORDERS}/{{}}"), budget.cost("POST", ORDERS)) == (3, 11)
    assert budget.cost("DELETE", f"{ORDERS}/batched", 2) == 6
    assert template("/portfolio/orders/:order_id") == "/portfolio/orders/{}"


def test_new_limits_begin_empty():
    budget = Budget(0)
    limits = a.AccountLimits(
        usage_tier="x",
        read=a.BucketTerms(refill_rate=Count(300), bucket_capacity=Count(600)),
        write=a.BucketTerms(refill_rate=Count(300), bucket_capacity=Count(600)),
    )
    budget.set_limits(limits, 0)
    assert budget.tokens(0) == {"read": 0, "write_0": 0}
    assert budget.tokens(2 * SECOND) == {"read": 585, "write_0": 585}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://127.0.0.1/x",
        "https://",
        "https://a@b.c/x",
        "https://b.c/x?y=1",
        "nonsense",
    ],
)
def test_an_address_that_gives_signatures_away_is_refused(url):
    with pytest.raises(ConfigError):
        check_url(url, ("https", "http"))


def test_demo_and_prod_have_their_own_hosts():
    assert all(check_url(rest, ("https",)) and check_url(ws, ("wss",)) for rest, ws in HOSTS.values())
    assert "kalshi.co/" in HOSTS["demo"][0] and "kalshi.com/" in HOSTS["prod"][0]


def test_an_unsigned_connection_reads_what_is_public(small, bodies):
    async def body():
        async with small.SmallVenue(bodies) as venue:
            clock = small.WallClock()
            http = KalshiHttp(venue.base, None, clock, Budget(clock.now_ns()))
            markets = await KalshiRest(http).markets(status="open", mve_filter="exclude")
            assert [m.ticker for m in markets] == ["KXA-1"]
            assert venue.log[-1][2] == {"status": "open", "mve_filter": "exclude", "limit": "1000"}
            await http.close()

    asyncio.run(body())


def test_a_call_that_waits_too_long_for_its_turn_is_not_sent(small, bodies):
    async def body(venue, http):
        http.budget.refused(Charge(1, write=True), http.clock.now_ns())
        reply = await http.call(Call("POST", ORDERS, ORDERS, body=b"{}", wait_ns=1000))
        assert reply.outcome.verdict is Verdict.NOT_SENT and venue.log == []

    run(small, bodies, body)
