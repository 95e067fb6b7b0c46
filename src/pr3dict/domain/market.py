"""Markets: price grids, rounding of quotes to them, and the life of a market from listing to payout."""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.fees import FeeSchedule
from pr3dict.domain.units import (
    MICROS_PER_PRICE_UNIT,
    PRICE_SCALE,
    ceil_div,
    floor_div,
    format_price,
    parse_price,
)


class Band(msgspec.Struct, frozen=True):
    """Prices `start`, `start + step`, ... `end` in 1/10,000 dollar."""

    start: int
    end: int
    step: int


class PriceGrid(msgspec.Struct, frozen=True):
    """The prices at which a market takes orders: a union of bands, without 0 and 1 dollar.

    Raises `DataError` when a band is empty, overlaps the one before, or its step does not divide it.
    """

    bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        last_end = 0
        for row, band in enumerate(self.bands, 1):
            defect = None
            if not (0 <= band.start < band.end <= PRICE_SCALE and band.step > 0):
                defect = "a band needs 0 <= start < end <= 1 and a positive step"
            elif band.start < last_end:
                defect = "the band overlaps the one before; bands must ascend"
            elif (band.end - band.start) % band.step:
                defect = "the step does not divide the band"
            if defect:
                raise DataError(defect, row=row, key="price_ranges")
            last_end = band.end
        if not _grid_prices(self.bands):
            raise DataError("the grid holds no price between 0 and 1 dollar", key="price_ranges")

    @classmethod
    def from_price_ranges(cls, ranges: Iterable[Mapping[str, str]]) -> PriceGrid:
        """Grid of a Kalshi market's `price_ranges`: dicts of dollar texts `start`, `end`, `step`.

        Raises `DataError` that names the row and the key.
        """
        bands = []
        for row, entry in enumerate(ranges, 1):
            missing = {"start", "end", "step"} - entry.keys()
            if missing:
                what = f"the band lacks {', '.join(sorted(missing))}"
                raise DataError(what, row=row, key="price_ranges")
            try:
                bands.append(Band(*(parse_price(entry[key]) for key in ("start", "end", "step"))))
            except DataError as error:
                raise error.at(row=row, key="price_ranges") from None
        return cls(tuple(bands))

    def prices(self) -> tuple[int, ...]:
        """All valid prices, ascending."""
        return _grid_prices(self.bands)

    def contains(self, price: int) -> bool:
        """Whether an order may rest at `price`."""
        return self.floor(price) == price

    def floor(self, price: int) -> int | None:
        """The highest valid price at or below `price`; None if there is none."""
        prices = self.prices()
        place = bisect_right(prices, price)
        return prices[place - 1] if place else None

    def ceil(self, price: int) -> int | None:
        """The lowest valid price at or above `price`; None if there is none."""
        prices = self.prices()
        place = bisect_left(prices, price)
        return prices[place] if place < len(prices) else None


@lru_cache(maxsize=256)
def _grid_prices(bands: tuple[Band, ...]) -> tuple[int, ...]:
    prices = {p for band in bands for p in range(band.start, band.end + 1, band.step)}
    return tuple(sorted(prices - {0, PRICE_SCALE}))


def round_quote(grid: PriceGrid, bid_micros: int, ask_micros: int) -> tuple[int | None, int | None]:
    """Bid and ask in micros to valid prices, away from each other: bid down, ask up.

    A side that lands on or beyond 0 or 1 dollar is pulled (None); it is never moved inward.
    """
    bid = floor_div(bid_micros, MICROS_PER_PRICE_UNIT)
    ask = ceil_div(ask_micros, MICROS_PER_PRICE_UNIT)
    return (
        grid.floor(bid) if bid < PRICE_SCALE else None,
        grid.ceil(ask) if ask > 0 else None,
    )


def _uniform(step: int) -> PriceGrid:
    return PriceGrid((Band(0, PRICE_SCALE, step),))


def _tapered(centre_step: int, edge_step: int, edge: int) -> PriceGrid:
    """`edge_step` within `edge` of 0 and 1 dollar, `centre_step` between."""
    return PriceGrid(
        (
            Band(0, edge, edge_step),
            Band(edge, PRICE_SCALE - edge, centre_step),
            Band(PRICE_SCALE - edge, PRICE_SCALE, edge_step),
        )
    )


_KALSHI_STEPS: Final = {"whole": 100, "half": 50, "quint": 20, "deci": 10, "centi": 1}
_TENTH: Final = 1_000  # edges reach 10 cents
_CENT: Final = 100


def kalshi_grid(label: str) -> PriceGrid:
    """Grid that a Kalshi `price_level_structure` label names, for data without `price_ranges`.

    The label is a hint, `price_ranges` the authority: raises `DataError` for a label that is not known.
    """
    if label == "linear_cent":
        return _uniform(100)
    if label == "deci_cent":
        return _uniform(10)
    if label == "tapered_deci_cent":
        return _tapered(100, 10, _TENTH)
    if label == "center_deci_edge_centi_cent":  # combos: edges of one cent, unlike its siblings
        return _tapered(10, 1, _CENT)
    match label.split("_"):
        case ["center", centre, "edge", edge, "cent"] if centre in _KALSHI_STEPS and edge in _KALSHI_STEPS:
            return _tapered(_KALSHI_STEPS[centre], _KALSHI_STEPS[edge], _TENTH)
    raise DataError(f"unknown Kalshi price level structure {label!r}; use the market's price_ranges")


POLYMARKET_TICKS: Final = (1_000, 100, 50, 25, 10, 1)  # $0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001


def polymarket_grid(tick: int) -> PriceGrid:
    """Grid of a Polymarket tick in 1/10,000 dollar: multiples of it from tick to 1 - tick.

    Raises `DataError` for a tick that the venue does not have.
    """
    if tick not in POLYMARKET_TICKS:
        known = ", ".join(format_price(t) for t in POLYMARKET_TICKS)
        raise DataError(f"Polymarket has no tick of {format_price(tick)}; known: {known}")
    return _uniform(tick)


class MarketStatus(enum.IntEnum):
    """Where a market is in its life; the kernels' STATUS events carry the same numbers."""

    INITIALIZED = 0
    ACTIVE = 1
    PAUSED = 2  # orders refused, cancels accepted; Kalshi: inactive
    CLOSED = 3  # everything refused
    DETERMINED = 4  # outcome known, not yet paid
    SETTLED = 5  # paid; Kalshi: finalized
    POST_ONLY_MODE = 6  # Polymarket after a restart: only post-only orders and cancels
    RESTARTING = 7  # Polymarket's engine is down: everything refused for now
    DISPUTED = 8
    AMENDED = 9  # the outcome was changed after a dispute


_S = MarketStatus
_OPEN = frozenset({_S.ACTIVE, _S.PAUSED, _S.POST_ONLY_MODE, _S.RESTARTING})
_OVER = frozenset({_S.CLOSED, _S.DETERMINED, _S.SETTLED})  # a payout may come with no notice before it

STATUS_TRANSITIONS: Final[Mapping[MarketStatus, frozenset[MarketStatus]]] = {
    _S.INITIALIZED: _OPEN | _OVER,
    _S.ACTIVE: (_OPEN | _OVER) - {_S.ACTIVE},
    _S.PAUSED: (_OPEN | _OVER) - {_S.PAUSED},
    _S.POST_ONLY_MODE: (_OPEN | _OVER) - {_S.POST_ONLY_MODE},
    _S.RESTARTING: (_OPEN | _OVER) - {_S.RESTARTING},
    _S.CLOSED: frozenset({_S.DETERMINED, _S.SETTLED}),
    _S.DETERMINED: frozenset({_S.DISPUTED, _S.AMENDED, _S.SETTLED}),
    _S.DISPUTED: frozenset({_S.DETERMINED, _S.AMENDED, _S.SETTLED}),
    _S.AMENDED: frozenset({_S.DISPUTED, _S.SETTLED}),
    _S.SETTLED: frozenset(),
}

KALSHI_STATUS: Final[Mapping[str, MarketStatus]] = {
    "initialized": _S.INITIALIZED,
    "active": _S.ACTIVE,
    "inactive": _S.PAUSED,
    "closed": _S.CLOSED,
    "determined": _S.DETERMINED,
    "disputed": _S.DISPUTED,
    "amended": _S.AMENDED,
    "finalized": _S.SETTLED,
}


def advance_status(status: MarketStatus, to: MarketStatus) -> MarketStatus:
    """The status after a move from `status` to `to`; a repeated message (`to == status`) changes nothing.

    Raises `WorkError` that names both for a move that `STATUS_TRANSITIONS` does not hold.
    """
    if to != status and to not in STATUS_TRANSITIONS[status]:
        raise WorkError(f"a market cannot go from {status.name.lower()} to {to.name.lower()}")
    return to


Venue = Literal["kalshi", "polymarket", "synthetic"]


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """What one binary market is; times in ns UTC (None: unknown), sizes in micro-contracts.

    `grids` are the price grids of its life, the first in force at the start (a tick change names another by
    index). `settle_value_micros` is what one YES contract paid, where known. Raises `DataError` when a field
    contradicts another.
    """

    venue: Venue
    id: str  # Kalshi ticker, Polymarket condition id
    grids: tuple[PriceGrid, ...]
    min_size: int
    lot: int  # orders are multiples of this
    fees: FeeSchedule
    event_id: str | None = None
    mutually_exclusive: bool = False  # of its event's markets exactly one resolves YES
    title: str = ""
    open_ns: int | None = None
    close_ns: int | None = None
    resolution_ns: int | None = None  # expected
    strike: str | None = None
    status: MarketStatus = MarketStatus.INITIALIZED
    settle_value_micros: int | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise DataError("a market needs an id", key="id")
        if not self.grids:
            raise DataError("a market needs a price grid", key=f"{self.id}.grids")
        if self.lot <= 0 or self.min_size < self.lot or self.min_size % self.lot:
            raise DataError("min_size must be a positive multiple of lot", key=f"{self.id}.min_size")
        if self.open_ns is not None and self.close_ns is not None and self.close_ns <= self.open_ns:
            raise DataError("the market closes before it opens", key=f"{self.id}.close_ns")
        if self.settle_value_micros is not None and not 0 <= self.settle_value_micros <= 1_000_000:
            raise DataError("a contract pays 0 to 1 dollar", key=f"{self.id}.settle_value_micros")
        if self.mutually_exclusive and self.event_id is None:
            raise DataError("a mutually exclusive market needs its event", key=f"{self.id}.event_id")

    @property
    def nets_positions(self) -> bool:
        """Whether the venue turns a YES + NO pair into its dollar by itself (Kalshi) or holds both apart."""
        return self.venue != "polymarket"
