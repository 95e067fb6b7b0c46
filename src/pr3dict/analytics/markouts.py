"""What fills were worth after the market moved on: markouts, and their split into capture and impact.

All figures are per contract, size weighted, in our favour when positive (Huang and Stoll 1996): with
direction s, price p, mid m before the fill and mid m_h a horizon later,

    captured = s (m - p)        realised = s (m_h - p)        impact = s (m - m_h)

so captured = realised + impact. `realised` is the markout.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT
from pr3dict.kernels import dtypes as d

IntArray = npt.NDArray[np.int64]

HORIZON_NAMES = ("1s", "10s", "60s", "300s")  # of dtypes.MARKOUT_HORIZONS_NS


@dataclass(frozen=True, slots=True)
class Markout:
    """Fills at one horizon; money in micros a contract (exact), None where nothing reached the horizon."""

    horizon: str
    contracts: int  # micro-contracts behind `realised`
    realised: Fraction | None
    captured: Fraction | None  # over the fills whose mid before is known too
    impact: Fraction | None


def exact_sum(values: IntArray) -> int:
    """Sum of int64 values as a Python integer, without overflow."""
    high, low = np.divmod(values, 1 << 32)
    return (int(high.sum()) << 32) + int(low.sum())


def _weighted(edge_micros: IntArray, qty: IntArray) -> Fraction | None:
    total = exact_sum(qty)
    return Fraction(exact_sum(edge_micros * qty), total) if total else None


def markout(fills: d.Array, horizon: int) -> Markout:
    """Markout of FILL rows at `dtypes.MARKOUT_HORIZONS_NS[horizon]`; unreached fills are left out."""
    reached = fills[fills["after_micros"][:, horizon] >= 0]
    qty: IntArray = reached["qty"]
    sign = np.where(reached["side"] == d.BID, 1, -1).astype(np.int64)
    after: IntArray = reached["after_micros"][:, horizon]
    price = reached["price"].astype(np.int64) * MICROS_PER_PRICE_UNIT
    known = reached["mid_micros"] >= 0
    mid: IntArray = reached["mid_micros"]
    return Markout(
        horizon=HORIZON_NAMES[horizon],
        contracts=exact_sum(qty),
        realised=_weighted(sign * (after - price), qty),
        captured=_weighted((sign * (mid - price))[known], qty[known]),
        impact=_weighted((sign * (mid - after))[known], qty[known]),
    )


def markouts(fills: d.Array) -> tuple[Markout, ...]:
    """One `Markout` a horizon, in the order of `HORIZON_NAMES`."""
    return tuple(markout(fills, horizon) for horizon in range(len(HORIZON_NAMES)))
