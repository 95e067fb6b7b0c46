"""The most that positions and open orders can lose, over every outcome and every set of fills.

A market ends YES or NO. An order that fills costs us something in one of the two only: a bid its price if
NO, an ask $1 less its price if YES; in the other it gains. So against YES the worst set of fills is all
asks, against NO all bids, and no subset has to be searched. Losses are in micros, fees apart; a negative
loss is a certain profit. One micro-contract that wins pays one micro.
"""

from __future__ import annotations

import numpy as np

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.world import IntArray


@kernel
def loss_if(market: np.record, orders: d.Array) -> tuple[int, int]:
    """Loss in micros (if YES, if NO) of one market, with the worst fills of its `orders` (n,) ORDER rows.

    Every order that isn't FREE counts in full, whatever it waits for. Rounded up, once an outcome; sums up
    to 9e14 micro-contracts don't overflow. Selling what is held is the same bet as buying the other side,
    so an order's leg doesn't matter.
    """
    bids, asks = 0, 0
    for i in range(orders.shape[0]):
        order = orders[i]
        if order.state == d.FREE:
            continue
        if order.side == d.BID:
            bids += int(order.price) * int(order.remaining)
        else:
            asks += (PRICE_SCALE - int(order.price)) * int(order.remaining)
    return market_losses(
        int(market.yes_contracts),
        int(market.no_contracts),
        int(market.cost_micros),
        -(-bids // PRICE_SCALE),
        -(-asks // PRICE_SCALE),
    )


@kernel
def market_losses(
    yes_contracts: int, no_contracts: int, cost_micros: int, bid_cost_micros: int, ask_cost_micros: int
) -> tuple[int, int]:
    """Loss in micros (if YES, if NO) of holdings that cost `cost_micros`, with the worst fills.

    `bid_cost_micros` is what all open bids pay for YES, `ask_cost_micros` what all open asks pay for NO.
    """
    return (
        cost_micros - yes_contracts + ask_cost_micros,
        cost_micros - no_contracts + bid_cost_micros,
    )


@kernel
def market_worst_loss(
    yes_contracts: int, no_contracts: int, cost_micros: int, bid_cost_micros: int, ask_cost_micros: int
) -> int:
    """Worst loss in micros of one market alone, arguments as in `market_losses`."""
    if_yes, if_no = market_losses(yes_contracts, no_contracts, cost_micros, bid_cost_micros, ask_cost_micros)
    return max(if_yes, if_no)


@kernel
def market_loss_micros(market: np.record, orders: d.Array) -> int:
    """Worst loss in micros of one market alone, its `orders` (n,) filling against us; see `loss_if`."""
    if_yes, if_no = loss_if(market, orders)
    return max(if_yes, if_no)


@kernel
def event_worst_loss(loss_if_yes: IntArray, loss_if_no: IntArray, exhaustive: bool) -> int:
    """Worst loss in micros over the outcomes of an event of which at most one market ends YES.

    `loss_if_yes` and `loss_if_no` (n,) are as `loss_if` gives them. With `exhaustive` exactly one of these
    markets ends YES; without it none may, as always when only some of an event's markets are held. O(n).
    """
    if loss_if_yes.shape[0] == 0:
        return 0
    none, swing = 0, int(loss_if_yes[0]) - int(loss_if_no[0])
    for i in range(loss_if_yes.shape[0]):
        none += int(loss_if_no[i])
        swing = max(swing, int(loss_if_yes[i]) - int(loss_if_no[i]))
    if not exhaustive:
        swing = max(swing, 0)
    return none + swing


@kernel
def joined_loss_micros(others_none: int, others_swing: int, if_yes: int, if_no: int) -> int:
    """Worst loss in micros, at least 0, of one market that loses `if_yes` or `if_no` and its event's others.

    `others_none` is what the others lose when none of them ends YES, `others_swing` how much more when the
    worst of them does (at least 0): both 0 for a market that stands alone. At most one ends YES. O(1).
    """
    return max(others_none + if_no + max(others_swing, if_yes - if_no), 0)


@njit
def portfolio_heat_micros(loss_if_yes: IntArray, loss_if_no: IntArray, event_ids: IntArray) -> int:
    """Worst loss in micros of all markets: the sum over events, which may all go wrong at once.

    Arrays (n,), one entry a market; equal `event_ids` are mutually exclusive and need not be all outcomes
    of their event, -1 stands alone. A group that is certain to gain counts 0: it never pays for another.
    """
    heat = 0
    order = np.argsort(event_ids, kind="mergesort")  # brings the markets of an event together
    n = event_ids.shape[0]
    k = 0
    while k < n:
        event = event_ids[order[k]]
        none, swing = 0, 0
        while k < n and event_ids[order[k]] == event:
            i = order[k]
            none += int(loss_if_no[i])
            swing = max(swing, int(loss_if_yes[i]) - int(loss_if_no[i]))
            k += 1
            if event < 0:
                break
        heat += max(none + swing, 0)
    return heat
