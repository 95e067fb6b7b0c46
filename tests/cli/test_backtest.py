"""The command that backtests: its JSON contract, its tables, one sentence for whatever is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from pr3dict.cli.main import run
from pr3dict.runtime import backtest
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.store.tape import write_tape

KEYS = {
    "events", "decisions", "orders", "cancels", "fills", "contracts_filled", "markets", "pnl", "equity_start",
    "equity_end", "max_drawdown", "sharpe", "sharpe_basis", "fill_rate", "two_sided_uptime", "average_spread",
    "max_inventory", "forced_exits", "markouts", "queue", "latency_ms", "fees_schedule", "pessimistic",
    "optimistic", "per_market", "elapsed_s", "events_per_s", "assumptions", "trades", "cash", "preset",
}  # fmt: skip
PNL = ["net", "gross_spread", "inventory", "adverse_selection", "fees", "rebates", "rewards", "resolution"]


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    """A folder of two tapes: one that the default preset fills on, one that it does not quote."""
    folder = tmp_path_factory.mktemp("tapes")
    for regime in ("wide_spread", "short_dated"):
        tape = synthetic_market(3, regime)
        write_tape(folder / f"{regime}.parquet", tape.events, tape.meta)
    return folder


def answer(capsys, *arguments) -> dict:
    assert run(["backtest", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_holds_the_contract(tapes, capsys):
    found = answer(capsys, tapes)
    assert set(found) >= KEYS
    assert list(found["pnl"]) == PNL
    assert all(isinstance(value, str) for value in found["pnl"].values())
    assert sum(Decimal(found["pnl"][part]) for part in PNL[1:]) == Decimal(found["pnl"]["net"])
    change = Decimal(found["equity_end"]) - Decimal(found["equity_start"])
    assert change == Decimal(found["pnl"]["net"])
    assert set(found["markouts"]) == {"1s", "10s", "60s", "300s"}
    assert set(found["pessimistic"]) >= {"net", "fills"}
    assert found["pessimistic"]["net"] == found["pnl"]["net"]
    assert found["markets"] == len(found["per_market"]) == 2
    assert (found["queue"], found["latency_ms"], found["cash"]) == ("risk-averse", 50, "10000.00")
    assert found["fills"] > 0
    quiet, busy = found["per_market"]
    assert busy["not_quoted_because"] == []
    assert busy["fills"] == found["fills"]
    assert busy["outcome"] in ("yes", "no")
    assert "min_time_to_resolution is 30 min" in quiet["not_quoted_because"][0]
    assert sum(quiet["reasons"].values()) > 0


def test_the_answer_repeats_for_any_number_of_jobs(tapes, capsys):
    answers = [answer(capsys, tapes, "--jobs", jobs) for jobs in (1, 2, 9)]
    for one in answers:
        del one["elapsed_s"], one["events_per_s"]
    assert json.dumps(answers[0]) == json.dumps(answers[1]) == json.dumps(answers[2])


def test_every_flag_changes_the_answer(tapes, capsys, tmp_path):
    tape = tapes / "wide_spread.parquet"
    usual = answer(capsys, tape)
    settings = tmp_path / "mine.toml"
    settings.write_text("[market_making]\nquote_size = 3\n")
    for arguments, key in (
        (["--preset", "aggressive"], "pnl"),
        (["--config", settings], "contracts_filled"),
        (["--set", "base_spread=0.05"], "orders"),
        (["--policy", "fixed-spread"], "policy"),
        (["--queue", "optimistic"], "queue"),
        (["--queue", "power", "--queue-power", "1"], "queue_power"),
        (["--latency-ms", "3000"], "decisions"),
        (["--cash", "30"], "orders"),
        (["--direct-member"], "fees_schedule"),
    ):
        assert answer(capsys, tape, *arguments)[key] != usual[key], arguments


def test_a_person_sees_assumptions_then_money_then_why_not(tapes, capsys):
    assert run(["backtest", str(tapes)]) == 0
    printed = capsys.readouterr()
    for earlier, later in (
        ("synthetic", "Queue model risk-averse"),
        ("Latency: 50 ms", "Profit and loss"),
        ("Profit and loss", "pessimistic (risk-averse)"),
        ("optimistic (optimistic)", "Markouts"),
        ("Markouts", "was not quoted"),
    ):
        assert 0 <= printed.out.index(earlier) < printed.out.index(later)
    net = answer(capsys, tapes)["pnl"]["net"]
    assert f"{abs(Decimal(net)):.4f}" in printed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.parquet"], "missing.parquet"),
        (["TAPE", "--preset", "agressive"], "did you mean aggressive"),
        (["TAPE", "--set", "base_spred=0.05"], "base_spred"),
        (["TAPE", "--set", "min_spread=0.05"], "min_spread"),
        (["TAPE", "--config", "missing.toml"], "missing.toml"),
        (["TAPE", "--policy", "magic"], "policy"),
        (["TAPE", "--queue", "power4"], "choose one of risk-averse"),
        (["TAPE", "--queue-power", "nan"], "--queue-power"),
        (["TAPE", "--latency-ms", "-1"], "--latency-ms"),
        (["TAPE", "--cash", "0"], "--cash"),
        (["TAPE", "--cash", "lots"], "--cash"),
        ([], "TAPE"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(tapes, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(tapes)
    line = [str(tapes / "wide_spread.parquet") if word == "TAPE" else word for word in arguments]
    assert run(["backtest", *line]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_a_damaged_tape_is_named(tapes, tmp_path, capsys):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes((tapes / "wide_spread.parquet").read_bytes()[:-500])
    assert run(["backtest", str(damaged)]) == 2
    assert "damaged.parquet" in capsys.readouterr().err


def test_an_interrupt_ends_it_cleanly(tapes, monkeypatch, capsys):
    def stop(self, steps=0):
        raise KeyboardInterrupt

    monkeypatch.setattr(backtest.Replay, "advance", stop)
    assert run(["backtest", str(tapes)]) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "interrupted" in printed.err


def test_without_compilation_the_answer_is_the_same(tmp_path, capsys):
    """The kernels as plain Python, on the first hours of a generated market."""
    tape = synthetic_market(3, "wide_spread")
    path = tmp_path / "short.parquet"
    write_tape(path, tape.events[:1500], tape.meta)
    compiled = answer(capsys, path)
    plain = subprocess.run(
        [sys.executable, "-m", "pr3dict.cli.main", "backtest", str(path), "--json"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    interpreted = json.loads(plain.stdout)
    for one in (compiled, interpreted):
        del one["elapsed_s"], one["events_per_s"]
    assert compiled["orders"] > 20
    assert compiled == interpreted
