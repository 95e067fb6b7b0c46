"""When each market wants to be looked at again, in a tree that knows the earliest time of any group of them.

A tournament tree (D. Knuth, The Art of Computer Programming vol. 3, 1998, section 5.4.1) in one array of
2 x leaves: leaf m, at `leaves + m`, holds the wake time of market m, every inner node k the earlier one of
its children 2k and 2k + 1, so `wakes[1]` is the earliest of all. Leaves stand in order of market, so those
that are due are found in that order without sorting. Setting one or finding the next costs O(log markets).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pr3dict.kernels.jit import kernel

NEVER_NS = 9_223_372_036_854_775_807

Wakes = npt.NDArray[np.int64]


def new_wakes(markets: int) -> Wakes:
    """The tree of that many markets, none of which wants to wake."""
    leaves = 1
    while leaves < markets:
        leaves *= 2
    return np.full(2 * leaves, NEVER_NS, np.int64)


@kernel
def set_wake(wakes: Wakes, m: int, at_ns: int) -> None:
    """Let market `m` wake at `at_ns` and not at the time set before."""
    node = len(wakes) // 2 + m
    wakes[node] = at_ns
    while node > 1:
        node >>= 1
        earlier = min(wakes[2 * node], wakes[2 * node + 1])
        if wakes[node] == earlier:
            return  # nothing above can change either
        wakes[node] = earlier


@kernel
def wake_ns(wakes: Wakes, m: int) -> int:
    """When market `m` wakes."""
    return wakes[len(wakes) // 2 + m]


@kernel
def next_due(wakes: Wakes, first: int, now_ns: int) -> int:
    """The first market from `first` on that wakes at `now_ns` or before; -1: none."""
    leaves = len(wakes) // 2
    if first >= leaves:
        return -1
    node = leaves + first
    while wakes[node] > now_ns:
        while node & 1:  # all below was looked at: on to what lies right of the parent; the root is odd too
            node >>= 1
        if node == 0:
            return -1
        node += 1
    while node < leaves:
        node *= 2
        if wakes[node] > now_ns:
            node += 1
    return node - leaves
