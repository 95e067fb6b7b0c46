"""Tapes on disk: exact round trips, whole or nothing, and one sentence for every broken file."""

import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import kalshi_grid, polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store import tape as tp
from pr3dict.store.importers.common import event_row, events_of, snapshot_rows
from pr3dict.store.layouts import BAR_ROW, LAYOUTS, NONE, QUOTE_ROW

META = tp.TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s1",
    source_format="hand-made",
    contract_id="123",
    grids=(polymarket_grid(100), polymarket_grid(10)),
    min_size=5_000_000,
    lot=1_000_000,
    fee=tp.TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    close_ns=1_000,
    times_source="made up",
    strike="79487.86",
    outcome="yes",
    outcome_source="made up",
    has_trades="recorded",
    quality={"deltas": 3, "share": 0.5, "note": None, "through_close": True},
)
ROWS = [
    event_row(10, 9, d.STATUS, aux=d.ACTIVE),
    *snapshot_rows(10, 9, [(d.BID, 4_000, 5), (d.BID, 3_900, 2**40), (d.ASK, 4_500, 5)]),
    event_row(11, 12, d.TRADE, side=d.BID, price=4_500, qty=2, bits=d.INFERRED),
    event_row(11, 12, d.LEVEL, side=d.ASK, price=4_500, qty=3),
    event_row(12, 12, d.TICK, aux=1),
    event_row(13, 12, d.LEVEL, side=d.BID, price=4_010, qty=1),
    event_row(14, 14, d.NEWS, aux=d.NEWS_PULL, qty=10**9),
    event_row(15, 15, d.CLOSE_TIME, aux=2**40),
    event_row(20, 20, d.STATUS, aux=d.CLOSED),
    event_row(21, 21, d.SETTLE, qty=1_000_000),
]


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a.parquet"
    tp.write_tape(target, events_of(ROWS), META)
    return target


def rewrite(path, change):
    """Write the tape again with its Parquet table changed by `change`, past all checks."""
    pq.write_table(change(pq.read_table(path)), path)


def with_meta(path, **changes):
    def change(table):
        meta = json.loads(table.schema.metadata[tp.META_KEY]) | changes
        return table.replace_schema_metadata({tp.META_KEY: json.dumps(meta)})

    rewrite(path, change)


# --- what is written comes back -------------------------------------------------------------------


def test_round_trip(path):
    events, meta = tp.read_tape(path)
    assert np.array_equal(events, events_of(ROWS))
    assert meta == META == tp.read_meta(path)


@given(
    st.lists(
        st.builds(
            event_row,
            st.just(0),
            st.integers(-(2**62), 2**62),
            st.sampled_from([d.TRADE, d.STATUS, d.NEWS]),
            side=st.integers(0, 1),
            price=st.integers(1, 9_999),
            qty=st.integers(1, 2**62),
            aux=st.integers(0, 9),
            bits=st.integers(-(2**15), 2**15 - 1),
        ),
        min_size=1,
        max_size=20,
    ),
    st.lists(st.integers(0, 2**40), min_size=20, max_size=20),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_valid_events_round_trip(tmp_path, rows, steps):
    events = events_of(rows)
    events["exch_ns"] = np.cumsum(steps[: len(rows)])
    tp.write_tape(tmp_path / "b.parquet", events, META)
    assert np.array_equal(tp.read_tape(tmp_path / "b.parquet").events, events)


QUOTES = np.array([(1, 2, NONE, 4_100, NONE), (1, 2, 4_000, NONE, 2**50), (9, 9, 1, 9_999, 0)], QUOTE_ROW)
BARS = np.array([(0, 10, 10, 5, 9, 1, 4, NONE, 0), (0, 10, 12, 500_000, 10**6, 0, 1, 7, 1)], BAR_ROW)


@pytest.mark.parametrize(("kind", "rows"), [("quotes", QUOTES), ("bars", BARS)])
def test_quotes_and_bars_round_trip_without_grid_or_sizes(tmp_path, kind, rows):
    meta = msgspec.structs.replace(META, kind=kind, grids=(), min_size=0, lot=0, has_trades="none")
    tp.write_tape(tmp_path / "q.parquet", rows, meta)
    found = tp.read_tape(tmp_path / "q.parquet")
    assert found.meta == meta
    assert found.events.dtype == rows.dtype
    assert np.array_equal(found.events, rows)


@pytest.mark.parametrize(
    ("kind", "rows", "column"), [("quotes", QUOTES, "bid_price"), ("bars", BARS, "low_micros")]
)
def test_a_faulty_quote_or_bar_is_named_with_its_file(tmp_path, kind, rows, column):
    path = tmp_path / "q.parquet"
    meta = msgspec.structs.replace(META, kind=kind, grids=(), min_size=0, lot=0, has_trades="none")
    tp.write_tape(path, rows, meta)
    wrong = rows.copy()
    wrong[column][1] = 2_000_000 if kind == "bars" else 10_000
    rewrite(path, lambda table: replaced(table, column, wrong[column], table.schema.field(column).type))
    with pytest.raises(DataError, match=rf"q\.parquet: row 2: {column}: "):
        tp.read_tape(path)


def test_a_tape_of_trades_holds_no_book(tmp_path):
    meta = msgspec.structs.replace(META, kind="trades")
    trades = events_of([ROWS[0], event_row(11, 12, d.TRADE, side=d.BID, price=4_500, qty=2)])
    tp.write_tape(tmp_path / "t.parquet", trades, meta)
    assert np.array_equal(tp.read_tape(tmp_path / "t.parquet").events, trades)
    with pytest.raises(DataError, match=r"b\.parquet: kind: a tape of trades holds no book"):
        tp.write_tape(tmp_path / "b.parquet", events_of(ROWS), meta)


def test_grid_mask_holds_the_prices_of_each_grid():
    mask = tp.grid_mask((kalshi_grid("tapered_deci_cent"), polymarket_grid(100)))
    assert [mask[0, p] for p in (0, 10, 990, 1_000, 1_010, 9_000, 9_010, 10_000)] == [
        False, True, True, True, False, True, True, False,
    ]  # fmt: skip
    assert mask[1].sum() == 99


# --- whole or not at all --------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("old", [True, False])
def test_a_write_that_stops_halfway_leaves_nothing_new(tmp_path, monkeypatch, stop, old):
    target = tmp_path / "a.parquet"
    if old:
        tp.write_tape(target, events_of(ROWS), META)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def half_write(table, where, **_):
        where.write_bytes(b"PAR1 half a file")
        raise stop

    monkeypatch.setattr(tp.pq, "write_table", half_write)
    with pytest.raises(
        KeyboardInterrupt if stop is KeyboardInterrupt else DataError, match=r"|a\.parquet: cannot write"
    ):
        tp.write_tape(target, events_of(ROWS[:-1]), META)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_nothing_invalid_is_written(tmp_path):
    rows = [*ROWS[:5], event_row(11, 12, d.LEVEL, side=d.BID, price=4_005, qty=1)]
    with pytest.raises(DataError, match=r"row 6: level at price 0\.4005 is off the market's price grid"):
        tp.write_tape(tmp_path / "a.parquet", events_of(rows), META)
    assert not list(tmp_path.iterdir())


def test_metadata_that_could_not_be_read_again_is_not_written(tmp_path):
    wrong = msgspec.structs.replace(META, lot=None)
    with pytest.raises(DataError, match=r"a\.parquet: the tape's metadata is not valid .*lot"):
        tp.write_tape(tmp_path / "a.parquet", events_of(ROWS), wrong)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/a\.parquet: cannot write the file"):
        tp.write_tape(tmp_path / "nowhere" / "a.parquet", events_of(ROWS), META)


# --- broken files ---------------------------------------------------------------------------------


def test_every_truncation_is_a_data_error_that_names_the_file(path):
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.parquet: "):
            tp.read_tape(path)


def test_no_flipped_byte_escapes_as_another_error(path):
    whole = path.read_bytes()
    same = tp.read_tape(path)
    for place in range(0, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = tp.read_tape(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - some bytes of a file mean nothing
        else:
            assert len(found.events) == len(same.events)


def test_missing_folder_and_other_files(tmp_path, path):
    with pytest.raises(DataError, match=r"none\.parquet: no such file"):
        tp.read_tape(tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"not a readable Parquet file|folder"):
        tp.read_tape(tmp_path)
    path.write_text("hello")
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        tp.read_tape(path)
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match="not a tape"):
        tp.read_tape(path)
    with pytest.raises(DataError, match="not a tape"):
        tp.read_meta(path)


@pytest.mark.parametrize("name", LAYOUTS["book"].schema.names)
def test_a_missing_column_is_named(path, name):
    rewrite(path, lambda table: table.drop_columns([name]))
    with pytest.raises(DataError, match=rf"a\.parquet: {name}: the column is missing"):
        tp.read_tape(path)


def replaced(table, name, values, kind):
    place = table.schema.names.index(name)
    return table.set_column(place, name, pa.array(values, kind))


def test_a_float_column_with_nan_is_refused(path):
    values = [float("nan"), *[1.0] * (len(ROWS) - 1)]
    rewrite(path, lambda table: replaced(table, "qty", values, pa.float64()))
    with pytest.raises(DataError, match="qty: the column is double, which may hold NaN, and must be int64"):
        tp.read_tape(path)


def test_a_null_is_named_with_its_row(path):
    values = [1, 1, None, *[1] * (len(ROWS) - 3)]
    rewrite(path, lambda table: replaced(table, "qty", values, pa.int64()))
    with pytest.raises(DataError, match=r"a\.parquet: row 3: qty: the value is missing"):
        tp.read_tape(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": 2}, "schema_version: version 2, this program reads 1"),
        ({"schema_version": "x"}, "metadata is not valid"),
        ({"surprise": 1}, "metadata is not valid.*surprise"),
        ({"venue": "nasdaq"}, "metadata is not valid.*nasdaq"),
        ({"outcome": "maybe"}, "metadata is not valid.*maybe"),
        ({"lot": "1"}, "metadata is not valid.*lot"),
        ({"grids": [{"bands": [{"start": 0, "end": 10_000, "step": 7}]}]}, "price_ranges"),
        ({"grids": []}, "grids: a tape needs at least one price grid"),
    ],
)
def test_metadata_is_checked(path, changes, sentence):
    with_meta(path, **changes)
    with pytest.raises(DataError, match=rf"a\.parquet: (row 1: )?.*{sentence}"):
        tp.read_tape(path)


@pytest.mark.parametrize(
    ("row", "column", "value", "sentence"),
    [
        (6, "exch_ns", 9, "row 6: exchange time 9 is out of order, before 11 of the row above"),
        (6, "kind", 44, "row 6: unknown event kind 44"),
        (6, "side", 3, "row 6: side 3 is neither bid"),
        (6, "price", 10_001, "row 6: level at price 10001 is outside"),
        (6, "price", 4_550, "row 6: level at price 0.455 is off the market's price grid"),
        (6, "qty", -3, "row 6: level has the negative size"),
        (5, "qty", 0, "row 5: trade has an impossible value"),
        (2, "bits", 0, "row 2: snapshot row without the first row"),
        (4, "bits", 0, "row 5: a snapshot before this row"),
        (8, "price", 4_500, "row 8: this row crosses the book"),
        (7, "aux", 2, "row 7: tick change has an impossible value"),
        (12, "qty", 1_000_001, "row 12: settlement has an impossible value"),
    ],
)
def test_a_faulty_row_is_named(path, row, column, value, sentence):
    def change(table):
        values = table.column(column).to_pylist()
        values[row - 1] = value
        return replaced(table, column, values, LAYOUTS["book"].schema.field(column).type)

    rewrite(path, change)
    with pytest.raises(DataError) as caught:
        tp.read_tape(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_an_empty_tape_is_refused(path):
    rewrite(path, lambda table: table.slice(0, 0))
    with pytest.raises(DataError, match="holds no events"):
        tp.read_tape(path)


def test_metadata_is_plain_json_for_other_tools(path):
    raw = pq.read_schema(path).metadata[tp.META_KEY]
    assert json.loads(raw)["grids"][0] == {"bands": [{"start": 0, "end": 10_000, "step": 100}]}
    assert msgspec.json.decode(raw, type=tp.TapeMeta) == META
