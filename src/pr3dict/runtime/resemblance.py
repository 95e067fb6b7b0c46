"""Does a generated market resemble a recorded one? Statistics of order flow, distances and fixed tolerances.

A `Sample` is what one tape tells about its flow (`kernels/flow_stats.py`); `measure` pools samples to one
figure a row of `ROWS`; `compare` puts recorded and generated figures side by side. Every definition, with
its source, is in docs/calibration.md. Prices in cents, sizes in contracts, rates per counted hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import flow_stats
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.kernels.tapecheck import new_best, new_depth
from pr3dict.store.tape import Tape

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LOW_CENTS: Final = 10  # outside, Kalshi's tick is a tenth of a cent and the flow another one
HIGH_CENTS: Final = 90
LAST_NS: Final = 60 * NS_PER_SECOND  # before a known close, left out
MAX_SILENCE_NS: Final = 60 * NS_PER_SECOND
MERGE_NS: Final = 1_000_000
MIN_COUNTED_NS: Final = 120 * NS_PER_SECOND  # a tape with less tells too little
CHANGE_SECONDS: Final = (1, 10, 60)
MARKOUT_SECONDS: Final = tuple(ns // NS_PER_SECOND for ns in d.MARKOUT_HORIZONS_NS)
SIGN_LAGS: Final = (1, 5, 10)
JUMP_COLUMN: Final = 1  # of CHANGE_SECONDS
JUMP_NEIGHBOURS: Final = 15  # changes on either side that say what is usual
JUMP_CENTS: Final = 3.0
JUMP_SIGMAS: Final = 4.0
NORMAL_MAD: Final = 1.4826  # standard deviation of a normal variable over its median absolute value
CENTS: Final = 100 / PRICE_SCALE

Window = tuple[int, int]  # begin and end, ns


@dataclass(frozen=True, slots=True)
class Sample:
    """What one tape tells about its order flow. Arrays a taker's order: `sizes`, `signs`, `markouts`."""

    name: str
    counted_ns: int
    level_changes: int
    spread_ns: IntArray  # (SPREAD_BINS,)
    depth_ns: Floats  # (2 sides, DEPTH_LEVELS), of ln(1 + contracts)
    sizes: Floats  # contracts
    signs: Floats  # +1: the taker bought YES
    markouts: Floats  # (orders, horizons), cents in the maker's favour, NaN where not reached
    changes: tuple[Floats, ...]  # of the mid over each of CHANGE_SECONDS, cents
    jumps: tuple[npt.NDArray[np.bool_], ...]  # which of `changes` are large for their neighbourhood
    first_mid: float  # dollars, of the first counted interval; NaN: none


def default_window(tape: Tape) -> Window:
    """The part of a tape that is measured: all of it, but for the last minute before a known close."""
    begin_ns, end_ns = int(tape.events["exch_ns"][0]), int(tape.events["exch_ns"][-1]) + 1
    if tape.meta.close_ns is not None:
        end_ns = min(end_ns, tape.meta.close_ns - LAST_NS)
    return begin_ns, end_ns


def sample_tape(tape: Tape, window: Window | None = None) -> Sample:
    """Measure a tape of events with trades inside `window` (None: `default_window`)."""
    prices = [price for grid in tape.meta.grids for price in grid.prices()]
    step = math.gcd(flow_stats.CENT, *prices)
    begin_ns, end_ns = window if window is not None else default_window(tape)
    return sample_events(flatten_snapshots(tape.events), step, begin_ns, end_ns, tape.meta.ticker)


def sample_events(events: d.Array, step: int, begin_ns: int, end_ns: int, name: str) -> Sample:
    """Measure the events of one market, without SNAPSHOT rows, whose prices are multiples of `step`."""
    window = np.zeros(1, flow_stats.WINDOW)
    window["low_mid2"], window["high_mid2"] = 2 * LOW_CENTS / CENTS, 2 * HIGH_CENTS / CENTS
    window["begin_ns"], window["end_ns"] = begin_ns, end_ns
    window["max_silence_ns"], window["merge_ns"], window["step"] = MAX_SILENCE_NS, MERGE_NS, step
    totals = np.zeros(1, flow_stats.TOTALS)
    path: d.Array = np.zeros(len(events) + 1, flow_stats.PATH)
    orders: d.Array = np.zeros(len(events) + 1, flow_stats.ORDER)
    depth_ns = np.zeros((2, flow_stats.DEPTH_LEVELS))
    spread_ns = np.zeros(flow_stats.SPREAD_BINS, np.int64)
    flow_stats.observe(events, window, new_depth(), new_best(), totals, path, orders, depth_ns, spread_ns)
    path = path[: int(totals[0]["paths"])].copy()
    orders = orders[: int(totals[0]["orders"])].copy()
    counted = path["mid2"][path["counted"] == 1]
    signs = np.where(orders["side"] == d.BID, 1.0, -1.0)
    changes = tuple(_changes(path, seconds * NS_PER_SECOND) for seconds in CHANGE_SECONDS)
    return Sample(
        name=name,
        counted_ns=int(totals[0]["counted_ns"]),
        level_changes=int(totals[0]["level_changes"]),
        spread_ns=spread_ns,
        depth_ns=depth_ns,
        sizes=orders["qty"] / QTY_SCALE,
        signs=signs,
        markouts=_markouts(path, orders, signs),
        changes=changes,
        jumps=tuple(_is_jump(one) for one in changes),
        first_mid=float(counted[0]) / (2 * PRICE_SCALE) if len(counted) else math.nan,
    )


def _path_rows(path: d.Array, at_ns: IntArray) -> IntArray:
    """Row of the path in force at each time."""
    rows: IntArray = np.searchsorted(path["at_ns"], at_ns, "right") - 1
    return rows


def _markouts(path: d.Array, orders: d.Array, signs: Floats) -> Floats:
    """What the maker of each taker's order had gained a horizon after its last print, cents a contract."""
    paid = orders["cost"] / np.maximum(orders["qty"], 1) * CENTS
    found = np.full((len(orders), len(MARKOUT_SECONDS)), np.nan)
    for column, horizon_ns in enumerate(d.MARKOUT_HORIZONS_NS):
        mid2 = path["mid2"][_path_rows(path, orders["last_ns"] + horizon_ns)]
        known = mid2 != flow_stats.UNKNOWN
        found[known, column] = (signs * (paid - mid2 * (CENTS / 2)))[known]
    return found


def _changes(path: d.Array, span_ns: int) -> Floats:
    """Changes of the mid, cents, between points `span_ns` apart of which the first counts."""
    if not len(path):
        return np.zeros(0)
    at = np.arange(path["at_ns"][0], path["at_ns"][-1] + 1, span_ns, dtype=np.int64)
    rows = _path_rows(path, at)
    mid2, counted = path["mid2"][rows], path["counted"][rows]
    good = (counted[:-1] == 1) & (mid2[1:] != flow_stats.UNKNOWN)
    changes: Floats = (mid2[1:] - mid2[:-1])[good] * (CENTS / 2)
    return changes


# --- one figure of several samples ------------------------------------------------------------------------


def _hours(samples: Sequence[Sample]) -> float:
    return sum(one.counted_ns for one in samples) / NS_PER_HOUR


def _added(parts: Sequence[IntArray]) -> Floats:
    total: Floats = np.sum(np.stack(parts), axis=0, dtype=np.float64)
    return total


def _spread_mean(samples: Sequence[Sample]) -> float:
    spent = _added([one.spread_ns for one in samples])
    step = flow_stats.SPREAD_STEP * CENTS
    return float(np.arange(len(spent)) @ spent / spent.sum() * step) if spent.sum() else math.nan


def _spread_quantile(share: float, samples: Sequence[Sample]) -> float:
    """Quantile over time of the spread in cents, as of grouped data: evenly spread inside each cent."""
    fine = _added([one.spread_ns for one in samples])
    if not fine.sum():
        return math.nan
    cents = np.ceil(np.arange(len(fine)) * flow_stats.SPREAD_STEP * CENTS - 1e-9).astype(np.int64)
    total = np.cumsum(np.bincount(cents, weights=fine))
    k = int(np.searchsorted(total, share * total[-1]))
    below = total[k - 1] if k else 0.0
    return float(k - 1 + (share * total[-1] - below) / (total[k] - below))


def _depth(side: int, behind: int, samples: Sequence[Sample]) -> float:
    """Typical contracts at a level: the geometric mean over time of 1 + contracts, less 1."""
    spent = sum(one.counted_ns for one in samples)
    return math.expm1(sum(float(one.depth_ns[side, behind]) for one in samples) / spent)


def _level_rate(samples: Sequence[Sample]) -> float:
    return sum(one.level_changes for one in samples) / _hours(samples)


def _trade_rate(samples: Sequence[Sample]) -> float:
    return sum(len(one.sizes) for one in samples) / _hours(samples)


def _size(figure: Callable[[Floats], np.floating[npt.NBitBase]], samples: Sequence[Sample]) -> float:
    sizes = np.concatenate([one.sizes for one in samples])
    return float(figure(sizes)) if len(sizes) else math.nan


def _buy_share(samples: Sequence[Sample]) -> float:
    signs = np.concatenate([one.signs for one in samples])
    return float(np.mean(signs > 0)) if len(signs) else math.nan


def _sign_correlation(lag: int, samples: Sequence[Sample]) -> float:
    """Autocorrelation of takers' sides, pairs within one tape, mean and variance of all."""
    signs = np.concatenate([one.signs for one in samples])
    pairs = [one.signs[lag:] * one.signs[:-lag] for one in samples if len(one.signs) > lag]
    mean = float(signs.mean()) if len(signs) else math.nan
    if not pairs or mean * mean >= 1.0:
        return math.nan
    return (float(np.concatenate(pairs).mean()) - mean * mean) / (1.0 - mean * mean)


def _is_jump(changes: Floats) -> npt.NDArray[np.bool_]:
    """Which of a tape's changes of the mid are large for their neighbourhood."""
    if not len(changes):
        return np.zeros(0, np.bool_)
    size = np.abs(changes)
    around = np.pad(size, JUMP_NEIGHBOURS, constant_values=math.nan)
    near = np.lib.stride_tricks.sliding_window_view(around, 2 * JUMP_NEIGHBOURS + 1)
    usual = NORMAL_MAD * np.nanmedian(near, axis=1)
    large: npt.NDArray[np.bool_] = size >= np.maximum(JUMP_CENTS, JUMP_SIGMAS * usual)
    return large


def _volatility(column: int, samples: Sequence[Sample]) -> float:
    """Root of the truncated realised variance (C. Mancini, 2009): jumps are counted apart."""
    total = sum(float(np.sum(one.changes[column][~one.jumps[column]] ** 2)) for one in samples)
    moves = sum(len(one.changes[column]) for one in samples)
    return math.sqrt(total / moves * 3600 / CHANGE_SECONDS[column]) if moves else math.nan


def _jumps(samples: Sequence[Sample]) -> Floats:
    """Sizes in cents of the jumps over 10 s."""
    return np.concatenate([np.abs(one.changes[JUMP_COLUMN][one.jumps[JUMP_COLUMN]]) for one in samples])


def _jump_rate(samples: Sequence[Sample]) -> float:
    moves = sum(len(one.changes[JUMP_COLUMN]) for one in samples)
    hours = moves * CHANGE_SECONDS[JUMP_COLUMN] / 3600
    return len(_jumps(samples)) / hours if moves else math.nan


def _jump_size(samples: Sequence[Sample]) -> float:
    sizes = _jumps(samples)
    return float(sizes.mean()) if len(sizes) else math.nan


def _markout(column: int, samples: Sequence[Sample]) -> float:
    values = np.concatenate([one.markouts[:, column] for one in samples])
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


# --- rows, distances, tolerances --------------------------------------------------------------------------

Scale = Literal["ratio", "absolute"]


@dataclass(frozen=True, slots=True)
class Row:
    """One statistic: how far apart two figures are, and how far they may be.

    `ratio`: distance |ln((generated + floor) / (recorded + floor))|; `absolute`: |generated - recorded|. The
    tolerance is fixed here; `share` widens it to that share of the recorded figure where that is more.
    """

    key: str
    label: str
    unit: str
    figure: Callable[[Sequence[Sample]], float]
    scale: Scale
    tolerance: float
    share: float = 0.0
    floor: float = 0.0

    def position(self, value: float) -> float:
        """A figure on the axis on which distances are measured."""
        return math.log(value + self.floor) if self.scale == "ratio" and value + self.floor > 0 else value

    def allowed(self, recorded: float) -> float:
        """The tolerance as a distance from `recorded`."""
        return max(self.tolerance, self.share * abs(recorded))


FACTOR: Final = math.log(1.35)  # of rates, sizes and depth
VOLATILITY_FACTOR: Final = math.log(1.25)
SPREAD_CENTS: Final = 0.3
SPREAD_SHARE: Final = 0.15
MARKOUT_CENTS: Final = 0.35
CORRELATION: Final = 0.1
NORMAL_975: Final = 1.959964  # 97.5% quantile of the normal distribution
RESAMPLES: Final = 200


def _rows() -> tuple[Row, ...]:
    rows = [
        Row("spread_mean", "spread, mean", "c", _spread_mean, "absolute", SPREAD_CENTS, SPREAD_SHARE),
        *(
            Row(
                f"spread_p{percent}",
                f"spread, {name}",
                "c",
                partial(_spread_quantile, percent / 100),
                "absolute",
                SPREAD_CENTS,
                SPREAD_SHARE,
            )
            for percent, name in ((50, "median"), (90, "90%"))
        ),
    ]
    for side, name in ((d.BID, "bid"), (d.ASK, "ask")):
        for behind in range(flow_stats.DEPTH_LEVELS):
            where = f"{behind} c behind" if behind else "touch"
            figure = partial(_depth, side, behind)
            label = f"depth {name}, {where}"
            rows.append(Row(f"depth_{name}_{behind}", label, "contracts", figure, "ratio", FACTOR, floor=1.0))
    rows += [
        Row("level_rate", "level changes", "/h", _level_rate, "ratio", FACTOR, floor=1.0),
        Row("trade_rate", "trades", "/h", _trade_rate, "ratio", FACTOR, floor=1.0),
        Row("size_median", "trade size, median", "contracts", partial(_size, np.median), "ratio", FACTOR),
        Row("size_mean", "trade size, mean", "contracts", partial(_size, np.mean), "ratio", FACTOR),
        Row("size_p90", "trade size, 90%", "contracts", partial(_size, _percentile_90), "ratio", FACTOR),
        Row("buy_share", "takers that buy YES", "share", _buy_share, "absolute", CORRELATION),
    ]
    for lag in SIGN_LAGS:
        figure = partial(_sign_correlation, lag)
        label = f"sign correlation, lag {lag}"
        rows.append(Row(f"sign_correlation_{lag}", label, "", figure, "absolute", CORRELATION))
    for column, seconds in enumerate(CHANGE_SECONDS):
        figure = partial(_volatility, column)
        label = f"volatility, {seconds} s"
        rows.append(Row(f"volatility_{seconds}s", label, "c/sqrt(h)", figure, "ratio", VOLATILITY_FACTOR))
    rows.append(Row("jump_rate", "jumps", "/h", _jump_rate, "ratio", FACTOR, floor=1.0))
    rows.append(Row("jump_size", "jump, mean", "c", _jump_size, "ratio", FACTOR))
    for column, seconds in enumerate(MARKOUT_SECONDS):
        figure = partial(_markout, column)
        label = f"maker's markout, {seconds} s"
        rows.append(Row(f"markout_{seconds}s", label, "c", figure, "absolute", MARKOUT_CENTS))
    return tuple(rows)


def _percentile_90(values: Floats) -> np.floating[npt.NBitBase]:
    return np.percentile(values, 90)


ROWS: Final = _rows()

Measured = dict[str, float]


def measure(samples: Sequence[Sample]) -> Measured:
    """The figure of each row over all samples; NaN where they tell nothing about it."""
    if not samples or not _hours(samples):
        return {row.key: math.nan for row in ROWS}
    return {row.key: row.figure(samples) for row in ROWS}


def standard_errors(samples: Sequence[Sample]) -> Measured:
    """Standard error of each row's position: bootstrap over whole tapes (B. Efron, 1979).

    Times sqrt(n / (n - 1)), as resampling n tapes spreads that much less than n new ones would. NaN where
    fewer than two tapes tell something.
    """
    n = len(samples)
    if n < 2:
        return {row.key: math.nan for row in ROWS}
    draws = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    again = [measure([samples[i] for i in draw]) for draw in draws.tolist()]
    errors = {}
    for row in ROWS:
        positions = np.array([row.position(one[row.key]) for one in again])
        positions = positions[np.isfinite(positions)]
        errors[row.key] = float(positions.std()) * math.sqrt(n / (n - 1)) if len(positions) else math.nan
    return errors


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of recorded and generated figures side by side.

    `verdict`: `yes` within the tolerance, `noise` beyond it but within the recorded figure's 95% interval,
    `no`, or `unknown` where one side tells nothing.
    """

    row: Row
    recorded: float
    error: float  # standard error of the recorded figure's position; NaN: not known
    generated: float
    distance: float
    allowed: float
    verdict: Literal["yes", "noise", "no", "unknown"]


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, to 2% from two degrees of freedom on; infinite for none.

    M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 1964, 26.7.5.
    """
    if freedom < 1:
        return math.inf
    z = NORMAL_975
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def compare(
    recorded: Measured, errors: Measured, generated: Measured, freedom: int
) -> tuple[Comparison, ...]:
    """Every row with its distance and verdict; `freedom` is that of the standard errors (tapes less one)."""
    chance = student(freedom)
    found = []
    for row in ROWS:
        ours, theirs, error = generated[row.key], recorded[row.key], errors[row.key]
        distance, allowed = abs(row.position(ours) - row.position(theirs)), row.allowed(theirs)
        verdict: Literal["yes", "noise", "no", "unknown"] = "no"
        if math.isnan(distance):
            verdict = "unknown"
        elif distance <= allowed:
            verdict = "yes"
        elif distance <= chance * error:
            verdict = "noise"
        found.append(Comparison(row, theirs, error, ours, distance, allowed, verdict))
    return tuple(found)


def resembles(rows: Sequence[Comparison]) -> bool:
    """Whether no row is out of tolerance and something was compared."""
    return all(one.verdict != "no" for one in rows) and any(one.verdict == "yes" for one in rows)
