"""The order diff written once more in the slow, obvious way: from what stands and is wanted to messages.

Nothing is kept up to date: exposure, room and worst case are computed from the list of orders each time,
after every order that goes out. Units as everywhere: price 1/10,000 $, size 1/1,000,000 contract, money
micros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from pr3dict.kernels import dtypes as d

DOLLAR = 10_000  # price units
UNIT_MICROS = 100  # micros a price unit


class Own(NamedTuple):
    """An own order as we know it, in any state but FREE. `asked` is the size last asked of the exchange."""

    slot: int
    side: int
    price: int
    remaining: int
    state: int
    leg: int
    asked: int


class Wish(NamedTuple):
    """What should rest at one price."""

    side: int
    price: int
    size: int
    tif: int


class Sent(NamedTuple):
    """A message to the exchange; side, price, tif and leg of new orders only."""

    kind: int
    slot: int
    qty: int
    side: int = 0
    price: int = 0
    tif: int = 0
    leg: int = 0


@dataclass(frozen=True)
class Limits:
    """What holds in a market while its orders change."""

    yes: int
    no: int
    cost_micros: int
    fair_micros: int
    takes_orders: bool
    nets: bool
    reduce_in_place: bool
    exits: bool  # a forced exit: only towards zero or the target, whichever it is
    rebalancing: bool  # only towards the target
    reduce_only: bool  # only towards zero, what resolves
    min_size: int
    lot: int
    target: int
    max_inventory: int
    max_position_size: int
    max_order_size: int
    price_band_micros: int
    refill_ppm: int
    heat_limit_micros: int
    heat_elsewhere_micros: int  # of all other events
    siblings: tuple[tuple[int, int], ...] = ()  # losses (if YES, if NO) of the other markets of the event


def crosses(side: int, price: int, other: int) -> bool:
    """Whether an order of `side` at `price` would trade with one of the other side at `other`."""
    return other <= price if side == d.BID else other >= price


def room(limits: Limits, orders: Sequence[Own], side: int) -> int:
    """Contracts that may be added to a side if all that is open fills, here or on both sides."""
    opened = {s: sum(o.remaining for o in orders if o.side == s) for s in (d.BID, d.ASK)}
    net = limits.yes - limits.no
    towards = net if side == d.BID else -net  # how far this side has already gone
    target = limits.target if side == d.BID else -limits.target
    ends = [target + limits.max_inventory]  # how far it may go
    if limits.exits:
        ends = [max(0, target)]
    else:
        ends += [target] if limits.rebalancing else []
        ends += [0] if limits.reduce_only else []
    inventory_room = min(ends) - towards - opened[side]
    if limits.nets:
        return min(inventory_room, limits.max_position_size - towards - opened[side])
    gross = limits.yes + limits.no + opened[d.BID] + opened[d.ASK]
    buying = limits.max_position_size - gross
    selling = -towards - opened[side]
    return min(inventory_room, max(buying, selling))


def loss_micros(limits: Limits, orders: Sequence[Own]) -> int:
    """Worst loss of the market's event: one market ends YES, or none, and all fills are against us."""
    bids = sum(Fraction(o.price * o.remaining, DOLLAR) for o in orders if o.side == d.BID)
    asks = sum(Fraction((DOLLAR - o.price) * o.remaining, DOLLAR) for o in orders if o.side == d.ASK)
    if_yes = limits.cost_micros - limits.yes + asks
    if_no = limits.cost_micros - limits.no + bids
    losses = [(math.ceil(if_yes), math.ceil(if_no)), *limits.siblings]
    worst = 0
    for winner in range(-1, len(losses)):
        worst = max(worst, sum(yes if k == winner else no for k, (yes, no) in enumerate(losses)))
    return worst


def leg_for(limits: Limits, orders: Sequence[Own], side: int, size: int) -> int:
    """Sell what is held of the other contract if all of the order can be sold, else buy."""
    if limits.nets:
        return d.BUY_LEG
    promised = sum(o.remaining for o in orders if o.side == side and o.leg == d.SELL_LEG)
    held = limits.no if side == d.BID else limits.yes
    return d.SELL_LEG if held - promised >= size else d.BUY_LEG


def sync(limits: Limits, orders: Sequence[Own], wishes: Sequence[Wish]) -> list[Sent]:
    """Messages that bring `orders` (ascending slots) to `wishes` (best level first, bids before asks)."""
    sent: list[Sent] = []
    standing = {(wish.side, wish.price): 0 for wish in wishes}
    size_at = {(wish.side, wish.price): wish.size for wish in wishes}
    now: list[Own] = []
    for order in sorted(orders, key=lambda o: (o.side, o.slot)):
        place = (order.side, order.price)
        lacking = size_at.get(place, 0) - standing.get(place, 0)
        if order.state not in (d.PENDING, d.LIVE):
            now.append(order)
        elif lacking > 0 and order.remaining <= lacking:
            standing[place] += order.remaining
            now.append(order)
        elif lacking > 0 and order.state == d.LIVE and limits.reduce_in_place:
            standing[place] += lacking
            now.append(order._replace(asked=lacking))
            if order.asked > lacking:
                sent.append(Sent(d.REDUCE, order.slot, lacking))
        else:
            sent.append(Sent(d.CANCEL, order.slot, 0))
            now.append(order._replace(state=d.CANCELING))
    for wish in wishes:
        stands = standing[wish.side, wish.price]
        if stands >= wish.size or (stands and stands * 1_000_000 >= wish.size * limits.refill_ppm):
            continue
        placed = _place(limits, now, wish, wish.size - stands)
        if placed is not None:
            now.append(placed)
            sent.append(
                Sent(d.NEW, placed.slot, placed.remaining, wish.side, wish.price, wish.tif, placed.leg)
            )
    return sent


def _place(limits: Limits, orders: Sequence[Own], wish: Wish, size: int) -> Own | None:
    """The order that may go out for a wish; None where it may not, or not yet."""
    if not limits.takes_orders or limits.fair_micros < 0:
        return None
    if abs(wish.price * UNIT_MICROS - limits.fair_micros) > limits.price_band_micros:
        return None
    size = min(size, room(limits, orders, wish.side), limits.max_order_size)
    size = size // limits.lot * limits.lot
    if size < limits.min_size or size <= 0:
        return None
    if any(o.side != wish.side and crosses(wish.side, wish.price, o.price) for o in orders):
        return None
    free = sorted(set(range(d.ORDER_SLOTS)) - {o.slot for o in orders})
    if not free:
        return None
    leg = leg_for(limits, orders, wish.side, size)
    order = Own(free[0], wish.side, wish.price, size, d.PENDING, leg, size)
    before, after = loss_micros(limits, orders), loss_micros(limits, [*orders, order])
    if after > before and after + limits.heat_elsewhere_micros > limits.heat_limit_micros:
        return None
    return order


def with_fills(limits: Limits, orders: Sequence[Own]) -> Limits:
    """The position if all of `orders` filled; cost and pairs aside."""
    bids = sum(o.remaining for o in orders if o.side == d.BID)
    asks = sum(o.remaining for o in orders if o.side == d.ASK)
    net = limits.yes - limits.no + bids - asks
    return replace(limits, yes=max(net, 0), no=max(-net, 0))
