"""Section 6: the request budget."""

from __future__ import annotations

import asyncio

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    accepted,
    adapter,
    client,
    live,
    place,
    run,
    signer,
    small,
    until,
)
from conformance.kalshi.rows import Unused, row
from conformance.kalshi.trade import ORDERS, named, orders, resting, room, writes
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi.budget import BATCH, Budget
from pr3dict.venues.kalshi.numbers import Count
from standins.kalshi import KalshiStandIn
from standins.kalshi.limits import TIERS

UNUSED = (
    Unused("The upgrade of the tier by a call", "a person asks for it; we notice within a minute"),
    Unused("Quotes on request (RFQ), and their tokens", "we quote in the book"),
)  # fmt: skip


@row("6.1", "Rates and capacities are those that the account states, whatever its tier.")
@pytest.mark.parametrize("tier", sorted(TIERS))
def test_tiers(tier):
    async def work():
        async with KalshiStandIn(small(), tier=tier) as server, client(server, signer(server.key)) as rest:
            limits = await rest.limits()
            read, write, read_s, write_s = TIERS[tier]
            assert (limits.usage_tier, int(limits.read.refill_rate), int(limits.write.refill_rate)) == (
                tier, read, write,
            )  # fmt: skip
            budget = Budget(0)
            budget.set_limits(limits, 0)
            assert budget.tokens(0, (0, 1)) == {"read": 0, "write_0": 0, "write_1": 0}
            full = {"read": read * read_s, "write_0": write * write_s, "write_1": write * write_s}
            ours = budget.tokens(10 * SECOND, (0, 1))  # less what refills while a request travels
            assert {name: left * 20 for name, left in ours.items()} == {
                name: most * 20 - (read if name == "read" else write) for name, most in full.items()
            }

    run(work())


@row("6.2", "What a call costs is what Kalshi lists; what is not listed costs the listed default.")
def test_costs():
    async def body(server, ear, wire):
        budget = wire._http.budget
        assert [budget.cost(*call) for call in (("POST", ORDERS), ("POST", f"{ORDERS}/{{}}/amend"))] == [
            10,
            10,
        ]
        assert [budget.cost("DELETE", path) for path in (ORDERS, f"{ORDERS}/{{}}")] == [2, 2]
        assert budget.cost("POST", BATCH, 7) == 70 and budget.cost("DELETE", BATCH, 7) == 14
        assert (
            budget.cost("GET", "/portfolio/orders/{}") == 2 and budget.cost("GET", "/portfolio/orders") == 10
        )
        listed = [("POST", ORDERS, 12), ("GET", "/trade-api/v2/portfolio/fills", 3)]
        told = [a.EndpointCost(method=m, path=p, cost=Count(n)) for m, p, n in listed]
        budget.set_costs(a.EndpointCosts(default_cost=Count(11), endpoint_costs=tuple(told)))
        assert budget.cost("POST", BATCH, 2) == 24 and budget.cost("GET", "/portfolio/fills") == 3
        assert budget.cost("DELETE", f"{ORDERS}/{{}}") == 11

    live(body)


@row("6.3", "Each request is counted as the exchange counts it.")
def test_the_same_count():
    async def body(server, ear, wire):
        await asyncio.sleep(0.2)
        market = wire.lives.rows[T0]
        spent = server.limits.spent
        wire.send(0, [place(wire, n) for n in (1, 2)])
        await ear.until(e.Accepted, 2)
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        wire.send(0, [c.Reduce(order_id=2, market=market, remaining=CONTRACT)])
        await ear.until(e.Renewed)
        await ear.until(e.Reduced)
        wire.send(0, [c.Cancel(order_id=1, market=market)])
        await named(ear, e.Closed, 1)
        assert server.limits.spent - spent == 10 + 10 + 10 + 10 + 2
        await room(wire)
        spent = server.limits.spent
        wire.send(0, [place(wire, n) for n in range(3, 8)])
        await until(lambda: len(resting(server)) == 6)
        wire.send(0, [c.Cancel(order_id=n, market=market) for n in range(3, 8)])
        await until(lambda: len(resting(server)) == 1)
        assert server.limits.spent - spent == 5 * 10 + 5 * 2

    live(body)


@row(
    "6.4",
    "A hundred requotes a second fit into a Basic tier without one answer of 429; none of them comes late.",
)
def test_a_hundred_requotes_a_second():
    async def body(server, ear, wire):
        tickers, number, began = (T0, T1, T2, T3), 0, asyncio.get_running_loop().time()
        live_ones: dict[str, int] = {}
        while asyncio.get_running_loop().time() < began + 2.0:
            number += 1
            ticker = tickers[number % 4]
            commands = [place(wire, number, ticker, price=4000 + 100 * (number % 5))]
            if ticker in live_ones:
                commands.append(c.Cancel(order_id=live_ones[ticker], market=wire.lives.rows[ticker]))
            live_ones[ticker] = number
            wire.send(0, commands)
            await asyncio.sleep(max(0.0, began + number * 0.01 - asyncio.get_running_loop().time()))
        await asyncio.sleep(0.6)
        assert server.limits.refused == 0 and wire.figures()["rate_limited"] == 0
        assert number >= 100 and len(orders(server)) >= 50
        answered = {x.order_id for kind in (e.Accepted, e.NotSent) for x in ear.of(kind)}
        assert answered == set(range(1, number + 1)) and not ear.of(e.AnswerLost)
        assert len(resting(server)) <= 4

    live(body, tier="basic")


@row(
    "6.5",
    "New orders never take the last fifth of a budget: a cancel leaves at once however many of them wait.",
)
def test_the_reserve():
    async def body(server, ear, wire):
        await room(wire, 7)
        await accepted(ear, wire, place(wire, 1, T0))
        wire.send(0, [place(wire, n, T0, price=4400) for n in range(2, 40)])
        await until(lambda: wire.figures()["write_0"] < 40)
        for _ in range(20):
            assert wire.figures()["write_0"] >= 18
            await asyncio.sleep(0.005)
        began = asyncio.get_running_loop().time()
        wire.send(0, [c.Cancel(order_id=1, market=wire.lives.rows[T0])])
        await named(ear, e.Closed, 1)
        assert asyncio.get_running_loop().time() - began < 0.5
        await asyncio.sleep(0.6)
        assert server.limits.refused == 0 and ear.of(e.NotSent)

    live(body, tier="basic")


@row(
    "6.6",
    "An order that would have to wait too long for the budget does not leave: a late quote is a wrong one.",
)
def test_too_late():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, n) for n in range(1, 31)])
        await until(lambda: len(ear.of(e.NotSent)) + len({x.order_id for x in ear.of(e.Accepted)}) == 30)
        assert {x.why for x in ear.of(e.NotSent)} == {"rate_limit"} and len(orders(server)) < 12
        assert server.limits.refused == 0

    live(body, tier="basic")


@row(
    "6.7",
    "A write on a shard from 1 up is paid from that shard's own bucket, on shard 0 from the common one.",
)
def test_buckets_of_shards():
    async def body(server, ear, wire):
        await until(lambda: all(wire.figures()[f"write_{shard}"] >= 60 for shard in range(4)))
        paid, take = [], wire._http.budget.take

        def noted(charge, now_ns):
            if charge.write:
                paid.append((charge.shard, charge.tokens))
            return take(charge, now_ns)

        wire._http.budget.take = noted
        before = {}
        for shard, bucket in server.limits.write.items():
            before[shard] = bucket.fill(server.now_ns())
            bucket.rate = 0
        wire.send(0, [place(wire, n, t) for n, t in ((1, T0), (2, T1), (3, T1))])
        for number in (1, 2, 3):
            await named(ear, e.Accepted, number)
        assert [round(before[s] - b.tokens) for s, b in server.limits.write.items()] == [10, 20, 0, 0]
        assert sorted(paid) == [(0, 10), (1, 10), (1, 10)]

    live(body, tier="basic")


@row(
    "6.8",
    "A batch leaves only if all of it fits at once; what does not fit goes on by itself, shard by shard.",
)
def test_batches_fit():
    async def body(server, ear, wire):
        await room(wire, 7)
        tickers = (T0, T1, T2, T3)
        with writes(server) as heard:
            wire.send(0, [place(wire, n, tickers[n % 4]) for n in range(1, 29)])
            await until(lambda: len({x.order_id for x in ear.of(e.Accepted)}) >= 24)
        sizes = [len(h.body["orders"]) for h in heard if h.path == BATCH]
        assert sizes == [7] and server.limits.refused == 0
        assert {h.body["exchange_index"] for h in heard if h.path == ORDERS} == {0, 1, 2, 3}

    live(body, tier="basic")


@row("6.9", "More cancels than the bucket holds all leave, as a batch and then one by one.")
def test_many_cancels():
    async def body(server, ear, wire):
        server.do("tier", name="prestige")
        wire._http.budget.set_limits(await wire.rest.limits(), server.now_ns())
        await room(wire, 60)
        for number in range(1, 61):
            wire.send(0, [place(wire, number, (T0, T1, T2, T3)[number % 4], price=4000 + 100 * (number % 8))])
        await until(lambda: len(resting(server)) == 60)
        server.do("tier", name="basic")
        wire._http.budget.set_limits(await wire.rest.limits(), server.now_ns() - SECOND)
        tickers = (T0, T1, T2, T3)
        wire.send(0, [c.Cancel(order_id=n, market=wire.lives.rows[tickers[n % 4]]) for n in range(1, 61)])
        await until(lambda: not resting(server), 4)
        await until(lambda: {x.order_id for x in ear.of(e.Closed)} == set(range(1, 61)))
        assert server.limits.refused == 0
        assert not ear.of(e.AnswerLost) and not ear.of(e.RequestRefused)

    live(body, tier="basic")


@row("6.10", "Every write says its shard, so that none is routed for us and paid from all buckets.")
def test_nothing_is_routed():
    async def body(server, ear, wire):
        market = wire.lives.rows[T3]
        with writes(server) as heard:
            await accepted(ear, wire, place(wire, 1, T3))
            wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
            await ear.until(e.Renewed)
            wire.send(0, [c.Reduce(order_id=1, market=market, remaining=CONTRACT)])
            await ear.until(e.Reduced)
            wire.send(0, [c.Cancel(order_id=1, market=market)])
            await named(ear, e.Closed, 1)
        said = [str(h.query.get("exchange_index", (h.body or {}).get("exchange_index"))) for h in heard]
        assert said == ["3"] * 4

    live(body)


@row(
    "6.11",
    "An answer of 429 empties our count: a cancel is sent again when there is enough, nothing else is.",
)
def test_429():
    async def body(server, ear, wire):
        await asyncio.sleep(0.3)
        await accepted(ear, wire, place(wire, 1, T1))
        server.faults.change({"too_many_requests": 1.0})
        wire.send(
            0,
            [
                place(wire, 2, T1),
                c.Renew(order_id=1, market=wire.lives.rows[T1], expiry_ns=server.now_ns() + 60 * SECOND),
            ],
        )
        assert (await named(ear, e.Refused, 2)).why == "rate_limit"
        assert (await named(ear, e.RequestRefused, 1)).why == "rate_limit"
        assert wire.figures()["write_1"] < 100
        wire.send(0, [c.Cancel(order_id=1, market=wire.lives.rows[T1])])
        await until(lambda: wire.figures()["rate_limited"] >= 4)
        server.faults.change({"too_many_requests": 0})
        assert (await named(ear, e.Closed, 1)).filled == 0
        assert server.requests["create"] == 2 and server.requests["amend"] == 1

    live(body, tier="advanced")


@row("6.12", "Reads have a budget of their own, and public ones, which are not signed, cost nothing.")
def test_reads():
    async def body(server, ear, wire):
        await asyncio.sleep(0.3)
        wrote, read, spent = wire.figures()["write_1"], wire.figures()["read"], server.limits.spent
        for _ in range(5):
            await wire.rest.markets()
        assert server.limits.spent == spent
        await wire.rest.orders()
        await wire.rest.order_groups()
        assert server.limits.spent == spent + 20
        assert wire.figures()["write_1"] >= wrote and wire.figures()["read"] != read

    live(body, tier="basic")


@row("6.13", "A tier that moves while we run is noticed within a minute.")
def test_a_moving_tier():
    async def body(server, ear, wire):
        assert wire._http.budget.limits.usage_tier == "basic"
        server.do("tier", name="premier")
        await until(lambda: wire._http.budget.limits.usage_tier == "premier", 4)
        assert wire._http.budget.limits == await wire.rest.limits()

    live(body, tier="basic", speed=40.0, skew_ms=10**9)


@row("6.14", "A budget that can't be asked for stops the start: no limit is guessed.")
def test_no_limits_no_start():
    async def work():
        async with KalshiStandIn(small(), tier="basic") as server:

            def silent(answer):
                return {k: v for k, v in answer.items() if k != "write"}

            server.rewrites["account_limits"] = silent
            with pytest.raises(DataError, match="write"):
                async with adapter(server, signer(server.key)):
                    pass

    run(work())


@row("6.15", "Buckets begin empty, on each shard, for another process may have spent them a moment ago.")
def test_buckets_begin_empty():
    async def work():
        async with KalshiStandIn(small(), tier="basic") as server:
            for run_number in (1, 2, 3):
                runs = {"prefix": f"conf{run_number}", "first_order": run_number * 100}
                began_ns = server.now_ns()
                async with adapter(server, signer(server.key), up=False, **runs) as (ear, wire):
                    first, now_ns = run_number * 100, server.now_ns()
                    ours = wire._http.budget.tokens(now_ns, (1, 2))
                    assert max(ours["write_1"], ours["write_2"]) <= (now_ns - began_ns) // 10_000_000
                    wire.send(0, [place(wire, n, (T1, T2)[n % 2]) for n in range(first, first + 20)])
                    await until(
                        lambda: len({x.order_id for k in (e.Accepted, e.NotSent) for x in ear.of(k)}) == 20
                    )
            assert server.limits.refused == 0

    run(work())
