"""What waits between the tasks of the venues and the engine: bounded, with a declared rule for "full".

Market data may be dropped, never in silence: when there is no room, all waiting changes of books and trades
go, their books are invalid until the next whole snapshot (`BookInvalid`), and the rows are counted. Control
events (and rows that no snapshot repeats: status, tick, close time, news) are never dropped: when those fill
their bound, the process ends, for it no longer follows what it trades on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from pr3dict.domain.commands import Action, CancelAll, ReadBalance, ReadFills, ReadOrders, ReadPositions
from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import BookInvalid, Control, FeedDown, Listed
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.ports import Batch
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime

MAX_ROWS = 1 << 18
MAX_EVENTS = 1 << 16
LONGEST_WAIT_NS = 3600 * NS_PER_SECOND  # event loops refuse timers of centuries
REPEATED = (d.LEVEL, d.TRADE, d.SNAPSHOT)  # kinds of rows that a whole snapshot makes up for


class InboxFull(WorkError):
    """Control events come faster than the engine takes them: the process must end."""


class Inbox:
    """A queue of EVENT rows and one of control events, taken together.

    What is taken keeps its order where order matters: rows that came before an event which makes their book
    worthless (`BookInvalid`, `FeedDown`) are never handed out after it.
    """

    def __init__(self, *, max_rows: int = MAX_ROWS, max_events: int = MAX_EVENTS) -> None:
        self.max_rows = max_rows
        self.max_events = max_events
        self.dropped_rows = 0
        self.overflows = 0
        self._rows: d.Array = np.zeros(max_rows, d.EVENT)
        self._count = 0
        self._events: list[Control] = []
        self._cuts: list[tuple[int, int]] = []  # (rows, events) that go out before the rest

    def __len__(self) -> int:
        """Rows and events that wait."""
        return self._count + len(self._events)

    def put_rows(self, rows: d.Array) -> None:
        """Copy market data in; `local_ns` is set when it is taken.

        Raises:
            InboxFull: rows that can't be dropped fill the queue.
        """
        if self._count + len(rows) > self.max_rows:
            rows = self._overflow(rows)
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def put(self, event: Control) -> None:
        """Take a control event in.

        Raises:
            InboxFull: `max_events` wait already.
        """
        if len(self._events) >= self.max_events:
            raise InboxFull(
                f"{self.max_events:,} control events wait for the engine, which is the bound; the process "
                "ends because it can't follow its orders any more: restart it with fewer markets"
            )
        if isinstance(event, BookInvalid | FeedDown) and self._count > self._cut_rows():
            self._cuts.append((self._count, len(self._events)))
        self._events.append(event)

    def take(self, now_ns: int) -> Batch:
        """What waits, stamped with `now_ns`, up to the first event that must not overtake rows."""
        rows, events = self._cuts.pop(0) if self._cuts else (self._count, len(self._events))
        data = self._rows[:rows].copy()
        data["local_ns"] = now_ns
        taken = tuple(self._events[:events])
        left = self._count - rows
        if left:
            self._rows[:left] = self._rows[rows : self._count].copy()
        self._count = left
        del self._events[:events]
        self._cuts = [(r - rows, e - events) for r, e in self._cuts]
        return Batch(now_ns, data, taken)

    def _cut_rows(self) -> int:
        return self._cuts[-1][0] if self._cuts else 0

    def _overflow(self, more: d.Array) -> d.Array:
        """Drop what a snapshot repeats, of what waits and of `more`; returns what is left of `more`."""
        waiting = self._rows[: self._count]
        lost_waiting, lost = np.isin(waiting["kind"], REPEATED), np.isin(more["kind"], REPEATED)
        kept = np.concatenate((waiting[~lost_waiting], more[~lost]))
        if len(kept) > self.max_rows:
            raise InboxFull(
                f"{len(kept):,} rows of market status wait for the engine, the bound is {self.max_rows:,}; "
                "the process ends because none of them may be dropped: restart it with fewer markets"
            )
        markets = np.union1d(waiting["market"][lost_waiting], more["market"][lost])
        self.overflows += 1
        self.dropped_rows += int(lost_waiting.sum() + lost.sum())
        self._count = 0
        self._cuts.clear()
        self._invalidate(markets.tolist())
        return kept

    def _invalidate(self, markets: Iterable[int]) -> None:
        """Say once of each market that its book is lost; beyond `max_events`, bounded by the markets."""
        said = {e.market for e in self._events if isinstance(e, BookInvalid) and e.why == "overflow"}
        self._events += [BookInvalid(market=m, why="overflow") for m in markets if m not in said]


class Wire(Protocol):
    """The sending half of a venue adapter."""

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Pass on commands without waiting; what comes of them is put into the inbox."""

    async def close(self) -> None:
        """Give back sockets and tasks."""


class LiveSource:
    """The `Source` of a process with live venues: one inbox, one clock, a wire for each venue.

    `venues` says where each market trades; `Listed` events that pass through add theirs.
    """

    def __init__(
        self, inbox: Inbox, clock: EngineTime, wires: Mapping[Venue, Wire], venues: Mapping[int, Venue]
    ) -> None:
        self.inbox = inbox
        self._clock = clock
        self._wires = dict(wires)
        self._venues = dict(venues)
        self._arrived = asyncio.Event()
        self._last_ns = 0

    def add_wire(self, venue: Venue, wire: Wire) -> None:
        """A venue's adapter, where it needs this source as its sink before it can be made."""
        self._wires[venue] = wire

    def put_rows(self, rows: d.Array) -> None:
        """What an adapter calls with market data (see `Inbox.put_rows`)."""
        self.inbox.put_rows(rows)
        self._arrived.set()

    def push(self, event: Control) -> None:
        """Hand in an event, of this machine or of an adapter (see `Inbox.put`)."""
        if isinstance(event, Listed):
            self._venues[event.market] = event.venue
        self.inbox.put(event)
        self._arrived.set()

    async def next(self, until_ns: int) -> Batch:
        """Everything that waits as one batch; an empty one when nothing came until `until_ns`.

        No two batches have the same time: rows of a tape and journaled events are joined by it again.
        """
        await asyncio.sleep(0)  # under load, too, the adapters get their turn
        while not self.inbox:
            left_ns = until_ns - self._clock.now_ns()
            if left_ns <= 0:
                break
            await self._wait(min(left_ns, LONGEST_WAIT_NS))
        self._last_ns = max(self._last_ns + 1, self._clock.now_ns())
        return self.inbox.take(self._last_ns)

    async def _wait(self, span_ns: int) -> None:
        """Until something arrives, at most this long."""
        self._arrived.clear()
        timer = asyncio.get_running_loop().call_later(span_ns / NS_PER_SECOND, self._arrived.set)
        try:
            await self._arrived.wait()
        finally:
            timer.cancel()

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Pass commands to their venues, in order; those for nobody's venue are a fault of the caller.

        Raises:
            KeyError: a command names a market that was never listed, or a venue without a wire.
        """
        parts: dict[Venue, list[Action]] = {}
        for command in commands:
            parts.setdefault(self._venue_of(command), []).append(command)
        for venue, part in parts.items():
            self._wires[venue].send(now_ns, part)

    async def close(self) -> None:
        """Close every wire, whatever one of them says; the first error is raised at the end."""
        answers = await asyncio.gather(
            *(wire.close() for wire in self._wires.values()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _venue_of(self, command: Action) -> Venue:
        if isinstance(command, CancelAll | ReadOrders | ReadFills | ReadPositions | ReadBalance):
            return command.venue
        return self._venues[command.market]  # type: ignore[union-attr]
