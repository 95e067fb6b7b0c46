"""Named places where a test lets the process die: `PR3DICT_CRASH_AT=name:n` kills it at the n-th pass.

The kill is SIGKILL, so nothing is cleaned up, as in a real crash. Without the variable a pass costs one look
into an empty dict. The list of all points is read from the sources, so none can be forgotten.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Final

from pr3dict.domain.errors import UsageError

VARIABLE: Final = "PR3DICT_CRASH_AT"
CALL: Final = re.compile(r"""\b_?crash_point\(\s*["']([a-z_.]+)["']\s*\)""")


def crash_points() -> tuple[str, ...]:
    """The names of all crash points in the sources of the package, sorted."""
    package = Path(__file__).resolve().parent.parent
    return tuple(sorted({name for path in package.rglob("*.py") for name in CALL.findall(_text(path))}))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def parse(text: str) -> dict[str, int]:
    """`name:n` as {name: passes left}; nothing in, nothing out.

    Raises:
        UsageError: no such point, or `n` is not a count from 1.
    """
    if not text:
        return {}
    name, _, count = text.partition(":")
    if name not in crash_points():
        raise UsageError(f"{VARIABLE}: no crash point {name!r}; one of {', '.join(crash_points())}")
    if not (count.isascii() and count.isdigit() and int(count) > 0):
        raise UsageError(f"{VARIABLE}: {text!r} must be name:n with n from 1, as in {name}:1")
    return {name: int(count)}


_left: Final = parse(os.environ.get(VARIABLE, ""))


def crash_point(name: str) -> None:
    """Die here if this is the pass that the environment names."""
    if name in _left:
        _left[name] -= 1
        if not _left[name]:
            os.kill(os.getpid(), signal.SIGKILL)
