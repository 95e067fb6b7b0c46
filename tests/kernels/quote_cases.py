"""A market and its settings in rows, decided by the compiled policy: what the tests of the policy share."""

from typing import Any

import numpy as np

from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import quote as q
from pr3dict.kernels.world import make_grids, new_market

CENT = list(range(100, 10_000, 100))
TAPERED = [*range(10, 1000, 10), *range(1000, 9000, 100), *range(9000, 10_000, 10)]
FINE = list(range(10, 10_000, 10))
GRIDS = [CENT, TAPERED, FINE]
ALL_GRIDS = make_grids(GRIDS)
ROOMY = 10**15
NOW = 1_790_000_000 * NS_PER_SECOND

PARAMS = {
    "policy": d.POLICY_PR3DICT,
    "base_spread_micros": 40_000,
    "min_spread_micros": 20_000,
    "max_spread_micros": 120_000,
    "low_liquidity_micros": 10_000 * 10**6,
    "low_liquidity_addon_micros": 20_000,
    "volatility_multiplier_ppm": 1_500_000,
    "high_volatility_micros": 50_000,
    "final_ns": 6 * NS_PER_HOUR,
    "final_multiplier_ppm": 2_000_000,
    "closing_ns": 24 * NS_PER_HOUR,
    "closing_multiplier_ppm": 1_500_000,
    "inventory_multiplier_ppm": 1_300_000,
    "inventory_skew_threshold": 10 * QTY_SCALE,
    "skew_per_10_micros": 10_000,
    "target_inventory": 0,
    "rebalance_threshold": 20 * QTY_SCALE,
    "max_inventory": 50 * QTY_SCALE,
    "max_position_size": 100 * QTY_SCALE,
    "exit_inventory": 5 * QTY_SCALE,
    "max_exit_slippage_micros": 50_000,
    "min_liquidity_micros": 5_000 * 10**6,
    "min_time_to_resolution_ns": NS_PER_HOUR // 2,
    "max_time_to_resolution_ns": 168 * NS_PER_HOUR,
    "min_existing_spread_micros": 20_000,
    "quote_size": 10 * QTY_SCALE,
    "liquid_market_micros": 50_000 * 10**6,
    "liquid_size_multiplier_ppm": 1_000_000,
    "max_quote_age_ns": 30 * NS_PER_SECOND,
    "requote_threshold_micros": 20_000,
    "levels": 1,
    "level_spacing_micros": 10_000,
    "news_multiplier_ppm": 2_000_000,
    "markout_min_contracts": 100 * QTY_SCALE,
    "markout_multiplier_ppm": 1_000_000,
    "price_band_micros": 200_000,
    "max_order_size": 100 * QTY_SCALE,
    "fixed_half_spread_micros": 20_000,
}
MARKET = {
    "status": d.ACTIVE,
    "nets_positions": 1,
    "close_ns": NOW + 72 * NS_PER_HOUR,
    "resolution_ns": NOW + 72 * NS_PER_HOUR,
    "min_size": QTY_SCALE,
    "lot": QTY_SCALE,
    "bid_price": 4_500,
    "ask_price": 5_500,
    "liquidity_micros": 20_000 * 10**6,
    "fair_micros": 500_000,
}


def params_row(**changes: int) -> np.record:
    row = np.zeros(1, d.PARAMS)[0]
    for name, value in (PARAMS | changes).items():
        setattr(row, name, value)
    return row


def market_row(*, net: int = 0, hours: float | None = None, **changes: float) -> np.record:
    """`net` in contracts, `hours` to close and resolution; everything else by field name."""
    row = new_market()[0]
    values: dict[str, Any] = MARKET | changes
    values = {"far_bid_price": values["bid_price"], "far_ask_price": values["ask_price"]} | values
    if hours is not None:
        values["close_ns"] = values["resolution_ns"] = NOW + round(hours * NS_PER_HOUR)
    if net:
        values["yes_contracts" if net > 0 else "no_contracts"] = abs(net) * QTY_SCALE
    for name, value in values.items():
        setattr(row, name, value)
    return row


def decide(
    market: np.record,
    params: np.record,
    grid: int = 0,
    *,
    heat: int = ROOMY,
    cash: int = ROOMY,
    killed: int = 0,
    now: int = NOW,
) -> np.record:
    row = np.zeros(1, d.QUOTE)[0]
    for name in ("bid_price", "ask_price", "bid_size", "ask_size"):
        row[name][:] = 77  # what an earlier decision left behind must not survive
    row.reasons = -1
    q.decide(market, params, ALL_GRIDS, grid, now, heat, cash, killed, row)
    return row


def reasons(quote: np.record) -> set[str]:
    return {name for bit, name in enumerate(d.REASON_NAMES) if int(quote.reasons) >> bit & 1}


def orders(quote: np.record, side: str) -> list[tuple[int, int]]:
    pairs = zip(quote[f"{side}_price"].tolist(), quote[f"{side}_size"].tolist(), strict=True)
    return [(price, size) for price, size in pairs if price >= 0]


def as_dict(row: np.record) -> dict[str, Any]:
    return {name: row[name].tolist() for name in row.dtype.names}
