"""Kalshi's markets followed over the public stream into a recording: rows, gaps and payouts, no orders.

`record` and `scan` look at markets through this; what trades has an adapter of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.events import BookInvalid, Control, FeedDown, FeedUp, Malformed, Settled
from pr3dict.domain.market import MarketStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.runtime.listing import meta_of
from pr3dict.store.recorder import Recorder
from pr3dict.venues.kalshi.frames import Frame, LifecycleFrame
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

TICK_NS: Final = NS_PER_SECOND
REREAD_NS: Final = 60 * NS_PER_SECOND
FLUSH_NS: Final = 60 * NS_PER_SECOND
UP_NS: Final = 30 * NS_PER_SECOND  # by when the stream must stand for the first time


@dataclass(frozen=True, slots=True)
class Followed:
    """What was heard so far; per market by ticker."""

    rows: Mapping[str, int]
    trades: Mapping[str, int]
    gaps: Mapping[str, int]  # times a book could not be trusted any more
    outages: int  # connections that broke
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
        self,
        access: KalshiAccess,
        clock: Clock,
        rest: KalshiRest,
        lives: Sequence[Life],
        tape: Recorder,
        session: str,
    ) -> None:
        self.lives = Lives(lives)
        self.streams = access.streams(clock, self, self.lives.rows, self._hear, private=False)
        self._clock = clock
        self._rest = rest
        self._tape = tape
        self._rows: Counter[int] = Counter()
        self._trades: Counter[int] = Counter()
        self._gaps: Counter[int] = Counter()
        self._outages = 0
        self._malformed = 0
        self._paid: dict[int, tuple[int, bool]] = {}
        self._reread_due = False
        self._failure: WorkError | None = None
        for life in lives:
            meta = meta_of(life.listing, session, synthetic=False)
            times = {"open_ns": life.open_ns, "times_source": "Kalshi's listing of the market."}
            tape.list(life.listing.market, msgspec.structs.replace(meta, **times))

    def followed(self) -> Followed:
        """What was heard so far."""
        names = self.lives.by_row

        def by_ticker(counts: Counter[int]) -> dict[str, int]:
            return {ticker: counts[row] for row, ticker in names.items()}

        return Followed(
            by_ticker(self._rows),
            by_ticker(self._trades),
            by_ticker(self._gaps),
            self._outages,
            self._malformed,
            len(self._paid),
            self.streams.is_up,
        )

    # --- the sink of the streams -------------------------------------------------------------------

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

    def push(self, event: Control) -> None:
        """Mark on the tape what a control event means for it."""
        now_ns = self._clock.now_ns()
        match event:
            case BookInvalid():
                self._gap(event.market, now_ns, event.why)
            case FeedDown():
                self._outages += 1
                for row in self.lives.by_row:
                    self._gap(row, now_ns, event.why)
            case FeedUp():
                self._reread_due = True  # what happened to markets while nobody listened
            case Malformed():
                self._malformed += event.count
            case Settled():
                if self._paid.get(event.market) != (event.value_micros, event.refund):
                    self._paid[event.market] = (event.value_micros, event.refund)
                    self._tape.settle(event.market, now_ns, event.value_micros, refund=event.refund)
            case _:
                pass  # proofs of life and clocks are the streams' own business

    def _gap(self, row: int, now_ns: int, why: str) -> None:
        self._gaps[row] += 1
        self._tape.gap(row, now_ns, why)

    def _hear(self, frame: Frame, now_ns: int) -> None:
        if not isinstance(frame, LifecycleFrame):
            return
        rows, events = self.lives.hear(frame.msg, now_ns)
        self._take(rows, events)
        if frame.msg.event_type == "settled" and not events:
            self._reread_due = True
        for event in events:
            if isinstance(event, BookInvalid):
                self.streams.snapshot(self.lives.by_row[event.market])

    def _take(self, rows: d.Array, events: Sequence[Control]) -> None:
        self.put_rows(rows)
        for event in events:
            self.push(event)

    # --- the task ----------------------------------------------------------------------------------

    async def run(
        self,
        seconds: float | None,
        stop: asyncio.Event,
        on_progress: Callable[[Followed], None] | None = None,
    ) -> None:
        """Follow until `stop` is set, `seconds` of the clock are over, or every market has paid out.

        Raises:
            WorkError: the stream never stood, the disk refused, or the stream's task ended.
        """
        began_ns = now_ns = self._clock.now_ns()
        until_ns = None if seconds is None else began_ns + round(seconds * NS_PER_SECOND)
        reread_ns, flush_ns = began_ns + REREAD_NS, began_ns + FLUSH_NS
        self.put_rows(self.lives.opening(now_ns))
        self.streams.start()
        try:
            while not stop.is_set() and not self._all_paid():
                left_ns = TICK_NS if until_ns is None else min(TICK_NS, until_ns - now_ns)
                if left_ns <= 0:
                    break
                await self._pause(left_ns, stop)
                now_ns = self._clock.now_ns()
                self._check(now_ns - began_ns)
                self._take(self.lives.tick(now_ns), ())
                if self._reread_due or now_ns >= reread_ns:
                    await self._reread()
                    reread_ns = self._clock.now_ns() + REREAD_NS
                if now_ns >= flush_ns:
                    self._tape.flush(wait=False)
                    flush_ns = now_ns + FLUSH_NS
                if on_progress is not None:
                    on_progress(self.followed())
            self._say_until_when()
        finally:
            await self.streams.close()

    def _say_until_when(self) -> None:
        """A row at the end: a market that stood still was watched all the same."""
        if self.streams.is_up:
            rows = self.lives.opening(self._clock.now_ns())
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
        broken = self.streams.failure()
        if broken is not None:
            raise WorkError(f"the stream ended ({type(broken).__name__}: {broken})") from broken
        if not self.streams.is_up and self._outages == 0 and running_ns > UP_NS:
            tried = self.streams.connections
            how = "it answered, but not every subscription" if tried else "no connection could be made"
            raise WorkError(
                f"{self.streams.url} did not come up within {UP_NS // NS_PER_SECOND} s ({how}); run "
                "`pr3dict doctor --venue kalshi`"
            )

    def _all_paid(self) -> bool:
        rows = self.lives.by_row
        return len(self._paid) == len(rows) and all(
            self.lives.of_row(row).status is MarketStatus.SETTLED for row in rows
        )

    async def _reread(self) -> None:
        """What the markets say of themselves: nobody announces openings, closings and some payouts."""
        self._reread_due = False
        try:
            markets = await self._rest.markets(tickers=tuple(self.lives.rows))
        except ReadFailedError:
            return  # the next minute tries again
        except DataError:
            self._malformed += 1
            return
        for market in markets:
            if market.ticker in self.lives:
                self._take(*self.lives.reread(market, self._clock.now_ns()))
