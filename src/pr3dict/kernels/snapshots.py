"""Snapshots as level changes: what a full book changes in the book that was running when it arrived."""

from __future__ import annotations

import numpy as np

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit
from pr3dict.kernels.tapecheck import IntArray, new_depth


@njit
def _emit(out: d.Array, n: int, at: np.record, side: int, price: int, size: int) -> int:
    """Write one LEVEL row with the times of `at` when `out` has room; returns the rows counted so far."""
    if n < len(out):
        row = out[n]
        row.exch_ns = at.exch_ns
        row.local_ns = at.local_ns
        row.market = at.market
        row.kind = d.LEVEL
        row.side = side
        row.price = price
        row.qty = size
        row.aux = 0
        row.bits = (int(at.bits) & ~(d.SNAP_FIRST | d.SNAP_LAST)) | d.FROM_SNAPSHOT
    return n + 1


@njit
def _replace_book(
    events: d.Array, first: int, end: int, depth: IntArray, fresh: IntArray, out: d.Array, n: int
) -> int:
    """Emit what rows `first` to `end - 1`, one snapshot, change in `depth`: removals, then new sizes."""
    for i in range(first, end):
        row = events[i]
        if row.price > 0:
            fresh[int(row.side), int(row.price)] = row.qty
    at = events[first]
    for step in range(1, PRICE_SCALE):  # both sides from their own end, so that YES and NO mirror exactly
        if depth[d.ASK, step] > 0 and fresh[d.ASK, step] == 0:
            depth[d.ASK, step] = 0
            n = _emit(out, n, at, d.ASK, step, 0)
        price = PRICE_SCALE - step
        if depth[d.BID, price] > 0 and fresh[d.BID, price] == 0:
            depth[d.BID, price] = 0
            n = _emit(out, n, at, d.BID, price, 0)
    for i in range(first, end):
        row = events[i]
        side = int(row.side)
        price = int(row.price)
        if price > 0 and fresh[side, price] != depth[side, price]:
            depth[side, price] = fresh[side, price]
            n = _emit(out, n, row, side, price, fresh[side, price])
    for i in range(first, end):
        fresh[int(events[i].side), int(events[i].price)] = 0
    return n


@njit
def flatten_into(events: d.Array, depth: IntArray, fresh: IntArray, out: d.Array) -> int:
    """Copy `events` to `out` with each snapshot as LEVEL rows; returns the rows needed, whatever fits.

    `depth` and `fresh` are two empty books by price (`tapecheck.new_depth`). The events are those of one
    market and have passed `tapecheck.check_events`.
    """
    n = 0
    i = 0
    while i < len(events):
        row = events[i]
        if row.kind == d.SNAPSHOT:
            end = i + 1
            while (int(events[end - 1].bits) & d.SNAP_LAST) == 0:
                end += 1
            n = _replace_book(events, i, end, depth, fresh, out, n)
            i = end
            continue
        if row.kind == d.LEVEL:
            depth[int(row.side), int(row.price)] = row.qty
        if n < len(out):
            out[n] = row
        n += 1
        i += 1
    return n


def flatten_snapshots(events: d.Array) -> d.Array:
    """The same book, moment by moment, without SNAPSHOT rows.

    Each snapshot of one market becomes LEVEL rows, flagged FROM_SNAPSHOT and with its times, for what it
    changes in the running book: levels that vanished first, then new sizes in the snapshot's order. Levels
    that stay as they were give no row, so an order's place in their queue is not touched.
    """
    count = flatten_into(events, new_depth(), new_depth(), np.zeros(0, d.EVENT))
    out = np.zeros(count, d.EVENT)
    flatten_into(events, new_depth(), new_depth(), out)
    return out
