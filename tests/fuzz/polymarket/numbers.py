"""What Polymarket's numbers honestly say: decimal text, JSON numbers, base units, times in four forms."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

from fuzz import honest
from fuzz.honest import Lie

UNKNOWN: Final = -1
MS_FROM: Final = 100_000_000_000
FAR_NS: Final = 2**63 - 1
TICKS: Final = (1_000, 100, 50, 25, 10, 1)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2})?)?"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()


def plain(value: Any) -> Decimal:
    """Decimal text, or a JSON number: of that as many decimals count as a double has."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise Lie(f"{value[:60]!r} is no decimal text")
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Lie(f"{str(value)[:60]!r} is no number")
    return Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))


def scaled(value: Any, places: int) -> int:
    """In units of 10**-places, from 0 up."""
    found = plain(value).scaleb(places)
    if found != found.to_integral_value() or not 0 <= found < Decimal(10) ** (12 + places):
        raise Lie(f"{str(value)[:60]!r} is no number of {places} places that fits")
    return int(found)


def text(value: Any) -> Any:
    """A text."""
    if not isinstance(value, str):
        raise Lie(f"{str(value)[:60]!r} is no text")
    return value


def price(value: Any) -> int:
    """From 0 to 10,000."""
    found = scaled(value, 4)
    if found > 10_000:
        raise Lie(f"{value!r} is more than a dollar")
    return found


def whole(value: Any, most: int = 2**53) -> int:
    """From 0 up, text of digits or a JSON number."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,100}", value):
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        raise Lie(f"{str(value)[:60]!r} is no whole number")
    return value


def seconds(value: Any) -> int:
    """Unix seconds as ns."""
    found = whole(value)
    if found >= MS_FROM // 10:
        raise Lie(f"{found} is no time in seconds")
    return found * 10**9


def milliseconds(value: Any) -> int:
    """Unix milliseconds as ns."""
    found = whole(value)
    if not MS_FROM <= found < 9 * 10**12:
        raise Lie(f"{found} is no time in milliseconds")
    return found * 10**6


def stream_ms(value: Any) -> int:
    """A time of the streams: text of digits, as ns."""
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,15}", value):
        raise Lie(f"{str(value)[:40]!r} is no time of a stream")
    if not 0 < int(value) < 9 * 10**12:
        raise Lie(f"{value} is no time of a stream")
    return int(value) * 10**6


def moment(value: Any) -> int:
    """Seconds, milliseconds or ISO text, UTC unless it says otherwise."""
    if type(value) is int or (isinstance(value, str) and re.fullmatch("[0-9]+", value)):
        number = whole(value)
        if not number:
            raise Lie("0 is no time")
        return milliseconds(number) if number >= MS_FROM else seconds(number)
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Lie(f"{str(value)[:60]!r} is no time")
    year, month, day = (int(part) for part in found.groups()[:3])
    hour, minute, second = (int(part or 0) for part in found.groups()[3:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError as error:
        raise Lie(str(error)) from None
    if hour > 23 or minute > 59 or second > 59:
        raise Lie(f"{value!r} is no time of a day")
    if year > 2255:
        return FAR_NS
    at_s = days * 86_400 + hour * 3600 + minute * 60 + second
    if found[8]:
        shift_s = int(found[9]) * 3600 + int(found[10] or 0) * 60
        at_s += -shift_s if found[8] == "+" else shift_s
    at_ns = at_s * 10**9 + int((found[7] or "0").ljust(9, "0")[:9])
    if at_ns <= 0 or year < 1970:
        raise Lie(f"{value!r} is before 1970")
    return at_ns


def _or_empty(read: Any) -> Any:
    return lambda value: UNKNOWN if value == "" else read(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise Lie("a text that holds no list") from None
    if not isinstance(value, list):
        raise Lie("no list")
    return value


def tick(value: Any) -> int:
    """A tick that there is."""
    found = price(value)
    if found not in TICKS:
        raise Lie(f"{value!r} is no tick")
    return found


MEANINGS: Final[dict[str, Any]] = {
    "Price": lambda v: price(text(v)),
    "AnyPrice": price,
    "Tick": tick,
    "Size": lambda v: scaled(text(v), 6),
    "SizeOrEmpty": _or_empty(lambda v: scaled(text(v), 6)),
    "AnySize": lambda v: scaled(v, 6),
    "Units": lambda v: whole(v, 2**62),
    "Allowance": lambda v: whole(v, 2**256 - 1),
    "Money": lambda v: scaled(v, 6),
    "Rough": lambda v: int(plain(v).scaleb(6)),
    "Ratio": lambda v: honest._within(scaled(v, 6), 0, 10**9),
    "CentsSpread": lambda v: scaled(v, 2),
    "Count": whole,
    "Seconds": seconds,
    "Milliseconds": milliseconds,
    "Moment": moment,
    "MomentOrEmpty": _or_empty(moment),
    "Exact": plain,
    "Texts": lambda v: tuple(text(item) for item in _list(v)),
    "Numbers": lambda v: tuple(plain(item) for item in _list(v)),
}
