"""Why a market was not quoted, as sentences with the figure that stopped it and the setting that it met."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pr3dict.kernels import dtypes as d

NS_PER_HOUR = 3_600_000_000_000
MICRO = 1_000_000

Sentence = Callable[[d.Array, d.Array], str]  # (QUOTE row, PARAMS row) -> the figure against the setting


def money(micros: int, places: int = 2) -> str:
    """Dollars for a sentence: 1_234_500_000 -> "$1,234.50"."""
    return f"${micros / MICRO:,.{places}f}"


def _hours(ns: int) -> str:
    return f"{ns / NS_PER_HOUR:.4g} h"


def _liquidity(quote: d.Array, params: d.Array) -> str:
    return (
        f"{money(int(quote['liquidity_micros']))} rested within 10 cents of mid, "
        f"min_liquidity is {money(int(params['min_liquidity_micros']))}"
    )


def _too_close(quote: d.Array, params: d.Array) -> str:
    return (
        f"{_hours(int(quote['resolution_left_ns']))} were left, "
        f"min_time_to_resolution is {_hours(int(params['min_time_to_resolution_ns']))}"
    )


def _too_far(quote: d.Array, params: d.Array) -> str:
    return (
        f"{_hours(int(quote['resolution_left_ns']))} were left, "
        f"max_time_to_resolution is {_hours(int(params['max_time_to_resolution_ns']))}"
    )


def _narrow(quote: d.Array, params: d.Array) -> str:
    return (
        f"best ask less best bid was {money(int(quote['existing_spread_micros']), 4)}, "
        f"min_existing_spread is {money(int(params['min_existing_spread_micros']), 4)}"
    )


def _small(quote: d.Array, params: d.Array) -> str:
    del quote
    return (
        f"what the limits left of quote_size {int(params['quote_size']) / MICRO:g} was below the venue's "
        "smallest order"
    )


FIGURES: Mapping[int, Sentence] = {
    d.R_LOW_LIQUIDITY: _liquidity,
    d.R_TOO_CLOSE: _too_close,
    d.R_TOO_FAR: _too_far,
    d.R_NARROW_SPREAD: _narrow,
    d.R_BID_BELOW_MIN: _small,
    d.R_ASK_BELOW_MIN: _small,
}
CAUSES: Mapping[int, str] = {
    d.R_NO_BOOK: "the recording showed no bid and no ask",
    d.R_ONE_SIDED_BOOK: "the recording showed only one side of the book",
    d.R_CROSSED_BOOK: "the best bid was at or above the best ask",
    d.R_NOT_ACTIVE: "the market took no orders",
    d.R_UNKNOWN_RESOLUTION: "the tape states no close or resolution time",
    d.R_VOLUME_PAUSE: "traded volume was over volume_spike_threshold times its average",
    d.R_NEWS_PAUSE: "news had pulled the quotes",
    d.R_BID_OFF_GRID: "no valid price was left for the bid",
    d.R_ASK_OFF_GRID: "no valid price was left for the ask",
    d.R_DAILY_LOSS: "the daily loss limit had been hit",
    d.R_HEAT: "max_portfolio_heat left no room",
    d.R_PRICE_BAND: "the price was outside the band around fair value",
}


class Witness:
    """Remembers, for each market, the last decision seen that carried each reason of `FIGURES`."""

    def __init__(self, markets: int) -> None:
        self._seen: list[dict[int, d.Array]] = [{} for _ in range(markets)]

    def look(self, quotes: d.Array) -> None:
        """Take note of the standing QUOTE rows, one a market."""
        for seen, bits, quote in zip(self._seen, quotes["reasons"].tolist(), quotes, strict=True):
            fresh = [bit for bit in FIGURES if bits >> bit & 1]
            if fresh:
                seen.update(dict.fromkeys(fresh, quote.copy()))

    def _cause(self, market: int, bit: int, params: d.Array) -> str:
        if bit in CAUSES:
            return f": {CAUSES[bit]}"
        quote = self._seen[market].get(bit)
        return f": {FIGURES[bit](quote, params)}" if quote is not None else ""

    def sentences(self, market: int, stats: d.Array, params: d.Array) -> list[str]:
        """Why nothing was quoted, the most frequent reason first; empty when orders were placed."""
        if int(stats["orders"]):
            return []
        decisions = int(stats["decisions"])
        if not decisions:
            return ["no decision was taken: the tape never showed this market's book"]
        counts = [(int(stats["reason_counts"][bit]), bit) for bit in (*FIGURES, *CAUSES)]
        told = [
            f"{d.REASON_NAMES[bit]} in {count:,} of {decisions:,} decisions{self._cause(market, bit, params)}"
            for count, bit in sorted(counts, key=lambda pair: (-pair[0], pair[1]))
            if count
        ]
        return told or [f"none of {decisions:,} decisions produced a price"]
