"""Trades of Kalshi's 15-minute Bitcoin and Ether markets: a CSV file a market, with the API's own objects.

Prices, sizes and exact times are read from the object of the trades endpoint in `raw_json`; the columns
beside it are floats and whole seconds. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import KALSHI_TAKER_PPM
from pr3dict.domain.units import (
    MONEY_SCALE,
    NS_PER_SECOND,
    PRICE_SCALE,
    QTY_SCALE,
    format_price,
    parse_price,
    parse_quantity,
)
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import (
    EventRow,
    ImportedTape,
    Importer,
    MarketReport,
    Remembered,
    Timestamps,
    counted,
    each_once,
    event_row,
    events_of,
)
from pr3dict.store.importers.kalshi_common import WINDOW_NS, csv_rows, named_close_ns
from pr3dict.store.importers.kalshi_kxbtc15m_l2 import FEE, GRID, SETTLE_DELAY_NS
from pr3dict.store.tape import TapeFee, TapeMeta

NAME: Final = "kalshi-15m-btc-eth-trades"
COLUMNS: Final = ("ticker", "trade_id", "ts", "yes_price", "count", "taker_side", "raw_json")
FACTS: Final = (
    "market_ticker",
    "n_trades",
    "contracts",
    "first",
    "last",
    "first_yes_price",
    "last_yes_price",
    "outcome_inferred",
)
COINS: Final = {"KXBTC15M": "Bitcoin", "KXETH15M": "Ether"}
ETHER_FEE: Final = TapeFee(
    kind="kalshi",
    taker_ppm=KALSHI_TAKER_PPM,
    source="Kalshi fee type `quadratic` times 1, the one of KXBTC15M and KXETH, taken for KXETH15M too: "
    "takers pay 0.07 p (1 - p), makers 0.",
)
TIMES_SOURCE: Final = (
    "close_ns is the time in New York that the ticker names; the market opens 15 minutes before it and "
    "resolves at the close."
)
OUTCOME_SOURCE: Final = "inferred from the last print (outcome_inferred of markets.csv), not official"


class _Trade(msgspec.Struct, frozen=True):
    """An object of the trades endpoint. `taker_side` is the contract that the taker bought."""

    ticker: str
    trade_id: str
    created_time: str
    taker_side: Literal["yes", "no"]
    yes_price_dollars: str
    no_price_dollars: str
    count_fp: str


class _Tally(NamedTuple):
    """The distinct trades of a file as EVENT rows in order of time, and what was found on the way."""

    events: d.Array
    rows: int
    repeats: int
    defects: list[str]


def find(paths: Sequence[Path]) -> list[Path]:
    """The trade files at `paths`: sets, folders of files, or files themselves, each once."""
    return each_once(paths, _files, f"no {NAME} recording here: it holds no KX*.csv.gz")


def _files(path: Path) -> list[Path]:
    inner = path / "trades" if (path / "trades").is_dir() else path
    return sorted(inner.glob("KX*.csv.gz")) if inner.is_dir() else [inner]


def read(path: Path) -> list[ImportedTape]:
    """The tape of one market, of kind `trades`.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    ticker = path.name.removesuffix(".gz").removesuffix(".csv")
    close_ns = named_close_ns(ticker)
    series = ticker.partition("-")[0]
    if close_ns is None or series not in COINS:
        raise DataError("the file is not named after a 15-minute Bitcoin or Ether market", file=path)
    tally = _read_trades(path, ticker)
    trades, defects = tally.events, list(tally.defects)
    fact, lacking = _fact(path, ticker)
    defects += lacking if fact is None else _disagreements(fact, trades)
    outcome: Any = (fact.outcome_inferred or None) if fact else None
    late = int((trades["exch_ns"] >= close_ns).sum())
    if late:
        defects.append(f"{counted(late, 'trade')} at or after the close, left out")
    trades = trades[: len(trades) - late]
    if not len(trades):
        raise DataError("the market has no trade before its close", file=path)
    early = int((trades["exch_ns"] < close_ns - WINDOW_NS).sum())
    if early:
        defects.append(f"{counted(early, 'trade')} before the open that the ticker names, kept")
    events = _framed(trades, close_ns, outcome)
    report = MarketReport(
        session=NAME,
        market=ticker,
        kind="trades",
        events=len(events),
        rows=tally.rows,
        trades=len(trades),
        settled=outcome is not None,
        defects=tuple(defects),
        details={
            "repeats": tally.repeats,
            "micro_contracts": int(trades["qty"].sum()),
            "taker_bought_yes": int((trades["side"] == d.BID).sum()),
            "taker_bought_no": int((trades["side"] == d.ASK).sum()),
            "fractional": int((trades["qty"] % QTY_SCALE != 0).sum()),
            f"outcomes_{outcome}": 1,
        },
    )
    return [ImportedTape(events, _meta(ticker, close_ns, outcome, report), report)]


IMPORTER: Final = Importer(
    NAME, "Kalshi 15-minute Bitcoin and Ether trades with the taker's side", find, read
)


# --- one file -------------------------------------------------------------------------------------


def _read_trades(path: Path, ticker: str) -> _Tally:
    decoder = msgspec.json.Decoder(_Trade)
    parse_time, price_of, size_of = Timestamps(), Remembered(parse_price), Remembered(parse_quantity)
    distinct: dict[str, _Trade] = {}
    rows: list[EventRow] = []
    count = differing = conflicts = 0
    for line, cells in csv_rows(path, COLUMNS):
        count += 1
        try:
            trade = decoder.decode(cells[6])
            row = _trade_row(trade, ticker, parse_time(trade.created_time), price_of, size_of)
            seen = distinct.setdefault(trade.trade_id, trade)
            if seen is trade:
                rows.append(row)
            conflicts += seen != trade
            differing += not _columns_agree(cells, trade, row[0], price_of, size_of)
        except msgspec.MsgspecError as error:
            raise DataError(f"raw_json is not a trade ({error})", file=path, row=line) from error
        except DataError as error:
            raise error.at(file=path, row=line) from None
    if not rows:
        raise DataError("the file holds no trades", file=path)
    defects = []
    repeats = count - len(rows)
    if repeats:
        defects.append(f"{counted(repeats, 'repeated trade_id')}, left out")
    if conflicts:
        defects.append(f"{counted(conflicts, 'repeat')} told another trade than the first, which was kept")
    if differing:
        defects.append(f"{counted(differing, 'row')} whose columns differ from raw_json, which was used")
    events = events_of(rows)
    # What has one time is one taker's order on its way through the book: from the best price to the worst.
    toward = np.where(events["side"] == d.BID, events["price"], -events["price"])
    return _Tally(events[np.lexsort((toward, events["side"], events["exch_ns"]))], count, repeats, defects)


def _trade_row(
    trade: _Trade, ticker: str, time_ns: int, price_of: Remembered, size_of: Remembered
) -> EventRow:
    if trade.ticker != ticker:
        raise DataError(f"a trade of {trade.ticker}, in a file of {ticker}")
    price, size = price_of[trade.yes_price_dollars], size_of[trade.count_fp]
    if price + price_of[trade.no_price_dollars] != PRICE_SCALE:
        raise DataError(f"YES at {trade.yes_price_dollars} and NO at {trade.no_price_dollars} make no dollar")
    if not 0 < price < PRICE_SCALE or size == 0:
        raise DataError(f"nobody can trade {trade.count_fp} contracts at {format_price(price)}")
    side = d.BID if trade.taker_side == "yes" else d.ASK
    return event_row(time_ns, time_ns, d.TRADE, side=side, price=price, qty=size)


def _columns_agree(
    cells: list[str], trade: _Trade, time_ns: int, price_of: Remembered, size_of: Remembered
) -> bool:
    ticker, trade_id, seconds, price, size, side, _ = cells
    return (
        (ticker, trade_id, side) == (trade.ticker, trade.trade_id, trade.taker_side)
        and price_of[price] == price_of[trade.yes_price_dollars]
        and size_of[size] == size_of[trade.count_fp]
        and seconds.isdecimal()
        and int(seconds) == time_ns // NS_PER_SECOND
    )


class _Fact(NamedTuple):
    """The market's row of markets.csv: its words, and its times and numbers in the units of EVENT rows."""

    words: dict[str, str]
    n_trades: int
    contracts: int
    first: int
    last: int
    first_yes_price: int
    last_yes_price: int
    outcome_inferred: str


def _fact(path: Path, ticker: str) -> tuple[_Fact | None, list[str]]:
    """The market's row of markets.csv, or what is lacking as a sentence."""
    folders = (path.parent, path.parent.parent)
    file = next((folder / "markets.csv" for folder in folders if (folder / "markets.csv").is_file()), None)
    if file is None:
        return None, ["no markets.csv beside the trades: the outcome is unknown"]
    for line, cells in csv_rows(file, FACTS):
        if cells[0] == ticker:
            try:
                return _parsed_fact(cells), []
            except DataError as error:
                raise error.at(file=file, row=line) from None
    return None, ["markets.csv does not name the market: the outcome is unknown"]


def _parsed_fact(cells: list[str]) -> _Fact:
    _, n_trades, contracts, first, last, first_price, last_price, outcome = cells
    if outcome not in ("yes", "no", ""):
        raise DataError(f"outcome {outcome!r} is neither yes nor no")
    parse_time = Timestamps()
    return _Fact(
        words=dict(zip(FACTS, cells, strict=True)),
        n_trades=parse_quantity(n_trades) // QTY_SCALE,
        contracts=parse_quantity(contracts),
        first=parse_time(first),
        last=parse_time(last),
        first_yes_price=parse_price(first_price),
        last_yes_price=parse_price(last_price),
        outcome_inferred=outcome,
    )


def _disagreements(fact: _Fact, trades: d.Array) -> list[str]:
    """What markets.csv says otherwise than the trades. Of trades with one time any may be first or last."""
    times = trades["exch_ns"]
    first, last = (trades["price"][times == edge].tolist() for edge in (times[0], times[-1]))
    print_says = "yes" if last[-1] * 2 > PRICE_SCALE else "no"
    same = {
        "n_trades": fact.n_trades == len(trades),
        "contracts": fact.contracts == int(trades["qty"].sum()),
        "first": fact.first == int(times[0]),
        "last": fact.last == int(times[-1]),
        "first_yes_price": fact.first_yes_price in first,
        "last_yes_price": fact.last_yes_price in last,
        "outcome_inferred": fact.outcome_inferred in ("", print_says),
    }
    return [
        f"markets.csv says {key} {fact.words[key]}, the trades say otherwise"
        for key, agrees in same.items()
        if not agrees
    ]


# --- the tape -------------------------------------------------------------------------------------


def _framed(trades: d.Array, close_ns: int, outcome: str | None) -> d.Array:
    """The market's life around its trades: active at the open, closed, settled where the outcome is known."""
    open_ns = min(close_ns - WINDOW_NS, int(trades["exch_ns"][0]))
    before = [event_row(open_ns, open_ns, d.STATUS, aux=d.ACTIVE)]
    after = [event_row(close_ns, close_ns, d.STATUS, aux=d.CLOSED)]
    if outcome is not None:
        settle_ns = close_ns + SETTLE_DELAY_NS
        value = MONEY_SCALE if outcome == "yes" else 0
        after.append(event_row(settle_ns, settle_ns, d.SETTLE, qty=value))
    return np.concatenate([events_of(before), trades, events_of(after)])


def _meta(ticker: str, close_ns: int, outcome: Any, report: MarketReport) -> TapeMeta:
    series, window, _ = ticker.split("-")
    return TapeMeta(
        kind="trades",
        venue="kalshi",
        ticker=ticker,
        event_id=f"{series}-{window}",
        title=f"{COINS[series]} up in the 15 minutes to {window} (New York time)?",
        session=report.session,
        source_format=NAME,
        grids=(GRID,),
        min_size=QTY_SCALE,
        lot=QTY_SCALE,
        fee=FEE if series == "KXBTC15M" else ETHER_FEE,
        nets_positions=True,
        reduce_in_place=True,
        open_ns=close_ns - WINDOW_NS,
        close_ns=close_ns,
        expected_resolution_ns=close_ns,
        times_source=TIMES_SOURCE,
        outcome=outcome,
        outcome_source=OUTCOME_SOURCE if outcome else "",
        has_trades="recorded",
        quality={"rows": report.rows, "defects": len(report.defects), **report.details},
    )
