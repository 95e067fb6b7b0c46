"""Budgets never overspend, pauses keep their bounds, numbers tell every loss, silence is noticed."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import ConfigError
from pr3dict.venues.session import NEVER_NS, Backoff, Reconnects, Seen, Sequences, Silence, TokenBucket

SECOND = 1_000_000_000
STEPS = st.lists(
    st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 40), st.booleans()), min_size=1, max_size=60
)


@given(st.integers(1, 500), st.integers(1, 600), st.integers(0, 100), STEPS)
def test_a_bucket_is_the_slow_fraction_and_keeps_its_reserve(rate, capacity, reserve, steps):
    reserve = min(reserve, capacity - 1)
    bucket, level, now_ns = TokenBucket(rate, capacity, 0, reserve=reserve), Fraction(capacity), 0
    for pause_ns, cost, urgent in steps:
        now_ns += pause_ns
        level = min(Fraction(capacity), level + Fraction(pause_ns * rate, SECOND))
        allowed = level - cost >= (0 if urgent else reserve)
        assert bucket.take(now_ns, cost, urgent=urgent) == allowed
        level -= cost if allowed else 0
        assert bucket.tokens(now_ns) == int(level)


@given(st.integers(1, 500), st.integers(20, 600), st.integers(0, 19), STEPS)
def test_the_wait_is_exact_to_the_nanosecond(rate, capacity, reserve, steps):
    bucket, now_ns = TokenBucket(rate, capacity, 0, reserve=reserve), 0
    for pause_ns, cost, urgent in steps:
        now_ns += pause_ns
        wait_ns = bucket.wait_ns(now_ns, cost, urgent=urgent)
        if wait_ns == NEVER_NS:
            assert cost + (0 if urgent else reserve) > capacity
            continue
        if wait_ns:
            assert not bucket.take(now_ns + wait_ns - 1, cost, urgent=urgent)
        assert bucket.take(now_ns + wait_ns, cost, urgent=urgent)
        now_ns += wait_ns


@given(STEPS)
def test_no_window_ever_spends_more_than_its_rate_and_the_capacity(steps):
    rate, capacity = 100, 100
    bucket, now_ns, spent = TokenBucket(rate, capacity, 0), 0, []
    for pause_ns, cost, _ in steps:
        now_ns += pause_ns
        if bucket.take(now_ns, cost):
            spent.append((now_ns, cost))
    for first, (since_ns, _) in enumerate(spent):
        for until_ns, _ in spent[first:]:
            total = sum(cost for at_ns, cost in spent if since_ns <= at_ns <= until_ns)
            assert total <= capacity + Fraction((until_ns - since_ns) * rate, SECOND)


def test_a_drained_bucket_refills_and_time_that_runs_back_gives_nothing():
    bucket = TokenBucket(100, 100, 5 * SECOND)
    bucket.drain(6 * SECOND)
    assert bucket.tokens(6 * SECOND) == 0
    assert bucket.wait_ns(6 * SECOND, 10) == SECOND // 10
    assert bucket.tokens(2 * SECOND) == 0
    assert bucket.tokens(7 * SECOND) == 100


@pytest.mark.parametrize(("rate", "capacity", "reserve"), [(0, 1, 0), (1, 0, 0), (1, 10, 10), (1, 10, -1)])
def test_a_budget_that_can_never_be_used_is_refused(rate, capacity, reserve):
    with pytest.raises(ConfigError):
        TokenBucket(rate, capacity, 0, reserve=reserve)


@given(st.integers(1, 10**9), st.integers(0, 10**10), st.integers(), st.integers(1, 80))
def test_pauses_double_within_their_bounds_and_repeat_with_their_seed(base_ns, more_ns, seed, count):
    most_ns = base_ns + more_ns
    pauses = [
        [b.next_ns() for _ in range(count)]
        for b in (Backoff(base_ns, most_ns, random.Random(seed).randrange) for _ in range(2))
    ]
    assert pauses[0] == pauses[1]
    for tries, pause_ns in enumerate(pauses[0]):
        nominal_ns = min(base_ns * 2**tries, most_ns)
        assert nominal_ns / 2 <= pause_ns <= nominal_ns


def test_a_backoff_without_bounds_is_refused():
    with pytest.raises(ConfigError):
        Backoff(10, 5, random.Random(1).randrange)


def test_a_link_that_breaks_at_once_earns_no_short_pause():
    links = Reconnects(Backoff(100, 100_000, lambda _: 0), stable_ns=1_000)
    assert [links.down_ns(0), links.down_ns(0)] == [100, 200]
    links.up(500)
    assert links.down_ns(600) == 400  # flapping
    links.up(1_000)
    assert links.down_ns(2_000) == 100  # it stood long enough
    assert links.lost == 2


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), max_size=80))
def test_every_number_is_judged_as_a_plain_list_would(frames):
    tracker, newest = Sequences(), {}
    missed = 0
    for stream, number in frames:
        last = newest.get(stream)
        seen = tracker.check(stream, number)
        if last is None:
            assert seen is Seen.FIRST
        elif number == last:
            assert seen is Seen.REPEAT
        elif number < last:
            assert seen is Seen.REWIND
        else:
            assert seen is (Seen.NEXT if number == last + 1 else Seen.GAP)
            missed += number - last - 1
        newest[stream] = max(number, last or 0)
        assert tracker.last(stream) == newest[stream]
    assert tracker.missed == missed


def test_a_stream_that_begins_anew_has_no_past():
    tracker = Sequences()
    tracker.check(1, 9)
    tracker.check(2, 4)
    tracker.forget(1)
    assert (tracker.check(1, 1), tracker.check(2, 5)) == (Seen.FIRST, Seen.NEXT)
    tracker.clear()
    assert tracker.check(2, 1) is Seen.FIRST


@given(st.integers(-10 * SECOND, 10 * SECOND), st.integers(0, SECOND))
def test_a_wrong_clock_is_not_silence_but_old_news_are(skew_ns, delay_ns):
    start_ns = 1_000 * SECOND
    watch = Silence(5 * SECOND, start_ns)
    for second in range(10):
        now_ns = start_ns + second * SECOND
        watch.heard(now_ns, now_ns + skew_ns - delay_ns)
        assert not watch.is_silent(now_ns)
    frozen_ns = watch.venue_ns
    for second in range(10, 20):  # messages come, and all of them are of the same second
        now_ns = start_ns + second * SECOND
        watch.heard(now_ns, frozen_ns)
        assert watch.is_silent(now_ns) == (second - 9 > 5)


def test_a_new_connection_has_its_time_to_speak():
    watch = Silence(5 * SECOND, 0)
    assert not watch.is_silent(5 * SECOND)
    assert watch.is_silent(5 * SECOND + 1)
    watch.restart(6 * SECOND)
    assert not watch.is_silent(11 * SECOND)
