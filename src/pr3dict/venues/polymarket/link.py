"""One WebSocket of Polymarket that is kept up: hello, PING and PONG, and a new connection when it is lost.

A connection counts as up once a PING was answered after its hello: the venue confirms no subscription and
gives no reason when it hangs up. That it is up proves nothing about what it carries; that is checked by who
hears it (`PolymarketStreams`, `BookWatch`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import aiohttp
import msgspec

from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.session import Clock, Reconnects

PING_NS: Final = 3 * NS_PER_SECOND
LOOK_NS: Final = NS_PER_SECOND // 2
SILENT_NS: Final = 10 * NS_PER_SECOND  # a PING that waits longer than this for its PONG: nobody is there
MAX_FRAME: Final = 64 << 20
_encode: Final = msgspec.json.Encoder().encode


class StreamLost(Exception):
    """The connection is of no more use; its text says why."""


class Listener:
    """What one connection carries: who is told of its life, and what it says."""

    def hello(self) -> list[dict[str, Any]]:
        """What to say first on a new connection."""
        raise NotImplementedError

    def hear(self, raw: bytes) -> None:
        """One frame; raises `StreamLost` where the connection is of no more use."""
        raise NotImplementedError

    def went_up(self) -> None:
        """A PING was answered for the first time."""

    def answered(self) -> None:
        """A PING was answered."""

    def went_down(self, why: str) -> None:
        """The connection is gone (or was not to be had)."""

    def look(self, now_ns: int) -> list[dict[str, Any]]:
        """What to say now, asked some times a second; raises `StreamLost`."""
        raise NotImplementedError


class Link:
    """The life of one connection.

    Attributes:
        alive_ns: when the newest PING that was answered had been sent; 0: none on this connection.
        connections: how often it was connected.
    """

    def __init__(self, url: str, clock: Clock, reconnects: Reconnects, listener: Listener) -> None:
        self.url = url
        self.alive_ns = 0
        self.connections = 0
        self._clock = clock
        self._reconnects = reconnects
        self._listener = listener
        self._ws: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._pings: deque[int] = deque()
        self._pinged_ns = 0
        self._why_closed = ""
        self._up = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it is connected and answers."""
        return self._up

    def start(self) -> None:
        """Connect, and stay connected, until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._live())

    def failure(self) -> BaseException | None:
        """What ended it for good; None: it lives."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def drop(self, why: str) -> None:
        """Give this connection up; the next one is made at once or after a pause."""
        if self._ws is not None and not self._why_closed:
            self._why_closed = why

    # --- life -------------------------------------------------------------------------------------

    async def _live(self) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                why = await self._once(session)
                self._ws = None
                self._why_closed = ""
                self._up = False
                self.alive_ns = 0
                self._pings.clear()
                self._listener.went_down(why)
                await self._clock.sleep(self._reconnects.down_ns(self._clock.now_ns()))

    async def _once(self, session: aiohttp.ClientSession) -> str:
        """One connection from its handshake to its end; returns why it ended."""
        try:
            ws = await session.ws_connect(
                self.url, max_msg_size=MAX_FRAME, decode_text=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"no connection: {type(error).__name__}"
        self._ws = ws
        self.connections += 1
        watch = asyncio.create_task(self._watch(ws))
        try:
            for message in self._listener.hello():
                await ws.send_str(_encode(message).decode())
            await self._ping(ws)
            return await self._hear_all(ws)
        except (StreamLost, aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__
        finally:
            watch.cancel()
            ended = await asyncio.gather(watch, return_exceptions=True)
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await ws.close()
            for fault in ended:
                if isinstance(fault, Exception):
                    raise fault

    async def _hear_all(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> str:
        while True:
            message = await ws.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                if message.data == b"PONG":
                    self._ponged()
                else:
                    self._listener.hear(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"the connection broke: {type(ws.exception()).__name__}"
            else:
                return self._why_closed or f"the venue closed the connection ({ws.close_code})"

    async def _ping(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._pinged_ns = self._clock.now_ns()
        self._pings.append(self._pinged_ns)
        await ws.send_str("PING")

    def _ponged(self) -> None:
        if not self._pings:
            return
        self.alive_ns = self._pings.popleft()
        if not self._up:
            self._up = True
            self._reconnects.up(self._clock.now_ns())
            self._listener.went_up()
        self._listener.answered()

    async def _watch(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Say what is to be said, PING, and end the connection where it must end."""
        while True:
            await self._clock.sleep(LOOK_NS)
            now_ns = self._clock.now_ns()
            if self._pings and now_ns - self._pings[0] > SILENT_NS:
                self.drop(f"no PONG came for {(now_ns - self._pings[0]) / NS_PER_SECOND:.1f} s")
            try:
                messages = self._listener.look(now_ns)
            except StreamLost as error:
                self.drop(str(error))
                messages = []
            if self._why_closed:
                await ws.close()
                return
            with suppress(aiohttp.ClientError, OSError):  # who receives notices that it is over
                for message in messages:
                    await ws.send_str(_encode(message).decode())
                if now_ns - self._pinged_ns >= PING_NS:
                    await self._ping(ws)
