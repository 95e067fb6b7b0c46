"""The numbers of Kalshi's JSON as exact integers: what a field's type says is what its text must be.

A field of one of these types is refused when it is absent, null, a JSON number where text is promised (or the
reverse), or out of range. Nothing is rounded and nothing is defaulted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PPM_SCALE
from pr3dict.venues.wire import NS_PER_MS, SIZE_PLACES, Decimals, Prices, Sizes, milliseconds_to_ns, refusal

MONEY_PLACES: Final = 6
MAX_SECONDS: Final = 9_000_000_000
_MAX_COUNT: Final = 2**53


class Price(int):
    """1/10,000 dollar, from 0 to 1 dollar."""


class Size(int):
    """Micro-contracts, from 0 up."""


class SignedSize(int):
    """Micro-contracts; below 0: NO."""


class Money(int):
    """Micros, of either sign."""


class Cents(int):
    """Micros, sent as whole cents."""


class Amount(int):
    """Micros, sent as dollars in text or as whole cents."""


class CentiCents(int):
    """Micros, sent as whole hundredths of a cent."""


class Count(int):
    """A whole number from 0 up."""


class Ratio(int):
    """Parts per million, sent as a JSON number (or text) from 0 up."""


class Moment(int):
    """Ns UTC, sent as RFC 3339 text."""


class MomentMs(int):
    """Ns UTC, sent as Unix milliseconds."""


class MomentS(int):
    """Ns UTC, sent as Unix seconds."""


_prices: Final = Prices("price")
_sizes: Final = Sizes("size")
_signed: Final = Decimals("size", SIZE_PLACES)
_money: Final = Decimals("amount", MONEY_PLACES)
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PPM_TEXT: Final = Decimals("ratio", 6)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a decimal number as text, got {value!r}")


def _whole(value: object) -> int:
    if type(value) is int and abs(value) < _MAX_COUNT:
        return value
    raise ValueError(f"expected a whole number, got {str(value)[:40]!r}")


def _moment(value: object) -> int:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"expected a time like 2026-11-22T13:46:20Z, got {str(value)[:40]!r}")
    base, fraction, _, sign, hours, minutes = found.groups()
    at = datetime.fromisoformat(base[:10] + "T" + base[11:]).replace(tzinfo=UTC)
    passed = at - _EPOCH
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        passed = passed - offset if sign == "+" else passed + offset
    whole_s = passed // timedelta(seconds=1)
    if not 0 <= whole_s < MAX_SECONDS:
        raise ValueError(f"{value} is not a time between 1970 and 2255")
    return whole_s * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def _ratio(value: object) -> int:
    """A JSON number has no exact decimals but its shortest text has: that text counts."""
    text = value if isinstance(value, str) else repr(value) if type(value) in (int, float) else ""
    ppm = _PPM_TEXT[text]
    if ppm < 0 or ppm > 1000 * PPM_SCALE:
        raise ValueError(f"{text} is no ratio from 0 up")
    return ppm


def _count(value: object) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError(f"{number} is negative; a count can't be")
    return number


def _seconds(value: object) -> int:
    number = _whole(value)
    if not 0 < number < MAX_SECONDS:
        raise ValueError(f"{number} is not a time in Unix seconds")
    return number * 1_000_000_000


_READERS: Final[dict[type, Any]] = {
    Price: lambda v: _prices[_text(v)],
    Size: lambda v: _sizes[_text(v)],
    SignedSize: lambda v: _signed[_text(v)],
    Money: lambda v: _money[_text(v)],
    Cents: lambda v: _whole(v) * 10_000,
    Amount: lambda v: _money[v] if isinstance(v, str) else _whole(v) * 10_000,
    CentiCents: lambda v: _whole(v) * 100,
    Count: _count,
    Ratio: _ratio,
    Moment: _moment,
    MomentMs: lambda v: milliseconds_to_ns(_whole(v), "time"),
    MomentS: _seconds,
}


def read_number(kind: type, value: object) -> Any:
    """Msgspec's `dec_hook`: a number of `kind`; `ValueError` says what the value should have been."""
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


# --- the way out ----------------------------------------------------------------------------------


def price_text(price: int) -> str:
    """A price as Kalshi's orders want it, four places."""
    whole, part = divmod(price, 10_000)
    return f"{whole}.{part:04d}"


CENTI_CONTRACT: Final = 10_000  # micro-contracts in the smallest size that an order may have


def size_text(size: int) -> str:
    """A size as Kalshi's orders want it, two places; raises `DataError` for finer ones."""
    whole, part = divmod(size, CENTI_CONTRACT)
    if part or size < 0:
        raise DataError(f"a size of {size} micro-contracts is no multiple of 0.01 contract", key="count")
    return f"{whole // 100}.{whole % 100:02d}"


def seconds(ns: int) -> int:
    """Unix seconds, down: an order never outlives the expiry that was asked for."""
    return ns // 1_000_000_000


def milliseconds(ns: int) -> int:
    """Unix milliseconds, down."""
    return ns // NS_PER_MS
