"""What is measured of a market as its events arrive: touch, liquidity, flow, volume, volatility, markouts.

Every function updates one MARKET row in place, in O(1) or in a few levels, and allocates nothing. The same
measures, computed the slow way from the whole history, are in `reference.py`. A span or half life of 0 in
PARAMS turns its measure off. Swapping YES and NO (price -> $1 - price, BID <-> ASK) mirrors each exactly.
"""

from __future__ import annotations

import math

import numpy as np

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, NS_PER_HOUR, PPM_SCALE, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.world import Grids, IntArray

LIQUIDITY_BAND = PRICE_SCALE // 10  # spec section 2: within 10 cents of mid
CARRY = 1 << 56  # a running sum of price x size is divided out above this
BUCKETS_PER_WINDOW = 6  # how finely the volume window slides
LN_2 = math.log(2.0)


@kernel
def mid_micros(bid_price: int, ask_price: int) -> int:
    """Middle of the touch in micros, exact; -1 when a side is missing or the book is crossed.

    A locked book (bid equal to ask) has a mid: spec section 1 allows the two best bids to sum to $1.
    """
    if bid_price < 0 or ask_price < 0 or bid_price > ask_price:
        return -1
    return (int(bid_price) + int(ask_price)) * (MICROS_PER_PRICE_UNIT // 2)


@kernel
def decay(elapsed: int, half_life: int) -> float:
    """What is left of a weight of 1 after `elapsed`: 2^-(elapsed / half_life), both in one unit.

    Nothing is lost backwards in time, or with a half life of 0.
    """
    if elapsed <= 0 or half_life <= 0:
        return 1.0
    return math.exp(-LN_2 * float(elapsed) / float(half_life))


# --- The book, own quotes taken out -----------------------------------------------------------------------


@kernel
def own_size(orders: d.Array, side: int, price: int) -> int:
    """Micro-contracts of ours that the venue shows at `price`; a pending order is not shown yet."""
    own = 0
    for i in range(orders.shape[0]):
        order = orders[i]
        shown = order.state == d.LIVE or order.state == d.CANCELING
        if shown and order.side == side and order.price == price:
            own += int(order.remaining)
    return own


@kernel
def _observe_others(
    market: np.record, book: np.record, depth: IntArray, grids: Grids, orders: d.Array
) -> None:
    """Touch of what is not ours: the first level on each side that shows more than our orders there.

    A level that shows less than ours, because the feed lags behind, is passed over as well.
    """
    grid = int(book.grid)
    market.bid_price, market.bid_size = -1, 0
    for level in range(int(book.bid_level), -1, -1):
        if depth[d.BID, level] > 0:
            price = int(grids.price_of_level[grid, level])
            size = int(depth[d.BID, level]) - own_size(orders, d.BID, price)
            if size > 0:
                market.bid_price, market.bid_size = price, size
                break
    market.ask_price, market.ask_size = -1, 0
    for level in range(int(book.ask_level), int(grids.level_count[grid])):
        if depth[d.ASK, level] > 0:
            price = int(grids.price_of_level[grid, level])
            size = int(depth[d.ASK, level]) - own_size(orders, d.ASK, price)
            if size > 0:
                market.ask_price, market.ask_size = price, size
                break


@kernel
def observe_touch(market: np.record, book: np.record, depth: IntArray, grids: Grids, now_ns: int) -> None:
    """Read the touch as the venue shows it into `bid_*`, `ask_*` and `far_*`, in O(1), our own in it.

    All that a feed needs that doesn't show us (every recording). Kept without loops and calls, where numba
    can drop the reference counts of the arrays: a loop that branches on `book_includes_own` itself and calls
    this is several times faster than one that goes through `observe_book`.
    """
    market.book_ns = book.event_ns
    if market.volume_start_ns == 0:
        market.volume_start_ns = now_ns
    grid = int(book.grid)
    level = int(book.bid_level)
    if level >= 0:
        market.bid_price = market.far_bid_price = grids.price_of_level[grid, level]
        market.bid_size = depth[d.BID, level]
    else:
        market.bid_price = market.far_bid_price = -1
        market.bid_size = 0
    level = int(book.ask_level)
    if level < grids.level_count[grid]:
        market.ask_price = market.far_ask_price = grids.price_of_level[grid, level]
        market.ask_size = depth[d.ASK, level]
    else:
        market.ask_price = market.far_ask_price = -1
        market.ask_size = 0


@kernel
def observe_book(
    market: np.record, book: np.record, depth: IntArray, grids: Grids, orders: d.Array, now_ns: int
) -> None:
    """Read the touch out of a BOOK row and its `depth` (2, levels) into the market.

    `bid_*` and `ask_*` leave our own `orders` (ORDER_SLOTS,) out where the feed shows them
    (`book_includes_own`): a level that is all ours is passed over. `far_*` is the touch as the venue shows
    it. A side without orders has price -1 and size 0. `book_ns` becomes the time of the book's last event, so
    looking at an old book doesn't make it young.
    """
    observe_touch(market, book, depth, grids, now_ns)
    if market.book_includes_own != 0:
        _observe_others(market, book, depth, grids, orders)


@kernel
def measure_liquidity(
    market: np.record, book: np.record, depth: IntArray, grids: Grids, orders: d.Array
) -> None:
    """Set `liquidity_micros`: dollars of others that rest within 10 cents of mid, both ends included.

    Spec section 2: bids count price x size, asks ($1 - price) x size; the venue's own figure replaces the
    measure where it gives one, and without a mid there is none: 0. Call it after `observe_book`. Exact, one
    rounding down of the total; sizes up to 9e14 micro-contracts a level don't overflow.
    """
    if market.stated_liquidity_micros >= 0:
        market.liquidity_micros = market.stated_liquidity_micros
        return
    market.liquidity_micros = 0
    if mid_micros(market.bid_price, market.ask_price) < 0:
        return
    twice_mid = int(market.bid_price) + int(market.ask_price)
    includes_own = market.book_includes_own != 0
    grid = int(book.grid)
    micros, rest = 0, 0  # dollars are micros + rest / PRICE_SCALE; `rest` is carried before it overflows
    for level in range(int(book.bid_level), -1, -1):
        price = int(grids.price_of_level[grid, level])
        if twice_mid - 2 * price > 2 * LIQUIDITY_BAND:
            break
        size = int(depth[d.BID, level])
        if includes_own and size > 0:
            size = max(0, size - own_size(orders, d.BID, price))
        rest += price * size
        if rest > CARRY:
            micros += rest // PRICE_SCALE
            rest %= PRICE_SCALE
    for level in range(int(book.ask_level), int(grids.level_count[grid])):
        price = int(grids.price_of_level[grid, level])
        if 2 * price - twice_mid > 2 * LIQUIDITY_BAND:
            break
        size = int(depth[d.ASK, level])
        if includes_own and size > 0:
            size = max(0, size - own_size(orders, d.ASK, price))
        rest += (PRICE_SCALE - price) * size
        if rest > CARRY:
            micros += rest // PRICE_SCALE
            rest %= PRICE_SCALE
    market.liquidity_micros = micros + rest // PRICE_SCALE


@kernel
def ofi(
    bid_price: int,
    bid_size: int,
    ask_price: int,
    ask_size: int,
    previous_bid_price: int,
    previous_bid_size: int,
    previous_ask_price: int,
    previous_ask_size: int,
) -> int:
    """Order flow imbalance of one change of the touch: size gained by the bid less size gained by the ask.

    Cont, Kukanov & Stoikov (2014), "The Price Impact of Order Book Events", section 2.1, e_n; summed over
    changes it moves with the mid. In the unit of the sizes. A missing side has price -1 and size 0.
    """
    ask = ask_price if ask_price >= 0 else PRICE_SCALE + 1  # no ask: above every price, as no bid is below
    previous_ask = previous_ask_price if previous_ask_price >= 0 else PRICE_SCALE + 1
    imbalance = 0
    if bid_price >= previous_bid_price:
        imbalance += int(bid_size)
    if bid_price <= previous_bid_price:
        imbalance -= int(previous_bid_size)
    if ask <= previous_ask:
        imbalance -= int(ask_size)
    if ask >= previous_ask:
        imbalance += int(previous_ask_size)
    return imbalance


# --- Trades: signed flow and volume rate ------------------------------------------------------------------


@kernel
def _bucket_ns(params: np.record) -> int:
    return int(params.volume_window_ns) // BUCKETS_PER_WINDOW


@kernel
def _baseline_buckets(params: np.record) -> int:
    """Length of the baseline in buckets: at least one window, at most the ring."""
    wanted = int(params.volume_baseline_ns) // _bucket_ns(params)
    return max(BUCKETS_PER_WINDOW, min(wanted, d.VOLUME_BUCKETS))


@kernel
def advance_volume(market: np.record, params: np.record, now_ns: int) -> None:
    """Roll the volume ring on to `now_ns`, taking out of both sums what has become too old."""
    width = _bucket_ns(params)
    if width <= 0:
        return
    newest = int(now_ns) // width
    last = int(market.volume_bucket)
    if newest <= last:
        return
    market.volume_bucket = newest
    ring = market.volume_ring
    if newest - last >= d.VOLUME_BUCKETS:
        ring[:] = 0
        market.volume_window = 0
        market.volume_baseline = 0
        return
    baseline_buckets = _baseline_buckets(params)
    window, baseline = int(market.volume_window), int(market.volume_baseline)
    for bucket in range(last + 1, newest + 1):
        window -= int(ring[(bucket - BUCKETS_PER_WINDOW) % d.VOLUME_BUCKETS])
        baseline -= int(ring[(bucket - baseline_buckets) % d.VOLUME_BUCKETS])
        ring[bucket % d.VOLUME_BUCKETS] = 0
    market.volume_window = window
    market.volume_baseline = baseline


@kernel
def observe_trade(
    market: np.record,
    params: np.record,
    side: int,
    price: int,  # noqa: ARG001 - a contract of either side is the same bet, at any price
    size: int,
    now_ns: int,
) -> None:
    """Count a trade of `size` micro-contracts, whose taker bought YES (`side` BID) or NO (ASK).

    Signed flow is weighted by size and forgotten exponentially (`flow_half_life_ns`). Volume goes into the
    newest bucket of the ring; both are in contracts, so `price` doesn't enter.
    """
    keep = decay(int(now_ns) - int(market.flow_ns), int(params.flow_half_life_ns))
    contracts = float(size) / QTY_SCALE
    signed = contracts if side == d.BID else -contracts
    market.flow_signed = market.flow_signed * keep + signed
    market.flow_total = market.flow_total * keep + contracts
    market.flow_ns = max(int(now_ns), int(market.flow_ns))

    if market.volume_start_ns == 0:
        market.volume_start_ns = now_ns
    if _bucket_ns(params) <= 0:
        return
    advance_volume(market, params, now_ns)
    i = int(market.volume_bucket) % d.VOLUME_BUCKETS
    market.volume_ring[i] += size
    market.volume_window += size
    market.volume_baseline += size


@kernel
def volume_spike(market: np.record, params: np.record, now_ns: int) -> bool:
    """Whether the last window traded more than `volume_spike_ppm` times the baseline's average window.

    Spec section 8. The window is the newest six buckets; the baseline, at most `volume_baseline_ns` and what
    the ring holds, ends with that same window, so a threshold of baseline / window or more can't be passed.
    Before two windows were observed, and when nothing traded, there is no spike. Exact, strictly more.
    """
    advance_volume(market, params, now_ns)
    width = _bucket_ns(params)
    start = int(market.volume_start_ns)
    if width <= 0 or start == 0 or int(now_ns) - start < 2 * int(params.volume_window_ns):
        return False
    newest = int(market.volume_bucket)
    first = max(start // width, newest - _baseline_buckets(params) + 1)
    observed = newest - first + 1
    # window / 6 > ppm x baseline / observed, multiplied out; the product with ppm is split against overflow.
    ours = int(market.volume_window) * observed
    average = int(market.volume_baseline) * BUCKETS_PER_WINDOW
    ppm = int(params.volume_spike_ppm)
    return ours > ppm * (average // PPM_SCALE) + ppm * (average % PPM_SCALE) // PPM_SCALE


# --- Realised volatility ----------------------------------------------------------------------------------


@kernel
def _push_change(market: np.record, samples: int, change: int) -> None:
    """Replace the oldest change. Squares are integers below 2^53 in sum, so the float sum is exact."""
    i = int(market.vol_head)
    if market.vol_count < samples:
        market.vol_count += 1
    else:
        oldest = float(market.vol_ring[i])
        market.vol_sum -= oldest * oldest
    market.vol_ring[i] = change
    market.vol_sum += float(change) * float(change)
    market.vol_head = (i + 1) % samples


@kernel
def sample_volatility(market: np.record, params: np.record, now_ns: int) -> None:
    """Sample `fair_micros` on the grid times up to `now_ns` and update `volatility_micros`.

    Realised volatility of previous-tick samples (Andersen, Bollerslev, Diebold & Labys 2003, section 2):
    the root of the sum of squared changes over the hours they span, per square-root hour. Call it before
    `update_fair`, so that the fair value is the one that stood at the grid times crossed. Of several, the
    first takes the change and the others none; while there is no fair value nothing changes, and the move
    across that gap counts when it is back. `volatility_samples` is the length of the window in grid steps.
    """
    grid = int(params.volatility_grid_ns)
    samples = min(int(params.volatility_samples), d.VOLATILITY_SAMPLES)
    if grid <= 0 or samples <= 0:
        return
    fair = int(market.fair_micros)
    if market.vol_next_ns == 0:
        if fair >= 0:
            market.vol_last_micros = fair
            market.vol_next_ns = (int(now_ns) // grid + 1) * grid
        return
    behind = int(now_ns) - int(market.vol_next_ns)
    if behind < 0:
        return
    steps = behind // grid + 1
    market.vol_next_ns += steps * grid
    if fair < 0:
        fair = int(market.vol_last_micros)
    _push_change(market, samples, fair - int(market.vol_last_micros))
    for _ in range(min(steps - 1, samples)):
        _push_change(market, samples, 0)
    market.vol_last_micros = fair
    span_ns = float(market.vol_count) * float(grid)
    market.volatility_micros = int(math.sqrt(market.vol_sum * float(NS_PER_HOUR) / span_ns))


# --- Markouts of own fills --------------------------------------------------------------------------------


@kernel
def _settle_oldest_markout(market: np.record, params: np.record) -> None:
    """Take the oldest pending fill out and count it against the present mid; without a mid it is dropped."""
    i = int(market.markout_head)
    market.markout_head = (i + 1) % d.PENDING_MARKOUTS
    market.markout_count -= 1
    mid = mid_micros(market.bid_price, market.ask_price)
    size = int(market.markout_size[i])
    if mid < 0 or size <= 0:
        return
    gain = mid - int(market.markout_price[i]) * MICROS_PER_PRICE_UNIT
    if market.markout_side[i] == d.ASK:
        gain = -gain
    contracts = float(size) / QTY_SCALE
    weight = market.markout_weight * decay(size, int(params.markout_half_life_contracts)) + contracts
    market.markout_micros += (float(gain) - market.markout_micros) * (contracts / weight)
    market.markout_weight = weight


@kernel
def observe_own_fill(
    market: np.record, params: np.record, side: int, price: int, size: int, now_ns: int
) -> None:
    """Queue the markout of an own fill (`side` BID: we bought YES) of `size` micro-contracts at `price`.

    It is due `markout_horizon_ns` later. When the queue is full the oldest is settled early, at today's mid.
    """
    if market.markout_count >= d.PENDING_MARKOUTS:
        _settle_oldest_markout(market, params)
    i = (int(market.markout_head) + int(market.markout_count)) % d.PENDING_MARKOUTS
    market.markout_ns[i] = int(now_ns) + int(params.markout_horizon_ns)
    market.markout_price[i] = price
    market.markout_size[i] = size
    market.markout_side[i] = side
    market.markout_count += 1


@kernel
def mature_markouts(market: np.record, params: np.record, now_ns: int) -> None:
    """Settle the markouts that are due against the present mid, own quotes left out.

    A markout is mid after less price for a buy, price less mid for a sale: above 0 is in our favour (Huang &
    Stoll 1996, realised half-spread). `markout_micros` is their mean by contracts, in which a fill's weight
    halves with every `markout_half_life_contracts` filled after it; `markout_weight` the contracts behind it.
    """
    while market.markout_count > 0 and market.markout_ns[market.markout_head] <= now_ns:
        _settle_oldest_markout(market, params)
