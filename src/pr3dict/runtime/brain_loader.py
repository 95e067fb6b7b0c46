"""Loads the engine's machine code before the first real step, so that no order ever waits for a compiler."""

from __future__ import annotations

from pr3dict.domain.events import FeedUp, Listed, Started
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.units import QTY_SCALE
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.kernels.warm import tiny_recording
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.lockstep import run_lockstep

LATENCY_NS = 50_000_000
CASH_MICROS = 10_000_000_000
RELAXED = ("min_liquidity=0", "min_existing_spread=0", "min_time_to_resolution=0")


def load_brain() -> Engine:
    """Let a scratch engine live through a tiny market; returns it. Seconds the first time, then tenths."""
    whole = tiny_recording()
    events = flatten_snapshots(whole)
    events["local_ns"] = events["exch_ns"] + LATENCY_NS
    start_ns, end_ns = int(events[0]["local_ns"]), int(events[-1]["exch_ns"])
    listing = Listed(
        market=0,
        venue="synthetic",
        ticker="tiny",
        event_id="tiny",
        exclusive=False,
        title="A market that loads the brain",
        grids=(kalshi_grid("linear_cent"),),
        min_size=QTY_SCALE,
        lot=QTY_SCALE,
        fee_kind="kalshi",
        taker_ppm=70_000,
        trade_unit_micros=1,
        unit_micros=1,
        rebate_unit_micros=1,
        nets_positions=True,
        reduce_in_place=True,
        close_ns=end_ns,
        resolution_ns=end_ns,
    )
    config = build_config("short_dated", assignments=RELAXED)
    engine = Engine(RiskConfig())
    engine.register_strategy(MarketMakingStrategy(config=config))
    exchange = SimulatedExchange([listing], events, config.to_rules(), CASH_MICROS)
    started = Started(version="", account="scratch", settings="{}", cash_micros=CASH_MICROS)
    begun = (started, listing, FeedUp(venue="synthetic"))
    engine.step(start_ns - 1, _snapshot_rows(whole, start_ns - 1), begun)
    run_lockstep(engine, exchange, events, LATENCY_NS, LATENCY_NS)
    engine.state_hash()
    return engine


def _snapshot_rows(whole: d.Array, now_ns: int) -> d.Array:
    """The rows of the opening snapshot as they come from a live feed."""
    rows: d.Array = whole[whole["kind"] == d.SNAPSHOT]
    rows["local_ns"] = now_ns
    return rows
