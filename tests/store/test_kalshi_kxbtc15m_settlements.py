"""Settlements: hand-made files with each defect, and the real one against its facts."""

from datetime import UTC, datetime

import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store import importers
from pr3dict.store.importers import kalshi_kxbtc15m_settlements as settlements
from pr3dict.store.series import check_series, read_series

SECOND = 1_000_000_000
HEADER = ",".join(settlements.COLUMNS)
MIDNIGHT = int(datetime(2026, 4, 1, 4, 0, tzinfo=UTC).timestamp()) * SECOND
ROW = "KXBTC15M-26APR010000-00,yes,81000.25,2026-04-01T04:00:14.689418Z,repo:a.json"


def write(folder, *rows, header=HEADER):
    path = folder / settlements.FILE
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def table_of(folder, *rows):
    [series] = settlements.read(write(folder, *rows))
    check_series(series.table, series.meta)
    return series, series.table.to_pylist()


def test_a_row_becomes_a_resolution(tmp_path):
    series, [row] = table_of(tmp_path, ROW)
    assert row == {
        "ticker": "KXBTC15M-26APR010000-00",
        "event_id": "KXBTC15M-26APR010000",
        "open_ns": MIDNIGHT - 900 * SECOND,
        "close_ns": MIDNIGHT,
        "settled_ns": MIDNIGHT + 14_689_418_000,
        "outcome": "yes",
        "value_micros": 1_000_000,
        "strike": None,
        "settlement_price": "81000.25",
        "source": "repo:a.json",
    }
    assert series.report.defects == ()
    assert (series.report.kind, series.meta.kind) == ("resolutions", "resolutions")


def test_what_is_not_told_stays_unknown_and_is_counted(tmp_path):
    series, rows = table_of(tmp_path, "KXBTC15M-26APR010015-15,no,,,repo:b", ROW)
    assert [row["ticker"][-2:] for row in rows] == ["00", "15"], "by ticker"
    assert (rows[1]["settled_ns"], rows[1]["settlement_price"], rows[1]["value_micros"]) == (None, None, 0)
    assert rows[1]["close_ns"] == MIDNIGHT + 900 * SECOND
    assert series.report.defects == (
        "1 market without a settlement price",
        "1 market without a settlement time; its close is told by its ticker alone",
    )
    assert series.report.details == {
        "yes": 1,
        "no": 1,
        "settlement_prices": 1,
        "settlement_times": 1,
        "close_times": 2,
        "repeats": 0,
    }


def test_a_close_that_the_recording_contradicts_is_not_told(tmp_path):
    early = "KXBTC15M-26APR010015-15,no,1,2026-04-01T04:14:59.9Z,repo:b"
    odd = "KXBTC15M-26APR010015-30,no,1,2026-04-01T04:16:00Z,repo:b"
    series, rows = table_of(tmp_path, ROW, early, odd)
    assert [row["close_ns"] for row in rows] == [MIDNIGHT, None, None]
    assert [row["open_ns"] is None for row in rows] == [False, True, True]
    assert series.report.defects == (
        "1 market settled before the close that the ticker names: no close is told",
        "1 ticker that names no close in New York time, left unknown",
    )


def test_a_market_stands_once(tmp_path):
    series, rows = table_of(tmp_path, ROW, ROW.replace("a.json", "b.json"))
    assert [row["source"] for row in rows] == ["repo:a.json"]
    assert (series.report.rows, series.report.events) == (2, 1)
    assert series.report.defects == ("1 repeated row, left out",)
    with pytest.raises(DataError, match=r"settlements\.csv: row 3: .*stands in two rows that differ"):
        table_of(tmp_path, ROW, ROW.replace("yes", "no"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("yes", "maybe", "result 'maybe' is neither yes nor no"),
        ("yes", "", "result '' is neither yes nor no"),
        ("81000.25", "nan", "amount 'nan' is not a plain decimal number"),
        ("81000.25", "0", "settlement price 0 is not a price"),
        ("2026-04-01T", "2026-04-31T", "is not ISO 8601 in UTC"),
        ("repo:a.json", "", "the result has no source"),
        ("KXBTC15M", "KXETH15M", "is not a ticker of KXBTC15M"),
        (",repo", "", "4 cells where the header has 5"),
    ],
)
def test_a_broken_row_names_file_and_line(tmp_path, old, new, sentence):
    path = write(tmp_path, ROW, ROW.replace("010000-00", "010015-15").replace(old, new))
    with pytest.raises(DataError, match=rf"settlements\.csv: row 3: .*{sentence}"):
        settlements.read(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="row 1: the header is not market_ticker"):
        settlements.read(write(tmp_path, header="ticker,result"))
    with pytest.raises(DataError, match="holds no settlements"):
        settlements.read(write(tmp_path))
    path = write(tmp_path, ROW)
    assert settlements.find([tmp_path, path]) == [path]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"it holds no settlements\.csv"):
        settlements.find([tmp_path / "empty"])


def test_the_real_set_reproduces_its_facts(data_dir, tmp_path):
    folder = data_dir / settlements.NAME
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    [(path, report)] = importers.import_recordings(settlements.IMPORTER, [folder], tmp_path)
    assert report.events == report.rows == 2_792
    assert (report.details["yes"], report.details["no"]) == (1_389, 1_403)
    assert report.details["settlement_prices"] == 196
    assert report.details["settlement_times"] == 2_701
    rows = read_series(path).table.to_pylist()
    delays = sorted(row["settled_ns"] - row["close_ns"] for row in rows if row["settled_ns"] is not None)
    assert delays[0] > SECOND, "no market settled before the close that its ticker names"
    assert delays[len(delays) // 2] < 12 * SECOND
    assert rows[0]["ticker"] == "KXBTC15M-26APR010000-00"
    assert {row["outcome"] for row in rows} == {"yes", "no"}


def test_the_named_close_is_the_one_that_other_recordings_tell(data_dir):
    """The close that the recorder of order books noted for a market is the one that its ticker names."""
    import csv

    from pr3dict.store.importers.kalshi_common import named_close_ns

    checked = 0
    for name in ("kalshi-kxbtc15m-l2-a", "kalshi-kxbtc15m-l2-b"):
        table = data_dir / name / "markets.csv"
        if not table.is_file():
            pytest.skip(f"no recording at {table.parent}")
        with table.open() as file:
            for row in csv.DictReader(file):
                close = datetime.fromtimestamp(named_close_ns(row["market_ticker"]) / SECOND, UTC)
                assert f"{close:%H:%M:%S}" == row["close_utc"]
                checked += 1
    assert checked > 30
