"""Derivative-free minimisation: evolution with an adapted covariance (CMA-ES).

N. Hansen and A. Ostermeier, "Completely derandomized self-adaptation in evolution strategies", 2001, with the
weights and learning rates of N. Hansen, "The CMA evolution strategy: a tutorial", 2016, equations 49 to 58.
It needs only the order of the values that it compares, so it bears a rough function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Minimum(NamedTuple):
    """The best point that was tried, its value, how many were, and where the search ended."""

    point: Floats
    value: float
    evaluations: int
    centre: Floats  # the mean of the last generation: of a rough function often the better guess


@dataclass(frozen=True, slots=True)
class _Rates:
    """Constants of the method for a number of dimensions."""

    offspring: int
    weights: Floats  # of the parents, best first, sum 1
    effective: float  # parents that the weights amount to
    path_sigma: float
    damping: float
    path_shape: float
    rank_one: float
    rank_mu: float
    length: float  # expected of a standard normal vector


def _rates(n: int) -> _Rates:
    offspring = 4 + int(3 * math.log(n))
    raw = math.log((offspring + 1) / 2) - np.log(np.arange(1, offspring // 2 + 1))
    weights = raw / raw.sum()
    effective = float(1 / np.sum(weights**2))
    path_sigma = (effective + 2) / (n + effective + 5)
    rank_one = 2 / ((n + 1.3) ** 2 + effective)
    return _Rates(
        offspring=offspring,
        weights=weights,
        effective=effective,
        path_sigma=path_sigma,
        damping=1 + 2 * max(0.0, math.sqrt((effective - 1) / (n + 1)) - 1) + path_sigma,
        path_shape=(4 + effective / n) / (n + 4 + 2 * effective / n),
        rank_one=rank_one,
        rank_mu=min(1 - rank_one, 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective)),
        length=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n)),
    )


def minimise(
    function: Callable[[Floats], float], start: Floats, *, step: float, seed: int, evaluations: int
) -> Minimum:
    """The least value of `function` that a search of at most `evaluations` calls from `start` finds.

    `step` is the standard deviation of the first trials in every coordinate, which should matter alike. The
    same seed makes the same trials.
    """
    n = len(start)
    rates, draws = _rates(n), np.random.default_rng(seed)
    sigma = step
    mean: Floats = start.astype(np.float64)
    covariance: Floats = np.eye(n)
    toward_sigma: Floats = np.zeros(n)
    toward_shape: Floats = np.zeros(n)
    best = Minimum(mean, function(mean), 1, mean)
    generation = 0
    while best.evaluations + rates.offspring <= evaluations:
        generation += 1
        lengths, axes = np.linalg.eigh(covariance)
        lengths = np.sqrt(np.maximum(lengths, 1e-20))
        moves = draws.standard_normal((rates.offspring, n)) * lengths @ axes.T
        values = np.array([function(mean + sigma * move) for move in moves])
        order = np.argsort(values, kind="stable")
        tried = best.evaluations + rates.offspring
        if values[order[0]] < best.value:
            best = Minimum(mean + sigma * moves[order[0]], float(values[order[0]]), tried, mean)
        else:
            best = best._replace(evaluations=tried)
        parents = moves[order[: len(rates.weights)]]
        shift = rates.weights @ parents
        mean = mean + sigma * shift
        whitened = axes @ ((axes.T @ shift) / lengths)
        c = rates.path_sigma
        toward_sigma = (1 - c) * toward_sigma + math.sqrt(c * (2 - c) * rates.effective) * whitened
        reach = float(np.linalg.norm(toward_sigma)) / math.sqrt(1 - (1 - c) ** (2 * generation))
        stalled = 0.0 if reach < (1.4 + 2 / (n + 1)) * rates.length else 1.0
        c = rates.path_shape
        toward_shape = (1 - c) * toward_shape
        toward_shape += (1 - stalled) * math.sqrt(c * (2 - c) * rates.effective) * shift
        lost = stalled * rates.rank_one * c * (2 - c)
        covariance = (
            (1 - rates.rank_one - rates.rank_mu + lost) * covariance
            + rates.rank_one * np.outer(toward_shape, toward_shape)
            + rates.rank_mu * (parents.T * rates.weights) @ parents
        )
        growth = float(np.linalg.norm(toward_sigma)) / rates.length - 1
        sigma *= math.exp(min(1.0, rates.path_sigma / rates.damping * growth))
    return best._replace(centre=mean)
