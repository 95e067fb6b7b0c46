"""The demo: generated markets that say so, the same for the same seed, an engine that trades them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pr3dict.cli import demo
from pr3dict.cli.main import run
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import Lease

VARYING = ("elapsed_s", "events_per_s", "status", "session")


def told(capsys, *words: str) -> dict:
    assert run(["demo", "--json", *words]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_json_says_synthetic_and_repeats(capsys, tmp_path):
    answers = []
    for name in "ab":
        answer = told(
            capsys, "--markets", "4", "--seed", "5", "--seconds", "2", "--data-dir", str(tmp_path / name)
        )
        session = answer["session"]
        assert session["agrees_with_replay"] is True
        assert session["journal_verified"] is True
        assert session["open_orders"] == 0
        assert session["fills"] == answer["fills"]
        assert "Nothing here is evidence about real markets" in Path(session["report"]).read_text()
        answers.append({key: value for key, value in answer.items() if key not in VARYING})
        answers[-1]["state_hash"] = session["state_hash"]
    assert answers[0] == answers[1]
    assert answers[0]["synthetic"] is True
    assert "synthetic" in answers[0]["assumptions"][0]
    assert answers[0]["markets"] == 4
    assert answers[0]["decisions"] > 0
    assert run(["journal", "verify", "--data-dir", str(tmp_path / "a")]) == 0


def test_more_markets_than_regimes_get_other_seeds():
    tapes = demo.synthetic_tapes(13, 2, 0)
    assert len(set(tapes.names)) == 13
    early = min(range(13), key=lambda m: tapes.last_ns[m])
    assert tapes.metas[early].quality["regime"] == "early"


@pytest.mark.parametrize(("seconds", "hours", "pace"), [(6, 1.0, 600.0), (3600, 36.0, 36.0)])
def test_a_stretch_is_paced(seconds, hours, pace):
    whole = demo.synthetic_tapes(2, 1, 0)
    part, speed = demo.stretch(whole, seconds)
    assert part.span_ns / 3.6e12 == pytest.approx(hours, rel=0.01)
    assert speed == pytest.approx(pace, rel=0.01)
    assert len(part.events) <= len(whole.events)


def test_a_person_watches_and_stops_it(tmp_path):
    """On a terminal: quotes, fills and profit move; Ctrl-C ends it with a report and a whole journal."""
    words = [sys.executable, "-m", "pr3dict.cli.main", "demo", "--data-dir", str(tmp_path / "dir")]
    here, there = pty.openpty()
    process = subprocess.Popen(
        words,
        stdin=there, stdout=there, stderr=there, start_new_session=True,
        env=os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(there)
    seen, began_s, stopped = b"", time.monotonic(), False
    while True:
        try:
            more = os.read(here, 1 << 16)
        except OSError:  # the other end is gone
            break
        if not more:
            break
        seen += more
        moved = len(set(re.findall(rb"P&L \S*?([+-]\$[0-9.]+)", plain(seen).encode()))) > 3
        if not stopped and (moved or time.monotonic() - began_s > 60):
            process.send_signal(signal.SIGINT)
            stopped = True
    os.close(here)
    assert process.wait(timeout=60) == 0
    text = plain(seen)
    frames = text.split("PR3DICT demo")
    assert len(frames) > 3
    assert max(len(line) for line in frames[3].splitlines()) <= 80
    for name in ("calm-1", "early-1", "one_sided_flow-1"):
        assert name in frames[3]
    quotes = {m for frame in frames for m in re.findall(r"early-1 +\S+ +(\S+ +\S+)", frame)}
    assert len(quotes) > 2  # they follow the market
    assert "verified: it is whole and adds up" in text
    assert "0 open orders" in text
    assert (tmp_path / "dir" / "report.html").exists()
    assert not holds_lease(tmp_path / "dir")


def plain(screen: bytes) -> str:
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen).decode("utf-8", "replace").replace("\r", "")


def holds_lease(path: Path) -> bool:
    with Lease.take(DataDir(path), now_ns=1):
        return False


def test_only_the_newest_demos_are_kept_and_none_that_runs(tmp_path):
    now = datetime(2026, 9, 1, 12, 30, 5, tzinfo=UTC)
    for second in range(8):
        folder = tmp_path / f"20260901-12300{second}"
        folder.mkdir()
        (folder / "control.db").touch()
    (tmp_path / "mine-too").mkdir()
    with Lease.take(DataDir(tmp_path / "20260901-123000"), now_ns=1):
        assert demo.new_folder(tmp_path, now).name == "20260901-123005-2"
    kept = sorted(folder.name for folder in tmp_path.iterdir())
    assert kept == [f"20260901-12300{second}" for second in (0, 4, 5, 6, 7)] + ["mine-too"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--markets", "0"], "--markets"),
        (["--seed", "-1"], "seed"),
        (["--preset", "fast"], "preset"),
    ],
)
def test_impossible_wishes_are_refused(arguments, words, capsys, tmp_path):
    assert run(["demo", "--headless", "--data-dir", str(tmp_path / "dir"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "dir").exists()
