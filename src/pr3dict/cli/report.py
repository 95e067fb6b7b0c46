"""Writes what a backtest found to files: the HTML report and the JSON of a run, whole or not at all."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pr3dict.cli.output import json_text, messages
from pr3dict.domain.errors import UsageError

if TYPE_CHECKING:
    from pr3dict.runtime.backtest import BacktestResult


def check_target(option: str, path: Path | None) -> None:
    """Refuse a file that can't be written, before hours of work are spent on it.

    Raises:
        UsageError: the path is a folder, its folder is missing, or no file can be made there.
    """
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: the folder {path.parent} does not exist; make it first")
    try:
        _beside(path).touch()
        _beside(path).unlink()
    except OSError as error:
        raise _unwritable(option, path, error) from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _unwritable(option: str, path: Path, error: OSError) -> UsageError:
    return UsageError(f"{option}: {path} can't be written ({error.strerror}); choose another file")


def write_whole(option: str, path: Path, text: str) -> None:
    """Write beside the target, then rename: a reader never meets half a file.

    Raises:
        UsageError: the file can't be written.
    """
    beside = _beside(path)
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise _unwritable(option, path, error) from None


def command_line() -> str:
    """The line that was typed, as it can be typed again."""
    return shlex.join(["pr3dict", *sys.argv[1:]])


def write_report(result: BacktestResult, title: str, target: Path) -> None:
    """Write the HTML page of a result."""
    from pr3dict.runtime.report_page import report_page

    write_whole("--report", target, report_page(result, title=title, command=command_line()))


def write_results(result: BacktestResult, title: str, report: Path | None, out: Path | None) -> None:
    """Write the files that were asked for and say where they are."""
    if report is not None:
        write_report(result, title, report)
        messages.print(f"Report: {report} (one file, opens in any browser)", style="dim", markup=False)
    if out is not None:
        write_whole("--out", out, json_text(result.to_json()))
        messages.print(f"Run: {out} (for `pr3dict compare`)", style="dim", markup=False)
