"""`pr3dict compare`: backtests side by side, and whether one earns more or the difference is noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from pr3dict.analytics.comparison import Comparison, Run

SEED = 1908  # of the bootstrap: the same runs give the same answer
HORIZONS = ("1s", "10s", "60s", "300s")


def run_names(paths: Sequence[Path]) -> list[str]:
    """What the runs are called: their files' names, with as much of the path as tells them apart."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in files.

    Raises:
        DataError: names the file that is missing or holds no run.
        UsageError: fewer than two files, or one twice.
    """
    from pr3dict.analytics.comparison import read_run
    from pr3dict.domain.errors import DataError, UsageError

    if len(paths) < 2:
        raise UsageError(
            "compare needs two runs at least; write them with `pr3dict backtest TAPE... --out RUN.json`"
        )
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("compare: one file is named twice; give each run once")
    runs = []
    for path in paths:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise DataError(f"can't be read ({error.strerror}); give files of `--out`", file=path) from None
        runs.append(read_run(text, str(path)))
    return runs


def side_by_side(names: Sequence[str], runs: Sequence[Run]) -> Table:
    """One column a run, one row a figure."""
    from rich.markup import escape

    from pr3dict.cli.results import MICRO, percent

    view = output.table("Runs", "", *(escape(name) for name in names))

    def row(words: str, cells: Iterable[str]) -> None:
        view.add_row(words, *cells)

    row("net", (output.money(run.net_micros, sign=True) for run in runs))
    row("fills", (f"{run.fills:,}" for run in runs))
    row("contracts", (f"{run.contracts / MICRO:,.2f}" for run in runs))
    row("net a contract", (_cents(run.net_per_contract) for run in runs))
    row("spread captured a contract", (_cents(run.spread_per_contract) for run in runs))
    for horizon in HORIZONS:
        row(f"markout after {horizon}", (_cents(run.markouts.get(horizon)) for run in runs))
    row("two-sided uptime", (percent(run.two_sided_uptime) for run in runs))
    row("maximum drawdown", (f"${float(run.max_drawdown):,.2f}" for run in runs))
    return view


def _cents(dollars: float | str | None) -> str:
    return "-" if dollars is None else f"{100 * float(dollars):+.2f}c"


def answer(names: Sequence[str], runs: Sequence[Run], found: Sequence[Comparison]) -> dict[str, object]:
    """The JSON object."""
    from pr3dict.analytics.comparison import LEVEL, differing
    from pr3dict.domain.units import format_contracts, format_dollars

    return {
        "runs": [
            {
                "name": name,
                "net": format_dollars(run.net_micros),
                "fills": run.fills,
                "contracts": format_contracts(run.contracts),
                "net_per_contract_cents": None
                if run.net_per_contract is None
                else round(100 * run.net_per_contract, 6),
                "spread_per_contract": run.spread_per_contract,
                "markouts": run.markouts,
                "two_sided_uptime": run.two_sided_uptime,
                "max_drawdown": run.max_drawdown,
            }
            for name, run in zip(names, runs, strict=True)
        ],
        "assumptions_that_differ": {
            key: dict(zip(names, values, strict=True)) for key, values in differing(runs).items()
        },
        "level": LEVEL,
        "comparisons": [one.to_json() for one in found],
    }


def compare_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Files of `pr3dict backtest TAPE... --out RUN.json`."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put backtests side by side and say which differences are noise.

    Each run is compared with the first, on the same tapes, block by block: an event on a trading day. The 95%
    intervals hold for profit and profit a contract together. docs/backtesting.md says how.
    """
    import numpy as np
    from rich.markup import escape

    from pr3dict.analytics.comparison import compare, differing

    names, runs = run_names(paths), read_runs(paths)
    found = compare(names, runs, np.random.default_rng(SEED))
    if as_json:
        output.print_json(answer(names, runs, found))
        return
    output.console.print(side_by_side(names, runs))
    unlike = differing(runs)
    if unlike:
        view = output.table("What they assume differently", "", *(escape(name) for name in names))
        for key, values in unlike.items():
            view.add_row(key.replace("_", " "), *(escape(value) for value in values))
        output.console.print()
        output.console.print(view)
    output.console.print()
    for one in found:
        output.console.print(one.sentence[:1].upper() + one.sentence[1:], style="bold", markup=False)
        for note in one.notes:
            output.console.print(note, style="dim", markup=False)
    if len(found) > 1:
        words = f"{len(found)} runs are compared with the first, so each has to clear a bar that much higher."
        output.console.print(words, style="dim")
