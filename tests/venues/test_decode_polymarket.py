"""Polymarket frames become the YES book that its two tokens show, or a refusal that says why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.decode import PolymarketDecoder

MS = 1_763_800_000_000
NOW_NS = 1_763_800_000_050_000_000
YES, NO = "7132", "5211"
Book = tuple[dict[int, int], dict[int, int]]


def decoder(tokens: dict[str, tuple[int, bool]] | None = None) -> tuple[PolymarketDecoder, d.Array]:
    """A decoder of market row 2 with grids 0 (cent) and 1 (tenth of a cent)."""
    out = np.zeros(20_000, d.EVENT)
    known = tokens if tokens is not None else {YES: (2, False), NO: (2, True)}
    return PolymarketDecoder(known, out, {100: 0, 10: 1}), out


def book(asset: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> dict[str, Any]:
    """A `book` message."""
    return {
        "event_type": "book",
        "market": "0xCond",
        "asset_id": asset,
        "timestamp": str(MS),
        "hash": "h",
        "bids": [{"price": p, "size": s} for p, s in bids],
        "asks": [{"price": p, "size": s} for p, s in asks],
    }


def change(*rows: tuple[str, str, str, str]) -> dict[str, Any]:
    """A `price_change` message of (asset, side, price, size)."""
    return {
        "event_type": "price_change",
        "market": "0xCond",
        "timestamp": str(MS),
        "price_changes": [
            {
                "asset_id": a,
                "side": s,
                "price": p,
                "size": q,
                "hash": "h",
                "best_bid": "0.1",
                "best_ask": "0.9",
            }
            for a, s, p, q in rows
        ],
    }


def trade(asset: str, side: str, price: str = "0.54", size: str = "12.5") -> dict[str, Any]:
    """A `last_trade_price` message."""
    return {
        "event_type": "last_trade_price",
        "asset_id": asset,
        "price": price,
        "size": size,
        "side": side,
        "fee_rate_bps": "0",
        "timestamp": str(MS),
    }


def raw(message: Any) -> bytes:
    """The frame of a message or of an array of them."""
    return json.dumps(message).encode()


def told(out: d.Array, count: int) -> list[tuple[int, int, int, int]]:
    """(kind, side, price, size) of the rows."""
    return [(int(r.kind), int(r.side), int(r.price), int(r.qty)) for r in out[:count]]


def test_book_and_changes_of_the_yes_token_make_the_book_and_those_of_no_only_repeat_it() -> None:
    decode, out = decoder()
    frames = [book(YES, [("0.52", "10")], [("0.54", "11.5")]), book(NO, [("0.46", "11.5")], [("0.48", "10")])]
    count = decode.decode(raw(frames), NOW_NS)
    assert told(out, count) == [(d.LEVEL, d.BID, 5_200, 10_000_000), (d.LEVEL, d.ASK, 5_400, 11_500_000)]
    assert set(out["market"][:count]) == {2} and set(out["exch_ns"][:count]) == {MS * 10**6}
    both = change((YES, "BUY", "0.52", "35"), (NO, "SELL", "0.48", "35"), (YES, "SELL", "0.54", "0"))
    count = decode.decode(raw(both), NOW_NS)
    assert told(out, count) == [(d.LEVEL, d.BID, 5_200, 35_000_000), (d.LEVEL, d.ASK, 5_400, 0)]
    assert not out["bits"][:count].any()
    count = decode.decode(raw(book(YES, [("0.51", "1")], [])), NOW_NS)  # what is gone goes first
    assert told(out, count) == [(d.LEVEL, d.BID, 5_200, 0), (d.LEVEL, d.BID, 5_100, 1_000_000)]


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(1, 999), st.integers(0, 10**5)),
        min_size=1,
        max_size=30,
    )
)
def test_no_token_alone_mirrors_the_yes_token_alone(rows: list[tuple[str, int, int]]) -> None:
    yes, yes_out = decoder({YES: (2, False)})
    no, no_out = decoder({NO: (2, True)})
    mirror = {"BUY": "SELL", "SELL": "BUY"}
    for side, mills, cents in rows:
        size = f"{cents / 100:g}"
        n = yes.decode(raw(change((YES, side, f"{mills / 1000:g}", size))), NOW_NS)
        m = no.decode(raw(change((NO, mirror[side], f"{(1000 - mills) / 1000:g}", size))), NOW_NS)
        assert n == m == 1 and yes_out[:1].tobytes() == no_out[:1].tobytes()


def test_book_of_the_no_token_alone_is_the_yes_book() -> None:
    yes, yes_out = decoder({YES: (2, False)})
    no, no_out = decoder({NO: (2, True)})
    bids, asks = [("0.5", "3"), ("0.52", "10")], [("0.54", "11.5"), ("0.6", "1")]
    n = yes.decode(raw(book(YES, bids, asks)), NOW_NS)
    mirrored = [[(f"{1 - float(p):g}", size) for p, size in side] for side in (asks, bids)]
    assert no.decode(raw(book(NO, mirrored[0], mirrored[1])), NOW_NS) == n == 4
    assert yes_out[:n].tobytes() == no_out[:n].tobytes()


def test_older_price_change_is_read_too() -> None:
    decode, out = decoder()
    older = {
        "event_type": "price_change",
        "asset_id": YES,
        "market": "0xCond",
        "timestamp": str(MS),
        "hash": "h",
        "changes": [
            {"price": "0.4", "side": "SELL", "size": "3300"},
            {"price": "0.3", "side": "BUY", "size": "10"},
        ],
    }
    count = decode.decode(raw(older), NOW_NS)
    assert told(out, count) == [(d.LEVEL, d.ASK, 4_000, 3_300_000_000), (d.LEVEL, d.BID, 3_000, 10_000_000)]


def test_trades_of_both_tokens_count_in_yes_terms() -> None:
    decode, out = decoder()
    cases = [
        (YES, "BUY", d.BID, 5_400),
        (YES, "SELL", d.ASK, 5_400),
        (NO, "BUY", d.ASK, 4_600),
        (NO, "SELL", d.BID, 4_600),
    ]
    for asset, word, side, price in cases:
        assert told(out, decode.decode(raw(trade(asset, word)), NOW_NS)) == [
            (d.TRADE, side, price, 12_500_000)
        ]
    assert decode.decode(raw(trade(YES, "NEITHER")), NOW_NS) == 0 and decode.ignored == 1


def test_tick_change_names_the_grid() -> None:
    decode, out = decoder()
    message = {
        "event_type": "tick_size_change",
        "asset_id": YES,
        "old_tick_size": "0.01",
        "new_tick_size": "0.001",
        "timestamp": str(MS),
    }
    assert decode.decode(raw(message), NOW_NS) == 1 and (out[0].kind, out[0].aux) == (d.TICK, 1)
    assert decode.decode(raw(message | {"asset_id": NO}), NOW_NS) == 0  # the same news of the other token
    with pytest.raises(DataError, match=r"new_tick_size.*'0\.005'"):
        decode.decode(raw(message | {"new_tick_size": "0.005"}), NOW_NS)


def test_what_is_of_no_interest_is_counted_not_refused() -> None:
    decode, _ = decoder()
    assert decode.decode(b"PONG", NOW_NS) == 0 and decode.decode(b"[]", NOW_NS) == 0
    assert decode.ignored == 0
    others = [
        {"event_type": "best_bid_ask", "asset_id": YES, "best_bid": "0.5"},
        {"event_type": "new_market", "id": "9"},
        book("99", [], []),
        change(("99", "BUY", "0.5", "1")),
    ]
    assert decode.decode(raw(others), NOW_NS) == 0 and decode.ignored == 4


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (change((YES, "BUY", "0.5.2", "1")), ["price_changes", "'0.5.2'"]),
        (change((YES, "BUY", "0.52", "")), ["price_changes", "''"]),
        (change((YES, "BUY", "0.52", "-1")), ["price_changes", "'-1'", "negative"]),
        (change((YES, "HOLD", "0.52", "1")), ["price_changes.side", "'HOLD'"]),
        (change((YES, "BUY", "1.2", "1")), ["price_changes", "'1.2'"]),
        (change() | {"timestamp": "soon"}, ["timestamp", "'soon'"]),
        (change() | {"price_changes": None}, ["price_changes"]),
        (book(YES, [("nan", "1")], []), ["bids", "'nan'"]),
        (trade(YES, "BUY", size="1,5"), ["size", "'1,5'"]),
        (trade(YES, "BUY") | {"price": 0.54}, ["price", "0.54", "str"]),
        ({"event_type": "book", "asset_id": YES, "timestamp": str(MS), "bids": []}, ["asks"]),
        ({"no_event": 1}, ["event_type"]),
    ],
)
def test_what_the_format_forbids_is_refused_with_field_and_value(message: Any, words: list[str]) -> None:
    decode, _ = decoder()
    with pytest.raises(DataError) as caught:
        decode.decode(raw(message), NOW_NS)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", [b"hello", b'[{"event_type":', b""])
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    decode, _ = decoder()
    with pytest.raises(DataError):
        decode.decode(text, NOW_NS)


def test_recorded_frames(data_dir: Path) -> None:
    """Recorded production frames: books are uncrossed and the two tokens of a market mirror each other."""
    path = data_dir / "raw-ws-samples" / "polymarket-15m-mixed-raw_messages.jsonl.gz"
    with gzip.open(path) as lines:
        records = [json.loads(line) for line in lines]
    frames = [
        r["payload"] for r in records if r["source"] == "polymarket_clob" and '"event_type"' in r["payload"]
    ]
    pairs: dict[str, list[str]] = {}
    for text in frames:
        parsed = json.loads(text)
        for message in parsed if isinstance(parsed, list) else [parsed]:
            assets = [c["asset_id"] for c in message.get("price_changes", [])] + [message.get("asset_id")]
            for asset in filter(None, assets):
                known = pairs.setdefault(message["market"], [])
                known += [asset] if asset not in known else []
    assert pairs and all(len(tokens) == 2 for tokens in pairs.values())
    first = {tokens[0]: (i, False) for i, tokens in enumerate(pairs.values())}
    second = {tokens[1]: (i, True) for i, tokens in enumerate(pairs.values())}
    decode_first, out_first = decoder(first)
    decode_second, out_second = decoder(second)
    rows = changes = 0
    for text in frames:
        if '"price_change"' in text:  # one frame tells both tokens the same
            n = decode_first.decode(text.encode(), NOW_NS)
            assert decode_second.decode(text.encode(), NOW_NS) == n
            assert out_first[:n].tobytes() == out_second[:n].tobytes()
            changes += n
        else:
            n = decode_first.decode(text.encode(), NOW_NS)
            levels = out_first[:n]
            for market in set(levels["market"]):
                mine = levels[(levels["market"] == market) & (levels["qty"] > 0)]
                bids, asks = mine[mine["side"] == d.BID]["price"], mine[mine["side"] == d.ASK]["price"]
                assert not len(bids) or not len(asks) or bids.max() < asks.min()
        rows += n
    assert changes >= 40 and rows > 400
