"""What every process follows of Polymarket beside orders: its markets' lives, and whether it takes orders.

Shared by the adapter that trades and by paper trading on live data. Each look is a task; one that dies of a
fault of its own is remembered (`failure`), for who trades on stale facts must end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import ClockSkewed, Control, Malformed, VenueStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.book_watch import BookWatch
from pr3dict.venues.polymarket.frames import Frame, ResolvedFrame
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.models import clob_condition
from pr3dict.venues.polymarket.outcomes import Outcome, Restriction
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.polymarket.streams import PolymarketStreams
from pr3dict.venues.session import Clock, Sink

LIFE_NS: Final = NS_PER_SECOND
REREAD_NS: Final = 60 * NS_PER_SECOND
RETRY_NS: Final = 5 * NS_PER_SECOND
POST_ONLY_NS: Final = 125 * NS_PER_SECOND  # two minutes after a restart, and a little
FIRST_PAUSE_NS: Final = NS_PER_SECOND
MOST_PAUSE_NS: Final = 30 * NS_PER_SECOND
SKEW_STEP_NS: Final = NS_PER_SECOND  # the venue's clock shows whole seconds


class Restrictions:
    """What the venue takes for the moment, as its answers give away; nothing announces it.

    While it restarts nothing is sent for a pause that doubles; then quoting itself tries again. What it then
    takes for two minutes is post-only orders and cancels.
    """

    def __init__(self) -> None:
        self.word = "open"
        self.until_ns = 0  # of `word`, where it is not "open"
        self.post_only_until_ns = 0
        self._pause_ns = FIRST_PAUSE_NS
        self._told_ns = 0

    def heard(self, now_ns: int, found: Restriction, retry_ns: int) -> None:
        """An answer says that it is restricted."""
        if found is Restriction.POST_ONLY:
            self.post_only_until_ns = max(self.post_only_until_ns, now_ns + (retry_ns or POST_ONLY_NS))
            return
        if now_ns - self._told_ns > 2 * MOST_PAUSE_NS:
            self._pause_ns = FIRST_PAUSE_NS  # another episode
        pause_ns = retry_ns or self._pause_ns
        if now_ns >= self.until_ns:
            self._pause_ns = min(2 * self._pause_ns, MOST_PAUSE_NS)
        self._told_ns = now_ns
        self.word = "restarting" if found is Restriction.RESTARTING else "paused"
        self.until_ns = max(self.until_ns, now_ns + pause_ns)
        if found is Restriction.RESTARTING:
            self.post_only_until_ns = max(self.post_only_until_ns, self.until_ns + POST_ONLY_NS)

    def in_force(self, now_ns: int) -> tuple[str, bool]:
        """(word of `VenueStatus`, whether only post-only orders are taken)."""
        if self.word != "open" and now_ns >= self.until_ns:
            self.word = "open"
        return self.word, now_ns < self.post_only_until_ns


class VenueWatch:
    """Lives of the markets in `lives`, their books, and the venue's restrictions; news goes into `sink`."""

    def __init__(
        self, rest: PolymarketRest, lives: Lives, sink: Sink, clock: Clock, streams: PolymarketStreams | None
    ) -> None:
        self.rest = rest
        self.lives = lives
        self.streams = streams
        self.books: BookWatch | None = None
        self._sink = sink
        self._clock = clock
        self._restrictions = Restrictions()
        self._status = ""
        self._skew_ns: int | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._failure: BaseException | None = None

    # --- tasks ------------------------------------------------------------------------------------

    async def _start_following(self) -> None:
        """Say how the markets stand, connect the streams, watch lives, books and times.

        Raises:
            ReadFailedError: the markets can't be asked.
            DataError: what they say of themselves can't be read.
        """
        self._sink.put_rows(self.lives.opening(self._clock.now_ns()))
        await self._read_markets(self.lives.watched)  # what paid out meanwhile, before money is compared
        if self.streams is not None:
            self.streams.start()
            self.books = BookWatch(self.rest, self.streams, self._clock)
            self._spawn(self.books.run())
        self._check_status()
        self._spawn(self._watch_lives())

    async def follow(self, lives: Iterable[Life]) -> None:
        """Follow more markets; their `Listed` events went into the sink before."""
        more = list(lives)
        self.lives.add(more)
        now_ns = self._clock.now_ns()
        self._sink.put_rows(self.lives.opening(now_ns, [life.condition for life in more]))
        if self.streams is not None:
            self.streams.add_markets(life.spec for life in more)

    async def leave(self, conditions: Iterable[str]) -> None:
        """Hear nothing more of these books; the markets are looked after until `lives.leave`."""
        if self.streams is not None:
            self.streams.remove_markets(conditions)

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

    def _put(self, rows: d.Array) -> None:
        if len(rows):
            self._sink.put_rows(rows)

    def _malformed(self, what: str) -> None:
        if what:
            self._tell(Malformed(venue="polymarket", count=1, why=what[:200]))

    # --- what we hear -----------------------------------------------------------------------------

    def hear(self, frame: Frame | TickChange, now_ns: int) -> None:
        """A message of the streams about a market's life; raises `DataError`."""
        if isinstance(frame, TickChange):
            rows, events = self.lives.tick_moved(frame, now_ns)
        elif isinstance(frame, ResolvedFrame):
            rows, events = self.lives.resolved(frame, now_ns)
        else:
            return
        self._put(rows)
        self._tell(*events)

    def restricted(self, outcome: Outcome) -> None:
        """An answer to a request of ours; what it says of the venue as a whole is remembered."""
        if outcome.restriction is not Restriction.NONE:
            self._restrictions.heard(self._clock.now_ns(), outcome.restriction, outcome.retry_ns)
            self._check_status()

    def _check_status(self) -> None:
        now_ns = self._clock.now_ns()
        word, post_only = self._restrictions.in_force(now_ns)
        if post_only != self.lives.post_only:
            self._put(self.lives.restrict(now_ns, post_only=post_only))
        if word != self._status:
            before, self._status = self._status, word
            self._tell(VenueStatus(venue="polymarket", status=word))  # type: ignore[arg-type]
            if before == "restarting" and self.streams is not None:
                self.streams.reconnect("the venue has restarted")  # what rests now is read, not assumed

    # --- what time brings -------------------------------------------------------------------------

    async def _watch_lives(self) -> None:
        """Times of games and ends of restrictions; every minute what the markets say of themselves.

        After a new connection at once: what paid out unheard would look like money that nobody can explain.
        """
        due_ns = self._clock.now_ns() + REREAD_NS
        heard = 0 if self.streams is None else self.streams.user_connections
        while True:
            await self._clock.sleep(LIFE_NS)
            now_ns = self._clock.now_ns()
            self._check_status()
            self._put(self.lives.tick(now_ns))
            connections = 0 if self.streams is None else self.streams.user_connections
            if now_ns >= due_ns or connections > max(1, heard):
                done = await self._reread(self.lives.watched)
                await self._each_minute()
                due_ns = self._clock.now_ns() + (REREAD_NS if done else RETRY_NS)
            heard = connections

    async def _reread(self, conditions: tuple[str, ...]) -> bool:
        """Whether the markets answered."""
        try:
            await self._read_markets(conditions)
            await self._read_skew()
        except (ReadFailedError, DataError) as error:
            self._malformed(str(error) if isinstance(error, DataError) else "")
            return False
        return True

    async def _read_skew(self) -> None:
        """Our clock less the venue's, to half a second, said when it has moved."""
        asked_ns = self._clock.now_ns()
        venue_ns = await self.rest.venue_time_ns() + NS_PER_SECOND // 2
        skew_ns = (asked_ns + self._clock.now_ns()) // 2 - venue_ns
        if self._skew_ns is None or abs(skew_ns - self._skew_ns) >= SKEW_STEP_NS:
            self._skew_ns = skew_ns
            self._tell(ClockSkewed(venue="polymarket", skew_ns=skew_ns))

    async def _read_markets(self, conditions: tuple[str, ...]) -> None:
        """Take in what the markets say of themselves; raises `ReadFailedError` or `DataError`.

        The catalogue leaves out what is over unless it is asked for that; what it does not say is asked of
        the order API.
        """
        if not conditions:
            return
        for condition in conditions:
            life = self.lives[condition]
            if life.clears and not life.over:
                clob = await self.rest.clob_market(condition)
                self._put(self.lives.start_moved(clob, condition, self._clock.now_ns()))
        left = dict.fromkeys(conditions)
        for closed in (None, True):
            tickers = tuple(self.lives[condition].listing.ticker for condition in left)
            if not tickers:
                return
            found = await self.rest.gamma_markets(condition_ids=tickers, closed=closed)
            for market in found.items:
                condition = clob_condition(market.condition_id or "")
                if condition in left:
                    moved = self.lives.has_new_fee(market)
                    fee = await self.rest.clob_market(condition) if moved else None
                    rows, events = self.lives.reread(market, self._clock.now_ns(), fee)
                    self._put(rows)
                    self._tell(*events)
                    if not self.lives.is_unpaid(condition):
                        del left[condition]
            for what in found.refused:
                self._malformed(what)
        for condition in left:
            said = await self.rest.verbose_market(condition)
            rows, events = self.lives.reread_over(said, self._clock.now_ns())
            self._put(rows)
            self._tell(*events)

    async def _each_minute(self) -> None:
        """What else is worth a look then."""
