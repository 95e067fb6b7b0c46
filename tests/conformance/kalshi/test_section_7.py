"""Section 7: fees. Each figure comes three ways: by our schedule, by the engine's estimate, as charged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    Ear,
    adapter,
    place,
    run,
    signer,
    until,
)
from conformance.kalshi.rows import Unused, row
from conformance.kalshi.trade import Books, named
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.fees import FeeState, KalshiFeeChange, charge, kalshi_schedule
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import fees as kernels
from pr3dict.venues.kalshi.markets import listed
from standins.kalshi import Catalog, EventSpec, KalshiStandIn, MarketSpec, SeriesSpec
from standins.kalshi.catalog import EMPTY

UNUSED = (
    Unused(
        "The swap of maker and taker for quotes on request that hit a fresh order",
        "we do not quote on request; what a fill costs is what it says",
    ),
    Unused("The reimbursement of maker rounding above ten dollars a month", "it is paid outside the API"),
)

TICKER = "KXF-1-A"
TAKER, MAKER = "quadratic", "quadratic_with_maker_fees"
COMBO = "quadratic_with_combo_maker_fees"

# contracts, price, maker: net fee of a direct member, of another account (Kalshi's examples, and worked ones)
EXAMPLES = [
    ("10", "0.4700", False, 174_400, 180_000),
    ("10", "0.4700", True, 43_600, 50_000),
    ("100", "0.5000", False, 1_750_000, 1_750_000),
    ("100", "0.5000", True, 437_500, 440_000),
    ("1", "0.0550", False, 3_700, 5_000),
    ("2.5", "0.3330", False, 38_900, 47_500),
]


def empty(fee_type: str = MAKER, multiplier: float = 1.0, label: str = "deci_cent", **event: Any) -> Catalog:
    """One market in which nobody stands."""
    return Catalog(
        (SeriesSpec("KXF", fee_type=fee_type, fee_multiplier=multiplier),),
        (EventSpec("KXF-1", "KXF", **event),),
        (MarketSpec(TICKER, "KXF-1", labels=(label,)),),
        flow=EMPTY,
    )


def trading(body: Any, catalog: Catalog, *, direct: bool = True, **options: Any) -> None:
    """`body(server, ear, wire)` at a stand-in for accounts of this kind."""

    async def work() -> None:
        async with (
            KalshiStandIn(catalog, tier="prestige", direct_member=direct, **options) as server,
            adapter(server, signer(server.key)) as (ear, wire),
        ):
            await body(server, ear, wire)
            assert wire._failure is None

    run(work())


async def fees_of(wire: Any, *, direct: bool) -> Any:
    """The engine's row of the market's fees, from what Kalshi says of it."""
    market = (await wire.rest.markets(tickers=(TICKER,)))[0]
    event = await wire.rest.event(market.event_ticker)
    series = await wire.rest.series(event.series_ticker)
    told = listed(market, event, series, row=0, at_ns=wire._clock.now_ns(), direct_member=direct)
    fee = np.zeros(1, d.FEE)[0]
    fee.kind, fee.taker_ppm, fee.maker_ppm = d.FEE_KALSHI, told.taker_ppm, told.maker_ppm
    fee.trade_unit_micros, fee.unit_micros = told.trade_unit_micros, told.unit_micros
    fee.rebate_unit_micros = told.rebate_unit_micros
    return fee


def paid(side: int, price: int, size: int) -> int:
    """What a fill of the bought side costs, rounded as a balance is charged: never too little."""
    own = price if side == BID else 10_000 - price
    return -(-own * size // 10_000)


async def trade(
    server: Any, ear: Ear, wire: Any, number: int, price: str, size: str, *, maker: bool
) -> e.Filled:
    """One fill of a new order that buys, as maker or as taker."""
    units, count, before = round(float(price) * 10_000), round(float(size) * CONTRACT), len(ear.of(e.Filled))
    if not maker:
        server.do("level", ticker=TICKER, side="ask", price=price, contracts=size)
    wire.send(0, [place(wire, number, TICKER, BID, units, count, d.POST_ONLY if maker else d.IOC)])
    await named(ear, e.Accepted, number)
    if maker:
        server.do("take", ticker=TICKER, taker="ask", price=price, contracts=size)
    filled: e.Filled = await ear.until(e.Filled, before + 1)
    return filled


def scheduled(fee_type: str, multiplier_ppm: int = 1_000_000, *, direct: bool = True, at_ns: int) -> Any:
    """The terms of a series that says nothing else."""
    change = KalshiFeeChange(fee_type=fee_type, multiplier_ppm=multiplier_ppm)
    return kalshi_schedule([change], direct_member=direct).at(at_ns)


@row("7.1", "Kalshi's examples come out to the last digit: by our schedule, by the estimate, and as charged.")
@pytest.mark.parametrize("direct", [True, False])
def test_examples(direct):
    async def body(server, ear, wire):
        fee = await fees_of(wire, direct=direct)
        terms = scheduled(MAKER, direct=direct, at_ns=server.now_ns())
        for number, (size, price, maker, of_direct, of_other) in enumerate(EXAMPLES, 1):
            want = of_direct if direct else of_other
            units, count = round(float(price) * 10_000), round(float(size) * CONTRACT)
            cost = units * count // 10_000
            said = charge(terms, price=units, size=count, revenue_micros=-cost, maker=maker)
            order = np.zeros(1, d.EXCHANGE_ORDER)[0]
            assert said.fee_micros == want
            assert kernels.fill_fee_micros(fee, maker, units, count, cost, order) == want
            fill = await trade(server, ear, wire, number, price, size, maker=maker)
            assert (fill.fee_micros, fill.rebate_micros, fill.maker) == (want, 0, maker)

    trading(body, empty(), direct=direct)


@row("7.2", "What one fill will cost its maker is estimated without the rounding that later fills give back.")
def test_the_estimate():
    async def body(server, ear, wire):
        fee = await fees_of(wire, direct=True)
        assert kernels.expected_maker_fee_micros(fee, 4700, 10 * CONTRACT) == 43_593  # 0.0436 as charged
        assert kernels.expected_maker_fee_micros(fee, 5000, 100 * CONTRACT) == 437_500

    trading(body, empty())


@row("7.3", "Takers pay in every series, makers only where its fee type says so.")
@pytest.mark.parametrize(
    ("fee_type", "maker", "micros"),
    [(TAKER, False, 1_750_000), (TAKER, True, 0), (MAKER, True, 437_500), (COMBO, True, 875_000)],
)
def test_fee_types(fee_type, maker, micros):
    async def body(server, ear, wire):
        fill = await trade(server, ear, wire, 1, "0.5000", "100", maker=maker)
        fee = await fees_of(wire, direct=True)
        order = np.zeros(1, d.EXCHANGE_ORDER)[0]
        assert kernels.fill_fee_micros(fee, maker, 5000, 100 * CONTRACT, 50_000_000, order) == micros
        terms = scheduled(fee_type, at_ns=server.now_ns())
        bought = {"price": 5000, "size": 100 * CONTRACT, "revenue_micros": -50_000_000}
        assert charge(terms, **bought, maker=maker).fee_micros == micros == fill.fee_micros

    trading(body, empty(fee_type))


@row(
    "7.4", "A fee type that we do not know, flat ones too, counts as the dearest known one, and is marked so."
)
@pytest.mark.parametrize("fee_type", ["flat", "quadratic_with_something_new"])
def test_unknown_fee_types(fee_type):
    async def body(server, ear, wire):
        terms = scheduled(fee_type, at_ns=server.now_ns())
        assert terms.assumed and (terms.taker_ppm, terms.maker_ppm) == (70_000, 35_000)
        fee = await fees_of(wire, direct=True)
        assert (fee.taker_ppm, fee.maker_ppm) == (70_000, 35_000)

    trading(body, empty(fee_type))


@row("7.5", "A series' multiplier scales both fees; at zero nothing is charged.")
@pytest.mark.parametrize(
    ("multiplier", "taker", "maker"), [(0.5, 875_000, 218_800), (2.0, 3_500_000, 875_000), (0.0, 0, 0)]
)
def test_multipliers(multiplier, taker, maker):
    async def body(server, ear, wire):
        fee = await fees_of(wire, direct=True)
        for number, (is_maker, want) in enumerate(((False, taker), (True, maker)), 1):
            fill = await trade(server, ear, wire, number, "0.5000", "100", maker=is_maker)
            order = np.zeros(1, d.EXCHANGE_ORDER)[0]
            said = kernels.fill_fee_micros(fee, is_maker, 5000, 100 * CONTRACT, 50_000_000, order)
            assert fill.fee_micros == said == want

    trading(body, empty(multiplier=multiplier))


@row("7.6", "What an event states of its fees wins over its series, each field by itself.")
@pytest.mark.parametrize(
    ("override", "taker", "maker"),
    [
        ({}, 1_750_000, 437_500),
        ({"fee_multiplier_override": 0.5}, 875_000, 218_800),
        ({"fee_type_override": TAKER}, 1_750_000, 0),
        ({"fee_type_override": TAKER, "fee_multiplier_override": 0.0}, 0, 0),
    ],
)
def test_event_overrides(override, taker, maker):
    async def body(server, ear, wire):
        fee = await fees_of(wire, direct=True)
        for number, (is_maker, want) in enumerate(((False, taker), (True, maker)), 1):
            fill = await trade(server, ear, wire, number, "0.5000", "100", maker=is_maker)
            order = np.zeros(1, d.EXCHANGE_ORDER)[0]
            said = kernels.fill_fee_micros(fee, is_maker, 5000, 100 * CONTRACT, 50_000_000, order)
            assert fill.fee_micros == said == want

    trading(body, empty(**override))


@row("7.7", "While a market's fee is waived nothing is charged, and after it the fee is back by itself.")
def test_waiver():
    async def body(server, ear, wire):
        server.do("waive_fees", ticker=TICKER, seconds=300)
        assert (await fees_of(wire, direct=True)).taker_ppm == 0
        assert (await trade(server, ear, wire, 1, "0.4700", "10", maker=False)).fee_micros == 0
        server._start_ns += 301 * SECOND
        assert (await fees_of(wire, direct=True)).taker_ppm == 70_000
        assert (await trade(server, ear, wire, 2, "0.4700", "10", maker=True)).fee_micros == 43_600
        change = KalshiFeeChange(fee_type=TAKER, multiplier_ppm=1_000_000)
        now_ns = server.now_ns()
        waived = kalshi_schedule([change], waived_until_ns=now_ns)
        assert (waived.at(now_ns - 1).taker_ppm, waived.at(now_ns).taker_ppm) == (0, 70_000)

    trading(body, empty(), skew_ms=10**9)


@row(
    "7.8", "The rounding of an order's fills is kept and given back over all of them, as taker and as maker."
)
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(("side", "price"), [(BID, 3330), (ASK, 3330), (BID, 550)])
def test_accumulator(direct, side, price):
    async def body(server, ear, wire):
        sizes = ["1.37", "0.01", "2.5", "0.33", "7", "0.01", "1.78"]
        text, other = f"0.{price:04d}", "ask" if side == BID else "bid"
        server.do("level", ticker=TICKER, side=other, price=text, contracts=sizes[0])
        wire.send(0, [place(wire, 1, TICKER, side, price, 13 * CONTRACT, d.LIMIT)])
        await ear.until(e.Filled)
        for count, size in enumerate(sizes[1:], 2):
            server.do("take", ticker=TICKER, taker=other, price=text, contracts=size)
            await ear.until(e.Filled, count)
        fee, order = await fees_of(wire, direct=direct), np.zeros(1, d.EXCHANGE_ORDER)[0]
        terms, state, fills = (
            scheduled(MAKER, direct=direct, at_ns=server.now_ns()),
            FeeState(),
            ear.of(e.Filled),
        )
        assert [f.maker for f in fills] == [False] + [True] * 6
        for fill in fills:
            cost = paid(side, fill.price, fill.size)
            said = charge(
                terms, price=fill.price, size=fill.size, revenue_micros=-cost, maker=fill.maker, state=state
            )
            state = said.state
            estimate = kernels.fill_fee_micros(fee, fill.maker, fill.price, fill.size, cost, order)
            assert fill.fee_micros == said.fee_micros == estimate >= 0
        assert state.charged_micros == sum(f.fee_micros for f in fills)
        rates = [17_500 if f.maker else 70_000 for f in fills]
        trade_fees = sum(
            -(-f.size * price * (10_000 - price) * rate // 10**14)
            for f, rate in zip(fills, rates, strict=True)
        )
        assert state.charged_micros == trade_fees + state.accumulator_micros
        assert state.accumulator_micros == int(order.fee_accumulator_micros)

    trading(body, empty(), direct=direct)


@row("7.9", "Balances stay on the account's unit, a hundredth of a cent for a direct member, else a cent.")
@pytest.mark.parametrize(("direct", "unit"), [(True, 100), (False, 10_000)])
def test_balances_stay_on_their_unit(direct, unit):
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        for number, (price, size, maker) in enumerate((("0.333", "2.5", False), ("0.055", "1.01", True)), 1):
            await trade(server, ear, wire, number, price, size, maker=maker)
            balance = await wire.rest.balance()
            assert int(balance.balance_dollars) % unit == 0
            books.hear()
            assert books.account.cash_micros == int(balance.balance_dollars)

    trading(body, empty(), direct=direct)


@row("7.10", "Placing, renewing, reducing and cancelling cost nothing.")
def test_nothing_for_asking():
    async def body(server, ear, wire):
        before, market = (await wire.rest.balance()).balance_dollars, wire.lives.rows[TICKER]
        wire.send(0, [place(wire, 1, TICKER)])
        await named(ear, e.Accepted, 1)
        wire.send(0, [c.Renew(order_id=1, market=market, expiry_ns=server.now_ns() + 60 * SECOND)])
        await ear.until(e.Renewed)
        wire.send(0, [c.Reduce(order_id=1, market=market, remaining=CONTRACT)])
        await ear.until(e.Reduced)
        wire.send(0, [c.Cancel(order_id=1, market=market)])
        await named(ear, e.Closed, 1)
        assert (await wire.rest.balance()).balance_dollars == before

    trading(body, empty(label="linear_cent"))


@row(
    "7.11",
    "A payout of yes or no costs nothing; of a scalar one less than a cent is kept, and listed as a fee.",
)
@pytest.mark.parametrize(
    ("result", "value", "kept"), [("yes", 1_000_000, 0), ("no", 0, 0), ("scalar", 300_000, 1_000)]
)
def test_settlement_fees(result, value, kept):
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        fill = await trade(server, ear, wire, 1, "0.4700", "0.37", maker=False)
        before = (await wire.rest.balance()).balance_dollars
        server.do("determine", ticker=TICKER, result=result, scalar_price="0.3000")
        server.do("finalize", ticker=TICKER)
        assert (await ear.until(e.Settled)).value_micros == value
        after = (await wire.rest.balance()).balance_dollars
        due = 370_000 * value // 1_000_000
        assert int(after) - int(before) == due - kept
        [settled] = await wire.rest.settlements()
        assert int(settled.fee_cost) == fill.fee_micros + kept
        books.hear()
        assert books.account.cash_micros - int(after) == kept

    trading(body, empty())


@row("7.12", "What a fill says it cost is booked, even where it is not what we expected.")
def test_the_fill_is_the_truth():
    async def body(server, ear, wire):
        server.do("series_fees", series="KXF", fee_type=TAKER, multiplier=3.0)  # nobody is told
        books = Books(server, ear, wire)
        fill = await trade(server, ear, wire, 1, "0.4700", "10", maker=False)
        books.hear()
        assert fill.fee_micros == 523_200 == books.account.fees_micros(wire.lives.rows[TICKER])
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        assert [f.fee_micros for f in (await ear.until(e.FillsRead)).fills] == [523_200]

    trading(body, empty())


@row(
    "7.13",
    "A fee that moves while we run reaches the engine, from an event's notice or from a look at its series.",
)
@pytest.mark.parametrize("of", ["event", "series"])
def test_moving_fees(of):
    async def body(server, ear, wire):
        if of == "event":
            await until(lambda: wire.fees.due_ns > 0)
            server.do("event_fees", event="KXF-1", fee_type=None, multiplier=0.5)
        else:
            server.do("series_fees", series="KXF", fee_type=None, multiplier=0.5)
            wire.fees.due_ns = 0
        changed = await ear.until(e.FeesChanged)
        assert (changed.market, changed.taker_ppm, changed.maker_ppm) == (
            wire.lives.rows[TICKER],
            35_000,
            8_750,
        )
        fill = await trade(server, ear, wire, 1, "0.5000", "100", maker=False)
        assert fill.fee_micros == 875_000

    trading(body, empty(), speed=2.0)


@row(
    "7.14",
    "Scheduled changes are listed with the moment from which they hold; a quote never meets an unknown fee.",
)
def test_scheduled_changes():
    from standins.kalshi import FeeChange

    async def body(server, ear, wire):
        [change] = await wire.rest.series_fee_changes()
        stated = KalshiFeeChange(fee_type=MAKER, multiplier_ppm=1_000_000)
        coming = KalshiFeeChange(
            effective_ns=int(change.scheduled_ts),
            fee_type=change.fee_type,
            multiplier_ppm=int(change.fee_multiplier),
        )
        schedule = kalshi_schedule([stated, coming])
        assert schedule.at(int(change.scheduled_ts) - 1).maker_ppm == 17_500
        assert schedule.at(int(change.scheduled_ts)).taker_ppm == 35_000
        server._start_ns += 3601 * SECOND
        assert (await fees_of(wire, direct=True)).taker_ppm == 35_000
        assert (await trade(server, ear, wire, 1, "0.5000", "100", maker=False)).fee_micros == 875_000

    base = empty()
    change = FeeChange("KXF", 3600.0, TAKER, 0.5)
    trading(body, replace(base, fee_changes=(change,)), skew_ms=10**9)
