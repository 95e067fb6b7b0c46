"""Queue position: the known answer, the published formulas, and what bounds every model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_reference as ref
from pr3dict.kernels import queue

CONTRACT = 1_000_000
MODELS = range(d.QUEUE_RISK_AVERSE, d.QUEUE_OPTIMISTIC + 1)
BETWEEN = range(d.QUEUE_POWER, d.QUEUE_LOG2 + 1)

contracts = st.floats(0.001, 1e6)
powers = st.sampled_from([1.0, 2.0, 3.0, 0.5])
sizes = st.integers(0, 10**9)


def order_at(front):
    order = np.zeros(1, d.EXCHANGE_ORDER)[0]
    order.front = front
    return order


def test_known_answer():
    # QU-01: events of the level and our place after each, risk-averse.
    order = order_at(0)
    filled, fronts, passed = 0, [], []
    for event, *sizes_of_event in (
        ("new", 100),
        ("trade", 30),
        ("depth", 100, 60),
        ("depth", 60, 90),
        ("trade", 65),
    ):
        before = int(order.front)
        if event == "new":
            order.front = sizes_of_event[0]
        elif event == "trade":
            reached = int(queue.queue_after_trade(order, sizes_of_event[0], sizes_of_event[0]))
            filled += reached
            passed.append(before - int(order.front) + reached)
        else:
            queue.queue_after_change(order, *sizes_of_event, d.QUEUE_RISK_AVERSE, 1.0)
        fronts.append(int(order.front) - filled)  # the known answer counts on below zero
    assert fronts == [100, 70, 60, 60, -5]
    assert filled == 5
    assert passed == [30, 65]


@given(contracts, contracts, powers)
def test_probabilities_are_the_published_formulas(front, back, n):
    literal = {
        d.QUEUE_RISK_AVERSE: 1.0,
        d.QUEUE_POWER: back**n / (back**n + front**n),
        d.QUEUE_POWER2: back**n / (back + front) ** n,
        d.QUEUE_POWER3: 1 - (front / (front + back)) ** n,
        d.QUEUE_LOG: math.log(1 + back) / (math.log(1 + back) + math.log(1 + front)),
        d.QUEUE_LOG2: math.log(1 + back) / math.log(1 + back + front),
        d.QUEUE_OPTIMISTIC: 0.0,
    }
    for model, expected in literal.items():
        got = queue.behind_probability(front, back, model, n)
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert 0.0 <= got <= 1.0
    assert len(literal) == len(MODELS)


@given(contracts, contracts, st.sampled_from(BETWEEN), powers)
def test_more_behind_us_makes_a_cancel_behind_likelier(front, back, model, n):
    less = queue.behind_probability(front, back, model, n)
    more = queue.behind_probability(front, 2 * back, model, n)
    assert more >= less - 1e-12


@pytest.mark.parametrize("model", BETWEEN)
def test_first_in_the_queue_and_last_in_the_queue(model):
    assert queue.behind_probability(0.0, 5.0, model, 3.0) == 1.0
    assert queue.behind_probability(5.0, 0.0, model, 3.0) == 0.0


@given(sizes, sizes, sizes, sizes, st.sampled_from(MODELS), powers)
def test_a_change_equals_the_reference(front, old, new, traded, model, n):
    order = order_at(front)
    order.traded = traded
    queue.queue_after_change(order, old, new, model, n)
    assert int(order.front) == ref.front_after_change(front, old, new, traded, model, n)
    assert int(order.traded) == 0


level_events = st.lists(
    st.tuples(st.sampled_from(["trade", "cancel", "add"]), st.integers(1, 60 * CONTRACT)), max_size=20
)


@given(st.integers(0, 100 * CONTRACT), level_events, st.sampled_from(BETWEEN), powers)
def test_between_pessimist_and_optimist_never_negative_never_growing(start, events, model, n):
    places = {m: order_at(start) for m in (d.QUEUE_RISK_AVERSE, model, d.QUEUE_OPTIMISTIC)}
    reached = dict.fromkeys(places, 0)
    shown = start
    for kind, size in events:
        before = {m: int(order.front) for m, order in places.items()}
        if kind == "trade":
            size = min(size, shown)
            for m, order in places.items():
                reached[m] += int(queue.queue_after_trade(order, size, size))
        after = shown + size if kind == "add" else max(shown - size, 0)
        for m, order in places.items():
            queue.queue_after_change(order, shown, after, m, n)
            assert 0 <= int(order.front) <= min(before[m], after)
        shown = after
        pessimist, ours, optimist = (int(order.front) for order in places.values())
        assert pessimist >= ours >= optimist
        pessimist, ours, optimist = reached.values()
        assert pessimist <= ours <= optimist


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_trade_is_shared_between_the_front_and_us(front, traded):
    order = order_at(front)
    reached = int(queue.queue_after_trade(order, traded, traded + 7))
    assert (front - int(order.front)) + reached == traded
    assert reached == 0 or int(order.front) == 0
    assert int(order.traded) == traded + 7


def test_fill_probability_of_the_known_answer():
    # QU-04: A = 0.2, k = 0.6, delta = 1.6754824339446375, T = 30
    found = queue.fill_probability(0.2, 0.6, 1.6754824339446375, 30.0)
    assert found == pytest.approx(0.888711813605, abs=1e-9)


@given(st.floats(1e-6, 10), st.floats(0.01, 100), st.floats(0, 1), st.floats(0, 1e4))
def test_fill_probability_is_one_minus_the_chance_of_no_arrival(arrival_rate, decay, distance, span):
    found = queue.fill_probability(arrival_rate, decay, distance, span)
    rate = arrival_rate * math.exp(-decay * distance)
    assert found == pytest.approx(1 - math.exp(-rate * span), abs=1e-12)
    assert 0 <= found <= min(1.0, rate * span * (1 + 1e-12))
    assert found <= queue.fill_probability(arrival_rate, decay, distance / 2, span) + 1e-15
