"""Series for drawing: no peak is lost, silences take no room, holdings follow every fill."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.analytics.series import SILENCE_NS, Clock, holdings, peaks
from pr3dict.analytics.spreads import spreads_of, steps_ns

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_samples import fill_rows, sample_rows

HOUR_NS = 3_600_000_000_000


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=400), st.integers(8, 100))
def test_few_points_keep_the_ends_and_the_extremes(values, points):
    kept = peaks(np.array(values, np.int64), points)
    assert len(kept) <= max(points, 0) or len(values) <= points
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    chosen = [values[k] for k in kept]
    assert (min(chosen), max(chosen)) == (min(values), max(values))


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 30)), min_size=1, max_size=20))
def test_a_clock_counts_recorded_time_only(spans):
    minute = HOUR_NS // 60
    tapes = [(first * minute, (first + length) * minute) for first, length in spans]
    clock = Clock.of(tapes)
    # Minute by minute: on the clock are the tapes and the short pauses between them.
    on = {m for first, length in spans for m in range(first, first + length)}
    pauses = [(a, b) for a, b in pairwise(sorted(on)) if (b - a - 1) * minute <= SILENCE_NS]
    on |= {m for a, b in pauses for m in range(a, b)}
    assert clock.total_ns == len(on) * minute
    for before, m in enumerate(sorted(on)):
        assert clock.hours(m * minute) * 60 == pytest.approx(before)
        assert clock.recorded(np.array([m * minute]))[0]
        assert clock.at_ns(before / 60 + 0.001) == pytest.approx(m * minute + HOUR_NS // 1000, abs=2)


def test_time_in_a_silence_stands_still():
    clock = Clock.of([(0, HOUR_NS), (10 * HOUR_NS, 12 * HOUR_NS)])
    assert clock.hours([HOUR_NS, 5 * HOUR_NS, 10 * HOUR_NS, 11 * HOUR_NS, 99 * HOUR_NS]).tolist() == [
        1,
        1,
        1,
        2,
        3,
    ]
    assert clock.recorded(np.array([5 * HOUR_NS, 11 * HOUR_NS])).tolist() == [False, True]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50), st.integers(-40, 40)), max_size=60))
def test_holdings_follow_every_fill_and_end_with_the_tape(fills):
    fills = sorted(fills, key=lambda fill: fill[1])
    ends = np.array([20, 60, 60], np.int64)
    fills = [fill for fill in fills if fill[1] <= ends[fill[0]]]
    rows = fill_rows(
        market=[m for m, _, _ in fills],
        exch_ns=[t for _, t, _ in fills],
        net_contracts=[n for *_, n in fills],
    )
    times, total, largest = holdings(rows, ends)
    held = [0, 0, 0]
    story = sorted(
        [(t, 0, k, m, abs(n)) for k, (m, t, n) in enumerate(fills)]
        + [(20, 1, 0, 0, 0), (60, 1, 1, 1, 0), (60, 1, 2, 2, 0)]
    )
    for row, (at, _, _, market, net) in enumerate(story):
        held[market] = net
        assert (times[row], total[row], largest[row]) == (at, sum(held), max(held))
    assert total[-1] == 0


def test_spreads_weigh_by_time_and_leave_out_what_has_one_side():
    rows = sample_rows(
        market=[0, 0, 0, 1, 1],
        at_ns=[0, 10, 20, 0, 30],
        bid_price=[4000, 4000, -1, 5000, 5000],
        ask_price=[4100, 4100, 4100, 5350, 5350],
        own_bid_price=[3900, 4000, 3900, 5100, -1],
        own_ask_price=[4200, 4100, 4200, 5300, 5300],
    )
    assert steps_ns(rows).tolist() == [10, 10, 10, 30, 30]
    found = spreads_of(rows)
    assert found.labels == ("≤1", "2", "3", "4")
    assert found.market == (0.4, 0, 0, 0.6)  # 20 of 50 at 1 cent, 30 at 3.5 cents
    assert found.own == (0.2, 0.6, 0.2, 0)
    assert found.market_mean == (20 * 100 + 30 * 350) / 50
    assert found.own_mean == (10 * 300 + 10 * 100 + 30 * 200) / 50
    assert (found.inside, found.at_touch, found.behind) == (0.6, 0.2, 0.2)
    assert spreads_of(rows[2:3]) is None
    assert spreads_of(rows[:0]) is None
