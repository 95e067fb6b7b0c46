"""`pr3dict import`: recordings of other programs to checked tapes, with a report of their quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli import output

if TYPE_CHECKING:
    from pr3dict.store.importers import WrittenTape
    from pr3dict.store.importers.common import MarketReport


def import_command(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="The recording's format; `pr3dict import list` shows all.")
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER_OR_FILES...", help="A set's folder, or sessions or files of it."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the tapes; made if missing.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Turn recordings of other programs into checked tapes.

    Writes one Parquet tape a market and session, and reports what the recording is worth: gaps, crossed
    books, how often the replayed book equals a later snapshot, and how much of the volume the inferred trades
    explain.
    """
    from pr3dict.store.importers import get_importer, import_recordings, report_json

    importer = get_importer(format_name)
    with output.progress(quiet=as_json) as bar:
        task = bar.add_task(importer.name, total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name or importer.name)

        written = import_recordings(importer, paths, out, show)
    if as_json:
        output.print_json(report_json(written))
    else:
        _print_report(importer.name, written, out)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"


def _cells(r: MarketReport) -> tuple[str, ...]:
    return (
        f"{r.events:,}",
        f"{r.snapshots_equal}/{r.snapshots_checked}" if r.snapshots_checked else "-",
        f"{r.trades_inferred:,}",
        _percent(r.volume_explained or 0, r.volume or 0),
        "yes" if r.settled else "no",
        f"{len(r.defects)}",
    )


def _print_report(name: str, written: Sequence[WrittenTape], out: Path) -> None:
    """The quality report for a person: a row a tape, totals, then every defect."""
    from rich.markup import escape

    from pr3dict.store.importers import defects_of
    from pr3dict.store.importers.common import counted

    reports = [tape.report for tape in written]
    title = f"{counted(len(written), 'tape')} of {name} in {escape(str(out))}"
    table = output.table(title, "market", "rows", "equal", "trades", "explained", "settled", "defects")
    for r in reports:
        table.add_row(escape(r.market), *_cells(r))
    output.console.print(table)
    checked, equal = sum(r.snapshots_checked for r in reports), sum(r.snapshots_equal for r in reports)
    volume, explained = sum(r.volume or 0 for r in reports), sum(r.volume_explained or 0 for r in reports)
    output.console.print(
        f"{sum(r.events for r in reports):,} rows; replayed book equals {equal} of {checked} later snapshots "
        f"({_percent(equal, checked)}); {counted(sum(r.settled for r in reports), 'tape')} settled",
        soft_wrap=True,
    )
    output.console.print(
        f"{sum(r.trades_inferred for r in reports):,} trades were inferred, none was recorded; they explain "
        f"{_percent(explained, volume) if volume else 'an unknown share'} of the traded volume",
        soft_wrap=True,
    )
    defects = defects_of(written)
    output.console.print(counted(len(defects), "defect") if defects else "no defects")
    for defect in defects:
        output.console.print(f"  {escape(defect)}", soft_wrap=True)
