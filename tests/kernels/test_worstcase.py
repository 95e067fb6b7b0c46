"""Worst cases against a search over every outcome and every set of fills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import reference, worstcase
from pr3dict.kernels.world import new_market

CONTRACT = 1_000_000

orders = st.lists(
    st.builds(
        reference.Own,
        st.sampled_from([d.BID, d.ASK]),
        st.integers(1, 9_999),
        st.integers(1, 10**9) | st.integers(1, 10**13),
        st.sampled_from([d.FREE, d.PENDING, d.LIVE, d.CANCELING]),
    ),
    max_size=7,
)
holdings = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(-(10**9), 2 * 10**9))
money = st.integers(-(10**12), 10**12)
markets = st.lists(st.tuples(money, money, st.integers(-1, 3)), max_size=9)


def order_rows(own):
    rows = np.zeros(d.ORDER_SLOTS, d.ORDER)
    # Gaps between them, and both legs: neither may matter.
    for k, order in enumerate(own):
        rows[k * 5].side, rows[k * 5].price, rows[k * 5].remaining, rows[k * 5].state = order
        rows[k * 5].leg = k % 2
    return rows


def market_with(yes, no, cost):
    market = new_market()[0]
    market.yes_contracts, market.no_contracts, market.cost_micros = yes, no, cost
    return market


def columns(rows):
    return tuple(np.array([row[k] for row in rows], np.int64) for k in range(3))


def test_known_answer_of_a_position_with_pairs():
    # BIN-16: 30 YES at 0.45 and 10 NO at 0.50: +11.50 if YES, -8.50 if NO.
    cost = 13_500_000 + 5_000_000
    market = market_with(30 * CONTRACT, 10 * CONTRACT, cost)
    nothing = order_rows([])
    assert worstcase.loss_if(market, nothing) == (-11_500_000, 8_500_000)
    assert worstcase.market_loss_micros(market, nothing) == 8_500_000
    assert worstcase.market_worst_loss(30 * CONTRACT, 10 * CONTRACT, cost, 0, 0) == 8_500_000
    if_yes, if_no = (np.array([x], np.int64) for x in worstcase.loss_if(market, nothing))
    assert worstcase.event_worst_loss(if_yes, if_no, False) == 8_500_000
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.array([-1])) == 8_500_000
    # The ten pairs inside cost 9.50 and pay 10.00 whatever happens.
    pairs = market_with(10 * CONTRACT, 10 * CONTRACT, 4_500_000 + 5_000_000)
    assert worstcase.loss_if(pairs, nothing) == (-500_000, -500_000)


@given(holdings, orders)
@settings(deadline=None, max_examples=150)
def test_market_loss_is_the_worst_of_all_subsets_of_fills_and_outcomes(held, own):
    market, rows = market_with(*held), order_rows(own)
    expected = reference.losses(*held, own)
    assert worstcase.loss_if(market, rows) == expected
    assert worstcase.market_loss_micros(market, rows) == max(expected)


@given(holdings, orders)
@settings(deadline=None, max_examples=60)
def test_losses_swap_when_yes_and_no_swap(held, own):
    yes, no, cost = held
    flipped = [reference.Own(1 - o.side, 10_000 - o.price, o.remaining, o.state) for o in own]
    if_yes, if_no = worstcase.loss_if(market_with(yes, no, cost), order_rows(own))
    assert worstcase.loss_if(market_with(no, yes, cost), order_rows(flipped)) == (if_no, if_yes)


@given(holdings, orders, orders)
@settings(deadline=None, max_examples=60)
def test_more_orders_never_lower_the_loss(held, own, more):
    market = market_with(*held)
    few = worstcase.loss_if(market, order_rows(own[:4]))
    many = worstcase.loss_if(market, order_rows(own[:4] + more[:4]))
    assert few[0] <= many[0]
    assert few[1] <= many[1]


def test_a_part_of_a_micro_is_a_loss():
    market = market_with(0, 0, 0)
    rows = order_rows([reference.Own(d.BID, 1, 1, d.LIVE), reference.Own(d.ASK, 9_999, 1, d.PENDING)])
    assert worstcase.loss_if(market, rows) == (1, 1)


def test_a_full_set_of_very_large_orders_does_not_overflow():
    rows = np.zeros(d.ORDER_SLOTS, d.ORDER)
    rows["price"], rows["remaining"], rows["state"] = 9_999, 10**13, d.LIVE
    expected = 48 * 9_999 * 10**13 // 10_000
    assert worstcase.loss_if(market_with(0, 0, 0), rows) == (0, expected)


@given(markets, st.booleans())
@settings(deadline=None, max_examples=100)
def test_event_loss_is_the_worst_of_its_outcomes(rows, exhaustive):
    if_yes, if_no, _ = columns(rows)
    expected = reference.event_worst_loss(if_yes.tolist(), if_no.tolist(), exhaustive)
    assert worstcase.event_worst_loss(if_yes, if_no, exhaustive) == expected


@given(markets)
@settings(deadline=None, max_examples=100)
def test_portfolio_heat_is_the_sum_over_events_of_their_worst_outcome(rows):
    if_yes, if_no, events = columns(rows)
    heat = worstcase.portfolio_heat_micros(if_yes, if_no, events)
    assert heat == reference.portfolio_heat_micros(if_yes.tolist(), if_no.tolist(), events.tolist())


@given(st.lists(st.tuples(money, money), min_size=1, max_size=6))
@settings(deadline=None, max_examples=100)
def test_a_market_joins_what_the_others_of_its_event_lose(rows):
    (if_yes, if_no), others = rows[0], rows[1:]
    none = sum(no for _, no in others)
    swing = max([0, *(yes - no for yes, no in others)])
    losses = [[row[k] for row in rows] for k in range(2)]
    expected = max(0, reference.event_worst_loss(*losses, exhaustive=False))
    assert worstcase.joined_loss_micros(none, swing, if_yes, if_no) == expected


def test_exclusive_outcomes_share_one_loss():
    # Ten NO at 0.70 in each of three outcomes of one event: one of them loses $7, the others win $3 each.
    if_yes = np.full(3, 7 * CONTRACT, np.int64)
    if_no = np.full(3, -3 * CONTRACT, np.int64)
    assert worstcase.event_worst_loss(if_yes, if_no, True) == 1 * CONTRACT
    assert worstcase.event_worst_loss(if_yes, if_no, False) == 1 * CONTRACT
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.zeros(3, np.int64)) == 1 * CONTRACT
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.full(3, -1)) == 21 * CONTRACT
    # Ten YES at 0.20 in each: if none of ours wins all is lost; if one must, $4 are won.
    if_yes, if_no = np.full(3, -8 * CONTRACT, np.int64), np.full(3, 2 * CONTRACT, np.int64)
    assert worstcase.event_worst_loss(if_yes, if_no, False) == 6 * CONTRACT
    assert worstcase.event_worst_loss(if_yes, if_no, True) == -4 * CONTRACT


@pytest.mark.parametrize("exhaustive", [True, False])
def test_nothing_at_risk_is_zero(exhaustive):
    none = np.zeros(0, np.int64)
    assert worstcase.event_worst_loss(none, none, exhaustive) == 0
    assert worstcase.portfolio_heat_micros(none, none, none) == 0
    assert worstcase.joined_loss_micros(0, 0, 0, 0) == 0


def test_a_certain_profit_pays_for_no_other_event():
    if_yes, if_no = np.array([-5, 3], np.int64), np.array([-2, 1], np.int64)
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.array([-1, -1])) == 3
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.array([4, 5])) == 3
    # In one event it does: the second YES loses 3 while the first gains 2.
    assert worstcase.portfolio_heat_micros(if_yes, if_no, np.array([4, 4])) == 1
