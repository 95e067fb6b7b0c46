"""Our own orders at the simulated exchange: resting, filling, leaving, with the cash and statistics of each.

`exchange.py` decides when; this module keeps what follows from it consistent: the list of resting orders, the
cash that they lock, positions, fees, the record of fills, the reports to us and the time that quotes stood.
"""

from __future__ import annotations

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import book as bk
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.fees import fill_fee_micros, fill_rebate_micros
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.messages import ERROR_FILLS_FULL, report
from pr3dict.kernels.position import apply_fill, merge_pairs, yes_cash_micros
from pr3dict.kernels.world import World

# --- statistics -----------------------------------------------------------------------------------


@kernel
def integrate(w: World, m: int, now_ns: int) -> None:
    """Add the time since the last call to the quote statistics of market `m`; call before any change."""
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
    if book.status != d.ACTIVE or bk.mid_micros(book, w.grids) < 0:
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
    """Remember the mid as the market's mark, where there is one, until it settles; returns the mark."""
    mid = bk.mid_micros(w.exchange_books[m], w.grids)
    if mid >= 0 and w.exchange_books[m].status != d.SETTLED:
        w.stats[m].mark_micros = mid
    return int(w.stats[m].mark_micros)


# --- our resting orders ---------------------------------------------------------------------------


@kernel
def side_need_micros(w: World, m: int, side: int, extra_price: int, extra_size: int) -> int:
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
    bids = side_need_micros(w, m, BID, 0, 0)
    asks = side_need_micros(w, m, ASK, 0, 0)
    account = w.account[0]
    account.reserved_micros += bids + asks - held.reserved_micros
    held.reserved_micros = bids + asks


@kernel
def activate(w: World, m: int, slot: int) -> None:
    """Put the order in `slot` among the resting ones."""
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
def fill_order(
    w: World, now_ns: int, m: int, slot: int, price: int, size: int, maker: bool, mid: int
) -> None:
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
def fill_resting(w: World, now_ns: int, m: int, slot: int, size: int, mid: int) -> None:
    """A maker fill of an order on the book."""
    order = w.exchange_orders[m, slot]
    fill_order(w, now_ns, m, slot, order.price, size, True, mid)
    if order.remaining == 0:
        integrate(w, m, now_ns)
        _deactivate(w, m, slot)
    update_reserved(w, m)


@kernel
def next_hit(w: World, m: int, side: int, limit: int, after_price: int, after_seq: int) -> int:
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
