"""Kalshi KXBTC15M full-depth recordings: native WebSocket messages in NDJSON files, a folder a session.

A session holds `orderbook_snapshot`, `orderbook_delta`, `ticker` and `watch_market` files; `markets.csv`
beside the folder of sessions tells outcomes. Deltas carry increments and are turned into resting sizes. There
is no trade channel: trades are inferred from the ticker's volume (`kernels.recordings.infer_trades`). What
each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import KALSHI_TAKER_PPM
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.units import (
    MONEY_SCALE,
    NS_PER_SECOND,
    QTY_SCALE,
    format_contracts,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings, tapecheck
from pr3dict.store.importers.common import (
    Imported,
    ImportedSeries,
    ImportedTape,
    Importer,
    MarketReport,
    Timestamps,
    counted,
    each_once,
    event_row,
    events_of,
    snapshot_rows,
)
from pr3dict.store.importers.kalshi_common import WINDOW_NS
from pr3dict.store.importers.kalshi_kxbtc15m_session import (
    BookRows,
    IntArray,
    Session,
    SpotTicks,
    WatchPayload,
    read_session,
    read_spot,
)
from pr3dict.store.series import SCHEMAS, SeriesMeta
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

NAME: Final = "kalshi-kxbtc15m-l2"
COIN: Final = "BTC-USD"
SETTLE_DELAY_NS: Final = NS_PER_SECOND
GRID: Final = kalshi_grid("tapered_deci_cent")
FEE: Final = TapeFee(
    kind="kalshi",
    taker_ppm=KALSHI_TAKER_PPM,
    source="Kalshi fee type `quadratic` times 1, as for KXBTC15M: takers pay 0.07 p (1 - p), makers 0.",
)
TIMES_SOURCE: Final = (
    "close_ns is close_time of the recorder's watch_market record; the market opens 15 minutes before it and "
    "resolves at the close."
)


def find(paths: Sequence[Path]) -> list[Path]:
    """The session folders at `paths`: sets, folders of sessions, or sessions themselves, each once."""
    missing = f"no {NAME} session here: none of its folders holds orderbook_delta.*.ndjson.gz"
    return each_once(paths, _sessions, missing)


def _sessions(path: Path) -> list[Path]:
    inner = path / "sessions" if (path / "sessions").is_dir() else path
    return [path] if _is_session(path) else sorted(p for p in inner.glob("*") if _is_session(p))


def _is_session(path: Path) -> bool:
    return path.is_dir() and any(path.glob("orderbook_delta.*.ndjson.gz"))


def read(folder: Path) -> list[Imported]:
    """One tape a market of a session, by first appearance, and the coin's price where it was recorded.

    Raises:
        DataError: names file and row of what is not as the format promises.
    """
    session = read_session(folder)
    tapes: list[Imported] = [_market_tape(session, index) for index in range(len(session.markets))]
    spot = read_spot(folder)
    return tapes if spot is None else [*tapes, _spot_series(session.name, spot)]


IMPORTER: Final = Importer(NAME, "Kalshi KXBTC15M order books recorded from the WebSocket", find, read)


# --- one market -----------------------------------------------------------------------------------


class _Book(NamedTuple):
    """A market's book messages as EVENT rows that hold resting sizes, and what was found on the way."""

    events: d.Array
    change: IntArray  # what a LEVEL row added; negative: took
    decrease: IntArray  # what it took at the touch
    deltas: int
    snapshots: int
    checked: int
    equal: int
    defects: list[str]


def _market_book(session: Session, index: int) -> _Book:
    rows, defects = session.rows, []
    mine = np.flatnonzero(rows.market == index)
    places = rows.snapshot[mine]
    deltas, snapshots = int((places < 0).sum()), int((places >= 0).sum())
    if not snapshots:
        raise DataError(
            f"market {session.markets[index]} has no snapshot, so its book is unknown", file=session.folder
        )
    before = int(np.argmax(places >= 0))
    if before:
        defects.append(f"{counted(before, 'book change')} before the first snapshot, left out")
        mine, places = mine[before:], places[before:]
    gaps = (np.diff(rows.sequence[mine]) != 1) & (np.diff(rows.connection[mine]) == 0)
    if gaps.any():
        defects.append(
            f"{counted(int(gaps.sum()), 'gap')} in the sequence numbers: the book may be wrong after each"
        )
    reconnections = int((np.diff(rows.connection[mine]) > 0).sum())
    if reconnections:
        defects.append(f"{counted(reconnections, 'reconnection')}: what happened in between was not recorded")
    events = _place_snapshots(rows, mine)
    late = int((np.diff(events["exch_ns"]) < 0).sum())
    if late:
        defects.append(f"{counted(late, 'row')} with an exchange time before the row above, moved up to it")
        events["exch_ns"] = np.maximum.accumulate(events["exch_ns"])
    change = np.where(events["kind"] == d.LEVEL, events["qty"], 0)
    decrease = np.zeros(len(events), np.int64)
    figures = np.zeros(4, np.int64)
    recordings.resolve_increments(events, tapecheck.new_depth(), tapecheck.new_best(), decrease, figures)
    if figures[recordings.NEGATIVE]:
        negative = counted(int(figures[recordings.NEGATIVE]), "book change")
        defects.append(f"{negative} would make a level negative; the level is taken as empty")
    checked, equal = int(figures[recordings.CHECKED]), int(figures[recordings.EQUAL])
    return _Book(events, change, decrease, deltas, snapshots, checked, equal, defects)


def _place_snapshots(rows: BookRows, mine: IntArray) -> d.Array:
    """The market's rows with snapshots spelled out; each takes the exchange time of the change that follows.

    A snapshot carries no exchange time. One that nothing follows on its connection keeps its receive time.
    """
    pieces: list[d.Array] = []
    starts = np.flatnonzero(rows.snapshot[mine] >= 0)
    for k, start in enumerate(starts):
        row = mine[start]
        end = int(starts[k + 1]) if k + 1 < len(starts) else len(mine)
        local_ns = exch_ns = int(rows.events["local_ns"][row])
        if start + 1 < end and rows.connection[mine[start + 1]] == rows.connection[row]:
            exch_ns = int(rows.events["exch_ns"][mine[start + 1]])
        elif pieces:
            exch_ns = max(exch_ns, int(pieces[-1]["exch_ns"][-1]))
        pieces.append(events_of(snapshot_rows(exch_ns, local_ns, rows.snapshots[int(rows.snapshot[row])])))
        if start + 1 < end:
            pieces.append(rows.events[mine[start + 1 : end]])
    return np.concatenate(pieces)


class _Trades(NamedTuple):
    traded: npt.NDArray[np.bool_]
    volume: int  # micro-contracts
    explained: int
    defects: list[str]
    details: dict[str, Scalar]


def volume_factor(tickers: IntArray) -> int:
    """How many units `volume_fp` grows a contract traded: 2 in these recordings, 1 where it counts once.

    Told by windows of a single trade, where the growth is this multiple of the last trade's size.
    """
    growth = np.diff(tickers[:, 1])
    last = tickers[1:, 3]
    grew = growth > 0
    once, twice = int((grew & (growth == last)).sum()), int((grew & (growth == 2 * last)).sum())
    return 1 if once > twice else 2


def _infer_trades(book: _Book, events: d.Array, tickers: IntArray) -> _Trades:
    n = len(events)
    traded = np.zeros(n, np.bool_)
    if len(tickers) < 2:
        return _Trades(traded, 0, 0, ["fewer than two tickers: no trade can be inferred"], {})
    factor = volume_factor(tickers)
    defects = []
    growth = np.diff(tickers[:, 1])
    if (growth < 0).any():
        defects.append(f"{counted(int((growth < 0).sum()), 'ticker')} with a shrinking volume, ignored")
    if (tickers[:, 1] % factor).any():
        odd = counted(int((tickers[:, 1] % factor > 0).sum()), "ticker")
        defects.append(f"{odd} with a volume that is not a multiple of 0.02")
    figures = np.zeros(4, np.int64)
    scaled = tickers.copy()
    scaled[:, 1] //= factor
    table = np.zeros(recordings.CELLS, np.int16)
    recordings.infer_trades(events, book.change[:n], book.decrease[:n], scaled, traded, table, figures)
    details: dict[str, Scalar] = {
        "volume_factor": str(factor),
        "ticker_windows": int(figures[recordings.WINDOWS]),
        "ticker_windows_exact": int(figures[recordings.EXACT_WINDOWS]),
    }
    volume, explained = int(figures[recordings.GROWTH]), int(figures[recordings.EXPLAINED])
    return _Trades(traded, volume * recordings.UNIT, explained * recordings.UNIT, defects, details)


def _with_trades(events: d.Array, decrease: IntArray, traded: npt.NDArray[np.bool_]) -> d.Array:
    """Put a TRADE row right before each row that a trade explains."""
    place = np.arange(len(events)) + np.cumsum(traded)
    out = np.zeros(len(events) + int(traded.sum()), d.EVENT)
    out[place] = events
    trades = events[traded].copy()
    trades["kind"] = d.TRADE
    trades["side"] = d.ASK - trades["side"]  # the taker met the other side
    trades["qty"] = decrease[: len(events)][traded]
    trades["bits"] = d.INFERRED
    out[place[traded] - 1] = trades
    return out


def _market_tape(session: Session, index: int) -> ImportedTape:
    ticker = session.markets[index]
    watch = session.watch.get(ticker)
    if watch is None:
        raise DataError(
            f"market {ticker} has no watch_market record, so its close is unknown", file=session.folder
        )
    close_ns = Timestamps()(watch.close_time)
    book = _market_book(session, index)
    defects = list(book.defects)
    tickers = session.tickers.get(ticker, np.zeros((0, 4), np.int64))
    open_rows = int(np.searchsorted(book.events["exch_ns"], close_ns))
    after = len(book.events) - open_rows
    through_close = after > 0 or bool((tickers[:, 0] >= close_ns).any())
    if not open_rows:
        raise DataError(f"market {ticker} has no row before its close", file=session.folder)
    # The ticker channel may start before the book: growth that no book row could explain is left out.
    open_tickers = tickers[(tickers[:, 0] >= book.events["exch_ns"][0]) & (tickers[:, 0] <= close_ns)]
    if len(tickers) and tickers[-1, 1] > open_tickers[-1:, 1].max(initial=0):
        defects.append("the traded volume grew after the close; nothing after the close is on the tape")
    trades = _infer_trades(book, book.events[:open_rows], open_tickers)
    events = _with_trades(book.events[:open_rows], book.decrease, trades.traded)
    events, crossed, _ = recordings.uncross(events)
    if crossed:
        defects.append(f"{counted(crossed, 'instant')} with a crossed book; the older level was removed")
    fact = session.facts.get(ticker, {})
    outcome = fact.get("outcome") or None
    settled = through_close and outcome is not None
    if outcome is not None and not settled:
        defects.append(
            "the session stops before the close: no settlement on the tape, the outcome is in its metadata"
        )
    events = _framed(events, close_ns if through_close else None, outcome if settled else None)
    n_trades = int(trades.traded.sum())
    report = MarketReport(
        session=session.name,
        market=ticker,
        events=len(events),
        snapshots=book.snapshots,
        rows=book.snapshots + book.deltas + len(tickers),
        deltas=book.deltas,
        trades=n_trades,
        trades_inferred=n_trades,
        volume=trades.volume,
        volume_explained=trades.explained,
        settled=settled,
        snapshots_checked=book.checked,
        snapshots_equal=book.equal,
        defects=(*defects, *trades.defects),
        details={
            "tickers": len(tickers),
            "rows_after_close": after,
            "through_close": through_close,
            **trades.details,
        },
    )
    return ImportedTape(events, _meta(session, ticker, watch, close_ns, fact, report), report)


def _framed(events: d.Array, close_ns: int | None, outcome: str | None) -> d.Array:
    """Put the market's life around its book: active at the start, closed and settled where that was seen."""
    first, last_local = events[0], int(events["local_ns"][-1])
    before = [event_row(int(first["exch_ns"]), int(first["local_ns"]), d.STATUS, aux=d.ACTIVE)]
    after = []
    if close_ns is not None:
        local_ns = max(close_ns, last_local)
        after.append(event_row(close_ns, local_ns, d.STATUS, aux=d.CLOSED))
        if outcome is not None:
            value = MONEY_SCALE if outcome == "yes" else 0
            after.append(
                event_row(close_ns + SETTLE_DELAY_NS, local_ns + SETTLE_DELAY_NS, d.SETTLE, qty=value)
            )
    return np.concatenate([events_of(before), events, *([events_of(after)] if after else [])])


def _meta(
    session: Session,
    ticker: str,
    watch: WatchPayload,
    close_ns: int,
    fact: dict[str, str],
    report: MarketReport,
) -> TapeMeta:
    strike = None if watch.strike is None else str(watch.strike)
    event_id = ticker.rpartition("-")[0]
    outcome: Any = fact.get("outcome") or None
    return TapeMeta(
        venue="kalshi",
        ticker=ticker,
        event_id=event_id,
        title=f"Bitcoin at or above ${strike} at the close of {watch.close_time}?",
        session=session.name,
        source_format=NAME,
        grids=(GRID,),
        min_size=QTY_SCALE,
        lot=QTY_SCALE,
        fee=FEE,
        nets_positions=True,
        reduce_in_place=True,
        open_ns=close_ns - WINDOW_NS,
        close_ns=close_ns,
        expected_resolution_ns=close_ns,
        times_source=TIMES_SOURCE,
        strike=strike,
        outcome=outcome,
        outcome_source=fact.get("outcome_source", "") if outcome else "",
        has_trades="inferred",
        quality={
            "deltas": report.deltas,
            "snapshots": report.snapshots,
            "snapshots_checked": report.snapshots_checked,
            "snapshots_equal": report.snapshots_equal,
            "volume_contracts": format_contracts(report.volume or 0),
            "volume_explained_contracts": format_contracts(report.volume_explained or 0),
            "defects": len(report.defects),
            **report.details,
        },
    )


# --- the coin -------------------------------------------------------------------------------------


def _spot_series(session: str, spot: SpotTicks) -> ImportedSeries:
    columns = [spot.exch_ns, spot.local_ns, spot.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=SCHEMAS["reference"])
    repeats = spot.rows - len(spot.exch_ns)
    defects = []
    if repeats:
        defects.append(f"{counted(repeats, 'repeated trade_id')}, left out")
    if spot.late:
        defects.append(f"{counted(spot.late, 'trade')} recorded after a later one, put in order of time")
    report = MarketReport(
        session=session,
        market=COIN,
        kind="reference",
        events=len(spot.exch_ns),
        rows=spot.rows,
        defects=tuple(defects),
        details={"spot_ticks": len(spot.exch_ns)},
    )
    meta = SeriesMeta(
        kind="reference",
        venue="coinbase",
        name=COIN,
        title="Trades of Bitcoin in dollars on Coinbase",
        session=session,
        source_format=NAME,
        unit="USD per BTC",
        quality={"defects": len(defects), **report.details},
    )
    return ImportedSeries(table, meta, report)
