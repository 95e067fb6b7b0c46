"""The schedule against New York's clock, minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.venues.kalshi.hours import LEAD_NS, NEW_YORK, OVERLAP_NS, is_break_near, trades_at
from pr3dict.venues.kalshi.models import Schedule, ScheduleAnswer
from pr3dict.venues.kalshi.numbers import reader_of

SECOND = 1_000_000_000
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def schedule(windows=(), **days) -> Schedule:
    whole = [{"open_time": "00:00", "close_time": "00:00"}]
    hours = dict.fromkeys(DAYS, whole) | days
    hours |= {"start_time": "2026-01-01T00:00:00Z", "end_time": "2027-01-01T00:00:00Z"}
    body = {"schedule": {"standard_hours": [hours], "maintenance_windows": list(windows)}}
    return reader_of(ScheduleAnswer)(msgspec.json.encode(body)).schedule


THURSDAY = [{"open_time": "00:00", "close_time": "03:00"}, {"open_time": "05:00", "close_time": "00:00"}]


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


@given(st.integers(0, 360 * 86_400))
def test_the_weekly_pause_is_at_the_same_hour_in_new_york_all_year(second):
    moment = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=second)
    local = moment.astimezone(NEW_YORK)
    open_ = not (local.weekday() == 3 and 3 <= local.hour < 5)
    assert trades_at(schedule(thursday=THURSDAY), ns(moment)) == open_


def test_a_break_is_near_from_a_minute_before_it_until_the_status_says_more():
    start = datetime(2026, 11, 17, 12, 0, tzinfo=UTC)
    window = {"start_datetime": "2026-11-17T12:00:00Z", "end_datetime": "2026-11-17T13:00:00Z"}
    told = schedule(windows=[window])
    near = [s for s in range(-120, 120) if is_break_near(told, ns(start) + s * SECOND)]
    assert near == list(range(-LEAD_NS // SECOND, OVERLAP_NS // SECOND))
    after = ns(start + timedelta(hours=1))
    assert trades_at(told, after) and not trades_at(told, after - SECOND)
    assert not is_break_near(told, after)


def test_without_hours_for_a_time_nothing_is_held_back():
    assert trades_at(Schedule(), 1) and not is_break_near(Schedule(), 1)
    assert trades_at(schedule(thursday=THURSDAY), ns(datetime(2028, 11, 16, 8, 30, tzinfo=UTC)))


@pytest.mark.parametrize("text", ["", "3", "aa:bb", "25:00", "03:61", "-1:00"])
def test_an_hour_that_is_none_is_refused(text):
    told = schedule(thursday=[{"open_time": text, "close_time": "05:00"}])
    with pytest.raises(DataError, match="hour"):
        trades_at(told, ns(datetime(2026, 11, 19, 12, tzinfo=UTC)))
