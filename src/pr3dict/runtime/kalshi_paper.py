"""Paper trading on Kalshi's live market data: the process of live trading, with simulated fills.

Everything is as in `runtime/live.py` but the way of an order: it goes to the simulated exchange of this
process, which the venue's stream moves (`venues/simulated/live.py`), and never to the venue. Kalshi's stream
takes nobody without a key; one with read rights will do, for nothing but reads is asked.

A process that is started again in the same data directory goes on with the positions and the cash that
the journal knows; the orders that stood at the simulated exchange are gone, which the engine finds out by
reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from pr3dict import __version__
from pr3dict.domain.commands import Action, ReadBook
from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.events import Listed, ReadFailed, Started
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import Clock, EngineTime, SessionClock, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.kalshi_access import Found, KalshiAccess, Selection, renumber
from pr3dict.runtime.kalshi_lives import as_journaled, left_open, reasons
from pr3dict.runtime.live import with_expiry
from pr3dict.runtime.paper import OnView, PaperResult, known_fills, rules_of
from pr3dict.runtime.recovery import Opened, Recovered, open_process, recover
from pr3dict.runtime.rolling import Rolling, RollingTerms, first_markets
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, in_loop
from pr3dict.runtime.spec import POWERED, BacktestSpec
from pr3dict.runtime.tapeset import trading_day_offset_ns
from pr3dict.runtime.venue_process import OnFigures, process_parts, shell_settings
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues import session
from pr3dict.venues.kalshi.frames import EventFeeFrame, Frame, LifecycleFrame
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.reads import read_book
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.settings import TABLE, KalshiConfig
from pr3dict.venues.kalshi.venue_watch import VenueWatch
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.live import LiveExchange

NAMED: Final = 20  # markets left out that a log names one by one

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True, eq=False)
class KalshiPaperSpec:
    """What is traded on whose data. `spec` is that of a backtest: strategy, queue model, latency, cash.

    Of `kalshi` count the times between two looks at markets and queues.

    `seconds` of this machine end the run; None: only a person, a limit or a failure. `on_view` is shown the
    engine each `view_s`, `on_figures` what the venue's stream and the simulated exchange count.
    """

    access: KalshiAccess
    kalshi: KalshiConfig
    selection: Selection
    spec: BacktestSpec
    risk: RiskConfig
    data_dir: DataDir
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5
    on_figures: OnFigures | None = None

    @property
    def account(self) -> str:
        """Paper, and whose market data it trades on; whoever holds the key has nothing to do with it."""
        return f"paper kalshi {self.access.env}"

    @property
    def rolling(self) -> RollingTerms:
        """Which markets are looked for while it runs; the account at the venue has nothing to do with it."""
        member = self.spec.direct_member
        return RollingTerms(self.selection, self.kalshi.listing_poll_ns, member, holds_positions=False)

    @property
    def simulation(self) -> dict[str, Any]:
        """How fills come about, for status and screens."""
        return {
            "data": f"kalshi {self.access.env}",
            "queue": self.spec.queue,
            "queue_power": self.spec.queue_power if self.spec.queue in POWERED else None,
            "latency_ms": self.spec.latency_ms,
        }


def run_kalshi_paper(spec: KalshiPaperSpec, log: Log) -> PaperResult:
    """Trade until the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used, or is that of another account.
        LeaseHeldError: another process runs in the data directory.
        LogError: its journal can't be used.
        UsageError: no market can be followed.
        ConfigError: there is no key.
        WorkError: Kalshi does not answer.
    """
    return in_loop(kalshi_paper_session(spec, log))


async def kalshi_paper_session(spec: KalshiPaperSpec, log: Log, *, clock: Clock | None = None) -> PaperResult:
    """`run_kalshi_paper` inside a loop that runs already; a `clock` other than this machine's must be its."""
    clock = SystemClock() if clock is None else clock
    spec = replace(spec, risk=with_expiry(spec.risk))
    async with AsyncExitStack() as undo:
        opened = open_process(spec.data_dir)
        undo.callback(opened.close)
        time = EngineTime(clock, not_before_ns=opened.journal.last_ns + 1)
        session_clock = SessionClock(time)
        http = spec.access.http(session_clock, answer_s=spec.risk.answer_timeout_ns / NS_PER_SECOND)
        undo.push_async_callback(http.close)
        load_brain()
        patient = KalshiRest(http, tries=START_TRIES)
        plan = await _plan(spec, patient, opened, session_clock, clock, log)
        source = LiveSource(Inbox(), time, {}, {listed.market: listed.venue for listed in plan.listings})
        venue = PaperVenue(spec, plan, opened.journal, KalshiRest(http), source, session_clock)
        source.add_wire("kalshi", venue)
        undo.push_async_callback(venue.close)
        await venue.start()
        engine = plan.found.engine
        first = engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        undo.pop_all()  # from here on the shell gives everything back
    rolling = Rolling(venue, engine, venue.exchange, spec.rolling, session_clock, log, plan.listings)
    facts = {"simulation": spec.simulation}
    parts = process_parts(spec, opened, rolling, source, venue, recorder, clock, log, facts=facts)
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
    lives: tuple[Life, ...]

    @property
    def listings(self) -> tuple[Listed, ...]:
        """All markets that the engine knows, or will with its first step."""
        fresh = (event for event in self.found.inputs if isinstance(event, Listed))
        return (*self.found.engine.listings, *fresh)


async def _plan(
    spec: KalshiPaperSpec,
    rest: KalshiRest,
    opened: Opened,
    session_clock: SessionClock,
    clock: Clock,
    log: Log,
) -> Plan:
    """Read what the venue lists, fold the journal, and bring the two together."""
    listed, _ = await first_markets(rest, spec.rolling, spec.seconds, session_clock, log)
    _say_left_out(listed, spec.selection, log)
    chosen = tuple(map(_without_us, listed.lives))
    started = Started(
        version=__version__,
        account=spec.account,
        settings=settings_text(spec.spec.config, spec.risk, **{TABLE: spec.kalshi.model_dump(mode="json")}),
        cash_micros=spec.spec.cash_micros,
        day_offset_ns=trading_day_offset_ns("kalshi", session_clock.now_ns()),
    )
    listings = tuple(life.listing for life in chosen)
    found = recover(partial(_engine, spec), opened, started, listings, clock=clock, log=log)
    lives = (
        *as_journaled(found.engine, renumber(chosen, found.rows), listed),
        *await left_open(found.engine, {life.listing.ticker for life in chosen}, rest, log),
    )
    if not lives:
        raise UsageError(f"no market can be followed: {reasons(listed)}")
    log.info("markets", followed=len(lives), chosen=len(chosen), left_out=len(listed.left_out))
    return Plan(found, lives)


def _say_left_out(listed: Found, selection: Selection, log: Log) -> None:
    for ticker, why in listed.left_out:
        if len(listed.left_out) <= NAMED or ticker in selection.tickers:
            log.warning("market left out", ticker=ticker, why=why)


def _without_us(life: Life) -> Life:
    """The market as we see it: no order of ours is in the book that the venue shows."""
    listing = msgspec.structs.replace(life.listing, book_includes_own=False)
    return msgspec.structs.replace(life, listing=listing)


def _engine(spec: KalshiPaperSpec) -> Engine:
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.spec.config))
    return engine


# --- the venue -----------------------------------------------------------------------------------------


class PaperVenue(VenueWatch):
    """Kalshi's market data and a simulated exchange that they move: the `Wire` of a process on paper."""

    def __init__(
        self,
        spec: KalshiPaperSpec,
        plan: Plan,
        journal: Journal,
        rest: KalshiRest,
        sink: session.Sink,
        clock: session.Clock,
    ) -> None:
        exchange = LiveExchange(
            _exchange(spec, plan, journal),
            "kalshi",
            sink,
            clock,
            self._resubscribe,
            [life.listing.market for life in plan.lives],
            latency_ns=spec.spec.latency_ms * 1_000_000,
            queue_ns=spec.kalshi.queue_poll_ns,
        )
        lives = Lives(plan.lives)
        lives.know({listed.ticker: listed.market for listed in plan.listings})
        streams = spec.access.streams(clock, exchange, lives.rows, self.hear, private=False)
        super().__init__(rest, lives, exchange, clock, streams)
        self.exchange = exchange

    async def start(self) -> None:
        """Say how the markets stand, and begin to follow them.

        Raises:
            WorkError: the markets can't be asked.
        """
        await self._start_following()
        self._spawn(self.exchange.run())

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

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """To the simulated exchange; only a look at a book by another route goes to the venue."""
        books = [command for command in commands if isinstance(command, ReadBook)]
        for command in books:
            self._spawn(self._look_at_book(command))
        self.exchange.send(now_ns, [command for command in commands if not isinstance(command, ReadBook)])

    async def _look_at_book(self, command: ReadBook) -> None:
        try:
            self._tell(await read_book(self.rest, self.lives, self._clock, command.market))
        except (ReadFailedError, DataError) as error:
            self._tell(ReadFailed(venue="kalshi", read="book", why=str(error)[:200]))

    def _resubscribe(self, market: int) -> None:
        if self.streams is not None and market in self.lives.by_row:
            self.streams.snapshot(self.lives.by_row[market])

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams, exchange = self.streams, self.exchange
        return {
            "requests": self.rest.http.requests,
            "rate_limited": self.rest.http.rate_limited,
            "unknown_words": sum(self.lives.unknown_words.values()),
            "malformed": 0 if streams is None else streams.malformed,
            "gaps": 0 if streams is None else streams.sequences.gaps,
            "connections": 0 if streams is None else streams.connections,
            "simulated_orders": exchange.orders,
            "simulated_fills": exchange.fills,
            "holes": exchange.holes,
        }


def _exchange(spec: KalshiPaperSpec, plan: Plan, journal: Journal) -> SimulatedExchange:
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
    return exchange
