"""A running replay at a glance: what each market is worth to us right now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pr3dict.kernels.world import World

MICRO = 1_000_000
MICROS_OF_HALF_PRICE = 50


@dataclass(frozen=True, slots=True)
class Glance:
    """One market between two steps: prices in 1/10,000 dollar (-1: none), sizes in micro-contracts."""

    mid_micros: int  # at the exchange; -1: no two-sided book
    bid_price: int  # our decision that stands
    ask_price: int
    net_contracts: int
    fills: int
    pnl_micros: int  # after fees, the position at the mid or the last one known


def _mid_micros(world: World, m: int) -> int:
    book = world.exchange_books[m]
    bid, ask = int(book["bid_level"]), int(book["ask_level"])
    if bid < 0 or ask >= int(world.grids.level_count[book["grid"]]) or bid >= ask:
        return -1
    prices = world.grids.price_of_level[book["grid"]]
    return (int(prices[bid]) + int(prices[ask])) * MICROS_OF_HALF_PRICE


def snapshot(world: World) -> list[Glance]:
    """Every market of a replay that stands between two calls of `replay.run`."""
    fills = world.fills[: int(world.clock[0].fill_count)]
    costs = np.zeros(len(world.holdings), np.int64)
    np.add.at(costs, fills["market"], fills["fee_micros"] - fills["rebate_micros"])
    return [_glance(world, m, int(costs[m])) for m in range(len(world.holdings))]


def _glance(world: World, m: int, fees_micros: int) -> Glance:
    held, quote, stats = world.holdings[m], world.quotes[m], world.stats[m]
    yes, no = int(held["yes_contracts"]), int(held["no_contracts"])
    mid = _mid_micros(world, m)
    mark = mid if mid >= 0 else int(stats["mark_micros"])
    value = yes * mark // MICRO + no * (MICRO - mark) // MICRO if mark >= 0 else 0
    return Glance(
        mid_micros=mid,
        bid_price=int(quote["bid_price"][0]),
        ask_price=int(quote["ask_price"][0]),
        net_contracts=yes - no,
        fills=int(stats["fills"]),
        pnl_micros=value - int(held["cost_micros"]) - fees_micros,
    )
