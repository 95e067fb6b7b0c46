"""Fees of the kernels against the schedules of the domain, which are written apart from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.fees import FeeState, FeeTerms, Formula, charge
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import fees

CONTRACT = 1_000_000

prices = st.integers(1, 9_999)
sizes = (
    st.integers(1, 500 * CONTRACT)
    | st.integers(1, 500).map(lambda n: n * CONTRACT)
    | st.integers(1, 5 * 10**12)
)
rates = st.sampled_from([0, 17_500, 35_000, 70_000, 250_000]) | st.integers(0, 300_000)
units = st.sampled_from([100, 10_000, 1])


def fee_row(kind, taker, maker=0, rebate=0, unit=1):
    row = np.zeros(1, d.FEE)[0]
    row.kind, row.taker_ppm, row.maker_ppm, row.rebate_ppm, row.unit_micros = kind, taker, maker, rebate, unit
    row.trade_unit_micros, row.rebate_unit_micros = 1, unit
    return row


def new_order():
    return np.zeros(1, d.EXCHANGE_ORDER)[0]


def paid(price, size):
    return -(-price * size // 10_000)


def one_fill(row, price, size, maker=False):
    return int(fees.fill_fee_micros(row, maker, price, size, paid(price, size), new_order()))


@settings(max_examples=120)
@given(
    rates,
    rates,
    st.tuples(units, units, units),
    st.lists(st.tuples(prices, sizes, st.booleans(), st.booleans()), min_size=1, max_size=6),
)
def test_kalshi_over_the_fills_of_an_order(taker, maker, rounding, fills):
    unit, trade_unit, rebate_unit = rounding
    terms = FeeTerms(
        formula=Formula.KALSHI,
        taker_ppm=taker,
        maker_ppm=maker,
        trade_fee_unit_micros=trade_unit,
        balance_unit_micros=unit,
        rebate_unit_micros=rebate_unit,
    )
    row, order, state = fee_row(d.FEE_KALSHI, taker, maker, unit=unit), new_order(), FeeState()
    row.trade_unit_micros, row.rebate_unit_micros = trade_unit, rebate_unit
    for price, size, is_maker, buys_no in fills:
        cost = size - price * size // 10_000 if buys_no else paid(price, size)
        expected = charge(terms, price=price, size=size, revenue_micros=-cost, maker=is_maker, state=state)
        state = expected.state
        got = int(fees.fill_fee_micros(row, is_maker, price, size, cost, order))
        assert got == expected.fee_micros
        assert got >= 0
        assert int(order.fee_accumulator_micros) == state.accumulator_micros
        assert int(fees.fill_rebate_micros(row, is_maker, price, size)) == 0


@settings(max_examples=120)
@given(rates, st.integers(0, 1_000_000), prices, sizes, st.booleans())
def test_polymarket_fee_and_rebate(taker, rebate, price, size, maker):
    terms = FeeTerms(formula=Formula.POLYMARKET, taker_ppm=taker, rebate_ppm=rebate, trade_fee_unit_micros=10)
    expected = charge(terms, price=price, size=size, revenue_micros=0, maker=maker)
    row = fee_row(d.FEE_POLYMARKET, taker, rebate=rebate)
    assert one_fill(row, price, size, maker) == expected.fee_micros
    assert int(fees.fill_rebate_micros(row, maker, price, size)) == expected.rebate_micros


def test_polymarket_rounds_once():
    # 0.07 x 0.001562 x 0.96 x 0.04 is 4.2 micros, nearer to 0 than to 10; up to 5 first, it would be 10.
    row = fee_row(d.FEE_POLYMARKET, 70_000)
    assert one_fill(row, 9_600, 1_562) == 0
    assert one_fill(row, 5_000, CONTRACT) == 17_500


@given(prices, sizes, rates)
def test_yes_and_no_pay_the_same(price, size, rate):
    for kind in (d.FEE_POLYMARKET, d.FEE_KALSHI):
        row = fee_row(kind, rate, unit=1)
        assert one_fill(row, price, size) == one_fill(row, 10_000 - price, size)


def test_no_fees():
    row = fee_row(d.FEE_NONE, 70_000, 70_000)
    assert one_fill(row, 5_000, CONTRACT) == one_fill(row, 5_000, CONTRACT, maker=True) == 0


@pytest.mark.parametrize(
    ("contracts", "price", "cents"), [(1, 5_000, 1), (10, 5_000, 5), (100, 5_000, 44), (100, 2_500, 33)]
)
def test_kalshi_maker_table(contracts, price, cents):
    # FEE-02: the maker fee of an account whose balance holds whole cents.
    row = fee_row(d.FEE_KALSHI, 70_000, 17_500, unit=10_000)
    assert one_fill(row, price, contracts * CONTRACT, maker=True) == cents * 10_000


@pytest.mark.parametrize(
    ("rate", "price", "fee"),
    [
        (70_000, 5_000, 1_750_000),
        (30_000, 3_000, 630_000),
        (40_000, 9_000, 360_000),
        (50_000, 5_400, 1_242_000),
    ],
)
def test_polymarket_categories(rate, price, fee):
    # FEE-04: 100 contracts; makers are free.
    row = fee_row(d.FEE_POLYMARKET, rate)
    assert one_fill(row, price, 100 * CONTRACT) == fee
    assert one_fill(row, price, 100 * CONTRACT, maker=True) == 0


@pytest.mark.parametrize(("unit", "debit"), [(100, 58_700), (10_000, 60_000)])
def test_kalshi_debit_of_one_contract(unit, debit):
    # FEE-11: 1 contract at 0.055 with a model fee of 0.00363825 leaves the balance on its unit.
    row = fee_row(d.FEE_KALSHI, 70_000, unit=unit)
    assert int(fees.fee_ceil_micros(70_000, 550, CONTRACT)) == 3_639  # 3,638.25 rounded up
    assert 55_000 + one_fill(row, 550, CONTRACT) == debit
