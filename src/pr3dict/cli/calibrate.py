"""`pr3dict calibrate`: generated markets that resemble recorded ones, and how far they do in figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli.output import console, messages, print_json, progress, table

if TYPE_CHECKING:
    from pr3dict.runtime.calibration import Recorded
    from pr3dict.runtime.market_presets import Preset
    from pr3dict.runtime.resemblance import Comparison
    from pr3dict.runtime.synthetic import Regime
    from pr3dict.store.tape import Tape

WITHIN = {"yes": "yes", "noise": "noise", "no": "[red]no[/red]", "unknown": "-"}
MIN_EVALUATIONS = 12
UNITS = (
    "Spreads, jumps and markouts in cents, sizes and depth in contracts, rates an hour, volatility in cents "
    "per root hour.\n"
)


def _tapes(paths: Sequence[Path]) -> list[Tape]:
    from pr3dict.runtime.tapeset import read_book, tape_paths

    return [read_book(path) for path in tape_paths(paths)]


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.2f}"


def _limit(one: Comparison) -> str:
    """The tolerance for a person: a factor, or a difference in the row's unit."""
    return f"x{math.exp(one.allowed):.2f}" if one.row.scale == "ratio" else f"{one.allowed:.2f}"


def _apart(one: Comparison) -> str:
    if math.isnan(one.distance):
        return "-"
    return f"x{math.exp(one.distance):.2f}" if one.row.scale == "ratio" else f"{one.distance:.2f}"


def _error(one: Comparison) -> str:
    """Standard error in the row's unit; of a ratio row about as large as its logarithm's times the figure."""
    return _number(one.error * one.recorded if one.row.scale == "ratio" else one.error)


def _print_table(title: str, rows: Sequence[Comparison]) -> None:
    view = table(title, "statistic", "recorded", "s.e.", "generated", "distance", "limit", "within")
    for one in rows:
        view.add_row(
            one.row.label,
            _number(one.recorded),
            _error(one),
            _number(one.generated),
            _apart(one),
            _limit(one),
            WITHIN[one.verdict],
        )
    view.columns[0].no_wrap = True
    console.print(view)


def _print_verdict(rows: Sequence[Comparison]) -> None:
    from pr3dict.runtime.resemblance import resembles

    count = {verdict: sum(one.verdict == verdict for one in rows) for verdict in WITHIN}
    console.print(
        f"{'resembles' if resembles(rows) else 'does not resemble'} the recorded tapes: {count['yes']} rows "
        f"within tolerance, {count['noise']} beyond it but within the 95% interval, {count['no']} out"
        + (f", {count['unknown']} not comparable" if count["unknown"] else "")
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json_rows(rows: Sequence[Comparison]) -> list[dict[str, object]]:
    return [
        {
            "statistic": one.row.key,
            "unit": one.row.unit,
            "scale": one.row.scale,
            "recorded": _finite(one.recorded),
            "standard_error": _finite(one.error),
            "generated": _finite(one.generated),
            "distance": _finite(one.distance),
            "tolerance": _finite(one.allowed),
            "within": one.verdict,
        }
        for one in rows
    ]


def _list_presets(*, as_json: bool) -> None:
    from pr3dict.runtime.market_presets import read_presets
    from pr3dict.runtime.resemblance import compare

    presets = read_presets()
    judged = [compare(one.recorded, one.errors, one.generated, len(one.parts) - 1) for one in presets]
    if as_json:
        named = zip(presets, judged, strict=True)
        print_json(
            {
                one.regime.name: {
                    "about": one.regime.about,
                    "source": one.regime.source,
                    "sessions": list(one.sessions),
                    "rows": _json_rows(rows),
                }
                for one, rows in named
            }
        )
        return
    view = table("Fitted presets", "name", "about", "fitted on", "rows out of tolerance", left=3)
    for one, rows in zip(presets, judged, strict=True):
        out = sum(row.verdict == "no" for row in rows)
        view.add_row(one.regime.name, one.regime.about, one.regime.source, f"{out} of {len(rows)}")
    console.print(view)


def _search(recorded: Recorded, name: str, seed: int, evaluations: int, *, quiet: bool) -> Preset:
    """Fit a new regime to tapes; the figures are those of fresh seeds."""
    from pr3dict.runtime.calibration import first_guess, fit, judge
    from pr3dict.runtime.market_presets import Preset

    source = f"Fitted to {len(recorded.samples)} tapes of {len(recorded.sessions)} sessions."
    start = first_guess(recorded, name, "fitted to recordings", source)
    with progress(quiet=quiet) as bar:
        task = bar.add_task("fitting", total=evaluations)

        def show(done: int, loss: float) -> None:
            bar.update(task, completed=done, description=f"fitting, loss {loss:.1f}")

        found = fit(recorded, start, seed=seed, evaluations=evaluations, progress=show)
    rows = judge(found.regime, recorded, seed=seed)
    return Preset(
        regime=found.regime,
        sessions=recorded.sessions,
        parts=recorded.parts,
        recorded=recorded.figures,
        errors=recorded.errors,
        generated={one.row.key: one.generated for one in rows},
    )


def _json_regime(regime: Regime) -> dict[str, object]:
    return {key: getattr(regime, key) for key in regime.__struct_fields__}


def _check_usage(
    paths: Sequence[Path] | None,
    preset: str | None,
    out: Path | None,
    holdout: float,
    seed: int,
    evaluations: int,
) -> None:
    from pr3dict.cli.report import check_target
    from pr3dict.domain.errors import UsageError

    if not paths:
        raise UsageError("no tape was named; give tapes, or --list for the presets")
    if not 0.0 <= holdout < 1.0:
        raise UsageError(f"--holdout: {holdout} is not from 0 to below 1")
    if seed < 0 or evaluations < MIN_EVALUATIONS:
        raise UsageError(f"--seed is at least 0 and --evaluations at least {MIN_EVALUATIONS}")
    if preset is not None and (holdout or out is not None):
        raise UsageError("--preset judges and fits nothing; leave --holdout and --out away")
    check_target("--out", out)


def calibrate_command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TAPE...", help="Recorded tapes, folders of them, or patterns."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Fit nothing: judge this preset, or the first one of a .toml file."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the fitted preset here, as TOML.")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the fitted preset.")] = "fitted",
    holdout: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the sessions that is judged, not fitted.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 1,
    evaluations: Annotated[int, typer.Option(help="Budget of the fit: sets of markets generated.")] = 400,
    list_presets: Annotated[bool, typer.Option("--list", help="Show the presets and their sources.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit the generator of synthetic markets to recorded tapes and show how much they resemble each other.

    Without --preset a new regime is fitted; with --holdout to some of the sessions, and judged on the others.
    Each statistic has a distance and a fixed tolerance; docs/calibration.md defines them.
    """
    from pr3dict.cli.report import write_whole
    from pr3dict.runtime.calibration import FittedTo, judge, read_recorded, split
    from pr3dict.runtime.market_presets import find_preset, preset_toml
    from pr3dict.runtime.resemblance import compare, resembles

    if list_presets:
        _list_presets(as_json=as_json)
        return
    _check_usage(paths, preset, out, holdout, seed, evaluations)
    named = None if preset is None else find_preset(preset)
    tapes = _tapes(paths or ())
    to_fit, to_judge = split(tapes, holdout) if holdout else (tapes, [])
    recorded = read_recorded(to_fit)
    left_out = list(recorded.left_out)
    tables: dict[str, tuple[Comparison, ...]] = {}
    if named is not None:
        found = named
        own = set(recorded.sessions) <= set(found.sessions)
        fitted_to = None if own else FittedTo(found.errors, len(found.parts))
        tables["judged"] = judge(found.regime, recorded, seed=seed, fitted_to=fitted_to)
    else:
        found = _search(recorded, name, seed, evaluations, quiet=as_json)
        tables["fitted"] = compare(found.recorded, found.errors, found.generated, len(found.parts) - 1)
        if to_judge:
            held = read_recorded(to_judge)
            left_out += held.left_out
            tables["held_out"] = judge(
                found.regime, held, seed=seed, fitted_to=FittedTo(recorded.errors, len(recorded.samples))
            )
        if out is not None:
            write_whole("--out", out, preset_toml(found))
    if as_json:
        answer = {key: {"resembles": resembles(r), "rows": _json_rows(r)} for key, r in tables.items()}
        print_json({"regime": _json_regime(found.regime), "left_out": left_out, **answer})
        return
    for sentence in left_out:
        messages.print(f"left out: {sentence}", soft_wrap=True)
    console.print(UNITS, soft_wrap=True)
    titles = {"judged": "Preset", "fitted": "On the tapes of the fit", "held_out": "On tapes held out"}
    for key, rows in tables.items():
        _print_table(f"{titles[key]}: {found.regime.name}", rows)
        _print_verdict(rows)
