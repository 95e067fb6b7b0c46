"""Series on disk: exact round trips, whole or nothing, and one sentence for every broken file."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store import series as sr
from pr3dict.store.tape import read_tape

META = {
    kind: sr.SeriesMeta(
        kind=kind,
        venue="kalshi",
        name="n",
        title="How it went",
        session="s",
        source_format="hand-made",
        unit="USD per BTC" if kind == "reference" else "",
        quality={"rows": 2},
    )
    for kind in sr.SCHEMAS
}
RESOLUTIONS = pa.Table.from_pylist(
    [
        {
            "ticker": "a",
            "event_id": "e",
            "outcome": "yes",
            "value_micros": 10**6,
            "source": "told",
            "close_ns": 5,
        },
        {"ticker": "b", "event_id": "e", "outcome": None, "source": "told", "strike": "9.5"},
    ],
    schema=sr.SCHEMAS["resolutions"],
)
REFERENCE = pa.Table.from_pylist(
    [{"exch_ns": 1, "local_ns": 2, "value": 3}, {"exch_ns": 1, "local_ns": 2, "value": -(2**40)}],
    schema=sr.SCHEMAS["reference"],
)
TABLES = {"resolutions": RESOLUTIONS, "reference": REFERENCE}


@pytest.mark.parametrize("kind", TABLES)
def test_round_trip(tmp_path, kind):
    path = tmp_path / "a.parquet"
    sr.write_series(path, TABLES[kind], META[kind])
    table, meta = sr.read_series(path)
    assert meta == META[kind]
    assert table.to_pylist() == TABLES[kind].to_pylist()
    assert sr.is_series(path)
    before = path.read_bytes()
    sr.write_series(path, TABLES[kind], META[kind])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def changed(table, name, values):
    place = table.schema.names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("resolutions", lambda t: changed(t, "ticker", ["a", "a"]), "ticker: a market stands in two rows"),
        (
            "resolutions",
            lambda t: changed(t, "outcome", ["yes", "maybe"]),
            "row 2: outcome 'maybe' is none of yes",
        ),
        ("resolutions", lambda t: t.drop_columns(["source"]), "source: the column must be string"),
        ("resolutions", lambda t: t.slice(0, 0), "holds no rows"),
        ("reference", lambda t: changed(t, "exch_ns", [2, 1]), "row 2: exch_ns: the time falls"),
        ("reference", lambda t: t.slice(0, 0), "holds no rows"),
        (
            "reference",
            lambda t: t.cast(pa.schema([(n, pa.float64()) for n in t.column_names])),
            "must be int64",
        ),
    ],
)
def test_what_is_wrong_is_neither_written_nor_read(tmp_path, kind, change, sentence):
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match=rf"a\.parquet: {sentence}|a\.parquet: .*{sentence}"):
        sr.write_series(path, change(TABLES[kind]), META[kind])
    assert not list(tmp_path.iterdir())
    sr.write_series(path, TABLES[kind], META[kind])
    metadata = pq.read_schema(path).metadata
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)
    with pytest.raises(DataError, match=rf"a\.parquet: .*{sentence}"):
        sr.read_series(path)


def test_a_null_is_named_with_its_row(tmp_path):
    loose = pa.schema([pa.field(f.name, f.type) for f in REFERENCE.schema])
    table = changed(REFERENCE.cast(loose), "value", [1, None])
    with pytest.raises(DataError, match=r"a\.parquet: row 2: value: the value is missing"):
        sr.write_series(tmp_path / "a.parquet", table, META["reference"])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("disk full")])
def test_a_write_that_stops_halfway_leaves_nothing(tmp_path, monkeypatch, stop):
    def half_write(table, where, **_):
        where.write_bytes(b"PAR1 half a file")
        raise stop

    monkeypatch.setattr(sr.pq, "write_table", half_write)
    with pytest.raises((KeyboardInterrupt, DataError)):
        sr.write_series(tmp_path / "a.parquet", REFERENCE, META["reference"])
    assert not list(tmp_path.iterdir())


def test_other_files_are_told_apart(tmp_path):
    path = tmp_path / "a.parquet"
    sr.write_series(path, REFERENCE, META["reference"])
    with pytest.raises(DataError, match="not a tape"):
        read_tape(path)
    for length in range(0, len(path.read_bytes()), 131):
        path.with_name("b.parquet").write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=r"b\.parquet: "):
            sr.read_series(tmp_path / "b.parquet")
    pq.write_table(pa.table({"x": [1]}), path)
    assert not sr.is_series(path)
    with pytest.raises(DataError, match="not a series"):
        sr.read_series(path)
    metadata = {sr.META_KEY: b'{"kind": "prophecies"}'}
    pq.write_table(REFERENCE.replace_schema_metadata(metadata), path)
    with pytest.raises(DataError, match=r"a\.parquet: the series is not readable"):
        sr.read_series(path)
