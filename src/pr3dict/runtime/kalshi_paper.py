"""Kalshi's part of paper trading on live data: its stream wants a key; one that may only read will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pr3dict.domain.events import BookRead, Listed
from pr3dict.domain.market import Venue
from pr3dict.engine.engine import Engine
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.runtime.kalshi_lives import left_open
from pr3dict.runtime.kalshi_rolling import KalshiMarkets, KalshiRolling
from pr3dict.runtime.live_venue import ORDER_LIFE_S
from pr3dict.runtime.rolling import RollingTerms
from pr3dict.runtime.venue_paper import Around, ExchangeOf, OnPaper
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.kalshi.frames import EventFeeFrame, Frame, LifecycleFrame
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.reads import read_book
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest
from pr3dict.venues.kalshi.settings import TABLE, KalshiConfig
from pr3dict.venues.kalshi.venue_watch import VenueWatch


@dataclass(frozen=True, slots=True, eq=False)
class KalshiPaper:
    """Kalshi's live data; of `kalshi` count the times between two looks at markets and queues."""

    access: KalshiAccess
    kalshi: KalshiConfig
    selection: Selection

    @property
    def name(self) -> Venue:
        """Kalshi."""
        return "kalshi"

    @property
    def data(self) -> str:
        """Environment."""
        return f"kalshi {self.access.env}"

    @property
    def order_life_s(self) -> int:
        """As everywhere."""
        return ORDER_LIFE_S

    @property
    def queue_poll_ns(self) -> int:
        """As often as real places would be asked for."""
        return self.kalshi.queue_poll_ns

    def tables(self) -> Mapping[str, Any]:
        """The `[kalshi]` settings."""
        return {TABLE: self.kalshi.model_dump(mode="json")}

    def start(self, around: Around) -> KalshiPaperStart:
        """The beginning of a process."""
        return KalshiPaperStart(self, around)


class KalshiPaperStart:
    """Kalshi while a process on paper starts (see `PaperStart`)."""

    def __init__(self, spec: KalshiPaper, around: Around) -> None:
        self._spec = spec
        self._around = around
        self._http = spec.access.http(around.clock, answer_s=around.answer_s)
        self._rest = KalshiRest(self._http, tries=START_TRIES)
        terms = RollingTerms(
            spec.selection, spec.kalshi.listing_poll_ns, around.direct_member, holds_positions=False
        )
        self._terms = terms
        self.markets = KalshiMarkets(self._rest, terms)

    async def left_open(self, engine: Engine, chosen: set[str]) -> tuple[Life, ...]:
        """Markets in which something of ours stands though they were not chosen."""
        return await left_open(engine, chosen, self._rest, self._around.log)

    def wire(
        self, lives: tuple[Life, ...], known: Sequence[Listed], exchange_of: ExchangeOf
    ) -> KalshiOnPaper:
        """Market data round a simulated exchange."""
        rest = KalshiRest(self._http)
        return KalshiOnPaper(self._spec.access, rest, self._around, lives, known, exchange_of)

    def rolling(self, wire: KalshiOnPaper, engine: Engine, known: list[Listed]) -> KalshiRolling:
        """What keeps the markets up to date."""
        around = self._around
        return KalshiRolling(wire, engine, wire.exchange, self._terms, around.clock, around.log, known)

    async def close(self) -> None:
        """Give back the sockets."""
        await self._http.close()


class KalshiOnPaper(VenueWatch, OnPaper):
    """Kalshi's market data and a simulated exchange that they move."""

    venue: Venue = "kalshi"

    def __init__(
        self,
        access: KalshiAccess,
        rest: KalshiRest,
        around: Around,
        followed: tuple[Life, ...],
        known: Sequence[Listed],
        exchange_of: ExchangeOf,
    ) -> None:
        self.exchange = exchange_of(self._resubscribe)
        lives = Lives(followed)
        lives.know({listed.ticker: listed.market for listed in known})
        streams = access.streams(around.clock, self.exchange, lives.rows, self.hear, private=False)
        super().__init__(rest, lives, self.exchange, around.clock, streams)

    async def close(self) -> None:
        """Give back sockets and tasks."""
        await self._end_tasks()
        if self.streams is not None:
            await self.streams.close()
        await self.rest.http.close()

    def hear(self, frame: Frame, now_ns: int) -> None:
        """A frame of the streams about a market's life or its fee; raises `DataError`."""
        match frame:
            case LifecycleFrame():
                self._hear_life(frame, now_ns)
            case EventFeeFrame():
                self.fees.hear(frame.msg)
                self._tell(*self.fees.changes(now_ns))
            case _:
                pass

    async def _read_book(self, market: int) -> BookRead:
        return await read_book(self.rest, self.lives, self._clock, market)

    def _resubscribe(self, market: int) -> None:
        if self.streams is not None and market in self.lives.by_row:
            self.streams.snapshot(self.lives.by_row[market])

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams = self.streams
        return {
            "requests": self.rest.http.requests,
            "rate_limited": self.rest.http.rate_limited,
            "unknown_words": sum(self.lives.unknown_words.values()),
            "malformed": 0 if streams is None else streams.malformed,
            "gaps": 0 if streams is None else streams.sequences.gaps,
            "connections": 0 if streams is None else streams.connections,
            **self._exchange_figures(),
        }
