"""The markout curve: the estimates of the exact markouts, intervals over blocks of market and time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pr3dict.analytics.markout_curve import BLOCK_NS, HORIZONS, markout_points
from pr3dict.analytics.markouts import markouts
from pr3dict.kernels import dtypes as d

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_samples import fill_rows


def some_fills(n: int = 400, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mid = rng.integers(300_000, 700_000, n)
    rows = fill_rows(
        exch_ns=np.sort(rng.integers(0, 20 * BLOCK_NS, n)),
        market=rng.integers(0, 2, n),
        side=rng.integers(0, 2, n),
        price=mid // 100 + rng.integers(-200, 200, n),
        qty=rng.integers(1, 10, n) * 1_000_000,
        mid_micros=mid,
        after_micros=mid[:, None] + rng.integers(-20_000, 20_000, (n, 4)),
    )
    rows["after_micros"][rng.random((n, 4)) < 0.1] = -1
    return rows


def test_estimates_are_the_exact_markouts():
    fills = some_fills()
    points = markout_points(fills)
    assert [p.horizon for p in points] == list(HORIZONS)
    for point, exact in zip(points[1:], markouts(fills), strict=True):
        assert point.estimate * 1e6 == pytest.approx(float(exact.realised))
        assert point.contracts == exact.contracts
        assert point.low is None
    sign = np.where(fills["side"] == d.BID, 1, -1)
    captured = (sign * (fills["mid_micros"] - fills["price"] * 100) * fills["qty"]).sum() / fills["qty"].sum()
    assert points[0].estimate * 1e6 == pytest.approx(captured)


def test_intervals_hold_the_estimate_and_widen_when_fills_share_a_block():
    fills = some_fills()
    apart = markout_points(fills, np.random.default_rng(1), resamples=499)
    assert all(p.low < p.estimate < p.high for p in apart)
    assert apart[0].blocks == len({(int(f["market"]), int(f["exch_ns"]) // BLOCK_NS) for f in fills})
    fills["exch_ns"] = fills["exch_ns"] // (2 * BLOCK_NS) * 2 * BLOCK_NS
    fills["mid_micros"] = (
        fills["price"] * 100 + np.where(fills["side"] == 0, 1, -1) * (fills["exch_ns"] // BLOCK_NS) * 1000
    )
    together = markout_points(fills, np.random.default_rng(1), resamples=499)
    assert together[0].blocks < apart[0].blocks
    assert together[0].high - together[0].low > apart[0].high - apart[0].low


def test_few_blocks_have_an_estimate_only_and_no_fill_has_none():
    fills = some_fills(5)
    fills["exch_ns"] = 0
    few = markout_points(fills, np.random.default_rng(1))
    assert few[0].estimate is not None
    assert few[0].low is None
    assert [p.estimate for p in markout_points(fills[:0], np.random.default_rng(1))] == [None] * 5
