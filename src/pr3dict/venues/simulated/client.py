"""A `Source` over the exchange server's socket: reconnects, measures, notices holes, and knows what it lost.

A request without an answer is lost, never refused: by a time limit or with the connection. A new order that
finds no connection has surely not left. A hole in the numbers of the market data makes every book invalid and
asks for all of them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, assert_never

import numpy as np

from pr3dict.domain.commands import (
    Action,
    Cancel,
    Place,
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
    Reduce,
    Renew,
    Resubscribe,
)
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.events import (
    AnswerLost,
    BookInvalid,
    Control,
    FeedAlive,
    FeedDown,
    FeedUp,
    Listed,
    NotSent,
    Read,
    ReadFailed,
    Sent,
)
from pr3dict.domain.events import Request as RequestWord
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.ports import Batch
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated import wire
from pr3dict.venues.simulated.exchange import NO_DATA
from pr3dict.venues.simulated.link import Request
from pr3dict.venues.simulated.server import LOOPBACK
from pr3dict.venues.simulated.source import Pace, Pacer

ANSWER_NS: Final = 5 * NS_PER_SECOND
PING_NS: Final = NS_PER_SECOND
SILENT_NS: Final = 5 * NS_PER_SECOND  # without a pong the connection counts as dead
BACKOFF_NS: Final = tuple(ms * 1_000_000 for ms in (50, 100, 200, 400, 800, 1_600, 3_200))
MAX_ROWS: Final = 1 << 18  # that wait for the engine
NO_CONNECTION: Final = "no connection"
_REQUESTS: Final[dict[type, RequestWord]] = {
    Place: "place", Cancel: "cancel", Reduce: "reduce", Renew: "renew",
}  # fmt: skip
_READS: Final[dict[type, Read]] = {
    ReadOrders: "orders", ReadOrder: "order", ReadFills: "fills",
    ReadPositions: "positions", ReadBalance: "balance", ReadBook: "book",
}  # fmt: skip


class _Asked(NamedTuple):
    command: Request
    due_ns: int  # of our clock: later, its answer counts as lost


class ExchangeClient:
    """The account at an exchange server, as a `Source`. `connect` first; then `rows` may number its markets.

    `pacer` is this machine's clock; batches carry the exchange's time. `rows[m]` is the engine's row of the
    exchange's market m, by default m.
    """

    def __init__(
        self,
        port: int,
        pacer: Pacer,
        *,
        host: str = LOOPBACK,
        not_before_ns: int = 0,
        answer_ns: int = ANSWER_NS,
    ) -> None:
        """`not_before_ns`: the time at which an earlier process of the same journal ended."""
        self.rows: Sequence[int] = ()
        self.welcome: wire.Welcome | None = None
        self._host, self._port = host, port
        self._pacer = pacer
        self._answer_ns = answer_ns
        self._last_ns = not_before_ns
        self._pace: Pace | None = None  # the exchange's time by our clock
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, _Asked] = {}
        self._asks = 0
        self._seq = 0
        self._pong_ns = 0
        self._data: list[d.Array] = []
        self._waiting_rows = 0
        self._events: list[Control] = []
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- connection -------------------------------------------------------------------------------

    async def connect(self) -> tuple[Listed, ...]:
        """Open the first connection; returns the exchange's markets.

        Raises:
            WorkError: nobody listens there, or something else than an exchange does.
        """
        try:
            await self._open()
        except (OSError, DataError, ValueError) as error:
            where = f"{self._host}:{self._port}"
            raise WorkError(f"no exchange answers at {where} ({error}); start `pr3dict exchange`") from None
        assert self.welcome is not None
        self.rows = self.rows or [listing.market for listing in self.welcome.listings]
        return self.welcome.listings

    async def _open(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=wire.MAX_LINE_BYTES)
        first: wire.FromServer | None = None
        try:
            writer.write(wire.encode(wire.Hello()))
            first = wire.decode_answer(await reader.readline())
        finally:
            if not isinstance(first, wire.Welcome):
                writer.close()
        if not isinstance(first, wire.Welcome):
            raise DataError("the first line is no welcome")
        self._follow(first.now_ns, first.speed)
        self.welcome = first
        self._reader, self._writer = reader, writer
        self._seq = 0
        self._pong_ns = self._pacer.now_ns()

    def _follow(self, venue_ns: int, speed: float) -> None:
        """The exchange's time is at least this: ours never stays behind what it said."""
        if self._pace is None or venue_ns > self._pace.now_ns():
            self._pace = Pace(self._pacer, venue_ns, speed)
            self._pace.now_ns()

    @property
    def venues(self) -> tuple[Venue, ...]:
        """Of its markets, in order."""
        listings = () if self.welcome is None else self.welcome.listings
        return tuple(dict.fromkeys(listing.venue for listing in listings))

    def _start(self) -> None:
        """Begin to listen, once, when the first batch is asked for: the rows are numbered by then."""
        if not self._tasks:
            self._put(FeedUp(venue=venue) for venue in self.venues)
            self._tasks = [asyncio.create_task(work) for work in (self._listen(), self._watch())]

    async def _listen(self) -> None:
        while True:
            why = "the connection was closed"
            try:
                await self._hear_all()
            except (OSError, ValueError, DataError) as error:
                why = str(error)
            self._drop(why)
            await self._reconnect()
            self._put(FeedUp(venue=venue) for venue in self.venues)

    async def _hear_all(self) -> None:
        assert self._reader is not None
        while line := await self._reader.readline():
            self._hear(wire.decode_answer(line))

    def _drop(self, why: str) -> None:
        """The connection is gone: so is every answer that was on its way."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        for asked in self._asked.values():
            self._put(self._lost(asked.command, why))
        self._asked.clear()
        self._put(FeedDown(venue=venue, why=why) for venue in self.venues)

    async def _reconnect(self) -> None:
        tries = 0
        while self._writer is None:
            wait_ns = BACKOFF_NS[min(tries, len(BACKOFF_NS) - 1)]
            await self._pacer.sleep_until(self._pacer.now_ns() + wait_ns)
            tries += 1
            with suppress(OSError, DataError, ValueError):
                await self._open()

    async def _watch(self) -> None:
        """Pings, time limits of answers, and the end of a connection that says nothing."""
        while True:
            now_ns = self._pacer.now_ns()
            for number, asked in list(self._asked.items()):
                if asked.due_ns <= now_ns:
                    del self._asked[number]
                    self._put(self._lost(asked.command, "timeout"))
            if self._writer is not None:
                if now_ns - self._pong_ns > SILENT_NS:
                    self._writer.close()  # ends the listening, which opens the next one
                else:
                    self._write(wire.Ping(id=now_ns))
            await self._pacer.sleep_until(now_ns + PING_NS)

    # --- what we hear -----------------------------------------------------------------------------

    def _hear(self, line: wire.FromServer) -> None:
        match line:
            case wire.Data():
                self._hear_data(line)
            case wire.Told(events=events):
                self._put(events)
            case wire.Answered(id=number, events=events):
                self._asked.pop(number, None)  # an answer after its time limit is evidence all the same
                self._put(events)
            case wire.Pong(now_ns=venue_ns):
                assert self.welcome is not None
                self._follow(venue_ns, self.welcome.speed)
                self._pong_ns = self._pacer.now_ns()
                self._put(FeedAlive(venue=venue, venue_ns=venue_ns) for venue in self.venues)
            case wire.Welcome() | wire.Truth():
                pass
            case _:
                assert_never(line)

    def _hear_data(self, data: wire.Data) -> None:
        if data.seq != self._seq + 1:
            self._lose_books("gap")
        self._seq = data.seq
        rows = wire.decode_rows(data.rows)
        if self._waiting_rows + len(rows) > MAX_ROWS:
            self._data.clear()
            self._waiting_rows = 0
            self._lose_books("overflow")
            return
        rows["market"] = np.asarray(self.rows, np.int32)[rows["market"]]
        self._data.append(rows)
        self._waiting_rows += len(rows)
        self._woken.set()

    def _lose_books(self, why: str) -> None:
        """Some rows never came: no book counts before its next snapshot, which is asked for at once."""
        for market, row in enumerate(self.rows):
            self._events.append(BookInvalid(market=row, why=why))
            self._ask(Resubscribe(market=market))

    def _put(self, events: Iterable[Control]) -> None:
        self._events.extend(wire.renumbered(event, self.rows) for event in events)
        self._woken.set()

    # --- our side ---------------------------------------------------------------------------------

    async def next(self, until_ns: int) -> Batch:
        """All that has come, or nothing at `until_ns` of the exchange's time."""
        self._start()
        assert self._pace is not None
        while True:
            for task in self._tasks:
                if task.done():
                    task.result()
            if self._events or self._data or until_ns <= max(self._pace.now_ns(), self._last_ns):
                return self._batch()
            await self._pace.sleep_until(until_ns, self._woken)
            self._woken.clear()

    def _batch(self) -> Batch:
        assert self._pace is not None
        data = np.concatenate(self._data) if self._data else NO_DATA
        events = tuple(self._events)
        self._data.clear()
        self._events.clear()
        self._waiting_rows = 0
        newest_ns = int(data["exch_ns"].max()) if len(data) else 0
        self._last_ns = max(self._last_ns, self._pace.now_ns(), newest_ns)
        if len(data):
            data["local_ns"] = self._last_ns
        return Batch(self._last_ns, data, events)

    def push(self, event: Control) -> None:
        """An event of this machine: the next batch has it."""
        self._events.append(event)
        self._woken.set()

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Commands leave at once, or are known to be lost at once."""
        for command in commands:
            if not isinstance(command, Request):
                continue
            theirs = wire.renumbered(command, self._theirs)
            if self._writer is None or self._writer.is_closing():
                self._events.extend(self._not_left(theirs))
                self._woken.set()
                continue
            self._ask(theirs, now_ns)
            if isinstance(command, Place):
                self._events.append(Sent(order_id=command.order_id))
                self._woken.set()

    @property
    def _theirs(self) -> dict[int, int]:
        """The exchange's number of each of our rows."""
        return {row: market for market, row in enumerate(self.rows)}

    def _ask(self, command: Request, now_ns: int = 0) -> None:
        self._asks += 1
        self._asked[self._asks] = _Asked(command, self._pacer.now_ns() + self._answer_ns)
        self._write(wire.Ask(id=self._asks, asked_ns=now_ns, command=command))

    def _lost(self, command: Request, why: str) -> tuple[Control, ...]:
        """A request (of the exchange's markets) whose answer will not come."""
        request, read = _REQUESTS.get(type(command)), _READS.get(type(command))
        if isinstance(command, Place | Cancel | Reduce | Renew) and request is not None:
            return (AnswerLost(order_id=command.order_id, request=request, why=why),)
        if read is None or self.welcome is None or isinstance(command, Place | Cancel | Reduce | Renew):
            return ()  # who waits for a snapshot or for all to be cancelled looks at what comes of it
        venue = command.venue if hasattr(command, "venue") else self.welcome.listings[command.market].venue
        return (ReadFailed(venue=venue, read=read, why=why),)

    def _not_left(self, command: Request) -> tuple[Control, ...]:
        """A request that finds no connection."""
        if isinstance(command, Place):
            return (NotSent(order_id=command.order_id, why=NO_CONNECTION),)
        return self._lost(command, NO_CONNECTION)

    def _write(self, line: wire.Line) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(wire.encode(line))

    async def close(self) -> None:
        """Send what waits, and leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
