"""What the rows share: the stand-in, our client or the whole adapter at it, and what was said and asked.

`at_desk` (a client without streams) and `trading` (the whole adapter) are those of `venues/polymarket`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.shared import Heard, book_in, changed, listening, rows_in, run
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.http import PolymarketHttp
from pr3dict.venues.polymarket.rest import PolymarketRest
from standins.polymarket import Catalog, EventSpec, MarketSpec, PolymarketStandIn, standing_book
from standins.polymarket.errors import RefusedError
from venues.polymarket.client_desk import Desk, at_desk
from venues.polymarket.trading import Ear, Known, Trading, VenueClock, hosts_of, trading, until

SECOND = 1_000_000_000
MS = 1_000_000
CONTRACT = 1_000_000
QUICK = {"mine_s": [0.02, 0.05], "confirm_s": [0.02, 0.05], "relayer_s": [0.05, 0.1], "array_frames": 0}
__all__ = [
    "CONTRACT", "MS", "QUICK", "SECOND", "Desk", "Ear", "Heard", "Known", "PolymarketHttp", "PolymarketRest",
    "Trading", "VenueClock", "accepted", "at_desk", "book_of", "catalog", "changed", "desk", "first",
    "hosts_of", "listening", "live", "refusing", "rows_of", "run", "say", "statuses", "trading", "until",
]  # fmt: skip


def catalog(*markets: MarketSpec, events: tuple[EventSpec, ...] = ()) -> Catalog:
    """A catalog of these markets, each with a standing book; events that are not given are plain."""
    known = {event.slug: event for event in events}
    for market in markets:
        known.setdefault(market.event, EventSpec(market.event))
    flow = np.concatenate([standing_book(k) for k in range(len(markets))])
    return Catalog(tuple(known.values()), markets, flow=flow)


def first(base: Catalog, **changes: Any) -> Catalog:
    """A catalog whose first market is changed."""
    return replace(base, markets=(replace(base.markets[0], **changes), *base.markets[1:]))


def _usual(options: dict[str, Any]) -> dict[str, Any]:
    """Trades settle soon and frames come one by one, unless the row says otherwise."""
    return {**options, "faults": {**QUICK, **(options.get("faults") or {})}}


def desk(
    body: Callable[[PolymarketStandIn, Desk], Awaitable[None]], *, signer: Any = None, **options: Any
) -> None:
    """`body(server, desk)`: the stand-in, and our client of it with its key, its reads and its requests.

    `options` are those of `at_desk` (`answer_s`, `on_server`), and the stand-in's.
    """

    async def work() -> None:
        async with at_desk(signer, **_usual(options)) as (server, found):
            await body(server, found)

    run(work())


def live(body: Callable[[Trading], Awaitable[None]], **options: Any) -> None:
    """`body(t)`: the stand-in, and our adapter at it with its streams up; it must not fail by itself.

    `options` are those of `trading`: `count`, `port`, `terms`, `wait`, `on_server`, and the stand-in's.
    """

    async def work() -> None:
        async with trading(**_usual(options)) as t:
            await body(t)

    run(work())


async def accepted(t: Trading, order_id: int, **changes: Any) -> str:
    """Send an order and wait until it is taken; its digest."""
    t.place(order_id, **changes)
    event = await t.ear.until(e.Accepted, order_id=order_id)
    return str(event.venue_id)


def rows_of(t: Trading, kind: int, market: int = 0) -> np.ndarray:
    """Market data of one market and one kind, in order."""
    return rows_in(t.ear.rows, market, kind)


def statuses(t: Trading, market: int = 0) -> list[int]:
    """The states that a market was told to be in."""
    return [int(x) for x in rows_of(t, d.STATUS, market)["aux"]]


def book_of(t: Trading, market: int = 0) -> tuple[dict[int, int], dict[int, int]]:
    """A market's book as the adapter's rows add up."""
    return book_in(t.ear.rows, market)


def say(server: PolymarketStandIn, *frames: Mapping[str, Any] | str, channel: str = "") -> None:
    """Frames of our making (a text as it stands) on every connection, or on those of one channel.

    `channel`: "market" or "user".
    """
    for stream in list(server.streams):
        if channel and channel not in type(stream).__name__.lower():
            continue
        for frame in frames:
            if isinstance(frame, str):
                stream._queue(frame)
            else:
                stream.put([dict(frame)])


@contextmanager
def refusing(
    server: PolymarketStandIn, path: str, status: int, body: Any, *, method: str = "", times: int = 1,
    headers: Mapping[str, str] | None = None,
) -> Iterator[None]:  # fmt: skip
    """Requests of a path are answered with this, `times` times, and not carried out."""
    left = [times]

    def answer(request: Any, raw: bytes) -> None:
        if left[0] and request.path == path and method in ("", request.method):
            left[0] -= 1
            raise RefusedError(status, body, dict(headers or {}))

    server.watchers.append(answer)
    try:
        yield
    finally:
        server.watchers.remove(answer)
