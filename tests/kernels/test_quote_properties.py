"""The quoting policy over generated markets: it equals the slow reference, mirrors, and breaks no rule."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.units import NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import quote_reference as reference

sys.path.insert(0, str(Path(__file__).parent))
from quote_cases import GRIDS, NOW, ROOMY, as_dict, decide, market_row, orders, params_row, reasons

LEVEL = st.integers(1, 999).map(lambda level: 10 * level)
CONTRACTS = st.one_of(st.integers(0, 70).map(lambda n: n * QTY_SCALE), st.integers(0, 70 * QTY_SCALE))
CENTS = st.one_of(st.integers(0, 9).map(lambda cents: cents * 10_000), st.integers(0, 90_000))
FACTOR = st.one_of(st.sampled_from([1_000_000, 1_300_000, 2_000_000]), st.integers(500_000, 3_333_333))
LEFT_S = st.sampled_from([0, 1, 1799, 1800, 1801, 21_600, 21_601, 86_400, 86_401, 604_800, 604_801])


def mostly(usual, seldom):
    """`usual` nine times in ten, so that generated markets mostly get past each gate and filter."""
    return st.integers(0, 9).flatmap(lambda n: seldom if n == 7 else usual)


ROOM = mostly(st.one_of(st.just(ROOMY), st.integers(1, 40_000_000)), st.integers(-1, 1))


@st.composite
def touches(draw) -> tuple[int, int, int]:
    """Fair value in micros, best bid and best ask: mostly two-sided with fair value inside."""
    # Just off a grid price is where the direction of a rounding shows.
    near_grid = st.tuples(st.integers(1, 99), st.integers(-101, 101)).map(lambda t: 10_000 * t[0] + t[1])
    fair = draw(mostly(st.one_of(near_grid, st.integers(200_000, 800_000)), st.integers(0, 1_000_000)))
    below, above = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    bid, ask = max(fair // 100 - 10 * below, 10), min(fair // 100 + 10 * above, 9_990)
    if draw(st.integers(0, 9)) == 7:
        missing = st.sampled_from([(-1, ask), (bid, -1), (-1, -1)])
        bid, ask = draw(st.one_of(missing, st.tuples(LEVEL, LEVEL)))
        fair = draw(st.sampled_from([fair, -1]))
    return fair, bid, ask


@st.composite
def markets(draw) -> np.record:
    fair, bid, ask = draw(touches())
    usual_s, position = st.integers(3_600, 500_000), draw(st.sampled_from(["flat", "yes", "no", "both"]))
    close_s, resolution_s = draw(mostly(usual_s, LEFT_S)), draw(mostly(usual_s, LEFT_S))
    return market_row(
        status=draw(mostly(st.just(d.ACTIVE), st.sampled_from([d.POST_ONLY_MODE, d.PAUSED]))),
        nets_positions=draw(st.integers(0, 1)),
        waiting=draw(mostly(st.just(0), st.just(1))),
        hold=draw(mostly(st.just(d.HOLD_NOTHING), st.sampled_from([d.HOLD_QUOTES, d.HOLD_ALL]))),
        leaving=draw(mostly(st.just(0), st.just(1))),
        leaving_slippage_micros=draw(CENTS),
        close_ns=draw(mostly(st.just(NOW + close_s * NS_PER_SECOND), st.just(-1))),
        resolution_ns=draw(mostly(st.just(NOW + resolution_s * NS_PER_SECOND), st.just(-1))),
        min_size=draw(st.sampled_from([1, QTY_SCALE, 5 * QTY_SCALE])),
        lot=draw(st.sampled_from([1, 10_000, QTY_SCALE])),
        stated_liquidity_micros=draw(mostly(st.just(-1), st.sampled_from([4_999 * 10**6, 60_000 * 10**6]))),
        bid_price=bid,
        ask_price=ask,
        far_bid_price=draw(mostly(st.just(bid), st.one_of(LEVEL, st.just(-1)))),
        far_ask_price=draw(mostly(st.just(ask), st.one_of(LEVEL, st.just(-1)))),
        liquidity_micros=draw(st.sampled_from([5_000, 4_999, 9_999, 20_000, 50_001])) * 10**6,
        yes_contracts=draw(CONTRACTS) if position in ("yes", "both") else 0,
        no_contracts=draw(CONTRACTS) if position in ("no", "both") else 0,
        fair_micros=fair,
        uncertainty_micros=draw(st.integers(0, 9)),
        volatility_micros=draw(st.sampled_from([0, 50_000, 50_001])),
        markout_micros=draw(st.floats(-30_000, 10_000)),
        markout_weight=draw(st.sampled_from([0.0, 99.5, 100.0, 3_000.0])),
        paused_until_ns=NOW + draw(mostly(st.just(0), st.just(1))),
        news_until_ns=NOW + draw(st.integers(0, 1)),
        news_severity=draw(mostly(st.just(d.NEWS_WIDEN), st.sampled_from([d.NEWS_PULL, 0]))),
    )


@st.composite
def settings_rows(draw) -> np.record:
    low, base, high = sorted(draw(st.tuples(CENTS, CENTS, CENTS)))
    bands = draw(st.tuples(CONTRACTS, CONTRACTS, st.integers(0, 90).map(lambda n: n * QTY_SCALE)))
    bands = sorted(bands)
    return params_row(
        policy=draw(mostly(st.just(d.POLICY_PR3DICT), st.just(d.POLICY_FIXED_SPREAD))),
        min_spread_micros=low,
        base_spread_micros=base,
        max_spread_micros=high,
        low_liquidity_addon_micros=draw(CENTS),
        volatility_multiplier_ppm=draw(FACTOR),
        final_multiplier_ppm=draw(FACTOR),
        closing_multiplier_ppm=draw(FACTOR),
        inventory_multiplier_ppm=draw(FACTOR),
        inventory_skew_threshold=bands[0],
        rebalance_threshold=bands[1],
        max_inventory=bands[2],
        skew_per_10_micros=draw(st.integers(0, 20_000)),
        target_inventory=draw(mostly(st.just(0), st.integers(-bands[2], bands[2]))),
        max_position_size=bands[2] + draw(CONTRACTS),
        exit_inventory=draw(CONTRACTS),
        max_exit_slippage_micros=draw(CENTS),
        min_existing_spread_micros=draw(st.sampled_from([0, 0, 10_000, 20_000])),
        quote_size=draw(st.integers(QTY_SCALE, 30 * QTY_SCALE)),
        liquid_size_multiplier_ppm=draw(FACTOR),
        levels=draw(st.integers(1, 10)),
        level_spacing_micros=draw(st.sampled_from([1, 2_500, 10_000, 15_000])),
        markout_multiplier_ppm=draw(FACTOR),
        news_multiplier_ppm=draw(FACTOR),
        price_band_micros=draw(mostly(st.just(200_000), CENTS)),
        max_order_size=draw(mostly(st.just(100 * QTY_SCALE), CONTRACTS)),
        fixed_half_spread_micros=draw(CENTS),
    )


GENERATED = {
    "market": markets(),
    "params": settings_rows(),
    "grid": st.integers(0, 2),
    "heat": ROOM,
    "cash": ROOM,
    "killed": mostly(st.just(0), st.just(1)),
}


@given(**GENERATED)
@settings(max_examples=400, deadline=None)
def test_compiled_policy_equals_the_reference(market, params, grid, heat, cash, killed):
    fast = as_dict(decide(market, params, grid, heat=heat, cash=cash, killed=killed))
    slow = reference.decide(
        as_dict(market), as_dict(params), GRIDS[grid], NOW, heat, cash, killed=bool(killed)
    )
    assert fast == slow


def mirror_market(market: np.record) -> np.record:
    """The same market with YES and NO exchanged."""
    other = market.copy()

    def flip(price: int) -> int:
        return price if price < 0 else 10_000 - price

    other.yes_contracts, other.no_contracts = int(market.no_contracts), int(market.yes_contracts)
    other.bid_price, other.ask_price = flip(int(market.ask_price)), flip(int(market.bid_price))
    other.far_bid_price, other.far_ask_price = (
        flip(int(market.far_ask_price)),
        flip(int(market.far_bid_price)),
    )
    other.fair_micros = -1 if market.fair_micros < 0 else 1_000_000 - int(market.fair_micros)
    return other


def mirror_quote(quote: dict[str, Any]) -> dict[str, Any]:
    other = dict(quote)
    for which in ("unskewed", "skewed"):
        if quote["fair_micros"] >= 0:
            other[f"{which}_bid_micros"] = 1_000_000 - quote[f"{which}_ask_micros"]
            other[f"{which}_ask_micros"] = 1_000_000 - quote[f"{which}_bid_micros"]
    if quote["fair_micros"] >= 0:
        other["fair_micros"] = 1_000_000 - quote["fair_micros"]
    other["skew_micros"] = -quote["skew_micros"]
    other["net_contracts"] = -quote["net_contracts"]
    for field in ("size", "tif"):
        other[f"bid_{field}"], other[f"ask_{field}"] = quote[f"ask_{field}"], quote[f"bid_{field}"]
    other["bid_price"] = [p if p < 0 else 10_000 - p for p in quote["ask_price"]]
    other["ask_price"] = [p if p < 0 else 10_000 - p for p in quote["bid_price"]]
    other["reasons"] = 0
    for bit, name in enumerate(d.REASON_NAMES):
        if quote["reasons"] >> bit & 1:
            swapped = {"bid": "ask", "ask": "bid"}.get(name[:3], name[:3]) + name[3:]
            other["reasons"] |= 1 << d.REASON_NAMES.index(swapped)
    return other


@given(**GENERATED)
@settings(max_examples=250, deadline=None)
def test_swapping_yes_and_no_mirrors_the_decision(market, params, grid, heat, cash, killed):
    here = as_dict(decide(market, params, grid, heat=heat, cash=cash, killed=killed))
    other_params = params.copy()
    other_params.target_inventory = -int(params.target_inventory)
    there = decide(mirror_market(market), other_params, grid, heat=heat, cash=cash, killed=killed)
    assert as_dict(there) == mirror_quote(here)


@given(**GENERATED)
@settings(max_examples=250, deadline=None)
def test_no_quote_breaks_a_rule(market, params, grid, heat, cash, killed):
    quote = decide(market, params, grid, heat=heat, cash=cash, killed=killed)
    bids, asks = orders(quote, "bid"), orders(quote, "ask")
    if params.policy == d.POLICY_FIXED_SPREAD:
        return
    for price, size in bids + asks:
        assert price in GRIDS[grid]
        assert size >= max(int(market.min_size), int(market.lot))
        assert size % int(market.lot) == 0
        assert size <= params.max_order_size
        assert abs(price * 100 - int(market.fair_micros)) <= params.price_band_micros or quote.exit
    assert [p for p, _ in bids] == sorted({p for p, _ in bids}, reverse=True)
    assert [p for p, _ in asks] == sorted({p for p, _ in asks})
    if bids and asks:
        assert bids[0][0] < asks[0][0]
    net, target = int(market.yes_contracts) - int(market.no_contracts), int(params.target_inventory)
    bought, sold = sum(s for _, s in bids), sum(s for _, s in asks)
    if quote.exit:
        assert bought + sold <= abs(net)
        fair, bound = int(market.fair_micros), int(params.max_exit_slippage_micros)
        assert all(price * 100 <= fair + bound for price, _ in bids)
        assert all(price * 100 >= fair - bound for price, _ in asks)
        return
    if bids:
        assert market.far_ask_price < 0 or bids[0][0] < market.far_ask_price
        assert net - target + bought <= params.max_inventory
    if asks:
        assert market.far_bid_price < 0 or asks[0][0] > market.far_bid_price
        assert target - net + sold <= params.max_inventory
    if market.nets_positions and not min(market.yes_contracts, market.no_contracts):
        assert not bids or net + bought <= params.max_position_size
        assert not asks or sold - net <= params.max_position_size
    bid_cost = sum(p * s / 10_000 for p, s in bids) if net >= 0 else 0
    ask_cost = sum((10_000 - p) * s / 10_000 for p, s in asks) if net <= 0 else 0
    assert max(bid_cost, ask_cost) <= max(heat, 0)
    assert bid_cost + ask_cost <= max(cash, 0)
    if "reduce_only" in reasons(quote):
        assert bought <= max(-net, 0)
        assert sold <= max(net, 0)


@given(market=markets(), params=settings_rows(), net=st.integers(-70, 69))
@settings(max_examples=200, deadline=None)
def test_middle_of_the_quotes_never_rises_with_inventory(market, params, net):
    market.fair_micros = 500_000
    params.policy = d.POLICY_PR3DICT
    middles = []
    for position in (net, net + 1):
        market.yes_contracts, market.no_contracts = (
            max(position, 0) * QTY_SCALE,
            max(-position, 0) * QTY_SCALE,
        )
        quote = decide(market, params)
        middles.append(int(quote.skewed_bid_micros) + int(quote.skewed_ask_micros))
    assert middles[1] <= middles[0]
