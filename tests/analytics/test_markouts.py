"""Markouts against a published-formula case and against a loop over fills."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.markouts import HORIZON_NAMES, exact_sum, markout, markouts
from pr3dict.kernels import dtypes as d

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_fills import Trade, rows, trades


def test_effective_realised_and_impact_of_three_trades() -> None:
    """Known answer AD-02: takers buy 10 and 5, sell 20; we are on the other side of each."""
    made = [
        Trade(d.ASK, 5_200, 10_000_000, mid=500_000, after=(510_000, -1, -1, -1)),
        Trade(d.BID, 4_800, 20_000_000, mid=500_000, after=(470_000, -1, -1, -1)),
        Trade(d.ASK, 5_300, 5_000_000, mid=510_000, after=(550_000, -1, -1, -1)),
    ]
    found = markout(rows(made), 0)
    assert found.captured == 20_000
    assert found.realised is not None
    assert found.impact is not None
    assert abs(float(found.realised) / 1e6 - -0.005714285714) < 1e-9
    assert abs(float(found.impact) / 1e6 - 0.025714285714) < 1e-9
    assert found.contracts == 35_000_000
    assert markout(rows(made), 1).realised is None


@settings(max_examples=100, deadline=None)
@given(st.lists(trades, max_size=15))
def test_markouts_match_a_loop(made: list[Trade]) -> None:
    for h, found in enumerate(markouts(rows(made))):
        assert found.horizon == HORIZON_NAMES[h]
        earned, contracts = 0, 0
        for t in made:
            if t.after[h] >= 0:
                earned += (1 if t.side == d.BID else -1) * (t.after[h] - t.price * 100) * t.size
                contracts += t.size
        assert found.contracts == contracts
        assert found.realised == (Fraction(earned, contracts) if contracts else None)


@given(st.lists(trades.filter(lambda t: t.mid >= 0), min_size=1, max_size=15))
def test_capture_is_realised_plus_impact_where_every_mid_is_known(made: list[Trade]) -> None:
    for found in markouts(rows(made)):
        if found.contracts:
            assert found.realised is not None
            assert found.impact is not None
            assert found.captured == found.realised + found.impact
        else:
            assert found.captured is None


@given(st.lists(st.integers(-(2**62), 2**62), max_size=30))
def test_exact_sum_does_not_overflow(values: list[int]) -> None:
    assert exact_sum(np.array(values, np.int64)) == sum(values)
