"""`pr3dict import` as a user meets it: one JSON object, exit codes, a report, no half tape after Ctrl-C."""

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pr3dict.cli import main
from pr3dict.store.tape import read_tape

_spec = importlib.util.spec_from_file_location(
    "kalshi_session", Path(__file__).parent.parent / "store" / "kalshi_session.py"
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

COUNTS = ["events", "snapshots", "deltas", "trades", "trades_inferred"]
CONTRACT = [
    "tapes",
    *COUNTS,
    "volume_explained",
    "markets",
    "settled",
    "snapshots_checked",
    "snapshots_equal",
    "defects",
]


@pytest.fixture
def kalshi_set(tmp_path):
    """A set of two sessions, the first settled."""
    for name in ("a", "b"):
        session = made.Session(tmp_path / "set", name=name)
        session.snapshot([["0.4400", "120.00"]], [["0.5500", "20.00"]], local=-101 * 10**9)
        session.delta(-(10**11), "yes", "0.4300", "7.00").ticker(-(10**11) + 5, "100.00")
        session.delta(-(10**10), "no", "0.5500", "-2.00").ticker(-(10**10) + 5, "104.00")
        if name == "a":
            session.delta(10**9, "yes", "0.4400", "-120.00").outcome("no")
        session.write()
    return tmp_path / "set"


def run(*arguments):
    return main.run([str(word) for word in arguments])


def test_json_is_one_object_with_the_agreed_keys(kalshi_set, tmp_path, capsys):
    assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", tmp_path / "out", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer)[: len(CONTRACT)] == CONTRACT
    assert [Path(name).name for name in answer["tapes"]] == [
        f"{name}__{made.TICKER}.parquet" for name in "ab"
    ]
    totals = {key: answer[key] for key in CONTRACT[2:-1]}
    assert totals == {
        "snapshots": 2, "deltas": 5, "trades": 2, "trades_inferred": 2, "volume_explained": 1.0, "markets": 1,
        "settled": 1, "snapshots_checked": 0, "snapshots_equal": 0,
    }  # fmt: skip
    assert answer["events"] == sum(len(read_tape(name).events) for name in answer["tapes"])
    assert [entry["session"] for entry in answer["per_tape"]] == ["a", "b"]


def test_an_unknown_volume_is_null(tmp_path, capsys):
    path = tmp_path / "game.csv.gz"
    lines = [
        "market_slug,asset_id,event_type,price,side,size,hash,timestamp",
        "s,1,book,0.4,bid,5,h,1750212212579",
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert run("import", "polymarket-mlb-l2", path, "--out", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["volume_explained"] is None


def test_the_report_for_a_person(kalshi_set, tmp_path, capsys):
    assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "2 tapes of kalshi-kxbtc15m-l2" in text
    assert "2 trades were inferred, none was recorded; they explain 100.00% of the traded volume" in text
    assert "no defects" in text


def test_importing_again_writes_the_same_bytes(kalshi_set, tmp_path, capsys):
    tapes = []
    for _ in range(2):
        assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", tmp_path / "out", "--json") == 0
        tapes.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert tapes[0] == tapes[1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("hello", "{set}"),
            "unknown format 'hello'; known: kalshi-ws, polymarket-ws, pmxt",
        ),
        (("kalshi-kxbtc15m-l2", "{set}/nowhere"), "nowhere: no such file or folder"),
        (("polymarket-mlb-l2", "{set}"), "no polymarket-mlb-l2 recording here"),
        (("kalshi-kxbtc15m-l2",), "FOLDER_OR_FILES"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(kalshi_set, tmp_path, capsys, arguments, sentence):
    words = [word.replace("{set}", str(kalshi_set)) for word in arguments]
    assert run("import", *words, "--out", tmp_path / "out", "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_a_broken_session_keeps_the_tapes_before_it_and_names_the_file(kalshi_set, tmp_path, capsys):
    broken = kalshi_set / "sessions" / "b" / "orderbook_delta.2026-05-14T00.ndjson.gz"
    broken.write_bytes(broken.read_bytes()[:40])
    assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", tmp_path / "out", "--json") == 2
    assert f"{broken}: not a whole gzip file" in capsys.readouterr().err
    assert [path.name[0] for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_named(kalshi_set, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", tmp_path / "file", "--json") == 2
    assert "file: cannot make the folder for tapes" in capsys.readouterr().err


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_leaves_only_whole_tapes(data_dir, tmp_path, signal_number):
    folder = data_dir / "kalshi-kxbtc15m-l2-b"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    command = [
        sys.executable,
        "-m",
        "pr3dict.cli.main",
        "import",
        "kalshi-kxbtc15m-l2",
        str(folder),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) < 11
    assert all(name.endswith(".parquet") and not name.startswith(".") for name in left)
    for name in left:
        read_tape(tmp_path / name)
