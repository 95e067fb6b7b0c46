"""Contracts and cash: nothing is made or lost by fills, merges and settlements."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import position

CONTRACT = 1_000_000
DOLLAR = 1_000_000  # micros

fills = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(1, 9_999),
        st.integers(1, 50 * CONTRACT),
        st.booleans(),
    ),
    max_size=25,
)
marks = st.sampled_from([0, DOLLAR]) | st.integers(0, DOLLAR)
thresholds = st.sampled_from([0, 1, 5 * CONTRACT])


def trade_all(steps, nets, threshold):
    """Book fills (side, leg, price, size, merge afterwards); the row, cash, cash in YES terms and net."""
    row = np.zeros(1, d.HOLDING)[0]
    cash = yes_terms = net = 0
    for side, leg, price, size, merge in steps:
        amount = int(position.yes_cash_micros(side, price, size))
        yes_terms += amount
        net += size if side == d.BID else -size
        cash += int(position.apply_fill(row, nets, side, leg, amount, size))
        if merge:
            cash += int(position.merge_pairs(row, threshold))
    return row, cash, yes_terms, net


def held(row):
    return int(row.yes_contracts), int(row.no_contracts)


@given(fills, st.booleans(), thresholds)
def test_contracts_are_conserved_and_nobody_shorts(steps, nets, threshold):
    row, cash, _, net = trade_all(steps, nets, threshold)
    yes, no = held(row)
    assert yes - no == net
    assert yes >= 0 and no >= 0
    assert int(row.cost_micros) == -cash
    assert not nets or yes == 0 or no == 0


@given(fills, st.booleans(), thresholds, marks)
def test_cash_and_value_at_any_mark_are_the_trades_in_yes_terms(steps, nets, threshold, mark):
    row, cash, yes_terms, net = trade_all(steps, nets, threshold)
    exact = yes_terms + Fraction(net * mark, DOLLAR)
    equity = cash + int(position.value_micros(row, mark))
    assert 0 <= exact - equity < 1
    if mark in (0, DOLLAR):
        assert equity == exact


@given(fills, marks)
def test_merging_changes_no_equity(steps, mark):
    apart, cash_apart, *_ = trade_all(steps, False, 0)
    merged, cash_merged, *_ = trade_all(steps, False, 1)
    exact = [
        cash + Fraction(yes * mark + no * (DOLLAR - mark), DOLLAR)
        for cash, (yes, no) in ((cash_apart, held(apart)), (cash_merged, held(merged)))
    ]
    assert exact[0] == exact[1]


@given(fills, st.booleans(), thresholds, marks)
def test_settlement_pays_the_value_and_leaves_nothing(steps, nets, threshold, value):
    row, cash, yes_terms, net = trade_all(steps, nets, threshold)
    worth = int(position.value_micros(row, value))
    cost = int(row.cost_micros)
    assert int(position.settle(row, value, False)) == worth
    assert held(row) == (0, 0)
    assert int(row.cost_micros) == cost - worth
    if value in (0, DOLLAR):
        assert cash + worth == yes_terms + net * value // DOLLAR


@given(fills, st.booleans(), thresholds)
def test_a_refund_returns_what_was_paid(steps, nets, threshold):
    row, cash, *_ = trade_all(steps, nets, threshold)
    assert cash + int(position.settle(row, 0, True)) == 0
    assert held(row) == (0, 0) and int(row.cost_micros) == 0


@given(st.integers(0, 10_000), st.integers(0, 10**13))
def test_rounding_never_favours_us(price, size):
    exact = Fraction(price * size, 10_000)
    paid = -int(position.yes_cash_micros(d.BID, price, size))
    received = int(position.yes_cash_micros(d.ASK, price, size))
    assert 0 <= paid - exact < 1
    assert 0 <= exact - received < 1


@pytest.mark.parametrize(
    ("nets", "leg", "change", "after"),
    [
        (True, d.BUY_LEG, 8_800_000, (0, 2 * CONTRACT)),  # 10 sold at 0.90, 2 NO bought at 0.10
        (False, d.BUY_LEG, -1_200_000, (10 * CONTRACT, 12 * CONTRACT)),  # 12 NO bought at 0.10
        (False, d.SELL_LEG, 8_800_000, (0, 2 * CONTRACT)),  # what is no longer held is bought as NO
    ],
)
def test_an_ask_of_12_against_10_held(nets, leg, change, after):
    row = np.zeros(1, d.HOLDING)[0]
    row.yes_contracts = 10 * CONTRACT
    cash = position.yes_cash_micros(d.ASK, 9_000, 12 * CONTRACT)
    assert position.apply_fill(row, nets, d.ASK, leg, cash, 12 * CONTRACT) == change
    assert held(row) == after


@pytest.mark.parametrize(("threshold", "pairs"), [(0, 0), (3 * CONTRACT, 3), (4 * CONTRACT, 0), (1, 3)])
def test_pairs_are_merged_from_the_threshold_on(threshold, pairs):
    row = np.zeros(1, d.HOLDING)[0]
    row.yes_contracts, row.no_contracts = 5 * CONTRACT, 3 * CONTRACT
    assert position.merge_pairs(row, threshold) == pairs * CONTRACT
    assert held(row) == ((5 - pairs) * CONTRACT, (3 - pairs) * CONTRACT)
