"""An event loop in virtual time: the coroutines of a venue's adapter run on it, in one order for one seed.

Nothing waits for sockets or threads: what is ready runs at once, what sleeps is an action of the world's
heap. While the machine sleeps (`awake_ns`) nothing runs.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from simulation.world import World


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as futures, tasks, locks and events need."""

    def __init__(self, world: World, awake_ns: Callable[[], int]) -> None:
        """`awake_ns()` is when the machine wakes up; a time in the past: it is awake."""
        self._world = world
        self._awake_ns = awake_ns
        self._ready: deque[asyncio.Handle] = deque()
        self._wakes_ns = 0
        self.failure: BaseException | None = None

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self._world.now_ns / 1e9

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._world.at(round(when * 1e9), self._due, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _due(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            self._ready.append(handle)
            self.run()

    def _timer_handle_cancelled(self, handle: asyncio.Handle) -> None:
        """What is due looks at it."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **_: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        return asyncio.Task(coro, loop=self)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failure = self.failure or error or RuntimeError(str(context.get("message")))

    # --- virtual time

    async def sleep(self, span_ns: int) -> None:
        """Return `span_ns` later."""
        future = self.create_future()
        self._world.after(max(span_ns, 0), self.resolve, future, None)
        await future

    def resolve(self, future: asyncio.Future[Any], value: object) -> None:
        """Give a future its value, unless it has one, and let everything run that this wakes."""
        if not future.done():
            future.set_result(value)
            self.run()

    def run(self, callback: Callable[..., object] | None = None, *args: Any) -> None:
        """Call `callback` inside the loop, and run what is ready; later, while the machine sleeps."""
        if callback is not None:
            self.call_soon(callback, *args)
        wake_ns = self._awake_ns()
        if wake_ns > self._world.now_ns:
            if self._wakes_ns < wake_ns:
                self._wakes_ns = wake_ns
                self._world.at(wake_ns, self.run)
            return
        before = events._get_running_loop()
        if before is self:
            return  # what runs now will run it
        events._set_running_loop(self)
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            events._set_running_loop(before)
