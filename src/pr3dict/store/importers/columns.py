"""Parquet recordings as exact columns: files read with every fault named, floats turned into integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def read_columns(
    path: Path, names: Sequence[str], *, repeating: Sequence[str] = (), nullable: Sequence[str] = ()
) -> pa.Table:
    """The columns `names` of a Parquet file, JSON columns as text, those in `repeating` dictionary-encoded.

    Raises:
        DataError: names the file that can't be read, a column that is missing, or the row (from 1) of a null
            in a column that is not `nullable`.
    """
    try:
        with pq.ParquetFile(path, read_dictionary=list(repeating)) as parquet:
            missing = [name for name in names if name not in parquet.schema_arrow.names]
            if missing:
                raise DataError("the column is missing", file=path, key=missing[0])
            table = parquet.read(columns=list(names))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"not a readable Parquet file, truncated or corrupt ({detail}); fetch it again", file=path
        ) from error
    for name in names:
        column = table.column(name)
        if column.null_count and name not in nullable:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
            raise DataError("the value is missing (null)", file=path, row=row, key=name)
    return table


def texts(table: pa.Table, name: str) -> list[str]:
    """The distinct values of a column of text or JSON, in order of first appearance; see `codes`."""
    values: list[str] = _encoded(table, name).dictionary.to_pylist()
    return values


def codes(table: pa.Table, name: str, numbers: dict[str, int]) -> IntArray:
    """A column of text as numbers: equal text, equal number; one that `numbers` lacks gets the next."""
    encoded = _encoded(table, name)
    of_file = [numbers.setdefault(text, len(numbers)) for text in encoded.dictionary.to_pylist()]
    chosen: IntArray = np.array(of_file, np.int64)[encoded.indices.to_numpy()]
    return chosen


def _encoded(table: pa.Table, name: str) -> pa.DictionaryArray:
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty column has no chunk to combine
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()


def integers(table: pa.Table, name: str, path: Path) -> IntArray:
    """A column of whole numbers. Raises `DataError` for a column of another type."""
    column = table.column(name)
    if not pa.types.is_integer(column.type):
        raise DataError(f"the column is {column.type} and must hold whole numbers", file=path, key=name)
    return np.asarray(column.to_numpy(), np.int64)


def floats(table: pa.Table, name: str, path: Path) -> FloatArray:
    """A column of numbers, NaN where it is null.

    Raises:
        DataError: the column is of another type, or a value is NaN or infinite (with its row).
    """
    column = table.column(name)
    if not pa.types.is_floating(column.type) and not pa.types.is_null(column.type):
        raise DataError(f"the column is {column.type} and must hold decimals", file=path, key=name)
    values = np.asarray(column.to_numpy(), np.float64)
    wrong = ~np.isfinite(values) & ~column.is_null().to_numpy().astype(bool)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{values[row]} is no number", file=path, row=row + 1, key=name)
    return values


def scaled(values: FloatArray, scale: int, none: int) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """`values` times `scale` as the nearest integers (`none` for NaN), and which were finer than that.

    A decimal of few digits stands in a float only to one part in 2**53, so a millionth of a unit is forgiven.
    """
    units = values * scale
    nearest = np.rint(units)
    known = ~np.isnan(values)
    finer = known & (np.abs(units - nearest) > np.maximum(1e-6, np.abs(units) * 1e-12))
    return np.where(known, nearest, none).astype(np.int64), finer
