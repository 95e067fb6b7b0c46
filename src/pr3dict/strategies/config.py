"""What a user sets: every number of the market maker, with its unit, bounds and the array field it drives.

What settings have in common (units, bounds, errors) is in `settings.py`; `to_params` and `to_rules` turn them
into the compiled brain's integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.estimators import BUCKETS_PER_WINDOW
from pr3dict.strategies.settings import (
    CONTRACTS,
    COUNT,
    COUNT_RATE,
    DECAY,
    DOLLARS,
    FACTOR,
    FILL_RATE,
    HOURS,
    MINUTES,
    PRICE,
    ROOT_HOUR,
    SECONDS,
    SHARE,
    Rule,
    Settings,
    choice,
    number,
)

POLICIES = {"pr3dict": d.POLICY_PR3DICT, "fixed_spread": d.POLICY_FIXED_SPREAD}
REWARDS = {"off": d.REWARDS_OFF, "respect": d.REWARDS_RESPECT, "optimise": d.REWARDS_OPTIMISE}
FAIR_MODELS = {"mid": d.FAIR_MID, "microprice": d.FAIR_MICROPRICE, "order_flow": d.FAIR_ORDER_FLOW}

RULES_OF_SETTINGS = {
    "max_portfolio_heat": "max_heat_ppm",
    "daily_loss_limit": "daily_loss_limit_micros",
    "max_markets": "max_markets",
    "rotation_minutes": "rotation_interval_ns",
    "rotation_advantage": "rotation_advantage_ppm",
    "selection_memory": "selection_memory_ns",
}
"""Settings that hold over all markets and the RULES field that each becomes."""


class MarketMakingConfig(Settings):
    """Settings of the market maker. Prices are dollars of a $1 contract: "1%" is Decimal("0.01").

    Hours, minutes and seconds also take a text with a suffix: "90s", "5m", "36h", "7d". Each field's unit and
    meaning stand in its description (and in docs/reference/config.md).

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted, or settings that contradict.
    """

    # fmt: off
    policy: Literal["pr3dict", "fixed_spread"] = choice(
        "pr3dict", "Policy", "policy",
        "`pr3dict` is the whole strategy; `fixed_spread` quotes `fixed_half_spread` each side of fair value, "
        "for benchmarks.", "pr3dict, fixed_spread")
    fixed_half_spread: Decimal = number(
        "0.02", PRICE, "Policy", "fixed_half_spread_micros", "Half-spread of the `fixed_spread` policy.")

    fair_value: Literal["mid", "microprice", "order_flow"] = choice(
        "microprice", "Fair value", "fair_model",
        "`mid` of the touch, size-weighted `microprice`, or microprice moved by signed flow (`order_flow`).",
        "mid, microprice, order_flow")
    flow_half_life_seconds: Decimal = number(
        "60", SECONDS, "Fair value", "flow_half_life_ns", "Time after which a trade's pull has halved.",
        low="0.001")
    flow_weight: Decimal = number(
        "0.5", SHARE, "Fair value", "flow_weight_ppm",
        "Share of the half-spread by which entirely one-sided flow moves fair value.")

    min_liquidity: Decimal = number(
        "5000", DOLLARS, "Selection", "min_liquidity_micros",
        "Least resting dollars within 10 cents of mid (or the venue's own figure).")
    min_time_to_resolution: Decimal = number(
        "0.5", HOURS, "Selection", "min_time_to_resolution_ns",
        "Below it nothing is opened, and more than `exit_inventory` is a forced exit.")
    max_time_to_resolution: Decimal = number(
        "168", HOURS, "Selection", "max_time_to_resolution_ns", "Above it nothing is opened.")
    min_existing_spread: Decimal = number(
        "0.02", PRICE, "Selection", "min_existing_spread_micros",
        "Least best ask less best bid, own quotes left out.", high="0.5")
    max_markets: int = number(
        "10", COUNT, "Selection", "", "Markets quoted at once: the best-scored that qualify.")
    rotation_minutes: Decimal = number(
        "10", MINUTES, "Selection", "",
        "How often all markets are ranked anew; a place that becomes free is given at once.", low="0.1")
    rotation_advantage: Decimal = number(
        "0.2", SHARE, "Selection", "",
        "Share by which a market must outscore the one whose place it takes.", high="10")
    selection_memory: Decimal = number(
        "6", HOURS, "Selection", "",
        "Span of the statistics behind the score: older ones weigh half, then a quarter.", low="0.01")

    base_spread: Decimal = number(
        "0.04", PRICE, "Spread", "base_spread_micros", "Spread before anything widens it.")
    min_spread: Decimal = number(
        "0.02", PRICE, "Spread", "min_spread_micros", "Narrowest spread quoted.", low="0.0001")
    max_spread: Decimal = number(
        "0.12", PRICE, "Spread", "max_spread_micros", "Widest spread quoted.")
    low_liquidity: Decimal = number(
        "10000", DOLLARS, "Spread", "low_liquidity_micros",
        "Below this liquidity `low_liquidity_addon` is added.")
    low_liquidity_addon: Decimal = number(
        "0.02", PRICE, "Spread", "low_liquidity_addon_micros", "Added to the spread of an illiquid market.")
    volatility_multiplier: Decimal = number(
        "1.5", FACTOR, "Spread", "volatility_multiplier_ppm", "Widens while volatility is high.")
    high_volatility: Decimal = number(
        "0.05", ROOT_HOUR, "Spread", "high_volatility_micros",
        "Realised volatility of fair value above which it is high.")
    volatility_window_seconds: Decimal = number(
        "600", SECONDS, "Spread", "", "Span over which volatility is measured.", low="0.002")
    volatility_grid_seconds: Decimal = number(
        "10", SECONDS, "Spread", "volatility_grid_ns", "Distance of its samples.", low="0.001")
    final_hours: Decimal = number(
        "6", HOURS, "Spread", "final_ns", "Time to close from which `final_multiplier` holds.")
    final_multiplier: Decimal = number(
        "2", FACTOR, "Spread", "final_multiplier_ppm", "Widens in the last stretch before close.")
    closing_hours: Decimal = number(
        "24", HOURS, "Spread", "closing_ns", "Time to close from which `closing_multiplier` holds.")
    closing_multiplier: Decimal = number(
        "1.5", FACTOR, "Spread", "closing_multiplier_ppm", "Widens before the last stretch.")
    inventory_multiplier: Decimal = number(
        "1.3", FACTOR, "Spread", "inventory_multiplier_ppm", "Widens beyond `inventory_skew_threshold`.")

    inventory_skew_threshold: Decimal = number(
        "10", CONTRACTS, "Inventory", "inventory_skew_threshold",
        "Net position (from target, absolute) above which quotes are skewed and widened.")
    skew_price_adjustment_per_10: Decimal = number(
        "0.01", PRICE, "Inventory", "skew_per_10_micros",
        "Both quotes move against the position by this for each whole 10 contracts.")
    target_inventory: Decimal = number(
        "0", CONTRACTS, "Inventory", "target_inventory",
        "Net position from which skew and bands are measured; positive is YES.", low="-1000000")
    rebalance_threshold: Decimal = number(
        "20", CONTRACTS, "Inventory", "rebalance_threshold", "Above it only the reducing side is quoted.")
    max_inventory: Decimal = number(
        "50", CONTRACTS, "Inventory", "max_inventory", "Net limit; above it the position is forced out.")
    max_position_size: Decimal = number(
        "100", CONTRACTS, "Inventory", "max_position_size", "Gross limit of a market, YES plus NO.")
    exit_inventory: Decimal = number(
        "5", CONTRACTS, "Inventory", "exit_inventory",
        "Net position that may stay below `min_time_to_resolution`.")
    max_exit_slippage: Decimal = number(
        "0.05", PRICE, "Inventory", "max_exit_slippage_micros",
        "Worst distance from fair value of a forced exit.")

    quote_size: Decimal = number(
        "10", CONTRACTS, "Lifecycle", "quote_size", "Contracts of each level.", low="0.01", high="100000")
    liquid_market: Decimal = number(
        "50000", DOLLARS, "Lifecycle", "liquid_market_micros",
        "Liquidity above which `liquid_size_multiplier` holds.")
    liquid_size_multiplier: Decimal = number(
        "1", FACTOR, "Lifecycle", "liquid_size_multiplier_ppm", "Larger size in liquid markets; 1 is off.",
        low="1")
    levels: int = number(
        "1", COUNT, "Lifecycle", "levels", "Orders a side.", high=str(d.MAX_LEVELS))
    level_spacing: Decimal = number(
        "0.01", PRICE, "Lifecycle", "level_spacing_micros", "Distance between levels.", low="0.0001")
    max_quote_age_seconds: Decimal = number(
        "30", SECONDS, "Lifecycle", "max_quote_age_ns", "Quotes are decided again at this age.", low="0.001")
    price_change_requote_threshold: Decimal = number(
        "0.02", PRICE, "Lifecycle", "requote_threshold_micros",
        "A larger move of fair value since the quote decides it again at once.")
    refill_fraction: Decimal = number(
        "0.5", SHARE, "Lifecycle", "refill_fraction_ppm",
        "A partly filled order keeps its place in the queue while it holds this share of its size.")

    rewards: Literal["off", "respect", "optimise"] = choice(
        "off", "Rewards", "rewards",
        "Where a market pays liquidity rewards: `off` ignores them, `respect` brings quotes into the band "
        "and to the least size that scores, at no expected loss, `optimise` rests them where expected edge "
        "plus expected reward is largest.", "off, respect, optimise")
    reward_adverse_cost: Decimal = number(
        "0.005", PRICE, "Rewards", "reward_adverse_micros",
        "Least adverse cost of a filled contract; an adverse markout of our own fills that is larger counts.")
    reward_stress: Decimal = number(
        "2", FACTOR, "Rewards", "reward_stress_ppm",
        "`optimise` moves no quote to where this times the adverse cost, with the maker fee less the rebate, "
        "is not earned.", low="0")
    reward_fill_rate: Decimal = number(
        "60", FILL_RATE, "Rewards", "reward_fill_rate_ppm",
        "Fills of a whole quote expected at fair value (A of A exp(-k distance)).")
    reward_fill_decay: Decimal = number(
        "80", DECAY, "Rewards", "reward_fill_decay_ppm",
        "How fast fills get rarer with the distance from fair value (k).")

    volume_spike_threshold: Decimal = number(
        "3", FACTOR, "Risk", "volume_spike_ppm",
        "Volume rate of the window over that of the baseline that pulls quotes.", low="1", high="1000")
    volume_window_seconds: Decimal = number(
        "60", SECONDS, "Risk", "volume_window_ns", "Short span of the spike test.", low="0.01")
    volume_baseline_seconds: Decimal = number(
        "1800", SECONDS, "Risk", "volume_baseline_ns", "Long span of the spike test.", low="0.01")
    volume_pause_seconds: Decimal = number(
        "60", SECONDS, "Risk", "volume_pause_ns", "How long quotes stay pulled after a spike.")
    news_multiplier: Decimal = number(
        "2", FACTOR, "Risk", "news_multiplier_ppm", "Widens while news of that severity is in force.")
    markout_horizon_seconds: Decimal = number(
        "10", SECONDS, "Risk", "markout_horizon_ns", "Time after a fill at which its markout is taken.",
        low="0.001")
    markout_min_contracts: Decimal = number(
        "100", CONTRACTS, "Risk", "markout_min_contracts",
        "Contracts that must be behind the mean markout before it widens.")
    markout_multiplier: Decimal = number(
        "1", FACTOR, "Risk", "markout_multiplier_ppm",
        "The spread grows by twice this times the adverse markout; 0 is off.", low="0")
    markout_half_life_contracts: Decimal = number(
        "500", CONTRACTS, "Risk", "markout_half_life_contracts",
        "Contracts filled after which a markout counts half.", low="1")
    price_band: Decimal = number(
        "0.2", PRICE, "Risk", "price_band_micros", "No order further than this from fair value.")
    max_order_size: Decimal = number(
        "100", CONTRACTS, "Risk", "max_order_size", "Largest single order.", low="0.01", high="100000")

    max_orders_per_second: Decimal = number(
        "10", COUNT_RATE, "Portfolio", "",
        "New orders a second over all markets; cancels are never held back.")
    max_portfolio_heat: Decimal = number(
        "0.25", SHARE, "Portfolio", "",
        "Worst-case loss of positions and resting orders, as a share of equity.")
    daily_loss_limit: Decimal = number(
        "500", DOLLARS, "Portfolio", "",
        "Loss of a trading day, realised plus marked, that cancels everything and refuses new orders.",
        low="0.01")
    rearm_daily: bool = choice(
        False, "Portfolio", "", "The loss limit arms itself again when the venue's next trading day starts.",
        "true, false")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """Every rule between settings, in the order in which they are checked."""
        return _rules(self)

    def to_params(self) -> d.Array:
        """The settings as one PARAMS row, shape (1,); `decision_interval_ns` stays 0 (decide on events)."""
        row = np.zeros(1, d.PARAMS)
        for key in type(self).model_fields:
            facts = self.facts(key)
            if facts["param"] and facts["scale"]:
                row[facts["param"]] = self.integer(key)
        row["policy"] = POLICIES[self.policy]
        row["fair_model"] = FAIR_MODELS[self.fair_value]
        row["rewards"] = REWARDS[self.rewards]
        row["volatility_samples"] = int(self.volatility_window_seconds / self.volatility_grid_seconds)
        return row

    def to_rules(self) -> d.Array:
        """The settings that hold over all markets as one RULES row, shape (1,); the rest of it stays 0."""
        row = np.zeros(1, d.RULES)
        for key, field in RULES_OF_SETTINGS.items():
            row[field] = self.integer(key)
        row["rearm_daily"] = self.rearm_daily
        row["max_order_rate"] = float(self.max_orders_per_second)
        return row


def _rules(c: MarketMakingConfig) -> list[Rule]:
    buckets = BUCKETS_PER_WINDOW * c.volume_baseline_seconds / c.volume_window_seconds
    samples = c.volatility_window_seconds / c.volatility_grid_seconds
    return [
        c.ordered("min_spread", "base_spread"),
        c.ordered("base_spread", "max_spread"),
        c.ordered("min_time_to_resolution", "max_time_to_resolution"),
        c.ordered("final_hours", "closing_hours"),
        c.ordered("inventory_skew_threshold", "rebalance_threshold"),
        c.ordered("rebalance_threshold", "max_inventory"),
        c.ordered("max_inventory", "max_position_size"),
        c.ordered("exit_inventory", "max_inventory"),
        c.ordered("quote_size", "max_order_size"),
        c.ordered("max_exit_slippage", "price_band"),
        c.ordered("volume_window_seconds", "volume_baseline_seconds"),
        Rule(
            "target_inventory",
            abs(c.target_inventory) <= c.max_inventory,
            f"{c.target_inventory} is further from 0 than max_inventory {c.max_inventory}; bring it nearer",
        ),
        Rule(
            "price_band",
            2 * c.price_band >= c.max_spread,
            f"{c.price_band} is below half of max_spread {c.max_spread}, so wide quotes can't rest; raise it",
        ),
        Rule(
            "volume_baseline_seconds",
            buckets <= d.VOLUME_BUCKETS,
            (
                f"{c.volume_baseline_seconds} is over {d.VOLUME_BUCKETS // BUCKETS_PER_WINDOW} windows of "
                f"{c.volume_window_seconds}; shorten it or raise volume_window_seconds"
            ),
        ),
        Rule(
            "volatility_window_seconds",
            samples % 1 == 0 and 2 <= samples <= d.VOLATILITY_SAMPLES,
            (
                f"{c.volatility_window_seconds} must be 2 to {d.VOLATILITY_SAMPLES} whole steps of "
                f"volatility_grid_seconds {c.volatility_grid_seconds}; change one of them"
            ),
        ),
    ]
