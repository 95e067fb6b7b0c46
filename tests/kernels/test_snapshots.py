"""Flattened snapshots against a book of dictionaries."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.snapshots import flatten_snapshots

FIRST_LAST = d.SNAP_FIRST | d.SNAP_LAST
LEVELS = st.dictionaries(
    st.tuples(st.sampled_from([d.BID, d.ASK]), st.sampled_from([1, 4000, 5000, 9999])), st.integers(1, 3)
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("snapshot"), LEVELS),
        st.tuples(
            st.just("level"),
            st.sampled_from([0, 1]),
            st.sampled_from([1, 4000, 5000, 9999]),
            st.integers(0, 3),
        ),
        st.tuples(st.just("trade")),
    ),
    max_size=12,
)


def row(ns, kind, side=0, price=0, qty=0, bits=0):
    return (ns, ns + 5, qty, 0, price, 0, kind, side, bits)


def rows_of(actions):
    rows = []
    for ns, action in enumerate(actions):
        if action[0] == "level":
            rows.append(row(ns, d.LEVEL, *action[1:]))
        elif action[0] == "trade":
            rows.append(row(ns, d.TRADE, d.BID, 4000, 1))
        else:
            levels = list(action[1].items())
            last = len(levels) - 1
            rows += [
                row(
                    ns,
                    d.SNAPSHOT,
                    side,
                    price,
                    qty,
                    (d.SNAP_FIRST if k == 0 else 0) | (d.SNAP_LAST if k == last else 0),
                )
                for k, ((side, price), qty) in enumerate(levels)
            ] or [row(ns, d.SNAPSHOT, bits=FIRST_LAST)]
    return np.array(rows, d.EVENT)


def books_by_time(actions):
    book, books = {}, []
    for action in actions:
        if action[0] == "level":
            book[action[1:3]] = action[3]
        elif action[0] == "snapshot":
            book = dict(action[1])
        book = {key: qty for key, qty in book.items() if qty}
        books.append(dict(book))
    return books


@given(ACTIONS)
def test_flattened_rows_replay_to_the_same_book_at_every_moment(actions):
    flat = flatten_snapshots(rows_of(actions))
    assert not (flat["kind"] == d.SNAPSHOT).any()
    book, i = {}, 0
    for ns, expected in enumerate(books_by_time(actions)):
        removed_over = False
        while i < len(flat) and flat[i]["exch_ns"] == ns:
            event = flat[i]
            if event["kind"] == d.LEVEL:
                key, qty = (int(event["side"]), int(event["price"])), int(event["qty"])
                if event["bits"] & d.FROM_SNAPSHOT:
                    assert book.get(key, 0) != qty, "an unchanged level must give no row"
                    assert not (removed_over and qty == 0), "removals come first"
                    removed_over = removed_over or qty > 0
                    assert event["local_ns"] == ns + 5
                book[key] = qty
            i += 1
        assert {key: qty for key, qty in book.items() if qty} == expected
    assert i == len(flat)


@given(ACTIONS)
@settings(max_examples=30)
def test_rows_other_than_snapshots_pass_unchanged(actions):
    events = rows_of(actions)
    flat = flatten_snapshots(events)
    kept = flat[(flat["bits"] & d.FROM_SNAPSHOT) == 0]
    assert np.array_equal(kept, events[events["kind"] != d.SNAPSHOT])


@given(ACTIONS)
@settings(max_examples=30)
def test_swapping_yes_and_no_mirrors_the_flattened_book(actions):
    def mirrored(events):
        out = events.copy()
        level = (out["kind"] == d.LEVEL) | ((out["kind"] == d.SNAPSHOT) & (out["price"] > 0))
        out["side"][level] = 1 - out["side"][level]
        out["price"][level] = 10_000 - out["price"][level]
        return out

    def at_times(events):
        return sorted(tuple(event) for event in events.tolist())

    events = rows_of(actions)
    assert at_times(flatten_snapshots(mirrored(events))) == at_times(mirrored(flatten_snapshots(events)))


def test_an_empty_snapshot_clears_the_book():
    actions = [("snapshot", {(d.BID, 4000): 2, (d.ASK, 5000): 1}), ("snapshot", {})]
    flat = flatten_snapshots(rows_of(actions))
    assert [(int(e["side"]), int(e["price"]), int(e["qty"])) for e in flat] == [
        (d.BID, 4000, 2), (d.ASK, 5000, 1), (d.ASK, 5000, 0), (d.BID, 4000, 0),
    ]  # fmt: skip
