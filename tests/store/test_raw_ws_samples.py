"""The folder of raw samples: every frame accounted for, books and prices as its README says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store.importers import get_importer, import_recordings, raw_ws_samples, report_json
from pr3dict.store.series import read_series
from pr3dict.store.tape import read_tape


@pytest.fixture(scope="module")
def written(data_dir, tmp_path_factory):
    folder = data_dir / "raw-ws-samples"
    return import_recordings(get_importer("raw-ws-samples"), [folder], tmp_path_factory.mktemp("tapes"))


def test_the_facts_of_its_readme(written):
    report = report_json(written)
    details = report["details"]
    assert report["kinds"] == {"book": 8, "reference": 9}
    assert (details["frames_orderbook_snapshot"], details["frames_orderbook_delta"]) == (5, 2885)
    assert details["frames_fill"] == 2
    assert sum(count for name, count in details.items() if name.startswith("frames_")) == 2898
    feeds = {name: count for name, count in details.items() if name.startswith("feed_")}
    assert feeds == {
        "feed_polymarket_clob": 447,
        "feed_polymarket_rtds_chainlink": 900,
        "feed_binance": 300,
        "feed_coinbase": 300,
    }
    assert sum(feeds.values()) == 1947
    assert (details["messages_book_asked_for"], details["messages_book"]) == (360, 180)
    assert (details["messages_price_change"], details["messages_new_market"]) == (40, 17)
    assert details["rest_answers"] > 0


def test_books_agree_with_their_mirrors_and_with_most_later_ones(written):
    books = [each for each in written if each.report.kind == "book"]
    for each in books:
        assert read_tape(each.path).meta.has_trades == "none"
        assert each.report.details.get("mirror_checked", 0) == each.report.details.get("mirror_equal", 0)
    checked = sum(each.report.snapshots_checked for each in books)
    assert checked == 267  # 270 books of three YES tokens, less the first of each
    assert sum(each.report.snapshots_equal for each in books) > 0.9 * checked


def test_prices_of_three_feeds_agree(written):
    last = {}
    for each in written:
        if each.report.kind == "reference":
            series = read_series(each.path)
            values = series.table.column("value").to_numpy() / 1e8
            assert (np.diff(series.table.column("exch_ns").to_numpy()) >= 0).all()
            last[each.report.market] = float(np.median(values))
            assert each.report.details["prices"] - each.report.details["prices_repeated"] == len(values)
    for chainlink, binance, coinbase in (
        (f"polymarket_rtds_chainlink-{coin}-usd", f"binance-{coin}usdt", f"coinbase-{coin}-usd")
        for coin in ("btc", "eth", "sol")
    ):
        assert last[chainlink] == pytest.approx(last[coinbase], rel=5e-3)
        assert last[binance] == pytest.approx(last[coinbase], rel=5e-3)


# --- hand-made feeds --------------------------------------------------------------------------------

BOOK = {
    "event_type": "book",
    "market": "0x1",
    "asset_id": "7",
    "timestamp": "1777428000000",
    "bids": [],
    "asks": [],
}


def folder(tmp_path: Path, *messages: tuple[str, Any]) -> Path:
    lines = [
        {"source": source, "recv_wall_ts": 1_777_428_000_050 + n, "payload": json.dumps(payload)}
        for n, (source, payload) in enumerate([("polymarket_clob", BOOK), *messages])
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / raw_ws_samples.MIXED).write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_prices_are_exact_to_a_hundred_millionth_and_kept_once(tmp_path):
    body = {"symbol": "btc/usd", "timestamp": 1_777_428_000_001, "value": 0.5}
    made = raw_ws_samples.read(
        folder(
            tmp_path,
            (
                "polymarket_rtds_chainlink",
                {"payload": body | {"full_accuracy_value": "76568123456785000000000"}},
            ),
            (
                "polymarket_rtds_chainlink",
                {
                    "payload": {
                        "symbol": "btc/usd",
                        "data": [{"timestamp": 1_777_428_000_000, "value": 76579.44275333079}],
                    }
                },
            ),
            (
                "polymarket_rtds_chainlink",
                {"payload": body | {"full_accuracy_value": "76568123456785000000000"}},
            ),
        )
    )
    [_, series] = list(made)
    assert series.table.column("value").to_pylist() == [7_657_944_275_333, 7_656_812_345_678]  # half to even
    assert series.table.column("exch_ns").to_pylist() == [
        1_777_428_000_000 * 10**6,
        1_777_428_000_001 * 10**6,
    ]
    assert series.report.details == {"prices": 3, "prices_repeated": 1}


@pytest.mark.parametrize(
    ("source", "payload", "words"),
    [
        ("kraken", {}, "unknown feed"),
        ("binance", {"data": {"s": "BTCUSDT", "p": "NaN", "T": 1_777_428_000_000}}, "no price"),
        ("binance", {"data": {"s": "BTCUSDT", "p": "1"}}, "missing required field"),
        ("coinbase", {"type": "ticker", "product_id": "BTC-USD", "time": "now", "price": "1"}, "ISO 8601"),
        ("coinbase", {"type": "ticker", "product_id": "BTC-USD"}, "without a price"),
        (
            "polymarket_rtds_chainlink",
            {"payload": {"symbol": "btc/usd", "value": 1}},
            "without time or value",
        ),
    ],
)
def test_a_wrong_price_is_named(tmp_path, source, payload, words):
    with pytest.raises(DataError, match=words) as caught:
        list(raw_ws_samples.read(folder(tmp_path, (source, payload))))
    assert caught.value.row == 2 and caught.value.file == tmp_path / raw_ws_samples.MIXED


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither"):
        raw_ws_samples.find([tmp_path])
