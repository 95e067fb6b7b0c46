"""The command that compares: tables and JSON from real runs, one sentence for whatever is wrong."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from pr3dict.cli.main import run
from pr3dict.runtime.synthetic import REGIMES, synthetic_market
from pr3dict.store.tape import write_tape


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Backtests of generated markets as files: twice the same, one wider, one over fewer tapes."""
    folder = tmp_path_factory.mktemp("runs")
    tapes = folder / "tapes"
    tapes.mkdir()
    for number in range(12):
        regime = REGIMES[number % len(REGIMES)].name if number < 4 else "wide_spread"
        tape = synthetic_market(10 + number, regime)
        write_tape(tapes / f"{number:02d}.parquet", tape.events, tape.meta)
    usual = ["backtest", str(tapes), "--cash", "100000", "--set", "max_markets=50"]
    for name, line in (
        ("same", usual),
        ("again", usual),
        ("wider", [*usual, "--set", "base_spread=0.06"]),
        ("fewer", ["backtest", str(tapes / "05.parquet")]),
    ):
        assert run([*line, "--out", str(folder / f"{name}.json")]) == 0
    return folder


def answer(capsys, *paths) -> dict:
    capsys.readouterr()
    assert run(["compare", *map(str, paths), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_file_is_the_json_of_the_backtest(runs, capsys):
    written = json.loads((runs / "fewer.json").read_text())
    assert run(["backtest", str(runs / "tapes" / "05.parquet"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    for one in (written, printed):
        del one["elapsed_s"], one["events_per_s"]
    assert written == printed
    assert sum(Decimal(block["net"]) for block in written["blocks"]) == Decimal(written["pnl"]["net"])
    assert set(written["blocks"][0]) == {"market", "session", "event", "day", "net", "contracts", "fills"}
    assert not list(runs.glob(".*"))


def test_json_holds_both_runs_and_the_verdict(runs, capsys):
    found = answer(capsys, runs / "same.json", runs / "wider.json", runs / "again.json")
    first, wider, _ = found["runs"]
    given = json.loads((runs / "wider.json").read_text())
    assert (wider["name"], wider["net"], wider["fills"]) == ("wider", given["pnl"]["net"], given["fills"])
    assert found["assumptions_that_differ"] == {
        "base_spread": {"same": "default", "wider": "0.06", "again": "default"}
    }
    compared, same = found["comparisons"]
    difference = Decimal(wider["net"]) - Decimal(first["net"])
    assert compared["net"]["difference"] == float(difference) != 0
    assert compared["net"]["low"] < float(difference) < compared["net"]["high"]
    assert compared["verdict"] in ("noise", "difference")
    assert compared["blocks"] >= 8
    assert (same["verdict"], same["net"]["difference"]) == ("noise", 0.0)
    assert answer(capsys, runs / "same.json", runs / "wider.json", runs / "again.json") == found


def test_a_planted_fifth_of_a_cent_is_found(runs, capsys, tmp_path):
    planted = json.loads((runs / "same.json").read_text())
    for block in planted["blocks"]:
        block["net"] = f"{Decimal(block['net']) + Decimal(block['contracts']) * Decimal('0.002'):f}"
    planted["pnl"]["net"] = f"{sum(Decimal(block['net']) for block in planted['blocks']):f}"
    (tmp_path / "better.json").write_text(json.dumps(planted))
    (found,) = answer(capsys, runs / "same.json", tmp_path / "better.json")["comparisons"]
    assert found["verdict"] == "difference"
    assert found["net_per_contract_cents"]["difference"] == 0.2
    assert "better earns more" in found["sentence"]


def test_a_person_sees_runs_differences_and_the_verdict(runs, capsys):
    capsys.readouterr()
    assert run(["compare", str(runs / "same.json"), str(runs / "wider.json"), str(runs / "again.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("net a contract", "markout after 60s", "two-sided uptime", "What they assume differently",
                  "base spread default 0.06 default", "Noise: again and same earned the same",
                  "2 runs are compared with the first"):  # fmt: skip
        assert words in printed


def test_other_tapes_are_shown_and_not_compared(runs, capsys):
    (found,) = answer(capsys, runs / "same.json", runs / "fewer.json")["comparisons"]
    assert found["verdict"] == "not comparable"
    assert "same replays 11 tapes that fewer does not" in found["sentence"]


def test_files_of_one_name_are_told_apart(runs, capsys, tmp_path):
    other = tmp_path / "same.json"
    other.write_bytes((runs / "wider.json").read_bytes())
    names = [one["name"] for one in answer(capsys, runs / "same.json", other)["runs"]]
    assert names == [str(runs / "same.json"), str(other)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "RUN RUN..."),
        (["same.json"], "compare needs two runs at least"),
        (["same.json", "same.json"], "named twice"),
        (["same.json", "missing.json"], "missing.json: can't be read"),
        (["same.json", "tapes"], "tapes: can't be read"),
        (["same.json", "tapes/05.parquet"], "05.parquet: not the JSON of a backtest"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(runs, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    capsys.readouterr()
    assert run(["compare", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_a_report_is_written_whole_and_says_where(runs, capsys, tmp_path):
    path = tmp_path / "r.html"
    assert run(["backtest", str(runs / "tapes" / "05.parquet"), "--report", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["markets"] == 1
    assert str(path) in printed.err.replace("\n", "")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize("option", ["--report", "--out"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(runs, option, capsys, tmp_path):
    for target, words in ((tmp_path, "is a folder"), (tmp_path / "no" / "x", "does not exist")):
        assert run(["backtest", "missing.parquet", option, str(target)]) == 2
        assert f"{option}: " in (told := capsys.readouterr().err)
        assert words in told.replace("\n", " ")
    assert run(["backtest", "missing.parquet", option, str(tmp_path / ("x" * 252))]) == 2
    assert "can't be written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
