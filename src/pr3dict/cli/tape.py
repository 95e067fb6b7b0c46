"""`pr3dict tape info|check|cut|merge`: look at tapes, check them, cut them to a span, join them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pr3dict.cli import output
from pr3dict.domain.errors import DataError, UsageError

if TYPE_CHECKING:
    from pr3dict.store.survey import Checked, SeriesFacts, TapeFacts
    from pr3dict.store.tape import Tape

MOST_ROWS = 40  # of a table for a person; `--json` is always complete
UNITS_NS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9,
}  # fmt: skip
DURATION = re.compile(r"[+-](?:[0-9]+(?:\.[0-9]+)?(?:ns|us|ms|s|m|h|d))+")
PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ns|us|ms|s|m|h|d)")

tape_app = typer.Typer(add_completion=False, help="Look at tapes, check them, cut them and merge them.")

Tapes = Annotated[
    list[str],
    typer.Argument(metavar="TAPE...", help="Tapes: files, folders of them, or patterns of *.parquet."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@tape_app.command("info")
def info_command(tapes: Tapes, as_json: Json = False) -> None:
    """Show what tapes and series hold and what they can be used for.

    One tape is shown in full, several as a row each with totals. Median spread, size at the touch and the
    share of time with both sides are taken at 2,000 moments equally spaced over the tape.
    """
    from pr3dict.runtime.tapeset import expand_paths
    from pr3dict.store.survey import TapeFacts, facts_of

    facts = _each(expand_paths(tapes), facts_of, quiet=as_json)
    of_tapes = [one for one in facts if isinstance(one, TapeFacts)]
    of_series = [one for one in facts if not isinstance(one, TapeFacts)]
    if as_json:
        answer = {
            "tapes": [_tape_json(one) for one in of_tapes],
            "series": [_series_json(one) for one in of_series],
            "totals": _totals(of_tapes),
        }
        output.print_json(answer)
    elif len(of_tapes) == 1 and not of_series:
        _show_tape(of_tapes[0])
    else:
        _show_table(of_tapes, of_series)


@tape_app.command("check")
def check_command(tapes: Tapes, as_json: Json = False) -> None:
    """Check tapes and series: each file is read to the end, whatever is wrong with another.

    Beyond what reading refuses: a settlement that contradicts the outcome, trades that contradict the
    metadata, bars known too early, two files of one market and session. Notes (silences, odd level sizes,
    books crossed within an instant) fail nothing. Exit code 2 when a file failed.
    """
    from pr3dict.runtime.tapeset import expand_paths
    from pr3dict.store.survey import check_file, repeated

    files = _each(expand_paths(tapes), check_file, quiet=as_json)
    failed = {file.path: list(file.errors) for file in files if file.errors}
    for path, first in repeated(files).items():
        failed.setdefault(path, []).append(f"tells of the same market and session as {first}")
    if as_json:
        each = [
            {
                "file": file.path,
                "kind": file.kind or None,
                "errors": failed.get(file.path, []),
                "notes": list(file.notes),
            }
            for file in files
        ]
        output.print_json({"checked": len(files), "failed": len(failed), "files": each})
    else:
        _show_check(files, failed)
    if failed:
        some = f"{len(failed):,} of {len(files):,} files failed the check"
        raise DataError(f"{some}; import them again or leave them out")


@tape_app.command("cut")
def cut_command(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="One tape.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The tape to write.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="T", help="ISO 8601 in UTC, +10m after the start or -10m before the end."
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="T", help="As --from; rows at this moment are left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Cut a tape to a span of time.

    A cut order book starts with a snapshot of what stood at that moment and with the status, grid, close time
    and news in force, so that it replays as the original does.
    """
    from pr3dict.store.edit import cut_tape, span_ns
    from pr3dict.store.tape import read_tape, write_tape

    if start is None and end is None:
        raise UsageError("give --from, --to or both")
    _not_itself(out, [tape])
    whole = read_tape(tape)
    first_ns, last_ns = span_ns(whole)
    from_ns = first_ns if start is None else moment_ns(start, first_ns, last_ns, option="--from")
    to_ns = max(from_ns, last_ns) + 1 if end is None else moment_ns(end, first_ns, last_ns, option="--to")
    try:
        cut = cut_tape(whole, from_ns, to_ns)
    except DataError as error:
        raise error.at(file=tape) from None
    write_tape(out, cut.events, cut.meta)
    _show_written(out, cut, as_json=as_json)


@tape_app.command("merge")
def merge_command(
    tapes: Tapes,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The tape to write.")],
    as_json: Json = False,
) -> None:
    """Join tapes of one market, such as its sessions or hours, to one tape in order of time.

    Parts that overlap, or differ in market, venue, kind, fee or outcome, are refused. Each part starts with
    its own book; where more than a minute is missing the market is paused.
    """
    from pr3dict.runtime.tapeset import expand_paths
    from pr3dict.store.edit import merge_tapes
    from pr3dict.store.tape import read_tape, write_tape

    files = expand_paths(tapes)
    if len(files) < 2:
        raise UsageError(f"{files[0]} is a single tape; name two or more parts to merge")
    _not_itself(out, files)
    merged = merge_tapes([read_tape(file) for file in files], [str(file) for file in files])
    write_tape(out, merged.events, merged.meta)
    _show_written(out, merged, as_json=as_json)


# --- reading the line -----------------------------------------------------------------------------

Found = TypeVar("Found")


def _each(files: Sequence[Path], look: Callable[[Path], Found], *, quiet: bool) -> list[Found]:
    """`look` at each file, with progress."""
    with output.progress(quiet=quiet) as bar:
        return [look(file) for file in bar.track(files, description="reading")]


def _not_itself(out: Path, files: Sequence[Path]) -> None:
    if out.resolve() in {file.resolve() for file in files}:
        raise UsageError(f"--out: {out} is one of the tapes that are read; write to another file")


def moment_ns(text: str, first_ns: int, last_ns: int, *, option: str) -> int:
    """A moment in ns UTC: ISO 8601, or a duration after the start (`+1h30m`) or before the end (`-10m`).

    Raises:
        UsageError: names the option and says what is understood.
    """
    from pr3dict.store.importers.common import Timestamps

    if DURATION.fullmatch(text):
        span: int = sum(
            (int(whole + (places or "")) * UNITS_NS[unit]) // 10 ** len(places or "")
            for whole, places, unit in PART.findall(text)
        )
        return first_ns + span if text[0] == "+" else last_ns - span
    whole = f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else text
    whole = re.sub(r"(T\d{2}:\d{2})Z?$", r"\1:00Z", whole)
    try:
        return Timestamps()(whole if whole.endswith("Z") else f"{whole}Z")
    except DataError:
        known = "2026-05-14T00:30:00Z, +10m after the start or -10m before the end"
        raise UsageError(f"{option}: {text!r} is no moment; write {known}") from None


# --- as JSON --------------------------------------------------------------------------------------


def _dollars_of(price: int | None) -> str | None:
    from pr3dict.domain.units import format_price

    return None if price is None else format_price(price)


def _contracts(size: int | None) -> str | None:
    from pr3dict.domain.units import format_contracts

    return None if size is None else format_contracts(size)


def _tape_json(facts: TapeFacts) -> dict[str, object]:
    from pr3dict.store.survey import grid_words

    meta = facts.meta
    return {
        "file": facts.path,
        "kind": meta.kind,
        "venue": meta.venue,
        "ticker": meta.ticker,
        "event_id": meta.event_id,
        "title": meta.title,
        "session": meta.session,
        "source_format": meta.source_format,
        "start_ns": facts.start_ns,
        "end_ns": facts.end_ns,
        "rows": facts.rows,
        "rows_by_kind": facts.rows_by_kind,
        "trades": facts.trades,
        "trades_inferred": facts.trades_inferred,
        "contracts": _contracts(facts.contracts),
        "trade_size_median": _contracts(facts.trade_size_median),
        "spread_median": _dollars_of(facts.spread_median),
        "touch_size_median": _contracts(facts.touch_size_median),
        "two_sided_share": facts.two_sided_share,
        "grids": [grid_words(grid) for grid in meta.grids],
        "min_size": _contracts(meta.min_size),
        "lot": _contracts(meta.lot),
        "fee": {key: getattr(meta.fee, key) for key in meta.fee.__struct_fields__},
        "open_ns": meta.open_ns,
        "close_ns": meta.close_ns,
        "expected_resolution_ns": meta.expected_resolution_ns,
        "times_source": meta.times_source,
        "strike": meta.strike,
        "outcome": meta.outcome,
        "outcome_source": meta.outcome_source,
        "has_trades": meta.has_trades,
        "synthetic": meta.synthetic,
        "quality": meta.quality,
        "replayable": facts.replayable,
        "because": facts.because,
    }


def _series_json(facts: SeriesFacts) -> dict[str, object]:
    meta = facts.meta
    return {
        "file": facts.path,
        "kind": meta.kind,
        "venue": meta.venue,
        "name": meta.name,
        "title": meta.title,
        "session": meta.session,
        "source_format": meta.source_format,
        "unit": meta.unit or None,
        "start_ns": facts.start_ns,
        "end_ns": facts.end_ns,
        "rows": facts.rows,
        "outcomes": facts.outcomes,
        "quality": meta.quality,
    }


def _totals(facts: Sequence[TapeFacts]) -> dict[str, object]:
    kinds: dict[str, int] = {}
    for one in facts:
        kinds[one.meta.kind] = kinds.get(one.meta.kind, 0) + 1
    return {
        "tapes": len(facts),
        "kinds": kinds,
        "markets": len({(one.meta.venue, one.meta.ticker) for one in facts}),
        "rows": sum(one.rows for one in facts),
        "trades": sum(one.trades for one in facts),
        "trades_inferred": sum(one.trades_inferred for one in facts),
        "contracts": _contracts(sum(one.contracts for one in facts)),
        "replayable": sum(one.replayable for one in facts),
        "outcomes_known": sum(one.meta.outcome is not None for one in facts),
    }


# --- for a person ---------------------------------------------------------------------------------


def _moment(ns: int | None) -> str:
    import numpy as np

    return "-" if ns is None else f"{np.datetime64(ns, 'ns').astype('datetime64[ms]')}Z"


def _length(ns: int) -> str:
    seconds = round(ns / 10**9)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _tape_lines(facts: TapeFacts) -> Iterator[tuple[str, str]]:
    from pr3dict.runtime.tapeset import fee_name
    from pr3dict.store.survey import grid_words

    meta = facts.meta
    yield "market", f"{meta.ticker} on {meta.venue}: {meta.title}"
    yield "kind", f"{meta.kind}, from {meta.source_format}, session {meta.session}"
    span = f"{_moment(facts.start_ns)} to {_moment(facts.end_ns)}"
    yield "span", f"{span} ({_length(facts.end_ns - facts.start_ns)})"
    yield "rows", ", ".join(f"{count:,} {name}" for name, count in facts.rows_by_kind.items())
    if meta.kind in ("book", "trades"):
        inferred = f", {facts.trades_inferred:,} of them inferred" if facts.trades_inferred else ""
        size = f", median {_contracts(facts.trade_size_median)}" if facts.trades else ""
        yield "trades", f"{facts.trades:,} of {_contracts(facts.contracts)} contracts{inferred}{size}"
    if facts.two_sided_share is not None:
        at_touch = _contracts(facts.touch_size_median)
        touch = f"; median of the smaller size at the touch {at_touch}" if at_touch else ""
        spread = f"median ${_dollars_of(facts.spread_median)}" if facts.spread_median is not None else "none"
        yield "spread", f"{spread}; both sides {_share(facts.two_sided_share)} of the time{touch}"
    if meta.grids:
        yield "grids", "; ".join(grid_words(grid) for grid in meta.grids)
        yield "orders", f"at least {_contracts(meta.min_size)}, in steps of {_contracts(meta.lot)} contracts"
    yield "fee", f"{fee_name(meta, direct_member=False)} ({meta.fee.source})"
    close, resolution = _moment(meta.close_ns), _moment(meta.expected_resolution_ns)
    yield "times", f"open {_moment(meta.open_ns)}, close {close}, resolution {resolution} {meta.times_source}"
    yield "outcome", f"{meta.outcome or 'not known'} {meta.outcome_source}".strip()
    if meta.quality:
        yield "quality", ", ".join(f"{key} {value}" for key, value in meta.quality.items())
    yield "replayable", f"{'yes' if facts.replayable else 'no'}: {facts.because}"


def _show_tape(facts: TapeFacts) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(str(facts.path)), title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _tape_lines(facts):
        table.add_row(name, escape(text))
    output.console.print(table)


def _show_table(tapes: Sequence[TapeFacts], series: Sequence[SeriesFacts]) -> None:
    from rich.markup import escape

    if tapes:
        columns = ("kind", "span", "rows", "trades", "spread", "two-sided", "outcome", "replay")
        table = output.table(f"{len(tapes):,} tapes", "market", *columns, left=2)
        table.columns[0].overflow = "fold"
        for one in tapes[:MOST_ROWS]:
            table.add_row(
                escape(one.meta.ticker),
                one.meta.kind,
                _length(one.end_ns - one.start_ns),
                f"{one.rows:,}",
                f"{one.trades:,}" if one.meta.kind in ("book", "trades") else "-",
                _dollars_of(one.spread_median) or "-",
                _share(one.two_sided_share),
                one.meta.outcome or "-",
                "yes" if one.replayable else "no",
            )
        output.console.print(table)
        _and_more(len(tapes))
        _show_totals(_totals(tapes))
    if series:
        table = output.table(f"{len(series):,} series", "series", "kind", "rows", "told", left=2)
        table.columns[0].overflow = "fold"
        for item in series[:MOST_ROWS]:
            told = item.meta.unit or ", ".join(f"{count:,} {name}" for name, count in item.outcomes.items())
            table.add_row(escape(item.path.stem), item.meta.kind, f"{item.rows:,}", escape(told))
        output.console.print(table)
        _and_more(len(series))


def _and_more(count: int) -> None:
    if count > MOST_ROWS:
        output.console.print(f"... and {count - MOST_ROWS:,} more (all of them with --json)")


def _show_totals(totals: dict[str, Any]) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in totals["kinds"].items())
    output.console.print(
        f"{totals['tapes']:,} tapes ({kinds}) of {totals['markets']:,} markets with {totals['rows']:,} rows; "
        f"{totals['trades']:,} trades ({totals['trades_inferred']:,} inferred) of {totals['contracts']} "
        f"contracts; {totals['replayable']:,} can be replayed, {totals['outcomes_known']:,} outcomes known",
        soft_wrap=True,
    )


def _show_check(files: Sequence[Checked], failed: dict[Path, list[str]]) -> None:
    from rich.markup import escape

    shown = 0
    for file in files:
        for sentence in failed.get(file.path, []):
            output.console.print(f"FAILED {escape(f'{file.path}: {sentence}')}", soft_wrap=True)
        for note in file.notes:
            shown += 1
            if shown <= MOST_ROWS:
                output.console.print(f"note {escape(f'{file.path}: {note}')}", soft_wrap=True)
    if shown > MOST_ROWS:
        output.console.print(f"... and {shown - MOST_ROWS:,} more notes (all of them with --json)")
    output.console.print(f"{len(files):,} files checked, {len(failed):,} failed")


def _show_written(path: Path, tape: Tape, *, as_json: bool) -> None:
    from pr3dict.store.edit import span_ns

    first_ns, last_ns = span_ns(tape)
    if as_json:
        output.print_json(
            {
                "tape": path,
                "kind": tape.meta.kind,
                "ticker": tape.meta.ticker,
                "session": tape.meta.session,
                "rows": len(tape.events),
                "start_ns": first_ns,
                "end_ns": last_ns,
                "quality": tape.meta.quality,
            }
        )
        return
    span = f"{_moment(first_ns)} to {_moment(last_ns)}"
    output.console.print(f"{path}: {len(tape.events):,} rows, {span}", soft_wrap=True, markup=False)
