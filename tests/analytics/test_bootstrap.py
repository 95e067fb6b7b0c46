"""Bootstrap intervals: against the same resampling in plain loops, in degenerate cases, and by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pr3dict.analytics.bootstrap import intervals, paired_difference, ratio_of_sums, swap_p_value


def blocks_of(seed: int, n: int = 30, spread: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(5, 1, n))
    first = 3 * rng.standard_t(3, n)
    return np.column_stack(
        (first, size, first + spread * rng.standard_t(3, n), size * rng.uniform(0.9, 1.1, n))
    )


def slow_measures(rows: list[list[float]]) -> list[tuple[float, float]]:
    """Estimates and errors of both measures, one block at a time."""
    n = len(rows)
    change = [row[2] - row[0] for row in rows]
    mean = sum(change) / n
    total_error = math.sqrt(n * sum((x - mean) ** 2 for x in change) / (n - 1))
    net = [sum(row[k] for row in rows) for k in range(4)]
    ratios = net[0] / net[1], net[2] / net[3]
    pulls = [
        (row[2] - ratios[1] * row[3]) / (net[3] / n) - (row[0] - ratios[0] * row[1]) / (net[1] / n)
        for row in rows
    ]
    error = math.sqrt(sum(x * x for x in pulls) / (n * (n - 1)))
    return [(sum(change), total_error), (ratios[1] - ratios[0], error)]


def test_both_intervals_are_those_of_plain_loops():
    blocks, resamples = blocks_of(1, 12), 300
    found = intervals(blocks, paired_difference, np.random.default_rng(5), level=0.9, resamples=resamples)
    rows = blocks.tolist()
    centre = slow_measures(rows)
    largest = []
    for drawn in np.random.default_rng(5).integers(0, 12, (resamples, 12)).tolist():
        again = slow_measures([rows[k] for k in drawn])
        largest.append(max(abs(a[0] - c[0]) / a[1] for a, c in zip(again, centre, strict=True)))
    critical = sorted(largest)[math.ceil(0.9 * (resamples - 1))]
    for interval, (estimate, error) in zip(found, centre, strict=True):
        assert interval.estimate == pytest.approx(estimate)
        assert interval.low == pytest.approx(estimate - critical * error)
        assert interval.high == pytest.approx(estimate + critical * error)


def test_the_p_value_counts_swaps_that_are_as_large():
    blocks, resamples = blocks_of(6, 9), 250
    p_value = swap_p_value(blocks, np.random.default_rng(8), resamples=resamples)
    observed = max(abs(c) / error for c, error in slow_measures(blocks.tolist()))
    as_large = 0
    for swaps in np.random.default_rng(8).integers(0, 2, (resamples, 9)).tolist():
        rows = [
            [*row[2:], *row[:2]] if swap else row for row, swap in zip(blocks.tolist(), swaps, strict=True)
        ]
        as_large += max(abs(c) / error for c, error in slow_measures(rows)) >= observed - 1e-9
    assert 0 < as_large < resamples
    assert p_value == (1 + as_large) / (resamples + 1)


@pytest.mark.parametrize(("df", "n"), [(1, 8), (1, 30), (30, 8), (30, 30)])
def test_swaps_hold_their_level_in_any_tails(df, n):
    rng = np.random.default_rng(10 * df + n)
    called = 0
    for _ in range(400):
        size = np.exp(rng.normal(4, 1, (n, 1)))
        own = rng.standard_t(df, (n, 2))
        blocks = np.column_stack((own[:, 0], size, own[:, 1], size))
        called += swap_p_value(blocks, rng, resamples=199) <= 0.05
    assert called <= 31  # 5% of 400 is 20, plus 2.5 standard deviations


def test_a_ratio_is_that_of_the_sums_and_errors_shrink_with_blocks():
    few, many = blocks_of(2, 20)[:, :2], np.tile(blocks_of(2, 20)[:, :2], (16, 1))
    (ratio,), (error,) = ratio_of_sums(few)
    assert ratio == pytest.approx(few[:, 0].sum() / few[:, 1].sum())
    assert ratio_of_sums(many)[1][0] == pytest.approx(error / 4, rel=0.05)


def test_a_difference_without_spread_has_no_width_and_none_at_all_is_none():
    blocks = blocks_of(3)
    same = blocks[:, [0, 1, 0, 1]]
    found = intervals(same, paired_difference, np.random.default_rng(0))
    assert swap_p_value(same, np.random.default_rng(0)) == 1.0
    assert all((i.estimate, i.low, i.high) == (0.0, 0.0, 0.0) for i in found)
    dearer = same + np.outer(same[:, 1], [0, 0, 0.002, 0])
    net, each = intervals(dearer, paired_difference, np.random.default_rng(0))
    assert swap_p_value(dearer, np.random.default_rng(0)) < 0.001
    assert each.estimate == each.low == each.high == pytest.approx(0.002)
    assert net.low < net.estimate < net.high


def test_blocks_that_say_nothing_bound_nothing():
    blocks = np.zeros((20, 4))
    blocks[:, [1, 3]] = 100.0
    blocks[0, 2] = 50.0  # one block differs: a third of all resamples miss it
    found = intervals(blocks, paired_difference, np.random.default_rng(1))
    assert swap_p_value(blocks, np.random.default_rng(1)) == 1.0
    assert all(math.isinf(i.low) and math.isinf(i.high) for i in found)


def test_the_memory_bound_changes_nothing(monkeypatch):
    whole = intervals(blocks_of(4), paired_difference, np.random.default_rng(9), resamples=500)
    p_value = swap_p_value(blocks_of(4), np.random.default_rng(9), resamples=500)
    monkeypatch.setattr("pr3dict.analytics.bootstrap.BATCH", 30 * 4 * 7)
    assert intervals(blocks_of(4), paired_difference, np.random.default_rng(9), resamples=500) == whole
    in_parts = swap_p_value(blocks_of(4), np.random.default_rng(9), resamples=500)
    assert in_parts == p_value


@pytest.mark.parametrize(("df", "n"), [(30, 12), (30, 40), (2, 12), (2, 40)])
def test_ratios_are_covered_in_light_and_heavy_tails(df, n):
    rng = np.random.default_rng(df * 100 + n)
    covered = 0
    for _ in range(300):
        size = np.exp(rng.normal(4, 0.8, n))
        blocks = np.column_stack((0.01 * size + np.sqrt(size) * 0.05 * rng.standard_t(df, n), size))
        found = intervals(blocks, ratio_of_sums, rng, resamples=399)[0]
        covered += found.low <= 0.01 <= found.high
    assert covered >= 276  # 95% of 300 is 285, less 2.4 standard deviations
