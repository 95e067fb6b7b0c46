"""The replay loop: a recording, our messages and the exchange's reports on one clock.

Two clocks run through one recording: the exchange meets an event at its exchange time, we see it at its
local time. At one instant the order is: recording at the exchange, our messages, reports to us, market data
to us, timers. All that reaches us at an instant is applied first, then each changed market is decided once.
"""

from __future__ import annotations

import numpy as np

from pr3dict.kernels import book as bk
from pr3dict.kernels import brain
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.exchange import (
    arrive,
    expire_orders,
    tape_level,
    tape_settle,
    tape_status,
    tape_tick,
    tape_trade,
)
from pr3dict.kernels.exchange_orders import integrate, note_mark
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.messages import ERROR_CURVE_FULL
from pr3dict.kernels.position import value_micros
from pr3dict.kernels.rotation import begin_rotation, select
from pr3dict.kernels.wakes import NEVER_NS, set_wake
from pr3dict.kernels.world import World

HORIZONS = len(d.MARKOUT_HORIZONS_NS)


@kernel
def _start(w: World, events: d.Array) -> None:
    clock = w.clock[0]
    clock.started = 1
    clock.next_expiry_ns = NEVER_NS
    clock.next_markout_ns = NEVER_NS
    clock.clocked = 1
    for m in range(len(w.markets)):
        w.exchange_books[m].status = w.markets[m].status
        interval = int(w.params[m].decision_interval_ns)
        wake = NEVER_NS
        if interval == 0:
            clock.clocked = 0
        if interval > 0 and len(events) > 0:
            wake = (int(events[0].local_ns) // interval + 1) * interval
        set_wake(w.wakes, m, wake)
    begin_rotation(w)
    if len(events) > 0:
        clock.next_curve_ns = events[0].exch_ns


@kernel
def exchange_event(w: World, event: d.Row) -> None:
    """One event of the recording happens at the exchange; LEVEL events are handled by the caller."""
    m = int(event.market)
    now_ns = int(event.exch_ns)
    kind = event.kind
    if kind == d.TRADE:
        if event.bits & d.INFERRED:
            w.stats[m].inferred_contracts += event.qty
        tape_trade(w, now_ns, m, int(event.side), int(event.price), int(event.qty))
    elif kind == d.STATUS:
        tape_status(w, now_ns, m, int(event.aux))
    elif kind == d.TICK:
        tape_tick(w, now_ns, m, int(event.aux))
    elif kind == d.SETTLE:
        tape_settle(w, now_ns, m, int(event.qty), event.bits & d.REFUND != 0)


@kernel
def equity_at_exchange_micros(w: World) -> int:
    """Cash plus positions at the exchange's mid or the last one known; a position never marked is worth 0."""
    equity = int(w.account[0].cash_micros)
    for m in range(len(w.markets)):
        held = w.holdings[m]
        if held.yes_contracts > 0 or held.no_contracts > 0:
            mark = note_mark(w, m)
            if mark >= 0:
                equity += value_micros(held, mark)
    return equity


@kernel
def _sample_curve(w: World, at_ns: int) -> None:
    clock = w.clock[0]
    if clock.curve_count >= len(w.curve):
        w.account[0].error = ERROR_CURVE_FULL
        return
    point = w.curve[clock.curve_count]
    clock.curve_count += 1
    point.exch_ns = at_ns
    point.equity_micros = equity_at_exchange_micros(w)
    point.cash_micros = w.account[0].cash_micros


@kernel
def _record_markouts(w: World, before_ns: int) -> None:
    """Write the mid a horizon after each fill whose time lies at or before `before_ns`."""
    clock = w.clock[0]
    following = NEVER_NS
    for h in range(HORIZONS):
        horizon = d.MARKOUT_HORIZONS_NS[h]
        while clock.markout_cursor[h] < clock.fill_count:
            fill = w.fills[clock.markout_cursor[h]]
            due = fill.exch_ns + horizon
            if due > before_ns:
                following = min(following, due)
                break
            book = w.exchange_books[fill.market]
            if book.status == d.ACTIVE or book.status == d.PAUSED:
                fill.after_micros[h] = bk.mid_micros(book, w.grids)
            clock.markout_cursor[h] += 1
    clock.next_markout_ns = following


@kernel
def _before_instant(w: World, now_ns: int) -> None:
    """Whatever is due strictly before the world changes at `now_ns`."""
    clock = w.clock[0]
    if clock.next_markout_ns <= now_ns:
        _record_markouts(w, now_ns)
    while clock.next_curve_ns <= now_ns:
        _sample_curve(w, clock.next_curve_ns)
        clock.next_curve_ns += w.rules[0].curve_interval_ns
        if w.account[0].error != 0:
            return


@kernel
def _next_due_ns(w: World) -> int:
    """Earliest time of anything but market data: timers, our messages, reports to us."""
    clock = w.clock[0]
    earliest = min(w.wakes[1], clock.next_expiry_ns, clock.next_selection_ns)
    if clock.outbox_head < clock.outbox_tail:
        earliest = min(earliest, w.outbox[clock.outbox_head & (len(w.outbox) - 1)].at_ns)
    if clock.inbox_head < clock.inbox_tail:
        earliest = min(earliest, w.inbox[clock.inbox_head & (len(w.inbox) - 1)].at_ns)
    return earliest


@kernel
def _next_sample_ns(w: World) -> int:
    """Earliest time at which a markout or the equity curve wants the world as it is."""
    return min(w.clock[0].next_markout_ns, w.clock[0].next_curve_ns)


@kernel
def _deliver(w: World, now_ns: int) -> None:
    """Expiries, our messages and reports to us that are due at `now_ns`."""
    clock = w.clock[0]
    if clock.next_expiry_ns <= now_ns:
        expire_orders(w, now_ns)
    mask = len(w.outbox) - 1
    while clock.outbox_head < clock.outbox_tail and w.outbox[clock.outbox_head & mask].at_ns <= now_ns:
        arrive(w, now_ns, w.outbox[clock.outbox_head & mask])
        clock.outbox_head += 1
    mask = len(w.inbox) - 1
    while clock.inbox_head < clock.inbox_tail and w.inbox[clock.inbox_head & mask].at_ns <= now_ns:
        brain.see_report(w, w.inbox[clock.inbox_head & mask], now_ns)
        clock.inbox_head += 1


@kernel
def _finish(w: World, events: d.Array) -> None:
    """Close the books on the last instant: statistics, marks, one more equity sample."""
    clock = w.clock[0]
    clock.done = 1
    if len(w.markets) == 1:
        w.stats[0].events = clock.exchange_event
    else:
        for k in range(clock.exchange_event):
            w.stats[events[k].market].events += 1
    for m in range(len(w.markets)):
        integrate(w, m, clock.now_ns)
        if w.exchange_books[m].status != d.SETTLED:
            note_mark(w, m)
    _record_markouts(w, clock.now_ns)
    _sample_curve(w, clock.now_ns)


@kernel
def advance_exchange(w: World, events: d.Array, i: int, until_ns: int, due_ns: int) -> tuple[int, int, int]:
    """Let the recording happen at the exchange from event `i` up to `until_ns`, inclusive.

    Ends early when a report to us falls due before. Returns the next event, the time reached and the next
    due time. Most events only move the tape's own book: they are handled here, without a call.
    """
    count = len(events)
    clock = w.clock[0]
    books = w.exchange_books
    depth = w.exchange_depth
    holdings = w.holdings
    watched = w.watched
    level_of_price = w.grids.level_of_price
    sample_ns = _next_sample_ns(w)
    while i < count and events[i].exch_ns <= until_ns:
        event = events[i]
        i += 1
        if event.exch_ns >= sample_ns:
            _before_instant(w, event.exch_ns)
            sample_ns = _next_sample_ns(w)
        if event.kind == d.LEVEL:
            m = np.uint64(event.market)  # unsigned: an index that can't be negative costs less
            book = books[m]
            held = holdings[m]
            side = int(event.side)
            level = int(level_of_price[np.uint64(book.grid), np.uint64(event.price)])
            # The touch stays, no order of ours is at the level or crossed by it, and nothing was taken there.
            crossed = held.own_ask_price + side * (held.own_bid_price - held.own_ask_price)
            apart = (1 - 2 * side) * (crossed - event.price) > 0
            stays = bk.levels_behind(book, side, level) >= int(event.qty == 0)
            plain = (level >= 0) & stays & apart
            if plain and watched[m, np.uint64(side), np.uint64(level)] == 0:
                depth[m, np.uint64(side), np.uint64(level)] = event.qty
                continue
            tail = clock.inbox_tail
            tape_level(w, int(event.exch_ns), int(event.market), side, level, int(event.qty))
        else:
            tail = clock.inbox_tail
            exchange_event(w, event)
        if clock.inbox_tail != tail:  # a report is on its way to us, perhaps of a fill to sample later
            sample_ns = _next_sample_ns(w)
            due_ns = _next_due_ns(w)
            until_ns = min(until_ns, due_ns)
    return i, until_ns, due_ns


@kernel
def _run(w: World, events: d.Array, max_steps: int) -> bool:
    clock = w.clock[0]
    if clock.started == 0:
        _start(w, events)
    count = len(events)
    i = int(clock.exchange_event)
    j = int(clock.local_event)
    stop = min(j + max_steps, count)
    due_ns = _next_due_ns(w)
    while j < stop and w.account[0].error == 0:
        # Where decisions follow a clock, nothing that we see is acted on before the next due time.
        now_ns = min(int(events[count - 1 if clock.clocked else j].local_ns), due_ns)
        if i < count and events[i].exch_ns <= now_ns:
            i, now_ns, due_ns = advance_exchange(w, events, i, now_ns, due_ns)
        clock.now_ns = now_ns
        if due_ns <= now_ns:
            if _next_sample_ns(w) <= now_ns:
                _before_instant(w, now_ns)
            _deliver(w, now_ns)
        j = brain.see_events(w, events, j, i, now_ns)
        if clock.changed_count > 0:
            brain.decide_changed(w, now_ns)
            due_ns = _next_due_ns(w)
        if due_ns <= now_ns:
            if clock.next_selection_ns <= now_ns:
                select(w, now_ns)
            if w.wakes[1] <= now_ns:
                brain.wake_markets(w, now_ns)
            due_ns = _next_due_ns(w)
    clock.exchange_event = i
    clock.local_event = j
    if j < count and w.account[0].error == 0:
        return False
    if clock.done == 0:
        _finish(w, events)
    return True


@njit
def run(w: World, events: d.Array, max_steps: int) -> bool:
    """Go on with a replay for at most `max_steps` events; True when it is over.

    `events` are EVENT rows sorted by `exch_ns`, without SNAPSHOT rows, on the markets' grids, with
    `local_ns` ascending and never before `exch_ns`. Stops early when `account.error` is set.
    """
    return _run(w, events, max_steps)
