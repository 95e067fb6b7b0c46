"""Each setting changes what the program does: one observation each, made by the code that trades."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import book as bk
from pr3dict.kernels import brain, diff, rotation
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import estimators as est
from pr3dict.kernels.fair import update_fair
from pr3dict.kernels.quote import decide, needs_decision, quote_state
from pr3dict.kernels.selection import observe_taker
from pr3dict.kernels.world import World, make_grids, new_market, new_world
from pr3dict.strategies import MarketMakingConfig, MarketMakingStrategy
from pr3dict.strategies.decision import decision_of

START = 1_790_000_000 * NS_PER_SECOND
GRIDS = make_grids([range(100, PRICE_SCALE, 100)])
ROOM = 10**12
REWARDED = {
    "reward_spread": 450, "reward_mid": 10_000, "reward_min_size": 20 * QTY_SCALE,
    "reward_day_micros": 5_000 * 10**6, "reward_bid_others": 500 * QTY_SCALE,
    "reward_ask_others": 500 * QTY_SCALE,
}  # fmt: skip
Config = MarketMakingConfig


def decision(**market: Any) -> Callable[[Config], Any]:
    """The decision on a market given by plain numbers."""
    numbers = {"fair": "0.5", "liquidity": 20_000, "hours": 72} | market
    return lambda config: MarketMakingStrategy(config=config).quote(**numbers)


def a_market(**fields: float) -> np.record:
    market = new_market()[0]
    market.status, market.nets_positions, market.lot, market.min_size = d.ACTIVE, 1, QTY_SCALE, QTY_SCALE
    market.bid_price = market.far_bid_price = 4_700
    market.ask_price = market.far_ask_price = 5_300
    market.bid_size, market.ask_size = 300 * QTY_SCALE, 100 * QTY_SCALE
    market.liquidity_micros = 20_000 * 10**6
    market.fair_micros = 500_000
    market.resolution_ns = market.close_ns = START + 72 * 3600 * NS_PER_SECOND
    for name, value in fields.items():
        setattr(market, name, value)
    return market


def decision_on(**fields: float) -> Callable[[Config], Any]:
    """The decision on a market in a condition that only its row can hold (news, markouts)."""

    def observe(config: Config) -> Any:
        quote, params = np.zeros(1, d.QUOTE)[0], config.to_params()[0]
        decide(a_market(**fields), params, GRIDS, 0, START, ROOM, ROOM, 0, quote)
        return decision_of(quote, params)

    return observe


def fair_after_takers(config: Config) -> int:
    market, params = a_market(), config.to_params()[0]
    est.observe_trade(market, params, d.BID, 5_300, 50 * QTY_SCALE, START)
    est.observe_trade(market, params, d.ASK, 4_700, 20 * QTY_SCALE, START + 20 * NS_PER_SECOND)
    update_fair(market, params, START + 30 * NS_PER_SECOND)
    return int(market.fair_micros)


def volatility(config: Config) -> int:
    market, params = a_market(), config.to_params()[0]
    for second in range(0, 900, 5):
        est.sample_volatility(market, params, START + second * NS_PER_SECOND)
        # Calm at first, then restless: the window decides how much of the calm counts, the grid what it sees.
        restless = 9_000 if second > 500 else 1_000
        market.fair_micros = 500_000 + restless * (second // 5 % 2) + second * second // 10
    return int(market.volatility_micros)


def first_spike_s(config: Config) -> int:
    market, params = a_market(), config.to_params()[0]
    for second in range(0, 3600, 2):
        size = 1 if second < 3000 else 1 + (second - 3000) // 20
        now_ns = START + second * NS_PER_SECOND
        est.observe_trade(market, params, d.BID, 5_300, size * QTY_SCALE, now_ns)
        if second > 1000 and est.volume_spike(market, params, now_ns):
            return second
    return -1


def markouts(config: Config) -> tuple[float, float]:
    market, params = a_market(), config.to_params()[0]
    est.observe_own_fill(market, params, d.BID, 4_700, 40 * QTY_SCALE, START)
    est.observe_own_fill(market, params, d.BID, 4_900, 80 * QTY_SCALE, START + 5 * NS_PER_SECOND)
    est.mature_markouts(market, params, START + 12 * NS_PER_SECOND)
    market.bid_price, market.ask_price = 4_000, 4_600
    est.mature_markouts(market, params, START + 60 * NS_PER_SECOND)
    return float(market.markout_micros), float(market.markout_weight)


def renewals(config: Config) -> list[bool]:
    """Whether a quote is decided again for its age of 20 s, and for a move of 1.2 cents."""
    params = config.to_params()[0]
    market = a_market(quoted_fair_micros=500_000, quoted_ns=START)
    market.quoted_state = quote_state(market, params, START)
    by_age = needs_decision(market, params, START + 20 * NS_PER_SECOND)
    market.fair_micros = 512_000
    return [by_age, needs_decision(market, params, START + 1)]


def a_world(config: Config, dollars: int = 10_000, count: int = 1) -> World:
    markets = new_market(count)
    for m in range(count):
        markets[m] = a_market()
    return new_world(
        GRIDS,
        np.repeat(config.to_params(), count),
        np.zeros(count, d.FEE),
        markets,
        grid_of_market=[0] * count,
        rules=config.to_rules(),
        cash_micros=dollars * 10**6,
        fill_capacity=8,
        curve_capacity=8,
        ring_capacity=64,
    )


def orders_after_a_partial_fill(config: Config) -> int:
    """Orders on the bid once 4 of 10 contracts at the right price have filled."""
    world = a_world(config)
    world.quotes[0].levels = 1
    world.quotes[0].bid_price[0], world.quotes[0].bid_size[0] = 4_600, 10 * QTY_SCALE
    order = world.orders[0, 0]
    order.id, order.state, order.side, order.price = 1, d.LIVE, d.BID, 4_600
    order.qty, order.remaining = 10 * QTY_SCALE, 6 * QTY_SCALE
    world.markets[0].open_bid = 6 * QTY_SCALE
    world.markets[0].slots_used = 1
    diff.sync_orders(world, START, 0)
    return int(np.count_nonzero(world.orders["state"][0] != d.FREE))


def pause_after_a_spike(config: Config) -> int:
    world = a_world(config)
    market, params = world.markets[0], world.params[0]
    for second in range(0, 2000, 5):
        size = 1 if second < 1900 else 50
        est.observe_trade(market, params, d.BID, 5_300, size * QTY_SCALE, START + second * NS_PER_SECOND)
    now_ns = START + 1995 * NS_PER_SECOND
    brain.decide_market(world, 0, now_ns)
    return int(market.paused_until_ns)


def heat_limit(config: Config) -> int:
    return int(diff.heat_limit_micros(a_world(config)))


def killed_after_a_loss(config: Config) -> list[int]:
    """The kill switch after a day's loss of $300, and again when the next day starts."""
    world = a_world(config)
    account = world.account[0]
    brain.check_daily_loss(world, START)
    account.local_cash_micros -= 300 * 10**6
    brain.check_daily_loss(world, START + 1)
    first = int(account.killed)
    brain.check_daily_loss(world, int(account.day_end_ns))
    return [first, int(account.killed)]


def orders_at_once(config: Config) -> int:
    """How many orders of a ladder of five bids go out in one instant."""
    world = a_world(config)
    quote = world.quotes[0]
    quote.levels = 5
    for level in range(5):
        quote.bid_price[level], quote.bid_size[level] = 4_600 - 100 * level, QTY_SCALE
    diff.sync_orders(world, START, 0)
    return int(world.stats[0].orders)


def rotating_world(config: Config) -> World:
    """Three open markets with the book of `a_market`, none of them sampled yet."""
    world = a_world(config, count=3)
    world.books["event_ns"] = START
    for m in range(3):
        for side, level in ((d.BID, 46), (d.ASK, 52)):
            bk.set_level(world.books[m], world.depth[m], 99, side, level, 60_000 * QTY_SCALE)
    rotation.begin_rotation(world)
    return world


def markets_selected(config: Config) -> int:
    """Of three markets that are open at the same time."""
    world = rotating_world(config)
    rotation.select(world, START)
    return int(np.count_nonzero(world.markets["waiting"] == 0))


def places_after_a_challenge(config: Config) -> list[int]:
    """Who waits as time goes by; the last market is soon traded half as much again as the others."""
    world = rotating_world(config)
    waiting = []
    for second in range(1500):
        now_ns = START + second * NS_PER_SECOND
        for m in range(3):
            size = (3 if m == 2 and second > 100 else 2) * QTY_SCALE
            for side, price in ((d.BID, 5_300), (d.ASK, 4_700)):
                observe_taker(world.selections[m], 4_700, 5_300, side, price, size, now_ns)
        rotation.select(world, now_ns)
        waiting.append(int(world.markets["waiting"] @ np.array([1, 2, 4])))
    return waiting


def samples_kept(config: Config) -> int:
    world = rotating_world(config)
    for second in range(1000):
        rotation.select(world, START + second * NS_PER_SECOND)
    return int(world.selections[0].samples)


REWARDED_DECISION = decision_on(**REWARDED)
OPTIMISE = {"rewards": "optimise", "min_spread": "0.001"}
Observation = tuple[dict[str, Any], dict[str, Any], Callable[[Config], Any]]

# setting: (its other value, the config around it, what is observed)
MATTERS: dict[str, Observation] = {
    key: ({key: value}, base, observe)
    for key, value, base, observe in [
        ("policy", "fixed_spread", {}, decision(net=15)),
        ("fixed_half_spread", "0.03", {"policy": "fixed_spread"}, decision()),
        ("fair_value", "mid", {}, fair_after_takers),
        ("flow_half_life_seconds", 5, {"fair_value": "order_flow"}, fair_after_takers),
        ("flow_weight", "0.1", {"fair_value": "order_flow"}, fair_after_takers),
        ("min_liquidity", 21_000, {}, decision()),
        ("min_time_to_resolution", 73, {}, decision()),
        ("max_time_to_resolution", 71, {}, decision()),
        ("min_existing_spread", "0.05", {}, decision(best_bid="0.48", best_ask="0.52")),
        ("max_markets", 2, {}, markets_selected),
        ("rotation_minutes", 5, {"max_markets": 2, "base_spread": "0.06"}, places_after_a_challenge),
        ("rotation_advantage", "0.9", {"max_markets": 2, "base_spread": "0.06"}, places_after_a_challenge),
        ("selection_memory", "0.1", {"max_markets": 2}, samples_kept),
        ("base_spread", "0.05", {}, decision()),
        ("min_spread", "0.03", {"closing_multiplier": "0.5"}, decision(hours=20)),
        ("max_spread", "0.05", {}, decision(hours=3)),
        ("low_liquidity", 30_000, {}, decision()),
        ("low_liquidity_addon", "0.03", {}, decision(liquidity=6_000)),
        ("volatility_multiplier", 2, {}, decision(volatile=True)),
        ("high_volatility", "0.01", {}, decision_on(volatility_micros=20_000)),
        ("volatility_window_seconds", 300, {}, volatility),
        ("volatility_grid_seconds", 15, {}, volatility),
        ("final_hours", 2, {}, decision(hours=3)),
        ("final_multiplier", 1, {}, decision(hours=3)),
        ("closing_hours", 10, {}, decision(hours=20)),
        ("closing_multiplier", 1, {}, decision(hours=20)),
        ("inventory_multiplier", 2, {}, decision(net=15)),
        ("inventory_skew_threshold", 15, {}, decision(net=12)),
        ("skew_price_adjustment_per_10", "0.02", {}, decision(net=15)),
        ("target_inventory", 15, {}, decision(net=15)),
        ("rebalance_threshold", 12, {}, decision(net=15)),
        ("max_inventory", 22, {}, decision(net=15)),
        ("max_position_size", 52, {"target_inventory": 40}, decision(net=48)),
        ("exit_inventory", 2, {}, decision(net=4, hours="0.2")),
        ("max_exit_slippage", "0.02", {}, decision(net=60)),
        ("quote_size", 3, {}, decision()),
        ("liquid_market", 10_000, {"liquid_size_multiplier": 2}, decision()),
        ("liquid_size_multiplier", 3, {}, decision(liquidity=60_000)),
        ("levels", 3, {}, decision()),
        ("level_spacing", "0.03", {"levels": 2}, decision()),
        ("max_quote_age_seconds", 10, {}, renewals),
        ("price_change_requote_threshold", "0.005", {}, renewals),
        ("refill_fraction", "0.9", {}, orders_after_a_partial_fill),
        ("rewards", "respect", {"base_spread": "0.1"}, REWARDED_DECISION),
        (
            "reward_adverse_cost",
            "0.015",
            OPTIMISE,
            REWARDED_DECISION,
        ),
        ("reward_stress", "4", OPTIMISE, REWARDED_DECISION),
        ("reward_fill_rate", 600, OPTIMISE, REWARDED_DECISION),
        ("reward_fill_decay", 20, OPTIMISE, REWARDED_DECISION),
        ("volume_spike_threshold", 6, {}, first_spike_s),
        ("volume_window_seconds", 120, {}, first_spike_s),
        ("volume_baseline_seconds", 600, {}, first_spike_s),
        ("volume_pause_seconds", 90, {}, pause_after_a_spike),
        ("news_multiplier", 3, {}, decision_on(news_until_ns=START + 1, news_severity=d.NEWS_WIDEN)),
        ("markout_horizon_seconds", 4, {}, markouts),
        ("markout_min_contracts", 300, {}, decision_on(markout_micros=-5_000.0, markout_weight=200.0)),
        ("markout_multiplier", 3, {}, decision_on(markout_micros=-5_000.0, markout_weight=200.0)),
        ("markout_half_life_contracts", 50, {}, markouts),
        ("price_band", "0.06", {"levels": 8, "max_exit_slippage": "0.05"}, decision()),
        ("max_order_size", 12, {"quote_size": 12, "liquid_size_multiplier": 2}, decision(liquidity=60_000)),
        ("max_orders_per_second", 3, {}, orders_at_once),
        ("max_portfolio_heat", "0.1", {}, heat_limit),
        ("daily_loss_limit", 200, {}, killed_after_a_loss),
        ("rearm_daily", True, {"daily_loss_limit": 200}, killed_after_a_loss),
    ]
}


def test_every_setting_is_observed():
    assert set(MATTERS) == set(MarketMakingConfig.model_fields)


@pytest.mark.parametrize("key", MATTERS)
def test_each_setting_changes_what_happens(key):
    change, base, observe = MATTERS[key]
    before, after = MarketMakingConfig(**base), MarketMakingConfig(**(base | change))
    assert getattr(before, key) != getattr(after, key)
    assert observe(before) == observe(MarketMakingConfig(**base)), "the observation is not repeatable"
    assert observe(before) != observe(after)
