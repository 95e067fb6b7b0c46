"""Fair value of a market from its own book and trades, with an uncertainty; no value where there is no book.

A fair value is mid plus an offset of at most half the spread. The offset is computed on its own and
truncated towards zero, so swapping YES and NO gives exactly $1 less the value.
"""

from __future__ import annotations

import math

import numpy as np

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, MONEY_SCALE, NS_PER_HOUR, PPM_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.estimators import decay, mid_micros
from pr3dict.kernels.jit import kernel

__all__ = [
    "flow_offset_micros",
    "microprice_offset_micros",
    "mid_micros",
    "uncertainty_micros",
    "update_fair",
]

HALF_UNIT_MICROS = MICROS_PER_PRICE_UNIT // 2  # half the spread is this for each price unit of it


@kernel
def microprice_offset_micros(bid_price: int, bid_size: int, ask_price: int, ask_size: int) -> int:
    """Size-weighted mid less mid, in micros: half the spread x (bid size - ask size) / (their sum).

    The weighted mid I x ask + (1 - I) x bid with I = bid size / (bid size + ask size), start of the
    micro-price of Stoikov (2018), "The micro-price", section 2, and Gatheral & Oomen (2010). Both sizes must
    be above 0. Exact integers, truncated towards zero; the sum of sizes may reach 9e14 micro-contracts.
    """
    spread = int(ask_price) - int(bid_price)
    total = int(bid_size) + int(ask_size)
    lead = int(bid_size) - int(ask_size)
    product = abs(lead) * spread
    # The factor comes in after the first division, so that nothing larger than `product` has to fit.
    offset = HALF_UNIT_MICROS * (product // total) + HALF_UNIT_MICROS * (product % total) // total
    return offset if lead >= 0 else -offset


@kernel
def flow_offset_micros(market: np.record, params: np.record, now_ns: int) -> int:
    """How far recent takers move fair value, in micros: half the spread x weight x flow imbalance.

    The imbalance is signed flow / (total flow + mean size of the touch), flows decayed to `now_ns`. Flow
    over resting size is what moves a price (Cont, Kukanov & Stoikov 2014, section 2.3); the touch in the
    denominator keeps a dust trade from counting fully and lets old flow lose its weight, which the
    quotient of two equally decayed sums would not. `flow_weight_ppm` is what one-sided flow may move at most.
    """
    keep = decay(int(now_ns) - int(market.flow_ns), int(params.flow_half_life_ns))
    touch = (float(market.bid_size) + float(market.ask_size)) / (2.0 * QTY_SCALE)
    total = market.flow_total * keep + touch
    if total <= 0.0:
        return 0
    half_spread = (int(market.ask_price) - int(market.bid_price)) * HALF_UNIT_MICROS
    weight = float(params.flow_weight_ppm) / PPM_SCALE
    return int(float(half_spread) * weight * (market.flow_signed * keep / total))


@kernel
def uncertainty_micros(market: np.record, now_ns: int) -> int:
    """One-sided uncertainty of `fair_micros`: half the spread plus volatility x root of the book's age.

    The second term grows as a book gets stale, up to the root of p x (1 - p): all the variance that a binary
    price has left (a martingale that ends at 0 or 1; Augenblick & Rabin 2021, section II).
    """
    half_spread = (int(market.ask_price) - int(market.bid_price)) * HALF_UNIT_MICROS
    age_ns = max(int(now_ns) - int(market.book_ns), 0)
    drift = float(market.volatility_micros) * math.sqrt(float(age_ns) / float(NS_PER_HOUR))
    fair = int(market.fair_micros)
    budget = math.sqrt(float(fair * (MONEY_SCALE - fair)))
    return half_spread + int(min(drift, budget))


@kernel
def update_fair(market: np.record, params: np.record, now_ns: int) -> None:
    """Set `fair_micros` and `uncertainty_micros` from the touch (own quotes out) by `params.fair_model`.

    Both are -1 when a side is missing, the book is crossed or the model unknown: never a default, never the
    last value. Models: FAIR_MID, FAIR_MICROPRICE, FAIR_ORDER_FLOW (microprice moved by recent takers).
    """
    market.fair_micros = -1
    market.uncertainty_micros = -1
    mid = mid_micros(market.bid_price, market.ask_price)
    if mid < 0:
        return
    offset = 0
    if params.fair_model != d.FAIR_MID:
        if market.bid_size <= 0 or market.ask_size <= 0:
            return
        offset = microprice_offset_micros(
            market.bid_price, market.bid_size, market.ask_price, market.ask_size
        )
        if params.fair_model == d.FAIR_ORDER_FLOW:
            half_spread = (int(market.ask_price) - int(market.bid_price)) * HALF_UNIT_MICROS
            moved = offset + flow_offset_micros(market, params, now_ns)
            offset = max(-half_spread, min(half_spread, moved))
        elif params.fair_model != d.FAIR_MICROPRICE:
            return
    market.fair_micros = mid + offset
    market.uncertainty_micros = uncertainty_micros(market, now_ns)
