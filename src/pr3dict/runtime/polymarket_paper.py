"""Polymarket's part of paper trading on live data: its market data are public, so no account is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pr3dict.domain.events import BookRead, Listed
from pr3dict.domain.market import Venue
from pr3dict.engine.engine import Engine
from pr3dict.runtime.polymarket_access import PolymarketAccess
from pr3dict.runtime.polymarket_live import ORDER_LIFE_S
from pr3dict.runtime.polymarket_lives import PolymarketMarkets, left_open
from pr3dict.runtime.rolling import Rolling, RollingTerms
from pr3dict.runtime.venue_paper import Around, ExchangeOf, OnPaper
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.reads import read_book
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.settings import TABLE, PolymarketConfig
from pr3dict.venues.polymarket.venue_watch import VenueWatch


@dataclass(frozen=True, slots=True, eq=False)
class PolymarketPaper:
    """Polymarket's live data; a wallet in `access` is not used."""

    access: PolymarketAccess
    polymarket: PolymarketConfig
    selection: Selection

    @property
    def name(self) -> Venue:
        """Polymarket."""
        return "polymarket"

    @property
    def data(self) -> str:
        """Environment."""
        return f"polymarket {self.access.env}"

    @property
    def order_life_s(self) -> int:
        """As with real orders."""
        return ORDER_LIFE_S

    @property
    def queue_poll_ns(self) -> int:
        """Polymarket tells no places in queues."""
        return 0

    def tables(self) -> Mapping[str, Any]:
        """The `[polymarket]` settings."""
        return {TABLE: self.polymarket.model_dump(mode="json")}

    def start(self, around: Around) -> PolymarketPaperStart:
        """The beginning of a process."""
        return PolymarketPaperStart(self, around)


class PolymarketPaperStart:
    """Polymarket while a process on paper starts (see `PaperStart`)."""

    def __init__(self, spec: PolymarketPaper, around: Around) -> None:
        self._access = replace(spec.access, signer=None, key=None)  # its orders go nowhere
        self._around = around
        self._rest = PolymarketRest(self._access.http(around.clock, answer_s=around.answer_s))
        terms = RollingTerms(spec.selection, spec.polymarket.listing_poll_ns, holds_positions=False)
        self._in_play = spec.polymarket.in_play
        self.markets = PolymarketMarkets(self._rest, terms)

    async def left_open(self, engine: Engine, chosen: set[str]) -> tuple[Life, ...]:
        """Markets in which something of ours stands though they were not chosen."""
        return await left_open(engine, chosen, self._rest, self._around.log)

    def wire(
        self,
        lives: tuple[Life, ...],
        known: Sequence[Listed],  # noqa: ARG002 - a `PaperStart`; nothing is said of other markets
        exchange_of: ExchangeOf,
    ) -> PolymarketOnPaper:
        """Market data round a simulated exchange."""
        held = Lives(lives, in_play=self._in_play)
        return PolymarketOnPaper(self._access, self._rest, self._around, held, exchange_of)

    def rolling(self, wire: PolymarketOnPaper, engine: Engine, known: list[Listed]) -> Rolling[Life]:
        """What keeps the markets up to date."""
        around = self._around
        return Rolling(wire, self.markets, engine, wire.exchange, around.clock, around.log, known)

    async def close(self) -> None:
        """Give back the sockets."""
        await self._rest.http.close()


class PolymarketOnPaper(VenueWatch, OnPaper):
    """Polymarket's market data and a simulated exchange that they move."""

    venue: Venue = "polymarket"

    def __init__(
        self,
        access: PolymarketAccess,
        rest: PolymarketRest,
        around: Around,
        lives: Lives,
        exchange_of: ExchangeOf,
    ) -> None:
        self.exchange = exchange_of(self._resubscribe)
        super().__init__(rest, lives, self.exchange, around.clock, None)
        specs = [life.spec for life in lives.all()]
        self.streams = access.streams(around.clock, self.exchange, specs, self.hear, private=False)

    async def close(self) -> None:
        """Give back sockets and tasks."""
        await self._end_tasks()
        if self.streams is not None:
            await self.streams.close()
        await self.rest.http.close()

    async def _read_book(self, market: int) -> BookRead:
        return await read_book(self.rest, self.lives, self._clock, market)

    def _resubscribe(self, market: int) -> None:
        if self.streams is not None and market in self.lives.by_row:
            self.streams.snapshot(self.lives.by_row[market])

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams, books = self.streams, self.books
        return {
            "requests": self.rest.http.requests,
            "rate_limited": self.rest.http.rate_limited,
            "malformed": 0 if streams is None else streams.malformed,
            "connections": 0 if streams is None else streams.connections,
            "books_compared": 0 if books is None else books.compared,
            "books_frozen": 0 if books is None else books.frozen,
            "hashes_differ": 0 if streams is None else streams.hash_differs,
            **self._exchange_figures(),
        }
