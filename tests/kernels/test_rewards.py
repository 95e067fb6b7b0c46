"""Quotes for liquidity rewards: published scores, the theory's optima, the slow reference, no broken rule."""

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.units import QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import quote_reference as reference
from pr3dict.kernels import reference as estimators
from pr3dict.kernels import rewards as r
from pr3dict.kernels.quote import decide as compiled
from pr3dict.kernels.world import make_grids

sys.path.insert(0, str(Path(__file__).parent))
from quote_cases import GRIDS, NOW, ROOMY, as_dict, decide, market_row, orders, reasons
from quote_cases import params_row as plain_params
from test_estimators import GRIDS as BOOK_GRIDS
from test_estimators import book_rows, books, order_rows
from test_quote_properties import GENERATED, markets, mirror_market, mirror_quote, settings_rows

CONTRACT = QTY_SCALE
HALF_DOLLAR = 10_000  # half units
BOOK = {
    "reward_spread": 450,
    "reward_mid": HALF_DOLLAR,
    "reward_min_size": 20 * CONTRACT,
    "reward_day_micros": 240 * 10**6,
    "reward_bid_others": 500 * CONTRACT,
    "reward_ask_others": 500 * CONTRACT,
    "lot": 10_000,
}
MODEL = {
    "reward_fill_rate_ppm": 60_000_000,
    "reward_fill_decay_ppm": 80_000_000,
    "reward_adverse_micros": 5_000,
    "reward_stress_ppm": 2_000_000,
}
MODES = st.sampled_from([d.REWARDS_RESPECT, d.REWARDS_OPTIMISE])


def params_row(**changes: int) -> np.record:
    return plain_params(**(MODEL | changes))


# --- the score: the venue's formulas ---------------------------------------------------------------


def test_the_references_own_example():
    """Maximum spread 3 cents, midpoint 50: bids 100 at 49 and 200 at 48, asks 100 at 51 and 50 at 52."""
    first = r.part(100 * CONTRACT, r.weight_ppm(300, 200)) + r.part(200 * CONTRACT, r.weight_ppm(300, 400))
    second = r.part(100 * CONTRACT, r.weight_ppm(300, 200)) + r.part(50 * CONTRACT, r.weight_ppm(300, 400))
    assert first / CONTRACT == pytest.approx(66.67, abs=0.005)
    assert second / CONTRACT == pytest.approx(50.0, abs=0.005)
    assert r.maker_score(first, second, HALF_DOLLAR) == second
    assert r.maker_score(first, 0, HALF_DOLLAR) / CONTRACT == pytest.approx(22.2, abs=0.05)


@pytest.mark.parametrize(
    ("one", "two", "mid", "score"),
    [
        (175_000_000, 0, 10_000, 58_333_333),
        (175_000_000, 0, 19_000, 0),
        (111_110_000, 175_000_000, 10_000, 111_110_000),
        (90, 3, 2_000, 30),  # the bounds belong to the band
        (90, 3, 18_000, 30),
        (90, 3, 1_999, 3),
        (90, 3, 18_001, 3),
    ],
)
def test_two_sides_count_by_the_weaker_or_a_third(one, two, mid, score):
    assert r.maker_score(one, two, mid) == r.maker_score(two, one, mid) == score


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=6),
    st.integers(0, 20_000),
)
def test_no_set_of_makers_scores_more_than_the_crowd_is_taken_for(makers, mid):
    together = r.crowd_score(sum(one for one, _ in makers), sum(two for _, two in makers), mid)
    assert sum(r.maker_score(one, two, mid) for one, two in makers) <= together


@given(st.integers(1, 2_000), st.integers(0, 5_000))
def test_the_weight_falls_from_one_to_nothing_at_the_spread(spread, halves):
    weight = r.weight_ppm(spread, halves)
    assert weight >= r.weight_ppm(spread, halves + 1) >= 0
    assert weight == math.floor(10**6 * max(0.0, 1 - halves / (2 * spread)) ** 2 + 1e-6) or halves == 0
    assert (weight > 0) == (halves < 2 * spread) or weight == 0
    assert r.weight_ppm(spread, 0) == 10**6
    assert r.weight_ppm(spread, 2 * spread) == 0


@given(st.integers(0, 10**12), st.integers(0, 10**13), st.integers(0, 10**12))
def test_the_reward_is_at_most_its_share_and_grows_with_the_score(own, others, day):
    paid = r.hourly_micros(day, own, others)
    assert paid * 24 * (own + others) <= day * own
    assert paid <= r.hourly_micros(day, own + CONTRACT, others)
    if own:
        assert day // 24 * own // (own + others) - paid <= day // 24 // 10**6 + 1


# --- the objective: the theory's known answers -----------------------------------------------------

TENTHS = make_grids([list(range(1, 10_000))])
KNOWN = [  # reward an hour of one side at no distance, best distance, best value
    (0.25, 0.023768709879, 1.110208508502),
    (8.0, 0.011004100058, 4.318044114778),
]


@pytest.mark.parametrize(("rate", "distance", "value"), KNOWN)
def test_the_objective_has_the_theorys_optimum(rate, distance, value):
    params = params_row()
    worth = {
        s: r.edge_micros(params, s * 100, 12_000, 10 * CONTRACT) + rate * r.weight_ppm(450, 2 * s)
        for s in range(451)
    }
    best = max(worth, key=worth.get)
    assert abs(best / 10_000 - distance) <= 1e-4
    assert worth[best] / 10**6 == pytest.approx(value, abs=2e-4)
    plain = max(range(451), key=lambda s: r.edge_micros(params, s * 100, 12_000, 10 * CONTRACT))
    assert plain == 245  # c + 1/k


@pytest.mark.parametrize(
    ("rate", "distance"), [*((rate, s) for rate, s, _ in KNOWN), (2.0, 0.01951), (40.0, 0.0001)]
)
def test_the_decision_rests_there_on_both_sides(rate, distance):
    """Each side's half of a pool that is large beside our share; at $40 an hour the corner wins."""
    params = params_row(
        rewards=d.REWARDS_OPTIMISE, base_spread_micros=49_000, min_spread_micros=0,
        reward_adverse_micros=12_000, reward_stress_ppm=0,
    )  # fmt: skip
    market = market_row(
        **(BOOK | {"reward_min_size": 10 * CONTRACT}) | {
            "reward_bid_others": 2_000 * CONTRACT, "reward_ask_others": 2_000 * CONTRACT,
            "reward_day_micros": round(24 * 2 * rate * 201 * 10**6),
        }
    )  # fmt: skip
    row = np.zeros(1, d.QUOTE)[0]
    compiled(market, params, TENTHS, 0, NOW, ROOMY, ROOMY, 0, row)
    ((bid, _),), ((ask, _),) = orders(row, "bid"), orders(row, "ask")
    assert 5_000 - bid == ask - 5_000
    assert abs((5_000 - bid) / 10_000 - distance) <= 1.5e-4
    assert row.reward_micros + row.reward_edge_micros >= row.unmoved_reward_micros + row.unmoved_edge_micros


# --- single decisions ------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"reward_spread": 0}, {"reward_mid": -1}])
def test_without_rewards_a_market_is_quoted_as_always(changes):
    market = market_row(**BOOK | changes)
    plain = as_dict(decide(market, params_row(rewards=d.REWARDS_OFF)))
    for mode in (d.REWARDS_RESPECT, d.REWARDS_OPTIMISE):
        assert as_dict(decide(market, params_row(rewards=mode))) == plain


def test_a_wide_quote_comes_into_the_band_in_the_least_size_that_scores():
    params = params_row(rewards=d.REWARDS_RESPECT, base_spread_micros=100_000)
    quote = decide(market_row(**BOOK), params)
    assert orders(quote, "bid") == [(4_600, 20 * CONTRACT)]  # 4.5 cents away scores nothing, 4 do
    assert orders(quote, "ask") == [(5_400, 20 * CONTRACT)]
    assert {"bid_moved_for_rewards", "ask_raised_for_rewards"} <= reasons(quote)
    assert quote.unmoved_reward_micros == 0 < quote.reward_micros


def test_nothing_is_moved_to_where_a_fill_costs_more_than_it_brings():
    params = params_row(rewards=d.REWARDS_RESPECT, base_spread_micros=100_000, reward_adverse_micros=40_001)
    quote = decide(market_row(**BOOK), params)
    assert orders(quote, "bid") == [(4_500, 10 * CONTRACT)]
    dear = decide(market_row(**BOOK, maker_cost_micros=35_001), params_row(
        rewards=d.REWARDS_RESPECT, base_spread_micros=100_000))  # fmt: skip
    assert orders(dear, "bid") == [(4_500, 10 * CONTRACT)]
    rebated = decide(market_row(**BOOK, maker_cost_micros=-2_000), params)
    assert orders(rebated, "bid") == [(4_600, 20 * CONTRACT)]


def test_sizes_are_raised_only_inside_every_limit():
    params = params_row(rewards=d.REWARDS_RESPECT, base_spread_micros=100_000)
    held = decide(market_row(net=35, **BOOK), params_row(
        rewards=d.REWARDS_RESPECT, rebalance_threshold=40 * CONTRACT, base_spread_micros=60_000))  # fmt: skip
    assert orders(held, "bid")[0][1] == 10 * CONTRACT  # 15 are left, 20 would score
    poor = decide(market_row(**BOOK), params, cash=12_000_000)
    assert orders(poor, "bid")[0][1] == 10 * CONTRACT
    assert "bid_raised_for_rewards" not in reasons(poor)
    large = decide(market_row(**BOOK | {"reward_min_size": 200 * CONTRACT}), params)
    assert orders(large, "bid") == [(4_500, 10 * CONTRACT)]


def test_a_large_pool_pulls_quotes_in_up_to_the_stressed_cost():
    rich = BOOK | {"reward_day_micros": 24_000 * 10**6}
    near = decide(market_row(**rich), params_row(rewards=d.REWARDS_OPTIMISE, min_spread_micros=0))
    assert orders(near, "bid")[0][0] == 4_900  # twice 0.5 cents must be earned
    careful = params_row(rewards=d.REWARDS_OPTIMISE, min_spread_micros=0, reward_stress_ppm=4_000_000)
    assert orders(decide(market_row(**rich), careful), "bid")[0][0] == 4_800
    hurt = market_row(**rich, markout_micros=-8_000.0, markout_weight=1_000.0)
    assert (
        orders(decide(hurt, params_row(rewards=d.REWARDS_OPTIMISE, markout_multiplier_ppm=0)), "bid")[0][0]
        == 4_800
    )  # the markout that was measured counts, not the setting


def test_when_skewed_the_far_quote_is_pulled_in_and_the_near_one_stays():
    """Only the weaker side's distance earns where both are needed (theory 6.4)."""
    params = params_row(rewards=d.REWARDS_OPTIMISE, min_spread_micros=0)
    market = market_row(
        net=18, fair_micros=930_000, bid_price=8_800, ask_price=9_800,
        **BOOK | {"reward_mid": 18_600, "reward_day_micros": 12_000 * 10**6},
    )  # fmt: skip
    plain, quote = decide(market, params_row()), decide(market, params)
    assert orders(quote, "bid")[0][0] > orders(plain, "bid")[0][0]
    assert orders(quote, "ask")[0][0] == orders(plain, "ask")[0][0]
    assert quote.reward_bid_score <= quote.reward_ask_score


def test_of_equal_pairs_the_outermost_is_taken():
    """Without fills only the score counts, and the bid's: any ask that scores no less earns the same."""
    params = params_row(rewards=d.REWARDS_OPTIMISE, min_spread_micros=0, reward_fill_rate_ppm=0)
    quote = decide(market_row(**BOOK | {"reward_mid": 10_104}), params)
    ((bid, _),), ((ask, _),) = orders(quote, "bid"), orders(quote, "ask")
    assert (bid, ask) == (4_900, 5_200)  # 1.52 and 1.48 cents from mid; 5,100 would do as well
    assert quote.reward_bid_score < quote.reward_ask_score


def test_a_third_of_one_side_may_be_worth_more_than_the_pair():
    params = params_row(rewards=d.REWARDS_OPTIMISE, min_spread_micros=0)
    market = market_row(net=18, **BOOK | {"reward_day_micros": 12_000 * 10**6})
    quote = decide(market, params)
    assert orders(quote, "bid")[0][0] == orders(decide(market, params_row()), "bid")[0][0]
    assert orders(quote, "ask")[0][0] == 5_100
    assert quote.reward_ask_score > 3 * quote.reward_bid_score


# --- against the reference, mirrored, and inside every rule ----------------------------------------


@st.composite
def rewarded(draw) -> np.record:
    market = draw(markets())
    fair = int(market.fair_micros)
    middle = fair // 50 if fair >= 0 else HALF_DOLLAR
    market.reward_spread = draw(st.sampled_from([0, 150, 300, 350, 450, 900]))
    near = st.integers(-300, 300).map(lambda shift: max(-1, middle + shift))
    market.reward_mid = draw(st.one_of(near, st.integers(-1, 20_000)))
    market.reward_min_size = draw(st.sampled_from([0, 1, 5, 20, 50])) * CONTRACT
    market.reward_day_micros = draw(st.sampled_from([0, 1, 5, 100, 3_000, 50_000])) * 10**6
    sizes = st.sampled_from([0, 1, 37 * CONTRACT, 500 * CONTRACT, 10**12])
    market.reward_bid_others, market.reward_ask_others = draw(sizes), draw(sizes)
    market.maker_cost_micros = draw(st.sampled_from([0, -2_500, 4_375]))
    return market


@st.composite
def rewarding(draw) -> np.record:
    params = draw(settings_rows())
    params.rewards = draw(MODES)
    params.reward_fill_rate_ppm = draw(st.sampled_from([0, 600_000, 60_000_000, 10**10]))
    params.reward_fill_decay_ppm = draw(st.sampled_from([1, 20, 80, 1_000])) * 10**6
    params.reward_adverse_micros = draw(st.sampled_from([0, 5_000, 20_000]))
    params.reward_stress_ppm = draw(st.sampled_from([0, 1_000_000, 2_500_000]))
    return params


CASES = GENERATED | {"market": rewarded(), "params": rewarding()}


@given(**CASES)
@settings(max_examples=600, deadline=None)
def test_compiled_rewards_equal_the_reference(market, params, grid, heat, cash, killed):
    fast = as_dict(decide(market, params, grid, heat=heat, cash=cash, killed=killed))
    slow = reference.decide(
        as_dict(market), as_dict(params), GRIDS[grid], NOW, heat, cash, killed=bool(killed)
    )
    assert fast == slow


def mirrored(market: np.record) -> np.record:
    other = mirror_market(market)
    if market.reward_mid >= 0:
        other.reward_mid = 20_000 - int(market.reward_mid)
    other.reward_bid_others, other.reward_ask_others = (
        int(market.reward_ask_others), int(market.reward_bid_others))  # fmt: skip
    return other


@given(**CASES)
@settings(max_examples=300, deadline=None)
def test_swapping_yes_and_no_mirrors_what_is_expected(market, params, grid, heat, cash, killed):
    """Between two pairs of equal worth one must be taken, so only worth and scores are sure to mirror."""
    params.target_inventory = 0
    here = as_dict(decide(market, params, grid, heat=heat, cash=cash, killed=killed))
    there = as_dict(decide(mirrored(market), params, grid, heat=heat, cash=cash, killed=killed))
    for name in ("unmoved_edge_micros", "unmoved_reward_micros", "reward_others", "rewards"):
        assert here[name] == there[name]
    assert (
        here["reward_micros"] + here["reward_edge_micros"]
        == there["reward_micros"] + there["reward_edge_micros"]
    )
    if params.rewards == d.REWARDS_RESPECT:
        expected = mirror_quote(here)
        for name in ("bid_price", "ask_price", "bid_size", "ask_size", "reasons"):
            assert there[name] == expected[name]


@given(**CASES)
@settings(max_examples=400, deadline=None)
def test_rewards_break_no_rule_and_never_lower_what_is_expected(market, params, grid, heat, cash, killed):
    quote = decide(market, params, grid, heat=heat, cash=cash, killed=killed)
    plain = params.copy()
    plain.rewards = d.REWARDS_OFF
    without = decide(market, plain, grid, heat=heat, cash=cash, killed=killed)
    bids, asks = orders(quote, "bid"), orders(quote, "ask")
    if quote.rewards == d.REWARDS_OFF:
        assert as_dict(quote) == as_dict(without)
        return
    if params.rewards == d.REWARDS_OPTIMISE:
        before = int(quote.unmoved_reward_micros) + int(quote.unmoved_edge_micros)
        assert int(quote.reward_micros) + int(quote.reward_edge_micros) >= before
    reservation = int(market.fair_micros) + int(quote.skew_micros)
    for sign, moved in ((1, quote.reward_bid_price), (-1, quote.reward_ask_price)):
        if moved:
            assert sign * (reservation - int(moved) * 100) * 2 >= params.min_spread_micros
            assert abs(2 * int(moved) - int(market.reward_mid)) < 2 * int(market.reward_spread)
    for side, mine in (("bid", bids), ("ask", asks)):
        for price, size in mine:
            assert price in GRIDS[grid]
            assert size % int(market.lot) == 0
            assert max(int(market.min_size), int(market.lot)) <= size <= params.max_order_size
        raised = int(quote[f"reward_{side}_size"])
        if mine and raised > min(params.quote_size, params.max_order_size):
            assert raised >= market.reward_min_size
    if bids and asks:
        assert bids[0][0] < asks[0][0]
    net = int(market.yes_contracts) - int(market.no_contracts) - int(params.target_inventory)
    if bids:
        assert market.far_ask_price < 0 or bids[0][0] < market.far_ask_price
        assert net + sum(size for _, size in bids) <= params.max_inventory
    if asks:
        assert market.far_bid_price < 0 or asks[0][0] > market.far_bid_price
        assert sum(size for _, size in asks) - net <= params.max_inventory


# --- what is seen of the others ----------------------------------------------------------------------


@given(books(), st.booleans(), st.sampled_from([0, 1, 10**8, 10**9]), st.sampled_from([50, 150, 900]))
@settings(max_examples=200, deadline=None)
def test_the_competition_is_the_book_without_us_and_without_what_is_too_small(case, own_shown, least, spread):
    levels, own, grid = case
    market = market_row(
        book_includes_own=own_shown, reward_spread=spread, reward_min_size=least, reward_mid=77
    )
    book, depth = book_rows(levels, grid)
    r.measure_rewards(market, np.zeros(1, d.FEE)[0], book, depth, BOOK_GRIDS, order_rows(own))
    others = estimators.without_own(levels, own) if own_shown else levels
    counted = {key: size for key, size in others.items() if size > 0 and size >= least}
    bids = {price: size for (side, price), size in counted.items() if side == d.BID}
    asks = {price: size for (side, price), size in counted.items() if side == d.ASK}
    if not bids or not asks:
        assert (market.reward_mid, market.reward_bid_others, market.reward_ask_others) == (-1, 0, 0)
        return
    mid = Fraction(max(bids) + min(asks), 2)
    assert market.reward_mid == 2 * mid
    for side, seen in ((bids, market.reward_bid_others), (asks, market.reward_ask_others)):
        weights = {price: max(Fraction(0), 1 - abs(price - mid) / spread) ** 2 for price in side}
        assert seen == sum(size * (weights[price] * 10**6 // 1) // 10**6 for price, size in side.items())


def test_the_makers_cost_is_his_fee_less_his_rebate_at_fair_value():
    market = market_row(**BOOK)
    fee = np.zeros(1, d.FEE)[0]
    fee.kind, fee.taker_ppm, fee.rebate_ppm = d.FEE_POLYMARKET, 50_000, 250_000
    levels = {(d.BID, 4_900): 10**9, (d.ASK, 5_100): 10**9}
    book, depth = book_rows(levels, 0)
    r.measure_rewards(market, fee, book, depth, BOOK_GRIDS, order_rows([]))
    assert market.maker_cost_micros == -3_125  # a quarter of 0.05 x 0.5 x 0.5
