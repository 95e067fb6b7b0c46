"""Why a market was not quoted, as sentences with the figure that stopped it and the setting that it met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pr3dict.domain.units import format_contracts
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World
from pr3dict.strategies.selection import cents, money, span


class Filter(NamedTuple):
    """A filter with a figure: which QUOTE field met which PARAMS field, and how to say it.

    `sign` is +1 where the larger figure came closer to passing.
    """

    figure: str
    setting: str
    sign: int
    words: str
    show: Callable[[int], str]


FILTERS: Mapping[int, Filter] = {
    d.R_LOW_LIQUIDITY: Filter(
        "liquidity_micros", "min_liquidity", 1, "up to {} rested within 10 cents of mid", money
    ),
    d.R_TOO_CLOSE: Filter(
        "resolution_left_ns", "min_time_to_resolution", 1, "up to {} were left to resolution", span
    ),
    d.R_TOO_FAR: Filter(
        "resolution_left_ns", "max_time_to_resolution", -1, "{} or more were left to resolution", span
    ),
    d.R_NARROW_SPREAD: Filter(
        "existing_spread_micros", "min_existing_spread", 1, "best ask less best bid was up to {}", cents
    ),
}
CAUSES: Mapping[int, str] = {
    d.R_NO_BOOK: "the recording showed no bid and no ask",
    d.R_ONE_SIDED_BOOK: "the recording showed only one side of the book",
    d.R_CROSSED_BOOK: "the best bid was at or above the best ask",
    d.R_NOT_ACTIVE: "the market took no orders",
    d.R_NOT_SELECTED: "other markets had the places of max_markets",
    d.R_UNKNOWN_RESOLUTION: "the tape states no close or resolution time",
    d.R_VOLUME_PAUSE: "traded volume was over volume_spike_threshold times its average",
    d.R_NEWS_PAUSE: "news had pulled the quotes",
    d.R_BID_OFF_GRID: "no valid price was left for the bid",
    d.R_ASK_OFF_GRID: "no valid price was left for the ask",
    d.R_DAILY_LOSS: "the daily loss limit had been hit",
    d.R_HEAT: "max_portfolio_heat left no room",
    d.R_PRICE_BAND: "the price was outside the band around fair value",
}


BELOW_MIN = (d.R_BID_BELOW_MIN, d.R_ASK_BELOW_MIN)
FILTER_BITS = sum(1 << bit for bit in FILTERS)


_UNSEEN = np.iinfo(np.int64).min  # below the closest figure of any filter


class Witness:
    """Remembers, for each market and filter, the figure seen that came closest to passing.

    It looks at standing decisions now and then, not at each, so a figure in between may have come closer.
    """

    def __init__(self, markets: int) -> None:
        self._seen = {bit: np.full(markets, _UNSEEN, np.int64) for bit in FILTERS}

    def look(self, quotes: d.Array) -> None:
        """Take note of the standing QUOTE rows, one a market."""
        bits = quotes["reasons"]
        if not (bits & FILTER_BITS).any():
            return
        for bit, stop in FILTERS.items():
            figure = np.where(bits >> bit & 1, stop.sign * quotes[stop.figure], _UNSEEN)
            np.maximum(self._seen[bit], figure, out=self._seen[bit])

    def _cause(self, market: int, bit: int, world: World) -> str:
        params = world.params[market]
        if bit in CAUSES:
            return CAUSES[bit]
        if bit in BELOW_MIN:
            smallest = format_contracts(int(world.markets[market]["min_size"]))
            size = format_contracts(int(params["quote_size"]))
            return f"limits left less than the smallest order, {smallest} contracts; quote_size is {size}"
        stop, seen = FILTERS[bit], int(self._seen[bit][market])
        unit = stop.figure.rpartition("_")[2]
        limit = f"{stop.setting} is {stop.show(int(params[f'{stop.setting}_{unit}']))}"
        return limit if seen == _UNSEEN else f"{stop.words.format(stop.show(stop.sign * seen))}, {limit}"

    def sentences(self, market: int, world: World) -> list[str]:
        """Why nothing was quoted, the most frequent reason first; empty when orders were placed."""
        stats = world.stats[market]
        if int(stats["orders"]):
            return []
        decisions = int(stats["decisions"])
        if not decisions:
            return ["no decision was taken: the tape never showed this market's book"]
        counts = [(int(stats["reason_counts"][bit]), bit) for bit in (*FILTERS, *BELOW_MIN, *CAUSES)]
        told = [
            f"{d.REASON_NAMES[bit]} in {count:,} of {decisions:,} decisions: "
            f"{self._cause(market, bit, world)}"
            for count, bit in sorted(counts, key=lambda pair: (-pair[0], pair[1]))
            if count
        ]
        return told or [f"none of {decisions:,} decisions produced a price"]
