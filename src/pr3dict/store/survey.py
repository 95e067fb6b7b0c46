"""What tapes and series hold, at a glance, and what is odd about them beyond what reading already refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import PriceGrid
from pr3dict.domain.units import (
    MONEY_SCALE,
    NS_PER_SECOND,
    PRICE_SCALE,
    format_contracts,
    format_dollars,
    format_price,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import tapecheck
from pr3dict.store.edit import MOST_SILENCE_NS, times_ns
from pr3dict.store.importers.common import counted
from pr3dict.store.layouts import LAYOUTS, NONE
from pr3dict.store.series import Series, SeriesMeta, is_series, read_series
from pr3dict.store.tape import KIND_NAMES, Tape, TapeMeta, read_tape

SAMPLES: Final = 2_000
"""Moments, equally spaced from the first row to the last, at which a book is looked at."""

Bools = npt.NDArray[np.bool_]


class TapeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A tape at a glance. Prices in 1/10,000 dollar, sizes in micro-contracts; None where it can't be told.

    Of a book, `spread_median`, `touch_size_median` and `two_sided_share` are over `SAMPLES` moments equally
    spaced in time; of quotes they are over rows.
    """

    path: Path
    meta: TapeMeta
    start_ns: int
    end_ns: int
    rows: int
    rows_by_kind: dict[str, int]
    trades: int = 0
    trades_inferred: int = 0
    contracts: int = 0
    trade_size_median: int | None = None
    spread_median: int | None = None
    touch_size_median: int | None = None
    two_sided_share: float | None = None
    replayable: bool
    because: str


class SeriesFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A series at a glance; times None where it has none."""

    path: Path
    meta: SeriesMeta
    start_ns: int | None
    end_ns: int | None
    rows: int
    outcomes: dict[str, int]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a file (`errors`) and what a user should know of it (`notes`), in sentences."""

    path: Path
    kind: str = ""
    identity: tuple[str, ...] = ()  # files of one identity tell of the same market and session
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# --- at a glance ----------------------------------------------------------------------------------


def facts_of(path: Path) -> TapeFacts | SeriesFacts:
    """Read, check and describe one file. Raises `DataError` as `read_tape` and `read_series` do."""
    if is_series(path):
        return _series_facts(path, read_series(path))
    tape = read_tape(path)
    times = times_ns(tape)
    rows = tape.events
    replayable, because = usable(tape)
    facts = TapeFacts(
        path=path,
        meta=tape.meta,
        start_ns=int(times[0]),
        end_ns=int(rows["end_ns"].max() if tape.meta.kind == "bars" else times[-1]),
        rows=len(rows),
        rows_by_kind=_rows_by_kind(tape),
        replayable=replayable,
        because=because,
    )
    if tape.meta.kind == "bars":
        return facts
    if tape.meta.kind == "quotes":
        return _with_quotes(facts, rows["bid_price"], rows["ask_price"], NONE, NONE, None)
    trades = rows[rows["kind"] == d.TRADE]
    facts = msgspec.structs.replace(
        facts,
        trades=len(trades),
        trades_inferred=int(((trades["bits"] & d.INFERRED) != 0).sum()),
        contracts=int(trades["qty"].sum()),
        trade_size_median=int(np.median(trades["qty"])) if len(trades) else None,
    )
    if tape.meta.kind == "trades":
        return facts
    return _with_quotes(facts, *_sampled_touch(tape))


def _rows_by_kind(tape: Tape) -> dict[str, int]:
    rows = tape.events
    if tape.meta.kind == "quotes":
        return {"quote": len(rows)}
    if tape.meta.kind == "bars":
        no = int(rows["contract"].sum())
        return {"bar of YES": len(rows) - no, "bar of NO": no}
    counts = np.bincount(rows["kind"], minlength=max(KIND_NAMES) + 1)
    return {name: int(counts[kind]) for kind, name in KIND_NAMES.items() if counts[kind]}


IntArray = npt.NDArray[np.int64]


def _sampled_touch(tape: Tape) -> tuple[IntArray, IntArray, int, int, IntArray]:
    """Best bids, best asks, what stands for none of each, and the smaller size at the touch."""
    events = tape.events
    times = events["exch_ns"]
    moments = np.linspace(int(times[0]), int(times[-1]), SAMPLES).astype(np.int64)
    places = np.searchsorted(times, moments, side="right")
    depth, best = tapecheck.new_depth(), tapecheck.new_best()
    every_price = np.ones((len(tape.meta.grids), PRICE_SCALE + 1), np.bool_)
    seen = np.zeros((3, SAMPLES), np.int64)
    start = 0
    for k, end in enumerate(places.tolist()):
        if end > start:
            tapecheck.check_events(events[start:end], every_price, depth, best)
            start = end
        bid, ask = int(best[d.BID]), int(best[d.ASK])
        seen[:, k] = bid, ask, min(depth[d.BID, bid], depth[d.ASK, ask])
    return seen[0], seen[1], 0, PRICE_SCALE, seen[2]


def _with_quotes(
    facts: TapeFacts, bid: IntArray, ask: IntArray, no_bid: int, no_ask: int, size: IntArray | None
) -> TapeFacts:
    two_sided = (bid != no_bid) & (ask != no_ask)
    some = bool(two_sided.any())
    return msgspec.structs.replace(
        facts,
        two_sided_share=round(float(two_sided.mean()), 6),
        spread_median=int(np.median((ask - bid)[two_sided])) if some else None,
        touch_size_median=int(np.median(size[two_sided])) if some and size is not None else None,
    )


def usable(tape: Tape) -> tuple[bool, str]:
    """Whether a tape can be replayed, and why, or with which limits."""
    meta = tape.meta
    if meta.kind != "book":
        return False, f"it holds {LAYOUTS[meta.kind].words}, and a replay needs an order book"
    if not np.isin(tape.events["kind"], (d.LEVEL, d.SNAPSHOT)).any():
        return False, "it holds no row of a book"
    trades = {
        "recorded": "trades were recorded",
        "inferred": "trades were inferred from other figures",
        "none": "without trades, so orders fill only when the other side reaches them",
    }[meta.has_trades]
    unknown = meta.close_ns is None and meta.expected_resolution_ns is None
    late = "; its resolution time is unknown, so the default filters do not quote it" if unknown else ""
    return True, f"it holds an order book; {trades}{late}"


def _series_facts(path: Path, series: Series) -> SeriesFacts:
    table, meta = series
    name = "exch_ns" if meta.kind == "reference" else "settled_ns"
    span = pc.min_max(table.column(name)).as_py()
    outcomes: dict[str, int] = {}
    if meta.kind == "resolutions":
        for outcome in table.column("outcome").to_pylist():
            key = outcome or "not told"
            outcomes[key] = outcomes.get(key, 0) + 1
    return SeriesFacts(
        path=path,
        meta=meta,
        start_ns=span["min"],
        end_ns=span["max"],
        rows=table.num_rows,
        outcomes=outcomes,
    )


def grid_words(grid: PriceGrid) -> str:
    """A grid in words: `0.001 from 0.00 to 0.10, 0.01 from 0.10 to 0.90`."""
    bands = [(format_price(b.step), format_price(b.start), format_price(b.end)) for b in grid.bands]
    return ", ".join(f"{step} from {start} to {end}" for step, start, end in bands)


# --- checks ---------------------------------------------------------------------------------------


def check_file(path: Path) -> Checked:
    """Everything that reading refuses, and what only a second look shows."""
    try:
        if is_series(path):
            series = read_series(path).meta
            of_series = (series.kind, series.venue, series.name, series.session, series.source_format)
            return Checked(path=path, kind=series.kind, identity=of_series)
        tape = read_tape(path)
    except DataError as error:
        return Checked(path=path, errors=(_without_file(error),))
    meta = tape.meta
    look = {"bars": _bar_findings, "quotes": _quote_findings}.get(meta.kind, _event_findings)
    errors, notes = look(tape)
    if meta.outcome is not None and not meta.outcome_source:
        notes.append("states an outcome without its source")
    identity = (meta.kind, meta.venue, meta.ticker, meta.session)
    return Checked(path=path, kind=meta.kind, identity=identity, errors=tuple(errors), notes=tuple(notes))


def _without_file(error: DataError) -> str:
    """The sentence without the file, which stands beside it."""
    return str(DataError(error.message, row=error.row, key=error.key))


def repeated(files: Sequence[Checked]) -> dict[Path, Path]:
    """Files that tell of the same market and session as one before them, with that one."""
    first: dict[tuple[str, ...], Path] = {}
    found: dict[Path, Path] = {}
    for file in files:
        if file.identity and first.setdefault(file.identity, file.path) != file.path:
            found[file.path] = first[file.identity]
    return found


Findings = tuple[list[str], list[str]]


def _silence(times: IntArray) -> list[str]:
    """A note about silences, where there are long ones."""
    steps = np.diff(times)
    count = int((steps > MOST_SILENCE_NS).sum())
    if not count:
        return []
    longest = int(np.argmax(steps))
    start = np.datetime64(int(times[longest]), "ns").astype("datetime64[s]")
    silences = counted(count, "silence")
    return [
        f"{silences} of more than 60 s, the longest of {steps[longest] / NS_PER_SECOND:,.0f} s from {start}Z"
    ]


def _event_findings(tape: Tape) -> Findings:
    events, meta = tape
    kinds, sizes = events["kind"], events["qty"]
    errors, notes = _settlement_errors(tape), _silence(events["exch_ns"])
    trades = kinds == d.TRADE
    inferred = trades & ((events["bits"] & d.INFERRED) != 0)
    if meta.has_trades == "none" and trades.any():
        errors.append(f"holds {counted(int(trades.sum()), 'trade')}, its metadata says that it has none")
    if meta.has_trades == "recorded" and inferred.any():
        errors.append(f"{counted(int(inferred.sum()), 'trade')} inferred, its metadata says recorded")
    if meta.has_trades == "inferred" and (trades & ~inferred).any():
        errors.append(
            f"{counted(int((trades & ~inferred).sum()), 'trade')} recorded, its metadata says inferred"
        )
    odd = np.isin(kinds, (d.LEVEL, d.SNAPSHOT)) & (sizes % max(meta.lot, 1) != 0)
    if odd.any():
        lots = f"whole lots of {format_contracts(meta.lot)}"
        notes.append(f"{counted(int(odd.sum()), 'level size')} not in {lots}")
    crossed = _crossed_instants(tape)
    if crossed:
        notes.append(f"{counted(crossed, 'instant')} during which the book was crossed, put right within it")
    return errors, notes


def _settlement_errors(tape: Tape) -> list[str]:
    events, meta = tape
    places = np.flatnonzero(events["kind"] == d.SETTLE)
    if not len(places):
        return []
    errors = []
    if len(places) > 1:
        errors.append(f"settles {len(places)} times")
    after = len(events) - 1 - int(places[0])
    if after and len(places) == 1:
        errors.append(f"{counted(after, 'row')} after the settlement")
    row = events[places[-1]]
    paid = {"yes": MONEY_SCALE, "no": 0}.get(meta.outcome or "")
    if paid is not None and not row["bits"] & d.REFUND and int(row["qty"]) != paid:
        worth = format_dollars(int(row["qty"]))
        errors.append(f"settles YES at ${worth}, its metadata says that the outcome is {meta.outcome}")
    return errors


def _crossed_instants(tape: Tape) -> int:
    """Instants within which a row crossed the book and another put it right; at their ends it never is."""
    book = tape.events[np.isin(tape.events["kind"], (d.LEVEL, d.SNAPSHOT))]
    apart = book.copy()  # each row or snapshot at an instant of its own, so that the check sees it
    apart["exch_ns"] = np.cumsum((book["kind"] == d.LEVEL) | ((book["bits"] & d.SNAP_FIRST) != 0))
    depth, best = tapecheck.new_depth(), tapecheck.new_best()
    every_price = np.ones((1, PRICE_SCALE + 1), np.bool_)
    instants: set[int] = set()
    start = 0
    while True:
        code, row = tapecheck.check_events(apart[start:], every_price, depth, best)
        if code != tapecheck.CROSSED:
            return len(instants)
        instants.add(int(book["exch_ns"][start + row]))
        start = int(np.searchsorted(apart["exch_ns"], apart["exch_ns"][start + row], side="right"))


def _quote_findings(tape: Tape) -> Findings:
    rows = tape.events
    bid, ask = rows["bid_price"], rows["ask_price"]
    crossed = int(((bid != NONE) & (ask != NONE) & (bid >= ask)).sum())
    steps = np.diff(rows["exch_ns"])
    notes = []
    if crossed:
        notes.append(f"{counted(crossed, 'quote')} with the bid at or above the ask")
    if len(steps) and steps.max() > 5 * np.median(steps):
        longest, usual = steps.max() / NS_PER_SECOND, np.median(steps) / NS_PER_SECOND
        notes.append(f"longest silence {longest:,.0f} s, quotes come each {usual:,.0f} s")
    return [], notes


def _bar_findings(tape: Tape) -> Findings:
    rows = tape.events
    errors, notes = [], []
    early = int((rows["released_ns"] < rows["end_ns"]).sum())
    if early:
        errors.append(f"{counted(early, 'bar')} known before the end of what it covers")
    for contract, name in enumerate(("YES", "NO")):
        mine = rows[rows["contract"] == contract]
        lengths = mine["end_ns"] - mine["start_ns"]
        holes = int((mine["start_ns"][1:] - mine["end_ns"][:-1] > lengths[:-1] // 2).sum())
        if holes:
            notes.append(f"{counted(holes, 'gap')} of more than half a bar between bars of {name}")
    return errors, notes
