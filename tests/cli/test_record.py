"""`pr3dict record`: a process that is stopped by Ctrl-C leaves whole tapes and a summary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))
from kalshi_look import environment, in_thread

from pr3dict.cli.main import run
from pr3dict.store.tape import read_tape
from standins.kalshi import small_catalog


def words(server, out: Path) -> list[str]:
    return [
        "record", "--venue", "kalshi", "--env", "local", "--url", server.url, "--out", str(out),
    ]  # fmt: skip


def test_ctrl_c_ends_it_and_the_tapes_are_whole(tmp_path):
    with in_thread(small_catalog(3)) as server:
        names = sorted(market.spec.ticker for market in server.venue.markets)
        child = subprocess.Popen(
            [sys.executable, "-m", "pr3dict.cli.main", *words(server, tmp_path), "--json"],
            env=os.environ | environment(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until_s = time.monotonic() + 60
        while not server.streams and time.monotonic() < until_s:
            time.sleep(0.05)
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=60)
    assert child.returncode == 0, said.decode()
    answer = json.loads(out)
    assert sorted(one["ticker"] for one in answer["markets"]) == names
    assert answer["gaps"] == answer["outages"] == answer["malformed"] == 0 and answer["seconds"] > 1
    assert answer["rows"] == sum(one["rows"] for one in answer["markets"]) > 0
    tapes = {read_tape(path).meta.ticker for path in tmp_path.glob("*.parquet")}
    assert sorted(tapes) == names
    assert {str(path) for path in tmp_path.iterdir()} == {one["tape"] for one in answer["markets"]}


def test_it_ends_by_itself_and_shows_what_it_has(tmp_path, monkeypatch, capsys):
    with in_thread(small_catalog(3)) as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        names = [market.spec.ticker for market in server.venue.markets]
        chosen = ["--market", names[0], "--market", names[1], "--market", "NO"]
        assert run([*words(server, tmp_path), *chosen, "--seconds", "0.7"]) == 0
    shown = capsys.readouterr()
    assert "2 markets, 1 s" in shown.out and names[0] in shown.out and names[2] not in shown.out
    assert "left out: NO Kalshi knows no such market" in shown.out
    assert "Recording 2 markets; 1 were left out" in shown.err
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_at_polymarket_it_needs_no_account(tmp_path, monkeypatch, capsys):
    import polymarket_look

    from standins.polymarket import small_catalog as polymarket_catalog

    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
    monkeypatch.setenv("PR3DICT_POLYMARKET_LOCAL_WALLET_KEY", "not even a key")
    with polymarket_look.in_thread(polymarket_catalog(3)) as server:
        given = ["--venue", "polymarket", "--env", "local", "--url", server.url, "--market", "plain-1"]
        given += ["--event", "field", "--market", "none", "--seconds", "1.5", "--json"]
        assert run(["record", *given, "--out", str(tmp_path)]) == 0
        names = {market.spec.condition for market in server.venue.markets[1:]}
    answer = json.loads(capsys.readouterr().out)
    assert {one["ticker"] for one in answer["markets"]} == names and answer["gaps"] == 0
    assert [one["ticker"] for one in answer["left_out"]] == ["none"]
    tapes = [read_tape(path) for path in tmp_path.glob("*.parquet")]
    assert {tape.meta.ticker for tape in tapes} == names and all(len(tape.events) > 8 for tape in tapes)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--venue is missing; give --venue kalshi or polymarket"),
        (["--venue", "nasdaq"], "--venue: 'nasdaq' can't be reached; use kalshi or polymarket"),
        (["--venue", "kalshi"], "no key for Kalshi's demo: set PR3DICT_KALSHI_DEMO_KEY_ID"),
        (["--venue", "kalshi", "--seconds", "0"], "--seconds: 0.0 is not above 0"),
        (["--venue", "kalshi", "--max-markets", "-1"], "--max-markets: -1 is below 0"),
        (["--venue", "kalshi", "--env", "local"], "needs the address of a stand-in"),
    ],
)
def test_bad_usage_is_said(monkeypatch, capsys, arguments, text):
    for name in list(os.environ):
        if name.startswith("PR3DICT_KALSHI"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
    assert run(["record", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_without_out_it_says_so(monkeypatch, capsys):
    with in_thread(small_catalog(1)) as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        assert run(words(server, Path("x"))[:-2]) == 2
    assert "--out is missing" in capsys.readouterr().err
