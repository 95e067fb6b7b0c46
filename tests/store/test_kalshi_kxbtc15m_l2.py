"""The Kalshi importer on hand-made sessions with each defect, and on real ones against their facts."""

import csv
import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings
from pr3dict.store import importers
from pr3dict.store.importers import kalshi_kxbtc15m_l2 as kalshi
from pr3dict.store.importers.common import Timestamps
from pr3dict.store.series import check_series, read_series
from pr3dict.store.tape import check_tape, read_tape

_spec = importlib.util.spec_from_file_location(
    "kalshi_session", Path(__file__).with_name("kalshi_session.py")
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
CLOSE_NS, SECOND, Session = made.CLOSE_NS, made.SECOND, made.Session

YES = [["0.0990", "3.00"], ["0.4400", "120.00"]]
NO = [["0.5400", "10.50"], ["0.5500", "20.00"]]


def plain(tmp_path, **names):
    """A session with a snapshot and one harmless change, 100 s before the close."""
    session = Session(tmp_path, **names)
    return session.snapshot(YES, NO, local=-101 * SECOND).delta(-100 * SECOND, "yes", "0.4300", "7.00")


def rows(tape, kind):
    return [
        (int(e["exch_ns"]) - CLOSE_NS, int(e["side"]), int(e["price"]), int(e["qty"]))
        for e in tape.events
        if e["kind"] == kind
    ]


def test_no_bids_become_yes_asks_and_increments_become_totals(tmp_path):
    session = plain(tmp_path)
    session.delta(-99 * SECOND, "yes", "0.4400", "-20.50").delta(-98 * SECOND, "no", "0.5500", "1.25")
    session.delta(-98 * SECOND, "yes", "0.0990", "-3.00")
    [tape] = kalshi.read(session.write())
    assert rows(tape, d.SNAPSHOT) == [
        (-100 * SECOND, d.BID, 990, 3_000_000),
        (-100 * SECOND, d.BID, 4_400, 120_000_000),
        (-100 * SECOND, d.ASK, 4_600, 10_500_000),
        (-100 * SECOND, d.ASK, 4_500, 20_000_000),
    ]
    assert rows(tape, d.LEVEL) == [
        (-100 * SECOND, d.BID, 4_300, 7_000_000),
        (-99 * SECOND, d.BID, 4_400, 99_500_000),
        (-98 * SECOND, d.ASK, 4_500, 21_250_000),
        (-98 * SECOND, d.BID, 990, 0),
    ]
    assert tape.events["local_ns"][1] == CLOSE_NS - 101 * SECOND, "the recorder's own clock is kept as it is"
    check_tape(tape.events, tape.meta)


def test_the_close_and_the_settlement_are_on_a_tape_that_saw_them(tmp_path):
    for outcome, value in (("yes", 1_000_000), ("no", 0)):
        session = plain(tmp_path / outcome).outcome(outcome)
        session.delta(SECOND // 2, "yes", "0.4400", "-120.00").snapshot([], [], local=2 * SECOND)
        [tape] = kalshi.read(session.write())
        status = [(int(e["exch_ns"]) - CLOSE_NS, int(e["aux"])) for e in tape.events if e["kind"] == d.STATUS]
        assert status == [(-100 * SECOND, d.ACTIVE), (0, d.CLOSED)]
        assert rows(tape, d.SETTLE) == [(SECOND, 0, 0, value)]
        assert tape.report.settled
        assert tape.report.details["rows_after_close"] == 2
        assert tape.events["kind"][-1] == d.SETTLE, "the book being cleared is not on the tape"
        assert (tape.meta.outcome, tape.meta.outcome_source) == (outcome, "the venue")


def test_a_session_that_stops_before_the_close_keeps_the_outcome_in_its_metadata(tmp_path):
    [tape] = kalshi.read(plain(tmp_path).outcome("yes").write())
    assert tape.meta.outcome == "yes"
    assert not tape.report.settled
    assert not rows(tape, d.SETTLE)
    assert (tape.events["aux"][tape.events["kind"] == d.STATUS] == d.ACTIVE).all()
    assert any("no settlement on the tape" in defect for defect in tape.report.defects)


def test_an_unknown_outcome_stays_unknown(tmp_path):
    session = plain(tmp_path).delta(SECOND // 2, "yes", "0.4400", "-120.00")
    [tape] = kalshi.read(session.write())
    assert tape.meta.outcome is None
    assert not tape.report.settled


def test_what_the_market_is(tmp_path):
    [tape] = kalshi.read(plain(tmp_path).write())
    meta = tape.meta
    assert (meta.venue, meta.event_id, meta.strike) == ("kalshi", "KXBTC15M-26MAY132030", "79487.86")
    assert meta.close_ns == meta.expected_resolution_ns == CLOSE_NS
    assert meta.open_ns == CLOSE_NS - 900 * SECOND
    assert (meta.fee.kind, meta.fee.taker_ppm, meta.fee.maker_ppm) == ("kalshi", 70_000, 0)
    assert {990, 1_000, 1_100, 9_000, 9_010} <= set(meta.grids[0].prices())
    assert 1_010 not in meta.grids[0].prices()
    assert meta.nets_positions
    assert meta.reduce_in_place


def test_gaps_negative_levels_and_late_rows_are_defects(tmp_path):
    session = plain(tmp_path)
    session.delta(-99 * SECOND, "yes", "0.4400", "-200.00", seq=9)
    session.delta(-99 * SECOND - 5_000, "no", "0.5500", "1.00")
    [tape] = kalshi.read(session.write())
    assert tape.report.defects[:3] == (
        "1 gap in the sequence numbers: the book may be wrong after each",
        "1 row with an exchange time before the row above, moved up to it",
        "1 book change would make a level negative; the level is taken as empty",
    )
    assert rows(tape, d.LEVEL)[1:] == [(-99 * SECOND, 0, 4_400, 0), (-99 * SECOND, 1, 4_500, 21_000_000)]


def test_a_later_snapshot_is_compared_with_the_replayed_book(tmp_path):
    for extra, equal in (("0.00", 1), ("1.00", 0)):
        session = plain(tmp_path / extra)
        book = [["0.0990", "3.00"], ["0.4300", "7.00"], ["0.4400", "120.00"]]
        session.delta(-99 * SECOND, "yes", "0.0990", extra).snapshot(book, NO, local=-98 * SECOND)
        [tape] = kalshi.read(session.write())
        assert (tape.report.snapshots_checked, tape.report.snapshots_equal) == (1, equal)


def test_a_reconnection_starts_a_new_sequence_and_is_reported(tmp_path):
    session = (
        plain(tmp_path)
        .snapshot(YES, NO, local=-90 * SECOND, seq=1)
        .delta(-80 * SECOND, "yes", "0.4400", "5.00")
    )
    [tape] = kalshi.read(session.write())
    assert tape.report.defects[0].startswith("1 reconnection")
    assert not any("gap" in defect for defect in tape.report.defects)
    assert rows(tape, d.LEVEL)[-1] == (-80 * SECOND, 0, 4_400, 125_000_000)
    assert rows(tape, d.SNAPSHOT)[-1][0] == -80 * SECOND, (
        "a snapshot takes the time of the change that follows"
    )


def test_a_crossed_book_is_uncrossed_and_reported(tmp_path):
    session = (
        plain(tmp_path)
        .delta(-99 * SECOND, "yes", "0.4500", "1.00")
        .delta(-98 * SECOND, "yes", "0.4200", "1.00")
    )
    [tape] = kalshi.read(session.write())
    assert "1 instant with a crossed book; the older level was removed" in tape.report.defects
    repair = [e for e in tape.events if e["bits"] & d.SYNTHETIC]
    assert [(int(e["side"]), int(e["price"]), int(e["qty"])) for e in repair] == [(d.ASK, 4_500, 0)]
    check_tape(tape.events, tape.meta)


def test_trades_are_inferred_right_before_what_they_explain(tmp_path):
    session = plain(tmp_path)
    session.ticker(-99 * SECOND, "1000.00").delta(-98 * SECOND, "no", "0.5500", "-4.00")
    session.delta(-97 * SECOND, "yes", "0.4400", "-3.00").delta(-97 * SECOND + 9, "yes", "0.4300", "-2.00")
    session.ticker(-96 * SECOND, "1014.00", "0.4400", "3.00")
    session.ticker(-95 * SECOND, "1114.00", "0.4400", "50.00")
    [tape] = kalshi.read(session.write())
    events = tape.events
    trades = np.flatnonzero(events["kind"] == d.TRADE)
    assert rows(tape, d.TRADE) == [
        (-98 * SECOND, d.BID, 4_500, 4_000_000),
        (-97 * SECOND, d.ASK, 4_400, 3_000_000),
    ]
    assert (events["bits"][trades] == d.INFERRED).all()
    assert [rows(tape, d.LEVEL)[i] for i in (1, 2)] == [
        (-98 * SECOND, d.ASK, 4_500, 16_000_000),
        (-97 * SECOND, d.BID, 4_400, 117_000_000),
    ]
    assert (events["kind"][trades + 1] == d.LEVEL).all()
    assert (tape.report.volume, tape.report.volume_explained) == (57_000_000, 7_000_000)
    assert tape.meta.has_trades == "inferred"


def test_volume_that_counts_each_contract_once_is_noticed():
    twice = np.array([(0, 0, 1, 1), (1, 20, 1, 10), (2, 26, 1, 3), (3, 34, 1, 1)], np.int64)
    once = np.array([(0, 0, 1, 1), (1, 10, 1, 10), (2, 13, 1, 3), (3, 20, 1, 1)], np.int64)
    assert kalshi.volume_factor(twice) == 2
    assert kalshi.volume_factor(once) == 1


# --- the coin's price -----------------------------------------------------------------------------


def tick(name, ns, price, **changed):
    """A trade on Coinbase `ns` after the close, received 100 ms earlier by the recorder's clock."""
    return {
        "exchange_ts_utc": made.stamp(ns).removesuffix("Z") + "+00:00",
        "local_recv_ns": CLOSE_NS + ns - SECOND // 10,
        "price": price,
        "raw_event_type": "match",
        "source": "coinbase_btcusd_matches",
        "symbol": "BTC-USD",
        "trade_id": name,
    } | changed


def with_ticks(session, *lines):
    folder = session.write()
    body = "\n".join(json.dumps(line) for line in lines).encode()
    (folder / "spot_btcusd_ticks.ndjson.gz").write_bytes(gzip.compress(body))
    return folder


def test_coinbase_trades_become_one_series_beside_unchanged_tapes(tmp_path):
    [bare] = kalshi.read(plain(tmp_path / "bare").write())
    lines = [tick("1", -5 * SECOND, 81117.21, raw_event_type="last_match"), tick("2", -3 * SECOND, 81117.2)]
    tape, series = kalshi.read(with_ticks(plain(tmp_path), *lines, tick("3", -2 * SECOND, 0.00000001)))
    assert (tape.events == bare.events).all()
    assert tape.meta == bare.meta
    check_series(series.table, series.meta)
    assert series.table.to_pydict() == {
        "exch_ns": [CLOSE_NS + ns * SECOND for ns in (-5, -3, -2)],
        "local_ns": [CLOSE_NS + ns * SECOND - SECOND // 10 for ns in (-5, -3, -2)],
        "value": [8_111_721_000_000, 8_111_720_000_000, 1],
    }
    meta = series.meta
    assert (meta.kind, meta.venue, meta.name, meta.unit) == (
        "reference",
        "coinbase",
        "BTC-USD",
        "USD per BTC",
    )
    assert meta.session == tape.meta.session
    assert series.report.defects == ()


def test_repeated_and_late_trades_of_the_coin_are_counted(tmp_path):
    lines = [tick("1", -5 * SECOND, 1.5), tick("3", -3 * SECOND, 3.0), tick("2", -4 * SECOND, 2.0)]
    _, series = kalshi.read(with_ticks(plain(tmp_path), *lines, tick("3", -3 * SECOND, 3.0)))
    assert series.table.column("value").to_pylist() == [150_000_000, 200_000_000, 300_000_000]
    assert (series.report.rows, series.report.events) == (4, 3)
    assert series.report.defects == (
        "1 repeated trade_id, left out",
        "1 trade recorded after a later one, put in order of time",
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"price": 0}, "price 0 is not a sum of dollars"),
        ({"price": -1.5}, "price -1.5 is not a sum of dollars"),
        ({"price": 1e-9}, "is not a sum of dollars"),
        ({"price": 1.000000001}, "is not a sum of dollars with at most 8 decimals"),
        ({"price": 1e300}, "is not a sum of dollars"),
        ({"price": "much"}, "not a spot_btcusd_ticks record"),
        ({"price": float("nan")}, "not a spot_btcusd_ticks record"),
        ({"symbol": "ETH-USD"}, "not a spot_btcusd_ticks record"),
        ({"exchange_ts_utc": "noon"}, "is not ISO 8601 in UTC"),
        ({"exchange_ts_utc": "2026-05-14T00:24:29"}, "is not ISO 8601 in UTC"),
    ],
)
def test_a_broken_tick_names_file_and_row(tmp_path, changed, sentence):
    lines = [tick("1", -5 * SECOND, 1.5), tick("2", -4 * SECOND, 1.5) | changed]
    with pytest.raises(DataError, match=rf"spot_btcusd_ticks\.ndjson\.gz: row 2: .*{sentence}"):
        kalshi.read(with_ticks(plain(tmp_path), *lines))


# --- broken input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"side": "maybe", "price_dollars": "0.44", "delta_fp": "1.00"}, "not a orderbook_delta record"),
        (
            {"side": "yes", "price_dollars": "nan", "delta_fp": "1.00"},
            "price 'nan' is not a plain decimal number",
        ),
        (
            {"side": "yes", "price_dollars": "0.44", "delta_fp": "NaN"},
            "quantity 'NaN' is not a plain decimal number",
        ),
        ({"side": "yes", "price_dollars": "1.0000", "delta_fp": "1"}, "outside the book"),
        ({"side": "yes", "price_dollars": 0.44, "delta_fp": "1"}, "not a orderbook_delta record"),
        ({"side": "yes", "delta_fp": "1"}, "not a orderbook_delta record"),
    ],
)
def test_a_broken_delta_names_file_and_row(tmp_path, payload, sentence):
    session = plain(tmp_path).add("orderbook_delta", payload, ns=-SECOND, seq=3)
    with pytest.raises(DataError, match=rf"orderbook_delta\.2026-05-14T00\.ndjson\.gz: row 2: .*{sentence}"):
        kalshi.read(session.write())


def test_a_negative_snapshot_size_is_refused(tmp_path):
    session = (
        Session(tmp_path).snapshot([["0.4400", "-1.00"]], [], local=0).delta(-SECOND, "yes", "0.4400", "1.00")
    )
    with pytest.raises(DataError, match=r"orderbook_snapshot.*row 1: quantity -1\.00 is negative"):
        kalshi.read(session.write())


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_truncated_gzip_names_the_file(tmp_path, keep):
    folder = plain(tmp_path).write()
    [path] = folder.glob("orderbook_delta.*")
    path.write_bytes(path.read_bytes()[:keep])
    if keep == 0:  # an empty file decompresses to nothing
        with pytest.raises(DataError, match="holds no order book changes"):
            kalshi.read(folder)
    else:
        with pytest.raises(DataError, match=r"orderbook_delta.*not a whole gzip file"):
            kalshi.read(folder)


def test_corrupt_gzip_and_json_name_the_file(tmp_path):
    folder = plain(tmp_path).write()
    [path] = folder.glob("orderbook_delta.*")
    body = bytearray(path.read_bytes())
    body[30] ^= 0xFF
    path.write_bytes(bytes(body))
    with pytest.raises(DataError, match=r"orderbook_delta"):
        kalshi.read(folder)
    path.write_bytes(gzip.compress(b'{"market_ticker": '))
    with pytest.raises(DataError, match=r"orderbook_delta.*row 1: not a orderbook_delta record"):
        kalshi.read(folder)


def test_missing_parts_are_named(tmp_path):
    no_snapshot = Session(tmp_path / "1").delta(-SECOND, "yes", "0.4400", "1.00").write()
    with pytest.raises(DataError, match="has no snapshot"):
        kalshi.read(no_snapshot)
    no_watch = plain(tmp_path / "2")
    no_watch.files.pop("watch_market")
    with pytest.raises(DataError, match="has no watch_market record"):
        kalshi.read(no_watch.write())
    with pytest.raises(DataError, match="outcome 'perhaps' is neither yes nor no"):
        kalshi.read(plain(tmp_path / "3").outcome("perhaps").write())
    empty = tmp_path / "4"
    empty.mkdir()
    with pytest.raises(DataError, match="no kalshi-kxbtc15m-l2 session here"):
        kalshi.find([empty])


def test_sets_folders_and_sessions_are_found_once(tmp_path):
    first, second = plain(tmp_path, name="a").write(), plain(tmp_path, name="b").write()
    assert kalshi.find([tmp_path]) == kalshi.find([tmp_path / "sessions"]) == [first, second]
    assert kalshi.find([second, tmp_path]) == [second, first]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-05-14T00:30:00Z", CLOSE_NS),
        ("2026-05-14T00:30:00.5Z", CLOSE_NS + SECOND // 2),
        ("2026-05-14T00:30:00.000000001Z", CLOSE_NS + 1),
    ],
)
def test_timestamps_are_exact(text, ns):
    assert Timestamps()(text) == ns


@pytest.mark.parametrize(
    "text", ["", "now", "2026-05-14T00:30:00", "2026-05-14T00:30:00.Z", "2026-05-14T00:30:00.1+2"]
)
def test_other_timestamps_are_refused(text):
    with pytest.raises(DataError, match="is not ISO 8601 in UTC"):
        Timestamps()(text)


# --- real recordings ------------------------------------------------------------------------------

# The smallest of each set, one with files of two hours, one with a reconnection.
SESSIONS = (
    "kalshi-kxbtc15m-l2-a/sessions/rv600_forward_native_shadow_20260513T1556Z",
    "kalshi-kxbtc15m-l2-a/sessions/rv600_forward_native_shadow_20260513T1737Z",
    "kalshi-kxbtc15m-l2-b/sessions/rv600_next_evidence_shadow_20260514T043118Z",
)


@pytest.mark.parametrize("name", SESSIONS)
def test_real_sessions_reproduce_their_facts(data_dir, tmp_path, name):
    folder = data_dir / name
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    with (folder.parent.parent / "markets.csv").open() as file:
        facts = {row["market_ticker"]: row for row in csv.DictReader(file) if row["session"] == folder.name}
    written = importers.import_recordings(kalshi.IMPORTER, [folder], tmp_path)
    series = [tape for tape in written if tape.report.kind == "reference"]
    tapes = [tape for tape in written if tape.report.kind == "book"]
    assert {tape.report.market for tape in tapes} == set(facts)
    ticks = {int(fact["spot_ticks"]) for fact in facts.values()}
    assert {read_series(path).table.num_rows for path, _ in series} == ticks - {0}
    for path, report in tapes:
        fact = facts[report.market]
        assert report.deltas == int(fact["n_deltas"])
        assert report.snapshots == int(fact["n_snapshots"])
        assert report.details["tickers"] == int(fact["n_tickers"])
        assert report.details["through_close"] == (fact["captured_through_close"] == "yes")
        assert not any("gap" in defect or "negative" in defect for defect in report.defects)
        reconnected = any("reconnection" in defect for defect in report.defects)
        assert report.snapshots_equal == report.snapshots_checked - reconnected
        assert report.details["volume_factor"] == "2"
        assert report.volume_explained >= 0.94 * report.volume
        events, meta = read_tape(path)
        assert len(events) == report.events
        assert meta.outcome == (fact["outcome"] or None)
        settled = events[events["kind"] == d.SETTLE]
        assert len(settled) == (fact["captured_through_close"] == "yes" and fact["outcome"] != "")
        assert all(int(row["qty"]) == 1_000_000 * (fact["outcome"] == "yes") for row in settled)
        assert (events["exch_ns"][events["kind"] == d.LEVEL] < meta.close_ns).all()


def test_exact_fits_are_no_accident(data_dir):
    """Volume figures fit the decreases at the touch to 0.01 contract; shifted figures do not."""
    folder = data_dir / SESSIONS[1]
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    session = kalshi.read_session(folder)
    book = kalshi._market_book(session, 0)
    tickers = session.tickers[session.markets[0]]
    tickers = tickers[tickers[:, 0] >= book.events["exch_ns"][0]]

    def exact_share(growth_of):
        scaled = tickers.copy()
        scaled[1:, 1] = scaled[0, 1] + np.cumsum(growth_of(np.diff(tickers[:, 1]) // 2))
        figures = np.zeros(4, np.int64)
        traded = np.zeros(len(book.events), bool)
        table = np.zeros(recordings.CELLS, np.int16)
        recordings.infer_trades(book.events, book.change, book.decrease, scaled, traded, table, figures)
        return figures[recordings.EXACT_WINDOWS] / figures[recordings.WINDOWS]

    assert exact_share(lambda growth: growth) > 0.98
    assert exact_share(lambda growth: np.where(growth > 0, growth + 37, 0)) < 0.35
