"""Where a market stands: inventory band, time tier, pauses, and whether its quote must be decided again.

Inventory is `net`, YES less NO contracts. Bands and skew measure it from `target_inventory`; whatever winds a
market down (reduce-only, the exit before resolution) measures it from zero, since that is what resolves.
"""

from __future__ import annotations

import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.wakes import NEVER_NS

# Time tiers of the spread.
TIER_NONE = 0
TIER_CLOSING = 1
TIER_FINAL = 2

# What pauses and news ask for, mildest first.
CALM = 0
WIDEN = 1
PULL = 2


@kernel
def net_contracts(market: np.record) -> int:
    """YES less NO, micro-contracts."""
    return int(market.yes_contracts) - int(market.no_contracts)


@kernel
def net_from_target(market: np.record, params: np.record) -> int:
    """Net position measured from `target_inventory`, micro-contracts."""
    return net_contracts(market) - int(params.target_inventory)


@kernel
def resolution_left_ns(market: np.record, now_ns: int) -> int:
    """Time to the expected resolution, 0 once it is past, -1 if unknown."""
    if market.resolution_ns < 0:
        return -1
    return max(int(market.resolution_ns) - now_ns, 0)


@kernel
def liquidity_micros(market: np.record) -> int:
    """The venue's own figure where it states one, else what the book shows."""
    stated = int(market.stated_liquidity_micros)
    return stated if stated >= 0 else int(market.liquidity_micros)


@kernel
def takes_orders(market: np.record) -> bool:
    """Whether the venue accepts a resting order in this status."""
    return market.status == d.ACTIVE or market.status == d.POST_ONLY_MODE


@kernel
def caution(market: np.record, now_ns: int) -> int:
    """What the volume pause and news ask for now: CALM, WIDEN or PULL."""
    if market.paused_until_ns > now_ns:
        return PULL
    if market.news_until_ns <= now_ns:
        return CALM
    if market.news_severity == d.NEWS_PULL:
        return PULL
    return WIDEN if market.news_severity == d.NEWS_WIDEN else CALM


@kernel
def close_ns(market: np.record) -> int:
    """End of trading; the expected resolution where it is unknown; -1 if both are."""
    return int(market.close_ns) if market.close_ns >= 0 else int(market.resolution_ns)


@kernel
def time_tier(market: np.record, params: np.record, now_ns: int) -> int:
    """Tier TIER_* of the time to close, bounds inclusive (spec section 4)."""
    end_ns = close_ns(market)
    if end_ns < 0:
        return TIER_NONE
    left_ns = end_ns - now_ns
    if left_ns <= params.final_ns:
        return TIER_FINAL
    return TIER_CLOSING if left_ns <= params.closing_ns else TIER_NONE


@kernel
def outside_window(left_ns: int, params: np.record) -> bool:
    """Whether the time to resolution (-1: unknown) forbids opening anything."""
    return left_ns < params.min_time_to_resolution_ns or left_ns > params.max_time_to_resolution_ns


@kernel
def must_exit_by_time(market: np.record, params: np.record, now_ns: int) -> bool:
    """Whether resolution is too near for the net position that is held (spec section 6)."""
    left_ns = resolution_left_ns(market, now_ns)
    if left_ns < 0 or left_ns >= params.min_time_to_resolution_ns:
        return False
    return abs(net_contracts(market)) > params.exit_inventory


@kernel
def inventory_state(market: np.record, params: np.record, now_ns: int) -> int:
    """Code STATE_* of spec section 6: the band of |net from target|, or an exit by time or by a person."""
    if market.leaving != 0 and net_contracts(market) != 0:
        return d.STATE_FORCED_EXIT
    if must_exit_by_time(market, params, now_ns):
        return d.STATE_FORCED_EXIT
    distance = abs(net_from_target(market, params))
    if distance > params.max_inventory:
        return d.STATE_FORCED_EXIT
    if distance > params.rebalance_threshold:
        return d.STATE_REBALANCING
    if distance > params.inventory_skew_threshold:
        return d.STATE_SKEWED
    return d.STATE_NORMAL


@kernel
def quote_state(market: np.record, params: np.record, now_ns: int) -> int:
    """A code in 0..72; when it changes, the quote is decided again at once (spec section 7).

    0 while the market takes no orders; otherwise inventory state, time tier, reduce-only by time, and what
    pauses and news ask for. Liquidity and the existing spread are left out on purpose: they are looked at
    whenever a quote is refreshed, so a book that flickers around a filter does not make quotes flicker.
    """
    if not takes_orders(market):
        return 0
    by_time = 1 if outside_window(resolution_left_ns(market, now_ns), params) else 0
    code = caution(market, now_ns) * 2 + by_time
    code = code * 3 + time_tier(market, params, now_ns)
    return 1 + code * 4 + inventory_state(market, params, now_ns)


@kernel
def needs_decision(market: np.record, params: np.record, now_ns: int) -> bool:
    """Whether the standing quote must be decided again (spec section 7).

    So when it was never made, is asked for (`refresh`) or is old, when fair value appeared, vanished or moved
    by more than the threshold, and when `quote_state` changed.
    """
    if market.quoted_state < 0 or market.refresh != 0:
        return True
    if now_ns - int(market.quoted_ns) >= params.max_quote_age_ns:
        return True
    fair = int(market.fair_micros)
    quoted_fair = int(market.quoted_fair_micros)
    if (fair < 0) != (quoted_fair < 0) or abs(fair - quoted_fair) > params.requote_threshold_micros:
        return True
    return quote_state(market, params, now_ns) != int(market.quoted_state)


@kernel
def next_wake_ns(market: np.record, params: np.record, now_ns: int) -> int:
    """First instant after `now_ns` at which time alone could change the decision; else NEVER_NS."""
    wake = NEVER_NS
    if market.quoted_state >= 0:
        wake = _sooner(wake, int(market.quoted_ns) + int(params.max_quote_age_ns), now_ns)
    wake = _sooner(wake, int(market.paused_until_ns), now_ns)
    wake = _sooner(wake, int(market.news_until_ns), now_ns)
    end_ns = close_ns(market)
    if end_ns >= 0:
        wake = _sooner(wake, end_ns - int(params.closing_ns), now_ns)
        wake = _sooner(wake, end_ns - int(params.final_ns), now_ns)
    resolution_ns = int(market.resolution_ns)
    if resolution_ns >= 0:
        wake = _sooner(wake, resolution_ns - int(params.max_time_to_resolution_ns), now_ns)
        wake = _sooner(wake, resolution_ns - int(params.min_time_to_resolution_ns) + 1, now_ns)
    return wake


@kernel
def _sooner(wake_ns: int, candidate_ns: int, now_ns: int) -> int:
    return candidate_ns if now_ns < candidate_ns < wake_ns else wake_ns
