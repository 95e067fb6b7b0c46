"""Paper trading: the engine of live trading on the simulated exchange, with a recording as its market.

Time is the recording's. A process that is started again in the same data directory goes on where the journal
ends: the exchange is made anew with the positions and the cash that the journal knows, its books are those of
that moment, and the orders that stood there are gone, which the engine finds out by reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from pr3dict import __version__
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control, Filled, FillsRead, FillVoided, Listed, Settled, Started
from pr3dict.engine.engine import Engine
from pr3dict.engine.view import EngineView
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import SystemClock, SystemPacer
from pr3dict.runtime.listing import listings_of, own_grids
from pr3dict.runtime.recovery import Opened, Recovered, open_process, recover
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import ShellParts, ShellSettings, run
from pr3dict.runtime.spec import QUEUES, BacktestSpec
from pr3dict.runtime.tapeset import TapeSet, trading_day_offset_ns
from pr3dict.runtime.trader import Trader
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.reads import snapshot
from pr3dict.venues.simulated.source import SimulatedSource

ACCOUNT = "paper"
STEPS_RECALLED = 20_000
ALIVE_SHARE = 4  # of the time after which a feed counts as stale: how often the simulated one says it lives
QUEUE_POLL_NS = 10_000_000_000  # between looks at our orders' places in their queues
STATE_KINDS = (d.TICK, d.STATUS, d.CLOSE_TIME)  # what a market's last row of holds until the next one

Log = structlog.typing.FilteringBoundLogger
OnView = Callable[[EngineView], None]


@dataclass(frozen=True, slots=True, eq=False)
class PaperSpec:
    """What is traded, with which settings, where. `spec` is that of a backtest of the same tapes.

    `speed` is in recorded seconds a second, None: as fast as it goes. `seconds` of this machine end the run,
    None: the end of the recording does. `on_view` is shown the engine each `view_s`.
    """

    tapes: TapeSet
    spec: BacktestSpec
    risk: RiskConfig
    data_dir: DataDir
    speed: float | None = 1.0
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PaperResult:
    """How a run ended. `first` is the number of its first step: `replay_session` proves it."""

    exit_code: int
    first: int
    view: EngineView
    recovered: Recovered
    state_hash: str
    recording: Path


def run_paper(spec: PaperSpec, log: Log) -> PaperResult:
    """Trade until the recording ends, the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used, or has seen all of the recording.
        LeaseHeldError: another process runs in the data directory.
        LogError: its journal can't be used.
    """
    with ExitStack() as undo:
        opened = open_process(spec.data_dir)
        undo.callback(opened.close)
        load_brain()
        found = recover(
            partial(new_engine, spec),
            opened,
            _started(spec),
            listings_of(spec.tapes, direct_member=spec.spec.direct_member),
            clock=SystemClock(),
            log=log,
        )
        engine = found.engine
        first = engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        source, late = _source(spec, opened.journal, found)
        undo.pop_all()  # from here on the shell gives everything back
    parts = _parts(spec, opened, engine, source, recorder, log)
    parts.trader.pending += (*found.inputs, *late)
    crash_point("recovery.ready")
    code = run(parts, _shell_settings(spec))
    if code == 0:
        write_end(recorder.folder, engine)
    return PaperResult(code, first, engine.view(), found, engine.state_hash(), recorder.folder)


def new_engine(spec: PaperSpec) -> Engine:
    """An engine with the strategy and the limits of `spec`, and no market yet."""
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.spec.config))
    return engine


def _started(spec: PaperSpec) -> Started:
    return Started(
        version=__version__,
        account=ACCOUNT,
        settings=settings_text(spec.spec.config, spec.risk),
        cash_micros=spec.spec.cash_micros,
        day_offset_ns=trading_day_offset_ns(spec.tapes.metas[0].venue, spec.tapes.start_ns),
    )


def _is_synthetic(spec: PaperSpec) -> bool:
    return all(meta.synthetic for meta in spec.tapes.metas)


def _parts(
    spec: PaperSpec, opened: Opened, engine: Engine, source: SimulatedSource, recorder: Recorder, log: Log
) -> ShellParts:
    return ShellParts(
        engine=engine,
        trader=Trader(engine, venues=engine.venues, crash_point=crash_point),
        source=source,
        journal=opened.journal,
        tape=recorder,
        operators=Mailbox(spec.data_dir.mailbox),
        latch=opened.latch_file,
        lease=opened.lease,
        clock=SystemClock(),
        log=log,
        status_path=spec.data_dir.status,
        session=recorder.folder.name,
        is_synthetic=_is_synthetic(spec),
        is_over=lambda: source.is_over,
        on_view=spec.on_view,
    )


def _shell_settings(spec: PaperSpec) -> ShellSettings:
    """Inline: the exchange's time is simulated, and waiting for a disk must not cost any of it."""
    return ShellSettings(
        inline_journal=True,
        stop_timeout_s=spec.risk.stop_timeout_ns / 1e9,
        run_s=spec.seconds,
        view_s=spec.view_s,
    )


# --- the market -------------------------------------------------------------------------------------


def _source(
    spec: PaperSpec, journal: Journal, found: Recovered
) -> tuple[SimulatedSource, tuple[Control, ...]]:
    """The exchange as the journal left it, behind its source, and what was paid while nobody ran."""
    engine = found.engine
    fresh = [event for event in found.inputs if isinstance(event, Listed)]
    listings = [*engine.listings, *fresh]
    events = _renumbered(own_grids(spec.tapes), found.rows)
    held = {m: engine.account.position(m) for m in range(len(engine.listings))}
    has_begun = engine.started is not None
    exchange = SimulatedExchange(
        listings,
        events,
        rules_of(spec.spec),
        engine.account.cash_micros if has_begun else spec.spec.cash_micros,
        {m: (p.yes_contracts, p.no_contracts) for m, p in held.items() if p.yes_contracts or p.no_contracts},
    )
    exchange.truth.recall(known_fills(journal))
    start_ns = engine.now_ns + 1 if has_begun else 0
    feed, late = _resume(exchange, events, start_ns, engine)
    latency_ns = spec.spec.latency_ms * 1_000_000
    source = SimulatedSource(
        exchange,
        feed,
        SystemPacer(),
        speed=spec.speed,
        entry_ns=latency_ns,
        response_ns=latency_ns,
        alive_ns=spec.risk.feed_timeout_ns // ALIVE_SHARE,
        queue_ns=QUEUE_POLL_NS,
        start_ns=max(start_ns, int(feed[0]["local_ns"])),
    )
    return source, late


def known_fills(journal: Journal) -> list[Filled]:
    """The fills of the last steps that stand: a read that looks back finds them at the new exchange, too."""
    fills: dict[tuple[int, str], Filled] = {}
    kinds = ("filled", "fills_read", "fill_voided")
    for event in journal.inputs(kinds, after=max(0, journal.last_number - STEPS_RECALLED)):
        match event:
            case Filled():
                fills[event.market, event.trade_id] = event
            case FillsRead():
                fills.update({(fill.market, fill.trade_id): fill for fill in event.fills})
            case FillVoided():
                fills.pop((event.market, event.trade_id), None)
    return list(fills.values())


def rules_of(spec: BacktestSpec) -> d.Array:
    """RULES with its queue model."""
    rules = spec.rules.copy()
    rules["queue"] = QUEUES[spec.queue]
    rules["queue_power"] = spec.queue_power
    return rules


def _renumbered(events: d.Array, rows: Sequence[int]) -> d.Array:
    """Events whose `market` is the engine's row instead of the tape's place."""
    renumbered = events.copy()
    renumbered["market"] = np.asarray(rows, np.int32)[events["market"]]
    return renumbered


def _resume(
    exchange: SimulatedExchange, events: d.Array, start_ns: int, engine: Engine
) -> tuple[d.Array, tuple[Control, ...]]:
    """The rows that are seen from `start_ns` on, after whole books as they stand there."""
    first = int(np.searchsorted(events["local_ns"], start_ns))
    if first == 0:
        return events, ()
    if first == len(events):
        last_ns = int(events[-1]["local_ns"])
        what = f"the recording ends at {last_ns} ns, this data directory has seen {start_ns - 1} ns"
        raise DataError(f"{what}; name another recording, or a new folder with --data-dir")
    seen = events[:first]
    exchange_ns = int(seen[-1]["exch_ns"])
    for _ in exchange.advance(exchange_ns):
        pass  # what was paid is told below, what traded was nobody's
    at_ns = int(events[first]["local_ns"])
    parts = [
        _last_states(seen),
        *(snapshot(exchange, m) for m in np.unique(events[first:]["market"]).tolist()),
    ]
    opening = np.concatenate(parts)
    opening["exch_ns"], opening["local_ns"] = exchange_ns, at_ns
    paid = seen[seen["kind"] == d.SETTLE]
    late = tuple(
        Settled(market=int(r["market"]), value_micros=int(r["qty"]), refund=bool(r["bits"] & d.REFUND))
        for r in paid
        if int(r["market"]) not in engine.recovery.settled
    )
    return np.concatenate((opening, events[first:])), late


def _last_states(seen: d.Array) -> d.Array:
    """The last row of each market and kind that states something until further notice."""
    places = [
        int(np.flatnonzero((seen["kind"] == kind) & (seen["market"] == market))[-1])
        for kind in STATE_KINDS
        for market in np.unique(seen["market"][seen["kind"] == kind]).tolist()
    ]
    return seen[places]
