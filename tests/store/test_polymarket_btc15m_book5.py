"""The importer of bitcoin windows with five levels on hand-made windows, and on the real ones' facts."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store import importers
from pr3dict.store.importers import polymarket_btc15m_book5 as book5
from pr3dict.store.series import check_series, is_series, read_series
from pr3dict.store.tape import check_tape, read_tape

START = 1_771_633_800_000  # ms
END = START + 900_000
MS = 1_000_000
NAME = "btc-updown-15m-1771633800.parquet"
LEVELS = [
    f"{s}_{w}_{t}_{i}"
    for t in ("up", "down")
    for s in ("bid", "ask")
    for w in ("px", "sz")
    for i in range(1, 6)
]
TRADES = [f"last_trade_{w}_{t}" for t in ("up", "down") for w in ("px", "sz", "side")]
SCHEMA = pa.schema(
    [
        ("ts_ms", pa.int64()),
        ("market_slug", pa.string()),
        ("token_id_up", pa.string()),
        ("window_start_ms", pa.int64()),
        ("window_end_ms", pa.int64()),
        ("chainlink_btc", pa.float64()),
        ("window_start_price", pa.float64()),
        *((name, pa.float64()) for name in LEVELS),
        *((name, pa.string() if name[11:15] == "side" else pa.float64()) for name in TRADES),
    ]
)
BIDS, ASKS = {0.50: 100.5, 0.49: 20.0}, {0.51: 70.0, 0.52: 30.0}


class Window:
    """Collects rows; times in ms after the window's start."""

    def __init__(self):
        self.rows = []

    def second(self, at, bids=BIDS, asks=ASKS, *, up=None, down=None, coin=67_000.5, mirror=True, **other):
        row = dict.fromkeys(SCHEMA.names)
        row |= {"ts_ms": START + at, "market_slug": NAME[:-8], "token_id_up": "777"}
        row |= {"window_start_ms": START, "window_end_ms": END}
        row |= {"chainlink_btc": coin, "window_start_price": 67_001.25}
        flip = lambda side: {round(1 - p, 4): q for p, q in side.items()}  # noqa: E731
        down_bids, down_asks = (flip(asks), flip(bids)) if mirror else (flip(asks), {})
        books = {"bid_{}_up": bids, "ask_{}_up": asks, "bid_{}_down": down_bids, "ask_{}_down": down_asks}
        for pattern, levels in books.items():
            for rank, (price, size) in enumerate(levels.items(), 1):
                row[f"{pattern.format('px')}_{rank}"] = price
                row[f"{pattern.format('sz')}_{rank}"] = size
        for token, trade in (("up", up), ("down", down)):
            for what, value in zip(("px", "sz", "side"), trade or (None,) * 3, strict=True):
                row[f"last_trade_{what}_{token}"] = value
        self.rows.append(row | other)
        return self

    def copy(self):
        self.rows.append(dict(self.rows[-1]))
        return self

    def write(self, folder, schema=SCHEMA):
        folder.mkdir(exist_ok=True, parents=True)
        pq.write_table(pa.Table.from_pylist(self.rows, schema=schema), folder / NAME)
        return folder / NAME

    def read(self, folder):
        made = list(book5.read(self.write(folder)))
        check_tape(made[0].events, made[0].meta)
        for series in made[1:]:
            check_series(series.table, series.meta)
        return made

    def tape(self, folder):
        return self.read(folder)[0]


def rows(tape, kind):
    return [
        (int(e["exch_ns"]) // MS - START, int(e["side"]), int(e["price"]), int(e["qty"]))
        for e in tape.events
        if e["kind"] == kind
    ]


def facts(folder, outcome="", by_book="", header="file,outcome,outcome_by_final_book"):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "windows.csv").write_text(f"{header}\nother.parquet,up,up\n{NAME},{outcome},{by_book}\n")


def test_copies_are_left_out_and_each_changed_book_is_a_snapshot(tmp_path):
    window = Window().second(6_261).copy().copy().second(7_261).second(8_261, {0.49: 20.0}, ASKS).copy()
    tape = window.tape(tmp_path)
    assert rows(tape, d.SNAPSHOT) == [
        (6_261, d.BID, 5_000, 100_500_000),
        (6_261, d.BID, 4_900, 20_000_000),
        (6_261, d.ASK, 5_100, 70_000_000),
        (6_261, d.ASK, 5_200, 30_000_000),
        (8_261, d.BID, 4_900, 20_000_000),
        (8_261, d.ASK, 5_100, 70_000_000),
        (8_261, d.ASK, 5_200, 30_000_000),
    ]
    assert "3 exact copies of rows left out" in tape.report.defects
    assert (tape.report.rows, tape.report.snapshots, tape.report.details["seconds"]) == (6, 2, 3)
    assert "the recording starts 6 s after the window's start" in tape.report.defects
    with pytest.raises(DataError, match=f"row 2: two different rows of the time {START + 1}"):
        Window().second(1).second(1, {0.48: 1.0}, ASKS).tape(tmp_path)


@pytest.mark.parametrize(
    ("token", "trade", "expected"),
    [
        ("up", (0.51, 5.5, "BUY"), (d.BID, 5_100, 5_500_000)),
        ("up", (0.50, 5.5, "SELL"), (d.ASK, 5_000, 5_500_000)),
        ("down", (0.50, 5.5, "BUY"), (d.ASK, 5_000, 5_500_000)),
        ("down", (0.49, 18.181817, "SELL"), (d.BID, 5_100, 18_181_817)),
    ],
)
def test_a_changed_last_trade_is_a_trade_before_the_book(tmp_path, token, trade, expected):
    tape = Window().second(0).second(1_000, BIDS, {0.52: 30.0}, **{token: trade}).tape(tmp_path)
    assert rows(tape, d.TRADE) == [(1_000, *expected)]
    assert tape.events["kind"].tolist()[5:7] == [d.TRADE, d.SNAPSHOT]
    assert tape.events["bits"][5] == 0, "recorded, not inferred"
    assert (tape.meta.has_trades, tape.meta.quality["trades_coalesced"]) == ("recorded", True)


def test_what_was_traded_before_the_first_row_is_not_on_the_tape(tmp_path):
    old, new = (0.51, 5.0, "BUY"), (0.51, 6.0, "BUY")
    tape = Window().second(0, up=old).second(1_000, up=old).second(2_000, up=new).tape(tmp_path)
    assert rows(tape, d.TRADE) == [(2_000, d.BID, 5_100, 6_000_000)]
    assert tape.report.details["last_trade_changes_in_all"] == 2


def test_the_same_trade_on_both_tokens_counts_once(tmp_path):
    window = Window().second(0).second(1_000, up=(0.51, 5.0, "BUY"), down=(0.49, 5.0, "SELL"))
    window.second(2_000, up=(0.51, 7.0, "BUY"), down=(0.49, 7.0, "BUY"))  # two takers, other directions
    tape = window.tape(tmp_path)
    assert rows(tape, d.TRADE) == [
        (1_000, d.BID, 5_100, 5_000_000),
        (2_000, d.BID, 5_100, 7_000_000),
        (2_000, d.ASK, 5_100, 7_000_000),
    ]
    assert "1 second with the same trade on both tokens, taken as one" in tape.report.defects


def test_the_down_token_checks_the_book(tmp_path):
    tape = Window().second(0).second(1_000, mirror=False).tape(tmp_path)
    assert (tape.report.details["mirror_checked"], tape.report.details["mirror_equal"]) == (2, 1)
    assert "1 second in which the Down token's book does not mirror the Up token's" in tape.report.defects


def test_a_finer_price_is_a_tick_change_and_an_empty_book_a_snapshot(tmp_path):
    tape = Window().second(0).second(1_000, {}, {0.001: 5.0}).second(2_000, {}, {}).tape(tmp_path)
    assert [len(grid.prices()) for grid in tape.meta.grids] == [99, 999]
    assert rows(tape, d.SNAPSHOT)[-2:] == [(1_000, d.ASK, 10, 5_000_000), (2_000, 0, 0, 0)]
    assert tape.report.details["tick_changes"] == 1


@pytest.mark.parametrize(
    ("bids", "asks", "told", "outcome", "sentence"),
    [
        ({0.99: 5.0}, {}, "up", "yes", None),
        ({}, {0.01: 5.0}, "down", "no", None),
        ({}, {0.01: 5.0}, "up", "no", "say the other outcome than the last book; the book is trusted"),
        ({0.50: 5.0}, {0.51: 5.0}, "up", "yes", None),
        ({0.50: 5.0}, {0.51: 5.0}, "", None, None),
    ],
)
def test_the_outcome_is_the_last_books_else_the_tables(tmp_path, bids, asks, told, outcome, sentence):
    facts(tmp_path, told)
    tape = Window().second(0).second(900_001, bids, asks).tape(tmp_path)
    assert tape.meta.outcome == outcome
    assert tape.report.settled == (outcome is not None)
    settled = [(int(e["exch_ns"]) // MS, int(e["qty"])) for e in tape.events if e["kind"] == d.SETTLE]
    assert settled == ([] if outcome is None else [(END + 1_000, 1_000_000 if outcome == "yes" else 0)])
    status = [int(e["aux"]) for e in tape.events if e["kind"] == d.STATUS]
    assert status == [d.ACTIVE, d.CLOSED]
    assert any(sentence in defect for defect in tape.report.defects) if sentence else True
    assert bool(tape.meta.outcome_source) == (outcome is not None)


def test_the_table_may_misread_the_last_book(tmp_path):
    facts(tmp_path, "down", "up")
    tape = Window().second(0).second(900_001, {}, {0.01: 5.0}).tape(tmp_path)
    assert any("windows.csv reads the last book otherwise" in defect for defect in tape.report.defects)


def test_rows_after_the_close_are_not_on_the_tape(tmp_path):
    window = Window().second(899_000).second(900_000, {}, {0.01: 5.0}, up=(0.01, 5.0, "BUY"))
    tape, series = window.read(tmp_path)
    assert len(rows(tape, d.SNAPSHOT)) == 4
    assert rows(tape, d.TRADE) == []
    assert tape.report.details["seconds_after_close"] == 1
    assert series.table.num_rows == 2, "the price is still worth knowing"
    with pytest.raises(DataError, match="holds no row before the window's end"):
        Window().second(900_000).tape(tmp_path)


def test_a_window_that_stops_early_is_not_settled(tmp_path):
    facts(tmp_path)
    tape = Window().second(0).second(1_000, {0.99: 5.0}, {}).tape(tmp_path)
    assert (tape.meta.outcome, tape.report.settled) == (None, False)
    assert "the recording stops before the window's end: no settlement on the tape" in tape.report.defects
    assert [int(e["aux"]) for e in tape.events if e["kind"] == d.STATUS] == [d.ACTIVE]
    meta = tape.meta
    assert (meta.open_ns, meta.close_ns, meta.expected_resolution_ns) == (START * MS, END * MS, END * MS)
    assert (meta.strike, meta.quality["first_chainlink_price_seen"]) == (None, "67001.25")


def test_the_fee_is_never_less_and_the_rebate_hardly_more_than_the_schedule_of_the_day():
    for cents in range(1, 100):
        p = cents / 100
        fee, rebate = 0.25 * (p * (1 - p)) ** 2, 0.05 * (p * (1 - p)) ** 2
        tape_fee = book5.FEE.taker_ppm / 1e6 * p * (1 - p)
        tape_rebate = tape_fee * book5.FEE.rebate_ppm / 1e6
        assert tape_fee >= fee - 1e-12
        assert tape_rebate <= rebate + (0.0002 if not 15 <= cents <= 85 else 1e-12)
    assert book5.FEE.maker_ppm == 0


def test_the_chainlink_price_becomes_a_series(tmp_path):
    window = Window().second(0, coin=67_986.38014114716).second(1_000, coin=None).second(2_000, coin=1.0)
    _, series = window.copy().read(tmp_path)
    assert series.table.column("value").to_pylist() == [6_798_638_014_115, 100_000_000]
    assert series.table.column("exch_ns").to_pylist() == [START * MS, (START + 2_000) * MS]
    assert series.report.market == "btc-updown-15m-1771633800-chainlink"
    assert len(Window().second(0, coin=None).read(tmp_path)) == 1


def test_rows_out_of_order_are_sorted(tmp_path):
    tape = Window().second(1_000).second(0, {0.48: 1.0}, ASKS).tape(tmp_path)
    assert [row[0] for row in rows(tape, d.SNAPSHOT)] == [0] * 3 + [1_000] * 4
    assert "1 row with a time before the one above, sorted" in tape.report.defects


# --- broken input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("bid_px_up_1", float("nan"), "row 2: bid_px_up_1: nan is not a finite number"),
        ("bid_px_up_1", None, "row 2: bid_px_up_1: level 1 of bids has price 0 and size 100500000, or lacks"),
        ("bid_px_up_1", 1.0, "row 2: bid_px_up_1: level 1 of bids has price 10000"),
        ("bid_px_up_1", 0.48, "row 2: bid_px_up_2: the bid levels are not in order"),
        ("ask_px_down_2", 0.49, "row 2: ask_px_down_2: the ask levels are not in order"),
        ("ask_sz_up_2", -3.0, "row 2: ask_sz_up_2: -3.0 is negative"),
        ("ask_sz_up_2", 0.0, "row 2: ask_px_up_2: level 2 of asks has price 5200 and size 0"),
        ("ask_px_up_2", 0.52003, "row 2: ask_px_up_2: 0.52003 is finer than 1/10,000"),
        (
            "last_trade_px_up",
            0.5,
            "row 2: last_trade_px_up: the last trade has price 5000, size 0 and side ''",
        ),
        ("last_trade_side_down", "HOLD", "row 2: last_trade_px_down: the last trade has price 0"),
        ("chainlink_btc", float("inf"), "row 2: chainlink_btc: inf is not a finite number"),
        ("market_slug", "other", "row 2: market_slug: other beside btc-updown-15m-1771633800"),
        ("window_end_ms", END + 1, f"row 2: window_end_ms: {END + 1} beside {END}"),
        ("ts_ms", None, "row 2: ts_ms: the value is missing"),
        ("ts_ms", -1, "row 2: ts_ms: a time before 1970"),
    ],
)
def test_an_impossible_value_names_file_and_row(tmp_path, column, value, sentence):
    path = Window().second(0).second(1_000, **{column: value}).write(tmp_path)
    with pytest.raises(DataError) as caught:
        list(book5.read(path))
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_broken_files_are_named(tmp_path):
    path = Window().second(0, window_end_ms=START).write(tmp_path)
    with pytest.raises(DataError, match="the window ends before it starts"):
        list(book5.read(path))
    path = Window().second(0).write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1771633800\.parquet: not a readable Parquet file"):
        list(book5.read(path))
    pq.write_table(pa.table({"ts_ms": [START]}), path)
    with pytest.raises(DataError, match="market_slug: the column is missing"):
        list(book5.read(path))
    Window().second(0).write(tmp_path, SCHEMA.set(0, pa.field("ts_ms", pa.float64())))
    with pytest.raises(DataError, match="ts_ms: the column is double and must be int64"):
        list(book5.read(path))
    Window().second(0).second(900_001).write(tmp_path)
    facts(tmp_path, "sideways")
    with pytest.raises(DataError, match=r"windows\.csv: row 3: outcome 'sideways' is neither up nor down"):
        list(book5.read(path))
    with pytest.raises(DataError, match="no polymarket-btc15m-book5 recording here"):
        book5.find([tmp_path / "windows.csv"])
    assert book5.find([tmp_path, path]) == [path]


# --- real recordings ------------------------------------------------------------------------------


def test_real_windows_reproduce_their_facts(data_dir, tmp_path):
    folder = data_dir / "polymarket-btc15m-book5"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    with (folder / "windows.csv").open() as file:
        known = {row["file"].removesuffix(".parquet"): row for row in csv.DictReader(file)}
    written = importers.import_recordings(book5.IMPORTER, [folder], tmp_path)
    books = [(path, report) for path, report in written if not is_series(path)]
    assert {report.market for _, report in books} == set(known)
    assert len(written) == 2 * len(books)
    for path, report in books:
        fact, details = known[report.market], report.details
        assert report.rows == int(fact["rows"])
        assert details["seconds"] == int(fact["distinct_seconds"]) == report.rows - details["copies"]
        assert details["book_changes_in_all"] == int(fact["book_changes"])
        assert details["last_trade_changes_in_all"] == int(fact["last_trade_changes_after_dedup"])
        assert details["through_close"] == (fact["captured_through_close"] == "True") == report.settled
        assert details["mirror_equal"] >= details["mirror_checked"] - 1
        events, meta = read_tape(path)
        assert len(events) == report.events
        assert meta.outcome == {"up": "yes", "down": "no", "": None}[fact["outcome_by_final_book"]]
        disagree = any("the book is trusted" in defect for defect in report.defects)
        assert disagree == (fact["outcome"] != fact["outcome_by_final_book"])
    assert sum(report.settled for _, report in books) == 6
    for path, _ in written:
        if is_series(path):
            assert 60_000 < read_series(path).table.column("value")[0].as_py() / 1e8 < 75_000
