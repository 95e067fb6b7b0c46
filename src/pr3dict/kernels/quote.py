"""The quoting policy: from what is known of a market to the prices and sizes that should rest in it.

`decide` fills one QUOTE row: every spread term, the skew, the inventory state, a bit for each reason, and up
to ten levels a side. It sends nothing; the diff compares the row with the orders that rest. All arithmetic is
integer and every rounding goes outward (or half away from zero), so swapping YES and NO mirrors a decision
exactly. `quote_reference.py` is the same policy in the obvious slow way.
"""

from __future__ import annotations

import numpy as np

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, MONEY_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID, MAX_LEVELS
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.quote_levels import (
    add_reason,
    force_exit,
    outward_price,
    quote_sides,
    scale_ppm,
    side_arrays,
)
from pr3dict.kernels.quote_state import (
    TIER_CLOSING,
    TIER_FINAL,
    WIDEN,
    caution,
    inventory_state,
    liquidity_micros,
    must_exit_by_time,
    needs_decision,
    net_contracts,
    net_from_target,
    next_wake_ns,
    quote_state,
    resolution_left_ns,
    takes_orders,
    time_tier,
)
from pr3dict.kernels.rewards import place_for_rewards
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.kernels.world import Grids

__all__ = [
    "NEVER_NS",
    "decide",
    "inventory_state",
    "needs_decision",
    "next_wake_ns",
    "quote_state",
    "scale_ppm",
]

TEN_CONTRACTS = 10 * QTY_SCALE

# How much of a decision its gates let through.
HOLD = 0
EXIT_ONLY = 1
QUOTE_BOTH = 2


@kernel
def decide(
    market: np.record,
    params: np.record,
    grids: Grids,
    grid: int,
    now_ns: int,
    heat_room_micros: int,
    cash_room_micros: int,
    killed: int,
    quote: np.record,
) -> None:
    """Fill `quote` (a QUOTE row) for one market.

    market: MARKET row whose book, fair value and estimators were refreshed. params: PARAMS row. grid: row of
    `grids` in force. heat_room_micros: worst-case loss that may still be added by opening orders of one side,
    this market's resting orders left out. cash_room_micros: cash that orders of both sides may lock together,
    this market's resting orders left out. killed: 1 while the daily loss limit holds everything back.
    """
    _reset(market, params, now_ns, quote)
    if params.policy == d.POLICY_FIXED_SPREAD:
        _decide_fixed_spread(market, params, grids, grid, killed, quote)
        return
    _explain_spread(market, params, now_ns, quote)
    _explain_prices(params, quote)
    quote.state = inventory_state(market, params, now_ns)
    _explain_state(market, params, now_ns, quote)
    reduce_only = _selection(market, params, heat_room_micros, quote)
    gate = _gate(market, now_ns, killed, quote)
    if quote.state == d.STATE_FORCED_EXIT:
        if gate != HOLD:
            force_exit(market, params, grids, grid, now_ns, quote)
    elif gate == QUOTE_BOTH:
        if params.rewards != d.REWARDS_OFF and market.reward_spread > 0 and market.reward_mid >= 0:
            place_for_rewards(market, params, grids, grid, reduce_only, quote)
        quote_sides(
            market, params, grids, grid, reduce_only, heat_room_micros, max(cash_room_micros, 0), quote
        )


@kernel
def _reset(market: np.record, params: np.record, now_ns: int, quote: np.record) -> None:
    """Forget the last decision and copy the inputs that explain this one."""
    quote.now_ns = now_ns
    quote.fair_micros = market.fair_micros
    quote.uncertainty_micros = market.uncertainty_micros
    quote.net_contracts = net_from_target(market, params)
    quote.liquidity_micros = liquidity_micros(market)
    quote.volatility_micros = market.volatility_micros
    quote.existing_spread_micros = -1
    if market.bid_price >= 0 and market.ask_price >= 0:
        spread = int(market.ask_price) - int(market.bid_price)
        quote.existing_spread_micros = spread * MICROS_PER_PRICE_UNIT
    quote.resolution_left_ns = resolution_left_ns(market, now_ns)
    quote.unskewed_bid_micros = -1
    quote.unskewed_ask_micros = -1
    quote.skewed_bid_micros = -1
    quote.skewed_ask_micros = -1
    quote.skew_micros = 0
    _reset_rewards(quote)
    quote.reasons = 0
    quote.state = d.STATE_NORMAL
    quote.exit = 0
    quote.bid_tif = d.POST_ONLY
    quote.ask_tif = d.POST_ONLY
    quote.levels = 0
    for i in range(MAX_LEVELS):
        quote.bid_price[i] = -1
        quote.ask_price[i] = -1
        quote.bid_size[i] = 0
        quote.ask_size[i] = 0


@kernel
def _reset_rewards(quote: np.record) -> None:
    quote.rewards = d.REWARDS_OFF
    quote.reward_mid_micros = 0
    quote.reward_others = 0
    quote.reward_bid_score = 0
    quote.reward_ask_score = 0
    quote.reward_micros = 0
    quote.reward_edge_micros = 0
    quote.unmoved_reward_micros = 0
    quote.unmoved_edge_micros = 0
    quote.reward_bid_price = 0
    quote.reward_ask_price = 0
    quote.reward_bid_size = 0
    quote.reward_ask_size = 0


@kernel
def _explain_spread(market: np.record, params: np.record, now_ns: int, quote: np.record) -> None:
    """Spec section 4, in its order; each field holds the spread after that step."""
    spread = int(params.base_spread_micros)
    quote.spread_base_micros = spread
    if quote.liquidity_micros < params.low_liquidity_micros:
        spread += int(params.low_liquidity_addon_micros)
    quote.spread_liquidity_micros = spread
    if market.volatility_micros > params.high_volatility_micros:
        spread = scale_ppm(spread, int(params.volatility_multiplier_ppm))
    quote.spread_volatility_micros = spread
    tier = time_tier(market, params, now_ns)
    if tier == TIER_FINAL:
        spread = scale_ppm(spread, int(params.final_multiplier_ppm))
    elif tier == TIER_CLOSING:
        spread = scale_ppm(spread, int(params.closing_multiplier_ppm))
    quote.spread_time_micros = spread
    if abs(int(quote.net_contracts)) > params.inventory_skew_threshold:
        spread = scale_ppm(spread, int(params.inventory_multiplier_ppm))
    quote.spread_inventory_micros = spread
    addon = _markout_addon(market, params)
    if addon > 0:
        spread += addon
        add_reason(quote, d.R_MARKOUT_WIDENED)
    quote.spread_markout_micros = spread
    if caution(market, now_ns) == WIDEN:
        spread = scale_ppm(spread, int(params.news_multiplier_ppm))
        add_reason(quote, d.R_NEWS_WIDENED)
    quote.spread_news_micros = spread
    if spread < params.min_spread_micros:
        spread = int(params.min_spread_micros)
        add_reason(quote, d.R_CLAMPED_MIN)
    elif spread > params.max_spread_micros:
        spread = int(params.max_spread_micros)
        add_reason(quote, d.R_CLAMPED_MAX)
    quote.spread_micros = spread


@kernel
def _markout_addon(market: np.record, params: np.record) -> int:
    """Both half-spreads grow by the adverse markout of our own fills, once enough contracts were filled."""
    if market.markout_micros >= 0.0 or market.markout_weight * QTY_SCALE < params.markout_min_contracts:
        return 0
    adverse = int(min(-market.markout_micros, float(MONEY_SCALE)))
    return 2 * scale_ppm(adverse, int(params.markout_multiplier_ppm))


@kernel
def _explain_prices(params: np.record, quote: np.record) -> None:
    """Spec section 5 up to the rounding: the wished bid and ask before and after the skew."""
    distance = int(quote.net_contracts)
    if abs(distance) > params.inventory_skew_threshold:
        tens = abs(distance) // TEN_CONTRACTS
        size = tens * int(params.skew_per_10_micros)
        quote.skew_micros = -size if distance > 0 else size
        if size != 0:
            add_reason(quote, d.R_SKEWED)
    fair = int(quote.fair_micros)
    if fair < 0:
        return
    half = max((int(quote.spread_micros) + 1) // 2, 1)
    quote.unskewed_bid_micros = fair - half
    quote.unskewed_ask_micros = fair + half
    quote.skewed_bid_micros = fair - half + int(quote.skew_micros)
    quote.skewed_ask_micros = fair + half + int(quote.skew_micros)


@kernel
def _explain_state(market: np.record, params: np.record, now_ns: int, quote: np.record) -> None:
    if quote.state == d.STATE_REBALANCING:
        add_reason(quote, d.R_REBALANCING)
    if abs(int(quote.net_contracts)) > params.max_inventory:
        add_reason(quote, d.R_FORCED_EXIT)
    if must_exit_by_time(market, params, now_ns):
        add_reason(quote, d.R_FORCED_EXIT_TIME)


@kernel
def _selection(market: np.record, params: np.record, heat_room_micros: int, quote: np.record) -> bool:
    """Spec section 2: what has no place, fails a filter or finds no heat is only wound down. True if so."""
    passed = int(quote.reasons)
    if market.waiting != 0:
        add_reason(quote, d.R_NOT_SELECTED)
    left_ns = int(quote.resolution_left_ns)
    if quote.liquidity_micros < params.min_liquidity_micros:
        add_reason(quote, d.R_LOW_LIQUIDITY)
    if left_ns < 0:
        add_reason(quote, d.R_UNKNOWN_RESOLUTION)
    elif left_ns < params.min_time_to_resolution_ns:
        add_reason(quote, d.R_TOO_CLOSE)
    elif left_ns > params.max_time_to_resolution_ns:
        add_reason(quote, d.R_TOO_FAR)
    if 0 <= quote.existing_spread_micros < params.min_existing_spread_micros:
        add_reason(quote, d.R_NARROW_SPREAD)
    if heat_room_micros <= 0:
        add_reason(quote, d.R_HEAT)
    if quote.reasons == passed:
        return False
    add_reason(quote, d.R_REDUCE_ONLY)
    return True


@kernel
def _gate(market: np.record, now_ns: int, killed: int, quote: np.record) -> int:
    """What status, kill switch, holds, book and pauses let through: HOLD, EXIT_ONLY or QUOTE_BOTH.

    A pause pulls quotes; a forced exit is not a quote and goes on, also with one side of the book empty.
    """
    gate = QUOTE_BOTH
    if market.paused_until_ns > now_ns:
        add_reason(quote, d.R_VOLUME_PAUSE)
        gate = EXIT_ONLY
    if market.news_until_ns > now_ns and market.news_severity == d.NEWS_PULL:
        add_reason(quote, d.R_NEWS_PAUSE)
        gate = EXIT_ONLY
    if not _has_two_sides(market, quote):
        gate = EXIT_ONLY
    if market.fair_micros < 0 or quote.reasons & (1 << d.R_CROSSED_BOOK):
        gate = HOLD
    if market.leaving != 0:
        add_reason(quote, d.R_FLATTENING)
        gate = min(gate, EXIT_ONLY)
    if market.hold != d.HOLD_NOTHING:
        add_reason(quote, d.R_HELD)
        gate = min(gate, EXIT_ONLY if market.hold == d.HOLD_QUOTES else HOLD)
    if not takes_orders(market):
        add_reason(quote, d.R_NOT_ACTIVE)
        gate = HOLD
    if killed != 0:
        add_reason(quote, d.R_DAILY_LOSS)
        gate = min(gate, EXIT_ONLY if market.leaving != 0 else HOLD)
    return gate


@kernel
def _has_two_sides(market: np.record, quote: np.record) -> bool:
    if market.bid_price < 0 and market.ask_price < 0:
        add_reason(quote, d.R_NO_BOOK)
    elif market.bid_price < 0 or market.ask_price < 0:
        add_reason(quote, d.R_ONE_SIDED_BOOK)
    elif market.bid_price >= market.ask_price:
        add_reason(quote, d.R_CROSSED_BOOK)
    elif market.fair_micros < 0:
        add_reason(quote, d.R_NO_BOOK)
    else:
        return True
    return False


@kernel
def _decide_fixed_spread(
    market: np.record, params: np.record, grids: Grids, grid: int, killed: int, quote: np.record
) -> None:
    """Fair value plus and minus a fixed half-spread, one size, no new contracts beyond `max_inventory`."""
    half = int(params.fixed_half_spread_micros)
    fair = int(quote.fair_micros)
    quote.spread_base_micros = 2 * half
    quote.spread_liquidity_micros = 2 * half
    quote.spread_volatility_micros = 2 * half
    quote.spread_time_micros = 2 * half
    quote.spread_inventory_micros = 2 * half
    quote.spread_markout_micros = 2 * half
    quote.spread_news_micros = 2 * half
    quote.spread_micros = 2 * half
    two_sided = _has_two_sides(market, quote)
    if not takes_orders(market):
        add_reason(quote, d.R_NOT_ACTIVE)
    if market.leaving != 0:  # this policy has no exits
        add_reason(quote, d.R_FLATTENING)
    if market.hold != d.HOLD_NOTHING:
        add_reason(quote, d.R_HELD)
    if killed != 0:
        add_reason(quote, d.R_DAILY_LOSS)
    if fair >= 0:
        quote.unskewed_bid_micros = fair - half
        quote.unskewed_ask_micros = fair + half
        quote.skewed_bid_micros = fair - half
        quote.skewed_ask_micros = fair + half
    if not two_sided or quote.reasons != 0:
        return
    if market.waiting != 0:
        add_reason(quote, d.R_NOT_SELECTED)
        add_reason(quote, d.R_REDUCE_ONLY)
    net = net_contracts(market)
    for side in (BID, ASK):
        sign = 1 if side == BID else -1
        if sign * int(quote.net_contracts) >= params.max_inventory:
            add_reason(quote, d.R_BID_CUT_INVENTORY + side)
            continue
        if market.waiting != 0 and sign * net >= 0:
            continue
        price = outward_price(grids, grid, side, fair - sign * half)
        if price < 0:
            add_reason(quote, d.R_BID_OFF_GRID + side)
            continue
        prices, sizes = side_arrays(quote, side)
        prices[0] = price
        sizes[0] = int(params.quote_size)
        if market.waiting != 0:
            sizes[0] = min(sizes[0], abs(net))
        quote.levels = 1
