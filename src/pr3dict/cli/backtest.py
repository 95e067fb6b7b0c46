"""`pr3dict backtest`: recorded tapes through the strategy and the simulated exchange."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli.output import messages, print_json, progress

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pr3dict.runtime.backtest import BacktestResult
    from pr3dict.runtime.spec import BacktestSpec

MAX_LATENCY_MS = 60_000


def spec_of(
    *,
    preset: str | None = None,
    config: Path | None = None,
    assignments: list[str] | None = None,
    policy: str | None = None,
    queue: str = "risk-averse",
    queue_power: float = 3.0,
    latency_ms: int = 50,
    cash: str = "10000",
    direct_member: bool = False,
) -> BacktestSpec:
    """The assumptions that a command line states, checked.

    Raises:
        UsageError: an unknown queue model, or a latency, power or amount of cash that nothing can have.
        ConfigError: a setting of the strategy is wrong.
    """
    from pr3dict.cli.config import load_config, load_incentives, load_rewards
    from pr3dict.domain.errors import DataError, UsageError
    from pr3dict.domain.units import parse_money
    from pr3dict.runtime.spec import QUEUES, make_spec

    if queue not in QUEUES:
        raise UsageError(f"--queue: there is no queue model {queue!r}; choose one of {', '.join(QUEUES)}")
    if not 0 <= latency_ms <= MAX_LATENCY_MS:
        raise UsageError(f"--latency-ms: {latency_ms} is outside 0 to {MAX_LATENCY_MS}; give milliseconds")
    if not 0 < queue_power <= 100:  # also refuses NaN
        raise UsageError(f"--queue-power: {queue_power} is not above 0 and at most 100")
    try:
        cash_micros = parse_money(cash)
    except DataError as error:
        raise UsageError(f"--cash: {error}; write dollars, for example 10000") from None
    if not 0 < cash_micros <= 10**15:
        raise UsageError(
            f"--cash: {cash} is not an account to trade with; give 0.000001 to 1000000000 dollars"
        )
    given = [*(assignments or ()), *([] if policy is None else [f"policy={policy.replace('-', '_')}"])]
    return make_spec(
        load_config(preset, config, given),
        preset=preset or (config.name if config else "default"),
        cash_micros=cash_micros,
        queue=queue,
        queue_power=queue_power,
        latency_ms=latency_ms,
        direct_member=direct_member,
        incentives=load_incentives(config),
        rewards=load_rewards(config),
    )


def run_watched(tapes: list[str], spec: BacktestSpec, jobs: int | None, *, draw: bool) -> BacktestResult:
    """Load and replay tapes with progress on stderr, a line for each queue model; no `jobs`: all cores.

    `draw` keeps the samples that a report draws.
    """
    from pr3dict.runtime.backtest import compile_kernels, run_backtest
    from pr3dict.runtime.jobs import cores
    from pr3dict.runtime.observer import POINTS
    from pr3dict.runtime.tapeset import load

    workers = cores() if jobs is None else jobs
    with progress() as bar:
        task = bar.add_task("reading tapes", total=None)
        bars: dict[str, TaskID] = {}

        def reading(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def replaying(model: str, share: float) -> None:
            if model not in bars:  # each model tells of itself from one thread
                bars[model] = bar.add_task(f"replaying ({model} queue)", total=1.0)
            bar.update(bars[model], completed=share)

        loaded = load(tapes, latency_ns=spec.latency_ms * 1_000_000, on_progress=reading, jobs=workers)
        bar.update(task, completed=0, total=None, description="loading kernels (compiled the first time)")
        compile_kernels()
        bar.remove_task(task)
        return run_backtest(loaded, spec, replaying, jobs=workers, points=POINTS if draw else 0)


def backtest_command(
    tapes: Annotated[
        list[str],
        typer.Argument(metavar="TAPE...", help="Tapes: files, folders of them, or patterns of *.parquet."),
    ],
    policy: Annotated[str | None, typer.Option(help="pr3dict, or fixed_spread for comparison.")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings to start from.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with a [market_making] table.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
    ] = None,
    queue: Annotated[
        str,
        typer.Option(help="Queue model: risk-averse, power, power2, power3, log, log2 or optimistic."),
    ] = "risk-averse",
    queue_power: Annotated[float, typer.Option(help="Exponent n of the power models.")] = 3.0,
    latency_ms: Annotated[
        int, typer.Option(help="Milliseconds from exchange to us, from us to exchange, and back.")
    ] = 50,
    cash: Annotated[str, typer.Option(help="Dollars in the account at the start.")] = "10000",
    direct_member: Annotated[
        bool, typer.Option("--direct-member", help="Kalshi balances in $0.0001 instead of cents.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Tapes read and queue models replayed at a time; all cores if not given."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Write the result as one HTML file with charts.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN.json", help="Write the JSON object to a file, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Replay recorded tapes against the strategy and report what it would have earned.

    All tapes run on one clock in one account. The result shows profit by cause, its range over the queue
    models, and every assumption behind it. docs/backtesting.md defines each figure.
    """
    spec = spec_of(
        preset=preset,
        config=config,
        assignments=assignments,
        policy=policy,
        queue=queue,
        queue_power=queue_power,
        latency_ms=latency_ms,
        cash=cash,
        direct_member=direct_member,
    )
    from pr3dict.cli.report import check_target, write_results
    from pr3dict.cli.results import show
    from pr3dict.store.importers.common import counted

    check_target("--report", report)
    check_target("--out", out)
    result = run_watched(tapes, spec, jobs, draw=report is not None)
    if as_json:
        print_json(result.to_json())
    else:
        show(result, "Backtest")
        messages.print("Definitions of every figure: docs/backtesting.md", style="dim")
    write_results(result, f"Backtest of {counted(len(result.tapes.metas), 'market')}", report, out)
