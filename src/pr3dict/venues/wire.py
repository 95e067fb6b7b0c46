"""What every venue's decoder shares: decimal strings to integers, EVENT rows at speed, errors with a place.

Venues send numbers as strings, so that nothing is lost; here they become integers exactly, with string
operations only. Writing a numpy row field by field from Python costs more than decoding the message, so
rows are packed as bytes.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d

PRICE_PLACES = 4
SIZE_PLACES = 6
NS_PER_MS = 1_000_000
MAX_MS = 9_000_000_000_000  # the year 2255: keeps ns inside 64 bits
_KNOWN_LIMIT = 1 << 16
_MOST_DIGITS = 12  # before the point: what fits into 64 bits in millionths
SIZE_END = 10 ** (_MOST_DIGITS + SIZE_PLACES)  # every size is below, in micro-contracts
_ROW = struct.Struct("=qqqqiibbh4x")
_PATH = re.compile(r" - at `\$([^`]*)`")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")


class Decimals(dict[str, int]):
    """Reads the decimal strings of one field as integers of 10**-places, exactly: `decimals[text]`.

    A feed repeats few prices and sizes, so most reads are one look into the dictionary; new ones are learned.
    `DataError` names field and text when the text is not a plain decimal number that fits.
    """

    def __init__(self, field: str, places: int) -> None:
        super().__init__()
        self.field = field
        self.places = places
        self._scale: int = 10**places

    def __missing__(self, text: str) -> int:
        value = self.checked(self._parse(text), text)
        if len(self) >= _KNOWN_LIMIT:
            self.clear()
        self[text] = value
        return value

    def checked(self, value: int, text: str) -> int:  # noqa: ARG002 - a narrower field names it
        """`value` as the field means it; refuses what the field can't hold."""
        return value

    def refuse(self, text: str, why: str) -> DataError:
        """The error for `text` in this field."""
        return DataError(f"{text!r} {why}", key=self.field)

    def _parse(self, text: str) -> int:
        whole, dot, part = text.partition(".")
        if len(part) <= self.places and whole.isdecimal() and text.isascii() and len(whole) <= _MOST_DIGITS:
            if not dot:
                return int(whole) * self._scale
            if part.isdecimal():
                return int(whole + part.ljust(self.places, "0"))
        return self._parse_odd(text, whole, dot, part)

    def _parse_odd(self, text: str, whole: str, dot: str, part: str) -> int:
        """What is no usual number: negative, with zeros behind its last digit, or none."""
        digits = whole[1:] if whole[:1] == "-" else whole
        fine = part.rstrip("0")
        if not (digits.isascii() and digits.isdecimal()) or (
            dot and not (part.isascii() and part.isdecimal())
        ):
            raise self.refuse(text, "is not a decimal number")
        if len(fine) > self.places:
            raise self.refuse(text, f"has more than {self.places} decimals")
        if len(digits) > _MOST_DIGITS:
            raise self.refuse(text, "is too large")
        return int(whole + fine.ljust(self.places, "0"))


class Sizes(Decimals):
    """Sizes in micro-contracts, from zero up."""

    def __init__(self, field: str) -> None:
        super().__init__(field, SIZE_PLACES)

    def checked(self, value: int, text: str) -> int:
        """`value` from zero up."""
        if value < 0:
            raise self.refuse(text, "is negative; a size can't be")
        return value


class Prices(Decimals):
    """Prices in 1/10,000 dollar, from 0 to 1 dollar."""

    def __init__(self, field: str) -> None:
        super().__init__(field, PRICE_PLACES)

    def checked(self, value: int, text: str) -> int:
        """`value` from 0 to 1 dollar."""
        if not 0 <= value <= PRICE_SCALE:
            raise self.refuse(text, "is not a price between 0 and 1 dollar")
        return value


class YesPrices(Decimals):
    """Prices at which an order can rest, strictly between 0 and 1 dollar, as prices of YES.

    of_no: the field holds prices of NO.
    """

    def __init__(self, field: str, *, of_no: bool = False) -> None:
        super().__init__(field, PRICE_PLACES)
        self.of_no = of_no

    def checked(self, value: int, text: str) -> int:
        """`value` in YES terms."""
        if not 0 < value < PRICE_SCALE:
            raise self.refuse(text, "is not a price inside 0 and 1 dollar, where orders rest")
        return PRICE_SCALE - value if self.of_no else value


def milliseconds_to_ns(ms: int, field: str) -> int:
    """Unix milliseconds to ns."""
    if 0 < ms < MAX_MS:
        return ms * NS_PER_MS
    raise DataError(f"{ms} is not a time in Unix milliseconds", key=field)


class EventRows:
    """Writes EVENT rows into a buffer; `count` is how many the current message has filled."""

    __slots__ = ("_bytes", "_capacity", "count")

    def __init__(self, out: d.Array) -> None:
        if out.dtype.itemsize != _ROW.size or not out.flags.c_contiguous:
            raise ValueError("`out` must be a contiguous array of EVENT rows")
        self._bytes = out.view(np.uint8).data
        self._capacity = len(out)
        self.count = 0

    def put(
        self,
        kind: int,
        market: int,
        exch_ns: int,
        local_ns: int,
        side: int,
        price: int,
        size: int,
        bits: int = 0,
        aux: int = 0,
    ) -> None:
        """Append one row."""
        i = self.count
        if i >= self._capacity:
            raise DataError(
                f"a message holds more than {self._capacity} levels; give the decoder a longer buffer"
            )
        _ROW.pack_into(
            self._bytes, i * _ROW.size, exch_ns, local_ns, size, aux, price, market, kind, side, bits
        )
        self.count = i + 1


class BookCache:
    """Sizes of one market's levels, by price, as the feed has told them: bids, then asks."""

    __slots__ = ("exch_ns", "market", "sides", "synced")

    def __init__(self, market: int) -> None:
        self.market = market
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.synced = False  # a snapshot has come
        self.exch_ns = 0  # newest exchange time seen; 0: none

    def clear(self) -> None:
        """Forget the book, as after a reconnect: what comes before the next snapshot has no base."""
        self.sides[0].clear()
        self.sides[1].clear()
        self.synced = False

    def replace(
        self, rows: EventRows, bids: dict[int, int], asks: dict[int, int], exch_ns: int, local_ns: int
    ) -> None:
        """A full book came, size by price: emit the LEVEL rows that lead there from what was known.

        What is gone is taken away first, so that the book is never crossed on the way; what stands as it was
        is not repeated.
        """
        changes = []
        fresh = (bids, asks)
        for side in (d.BID, d.ASK):
            if 0 in fresh[side].values():
                for price in [p for p, size in fresh[side].items() if size == 0]:
                    del fresh[side][price]
            changes += [(side, price, 0) for price in sorted(self.sides[side].keys() - fresh[side].keys())]
        for side in (d.BID, d.ASK):
            new = fresh[side].items() - self.sides[side].items()
            changes += [(side, price, size) for price, size in sorted(new)]
        last = len(changes) - 1
        for i, (side, price, size) in enumerate(changes):
            bits = d.FROM_SNAPSHOT | (d.SNAP_FIRST if i == 0 else 0) | (d.SNAP_LAST if i == last else 0)
            rows.put(d.LEVEL, self.market, exch_ns, local_ns, side, price, size, bits)
        self.sides = fresh
        self.synced = True


def refusal(raw: bytes, error: msgspec.DecodeError) -> DataError:
    """The `DataError` for a message that its type refuses: what is wrong, where, with which value."""
    text = str(error)
    found = _PATH.search(text)
    if found is None:
        return DataError(f"message is not what the feed promises: {text}: {raw[:80]!r}")
    value: Any = msgspec.json.decode(raw)
    try:
        for name, index in _STEP.findall(found[1]):
            value = value[name] if name else value[int(index)]
    except (KeyError, IndexError, TypeError):
        value = None
    shown = "" if isinstance(value, dict) else f", found {str(value)[:80]!r}"
    return DataError(f"{_PATH.sub('', text)}{shown}", key=found[1].lstrip(".") or "message")
