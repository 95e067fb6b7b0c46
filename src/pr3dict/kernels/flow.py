"""Synthetic order flow of one binary market, compiled, seeded and repeatable. It is not a recording.

A hidden outcome Y is drawn once, with P(Y = 1) = p0. Public information about it arrives as a diffusion and
as news, so that the true probability p, the posterior of Y, is a martingale with log-odds

    dL = rate x (Y - 1/2) dt + sqrt(rate) dW

(W. M. Wonham, "Some applications of stochastic differential equations to optimal nonlinear filtering", 1965;
news adds a normal step of mean +-s^2/2 and variance s^2). Makers quote ladders around a late and noisy view
of p, noise takers come regardless of p, informed takers hit quotes that p has left behind (L. Glosten and
P. Milgrom, 1985), others add and cancel depth. Takers may come in clusters (A. Hawkes, 1971), and noise
takers may copy the side of an earlier taker, who is k takers back with probability (1 - 1/m)^(k-1) / m: the
discrete autoregression of P. Jacobs and P. Lewis (1978), which gives trades signs with a memory.

Rates are per hour, sizes in micro-contracts, prices in 1/10,000 dollar, log-odds are plain numbers.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.flow_rng import exponential, next_word, normal, seed_words, uniform
from pr3dict.kernels.jit import njit

MAX_MAKERS = 8
CONTRACT = 1_000_000
HOUR_NS = 3_600_000_000_000
DRAWN = -1  # `FLOW.outcome`: drawn from p0
NOBODY = -1  # `_STATE.away`


def _rows(fields: list[tuple[str, str]]) -> np.dtype[np.record]:
    layout: np.dtype[np.void] = np.dtype(fields, align=True)
    return cast("np.dtype[np.record]", np.dtype((np.record, layout)))


FLOW = _rows(
    [
        ("open_ns", "i8"),
        ("duration_ns", "i8"),
        ("settle_delay_ns", "i8"),
        ("feed_latency_ns", "i8"),  # local_ns - exch_ns
        ("p0", "f8"),  # probability of YES at the open
        ("outcome", "i8"),  # 0 or 1 fixes the hidden outcome (the price then trends), DRAWN draws it
        ("volatility", "f8"),  # log-odds per square-root hour
        ("resolve", "f8"),  # more information near the close: resolve / (time left + floor)
        ("resolve_floor_ns", "i8"),
        ("news_rate", "f8"),
        ("news_size", "f8"),  # standard deviation of a news step, log-odds
        ("makers", "i8"),  # at most MAX_MAKERS
        ("levels", "i8"),  # a side of each maker's ladder
        ("level_step", "i8"),  # price between rungs
        ("half_spread", "i8"),  # price, of maker 0
        ("maker_size", "i8"),  # mean of the first rung
        ("refresh_rate", "f8"),  # of each maker
        ("view_weight", "f8"),  # share of the gap to the true log-odds that a refresh closes, (0, 1]
        ("view_noise", "f8"),  # log-odds, a refresh
        ("noise_rate", "f8"),
        ("noise_size", "i8"),  # median
        ("noise_size_sigma", "f8"),  # of the logarithm
        ("noise_buy", "f8"),  # share of the noise takers that copy nobody who buy YES
        ("max_sweep", "i8"),  # a noise taker goes this far beyond the touch
        ("noise_thrift", "f8"),  # half a spread of c cents keeps all but exp(-noise_thrift x c) of them away
        ("informed_rate", "f8"),
        ("informed_size", "i8"),  # median
        ("informed_edge", "i8"),  # price advantage below which an informed taker waits
        ("depth_rate", "f8"),  # adds and cancels by others
        ("depth_size", "i8"),  # of an add: mean, or median where depth_size_sigma is given
        ("depth_size_sigma", "f8"),  # of the logarithm; 0: sizes are exponential
        ("depth_leave", "f8"),  # share of cancels that take all that others rest at a price, not a part
        ("depth_limit", "i8"),  # others hold at most about this a side
        ("clustering", "f8"),  # takers that a taker brings on average, [0, 1)
        ("clustering_decay", "f8"),  # of the excitement, per hour
        ("maker_step", "f8"),  # maker m quotes (1 + m x maker_step) times as wide as maker 0
        ("rung_slope", "f8"),  # mean size at rung r: maker_size x exp(rung_slope x r + rung_curve x r^2
        ("rung_curve", "f8"),  # + rung_hump x exp(-2 (r - rung_hump_at)^2))
        ("rung_hump", "f8"),
        ("rung_hump_at", "f8"),
        ("rung_first", "f8"),  # logarithm by which the first rung is larger
        ("rung_trim", "f8"),  # a rung is cut back when its mean is below this share of what stands, [0, 2/3)
        ("depth_reach", "f8"),  # others act this many level steps behind the touch on average
        ("pull", "f8"),  # chance that a maker who looks again leaves a side empty until the next look
        ("depth_inside", "f8"),  # share of the actions of others that begin a better price, where one is free
        ("depth_follow", "f8"),  # share of others that leave a level which a maker's new quotes would cross
        ("news_tail", "f8"),  # standard deviation of the logarithm of a news item's size
        ("alert", "f8"),  # share of makers that look again at the moment of news
        ("informed_size_sigma", "f8"),  # of the logarithm
        ("herding", "f8"),  # share of noise takers that copy the side of an earlier taker, [0, 1)
        ("herd_memory", "f8"),  # the copied one is this many takers back on average, 1 or more
        ("retreat_rate", "f8"),  # how often all leave the best prices of a side for a while
        ("retreat_reach", "f8"),  # price, mean distance from the touch that is emptied
        ("return_rate", "f8"),  # per hour of a retreat
    ]
)

_STATE = _rows(
    [
        ("now_ns", "i8"),
        ("count", "i8"),  # events written; goes on beyond the buffer
        ("latency_ns", "i8"),
        ("log_odds", "f8"),
        ("outcome", "i8"),
        ("excitement", "f8"),  # extra takers an hour
        ("mood", "f8"),  # share of buyers less sellers among past takers, the latest weigh most
        ("bid_level", "i8"),  # -1: none
        ("ask_level", "i8"),  # level count: none
        ("silent", "i8"),  # 1: the book changes without events
        ("away", "i8"),  # the side that all have left, NOBODY: none
        ("away_price", "i8"),  # nobody rests at this price or a better one there
    ]
)

Prices = npt.NDArray[np.int32]
Sizes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@njit
def _write(
    out: d.Array, s: np.record, kind: int, side: int, price: int, size: int, aux: int, bits: int
) -> None:
    i = s.count
    s.count = i + 1
    if i >= len(out):
        return
    row = out[i]
    row.exch_ns = s.now_ns
    row.local_ns = s.now_ns + s.latency_ns
    row.kind = kind
    row.side = side
    row.price = price
    row.qty = size
    row.aux = aux
    row.bits = bits | d.SYNTHETIC
    row.market = 0


@njit
def _change(
    out: d.Array,
    s: np.record,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    owner: int,
    side: int,
    level: int,
    delta: int,
) -> None:
    """Add `delta` to what `owner` rests at a level, keep the touch right and say so."""
    owned[owner, side, level] += delta
    total[side, level] += delta
    size = total[side, level]
    if side == d.BID:
        if size > 0 and level > s.bid_level:
            s.bid_level = level
        while s.bid_level >= 0 and total[d.BID, s.bid_level] == 0:
            s.bid_level -= 1
    else:
        if size > 0 and level < s.ask_level:
            s.ask_level = level
        while s.ask_level < len(prices) and total[d.ASK, s.ask_level] == 0:
            s.ask_level += 1
    if s.silent == 0:
        _write(out, s, d.LEVEL, side, prices[level], size, 0, 0)


@njit
def _whole(contracts: float) -> int:
    """Micro-contracts of a whole number of contracts, at least one."""
    return max(1, int(contracts / CONTRACT + 0.5)) * CONTRACT


@njit
def _true_price(s: np.record) -> float:
    return 10_000.0 / (1.0 + math.exp(-s.log_odds))


@njit
def _advance(p: np.record, s: np.record, words: Sizes, next_ns: int) -> None:
    """Move the true log-odds and the excitement to `next_ns`."""
    hours = (next_ns - s.now_ns) / HOUR_NS
    left = p.open_ns + p.duration_ns - s.now_ns + p.resolve_floor_ns
    information = hours * (p.volatility * p.volatility + p.resolve * HOUR_NS / left)
    s.log_odds += information * (s.outcome - 0.5) + math.sqrt(information) * normal(words)
    s.excitement *= math.exp(-p.clustering_decay * hours)
    s.now_ns = next_ns


@njit
def _deserted(s: np.record, side: int, price: int) -> bool:
    """Whether nobody rests here now: a retreat from this side reached the price."""
    return bool(s.away == side and (price >= s.away_price if side == d.BID else price <= s.away_price))


@njit
def _rung_size(p: np.record, rung: int) -> float:
    """Mean size that a maker wants at a rung."""
    exponent = p.rung_first if rung == 0 else (p.rung_slope + p.rung_curve * rung) * rung
    if p.rung_hump != 0.0:
        off = rung - p.rung_hump_at
        exponent += p.rung_hump * math.exp(-2.0 * off * off)
    return float(p.maker_size * math.exp(exponent))


@njit
def _rung(p: np.record, prices: Prices, fair: float, maker: int, side: int, rung: int) -> int:
    """Level of a rung; -1 or the level count when it lies off the grid."""
    distance = p.half_spread * (1.0 + p.maker_step * maker) + rung * p.level_step
    if side == d.BID:
        return int(np.searchsorted(prices, math.floor(fair - distance), "right")) - 1
    return int(np.searchsorted(prices, math.ceil(fair + distance), "left"))


@njit
def _aim(
    p: np.record,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    target: Sizes,
    maker: int,
    fair: float,
) -> None:
    """Write into `target` the ladder that `maker` wants: what stands stays unless half eaten or trimmed."""
    target[:] = 0
    for side in range(2):
        if p.pull > 0.0 and uniform(words) < p.pull:
            continue
        for rung in range(p.levels):
            level = _rung(p, prices, fair, maker, side, rung)
            if level < 0 or level >= len(prices):
                break
            if _deserted(s, side, prices[level]):
                continue
            mean = _rung_size(p, rung)
            standing = owned[maker, side, level]
            if 2 * standing < mean or mean < p.rung_trim * standing:
                standing = _whole(mean * (0.5 + uniform(words)))
            target[side, level] = standing


@njit
def _give_way(
    out: d.Array,
    p: np.record,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    target: Sizes,
) -> None:
    """Others who stand where a maker wants to quote on the other side may leave: they see the same news."""
    others = owned.shape[0] - 1
    low = s.ask_level  # asks from here up to the maker's best bid are in the way
    high = len(prices) - 1
    while high >= low and target[d.BID, high] == 0:
        high -= 1
    for level in range(low, high + 1):
        if owned[others, d.ASK, level] > 0 and uniform(words) < p.depth_follow:
            _change(out, s, prices, owned, total, others, d.ASK, level, -owned[others, d.ASK, level])
    high = s.bid_level  # bids from here down to its best ask
    low = 0
    while low <= high and target[d.ASK, low] == 0:
        low += 1
    for level in range(high, low - 1, -1):
        if owned[others, d.BID, level] > 0 and uniform(words) < p.depth_follow:
            _change(out, s, prices, owned, total, others, d.BID, level, -owned[others, d.BID, level])


@njit
def _refresh(
    out: d.Array,
    p: np.record,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    target: Sizes,
    views: Floats,
    maker: int,
) -> None:
    """A maker looks again: first cancels, so that it never meets itself, then adds without crossing."""
    views[maker] += p.view_weight * (s.log_odds - views[maker]) + p.view_noise * normal(words)
    fair = 10_000.0 / (1.0 + math.exp(-views[maker]))
    _aim(p, s, words, prices, owned, target, maker, fair)
    for side in range(2):
        for level in range(len(prices)):
            excess = owned[maker, side, level] - target[side, level]
            if excess > 0:
                _change(out, s, prices, owned, total, maker, side, level, -excess)
    if p.depth_follow > 0.0:
        _give_way(out, p, s, words, prices, owned, total, target)
    for side in range(2):
        for level in range(len(prices)):
            lack = target[side, level] - owned[maker, side, level]
            crosses = level >= s.ask_level if side == d.BID else level <= s.bid_level
            if lack > 0 and not crosses:
                _change(out, s, prices, owned, total, maker, side, level, lack)


@njit
def _take(
    out: d.Array,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    side: int,
    size: int,
    limit: float,
) -> None:
    """A taker buys (BID) or sells (ASK) up to `size` no worse than `limit`: each print, then its level."""
    book = d.ASK if side == d.BID else d.BID
    owners = owned.shape[0]
    while size > 0:
        level = s.ask_level if book == d.ASK else s.bid_level
        if level < 0 or level >= len(prices):
            return
        price = prices[level]
        if (price > limit) if side == d.BID else (price < limit):
            return
        volume = min(size, total[book, level])
        _write(out, s, d.TRADE, side, price, volume, 0, 0)
        size -= volume
        owner = next_word(words) % owners
        silent = s.silent
        s.silent = 1
        while volume > 0:
            part = min(volume, owned[owner, book, level])
            if part > 0:
                _change(out, s, prices, owned, total, owner, book, level, -part)
                volume -= part
            owner = (owner + 1) % owners
        s.silent = silent
        _write(out, s, d.LEVEL, book, price, total[book, level], 0, 0)


@njit
def _follow(p: np.record, s: np.record, side: int) -> None:
    """Let a taker's side move the mood."""
    if p.herding > 0.0:
        sign = 1.0 if side == d.BID else -1.0
        s.mood += (sign - s.mood) / p.herd_memory


@njit
def _noise_taker(
    out: d.Array, p: np.record, s: np.record, words: Sizes, prices: Prices, owned: Sizes, total: Sizes
) -> None:
    buy = p.noise_buy + p.herding * (0.5 + 0.5 * s.mood - p.noise_buy)
    side = d.BID if uniform(words) < buy else d.ASK
    if p.noise_thrift > 0.0 and s.bid_level >= 0 and s.ask_level < len(prices):
        cents = (prices[s.ask_level] - prices[s.bid_level]) / 200
        if p.noise_thrift * cents > exponential(words):
            return
    _follow(p, s, side)
    size = _whole(p.noise_size * math.exp(p.noise_size_sigma * normal(words)))
    if side == d.BID and s.ask_level < len(prices):
        _take(out, s, words, prices, owned, total, side, size, float(prices[s.ask_level]) + p.max_sweep)
    elif side == d.ASK and s.bid_level >= 0:
        _take(out, s, words, prices, owned, total, side, size, float(prices[s.bid_level]) - p.max_sweep)


@njit
def _informed_taker(
    out: d.Array, p: np.record, s: np.record, words: Sizes, prices: Prices, owned: Sizes, total: Sizes
) -> None:
    worth = _true_price(s)
    size = _whole(p.informed_size * math.exp(p.informed_size_sigma * normal(words)))
    if s.ask_level < len(prices) and worth - prices[s.ask_level] > p.informed_edge:
        _follow(p, s, d.BID)
        _take(out, s, words, prices, owned, total, d.BID, size, worth - p.informed_edge)
    elif s.bid_level >= 0 and prices[s.bid_level] - worth > p.informed_edge:
        _follow(p, s, d.ASK)
        _take(out, s, words, prices, owned, total, d.ASK, size, worth + p.informed_edge)


@njit
def _others(
    out: d.Array, p: np.record, s: np.record, words: Sizes, prices: Prices, owned: Sizes, total: Sizes
) -> None:
    """Somebody else adds depth at, behind or inside the touch, or cancels some."""
    owner = owned.shape[0] - 1
    side = next_word(words) & 1
    touch = s.bid_level if side == d.BID else s.ask_level
    offset = int(exponential(words) * p.depth_reach) * p.level_step
    if p.depth_inside > 0.0 and uniform(words) < p.depth_inside:
        offset = -p.level_step
    if touch < 0 or touch >= len(prices):
        return
    if side == d.BID:
        level = int(np.searchsorted(prices, prices[touch] - offset, "right")) - 1
    else:
        level = int(np.searchsorted(prices, prices[touch] + offset, "left"))
    if level < 0 or level >= len(prices):
        return
    if offset < 0 and (level >= s.ask_level if side == d.BID else level <= s.bid_level):
        return
    if _deserted(s, side, prices[level]):
        return
    standing = owned[owner, side, level]
    crowded = standing * 8 > p.depth_limit
    if standing > 0 and (crowded or uniform(words) < 0.5):
        leaving = standing
        if p.depth_leave == 0.0 or uniform(words) >= p.depth_leave:
            leaving = min(standing, _whole(standing * uniform(words)))
        _change(out, s, prices, owned, total, owner, side, level, -leaving)
    else:
        if p.depth_size_sigma > 0.0:
            added = _whole(p.depth_size * math.exp(p.depth_size_sigma * normal(words)))
        else:
            added = _whole(p.depth_size * exponential(words))
        _change(out, s, prices, owned, total, owner, side, level, added)


@njit
def _retreat(
    out: d.Array, p: np.record, s: np.record, words: Sizes, prices: Prices, owned: Sizes, total: Sizes
) -> None:
    """All cancel what they rest near the touch of one side; the farthest orders stay, however near."""
    side = next_word(words) & 1
    reach = int(p.retreat_reach * exponential(words))
    level = s.bid_level if side == d.BID else s.ask_level
    if level < 0 or level >= len(prices):
        return
    step = -1 if side == d.BID else 1
    s.away = side
    s.away_price = prices[level] + step * reach
    last = level
    beyond = level
    while 0 <= beyond < len(prices):
        if total[side, beyond] > 0:
            last = beyond
        beyond += step
    s.silent = 1
    while level != last and _deserted(s, side, prices[level]):
        if total[side, level] > 0:
            for owner in range(owned.shape[0]):
                _change(out, s, prices, owned, total, owner, side, level, -owned[owner, side, level])
            _write(out, s, d.LEVEL, side, prices[level], 0, 0, 0)
        level += step
    s.silent = 0


@njit
def _snapshot(out: d.Array, s: np.record, prices: Prices, total: Sizes) -> None:
    first = s.count
    for side in range(2):
        for level in range(len(prices)):
            if total[side, level] > 0:
                bits = d.SNAP_FIRST if s.count == first else 0
                _write(out, s, d.SNAPSHOT, side, prices[level], total[side, level], 0, bits)
    if s.count == first:
        _write(out, s, d.SNAPSHOT, d.BID, 0, 0, 0, d.SNAP_FIRST)
    if s.count <= len(out):
        last = out[s.count - 1]
        last.bits = last.bits | d.SNAP_LAST


@njit
def _happen(
    out: d.Array,
    p: np.record,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    target: Sizes,
    views: Floats,
    draw: float,
) -> None:
    """What happens now, by `draw` on [0, sum of all rates)."""
    draw -= p.refresh_rate * p.makers
    if draw < 0.0:
        _refresh(out, p, s, words, prices, owned, total, target, views, next_word(words) % p.makers)
        return
    draw -= p.depth_rate
    if draw < 0.0:
        _others(out, p, s, words, prices, owned, total)
        return
    draw -= p.news_rate
    if draw < 0.0:
        step = p.news_size
        if p.news_tail > 0.0:  # how much an item tells does not depend on what it tells: still a martingale
            step *= math.exp(p.news_tail * normal(words))
        s.log_odds += step * step * (s.outcome - 0.5) + step * normal(words)
        if p.alert > 0.0:
            for maker in range(p.makers):
                if uniform(words) < p.alert:
                    _refresh(out, p, s, words, prices, owned, total, target, views, maker)
        return
    draw -= p.retreat_rate
    if draw < 0.0:
        if s.away == NOBODY:
            _retreat(out, p, s, words, prices, owned, total)
        return
    if s.away != NOBODY:
        draw -= p.return_rate
        if draw < 0.0:
            s.away = NOBODY
            for maker in range(p.makers):
                _refresh(out, p, s, words, prices, owned, total, target, views, maker)
            return
    base = p.noise_rate + p.informed_rate
    if draw >= base + s.excitement:
        return  # thinned: the excitement has faded since the waiting time was drawn
    if draw < p.noise_rate or draw - base > s.excitement * p.informed_rate / base:
        _noise_taker(out, p, s, words, prices, owned, total)
    else:
        _informed_taker(out, p, s, words, prices, owned, total)
    s.excitement += p.clustering * p.clustering_decay


@njit
def _open(
    out: d.Array,
    p: np.record,
    s: np.record,
    words: Sizes,
    prices: Prices,
    owned: Sizes,
    total: Sizes,
    target: Sizes,
    views: Floats,
) -> None:
    s.now_ns = p.open_ns
    s.latency_ns = p.feed_latency_ns
    s.log_odds = math.log(p.p0 / (1.0 - p.p0))
    drawn = 1 if uniform(words) < p.p0 else 0
    s.outcome = drawn if p.outcome == DRAWN else p.outcome
    s.bid_level = -1
    s.ask_level = len(prices)
    s.away = NOBODY
    s.silent = 1
    for maker in range(p.makers):
        views[maker] = s.log_odds
        _refresh(out, p, s, words, prices, owned, total, target, views, maker)
    s.silent = 0
    _write(out, s, d.STATUS, 0, 0, 0, d.ACTIVE, 0)
    _snapshot(out, s, prices, total)


@njit
def generate(out: d.Array, params: d.Array, seed: int, prices: Prices) -> int:
    """Fill `out` (EVENT rows of market 0) with one market's life and return the number of its events.

    `params` is (1,) FLOW, `prices` the ascending grid. The events are STATUS active, a snapshot, LEVEL and
    TRADE rows (a print, then its level at the same time), STATUS closed and SETTLE, in order of time, all
    flagged SYNTHETIC. A result above `len(out)` means that `out` was too short: nothing beyond it was
    written; call again with that length and the same seed.
    """
    p = params[0]
    state = np.zeros(1, _STATE)
    s = state[0]
    words = np.zeros(4, np.int64)
    seed_words(words, seed)
    owned = np.zeros((p.makers + 1, 2, len(prices)), np.int64)
    total = np.zeros((2, len(prices)), np.int64)
    target = np.zeros((2, len(prices)), np.int64)
    views = np.zeros(max(1, p.makers), np.float64)
    _open(out, p, s, words, prices, owned, total, target, views)
    close_ns = p.open_ns + p.duration_ns
    calm = p.refresh_rate * p.makers + p.depth_rate + p.news_rate + p.noise_rate + p.informed_rate
    calm += p.retreat_rate
    while True:
        rate = calm + s.excitement
        if s.away != NOBODY:
            rate += p.return_rate
        next_ns = s.now_ns + 1 + int(exponential(words) / rate * HOUR_NS)
        if next_ns >= close_ns:
            break
        _advance(p, s, words, next_ns)
        _happen(out, p, s, words, prices, owned, total, target, views, uniform(words) * rate)
    s.now_ns = close_ns
    _write(out, s, d.STATUS, 0, 0, 0, d.CLOSED, 0)
    s.now_ns = close_ns + p.settle_delay_ns
    _write(out, s, d.SETTLE, 0, 0, s.outcome * CONTRACT, 0, 0)
    return state[0].count  # a row keeps nothing alive: the array must be used last
