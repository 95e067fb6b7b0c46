"""Section 7: limits of our address and of the signer, restarts, where one may trade."""

from __future__ import annotations

import asyncio

import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    desk,
    listening,
    live,
    refusing,
    statuses,
    until,
)
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import batch
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.budget import HOSTS, ROUTES, TIERS, TOTAL, Budget, Charge, Told
from pr3dict.venues.polymarket.http import Call, PolymarketHttp
from pr3dict.venues.polymarket.outcomes import Restriction, Verdict
from standins.polymarket.limits import TIERS as VENUE_TIERS

UNUSED = (
    Unused("Announcements of restarts (Telegram, Discord)", "a restart is learned from its answers"),
    Unused("Co-location", "where the process runs is the operator's choice"),
)
# The published limits of what we call: requests in 10 s, and in 10 minutes.
PUBLISHED = {
    "POST /order": (5_000, 120_000), "DELETE /order": (5_000, 120_000), "POST /orders": (2_000, 21_000),
    "DELETE /orders": (2_000, 15_000), "DELETE /cancel-all": (250, 6_000),
    "DELETE /cancel-market-orders": (1_500, 21_000), "GET /book": (1_500, 0), "POST /books": (500, 0),
    "GET /tick-size": (200, 0), "GET /data/orders": (500, 0), "GET /data/trades": (500, 0),
    "GET /data/order/{}": (900, 0), "GET /balance-allowance": (200, 0),
    "GET /balance-allowance/update": (50, 0), "GET /auth/api-keys": (100, 0),
    "GET /markets/keyset": (300, 0), "GET /events/keyset": (500, 0),
}  # fmt: skip


@row("7.1", "What each route and host takes in ten seconds and ten minutes is what is published.")
def test_published_limits():
    for route, limits in PUBLISHED.items():
        method, _, path = route.partition(" ")
        assert ROUTES[method, path] == limits, route
    assert (TOTAL, HOSTS["clob"], HOSTS["gamma"], HOSTS["data"]) == (15_000, 9_000, 4_000, 1_000)


@row("7.2", "In no ten seconds do more requests leave than a route takes, however they are bunched.")
@pytest.mark.parametrize("route", [("GET", "/balance-allowance/update"), ("DELETE", "/cancel-all")])
def test_windows(route):
    budget, limit = Budget(0), ROUTES[route][0]
    sent, now_ns, step = [], 0, 37_000_000
    for k in range(2_500):
        now_ns += step if k % 700 else 9 * SECOND
        while budget.take(Charge("clob", route), now_ns):
            sent.append(now_ns)
    first = 0
    for k, at in enumerate(sent):
        while sent[first] <= at - 10 * SECOND:
            first += 1
        assert k - first + 1 <= limit
    assert len(sent) > limit


@row("7.3", "Reads and quotes leave room for cancels in what our address may send.")
def test_room_for_cancels():
    budget = Budget(0, "elite")
    while budget.take(Charge("clob", ("GET", "/markets/{}")), 0):
        pass
    assert budget.take(Charge("clob", ("DELETE", "/order"), "cancels", urgent=True), 0)
    assert not budget.take(Charge("clob", ("POST", "/order"), "orders"), 0)


@row("7.4", "The tiers are the published ones; the lowest counts until another one is told.")
def test_tiers():
    assert {name: tuple(tier) for name, tier in TIERS.items()} == VENUE_TIERS
    assert TIERS["standard"] == (40, 60, 80, 120) and TIERS["elite"] == (600, 900, 1_200, 1_800)
    assert Budget(0).tier == "standard"


@row("7.5", "A tier that moves is followed: by the next answer's headers, and at latest within a minute.")
@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_a_moving_tier(speed):
    async def body(t):
        budget = t.wire._http.budget
        assert budget.tier == "standard"
        t.server.do("tier", name="gold")
        if speed == 1.0:
            await accepted(t, 1)
        await until(lambda: budget.tier == "gold")
        assert t.server.requests["place"] == (speed == 1.0)

    live(body, speed=speed)


@row(
    "7.6",
    "A batch costs one token an order and passes or fails as a whole; a sweep costs what it took as well.",
)
def test_costs():
    async def body(server, desk):
        budget, now_ns = desk.http.budget, desk.http.clock.now_ns
        before = budget.tokens(now_ns())
        builts = [desk.build(n, n % 5, price=3_000)[1] for n in range(1, 13)]
        await desk.orders.post_batch(builts)
        assert 11 <= before["orders"] - budget.tokens(now_ns())["orders"] + 1 <= 13
        await desk.orders.cancel_all()
        left = budget.tokens(now_ns())["cancels"]
        assert before["cancels"] - 13 <= left <= before["cancels"] - 13 + 8
        server.limits.bucket(server.now_ns(), desk.signer.address, "orders").tokens = 3
        answers = await desk.orders.post_batch([desk.build(n, 0, price=3_000)[1] for n in range(20, 25)])
        assert {a.outcome.verdict for a in answers} == {Verdict.REFUSED} and not server.venue.open

    desk(body, tier="standard")


@row("7.7", "A sweep is let in with one token and may leave us in debt, which the next cancel waits for.")
def test_debt():
    async def body(server, desk):
        for start in range(1, 46, 15):
            await desk.orders.post_batch(
                [desk.build(n, n % 5, price=3_000)[1] for n in range(start, start + 15)]
            )
        desk.http.budget._signer["cancels"].at_most(desk.http.clock.now_ns(), 5)
        await desk.orders.cancel_all()
        tokens = desk.http.budget.tokens(desk.http.clock.now_ns())["cancels"]
        assert tokens < 0 and not server.venue.open
        charge = Charge("clob", ("DELETE", "/order"), "cancels", urgent=True)
        assert desk.http.budget.wait_ns(charge, desk.http.clock.now_ns()) > 0

    desk(body, tier="standard")


@row(
    "7.8", "429 with the signer's headers is a refusal: an order is not sent again, a cancel is when it can."
)
def test_429_of_the_signer():
    async def body(t):
        await accepted(t, 1)
        t.server.do("arm", fault="too_many_requests", times=1)
        t.place(2)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "rate_limit"
        t.server.do("arm", fault="too_many_requests", times=2)
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0
        assert t.server.requests["place"] == 2 and t.server.requests["cancel"] == 3

    live(body, tier="gold", speed=5.0)


@row("7.9", "429 without them comes from a gateway: whether the order was taken is unknown, and is asked.")
@pytest.mark.parametrize(("fault", "taken"), [("ip_limit_before", False), ("ip_limit_after", True)])
def test_429_of_a_gateway(fault, taken):
    async def body(t):
        t.server.faults.change({fault: 1.0, "drop_user": 1.0})
        t.place(1)
        lost = await t.ear.until(e.AnswerLost, order_id=1)
        assert lost.request == "place"
        t.server.faults.change({fault: 0})
        t.wire.send(0, [c.ReadOrder(order_id=1, market=0, venue_id=t.ear.of(e.Sent)[0].venue_id)])
        assert (await t.ear.until(e.OrderRead)).status == ("open" if taken else "not_found")

    live(body)


@row("7.10", "Twenty quotes of both sides a second fit into a Standard signer's budget without one refusal.")
def test_twenty_requotes_a_second():
    async def body(t):
        loop, number, rounds = asyncio.get_running_loop(), 0, 0
        began, resting = loop.time(), []
        while loop.time() < began + 1.5:
            now_ns, cancels = t.clock.now_ns(), [c.Cancel(order_id=n, market=0) for n in resting]
            resting = [number + 1, number + 2]
            places = [
                c.Place(order_id=number + k, market=0, side=side, price=price + 100 * (rounds % 3),
                        size=5 * CONTRACT, tif=d.POST_ONLY, expiry_ns=now_ns + 300 * SECOND)
                for k, side, price in ((1, d.BID, 4_000), (2, d.ASK, 5_800))
            ]  # fmt: skip
            t.wire.send(now_ns, [*cancels, *places])
            number, rounds = number + 2, rounds + 1
            await asyncio.sleep(max(0.0, began + rounds * 0.05 - loop.time()))
        await t.ear.until(e.Accepted, number - 2)
        await until(lambda: len({x.order_id for x in t.ear.of(e.Closed)}) >= number - 2)
        assert rounds >= 20 and t.server.limits.refused == 0
        assert not t.ear.of(e.NotSent) and not t.ear.of(e.AnswerLost)

    live(body, tier="standard")


@row(
    "7.11",
    "An order that would have to wait too long for the budget does not leave: a late quote is a wrong one.",
)
def test_too_late():
    async def body(t):
        t.wire._http.budget._signer["orders"].at_most(t.clock.now_ns(), -100)
        t.place(1)
        assert (await t.ear.until(e.NotSent, order_id=1)).why == "rate_limit"
        assert t.server.requests["place"] == 0

    live(body, tier="standard")


@row("7.12", "Where the venue counts fewer tokens than we do, its count holds; its warnings are counted.")
def test_its_count_wins():
    budget, charge = Budget(0), Charge("clob", ("POST", "/order"), "orders")
    budget.told(charge, Told(remaining=3, tier="Standard", warned=True), 0)
    assert budget.tokens(0)["orders"] == 3 and budget.warnings == 1
    budget.told(charge, Told(remaining=50), 0)
    assert budget.tokens(0)["orders"] == 3
    budget.refused(charge, Told(remaining=0, reset_ns=2 * SECOND), 0)
    assert budget.wait_ns(charge, 0) >= 2 * SECOND


@row(
    "7.13",
    "A restart (425) refuses orders surely; quoting pauses as long as the venue asks, then tries again.",
)
def test_a_restart():
    async def body(t):
        t.server.do("restart", seconds=3.0, post_only_s=120.0)
        t.place(1)
        assert (await t.ear.until(e.Refused, order_id=1)).why == "not_active"
        [told] = t.ear.of(e.VenueStatus, status="restarting")
        assert told.venue == "polymarket"
        await t.ear.until(e.VenueStatus, 2, status="open")

    live(body, speed=5.0)


@row(
    "7.14",
    "After a restart only post-only orders are taken, and markets say so; a limit order waits until then.",
)
def test_the_window_after_a_restart():
    async def body(t):
        t.server.do("restart", seconds=0.1, post_only_s=3_000.0)
        t.place(1)
        await t.ear.until(e.Refused, order_id=1)
        assert statuses(t)[-1] == d.POST_ONLY_MODE
        await t.ear.until(e.FeedUp, 2)
        await until(lambda: t.server.venue.mode == "post_only")
        await accepted(t, 2)
        t.place(3, tif=d.LIMIT, price=3_900)
        refused = await t.ear.until(e.Refused, order_id=3)
        assert refused.why == "not_active" and "post-only" in refused.text

    live(body, speed=5.0)


@row(
    "7.15", "In a batch each order hears of that window by itself: post-only ones are taken, others are not."
)
def test_a_batch_in_the_window():
    async def body(t):
        t.server.do("post_only", seconds=120.0)
        await batch(t, {"price": 3_900}, {"price": 3_900, "tif": d.LIMIT}, {"price": 3_800})
        assert (await t.ear.until(e.Refused, order_id=2)).why == "not_active"
        await t.ear.until(e.Accepted, 2)
        assert {o.price for o in t.server.venue.open.values()} == {3_900, 3_800}
        assert t.server.requests["place_many"] == 1 and statuses(t)[-1] == d.POST_ONLY_MODE

    live(body)


@row("7.16", "What rests after a restart is read, not assumed: connections are made anew, lost orders show.")
def test_orders_lost_in_a_restart():
    async def body(t):
        await accepted(t, 1)
        t.server.do("restart", seconds=1.0, post_only_s=1.0, loses=1.0)
        t.place(2)
        await t.ear.until(e.Refused, order_id=2)
        await t.ear.until(e.FeedDown)
        await t.ear.until(e.FeedUp, 2)
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        assert (await t.ear.until(e.OrdersRead)).orders == () and not t.ear.of(e.Closed, order_id=1)

    live(body, speed=5.0)


@row("7.17", "Cancels are repeated through a restart until the venue has heard them.")
def test_cancels_through_a_restart():
    async def body(t):
        await accepted(t, 1)
        t.server.do("restart", seconds=0.5, post_only_s=1.0)
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0
        assert t.server.requests["cancel"] >= 2 and not t.server.venue.open

    live(body)


@row("7.18", "While only cancels are taken, quoting pauses, and cancels go at once.")
def test_cancel_only():
    async def body(t):
        await accepted(t, 1)
        t.server.do("cancel_only", seconds=60)
        t.place(2)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "not_active"
        assert t.ear.of(e.VenueStatus, status="paused")
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        await t.ear.until(e.Closed, order_id=1)

    live(body)


@row("7.19", "How long a restricted venue asks to wait is taken from its header or its body.")
def test_how_long():
    async def body(server, desk):
        with refusing(server, "/order", 425, {"error": "service not ready"}, headers={"Retry-After": "7"}):
            _, answer, _ = await desk.place(1)
        assert (answer.outcome.restriction, answer.outcome.retry_ns) == (Restriction.RESTARTING, 7 * SECOND)
        told = {"code": "post_only_mode", "retry_after_seconds": 45, "error": "post-only mode"}
        with refusing(server, "/order", 503, told):
            _, answer, _ = await desk.place(2, tif=d.LIMIT)
        assert (answer.outcome.restriction, answer.outcome.retry_ns) == (Restriction.POST_ONLY, 45 * SECOND)
        with refusing(server, "/order", 503, "Trading is currently cancel-only"):
            _, answer, _ = await desk.place(3)
        assert (answer.outcome.verdict, answer.outcome.restriction) == (
            Verdict.REFUSED,
            Restriction.CANCEL_ONLY,
        )

    desk(body)


@row("7.20", "Where we are is read from the web site, and asked of the order API, whose word counts.")
@pytest.mark.parametrize("blocked", [False, True])
def test_where_we_are(blocked):
    async def body(server, desk):
        server.faults.change({"geoblocked": float(blocked)})
        said = await desk.rest.geoblock()
        assert said.blocked is blocked and said.country
        assert await desk.rest.is_blocked() is blocked

    desk(body)


@row("7.21", "An order from a blocked region is refused; it is not sent another way.")
def test_a_blocked_region():
    async def body(t):
        t.server.faults.change({"geoblocked": 1.0})
        with listening(t.server, writes=True) as heard:
            t.place(1)
            refused = await t.ear.until(e.Refused, order_id=1)
            await asyncio.sleep(0.2)
        assert "region" in refused.text
        assert [h.path for h in heard if h.path.startswith("/order")] == ["/order"]
        assert t.wire._http.hosts.clob == t.server.url

    live(body)


@row("7.22", "The probe carries nothing: no signature, no key, no order.")
def test_the_probe_is_empty():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            await desk.rest.is_blocked()
        [probe] = heard
        assert (probe.method, probe.path, probe.raw) == ("POST", "/order", b"{}")
        assert not [name for name in probe.headers if name.upper().startswith("POLY")]

    desk(body)


@row("7.23", "Every call counts for its route: a path with an id in it is charged as its template.")
def test_templates():
    for call, wanted in (
        (Call("GET", "/data/order/0xab", "/data/order/{}"), ("GET", "/data/order/{}")),
        (Call("POST", "/order"), ("POST", "/order")),
    ):
        assert PolymarketHttp.charge(call).route == wanted and wanted in ROUTES
