"""Section 5, order groups and errors."""

from __future__ import annotations

import asyncio

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    T0,
    T1,
    T2,
    T3,
    accepted,
    adapter,
    live,
    place,
    run,
    signer,
    small,
    until,
)
from conformance.kalshi.rows import row
from conformance.kalshi.trade import Books, error, named, orders, refusing, resting, room, writes
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.units import ASK
from pr3dict.venues.kalshi.outcomes import Verdict, judge
from standins.kalshi import KalshiStandIn, new_key

GROUPS = "/portfolio/order_groups"
LIMIT = {"group_limit": 15 * CONTRACT}


def group_of(wire, ticker):
    return wire._maker.group(wire.lives.rows[ticker])


# --- order groups -------------------------------------------------------------------------------------


@row(
    "5.61",
    "Each shard that we trade on has an order group, made at the start, and its orders are in it.",
)
def test_a_group_for_each_shard():
    async def body(server, ear, wire):
        groups = {g["id"]: g for g in server.do("truth")["groups"]}
        assert sorted(g["exchange_index"] for g in groups.values()) == [0, 1, 2, 3]
        assert {g["contracts_limit_fp"] for g in groups.values()} == {"15.00"}
        wire.send(0, [place(wire, n, t) for n, t in enumerate((T0, T1, T2, T3), 1)])
        await ear.until(e.Accepted, 4)
        placed = {
            (groups[o["order_group_id"]]["exchange_index"], o["exchange_index"])
            for o in orders(server).values()
        }
        assert placed == {(n, n) for n in range(4)}
        assert len(await wire.rest.order_groups()) == 4
        found = await wire.rest.order_group(group_of(wire, T1), exchange_index=1)
        assert found.orders == (orders(server)["conf1-2"]["order_id"],)

    live(body, terms=LIMIT)


@row("5.62", "A limit is whole contracts, rounded up, and at least one.")
@pytest.mark.parametrize(("limit", "said"), [(1, 1), (CONTRACT, 1), (2_500_000, 3), (40 * CONTRACT, 40)])
def test_a_limit(limit, said):
    async def body(server, ear, wire):
        with writes(server) as heard:
            made = await wire._requests.create_group(limit, shard=2)
        assert heard[0].path == f"{GROUPS}/create"
        assert heard[0].body == {"contracts_limit": said, "exchange_index": 2, "subaccount": 0}
        assert server.venue.groups[made.body.order_group_id].limit == said * CONTRACT

    live(body)


@row(
    "5.63", "A group that fires halts us: its orders are over, none leaves, and nothing arms it but a person."
)
def test_a_group_fires():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(*(place(wire, n, price=4900) for n in (1, 2, 3)), place(wire, 4, T1))
        await ear.until(e.Accepted, 4)
        with writes(server) as heard:
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="16")
            await ear.until(e.Halt)
            assert (await named(ear, e.Closed, 3)).filled == 0
            books.send(place(wire, 5))
            assert "order group" in (await named(ear, e.NotSent, 5)).why
            await asyncio.sleep(0.1)
        assert heard == [] and set(resting(server)) == {"conf1-4"}  # the other shard's stays
        with writes(server) as heard:
            await wire.arm()
            assert [(h.method, h.path) for h in heard] == [("PUT", f"{GROUPS}/{group_of(wire, T0)}/reset")]
        await accepted(ear, wire, place(wire, 6))

    live(body, terms=LIMIT)


@row("5.64", "A group that fires while orders are under way halts us even if its notice is lost.")
@pytest.mark.parametrize("count", [1, 5])
def test_a_group_fires_under_way(count):
    async def body(server, ear, wire):
        await room(wire)
        group = server.venue.groups[group_of(wire, T0)]
        group.triggered = True  # and nobody was told
        books = Books(server, ear, wire)
        books.send(*(place(wire, n) for n in range(1, count + 1)))
        for number in range(1, count + 1):
            await named(ear, e.Refused, number)
            assert books.state(number) == ""
        halt = await ear.until(e.Halt)
        assert group.id in halt.command_id and len(ear.of(e.Halt)) == 1
        books.send(place(wire, 10))
        await named(ear, e.NotSent, 10)

    live(body, terms=LIMIT)


@row("5.65", "Orders that wait for the budget when their group fires never leave.")
def test_orders_wait_while_a_group_fires():
    async def body(server, ear, wire):
        await room(wire, 4)
        wire.send(0, [place(wire, n, price=4500) for n in range(1, 14)])
        await until(lambda: len(orders(server)) >= 7)
        server.do("trigger_group", group=group_of(wire, T0))
        await ear.until(e.Halt)
        told = [x.order_id for kind in (e.Accepted, e.Refused, e.NotSent) for x in ear.of(kind)]
        await until(lambda: not resting(server) and len(ear.of(e.NotSent)) >= 1)
        await asyncio.sleep(0.6)
        assert len(orders(server)) < 13 and not resting(server) and told

    live(body, tier="basic", terms=LIMIT)


@row("5.66", "A lower limit fires at once where more has traded already.")
def test_a_lower_limit():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T1, price=4900))
        server.do("take", ticker=T1, taker="ask", price="0.4900", contracts="5")
        await ear.until(e.Filled)
        with writes(server) as heard:
            answer = await wire._requests.set_group_limit(group_of(wire, T1), 4 * CONTRACT, shard=1)
        assert answer.outcome.verdict is Verdict.ACCEPTED and heard[0].body == {"contracts_limit": 4}
        assert heard[0].query == {"subaccount": "0", "exchange_index": "1"}
        await ear.until(e.Halt)
        assert (await named(ear, e.Closed, 1)).filled == 5 * CONTRACT

    live(body, terms=LIMIT)


@row(
    "5.67",
    "A trigger of our own cancels what a group has; calls about a group name subaccount and shard.",
)
def test_a_trigger():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T2))
        with writes(server) as heard:
            answer = await wire._requests.trigger_group(group_of(wire, T2), shard=2)
        assert answer.outcome.verdict is Verdict.ACCEPTED
        assert heard[0].query == {"subaccount": "0", "exchange_index": "2"}
        assert (await named(ear, e.Closed, 1)).filled == 0
        await ear.until(e.Halt)
        wrong = await wire._requests.reset_group(group_of(wire, T2), shard=0)
        assert wrong.status == 404  # another shard does not know it

    live(body, terms=LIMIT)


@row("5.68", "Arming a group again counts from zero; one that is gone is replaced before any order leaves.")
@pytest.mark.parametrize("deleted", [False, True])
def test_arming(deleted):
    async def body(server, ear, wire):
        old = group_of(wire, T0)
        await accepted(ear, wire, place(wire, 1, price=4900, size=15 * CONTRACT))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="15")
        if deleted:
            answer = await wire._requests.delete_group(old, shard=0)
            assert answer.outcome.verdict is Verdict.ACCEPTED
        else:
            server.do("trigger_group", group=old)
        await ear.until(e.Halt)
        await wire.arm()
        assert (group_of(wire, T0) != old) == deleted and set(wire.groups) == set(server.venue.groups)
        await accepted(ear, wire, place(wire, 2, price=4900, size=15 * CONTRACT))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="15")
        await ear.until(e.Filled, 2)
        await accepted(ear, wire, place(wire, 3))

    live(body, terms=LIMIT)


@row("5.69", "A group that can't be armed stays fired, and we stay halted.")
def test_arming_in_vain():
    async def body(server, ear, wire):
        server.do("trigger_group", group=group_of(wire, T0))
        await ear.until(e.Halt)
        with (
            refusing(server, "reset_group", 403, error("forbidden")),
            pytest.raises(WorkError, match="not armed"),
        ):
            await wire.arm()
        wire.send(0, [place(wire, 1)])
        await named(ear, e.NotSent, 1)

    live(body, terms=LIMIT)


# --- errors -------------------------------------------------------------------------------------------

SHAPES = [
    ({"error": {"code": "invalid_order", "message": "no", "details": "bad"}}, "invalid_order: no: bad"),
    ({"code": "invalid_order", "message": "no", "details": "bad"}, "invalid_order: no: bad"),
    ({"msg": "no"}, "no"),
    ({"error": "no"}, "no"),
]


@row("5.70", "An error is read in each shape that Kalshi has for one, and its words are kept.")
@pytest.mark.parametrize(("shape", "text"), SHAPES)
def test_shapes(shape, text):
    async def body(server, ear, wire):
        with refusing(server, "create", 400, shape):
            wire.send(0, [place(wire, 1)])
            assert (await named(ear, e.Refused, 1)).text == text

    live(body)


MEANINGS = [
    (400, "bad_request", "", "none"),
    (400, "invalid_order", "post only cross", "post_only_cross"),
    (400, "invalid_order_size", "", "min_size"),
    (400, "available_balance_too_low", "", "no_cash"),
    (400, "insufficient_balance", "", "no_cash"),
    (400, "invalid_order", "expiration_time must be in the future", "expired"),
    (400, "order_side_mismatch", "", "none"),
    (400, "order_ticker_mismatch", "", "none"),
    (400, "order_id_and_client_order_id_mismatch", "", "none"),
    (401, "authentication_error", "INCORRECT_API_KEY_SIGNATURE", "none"),
    (403, "forbidden", "insufficient scope", "none"),
    (404, "market_not_found", "", "not_active"),
    (404, "user_not_found", "", "no_cash"),
    (409, "fill_or_kill_insufficient_resting_volume", "", "unfilled_ioc"),
    (410, "deprecated_v1_order_endpoint", "", "none"),
    (429, "too_many_requests", "", "rate_limit"),
    (422, "a_code_that_nobody_knows", "", "none"),
]


@row("5.71", "Each code of a refusal is a proof that nothing was done, in our words where there is one.")
def test_refusals():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        for number, (status, code, details, why) in enumerate(MEANINGS, 1):
            with refusing(server, "create", status, error(code, details)):
                books.send(place(wire, number))
                refused = await named(ear, e.Refused, number)
            assert refused.why == why and code in refused.text and books.state(number) == ""
        assert not orders(server)

    live(body)


UNKNOWNS = [
    (409, {"error": {"code": "order_already_exists"}}),
    (409, {"error": {"code": "something_new", "message": "x"}}),
    (500, {"code": "internal_error"}),
    (503, {"code": "service_unavailable"}),
    (504, {"code": "timeout"}),
    (502, "bad gateway"),
    (403, "a page of somebody in between"),
    (404, ["not", "an", "error"]),
]


@row(
    "5.72",
    "What is no proof leaves the order in doubt: server errors, unknown conflicts, words of a gateway.",
)
def test_doubts():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        for number, (status, said) in enumerate(UNKNOWNS, 1):
            with refusing(server, "create", status, said):
                books.send(place(wire, number))
                await named(ear, e.AnswerLost, number)
            assert books.state(number) == "unknown"
        assert judge(308, b"").verdict is Verdict.UNKNOWN

    live(body)


@row(
    "5.73",
    "A server error after an order was taken, or before: a look-up tells which, nothing is sent twice.",
)
@pytest.mark.parametrize(
    "fault", ["error_after_apply", "lost_answer", "malformed_answer", "error_before_apply", "lost_request"]
)
def test_lost_answers(fault):
    async def body(server, ear, wire):
        server.faults.change({fault: 1.0, "drop_private": 1.0})
        books = Books(server, ear, wire)
        books.send(place(wire, 1))
        await named(ear, e.AnswerLost, 1)
        assert bool(ear.of(e.Malformed)) == (fault == "malformed_answer")
        applied = fault not in ("error_before_apply", "lost_request")
        wire.send(0, [c.ReadOrder(order_id=1, market=wire.lives.rows[T0])])
        read = await named(ear, e.OrderRead, 1)
        assert read.status == ("open" if applied else "not_found")
        assert books.state(1) == ("live" if applied else "unknown")
        assert server.requests["create"] == 1 and len(orders(server)) == applied

    live(body)


@row("5.74", "A batch that fails as a whole is refused or lost as a whole.")
@pytest.mark.parametrize(("status", "kind"), [(400, e.Refused), (429, e.Refused), (500, e.AnswerLost)])
def test_a_batch_fails(status, kind):
    async def body(server, ear, wire):
        await room(wire)
        with refusing(server, "create_batch", status, error("whatever")):
            wire.send(0, [place(wire, n) for n in range(1, 6)])
            await ear.until(kind, 5)
        assert {x.order_id for x in ear.of(kind)} == {1, 2, 3, 4, 5} and not orders(server)

    live(body)


@row(
    "5.75",
    "An order that the shard's money does not cover is refused; a shard without any money has no account.",
)
def test_no_money():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T0, price=4800, size=25 * CONTRACT)])  # 12 dollars, and 10 are there
        assert (await named(ear, e.Refused, 1)).why == "no_cash"
        wire.send(0, [place(wire, 2, T3)])
        refused = await named(ear, e.Refused, 2)
        assert refused.why == "no_cash" and "user" in refused.text

    live(body, shards=(0, 1, 2), cash_dollars=10.0)


@row("5.76", "Where a shard has no money, a start that needs an order group there says so.")
def test_no_group_without_money():
    async def work():
        async with KalshiStandIn(small(), tier="prestige", shards=(0, 1, 2)) as server:
            with pytest.raises(WorkError, match=r"shard 3 .*no money there"):
                async with adapter(server, signer(server.key), **LIMIT):
                    pass

    run(work())


@row("5.77", "A key that may only read, or is not known, places nothing; it is refused, not lost.")
@pytest.mark.parametrize("known", [True, False])
def test_keys(known):
    key = new_key(scopes=("read",))

    async def body(server, ear, wire):
        if not known:
            del server.doorkeeper.keys[key.id]
        wire.send(0, [place(wire, 1)])
        refused = await named(ear, e.Refused, 1)
        assert ("scope" in refused.text) == known and not orders(server)

    live(body, key=key)


@row("5.78", "A refused change of an order leaves the order as it was, and says so.")
def test_refused_changes():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        market = wire.lives.rows[T0]
        books.send(place(wire, 1))
        await named(ear, e.Accepted, 1)
        with refusing(server, "decrease", 400, error("invalid_order_size")):
            books.send(c.Reduce(order_id=1, market=market, remaining=CONTRACT))
            assert (await named(ear, e.RequestRefused, 1)).request == "reduce"
        assert books.state(1) == "live" and wire.orders.get(1).total == 10 * CONTRACT
        with refusing(server, "amend", 400, error("order_ticker_mismatch")):
            books.send(c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 10**11))
            await until(lambda: len(ear.of(e.RequestRefused)) == 2)
        assert books.state(1) == "live" and books.account.order(1).remaining == 10 * CONTRACT
        books.send(c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 10**11))
        await ear.until(e.Renewed)
        assert resting(server)["conf1-1"]["remaining_count_fp"] == "10.00"

    live(body)


@row("5.79", "A reduction whose answer is lost is in doubt; no renewal guesses what it left.")
@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_reduction(applied):
    async def body(server, ear, wire):
        market = wire.lives.rows[T0]
        await accepted(ear, wire, place(wire, 1, side=ASK, price=5100))
        await asyncio.sleep(0.3)
        server.faults.change(
            {"drop_private": 1.0, "error_after_apply" if applied else "error_before_apply": 1.0}
        )
        wire.send(0, [c.Reduce(order_id=1, market=market, remaining=4 * CONTRACT)])
        assert (await named(ear, e.AnswerLost, 1)).request == "reduce"
        server.faults.change(
            {"error_after_apply": 0, "error_before_apply": 0, "read_lag_ms": [250, 250] if applied else 0}
        )
        for _ in range(40):
            wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 10**11)])
            await asyncio.sleep(0.05)
            if ear.of(e.Renewed):
                break
        assert resting(server)["conf1-1"]["remaining_count_fp"] == ("4.00" if applied else "10.00")
        assert ear.of(e.Renewed)

    live(body)
