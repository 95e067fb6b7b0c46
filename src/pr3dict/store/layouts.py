"""The kinds of tapes: which rows each holds, and what is checked of kinds that have no order book.

A `book` tape holds what a replay needs, a `trades` tape the same rows without a book. What was recorded
more coarsely stays what it is: `quotes` are best bid and ask without sizes, `bars` are open, high, low and
close of a span. Nothing is filled in to make one kind look like another.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d

Kind = Literal["book", "trades", "quotes", "bars"]
Rows = npt.NDArray[np.void]

NONE: Final = -1
"""No bid, no ask, or a volume that the recording does not tell."""

QUOTE_ROW: Final = np.dtype(
    [
        ("exch_ns", np.int64),  # when the quote stood; the poll's time where the venue gives none
        ("local_ns", np.int64),  # when the recorder had it
        ("bid_price", np.int32),  # 1/10,000 dollar of YES; NONE: no bid
        ("ask_price", np.int32),
        ("volume_micros", np.int64),  # traded dollars that the venue states beside it; NONE: not told
    ]
)
BAR_ROW: Final = np.dtype(
    [
        ("start_ns", np.int64),
        ("end_ns", np.int64),
        ("released_ns", np.int64),  # before this nobody could know the bar
        ("open_micros", np.int64),  # prices of YES: bars between ticks occur where mids were recorded
        ("high_micros", np.int64),
        ("low_micros", np.int64),
        ("close_micros", np.int64),
        ("volume_micros", np.int64),  # NONE: not told
        ("contract", np.int8),  # 0: the bar of YES, 1: that of NO, turned into YES terms
    ]
)

_EVENT_FIELDS: Final = {
    "exch_ns": pa.int64(),
    "local_ns": pa.int64(),
    "kind": pa.int8(),
    "side": pa.int8(),
    "price": pa.int16(),
    "qty": pa.int64(),
    "aux": pa.int64(),
    "bits": pa.int16(),
}


class Layout(NamedTuple):
    """Rows of one kind: in memory, in the file, and in words."""

    dtype: np.dtype[np.void]
    schema: pa.Schema
    words: str  # what such a tape holds

    @property
    def times(self) -> tuple[str, ...]:
        """The columns of times that rise from row to row, smallest first to encode."""
        return tuple(name for name in self.schema.names if name.endswith("_ns"))


def _schema(fields: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields.items()])


def _schema_of(dtype: np.dtype[np.void]) -> pa.Schema:
    assert dtype.names is not None
    return _schema({name: pa.from_numpy_dtype(dtype[name]) for name in dtype.names})


LAYOUTS: Final[dict[Kind, Layout]] = {
    "book": Layout(d.EVENT, _schema(_EVENT_FIELDS), "an order book"),
    "trades": Layout(d.EVENT, _schema(_EVENT_FIELDS), "trades without an order book"),
    "quotes": Layout(QUOTE_ROW, _schema_of(QUOTE_ROW), "best bid and ask without sizes"),
    "bars": Layout(BAR_ROW, _schema_of(BAR_ROW), "bars of a day or another span"),
}


def check_rows(rows: Rows, kind: Kind) -> None:
    """Check the rows of a `quotes` or `bars` tape; event kinds are checked by `kernels.tapecheck`.

    Raises:
        DataError: names the first faulty row (from 1) and what is wrong with it.
    """
    if kind == "quotes":
        _refuse(
            np.diff(rows["exch_ns"], prepend=rows["exch_ns"][:1]) < 0, "the time falls below the row above's"
        )
        for side in ("bid_price", "ask_price"):
            price = rows[side]
            wrong = (price != NONE) & ((price < 1) | (price >= PRICE_SCALE))
            _refuse(wrong, f"the price is outside 1 to {PRICE_SCALE - 1} (in 1/{PRICE_SCALE} dollar)", side)
    else:
        _refuse(
            np.diff(rows["start_ns"], prepend=rows["start_ns"][:1]) < 0, "the bar starts before the row above"
        )
        _refuse(rows["end_ns"] <= rows["start_ns"], "the bar ends before it starts", "end_ns")
        inner = (rows["open_micros"], rows["close_micros"])
        _refuse(rows["low_micros"] > np.minimum(*inner), "the low is above open or close", "low_micros")
        _refuse(rows["high_micros"] < np.maximum(*inner), "the high is below open or close", "high_micros")
        _refuse((rows["low_micros"] < 0) | (rows["high_micros"] > 1_000_000), "the bar is outside $0 to $1")
    _refuse(rows["volume_micros"] < NONE, "the volume is negative", "volume_micros")


def _refuse(wrong: npt.NDArray[np.bool_], sentence: str, key: str | None = None) -> None:
    if wrong.any():
        raise DataError(sentence, row=int(np.argmax(wrong)) + 1, key=key)


def _falls(times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.diff(times_ns, prepend=times_ns[:1]) < 0
