"""The exchange in one process, the trader in another, and the hands that start and kill them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Self

import msgspec

from pr3dict.runtime.synthetic import Regime, market_tape
from pr3dict.store.data_dir import DataDir
from pr3dict.store.tape import write_tape
from pr3dict.venues.simulated import wire

SPEED = 180.0  # seconds of the market a second
HERE = Path(__file__).parent
PATIENCE_S = 60.0  # for anything that should happen within a second or so

LIVELY = Regime(
    name="lively",
    about="many takers and a wide spread, so that quotes fill within a second at speed",
    hours=24.0,
    half_spread_cents=3.2,
    levels=5,
    makers=3,
    refresh_rate=60.0,
    noise_rate=500.0,
    noise_contracts=20.0,
    informed_rate=20.0,
    depth_rate=120.0,
)
SHORT = msgspec.structs.replace(LIVELY, name="short", about="the same, resolves early", hours=1.0)
LOSING = msgspec.structs.replace(
    LIVELY, name="losing", about="goes to YES within a minute", hours=3.0, outcome=1, p0=0.3, volatility=1.0
)  # for who wants to be short

SETTINGS = (
    "base_spread=0.03", "min_spread=0.02", "min_liquidity=1", "min_existing_spread=0.01",
    "max_quote_age_seconds=60", "max_portfolio_heat=1.0", "min_time_to_resolution=0.1",
    "risk.answer_timeout_seconds=600", "risk.reconcile_interval_seconds=600", "risk.read_retry_seconds=100",
    "risk.feed_timeout_seconds=1800", "risk.clock_skew_seconds=60", "risk.stop_timeout_seconds=20",
    "risk.max_feed_losses=0", "risk.fill_burst_count=0", "risk.fill_burst_contracts=0",
    "risk.loop_stall_seconds=0", "risk.log_stall_seconds=0", "risk.stall_pause_seconds=1",
)  # fmt: skip
"""Times are the market's: at speed 180 an answer that takes 50 ms of the clock comes 9 s later."""


def environment(state: Path, **more: str) -> dict[str, str]:
    """Account locks and data of this test alone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PR3DICT_CRASH")}
    return {**kept, "XDG_STATE_HOME": str(state), "NO_COLOR": "1", **more}


def until(happened, seconds: float = PATIENCE_S, every_s: float = 0.01):
    """Wait for a true answer and return it; None where it never came."""
    end_s = time.monotonic() + seconds
    while True:
        answer = happened()
        if answer:
            return answer
        if time.monotonic() > end_s:
            return None
        time.sleep(every_s)


class Exchange:
    """`pr3dict exchange` as a process; its truth goes on whatever happens to the trader."""

    def __init__(
        self, folder: Path, seed: int, regimes: tuple[Regime, ...] = (LIVELY, LIVELY, SHORT)
    ) -> None:
        tapes = folder / "tapes"
        tapes.mkdir(parents=True)
        for number, regime in enumerate(regimes):
            events, meta = market_tape(100 * seed + number, regime)
            write_tape(tapes / f"{number}.parquet", events, meta, sync=False)
        command = [sys.executable, "-m", "pr3dict.cli.main", "exchange", str(tapes), "--speed", str(SPEED)]
        self.log = (folder / "exchange.log").open("w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"the exchange did not start: {(folder / 'exchange.log').read_text()}")
        self.port = json.loads(line)["port"]

    def truth(self) -> wire.Truth:
        """What is true at the exchange now."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as line:
            line.sendall(wire.encode(wire.TellTruth()))
            with line.makefile("rb") as lines:
                truth = wire.decode_answer(lines.readline())
        assert isinstance(truth, wire.Truth)
        return truth

    def argv(self, place: DataDir, *settings: str) -> list[str]:
        """The command line of a trader here."""
        return command_line(self, place, *settings)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Zygote:
    """Starts lives one after the other (see zygote.py)."""

    def __init__(self, state: Path, **more: str) -> None:
        """`more` goes into the environment of every life."""
        self.state = state
        command = [sys.executable, str(HERE / "zygote.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment(state, **more)
        )
        self._rest = b""
        self._lives = False
        assert self._hear(None) == {"ready": True}

    def _hear(self, seconds: float | None) -> dict | None:
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
            if not ready:
                return None
            more = os.read(self.process.stdout.fileno(), 65_536)
            if not more:
                raise RuntimeError("the zygote has died")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def _say(self, order: dict) -> None:
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def start(self, argv: list[str], log: Path, **more: object) -> None:
        if self._lives:  # of a test that failed
            self.signal(signal.SIGKILL)
            self.ended()
        self._say({"argv": argv, "log": str(log), **more})
        self._lives = True
        assert "pid" in (self._hear(PATIENCE_S) or {})

    def signal(self, number: int) -> None:
        self._say({"signal": number})

    def ended(self, seconds: float = PATIENCE_S) -> int | None:
        """The exit code (below 0: killed by that signal); None while it still runs."""
        answer = self._hear(seconds)
        self._lives = answer is None
        return None if answer is None else answer["code"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Trader:
    """`pr3dict paper --exchange` in one data directory: one life after the other."""

    def __init__(self, zygote: Zygote, exchange: Exchange, folder: Path, *settings: str) -> None:
        self.zygote = zygote
        self.exchange = exchange
        self.place = DataDir(folder / "data")
        self.log = folder / "trader.log"
        self.argv = exchange.argv(self.place, *settings)

    def start(self, **more: object) -> None:
        """`crash_at` "name:n", `kill_ms`, and `file_bytes`: no file may grow beyond it."""
        self.zygote.start(self.argv, self.log, **more)

    def kill(self) -> None:
        self.zygote.signal(signal.SIGKILL)
        assert self.zygote.ended() == -signal.SIGKILL

    def stop(self) -> int | None:
        """Ask it to end; its exit code."""
        self.zygote.signal(signal.SIGTERM)
        return self.zygote.ended()

    def said(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    def starts(self) -> int:
        """How many lives came as far as their first step."""
        found = self._ask("SELECT count(*) FROM events WHERE kind = 'started'")
        return found[0] if found else 0

    def is_quoting(self, starts: int) -> bool:
        """Whether life number `starts` has reconciled with the exchange and decided."""
        query = "SELECT max(step), count(*) FROM events WHERE kind = 'started'"
        begun = self._ask(query)
        if not begun or begun[1] < starts:
            return False
        released = (
            "SELECT max(step) FROM events WHERE step >= ? AND kind = 'held'"
            " AND json_extract(body, '$.why') = 'unreconciled' AND json_extract(body, '$.on') = 0"
        )
        found = self._ask(released, begun[0])
        step = found[0] if found else None
        return step is not None and bool(self._ask("SELECT 1 FROM steps WHERE number > ?", step))

    def await_quoting(self, starts: int, seconds: float = PATIENCE_S) -> bool:
        return bool(until(lambda: self.is_quoting(starts), seconds))

    def _ask(self, query: str, *values: int) -> tuple | None:
        if not self.place.journal.exists():
            return None
        try:
            with closing(sqlite3.connect(f"file:{self.place.journal}?mode=ro", uri=True)) as base:
                return base.execute(query, values).fetchone()
        except sqlite3.OperationalError:  # not made yet
            return None


def command_line(exchange: Exchange, place: DataDir, *settings: str) -> list[str]:
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    address = f"127.0.0.1:{exchange.port}"
    return ["paper", "--exchange", address, "--data-dir", str(place.path), "--headless", "--json", *words]
