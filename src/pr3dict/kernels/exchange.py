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
from pr3dict.kernels.fees import fill_fee_micros, fill_rebate_micros
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.messages import ERROR_FILLS_FULL, report
from pr3dict.kernels.position import apply_fill, merge_pairs, settle, yes_cash_micros
from pr3dict.kernels.queue import queue_after_change, queue_after_trade
from pr3dict.kernels.world import World

NEVER_NS = 9_223_372_036_854_775_807


# --- statistics -----------------------------------------------------------------------------------


@kernel
def integrate(w: World, m: int, now_ns: int) -> None:
    """Add the time since the last call to the quote statistics of market `m`; call before any change."""
    integrate_as(w, m, now_ns, bk.mid_micros(w.exchange_books[m], w.grids) >= 0)


@kernel
def integrate_as(w: World, m: int, now_ns: int, two_sided: bool) -> None:
    """`integrate` for a book that was `two_sided` since the last call, whatever it is now."""
    held = w.holdings[m]
    span = now_ns - held.since_ns
    if held.since_ns == 0 or span <= 0:
        held.since_ns = max(now_ns, held.since_ns)
        return
    held.since_ns = now_ns
    book = w.exchange_books[m]
    if book.status in (d.CLOSED, d.DETERMINED, d.SETTLED):
        return
    stats = w.stats[m]
    net = abs(int(held.yes_contracts) - int(held.no_contracts))
    stats.observed_ns += span
    stats.skew_sum += float(net) * span
    if net > w.params[m].rebalance_threshold:
        stats.rebalancing_ns += span
    if book.status != d.ACTIVE or not two_sided:
        return
    stats.quotable_ns += span
    if held.live_bids > 0 and held.live_asks > 0:
        stats.two_sided_ns += span
        bid = -1
        ask = PRICE_SCALE
        for k in range(held.live_orders):
            order = w.exchange_orders[m, w.active[m, k]]
            if order.side == BID:
                bid = max(bid, int(order.price))
            else:
                ask = min(ask, int(order.price))
        stats.quoted_spread_sum += float((ask - bid) * 100) * span


@kernel
def note_mark(w: World, m: int) -> int:
    """Remember the mid as the market's mark, where there is one; returns the mark."""
    mid = bk.mid_micros(w.exchange_books[m], w.grids)
    if mid >= 0:
        w.stats[m].mark_micros = mid
    return int(w.stats[m].mark_micros)


# --- our resting orders ---------------------------------------------------------------------------


@kernel
def _side_need_micros(w: World, m: int, side: int, extra_price: int, extra_size: int) -> int:
    """Cash that the resting orders of one side lock, with `extra_size` more at `extra_price` (YES terms).

    Where the venue nets, contracts that close a held pair are free: they are counted at the cheapest price.
    """
    held = w.holdings[m]
    closing = 0
    if w.markets[m].nets_positions == 1:
        closing = int(held.no_contracts) if side == BID else int(held.yes_contracts)
    need = 0
    cheapest = PRICE_SCALE
    size = 0
    if extra_size > 0:
        cheapest = extra_price if side == BID else PRICE_SCALE - extra_price
        need = -yes_cash_micros(BID, cheapest, extra_size)
        size = extra_size
    for k in range(held.live_orders):
        order = w.exchange_orders[m, w.active[m, k]]
        if order.side == side and order.leg == d.BUY_LEG:
            price = int(order.price) if side == BID else PRICE_SCALE - int(order.price)
            need -= yes_cash_micros(BID, price, order.remaining)
            cheapest = min(cheapest, price)
            size += int(order.remaining)
    return max(0, need + yes_cash_micros(BID, cheapest, min(closing, size)))


@kernel
def update_reserved(w: World, m: int) -> None:
    """Recompute the cash that resting orders lock in market `m`."""
    held = w.holdings[m]
    bids = _side_need_micros(w, m, BID, 0, 0)
    asks = _side_need_micros(w, m, ASK, 0, 0)
    account = w.account[0]
    account.reserved_micros += bids + asks - held.reserved_micros
    held.reserved_micros = bids + asks


@kernel
def _activate(w: World, m: int, slot: int) -> None:
    held = w.holdings[m]
    w.active[m, held.live_orders] = slot
    held.live_orders += 1
    order = w.exchange_orders[m, slot]
    order.active = 1
    w.watched[m, order.side, order.level] += 1
    if order.side == BID:
        held.live_bids += 1
        held.own_bid_price = max(held.own_bid_price, order.price)
    else:
        held.live_asks += 1
        held.own_ask_price = min(held.own_ask_price, order.price)


@kernel
def _find_own_touch(w: World, m: int) -> None:
    """Best prices of our resting orders: what the tape may not reach without meeting us."""
    held = w.holdings[m]
    held.own_bid_price = d.NO_BID
    held.own_ask_price = d.NO_ASK
    for k in range(held.live_orders):
        order = w.exchange_orders[m, w.active[m, k]]
        if order.side == BID:
            held.own_bid_price = max(held.own_bid_price, order.price)
        else:
            held.own_ask_price = min(held.own_ask_price, order.price)


@kernel
def _deactivate(w: World, m: int, slot: int) -> None:
    held = w.holdings[m]
    order = w.exchange_orders[m, slot]
    order.active = 0
    w.watched[m, order.side, order.level] -= 1
    if order.side == BID:
        held.live_bids -= 1
    else:
        held.live_asks -= 1
    k = 0
    while w.active[m, k] != slot:
        k += 1
    held.live_orders -= 1
    while k < held.live_orders:  # keeps the order of arrival
        w.active[m, k] = w.active[m, k + 1]
        k += 1
    _find_own_touch(w, m)


@kernel
def close_order(w: World, now_ns: int, m: int, slot: int, why: int) -> None:
    """Take a resting order off the book and report it cancelled."""
    integrate(w, m, now_ns)
    order = w.exchange_orders[m, slot]
    _deactivate(w, m, slot)
    report(w, now_ns, d.CANCELED, m, slot, order.id, order.remaining, why)
    update_reserved(w, m)


@kernel
def close_all_orders(w: World, now_ns: int, m: int, why: int) -> None:
    """Take every resting order of a market off the book."""
    while w.holdings[m].live_orders > 0:
        close_order(w, now_ns, m, w.active[m, 0], why)


@kernel
def _fill(w: World, now_ns: int, m: int, slot: int, price: int, size: int, maker: bool, mid: int) -> None:
    """Trade `size` of the order in `slot` at `price`: position, cash, fee, record, report.

    `mid` is the exchange's mid in micros just before what caused the fill; -1: none.
    """
    integrate(w, m, now_ns)
    clock = w.clock[0]
    account = w.account[0]
    if clock.fill_count >= len(w.fills):
        account.error = ERROR_FILLS_FULL
        return
    order = w.exchange_orders[m, slot]
    held = w.holdings[m]
    stats = w.stats[m]
    cash = yes_cash_micros(order.side, price, size)
    change = apply_fill(held, w.markets[m].nets_positions == 1, order.side, order.leg, cash, size)
    # Fees follow what the account pays for this order's own contract.
    paid = -cash if order.side == BID else size - cash
    fee = fill_fee_micros(w.fees[m], maker, price, size, paid, order)
    rebate = fill_rebate_micros(w.fees[m], maker, price, size)
    account.cash_micros += change - fee + rebate + merge_pairs(held, w.rules[0].merge_threshold)
    if order.remaining == order.qty:
        stats.orders_filled += 1
    order.remaining -= size
    fill = w.fills[clock.fill_count]
    clock.fill_count += 1
    fill.exch_ns = now_ns
    fill.order_id = order.id
    fill.market = m
    fill.side = order.side
    fill.price = price
    fill.qty = size
    fill.cash_micros = cash
    fill.fee_micros = fee
    fill.rebate_micros = rebate
    fill.maker = maker
    fill.mid_micros = mid
    for h in range(len(d.MARKOUT_HORIZONS_NS)):
        fill.after_micros[h] = -1
    fill.fair_micros = w.quotes[m].fair_micros
    net = int(held.yes_contracts) - int(held.no_contracts)
    fill.net_contracts = net
    stats.fills += 1
    stats.contracts_filled += size
    stats.max_inventory = max(stats.max_inventory, abs(net))
    clock.next_markout_ns = min(clock.next_markout_ns, now_ns + d.MARKOUT_HORIZONS_NS[0])
    place = report(w, now_ns, d.FILL_REPORT, m, slot, order.id, size, d.WHY_NONE)
    if place >= 0:
        message = w.inbox[place]
        message.price = price
        message.fee_micros = fee
        message.rebate_micros = rebate
        message.maker = maker


@kernel
def _fill_resting(w: World, now_ns: int, m: int, slot: int, size: int, mid: int) -> None:
    """A maker fill of an order on the book."""
    order = w.exchange_orders[m, slot]
    _fill(w, now_ns, m, slot, order.price, size, True, mid)
    if order.remaining == 0:
        integrate(w, m, now_ns)
        _deactivate(w, m, slot)
    update_reserved(w, m)


@kernel
def _next_hit(w: World, m: int, side: int, limit: int, after_price: int, after_seq: int) -> int:
    """Slot of the next own order on `side` that a taker reaches, in price-time order; -1: none.

    Reached are orders at `limit` or better (bids at or above, asks at or below), after the one that stood
    at (`after_price`, `after_seq`); `after_price` -1 starts from the best.
    """
    found = -1
    for k in range(w.holdings[m].live_orders):
        slot = int(w.active[m, k])
        order = w.exchange_orders[m, slot]
        if order.side != side:
            continue
        better = int(order.price) - limit if side == BID else limit - int(order.price)
        if better < 0:
            continue
        if after_price >= 0:
            behind = after_price - int(order.price) if side == BID else int(order.price) - after_price
            if behind < 0 or (behind == 0 and order.seq <= after_seq):
                continue
        if found >= 0:
            best = w.exchange_orders[m, found]
            ahead = int(order.price) - int(best.price)
            if side == ASK:
                ahead = -ahead
            if ahead < 0 or (ahead == 0 and order.seq > best.seq):
                continue
        found = slot
    return found


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
        slot = _next_hit(w, m, 1 - side, price, -1, 0)
        if slot < 0:
            return
        taken = min(size, int(w.exchange_orders[m, slot].remaining))
        _fill_resting(w, now_ns, m, slot, taken, mid)
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
        slot = _next_hit(w, m, 1 - taker, price, last_price, last_seq)
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
            _fill_resting(w, now_ns, m, slot, taken, mid)
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
            _fill(w, now_ns, m, slot, price, size, False, mid)
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
    return _next_hit(w, m, 1 - side, price, -1, 0) >= 0


@kernel
def _cash_need(w: World, m: int, message: d.Row) -> int:
    """Cash that the new order locks on top of what its side locks already."""
    if message.leg == d.SELL_LEG:
        return 0
    side = int(message.side)
    with_it = _side_need_micros(w, m, side, int(message.price), int(message.qty))
    return with_it - _side_need_micros(w, m, side, 0, 0)


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
    _activate(w, m, slot)
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
