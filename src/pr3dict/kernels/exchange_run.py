"""The exchange by itself: its half of the replay loop, for callers that bring orders from outside.

The same functions as in `replay.py` move the same world; here nobody decides. A caller lets time pass with
`advance`, hands in requests with `arrive_at`, and takes what the exchange reports out of the inbox. The rest
are changes that a recording can't hold: somebody moves money, a trade is undone, an order vanishes.
"""

from __future__ import annotations

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import BID
from pr3dict.kernels.exchange import arrive, expire_orders
from pr3dict.kernels.exchange_orders import close_order, integrate, update_reserved
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.position import apply_fill, merge_pairs
from pr3dict.kernels.replay import advance_exchange
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.kernels.world import World


@kernel
def _begin(w: World) -> None:
    clock = w.clock[0]
    clock.started = 1
    clock.next_expiry_ns = clock.next_markout_ns = clock.next_curve_ns = NEVER_NS
    clock.next_selection_ns = NEVER_NS
    for m in range(len(w.markets)):
        w.exchange_books[m].status = w.markets[m].status


@njit
def begin(w: World) -> None:
    """Open a new world's markets, with every timer of a replay off."""
    _begin(w)


@kernel
def _forget(w: World) -> None:
    clock = w.clock[0]
    clock.inbox_head = clock.inbox_tail
    clock.fill_count = 0
    clock.next_markout_ns = NEVER_NS
    for h in range(len(d.MARKOUT_HORIZONS_NS)):
        clock.markout_cursor[h] = 0


@kernel
def _advance(w: World, events: d.Array, i: int, until_ns: int) -> int:
    clock = w.clock[0]
    _forget(w)
    while clock.inbox_tail == clock.inbox_head and w.account[0].error == 0:
        reached_ns = min(until_ns, int(clock.next_expiry_ns))
        if i < len(events) and events[i].exch_ns <= reached_ns:
            i, reached_ns, _ = advance_exchange(w, events, i, reached_ns, NEVER_NS)
            if clock.inbox_tail != clock.inbox_head:
                break
        if clock.next_expiry_ns > until_ns:
            break
        expire_orders(w, reached_ns)
    return i


@njit
def advance(w: World, events: d.Array, i: int, until_ns: int) -> int:
    """Let the recording happen from event `i` up to `until_ns`, inclusive, and orders expire.

    `events` as in `replay.run`. Reports of earlier calls are forgotten. Returns the next event. Stops early
    after the first instant that made a report: what is due at it may not all have happened, call again.
    """
    return _advance(w, events, i, until_ns)


@kernel
def _arrive_at(w: World, now_ns: int, messages: d.Array) -> None:
    _forget(w)
    arrive(w, now_ns, messages[0])


@njit
def arrive_at(w: World, now_ns: int, messages: d.Array) -> None:
    """Our request in the first of `messages` (MESSAGE) reaches the exchange; `advance` to `now_ns` first.

    Reports of earlier calls are forgotten.
    """
    _arrive_at(w, now_ns, messages)


@kernel
def _close(w: World, now_ns: int, m: int, slot: int, why: int) -> None:
    _forget(w)
    if w.exchange_orders[m, slot].active == 1:
        close_order(w, now_ns, m, slot, why)


@njit
def close(w: World, now_ns: int, m: int, slot: int, why: int) -> None:
    """The exchange takes a resting order out of the book by itself."""
    _close(w, now_ns, m, slot, why)


@kernel
def _renew(w: World, m: int, slot: int, expiry_ns: int) -> None:
    w.exchange_orders[m, slot].expiry_ns = expiry_ns
    if expiry_ns > 0:
        clock = w.clock[0]
        clock.next_expiry_ns = min(int(clock.next_expiry_ns), expiry_ns)


@njit
def renew(w: World, m: int, slot: int, expiry_ns: int) -> None:
    """Move the expiry of a resting order; it keeps its place in the queue. 0: it never expires."""
    _renew(w, m, slot, expiry_ns)


@kernel
def _book_trade(w: World, now_ns: int, m: int, side: int, leg: int, cash_micros: int, size: int) -> int:
    """A trade outside the book; returns the pairs that were merged."""
    integrate(w, m, now_ns)
    held = w.holdings[m]
    change = apply_fill(held, w.markets[m].nets_positions == 1, side, leg, cash_micros, size)
    merged = merge_pairs(held, w.rules[0].merge_threshold)
    w.account[0].cash_micros += change + merged
    update_reserved(w, m)
    return merged


@njit
def book_trade(w: World, now_ns: int, m: int, side: int, leg: int, cash_micros: int, size: int) -> int:
    """Book a trade of the account that was not made by an order in the book, fees apart.

    `cash_micros` is its cash in YES terms: a bid pays, an ask receives. Returns the micro-contracts of pairs
    that became cash.
    """
    return _book_trade(w, now_ns, m, side, leg, cash_micros, size)


@kernel
def _undo_trade(w: World, now_ns: int, m: int, side: int, leg: int, cash_micros: int, size: int) -> int:
    integrate(w, m, now_ns)
    held = w.holdings[m]
    nets = w.markets[m].nets_positions == 1
    split = 0
    if nets:
        change = apply_fill(held, True, 1 - side, leg, -cash_micros, size)
    else:
        bought_yes = (side == BID) == (leg == d.BUY_LEG)
        # What was bought goes back; what was sold is given back for the cash.
        change = -cash_micros
        if leg == d.BUY_LEG:
            if bought_yes:
                held.yes_contracts -= size
            else:
                held.no_contracts -= size
                change += size
        elif side == BID:
            held.no_contracts += size
            change -= size
        else:
            held.yes_contracts += size
        split = max(0, -int(held.yes_contracts), -int(held.no_contracts))
        held.yes_contracts += split
        held.no_contracts += split
        change -= split
        held.cost_micros -= change
    w.account[0].cash_micros += change
    update_reserved(w, m)
    return split


@njit
def undo_trade(w: World, now_ns: int, m: int, side: int, leg: int, cash_micros: int, size: int) -> int:
    """Take a trade back, fees apart: as if it had never been.

    Contracts that it brought and that are no longer held (merged, sold) are made by splitting cash into
    pairs; returns the micro-contracts of pairs split.
    """
    return _undo_trade(w, now_ns, m, side, leg, cash_micros, size)


@kernel
def _split(w: World, m: int, pairs: int) -> None:
    held = w.holdings[m]
    held.yes_contracts += pairs
    held.no_contracts += pairs
    held.cost_micros += pairs
    w.account[0].cash_micros -= pairs
    update_reserved(w, m)


@njit
def split(w: World, m: int, pairs: int) -> None:
    """Turn cash into `pairs` micro-contracts of YES and NO, or pairs into cash where it is negative."""
    _split(w, m, pairs)
