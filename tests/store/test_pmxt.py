"""The pmxt archive to tapes: books rebuilt, both tokens one book, files refused with row and column."""

from __future__ import annotations

import itertools
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers import get_importer, import_recordings, pmxt, report_json
from pr3dict.store.tape import read_tape

T0_MS = 1_767_225_600_000
MS = 1_000_000
MARKETS = [f"0x{n:064x}" for n in range(4)]
YES, NO = "1" + "0" * 76, "9" + "0" * 76
PRICE, SIZE, TIME = pa.decimal128(9, 4), pa.decimal128(18, 6), pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema(
    [
        ("timestamp_received", TIME),
        ("timestamp", TIME),
        ("market", pa.binary(66)),
        ("event_type", pa.string()),
        ("asset_id", pa.string()),
        ("bids", pa.string()),
        ("asks", pa.string()),
        ("price", PRICE),
        ("size", SIZE),
        ("side", pa.string()),
        ("best_bid", PRICE),
        ("best_ask", PRICE),
        ("fee_rate_bps", pa.uint16()),
        ("transaction_hash", pa.string()),
        ("old_tick_size", PRICE),
        ("new_tick_size", PRICE),
    ]
)
Levels = list[tuple[str, str]]


def base(kind: str, at: int, token: str, market: str, lag: int) -> dict[str, Any]:
    times = {"timestamp": T0_MS + at, "timestamp_received": T0_MS + at + lag}
    return {**times, "market": market.encode(), "event_type": kind, "asset_id": token}


def book(at: int, bids: Levels, asks: Levels, token: str = YES, market: str = MARKETS[1], lag: int = 30):
    def text(levels: Levels) -> str:
        return "[" + ",".join(f'["{p}","{q}"]' for p, q in levels) + "]"

    return base("book", at, token, market, lag) | {"bids": text(bids), "asks": text(asks)}


def change(at, side, price, size, token=YES, market=MARKETS[1], lag=30):
    cells = {"side": side, "price": Decimal(price), "size": Decimal(size)}
    return base("price_change", at, token, market, lag) | cells


def trade(at, side, price, size, token=YES, market=MARKETS[1], lag=30, fee=0):
    return change(at, side, price, size, token, market, lag) | {
        "event_type": "last_trade_price",
        "fee_rate_bps": fee,
        "transaction_hash": "0xab",
    }


def tick(at, old, new, token=YES, market=MARKETS[1]):
    sizes = {"old_tick_size": Decimal(old), "new_tick_size": Decimal(new)}
    return base("tick_size_change", at, token, market, 30) | sizes


OPENING = book(0, [("0.40", "100"), ("0.39", "50.5")], [("0.42", "7")])


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema), path, **options)
    return path


def tapes(tmp_path: Path, rows: list[dict[str, Any]], **options: Any):
    return list(pmxt.read(write(tmp_path / "hour.parquet", rows, **options)))


def seen(tape) -> list[tuple[int, ...]]:
    """(ms, kind, side, price, contracts) of each row."""
    return [
        ((int(e["exch_ns"]) // MS) - T0_MS, int(e["kind"]), int(e["side"]), int(e["price"]), e["qty"] / 1e6)
        for e in tape.events
    ]


def refused(tmp_path: Path, rows: list[dict[str, Any]]) -> DataError:
    with pytest.raises(DataError) as caught:
        tapes(tmp_path, rows)
    assert caught.value.file == tmp_path / "hour.parquet"
    return caught.value


def test_rows_become_a_tape_in_yes_terms(tmp_path):
    [tape] = tapes(
        tmp_path, [OPENING, change(5, "SELL", "0.4150", "12.345678"), change(9, "BUY", "0.4", "0")]
    )
    assert seen(tape) == [
        (0, d.STATUS, 0, 0, 0.0),
        (0, d.SNAPSHOT, d.BID, 4000, 100.0),
        (0, d.SNAPSHOT, d.BID, 3900, 50.5),
        (0, d.SNAPSHOT, d.ASK, 4200, 7.0),
        (5, d.LEVEL, d.ASK, 4150, 12.345678),
        (9, d.LEVEL, d.BID, 4000, 0.0),
    ]
    assert tape.events["local_ns"][-1] - tape.events["exch_ns"][-1] == 30 * MS
    assert tape.meta.contract_id == YES and tape.meta.ticker == MARKETS[1] and tape.meta.session == "hour"
    assert "smaller id" in tape.meta.title and tape.meta.has_trades == "recorded"
    assert tape.meta.grids == (polymarket_grid(50),)  # 0.415 lies on half cents
    assert tape.report.rows == 3 and tape.report.deltas == 2 and tape.report.snapshots == 1


def test_the_other_token_checks_the_book_and_adds_its_trades_only(tmp_path):
    rows = [
        OPENING,
        change(5, "SELL", "0.42", "3"),
        change(8, "BUY", "0.38", "1"),
        book(0, [("0.58", "7")], [("0.6", "100"), ("0.61", "50.5")], NO),
        change(5, "BUY", "0.58", "3", NO),
        trade(26, "SELL", "0.58", "4", NO),
    ]
    [tape] = tapes(tmp_path, rows)
    assert tape.report.details["mirror_checked"] == 3  # the book, the change at 5, the lone one at 8
    assert tape.report.details["mirror_equal"] == 2
    assert any("no mirror" in defect for defect in tape.report.defects)
    # Selling NO at 0.58 buys YES at 0.42, before the ask there fell by as much.
    assert (5, d.TRADE, d.BID, 4200, 4.0) in seen(tape)
    assert (
        seen(tape).index((5, d.TRADE, d.BID, 4200, 4.0))
        == seen(tape).index((5, d.LEVEL, d.ASK, 4200, 3.0)) - 1
    )
    assert tape.report.trades == 1 and tape.report.details["trades_with_cause"] == 1
    assert tape.report.details["fee_rate_bps"] == "0"


def test_the_other_token_tells_the_book_where_yes_has_none(tmp_path):
    rows = [
        change(3, "BUY", "0.4", "5"),
        book(0, [("0.58", "7")], [("0.6", "100")], NO),
        change(4, "SELL", "0.6", "5", NO),
    ]
    [tape] = tapes(tmp_path, rows)
    assert tape.report.details["book_of_other_token"] is True
    assert seen(tape)[1:] == [
        (0, d.SNAPSHOT, d.ASK, 4200, 7.0),
        (0, d.SNAPSHOT, d.BID, 4000, 100.0),
        (4, d.LEVEL, d.BID, 4000, 5.0),
    ]


def test_a_book_that_differs_wins_and_is_counted(tmp_path):
    same = book(5, [("0.39", "50.5"), ("0.4", "100")], [("0.42", "7.0")])
    other = book(7, [("0.40", "1")], [])
    [tape] = tapes(tmp_path, [change(-1, "BUY", "0.1", "1"), OPENING, same, other])
    assert (tape.report.snapshots_checked, tape.report.snapshots_equal) == (2, 1)
    assert seen(tape)[-1] == (7, d.SNAPSHOT, d.BID, 4000, 1.0)
    assert "1 level change before the first snapshot, left out" in tape.report.defects
    assert "1 snapshot that the replayed book did not equal; the snapshot won" in tape.report.defects


def test_ticks_change_the_grid_once_for_both_tokens(tmp_path):
    rows = [OPENING, tick(3, "0.01", "0.001"), change(4, "BUY", "0.411", "2"), tick(3, "0.01", "0.001", NO)]
    [tape] = tapes(tmp_path, rows)
    assert [grid.prices()[0] for grid in tape.meta.grids] == [100, 10]
    ticks = tape.events[tape.events["kind"] == d.TICK]
    assert ticks["aux"].tolist() == [1] and ticks["qty"].tolist() == [0]


def test_a_price_off_the_told_tick_makes_the_grid_finer_and_is_told(tmp_path):
    [tape] = tapes(tmp_path, [OPENING, tick(3, "0.001", "0.01"), change(4, "BUY", "0.411", "2")])
    assert [grid.prices()[0] for grid in tape.meta.grids] == [10, 10]
    assert "1 stretch with prices off the told tick, on a finer grid" in tape.report.defects


def test_venue_time_orders_and_disagreement_is_counted(tmp_path):
    rows = [OPENING, change(9, "BUY", "0.38", "1"), change(6, "BUY", "0.38", "2", lag=40)]
    [tape] = tapes(tmp_path, rows)
    assert seen(tape)[-2:] == [(6, d.LEVEL, d.BID, 3800, 2.0), (9, d.LEVEL, d.BID, 3800, 1.0)]
    assert (
        "1 row arrived behind one of a later venue time; the venue's time ordered them" in tape.report.defects
    )


def test_arrival_orders_equal_times(tmp_path):
    rows = [OPENING, change(6, "BUY", "0.38", "1"), change(6, "BUY", "0.38", "2")]
    [tape] = tapes(tmp_path, rows)
    assert [row[4] for row in seen(tape)[-2:]] == [1.0, 2.0]


def test_a_crossed_instant_loses_its_older_level(tmp_path):
    [tape] = tapes(tmp_path, [OPENING, change(5, "BUY", "0.43", "2")])
    assert seen(tape)[-1] == (5, d.LEVEL, d.ASK, 4200, 0.0)
    assert tape.events["bits"][-1] == d.SYNTHETIC


def test_what_rests_nowhere_is_left_out_and_counted(tmp_path):
    rows = [
        book(0, [("0", "5"), ("0.40", "1"), ("0.39", "0")], [("1", "9")]),
        change(2, "BUY", "0", "3"),
        change(3, "SELL", "1", "3"),
        trade(4, "BUY", "1", "2"),
        change(5, "BUY", "0.4", "2"),
    ]
    [tape] = tapes(tmp_path, rows)
    assert [row[1:] for row in seen(tape)[1:]] == [
        (d.SNAPSHOT, d.BID, 4000, 1.0),
        (d.LEVEL, d.BID, 4000, 2.0),
    ]
    assert "5 levels or trades at 0 or 1 dollar, left out" in tape.report.defects
    assert tape.report.rows == 5


def test_markets_without_book_are_told_and_trades_alone_make_a_tape_of_trades(tmp_path):
    rows = [
        change(1, "BUY", "0.4", "5", market=MARKETS[0]),
        OPENING,
        trade(3, "BUY", "0.42", "5", market=MARKETS[2], fee=200),
        change(1, "BUY", "0.4", "5", market=MARKETS[3]),
    ]
    out = import_recordings(pmxt.IMPORTER, [write(tmp_path / "h.parquet", rows)], tmp_path / "out")
    report = report_json(out)
    assert report["kinds"] == {"book": 1, "trades": 1}
    assert report["details"]["markets_left_out"] == 2 and report["details"]["rows_left_out"] == 2
    assert any("2 other markets of the file with 2 rows left out" in line for line in report["defects"])
    made = read_tape(out[1].path)
    assert made.meta.kind == "trades" and made.meta.quality["fee_rate_bps"] == "200"
    assert made.events["kind"].tolist() == [d.STATUS, d.TRADE] and made.events["aux"].tolist() == [
        d.ACTIVE,
        0,
    ]


def test_a_file_without_any_book_is_refused(tmp_path):
    assert "no market" in str(refused(tmp_path, [change(1, "BUY", "0.4", "5")]))
    assert "no rows" in str(refused(tmp_path, []))


def test_importing_twice_gives_the_same_bytes(tmp_path):
    path = write(
        tmp_path / "h.parquet", [OPENING, change(5, "BUY", "0.38", "1"), trade(9, "BUY", "0.42", "2")]
    )
    parts = [import_recordings(get_importer("pmxt"), [path], tmp_path / name)[0].path for name in "ab"]
    assert parts[0].read_bytes() == parts[1].read_bytes()


@pytest.mark.parametrize(
    ("index", "cells", "row", "key"),
    [
        (1, {"size": None}, 2, "size"),
        (1, {"price": None}, 2, "price"),
        (1, {"side": None}, 2, "side"),
        (1, {"side": "HOLD"}, 2, "side"),
        (1, {"event_type": "novel"}, 2, "event_type"),
        (1, {"event_type": None}, 2, "event_type"),
        (1, {"timestamp": None}, 2, "timestamp"),
        (1, {"timestamp_received": T0_MS - 1}, 2, "timestamp_received"),
        (1, {"asset_id": None}, 2, "asset_id"),
        (1, {"market": None}, 2, "market"),
        (1, {"price": Decimal("1.0001")}, 2, "price"),
        (1, {"price": Decimal("-0.1")}, 2, "price"),
        (1, {"size": Decimal(-1)}, 2, "size"),
        (1, {"market": MARKETS[0].encode()}, 2, "market"),
        (0, {"bids": None}, 1, "bids"),
        (0, {"asks": None}, 1, "asks"),
        (0, {"asks": "[[0.42, 7]]"}, 1, "asks"),
        (0, {"bids": '[["0.4","1"]'}, 1, "bids"),
        (0, {"bids": '[["0.40001","1"]]'}, 1, "bids"),
        (0, {"bids": '[["NaN","1"]]'}, 1, "bids"),
        (0, {"bids": '[["0.4","-1"]]'}, 1, "bids"),
        (2, {"new_tick_size": None}, 3, "new_tick_size"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path, index, cells, row, key):
    rows = [
        OPENING,
        change(5, "BUY", "0.38", "1"),
        tick(6, "0.01", "0.001"),
        change(5, "SELL", "0.62", "1", NO),
    ]
    rows[index] = rows[index] | cells
    error = refused(tmp_path, rows)
    assert (error.row, error.key) == (row, key), error


@pytest.mark.parametrize(("token", "words"), [(YES, "comes back"), ("95", "is a third one")])
def test_a_token_out_of_order_is_named(tmp_path, token, words):
    rows = [OPENING, change(5, "SELL", "0.62", "1", NO), change(6, "BUY", "0.38", "1", token)]
    error = refused(tmp_path, rows)
    assert (error.row, error.key) == (3, "asset_id") and words in error.message


def test_rows_are_counted_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(pmxt, "BATCH_ROWS", 3)
    rows = [OPENING, *(change(k, "BUY", "0.38", str(k)) for k in range(1, 9))]
    rows[7]["price"] = None
    error = refused(tmp_path, rows)
    assert (error.row, error.key) == (8, "price")


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (pa.field("price", pa.float64()), "decimal128"),
        (pa.field("timestamp", pa.int64()), "timestamp"),
        (pa.field("market", pa.string()), "fixed_size_binary"),
        (None, "missing"),
    ],
)
def test_another_schema_is_refused(tmp_path, field, wanted):
    table = pa.Table.from_pylist([OPENING], SCHEMA)
    name = "size" if field is None else field.name
    table = table.drop_columns([name])
    if field is not None:
        table = table.append_column(field, pa.nulls(1, field.type))
    pq.write_table(table, tmp_path / "hour.parquet")
    with pytest.raises(DataError) as caught:
        list(pmxt.read(tmp_path / "hour.parquet"))
    assert caught.value.key == name and wanted in caught.value.message


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "hour.parquet", [OPENING] * 50)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated or corrupt"):
        list(pmxt.read(path))
    with pytest.raises(DataError, match=r"expected \*.parquet"):
        pmxt.find([tmp_path / "empty"] if (tmp_path / "empty").mkdir() is None else [])


# --- a random market comes back --------------------------------------------------------------------

cents = {"BUY": st.integers(1, 49), "SELL": st.integers(51, 99)}
sizes = st.integers(0, 10**9)
changes = st.sampled_from(("BUY", "SELL")).flatmap(lambda side: st.tuples(st.just(side), cents[side], sizes))
steps = st.lists(st.one_of(changes, changes, changes, st.just("book")), min_size=1, max_size=40)


class Source:
    """A book of one token in cents and micro-contracts, and the archive rows that tell of it."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[int, int]] = {"BUY": {}, "SELL": {}}
        self.at_snapshots: list[dict[tuple[int, int], int]] = []

    def levels(self) -> dict[tuple[int, int], int]:
        return {
            (s, c * 100): q for s, side in enumerate(("BUY", "SELL")) for c, q in self.sides[side].items()
        }

    def book(self, at: int, market: str, token: str) -> dict[str, Any]:
        def told(side: str) -> Levels:
            mirror = token == NO
            shown = self.sides[("SELL" if side == "BUY" else "BUY") if mirror else side]
            return [
                (str(Decimal(100 - c if mirror else c) / 100), str(Decimal(q) / 10**6))
                for c, q in shown.items()
            ]

        return book(at, told("BUY"), told("SELL"), token, market)

    def change(self, at: int, side: str, cent: int, size: int, market: str) -> list[dict[str, Any]]:
        self.sides[side].pop(cent, None)
        if size:
            self.sides[side][cent] = size
        amount = Decimal(size) / 10**6
        other = "SELL" if side == "BUY" else "BUY"
        return [
            change(at, side, Decimal(cent) / 100, amount, YES, market),
            change(at, other, Decimal(100 - cent) / 100, amount, NO, market),
        ]


def replayed(tape) -> tuple[list[dict[tuple[int, int], int]], dict[tuple[int, int], int]]:
    """The book that the level changes had made by each later snapshot, and at the end."""
    running: dict[tuple[int, int], int] = {}
    before = []
    for event in tape.events:
        at = (int(event["side"]), int(event["price"]))
        if event["kind"] == d.SNAPSHOT:
            if event["bits"] & d.SNAP_FIRST:
                before.append(dict(running))
                running.clear()
            if event["price"]:
                running[at] = int(event["qty"])
        elif event["kind"] == d.LEVEL:
            running.pop(at, None)
            if event["qty"]:
                running[at] = int(event["qty"])
    return before[1:], running


@settings(max_examples=40)
@given(st.lists(steps, min_size=1, max_size=3), st.integers(1, 9), st.lists(st.integers(0, 2), min_size=5))
def test_a_random_market_is_rebuilt(all_steps, batch_rows, waits):
    sources, rows = [], []
    for market, market_steps in zip(MARKETS, all_steps, strict=False):
        source, yes, no, at = Source(), [], [], 0
        wait = itertools.cycle(waits)
        for step in ["book", *market_steps]:
            at += next(wait)
            if step == "book":
                source.at_snapshots.append(source.levels())
                yes.append(source.book(at, market, YES))
                no.append(source.book(at, market, NO))
            else:
                for told, row in zip((yes, no), source.change(at, *step, market), strict=True):
                    told.append(row)
        sources.append(source)
        rows += yes + no
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pmxt, "BATCH_ROWS", batch_rows)
        path = write(Path(folder) / "hour.parquet", rows, row_group_size=17)
        out = import_recordings(pmxt.IMPORTER, [path], Path(folder) / "out")
        for source, written in zip(sources, out, strict=True):
            tape = read_tape(written.path)
            at_snapshots, last = replayed(tape)
            assert at_snapshots == source.at_snapshots[1:]
            assert last == source.levels()
            report = written.report
            assert report.snapshots_checked == report.snapshots_equal == len(source.at_snapshots) - 1
            assert report.details["mirror_checked"] == report.details["mirror_equal"] > 0
            assert report.defects == ()


def test_books_spelled_in_another_way_read_the_same(tmp_path):
    rows = [OPENING, change(5, "BUY", "0.38", "1")]
    spaced = [OPENING | {"bids": '[ ["0.4000", "100"], ["0.39", "\\u0035\\u0030.5"] ]'}, rows[1]]
    assert np.array_equal(tapes(tmp_path, rows)[0].events, tapes(tmp_path, spaced)[0].events)


def test_snappy_and_dictionary_columns_read_the_same(tmp_path):
    rows = [OPENING, change(5, "BUY", "0.38", "1"), trade(9, "BUY", "0.42", "2")]
    plain = tapes(tmp_path, rows)[0].events
    text = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field(f.name, text) if f.name in ("asset_id", "side", "event_type") else f for f in SCHEMA]
    other = tapes(tmp_path, rows, schema=pa.schema(fields), compression="snappy")[0].events
    unencoded = tapes(tmp_path, rows, use_dictionary=False, data_page_size=16)[0].events
    assert np.array_equal(plain, other) and np.array_equal(plain, unencoded)


def test_another_parquet_file_is_named_with_the_column_that_it_lacks(tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match=r"other\.parquet: timestamp_received: the column is missing"):
        list(pmxt.read(path))
