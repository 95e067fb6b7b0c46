"""`pr3dict demo`: generated markets through the same replay as a backtest, watched while they run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli.output import console, messages, money, print_json, table

if TYPE_CHECKING:
    from rich.table import Table

    from pr3dict.runtime.backtest import Replay
    from pr3dict.runtime.tapeset import TapeSet

DEFAULT_SECONDS = 15.0
FRAMES_PER_SECOND = 10
MAX_MARKETS = 100
MICRO = 1_000_000
NS_PER_HOUR = 3_600_000_000_000


def synthetic_tapes(markets: int, seed: int, latency_ns: int) -> TapeSet:
    """`markets` generated lives, the regimes in turn, on one clock."""
    from pr3dict.runtime.synthetic import REGIMES, synthetic_market
    from pr3dict.runtime.tapeset import merge

    lives = [
        synthetic_market(seed + number // len(REGIMES), REGIMES[number % len(REGIMES)].name)
        for number in range(markets)
    ]
    return merge(lives, latency_ns=latency_ns)


def price(units: int) -> str:
    """A price in 1/10,000 dollar for the screen, a dash for none."""
    return f"{units / 10_000:.3f}" if units >= 0 else "-"


def frame(run: Replay) -> Table:
    """What every market looks like at this moment of the replay."""
    from pr3dict.analytics.live import snapshot

    clock = run.world.clock[0]
    hours = (int(clock.now_ns) - min(run.tapes.first_ns)) / NS_PER_HOUR
    whole = run.tapes.span_ns / NS_PER_HOUR
    title = f"Synthetic markets, {max(hours, 0.0):.1f} of {whole:.1f} simulated hours"
    view = table(title, "market", "mid", "our bid", "our ask", "net", "fills", "P&L")
    total = 0
    for meta, market in zip(run.tapes.metas, snapshot(run.world), strict=True):
        total += market.pnl_micros
        view.add_row(
            str(meta.quality.get("regime", meta.ticker)),
            price(market.mid_micros // 100 if market.mid_micros >= 0 else -1),
            price(market.bid_price),
            price(market.ask_price),
            f"{market.net_contracts / MICRO:+,.0f}",
            f"{market.fills:,}",
            money(market.pnl_micros, sign=True),
        )
    view.add_row("[bold]all[/bold]", "", "", "", "", "", f"[bold]{money(total, sign=True)}[/bold]")
    return view


def watch(run: Replay, seconds: float) -> None:
    """Play the replay over `seconds` of wall time with a table that follows it."""
    from rich.live import Live

    events = len(run.tapes.events)
    began_s = time.monotonic()
    with Live(frame(run), console=console, refresh_per_second=FRAMES_PER_SECOND) as live:
        over = False
        while not over:
            share = (time.monotonic() - began_s) / seconds
            due = events if share >= 1.0 else int(share * events)
            over = run.advance(max(1, due - int(run.world.clock[0].local_event)))
            live.update(frame(run))
            if share < 1.0:
                time.sleep(1 / FRAMES_PER_SECOND)


def demo_command(
    seconds: Annotated[float, typer.Option(help="Seconds over which the replay is shown.")] = DEFAULT_SECONDS,
    headless: Annotated[bool, typer.Option("--headless", help="No live table, full speed.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same markets.")] = 1,
    markets: Annotated[int, typer.Option(help="How many markets are generated.")] = 10,
    preset: Annotated[str, typer.Option(help="Settings of the strategy.")] = "default",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; implies --headless.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Write the result as one HTML file with charts.")
    ] = None,
) -> None:
    """Trade ten generated (synthetic) markets in the simulated exchange and show the results."""
    from pr3dict.cli.backtest import spec_of
    from pr3dict.cli.report import check_target, write_results
    from pr3dict.cli.results import show
    from pr3dict.domain.errors import UsageError
    from pr3dict.runtime.backtest import Replay, compile_kernels, finish
    from pr3dict.runtime.jobs import cores
    from pr3dict.runtime.observer import POINTS
    from pr3dict.store.importers.common import counted

    if not 0 < seconds <= 3600:
        raise UsageError(f"--seconds: {seconds} is not above 0 and at most 3600")
    if not 1 <= markets <= MAX_MARKETS:
        raise UsageError(f"--markets: {markets} is outside 1 to {MAX_MARKETS}")
    check_target("--report", report)
    spec = spec_of(preset=preset)
    with messages.status("Loading the brain (compiled once, up to two minutes)..."):
        compile_kernels()
        tapes = synthetic_tapes(markets, seed, spec.latency_ms * 1_000_000)
    run = Replay(tapes, spec, spec.queue, POINTS if report else 0)
    if headless or as_json:
        while not run.advance():
            pass
    else:
        watch(run, seconds)
    result = finish(run, jobs=cores())
    if as_json:
        print_json(result.to_json())
    else:
        console.print()
        show(result, "Demo on synthetic markets")
    write_results(result, f"Demo on {counted(len(tapes.metas), 'generated market')}", report, None)
