"""Statistics and score of a market: against the slow reference, known answers, and what theory demands."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.units import NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import selection as sel
from pr3dict.kernels import selection_reference as ref
from pr3dict.kernels.quote import decide
from pr3dict.kernels.selection_rows import MARKOUT_S, SCORE, new_selection
from pr3dict.kernels.world import make_grids, new_market
from pr3dict.strategies.config import MarketMakingConfig

START_S = 1_790_000_000
GRIDS = make_grids([range(100, 10_000, 100)])
H = sel.HALVES
TICK = 10_000  # micros


def a_market(**fields: int) -> np.record:
    row = new_market()[0]
    row.status = d.ACTIVE
    row.resolution_ns = (START_S + 7_200) * NS_PER_SECOND
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def drive(looks: list[ref.Look], trades: list[ref.Trade], memory_ns: int = 0) -> np.record:
    """A SELECTION row that saw these seconds and trades in order of time."""
    row, market = new_selection()[0], a_market()
    waiting = sorted(trades, key=lambda t: t.at_s)
    for look in looks:
        while waiting and waiting[0].at_s <= look.second:
            t = waiting.pop(0)
            sel.observe_taker(row, t.bid, t.ask, t.side, t.price, t.size, int(t.at_s * NS_PER_SECOND))
        market.bid_price, market.ask_price = look.bid, look.ask
        market.bid_size, market.ask_size = look.bid_size, look.ask_size
        market.status = d.ACTIVE if look.takes_orders else d.PAUSED
        now_ns = look.second * NS_PER_SECOND
        market.resolution_ns = -1 if look.left is None else now_ns + look.left * NS_PER_SECOND
        sel.sample(row, market, now_ns, memory_ns)
    return row


prices = st.sampled_from([-1, 100, 300, 4_000, 4_100, 4_300, 5_500, 9_900])
sizes = st.integers(0, 500).map(lambda contracts: contracts * QTY_SCALE)


@st.composite
def histories(draw: Any) -> tuple[list[ref.Look], list[ref.Trade]]:
    """Some minutes of a market: a touch that changes now and then, trades between the seconds."""
    seconds = draw(st.integers(1, 150))
    looks, trades = [], []
    touch = (4_000, 4_300, 10 * QTY_SCALE, 20 * QTY_SCALE)
    change = draw(st.sets(st.integers(0, seconds), max_size=25))
    for k in range(seconds):
        if k in change:
            touch = (draw(prices), draw(prices), draw(sizes), draw(sizes))
        status = k not in change or draw(st.booleans())
        left = None if k % 17 == 3 else 5_000 - k
        looks.append(ref.Look(START_S + k, *touch, status, left))
    for _ in range(draw(st.integers(0, 25))):
        at = START_S + Fraction(draw(st.integers(1, seconds * 20)), 20)
        sides = st.sampled_from([d.BID, d.ASK])
        price = draw(st.sampled_from([100, 3_900, 4_150, 4_300, 9_900]))
        trades.append(ref.Trade(at, draw(sides), price, draw(sizes), draw(prices), draw(prices)))
    trades = [t for t in trades if t.at_s <= looks[-1].second]
    return looks, sorted(trades, key=lambda t: t.at_s)


@given(histories())
def test_running_sums_are_those_of_the_whole_history(history):
    looks, trades = history
    row, expected = drive(looks, trades), ref.statistics(looks, trades)
    for name in ("samples", "two_sided", "bid_size_sum", "ask_size_sum", "left_sum_s", "effective_contracts"):
        assert int(row[name]) == expected[name], name
    for name in ("trades", "contracts", "matured"):
        assert row[name].tolist() == expected[name], name
    assert row.volume_at.tolist() == expected["volume_at"]
    assert Fraction(int(row.spread_sum), 10_000) == expected["spread"]
    assert Fraction(int(row.mid_sum), H) == expected["mid"]
    for name in ("movement", "minute_movement", "excess", "reversion"):
        assert Fraction(int(row[name]), H * H) == expected[name], name
    for name in ("excess_variance", "reversion_variance"):
        assert float(row[name]) / H**4 == pytest.approx(float(expected[name]), abs=1e-12), name
    assert Fraction(int(row.effective), H) == expected["effective"]
    for name in ("impact", "realised"):
        assert [Fraction(int(x), H) for x in row[name]] == expected[name], name


def test_known_answers_of_a_small_history():
    """40/44, from 25 s on 44/48; one taker buys 30 at the ask at 20.5 s."""
    looks = [
        ref.Look(START_S + k, *((4_000, 4_400) if k < 25 else (4_400, 4_800)), 50 * QTY_SCALE,
                 70 * QTY_SCALE, True, 3_600 - k)
        for k in range(120)
    ]  # fmt: skip
    trade = ref.Trade(START_S + Fraction(41, 2), d.BID, 4_400, 30 * QTY_SCALE, 4_000, 4_400)
    row = drive(looks, [trade])
    assert sel.mean_spread_micros(row) == 40_000
    assert sel.mean_left_ns(row) == 3_540 * NS_PER_SECOND  # floor of the mean, 3540.5
    assert int(row.effective) == 400 * 30 * QTY_SCALE  # 2 cents beyond the mid
    # 10.5 s and 60.5 s later the mid stood 4 cents higher: the maker who sold at 44 lost 2 cents.
    assert row.impact.tolist() == [800 * 30 * QTY_SCALE] * 2
    assert row.realised.tolist() == [-400 * 30 * QTY_SCALE] * 2
    assert int(row.movement) == 800 * 800
    # 1 - 2 x 0.42 = 0.16 of the change of 0.04.
    assert int(row.excess) / H**2 == pytest.approx(0.16 * 0.04)
    assert sel.impact_error_micros(row, 1) == pytest.approx(40_000)
    assert row.volume_at[d.BID].tolist()[4] == 30 * QTY_SCALE


def test_late_samples_take_the_seconds_that_they_missed_and_a_long_gap_loses_what_was_pending():
    def look(k: int) -> ref.Look:
        return ref.Look(START_S + k, 4_000, 4_400, QTY_SCALE, QTY_SCALE, True, None)

    trade = ref.Trade(Fraction(START_S), d.ASK, 4_000, QTY_SCALE, 4_000, 4_400)
    assert drive([look(0), look(5), look(50), look(62)], [trade]).matured.tolist() == [QTY_SCALE, QTY_SCALE]
    assert drive([look(0), look(5), look(80)], [trade]).matured.tolist() == [0, 0]


def test_memory_halves_every_sum_and_quarters_variances():
    looks = [
        ref.Look(START_S + k, 4_000 + 100 * (k % 3), 4_400 + 100 * (k % 3), 8 * QTY_SCALE, 6 * QTY_SCALE,
                 True, 1_000)
        for k in range(100)
    ]  # fmt: skip
    trades = [ref.Trade(Fraction(START_S + k), d.BID, 4_400, 4 * QTY_SCALE, 4_000, 4_400) for k in (1, 5)]
    whole, halved = drive(looks, trades), drive(looks, trades, memory_ns=100 * NS_PER_SECOND)
    for name in ("samples", "two_sided", "spread_sum", "mid_sum", "bid_size_sum", "movement", "effective"):
        assert int(halved[name]) == int(whole[name]) // 2 > 0, name
    assert int(halved.excess) == int(whole.excess) >> 1
    for name in ("trades", "contracts", "impact", "matured"):
        assert (halved[name] == whole[name] >> 1).all(), name
    for name in ("excess_variance", "reversion_variance", "impact_squares"):
        assert halved[name] == pytest.approx(whole[name] / 4), name
    assert sel.mean_spread_micros(halved) == sel.mean_spread_micros(whole)


# --- mean reversion -------------------------------------------------------------------------------


def watched(path: np.ndarray[Any, Any]) -> np.record:
    """The row of a path of prices in half units, a second apart."""
    row, market = new_selection()[0], a_market()
    for k, mid in enumerate(path.tolist()):
        market.bid_price, market.ask_price = mid // 2, mid - mid // 2
        sel.sample(row, market, (START_S + k) * NS_PER_SECOND, 0)
    return row


def z_of(row: np.record, name: str) -> float:
    return float(row[name]) / math.sqrt(float(row[f"{name}_variance"]))


def test_a_martingale_shows_no_reversion():
    """300 random walks that end at 0 or 1: the gains of both contrarians scatter as their errors promise."""
    draw = np.random.default_rng(5)
    rows = []
    for _ in range(300):
        path = draw.integers(50, 450) * 40 + np.cumsum(draw.choice([-40, 40], size=600))
        ends = np.flatnonzero((path <= 0) | (path >= H))
        if len(ends):
            path[ends[0] :] = path[ends[0]]
        rows.append(watched(path))
    for name in ("excess", "reversion"):
        total = sum(float(row[name]) for row in rows)
        variance = sum(float(row[f"{name}_variance"]) for row in rows)
        assert abs(total) < 3 * math.sqrt(variance), name
        assert 0.8 < np.std([z_of(row, name) for row in rows]) < 1.2, name


@pytest.mark.parametrize("level", [4_000, 10_000])
def test_a_price_that_reverts_shows_it(level):
    """An Ornstein-Uhlenbeck mid with a memory of seconds; the excess tells most near one half."""
    draw = np.random.default_rng(6)
    departure, path = 0.0, []
    for _ in range(1_200):
        departure += -0.2 * departure + draw.normal(0, 150)
        path.append(level + 2 * round(departure / 2))
    row = watched(np.array(path))
    assert z_of(row, "reversion") > 5
    assert int(row.excess) > 0
    assert z_of(row, "excess") > (5 if level == H // 2 else 0)


def test_a_trend_is_the_opposite_of_reversion():
    row = watched(np.linspace(6_000, 18_000, 1_200).astype(int))
    assert z_of(row, "reversion") < -5


# --- filters and score ----------------------------------------------------------------------------


def judged(row: np.record, left_ns: int, **settings: Any) -> np.record:
    out, fee = np.zeros(1, SCORE)[0], np.zeros(1, d.FEE)[0]
    params = MarketMakingConfig(**settings).to_params()[0]
    sel.score_market(row, params, fee, TICK, left_ns, out)
    return out


@st.composite
def rows(draw: Any) -> np.record:
    row = new_selection()[0]
    row.samples = draw(st.integers(60, 100_000))
    row.two_sided = draw(st.integers(1, int(row.samples)))
    row.spread_sum = int(row.two_sided) * draw(st.integers(1, 15)) * 100
    row.mid_sum = int(row.two_sided) * draw(st.integers(10, 190)) * 100
    row.bid_size_sum = int(row.two_sided) * draw(st.integers(0, 3_000)) * QTY_SCALE
    row.ask_size_sum = int(row.two_sided) * draw(st.integers(0, 3_000)) * QTY_SCALE
    row.depth_samples = 1
    row.depth_sum = draw(st.integers(0, 60_000)) * 1_000_000
    for side in (0, 1):
        row.trades[side] = draw(st.integers(0, 5_000))
        for k in range(13):
            row.volume_at[side, k] = draw(st.integers(0, 500)) * QTY_SCALE
    for h in range(len(MARKOUT_S)):
        row.matured[h] = draw(st.sampled_from([0, 5, 4_000])) * QTY_SCALE
        row.impact[h] = int(row.matured[h]) * draw(st.integers(-400, 600))
        row.impact_squares[h] = float(row.impact[h] / QTY_SCALE) ** 2 / draw(st.sampled_from([1, 10, 100]))
    row.reward_micros = draw(st.sampled_from([0, 250_000]))
    return row


@given(rows(), st.sampled_from([900, 7_200, 90_000]), st.sampled_from(["0.02", "0.05"]))
def test_the_score_is_that_of_the_slow_reference(row, left_s, base):
    settings = {"base_spread": base, "max_spread": "0.12", "quote_size": 7}
    out = judged(row, left_s * NS_PER_SECOND, **settings)
    half = Fraction(int(out.quoted_spread_micros), 2_000_000)
    market_half = Fraction(int(row.spread_sum), 20_000 * int(row.two_sided))
    size = 7 * QTY_SCALE
    rates = [
        ref.fills_an_hour(row, side, half, market_half, Fraction(1, 100), size) / QTY_SCALE
        for side in ("bid", "ask")
    ]
    assert [out.bid_contracts, out.ask_contracts] == pytest.approx(
        [float(r * QTY_SCALE) for r in rates], abs=2
    )
    net = ref.money_an_hour(min(rates), half, float(out.impact_micros) / 1e6, [])
    net += Fraction(int(row.reward_micros), 1_000_000)
    assert int(out.net_micros) == pytest.approx(float(net * 1_000_000), abs=3, rel=1e-9)
    parts = int(out.capture_micros) - int(out.adverse_micros) - int(out.fees_micros)
    assert int(out.net_micros) == parts + int(out.rebates_micros) + int(out.rewards_micros)
    bid, ask = Fraction(int(out.bid_price), 10_000), Fraction(int(out.ask_price), 10_000)
    hours = Fraction(left_s, 3_600)
    dollars, freed = ref.locked(Fraction(7), bid, ask, (rates[0], rates[1]), hours, Fraction(20))
    assert int(out.locked_micros) == pytest.approx(float(dollars * 1_000_000), abs=3, rel=1e-9)
    assert int(out.locked_ns) == pytest.approx(float(freed) * 3.6e12, rel=1e-9, abs=1)
    expected = float(out.net_micros) * 1e6 / float(out.locked_micros)
    assert int(out.score_ppm) == pytest.approx(expected, abs=1)


@given(rows(), st.integers(0, 600))
def test_expected_impact_lies_between_what_was_measured_and_the_prior(row, half_cents):
    half = half_cents * 5_000.0
    found = sel.expected_impact_micros(row, half)
    if row.matured[1] == 0:
        assert found == half / 2
        return
    measured = float(row.impact[1]) * 50 / float(row.matured[1])
    assert min(measured, half / 2) - 1e-6 <= found <= max(measured, half / 2) + 1e-6
    row.impact_squares[1] = 0.0
    assert sel.expected_impact_micros(row, half) == pytest.approx(measured)


@pytest.mark.parametrize("hours", [2, 12, 48])
@pytest.mark.parametrize("liquidity", [6_000, 20_000])
@pytest.mark.parametrize("volatility", [0, 90_000])
@pytest.mark.parametrize("policy", ["pr3dict", "fixed_spread"])
def test_the_spread_that_is_scored_is_the_one_that_is_quoted(hours, liquidity, volatility, policy):
    params = MarketMakingConfig(policy=policy).to_params()[0]
    now_ns, left_ns = START_S * NS_PER_SECOND, hours * 3_600 * NS_PER_SECOND
    market = a_market(
        bid_price=4_500, ask_price=5_500, fair_micros=500_000, lot=QTY_SCALE, min_size=QTY_SCALE
    )
    market.liquidity_micros, market.volatility_micros = liquidity * 10**6, volatility
    market.close_ns = market.resolution_ns = now_ns + left_ns
    quote = np.zeros(1, d.QUOTE)[0]
    decide(market, params, GRIDS, 0, now_ns, 10**15, 10**15, 0, quote)
    scored = sel.quoted_spread_micros(params, liquidity * 10**6, volatility, left_ns)
    assert scored == int(quote.spread_micros)


def test_fees_and_rebates_are_the_schedules_own():
    row = new_selection()[0]
    row.samples = row.two_sided = 3_600
    row.spread_sum, row.mid_sum = 400 * 3_600, 10_000 * 3_600
    row.bid_size_sum = row.ask_size_sum = 90 * QTY_SCALE * 3_600
    row.trades[:] = 1_000
    row.volume_at[:, 4] = 61_000 * QTY_SCALE
    params = MarketMakingConfig(quote_size=10, base_spread="0.02").to_params()[0]
    fees = np.zeros(2, d.FEE)
    fees["kind"] = [d.FEE_KALSHI, d.FEE_POLYMARKET]
    fees["taker_ppm"] = 70_000
    fees["maker_ppm"], fees["rebate_ppm"] = [17_500, 0], [0, 200_000]
    fees["trade_unit_micros"] = 1
    out = np.zeros(2, SCORE)
    for k in range(2):
        sel.score_market(row, params, fees[k], TICK, 72 * 3_600 * NS_PER_SECOND, out[k])
    # base 2 cents + 2 of an illiquid market: bid 0.48, ask 0.52. 61,000 an hour in an hour and a minute, of
    # which a tenth is ours: 6,000 contracts in 600 rounds.
    assert int(out[0].bid_price) == 4_800 and int(out[0].ask_price) == 5_200
    assert int(out[0].bid_contracts) == pytest.approx(6_000 * QTY_SCALE, rel=1e-3)
    a_round = 2 * 0.0175 * 10 * 0.48 * 0.52
    assert int(out[0].fees_micros) == pytest.approx(600 * a_round * 1e6, rel=1e-3)
    assert int(out[1].fees_micros) == 0
    assert int(out[1].rebates_micros) == pytest.approx(
        600 * 2 * 0.2 * 0.07 * 10 * 0.48 * 0.52 * 1e6, rel=1e-3
    )


@pytest.mark.parametrize(
    ("change", "bit"),
    [
        ({}, None),
        ({"samples": 0}, d.R_NOT_ACTIVE),
        ({"two_sided": 1_799}, d.R_ONE_SIDED_BOOK),
        ({"depth_sum": 4_999_999_999}, d.R_LOW_LIQUIDITY),
        ({"spread_sum": 199 * 3_600}, d.R_NARROW_SPREAD),
        ({"left": -1}, d.R_UNKNOWN_RESOLUTION),
        ({"left": 1_799}, d.R_TOO_CLOSE),
        ({"left": 1_800}, None),
        ({"left": 604_801}, d.R_TOO_FAR),
    ],
)
def test_filters(change, bit):
    row = new_selection()[0]
    values = {"samples": 3_600, "two_sided": 3_600, "spread_sum": 200 * 3_600, "depth_samples": 1,
              "depth_sum": 5_000_000_000, "left": 7_200} | change  # fmt: skip
    left_ns = values.pop("left")
    for name, value in values.items():
        setattr(row, name, value)
    if "two_sided" in change:
        row.spread_sum = 200 * change["two_sided"]
    params = MarketMakingConfig().to_params()[0]
    bits = sel.filter_bits(row, params, left_ns * NS_PER_SECOND if left_ns > 0 else left_ns)
    assert bits == (0 if bit is None else 1 << bit)


def test_a_market_without_statistics_is_ranked_by_spread_and_depth():
    """One second old: the tighter market with the deeper touch on both sides scores more."""

    def young(spread: int, contracts: int) -> int:
        looks = [ref.Look(START_S, 5_000 - spread // 2, 5_000 + spread // 2, contracts * QTY_SCALE,
                          contracts * QTY_SCALE, True, 90_000)]  # fmt: skip
        return int(judged(drive(looks, []), 90_000 * NS_PER_SECOND).score_ppm)

    assert young(400, 500) > young(200, 500) > 0
    assert young(400, 500) > young(400, 50)


def test_quotes_without_sizes_are_sampled_as_they_stood():
    row, market = new_selection()[0], a_market()
    times = np.array([0, 5, 8], np.int64) * NS_PER_SECOND + START_S * NS_PER_SECOND
    bids, asks = np.array([4_000, 4_100, -1], np.int32), np.array([4_200, 4_400, 4_400], np.int32)
    sel.watch_quotes(times, bids, asks, (START_S + 9) * NS_PER_SECOND, market, row)
    assert (int(row.samples), int(row.two_sided)) == (10, 8)
    assert int(row.spread_sum) == 5 * 200 + 3 * 300
    assert int(row.movement) == 300 * 300
