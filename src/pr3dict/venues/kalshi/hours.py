"""Kalshi's announced breaks: the weekly pause and maintenance windows, so that nothing rests when they begin.

The schedule only says when a break is near; whether the exchange trades is what `/exchange/status` says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.models import DayHours, Schedule

NEW_YORK: Final = ZoneInfo("America/New_York")
LEAD_NS: Final = 60 * NS_PER_SECOND  # quotes are out of the book this long before a break
OVERLAP_NS: Final = 15 * NS_PER_SECOND  # by then the exchange's status has been asked for
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY: Final = 24 * 60


def trades_at(schedule: Schedule, at_ns: int) -> bool:
    """Whether the schedule has the exchange trade at a time; without hours for that time it does.

    Raises:
        DataError: an hour is not written as HH:MM.
    """
    if any(w.start_datetime <= at_ns < w.end_datetime for w in schedule.maintenance_windows):
        return False
    weeks = [week for week in schedule.standard_hours if week.start_time <= at_ns < week.end_time]
    if not weeks:
        return True
    local = datetime.fromtimestamp(at_ns // NS_PER_SECOND, UTC).astimezone(NEW_YORK)
    minute = local.hour * 60 + local.minute
    hours: tuple[DayHours, ...] = getattr(weeks[-1], _DAYS[local.weekday()])
    return any(_minute(h.open_time) <= minute < (_minute(h.close_time) or _DAY) for h in hours)


def is_break_near(schedule: Schedule, now_ns: int) -> bool:
    """Whether an announced break begins within `LEAD_NS`, or began within the last `OVERLAP_NS`."""
    return trades_at(schedule, now_ns - OVERLAP_NS) and not trades_at(schedule, now_ns + LEAD_NS)


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (
        colon
        and text.isascii()
        and hour.isdecimal()
        and minute[:2].isdecimal()
        and int(hour) <= 24
        and int(minute[:2]) < 60
    ):
        raise DataError(f"{text!r} is no hour like 03:00", key="standard_hours")
    return (int(hour) * 60 + int(minute[:2])) % _DAY
