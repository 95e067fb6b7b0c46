"""Trading real orders at Kalshi: engine, journal and shell as everywhere, behind the venue's own adapter.

A start reads what the venue lists, recovers what the journal knows, follows every market in which something
of ours stands beside the chosen ones, and only then connects. Nothing is quoted before the venue has
confirmed orders, fills, positions and cash.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from pr3dict import __version__
from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Listed, Started
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import Clock, EngineTime, SessionClock, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.kalshi_access import Found, KalshiAccess, Selection, renumber
from pr3dict.runtime.kalshi_lives import as_journaled, left_open, reasons
from pr3dict.runtime.listing import numbered
from pr3dict.runtime.order_groups import GroupFile, KnownGroup
from pr3dict.runtime.paper import OnView, PaperResult
from pr3dict.runtime.recovery import Opened, Recovered, open_process, recover
from pr3dict.runtime.rolling import Rolling, RollingTerms, first_markets, strangers
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, in_loop
from pr3dict.runtime.tapeset import trading_day_offset_ns
from pr3dict.runtime.venue_process import OnFigures, process_parts, shell_settings
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire, group_limit
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest
from pr3dict.venues.kalshi.settings import TABLE, KalshiConfig

ORDER_LIFE_S: Final = 120  # of an order where no life is set: what a dead process leaves ends by itself
CASH_TOLERANCE: Final = "0.01"  # what a scalar payout has below a cent is kept
PREFIXES: Final = "prefixes"
PREFIX_BYTES: Final = 8
RUNS_KEPT: Final = 256  # of which the prefixes are journaled on; orders expire long before
NAMED: Final = 20  # markets left out that a log names one by one

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True, eq=False)
class LiveSpec:
    """What is traded where. `seconds` of this machine end the run; None: only a person, a limit or a failure.

    `on_view` is shown the engine each `view_s`, `on_figures` what the adapter counts.
    """

    access: KalshiAccess
    kalshi: KalshiConfig
    selection: Selection
    config: MarketMakingConfig
    risk: RiskConfig
    data_dir: DataDir
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5
    on_figures: OnFigures | None = None


def run_live(spec: LiveSpec, log: Log) -> PaperResult:
    """Trade until the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used, or is that of another account.
        LeaseHeldError: another process runs in the data directory, or trades the account.
        LogError: its journal can't be used.
        UsageError: no market can be followed.
        WorkError: Kalshi does not answer.
    """
    return in_loop(live_session(spec, log))


async def live_session(spec: LiveSpec, log: Log, *, clock: Clock | None = None) -> PaperResult:
    """`run_live` inside a loop that runs already.

    With another `clock` than this machine's, which must be that of the loop, the journal is written step by
    step, for its time must not pass while a disk writes.
    """
    clock = SystemClock() if clock is None else clock
    spec = replace(spec, risk=at_venue(spec.risk))
    async with AsyncExitStack() as undo:
        opened = open_process(spec.data_dir, spec.access.account)
        undo.callback(opened.close)
        time = EngineTime(clock, not_before_ns=opened.journal.last_ns + 1)
        session = SessionClock(time)
        http = spec.access.http(session, answer_s=spec.risk.answer_timeout_ns / NS_PER_SECOND)
        undo.push_async_callback(http.close)
        load_brain()
        rest = KalshiRest(http, subaccount=spec.kalshi.subaccount, tries=START_TRIES)
        plan = await _plan(spec, rest, opened, session, clock, log)
        source = LiveSource(Inbox(), time, {}, {listed.market: listed.venue for listed in plan.listings})
        wire = KalshiWire(http, None, source, session, plan.lives, plan.terms, plan.groups.keep)
        wire.lives.know({listed.ticker: listed.market for listed in plan.listings})
        source.add_wire("kalshi", wire)
        wire.streams = spec.access.streams(session, source, wire.lives.rows, wire.hear, private=True)
        undo.push_async_callback(wire.close)
        await wire.start()
        await plan.groups.delete_old(wire, log)
        first = plan.found.engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        undo.pop_all()  # from here on the shell gives everything back
    rolling = Rolling(wire, plan.found.engine, source, _rolling(spec), session, log, plan.listings)
    parts = process_parts(spec, opened, rolling, source, wire, recorder, clock, log, arm=wire.arm)
    parts.trader.pending += plan.found.inputs
    crash_point("recovery.ready")
    code = await Shell(parts, shell_settings(spec.risk, spec.seconds, spec.view_s, clock)).run()
    engine = plan.found.engine
    if code == 0:
        write_end(recorder.folder, engine)
    return PaperResult(code, first, engine.view(), plan.found, engine.state_hash(), recorder.folder)


def with_expiry(risk: RiskConfig) -> RiskConfig:
    """The same limits with an expiry on every order, which a live process never goes without."""
    return risk if risk.order_life_ns else risk.with_changes(order_life_seconds=ORDER_LIFE_S)


def at_venue(risk: RiskConfig) -> RiskConfig:
    """`with_expiry`, and the cent below which Kalshi's cash may differ from the sum of what it pays."""
    risk = with_expiry(risk)
    return risk if risk.cash_tolerance_micros else risk.with_changes(cash_tolerance=CASH_TOLERANCE)


# --- what a start finds -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A recovered engine, and the markets to follow in its rows."""

    found: Recovered
    lives: tuple[Life, ...]
    terms: AdapterTerms
    groups: Groups

    @property
    def listings(self) -> tuple[Listed, ...]:
        """All markets that the engine knows, or will with its first step."""
        fresh = (event for event in self.found.inputs if isinstance(event, Listed))
        return (*self.found.engine.listings, *fresh)


async def _plan(
    spec: LiveSpec, rest: KalshiRest, opened: Opened, session: SessionClock, clock: Clock, log: Log
) -> Plan:
    """Read what the venue lists and holds, fold the journal, and bring the two together."""
    listed, held = await first_markets(rest, _rolling(spec), spec.seconds, session, log)
    cash_micros = int((await rest.balance()).balance_dollars)
    started = Started(
        version=__version__,
        account=spec.access.account,
        settings="",
        cash_micros=cash_micros,
        day_offset_ns=trading_day_offset_ns("kalshi", session.now_ns()),
    )
    found = recover(partial(_engine, spec), opened, started, (), clock=clock, log=log)
    before = found.engine.started
    if before is not None and before.account != spec.access.account:
        log.warning("another key than before", before=before.account, now=spec.access.account)
    runs = _runs(found.engine)
    started = msgspec.structs.replace(started, settings=_settings(spec, runs))
    chosen = _choose(found.engine, listed, held, spec.selection, log)
    fresh, found.rows = numbered(found.engine.listings, tuple(life.listing for life in chosen))
    found.inputs = (*found.inputs[:-1], started, *fresh)
    lives = (
        *as_journaled(found.engine, renumber(chosen, found.rows), listed),
        *await left_open(found.engine, {life.listing.ticker for life in chosen}, rest, log),
    )
    if not lives:
        raise UsageError(f"no market can be followed: {reasons(listed)}")
    log.info("markets", followed=len(lives), chosen=len(chosen), left_out=len(listed.left_out))
    groups = Groups(GroupFile(spec.data_dir.path), spec.kalshi.subaccount)
    return Plan(found, lives, _terms(spec.kalshi, runs), groups)


def _rolling(spec: LiveSpec) -> RollingTerms:
    return RollingTerms(spec.selection, spec.kalshi.listing_poll_ns, spec.kalshi.direct_member)


def _engine(spec: LiveSpec) -> Engine:
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.config))
    return engine


def _choose(
    engine: Engine, listed: Found, held: Mapping[str, int], selection: Selection, log: Log
) -> tuple[Life, ...]:
    """The markets of the selection; one with a position that this journal never bought is left alone."""
    strange = strangers(held, engine.listings)
    named = [*listed.left_out] if len(listed.left_out) <= NAMED else []
    named += [(ticker, why) for ticker, why in listed.left_out if ticker in selection.tickers and not named]
    chosen = []
    for life in listed.lives:
        why = strange.get(life.listing.ticker)
        if why is None:
            chosen.append(life)
        else:
            named.append((life.listing.ticker, why))
    for ticker, why in named:
        log.warning("market left out", ticker=ticker, why=why)
    return tuple(chosen)


# --- names of orders ----------------------------------------------------------------------------------


def _runs(engine: Engine) -> tuple[tuple[str, int], ...]:
    """Prefixes of client order ids with the first order of each: those of earlier runs, and a new one.

    Each run draws its own, and journals it with its start, before its first order: so a journal that was
    copied or brought back from a backup can't use an id a second time.
    """
    earlier: list[tuple[str, int]] = []
    if engine.started is not None:
        tables = json.loads(engine.started.settings)
        earlier = [(str(name), int(first)) for name, first in tables.get(PREFIXES, ())]
    new = (f"p{secrets.token_hex(PREFIX_BYTES)}", engine.account.next_order_id)
    return (*earlier[-RUNS_KEPT:], new)


def _settings(spec: LiveSpec, runs: tuple[tuple[str, int], ...]) -> str:
    tables: dict[str, Any] = {TABLE: spec.kalshi.model_dump(mode="json"), PREFIXES: runs}
    return settings_text(spec.config, spec.risk, **tables)


def _terms(kalshi: KalshiConfig, runs: tuple[tuple[str, int], ...]) -> AdapterTerms:
    *earlier, (prefix, first_order) = runs
    return AdapterTerms(
        prefix=prefix,
        first_order=first_order,
        earlier=tuple(earlier),
        group_limit=group_limit(kalshi.sweep_loss_micros) if kalshi.sweep_loss_micros else 0,
        place_wait_ns=kalshi.place_wait_ns,
        batch_from=kalshi.batch_from,
        queue_poll_ns=kalshi.queue_poll_ns,
        subaccount=kalshi.subaccount,
    )


class Groups:
    """Our order groups on disk: those of this run, and those that earlier ones left behind."""

    def __init__(self, file: GroupFile, subaccount: int) -> None:
        self._file = file
        self._subaccount = subaccount
        self._old = list(file.read())
        self._new: tuple[KnownGroup, ...] = ()

    def keep(self, groups: Mapping[str, int]) -> None:
        """This run has these (id to shard) from now on."""
        self._new = tuple(KnownGroup(name, shard, self._subaccount) for name, shard in groups.items())
        self._file.write((*self._old, *self._new))

    async def delete_old(self, wire: KalshiWire, log: Log) -> None:
        """Delete what earlier runs left, orders included; what can't be deleted stays for the next run."""
        mine = [group for group in self._old if group.subaccount == self._subaccount]
        gone = await asyncio.gather(*(wire.delete_group(group.id, group.shard) for group in mine))
        for group, is_gone in zip(mine, gone, strict=True):
            if is_gone:
                self._old.remove(group)
            else:
                log.warning("order group of an earlier run not deleted", group=group.id)
        self._file.write((*self._old, *self._new))
