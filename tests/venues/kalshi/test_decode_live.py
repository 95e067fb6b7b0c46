"""The decoder as a live connection uses it: whole snapshots, numbers of every frame, books that wait."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.decode import KalshiDecoder


def frame(kind, msg, **more):
    return json.dumps({"type": kind, "sid": 4, "msg": msg, **more}).encode()


def made(**options):
    out = np.zeros(20_000, d.EVENT)
    return KalshiDecoder({"KXA-1": 5}, out, live=True, **options), out


def test_answers_to_commands_state_their_numbers_and_kind():
    decoder, _ = made()
    assert decoder.decode(frame("ok", {"market_tickers": []}, seq=9), 1) == 0
    assert (decoder.sid, decoder.seq, decoder.kind) == (4, 9, "ok")
    assert decoder.decode(frame("subscribed", {"channel": "fill", "sid": 2}), 1) == 0
    assert (decoder.seq, decoder.kind) == (0, "subscribed")
    decoder.decode(
        frame("trade", {"market_ticker": "?", "yes_price_dollars": "0.5", "count_fp": "1"}, seq=3), 1
    )
    assert (decoder.seq, decoder.kind) == (3, "")


def test_every_number_is_judged_once_and_before_anything_is_applied():
    asked = []

    def follow(sid, seq):
        asked.append((sid, seq))
        return seq != 2

    decoder, out = made(follow=follow)
    whole = {"market_ticker": "KXA-1", "yes_dollars_fp": [["0.4500", "10.00"]]}
    change = {"market_ticker": "KXA-1", "price_dollars": "0.4500", "delta_fp": "1.00", "side": "yes"}
    assert decoder.decode(frame("orderbook_snapshot", whole, seq=1), 1) == 1
    assert decoder.decode(frame("orderbook_delta", change, seq=2), 1) == 0
    assert decoder.decode(frame("ok", {}, seq=3), 1) == 0
    assert decoder.decode(frame("orderbook_delta", change, seq=4), 1) == 1
    assert int(out["qty"][0]) == 11_000_000
    assert asked == [(4, 1), (4, 2), (4, 3), (4, 4)]


def test_a_book_that_waits_for_its_snapshot_skips_deltas():
    decoder, _ = made()
    change = {"market_ticker": "KXA-1", "price_dollars": "0.4500", "delta_fp": "-1.00", "side": "yes"}
    assert decoder.decode(frame("orderbook_delta", change, seq=1), 1) == 0 and decoder.ignored == 1
    decoder.decode(frame("orderbook_snapshot", {"market_ticker": "KXA-1"}, seq=2), 1)
    assert decoder.is_synced("KXA-1")
    decoder.forget(["KXA-1"])
    assert not decoder.is_synced("KXA-1") and decoder.decode(frame("orderbook_delta", change, seq=3), 1) == 0


levels = st.dictionaries(st.integers(1, 49), st.integers(0, 500), max_size=12)


@given(levels, levels, st.booleans())
def test_a_snapshot_is_the_whole_book_even_where_nothing_changed(bids, no_bids, yes_prices):
    decoder, out = made(no_side_in_yes_price=yes_prices)
    no_side = {(100 - p if yes_prices else p): size for p, size in no_bids.items()}
    message = {
        "market_ticker": "KXA-1",
        "yes_dollars_fp": [[f"0.{p:02d}00", f"{size}.00"] for p, size in bids.items()],
        "no_dollars_fp": [[f"0.{p:02d}00", f"{size}.00"] for p, size in no_side.items()],
    }
    for seq in (1, 2):  # the second one changes nothing and is told all the same
        rows = out[: decoder.decode(frame("orderbook_snapshot", message, seq=seq), 7)]
        assert set(rows["kind"]) == {d.SNAPSHOT} and set(rows["market"]) == {5}
        assert rows["bits"][0] & d.SNAP_FIRST and rows["bits"][-1] & d.SNAP_LAST
        assert (rows["bits"][1:] & d.SNAP_FIRST).sum() == 0 == (rows["bits"][:-1] & d.SNAP_LAST).sum()
        told = {(int(r["side"]), int(r["price"])): int(r["qty"]) for r in rows if r["price"]}
        wanted = {(d.BID, p * 100): size * 10**6 for p, size in bids.items() if size}
        wanted |= {(d.ASK, 10_000 - p * 100): size * 10**6 for p, size in no_bids.items() if size}
        assert told == wanted
