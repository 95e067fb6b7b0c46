"""Resolved Polymarket bitcoin windows of 5 minutes, and the Chainlink feed that two days of them settled on.

Two collections: one CSV of outcomes with Binance's open and close, and days as a pair of files, markets (JSON
lines) and prices (CSV). Markets become `resolutions`, prices a `reference` series. The outcomes of a day are
worked out again from its feed and compared. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.store.importers.common import (
    ImportedSeries,
    Importer,
    MarketReport,
    Timestamps,
    counted,
    each_once,
    files_at,
    read_gzip,
)
from pr3dict.store.importers.polymarket_common import MS_NS
from pr3dict.store.series import REFERENCE_SCALE, SCHEMAS, SeriesMeta
from pr3dict.store.tape import Scalar

NAME: Final = "polymarket-btc5m-resolved"
MARKET: Final = "btc-updown-5m"
PATTERNS: Final = ("polymarket_btc_5m_*.csv", "BTC-5m-markets-*.jsonl.gz", "BTCUSD-prices-*.csv.gz")
FEED_SCALE: Final = 10**18  # of the feed's integers
FEED_TO_REFERENCE: Final = FEED_SCALE // REFERENCE_SCALE
NEAR_NS: Final = 2 * NS_PER_SECOND  # a tick at most this much before a window's end tells its last price
GAP_NS: Final = 60 * NS_PER_SECOND
WINDOW_S: Final = 300
CSV_COLUMNS: Final = ("timestamp", "outcome", "up_price", "down_price", "btc_open", "btc_close")
FEED_COLUMNS: Final = ("feed_ts_ms", "full_accuracy_value", "recv_ms")
CSV_SOURCE: Final = "the resolved market, as collected from Polymarket (up_price and down_price of 1 and 0)"
UNTOLD: Final = "not worked out again from the feed: no strike, or no tick within 2 s before the end"
DAY_SOURCE: Final = "outcome_prices of the resolved market, from Polymarket's Gamma interface"


def find(paths: Sequence[Path]) -> list[Path]:
    """The files at `paths`: files, folders of them, or the set's folder of folders, each once."""
    return each_once(paths, _files, f"no {NAME} recording here: expected {' or '.join(PATTERNS)}")


def _files(path: Path) -> list[Path]:
    patterns = [*PATTERNS, *(f"*/{pattern}" for pattern in PATTERNS)] if path.is_dir() else PATTERNS
    return sorted({file for pattern in patterns for file in files_at(path, pattern, strict=True)})


def read(path: Path) -> Iterator[ImportedSeries]:
    """The one series of a file.

    Raises:
        DataError: names file and line (the header is line 1) of what is not as the format promises.
    """
    if path.match(PATTERNS[0]):
        yield _csv_series(path)
    elif path.match(PATTERNS[1]):
        yield _market_series(path)
    else:
        yield _feed_series(path)


IMPORTER: Final = Importer(NAME, "Resolved Polymarket bitcoin windows and their price feed", find, read)


# --- resolutions ----------------------------------------------------------------------------------


class _Resolution(NamedTuple):
    """A row of the `resolutions` schema."""

    ticker: str
    event_id: str
    open_ns: int
    close_ns: int
    settled_ns: int | None
    outcome: str
    value_micros: int
    strike: str | None
    settlement_price: str | None
    source: str


PAYOUTS: Final = {
    ("1", "0"): ("yes", MONEY_SCALE),
    ("0", "1"): ("no", 0),
    ("0.5", "0.5"): ("void", MONEY_SCALE // 2),
}


def _payout(prices: Sequence[str]) -> tuple[str, int]:
    found = PAYOUTS.get((prices[0], prices[1])) if len(prices) == 2 else None
    if found is None:
        raise DataError(f"outcome prices {list(prices)} are no payout of a resolved market")
    return found


def _csv_lines(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and cells of a CSV text; every line has as many cells as the header."""
    line = 1
    try:
        rows = csv.reader(io.StringIO(text), strict=True)
        header = next(rows, [])
        for name in needed:
            if name not in header:
                raise DataError(f"the column {name!r} is missing", file=path)
        for line, cells in enumerate(rows, 2):
            if len(cells) != len(header):
                sentence = f"{counted(len(cells), 'cell')} where the header has {len(header)}"
                raise DataError(sentence, file=path, row=line)
            yield line, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"not a CSV text ({error})", file=path, row=line + 1) from error


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 30):
        raise DataError(f"{text!r} is not a whole number", key=what)
    return int(text)


def _decimal(text: str, what: str) -> Decimal:
    plain = text.replace(".", "", 1)
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 30):
        raise DataError(f"{text!r} is not a plain decimal number", key=what)
    return Decimal(text)


def _csv_series(path: Path) -> ImportedSeries:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", file=path) from error
    rows: list[_Resolution] = []
    agree = ties = 0
    for line, cells in _csv_lines(path, text, CSV_COLUMNS):
        try:
            row, opened, closed = _csv_row(cells)
        except DataError as error:
            raise error.at(file=path, row=line) from None
        rows.append(row)
        agree += (closed >= opened) == (row.outcome == "yes")
        ties += closed == opened
    rows.sort(key=lambda row: row.open_ns)
    missing = sum((b.open_ns - a.open_ns) // (WINDOW_S * NS_PER_SECOND) - 1 for a, b in pairwise(rows))
    defects = ["one outcome a window and no time of settlement, strike or settlement price"]
    if agree != len(rows):
        unlike = counted(len(rows) - agree, "window")
        defects.append(f"{unlike} with another outcome than Binance's prices: they settle on Chainlink's")
    if missing:
        defects.append(f"{counted(missing, 'window')} between the first and the last that the file lacks")
    details: dict[str, Scalar] = {
        "binance_agrees": agree,
        "binance_unchanged": ties,
        "windows_missing": missing,
    }
    return _resolutions(path, path.stem, rows, len(rows), defects, details)


def _csv_row(cells: dict[str, str]) -> tuple[_Resolution, Decimal, Decimal]:
    start_s = _window_start(_whole(cells["timestamp"], "timestamp"))
    prices = [cells[key].removesuffix(".0") for key in ("up_price", "down_price")]
    outcome, value = _payout(prices)
    if {"yes": "up", "no": "down"}.get(outcome) != cells["outcome"]:
        raise DataError(f"outcome {cells['outcome']!r} does not fit the prices {prices}", key="outcome")
    opened, closed = (_decimal(cells[key], key) for key in ("btc_open", "btc_close"))
    slug = f"{MARKET}-{start_s}"
    open_ns = start_s * NS_PER_SECOND
    close_ns = open_ns + WINDOW_S * NS_PER_SECOND
    row = _Resolution(slug, slug, open_ns, close_ns, None, outcome, value, None, None, CSV_SOURCE)
    return row, opened, closed


def _window_start(start_s: int) -> int:
    if start_s % WINDOW_S or not 0 < start_s < 10**10:
        raise DataError(f"{start_s} is not the start of a window of 5 minutes in s since 1970")
    return start_s


class _Raw(msgspec.Struct):
    closed_time: str | None = msgspec.field(default=None, name="closedTime")


class _Market(msgspec.Struct):
    slug: str
    start_sec: int
    end_sec: int
    interval_sec: int
    resolved: bool
    outcome_prices: list[str] | None
    strike_value: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,30}$")] | None
    raw: _Raw


def _market_series(path: Path) -> ImportedSeries:
    """A day's markets, checked against the day's feed where that lies beside the file."""
    day = path.name.removeprefix("BTC-5m-markets-").removesuffix(".jsonl.gz")
    feed_path = path.with_name(f"BTCUSD-prices-{day}.csv.gz")
    feed = read_feed(feed_path) if feed_path.is_file() else None
    clock = Timestamps()
    decoder = msgspec.json.Decoder(_Market)
    rows: list[_Resolution] = []
    open_markets = 0
    seen = recomputed = equal = 0
    for line, text in enumerate(read_gzip(path).splitlines(), 1):
        seen += 1
        try:
            market = decoder.decode(text)
            if not market.resolved or market.outcome_prices is None:
                open_markets += 1
                continue
            row = _day_row(market, clock)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"not the JSON of a market ({error})", file=path, row=line) from error
        except DataError as error:
            raise error.at(file=path, row=line) from None
        rows.append(row)
        won = settlement_of(feed, market.end_sec * NS_PER_SECOND, market.strike_value) if feed else None
        recomputed += won is not None
        equal += won is not None and won == row.outcome
    rows.sort(key=lambda row: row.open_ns)
    strikeless = sum(row.strike is None for row in rows)
    unlike, untold = recomputed - equal, len(rows) - recomputed
    cases = [
        (open_markets, f"{counted(open_markets, 'market')} without an outcome yet, left out"),
        (strikeless, f"{counted(strikeless, 'market')} without a strike, no tick stood at their start"),
        (unlike, f"{counted(unlike, 'market')} whose outcome is another than the feed's"),
        (feed is not None and untold, f"{counted(untold, 'market')} {UNTOLD}"),
        (feed is None, f"no {feed_path.name} beside the markets, so no outcome was worked out again"),
    ]
    defects = [sentence for holds, sentence in cases if holds]
    details: dict[str, Scalar] = {
        "markets_recomputed": recomputed,
        "markets_recomputed_equal": equal,
    }
    return _resolutions(path, day, rows, seen, defects, details)


def _day_row(market: _Market, clock: Timestamps) -> _Resolution:
    start_s = _window_start(market.start_sec)
    if market.end_sec != start_s + WINDOW_S or market.interval_sec != WINDOW_S:
        raise DataError(f"the window from {start_s} to {market.end_sec} is not one of 5 minutes")
    outcome, value = _payout(market.outcome_prices or [])
    settled = market.raw.closed_time
    settled_ns = None
    if settled is not None:  # "2026-06-08 00:00:16+00"
        settled_ns = clock(settled.replace(" ", "T", 1).removesuffix("+00") + "Z")
    return _Resolution(
        market.slug,
        market.slug,
        start_s * NS_PER_SECOND,
        market.end_sec * NS_PER_SECOND,
        settled_ns,
        outcome,
        value,
        None if market.strike_value is None else _dollars(int(market.strike_value)),
        None,
        DAY_SOURCE,
    )


def _dollars(value: int) -> str:
    """The exact decimal number of a feed integer."""
    whole, rest = divmod(value, FEED_SCALE)
    fraction = f"{rest:018d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else f"{whole}"


def _resolutions(
    path: Path,
    session: str,
    rows: Sequence[_Resolution],
    lines: int,
    defects: Sequence[str],
    details: dict[str, Scalar],
) -> ImportedSeries:
    if not rows:
        raise DataError("holds no resolved market", file=path)
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = pa.table(columns, schema=SCHEMAS["resolutions"])
    details = {"markets_up": sum(row.outcome == "yes" for row in rows), **details}
    report = MarketReport(
        session=session,
        market=MARKET,
        kind="resolutions",
        events=len(rows),
        rows=lines,
        defects=tuple(defects),
        details=details,
    )
    meta = SeriesMeta(
        kind="resolutions",
        venue="polymarket",
        name=MARKET,
        title="Bitcoin up or down in 5 minutes: how each window ended; YES is up",
        session=session,
        source_format=NAME,
        quality=details,
    )
    return ImportedSeries(table, meta, report)


# --- the feed -------------------------------------------------------------------------------------


class Feed(NamedTuple):
    """A day of ticks in order of feed time, those of one instant as received; prices in 1e-18 dollar."""

    times_ns: list[int]
    received_ns: list[int]
    prices: list[int]
    disordered: int  # ticks that the file has after a later one


def read_feed(path: Path) -> Feed:
    """The ticks of a feed file. Raises `DataError` that names file and line of what is wrong."""
    ticks: list[tuple[int, int, int]] = []
    try:
        text = read_gzip(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"not a CSV text ({error})", file=path) from error
    for line, cells in _csv_lines(path, text, FEED_COLUMNS):
        try:
            ticks.append(_tick(cells))
        except DataError as error:
            raise error.at(file=path, row=line) from None
    if not ticks:
        raise DataError("holds no ticks", file=path)
    disordered = sum(b[0] < a[0] for a, b in pairwise(ticks))
    ticks.sort(key=lambda tick: tick[:2])
    times, received, prices = (list(column) for column in zip(*ticks, strict=True))
    return Feed(times, received, prices, disordered)


def _tick(cells: dict[str, str]) -> tuple[int, int, int]:
    """Feed time and time of receipt in ns, and the price."""
    feed_ms, price, recv_ms = (_whole(cells[name], name) for name in FEED_COLUMNS)
    if not (0 < feed_ms < 10**13 and 0 < recv_ms < 10**13):
        raise DataError("a time outside 1970 to 2286")
    if not 0 < price < 10**28:
        raise DataError(f"the price {price} is not one in 1e-18 dollar")
    return feed_ms * MS_NS, recv_ms * MS_NS, price


def settlement_of(feed: Feed, end_ns: int, strike: str | None) -> str | None:
    """`yes` when the last tick at or before `end_ns` is at least the strike (a tie is up), else `no`.

    None without a strike, and where that tick is more than `NEAR_NS` old.
    """
    place = bisect_right(feed.times_ns, end_ns) - 1
    if strike is None or place < 0 or end_ns - feed.times_ns[place] > NEAR_NS:
        return None
    return "yes" if feed.prices[place] >= int(strike) else "no"


def _feed_series(path: Path) -> ImportedSeries:
    feed = read_feed(path)
    gaps = [b - a for a, b in pairwise(feed.times_ns) if b - a > GAP_NS]
    # Rounded half up: the series holds 1e-8 dollar, the feed ten more digits.
    values = [(price + FEED_TO_REFERENCE // 2) // FEED_TO_REFERENCE for price in feed.prices]
    table = pa.table([feed.times_ns, feed.received_ns, values], schema=SCHEMAS["reference"])
    early = sum(b < a for a, b in pairwise(feed.received_ns))
    longest_s = max(gaps, default=0) // NS_PER_SECOND
    cases = [
        (gaps, f"{counted(len(gaps), 'gap')} of more than 60 s in the feed, the longest {longest_s:,} s"),
        (feed.disordered, f"{counted(feed.disordered, 'tick')} after a later one, sorted"),
        (early, f"{counted(early, 'tick')} received before the one above, kept with its time"),
    ]
    day = path.name.removeprefix("BTCUSD-prices-").removesuffix(".csv.gz")
    details: dict[str, Scalar] = {
        "gaps": len(gaps),
        "seconds_in_gaps": sum(gaps) // NS_PER_SECOND,
        "ticks_rounded": sum(price % FEED_TO_REFERENCE != 0 for price in feed.prices),
    }
    report = MarketReport(
        session=day,
        market="chainlink-btcusd",
        kind="reference",
        events=len(values),
        rows=len(values),
        defects=tuple(sentence for holds, sentence in cases if holds),
        details=details,
    )
    meta = SeriesMeta(
        kind="reference",
        venue="chainlink",
        name="chainlink-btcusd",
        title="Chainlink BTC/USD as Polymarket relays it: exch_ns is the feed's time, local_ns of receipt",
        session=day,
        source_format=NAME,
        unit="USD per BTC",
        quality={**details, "longest_gap_s": longest_s},
    )
    return ImportedSeries(table, meta, report)
