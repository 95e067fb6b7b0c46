"""The replay loop: a recording, our messages and the exchange's reports on one clock.

Two clocks run through one recording: the exchange meets an event at its exchange time, we see it at its
local time. At one instant the order is: recording at the exchange, our messages, reports to us, market data
to us, timers. All that reaches us at an instant is applied first, then each changed market is decided once.
"""

from __future__ import annotations

from pr3dict.kernels import book as bk
from pr3dict.kernels import brain
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.exchange import (
    NEVER_NS,
    arrive,
    expire_orders,
    integrate,
    note_mark,
    tape_level,
    tape_settle,
    tape_status,
    tape_tick,
    tape_trade,
)
from pr3dict.kernels.jit import njit
from pr3dict.kernels.messages import ERROR_CURVE_FULL
from pr3dict.kernels.position import value_micros
from pr3dict.kernels.world import World

HORIZONS = len(d.MARKOUT_HORIZONS_NS)


@njit
def _start(w: World, events: d.Array) -> None:
    clock = w.clock[0]
    clock.started = 1
    clock.next_expiry_ns = NEVER_NS
    clock.next_markout_ns = NEVER_NS
    clock.next_wake_ns = NEVER_NS
    for m in range(len(w.markets)):
        w.exchange_books[m].status = w.markets[m].status
        interval = int(w.params[m].decision_interval_ns)
        wake = NEVER_NS
        if interval > 0 and len(events) > 0:
            wake = (int(events[0].local_ns) // interval + 1) * interval
        w.markets[m].wake_ns = wake
        clock.next_wake_ns = min(clock.next_wake_ns, wake)
    if len(events) > 0:
        clock.next_curve_ns = events[0].exch_ns


@njit
def exchange_event(w: World, event: d.Row) -> None:
    """One event of the recording happens at the exchange."""
    m = int(event.market)
    now_ns = int(event.exch_ns)
    kind = event.kind
    w.stats[m].events += 1
    if kind == d.LEVEL:
        level = int(w.grids.level_of_price[w.exchange_books[m].grid, event.price])
        tape_level(w, now_ns, m, int(event.side), level, int(event.qty))
    elif kind == d.TRADE:
        if event.bits & d.INFERRED:
            w.stats[m].inferred_contracts += event.qty
        tape_trade(w, now_ns, m, int(event.side), int(event.price), int(event.qty))
    elif kind == d.STATUS:
        tape_status(w, now_ns, m, int(event.aux))
    elif kind == d.TICK:
        tape_tick(w, now_ns, m, int(event.aux))
    elif kind == d.SETTLE:
        tape_settle(w, now_ns, m, int(event.qty), event.bits & d.REFUND != 0)


@njit
def equity_at_exchange_micros(w: World) -> int:
    """Cash plus positions at the exchange's mid, or at the last one known; a position never marked is worth 0."""
    equity = int(w.account[0].cash_micros)
    for m in range(len(w.markets)):
        held = w.holdings[m]
        if held.yes_contracts > 0 or held.no_contracts > 0:
            mark = note_mark(w, m)
            if mark >= 0:
                equity += value_micros(held, mark)
    return equity


@njit
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


@njit
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


@njit
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


@njit
def _due_before_tape(w: World, tape_ns: int) -> int:
    """Earliest time of anything but market data, at most `tape_ns`."""
    clock = w.clock[0]
    earliest = min(tape_ns, clock.next_wake_ns, clock.next_expiry_ns)
    if clock.outbox_head < clock.outbox_tail:
        earliest = min(earliest, w.outbox[clock.outbox_head & (len(w.outbox) - 1)].at_ns)
    if clock.inbox_head < clock.inbox_tail:
        earliest = min(earliest, w.inbox[clock.inbox_head & (len(w.inbox) - 1)].at_ns)
    return earliest


@njit
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


@njit
def _finish(w: World) -> None:
    """Close the books on the last instant: statistics, marks, one more equity sample."""
    clock = w.clock[0]
    clock.done = 1
    for m in range(len(w.markets)):
        integrate(w, m, clock.now_ns)
        if w.exchange_books[m].status != d.SETTLED:
            note_mark(w, m)
    _record_markouts(w, clock.now_ns)
    _sample_curve(w, clock.now_ns)


@njit
def run(w: World, events: d.Array, max_steps: int) -> bool:
    """Go on with a replay for at most `max_steps` events; True when it is over.

    `events` are EVENT rows sorted by `exch_ns`, without SNAPSHOT rows, on the markets' grids, with
    `local_ns` ascending and never before `exch_ns`. Stops early when `account.error` is set.
    """
    clock = w.clock[0]
    if clock.started == 0:
        _start(w, events)
    count = len(events)
    i = int(clock.exchange_event)
    j = int(clock.local_event)
    stop = j + max_steps
    while j < count and j < stop and w.account[0].error == 0:
        next_local = int(events[j].local_ns)
        other = _due_before_tape(w, next_local)
        # The recording moves alone at the exchange until something else is due.
        while i < count and events[i].exch_ns <= other:
            at = int(events[i].exch_ns)
            if clock.next_markout_ns <= at or clock.next_curve_ns <= at:
                _before_instant(w, at)
            exchange_event(w, events[i])
            i += 1
            if clock.inbox_head < clock.inbox_tail:
                other = min(other, w.inbox[clock.inbox_head & (len(w.inbox) - 1)].at_ns)
        clock.now_ns = other
        _before_instant(w, other)
        _deliver(w, other)
        while j < count and events[j].local_ns <= other and j < i:
            brain.see_event(w, events[j], other)
            j += 1
        if clock.changed_count > 0:
            brain.decide_changed(w, other)
        if clock.next_wake_ns <= other:
            brain.wake_markets(w, other)
    clock.exchange_event = i
    clock.local_event = j
    if j < count and w.account[0].error == 0:
        return False
    if clock.done == 0:
        _finish(w)
    return True
