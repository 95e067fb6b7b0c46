"""The numbers of Polymarket's JSON as exact integers: what a field's type says is what its text must be.

Polymarket writes numbers as decimal text, as JSON numbers and as base units (1/1,000,000 of a dollar or of a
contract, without a point), times in seconds, milliseconds or as ISO text, lists as text that holds JSON, and
what it does not know as an empty text. Each of these habits is a type here, and a field has exactly the
habits that its type names. Everything else is refused; nothing is rounded (but for `Rough`), nothing is
defaulted.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import POLYMARKET_TICKS
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND, PPM_SCALE, QTY_SCALE
from pr3dict.venues.session import NEVER_NS
from pr3dict.venues.wire import NS_PER_MS, Decimals, Prices, Sizes, milliseconds_to_ns, refusal

UNKNOWN: Final = -1  # an empty text stood where a number may be missing
MAX_UINT256: Final = 2**256 - 1
MAX_HUMAN_SIZE: Final = 1_000_000 * QTY_SCALE  # a larger "size" of a nameless order is one in base units
_MS_FROM: Final = 100_000_000_000  # Unix times from here on are milliseconds: in seconds, the year 5138
_MAX_COUNT: Final = 2**53
_MAX_TEXT: Final = 100
_FAR_YEAR: Final = 2255  # later dates mean "without end" and would not fit 64 bits


class Price(int):
    """1/10,000 dollar, from 0 to 1 dollar, sent as text."""


class AnyPrice(int):
    """1/10,000 dollar, from 0 to 1 dollar, sent as text or as a JSON number."""


class Tick(int):
    """A tick size in 1/10,000 dollar that Polymarket has, sent as text or as a JSON number."""


class Size(int):
    """Micro-contracts from 0 up, sent as text."""


class SizeOrEmpty(int):
    """As `Size`; UNKNOWN where the text is empty."""


class AnySize(int):
    """Micro-contracts from 0 up, sent as text or as a JSON number."""


class Units(int):
    """Base units from 0 up (micros, micro-contracts), sent as text or a JSON number without a point."""


class Allowance(int):
    """Base units up to 2**256 - 1, which means "all"."""


class Money(int):
    """Micros from 0 up, sent as text or as a JSON number."""


class Rough(int):
    """Micros from 0 up of a figure that only sorts and selects: finer digits are cut off."""


class Ratio(int):
    """Parts per million from 0 up, sent as text or as a JSON number."""


class CentsSpread(int):
    """1/10,000 dollar, sent in cents as text or as a JSON number."""


class Count(int):
    """A whole number from 0 up, sent as text or as a JSON number."""


class Seconds(int):
    """Ns UTC, sent as Unix seconds, text or number; 0 stays 0."""


class Milliseconds(int):
    """Ns UTC, sent as Unix milliseconds, text or number."""


class Moment(int):
    """Ns UTC, sent as Unix seconds or milliseconds, text or number, or as ISO text (UTC unless it says)."""


class MomentOrEmpty(int):
    """As `Moment`; UNKNOWN where the text is empty."""


class Exact(Decimal):
    """A decimal number that is shown and compared, never computed with: prices finer than any grid."""


class Texts(tuple[str, ...]):
    """A list of texts, sent as such or as text that holds it."""

    __slots__ = ()


class Numbers(tuple[Decimal, ...]):
    """A list of decimal numbers, sent as such or as text that holds it."""

    __slots__ = ()


_prices: Final = Prices("price")
_sizes: Final = Sizes("size")
_money: Final = Decimals("amount", 6)
_ratios: Final = Decimals("ratio", 6)
_cents: Final = Decimals("spread", 2)
_PLAIN: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,50})?")
_SMALL: Final = re.compile(r"(-?[0-9](?:\.[0-9]{1,20})?)e(-[0-9]{1,2})")
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?)?(?:([Zz])|([+-])(\d\d):?(\d\d)?)?",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _shown(value: object) -> str:
    return repr(value)[:40]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a decimal number as text, got {_shown(value)}")


def _plain(value: object) -> str:
    """Text or JSON number as plain decimal text; the shortest text of a number is what was sent."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value) if abs(value) < 10**30 else "too large"
    if type(value) is float:
        text = repr(value)
        return f"{Decimal(text):f}" if _SMALL.fullmatch(text) else text
    raise ValueError(f"expected a decimal number, got {_shown(value)}")


def _positive(value: int, shown: object) -> int:
    if value < 0:
        raise ValueError(f"{_shown(shown)} is negative; it can't be")
    return value


def _whole(value: object, most: int = _MAX_COUNT) -> int:
    if type(value) is int:
        number = value
    elif isinstance(value, str) and len(value) <= _MAX_TEXT and value.isascii() and value.isdecimal():
        number = int(value)
    else:
        raise ValueError(f"expected a whole number, got {_shown(value)}")
    if not 0 <= number <= most:
        raise ValueError(f"{_shown(value)} is no whole number from 0 to {most}")
    return number


def _tick(value: object) -> int:
    tick = _prices[_plain(value)]
    if tick not in POLYMARKET_TICKS:
        raise ValueError(f"{_shown(value)} is no tick size that Polymarket has")
    return tick


def _rough(value: object) -> int:
    return _positive(int(_exact(value) * MONEY_SCALE), value)


def _exact(value: object) -> Decimal:
    text = _plain(value)
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"expected a decimal number, got {_shown(value)}")
    return Decimal(text)


def _ratio(value: object) -> int:
    ppm = _ratios[_plain(value)]
    if not 0 <= ppm <= 1000 * PPM_SCALE:
        raise ValueError(f"{_shown(value)} is no ratio from 0 up")
    return ppm


def _seconds(value: object) -> int:
    number = _whole(value)
    if number >= _MS_FROM // 10:
        raise ValueError(f"{number} is not a time in Unix seconds")
    return number * NS_PER_SECOND


def _milliseconds(value: object) -> int:
    number = _whole(value)
    if number < _MS_FROM:
        raise ValueError(f"{number} is not a time in Unix milliseconds")
    return milliseconds_to_ns(number, "time")


def _moment(value: object) -> int:
    if type(value) is int or (isinstance(value, str) and value.isdecimal()):
        number = _whole(value)
        if number == 0:
            raise ValueError("0 is no time")
        return _milliseconds(number) if number >= _MS_FROM else _seconds(number)
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"expected a time like 2026-11-22T13:46:20Z, got {_shown(value)}")
    day, clock, fraction, _, sign, hours, minutes = found.groups()
    year = date.fromisoformat(day).year
    if year > _FAR_YEAR:
        return NEVER_NS
    if year < _EPOCH.year or int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise ValueError(f"{_shown(value)} is no time from 1970 on")
    at = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}").replace(tzinfo=UTC)
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        at = at - offset if sign == "+" else at + offset
    ns = (at - _EPOCH) // timedelta(seconds=1) * NS_PER_SECOND + int((fraction or "0").ljust(9, "0"))
    if ns <= 0:
        raise ValueError(f"{_shown(value)} is no time from 1970 on")
    return ns


def _list(value: object) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise ValueError(f"expected a list, as such or as JSON in a text, got {_shown(value)}") from None
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {_shown(value)}")  # noqa: TRY004 - what msgspec wants
    return value


def _texts(value: object) -> list[str]:
    found = _list(value)
    if not all(isinstance(item, str) for item in found):
        raise ValueError(f"expected a list of texts, got {_shown(value)}")
    return found


_READERS: Final[dict[type, Any]] = {
    Price: lambda v: _prices[_text(v)],
    AnyPrice: lambda v: _prices[_plain(v)],
    Tick: _tick,
    Size: lambda v: _sizes[_text(v)],
    SizeOrEmpty: lambda v: UNKNOWN if v == "" else _sizes[_text(v)],
    AnySize: lambda v: _sizes[_plain(v)],
    Units: lambda v: _whole(v, 2**62),
    Allowance: lambda v: _whole(v, MAX_UINT256),
    Money: lambda v: _positive(_money[_plain(v)], v),
    Rough: _rough,
    Ratio: _ratio,
    CentsSpread: lambda v: _positive(_cents[_plain(v)], v),
    Count: _whole,
    Seconds: _seconds,
    Milliseconds: _milliseconds,
    Moment: _moment,
    MomentOrEmpty: lambda v: UNKNOWN if v == "" else _moment(v),
    Exact: _exact,
    Texts: _texts,
    Numbers: lambda v: [_exact(item) for item in _list(v)],
}


def read_number(kind: type, value: object) -> Any:
    """Msgspec's `dec_hook`: a value of `kind`; `ValueError` says what the value should have been."""
    reader = _READERS.get(kind)
    if reader is None:
        raise NotImplementedError(f"no reader for {kind.__name__}")
    try:
        return kind(reader(value))
    except DataError as error:
        raise ValueError(error.message) from None


Model = TypeVar("Model")


class Reader(msgspec.Struct, frozen=True):
    """Decodes bodies of one type; made by `reader_of`."""

    decoder: Any

    def __call__(self, raw: bytes) -> Any:
        """The body; raises `DataError` with field and value for what its type forbids."""
        try:
            return self.decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise refuse(raw, error) from None
        except (RecursionError, UnicodeDecodeError) as error:
            raise DataError(f"message is not JSON that can be read ({type(error).__name__})") from None


def refuse(raw: bytes, error: msgspec.DecodeError) -> DataError:
    """As `wire.refusal`, for bodies whose JSON itself may be broken."""
    try:
        return refusal(raw, error)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        return DataError(f"message is not JSON: {str(error)[:80]}: {raw[:80]!r}")


def reader_of(kind: Any) -> Reader:
    """A reader of bodies of type `kind`."""
    return Reader(msgspec.json.Decoder(kind, dec_hook=read_number, strict=True))


def human_sizes(original: int, *others: int, sent: int | None = None) -> tuple[int, ...]:
    """Sizes of one order in micro-contracts, whichever unit the venue wrote them in.

    `original` and `others` were read as contracts. Where we know what we `sent`, they must be that size as it
    stands or as base units; without it, a size that nobody has (a million contracts or more) is one in base
    units. UNKNOWN stays UNKNOWN. Raises `DataError` when no unit fits.
    """
    sizes = (original, *others)
    if sent is not None:
        if original == sent:
            return sizes
        if original != sent * QTY_SCALE:
            what = f"the venue says {original}, we sent {sent} micro-contracts"
            raise DataError(what, key="original_size")
    elif original < MAX_HUMAN_SIZE:
        return sizes
    if any(size > 0 and size % QTY_SCALE for size in sizes):
        raise DataError("a size in base units has a fraction", key="original_size")
    return tuple(size if size == UNKNOWN else size // QTY_SCALE for size in sizes)


# --- the way out ----------------------------------------------------------------------------------


def seconds(ns: int) -> int:
    """Unix seconds, down."""
    return ns // NS_PER_SECOND


def milliseconds(ns: int) -> int:
    """Unix milliseconds, down."""
    return ns // NS_PER_MS
