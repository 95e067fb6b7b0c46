"""Numbers and times as the texts that the JSON of the venues carries."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND = 1_000_000_000


def price_text(price: int) -> str:
    """1/10,000 dollar with four places."""
    return f"{price // 10_000}.{price % 10_000:04d}"


def count_text(size: int) -> str:
    """Micro-contracts with two places, of either sign."""
    hundredths = abs(size) // 10_000
    return f"{'-' if size < 0 else ''}{hundredths // 100}.{hundredths % 100:02d}"


def money_text(micros: int) -> str:
    """Micros with six places, of either sign."""
    whole = abs(micros)
    return f"{'-' if micros < 0 else ''}{whole // 1_000_000}.{whole % 1_000_000:06d}"


def read_count(text: str) -> int:
    """Micro-contracts of a text with two places."""
    whole, _, part = text.partition(".")
    return int(whole) * 1_000_000 + int(part) * 10_000


def read_price(text: str) -> int:
    """1/10,000 dollar of a text with four places."""
    whole, _, part = text.partition(".")
    return int(whole) * 10_000 + int(part)


def moment_text(ns: int) -> str:
    """RFC 3339 with microseconds."""
    moment = datetime.fromtimestamp(ns // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % SECOND // 1_000:06d}Z"


def plain_text(number: int, places: int) -> str:
    """`number` units of 10**-places as the shortest decimal text, of either sign."""
    whole, part = divmod(abs(number), 10**places)
    text = f"{whole}.{part:0{places}d}".rstrip("0").rstrip(".")
    return f"-{text}" if number < 0 else text


def read_plain(text: str, places: int) -> int:
    """Units of 10**-places of a decimal text."""
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(places, "0"))
