"""`pr3dict journal verify|replay|export`: prove that a journal is true; write it as JSON lines."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from pr3dict.cli import output
from pr3dict.cli.process import DataDirOption, JsonOption
from pr3dict.domain.errors import DataError, UsageError, WorkError

if TYPE_CHECKING:
    from pr3dict.domain.events import Started
    from pr3dict.engine.account import OrderTerms
    from pr3dict.store.journal import Stored
    from pr3dict.store.journal_verify import Verified

journal_app = typer.Typer(
    add_completion=False, help="Prove that a journal is whole, replay it, write it as JSON lines."
)


@journal_app.command("verify")
def verify_command(
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every row of the journal again and make every sum a second way.

    Compared are: the database's own check, the mark of the last durable step, numbers, times and hash chain
    of the steps, the columns of each row with its body, the account folded from the first step with the one
    from the latest snapshot and with the hashes noted while it ran, and each position with its fills added up
    from the raw JSON. May run beside the process. Exit code 1 names the first difference.
    """
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.journal import Journal
    from pr3dict.store.journal_verify import verify

    place = DataDir.of(data_dir).existing()
    with Journal.read(place.journal) as journal:
        found = verify(journal, terms_of)
    if as_json:
        output.print_json(_json(found))
    else:
        _show(found)
    if found.difference is not None:
        raise WorkError(f"{found.path}: {found.difference}")


@journal_app.command("replay")
def replay_command(
    data_dir: DataDirOption = None,
    first: Annotated[
        int | None,
        typer.Option("--first", metavar="N", min=1, help="A run that began with step N; default: the last."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a process again from its recording and its journal, and compare all that it did.

    A fresh engine takes the same market data and inputs at the same times: what it concludes, commands and
    quotes must be what was journaled. Where the run ended in order, its last state must have the same hash.
    Exit code 1 names the first difference.
    """
    from pr3dict.runtime.session_replay import replay_session
    from pr3dict.store.data_dir import DataDir

    place = DataDir.of(data_dir).existing()
    found = replay_session(place, first)
    if as_json:
        output.print_json({**dataclasses.asdict(found), "ok": found.difference is None})
    else:
        ended = "ended in order" if found.was_whole else "did not end in order"
        what = f"{found.steps:,} steps on {found.rows:,} rows of market data"
        done = f"{what} agree" if found.difference is None else f"{what} are the same, then not"
        title = f"the run of steps {found.first:,} to {found.last:,} {ended}"
        output.console.print(f"{title}: {done}; state {found.state_hash[:16]}", soft_wrap=True)
    if found.difference is not None:
        raise WorkError(f"{place.path}: {found.difference}")


@journal_app.command("export")
def export_command(
    data_dir: DataDirOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file to write; default: stdout.")
    ] = None,
    after: Annotated[
        int, typer.Option("--after", metavar="N", min=0, help="Only steps with a number above N.")
    ] = 0,
) -> None:
    """Write the journal as JSON lines, one a step, in order.

    Keys of a line: `number`, `now_ns`, `rows` (of market data that the process had seen), `inputs` (events
    from outside), `derived` (events that the engine concluded), `commands` (what it asked for) and `quotes`
    (decisions that changed, with every term).

    All numbers are exact integers. Prices are in 1/10,000 dollar of a YES contract, sizes (`size`, `filled`,
    `remaining`, `*_contracts`, `qty`) in 1/1,000,000 contract, names that end in `_micros` in 1/1,000,000
    dollar, in `_ns` nanoseconds (UTC where it is a moment), in `_ppm` parts per million. `side` 0 buys YES, 1
    sells YES; a key that is left out has its default (0, false, empty).
    """
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.journal import Journal

    place = DataDir.of(data_dir).existing()
    count = 0
    with Journal.read(place.journal) as journal, _sink(out) as sink:
        for stored in journal.stored(after):
            sink.write(line_of(stored))
            count += 1
    if out is not None:
        output.messages.print(f"{count:,} steps written to {out}", soft_wrap=True)


def terms_of(started: Started) -> OrderTerms:
    """The order terms of a process, from the settings that it journaled."""
    from pr3dict.engine.settings import order_terms
    from pr3dict.risk.limits import RiskConfig
    from pr3dict.runtime.settings import read_settings

    try:
        return order_terms(read_settings(started.settings).risk)
    except DataError:  # of another version, whose times can't be known
        return order_terms(RiskConfig())


# --- export ---------------------------------------------------------------------------------------


def line_of(stored: Stored) -> str:
    """One line of JSON; the bodies stand in it as they stand in the journal."""
    parts: dict[str, list[str]] = {"input": [], "derived": [], "command": []}
    for columns in stored.events:
        parts[columns.source].append(columns.body)
    quotes = json.dumps([_quote(market, row) for market, row in stored.quotes], separators=(",", ":"))
    head = f'"number":{stored.number},"now_ns":{stored.now_ns},"rows":{stored.rows}'
    keys = {"inputs": "input", "derived": "derived", "commands": "command"}
    bodies = ",".join(f'"{key}":[{",".join(parts[source])}]' for key, source in keys.items())
    return f'{{{head},{bodies},"quotes":{quotes}}}\n'


def _quote(market: int, row: bytes) -> dict[str, Any]:
    """The fields of a QUOTE row; the bytes in hex where it is a row of another version."""
    import numpy as np

    from pr3dict.kernels import dtypes as d

    if len(row) != d.QUOTE.itemsize:
        return {"market": market, "row": row.hex()}
    quote = np.frombuffer(row, d.QUOTE)[0]
    return {"market": market, **{name: quote[name].tolist() for name in d.QUOTE.names or ()}}


@contextmanager
def _sink(out: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that is written whole or not at all."""
    if out is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with temporary.open("x", encoding="utf-8") as sink:
            yield sink
        temporary.replace(out)
    except OSError as error:
        raise UsageError(f"--out: {out} can't be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


# --- verify ---------------------------------------------------------------------------------------


def _json(found: Verified) -> dict[str, object]:
    return {
        "journal": found.path,
        "ok": found.difference is None,
        "difference": found.difference,
        "steps": found.steps,
        "inputs": found.inputs,
        "derived": found.derived,
        "commands": found.commands,
        "quotes": found.quotes,
        "starts": found.starts,
        "first_ns": found.first_ns,
        "last_ns": found.last_ns,
        "chain": found.chain,
        "checks": [check._asdict() for check in found.checks],
    }


def _show(found: Verified) -> None:
    title = f"{found.steps:,} steps of {found.starts:,} processes"
    table = output.table(title, "compared", "of these", "result", left=1)
    for check in found.checks:
        result = "differs" if check.difference else "agrees" if check.compared else "nothing to compare"
        table.add_row(check.name, f"{check.compared:,}", result)
    output.console.print(table)
    rows = f"{found.inputs:,} inputs, {found.derived:,} conclusions, {found.commands:,} commands"
    output.console.print(f"{rows}, {found.quotes:,} quotes; chain {found.chain[:16]}", soft_wrap=True)
