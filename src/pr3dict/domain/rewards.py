"""The terms of a market's liquidity rewards, as a venue states them and may change them at any time."""

from __future__ import annotations

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE


class RewardTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What scores, and for how much. Raises `DataError` for what no programme can state."""

    spread: int  # an order this far from the midpoint scores nothing, price units
    min_size: int  # a smaller order scores nothing, micro-contracts
    day_micros: int  # what all makers of the market share in a day

    def __post_init__(self) -> None:
        if not 0 < self.spread < PRICE_SCALE:
            raise DataError(f"{self.spread} is not inside 0 to {PRICE_SCALE} price units", key="spread")
        if self.min_size < 0 or self.day_micros < 0:
            raise DataError("a least size and a day's pool are not negative", key="rewards")
