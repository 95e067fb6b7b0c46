"""Prices and sizes become exactly the amounts that the official clients sign."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import POLYMARKET_TICKS, polymarket_grid
from pr3dict.domain.units import parse_price, parse_quantity
from pr3dict.venues.polymarket.amounts import (
    AMOUNT_PLACES,
    LOT,
    floor_size,
    limit_amounts,
    price_and_size,
)

NO_CLIENT = "polymarket-client is not installed: its results can't be compared with ours"
NO_OLD_CLIENT = "py-clob-client-v2 is not installed: its results can't be compared with ours"
SDK = [  # measured with polymarket-client 0.14.0
    ("0.01", ".53", "100", "BUY", 53_000_000, 100_000_000),
    ("0.01", ".53", "21.047", "SELL", 21_040_000, 11_151_200),
    ("0.001", ".973", "17.33", "BUY", 16_862_090, 17_330_000),
    ("0.0025", ".4825", "7.77", "BUY", 3_749_025, 7_770_000),
    ("0.005", ".485", "7.77", "SELL", 7_770_000, 3_768_450),
]


@pytest.mark.parametrize(("tick", "price", "size", "side", "maker", "taker"), SDK)
def test_the_published_results(tick, price, size, side, maker, taker):
    found = limit_amounts(side, parse_price(price), parse_quantity(size), parse_price(tick))
    assert found == (maker, taker)


ticks = st.sampled_from(POLYMARKET_TICKS)
sides = st.sampled_from(["BUY", "SELL"])
sizes = st.integers(LOT, 10**13)
prices = ticks.flatmap(lambda tick: st.tuples(st.just(tick), st.sampled_from(polymarket_grid(tick).prices())))


@given(prices, sizes, sides)
def test_limit_orders_have_the_amounts_of_polymarket_client(tick_price, size, side):
    limit = pytest.importorskip("polymarket._internal.actions.orders.limit", reason=NO_CLIENT)
    tick, price = tick_price
    theirs = limit._compute_limit_order_amounts(
        price=Decimal(price) / 10_000, size=Decimal(size) / 10**6, side=side, tick_size=Decimal(tick) / 10_000
    )
    assert tuple(limit_amounts(side, price, size, tick)) == theirs


@given(prices, st.integers(1, 10**8), sides)
def test_limit_orders_have_the_amounts_of_py_clob_client_v2(tick_price, lots, side):
    builder = pytest.importorskip("py_clob_client_v2.order_builder.builder", reason=NO_OLD_CLIENT)
    tick, price = tick_price
    size = lots * LOT
    text = f"{Decimal(tick) / 10_000:f}"
    _, maker, taker = builder.OrderBuilder(None).get_order_amounts(
        side, lots / 100, price / 10_000, builder.ROUNDING_CONFIG[text]
    )
    ours = limit_amounts(side, price, size, tick)
    # That client computes in floats, so its own result may be a lot or an amount unit off.
    assert abs(ours.maker - maker) <= LOT and abs(ours.taker - taker) <= LOT
    if side == "BUY" and taker == size:
        assert abs(ours.maker - maker) <= 10 ** (6 - AMOUNT_PLACES[tick])


@given(prices, sizes, sides)
def test_amounts_mean_their_price_and_size_and_keep_the_venue_s_decimals(tick_price, size, side):
    tick, price = tick_price
    amounts = limit_amounts(side, price, size, tick)
    assert price_and_size(side, amounts) == (price, floor_size(size))
    money = amounts.maker if side == "BUY" else amounts.taker
    assert money % 10 ** (6 - AMOUNT_PLACES[tick]) == 0
    assert floor_size(size) % LOT == 0 and 0 <= size - floor_size(size) < LOT


@pytest.mark.parametrize(
    ("price", "size", "tick", "what"),
    [
        (0, 10**6, 100, "no multiple"),
        (10_000, 10**6, 100, "no multiple"),
        (5_350, 10**6, 100, "no multiple"),
        (4_830, 10**6, 25, "no multiple"),
        (9_975, 10**6, 50, "no multiple"),
        (5_300, 9_999, 100, "less than 0.01"),
        (5_300, 10**6, 7, "no tick"),
    ],
)
def test_what_no_order_can_say_is_refused(price, size, tick, what):
    for side in ("BUY", "SELL"):
        with pytest.raises(DataError, match=what):
            limit_amounts(side, price, size, tick)


def test_the_table_covers_every_tick():
    assert set(AMOUNT_PLACES) == set(POLYMARKET_TICKS)


def test_amounts_that_mean_no_price_are_refused():
    with pytest.raises(DataError, match="no price"):
        price_and_size("BUY", type(limit_amounts("BUY", 100, LOT, 100))(1, 3))
