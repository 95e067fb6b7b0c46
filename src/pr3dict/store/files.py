"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError


def write_parquet(
    target: Path,
    table: pa.Table,
    *,
    sync: bool = True,
    before_rename: Callable[[], None] | None = None,
    **encoding: Any,
) -> None:
    """Write a table to `target`, replacing what was there; `encoding` goes to pyarrow.

    The file grows under a temporary name beside its place, which is removed when anything stops the work.
    With `sync` it is on the disk before it takes its name; a caller who writes thousands syncs them together.
    `before_rename` is as in `write_whole`.

    Raises:
        DataError: the folder can't be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        encoding = {"compression": "zstd", "compression_level": 6, **encoding}
        pq.write_table(table, temporary, **encoding)
        if sync:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        if before_rename is not None:
            before_rename()
        temporary.replace(target)
    except OSError as error:
        raise DataError(
            f"cannot write the file ({error.strerror or error}); check the folder", file=target
        ) from error
    finally:  # also on Ctrl-C
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk: without it a new name may be gone after a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(target: Path, content: bytes, *, before_rename: Callable[[], None] | None = None) -> None:
    """Write a small private file whole or not at all, on the disk when this returns, its name included.

    `before_rename` is called when the content is on the disk under its temporary name (a crash point).

    Raises:
        OSError: as the system gives it; the file under its name is untouched then.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if before_rename is not None:
            before_rename()
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
