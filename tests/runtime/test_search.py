"""The search finds minima that are known, within its budget, the same way each time."""

from __future__ import annotations

import numpy as np
import pytest

from pr3dict.runtime.search import minimise


def rosenbrock(x: np.ndarray) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


@pytest.mark.parametrize(
    ("function", "where", "n"),
    [
        (lambda x: float(np.sum(np.arange(1, len(x) + 1) ** 2 * (x - 3) ** 2)), 3.0, 8),
        (rosenbrock, 1.0, 5),
        (lambda x: float(np.sum(np.floor(10 * np.abs(x + 2)))), -2.0, 4),  # steps: no derivative helps
    ],
)
def test_finds_a_known_minimum(function, where: float, n: int) -> None:
    found = minimise(function, np.zeros(n), step=0.5, seed=3, evaluations=4_000)
    assert np.allclose(found.point, where, atol=0.11)
    assert found.value == function(found.point)


def test_keeps_to_its_budget_and_repeats_itself() -> None:
    calls = []

    def function(x: np.ndarray) -> float:
        calls.append(x.copy())
        return float(x @ x)

    first = minimise(function, np.ones(6), step=0.3, seed=1, evaluations=100)
    assert len(calls) == first.evaluations <= 100
    assert first.value == min(float(x @ x) for x in calls)
    again = minimise(function, np.ones(6), step=0.3, seed=1, evaluations=100)
    other = minimise(function, np.ones(6), step=0.3, seed=2, evaluations=100)
    assert np.array_equal(first.point, again.point) and not np.array_equal(first.point, other.point)
