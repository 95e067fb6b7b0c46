"""The compiled brain and the domain say the same: codes, positions and fees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import fees, units
from pr3dict.domain.fees import FeeState, Formula, KalshiFeeChange
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.market import MarketStatus
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import fees as kernel_fees
from pr3dict.kernels import position

NOW = fees.KALSHI_MICRO_NS
SIZES = st.integers(1, 10**5).map(lambda lots: lots * 10_000)
SIDES = st.sampled_from([units.BID, units.ASK])


def test_codes_are_the_same() -> None:
    assert (d.BID, d.ASK) == (units.BID, units.ASK)
    for name in ("INITIALIZED", "ACTIVE", "PAUSED", "CLOSED", "DETERMINED", "SETTLED"):
        assert getattr(d, name) == MarketStatus[name]
    assert d.POST_ONLY_MODE == MarketStatus.POST_ONLY_MODE
    assert d.RESTARTING == MarketStatus.RESTARTING
    for formula in Formula:
        assert getattr(d, f"FEE_{formula.name}") == formula


@given(st.lists(st.tuples(SIDES, st.integers(1, 9_999), st.integers(1, 10**9)), max_size=10), st.booleans())
def test_positions_and_cash_agree(fills: list[tuple[int, int, int]], nets: bool) -> None:
    row, held = np.zeros(1, d.HOLDING)[0], Inventory()
    for side, price, size in fills:
        cash = position.yes_cash_micros(side, price, size)
        change = position.apply_fill(row, nets, side, d.BUY_LEG, cash, size)
        after = held.fill(side, price, size, nets=nets)
        assert change == held.cost_micros - after.cost_micros
        held = after
    assert (row.yes_contracts, row.no_contracts) == (held.yes_contracts, held.no_contracts)
    assert row.cost_micros == held.cost_micros


@pytest.mark.parametrize("direct", [True, False])
@given(price=st.integers(1, 9_999), sizes=st.lists(SIZES, min_size=1, max_size=6), maker=st.booleans())
def test_kalshi_fees_of_an_order_agree(price: int, sizes: list[int], maker: bool, direct: bool) -> None:
    change = KalshiFeeChange(fee_type="quadratic_with_maker_fees", multiplier_ppm=10**6)
    terms = fees.kalshi_schedule([change], direct_member=direct).at(NOW)
    row = np.zeros(1, d.FEE)[0]
    row.kind, row.taker_ppm, row.maker_ppm = terms.formula, terms.taker_ppm, terms.maker_ppm
    row.trade_unit_micros = terms.trade_fee_unit_micros
    row.unit_micros = terms.balance_unit_micros
    row.rebate_unit_micros = terms.rebate_unit_micros
    order, state = np.zeros(1, d.EXCHANGE_ORDER)[0], FeeState()
    for size in sizes:
        paid = units.notional_ceil(price, size)
        fill = fees.charge(terms, price=price, size=size, revenue_micros=-paid, maker=maker, state=state)
        assert kernel_fees.fill_fee_micros(row, maker, price, size, paid, order) == fill.fee_micros
        state = fill.state
    assert order.fee_accumulator_micros == state.accumulator_micros


@given(st.integers(1, 9_999), SIZES, st.sampled_from(fees.POLYMARKET_CATEGORIES))
def test_polymarket_fees_and_rebates_agree(price: int, size: int, category: str) -> None:
    terms = fees.polymarket_schedule(category).at(NOW)
    row, order = np.zeros(1, d.FEE)[0], np.zeros(1, d.EXCHANGE_ORDER)[0]
    row.kind, row.taker_ppm, row.rebate_ppm = terms.formula, terms.taker_ppm, terms.rebate_ppm
    for maker in (False, True):
        fill = fees.charge(terms, price=price, size=size, revenue_micros=0, maker=maker)
        assert kernel_fees.fill_fee_micros(row, maker, price, size, 0, order) == fill.fee_micros
        # The kernel takes its share of a fee in whole micros, the domain of the exact one.
        assert abs(kernel_fees.fill_rebate_micros(row, maker, price, size) - fill.rebate_micros) <= 1
