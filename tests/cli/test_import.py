"""`pr3dict import` as a user meets it: one JSON object, exit codes, a report, no half tape after Ctrl-C."""

import gzip
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pr3dict.cli import main
from pr3dict.cli.import_ import _totals
from pr3dict.domain.errors import WorkError
from pr3dict.store import importers
from pr3dict.store.importers.common import Importer, MarketReport
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
    assert "2 files of kalshi-kxbtc15m-l2" in text
    rows = sum(len(read_tape(path).events) for path in (tmp_path / "out").iterdir())
    assert f"book: 2 files with {rows} rows" in text
    assert "2 trades inferred (100.00% of the traded volume is explained by them), none recorded" in text
    assert "no defects" in text


def report(kind="book", trades=0, inferred=0, **figures):
    return MarketReport(
        session="s", market="m", kind=kind, events=10, trades=trades, trades_inferred=inferred, **figures
    )


EXPLAINED = "of the traded volume is explained by them)"


@pytest.mark.parametrize(
    ("reports", "sentences"),
    [
        (
            [report(trades=5)],
            [
                "book: 1 file with 10 rows",
                "no later snapshot to compare with; 0 book tapes settled",
                "5 trades recorded",
            ],
        ),
        (
            [report(trades=5, inferred=2)],
            [f"2 trades inferred (an unknown share {EXPLAINED}, 3 trades recorded"],
        ),
        (
            [report(trades=1, inferred=1, volume=4, volume_explained=1)],
            [f"1 trade inferred (25.00% {EXPLAINED}, none recorded"],
        ),
        ([report()], ["no trade was recorded or inferred"]),
        (
            [report("trades", trades=7), report("trades", trades=1)],
            ["trades: 2 files with 20 rows", "8 trades recorded"],
        ),
        (
            [report("quotes"), report("resolutions"), report("quotes")],
            ["quotes: 2 files with 20 rows", "resolutions: 1 file with 10 rows"],
        ),
        (
            [report(snapshots_checked=3, snapshots_equal=2, settled=True)],
            ["replayed book equals 2 of 3 later snapshots (66.67%); 1 book tape settled"],
        ),
    ],
)
def test_totals_say_what_was_recorded_and_what_was_inferred(reports, sentences):
    found = list(_totals(reports))
    assert [sentence for sentence in sentences if sentence not in found] == []
    assert any("trade" in one for one in found) == any(r.kind in ("book", "trades") for r in reports)


def test_thousands_of_tapes_are_a_short_table_and_a_complete_json(tmp_path, capsys):
    folder = tmp_path / "set" / "dt=2026-07-11"
    folder.mkdir(parents=True)
    slugs = [f"slug-{k:03}" for k in range(100)]
    table = pa.table(
        {
            "ts": pa.array([1_700_000_000_000_000] * 100, pa.timestamp("us")),
            "slug": slugs,
            "bid": [0.2] * 100,
            "ask": [0.1] * 100,
            "volume24hr": [1.0] * 100,
        }
    )
    pq.write_table(table, folder / "data.parquet")
    assert run("import", "polymarketus-quotes", folder, "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "100 files of polymarketus-quotes" in text
    assert ("slug-039" in text, "slug-040" in text) == (True, False)
    assert text.count("... and 60 more (all of them with --json)") == 1
    assert "quotes: 100 files with 100 rows" in text
    assert "103 defects" in text
    assert "... and 63 more (all of them with --json)" in text
    assert run("import", "polymarketus-quotes", folder, "--out", tmp_path / "out", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [entry["market"] for entry in answer["per_tape"]] == slugs
    assert len(answer["defects"]) == 103
    assert answer["kinds"] == {"quotes": 100}


def test_list_shows_every_format_with_its_summary(capsys):
    assert run("import", "list", "--json") == 0
    formats = json.loads(capsys.readouterr().out)["formats"]
    assert list(formats) == list(importers.FORMATS)
    assert all(len(summary) > 10 for summary in formats.values())
    assert run("import", "list") == 0
    text = capsys.readouterr().out
    assert [name for name in importers.FORMATS if name not in text] == []


# --- several recordings at a time, and the same name twice -----------------------------------------


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_jobs_write_the_bytes_and_the_report_of_one(kalshi_set, tmp_path, capsys):
    answers = []
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", out, "--jobs", jobs, "--json") == 0
        answers.append(capsys.readouterr().out.replace(str(out), "OUT"))
    assert answers[0] == answers[1]
    assert files_in(tmp_path / "out1") == files_in(tmp_path / "out2")


def test_a_broken_recording_in_a_process_is_one_sentence_and_leaves_whole_tapes(kalshi_set, tmp_path, capsys):
    broken = kalshi_set / "sessions" / "b" / "orderbook_delta.2026-05-14T00.ndjson.gz"
    broken.write_bytes(broken.read_bytes()[:40])
    out = tmp_path / "out"
    assert run("import", "kalshi-kxbtc15m-l2", kalshi_set, "--out", out, "--jobs", 2, "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {broken}: not a whole gzip file")
    assert [path.name[0] for path in out.iterdir()] == ["a"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_recordings_of_one_name_are_refused_before_anything_is_overwritten(
    kalshi_set, tmp_path, capsys, jobs
):
    twin = tmp_path / "twin" / "sessions" / "a"
    shutil.copytree(kalshi_set / "sessions" / "a", twin)
    shutil.copy(kalshi_set / "markets.csv", tmp_path / "twin")
    delta = next(twin.glob("orderbook_delta.*"))
    lines = gzip.decompress(delta.read_bytes()).splitlines(keepends=True)
    delta.write_bytes(gzip.compress(b"".join(lines[:1])))
    out, first = tmp_path / "out", kalshi_set / "sessions" / "a"
    assert run("import", "kalshi-kxbtc15m-l2", first, "--out", tmp_path / "alone", "--json") == 0
    assert run("import", "kalshi-kxbtc15m-l2", first, twin, "--out", out, "--jobs", jobs, "--json") == 2
    sentence = capsys.readouterr().err
    assert f"a__{made.TICKER}.parquet: {first} and {twin} would both become this file" in sentence
    assert files_in(out) == files_in(tmp_path / "alone")


def test_a_process_ended_from_outside_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "dying_importer.py").write_text("import os\n\ndef read(path):\n    os._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import dying_importer

    importer = Importer("dying", "ends its process", list, dying_importer.read)
    out = tmp_path / "out"
    with pytest.raises(WorkError, match="ended from outside"):
        importers.import_recordings(importer, [tmp_path, tmp_path.parent], out, jobs=2)
    assert not list(out.iterdir())


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
        (("kalshi-kxbtc15m-l2",), "FOLDER_OR_FILES is missing"),
        (("kalshi-kxbtc15m-l2", "{set}", "--jobs", "0"), "--jobs: 0 is not at least 1"),
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


@pytest.mark.parametrize(
    ("signal_number", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)]
)
def test_an_interrupted_import_leaves_only_whole_tapes(data_dir, tmp_path, signal_number, jobs):
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
        "--jobs",
        str(jobs),
    ]
    # What a shell runs in the background ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 200
    while not list(tmp_path.rglob("*.parquet")) and process.poll() is None and time.monotonic() < deadline:
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
