"""Quotes of temperature brackets: hand-made days with each defect, and real days against their facts."""

import csv
import gzip
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.store import importers
from pr3dict.store.importers import kalshi_kxhighny_bbo as bbo
from pr3dict.store.layouts import NONE
from pr3dict.store.tape import check_tape, read_tape

SECOND = 1_000_000_000
NAME = "market_data_KXHIGHNY-25DEC05.csv.gz"
A, B = "KXHIGHNY-25DEC05-B32.5", "KXHIGHNY-25DEC05-T37"
HEADER = ",".join(bbo.COLUMNS)
NOON_NS = int(datetime(2025, 12, 4, 20, 0, tzinfo=UTC).timestamp()) * SECOND  # 12:00 Pacific time


def quote(second, ticker, yes, no, **changed):
    """A row `second` after 12:00 by the recorder's clock."""
    noon = datetime(2025, 12, 4, 12, tzinfo=UTC) + timedelta(seconds=second)
    time = noon.isoformat(timespec="microseconds").removesuffix("+00:00")
    cells = {
        "timestamp": time,
        "market_ticker": ticker,
        "best_yes_bid": yes,
        "best_no_bid": no,
        "implied_no_ask": 100 - yes,
        "implied_yes_ask": 100 - no,
    }
    return ",".join(str(cell) for cell in (cells | changed).values())


def write(folder, *rows, header=HEADER, facts=None, name=NAME):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
    if facts is not None:
        (folder / "events.csv").write_text("\n".join([",".join(bbo.FACTS), *facts, ""]))
    return path


def tapes_of(folder, *rows, **more):
    tapes = list(bbo.read(write(folder, *rows, **more)))
    for tape in tapes:
        check_tape(tape.events, tape.meta)
    return {tape.meta.ticker: tape for tape in tapes}


def quotes(tape):
    fields = ("exch_ns", "bid_price", "ask_price")
    return [tuple(int(row[name]) for name in fields) for row in tape.events]


def test_no_bids_become_yes_asks_in_utc(tmp_path):
    tapes = tapes_of(tmp_path, quote(0.000001, A, 45, 54), quote(1, B, 1, 96), quote(2, A, 45, 53))
    assert quotes(tapes[A]) == [(NOON_NS + 1_000, 4_500, 4_600), (NOON_NS + 2 * SECOND, 4_500, 4_700)]
    assert quotes(tapes[B]) == [(NOON_NS + SECOND, 100, 400)]
    rows = tapes[A].events
    assert (rows["local_ns"] == rows["exch_ns"]).all()
    assert (rows["volume_micros"] == NONE).all(), "no volume is told"


def test_what_the_brackets_are(tmp_path):
    tapes = tapes_of(tmp_path, quote(0, A, 45, 54), quote(1, B, 1, 96))
    meta = tapes[B].meta
    assert (meta.kind, meta.venue, meta.event_id, meta.exclusive) == (
        "quotes",
        "kalshi",
        "KXHIGHNY-25DEC05",
        True,
    )
    assert (meta.strike, tapes[A].meta.strike) == ("37", "32.5")
    assert "2025-12-05" in meta.title
    assert (meta.grids, meta.min_size, meta.open_ns, meta.close_ns) == ((), 0, None, None), "not recorded"
    assert "US Pacific time" in meta.times_source
    assert all(bbo.ZONE_DEFECT in tape.report.defects for tape in tapes.values())


def test_one_sided_and_empty_books_have_no_price_on_the_empty_side(tmp_path):
    tapes = tapes_of(tmp_path, quote(0, A, 0, 54), quote(1, A, 45, 0), quote(2, A, 0, 0))
    assert [row[1:] for row in quotes(tapes[A])] == [(NONE, 4_600), (4_500, NONE), (NONE, NONE)]
    assert (tapes[A].report.details["one_sided"], tapes[A].report.details["empty"]) == (2, 1)


def test_placeholders_are_kept_and_counted(tmp_path):
    rows = [
        quote(0, A, 1, 50),
        quote(1, A, 29, 50),
        quote(2, A, 30, 50),
        quote(3, A, 1, 50),
        quote(4, B, 0, 9),
    ]
    tapes = tapes_of(tmp_path, *rows)
    assert tapes[A].report.details["placeholders"] == 2
    assert tapes[B].report.details["placeholders"] == 1, "a book that never fills"
    assert len(tapes[A].events) == 4


@pytest.mark.parametrize(
    ("last", "outcomes"),
    [((99, 1), ("yes", "no")), ((1, 95), ("no", "yes")), ((94, 5), (None, None)), ((99, 99), (None, None))],
)
def test_the_outcome_is_inferred_where_exactly_one_bracket_ends_high(tmp_path, last, outcomes):
    tapes = tapes_of(tmp_path, quote(0, A, 96, 1), quote(1, A, last[0], 0), quote(2, B, last[1], 0))
    assert (tapes[A].meta.outcome, tapes[B].meta.outcome) == outcomes
    for tape in tapes.values():
        assert tape.meta.outcome_source.startswith("inferred") == (outcomes[0] is not None)
        assert any("no outcome is inferred" in defect for defect in tape.report.defects) == (
            outcomes[0] is None
        )


FACT = ["market_data_KXHIGHNY-25DEC05.csv", "3", "2", "2025-12-04T12:00:00.000000"]
FACT += ["2025-12-04T12:00:02.000000", "2.0", A]


@pytest.mark.parametrize(
    ("place", "word", "key"),
    [
        (1, "4", "rows"),
        (2, "6", "markets"),
        (3, "2025-12-04T12:00:01.000000", "first"),
        (4, "2025-12-04T12:00:01.000000", "last"),
        (5, "3.0", "median_spread_c"),
        (6, B, "winner_by_last_quote"),
        (6, "", "winner_by_last_quote"),
    ],
)
def test_what_events_csv_says_otherwise_is_a_defect(tmp_path, place, word, key):
    rows = [quote(0, A, 40, 58), quote(1, B, 1, 97), quote(2, A, 98, 1)]
    other = ["market_data_KXHIGHNY-25DEC06.csv", *FACT[1:]]
    right = tapes_of(tmp_path, *rows, facts=[",".join(other), ",".join(FACT)])
    assert [tape.report.defects for tape in right.values()] == [(bbo.ZONE_DEFECT,)] * 2
    assert right[A].meta.outcome == "yes"
    wrong = [*FACT[:place], word, *FACT[place + 1 :]]
    tapes = tapes_of(tmp_path, *rows, facts=[",".join(wrong)])
    sentence = f"events.csv says {key} {word or 'nothing'}, the rows say otherwise"
    assert sentence in tapes[A].report.defects
    assert sentence not in tapes[B].report.defects, "told once"
    assert (tapes[A].meta.outcome is None) == (place == 6)


def test_odd_rows_are_counted(tmp_path):
    rows = [
        quote(5, A, 45, 54),
        quote(4, A, 45, 55),
        quote(6, A, 46, 55),
        quote(7, A, 4, 5, implied_no_ask=90),
    ]
    tape = tapes_of(tmp_path, *rows)[A]
    assert [row[0] - NOON_NS for row in quotes(tape)] == [s * SECOND for s in (5, 5, 6, 7)]
    for sentence in (
        "1 row with a time before the row above, moved up to it",
        "2 quotes with the bid at or above the ask, kept as recorded",
        "1 row whose implied asks contradict the bids, which were used",
    ):
        assert sentence in tape.report.defects


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"best_yes_bid": "x"}, "price 'x' is not a whole number of cents"),
        ({"best_no_bid": "100"}, "nobody can bid 100 cents"),
        ({"best_no_bid": "101"}, "price '101' is not a whole number of cents"),
        ({"best_no_bid": "-1"}, "price '-1' is not a whole number of cents"),
        ({"best_no_bid": "nan"}, "price 'nan' is not a whole number of cents"),
        ({"implied_yes_ask": ""}, "price '' is not a whole number of cents"),
        ({"timestamp": "now"}, "timestamp 'now' is not a local time"),
        ({"timestamp": "2025-12-04T25:00:00"}, "is not a local time"),
        ({"timestamp": "2025-12-04T12:00:00Z"}, "is not a local time"),
        ({"timestamp": "2025-12-04T12:00:00."}, "is not a local time"),
        ({"timestamp": "2025-11-02T01:30:00"}, "occurs twice or never"),
        ({"timestamp": "2026-03-08T02:30:00"}, "occurs twice or never"),
        ({"market_ticker": "KXHIGHCHI-25DEC05-T37"}, "is not a bracket of KXHIGHNY"),
        ({"market_ticker": "KXHIGHNY-25DEC06-T37"}, "is not of KXHIGHNY-25DEC05"),
        ({"market_ticker": "KXHIGHNY-25DEC05-T37,1"}, "7 cells where the header has 6"),
    ],
)
def test_a_broken_row_names_file_and_line(tmp_path, changed, sentence):
    path = write(tmp_path, quote(0, A, 1, 1), quote(1, A, 1, 1, **changed))
    with pytest.raises(DataError, match=rf"25DEC05\.csv\.gz: row 3: .*{sentence}"):
        list(bbo.read(path))


def test_broken_files_are_named(tmp_path):
    path = write(tmp_path, quote(0, A, 1, 1))
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError, match=r"25DEC05.*not a whole gzip file"):
        list(bbo.read(path))
    with pytest.raises(DataError, match="row 1: the header is not timestamp"):
        list(bbo.read(write(tmp_path, quote(0, A, 1, 1), header="timestamp,ticker")))
    with pytest.raises(DataError, match="holds no rows"):
        list(bbo.read(write(tmp_path)))
    with pytest.raises(DataError, match=r"events\.csv: row 2: not a number"):
        list(bbo.read(write(tmp_path, quote(0, A, 1, 1), facts=[",".join([FACT[0], "many", *FACT[2:]])])))


def test_sets_and_files_are_found_once(tmp_path):
    second = write(tmp_path, quote(0, A, 1, 1), name="market_data_KXHIGHNY-25DEC06.csv.gz")
    first = write(tmp_path, quote(0, A, 1, 1))
    assert bbo.find([tmp_path]) == [first, second]
    assert bbo.find([second, tmp_path]) == [second, first]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no kalshi-kxhighny-bbo recording here"):
        bbo.find([tmp_path / "empty"])


@given(
    st.lists(
        st.tuples(st.integers(0, 10**11), st.sampled_from([A, B]), st.integers(0, 99), st.integers(0, 99)),
        min_size=1,
        max_size=15,
    )
)
def test_any_day_becomes_its_rows(tmp_path_factory, made):
    made.sort(key=lambda row: row[0])
    rows = [quote(micros / 1e6, ticker, yes, no) for micros, ticker, yes, no in made]
    tapes = tapes_of(tmp_path_factory.mktemp("any"), *rows)
    for ticker in {row[1] for row in made}:
        expected = [
            (NOON_NS + micros * 1_000, yes * 100 if yes else NONE, 10_000 - no * 100 if no else NONE)
            for micros, name, yes, no in made
            if name == ticker
        ]
        assert quotes(tapes[ticker]) == expected
    assert sum(tape.report.rows for tape in tapes.values()) == len(made)


# --- real recordings ------------------------------------------------------------------------------


@pytest.fixture
def real(data_dir):
    folder = data_dir / bbo.NAME
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    return folder


def test_real_days_reproduce_their_facts(real, tmp_path):
    """Four days of 23: with a cleared book at the end, the shortest ones, with and without a winner."""
    with (real / "events.csv").open() as file:
        facts = {row["file"]: row for row in csv.DictReader(file)}
    assert {path.name.removesuffix(".gz") for path in bbo.find([real])} == set(facts)
    assert sum(int(row["rows"]) for row in facts.values()) == 910_778
    days = [f"market_data_KXHIGHNY-{day}.csv" for day in ("25DEC05", "25DEC27", "26JAN01", "26JAN04")]
    for day in days:
        fact = facts[day]
        written = importers.import_recordings(bbo.IMPORTER, [real / f"{day}.gz"], tmp_path)
        reports = [report for _, report in written]
        assert len(reports) == int(fact["markets"]) == 6
        assert sum(report.events for report in reports) == int(fact["rows"])
        spreads = {report.details["event_median_spread_cents"] for report in reports}
        assert spreads == {float(fact["median_spread_c"])}
        assert not any("events.csv" in defect for report in reports for defect in report.defects)
        metas = [read_tape(path).meta for path, _ in written]
        winners = [meta.ticker for meta in metas if meta.outcome == "yes"]
        assert winners == ([fact["winner_by_last_quote"]] if fact["winner_by_last_quote"] else [])
        assert [meta.outcome for meta in metas].count("no") == (5 if winners else 0)


def test_the_recorder_s_clock_fits_pacific_time(real):
    """What makes the zone likely: no quotes while Kalshi pauses on Thursdays from 03:00 New York time."""
    for name in ("25DEC11", "26JAN01"):  # recorded over a Thursday's night
        day = bbo._read_day(real / f"market_data_KXHIGHNY-{name}.csv.gz")
        times = np.sort(day.time_ns)
        thursday = datetime(2025, 12, 11, 8, 5, tzinfo=UTC)  # 03:05 in New York
        if name == "26JAN01":
            thursday += timedelta(days=21)
        start = int(thursday.timestamp()) * SECOND
        assert not ((times > start) & (times < start + 6_900 * SECOND)).any(), "until 05:00"
        assert ((times > start - 1_800 * SECOND) & (times <= start)).any(), "and up to the pause"
