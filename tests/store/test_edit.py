"""Cut and merged tapes against a slow replay: the same book, status, grid and close time at every moment."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.store import edit
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.layouts import BAR_ROW, QUOTE_ROW
from pr3dict.store.tape import Tape, TapeFee, TapeMeta, check_tape

SECOND = 10**9
GRIDS = (polymarket_grid(100), polymarket_grid(10), polymarket_grid(25))
TICKS = (100, 10, 25)
META = TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s1",
    source_format="hand-made",
    grids=GRIDS,
    min_size=5_000_000,
    lot=1_000_000,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    close_ns=1_000 * SECOND,
    has_trades="recorded",
)


def meta(**changes):
    return msgspec.structs.replace(META, **changes)


def states(tape):
    """(book, status, price grid, close, news that holds until) after each instant, the obvious slow way."""
    grids, close = tape.meta.grids, tape.meta.close_ns
    book, status, grid, news, after = {}, d.ACTIVE, grids[0] if grids else None, (0, 0), {}
    for row in tape.events:
        kind, now = int(row["kind"]), int(row["exch_ns"])
        key, qty, aux = (int(row["side"]), int(row["price"])), int(row["qty"]), int(row["aux"])
        if kind == d.SNAPSHOT and row["bits"] & d.SNAP_FIRST:
            book = {}
        if kind in (d.LEVEL, d.SNAPSHOT) and qty:
            book[key] = qty
        elif kind == d.LEVEL:
            book.pop(key, None)
        elif kind == d.STATUS:
            status = aux
        elif kind == d.TICK:
            grid = grids[aux]
        elif kind == d.CLOSE_TIME:
            close = aux
        elif kind == d.NEWS:
            news = (aux, now + qty)
        after[now] = (dict(book), status, grid, close, news if news[1] > now else (0, 0))
    return after


def at(after, now):
    """The state at a moment; None before the first instant."""
    earlier = [when for when in after if when <= now]
    if not earlier:
        return None
    book, status, grid, close, news = after[max(earlier)]
    return book, status, grid, close, news if news[1] > now else (0, 0)


def prices(side, tick):
    """A few prices of a side on a grid, so that the book never crosses."""
    base = 4_000 if side == d.BID else 5_000
    return st.sampled_from([base, base + 3 * tick, base + 100, base + 300])


@st.composite
def tapes(draw, start=0):
    """A valid tape: changes of the grid leave levels behind that the new grid does not have."""
    rows, now, grid = [], start, 0
    for _ in range(draw(st.integers(1, 14))):
        now += draw(st.sampled_from([0, 1, 5, 90])) * SECOND
        side = draw(st.integers(0, 1))
        match draw(
            st.sampled_from(
                ["level", "level", "level", "snapshot", "tick", "status", "news", "close", "trade"]
            )
        ):
            case "level":
                rows.append(
                    event_row(
                        now,
                        now,
                        d.LEVEL,
                        side=side,
                        price=draw(prices(side, TICKS[grid])),
                        qty=draw(st.integers(0, 3)),
                    )
                )
            case "snapshot":
                levels = {
                    (s, draw(prices(s, TICKS[grid]))): draw(st.integers(1, 3))
                    for s in draw(st.lists(st.integers(0, 1), max_size=3))
                }
                rows += snapshot_rows(now, now, [(s, p, q) for (s, p), q in levels.items()])
            case "tick":
                grid = draw(st.integers(0, 2))
                rows.append(event_row(now, now, d.TICK, aux=grid))
            case "status":
                rows.append(
                    event_row(
                        now, now, d.STATUS, aux=draw(st.sampled_from([d.ACTIVE, d.PAUSED, d.POST_ONLY_MODE]))
                    )
                )
            case "news":
                rows.append(
                    event_row(now, now, d.NEWS, aux=d.NEWS_PULL, qty=draw(st.integers(1, 100)) * SECOND)
                )
            case "close":
                rows.append(event_row(now, now, d.CLOSE_TIME, aux=draw(st.integers(1, 9))))
            case "trade":
                rows.append(event_row(now, now, d.TRADE, price=4_000, qty=1))
    tape = Tape(events_of(rows), META)
    check_tape(*tape)
    return tape


MOMENTS = st.integers(-10, 1_300).map(lambda s: s * SECOND)


# --- cut ------------------------------------------------------------------------------------------


@given(tapes(), MOMENTS, MOMENTS)
@settings(max_examples=200)
def test_a_cut_tape_replays_to_the_same_state_at_every_later_moment(tape, one, other):
    start, end = sorted((one, other))
    try:
        cut = edit.cut_tape(tape, start, end)
    except DataError:
        inside = (tape.events["exch_ns"] >= start) & (tape.events["exch_ns"] < end)
        assert not inside.any()
        return
    check_tape(*cut)
    whole, part = states(tape), states(cut)
    start = max(start, int(tape.events["exch_ns"][0]))
    for now in sorted({start, *(when for when in whole if start <= when < end)}):
        nothing_told = ({}, d.ACTIVE, GRIDS[0], META.close_ns, (0, 0))
        assert (at(part, now) or nothing_told) == at(whole, now)
    assert cut.meta.quality["cut_from_ns"] == start
    real = cut.events[(cut.events["bits"] & d.SYNTHETIC) == 0]
    window = tape.events[(tape.events["exch_ns"] >= start) & (tape.events["exch_ns"] < end)]
    assert np.array_equal(real, window)


@given(tapes(), MOMENTS)
def test_the_compiled_book_of_a_cut_is_that_of_the_original(tape, start):
    """Flattened, as a replay has it; levels by price."""

    def last_book(events):
        book = {}
        for row in flatten_snapshots(events):
            if row["kind"] == d.LEVEL:
                book[int(row["side"]), int(row["price"])] = int(row["qty"])
        return {key: qty for key, qty in book.items() if qty}

    if not tape.events["exch_ns"][0] <= start <= tape.events["exch_ns"][-1]:
        start = int(tape.events["exch_ns"][-1])
    assert last_book(edit.cut_tape(tape, start, 10**18).events) == last_book(tape.events)


def test_levels_left_behind_by_a_grid_change_are_carried_over():
    rows = [
        event_row(0, 0, d.TICK, aux=1),
        event_row(0, 0, d.LEVEL, side=d.BID, price=4_010, qty=1),
        event_row(0, 0, d.TICK, aux=2),
        event_row(0, 0, d.LEVEL, side=d.BID, price=4_025, qty=2),
        event_row(0, 0, d.TICK, aux=0),
        event_row(0, 0, d.LEVEL, side=d.BID, price=4_100, qty=3),
        event_row(9, 9, d.TRADE, price=4_100, qty=1),
    ]
    cut = edit.cut_tape(Tape(events_of(rows), META), 5, 10)
    check_tape(*cut)
    assert states(cut)[5][0] == {(d.BID, 4_010): 1, (d.BID, 4_025): 2, (d.BID, 4_100): 3}
    assert states(cut)[5][2] == GRIDS[0]


def test_a_settlement_stays_only_where_it_happened():
    rows = [event_row(1, 1, d.LEVEL, price=4_000, qty=1), event_row(9, 9, d.SETTLE, qty=10**6)]
    tape = Tape(events_of(rows), meta(outcome="yes", outcome_source="made up"))
    assert not (edit.cut_tape(tape, 0, 9).events["kind"] == d.SETTLE).any()
    assert edit.cut_tape(tape, 2, 10).events["kind"][-1] == d.SETTLE
    late = Tape(
        np.concatenate((tape.events, events_of([event_row(20, 20, d.STATUS, aux=d.SETTLED)]))), tape.meta
    )
    with pytest.raises(DataError, match="settled before the cut"):
        edit.cut_tape(late, 10, 30)


def test_before_the_first_book_nothing_is_claimed_of_it():
    rows = [
        event_row(0, 0, d.STATUS, aux=d.PAUSED),
        event_row(5, 5, d.TRADE, price=4_000, qty=1),
        *snapshot_rows(9, 9, [(d.BID, 4_000, 1)]),
    ]
    cut = edit.cut_tape(Tape(events_of(rows), META), 3, 20)
    assert cut.events["kind"].tolist() == [d.STATUS, d.TRADE, d.SNAPSHOT]
    assert cut.events["aux"][0] == d.PAUSED


def test_the_latest_status_and_news_are_in_force_and_every_close_time_is_told():
    rows = [
        event_row(0, 0, d.STATUS, aux=d.ACTIVE),
        event_row(1, 1, d.NEWS, aux=d.NEWS_PULL, qty=100),
        event_row(1, 1, d.CLOSE_TIME, aux=7),
        event_row(2, 2, d.STATUS, aux=d.PAUSED),
        event_row(3, 3, d.NEWS, aux=d.NEWS_WIDEN, qty=10),
        event_row(3, 3, d.CLOSE_TIME, aux=9),
        event_row(12, 12, d.TRADE, price=4_000, qty=1),
    ]
    tape = Tape(events_of(rows), META)
    cut = edit.cut_tape(tape, 5, 20).events[:-1]
    assert list(zip(cut["kind"].tolist(), cut["aux"].tolist(), cut["qty"].tolist(), strict=True)) == [
        (d.STATUS, d.PAUSED, 0), (d.CLOSE_TIME, 7, 0), (d.CLOSE_TIME, 9, 0), (d.NEWS, d.NEWS_WIDEN, 8),
    ]  # fmt: skip
    assert set(cut["exch_ns"].tolist()) == {5}
    assert (cut["bits"] & d.SYNTHETIC).all()
    assert d.NEWS in edit.cut_tape(tape, 12, 20).events["kind"]
    over = Tape(
        np.concatenate((tape.events, events_of([event_row(14, 14, d.TRADE, price=4_000, qty=1)]))), META
    )
    assert d.NEWS not in edit.cut_tape(over, 13, 20).events["kind"]


@pytest.mark.parametrize(("start", "end"), [(5, 5), (9, 3), (-9, 0), (11, 20)])
def test_a_cut_that_misses_the_tape_is_refused(start, end):
    rows = [event_row(0, 0, d.LEVEL, price=4_000, qty=1), event_row(10, 10, d.LEVEL, price=4_000, qty=0)]
    with pytest.raises(DataError, match="the cut"):
        edit.cut_tape(Tape(events_of(rows), META), start, end)


def quotes(*times, **changes):
    rows = np.zeros(len(times), QUOTE_ROW)
    rows["exch_ns"] = rows["local_ns"] = times
    rows["bid_price"], rows["ask_price"], rows["volume_micros"] = 4_000, 4_100, -1
    return Tape(rows, meta(kind="quotes", grids=(), has_trades="none", **changes))


def bars(*ends, **changes):
    rows = np.zeros(len(ends), BAR_ROW)
    rows["end_ns"] = rows["released_ns"] = ends
    rows["start_ns"] = rows["end_ns"] - 10
    return Tape(rows, meta(kind="bars", grids=(), has_trades="none", **changes))


def test_quotes_are_cut_by_their_time_and_bars_to_whole_ones():
    assert edit.cut_tape(quotes(1, 2, 3, 4), 2, 4).events["exch_ns"].tolist() == [2, 3]
    assert edit.cut_tape(bars(10, 20, 30, 40), 5, 39).events["end_ns"].tolist() == [20, 30]
    with pytest.raises(DataError, match="no row of the tape lies in the cut"):
        edit.cut_tape(bars(10, 40), 5, 9)


def test_a_cut_of_a_cut_is_narrower():
    tape = Tape(events_of([event_row(k, k, d.LEVEL, price=4_000, qty=k) for k in range(1, 30)]), META)
    once = edit.cut_tape(tape, 5, 25)
    twice = edit.cut_tape(once, 2, 20)
    assert edit.span_ns(twice) == (5, 20)
    assert at(states(twice), 19)[0] == {(d.BID, 4_000): 19}


# --- merge ----------------------------------------------------------------------------------------


@given(tapes(), MOMENTS)
def test_merging_what_was_cut_apart_gives_the_states_of_the_original(tape, middle):
    try:
        parts = [edit.cut_tape(tape, -1, middle), edit.cut_tape(tape, middle, 10**18)]
    except DataError:
        return
    merged = edit.merge_tapes(parts[::-1], ["b", "a"])
    check_tape(*merged)
    whole, part = states(tape), states(merged)
    for now in whole:
        assert at(part, now) == at(whole, now)
    assert merged.meta.quality["gaps"] == 0
    assert (
        not (merged.events["aux"][merged.events["kind"] == d.STATUS] == d.PAUSED).any()
        or (tape.events["aux"][tape.events["kind"] == d.STATUS] == d.PAUSED).any()
    )


@given(tapes(), tapes(), st.integers(1, 200), st.permutations(range(3)))
@settings(max_examples=80)
def test_each_part_is_on_the_merged_tape_as_it_is_alone(first, second, gap_s, numbers):
    """Grids in another order, a gap, a book that starts with nothing known: all as on the part's own tape."""
    grids = tuple(GRIDS[k] for k in numbers)
    shift = int(first.events["exch_ns"][-1]) + gap_s * SECOND - int(second.events["exch_ns"][0])
    events = second.events.copy()
    events["exch_ns"] += shift
    ticks = events["kind"] == d.TICK
    events["aux"][ticks] = [numbers.index(k) for k in events["aux"][ticks]]
    if not (ticks & (events["exch_ns"] == events["exch_ns"][0])).any():
        start = events_of([event_row(int(events["exch_ns"][0]), 0, d.TICK, aux=numbers.index(0))])
        events = np.concatenate((start, events))
    later = Tape(events, meta(grids=grids, session="s2"))
    check_tape(*later)
    merged = edit.merge_tapes([first, later], ["a", "b"])
    check_tape(*merged)
    alone, joined = states(later), states(merged)
    for now in alone:
        book, status, grid, close, _ = at(joined, now)
        assert (book, status, grid, close) == alone[now][:4]
    end = int(first.events["exch_ns"][-1])
    was = at(states(first), end)
    paused = gap_s > 60 and was[1] in (d.ACTIVE, d.POST_ONLY_MODE)
    assert at(joined, end)[1] == (d.PAUSED if paused else was[1])
    assert merged.meta.quality["gaps"] == (gap_s > 60)
    assert merged.meta.session == "s1..s2"


LEVEL = [event_row(0, 0, d.LEVEL, price=4_000, qty=1)]
LATER = [event_row(30 * SECOND, 0, d.LEVEL, price=4_100, qty=2)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ticker": "other"}, r"b: ticker: 'other' here, 'game' in a"),
        ({"venue": "kalshi"}, "b: venue: 'kalshi' here"),
        ({"kind": "trades"}, "b: kind: 'trades' here, 'book' in a"),
        ({"lot": 5}, "b: lot: 5 here"),
        ({"has_trades": "inferred"}, "b: has_trades"),
        ({"outcome": "no"}, "b: outcome: 'no' here, 'yes' in a"),
        ({"strike": "1"}, "b: strike: '1' here, '2' in a"),
        ({"fee": TapeFee(kind="kalshi", taker_ppm=70_000, source="x")}, "b: fee: charges another fee than a"),
    ],
)
def test_parts_of_different_markets_are_refused_with_the_reason(changes, sentence):
    first = Tape(events_of(LEVEL), meta(outcome="yes", strike="2"))
    with pytest.raises(DataError, match=sentence):
        edit.merge_tapes([first, Tape(events_of(LATER), meta(**{"outcome": "yes", **changes}))], ["a", "b"])


def test_what_one_part_knows_the_merged_tape_knows():
    first = Tape(events_of(LEVEL), meta(close_ns=None, open_ns=7))
    second = Tape(
        events_of(LATER),
        meta(
            outcome="no",
            outcome_source="told",
            strike="2",
            close_ns=99,
            fee=TapeFee(kind="none", source="other"),
        ),
    )
    merged = edit.merge_tapes([second, first], ["b", "a"])
    known = merged.meta
    assert (known.outcome, known.outcome_source, known.strike) == ("no", "told", "2")
    assert (known.open_ns, known.close_ns) == (7, 99)
    assert not (merged.events["kind"] == d.CLOSE_TIME).any()


def test_overlapping_parts_are_refused():
    second = Tape(events_of([*LATER, event_row(90 * SECOND, 0, d.LEVEL, price=4_100, qty=0)]), META)
    third = Tape(events_of([event_row(40 * SECOND, 0, d.LEVEL, price=4_100, qty=2)]), META)
    with pytest.raises(DataError, match="c: begins before b ends; cut one of them"):
        edit.merge_tapes([second, third], ["b", "c"])
    with pytest.raises(DataError, match="begins before"):
        edit.merge_tapes([quotes(1, 2), quotes(2, 3)], ["a", "b"])


def test_a_book_is_cleared_on_the_grid_that_it_stands_on():
    """A replay moves levels at a change of grid and ignores prices off it, so the old book must go before."""
    first = Tape(events_of([event_row(0, 0, d.LEVEL, price=4_010, qty=1)]), meta(grids=(GRIDS[1],)))
    own = snapshot_rows(5, 5, [(d.BID, 4_000, 2)])
    merged = edit.merge_tapes([first, Tape(events_of(own), meta(grids=(GRIDS[0],)))], ["a", "b"])
    flat = flatten_snapshots(merged.events)
    assert [(int(r["kind"]), int(r["price"]), int(r["qty"])) for r in flat] == [
        (d.LEVEL, 4_010, 1), (d.LEVEL, 4_010, 0), (d.TICK, 0, 0), (d.LEVEL, 4_000, 2),
    ]  # fmt: skip


def test_nothing_follows_a_settlement():
    first = Tape(events_of([*LEVEL, event_row(9, 9, d.SETTLE, qty=0)]), META)
    with pytest.raises(DataError, match="a: settles the market before b begins"):
        edit.merge_tapes([Tape(events_of(LATER), META), first], ["b", "a"])


def test_quotes_trades_and_bars_are_put_in_order_of_time():
    merged = edit.merge_tapes([quotes(300 * SECOND, session="s2"), quotes(1, 2)], ["b", "a"])
    assert merged.events["exch_ns"].tolist() == [1, 2, 300 * SECOND]
    assert merged.meta.quality["gaps"] == 1
    assert edit.merge_tapes([bars(40, 50), bars(10, 20)], ["b", "a"]).events["end_ns"].tolist() == [
        10,
        20,
        40,
        50,
    ]
    trades = [
        Tape(events_of([event_row(k, k, d.TRADE, price=4_000, qty=k)]), meta(kind="trades", grids=grids))
        for k, grids in ((1, GRIDS[:1]), (2, GRIDS[1:]))
    ]
    merged = edit.merge_tapes(trades, ["a", "b"])
    check_tape(*merged)
    assert merged.meta.grids == GRIDS
    assert merged.events["kind"].tolist() == [d.TRADE, d.TICK, d.TRADE]
