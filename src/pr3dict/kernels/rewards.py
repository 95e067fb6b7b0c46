"""Quotes that earn liquidity rewards: what an order scores, what others score, and where a quote should rest.

Polymarket's rule (docs, 2026): an order at distance s from the midpoint of levels that are large enough,
with the widest spread v that scores, counts ((v - s) / v)^2 a contract. With Q1 of a maker's bids and Q2 of
his asks he scores max(min(Q1, Q2), max(Q1, Q2) / 3) where the midpoint is from 10 to 90 cents, else
min(Q1, Q2); a day's pool is shared by these scores, minute by minute.

The optimum is that of theory's J(s) = A exp(-k s) (s - c) b + reward, on the market's price grid and for both
sides together (docs/rewards.md). All is in integers: weights and chances are rounded down to a ppm, money
towards zero to a micro. `rewards_reference.py` is the same in the obvious slow way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, MONEY_SCALE, PPM_SCALE, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.estimators import own_size
from pr3dict.kernels.fees import expected_maker_fee_micros, fill_rebate_micros
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.quote_levels import (
    add_reason,
    floor_lot,
    grid_price,
    gross_cap,
    level_at_or_below,
    order_wish,
    outward_price,
    passive_price,
    scale_ppm,
    side_cap,
)
from pr3dict.kernels.world import Grids, IntArray

ONE_SIDED = 3  # what the larger side alone is divided by
BAND_LOW, BAND_HIGH = PRICE_SCALE // 5, 2 * PRICE_SCALE - PRICE_SCALE // 5  # half units: 10 and 90 cents
HOURS_A_DAY = 24
MICROS_PER_HALF = MICROS_PER_PRICE_UNIT // 2
NONE = -(1 << 62)


class Side(NamedTuple):
    """Where one side may rest: levels from `inner` to `edge` score, `own` is where it rests without rewards.

    `own` -1: the side is not quoted. `scoring` counts the levels from `inner` to `edge`, 0: none. Sizes in
    micro-contracts: `raised` is large enough to score (0: the limits leave no such size), `wish` as always.
    """

    side: int
    own: int
    inner: int
    scoring: int
    wish: int
    raised: int
    reservation_micros: int
    floor_micros: int  # least distance from it of a quote that is moved or raised
    cost_micros: int  # of a contract, that a fill has to earn


def set_terms(row: d.Row, terms: RewardTerms | None) -> None:
    """Write a market's reward terms into its MARKET row; None: it has none (any more)."""
    row["reward_spread"] = 0 if terms is None else terms.spread
    row["reward_min_size"] = 0 if terms is None else terms.min_size
    row["reward_day_micros"] = 0 if terms is None else terms.day_micros
    row["reward_mid"] = -1


# --- the score ------------------------------------------------------------------------------------


@kernel
def part(value: int, ppm: int) -> int:
    """`value` x ppm / 1,000,000 rounded down, both at least 0; products beyond 64 bits don't arise."""
    return value // PPM_SCALE * ppm + value % PPM_SCALE * ppm // PPM_SCALE


@kernel
def weight_ppm(spread: int, halves: int) -> int:
    """((v - s) / v)^2 in ppm: v = `spread` in price units, s = `halves` in half price units."""
    left = 2 * spread - halves
    if left <= 0:
        return 0
    return left * left * PPM_SCALE // (4 * spread * spread)


@kernel
def maker_score(first: int, second: int, mid: int) -> int:
    """What a maker's two sides count together; `mid` in half price units."""
    least, most = min(first, second), max(first, second)
    return max(least, most // ONE_SIDED) if BAND_LOW <= mid <= BAND_HIGH else least


@kernel
def crowd_score(first: int, second: int, mid: int) -> int:
    """The most that any number of makers can score with these sides: pairs whole, the rest one-sided."""
    least, most = min(first, second), max(first, second)
    return least - (least - most) // ONE_SIDED if BAND_LOW <= mid <= BAND_HIGH else least


@kernel
def hourly_micros(day_micros: int, own: int, others: int) -> int:
    """Expected reward an hour of a score beside that of others; never more than the share says."""
    if own <= 0:
        return 0
    return part(day_micros // HOURS_A_DAY, own * PPM_SCALE // (own + others))


# --- what is seen ---------------------------------------------------------------------------------


@kernel
def _others(market: np.record, depth: IntArray, orders: d.Array, side: int, level: int, price: int) -> int:
    """Micro-contracts of others at a level, 0 where they can't hold an order that scores."""
    size = int(depth[side, level])
    if size > 0 and market.book_includes_own != 0:
        size -= own_size(orders, side, price)
    return size if size >= max(int(market.reward_min_size), 1) else 0


@kernel
def measure_rewards(
    market: np.record, fee: np.record, book: np.record, depth: IntArray, grids: Grids, orders: d.Array
) -> None:
    """Set the midpoint of what others show in sizes that score, their score a side, and a maker's cost.

    A level's orders are not told apart, so a level counts whole once it could hold one that scores: the
    competition is never taken for less than it is.
    """
    market.reward_mid = -1
    market.reward_bid_others = market.reward_ask_others = 0
    grid, count = int(book.grid), int(grids.level_count[book.grid])
    bid, ask = -1, -1
    for level in range(int(book.bid_level), -1, -1):
        price = int(grids.price_of_level[grid, level])
        if _others(market, depth, orders, BID, level, price) > 0:
            bid = level
            break
    for level in range(int(book.ask_level), count):
        price = int(grids.price_of_level[grid, level])
        if _others(market, depth, orders, ASK, level, price) > 0:
            ask = level
            break
    if bid < 0 or ask < 0 or bid >= ask:
        return
    spread = int(market.reward_spread)
    mid = int(grids.price_of_level[grid, bid]) + int(grids.price_of_level[grid, ask])
    market.reward_mid = mid
    for level in range(bid, -1, -1):
        price = int(grids.price_of_level[grid, level])
        weight = weight_ppm(spread, mid - 2 * price)
        if weight == 0:
            break
        market.reward_bid_others += part(_others(market, depth, orders, BID, level, price), weight)
    for level in range(ask, count):
        price = int(grids.price_of_level[grid, level])
        weight = weight_ppm(spread, 2 * price - mid)
        if weight == 0:
            break
        market.reward_ask_others += part(_others(market, depth, orders, ASK, level, price), weight)
    price = min(max(int(market.fair_micros) // MICROS_PER_PRICE_UNIT, 1), PRICE_SCALE - 1)
    market.maker_cost_micros = expected_maker_fee_micros(fee, price, QTY_SCALE) - fill_rebate_micros(
        fee, True, price, QTY_SCALE
    )


# --- what a price is worth ------------------------------------------------------------------------


@kernel
def fill_chance_ppm(decay_ppm: int, distance_micros: int) -> int:
    """exp(-k s) in ppm, 1 at the reservation price and beyond it."""
    return int(math.exp(-float(decay_ppm) * float(max(distance_micros, 0)) / 1e12) * PPM_SCALE + 0.5)


@kernel
def edge_micros(params: np.record, distance_micros: int, cost_micros: int, size: int) -> int:
    """A exp(-k s) (s - c) b: expected earnings of fills an hour, rounded towards zero."""
    an_hour = part(size, int(params.reward_fill_rate_ppm))
    filled = part(an_hour, fill_chance_ppm(int(params.reward_fill_decay_ppm), distance_micros))
    earned = distance_micros - cost_micros
    return part(filled, earned) if earned >= 0 else -part(filled, -earned)


@kernel
def _price(grids: Grids, grid: int, level: int) -> int:
    return int(grids.price_of_level[grid, level])


@kernel
def _distance_micros(at: Side, price: int) -> int:
    gap = at.reservation_micros - price * MICROS_PER_PRICE_UNIT
    return gap if at.side == BID else -gap


@kernel
def _level(at: Side, i: int) -> int:
    """The i-th candidate, from the innermost outward; the last is where the side rests by itself."""
    if i >= at.scoring:
        return at.own
    return at.inner - i if at.side == BID else at.inner + i


@kernel
def _candidates(at: Side) -> int:
    """At least 1: a side that is not quoted has its absence."""
    if at.scoring == 0:
        return 1
    own_scores = _level(at, at.scoring - 1) == at.own
    return at.scoring if own_scores else at.scoring + 1


@kernel
def _size(market: np.record, at: Side, distance_micros: int) -> int:
    """What would rest and score there; 0 where it would be too small to score."""
    size = at.raised if distance_micros >= at.floor_micros else min(at.wish, at.raised)
    return size if size >= market.reward_min_size else 0


@kernel
def _score(market: np.record, grids: Grids, grid: int, at: Side, i: int) -> int:
    level = _level(at, i)
    if level < 0:
        return 0
    price = _price(grids, grid, level)
    weight = weight_ppm(int(market.reward_spread), abs(int(market.reward_mid) - 2 * price))
    return part(_size(market, at, _distance_micros(at, price)), weight)


@kernel
def _edge(market: np.record, params: np.record, grids: Grids, grid: int, at: Side, i: int) -> int:
    """Expected edge of a candidate: what a raised size would earn more is left out, what it loses is not."""
    level = _level(at, i)
    if level < 0:
        return 0
    distance = _distance_micros(at, _price(grids, grid, level))
    size = at.wish
    if distance < at.cost_micros:
        size = max(size, _size(market, at, distance))
    return edge_micros(params, distance, at.cost_micros, size)


@kernel
def _worth(market: np.record, quote: np.record, score: int) -> int:
    return hourly_micros(int(market.reward_day_micros), score, int(quote.reward_others))


# --- one side -------------------------------------------------------------------------------------


@kernel
def adverse_micros(market: np.record, params: np.record) -> int:
    """Adverse cost of a contract: the setting, or a larger markout of own fills once enough are known."""
    least = int(params.reward_adverse_micros)
    if market.markout_micros >= 0.0 or market.markout_weight * QTY_SCALE < params.markout_min_contracts:
        return least
    return max(least, int(min(-market.markout_micros, float(MONEY_SCALE))))


@kernel
def _raised_size(market: np.record, params: np.record, side: int, cap: int, quote: np.record) -> int:
    """The wished size, or the least that scores where the limits allow it; 0 where they do not."""
    room = min(cap, gross_cap(market, params, side), int(params.max_order_size))
    lot = max(int(market.lot), 1)
    least = -(-int(market.reward_min_size) // lot) * lot
    size = floor_lot(market, min(max(order_wish(params, quote), least), room))
    return size if size >= least else 0


@kernel
def _edge_price(grids: Grids, grid: int, side: int, mid: int, spread: int) -> int:
    """The outermost grid price that scores; -1: none on the grid."""
    if side == BID:  # 2p > mid - 2v
        least = max((mid - 2 * spread) // 2 + 1, 1)
        return grid_price(grids, grid, ASK, least * MICROS_PER_PRICE_UNIT)
    most = min(-(-(mid + 2 * spread) // 2) - 1, PRICE_SCALE - 1)
    return grid_price(grids, grid, BID, most * MICROS_PER_PRICE_UNIT)


@kernel
def _inner_price(
    market: np.record, grids: Grids, grid: int, side: int, reservation: int, floor_micros: int
) -> int:
    """The innermost grid price that is far enough from the reservation price, passive and not beyond mid."""
    mid = int(market.reward_mid) * MICROS_PER_HALF
    far = int(market.far_ask_price) if side == BID else int(market.far_bid_price)
    wish = min(reservation - floor_micros, mid) if side == BID else max(reservation + floor_micros, mid)
    price = outward_price(grids, grid, side, wish)
    return passive_price(grids, grid, side, price, far) if price >= 0 else -1


@kernel
def _side(
    market: np.record,
    params: np.record,
    grids: Grids,
    grid: int,
    side: int,
    reduce_only: bool,
    quote: np.record,
) -> Side:
    """The candidates of one side and what holds for them."""
    mode, half = int(params.rewards), max((int(quote.spread_micros) + 1) // 2, 1)
    adverse = adverse_micros(market, params)
    cost = adverse + int(market.maker_cost_micros)
    stressed = scale_ppm(adverse, int(params.reward_stress_ppm)) + int(market.maker_cost_micros)
    floor = max(cost if mode == d.REWARDS_RESPECT else stressed, (int(params.min_spread_micros) + 1) // 2, 1)
    # Without rewards the quote is taken to be at its best where it is: then s - c = 1/k (theory).
    cost = max(cost, half - PPM_SCALE * PPM_SCALE // int(params.reward_fill_decay_ppm))
    reservation = int(quote.fair_micros) + int(quote.skew_micros)
    wished = int(quote.skewed_bid_micros) if side == BID else int(quote.skewed_ask_micros)
    far = int(market.far_ask_price) if side == BID else int(market.far_bid_price)
    cap = side_cap(market, params, side, int(quote.state), reduce_only)
    price = outward_price(grids, grid, side, wished) if cap >= 0 else -1
    price = passive_price(grids, grid, side, price, far) if price >= 0 else -1
    if price < 0:
        return Side(side, -1, -1, 0, 0, 0, reservation, floor, cost)
    raised = _raised_size(market, params, side, cap, quote)
    wish = min(order_wish(params, quote), max(cap, 0))
    own = level_at_or_below(grids, grid, price)
    inner, scoring = own, 0
    inner_price = _inner_price(market, grids, grid, side, reservation, floor)
    edge_price = _edge_price(grids, grid, side, int(market.reward_mid), int(market.reward_spread))
    if inner_price >= 0 and edge_price >= 0 and raised > 0:
        inner, edge = level_at_or_below(grids, grid, inner_price), level_at_or_below(grids, grid, edge_price)
        scoring = inner - max(edge, own) + 1 if side == BID else min(edge, own) - inner + 1
    return Side(side, own, inner, max(scoring, 0), wish, raised, reservation, floor, cost)


# --- both sides -----------------------------------------------------------------------------------


@kernel
def place_for_rewards(
    market: np.record, params: np.record, grids: Grids, grid: int, reduce_only: bool, quote: np.record
) -> None:
    """Move the wished prices inward, and raise the sizes, where rewards ask for it; explain what they bring.

    quote: QUOTE row whose skewed prices and state are known; gets `reward_*` and `unmoved_*`.
    """
    mid = int(market.reward_mid)
    bid_others, ask_others = int(market.reward_bid_others), int(market.reward_ask_others)
    quote.rewards = params.rewards
    quote.reward_mid_micros = mid * MICROS_PER_HALF
    quote.reward_others = crowd_score(bid_others, ask_others, mid)
    bid = _side(market, params, grids, grid, BID, reduce_only, quote)
    ask = _side(market, params, grids, grid, ASK, reduce_only, quote)
    last_bid, last_ask = _candidates(bid) - 1, _candidates(ask) - 1
    i, j = max(min(last_bid, bid.scoring - 1), 0), max(min(last_ask, ask.scoring - 1), 0)
    if params.rewards == d.REWARDS_OPTIMISE:
        i, j = _best_pair(market, params, grids, grid, bid, ask, quote)
    quote.unmoved_edge_micros = _edge_of(market, params, grids, grid, bid, last_bid, ask, last_ask)
    quote.reward_edge_micros = _edge_of(market, params, grids, grid, bid, i, ask, j)
    one, two = _score(market, grids, grid, bid, last_bid), _score(market, grids, grid, ask, last_ask)
    quote.unmoved_reward_micros = _worth(market, quote, maker_score(one, two, mid))
    one, two = _score(market, grids, grid, bid, i), _score(market, grids, grid, ask, j)
    quote.reward_bid_score = one
    quote.reward_ask_score = two
    quote.reward_micros = _worth(market, quote, maker_score(one, two, mid))
    _keep(grids, grid, bid, i, quote)
    _keep(grids, grid, ask, j, quote)


@kernel
def _edge_of(
    market: np.record, params: np.record, grids: Grids, grid: int, bid: Side, i: int, ask: Side, j: int
) -> int:
    """Expected edge of both sides."""
    return _edge(market, params, grids, grid, bid, i) + _edge(market, params, grids, grid, ask, j)


@kernel
def _keep(grids: Grids, grid: int, at: Side, i: int, quote: np.record) -> None:
    """Write a side's choice into the row: its price where it moves, its size where it scores."""
    level = _level(at, i)
    if level < 0:
        return
    price = _price(grids, grid, level)
    size = at.raised if _distance_micros(at, price) >= at.floor_micros else 0
    scores = quote.reward_bid_score > 0 if at.side == BID else quote.reward_ask_score > 0
    if at.side == BID:
        quote.reward_bid_size = size if scores else 0
        quote.reward_bid_price = price if level != at.own else 0
    else:
        quote.reward_ask_size = size if scores else 0
        quote.reward_ask_price = price if level != at.own else 0
    if level != at.own:
        add_reason(quote, d.R_BID_REWARD_PRICE + at.side)


@kernel
def _best_pair(
    market: np.record, params: np.record, grids: Grids, grid: int, bid: Side, ask: Side, quote: np.record
) -> tuple[int, int]:
    """The candidates (bid, ask) with the largest expected edge plus reward; of equals the outermost ones.

    The reward is the largest of three terms, each of which is searched by itself in one pass: the score of
    the bid where the ask scores no less, the reverse, and a third of the one side, whatever the other does.
    """
    best = _best_weaker(market, params, grids, grid, bid, ask, quote)
    best = _better(best, _best_weaker(market, params, grids, grid, ask, bid, quote))
    if BAND_LOW <= market.reward_mid <= BAND_HIGH:
        best = _better(best, _best_alone(market, params, grids, grid, bid, ask, quote))
        best = _better(best, _best_alone(market, params, grids, grid, ask, bid, quote))
    return best[1], best[2]


@kernel
def _better(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    """Of two (value, bid, ask) the one worth more; of equals the one further out, then its bid."""
    if one[0] != other[0]:
        return one if one[0] > other[0] else other
    if one[1] + one[2] != other[1] + other[2]:
        return one if one[1] + one[2] > other[1] + other[2] else other
    return one if one[1] > other[1] else other


@kernel
def _as_pair(at: Side, value: int, i: int, j: int) -> tuple[int, int, int]:
    """(value, bid, ask) from the candidate of `at` and the other side's."""
    return (value, i, j) if at.side == BID else (value, j, i)


@kernel
def _best_weaker(
    market: np.record, params: np.record, grids: Grids, grid: int, weak: Side, strong: Side, quote: np.record
) -> tuple[int, int, int]:
    """(value, bid, ask) where `weak` scores least and so sets the reward."""
    best = (NONE, 0, 0)
    most, most_j, j = NONE, 0, 0
    strong_count = _candidates(strong)
    for i in range(_candidates(weak)):
        score = _score(market, grids, grid, weak, i)
        while j < strong_count and _score(market, grids, grid, strong, j) >= score:
            edge = _edge(market, params, grids, grid, strong, j)
            if edge >= most:
                most, most_j = edge, j
            j += 1
        if most > NONE:
            value = _edge(market, params, grids, grid, weak, i) + most + _worth(market, quote, score)
            best = _better(best, _as_pair(weak, value, i, most_j))
    return best


@kernel
def _best_alone(
    market: np.record, params: np.record, grids: Grids, grid: int, one: Side, other: Side, quote: np.record
) -> tuple[int, int, int]:
    """(value, bid, ask) where a third of `one` is the score."""
    best, best_i = NONE, 0
    for i in range(_candidates(one)):
        score = _score(market, grids, grid, one, i) // ONE_SIDED
        value = _edge(market, params, grids, grid, one, i) + _worth(market, quote, score)
        if value >= best:
            best, best_i = value, i
    most, most_j = NONE, 0
    for j in range(_candidates(other)):
        edge = _edge(market, params, grids, grid, other, j)
        if edge >= most:
            most, most_j = edge, j
    return _as_pair(one, best + most, best_i, most_j)
