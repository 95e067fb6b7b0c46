"""Paper trading on a venue's live market data: the process of live trading, with simulated fills.

Everything is as in `runtime/live.py` but the way of an order: it goes to the simulated exchange of this
process, which the venue's stream moves (`venues/simulated/live.py`), and never to the venue. What only one
venue knows is behind `PaperVenue` and `PaperStart`.

A process that is started again in the same data directory goes on with the positions and the cash that
the journal knows; the orders that stood at the simulated exchange are gone, which the engine finds out by
reading.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from pr3dict import __version__
from pr3dict.domain.commands import Action, ReadBook
from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.events import BookRead, Control, Listed, ReadFailed, Started
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import Clock, EngineTime, SessionClock, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.live_venue import say_left_out, with_expiry
from pr3dict.runtime.paper import OnView, PaperResult, known_fills, rules_of
from pr3dict.runtime.recovery import Opened, Recovered, open_process, recover
from pr3dict.runtime.rolling import Rolling, VenueMarkets, first_markets
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, in_loop
from pr3dict.runtime.spec import POWERED, BacktestSpec
from pr3dict.runtime.tapeset import trading_day_offset_ns
from pr3dict.runtime.venue_process import OnFigures, process_parts, shell_settings
from pr3dict.runtime.venue_selection import OneLife, Selection, reasons
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.session import NotAnsweredError
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.live import LiveExchange

Log = structlog.typing.FilteringBoundLogger
Resubscribe = Callable[[int], None]
ExchangeOf = Callable[[Resubscribe], LiveExchange]


class Around(NamedTuple):
    """Where a process on paper runs."""

    clock: SessionClock
    log: Log
    answer_s: float
    direct_member: bool


class PaperStart(Protocol):
    """One venue while a process starts; `close` at any time."""

    @property
    def markets(self) -> VenueMarkets[Any]:
        """What it lists of the selection."""

    async def left_open(self, engine: Engine, chosen: set[str]) -> tuple[Any, ...]:
        """Markets in which something of ours stands though they were not chosen.

        Raises `WorkError` or `DataError`.
        """

    def wire(self, lives: tuple[Any, ...], known: Sequence[Listed], exchange_of: ExchangeOf) -> OnPaper:
        """Market data of these markets round a simulated exchange, not connected yet."""

    def rolling(self, wire: Any, engine: Engine, known: list[Listed]) -> Rolling[Any]:
        """What keeps its markets up to date."""

    async def close(self) -> None:
        """Give back what it holds; for a start that does not go on."""


class PaperVenue(Protocol):
    """A venue on whose market data is traded."""

    @property
    def name(self) -> Venue:
        """Which venue it is."""

    @property
    def data(self) -> str:
        """Venue and environment; whoever holds a key has nothing to do with paper."""

    @property
    def selection(self) -> Selection:
        """The markets."""

    @property
    def order_life_s(self) -> int:
        """After how long orders expire where nothing else is set, as with real ones."""

    @property
    def queue_poll_ns(self) -> int:
        """Time between two looks at our places in the queues; 0: the venue tells none."""

    def tables(self) -> Mapping[str, Any]:
        """Its settings, to be journaled."""

    def start(self, around: Around) -> PaperStart:
        """The beginning of a process."""


@dataclass(frozen=True, slots=True, eq=False)
class VenuePaperSpec:
    """What is traded on whose data. `spec` is that of a backtest: strategy, queue model, latency, cash.

    `seconds` of this machine end the run; None: only a person, a limit or a failure. `on_view` is shown the
    engine each `view_s`, `on_figures` what the venue's stream and the simulated exchange count.
    """

    venue: PaperVenue
    spec: BacktestSpec
    risk: RiskConfig
    data_dir: DataDir
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5
    on_figures: OnFigures | None = None

    @property
    def account(self) -> str:
        """Paper, and whose market data it trades on."""
        return f"paper {self.venue.data}"

    @property
    def simulation(self) -> dict[str, Any]:
        """How fills come about, for status and screens."""
        return {
            "data": self.venue.data,
            "queue": self.spec.queue,
            "queue_power": self.spec.queue_power if self.spec.queue in POWERED else None,
            "latency_ms": self.spec.latency_ms,
        }


def run_venue_paper(spec: VenuePaperSpec, log: Log) -> PaperResult:
    """Trade until the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used, or is that of another account.
        LeaseHeldError: another process runs in the data directory.
        LogError: its journal can't be used.
        UsageError: no market can be followed.
        ConfigError: the venue wants a key for its market data, and there is none.
        WorkError: the venue does not answer.
    """
    return in_loop(venue_paper_session(spec, log))


async def venue_paper_session(spec: VenuePaperSpec, log: Log, *, clock: Clock | None = None) -> PaperResult:
    """`run_venue_paper` inside a loop that runs already; a `clock` other than this machine's must be its."""
    clock = SystemClock() if clock is None else clock
    spec = replace(spec, risk=with_expiry(spec.risk, spec.venue.order_life_s))
    name = spec.venue.name
    async with AsyncExitStack() as undo:
        opened = open_process(spec.data_dir)
        undo.callback(opened.close)
        time = EngineTime(clock, not_before_ns=opened.journal.last_ns + 1)
        answer_s = spec.risk.answer_timeout_ns / NS_PER_SECOND
        around = Around(SessionClock(time), log, answer_s, spec.spec.direct_member)
        start = spec.venue.start(around)
        undo.push_async_callback(start.close)
        load_brain()
        plan = await _plan(spec, start, opened, around, clock)
        known = list(plan.listings)
        source = LiveSource(Inbox(), time, {}, {listed.market: listed.venue for listed in known})
        exchange_of = partial(_exchange, spec, plan, opened.journal, source, around.clock)
        wire = start.wire(plan.lives, known, exchange_of)
        source.add_wire(name, wire)
        undo.push_async_callback(wire.close)
        await wire.start()
        engine = plan.found.engine
        first = engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        undo.pop_all()  # from here on the shell gives everything back
    parts = process_parts(
        spec, opened, engine, source, {name: wire}, {name: start.rolling(wire, engine, known)}, recorder,
        clock, log, facts={"simulation": spec.simulation},
    )  # fmt: skip
    parts.trader.pending += plan.found.inputs
    crash_point("recovery.ready")
    code = await Shell(parts, shell_settings(spec.risk, spec.seconds, spec.view_s, clock)).run()
    if code == 0:
        write_end(recorder.folder, engine)
    return PaperResult(code, first, engine.view(), plan.found, engine.state_hash(), recorder.folder)


# --- what a start finds -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A recovered engine, and the markets to follow in its rows."""

    found: Recovered
    lives: tuple[OneLife, ...]

    @property
    def listings(self) -> tuple[Listed, ...]:
        """All markets that the engine knows, or will with its first step."""
        fresh = (event for event in self.found.inputs if isinstance(event, Listed))
        return (*self.found.engine.listings, *fresh)


async def _plan(
    spec: VenuePaperSpec, start: PaperStart, opened: Opened, around: Around, clock: Clock
) -> Plan:
    """Read what the venue lists, fold the journal, and bring the two together."""
    log, markets = around.log, start.markets
    listed, _ = await first_markets(markets, spec.seconds, around.clock, log)
    say_left_out(listed.left_out, spec.venue.selection, log)
    chosen = tuple(map(_without_us, listed.lives))
    started = Started(
        version=__version__,
        account=spec.account,
        settings=settings_text(spec.spec.config, spec.risk, **spec.venue.tables()),
        cash_micros=spec.spec.cash_micros,
        day_offset_ns=trading_day_offset_ns(spec.venue.name, around.clock.now_ns()),
    )
    listings = tuple(life.listing for life in chosen)
    found = recover(partial(_engine, spec), opened, started, listings, clock=clock, log=log)
    lives = (
        *markets.journaled(found.engine, chosen, found.rows, listed),
        *await start.left_open(found.engine, {life.listing.ticker for life in chosen}),
    )
    if not lives:
        raise UsageError(f"no market can be followed: {reasons(listed)}")
    log.info("markets", followed=len(lives), chosen=len(chosen), left_out=len(listed.left_out))
    return Plan(found, lives)


def _without_us(life: Any) -> Any:
    """The market as we see it: no order of ours is in the book that the venue shows."""
    listing = msgspec.structs.replace(life.listing, book_includes_own=False)
    return msgspec.structs.replace(life, listing=listing)


def _engine(spec: VenuePaperSpec) -> Engine:
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.spec.config))
    return engine


# --- the venue -----------------------------------------------------------------------------------------


class OnPaper(ABC):
    """A venue's market data and a simulated exchange that they move: the `Wire` of a process on paper.

    A venue's own class has its watch of the venue before this one among its bases.
    """

    venue: Venue
    exchange: LiveExchange

    @abstractmethod
    async def _start_following(self) -> None:
        """Say how the markets stand, and begin to follow them; raises `WorkError`."""

    @abstractmethod
    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """A task of the venue's."""

    @abstractmethod
    def _tell(self, *events: Control) -> None:
        """News for the engine."""

    @abstractmethod
    async def _read_book(self, market: int) -> BookRead:
        """A market's touch by another route than the stream; raises `WorkError` or `DataError`."""

    @abstractmethod
    async def close(self) -> None:
        """Give back sockets and tasks."""

    @abstractmethod
    def failure(self) -> BaseException | None:
        """What killed a task of it; None: all live."""

    @abstractmethod
    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""

    async def start(self) -> None:
        """Say how the markets stand, and begin to follow them.

        Raises:
            WorkError: the markets can't be asked.
        """
        await self._start_following()
        self._spawn(self.exchange.run())

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """To the simulated exchange; only a look at a book by another route goes to the venue."""
        books = [command for command in commands if isinstance(command, ReadBook)]
        for command in books:
            self._spawn(self._look_at_book(command))
        self.exchange.send(now_ns, [command for command in commands if not isinstance(command, ReadBook)])

    async def _look_at_book(self, command: ReadBook) -> None:
        try:
            self._tell(await self._read_book(command.market))
        except (NotAnsweredError, DataError) as error:
            self._tell(ReadFailed(venue=self.venue, read="book", why=str(error)[:200]))

    def _exchange_figures(self) -> dict[str, int]:
        exchange = self.exchange
        return {
            "simulated_orders": exchange.orders,
            "simulated_fills": exchange.fills,
            "holes": exchange.holes,
        }


def _exchange(
    spec: VenuePaperSpec,
    plan: Plan,
    journal: Journal,
    sink: LiveSource,
    clock: SessionClock,
    resubscribe: Resubscribe,
) -> LiveExchange:
    """The simulated exchange as the journal left it, without a book."""
    engine = plan.found.engine
    held = {m: engine.account.position(m) for m in range(len(engine.listings))}
    exchange = SimulatedExchange(
        plan.listings,
        NO_DATA,
        rules_of(spec.spec),
        engine.account.cash_micros if engine.started is not None else spec.spec.cash_micros,
        {m: (p.yes_contracts, p.no_contracts) for m, p in held.items() if p.yes_contracts or p.no_contracts},
    )
    exchange.truth.recall(known_fills(journal))
    return LiveExchange(
        exchange,
        spec.venue.name,
        sink,
        clock,
        resubscribe,
        [life.listing.market for life in plan.lives],
        latency_ns=spec.spec.latency_ms * 1_000_000,
        queue_ns=spec.venue.queue_poll_ns,
    )
