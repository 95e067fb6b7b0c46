"""After all faults: it must trade again, or stand in a halt that a person must clear; then nobody trades."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pr3dict.kernels import dtypes as d
from simulation.oracles import Violation
from simulation.world import SECOND

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.simulator import Simulation

QUIET_NS = 25 * SECOND
RESUMED_NS = 40 * SECOND  # after the end of all faults nobody resumes any more
NEWS_NS = 65 * SECOND  # in which an adapter has looked at its markets again
WAITS = sum(
    1 << bit
    for bit in (
        d.R_NO_BOOK, d.R_ONE_SIDED_BOOK, d.R_CROSSED_BOOK, d.R_VOLUME_PAUSE, d.R_NARROW_SPREAD,
        d.R_DAILY_LOSS, d.R_HEAT, d.R_CUT_CASH, d.R_CUT_HEAT, d.R_TOO_CLOSE, d.R_NOT_SELECTED,
    )
)  # fmt: skip


def live_again(sim: Simulation) -> None:
    """The liveness phase ends early: orders rest again, or nobody resumes any more and a person must."""
    since, world = sim.world.now_ns, sim.world
    latest = since + sim.options.liveness_ns + sim.options.life_ns
    for end in range(since + 10 * SECOND, latest + 1, 5 * SECOND):
        world.run_until(end, sim.check)
        process = sim.process
        if process is not None and sim.resting_ns > since + 6 * SECOND and sim.venue.exchange.truth.open:
            return
        if end > since + RESUMED_NS and process is not None:
            if _waits_for_person(sim, process):
                return
            sim.flow_on(flowing=not process.in_doubt())
    _check_alive(sim, since)


def _check_alive(sim: Simulation, since_ns: int) -> None:
    """I20: within the liveness phase it was quoting, or it stands in a halt that a person must clear."""
    if sim.venue.exchange.truth.open or sim.resting_ns > since_ns + SECOND:
        return
    process = sim.process
    if process is None:
        raise Violation("I20 liveness", "there is no process")
    if _waits_for_person(sim, process):
        return
    engine = process.engine
    words = {why for _, _, why in engine.holds.to_list()}
    over = (d.CLOSED, d.SETTLED)
    reasons = {m: process.reasons(m) for m in range(sim.options.markets) if sim.status_of(m) not in over}
    if all(reason & WAITS for reason in reasons.values()):
        return
    names = {
        m: [d.REASON_NAMES[k] for k in range(len(d.REASON_NAMES)) if bits >> k & 1]
        for m, bits in reasons.items()
    }
    raise Violation(
        "I20 liveness",
        f"nothing rests {(sim.world.now_ns - since_ns) // SECOND} s after healing; "
        f"holds {sorted(words)}, breakers {engine.breakers.tripped()}, reasons {names}",
    )


def _waits_for_person(sim: Simulation, process: Process) -> bool:
    """Whether it stands in a halt that only a person clears."""
    engine = process.engine
    words = {why for _, _, why in engine.holds.to_list()}
    tripped = any(until == 0 for _, _, until in engine.breakers.tripped())
    halted = words & {"halted", "paused", "flattening"}
    return bool(halted) or tripped or sim.disk.latch is not None


def grow_quiet(sim: Simulation) -> None:
    """Nobody trades; an order whose fate is unknown may stay so until its expiry has passed (I4)."""
    world = sim.world
    world.run_until(world.now_ns + QUIET_NS, sim.check)
    latest = world.now_ns + sim.options.life_ns + QUIET_NS
    if sim.modelled is not None:  # a late payout may be told by nobody
        world.run_until(max(world.now_ns, sim.paid_ns + NEWS_NS), sim.check)
    while world.now_ns < latest and sim.process is not None and sim.process.in_doubt():
        world.run_until(world.now_ns + SECOND, sim.check)
