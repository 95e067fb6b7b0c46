"""Polled quotes: a small set made here, its faults, and the facts of the real one."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store.importers import import_recordings
from pr3dict.store.importers import polymarketus_quotes as us
from pr3dict.store.layouts import NONE
from pr3dict.store.series import check_series
from pr3dict.store.tape import check_tape, read_tape

SCHEMA = pa.schema(
    [
        ("ts", pa.timestamp("us")),
        ("slug", pa.large_string()),
        ("bid", pa.float64()),
        ("ask", pa.float64()),
        ("volume24hr", pa.float64()),
    ]
)
NOON = datetime(2026, 7, 11, 12)  # noqa: DTZ001 - the set's timestamps carry no zone and are UTC


def at(seconds, slug, bid, ask, volume=None):
    return {
        "ts": NOON + timedelta(seconds=seconds),
        "slug": slug,
        "bid": bid,
        "ask": ask,
        "volume24hr": volume,
    }


def day(folder, name, rows):
    path = folder / "quotes" / f"dt={name}" / "data.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


FIRST = [
    at(0, "b", 0.29, 0.31, 12.0), at(120, "b", 0.57, None), at(60, "b", 0.3, 0.29), at(0, "a", None, 0.001),
]  # fmt: skip
SECOND = [at(2 * 86_400, "c", 0.5, 0.5), at(2 * 86_400, "b", 0.999, None)]


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "set"
    day(folder, "2026-07-11", FIRST)
    day(folder, "2026-07-13", SECOND)
    labels = [("a", 1, "api"), ("b", 0, "convergence"), ("zz", 1, "api")]
    pq.write_table(
        pa.table(dict(zip(("slug", "y", "source"), map(list, zip(*labels, strict=True)), strict=True))),
        folder / "labels.parquet",
    )
    pq.write_table(
        pa.table({"slug": ["a"], "question": ["A wins?"], "category": ["sports"]}), folder / "markets.parquet"
    )
    return folder


def test_one_tape_a_slug_over_the_days_given(made):
    a, b, c, series = us.read(made)
    assert [tape.meta.ticker for tape in (a, b, c)] == ["a", "b", "c"]
    assert {tape.meta.session for tape in (a, b, c)} == {"2026-07-11..2026-07-13"}
    rows = b.events
    start = int(np.datetime64(NOON, "ns").astype(np.int64))
    assert rows["exch_ns"].tolist() == [start + s * 10**9 for s in (0, 60, 120, 2 * 86_400)]
    assert np.array_equal(rows["local_ns"], rows["exch_ns"])
    assert rows["bid_price"].tolist() == [2_900, 3_000, 5_700, 9_990]
    assert rows["ask_price"].tolist() == [3_100, 2_900, NONE, NONE]
    assert rows["volume_micros"].tolist() == [12_000_000, NONE, NONE, NONE]
    assert a.events["bid_price"].tolist() == [NONE]
    assert b.report.defects == ("1 quote with the bid above the ask, kept as recorded",)
    assert (c.report.details["locked"], c.report.details["crossed"]) == (1, 0)
    assert (a.meta.outcome, a.meta.outcome_source[:4]) == ("yes", "api:")
    assert (b.meta.outcome, b.meta.outcome_source[:12]) == ("no", "convergence:")
    assert (c.meta.outcome, c.meta.outcome_source) == (None, "")
    assert a.meta.title == "A wins? (a, Polymarket US)"
    told = [
        (row["ticker"], row["outcome"], row["value_micros"], row["source"])
        for row in series.table.to_pylist()
    ]
    assert told == [("a", "yes", 10**6, "api"), ("b", "no", 0, "convergence")]
    assert series.report.defects == (
        "1 of 3 markets without an outcome",
        "1 outcome inferred from prices by the recorder (convergence): biased to clear endings",
    )
    assert series.report.details["labels_of_other_days"] == 1
    for tape in (a, b, c):
        check_tape(tape.events, tape.meta)
    check_series(series.table, series.meta)


def test_a_day_alone_is_a_session_of_its_own(made):
    file = made / "quotes" / "dt=2026-07-13" / "data.parquet"
    for path in (file, file.parent):
        tapes = list(us.read(us.find([path])[0]))
        assert [tape.report.market for tape in tapes] == ["b", "c", "resolutions"]
        assert {tape.report.session for tape in tapes} == {"2026-07-13"}
        assert tapes[0].meta.outcome == "no"


def test_prices_that_no_quote_can_have_are_counted(made):
    day(made, "2026-07-13", [at(0, "c", 0.50004, 0.6), at(9, "c", 0.0, 1.0), at(9, "c", 0.1, 0.2)])
    *_, c, series = us.read(made)
    assert c.events["bid_price"].tolist() == [NONE, 1_000]
    assert c.events["ask_price"].tolist() == [NONE, 2_000]
    assert c.report.defects == ("1 quote with the time of the quote before",)
    assert series.report.defects[:2] == (
        "1 quote with a price between steps of 1/10,000 dollar, left out",
        "2 prices at or beyond 0 and 1 dollar, taken as no bid or no ask",
    )


def test_without_labels_the_first_tape_says_so(made):
    (made / "labels.parquet").unlink()
    (made / "markets.parquet").unlink()
    a, b, c = us.read(made)
    assert a.report.defects == (
        "labels.parquet is absent: no outcome is known",
        "markets.parquet is absent: titles are the slugs",
        "3 of 3 markets without an outcome",
    )
    assert c.report.defects == ()
    assert b.meta.outcome is None


def changed(table, name, values, kind):
    return table.set_column(table.schema.names.index(name), name, pa.array(values, kind))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda t: changed(t, "bid", [0.1, float("nan"), 0.1, 0.1], pa.float64()),
            "row 2: bid: nan is no number",
        ),
        (
            lambda t: changed(t, "ask", [0.1, 0.1, float("inf"), 0.1], pa.float64()),
            "row 3: ask: inf is no number",
        ),
        (
            lambda t: changed(t, "volume24hr", [1.0, -5.0, 1.0, 1.0], pa.float64()),
            "row 2: the volume is negative",
        ),
        (
            lambda t: changed(t, "slug", ["a", None, "b", "c"], pa.string()),
            r"row 2: slug: the value is missing",
        ),
        (
            lambda t: changed(t, "bid", ["x"] * 4, pa.string()),
            "bid: the column is .*string and must hold decimals",
        ),
        (
            lambda t: changed(t, "ts", [1, 2, 3, 4], pa.int64()),
            "ts: the column is int64 and must be a timestamp",
        ),
        (lambda t: t.drop_columns(["ask"]), "ask: the column is missing"),
    ],
)
def test_a_faulty_cell_ends_the_import_and_is_named(made, change, sentence):
    file = made / "quotes" / "dt=2026-07-11" / "data.parquet"
    pq.write_table(change(pq.read_table(file, partitioning=None)), file)
    with pytest.raises(DataError, match=rf"data\.parquet: {sentence}"):
        list(us.read(made))


@pytest.mark.parametrize("label", [("a", 2, "api"), ("a", 1, "oracle"), ("b", 1, "api")])
def test_a_label_that_is_none_is_refused(made, label):
    pq.write_table(
        pa.table({"slug": ["b", label[0]], "y": [0, label[1]], "source": ["api", label[2]]}),
        made / "labels.parquet",
    )
    with pytest.raises(DataError, match=r"labels\.parquet: row 2: label "):
        list(us.read(made))


def test_truncated_files_and_other_folders_are_named(made, tmp_path):
    file = made / "quotes" / "dt=2026-07-11" / "data.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"data\.parquet: not a readable Parquet file"):
        list(us.read(made))
    with pytest.raises(DataError, match="no polymarketus-quotes recording here"):
        us.find([tmp_path])


def test_the_files_written_are_read_again(made, tmp_path):
    written = import_recordings(us.IMPORTER, [made], tmp_path / "out")
    assert written[0].path.name == "2026-07-11..2026-07-13__a.parquet"
    assert read_tape(written[1].path).events["bid_price"][0] == 2_900


def test_a_day_of_the_real_set_is_as_the_file_has_it(data_dir):
    folder = data_dir / "polymarketus-quotes-2026-07" / "quotes" / "dt=2026-07-15"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    table = pq.read_table(folder / "data.parquet", columns=["slug", "bid", "ask"], partitioning=None)
    *tapes, series = us.read(folder)
    assert len(tapes) == pc.count_distinct(table["slug"]).as_py() == 7_006
    assert sum(len(tape.events) for tape in tapes) == table.num_rows == 3_282_768
    for name, column in (("bid", "bid_price"), ("ask", "ask_price")):
        assert sum(int((t.events[column] == NONE).sum()) for t in tapes) == table[name].null_count
        total = sum(int(t.events[column][t.events[column] != NONE].sum()) for t in tapes)
        assert total == round(pc.sum(table[name]).as_py() * 10_000)
    assert series.report.details["quotes_left_out"] == series.report.details["prices_outside"] == 0
    assert {tape.meta.session for tape in tapes} == {"2026-07-15"}
    # YES of the slug is what the label is about: a slug priced high at the last poll of the day ends YES.
    last = [(t.events["bid_price"][-1], t.meta.outcome) for t in tapes if t.meta.outcome]
    assert np.mean([outcome == "yes" for bid, outcome in last if bid >= 9_000]) > 0.8
