"""Timelines, clock hours and budgets: every ns of an hour is somewhere, ends of hours and days included."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.programme import Trade, forecast, months
from pr3dict.analytics.uptime import (
    HourUptime,
    Timeline,
    Turn,
    Unseen,
    hours_of,
    product_turns,
    quoted_by_hour,
)
from pr3dict.domain.errors import ConfigError
from pr3dict.risk.programme import ProgrammeConfig

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
MIDNIGHT = 1_778_716_800 * SECOND  # 2026-05-14T00:00:00Z


def programme(**changes):
    return ProgrammeConfig(**({"max_spread": "0.05", "min_size": 10} | changes))


PIECE = 30 * SECOND  # all times of these tests are whole pieces
TURNS = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from(["", "closed", "a", "b", "not_running"])), max_size=10
)
SPANS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 120), st.sampled_from(["feed_down", "feed_stale"])),
    max_size=3,
)
START = MIDNIGHT - HOUR


def timeline(turns, spans=()):
    found = Timeline()
    for at, why in sorted(turns, key=lambda one: one[0]):
        found.note(START + at * PIECE, why)
    found.unseen = [Unseen(START + at * PIECE, START + (at + n) * PIECE, why) for at, n, why in spans]
    return found


@settings(max_examples=60, deadline=None)
@given(TURNS, SPANS, TURNS, st.integers(0, 2), st.integers(0, 59), st.integers(1, 100))
def test_hours_agree_with_a_look_at_every_piece_of_time(first, spans, second, least, offset, after):
    """Two markets over midnight; each piece is asked for how both stood, and counted."""
    config = programme(
        hour_offset_minutes=offset, products=[{"name": "A", "series": ["A"], "min_markets": least}]
    )
    lines = [timeline(first, spans), timeline(second)]
    ends = [0, *(at for at, _ in (*first, *second)), *(at + n for at, n, _ in spans)]
    known_ns = START + (max(ends) + after) * PIECE
    until_ns = known_ns + 1800 * SECOND
    turns = product_turns(config, "A", lines)
    hours = hours_of(config, "A", turns, START, known_ns, until_ns)
    count: dict[int, Counter] = {}
    for at in range(config.hour_start_ns(START), until_ns, PIECE):
        word = slow_word(lines, spans, min(at, known_ns - 1), least)
        word = word if at < known_ns or word == "closed" else "not_running"
        count.setdefault(config.hour_start_ns(at), Counter())[word] += PIECE
    assert [hour.hour_ns for hour in hours] == sorted(count)
    for hour in hours:
        words = count[hour.hour_ns]
        assert hour.quoted_ns == words.pop("", 0)
        assert hour.closed_ns == words.pop("closed", 0)
        assert dict(hour.absent) == dict(words)
        assert hour.quoted_ns + hour.absent_ns + hour.closed_ns + hour.ahead_ns == HOUR
        assert hour.allowance_ns == (HOUR - hour.closed_ns) // 50


def slow_word(lines, spans, at, least):
    """What holds at a moment."""
    words = []
    for k, line in enumerate(lines):
        word = next((turn.why for turn in reversed(line.turns) if turn.at_ns <= at), "not_listed")
        if word != "not_listed":
            held = over(spans if k == 0 else (), at)
            words.append(held if held and word != "closed" else word)
    opened = [word for word in words if word != "closed"]
    if not words:
        return "not_listed"
    if not opened:
        return "closed"
    need = min(least, len(opened)) if least else len(opened)
    quoted = sum(word == "" for word in opened)
    return "" if quoted >= need else next(word for word in opened if word)


def over(spans, at):
    """The span over a moment; of several the one that began last."""
    found = [
        (begin, why) for begin, n, why in spans if START + begin * PIECE <= at < START + (begin + n) * PIECE
    ]
    return max(found)[1] if found else ""


@settings(max_examples=60, deadline=None)
@given(TURNS, st.integers(0, 100))
def test_quoted_time_by_hour_adds_up_to_all_quoted_time(turns, after):
    line = timeline(turns)
    known_ns = START + (max([0, *(at for at, _ in turns)]) + after) * PIECE
    found = quoted_by_hour(programme(), line.turns, known_ns)
    ends = [*(turn.at_ns for turn in line.turns[1:]), known_ns]
    total = sum(end - turn.at_ns for turn, end in zip(line.turns, ends, strict=False) if turn.why == "")
    assert sum(found.values()) == total
    assert all(0 < span <= HOUR and start % HOUR == 0 for start, span in found.items())


def hour(quoted=0, absent=0, closed=0, hour_ns=MIDNIGHT):
    left = HOUR - quoted - absent - closed
    return HourUptime("A", hour_ns, quoted, {"a": absent} if absent else {}, closed, left,
                      programme().allowance_ns(closed))  # fmt: skip


def test_a_budget_of_72_seconds():
    kept = hour(HOUR - 72 * SECOND, 72 * SECOND)
    assert (kept.left_ns, kept.is_breached, kept.uptime) == (0, False, 0.98)
    assert hour(HOUR - 72 * SECOND - 1, 72 * SECOND + 1).is_breached
    half = hour(HOUR // 2 - 37 * SECOND, 37 * SECOND, HOUR // 2)  # closed for half of it: 36 s are allowed
    assert half.is_breached


def test_the_forecast_says_when_the_hour_is_lost():
    """After 20 minutes with 30 s absent, 42 s are left: 28 minutes at that rate, 42 s if absent from now."""
    found = forecast(hour(1170 * SECOND, 30 * SECOND))
    assert found.left_ns == 42 * SECOND
    assert found.if_absent_ns == MIDNIGHT + 1242 * SECOND + 1
    assert found.at_this_rate_ns == MIDNIGHT + 2880 * SECOND + 1
    calm = forecast(hour(3000 * SECOND, 10 * SECOND))
    assert calm.at_this_rate_ns == -1
    late = forecast(hour(3590 * SECOND, 0))
    assert (late.if_absent_ns, late.at_this_rate_ns) == (-1, -1)
    lost = forecast(hour(100 * SECOND, 100 * SECOND))
    assert lost.if_absent_ns == lost.now_ns == MIDNIGHT + 200 * SECOND


def test_months_end_at_midnight_utc_and_their_terms_are_compared():
    may_ends = 1_780_272_000 * SECOND  # 2026-06-01T00:00:00Z
    config = programme(min_monthly_volume=100, min_monthly_markets=2)
    hours = [
        hour(HOUR, hour_ns=may_ends - HOUR),
        hour(0, HOUR, hour_ns=may_ends),
        hour(10, hour_ns=may_ends + HOUR),
    ]
    trades = [
        Trade(may_ends - 1, "A", 0, 99_000_000, 50, 1, maker=True),
        Trade(may_ends, "A", 0, 100_000_000, 50, 2, maker=False),
    ]
    may, june = months(config, hours, trades, {"2026-05": 2, "2026-06": 1})
    assert (may.name, may.hours, may.kept, may.enough_volume, may.enough_markets) == (
        "2026-05",
        1,
        1,
        False,
        True,
    )
    assert (june.name, june.hours, june.kept, june.enough_volume, june.enough_markets) == (
        "2026-06", 1, 0, True, False,
    )  # fmt: skip
    assert june.volume.maker_contracts == 0


def test_a_turn_of_the_same_instant_replaces_the_one_before():
    line = Timeline()
    line.note(5, "a")
    line.note(5, "")
    line.note(7, "")
    assert line.turns == [Turn(5, "")]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"max_spread": 0}, "max_spread"),
        ({"min_size": 0}, "min_size"),
        ({"uptime": 1}, "uptime"),
        ({"reserve_seconds": 72}, "reserve_seconds"),
        ({"bands": [{"up_to": "0.5"}, {"up_to": "0.1"}]}, "bands"),
        ({"products": [{"name": "", "series": ["A"]}]}, "name"),
        ({"products": [{"name": "A"}]}, "series"),
        ({"products": [{"name": "A", "series": ["A"]}] * 2}, "products"),
        ({"may_spend": ["halted"]}, "may_spend"),
    ],
)
def test_terms_that_make_no_sense_are_refused(changes, key):
    with pytest.raises(ConfigError) as error:
        programme(**changes)
    assert error.value.key == key


def test_terms_by_product_and_price():
    config = programme(
        bands=[{"up_to": "0.10", "max_spread": "0.02"}, {"up_to": "0.90", "min_size": 50}],
        products=[{"name": "A", "series": ["KXA"], "tickers": ["KXB-7"], "max_spread": "0.06"},
                  {"name": "rest", "series": ["KXB"]}],
    )  # fmt: skip
    assert [config.product_of(t) for t in ("KXA-1", "KXB-7", "KXB-8", "KXC-1")] == ["A", "A", "rest", ""]
    a, rest = config.terms_of("A"), config.terms_of("rest")
    assert a.band(900, 1100) == (1000, 200, 10_000_000)
    assert a.band(900, 1101) == (9000, 600, 50_000_000)
    assert rest.band(9500, 9700) == (10_000, 500, 10_000_000)
