"""Best bids of Kalshi's New York temperature brackets: a CSV file an event day, one row a change.

Six brackets exclude each other on each day. The recorder wrote its local time without a zone; why it is read
as US Pacific time, and what else each rule rests on, is told in docs/tapes.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import KALSHI_TAKER_PPM
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import (
    ImportedTape,
    Importer,
    MarketReport,
    Remembered,
    counted,
    each_once,
    files_at,
)
from pr3dict.store.importers.kalshi_common import csv_rows, named_day, wall_ns
from pr3dict.store.layouts import NONE, QUOTE_ROW
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

NAME: Final = "kalshi-kxhighny-bbo"
COLUMNS: Final = (
    "timestamp",
    "market_ticker",
    "best_yes_bid",
    "best_no_bid",
    "implied_no_ask",
    "implied_yes_ask",
)
FACTS: Final = ("file", "rows", "markets", "first", "last", "median_spread_c", "winner_by_last_quote")
ZONE: Final = ZoneInfo("America/Los_Angeles")
CENT: Final = 100  # price units
DOLLAR: Final = 100  # cents
WINNING_BID: Final = 95  # cents
PLACEHOLDER_SPREAD: Final = 20  # cents: a bracket's rows before its spread is first this narrow
TIMES_SOURCE: Final = (
    "The recorder's local time, read as US Pacific time: with it markets appear at 10:00 in New York, fall "
    "silent before midnight there, and on Thursdays from 03:00, when Kalshi pauses. The recording names no "
    "zone, no open and no close."
)
ZONE_DEFECT: Final = (
    "the recorder's clock has no time zone; it was read as US Pacific time, which is not verified"
)
FEE: Final = TapeFee(
    kind="kalshi",
    taker_ppm=KALSHI_TAKER_PPM,
    source="Kalshi fee type `quadratic` times 1, that of most series, taken for KXHIGHNY too: takers pay "
    "0.07 p (1 - p), makers 0.",
)

IntArray = npt.NDArray[np.int64]
_SECOND: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_TICKER: Final = re.compile(r"(KXHIGHNY-(\d\d[A-Z]{3}\d\d))-([BT])(\d+(?:\.\d)?)", re.ASCII)


class _Day(NamedTuple):
    """The rows of a file in its order."""

    event: str
    tickers: list[str]  # by first appearance
    market: IntArray  # index into `tickers`
    time_ns: IntArray
    yes_bid: IntArray  # cents; 0: none
    no_bid: IntArray
    first: str  # the times as recorded
    last: str
    defects: list[str]


def find(paths: Sequence[Path]) -> list[Path]:
    """The day files at `paths`: sets or files themselves, each once."""
    missing = f"no {NAME} recording here: it holds no market_data_KXHIGHNY-*.csv.gz"
    return each_once(paths, lambda path: files_at(path, "market_data_KXHIGHNY-*.csv*"), missing)


def read(path: Path) -> Iterator[ImportedTape]:
    """One `quotes` tape a bracket of the day, in order of first appearance.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    day = _read_day(path)
    last_bids = [int(day.yes_bid[day.market == k][-1]) for k in range(len(day.tickers))]
    likely = [t for t, bid in zip(day.tickers, last_bids, strict=True) if bid >= WINNING_BID]
    winner = likely[0] if len(likely) == 1 else None
    spread = float(np.median(DOLLAR - day.yes_bid - day.no_bid))
    differing = _disagreements(path, day, spread, winner or "")
    if "winner_by_last_quote" in differing:
        winner = None
    shared = [f"events.csv says {key} {word}, the rows say otherwise" for key, word in differing.items()]
    shared += day.defects
    for k in range(len(day.tickers)):
        # What concerns the file is told once, with its first bracket.
        yield _bracket_tape(path, day, k, winner, spread, shared if k == 0 else [])


IMPORTER: Final = Importer(NAME, "Kalshi New York temperature brackets, best bids of both sides", find, read)


# --- one file -------------------------------------------------------------------------------------


def _read_day(path: Path) -> _Day:
    second_ns, bids, cents = Remembered(_second_ns), Remembered(_bid_cents), Remembered(_cents)
    tickers: dict[str, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    first = last = event = ""
    implied = 0
    for line, (time, ticker, yes_bid, no_bid, no_ask, yes_ask) in csv_rows(path, COLUMNS):
        try:
            if ticker not in tickers:
                event = _event_of(ticker, event)
            market = tickers.setdefault(ticker, len(tickers))
            yes, no = bids[yes_bid], bids[no_bid]
            implied += cents[no_ask] != DOLLAR - yes or cents[yes_ask] != DOLLAR - no
            rows.append((market, second_ns[time[:19]] + _fraction_ns(time), yes, no))
        except DataError as error:
            raise error.at(file=path, row=line) from None
        first, last = first or time, time
    if not rows:
        raise DataError("the file holds no rows", file=path)
    market_, time_ns, yes_bids, no_bids = np.array(rows, np.int64).T
    defects = []
    if implied:
        defects.append(f"{counted(implied, 'row')} whose implied asks contradict the bids, which were used")
    return _Day(event, list(tickers), market_, time_ns, yes_bids, no_bids, first, last, defects)


def _event_of(ticker: str, event: str) -> str:
    """The event of a new ticker; `DataError` unless it is the one of the file so far."""
    match = _TICKER.fullmatch(ticker)
    if match is None or named_day(match[2]) is None:
        raise DataError(f"{ticker!r} is not a bracket of KXHIGHNY")
    if event and match[1] != event:
        raise DataError(f"{ticker} is not of {event}, the event of the rows above")
    return match[1]


def _second_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if _SECOND.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise DataError(f"timestamp {text!r} is not a local time such as 2025-12-04T12:27:16.079996")
    found = wall_ns(moment, ZONE)
    if found is None:
        raise DataError(f"local time {text} occurs twice or never where the clocks change")
    return found


def _fraction_ns(time: str) -> int:
    digits = time[20:]
    if len(time) == 19:
        return 0
    if time[19] != "." or not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise DataError(f"timestamp {time!r} is not a local time such as 2025-12-04T12:27:16.079996")
    return int(digits.ljust(9, "0"))


def _cents(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= DOLLAR):
        raise DataError(f"price {text!r} is not a whole number of cents from 0 to {DOLLAR}")
    return int(text)


def _bid_cents(text: str) -> int:
    cents = _cents(text)
    if cents == DOLLAR:
        raise DataError(f"nobody can bid {DOLLAR} cents")
    return cents


def _disagreements(path: Path, day: _Day, spread: float, winner: str) -> dict[str, str]:
    """Columns of events.csv, where there is one, that say otherwise than the rows, with their words."""
    file = path.parent / "events.csv"
    stem = path.name.removesuffix(".gz")
    for line, cells in csv_rows(file, FACTS) if file.is_file() else ():
        if cells[0] != stem:
            continue
        _, rows, markets, first, last, told, named = cells
        try:
            same = {
                "rows": int(rows) == len(day.market),
                "markets": int(markets) == len(day.tickers),
                "first": first == day.first,
                "last": last == day.last,
                "median_spread_c": float(told) == spread,
                "winner_by_last_quote": named == winner,
            }
        except ValueError as error:
            raise DataError(f"not a number ({error})", file=file, row=line) from None
        words = dict(zip(FACTS, cells, strict=True))
        return {key: words[key] or "nothing" for key, agrees in same.items() if not agrees}
    return {}


# --- one bracket ----------------------------------------------------------------------------------


def _bracket_tape(
    path: Path, day: _Day, index: int, winner: str | None, spread: float, shared: list[str]
) -> ImportedTape:
    ticker = day.tickers[index]
    mine = day.market == index
    yes, no, times = day.yes_bid[mine], day.no_bid[mine], day.time_ns[mine]
    wide = DOLLAR - yes - no > PLACEHOLDER_SPREAD
    defects = [ZONE_DEFECT, *shared]
    backward = int((np.diff(times) < 0).sum())
    if backward:
        defects.append(f"{counted(backward, 'row')} with a time before the row above, moved up to it")
    crossed = int((yes + no >= DOLLAR).sum())
    if crossed:
        words = "with the bid at or above the ask, kept as recorded"
        defects.append(f"{counted(crossed, 'quote')} {words}")
    outcome: Any = None
    if winner is None:
        defects.append(
            f"not exactly one bracket ends with a bid of {WINNING_BID} cents: no outcome is inferred"
        )
    else:
        outcome = "yes" if ticker == winner else "no"
    rows: d.Array = np.zeros(len(yes), QUOTE_ROW)
    rows["exch_ns"] = rows["local_ns"] = np.maximum.accumulate(times)
    rows["bid_price"] = np.where(yes > 0, yes * CENT, NONE)
    rows["ask_price"] = np.where(no > 0, (DOLLAR - no) * CENT, NONE)
    rows["volume_micros"] = NONE
    details: dict[str, Scalar] = {
        "placeholders": int(np.argmin(wide)) if not wide.all() else len(wide),
        "one_sided": int(((yes == 0) != (no == 0)).sum()),
        "empty": int(((yes == 0) & (no == 0)).sum()),
        "crossed": crossed,
        "median_spread_cents": float(np.median(DOLLAR - yes - no)),
        "event_median_spread_cents": spread,
    }
    report = MarketReport(
        session=path.name.removesuffix(".gz").removesuffix(".csv"),
        market=ticker,
        kind="quotes",
        events=len(rows),
        rows=len(rows),
        defects=tuple(defects),
        details=details,
    )
    return ImportedTape(rows, _meta(day.event, ticker, outcome, winner, report), report)


def _meta(event: str, ticker: str, outcome: Any, winner: str | None, report: MarketReport) -> TapeMeta:
    match = _TICKER.fullmatch(ticker)
    date = named_day(match[2]) if match else None
    assert match is not None and date is not None  # `_event_of` saw to it
    words = "the bracket around" if match[3] == "B" else "beyond"
    return TapeMeta(
        kind="quotes",
        venue="kalshi",
        ticker=ticker,
        event_id=event,
        exclusive=True,
        title=f"Highest temperature in New York on {date:%Y-%m-%d}: {words} {match[4]} degrees Fahrenheit",
        session=report.session,
        source_format=NAME,
        grids=(),
        min_size=0,
        lot=0,
        fee=FEE,
        nets_positions=True,
        reduce_in_place=True,
        times_source=TIMES_SOURCE,
        strike=match[4],
        outcome=outcome,
        outcome_source=f"inferred: only {winner} ends with a bid of {WINNING_BID} cents or more"
        if outcome
        else "",
        has_trades="none",
        quality={"defects": len(report.defects), **report.details},
    )
