"""A batch of pmxt archive rows as EVENT rows: Arrow buffers to exact integers, without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import archive
from pr3dict.kernels import dtypes as d
from pr3dict.venues.wire import NS_PER_MS, Prices, Sizes

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TIME: Final = pa.timestamp("ms", tz="UTC")
PRICE: Final = pa.decimal128(9, 4)
SIZE: Final = pa.decimal128(18, 6)
MARKET_BYTES: Final = 66
COLUMNS: Final[dict[str, pa.DataType]] = {
    "timestamp_received": TIME,
    "timestamp": TIME,
    "market": pa.binary(MARKET_BYTES),
    "event_type": pa.string(),
    "asset_id": pa.string(),
    "bids": pa.string(),
    "asks": pa.string(),
    "price": PRICE,
    "size": SIZE,
    "side": pa.string(),
    "fee_rate_bps": pa.uint16(),
    "old_tick_size": PRICE,
    "new_tick_size": PRICE,
}
"""The columns that are read, with their types; the archive's others say nothing that these do not."""
REPEATED: Final = (
    "event_type",
    "asset_id",
    "side",
)  # few texts many times: read as numbers into a dictionary
EVENT_TYPES: Final = {
    "book": d.SNAPSHOT,
    "price_change": d.LEVEL,
    "last_trade_price": d.TRADE,
    "tick_size_change": d.TICK,
}
SIDES: Final = {"BUY": d.BID, "SELL": d.ASK}
NEEDED: Final[dict[int, tuple[str, ...]]] = {
    d.SNAPSHOT: ("bids", "asks"),
    d.LEVEL: ("price", "size", "side"),
    d.TRADE: ("price", "size", "side"),
    d.TICK: ("new_tick_size",),
}
"""What a row of each kind must have; times, market, event type and asset all must."""

SHORTEST_LEVEL: Final = len('["1","1"]')
_LEVELS: Final = msgspec.json.Decoder(list[tuple[str, str]])


class Batch(NamedTuple):
    """Rows in order of the file. Those of a book are expanded, one row a level."""

    events: d.Array  # prices in the terms of each row's own token
    starts: IntArray  # where each recorded row begins in `events`, and the end
    market: npt.NDArray[np.bytes_]
    asset: IntArray  # place in `assets`
    assets: list[str]
    received_ms: IntArray
    outside: (
        IntArray  # of each recorded row: levels at 0 or 1 dollar, where nothing rests; trades there or of 0
    )


def check_schema(schema: pa.Schema, path: Path) -> None:
    """Refuse a file without the archive's columns and types.

    Raises:
        DataError: names the column that is missing or of another type.
    """
    for name, wanted in COLUMNS.items():
        if name not in schema.names:
            raise DataError("the column is missing; this is no pmxt archive", file=path, key=name)
        found = schema.field(name).type
        plain = found.value_type if pa.types.is_dictionary(found) else found
        text = pa.types.is_string(wanted) and (pa.types.is_string(plain) or pa.types.is_large_string(plain))
        if plain != wanted and not text:
            raise DataError(f"the column is {found} and must be {wanted}", file=path, key=name)


class BatchReader:
    """Turns record batches of one file into EVENT rows.

    Its methods raise `DataError` that names file, row (from 1) and column of what is not as promised.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, batch: pa.RecordBatch, first_row: int) -> Batch:
        """The rows of `batch`, whose first one is row `first_row` of the file, counted from 1."""
        rows = _Rows(batch, self._path, first_row)
        events = np.zeros(batch.num_rows, d.EVENT)
        kinds = rows.codes("event_type", EVENT_TYPES)
        received = rows.integers("timestamp_received")
        events["kind"] = kinds
        events["exch_ns"] = rows.integers("timestamp") * NS_PER_MS
        events["local_ns"] = received * NS_PER_MS
        for kind, needed in NEEDED.items():
            mine = kinds == kind
            for name in needed:
                rows.refuse(mine & ~rows.valid(name), name, "the value is missing (null)")
        priced = (kinds == d.LEVEL) | (kinds == d.TRADE)
        price = np.where(priced, rows.low_words("price"), 0)
        size = np.where(priced, rows.low_words("size"), 0)
        rows.refuse((price < 0) | (price > PRICE_SCALE), "price", "the price is outside 0 to 1 dollar")
        rows.refuse(size < 0, "size", "the size is negative")
        events["price"] = price
        events["qty"] = size
        events["side"] = np.where(priced, rows.codes("side", SIDES, needed=priced), 0)
        self._ticks_and_fees(rows, events, kinds)
        asset, assets = rows.dictionary("asset_id")
        edge = (price == 0) | (price == PRICE_SCALE) | ((kinds == d.TRADE) & (size == 0))
        outside = (priced & edge).astype(np.int64)
        events, starts = self._with_books(rows, events, kinds, outside)
        return Batch(events, starts, rows.markets(), asset, assets, received, outside)

    def _ticks_and_fees(self, rows: _Rows, events: d.Array, kinds: IntArray) -> None:
        ticks = np.flatnonzero(kinds == d.TICK)
        if len(ticks):
            events["aux"][ticks] = rows.low_words("new_tick_size")[ticks]
            before = np.where(rows.valid("old_tick_size"), rows.low_words("old_tick_size"), 0)
            events["qty"][ticks] = before[ticks]
            rows.refuse((kinds == d.TICK) & (events["aux"] <= 0), "new_tick_size", "a tick is above 0")
        trades = np.flatnonzero(kinds == d.TRADE)
        if len(trades):
            rates = np.where(rows.valid("fee_rate_bps"), rows.integers("fee_rate_bps"), -1)
            events["aux"][trades] = rates[trades]

    def _with_books(
        self, rows: _Rows, events: d.Array, kinds: IntArray, outside: IntArray
    ) -> tuple[d.Array, IntArray]:
        """The rows with each book expanded to its levels, and where each begins; counts levels `outside`."""
        places = np.flatnonzero(kinds == d.SNAPSHOT)
        lengths = np.ones(len(events), np.int64)
        starts = np.arange(len(events) + 1)
        if not len(places):
            return events, starts
        bids, asks = (self._levels(rows, name, places) for name in ("bids", "asks"))
        book = np.concatenate([bids.book, asks.book])
        side = np.repeat([d.BID, d.ASK], [len(bids.book), len(asks.book)])
        price = np.concatenate([bids.price, asks.price])
        size = np.concatenate([bids.size, asks.size])
        edge = (size > 0) & ((price == 0) | (price == PRICE_SCALE))
        np.add.at(outside, places[book[edge]], 1)
        keep = (size > 0) & ~edge  # a level without size is none
        # An empty book is one row without a level.
        empty = np.flatnonzero(np.bincount(book[keep], minlength=len(places)) == 0)
        order = np.argsort(np.concatenate([book[keep], empty]), kind="stable")
        lengths[places] = np.maximum(np.bincount(book[keep], minlength=len(places)), 1)
        np.cumsum(lengths, out=starts[1:])
        expanded = np.repeat(events, lengths)
        of_books = np.repeat(kinds == d.SNAPSHOT, lengths)
        none = np.zeros(len(empty), np.int64)
        for name, values in (("price", price), ("qty", size), ("side", side)):
            expanded[name][of_books] = np.concatenate([values[keep], none])[order]
        expanded["bits"][starts[places]] |= d.SNAP_FIRST
        expanded["bits"][starts[places + 1] - 1] |= d.SNAP_LAST
        return expanded, starts

    def _levels(self, rows: _Rows, name: str, places: npt.NDArray[np.intp]) -> _Levels:
        """All levels of one side of the books at `places`: compiled where the text is as usual."""
        text, ends = rows.texts(name, places)
        counts = np.zeros(len(places), np.int64)
        price, size = np.zeros((2, len(text) // SHORTEST_LEVEL + 1), np.int64)
        levels = archive.parse_levels(text, ends, price, size, counts)
        if levels == archive.NOT_PLAIN:
            return self._strict_levels(rows, name, places, text.tobytes(), ends.tolist())
        return _Levels(np.repeat(np.arange(len(places)), counts), price[:levels], size[:levels])

    def _strict_levels(
        self, rows: _Rows, name: str, places: npt.NDArray[np.intp], text: bytes, ends: list[int]
    ) -> _Levels:
        """The same by the strict decoder, which takes any JSON of this shape and names what is wrong."""
        price_of, size_of = Prices(name), Sizes(name)
        counts: list[int] = []
        prices: list[int] = []
        sizes: list[int] = []
        for k, place in enumerate(places.tolist()):
            try:
                pairs = _LEVELS.decode(text[ends[k] : ends[k + 1]])
                prices += [price_of[price] for price, _ in pairs]
                sizes += [size_of[size] for _, size in pairs]
            except msgspec.MsgspecError as error:
                raise rows.fault(place, name, f"not a list of prices and sizes ({error})") from error
            except DataError as error:
                raise rows.fault(place, name, error.message) from error
            counts.append(len(pairs))
        book = np.repeat(np.arange(len(places)), counts)
        return _Levels(book, np.array(prices, np.int64), np.array(sizes, np.int64))


class _Levels(NamedTuple):
    """Levels of one side of several books: which book, price and size."""

    book: npt.NDArray[np.intp]
    price: IntArray
    size: IntArray


class _Rows:
    """The columns of a batch as arrays, checked."""

    def __init__(self, batch: pa.RecordBatch, path: Path, first_row: int) -> None:
        self._batch = batch
        self._path = path
        self._first_row = first_row

    def fault(self, place: int, name: str, sentence: str) -> DataError:
        """The error for the row at `place` of the batch."""
        return DataError(sentence, file=self._path, row=self._first_row + place, key=name)

    def refuse(self, wrong: BoolArray, name: str, sentence: str) -> None:
        """Raise for the first row that is `wrong`."""
        if wrong.any():
            raise self.fault(int(np.argmax(wrong)), name, sentence)

    def valid(self, name: str) -> BoolArray:
        """Which rows have a value."""
        column = self._batch.column(name)
        if not column.null_count:
            return np.ones(len(column), np.bool_)
        present: BoolArray = column.is_valid().to_numpy(zero_copy_only=False)
        return present

    def _all_valid(self, name: str) -> Any:
        column = self._batch.column(name)
        if column.null_count:
            self.refuse(~self.valid(name), name, "the value is missing (null)")
        return column

    def integers(self, name: str) -> IntArray:
        """A column of integers or times; what stands for null where a kind of row lacks it is undefined."""
        column = self._batch.column(name)
        if name in ("timestamp", "timestamp_received"):
            self._all_valid(name)
        width = column.type.bit_width // 8
        values = np.frombuffer(column.buffers()[1], np.dtype(f"{'i' if width == 8 else 'u'}{width}"))
        found: IntArray = values[column.offset : column.offset + len(column)].astype(np.int64, copy=False)
        return found

    def low_words(self, name: str) -> IntArray:
        """A decimal column in units of its last place: 18 digits fit the lower half of 128 bits."""
        column = self._batch.column(name)
        words = np.frombuffer(column.buffers()[1], np.int64)
        return words[2 * column.offset : 2 * (column.offset + len(column)) : 2]

    def dictionary(self, name: str) -> tuple[IntArray, list[str]]:
        """A text column without nulls as places in a list of texts."""
        column = self._all_valid(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        indices = column.indices
        places = np.frombuffer(indices.buffers()[1], np.int32)[indices.offset : indices.offset + len(indices)]
        return places.astype(np.int64), column.dictionary.to_pylist()

    def codes(self, name: str, known: dict[str, int], needed: BoolArray | None = None) -> IntArray:
        """The numbers that the texts of a column stand for; rows that are not `needed` may be null."""
        column = self._all_valid(name) if needed is None else self._batch.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts: Sequence[str] = column.dictionary.to_pylist()
        code_of = np.array([*(known.get(text, -1) for text in texts), -1], np.int64)
        indices = column.indices
        places = np.frombuffer(indices.buffers()[1], np.int32)[indices.offset : indices.offset + len(indices)]
        if needed is not None:
            places = np.where(needed, places, len(texts))
        codes: IntArray = code_of[places]
        unknown = codes < 0 if needed is None else needed & (codes < 0)
        if unknown.any():
            place = int(np.argmax(unknown))
            sentence = f"{texts[int(places[place])]!r} is none of {', '.join(known)}"
            raise self.fault(place, name, sentence)
        return codes

    def markets(self) -> npt.NDArray[np.bytes_]:
        """The condition ids."""
        column = self._all_valid("market")
        ids: npt.NDArray[np.bytes_] = np.ndarray(
            len(column), f"S{MARKET_BYTES}", column.buffers()[1], column.offset * MARKET_BYTES
        )
        return ids

    def texts(self, name: str, places: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.uint8], IntArray]:
        """The texts of a few rows as bytes, one after another, and where each begins, and the end."""
        column = self._batch.column(name).take(pa.array(places)).cast(pa.large_binary())
        ends = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        text = np.frombuffer(column.buffers()[2] or b"", np.uint8)
        return text.copy(), ends.copy()  # Arrow's own are read-only, which is another type to a kernel
