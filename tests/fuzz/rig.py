"""The line that a fuzzer holds: a clock that stands still, answers instead of sockets, a sink that notes."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np

from fuzz.honest import Lie
from pr3dict.domain.events import Control
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.clock import EngineTime, VirtualClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy

SECOND: Final = 1_000_000_000
START_NS: Final = 1_795_355_184 * SECOND


class Said(NamedTuple):
    """What comes back to a request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Pace:
    """Time that passes when it is told to (`venues.session.Clock`)."""

    def __init__(self, now_ns: int) -> None:
        self.clock = VirtualClock(now_ns)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ns(self) -> int:
        """Ns UTC."""
        return self.clock.wall_ns()

    async def sleep(self, span_ns: int) -> None:
        """Until `pass_ns` has come so far."""
        self._count += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_ns() + max(0, span_ns), self._count, future))
        await future

    async def pass_ns(self, span_ns: int) -> None:
        """Let time pass; whoever wakes has done all that it can do then."""
        until_ns = self.now_ns() + span_ns
        while self._sleepers and self._sleepers[0][0] <= until_ns:
            at_ns, _, future = heapq.heappop(self._sleepers)
            self.clock.pass_ns(max(0, at_ns - self.now_ns()))
            if not future.done():
                future.set_result(None)
            await idle()
        self.clock.pass_ns(until_ns - self.now_ns())


async def idle() -> None:
    """Until every task waits for time or for an answer."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(10_000):
        await asyncio.sleep(0)
        if not ready:
            return
    raise RuntimeError("a task turns for ever without waiting")


async def with_time(pace: Pace, work: Awaitable[Any]) -> Any:
    """What `work` gives, which may wait for a minute of the world's time."""
    task = asyncio.ensure_future(work)
    await idle()
    for _ in range(60):
        if task.done():
            return await task
        await pace.pass_ns(SECOND)
        await idle()
    task.cancel()
    raise Lie("it waits for ever")


class Line:
    """Instead of aiohttp's session: each request gets the answer of `answer(method, path, body)`."""

    def __init__(self, answer: Callable[[str, str, Any], Said], prefix: str = "") -> None:
        """`prefix`: of all paths."""
        self._answer = answer
        self._prefix = prefix

    def request(self, method: str, url: Any, *, data: bytes | None, **_: Any) -> _Response:
        """One request."""
        path = url.path.removeprefix(self._prefix)
        return _Response(self._answer(method, path, None if data is None else json.loads(data)))

    async def close(self) -> None:
        """Nothing to give back."""


class _Response:
    def __init__(self, said: Said) -> None:
        self.status = said.status
        self.headers = said.headers
        self.content = self
        self._body = said.body

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def iter_any(self) -> AsyncIterator[bytes]:
        """In two parts."""
        half = len(self._body) // 2
        yield self._body[:half]
        yield self._body[half:]


class Heard(LiveSource):
    """The sink of a live process, which also notes what entered since `clear`."""

    def __init__(self, pace: Pace, venue: str, markets: int) -> None:
        super().__init__(Inbox(), EngineTime(pace.clock), {}, dict.fromkeys(range(markets), venue))
        self.rows: list[d.Array] = []
        self.events: list[Control] = []

    def put_rows(self, rows: d.Array) -> None:
        """Market data."""
        self.rows.append(rows.copy())
        super().put_rows(rows)

    def push(self, event: Control) -> None:
        """A control event."""
        self.events.append(event)
        super().push(event)

    def clear(self) -> None:
        """Forget what entered until now."""
        self.rows.clear()
        self.events.clear()


class Rig:
    """One adapter on a line; `script` answers the next requests of a (method, path), the rest goes well.

    A path is what the request's begins with, or all of it where it ends with "$". Whoever fills it in sets
    `wire`, and says what goes well (`normal`).
    """

    wire: Any

    def __init__(self, venue: str, markets: int) -> None:
        self.pace = Pace(START_NS)
        self.sink = Heard(self.pace, venue, markets)
        self.script: list[tuple[str, str, Said]] = []
        self.last: Any = None  # body of the newest request
        self.engine = Engine(RiskConfig(), capacity=markets)
        self.engine.register_strategy(MarketMakingStrategy(config=MarketMakingConfig()))
        self._batches = 0

    def answer(self, method: str, path: str, body: Any) -> Said:
        """What a request gets."""
        self.last = body
        for place, (verb, start, answer) in enumerate(self.script):
            if verb == method and (path == start[:-1] if start[-1] == "$" else path.startswith(start)):
                del self.script[place]
                return answer
        return Said(200, msgspec.json.encode(self.normal(method, path, body)))

    def normal(self, method: str, path: str, body: Any) -> Any:
        """What a healthy exchange answers."""
        raise NotImplementedError

    def listings(self) -> list[Any]:
        """What the engine is told first."""
        raise NotImplementedError

    def fold(self) -> None:
        """The engine takes everything that entered, as the trader hands it on."""
        if not self._batches:
            self.engine.advance(self.pace.now_ns(), np.zeros(0, d.EVENT), self.listings())
        while self.sink.inbox:
            self._batches += 1
            self.sink._last_ns = max(self.sink._last_ns + 1, self.pace.now_ns())
            batch = self.sink.inbox.take(self.sink._last_ns)
            self.engine.advance(batch.now_ns, batch.data, batch.events)

    async def close(self) -> None:
        """End every task."""
        tasks = list(self.wire._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Answer:
    """A status, a body, and what became of it: accepted, refused or unknown."""

    def __init__(
        self, status: int, raw: bytes, sample: str, verdicts: Callable[[Said], set[str]], headers: Any = None
    ) -> None:
        self.said = Said(status, raw, headers or {})
        self.status, self.raw = status, raw
        self.sample = sample
        self.malformed = 0
        self.became = ""
        self._verdicts = verdicts

    @property
    def verdicts(self) -> set[str]:
        """What the venue's table makes of it, for each way to read it."""
        return self._verdicts(self.said)

    def is_judged(self, as_: str) -> None:
        """Taken as the table says."""
        if as_ not in self.verdicts:
            raise Lie(f"status {self.status} was taken as {as_}, the table says {self.verdicts}")
        self.became = as_

    def is_unknown(self) -> None:
        """Nobody knows: by the table, or as an accepted answer that can't be read, which is counted."""
        if "accepted" not in self.verdicts:
            self.is_judged("unknown")
        self.became = "unknown"


def touch_of(touch: tuple[int, int]) -> tuple[int, int]:
    """The engine's best bid and ask; -1: there is none."""
    bid, ask = touch
    return (bid if 0 < bid < 10_000 else -1, ask if 0 < ask < 10_000 else -1)


def same(got: Any, said: Any) -> None:
    """Raises `Lie` where it is not."""
    if got != said:
        raise Lie(f"{str(got)[:200]} is not {str(said)[:200]}")
