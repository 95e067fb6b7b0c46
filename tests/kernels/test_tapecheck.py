"""The compiled check of a tape against the same rules written slowly, and each fault by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import tapecheck as tc

FIRST, LAST = d.SNAP_FIRST, d.SNAP_LAST
CENTS = np.zeros((1, 10_001), bool)
CENTS[0, 100:10_000:100] = True
TWO_GRIDS = np.vstack([CENTS[0], CENTS[0]])
TWO_GRIDS[1, 10:10_000:10] = True


def row(ns, kind, side=0, price=0, qty=0, aux=0, bits=0):
    return (ns, ns, qty, aux, price, 0, kind, side, bits)


def check(rows, mask=TWO_GRIDS):
    return tc.check_events(np.array(rows, d.EVENT), mask, tc.new_depth(), tc.new_best())


def slow_check(rows, mask):
    """The rules of docs/tapes.md, one after the other, over a book of dictionaries."""
    book, grid, inside, crossed, last_ns = ({}, {}), 0, False, -1, -1
    for i, (ns, _, qty, aux, price, _, kind, side, bits) in enumerate(rows):
        if ns < last_ns:
            return tc.UNSORTED, i
        if ns > last_ns and crossed >= 0:
            return tc.CROSSED, crossed
        opens = kind == d.SNAPSHOT and bits & FIRST
        if inside and (kind != d.SNAPSHOT or opens or ns != last_ns):
            return tc.SNAPSHOT_UNCLOSED, i
        if kind == d.SNAPSHOT and not opens and not inside:
            return tc.SNAPSHOT_UNOPENED, i
        if not 1 <= kind <= 8:
            return tc.UNKNOWN_KIND, i
        if side not in (0, 1):
            return tc.BAD_SIDE, i
        if not 0 <= price <= 10_000:
            return tc.BAD_PRICE, i
        if qty < 0:
            return tc.NEGATIVE_SIZE, i
        if kind == d.SNAPSHOT and qty == 0:
            if price or bits & (FIRST | LAST) != FIRST | LAST:
                return tc.BAD_VALUE, i
        elif kind in (d.LEVEL, d.SNAPSHOT, d.TRADE) and not 1 <= price <= 9_999:
            return tc.BAD_PRICE, i
        if kind in (d.LEVEL, d.SNAPSHOT) and qty and not mask[grid, price]:
            return tc.OFF_GRID, i
        if (
            (kind == d.TRADE and qty == 0)
            or (kind == d.STATUS and not 0 <= aux <= 9)
            or (kind == d.TICK and not 0 <= aux < len(mask))
            or (kind == d.SETTLE and qty > 1_000_000)
        ):
            return tc.BAD_VALUE, i
        last_ns = ns
        if kind == d.SNAPSHOT:
            if opens:
                book = ({}, {})
            inside = not bits & LAST
        if kind == d.TICK:
            grid = aux
        if kind in (d.LEVEL, d.SNAPSHOT):
            if price:
                book[side][price] = qty
            bids, asks = ([p for p, q in book[s].items() if q] for s in (0, 1))
            is_crossed = bool(bids and asks and max(bids) >= min(asks))
            crossed = -1 if not is_crossed else i if crossed < 0 else crossed
    if inside:
        return tc.SNAPSHOT_UNCLOSED, len(rows) - 1
    return (tc.CROSSED, crossed) if crossed >= 0 else (tc.FINE, -1)


PRICES = st.sampled_from([0, 1, 110, 4000, 4100, 5000, 9999, 10_000])
ROWS = st.lists(
    st.builds(
        row,
        st.just(0),
        st.sampled_from([1, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]),
        st.sampled_from([0, 0, 1, 1, 2]),
        PRICES,
        st.sampled_from([-1, 0, 0, 1, 2, 1_000_001]),
        st.sampled_from([-1, 0, 1, 2, 10]),
        st.sampled_from([0, FIRST, LAST, FIRST | LAST]),
    ),
    max_size=10,
)
GENTLE = st.lists(
    st.builds(
        row,
        st.just(0),
        st.just(d.LEVEL),
        st.sampled_from([0, 1]),
        st.sampled_from([4000, 4100, 4200]),
        st.integers(0, 1),
    ),
    max_size=14,
)


@given(st.one_of(ROWS, GENTLE), st.lists(st.integers(-1, 3), min_size=14, max_size=14))
def test_agrees_with_the_rules_written_slowly(rows, steps):
    ns = 5
    timed = []
    for values, step in zip(rows, steps, strict=False):
        ns += step if step >= 0 or len(timed) > 8 else 0
        timed.append((ns, ns, *values[2:]))
    assert check(timed) == slow_check(timed, TWO_GRIDS)


BOOK = [
    row(1, d.SNAPSHOT, 0, 4000, 5, bits=FIRST),
    row(1, d.SNAPSHOT, 1, 4500, 5, bits=LAST),
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*BOOK, row(2, d.LEVEL, 0, 4100, 7)], (tc.FINE, -1)),
        ([*BOOK, row(0, d.LEVEL, 0, 4100, 7)], (tc.UNSORTED, 2)),
        ([*BOOK, row(2, 9)], (tc.UNKNOWN_KIND, 2)),
        ([*BOOK, row(2, d.LEVEL, 2, 4100, 7)], (tc.BAD_SIDE, 2)),
        ([*BOOK, row(2, d.LEVEL, 0, 0, 7)], (tc.BAD_PRICE, 2)),
        ([*BOOK, row(2, d.TRADE, 0, 10_000, 7)], (tc.BAD_PRICE, 2)),
        ([*BOOK, row(2, d.LEVEL, 0, 4110, 7)], (tc.OFF_GRID, 2)),
        ([*BOOK, row(2, d.LEVEL, 0, 4110, 0)], (tc.FINE, -1)),
        ([*BOOK, row(2, d.TICK, aux=1), row(2, d.LEVEL, 0, 4110, 7)], (tc.FINE, -1)),
        ([*BOOK, row(2, d.TICK, aux=2)], (tc.BAD_VALUE, 2)),
        ([*BOOK, row(2, d.LEVEL, 0, 4100, -7)], (tc.NEGATIVE_SIZE, 2)),
        ([*BOOK, row(2, d.TRADE, 0, 4100, 0)], (tc.BAD_VALUE, 2)),
        ([*BOOK, row(2, d.SETTLE, qty=1_000_001)], (tc.BAD_VALUE, 2)),
        ([BOOK[0], row(2, d.LEVEL, 0, 4100, 7)], (tc.SNAPSHOT_UNCLOSED, 1)),
        ([BOOK[0]], (tc.SNAPSHOT_UNCLOSED, 0)),
        ([BOOK[1]], (tc.SNAPSHOT_UNOPENED, 0)),
        ([*BOOK, row(2, d.LEVEL, 0, 4500, 7)], (tc.CROSSED, 2)),
        ([*BOOK, row(2, d.LEVEL, 0, 4500, 7), row(2, d.LEVEL, 1, 4500, 0)], (tc.FINE, -1)),
        ([*BOOK, row(2, d.LEVEL, 0, 4500, 7), row(3, d.LEVEL, 1, 4500, 0)], (tc.CROSSED, 2)),
        ([row(1, d.SNAPSHOT, bits=FIRST | LAST)], (tc.FINE, -1)),
    ],
)
def test_names_the_fault_and_its_row(rows, expected):
    assert check(rows) == expected
    assert slow_check(rows, TWO_GRIDS) == expected
