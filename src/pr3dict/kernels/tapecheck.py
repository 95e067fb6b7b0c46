"""One pass over a tape that replays its book by price and finds the first row that no exchange could send.

The book here is keyed by price (1/10,000 dollar), not by level of a grid, because a tape may change its grid
and a check must see what is off it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import MONEY_SCALE, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# What `check_events` found.
FINE = 0
UNSORTED = 1
UNKNOWN_KIND = 2
BAD_SIDE = 3
BAD_PRICE = 4
OFF_GRID = 5
NEGATIVE_SIZE = 6
BAD_VALUE = 7  # `size` or `aux` is outside what the kind allows
SNAPSHOT_UNOPENED = 8
SNAPSHOT_UNCLOSED = 9
CROSSED = 10

LAST_STATUS = 9  # domain.market.MarketStatus


def new_depth() -> IntArray:
    """An empty book by price: shape (2 sides, PRICE_SCALE + 1), micro-contracts."""
    return np.zeros((2, PRICE_SCALE + 1), np.int64)


def new_best() -> IntArray:
    """Best bid (0: none) and best ask (PRICE_SCALE: none) of an empty book."""
    return np.array([0, PRICE_SCALE], np.int64)


@njit
def put(depth: IntArray, best: IntArray, side: int, price: int, size: int) -> None:
    """Make the resting size at (side, price) `size` and keep `best` true. Price is 1 to PRICE_SCALE - 1."""
    depth[side, price] = size
    if side == d.BID:
        if size > 0:
            best[d.BID] = max(best[d.BID], price)
        elif price == best[d.BID]:
            while price > 0 and depth[d.BID, price] == 0:
                price -= 1
            best[d.BID] = price
    elif size > 0:
        best[d.ASK] = min(best[d.ASK], price)
    elif price == best[d.ASK]:
        while price < PRICE_SCALE and depth[d.ASK, price] == 0:
            price += 1
        best[d.ASK] = price


@njit
def clear(depth: IntArray, best: IntArray) -> None:
    """Empty the book."""
    depth[:, :] = 0
    best[d.BID] = 0
    best[d.ASK] = PRICE_SCALE


@njit
def _snapshot_state(row: np.record, inside: bool, same_time: bool) -> int:
    """FINE when this row may follow, given that a snapshot is open (`inside`) or not."""
    first = (int(row.bits) & d.SNAP_FIRST) != 0
    if int(row.kind) != d.SNAPSHOT or first:
        return SNAPSHOT_UNCLOSED if inside else FINE
    if not inside:
        return SNAPSHOT_UNOPENED
    return FINE if same_time else SNAPSHOT_UNCLOSED


@njit
def _check_row(row: np.record, on_grid: BoolArray, grid: int) -> int:
    """FINE or what is wrong with the fields of one row, the book left out."""
    kind = int(row.kind)
    price = int(row.price)
    size = int(row.qty)
    aux = int(row.aux)
    if kind < d.LEVEL or kind > d.CLOSE_TIME:
        return UNKNOWN_KIND
    if row.side != d.BID and row.side != d.ASK:
        return BAD_SIDE
    if price < 0 or price > PRICE_SCALE:
        return BAD_PRICE
    if size < 0:
        return NEGATIVE_SIZE
    if kind in (d.LEVEL, d.SNAPSHOT):
        both = d.SNAP_FIRST | d.SNAP_LAST
        if kind == d.SNAPSHOT and size == 0:  # an empty book is one row without a level
            return FINE if price == 0 and (int(row.bits) & both) == both else BAD_VALUE
        if price == 0 or price == PRICE_SCALE:
            return BAD_PRICE
        if size > 0 and not on_grid[grid, price]:  # what a grid change left behind may still be removed
            return OFF_GRID
    elif kind == d.TRADE:
        if price == 0 or price == PRICE_SCALE:
            return BAD_PRICE
        if size == 0:
            return BAD_VALUE
    elif kind == d.STATUS and (aux < 0 or aux > LAST_STATUS):
        return BAD_VALUE
    elif kind == d.TICK and (aux < 0 or aux >= len(on_grid)):
        return BAD_VALUE
    elif kind == d.SETTLE and size > MONEY_SCALE:
        return BAD_VALUE
    return FINE


@njit
def check_events(events: d.Array, on_grid: BoolArray, depth: IntArray, best: IntArray) -> tuple[int, int]:
    """Check the rows of one market in order; returns (what was found, row from 0) of the first fault.

    `on_grid` has shape (grids, PRICE_SCALE + 1); `depth` and `best` come empty from `new_depth` and
    `new_best`. The book may cross between rows of one exchange timestamp, not after its last: then the row
    that crossed it is named. Returns (FINE, -1) for a tape without faults.
    """
    last_ns = -1
    grid = 0
    inside = False
    crossed_row = -1
    for i in range(len(events)):
        row = events[i]
        now_ns = int(row.exch_ns)
        if now_ns < last_ns or now_ns < 0:
            return UNSORTED, i
        if now_ns > last_ns and crossed_row >= 0:
            return CROSSED, crossed_row
        code = _snapshot_state(row, inside, now_ns == last_ns)
        if code == FINE:
            code = _check_row(row, on_grid, grid)
        if code != FINE:
            return code, i
        last_ns = now_ns
        kind = int(row.kind)
        flags = int(row.bits)
        if kind == d.SNAPSHOT:
            if flags & d.SNAP_FIRST:
                clear(depth, best)
            inside = (flags & d.SNAP_LAST) == 0
        if kind in (d.LEVEL, d.SNAPSHOT):
            if row.price > 0:
                put(depth, best, int(row.side), int(row.price), int(row.qty))
            if best[d.BID] < best[d.ASK]:
                crossed_row = -1
            elif crossed_row < 0:
                crossed_row = i
        elif kind == d.TICK:
            grid = int(row.aux)
    if inside:
        return SNAPSHOT_UNCLOSED, len(events) - 1
    if crossed_row >= 0:
        return CROSSED, crossed_row
    return FINE, -1
