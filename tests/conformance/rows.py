"""Numbered rows of what the program does at a venue: each is one test, one line of `make conformance`, and
one line of the venue's page in docs/.

A number is section and place ("11.16"). Sections are the venue's own: `conformance/<venue>/rows.py` names
them, and its files `test_section_<n>.py` hold the rows, and (as `UNUSED`) what is not used of it, and why.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

HERE = Path(__file__).resolve().parent
ATTRIBUTE = "conformance_row"
Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `demo`: it may also run against the venue's demo account."""

    number: str
    text: str
    demo: bool = False

    def __post_init__(self) -> None:
        section, dot, place = self.number.partition(".")
        if not (dot and section.isdecimal() and place.isdecimal()):
            raise ValueError(f"{self.number!r} is no number of a row; write it like 11.16")
        if not self.text or not self.text.endswith(".") or "\n" in self.text:
            raise ValueError(f"row {self.number} needs one sentence of text, with its full stop")

    @property
    def key(self) -> tuple[int, int]:
        """Sorts rows as people count."""
        section, _, place = self.number.partition(".")
        return int(section), int(place)


class Unused(NamedTuple):
    """What of a venue the program does not use, and why."""

    what: str
    why: str


def row(number: str, text: str, *, demo: bool = False) -> Callable[[Test], Test]:
    """Make a test the test of a row."""

    def mark(test: Test) -> Test:
        setattr(test, ATTRIBUTE, Row(number, text, demo))
        return test

    return mark


def row_of(test: Any) -> Row | None:
    """The row that a test is of; None: it is an ordinary test."""
    found = getattr(test, ATTRIBUTE, None)
    return found if isinstance(found, Row) else None


def venues() -> list[str]:
    """Venues that have rows."""
    return sorted(path.parent.name for path in HERE.glob("*/rows.py"))


def modules(venue: str) -> list[ModuleType]:
    """A venue's test files by section, imported."""
    if str(HERE.parent) not in sys.path:
        sys.path.insert(0, str(HERE.parent))
    names = [path.stem for path in (HERE / venue).glob("test_section_*.py")]
    names.sort(key=lambda name: [int(part) for part in name.split("_")[2:]])
    return [importlib.import_module(f"conformance.{venue}.{name}") for name in names]


def rows_of(venue: str) -> list[Row]:
    """All rows of a venue in order; raises `ValueError` for a number that two tests claim."""
    tests = [test for module in modules(venue) for test in vars(module).values()]
    found = sorted((one for test in tests if (one := row_of(test)) is not None), key=lambda one: one.key)
    for first, second in pairwise(found):
        if first.number == second.number:
            raise ValueError(f"two tests are of row {first.number}: {first.text!r} and {second.text!r}")
    return found


def unused_of(venue: str) -> list[Unused]:
    """What of a venue is not used."""
    return [one for module in modules(venue) for one in getattr(module, "UNUSED", ())]


def titles_of(venue: str) -> dict[int, str]:
    """Sections of a venue by number."""
    if str(HERE.parent) not in sys.path:
        sys.path.insert(0, str(HERE.parent))
    titles: dict[int, str] = importlib.import_module(f"conformance.{venue}.rows").TITLES
    return titles
