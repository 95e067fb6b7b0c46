"""Section 10: positions and what covers them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from conformance.kalshi.bench import CONTRACT, T0, T1, accepted, catalog, live, place, until
from conformance.kalshi.rows import Unused, row
from conformance.kalshi.trade import Books, named, orders, resting
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from standins.kalshi import MarketSpec
from standins.kalshi.catalog import EMPTY

UNUSED = (
    Unused(
        "Collateral return across the markets of an event",
        "it is off unless a person turns it on, and a leg may then not be sold alone",
    ),
    Unused("Position limits of a market", "no call states them; an order beyond one is refused"),
)


async def bought(server, ear, wire, books, number, side, price, contracts):
    """An immediate order that trades whole."""
    other = "ask" if side == BID else "bid"
    text = f"{price / 10_000:.4f}"
    server.do("level", ticker=T0, side=other, price=text, contracts=1_000 * number)
    count = round(contracts * CONTRACT)
    books.send(place(wire, number, T0, side, price, count, d.IOC))
    await until(lambda: sum(f.size for f in ear.of(e.Filled) if f.order_id == number) == count)


def small_market():
    """One market without fees in which nobody stands."""
    return replace(catalog(MarketSpec(T0, "KXA-0"), fee_type="quadratic", fee_multiplier=0.0), flow=EMPTY)


@row("10.1", "What is held in a market is one signed number; a pair of YES and NO is money at once.")
def test_one_number():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        wire_row = wire.lives.rows[T0]
        for number, (side, contracts, held) in enumerate(
            ((BID, 10, 10), (ASK, 4, 6), (ASK, 11, -5), (BID, 5, 0)), 1
        ):
            await bought(server, ear, wire, books, number, side, 5000, contracts)
            books.hear()
            position = books.account.position(wire_row)
            assert position.yes_contracts - position.no_contracts == held * CONTRACT
            assert 0 in (position.yes_contracts, position.no_contracts)
            assert server.do("truth")["positions"].get(T0, 0) == held

    live(body, catalog=small_market())


@row(
    "10.2", "Money follows from price and side: what opens costs its own price, what closes pays the other's."
)
@pytest.mark.parametrize(
    ("steps", "cash"),
    [
        ([(BID, 6000, 10)], -6.0),
        ([(ASK, 6000, 10)], -4.0),
        ([(BID, 6000, 10), (ASK, 7000, 10)], 1.0),
        ([(ASK, 6000, 10), (BID, 7000, 10)], -1.0),
        ([(BID, 6000, 10), (ASK, 7000, 15)], -6.0 + 7.0 - 1.5),
        ([(ASK, 6000, 10), (BID, 3000, 25)], -4.0 + 7.0 - 4.5),
        ([(BID, 3300, 0.37)], -0.1221),
    ],
)
def test_money(steps, cash):
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        before = books.account.cash_micros
        for number, (side, price, contracts) in enumerate(steps, 1):
            await bought(server, ear, wire, books, number, side, price, contracts)
        books.hear()
        assert books.account.cash_micros - before == round(cash * 1_000_000)
        wire.send(0, [c.ReadBalance(venue="kalshi")])
        assert (await ear.until(e.BalanceRead)).cash_micros == books.account.cash_micros

    live(body, catalog=small_market())


@row("10.3", "Fees come on top of it, and balance and books agree to the last digit.")
def test_money_with_fees():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        books.send(place(wire, 1, T1, BID, 5300, 117 * CONTRACT + 130_000, d.IOC))
        books.send(place(wire, 2, T1, ASK, 4700, 333 * CONTRACT, d.IOC))
        await until(lambda: {x.order_id for x in ear.of(e.Closed)} == {1, 2})
        await until(lambda: len(ear.of(e.Filled)) == len(server.do("truth")["fills"]) == 4)
        books.hear()
        wire.send(0, [c.ReadBalance(venue="kalshi")])
        assert (await ear.until(e.BalanceRead)).cash_micros == books.account.cash_micros
        assert books.account.fees_micros(wire.lives.rows[T1]) > 0

    live(body)


@row("10.4", "A position's cost basis, and what closing trades have made, are read as Kalshi says them.")
def test_basis():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        await bought(server, ear, wire, books, 1, BID, 6000, 10)
        await bought(server, ear, wire, books, 2, ASK, 7000, 4)
        [held] = await wire.rest.positions(count_filter="position")
        assert int(held.position_fp) == 6 * CONTRACT
        assert int(held.market_exposure_dollars) == 3_600_000  # 0.60 each: the average price of entry
        assert int(held.realized_pnl_dollars) == 400_000
        await bought(server, ear, wire, books, 3, ASK, 7000, 10)
        [held] = await wire.rest.positions(count_filter="position")
        assert int(held.position_fp) == -4 * CONTRACT and int(held.market_exposure_dollars) == 1_200_000

    live(body, catalog=small_market())


@row(
    "10.5", "A new order has to be covered by its shard's money, one that closes is covered by what is held."
)
def test_cover():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        await bought(server, ear, wire, books, 1, BID, 6000, 15)  # of 10 dollars 1 is left
        books.send(place(wire, 2, T0, BID, 5000, 3 * CONTRACT))
        assert (await named(ear, e.Refused, 2)).why == "no_cash"
        books.send(place(wire, 3, T0, BID, 5000, 2 * CONTRACT))
        await named(ear, e.Accepted, 3)
        books.send(place(wire, 4, T0, BID, 4000, CONTRACT))
        assert (await named(ear, e.Refused, 4)).why == "no_cash"
        books.send(place(wire, 5, T0, ASK, 9000, 15 * CONTRACT))
        await named(ear, e.Accepted, 5)
        assert set(resting(server)) == {"conf1-3", "conf1-5"} and books.state(5) == "live"

    live(body, catalog=small_market(), cash_dollars=10.0)


@row("10.6", "Money on another shard covers nothing: the order is refused, and the other shards trade on.")
def test_cover_by_shard():
    async def body(server, ear, wire):
        server.do("deposit", dollars=-9_990.0, shard=1)
        wire.send(0, [place(wire, 1, T1, size=100 * CONTRACT), place(wire, 2, T0, size=100 * CONTRACT)])
        assert (await named(ear, e.Refused, 1)).why == "no_cash"
        await named(ear, e.Accepted, 2)
        assert set(orders(server)) == {"conf1-2"}

    live(body)


@row("10.7", "A winning contract pays its value once, and the position is gone.")
@pytest.mark.parametrize(
    ("result", "side", "value", "paid"),
    [("yes", BID, 1_000_000, 10.0), ("no", BID, 0, 0.0), ("no", ASK, 0, 10.0), ("scalar", ASK, 300_000, 7.0)],
)
def test_payout(result, side, value, paid):
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        await bought(server, ear, wire, books, 1, side, 5000, 10)
        books.hear()
        before = books.account.cash_micros
        server.do("determine", ticker=T0, result=result, scalar_price="0.3000")
        server.do("finalize", ticker=T0)
        settled = await ear.until(e.Settled)
        assert (settled.value_micros, settled.refund) == (value, False)
        books.hear()
        assert books.account.cash_micros - before == round(paid * 1_000_000)
        wire.send(0, [c.ReadPositions(venue="kalshi"), c.ReadBalance(venue="kalshi")])
        assert (await ear.until(e.PositionsRead)).positions == () and books.yes(T0) == 0
        assert (await ear.until(e.BalanceRead)).cash_micros == books.account.cash_micros
        [row_of] = await wire.rest.settlements()
        assert int(row_of.revenue) == round(paid * 1_000_000)

    live(body, catalog=small_market())


@row("10.8", "An order that closes what is held and opens the other side does both, at one price.")
def test_both_sides_rest():
    async def body(server, ear, wire):
        books = Books(server, ear, wire)
        await bought(server, ear, wire, books, 1, BID, 5000, 10)
        await accepted(ear, wire, place(wire, 2, T0, ASK, 6000, 25 * CONTRACT))
        server.do("take", ticker=T0, taker="bid", price="0.6000", contracts="25")
        await until(lambda: books.yes(T0) == -15 * CONTRACT)
        await asyncio.sleep(0.05)
        wire.send(0, [c.ReadPositions(venue="kalshi"), c.ReadBalance(venue="kalshi")])
        [held] = (await ear.until(e.PositionsRead)).positions
        assert (held.yes_contracts, held.no_contracts) == (0, 15 * CONTRACT)
        assert (await ear.until(e.BalanceRead)).cash_micros == books.account.cash_micros

    live(body, catalog=small_market())
