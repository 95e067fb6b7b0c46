"""Kalshi frames become what a slow `Decimal` book of both sides shows, or a refusal that says why."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.decode import KalshiDecoder

T0_MS = 1_795_355_184_000
NOW_NS = 1_795_355_184_100_000_000
Book = tuple[dict[int, int], dict[int, int]]


def frame(kind: str, msg: dict[str, Any], seq: int = 1) -> bytes:
    """One WebSocket frame."""
    return json.dumps({"type": kind, "sid": 4, "seq": seq, "msg": msg}).encode()


def snapshot(yes: list[list[str]] | None, no: list[list[str]] | None) -> bytes:
    """A snapshot frame; None leaves the side out, as the venue does."""
    msg: dict[str, Any] = {"market_ticker": "KXA-1", "market_id": "x"}
    msg |= {"yes_dollars_fp": yes} if yes is not None else {}
    msg |= {"no_dollars_fp": no} if no is not None else {}
    return frame("orderbook_snapshot", msg)


def delta(side: str, price: str, change: str, **more: Any) -> bytes:
    """A delta frame."""
    msg = {"market_ticker": "KXA-1", "price_dollars": price, "delta_fp": change, "side": side, "ts_ms": T0_MS}
    return frame("orderbook_delta", msg | more)


def decoder(**options: Any) -> tuple[KalshiDecoder, d.Array]:
    """A decoder that knows KXA-1 as row 5."""
    out = np.zeros(20_000, d.EVENT)
    return KalshiDecoder({"KXA-1": 5}, out, **options), out


def apply(book: Book, rows: d.Array) -> None:
    """LEVEL rows onto a dict book."""
    for row in rows:
        if row.kind == d.LEVEL:
            book[row.side].pop(int(row.price), None)
            if row.qty:
                book[row.side][int(row.price)] = int(row.qty)


class SlowBook:
    """Kalshi's own two-sided book of bids, in `Decimal`."""

    def __init__(self) -> None:
        self.bids: dict[str, dict[Decimal, Decimal]] = {"yes": {}, "no": {}}

    def change(self, side: str, price: str, change: str) -> None:
        levels = self.bids[side]
        levels[Decimal(price)] = levels.get(Decimal(price), Decimal(0)) + Decimal(change)
        if levels[Decimal(price)] <= 0:
            del levels[Decimal(price)]

    def in_yes_terms(self) -> Book:
        bids = {int(p * 10_000): int(q * 10**6) for p, q in self.bids["yes"].items()}
        asks = {int((1 - p) * 10_000): int(q * 10**6) for p, q in self.bids["no"].items()}
        return bids, asks


@settings(max_examples=60)
@given(
    start=st.lists(
        st.tuples(st.integers(1, 999), st.integers(1, 10**6)), max_size=10, unique_by=lambda x: x[0]
    ),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 999), st.integers(-300, 300)), max_size=40),
)
def test_deltas_add_up_to_the_slow_book(
    start: list[tuple[int, int]], steps: list[tuple[bool, int, int]]
) -> None:
    decode, out = decoder()
    slow = SlowBook()
    book: Book = ({}, {})
    levels = [[f"{p / 1000:.4f}", f"{q / 100:.2f}"] for p, q in start]
    for price, size in levels:
        slow.change("no", price, size)
    apply(book, out[: decode.decode(snapshot(None, levels), NOW_NS)])
    for is_no, price, cents in steps:
        side, text = ("no" if is_no else "yes"), f"{price / 1000:.4f}"
        resting = slow.bids[side].get(Decimal(text), Decimal(0))
        change = f"{max(Decimal(cents) / 100, -resting):.2f}"
        slow.change(side, text, change)
        count = decode.decode(delta(side, text, change), NOW_NS)
        assert (
            count == 1
            and out[0].market == 5
            and out[0].exch_ns == T0_MS * 10**6
            and out[0].local_ns == NOW_NS
        )
        apply(book, out[:count])
        assert book == slow.in_yes_terms()


def test_no_levels_are_yes_asks_unless_subscribed_in_yes_prices() -> None:
    for in_yes_terms, price in ((False, 4_700), (True, 5_300)):
        decode, out = decoder(no_side_in_yes_price=in_yes_terms)
        assert decode.decode(snapshot([["0.4500", "10.00"]], [["0.5300", "5.00"]]), NOW_NS) == 2
        assert out["side"][:2].tolist() == [d.BID, d.ASK]
        assert out["price"][:2].tolist() == [4_500, price]
        assert decode.decode(delta("no", "0.5300", "-1.25"), NOW_NS) == 1
        assert (out[0].side, out[0].price, out[0].qty) == (d.ASK, price, 3_750_000)


def test_trade_takes_the_taker_side() -> None:
    decode, out = decoder()
    msg = {"market_ticker": "KXA-1", "yes_price_dollars": "0.4500", "count_fp": "4.00", "ts_ms": T0_MS}
    for word, side in (("no", d.ASK), ("yes", d.BID)):
        assert decode.decode(frame("trade", msg | {"taker_outcome_side": word}), NOW_NS) == 1
        assert (out[0].kind, out[0].side, out[0].price, out[0].qty) == (d.TRADE, side, 4_500, 4_000_000)
    assert decode.decode(frame("trade", msg | {"taker_side": "no"}), NOW_NS) == 1
    assert decode.decode(frame("trade", msg | {"taker_outcome_side": "maybe"}), NOW_NS) == 0
    assert decode.ignored == 1


def test_ticker_is_kept_and_moves_no_book() -> None:
    decode, _ = decoder()
    msg = {
        "market_ticker": "KXA-1",
        "price_dollars": "0.4600",
        "yes_bid_dollars": "0.0000",
        "yes_ask_dollars": "1.0000",
        "volume_fp": "900.50",
        "yes_bid_size_fp": "6.00",
        "ts_ms": T0_MS,
        "ts": 1,
        "brand_new_field": {"x": 1},
    }
    assert decode.decode(frame("ticker", msg, seq=9), NOW_NS) == 0
    ticker = decode.ticker
    assert ticker is not None and (decode.sid, decode.seq) == (4, 9)
    assert (ticker.market, ticker.last_price, ticker.bid_price, ticker.ask_price) == (5, 4_600, 0, 10_000)
    assert (ticker.volume, ticker.bid_size, ticker.last_trade_size) == (900_500_000, 6_000_000, -1)


def test_time_never_runs_back_and_stands_in_where_missing() -> None:
    decode, out = decoder()
    decode.decode(snapshot([["0.4500", "10.00"]], None), NOW_NS)
    assert out[0].exch_ns == NOW_NS  # nothing known yet: when it was received
    decode.decode(delta("yes", "0.4500", "1.00", ts_ms=T0_MS + 50), NOW_NS)
    decode.decode(delta("yes", "0.4500", "1.00", ts_ms=T0_MS + 20), NOW_NS)
    assert out[0].exch_ns == (T0_MS + 50) * 10**6
    decode.decode(snapshot([["0.4500", "10.00"]], None), NOW_NS + 7)
    assert out[0].exch_ns == (T0_MS + 50) * 10**6


def test_frames_of_no_interest_are_counted_not_refused() -> None:
    decode, _ = decoder()
    for raw in (
        b'{"id":1,"type":"subscribed","msg":{"channel":"orderbook_delta","sid":1}}',
        b'{"id":3,"sid":4,"seq":9,"type":"ok","msg":{"market_tickers":[]}}',
        b'{"type":"something_of_next_year","sid":1,"msg":[1,2]}',
        delta("yes", "0.4500", "1.00", market_ticker="KXOTHER"),
    ):
        assert decode.decode(raw, NOW_NS) == 0
    assert decode.ignored == 4


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (delta("yes", "0.45x", "1.00"), ["msg.price_dollars", "'0.45x'"]),
        (delta("yes", "0.4500", ""), ["msg.delta_fp", "''"]),
        (delta("yes", "0.4500", "1e3"), ["msg.delta_fp", "'1e3'"]),
        (delta("yes", "1.0000", "1.00"), ["msg.price_dollars", "'1.0000'"]),
        (delta("maybe", "0.4500", "1.00"), ["msg.side", "'maybe'"]),
        (delta("yes", "0.4500", "1.00", ts_ms=-1), ["msg.ts_ms", "-1"]),
        (delta("yes", 0.45, "1.00"), ["msg.price_dollars", "0.45", "str"]),  # type: ignore[arg-type]
        (delta("yes", "0.4500", "-99.00"), ["KXA-1", "'-99.00'", "subscribe anew"]),
        (frame("orderbook_delta", {"market_ticker": "KXA-1", "side": "yes"}), ["price_dollars", "msg"]),
        (snapshot([["0.4500", "-1.00"]], None), ["msg.yes_dollars_fp", "'-1.00'", "negative"]),
        (snapshot(None, [["0.4500"]]), ["msg.no_dollars_fp", "length"]),
        (b'{"type":"orderbook_delta","msg":', ["message"]),
        (b"hello", ["message", "hello"]),
        (b'{"sid":1}', ["type"]),
    ],
)
def test_what_the_format_forbids_is_refused_with_field_and_value(raw: bytes, words: list[str]) -> None:
    decode, out = decoder()
    decode.decode(snapshot([["0.4500", "10.00"]], [["0.5000", "10.00"]]), NOW_NS)
    with pytest.raises(DataError) as caught:
        decode.decode(raw, NOW_NS)
    for word in words:
        assert word in str(caught.value)
    assert decode.decode(delta("yes", "0.4500", "1.00"), NOW_NS) == 1  # and the book is as before
    assert out[0].qty == 11_000_000


def test_delta_needs_a_snapshot_first_and_again_after_a_reset() -> None:
    decode, _ = decoder()
    for _ in range(2):
        with pytest.raises(DataError, match="before the market's snapshot"):
            decode.decode(delta("yes", "0.4500", "1.00"), NOW_NS)
        decode.decode(snapshot([["0.4500", "1.00"]], None), NOW_NS)
        assert decode.decode(delta("yes", "0.4500", "1.00"), NOW_NS) == 1
        decode.reset()


def test_recorded_frames_of_the_demo_exchange(data_dir: Path) -> None:
    path = data_dir / "raw-ws-samples" / "kalshi-demo-session.jsonl.gz"
    with gzip.open(path) as lines:
        frames = [line.strip() for line in lines if line.strip()]
    parsed = [json.loads(line) for line in frames]
    tickers = sorted({f["msg"]["market_ticker"] for f in parsed if f["type"].startswith("orderbook")})
    out = np.zeros(20_000, d.EVENT)
    decode = KalshiDecoder({ticker: i for i, ticker in enumerate(tickers)}, out)
    books: list[Book] = [({}, {}) for _ in tickers]
    slow = {ticker: SlowBook() for ticker in tickers}
    for raw, message in zip(frames, parsed, strict=True):
        count = decode.decode(raw, NOW_NS)
        for row in out[:count]:
            apply(books[row.market], [row])  # type: ignore[arg-type]
        msg = message.get("msg", {})
        if message["type"] == "orderbook_snapshot":
            slow[msg["market_ticker"]] = SlowBook()
            for side in ("yes", "no"):
                for price, size in msg.get(f"{side}_dollars_fp", []):
                    slow[msg["market_ticker"]].change(side, price, size)
        elif message["type"] == "orderbook_delta":
            slow[msg["market_ticker"]].change(msg["side"], msg["price_dollars"], msg["delta_fp"])
        else:
            assert count == 0
    assert len(frames) > 2_800 and len(tickers) == 5
    for i, ticker in enumerate(tickers):
        assert books[i] == slow[ticker].in_yes_terms()


def test_recorded_production_messages_agree_with_the_ticker(data_dir: Path) -> None:
    """Level changes of a recorded session lead to the best prices that its ticker tells, nearly always."""
    session = next((data_dir / "kalshi-kxbtc15m-l2-a" / "sessions").glob("*T1541Z"))
    records: list[dict[str, Any]] = []
    for kind in ("orderbook_snapshot", "orderbook_delta", "ticker"):
        for path in session.glob(f"{kind}.*"):
            with gzip.open(path) as lines:
                records += [json.loads(line) for _, line in zip(range(12_000), lines, strict=False)]
    records.sort(key=lambda r: (r["local_recv_ns"], r["sequence_number"] or 0))
    tickers = sorted({r["market_ticker"] for r in records})
    out = np.zeros(20_000, d.EVENT)
    decode = KalshiDecoder({ticker: i for i, ticker in enumerate(tickers)}, out)
    books: list[Book] = [({}, {}) for _ in tickers]
    checked = agreed = deltas = 0
    for record in records:
        kind = record["event_type"]
        raw = frame(kind, record["payload_json"], record["sequence_number"] or 0)
        count = decode.decode(raw, record["local_recv_ns"])
        for row in out[:count]:
            apply(books[row.market], [row])  # type: ignore[arg-type]
        deltas += kind == "orderbook_delta"
        if kind == "ticker" and deltas < 12_000 and decode.ticker is not None:
            bids, asks = books[decode.ticker.market]
            if bids and asks:
                checked += 1
                agreed += (max(bids), min(asks)) == (decode.ticker.bid_price, decode.ticker.ask_price)
    assert decode.ignored == 0 and checked > 50
    assert agreed / checked > 0.8
