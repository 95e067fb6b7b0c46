"""What the rows of every venue share: requests as a stand-in got them, and answers changed on their way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from pr3dict.kernels import dtypes as d


class Heard(NamedTuple):
    """One request as the stand-in got it; `body` is what its JSON says, `raw` its bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: Any
    raw: bytes


@contextmanager
def listening(server: Any, *, writes: bool = False, prefix: str = "") -> Iterator[list[Heard]]:
    """Every REST request that comes meanwhile (`writes`: only those that change something)."""
    found: list[Heard] = []

    def note(request: Any, raw: bytes) -> None:
        if writes and request.method == "GET":
            return
        body, path = json.loads(raw) if raw else None, request.path.removeprefix(prefix)
        found.append(Heard(request.method, path, dict(request.query), request.headers, body, raw))

    server.watchers.append(note)
    try:
        yield found
    finally:
        server.watchers.remove(note)


def changed(server: Any, name: str, change: Callable[[Any], Any]) -> None:
    """The answers of one handler are changed before they leave."""
    server.rewrites[name] = change


def run(work: Awaitable[None]) -> None:
    """Carry one test out."""

    async def bounded() -> None:
        await asyncio.wait_for(work, 30)

    asyncio.run(bounded())


def book_in(parts: list[np.ndarray], row: int) -> tuple[dict[int, int], dict[int, int]]:
    """A market's book as rows add up: bids and asks by YES price."""
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for rows in parts:
        for at in rows[rows["market"] == row]:
            if at["kind"] == d.SNAPSHOT and at["bits"] & d.SNAP_FIRST:
                book = ({}, {})
            if at["kind"] in (d.SNAPSHOT, d.LEVEL) and at["price"]:
                book[at["side"]].pop(int(at["price"]), None)
                if at["qty"]:
                    book[at["side"]][int(at["price"])] = int(at["qty"])
    return book


def rows_in(parts: list[np.ndarray], row: int, kind: int) -> np.ndarray:
    """Market data of one market and one kind, in order."""
    rows = np.concatenate(parts) if parts else np.zeros(0, d.EVENT)
    return rows[(rows["market"] == row) & (rows["kind"] == kind)]
