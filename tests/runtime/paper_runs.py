"""A data directory as a process leaves it, made without one: engine and exchange in lockstep, journaled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pr3dict.domain.events import FeedUp, Started
from pr3dict.domain.steps import Step
from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.listing import listings_of
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.spec import BacktestSpec, make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import TapeSet, merge
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.lockstep import run_lockstep

LATENCY_NS = 50_000_000


class Run(NamedTuple):
    """A run that ended after `hours` of market time without stopping its orders."""

    tapes: TapeSet
    spec: BacktestSpec
    engine: Engine
    steps: tuple[Step, ...]
    until_ns: int


def lockstep_run(
    hours: float = 3.0, *, seed: int = 1, on_step: Callable[[Engine, Step], None] | None = None
) -> Run:
    """Two generated markets, wide ones, so that fills are many."""
    config, risk = build_config("default"), RiskConfig()
    spec = make_spec(config, preset="default", cash_micros=10_000_000_000)
    lives = [synthetic_market(seed + k, "wide_spread") for k in range(2)]
    tapes = merge(lives, latency_ns=LATENCY_NS)
    until_ns = tapes.start_ns + round(hours * NS_PER_HOUR)
    events = tapes.events[: int(np.searchsorted(tapes.events["local_ns"], until_ns))]
    engine = Engine(risk)
    engine.register_strategy(MarketMakingStrategy(config=config))
    steps: list[Step] = []

    def keep(step: Step) -> None:
        steps.append(step)
        if on_step is not None:
            on_step(engine, step)

    listings = listings_of(tapes)
    text = settings_text(config, risk)
    started = Started(version="0.1.0", account="paper", settings=text, cash_micros=spec.cash_micros)
    feeds = [FeedUp(venue=venue) for venue in dict.fromkeys(listing.venue for listing in listings)]
    keep(engine.step(tapes.start_ns - 1, np.zeros(0, d.EVENT), (started, *listings, *feeds)))
    exchange = SimulatedExchange(listings, events, spec.rules, spec.cash_micros)
    run_lockstep(engine, exchange, events, LATENCY_NS, LATENCY_NS, on_step=keep)
    return Run(tapes, spec, engine, tuple(steps), until_ns)


@cache
def shared_run() -> Run:
    """One run for all tests of a process; nobody may change it."""
    return lockstep_run()


def journal_run(run: Run, path: Path, snapshot_after: int = 0) -> DataDir:
    """Write a run's steps as a data directory; with a snapshot after step `snapshot_after`, if not 0."""
    data_dir = DataDir.of(path).create()
    with Journal.open(data_dir.journal) as journal:
        journal.append(run.steps[: snapshot_after or len(run.steps)])
        if snapshot_after:
            engine = Engine(RiskConfig())
            engine.register_strategy(MarketMakingStrategy(config=build_config("default")))
            for step in run.steps[:snapshot_after]:
                engine.fold(step)
            journal.save_snapshot(snapshot_after, engine.save())
            journal.append(run.steps[snapshot_after:])
    return data_dir
