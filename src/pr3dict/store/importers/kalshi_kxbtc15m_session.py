"""One session of a Kalshi KXBTC15M recording, read strictly: what `kalshi_kxbtc15m_l2` makes tapes of."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE, parse_price, parse_quantity
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings
from pr3dict.store.importers.common import EventRow, Remembered, Timestamps, event_row, events_of, read_gzip
from pr3dict.store.importers.kalshi_common import offset_ns
from pr3dict.store.series import REFERENCE_SCALE

IntArray = npt.NDArray[np.int64]
MOST_DOLLARS: Final = 1_000_000_000  # no coin costs more: beyond it a price is a fault


class _BookPayload(msgspec.Struct, frozen=True):
    yes_dollars_fp: list[tuple[str, str]] = []
    no_dollars_fp: list[tuple[str, str]] = []


class _SnapshotLine(msgspec.Struct, frozen=True):
    market_ticker: str
    local_recv_ns: int
    sequence_number: int
    payload_json: _BookPayload


class _DeltaPayload(msgspec.Struct, frozen=True):
    side: Literal["yes", "no"]
    price_dollars: str
    delta_fp: str


class _DeltaLine(msgspec.Struct, frozen=True):
    market_ticker: str
    exchange_ts: str
    local_recv_ns: int
    sequence_number: int
    payload_json: _DeltaPayload


class _TickerPayload(msgspec.Struct, frozen=True):
    volume_fp: str
    price_dollars: str
    last_trade_size_fp: str


class _TickerLine(msgspec.Struct, frozen=True):
    market_ticker: str
    exchange_ts: str
    payload_json: _TickerPayload


class WatchPayload(msgspec.Struct, frozen=True):
    """What the recorder noted of a market when it began to watch it."""

    close_time: str
    strike: float | int | None = None


class _WatchLine(msgspec.Struct, frozen=True):
    market_ticker: str
    payload_json: WatchPayload


class _SpotLine(msgspec.Struct, frozen=True):
    """A trade of Coinbase's BTC-USD; `last_match` is the one before the recorder subscribed."""

    exchange_ts_utc: str
    local_recv_ns: int
    price: Decimal
    trade_id: str
    symbol: Literal["BTC-USD"]
    source: Literal["coinbase_btcusd_matches"]
    raw_event_type: Literal["match", "last_match"]


class SpotTicks(NamedTuple):
    """Trades of the coin in order of the exchange's time."""

    exch_ns: IntArray
    local_ns: IntArray
    value: IntArray  # 1/100,000,000 dollar
    rows: int  # in the recording
    late: int  # rows that came after one of a later time


class BookRows(NamedTuple):
    """Book messages of a session in order of arrival: deltas as EVENT rows, snapshots by place."""

    market: npt.NDArray[np.int64]  # index into the session's tickers
    events: d.Array  # a snapshot's row only holds its times
    sequence: IntArray
    connection: IntArray  # grows with each reconnection
    snapshot: IntArray  # index into `snapshots`; -1: a delta
    snapshots: list[list[tuple[int, int, int]]]  # (side, price, size)


class Session(NamedTuple):
    """Everything that a session's tapes are made of."""

    name: str
    folder: Path
    markets: list[str]
    rows: BookRows
    tickers: dict[str, IntArray]  # (n, 4): exch_ns, volume figure, last price, last size, both in UNITs
    watch: dict[str, WatchPayload]
    facts: dict[str, dict[str, str]]  # rows of markets.csv


def _each_line(folder: Path, stem: str, line_type: type[Any], use: Callable[[Any], None]) -> int:
    """Decode every line of the session's `stem` files and hand it to `use`; returns how many.

    A fault in a line, found here or by `use`, becomes a DataError with file and row.
    """
    decoder = msgspec.json.Decoder(line_type)
    count = 0
    for path in sorted(folder.glob(f"{stem}.*ndjson.gz")):
        row = 0
        try:
            for row, line in enumerate(read_gzip(path).splitlines(), 1):  # noqa: B007 - the row of a fault
                use(decoder.decode(line))
                count += 1
        except msgspec.MsgspecError as error:
            raise DataError(f"not a {stem} record ({error})", file=path, row=row) from error
        except DataError as error:
            raise error.at(file=path, row=row or None) from None
    return count


def read_session(folder: Path) -> Session:
    """Read all channels of a session and its rows of `markets.csv`, where there is one.

    Raises:
        DataError: names file and row of what is not as the format promises.
    """
    parse_time = Timestamps()
    watch: dict[str, WatchPayload] = {}
    _each_line(
        folder, "watch_market", _WatchLine, lambda line: watch.update({line.market_ticker: line.payload_json})
    )
    rows, markets = _read_book(folder, parse_time)
    facts_file = folder.parent.parent / "markets.csv"
    return Session(
        name=folder.name,
        folder=folder,
        markets=markets,
        rows=rows,
        tickers=_read_tickers(folder, parse_time),
        watch=watch,
        facts=_read_facts(facts_file, folder.name) if facts_file.is_file() else {},
    )


def read_spot(folder: Path) -> SpotTicks | None:
    """The Coinbase BTC-USD trades recorded beside a session; None where there are none.

    A trade that was recorded twice counts once.

    Raises:
        DataError: names file and row of what is not as the format promises.
    """
    parse_time = Timestamps()
    ticks: dict[str, tuple[int, int, int]] = {}

    def tick(line: _SpotLine) -> None:
        value = int(line.price * REFERENCE_SCALE) if 0 < line.price < MOST_DOLLARS else 0
        if not value or Decimal(value) / REFERENCE_SCALE != line.price:
            raise DataError(f"price {line.price} is not a sum of dollars with at most 8 decimals")
        ticks.setdefault(
            line.trade_id, (offset_ns(parse_time, line.exchange_ts_utc), line.local_recv_ns, int(value))
        )

    count = _each_line(folder, "spot_btcusd_ticks", _SpotLine, tick)
    if not ticks:
        return None
    exch_ns, local_ns, value = np.array(list(ticks.values()), np.int64).T
    order = np.argsort(exch_ns, kind="stable")
    late = int((exch_ns < np.maximum.accumulate(exch_ns)).sum())
    return SpotTicks(exch_ns[order], local_ns[order], value[order], count, late)


def _read_book(folder: Path, parse_time: Timestamps) -> tuple[BookRows, list[str]]:
    price_of, change_of = Remembered(parse_price), Remembered(lambda text: parse_quantity(text, signed=True))
    markets: dict[str, int] = {}
    delta_rows: list[EventRow] = []
    delta_places: list[tuple[int, int, int]] = []  # market, sequence, snapshot
    snapshots: list[list[tuple[int, int, int]]] = []
    snapshot_rows_: list[EventRow] = []
    snapshot_places: list[tuple[int, int, int]] = []

    def snapshot(line: _SnapshotLine) -> None:
        book = line.payload_json
        levels = [(d.BID, price_of[p], parse_quantity(q)) for p, q in book.yes_dollars_fp]
        levels += [(d.ASK, PRICE_SCALE - price_of[p], parse_quantity(q)) for p, q in book.no_dollars_fp]
        snapshot_places.append(
            (markets.setdefault(line.market_ticker, len(markets)), line.sequence_number, len(snapshots))
        )
        snapshots.append([level for level in levels if level[2] > 0])
        snapshot_rows_.append(event_row(0, line.local_recv_ns, d.SNAPSHOT))

    def delta(line: _DeltaLine) -> None:
        payload = line.payload_json
        price = price_of[payload.price_dollars]
        side = d.BID
        if payload.side == "no":
            side, price = d.ASK, PRICE_SCALE - price
        if not 0 < price < PRICE_SCALE:
            raise DataError(f"a {payload.side} level at {payload.price_dollars} is outside the book")
        delta_places.append((markets.setdefault(line.market_ticker, len(markets)), line.sequence_number, -1))
        change = change_of[payload.delta_fp]
        delta_rows.append(
            (parse_time(line.exchange_ts), line.local_recv_ns, change, 0, price, 0, d.LEVEL, side, 0)
        )

    _each_line(folder, "orderbook_snapshot", _SnapshotLine, snapshot)
    if not _each_line(folder, "orderbook_delta", _DeltaLine, delta):
        raise DataError("the session holds no order book changes", file=folder)
    events = events_of(delta_rows + snapshot_rows_)
    places = np.array(delta_places + snapshot_places, np.int64)
    # Arrival order: receive time, made monotone within each channel, and the sequence number within it.
    arrival = np.concatenate(
        [
            np.maximum.accumulate(events["local_ns"][: len(delta_rows)]),
            np.maximum.accumulate(events["local_ns"][len(delta_rows) :]),
        ]
    )
    order = np.lexsort((places[:, 1], arrival))
    places = places[order]
    sequence = places[:, 1]
    connection = np.cumsum(np.concatenate([[0], sequence[1:] <= sequence[:-1]]))
    return BookRows(places[:, 0], events[order], sequence, connection, places[:, 2], snapshots), list(markets)


def _read_tickers(folder: Path, parse_time: Timestamps) -> dict[str, IntArray]:
    price_of, size_of = Remembered(parse_price), Remembered(parse_quantity)
    found: dict[str, list[tuple[int, int, int, int]]] = {}

    def ticker(line: _TickerLine) -> None:
        payload = line.payload_json
        volume = parse_quantity(payload.volume_fp) // recordings.UNIT
        last_size = size_of[payload.last_trade_size_fp] // recordings.UNIT
        row = (parse_time(line.exchange_ts), volume, price_of[payload.price_dollars], last_size)
        found.setdefault(line.market_ticker, []).append(row)

    _each_line(folder, "ticker", _TickerLine, ticker)
    return {
        market: np.array(sorted(rows, key=lambda row: row[:2]), np.int64) for market, rows in found.items()
    }


def _read_facts(path: Path, session: str) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        needed = {"session", "market_ticker", "outcome", "outcome_source"}
        missing = needed - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"the column {min(missing)!r} is missing", file=path)
        facts = {}
        for row, fact in enumerate(reader, 1):
            if fact["outcome"] not in ("yes", "no", "", None):
                raise DataError(f"outcome {fact['outcome']!r} is neither yes nor no", file=path, row=row)
            if fact["session"] == session:
                facts[fact["market_ticker"]] = fact
    return facts
