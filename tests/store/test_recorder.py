"""Recording live market data: every row as it came, tapes that pass every check, nothing lost unsaid."""

import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.cli import main
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers import get_importer
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.importers.recording import read
from pr3dict.store.recorder import Recorder
from pr3dict.store.recording import read_rows, segments
from pr3dict.store.tape import Tape, TapeFee, TapeMeta, check_tape, read_tape

T0 = 1_778_717_700_000_000_000
META = TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s1",
    source_format="recording",
    grids=(polymarket_grid(100), polymarket_grid(10)),
    min_size=5_000_000,
    lot=1,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    has_trades="recorded",
)


def meta(market: int) -> TapeMeta:
    return msgspec.structs.replace(META, ticker=f"game-{market}")


def level(at: int, side: int, price: int, size: int, *, local: int | None = None):
    return event_row(
        T0 + at, T0 + (at if local is None else local), d.LEVEL, side=side, price=price, qty=size
    )


def book(at: int, bid: int = 4_900, ask: int = 5_100):
    return snapshot_rows(T0 + at, T0 + at, [(d.BID, bid, 10**8), (d.ASK, ask, 10**8)])


def record(folder: Path, batches, *, segment_rows: int = 64, markets: int = 1) -> Path:
    """Batches are rows, or functions of the recorder."""
    with Recorder(folder, segment_rows=segment_rows) as recorder:
        for market in range(markets):
            recorder.list(market, meta(market))
        for batch in batches:
            if callable(batch):
                batch(recorder)
            else:
                recorder.append(batch if isinstance(batch, np.ndarray) else events_of(batch))
    return folder


def only(folder: Path) -> tuple[Tape, dict, tuple[str, ...]]:
    """The tape of the one market, checked, with figures and defects."""
    (tape,) = read(folder)
    check_tape(tape.events, tape.meta)
    return Tape(tape.events, tape.meta), tape.report.details, tape.report.defects


# --- the recording itself -------------------------------------------------------------------------

KINDS = (d.LEVEL, d.LEVEL, d.TRADE, d.SNAPSHOT, d.STATUS, d.TICK, d.CLOSE_TIME, d.NEWS, 0, 99, d.SETTLE)
WILD = st.tuples(
    st.integers(0, 50),  # exchange time
    st.sampled_from(KINDS),
    st.integers(-1, 2),  # side
    st.sampled_from([-5, 0, 1, 4_900, 4_950, 5_000, 5_100, 5_105, 9_999, 10_000, 30_000]),
    st.sampled_from([-1, 0, 1, 10**8]),
    st.integers(-1, 11),  # aux
    st.sampled_from([0, 0, d.SNAP_FIRST, d.SNAP_LAST, d.SNAP_FIRST | d.SNAP_LAST]),
    st.integers(0, 2),  # market
)


def wild_rows(drawn) -> d.Array:
    rows = np.zeros(len(drawn), d.EVENT)
    for n, (exch, kind, side, price, qty, aux, bits, market) in enumerate(drawn):
        rows[n] = (T0 + exch, T0 + n // 2, qty, aux, price, market, kind, side, bits)
    return rows


@given(batches=st.lists(st.lists(WILD, max_size=12), max_size=12), size=st.integers(1, 40), data=st.data())
@settings(max_examples=25)
def test_whatever_comes_is_kept_and_makes_tapes_that_pass_every_check(tmp_path_factory, batches, size, data):
    folder = tmp_path_factory.mktemp("recording")
    rows = [wild_rows(batch) for batch in batches]
    total = sum(len(batch) for batch in rows)
    with Recorder(folder / "run", segment_rows=size) as recorder:
        for market in range(3):
            recorder.list(market, meta(market))
        for batch in rows:
            recorder.append(batch)
            action = data.draw(st.sampled_from(["", "", "flush", "gap"]))
            if action == "flush":
                recorder.flush(wait=data.draw(st.booleans()))
            elif action == "gap":
                recorder.gap(data.draw(st.integers(0, 2)), T0, "gap")
        recorder.flush()
        assert (recorder.rows, recorder.kept) == (total, total)
    if total:
        whole = np.concatenate(rows)
        assert np.array_equal(np.concatenate(list(read_rows(folder / "run"))), whole)
        for tape in read(folder / "run"):
            if len(tape.events):
                check_tape(tape.events, tape.meta)
            market = int(tape.meta.ticker[-1])
            assert tape.report.rows == (whole["market"] == market).sum()
    shutil.rmtree(folder)


def test_rows_of_many_markets_keep_their_order_of_arrival(tmp_path: Path):
    rows = np.zeros(1_000, d.EVENT)
    rows["market"] = np.arange(1_000) % 7
    rows["local_ns"] = T0 + np.arange(1_000) // 3
    rows["aux"] = np.arange(1_000)
    folder = record(tmp_path / "run", [rows[:400], rows[400:401], rows[401:]], segment_rows=128, markets=7)
    parts = segments(folder)
    assert [part.meta.first_row for part in parts] == list(range(0, 1_000, 128))
    assert [sorted(part.meta.markets) for part in parts] == [list(range(7))] * 8
    assert np.array_equal(np.concatenate(list(read_rows(folder))), rows)


def test_the_buffers_are_not_written_over_while_the_thread_works(tmp_path: Path):
    rows = np.zeros(40_000, d.EVENT)
    rows["aux"] = np.arange(40_000)
    folder = record(tmp_path / "run", [rows[k : k + 1] for k in range(40_000)], segment_rows=1_000)
    assert np.array_equal(np.concatenate(list(read_rows(folder)))["aux"], rows["aux"])


def test_misuse_is_refused(tmp_path: Path):
    recorder = Recorder(tmp_path / "run")
    recorder.list(0, META)
    recorder.list(0, msgspec.structs.replace(META, outcome="yes"))
    with pytest.raises(WorkError, match="row 0 is game, it can't become other"):
        recorder.list(0, msgspec.structs.replace(META, ticker="other"))
    rows = np.zeros(1, d.EVENT)
    rows["market"] = 5
    recorder.append(rows)
    with pytest.raises(WorkError, match=r"not listed: \[5\]"):
        recorder.close()
    record(tmp_path / "other", [book(0)])
    with pytest.raises(WorkError, match="holds a recording already"):
        Recorder(tmp_path / "other")
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="can't be made"):
        Recorder(tmp_path / "file" / "run")
    with pytest.raises(DataError, match="no recording here"):
        segments(tmp_path)


def test_a_disk_that_refuses_is_said_and_what_was_written_stays(tmp_path: Path):
    recorder = Recorder(tmp_path / "run", segment_rows=4)
    recorder.list(0, META)
    recorder.append(events_of(book(0)))
    recorder.flush()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    recorder.append(events_of(book(1)))
    recorder.flush(wait=False)
    with pytest.raises(WorkError, match="the recording stopped"):
        recorder.flush()
    assert recorder.kept == 2
    with pytest.raises(WorkError, match="the recording stopped"):
        recorder.close()
    assert len(np.concatenate(list(read_rows(tmp_path / "moved")))) == 2


def test_damaged_segments_are_named(tmp_path: Path):
    folder = record(tmp_path / "run", [book(0)])
    file = folder / "rows-000001.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    with pytest.raises(DataError, match="rows-000001"):
        segments(folder)
    pq.write_table(pq.ParquetFile(pa_file(content, tmp_path)).read().replace_schema_metadata(), file)
    with pytest.raises(DataError, match="no segment of a recording"):
        segments(folder)


def pa_file(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "whole.parquet"
    path.write_bytes(content)
    return path


# --- tapes of it ----------------------------------------------------------------------------------


def test_a_sound_recording_is_its_tape(tmp_path: Path):
    rows = [*book(0), level(5, d.BID, 4_900, 7), event_row(T0 + 9, T0 + 11, d.TRADE, price=5_100, qty=3)]
    tape, details, defects = only(record(tmp_path / "run", [rows[:2], rows[2:]], segment_rows=3))
    assert np.array_equal(tape.events, events_of(rows))
    assert defects == ()
    assert set(details.values()) == {0}


def test_a_gap_pauses_the_market_without_a_book_until_its_next_snapshot(tmp_path: Path):
    batches = [
        [event_row(T0, T0, d.STATUS, aux=d.POST_ONLY_MODE), *book(0)],
        lambda recorder: recorder.gap(0, T0 + 1, "sequence"),
        [level(3, d.BID, 5_000, 1), event_row(T0 + 4, T0 + 4, d.TRADE, price=5_000, qty=2)],
        book(9, 4_800, 5_000),
        [level(12, d.BID, 4_900, 5)],
    ]
    tape, details, _ = only(record(tmp_path / "run", batches))
    kinds = [(int(r["kind"]), int(r["aux"]), int(r["exch_ns"]) - T0) for r in tape.events]
    assert kinds == [
        (d.STATUS, d.POST_ONLY_MODE, 0),
        (d.SNAPSHOT, 0, 0),
        (d.SNAPSHOT, 0, 0),
        (d.STATUS, d.PAUSED, 0),
        (d.SNAPSHOT, 0, 0),  # empty
        (d.TRADE, 0, 4),
        (d.STATUS, d.POST_ONLY_MODE, 9),
        (d.SNAPSHOT, 0, 9),
        (d.SNAPSHOT, 0, 9),
        (d.LEVEL, 0, 12),
    ]
    put_in = (tape.events["bits"] & d.SYNTHETIC) != 0
    assert put_in.tolist() == [False, False, False, True, True, False, True, False, False, False]
    assert details["untrusted_rows"] == 1


def test_a_lost_segment_is_a_gap_of_every_market(tmp_path: Path):
    rows = [*book(0), level(1, d.BID, 4_900, 1), level(2, d.BID, 4_900, 2), level(3, d.ASK, 5_100, 9)]
    folder = record(tmp_path / "run", [[row] for row in rows] + [book(8)], segment_rows=2)
    (folder / "rows-000002.parquet").unlink()
    tape, details, defects = only(folder)
    assert "lacks 2 rows of all markets after row 2" in defects[0]
    assert (tape.events["kind"] == d.LEVEL).sum() == 0
    assert (tape.events["aux"][tape.events["kind"] == d.STATUS]).tolist() == [d.PAUSED, d.ACTIVE]
    assert details["untrusted_rows"] == 1


def test_times_that_fall_are_raised_and_crossed_levels_removed(tmp_path: Path):
    rows = [*book(10), level(7, d.BID, 5_000, 3, local=12), level(20, d.BID, 5_100, 4)]
    tape, details, defects = only(record(tmp_path / "run", [rows]))
    assert (tape.events["exch_ns"] - T0).tolist() == [10, 10, 10, 20, 20]
    assert int(tape.events["local_ns"][2]) == T0 + 12
    removed = tape.events[-1]
    assert (int(removed["side"]), int(removed["price"]), int(removed["qty"])) == (d.ASK, 5_100, 0)
    assert (details["exchange_times_raised"], details["crossed_instants"]) == (1, 1)
    assert len(defects) == 2


def test_a_settlement_is_the_last_row_and_the_outcome(tmp_path: Path):
    batches = [
        book(0),
        lambda recorder: recorder.settle(0, T0 + 50, 0),
        lambda recorder: recorder.settle(0, T0 + 60, 1_000_000),
    ]
    tape, _, _ = only(record(tmp_path / "run", batches))
    last = tape.events[-1]
    assert (int(last["kind"]), int(last["qty"]), int(last["exch_ns"]) - T0) == (d.SETTLE, 1_000_000, 60)
    assert tape.meta.outcome == "yes"
    refund = [book(0), lambda recorder: recorder.settle(0, T0 + 50, 500_000, refund=True)]
    tape, _, _ = only(record(tmp_path / "refund", refund))
    assert (tape.meta.outcome, int(tape.events[-1]["bits"])) == (None, d.REFUND)


def test_the_command_makes_tapes_of_all_runs_of_a_data_directory(tmp_path: Path, capsys):
    for run in ("a", "b"):
        with Recorder(tmp_path / "tapes" / run) as recorder:
            recorder.list(0, msgspec.structs.replace(META, session=run))
            recorder.append(events_of(book(0)))
    out = tmp_path / "out"
    assert main.run(["import", "recording", str(tmp_path / "tapes"), "--out", str(out), "--json"]) == 0
    capsys.readouterr()
    tapes = sorted(out.rglob("*.parquet"))
    assert [read_tape(path).meta.session for path in tapes] == ["a", "b"]
    assert main.run(["tape", "check", *map(str, tapes)]) == 0
    with pytest.raises(DataError, match="no recording here"):
        get_importer("recording").find([out])


def test_many_markets_are_made_in_groups(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("pr3dict.store.importers.recording.MOST_ROWS", 5)
    batches = []
    for n in range(6):
        rows = events_of(book(n))
        rows["market"] = n % 4
        batches.append(rows)
    tapes = list(read(record(tmp_path / "run", batches, markets=5)))
    assert [tape.meta.ticker for tape in tapes] == ["game-0", "game-1", "game-2", "game-3"]
    assert [len(tape.events) for tape in tapes] == [4, 4, 2, 2]


def test_appending_costs_little(tmp_path: Path):
    rows = np.zeros(1, d.EVENT)
    with Recorder(tmp_path / "run") as recorder:
        recorder.list(0, META)
        start = time.perf_counter()
        for _ in range(20_000):
            recorder.append(rows)
        each_us = (time.perf_counter() - start) / 20_000 * 1e6
    assert each_us < 100  # a few in a quiet machine
