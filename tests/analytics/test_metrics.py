"""Drawdown and Sharpe ratio against direct computations."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.metrics import max_drawdown, per_hour, share, sharpe

MINUTE = 60 * 10**9


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12), max_size=25))
def test_drawdown_is_the_worst_pair(curve: list[int]) -> None:
    worst = max((early - late for i, early in enumerate(curve) for late in curve[i:]), default=0)
    assert max_drawdown(np.array(curve, np.int64)) == worst


def test_sharpe_of_a_known_curve() -> None:
    changes = [5, -3, 8, 0, 2]
    equity = np.cumsum([1_000, *changes]).astype(np.int64)
    times = np.arange(6, dtype=np.int64) * MINUTE
    found = sharpe(times, equity, MINUTE)
    expected = statistics.mean(changes) / statistics.stdev(changes) * math.sqrt(365 * 24 * 60)
    assert found.ratio == pytest.approx(expected, abs=1e-6)
    assert "5 equity changes of 60 s" in found.basis


def test_sharpe_counts_the_last_shorter_stretch_and_no_empty_one() -> None:
    equity = np.array([0, 5, 2, 10, 10_010, 10_010], np.int64)
    times = np.array([0, 60, 120, 180, 185, 185], np.int64) * 10**9
    changes = [5, -3, 8, 10_000]
    expected = statistics.mean(changes) / statistics.stdev(changes) * math.sqrt(365 * 24 * 60)
    assert sharpe(times, equity, MINUTE).ratio == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("equity", [[], [5], [5, 6], [5, 5, 5, 5], [5, 6, 7, 8]])
def test_sharpe_that_means_nothing_is_none(equity: list[int]) -> None:
    times = np.arange(len(equity), dtype=np.int64) * MINUTE
    found = sharpe(times, np.array(equity, np.int64), MINUTE)
    assert found.ratio is None
    assert "not defined" in found.basis


def test_shares_and_rates() -> None:
    assert share(1, 3) == 0.333333
    assert share(1, 0) is None
    assert per_hour(30, 1800 * 10**9) == 60.0
    assert per_hour(30, 0) is None
