"""Series: recorded facts that belong to many markets or to none, each a Parquet file with its origin.

`resolutions` tells how markets ended (one row a market), `reference` the values of something that markets are
about (a coin's price, a game's score) in order of time. Both serve fair values and their training; neither
can be replayed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError
from pr3dict.store.files import write_parquet
from pr3dict.store.tape import Scalar

SeriesKind = Literal["resolutions", "reference"]
META_KEY: Final = b"pr3dict.series"
REFERENCE_SCALE: Final = 100_000_000
"""A reference value is an integer in 1/100,000,000 of its unit."""

SCHEMAS: Final[dict[SeriesKind, pa.Schema]] = {
    "resolutions": pa.schema(
        [
            pa.field("ticker", pa.string(), nullable=False),
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("open_ns", pa.int64()),
            pa.field("close_ns", pa.int64()),
            pa.field("settled_ns", pa.int64()),
            pa.field("outcome", pa.string()),  # yes, no, void; null: not told
            pa.field("value_micros", pa.int64()),  # payout of one YES contract; null: not told
            pa.field("strike", pa.string()),
            pa.field("settlement_price", pa.string()),
            pa.field("source", pa.string(), nullable=False),  # of the outcome
        ]
    ),
    "reference": pa.schema(
        [
            pa.field("exch_ns", pa.int64(), nullable=False),
            pa.field("local_ns", pa.int64(), nullable=False),
            pa.field("value", pa.int64(), nullable=False),  # 1 / REFERENCE_SCALE of the unit
        ]
    ),
}
OUTCOMES: Final = ("yes", "no", "void")


class SeriesMeta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a series is. `unit` is the unit of reference values ("USD per BTC"), else empty."""

    kind: SeriesKind
    venue: str
    name: str
    title: str
    session: str
    source_format: str
    unit: str = ""
    quality: dict[str, Scalar] = {}


class Series(NamedTuple):
    """A series in memory."""

    table: pa.Table
    meta: SeriesMeta


def check_series(table: pa.Table, meta: SeriesMeta, *, file: str | Path | None = None) -> None:
    """Check a series' columns, its order and its outcomes.

    Raises:
        DataError: names `file`, the column and, where one is at fault, the row (from 1).
    """
    schema = SCHEMAS[meta.kind]
    for field in schema:
        if field.name not in table.column_names or table.schema.field(field.name).type != field.type:
            raise DataError(f"the column must be {field.type}; import again", file=file, key=field.name)
        if not field.nullable and table.column(field.name).null_count:
            row = int(np.flatnonzero(table.column(field.name).is_null().to_numpy())[0]) + 1
            raise DataError("the value is missing (null)", file=file, row=row, key=field.name)
    if not table.num_rows:
        raise DataError("the series holds no rows", file=file)
    if meta.kind == "reference":
        falls = np.diff(table.column("exch_ns").to_numpy()) < 0
        if falls.any():
            row = int(np.argmax(falls)) + 2
            raise DataError("the time falls below the row above's", file=file, row=row, key="exch_ns")
        return
    tickers = table.column("ticker").to_pylist()
    if len(set(tickers)) != len(tickers):
        raise DataError("a market stands in two rows", file=file, key="ticker")
    for row, outcome in enumerate(table.column("outcome").to_pylist(), 1):
        if outcome is not None and outcome not in OUTCOMES:
            raise DataError(f"outcome {outcome!r} is none of {', '.join(OUTCOMES)}", file=file, row=row)


def write_series(path: str | Path, table: pa.Table, meta: SeriesMeta, *, sync: bool = True) -> None:
    """Check a series and write it to `path`, replacing what was there; `sync` as in `store.files`.

    Raises:
        DataError: it is not a valid series, or the folder can't be written.
    """
    target = Path(path)
    check_series(table, meta, file=target)
    schema = SCHEMAS[meta.kind]
    ready = table.select(schema.names).cast(schema)
    ready = ready.replace_schema_metadata({META_KEY: msgspec.json.encode(meta)})
    write_parquet(target, ready, sync=sync)


def is_series(path: str | Path) -> bool:
    """Whether a Parquet file says that it is a series. Raises `DataError` when it can't be read."""
    return META_KEY in (_schema(path).metadata or {})


def read_series(path: str | Path) -> Series:
    """Read and check a series.

    Raises:
        DataError: the file is missing, no Parquet, no series, or not what its kind promises.
    """
    raw = (_schema(path).metadata or {}).get(META_KEY)
    if raw is None:
        raise DataError("a Parquet file but not a series; make one with `pr3dict import`", file=path)
    try:
        meta = msgspec.json.decode(raw, type=SeriesMeta)
        table = pq.read_table(path)
    except (msgspec.MsgspecError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"the series is not readable ({error}); import it again", file=path) from error
    check_series(table, meta, file=path)
    return Series(table, meta)


def _schema(path: str | Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable Parquet file ({error})", file=path) from error
