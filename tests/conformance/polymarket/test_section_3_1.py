"""Section 3, first part: prices and sizes, what an order says, its kinds."""

from __future__ import annotations

import json
from decimal import ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    catalog,
    desk,
    listening,
    live,
    until,
)
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import batch, filled, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import POLYMARKET_TICKS, polymarket_grid
from pr3dict.domain.units import parse_price, parse_quantity
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.amounts import AMOUNT_PLACES, limit_amounts
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.requests import batch_body
from standins.polymarket import MarketSpec

UNUSED = (
    Unused("The deferred execution of an order (`deferExec`)", "no official client asks for it either"),
    Unused("`associate_trades`, and the hashes of transactions", "trades name their orders"),
)  # fmt: skip
RESULTS = (  # tick, price, size, side, makerAmount, takerAmount, as the official client makes them
    ("0.01", ".53", "100", "BUY", 53_000_000, 100_000_000),
    ("0.01", ".53", "21.047", "SELL", 21_040_000, 11_151_200),
    ("0.001", ".973", "17.33", "BUY", 16_862_090, 17_330_000),
    ("0.0025", ".4825", "7.77", "BUY", 3_749_025, 7_770_000),
    ("0.005", ".485", "7.77", "SELL", 7_770_000, 3_768_450),
)
PLACES = {"0.1": 3, "0.01": 4, "0.005": 5, "0.0025": 6, "0.001": 5, "0.0001": 6}  # of an amount


def of_tick(tick: int):
    """A market with this tick alone."""
    return catalog(MarketSpec("one", "event", ticks=(tick,)))


# --- amounts ----------------------------------------------------------------------------------------


@row("3.1", "Amounts of an order are those of the official clients, at each tick that was published.")
def test_published_amounts():
    for tick, price, size, side, maker, taker in RESULTS:
        made = limit_amounts(side, parse_price(price), parse_quantity(size), parse_price(tick))
        assert tuple(made) == (maker, taker)


@row("3.2", "Sizes have two decimals, down; amounts have the decimals that the venue's table gives a tick.")
@settings(max_examples=100, deadline=None)
@given(st.sampled_from(POLYMARKET_TICKS), st.data())
def test_amounts_by_the_table(tick, data):
    price = data.draw(st.sampled_from(polymarket_grid(tick).prices()))
    size = data.draw(st.integers(10_000, 10**11))
    side = data.draw(st.sampled_from(("BUY", "SELL")))
    tokens = (Decimal(size) / 10**6).quantize(Decimal("0.01"), ROUND_FLOOR)  # the published rule, in decimals
    places = PLACES[f"{Decimal(tick) / 10_000:f}"]
    money = (tokens * price / 10_000).quantize(Decimal(1).scaleb(-places), ROUND_FLOOR)
    wanted = (money, tokens) if side == "BUY" else (tokens, money)
    assert tuple(limit_amounts(side, price, size, tick)) == tuple(int(x * 10**6) for x in wanted)
    assert AMOUNT_PLACES[tick] == places


@row("3.3", "Every price of every tick's grid is taken by the venue, from one tick to a dollar less one.")
@pytest.mark.parametrize("tick", POLYMARKET_TICKS)
def test_every_tick(tick):
    async def body(_, desk):
        prices = [tick, 2 * tick, 10_000 - tick, 5_000 - tick]
        for number, price in enumerate(prices, 1):
            side = d.BID if price < 5_000 else d.ASK
            built, answer, _ = await desk.place(number, price=price, side=side)
            if answer.outcome.verdict is not Verdict.ACCEPTED:
                assert answer.outcome.why == "post_only_cross" and 4_000 < price < 6_000
                continue
            seen = await desk.rest.order(built.digest)
            assert int(seen.price) in (price, 10_000 - price)

    desk(body, catalog=of_tick(tick))


@row("3.4", "A price off the grid never leaves: a multiple of the tick counts, not a number of decimals.")
@pytest.mark.parametrize(("tick", "price"), [(100, 4_550), (50, 4_830), (25, 4_830), (10, 4_555), (100, 0)])
def test_off_the_grid(tick, price):
    async def body(t):
        t.wire.send(0, [order(1, price, 10 * CONTRACT)])
        not_sent = await t.ear.until(e.NotSent)
        assert not_sent.order_id == 1 and not t.server.do("truth")["orders"]
        assert t.server.requests["place"] == 0

    live(body, catalog=of_tick(tick))


@row("3.5", "A size that is no multiple of 0.01 contract never leaves.")
def test_dust():
    async def body(t):
        t.wire.send(0, [order(1, 4_000, 10 * CONTRACT + 5_000)])
        assert (await t.ear.until(e.NotSent)).order_id == 1
        await accepted(t, 2, size=10 * CONTRACT + 10_000)
        (resting,) = t.server.do("truth")["open_orders"]
        assert resting["original_size"] == "10.01"

    live(body)


@row("3.6", "The least size is the market's own; what is smaller would be refused for sure, as too small.")
def test_least_size():
    async def body(t):
        assert t.lives[0].listing.min_size == 5 * CONTRACT
        t.wire.send(0, [order(1, 4_000, 4 * CONTRACT)])
        assert (await t.ear.until(e.Refused)).why == "min_size"
        await accepted(t, 2, size=5 * CONTRACT)

    live(body)


# --- what an order says -----------------------------------------------------------------------------


@row("3.7", "The body is as published: salt and signature type are numbers, all other numbers texts.")
def test_body():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            built, _, _ = await desk.place(1)
        sent = heard[0].body
        assert set(sent) == {"order", "owner", "orderType", "postOnly", "deferExec"}
        assert (sent["owner"], sent["orderType"]) == (desk.http.key.key, "GTC")
        assert sent["postOnly"] is True and sent["deferExec"] is False
        numbers = {name for name, value in sent["order"].items() if type(value) is int}
        assert numbers == {"salt", "signatureType"}
        assert {type(value) for name, value in sent["order"].items() if name not in numbers} == {str}
        assert (sent["order"]["makerAmount"], sent["order"]["takerAmount"]) == ("4000000", "10000000")
        assert heard[0].raw == built.body() and heard[0].path == "/order"

    desk(body)


@row("3.8", "A bid buys YES at its price; an ask without inventory buys NO at what is left of the dollar.")
def test_both_sides_buy():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            await desk.place(1, price=4_000)
            await desk.place(2, side=d.ASK, price=6_100)
        said = [(h.body["order"]["tokenId"], h.body["order"]["side"]) for h in heard]
        assert said == [(desk.terms[0].yes, "BUY"), (desk.terms[0].no, "BUY")]
        prices = [int(order.price) for order in await desk.rest.open_orders()]
        assert sorted(prices) == [3_900, 4_000]

    desk(body)


@row("3.9", "Several orders at once are one request of at most 15; each has its own answer, in their order.")
def test_batches():
    async def body(t):
        changes = [{"price": 3_000 + 100 * (k % 10)} for k in range(17)]
        changes[3] = {"price": 5_100}  # crosses nothing as a bid below the ask
        changes[5] = {"price": 9_000}  # crosses

        def refused():
            return {x.order_id for x in t.ear.of(e.Refused)}

        with listening(t.server, writes=True) as heard:
            await batch(t, *changes)
            await until(lambda: len({x.order_id for x in t.ear.of(e.Accepted)} | refused()) == 17)
        sizes = [len(h.body) for h in heard if h.path == "/orders"]
        assert sorted(sizes) == [2, 15]
        assert refused() == {6} and t.ear.of(e.Refused)[0].why == "post_only_cross"
        assert len(t.server.do("truth")["open_orders"]) == 16

    live(body, tier="elite")


@row("3.10", "A batch of more than 15 would be refused as a whole; none is ever sent.")
def test_most_of_a_batch():
    async def body(_, desk):
        built = [desk.build(number)[1] for number in range(1, 17)]
        with pytest.raises(Exception, match="1 to 15"):
            await desk.orders.post_batch(built)
        whole = Call("POST", "/orders", body=batch_body(built), auth="l2", kind="orders", tokens=16)
        reply = await desk.http.call(whole)
        assert reply.status == 400 and b"Too many orders in payload" in reply.body

    desk(body, tier="elite")


# --- kinds of orders --------------------------------------------------------------------------------


@row("3.11", "An order without an end is GTC with expiration 0, and rests until it is cancelled.")
def test_gtc():
    async def body(server, desk):
        built, _, _ = await desk.place(1)
        assert (built.post.order_type, built.post.order.expiration, built.expires_ns) == ("GTC", "0", 0)
        server.pass_time(24 * 3_600)
        assert (await desk.rest.order(built.digest)).status == "LIVE"

    desk(body, speed=0)


@row("3.12", "An order with an end is GTD with a minute added, because the venue ends it a minute early.")
def test_gtd():
    async def body(server, desk):
        until_ns = server.now_ns() + 300 * SECOND
        built, answer, _ = await desk.place(1, expiry_ns=until_ns)
        assert built.post.order_type == "GTD" and answer.outcome.verdict is Verdict.ACCEPTED
        assert int(built.post.order.expiration) == until_ns // SECOND + 60
        server.pass_time(298)
        assert (await desk.rest.order(built.digest)).status == "LIVE"
        server.pass_time(4)
        assert (await desk.rest.order(built.digest)).status.startswith("CANCELED")
        assert abs(built.expires_ns - until_ns) < SECOND

    desk(body, speed=0)


@row("3.13", "The venue takes no end that is nearer than three minutes: a shorter life becomes two minutes.")
def test_shortest_gtd():
    async def body(server, desk):
        built, answer, _ = await desk.place(1, expiry_ns=server.now_ns() + 30 * SECOND)
        assert answer.outcome.verdict is Verdict.ACCEPTED
        ahead_s = int(built.post.order.expiration) - server.now_ns() // SECOND
        assert 180 <= ahead_s <= 181 and built.expires_ns == (server.now_ns() // SECOND + 121) * SECOND
        sent = built.post.order
        soon = replace(sent, expiration=str(int(sent.expiration) - 30))
        refused = await desk.orders.post(built._replace(post=replace(built.post, order=soon)))
        assert (refused.outcome.verdict, refused.outcome.why) == (Verdict.REFUSED, "expired")

    desk(body, speed=0)


@row("3.14", "A sale that must fill whole is FOK; a purchase never is, since it would state dollars.")
def test_fok():
    async def body(t):
        t.server.do("split", market="plain-0", shares="300")
        with listening(t.server, writes=True) as heard:
            t.wire.send(0, [order(1, 4_800, 200 * CONTRACT, tif=d.FOK, side=d.ASK, sell=True)])
            assert (await t.ear.until(e.Refused)).why == "unfilled_ioc"
        sent = heard[0].body
        assert (sent["orderType"], sent["postOnly"], sent["order"]["expiration"]) == ("FOK", False, "0")
        t.wire.send(0, [order(2, 4_800, 10 * CONTRACT, tif=d.FOK, side=d.ASK, sell=True)])
        closed = await t.ear.until(e.Closed, order_id=2)
        assert (closed.why, closed.filled) == ("filled", 10 * CONTRACT)
        t.wire.send(0, [order(3, 5_200, 10 * CONTRACT, tif=d.FOK)])
        assert (await t.ear.until(e.NotSent)).order_id == 3

    live(body)


@row(
    "3.15",
    "A sale that must trade at once is FAK, in contracts: what finds nobody is killed.",
)
def test_fak_sell():
    async def body(t):
        t.server.do("split", market="plain-0", shares="200")
        with listening(t.server, writes=True) as heard:
            t.wire.send(0, [order(1, 4_800, 150 * CONTRACT, tif=d.IOC, side=d.ASK, sell=True)])
            closed = await t.ear.until(e.Closed, order_id=1)
        assert heard[0].body["orderType"] == "FAK"
        assert heard[0].body["order"]["makerAmount"] == "150000000"
        assert closed.why == "unfilled_ioc"
        assert sum(f.size for f in await filled(t, 100 * CONTRACT)) == 100 * CONTRACT
        t.wire.send(0, [order(2, 4_800, 10 * CONTRACT, tif=d.IOC, side=d.ASK, sell=True)])
        assert (await t.ear.until(e.Refused, order_id=2)).why == "unfilled_ioc"

    live(body)


@row("3.16", "Post-only stands in limit orders alone; one that crosses is refused for sure, never moved.")
def test_post_only():
    async def body(t):
        t.place(1, price=5_200)
        assert (await t.ear.until(e.Refused)).why == "post_only_cross"
        t.place(2, price=5_200, side=d.ASK)  # buys NO at 0.48, where NO is bid
        await t.ear.until(e.Accepted, order_id=2)
        assert not t.ear.of(e.Filled) and len(t.server.do("truth")["open_orders"]) == 1

    live(body)


@row("3.17", "Nothing is changed in place: a change or renewal is refused here, and asks the venue nothing.")
def test_no_amendment():
    async def body(t):
        await accepted(t, 1)
        asked = t.server.requests.total()
        t.wire.send(0, [c.Reduce(order_id=1, market=0, remaining=2 * CONTRACT)])
        t.wire.send(0, [c.Renew(order_id=1, market=0, expiry_ns=t.clock.now_ns() + 900 * SECOND)])
        await t.ear.until(e.RequestRefused, 2)
        assert t.server.requests.total() == asked and not t.lives[0].listing.reduce_in_place

    live(body)


@row("3.18", "A tick that changed is followed: prices of the new grid are taken, old ones never leave.")
def test_tick_moves():
    async def body(t):
        await accepted(t, 1, price=4_000)
        t.server.do("change_tick", market="plain-0", tick="0.001")
        await until(lambda: t.wire.lives.of_row(0).tick == 10)
        await accepted(t, 2, price=4_010)
        t.server.do("change_tick", market="plain-0", tick="0.01")
        await until(lambda: t.wire.lives.of_row(0).tick == 100)
        t.place(3, price=4_010)
        assert (await t.ear.until(e.NotSent)).order_id == 3

    live(body)


@row("3.19", "A market that Gamma lists before its book is ready refuses orders for sure, as not active.")
def test_not_ready():
    async def body(server, desk):
        terms = desk.terms[0]
        server.venue.by_condition[terms.condition].status = "waiting"
        _, answer, _ = await desk.place(1)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "not_active")

    desk(body)


@row("3.20", "Amounts and ids are texts in JSON, so that no digit is lost on the way.")
def test_no_digit_is_lost():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            built, _, _ = await desk.place(1, size=9_999_990_000, price=100)
        again = json.loads(heard[0].raw.decode(), parse_int=str)
        assert again["order"]["tokenId"] == desk.terms[0].yes and len(desk.terms[0].yes) == 77
        assert again["order"]["takerAmount"] == "9999990000" and again["order"]["salt"].isdecimal()
        assert built.size == 9_999_990_000

    desk(body)
