"""Fair values against their slow reference, mirrored, and where there is none."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import fair, reference
from pr3dict.kernels.world import new_market

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_790_000_000 * SECOND
CONTRACT = 1_000_000
MODELS = [d.FAIR_MID, d.FAIR_MICROPRICE, d.FAIR_ORDER_FLOW]

sizes = st.integers(1, 9 * 10**13) | st.integers(1, 1000)
two_sided = st.builds(
    lambda low, high, bid_size, ask_size: reference.Touch(min(low, high), bid_size, max(low, high), ask_size),
    st.integers(1, 9_999),
    st.integers(1, 9_999),
    sizes,
    sizes,
)
contracts = st.floats(0, 1e6)


def new_params(model, weight_ppm=500_000, half_life_ns=30 * SECOND):
    params = np.zeros(1, d.PARAMS)[0]
    params.fair_model, params.flow_weight_ppm, params.flow_half_life_ns = model, weight_ppm, half_life_ns
    return params


def new_state(touch, *, bought=0.0, sold=0.0, volatility=0):
    market = new_market()[0]
    market.bid_price, market.bid_size, market.ask_price, market.ask_size = touch
    market.flow_ns = market.book_ns = START
    market.flow_signed, market.flow_total = bought - sold, bought + sold
    market.volatility_micros = volatility
    return market


def fair_of(model, touch, *, now=START, **state):
    market = new_state(touch, **state)
    fair.update_fair(market, new_params(model), now)
    return int(market.fair_micros)


def test_known_answer_mid_of_yes_and_no_bids():
    # FV-02: YES bid 0.68 and NO bid 0.29 make an ask of 0.71 and a mid of 0.695.
    yes_ask = 10_000 - 2_900
    assert yes_ask == 7_100
    assert fair.mid_micros(6_800, yes_ask) == 695_000
    assert fair_of(d.FAIR_MID, (6_800, CONTRACT, yes_ask, CONTRACT)) == 695_000


def test_microprice_leans_to_the_thin_side_and_flow_to_the_takers():
    touch = (4_800, 30 * CONTRACT, 5_200, 10 * CONTRACT)
    # I = 30 / 40; 0.75 x 0.52 + 0.25 x 0.48 = 0.51.
    assert fair_of(d.FAIR_MICROPRICE, touch) == 510_000
    # 20 bought against a touch of 20 on average: half of the weight 0.5 of 2 cents.
    assert fair_of(d.FAIR_ORDER_FLOW, touch, bought=20.0) == 515_000
    assert fair_of(d.FAIR_ORDER_FLOW, touch, sold=20.0) == 505_000
    # A half life later 10 are left: a third of it.
    assert fair_of(d.FAIR_ORDER_FLOW, touch, bought=20.0, now=START + 30 * SECOND) == 513_333
    # Long after, nothing is; and flow never moves fair value out of the spread.
    assert fair_of(d.FAIR_ORDER_FLOW, touch, bought=20.0, now=START + HOUR) == 510_000
    thin = (4_800, 30 * CONTRACT, 5_200, CONTRACT)
    assert fair_of(d.FAIR_ORDER_FLOW, thin, bought=1e9) == 520_000


@given(two_sided, contracts, contracts, st.integers(0, 1_000_000), st.sampled_from(MODELS))
@settings(deadline=None, max_examples=200)
def test_fair_equals_reference_and_stays_inside_the_touch(touch, bought, sold, weight_ppm, model):
    market = new_state(touch, bought=bought, sold=sold)
    fair.update_fair(market, new_params(model, weight_ppm), START)
    expected = reference.fair_micros(
        model, touch, bought - sold, bought + sold, Fraction(weight_ppm, 1_000_000)
    )
    # Mid and microprice are exact; flow is a float before it is cut to a whole micro.
    assert abs(int(market.fair_micros) - expected) <= (1 if model == d.FAIR_ORDER_FLOW else 0)
    assert touch.bid_price * 100 <= market.fair_micros <= touch.ask_price * 100


@given(
    two_sided,
    contracts,
    contracts,
    st.sampled_from(MODELS),
    st.integers(0, 10 * HOUR),
    st.integers(0, 1_000_000),
)
@settings(deadline=None, max_examples=200)
def test_swapping_yes_and_no_gives_one_dollar_less_fair(touch, bought, sold, model, age, volatility):
    swapped = (10_000 - touch.ask_price, touch.ask_size, 10_000 - touch.bid_price, touch.bid_size)
    one = new_state(touch, bought=bought, sold=sold, volatility=volatility)
    two = new_state(swapped, bought=sold, sold=bought, volatility=volatility)
    for market in (one, two):
        fair.update_fair(market, new_params(model), START + age)
    assert one.fair_micros + two.fair_micros == 1_000_000
    assert one.uncertainty_micros == two.uncertainty_micros


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "touch",
    [(-1, 0, -1, 0), (4_800, 1, -1, 0), (-1, 0, 5_200, 1), (5_300, 1, 5_200, 1)],
    ids=["empty", "no ask", "no bid", "crossed"],
)
def test_a_broken_book_has_no_fair_value_and_keeps_none(model, touch):
    market = new_state((4_800, 1, 5_200, 1))
    fair.update_fair(market, new_params(model), START)
    assert market.fair_micros == 500_000
    market.bid_price, market.bid_size, market.ask_price, market.ask_size = touch
    fair.update_fair(market, new_params(model), START)
    assert (market.fair_micros, market.uncertainty_micros) == (-1, -1)


def test_no_size_is_no_microprice_and_no_model_no_value():
    assert fair_of(d.FAIR_MICROPRICE, (4_800, 0, 5_200, 1)) == -1
    assert fair_of(99, (4_800, 1, 5_200, 1)) == -1


def test_a_locked_book_has_its_price():
    assert [fair_of(model, (5_000, 7, 5_000, 3), bought=9.0) for model in MODELS] == [500_000] * 3


def test_uncertainty_is_half_the_spread_plus_volatility_over_the_age_of_the_book():
    def after(age, volatility, touch=(4_800, 1, 5_200, 1)):
        market = new_state(touch, volatility=volatility)
        fair.update_fair(market, new_params(d.FAIR_MID), START + age)
        return market.uncertainty_micros

    assert after(0, 50_000) == 20_000
    assert after(HOUR // 4, 50_000) == 20_000 + 25_000
    assert after(-SECOND, 50_000) == 20_000
    # However old, a price of 0.10 has no more variance left than 0.1 x 0.9.
    assert after(10_000 * HOUR, 50_000, (900, 1, 1_100, 1)) == 10_000 + int(math.sqrt(0.09) * 1e6)
