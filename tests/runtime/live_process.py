"""`pr3dict live` as processes on stand-ins, which tests start, ask and kill."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from pr3dict.cli.main import run

PROGRAM = [sys.executable, "-c", "from pr3dict.cli.main import main; main()"]
QUICK = ("risk.clock_skew_seconds=1.5", "risk.read_retry_seconds=0.1", "min_liquidity=100")


class Machine:
    """Stand-ins by venue, and processes that know their keys; `run` is one command of the program."""

    def __init__(self, exchanges: Mapping[str, Any], home: Path) -> None:
        self.exchanges = exchanges
        self.home = home
        self.data = str(home / "data")
        self.environment: dict[str, str] = {}
        for exchange in exchanges.values():
            self.environment |= exchange.environment(home)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *more: str) -> subprocess.Popen[str]:
        words = ["live", "--headless"]
        for venue, exchange in self.exchanges.items():
            own = f"{venue}=" if len(self.exchanges) > 1 else ""
            words += ["--venue", venue, "--env", f"{own}local", "--url", f"{own}{exchange.base}"]
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
        stand = self.open_ids()
        raise AssertionError("\n".join([f"waited for nothing, open: {stand}", *told[-30:]]))

    def open_ids(self) -> frozenset[str]:
        """The ids of all orders that rest at the exchanges."""
        return frozenset(name for exchange in self.exchanges.values() for name in exchange.open_ids())

    def quoting(self, but: frozenset[str] = frozenset()) -> frozenset[str]:
        """Wait for two orders at least, and none of `but`; their ids."""

        def found() -> frozenset[str]:
            ids = self.open_ids()
            return ids if len(ids) >= 2 and not ids & but else frozenset()

        return self.until(found)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate()
