"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError


def write_parquet(target: Path, table: pa.Table, *, sync: bool = True, **encoding: Any) -> None:
    """Write a table to `target`, replacing what was there; `encoding` goes to pyarrow.

    The file grows under a temporary name beside its place, which is removed when anything stops the work.
    With `sync` it is on the disk before it takes its name; a caller who writes thousands syncs them together.

    Raises:
        DataError: the folder can't be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        pq.write_table(table, temporary, compression="zstd", compression_level=6, **encoding)
        if sync:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        raise DataError(
            f"cannot write the file ({error.strerror or error}); check the folder", file=target
        ) from error
    finally:  # also on Ctrl-C
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
