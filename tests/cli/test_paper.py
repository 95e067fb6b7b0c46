"""Paper trading as a user runs it: real processes, commands through the data directory, stop and start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pr3dict.cli.main import run
from pr3dict.cli.paper import parse_speed
from pr3dict.domain.errors import UsageError
from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.runtime.journal_tail import KEPT_FILLS
from pr3dict.runtime.synthetic import market_tape, regime
from pr3dict.store.latch import LatchFile
from pr3dict.store.tape import write_tape

WAIT_S = 60.0


def make_tapes(folder: Path, hours: int) -> Path:
    """Two busy generated markets, cut to their first hours."""
    busy = msgspec.structs.replace(
        regime("wide_spread"), hours=12.0, half_spread_cents=4.5, maker_contracts=800.0, noise_rate=120.0
    )
    for seed in (1, 2):
        events, meta = market_tape(seed, busy)
        end = int(np.searchsorted(events["exch_ns"], int(events[0]["exch_ns"]) + hours * NS_PER_HOUR))
        write_tape(folder / f"m{seed}.parquet", events[:end], msgspec.structs.replace(meta, outcome=None))
    return folder


@pytest.fixture(scope="module")
def tapes(tmp_path_factory) -> Path:
    return make_tapes(tmp_path_factory.mktemp("tapes"), 1)


@pytest.fixture(scope="module")
def long_tapes(tmp_path_factory) -> Path:
    return make_tapes(tmp_path_factory.mktemp("tapes"), 11)


def start(tapes: Path, data_dir: Path, *more: str) -> subprocess.Popen[str]:
    words = ["paper", "--replay", str(tapes), "--data-dir", str(data_dir), "--headless", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "pr3dict.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )


def answer(capsys, *words: str, code: int = 0) -> dict[str, Any]:
    """The JSON of a command that ends with `code`."""
    assert run([*words, "--json"]) == code, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def wait_for(look, seconds: float = WAIT_S) -> Any:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing within {seconds} s")


@pytest.fixture(scope="module")
def running(long_tapes, tmp_path_factory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    data_dir = tmp_path_factory.mktemp("run") / "dir"
    process = start(long_tapes, data_dir, "--speed", "300", "--seconds", "120", "--json")
    wait_for(lambda: process.poll() is not None or (data_dir / "status.json").exists())
    yield data_dir, process
    if process.poll() is None:
        process.kill()
    process.communicate()


def of_process(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_dir / "status.json").read_text())
    return found


def test_a_person_and_a_running_process(running, tapes, capsys):
    data_dir, process = running
    place = ("--data-dir", str(data_dir))
    wait_for(lambda: of_process(data_dir)["orders"])

    seen = answer(capsys, "status", *place)
    assert seen["running"] is True
    assert seen["pid"] == process.pid
    assert seen["source"] == "process"
    assert Decimal(seen["equity"]) > 9_000
    assert [m["ticker"] for m in seen["markets"]] == ["synthetic-wide_spread-1", "synthetic-wide_spread-2"]

    refused = start(tapes, data_dir)
    _, words = refused.communicate(timeout=WAIT_S)
    assert refused.returncode == 1
    assert f"in use by process {process.pid}" in words

    paused = answer(capsys, "pause", "spread-2", *place)
    assert paused["market"] == "synthetic-wide_spread-2"
    wait_for(lambda: not [o for o in of_process(data_dir)["orders"] if o["ticker"].endswith("2")])
    assert of_process(data_dir)["markets"][1]["holds"] == ["paused"]
    answer(capsys, "unpause", "1", *place)
    wait_for(lambda: of_process(data_dir)["markets"][1]["holds"] == [])

    assert run(["pairs", "spread-2", "40", *place]) == 1
    assert "its venue nets YES and NO" in capsys.readouterr().err
    assert run(["pairs", "spread-2", "some", *place]) == 2

    assert answer(capsys, "halt", "--reason", "a test", *place)["running"] is True
    wait_for(lambda: not of_process(data_dir)["orders"])
    assert "a test" in answer(capsys, "status", *place)["latch"]["text"]
    assert "halted" in of_process(data_dir)["holds"]
    answer(capsys, "resume", "--reason", "tested", *place)
    wait_for(lambda: of_process(data_dir)["orders"])
    assert answer(capsys, "status", *place)["latch"] is None

    wait_for(lambda: any(Decimal(m["net_position"]) for m in of_process(data_dir)["markets"]))
    sold = answer(capsys, "flatten", "--yes", "--slippage", "0.2", *place)
    for one in sold["exits"]:
        assert Decimal(one["cost_at_limit"]) <= Decimal("0.2") * abs(Decimal(one["net_position"]))
    wait_for(lambda: all(Decimal(m["net_position"]) == 0 for m in of_process(data_dir)["markets"]))
    assert of_process(data_dir)["markets"][0]["holds"] == ["flattening"]

    process.send_signal(signal.SIGINT)
    printed, words = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, words
    told = json.loads(printed)
    assert told["session"]["open_orders"] == 0
    assert told["session"]["journal_verified"] is True
    assert run(["journal", "verify", *place]) == 0
    capsys.readouterr()

    after = answer(capsys, "status", *place)
    assert after["running"] is False
    assert after["source"] == "journal"
    assert after["orders"] == []
    assert after["fill_count"] == told["session"]["fills"]
    assert len(after["fills"]) == min(after["fill_count"], KEPT_FILLS)
    assert [m["net_position"] for m in after["markets"]] == ["0", "0"]
    assert after["markets"][0]["holds"] == ["flattening", "stopping"]
    explained = answer(capsys, "explain", "spread-1", *place)
    assert explained["decision"]["terms"][0]["name"] == "base_spread"


def test_the_whole_of_a_recording_is_a_backtest(tapes, tmp_path, capsys):
    """With no speed and no interference a paper session earns what a backtest of the same tapes does."""
    data_dir = tmp_path / "dir"
    told = answer(
        capsys, "paper", "--replay", str(tapes / "m1.parquet"), str(tapes / "m2.parquet"),
        "--speed", "max", "--data-dir", str(data_dir),
    )  # fmt: skip
    tested = answer(capsys, "backtest", str(tapes))
    assert told["session"]["fills"] == told["fills"] == tested["fills"] > 10
    assert told["session"]["agrees_with_replay"] is True
    assert told["pnl"] == tested["pnl"]
    # nothing is left of the recording, and nothing is lost by asking
    assert run(["paper", "--replay", str(tapes), "--speed", "max", "--data-dir", str(data_dir)]) == 2
    assert "the recording ends" in capsys.readouterr().err


def test_a_halt_without_a_process_outlives_the_next_one(long_tapes, tmp_path, capsys):
    data_dir = tmp_path / "dir"
    place = ("--data-dir", str(data_dir))
    paper = ("paper", "--replay", str(long_tapes), "--speed", "3000", *place)
    first = answer(capsys, *paper, "--seconds", "0.3")
    assert first["session"]["exit_code"] == 0
    assert answer(capsys, "halt", "--reason", "overnight", *place)["running"] is False
    assert "overnight" in LatchFile(data_dir / "latch.json").read().text

    assert run([*paper, "--seconds", "0.3", "--json"]) == 3
    printed = capsys.readouterr()
    halted = json.loads(printed.out)
    assert "halted" in printed.err
    assert halted["session"]["exit_code"] == 3
    placed = [m["orders_placed"] for m in halted["status"]["markets"]]
    assert placed == [0, 0]

    assert answer(capsys, "resume", "--reason", "morning", *place)["running"] is False
    again = answer(capsys, *paper, "--seconds", "2")
    assert again["session"]["exit_code"] == 0
    assert LatchFile(data_dir / "latch.json").read() is None
    assert sum(m["orders_placed"] for m in again["status"]["markets"]) > 0
    assert run(["journal", "verify", *place]) == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--replay"),
        (["--venue", "nasdaq"], "'nasdaq' can't be reached"),
        (["--venue", "kalshi", "--replay", "x"], "--replay"),
        (["--venue", "kalshi", "--env", "moon"], "no environment 'moon'"),
        (["--venue", "kalshi", "x"], "--replay"),
        (["--replay", "x", "--market", "T"], "--market"),
        (["--replay", "nothing.parquet"], "nothing.parquet"),
        (["--replay", "x", "--speed", "fast"], "--speed"),
        (["--replay", "x", "--seconds", "0"], "--seconds"),
        (["--replay", "x", "--set", "risk.nonsense=1"], "nonsense"),
        (["--replay", "x", "--cash", "-1"], "--cash"),
    ],
)
def test_impossible_wishes_are_refused(words, named, tmp_path, capsys):
    assert run(["paper", "--data-dir", str(tmp_path / "dir"), *words]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "dir").exists()


@pytest.mark.parametrize(
    "words", [["halt"], ["resume", "--reason", "x"], ["flatten", "--yes"], ["status"], ["explain", "x"]]
)
def test_nothing_ran_here(words, tmp_path, capsys):
    assert run([*words, "--data-dir", str(tmp_path)]) == 2
    assert "no process has run here yet" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("60", 60.0), ("2.5x", 2.5)])
def test_speeds(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e99", "", "x"])
def test_no_speeds(text):
    with pytest.raises(UsageError, match="--speed"):
        parse_speed(text)
