"""The quoting policy: the requirement's worked examples, each gate, limit and setting by itself."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import quote as q
from pr3dict.kernels.quote_levels import outward_price

sys.path.insert(0, str(Path(__file__).parent))
from quote_cases import ALL_GRIDS, NOW, PARAMS, as_dict, decide, market_row, orders, params_row, reasons

# --- the requirement's own numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("liquidity", "hours", "net", "volatile", "spread"),
    [
        (20_000, 72, 5, False, 40_000),
        (6_000, 48, 0, False, 60_000),
        (15_000, 3, 0, False, 80_000),
        (12_000, 24, 25, False, 78_000),
        (6_000, 3, 25, True, 120_000),
        # Bounds: a threshold itself belongs to the milder side, a tier's end to the tier.
        (10_000, 72, 10, False, 40_000),
        (20_000, 6, 0, False, 80_000),
        (20_000, 6.0001, 0, False, 60_000),
        (20_000, 24.0001, 11, False, 52_000),
    ],
)
def test_spread_table(liquidity, hours, net, volatile, spread):
    market = market_row(
        net=net, hours=hours, liquidity_micros=liquidity * 10**6, volatility_micros=50_000 + volatile
    )
    assert decide(market, params_row()).spread_micros == spread


@pytest.mark.parametrize(
    ("net", "skew"), [(10, 0), (11, -10_000), (19, -10_000), (25, -20_000), (-25, 20_000), (50, -50_000)]
)
def test_skew_counts_whole_tens_towards_zero(net, skew):
    assert decide(market_row(net=net), params_row()).skew_micros == skew


def test_skew_alone_moves_both_quotes():
    quote = decide(market_row(net=25), params_row(inventory_multiplier_ppm=1_000_000))
    assert (quote.unskewed_bid_micros, quote.unskewed_ask_micros) == (480_000, 520_000)
    assert (quote.skewed_bid_micros, quote.skewed_ask_micros) == (460_000, 500_000)


def test_whole_pipeline_at_plus_25_quotes_the_ask_only():
    quote = decide(market_row(net=25, hours=24, liquidity_micros=12_000 * 10**6), params_row())
    assert quote.spread_micros == 78_000
    assert (quote.skewed_bid_micros, quote.skewed_ask_micros) == (441_000, 519_000)
    assert orders(quote, "bid") == []
    assert orders(quote, "ask") == [(5_200, 10 * QTY_SCALE)]


@pytest.mark.parametrize(
    ("net", "state", "sides"),
    [
        (10, d.STATE_NORMAL, "bid ask"),
        (11, d.STATE_SKEWED, "bid ask"),
        (20, d.STATE_SKEWED, "bid ask"),
        (21, d.STATE_REBALANCING, "ask"),
        (50, d.STATE_REBALANCING, "ask"),
        (51, d.STATE_FORCED_EXIT, "ask"),
        (-21, d.STATE_REBALANCING, "bid"),
        (-51, d.STATE_FORCED_EXIT, "bid"),
    ],
)
def test_inventory_bands(net, state, sides):
    quote = decide(market_row(net=net, hours=100), params_row())
    assert quote.state == state
    assert " ".join(side for side in ("bid", "ask") if orders(quote, side)) == sides


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        (448_000, 526_000, (4_400, 5_300)),
        (4_900, 31_200, (-1, 400)),
        (971_200, 1_004_000, (9_700, -1)),
        (500_000, 520_000, (5_000, 5_200)),
        (1_004_000, -4_000, (-1, -1)),
    ],
)
def test_rounding_moves_outward_and_never_back_onto_the_grid(bid, ask, expected):
    assert outward_price(ALL_GRIDS, 0, d.BID, bid) == expected[0]
    assert outward_price(ALL_GRIDS, 0, d.ASK, ask) == expected[1]


def test_a_side_off_the_grid_is_pulled_through_the_whole_decision():
    low = decide(market_row(fair_micros=18_000, bid_price=100, ask_price=400), params_row())
    assert orders(low, "bid") == []
    assert orders(low, "ask")[0][0] == 400
    assert "bid_off_grid" in reasons(low)
    high = decide(market_row(fair_micros=982_000, bid_price=9_600, ask_price=9_900), params_row())
    assert orders(high, "ask") == []
    assert orders(high, "bid")[0][0] == 9_600


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**6))
def test_scaling_rounds_half_away_from_zero_and_mirrors(value, ppm):
    scaled = q.scale_ppm(value, ppm)
    assert abs(2 * (scaled * 10**6 - value * ppm)) <= 10**6
    assert q.scale_ppm(-value, ppm) == -scaled
    assert (q.scale_ppm(1, 500_000), q.scale_ppm(3, 500_000)) == (1, 2)


# --- gates, filters, pauses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": d.PAUSED}, "market_not_active"),
        ({"fair_micros": -1}, "no_book"),
        ({"bid_price": -1, "ask_price": -1}, "no_book"),
        ({"ask_price": -1}, "one_sided_book"),
        ({"ask_price": 4_500}, "crossed_book"),
        ({"paused_until_ns": NOW + 1}, "volume_pause"),
        ({"news_until_ns": NOW + 1, "news_severity": d.NEWS_PULL}, "news_pause"),
        ({"liquidity_micros": 5_000 * 10**6 - 1}, "low_liquidity"),
        ({"stated_liquidity_micros": 4_999 * 10**6}, "low_liquidity"),
        ({"resolution_ns": -1}, "unknown_resolution_time"),
        ({"hours": 0.4999}, "too_close_to_resolution"),
        ({"hours": 168.0001}, "too_far_from_resolution"),
        ({"bid_price": 4_950, "ask_price": 5_100}, "narrow_spread"),
    ],
)
def test_each_gate_stops_a_flat_market_and_says_why(changes, reason):
    quote = decide(market_row(**changes), params_row())
    assert reason in reasons(quote)
    assert orders(quote, "bid") == orders(quote, "ask") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"hours": 0.5},
        {"hours": 168},
        {"liquidity_micros": 5_000 * 10**6},
        {"bid_price": 4_900, "ask_price": 5_100},
    ],
)
def test_filters_admit_their_own_bounds(changes):
    quote = decide(market_row(**changes), params_row())
    assert orders(quote, "bid")
    assert orders(quote, "ask")


@pytest.mark.parametrize("net", [4, -4])
@pytest.mark.parametrize("changes", [{"liquidity_micros": 0}, {"hours": 0.3}, {"resolution_ns": -1}])
def test_a_market_that_stops_qualifying_is_wound_down(net, changes):
    quote = decide(market_row(net=net, **changes), params_row())
    assert "reduce_only" in reasons(quote)
    reducing, opening = ("ask", "bid") if net > 0 else ("bid", "ask")
    assert [size for _, size in orders(quote, reducing)] == [4 * QTY_SCALE]
    assert orders(quote, opening) == []


def test_winding_down_never_builds_towards_a_target():
    params = params_row(target_inventory=20 * QTY_SCALE)
    quote = decide(market_row(net=0, liquidity_micros=0), params)
    assert orders(quote, "bid") == orders(quote, "ask") == []


def test_kill_switch_stops_even_a_forced_exit():
    quote = decide(market_row(net=80), params_row(), killed=1)
    assert quote.state == d.STATE_FORCED_EXIT
    assert orders(quote, "ask") == []
    assert "daily_loss_limit" in reasons(quote)


def test_news_and_markouts_widen():
    widened = decide(market_row(news_until_ns=NOW + 1, news_severity=d.NEWS_WIDEN), params_row())
    assert (widened.spread_markout_micros, widened.spread_news_micros) == (40_000, 80_000)
    hurt = market_row(markout_micros=-7_500.9, markout_weight=100.0)
    assert decide(hurt, params_row()).spread_micros == 40_000 + 2 * 7_500
    assert decide(hurt, params_row(markout_min_contracts=101 * QTY_SCALE)).spread_micros == 40_000


# --- forced exit ---------------------------------------------------------------------------------------


def test_forced_exit_crosses_inside_its_bound():
    quote = decide(market_row(net=53, bid_price=4_700), params_row())
    assert quote.exit == 1
    assert quote.ask_tif == d.LIMIT
    assert orders(quote, "ask") == [(4_500, 3 * QTY_SCALE)]
    assert "exit_unabsorbed" not in reasons(quote)


def test_exit_bound_is_rounded_towards_fair():
    quote = decide(market_row(net=-51, fair_micros=503_000), params_row(max_exit_slippage_micros=25_000))
    assert orders(quote, "bid") == [(5_200, QTY_SCALE)]  # 0.528 would be the bound
    assert "exit_unabsorbed" in reasons(quote)  # the ask is 0.55


@pytest.mark.parametrize(("net", "size"), [(6, 1), (-6, 1), (19, 14)])
def test_resolution_near_forces_out_what_exceeds_the_exit_inventory(net, size):
    quote = decide(market_row(net=net, hours=0.2), params_row())
    assert quote.state == d.STATE_FORCED_EXIT
    assert "forced_exit_near_resolution" in reasons(quote)
    assert orders(quote, "ask" if net > 0 else "bid")[0][1] == size * QTY_SCALE


def test_an_empty_book_is_not_swept_but_an_exit_order_rests():
    quote = decide(market_row(net=60, bid_price=-1), params_row())
    assert orders(quote, "ask") == [(4_500, 10 * QTY_SCALE)]
    assert {"exit_unabsorbed", "one_sided_book"} <= reasons(quote)
    assert orders(decide(market_row(net=60, bid_price=-1, fair_micros=-1), params_row()), "ask") == []


def test_exit_goes_on_through_a_pause_and_rests_while_only_post_only_orders_are_taken():
    paused = decide(market_row(net=60, paused_until_ns=NOW + 1), params_row())
    assert orders(paused, "ask") == [(4_500, 10 * QTY_SCALE)]
    news = decide(market_row(net=60, news_until_ns=NOW + 1, news_severity=d.NEWS_PULL), params_row())
    assert orders(news, "ask") == orders(paused, "ask")
    resting = decide(market_row(net=60, status=d.POST_ONLY_MODE), params_row())
    assert "exit_unabsorbed" in reasons(resting)
    assert resting.ask_tif == d.POST_ONLY
    assert orders(resting, "ask") == [(4_600, 10 * QTY_SCALE)]


def test_exit_smaller_than_the_smallest_order_is_raised_to_it():
    quote = decide(market_row(net=51, min_size=5 * QTY_SCALE), params_row())
    assert orders(quote, "ask")[0][1] == 5 * QTY_SCALE


# --- sizes and levels ----------------------------------------------------------------------------------


def test_sizes_are_cut_so_that_no_limit_can_break():
    full = decide(market_row(net=8), params_row(levels=5, quote_size=20 * QTY_SCALE))
    assert [size // QTY_SCALE for _, size in orders(full, "bid")] == [20, 20, 2]
    assert [size // QTY_SCALE for _, size in orders(full, "ask")] == [20, 20, 18]
    assert "bid_size_cut_inventory" in reasons(full)
    gross = market_row(nets_positions=0, yes_contracts=48 * QTY_SCALE, no_contracts=45 * QTY_SCALE)
    quote = decide(gross, params_row(quote_size=40 * QTY_SCALE, max_position_size=96 * QTY_SCALE))
    assert [size // QTY_SCALE for _, size in orders(quote, "bid")] == [40]  # sells NO that is held
    apart = decide(gross, params_row(quote_size=50 * QTY_SCALE, max_position_size=96 * QTY_SCALE))
    assert [size // QTY_SCALE for _, size in orders(apart, "bid")] == [45]


def test_levels_share_the_gross_limit():
    params = params_row(levels=3, target_inventory=40 * QTY_SCALE, max_position_size=52 * QTY_SCALE)
    quote = decide(market_row(net=35), params)
    assert [size // QTY_SCALE for _, size in orders(quote, "bid")] == [10, 7]
    assert "bid_size_cut_gross" in reasons(quote)


def test_nothing_rests_behind_a_level_that_is_too_small():
    quote = decide(market_row(), params_row(levels=2), heat=475_000)  # 0.48 is too dear, 0.47 would do
    assert orders(quote, "bid") == []
    assert "bid_size_below_min" in reasons(quote)


def test_heat_and_cash_cut_what_opens_but_not_what_reduces():
    tight = decide(market_row(), params_row(), heat=2_400_000)
    assert orders(tight, "bid")[0][1] == 5 * QTY_SCALE  # 5 x 0.48
    assert "size_cut_heat" in reasons(tight)
    shared = decide(market_row(), params_row(), cash=4_800_000)
    assert orders(shared, "bid")[0][1] == orders(shared, "ask")[0][1] == 5 * QTY_SCALE
    assert "size_cut_cash" in reasons(shared)
    broke = decide(market_row(net=10), params_row(), heat=0, cash=0)
    assert orders(broke, "bid") == []
    assert orders(broke, "ask") == [(5_200, 10 * QTY_SCALE)]
    assert {"portfolio_heat", "reduce_only"} <= reasons(broke)


def test_levels_that_round_to_one_price_are_one_order():
    quote = decide(market_row(), params_row(levels=4, level_spacing_micros=5_000))
    assert [price for price, _ in orders(quote, "bid")] == [4_800, 4_700, 4_600]
    assert quote.levels == 3


def test_post_only_clamp_keeps_one_tick_from_the_far_side():
    market = market_row(bid_price=4_400, ask_price=4_700)
    quote = decide(market, params_row())
    assert orders(quote, "bid")[0][0] == 4_600
    assert "bid_clamped_post_only" in reasons(quote)


def test_rebalancing_never_flips_the_position():
    quote = decide(market_row(net=25), params_row(levels=3, quote_size=20 * QTY_SCALE))
    assert [size // QTY_SCALE for _, size in orders(quote, "ask")] == [20, 5]


def test_an_ask_just_above_a_grid_price_goes_to_the_next():
    assert orders(decide(market_row(fair_micros=500_001), params_row()), "ask")[0][0] == 5_300
    assert orders(decide(market_row(fair_micros=499_999), params_row()), "bid")[0][0] == 4_700


def test_price_band_leaves_out_far_levels():
    quote = decide(market_row(), params_row(levels=5, price_band_micros=30_000))
    assert [price for price, _ in orders(quote, "ask")] == [5_200, 5_300]
    assert "outside_price_band" in reasons(quote)


def test_fixed_spread_stops_at_max_inventory():
    params = params_row(policy=d.POLICY_FIXED_SPREAD, fixed_half_spread_micros=15_000)
    quote = decide(market_row(liquidity_micros=0), params)
    assert (orders(quote, "bid"), orders(quote, "ask")) == (
        [(4_800, 10 * QTY_SCALE)],
        [(5_200, 10 * QTY_SCALE)],
    )
    assert orders(decide(market_row(net=50), params), "bid") == []
    assert orders(decide(market_row(net=50), params), "ask")


# --- lifecycle -----------------------------------------------------------------------------------------


def quoted(market: np.record, params: np.record) -> np.record:
    market.quoted_ns = NOW
    market.quoted_fair_micros = market.fair_micros
    market.quoted_state = q.quote_state(market, params, NOW)
    return market


@pytest.mark.parametrize(
    ("changes", "later_ns", "expected"),
    [
        ({}, 30 * NS_PER_SECOND - 1, False),
        ({}, 30 * NS_PER_SECOND, True),
        ({"fair_micros": 520_000}, 1, False),
        ({"fair_micros": 520_001}, 1, True),
        ({"fair_micros": -1}, 1, True),
        ({"refresh": 1}, 1, True),
        ({"quoted_state": -1}, 1, True),
        ({"yes_contracts": 11 * QTY_SCALE}, 1, True),
        ({"status": d.PAUSED}, 1, True),
        ({"paused_until_ns": NOW + 9}, 1, True),
        ({"liquidity_micros": 1, "bid_price": 4_990, "ask_price": 5_000}, 1, False),
    ],
)
def test_when_a_quote_is_decided_again(changes, later_ns, expected):
    params = params_row()
    market = quoted(market_row(), params)
    for name, value in changes.items():
        setattr(market, name, value)
    assert q.needs_decision(market, params, NOW + later_ns) is expected


@given(
    hours=st.sampled_from([0.2, 0.5, 0.501, 6, 6.001, 24, 24.001, 167, 168, 168.001]),
    pause_s=st.integers(-5, 200),
    news_s=st.integers(-5, 200),
    severity=st.sampled_from([0, d.NEWS_WIDEN, d.NEWS_PULL]),
    net=st.integers(-60, 60),
)
@settings(max_examples=150, deadline=None)
def test_nothing_changes_by_time_alone_before_the_wake(hours, pause_s, news_s, severity, net):
    params = params_row()
    market = market_row(
        net=net,
        hours=hours,
        paused_until_ns=NOW + pause_s * NS_PER_SECOND,
        news_until_ns=NOW + news_s * NS_PER_SECOND,
        news_severity=severity,
    )
    quoted(market, params)
    wake = q.next_wake_ns(market, params, NOW)
    assert NOW < wake <= NOW + 30 * NS_PER_SECOND
    assert not q.needs_decision(market, params, wake - 1)
    assert 0 <= q.quote_state(market, params, NOW) <= 72
    before, after = decide(market, params), decide(market, params, now=wake - 1)
    for name in d.QUOTE.names or ():
        if name not in ("now_ns", "resolution_left_ns"):
            assert before[name].tolist() == after[name].tolist(), name


# --- settings --------------------------------------------------------------------------------------------

SENSITIVE: dict[str, tuple[int, dict[str, Any]]] = {
    "policy": (d.POLICY_FIXED_SPREAD, {"net": 25}),
    "base_spread_micros": (60_000, {}),
    "min_spread_micros": (50_000, {}),
    "max_spread_micros": (30_000, {}),
    "low_liquidity_micros": (30_000 * 10**6, {}),
    "low_liquidity_addon_micros": (30_000, {"liquidity_micros": 6_000 * 10**6}),
    "volatility_multiplier_ppm": (2_000_000, {"volatility_micros": 60_000}),
    "high_volatility_micros": (10_000, {"volatility_micros": 20_000}),
    "final_ns": (4 * NS_PER_HOUR, {"hours": 5}),
    "final_multiplier_ppm": (1_000_000, {"hours": 5}),
    "closing_ns": (10 * NS_PER_HOUR, {"hours": 20}),
    "closing_multiplier_ppm": (1_000_000, {"hours": 20}),
    "inventory_multiplier_ppm": (2_000_000, {"net": 15}),
    "inventory_skew_threshold": (5 * QTY_SCALE, {"net": 10}),
    "skew_per_10_micros": (30_000, {"net": 15}),
    "target_inventory": (15 * QTY_SCALE, {"net": 15}),
    "rebalance_threshold": (12 * QTY_SCALE, {"net": 15}),
    "max_inventory": (22 * QTY_SCALE, {"net": 15}),
    "max_position_size": (18 * QTY_SCALE, {"net": 15}),
    "exit_inventory": (2 * QTY_SCALE, {"net": 4, "hours": 0.2}),
    "max_exit_slippage_micros": (20_000, {"net": 60}),
    "min_liquidity_micros": (30_000 * 10**6, {}),
    "min_time_to_resolution_ns": (73 * NS_PER_HOUR, {}),
    "max_time_to_resolution_ns": (71 * NS_PER_HOUR, {}),
    "min_existing_spread_micros": (110_000, {}),
    "quote_size": (3 * QTY_SCALE, {}),
    "liquid_market_micros": (10_000 * 10**6, {}),
    "liquid_size_multiplier_ppm": (3_000_000, {"liquidity_micros": 60_000 * 10**6}),
    "levels": (3, {}),
    "level_spacing_micros": (30_000, {}),
    "news_multiplier_ppm": (3_000_000, {"news_until_ns": NOW + 1, "news_severity": d.NEWS_WIDEN}),
    "markout_min_contracts": (10 * QTY_SCALE, {"markout_micros": -5_000.0, "markout_weight": 50.0}),
    "markout_multiplier_ppm": (3_000_000, {"markout_micros": -5_000.0, "markout_weight": 150.0}),
    "price_band_micros": (10_000, {}),
    "max_order_size": (4 * QTY_SCALE, {}),
    "fixed_half_spread_micros": (40_000, {}),
}
LIFECYCLE = {"max_quote_age_ns", "requote_threshold_micros"}  # test_when_a_quote_is_decided_again


def test_every_parameter_of_the_policy_is_covered():
    assert set(SENSITIVE) | LIFECYCLE == set(PARAMS)


@pytest.mark.parametrize("field", SENSITIVE)
def test_each_parameter_changes_the_decision(field):
    value, market = SENSITIVE[field]
    base: dict[str, int] = {
        "liquid_market_micros": {"liquid_size_multiplier_ppm": 2_000_000},
        "level_spacing_micros": {"levels": 2},
        "fixed_half_spread_micros": {"policy": d.POLICY_FIXED_SPREAD},
    }.get(field, {})
    before = decide(market_row(**market), params_row(**base))
    after = decide(market_row(**market), params_row(**base, **{field: value}))
    assert as_dict(before) != as_dict(after)


def test_lifecycle_parameters_change_when_a_quote_is_renewed():
    market = quoted(market_row(), params_row())
    assert q.needs_decision(market, params_row(max_quote_age_ns=NS_PER_SECOND), NOW + 2 * NS_PER_SECOND)
    market.fair_micros = 510_000
    assert q.needs_decision(market, params_row(requote_threshold_micros=5_000), NOW + 1)
