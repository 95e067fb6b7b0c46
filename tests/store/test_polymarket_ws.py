"""Raw Polymarket messages to tapes: tokens paired, books checked, trades placed, ticks and the end told."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers import polymarket_ws
from pr3dict.store.importers.ws_lines import Frame
from pr3dict.store.tape import check_tape

T0_MS = 1_777_428_000_000
MS = 1_000_000
MARKET, YES, NO = "0x" + "ab" * 32, "7" * 77, "5" * 77


def message(kind: str, at: int, **cells: Any) -> dict[str, Any]:
    return {"event_type": kind, "market": MARKET, "timestamp": str(T0_MS + at), **cells}


def listed(levels):
    return [{"price": price, "size": size} for price, size in levels]


def book(at, bids, asks, token=YES, **cells):
    return message("book", at, asset_id=token, bids=listed(bids), asks=listed(asks), hash="x", **cells)


def change(at, *changes):
    """Changes as (token, side, price, size)."""
    names = ("asset_id", "side", "price", "size")
    told = [dict(zip(names, each, strict=True)) | {"best_bid": "0", "best_ask": "1"} for each in changes]
    return message("price_change", at, price_changes=told)


def trade(at, side, price, size, token=YES, fee="0"):
    return message(
        "last_trade_price", at, asset_id=token, side=side, price=price, size=size, fee_rate_bps=fee
    )


def tick(at, old, new, token=YES):
    return message("tick_size_change", at, asset_id=token, old_tick_size=old, new_tick_size=new)


OPENING = book(0, [("0.4", "10")], [("0.42", "7")])


def tapes(tmp_path: Path, *lines: Any):
    path = tmp_path / "day.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    made = polymarket_ws.read(path)
    for tape in made:
        check_tape(tape.events, tape.meta)
    return made


def seen(tape) -> list[tuple[Any, ...]]:
    """(ms, kind, side, price, contracts) of each row after the opening status."""
    return [
        (int(e["exch_ns"]) // MS - T0_MS, int(e["kind"]), int(e["side"]), int(e["price"]), e["qty"] / 1e6)
        for e in tape.events[1:]
    ]


def test_messages_become_a_tape_in_yes_terms(tmp_path):
    [tape] = tapes(
        tmp_path,
        [OPENING, book(0, [("0.58", "7")], [("0.6", "10")], NO)],  # an array is a frame
        change(5, (YES, "BUY", "0.41", "2.5"), (NO, "SELL", "0.59", "2.5")),
        "PONG",
        message("best_bid_ask", 6, asset_id=YES, best_bid="0.41", best_ask="0.42", spread="0.01"),
        trade(26, "SELL", "0.58", "3", NO, fee="100"),
        change(20, (NO, "BUY", "0.58", "4"), (YES, "SELL", "0.42", "4")),
        message("novelty", 30),
    )
    assert seen(tape) == [
        (0, d.SNAPSHOT, d.BID, 4000, 10.0),
        (0, d.SNAPSHOT, d.ASK, 4200, 7.0),
        (5, d.LEVEL, d.BID, 4100, 2.5),
        (20, d.TRADE, d.BID, 4200, 3.0),
        (20, d.LEVEL, d.ASK, 4200, 4.0),
    ]
    assert (tape.events["local_ns"][:3] == tape.events["exch_ns"][:3]).all()
    assert tape.meta.contract_id == YES and "shows first" in tape.meta.title
    assert tape.report.details["mirror_equal"] == tape.report.details["mirror_checked"] == 3
    assert tape.report.details["fee_rate_bps"] == "100" and tape.meta.has_trades == "recorded"
    assert tape.report.details["messages_best_bid_ask"] == tape.report.details["messages_keep_alive"] == 1
    assert tape.report.details["messages_novelty"] == 1
    assert any("arrived behind" in text for text in tape.report.defects)


def test_the_older_change_message_is_read(tmp_path):
    old = message(
        "price_change", 4, asset_id=YES, changes=[{"price": "0.4", "side": "BUY", "size": "3"}], hash="x"
    )
    [tape] = tapes(tmp_path, OPENING, old)
    assert seen(tape)[-1] == (4, d.LEVEL, d.BID, 4000, 3.0)


def test_receive_times_are_kept(tmp_path):
    local_ns = (T0_MS + 40) * MS
    [tape] = tapes(
        tmp_path, {"local_ns": local_ns, "frame": OPENING}, {"local_ns": local_ns, "frame": "PONG"}
    )
    assert set(tape.events["local_ns"].tolist()) == {local_ns}


@pytest.mark.parametrize("late", [False, True])
def test_the_venues_list_names_yes(tmp_path, late):
    told = message(
        "new_market",
        0,
        question="Will it rain?",
        slug="rain",
        assets_ids=[NO, YES],
        outcomes=["Yes", "No"],
        order_price_min_tick_size="0.001",
        fees_enabled=True,
        fee_schedule={"exponent": "1", "rate": "0.03", "taker_only": True, "rebate_rate": "0.25"},
    )
    lines = [OPENING, book(0, [("0.58", "7")], [("0.6", "10")], NO)]
    [tape] = tapes(tmp_path, *([*lines, told] if late else [told, *lines]))
    assert tape.meta.contract_id == NO and tape.meta.ticker == "rain"
    assert tape.meta.title == "Will it rain?: YES is the first outcome that the venue lists"
    assert seen(tape) == [(0, d.SNAPSHOT, d.BID, 5800, 7.0), (0, d.SNAPSHOT, d.ASK, 6000, 10.0)]
    assert (tape.meta.fee.taker_ppm, tape.meta.fee.maker_ppm, tape.meta.fee.rebate_ppm) == (
        30_000,
        0,
        250_000,
    )
    assert tape.meta.grids[0] == polymarket_grid(100 if late else 10)


def test_a_resolved_market_settles(tmp_path):
    end = message("market_resolved", 9, assets_ids=[YES, NO], winning_asset_id=NO, winning_outcome="No")
    [tape] = tapes(tmp_path, OPENING, end, change(12, (YES, "BUY", "0.4", "0")))
    assert seen(tape)[-2:] == [(9, d.STATUS, 0, 0, 0.0), (9, d.SETTLE, 0, 0, 0.0)]
    assert tape.meta.outcome == "no" and tape.report.settled
    assert tape.meta.close_ns == tape.meta.expected_resolution_ns == (T0_MS + 9) * MS
    assert "1 row after the resolution, left out" in tape.report.defects


def test_later_books_check_the_replayed_one(tmp_path):
    same = book(5, [("0.40", "10.0")], [("0.42", "7")])
    asked = book(9, [("0.4", "11")], []) | {"min_order_size": "15", "tick_size": "0.01"}
    del asked["event_type"]
    [tape] = tapes(tmp_path, OPENING, same, asked)
    assert (tape.report.snapshots_checked, tape.report.snapshots_equal) == (2, 1)
    assert seen(tape)[-1] == (9, d.SNAPSHOT, d.BID, 4000, 11.0)
    assert tape.meta.min_size == 15_000_000 and tape.report.details["messages_book_asked_for"] == 1


def test_an_empty_book_is_a_row(tmp_path):
    [tape] = tapes(tmp_path, book(0, [], []), change(3, (YES, "BUY", "0.4", "1")))
    assert seen(tape) == [(0, d.SNAPSHOT, 0, 0, 0.0), (3, d.LEVEL, d.BID, 4000, 1.0)]


def test_ticks_are_told_by_their_message_and_by_books(tmp_path):
    fine = change(4, (YES, "BUY", "0.411", "2"))
    [told] = tapes(tmp_path, OPENING, tick(3, "0.01", "0.001"), tick(3, "0.01", "0.001", NO), fine)
    [by_book] = tapes(
        tmp_path,
        OPENING | {"tick_size": "0.01"},
        book(3, [("0.4", "10")], [("0.42", "7")], tick_size="0.001"),
        fine,
    )
    for tape in (told, by_book):
        assert tape.meta.grids == (polymarket_grid(100), polymarket_grid(10))
        assert tape.events["aux"][tape.events["kind"] == d.TICK].tolist() == [1]


def test_a_recording_without_trades_says_so(tmp_path):
    [tape] = tapes(tmp_path, OPENING)
    assert tape.meta.has_trades == "none" and any("last_trade_price" in text for text in tape.report.defects)


def test_what_has_no_book_and_no_trade_is_told(tmp_path):
    other = change(1, (YES[::-1], "BUY", "0.4", "1")) | {"market": "0x1"}
    [tape] = tapes(tmp_path, OPENING, other)
    assert "1 market with neither a full book nor a trade left out" in tape.report.defects
    with pytest.raises(DataError, match="no full order book"):
        tapes(tmp_path, other)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (change(4, (YES, "BUY", "NaN", "1")), "price_changes"),
        (change(4, (YES, "HOLD", "0.4", "1")), "price_changes.side"),
        (change(4, (YES, "BUY", "0.4", "-1")), "price_changes"),
        (change(4, (None, "BUY", "0.4", "1")), "asset_id"),
        (change(4, ("1", "BUY", "0.4", "1"), ("2", "BUY", "0.4", "1")), MARKET),
        (book(4, [("1.2", "1")], []), "bids"),
        (OPENING | {"timestamp": "soon"}, "timestamp"),
        (OPENING | {"market": ""}, "market"),
        (trade(4, "BUY", "0.4", "1", fee="-3"), "fee_rate_bps"),
        (tick(4, "0.01", "0.003"), "new_tick_size"),
        ("[{]", None),
        ("EOF", None),
    ],
)
def test_a_wrong_message_is_named(tmp_path, line, key):
    with pytest.raises(DataError) as caught:
        tapes(tmp_path, OPENING, line)
    assert (caught.value.file, caught.value.row) == (tmp_path / "day.jsonl", 2)
    if key is not None:
        assert caught.value.key == key


cents = st.tuples(st.just("BUY"), st.integers(1, 49)) | st.tuples(st.just("SELL"), st.integers(51, 99))
step = st.one_of(st.tuples(cents, st.integers(0, 10**7)), st.just("book"))


@given(st.lists(step, min_size=1, max_size=40), st.booleans())
def test_a_random_market_is_rebuilt(steps, both):
    sides: dict[str, dict[int, int]] = {"BUY": {}, "SELL": {}}
    lines, truth = [], []
    for at, move in enumerate(["book", *steps]):
        if move == "book":
            shown = {
                s: [(f"{c / 100:.2f}", str(Decimal(q) / 10**6)) for c, q in sides[s].items()] for s in sides
            }
            lines.append(book(at, shown["BUY"], shown["SELL"]))
            truth.append({(s == "SELL", c * 100): q for s in sides for c, q in sides[s].items()})
        else:
            (side, cent), size = move
            sides[side].pop(cent, None)
            if size:
                sides[side][cent] = size
            amount = str(Decimal(size) / 10**6)
            other = (NO, "SELL" if side == "BUY" else "BUY", f"{1 - cent / 100:.2f}", amount)
            told = [(YES, side, f"{cent / 100:.2f}", amount)]
            lines.append(change(at, *told, other) if both else change(at, *told))
    raw = [Frame(row, json.dumps(line).encode(), -1, "") for row, line in enumerate(lines, 1)]
    [tape] = polymarket_ws.tapes_of(raw, Path("made"), source_format="polymarket-ws")
    check_tape(tape.events, tape.meta)
    running: dict[tuple[bool, int], int] = {}
    before = []
    for event in tape.events:
        if event["kind"] == d.SNAPSHOT and event["bits"] & d.SNAP_FIRST:
            before.append(dict(running))
            running.clear()
        if event["kind"] in (d.LEVEL, d.SNAPSHOT) and event["price"]:
            at = (bool(event["side"]), int(event["price"]))
            running.pop(at, None)
            if event["qty"]:
                running[at] = int(event["qty"])
    assert before[1:] == truth[1:]
    assert running == {(s == "SELL", c * 100): q for s in sides for c, q in sides[s].items()}
    assert tape.report.snapshots_checked == tape.report.snapshots_equal == len(truth) - 1
