"""The pass over a tape's flow: a slow reference, known answers, and the same without compilation."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import flow_stats as fs
from pr3dict.kernels.tapecheck import new_best, new_depth

SECOND = 1_000_000_000
CONTRACT = 1_000_000
START = 1_790_000_000 * SECOND
WINDOW = {
    "low_mid2": 2_000,
    "high_mid2": 18_000,
    "begin_ns": START,
    "end_ns": START + 10_000 * SECOND,
    "max_silence_ns": 60 * SECOND,
    "step": 100,
    "merge_ns": SECOND // 1000,
}


def rows(*given: tuple) -> d.Array:
    """EVENT rows of (seconds after START, kind, side, price, contracts, aux)."""
    events = np.zeros(len(given), d.EVENT)
    for i, (seconds, kind, side, price, contracts, aux) in enumerate(given):
        events[i]["exch_ns"] = START + round(seconds * SECOND)
        events[i]["kind"], events[i]["side"], events[i]["price"] = kind, side, price
        events[i]["qty"], events[i]["aux"] = round(contracts * CONTRACT), aux
    return events


def level(at: float, side: int, price: int, contracts: float) -> tuple:
    return (at, d.LEVEL, side, price, contracts, 0)


def trade(at: float, side: int, price: int, contracts: float) -> tuple:
    return (at, d.TRADE, side, price, contracts, 0)


def observed(events: d.Array, **changes: int):
    window = np.zeros(1, fs.WINDOW)
    for key, value in {**WINDOW, **changes}.items():
        window[key] = value
    totals = np.zeros(1, fs.TOTALS)
    path, orders = np.zeros(len(events) + 1, fs.PATH), np.zeros(len(events) + 1, fs.ORDER)
    depth_ns = np.zeros((2, fs.DEPTH_LEVELS))
    spread_ns = np.zeros(fs.SPREAD_BINS, np.int64)
    fs.observe(events, window, new_depth(), new_best(), totals, path, orders, depth_ns, spread_ns)
    return totals, path[: totals[0]["paths"]], orders[: totals[0]["orders"]], depth_ns, spread_ns


def slow(events: d.Array, **changes: int):
    """The same from the definitions, instant by instant, with a book in two dictionaries."""
    w = {**WINDOW, **changes}
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    status, counted, counted_ns, level_changes = d.ACTIVE, False, 0, 0
    path, orders = [], []
    depth = np.zeros((2, 6))
    spreads: dict[int, int] = {}
    times = sorted(set(events["exch_ns"].tolist()))
    for i, now in enumerate(times):
        judged = counted and now < w["end_ns"]
        for row in events[events["exch_ns"] == now].tolist():
            _, _, qty, aux, price, _, kind, side, _ = row
            if kind == d.LEVEL:
                level_changes += judged and book[side].get(price, 0) != qty
                book[side][price] = qty
                if qty == 0:
                    del book[side][price]
            elif kind == d.STATUS:
                status = aux
            elif kind == d.TRADE and judged:
                if orders and orders[-1][2] == side and now - orders[-1][1] <= w["merge_ns"]:
                    at, _, _, size, cost = orders[-1]
                    orders[-1] = (at, now, side, size + qty, cost + price * qty)
                else:
                    orders.append((now, now, side, qty, price * qty))
        if i + 1 == len(times):
            path.append((now, -1, 0))
            break
        span = times[i + 1] - now
        bid, ask = max(book[0], default=0), min(book[1], default=10_000)
        two = bid > 0 and ask < 10_000 and bid < ask and status == d.ACTIVE and span <= w["max_silence_ns"]
        counted = two and w["low_mid2"] <= bid + ask <= w["high_mid2"] and w["begin_ns"] <= now < w["end_ns"]
        path.append((now, bid + ask if two else -1, int(counted)))
        if counted:
            span = min(span, w["end_ns"] - now)
            counted_ns += span
            spreads[(ask - bid) // 5] = spreads.get((ask - bid) // 5, 0) + span
            for side, touch in ((0, bid), (1, ask)):
                for cents in range(6):
                    away = {p: abs(p - touch) for p in book[side]}
                    size = sum(book[side][p] for p, far in away.items() if -(-far // 100) == cents)
                    depth[side, cents] += span * math.log(1 + size / CONTRACT)
    changed = [one for k, one in enumerate(path) if k == 0 or one[1:] != path[k - 1][1:]]
    return counted_ns, level_changes, changed, orders, depth, spreads


@st.composite
def tapes(draw) -> d.Array:
    """A random walk of a book with trades, outages, pauses and empty sides; never crossed."""
    at, given = 0.0, []
    bids, asks = {3_000: 5.0}, {3_400: 5.0}
    given += [level(0, d.BID, 3_000, 5), level(0, d.ASK, 3_400, 5)]
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, 0, 0.0005, 0.3, 2, 7, 61]))
        what = draw(st.sampled_from(["level", "level", "level", "trade", "status"]))
        side = draw(st.integers(0, 1))
        if what == "trade":
            given.append(trade(at, side, 100 * draw(st.integers(5, 95)), draw(st.integers(1, 9))))
        elif what == "status":
            given.append((at, d.STATUS, 0, 0, 0, draw(st.sampled_from([d.ACTIVE, d.ACTIVE, d.PAUSED]))))
        else:
            book, other = (bids, asks) if side == d.BID else (asks, bids)
            price = 50 * draw(st.integers(1, 199))
            crosses = other and (price >= min(other) if side == d.BID else price <= max(other))
            if crosses:
                continue
            size = draw(st.sampled_from([0, 0.25, 1, 3, 800]))
            book[price] = size
            if size == 0:
                del book[price]
            given.append(level(at, side, price, size))
    return rows(*given)


@settings(max_examples=150, deadline=None)
@given(events=tapes(), begin=st.integers(0, 20), end=st.integers(0, 90))
def test_pass_agrees_with_the_definitions(events: d.Array, begin: int, end: int) -> None:
    limits = {"begin_ns": START + begin * SECOND, "end_ns": START + end * SECOND, "step": 50}
    totals, path, orders, depth_ns, spread_ns = observed(events, **limits)
    counted_ns, level_changes, changed, slow_orders, depth, spreads = slow(events, **limits)
    assert (totals[0]["counted_ns"], totals[0]["level_changes"]) == (counted_ns, level_changes)
    assert path.tolist() == changed
    assert orders.tolist() == slow_orders
    assert np.allclose(depth_ns, depth, rtol=1e-12)
    assert {k: v for (k,), v in np.ndenumerate(spread_ns) if v} == spreads


def test_a_tape_done_by_hand() -> None:
    events = rows(
        level(0, d.BID, 4_000, 100),
        level(0, d.BID, 3_900, 40),
        level(0, d.ASK, 4_300, 60),
        trade(10, d.BID, 4_300, 20),  # buys 20 of the 60
        level(10, d.ASK, 4_300, 40),
        level(30, d.BID, 4_100, 10),
        level(40, d.ASK, 4_300, 40),  # no change
    )
    totals, path, orders, depth_ns, spread_ns = observed(events)
    assert totals[0]["counted_ns"] == 40 * SECOND
    assert totals[0]["level_changes"] == 2
    assert path.tolist() == [
        (START, 8_300, 1),
        (START + 30 * SECOND, 8_400, 1),
        (START + 40 * SECOND, fs.UNKNOWN, 0),
    ]
    assert orders.tolist() == [
        (START + 10 * SECOND, START + 10 * SECOND, d.BID, 20 * CONTRACT, 4_300.0 * 20 * CONTRACT)
    ]
    assert spread_ns[300 // fs.SPREAD_STEP] == 30 * SECOND and spread_ns[200 // fs.SPREAD_STEP] == 10 * SECOND
    ln = math.log
    assert depth_ns[d.BID, 0] == pytest.approx((30 * ln(101) + 10 * ln(11)) * SECOND)
    assert depth_ns[d.BID, 1] == pytest.approx((30 * ln(41) + 10 * ln(101)) * SECOND)
    assert depth_ns[d.BID, 2] == pytest.approx(10 * ln(41) * SECOND)
    assert depth_ns[d.ASK, 0] == pytest.approx((10 * ln(61) + 30 * ln(41)) * SECOND)
    assert not depth_ns[d.ASK, 1:].any()


def test_what_is_not_counted() -> None:
    book = (level(0, d.BID, 4_000, 1), level(0, d.ASK, 4_100, 1))
    late = (level(5, d.BID, 3_000, 1), level(90, d.BID, 3_000, 2), level(95, d.BID, 3_000, 3))
    assert observed(rows(*book, *late))[0][0]["counted_ns"] == 10 * SECOND  # 85 silent seconds are an outage
    assert observed(rows(*book, *late), end_ns=START + 3 * SECOND)[0][0]["counted_ns"] == 3 * SECOND
    assert observed(rows(*book, *late), begin_ns=START + 6 * SECOND)[0][0]["counted_ns"] == 5 * SECOND
    far = (level(0, d.BID, 9_500, 1), level(0, d.ASK, 9_600, 1), level(9, d.BID, 100, 1))
    assert observed(rows(*far))[0][0]["counted_ns"] == 0
    paused = (*book, (2, d.STATUS, 0, 0, 0, d.PAUSED), level(8, d.BID, 3_000, 1))
    assert observed(rows(*paused))[0][0]["counted_ns"] == 2 * SECOND


@pytest.mark.parametrize("gap_s", [0.0005, 0.0015])
def test_prints_of_one_taker_are_one_order(gap_s: float) -> None:
    events = rows(
        level(0, d.BID, 4_000, 9),
        level(0, d.ASK, 4_100, 9),
        trade(1, d.ASK, 4_000, 2),
        trade(1 + gap_s, d.ASK, 3_900, 6),
        trade(1 + 2 * gap_s, d.BID, 4_100, 1),
        level(9, d.BID, 4_000, 8),
    )
    sizes = (observed(events)[2]["qty"] // CONTRACT).tolist()
    assert sizes == ([8, 1] if gap_s < 0.001 else [2, 6, 1])


def digest() -> str:
    """Fingerprint of a generated market's pass, that must not depend on compilation."""
    from pr3dict.kernels.snapshots import flatten_snapshots
    from pr3dict.kernels.warm import tiny_recording

    events = flatten_snapshots(tiny_recording())[:800]
    first = int(events["exch_ns"][0])
    found = observed(events, begin_ns=first, end_ns=first + 500 * SECOND)
    return hashlib.sha256(b"".join(one.tobytes() for one in found)).hexdigest()


def test_same_bytes_without_compilation() -> None:
    code = "import test_flow_stats; print(test_flow_stats.digest())"
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(folders)}
    plain = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert plain.stdout.strip() == digest()
