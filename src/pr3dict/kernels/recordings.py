"""What importers need at compiled speed: running totals, uncrossing, and trades implied by volume figures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit
from pr3dict.kernels.tapecheck import BoolArray, IntArray, clear, new_best, new_depth, put

UNIT = 10_000  # trades are fitted in 1/100 contract, the finest size that Kalshi trades
CELLS = 1 << 24  # most cells of a fit's table; a larger window first takes its surest rows as they are

# How much a row looks like a trade; measured on the recordings' last trades, see docs/tapes.md.
WEIGHT_PLAIN = 3
WEIGHT_YOUNG = 1  # an order of this size was placed on this side at most YOUNG_NS before: quotes flicker
PENALTY_REPLACED = 3  # the size comes back on this side within REPLACED_NS: a cancel-and-replace
WEIGHT_LAST_TRADE = 100  # price and size of the ticker's last trade
YOUNG_NS = 1_000_000_000
REPLACED_NS = 50_000_000
_UNREACHED = np.int16(-30_000)

# Slots of the figures that the functions below add up.
CHECKED = 0
EQUAL = 1
NEGATIVE = 2
FIRST_NEGATIVE = 3
GROWTH = 0  # UNITs
EXPLAINED = 1
WINDOWS = 2
EXACT_WINDOWS = 3


@njit
def _adopt_snapshot(events: d.Array, first: int, end: int, depth: IntArray, best: IntArray) -> bool:
    """Make rows `first` to `end - 1` the book; returns whether it was the same before."""
    same = True
    levels = 0
    for i in range(first, end):
        row = events[i]
        if row.price > 0:
            levels += 1
            if depth[int(row.side), int(row.price)] != row.qty:
                same = False
    if same and levels != np.count_nonzero(depth):
        same = False
    clear(depth, best)
    for i in range(first, end):
        row = events[i]
        if row.price > 0:
            put(depth, best, int(row.side), int(row.price), int(row.qty))
    return same


@njit
def resolve_increments(
    events: d.Array, depth: IntArray, best: IntArray, decrease: IntArray, figures: IntArray
) -> None:
    """Turn LEVEL rows that hold a change of size into rows that hold the new resting size, in place.

    `decrease[i]` becomes what row i took from the best level of its side (0: it added, or lay deeper). Each
    snapshot after the first is compared with the running book (`figures[CHECKED]`, `figures[EQUAL]`). A level
    that would fall below zero becomes empty and is counted (`figures[NEGATIVE]`, first row from 0 in
    `figures[FIRST_NEGATIVE]`).
    """
    figures[FIRST_NEGATIVE] = -1
    opened = False
    i = 0
    while i < len(events):
        row = events[i]
        if row.kind == d.SNAPSHOT:
            end = i + 1
            while (int(events[end - 1].bits) & d.SNAP_LAST) == 0:
                end += 1
            same = _adopt_snapshot(events, i, end, depth, best)
            if opened:
                figures[CHECKED] += 1
                figures[EQUAL] += 1 if same else 0
            opened = True
            i = end
            continue
        side = int(row.side)
        price = int(row.price)
        old = depth[side, price]
        new = old + int(row.qty)
        if new < 0:
            if figures[NEGATIVE] == 0:
                figures[FIRST_NEGATIVE] = i
            figures[NEGATIVE] += 1
            new = 0
        if new < old and price == best[side]:
            decrease[i] = old - new
        put(depth, best, side, price, new)
        row.qty = new
        i += 1


@njit
def _weigh(events: d.Array, change: IntArray, i: int) -> int:
    """Weight of row i as a trade; 0 when it can't be one: its side grew at once, an order moved."""
    side = events[i].side
    now_ns = events[i].exch_ns
    size = -change[i]
    weight = WEIGHT_PLAIN
    k = i - 1
    while k >= 0 and events[k].exch_ns >= now_ns - YOUNG_NS:
        if change[k] > 0 and events[k].side == side:
            if events[k].exch_ns == now_ns:
                return 0
            if change[k] == size:
                weight = WEIGHT_YOUNG
        k -= 1
    k = i + 1
    replaced = False
    while k < len(events) and events[k].exch_ns < now_ns + REPLACED_NS:
        if change[k] > 0 and events[k].side == side:
            if events[k].exch_ns == now_ns:
                return 0
            replaced = replaced or change[k] == size
        k += 1
    weight = weight - PENALTY_REPLACED if replaced else weight
    return weight if weight != 0 else -1


@njit
def fit_sum(
    sizes: IntArray, weights: IntArray, target: int, table: npt.NDArray[np.int16], take: BoolArray
) -> int:
    """Choose rows whose sizes add up to `target`, or to the most below it; among those the greatest weight.

    Exact subset sum by dynamic programming (Bellman 1957) over `table`, flat scratch of at least
    (rows + 1) * (target + 1) cells. Writes `take`, returns the sum reached.
    """
    n = len(sizes)
    width = target + 1
    table[:width] = _UNREACHED
    table[0] = 0
    for i in range(n):
        before = table[i * width : (i + 1) * width]
        after = table[(i + 1) * width : (i + 2) * width]
        size = sizes[i]
        weight = np.int16(weights[i])
        after[: min(size, width)] = before[: min(size, width)]
        for v in range(size, width):
            with_row = before[v - size]
            if with_row > _UNREACHED:
                with_row = np.int16(with_row + weight)
            after[v] = max(before[v], with_row)
    v = target
    while table[n * width + v] == _UNREACHED:
        v -= 1
    reached = v
    for i in range(n - 1, -1, -1):
        take[i] = table[(i + 1) * width + v] != table[i * width + v]
        if take[i]:
            v -= sizes[i]
    return reached


@njit
def _fit_window(
    rows: IntArray,
    count: int,
    sizes: IntArray,
    weights: IntArray,
    target: int,
    table: npt.NDArray[np.int16],
    traded: BoolArray,
) -> int:
    """Mark in `traded` which of `rows[:count]` explain `target`; returns what they explain, in UNITs."""
    left = target
    while (count + 1) * (left + 1) > len(table):
        surest = -1
        for k in range(count):
            if sizes[k] <= left and (
                surest < 0
                or weights[k] > weights[surest]
                or (weights[k] == weights[surest] and sizes[k] > sizes[surest])
            ):
                surest = k
        if surest < 0:
            return target - left
        traded[rows[surest]] = True
        left -= sizes[surest]
        count -= 1
        rows[surest] = rows[count]
        sizes[surest] = sizes[count]
        weights[surest] = weights[count]
    take = np.zeros(count, np.bool_)
    reached = fit_sum(sizes[:count], weights[:count], left, table, take)
    for k in range(count):
        if take[k]:
            traded[rows[k]] = True
    return target - left + reached


@njit
def infer_trades(
    events: d.Array,
    change: IntArray,
    decrease: IntArray,
    tickers: IntArray,
    traded: BoolArray,
    table: npt.NDArray[np.int16],
    figures: IntArray,
) -> None:
    """Mark the rows of `events` that were trades, so that they explain the growth of the traded volume.

    `change[i]` is what row i added to its level (negative: took), `decrease[i]` what it took at the touch,
    both in micro-contracts. `tickers` has rows (exch_ns, contracts traded so far in UNITs, last price, last
    size in UNITs) in order of time. Rows after one ticker up to the next explain the growth between the two.
    """
    i = 0
    rows = np.zeros(len(events), np.int64)
    sizes = np.zeros(len(events), np.int64)
    weights = np.zeros(len(events), np.int64)
    for t in range(1, len(tickers)):
        while i < len(events) and events[i].exch_ns <= tickers[t - 1, 0]:
            i += 1
        growth = tickers[t, 1] - tickers[t - 1, 1]
        if growth <= 0:
            continue
        count = 0
        last = -1
        j = i
        while j < len(events) and events[j].exch_ns <= tickers[t, 0]:
            if decrease[j] > 0 and decrease[j] % UNIT == 0 and decrease[j] // UNIT <= growth:
                weight = _weigh(events, change, j)
                if weight != 0:
                    rows[count] = j
                    sizes[count] = decrease[j] // UNIT
                    weights[count] = weight
                    if sizes[count] == tickers[t, 3] and events[j].price == tickers[t, 2]:
                        last = count
                    count += 1
            j += 1
        if last >= 0:
            weights[last] += WEIGHT_LAST_TRADE
        explained = _fit_window(rows, count, sizes, weights, growth, table, traded)
        figures[GROWTH] += growth
        figures[EXPLAINED] += explained
        figures[WINDOWS] += 1
        figures[EXACT_WINDOWS] += 1 if explained == growth else 0


@njit
def _uncross(depth: IntArray, best: IntArray, age: IntArray, at: np.record, out: d.Array, n: int) -> int:
    """Remove the older of two crossing best levels (both when as old and as large) until none cross."""
    while best[d.BID] >= best[d.ASK]:
        bid = best[d.BID]
        ask = best[d.ASK]
        lead = age[d.BID, bid] - age[d.ASK, ask]
        if lead == 0:
            lead = depth[d.BID, bid] - depth[d.ASK, ask]
        for side in range(2):
            if (side == d.BID and lead > 0) or (side == d.ASK and lead < 0):
                continue
            price = bid if side == d.BID else ask
            put(depth, best, side, price, 0)
            if n < len(out):
                out[n] = at
                row = out[n]
                row.kind = d.LEVEL
                row.side = side
                row.price = price
                row.qty = 0
                row.aux = 0
                row.bits = d.SYNTHETIC
            n += 1
    return n


@njit
def _uncross_into(
    events: d.Array, depth: IntArray, best: IntArray, age: IntArray, out: d.Array, figures: IntArray
) -> int:
    n = 0
    batch = 0  # the rows of one snapshot, or of one instant, are as old as each other
    for i in range(len(events)):
        row = events[i]
        kind = int(row.kind)
        flags = int(row.bits)
        if i == 0 or row.exch_ns != events[i - 1].exch_ns:
            batch += 1
        if kind == d.SNAPSHOT and flags & d.SNAP_FIRST:
            clear(depth, best)
        if kind in (d.LEVEL, d.SNAPSHOT) and row.price > 0:
            put(depth, best, int(row.side), int(row.price), int(row.qty))
            age[int(row.side), int(row.price)] = batch
        if n < len(out):
            out[n] = row
        n += 1
        ends = i + 1 == len(events) or events[i + 1].exch_ns != row.exch_ns
        if ends and best[d.BID] >= best[d.ASK]:
            figures[0] += 1
            if figures[1] < 0:
                figures[1] = i
            n = _uncross(depth, best, age, row, out, n)
    return n


def uncross(events: d.Array) -> tuple[d.Array, int, int]:
    """The same events of one market with a book that never stays crossed after an exchange timestamp.

    Where the last row of an instant leaves the best bid at or above the best ask, the level that was touched
    longer ago is the stale one and is removed by a LEVEL row flagged SYNTHETIC (as old as each other: the
    smaller; as large too: both), until nothing crosses. Returns the events, how many instants were crossed
    and the first such row (from 0; -1: none).
    """
    figures = np.array([0, -1], np.int64)
    count = _uncross_into(events, new_depth(), new_best(), new_depth(), np.zeros(0, d.EVENT), figures)
    if count == len(events):
        return events, 0, -1
    out = np.zeros(count, d.EVENT)
    _uncross_into(events, new_depth(), new_best(), new_depth(), out, figures * 0)
    return out, int(figures[0]), int(figures[1])
