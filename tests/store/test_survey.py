"""What is told of tapes against slow counts, and each finding of the deeper check by name."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store import survey
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.layouts import BAR_ROW, NONE, QUOTE_ROW
from pr3dict.store.tape import Tape, TapeFee, TapeMeta, check_tape, write_tape

S = 10**9
META = TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s1",
    source_format="hand-made",
    grids=(polymarket_grid(100),),
    min_size=5_000_000,
    lot=1_000_000,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    has_trades="recorded",
)
BARE = {"grids": (), "min_size": 0, "lot": 0, "has_trades": "none"}


def checked(tmp_path, events, **changes):
    write_tape(tmp_path / "t.parquet", events, msgspec.structs.replace(META, **changes))
    return survey.check_file(tmp_path / "t.parquet")


def level(s, price, qty=1_000_000, side=d.BID):
    return event_row(s * S, s * S, d.LEVEL, side=side, price=price, qty=qty)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1]),
        st.integers(0, 1),
        st.sampled_from([4_000, 4_500, 5_000]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=20,
)


@given(STEPS)
@settings(max_examples=200)
def test_crossed_instants_are_counted_as_a_slow_book_counts_them(steps):
    rows, now, book, crossed = [], 0, ({}, {}), set()
    for step, side, price, qty in steps:
        now += step
        rows.append(level(now, price, qty, side))
        book[side][price] = qty
        best = [[p for p, q in levels.items() if q] for levels in book]
        if best[0] and best[1] and max(best[0]) >= min(best[1]):
            crossed.add(now)
    try:
        check_tape(events_of(rows), META)
    except DataError:  # crossed at the end of an instant: there is no such tape
        return
    assert survey._crossed_instants(Tape(events_of(rows), META)) == len(crossed)


def test_a_book_crossed_by_its_next_snapshot_is_no_crossed_instant():
    rows = [
        *snapshot_rows(1, 1, [(d.BID, 4_000, 1), (d.ASK, 4_100, 1)]),
        *snapshot_rows(1, 1, [(d.BID, 4_200, 1)]),
    ]
    assert survey._crossed_instants(Tape(events_of(rows), META)) == 0


@given(STEPS.map(lambda steps: [(s * 7, 0, p, q) for s, _, p, q in steps]))
def test_the_sampled_touch_is_the_book_at_each_moment(steps):
    rows, now = [], 0
    for step, side, price, qty in steps:
        now += step
        rows += [level(now, price, qty, side), level(now, price + 2_000, qty, d.ASK)]
    tape = Tape(events_of(rows), META)
    bid, ask, no_bid, no_ask, size = survey._sampled_touch(tape)
    moments = np.linspace(rows[0][0], now * S, survey.SAMPLES).astype(np.int64)
    for k in (0, 1, survey.SAMPLES // 3, survey.SAMPLES - 1):
        book = {}
        for row in rows:
            if row[0] <= moments[k]:
                book[row[7], row[4]] = row[2]
        bids = [p for (side, p), q in book.items() if side == d.BID and q]
        asks = [p for (side, p), q in book.items() if side == d.ASK and q]
        assert (bid[k], ask[k]) == (max(bids, default=no_bid), min(asks, default=no_ask))
        if bids and asks:
            assert size[k] == min(book[d.BID, max(bids)], book[d.ASK, min(asks)])


@pytest.mark.parametrize(
    ("rows", "changes", "errors"),
    [
        ([level(1, 4_000), event_row(2 * S, 0, d.SETTLE, qty=0)], {"outcome": "no"}, []),
        ([level(1, 4_000), event_row(2 * S, 0, d.SETTLE, qty=400_000)], {}, []),
        (
            [level(1, 4_000), event_row(2 * S, 0, d.SETTLE, qty=400_000)],
            {"outcome": "no"},
            ["settles YES at $0.40, its metadata says that the outcome is no"],
        ),
        ([level(1, 4_000), event_row(2 * S, 0, d.SETTLE, qty=5, bits=d.REFUND)], {"outcome": "no"}, []),
        ([event_row(2 * S, 0, d.SETTLE, qty=0), level(3, 4_000)], {}, ["1 row after the settlement"]),
        ([event_row(S, 0, d.SETTLE, qty=0), event_row(S, 0, d.SETTLE, qty=0)], {}, ["settles 2 times"]),
        (
            [event_row(1, 1, d.TRADE, price=4_000, qty=1)],
            {"has_trades": "none"},
            ["holds 1 trade, its metadata says that it has none"],
        ),
        (
            [event_row(1, 1, d.TRADE, price=4_000, qty=1, bits=d.INFERRED)],
            {},
            ["1 trade inferred, its metadata says recorded"],
        ),
        (
            [event_row(1, 1, d.TRADE, price=4_000, qty=1)],
            {"has_trades": "inferred"},
            ["1 trade recorded, its metadata says inferred"],
        ),
    ],
)
def test_contradictions_fail(tmp_path, rows, changes, errors):
    source = {"outcome_source": "told"} if "outcome" in changes else {}
    found = checked(tmp_path, events_of(rows), **changes, **source)
    assert (list(found.errors), list(found.notes)) == (errors, [])


def test_oddities_are_notes(tmp_path):
    rows = [
        level(1, 4_000, 1_500_000),
        level(1, 4_500),
        level(1, 4_500, 1, d.ASK),
        level(1, 4_500, 0),
        level(90, 4_000, 0),
        level(200, 4_000),
    ]
    found = checked(tmp_path, events_of(rows), outcome="yes")
    assert found.errors == ()
    assert found.notes == (
        "2 silences of more than 60 s, the longest of 110 s from 1970-01-01T00:01:30Z",
        "2 level sizes not in whole lots of 1",
        "1 instant during which the book was crossed, put right within it",
        "states an outcome without its source",
    )


def test_quotes_and_bars_are_looked_at_too(tmp_path):
    quotes = np.zeros(5, QUOTE_ROW)
    quotes["exch_ns"] = np.array([0, 10, 20, 30, 200]) * S
    quotes["bid_price"], quotes["ask_price"] = (
        [4_000, 4_000, NONE, 4_000, 4_000],
        [4_100, 4_000, 3_000, NONE, 3_900],
    )
    found = checked(tmp_path, quotes, kind="quotes", **BARE)
    assert found.notes == (
        "2 quotes with the bid at or above the ask",
        "longest silence 170 s, quotes come each 10 s",
    )
    bars = np.zeros(4, BAR_ROW)
    bars["start_ns"], bars["contract"] = np.array([0, 0, 100, 300]) * S, [0, 1, 0, 0]
    bars["end_ns"] = bars["released_ns"] = bars["start_ns"] + 100 * S
    found = checked(tmp_path, bars, kind="bars", **BARE)
    assert (found.errors, found.notes) == ((), ("1 gap of more than half a bar between bars of YES",))
    bars["released_ns"][1] -= 1
    assert checked(tmp_path, bars, kind="bars", **BARE).errors == (
        "1 bar known before the end of what it covers",
    )
