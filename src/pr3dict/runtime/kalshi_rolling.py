"""Markets of Kalshi that open while a process trades: listed now and then, and heard of at once.

Kalshi says that a market was created or activated; that it opens is announced by nobody, so its opening time
is remembered. What a market belongs to is read, never taken from its ticker, and one that was just created
may not be found yet: then it is asked for again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import KALSHI_STATUS, MarketStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.runtime.kalshi_access import Found, Selection, find_markets, read_catalogue, renumber
from pr3dict.runtime.kalshi_lives import as_journaled
from pr3dict.runtime.rolling import NAMED, FoundMarkets, Log, Rolling, RollingTerms
from pr3dict.venues.kalshi.frames import LifecycleMessage
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.models import Market
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.venue_watch import VenueWatch
from pr3dict.venues.session import Clock, Sink

FIRST_PAUSE_NS: Final = NS_PER_SECOND // 2
MOST_TRIES: Final = 6  # of a market that is not found yet; the next list has it
A_LOOK: Final = 100  # tickers of one call
MOST_NEWS: Final = 5_000
MOST_EVENTS: Final = 10_000  # of which we remember whether they are wanted
NOT_FOUND: Final = 404


class _News(NamedTuple):
    """A market to be read at `due_ns`; `event` is its event where that was said, else empty."""

    due_ns: int
    tries: int = 0
    event: str = ""


class KalshiMarkets:
    """What Kalshi lists of a selection."""

    def __init__(self, rest: KalshiRest, terms: RollingTerms) -> None:
        self.rest = rest
        self.terms = terms

    async def find(self, *, room: int = 0, known: Container[str] = ()) -> Found:
        """Markets of the selection that are open, at most `room` (0: no limit), without the `known` ones."""
        return await self.find_of(replace(self.terms.selection, max_markets=room), known=known)

    async def find_of(self, selection: Selection, *, known: Container[str] = ()) -> Found:
        """The open markets of another selection."""
        return await find_markets(
            self.rest,
            selection,
            now_ns=self.rest.http.clock.now_ns(),
            direct_member=self.terms.direct_member,
            known=known,
        )

    async def held(self, lives: Iterable[Life]) -> Mapping[str, int]:  # noqa: ARG002 - Kalshi lists all at once
        """What the account holds, by ticker; micro-contracts."""
        listed = await self.rest.positions(count_filter="position")
        return {one.ticker: int(one.position_fp) for one in listed}

    async def waits_for(self) -> tuple[str, ...]:
        """The series, each of which exists; raises `UsageError` for one that does not."""
        for ticker in self.terms.selection.series:
            try:
                await self.rest.series(ticker)
            except ReadFailedError as error:
                if error.status == NOT_FOUND:
                    raise UsageError(f"--series: Kalshi knows no series {ticker!r}") from None
                raise
        return self.terms.selection.series

    def journaled(
        self, engine: Engine, lives: tuple[Life, ...], rows: tuple[int, ...], found: FoundMarkets[Life]
    ) -> tuple[Life, ...]:
        """`lives` with these rows, and where the journal listed one already, as it did."""
        assert isinstance(found, Found)
        return as_journaled(engine, renumber(lives, rows), found)

    def open_left_out(self, found: FoundMarkets[Life]) -> Mapping[str, str]:
        """Markets that can't be read, or can't be traded though they are open, and why."""
        assert isinstance(found, Found)
        status = {market.ticker: KALSHI_STATUS.get(market.status) for market in found.catalogue.markets}
        unread = dict(found.catalogue.missing)
        named = {t: why for t, why in found.left_out if status.get(t) is MarketStatus.ACTIVE or t in unread}
        return dict(list(named.items())[:NAMED])

    def name(self, life: Life) -> str:
        """Its ticker."""
        return life.listing.ticker

    def status(self, life: Life, now_ns: int) -> MarketStatus:  # noqa: ARG002 - it is told here, not worked out
        """How a market stands."""
        return life.status


class KalshiRolling(Rolling[Life]):
    """Keeps what `watch` follows up to date."""

    watch: VenueWatch
    markets: KalshiMarkets

    def __init__(
        self,
        watch: VenueWatch,
        engine: Engine,
        sink: Sink,
        terms: RollingTerms,
        clock: Clock,
        log: Log,
        known: list[Listed],
    ) -> None:
        """`known` as for `Rolling`."""
        super().__init__(watch, KalshiMarkets(watch.rest, terms), engine, sink, clock, log, known)
        self._news: dict[str, _News] = {}
        self._wanted: dict[str, bool] = {}  # events, and whether the selection covers them
        if terms.poll_ns:
            watch.on_opening = self.hear

    def hear(self, news: LifecycleMessage) -> None:
        """A market that is not followed was created or activated."""
        ticker, more = news.market_ticker, news.additional_metadata
        event = "" if more is None else more.event_ticker or ""
        if self._wanted.get(event) is False and ticker not in self.terms.selection.tickers:
            return
        if len(self._news) < MOST_NEWS:  # else the next list has it
            self._news[ticker] = _News(self._clock.now_ns() + FIRST_PAUSE_NS, 0, event)

    def _followed(self) -> Container[str]:
        return self.watch.lives.rows.keys()

    async def _read_list(self, room: int) -> FoundMarkets[Life]:
        found = await self.markets.find(room=room, known=self._followed())
        self._note_unopened(found)
        await self._follow(found)
        return found

    async def _read_news(self, now_ns: int, room: int) -> None:
        """Read what is due: follow what is open, wait for what opens later, forget what is not wanted."""
        tickers = [ticker for ticker, news in self._news.items() if news.due_ns <= now_ns][:A_LOOK]
        if not tickers:
            return
        for ticker in tickers:
            self._again(ticker, self._news[ticker].tries)  # should no answer come
        wanted = await self._covered(tickers)
        now_ns = self._clock.now_ns()
        active = []
        for market in wanted:
            self._wait_for(market, now_ns)
            status = KALSHI_STATUS.get(market.status)
            if status is MarketStatus.ACTIVE or market.ticker in self.terms.selection.tickers:
                active.append(market.ticker)
        if active and room:
            chosen = Selection(tickers=tuple(active), max_markets=room)
            await self._follow(await self.markets.find_of(chosen, known=self._followed()))
        for ticker in active:
            if ticker in self.watch.lives or not room:  # as soon as there is room, all are listed
                self._news.pop(ticker, None)

    async def _covered(self, tickers: list[str]) -> tuple[Market, ...]:
        """Of these markets those that are listed and covered by the selection; the others are forgotten."""
        selection = self.terms.selection
        catalogue = await read_catalogue(self.watch.rest, Selection(tickers=tuple(tickers)))
        if len(self._wanted) > MOST_EVENTS:
            self._wanted.clear()
        for event in catalogue.events.values():
            named = event.event_ticker in selection.events or event.series_ticker in selection.series
            self._wanted[event.event_ticker] = selection.is_all or named
        found = []
        for market in catalogue.markets:
            if self._wanted.get(market.event_ticker) or market.ticker in selection.tickers:
                found.append(market)
            else:
                self._news.pop(market.ticker, None)
        return tuple(found)

    def _wait_for(self, market: Market, now_ns: int) -> None:
        """What is not open yet is read again when it opens; what opened a moment ago, a moment later."""
        status, open_ns = KALSHI_STATUS.get(market.status), int(market.open_time)
        if status is MarketStatus.INITIALIZED and open_ns > now_ns:
            self._news[market.ticker] = _News(open_ns + FIRST_PAUSE_NS, 0, market.event_ticker)
        elif status is not MarketStatus.INITIALIZED and status is not MarketStatus.ACTIVE:
            self._news.pop(market.ticker, None)

    def _again(self, ticker: str, tries: int) -> None:
        if tries + 1 >= MOST_TRIES:
            del self._news[ticker]
            return
        pause_ns = FIRST_PAUSE_NS << tries
        self._news[ticker] = _News(self._clock.now_ns() + pause_ns, tries + 1, self._news[ticker].event)

    def _note_unopened(self, found: Found) -> None:
        now_ns = self._clock.now_ns()
        for market in found.catalogue.markets:
            unopened = KALSHI_STATUS.get(market.status) is MarketStatus.INITIALIZED
            if unopened and market.ticker not in self._news and market.ticker not in self.watch.lives:
                self._wait_for(market, now_ns)

    async def _refused(self, lives: tuple[Life, ...]) -> Mapping[str, str]:
        """Markets on a shard that takes no order group of ours."""
        why: dict[str, str] = {}
        for shard in dict.fromkeys(life.shard for life in lives):
            try:
                await self.watch.prepare(shard)
            except WorkError as error:
                why |= {life.listing.ticker: str(error) for life in lives if life.shard == shard}
        return why
