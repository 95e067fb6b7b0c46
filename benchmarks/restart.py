"""How long a restart takes until quoting: a journal of a million control events, a killed process, a new one.

The journal is written by the real `Journal` in large transactions, folded on the way by a real engine that
takes a snapshot each 20,000 events, as a process does: lives of orders (placed, accepted, cancelled or
filled) in ten generated markets, the last hundred still open. Then `pr3dict paper` is started on it as a
process of its own, timed from its start until its first new order is durable, killed, and started again.
`--in-process` times recovery alone, without the start of Python. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Quoted, Step
from pr3dict.domain.units import ASK, BID, QTY_SCALE
from pr3dict.engine.account import Account
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.listing import listings_of
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import ShellSettings
from pr3dict.runtime.synthetic import market_tape, regime
from pr3dict.runtime.tapeset import load
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal, control_hash
from pr3dict.store.tape import write_tape
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config

MARKETS = 10
HOURS = 6.0  # of market; the journal spans four of them
OPEN_AT_END = 100
FILLED_EVERY = 8  # orders
CASH_MICROS = 10_000_000_000
STEP_NS = 20_000_000  # between two steps of an order's life
BATCH = 2_000  # steps a transaction
BID_PRICE, ASK_PRICE = 2_000, 8_000
SIZE = 10 * QTY_SCALE
READ_EVERY = 1_000  # orders
READS = (
    c.ReadOrders(venue="synthetic"),
    c.ReadFills(venue="synthetic", since_ns=0),
    c.ReadPositions(venue="synthetic"),
    c.ReadBalance(venue="synthetic"),
)
TIMEOUT_S = 120.0
SETTINGS = ("max_inventory=1000", "max_position_size=100000", "rebalance_threshold=500", "min_liquidity=0")


def make_tapes(folder: Path) -> list[str]:
    folder.mkdir()
    for number in range(MARKETS):
        tape = market_tape(number + 1, msgspec.structs.replace(regime("wide_spread"), hours=HOURS))
        write_tape(folder / f"{number}.parquet", tape.events, tape.meta, sync=False)
    return [str(path) for path in sorted(folder.iterdir())]


def lives(account: Account, first_ns: int, orders: int) -> Iterator[Step]:
    """Steps 2 and on: each order is placed, taken, and filled or cancelled; `OPEN_AT_END` are not.

    Now and then everything is read from the venue, which agrees with `account`.
    """
    number, now_ns, since_ns = 1, first_ns, 0
    young: list[e.Filled] = []
    row = np.zeros(1, d.QUOTE)
    row["fair_micros"] = 500_000
    quote = row.tobytes()

    def step(**parts: object) -> Step:
        nonlocal number, now_ns
        number, now_ns = number + 1, now_ns + STEP_NS
        return Step(number=number, now_ns=now_ns, **parts)  # type: ignore[arg-type]

    for order in range(1, orders + 1):
        market, side = order % MARKETS, BID if order // MARKETS % 2 else ASK
        price, venue_id = BID_PRICE if side == BID else ASK_PRICE, f"x{order}"
        place = c.Place(order_id=order, market=market, side=side, price=price, size=SIZE, tif=d.POST_ONLY)
        yield step(commands=(place,), quotes=(Quoted(market, quote),))
        yield step(inputs=(e.Sent(order_id=order), e.Accepted(order_id=order, venue_id=venue_id)))
        if order > orders - OPEN_AT_END:
            continue
        if order // MARKETS % FILLED_EVERY < 2:
            filled = e.Filled(
                trade_id=f"{order}.1@{now_ns}", order_id=order, market=market, side=side, price=price,
                size=SIZE, exch_ns=now_ns, venue_id=venue_id,
            )  # fmt: skip
            young.append(filled)
            yield step(inputs=(filled, e.Closed(order_id=order, why="filled", filled=SIZE)))
        else:
            yield step(commands=(c.Cancel(order_id=order, market=market, venue_id=venue_id),))
            yield step(inputs=(e.Closed(order_id=order, why="none", filled=0),))
        if order % READ_EVERY == 0:
            yield step(commands=READS)
            yield step(inputs=reads(account, now_ns, since_ns, tuple(young)))
            since_ns = now_ns - account.terms.overlap_ns
            young = [fill for fill in young if fill.exch_ns >= since_ns]


def reads(account: Account, now_ns: int, since_ns: int, fills: tuple[e.Filled, ...]) -> tuple[e.Control, ...]:
    """What a venue answers that sees what we see."""
    held = {m: account.position(m) for m in range(MARKETS)}
    at = {"venue": "synthetic", "asked_ns": now_ns - STEP_NS, "as_of_ns": now_ns}
    positions = tuple(
        e.VenuePosition(market=m, yes_contracts=p.yes_contracts, no_contracts=p.no_contracts)
        for m, p in held.items()
        if p.yes_contracts or p.no_contracts
    )
    listed = tuple(fill for fill in fills if fill.exch_ns >= since_ns)
    return (
        e.OrdersRead(**at, orders=()),
        e.FillsRead(**at, since_ns=since_ns, fills=listed),
        e.PositionsRead(**at, positions=positions),
        e.BalanceRead(**at, cash_micros=account.cash_micros),
    )


def build(place: DataDir, tapes: list[str], events: int) -> dict[str, float]:
    """A journal of about that many events, with the snapshots that a process would have taken."""
    loaded = load(tapes, latency_ns=0)
    config, risk = build_config("default", assignments=SETTINGS), RiskConfig()
    engine = Engine(risk)
    engine.register_strategy(MarketMakingStrategy(config=config))
    started = e.Started(
        version="0", account="paper", settings=settings_text(config, risk), cash_micros=CASH_MICROS
    )
    begun = Step(number=1, now_ns=loaded.start_ns, inputs=(started, *listings_of(loaded)))
    waiting, kept, noted, total = [begun], 0, 0, 0
    engine.fold(begun)
    place.create()
    with Journal.open(place.journal) as journal:
        for step in lives(engine.account, loaded.start_ns, events // 5):
            engine.fold(step)
            waiting.append(step)
            total += len(step.inputs) + len(step.commands)
            if len(waiting) >= BATCH:
                journal.append(waiting)
                waiting.clear()
            if total - noted >= ShellSettings().snapshot_events:
                journal.append(waiting)
                waiting.clear()
                journal.save_snapshot(step.number, engine.save())
                journal.note_checkpoint(step.number, control_hash(engine.account.encode()))
                noted, kept = total, kept + 1
                journal.checkpoint()
        journal.append(waiting)
        last = journal.last_number
    size = max(path.stat().st_size for path in (place.path / "snapshots").iterdir())
    return {
        "events": total,
        "steps": last,
        "journal_bytes": place.journal.stat().st_size,
        "snapshots": kept,
        "snapshot_bytes": size,
        "tail_events": total - noted,
    }


def command_line(place: DataDir, tapes: list[str]) -> list[str]:
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    more = ["--headless", "--json", "--data-dir", str(place.path), *words]
    return [sys.executable, "-m", "pr3dict.cli.main", "paper", "--replay", *tapes, "--speed", "60", *more]


def last_step(place: DataDir) -> int:
    with Journal.read(place.journal) as journal:
        return journal.last_number


def restart(place: DataDir, tapes: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds from the start of a process to its first new order, and what its log says of recovery."""
    before = last_step(place)
    log = place.logs / "process.jsonl"
    log.unlink(missing_ok=True)
    began_s = time.perf_counter()
    with subprocess.Popen(
        command_line(place, tapes), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        with closing(sqlite3.connect(f"file:{place.journal}?mode=ro", uri=True)) as base:
            query = "SELECT 1 FROM events WHERE step > ? AND kind = 'place' LIMIT 1"
            while not base.execute(query, (before,)).fetchone():
                if process.poll() is not None or time.perf_counter() - began_s > TIMEOUT_S:
                    process.kill()
                    raise RuntimeError(f"it never quoted: {process.communicate()[1]}")
                time.sleep(0.005)
        seconds = time.perf_counter() - began_s
        process.send_signal(signal.SIGKILL)
        used = os.wait4(process.pid, 0)[2]
        process.returncode = -signal.SIGKILL
    return seconds, {"cpu_s": used.ru_utime + used.ru_stime, **recovery_seconds(log)}


def recovery_seconds(log: Path) -> dict[str, float]:
    for line in log.read_text().splitlines():
        said = json.loads(line)
        if said.get("event") == "recovered":
            return {key: value for key, value in said.items() if key.endswith("_s") or key == "folded"}
    return {}


def opening_seconds(place: DataDir) -> float:
    began_s = time.perf_counter()
    Journal.open(place.journal).close()
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--dir", type=Path, help="keep the journal here, or use the one that is here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.dir or Path(temporary)
        place, made = DataDir(folder / "data"), folder / "made.json"
        if not made.exists():
            folder.mkdir(exist_ok=True)
            began_s = time.perf_counter()
            facts = build(place, make_tapes(folder / "tapes"), given.events)
            facts["build_s"] = round(time.perf_counter() - began_s, 1)
            made.write_text(json.dumps(facts))
        facts = json.loads(made.read_text())
        print(f"{facts['events']:,} control events in {facts['steps']:,} steps", file=sys.stderr)
        tapes = [str(path) for path in sorted((folder / "tapes").iterdir())]
        runs = [restart(place, tapes) for _ in range(given.restarts)]
        opening_s = opening_seconds(place)
    seconds = sorted(run[0] for run in runs)
    print(
        json.dumps({
            **facts,
            "restarts": len(runs),
            "to_quoting_s_p50": round(statistics.median(seconds), 3),
            "to_quoting_s_max": round(seconds[-1], 3),
            "open_journal_s": round(opening_s, 3),
            **{f"{key}_p50": round(statistics.median(run[1][key] for run in runs), 4) for key in runs[0][1]},
            "load_average": round(os.getloadavg()[0], 1),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
