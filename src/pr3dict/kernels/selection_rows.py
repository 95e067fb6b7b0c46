"""Rows of the selection: what is measured of a market, and the parts of its score.

Units as in `dtypes.py`. Mids are counted in half price units (bid + ask), 1/20,000 dollar, so that they stay
whole. Sums are of samples a second apart, so a sum over `samples` is a time average.
"""

from __future__ import annotations

import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import _row

DISTANCE_BINS = 13  # half cents from mid: 0, 0.5, ... 6 and more
MARKOUT_S = (10, 60)  # horizons of the markouts
RING_S = 64  # seconds of trades whose markouts are pending, more than the longest horizon

SELECTION = _row(
    [
        ("since_ns", "i8"),  # first sample; 0: none yet
        ("second", "i8"),  # second of the last sample
        ("samples", "i8"),  # seconds in which the market took orders
        ("two_sided", "i8"),  # of these, with a bid and an ask
        ("spread_sum", "i8"),  # price units, over two-sided samples
        ("mid_sum", "i8"),  # half units
        ("bid_size_sum", "i8"),  # micro-contracts at the touch
        ("ask_size_sum", "i8"),
        ("left_samples", "i8"),
        ("left_sum_s", "i8"),  # seconds to the expected resolution
        ("depth_samples", "i8"),
        ("depth_sum", "i8"),  # micros within 10 cents of mid, both sides
        # Movement of the mid, half units squared.
        ("last_mid", "i8"),  # at the last two-sided sample; -1: none yet
        ("minute_mid", "i8"),  # at the last whole minute
        ("movement", "i8"),  # sum of squared changes from second to second
        ("minute_movement", "i8"),  # the same from minute to minute
        ("excess", "i8"),  # movement less the uncertainty that it resolved
        ("excess_variance", "f8"),  # of that, were the mid a martingale
        ("reversion", "i8"),  # movement by seconds less movement by minutes
        ("reversion_variance", "f8"),  # of that, were the mid a martingale
        # Trades; index 0: the taker bought YES, 1: sold it.
        ("trades", "i8", (2,)),
        ("contracts", "i8", (2,)),
        ("volume_at", "i8", (2, DISTANCE_BINS)),  # micro-contracts by distance from the mid before
        ("effective", "i8"),  # half units x micro-contracts that takers paid beyond the mid before
        ("effective_contracts", "i8"),
        # Markouts of trades, at each of `MARKOUT_S`.
        ("impact", "i8", (2,)),  # half units x micro-contracts that the mid then moved the taker's way
        ("realised", "i8", (2,)),  # the same kept by the maker: effective less impact
        ("matured", "i8", (2,)),  # micro-contracts behind them
        ("impact_minute", "i8", (2,)),  # impact since the last whole minute
        ("impact_squares", "f8", (2,)),  # sum of its squares over whole minutes, in contracts
        # Trades of one second each, until their markouts are known.
        ("ring_qty", "i8", (RING_S,)),
        ("ring_signed", "i8", (RING_S,)),  # taker buys less taker sells
        ("ring_paid", "i8", (RING_S,)),  # half units x signed contracts at trade prices
        ("ring_mid", "i8", (RING_S,)),  # the same at the mids before
        ("reward_micros", "i8"),  # liquidity rewards an hour for quotes here; 0 unless given
        # The place among `max_markets`.
        ("selected_since_ns", "i8"),
        ("selected_ns", "i8"),  # time with a place, up to when it was last lost
        ("times_selected", "i8"),
    ]
)

# Money is an hour unless it is locked; contracts are an hour.
SCORE = _row(
    [
        ("reasons", "i8"),  # bits R_* of the filters that the market fails
        ("mid_micros", "i8"),  # time averages
        ("spread_micros", "i8"),
        ("liquidity_micros", "i8"),
        ("left_ns", "i8"),  # to the expected resolution; -1: unknown
        ("quoted_spread_micros", "i8"),  # ours, flat
        ("impact_micros", "f8"),  # expected against us a contract, within a minute of a fill
        ("bid_price", "i4"),  # ours around the average mid
        ("ask_price", "i4"),
        ("bid_contracts", "i8"),  # that our bid would fill
        ("ask_contracts", "i8"),
        ("capture_micros", "i8"),
        ("adverse_micros", "i8"),  # what the mid takes back within a minute
        ("fees_micros", "i8"),
        ("rebates_micros", "i8"),
        ("rewards_micros", "i8"),
        ("net_micros", "i8"),  # capture - adverse - fees + rebates + rewards
        ("quotes_locked_micros", "i8"),  # by a resting bid and ask
        ("held_locked_micros", "i8"),  # by contracts that wait for the other side
        ("surplus_locked_micros", "i8"),  # by what the busier side fills beyond, until resolution
        ("locked_micros", "i8"),
        ("locked_ns", "i8"),  # time until a filled quote is freed
        ("score_ppm", "i8"),  # net an hour over what is locked
    ]
)


def new_selection(n: int = 1) -> d.Array:
    """SELECTION rows that have seen nothing."""
    rows = np.zeros(n, SELECTION)
    rows["last_mid"] = rows["minute_mid"] = -1
    return rows
