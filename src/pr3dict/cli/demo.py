"""`pr3dict demo`: paper trading on generated markets, watched while it runs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pr3dict.cli.output import messages, print_json
from pr3dict.cli.process import DataDirOption

if TYPE_CHECKING:
    from pr3dict.runtime.synthetic import Regime
    from pr3dict.runtime.tapeset import TapeSet
    from pr3dict.store.data_dir import DataDir

DEFAULT_SECONDS = 60.0
PACE = 600.0  # seconds of market time a second, at most
MAX_MARKETS = 100
KEPT_DEMOS = 5
LATENCY_MS = 50
REPORT_FILE = "report.html"


def demo_regimes() -> tuple[Regime, ...]:
    """The generated regimes in turn, with one that resolves early in the place of the 15-minute market.

    At the demo's pace a market of 15 minutes would be gone in a blink.
    """
    from pr3dict.runtime.synthetic import REGIMES, regime

    early = msgspec.structs.replace(
        regime("wide_spread"),
        name="early",
        about="makers keep nine cents apart, resolves after eight hours",
        hours=8.0,
        half_spread_cents=4.5,
        maker_contracts=800.0,
        noise_rate=60.0,
    )
    return tuple(early if one.name == "short_dated" else one for one in REGIMES)


def synthetic_tapes(markets: int, seed: int, latency_ns: int) -> TapeSet:
    """`markets` generated lives, the regimes in turn, on one clock."""
    from pr3dict.runtime.synthetic import market_tape
    from pr3dict.runtime.tapeset import merge

    regimes = demo_regimes()
    lives = [market_tape(seed + k // len(regimes), regimes[k % len(regimes)]) for k in range(markets)]
    return merge(lives, latency_ns=latency_ns)


def stretch(tapes: TapeSet, seconds: float) -> tuple[TapeSet, float]:
    """The part of the markets' lives that `seconds` show, and the pace; a long demo shows all, slower."""
    from pr3dict.runtime.paper_result import seen_part

    whole_s = tapes.span_ns / 1e9
    pace = min(PACE, whole_s / seconds)
    return seen_part(tapes, int(tapes.events[0]["local_ns"]) + round(seconds * pace * 1e9)), pace


def new_folder(parent: Path, now: datetime) -> Path:
    """A folder for one demo below `parent`; only the newest demos are kept, and none that runs is removed."""
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.lease import holder_of

    older = sorted(folder for folder in parent.glob("*-*") if DataDir(folder).journal.exists())
    for folder in older[: -(KEPT_DEMOS - 1)]:
        if holder_of(DataDir(folder).lease) is None:
            shutil.rmtree(folder, ignore_errors=True)
    name = f"{now:%Y%m%d-%H%M%S}"
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def demo_place(data_dir: Path | None) -> DataDir:
    """The data directory of this demo: the given one, or a new one of its own."""
    from pr3dict.store.data_dir import DataDir, default_path

    if data_dir is not None:
        return DataDir.of(data_dir)
    return DataDir(new_folder(default_path().with_name("pr3dict-demo"), datetime.now(UTC)))


def demo_command(
    seconds: Annotated[
        float, typer.Option(help="How long it runs; ten minutes of market time pass in each.")
    ] = DEFAULT_SECONDS,
    headless: Annotated[
        bool, typer.Option("--headless", help="No live view: the same markets as fast as it goes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same markets.")] = 1,
    markets: Annotated[int, typer.Option(help="How many markets are generated.")] = 10,
    preset: Annotated[str, typer.Option(help="Settings of the strategy.")] = "default",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; implies --headless.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="F.html", help="Where the report goes; by default in the data directory."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Trade ten generated (synthetic) markets on paper: quotes, fills, inventory and profit, live.

    The engine of `pr3dict paper` with its journal and tapes in a folder of their own. Ctrl-C stops it:
    cancel, confirm, close. What is earned on generated markets is no evidence about real ones.
    """
    from pr3dict.cli.backtest import spec_of
    from pr3dict.cli.paper import VIEW_S, pace_words, warm_engine
    from pr3dict.cli.report import check_target, write_report
    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome
    from pr3dict.domain.errors import UsageError
    from pr3dict.risk.limits import RiskConfig
    from pr3dict.runtime.paper import PaperSpec
    from pr3dict.store.importers.common import counted

    if not 0 < seconds <= 3600:
        raise UsageError(f"--seconds: {seconds} is not above 0 and at most 3600")
    if not 1 <= markets <= MAX_MARKETS:
        raise UsageError(f"--markets: {markets} is outside 1 to {MAX_MARKETS}")
    check_target("--report", report)
    spec = spec_of(preset=preset, latency_ms=LATENCY_MS)
    with messages.status("Making markets and loading the brain (compiled once, up to two minutes)..."):
        tapes, pace = stretch(synthetic_tapes(markets, seed, LATENCY_MS * 1_000_000), seconds)
        warm_engine()
    place = demo_place(data_dir)
    speed = None if headless or as_json else pace
    notes = [f"{counted(markets, 'generated market')}, no evidence about real ones. {pace_words(speed)}"]
    watcher = Watcher(place, mode="demo", notes=notes, headless=headless, quiet=as_json and not headless)
    outcome = run_session(
        PaperSpec(
            tapes=tapes,
            spec=spec,
            risk=RiskConfig(),
            data_dir=place,
            speed=speed,
            seconds=None if speed is None else seconds,
            on_view=watcher,
            view_s=VIEW_S,
        ),
        watcher,
        draw=True,
    )
    target = None
    if outcome.session is not None:
        target = report or place.path / REPORT_FILE
        write_report(outcome.session.replay, f"Demo on {counted(markets, 'generated market')}", target)
    if as_json:
        print_json(outcome_json(outcome, target))
    else:
        show_outcome(outcome, "Demo on synthetic markets", target)
    end(outcome)
