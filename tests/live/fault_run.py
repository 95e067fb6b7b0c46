"""Hours of venue time in which everything goes wrong: the real live session against the stand-in.

`python -m live.fault_run --hours 4` (with tests/ on the path) prints one JSON line; its exit code is 1 where
an invariant was broken. Venue and process share one event loop in virtual time and talk over sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))
import audit

from live import world
from live.side import SIDES, Side, side_of
from live.story import Story
from live.truth import Told
from live.virtual_time import LoopClock, VirtualLoop
from live.watch import Watch
from pr3dict.cli.config import load_configs
from pr3dict.runtime.live import LiveSpec, live_session
from pr3dict.runtime.session_replay import replay_session
from pr3dict.store.data_dir import DataDir

CALM_S: Final = 15.0  # before the first fault
OFTEN: Final = 8  # a fault that struck so often must have been noticed
LONG_H: Final = 4.0  # in so many hours everything strikes


@dataclass
class Outcome:
    """What a run did and found."""

    hours: float
    venue: str = "kalshi"
    seconds: float = 0.0
    fired: dict[str, int] = field(default_factory=dict)
    effective: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One JSON object."""
        return json.dumps({
            "venue": self.venue, "venue_hours": self.hours, "seconds": round(self.seconds, 1), **self.figures,
            "injected": self.fired, "effective": self.effective, "violations": len(self.wrong),
        })  # fmt: skip


def run(
    hours: float, folder: Path, *, venue: str = "kalshi", seed: int = 1, rate: float = 1.0, pace: float = 1.0
) -> Outcome:
    """One session of `hours` under faults and then `world.QUIET_S` without, in `folder`.

    What is rare goes wrong `rate` times as often, and everybody else trades `pace` times as often.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    began_s = time.monotonic()
    try:
        outcome = loop.run_until_complete(_session(side_of(venue), loop, hours, folder, seed, rate, pace))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    outcome.seconds = time.monotonic() - began_s
    return outcome


async def _session(
    side: Side, loop: VirtualLoop, hours: float, folder: Path, seed: int, rate: float, pace: float
) -> Outcome:
    clock = LoopClock(loop, world.START_NS)
    server = side.server(
        side.catalog(hours, seed, pace), seed, start_ns=clock.wall_ns(), monotonic_ns=clock.monotonic_ns,
        tick_s=0.05,
    )  # fmt: skip
    config, risk = load_configs(None, None, side.settings)
    place = DataDir(folder / "data")
    outcome = Outcome(hours, side.name)
    watch = side.watch(server, risk, place)
    async with server:
        works = (watch.run(), _weather(side, server, watch, hours, rate), *side.works(server))
        tasks = [loop.create_task(work) for work in works]
        spec = LiveSpec(
            venues=(side.venue(server, seed),), config=config, risk=risk, data_dir=place,
            seconds=hours * world.HOUR_S + world.QUIET_S, on_view=watch.seen,
            on_figures=lambda figures: watch.figures.update(figures.get(side.name, {})),
        )  # fmt: skip
        result = await live_session(spec, structlog.get_logger(), clock=clock)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        truth = server.do("truth")
    outcome.wrong += watch.wrong
    if result.exit_code:
        outcome.wrong.append(f"the process ended with {result.exit_code}")
    if loop.time() < hours * world.HOUR_S + world.QUIET_S - 1:
        outcome.wrong.append(f"the process ended after {loop.time():.0f} s of venue time")
    truly = _check(side, place, truth, risk, outcome, result.view)
    outcome.fired = {name: truth["fired"].get(name, 0) for name in side.faults}
    if hours >= LONG_H:
        never = [name for name, count in outcome.fired.items() if not count and name not in side.unseen]
        outcome.wrong += [f"{name} never struck" for name in never]
    for fault, seen in outcome.effective.items():
        if outcome.fired.get(fault, 0) >= OFTEN and not seen:
            outcome.wrong.append(f"{fault} struck {outcome.fired[fault]} times, and nothing was seen of it")
    outcome.figures |= {
        "looks": watch.looks, "resumes": watch.resumes, "quoted_share": watch.share_under_faults,
        "worst_case_usd": watch.worst_micros / 1e6, "requests": sum(truth["requests"].values()),
        "throttled": truth["throttled"], "steps": result.view.step, "rows": result.view.rows,
        "settled": len(truly.truth.settled), "taken_back": len(truly.failed), "adapter": watch.figures,
    }  # fmt: skip
    return outcome


async def _weather(side: Side, server: Any, watch: Watch, hours: float, rate: float) -> None:
    """Faults from `CALM_S` to the end of `hours`; then everything must be quoted again."""
    loop = asyncio.get_running_loop()
    chance = random.Random(server.venue.start_ns)
    last_s = hours * world.HOUR_S
    await asyncio.sleep(CALM_S)
    await side.spells[0](server, last_s / 10)  # first: later there may be nothing at rest
    server.faults.change(side.bad(rate))
    while (left_s := last_s - 60.0 - loop.time()) > 0:
        await asyncio.sleep(min(left_s, chance.uniform(60.0, 240.0) / rate))
        await side.sweep(server, chance)
        if chance.random() < 0.3 / rate:
            await chance.choice(side.spells)(server, last_s / 10)
    await asyncio.sleep(max(0.0, last_s - loop.time()))
    server.faults.change(side.quiet())
    side.calm(server)
    watch.begin_quiet()
    await asyncio.sleep(world.QUIET_S - 15.0)
    watch.check_quoted_again()


def _check(
    side: Side, place: DataDir, body: Mapping[str, Any], risk: Any, outcome: Outcome, view: Any
) -> Told:
    """Journal against truth, decisions against what was known, state against its own recording."""
    rows = {market.ticker: market.market for market in view.markets}
    found = side.told(body, rows, place.journal)
    outcome.wrong += found.wrong
    audited = audit.check(place.journal, found.truth, found.failed if side.provisional else None)
    outcome.wrong += audited.wrong
    story = Story(risk, len(rows), side.effects, side.words)
    story.read(place)
    story.compare(found.orders)
    outcome.wrong += story.wrong
    outcome.effective = story.effective()
    outcome.figures["seen"] = dict(sorted(story.seen.items()))
    outcome.figures |= {"orders": audited.orders, "fills": audited.fills}
    replayed = replay_session(place)
    outcome.figures["replayed_steps"] = replayed.steps
    if replayed.difference is not None or not replayed.was_whole:
        outcome.wrong.append(f"the replay differs: {replayed.difference}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venue", choices=SIDES, default="kalshi")
    parser.add_argument("--hours", type=float, default=4.0, help="of venue time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.0, help="of hazards, times the listed ones")
    parser.add_argument("--dir", type=Path, help="keep everything here; by default it is removed")
    given = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)],
    )
    with tempfile.TemporaryDirectory(prefix="pr3dict-live-", ignore_cleanup_errors=True) as temporary:
        folder = given.dir or Path(temporary)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        outcome = run(given.hours, folder, venue=given.venue, seed=given.seed, rate=given.rate)
    for what in outcome.wrong[:60]:
        print(f"VIOLATION {what}", flush=True)
    print(outcome.line())
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
