"""Time as the shell reads it, and how it notices that time was not what it seemed.

Two clocks: wall time (ns UTC) dates what happens, monotonic time (ns from an arbitrary zero) measures how
long it took. The engine gets one time that never stops and never runs back: `EngineTime`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from pr3dict.domain.events import ClockJumped, LoopStalled
from pr3dict.domain.units import NS_PER_SECOND

SLEW = 20  # a small difference is made up for by a twentieth of the time that passes
DRIFT = 1_000  # time daemons adjust by at most 500 ppm
STALL_NS = NS_PER_SECOND // 5
SLEEP_NS = 2 * NS_PER_SECOND
JUMP_NS = NS_PER_SECOND // 2


class Clock(Protocol):
    """The two clocks of a machine."""

    def wall_ns(self) -> int:
        """Ns UTC; may be set forward and back."""

    def monotonic_ns(self) -> int:
        """Ns since an arbitrary zero; never runs back, may stand still while the machine sleeps."""


class SystemClock:
    """The clocks of this machine."""

    def wall_ns(self) -> int:
        """Ns UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Ns since the machine started."""
        return time.monotonic_ns()


class VirtualClock:
    """Clocks that a test moves by hand: `pass_ns` moves both, `jump_ns` only the wall clock."""

    def __init__(self, wall_ns: int = 0, monotonic_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def wall_ns(self) -> int:
        """Ns UTC."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Ns since the beginning."""
        return self._monotonic_ns

    def pass_ns(self, duration_ns: int) -> None:
        """Let time pass."""
        self._wall_ns += duration_ns
        self._monotonic_ns += duration_ns

    def jump_ns(self, step_ns: int) -> None:
        """Set the wall clock forward or (below 0) back."""
        self._wall_ns += step_ns


class EngineTime:
    """Wall time at monotonic pace: differences below `JUMP_NS` are slewed, a clock set forward is followed.

    A wall clock that is set back is not followed: time goes on from where it was until a restart, and
    `ClockJumped` has told the engine.
    """

    def __init__(self, clock: Clock, *, not_before_ns: int = 0) -> None:
        """`not_before_ns`: the time at which an earlier process of the same journal ended."""
        self._clock = clock
        self._monotonic_ns = clock.monotonic_ns()
        self._now_ns = max(clock.wall_ns(), not_before_ns)

    def now_ns(self) -> int:
        """Ns UTC; never below an answer given before."""
        monotonic_ns = self._clock.monotonic_ns()
        passed_ns = monotonic_ns - self._monotonic_ns
        self._monotonic_ns = monotonic_ns
        self._now_ns += passed_ns
        ahead_ns = self._clock.wall_ns() - self._now_ns
        if ahead_ns >= JUMP_NS:
            self._now_ns += ahead_ns
        elif ahead_ns > -JUMP_NS:
            most_ns = passed_ns // SLEW
            self._now_ns += max(-most_ns, min(most_ns, ahead_ns))
        return self._now_ns


class SessionClock:
    """Engine time for a live adapter (`venues.session.Clock`): what it waits for passes in the event loop."""

    def __init__(self, time: EngineTime) -> None:
        self._time = time

    def now_ns(self) -> int:
        """Ns UTC; never runs back."""
        return self._time.now_ns()

    async def sleep(self, span_ns: int) -> None:
        """Return `span_ns` later."""
        await asyncio.sleep(max(0, span_ns) / NS_PER_SECOND)


class ClockWatch:
    """Compares each look at the clocks with the one before it.

    `tick_ns` is how often somebody looks at the latest. More than `STALL_NS` later the event loop stalled,
    more than `SLEEP_NS` later the process slept; clocks that went apart by `JUMP_NS` were set or stood still,
    unless they drifted apart no faster than a time daemon may bring them together.
    """

    def __init__(self, clock: Clock, *, tick_ns: int) -> None:
        self._clock = clock
        self._tick_ns = tick_ns
        self._seen_ns = clock.monotonic_ns()
        self._offset_ns = clock.wall_ns() - self._seen_ns

    def check(self) -> tuple[ClockJumped | LoopStalled, ...]:
        """What happened to time since the last look."""
        monotonic_ns = self._clock.monotonic_ns()
        offset_ns = self._clock.wall_ns() - monotonic_ns
        passed_ns = monotonic_ns - self._seen_ns
        gap_ns = passed_ns - self._tick_ns
        apart_ns = offset_ns - self._offset_ns
        self._seen_ns = monotonic_ns
        if abs(apart_ns) >= JUMP_NS:
            self._offset_ns = offset_ns
            return (ClockJumped(gap_ns=apart_ns),)
        drift_ns = passed_ns // DRIFT
        self._offset_ns += max(-drift_ns, min(drift_ns, apart_ns))
        if gap_ns >= SLEEP_NS:
            return (ClockJumped(gap_ns=gap_ns),)
        if gap_ns >= STALL_NS:
            return (LoopStalled(gap_ns=gap_ns),)
        return ()


class SystemPacer:
    """The monotonic clock of this machine, as one that can be waited for."""

    def now_ns(self) -> int:
        """Ns from an arbitrary zero."""
        return time.monotonic_ns()

    async def sleep_until(self, at_ns: int) -> None:
        """Return when the clock says `at_ns`, or a little later."""
        await asyncio.sleep(max(0, at_ns - time.monotonic_ns()) / NS_PER_SECOND)
