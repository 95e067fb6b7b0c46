"""`pr3dict paper --venue polymarket`: a session of nobody on a stand-in's market data, shown by titles."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from polymarket_look import in_thread

from pr3dict.cli.main import run
from standins.polymarket import small_catalog


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """No wallet, and leases in a folder of its own."""
    for name in list(os.environ):
        if name.startswith("PR3DICT_POLYMARKET"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_it_quotes_without_an_account_and_says_what_it_simulates(nobody, tmp_path, capsys):
    with in_thread(small_catalog(2, end_in_s=1_800.0)) as server:
        words = ["paper", "--venue", "polymarket", "--env", "local", "--url", server.url, "--headless"]
        words += [
            "--preset",
            "short_dated",
            "--set",
            "min_liquidity=100",
            "--data-dir",
            str(tmp_path / "data"),
        ]
        assert run([*words, "--set", "polymarket.listing_poll_seconds=5", "--seconds", "4", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["session"]["journal_verified"] and answer["session"]["open_orders"] == 0
        status = answer["status"]
        assert (status["account"], status["mode"]) == ("paper polymarket local", "paper")
        assert {market["ticker"] for market in status["markets"]} == {
            market.spec.condition for market in server.venue.markets
        }
        assert sum(market["orders_placed"] for market in status["markets"]) >= 4
        assert status["adapters"]["polymarket"]["simulated_orders"] >= 4
        assert run(["status", "--data-dir", str(tmp_path / "data")]) == 0
        shown = capsys.readouterr().out
        titles = [market["title"] for market in status["markets"]]
        assert "PAPER ON LIVE DATA OF POLYMARKET LOCAL" in shown and "0x" not in shown
        assert all(title[:8] in shown for title in titles)
        assert not server.do("truth")["orders"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--env", "demo"], "Polymarket has no environment 'demo'"),
        (["--url", "http://10.0.0.1:80"], "not encrypted"),
        (["--set", "kalshi.subaccount=1"], "kalshi"),
        (["--set", "polymarket.nothing=1"], "there is no such setting"),
        (["--report", "x.html"], "a report needs recordings"),
    ],
)
def test_what_it_refuses(nobody, tmp_path, capsys, words, text):
    place = ["--data-dir", str(tmp_path / "data")]
    where = ["--venue", "polymarket", "--env", "local", "--url", "http://127.0.0.1:9"]
    assert run(["paper", *where, *place, *words]) == 2
    assert text in capsys.readouterr().err
