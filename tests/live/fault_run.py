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
from live.story import Story
from live.truth import told
from live.virtual_time import LoopClock, VirtualLoop
from live.watch import Watch
from pr3dict.cli.config import load_configs
from pr3dict.runtime.kalshi_access import KalshiAccess, Selection, kalshi_access
from pr3dict.runtime.live import LiveSpec, live_session
from pr3dict.runtime.session_replay import replay_session
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.kalshi.settings import build_kalshi
from standins.kalshi import HAZARDS, HOOKS, KalshiStandIn

CALM_S: Final = 15.0  # before the first fault
OFTEN: Final = 8  # a fault that struck so often must have been noticed
SWEEP_LOSS: Final = 60  # dollars: contracts of one shard that may trade within 15 seconds


@dataclass
class Outcome:
    """What a run did and found."""

    hours: float
    seconds: float = 0.0
    fired: dict[str, int] = field(default_factory=dict)
    effective: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One JSON object."""
        return json.dumps({
            "venue_hours": self.hours, "seconds": round(self.seconds, 1), **self.figures,
            "injected": self.fired, "effective": self.effective, "violations": len(self.wrong),
        })  # fmt: skip


def run(hours: float, folder: Path, *, seed: int = 1, rate: float = 1.0, pace: float = 1.0) -> Outcome:
    """One session of `hours` under faults and then `world.QUIET_S` without, in `folder`.

    What is rare goes wrong `rate` times as often, and everybody else trades `pace` times as often.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    began_s = time.monotonic()
    try:
        outcome = loop.run_until_complete(_session(loop, hours, folder, seed, rate, pace))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    outcome.seconds = time.monotonic() - began_s
    return outcome


async def _session(
    loop: VirtualLoop, hours: float, folder: Path, seed: int, rate: float, pace: float
) -> Outcome:
    clock = LoopClock(loop, world.START_NS)
    server = KalshiStandIn(
        world.catalog(hours, seed=seed, pace=pace), start_ns=clock.wall_ns(), tier="advanced", seed=seed,
        direct_member=bool(seed % 2), monotonic_ns=clock.monotonic_ns, tick_s=0.05,
    )  # fmt: skip
    config, risk = load_configs(None, None, world.SETTINGS)
    place = DataDir(folder / "data")
    outcome = Outcome(hours)
    watch = Watch(server, risk, place.latch, place.mailbox)
    async with server:
        works = (watch.run(), _weather(server, watch, hours, rate), _argue(server))
        tasks = [loop.create_task(work) for work in works]
        terms = {"sweep_loss": str(SWEEP_LOSS), "direct_member": str(bool(seed % 2)).lower()}
        spec = LiveSpec(
            access=access_to(server), kalshi=build_kalshi(single=terms),
            selection=Selection(), config=config, risk=risk, data_dir=place,
            seconds=hours * world.HOUR_S + world.QUIET_S, on_view=watch.seen, on_figures=watch.figures.update,
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
    _check(place, truth, risk, outcome, result.view)
    outcome.fired = {name: truth["fired"].get(name, 0) for name in (*HOOKS, *HAZARDS)}
    for fault, seen in outcome.effective.items():
        if outcome.fired.get(fault, 0) >= OFTEN and not seen:
            outcome.wrong.append(f"{fault} struck {outcome.fired[fault]} times, and nothing was seen of it")
    outcome.figures |= {
        "looks": watch.looks, "resumes": watch.resumes, "quoted_share": watch.share_under_faults,
        "worst_case_usd": watch.worst_micros / 1e6, "requests": sum(truth["requests"].values()),
        "throttled": truth["throttled"], "steps": result.view.step, "rows": result.view.rows,
        "settled": len(truth["settlements"]), "adapter": watch.figures,
    }  # fmt: skip
    return outcome


def access_to(server: KalshiStandIn) -> KalshiAccess:
    """The way to a stand-in with its own key."""
    key = server.key
    names = {"PR3DICT_KALSHI_LOCAL_KEY_ID": key.id, "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": key.pem}
    return kalshi_access("local", url=f"http://127.0.0.1:{server.port}", environment=names)


async def _weather(server: KalshiStandIn, watch: Watch, hours: float, rate: float) -> None:
    """Faults from `CALM_S` to the end of `hours`; then everything must be quoted again."""
    loop = asyncio.get_running_loop()
    chance = random.Random(server.venue.start_ns)
    last_s = hours * world.HOUR_S
    await asyncio.sleep(CALM_S)
    await _outage(server)  # first: later there may be nothing at rest
    server.faults.change(world.faults(rate))
    while (left_s := last_s - 60.0 - loop.time()) > 0:
        await asyncio.sleep(min(left_s, chance.uniform(60.0, 240.0) / rate))
        await _sweep(server, chance)
        if chance.random() < 0.3 / rate:
            await chance.choice((_outage, _slow))(server)
    await asyncio.sleep(max(0.0, last_s - loop.time()))
    server.faults.change(world.QUIET)
    server.do("resume")
    for market in server.venue.markets:
        server.do("activate_market", ticker=market.spec.ticker)
    watch.begin_quiet()
    await asyncio.sleep(world.QUIET_S - 15.0)
    watch.check_quoted_again()


async def _sweep(server: KalshiStandIn, chance: random.Random) -> None:
    """Somebody sweeps the book of one market while frames are late: what we quote next crosses."""
    venue = server.venue
    open_now = [m for m in venue.markets if m.status == "active" and venue.open_of[m.place]]
    if not open_now or not venue.trading_active:
        return
    market = chance.choice(open_now)
    ticker, taker = market.spec.ticker, chance.choice(("bid", "ask"))
    side = int(taker == "bid")  # that is swept
    other = "bid" if taker == "bid" else "ask"
    server.faults.change({"frame_delay_ms": [100, 900]})
    prices = sorted(market.shown[side], reverse=taker == "ask")[:3]
    for price in prices:
        server.do("take", ticker=ticker, taker=taker, price=f"{price / 10_000:.4f}", contracts=150)
    if prices:
        at = f"{prices[-1] / 10_000:.4f}"
        server.do("level", ticker=ticker, side=other, price=at, contracts=30)
        await asyncio.sleep(4.0)
        server.do("level", ticker=ticker, side=other, price=at, contracts=0)
    server.faults.change({"frame_delay_ms": world.HOOKS["frame_delay_ms"]})


async def _outage(server: KalshiStandIn) -> None:
    """No write is carried out for longer than an order lives: what rests can only expire."""
    server.faults.change({"error_before_apply": 1.0})
    await asyncio.sleep(30.0)
    server.faults.change({"error_before_apply": world.RARE["error_before_apply"]})


async def _slow(server: KalshiStandIn) -> None:
    """What is asked for is done, and answered when nobody waits for the answer any more."""
    server.faults.change({"answer_delay_ms": [2_000, 9_000]})
    await asyncio.sleep(30.0)
    server.faults.change({"answer_delay_ms": world.HOOKS["answer_delay_ms"]})


async def _argue(server: KalshiStandIn) -> None:
    """The result of the first market is disputed, and amended before it pays."""
    market = server.venue.markets[0]
    while market.status != "determined":  # noqa: ASYNC110 - the stand-in tells nobody else
        await asyncio.sleep(1.0)
    server.do("dispute", ticker=market.spec.ticker)
    await asyncio.sleep(15.0)
    server.do("amend_result", ticker=market.spec.ticker, result="no")


def _check(place: DataDir, body: Mapping[str, Any], risk: Any, outcome: Outcome, view: Any) -> None:
    """Journal against truth, decisions against what was known, state against its own recording."""
    rows = {market.ticker: market.market for market in view.markets}
    found = told(body, rows)
    outcome.wrong += found.wrong
    audited = audit.check(place.journal, found.truth)
    outcome.wrong += audited.wrong
    story = Story(risk, len(rows))
    story.read(place)
    story.compare(body["orders"], rows)
    outcome.wrong += story.wrong
    outcome.effective = story.effective()
    outcome.figures["seen"] = dict(sorted(story.seen.items()))
    outcome.figures |= {"orders": audited.orders, "fills": audited.fills}
    replayed = replay_session(place)
    outcome.figures["replayed_steps"] = replayed.steps
    if replayed.difference is not None or not replayed.was_whole:
        outcome.wrong.append(f"the replay differs: {replayed.difference}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
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
        outcome = run(given.hours, folder, seed=given.seed, rate=given.rate)
    for what in outcome.wrong[:60]:
        print(f"VIOLATION {what}", flush=True)
    print(outcome.line())
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
