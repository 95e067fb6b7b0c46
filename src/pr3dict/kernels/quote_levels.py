"""Prices on the grid and sizes inside the limits: the second half of the quoting policy.

Works on a QUOTE row whose wished prices and state `quote.decide` has filled in. A price moves outward only
(bid down, ask up), a size down only, and a side that fits nowhere is left out.
"""

from __future__ import annotations

import numpy as np

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, MONEY_SCALE, PPM_SCALE, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID, MAX_LEVELS
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.quote_state import must_exit_by_time, net_contracts, net_from_target
from pr3dict.kernels.world import Grids, IntArray


@kernel
def scale_ppm(value: int, ppm: int) -> int:
    """`value` x ppm / 1,000,000 rounded half away from zero, so that -value gives the opposite."""
    scaled = (abs(value) * ppm + PPM_SCALE // 2) // PPM_SCALE
    return scaled if value >= 0 else -scaled


@kernel
def add_reason(quote: np.record, bit: int) -> None:
    """Set a reason's bit (R_*)."""
    quote.reasons = quote.reasons | (1 << bit)


@kernel
def level_at_or_below(grids: Grids, grid: int, price: int) -> int:
    """Highest level of the grid whose price is at most `price`; -1 if there is none."""
    low = 0
    high = int(grids.level_count[grid])
    while low < high:
        middle = (low + high) // 2
        if grids.price_of_level[grid, middle] <= price:
            low = middle + 1
        else:
            high = middle
    return low - 1


@kernel
def grid_price(grids: Grids, grid: int, side: int, micros: int) -> int:
    """Grid price at or below `micros` for BID, at or above for ASK; -1 if the grid has none."""
    if side == BID:
        level = level_at_or_below(grids, grid, micros // MICROS_PER_PRICE_UNIT)
        return int(grids.price_of_level[grid, level]) if level >= 0 else -1
    price = -(-micros // MICROS_PER_PRICE_UNIT)
    level = level_at_or_below(grids, grid, price - 1) + 1
    return int(grids.price_of_level[grid, level]) if level < grids.level_count[grid] else -1


@kernel
def outward_price(grids: Grids, grid: int, side: int, micros: int) -> int:
    """Grid price for a wish in micros: bid down, ask up; -1 (pulled, never moved inward) off the grid."""
    if micros <= 0 or micros >= MONEY_SCALE:
        return -1
    return grid_price(grids, grid, side, micros)


@kernel
def passive_price(grids: Grids, grid: int, side: int, price: int, far_price: int) -> int:
    """`price` moved outward until it rests at least one tick inside the far side; -1 if no price does."""
    if far_price < 0:
        return price
    if side == BID:
        limit = (far_price - 1) * MICROS_PER_PRICE_UNIT
        return price if price < far_price else grid_price(grids, grid, BID, limit)
    limit = (far_price + 1) * MICROS_PER_PRICE_UNIT
    return price if price > far_price else grid_price(grids, grid, ASK, limit)


@kernel
def side_arrays(quote: np.record, side: int) -> tuple[IntArray, IntArray]:
    """The prices and sizes of a side, as views of the row."""
    if side == BID:
        return quote.bid_price, quote.bid_size
    return quote.ask_price, quote.ask_size


@kernel
def quote_sides(
    market: np.record,
    params: np.record,
    grids: Grids,
    grid: int,
    reduce_only: bool,
    heat_room_micros: int,
    cash_room_micros: int,
    quote: np.record,
) -> None:
    """Prices, then sizes inside the limits of each side, then the cash that both sides lock together."""
    bid_cost = 0
    ask_cost = 0
    for side in (BID, ASK):
        cap = side_cap(market, params, side, int(quote.state), reduce_only)
        if cap < 0:
            continue
        prices, sizes = side_arrays(quote, side)
        _fill_prices(market, params, grids, grid, side, quote, prices)
        _fill_sizes(market, params, side, cap, quote, prices, sizes)
        free = _closing_contracts(market, side)
        if _fit_budget(market, side, max(heat_room_micros, 0), free, prices, sizes):
            add_reason(quote, d.R_CUT_HEAT)
        cost = _side_cost(side, free, prices, sizes)
        if side == BID:
            bid_cost = cost
        else:
            ask_cost = cost
    for side in (BID, ASK):
        prices, sizes = side_arrays(quote, side)
        # Each side may lock what the other leaves over, and half of the cash whatever the other wants.
        other = ask_cost if side == BID else bid_cost
        share = max(cash_room_micros // 2, cash_room_micros - other)
        if _fit_budget(market, side, share, _closing_contracts(market, side), prices, sizes):
            add_reason(quote, d.R_CUT_CASH)
        _lower_raised(market, params, side, quote, sizes)
        if _drop_small(market, prices, sizes):
            add_reason(quote, d.R_BID_BELOW_MIN + side)
    for i in range(MAX_LEVELS):
        if quote.bid_price[i] >= 0 or quote.ask_price[i] >= 0:
            quote.levels = i + 1


@kernel
def side_cap(market: np.record, params: np.record, side: int, state: int, reduce_only: bool) -> int:
    """Contracts that a side may still add before an inventory rule stops it; -1 if it must not be quoted."""
    sign = 1 if side == BID else -1
    distance = sign * net_from_target(market, params)
    held = sign * net_contracts(market)
    cap = max(int(params.max_inventory) - distance, 0)
    if state == d.STATE_REBALANCING:
        if distance >= 0:
            return -1
        cap = min(cap, -distance)
    if reduce_only:
        if held >= 0:
            return -1
        cap = min(cap, -held)
    return cap


@kernel
def gross_cap(market: np.record, params: np.record, side: int) -> int:
    """Contracts that a side may add before `max_position_size` could be broken.

    A venue that nets closes the opposite contract first. One that does not only does so for an order that
    sells what is held as a whole; anything larger may be bought anew and counts in full.
    """
    yes = int(market.yes_contracts)
    no = int(market.no_contracts)
    opposite = no if side == BID else yes
    room = int(params.max_position_size) - (yes + no)
    if market.nets_positions != 0:
        return max(room + 2 * opposite, 0)
    return max(room, opposite, 0)


@kernel
def _closing_contracts(market: np.record, side: int) -> int:
    """Contracts of a side that only reduce the net position: they lock nothing and add no loss."""
    net = net_contracts(market)
    return max(-net, 0) if side == BID else max(net, 0)


@kernel
def _fill_prices(
    market: np.record,
    params: np.record,
    grids: Grids,
    grid: int,
    side: int,
    quote: np.record,
    prices: IntArray,
) -> None:
    """Levels outward from the skewed price: on the grid, post-only, inside the band, each price once."""
    sign = -1 if side == BID else 1
    wish = int(quote.skewed_bid_micros) if side == BID else int(quote.skewed_ask_micros)
    moved = int(quote.reward_bid_price) if side == BID else int(quote.reward_ask_price)
    if moved > 0:
        wish = moved * MICROS_PER_PRICE_UNIT
    far_price = int(market.far_ask_price) if side == BID else int(market.far_bid_price)
    count = 0
    for i in range(min(int(params.levels), MAX_LEVELS)):
        rounded = outward_price(grids, grid, side, wish + sign * i * int(params.level_spacing_micros))
        price = passive_price(grids, grid, side, rounded, far_price) if rounded >= 0 else -1
        if rounded < 0 or price < 0:
            add_reason(quote, d.R_BID_OFF_GRID + side)
        if price != rounded:
            add_reason(quote, d.R_BID_POST_ONLY + side)
        if price < 0:
            continue
        if abs(price * MICROS_PER_PRICE_UNIT - int(quote.fair_micros)) > params.price_band_micros:
            add_reason(quote, d.R_PRICE_BAND)
            continue
        if count > 0 and prices[count - 1] == price:
            continue
        prices[count] = price
        count += 1


@kernel
def order_wish(params: np.record, quote: np.record) -> int:
    """Contracts of a level before any limit but that of a single order."""
    wish = int(params.quote_size)
    if quote.liquidity_micros > params.liquid_market_micros:
        wish = scale_ppm(wish, int(params.liquid_size_multiplier_ppm))
    return min(wish, int(params.max_order_size))


@kernel
def _lower_raised(market: np.record, params: np.record, side: int, quote: np.record, sizes: IntArray) -> None:
    """A size raised for rewards that heat or cash cut below what scores has no reason to be that large."""
    raised = int(quote.reward_bid_size) if side == BID else int(quote.reward_ask_size)
    wish = order_wish(params, quote)
    if raised <= wish:
        return
    if sizes[0] < market.reward_min_size:
        sizes[0] = min(int(sizes[0]), floor_lot(market, wish))
    if sizes[0] > wish:
        add_reason(quote, d.R_BID_REWARD_SIZE + side)


@kernel
def _fill_sizes(
    market: np.record,
    params: np.record,
    side: int,
    cap: int,
    quote: np.record,
    prices: IntArray,
    sizes: IntArray,
) -> None:
    """The configured size at each price, innermost first, until an inventory or gross limit is used up."""
    wish = order_wish(params, quote)
    raised = int(quote.reward_bid_size) if side == BID else int(quote.reward_ask_size)
    inventory_left = cap
    gross_left = gross_cap(market, params, side)
    for i in range(MAX_LEVELS):
        if prices[i] < 0:
            break
        size = max(wish, raised) if i == 0 else wish
        if size > inventory_left:
            size = inventory_left
            add_reason(quote, d.R_BID_CUT_INVENTORY + side)
        if size > gross_left:
            size = gross_left
            add_reason(quote, d.R_BID_CUT_GROSS + side)
        size = floor_lot(market, size)
        sizes[i] = size
        inventory_left -= size
        gross_left -= size


@kernel
def _unit_cost(side: int, price: int) -> int:
    """Price units that one contract of a side locks: a bid its price, an ask what is left to a dollar."""
    return price if side == BID else PRICE_SCALE - price


@kernel
def _cost_micros(unit_cost: int, size: int) -> int:
    return (unit_cost * size + PRICE_SCALE - 1) // PRICE_SCALE


@kernel
def _fit_budget(
    market: np.record, side: int, budget_micros: int, free: int, prices: IntArray, sizes: IntArray
) -> bool:
    """Cut sizes, innermost served first, until what they lock fits the budget; True if any was cut.

    The first `free` contracts cost nothing.
    """
    was_cut = False
    for i in range(MAX_LEVELS):
        if prices[i] < 0:
            break
        size = int(sizes[i])
        unit_cost = _unit_cost(side, int(prices[i]))
        unpaid = min(size, free)
        if _cost_micros(unit_cost, size - unpaid) > budget_micros:
            size = floor_lot(market, unpaid + budget_micros * PRICE_SCALE // unit_cost)
            sizes[i] = size
            was_cut = True
            unpaid = min(size, free)
        free -= unpaid
        budget_micros -= _cost_micros(unit_cost, size - unpaid)
    return was_cut


@kernel
def _side_cost(side: int, free: int, prices: IntArray, sizes: IntArray) -> int:
    total = 0
    for i in range(MAX_LEVELS):
        if prices[i] < 0:
            break
        unpaid = min(int(sizes[i]), free)
        free -= unpaid
        total += _cost_micros(_unit_cost(side, int(prices[i])), int(sizes[i]) - unpaid)
    return total


@kernel
def _drop_small(market: np.record, prices: IntArray, sizes: IntArray) -> bool:
    """Take out the first level below the venue's smallest order and all beyond it; True if there was one."""
    smallest = max(int(market.min_size), int(market.lot), 1)
    dropped = False
    for i in range(MAX_LEVELS):
        if prices[i] < 0:
            break
        dropped = dropped or sizes[i] < smallest
        if dropped:
            prices[i] = -1
            sizes[i] = 0
    return dropped


@kernel
def floor_lot(market: np.record, size: int) -> int:
    """A size in whole lots, rounded down."""
    lot = max(int(market.lot), 1)
    return size // lot * lot


@kernel
def force_exit(
    market: np.record, params: np.record, grids: Grids, grid: int, now_ns: int, quote: np.record
) -> None:
    """Spec section 6: one order on the reducing side that may take, at worst `max_exit_slippage` from fair.

    A person who flattens names the slippage and leaves nothing over.

    The bound is rounded towards fair value, so it is never exceeded. While the venue takes only post-only
    orders the exit rests instead. What the visible touch does not reach is marked as unabsorbed.
    """
    net = net_contracts(market)
    slippage = int(params.max_exit_slippage_micros)
    if market.leaving != 0:
        excess = abs(net)
        slippage = int(market.leaving_slippage_micros)
    elif must_exit_by_time(market, params, now_ns):
        excess = abs(net) - int(params.exit_inventory)
    else:
        excess = abs(int(quote.net_contracts)) - int(params.max_inventory)
    # Both rules shrink |net|: |target_inventory| is at most max_inventory.
    side = ASK if net > 0 else BID
    size = _exit_size(market, params, excess)
    slippage = min(slippage, int(params.price_band_micros))
    fair = int(quote.fair_micros)
    bound = fair - slippage if side == ASK else fair + slippage
    price = grid_price(grids, grid, side, bound)
    touch = int(market.bid_price) if side == ASK else int(market.ask_price)
    absorbed = touch >= price if side == ASK else touch <= price
    tif = d.LIMIT
    if price >= 0 and market.status == d.POST_ONLY_MODE:
        far_price = int(market.far_bid_price) if side == ASK else int(market.far_ask_price)
        tif = d.POST_ONLY
        price = passive_price(grids, grid, side, price, far_price)
        add_reason(quote, d.R_BID_POST_ONLY + side)
        absorbed = False
    if touch < 0 or not absorbed or price < 0 or size == 0:
        add_reason(quote, d.R_EXIT_UNABSORBED)
    if price < 0:
        add_reason(quote, d.R_BID_OFF_GRID + side)
    elif size == 0:
        add_reason(quote, d.R_BID_BELOW_MIN + side)
    else:
        _place_exit(quote, side, price, size, tif)


@kernel
def _exit_size(market: np.record, params: np.record, excess: int) -> int:
    """Contracts of a forced exit: the excess rounded up to an order, never more than is held."""
    lot = max(int(market.lot), 1)
    smallest = max(int(market.min_size), lot)
    size = (max(excess, smallest) + lot - 1) // lot * lot
    size = min(size, floor_lot(market, abs(net_contracts(market))))
    size = min(size, floor_lot(market, int(params.max_order_size)))
    return size if size >= smallest else 0


@kernel
def _place_exit(quote: np.record, side: int, price: int, size: int, tif: int) -> None:
    prices, sizes = side_arrays(quote, side)
    prices[0] = price
    sizes[0] = size
    if side == BID:
        quote.bid_tif = tif
    else:
        quote.ask_tif = tif
    quote.levels = 1
    quote.exit = 1
