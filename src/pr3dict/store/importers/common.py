"""What importers share: compressed input, exact timestamps, building events, and the report of a tape."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.store.layouts import Kind, Rows
from pr3dict.store.series import SeriesKind, SeriesMeta
from pr3dict.store.tape import Scalar, TapeMeta


class MarketReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one tape or series was made of. Counts are of the recording; `events` are rows of the tape.

    `rows` are the recording's rows or messages behind it, those left out included. Whole numbers in `details`
    are summed over an import, so a fact of a recording that is a count belongs there.

    `volume` and `volume_explained` are micro-contracts: what the recording says was traded and how much of it
    the inferred trades account for; None where it has no volume figure.
    """

    session: str
    market: str
    kind: Kind | SeriesKind = "book"
    events: int
    rows: int = 0
    snapshots: int = 0
    deltas: int = 0
    trades: int = 0
    trades_inferred: int = 0
    volume: int | None = None
    volume_explained: int | None = None
    settled: bool = False
    snapshots_checked: int = 0
    snapshots_equal: int = 0
    defects: tuple[str, ...] = ()
    details: dict[str, Scalar] = {}


class ImportedTape(NamedTuple):
    """A tape ready to be written, with its report."""

    events: d.Array | Rows
    meta: TapeMeta
    report: MarketReport


class ImportedSeries(NamedTuple):
    """A series ready to be written, with its report."""

    table: pa.Table
    meta: SeriesMeta
    report: MarketReport


Imported = ImportedTape | ImportedSeries


class Importer(NamedTuple):
    """One format: how to find its recordings and how to turn one of them into tapes and series.

    `read` may be a generator: what it yields is written before the next one is made, so that memory is
    bounded by the largest market and not by the recording. No two yields of an import may have the same
    session and market.
    """

    name: str
    summary: str
    find: Callable[[Sequence[Path]], list[Path]]
    read: Callable[[Path], Iterable[Imported]]


def each_once(
    paths: Sequence[Path], recordings_at: Callable[[Path], Sequence[Path]], missing: str
) -> list[Path]:
    """The recordings that `recordings_at` finds at each of `paths`, each once.

    Raises:
        DataError: says `missing` and names the path where it finds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        recordings = recordings_at(path)
        if not recordings:
            raise DataError(missing, file=path)
        found.update(dict.fromkeys(recordings))
    return list(found)


def files_at(path: Path, pattern: str, *, strict: bool = False) -> list[Path]:
    """The files of that pattern in a folder, or the file itself (`strict`: only when its name fits)."""
    if path.is_dir():
        return sorted(path.glob(pattern))
    return [path] if not strict or path.match(pattern) else []


def read_gzip(path: Path) -> bytes:
    """The whole content of a gzip file.

    Raises:
        DataError: names the file that can't be read, is not gzip, is truncated or corrupt.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"not a whole gzip file, truncated or corrupt ({error}); fetch it again", file=path
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", file=path) from error


class Timestamps:
    """ISO 8601 UTC texts to ns, exactly; the calendar part is worked out once a second."""

    def __init__(self) -> None:
        self._seconds: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Ns UTC of `2026-05-14T00:24:29.411111Z` (0 to 9 decimals). Raises `DataError` for anything else."""
        second = self._seconds.get(text[:19])
        if second is None:
            try:
                moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            except ValueError:
                raise DataError(f"timestamp {text!r} is not ISO 8601 in UTC") from None
            second = self._seconds[text[:19]] = int(moment.timestamp()) * NS_PER_SECOND
        if text[19:] == "Z":
            return second
        fraction = text[20:-1]
        plain = fraction.isascii() and fraction.isdigit() and len(fraction) <= 9
        if text[19:20] != "." or text[-1] != "Z" or not plain:
            raise DataError(f"timestamp {text!r} is not ISO 8601 in UTC")
        return second + int(fraction.ljust(9, "0"))


class Remembered(dict[str, int]):
    """Texts to integers by a strict parser, each distinct text parsed once."""

    def __init__(self, parse: Callable[[str], int]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> int:
        value = self[text] = self._parse(text)
        return value


EventRow = tuple[int, int, int, int, int, int, int, int, int]


def event_row(
    exch_ns: int,
    local_ns: int,
    kind: int,
    *,
    side: int = 0,
    price: int = 0,
    qty: int = 0,
    aux: int = 0,
    bits: int = 0,
) -> EventRow:
    """One EVENT row as a plain tuple in the order of its fields."""
    return (exch_ns, local_ns, qty, aux, price, 0, kind, side, bits)


def events_of(rows: Iterable[EventRow]) -> d.Array:
    """EVENT rows of tuples made by `event_row`."""
    return np.array(list(rows), d.EVENT)


def snapshot_rows(exch_ns: int, local_ns: int, levels: Sequence[tuple[int, int, int]]) -> list[EventRow]:
    """SNAPSHOT rows of a full book given as (side, price, size); an empty book is one row without a level."""
    levels = levels or [(0, 0, 0)]
    last = len(levels) - 1
    return [
        event_row(
            exch_ns,
            local_ns,
            d.SNAPSHOT,
            side=side,
            price=price,
            qty=size,
            bits=(d.SNAP_FIRST if k == 0 else 0) | (d.SNAP_LAST if k == last else 0),
        )
        for k, (side, price, size) in enumerate(levels)
    ]


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`: a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
