"""Recorded WebSocket frames, one JSON text a line, bare or wrapped with the time at which they came."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import each_once
from pr3dict.venues.wire import milliseconds_to_ns

ABSENT: Final = msgspec.Raw()  # what a field of raw JSON holds where the message lacks it
SUFFIXES: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


class Frame(NamedTuple):
    """One recorded frame with its line (from 1); `local_ns` is -1 where no receive time was recorded."""

    row: int
    raw: bytes
    local_ns: int
    source: str  # the feed, where the wrapper names it; else empty


class _Wrapper(msgspec.Struct):
    local_ns: int | None = None
    frame: msgspec.Raw = ABSENT
    recv_wall_ts: int | None = None  # ms
    payload: msgspec.Raw = ABSENT  # a text that holds JSON
    source: str = ""


def find_lines(paths: Sequence[Path], name: str) -> list[Path]:
    """The files of JSON lines at `paths`, files or folders of them, each once.

    Raises:
        DataError: a path holds none.
    """
    return each_once(paths, _line_files, f"no {name} recording here: expected {', '.join(SUFFIXES)}")


def _line_files(path: Path) -> list[Path]:
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in candidates if file.name.endswith(SUFFIXES) and file.is_file()]


def take_frames(frames: Iterable[Frame], take: Callable[[Frame], None], path: Path) -> None:
    """Give every frame to `take`; its errors get the file and the line.

    Raises:
        DataError: what `take` raised, with its place.
    """
    row = 0
    try:
        for frame in frames:
            row = frame.row
            take(frame)
    except DataError as error:
        raise error.at(file=path, row=row) from None


def session_name(path: Path) -> str:
    """The file's name without what says that it holds JSON lines."""
    return next((path.name.removesuffix(s) for s in SUFFIXES[::-1] if path.name.endswith(s)), path.name)


def read_frames(path: Path) -> Iterator[Frame]:
    """Every frame of a file in order; empty lines are skipped.

    A line is the frame itself, or an object around it: `local_ns` (ns UTC) and `frame` (the frame, or its
    text as a JSON string), or `recv_wall_ts` (ms UTC) and `payload` (its text as a JSON string), where
    `source` may name the feed.

    Raises:
        DataError: names the file and the line that can't be read or is no JSON.
    """
    wrapper = msgspec.json.Decoder(_Wrapper)
    row = 0
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as lines:
            for row, line in enumerate(lines, 1):
                text = line.strip()
                if not text:
                    continue
                if b'"frame"' in text or b'"payload"' in text:
                    yield _unwrapped(wrapper, row, text)
                else:
                    yield Frame(row, text, -1, "")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"not a whole gzip file, truncated or corrupt ({error})", file=path, row=row
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", file=path) from error
    except DataError as error:
        raise error.at(file=path, row=row) from None


def _unwrapped(decoder: msgspec.json.Decoder[_Wrapper], row: int, text: bytes) -> Frame:
    try:
        found = decoder.decode(text)
        if found.frame and found.local_ns is not None:
            raw, local_ns = bytes(found.frame), found.local_ns
        elif found.payload and found.recv_wall_ts is not None:
            raw, local_ns = bytes(found.payload), milliseconds_to_ns(found.recv_wall_ts, "recv_wall_ts")
        else:
            return Frame(row, text, -1, "")  # a frame that has such a field itself
        if raw[:1] == b'"':
            raw = msgspec.json.decode(raw, type=str).encode()
    except msgspec.MsgspecError as error:
        raise DataError(f"not a recorded frame ({error})") from error
    if local_ns <= 0:
        raise DataError(f"{local_ns} is no receive time in ns", key="local_ns")
    return Frame(row, raw, local_ns, found.source)


class RowBuffer:
    """EVENT rows that grow; `rows` is a view of those added so far."""

    def __init__(self) -> None:
        self._held = np.zeros(64, d.EVENT)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> d.Array:
        """The rows so far; adding more may move them, so a view is not kept."""
        return self._held[: self._count]

    def add(self, rows: d.Array) -> None:
        """Append a copy of `rows`."""
        end = self._count + len(rows)
        if end > len(self._held):
            larger = np.zeros(max(end, 2 * len(self._held)), d.EVENT)
            larger[: self._count] = self.rows
            self._held = larger
        self._held[self._count : end] = rows
        self._count = end
