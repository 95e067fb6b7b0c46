"""Logs of a process: JSON lines in its data directory, readable lines on stderr, secrets in neither.

Secrets are kept out three times: they are held as `Secret`, which shows itself as *** everywhere; every
string that is logged goes through `redact`, which knows registered values and the shapes of keys; and
tracebacks are text like any other. Core dumps, which would hold everything, are off.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TextIO

import structlog

HIDDEN: Final = "***"
LOG_FILE: Final = "process.jsonl"
ROTATE_BYTES: Final = 64 << 20
KEPT_FILES: Final = 8
MIN_SECRET: Final = 6  # a shorter known value would blot out ordinary words
MAX_DEPTH: Final = 8

PATTERNS: Final = (
    re.compile(r"-----BEGIN [A-Z0-9 ]+-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|\Z)"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}"),  # JWT
    re.compile(
        r"(?<![0-9A-Fa-f])(?:0[xX])?[0-9A-Fa-f]{64}(?:[0-9A-Fa-f]{64}[0-9A-Fa-f]{0,2})?(?![0-9A-Fa-f])"
    ),
)
NAMES: Final = (
    r"kalshi-access-signature|kalshi-access-key|poly[_-]signature|poly[_-]api[_-]key|poly[_-]passphrase"
    r"|signature|authorization|x-api-key|api[_-]?key|api[_-]?secret|secret|passphrase|password|private[_-]?key"
    r"|mnemonic|access[_-]?token|set-cookie|cookie"
)
NAMED: Final = re.compile(  # header or field, then its value, quoted or up to the end of the item
    rf"(?i)(?P<name>[\"']?\b(?:{NAMES})\b[\"']?\s*[:=]\s*)"
    r"(?P<value>b?\"(?:[^\"\\]|\\.)*\"|b?'(?:[^'\\]|\\.)*'|(?:(?:bearer|basic|digest)\s+)?[^\s,;&}\])]+)"
)
NAME_ONLY: Final = re.compile(rf"(?i)^(?:.*[._-])?(?:{NAMES})$")


class Secret(str):
    """Text that is *** wherever it is shown, written or copied; `reveal()` gives the value.

    As a string it *is* "***", so `repr`, `str`, `format`, JSON and pickle have nothing else to give. Its
    value is registered with the log filter, so that it is recognised in any text. Two secrets are equal when
    their values are.
    """

    __slots__ = ("_value",)

    _value: str

    def __new__(cls, value: str) -> Self:
        """Wrap `value`."""
        secret = super().__new__(cls, HIDDEN)
        secret._value = value
        keep_out(value)
        return secret

    def reveal(self) -> str:
        """The value itself: for the one call that needs it."""
        return self._value

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (HIDDEN,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Secret, self._value))


_known: Final[set[str]] = set()


def keep_out(value: str) -> None:
    """Have `redact` remove this value, and each line of it, from any text."""
    parts = {value, *value.splitlines()}
    _known.update(part.strip() for part in parts if len(part.strip()) >= MIN_SECRET)


def redact(text: str) -> str:
    """`text` without known secrets, PEM blocks, JWTs, 64-digit hex numbers and values of secret names."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, HIDDEN)
    for pattern in PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return NAMED.sub(lambda found: f"{found['name']}{HIDDEN}", text)


def redact_value(value: Any, depth: int = 0) -> Any:
    """Any value of a log line, made of what JSON knows, without secrets; objects become their `str`."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if depth >= MAX_DEPTH:
        return redact(str(value))
    if isinstance(value, Mapping):
        return {redact(str(k)): _entry(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    return redact(str(value))


def _entry(key: str, value: Any, depth: int) -> Any:
    return HIDDEN if NAME_ONLY.match(key) else redact_value(value, depth)


def redact_line(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The filter as a processor of structlog."""
    return {redact(key): _entry(key, value, 0) for key, value in line.items()}


def no_core_dumps() -> None:
    """No crash writes the memory of this process, or of its children, to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class LogFile:
    """Lines appended to a private file (mode 0600); `KEPT_FILES` of `ROTATE_BYTES` are kept.

    A full disk stops the log, never the process: lines are counted as lost instead.
    """

    def __init__(self, path: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.path = path
        self.lost_lines = 0
        self._rotate_bytes = rotate_bytes
        self._handle = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def write(self, line: str) -> None:
        """Append one line."""
        try:
            os.write(self._handle, f"{line}\n".encode())
            if os.fstat(self._handle).st_size >= self._rotate_bytes:
                self._rotate()
        except OSError:
            self.lost_lines += 1

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        os.close(self._handle)
        self._handle = self._open()

    def close(self) -> None:
        """Give back the file."""
        os.close(self._handle)


def make_log(
    folder: Path | None, *, console: TextIO | None = None, level: int = logging.INFO
) -> structlog.stdlib.BoundLogger:
    """A logger: every line as JSON to `folder` and, from `level` up, readably to `console` (stderr).

    Raises:
        OSError: the folder can't be written.
    """
    file = None
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = LogFile(folder / LOG_FILE)
    screen = console if console is not None else sys.stderr
    to_json = structlog.processors.JSONRenderer(sort_keys=False)
    to_text = structlog.dev.ConsoleRenderer(colors=screen.isatty(), pad_event_to=0)

    def write(logger: Any, method: str, line: MutableMapping[str, Any]) -> NoReturn:
        """Both outputs of one line; nothing is left for structlog to print."""
        if file is not None:
            file.write(str(to_json(logger, method, dict(line))))
        if getattr(logging, str(line.get("level", "info")).upper(), level) >= level:
            shown = {key: value for key, value in line.items() if key != "timestamp"}
            with suppress(OSError, ValueError):  # full or closed: as little a reason to end as a full log
                print(to_text(logger, method, shown), file=screen, flush=True)
        raise structlog.DropEvent

    wrapped: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(screen),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redact_line,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=True,
    )
    return wrapped
