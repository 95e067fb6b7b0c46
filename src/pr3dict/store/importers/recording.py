"""A process's own recording (`store/recording.py`) as tapes, one a market.

A live feed may send what no tape may hold. Each thing is marked or left out and counted: exchange times that
fall are raised to the highest before; rows that no market can have are left out; where the process noticed
that a book can't be trusted, the book is emptied and the market paused until its next whole snapshot; where
levels cross beyond an instant, the older is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import MONEY_SCALE, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import recordings, tapecheck
from pr3dict.store.importers.common import (
    ImportedTape,
    Importer,
    MarketReport,
    counted,
    each_once,
    event_row,
    events_of,
)
from pr3dict.store.importers.own_orders import OwnChange, read_own_changes, take_out
from pr3dict.store.recording import PATTERN, Note, Segment, read_segment, segments
from pr3dict.store.tape import TapeMeta, grid_mask

NAME: Final = "recording"
JOURNAL: Final = "control.db"
SHOWS_OWN: Final = ("kalshi",)  # venues whose books show our own orders
MOST_ROWS: Final = 8_000_000
"""Rows held at a time: markets are made into tapes in groups, each in one pass over the segments."""

Mask = npt.NDArray[np.bool_]


def read(folder: Path) -> Iterator[ImportedTape]:
    """One tape a market with rows, in order of the markets' rows in the process; own orders stay in it.

    Raises:
        DataError: names the segment that can't be read.
    """
    yield from _read(folder, None)


def read_without_own(folder: Path) -> Iterator[ImportedTape]:
    """As `read`, without our own orders in books that show them; the journal lies above the recordings.

    Raises:
        DataError: names the segment that can't be read.
        LogError: the journal can't be read.
    """
    journal = folder.resolve().parent.parent / JOURNAL
    yield from _read(folder, Own(read_own_changes(journal) if journal.exists() else None))


class Own(NamedTuple):
    """What our orders did to the books of markets; None: there is no journal that could say."""

    changes: Mapping[tuple[str, str], list[OwnChange]] | None


def _read(folder: Path, own: Own | None) -> Iterator[ImportedTape]:
    parts = segments(folder)
    metas = {market: meta for part in parts for market, meta in part.meta.markets.items()}
    missing = _missing(parts)
    for group in _groups(parts):
        rows = _collect(parts, group)
        for market in group:
            notes = [note for part in parts for note in part.meta.notes if note.market == market]
            yield _tape(rows[market], metas[market], notes, missing, own)


IMPORTER: Final = Importer(
    NAME,
    "What `pr3dict paper` or `pr3dict record` kept in its data directory",
    lambda paths: each_once(paths, _recordings_at, f"no recording here (no {PATTERN})"),
    read_without_own,
)


def _recordings_at(path: Path) -> list[Path]:
    """The folder itself, or the recordings in it."""
    if any(path.glob(PATTERN)):
        return [path]
    return sorted({found.parent for found in path.glob(f"*/{PATTERN}")})


def _missing(parts: Sequence[Segment]) -> list[tuple[int, int]]:
    """(first row, rows) of stretches whose segments are gone."""
    gaps = []
    next_row = 0
    for part in parts:
        if part.meta.first_row > next_row:
            gaps.append((next_row, part.meta.first_row - next_row))
        next_row = part.meta.first_row + part.meta.rows
    return gaps


def _groups(parts: Sequence[Segment]) -> Iterator[list[int]]:
    """Markets in order, as many at a time as memory allows."""
    counts: Counter[int] = Counter()
    for part in parts:
        counts.update(part.meta.counts)
    group: list[int] = []
    rows = 0
    for market in sorted(counts):
        if group and rows + counts[market] > MOST_ROWS:
            yield group
            group, rows = [], 0
        group.append(market)
        rows += counts[market]
    if group:
        yield group


class _Rows(NamedTuple):
    """Rows of one market and their places in the recording."""

    events: d.Array
    places: npt.NDArray[np.int64]


def _collect(parts: Sequence[Segment], group: Sequence[int]) -> dict[int, _Rows]:
    pieces: dict[int, list[_Rows]] = {market: [] for market in group}
    for part in parts:
        wanted = [market for market in group if market in part.meta.counts]
        if not wanted:
            continue
        events = read_segment(part.path)
        for market in wanted:
            places = np.flatnonzero(events["market"] == market)
            pieces[market].append(_Rows(events[places], places + part.meta.first_row))
    return {
        market: _Rows(np.concatenate([p.events for p in found]), np.concatenate([p.places for p in found]))
        for market, found in pieces.items()
    }


# --- one market -----------------------------------------------------------------------------------


def _tape(
    rows: _Rows, meta: TapeMeta, notes: Sequence[Note], missing: Sequence[tuple[int, int]], own: Own | None
) -> ImportedTape:
    events, places = rows.events.copy(), rows.places
    events["market"] = 0
    details: Counter[str] = Counter()
    raised = np.maximum.accumulate(np.maximum(events["exch_ns"], 0))
    details["exchange_times_raised"] = int((raised != events["exch_ns"]).sum())
    events["exch_ns"] = raised
    keep = _possible(events, meta)
    details["impossible_rows"] = int((~keep).sum())
    keep &= _whole_snapshots(events, keep, details)
    events, places = events[keep], places[keep]
    gaps = sorted([note.row for note in notes if note.kind == "gap"] + [row for row, _ in missing])
    details["gaps"] = len(gaps)
    events = _trades_first(_with_gaps(events, places, gaps, details), details)
    if own is not None and meta.venue in SHOWS_OWN:
        meta = msgspec.structs.replace(meta, quality={**meta.quality, "own_orders": _own_word(own, meta)})
        events = _without_own(events, own, meta, details)
    events, crossed, _ = recordings.uncross(events)
    details["crossed_instants"] = crossed
    paid = [note for note in notes if note.kind == "settled"]
    if paid:
        events, meta = _settled(events, meta, paid[-1])
    kinds = events["kind"]
    report = MarketReport(
        session=meta.session,
        market=meta.ticker,
        kind=meta.kind,
        events=len(events),
        rows=len(rows.events),
        snapshots=int(((kinds == d.SNAPSHOT) & ((events["bits"] & d.SNAP_FIRST) != 0)).sum()),
        deltas=int((kinds == d.LEVEL).sum()),
        trades=int((kinds == d.TRADE).sum()),
        settled=bool(paid),
        defects=(*_defects(details, missing), *_own_defects(meta)),
        details=dict(details),
    )
    return ImportedTape(events, meta, report)


def _defects(details: Counter[str], missing: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    sentences = [
        f"the recording lacks {counted(rows, 'row')} of all markets after row {first}; the book is unknown"
        for first, rows in missing
    ]
    words = {
        "exchange_times_raised": "exchange time fell and was raised to the highest before",
        "impossible_rows": "row that no market can have was left out",
        "unfinished_snapshot_rows": "row of a snapshot without its end was left out",
        "untrusted_rows": "row about a book that could not be trusted was left out",
        "crossed_instants": "instant left the book crossed; the older level was removed",
        "own_changes_unseen": "change of our orders that no row shows by itself; it counts from its time on",
        "own_beyond_shown": "row shows less than we had at its level, which was taken for empty",
    }
    sentences += [f"{details[key]:,}: {text}" for key, text in words.items() if details[key]]
    return tuple(sentences)


def _trades_first(events: d.Array, details: Counter[str]) -> d.Array:
    """At one time of the venue, each trade before the level changes that may be its own.

    Trades and books come over two streams: where the books' is ahead, a replay would take a trade off its
    queue twice.
    """
    lowers = _decreases(events) > 0
    place = np.arange(len(events)) * 2 + 1
    for i in np.flatnonzero(events["kind"] == d.TRADE).tolist():
        trade = events[i]
        k = i - 1
        while k >= 0 and events["exch_ns"][k] == trade["exch_ns"]:
            row = events[k]
            if lowers[k] and row["price"] == trade["price"] and row["side"] != trade["side"]:
                place[i] = 2 * k
            k -= 1
    details["trades_moved"] = int((place % 2 == 0).sum())
    return events[np.argsort(place, kind="stable")]


def _decreases(events: d.Array) -> npt.NDArray[np.int64]:
    """By how much each level row lowered its level; 0 for all others."""
    levels = np.flatnonzero((events["kind"] == d.LEVEL) | (events["kind"] == d.SNAPSHOT))
    books = np.cumsum((events["kind"] == d.SNAPSHOT) & ((events["bits"] & d.SNAP_FIRST) != 0))[levels]
    keys = (books * 2 + events["side"][levels]) * (PRICE_SCALE + 1) + events["price"][levels]
    order = np.argsort(keys, kind="stable")
    sizes = events["qty"][levels][order]
    before = np.zeros(len(order), np.int64)
    before[1:] = np.where(keys[order][1:] == keys[order][:-1], sizes[:-1], 0)
    found = np.zeros(len(events), np.int64)
    found[levels[order]] = np.maximum(before - sizes, 0)
    found[events["kind"] != d.LEVEL] = 0
    return found


def _own_word(own: Own, meta: TapeMeta) -> str:
    """Whether our own orders are on the tape."""
    if own.changes is None:
        return "not_known"
    return "taken_out" if own.changes.get((meta.venue, meta.ticker)) else "none"


def _own_defects(meta: TapeMeta) -> tuple[str, ...]:
    if meta.quality.get("own_orders") != "not_known":
        return ()
    return (f"no journal ({JOURNAL}) lies above the recording, so our own orders, if any, are in the book",)


def _without_own(events: d.Array, own: Own, meta: TapeMeta, details: Counter[str]) -> d.Array:
    """Without our own orders; snapshots that held a level of ours alone are marked anew."""
    changes = (own.changes or {}).get((meta.venue, meta.ticker), [])
    if not changes:
        return events
    keep = take_out(events, changes, details)
    is_first = (events["kind"] == d.SNAPSHOT) & ((events["bits"] & d.SNAP_FIRST) != 0)
    for start in np.flatnonzero(is_first).tolist():
        end = start
        while not events["bits"][end] & d.SNAP_LAST:
            end += 1
        _mark(events, keep, start, end + 1)
    return events[keep]


def _possible(events: d.Array, meta: TapeMeta) -> Mask:
    """Which rows a tape may hold, each for itself, as `kernels.tapecheck` sees them."""
    kind, price, size, aux = (events[name] for name in ("kind", "price", "qty", "aux"))
    fine: Mask = (kind >= d.LEVEL) & (kind <= d.CLOSE_TIME) & (kind != d.SETTLE)
    fine &= ((events["side"] == d.BID) | (events["side"] == d.ASK)) & (size >= 0)
    fine &= (price >= 0) & (price <= PRICE_SCALE)
    fine &= (kind != d.STATUS) | ((aux >= 0) & (aux <= tapecheck.LAST_STATUS))
    ticks = kind == d.TICK
    fine &= ~ticks | ((aux >= 0) & (aux < len(meta.grids)))
    inside = (price > 0) & (price < PRICE_SCALE)
    fine &= (kind != d.TRADE) | (inside & (size > 0))
    book = (kind == d.LEVEL) | (kind == d.SNAPSHOT)
    turn = np.maximum.accumulate(np.where(ticks & fine, np.arange(len(events)), -1))
    grid = np.where(turn >= 0, aux[np.maximum(turn, 0)], 0)
    on_grid = grid_mask(meta.grids)[grid, np.clip(price, 0, PRICE_SCALE)]
    empty = (kind == d.SNAPSHOT) & (size == 0) & (price == 0)
    fine &= ~book | empty | (inside & ((size == 0) | on_grid))
    return fine


def _whole_snapshots(events: d.Array, fine: Mask, details: Counter[str]) -> Mask:
    """Which rows stand in no snapshot or in a whole one; a snapshot that lost rows is marked anew."""
    keep = np.ones(len(events), np.bool_)
    is_snapshot = events["kind"] == d.SNAPSHOT
    starts = np.flatnonzero(is_snapshot & ((events["bits"] & d.SNAP_FIRST) != 0))
    inside = np.zeros(len(events), np.bool_)
    for start in starts.tolist():
        end = start
        while end < len(events) and is_snapshot[end] and events["exch_ns"][end] == events["exch_ns"][start]:
            if end > start and events["bits"][end] & d.SNAP_FIRST:
                break
            if events["bits"][end] & d.SNAP_LAST:
                _mark(events, fine, start, end + 1)
                inside[start : end + 1] = True
                break
            end += 1
    keep[is_snapshot & ~inside] = False
    details["unfinished_snapshot_rows"] = int((is_snapshot & ~inside & fine).sum())
    return keep


def _mark(events: d.Array, fine: Mask, start: int, end: int) -> None:
    """First and last bits on the rows of a snapshot that are kept; an empty book where none is."""
    events["bits"][start:end] &= ~np.int16(d.SNAP_FIRST | d.SNAP_LAST)
    levels = [i for i in range(start, end) if fine[i] and events["qty"][i] > 0]
    fine[start:end] = False
    if not levels:
        levels = [start]
        for name in ("qty", "price", "side"):
            events[name][start] = 0
    fine[levels] = True
    events["bits"][levels[0]] |= d.SNAP_FIRST
    events["bits"][levels[-1]] |= d.SNAP_LAST


def _with_gaps(
    events: d.Array, places: npt.NDArray[np.int64], gaps: Sequence[int], details: Counter[str]
) -> d.Array:
    """The market is paused without a book from each gap to the next whole snapshot."""
    pieces: list[d.Array] = []
    done = 0
    for gap in gaps:
        start = int(np.searchsorted(places, gap))
        while start < len(events) and _is_inside_snapshot(events[start]):
            start += 1
        if start < done or not start:  # the book is unknown already
            continue
        firsts = (events["kind"][start:] == d.SNAPSHOT) & ((events["bits"][start:] & d.SNAP_FIRST) != 0)
        end = start + int(np.argmax(firsts)) if firsts.any() else len(events)
        between = events[start:end]
        rest = between[between["kind"] != d.LEVEL]
        details["untrusted_rows"] += len(between) - len(rest)
        before = events[:start]
        status = before["aux"][before["kind"] == d.STATUS]
        pieces += [events[done:start], _put_in(before[-1], _PAUSED), rest]
        if end < len(events):
            told = between["aux"][between["kind"] == d.STATUS]
            standing = int([d.ACTIVE, *status, *told][-1])
            pieces.append(_put_in(events[end], [(d.STATUS, standing, 0)]))
        done = end
    return np.concatenate([*pieces, events[done:]])


def _is_inside_snapshot(row: np.void) -> bool:
    return row["kind"] == d.SNAPSHOT and not row["bits"] & d.SNAP_FIRST


_PAUSED: Final = [(d.STATUS, d.PAUSED, 0), (d.SNAPSHOT, 0, d.SNAP_FIRST | d.SNAP_LAST)]


def _put_in(at: np.void, rows: Sequence[tuple[int, int, int]]) -> d.Array:
    """Rows of (kind, aux, bits) at the time of another, marked as put in."""
    exch_ns, local_ns = int(at["exch_ns"]), int(at["local_ns"])
    return events_of(
        event_row(exch_ns, local_ns, kind, aux=aux, bits=bits | d.SYNTHETIC) for kind, aux, bits in rows
    )


def _settled(events: d.Array, meta: TapeMeta, note: Note) -> tuple[d.Array, TapeMeta]:
    """With the payout as the last row, and the outcome where it is one."""
    if not 0 <= note.value_micros <= MONEY_SCALE:
        raise DataError(f"a payout of {note.value_micros} micros is no value of a contract", key=meta.ticker)
    now_ns = max(note.now_ns, int(events[-1]["exch_ns"]))
    bits = d.REFUND if note.refund else 0
    row = event_row(now_ns, max(note.now_ns, now_ns), d.SETTLE, qty=note.value_micros, bits=bits)
    if meta.outcome is None and not note.refund and note.value_micros in (0, MONEY_SCALE):
        meta = msgspec.structs.replace(
            meta,
            outcome="yes" if note.value_micros else "no",
            outcome_source="The venue's settlement, seen while recording.",
        )
    return np.concatenate((events, events_of([row]))), meta
