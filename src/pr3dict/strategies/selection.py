"""Which markets are worth quoting and why: statistics in words, reasons of rejection, and the ranking.

Pure functions over the rows that `kernels/selection.py` fills. docs/selection.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pr3dict.domain.units import MONEY_SCALE, NS_PER_HOUR, NS_PER_SECOND, QTY_SCALE, format_dollars
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.selection import (
    HALVES,
    filter_bits,
    impact_error_micros,
    mean_liquidity_micros,
    mean_spread_micros,
    volatility_micros,
)
from pr3dict.kernels.selection_rows import MARKOUT_S

BOOK, DEPTH, TRADES = "spread", "depth", "trades"
"""Parts of a judgement that a tape may be unable to give."""
PER_SIDE = ("trades_per_hour", "contracts_per_hour")
PER_HORIZON = ("markouts", "markout_errors")


def money(micros: float, places: int = 2) -> str:
    """Dollars for a sentence: 1_234_500_000 is "$1,234.50"."""
    return f"${micros / MONEY_SCALE:,.{places}f}"


def cents(micros: int) -> str:
    """A price difference for a sentence: 12_500 is "$0.0125"."""
    return money(micros, 4)


def span(ns: int) -> str:
    """Time for a sentence in its natural unit: "36.5 h", "14.2 min", "8 s"."""
    for unit, length_ns in (("h", NS_PER_HOUR), ("min", NS_PER_HOUR // 60)):
        if abs(ns) >= length_ns:
            return f"{ns / length_ns:.4g} {unit}"
    return f"{ns / NS_PER_SECOND:.3g} s"


class Rejection(NamedTuple):
    """A filter that a market fails: its reason code and the figure that met the setting."""

    reason: str
    sentence: str


def _rejection(bit: int, row: d.Row, params: d.Row, left_ns: int) -> Rejection:
    sentence: Mapping[int, Callable[[], str]] = {
        d.R_NOT_ACTIVE: lambda: "no book was seen while it took orders",
        d.R_ONE_SIDED_BOOK: lambda: (
            f"two-sided {int(row.two_sided) / int(row.samples):.0%} of the time < 50%"
        ),
        d.R_LOW_LIQUIDITY: lambda: (
            f"liquidity {money(mean_liquidity_micros(row))} < "
            f"min_liquidity {money(int(params.min_liquidity_micros))}"
        ),
        d.R_UNKNOWN_RESOLUTION: lambda: "no close or resolution time is known",
        d.R_TOO_CLOSE: lambda: (
            f"time to resolution {span(left_ns)} < "
            f"min_time_to_resolution {span(int(params.min_time_to_resolution_ns))}"
        ),
        d.R_TOO_FAR: lambda: (
            f"time to resolution {span(left_ns)} > "
            f"max_time_to_resolution {span(int(params.max_time_to_resolution_ns))}"
        ),
        d.R_NARROW_SPREAD: lambda: (
            f"spread {cents(mean_spread_micros(row))} < "
            f"min_existing_spread {cents(int(params.min_existing_spread_micros))}"
        ),
    }
    return Rejection(d.REASON_NAMES[bit], sentence[bit]())


def rejections(row: d.Row, params: d.Row, left_ns: int, missing: Sequence[str] = ()) -> tuple[Rejection, ...]:
    """Every filter of spec section 2 that a market fails, each with its figure; empty where it qualifies.

    row: SELECTION. params: PARAMS. left_ns: time to the expected resolution, -1 unknown. missing: parts that
    are not known of the market; their filters can't be judged and are left out.
    """
    bits = filter_bits(row, params, left_ns)
    if BOOK in missing:
        bits &= ~(1 << d.R_NOT_ACTIVE)
        if int(row.samples) == 0:  # the kernel stops at that reason: judge by time alone
            bits |= _time_bits(params, left_ns)
    if DEPTH in missing:
        bits &= ~(1 << d.R_LOW_LIQUIDITY)
    found = [bit for bit in range(len(d.REASON_NAMES)) if bits >> bit & 1]
    return tuple(_rejection(bit, row, params, left_ns) for bit in found)


def _time_bits(params: d.Row, left_ns: int) -> int:
    if left_ns < 0:
        return 1 << d.R_UNKNOWN_RESOLUTION
    if left_ns < params.min_time_to_resolution_ns:
        return 1 << d.R_TOO_CLOSE
    return 1 << d.R_TOO_FAR if left_ns > params.max_time_to_resolution_ns else 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was measured of a market, in units for people; None: not known. Prices in dollars."""

    hours: float
    two_sided: float | None  # share of the time
    mid: float | None
    spread: float | None  # time-weighted
    bid_contracts: float | None  # at the touch, time-weighted
    ask_contracts: float | None
    liquidity: float | None  # dollars within 10 cents of mid
    trades_per_hour: tuple[float, float] | None  # takers that bought YES, that sold it
    contracts_per_hour: tuple[float, float] | None
    weaker_share: float | None  # of contracts; 0.5 is balanced
    effective: float | None  # dollars a contract that takers paid beyond the mid
    markouts: tuple[float | None, ...]  # a maker's at each of `MARKOUT_S`, dollars a contract
    markout_errors: tuple[float | None, ...]
    volatility: float | None  # dollars per square-root hour
    movement: float | None  # sum of squared changes of the mid, second by second
    excess: float | None  # of that, beyond what a martingale resolves
    excess_error: float | None
    reversion: float | None  # of movement, what is taken back within a minute
    reversion_error: float | None

    @property
    def excess_z(self) -> float | None:
        """Excess movement in standard errors: well above 2, the mid reverts before it resolves."""
        return _ratio(self.excess or 0.0, self.excess_error or 0.0)

    @property
    def reversion_z(self) -> float | None:
        """Reversion within minutes in standard errors; below 0 the mid trends."""
        return _ratio(self.reversion or 0.0, self.reversion_error or 0.0)

    def to_json(self) -> dict[str, object]:
        """Every figure by name, rounded to what it can mean."""
        plain: dict[str, object] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name in PER_SIDE and value is not None:
                plain[name] = {"yes_bought": _rounded(value[0]), "yes_sold": _rounded(value[1])}
            elif name in PER_HORIZON:
                plain[name] = {f"{s}s": _rounded(one) for s, one in zip(MARKOUT_S, value, strict=True)}
            else:
                plain[name] = _rounded(value)
        scores = {"excess_z": _rounded(self.excess_z), "reversion_z": _rounded(self.reversion_z)}
        return plain | scores


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def statistics(row: d.Row, *, hours: float | None = None, missing: Sequence[str] = ()) -> Statistics:
    """The figures of a SELECTION row; `hours` replaces the time sampled where there was no book to sample."""
    sampled = int(row.samples) * NS_PER_SECOND / NS_PER_HOUR
    hours = sampled if hours is None else hours
    sided, matured = int(row.two_sided), row.matured
    has_trades, has_book = TRADES not in missing, BOOK not in missing and sided > 0
    volume = row.contracts / QTY_SCALE
    per_hour = has_trades and hours > 0
    has_depth = has_book and DEPTH not in missing
    square = HALVES**2
    return Statistics(
        hours=hours,
        two_sided=_ratio(sided, int(row.samples)),
        mid=int(row.mid_sum) / sided / HALVES if has_book else None,
        spread=int(row.spread_sum) * 2 / sided / HALVES if has_book else None,
        bid_contracts=int(row.bid_size_sum) / sided / QTY_SCALE if has_depth else None,
        ask_contracts=int(row.ask_size_sum) / sided / QTY_SCALE if has_depth else None,
        liquidity=mean_liquidity_micros(row) / MONEY_SCALE if has_depth else None,
        trades_per_hour=(row.trades[0] / hours, row.trades[1] / hours) if per_hour else None,
        contracts_per_hour=(volume[0] / hours, volume[1] / hours) if per_hour else None,
        weaker_share=_ratio(float(volume.min()), float(volume.sum())) if has_trades else None,
        effective=_ratio(int(row.effective) / HALVES, int(row.effective_contracts)),
        markouts=tuple(_ratio(int(row.realised[h]) / HALVES, int(matured[h])) for h in range(len(MARKOUT_S))),
        markout_errors=tuple(
            impact_error_micros(row, h) / MONEY_SCALE if matured[h] else None for h in range(len(MARKOUT_S))
        ),
        volatility=volatility_micros(row) / MONEY_SCALE if has_book else None,
        movement=int(row.movement) / square if has_book else None,
        excess=int(row.excess) / square if has_book else None,
        excess_error=math.sqrt(float(row.excess_variance)) / square if has_book else None,
        reversion=int(row.reversion) / square if has_book else None,
        reversion_error=math.sqrt(float(row.reversion_variance)) / square if has_book else None,
    )


@dataclass(frozen=True, slots=True)
class Score:
    """A SCORE row in exact integers: money in micros an hour unless it is locked, contracts an hour."""

    score_ppm: int
    net_micros: int
    capture_micros: int
    adverse_micros: int
    fees_micros: int
    rebates_micros: int
    rewards_micros: int
    locked_micros: int
    quotes_locked_micros: int
    held_locked_micros: int
    surplus_locked_micros: int
    locked_ns: int
    quoted_spread_micros: int
    bid_contracts: int
    ask_contracts: int

    @property
    def percent_an_hour(self) -> float:
        """Net an hour in percent of the dollars locked."""
        return self.score_ppm / 10_000

    def to_json(self) -> dict[str, object]:
        """Dollars as decimal strings, time in hours, contracts and the score as numbers."""
        answer: dict[str, object] = {"percent_an_hour": self.percent_an_hour}
        for name in self.__slots__:
            value = getattr(self, name)
            if name.endswith("_micros"):
                answer[name.removesuffix("_micros")] = format_dollars(value)
            elif name.endswith("_contracts"):
                answer[f"{name.removesuffix('_contracts')}_fills"] = value / QTY_SCALE
        return answer | {"locked_hours": self.locked_ns / NS_PER_HOUR}


def score_of(row: d.Row) -> Score:
    """The score that `kernels.selection.score_market` wrote."""
    return Score(**{name: int(row[name]) for name in Score.__slots__})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A market as it was judged. `score` is None where a part that it needs is in `missing`."""

    name: str
    statistics: Statistics
    score: Score | None
    rejections: tuple[Rejection, ...]
    missing: tuple[str, ...] = ()


class Ranking(NamedTuple):
    """Judged markets: those that qualify, best score first; those that no score can rank; the rejected."""

    ranked: tuple[Candidate, ...]
    unscored: tuple[Candidate, ...]
    rejected: tuple[Candidate, ...]


def _by_score(candidate: Candidate) -> int:
    return candidate.score.score_ppm if candidate.score is not None else 0


def ranking(candidates: Iterable[Candidate]) -> Ranking:
    """Sort judged markets; equal scores keep their order (first come, first served)."""
    everyone = list(candidates)
    fit = [one for one in everyone if not one.rejections]
    scored = [one for one in fit if one.score is not None]
    return Ranking(
        ranked=tuple(sorted(scored, key=_by_score, reverse=True)),
        unscored=tuple(one for one in fit if one.score is None),
        rejected=tuple(one for one in everyone if one.rejections),
    )
