"""Synthetic markets: named regimes of the flow generator, as tapes that say that they are synthetic.

Ten regimes were chosen by hand, five were fitted to recordings (`market_presets.toml`, docs/calibration.md).
They give a machine without recordings something to run and tests a known truth. What is earned on them is
no evidence about real markets.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.fees import KALSHI_TAKER_PPM
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.flow import DRAWN, FLOW, generate
from pr3dict.kernels.flow_rng import exponential, next_word, normal, seed_words, uniform
from pr3dict.store.tape import Tape, TapeFee, TapeMeta

OPEN_NS: Final = 1_788_220_800 * NS_PER_SECOND  # 2026-09-01T00:00:00Z, a date that means nothing
FEED_LATENCY_NS: Final = 40_000_000
SETTLE_DELAY_NS: Final = 60 * NS_PER_SECOND
SOURCE_FORMAT: Final = "pr3dict-flow-1"
PRESETS_FILE: Final = "market_presets.toml"  # beside this module
MINUTE_H: Final = 1 / 60
MAX_EVENT_MARKETS: Final = 50
_DRAW_STREAM: Final = 0x5EED << 24  # what is drawn once a market comes from a seed of its own
_FIRST_GUESS: Final = 1 << 17  # events; a longer life is generated twice

FEE: Final = TapeFee(
    kind="kalshi",
    taker_ppm=KALSHI_TAKER_PPM,
    source="Assumed: Kalshi fee type `quadratic` times 1: takers pay 0.07 p (1 - p), makers 0.",
)


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of market. Rates are per hour, sizes in contracts, prices in cents, log-odds plain."""

    name: str
    about: str
    grid: str = "linear_cent"  # label of the price grid
    hours: float = 36.0  # from open to close
    p0: float = 0.5  # probability of YES at the open
    outcome: int = DRAWN  # 0 or 1 makes the price trend there
    volatility: float = 0.08  # of the true log-odds, per square-root hour
    resolve: float = 0.6  # how hard information presses near the close
    resolve_floor_hours: float = 0.001
    news_rate: float = 0.05
    news_size: float = 0.3  # log-odds
    makers: int = 4
    levels: int = 8
    level_step_cents: float = 1.0
    half_spread_cents: float = 1.5
    maker_contracts: float = 250.0  # a rung
    refresh_rate: float = 45.0  # of each maker
    view_weight: float = 0.7
    view_noise: float = 0.02
    noise_rate: float = 60.0
    noise_contracts: float = 25.0  # median
    noise_sigma: float = 1.3
    noise_buy: float = 0.5  # share that buys YES
    sweep_cents: float = 4.0
    noise_thrift: float = 0.0
    informed_rate: float = 40.0
    informed_contracts: float = 120.0
    informed_edge_cents: float = 1.0
    depth_rate: float = 240.0
    depth_contracts: float = 80.0
    depth_sigma: float = 0.0
    depth_leave: float = 0.0
    depth_limit_contracts: float = 4_000.0
    clustering: float = 0.3
    clustering_minutes: float = 2.0
    maker_step: float = 0.25
    rung_slope: float = 0.0
    rung_curve: float = 0.0
    rung_hump: float = 0.0
    rung_hump_at: float = 2.0
    rung_first: float = 0.0
    rung_trim: float = 0.0
    depth_reach: float = 2.0
    pull: float = 0.0
    depth_inside: float = 0.0
    depth_follow: float = 0.0
    news_tail: float = 0.0
    alert: float = 0.0
    informed_sigma: float = 0.5
    herding: float = 0.0
    herd_memory: float = 4.0
    retreat_rate: float = 0.0
    retreat_cents: float = 4.0
    retreat_seconds: float = 4.0
    p0_spread: float = 0.0  # standard deviation of the log-odds of p0 from market to market
    activity_spread: float = 0.0  # the same of the logarithm of the rates
    size_spread: float = 0.0  # of resting sizes
    volatility_spread: float = 0.0
    source: str = "Chosen by hand."  # what the numbers were fitted on


REGIMES: Final = (
    Regime(name="calm", about="a liquid market with little news"),
    Regime(
        name="volatile",
        about="the probability wanders fast",
        volatility=0.35,
        refresh_rate=180.0,
        p0=0.45,
    ),
    Regime(
        name="few_makers",
        about="few makers with little size",
        makers=2,
        maker_contracts=330.0,
        levels=9,
        half_spread_cents=2.0,
        noise_rate=25.0,
        depth_rate=80.0,
        p0=0.6,
    ),
    Regime(
        name="wide_spread",
        about="makers keep six cents or more apart",
        half_spread_cents=3.2,
        levels=7,
        noise_rate=40.0,
        informed_edge_cents=2.0,
        p0=0.4,
    ),
    Regime(
        name="trending_yes",
        about="information piles up and YES wins",
        outcome=1,
        p0=0.35,
        volatility=0.22,
        refresh_rate=90.0,
    ),
    Regime(
        name="trending_no",
        about="information piles up and NO wins",
        outcome=0,
        p0=0.65,
        volatility=0.22,
        refresh_rate=90.0,
    ),
    Regime(
        name="news_heavy",
        about="news jumps every few hours",
        news_rate=0.4,
        news_size=0.6,
        p0=0.55,
        informed_rate=90.0,
    ),
    Regime(
        name="short_dated",
        about="a 15-minute market on a fine grid at the tails",
        grid="tapered_deci_cent",
        hours=15 * MINUTE_H,
        volatility=0.6,
        resolve=1.0,
        resolve_floor_hours=MINUTE_H / 60,
        half_spread_cents=0.6,
        makers=6,
        levels=10,
        maker_contracts=120.0,
        refresh_rate=9_000.0,
        view_noise=0.01,
        noise_rate=6_000.0,
        noise_contracts=30.0,
        informed_rate=3_000.0,
        depth_rate=18_000.0,
        clustering_minutes=0.1,
    ),
    Regime(
        name="deep_book",
        about="large resting size",
        maker_contracts=1_500.0,
        depth_contracts=400.0,
        depth_limit_contracts=20_000.0,
        noise_contracts=80.0,
        informed_contracts=500.0,
    ),
    Regime(
        name="one_sided_flow",
        about="four takers of five buy YES",
        noise_buy=0.8,
        noise_rate=80.0,
        p0=0.5,
    ),
)


def regime_of(name: str, table: Mapping[str, Any]) -> Regime:
    """The regime that a table of a file of presets holds; keys of other things are passed over.

    Raises:
        DataError: a number is missing its type.
    """
    fields = {key: value for key, value in table.items() if key in Regime.__struct_fields__}
    try:
        return msgspec.convert({**fields, "name": name}, Regime)
    except msgspec.ValidationError as error:
        raise DataError(f"no valid regime ({error})", key=name) from error


@cache
def fitted_regimes() -> tuple[Regime, ...]:
    """The regimes that were fitted to recordings."""
    text = files("pr3dict.runtime").joinpath(PRESETS_FILE).read_text(encoding="utf-8")
    return tuple(regime_of(name, table) for name, table in tomllib.loads(text).items())


def regime(name: str) -> Regime:
    """The regime of that name, chosen by hand or fitted.

    Raises:
        UsageError: there is none; the message lists them.
    """
    known = (*REGIMES, *fitted_regimes())
    for one in known:
        if one.name == name:
            return one
    raise UsageError(f"unknown regime {name!r}; choose one of {', '.join(one.name for one in known)}")


def flow_params(r: Regime, *, open_ns: int = OPEN_NS, feed_latency_ns: int = FEED_LATENCY_NS) -> d.Array:
    """A regime as the (1,) FLOW row of the generator."""

    def price(cents: float) -> int:
        return round(cents * PRICE_SCALE / 100)

    def size(contracts: float) -> int:
        return round(contracts * QTY_SCALE)

    values: dict[str, float] = {
        "open_ns": open_ns,
        "duration_ns": round(r.hours * NS_PER_HOUR),
        "settle_delay_ns": SETTLE_DELAY_NS,
        "feed_latency_ns": feed_latency_ns,
        "p0": r.p0,
        "outcome": r.outcome,
        "volatility": r.volatility,
        "resolve": r.resolve,
        "resolve_floor_ns": round(r.resolve_floor_hours * NS_PER_HOUR),
        "news_rate": r.news_rate,
        "news_size": r.news_size,
        "makers": r.makers,
        "levels": r.levels,
        "level_step": price(r.level_step_cents),
        "half_spread": price(r.half_spread_cents),
        "maker_size": size(r.maker_contracts),
        "refresh_rate": r.refresh_rate,
        "view_weight": r.view_weight,
        "view_noise": r.view_noise,
        "noise_rate": r.noise_rate,
        "noise_size": size(r.noise_contracts),
        "noise_size_sigma": r.noise_sigma,
        "noise_buy": r.noise_buy,
        "max_sweep": price(r.sweep_cents),
        "noise_thrift": r.noise_thrift,
        "informed_rate": r.informed_rate,
        "informed_size": size(r.informed_contracts),
        "informed_edge": price(r.informed_edge_cents),
        "depth_rate": r.depth_rate,
        "depth_size": size(r.depth_contracts),
        "depth_size_sigma": r.depth_sigma,
        "depth_leave": r.depth_leave,
        "depth_limit": size(r.depth_limit_contracts),
        "clustering": r.clustering,
        "clustering_decay": 60.0 / r.clustering_minutes,
        "maker_step": r.maker_step,
        "rung_slope": r.rung_slope,
        "rung_curve": r.rung_curve,
        "rung_hump": r.rung_hump,
        "rung_hump_at": r.rung_hump_at,
        "rung_first": r.rung_first,
        "rung_trim": r.rung_trim,
        "depth_reach": r.depth_reach,
        "pull": r.pull,
        "depth_inside": r.depth_inside,
        "depth_follow": r.depth_follow,
        "news_tail": r.news_tail,
        "alert": r.alert,
        "informed_size_sigma": r.informed_sigma,
        "herding": r.herding,
        "herd_memory": r.herd_memory,
        "retreat_rate": r.retreat_rate,
        "retreat_reach": price(r.retreat_cents),
        "return_rate": 3600.0 / r.retreat_seconds,
    }
    params = np.zeros(1, FLOW)
    for name in FLOW.names or ():
        params[0][name] = values[name]
    return params


def one_market(r: Regime, seed: int) -> Regime:
    """The regime of one market: what differs from market to market is drawn, means stay as they are."""
    if not (r.p0_spread or r.activity_spread or r.size_spread or r.volatility_spread):
        return r
    words = np.zeros(4, np.int64)
    seed_words(words, seed ^ _DRAW_STREAM)

    def factor(spread: float) -> float:
        return math.exp(spread * normal(words) - spread * spread / 2)

    log_odds = math.log(r.p0 / (1 - r.p0)) + r.p0_spread * normal(words)
    activity, size, volatility = (
        factor(spread) for spread in (r.activity_spread, r.size_spread, r.volatility_spread)
    )
    return msgspec.structs.replace(
        r,
        p0=min(max(1 / (1 + math.exp(-log_odds)), 0.02), 0.98),
        noise_rate=r.noise_rate * activity,
        informed_rate=r.informed_rate * activity,
        depth_rate=r.depth_rate * activity,
        refresh_rate=r.refresh_rate * activity,
        maker_contracts=r.maker_contracts * size,
        depth_contracts=r.depth_contracts * size,
        depth_limit_contracts=r.depth_limit_contracts * size,
        volatility=r.volatility * volatility,
        resolve=r.resolve * volatility,
        news_size=r.news_size * volatility,
    )


def generate_events(params: d.Array, seed: int, prices: npt.NDArray[np.int32]) -> d.Array:
    """All events of one market; see `kernels.flow.generate`."""
    events: d.Array = np.zeros(_FIRST_GUESS, d.EVENT)
    count = generate(events, params, seed, prices)
    if count > len(events):
        events = np.zeros(count, d.EVENT)
        generate(events, params, seed, prices)
    events.resize(count, refcheck=False)  # gives the rest of the guess back: there may be many markets
    return events


def synthetic_market(
    seed: int,
    regime_name: str,
    *,
    open_ns: int = OPEN_NS,
    feed_latency_ns: int = FEED_LATENCY_NS,
) -> Tape:
    """The life of one generated market as (events, meta), ready for a tape: the same seed, the same bytes.

    Raises:
        UsageError: the regime is unknown or the seed negative.
    """
    return market_tape(seed, regime(regime_name), open_ns=open_ns, feed_latency_ns=feed_latency_ns)


def synthetic_event(
    seed: int,
    chosen: Regime,
    *,
    markets: int,
    open_ns: int = OPEN_NS,
    feed_latency_ns: int = FEED_LATENCY_NS,
) -> list[Tape]:
    """Generated markets that exclude each other: exactly one ends YES, market k with probability p0 of k.

    The probabilities are drawn for the event and add up to 1. Given the outcome the markets' flows are
    independent, so between open and close their prices add up to about 1 only.

    Raises:
        UsageError: the seed is negative, or there are not 2 to 50 markets.
    """
    if not 2 <= markets <= MAX_EVENT_MARKETS:
        raise UsageError(f"{markets} markets can't exclude each other; choose 2 to {MAX_EVENT_MARKETS}")
    _check_seed(seed)
    words = np.zeros(4, np.int64)
    seed_words(words, seed)
    weights = [0.2 + float(exponential(words)) for _ in range(markets)]
    shares = [weight / sum(weights) for weight in weights]
    draw = float(uniform(words))
    winner = next((k for k in range(markets) if draw < sum(shares[: k + 1])), markets - 1)
    tapes = []
    for k, share in enumerate(shares):
        outcome = msgspec.structs.replace(chosen, p0=share, p0_spread=0.0, outcome=int(k == winner))
        market_seed = int(next_word(words)) << 31 | int(next_word(words)) >> 1
        events, meta = market_tape(market_seed, outcome, open_ns=open_ns, feed_latency_ns=feed_latency_ns)
        name = f"synthetic-{chosen.name}-event-{seed}"
        meta = msgspec.structs.replace(
            meta,
            ticker=f"{name}-{k}",
            event_id=name,
            exclusive=True,
            session=f"seed-{seed}",
            quality={"regime": chosen.name, "seed": seed},
        )
        tapes.append(Tape(events, meta))
    return tapes


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UsageError(f"seed {seed} is negative; choose 0 or more")


def market_tape(
    seed: int, chosen: Regime, *, open_ns: int = OPEN_NS, feed_latency_ns: int = FEED_LATENCY_NS
) -> Tape:
    """The life of one generated market of any regime, as `synthetic_market`.

    Raises:
        UsageError: the seed is negative.
    """
    _check_seed(seed)
    grid = kalshi_grid(chosen.grid)
    params = flow_params(one_market(chosen, seed), open_ns=open_ns, feed_latency_ns=feed_latency_ns)
    events = generate_events(params, seed, np.array(grid.prices(), np.int32))
    close_ns = open_ns + int(params[0].duration_ns)
    name = f"synthetic-{chosen.name}-{seed}"
    meta = TapeMeta(
        venue="synthetic",
        ticker=name,
        event_id=name,
        title=f"Synthetic: {chosen.about}",
        session=f"seed-{seed}",
        source_format=SOURCE_FORMAT,
        grids=(grid,),
        min_size=QTY_SCALE,
        lot=QTY_SCALE,
        fee=FEE,
        nets_positions=True,
        reduce_in_place=True,
        open_ns=open_ns,
        close_ns=close_ns,
        expected_resolution_ns=close_ns,
        times_source="Chosen by the generator.",
        outcome="yes" if events[-1]["qty"] else "no",
        outcome_source="Drawn by the generator.",
        has_trades="recorded",
        quality={"regime": chosen.name, "seed": seed},
        synthetic=True,
    )
    return Tape(events, meta)
