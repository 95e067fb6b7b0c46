"""Which markets are worth quoting: statistics of a market, the filters of spec section 2, and the score.

One SELECTION row a market is fed with each trade and with one sample of the book a second; the same functions
run over a whole tape and, without looking ahead, in the brain. docs/selection.md has the formulas and their
sources. Sums are exact integers; floats stand only inside the model of the score.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import (
    MICROS_PER_PRICE_UNIT,
    NS_PER_HOUR,
    NS_PER_SECOND,
    PPM_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.fees import expected_maker_fee_micros, fill_rebate_micros
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.quote_levels import scale_ppm
from pr3dict.kernels.quote_state import resolution_left_ns, takes_orders
from pr3dict.kernels.selection_rows import DISTANCE_BINS, MARKOUT_S, RING_S
from pr3dict.kernels.world import IntArray

PriceArray = npt.NDArray[np.int32]

SAMPLE_NS = NS_PER_SECOND
DEPTH_EVERY_S = 10  # the walk through the levels is the dear part of a sample
MINUTE_S = 60
HALVES = 2 * PRICE_SCALE  # half units in a dollar
MICROS_PER_HALF = MICROS_PER_PRICE_UNIT // 2
BIN_HALVES = HALVES // 200  # half a cent
LONGEST_S = MARKOUT_S[1]
PRIOR_HOURS = 1 / 60  # weight of the prior on trades: the touch, traded once an hour


# --- what is measured -----------------------------------------------------------------------------


@kernel
def first_sample_ns(now_ns: int) -> int:
    """The first time of the sampling grid at or after `now_ns`."""
    return -(-now_ns // SAMPLE_NS) * SAMPLE_NS


@kernel
def observe_taker(
    row: d.Row, bid_price: int, ask_price: int, side: int, price: int, size: int, now_ns: int
) -> None:
    """Count a trade of `size` micro-contracts at `price`, with the touch just before it (-1: none).

    side: BID where the taker bought YES. Without a mid before it, a trade counts as volume only.
    """
    row.trades[side] += 1
    row.contracts[side] += size
    if bid_price < 0 or ask_price < 0 or bid_price > ask_price:
        return
    mid = bid_price + ask_price
    sign = 1 if side == d.BID else -1
    distance = sign * (2 * price - mid)
    row.volume_at[side, min(max(distance, 0) // BIN_HALVES, DISTANCE_BINS - 1)] += size
    row.effective += distance * size
    row.effective_contracts += size
    second = -(-now_ns // SAMPLE_NS)
    if row.second > 0 and second - row.second > RING_S - LONGEST_S:
        return  # samples are late: the ring still holds another second's trades there
    slot = second % RING_S
    row.ring_qty[slot] += size
    row.ring_signed[slot] += sign * size
    row.ring_paid[slot] += sign * size * 2 * price
    row.ring_mid[slot] += sign * size * mid


@kernel
def _mature(row: d.Row, second: int, mid: int) -> None:
    """Take the markouts that fall due in `second` against its mid (half units); without one they are lost.

    Impact and realised spread as in Huang & Stoll (1996), "Dealer versus auction markets", section 3.
    """
    for h in range(len(MARKOUT_S)):
        slot = (second - MARKOUT_S[h]) % RING_S
        size = int(row.ring_qty[slot])
        if size > 0 and mid >= 0:
            signed = mid * int(row.ring_signed[slot])
            impact = signed - int(row.ring_mid[slot])
            row.impact[h] += impact
            row.realised[h] += int(row.ring_paid[slot]) - signed
            row.matured[h] += size
            row.impact_minute[h] += impact
        if second % MINUTE_S == 0:
            minute = float(row.impact_minute[h]) / QTY_SCALE
            row.impact_squares[h] += minute * minute
            row.impact_minute[h] = 0
    slot = (second - LONGEST_S) % RING_S
    row.ring_qty[slot] = row.ring_signed[slot] = row.ring_paid[slot] = row.ring_mid[slot] = 0


@kernel
def _advance_ring(row: d.Row, second: int, mid: int) -> None:
    last = int(row.second)
    row.second = second
    if last == 0:
        last = second - 1
    if second - last > RING_S:  # nobody looked for more than a minute: what was pending is lost
        row.ring_qty[:] = 0
        row.ring_signed[:] = 0
        row.ring_paid[:] = 0
        row.ring_mid[:] = 0
        return
    for s in range(last + 1, second + 1):
        _mature(row, s, mid)


@kernel
def _move(row: d.Row, second: int, mid: int) -> None:
    """Book the change of the mid since the last two-sided sample.

    With p in [0, 1] a change d resolves p (1 - p) - (p + d)(1 - p - d) = d^2 - (1 - 2p) d of uncertainty, so
    movement exceeds it by (1 - 2p) d (Augenblick & Rabin 2021, "Belief Movement, Uncertainty Reduction, and
    Rational Updating", proposition 1). Within a minute that began at s, the sum of d^2 exceeds the square of
    the whole change by the sum of 2 (s - p) d, as in the variance ratio of Lo & MacKinlay (1988). Both are
    what a holder of 1 - 2p, or 2 (s - p), contracts gains: zero on average for any martingale, with the
    variances summed here.
    """
    if row.last_mid >= 0:
        last = int(row.last_mid)
        change = mid - last
        excess = (HALVES - 2 * last) * change
        reversion = 2 * (int(row.minute_mid) - last) * change
        row.movement += change * change
        row.excess += excess
        row.excess_variance += float(excess) * float(excess)
        row.reversion += reversion
        row.reversion_variance += float(reversion) * float(reversion)
    row.last_mid = mid
    if row.minute_mid < 0:
        row.minute_mid = mid
    elif second % MINUTE_S == 0:
        change = mid - int(row.minute_mid)
        row.minute_movement += change * change
        row.minute_mid = mid


@kernel
def sample(row: d.Row, market: d.Row, now_ns: int, memory_ns: int) -> None:
    """Sample a MARKET row whose touch is up to date at a grid time; `memory_ns` 0 keeps everything alike.

    When the samples span the memory, every sum is halved: what is older weighs half, then a quarter.
    """
    second = now_ns // SAMPLE_NS
    bid, ask = int(market.bid_price), int(market.ask_price)
    two_sided = bid >= 0 and ask >= 0 and bid <= ask
    mid = bid + ask if two_sided else -1
    if row.since_ns == 0:
        row.since_ns = now_ns
    _advance_ring(row, second, mid)
    if not takes_orders(market):
        return
    row.samples += 1
    left_ns = resolution_left_ns(market, now_ns)
    if left_ns >= 0:
        row.left_samples += 1
        row.left_sum_s += left_ns // NS_PER_SECOND
    if two_sided:
        row.two_sided += 1
        row.spread_sum += ask - bid
        row.mid_sum += mid
        row.bid_size_sum += int(market.bid_size)
        row.ask_size_sum += int(market.ask_size)
        _move(row, second, mid)
    if memory_ns > 0 and int(row.samples) * SAMPLE_NS >= memory_ns:
        _halve(row)


@njit
def watch_quotes(
    times_ns: IntArray, bids: PriceArray, asks: PriceArray, until_ns: int, market: d.Row, row: d.Row
) -> None:
    """Sample a recording of quotes without sizes into `row`, from its first quote to `until_ns`, inclusive.

    times_ns, bids, asks: shape (quotes,), each quote stands until the next. market: MARKET row that knows its
    times; its touch is overwritten.
    """
    k = 0
    now_ns = first_sample_ns(int(times_ns[0]))
    while now_ns <= until_ns:
        while k + 1 < len(times_ns) and times_ns[k + 1] <= now_ns:
            k += 1
        market.bid_price = bids[k]
        market.ask_price = asks[k]
        sample(row, market, now_ns, 0)
        now_ns += SAMPLE_NS


@kernel
def wants_depth(row: d.Row, now_ns: int) -> bool:
    """Whether this sample should measure the depth as well."""
    return row.depth_samples == 0 or (now_ns // SAMPLE_NS) % DEPTH_EVERY_S == 0


@kernel
def sample_depth(row: d.Row, liquidity_micros: int) -> None:
    """Count the dollars that rest within 10 cents of mid."""
    row.depth_samples += 1
    row.depth_sum += liquidity_micros


@kernel
def _halve(row: d.Row) -> None:
    """Halve every sum; the variance of half a sum is a quarter."""
    row.samples >>= 1
    row.two_sided >>= 1
    row.spread_sum >>= 1
    row.mid_sum >>= 1
    row.bid_size_sum >>= 1
    row.ask_size_sum >>= 1
    row.left_samples >>= 1
    row.left_sum_s >>= 1
    row.depth_samples >>= 1
    row.depth_sum >>= 1
    row.movement >>= 1
    row.minute_movement >>= 1
    row.excess >>= 1
    row.excess_variance *= 0.25
    row.reversion >>= 1
    row.reversion_variance *= 0.25
    row.effective >>= 1
    row.effective_contracts >>= 1
    for k in range(2):
        row.trades[k] >>= 1
        row.contracts[k] >>= 1
        for b in range(DISTANCE_BINS):
            row.volume_at[k, b] >>= 1
        row.impact[k] >>= 1
        row.realised[k] >>= 1
        row.matured[k] >>= 1
        row.impact_squares[k] *= 0.25


# --- averages -------------------------------------------------------------------------------------


@kernel
def mean_spread_micros(row: d.Row) -> int:
    """Time-weighted spread; -1 where the book never had two sides."""
    if row.two_sided == 0:
        return -1
    return int(row.spread_sum) * MICROS_PER_PRICE_UNIT // int(row.two_sided)


@kernel
def mean_liquidity_micros(row: d.Row) -> int:
    """Time-weighted dollars within 10 cents of mid, 0 where none was measured."""
    return int(row.depth_sum) // int(row.depth_samples) if row.depth_samples > 0 else 0


@kernel
def mean_left_ns(row: d.Row) -> int:
    """Average time to the expected resolution; -1: unknown."""
    if row.left_samples == 0:
        return -1
    return int(row.left_sum_s) // int(row.left_samples) * NS_PER_SECOND


@kernel
def volatility_micros(row: d.Row) -> int:
    """Realised volatility from minute to minute, per square-root hour."""
    if row.samples == 0:
        return 0
    hours = float(row.samples) * SAMPLE_NS / NS_PER_HOUR
    return int(math.sqrt(float(row.minute_movement) / hours) * MICROS_PER_HALF)


@kernel
def impact_error_micros(row: d.Row, h: int) -> float:
    """Standard error around zero of the mean impact at horizon `h`, micros a contract; 0 without trades.

    Minutes count as independent, since trades of a minute share what the mid did next.
    """
    if row.matured[h] == 0:
        return 0.0
    minute = float(row.impact_minute[h]) / QTY_SCALE
    squares = float(row.impact_squares[h]) + minute * minute
    return math.sqrt(squares) * MICROS_PER_HALF * QTY_SCALE / float(row.matured[h])


@kernel
def expected_impact_micros(row: d.Row, market_half_micros: float) -> float:
    """What the mid is expected to move against a fill within a minute, micros a contract.

    The measured impact and a prior, each weighted by the inverse of its variance. The prior is half of the
    market's half-spread, plus or minus as much: between a monopolist's makers, who lose nothing to who knows
    more, and competing ones, who lose all that they earn (Glosten & Milgrom 1985, section 3).
    """
    last = len(MARKOUT_S) - 1
    prior = market_half_micros / 2
    if row.matured[last] == 0:
        return prior
    measured = float(row.impact[last]) * MICROS_PER_HALF / float(row.matured[last])
    error = impact_error_micros(row, last)
    if prior * prior + error * error == 0.0:
        return measured
    weight = prior * prior / (prior * prior + error * error)
    return weight * measured + (1.0 - weight) * prior


# --- filters and score ----------------------------------------------------------------------------


@kernel
def filter_bits(row: d.Row, params: d.Row, left_ns: int) -> int:
    """Bits R_* of the filters of spec section 2 that the averages of `row` fail; 0 where it qualifies.

    left_ns: time to the expected resolution, -1 unknown. A market whose book has two sides less than half of
    the time is one-sided.
    """
    if row.samples == 0:
        return 1 << d.R_NOT_ACTIVE
    bits = 0
    if row.two_sided == 0 or 2 * row.two_sided < row.samples:
        bits |= 1 << d.R_ONE_SIDED_BOOK
    if mean_liquidity_micros(row) < params.min_liquidity_micros:
        bits |= 1 << d.R_LOW_LIQUIDITY
    if left_ns < 0:
        bits |= 1 << d.R_UNKNOWN_RESOLUTION
    elif left_ns < params.min_time_to_resolution_ns:
        bits |= 1 << d.R_TOO_CLOSE
    elif left_ns > params.max_time_to_resolution_ns:
        bits |= 1 << d.R_TOO_FAR
    spread = mean_spread_micros(row)
    if 0 <= spread < params.min_existing_spread_micros:
        bits |= 1 << d.R_NARROW_SPREAD
    return bits


@kernel
def quoted_spread_micros(params: d.Row, liquidity_micros: int, volatility: int, left_ns: int) -> int:
    """What the policy would quote on average: spec section 4 flat, without markouts and news.

    left_ns: time to the expected resolution, which stands for the time to close; -1 unknown.
    """
    if params.policy == d.POLICY_FIXED_SPREAD:
        return 2 * int(params.fixed_half_spread_micros)
    spread = int(params.base_spread_micros)
    if liquidity_micros < params.low_liquidity_micros:
        spread += int(params.low_liquidity_addon_micros)
    if volatility > params.high_volatility_micros:
        spread = scale_ppm(spread, int(params.volatility_multiplier_ppm))
    if 0 <= left_ns <= params.final_ns:
        spread = scale_ppm(spread, int(params.final_multiplier_ppm))
    elif 0 <= left_ns <= params.closing_ns:
        spread = scale_ppm(spread, int(params.closing_multiplier_ppm))
    return min(max(spread, int(params.min_spread_micros)), int(params.max_spread_micros))


@kernel
def _quote_size(params: d.Row, liquidity_micros: int) -> int:
    size = int(params.quote_size)
    if liquidity_micros > params.liquid_market_micros:
        size = scale_ppm(size, int(params.liquid_size_multiplier_ppm))
    return min(size, int(params.max_order_size))


@kernel
def _fills_an_hour(
    row: d.Row, taker: int, half_micros: int, market_half_micros: float, tick_micros: int, size: int
) -> float:
    """Micro-contracts an hour that takers of side `taker` would bring to our quote of `size`.

    What traded at our distance from mid or further, times our share of the queue: alone where the touch
    leaves a tick, else size over size and touch (orders of one level fill in proportion on average). No trade
    fills more than the quote. A Gamma prior worth a minute, the touch traded once an hour, stands where
    nothing was seen yet (posterior mean of a Poisson rate).
    """
    hours = float(row.samples) * SAMPLE_NS / NS_PER_HOUR + PRIOR_HOURS
    sizes = row.ask_size_sum if taker == d.BID else row.bid_size_sum
    depth = float(sizes) / float(row.two_sided)
    first = -(-half_micros // (BIN_HALVES * MICROS_PER_HALF))
    volume = depth * PRIOR_HOURS * min(1.0, market_half_micros / half_micros)
    for k in range(first, DISTANCE_BINS):
        volume += float(row.volume_at[taker, k])
    inside = half_micros + tick_micros <= market_half_micros
    share = 1.0 if inside else size / (size + depth)
    most = (float(row.trades[taker]) + PRIOR_HOURS) / hours * size
    return min(volume / hours * share, most)


@kernel
def _whole(value: float) -> int:
    return math.floor(value + 0.5)


@kernel
def _price(micros: int) -> int:
    return min(max(micros // MICROS_PER_PRICE_UNIT, 1), PRICE_SCALE - 1)


@kernel
def score_market(row: d.Row, params: d.Row, fee: d.Row, tick_micros: int, left_ns: int, out: d.Row) -> None:
    """Fill the SCORE row `out` from a SELECTION row; a market that never had two sides scores 0.

    tick_micros: distance of prices around the mid. left_ns: time to the expected resolution, -1 unknown
    (counted as the longest allowed).
    """
    _clear(out)
    out.reasons = filter_bits(row, params, left_ns)
    out.left_ns = left_ns
    if row.two_sided == 0:
        return
    liquidity = mean_liquidity_micros(row)
    half = max((quoted_spread_micros(params, liquidity, volatility_micros(row), left_ns) + 1) // 2, 1)
    out.liquidity_micros = liquidity
    out.quoted_spread_micros = 2 * half
    out.spread_micros = mean_spread_micros(row)
    out.mid_micros = int(row.mid_sum) * MICROS_PER_HALF // int(row.two_sided)
    out.bid_price = _price(out.mid_micros - half)
    out.ask_price = _price(out.mid_micros + half + MICROS_PER_PRICE_UNIT - 1)
    size = _quote_size(params, liquidity)
    market_half = float(row.spread_sum) * MICROS_PER_PRICE_UNIT / 2 / float(row.two_sided)
    bid_rate = _fills_an_hour(row, d.ASK, half, market_half, tick_micros, size)
    ask_rate = _fills_an_hour(row, d.BID, half, market_half, tick_micros, size)
    out.bid_contracts = _whole(bid_rate)
    out.ask_contracts = _whole(ask_rate)
    out.impact_micros = expected_impact_micros(row, market_half)
    _earn(row, fee, half, size, min(bid_rate, ask_rate), out)
    hours = float(left_ns if left_ns >= 0 else params.max_time_to_resolution_ns) / NS_PER_HOUR
    _lock(params, size, bid_rate, ask_rate, hours, out)
    if out.locked_micros > 0:
        out.score_ppm = _whole(float(out.net_micros) * PPM_SCALE / float(out.locked_micros))


@kernel
def _clear(out: d.Row) -> None:
    out.mid_micros = out.spread_micros = out.liquidity_micros = out.quoted_spread_micros = 0
    out.bid_price = out.ask_price = 0
    out.bid_contracts = out.ask_contracts = 0
    out.capture_micros = out.adverse_micros = out.fees_micros = 0
    out.rebates_micros = out.rewards_micros = out.net_micros = 0
    out.quotes_locked_micros = out.held_locked_micros = out.surplus_locked_micros = 0
    out.locked_micros = out.locked_ns = out.score_ppm = 0
    out.impact_micros = 0.0


@kernel
def _earn(row: d.Row, fee: d.Row, half: int, size: int, rate: float, out: d.Row) -> None:
    """Money an hour when `rate` micro-contracts an hour fill on each side."""
    both = 2.0 * rate / QTY_SCALE
    rounds = rate / size if size > 0 else 0.0
    fees, rebates = 0, 0
    for side in range(2):
        price = int(out.bid_price) if side == d.BID else int(out.ask_price)
        fees += expected_maker_fee_micros(fee, price, size)
        rebates += fill_rebate_micros(fee, True, price, size)
    out.capture_micros = _whole(both * half)
    out.adverse_micros = _whole(both * out.impact_micros)
    out.fees_micros = _whole(rounds * fees)
    out.rebates_micros = _whole(rounds * rebates)
    out.rewards_micros = row.reward_micros
    out.net_micros = (
        out.capture_micros - out.adverse_micros - out.fees_micros + out.rebates_micros + out.rewards_micros
    )


@kernel
def _lock(params: d.Row, size: int, bid_rate: float, ask_rate: float, hours: float, out: d.Row) -> None:
    """Dollars that quoting locks on average, with `hours` to resolution.

    By Little (1961), "A proof for the queuing formula L = lambda W", contracts held are the rate of fills
    times the hours until each is freed: when the other side has filled a quote, or at resolution.
    """
    bid = int(out.bid_price) * MICROS_PER_PRICE_UNIT
    ask = (PRICE_SCALE - int(out.ask_price)) * MICROS_PER_PRICE_UNIT
    rate = min(bid_rate, ask_rate)
    freed = hours
    if rate * hours > size:
        freed = size / rate
    surplus = min(abs(bid_rate - ask_rate) * hours, float(params.rebalance_threshold))
    out.quotes_locked_micros = _whole(float(size) / QTY_SCALE * (bid + ask))
    out.held_locked_micros = _whole(rate * freed / QTY_SCALE * max(bid, ask))
    out.surplus_locked_micros = _whole(surplus / QTY_SCALE * (bid if bid_rate > ask_rate else ask))
    out.locked_micros = out.quotes_locked_micros + out.held_locked_micros + out.surplus_locked_micros
    out.locked_ns = _whole(freed * NS_PER_HOUR)
