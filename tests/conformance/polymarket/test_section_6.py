"""Section 6: the taker's fee, maker rebates, liquidity rewards."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from conformance.polymarket.bench import CONTRACT, accepted, catalog, changed, desk, live, run, until
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import Books, batch, filled, final, lone, next_second, order, other_trader
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import charge, polymarket_schedule, polymarket_terms
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.markets import fee_terms, listed
from standins.polymarket import MarketSpec, PolymarketStandIn, small_catalog
from standins.polymarket.catalog import FEES
from standins.polymarket.probe import Probe
from standins.polymarket.values import NO, YES

UNUSED = (
    Unused("Builder codes and their fees", "our orders carry none"),
    Unused("Sponsoring a reward programme", "we earn rewards, we don't pay them"),
)
NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 10**9
# category, rate, rebate share, fee of 100 contracts at .50 and at .10
TABLE = [
    ("crypto", 70_000, 200_000, 1_750_000, 630_000),
    ("sports", 50_000, 150_000, 1_250_000, 450_000),
    *((name, 40_000, 250_000, 1_000_000, 360_000) for name in ("finance", "politics", "mentions", "tech")),
    *((name, 50_000, 250_000, 1_250_000, 450_000) for name in ("economics", "culture", "weather", "other")),
    ("geopolitics", 0, 0, 0, 0),
]


def fee(terms, contracts, price):
    size = round(contracts * CONTRACT)
    return charge(terms, price=price, size=size, revenue_micros=0, maker=False).fee_micros


@row("6.1", "A taker pays contracts x rate x p(1 - p): the published table, category by category.")
@pytest.mark.parametrize(("category", "rate", "share", "at_half", "at_tenth"), TABLE)
def test_table(category, rate, share, at_half, at_tenth):
    terms = polymarket_schedule(category).at(NOON)
    assert (terms.taker_ppm, terms.rebate_ppm, terms.maker_ppm) == (rate, share, 0)
    assert (fee(terms, 100, 5_000), fee(terms, 100, 1_000)) == (at_half, at_tenth)
    assert fee(terms, 100, 9_000) == at_tenth


@row("6.2", "It is rounded to five decimals of a dollar: what is less than half of the last one is free.")
def test_rounding():
    terms = polymarket_terms(40_000, 250_000)
    for contracts in (0.01, 0.02, 0.03, 0.37, 7.77, 123.45):
        for price in (1, 25, 100, 1_234, 4_900, 9_999):
            p = Fraction(price, 10_000)
            exact = Fraction(str(contracts)) * Fraction(4, 100) * p * (1 - p)
            units = (exact * 100_000 * 2 + 1) // 2
            assert fee(terms, contracts, price) == units * 10
    assert fee(terms, 0.01, 100) == 0 and fee(terms, 0.03, 100) == 10


@row(
    "6.3",
    "A purchase pays it on top and a sale gets that much less; books and balance agree to the last digit.",
)
@pytest.mark.parametrize("category", sorted(FEES))
def test_money(category):
    async def body(t):
        books = Books(t)
        before = books.account.cash_micros
        rate = FEES[category][1]
        books.send(order(1, 5_200, 37 * CONTRACT, tif=d.LIMIT))
        await filled(t, 37 * CONTRACT)
        await final(t)
        bought = round(Fraction(37 * rate * 52 * 48, 10_000) / 10) * 10
        books.hear()
        assert before - books.account.cash_micros == 37 * 520_000 + bought
        await next_second(t)
        books.send(order(2, 4_800, 37 * CONTRACT, side=d.ASK, sell=True, tif=d.IOC))
        await filled(t, 37 * CONTRACT, 2)
        await final(t)
        books.hear()
        assert before - books.account.cash_micros == 37 * 40_000 + 2 * bought
        await books.agree()
        fees = t.server.do("truth")["fees"].values()
        assert sum(map(int, fees)) == books.account.fees_micros(0) == 2 * bought

    live(body, speed=10.0, catalog=catalog(MarketSpec("one", "one", category=category)))


@row("6.4", "Makers pay nothing; what their fills give back of the taker's fee is told with them.")
def test_makers():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 100 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="100")
        await filled(t, 100 * CONTRACT)
        books.hear()
        assert books.account.fees_micros(0) == 0
        terms = t.lives[0].fees
        made = charge(terms, price=4_900, size=100 * CONTRACT, revenue_micros=0, maker=True)
        assert (made.fee_micros, made.rebate_micros) == (0, 249_900)  # a quarter of 0.99960

    live(body)


@row(
    "6.5", "The fee is no part of what is signed, and no order names a builder, whose fee would come on top."
)
def test_not_signed():
    async def body(server, desk):
        _, built = desk.build(1)
        said = json.loads(built.body())["order"]
        assert not {"feeRateBps", "nonce", "taker"} & set(said)
        assert said["builder"] == said["metadata"] == "0x" + "00" * 32

    desk(body)


@row("6.6", "Each market's own numbers count, the order API's before the catalogue's, a type's name never.")
def test_own_numbers():
    async def body(server, desk):
        [market] = (await desk.rest.gamma_markets()).items
        clob = await desk.rest.clob_market(market.condition_id)
        assert fee_terms(market).taker_ppm == fee_terms(market, clob).taker_ppm == 40_000
        assert fee_terms(market, clob).rebate_ppm == 250_000
        changed(server, "clob_market", lambda body: body | {"fd": {"r": 0.031, "e": 1, "to": True}})
        other = await desk.rest.clob_market(market.condition_id)
        assert fee_terms(market, other).taker_ppm == 31_000
        changed(server, "gamma_markets", unknown_type)
        [unknown] = (await desk.rest.gamma_markets()).items
        assert fee_terms(unknown).taker_ppm == 12_500

    desk(body, catalog=small_catalog(1))


def unknown_type(body):
    fees = {"rate": 0.0125, "exponent": 1, "takerOnly": True, "rebateRate": 0.5}
    return body | {"markets": [m | {"feeType": "moon_fees", "feeSchedule": fees} for m in body["markets"]]}


@row("6.7", "A market whose fee has another curve than p(1 - p) is not listed: quotes don't reckon with it.")
def test_another_curve():
    async def body(server, desk):
        changed(server, "clob_market", lambda body: body | {"fd": {"r": 0.25, "e": 2, "to": True}})
        [market] = (await desk.rest.gamma_markets()).items
        clob = await desk.rest.clob_market(market.condition_id)
        with pytest.raises(DataError, match="exponent 2"):
            listed(market, row=0, clob=clob)

    desk(body, catalog=small_catalog(1))


@row("6.8", "What a trade says of its fee rate is not believed: it is often 0, or a number of old times.")
@pytest.mark.parametrize("said", ["0", "1000"])
def test_fee_rate_bps(said):
    async def body(t):
        from standins.polymarket.state import Trade

        real = Trade.json

        def told(trade, role):
            return real(trade, role) | {"fee_rate_bps": said}

        Trade.json = told
        try:
            t.place(1, price=5_200, tif=d.LIMIT, size=100 * CONTRACT)
            [fill] = await filled(t, 100 * CONTRACT)
        finally:
            Trade.json = real
        assert fill.fee_micros == 998_400

    live(body)


@row("6.9", "The fee is charged at each price that an order took, and rounded there.")
def test_fee_by_price():
    async def body(t):
        t.place(1, price=5_300, tif=d.LIMIT, size=150 * CONTRACT)
        fills = await filled(t, 150 * CONTRACT)
        assert [f.fee_micros for f in fills] == [998_400, 498_200]
        assert sorted(map(int, t.server.do("truth")["fees"].values())) == [498_200, 998_400]

    live(body)


@row("6.10", "Maker rebates of a day are read by market; a maker's share is that of his own fills' fees.")
def test_rebates():
    async def body(t):
        async with other_trader(t.server) as other:
            lone(t)
            await accepted(t, 1, price=4_900, size=300 * CONTRACT)
            await other.placed(price=0.49, size=100)
            t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="400")
            await filled(t, 300 * CONTRACT)
        day = datetime.fromtimestamp(t.clock.now_ns() / 1e9, UTC).date().isoformat()
        [ours] = await t.wire.rest.rebates(day, t.server.account.wallet)
        pool = 400 * 40_000 * 49 * 51 // 10_000 * 25 // 100
        assert ours.condition_id == t.lives[0].condition and int(ours.rebated_fees_usdc) == pool * 3 // 4
        assert await t.wire.rest.rebates("2026-01-01", t.server.account.wallet) == ()

    live(body)


def near_midnight(seconds):
    return int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() - seconds) * 10**9


@row("6.11", "Rebates and rewards arrive as cash at midnight UTC, from a dollar on.")
def test_midnight():
    async def work():
        server = PolymarketStandIn(
            small_catalog(1, rewards_daily=40_000), speed=0, start_ns=near_midnight(180), tier="elite"
        )
        async with server, Probe(server) as probe:
            await probe.placed(price=0.49, size=100)
            await probe.placed(token=NO, price=0.49, size=100)
            for _ in range(3):
                server.pass_time(60)
            server.pass_time(1)
            paid = server.do("truth")["paid"]
            assert [p["kind"] for p in paid] == ["reward"] and float(paid[0]["amount"]) > 1
            assert server.do("truth")["unexplained"] == []

    run(work())


def rewarded(**changes):
    return catalog(MarketSpec("one", "one", rewards_max_spread_cents=3, **changes))


QUOTES = (
    {"price": 4_900, "size": 100 * CONTRACT},
    {"price": 4_800, "size": 200 * CONTRACT},
    {"price": 5_100, "size": 100 * CONTRACT, "side": d.ASK},
    {"price": 5_200, "size": 50 * CONTRACT, "side": d.ASK},
)


async def rival(other):
    """The same quotes by somebody else: he scores 50."""
    for token, price, size in ((YES, 0.49, 100), (YES, 0.48, 200), (NO, 0.49, 100), (NO, 0.48, 50)):
        await other.placed(token=token, price=price, size=size)


@row(
    "6.12",
    "The worked example of the score: 66.67 on one side and 50 on the other count 50, one side alone 22.2.",
)
def test_score():
    async def body(t):
        lone(t)
        async with other_trader(t.server) as other:
            await rival(other)
            await batch(t, *QUOTES)
            await t.ear.until(e.Accepted, 4)
            weights = t.server.venue.rewards.weights(t.server.venue.markets[0])
            assert weights[t.server.account.wallet] == pytest.approx(50.0)
            [share] = (await t.wire.rest.reward_percentages()).values()
            assert float(share) == pytest.approx(50.0)
            asks = [
                o for o in t.server.venue.open.values() if o.account is t.server.account and o.token == NO
            ]
            for ask in asks:
                t.server.do("cancel_by_hand", order=ask.id)
            [share] = (await t.wire.rest.reward_percentages()).values()
            assert float(share) == pytest.approx(100 * (200 / 9) / (200 / 9 + 50), rel=1e-6)

    live(body, catalog=rewarded())


@row("6.13", "An order at the widest spread scores nothing, one cent nearer it does, one of less size never.")
def test_what_scores():
    async def body(t):
        lone(t)
        async with other_trader(t.server) as other:
            await rival(other)
            await batch(t, {"price": 4_700, "size": 100 * CONTRACT}, {"price": 4_800, "size": 100 * CONTRACT},
                        {"price": 4_800, "size": 49 * CONTRACT})  # fmt: skip
            await t.ear.until(e.Accepted, 3)
            names = [t.ear.of(e.Sent, order_id=n)[0].venue_id for n in (1, 2, 3)]
            said = await t.wire.rest.scoring(names)
            assert [said[name] for name in names] == [False, True, False]
            assert [await t.wire.rest.is_scoring(name) for name in names] == [False, True, False]
            t.server.do("reward_size", market="one", shares=20)  # it changes while we quote
            assert await t.wire.rest.is_scoring(names[2])
            [programme] = (await t.wire.rest.reward_markets()).items
            assert programme.rewards_min_size == 20 * CONTRACT

    live(body, catalog=rewarded())


@row("6.14", "Near the ends of the price both sides are needed: one side alone earns nothing.")
def test_both_sides_near_the_end():
    async def body(t):
        lone(t)
        async with other_trader(t.server) as other:
            for token, price in ((YES, 0.04), (NO, 0.94)):
                await other.placed(token=token, price=price, size=100)
            await accepted(t, 1, price=400, size=100 * CONTRACT)
            assert await t.wire.rest.reward_percentages() == {}
            await accepted(t, 2, price=600, size=100 * CONTRACT, side=d.ASK)
            [share] = (await t.wire.rest.reward_percentages()).values()
            assert float(share) == pytest.approx(50.0)

    live(body, catalog=rewarded())


@row(
    "6.15",
    "What a programme pays and what earns in it is read, with its competition, in cents and dollars a day.",
)
def test_programmes():
    async def body(server, desk):
        found = await desk.rest.reward_markets()
        assert not found.refused and len(found.items) == 5
        for programme in found.items:
            assert (programme.rewards_max_spread, programme.rewards_min_size) == (450, 50 * CONTRACT)
            assert programme.total_daily_rate == 12 * 1_000_000 == programme.rewards_config[0].rate_per_day
        [one] = (await desk.rest.rewards_of(desk.terms[0].condition)).items
        assert one.market_competitiveness is not None and one.condition_id == desk.terms[0].condition

    desk(body)


@row("6.16", "A programme that can't be read is named and leaves the others readable.")
def test_an_odd_programme():
    async def body(server, desk):
        def odd(answer):
            first, *others = answer["data"]
            return answer | {"data": [first | {"rewards_min_size": "many"}, *others]}

        changed(server, "rewards_now", odd)
        found = await desk.rest.reward_markets()
        assert len(found.items) == 4 and len(found.refused) == 1 and "rewards_min_size" in found.refused[0]

    desk(body)


@row("6.17", "Rewards earned are read by day and market, and by asset; a day's sum is the same in both.")
def test_earnings():
    async def body(t):
        await batch(t, {"price": 4_900, "size": 100 * CONTRACT},
                    {"price": 5_100, "size": 100 * CONTRACT, "side": d.ASK})  # fmt: skip
        await t.ear.until(e.Accepted, 2)
        rewards = t.server.venue.rewards
        await until(lambda: rewards.samples >= 1)
        day = datetime.fromtimestamp(t.clock.now_ns() / 1e9, UTC).date().isoformat()
        [market] = await t.wire.rest.earnings(day)
        [whole] = await t.wire.rest.total_earnings(day)
        assert market.condition_id == t.lives[0].condition
        assert float(market.earnings) == pytest.approx(float(whole.earnings)) and float(whole.earnings) > 0
        assert await t.wire.rest.total_earnings("2026-01-01") == ()

    live(body, speed=60.0, start_ns=NOON)


@row("6.18", "A fill whose trade failed paid no fee: it is taken back whole.")
def test_a_failed_trade_has_no_fee():
    async def body(t):
        books = Books(t)
        before = books.account.cash_micros
        books.send(order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT))
        await t.ear.until(e.FillVoided)
        await asyncio.sleep(0.05)
        books.hear()
        assert (books.account.cash_micros, books.held()) == (before, (0, 0))
        assert books.account.fees_micros(0) == 0
        await books.agree()

    live(body, faults={"trade_failed": 1.0})
