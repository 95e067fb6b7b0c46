"""`pr3dict import`: recordings of other programs to checked tapes, with a report of their quality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli import output

if TYPE_CHECKING:
    from pr3dict.store.importers import WrittenTape
    from pr3dict.store.importers.common import MarketReport


MOST_ROWS = 40  # of a table for a person; `--json` is always complete


def import_command(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="The recording's format; `list` shows all of them.")
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER_OR_FILES...", help="A set's folder, or sessions or files of it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the tapes; made if missing.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", help="Recordings read at a time, each in a process.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Turn recordings of other programs into checked tapes.

    Writes one Parquet tape a market and session, and reports what the recording is worth: gaps, crossed
    books, how often the replayed book equals a later snapshot, and how much of the volume the inferred trades
    explain. `pr3dict import list` shows the formats.
    """
    from pr3dict.domain.errors import UsageError
    from pr3dict.store.importers import get_importer, import_recordings, report_json

    if format_name == "list":
        _print_formats(as_json=as_json)
        return
    importer = get_importer(format_name)
    if not paths:
        raise UsageError(f"FOLDER_OR_FILES is missing: name the recordings of {importer.name} to import")
    if out is None:
        raise UsageError("--out is missing: name the folder for the tapes")
    if jobs < 1:
        raise UsageError(f"--jobs: {jobs} is not at least 1")
    with output.progress(quiet=as_json) as bar:
        task = bar.add_task(importer.name, total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name or importer.name)

        written = import_recordings(importer, paths, out, show, jobs=jobs)
    if as_json:
        output.print_json(report_json(written))
    else:
        _print_report(importer.name, written, out)


def _print_formats(*, as_json: bool) -> None:
    from pr3dict.store.importers import FORMATS, get_importer

    summaries = {name: get_importer(name).summary for name in FORMATS}
    if as_json:
        output.print_json({"formats": summaries})
        return
    table = output.table("Formats of `pr3dict import`", "format", "what it reads", left=2)
    for name, summary in summaries.items():
        table.add_row(name, summary)
    output.console.print(table)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"


def _cells(r: MarketReport) -> tuple[str, ...]:
    return (
        r.kind,
        f"{r.events:,}",
        f"{r.snapshots_equal}/{r.snapshots_checked}" if r.snapshots_checked else "-",
        f"{r.trades:,}" if r.trades or r.kind in ("book", "trades") else "-",
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
    title = f"{counted(len(written), 'file')} of {name} in {escape(str(out))}"
    columns = ("market", "kind", "rows", "equal", "trades", "explained", "settled", "defects")
    table = output.table(title, *columns, left=2)
    table.columns[0].overflow = "fold"
    for r in reports[:MOST_ROWS]:
        table.add_row(escape(r.market), *_cells(r))
    output.console.print(table)
    if len(reports) > MOST_ROWS:
        output.console.print(f"... and {len(reports) - MOST_ROWS:,} more (all of them with --json)")
    for sentence in _totals(reports):
        output.console.print(sentence, soft_wrap=True)
    defects = defects_of(written)
    output.console.print(counted(len(defects), "defect") if defects else "no defects")
    for defect in defects[:MOST_ROWS]:
        output.console.print(f"  {escape(defect)}", soft_wrap=True)
    if len(defects) > MOST_ROWS:
        output.console.print(f"  ... and {len(defects) - MOST_ROWS:,} more (all of them with --json)")


def _totals(reports: Sequence[MarketReport]) -> Iterator[str]:
    """What an import amounts to, in sentences: files and rows by kind, then books, then trades."""
    from pr3dict.store.importers.common import counted

    for kind in dict.fromkeys(r.kind for r in reports):
        rows = [r.events for r in reports if r.kind == kind]
        yield f"{kind}: {counted(len(rows), 'file')} with {counted(sum(rows), 'row')}"
    books = [r for r in reports if r.kind == "book"]
    if books:
        checked, equal = sum(r.snapshots_checked for r in books), sum(r.snapshots_equal for r in books)
        compared = f"{equal:,} of {checked:,} later snapshots ({_percent(equal, checked)})"
        settled = counted(sum(r.settled for r in books), "book tape")
        equality = f"replayed book equals {compared}" if checked else "no later snapshot to compare with"
        yield f"{equality}; {settled} settled"
    traded = [r for r in reports if r.kind in ("book", "trades")]
    if traded:
        yield _trades_sentence(traded)


def _trades_sentence(reports: Sequence[MarketReport]) -> str:
    from pr3dict.store.importers.common import counted

    inferred = sum(r.trades_inferred for r in reports)
    recorded = sum(r.trades for r in reports) - inferred
    if not inferred:
        return f"{counted(recorded, 'trade')} recorded" if recorded else "no trade was recorded or inferred"
    volume = sum(r.volume or 0 for r in reports)
    explained = sum(r.volume_explained or 0 for r in reports)
    share = _percent(explained, volume) if volume else "an unknown share"
    were = f"{counted(inferred, 'trade')} inferred ({share} of the traded volume is explained by them)"
    return f"{were}, {counted(recorded, 'trade')} recorded" if recorded else f"{were}, none recorded"
