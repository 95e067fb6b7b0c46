"""`pr3dict live` as processes on a stand-in, which tests start, ask and kill."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from kalshi_exchange import Exchange

from pr3dict.cli.main import run

PROGRAM = [sys.executable, "-c", "from pr3dict.cli.main import main; main()"]
QUICK = ("risk.clock_skew_seconds=1.5", "risk.read_retry_seconds=0.1", "min_liquidity=100")


class Machine:
    """A stand-in, and processes that know its key; `run` is one command of the program."""

    def __init__(self, exchange: Exchange, home: Path) -> None:
        self.exchange = exchange
        self.home = home
        self.data = str(home / "data")
        self.environment = exchange.environment(home)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *more: str) -> subprocess.Popen[str]:
        words = ["live", "--venue", "kalshi", "--env", "local", "--url", self.exchange.base, "--headless"]
        words += ["--preset", "short_dated", "--data-dir", self.data, *more]
        words += [part for setting in QUICK for part in ("--set", setting)]
        process = subprocess.Popen(
            [*PROGRAM, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *words: str) -> str:
        """One command of the program, from its command line to what it prints."""
        told, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(told), redirect_stderr(complained):
            code = run([*words, "--data-dir", self.data])
        assert code == 0, complained.getvalue()
        return told.getvalue()

    def status(self) -> Any:
        return json.loads(self.run("status", "--json"))

    def until(self, holds: Callable[[], Any], seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = holds()
            if found:
                return found
            for process in self.processes[-1:]:
                if process.poll() is not None:
                    raise AssertionError(process.communicate())
            time.sleep(0.05)
        log = self.home / "data" / "logs" / "process.jsonl"
        told = log.read_text(encoding="utf-8").splitlines() if log.exists() else ["it never began to log"]
        stand = self.exchange.truth()["open_orders"]
        raise AssertionError("\n".join([f"waited for nothing, open: {stand}", *told[-30:]]))

    def quoting(self, but: frozenset[str] = frozenset()) -> frozenset[str]:
        """Wait for two orders at least, and none of `but`; their ids."""

        def found() -> frozenset[str]:
            ids = frozenset(order["order_id"] for order in self.exchange.truth()["open_orders"])
            return ids if len(ids) >= 2 and not ids & but else frozenset()

        return self.until(found)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate()
