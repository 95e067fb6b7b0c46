"""What importers of Polymarket recordings share: exact numbers out of Parquet, ticks, fees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import FeeTerms
from pr3dict.domain.units import QTY_SCALE
from pr3dict.store.tape import TapeFee

MS_NS: Final = 1_000_000
TICKS: Final = (100, 10, 1)  # $0.01, 0.001, 0.0001
MIN_SIZE: Final = 5 * QTY_SCALE
LARGEST: Final = 1e14  # in units; doubles tell neighbouring units well apart up to here

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Ticks:
    """The ticks that prices show one after another, where a recording announces none."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def finer(self, prices: Iterable[int]) -> bool:
        """Take note of some prices; whether they change the tick to a finer one (the first is no change)."""
        before = tick = self.seen[-1] if self.seen else TICKS[0]
        for price in prices:
            while price % tick:
                tick = TICKS[TICKS.index(tick) + 1]
        if not self.seen or tick < before:
            self.seen.append(tick)
        return len(self.seen) > 1 and tick < before


class Units(NamedTuple):
    """A column as exact integers; `known` is false, and the value 0, where the cell is empty."""

    values: IntArray
    known: BoolArray


def read_columns(path: Path, names: Iterable[str]) -> pa.Table:
    """The named columns of a Parquet file.

    Raises:
        DataError: names the file that is missing, truncated or no Parquet, lacks a column, or holds no rows.
    """
    wanted = list(names)
    try:
        with pq.ParquetFile(path) as parquet:
            for name in wanted:
                if name not in parquet.schema_arrow.names:
                    raise DataError("the column is missing", file=path, key=name)
            table = parquet.read(columns=wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"not a readable Parquet file ({detail}); fetch it again", file=path) from error
    if not table.num_rows:
        raise DataError("holds no rows", file=path)
    return table


def exact_units(
    table: pa.Table, name: str, scale: int, path: Path, *, empty: bool = False, rounded: bool = False
) -> Units:
    """A column of non-negative doubles times `scale`, as the integers that their decimal numbers name.

    Raises:
        DataError: names file, row and column of a cell that is empty (unless `empty`), NaN, infinite,
            negative, too large, or no multiple of 1 / `scale` (unless `rounded`, to the nearest).
    """
    column = table.column(name)
    if not pa.types.is_floating(column.type) and not pa.types.is_null(column.type):
        raise DataError(f"the column is {column.type} and must be double", file=path, key=name)
    known = np.asarray(pc.is_valid(column).to_numpy(), np.bool_)
    cells = np.where(known, column.cast(pa.float64()).fill_null(0.0).to_numpy(), 0.0)
    exact = cells * scale
    with np.errstate(invalid="ignore"):
        nearest = np.rint(exact)
        faults = {
            "the value is missing (null)": ~known & (not empty),
            "is not a finite number": ~np.isfinite(cells),
            "is negative": cells < 0,
            "is too large": exact > LARGEST,
            f"is finer than 1/{scale:,}": (np.abs(exact - nearest) > 1e-6 + 1e-15 * exact) & (not rounded),
        }
    for sentence, faulty in faults.items():
        if faulty.any():
            row = int(np.argmax(faulty))
            shown = sentence if not known[row] else f"{cells[row]!s} {sentence}"
            raise DataError(shown, file=path, row=row + 1, key=name)
    return Units(nearest.astype(np.int64), known)


def whole_numbers(table: pa.Table, name: str, path: Path) -> IntArray:
    """A column of integers without empty cells. Raises `DataError` that names file, column and row."""
    column = table.column(name)
    if not pa.types.is_integer(column.type):
        raise DataError(f"the column is {column.type} and must be int64", file=path, key=name)
    _refuse_nulls(column, name, path)
    return np.asarray(column.to_numpy(), np.int64)


def words(table: pa.Table, name: str, path: Path, *, empty: bool = False) -> list[str]:
    """A column of texts; an empty cell is "" and allowed only with `empty`. Raises `DataError`."""
    column = table.column(name)
    try:
        texts = column.cast(pa.string())
    except pa.ArrowException as error:
        raise DataError(f"the column is {column.type} and must be text", file=path, key=name) from error
    if not empty:
        _refuse_nulls(column, name, path)
    found: list[str] = texts.fill_null("").to_pylist()
    return found


def _refuse_nulls(column: pa.ChunkedArray, name: str, path: Path) -> None:
    if column.null_count:
        row = int(np.argmax(~np.asarray(pc.is_valid(column).to_numpy(), np.bool_))) + 1
        raise DataError("the value is missing (null)", file=path, row=row, key=name)


def fee_of(terms: FeeTerms, source: str) -> TapeFee:
    """Dated Polymarket terms of exponent 1 as a tape states them."""
    return TapeFee(
        kind="polymarket",
        taker_ppm=terms.taker_ppm,
        maker_ppm=terms.maker_ppm,
        rebate_ppm=terms.rebate_ppm,
        source=source,
    )
