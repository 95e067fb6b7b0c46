"""Kalshi's wire values: fixed-point dollar and contract strings, times, ids, pages."""

from __future__ import annotations

import base64
import binascii
import random
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

MICRO: Final = 1_000_000
LOT: Final = 10_000  # 0.01 contract
DOLLAR: Final = 10_000  # price units
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
BID, ASK = 0, 1

_PRICE = re.compile(r"(0|1)?(\.\d{1,4})?")
_COUNT = re.compile(r"\d{1,12}(\.\d{1,2})?")

Json = dict[str, Any]


def price_text(units: int) -> str:
    """4 decimals."""
    return f"{units // DOLLAR}.{units % DOLLAR:04d}"


def no_price(yes_price: int) -> int:
    """What the same thing costs in NO terms."""
    return DOLLAR - yes_price


def money_text(micros: int) -> str:
    """6 decimals."""
    whole = abs(micros)
    return f"{'-' if micros < 0 else ''}{whole // MICRO}.{whole % MICRO:06d}"


def money4_text(micros: int) -> str:
    """4 decimals, toward zero: what the positions channel shows."""
    return money_text(micros)[:-2]


def count_text(size: int) -> str:
    """Micro-contracts with 2 decimals, toward zero."""
    hundredths = abs(size) // LOT
    return f"{'-' if size < 0 and hundredths else ''}{hundredths // 100}.{hundredths % 100:02d}"


def read_price(text: Any) -> int | None:
    """A price in 1/10,000 dollar; None: no string of a decimal number."""
    if not isinstance(text, str) or not text or not _PRICE.fullmatch(text) or text == ".":
        return None
    whole, _, part = text.partition(".")
    return int(whole or 0) * DOLLAR + int((part + "0000")[:4])


def read_count(text: Any) -> int | None:
    """A count in micro-contracts; None: no string of a decimal number with at most 2 places."""
    if not isinstance(text, str) or not _COUNT.fullmatch(text):
        return None
    whole, _, part = text.partition(".")
    return int(whole) * MICRO + int((part + "00")[:2]) * LOT


def iso(ns: int) -> str:
    """RFC 3339 with microseconds."""
    moment = datetime.fromtimestamp(ns // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % SECOND // 1000:06d}Z"


def iso_s(ns: int) -> str:
    """RFC 3339 in whole seconds."""
    return f"{datetime.fromtimestamp(ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def fixed_uuid(*names: object) -> str:
    """The same id for the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, names))))


def new_uuid(chance: random.Random) -> str:
    """A random id from a seeded generator."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def page(entries: Sequence[Any], limit: int, cursor: str) -> tuple[list[Any], str]:
    """One page and the cursor of the next; a cursor that is no cursor of ours means the first page."""
    try:
        first = int(base64.urlsafe_b64decode(cursor.encode()).decode()) if cursor else 0
    except (ValueError, binascii.Error, UnicodeDecodeError):
        first = 0
    if not 0 <= first <= len(entries):
        first = 0
    last = first + limit
    after = base64.urlsafe_b64encode(str(last).encode()).decode() if last < len(entries) else ""
    return list(entries[first:last]), after
