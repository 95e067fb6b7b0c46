"""`pr3dict paper --venue kalshi`: processes on a stand-in's market data, asked, killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from kalshi_exchange import Exchange, quiet_catalog
from kalshi_process import PROGRAM, QUICK, Machine

from pr3dict.cli.main import run
from pr3dict.cli.screen import badge, simulated


class PaperMachine(Machine):
    """A stand-in, and paper processes on its market data."""

    def start(self, *more: str) -> subprocess.Popen[str]:
        words = ["paper", "--venue", "kalshi", "--env", "local", "--url", self.exchange.base, "--headless"]
        words += ["--preset", "short_dated", "--latency-ms", "20", "--data-dir", self.data, *more]
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

    def resting(self, sides: int = 1) -> list[dict[str, Any]]:
        """Wait until orders rest at the simulated exchange; they."""

        since_ns = time.time_ns()

        def found() -> list[dict[str, Any]] | None:
            if not (Path(self.data) / "status.json").exists():
                return None
            status = self.status()
            rest = [order for order in status["orders"] if order["venue_id"]]
            said = status["source"] == "process" and status["written_ns"] > since_ns
            return rest if said and len({order["side"] for order in rest}) >= sides else None

        return self.until(found)


@pytest.fixture
def machine(tmp_path):
    with Exchange(quiet_catalog(1)) as exchange:
        methods: set[str] = set()
        exchange.server.watchers.append(lambda request, _: methods.add(request.method))
        found = PaperMachine(exchange, tmp_path)
        try:
            yield found
        finally:
            found.close()
        assert methods == {"GET"} and not exchange.truth()["orders"]


def test_a_killed_process_goes_on_with_its_positions(machine):
    """SIGKILL with orders out and a position held; the next one keeps it, and says what it simulates."""
    exchange = machine.exchange
    ticker = exchange.catalog.markets[0].ticker
    process = machine.start()
    bid = min(float(order["price"]) for order in machine.resting(sides=2))
    exchange.do("take", ticker=ticker, taker="ask", price=f"{bid - 0.01:.4f}", contracts="1000")
    held = machine.until(
        lambda: [m["net_position"] for m in machine.status()["markets"] if float(m["net_position"])]
    )
    text = machine.run("status")
    assert "PAPER ON LIVE DATA OF KALSHI LOCAL" in text
    assert "Fills are simulated: queue model risk-averse, latency 20 ms each way." in text
    machine.resting()
    process.kill()
    process.wait()
    again = machine.start("--json")
    machine.resting()
    again.send_signal(signal.SIGTERM)
    out, err = again.communicate(timeout=20)
    assert again.returncode == 0, err
    told = json.loads(out)
    assert [m["net_position"] for m in told["status"]["markets"]] == held
    assert told["status"]["simulation"]["latency_ms"] == 20 and told["status"]["mode"] == "paper"
    assert not told["status"]["alerts"] and not told["status"]["breakers"]
    assert told["session"]["journal_verified"] and told["session"]["open_orders"] == 0
    assert told["session"]["first_step"] > 1
    assert exchange.server.key.pem.splitlines()[1] not in out + err
    assert "agrees" in machine.run("journal", "verify") and "agree" in machine.run("journal", "replay")
    assert "PAPER ON LIVE DATA OF KALSHI LOCAL" in machine.run("status"), "of the journal alone, too"


def test_the_last_words_say_what_was_simulated(machine):
    process = machine.start("--queue", "power", "--seconds", "3")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    out = " ".join(out.split())
    assert "PAPER ON LIVE DATA OF KALSHI LOCAL" in out and "PAPER ON LIVE DATA" in err
    assert "queue model power (n = 3), latency 20 ms each way. No order leaves this machine." in out


def test_nobody_takes_it_for_anything_else():
    paper = {"mode": "paper", "env": "demo", "account": "paper kalshi demo"}
    assert "PAPER ON LIVE DATA OF KALSHI DEMO" in badge(paper)
    assert badge({"mode": "paper", "env": None, "account": "paper"}) == "[bold]PR3DICT paper[/bold]"
    assert "LIVE DEMO" in badge({"mode": "live", "env": "demo", "account": "kalshi demo 1a2b3c4d"})
    assert simulated({"simulation": None}) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--report", "r.html"], "--report"), (["--speed", "60"], "--speed"), (["--speed", "max"], "--speed")],
)
def test_what_only_recordings_have_is_refused(words, named, tmp_path, capsys):
    assert run(["paper", "--venue", "kalshi", "--data-dir", str(tmp_path / "dir"), *words]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "dir").exists()
