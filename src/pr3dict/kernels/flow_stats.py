"""What a tape's order flow looks like: one compiled pass over the events of one market.

The pass replays the book by price and writes three things from which every statistic of the flow follows:
the path of the mid, the orders of takers, and integrals over time of spread and depth. `docs/calibration.md`
says what is made of them.

An interval between two instants is *counted* when the market is open, both sides of the book are there, the
mid lies inside `[low, high]`, the interval begins at `begin_ns` or later and before `end_ns`, and is no
longer than `max_silence_ns` (a longer one is taken for an outage of the recorder). Times and rates are over
counted intervals only.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit
from pr3dict.kernels.tapecheck import IntArray, put

CENT = PRICE_SCALE // 100
DEPTH_LEVELS = 6  # at the touch, then 1 to 5 cents behind it
SPREAD_STEP = 5  # price; every tick of both venues but 0.0001 dollar is a multiple of it
SPREAD_BINS = PRICE_SCALE // SPREAD_STEP + 1
CONTRACT = 1_000_000
UNKNOWN = -1

Floats = npt.NDArray[np.float64]


def _rows(fields: list[tuple[str, str]]) -> np.dtype[np.record]:
    layout: np.dtype[np.void] = np.dtype(fields, align=True)
    return cast("np.dtype[np.record]", np.dtype((np.record, layout)))


WINDOW = _rows(
    [
        ("low_mid2", "i8"),  # twice a price, as every `mid2`
        ("high_mid2", "i8"),
        ("begin_ns", "i8"),
        ("end_ns", "i8"),
        ("max_silence_ns", "i8"),
        ("step", "i8"),  # price; divides a cent and the distance of any two prices
        ("merge_ns", "i8"),  # prints of one side this close together are one taker's order
    ]
)

TOTALS = _rows(
    [
        ("counted_ns", "i8"),
        ("level_changes", "i8"),  # rows in counted intervals that changed the size of a level
        ("paths", "i8"),  # rows written to `path`
        ("orders", "i8"),  # rows written to `orders`
        ("last_ns", "i8"),
    ]
)

PATH = _rows(
    [
        ("at_ns", "i8"),  # from here on, until the next row
        ("mid2", "i8"),  # twice the mid; UNKNOWN: none
        ("counted", "i8"),  # 1: an interval that begins here counts
    ]
)

ORDER = _rows(
    [
        ("at_ns", "i8"),  # of the first print
        ("last_ns", "i8"),  # of the last print
        ("side", "i8"),  # BID: the taker bought YES
        ("qty", "i8"),
        ("cost", "f8"),  # sum of price x qty
    ]
)


@njit
def _add_depth(depth: IntArray, best: IntArray, step: int, span: int, depth_ns: Floats) -> None:
    """Add `span` times ln(1 + contracts) of the touch and of each cent behind it."""
    for side in range(2):
        sign = -1 if side == d.BID else 1
        price = int(best[side])
        depth_ns[side, 0] += span * math.log(1.0 + depth[side, price] / CONTRACT)
        for cent in range(1, DEPTH_LEVELS):
            size = 0
            for _ in range(CENT // step):
                price += sign * step
                if 0 < price < PRICE_SCALE:
                    size += depth[side, price]
            depth_ns[side, cent] += span * math.log(1.0 + size / CONTRACT)


@njit
def _mid2(best: IntArray) -> int:
    """Twice the mid; UNKNOWN where a side is empty or the book is locked or crossed."""
    if best[d.BID] == 0 or best[d.ASK] == PRICE_SCALE or best[d.BID] >= best[d.ASK]:
        return UNKNOWN
    return int(best[d.BID] + best[d.ASK])


@njit
def _counts(window: np.record, best: IntArray, status: int, now_ns: int) -> bool:
    """Whether an interval that begins now with this book counts."""
    mid2 = _mid2(best)
    return (
        status == d.ACTIVE
        and mid2 != UNKNOWN
        and window.low_mid2 <= mid2 <= window.high_mid2
        and window.begin_ns <= now_ns < window.end_ns
    )


@njit
def _note(path: d.Array, totals: np.record, at_ns: int, mid2: int, counted: int) -> None:
    """Append to the path what differs from its last row."""
    n = totals.paths
    if n > 0 and path[n - 1].mid2 == mid2 and path[n - 1].counted == counted:
        return
    row = path[n]
    row.at_ns = at_ns
    row.mid2 = mid2
    row.counted = counted
    totals.paths = n + 1


@njit
def _print(orders: d.Array, totals: np.record, merge_ns: int, row: np.record) -> None:
    """A print joins the order before it or begins one."""
    n = totals.orders
    if n > 0:
        last = orders[n - 1]
        if last.side == row.side and row.exch_ns - last.last_ns <= merge_ns:
            last.last_ns = row.exch_ns
            last.qty += row.qty
            last.cost += float(row.price) * float(row.qty)
            return
    fresh = orders[n]
    fresh.at_ns = row.exch_ns
    fresh.last_ns = row.exch_ns
    fresh.side = row.side
    fresh.qty = row.qty
    fresh.cost = float(row.price) * float(row.qty)
    totals.orders = n + 1


@njit
def observe(
    events: d.Array,
    windows: d.Array,
    depth: IntArray,
    best: IntArray,
    summary: d.Array,
    path: d.Array,
    orders: d.Array,
    depth_ns: Floats,
    spread_ns: IntArray,
) -> None:
    """Fill `summary`, `path`, `orders`, `depth_ns` (see `_add_depth`) and how long the spread was what.

    `summary` is (1,) TOTALS, `depth_ns` (2, DEPTH_LEVELS), `spread_ns` (SPREAD_BINS,), all zero.
    `events` are those of one market without SNAPSHOT rows (`snapshots.flatten_snapshots`), `windows` is (1,)
    WINDOW, `depth` and `best` an empty book (`tapecheck`). `path` and `orders` need a row more
    than there are events. Prints count in the interval that led up to them: an order is judged by the book
    that it met.
    """
    window = windows[0]
    totals = summary[0]
    status = d.ACTIVE
    counted = False
    i = 0
    while i < len(events):
        now_ns = int(events[i].exch_ns)
        counted = counted and now_ns < window.end_ns
        while i < len(events) and events[i].exch_ns == now_ns:
            row = events[i]
            if row.kind == d.LEVEL and row.price > 0:
                if counted and depth[int(row.side), int(row.price)] != row.qty:
                    totals.level_changes += 1
                put(depth, best, int(row.side), int(row.price), int(row.qty))
            elif row.kind == d.TRADE and counted:
                _print(orders, totals, window.merge_ns, row)
            elif row.kind == d.STATUS:
                status = int(row.aux)
            i += 1
        totals.last_ns = now_ns
        if i == len(events):
            break
        span = int(events[i].exch_ns) - now_ns
        outage = span > window.max_silence_ns
        counted = not outage and _counts(window, best, status, now_ns)
        mid2 = UNKNOWN if outage or status != d.ACTIVE else _mid2(best)
        _note(path, totals, now_ns, mid2, 1 if counted else 0)
        if counted:
            span = min(span, int(window.end_ns) - now_ns)
            totals.counted_ns += span
            spread = int(best[d.ASK] - best[d.BID])
            spread_ns[min(spread // SPREAD_STEP, SPREAD_BINS - 1)] += span
            _add_depth(depth, best, int(window.step), span, depth_ns)
    _note(path, totals, int(totals.last_ns), UNKNOWN, 0)
