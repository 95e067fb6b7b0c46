"""The paper venue in our own process: a recording and the simulated exchange, paced by a clock or not at all.

Time is the recording's. At `speed` x one second of the clock is x seconds of it; without a speed nobody
waits. What arrives when does not depend on the speed, so a run gives the same batches at any; only what is
pushed in from outside comes when it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pr3dict.domain.commands import Action
from pr3dict.domain.events import Control
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.ports import Batch
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.link import Link


class Pacer(Protocol):
    """The time that passes outside: any clock that can be waited for."""

    def now_ns(self) -> int:
        """Ns; never runs back."""

    async def sleep_until(self, at_ns: int) -> None:
        """Return when `now_ns` is `at_ns` or a little later."""


class Pace:
    """Virtual time against a clock's: `speed` seconds a second from the first question on."""

    def __init__(self, pacer: Pacer, start_ns: int, speed: float) -> None:
        self._pacer = pacer
        self._speed = speed
        self._start_ns = start_ns
        self._began_ns = -1

    def now_ns(self) -> int:
        """The virtual time."""
        now_ns = self._pacer.now_ns()
        if self._began_ns < 0:
            self._began_ns = now_ns
        return self._start_ns + round((now_ns - self._began_ns) * self._speed)

    async def sleep_until(self, at_ns: int, woken: asyncio.Event) -> None:
        """Wait for a virtual time, or until somebody wakes us."""
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(woken.wait())]
        if at_ns < NEVER_NS:
            due_ns = self._began_ns + int((at_ns - self._start_ns) / self._speed) + 1
            tasks.append(asyncio.create_task(self._pacer.sleep_until(due_ns)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class SimulatedSource:
    """A `Source` (engine/ports.py) over a simulated exchange that holds the recording `events`.

    `events` are EVENT rows by `local_ns`. `speed` None: as fast as it goes, `pacer` is not asked. The feeds
    of its venues come up with the first row and prove that they are alive each `alive_ns` of virtual time;
    0: neither. `queue_ns` is as in `Link`. A shell that runs without a speed ends when `is_over`.
    """

    def __init__(
        self,
        exchange: SimulatedExchange,
        events: d.Array,
        pacer: Pacer,
        *,
        speed: float | None = 1.0,
        entry_ns: int,
        response_ns: int,
        alive_ns: int = NS_PER_SECOND,
        queue_ns: int = 0,
        start_ns: int | None = None,
    ) -> None:
        """`start_ns`: the virtual time at which the clock starts; by default the first row's."""
        self.link = Link(
            exchange,
            events,
            entry_ns=entry_ns,
            response_ns=response_ns,
            alive_ns=alive_ns,
            queue_ns=queue_ns,
        )
        if start_ns is None:
            start_ns = int(events[0]["local_ns"]) if len(events) else exchange.now_ns
        self._pace = None if speed is None else Pace(pacer, start_ns, speed)
        self._last_ns = start_ns
        self._pushed: list[tuple[int, Control]] = []
        self._woken = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """The recording has ended and nothing is on its way: only timers and people make more batches."""
        return self.link.is_over and not self._pushed

    @property
    def now_ns(self) -> int:
        """The virtual time; without a speed that of the last batch."""
        return max(self._last_ns, self._pace.now_ns()) if self._pace is not None else self._last_ns

    async def next(self, until_ns: int) -> Batch:
        """The next instant at which something arrives, at the latest `until_ns` (now, if that is past)."""
        while True:
            latest_ns = max(until_ns, self._last_ns)
            if self._pushed:
                latest_ns = min(latest_ns, max(self._pushed[0][0], self._last_ns))
            at_ns = self._arrival_ns(latest_ns)
            if at_ns >= 0:
                return self._batch(max(at_ns, self._last_ns))
            if self._pace is None:
                await self._woken.wait()
            else:
                await self._pace.sleep_until(min(latest_ns, self.link.earliest_ns), self._woken)
            self._woken.clear()

    def _arrival_ns(self, latest_ns: int) -> int:
        """The next instant, -1 while it lies ahead or there is none."""
        if self._pace is None:
            at_ns = self.link.next_ns(latest_ns)
            return at_ns if at_ns < NEVER_NS else -1
        # The exchange must not run ahead of the clock: a push may make an instant at any time from now on.
        now_ns = self._pace.now_ns()
        at_ns = self.link.next_ns(min(latest_ns, now_ns))
        return at_ns if at_ns == latest_ns or self.link.arrives_by(at_ns) else -1

    def _batch(self, now_ns: int) -> Batch:
        self._last_ns = now_ns
        data, events = self.link.take(now_ns)
        pushed = [event for at_ns, event in self._pushed if at_ns <= now_ns]
        del self._pushed[: len(pushed)]
        return Batch(now_ns, data, (*pushed, *events))

    def push(self, event: Control) -> None:
        """An event of this machine makes an instant at the virtual time of now."""
        self._pushed.append((self.now_ns, event))
        self._woken.set()

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Commands leave at the virtual time `now_ns`, that of the last batch."""
        self.link.send(now_ns, commands)
        self._woken.set()

    async def close(self) -> None:
        """What has left still arrives, so that the exchange's truth is that of all that was sent."""
        self.link.flush()
