"""A Polymarket recording of two tokens as one YES book: snapshots checked, mirrors counted, trades placed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit
from pr3dict.kernels.tapecheck import IntArray

Bytes = npt.NDArray[np.uint8]

PRINT_NS = 100_000_000  # a trade is printed up to this long after the level change that it caused

QUOTE, COMMA, POINT, ZERO, OPEN, CLOSE = 34, 44, 46, 48, 91, 93  # bytes of JSON
PRICE_PLACES = 4
SIZE_PLACES = 6
MOST_DIGITS = 12  # before the point
NOT_PLAIN = -1

# Slots of the figures that `assemble` adds up.
CHECKED = 0  # later snapshots of the token that tells the book
EQUAL = 1  # of those, how many the running book equalled
EARLY = 2  # its level changes before its first snapshot
SNAPSHOTS = 3
DELTAS = 4
MIRROR_CHECKED = 5  # instants at which both tokens' books were known and one of them changed
MIRROR_EQUAL = 6  # of those, at how many the two books were one
FIGURES = 7


@njit
def _number(text: Bytes, i: int, places: int) -> tuple[int, int]:
    """The decimal text in quotes that begins at `i`, times 10**places, and where it ends; or NOT_PLAIN."""
    if i >= len(text) or text[i] != QUOTE:
        return NOT_PLAIN, i
    i += 1
    first = i
    value = 0
    while i < len(text) and ZERO <= text[i] <= ZERO + 9:
        value = value * 10 + (int(text[i]) - ZERO)
        i += 1
    if i == first or i - first > MOST_DIGITS:
        return NOT_PLAIN, i
    decimals = 0
    if i < len(text) and text[i] == POINT:
        i += 1
        first = i
        while i < len(text) and ZERO <= text[i] <= ZERO + 9:
            if decimals < places:
                value = value * 10 + (int(text[i]) - ZERO)
                decimals += 1
            elif text[i] != ZERO:
                return NOT_PLAIN, i
            i += 1
        if i == first:
            return NOT_PLAIN, i
    while decimals < places:
        value *= 10
        decimals += 1
    if i >= len(text) or text[i] != QUOTE:
        return NOT_PLAIN, i
    return value, i + 1


@njit
def parse_levels(text: Bytes, ends: IntArray, prices: IntArray, sizes: IntArray, counts: IntArray) -> int:
    """Parse book sides `[["0.40","12.5"],...]` that stand one after another; returns the levels in all.

    Side k ends before `ends[k + 1]` and begins at `ends[k]`; `counts[k]` becomes its levels. Prices are in
    1/10,000 dollar, sizes in micro-contracts. Only the form without spaces is parsed: NOT_PLAIN says that
    some side is something else, valid or not. `prices` and `sizes` hold a level for every 9 bytes.
    """
    n = 0
    for k in range(len(ends) - 1):
        side = text[ends[k] : ends[k + 1]]
        if len(side) < 2 or side[0] != OPEN or side[-1] != CLOSE:
            return NOT_PLAIN
        first = n
        i = 1
        while i < len(side) - 1:
            if n > first:
                if side[i] != COMMA:
                    return NOT_PLAIN
                i += 1
            if side[i] != OPEN:
                return NOT_PLAIN
            price, i = _number(side, i + 1, PRICE_PLACES)
            if price < 0 or price > PRICE_SCALE or i >= len(side) or side[i] != COMMA:
                return NOT_PLAIN
            size, i = _number(side, i + 1, SIZE_PLACES)
            if size < 0 or i >= len(side) - 1 or side[i] != CLOSE:
                return NOT_PLAIN
            i += 1
            prices[n] = price
            sizes[n] = size
            n += 1
        counts[k] = n - first
    return n


@njit
def _set(depth: IntArray, counts: IntArray, token: int, side: int, price: int, size: int) -> None:
    """Make the size at one level of one token's book `size`; `counts[2]` is how many levels differ."""
    old = depth[token, side, price]
    other = depth[1 - token, side, price]
    counts[token] += (1 if size > 0 else 0) - (1 if old > 0 else 0)
    counts[2] += (1 if size != other else 0) - (1 if old != other else 0)
    depth[token, side, price] = size


@njit
def _adopt(events: d.Array, first: int, end: int, depth: IntArray, counts: IntArray, token: int) -> bool:
    """Make rows `first` to `end - 1` the book of `token`; returns whether it was the same before."""
    same = True
    levels = 0
    for i in range(first, end):
        row = events[i]
        if row.price > 0:
            levels += 1
            if depth[token, int(row.side), int(row.price)] != row.qty:
                same = False
    if same and levels == counts[token]:
        return True
    if counts[token] > 0:
        for side in range(2):
            for price in range(1, PRICE_SCALE):
                if depth[token, side, price] > 0:
                    _set(depth, counts, token, side, price, 0)
    for i in range(first, end):
        row = events[i]
        if row.price > 0:
            _set(depth, counts, token, int(row.side), int(row.price), int(row.qty))
    return False


@njit
def assemble(events: d.Array, source: int, depth: IntArray, decrease: IntArray, figures: IntArray) -> int:
    """Move the rows that belong on the tape to the front of `events`; returns how many they are.

    `events` are the rows of one market in order of time, in YES terms, `market` being the token that a row
    is about (0 or 1). The book is that of token `source`; the other's is replayed beside it and compared at
    the end of each instant. Trades of both tokens count, of tick changes only those that change the tick.
    `decrease[i]` becomes what the i-th of them, a level, took from its level. `depth` comes as zeros of shape
    (2 tokens, 2 sides, PRICE_SCALE + 1), `figures` as FIGURES zeros, `decrease` as zeros for all events.
    """
    counts = np.zeros(3, np.int64)  # levels of either token's book, levels that differ between the two
    known = np.zeros(2, np.bool_)
    stirred = False
    tick = -1
    n = 0
    i = 0
    while i < len(events):
        row = events[i]
        token = int(row.market)
        kind = int(row.kind)
        now_ns = row.exch_ns
        end = i + 1
        keep = True
        if kind == d.SNAPSHOT:
            while (int(events[end - 1].bits) & d.SNAP_LAST) == 0:
                end += 1
            same = _adopt(events, i, end, depth, counts, token)
            keep = token == source
            if keep:
                figures[SNAPSHOTS] += 1
                if known[token]:
                    figures[CHECKED] += 1
                    figures[EQUAL] += 1 if same else 0
            known[token] = True
            stirred = True
        elif kind == d.LEVEL:
            keep = token == source
            figures[DELTAS] += 1 if keep else 0
            if not known[token]:
                figures[EARLY] += 1 if keep else 0
                keep = False
            else:
                side = int(row.side)
                price = int(row.price)
                if keep:
                    decrease[n] = max(depth[token, side, price] - int(row.qty), 0)
                _set(depth, counts, token, side, price, int(row.qty))
                stirred = True
        elif kind == d.TICK:
            keep = int(row.aux) != tick
            tick = int(row.aux)
        if keep:
            for k in range(i, end):
                if n < k:
                    events[n] = events[k]
                n += 1
        ends = end == len(events) or events[end].exch_ns != now_ns
        if ends and stirred:
            if known[0] and known[1]:
                figures[MIRROR_CHECKED] += 1
                figures[MIRROR_EQUAL] += 1 if counts[2] == 0 else 0
            stirred = False
        i = end
    return n


@njit
def _cause(events: d.Array, left: IntArray, i: int) -> int:
    """The level change that the trade in row i caused, or the first of several; -1: none is found.

    A single decrease of exactly its size is preferred, the latest of them. Else decreases of its level are
    added up from the latest back until they make up its size. What is taken is taken out of `left`.
    """
    trade = events[i]
    side = d.ASK - int(trade.side)  # the taker met the other side
    size = int(trade.qty)
    k = i - 1
    while k >= 0 and events[k].exch_ns >= trade.exch_ns - PRINT_NS:
        if left[k] == size and events[k].price == trade.price and events[k].side == side:
            left[k] = 0
            return k
        k -= 1
    first = -1
    k = i - 1
    while k >= 0 and size > 0 and events[k].exch_ns >= trade.exch_ns - PRINT_NS:
        if left[k] > 0 and events[k].price == trade.price and events[k].side == side:
            taken = min(left[k], size)
            left[k] -= taken
            size -= taken
            first = k
        k -= 1
    return first


@njit
def find_causes(events: d.Array, decrease: IntArray, place: IntArray) -> int:
    """For each trade, `place[i]` becomes the row before which it belongs; returns how many have a cause.

    The venue prints a trade after the level change that it caused. A trade without one stands before the
    first row of its instant. `decrease[i]` is what level row i took away; it is used up.
    """
    found = 0
    start = 0
    for i in range(len(events)):
        if events[i].exch_ns != events[start].exch_ns:
            start = i
        if events[i].kind == d.TRADE:
            cause = _cause(events, decrease, i)
            found += 1 if cause >= 0 else 0
            place[i] = cause if cause >= 0 else start
    return found


class Assembled:
    """What `assemble_market` made: the tape's `rows`, `figures` by slot, and how many trades have a cause."""

    def __init__(self, rows: d.Array, figures: IntArray, caused: int) -> None:
        self.rows = rows
        self.figures = figures
        self.caused = caused


def new_depths() -> IntArray:
    """The empty books of two tokens: shape (2 tokens, 2 sides, PRICE_SCALE + 1), micro-contracts."""
    return np.zeros((2, 2, PRICE_SCALE + 1), np.int64)


def assemble_market(events: d.Array, source: int) -> Assembled:
    """The tape rows of one market whose book token `source` tells, behind a row that opens the market.

    `events` are as for `assemble` and are used up. Each trade is moved before the level change that caused
    it and takes its exchange time.
    """
    events = events.view(d.EVENT)
    decrease = np.zeros(len(events), np.int64)
    figures = np.zeros(FIGURES, np.int64)
    count = assemble(events, source, new_depths(), decrease, figures)
    if not count:
        return Assembled(events[:0], figures, 0)
    events = events[:count]
    place = np.zeros(count, np.int64)
    caused = int(find_causes(events, decrease[:count], place))
    rows = np.zeros(count + 1, d.EVENT)
    trades: npt.NDArray[np.intp] = np.flatnonzero(events["kind"] == d.TRADE)
    if len(trades):
        events["exch_ns"][trades] = events["exch_ns"][place[trades]]
        keys = np.arange(count) * 2 + 1
        keys[trades] = place[trades] * 2
        np.take(events, np.argsort(keys, kind="stable"), out=rows[1:])
    else:
        rows[1:] = events
    opening = rows[0]
    opening["kind"], opening["aux"] = d.STATUS, d.ACTIVE
    opening["exch_ns"], opening["local_ns"] = rows["exch_ns"][1], rows["local_ns"][1]
    rows["market"] = 0
    return Assembled(rows, figures, caused)
