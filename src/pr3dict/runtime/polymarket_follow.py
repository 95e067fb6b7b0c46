"""Polymarket's markets as `record` and `scan` look at them: over its public stream, with no account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pr3dict.domain.market import MarketStatus
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.polymarket_access import PolymarketAccess
from pr3dict.runtime.polymarket_markets import Found, find_markets
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.tape import TapeMeta
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.venue_watch import VenueWatch
from pr3dict.venues.session import Clock, Sink

ANSWER_S: Final = 60.0  # pages of the catalogue are large


class PolymarketWatcher:
    """Polymarket without an account."""

    venue = "polymarket"

    def __init__(self, access: PolymarketAccess, clock: Clock) -> None:
        self.access = access
        self.clock = clock
        self.rest = PolymarketRest(access.http(clock, answer_s=ANSWER_S))

    async def find(self, selection: Selection) -> Found:
        """The markets of a selection; raises `ReadFailedError` or `DataError`."""
        return await find_markets(self.rest, selection)

    def look(self, lives: Sequence[Life], sink: Sink) -> PolymarketLook:
        """These markets, not connected yet."""
        return PolymarketLook(self, lives, sink)

    async def close(self) -> None:
        """Give back the sockets."""
        await self.rest.http.close()


class PolymarketLook(VenueWatch):
    """Markets over the public stream; lives, books and times are watched as while trading."""

    def __init__(self, watcher: PolymarketWatcher, lives: Sequence[Life], sink: Sink) -> None:
        super().__init__(watcher.rest, Lives(lives), sink, watcher.clock, None)
        specs = [life.spec for life in lives]
        self.streams = self._public = watcher.access.streams(
            watcher.clock, sink, specs, self.hear, private=False
        )
        self._left: set[str] = set()
        self.url = watcher.access.urls.hosts.ws_market

    @property
    def names(self) -> Mapping[int, str]:
        """Rows to tickers."""
        return {life.listing.market: life.listing.ticker for life in self.lives.known()}

    @property
    def is_up(self) -> bool:
        """Whether the stream is followed."""
        return self._public.is_up

    @property
    def connections(self) -> int:
        """How often anything was connected."""
        return self._public.connections

    def metas(self, session: str) -> Mapping[int, TapeMeta]:
        """What each row's tape says of its market."""
        return {
            life.listing.market: msgspec.structs.replace(
                meta_of(life.listing, session, synthetic=False),
                contract_id=life.yes,
                times_source="The market's end date in Polymarket's catalogue.",
            )
            for life in self.lives.all()
        }

    async def start(self) -> None:
        """Say how the markets stand, and connect; raises `ReadFailedError` or `DataError`."""
        await self._start_following()

    async def tick(self, now_ns: int) -> None:  # noqa: ARG002 - a `Look`
        """A market that is over shows no book any more, and is not asked for one."""
        over = [life.condition for life in self.lives.all() if life.over and life.condition not in self._left]
        self._left.update(over)
        await self.leave(over)

    def opening(self, now_ns: int) -> d.Array:
        """All markets as they are."""
        return self.lives.opening(now_ns)

    def came_up(self) -> None:
        """A new connection has the markets read by itself."""

    def is_paid(self, row: int) -> bool:
        """Whether a market has paid out."""
        life = self.lives.of_row(row)
        return self.lives.status_of(life, self._clock.now_ns()) is MarketStatus.SETTLED

    async def close(self) -> None:
        """Leave."""
        await self._end_tasks()
        await self._public.close()
