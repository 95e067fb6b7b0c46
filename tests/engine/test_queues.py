"""What venues say of our places in their queues: shown with its time, kept over a restart, never acted on."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from engine_cases import START, Desk

from pr3dict.domain import events as e
from pr3dict.engine.recovery import Snapshot
from pr3dict.runtime.status import moment, status_of

SECOND = 1_000_000_000


def read(at_ns, *positions):
    places = tuple(e.QueueAhead(*place) for place in positions)
    return e.QueueRead(venue="kalshi", asked_ns=at_ns - 5, as_of_ns=at_ns, positions=places)


def shown(engine):
    return {
        order.order_id: (order.queue_ahead, order.queue_ns)
        for market in engine.view().markets
        for order in market.orders
    }


def quoted():
    desk = Desk()
    orders = desk.quote()
    desk.accept(1.1, orders)
    return desk, [order.order_id for order in orders]


def test_the_newest_figure_is_shown_as_of_the_venues_last_word():
    desk, (first, second, *_) = quoted()
    assert set(shown(desk.engine).values()) == {(-1, 0)}
    step = desk.at(2, read(START + 7, (first, 5_000_000), (second, 0), (999, 1)))
    assert not step.commands and not step.derived and not step.quotes
    desk.at(3, read(START + 9, (second, 1)))
    orders = shown(desk.engine)
    assert orders[first] == (5_000_000, START + 9) and orders[second] == (1, START + 9)
    told = {order["order_id"]: order for order in status_of(desk.engine.view())["orders"]}
    assert told[first]["queue_ahead"] == "5" and told[first]["queue_as_of"] == moment(START + 9)
    others = [order for order_id, order in told.items() if order_id not in (first, second)]
    assert all(order["queue_ahead"] is None and order["queue_as_of"] is None for order in others)
    desk.at(4, e.Closed(order_id=first, why="none", filled=0))
    assert first not in shown(desk.engine)
    assert first not in msgspec.msgpack.decode(desk.engine.save(), type=Snapshot).queues.ahead


def test_state_and_snapshot_are_as_before_without_a_word_and_hold_it_after_one():
    desk, (first, *_) = quoted()
    before, state = desk.engine.save(), desk.engine.state_hash()
    kept = msgspec.msgpack.decode(before)
    assert "queues" not in kept
    desk.at(2, read(START + 7, (first, 5)))
    twin, _ = quoted()
    twin.at(2)
    assert desk.engine.state_hash() == twin.engine.state_hash() and state
    restored = desk.new_engine()
    restored.load(desk.engine.save())
    assert shown(restored)[first] == (5, START + 7)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.integers(0, 3), st.integers(0, 10**9)),
            st.tuples(st.just("close"), st.integers(0, 3), st.just(0)),
        ),
        max_size=12,
    )
)
def test_a_fold_knows_what_the_process_knew(moves):
    desk, ids = quoted()
    for number, (what, which, ahead) in enumerate(moves):
        order_id = ids[which % len(ids)]
        at = 2 + number
        if what == "read":
            desk.at(at, read(START + at, (order_id, ahead)))
        else:
            desk.at(at, e.Closed(order_id=order_id, why="none", filled=0))
    folded = desk.new_engine()
    for step in desk.steps:
        if not step.is_empty:
            folded.fold(step)
    assert folded.save() == desk.engine.save()
