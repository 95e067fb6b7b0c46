"""Tapes: the recorded or generated market data of one market in one session, as one checked Parquet file.

The columns of a book tape are the fields of `kernels.dtypes.EVENT` but for `market`; other kinds and their
columns are in `store.layouts`. What the market is stands as JSON in the file's key-value metadata
(`TapeMeta`). The format is described in docs/tapes.md. A tape is written whole or not at all, and what is
read back has passed every check of `kernels.tapecheck` (`store.layouts` for quotes and bars).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import PriceGrid, Venue
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import PRICE_SCALE, format_contracts, format_price
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import tapecheck
from pr3dict.store.files import write_parquet
from pr3dict.store.layouts import LAYOUTS, Kind, Rows, check_rows

SCHEMA_VERSION: Final = 1
META_KEY: Final = b"pr3dict.tape"
KIND_NAMES: Final = {
    d.LEVEL: "level",
    d.TRADE: "trade",
    d.SNAPSHOT: "snapshot",
    d.STATUS: "status",
    d.TICK: "tick change",
    d.SETTLE: "settlement",
    d.NEWS: "news",
    d.CLOSE_TIME: "close time",
}

Scalar = bool | int | float | str | None


class TapeFee(msgspec.Struct, frozen=True, kw_only=True):
    """The fee formula that held when the tape was recorded, rates in parts per million."""

    kind: Literal["none", "kalshi", "polymarket"]
    taker_ppm: int = 0
    maker_ppm: int = 0
    rebate_ppm: int = 0  # share of the taker fee that comes back to the maker
    source: str  # a sentence: where the numbers come from


class TapeMeta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the market of a tape is. Times in ns UTC (None: unknown), sizes in micro-contracts (0: unknown).

    Only a tape without book or trades may leave grids, `min_size` and `lot` unknown.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Kind = "book"
    venue: Venue
    ticker: str
    event_id: str
    exclusive: bool = False  # at most one market of this event ends YES
    title: str
    session: str
    source_format: str
    contract_id: str = ""  # the venue's id of the YES contract, where it has one (a Polymarket token)
    grids: tuple[PriceGrid, ...]  # the first holds at the start, TICK events name another by index
    min_size: int
    lot: int
    fee: TapeFee
    nets_positions: bool
    reduce_in_place: bool
    open_ns: int | None = None
    close_ns: int | None = None
    expected_resolution_ns: int | None = None
    times_source: str = ""  # a sentence: where open, close and resolution time come from
    strike: str | None = None
    outcome: Literal["yes", "no"] | None = None
    outcome_source: str = ""
    has_trades: Literal["recorded", "inferred", "none"]
    quality: dict[str, Scalar] = {}
    synthetic: bool = False
    rewards: RewardTerms | None = None  # for resting quotes, as they held when the tape was recorded


class Tape(NamedTuple):
    """A tape in memory: rows as `LAYOUTS` says for its kind; those of events have `market` 0."""

    events: d.Array
    meta: TapeMeta


def grid_mask(grids: tuple[PriceGrid, ...]) -> npt.NDArray[np.bool_]:
    """Which prices lie on each grid: shape (grids, PRICE_SCALE + 1)."""
    mask = np.zeros((len(grids), PRICE_SCALE + 1), np.bool_)
    for row, grid in enumerate(grids):
        mask[row, list(grid.prices())] = True
    return mask


def check_tape(events: d.Array | Rows, meta: TapeMeta, *, file: str | Path | None = None) -> None:
    """Check that an exchange could have sent `events`, events in one compiled pass.

    Raises:
        DataError: names `file`, the first faulty row (from 1) and what is wrong with it.
    """
    if not len(events):
        raise DataError("the tape holds no events", file=file)
    if meta.kind in ("quotes", "bars"):
        try:
            check_rows(events, meta.kind)
        except DataError as error:
            raise error.at(file=file) from None
        return
    _check_events(cast("d.Array", events), meta, file)


def _check_events(events: d.Array, meta: TapeMeta, file: str | Path | None) -> None:
    if not meta.grids:
        raise DataError("a tape needs at least one price grid", file=file, key="grids")
    if meta.kind == "trades" and np.isin(events["kind"], (d.LEVEL, d.SNAPSHOT)).any():
        raise DataError("a tape of trades holds no book; its kind must be `book`", file=file, key="kind")
    mask = grid_mask(meta.grids)
    code, row = tapecheck.check_events(events, mask, tapecheck.new_depth(), tapecheck.new_best())
    if code != tapecheck.FINE:
        raise DataError(_sentence(code, events, row), file=file, row=row + 1)


def _sentence(code: int, events: d.Array, row: int) -> str:
    """One sentence for a code of `tapecheck.check_events`."""
    event = events[row]
    kind = KIND_NAMES.get(int(event["kind"]), f"kind {int(event['kind'])}")
    price, size, aux = int(event["price"]), int(event["qty"]), int(event["aux"])
    match code:
        case tapecheck.UNSORTED:
            before = f", before {int(events[row - 1]['exch_ns'])} of the row above" if row else ""
            return f"exchange time {int(event['exch_ns'])} is out of order{before}"
        case tapecheck.UNKNOWN_KIND:
            return f"unknown event {kind}"
        case tapecheck.BAD_SIDE:
            return f"side {int(event['side'])} is neither bid (0) nor ask (1)"
        case tapecheck.BAD_PRICE:
            return f"{kind} at price {price} is outside 1 to {PRICE_SCALE - 1} (in 1/{PRICE_SCALE} dollar)"
        case tapecheck.OFF_GRID:
            return f"{kind} at price {format_price(price)} is off the market's price grid"
        case tapecheck.NEGATIVE_SIZE:
            return f"{kind} has the negative size {format_contracts(size)}"
        case tapecheck.SNAPSHOT_UNOPENED:
            return "snapshot row without the first row of its snapshot"
        case tapecheck.SNAPSHOT_UNCLOSED:
            return "a snapshot before this row (or at the end) lacks its last row"
        case tapecheck.CROSSED:
            return "this row crosses the book, best bid at or above best ask, beyond its exchange timestamp"
    return f"{kind} has an impossible value (size {size}, aux {aux})"


def to_table(events: d.Array | Rows, meta: TapeMeta) -> pa.Table:
    """The Parquet table of a tape, metadata included."""
    schema = LAYOUTS[meta.kind].schema
    columns = [pa.array(events[field.name], type=field.type) for field in schema]
    metadata = {META_KEY: msgspec.json.encode(meta)}
    return pa.Table.from_arrays(columns, schema=schema.with_metadata(metadata))


def write_tape(path: str | Path, events: d.Array | Rows, meta: TapeMeta, *, sync: bool = True) -> None:
    """Check a tape and write it to `path`, replacing what was there; `sync` as in `store.files`.

    Raises:
        DataError: the events are not a valid tape, or the folder can't be written.
    """
    target = Path(path)
    check_tape(events, meta, file=target)
    table = to_table(events, meta)
    _decode_meta(table.schema.metadata, target)  # what is written must be read again
    times = LAYOUTS[meta.kind].times
    write_parquet(
        target,
        table,
        sync=sync,
        use_dictionary=[name for name in table.schema.names if name not in times],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
    )


def read_meta(path: str | Path) -> TapeMeta:
    """Only what the market of a tape is; the events are neither read nor checked.

    Raises:
        DataError: names the file that is missing, not Parquet, or without the metadata of a tape.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(_unreadable(error), file=path) from error
    return _decode_meta(schema.metadata, path)


def read_tape(path: str | Path) -> Tape:
    """Read and check a tape.

    Raises:
        DataError: names the file and, where one is at fault, the column or the row (from 1): missing,
            truncated or corrupt file, another schema, nulls or NaN, or anything that `check_tape` refuses.
    """
    try:
        with pq.ParquetFile(path) as parquet:
            meta = _decode_meta(parquet.schema_arrow.metadata, path)
            layout = LAYOUTS[meta.kind]
            _check_schema(parquet.schema_arrow, layout.schema, path)
            table = parquet.read(columns=layout.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(_unreadable(error), file=path) from error
    events = np.zeros(table.num_rows, layout.dtype)
    for name in layout.schema.names:
        column = table.column(name)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
            raise DataError(
                "the value is missing (null); import the recording again", file=path, row=row, key=name
            )
        events[name] = column.to_numpy()
    check_tape(events, meta, file=path)
    return Tape(events, meta)


def _unreadable(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "this is a folder; name the tapes in it"
    detail = " ".join(str(error).split()).rstrip(".")
    return f"not a readable Parquet file, truncated or corrupt ({detail}); import the recording again"


def _check_schema(schema: pa.Schema, wanted: pa.Schema, path: str | Path) -> None:
    for field in wanted:
        if field.name not in schema.names:
            raise DataError("the column is missing; import the recording again", file=path, key=field.name)
        found = schema.field(field.name).type
        if found != field.type:
            nan = ", which may hold NaN," if pa.types.is_floating(found) else ""
            sentence = f"the column is {found}{nan} and must be {field.type}; import the recording again"
            raise DataError(sentence, file=path, key=field.name)


def _decode_meta(metadata: dict[bytes, bytes] | None, path: str | Path) -> TapeMeta:
    raw = (metadata or {}).get(META_KEY)
    if raw is None:
        sentence = "a Parquet file but not a tape (no tape metadata); make one with `pr3dict import`"
        raise DataError(sentence, file=path)
    try:
        version = msgspec.json.decode(raw, type=_Version).schema_version
        meta = msgspec.json.decode(raw, type=TapeMeta) if version == SCHEMA_VERSION else None
    except msgspec.MsgspecError as error:
        sentence = f"the tape's metadata is not valid ({error}); import the recording again"
        raise DataError(sentence, file=path) from error
    except DataError as error:
        raise error.at(file=path) from None
    if meta is None:
        sentence = f"version {version}, this program reads {SCHEMA_VERSION}; import the recording again"
        raise DataError(sentence, file=path, key="schema_version")
    return meta


class _Version(msgspec.Struct, frozen=True):
    schema_version: int
