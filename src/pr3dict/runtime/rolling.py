"""Markets of a selection that open while a process trades, and those that are over.

A series such as the 15-minute ones lists a market after the other, and a process is left alone for days. New
markets are looked for now and then, and at once when Kalshi says that one was created or activated; that it
opens is announced by nobody, so its opening time is remembered. What a market belongs to is read, never
taken from its ticker, and one that was just created may not be found yet: then it is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import structlog

from pr3dict.domain.errors import DataError, UsageError, WorkError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import KALSHI_STATUS, MarketStatus
from pr3dict.domain.units import NS_PER_SECOND, format_contracts
from pr3dict.engine.engine import Engine
from pr3dict.engine.holds import EVERYWHERE, STOPPING
from pr3dict.runtime.kalshi_access import Found, Selection, find_markets, read_catalogue, renumber
from pr3dict.runtime.kalshi_lives import as_journaled
from pr3dict.runtime.listing import numbered
from pr3dict.venues.kalshi.frames import LifecycleMessage
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.models import Market
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.venue_watch import VenueWatch
from pr3dict.venues.session import Clock, Sink

STEP_NS: Final = NS_PER_SECOND // 4  # between two looks at what is due
RETRY_NS: Final = 5 * NS_PER_SECOND  # after a list that could not be read
ALL_NS: Final = 600 * NS_PER_SECOND  # between two lists of everything that is open, which are dozens of pages
AFTERCARE_NS: Final = 3600 * NS_PER_SECOND  # for so long what a market paid may still be amended
FIRST_PAUSE_NS: Final = NS_PER_SECOND // 2
MOST_TRIES: Final = 6  # of a market that is not found yet; the next list has it
A_LOOK: Final = 100  # tickers of one call
MOST_NEWS: Final = 5_000
MOST_EVENTS: Final = 10_000  # of which we remember whether they are wanted
NOT_FOUND: Final = 404
NO_LIMIT: Final = 1 << 30
NAMED: Final = 20  # new markets that a log names one by one
_OPEN: Final = (MarketStatus.INITIALIZED, MarketStatus.ACTIVE, MarketStatus.PAUSED)

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class RollingTerms:
    """What is looked for, and how often; `poll_ns` 0: never, then only what is over is let go.

    `holds_positions`: the account is a real one, in which somebody else may hold something.
    """

    selection: Selection
    poll_ns: int
    direct_member: bool = False
    holds_positions: bool = True
    aftercare_ns: int = AFTERCARE_NS


class _News(NamedTuple):
    """A market to be read at `due_ns`; `event` is its event where that was said, else empty."""

    due_ns: int
    tries: int = 0
    event: str = ""


def strangers(held: Mapping[str, int], known: Iterable[Listed]) -> dict[str, str]:
    """Markets in which the account holds what this journal never bought, and how that is said.

    `held` is ticker to position in micro-contracts.
    """
    ours = {listing.ticker for listing in known}
    return {
        ticker: f"the account holds {format_contracts(position)} contracts that this journal did not trade"
        for ticker, position in held.items()
        if position and ticker not in ours
    }


async def first_markets(
    rest: KalshiRest, terms: RollingTerms, seconds: float | None, clock: Clock, log: Log
) -> tuple[Found, dict[str, int]]:
    """The markets of the selection, and what the account holds, in micro-contracts by ticker.

    Between two markets of a series none is open: where nothing is held either, one is waited for, at most
    `seconds`.

    Raises:
        UsageError: there is no such series.
        ReadFailedError: Kalshi does not answer.
        DataError: what it answers can't be read.
    """
    selection, began_ns = terms.selection, clock.now_ns()
    said = False
    while True:
        now_ns = clock.now_ns()
        found = await find_markets(rest, selection, now_ns=now_ns, direct_member=terms.direct_member)
        listed = await rest.positions(count_filter="position") if terms.holds_positions else ()
        held = {one.ticker: int(one.position_fp) for one in listed}
        is_late = seconds is not None and now_ns - began_ns >= seconds * NS_PER_SECOND
        if found.lives or held or is_late or not (terms.poll_ns and selection.series):
            return found, held
        if not said:
            await _check_series(rest, selection.series)
            log.warning("no market is open yet", waits_for=list(selection.series))
        said = True
        await clock.sleep(min(terms.poll_ns, RETRY_NS))


async def _check_series(rest: KalshiRest, tickers: Iterable[str]) -> None:
    for ticker in tickers:
        try:
            await rest.series(ticker)
        except ReadFailedError as error:
            if error.status == NOT_FOUND:
                raise UsageError(f"--series: Kalshi knows no series {ticker!r}") from None
            raise


class Rolling:
    """Keeps what `watch` follows up to date while `engine` runs; one task, `run`.

    `known` are all markets that the engine has or will have with what waits in `sink`.
    """

    def __init__(
        self,
        watch: VenueWatch,
        engine: Engine,
        sink: Sink,
        terms: RollingTerms,
        clock: Clock,
        log: Log,
        known: Iterable[Listed],
    ) -> None:
        self.watch = watch
        self.engine = engine
        self.terms = terms
        self._sink = sink
        self._clock = clock
        self._log = log
        self._known = list(known)
        self._news: dict[str, _News] = {}
        self._wanted: dict[str, bool] = {}  # events, and whether the selection covers them
        self._said: dict[str, str] = {}  # markets that were left out, and why
        self._over_ns: dict[str, int] = {}  # markets that are over, and since when
        period_ns = max(terms.poll_ns, ALL_NS) if terms.selection.is_all else terms.poll_ns
        self._period_ns = period_ns
        self._list_due_ns = clock.now_ns() + period_ns
        self._was_full = False
        if terms.poll_ns:
            watch.on_opening = self.hear

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(STEP_NS)
            now_ns = self._clock.now_ns()
            await self._let_go(now_ns)
            if not self.terms.poll_ns or self.engine.holds.has(EVERYWHERE, "", STOPPING):
                continue
            try:
                await self._look(now_ns)
            except (ReadFailedError, DataError) as error:
                self._log.warning("new markets can't be looked for", why=str(error)[:200])
                self._list_due_ns = self._clock.now_ns() + RETRY_NS

    # --- what is over -----------------------------------------------------------------------------

    async def _let_go(self, now_ns: int) -> None:
        """A market that paid and in which nothing is ours leaves the streams, and later what is looked after.

        What it paid may be amended for a while.
        """
        over = [life for life in self.watch.lives.all() if life.status is MarketStatus.SETTLED]
        gone = [life.listing.ticker for life in over if self._is_flat(life)]
        fresh = [ticker for ticker in gone if ticker not in self._over_ns]
        if fresh:
            self._over_ns.update(dict.fromkeys(fresh, now_ns))
            await self.watch.leave(fresh)
        late = [t for t, since_ns in self._over_ns.items() if since_ns + self.terms.aftercare_ns <= now_ns]
        self.watch.lives.leave(late)
        for ticker in late:
            del self._over_ns[ticker]

    def _is_flat(self, life: Life) -> bool:
        account, row = self.engine.account, life.listing.market
        held = account.position(row)
        return not (held.yes_contracts or held.no_contracts or account.open_orders(row))

    def _room(self) -> int:
        """How many more markets may be followed; one that closed, and is flat, takes no place."""
        most = self.terms.selection.max_markets
        if not most:
            return NO_LIMIT
        taken = sum(life.status in _OPEN or not self._is_flat(life) for life in self.watch.lives.all())
        return max(0, most - taken)

    # --- what is new ------------------------------------------------------------------------------

    def hear(self, news: LifecycleMessage) -> None:
        """A market that is not followed was created or activated."""
        ticker, more = news.market_ticker, news.additional_metadata
        event = "" if more is None else more.event_ticker or ""
        if self._wanted.get(event) is False and ticker not in self.terms.selection.tickers:
            return
        if len(self._news) < MOST_NEWS:  # else the next list has it
            self._news[ticker] = _News(self._clock.now_ns() + FIRST_PAUSE_NS, 0, event)

    async def _look(self, now_ns: int) -> None:
        room = self._room()
        if self._was_full and room:
            self._list_due_ns = now_ns
        self._was_full = room == 0
        due = [ticker for ticker, news in self._news.items() if news.due_ns <= now_ns][:A_LOOK]
        if now_ns >= self._list_due_ns and room:
            found = await self._find(replace(self.terms.selection, max_markets=room))
            self._note_unopened(found)
            await self._follow(found)
            self._list_due_ns = self._clock.now_ns() + self._period_ns
        elif due:
            await self._read_news(due, room)

    async def _find(self, selection: Selection) -> Found:
        return await find_markets(
            self.watch.rest,
            selection,
            now_ns=self._clock.now_ns(),
            direct_member=self.terms.direct_member,
            known=self.watch.lives.rows.keys(),
        )

    async def _read_news(self, tickers: list[str], room: int) -> None:
        """Read these markets: follow what is open, wait for what opens later, forget what is not wanted."""
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
            await self._follow(await self._find(Selection(tickers=tuple(active), max_markets=room)))
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

    # --- following --------------------------------------------------------------------------------

    def _note_unopened(self, found: Found) -> None:
        now_ns = self._clock.now_ns()
        for market in found.catalogue.markets:
            unopened = KALSHI_STATUS.get(market.status) is MarketStatus.INITIALIZED
            if unopened and market.ticker not in self._news and market.ticker not in self.watch.lives:
                self._wait_for(market, now_ns)

    async def _follow(self, found: Found) -> None:
        """Tell the engine of markets, then follow them. Nothing may come between numbering and telling."""
        self._say(self._open_yet_left_out(found))
        lives = await self._tradable(found.lives)
        if not lives:
            return
        fresh, rows = numbered(self._known, tuple(life.listing for life in lives))
        lives = as_journaled(self.engine, renumber(lives, rows), found)
        self._known += fresh
        for listing in fresh:
            self._sink.push(listing)
        names = [life.listing.ticker for life in lives[:NAMED]]
        self._log.info("markets", followed=len(self.watch.lives.watched) + len(lives), new=names)
        await self.watch.follow(lives)

    async def _tradable(self, lives: tuple[Life, ...]) -> tuple[Life, ...]:
        """Without those that somebody else trades for the account, or whose shard takes no order group."""
        lives = tuple(life for life in lives if life.listing.ticker not in self.watch.lives)
        if not lives:
            return ()
        why: dict[str, str] = {}
        if self.terms.holds_positions:
            listed = await self.watch.rest.positions(count_filter="position")
            held = {one.ticker: int(one.position_fp) for one in listed}
            why |= strangers(held, self._known)
        for shard in dict.fromkeys(life.shard for life in lives if life.listing.ticker not in why):
            try:
                await self.watch.prepare(shard)
            except WorkError as error:
                why |= {life.listing.ticker: str(error) for life in lives if life.shard == shard}
        names = {life.listing.ticker for life in lives}
        self._say({ticker: text for ticker, text in why.items() if ticker in names})
        return tuple(life for life in lives if life.listing.ticker not in why)

    @staticmethod
    def _open_yet_left_out(found: Found) -> dict[str, str]:
        """Markets that can't be read, or can't be traded though they are open."""
        status = {market.ticker: KALSHI_STATUS.get(market.status) for market in found.catalogue.markets}
        unread = dict(found.catalogue.missing)
        named = {t: why for t, why in found.left_out if status.get(t) is MarketStatus.ACTIVE or t in unread}
        return dict(list(named.items())[:NAMED])

    def _say(self, why: Mapping[str, str]) -> None:
        """Say once why a market is not traded."""
        for ticker, text in why.items():
            if self._said.get(ticker) != text:
                if len(self._said) > MOST_NEWS:
                    self._said.clear()
                self._said[ticker] = text
                self._log.warning("market left out", ticker=ticker, why=text)
