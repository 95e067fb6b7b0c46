"""The pmxt archive: hourly Parquet files of Polymarket's market channel, all markets in one, sorted.

A file is read batch by batch and given out market by market, so memory is bounded by the largest market.
Both tokens of a market tell one book: that of YES, the token with the smaller id, makes the tape and the
other one checks it. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import ImportedTape, Importer, counted, each_once, files_at
from pr3dict.store.importers.pmxt_columns import COLUMNS, REPEATED, Batch, BatchReader, check_schema
from pr3dict.store.importers.polymarket_market import MarketFacts, market_tape

NAME: Final = "pmxt"
BATCH_ROWS: Final = 1 << 17
READ_BYTES: Final = 1 << 20  # of a column at a time
YES_SOURCE: Final = "YES is the token with the smaller id, since the archive does not name the outcomes"


def find(paths: Sequence[Path]) -> list[Path]:
    """The Parquet files at `paths`, files or folders of them, each once."""
    missing = f"no {NAME} archive here: expected *.parquet"
    return each_once(paths, lambda path: files_at(path, "*.parquet"), missing)


def read(path: Path) -> Iterator[ImportedTape]:
    """The tapes of an hour, market by market; each is made when it is asked for.

    Raises:
        DataError: names file, row and column of what is not as the format promises.
    """
    last: ImportedTape | None = None
    empty_markets = empty_rows = 0
    for market in _markets(path):
        tape = _tape(market, path)
        if tape is None:
            empty_markets += 1
            empty_rows += market.rows
            continue
        if last is not None:
            yield last
        last = tape
    if last is None:
        raise DataError("no market of this file has an order book or a trade", file=path)
    yield _with_leftovers(last, empty_markets, empty_rows)


IMPORTER: Final = Importer(NAME, "Polymarket's hourly market-channel archive (Parquet)", find, read)


def _with_leftovers(tape: ImportedTape, markets: int, rows: int) -> ImportedTape:
    """The last tape of a file, which also reports the markets that gave none."""
    if not markets:
        return tape
    sentence = (
        f"{counted(markets, 'other market')} of the file with {counted(rows, 'row')} left out: neither a "
        "full book nor a trade was recorded"
    )
    details = {**tape.report.details, "markets_left_out": markets, "rows_left_out": rows}
    report = msgspec.structs.replace(tape.report, defects=(*tape.report.defects, sentence), details=details)
    return tape._replace(report=report)


# --- reading --------------------------------------------------------------------------------------


class _Market(NamedTuple):
    """One market's rows as they stand in the file: those of one token, then those of the other."""

    id: str
    tokens: tuple[str, ...]
    pieces: list[d.Array]
    rows: int
    outside: int  # levels and trades at 0 or 1 dollar, left out


class _Gathering:
    """The market that is being read."""

    def __init__(self, market: bytes) -> None:
        self.market = market
        self.tokens: list[str] = []
        self.pieces: list[d.Array] = []
        self.rows = 0
        self.outside = 0
        self.received_ms = 0

    def done(self) -> _Market:
        return _Market(
            self.market.decode("ascii", "replace"), tuple(self.tokens), self.pieces, self.rows, self.outside
        )


def _markets(path: Path) -> Iterator[_Market]:
    reader = BatchReader(path)
    now: _Gathering | None = None
    row = 1
    for record in _batches(path):
        batch = reader.read(record, row)
        for start, end in _runs(batch):
            market = bytes(batch.market[start])
            if now is None or market != now.market:
                if now is not None:
                    if market < now.market:
                        raise DataError(
                            "the file is not sorted by market", file=path, row=row + start, key="market"
                        )
                    yield now.done()
                now = _Gathering(market)
            _gather(now, batch, start, end, path, row)
        row += record.num_rows
    if now is None:
        raise DataError("holds no rows", file=path)
    yield now.done()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        check_schema(pq.read_schema(path), path)
        # Without the two options Arrow would hold the whole row group, or file, in memory.
        with pq.ParquetFile(path, read_dictionary=REPEATED, pre_buffer=False, buffer_size=READ_BYTES) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=list(COLUMNS), use_threads=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"not a readable Parquet file, truncated or corrupt ({detail})", file=path) from error


def _runs(batch: Batch) -> list[tuple[int, int]]:
    """First row and end of each stretch of one market and token."""
    changes = (np.diff(batch.asset) != 0) | (batch.market[1:] != batch.market[:-1])
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(batch.asset)]
    return list(pairwise(bounds))


def _gather(now: _Gathering, batch: Batch, start: int, end: int, path: Path, row: int) -> None:
    """Add one stretch to the market being read; `row` is the batch's first in the file."""
    token = batch.assets[int(batch.asset[start])]
    if not now.tokens or token != now.tokens[-1]:
        if token in now.tokens or len(now.tokens) == 2:
            what = "comes back" if token in now.tokens else "is a third one"
            sentence = f"token {token} of this market {what}: the file is not sorted by market and token"
            raise DataError(sentence, file=path, row=row + start, key="asset_id")
        now.tokens.append(token)
        now.received_ms = 0
    received = batch.received_ms[start:end]
    falls = np.diff(received, prepend=now.received_ms) < 0
    if falls.any():
        place = row + start + int(np.argmax(falls))
        sentence = "the time falls within a token: the file is not sorted"
        raise DataError(sentence, file=path, row=place, key="timestamp_received")
    now.received_ms = int(received[-1])
    now.rows += end - start
    piece = batch.events[int(batch.starts[start]) : int(batch.starts[end])]
    outside = batch.outside[start:end]
    if outside.any():
        now.outside += int(outside.sum())
        lone = (outside > 0) & (batch.events["kind"][batch.starts[start:end]] != d.SNAPSHOT)
        kept: npt.NDArray[np.bool_] = np.repeat(~lone, np.diff(batch.starts[start : end + 1]))
        piece = piece[kept]
    piece["market"] = len(now.tokens) - 1
    now.pieces.append(piece)


def _joined(pieces: list[d.Array]) -> d.Array:
    """One array of all pieces, which are given up: a busy market would else be held twice."""
    joined = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    pieces.clear()
    return joined


def _tape(market: _Market, path: Path) -> ImportedTape | None:
    defects = []
    if market.outside:
        defects.append(
            f"{counted(market.outside, 'level or trade', 'levels or trades')} at 0 or 1 dollar, left out"
        )
    if len(market.tokens) == 1:
        defects.append("only one token was recorded; it is taken as YES")
    arrival = None
    if len(market.tokens) > 1:  # one stretch a token: which row came when
        received = np.concatenate([piece["local_ns"] for piece in market.pieces])
        arrival = np.argsort(received, kind="stable")
    facts = MarketFacts(market.id, market.tokens, YES_SOURCE)
    try:
        return market_tape(
            _joined(market.pieces),
            facts,
            arrival=arrival,
            session=path.name.removesuffix(".parquet"),
            source_format=NAME,
            rows=market.rows,
            defects=defects,
        )
    except DataError as error:
        raise error.at(file=path, key=market.id) from None
