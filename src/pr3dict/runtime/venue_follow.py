"""A venue's markets followed over its public stream into a recording: rows, gaps and payouts, no orders.

`record` and `scan` look at markets through this; what trades has an adapter of its own. What only one venue
knows is behind `Watcher` and `Look`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import BookInvalid, Control, FeedDown, FeedUp, Malformed, Settled
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.venue_selection import AnyFound, Selection
from pr3dict.store.recorder import Recorder
from pr3dict.store.tape import TapeMeta
from pr3dict.venues.session import Clock, Sink

TICK_NS: Final = NS_PER_SECOND
FLUSH_NS: Final = 60 * NS_PER_SECOND
UP_NS: Final = 30 * NS_PER_SECOND  # by when the stream must stand for the first time


class Look(Protocol):
    """Markets as one venue tells of them; all that is heard goes into the sink that it was made with."""

    @property
    def names(self) -> Mapping[int, str]:
        """Rows to tickers."""

    @property
    def url(self) -> str:
        """Of the stream."""

    @property
    def is_up(self) -> bool:
        """Whether the stream is followed."""

    @property
    def connections(self) -> int:
        """How often it was connected."""

    def metas(self, session: str) -> Mapping[int, TapeMeta]:
        """What each row's tape says of its market."""

    async def start(self) -> None:
        """Say how the markets stand, and connect.

        Raises `WorkError` where the venue does not answer, `DataError` for nonsense.
        """

    async def tick(self, now_ns: int) -> None:
        """What time brings, once a second."""

    def opening(self, now_ns: int) -> d.Array:
        """All markets as they are: STATUS rows, and what else a beginning needs."""

    def came_up(self) -> None:
        """The stream stands again: what happened to markets while nobody listened is worth a read."""

    def is_paid(self, row: int) -> bool:
        """Whether a market has paid out and says nothing any more."""

    def failure(self) -> BaseException | None:
        """What ended a task of it; None: all live."""

    async def close(self) -> None:
        """Leave."""


class Watcher(Protocol):
    """A venue at which markets are found and looked at, without an account's business."""

    @property
    def venue(self) -> str:
        """Its name."""

    async def find(self, selection: Selection) -> AnyFound:
        """The markets of a selection; raises `ReadFailedError` or `DataError`."""

    def look(self, lives: Sequence[Any], sink: Sink) -> Look:
        """These markets, not connected yet."""

    async def close(self) -> None:
        """Give back the sockets."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What was heard so far; per market by ticker."""

    rows: Mapping[str, int]
    trades: Mapping[str, int]
    gaps: Mapping[str, int]  # times a book could not be trusted any more
    outages: int  # times the venue was heard no more
    malformed: int  # messages that could not be read
    settled: int  # markets that paid out
    is_up: bool

    @property
    def total_rows(self) -> int:
        """Rows of all markets."""
        return sum(self.rows.values())


class Follower:
    """Follows `lives` into a recorder, whose markets it lists; one task, `run`."""

    def __init__(
        self, watcher: Watcher, clock: Clock, lives: Sequence[Any], tape: Recorder, session: str
    ) -> None:
        self.look = watcher.look(lives, self)
        self._venue = watcher.venue
        self._clock = clock
        self._tape = tape
        self._rows: Counter[int] = Counter()
        self._trades: Counter[int] = Counter()
        self._gaps: Counter[int] = Counter()
        self._lost: set[int] = set()  # rows whose book is worthless until the next whole one
        self._outages = 0
        self._malformed = 0
        self._paid: dict[int, tuple[int, bool]] = {}
        self._failure: WorkError | None = None
        for row, meta in self.look.metas(session).items():
            tape.list(row, meta)

    def followed(self) -> Followed:
        """What was heard so far."""

        def by_ticker(counts: Counter[int]) -> dict[str, int]:
            return {ticker: counts[row] for row, ticker in self.look.names.items()}

        return Followed(
            by_ticker(self._rows),
            by_ticker(self._trades),
            by_ticker(self._gaps),
            self._outages,
            self._malformed,
            len(self._paid),
            self.look.is_up,
        )

    # --- the sink ----------------------------------------------------------------------------------

    def put_rows(self, rows: d.Array) -> None:
        """Keep market data; a disk that refuses ends `run`, not the stream's task."""
        if self._failure is not None or not len(rows):
            return
        try:
            self._tape.append(rows)
        except WorkError as error:
            self._failure = error
            return
        markets = rows["market"]
        if len(rows) == 1 or (markets == markets[0]).all():
            self._rows[int(markets[0])] += len(rows)
        else:
            self._rows.update(markets.tolist())
        self._trades.update(markets[rows["kind"] == d.TRADE].tolist())
        if self._lost:
            self._lost.difference_update(markets[rows["kind"] == d.SNAPSHOT].tolist())

    def push(self, event: Control) -> None:
        """Mark on the tape what a control event means for it."""
        now_ns = self._clock.now_ns()
        match event:
            case BookInvalid():
                self._gap(event.market, now_ns, event.why)
            case FeedDown():
                self._outages += 1
                for row in self.look.names:
                    self._gap(row, now_ns, event.why)
            case FeedUp():
                self.look.came_up()
            case Malformed():
                self._malformed += event.count
            case Settled():
                if self._paid.get(event.market) != (event.value_micros, event.refund):
                    self._paid[event.market] = (event.value_micros, event.refund)
                    self._tape.settle(event.market, now_ns, event.value_micros, refund=event.refund)
            case _:
                pass  # proofs of life and clocks are the streams' own business

    def _gap(self, row: int, now_ns: int, why: str) -> None:
        if row not in self._lost:
            self._lost.add(row)
            self._gaps[row] += 1
            self._tape.gap(row, now_ns, why)

    # --- the task ----------------------------------------------------------------------------------

    async def run(
        self,
        seconds: float | None,
        stop: asyncio.Event,
        on_progress: Callable[[Followed], None] | None = None,
    ) -> None:
        """Follow until `stop` is set, `seconds` of the clock are over, or every market has paid out.

        Raises:
            WorkError: the stream never stood, the disk refused, or a task of the venue's ended.
        """
        began_ns = self._clock.now_ns()
        flush_ns = began_ns + FLUSH_NS
        try:
            await self.look.start()
            for left_ns in self._ticks(seconds, stop):
                await self._pause(left_ns, stop)
                now_ns = self._clock.now_ns()
                self._check(now_ns - began_ns)
                await self.look.tick(now_ns)
                if now_ns >= flush_ns:
                    self._tape.flush(wait=False)
                    flush_ns = now_ns + FLUSH_NS
                if on_progress is not None:
                    on_progress(self.followed())
            self._say_until_when()
        finally:
            await self.look.close()

    def _ticks(self, seconds: float | None, stop: asyncio.Event) -> Iterator[int]:
        """How long to wait for the next look, until it is over."""
        until_ns = None if seconds is None else self._clock.now_ns() + round(seconds * NS_PER_SECOND)
        while not stop.is_set() and not self._all_paid():
            left_ns = TICK_NS if until_ns is None else min(TICK_NS, until_ns - self._clock.now_ns())
            if left_ns <= 0:
                return
            yield left_ns

    def _say_until_when(self) -> None:
        """A row at the end: a market that stood still was watched all the same."""
        if self.look.is_up:
            rows = self.look.opening(self._clock.now_ns())
            open_still = (rows["kind"] == d.STATUS) & np.isin(rows["aux"], (d.ACTIVE, d.PAUSED))
            self.put_rows(rows[open_still])

    async def _pause(self, span_ns: int, stop: asyncio.Event) -> None:
        """Until the time has passed or somebody stops us."""
        waits = {
            asyncio.ensure_future(self._clock.sleep(span_ns)),
            asyncio.ensure_future(stop.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _check(self, running_ns: int) -> None:
        if self._failure is not None:
            raise self._failure
        broken = self.look.failure()
        if broken is not None:
            raise WorkError(f"the stream ended ({type(broken).__name__}: {broken})") from broken
        if not self.look.is_up and self._outages == 0 and running_ns > UP_NS:
            tried = self.look.connections
            how = "it answered, but not every subscription" if tried else "no connection could be made"
            raise WorkError(
                f"{self.look.url} did not come up within {UP_NS // NS_PER_SECOND} s ({how}); run "
                f"`pr3dict doctor --venue {self._venue}`"
            )

    def _all_paid(self) -> bool:
        rows = self.look.names
        return len(self._paid) == len(rows) and all(map(self.look.is_paid, rows))
