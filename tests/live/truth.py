"""What is true at a stand-in, in the words that `tests/crash/audit.py` compares journals with."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from pr3dict.venues.simulated.wire import Truth

MICRO: Final = 1_000_000


class TrueOrder(NamedTuple):
    """An order at the stand-in: our id, and what it was taken as, in YES terms."""

    order_id: int
    market: int
    side: int
    sell: bool | None  # None: the venue knows no such thing
    price: int
    size: int


class Told(NamedTuple):
    """The truth, and what is wrong with it in itself: ids used twice, orders that nobody of us placed.

    `failed`: fills of the truth that the venue took back.
    """

    truth: Truth
    wrong: list[str]
    orders: tuple[TrueOrder, ...]
    failed: frozenset[str] = frozenset()


def micros(text: str) -> int:
    """Dollars or contracts as an exact integer."""
    value = Decimal(text) * MICRO
    assert value == int(value), text
    return int(value)
