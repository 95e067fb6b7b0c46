"""Raw Kalshi frames to tapes: increments, gaps, times, grids, trades, the end of a market."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import kalshi_grid
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers import get_importer, import_recordings, kalshi_ws, report_json
from pr3dict.store.importers.ws_lines import Frame
from pr3dict.store.tape import check_tape, read_tape

T0_MS = 1_795_355_184_000
MS = 1_000_000
A, B = "KXA-1", "KXA-2"


def frame(kind: str, msg: dict[str, Any], seq: int = 0, sid: int = 1) -> dict[str, Any]:
    numbers = {"sid": sid, "seq": seq} if seq else {"sid": sid}
    return {"type": kind, **numbers, "msg": msg}


def snapshot(seq, yes, no, ticker=A, sid=1, **more):
    sides = {"yes_dollars_fp": yes, "no_dollars_fp": no}
    msg = {"market_ticker": ticker, **{name: side for name, side in sides.items() if side}, **more}
    return frame("orderbook_snapshot", msg, seq, sid)


def delta(seq, at, side, price, by, ticker=A, sid=1):
    msg = {"market_ticker": ticker, "price_dollars": price, "delta_fp": by, "side": side, "ts_ms": T0_MS + at}
    return frame("orderbook_delta", msg, seq, sid)


def trade(seq, at, taker, price, count, ticker=A):
    msg = {"market_ticker": ticker, "yes_price_dollars": price, "count_fp": count, "ts_ms": T0_MS + at}
    return frame("trade", msg | ({"taker_outcome_side": taker} if taker else {}), seq, 3)


def lifecycle(kind, ticker=A, **more):
    return frame("market_lifecycle_v2", {"market_ticker": ticker, "event_type": kind, **more}, 0, 8)


OPENING = snapshot(2, [["0.4000", "10.00"]], [["0.5800", "7.00"]])


def write(tmp_path: Path, frames: list[Any], name: str = "day.jsonl") -> Path:
    path = tmp_path / name
    text = "".join(json.dumps(each) + "\n\n" for each in frames).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def tapes(tmp_path: Path, *frames: Any):
    made = kalshi_ws.read(write(tmp_path, list(frames)))
    for tape in made:
        check_tape(tape.events, tape.meta)
    return made


def seen(tape) -> list[tuple[Any, ...]]:
    """(ms, kind, side, price, contracts or aux) of each row after the opening status."""
    return [
        (
            int(e["exch_ns"]) // MS - T0_MS,
            int(e["kind"]),
            int(e["side"]),
            int(e["price"]),
            int(e["aux"]) if e["kind"] in (d.STATUS, d.TICK) else e["qty"] / 1e6,
        )
        for e in tape.events[1:]
    ]


def test_increments_become_sizes_in_yes_terms(tmp_path):
    [tape] = tapes(
        tmp_path,
        {"type": "subscribed", "id": 1, "msg": {"channel": "orderbook_delta", "sid": 1}},
        {"type": "ok", "id": 1, "sid": 1, "seq": 1, "msg": {"market_tickers": [A]}},
        OPENING,
        delta(3, 5, "no", "0.5800", "-3.00"),
        delta(4, 9, "yes", "0.4100", "2.50"),
        delta(5, 9, "yes", "0.4000", "-10.00"),
    )
    assert seen(tape) == [
        (5, d.SNAPSHOT, d.BID, 4000, 10.0),
        (5, d.SNAPSHOT, d.ASK, 4200, 7.0),
        (5, d.LEVEL, d.ASK, 4200, 4.0),
        (9, d.LEVEL, d.BID, 4100, 2.5),
        (9, d.LEVEL, d.BID, 4000, 0.0),
    ]
    assert tape.events["local_ns"].tolist()[-1] == (T0_MS + 9) * MS  # the newest exchange time stands in
    assert tape.meta.has_trades == "none" and any("trade channel" in text for text in tape.report.defects)
    assert tape.report.details["frames_ok"] == 1 and tape.report.details["gaps"] == 0
    assert tape.report.rows == 4 and tape.report.details["frames"] == 6


@pytest.mark.parametrize("wrap", ["frame", "text", "payload"])
def test_wrapped_frames_keep_their_receive_time(tmp_path, wrap):
    def wrapped(raw, at):
        ms = T0_MS + at
        if wrap == "payload":
            return {"recv_wall_ts": ms, "source": "kalshi", "payload": json.dumps(raw)}
        return {"local_ns": ms * MS, "frame": raw if wrap == "frame" else json.dumps(raw)}

    [tape] = tapes(tmp_path, wrapped(OPENING, 3), wrapped(delta(3, 1, "yes", "0.4", "1"), 4))
    assert tape.events["local_ns"].tolist()[1:] == [(T0_MS + at) * MS for at in (3, 3, 4)]
    assert (
        tape.events["exch_ns"].tolist()[1:] == [(T0_MS + 1) * MS] * 3
    )  # the snapshot came before the change


def test_a_snapshot_of_its_own_time_keeps_it(tmp_path):
    opening = snapshot(2, [["0.4", "1"]], [], ts_ms=T0_MS + 2)
    [tape] = tapes(tmp_path, opening, delta(3, 7, "yes", "0.4", "1"))
    assert [row[0] for row in seen(tape)] == [2, 7]


def test_after_a_gap_the_market_is_paused_until_the_next_snapshot(tmp_path):
    first, second = tapes(
        tmp_path,
        OPENING,
        snapshot(3, [["0.3", "1"]], [], ticker=B, sid=2),
        delta(3, 5, "yes", "0.4", "1"),
        delta(6, 8, "yes", "0.41", "1"),  # 4 and 5 were lost
        delta(7, 9, "yes", "0.41", "1"),
        snapshot(8, [["0.43", "2"]], []),
        delta(9, 12, "yes", "0.43", "1"),
        delta(4, 13, "yes", "0.3", "1", ticker=B, sid=2),
    )
    assert seen(first)[2:] == [
        (5, d.LEVEL, d.BID, 4000, 11.0),
        (5, d.STATUS, 0, 0, d.PAUSED),
        (9, d.SNAPSHOT, d.BID, 4300, 2.0),
        (9, d.STATUS, 0, 0, d.ACTIVE),
        (12, d.LEVEL, d.BID, 4300, 3.0),
    ]
    assert d.PAUSED not in second.events["aux"]  # another subscription
    assert first.report.details["gaps"] == 1
    assert "2 book changes between a gap and the next snapshot, left out" in first.report.defects
    assert first.report.snapshots_checked == 0  # what follows a gap proves nothing


def test_a_sequence_that_starts_again_is_a_reconnection(tmp_path):
    [tape] = tapes(
        tmp_path,
        OPENING,
        delta(3, 5, "yes", "0.4", "1"),
        snapshot(1, [["0.4", "11"]], [["0.58", "7"]]),
        delta(2, 9, "yes", "0.4", "1"),
    )
    assert tape.report.details["reconnections"] == 1 and tape.report.details["gaps"] == 0
    assert [row[4] for row in seen(tape) if row[1] == d.STATUS] == [d.PAUSED, d.ACTIVE]


def test_replies_count_in_the_sequence(tmp_path):
    reply = {"type": "ok", "id": 3, "sid": 1, "seq": 3, "msg": {"market_tickers": [A]}}
    [tape] = tapes(tmp_path, OPENING, reply, delta(4, 5, "yes", "0.4", "1"))
    assert tape.report.details["gaps"] == 0


def test_a_snapshot_checks_the_running_book(tmp_path):
    [tape] = tapes(
        tmp_path,
        OPENING,
        delta(3, 5, "yes", "0.4", "1"),
        snapshot(4, [["0.4", "11.00"]], [["0.58", "7"]]),
        snapshot(5, [["0.4", "12"]], []),
        delta(6, 7, "yes", "0.4", "1"),
    )
    assert (tape.report.snapshots_checked, tape.report.snapshots_equal) == (2, 1)
    assert "1 snapshot that the replayed book did not equal; the snapshot won" in tape.report.defects
    assert seen(tape)[-1][4] == 13.0


def test_a_level_below_zero_pauses_the_market(tmp_path):
    [tape] = tapes(tmp_path, OPENING, delta(3, 5, "yes", "0.4", "-11"), delta(4, 6, "yes", "0.4", "1"))
    assert seen(tape)[-1][1:] == (d.STATUS, 0, 0, d.PAUSED)
    assert any("negative" in text for text in tape.report.defects)


def test_an_empty_book_is_a_row(tmp_path):
    [tape] = tapes(tmp_path, snapshot(2, [], []), delta(3, 5, "yes", "0.4", "1"))
    assert seen(tape) == [(5, d.SNAPSHOT, 0, 0, 0.0), (5, d.LEVEL, d.BID, 4000, 1.0)]


def test_recorded_trades_stand_before_the_change_that_they_cause(tmp_path):
    [tape] = tapes(
        tmp_path,
        OPENING,
        delta(3, 5, "no", "0.58", "-2.00"),
        trade(1, 5, "yes", "0.4200", "2.00"),
        trade(2, 8, None, "0.4200", "1.00"),
    )
    assert [row[1:] for row in seen(tape)[2:]] == [
        (d.TRADE, d.BID, 4200, 2.0),
        (d.LEVEL, d.ASK, 4200, 5.0),
    ]
    assert tape.meta.has_trades == "recorded" and tape.report.trades == 1
    assert tape.report.trades_inferred == 0 and tape.report.details["trades_with_cause"] == 1
    assert "1 trade without the taker's side, left out" in tape.report.defects


def test_the_grid_is_the_told_one_or_the_coarsest_that_fits(tmp_path):
    fine = delta(3, 5, "yes", "0.0150", "1")
    [guessed] = tapes(tmp_path, OPENING, fine)
    assert guessed.meta.grids == (kalshi_grid("tapered_deci_cent"),)
    assert guessed.meta.quality["grid_told"] is False
    cents = [{"start": "0.00", "end": "1.00", "step": "0.01"}]
    mills = [{"start": "0.00", "end": "1.00", "step": "0.001"}]
    [told] = tapes(
        tmp_path,
        lifecycle("created", price_ranges=cents, open_ts=T0_MS // 1000, close_ts=T0_MS // 1000 + 60),
        OPENING,
        delta(3, 4, "yes", "0.4", "1"),
        lifecycle("price_level_structure_updated", price_ranges=mills),
        fine,
    )
    assert told.meta.grids == (kalshi_grid("linear_cent"), kalshi_grid("deci_cent"))
    assert (4, d.TICK, 0, 0, 1) in seen(told)
    assert told.meta.close_ns == (T0_MS + 60_000) * MS and told.meta.open_ns == T0_MS * MS
    [off] = tapes(tmp_path, lifecycle("created", price_ranges=cents), OPENING, fine)
    assert off.meta.grids == (kalshi_grid("tapered_deci_cent"),)
    assert any("announced grid" in text for text in off.report.defects)


def test_a_market_closes_and_settles_where_that_was_seen(tmp_path):
    [tape] = tapes(
        tmp_path,
        lifecycle("created", close_ts=T0_MS // 1000 + 10),
        OPENING,
        delta(3, 5, "yes", "0.4", "1"),
        delta(4, 10_001, "yes", "0.4", "-11"),
        lifecycle("determined", result="no", determination_ts=T0_MS // 1000 + 12),
    )
    assert seen(tape)[-2:] == [(10_000, d.STATUS, 0, 0, d.CLOSED), (12_000, d.SETTLE, 0, 0, 0.0)]
    assert tape.meta.outcome == "no" and tape.report.settled
    assert "1 row after the close left out" in tape.report.defects


def test_a_pause_of_the_venue_is_on_the_tape(tmp_path):
    frames = [OPENING, delta(3, 5, "yes", "0.4", "1"), lifecycle("deactivated"), lifecycle("activated")]
    [tape] = tapes(tmp_path, *frames)
    assert [row[4] for row in seen(tape)[-2:]] == [d.PAUSED, d.ACTIVE]


def test_markets_of_trades_alone_and_silent_ones(tmp_path):
    first, second = tapes(
        tmp_path,
        OPENING,
        trade(1, 5, "no", "0.42", "2", ticker=B),
        frame("ticker", {"market_ticker": "KXB-1", "ts_ms": T0_MS + 6}, sid=2),
        frame("event_fee_update", {"event_ticker": "KXA"}, sid=8),
    )
    assert second.meta.kind == "trades" and seen(second) == [(5, d.TRADE, d.ASK, 4200, 2.0)]
    assert "1 market without a book or a trade left out" in first.report.defects
    assert any("fee change" in text for text in first.report.defects)


def test_frames_without_any_time_are_refused(tmp_path):
    with pytest.raises(DataError, match="neither ts_ms nor a receive time"):
        tapes(tmp_path, OPENING)
    early = frame(
        "orderbook_delta", {"market_ticker": A, "price_dollars": "0.4", "delta_fp": "1", "side": "yes"}, 3
    )
    [tape] = tapes(tmp_path, OPENING, early, delta(4, 5, "yes", "0.4", "1"))
    assert [row[0] for row in seen(tape)] == [5, 5, 5, 5]


def test_frames_without_sequence_numbers_are_told_of(tmp_path):
    bare = delta(0, 5, "yes", "0.4", "1")
    [tape] = tapes(tmp_path, OPENING, bare)
    assert any("without a sequence number" in text for text in tape.report.defects)


GOOD = delta(4, 6, "yes", "0.4", "1")


def altered(**cells: Any) -> str:
    return json.dumps(GOOD | {"msg": GOOD["msg"] | cells})


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (altered(price_dollars="NaN"), "msg.price_dollars"),
        (altered(price_dollars=0.4), "msg.price_dollars"),
        (altered(price_dollars="1.00"), "msg.price_dollars"),
        (altered(delta_fp="1e3"), "msg.delta_fp"),
        (altered(side="maybe"), "msg.side"),
        (altered(ts_ms=-4), "msg.ts_ms"),
        (altered(ts_ms="soon"), None),
        (json.dumps(GOOD | {"msg": {}}), None),
        (
            altered(price_dollars="NaN").replace('"seq": 4', '"seq": 9'),
            "msg.price_dollars",
        ),  # after a gap, too
        ('{"type":3}', "type"),
        ('{"no":"type"}', None),
        ("{", None),
    ],
)
def test_a_wrong_frame_is_named(tmp_path, line, key):
    path = write(tmp_path, [OPENING, delta(3, 5, "yes", "0.4", "1")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError) as caught:
        kalshi_ws.read(path)
    assert (caught.value.file, caught.value.row) == (path, 5)
    if key is not None:
        assert caught.value.key == key


def test_files_that_are_no_recordings(tmp_path):
    cut = write(tmp_path, [OPENING] * 40, "cut.jsonl.gz")
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated or corrupt"):
        kalshi_ws.read(cut)
    with pytest.raises(DataError, match="expected"):
        kalshi_ws.IMPORTER.find([tmp_path / "none.csv"])
    with pytest.raises(DataError, match="no order book and no trade"):
        tapes(tmp_path, frame("ticker", {"market_ticker": A, "ts_ms": T0_MS}))


# --- any sequence of frames -------------------------------------------------------------------------

level = st.tuples(st.sampled_from(("yes", "no")), st.integers(1, 49), st.integers(-5, 9))
step = st.one_of(level, level, level, st.just("snapshot"), st.just("lost"))


@given(st.lists(step, min_size=1, max_size=40))
def test_the_tape_is_the_venues_book_wherever_it_is_not_paused(steps):
    book: dict[tuple[str, int], int] = {}
    seq, frames, truth = 1, [], []

    def listed(side: str) -> list[list[str]]:
        return [[f"{cent / 100:.2f}", f"{size}.00"] for (s, cent), size in book.items() if s == side]

    for at, move in enumerate(["snapshot", *steps]):
        seq += 1
        if move == "snapshot":
            frames.append(snapshot(seq, listed("yes"), listed("no"), ts_ms=T0_MS + at))
        else:
            side, cent, by = ("yes", 3, 1) if move == "lost" else move
            by = max(by, -book.get((side, cent), 0))
            size = book.pop((side, cent), 0) + by
            if size:
                book[side, cent] = size
            if move != "lost":
                frames.append(delta(seq, at, side, f"{cent / 100:.2f}", f"{by}.00"))
        truth.append(
            {(s == "no", 10_000 - c * 100 if s == "no" else c * 100): q for (s, c), q in book.items()}
        )
    raw = [Frame(row, json.dumps(each).encode(), -1, "") for row, each in enumerate(frames, 1)]
    [tape] = kalshi_ws.tapes_of(raw, Path("made"), source_format="kalshi-ws")
    check_tape(tape.events, tape.meta)
    running: dict[tuple[bool, int], int] = {}
    active, checked = True, 0
    times = tape.events["exch_ns"].tolist()
    for i, event in enumerate(tape.events):
        at = (bool(event["side"]), int(event["price"]))
        if event["kind"] == d.STATUS:
            active = event["aux"] == d.ACTIVE
        elif event["kind"] == d.SNAPSHOT and event["bits"] & d.SNAP_FIRST:
            running.clear()
        if event["kind"] in (d.LEVEL, d.SNAPSHOT) and event["price"]:
            running.pop(at, None)
            if event["qty"]:
                running[at] = int(event["qty"]) // 1_000_000
        last_of_instant = i + 1 == len(times) or times[i + 1] != times[i]
        if active and last_of_instant and i:
            assert running == truth[times[i] // MS - T0_MS]
            checked += 1
    assert checked > 0 or "lost" in steps
    assert tape.report.snapshots_equal == tape.report.snapshots_checked


def test_the_demo_session(tmp_path, data_dir):
    source = data_dir / "raw-ws-samples" / "kalshi-demo-session.jsonl.gz"
    out = import_recordings(get_importer("kalshi-ws"), [source], tmp_path)
    report = report_json(out)
    assert report["details"]["frames"] == 2898
    assert (report["snapshots"], report["deltas"], report["details"]["frames_fill"]) == (5, 2885, 2)
    assert report["details"]["gaps"] == 0 and report["markets"] == 5
    for written in out:
        tape = read_tape(written.path)
        assert (tape.events["kind"] == d.LEVEL).sum() == written.report.deltas
        span_ns = int(tape.events["exch_ns"][-1] - tape.events["exch_ns"][0])
        assert span_ns <= 5.5 * 60e9
