"""What every process follows of Kalshi beside orders: its markets' lives and fees, and whether it is open.

Shared by the adapter that trades and by paper trading on live data. Each look is a task; one that dies of a
fault of its own is remembered (`failure`), for who trades on stale facts must end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control, Malformed, VenueStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.fee_watch import FeeWatch
from pr3dict.venues.kalshi.frames import LifecycleFrame, LifecycleMessage
from pr3dict.venues.kalshi.hours import is_break_near, trades_at
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.models import Schedule
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Clock, Sink

STATUS_NS: Final = 5 * NS_PER_SECOND
LIFE_NS: Final = NS_PER_SECOND
SCHEDULE_NS: Final = 600 * NS_PER_SECOND
REREAD_NS: Final = 60 * NS_PER_SECOND
RETRY_NS: Final = 5 * NS_PER_SECOND
OPENINGS: Final = ("created", "activated")


class VenueWatch:
    """Lives, fees and hours of the markets in `lives`; what is new goes into `sink`.

    `on_opening` hears that a market which is not among them was created or activated.
    """

    def __init__(
        self, rest: KalshiRest, lives: Lives, sink: Sink, clock: Clock, streams: KalshiStreams | None
    ) -> None:
        self.rest = rest
        self.lives = lives
        self.streams = streams
        self.fees = FeeWatch(rest, lives)
        self.on_opening: Callable[[LifecycleMessage], None] | None = None
        self._sink = sink
        self._clock = clock
        self._status = ""
        self._schedule = Schedule()
        self._schedule_due_ns = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._failure: BaseException | None = None

    # --- tasks ------------------------------------------------------------------------------------

    async def _start_following(self) -> None:
        """Say how the markets stand, connect the streams, watch status and times.

        Raises:
            ReadFailedError: the markets can't be asked.
            DataError: what they say of themselves can't be read.
        """
        self._sink.put_rows(self.lives.opening(self._clock.now_ns()))
        await self._read_markets(tuple(self.lives.rows))  # what paid out meanwhile, before money is compared
        if self.streams is not None:
            self.streams.start()
        self._spawn(self._watch_status())
        self._spawn(self._watch_lives())

    async def prepare(self, shard: int) -> None:
        """See to it that markets of a shard can be followed; raises `WorkError` where they can't."""

    async def follow(self, lives: Iterable[Life]) -> None:
        """Follow more markets; their `Listed` events went into the sink before."""
        more = {life.listing.ticker: life for life in lives}
        self.lives.add(more.values())
        self.fees.due_ns = 0  # what their events say of fees is not known yet
        self._sink.put_rows(self.lives.opening(self._clock.now_ns(), more))
        if self.streams is not None:
            await self.streams.add_markets({ticker: self.lives.rows[ticker] for ticker in more})

    async def leave(self, tickers: Iterable[str]) -> None:
        """Hear nothing more of these books; the markets are looked after until `lives.leave`."""
        if self.streams is not None:
            await self.streams.remove_markets(tickers)

    def failure(self) -> BaseException | None:
        """What killed a task of this adapter, so that it can't be trusted any more; None: all live."""
        return self._failure or (None if self.streams is None else self.streams.failure())

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, *events: Control) -> None:
        for event in events:
            self._sink.push(event)

    def _malformed(self, what: str) -> None:
        if what:
            self._tell(Malformed(venue="kalshi", count=1, why=what[:200]))

    # --- what we hear -----------------------------------------------------------------------------

    def _hear_life(self, frame: LifecycleFrame, now_ns: int) -> None:
        rows, events = self.lives.hear(frame.msg, now_ns)
        if len(rows):
            self._sink.put_rows(rows)
        self._tell(*events)
        known = frame.msg.market_ticker in self.lives
        if frame.msg.event_type == "settled" and not events and known:
            self._spawn(self._ask_payout(frame.msg.market_ticker))
        if frame.msg.event_type in OPENINGS and not known and self.on_opening is not None:
            self.on_opening(frame.msg)

    # --- what time brings -------------------------------------------------------------------------

    async def _watch_status(self) -> None:
        """The exchange as a whole: the worst state of a shard that we trade on, and breaks that are near."""
        while True:
            await self._reschedule()
            try:
                status = await self.rest.status()
                states = [status.of_shard(shard) for shard in self.lives.shards()] or [status.of_shard(0)]
                near, word = is_break_near(self._schedule, self._clock.now_ns()), "open"
                if not all(active for active, _ in states):
                    word = "closed"
                elif near or not all(trading for _, trading in states):
                    word = "paused"
                if word != self._status:
                    self._status = word
                    self._tell(VenueStatus(venue="kalshi", status=word))  # type: ignore[arg-type]
            except (ReadFailedError, DataError):
                pass  # a venue that does not answer is noticed by its streams
            await self._clock.sleep(STATUS_NS)

    async def _reschedule(self) -> None:
        """Read now and then when the exchange means to pause."""
        now_ns = self._clock.now_ns()
        if now_ns < self._schedule_due_ns:
            return
        self._schedule_due_ns = now_ns + SCHEDULE_NS
        try:
            schedule = await self.rest.schedule()
            trades_at(schedule, now_ns)  # refuses hours that can't be read
            self._schedule = schedule
        except (ReadFailedError, DataError) as error:
            self._schedule_due_ns = now_ns + REREAD_NS
            self._malformed(str(error) if isinstance(error, DataError) else "")

    async def _watch_lives(self) -> None:
        """Opening and closing by the clock; every minute what the markets say of themselves.

        After a new connection at once: what paid out unheard would look like money that nobody can explain.
        """
        due_ns = self._clock.now_ns() + REREAD_NS
        heard = 1  # connections
        while True:
            await self._clock.sleep(LIFE_NS)
            now_ns = self._clock.now_ns()
            rows = self.lives.tick(now_ns)
            if len(rows):
                self._sink.put_rows(rows)
            if now_ns >= self.fees.due_ns:
                await self._refees(now_ns)
            self._tell(*self.fees.changes(now_ns))
            connections = 1 if self.streams is None else max(1, self.streams.connections)
            if now_ns >= due_ns or connections != heard:
                done = await self._reread(self.lives.watched)
                await self._each_minute()
                due_ns = self._clock.now_ns() + (REREAD_NS if done else RETRY_NS)
                heard = connections

    async def _refees(self, now_ns: int) -> None:
        try:
            await self.fees.look(now_ns)
        except (ReadFailedError, DataError) as error:
            self.fees.due_ns = now_ns + REREAD_NS
            self._malformed(str(error) if isinstance(error, DataError) else "")

    async def _reread(self, tickers: tuple[str, ...]) -> bool:
        """Whether the markets answered."""
        try:
            await self._read_markets(tickers)
        except (ReadFailedError, DataError) as error:
            self._malformed(str(error) if isinstance(error, DataError) else "")
            return False
        return True

    async def _ask_payout(self, ticker: str) -> None:
        """Ask a market until it answers: money that moved without a word would look like drift."""
        while not await self._reread((ticker,)):
            await self._clock.sleep(RETRY_NS)

    async def _read_markets(self, tickers: tuple[str, ...]) -> None:
        """Take in what the markets say of themselves; raises `ReadFailedError` or `DataError`."""
        for market in await self.rest.markets(tickers=tickers) if tickers else ():
            if market.ticker in self.lives:
                rows, events = self.lives.reread(market, self._clock.now_ns())
                if len(rows):
                    self._sink.put_rows(rows)
                self._tell(*events)

    async def _each_minute(self) -> None:
        """What else is worth a look then."""
