"""Polymarket's wire values: decimal strings, base units, cursors, ids."""

from __future__ import annotations

import base64
import binascii
import random
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

MICRO: Final = 1_000_000
DOLLAR: Final = 10_000  # price units
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
BID, ASK = 0, 1  # of the one book in YES terms
YES, NO = 0, 1  # places of a market's tokens
BUY, SELL = "BUY", "SELL"
PUSD: Final = "pusd"
FIRST_CURSOR, LAST_CURSOR = "MA==", "LTE="
PAGE: Final = 100

_WHOLE = re.compile(r"\d{1,78}")

Json = dict[str, Any]


@lru_cache(maxsize=1 << 16)
def decimal_text(amount: int, scale: int = MICRO) -> str:
    """An integer of 1/scale as a decimal without trailing zeros."""
    digits = len(str(scale)) - 1
    whole, part = divmod(abs(amount), scale)
    rest = f"{part:0{digits}d}".rstrip("0")
    return f"{'-' if amount < 0 else ''}{whole}{'.' + rest if rest else ''}"


@cache
def price_text(units: int) -> str:
    """A price of 1/10,000 dollar."""
    return decimal_text(units, DOLLAR)


def opposite(price: int) -> int:
    """What the same thing costs on the other token."""
    return DOLLAR - price


def read_whole(text: Any) -> int | None:
    """A whole number from a string of digits; None: it is none."""
    if not isinstance(text, str) or not text.isascii() or not _WHOLE.fullmatch(text):
        return None
    return int(text)


def cost_of(size: int, price: int) -> int:
    """Micro-dollars of micro-shares at a price, down."""
    return size * price // DOLLAR


def cost_up(size: int, price: int) -> int:
    """Micro-dollars of micro-shares at a price, up: what an order must have."""
    return -(-size * price // DOLLAR)


def iso_s(ns: int) -> str:
    """RFC 3339 in whole seconds."""
    return f"{datetime.fromtimestamp(ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def day_of(ns: int) -> str:
    """The UTC day."""
    return f"{datetime.fromtimestamp(ns // SECOND, UTC):%Y-%m-%d}"


def fixed_uuid(*names: object) -> str:
    """The same id for the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, names))))


def new_uuid(chance: random.Random) -> str:
    """A random id from a seeded generator."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def new_hash(chance: random.Random) -> str:
    """32 random bytes: an id of an order or of a transaction."""
    return f"0x{chance.getrandbits(256):064x}"


def page(entries: Sequence[Any], cursor: str, limit: int = PAGE) -> Json:
    """One page of the CLOB's lists; `LTE=` says that it is the last."""
    try:
        first = int(base64.b64decode(cursor or FIRST_CURSOR, validate=True))
    except (ValueError, binascii.Error):
        first = 0
    first = max(first, 0)
    shown = list(entries[first : first + limit])
    last = first + limit
    after = base64.b64encode(str(last).encode()).decode() if last < len(entries) else LAST_CURSOR
    return {"limit": limit, "count": len(shown), "next_cursor": after, "data": shown}
