"""Cutting a tape to a span of time and joining tapes of one market.

Both keep the book true: what stands at the cut is put at the start as a snapshot with the grid, status, close
time and news in force, so every later moment is as on the original; where tapes are joined, the book of the
earlier part never outlives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import PriceGrid
from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import tapecheck
from pr3dict.store.importers.common import EventRow, event_row, events_of, snapshot_rows
from pr3dict.store.tape import Scalar, Tape, TapeMeta, grid_mask

MOST_SILENCE_NS: Final = 60 * NS_PER_SECOND
"""A longer gap between two parts pauses the market."""

QUOTABLE: Final = (d.ACTIVE, d.POST_ONLY_MODE)
Level = tuple[int, int, int]  # side, price, size


def times_ns(tape: Tape) -> npt.NDArray[np.int64]:
    """The times by which a tape's rows are ordered."""
    times: npt.NDArray[np.int64] = tape.events["start_ns" if tape.meta.kind == "bars" else "exch_ns"]
    return times


def span_ns(tape: Tape) -> tuple[int, int]:
    """From when to when the market was watched: first and last row, or where the tape was cut."""
    times, quality = times_ns(tape), tape.meta.quality
    start, end = quality.get("cut_from_ns"), quality.get("cut_to_ns")
    return (
        int(times[0]) if not isinstance(start, int) else start,
        int(times[-1]) if not isinstance(end, int) else end,
    )


# --- cut ------------------------------------------------------------------------------------------


def cut_tape(tape: Tape, from_ns: int, to_ns: int) -> Tape:
    """What happened at `from_ns` or later and before `to_ns`.

    A book or trades tape starts with what was in force then, in rows with the synthetic bit; bars are kept
    where they lie inside as a whole, quotes as they are.

    Raises:
        DataError: the span is empty, misses the tape, or begins after its settlement.
    """
    first_ns, last_ns = span_ns(tape)
    if to_ns <= from_ns:
        raise DataError("the cut ends where it starts, or before")
    if to_ns <= first_ns or from_ns > last_ns:
        raise DataError("the cut lies outside of what the tape holds")
    events, kind = tape.events, tape.meta.kind
    times = times_ns(tape)
    from_ns, to_ns = max(from_ns, first_ns), min(to_ns, max(last_ns, int(times[-1]) + 1))
    start, end = (int(place) for place in np.searchsorted(times, (from_ns, to_ns)))
    kept = events[start:end]
    if kind == "bars":
        kept = kept[kept["end_ns"] <= to_ns]
    elif kind != "quotes":
        kept = np.concatenate((_in_force(events[:start], tape.meta, from_ns), kept))
    if not len(kept):
        raise DataError("no row of the tape lies in the cut")
    quality = {**tape.meta.quality, "cut_from_ns": from_ns, "cut_to_ns": to_ns}
    return Tape(kept, msgspec.structs.replace(tape.meta, quality=quality))


def _in_force(before: d.Array, meta: TapeMeta, now_ns: int) -> d.Array:
    """Rows at `now_ns` that say what the rows `before` left in force: nothing before the first row."""
    kinds = before["kind"]
    if (kinds == d.SETTLE).any():
        raise DataError("the market was settled before the cut")
    rows = [
        event_row(now_ns, now_ns, d.STATUS, aux=int(aux)) for aux in before["aux"][kinds == d.STATUS][-1:]
    ]
    ticks = before["aux"][kinds == d.TICK]
    grid = int(ticks[-1]) if len(ticks) else 0
    if np.isin(kinds, (d.LEVEL, d.SNAPSHOT)).any():
        rows += _book_rows(_levels(before, meta), grid, meta.grids, now_ns)
    elif grid:
        rows.append(event_row(now_ns, now_ns, d.TICK, aux=grid))
    for close_ns in before["aux"][kinds == d.CLOSE_TIME]:
        rows.append(event_row(now_ns, now_ns, d.CLOSE_TIME, aux=int(close_ns)))
    for news in before[kinds == d.NEWS][-1:]:
        left_ns = int(news["exch_ns"]) + int(news["qty"]) - now_ns
        if left_ns > 0:
            rows.append(event_row(now_ns, now_ns, d.NEWS, qty=left_ns, aux=int(news["aux"])))
    return _put_in(rows)


def _put_in(rows: Sequence[EventRow]) -> d.Array:
    """Rows that no recorder saw, marked as such."""
    events = events_of(rows)
    events["bits"] |= d.SYNTHETIC
    return events


def _levels(events: d.Array, meta: TapeMeta) -> list[Level]:
    """The book after `events`, whole instants of a checked tape."""
    depth = tapecheck.new_depth()
    every_price = np.ones((len(meta.grids), PRICE_SCALE + 1), np.bool_)
    tapecheck.check_events(events, every_price, depth, tapecheck.new_best())
    return [(int(side), int(price), int(depth[side, price])) for side, price in np.argwhere(depth > 0)]


def _book_rows(
    levels: Sequence[Level], grid: int, grids: tuple[PriceGrid, ...], now_ns: int
) -> list[EventRow]:
    """A snapshot of `levels` that leaves grid number `grid` in force.

    A level that a grid change left behind can't be put on the grid in force: it is put on one that has it,
    and the grid changes again.
    """
    mask = grid_mask(grids)
    left = list(levels)
    turns: list[tuple[int, list[Level]]] = []
    for number in range(len(grids)):
        if any(mask[number, price] and not mask[grid, price] for _, price, _ in left):
            turns.append((number, [level for level in left if mask[number, level[1]]]))
            left = [level for level in left if not mask[number, level[1]]]
    turns.append((grid, left))
    rows: list[EventRow] = []
    in_force = 0
    for turn, (number, mine) in enumerate(turns):
        if number != in_force:
            rows.append(event_row(now_ns, now_ns, d.TICK, aux=number))
            in_force = number
        if turn == 0:
            rows += snapshot_rows(now_ns, now_ns, mine)
            continue
        for side, price, size in mine:
            rows.append(event_row(now_ns, now_ns, d.LEVEL, side=side, price=price, qty=size))
    return rows


# --- merge ----------------------------------------------------------------------------------------

ALIKE: Final[dict[str, tuple[Any, ...]]] = {
    # What parts of one market must agree on, with the values that mean "not known".
    "kind": (),
    "venue": (),
    "ticker": (),
    "event_id": (),
    "exclusive": (),
    "contract_id": ("",),
    "min_size": (),
    "lot": (),
    "nets_positions": (),
    "reduce_in_place": (),
    "strike": (None,),
    "outcome": (None,),
    "has_trades": (),
    "synthetic": (),
}


def merge_tapes(tapes: Sequence[Tape], names: Sequence[str]) -> Tape:
    """Parts of one market, in any order, as one tape; `names` name them in errors.

    Grids are united. Where a part begins, the book of the part before ends: with the part's own snapshot, or
    emptied until it has one. Where more than a minute is missing, the market is paused in between.

    Raises:
        DataError: names two parts that are not of one market, or that overlap.
    """
    if not tapes:
        raise DataError("no tape to merge")
    known = {key: _agreed(key, unknown, tapes, names) for key, unknown in ALIKE.items()}
    for tape, name in zip(tapes, names, strict=True):
        fee, first = tape.meta.fee, tapes[0].meta.fee
        if msgspec.structs.replace(fee, source=first.source) != first:
            raise DataError(f"charges another fee than {names[0]}", file=name, key="fee")
    order = sorted(range(len(tapes)), key=lambda k: span_ns(tapes[k]))
    parts, names = [tapes[k] for k in order], [names[k] for k in order]
    gaps = _gaps(parts, names)
    grids = tuple(dict.fromkeys(grid for part in parts for grid in part.meta.grids))
    events = parts[0].events
    if parts[0].meta.kind in ("book", "trades"):
        events = _joined(parts, grids, gaps)
    elif len(parts) > 1:
        events = np.concatenate([part.events for part in parts])
    return Tape(events, _merged_meta(parts, known, grids, gaps))


def _agreed(key: str, unknown: tuple[Any, ...], parts: Sequence[Tape], names: Sequence[str]) -> Any:
    """The value that all parts share that know it."""
    said = [(getattr(part.meta, key), name) for part, name in zip(parts, names, strict=True)]
    known = [(value, name) for value, name in said if value not in unknown]
    for value, name in known:
        if value != known[0][0]:
            raise DataError(f"{value!r} here, {known[0][0]!r} in {known[0][1]}", file=name, key=key)
    return known[0][0] if known else said[0][0]


def _gaps(parts: Sequence[Tape], names: Sequence[str]) -> list[int]:
    """The ns between each part and the next."""
    gaps = []
    for k, (before, after) in enumerate(pairwise(parts)):
        end, start = span_ns(before)[1], span_ns(after)[0]
        if start < end or (start == end and before.meta.kind in ("quotes", "bars")):
            sentence = f"begins before {names[k]} ends; cut one of them (`pr3dict tape cut`)"
            raise DataError(sentence, file=names[k + 1])
        if before.meta.kind in ("book", "trades") and (before.events["kind"] == d.SETTLE).any():
            raise DataError(f"settles the market before {names[k + 1]} begins", file=names[k])
        gaps.append(start - end)
    return gaps


def _joined(parts: Sequence[Tape], grids: tuple[PriceGrid, ...], gaps: Sequence[int]) -> d.Array:
    """The rows of all parts on the united grids, with the rows that join them."""
    pieces: list[d.Array] = []
    close_ns = _first_known([part.meta.close_ns for part in parts])
    for k, part in enumerate(parts):
        events = part.events.copy()
        numbers = [grids.index(grid) for grid in part.meta.grids]
        ticks = events["kind"] == d.TICK
        events["aux"][ticks] = np.array(numbers, np.int64)[events["aux"][ticks]]
        if k:
            if gaps[k - 1] > MOST_SILENCE_NS and _last(pieces, d.STATUS, d.ACTIVE) in QUOTABLE:
                end_ns = span_ns(parts[k - 1])[1]
                pieces.append(_put_in([event_row(end_ns, end_ns, d.STATUS, aux=d.PAUSED)]))
            pieces.append(_put_in(_seam(pieces, events, part.meta, numbers[:1], close_ns)))
        pieces.append(events)
    return np.concatenate(pieces)


def _seam(
    pieces: Sequence[d.Array], events: d.Array, meta: TapeMeta, grid: Sequence[int], close_ns: int | None
) -> list[EventRow]:
    """Rows that make what follows `pieces` as on the part's own tape, where it begins with nothing known."""
    now_ns = int(events["exch_ns"][0])
    rows: list[EventRow] = []
    book = events[np.isin(events["kind"], (d.LEVEL, d.SNAPSHOT))][:1]
    snapshot_first = len(book) > 0 and book[0]["kind"] == d.SNAPSHOT and book[0]["exch_ns"] == now_ns
    other_grid = [number for number in grid if number != _last(pieces, d.TICK, 0)]
    if meta.kind == "book" and (other_grid or not snapshot_first):  # on the grid that the old book stands on
        rows += snapshot_rows(now_ns, now_ns, [])
    rows += [event_row(now_ns, now_ns, d.TICK, aux=number) for number in other_grid]
    told = (events["kind"] == d.STATUS) & (events["exch_ns"] == now_ns)
    if not told.any() and _last(pieces, d.STATUS, d.ACTIVE) != d.ACTIVE:
        rows.append(event_row(now_ns, now_ns, d.STATUS, aux=d.ACTIVE))
    if meta.close_ns not in (None, _last(pieces, d.CLOSE_TIME, close_ns)):
        rows.append(event_row(now_ns, now_ns, d.CLOSE_TIME, aux=meta.close_ns))
    return rows


def _last(pieces: Sequence[d.Array], kind: int, otherwise: int | None) -> int | None:
    """`aux` of the last row of a kind."""
    for piece in reversed(pieces):
        found = piece["aux"][piece["kind"] == kind]
        if len(found):
            return int(found[-1])
    return otherwise


def _first_known(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _merged_meta(
    parts: Sequence[Tape], agreed: dict[str, Any], grids: tuple[PriceGrid, ...], gaps: Sequence[int]
) -> TapeMeta:
    metas = [part.meta for part in parts]
    sessions = list(dict.fromkeys(meta.session for meta in metas))
    long = [gap for gap in gaps if gap > MOST_SILENCE_NS]
    quality: dict[str, Scalar] = {
        "parts": len(parts),
        "gaps": len(long),
        "longest_gap_s": round(max(gaps, default=0) / NS_PER_SECOND, 3),
    }
    for key, meta in (("cut_from_ns", metas[0]), ("cut_to_ns", metas[-1])):
        if key in meta.quality:
            quality[key] = meta.quality[key]
    return msgspec.structs.replace(
        metas[0],
        **agreed,
        session=sessions[0] if len(sessions) == 1 else f"{sessions[0]}..{sessions[-1]}",
        grids=grids,
        open_ns=_first_known([meta.open_ns for meta in metas]),
        close_ns=_first_known([meta.close_ns for meta in metas]),
        expected_resolution_ns=_first_known([meta.expected_resolution_ns for meta in reversed(metas)]),
        times_source=" ".join(dict.fromkeys(meta.times_source for meta in metas if meta.times_source)),
        outcome_source=next((meta.outcome_source for meta in metas if meta.outcome is not None), ""),
        quality=quality,
    )
