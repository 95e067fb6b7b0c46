"""A session with orders of ours in the book: the imported tape is what others alone would have made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.importers.own_orders import own_changes, take_out
from pr3dict.store.importers.recording import read, read_without_own
from pr3dict.store.journal import Journal
from pr3dict.store.recorder import Recorder
from pr3dict.store.tape import TapeFee, TapeMeta, check_tape

T0 = 1_795_355_184_000_000_000
SECOND = 1_000_000_000
CONTRACT = 1_000_000
META = TapeMeta(
    venue="kalshi",
    ticker="KXA-1",
    event_id="KXA",
    title="A?",
    session="s1",
    source_format="recording",
    grids=(kalshi_grid("linear_cent"),),
    min_size=10_000,
    lot=10_000,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=True,
    reduce_in_place=True,
    has_trades="recorded",
)
LISTED = e.Listed(
    market=0, venue="kalshi", ticker="KXA-1", event_id="KXA", exclusive=False, title="A?", grids=META.grids,
    min_size=10_000, lot=10_000, fee_kind="none", nets_positions=True, reduce_in_place=True,
    book_includes_own=True, close_ns=-1, resolution_ns=-1,
)  # fmt: skip


class Session:
    """A public book of bids, and our own ones above it at the same prices; rows as the feed and as others."""

    def __init__(self) -> None:
        self.now_ns = T0
        self.public: dict[int, int] = {}
        self.own: dict[int, tuple[int, int]] = {}  # order to price and what rests
        self.shown_rows: list[tuple] = []
        self.public_rows: list[tuple] = []
        self.steps: list[Step] = []
        self.orders = 0
        self.step(inputs=(LISTED,))

    def step(self, **what) -> None:
        self.steps.append(Step(number=len(self.steps) + 1, now_ns=self.now_ns, **what))

    def later(self, span_ns: int = SECOND) -> None:
        self.now_ns += span_ns

    def shown(self, price: int) -> int:
        return self.public.get(price, 0) + sum(size for at, size in self.own.values() if at == price)

    def tell(self, price: int, *, changed_by_others: bool, lag_ns: int = 0) -> None:
        at_ns = self.now_ns
        row = event_row(at_ns, at_ns + lag_ns, d.LEVEL, side=d.BID, price=price, qty=self.shown(price))
        self.shown_rows.append(row)
        if changed_by_others:
            alone = self.public.get(price, 0)
            self.public_rows.append(
                event_row(at_ns, at_ns + lag_ns, d.LEVEL, side=d.BID, price=price, qty=alone)
            )

    def snapshot(self) -> None:
        self.later()
        everything = {
            price: self.shown(price) for price in {*self.public, *(p for p, _ in self.own.values())}
        }
        for rows, levels in ((self.shown_rows, everything), (self.public_rows, self.public)):
            found = [(d.BID, price, size) for price, size in sorted(levels.items()) if size]
            rows += snapshot_rows(self.now_ns, self.now_ns, found)

    def others(self, price: int, size: int) -> None:
        self.later()
        if self.public.get(price, 0) != size:
            self.public[price] = size
            self.tell(price, changed_by_others=True)

    def place(self, price: int, size: int, lag_ns: int) -> None:
        self.later()
        self.orders += 1
        order = c.Place(order_id=self.orders, market=0, side=d.BID, price=price, size=size, tif=d.POST_ONLY)
        self.step(commands=(order,))
        self.own[self.orders] = (price, size)
        self.later(SECOND // 20)
        self.tell(price, changed_by_others=False, lag_ns=lag_ns)
        self.step(inputs=(e.Accepted(order_id=self.orders, venue_id=f"v{self.orders}"),))

    def cancel(self, order_id: int, lag_ns: int) -> None:
        self.later()
        price, _ = self.own.pop(order_id)
        self.step(commands=(c.Cancel(order_id=order_id, market=0),))
        self.later(SECOND // 20)
        self.tell(price, changed_by_others=False, lag_ns=lag_ns)
        self.step(inputs=(e.Closed(order_id=order_id, why="none", filled=-1),))

    def reduce(self, order_id: int, left: int, lag_ns: int) -> None:
        self.later()
        price, _ = self.own[order_id]
        self.step(commands=(c.Reduce(order_id=order_id, market=0, remaining=left),))
        self.own[order_id] = (price, left)
        self.later(SECOND // 20)
        self.tell(price, changed_by_others=False, lag_ns=lag_ns)
        self.step(inputs=(e.Reduced(order_id=order_id, remaining=left),))

    def fill(self, order_id: int, size: int, lag_ns: int) -> None:
        """The level moves first, then its trade comes at the same time of the venue."""
        self.later()
        price, rests = self.own[order_id]
        self.own[order_id] = (price, rests - size)
        if rests == size:
            del self.own[order_id]
        self.tell(price, changed_by_others=False, lag_ns=lag_ns)
        trade = event_row(self.now_ns, self.now_ns, d.TRADE, side=d.ASK, price=price, qty=size)
        self.shown_rows.append(trade)
        self.public_rows.append(trade)
        filled = e.Filled(
            trade_id=f"t{len(self.steps)}", order_id=order_id, market=0, side=d.BID, price=price, size=size,
            exch_ns=self.now_ns,
        )  # fmt: skip
        self.step(inputs=(filled,))
        if rests == size:
            self.step(inputs=(e.Closed(order_id=order_id, why="filled", filled=rests),))


PRICES = (4400, 4500)
ACTION = st.tuples(
    st.sampled_from(["others", "others", "place", "place", "cancel", "reduce", "fill", "snapshot"]),
    st.sampled_from(PRICES),
    st.integers(1, 9),
    st.integers(0, SECOND // 10),
)


def play(actions) -> Session:
    session = Session()
    session.snapshot()
    for what, price, n, lag_ns in actions:
        resting = sorted(session.own)
        order = resting[n % len(resting)] if resting else 0
        rests = session.own[order][1] // CONTRACT if order else 0
        if what == "others":
            session.others(price, n * 100 * CONTRACT + 370_000 * (n % 2))
        elif what == "snapshot":
            session.snapshot()
        elif what == "place":
            session.place(price, n * CONTRACT, lag_ns)
        elif order and what == "cancel":
            session.cancel(order, lag_ns)
        elif order and what == "reduce" and rests > 1:
            session.reduce(order, (1 + n % (rests - 1)) * CONTRACT, lag_ns)
        elif order and what == "fill":
            session.fill(order, (1 + n % rests) * CONTRACT, lag_ns)
    return session


@given(st.lists(ACTION, max_size=60))
@settings(max_examples=150, deadline=None)
def test_without_our_orders_the_rows_are_those_of_the_others(actions):
    session = play(actions)
    rows, details = events_of(session.shown_rows), Counter()
    changes = own_changes(session.steps)[("kalshi", "KXA-1")]
    keep = take_out(rows, changes, details)
    rows = rows[keep & ((rows["kind"] != d.SNAPSHOT) | (rows["qty"] > 0))]
    wanted = events_of(session.public_rows)
    wanted = wanted[(wanted["kind"] != d.SNAPSHOT) | (wanted["qty"] > 0)]
    for name in ("exch_ns", "kind", "side", "price", "qty"):
        assert rows[name].tolist() == wanted[name].tolist(), name
    assert (details["own_changes_unseen"], details["own_beyond_shown"]) == (0, 0)


def recorded(tmp_path: Path, session: Session, *, journal: bool = True) -> Path:
    folder = tmp_path / "tapes" / "000000000001-run"
    with Recorder(folder) as recorder:
        recorder.list(0, META)
        recorder.append(events_of(session.shown_rows))
    if journal:
        with Journal.open(tmp_path / "control.db") as kept:
            kept.append(session.steps)
    return folder


@pytest.fixture
def session() -> Session:
    others = [("others", 4400, 5, 0), ("others", 4500, 3, 0)]
    return play(
        [*others, ("place", 4500, 7, 0), ("snapshot", 0, 0, 0), ("fill", 0, 2, 0), ("cancel", 0, 0, 0)]
    )


def test_an_import_beside_its_journal_takes_our_orders_out(tmp_path, session):
    (tape,) = read_without_own(recorded(tmp_path, session))
    check_tape(tape.events, tape.meta)
    levels = tape.events[tape.events["kind"] == d.LEVEL]
    assert [(int(r["price"]), int(r["qty"])) for r in levels] == [(4400, 500_370_000), (4500, 300_370_000)]
    last = tape.events[tape.events["kind"] == d.SNAPSHOT][-2:]
    assert sorted(last["qty"].tolist()) == [300_370_000, 500_370_000]
    assert tape.events["qty"][tape.events["kind"] == d.TRADE].tolist() == [3 * CONTRACT]
    assert tape.meta.quality["own_orders"] == "taken_out"
    assert tape.report.details["own_rows"] > 0


def test_without_a_journal_the_tape_says_that_our_orders_may_be_in_it(tmp_path, session):
    folder = recorded(tmp_path, session, journal=False)
    (tape,) = read_without_own(folder)
    assert tape.meta.quality["own_orders"] == "not_known"
    assert any("no journal" in sentence for sentence in tape.report.defects)
    (whole,) = read(folder)
    assert np.array_equal(whole.events, tape.events)
    assert "own_orders" not in whole.meta.quality


def test_a_market_whose_book_does_not_show_us_is_left_alone(tmp_path, session):
    hidden = msgspec.structs.replace(LISTED, book_includes_own=False)
    session.steps[0] = msgspec.structs.replace(session.steps[0], inputs=(hidden,))
    folder = recorded(tmp_path, session)
    (tape,), (whole,) = read_without_own(folder), read(folder)
    assert np.array_equal(tape.events, whole.events)
    assert tape.meta.quality["own_orders"] == "none"


def test_a_trade_stands_before_the_change_of_its_own_instant(tmp_path):
    session = Session()
    session.others(4500, 10 * CONTRACT)
    session.others(4400, 9 * CONTRACT)
    session.later()
    session.public[4500] = 4 * CONTRACT
    session.tell(4500, changed_by_others=True)
    at_ns = session.now_ns
    session.shown_rows += [
        event_row(at_ns, at_ns, d.LEVEL, side=d.BID, price=4400, qty=12 * CONTRACT),
        event_row(at_ns, at_ns, d.TRADE, side=d.ASK, price=4400, qty=CONTRACT),  # that level grew
        event_row(at_ns, at_ns + 7, d.TRADE, side=d.ASK, price=4500, qty=6 * CONTRACT),
        event_row(at_ns, at_ns, d.TRADE, side=d.BID, price=4500, qty=CONTRACT),  # met the other side
        event_row(at_ns + 1, at_ns, d.TRADE, side=d.ASK, price=4500, qty=2 * CONTRACT),  # another instant
    ]
    (tape,) = read(recorded(tmp_path, session, journal=False))
    order = [(int(r["kind"]), int(r["qty"]) // CONTRACT) for r in tape.events[-6:]]
    level, trade = d.LEVEL, d.TRADE
    assert order == [(trade, 6), (level, 4), (level, 12), (trade, 1), (trade, 1), (trade, 2)]
    assert tape.report.details["trades_moved"] == 1
    assert tape.events["local_ns"][-6] == at_ns + 7
