"""Paper trading on a simulated exchange in another process, whose truth goes on whatever happens here.

The same engine, journal and shell as everywhere; the exchange is reached by its socket as a venue is. The
journal has its own writing thread, and time is the exchange's as this machine's clock continues it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from pr3dict import __version__
from pr3dict.domain.events import Listed, Started
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import ClockWatch, SystemClock, SystemPacer
from pr3dict.runtime.paper import OnView, PaperResult
from pr3dict.runtime.recovery import Opened, open_process, recover
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, ShellParts, ShellSettings, in_loop
from pr3dict.runtime.tapeset import trading_day_offset_ns
from pr3dict.runtime.trader import Trader
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.simulated.client import ExchangeClient

SYNTHETIC = "synthetic"

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True, eq=False)
class RemoteSpec:
    """What is traded where: every market of the exchange at `host`:`port`.

    `seconds` of this machine end the run; None: only a person, a limit or a failure does. `on_view` is shown
    the engine each `view_s`.
    """

    host: str
    port: int
    config: MarketMakingConfig
    risk: RiskConfig
    data_dir: DataDir
    seconds: float | None = None
    on_view: OnView | None = None
    view_s: float = 0.5

    @property
    def account(self) -> str:
        """The one account of that exchange."""
        return f"exchange {self.host}:{self.port}"


def run_remote(spec: RemoteSpec, log: Log) -> PaperResult:
    """Trade until the time is up, or somebody stops it.

    Raises:
        DataError: the data directory can't be used.
        LeaseHeldError: another process runs in the data directory, or trades this exchange's account.
        LogError: its journal can't be used.
        WorkError: no exchange answers.
    """
    return in_loop(_run(spec, log))


async def _run(spec: RemoteSpec, log: Log) -> PaperResult:
    async with AsyncExitStack() as undo:
        opened = open_process(spec.data_dir, spec.account)
        undo.callback(opened.close)
        since_ns = opened.journal.last_ns + 1
        client = ExchangeClient(spec.port, SystemPacer(), host=spec.host, not_before_ns=since_ns)
        undo.push_async_callback(client.close)
        load_brain()
        listings = await client.connect()
        started = _started(spec, client, listings)
        found = recover(lambda: _engine(spec), opened, started, listings, clock=SystemClock(), log=log)
        engine = found.engine
        client.rows = found.rows
        first = engine.number + 1
        recorder = Recorder(spec.data_dir.tapes / session_name(spec.data_dir.tapes, first))
        undo.pop_all()  # from here on the shell gives everything back
    is_synthetic = all(listing.venue == SYNTHETIC for listing in listings)
    parts = _parts(spec, opened, engine, client, recorder, log, is_synthetic=is_synthetic)
    parts.trader.pending += found.inputs
    crash_point("recovery.ready")
    code = await Shell(parts, _shell_settings(spec)).run()
    if code == 0:
        write_end(recorder.folder, engine)
    return PaperResult(code, first, engine.view(), found, engine.state_hash(), recorder.folder)


def _engine(spec: RemoteSpec) -> Engine:
    engine = Engine(spec.risk)
    engine.register_strategy(MarketMakingStrategy(config=spec.config))
    return engine


def _started(spec: RemoteSpec, client: ExchangeClient, listings: tuple[Listed, ...]) -> Started:
    assert client.welcome is not None
    return Started(
        version=__version__,
        account=spec.account,
        settings=settings_text(spec.config, spec.risk),
        cash_micros=client.welcome.cash_micros,
        day_offset_ns=trading_day_offset_ns(listings[0].venue, client.welcome.now_ns),
    )


def _parts(
    spec: RemoteSpec,
    opened: Opened,
    engine: Engine,
    client: ExchangeClient,
    recorder: Recorder,
    log: Log,
    *,
    is_synthetic: bool,
) -> ShellParts:
    clock = SystemClock()
    return ShellParts(
        engine=engine,
        trader=Trader(engine, venues=(*engine.venues, *client.venues), crash_point=crash_point),
        source=client,
        journal=opened.journal,
        tape=recorder,
        operators=Mailbox(spec.data_dir.mailbox),
        latch=opened.latch_file,
        lease=opened.lease,
        clock=clock,
        log=log,
        status_path=spec.data_dir.status,
        session=recorder.folder.name,
        is_synthetic=is_synthetic,
        watch=ClockWatch(clock, tick_ns=int(ShellSettings().watch_tick_s * 1e9)),
        on_view=spec.on_view,
    )


def _shell_settings(spec: RemoteSpec) -> ShellSettings:
    return ShellSettings(
        stop_timeout_s=spec.risk.stop_timeout_ns / 1e9, run_s=spec.seconds, view_s=spec.view_s
    )
