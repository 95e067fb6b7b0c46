"""`pr3dict paper`: the engine of live trading on a simulated exchange, which recordings or live data move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pr3dict.cli.output import messages, print_json
from pr3dict.cli.process import DataDirOption
from pr3dict.cli.venue_options import (
    DEFAULT_ENV,
    EnvOption,
    EventOption,
    MarketOption,
    MaxMarketsOption,
    SeriesOption,
    UrlOption,
    check_venue,
    kalshi_of,
    polymarket_of,
    selection_of,
)
from pr3dict.domain.errors import UsageError

if TYPE_CHECKING:
    from pr3dict.risk.limits import RiskConfig
    from pr3dict.runtime.spec import BacktestSpec
    from pr3dict.runtime.venue_paper import PaperVenue
    from pr3dict.runtime.venue_selection import Selection

MAX_SPEED = 1_000_000.0
MAX_PORT = 65_535
VIEW_S = 0.2


Tapes = Annotated[list[str] | None, typer.Argument(metavar="[TAPE]...", help="More tapes for --replay.")]
Replay = Annotated[
    list[str] | None,
    typer.Option("--replay", metavar="TAPE", help="Tapes: files, folders of them, or patterns."),
]
Speed = Annotated[
    str, typer.Option(metavar="X", help="Recorded seconds a second, or max for as fast as it goes.")
]
VenueName = Annotated[
    str | None,
    typer.Option(
        "--venue",
        metavar="VENUE",
        help="kalshi or polymarket: trade on its live market data; fills are simulated.",
    ),
]
Exchange = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Trade on a running `pr3dict exchange` instead of recordings."),
]
Policy = Annotated[str | None, typer.Option(help="pr3dict, or fixed_spread for comparison.")]
Preset = Annotated[str | None, typer.Option(help="Settings to start from.")]
Config = Annotated[Path | None, typer.Option(help="TOML file with [market_making] and [risk] tables.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting; risk.KEY=VALUE for one of [risk]."),
]
Queue = Annotated[
    str, typer.Option(help="Queue model: risk-averse, power, power2, power3, log, log2 or optimistic.")
]
QueuePower = Annotated[float, typer.Option(help="Exponent n of the power models.")]
Latency = Annotated[
    int, typer.Option(help="Milliseconds from exchange to us, from us to exchange, and back.")
]
Cash = Annotated[str, typer.Option(help="Dollars in the account when the data directory is new.")]
DirectMember = Annotated[
    bool, typer.Option("--direct-member", help="Kalshi balances in $0.0001 instead of cents.")
]
Seconds = Annotated[float | None, typer.Option(metavar="SECONDS", help="End after this time on the clock.")]
Headless = Annotated[
    bool, typer.Option("--headless", help="No live view: a line every few seconds on stderr.")
]
ReportFile = Annotated[
    Path | None, typer.Option(metavar="F.html", help="Write the result as one HTML file with charts.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end; no live view.")]


def paper_command(
    tapes: Tapes = None,
    replay: Replay = None,
    speed: Speed = "1",
    exchange: Exchange = None,
    venue: VenueName = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
    market: MarketOption = None,
    event: EventOption = None,
    series: SeriesOption = None,
    max_markets: MaxMarketsOption = 0,
    policy: Policy = None,
    preset: Preset = None,
    config: Config = None,
    assignments: Assignments = None,
    queue: Queue = "risk-averse",
    queue_power: QueuePower = 3.0,
    latency_ms: Latency = 50,
    cash: Cash = "10000",
    direct_member: DirectMember = False,
    seconds: Seconds = None,
    headless: Headless = False,
    report: ReportFile = None,
    data_dir: DataDirOption = None,
    as_json: AsJson = False,
) -> None:
    """Trade on paper, in recorded or live markets: the engine with journal, limits and operator commands.

    With --venue the market data are the venue's own as they come; orders stay on this machine, where a
    simulated exchange fills them. At Kalshi that needs a key (one that may only read will do), at Polymarket
    no account at all.
    Ctrl-C stops it: cancel, confirm, close. Started again in the same data directory it goes on where it
    was. Exit code 3: the kill latch is set. docs/paper.md is the manual.
    """
    from pr3dict.cli.backtest import spec_of
    from pr3dict.cli.config import load_configs
    from pr3dict.cli.report import check_target

    check_source(replay, tapes, exchange, venue)
    if venue is None and (url or market or event or series or max_markets or env != DEFAULT_ENV):
        raise UsageError("--env, --url, --market, --event, --series and --max-markets go with --venue")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds: {seconds} is not above 0")
    pace = parse_speed(speed)
    given = assignments or []
    tables = ("risk.",) if venue is None else ("risk.", f"{venue}.")
    spec = spec_of(
        preset=preset,
        config=config,
        assignments=[one for one in given if not one.strip().startswith(tables)],
        policy=policy,
        queue=queue,
        queue_power=queue_power,
        latency_ms=latency_ms,
        cash=cash,
        direct_member=direct_member,
    )
    _, risk = load_configs(preset, config, given)
    check_target("--report", report)
    run = Run(spec, risk, pace, seconds, report, headless, as_json)
    if exchange is not None:
        trade_remote(exchange, run, data_dir)
    elif venue is not None:
        check_live(run)
        selection = selection_of(market, event, series, max_markets)
        trade_venue(paper_venue(venue, env, url, selection, config, given), run, data_dir)
    else:
        trade([*(replay or ()), *(tapes or ())], run, data_dir)


class Run(NamedTuple):
    """What a command line asks for."""

    spec: BacktestSpec
    risk: RiskConfig
    speed: float | None
    seconds: float | None
    report: Path | None
    headless: bool
    as_json: bool


def trade(named: list[str], run: Run, data_dir: Path | None) -> None:
    """Read the tapes, trade them, say what came of it and leave with the session's exit code."""
    from pr3dict.cli.report import write_report
    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome
    from pr3dict.runtime.jobs import cores
    from pr3dict.runtime.paper import PaperSpec
    from pr3dict.runtime.tapeset import load
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.importers.common import counted

    place = DataDir.of(data_dir)
    with messages.status("Reading tapes and loading the brain (compiled once, up to two minutes)..."):
        loaded = load(named, latency_ns=run.spec.latency_ms * 1_000_000, jobs=cores())
        warm_engine()
    quiet = run.as_json and not run.headless
    notes = [pace_words(run.speed)]
    watcher = Watcher(place, mode="paper", notes=notes, headless=run.headless, quiet=quiet)
    paper = PaperSpec(
        tapes=loaded,
        spec=run.spec,
        risk=run.risk,
        data_dir=place,
        speed=run.speed,
        seconds=run.seconds,
        on_view=watcher,
        view_s=VIEW_S,
    )
    outcome = run_session(paper, watcher, draw=run.report is not None)
    target = None
    if run.report is not None and outcome.session is not None:
        target = run.report
        title = f"Paper session on {counted(len(loaded.metas), 'market')}"
        write_report(outcome.session.replay, title, target)
    if run.as_json:
        print_json(outcome_json(outcome, target))
    else:
        show_outcome(outcome, "Paper session", target)
    end(outcome)


def trade_remote(address: str, run: Run, data_dir: Path | None) -> None:
    """Trade every market of another process's exchange, and leave with the session's exit code.

    Raises:
        UsageError: the address is none, or an option was given that only recordings have.
    """
    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome
    from pr3dict.runtime.remote import RemoteSpec
    from pr3dict.store.data_dir import DataDir

    host, port = parse_address(address)
    if run.report is not None:
        raise UsageError("--report: a report needs recordings; `pr3dict status` shows the figures")
    place = DataDir.of(data_dir)
    notes = [f"On the simulated exchange at {address}. Ctrl-C: cancel, confirm, close."]
    quiet = run.as_json and not run.headless
    watcher = Watcher(place, mode="paper", notes=notes, headless=run.headless, quiet=quiet)
    remote = RemoteSpec(
        host, port, run.spec.config, run.risk, place, seconds=run.seconds, on_view=watcher, view_s=VIEW_S
    )
    outcome = run_session(remote, watcher, draw=False)
    if run.as_json:
        print_json(outcome_json(outcome, None))
    else:
        show_outcome(outcome, "Paper session", None)
    end(outcome)


def paper_venue(
    venue: str,
    env: str | None,
    url: str | None,
    selection: Selection,
    config: Path | None,
    assignments: list[str],
) -> PaperVenue:
    """The venue on whose data is traded, with its settings.

    Raises:
        UsageError: there is no such venue.
        ConfigError: a setting is wrong, the address is not of the environment, or Kalshi's key is missing.
    """
    if check_venue(venue) == "kalshi":
        from pr3dict.cli.config import load_kalshi
        from pr3dict.runtime.kalshi_paper import KalshiPaper

        return KalshiPaper(kalshi_of(venue, env, url), load_kalshi(config, assignments), selection)
    from pr3dict.cli.config import load_polymarket
    from pr3dict.runtime.polymarket_paper import PolymarketPaper

    access = polymarket_of(env, url, key=False)
    return PolymarketPaper(access, load_polymarket(config, assignments), selection)


def trade_venue(venue: PaperVenue, run: Run, data_dir: Path | None) -> None:
    """Trade on a venue's live market data, and leave with the session's exit code."""
    from dataclasses import replace

    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome
    from pr3dict.runtime.venue_paper import VenuePaperSpec
    from pr3dict.store.data_dir import DataDir

    place = DataDir.of(data_dir)
    spec = VenuePaperSpec(venue, run.spec, run.risk, place, seconds=run.seconds, view_s=VIEW_S)
    with messages.status("Loading the brain (compiled once, up to two minutes)..."):
        warm_engine()
    quiet = run.as_json and not run.headless
    notes = ["Ctrl-C: cancel, confirm, close."]
    watcher = Watcher(
        place, mode="paper", notes=notes, headless=run.headless, quiet=quiet, simulation=spec.simulation
    )
    shown = replace(spec, on_view=watcher, on_figures=watcher.take_figures)
    outcome = run_session(shown, watcher, draw=False)
    if run.as_json:
        print_json(outcome_json(outcome, None))
    else:
        show_outcome(outcome, "Paper session", None)
    end(outcome)


def check_source(
    replay: list[str] | None, tapes: list[str] | None, exchange: str | None, venue: str | None
) -> None:
    """Raises `UsageError` where it is not said, or said twice, what is traded."""
    if sum((bool(replay), exchange is not None, venue is not None)) != 1 or (tapes and not replay):
        raise UsageError(
            "say what to trade, one of: --replay and tapes (files, folders or patterns), --venue, --exchange"
        )


def check_live(run: Run) -> None:
    """Raises `UsageError` where an option was given that only recordings have."""
    if run.report is not None:
        raise UsageError("--report: a report needs recordings; replay the session's own tapes for one")
    if run.speed != 1.0:
        raise UsageError("--speed: live market data come when they come; --speed goes with --replay")


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of an exchange.

    Raises:
        UsageError: not of the form HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise UsageError(f"--exchange: {text!r} is no address; give HOST:PORT, for example 127.0.0.1:7070")
    return host, int(port)


def parse_speed(text: str) -> float | None:
    """Recorded seconds a second; None for max.

    Raises:
        UsageError: neither a positive number nor max.
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= MAX_SPEED:
        raise UsageError(f"--speed: {text!r} is no speed; give seconds a second, for example 60, or max")
    return speed


def pace_words(speed: float | None) -> str:
    """How fast market time runs, and how to stop."""
    if speed is None:
        pace = "As fast as it goes"
    elif speed >= 120:
        pace = f"{speed / 60:.0f} minutes of market time a second"
    else:
        pace = f"{speed:g} second{'' if speed == 1 else 's'} of market time a second"
    return f"{pace}. Ctrl-C: cancel, confirm, close."


def warm_engine() -> None:
    """Compile the kernels that are not compiled yet; a session loads them while its journal is checked."""
    from pr3dict.kernels.jit import used_folders
    from pr3dict.runtime.brain_loader import load_brain

    if not all(any(folder.rglob("*.nbi")) for folder in used_folders):
        load_brain()
