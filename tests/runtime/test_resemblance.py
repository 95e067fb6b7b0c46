"""Statistics of order flow on tapes whose answers are known, and what counts as near enough."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.runtime import resemblance as r
from pr3dict.runtime.synthetic import OPEN_NS, synthetic_market

SECOND = 1_000_000_000
CONTRACT = 1_000_000


def tape_rows(*given: tuple) -> d.Array:
    """EVENT rows of (seconds, kind, side, price, contracts)."""
    events = np.zeros(len(given), d.EVENT)
    for i, (seconds, kind, side, price, contracts) in enumerate(given):
        events[i]["exch_ns"] = OPEN_NS + round(seconds * SECOND)
        events[i]["kind"], events[i]["side"], events[i]["price"] = kind, side, price
        events[i]["qty"] = round(contracts * CONTRACT)
    return events


def sample(*given: tuple) -> r.Sample:
    return r.sample_events(tape_rows(*given), 100, OPEN_NS, OPEN_NS + 3_600 * SECOND, "hand-made")


def quote(at: float, bid: int, ask: int, old: tuple[int, int] | None = None, size: float = 10) -> list[tuple]:
    """Rows that make the book one level a side."""
    gone = [(at, d.LEVEL, side, price, 0) for side, price in enumerate(old or ())]
    return [*gone, (at, d.LEVEL, d.BID, bid, size), (at, d.LEVEL, d.ASK, ask, size)]


def test_a_tape_done_by_hand() -> None:
    """100 s at 0.40/0.43, of it 25 s at 0.42/0.45; one buyer of 8, one seller of 2."""
    found = sample(
        *quote(0, 4_000, 4_300),
        (30, d.TRADE, d.BID, 4_300, 8),
        (30, d.LEVEL, d.ASK, 4_300, 2),
        (55, d.TRADE, d.ASK, 4_000, 2),
        (55, d.LEVEL, d.BID, 4_000, 8),
        *quote(75, 4_200, 4_500, (4_000, 4_300)),
        (100, d.LEVEL, d.BID, 1_000, 1),
    )
    f = r.measure([found])
    hour = 3600 / 100
    assert found.counted_ns == 100 * SECOND
    assert f["spread_mean"] == pytest.approx(3.0)
    assert f["spread_p50"] == pytest.approx(2.5)  # within the cent that ends at 3
    assert f["spread_p90"] == pytest.approx(2.9)
    assert f["trade_rate"] == pytest.approx(2 * hour)
    assert f["level_rate"] == pytest.approx(7 * hour)  # two after trades, four of the move, one far away
    assert (f["size_median"], f["size_mean"], f["size_p90"]) == pytest.approx((5.0, 5.0, 7.4))
    assert f["buy_share"] == 0.5
    asks = math.exp((30 * math.log(11) + 45 * math.log(3) + 25 * math.log(11)) / 100) - 1
    assert f["depth_ask_0"] == pytest.approx(asks)
    assert f["depth_bid_1"] == pytest.approx(0.0)
    # The buyer paid 0.43 where the mid stayed 0.415: +1.5 cents; at 60 s it was 0.435: -0.5.
    assert found.markouts[0] == pytest.approx([1.5, 1.5, -0.5, math.nan], nan_ok=True)
    assert found.markouts[1] == pytest.approx([1.5, 1.5, math.nan, math.nan], nan_ok=True)
    assert f["markout_1s"] == pytest.approx(1.5) and f["markout_60s"] == pytest.approx(-0.5)
    assert f["jump_rate"] == 0.0 and math.isnan(f["jump_size"])
    assert f["volatility_10s"] == pytest.approx(math.sqrt(2.0**2 / 9 * 360))  # one move of 2 c in nine spans
    assert math.isnan(f["sign_correlation_5"])


def test_jumps_are_counted_apart_from_volatility() -> None:
    rows, bid = [], 4_000
    old = None
    for k in range(60):  # a cent up and down every 10 s, and once 9 cents
        step = 900 if k == 30 else 100 if k % 2 else -100
        rows += quote(10 * k, bid, bid + 100, old)
        old = (bid, bid + 100)
        bid += step
    f = r.measure([sample(*rows)])
    assert f["jump_rate"] == pytest.approx(3600 / 580)  # 58 spans: the last instant tells no mid
    assert f["jump_size"] == pytest.approx(9.0)
    assert f["volatility_10s"] == pytest.approx(math.sqrt(57 / 58 * 360))


@given(st.lists(st.booleans(), min_size=30, max_size=80), st.sampled_from(r.SIGN_LAGS))
def test_sign_correlation_is_the_textbook_s(buys: list[bool], lag: int) -> None:
    rows = quote(0, 4_000, 4_100)
    for k, buy in enumerate(buys):
        rows.append((k + 1, d.TRADE, 1 - int(buy), 4_100 if buy else 4_000, 1))
    rows.append((99, d.LEVEL, d.BID, 100, 1))
    found = r.measure([sample(*rows)])[f"sign_correlation_{lag}"]
    x = np.where(buys, 1.0, -1.0)
    if len(set(buys)) < 2:
        assert math.isnan(found)
        return
    expected = (np.mean(x[lag:] * x[:-lag]) - x.mean() ** 2) / x.var()
    assert found == pytest.approx(expected, abs=1e-9)


def test_pooling_weighs_tapes_by_their_time() -> None:
    long = sample(
        *quote(0, 4_000, 4_200), *quote(50, 4_000, 4_200, (4_000, 4_200), 11), (59, d.LEVEL, 0, 100, 1)
    )
    short = sample(*quote(0, 4_000, 4_500), (20, d.LEVEL, d.BID, 100, 1))
    expected = (59 * 2 + 20 * 5) / 79
    assert r.measure([long, short])["spread_mean"] == pytest.approx(expected)


@pytest.mark.parametrize(("freedom", "quantile"), [(2, 4.303), (4, 2.776), (7, 2.365), (30, 2.042)])
def test_student_is_the_table_s(freedom: int, quantile: float) -> None:
    assert r.student(freedom) == pytest.approx(quantile, rel=0.02)


def test_standard_errors_shrink_with_more_tapes_and_match_the_textbook_for_a_mean() -> None:
    some = [r.sample_tape(synthetic_market(seed, "short_dated")) for seed in range(12)]
    few, many = r.standard_errors(some[:3]), r.standard_errors(some)
    assert many["trade_rate"] < few["trade_rate"] or many["spread_mean"] < few["spread_mean"]
    rates = np.log([r.measure([one])["trade_rate"] + 1 for one in some])
    assert many["trade_rate"] == pytest.approx(rates.std(ddof=1) / math.sqrt(12), rel=0.35)
    assert math.isnan(r.standard_errors(some[:1])["trade_rate"])


def test_verdicts() -> None:
    some = [r.sample_tape(synthetic_market(seed, "short_dated")) for seed in range(2)]
    recorded = r.measure(some)
    errors = {row.key: 0.01 for row in r.ROWS}
    same = r.compare(recorded, errors, recorded, 9)
    assert r.resembles(same) and {one.verdict for one in same} <= {"yes", "unknown"}
    for key, factor, verdict in (
        ("trade_rate", 1.3, "yes"),
        ("trade_rate", 1.45, "no"),
        ("volatility_1s", 1.3, "no"),
        ("trade_rate", math.nan, "unknown"),
    ):
        other = r.compare(recorded, errors, {**recorded, key: recorded[key] * factor}, 9)
        assert {one.row.key: one.verdict for one in other}[key] == verdict
        assert r.resembles(other) == (verdict != "no")
    rate = recorded["trade_rate"] * 1.45
    noisy = r.compare(recorded, {**errors, "trade_rate": 0.3}, {**recorded, "trade_rate": rate}, 9)
    assert {one.row.key: one.verdict for one in noisy}["trade_rate"] == "noise"


def test_a_market_resembles_itself_on_other_seeds_but_no_other_regime() -> None:
    own = [r.sample_tape(synthetic_market(seed, "short_dated")) for seed in range(12)]
    other = [r.sample_tape(synthetic_market(seed, "short_dated")) for seed in range(50, 62)]
    calm = r.measure([r.sample_tape(synthetic_market(seed, "calm")) for seed in range(2)])
    recorded, fresh = r.measure(own), r.measure(other)
    errors, theirs = r.standard_errors(own), r.standard_errors(other)
    both = {key: math.hypot(errors[key], theirs[key]) for key in errors}
    assert sum(one.verdict == "no" for one in r.compare(recorded, both, fresh, 22)) <= 1
    assert sum(one.verdict == "no" for one in r.compare(recorded, both, calm, 22)) > 10


def test_the_last_minute_and_the_tails_are_left_out() -> None:
    tape = synthetic_market(2, "short_dated")
    begin_ns, end_ns = r.default_window(tape)
    assert tape.meta.close_ns is not None and end_ns == tape.meta.close_ns - 60 * SECOND
    assert r.sample_tape(tape).counted_ns <= end_ns - begin_ns
