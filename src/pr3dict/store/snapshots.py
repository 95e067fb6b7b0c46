"""Snapshots of the control state as files beside the journal: they shorten a restart and are never the truth.

A file holds a SHA-256 over all that follows it, the number of the step after which the state was taken, the
journal's chain there, and the state. It is written whole or not at all; the last three are kept.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from pr3dict.store.crash_points import crash_point
from pr3dict.store.files import write_whole

KEPT: Final = 3
_MAGIC: Final = b"PR3DSNP1"
_HEAD: Final = struct.Struct(">q32s")
_HASH_BYTES: Final = 32


class Snapshot(NamedTuple):
    """The state after step `number`, where the journal's chain was `chain`."""

    number: int
    chain: bytes
    blob: bytes


class Snapshots:
    """A folder of snapshots. `defects` says of each file that was passed over what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.defects: list[str] = []

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot and remove all but the last three; raises `OSError`."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        body = _HEAD.pack(snapshot.number, snapshot.chain) + snapshot.blob
        crash_point("snapshot.write")
        write_whole(
            self.folder / f"{snapshot.number:012d}.snapshot",
            _MAGIC + hashlib.sha256(body).digest() + body,
            before_rename=lambda: crash_point("snapshot.rename"),
        )
        crash_point("snapshot.renamed")
        for old in self._files()[KEPT:]:
            with suppress(OSError):
                old.unlink()

    def whole(self) -> Iterator[Snapshot]:
        """The snapshots with a right checksum, youngest first."""
        for path in self._files():
            snapshot = _read(path)
            if isinstance(snapshot, str):
                self.defects.append(f"{path}: {snapshot}; an older one is taken")
            else:
                yield snapshot

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.snapshot"), reverse=True)


def _read(path: Path) -> Snapshot | str:
    """A snapshot, or what is wrong with its file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"can't be read ({error.strerror or error})"
    start = len(_MAGIC) + _HASH_BYTES
    body = content[start:]
    if not content.startswith(_MAGIC) or len(body) < _HEAD.size:
        return "is no snapshot of this version"
    if hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
        return "is damaged (wrong checksum)"
    number, chain = _HEAD.unpack_from(body)
    return Snapshot(number, chain, body[_HEAD.size :])
