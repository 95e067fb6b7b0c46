"""From the quote that stands to the fewest messages that bring our orders there.

An order that is already right is not touched: it keeps its place in the queue. Cancels go out first. A new
order waits while an own order that it would cross, or that it would exceed a limit with, may still fill:
orders in flight and cancels not yet confirmed count as if they filled completely.
"""

from __future__ import annotations

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, PPM_SCALE, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.messages import request
from pr3dict.kernels.position import yes_cash_micros
from pr3dict.kernels.world import World
from pr3dict.kernels.worstcase import joined_loss_micros, loss_if


@kernel
def refresh_exposure(w: World, m: int) -> None:
    """Recompute what market `m` has open, locked and at risk; call after any change of orders or position."""
    market = w.markets[m]
    account = w.account[0]
    while market.slots_used > 0 and w.orders[m, market.slots_used - 1].state == d.FREE:
        market.slots_used -= 1
    open_bid = 0
    open_ask = 0
    locked = 0
    for slot in range(market.slots_used):
        order = w.orders[m, slot]
        if order.state == d.FREE:
            continue
        if order.side == BID:
            open_bid += int(order.remaining)
        else:
            open_ask += int(order.remaining)
        if order.leg == d.BUY_LEG:
            price = int(order.price) if order.side == BID else PRICE_SCALE - int(order.price)
            locked -= yes_cash_micros(BID, price, order.remaining)
    market.open_bid = open_bid
    market.open_ask = open_ask
    account.locked_micros += locked - market.locked_micros
    market.locked_micros = locked
    none, swing = siblings_loss(w, m)
    before = joined_loss_micros(none, swing, int(market.loss_yes_micros), int(market.loss_no_micros))
    if_yes, if_no = loss_if(market, w.orders[m, : market.slots_used])
    if market.status == d.SETTLED:  # what it lost has left equity and is no longer at risk
        if_yes = if_no = 0
    market.loss_yes_micros = if_yes
    market.loss_no_micros = if_no
    account.heat_micros += joined_loss_micros(none, swing, if_yes, if_no) - before
    account.max_heat_micros = max(account.max_heat_micros, account.heat_micros)


@kernel
def open_on(market: d.Row, side: int) -> int:
    """Contracts of own orders on a side, in every state."""
    return int(market.open_bid) if side == BID else int(market.open_ask)


@kernel
def room_micro_contracts(w: World, m: int, side: int) -> int:
    """How much may still be added on a side so that no limit breaks even if everything open fills."""
    market = w.markets[m]
    params = w.params[m]
    net = int(market.yes_contracts) - int(market.no_contracts)
    signed = net if side == BID else -net
    target = int(params.target_inventory) if side == BID else -int(params.target_inventory)
    open_size = open_on(market, side)
    quote = w.quotes[m]
    room = int(params.max_inventory) + target - signed - open_size
    if quote.exit:
        room = max(0, -signed, target - signed) - open_size
    elif quote.state >= d.STATE_REBALANCING:
        room = min(room, max(0, target - signed) - open_size)
    if not quote.exit and (quote.reasons >> d.R_REDUCE_ONLY) & 1 == 1:
        room = min(room, max(0, -signed) - open_size)
    if market.nets_positions == 1:
        gross_room = int(params.max_position_size) - signed - open_size
    else:
        # Tokens are held apart: each buy adds to gross until pairs are merged.
        gross_room = int(params.max_position_size) - int(market.yes_contracts) - int(market.no_contracts)
        gross_room -= int(market.open_bid) + int(market.open_ask)
        gross_room = max(gross_room, -signed - open_size)  # selling what is held needs no room
    return min(room, gross_room)


@kernel
def _crosses_own(w: World, m: int, side: int, price: int) -> bool:
    for slot in range(w.markets[m].slots_used):
        order = w.orders[m, slot]
        if order.state != d.FREE and order.side != side:
            if (side == BID and order.price <= price) or (side == ASK and order.price >= price):
                return True
    return False


@kernel
def _free_slot(w: World, m: int) -> int:
    for slot in range(d.ORDER_SLOTS):
        if w.orders[m, slot].state == d.FREE:
            return slot
    return -1


@kernel
def _leg_for(w: World, m: int, side: int, size: int) -> int:
    """Sell what is held and not yet promised when it covers the order; buy the side's contract otherwise."""
    market = w.markets[m]
    if market.nets_positions == 1:
        return d.BUY_LEG
    held = int(market.no_contracts) if side == BID else int(market.yes_contracts)
    for slot in range(w.markets[m].slots_used):
        order = w.orders[m, slot]
        if order.state != d.FREE and order.side == side and order.leg == d.SELL_LEG:
            held -= int(order.remaining)
    return d.SELL_LEG if held >= size else d.BUY_LEG


@kernel
def pretrade_size(w: World, m: int, side: int, price: int, size: int) -> int:
    """The pre-trade checks that every order passes, whatever created it; returns the size that may go out."""
    market = w.markets[m]
    params = w.params[m]
    if market.status not in (d.ACTIVE, d.POST_ONLY_MODE) or market.fair_micros < 0:
        return 0
    if w.account[0].killed and not (market.leaving and w.quotes[m].exit):
        return 0
    if market.hold == d.HOLD_ALL or (market.hold == d.HOLD_QUOTES and w.quotes[m].exit == 0):
        return 0
    if abs(price * MICROS_PER_PRICE_UNIT - int(market.fair_micros)) > params.price_band_micros:
        return 0
    size = min(size, room_micro_contracts(w, m, side), int(params.max_order_size))
    size -= size % int(market.lot)
    return size if size >= market.min_size else 0


@kernel
def _rate_allows(w: World, now_ns: int, m: int) -> bool:
    """Take a token of our own order rate; without one the market tries again when the next is due.

    A second's worth of orders may go at once. Cancels need no token: they are never held back.
    """
    rate = w.rules[0].max_order_rate
    if rate <= 0.0:
        return True
    account = w.account[0]
    gained = (now_ns - account.own_tokens_ns) * rate / 1e9
    account.own_tokens = min(max(rate, 1.0), account.own_tokens + gained)
    account.own_tokens_ns = now_ns
    if account.own_tokens < 1.0:
        w.quotes[m].reasons |= 1 << d.R_ORDER_RATE
        w.markets[m].retry_ns = now_ns + int((1.0 - account.own_tokens) / rate * 1e9) + 1
        return False
    account.own_tokens -= 1.0
    return True


@kernel
def _place(w: World, now_ns: int, m: int, side: int, price: int, size: int, tif: int) -> bool:
    """Send one new order if the checks let it pass; False when it has to wait for something in flight."""
    allowed = pretrade_size(w, m, side, price, size)
    if allowed <= 0 or _crosses_own(w, m, side, price):
        return False
    slot = _free_slot(w, m)
    if slot < 0:
        return False
    account = w.account[0]
    w.markets[m].slots_used = max(w.markets[m].slots_used, slot + 1)
    order = w.orders[m, slot]
    order.id = account.next_order_id
    order.side = side
    order.price = price
    order.qty = allowed
    order.remaining = allowed
    order.tif = tif
    order.leg = _leg_for(w, m, side, allowed)
    order.state = d.PENDING
    order.sent_ns = now_ns
    order.expiry_ns = 0
    heat_before = account.heat_micros
    peak_before = account.max_heat_micros
    refresh_exposure(w, m)
    too_hot = account.heat_micros > heat_before and account.heat_micros > heat_limit_micros(w)
    if too_hot:
        w.quotes[m].reasons |= 1 << d.R_HEAT
    if too_hot or not _rate_allows(w, now_ns, m):
        order.state = d.FREE
        refresh_exposure(w, m)
        account.max_heat_micros = peak_before
        return bool(too_hot)  # waiting does not cool it
    account.next_order_id += 1
    w.stats[m].orders += 1
    request(w, now_ns, d.NEW, m, slot, allowed)
    return allowed == size


@kernel
def equity_micros(w: World) -> int:
    """Cash plus positions at fair value, as far as we know."""
    return int(w.account[0].local_cash_micros) + int(w.account[0].value_micros)


@kernel
def heat_limit_micros(w: World) -> int:
    """Most that all markets together may lose in the worst case."""
    return max(0, equity_micros(w)) // PPM_SCALE * int(w.rules[0].max_heat_ppm)


@kernel
def siblings_loss(w: World, m: int) -> tuple[int, int]:
    """What the other markets of the event of `m` lose when none of them ends YES, and how much more at worst.

    In micros, as `joined_loss_micros` takes them; O(markets of the event).
    """
    none, swing = 0, 0
    k = int(w.siblings[m])
    while k != m:
        other = w.markets[k]
        none += int(other.loss_no_micros)
        swing = max(swing, int(other.loss_yes_micros) - int(other.loss_no_micros))
        k = int(w.siblings[k])
    return none, swing


@kernel
def heat_room_micros(w: World, m: int) -> int:
    """What market `m` may lose more by new orders, its present ones left out, until heat is at its limit."""
    market = w.markets[m]
    none, swing = siblings_loss(w, m)
    with_orders = joined_loss_micros(none, swing, int(market.loss_yes_micros), int(market.loss_no_micros))
    if_yes = int(market.cost_micros) - int(market.yes_contracts)
    if_no = int(market.cost_micros) - int(market.no_contracts)
    without = joined_loss_micros(none, swing, if_yes, if_no)
    return heat_limit_micros(w) - (int(w.account[0].heat_micros) - with_orders) - without


@kernel
def _cancel(w: World, now_ns: int, m: int, slot: int) -> None:
    w.orders[m, slot].state = d.CANCELING
    w.stats[m].cancels += 1
    request(w, now_ns, d.CANCEL, m, slot, 0)


@kernel
def _keep_or_cancel(w: World, now_ns: int, m: int, side: int, wanted: d.Array, kept: d.Array) -> None:
    """Match the side's orders to the wanted levels; cancel or shrink what does not fit.

    `wanted` (levels,) holds what each level still lacks and `kept` what already stands there.
    """
    quote = w.quotes[m]
    prices = quote.bid_price if side == BID else quote.ask_price
    for slot in range(w.markets[m].slots_used):
        order = w.orders[m, slot]
        if order.side != side or order.state not in (d.PENDING, d.LIVE):
            continue
        level = 0
        while level < quote.levels and prices[level] != order.price:
            level += 1
        if level == quote.levels or wanted[level] == 0:
            _cancel(w, now_ns, m, slot)
        elif order.remaining <= wanted[level]:
            wanted[level] -= order.remaining
            kept[level] += order.remaining
        elif order.state == d.LIVE and w.markets[m].reduce_in_place == 1:
            if order.qty > wanted[level]:  # not asked for yet
                order.qty = wanted[level]
                request(w, now_ns, d.REDUCE, m, slot, wanted[level])
            kept[level] += wanted[level]
            wanted[level] = 0
        else:
            _cancel(w, now_ns, m, slot)


@kernel
def sync_orders(w: World, now_ns: int, m: int) -> None:
    """Send the messages that take the orders of market `m` to its standing quote."""
    market = w.markets[m]
    quote = w.quotes[m]
    refill_ppm = int(w.params[m].refill_fraction_ppm)
    market.resync = 0
    wanted = w.scratch
    for side in range(2):
        sizes = quote.bid_size if side == BID else quote.ask_size
        for level in range(quote.levels):
            wanted[side, 0, level] = sizes[level]
            wanted[side, 1, level] = 0
        _keep_or_cancel(w, now_ns, m, side, wanted[side, 0], wanted[side, 1])
    for side in range(2):
        sizes = quote.bid_size if side == BID else quote.ask_size
        prices = quote.bid_price if side == BID else quote.ask_price
        tif = int(quote.bid_tif) if side == BID else int(quote.ask_tif)
        for level in range(quote.levels):
            lacking = wanted[side, 0, level]
            standing = wanted[side, 1, level]
            if lacking <= 0 or (standing > 0 and standing * PPM_SCALE >= int(sizes[level]) * refill_ppm):
                continue
            if not _place(w, now_ns, m, side, int(prices[level]), lacking, tif):
                market.resync = 1
    if market.resync == 1 and not _in_flight(w, m):
        market.resync = 0  # nothing will be confirmed that could make room


@kernel
def _in_flight(w: World, m: int) -> bool:
    for slot in range(w.markets[m].slots_used):
        if w.orders[m, slot].state in (d.PENDING, d.CANCELING):
            return True
    return False
