"""Importers' kernels: running totals, uncrossing and fitted trades against brute force."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings as rec
from pr3dict.kernels import tapecheck as tc

MASK = np.ones((1, 10_001), bool)
CONTRACT = 1_000_000
SECOND = 1_000_000_000


def row(ns, kind, side=0, price=0, qty=0, bits=0):
    return (ns, ns, qty, 0, price, 0, kind, side, bits)


# --- the best sum of sizes ------------------------------------------------------------------------


def brute_force(sizes, weights, target):
    """(sum reached, its greatest weight) over all subsets."""
    subsets = [s for r in range(len(sizes) + 1) for s in combinations(range(len(sizes)), r)]
    reached = max(t for s in subsets if (t := sum(sizes[i] for i in s)) <= target)
    return reached, max(sum(weights[i] for i in s) for s in subsets if sum(sizes[i] for i in s) == reached)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(-3, 5).filter(bool)), max_size=9),
    st.integers(1, 80),
)
def test_fitted_sum_is_the_best_of_all_subsets(rows, target):
    sizes, weights = [size for size, _ in rows], [weight for _, weight in rows]
    take = np.zeros(len(rows), bool)
    table = np.full((len(rows) + 1) * (target + 1), 77, np.int16)
    reached = rec.fit_sum(np.array(sizes, np.int64), np.array(weights, np.int64), target, table, take)
    chosen = sum(size for size, taken in zip(sizes, take, strict=True) if taken)
    weight = sum(weight for weight, taken in zip(weights, take, strict=True) if taken)
    assert (reached, weight) == brute_force(sizes, weights, target)
    assert chosen == reached


# --- trades from volume ---------------------------------------------------------------------------


def infer(rows, tickers, cells=1 << 16):
    """Prices and contracts of the rows that were found to be trades, with the figures."""
    events = np.array(rows, d.EVENT)
    change = np.where(events["kind"] == d.LEVEL, events["qty"], 0)
    decrease, figures = np.zeros(len(events), np.int64), np.zeros(4, np.int64)
    rec.resolve_increments(events, tc.new_depth(), tc.new_best(), decrease, figures)
    traded, figures = np.zeros(len(events), bool), np.zeros(4, np.int64)
    scaled = np.array(
        [(ns, volume * 100, price, last * 100) for ns, volume, price, last in tickers], np.int64
    )
    rec.infer_trades(events, change, decrease, scaled, traded, np.zeros(cells, np.int16), figures)
    found = [(int(events["price"][i]), int(decrease[i]) // CONTRACT) for i in np.flatnonzero(traded)]
    return found, figures


BOOK = [
    row(1, d.SNAPSHOT, d.BID, 4000, 500 * CONTRACT, d.SNAP_FIRST),
    row(1, d.SNAPSHOT, d.BID, 3900, 500 * CONTRACT),
    row(1, d.SNAPSHOT, d.ASK, 4100, 500 * CONTRACT, d.SNAP_LAST),
]


def less(ns, side, price, contracts):
    return row(ns, d.LEVEL, side, price, -contracts * CONTRACT)


def more(ns, side, price, contracts):
    return row(ns, d.LEVEL, side, price, contracts * CONTRACT)


def test_the_decreases_that_add_up_to_the_volume_are_the_trades():
    rows = [*BOOK, less(10, 0, 4000, 7), less(11, 0, 3900, 20), less(12, 1, 4100, 13), less(13, 0, 4000, 4)]
    found, figures = infer(rows, [(5, 0, 4100, 1), (20, 20, 4100, 13)])
    assert found == [(4000, 7), (4100, 13)]
    assert list(figures) == [2000, 2000, 1, 1]


def test_only_rows_after_the_last_ticker_up_to_this_one_count():
    rows = [*BOOK, less(5, 0, 4000, 7), less(20, 0, 4000, 7), less(21, 0, 4000, 7)]
    found, figures = infer(rows, [(5, 0, 4000, 7), (20, 7, 4000, 7)])
    assert found == [(4000, 7)]
    assert list(figures) == [700, 700, 1, 1]


def test_the_last_price_and_size_decide_between_equals():
    rows = [*BOOK, less(10, 1, 4100, 7), less(12, 0, 4000, 7)]
    assert infer(rows, [(5, 0, 1, 1), (20, 7, 4100, 7)])[0] == [(4100, 7)]
    assert infer(rows, [(5, 0, 1, 1), (20, 7, 4000, 7)])[0] == [(4000, 7)]


def test_an_order_that_moves_in_the_same_instant_is_no_trade():
    rows = [*BOOK, less(10, 0, 4000, 7), more(10, 0, 3900, 7)]
    found, figures = infer(rows, [(5, 0, 1, 1), (20, 7, 4000, 7)])
    assert found == []
    assert list(figures) == [700, 0, 1, 0]


def test_a_size_that_comes_back_or_just_came_is_rather_a_cancel():
    replaced = [*BOOK, less(10, 0, 4000, 7), more(11, 0, 3900, 7), less(SECOND, 0, 4000, 7)]
    assert infer(replaced, [(5, 0, 1, 1), (2 * SECOND, 7, 1, 1)])[0] == [(4000, 7)]
    young = [
        *BOOK,
        less(2 * SECOND, 0, 4000, 9),
        more(5 * SECOND, 0, 4000, 9),
        less(5 * SECOND + 10**8, 0, 4000, 9),
    ]
    events = infer(young, [(5, 0, 1, 1), (6 * SECOND, 9, 1, 1)])
    assert events[0] == [(4000, 9)]
    assert events[1][rec.EXPLAINED] == 900


def test_what_no_combination_explains_stays_unexplained():
    rows = [*BOOK, less(10, 0, 4000, 7), less(12, 1, 4100, 13)]
    found, figures = infer(rows, [(5, 0, 1, 1), (20, 25, 1, 1)])
    assert sum(size for _, size in found) == 20
    assert list(figures) == [2500, 2000, 1, 0]


def test_a_window_beyond_the_table_takes_its_surest_rows_first():
    rows = [*BOOK, *(less(10 + k, k % 2, 4000 + 100 * (k % 2), 5 + k) for k in range(6))]
    tickers = [(5, 0, 1, 1), (20, 5 + 6 + 7 + 8 + 9 + 10, 1, 1)]
    found, figures = infer(rows, tickers, cells=500)
    assert sorted(size for _, size in found) == [5, 6, 7, 8, 9, 10]
    assert figures[rec.EXPLAINED] == figures[rec.GROWTH] == 4500


# --- totals ---------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([100, 200, 300]), st.integers(-3, 3)), max_size=20)
)
def test_increments_become_totals(changes):
    rows = [row(1, d.SNAPSHOT, 0, 100, 2, d.SNAP_FIRST | d.SNAP_LAST)]
    rows += [row(2, d.LEVEL, side, price, change) for side, price, change in changes]
    events = np.array(rows, d.EVENT)
    decrease, figures = np.zeros(len(events), np.int64), np.zeros(4, np.int64)
    rec.resolve_increments(events, tc.new_depth(), tc.new_best(), decrease, figures)
    book, negatives = {(0, 100): 2}, []
    for i, (side, price, change) in enumerate(changes, 1):
        old = book.get((side, price), 0)
        live = [p for (s, p), q in book.items() if s == side and q > 0]
        best = (max(live) if side == 0 else min(live)) if live else None
        if old + change < 0:
            negatives.append(i)
        new = max(old + change, 0)
        assert events["qty"][i] == new
        assert decrease[i] == (old - new if new < old and price == best else 0)
        book[side, price] = new
    assert figures[rec.NEGATIVE] == len(negatives)
    assert figures[rec.FIRST_NEGATIVE] == (negatives[0] if negatives else -1)


def test_later_snapshots_are_compared_with_the_running_book():
    again = [row(3, *tuple(values[6:8]), values[4], values[2], values[8]) for values in BOOK]
    for change, equal in ((0, 1), (1, 0)):
        events = np.array([*BOOK, row(2, d.LEVEL, 0, 4000, change), *again], d.EVENT)
        figures = np.zeros(4, np.int64)
        rec.resolve_increments(
            events, tc.new_depth(), tc.new_best(), np.zeros(len(events), np.int64), figures
        )
        assert (figures[rec.CHECKED], figures[rec.EQUAL]) == (1, equal)


# --- crossed books --------------------------------------------------------------------------------

LEVEL_ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from([100, 200, 300, 400]), st.integers(0, 3)),
    max_size=25,
)


def timed(changes):
    ns, rows = 1, []
    for step, side, price, qty in changes:
        ns += step
        rows.append(row(ns, d.LEVEL, side, price, qty))
    return np.array(rows, d.EVENT)


@given(LEVEL_ROWS)
def test_an_uncrossed_tape_passes_the_check_and_keeps_every_row(changes):
    events = timed(changes)
    crossed_before = tc.check_events(events, MASK, tc.new_depth(), tc.new_best())[0] == tc.CROSSED
    out, count, first = rec.uncross(events)
    assert tc.check_events(out, MASK, tc.new_depth(), tc.new_best()) == (tc.FINE, -1)
    assert (count > 0) == crossed_before == (first >= 0)
    added = (out["bits"] & d.SYNTHETIC) != 0
    assert np.array_equal(out[~added], events)
    assert (out["qty"][added] == 0).all()


@given(LEVEL_ROWS)
def test_uncrossing_mirrors(changes):
    mirrored = [(step, 1 - side, 10_000 - price, qty) for step, side, price, qty in changes]

    def rows(events):
        return [(int(e["exch_ns"]), int(e["side"]), int(e["price"]), int(e["qty"])) for e in events]

    plain = [
        (ns, 1 - side, 10_000 - price, qty) for ns, side, price, qty in rows(rec.uncross(timed(changes))[0])
    ]
    assert sorted(rows(rec.uncross(timed(mirrored))[0])) == sorted(plain)


def test_the_newer_level_wins():
    events = timed([(0, 1, 200, 5), (1, 0, 200, 1)])
    out, count, first = rec.uncross(events)
    assert (count, first) == (1, 1)
    removed = out[-1]
    assert (int(removed["side"]), int(removed["price"]), int(removed["qty"])) == (d.ASK, 200, 0)


def test_of_levels_as_old_as_each_other_the_smaller_goes_and_both_when_as_large():
    def removed(bid_size, ask_size):
        events = timed([(0, 0, 300, bid_size), (0, 1, 200, ask_size)])
        out = rec.uncross(events)[0]
        return [(int(e["side"]), int(e["price"])) for e in out if e["bits"] & d.SYNTHETIC]

    assert removed(3, 2) == [(d.ASK, 200)]
    assert removed(2, 3) == [(d.BID, 300)]
    assert removed(2, 2) == [(d.BID, 300), (d.ASK, 200)]
