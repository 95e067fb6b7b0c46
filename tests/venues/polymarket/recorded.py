"""Recorded messages of the market channel, and what a slow reading makes of them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pr3dict.kernels import dtypes as d

Sides = tuple[dict[int, int], dict[int, int]]


def replayed(out: d.Array, count: int, sides: Sides) -> Sides:
    """Rows applied by a slow reference that knows nothing but rows."""
    for row in out[:count]:
        if row["kind"] == d.SNAPSHOT and row["bits"] & d.SNAP_FIRST:
            sides = ({}, {})
        if row["kind"] in (d.SNAPSHOT, d.LEVEL):
            levels = sides[int(row["side"])]
            levels.pop(int(row["price"]), None)
            if row["qty"]:
                levels[int(row["price"])] = int(row["qty"])
    return sides


def sides_of(one: dict[str, Any], *, is_no: bool) -> Sides:
    """A book's levels, read with other means."""
    sides = []
    for name in ("bids", "asks"):
        levels = {round(float(r["price"]) * 10_000): round(float(r["size"]) * 10**6) for r in one[name]}
        sides.append({10_000 - p: q for p, q in levels.items()} if is_no else levels)
    return (sides[1], sides[0]) if is_no else (sides[0], sides[1])


def mlb_messages(path: Path) -> Iterator[tuple[str, str, int, list[tuple[str, str, str]]]]:
    """(kind, asset, ms, rows) as they were received: a book is one message, a change each row."""
    with gzip.open(path, "rt") as lines:
        key, rows = None, []
        for row in csv.DictReader(lines):
            if not (row["timestamp"] or "").isdecimal():
                continue
            mine = (row["event_type"], row["asset_id"], int(row["timestamp"]), row["hash"])
            if mine != key and key is not None:
                yield (*key[:3], rows)
                rows = []
            key = mine
            side = {"bid": "BUY", "ask": "SELL"}.get(row["side"], row["side"])
            rows.append((side, row["price"], row["size"]))
        if key is not None:
            yield (*key[:3], rows)


def as_frame(kind: str, asset: str, ms: int, rows: list[tuple[str, str, str]]) -> bytes:
    """A recorded message as today's channel would tell it."""
    levels = [(s, {"price": f"{float(p):g}", "size": f"{float(q):.6f}"}) for s, p, q in rows]
    body: dict[str, Any] = {"event_type": kind, "asset_id": asset, "market": "0xg", "timestamp": str(ms)}
    if kind == "book":
        body |= {"bids": [r for s, r in levels if s == "BUY"], "asks": [r for s, r in levels if s == "SELL"]}
    else:
        body |= {"price_changes": [{"asset_id": asset, "side": s, **r} for s, r in levels]}
    return json.dumps(body).encode()


def in_yes(levels: dict[tuple[str, int], int], *, is_no: bool) -> Sides:
    sides: Sides = ({}, {})
    for (word, price), size in levels.items():
        if size:
            sides[d.BID if (word == "BUY") != is_no else d.ASK][10_000 - price if is_no else price] = size
    return sides
