from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.order import (
    CLOSED_STATES,
    ORDER_TRANSITIONS,
    Order,
    OrderEvent,
    OrderState,
    advance,
)

S, E = OrderState, OrderEvent


def an_order(**changes: Any) -> Order:
    fields: dict[str, Any] = {"id": "o1", "market": "M", "side": 0, "price": 4_500, "size": 10_000_000}
    return Order(**(fields | changes))


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_advance_follows_the_table_and_names_what_it_refuses(state: OrderState, event: OrderEvent) -> None:
    after = ORDER_TRANSITIONS[state].get(event)
    if after is None:
        with pytest.raises(WorkError, match=f"is {state.value} cannot take the event {event.value}"):
            advance(state, event)
    else:
        assert advance(state, event) is after


@pytest.mark.parametrize("state", [s for s in S if s in CLOSED_STATES])
def test_a_closed_order_never_reopens(state: OrderState) -> None:
    assert set(ORDER_TRANSITIONS[state].values()) == {state}


@pytest.mark.parametrize("state", [s for s in S if s not in CLOSED_STATES])
def test_every_open_order_can_end(state: OrderState) -> None:
    reached, frontier = {state}, [state]
    while frontier:
        for after in ORDER_TRANSITIONS[frontier.pop()].values():
            if after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached & CLOSED_STATES


@pytest.mark.parametrize("state", [S.INTENT, S.SENT, S.LIVE, S.CANCEL_IN_FLIGHT, S.UNKNOWN])
def test_a_lost_answer_makes_the_order_unknown(state: OrderState) -> None:
    assert advance(state, E.ANSWER_LOST) is S.UNKNOWN


def test_a_cancel_into_the_dark_proves_nothing() -> None:
    unknown = an_order().on(E.SEND).on(E.ANSWER_LOST)
    assert unknown.on(E.CANCEL_SENT).state is S.UNKNOWN
    assert unknown.on(E.CANCEL_SENT).exposed == unknown.size
    assert unknown.on(E.NOT_FOUND).state is S.REJECTED


def test_a_fill_may_come_before_the_answer() -> None:
    order = an_order().on(E.SEND).fill(4_000_000)
    assert (order.state, order.remaining) == (S.LIVE, 6_000_000)
    assert order.on(E.ACK).state is S.LIVE


@pytest.mark.parametrize("end", [E.CANCEL, E.EXPIRE])
def test_a_late_fill_counts_but_does_not_reopen(end: OrderEvent) -> None:
    closed = an_order().on(E.SEND).on(E.ACK).on(end)
    late = closed.fill(3_000_000)
    assert late.state is closed.state
    assert late.filled == 3_000_000
    assert late.exposed == 0
    assert late.fill(7_000_000).state is closed.state


def test_an_intent_may_have_been_sent_by_a_process_that_died_before_it_could_say_so() -> None:
    intent = an_order()
    assert intent.exposed == intent.size
    assert intent.on(E.ACK).state is intent.fill(1).state is S.LIVE
    assert intent.on(E.ANSWER_LOST).state is S.UNKNOWN


@pytest.mark.parametrize("state", [s for s in S if s not in CLOSED_STATES])
def test_what_is_gone_is_closing_and_counts_until_its_fills_are_read(state: OrderState) -> None:
    closing = an_order(state=state).on(E.GONE)
    assert closing.state is S.CLOSING
    assert closing.exposed == closing.size
    assert closing.fill(4_000_000).state is S.CLOSING
    assert closing.on(E.ACK).state is S.CLOSING  # it left the book: nothing makes it live again
    assert closing.fill(10_000_000).state is S.FILLED
    assert closing.on(E.CANCEL).state is S.CANCELLED
    assert closing.on(E.EXPIRE).state is S.EXPIRED
    with pytest.raises(WorkError, match="closing cannot take the event reject"):
        closing.on(E.REJECT)


def test_a_refused_cancel_leaves_the_order_live() -> None:
    live = an_order().on(E.SEND).on(E.ACK)
    assert live.on(E.CANCEL_SENT).on(E.CANCEL_REJECT).state is S.LIVE


def test_a_rejected_order_cannot_fill() -> None:
    with pytest.raises(WorkError, match="rejected"):
        an_order().on(E.SEND).on(E.REJECT).fill(1)


@pytest.mark.parametrize("event", [E.FILL, E.PARTIAL_FILL])
def test_a_fill_needs_its_size(event: OrderEvent) -> None:
    with pytest.raises(WorkError, match="needs its size"):
        an_order().on(E.SEND).on(event)


@given(st.lists(st.integers(1, 5_000_000), max_size=8))
def test_fills_add_up_and_never_exceed_the_order(sizes: list[int]) -> None:
    order = an_order().on(E.SEND).on(E.ACK)
    done = 0
    for size in sizes:
        if done + size > order.size:
            with pytest.raises(WorkError, match="does not fit"):
                order.fill(size)
            continue
        order = order.fill(size)
        done += size
    assert order.filled == done
    assert order.exposed == order.size - done
    assert (order.state is S.FILLED) == (done == order.size)


def test_reducing_leaves_something_to_fill() -> None:
    order = an_order().on(E.SEND).on(E.ACK).fill(4_000_000)
    assert order.reduce(5_000_000).remaining == 1_000_000
    for size in (4_000_000, 10_000_001, 0):
        with pytest.raises(WorkError, match="cannot reduce"):
            order.reduce(size)
    with pytest.raises(WorkError, match="cancelled"):
        order.on(E.CANCEL).reduce(5_000_000)


@pytest.mark.parametrize(
    "changes",
    [{"side": 2}, {"price": 0}, {"price": 10_000}, {"size": 0}, {"filled": -1}, {"filled": 10_000_001}],
)
def test_an_impossible_order_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(DataError, match="order o1"):
        an_order(**changes)
