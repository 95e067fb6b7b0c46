"""The files of a recording: what a running process saw of all markets, row by row in order of arrival.

A recording is a folder of segments, Parquet files `rows-000001.parquet` and so on, each written whole or not
at all. Nothing is sorted, checked or left out: with the journal, the rows replay to what the engine did.
Tapes of single markets are made of it by `store/importers/recording.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store.crash_points import crash_point
from pr3dict.store.files import write_parquet
from pr3dict.store.tape import TapeMeta

VERSION: Final = 1
META_KEY: Final = b"pr3dict.recording"
PATTERN: Final = "rows-*.parquet"
SCHEMA: Final = pa.schema(
    [
        pa.field(name, pa.from_numpy_dtype(d.EVENT[name]), nullable=False)
        for name in ("exch_ns", "local_ns", "market", "kind", "side", "price", "qty", "aux", "bits")
    ]
)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a market that is no row, known after `row` rows of the recording.

    `gap`: its book can't be trusted until its next whole snapshot. `settled`: it paid `value_micros` a YES
    contract at `now_ns`.
    """

    row: int
    market: int
    kind: Literal["gap", "settled"]
    now_ns: int
    why: str = ""
    value_micros: int = 0
    refund: bool = False


class SegmentMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment holds. `first_row` counts from 0 over the recording; `counts` are rows a market."""

    version: int = VERSION
    first_row: int
    rows: int
    counts: dict[int, int]
    markets: dict[int, TapeMeta]
    notes: tuple[Note, ...] = ()


class Segment(NamedTuple):
    """One file of a recording, its rows not yet read."""

    path: Path
    meta: SegmentMeta


def segment_path(folder: Path, number: int) -> Path:
    """The place of segment `number`, from 1."""
    return folder / f"rows-{number:06d}.parquet"


def write_segment(
    path: Path,
    rows: d.Array,
    *,
    first_row: int,
    markets: Mapping[int, TapeMeta],
    notes: Sequence[Note] = (),
) -> None:
    """Write rows as one segment, on the disk when this returns; `markets` are all that were listed.

    Raises:
        DataError: the folder can't be written.
    """
    crash_point("recorder.flush")
    numbers, counts = np.unique(rows["market"], return_counts=True)
    here = {int(number) for number in numbers} | {note.market for note in notes}
    meta = SegmentMeta(
        first_row=first_row,
        rows=len(rows),
        counts=dict(zip(numbers.tolist(), counts.tolist(), strict=True)),
        markets={number: markets[number] for number in sorted(here)},
        notes=tuple(notes),
    )
    columns = [pa.array(rows[field.name], type=field.type) for field in SCHEMA]
    schema = SCHEMA.with_metadata({META_KEY: msgspec.json.encode(meta)})
    write_parquet(
        path,
        pa.Table.from_arrays(columns, schema=schema),
        before_rename=lambda: crash_point("recorder.rename"),
        compression_level=1,
    )
    crash_point("recorder.flushed")


def segments(folder: Path) -> list[Segment]:
    """The segments of a recording in order, rows unread.

    Raises:
        DataError: there are none, or one is no segment of this version.
    """
    found = [Segment(path, _meta_of(path)) for path in sorted(folder.glob(PATTERN))]
    if not found:
        raise DataError(f"no recording here (no {PATTERN})", file=folder)
    return found


def read_segment(path: Path) -> d.Array:
    """The rows of a segment as they were recorded.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as parquet:
            table = parquet.read(columns=SCHEMA.names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a readable segment of a recording ({_short(error)})", file=path) from error
    rows: d.Array = np.zeros(table.num_rows, d.EVENT)
    for name in SCHEMA.names:
        rows[name] = table.column(name).to_numpy()
    return rows


def read_rows(folder: Path) -> Iterator[d.Array]:
    """All rows of a recording, a segment at a time, in order of arrival. Raises as `read_segment`."""
    for segment in segments(folder):
        yield read_segment(segment.path)


def _meta_of(path: Path) -> SegmentMeta:
    try:
        raw = (pq.read_schema(path).metadata or {}).get(META_KEY)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a readable segment of a recording ({_short(error)})", file=path) from error
    if raw is None:
        raise DataError("a Parquet file but no segment of a recording", file=path)
    try:
        meta = msgspec.json.decode(raw, type=SegmentMeta)
    except (msgspec.MsgspecError, DataError) as error:
        raise DataError(f"the metadata of the segment is not valid ({error})", file=path) from error
    if meta.version != VERSION:
        sentence = f"version {meta.version} of a recording, this program reads {VERSION}"
        raise DataError(sentence, file=path, key="version")
    return meta


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
