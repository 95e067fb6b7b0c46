"""Kalshi's markets as `record` and `scan` look at them: over its stream, read again each minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, Control, Malformed
from pr3dict.domain.market import MarketStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.runtime.kalshi_markets import Found, find_markets
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.tape import TapeMeta
from pr3dict.venues.kalshi.frames import Frame, LifecycleFrame
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock, Sink

ANSWER_S: Final = 60.0  # pages of a listing are large
REREAD_NS: Final = 60 * NS_PER_SECOND


class KalshiWatcher:
    """Kalshi, with a key or without one; the stream needs one."""

    venue = "kalshi"

    def __init__(self, access: KalshiAccess, clock: Clock, *, direct_member: bool = False) -> None:
        self.access = access
        self.clock = clock
        self.direct_member = direct_member
        self.rest = KalshiRest(access.http(clock, answer_s=ANSWER_S))

    async def find(self, selection: Selection) -> Found:
        """The markets of a selection; raises `ReadFailedError` or `DataError`."""
        now_ns = self.clock.now_ns()
        return await find_markets(self.rest, selection, now_ns=now_ns, direct_member=self.direct_member)

    def look(self, lives: Sequence[Life], sink: Sink) -> KalshiLook:
        """These markets, not connected yet."""
        return KalshiLook(self, lives, sink)

    async def close(self) -> None:
        """Give back the sockets."""
        await self.rest.http.close()


class KalshiLook:
    """Markets over the stream; all that is heard goes into `sink`."""

    def __init__(self, watcher: KalshiWatcher, lives: Sequence[Life], sink: Sink) -> None:
        self.lives = Lives(lives)
        self._sink = sink
        self._clock = watcher.clock
        self._rest = watcher.rest
        self._streams = watcher.access.streams(
            watcher.clock, sink, self.lives.rows, self._hear, private=False
        )
        self._reread_ns = watcher.clock.now_ns() + REREAD_NS

    @property
    def names(self) -> Mapping[int, str]:
        """Rows to tickers."""
        return self.lives.by_row

    @property
    def url(self) -> str:
        """Of the stream."""
        return self._streams.url

    @property
    def is_up(self) -> bool:
        """Whether the stream is followed."""
        return self._streams.is_up

    @property
    def connections(self) -> int:
        """How often it was connected."""
        return self._streams.connections

    def metas(self, session: str) -> Mapping[int, TapeMeta]:
        """What each row's tape says of its market."""
        source = "Kalshi's listing of the market."
        return {
            life.listing.market: msgspec.structs.replace(
                meta_of(life.listing, session, synthetic=False), open_ns=life.open_ns, times_source=source
            )
            for life in self.lives.all()
        }

    async def start(self) -> None:
        """Say how the markets stand, and connect."""
        self._sink.put_rows(self.opening(self._clock.now_ns()))
        self._streams.start()

    async def tick(self, now_ns: int) -> None:
        """Times that nobody announces; every minute what the markets say of themselves."""
        self._sink.put_rows(self.lives.tick(now_ns))
        if now_ns >= self._reread_ns:
            await self._reread()
            self._reread_ns = self._clock.now_ns() + REREAD_NS

    def opening(self, now_ns: int) -> d.Array:
        """All markets as they are."""
        return self.lives.opening(now_ns)

    def came_up(self) -> None:
        """Read the markets with the next tick."""
        self._reread_ns = 0

    def is_paid(self, row: int) -> bool:
        """Whether a market has paid out."""
        return self.lives.of_row(row).status is MarketStatus.SETTLED

    def failure(self) -> BaseException | None:
        """What ended the stream's task."""
        return self._streams.failure()

    async def close(self) -> None:
        """Leave."""
        await self._streams.close()

    # --- news --------------------------------------------------------------------------------------

    def _hear(self, frame: Frame, now_ns: int) -> None:
        if not isinstance(frame, LifecycleFrame):
            return
        rows, events = self.lives.hear(frame.msg, now_ns)
        self._take(rows, events)
        if frame.msg.event_type == "settled" and not events:
            self.came_up()
        for event in events:
            if isinstance(event, BookInvalid):
                self._streams.snapshot(self.lives.by_row[event.market])

    def _take(self, rows: d.Array, events: Sequence[Control]) -> None:
        self._sink.put_rows(rows)
        for event in events:
            self._sink.push(event)

    async def _reread(self) -> None:
        """What the markets say of themselves: nobody announces openings, closings and some payouts."""
        try:
            markets = await self._rest.markets(tickers=tuple(self.lives.rows))
        except ReadFailedError:
            return  # the next minute tries again
        except DataError as error:
            self._sink.push(Malformed(venue="kalshi", count=1, why=str(error)[:200]))
            return
        for market in markets:
            if market.ticker in self.lives:
                self._take(*self.lives.reread(market, self._clock.now_ns()))
