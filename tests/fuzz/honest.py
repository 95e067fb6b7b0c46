"""What a text honestly says, read slowly by other means than the product: `json`, `Decimal`, one rule a type.

A number that the product takes from a message must be the one that is found here. Where a key stands twice
in an object, either of its values is honest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec

MAX_NS: Final = 9_000_000_000 * 10**9
ABSENT: Final = object()
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_MOMENT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()


class Lie(Exception):
    """A text does not say what was taken from it; the message says how."""


def readings(raw: bytes, *, strict: bool = False) -> list[Any]:
    """The values that a text may mean: one, or two where keys stand twice; none where it is no JSON.

    What nobody takes anything from may hold bytes that are no text, unless it is read `strict`ly.
    """
    found: list[Any] = []
    for keep in (dict, lambda pairs: dict(reversed(pairs))):
        try:
            value = _loads(raw, keep, strict=strict)
            if strict:
                json.dumps(value, ensure_ascii=False, default=str).encode()  # refuses half a character
        except (ValueError, RecursionError):
            continue
        if value not in found:
            found.append(value)
    return found


def _loads(raw: bytes, keep: Any, *, strict: bool) -> Any:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        if strict:
            raise
        text = raw.decode(errors="replace")
    return json.loads(
        text, parse_float=_double if strict else Decimal, parse_int=_short if strict else _whole,
        parse_constant=_no_number, object_pairs_hook=keep, strict=strict,
    )  # fmt: skip


def _short(text: str) -> int:
    if len(text) >= 4000:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _double(text: str) -> Decimal:
    if float(text) in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is larger than what JSON's readers have in common")
    return Decimal(text)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _whole(text: str) -> Any:
    return int(text) if len(text) < 4000 else Decimal(text)


def decimal(value: Any, places: int) -> int:
    """A decimal text in units of 10**-places."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise Lie(f"{str(value)[:60]!r} is no decimal text")
    scaled = Decimal(value).scaleb(places)
    if scaled != scaled.to_integral_value() or abs(scaled) >= Decimal(10) ** (12 + places):
        raise Lie(f"{value[:60]!r} is no number of {places} places that fits")
    return int(scaled)


def price(value: Any) -> int:
    """From 0 to 10,000."""
    return _within(decimal(value, 4), 0, 10_000)


def resting_price(value: Any) -> int:
    """Inside 0 and 10,000."""
    return _within(decimal(value, 4), 1, 9_999)


def size(value: Any) -> int:
    """Micro-contracts from 0 up."""
    return _within(decimal(value, 6), 0, 10**18)


def integer(value: Any) -> int:
    """A JSON number without a fraction."""
    if type(value) is Decimal and value.is_finite() and value.adjusted() < 30 and value == int(value):
        return int(value)
    if type(value) is not int:
        raise Lie(f"{str(value)[:60]!r} is no whole number")
    return value


def whole(value: Any) -> int:
    """One that every reader of JSON keeps exactly."""
    if abs(integer(value)) >= 2**53:
        raise Lie(f"{str(value)[:60]!r} is too large")
    return integer(value)


def milliseconds(value: Any) -> int:
    """Unix milliseconds as ns."""
    return _within(whole(value), 1, 9 * 10**12 - 1) * 10**6


def moment(value: Any) -> int:
    """RFC 3339 as ns."""
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Lie(f"{str(value)[:60]!r} is no time")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError as error:
        raise Lie(str(error)) from None
    if hour > 23 or minute > 59 or second > 59:
        raise Lie(f"{value!r} is no time of a day")
    at_s = days * 86_400 + hour * 3600 + minute * 60 + second
    if found[8]:
        shift_s = int(found[9]) * 3600 + int(found[10]) * 60
        at_s += -shift_s if found[8] == "+" else shift_s
    return _within(at_s * 10**9 + int((found[7] or "0").ljust(9, "0")[:9]), 0, MAX_NS - 1)


def ratio(value: Any) -> int:
    """Parts per million; of a JSON number as many decimals count as a double has."""
    if isinstance(value, str):
        return _within(decimal(value, 6), 0, 10**9)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Lie(f"{value!r} is no ratio")
    return _within(round(Decimal(repr(float(value))).scaleb(6)), 0, 10**9)


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise Lie(f"{value} is not from {low} to {high}")
    return value


MEANINGS: Final[dict[str, Any]] = {
    "Price": price,
    "Size": size,
    "SignedSize": lambda v: decimal(v, 6),
    "Money": lambda v: decimal(v, 6),
    "Cents": lambda v: whole(v) * 10_000,
    "Amount": lambda v: decimal(v, 6) if isinstance(v, str) else whole(v) * 10_000,
    "CentiCents": lambda v: whole(v) * 100,
    "Count": lambda v: _within(whole(v), 0, 2**53),
    "Ratio": ratio,
    "Moment": moment,
    "MomentMs": milliseconds,
    "MomentS": lambda v: _within(whole(v), 1, 8_999_999_999) * 10**9,
}


def check_model(model: Any, said: Any, where: str = "", meanings: Mapping[str, Any] = MEANINGS) -> None:
    """Every value of a model is what the message says at its place; raises `Lie`.

    `meanings`: how each type of number reads, by the type's name.
    """
    if isinstance(model, msgspec.Struct):
        if not isinstance(said, dict):
            raise Lie(f"{where or 'message'} is no object")
        for field in msgspec.structs.fields(model):
            got, told = getattr(model, field.name), said.get(field.encode_name, ABSENT)
            if told is ABSENT:
                if got != field.default:
                    raise Lie(f"{where}.{field.name} is absent and became {got!r}")
            else:
                check_model(got, told, f"{where}.{field.name}", meanings)
        return
    meaning = meanings.get(type(model).__name__)
    if meaning is not None:
        if meaning(said) != model:
            raise Lie(f"{where} says {str(said)[:60]!r} and became {model!r}")
    elif isinstance(model, tuple | list):
        if not isinstance(said, list) or len(said) != len(model):
            raise Lie(f"{where} is no list of {len(model)}")
        for place, (one, told) in enumerate(zip(model, said, strict=True)):
            check_model(one, told, f"{where}[{place}]", meanings)
    elif isinstance(model, float):
        if isinstance(said, bool) or not isinstance(said, int | Decimal) or float(said) != model:
            raise Lie(f"{where} says {said!r} and became {model!r}")
    elif isinstance(model, dict | msgspec.Raw):
        return  # a message's own part that nobody reads, or that is read by itself
    elif type(model) is not type(said) or model != said:
        raise Lie(f"{where} says {str(said)[:60]!r} and became {str(model)[:60]!r}")


def any_reading(raw: bytes, check: Any) -> None:
    """`check` holds for one of the readings of a text; raises the `Lie` of the last one."""
    lie = Lie("no JSON")
    for value in readings(raw):
        try:
            check(value)
        except Lie as error:
            lie = error
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            lie = Lie(f"{type(error).__name__}: {error}")
        else:
            return
    raise lie
