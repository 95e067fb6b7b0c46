"""The importer of resolved 5-minute windows on hand-made files, and on the real ones' facts."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.store import importers
from pr3dict.store.importers import polymarket_btc5m_resolved as resolved
from pr3dict.store.series import check_series, read_series

START = 1_780_876_500  # s
CSV_HEADER = "timestamp,date,hour_utc,minute,outcome,up_price,down_price,btc_open,btc_close,btc_change_pct"
FEED_HEADER = "feed_ts_ms,value,full_accuracy_value,server_ts_ms,recv_ms"
NS = 1_000_000_000


def csv_row(start=START, outcome="up", up="1.0", down="0.0", opened="100.5", closed="101"):
    return f"{start},2026-06-08,0,0,{outcome},{up},{down},{opened},{closed},0.1"


def write_csv(folder, *lines, header=CSV_HEADER):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "polymarket_btc_5m_enriched.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def market(start=START, prices=("1", "0"), strike="63123544863797618000000", **other):
    return {
        "slug": f"btc-updown-5m-{start}",
        "asset": "btc",
        "interval_sec": 300,
        "start_sec": start,
        "end_sec": start + 300,
        "resolved": True,
        "outcome_prices": list(prices),
        "strike_value": strike,
        "raw": {"closedTime": "2026-06-08 00:00:16+00", "feesEnabled": True},
    } | other


def write_markets(folder, *markets):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "BTC-5m-markets-2026-06-08.jsonl.gz"
    lines = [one if isinstance(one, str) else json.dumps(one) for one in markets]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def tick(at_s, price, lag_ms=500):
    """A tick `at_s` after the first window's start; price in whole dollars."""
    ms = int((START + at_s) * 1000)
    return f"{ms},{price}.0,{price}{'0' * 18},{ms + 100},{ms + lag_ms}"


def write_feed(folder, *lines, header=FEED_HEADER):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "BTCUSD-prices-2026-06-08.csv.gz"
    path.write_bytes(gzip.compress("\n".join([header, *lines]).encode()))
    return path


def read(path):
    [series] = resolved.read(path)
    check_series(series.table, series.meta)
    return series


# --- resolutions ----------------------------------------------------------------------------------


def test_rows_of_the_table_become_resolutions_in_order_of_time(tmp_path):
    later = csv_row(START + 900, "down", "0.0", "1.0")
    series = read(write_csv(tmp_path, later, csv_row(opened="101", closed="101"), csv_row(START + 300)))
    rows = series.table.to_pylist()
    assert [row["ticker"] for row in rows] == [f"btc-updown-5m-{START + k}" for k in (0, 300, 900)]
    assert [(row["outcome"], row["value_micros"]) for row in rows] == [
        ("yes", 10**6),
        ("yes", 10**6),
        ("no", 0),
    ]
    assert (rows[0]["open_ns"], rows[0]["close_ns"]) == (START * NS, (START + 300) * NS)
    assert rows[0]["strike"] is rows[0]["settled_ns"] is rows[0]["settlement_price"] is None
    details = series.report.details
    assert (details["binance_agrees"], details["binance_unchanged"], details["windows_missing"]) == (2, 1, 1)
    assert "1 window between the first and the last that the file lacks" in series.report.defects
    assert any(text.startswith("1 window with another outcome than Bin") for text in series.report.defects)


def test_markets_of_a_day_become_resolutions(tmp_path):
    series = read(
        write_markets(
            tmp_path,
            market(START + 300, ("0", "1"), None),
            market(),
            market(START + 600, ("0.5", "0.5"), raw={}),
            market(START + 900, resolved=False, outcome_prices=None),
        )
    )
    rows = series.table.to_pylist()
    assert [(row["outcome"], row["value_micros"]) for row in rows] == [
        ("yes", 1_000_000),
        ("no", 0),
        ("void", 500_000),
    ]
    assert [row["strike"] for row in rows] == ["63123.544863797618", None, "63123.544863797618"]
    assert [row["settled_ns"] for row in rows] == [1_780_876_816 * NS] * 2 + [None]
    assert (series.report.events, series.report.rows) == (3, 4)
    defects = series.report.defects
    assert "1 market without an outcome yet, left out" in defects
    assert "1 market without a strike, no tick stood at their start" in defects
    absent = "no BTCUSD-prices-2026-06-08.csv.gz beside the markets, so no outcome was worked out again"
    assert absent in defects


@pytest.mark.parametrize(
    ("ticks", "prices", "recomputed", "equal"),
    [
        ([tick(299, 70_000)], ("1", "0"), 1, 1),
        ([tick(299, 60_000)], ("1", "0"), 1, 0),
        ([tick(299, 60_000)], ("0", "1"), 1, 1),
        ([tick(299, 63_000)], ("1", "0"), 1, 1),  # at the strike: up
        ([tick(298, 70_000)], ("1", "0"), 1, 1),
        ([tick(297, 70_000)], ("1", "0"), 0, 0),  # too old
        ([tick(301, 70_000)], ("1", "0"), 0, 0),  # after the end
        ([tick(299, 60_000), tick(300, 70_000)], ("1", "0"), 1, 1),
        ([tick(300, 60_000, 400), tick(300, 70_000, 900)], ("1", "0"), 1, 1),  # a correction
        ([tick(300, 70_000, 900), tick(300, 60_000, 400)], ("1", "0"), 1, 1),  # the same, out of order
    ],
)
def test_a_days_outcomes_are_worked_out_again_from_its_feed(tmp_path, ticks, prices, recomputed, equal):
    write_feed(tmp_path, *ticks)
    report = read(write_markets(tmp_path, market(prices=prices, strike="63" + "0" * 21))).report
    found = (report.details["markets_recomputed"], report.details["markets_recomputed_equal"])
    assert found == (recomputed, equal)
    unlike = "1 market whose outcome is another than the feed's"
    assert (unlike in report.defects) == (recomputed != equal)
    assert any("not worked out again" in defect for defect in report.defects) == (not recomputed)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(0, 20),
    st.integers(1, 9),
)
def test_settlement_is_the_newest_tick_not_after_the_end(ticks, end, strike):
    ticks = sorted(ticks, key=lambda one: one[0])
    feed = resolved.Feed([at * NS for at, _ in ticks], [0] * len(ticks), [p for _, p in ticks], 0)
    before = [(at, price) for at, price in ticks if at <= end]
    expected = None
    if before and end - before[-1][0] <= 2:
        expected = "yes" if before[-1][1] >= strike else "no"
    assert resolved.settlement_of(feed, end * NS, str(strike)) == expected
    assert resolved.settlement_of(feed, end * NS, None) is None


# --- the feed -------------------------------------------------------------------------------------


def test_the_feed_becomes_a_series_with_its_gaps(tmp_path):
    line = f"{START * 1000},1.0,63123544863797618000000,{START * 1000 + 1},{START * 1000 + 213}"
    series = read(write_feed(tmp_path, line, tick(200, 7), tick(60, 6), tick(61, 6, 10)))
    assert series.table.column("value").to_pylist() == [6_312_354_486_380, 6 * 10**8, 6 * 10**8, 7 * 10**8]
    assert series.table.column("exch_ns").to_pylist() == [(START + k) * NS for k in (0, 60, 61, 200)]
    assert series.table.column("local_ns").to_pylist()[0] == START * NS + 213 * 10**6
    assert series.report.defects == (
        "1 gap of more than 60 s in the feed, the longest 139 s",
        "1 tick after a later one, sorted",
    )
    assert (series.meta.unit, series.meta.quality["longest_gap_s"]) == ("USD per BTC", 139)
    early = read(write_feed(tmp_path, tick(0, 7, 5_000), tick(1, 7))).report.defects
    assert early == ("1 tick received before the one above, kept with its time",)


# --- broken input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (csv_row(up="0.7", down="0.3"), "outcome prices ['0.7', '0.3'] are no payout"),
        (csv_row(outcome="down"), "outcome: outcome 'down' does not fit the prices ['1', '0']"),
        (csv_row(START + 1), f"{START + 1} is not the start of a window"),
        (csv_row("-5"), "timestamp: '-5' is not a whole number"),
        (csv_row(opened="nan"), "btc_open: 'nan' is not a plain decimal number"),
        (csv_row(closed=""), "btc_close: '' is not a plain decimal number"),
        ("1,2,3", "3 cells where the header has 10"),
    ],
)
def test_a_wrong_row_of_the_table_names_its_line(tmp_path, line, sentence):
    path = write_csv(tmp_path, csv_row(), line)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: row 3: {sentence}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "not the JSON of a market"),
        (market() | {"outcome_prices": ["1"]}, "outcome prices ['1'] are no payout"),
        (market() | {"strike_value": "12.5"}, "not the JSON of a market"),
        (market() | {"end_sec": START + 301}, "the window from"),
        (market() | {"raw": {"closedTime": "yesterday"}}, "timestamp 'yesterdayZ' is not ISO 8601"),
        ({"slug": "x"}, "not the JSON of a market"),
    ],
)
def test_a_wrong_market_names_its_line(tmp_path, line, sentence):
    path = write_markets(tmp_path, market(), line)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: row 2: {sentence}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1,1.0,5,1,x", "recv_ms: 'x' is not a whole number"),
        ("1,1.0,-5,1,1", "full_accuracy_value: '-5' is not a whole number"),
        ("1,1.0,0,1,1", "the price 0 is not one in 1e-18 dollar"),
        (f"1{'0' * 13},1.0,5,1,1", "a time outside 1970 to 2286"),
        ("1,1.0", "2 cells where the header has 5"),
    ],
)
def test_a_wrong_tick_names_its_line(tmp_path, line, sentence):
    path = write_feed(tmp_path, tick(0, 7), line)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: row 3: {sentence}")


def test_broken_files_are_named(tmp_path):
    for path, sentence in (
        (write_csv(tmp_path / "1", header="timestamp,outcome"), "the column 'up_price' is missing"),
        (write_csv(tmp_path), "holds no resolved market"),
        (write_markets(tmp_path / "2"), "holds no resolved market"),
        (write_feed(tmp_path / "1"), "holds no ticks"),
        (write_feed(tmp_path, header="a,b"), "the column 'feed_ts_ms' is missing"),
    ):
        with pytest.raises(DataError, match=sentence):
            read(path)
    path = write_feed(tmp_path, tick(0, 7))
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError, match="not a whole gzip file"):
        read(path)
    with pytest.raises(DataError, match="not a whole gzip file"):
        read(write_markets(tmp_path, market()))  # its feed is broken
    path.write_bytes(gzip.compress(b"\xff\xfe"))
    with pytest.raises(DataError, match="not a CSV text"):
        read(path)
    write_csv(tmp_path).write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "polymarket_btc_5m_enriched.csv")
    with pytest.raises(DataError, match="no polymarket-btc5m-resolved recording here"):
        resolved.find([tmp_path / "prices.csv"])


def test_a_market_in_two_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="a market stands in two rows"):
        read(write_markets(tmp_path, market(), market()))


def test_files_are_found_in_folders_and_in_the_sets_folder(tmp_path):
    files = [
        write_csv(tmp_path / "a", csv_row()),
        write_markets(tmp_path / "b", market()),
        write_feed(tmp_path / "b", tick(0, 7)),
    ]
    assert set(resolved.find([tmp_path])) == set(files)
    assert resolved.find([tmp_path / "a", files[0]]) == [files[0]]


# --- real recordings ------------------------------------------------------------------------------


def test_real_files_reproduce_their_facts(data_dir, tmp_path):
    folder = data_dir / "polymarket-btc5m-resolved"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    written = importers.import_recordings(resolved.IMPORTER, [folder], tmp_path)
    by_name = {(r.session, r.kind): (path, r) for path, r in written}
    path, table = by_name["polymarket_btc_5m_enriched", "resolutions"]
    assert table.events == 20_928
    assert table.details["binance_agrees"] / table.events == pytest.approx(0.966, abs=5e-4)
    tickers = set(read_series(path).table.column("ticker").to_pylist())
    # The set's description counts the header line of each price file as a tick.
    facts = {"2026-06-08": (84_559 - 1, 284, 284, 122), "2026-07-24": (78_516 - 1, 266, 265, 387)}
    for day, (ticks, recomputed, equal, gap_s) in facts.items():
        path, markets = by_name[day, "resolutions"]
        assert markets.events == 292
        assert markets.details["markets_recomputed"] == recomputed
        assert markets.details["markets_recomputed_equal"] == equal
        found = set(read_series(path).table.column("ticker").to_pylist())
        assert not tickers & found, "no market stands in two of the files"
        tickers |= found
        path, feed = by_name[day, "reference"]
        assert feed.events == ticks
        assert read_series(path).meta.quality["longest_gap_s"] == gap_s
