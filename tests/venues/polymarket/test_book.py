"""One book of two tokens: mirrored, never doubled, checked by touch and hash, equal to what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import (
    BookDecoder,
    BookSpec,
    Hash,
    Other,
    TickChange,
    YesBook,
    token_hash,
)
from pr3dict.venues.polymarket.book_frames import BookLost, messages
from venues.polymarket.recorded import as_frame, in_yes, mlb_messages

MS = 1_763_800_000_000
NOW_NS = 1_763_800_000_050_000_000
YES, NO = "7132", "5211"
SPEC = BookSpec(market=2, condition="0xCond", yes=YES, no=NO, tick=100, min_size=5_000_000, neg_risk=False)


def decoder(*specs: BookSpec) -> tuple[BookDecoder, d.Array]:
    out = np.zeros(20_480, d.EVENT)
    decode = BookDecoder(out)
    for spec in specs or (SPEC,):
        decode.add(spec)
    return decode, out


def book(
    asset: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], ms: int = MS, **more: Any
) -> bytes:
    listed = [[{"price": p, "size": s} for p, s in side] for side in (bids, asks)]
    said = {"event_type": "book", "market": "0xCond", "asset_id": asset, "timestamp": str(ms), "hash": "h"}
    return json.dumps({**said, "bids": listed[0], "asks": listed[1], "last_trade_price": "", **more}).encode()


def change(*rows: tuple[str, str, str, str], ms: int = MS + 1, touch: tuple[str, str] | None = None) -> bytes:
    """Rows are (asset, side, price, size); `touch` is what the last one states."""
    said = [{"asset_id": a, "side": s, "price": p, "size": q, "hash": "h"} for a, s, p, q in rows]
    if touch is not None:
        said[-1] |= {"best_bid": touch[0], "best_ask": touch[1]}
    body = {"event_type": "price_change", "market": "0xCond", "timestamp": str(ms), "price_changes": said}
    return json.dumps(body).encode()


def told(out: d.Array, count: int) -> list[tuple[int, int, int, int]]:
    return [(int(r["kind"]), int(r["side"]), int(r["price"]), int(r["qty"])) for r in out[:count]]


WHOLE = book(YES, [("0.52", "10")], [("0.54", "11.5")])


def test_a_whole_book_comes_first_and_what_came_before_it_counts_for_nothing() -> None:
    decode, out = decoder()
    assert decode.decode(change((YES, "BUY", "0.5", "1")), NOW_NS) == (0, None)
    count, _ = decode.decode(WHOLE, NOW_NS)
    assert told(out, count) == [
        (d.SNAPSHOT, d.BID, 5_200, 10_000_000),
        (d.SNAPSHOT, d.ASK, 5_400, 11_500_000),
    ]
    assert [int(b) for b in out["bits"][:count]] == [d.SNAP_FIRST, d.SNAP_LAST]
    empty, _ = decode.decode(book(YES, [], [], MS + 5), NOW_NS)
    assert empty == 1 and int(out[0]["bits"]) == d.SNAP_FIRST | d.SNAP_LAST and int(out[0]["qty"]) == 0


def test_both_tokens_tell_one_change_once() -> None:
    decode, out = decoder()
    decode.decode(WHOLE, NOW_NS)
    assert decode.decode(book(NO, [("0.46", "11.5")], [("0.48", "10")]), NOW_NS)[0] == 0
    both = change((YES, "BUY", "0.52", "35"), (NO, "SELL", "0.48", "35"))
    assert told(out, decode.decode(both, NOW_NS)[0]) == [(d.LEVEL, d.BID, 5_200, 35_000_000)]
    assert decode.decode(both, NOW_NS)[0] == 0  # the same total again
    alone = change((NO, "BUY", "0.46", "3"))  # an ask for YES that only the NO token tells
    assert told(out, decode.decode(alone, NOW_NS)[0]) == [(d.LEVEL, d.ASK, 5_400, 3_000_000)]
    assert decode.mirrors_differ == 0
    decode.decode(change((YES, "BUY", "0.52", "5"), (NO, "SELL", "0.48", "6")), NOW_NS)
    assert decode.mirrors_differ == 1 and decode.books["0xCond"].sides[0] == {5_200: 5_000_000}


def test_the_no_token_s_book_is_taken_where_the_yes_token_s_did_not_come() -> None:
    decode, out = decoder()
    count, _ = decode.decode(book(NO, [("0.46", "11.5")], [("0.48", "10")]), NOW_NS)
    assert told(out, count) == [
        (d.SNAPSHOT, d.BID, 5_200, 10_000_000),
        (d.SNAPSHOT, d.ASK, 5_400, 11_500_000),
    ]


def test_an_older_book_is_no_news() -> None:
    decode, _ = decoder()
    decode.decode(book(YES, [("0.5", "1")], [], MS + 10), NOW_NS)
    assert decode.decode(book(YES, [("0.4", "1")], [], MS + 9), NOW_NS)[0] == 0
    assert decode.books["0xCond"].best == [5_000, -1]


def test_the_no_token_s_book_of_the_same_moment_takes_nothing_back() -> None:
    decode, _ = decoder()
    decode.decode(WHOLE, NOW_NS)
    decode.decode(change((YES, "BUY", "0.52", "35"), (NO, "SELL", "0.48", "35"), ms=MS), NOW_NS)
    assert decode.decode(book(NO, [("0.46", "11.5")], [("0.48", "10")]), NOW_NS)[0] == 0
    assert decode.books["0xCond"].sides[0] == {5_200: 35_000_000}


def test_a_touch_that_is_not_ours_thrice_makes_the_book_worthless() -> None:
    decode, _ = decoder()
    decode.decode(WHOLE, NOW_NS)
    wrong = change((YES, "BUY", "0.4", "1"), touch=("0.53", "0.54"))
    right = change((YES, "BUY", "0.4", "1"), touch=("0.52", "0.54"))
    mirrored = change((NO, "SELL", "0.6", "1"), touch=("0.46", "0.48"))
    for raw in (wrong, wrong, right, wrong, wrong, mirrored, wrong, wrong):
        decode.decode(raw, NOW_NS)
    with pytest.raises(BookLost, match="bid and ask") as caught:
        decode.decode(wrong, NOW_NS)
    assert caught.value.market == 2


@pytest.mark.parametrize("stated", [("", ""), ("0", "0"), ("0", "1"), ("0.00", "1.00")])
def test_an_empty_side_is_stated_in_many_ways(stated: tuple[str, str]) -> None:
    decode, _ = decoder()
    decode.decode(book(YES, [("0.5", "1")], []), NOW_NS)
    decode.decode(change((YES, "BUY", "0.5", "0"), touch=stated), NOW_NS)
    assert decode.books["0xCond"].doubts == 0


def test_a_tick_change_begins_a_new_book() -> None:
    decode, out = decoder()
    decode.decode(WHOLE, NOW_NS)
    tick = {"event_type": "tick_size_change", "asset_id": YES, "timestamp": str(MS + 2)}
    tick |= {"new_tick_size": "0.001"}
    assert decode.decode(json.dumps(tick).encode(), NOW_NS) == (0, TickChange(2, 10, (MS + 2) * 10**6))
    assert decode.decode(json.dumps(tick | {"asset_id": NO}).encode(), NOW_NS) == (0, None)
    assert decode.decode(change((YES, "BUY", "0.5", "1")), NOW_NS)[0] == 0  # no base
    count, said = decode.decode(book(YES, [("0.521", "1")], [], MS + 3, tick_size="0.001"), NOW_NS)
    assert told(out, count) == [(d.SNAPSHOT, d.BID, 5_210, 1_000_000)] and said is None


def test_a_book_on_another_tick_tells_the_change_that_was_missed() -> None:
    decode, _ = decoder()
    decode.decode(WHOLE, NOW_NS)
    count, said = decode.decode(book(YES, [("0.521", "1")], [], MS + 3, tick_size="0.001"), NOW_NS)
    assert count == 1 and said == TickChange(2, 10, (MS + 3) * 10**6)


def test_trades_of_both_tokens_in_yes_terms() -> None:
    decode, out = decoder()
    for asset, word, side, price in [
        (YES, "BUY", d.BID, 5_400), (YES, "SELL", d.ASK, 5_400),
        (NO, "BUY", d.ASK, 4_600), (NO, "SELL", d.BID, 4_600),
    ]:  # fmt: skip
        raw = {"event_type": "last_trade_price", "asset_id": asset, "timestamp": str(MS), "side": word}
        raw |= {"price": "0.54", "size": "2"}
        assert told(out, decode.decode(json.dumps(raw).encode(), NOW_NS)[0]) == [
            (d.TRADE, side, price, 2_000_000)
        ]


def test_other_messages_are_handed_on_and_unknown_tokens_counted() -> None:
    decode, _ = decoder()
    raw = b'{"event_type":"market_resolved","market":"0xCond"}'
    assert decode.decode(raw, NOW_NS) == (0, Other("market_resolved", raw))
    assert decode.decode(book("99", [], []), NOW_NS) == (0, None) and decode.ignored == 1
    assert (
        messages(b"PONG") == []
        and messages(b"") == []
        and len(messages(b"[" + WHOLE + b"," + WHOLE + b"]")) == 2
    )


@pytest.mark.parametrize(
    ("raw", "market"),
    [
        (change((YES, "BUY", "0.5", "")), 2),
        (change((YES, "HOLD", "0.5", "1")), 2),
        (change((YES, "BUY", "1.5", "1")), 2),
        (change((YES, "BUY", "0.5", "-1")), 2),
        (change((YES, "BUY", "0.5", "1"), touch=("1e5", "0.6")), 2),
        (book(YES, [("0.5", "1"), ("0.50", "2")], []), 2),
        (book(YES, [("0.5", "1")], [], tick_size="x"), 2),
        (b'{"event_type":"book","asset_id":"7132"}', 2),
        (b'{"event_type":"price_change","market":"0xCond","timestamp":"1"}', 2),
        (b'{"event_type":"price_change","market":"0xElse","timestamp":"1"}', -1),
        (b'{"event_type"', -1),
        (b'{"no":1}', -1),
    ],
)
def test_what_can_t_be_read_names_the_book_that_lost_it(raw: bytes, market: int) -> None:
    decode, _ = decoder()
    decode.decode(WHOLE, NOW_NS)
    before = decode.books["0xCond"].levels()
    with pytest.raises(BookLost) as caught:
        decode.decode(raw, NOW_NS)
    assert caught.value.market == market and decode.books["0xCond"].levels() == before


def test_the_known_hash_of_a_book() -> None:
    token = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
    spec = BookSpec(
        market=0, condition="0x" + "ab" * 32, yes=token, no=NO, tick=100, min_size=5_000_000, neg_risk=False
    )
    known = YesBook(spec)
    known.replace({5_100: 10_000_000, 5_200: 10_000_000}, {5_500: 10_000_000, 5_400: 10_000_000})
    found = token_hash(known, is_no=False, timestamp="1700000000000", last_trade="0.53")
    assert found == "44d2b579af67a83e4ffd0a0a780fb5f4e241e979"


def test_a_hash_that_differs_proves_a_wrong_book_unless_there_was_a_trade() -> None:
    decode, _ = decoder()
    decode.decode(WHOLE, NOW_NS)
    known = decode.books["0xCond"]
    right = token_hash(known, is_no=False, timestamp=str(MS + 1), last_trade="")
    known.stated = (False, str(MS + 1), right)
    assert decode.verify(known) is Hash.MATCHES
    known.set(d.BID, 5_100, 1)
    assert decode.verify(known) is Hash.UNKNOWN  # so far only a whole book's hash has matched
    known.hashable = True
    assert decode.verify(known) is Hash.DIFFERS
    known.traded = True
    assert decode.verify(known) is Hash.UNKNOWN


PRICES = st.integers(1, 99)
ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["BUY", "SELL"]), PRICES, st.integers(0, 5)), max_size=40
)


@settings(max_examples=60)
@given(rows=ROWS)
def test_any_changes_leave_the_book_that_a_slow_reference_has(
    rows: list[tuple[bool, str, int, int]],
) -> None:
    decode, out = decoder()
    decode.decode(book(YES, [], []), NOW_NS)
    slow: dict[tuple[int, int], int] = {}
    fast: dict[tuple[int, int], int] = {}
    for n, (is_no, word, cents, size) in enumerate(rows):
        raw = change((NO if is_no else YES, word, f"{cents / 100:g}", str(size)), ms=MS + n)
        count, _ = decode.decode(raw, NOW_NS)
        side = d.BID if (word == "BUY") != is_no else d.ASK
        slow[side, 10_000 - cents * 100 if is_no else cents * 100] = size * 10**6
        fast.update({(int(r["side"]), int(r["price"])): int(r["qty"]) for r in out[:count]})
    kept = {level: size for level, size in slow.items() if size}
    assert {level: size for level, size in fast.items() if size} == kept
    found = decode.books["0xCond"]
    assert {(side, p): q for side in (0, 1) for p, q in found.sides[side].items()} == kept
    bids, asks = ([p for s, p in kept if s == side] for side in (d.BID, d.ASK))
    assert found.best == [max(bids, default=-1), min(asks, default=-1)]


@st.composite
def pairs(draw: st.DrawFn) -> list[Any]:
    """Two rows of a frame and its touch: one level told by both tokens, unless something is changed."""
    cents, size = draw(st.integers(40, 60)), draw(st.sampled_from(["0", "7", "7.5"]))
    buys, yes_first = draw(st.booleans()), draw(st.booleans())
    rows = [
        [YES, "BUY" if buys else "SELL", f"{cents / 100:g}", size],
        [NO, "SELL" if buys else "BUY", f"{(100 - cents) / 100:g}", size],
    ]
    rows = rows if yes_first else rows[::-1]
    odd = draw(st.sampled_from([None, None, None, (0, "8"), (1, "BID"), (2, "1.5"), (2, "0.33"), (3, "x")]))
    if odd is not None:
        rows[draw(st.integers(0, 1))][odd[0]] = odd[1]
    touch = draw(st.sampled_from([None, ("0.52", "0.54"), ("0.46", "0.48"), ("", "0"), ("x", "0.5")]))
    return [*rows, touch]


@settings(max_examples=150)
@given(frames=st.lists(pairs(), max_size=12))
def test_the_quick_way_of_the_usual_frame_is_the_way_of_all_frames(frames: list[list[Any]]) -> None:
    """The same decoder without that way makes the same of each frame."""
    (quick, quick_out), (slow, slow_out) = decoder(), decoder()
    slow._on_pair = lambda *_: False  # type: ignore[method-assign]
    for decode in (quick, slow):
        decode.decode(WHOLE, NOW_NS)
    for n, (one, two, touch) in enumerate(frames):
        raw = change(tuple(one), tuple(two), ms=MS + n, touch=touch)
        found = [made(quick, quick_out, raw, NOW_NS + n), made(slow, slow_out, raw, NOW_NS + n)]
        assert found[0] == found[1]


def made(decode: BookDecoder, out: d.Array, raw: bytes, now_ns: int) -> list[Any]:
    """Everything that a frame leads to."""
    known = decode.books["0xCond"]
    try:
        count, said = decode.decode(raw, now_ns)
        told = [out[:count].tobytes(), said]
    except BookLost as error:
        told = [str(error), error.market]
    book = [known.levels(), list(known.best), known.doubts, known.stated, known.heard_ns, known.exch_ns]
    return [*told, *book, decode.ignored, decode.mirrors_differ]


# --- recorded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["20250617_mlb-sd-lad-2025-06-17", "20250619_mlb-hou-bal-2025-06-19", "20250619_mlb-ari-tor-2025-06-19"],
)
def test_a_recorded_game_gives_the_book_of_each_token(data_dir: Path, name: str) -> None:
    """Two tokens, told one after the other: after both, our book is that of each, by a slow reference."""
    path = data_dir / "polymarket-mlb-l2-2025" / "events" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    told_all = list(mlb_messages(path))
    assets = list(dict.fromkeys(asset for _, asset, _, _ in told_all))
    assert len(assets) == 2
    decode, _ = decoder(
        BookSpec(
            market=0,
            condition="0xg",
            yes=assets[0],
            no=assets[1],
            tick=100,
            min_size=5_000_000,
            neg_risk=False,
        )
    )
    slow: dict[str, dict[tuple[str, int], int]] = {}
    compared = agreed = snapshots = 0
    last: dict[str, int] = {}
    later = [ms for _, _, ms, _ in told_all[1:]] + [0]
    for (kind, asset, ms, rows), next_ms in zip(told_all, later, strict=True):
        snapshots += kind == "book"
        if kind == "book":
            slow[asset] = {}
        for s, p, q in rows:
            if asset in slow:
                slow[asset][s, round(float(p) * 10_000)] = round(float(q) * 10**6)
        decode.decode(as_frame(kind, asset, ms, rows), NOW_NS)
        last[asset] = ms
        if next_ms != ms and len(slow) == 2 and len(set(last.values())) == 1:  # both have told this moment
            found = decode.books["0xg"].sides
            theirs = [in_yes(slow[token], is_no=token == assets[1]) for token in assets]
            assert found in theirs, ms
            agreed += theirs[0] == theirs[1]  # where the recording contradicts itself, ours is one of both
            compared += 1
    assert snapshots > 20 and compared > 250 and agreed >= compared - compared // 100
