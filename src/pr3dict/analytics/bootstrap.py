"""Intervals and a test from few, heavy-tailed blocks: the symmetric studentised bootstrap, and swaps.

Profits of blocks (a market on a day) have heavy tails, and there are some dozens of them. Percentile and BCa
intervals are too short there; studentising repairs that, and taking both tails together (Hall 1988, "On
Symmetric Bootstrap Confidence Intervals") keeps it stable with ten blocks as with fifty. Several measures of
the same blocks share one critical value, that of the largest |t| (Romano and Wolf 2005), so that their
intervals hold together. docs/adr/0007-comparing-runs.md has the simulation behind the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Measure = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Blocks of shape (resamples, n, columns) to estimates and standard errors of shape (resamples, measures)."""

RESAMPLES = 4_999
BATCH = 1 << 21  # numbers drawn at a time: bounds the memory
EXACT = 1e-9  # a standard error below this share of the measure's scale is zero but for rounding


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds around it; infinite where the blocks can't bound it."""

    estimate: float
    low: float
    high: float


def ratio_of_sums(blocks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum of column 0 over sum of column 1, with its linearised error (Davison and Hinkley 1997, 2.7)."""
    n = blocks.shape[-2]
    above, below = blocks[..., 0], blocks[..., 1]
    base = below.mean(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = above.mean(-1) / base
        pull = (above - ratio[..., None] * below) / base[..., None]
    error = np.sqrt((pull**2).sum(-1) / (n * (n - 1)))
    return ratio[..., None], error[..., None]


def paired_difference(blocks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Second run less first: total net, and net a contract. Columns: net, contracts, net, contracts."""
    n = blocks.shape[-2]
    change = blocks[..., 2] - blocks[..., 0]
    total = change.sum(-1)
    centred = change - change.mean(-1, keepdims=True)
    total_error = np.sqrt((centred**2).sum(-1) * n / (n - 1))
    bases = blocks[..., 1].mean(-1), blocks[..., 3].mean(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = blocks[..., 0].mean(-1) / bases[0]
        second = blocks[..., 2].mean(-1) / bases[1]
        pull = (blocks[..., 2] - second[..., None] * blocks[..., 3]) / bases[1][..., None]
        pull -= (blocks[..., 0] - first[..., None] * blocks[..., 1]) / bases[0][..., None]
    error = np.sqrt((pull**2).sum(-1) / (n * (n - 1)))
    return np.stack((total, second - first), -1), np.stack((total_error, error), -1)


def intervals(
    blocks: FloatArray,
    measure: Measure,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[Interval, ...]:
    """One interval a measure of `blocks`, shape (n, columns) with n >= 2; all are true together at `level`.

    Whole blocks are drawn with replacement, as if independent. A measure whose blocks agree exactly has an
    interval of no width.
    """
    n = len(blocks)
    assert n >= 2, "an interval needs two blocks"
    centre, error = (values[0] for values in measure(blocks[None]))
    scale = _scale(centre)
    exact = error <= EXACT * scale

    def largest(size: int) -> FloatArray:
        drawn, errors = measure(blocks[rng.integers(0, n, (size, n))])
        return _largest_t(np.where(exact, 0.0, drawn - centre), errors, scale)

    critical = float(np.quantile(_batches(largest, blocks, resamples), level, method="higher"))
    reach = np.where(exact, 0.0, critical * error)
    return tuple(Interval(float(c), float(c - r), float(c + r)) for c, r in zip(centre, reach, strict=True))


def swap_p_value(blocks: FloatArray, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> float:
    """How often two runs of one policy would differ as these do, in either measure of `paired_difference`.

    If neither run is better, its two results could change places in any block. The share of swaps with a
    largest |t| at least as large as the observed one is exact for any number of blocks and any tails (Fisher
    1935; Davison and Hinkley 1997, 4.3); studentised as for few clusters (Cameron, Gelbach and Miller 2008).
    """
    centre, error = paired_difference(blocks[None])
    scale = _scale(centre[0])
    observed = float(_largest_t(centre, error, scale)[0])

    def largest(size: int) -> FloatArray:
        swap = rng.integers(0, 2, (size, len(blocks), 1)) == 1
        drawn, errors = paired_difference(np.where(swap, blocks[:, [2, 3, 0, 1]], blocks))
        return _largest_t(drawn, errors, scale)

    as_large = _batches(largest, blocks, resamples) >= observed * (1 - EXACT)
    return float((1 + as_large.sum()) / (resamples + 1))


def _batches(largest: Callable[[int], FloatArray], blocks: FloatArray, resamples: int) -> FloatArray:
    """`resamples` values of `largest`, a bounded number of them at a time."""
    step = max(1, BATCH // blocks.size)
    return np.concatenate([largest(min(step, resamples - first)) for first in range(0, resamples, step)])


def _scale(centre: FloatArray) -> FloatArray:
    scale: FloatArray = np.maximum(np.abs(centre), np.finfo(np.float64).tiny)
    return scale


def _largest_t(off: FloatArray, error: FloatArray, scale: FloatArray) -> FloatArray:
    """Largest |off| over its standard error; without an error any distance is infinitely many of them.

    A resample that leaves a measure undefined (it drew no contract at all) counts as infinitely far.
    """
    distance = np.abs(off)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.where(distance <= EXACT * scale, 0.0, np.inf)
        t = np.where(error <= EXACT * scale, without, distance / error)
    largest: FloatArray = np.where(np.isnan(t), np.inf, t).max(-1)
    return largest
