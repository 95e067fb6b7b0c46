"""Trading real orders: engine, journal and shell as everywhere, behind the adapters of one or more venues.

A start reads what the venues list, recovers what the journal knows, follows every market in which something
of ours stands beside the chosen ones, and only then connects. Nothing is quoted at a venue before that venue
has confirmed orders, fills, positions and cash. There is one engine and one set of limits: a venue that goes
away meanwhile counts at its worst, and the others are traded on.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from pr3dict import __version__
from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Listed, Started
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import Clock, EngineTime, SessionClock, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.listing import numbered
from pr3dict.runtime.live_venue import Around, LiveVenue, Log, Runs, VenueStart, VenueWire, with_expiry
from pr3dict.runtime.paper import OnView, PaperResult
from pr3dict.runtime.recovery import Opened, Recovered, open_process, recover
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, in_loop
from pr3dict.runtime.tapeset import trading_day_offset_ns
from pr3dict.runtime.venue_process import OnFigures, process_parts, shell_settings
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import joint_account
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy

PREFIXES: Final = "prefixes"
PREFIX_BYTES: Final = 8
RUNS_KEPT: Final = 256  # of which the prefixes are journaled on; orders expire long before

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class LiveSpec:
    """What is traded where. `seconds` of this machine end the run; None: only a person, a limit or a failure.

    `on_view` is shown the engine each `view_s`, `on_figures` what the adapters count.
    """

    venues: tuple[LiveVenue, ...]
    config: MarketMakingConfig
    risk: RiskConfig
    data_dir: DataDir
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5
    on_figures: OnFigures | None = None

    @property
    def account(self) -> str:
        """The accounts of all venues."""
        return joint_account(venue.account for venue in self.venues)


def run_live(spec: LiveSpec, log: Log) -> PaperResult:
    """Trade until the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used, or is that of another account.
        LeaseHeldError: another process runs in the data directory, or trades an account.
        LogError: its journal can't be used.
        ConfigError: the limits don't suit a venue.
        UsageError: no market can be followed, or the venues are not of one environment.
        WorkError: a venue does not answer.
    """
    return in_loop(live_session(spec, log))


async def live_session(spec: LiveSpec, log: Log, *, clock: Clock | None = None) -> PaperResult:
    """`run_live` inside a loop that runs already.

    With another `clock` than this machine's, which must be that of the loop, the journal is written step by
    step, for its time must not pass while a disk writes.
    """
    clock = SystemClock() if clock is None else clock
    check_venues(spec.venues)
    spec = replace(spec, risk=at_venues(spec.risk, spec.venues))
    async with AsyncExitStack() as undo:
        opened = open_process(spec.data_dir, spec.account)
        undo.callback(opened.close)
        time = EngineTime(clock, not_before_ns=opened.journal.last_ns + 1)
        session, answer_s = SessionClock(time), spec.risk.answer_timeout_ns / NS_PER_SECOND
        around = Around(session, log, spec.data_dir, spec.seconds, answer_s)
        starts = [venue.start(around) for venue in spec.venues]
        for start in starts:
            undo.push_async_callback(start.close)
        load_brain()
        found = await _plan(spec, starts, opened, around, clock)
        known = [*found.engine.listings, *(e for e in found.inputs if isinstance(e, Listed))]
        source = LiveSource(Inbox(), time, {}, {listed.market: listed.venue for listed in known})
        wires = {start.name: start.wire(source, known) for start in starts}
        for name, wire in wires.items():
            source.add_wire(name, wire)
            undo.push_async_callback(wire.close)
        await together(start.connect() for start in starts)
        first = found.engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        undo.pop_all()  # from here on the shell gives everything back
    rollings = {start.name: start.rolling(found.engine, source, known) for start in starts}
    parts = process_parts(
        spec, opened, found.engine, source, wires, rollings, recorder, clock, log, arm=partial(_arm, wires)
    )
    parts.trader.pending += found.inputs
    crash_point("recovery.ready")
    code = await Shell(parts, shell_settings(spec.risk, spec.seconds, spec.view_s, clock)).run()
    engine = found.engine
    if code == 0:
        write_end(recorder.folder, engine)
    return PaperResult(code, first, engine.view(), found, engine.state_hash(), recorder.folder)


def at_venues(risk: RiskConfig, venues: Iterable[LiveVenue]) -> RiskConfig:
    """The limits under which all of these are traded: no order goes without an expiry.

    Raises:
        ConfigError: under the given ones a venue can't be traded.
    """
    venues = tuple(venues)
    risk = with_expiry(risk, max(venue.order_life_s for venue in venues))
    for venue in venues:
        risk = venue.limits(risk)
    return risk


def check_venues(venues: tuple[LiveVenue, ...]) -> None:
    """Raises `UsageError` unless each venue comes once, and all of them trade the same kind of money."""
    names = [venue.name for venue in venues]
    if not names or len(set(names)) < len(names):
        raise UsageError("--venue: name each venue once, and at least one")
    kinds = {venue.account.split()[1] for venue in venues}
    if len(kinds) > 1:
        what = " and ".join(" ".join(venue.account.split()[:2]) for venue in venues)
        raise UsageError(f"--env: {what} can't share one process: real money and play money never mix")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them return; the first failure ends the others, and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _arm(wires: dict[Any, VenueWire]) -> None:
    """Every venue takes orders again; raises `WorkError` where one does not."""
    for wire in wires.values():
        await wire.arm()


# --- what a start finds -----------------------------------------------------------------------------


async def _plan(
    spec: LiveSpec, starts: list[VenueStart], opened: Opened, around: Around, clock: Clock
) -> Recovered:
    """Read what the venues list and hold, fold the journal, and bring the two together."""
    cash_micros = sum(await together(start.look() for start in starts))
    started = Started(
        version=__version__,
        account=spec.account,
        settings="",
        cash_micros=cash_micros,
        day_offset_ns=trading_day_offset_ns(_day_of(starts), around.clock.now_ns()),
    )
    found = recover(partial(_engine, spec), opened, started, (), clock=clock, log=around.log)
    engine = found.engine
    if engine.started is not None and engine.started.account != spec.account:
        around.log.warning("another key than before", before=engine.started.account, now=spec.account)
    runs = _runs(engine)
    chosen = [start.choose(engine) for start in starts]
    fresh, rows = numbered(engine.listings, tuple(listed for part in chosen for listed in part))
    for start, part in zip(starts, chosen, strict=True):
        await start.plan(engine, rows[: len(part)], runs)
        rows = rows[len(part) :]
    tables: dict[str, Any] = {PREFIXES: runs}
    for start in starts:
        tables |= start.tables()
    started = msgspec.structs.replace(started, settings=settings_text(spec.config, spec.risk, **tables))
    found.inputs = (*found.inputs[:-1], started, *fresh)
    return found


def _day_of(starts: list[VenueStart]) -> str:
    """The venue whose trading day counts: New York's where Kalshi is among them."""
    return "kalshi" if any(start.name == "kalshi" for start in starts) else starts[0].name


def _engine(spec: LiveSpec) -> Engine:
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.config))
    return engine


def _runs(engine: Engine) -> Runs:
    """Prefixes of the names of orders with the first order of each: those of earlier runs, and a new one.

    Each run draws its own, and journals it with its start, before its first order: so a journal that was
    copied or brought back from a backup can't use a name a second time.
    """
    earlier: list[tuple[str, int]] = []
    if engine.started is not None:
        tables = json.loads(engine.started.settings)
        earlier = [(str(name), int(first)) for name, first in tables.get(PREFIXES, ())]
    new = (f"p{secrets.token_hex(PREFIX_BYTES)}", engine.account.next_order_id)
    return (*earlier[-RUNS_KEPT:], new)
