"""The order diff against its slow reference, and what its messages must never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pr3dict.kernels import diff
from pr3dict.kernels import diff_reference as ref
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import make_grids, new_market, new_world

CONTRACT = 1_000_000
PRICES = tuple(range(4_000, 6_100, 100))
FAIR = 500_000
CASH = 10_000 * CONTRACT
NOW = 77

sizes = st.integers(1, 30).map(lambda n: n * CONTRACT)
prices = st.sampled_from(PRICES)
losses = st.integers(-30, 30).map(lambda n: n * CONTRACT)
states = st.sampled_from([d.PENDING, d.LIVE, d.LIVE, d.LIVE, d.CANCELING])


@st.composite
def own_orders(draw, most=8):
    """Orders that do not cross each other, in slots with gaps."""
    middle = draw(st.integers(4_200, 5_800))
    orders = []
    for slot in sorted(draw(st.sets(st.integers(0, 12), max_size=most))):
        price = draw(prices)
        size = draw(sizes)
        leg = draw(st.sampled_from([d.BUY_LEG, d.BUY_LEG, d.SELL_LEG]))
        side = d.BID if price <= middle else d.ASK
        remaining = draw(st.integers(1, 10)) * size // 10
        orders.append(ref.Own(slot, side, price, remaining, draw(states), leg, size))
    return orders


@st.composite
def quotes(draw):
    """Up to three wished levels a side, bids below asks, best first."""
    middle = draw(st.integers(4_000, 6_000))
    wishes = []
    for side in (d.BID, d.ASK):
        inside = [p for p in PRICES if (p < middle if side == d.BID else p > middle)]
        chosen = draw(st.sets(st.sampled_from(inside or [0]), max_size=3)) - {0}
        chosen = sorted(chosen, reverse=side == d.BID)
        tif = draw(st.sampled_from([d.POST_ONLY, d.LIMIT]))
        wishes += [ref.Wish(side, price, draw(sizes), tif) for price in chosen]
    return wishes


@st.composite
def limits(draw):
    nets = draw(st.booleans())
    held = draw(st.integers(0, 60)) * CONTRACT
    other = 0 if nets else draw(st.integers(0, 20)) * CONTRACT
    yes, no = (held, other) if draw(st.booleans()) else (other, held)
    return ref.Limits(
        yes=yes, no=no, cost_micros=draw(st.integers(-30, 60)) * CONTRACT,
        fair_micros=draw(st.sampled_from([FAIR, FAIR, FAIR, FAIR, -1])),
        takes_orders=draw(st.sampled_from([True, True, True, True, False])), nets=nets,
        reduce_in_place=draw(st.booleans()), exits=draw(st.sampled_from([False, False, False, True])),
        rebalancing=draw(st.sampled_from([False, False, True])),
        reduce_only=draw(st.sampled_from([False, False, True])),
        min_size=CONTRACT, lot=draw(st.sampled_from([CONTRACT, 10_000])),
        target=draw(st.sampled_from([0, 0, 5, -7])) * CONTRACT,
        max_inventory=draw(st.sampled_from([10, 50, 1_000])) * CONTRACT,
        max_position_size=draw(st.sampled_from([40, 100, 1_000])) * CONTRACT,
        max_order_size=draw(st.sampled_from([12, 100])) * CONTRACT,
        price_band_micros=draw(st.sampled_from([60_000, 500_000])),
        refill_ppm=draw(st.sampled_from([0, 500_000, 1_000_000])),
        heat_limit_micros=draw(st.sampled_from([20, 60, 5_000])) * CONTRACT,
        heat_elsewhere_micros=draw(st.sampled_from([0, 10])) * CONTRACT,
        siblings=tuple(draw(st.lists(st.tuples(losses, losses), max_size=3))),
    )  # fmt: skip


def world_of(limits, orders, wishes):
    """Market 0 stands as given, market 1 carries the heat from elsewhere, all others exclude market 0."""
    n = 2 + len(limits.siblings)
    rows = new_market(n)
    params = np.zeros(n, d.PARAMS)
    rules = np.zeros(1, d.RULES)
    rules["max_heat_ppm"] = limits.heat_limit_micros * 1_000_000 // CASH
    rows["status"] = d.ACTIVE
    rows["status"][0] = d.ACTIVE if limits.takes_orders else d.PAUSED
    rows["event"] = [7, -1, *[7] * (n - 2)]
    rows["nets_positions"], rows["reduce_in_place"] = limits.nets, limits.reduce_in_place
    rows["min_size"], rows["lot"], rows["fair_micros"] = limits.min_size, limits.lot, limits.fair_micros
    held = [(limits.yes, limits.no, limits.cost_micros), (0, 0, limits.heat_elsewhere_micros)]
    for if_yes, if_no in limits.siblings:
        cost = max(if_yes, if_no, 0)
        held.append((cost - if_yes, cost - if_no, cost))
    for name, column in zip(
        ("yes_contracts", "no_contracts", "cost_micros"), zip(*held, strict=True), strict=True
    ):
        rows[name] = column
    params["target_inventory"], params["max_inventory"] = limits.target, limits.max_inventory
    params["max_position_size"], params["max_order_size"] = limits.max_position_size, limits.max_order_size
    params["price_band_micros"], params["refill_fraction_ppm"] = limits.price_band_micros, limits.refill_ppm
    world = new_world(
        make_grids([PRICES]), params, np.zeros(n, d.FEE), rows, grid_of_market=[0] * n, rules=rules,
        cash_micros=CASH, fill_capacity=1, curve_capacity=1, ring_capacity=64,
    )  # fmt: skip
    for order in orders:
        row = world.orders[0, order.slot]
        row["id"], row["side"], row["price"] = 100 + order.slot, order.side, order.price
        row["leg"] = order.leg
        row["remaining"], row["state"], row["qty"] = order.remaining, order.state, order.asked
    rows["slots_used"][0] = max((order.slot + 1 for order in orders), default=0)
    world.account[0]["next_order_id"] = 1_000
    want(world, wishes, limits)
    for m in range(n):
        diff.refresh_exposure(world, m)
    return world


def want(world, wishes, limits=None):
    quote = world.quotes[0]
    if limits is not None:
        quote["reasons"] = (1 << d.R_REDUCE_ONLY) if limits.reduce_only else 0
        quote["state"] = d.STATE_REBALANCING if limits.rebalancing else d.STATE_NORMAL
        quote["exit"] = limits.exits
    quote["bid_price"] = quote["ask_price"] = -1
    quote["bid_size"] = quote["ask_size"] = 0
    counts = [0, 0]
    for wish in wishes:
        name = "ask" if wish.side == d.ASK else "bid"
        quote[f"{name}_price"][counts[wish.side]] = wish.price
        quote[f"{name}_size"][counts[wish.side]] = wish.size
        quote[f"{name}_tif"] = wish.tif
        counts[wish.side] += 1
    quote["levels"] = max(counts)


def sync(world):
    """Messages of one sync."""
    before = int(world.clock[0]["outbox_tail"])
    diff.sync_orders(world, NOW, 0)
    rows = world.outbox[before : int(world.clock[0]["outbox_tail"])]
    assert all(int(row["at_ns"]) == NOW and int(row["market"]) == 0 for row in rows)
    assert [int(row["id"]) for row in rows] == [int(world.orders[0, int(row["slot"])]["id"]) for row in rows]
    full = ("kind", "slot", "qty", "side", "price", "tif", "leg")
    return [
        ref.Sent(*(int(row[name]) for name in (full if row["kind"] == d.NEW else full[:3]))) for row in rows
    ]


def open_orders(world):
    return [
        ref.Own(slot, *(int(row[n]) for n in ("side", "price", "remaining", "state", "leg", "qty")))
        for slot, row in enumerate(world.orders[0])
        if row["state"] != d.FREE
    ]


@settings(max_examples=200)
@given(limits(), own_orders(), quotes())
def test_equals_the_reference(limits, orders, wishes):
    world = world_of(limits, orders, wishes)
    assert sync(world) == ref.sync(limits, orders, wishes)


@settings(max_examples=100)
@given(limits(), own_orders(), quotes())
def test_what_no_sync_may_do(limits, orders, wishes):
    # No quote asks for more than one order may hold; if one did, the rest would follow at the next look.
    assume(all(wish.size <= limits.max_order_size for wish in wishes))
    world = world_of(limits, orders, wishes)
    before = int(world.account[0]["heat_micros"])
    messages = sync(world)
    assert sync(world) == [], "a second look sends nothing: what is in flight counts"
    standing = open_orders(world)
    new = [message for message in messages if message.kind == d.NEW]
    kinds = [message.kind for message in messages]
    assert kinds == sorted(kinds, key=lambda kind: kind == d.NEW), "new orders go out last"
    bids = [order.price for order in standing if order.side == d.BID]
    asks = [order.price for order in standing if order.side == d.ASK]
    for order in new:
        assert all(order.price < ask for ask in asks) if order.side == d.BID else True
        assert all(order.price > bid for bid in bids) if order.side == d.ASK else True
    for side in {message.side for message in new}:
        if not limits.reduce_only:
            one_sided = [order for order in standing if order.side == side]
            worst = ref.with_fills(limits, one_sided)
            towards = worst.yes - worst.no - limits.target
            assert (towards if side == d.BID else -towards) <= limits.max_inventory
    heat = int(world.account[0]["heat_micros"])
    assert heat <= max(before, limits.heat_limit_micros)
    assert heat == ref.loss_micros(limits, standing) + limits.heat_elsewhere_micros
    assert all(message.qty % limits.lot == 0 and message.qty >= limits.min_size for message in new)


@settings(max_examples=100)
@given(limits(), own_orders())
def test_heat_room_is_the_limit_less_what_is_lost_without_the_orders(limits, orders):
    world = world_of(limits, orders, [])
    used = ref.loss_micros(limits, []) + limits.heat_elsewhere_micros
    assert diff.heat_room_micros(world, 0) == limits.heat_limit_micros - used


@settings(max_examples=60)
@given(own_orders(), quotes())
def test_an_order_that_is_right_is_not_touched(orders, wishes):
    world = world_of(WIDE, orders, wishes)
    wanted = {(wish.side, wish.price): wish.size for wish in wishes}
    only_one = {place for place in wanted if sum((o.side, o.price) == place for o in orders) == 1}
    touched = {message.slot for message in sync(world) if message.kind != d.NEW}
    for order in orders:
        place = (order.side, order.price)
        if place in only_one and order.remaining <= wanted[place]:
            assert order.slot not in touched
        if place not in wanted and order.state != d.CANCELING:
            assert order.slot in touched


@settings(max_examples=60)
@given(limits(), own_orders(), quotes())
def test_yes_and_no_are_alike(limits, orders, wishes):
    def flip(item):
        return item._replace(side=1 - item.side, price=10_000 - item.price)

    mirrored = ref.Limits(**{**vars(limits), "yes": limits.no, "no": limits.yes, "target": -limits.target})
    swapped = sorted((flip(wish) for wish in wishes), key=lambda wish: wish.side)
    plain = sync(world_of(limits, orders, wishes))
    turned = sync(world_of(mirrored, [flip(order) for order in orders], swapped))

    def cancels(messages):
        return {message for message in messages if message.kind != d.NEW}

    assert cancels(plain) == cancels(turned)
    # Shared limits (gross, heat) serve the bids first, so new orders are compared where they are wide.
    if limits.heat_limit_micros > 1_000 * CONTRACT and limits.max_position_size == 1_000 * CONTRACT:
        added = {flip(message)._replace(slot=0) for message in plain if message.kind == d.NEW}
        assert added == {message._replace(slot=0) for message in turned if message.kind == d.NEW}


WIDE = ref.Limits(
    yes=0, no=0, cost_micros=0, fair_micros=FAIR, takes_orders=True, nets=True, reduce_in_place=True,
    exits=False, rebalancing=False, reduce_only=False, min_size=CONTRACT, lot=CONTRACT, target=0,
    max_inventory=1_000 * CONTRACT, max_position_size=1_000 * CONTRACT, max_order_size=1_000 * CONTRACT,
    price_band_micros=500_000, refill_ppm=500_000, heat_limit_micros=5_000 * CONTRACT,
    heat_elsewhere_micros=0,
)  # fmt: skip


def test_a_new_order_waits_until_the_one_it_would_cross_is_gone():
    resting = ref.Own(0, d.ASK, 5_000, 5 * CONTRACT, d.LIVE, d.BUY_LEG, 5 * CONTRACT)
    world = world_of(WIDE, [resting], [ref.Wish(d.BID, 5_100, 5 * CONTRACT, d.POST_ONLY)])
    assert sync(world) == [ref.Sent(d.CANCEL, 0, 0)]
    assert int(world.markets[0]["resync"]) == 1
    world.orders[0, 0]["state"] = d.FREE
    diff.refresh_exposure(world, 0)
    assert sync(world) == [ref.Sent(d.NEW, 0, 5 * CONTRACT, d.BID, 5_100, d.POST_ONLY, d.BUY_LEG)]
    assert int(world.markets[0]["resync"]) == 0


def test_a_reduction_is_asked_for_once_and_again_when_more_is_to_go():
    resting = ref.Own(3, d.BID, 4_900, 9 * CONTRACT, d.LIVE, d.BUY_LEG, 10 * CONTRACT)
    world = world_of(WIDE, [resting], [ref.Wish(d.BID, 4_900, 6 * CONTRACT, d.POST_ONLY)])
    assert sync(world) == [ref.Sent(d.REDUCE, 3, 6 * CONTRACT)]
    assert sync(world) == []
    want(world, [ref.Wish(d.BID, 4_900, 2 * CONTRACT, d.POST_ONLY)])
    assert sync(world) == [ref.Sent(d.REDUCE, 3, 2 * CONTRACT)]


@pytest.mark.parametrize("remaining", [5, 4])
def test_a_partly_filled_order_is_topped_up_below_the_refill_fraction(remaining):
    resting = ref.Own(0, d.BID, 4_900, remaining * CONTRACT, d.LIVE, d.BUY_LEG, 10 * CONTRACT)
    world = world_of(WIDE, [resting], [ref.Wish(d.BID, 4_900, 10 * CONTRACT, d.POST_ONLY)])
    expected = [] if remaining == 5 else [ref.Sent(d.NEW, 1, 6 * CONTRACT, d.BID, 4_900, 0, d.BUY_LEG)]
    assert sync(world) == expected


def test_our_own_order_rate_holds_new_orders_back_but_no_cancel():
    resting = [ref.Own(k, d.BID, 4_000 + 100 * k, CONTRACT, d.LIVE, d.BUY_LEG, CONTRACT) for k in range(3)]
    wishes = [ref.Wish(d.BID, price, CONTRACT, d.POST_ONLY) for price in (4_900, 4_800, 4_700)]
    world = world_of(WIDE, resting, wishes)
    world.rules[0]["max_order_rate"] = 2.0  # a second's worth may go at once
    world.account[0]["own_tokens"], world.account[0]["own_tokens_ns"] = 2.0, NOW
    assert [message.kind for message in sync(world)] == [d.CANCEL] * 3 + [d.NEW] * 2
    assert int(world.markets[0]["retry_ns"]) == NOW + 500_000_001
    assert sync(world) == []
