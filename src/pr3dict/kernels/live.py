"""The local half of the replay loop, for an engine that is handed its instants: see, decide, wake.

`replay.run` interleaves the exchange with us; here only our half runs, on the same functions, and messages
stay in the outbox for the caller. TICK rows name a grid by its place among the market's own grids.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pr3dict.kernels import brain
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.diff import refresh_exposure
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.rotation import select
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.kernels.world import World

GRIDS_A_MARKET = 8

GridTable = npt.NDArray[np.int32]  # (n, GRIDS_A_MARKET) rows of the world's grids


@kernel
def _see(
    w: World, events: d.Array, j: int, known: int, now_ns: int, grids_of: GridTable, spare: d.Array
) -> int:
    """Apply rows from `j` and before `known` that reach us up to `now_ns`; returns the next one."""
    while j < known and events[j].local_ns <= now_ns:
        stop = j
        while stop < known and events[stop].kind != d.TICK and events[stop].local_ns <= now_ns:
            stop += 1
        j = brain.see_events(w, events, j, stop, now_ns)
        if j < known and events[j].kind == d.TICK and events[j].local_ns <= now_ns:
            tick = spare[0]
            tick.exch_ns = events[j].exch_ns
            tick.local_ns = events[j].local_ns
            tick.market = events[j].market
            tick.kind = d.TICK
            tick.aux = grids_of[events[j].market, events[j].aux]
            brain.see_event(w, tick)
            j += 1
    return j


@kernel
def _next_due_ns(w: World) -> int:
    return min(w.wakes[1], w.clock[0].next_selection_ns)


@kernel
def _decide(w: World, now_ns: int) -> None:
    clock = w.clock[0]
    clock.now_ns = now_ns
    if clock.changed_count > 0:
        brain.decide_changed(w, now_ns)
    if clock.next_selection_ns <= now_ns:
        select(w, now_ns)
    if w.wakes[1] <= now_ns:
        brain.wake_markets(w, now_ns)


@njit
def see(w: World, events: d.Array, grids_of: GridTable, spare: d.Array) -> None:
    """All of `events` (EVENT rows, local times ascending) reach us; decides nothing. `spare` is one row."""
    if len(events) > 0:
        _see(w, events, 0, len(events), int(events[len(events) - 1].local_ns), grids_of, spare)


@njit
def decide(w: World, now_ns: int) -> None:
    """Decide each market that changed, once, and those whose time has come."""
    _decide(w, now_ns)


@njit
def next_due_ns(w: World) -> int:
    """When a decision is due at the latest; NEVER_NS: not before something happens."""
    return _next_due_ns(w)


@njit
def follow(
    w: World, events: d.Array, j: int, until_ns: int, grids_of: GridTable, spare: d.Array
) -> tuple[int, int]:
    """Go on by itself from row `j` through every instant up to `until_ns`, until a message wants to leave.

    Returns the next row and the last instant, -1 if there was none.
    """
    clock = w.clock[0]
    last_ns = -1
    while clock.outbox_head == clock.outbox_tail:
        now_ns = _next_due_ns(w)
        if j < len(events):
            now_ns = min(now_ns, int(events[j].local_ns))
        if now_ns > until_ns or now_ns == NEVER_NS:
            break
        j = _see(w, events, j, len(events), now_ns, grids_of, spare)
        _decide(w, now_ns)
        last_ns = now_ns
    return j, last_ns


@njit
def hear(w: World, message: d.Array, now_ns: int) -> None:
    """One report about an order of ours, a MESSAGE row, reaches us."""
    brain.see_report(w, message[0], now_ns)


@njit
def hold(w: World, m: int, level: int) -> None:
    """Hold back market `m` (HOLD_*) or let it go; it is decided again where it was ever decided."""
    market = w.markets[m]
    market.hold = level
    _touch(w, m)


@njit
def leave(w: World, m: int, wanted: int, slippage_micros: int) -> None:
    """A person wants to be out of market `m` (1), or no longer (0)."""
    market = w.markets[m]
    market.leaving = wanted
    market.leaving_slippage_micros = slippage_micros
    _touch(w, m)


@kernel
def _touch(w: World, m: int) -> None:
    if w.markets[m].quoted_state >= 0 or w.books[m].event_ns > 0:
        w.markets[m].refresh = 1
        brain.mark_changed(w, m)


@njit
def rebuild(w: World, m: int, yes: int, no: int, cost_micros: int, cash_micros: int) -> None:
    """Set what market `m` holds and the account's cash: what no report of one order can say."""
    market = w.markets[m]
    market.yes_contracts = yes
    market.no_contracts = no
    market.cost_micros = cost_micros
    w.account[0].local_cash_micros = cash_micros
    refresh_exposure(w, m)
    _touch(w, m)


@njit
def keep_places(w: World) -> None:
    """More markets than places: from now on every market is measured, and who was never decided waits."""
    clock = w.clock[0]
    clock.selecting = 1
    for m in range(len(w.markets)):
        if w.markets[m].quoted_state < 0:
            w.markets[m].waiting = 1


@njit
def start(w: World) -> None:
    """Before the first instant: no wake is set."""
    clock = w.clock[0]
    clock.started = 1
    clock.next_selection_ns = NEVER_NS
    clock.next_expiry_ns = NEVER_NS
    clock.next_markout_ns = NEVER_NS
