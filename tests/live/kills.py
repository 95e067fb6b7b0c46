"""`pr3dict live` killed at random while everything goes wrong at its exchange, another process.

`python -m live.kills --kills 100` (with tests/ on the path) prints one JSON line; its exit code is 1
where an order or a fill is not explained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))
import audit
from kills import Session, Tally, check_latch
from rig import PATIENCE_S, Zygote, until

from live.side import SIDES, Side, side_of
from pr3dict.domain.events import Halt, Listed, Resume
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.venues.simulated.wire import Truth

TESTS: Final = Path(__file__).parent.parent
START_MS: Final = 3_000  # a start takes about that long
QUOTING_S: Final = 8.0  # longest wait for a life to quote
TRADING_MS: Final = 4_000


class StandIn:
    """`live.stand_in` as a process; its truth goes on whatever happens to the trader."""

    def __init__(self, side: Side, folder: Path, seed: int) -> None:
        self.side = side
        folder.mkdir(parents=True, exist_ok=True)
        self.log = (folder / "exchange.log").open("w")
        self.place = DataDir(folder / "data")  # of the trader: its journal says which row a market has
        path = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
        keys = ("--keys", str(folder / "keys"), "--seed", str(seed))
        command = [sys.executable, "-m", "live.stand_in", "--venue", side.name, *keys]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=os.environ | {"PYTHONPATH": path}
        )
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"the stand-in did not start: {(folder / 'exchange.log').read_text()}")
        self.said = json.loads(line)
        self.wrong: list[str] = []
        self.failed: frozenset[str] = frozenset()  # fills that were taken back

    @property
    def environment(self) -> dict[str, str]:
        """What a trader needs to know of its keys."""
        return self.side.environment(self.said)

    def argv(self, place: DataDir, *settings: str) -> list[str]:
        """The command line of a trader here."""
        given = (*self.side.settings, *self.side.kill_settings, *self.said["settings"], *settings)
        words = [word for setting in given for word in ("--set", setting)]
        url = f"http://127.0.0.1:{self.said['port']}"
        return ["live", "--venue", self.side.name, "--env", "local", "--url", url, "--data-dir",
                str(place.path), "--headless", "--json", *words]  # fmt: skip

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The admin endpoint."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.said['port']}/admin/{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def truth(self) -> Truth:
        """What is true at the exchange now."""
        found = self.side.told(self.ask("truth"), rows_of(self.place), self.place.journal)
        self.wrong, self.failed = found.wrong, found.failed
        return found.truth

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Rows(dict[str, int]):
    """The engine's row of each ticker; one that no journal knows gets a row of its own."""

    def __missing__(self, ticker: str) -> int:
        self[ticker] = 10_000 + len(self)
        return self[ticker]


def rows_of(place: DataDir) -> Rows:
    """What the journal has listed."""
    rows = Rows()
    if not place.journal.exists() or audit.is_unmade(place.journal):
        return rows
    with Journal.read(place.journal) as journal:
        for step in journal.steps():
            rows.update({e.ticker: e.market for e in step.inputs if isinstance(e, Listed)})
            if rows and step.number > 1_000:  # markets are listed by the first step
                break
    return rows


def random_kills(session: Session, kills: int, seed: int, *, patient: bool = True) -> Tally:
    """A quarter of the lives are killed during their start, the others while they trade, at random.

    Some are asked to stop shortly before, three start latched. Where the exchange itself stopped everything,
    a person resumes before the next life. `patient`: the last life waits until it is sure of every order.
    """
    chance, tally, exchange = random.Random(seed), session.tally, session.exchange
    halted_lives = range(kills // 3, kills // 3 + min(3, kills // 4))
    orders_before = 0
    exchange.ask("faults", dict(exchange.side.worse()))
    for number in range(2 * kills):
        if tally.kills == kills:
            break
        is_halted = number in halted_lives
        starts = session.trader.starts()
        if is_halted:
            halted_life(session, chance, is_first=number == halted_lives[0])
        elif chance.random() < 0.25:
            session.live(kill_ms=float(chance.randint(1, START_MS)))
        else:
            trading_life(session, chance)
        code = session.trader.zygote.ended()
        is_fresh = session.trader.starts() == starts
        if not session.ends_killed(code, may_fail=is_fresh) and is_fresh:
            tally.failed += 1
        session.look()
        session.note(exchange.wrong)
        orders_before = check_latch(session, is_halted, orders_before)
        if session.latch.read() is not None and number + 1 not in halted_lives:
            session.post(Resume(command_id="", who="test", reason="it was a test"))
    exchange.ask("faults", dict(exchange.side.quiet()))
    exchange.ask("do", dict(exchange.side.reopen()))
    return session.finish(PATIENCE_S + exchange.side.doubt_s if patient else None)


def halted_life(session: Session, chance: random.Random, *, is_first: bool) -> None:
    """A life under the kill latch; in the first a person sets it."""
    if not is_first:
        session.live(kill_ms=float(chance.randint(START_MS, 2 * START_MS)))
        return
    session.exchange.ask("faults", dict(session.exchange.side.quiet()))  # or the start may fail
    session.live()
    session.post(Halt(command_id="", who="test", reason="a person says so"))
    if not until(lambda: session.latch.read() is not None):
        session.note(["the latch was not set within a minute"])
    session.exchange.ask("faults", dict(session.exchange.side.worse()))
    time.sleep(chance.uniform(0.0, TRADING_MS / 1000))
    session.trader.zygote.signal(signal.SIGKILL)


def trading_life(session: Session, chance: random.Random) -> None:
    """A life that comes to quoting, if its exchange lets it, and is killed a moment later."""
    starts, began_s = session.trader.starts() + 1, time.monotonic()
    session.live()
    if session.trader.await_quoting(starts, QUOTING_S):
        session.tally.seconds_to_quoting.append(time.monotonic() - began_s)
    is_asked = chance.random() < 0.2
    time.sleep(chance.uniform(0.0, TRADING_MS / 1000))
    if is_asked:  # killed in the middle of a stop
        session.trader.zygote.signal(signal.SIGTERM)
        time.sleep(chance.uniform(0.0, 0.3))
    session.trader.zygote.signal(signal.SIGKILL)


def one_session(
    folder: Path, kills: int, seed: int, venue: str = "kalshi", *, patient: bool = True
) -> tuple[Tally, dict[str, int]]:
    """Kills at one exchange and in one data directory; also what went wrong there, by name."""
    side = side_of(venue)
    with StandIn(side, folder, seed) as exchange, Zygote(folder / "state", **exchange.environment) as zygote:
        session = Session(zygote, exchange, folder, provisional=side.provisional)
        tally = random_kills(session, kills, seed, patient=patient)
        session.note(exchange.wrong)
        return tally, exchange.ask("truth")["fired"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venue", choices=SIDES, default="kalshi")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="keep everything here; by default it is removed")
    given = parser.parse_args()
    began_s, total, fired = time.monotonic(), Tally(), {}
    with tempfile.TemporaryDirectory(prefix="pr3dict-live-", ignore_cleanup_errors=True) as temporary:
        folder = given.dir or Path(temporary)
        size = side_of(given.venue).session_kills
        parts = [(n, min(size, given.kills - first)) for n, first in enumerate(range(0, given.kills, size))]

        def session(part: tuple[int, int]) -> tuple[Tally, dict[str, int]]:
            seed = given.seed + part[0]
            return one_session(folder / f"kills-{seed}", part[1], seed, given.venue)

        with ThreadPoolExecutor(side_of(given.venue).together) as pool:
            for tally, more in pool.map(session, parts):
                total.add(tally)
                fired = {name: fired.get(name, 0) + more.get(name, 0) for name in fired | more}
                for what in tally.wrong:
                    print(f"VIOLATION {what}", flush=True)
                wrong = len(total.wrong)
                print(f"... {total.kills} kills, {total.fills} fills, {wrong} violations", flush=True)
    print(
        json.dumps({
            "venue": given.venue, "kills": total.kills, "starts": total.starts, "failed_starts": total.failed,
            "halted_starts": total.halted, "lives_that_quoted": len(total.seconds_to_quoting),
            "orders_compared": total.orders, "fills_compared": total.fills,
            "settled": total.settled, "faults": fired,
            "start_to_quoting_s_p50": round(statistics.median(total.seconds_to_quoting or [-1]), 3),
            "violations": len(total.wrong), "seconds": round(time.monotonic() - began_s, 1),
        })
    )  # fmt: skip
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
