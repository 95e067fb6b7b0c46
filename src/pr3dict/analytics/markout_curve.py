"""The markout curve: what fills are worth against the mid as time goes on, with intervals over blocks.

Fills of one market within a quarter of an hour share one market move, so whole blocks of them are drawn
again (`bootstrap.intervals`), longer than the longest horizon of five minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pr3dict.analytics.bootstrap import RESAMPLES, intervals, ratio_of_sums
from pr3dict.analytics.series import IntArray
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT
from pr3dict.kernels import dtypes as d

BLOCK_NS = 900_000_000_000
MIN_BLOCKS = 8
HORIZONS = ("at fill", "1 s", "10 s", "1 min", "5 min")
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class MarkoutPoint:
    """One horizon, dollars a contract; None where no fill reached it or too few blocks bound it."""

    horizon: str
    contracts: int  # micro-contracts behind it
    blocks: int
    estimate: float | None
    low: float | None = None
    high: float | None = None


def markout_points(
    fills: d.Array, rng: np.random.Generator | None = None, *, resamples: int = RESAMPLES
) -> tuple[MarkoutPoint, ...]:
    """Size-weighted d (mid - price) of FILL rows at the fill and after it; 95% intervals with an `rng`."""
    mids = np.column_stack((fills["mid_micros"], fills["after_micros"]))
    return tuple(_point(name, fills, mids[:, h], rng, resamples) for h, name in enumerate(HORIZONS))


def _point(
    name: str, fills: d.Array, mid: IntArray, rng: np.random.Generator | None, resamples: int
) -> MarkoutPoint:
    known = mid >= 0
    mine, mid = fills[known], mid[known]
    if not len(mine):
        return MarkoutPoint(name, 0, 0, None)
    sign = np.where(mine["side"] == d.BID, 1, -1)
    edge = sign * (mid - mine["price"].astype(np.int64) * MICROS_PER_PRICE_UNIT) / MICRO
    qty = mine["qty"] / MICRO
    keys = np.column_stack((mine["market"].astype(np.int64), mine["exch_ns"] // BLOCK_NS))
    _, place = np.unique(keys, axis=0, return_inverse=True)
    sums = np.bincount(place, edge * qty), np.bincount(place, qty)
    blocks = np.column_stack(sums).astype(np.float64)
    estimate = float(blocks[:, 0].sum() / blocks[:, 1].sum())
    size = int(mine["qty"].sum())
    if rng is None or len(blocks) < MIN_BLOCKS:
        return MarkoutPoint(name, size, len(blocks), estimate)
    found = intervals(blocks, ratio_of_sums, rng, resamples=resamples)[0]
    if not np.isfinite(found.low):
        return MarkoutPoint(name, size, len(blocks), estimate)
    return MarkoutPoint(name, size, len(blocks), estimate, found.low, found.high)
