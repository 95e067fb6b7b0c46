"""Figures of an equity curve and of quoting: drawdown, Sharpe ratio, shares and averages.

Money comes in as integer micros and stays so; a ratio is a float rounded to `DIGITS`, None where it has no
meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NS_PER_SECOND = 1_000_000_000
SECONDS_PER_YEAR = 365 * 24 * 3600  # prediction markets trade every day
DIGITS = 6

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sharpe:
    """Annualised ratio (None: fewer than two changes, or none that differ) and how it was computed."""

    ratio: float | None
    basis: str


def max_drawdown(equity_micros: IntArray) -> int:
    """Largest fall from an earlier peak, micros (>= 0); an empty curve fell by nothing."""
    if not len(equity_micros):
        return 0
    return int((np.maximum.accumulate(equity_micros) - equity_micros).max())


def sharpe(times_ns: IntArray, equity_micros: IntArray, interval_ns: int) -> Sharpe:
    """Sharpe ratio (Sharpe 1994, "The Sharpe Ratio") of the changes of a curve sampled every `interval_ns`.

    Mean over sample standard deviation (n - 1) of the changes, times the square root of intervals a year; no
    riskless rate is taken off. The last stretch may be shorter and counts as one interval, since it may hold
    a settlement. Time between two recordings counts as time without a change.
    """
    changes = np.diff(equity_micros)[np.diff(times_ns) > 0].astype(np.float64)
    seconds = interval_ns // NS_PER_SECOND
    basis = (
        f"mean over standard deviation of {len(changes)} equity changes of {seconds} s each, "
        f"times sqrt({SECONDS_PER_YEAR} s a year / {seconds} s), no riskless rate"
    )
    if len(changes) < 2:
        return Sharpe(None, basis + "; not defined with fewer than 2 changes")
    spread = float(changes.std(ddof=1))
    if spread == 0.0:
        return Sharpe(None, basis + "; not defined when equity does not vary")
    yearly = math.sqrt(SECONDS_PER_YEAR * NS_PER_SECOND / interval_ns)
    return Sharpe(round(float(changes.mean()) / spread * yearly, DIGITS), basis)


def share(part: float, whole: float) -> float | None:
    """`part / whole` rounded, None when there is no whole."""
    return round(float(part) / float(whole), DIGITS) if whole else None


def per_hour(count: int, span_ns: int) -> float | None:
    """Rate of `count` things over a span, an hour."""
    return share(count * 3600.0 * NS_PER_SECOND, span_ns)
