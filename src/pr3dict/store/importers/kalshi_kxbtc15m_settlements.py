"""Settlements of Kalshi's 15-minute Bitcoin markets: one CSV file to one `resolutions` series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import MONEY_SCALE, parse_money
from pr3dict.store.importers.common import (
    ImportedSeries,
    Importer,
    MarketReport,
    Timestamps,
    counted,
    each_once,
)
from pr3dict.store.importers.kalshi_common import WINDOW_NS, csv_rows, named_close_ns
from pr3dict.store.series import SCHEMAS, SeriesMeta

NAME: Final = "kalshi-kxbtc15m-settlements"
FILE: Final = "settlements.csv"
SERIES: Final = "KXBTC15M"
COLUMNS: Final = ("market_ticker", "result", "settlement_price", "settlement_ts_utc", "label_source")
TIMES_SOURCE: Final = "The close is what the ticker names in New York time, the open 15 minutes before it."

_Row = dict[str, Any]


def find(paths: Sequence[Path]) -> list[Path]:
    """The settlement files at `paths`: sets or the files themselves, each once."""
    return each_once(paths, _file, f"no {NAME} set here: it holds no {FILE}")


def _file(path: Path) -> list[Path]:
    file = path / FILE if path.is_dir() else path
    return [file] if file.is_file() else []


def read(path: Path) -> list[ImportedSeries]:
    """One `resolutions` series of all markets, by ticker.

    Raises:
        DataError: names file and line of a row that is not as the format promises, or of a market that ends
            twice in different ways.
    """
    rows: dict[str, _Row] = {}
    parse_time = Timestamps()
    read_rows = repeats = early = 0
    for line, cells in csv_rows(path, COLUMNS):
        read_rows += 1
        try:
            row = _row(cells, parse_time)
        except DataError as error:
            raise error.at(file=path, row=line) from None
        before = rows.setdefault(row["ticker"], row)
        if before is not row:
            repeats += 1
            if (before["outcome"], before["settlement_price"]) != (row["outcome"], row["settlement_price"]):
                sentence = f"{row['ticker']} stands in two rows that differ; keep the right one"
                raise DataError(sentence, file=path, row=line)
        elif None not in (row["close_ns"], row["settled_ns"]) and row["settled_ns"] < row["close_ns"]:
            early += 1
            row["open_ns"] = row["close_ns"] = None
    if not rows:
        raise DataError("the file holds no settlements", file=path)
    return [_series(path, [rows[ticker] for ticker in sorted(rows)], read_rows, repeats, early)]


IMPORTER: Final = Importer(NAME, "Kalshi KXBTC15M outcomes, settlement prices and times", find, read)


def _row(cells: list[str], parse_time: Timestamps) -> _Row:
    ticker, result, price, settled, source = cells
    if not ticker.startswith(f"{SERIES}-"):
        raise DataError(f"{ticker!r} is not a ticker of {SERIES}")
    if result not in ("yes", "no"):
        raise DataError(f"result {result!r} is neither yes nor no")
    if not source:
        raise DataError("the result has no source", key="label_source")
    if price and parse_money(price) == 0:
        raise DataError(f"settlement price {price} is not a price")
    close_ns = named_close_ns(ticker)
    return {
        "ticker": ticker,
        "event_id": ticker.rpartition("-")[0],
        "open_ns": None if close_ns is None else close_ns - WINDOW_NS,
        "close_ns": close_ns,
        "settled_ns": parse_time(settled) if settled else None,
        "outcome": result,
        "value_micros": MONEY_SCALE if result == "yes" else 0,
        "strike": None,
        "settlement_price": price or None,
        "source": source,
    }


def _series(path: Path, rows: list[_Row], read_rows: int, repeats: int, early: int) -> ImportedSeries:
    schema = SCHEMAS["resolutions"]
    table = pa.Table.from_pylist(rows, schema=schema)
    session = path.stem
    details = {
        "yes": sum(row["outcome"] == "yes" for row in rows),
        "no": sum(row["outcome"] == "no" for row in rows),
        "settlement_prices": len(rows) - table.column("settlement_price").null_count,
        "settlement_times": len(rows) - table.column("settled_ns").null_count,
        "close_times": len(rows) - table.column("close_ns").null_count,
        "repeats": repeats,
    }
    report = MarketReport(
        session=session,
        market=SERIES,
        kind="resolutions",
        events=len(rows),
        rows=read_rows,
        defects=tuple(_defects(rows, details, early)),
        details=dict(details),
    )
    meta = SeriesMeta(
        kind="resolutions",
        venue="kalshi",
        name=SERIES,
        title="How Kalshi's 15-minute Bitcoin markets ended",
        session=session,
        source_format=NAME,
        quality={
            "times_source": TIMES_SOURCE,
            "defects": len(report.defects),
            **details,
        },
    )
    return ImportedSeries(table, meta, report)


def _defects(rows: list[_Row], details: dict[str, int], early: int) -> list[str]:
    found = []
    lacking = {
        "settlement_prices": "market without a settlement price",
        "settlement_times": "market without a settlement time; its close is told by its ticker alone",
    }
    for key, words in lacking.items():
        missing = len(rows) - details[key]
        if missing:
            found.append(counted(missing, words, words.replace("market", "markets", 1)))
    if early:
        found.append(
            f"{counted(early, 'market')} settled before the close that the ticker names: no close is told"
        )
    unnamed = len(rows) - details["close_times"] - early
    if unnamed:
        found.append(f"{counted(unnamed, 'ticker')} that names no close in New York time, left unknown")
    if details["repeats"]:
        found.append(f"{counted(details['repeats'], 'repeated row')}, left out")
    return found
