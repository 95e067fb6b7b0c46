"""An event loop whose time jumps: as soon as no socket has anything to say, it is the next timer's time.

Server and client run in one such loop over real sockets of this machine, so hours of their time pass in
minutes and waiting costs nothing. Whatever is computed takes no time at all.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from typing import Any, Final

SECOND: Final = 1_000_000_000
THREAD_POLL_S: Final = 0.002  # how often a job of another thread is looked for


class JumpingSelector(selectors.DefaultSelector):
    """Waits for nobody but threads: instead of waiting, the time of its loop moves on."""

    now_ns = 0
    jobs = 0  # of other threads, for which time stands still

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; empty once the time has moved on by `timeout` seconds."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.jobs or timeout is None:
            return super().select(THREAD_POLL_S)
        os.sched_yield()  # the kernel may still carry bytes from one of our sockets to another
        ready = super().select(0)
        if not ready:
            self.now_ns += max(1, round(timeout * SECOND))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time; `now_ns` is its monotonic clock, from 0."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    @property
    def now_ns(self) -> int:
        """Ns since the loop was made."""
        return self._jumping.now_ns

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jumping.now_ns / SECOND

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Time stands still until the thread is done."""
        self._jumping.jobs += 1
        job = super().run_in_executor(executor, func, *args)
        job.add_done_callback(self._job_done)
        return job

    def _job_done(self, _job: asyncio.Future[Any]) -> None:
        self._jumping.jobs -= 1


class LoopClock:
    """A machine's two clocks (`runtime.clock.Clock`) in the time of a virtual loop."""

    def __init__(self, loop: VirtualLoop, start_ns: int) -> None:
        self._loop = loop
        self._start_ns = start_ns

    def wall_ns(self) -> int:
        """Ns UTC."""
        return self._start_ns + self._loop.now_ns

    def monotonic_ns(self) -> int:
        """Ns since the loop was made."""
        return self._loop.now_ns
