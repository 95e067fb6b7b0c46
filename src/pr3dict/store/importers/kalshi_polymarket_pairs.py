"""The same events quoted on Kalshi and Polymarket, polled together: JSON lines, a file a day and kind.

A folder becomes one `quotes` tape a market of either venue; the partner's ticker stands in the metadata. Only
what is a quote is kept: the Kalshi side of CPI pairs is a probability derived from other markets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import KALSHI_MAKER_PPM, KALSHI_TAKER_PPM
from pr3dict.domain.units import PRICE_SCALE, parse_price
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import (
    ImportedTape,
    Importer,
    MarketReport,
    Timestamps,
    counted,
    read_gzip,
)
from pr3dict.store.importers.kalshi_common import csv_rows, offset_ns
from pr3dict.store.layouts import NONE, QUOTE_ROW
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

NAME: Final = "kalshi-polymarket-pairs"
FACTS: Final = ("kind", "file", "rows", "captures", "first", "last", "is_head_version", "blob")
QUOTED: Final = "real_ask"  # what the recorder calls a price that it read off a book
TIMES_SOURCE: Final = (
    "Both venues were polled within one capture; its time, by the recorder's clock, is that of both quotes."
)
FEES: Final = {
    "kalshi": TapeFee(
        kind="kalshi",
        taker_ppm=KALSHI_TAKER_PPM,
        maker_ppm=KALSHI_MAKER_PPM,
        source="Kalshi's rates of 0.07 for takers and 0.0175 for makers, the dearer of its two common fee "
        "types, because the recording names none.",
    ),
    "polymarket": TapeFee(
        kind="polymarket",
        taker_ppm=50_000,
        source="Polymarket's rate of 0.05 for economics and, since 2026-07-10, sports (0.03 before); no "
        "rebate is counted, because the recording names neither.",
    ),
}


class _KalshiQuote(msgspec.Struct, frozen=True):
    ticker: str
    yes_bid: Decimal
    yes_ask: Decimal
    no_bid: Decimal
    no_ask: Decimal
    price_source_tag: str


class _KalshiDerived(msgspec.Struct, frozen=True):
    event_ticker: str
    price_source_tag: Literal["synthetic"]


class _PolymarketQuote(msgspec.Struct, frozen=True):
    event_id: str
    market_id: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    book_fetch_ok: bool
    price_source_tag: str


class _Line(msgspec.Struct, frozen=True, tag_field="schema_version"):
    capture_id: str
    captured_at: str
    polymarket: _PolymarketQuote


class _RoundLine(_Line, frozen=True, tag="polymarket_pairs.v1"):
    kalshi: _KalshiQuote
    round: str
    team: str


class _MacroLine(_Line, frozen=True, tag="polymarket_macro_pairs.v1"):
    kalshi: _KalshiQuote
    family: str
    meeting: str
    bucket: str


class _CpiLine(_Line, frozen=True, tag="polymarket_cpi_pairs.v1"):
    kalshi: _KalshiDerived
    series: str
    period: str
    bucket_kind: str
    bucket_value: Decimal


_AnyLine = _RoundLine | _MacroLine | _CpiLine


class _Market(NamedTuple):
    """One market of a folder, with what is found of it."""

    venue: Literal["kalshi", "polymarket"]
    ticker: str
    event_id: str
    title: str
    exclusive: bool
    pair: str  # the partner's ticker; empty: it has none
    derived_from: str  # the Kalshi event behind a derived probability
    quotes: dict[int, tuple[int, int]]  # capture time in ns: bid and ask
    left_out: dict[str, int]  # how many rows, by reason


class _Folder(NamedTuple):
    """The rows of one kind of pair."""

    session: str
    markets: dict[tuple[str, str], _Market]  # by venue and ticker
    captures: set[str]
    defects: list[str]


def find(paths: Sequence[Path]) -> list[Path]:
    """Folders of a kind of pair at `paths`, or single days of one: sets, folders or files, each once.

    A day whose whole folder is named too is not listed again.
    """
    found: dict[Path, None] = {}
    for path in paths:
        folders = [path] if _days(path) else sorted(p for p in path.glob("*/") if _days(p))
        if not folders:
            raise DataError(f"no {NAME} recording here: it holds no dt=*.jsonl.gz", file=path)
        found.update(dict.fromkeys(folders))
    return [path for path in found if path.is_dir() or path.parent not in found]


def _days(path: Path) -> list[Path]:
    return sorted(path.glob("dt=*.jsonl*")) if path.is_dir() else [path] if path.is_file() else []


def read(path: Path) -> Iterator[ImportedTape]:
    """One `quotes` tape a market of a folder or of a single day, pairs together, by first appearance.

    Raises:
        DataError: names file and line of what is not as the format promises, or of a market whose partner
            changes.
    """
    folder = _read_folder(path)
    first = True
    for market in folder.markets.values():
        # What concerns the folder is told once, with its first market.
        counts = {"captures": len(folder.captures)} if first else {}
        yield _tape(folder.session, market, folder.defects if first else [], counts)
        first = False


IMPORTER: Final = Importer(
    NAME, "Kalshi and Polymarket quotes of the same events, polled together", find, read
)


# --- one folder -----------------------------------------------------------------------------------


def _read_folder(path: Path) -> _Folder:
    decoder: msgspec.json.Decoder[_AnyLine] = msgspec.json.Decoder(_AnyLine)
    parse_time = Timestamps()
    day = path.name.partition("dt=")[2].partition(".")[0]
    session = path.name if path.is_dir() else f"{path.parent.name}-{day}"
    folder = _Folder(session, {}, set(), [])
    unordered = latest = 0
    for file in _days(path):
        row, captures = 0, set()
        lines = (read_gzip(file) if file.suffix == ".gz" else file.read_bytes()).splitlines()
        try:
            for row, text in enumerate(lines, 1):  # noqa: B007 - the row of a fault
                line = decoder.decode(text)
                time_ns = offset_ns(parse_time, line.captured_at)
                unordered += time_ns < latest
                latest = max(latest, time_ns)
                captures.add(line.capture_id)
                for market, quote in _quotes_of(line):
                    _add(folder.markets, market, time_ns, quote)
        except msgspec.MsgspecError as error:
            raise DataError(f"not a row of a pair ({error})", file=file, row=row) from error
        except DataError as error:
            raise error.at(file=file, row=row or None) from None
        folder.captures.update(captures)
        folder.defects.extend(_disagreements(file, len(lines), len(captures)))
    if not folder.markets:
        raise DataError("the recording holds no rows", file=path)
    if unordered:
        folder.defects.append(
            f"{counted(unordered, 'row')} captured before a row above, put in order of time"
        )
    return folder


_Quote = tuple[int, int] | str  # bid and ask, or why the row holds none


def _quotes_of(line: _AnyLine) -> Iterator[tuple[_Market, _Quote]]:
    """The markets that a row quotes, each with its quote."""
    other = line.polymarket
    title, exclusive = _title(line)
    pair = derived = ""
    if isinstance(line, _CpiLine):
        derived = line.kalshi.event_ticker
    else:
        pair, event = line.kalshi.ticker, line.kalshi.ticker.rpartition("-")[0]
        market = _Market("kalshi", pair, event, title, exclusive, other.market_id, "", {}, {})
        yield market, _kalshi_quote(line.kalshi)
    market = _Market("polymarket", other.market_id, other.event_id, title, exclusive, pair, derived, {}, {})
    yield market, _polymarket_quote(other)


def _title(line: _AnyLine) -> tuple[str, bool]:
    """The market in words, and whether it excludes the others of its event.

    Several teams reach a round; a meeting ends with one decision, and a CPI figure lies in one bucket.
    """
    if isinstance(line, _RoundLine):
        return f"World Cup 2026, {line.round}: {line.team}", False
    if isinstance(line, _MacroLine):
        return f"{line.family} {line.meeting}: {line.bucket}", line.family == "fed_decision"
    return f"{line.series} {line.period}: {line.bucket_kind} {line.bucket_value}", True


def _kalshi_quote(quote: _KalshiQuote) -> _Quote:
    if quote.price_source_tag != QUOTED:
        return "not_quoted"
    yes_bid, yes_ask = parse_price(quote.yes_bid), parse_price(quote.yes_ask)
    no_bid, no_ask = parse_price(quote.no_bid), parse_price(quote.no_ask)
    if yes_bid + no_ask != PRICE_SCALE or yes_ask + no_bid != PRICE_SCALE:
        return "contradictory"
    return _inside(yes_bid, yes_ask)


def _polymarket_quote(quote: _PolymarketQuote) -> _Quote:
    if quote.price_source_tag != QUOTED:
        return "not_quoted"
    if not quote.book_fetch_ok:
        return "not_fetched"
    bid = 0 if quote.best_bid is None else parse_price(quote.best_bid)
    ask = PRICE_SCALE if quote.best_ask is None else parse_price(quote.best_ask)
    return _inside(bid, ask)


def _inside(bid: int, ask: int) -> _Quote:
    """A bid of 0 is none, and so is an ask of 1: nobody can trade there."""
    if bid == PRICE_SCALE or ask == 0:
        return "impossible"
    return bid or NONE, ask if ask < PRICE_SCALE else NONE


def _add(markets: dict[tuple[str, str], _Market], market: _Market, time_ns: int, quote: _Quote) -> None:
    known = markets.setdefault((market.venue, market.ticker), market)
    if known.pair != market.pair:
        raise DataError(f"{market.ticker} is paired with {market.pair}, and with {known.pair} above")
    if isinstance(quote, str):
        known.left_out[quote] = known.left_out.get(quote, 0) + 1
    elif known.quotes.setdefault(time_ns, quote) is not quote:
        reason = "repeated" if known.quotes[time_ns] == quote else "conflicting"
        known.left_out[reason] = known.left_out.get(reason, 0) + 1


def _disagreements(file: Path, rows: int, captures: int) -> list[str]:
    """What files.csv, where there is one, says otherwise than a day's file."""
    listing = file.parent.parent / "files.csv"
    name = file.name.removesuffix(".gz")
    for _, cells in csv_rows(listing, FACTS) if listing.is_file() else ():
        if cells[:2] == [file.parent.name, name] and cells[2:4] != [str(rows), str(captures)]:
            told = f"{cells[2]} rows and {cells[3]} captures"
            return [f"files.csv says {told} of {name}, the file holds {rows} and {captures}"]
    return []


# --- one market -----------------------------------------------------------------------------------

REASONS: Final = {
    "not_fetched": "poll without a book of the venue (the fetch failed), left out",
    "not_quoted": "row that the recorder did not mark as read off a book, left out",
    "contradictory": "row whose YES and NO prices contradict each other, left out",
    "impossible": "row with a bid of a dollar or an ask of nothing, left out",
    "repeated": "row equal to an earlier one of its capture, left out",
    "conflicting": "row unlike an earlier one of its capture, left out",
}


def _tape(session: str, market: _Market, shared: list[str], counts: dict[str, int]) -> ImportedTape:
    times = sorted(market.quotes)
    if not times:
        raise DataError(f"no quote of {market.ticker} ({market.venue}) was recorded in {session}")
    quotes = np.array([market.quotes[time_ns] for time_ns in times], np.int64)
    rows: d.Array = np.zeros(len(times), QUOTE_ROW)
    rows["exch_ns"] = rows["local_ns"] = times
    rows["bid_price"], rows["ask_price"] = quotes.T
    rows["volume_micros"] = NONE
    one_sided = (quotes == NONE).any(axis=1)
    defects = [counted(n, REASONS[reason], _plural(REASONS[reason])) for reason, n in market.left_out.items()]
    total = len(times) + sum(market.left_out.values())
    details: dict[str, Scalar] = {**counts, "one_sided": int(one_sided.sum()), **market.left_out}
    if market.venue == "polymarket":  # every row quotes one Polymarket market, so these sum to the set's rows
        details["pair_rows"] = total
    if market.derived_from:
        details["derived_left_out"] = total
        defects.append(
            f"Kalshi's side of {counted(total, 'row')} is a probability derived from markets of "
            f"{market.derived_from}, not a quote, and was left out"
        )
    report = MarketReport(
        session=session,
        market=market.ticker,
        kind="quotes",
        events=len(rows),
        rows=total,
        defects=(*shared, *defects),
        details=details,
    )
    return ImportedTape(rows, _meta(market, report), report)


def _plural(words: str) -> str:
    first, _, rest = words.partition(" ")
    return f"{first}s {rest}"


def _meta(market: _Market, report: MarketReport) -> TapeMeta:
    link: dict[str, Any] = {}
    if market.pair:
        link = {
            "pair": market.pair,
            "pair_venue": "polymarket" if market.venue == "kalshi" else "kalshi",
        }
    elif market.derived_from:
        link = {"derived_from": market.derived_from}
    return TapeMeta(
        kind="quotes",
        venue=market.venue,
        ticker=market.ticker,
        event_id=market.event_id,
        exclusive=market.exclusive,
        title=market.title,
        session=report.session,
        source_format=NAME,
        grids=(),
        min_size=0,
        lot=0,
        fee=FEES[market.venue],
        nets_positions=market.venue == "kalshi",
        reduce_in_place=market.venue == "kalshi",
        times_source=TIMES_SOURCE,
        has_trades="none",
        quality={**link, "defects": len(report.defects), **report.details},
    )
