"""What every command prints with: results on stdout, everything else on stderr.

So `pr3dict COMMAND --json | jq` always sees one JSON object and nothing more, whatever progress or advice
the person at the terminal is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress

MICROS_PER_DOLLAR = 1_000_000

console = Console(highlight=False)
"""Stdout, for results that a person reads."""

messages = Console(stderr=True, highlight=False)
"""Stderr, for progress, notes and errors."""


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_string(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not part of a JSON answer")


def json_text(answer: Mapping[str, object]) -> str:
    """One JSON object and a newline, keys in their order of insertion.

    `Decimal` becomes a plain decimal string, `Path` a string; NaN and infinities are refused.

    Raises:
        TypeError: a value has no agreed JSON form.
        ValueError: a float is not finite.
    """
    return json.dumps(answer, default=_plain, allow_nan=False, indent=2, ensure_ascii=False) + "\n"


def print_json(answer: Mapping[str, object]) -> None:
    """Write exactly one JSON object on stdout; raises what `json_text` does."""
    sys.stdout.write(json_text(answer))
    sys.stdout.flush()


def decimal_string(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: `0.0400` -> `0.04`, `1E+2` -> `100`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def dollars(micros: int) -> Decimal:
    """Exact dollars of an amount in 1/1,000,000 dollar."""
    return Decimal(micros) / MICROS_PER_DOLLAR


def money(amount: Decimal | int, places: int = 2, *, sign: bool = False) -> str:
    """Dollars for a person: `-$1,234.50`; `sign` also marks gains with `+`. An `int` is micros.

    Rounds half to even for display only: sums are made before, on the exact amounts.
    """
    value = dollars(amount) if isinstance(amount, int) else amount
    digits = f"{abs(value):,.{places}f}"
    is_zero = not any(c in "123456789" for c in digits)
    mark = "" if is_zero else "-" if value < 0 else "+" if sign else ""
    return f"{mark}${digits}"


def table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table in the house style: the first `left` columns hold words, the others figures."""
    result = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < left else "right", header_style="dim")
    return result


def progress(*, quiet: bool = False) -> Progress:
    """A progress display on stderr for a `with` block; silent when `quiet` or when nobody watches."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
        disable=quiet or not messages.is_terminal,
    )
