"""What we do with what we see: events and reports update our view, then each changed market is decided.

The same functions serve a replay (driven by `replay.run`) and a live engine (driven by its events): our
book, estimators, fair value, policy and the diff of orders. Nothing here reads what only the exchange knows.
"""

from __future__ import annotations

import numpy as np

from pr3dict.kernels import book as bk
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.diff import equity_micros, heat_room_micros, refresh_exposure, sync_orders
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.estimators import (
    mature_markouts,
    measure_liquidity,
    observe_book,
    observe_own_fill,
    observe_touch,
    observe_trade,
    sample_volatility,
    volume_spike,
)
from pr3dict.kernels.fair import update_fair
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.position import apply_fill, merge_pairs, settle, value_micros, yes_cash_micros
from pr3dict.kernels.quote import decide, needs_decision, next_wake_ns, quote_state
from pr3dict.kernels.quote_state import net_contracts
from pr3dict.kernels.rewards import measure_rewards
from pr3dict.kernels.selection import first_sample_ns, observe_taker
from pr3dict.kernels.wakes import NEVER_NS, next_due, set_wake, wake_ns
from pr3dict.kernels.world import World

RETRY_NS = 1_000_000_000  # after a refusal that another try at once would meet again
DAY_NS = 86_400_000_000_000


@kernel
def mark_changed(w: World, m: int) -> None:
    """Queue market `m` for a decision at the end of this instant."""
    market = w.markets[m]
    if market.changed == 0:
        market.changed = 1
        clock = w.clock[0]
        w.changed[clock.changed_count] = m
        clock.changed_count += 1


# --- market data ----------------------------------------------------------------------------------


@kernel
def see_event(w: World, event: d.Row) -> None:
    """One market-data event reaches us, at its local time."""
    m = int(event.market)
    now_ns = int(event.local_ns)
    kind = event.kind
    book = w.books[m]
    if kind == d.LEVEL:
        level = int(w.grids.level_of_price[book.grid, event.price])
        book.event_ns = now_ns
        if level < 0:
            return
        side = event.side
        before = book.bid_level if side == BID else book.ask_level
        bk.set_level(book, w.depth[m], w.grids.level_count[book.grid], side, level, event.qty)
        after = book.bid_level if side == BID else book.ask_level
        if level != before and level != after:
            return  # behind the touch: nothing that a decision reads before its next refresh
        if before == after and w.params[m].fair_model == d.FAIR_MID:
            return  # the mid does not read sizes
        w.markets[m].stirred = 1
    elif kind == d.TRADE:
        observe_trade(w.markets[m], w.params[m], event.side, event.price, event.qty, now_ns)
        if w.clock[0].selecting != 0:
            _observe_taker(w, m, event, now_ns)
    else:
        _see_rare_event(w, event, now_ns)
        w.markets[m].stirred = 1
    if w.params[m].decision_interval_ns == 0 or w.markets[m].waiting != 0:
        mark_changed(w, m)


@kernel
def _observe_taker(w: World, m: int, event: d.Row, now_ns: int) -> None:
    """Count a trade for the selection, against the touch before it, own quotes left out."""
    market = w.markets[m]
    bid, ask = int(market.bid_price), int(market.ask_price)
    if market.book_includes_own == 0:  # else the last look, which is never behind where we have orders
        bid, ask = bk.best_bid(w.books[m], w.grids), bk.best_ask(w.books[m], w.grids)
    observe_taker(w.selections[m], bid, ask, int(event.side), int(event.price), int(event.qty), now_ns)


@kernel
def see_events(w: World, events: d.Array, j: int, known: int, until_ns: int) -> int:
    """Apply what reaches us up to `until_ns`, from event `j` and before event `known`; returns the next one.

    Most events leave the touch where it is: they are handled here, without a call.
    """
    books = w.books
    depth = w.depth
    params = w.params
    level_of_price = w.grids.level_of_price
    while j < known and events[j].local_ns <= until_ns:
        event = events[j]
        j += 1
        if event.kind == d.LEVEL:
            m = np.uint64(event.market)  # unsigned: an index that can't be negative costs less
            book = books[m]
            level = int(level_of_price[np.uint64(book.grid), np.uint64(event.price)])
            side = int(event.side)
            # The mid does not read the touch's size, other fair values do.
            least = int((event.qty == 0) | (params[m].fair_model != d.FAIR_MID))
            if (level >= 0) & (bk.levels_behind(book, side, level) >= least):
                depth[m, np.uint64(side), np.uint64(level)] = event.qty
                book.event_ns = event.local_ns
                continue
        see_event(w, event)
    return j


@kernel
def _see_rare_event(w: World, event: d.Row, now_ns: int) -> None:
    m = int(event.market)
    market = w.markets[m]
    kind = event.kind
    if kind == d.SNAPSHOT:
        _see_snapshot_row(w, m, event, now_ns)
    elif kind == d.STATUS:
        market.status = event.aux
        market.refresh = 1
    elif kind == d.TICK:
        bk.change_grid(w.books[m], w.depth[m], w.spare_levels, w.grids, event.aux)
        w.books[m].event_ns = now_ns
        market.refresh = 1
    elif kind == d.CLOSE_TIME:
        if market.resolution_ns == market.close_ns:
            market.resolution_ns = event.aux
        market.close_ns = event.aux
        market.refresh = 1
    elif kind == d.NEWS:
        market.news_severity = event.aux
        market.news_until_ns = now_ns + event.qty
        market.refresh = 1
    elif kind == d.SETTLE:
        market.status = d.SETTLED
        cash = settle(market, event.qty, event.bits & d.REFUND != 0)
        w.account[0].local_cash_micros += cash
        w.account[0].value_micros -= market.value_micros
        market.value_micros = 0
        refresh_exposure(w, m)


@kernel
def _see_snapshot_row(w: World, m: int, event: d.Row, now_ns: int) -> None:
    """A row of a whole book, as a live feed sends it; all rows of one snapshot reach us at one instant."""
    book = w.books[m]
    count = int(w.grids.level_count[book.grid])
    if event.bits & d.SNAP_FIRST:
        for level in range(count):
            w.depth[m, BID, level] = 0
            w.depth[m, ASK, level] = 0
        book.bid_level = -1
        book.ask_level = count
    if event.price > 0:  # an empty book is a row without price
        level = int(w.grids.level_of_price[book.grid, event.price])
        if level >= 0:
            bk.set_level(book, w.depth[m], count, event.side, level, event.qty)
    book.event_ns = now_ns
    if event.bits & d.SNAP_LAST:
        w.markets[m].snapshots += 1


# --- reports of the exchange ----------------------------------------------------------------------


@kernel
def see_report(w: World, message: d.Row, now_ns: int) -> None:
    """One report about our own orders reaches us."""
    m = int(message.market)
    market = w.markets[m]
    order = w.orders[m, message.slot]
    if order.state == d.FREE or order.id != message.id:
        return
    kind = message.kind
    if kind == d.ACK:
        if order.state == d.PENDING:
            order.state = d.LIVE
        return
    if kind == d.FILL_REPORT:
        _book_own_fill(w, m, order, message, now_ns)
        stats = w.stats[m]
        if market.status == d.SETTLED and stats.settled > 0:  # the report came later than the settlement
            w.account[0].local_cash_micros += settle(market, stats.settle_value_micros, stats.settled == 2)
    elif kind == d.REDUCED:
        order.remaining = min(order.remaining, message.qty)
    elif kind == d.CANCELED:
        order.state = d.FREE
        market.resync = 1
        if message.why != d.WHY_NONE and message.why != d.WHY_UNFILLED_IOC:
            market.refresh = 1
    elif kind == d.REJECT:
        order.state = d.FREE
        _after_refusal(market, message.why, now_ns)
        if message.why == d.WHY_POST_ONLY_CROSS and w.books[m].event_ns <= order.sent_ns:
            refresh_exposure(w, m)
            return  # what it crossed is still on its way to us: on the same book it would cross again
    elif message.why == d.WHY_UNKNOWN_ORDER:
        order.state = d.FREE
        market.resync = 1
    else:
        order.state = d.LIVE
        order.qty = order.remaining  # a refused reduction may be asked for again
        _after_refusal(market, message.why, now_ns)
    refresh_exposure(w, m)
    market.stirred = 1
    mark_changed(w, m)


@kernel
def _after_refusal(market: d.Row, why: int, now_ns: int) -> None:
    """A crossing order is decided again on the newer book at once, any other after a second.

    What our own gate refuses waits the whole second, so that it can't use up the order rate of other markets.
    """
    if why == d.WHY_POST_ONLY_CROSS:
        market.refresh = 1
        return
    market.resync = 0  # what still had to be sent waits for the second try as well
    if market.retry_ns == 0 or why == d.WHY_GATE:
        market.retry_ns = now_ns + RETRY_NS


@kernel
def _book_own_fill(w: World, m: int, order: d.Row, message: d.Row, now_ns: int) -> None:
    market = w.markets[m]
    size = int(message.qty)
    cash = yes_cash_micros(order.side, message.price, size)
    change = apply_fill(market, market.nets_positions == 1, order.side, order.leg, cash, size)
    merged = merge_pairs(market, w.rules[0].merge_threshold)
    w.account[0].local_cash_micros += change + merged - message.fee_micros + message.rebate_micros
    order.remaining -= size
    if order.remaining <= 0:
        order.state = d.FREE
    if message.maker:
        observe_own_fill(market, w.params[m], order.side, message.price, size, now_ns)
    market.refresh = 1


# --- decisions ------------------------------------------------------------------------------------


@kernel
def decide_changed(w: World, now_ns: int) -> None:
    """Decide every market that changed at this instant, once, in the order of change."""
    clock = w.clock[0]
    k = 0
    while k < clock.changed_count:  # a decision may change other markets: the kill switch changes all
        m = int(w.changed[k])
        k += 1
        w.markets[m].changed = 0
        decide_market(w, m, now_ns)
    clock.changed_count = 0


@kernel
def look(w: World, m: int, now_ns: int) -> None:
    """Bring the touch, fair value and estimators of a market up to `now_ns`."""
    market = w.markets[m]
    params = w.params[m]
    # Grid times and markouts that fell due belong to the value that stood until now.
    sample_volatility(market, params, now_ns)
    mature_markouts(market, params, now_ns)
    if market.book_includes_own:
        observe_book(market, w.books[m], w.depth[m], w.grids, w.orders[m], now_ns)
    else:
        observe_touch(market, w.books[m], w.depth[m], w.grids, now_ns)
    update_fair(market, params, now_ns)
    if market.fair_micros >= 0:
        value = value_micros(market, int(market.fair_micros))
        w.account[0].value_micros += value - market.value_micros
        market.value_micros = value
    if market.paused_until_ns <= now_ns and volume_spike(market, params, now_ns):
        market.paused_until_ns = now_ns + params.volume_pause_ns
        w.stats[m].volume_pauses += 1


@kernel
def check_daily_loss(w: World, now_ns: int) -> None:
    """Trip the kill switch when the day's loss reaches the limit; start a new day when it is time."""
    account = w.account[0]
    rules = w.rules[0]
    if account.day_end_ns == 0:
        since_midnight = (now_ns - rules.day_offset_ns) % DAY_NS
        account.day_end_ns = now_ns - since_midnight + DAY_NS
    elif now_ns >= account.day_end_ns:
        account.day_end_ns += ((now_ns - account.day_end_ns) // DAY_NS + 1) * DAY_NS
        account.day_start_equity_micros = equity_micros(w)
        if rules.rearm_daily:
            account.killed = 0
    loss = account.day_start_equity_micros - equity_micros(w)
    if account.killed == 0 and rules.daily_loss_limit_micros > 0 and loss >= rules.daily_loss_limit_micros:
        account.killed = 1
        account.kills += 1
        for m in range(len(w.markets)):
            w.markets[m].refresh = 1
            mark_changed(w, m)


@kernel
def _count_decision(w: World, m: int) -> None:
    quote = w.quotes[m]
    stats = w.stats[m]
    stats.decisions += 1
    w.clock[0].decisions += 1
    left = int(quote.reasons)
    reason = 0
    while left != 0:
        stats.reason_counts[reason] += left & 1
        left >>= 1
        reason += 1


@kernel
def _note_exit(w: World, m: int, was_exit: bool) -> None:
    """Count forced exits and their alerts once an episode."""
    quote = w.quotes[m]
    market = w.markets[m]
    if quote.exit and not was_exit:
        w.stats[m].forced_exits += 1
    unabsorbed = (quote.reasons >> d.R_EXIT_UNABSORBED) & 1 == 1
    if unabsorbed and not market.exit_alert:
        w.stats[m].exit_alerts += 1
    market.exit_alert = unabsorbed


@kernel
def _requote(w: World, m: int, now_ns: int) -> None:
    """One decision: the policy writes the quote, the diff sends what changes."""
    market = w.markets[m]
    params = w.params[m]
    account = w.account[0]
    quote = w.quotes[m]
    was_exit = quote.exit == 1
    if params.policy != d.POLICY_FIXED_SPREAD:  # which reads no liquidity
        measure_liquidity(market, w.books[m], w.depth[m], w.grids, w.orders[m])
    if params.rewards != d.REWARDS_OFF and market.reward_spread > 0:
        measure_rewards(market, w.fees[m], w.books[m], w.depth[m], w.grids, w.orders[m])
    heat_room = heat_room_micros(w, m)
    cash_room = account.local_cash_micros - (account.locked_micros - market.locked_micros)
    grid = int(w.books[m].grid)
    decide(market, params, w.grids, grid, now_ns, heat_room, cash_room, int(account.killed), quote)
    market.quoted_ns = now_ns
    market.quoted_fair_micros = market.fair_micros
    market.quoted_state = quote_state(market, params, now_ns)
    market.refresh = 0
    market.retry_ns = 0
    sync_orders(w, now_ns, m)
    _count_decision(w, m)
    _note_exit(w, m, was_exit)


@kernel
def _follow_events(w: World, m: int, now_ns: int) -> int:
    """Requote market `m` if spec section 7 says so; returns when to look again at the latest."""
    market = w.markets[m]
    params = w.params[m]
    if market.retry_ns > 0 and now_ns >= market.retry_ns:
        market.refresh = 1
    if needs_decision(market, params, now_ns):
        _requote(w, m, now_ns)
    elif market.resync:
        sync_orders(w, now_ns, m)
    wake = next_wake_ns(market, params, now_ns)
    return min(wake, int(market.retry_ns)) if market.retry_ns > 0 else wake


@kernel
def is_idle(market: d.Row) -> bool:
    """Without a place, flat, and without an order of ours: nothing to manage, nothing to explain."""
    flat = net_contracts(market) == 0 and market.open_bid == 0 and market.open_ask == 0
    return market.waiting != 0 and flat and market.refresh == 0


@kernel
def decide_market(w: World, m: int, now_ns: int) -> None:
    """Look at market `m`, requote it where that is due, and set when to look again at the latest.

    A market that waits for a place and has nothing to manage is only looked at when all are sampled.
    """
    market = w.markets[m]
    if market.waiting != 0:
        clock = w.clock[0]
        if clock.next_selection_ns == NEVER_NS:
            clock.next_selection_ns = first_sample_ns(now_ns)
        if is_idle(market):
            set_wake(w.wakes, m, NEVER_NS)
            return
    params = w.params[m]
    interval = int(params.decision_interval_ns)
    if interval > 0:
        if now_ns < wake_ns(w.wakes, m):
            return  # a policy on a clock answers at its next tick
        market.stirred = 0
        look(w, m, now_ns)
        check_daily_loss(w, now_ns)
        _requote(w, m, now_ns)
        wake = (now_ns // interval + 1) * interval
    else:
        look(w, m, now_ns)
        check_daily_loss(w, now_ns)
        wake = _follow_events(w, m, now_ns)
    if market.status in (d.CLOSED, d.DETERMINED, d.SETTLED):
        wake = NEVER_NS
    set_wake(w.wakes, m, wake)


@kernel
def wake_markets(w: World, now_ns: int) -> None:
    """Decide the markets whose time has come, in order of market."""
    m = next_due(w.wakes, 0, now_ns)
    while m >= 0:
        if w.markets[m].stirred or w.params[m].policy != d.POLICY_FIXED_SPREAD:
            mark_changed(w, m)
        else:  # a fixed spread around an unmoved mid decides what it decided before
            set_wake(w.wakes, m, wake_ns(w.wakes, m) + int(w.params[m].decision_interval_ns))
        m = next_due(w.wakes, m + 1, now_ns)
    if w.clock[0].changed_count > 0:
        decide_changed(w, now_ns)
