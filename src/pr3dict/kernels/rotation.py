"""Who is quoted when more markets are open than `max_markets`: places, given by score and taken back.

Once a second every market is sampled and free places go to the best-scored markets that qualify. Once an
interval all are ranked: a market that no longer qualifies loses its place, and so does one that another
outscores by the advantage. Whoever has no place is wound down reduce-only. Nothing here looks ahead.
"""

from __future__ import annotations

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, PPM_SCALE
from pr3dict.kernels import brain
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.estimators import measure_liquidity, observe_book
from pr3dict.kernels.jit import kernel, njit
from pr3dict.kernels.quote_levels import level_at_or_below
from pr3dict.kernels.quote_state import resolution_left_ns, takes_orders
from pr3dict.kernels.selection import SAMPLE_NS, sample, sample_depth, score_market, wants_depth
from pr3dict.kernels.wakes import NEVER_NS, set_wake
from pr3dict.kernels.world import World

NOBODY = -1


@kernel
def begin_rotation(w: World) -> None:
    """Decide at the start of a replay whether there are more markets than places; if so, all wait for one."""
    w.clock[0].next_selection_ns = NEVER_NS
    if 0 < w.rules[0].max_markets < len(w.markets):
        keep_statistics(w)


@kernel
def keep_statistics(w: World) -> None:
    """Measure every market and let each wait for a place."""
    clock = w.clock[0]
    clock.selecting = 1
    clock.next_selection_ns = NEVER_NS  # the first event starts the sampling
    for m in range(len(w.markets)):
        w.markets[m].waiting = 1


@kernel
def _is_open(w: World, m: int) -> bool:
    """Whether the market was seen and can still trade."""
    over = w.markets[m].status in (d.CLOSED, d.DETERMINED, d.SETTLED)
    return w.books[m].event_ns > 0 and not over


@kernel
def observe_markets(w: World, now_ns: int) -> bool:
    """Sample every open market at a grid time; returns whether there is one."""
    memory_ns = int(w.rules[0].selection_memory_ns)
    found = False
    for m in range(len(w.markets)):
        if not _is_open(w, m):
            continue
        found = True
        market = w.markets[m]
        row = w.selections[m]
        if brain.is_idle(market):
            brain.look(w, m, now_ns)  # nobody else does
        else:
            observe_book(market, w.books[m], w.depth[m], w.grids, w.orders[m], now_ns)
        sample(row, market, now_ns, memory_ns)
        if wants_depth(row, now_ns) and takes_orders(market) and 0 <= market.bid_price <= market.ask_price:
            measure_liquidity(market, w.books[m], w.depth[m], w.grids, w.orders[m])
            sample_depth(row, int(market.liquidity_micros))
    return found


@kernel
def _leave_place(w: World, m: int, now_ns: int) -> None:
    market = w.markets[m]
    row = w.selections[m]
    market.waiting = 1
    market.refresh = 1
    row.selected_ns += now_ns - row.selected_since_ns
    brain.mark_changed(w, m)


@kernel
def _take_place(w: World, m: int, now_ns: int) -> None:
    market = w.markets[m]
    row = w.selections[m]
    market.waiting = 0
    market.refresh = 1
    set_wake(w.wakes, m, now_ns)
    row.selected_since_ns = now_ns
    row.times_selected += 1
    brain.mark_changed(w, m)


@kernel
def _release(w: World, now_ns: int) -> int:
    """Free the places of markets that are over or too close to resolution; returns how many are taken."""
    taken = 0
    for m in range(len(w.markets)):
        market = w.markets[m]
        if market.waiting != 0:
            continue
        left_ns = resolution_left_ns(market, now_ns)
        too_close = 0 <= left_ns < w.params[m].min_time_to_resolution_ns
        if too_close or not _is_open(w, m):
            _leave_place(w, m, now_ns)
        else:
            taken += 1
    return taken


@kernel
def score_row(w: World, m: int, left_ns: int) -> None:
    """Bring `w.scores[m]` up to date, with `left_ns` to the expected resolution (-1: unknown)."""
    row = w.selections[m]
    grid = int(w.books[m].grid)
    mid = int(row.mid_sum) // (2 * int(row.two_sided)) if row.two_sided > 0 else 0
    level = max(level_at_or_below(w.grids, grid, mid), 0)
    if level + 1 == w.grids.level_count[grid]:
        level -= 1
    tick = int(w.grids.price_of_level[grid, level + 1]) - int(w.grids.price_of_level[grid, level])
    score_market(row, w.params[m], w.fees[m], tick * MICROS_PER_PRICE_UNIT, left_ns, w.scores[m])


@kernel
def _score_all(w: World, now_ns: int, waiting_only: bool) -> None:
    for m in range(len(w.markets)):
        market = w.markets[m]
        if not _is_open(w, m):
            w.scores[m].reasons = 1 << d.R_NOT_ACTIVE
        elif market.waiting != 0 or not waiting_only:
            score_row(w, m, resolution_left_ns(market, now_ns))


@kernel
def _best_waiting(w: World) -> int:
    """The qualifying market with the highest score that waits; of equal ones the first come."""
    best = NOBODY
    for m in range(len(w.markets)):
        score = w.scores[m]
        if w.markets[m].waiting == 0 or score.reasons != 0 or not takes_orders(w.markets[m]):
            continue
        if best == NOBODY or score.score_ppm > w.scores[best].score_ppm:
            best = m
        elif score.score_ppm == w.scores[best].score_ppm:
            if w.selections[m].since_ns < w.selections[best].since_ns:
                best = m
    return best


@kernel
def _worst_selected(w: World) -> int:
    """The market with a place that scores lowest; of equal ones the last come."""
    worst = NOBODY
    for m in range(len(w.markets)):
        if w.markets[m].waiting != 0:
            continue
        if worst == NOBODY or w.scores[m].score_ppm < w.scores[worst].score_ppm:
            worst = m
        elif w.scores[m].score_ppm == w.scores[worst].score_ppm:
            if w.selections[m].since_ns >= w.selections[worst].since_ns:
                worst = m
    return worst


@kernel
def _outscores(challenger_ppm: int, incumbent_ppm: int, advantage_ppm: int) -> bool:
    """Whether the challenger scores more by the advantage, a share of the incumbent's score."""
    return (challenger_ppm - incumbent_ppm) * PPM_SCALE > advantage_ppm * abs(incumbent_ppm)


@kernel
def _fill_places(w: World, now_ns: int, taken: int) -> None:
    while taken < w.rules[0].max_markets:
        best = _best_waiting(w)
        if best == NOBODY:
            return
        _take_place(w, best, now_ns)
        taken += 1


@kernel
def _rotate(w: World, now_ns: int) -> None:
    """Rank all markets anew: drop what no longer qualifies, fill, then let challengers in."""
    _score_all(w, now_ns, False)
    taken = 0
    for m in range(len(w.markets)):
        if w.markets[m].waiting == 0:
            if w.scores[m].reasons != 0:
                _leave_place(w, m, now_ns)
            else:
                taken += 1
    _fill_places(w, now_ns, taken)
    advantage_ppm = int(w.rules[0].rotation_advantage_ppm)
    for _ in range(w.rules[0].max_markets):
        best, worst = _best_waiting(w), _worst_selected(w)
        if best == NOBODY or worst == NOBODY:
            return
        if not _outscores(int(w.scores[best].score_ppm), int(w.scores[worst].score_ppm), advantage_ppm):
            return
        _leave_place(w, worst, now_ns)  # first, so that its cancels go out before the other's orders
        _take_place(w, best, now_ns)


@kernel
def select(w: World, now_ns: int) -> None:
    """What is due at a grid time: sample all markets, give and take places, decide those that changed."""
    clock = w.clock[0]
    rules = w.rules[0]
    found = observe_markets(w, now_ns)
    taken = _release(w, now_ns)
    interval_ns = int(rules.rotation_interval_ns)
    if interval_ns > 0 and clock.next_rotation_ns == 0:
        clock.next_rotation_ns = (now_ns // interval_ns + 1) * interval_ns
    if interval_ns > 0 and now_ns >= clock.next_rotation_ns:
        clock.next_rotation_ns = (now_ns // interval_ns + 1) * interval_ns
        _rotate(w, now_ns)
    elif taken < rules.max_markets:
        _score_all(w, now_ns, True)
        _fill_places(w, now_ns, taken)
    clock.next_selection_ns = (now_ns // SAMPLE_NS + 1) * SAMPLE_NS if found else NEVER_NS
    if clock.changed_count > 0:
        brain.decide_changed(w, now_ns)


@njit
def watch(w: World, events: d.Array, until_ns: int) -> None:
    """Measure the markets of a recording without quoting: what we see up to `until_ns`, both ends included.

    `events` as for `replay.run`. Fills `w.selections`; a book that stands still is sampled to the end.
    """
    keep_statistics(w)
    clock = w.clock[0]
    count = len(events)
    j = 0
    while True:
        now_ns = int(clock.next_selection_ns)
        if j < count:
            now_ns = min(now_ns, int(events[j].local_ns))
        if now_ns > until_ns or now_ns == NEVER_NS:
            return
        clock.now_ns = now_ns
        j = brain.see_events(w, events, j, count, now_ns)
        brain.decide_changed(w, now_ns)
        if clock.next_selection_ns <= now_ns:
            found = observe_markets(w, now_ns)
            clock.next_selection_ns = (now_ns // SAMPLE_NS + 1) * SAMPLE_NS if found else NEVER_NS
