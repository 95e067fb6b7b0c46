"""The estimators, fair values and worst cases written once more in the slow, obvious way.

Each function computes from the whole history or over every case, in exact integers and fractions, and calls
nothing of the compiled code that it is compared with. Units as everywhere: price 1/10,000 $, size
1/1,000,000 contract, money micros, time ns. Floats appear only where a root or a power is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import compress, product
from typing import NamedTuple

import numpy as np

from pr3dict.kernels import dtypes as d

DOLLAR = 10_000  # price units
UNIT = 100  # micros a price unit
CONTRACT = 1_000_000  # micro-contracts
HOUR_NS = 3_600_000_000_000

Levels = Mapping[tuple[int, int], int]  # (side, price) -> size


class Own(NamedTuple):
    """An own order."""

    side: int
    price: int
    remaining: int
    state: int


class Trade(NamedTuple):
    """A trade; `side` is the taker's."""

    at_ns: int
    side: int
    size: int


class Fill(NamedTuple):
    """An own fill; `side` BID: we bought YES. `mid_after` is None where no mid was known when it was due."""

    side: int
    price: int
    size: int
    mid_after: int | None


class Touch(NamedTuple):
    """Best bid and ask; -1 and 0 where there is none."""

    bid_price: int
    bid_size: int
    ask_price: int
    ask_size: int


# --- The book -----------------------------------------------------------------------------------------------


def without_own(levels: Levels, own: Iterable[Own]) -> dict[tuple[int, int], int]:
    """The book less our orders that it shows, without the levels that are then empty."""
    left = dict(levels)
    for order in own:
        if order.state in (d.LIVE, d.CANCELING):
            key = (order.side, order.price)
            left[key] = left.get(key, 0) - order.remaining
    return {key: size for key, size in left.items() if size > 0}


def touch(levels: Levels) -> Touch:
    """Best bid and ask of a book."""
    bids = [price for (side, price), size in levels.items() if side == d.BID and size > 0]
    asks = [price for (side, price), size in levels.items() if side == d.ASK and size > 0]
    bid, ask = max(bids, default=-1), min(asks, default=-1)
    return Touch(bid, levels.get((d.BID, bid), 0), ask, levels.get((d.ASK, ask), 0))


def mid(best: Touch) -> Fraction | None:
    """(bid + ask) / 2 in micros, None where the book has no mid."""
    if best.bid_price == -1 or best.ask_price == -1 or best.ask_price < best.bid_price:
        return None
    return Fraction(best.bid_price + best.ask_price, 2) * UNIT


def liquidity_micros(levels: Levels) -> int:
    """Dollars within 10 cents of mid, in micros, rounded down; `levels` without own orders."""
    centre = mid(touch(levels))
    if centre is None:
        return 0
    dollars = Fraction(0)
    for (side, price), size in levels.items():
        if abs(price * UNIT - centre) <= 100_000:
            cost = Fraction(price, DOLLAR) if side == d.BID else 1 - Fraction(price, DOLLAR)
            dollars += cost * Fraction(size, CONTRACT)
    return math.floor(dollars * 1_000_000)


def ofi(before: Touch, after: Touch) -> int:
    """Order flow imbalance of Cont, Kukanov & Stoikov (2014), by the three cases of each side."""
    bid_before, bid_after = before.bid_price, after.bid_price
    if bid_after > bid_before:
        bid = after.bid_size
    elif bid_after == bid_before:
        bid = after.bid_size - before.bid_size
    else:
        bid = -before.bid_size
    ask_before = before.ask_price if before.ask_price != -1 else math.inf
    ask_after = after.ask_price if after.ask_price != -1 else math.inf
    if ask_after < ask_before:
        ask = after.ask_size
    elif ask_after == ask_before:
        ask = after.ask_size - before.ask_size
    else:
        ask = -before.ask_size
    return bid - ask


# --- Trades -------------------------------------------------------------------------------------------------


def flow(trades: Iterable[Trade], now_ns: int, half_life_ns: int) -> tuple[float, float]:
    """(signed, total) contracts traded, each trade halved once a half life of its age."""
    signed = total = 0.0
    for trade in trades:
        left = trade.size / CONTRACT * 2.0 ** (-(now_ns - trade.at_ns) / half_life_ns)
        total += left
        signed += left if trade.side == d.BID else -left
    return signed, total


def volume(trades: Iterable[Trade], now_ns: int, bucket_ns: int, buckets: int) -> int:
    """Micro-contracts traded in the newest `buckets` aligned buckets, the present one included."""
    newest = now_ns // bucket_ns
    return sum(t.size for t in trades if newest - buckets < t.at_ns // bucket_ns <= newest)


def volume_spike(
    trades: Sequence[Trade], start_ns: int, now_ns: int, window_ns: int, baseline_ns: int, threshold: Fraction
) -> bool:
    """Whether the newest window traded over `threshold` times the average window since `start_ns`."""
    if now_ns - start_ns < 2 * window_ns:
        return False
    bucket_ns = window_ns // 6
    baseline_buckets = min(baseline_ns // bucket_ns, d.VOLUME_BUCKETS)
    seen = now_ns // bucket_ns - start_ns // bucket_ns + 1
    observed = min(seen, baseline_buckets)
    average = Fraction(volume(trades, now_ns, bucket_ns, baseline_buckets) * 6, observed)
    return average > 0 and volume(trades, now_ns, bucket_ns, 6) > threshold * average


# --- Volatility and markouts --------------------------------------------------------------------------------


def grid_changes(calls: Sequence[tuple[int, int | None]], grid_ns: int) -> list[int]:
    """Changes of fair value from grid time to grid time.

    `calls` are (time, fair value that stood just before it or None) in order of time. A grid time has the
    value that stood then, and keeps the one before where there was none.
    """
    known = [k for k, (_, fair) in enumerate(calls) if fair is not None]
    if not known:
        return []
    start_ns, last = calls[known[0]]
    assert last is not None
    changes = []
    grid_time = (start_ns // grid_ns + 1) * grid_ns
    while grid_time <= calls[-1][0]:
        standing = next(fair for at_ns, fair in calls if at_ns >= grid_time)
        value = last if standing is None else standing
        changes.append(value - last)
        last = value
        grid_time += grid_ns
    return changes


def volatility_micros(changes: Sequence[int], grid_ns: int) -> int:
    """Root of the mean squared change an hour, micros per square-root hour; 0 without a change."""
    if not changes:
        return 0
    squares = np.asarray(changes, dtype=object) ** 2
    per_hour = Fraction(int(squares.sum()) * HOUR_NS, len(changes) * grid_ns)
    return math.isqrt(math.floor(per_hour))


def markout_mean(fills: Sequence[Fill], half_life: int) -> tuple[float, float]:
    """(mean gain in micros a contract, contracts behind it); weights halve each `half_life` filled after."""
    fills = [fill for fill in fills if fill.mid_after is not None]
    gains = weights = 0.0
    for k, fill in enumerate(fills):
        assert fill.mid_after is not None
        later = sum(f.size for f in fills[k + 1 :])
        weight = fill.size / CONTRACT * 2.0 ** (-later / half_life)
        sign = 1 if fill.side == d.BID else -1
        gains += weight * sign * (fill.mid_after - fill.price * UNIT)
        weights += weight
    return (gains / weights, weights) if weights else (0.0, 0.0)


# --- Fair value ---------------------------------------------------------------------------------------------


def fair_micros(model: int, best: Touch, signed: float, total: float, flow_weight: Fraction) -> int | None:
    """Fair value of the three models from a touch and flows in contracts, decayed to now."""
    centre = mid(best)
    if centre is None:
        return None
    if model == d.FAIR_MID:
        return int(centre)
    bid, ask = Fraction(best.bid_price * UNIT), Fraction(best.ask_price * UNIT)
    imbalance = Fraction(best.bid_size, best.bid_size + best.ask_size)
    offset = int(imbalance * ask + (1 - imbalance) * bid - centre)
    if model == d.FAIR_ORDER_FLOW:
        resting = Fraction(best.bid_size + best.ask_size, 2 * CONTRACT)
        pressure = Fraction(signed) / (Fraction(total) + resting)
        offset += int((ask - bid) / 2 * flow_weight * pressure)
    return int(min(max(centre + offset, bid), ask))


# --- Worst case ---------------------------------------------------------------------------------------------


def _loss(yes: int, no: int, cost: Fraction, filled: Iterable[Own], yes_pays: bool) -> Fraction:
    """Loss in micros once these orders have filled and the market has ended."""
    for order in filled:
        if order.side == d.BID:
            yes += order.remaining
            cost += Fraction(order.price * order.remaining, DOLLAR)
        else:
            no += order.remaining
            cost += Fraction((DOLLAR - order.price) * order.remaining, DOLLAR)
    return cost - (yes if yes_pays else no)


def losses(yes: int, no: int, cost_micros: int, own: Sequence[Own]) -> tuple[int, int]:
    """Loss in micros (if YES, if NO), rounded up, by trying every subset of the orders."""
    orders = [order for order in own if order.state != d.FREE]
    worst: list[int] = []
    for yes_pays in (True, False):
        cases = (
            _loss(yes, no, Fraction(cost_micros), compress(orders, fills), yes_pays)
            for fills in product((False, True), repeat=len(orders))
        )
        worst.append(math.ceil(max(cases)))
    return worst[0], worst[1]


def event_worst_loss(if_yes: Sequence[int], if_no: Sequence[int], exhaustive: bool) -> int:
    """Worst loss of an event by listing its outcomes: the market that ends YES, or none."""
    outcomes: list[int | None] = list(range(len(if_yes)))
    if not exhaustive:
        outcomes.append(None)
    totals = [sum(if_yes[k] if k == winner else if_no[k] for k in range(len(if_yes))) for winner in outcomes]
    return max(totals, default=0)


def portfolio_heat_micros(if_yes: Sequence[int], if_no: Sequence[int], events: Sequence[int]) -> int:
    """Sum over groups of markets of one event (-1: alone) of their worst loss, where that is a loss."""
    groups: dict[object, list[int]] = {}
    for k, event in enumerate(events):
        groups.setdefault(("alone", k) if event == -1 else event, []).append(k)
    return sum(
        max(0, event_worst_loss([if_yes[k] for k in group], [if_no[k] for k in group], exhaustive=False))
        for group in groups.values()
    )
