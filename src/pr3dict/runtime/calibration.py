"""Fits the flow generator to recorded tapes by simulated moments (D. McFadden, 1989).

Generated markets are measured exactly as the recorded ones are, each over the same part of its life as one
of the tapes. The search knows which statistic each number of a regime moves most: it first follows these
pairs, then lets all numbers evolve (`runtime/search.py`). The seeds stay the same throughout, so the answer
depends on nothing but the tapes, the seed and the budget.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import PriceGrid, kalshi_grid
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.runtime.resemblance import (
    LAST_NS,
    MIN_COUNTED_NS,
    ROWS,
    Comparison,
    Measured,
    Sample,
    Window,
    compare,
    default_window,
    measure,
    sample_events,
    sample_tape,
    standard_errors,
)
from pr3dict.runtime.search import Floats, minimise
from pr3dict.runtime.synthetic import OPEN_NS, Regime, flow_params, generate_events, one_market
from pr3dict.store.tape import Tape

GRIDS: Final = ("linear_cent", "deci_cent", "tapered_deci_cent")
MIN_SAMPLES: Final = 4
UNKNOWN_LIFE_HOURS: Final = 3.0  # of a market whose close is not known
FRESH_SEEDS: Final = 1_000_000  # how far the seeds of a judgement lie from those of the fit
MARKETS: Final = 60  # generated for each figure of a fit, at least
PAIRED_ROUNDS: Final = 10
GAIN: Final = 0.6  # share of a gap that one paired round closes
STEPS: Final = (0.15, 0.3, 0.1)  # of the rounds of the search, in units of a large change of a knob
HUBER: Final = 3.0  # tolerances beyond which a row counts linearly, so that none rules all others

Progress = Callable[[int, float], None]  # (evaluations done, best loss)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a market's life that a tape shows, relative to the open."""

    life_ns: int
    begin_ns: int
    end_ns: int
    known_close: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded tapes as a fit sees them."""

    samples: tuple[Sample, ...]
    parts: tuple[Part, ...]
    grid: str
    figures: Measured
    errors: Measured
    sessions: tuple[str, ...]
    left_out: tuple[str, ...]  # sentences


class FittedTo(NamedTuple):
    """How sure the figures are that a regime was fitted to."""

    errors: Measured
    tapes: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted regime and how near it came on the tapes that it was fitted on."""

    regime: Regime
    loss: float
    evaluations: int


# --- what was recorded ------------------------------------------------------------------------------------


def part_of(tape: Tape, window: Window) -> Part:
    """Where in its market's life a window lies; a tape without a known close begins a life of its own."""
    begin_ns, end_ns = window
    open_ns, close_ns = tape.meta.open_ns, tape.meta.close_ns
    if open_ns is not None and close_ns is not None:
        return Part(close_ns - open_ns, max(0, begin_ns - open_ns), end_ns - open_ns, known_close=True)
    first_ns = int(tape.events["exch_ns"][0])
    life_ns = max(round(UNKNOWN_LIFE_HOURS * NS_PER_HOUR), end_ns - first_ns + LAST_NS)
    return Part(life_ns, begin_ns - first_ns, end_ns - first_ns, known_close=False)


def windows_of(tape: Tape, pieces: int) -> list[Window]:
    """The measured part of a tape, cut into equal pieces."""
    begin_ns, end_ns = default_window(tape)
    cuts = [begin_ns + (end_ns - begin_ns) * piece // pieces for piece in range(pieces + 1)]
    return list(itertools.pairwise(cuts))


def grid_label(grid: PriceGrid) -> str:
    """The label of a price grid that generated markets can have.

    Raises:
        DataError: they can't have this one.
    """
    for label in GRIDS:
        if kalshi_grid(label).prices() == grid.prices():
            return label
    raise DataError(f"the price grid is none of {', '.join(GRIDS)}: no such market can be generated")


def read_recorded(tapes: Sequence[Tape]) -> Recorded:
    """Measure tapes; what tells too little is left out and said.

    Fewer than MIN_SAMPLES tapes are cut into as many equal pieces as make up that number, so that there is
    something to estimate standard errors from.

    Raises:
        DataError: a tape holds no book or no trades, their grids differ, or nothing is left.
    """
    kept: list[tuple[Sample, Part]] = []
    labels: set[str] = set()
    sessions: dict[str, None] = {}
    left_out = []
    for tape in tapes:
        if tape.meta.kind != "book" or tape.meta.has_trades == "none":
            raise DataError("calibration needs a book and trades; leave this tape out", key=tape.meta.ticker)
        for window in windows_of(tape, -(-MIN_SAMPLES // len(tapes))):
            sample = sample_tape(tape, window)
            if sample.counted_ns < MIN_COUNTED_NS:
                seconds = sample.counted_ns / NS_PER_SECOND
                left_out.append(f"{tape.meta.ticker} ({tape.meta.session}): only {seconds:.0f} s count")
                continue
            labels.add(grid_label(tape.meta.grids[0]))
            sessions[tape.meta.session] = None
            kept.append((sample, part_of(tape, window)))
    if not kept:
        raise DataError(f"no tape has {MIN_COUNTED_NS // NS_PER_SECOND} s that count; give longer ones")
    if len(labels) > 1:
        raise DataError(f"the tapes' price grids differ ({', '.join(sorted(labels))}); fit them apart")
    samples = tuple(sample for sample, _ in kept)
    return Recorded(
        samples=samples,
        parts=tuple(part for _, part in kept),
        grid=labels.pop(),
        figures=measure(samples),
        errors=standard_errors(samples),
        sessions=tuple(sessions),
        left_out=tuple(left_out),
    )


def split(tapes: Sequence[Tape], share: float) -> tuple[list[Tape], list[Tape]]:
    """Tapes to fit and tapes to judge: whole sessions, in order of time, spread evenly.

    A market that was recorded in two sessions binds them together.

    Raises:
        DataError: there are too few sessions for that share.
    """
    leader: dict[str, str] = {}  # session or market to another of its group, or to itself

    def group(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    in_time = sorted(tapes, key=lambda tape: int(tape.events["exch_ns"][0]))
    for tape in in_time:
        market = tape.meta.contract_id or f"{tape.meta.venue} {tape.meta.ticker}"
        leader[group(f"market {market}")] = group(f"session {tape.meta.session}")
    order = list(dict.fromkeys(group(f"session {tape.meta.session}") for tape in in_time))
    held = {one for i, one in enumerate(order) if int((i + 1) * share) > int(i * share)}
    fitted = [tape for tape in in_time if group(f"session {tape.meta.session}") not in held]
    judged = [tape for tape in in_time if group(f"session {tape.meta.session}") in held]
    if not fitted or not judged:
        raise DataError(
            f"{len(order)} independent sessions can't be split so that {share:g} of them are held out"
        )
    return fitted, judged


# --- generated markets ------------------------------------------------------------------------------------


def simulate(regime: Regime, parts: Sequence[Part], seed: int, markets: int) -> tuple[Sample, ...]:
    """Samples of `markets` generated ones, the parts in turn."""
    prices = np.array(kalshi_grid(regime.grid).prices(), np.int32)
    step = int(np.gcd.reduce(np.append(prices, 100)))
    samples = []
    for number in range(markets):
        part = parts[number % len(parts)]
        one = one_market(regime, seed + number)
        params = flow_params(one)
        params["duration_ns"] = part.life_ns
        events = flatten_snapshots(generate_events(params, seed + number, prices))
        begin_ns, end_ns = OPEN_NS + part.begin_ns, OPEN_NS + part.end_ns
        samples.append(sample_events(events, step, begin_ns, end_ns, f"{regime.name}-{number}"))
    return tuple(samples)


def judge(
    regime: Regime,
    recorded: Recorded,
    *,
    seed: int,
    fitted_to: FittedTo | None = None,
    markets: int | None = None,
) -> tuple[Comparison, ...]:
    """Recorded and freshly generated statistics side by side; seeds of the fit are not used again.

    `fitted_to` is given where `regime` was fitted to others than the `recorded` tapes: two independent sets
    differ by the errors of both.
    """
    seed += FRESH_SEEDS
    generated = measure(simulate(regime, recorded.parts, seed, markets or market_count(recorded)))
    errors, freedom = recorded.errors, len(recorded.samples) - 1
    if fitted_to is not None:
        errors = {key: math.hypot(errors[key], fitted_to.errors[key]) for key in errors}
        freedom += fitted_to.tapes - 1
    return compare(recorded.figures, errors, generated, freedom)


def market_count(recorded: Recorded) -> int:
    """A multiple of the tapes' number, at least MARKETS."""
    tapes = len(recorded.parts)
    return tapes * -(-MARKETS // tapes)


# --- the search -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knob:
    """A number of a regime that a fit may change."""

    field: str
    low: float
    high: float
    unit: float = 0.0  # what counts as a large change; 0: doubling or halving
    whole: bool = False

    def bound(self, value: float) -> float | int:
        """The nearest allowed value, with four digits, so that what is stored is what was tried."""
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.whole else float(f"{inside:.4g}")

    def coordinate(self, value: float) -> float:
        """Where a value lies on an axis on which a step of 1 is large for every knob."""
        return value / self.unit if self.unit else math.log2(value)

    def value(self, coordinate: float) -> float | int:
        """The nearest allowed value to a place on that axis."""
        return self.bound(coordinate * self.unit if self.unit else 2.0 ** min(coordinate, 60.0))


KNOBS: Final = (
    Knob("volatility", 0.005, 20.0),
    Knob("resolve", 0.01, 20.0),
    Knob("news_rate", 0.01, 5_000.0),
    Knob("news_size", 0.01, 2.0),
    Knob("news_tail", 0.0, 1.5, unit=0.4),
    Knob("alert", 0.0, 1.0, unit=0.3),
    Knob("half_spread_cents", 0.1, 40.0),
    Knob("makers", 1, 8, unit=2.0, whole=True),
    Knob("levels", 1, 12, unit=2.0, whole=True),
    Knob("maker_step", 0.0, 8.0, unit=0.5),
    Knob("maker_contracts", 5.0, 200_000.0),
    Knob("rung_slope", -1.5, 1.0, unit=0.4),
    Knob("rung_curve", -0.5, 0.3, unit=0.1),
    Knob("rung_hump", -2.0, 2.0, unit=0.3),
    Knob("rung_hump_at", -2.0, 8.0, unit=1.0),
    Knob("rung_first", -2.0, 2.0, unit=0.3),
    Knob("rung_trim", 0.0, 0.66, unit=0.2),
    Knob("refresh_rate", 5.0, 60_000.0),
    Knob("view_weight", 0.05, 1.0, unit=0.3),
    Knob("view_noise", 0.0005, 0.5),
    Knob("noise_rate", 0.5, 200_000.0),
    Knob("noise_contracts", 1.0, 20_000.0),
    Knob("noise_sigma", 0.1, 3.5, unit=0.4),
    Knob("noise_buy", 0.2, 0.8, unit=0.1),
    Knob("sweep_cents", 0.0, 20.0, unit=2.0),
    Knob("noise_thrift", 0.0, 3.0, unit=0.3),
    Knob("informed_rate", 0.5, 200_000.0),
    Knob("informed_contracts", 1.0, 20_000.0),
    Knob("informed_edge_cents", 0.0, 5.0, unit=0.5),
    Knob("depth_rate", 5.0, 2_000_000.0),
    Knob("depth_contracts", 1.0, 50_000.0),
    Knob("depth_sigma", 0.0, 3.0, unit=0.4),
    Knob("depth_leave", 0.0, 1.0, unit=0.3),
    Knob("depth_limit_contracts", 8.0, 2_000_000.0),
    Knob("depth_reach", 0.2, 8.0),
    Knob("pull", 0.0, 0.7, unit=0.15),
    Knob("depth_inside", 0.0, 0.5, unit=0.1),
    Knob("depth_follow", 0.0, 1.0, unit=0.3),
    Knob("clustering", 0.0, 0.9, unit=0.2),
    Knob("herding", 0.0, 0.9, unit=0.2),
    Knob("herd_memory", 1.0, 60.0),
    Knob("retreat_rate", 0.001, 5_000.0),
    Knob("retreat_cents", 0.3, 40.0),
    Knob("retreat_seconds", 0.02, 60.0),
)


def loss_of(recorded: Recorded, generated: Measured) -> float:
    """Sum over the rows of squared distances, in units of what each row may be off."""
    total = 0.0
    for row in ROWS:
        theirs, error = recorded.figures[row.key], recorded.errors[row.key]
        if math.isnan(theirs):
            continue
        unit = row.allowed(theirs)
        if not math.isnan(error):
            unit = max(unit, error)
        gap = abs(row.position(generated[row.key]) - row.position(theirs)) / unit
        gap = 10.0 if math.isnan(gap) else gap
        total += gap * gap if gap <= HUBER else HUBER * (2 * gap - HUBER)
    return total


def first_guess(recorded: Recorded, name: str, about: str, source: str) -> Regime:
    """A regime read directly from the statistics: rates, sizes, depth and spread as they were recorded."""
    f = recorded.figures
    if math.isnan(f["size_median"]):
        raise DataError("the tapes hold no trade in the part that counts; give others")
    mids = np.array([one.first_mid for one in recorded.samples])
    odds = np.log(mids / (1 - mids))
    life_h = float(np.median([part.life_ns for part in recorded.parts])) / NS_PER_HOUR
    known_close = all(part.known_close for part in recorded.parts)
    ladder = [max(math.sqrt(f[f"depth_bid_{k}"] * f[f"depth_ask_{k}"]), 1.0) for k in range(6)]
    resting = max(ladder[0], 10.0)
    slope = min(max(math.log(ladder[2] / ladder[0]) / 2, -1.0), 0.8)
    deviation = max(f["volatility_60s"], 1.0) / 25  # log-odds: a cent at 0.50 is 0.04
    tail = max(f["size_p90"] / f["size_median"], 1.2)
    return Regime(
        name=name,
        about=about,
        source=source,
        grid=recorded.grid,
        hours=life_h,
        p0=0.5,
        p0_spread=float(np.sqrt(np.mean(odds**2))) if not known_close else 0.0,
        volatility=deviation * 0.7,
        resolve=max(deviation**2 * life_h / 8, 0.02),
        resolve_floor_hours=life_h / 900,
        news_rate=max(f["jump_rate"] / 2, 0.05),
        news_size=0.25,
        news_tail=0.5,
        alert=0.5,
        makers=4,
        levels=5,
        half_spread_cents=max(0.4 * f["spread_p50"], 0.3),
        maker_contracts=resting / 2,
        rung_slope=slope,
        rung_trim=0.3,
        refresh_rate=max(f["level_rate"] / 30, 20.0),
        noise_rate=0.6 * f["trade_rate"],
        noise_contracts=f["size_median"],
        noise_sigma=math.log(tail) / 1.2816,  # the normal distribution's 90% point
        noise_buy=0.5,
        sweep_cents=1.0,
        noise_thrift=0.2,
        informed_rate=0.6 * f["trade_rate"],
        informed_contracts=f["size_median"],
        informed_sigma=math.log(tail) / 1.2816,
        informed_edge_cents=0.2,
        depth_rate=f["level_rate"] / 3,
        depth_contracts=max(resting / 8, 1.0),
        depth_sigma=0.8,
        depth_leave=0.2,
        depth_limit_contracts=max(resting * 2, 8.0),
        pull=0.05,
        depth_inside=0.02,
        depth_follow=0.8,
        clustering=0.2,
        clustering_minutes=max(2.0 / max(f["trade_rate"] / 60, 0.05), 0.01),
        herding=0.3,
        retreat_rate=max(f["jump_rate"] / 2, 0.05),
        retreat_cents=2 * f["spread_p90"],
        activity_spread=_between(recorded, "trade_rate"),
        size_spread=_between(recorded, "depth_bid_1", "depth_ask_1"),
        volatility_spread=0.5 * _between(recorded, "volatility_10s"),
    )


def _between(recorded: Recorded, *keys: str) -> float:
    """Standard deviation from tape to tape of the logarithm of a figure; 0 with fewer than four tapes."""
    if len(recorded.samples) < 4:
        return 0.0
    each = [measure([one]) for one in recorded.samples]
    values = np.array([sum(math.log(max(one[key], 1.0)) for key in keys) / len(keys) for one in each])
    values = values[~np.isnan(values)]
    middle = np.median(np.abs(values - np.median(values))) * 1.4826  # one odd tape does not rule
    return round(min(float(middle), 0.8), 3)


def _paired(regime: Regime, recorded: Measured, generated: Measured, gain: float) -> Regime:
    """Each number moved toward closing the gap of the statistic that it moves most."""

    def ratio(*keys: str, power: float = 1.0, floor: float = 1.0) -> float:
        logs = [math.log((recorded[key] + floor) / (generated[key] + floor)) for key in keys]
        known = [value for value in logs if not math.isnan(value)]
        if not known:
            return 1.0
        return math.exp(min(max(gain * power * sum(known) / len(known), -0.7), 0.7))

    def gap(key: str) -> float:
        value = recorded[key] - generated[key]
        return 0.0 if math.isnan(value) else value

    near = ratio("depth_bid_0", "depth_ask_0")
    deep = ratio("depth_bid_2", "depth_ask_2", "depth_bid_3", "depth_ask_3")
    wild = ratio("volatility_60s", "volatility_10s")
    taken = ratio("trade_rate")
    width = max(recorded["spread_mean"], 0.5)
    toxic = math.exp(min(max(-gap("markout_10s") / width, -0.3), 0.3))
    return _bounded(
        msgspec.structs.replace(
            regime,
            volatility=regime.volatility * wild,
            resolve=regime.resolve * wild**2,
            news_rate=regime.news_rate * ratio("jump_rate", power=0.5),
            half_spread_cents=regime.half_spread_cents * ratio("spread_mean", floor=0.1),
            maker_contracts=regime.maker_contracts * near,
            depth_contracts=regime.depth_contracts * deep,
            depth_limit_contracts=regime.depth_limit_contracts * deep,
            noise_rate=regime.noise_rate * taken / toxic,
            informed_rate=regime.informed_rate * taken * toxic,
            noise_contracts=regime.noise_contracts * ratio("size_median"),
            informed_contracts=regime.informed_contracts * ratio("size_mean"),
            noise_sigma=regime.noise_sigma * ratio("size_p90", power=0.3),
            depth_rate=regime.depth_rate * ratio("level_rate"),
            herding=regime.herding + gain * gap("sign_correlation_1"),
            noise_buy=regime.noise_buy + gain * gap("buy_share"),
        )
    )


def _bounded(regime: Regime) -> Regime:
    values = {k.field: k.bound(float(getattr(regime, k.field))) for k in KNOBS}
    return msgspec.structs.replace(regime, **values)


def _coordinates(regime: Regime) -> Floats:
    return np.array([knob.coordinate(float(getattr(regime, knob.field))) for knob in KNOBS])


def _regime_at(point: Floats, regime: Regime) -> Regime:
    values = {k.field: k.value(float(x)) for k, x in zip(KNOBS, point, strict=True)}
    return msgspec.structs.replace(regime, **values)


def fit(
    recorded: Recorded,
    start: Regime,
    *,
    seed: int,
    evaluations: int,
    markets: int | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Search from `start` for the regime whose markets resemble the recorded ones, with a fixed budget."""
    many = markets or market_count(recorded)
    best, best_loss, done = _bounded(start), math.inf, 0

    def attempt(regime: Regime) -> tuple[float, Measured]:
        nonlocal best, best_loss, done
        generated = measure(simulate(regime, recorded.parts, seed, many))
        loss = loss_of(recorded, generated)
        done += 1
        if loss < best_loss:
            best, best_loss = regime, loss
        if progress is not None:
            progress(done, best_loss)
        return loss, generated

    gain = GAIN
    _, anchor = attempt(best)
    for _ in range(min(PAIRED_ROUNDS, evaluations - 1)):
        before = best_loss
        loss, generated = attempt(_paired(best, recorded.figures, anchor, gain))
        if loss < before:
            anchor = generated
        else:
            gain /= 2
    candidates = {best: None}
    for number, step in enumerate(STEPS):
        middle = best

        def loss_at(point: Floats, middle: Regime = middle) -> float:
            return attempt(_regime_at(point, middle))[0]

        found = minimise(
            loss_at,
            _coordinates(middle),
            step=step,
            seed=seed + number,
            evaluations=(evaluations - done) // (len(STEPS) - number),
        )
        candidates |= {best: None, _regime_at(found.centre, middle): None}
    again = []
    for regime in candidates:  # the best one may owe it to its seeds
        generated = measure(simulate(regime, recorded.parts, seed + FRESH_SEEDS // 2, 2 * many))
        again.append((loss_of(recorded, generated), regime))
    loss, best = min(again, key=lambda pair: pair[0])
    return Fit(best, loss, done)
