"""What the Kalshi importers share: CSV rows read strictly, wall clocks, closes told by tickers."""

import gzip
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.store.importers.common import Timestamps
from pr3dict.store.importers.kalshi_common import csv_rows, named_close_ns, named_day, offset_ns, wall_ns

SECOND = 1_000_000_000
PACIFIC = ZoneInfo("America/Los_Angeles")


def utc_ns(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("ticker", "ns"),
    [
        ("KXBTC15M-26MAY132030-30", utc_ns(2026, 5, 14, 0, 30)),  # summer time: four hours
        ("KXETH15M-26JAN312345-45", utc_ns(2026, 2, 1, 4, 45)),  # winter: five
        ("KXBTC15M-26MAR080300-00", utc_ns(2026, 3, 8, 7, 0)),  # the first time of the summer
        ("KXBTC15M-26MAR080230-30", None),  # skipped by the clocks
        ("KXBTC15M-26NOV010130-30", None),  # shown twice
        ("KXBTC15M-26MAY132030-45", None),
        ("KXBTC15M-26MAY132430-30", None),
        ("KXBTC15M-26MAY132060-60", None),
        ("KXBTC15M-26FEB301200-00", None),
        ("KXBTC15M-26MAI011200-00", None),
        ("KXBTC-26MAY1320-B80000", None),
        ("", None),
    ],
)
def test_a_ticker_names_its_close_in_new_york_time(ticker, ns):
    assert named_close_ns(ticker) == ns


def test_a_day_of_a_ticker():
    assert named_day("25DEC05").isoformat() == "2025-12-05"
    assert named_day("25DEC32") is None
    assert named_day("2025-12-05") is None


@given(st.integers(utc_ns(2025, 1, 1), utc_ns(2027, 1, 1)), st.sampled_from([PACIFIC, ZoneInfo("UTC")]))
def test_a_wall_clock_names_one_instant_or_none(ns, zone):
    second = ns // SECOND
    shown = datetime.fromtimestamp(second, zone).replace(tzinfo=None, fold=0)
    instants = [  # every second within a day that this clock shows so, the slow way
        s for s in (second - 3600, second, second + 3600)
        if datetime.fromtimestamp(s, zone).replace(tzinfo=None, fold=0) == shown
    ]  # fmt: skip
    assert wall_ns(shown, zone) == (instants[0] * SECOND if len(instants) == 1 else None)


def test_an_offset_of_zero_is_utc_and_no_other_is_taken():
    assert offset_ns(Timestamps(), "2026-07-04T15:15:54.564085+00:00") == (
        utc_ns(2026, 7, 4, 15, 15, 54) + 564_085_000
    )
    assert offset_ns(Timestamps(), "2026-07-04T15:15:54Z") == utc_ns(2026, 7, 4, 15, 15, 54)
    for text in ("2026-07-04T15:15:54+02:00", "2026-07-04T15:15:54", "", "+00:00"):
        with pytest.raises(DataError, match="not ISO 8601 in UTC"):
            offset_ns(Timestamps(), text)


def test_rows_keep_the_line_they_end_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('x,y\n1,"two\nlines"\n3,"say ""hi"""\n')
    assert list(csv_rows(path, ["x", "y"])) == [(3, ["1", "two\nlines"]), (4, ["3", 'say "hi"'])]
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(csv_rows(packed, ["x", "y"])) == list(csv_rows(path, ["x", "y"]))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "row 1: the header is not x,y"),
        (b"x,z\n1,2\n", "row 1: the header is not x,y"),
        (b"x,y\n1,2\n1\n", "row 3: 1 cells where the header has 2"),
        (b"x,y\n1,2,3\n", "row 2: 3 cells where the header has 2"),
        (b"x,y\n\n", "row 2: 0 cells where the header has 2"),
        (b'x,y\n1,"2\n', "row 2: not CSV"),
        (b"x,y\n1,\xff\n", "not UTF-8 text"),
    ],
)
def test_a_broken_table_names_file_and_line(tmp_path, body, sentence):
    path = tmp_path / "a.csv"
    path.write_bytes(body)
    with pytest.raises(DataError, match=rf"a\.csv: {sentence}"):
        list(csv_rows(path, ["x", "y"]))


def test_a_missing_or_cut_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        list(csv_rows(tmp_path / "none.csv", ["x"]))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"x\n" + b"1\n" * 50)[:20])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: not a whole gzip file"):
        list(csv_rows(cut, ["x"]))
