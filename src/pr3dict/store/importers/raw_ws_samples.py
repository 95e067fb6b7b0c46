"""A folder of raw samples: a Kalshi session, Kalshi REST answers, and mixed feeds around Polymarket markets.

Order books go through the importers of raw frames (`kalshi_ws`, `polymarket_ws`); prices of coins become
`reference` series, one a feed and coin; REST answers carry no time and are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.store.importers import kalshi_ws, polymarket_ws
from pr3dict.store.importers.common import (
    Imported,
    ImportedSeries,
    Importer,
    MarketReport,
    Timestamps,
    counted,
)
from pr3dict.store.importers.ws_lines import Frame, read_frames, session_name
from pr3dict.store.series import REFERENCE_SCALE, SCHEMAS, SeriesMeta
from pr3dict.store.tape import Scalar
from pr3dict.venues.wire import milliseconds_to_ns, refusal

NAME: Final = "raw-ws-samples"
KALSHI_FRAMES: Final = "kalshi-demo-session.jsonl.gz"
KALSHI_REST: Final = "kalshi-demo-rest.jsonl.gz"
MIXED: Final = "polymarket-15m-mixed-raw_messages.jsonl.gz"
CLOB: Final = "polymarket_clob"
FULL_ACCURACY: Final = Decimal(10) ** 18  # unit of RTDS' full_accuracy_value
QUANTUM: Final = Decimal(1) / REFERENCE_SCALE


def find(paths: Sequence[Path]) -> list[Path]:
    """The folders at `paths` that hold samples, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if not any((path / name).is_file() for name in (KALSHI_FRAMES, MIXED)):
            raise DataError(f"no {NAME} folder: neither {KALSHI_FRAMES} nor {MIXED} is in it", file=path)
        found[path] = None
    return list(found)


def read(folder: Path) -> Iterator[Imported]:
    """All tapes and series of a folder of samples.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    if (folder / KALSHI_FRAMES).is_file():
        first, *others = kalshi_ws.tapes_of(
            read_frames(folder / KALSHI_FRAMES), folder / KALSHI_FRAMES, source_format=NAME
        )
        if (folder / KALSHI_REST).is_file():
            answers = sum(1 for _ in read_frames(folder / KALSHI_REST))
            sentence = f"{counted(answers, 'REST answer')} without a time in {KALSHI_REST} left out"
            report = msgspec.structs.replace(
                first.report,
                defects=(*first.report.defects, sentence),
                details={**first.report.details, "rest_answers": answers},
            )
            first = first._replace(report=report)
        yield from (first, *others)
    if (folder / MIXED).is_file():
        yield from _mixed(folder / MIXED)


IMPORTER: Final = Importer(NAME, "Raw samples of Kalshi, Polymarket and coin price feeds", find, read)


# --- mixed feeds ----------------------------------------------------------------------------------


def _mixed(path: Path) -> Iterator[Imported]:
    """Tapes of the order books, then the series of prices; the first tape counts the messages by feed."""
    feeds: Counter[str] = Counter()
    prices = _Prices()

    def books(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            feeds[frame.source] += 1
            if frame.source == CLOB:
                yield frame
            else:
                prices.take(frame)

    first, *others = polymarket_ws.tapes_of(books(read_frames(path)), path, source_format=NAME)
    details = {f"feed_{feed or 'unnamed'}": count for feed, count in sorted(feeds.items())}
    report = msgspec.structs.replace(first.report, details={**first.report.details, **details})
    yield first._replace(report=report)
    yield from others
    yield from prices.series(session_name(path))


class _Point(NamedTuple):
    exch_ns: int
    local_ns: int
    value: int  # 1 / REFERENCE_SCALE of the unit


class _Value(msgspec.Struct):
    timestamp: int  # ms
    value: Decimal
    full_accuracy_value: Decimal | None = None


class _RtdsBody(msgspec.Struct):
    symbol: str
    data: list[_Value] | None = None  # the past, after a subscription
    timestamp: int | None = None
    value: Decimal | None = None
    full_accuracy_value: Decimal | None = None


class _Rtds(msgspec.Struct):
    payload: _RtdsBody


class _BinanceTrade(msgspec.Struct):
    s: str  # symbol
    p: Decimal
    T: int  # ms


class _Binance(msgspec.Struct):
    data: _BinanceTrade


class _Coinbase(msgspec.Struct):
    type: str
    product_id: str = ""
    price: Decimal | None = None
    time: str = ""


class _Prices:
    """Prices of coins by feed and symbol."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], list[_Point]] = {}
        self._frames: Counter[tuple[str, str]] = Counter()
        self._other: Counter[str] = Counter()  # messages of a feed without a price
        self._parse_time = Timestamps()

    def take(self, frame: Frame) -> None:
        """Note the prices of one message; one without a price is counted."""
        try:
            self._read(frame)
        except msgspec.DecodeError as error:
            raise refusal(frame.raw, error).at(row=frame.row) from None
        except DataError as error:
            raise error.at(row=frame.row) from None

    def _read(self, frame: Frame) -> None:
        if frame.source == "polymarket_rtds_chainlink":
            self._rtds(frame)
        elif frame.source == "binance":
            trade = msgspec.json.decode(frame.raw, type=_Binance).data
            self._note(frame, trade.s.lower(), milliseconds_to_ns(trade.T, "data.T"), trade.p)
        elif frame.source == "coinbase":
            self._coinbase(frame)
        else:
            raise DataError(f"unknown feed {frame.source!r}", key="source")

    def _rtds(self, frame: Frame) -> None:
        body = msgspec.json.decode(frame.raw, type=_Rtds).payload
        values = body.data
        if values is None:
            if body.timestamp is None or body.value is None:
                raise DataError("a price without time or value", key="payload")
            values = [_Value(body.timestamp, body.value, body.full_accuracy_value)]
        symbol = body.symbol.replace("/", "-")
        self._frames[frame.source, symbol] += 1
        for each in values:
            exact = (
                each.value if each.full_accuracy_value is None else each.full_accuracy_value / FULL_ACCURACY
            )
            self._add(frame, symbol, milliseconds_to_ns(each.timestamp, "payload.timestamp"), exact)

    def _coinbase(self, frame: Frame) -> None:
        message = msgspec.json.decode(frame.raw, type=_Coinbase)
        if message.type != "ticker":
            self._other[frame.source] += 1
        elif message.price is None:
            raise DataError("a ticker without a price", key="price")
        else:
            self._note(frame, message.product_id.lower(), self._parse_time(message.time), message.price)

    def _note(self, frame: Frame, symbol: str, exch_ns: int, value: Decimal) -> None:
        self._frames[frame.source, symbol] += 1
        self._add(frame, symbol, exch_ns, value)

    def _add(self, frame: Frame, symbol: str, exch_ns: int, value: Decimal) -> None:
        if not value.is_finite() or not 0 < value < 10**9:
            raise DataError(f"{value} is no price", key=symbol)
        units = int(value.quantize(QUANTUM, ROUND_HALF_EVEN).scaleb(8))
        point = _Point(exch_ns, frame.local_ns, units)
        self._points.setdefault((frame.source, symbol), []).append(point)

    def series(self, session: str) -> Iterator[ImportedSeries]:
        """One series a feed and coin, in order of the feed's time; what came twice is there once."""
        for (feed, symbol), points in self._points.items():
            once: dict[tuple[int, int], _Point] = {}
            for point in points:
                once.setdefault((point.exch_ns, point.value), point)
            kept = sorted(once.values(), key=lambda point: point.exch_ns)
            other = self._other.pop(feed, 0)
            yield _series(session, feed, symbol, kept, len(points), self._frames[feed, symbol] + other, other)


def _series(
    session: str, feed: str, symbol: str, points: Sequence[_Point], prices: int, frames: int, other: int
) -> ImportedSeries:
    defects = []
    if other:
        defects.append(f"{counted(other, 'message')} of the feed without a price (replies to subscriptions)")
    details: dict[str, Scalar] = {"prices": prices, "prices_repeated": prices - len(points)}
    report = MarketReport(
        session=session,
        market=f"{feed}-{symbol}",
        kind="reference",
        events=len(points),
        rows=frames,
        defects=tuple(defects),
        details=details,
    )
    meta = SeriesMeta(
        kind="reference",
        venue=feed,
        name=symbol,
        title=f"{symbol} as {feed} told it",
        session=session,
        source_format=NAME,
        unit=f"{'USDT' if symbol.endswith('usdt') else 'USD'} per coin",
        quality={"defects": len(defects), **details},
    )
    columns = [list(column) for column in zip(*points, strict=True)]
    table = pa.Table.from_arrays(
        [pa.array(column, pa.int64()) for column in columns], schema=SCHEMAS["reference"]
    )
    return ImportedSeries(table, meta, report)
