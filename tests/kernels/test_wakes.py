"""The tree of wake times against a plain list of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import wakes as w
from pr3dict.kernels.world import sibling_rings

times = st.integers(0, 12) | st.just(w.NEVER_NS)


@st.composite
def settings_of_wakes(draw):
    """A number of markets and what is set, in order: (market, time)."""
    markets = draw(st.integers(1, 19))
    changes = st.tuples(st.integers(0, markets - 1), times)
    return markets, draw(st.lists(changes, max_size=60))


def all_due(tree, now_ns):
    """Every market that is due, as the replay asks for them."""
    found = []
    m = w.next_due(tree, 0, now_ns)
    while m >= 0:
        found.append(int(m))
        m = w.next_due(tree, m + 1, now_ns)
    return found


@settings(max_examples=200, deadline=None)
@given(settings_of_wakes())
def test_the_tree_is_a_list_of_times(case):
    markets, changes = case
    tree, plain = w.new_wakes(markets), [w.NEVER_NS] * markets
    for m, at_ns in changes:
        w.set_wake(tree, m, at_ns)
        plain[m] = at_ns
        assert tree[1] == min(plain)
        assert [w.wake_ns(tree, k) for k in range(markets)] == plain
    for now_ns in (-1, 0, 5, 12, w.NEVER_NS - 1):
        assert all_due(tree, now_ns) == [m for m in range(markets) if plain[m] <= now_ns]


@settings(max_examples=60, deadline=None)
@given(settings_of_wakes(), st.integers(0, 12))
def test_waking_markets_one_by_one_leaves_the_others(case, now_ns):
    """As a replay does: each due market gets a later time while the walk goes on."""
    markets, changes = case
    tree = w.new_wakes(markets)
    for m, at_ns in changes:
        w.set_wake(tree, m, at_ns)
    due = all_due(tree, now_ns)
    met = []
    m = w.next_due(tree, 0, now_ns)
    while m >= 0:
        met.append(int(m))
        w.set_wake(tree, m, now_ns + 1 + m)
        m = w.next_due(tree, m + 1, now_ns)
    assert met == due
    assert all_due(tree, now_ns) == []


def test_nobody_wakes_in_a_new_tree():
    for markets in (1, 2, 3, 1_000):
        tree = w.new_wakes(markets)
        assert tree[1] == w.NEVER_NS and w.next_due(tree, 0, w.NEVER_NS - 1) == -1
        assert len(tree) <= 4 * markets


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=12))
def test_a_ring_meets_every_market_of_an_event_once(events):
    rings = sibling_rings(np.array(events, np.int32))
    for m, event in enumerate(events):
        met, k = [m], int(rings[m])
        while k != m:
            met.append(k)
            k = int(rings[k])
        alike = [m] if event < 0 else [k for k, other in enumerate(events) if other == event]
        assert sorted(met) == alike
