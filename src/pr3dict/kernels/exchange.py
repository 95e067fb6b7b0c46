"""The simulated exchange: our orders against the recorded (or generated) flow of everybody else.

The recording is the world without us. Our resting orders join its queues, its takers reach us through
them, and whatever we take stays taken. Everything is in YES terms, so a taker who buys YES meets YES asks
and NO bids as the one queue that they are. Rules, pessimistic where the recording can't tell:

- an order joins behind the displayed size; trades at its level consume the queue from the front;
- a trade through our price fills us up to its size, better prices and earlier orders first;
- size that newly arrives at a price that crosses ours would have traded with us: it fills us;
- what we take from a level is gone until the level's own size falls below it.

`tape_*` functions apply the recording, `arrive` our messages. Nothing here reads what only we know.
"""

from __future__ import annotations

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import book as bk
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.exchange_orders import (
    activate,
    close_all_orders,
    close_order,
    fill_order,
    fill_resting,
    integrate,
    next_hit,
    note_mark,
    side_need_micros,
    update_reserved,
)
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.messages import report
from pr3dict.kernels.position import settle
from pr3dict.kernels.queue import queue_after_change, queue_after_trade
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.kernels.world import World

# --- the recording --------------------------------------------------------------------------------


@kernel
def _set_consumed(w: World, m: int, side: int, level: int, size: int) -> None:
    """Note how much of the tape's size at a level we have taken."""
    was = w.consumed[m, side, level]
    w.consumed[m, side, level] = size
    if was == 0 and size > 0:
        w.watched[m, side, level] += d.WATCH_TAKEN
        w.holdings[m].taken = 1
    elif was > 0 and size == 0:
        w.watched[m, side, level] -= d.WATCH_TAKEN


@kernel
def tape_level(w: World, now_ns: int, m: int, side: int, level: int, size: int) -> None:
    """The recording says that `size` rests at (side, level)."""
    if level < 0:
        return  # the removal of a price that a coarser grid no longer has
    book = w.exchange_books[m]
    depth = w.exchange_depth[m]
    held = w.holdings[m]
    count = int(w.grids.level_count[book.grid])
    best = int(book.bid_level) if side == BID else int(book.ask_level)
    crosses = level >= book.ask_level if side == BID else level <= book.bid_level
    crossed = book.bid_level >= book.ask_level
    if best < 0 or best == count or (size == 0 and level == best) or crosses or crossed:
        note_mark(w, m)  # the mid may come or go: the mark and the quote statistics end here
        integrate(w, m, now_ns)
    mid = bk.mid_micros(book, w.grids) if held.live_orders > 0 else -1
    old = bk.set_level(book, depth, count, side, level, size)
    if held.taken and w.consumed[m, side, level] > size:
        _set_consumed(w, m, side, level, size)
    if held.live_orders == 0:
        return
    if w.watched[m, side, level] > 0:
        rules = w.rules[0]
        for k in range(held.live_orders):
            order = w.exchange_orders[m, w.active[m, k]]
            if order.level == level and order.side == side:
                queue_after_change(order, old, size, rules.queue, rules.queue_power)
    price = int(w.grids.price_of_level[book.grid, level])
    crosses = price >= held.own_ask_price if side == BID else price <= held.own_bid_price
    if crosses and size > old:
        _arrival_meets_ours(w, now_ns, m, side, level, size - old, mid)


@kernel
def _arrival_meets_ours(w: World, now_ns: int, m: int, side: int, level: int, size: int, mid: int) -> None:
    """New size of the tape at a price that crosses our orders would have taken them first."""
    price = int(w.grids.price_of_level[w.exchange_books[m].grid, level])
    while size > 0:
        slot = next_hit(w, m, 1 - side, price, -1, 0)
        if slot < 0:
            return
        taken = min(size, int(w.exchange_orders[m, slot].remaining))
        fill_resting(w, now_ns, m, slot, taken, mid)
        _set_consumed(w, m, side, level, int(w.consumed[m, side, level]) + taken)
        size -= taken


@kernel
def tape_trade(w: World, now_ns: int, m: int, taker: int, price: int, size: int) -> None:
    """The recording says that a taker on side `taker` traded `size` at `price`."""
    stats = w.stats[m]
    stats.traded_contracts += size
    held = w.holdings[m]
    if price > held.own_bid_price if taker == ASK else price < held.own_ask_price:
        return  # no order of ours is reached
    left = size
    mid = bk.mid_micros(w.exchange_books[m], w.grids)
    last_price = -1
    last_seq = 0
    while True:
        slot = next_hit(w, m, 1 - taker, price, last_price, last_seq)
        if slot < 0:
            return
        order = w.exchange_orders[m, slot]
        last_price = int(order.price)
        last_seq = int(order.seq)
        reached = left
        if last_price == price:
            reached = queue_after_trade(order, left, size)
        taken = min(reached, int(order.remaining))
        if taken > 0:
            fill_resting(w, now_ns, m, slot, taken, mid)
            left -= taken


@kernel
def tape_status(w: World, now_ns: int, m: int, status: int) -> None:
    """The market pauses, reopens, restarts or closes."""
    integrate(w, m, now_ns)
    book = w.exchange_books[m]
    was = book.status
    book.status = status
    if status in (d.CLOSED, d.DETERMINED, d.SETTLED):
        close_all_orders(w, now_ns, m, d.WHY_CLOSED)
    elif status == d.ACTIVE and was == d.PAUSED and w.markets[m].nets_positions == 1:
        # Kalshi cancels what rested when a paused market is activated again.
        close_all_orders(w, now_ns, m, d.WHY_REACTIVATED)


@kernel
def tape_tick(w: World, now_ns: int, m: int, grid: int) -> None:
    """The price grid changes: levels move, own orders off the new grid are cancelled."""
    note_mark(w, m)
    integrate(w, m, now_ns)
    book = w.exchange_books[m]
    if w.holdings[m].taken:
        bk.move_levels(w.consumed[m], w.spare_levels, w.grids, book.grid, grid)
    bk.change_grid(book, w.exchange_depth[m], w.spare_levels, w.grids, grid)
    for side in range(2):
        for level in range(w.grids.level_count[grid]):
            w.watched[m, side, level] = d.WATCH_TAKEN if w.consumed[m, side, level] > 0 else 0
    k = 0
    while k < w.holdings[m].live_orders:
        slot = int(w.active[m, k])
        order = w.exchange_orders[m, slot]
        level = int(w.grids.level_of_price[grid, order.price])
        order.level = max(level, 0)
        w.watched[m, order.side, order.level] += 1
        if level < 0:
            close_order(w, now_ns, m, slot, d.WHY_OFF_GRID)
        else:
            k += 1


@kernel
def tape_settle(w: World, now_ns: int, m: int, value: int, refund: bool) -> None:
    """Pay positions out at `value` micros a YES contract, or refund their cost."""
    note_mark(w, m)
    tape_status(w, now_ns, m, d.SETTLED)
    stats = w.stats[m]
    stats.mark_before_settle_micros = stats.mark_micros
    stats.settled = 2 if refund else 1
    stats.settle_value_micros = value
    w.account[0].cash_micros += settle(w.holdings[m], value, refund)


# --- our messages ---------------------------------------------------------------------------------


@kernel
def _available(w: World, m: int, side: int, level: int) -> int:
    """Displayed size that we have not taken yet."""
    size = w.exchange_depth[m, side, level]
    if w.holdings[m].taken:
        size -= w.consumed[m, side, level]
    return max(size, 0)


@kernel
def _crossed_size(w: World, m: int, side: int, limit: int) -> int:
    """Size on the other side that an order of `side` at price `limit` would take."""
    book = w.exchange_books[m]
    count = int(w.grids.level_count[book.grid])
    level = int(book.ask_level) if side == BID else int(book.bid_level)
    step = 1 if side == BID else -1
    total = 0
    while 0 <= level < count:
        price = int(w.grids.price_of_level[book.grid, level])
        if (side == BID and price > limit) or (side == ASK and price < limit):
            break
        total += _available(w, m, 1 - side, level)
        level += step
    return total


@kernel
def _take(w: World, now_ns: int, m: int, slot: int) -> None:
    """Trade an arriving order against the displayed book, best price first, up to its limit."""
    order = w.exchange_orders[m, slot]
    book = w.exchange_books[m]
    mid = bk.mid_micros(book, w.grids)
    count = int(w.grids.level_count[book.grid])
    level = int(book.ask_level) if order.side == BID else int(book.bid_level)
    step = 1 if order.side == BID else -1
    while order.remaining > 0 and 0 <= level < count:
        price = int(w.grids.price_of_level[book.grid, level])
        if (order.side == BID and price > order.price) or (order.side == ASK and price < order.price):
            return
        size = min(_available(w, m, 1 - order.side, level), int(order.remaining))
        if size > 0:
            _set_consumed(w, m, 1 - order.side, level, int(w.consumed[m, 1 - order.side, level]) + size)
            fill_order(w, now_ns, m, slot, price, size, False, mid)
        level += step


@kernel
def _rate_allows(w: World, now_ns: int) -> bool:
    """Token bucket of the exchange's order rate."""
    rules = w.rules[0]
    if rules.order_rate <= 0.0:
        return True
    account = w.account[0]
    gained = (now_ns - account.order_tokens_ns) * rules.order_rate / 1e9
    tokens = min(rules.order_burst, account.order_tokens + gained)
    account.order_tokens_ns = now_ns
    account.order_tokens = tokens
    if tokens < 1.0:
        return False
    account.order_tokens = tokens - 1.0
    return True


@kernel
def _own_cross(w: World, m: int, side: int, price: int) -> bool:
    return next_hit(w, m, 1 - side, price, -1, 0) >= 0


@kernel
def _cash_need(w: World, m: int, message: d.Row) -> int:
    """Cash that the new order locks on top of what its side locks already."""
    if message.leg == d.SELL_LEG:
        return 0
    side = int(message.side)
    with_it = side_need_micros(w, m, side, int(message.price), int(message.qty))
    return with_it - side_need_micros(w, m, side, 0, 0)


@kernel
def _unsold(w: World, m: int, side: int) -> int:
    """Held contracts of the other kind that no resting sell order promises yet."""
    held = w.holdings[m]
    size = int(held.no_contracts) if side == BID else int(held.yes_contracts)
    for k in range(held.live_orders):
        order = w.exchange_orders[m, w.active[m, k]]
        if order.side == side and order.leg == d.SELL_LEG:
            size -= int(order.remaining)
    return size


@kernel
def _refusal(w: World, now_ns: int, message: d.Row) -> int:
    """Why the exchange refuses a new order; WHY_NONE: it takes it."""
    m = message.market
    book = w.exchange_books[m]
    post_only = message.tif == d.POST_ONLY
    if book.status != d.ACTIVE and not (book.status == d.POST_ONLY_MODE and post_only):
        return d.WHY_NOT_ACTIVE
    if not _rate_allows(w, now_ns):
        return d.WHY_RATE_LIMIT
    if message.expiry_ns > 0 and message.expiry_ns <= now_ns:
        return d.WHY_EXPIRED
    price = int(message.price)
    if price <= 0 or price >= PRICE_SCALE or w.grids.level_of_price[book.grid, price] < 0:
        return d.WHY_OFF_GRID
    if message.qty < w.markets[m].min_size:
        return d.WHY_MIN_SIZE
    if _own_cross(w, m, message.side, message.price):
        return d.WHY_SELF_TRADE
    if message.leg == d.SELL_LEG and message.qty > _unsold(w, m, message.side):
        return d.WHY_NOT_HELD
    need = _cash_need(w, m, message)
    if need > 0 and need > w.account[0].cash_micros - w.account[0].reserved_micros:
        return d.WHY_NO_CASH
    if post_only and _crossed_size(w, m, message.side, message.price) > 0:
        return d.WHY_POST_ONLY_CROSS
    if message.tif == d.FOK and _crossed_size(w, m, message.side, message.price) < message.qty:
        return d.WHY_UNFILLED_IOC
    return d.WHY_NONE


@kernel
def _arrive_new(w: World, now_ns: int, message: d.Row) -> None:
    m = message.market
    slot = message.slot
    why = _refusal(w, now_ns, message)
    if why != d.WHY_NONE:
        w.stats[m].rejects += 1
        report(w, now_ns, d.REJECT, m, slot, message.id, message.qty, why)
        return
    clock = w.clock[0]
    clock.arrivals += 1
    order = w.exchange_orders[m, slot]
    order.id = message.id
    order.seq = clock.arrivals
    order.side = message.side
    order.leg = message.leg
    order.price = message.price
    order.level = w.grids.level_of_price[w.exchange_books[m].grid, message.price]
    order.qty = message.qty
    order.remaining = message.qty
    order.expiry_ns = message.expiry_ns
    order.traded = 0
    order.fee_accumulator_micros = 0
    order.active = 0
    report(w, now_ns, d.ACK, m, slot, message.id, message.qty, d.WHY_NONE)
    if message.tif != d.POST_ONLY:
        _take(w, now_ns, m, slot)
        update_reserved(w, m)
    if order.remaining == 0:
        return
    if message.tif in (d.IOC, d.FOK):
        report(w, now_ns, d.CANCELED, m, slot, message.id, order.remaining, d.WHY_UNFILLED_IOC)
        return
    order.front = _available(w, m, order.side, order.level)
    integrate(w, m, now_ns)
    activate(w, m, slot)
    update_reserved(w, m)
    if order.expiry_ns > 0:
        clock.next_expiry_ns = min(clock.next_expiry_ns, order.expiry_ns)


@kernel
def _arrive_change(w: World, now_ns: int, message: d.Row) -> None:
    """A cancel or an in-place reduction."""
    m = message.market
    slot = message.slot
    order = w.exchange_orders[m, slot]
    why = d.WHY_NONE
    if w.exchange_books[m].status == d.RESTARTING:
        why = d.WHY_NOT_ACTIVE
    elif order.active == 0 or order.id != message.id:
        why = d.WHY_UNKNOWN_ORDER
    if why != d.WHY_NONE:
        report(w, now_ns, d.CANCEL_REJECT, m, slot, message.id, 0, why)
    elif message.kind == d.CANCEL or message.qty <= 0:
        close_order(w, now_ns, m, slot, d.WHY_NONE)
    else:
        smaller = min(order.remaining, message.qty)
        order.qty -= order.remaining - smaller  # so that `remaining == qty` still means "never filled"
        order.remaining = smaller
        report(w, now_ns, d.REDUCED, m, slot, message.id, order.remaining, d.WHY_NONE)
        update_reserved(w, m)


@kernel
def arrive(w: World, now_ns: int, message: d.Row) -> None:
    """One of our messages reaches the exchange."""
    if message.kind == d.NEW:
        _arrive_new(w, now_ns, message)
    else:
        _arrive_change(w, now_ns, message)


@kernel
def expire_orders(w: World, now_ns: int) -> None:
    """Cancel every resting order whose time has come and find the next one."""
    following = NEVER_NS
    for m in range(len(w.holdings)):
        k = 0
        while k < w.holdings[m].live_orders:
            slot = int(w.active[m, k])
            expiry = int(w.exchange_orders[m, slot].expiry_ns)
            if expiry > 0 and expiry <= now_ns:
                close_order(w, now_ns, m, slot, d.WHY_EXPIRED)
                continue
            if expiry > 0:
                following = min(following, expiry)
            k += 1
    w.clock[0].next_expiry_ns = following
