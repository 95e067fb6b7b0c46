"""Quotes of one event on two venues: hand-made rows with each defect, and the real set against its facts."""

import csv
import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.store import importers
from pr3dict.store.importers import kalshi_polymarket_pairs as pairs
from pr3dict.store.layouts import NONE
from pr3dict.store.tape import check_tape, read_meta

SECOND = 1_000_000_000
START = int(datetime(2026, 7, 4, 15, 0, tzinfo=UTC).timestamp()) * SECOND
USA, MARKET = "KXWCROUND-26SEMI-USA", "2419337"


def line(minute, *, kalshi=None, polymarket=None, **changed):
    row = {
        "capture_id": f"20260704T15{minute:02d}00Z",
        "captured_at": f"2026-07-04T15:{minute:02d}:00.500000+00:00",
        "kalshi": {
            "ticker": USA,
            "yes_bid": 0.18,
            "yes_ask": 0.19,
            "no_bid": 0.81,
            "no_ask": 0.82,
            "price_source_tag": "real_ask",
        }
        | (kalshi or {}),
        "polymarket": {
            "event_id": "551781",
            "market_id": MARKET,
            "best_bid": 0.17,
            "best_ask": 0.181,
            "book_fetch_ok": True,
            "price_source_tag": "real_ask",
        }
        | (polymarket or {}),
        "round": "semifinals",
        "schema_version": "polymarket_pairs.v1",
        "team": "USA",
    }
    return row | changed


def cpi(minute):
    row = line(minute, schema_version="polymarket_cpi_pairs.v1", series="cpi_mom", period="2026-06")
    row |= {"bucket_kind": "exact", "bucket_value": 0.2}
    row["kalshi"] = {"derived_prob": 0.1, "event_ticker": "KXCPI-26JUN", "price_source_tag": "synthetic"}
    return row


def write(folder, rows, *, day="2026-07-04"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"dt={day}.jsonl.gz"
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_bytes(gzip.compress("\n".join([*texts, ""]).encode()))
    return path


def tapes_of(folder, rows):
    tapes = list(pairs.read(write(folder, rows).parent))
    for tape in tapes:
        check_tape(tape.events, tape.meta)
    return {tape.meta.venue: tape for tape in tapes}


def quotes(tape):
    fields = ("exch_ns", "bid_price", "ask_price")
    return [tuple(int(row[name]) for name in fields) for row in tape.events]


def test_a_row_is_a_quote_of_either_venue_and_they_name_each_other(tmp_path):
    tapes = tapes_of(tmp_path / "polymarket_pairs", [line(0), line(30, polymarket={"best_ask": 0.2})])
    times = [START + SECOND // 2, START + SECOND // 2 + 1_800 * SECOND]
    assert quotes(tapes["kalshi"]) == [(time, 1_800, 1_900) for time in times]
    assert quotes(tapes["polymarket"]) == [(times[0], 1_700, 1_810), (times[1], 1_700, 2_000)]
    kalshi, polymarket = tapes["kalshi"].meta, tapes["polymarket"].meta
    assert (kalshi.ticker, kalshi.event_id) == (USA, "KXWCROUND-26SEMI")
    assert (polymarket.ticker, polymarket.event_id) == (MARKET, "551781")
    assert (kalshi.quality["pair"], kalshi.quality["pair_venue"]) == (MARKET, "polymarket")
    assert (polymarket.quality["pair"], polymarket.quality["pair_venue"]) == (USA, "kalshi")
    assert {meta.session for meta in (kalshi, polymarket)} == {"polymarket_pairs"}
    assert kalshi.title == polymarket.title == "World Cup 2026, semifinals: USA"
    assert (kalshi.nets_positions, polymarket.nets_positions) == (True, False)
    assert not kalshi.exclusive, "several teams reach a round"
    assert all(tape.report.defects == () for tape in tapes.values())


def test_buckets_of_a_decision_exclude_each_other(tmp_path):
    row = line(0, schema_version="polymarket_macro_pairs.v1", family="fed_decision", meeting="2026-10")
    tapes = tapes_of(tmp_path / "polymarket_macro_pairs", [row | {"bucket": "cut_25"}])
    assert all(tape.meta.exclusive for tape in tapes.values())
    assert tapes["kalshi"].meta.title == "fed_decision 2026-10: cut_25"


def test_a_derived_probability_is_no_quote(tmp_path):
    tapes = tapes_of(tmp_path / "polymarket_cpi_pairs", [cpi(0), cpi(30)])
    assert set(tapes) == {"polymarket"}
    tape = tapes["polymarket"]
    assert tape.report.details["derived_left_out"] == 2
    assert "pair" not in tape.meta.quality
    assert tape.meta.quality["derived_from"] == "KXCPI-26JUN"
    [defect] = tape.report.defects
    assert defect.startswith("Kalshi's side of 2 rows is a probability derived from markets of KXCPI-26JUN")
    assert defect.endswith("not a quote, and was left out")


def test_what_no_one_bids_or_asks_has_no_price(tmp_path):
    rows = [
        line(
            0,
            kalshi={"yes_bid": 0.0, "no_ask": 1.0, "yes_ask": 0.01, "no_bid": 0.99},
            polymarket={"best_bid": None, "best_ask": 0.001},
        ),
        line(
            1,
            kalshi={"yes_bid": 0.99, "no_ask": 0.01, "yes_ask": 1.0, "no_bid": 0.0},
            polymarket={"best_bid": 0.999, "best_ask": None},
        ),
    ]
    tapes = tapes_of(tmp_path / "p", rows)
    assert [row[1:] for row in quotes(tapes["kalshi"])] == [(NONE, 100), (9_900, NONE)]
    assert [row[1:] for row in quotes(tapes["polymarket"])] == [(NONE, 10), (9_990, NONE)]
    assert tapes["kalshi"].report.details["one_sided"] == 2


@pytest.mark.parametrize(
    ("venue", "changed", "sentence"),
    [
        (
            "polymarket",
            {"book_fetch_ok": False, "best_bid": None, "best_ask": None},
            "1 poll without a book of the venue (the fetch failed), left out",
        ),
        (
            "polymarket",
            {"price_source_tag": "synthetic"},
            "1 row that the recorder did not mark as read off a book, left out",
        ),
        (
            "kalshi",
            {"price_source_tag": "synthetic"},
            "1 row that the recorder did not mark as read off a book, left out",
        ),
        (
            "polymarket",
            {"best_bid": 1.0, "best_ask": None},
            "1 row with a bid of a dollar or an ask of nothing, left out",
        ),
        (
            "kalshi",
            {"yes_ask": 0.0, "no_bid": 1.0},
            "1 row with a bid of a dollar or an ask of nothing, left out",
        ),
        ("kalshi", {"no_bid": 0.5}, "1 row whose YES and NO prices contradict each other, left out"),
    ],
)
def test_what_is_no_quote_is_left_out_and_counted(tmp_path, venue, changed, sentence):
    tapes = tapes_of(tmp_path / "p", [line(0), line(1, **{venue: changed})])
    assert len(tapes[venue].events) == 1
    assert tapes[venue].report.rows == 2
    assert tapes[venue].report.defects == (sentence,)
    other = "kalshi" if venue == "polymarket" else "polymarket"
    assert len(tapes[other].events) == 2


def test_captures_are_put_in_order_and_count_once(tmp_path):
    rows = [line(5), line(3), line(5), line(5, kalshi={"yes_bid": 0.17, "no_ask": 0.83})]
    tapes = tapes_of(tmp_path / "p", rows)
    minutes = [(row[0] - START) // (60 * SECOND) for row in quotes(tapes["kalshi"])]
    assert minutes == [3, 5]
    assert tapes["kalshi"].report.defects == (
        "1 row captured before a row above, put in order of time",
        "1 row equal to an earlier one of its capture, left out",
        "1 row unlike an earlier one of its capture, left out",
    )
    assert tapes["kalshi"].report.details["captures"] == 2
    assert tapes["polymarket"].report.defects == ("2 rows equal to an earlier one of its capture, left out",)


def test_a_market_keeps_its_partner(tmp_path):
    path = write(tmp_path / "p", [line(0), line(1, polymarket={"market_id": "7"})])
    with pytest.raises(DataError, match=rf"row 2: {USA} is paired with 7, and with {MARKET} above"):
        list(pairs.read(path))


def test_a_market_without_any_quote_is_named(tmp_path):
    path = write(tmp_path / "p", [line(0, polymarket={"book_fetch_ok": False})])
    with pytest.raises(DataError, match=rf"no quote of {MARKET} \(polymarket\) was recorded"):
        list(pairs.read(path))


def test_what_files_csv_says_otherwise_is_a_defect(tmp_path):
    path = write(tmp_path / "p", [line(0), line(1)])
    for rows, captures, defects in (
        (2, 2, ()),
        (3, 2, ("files.csv says 3 rows and 2 captures of dt=2026-07-04.jsonl, the file holds 2 and 2",)),
    ):
        listed = f"p,dt=2026-07-04.jsonl,{rows},{captures},,,True,x"
        (tmp_path / "files.csv").write_text("\n".join([",".join(pairs.FACTS), listed, ""]))
        assert next(iter(pairs.read(path.parent))).report.defects == defects


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("{", "not a row of a pair"),
        (line(1, schema_version="polymarket_pairs.v2"), "not a row of a pair"),
        ({k: v for k, v in line(1).items() if k != "kalshi"}, "not a row of a pair"),
        (line(1, kalshi={"yes_bid": "high"}), "not a row of a pair"),
        (json.dumps(line(1, kalshi={"yes_bid": float("nan")})), "not a row of a pair"),
        (line(1, kalshi={"yes_bid": 1.5}), "price 1.5 is outside 0 to 1 dollar"),
        (line(1, polymarket={"best_bid": 0.00001}), "price"),
        (line(1, captured_at="2026-07-04 15:00"), "is not ISO 8601 in UTC"),
        (line(1, captured_at="2026-07-04T15:00:00+02:00"), "is not ISO 8601 in UTC"),
    ],
)
def test_a_broken_row_names_file_and_line(tmp_path, row, sentence):
    path = write(tmp_path / "p", [line(0), row])
    with pytest.raises(DataError, match=rf"dt=2026-07-04\.jsonl\.gz: row 2: .*{sentence}"):
        list(pairs.read(path))


def test_broken_files_are_named(tmp_path):
    path = write(tmp_path / "p", [line(0)])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError, match=r"dt=2026-07-04.*not a whole gzip file"):
        list(pairs.read(path.parent))
    with pytest.raises(DataError, match="holds no rows"):
        list(pairs.read(write(tmp_path / "p", []).parent))


def test_sets_folders_and_days_are_found_once(tmp_path):
    first, second = tmp_path / "polymarket_cpi_pairs", tmp_path / "polymarket_pairs"
    write(first, [cpi(0)])
    day = write(second, [line(0)])
    (tmp_path / "README.md").write_text("words")
    assert pairs.find([tmp_path]) == [first, second]
    assert pairs.find([day, tmp_path]) == [first, second], "a day of a folder that is named too"
    assert pairs.find([day, first]) == [day, first]
    assert {tape.meta.session for tape in pairs.read(day)} == {"polymarket_pairs-2026-07-04"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no kalshi-polymarket-pairs recording here"):
        pairs.find([tmp_path / "empty"])


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.integers(0, 99), st.integers(1, 100), st.integers(0, 999)),
        min_size=1,
        max_size=10,
        unique_by=lambda row: row[0],
    )
)
def test_any_rows_become_both_sides_quotes(tmp_path_factory, made):
    rows = [
        line(
            minute,
            kalshi={
                "yes_bid": bid / 100,
                "no_ask": (100 - bid) / 100,
                "yes_ask": ask / 100,
                "no_bid": (100 - ask) / 100,
            },
            polymarket={"best_bid": deci / 1000, "best_ask": None},
        )
        for minute, bid, ask, deci in made
    ]
    tapes = tapes_of(tmp_path_factory.mktemp("any") / "p", rows)
    inside = lambda cents: cents * 100 if 0 < cents < 100 else NONE  # noqa: E731
    assert [row[1] for row in quotes(tapes["kalshi"])] == [inside(bid) for _, bid, _, _ in sorted(made)]
    assert [row[2] for row in quotes(tapes["kalshi"])] == [inside(ask) for _, _, ask, _ in sorted(made)]
    assert [row[1] for row in quotes(tapes["polymarket"])] == [d * 10 or NONE for *_, d in sorted(made)]


# --- real recordings ------------------------------------------------------------------------------


def test_the_real_set_reproduces_its_facts(data_dir, tmp_path):
    folder = data_dir / "kalshi-polymarket-pairs-2026-07"
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    written = importers.import_recordings(pairs.IMPORTER, [folder], tmp_path)
    facts = {  # rows, captures, Kalshi tickers of the set's README
        "polymarket_pairs": (6_369, 424, 48),
        "polymarket_macro_pairs": (8_790, 586, 15),
        "polymarket_cpi_pairs": (1_572, 123, 0),
    }
    for session, (rows, captures, tickers) in facts.items():
        mine = [(path, report) for path, report in written if report.session == session]
        details = [report.details for _, report in mine]
        assert sum(detail.get("pair_rows", 0) for detail in details) == rows
        assert sum(detail.get("captures", 0) for detail in details) == captures
        metas = {meta.ticker: meta for meta in (read_meta(path) for path, _ in mine)}
        kalshi = [meta for meta in metas.values() if meta.venue == "kalshi"]
        assert len(kalshi) == tickers
        assert all(metas[meta.quality["pair"]].quality["pair"] == meta.ticker for meta in kalshi)
        assert not any("files.csv" in defect for _, report in mine for defect in report.defects)
    with (folder / "files.csv").open() as file:
        listed = [row for row in csv.DictReader(file) if row["kind"] == "polymarket_cpi_pairs"]
    left_out = sum(report.details.get("derived_left_out", 0) for _, report in written)
    assert left_out == sum(int(row["rows"]) for row in listed)
