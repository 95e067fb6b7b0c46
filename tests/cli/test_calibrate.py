"""`pr3dict calibrate`: tables, JSON, files of presets, and one sentence for what is wrong."""

from __future__ import annotations

import json

import pytest

from pr3dict.cli.main import run
from pr3dict.runtime.resemblance import ROWS
from pr3dict.runtime.synthetic import Regime, market_tape
from pr3dict.store.tape import write_tape

QUICK = Regime(
    name="quick",
    about="a small market of a quarter of an hour",
    hours=0.25,
    volatility=0.4,
    refresh_rate=300.0,
    noise_rate=600.0,
    depth_rate=600.0,
)


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    """A folder of four short tapes, each a session of its own."""
    folder = tmp_path_factory.mktemp("tapes")
    for seed in range(4):
        tape = market_tape(seed, QUICK)
        write_tape(folder / f"{seed}.parquet", tape.events, tape.meta)
    return folder


def answer(capsys, *arguments) -> dict:
    assert run(["calibrate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_fit_write_and_judge(tapes, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    flags = ("--evaluations", 12, "--holdout", 0.5, "--out", path, "--name", "mine")
    found = answer(capsys, tapes, *flags)
    assert found["regime"]["name"] == "mine"
    assert [row["statistic"] for row in found["fitted"]["rows"]] == [row.key for row in ROWS]
    assert len(found["held_out"]["rows"]) == len(ROWS)
    for row in found["fitted"]["rows"]:
        assert row["within"] in ("yes", "noise", "no", "unknown")
        if row["within"] == "yes":
            assert row["distance"] <= row["tolerance"]
    judged = answer(capsys, tapes, "--preset", path)
    assert judged["regime"] == found["regime"]
    assert answer(capsys, tapes, "--preset", path) == judged


def test_table_for_a_person(tapes, capsys):
    assert run(["calibrate", str(tapes), "--preset", "sports-live"]) == 0
    printed = capsys.readouterr().out
    for word in ("spread, mean", "depth bid, touch", "maker's markout, 300 s", "tolerance", "resemble"):
        assert word in printed


def test_list_shows_every_preset_with_its_source(capsys):
    assert run(["calibrate", "--list"]) == 0
    assert "sports-live" in capsys.readouterr().out
    found = answer(capsys, "--list")
    assert set(found) == {"quiet", "sports-live", "crypto-15m", "news", "thin"}
    assert all(one["source"] and one["sessions"] and len(one["rows"]) == len(ROWS) for one in found.values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no tape was named"),
        (["nothing.parquet"], "no such file"),
        (["{tapes}", "--holdout", "1"], "--holdout: 1.0 is not from 0 to below 1"),
        (["{tapes}", "--evaluations", "3"], "--evaluations at least 12"),
        (["{tapes}", "--preset", "stormy"], "unknown preset 'stormy'"),
        (["{tapes}", "--preset", "thin", "--holdout", "0.5"], "leave --holdout and --out away"),
        (["{tapes}/0.parquet", "--holdout", "0.5"], "can't be split"),
        (["{tapes}", "--out", "{tapes}/no/where.toml"], "--out: the folder"),
        (["{tapes}", "--out", "{tapes}"], "is a folder; name a file in it"),
    ],
)
def test_one_sentence_for_what_is_wrong(tapes, capsys, arguments, sentence):
    assert run(["calibrate", *(one.format(tapes=tapes) for one in arguments)]) == 2
    shown = capsys.readouterr().err
    assert sentence in shown and shown.count("\n") == 1
