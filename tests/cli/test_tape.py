"""`pr3dict tape` as a user meets it: what a tape is good for, every fault named, edited files that replay."""

import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pr3dict.cli import main
from pr3dict.cli.tape import moment_ns
from pr3dict.domain.errors import UsageError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.layouts import QUOTE_ROW
from pr3dict.store.series import SCHEMAS, SeriesMeta, write_series
from pr3dict.store.tape import TapeFee, TapeMeta, read_tape, write_tape

S = 10**9
START = 1_778_717_700 * S  # 2026-05-14T00:15:00Z
META = TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s1",
    source_format="hand-made",
    grids=(polymarket_grid(100),),
    min_size=5_000_000,
    lot=1_000_000,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    close_ns=START + 900 * S,
    outcome="yes",
    outcome_source="made up",
    has_trades="recorded",
)


def rows():
    """A book that is 2 cents wide, one-sided from the middle on, with two trades and a settlement."""
    at = lambda s, *a, **k: event_row(START + s * S, START + s * S, *a, **k)  # noqa: E731
    return [
        at(0, d.STATUS, aux=d.ACTIVE),
        *snapshot_rows(START, START, [(d.BID, 4_000, 5_000_000), (d.ASK, 4_200, 7_000_000)]),
        at(30, d.TRADE, side=d.BID, price=4_200, qty=2_000_000),
        at(30, d.LEVEL, side=d.ASK, price=4_200, qty=5_000_000),
        at(50, d.TRADE, side=d.BID, price=4_200, qty=5_000_000),
        at(50, d.LEVEL, side=d.ASK, price=4_200, qty=0),
        at(100, d.SETTLE, qty=1_000_000),
    ]


def tape(path, events=None, **changes):
    write_tape(
        path, events_of(rows()) if events is None else events, msgspec.structs.replace(META, **changes)
    )
    return path


def quotes(path, **changes):
    made = np.zeros(4, QUOTE_ROW)
    made["exch_ns"] = made["local_ns"] = START + np.arange(4) * S
    made["bid_price"], made["ask_price"], made["volume_micros"] = 4_000, [4_300, 4_500, -1, 4_000], -1
    return tape(path, made, kind="quotes", grids=(), min_size=0, lot=0, has_trades="none", **changes)


def series(path):
    table = pa.Table.from_pylist(
        [
            {"ticker": k, "event_id": "e", "outcome": o, "source": "told"}
            for k, o in (("a", "yes"), ("b", None))
        ],
        schema=SCHEMAS["resolutions"],
    )
    meta = SeriesMeta(
        kind="resolutions", venue="kalshi", name="r", title="t", session="s", source_format="hand-made"
    )
    write_series(path, table, meta)
    return path


def run(capsys, *words, code=0):
    assert main.run(["tape", *map(str, words)]) == code
    return capsys.readouterr()


# --- info -----------------------------------------------------------------------------------------


def test_info_tells_what_a_tape_holds(tmp_path, capsys):
    path = tape(tmp_path / "a.parquet", quality={"deltas": 3})
    (told,) = json.loads(run(capsys, "info", path, "--json").out)["tapes"]
    assert told["rows_by_kind"] == {"level": 2, "trade": 2, "snapshot": 2, "status": 1, "settlement": 1}
    assert (told["trades"], told["contracts"], told["trade_size_median"]) == (2, "7", "3.5")
    assert (told["spread_median"], told["touch_size_median"]) == ("0.02", "5")
    assert told["two_sided_share"] == pytest.approx(0.5, abs=0.001)
    assert (told["start_ns"], told["end_ns"]) == (START, START + 100 * S)
    assert told["grids"] == ["0.01 from 0.00 to 1.00"]
    assert (told["replayable"], told["because"]) == (True, "it holds an order book; trades were recorded")
    assert told["quality"] == {"deltas": 3}
    text = " ".join(run(capsys, "info", path).out.split())
    assert "game on polymarket: A wins?" in text
    assert "2 of 7 contracts" in text
    assert "median $0.02; both sides 50.0% of the time; median of the smaller size at the touch 5" in text
    assert "2026-05-14T00:15:00.000Z to 2026-05-14T00:16:40.000Z (100 s)" in text
    assert "replayable yes: it holds an order book" in text


def test_info_says_why_a_tape_cannot_be_replayed(tmp_path, capsys):
    path = quotes(tmp_path / "q.parquet")
    (told,) = json.loads(run(capsys, "info", path, "--json").out)["tapes"]
    assert told["replayable"] is False
    assert told["because"] == "it holds best bid and ask without sizes, and a replay needs an order book"
    assert (told["spread_median"], told["two_sided_share"]) == ("0.03", 0.75)
    assert told["trades"] == 0


def test_info_warns_where_the_resolution_time_is_unknown(tmp_path, capsys):
    path = tape(tmp_path / "a.parquet", close_ns=None, has_trades="recorded")
    assert "resolution time is unknown" in " ".join(run(capsys, "info", path).out.split())


def test_info_of_a_folder_is_a_row_each_with_totals_and_series(tmp_path, capsys):
    for k in range(45):
        tape(tmp_path / f"a{k:02}.parquet", ticker=f"game-{k:02}")
    quotes(tmp_path / "q.parquet")
    series(tmp_path / "r.parquet")
    answer = json.loads(run(capsys, "info", tmp_path, "--json").out)
    assert len(answer["tapes"]) == 46
    assert answer["totals"] == {
        "tapes": 46, "kinds": {"book": 45, "quotes": 1}, "markets": 46, "rows": 45 * 8 + 4, "trades": 90,
        "trades_inferred": 0, "contracts": "315", "replayable": 45, "outcomes_known": 46,
    }  # fmt: skip
    assert answer["series"][0]["outcomes"] == {"yes": 1, "not told": 1}
    text = run(capsys, "info", tmp_path).out
    assert ("game-39" in text, "game-40" in text) == (True, False)
    assert "... and 6 more" in text
    assert "46 tapes (45 book, 1 quotes) of 46 markets" in text
    assert "1 yes, 1 not told" in text


def test_info_names_a_file_that_cannot_be_read(tmp_path, capsys):
    (tmp_path / "x.parquet").write_text("no")
    assert "x.parquet: not a readable Parquet file" in run(capsys, "info", tmp_path, code=2).err


# --- check ----------------------------------------------------------------------------------------


def test_check_goes_on_past_failures_and_ends_with_2(tmp_path, capsys):
    tape(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no")
    tape(tmp_path / "c.parquet", outcome="no", ticker="other")
    tape(tmp_path / "d.parquet")
    series(tmp_path / "r.parquet")
    printed = run(capsys, "check", tmp_path, code=2)
    failed = [line for line in printed.out.splitlines() if line.startswith("FAILED")]
    assert [line.split(": ", 1)[0][-9:] for line in failed] == ["b.parquet", "c.parquet", "d.parquet"]
    assert "settles YES at $1.00, its metadata says that the outcome is no" in failed[1]
    assert f"tells of the same market and session as {tmp_path / 'a.parquet'}" in failed[2]
    assert "5 files checked, 3 failed" in printed.out
    assert printed.err == "error: 3 of 5 files failed the check; import them again or leave them out\n"
    answer = json.loads(run(capsys, "check", tmp_path, "--json", code=2).out)
    assert [len(file["errors"]) for file in answer["files"]] == [0, 1, 1, 1, 0]
    assert run(capsys, "check", tmp_path / "a.parquet", tmp_path / "r.parquet").err == ""


# --- cut and merge --------------------------------------------------------------------------------


def test_cut_by_duration_and_by_time(tmp_path, capsys):
    path, out = tape(tmp_path / "a.parquet"), tmp_path / "cut.parquet"
    answer = json.loads(
        run(capsys, "cut", path, "--from", "+10s", "--to", "-40s", "--out", out, "--json").out
    )
    assert (answer["start_ns"], answer["end_ns"]) == (START + 10 * S, START + 60 * S)
    events, meta = read_tape(out)
    assert events["kind"].tolist() == [d.STATUS, d.SNAPSHOT, d.SNAPSHOT, d.TRADE, d.LEVEL, d.TRADE, d.LEVEL]
    assert meta.quality == {"cut_from_ns": START + 10 * S, "cut_to_ns": START + 60 * S}
    again = tmp_path / "again.parquet"
    run(capsys, "cut", path, "--from", "2026-05-14T00:15:10Z", "--to", "2026-05-14T00:16:00", "--out", again)
    assert again.read_bytes() == out.read_bytes()
    merged = tmp_path / "merged.parquet"
    run(capsys, "cut", path, "--from", "+60s", "--out", again)
    run(capsys, "cut", path, "--to", "+60s", "--out", out)
    assert "rows" in run(capsys, "merge", again, out, "--out", merged).out
    assert read_tape(merged).events["kind"][-1] == d.SETTLE
    told = json.loads(run(capsys, "info", path, merged, "--json").out)["tapes"]
    assert [one["contracts"] for one in told] == ["7", "7"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cut", "{a}", "--out", "{o}"), "give --from, --to or both"),
        (("cut", "{a}", "--from", "noon", "--out", "{o}"), "--from: 'noon' is no moment; write 2026-05"),
        (("cut", "{a}", "--from", "+10", "--out", "{o}"), "--from: '+10' is no moment"),
        (("cut", "{a}", "--from", "+2h", "--out", "{o}"), "a.parquet: the cut lies outside"),
        (
            ("cut", "{a}", "--to", "+1s", "--from", "+5s", "--out", "{o}"),
            "a.parquet: the cut ends where it starts",
        ),
        (("cut", "{a}", "--from", "+1s", "--out", "{a}"), "a.parquet is one of the tapes that are read"),
        (("merge", "{a}", "--out", "{o}"), "is a single tape; name two or more"),
        (("merge", "{a}", "{q}", "--out", "{o}"), "q.parquet: kind: 'quotes' here, 'book' in"),
        (("merge", "{a}", "{q}", "--out", "{q}"), "q.parquet is one of the tapes that are read"),
        (("merge", "{a}", "nowhere.parquet", "--out", "{o}"), "nowhere.parquet: no such file"),
        (("cut", "{a}", "--from", "+1s", "--out", "{o}/no/where"), "where: cannot write the file"),
        (("paste",), "No such command 'paste'"),
        ((), "Missing command"),
    ],
)
def test_bad_usage_is_one_sentence_and_writes_nothing(tmp_path, capsys, words, sentence):
    a, q, o = tape(tmp_path / "a.parquet"), quotes(tmp_path / "q.parquet"), tmp_path / "o.parquet"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    filled = [word.format(a=a, q=q, o=o) for word in words]
    printed = run(capsys, *filled, code=2)
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+10m", 1_000 + 600 * S), ("-1h30m", 9_000 - 5_400 * S), ("+1.5s", 1_000 + S * 3 // 2),
        ("+250ms", 1_000 + S // 4), ("+3d", 1_000 + 259_200 * S), ("-7us", 2_000), ("+5ns", 1_005),
        ("2026-05-14T00:15:00Z", START), ("2026-05-14T00:15", START), ("2026-05-14T00:15Z", START),
        ("2026-05-14T00:15:00.000000001Z", START + 1), ("2026-05-14", START - 900 * S),
    ],
)  # fmt: skip
def test_moments(text, expected):
    assert moment_ns(text, 1_000, 9_000, option="--from") == expected


@pytest.mark.parametrize(
    "text", ["", "10m", "+", "+10", "+m", "+1 h", "2026-13-01", "2026-05-14T25:00:00Z", "+-3s"]
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(UsageError, match=r"--to: .* is no moment"):
        moment_ns(text, 0, 0, option="--to")


# --- what can't be replayed -----------------------------------------------------------------------


def backtest(capsys, *words):
    assert main.run(["backtest", *map(str, words), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_a_backtest_refuses_what_holds_no_book_and_says_why(tmp_path, capsys):
    path = quotes(tmp_path / "q.parquet")
    assert f"{path}: holds best bid and ask without sizes; a replay needs an order book" in backtest(
        capsys, path
    )
    trades = tape(
        tmp_path / "t.parquet", events_of([event_row(1, 1, d.TRADE, price=4_000, qty=1)]), kind="trades"
    )
    assert f"{trades}: holds trades without an order book; a replay needs" in backtest(capsys, trades)
    named = series(tmp_path / "r.parquet")
    assert f"{named}: a series of facts about markets" in backtest(capsys, named)
    (tmp_path / "x.parquet").write_text("no")
    assert "x.parquet: not a readable Parquet file, truncated or corrupt" in backtest(
        capsys, tmp_path / "x.parquet"
    )


def test_a_folder_is_replayed_without_the_series_beside_its_tapes(tmp_path, capsys):
    tape(tmp_path / "a.parquet")
    series(tmp_path / "r.parquet")
    assert main.run(["backtest", str(tmp_path), "--json"]) == 0
    assert [one["ticker"] for one in json.loads(capsys.readouterr().out)["per_market"]] == ["game"]
    quotes(tmp_path / "q.parquet")
    assert "q.parquet: holds best bid and ask" in backtest(capsys, tmp_path)


def test_a_cut_tape_is_replayed(tmp_path, capsys):
    out = tmp_path / "cut.parquet"
    run(capsys, "cut", tape(tmp_path / "a.parquet"), "--from", "+10s", "--to", "-5s", "--out", out)
    assert main.run(["backtest", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tape_contracts"] in ("7", 7)
    assert pq.read_schema(out).metadata is not None
