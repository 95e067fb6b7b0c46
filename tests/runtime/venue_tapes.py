"""Recordings of a stand-in, and their books, read in the plainest way."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pr3dict.kernels import dtypes as d
from pr3dict.runtime.venue_record import RecordSpec, record
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.tape import read_tape

EVERYTHING = Selection()


async def recorded(access, clock, out: Path, during, selection=EVERYTHING, **changes):
    """Record while `during` runs, a little longer, then stop."""
    stop = asyncio.Event()
    spec = RecordSpec(access, selection, out, **changes)
    task = asyncio.create_task(record(spec, clock, stop))
    watch = asyncio.create_task(during())
    await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        watch.cancel()
    stop.set()
    await asyncio.gather(watch, return_exceptions=task.done())
    return await task


def book_of(events: d.Array) -> tuple[dict[int, int], dict[int, int]]:
    """The book after the last row, by the plainest reading of the rows."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for row in events:
        kind, price, size = int(row["kind"]), int(row["price"]), int(row["qty"])
        if kind == d.SNAPSHOT and row["bits"] & d.SNAP_FIRST:
            sides = ({}, {})
        if kind in (d.SNAPSHOT, d.LEVEL) and price:
            sides[row["side"]].pop(price, None)
            if size:
                sides[row["side"]][price] = size
    return sides


def tapes_in(out: Path) -> dict[str, object]:
    """The tapes of a folder by ticker."""
    tapes = [read_tape(path) for path in sorted(out.glob("*.parquet"))]
    return {tape.meta.ticker: tape for tape in tapes}
