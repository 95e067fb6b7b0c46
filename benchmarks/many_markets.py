"""Many markets in one account: generate them, replay all under one set of portfolio limits, check the limits.

Every market lives the same hour, so that all are open at once; a share of them are outcomes of exclusive
events of five. Measured are generation and merging in `--jobs` threads, then a whole backtest with its
bracket: three replays, up to `--jobs` at a time, with their reports. Compilation is left out. Then one more
replay is stepped event by event through evenly spread windows, and after each step the limits are worked out
again from orders and positions. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from pr3dict.kernels.limits_reference import LimitsReference
from pr3dict.runtime.backtest import BacktestResult, Replay, compile_kernels, run_backtest
from pr3dict.runtime.jobs import Stop, run_jobs
from pr3dict.runtime.spec import BacktestSpec, make_spec
from pr3dict.runtime.synthetic import REGIMES, Regime, market_tape, regime, synthetic_event
from pr3dict.runtime.tapeset import TapeSet, market_rows, merge
from pr3dict.store.tape import Tape
from pr3dict.strategies.presets import build_config

EVENT_MARKETS = 5
EVENT_SHARE = 0.4  # of the markets are outcomes of exclusive events
BUSY = "short_dated"  # some 70 events a second
BUSY_EVERY = 50  # markets
CASH_MICROS = 50_000_000_000
QUEUE = "power3"  # beside it the bracket runs the pessimistic and the optimistic one
REPLAYS = 3
LATENCY_MS = 50
WINDOWS = 12
MICRO = 1_000_000
SETTINGS = ("max_orders_per_second=1000", "max_portfolio_heat=0.1", "daily_loss_limit=2500")


def hour_long(name: str) -> Regime:
    """A regime whose markets live an hour."""
    return msgspec.structs.replace(regime(name), hours=1.0)


def generate(markets: int, jobs: int) -> list[Tape]:
    """That many tapes, the calmer regimes in turn and a busy one now and then."""
    calmer = [one.name for one in REGIMES if one.name != BUSY]

    def lives(name: str, seed: int, exclusive: bool, _: Stop) -> list[Tape]:
        if exclusive:
            return synthetic_event(seed, hour_long(name), markets=EVENT_MARKETS)
        return [market_tape(seed, hour_long(name))]

    in_events = int(markets * EVENT_SHARE) // EVENT_MARKETS
    tasks: list[Callable[[Stop], list[Tape]]] = [
        partial(lives, calmer[k % len(calmer)], k, True) for k in range(in_events)
    ]
    for k in range(markets - in_events * EVENT_MARKETS):
        busy = k % BUSY_EVERY == BUSY_EVERY - 1
        tasks.append(partial(lives, BUSY if busy else calmer[k % len(calmer)], k, False))
    return [tape for tapes in run_jobs(tasks, jobs) for tape in tapes]


def spec_for(markets: int) -> BacktestSpec:
    """One account and one set of limits for all of them."""
    settings = (*SETTINGS, f"max_markets={markets}")
    config = build_config("short_dated", assignments=settings)
    return make_spec(
        config, preset="short_dated", cash_micros=CASH_MICROS, latency_ms=LATENCY_MS, queue=QUEUE
    )


def check(tapes: TapeSet, spec: BacktestSpec, steps: int) -> tuple[dict[str, Any], list[str]]:
    """Figures of the steps that were worked out again, and what did not hold in them."""
    run = Replay(tapes, spec, QUEUE)
    checked = binding = 0
    fullest = 0.0
    faults: list[str] = []
    over = False
    while not over:
        watch = LimitsReference(run.world)
        for _ in range(max(1, steps // WINDOWS)):
            faults += watch.check()
            over = run.advance(1)
            if over:
                break
        faults += watch.check()
        checked, binding = checked + watch.checked, binding + watch.binding
        fullest = max(fullest, watch.fullest)
        over = over or run.advance(len(tapes.events) // WINDOWS)
    found = {
        "events_checked": checked,
        "checked_near_limit": binding,
        "max_heat_over_limit": round(fullest, 6),
    }
    return found | {"violations": len(faults)}, faults


def figures(tapes: TapeSet, result: BacktestResult) -> dict[str, Any]:
    """What the run was made of and what it did."""
    report = result.report
    return {
        "markets": len(tapes.metas),
        "exclusive_events": int(market_rows(tapes.metas)["event"].max()) + 1,
        "events": len(tapes.events),
        "decisions": report.total.count("decisions"),
        "orders": report.total.count("orders"),
        "fills": report.total.count("fills"),
        "daily_loss_limit_hits": report.daily_loss_hits,
        "max_heat": report.max_heat_micros / MICRO,
    }


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markets", type=int, default=1_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", type=int, default=3_000, help="about how many steps to work out again")
    arguments = parser.parse_args()
    compile_kernels()
    generate(EVENT_MARKETS, 1)  # compiles the generator
    began = time.perf_counter()
    tapes_made = generate(arguments.markets, arguments.jobs)
    generated = time.perf_counter()
    tapes = merge(tapes_made, latency_ns=LATENCY_MS * 1_000_000)
    del tapes_made
    merged = time.perf_counter()
    spec = spec_for(arguments.markets)
    result = run_backtest(tapes, spec, jobs=arguments.jobs)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found, faults = check(tapes, spec, arguments.check)
    for fault in faults[:20]:
        print(fault)
    answer = figures(tapes, result) | {
        "jobs": arguments.jobs,
        "generate_s": round(generated - began, 2),
        "merge_s": round(merged - generated, 2),
        "replay_s": round(ended - merged, 2),
        "total_s": round(ended - began, 2),
        "events_per_s": round(REPLAYS * len(tapes.events) / (ended - merged)),
        "peak_rss_bytes": peak,
        "check_s": round(time.perf_counter() - ended, 2),
    }
    print(json.dumps(answer | found))


if __name__ == "__main__":
    main()
