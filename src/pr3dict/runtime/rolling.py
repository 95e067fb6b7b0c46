"""Markets of a selection that open while a process trades, and those that are over.

A series such as the 15-minute ones lists a market after the other, and a process is left alone for days. New
markets are looked for now and then; how a venue lists and names them is its own (`VenueMarkets`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import MarketStatus
from pr3dict.domain.units import NS_PER_SECOND, format_contracts
from pr3dict.engine.engine import Engine
from pr3dict.engine.holds import EVERYWHERE, STOPPING
from pr3dict.runtime.listing import numbered
from pr3dict.runtime.venue_selection import OneLife, Selection
from pr3dict.venues.session import Clock, Sink

STEP_NS: Final = NS_PER_SECOND // 4  # between two looks at what is due
RETRY_NS: Final = 5 * NS_PER_SECOND  # after a list that could not be read
ALL_NS: Final = 600 * NS_PER_SECOND  # between two lists of everything that is open, which are dozens of pages
AFTERCARE_NS: Final = 3600 * NS_PER_SECOND  # for so long what a market paid may still be amended
NO_LIMIT: Final = 1 << 30
NAMED: Final = 20  # markets that a log names one by one
MOST_SAID: Final = 5_000
_OPEN: Final = (
    MarketStatus.INITIALIZED,
    MarketStatus.ACTIVE,
    MarketStatus.PAUSED,
    MarketStatus.POST_ONLY_MODE,
)

Log = structlog.typing.FilteringBoundLogger


L = TypeVar("L", bound=OneLife)
L_co = TypeVar("L_co", bound=OneLife, covariant=True)


class FoundMarkets(Protocol[L_co]):
    """Markets that can be followed, and the others with the reason."""

    @property
    def lives(self) -> tuple[L_co, ...]:
        """Those that can be followed; rows 0..n-1."""

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Ticker, why."""


class FollowedLives(Protocol[L]):
    """The markets of an adapter."""

    @property
    def watched(self) -> tuple[str, ...]:
        """Names of those that are looked after."""

    def __contains__(self, name: str) -> bool: ...

    def all(self) -> list[L]:
        """All that are looked after."""

    def leave(self, names: Iterable[str]) -> None:
        """These are over: nobody looks after them any more."""


class Watch(Protocol[L]):
    """An adapter, as far as its markets go."""

    @property
    def lives(self) -> FollowedLives[L]:
        """Its markets."""

    async def follow(self, lives: Iterable[L]) -> None:
        """Follow more markets; their `Listed` events went into the sink before."""

    async def leave(self, names: Iterable[str]) -> None:
        """Hear nothing more of these books."""


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


class VenueMarkets(Protocol[L]):
    """What a venue lists of a selection; all reads raise `WorkError` or `DataError`."""

    @property
    def terms(self) -> RollingTerms:
        """What is looked for."""

    async def find(self, *, room: int = 0, known: Container[str] = ()) -> FoundMarkets[L]:
        """Markets of the selection that are open, at most `room` (0: no limit), without the `known` ones."""

    async def held(self, lives: Iterable[L]) -> Mapping[str, int]:
        """What the account holds, by ticker, of `lives` at least; micro-contracts."""

    async def waits_for(self) -> Sequence[str]:
        """What may list a market later, by name; none: there is nothing to wait for.

        Raises `UsageError` for a name that the venue does not know.
        """

    def journaled(
        self, engine: Engine, lives: tuple[L, ...], rows: tuple[int, ...], found: FoundMarkets[L]
    ) -> tuple[L, ...]:
        """`lives` with these rows, and where the journal listed one already, as it did."""

    def open_left_out(self, found: FoundMarkets[L]) -> Mapping[str, str]:
        """Markets that can't be read, or can't be traded though they are open, and why."""

    def name(self, life: L) -> str:
        """What its adapter calls a market."""

    def status(self, life: L, now_ns: int) -> MarketStatus:
        """How a market stands."""


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
    markets: VenueMarkets[L], seconds: float | None, clock: Clock, log: Log
) -> tuple[Any, Mapping[str, int]]:
    """The markets of the selection, and what the account holds, in micro-contracts by ticker.

    Between two markets of a series none is open: where nothing is held either, one is waited for, at most
    `seconds`.

    Raises:
        UsageError: there is no such series.
        WorkError: the venue does not answer.
        DataError: what it answers can't be read.
    """
    began_ns, said = clock.now_ns(), False
    while True:
        now_ns = clock.now_ns()
        found = await markets.find(room=markets.terms.selection.max_markets)
        held = await markets.held(found.lives) if markets.terms.holds_positions else {}
        is_late = seconds is not None and now_ns - began_ns >= seconds * NS_PER_SECOND
        if found.lives or held or is_late or not markets.terms.poll_ns:
            return found, held
        if not said:
            waits_for = await markets.waits_for()
            if not waits_for:
                return found, held
            log.warning("no market is open yet", waits_for=list(waits_for))
        said = True
        await clock.sleep(min(markets.terms.poll_ns, RETRY_NS))


class Rolling(Generic[L]):
    """Keeps what `watch` follows up to date while `engine` runs; one task, `run`.

    `known` are all markets that the engine has or will have with what waits in `sink`; several of these in
    one process share it.
    """

    def __init__(
        self,
        watch: Watch[L],
        markets: VenueMarkets[L],
        engine: Engine,
        sink: Sink,
        clock: Clock,
        log: Log,
        known: list[Listed],
    ) -> None:
        self.watch = watch
        self.markets = markets
        self.engine = engine
        self.terms = markets.terms
        self._sink = sink
        self._clock = clock
        self._log = log
        self._known = known
        self._said: dict[str, str] = {}  # markets that were left out, and why
        self._over_ns: dict[str, int] = {}  # markets that are over, and since when
        terms = self.terms
        self._period_ns = max(terms.poll_ns, ALL_NS) if terms.selection.is_all else terms.poll_ns
        self._list_due_ns = clock.now_ns() + self._period_ns
        self._was_full = False

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
            except (WorkError, DataError) as error:
                self._log.warning("new markets can't be looked for", why=str(error)[:200])
                self._list_due_ns = self._clock.now_ns() + RETRY_NS

    # --- what is over -----------------------------------------------------------------------------

    async def _let_go(self, now_ns: int) -> None:
        """A market that paid and in which nothing is ours leaves the streams, and later what is looked after.

        What it paid may be amended for a while.
        """
        over = [
            life
            for life in self.watch.lives.all()
            if self.markets.status(life, now_ns) is MarketStatus.SETTLED
        ]
        gone = [self.markets.name(life) for life in over if self._is_flat(life)]
        fresh = [name for name in gone if name not in self._over_ns]
        if fresh:
            self._over_ns.update(dict.fromkeys(fresh, now_ns))
            await self.watch.leave(fresh)
        late = [n for n, since_ns in self._over_ns.items() if since_ns + self.terms.aftercare_ns <= now_ns]
        self.watch.lives.leave(late)
        for name in late:
            del self._over_ns[name]

    def _is_flat(self, life: L) -> bool:
        account, row = self.engine.account, life.listing.market
        held = account.position(row)
        return not (held.yes_contracts or held.no_contracts or account.open_orders(row))

    def _room(self, now_ns: int) -> int:
        """How many more markets may be followed; one that closed, and is flat, takes no place."""
        most = self.terms.selection.max_markets
        if not most:
            return NO_LIMIT
        taken = sum(
            self.markets.status(life, now_ns) in _OPEN or not self._is_flat(life)
            for life in self.watch.lives.all()
        )
        return max(0, most - taken)

    # --- what is new ------------------------------------------------------------------------------

    async def _look(self, now_ns: int) -> None:
        room = self._room(now_ns)
        if self._was_full and room:
            self._list_due_ns = now_ns
        self._was_full = room == 0
        if now_ns >= self._list_due_ns and room:
            await self._read_list(room)
            self._list_due_ns = self._clock.now_ns() + self._period_ns
        else:
            await self._read_news(now_ns, room)

    async def _read_list(self, room: int) -> FoundMarkets[L]:
        """Follow what the venue lists and is not followed yet."""
        found = await self.markets.find(room=room, known=self._followed())
        await self._follow(found)
        return found

    async def _read_news(self, now_ns: int, room: int) -> None:
        """What a venue says of new markets by itself is due, or not."""

    def _followed(self) -> Container[str]:
        """Tickers of this venue's markets that are followed."""
        return {life.listing.ticker for life in self.watch.lives.all()}

    # --- following --------------------------------------------------------------------------------

    async def _follow(self, found: FoundMarkets[L]) -> None:
        """Tell the engine of markets, then follow them. Nothing may come between numbering and telling."""
        self.say(self.markets.open_left_out(found))
        fresh_lives = tuple(life for life in found.lives if self.markets.name(life) not in self.watch.lives)
        lives = await self._tradable(fresh_lives)
        if not lives:
            return
        fresh, rows = numbered(self._known, tuple(life.listing for life in lives))
        lives = self.markets.journaled(self.engine, lives, rows, found)
        self._known += fresh
        for listing in fresh:
            self._sink.push(listing)
        names = [life.listing.ticker for life in lives[:NAMED]]
        self._log.info("markets", followed=len(self.watch.lives.watched) + len(lives), new=names)
        await self.watch.follow(lives)

    async def _tradable(self, lives: tuple[L, ...]) -> tuple[L, ...]:
        """Without those that somebody else trades for the account, or that the venue refuses us."""
        if not lives:
            return ()
        why: dict[str, str] = {}
        if self.terms.holds_positions:
            why |= strangers(await self.markets.held(lives), self._known)
        why |= await self._refused(tuple(life for life in lives if life.listing.ticker not in why))
        names = {life.listing.ticker for life in lives}
        self.say({ticker: text for ticker, text in why.items() if ticker in names})
        return tuple(life for life in lives if life.listing.ticker not in why)

    async def _refused(self, lives: tuple[L, ...]) -> Mapping[str, str]:  # noqa: ARG002 - for who overrides it
        """Markets that the venue would take no orders of ours in, and why."""
        return {}

    def say(self, why: Mapping[str, str]) -> None:
        """Say once why a market is not traded."""
        for ticker, text in why.items():
            if self._said.get(ticker) != text:
                if len(self._said) > MOST_SAID:
                    self._said.clear()
                self._said[ticker] = text
                self._log.warning("market left out", ticker=ticker, why=text)
