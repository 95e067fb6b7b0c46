"""What a venue contributes to a live process: how its start looks at it, and what then trades there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import structlog

from pr3dict.domain.events import Listed
from pr3dict.domain.market import Venue
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.clock import SessionClock
from pr3dict.runtime.inbox import LiveSource, Wire
from pr3dict.runtime.rolling import NAMED, FoundMarkets, Rolling, strangers
from pr3dict.runtime.venue_selection import OneLife, Selection
from pr3dict.store.data_dir import DataDir

ORDER_LIFE_S: Final = 120  # of an order where no life is set: what a dead process leaves ends by itself

Log = structlog.typing.FilteringBoundLogger
L = TypeVar("L", bound=OneLife)
Runs = tuple[tuple[str, int], ...]  # prefixes of order names with the first order of each, this run's last


class Around(NamedTuple):
    """Where a live process runs."""

    clock: SessionClock
    log: Log
    data_dir: DataDir
    seconds: float | None  # that it runs at most
    answer_s: float  # after which a request's outcome is unknown


class VenueWire(Wire, Protocol):
    """The adapter of a venue that trades."""

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""

    def failure(self) -> BaseException | None:
        """What killed a task of it; None: all live."""

    async def arm(self) -> None:
        """A person resumed: the venue's own kill switches, if they fired, take orders again."""


class VenueStart(Protocol):
    """One venue while a process starts. The calls come once each, in this order; `close` at any time."""

    @property
    def name(self) -> Venue:
        """Which venue it is."""

    async def look(self) -> int:
        """Read what the venue lists and what the account has; returns its cash in micros.

        Raises:
            UsageError: nothing that was asked for is there.
            WorkError: the venue does not answer.
            DataError: what it answers can't be read.
        """

    def choose(self, engine: Engine) -> tuple[Listed, ...]:
        """The markets to trade, beside what the folded journal knows; their own rows do not count."""

    async def plan(self, engine: Engine, rows: tuple[int, ...], runs: Runs) -> None:
        """The chosen markets have these rows; those in which something of ours stands are found, too.

        Raises as `look`.
        """

    def tables(self) -> Mapping[str, Any]:
        """Its settings, to be journaled."""

    def wire(self, source: LiveSource, known: Sequence[Listed]) -> VenueWire:
        """Its adapter, not connected yet; `known` are all markets that the engine has or will have."""

    async def connect(self) -> None:
        """Begin to follow; raises `WorkError` where nothing could be traded."""

    def rolling(self, engine: Engine, source: LiveSource, known: list[Listed]) -> Rolling[Any]:
        """What keeps its markets up to date; shares `known`."""

    async def close(self) -> None:
        """Give back what it holds; for a start that does not go on."""


class LiveVenue(Protocol):
    """What is traded at one venue, with which account."""

    @property
    def name(self) -> Venue:
        """Which venue it is."""

    @property
    def account(self) -> str:
        """Venue, environment and whose: "kalshi demo 1a2b3c4d"."""

    @property
    def order_life_s(self) -> int:
        """After how long its orders expire where nothing else is set."""

    def limits(self, risk: RiskConfig) -> RiskConfig:
        """The limits under which it is traded; raises `ConfigError` where it can't be under these."""

    def start(self, around: Around) -> VenueStart:
        """The beginning of a process."""


def with_expiry(risk: RiskConfig, life_s: int = ORDER_LIFE_S) -> RiskConfig:
    """The same limits with an expiry on every order, which a live process never goes without."""
    return risk if risk.order_life_ns else risk.with_changes(order_life_seconds=life_s)


def say_left_out(left_out: Sequence[tuple[str, str]], selection: Selection, log: Log) -> None:
    """Name the markets that are not traded; of many only those that were named."""
    for ticker, why in left_out:
        if len(left_out) <= NAMED or ticker in selection.tickers:
            log.warning("market left out", ticker=ticker, why=why)


def chosen(
    engine: Engine, found: FoundMarkets[L], held: Mapping[str, int], selection: Selection, log: Log
) -> tuple[L, ...]:
    """The markets of the selection; one with a position that this journal never bought is left alone."""
    say_left_out(found.left_out, selection, log)
    strange = strangers(held, engine.listings)
    for life in found.lives:
        if life.listing.ticker in strange:
            log.warning("market left out", ticker=life.listing.ticker, why=strange[life.listing.ticker])
    return tuple(life for life in found.lives if life.listing.ticker not in strange)


def ours(engine: Engine, venue: Venue, chosen_tickers: Iterable[str]) -> dict[str, Listed]:
    """Markets of a venue that were not chosen, and in which something of ours stands or may stand."""
    known = set(chosen_tickers)
    return {
        listing.ticker: listing
        for listing in engine.listings
        if listing.venue == venue and listing.ticker not in known and _is_ours(engine, listing.market)
    }


def _is_ours(engine: Engine, market: int) -> bool:
    """Whether something is held or at work there, or could be voided, or was paid and not fetched yet."""
    account = engine.account
    held, ledger = account.position(market), account.ledgers[market]
    under_way = account.operations.of(engine.listings[market].venue)
    unfetched = (
        bool(ledger.settled_ns)
        and not ledger.nets
        and any(ledger.contracts())
        and market not in account.operations.redeemed
    )
    return bool(
        held.yes_contracts
        or held.no_contracts
        or ledger.provisional
        or account.open_orders(market)
        or unfetched
        or (under_way is not None and under_way.market == market)
    )
