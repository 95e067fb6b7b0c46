"""Estimators against their slow reference, and mirrored."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import estimators as est
from pr3dict.kernels import reference
from pr3dict.kernels.world import make_grids, new_market

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
CONTRACT = 1_000_000
CENTS = range(100, 10_000, 100)
TAPERED = [*range(10, 1000, 10), *range(1000, 9000, 100), *range(9000, 10_000, 10)]
GRIDS = make_grids([list(CENTS), TAPERED])
MIRROR_SIDE = {d.BID: d.ASK, d.ASK: d.BID}

sizes = st.integers(1, 10**13)
states = st.sampled_from([d.FREE, d.PENDING, d.LIVE, d.CANCELING])
sides = st.sampled_from([d.BID, d.ASK])


def new_params(**values):
    params = np.zeros(1, d.PARAMS)
    for name, value in values.items():
        params[name] = value
    return params[0]


def order_rows(own):
    rows = np.zeros(d.ORDER_SLOTS, d.ORDER)
    for row, order in zip(rows, own, strict=False):
        row.side, row.price, row.remaining, row.state = order
    return rows


def book_rows(levels, grid):
    """BOOK row and depth of a book given as {(side, price): size}."""
    book = np.zeros(1, d.BOOK)[0]
    depth = np.zeros((2, GRIDS.price_of_level.shape[1]), np.int64)
    book.grid, book.bid_level, book.ask_level = grid, -1, GRIDS.level_count[grid]
    for (side, price), size in levels.items():
        level = int(GRIDS.level_of_price[grid, price])
        depth[side, level] = size
        if side == d.BID:
            book.bid_level = max(book.bid_level, level)
        else:
            book.ask_level = min(book.ask_level, level)
    return book, depth


def mirrored(levels):
    return {(MIRROR_SIDE[side], 10_000 - price): size for (side, price), size in levels.items()}


def mirrored_own(own):
    return [reference.Own(MIRROR_SIDE[o.side], 10_000 - o.price, o.remaining, o.state) for o in own]


@st.composite
def books(draw):
    """(levels as the venue shows them, own orders, grid); own orders rest at levels near the touch."""
    grid = draw(st.integers(0, 1))
    count = int(GRIDS.level_count[grid])
    prices = [int(p) for p in GRIDS.price_of_level[grid, :count]]
    split = draw(st.integers(0, count))
    near = st.integers(0, 25)
    levels = {}
    for side in (d.BID, d.ASK):
        for distance in draw(st.lists(near, max_size=8)):
            level = split - 1 - distance if side == d.BID else split + distance
            if 0 <= level < count:
                levels[side, prices[level]] = draw(sizes)
    own = []
    for key in draw(st.lists(st.sampled_from(sorted(levels)), max_size=6)) if levels else []:
        order = reference.Own(*key, draw(st.integers(1, 10**9) | st.just(levels[key])), draw(states))
        own.append(order)
    return levels, own, grid


def observe(levels, own, grid, *, includes_own, stated=-1):
    market = new_market()[0]
    market.book_includes_own = includes_own
    market.stated_liquidity_micros = stated
    book, depth = book_rows(levels, grid)
    book.event_ns = START - SECOND
    rows = order_rows(own)
    est.observe_book(market, book, depth, GRIDS, rows, START)
    est.measure_liquidity(market, book, depth, GRIDS, rows)
    return market


def touch_of(market):
    return reference.Touch(market.bid_price, market.bid_size, market.ask_price, market.ask_size)


# --- The book


@given(books(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_touch_and_liquidity_equal_reference_with_own_quotes_out(case, includes_own):
    levels, own, grid = case
    market = observe(levels, own, grid, includes_own=includes_own)
    others = reference.without_own(levels, own) if includes_own else levels
    shown = reference.touch(levels)
    assert touch_of(market) == reference.touch(others)
    assert (market.far_bid_price, market.far_ask_price) == (shown.bid_price, shown.ask_price)
    assert market.liquidity_micros == reference.liquidity_micros(others)
    assert (market.book_ns, market.volume_start_ns) == (START - SECOND, START)


@given(books(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_touch_and_liquidity_mirror_when_yes_and_no_swap(case, includes_own):
    levels, own, grid = case
    one = observe(levels, own, grid, includes_own=includes_own)
    two = observe(mirrored(levels), mirrored_own(own), grid, includes_own=includes_own)

    def flipped(price):
        return -1 if price < 0 else 10_000 - price

    assert touch_of(two) == (flipped(one.ask_price), one.ask_size, flipped(one.bid_price), one.bid_size)
    assert two.far_bid_price == flipped(one.far_ask_price)
    assert two.liquidity_micros == one.liquidity_micros


def test_only_orders_that_the_venue_shows_are_taken_out():
    levels = {(d.BID, 5000): 30 * CONTRACT, (d.BID, 4900): 5 * CONTRACT, (d.ASK, 5200): 7 * CONTRACT}
    own = [reference.Own(d.BID, 5000, 10 * CONTRACT, state) for state in (d.LIVE, d.CANCELING, d.PENDING)]
    market = observe(levels, own, 0, includes_own=1)
    assert touch_of(market) == (5000, 10 * CONTRACT, 5200, 7 * CONTRACT)
    market = observe(levels, [*own, own[0]], 0, includes_own=1)
    assert touch_of(market) == (4900, 5 * CONTRACT, 5200, 7 * CONTRACT)
    assert market.far_bid_price == 5000


def test_liquidity_counts_levels_of_exactly_ten_cents_and_no_further():
    levels = {
        (d.BID, 5000): CONTRACT,  # $0.50
        (d.BID, 4100): CONTRACT,  # mid 0.51 less 0.10: $0.41
        (d.BID, 4000): 999 * CONTRACT,
        (d.ASK, 5200): CONTRACT,  # $0.48
        (d.ASK, 6100): CONTRACT,  # $0.39
        (d.ASK, 6200): 999 * CONTRACT,
    }
    assert observe(levels, [], 0, includes_own=0).liquidity_micros == 1_780_000


def test_liquidity_takes_the_venues_figure_and_is_zero_without_a_mid():
    levels = {(d.BID, 5000): CONTRACT, (d.ASK, 5200): CONTRACT}
    assert observe(levels, [], 0, includes_own=0, stated=7).liquidity_micros == 7
    assert observe({(d.BID, 5000): CONTRACT}, [], 0, includes_own=0).liquidity_micros == 0
    crossed = {(d.BID, 5300): CONTRACT, (d.ASK, 5200): CONTRACT}
    assert observe(crossed, [], 0, includes_own=0).liquidity_micros == 0


def test_liquidity_of_very_deep_books_does_not_overflow():
    levels = {(d.BID, p): 9 * 10**14 for p in range(9000, 9900, 10)} | {(d.ASK, 9900): 1}
    market = observe(levels, [], 1, includes_own=0)
    assert market.liquidity_micros == reference.liquidity_micros(levels) > 2**54


@pytest.mark.parametrize(
    ("book", "e_n"),
    [  # AD-04 of the known answers: hand arithmetic after Cont, Kukanov & Stoikov 2014
        (
            [
                (4800, 100, 5000, 80),
                (4800, 150, 5000, 80),
                (4900, 40, 5000, 80),
                (4900, 40, 5100, 60),
                (4800, 150, 5100, 60),
            ],
            [50, 40, 80, -40],
        )
    ],
)
def test_ofi_known_answer(book, e_n):
    changes = [est.ofi(*after, *before) for before, after in pairwise(book)]
    assert changes == e_n
    assert sum(changes) == 130


touches = st.builds(
    lambda bid, gap, bq, aq: reference.Touch(
        bid if bid > 0 else -1, bq if bid > 0 else 0, bid + gap if gap < 6 else -1, aq if gap < 6 else 0
    ),
    st.integers(0, 5),
    st.integers(1, 6),
    sizes,
    sizes,
)


@given(touches, touches)
@settings(deadline=None, max_examples=100)
def test_ofi_equals_reference_and_changes_sign_when_sides_swap(before, after):
    def swap(t):
        return (
            -1 if t.ask_price < 0 else 10_000 - t.ask_price,
            t.ask_size,
            -1 if t.bid_price < 0 else 10_000 - t.bid_price,
            t.bid_size,
        )

    value = est.ofi(*after, *before)
    assert value == reference.ofi(before, after)
    assert est.ofi(*swap(after), *swap(before)) == -value


# --- Flow and volume

trade_lists = st.lists(
    st.tuples(st.integers(0, 400) | st.integers(0, 40_000), sides, sizes), min_size=1, max_size=30
)
WINDOWS = st.sampled_from(
    [(60 * SECOND, 1800 * SECOND), (10 * SECOND, 180 * SECOND), (60 * SECOND, 9000 * SECOND), (6, 36)]
)


def run_trades(trades, params, *, start=START):
    """Feed (wait in tenths of a second, side, size); give back the market and the trades in absolute time."""
    market = new_market()[0]
    market.volume_start_ns = start
    seen, now = [], start
    for wait, side, size in trades:
        now += wait * SECOND // 10
        est.observe_trade(market, params, side, 5000, size, now)
        seen.append(reference.Trade(now, side, size))
    return market, seen, now


@given(trade_lists, WINDOWS, st.integers(0, 3000))
@settings(deadline=None, max_examples=100)
def test_volume_sums_equal_brute_force(trades, spans, quiet):
    window, baseline = spans
    params = new_params(volume_window_ns=window, volume_baseline_ns=baseline)
    market, seen, now = run_trades(trades, params)
    width = window // 6
    buckets = min(baseline // width, d.VOLUME_BUCKETS)
    for _ in range(3):
        est.advance_volume(market, params, now)
        assert market.volume_window == reference.volume(seen, now, width, 6)
        assert market.volume_baseline == reference.volume(seen, now, width, buckets)
        now += quiet * SECOND // 3


@given(trade_lists, WINDOWS, st.integers(500_000, 6_000_000), st.integers(0, 100))
@settings(deadline=None, max_examples=150)
def test_volume_spike_equals_reference(trades, spans, ppm, wait):
    window, baseline = spans
    params = new_params(volume_window_ns=window, volume_baseline_ns=baseline, volume_spike_ppm=ppm)
    market, seen, now = run_trades(trades, params)
    now += wait * SECOND
    expected = reference.volume_spike(seen, START, now, window, baseline, Fraction(ppm, 1_000_000))
    assert est.volume_spike(market, params, now) == expected


def spike_after(last_minute, *, minutes=29):
    """29 minutes of 60 contracts each, then one of `last_minute` micro-contracts."""
    params = new_params(
        volume_window_ns=60 * SECOND, volume_baseline_ns=1800 * SECOND, volume_spike_ppm=3_000_000
    )
    start = START - START % (60 * SECOND)
    trades = [(600, d.BID, 60 * CONTRACT) for _ in range(minutes - 1)] + [(600, d.ASK, last_minute)]
    market, _, now = run_trades([(0, d.BID, 60 * CONTRACT), *trades], params, start=start)
    return est.volume_spike(market, params, now + 50 * SECOND)


def test_volume_spike_is_strictly_more_than_three_average_minutes():
    # The spike is in its own average: x > 3 (29 x 60 + x) / 30  <=>  x > 580/3 = 193.3.
    assert not spike_after(193 * CONTRACT)
    assert spike_after(194 * CONTRACT)
    # Five minutes of history: x > 3 (4 x 60 + x) / 5 <=> x > 360; exactly three times is no spike.
    assert not spike_after(360 * CONTRACT, minutes=4)
    assert spike_after(360 * CONTRACT + 1, minutes=4)


def test_volume_spike_needs_two_windows_of_history_and_some_volume():
    params = new_params(volume_window_ns=60 * SECOND, volume_baseline_ns=1800 * SECOND, volume_spike_ppm=1)
    market = new_market()[0]
    assert not est.volume_spike(market, params, START)
    est.observe_trade(market, params, d.BID, 5000, CONTRACT, START)
    est.observe_trade(market, params, d.BID, 5000, CONTRACT, START + 119 * SECOND)
    assert not est.volume_spike(market, params, START + 120 * SECOND - 1)
    assert est.volume_spike(market, params, START + 120 * SECOND)
    assert not est.volume_spike(market, params, START + 7200 * SECOND)
    est.observe_trade(market, params, d.BID, 5000, CONTRACT, START + 7200 * SECOND)
    assert est.volume_spike(market, params, START + 7200 * SECOND)


@given(trade_lists, st.integers(1, 600))
@settings(deadline=None, max_examples=60)
def test_flow_equals_the_sum_of_decayed_trades_and_mirrors(trades, half_life_s):
    params = new_params(flow_half_life_ns=half_life_s * SECOND)
    market, seen, now = run_trades(trades, params)
    signed, total = reference.flow(seen, now, half_life_s * SECOND)
    assert market.flow_total == pytest.approx(total, rel=1e-9)
    assert market.flow_signed == pytest.approx(signed, rel=1e-9, abs=1e-9 * total)
    mirror, _, _ = run_trades([(w, MIRROR_SIDE[s], q) for w, s, q in trades], params)
    assert (mirror.flow_signed, mirror.flow_total) == (-market.flow_signed, market.flow_total)


def test_flow_halves_in_one_half_life_and_late_events_change_nothing():
    assert est.decay(30 * SECOND, 30 * SECOND) == pytest.approx(0.5, rel=1e-15)
    assert est.decay(-1, 30) == est.decay(5, 0) == est.decay(0, 0) == 1.0
    params = new_params(flow_half_life_ns=SECOND)
    market = new_market()[0]
    est.observe_trade(market, params, d.BID, 5000, 8 * CONTRACT, START)
    est.observe_trade(market, params, d.BID, 5000, CONTRACT, START - SECOND)  # an older clock
    assert (market.flow_signed, market.flow_ns) == (9.0, START)


# --- Volatility

paths = st.lists(
    st.tuples(
        st.integers(1, 30 * SECOND)
        | st.integers(1, 3)
        | st.just(10 * SECOND)
        | st.integers(SECOND, 2000 * SECOND),
        st.none() | st.integers(0, 1_000_000),
    ),
    max_size=40,
)


def run_path(path, params):
    market = new_market()[0]
    now, calls = START, []
    for wait, value in path:
        now += wait
        market.fair_micros = -1 if value is None else value
        est.sample_volatility(market, params, now)
        calls.append((now, value))
    return market, calls


@given(paths, st.sampled_from([1, 5, 60, 128, 500]))
@settings(deadline=None, max_examples=150)
@example([(1, 0), (SECOND * 700, 1_000_000), (SECOND * 10, 1_000_000), (SECOND * 10, 0)], 60)
def test_volatility_equals_recomputation_from_the_recorded_path(path, samples):
    grid = 10 * SECOND
    market, calls = run_path(path, new_params(volatility_grid_ns=grid, volatility_samples=samples))
    window = reference.grid_changes(calls, grid)[-min(samples, d.VOLATILITY_SAMPLES) :]
    assert market.vol_count == len(window)
    assert market.vol_sum == float(np.sum(np.array(window, np.int64) ** 2))
    assert sorted(market.vol_ring[: len(window)]) == sorted(window)
    assert abs(int(market.volatility_micros) - reference.volatility_micros(window, grid)) <= 1


@given(paths)
@settings(deadline=None, max_examples=40)
def test_volatility_is_the_same_when_yes_and_no_swap(path):
    params = new_params(volatility_grid_ns=10 * SECOND, volatility_samples=60)
    one, _ = run_path(path, params)
    two, _ = run_path([(w, None if v is None else 1_000_000 - v) for w, v in path], params)
    assert one.volatility_micros == two.volatility_micros
    assert np.array_equal(one.vol_ring, -two.vol_ring)


def test_volatility_of_a_cent_every_ten_seconds():
    # 1 cent each 10 s: 360 moves an hour, 0.01 x sqrt(360) = 18.97 cents per square-root hour.
    params = new_params(volatility_grid_ns=10 * SECOND, volatility_samples=60)
    path = [(10 * SECOND, 500_000 + 10_000 * (k % 2)) for k in range(200)]
    market, _ = run_path(path, params)
    assert market.volatility_micros == 189_736
    quiet = [(10 * SECOND, 510_000)] * 61
    assert run_path(path + quiet, params)[0].volatility_micros == 0


def test_volatility_off_and_not_started():
    path = [(10 * SECOND, 1), (10 * SECOND, 900_000)]
    assert run_path(path, new_params(volatility_samples=5))[0].vol_next_ns == 0
    assert run_path(path, new_params(volatility_grid_ns=SECOND))[0].vol_next_ns == 0
    missing = [(10 * SECOND, None)] * 5
    on = new_params(volatility_grid_ns=SECOND, volatility_samples=5)
    assert run_path(missing, on)[0].vol_next_ns == 0


# --- Markouts

own_fills = st.lists(
    st.tuples(st.integers(0, 20), sides, st.integers(1, 9_999), st.integers(1, 10**9), books()),
    min_size=1,
    max_size=12,
)


def set_touch(market, levels):
    best = reference.touch(levels)
    market.bid_price, market.ask_price = best.bid_price, best.ask_price
    return best


def run_fills(fills, params, *, mirror=False):
    """Each fill comes with the book that stands from its time on; markouts mature before the book moves."""
    market, now, log = new_market()[0], START, []
    timeline = []
    for wait, taken_side, yes_price, size, (levels, _, _) in fills:
        now += wait * SECOND
        side, price = (MIRROR_SIDE[taken_side], 10_000 - yes_price) if mirror else (taken_side, yes_price)
        est.mature_markouts(market, params, now)
        timeline.append((now, reference.mid(set_touch(market, mirrored(levels) if mirror else levels))))
        est.observe_own_fill(market, params, side, price, size, now)
        log.append((now + int(params.markout_horizon_ns), side, price, size))
    end = now + int(params.markout_horizon_ns)
    est.mature_markouts(market, params, end)
    # A markout is settled by the first call at or after its due time, with the book that stood before it.
    calls = [t for t, _ in timeline] + [end]
    expected = []
    for due, side, price, size in log:
        call = next(t for t in calls if t >= due)
        standing = [mid for t, mid in timeline[: calls.index(call)]]
        mid = standing[-1]
        expected.append(reference.Fill(side, price, size, None if mid is None else int(mid)))
    return market, expected


@given(own_fills, st.integers(1, 10**10))
@settings(deadline=None, max_examples=100)
def test_markout_mean_equals_brute_force_and_is_the_same_mirrored(fills, half_life):
    params = new_params(markout_horizon_ns=10 * SECOND, markout_half_life_contracts=half_life)
    market, expected = run_fills(fills, params)
    assert market.markout_count == 0
    settled = [f for f in expected if f.mid_after is not None]
    mean, weight = reference.markout_mean(settled, half_life)
    assert market.markout_weight == pytest.approx(weight, rel=1e-9)
    assert market.markout_micros == pytest.approx(mean, rel=1e-9, abs=1e-3)
    mirror, _ = run_fills(fills, params, mirror=True)
    assert (mirror.markout_micros, mirror.markout_weight) == (market.markout_micros, market.markout_weight)


def test_markout_is_in_our_favour_when_price_moves_our_way():
    params = new_params(markout_horizon_ns=10 * SECOND)
    market = new_market()[0]
    market.bid_price, market.ask_price = 4900, 5100
    est.observe_own_fill(market, params, d.BID, 4900, 30 * CONTRACT, START)
    est.observe_own_fill(market, params, d.ASK, 5100, 10 * CONTRACT, START)
    market.bid_price, market.ask_price = 5000, 5200
    est.mature_markouts(market, params, START + 10 * SECOND - 1)
    assert (market.markout_count, market.markout_weight) == (2, 0.0)
    est.mature_markouts(market, params, START + 10 * SECOND)
    # The buy at 0.49 gained 2 cents, the sale at 0.51 nothing: (30 x 2 + 10 x 0) / 40.
    assert (market.markout_count, market.markout_micros, market.markout_weight) == (0, 15_000.0, 40.0)


def test_a_full_markout_queue_settles_its_oldest_early():
    params = new_params(markout_horizon_ns=SECOND)
    market = new_market()[0]
    market.bid_price, market.ask_price = 4900, 5100
    for k in range(d.PENDING_MARKOUTS + 3):
        est.observe_own_fill(market, params, d.BID, 4000 + k, CONTRACT, START + k)
    assert (market.markout_count, market.markout_weight) == (d.PENDING_MARKOUTS, 3.0)
    assert market.markout_micros == pytest.approx(500_000 - 400_100)
    market.bid_price = -1  # no mid: the rest is dropped
    est.mature_markouts(market, params, START + 10 * SECOND)
    assert (market.markout_count, market.markout_weight) == (0, 3.0)
