"""The mark of a journal: a few bytes beside it that name the last durable step and its hash.

It is written after the step is on the disk and is not synced: after a power loss it may lag behind, but it
never runs ahead. So what it names and the journal lacks was lost.
"""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_BODY: Final = struct.Struct(">q32s")
_CHECK_BYTES: Final = 8


class Mark(NamedTuple):
    """The last durable step: its number and the chain after it."""

    number: int
    chain: bytes


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]


def read_mark(path: Path) -> Mark | None:
    """The mark in a file; None where there is none or it is torn."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body, check = content[: _BODY.size], content[_BODY.size :]
    if len(body) < _BODY.size or check != _check(body):
        return None
    return Mark(*_BODY.unpack(body))


class MarkWriter:
    """Overwrites one mark in place. Where that fails the mark lags behind, which is safe."""

    def __init__(self, path: Path) -> None:
        self._handle = -1
        with suppress(OSError):
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, mark: Mark) -> None:
        """Name another step."""
        body = _BODY.pack(*mark)
        with suppress(OSError):
            os.pwrite(self._handle, body + _check(body), 0)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
        self._handle = -1
