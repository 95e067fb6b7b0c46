"""The demo: generated markets that say so, the same for the same seed, and a table that follows them."""

from __future__ import annotations

import json
import time

import pytest

from pr3dict.analytics.live import snapshot
from pr3dict.cli import demo
from pr3dict.cli.backtest import spec_of
from pr3dict.cli.main import run
from pr3dict.runtime.backtest import Replay


def test_json_says_synthetic_and_repeats(capsys):
    answers = []
    for _ in range(2):
        assert run(["demo", "--markets", "4", "--seed", "5", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        del answers[-1]["elapsed_s"], answers[-1]["events_per_s"]
    assert answers[0] == answers[1]
    assert answers[0]["synthetic"] is True
    assert "synthetic" in answers[0]["assumptions"][0]
    assert answers[0]["markets"] == 4
    assert answers[0]["decisions"] > 0
    assert run(["demo", "--markets", "4", "--seed", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pnl"] != answers[0]["pnl"]


def test_a_report_is_drawn_and_changes_nothing(capsys, tmp_path):
    answers = []
    for more in ([], ["--report", str(tmp_path / "demo.html")]):
        assert run(["demo", "--markets", "4", "--seed", "5", "--json", *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        del answers[-1]["elapsed_s"], answers[-1]["events_per_s"]
    assert answers[0] == answers[1]
    assert "Nothing here is evidence about real markets" in (tmp_path / "demo.html").read_text()


def test_more_markets_than_regimes_get_other_seeds():
    tapes = demo.synthetic_tapes(13, 2, 0)
    assert len(set(tapes.names)) == 13


def test_watching_ends_in_time_with_the_same_result(capsys):
    assert run(["demo", "--markets", "3", "--seconds", "1"]) == 0
    watched = capsys.readouterr().out
    began = time.monotonic()
    assert run(["demo", "--markets", "3", "--headless"]) == 0
    assert time.monotonic() - began < 30
    headless = capsys.readouterr().out
    assert "simulated hours" in watched
    assert "simulated hours" not in headless

    def money(text):
        return text[text.index("Profit and loss") : text.index("Sharpe ratio:")]

    assert money(watched) == money(headless)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "0"], "--seconds"),
        (["--markets", "0"], "--markets"),
        (["--seed", "-1"], "seed"),
        (["--preset", "fast"], "preset"),
    ],
)
def test_impossible_wishes_are_refused(arguments, words, capsys):
    assert run(["demo", "--headless", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_table_shows_what_the_account_is_worth():
    """At every moment the markets' profits add up to the change of equity at the exchange."""
    spec = spec_of()
    run_ = Replay(demo.synthetic_tapes(4, 3, 50_000_000), spec, spec.queue)
    looked = 0
    while not run_.advance(20_000):
        world = run_.world
        glances = snapshot(world)
        held = 0
        for m, glance in enumerate(glances):
            mark = glance.mid_micros if glance.mid_micros >= 0 else int(world.stats[m].mark_micros)
            yes, no = int(world.holdings[m].yes_contracts), int(world.holdings[m].no_contracts)
            held += (yes * mark + no * (1_000_000 - mark)) // 1_000_000
            assert glance.net_contracts == yes - no
        change = int(world.account[0].cash_micros) + held - spec.cash_micros
        assert abs(sum(glance.pnl_micros for glance in glances) - change) <= len(glances)
        assert demo.frame(run_).row_count == 5
        looked += 1
    assert looked > 3
    assert sum(glance.pnl_micros for glance in snapshot(run_.world)) == run_.report().total.pnl.net_micros
