"""What the rows share: the stand-in exchange, our client or whole adapter at it, and a sink that listens."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from conformance.run import ENV_VARIABLE
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Life, life_of, listed
from pr3dict.venues.kalshi.rest import KalshiRest
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.kalshi import Catalog, EventSpec, KalshiStandIn, MarketSpec, SeriesSpec, small_catalog
from standins.kalshi.catalog import standing_book
from venues.kalshi.small_venue import Ear, until

SECOND = 1_000_000_000
MS = 1_000_000
CONTRACT = 1_000_000
T0, T1, T2, T3 = (
    "KXA-0-T0",
    "KXB-1-T1",
    "KXA-2-T2",
    "KXB-3-T3",
)  # markets of `small_catalog`, on shards 0 to 3
__all__ = ["Ear", "until"]


class VenueClock:
    """The stand-in's time, which may run faster than ours."""

    def __init__(self, server: KalshiStandIn) -> None:
        self._server = server

    def now_ns(self) -> int:
        return self._server.now_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9 / (self._server.speed or 1.0))


class WallClock:
    """This machine's time."""

    def __init__(self) -> None:
        self._newest = 0

    def now_ns(self) -> int:
        self._newest = max(self._newest, time.time_ns())
        return self._newest

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9)


def catalog(*markets: MarketSpec, events: tuple[EventSpec, ...] = (), **series: Any) -> Catalog:
    """A catalog of these markets, each with a standing book; events that are not given are plain."""
    known = {event.ticker: event for event in events}
    for market in markets:
        known.setdefault(market.event, EventSpec(market.event, "KXS"))
    kinds = {event.series: SeriesSpec(event.series, **series) for event in known.values()}
    flow = np.concatenate([standing_book(k) for k in range(len(markets))])
    return Catalog(tuple(kinds.values()), tuple(known.values()), markets, flow=flow)


def signer(key: Any) -> Signer:
    """What signs with a key of the stand-in."""
    return Signer(key.id, key.pem)


@asynccontextmanager
async def client(server: KalshiStandIn, who: Signer | None, **options: Any) -> AsyncIterator[KalshiRest]:
    """REST alone."""
    clock = VenueClock(server)
    http = KalshiHttp(server.url, who, clock, Budget(clock.now_ns()), **{"answer_s": 2.0, **options})
    try:
        yield KalshiRest(http, subaccount=None if who is None else 0)
    finally:
        await http.close()


async def lives_at(rest: KalshiRest, now_ns: int) -> list[Life]:
    """All markets of the exchange, as a process lists them."""
    found: list[Life] = []
    known: dict[str, Any] = {}
    for row, market in enumerate(await rest.markets()):
        if market.event_ticker not in known:
            event = await rest.event(market.event_ticker)
            known[market.event_ticker] = event, await rest.series(event.series_ticker)
        event, series = known[market.event_ticker]
        told = listed(market, event, series, row=row, at_ns=now_ns, direct_member=True)
        found.append(life_of(told, market, event.exchange_index))
    return found


@asynccontextmanager
async def adapter(
    server: KalshiStandIn, who: Signer, *, up: bool = True, stream: dict[str, Any] | None = None, **terms: Any
) -> AsyncIterator[tuple[Ear, KalshiWire]]:
    """The whole adapter, started; `up`: its streams too."""
    clock, ear = VenueClock(server), Ear()
    async with client(server, who) as rest:
        lives = await lives_at(rest, clock.now_ns())
    http = KalshiHttp(server.url, who, clock, Budget(clock.now_ns()), answer_s=1.0)
    wire = KalshiWire(http, None, ear, clock, lives, AdapterTerms(**{"prefix": "conf1", **terms}))
    links = Reconnects(Backoff(20 * MS, 500 * MS, random.Random(5).randrange), SECOND)
    wire.streams = KalshiStreams(
        server.ws_url, who, clock, ear, wire.lives.rows, wire.hear, links, **(stream or {})
    )
    try:
        await wire.start()
        if server.limits.tier == "prestige":  # rows that are not about the budget need not wait for it
            http.budget.set_limits(http.budget.limits, clock.now_ns() - 10 * SECOND)
        if up:
            await ear.until(e.FeedUp)
        yield ear, wire
    finally:
        await wire.close()


def usual() -> dict[str, Any]:
    """Four quiet markets, a budget in nobody's way, and times of whole seconds as the exchange has them."""
    return {"catalog": small_catalog(), "tier": "prestige", "start_ns": time.time_ns() // SECOND * SECOND}


def run(work: Awaitable[None]) -> None:
    """Carry one test out."""

    async def bounded() -> None:
        await asyncio.wait_for(work, 30)

    asyncio.run(bounded())


def served(body: Callable[..., Awaitable[None]], *, kind: str = "ed25519", **options: Any) -> None:
    """`body(server, rest)`: the stand-in, and our client of it."""

    async def work() -> None:
        async with KalshiStandIn(**{**usual(), **options}) as server:
            key = server.key if kind == "ed25519" else server.rsa_key
            async with client(server, signer(key)) as rest:
                await body(server, rest)

    run(work())


def live(
    body: Callable[..., Awaitable[None]],
    *,
    key: Any = None,
    terms: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    """`body(server, ear, wire)`: the stand-in, and our adapter at it with its streams up."""

    async def work() -> None:
        async with KalshiStandIn(**{**usual(), **options}) as server:
            if key is not None:
                server.doorkeeper.keys[key.id] = key
            who = signer(key or server.key)
            async with adapter(server, who, stream=stream, **(terms or {})) as (ear, wire):
                await body(server, ear, wire)
                assert wire._failure is None and wire.streams.failure() is None

    run(work())


class Account(NamedTuple):
    """An account at the stand-in, or at the demo exchange (`server` None)."""

    rest: KalshiRest
    who: Signer
    ws_url: str
    clock: Any
    server: KalshiStandIn | None


def anywhere(body: Callable[[Account], Awaitable[None]]) -> None:
    """`body(account)` at the stand-in, or at the demo exchange where the run asks for that."""

    async def at_demo() -> None:
        from pr3dict.runtime.kalshi_access import kalshi_access

        try:
            access = kalshi_access("demo", environment=os.environ)
        except ConfigError as error:
            pytest.skip(f"no credentials of the demo account: {error}")
        clock = WallClock()
        http = access.http(clock)
        try:
            assert access.signer is not None
            await body(Account(KalshiRest(http, subaccount=0), access.signer, access.ws_url, clock, None))
        finally:
            await http.close()

    async def at_stand_in() -> None:
        async with KalshiStandIn(small_catalog(), tier="prestige") as server:
            who = signer(server.key)
            async with client(server, who) as rest:
                await body(Account(rest, who, server.ws_url, VenueClock(server), server))

    run(at_demo() if os.environ.get(ENV_VARIABLE) == "demo" else at_stand_in())


# --- commands and what came of them -----------------------------------------------------------------


def place(
    wire: KalshiWire,
    number: int,
    ticker: str = T0,
    side: int = BID,
    price: int = 4500,
    size: int = 10 * CONTRACT,
    tif: int = d.POST_ONLY,
    expiry_ns: int = 0,
) -> c.Place:
    """A new order."""
    return c.Place(
        order_id=number, market=wire.lives.rows[ticker], side=side, price=price, size=size, tif=tif,
        expiry_ns=expiry_ns,
    )  # fmt: skip


async def accepted(ear: Ear, wire: KalshiWire, order: c.Place) -> None:
    """Send an order and wait until it is taken."""
    wire.send(0, [order])
    await until(
        lambda: any(x.order_id == order.order_id for x in ear.of(e.Accepted)), 3, lambda: str(ear.events)
    )


def rows_of(ear: Ear, row: int, kind: int) -> np.ndarray:
    """Market data of one market and one kind, in order."""
    rows = np.concatenate(ear.rows) if ear.rows else np.zeros(0, d.EVENT)
    return rows[(rows["market"] == row) & (rows["kind"] == kind)]


def statuses(ear: Ear, row: int) -> list[int]:
    """The states that a market was told to be in."""
    return [int(x) for x in rows_of(ear, row, d.STATUS)["aux"]]


async def heard(ear: Ear, row: int, kind: int, value: int, seconds: float = 3.0) -> None:
    """Wait for a row of market data with this `aux`."""
    await until(
        lambda: value in [int(x) for x in rows_of(ear, row, kind)["aux"]],
        seconds,
        lambda: f"{kind} {value} in {rows_of(ear, row, kind)}",
    )


def book_of(ear: Ear, row: int) -> tuple[dict[int, int], dict[int, int]]:
    """A market's book as the rows add up."""
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for rows in ear.rows:
        for at in rows[rows["market"] == row]:
            if at["kind"] == d.SNAPSHOT and at["bits"] & d.SNAP_FIRST:
                book = ({}, {})
            if at["kind"] in (d.SNAPSHOT, d.LEVEL) and at["price"]:
                book[at["side"]].pop(int(at["price"]), None)
                if at["qty"]:
                    book[at["side"]][int(at["price"])] = int(at["qty"])
    return book


def say(server: KalshiStandIn, frame: dict[str, Any] | bytes) -> None:
    """A frame of our making to everybody connected."""
    for stream in server.streams:
        if isinstance(frame, bytes):
            stream.put_raw(frame)
        else:
            stream.put(dict(frame))


def commands(server, cmd: str) -> list[dict]:
    """Commands of one kind that the stand-in got over the connections that stand."""
    return [x for stream in server.streams for x in stream.commands if x["cmd"] == cmd]


def sid_of(server, channel: str) -> int:
    """The subscription of a channel on the one connection."""
    (stream,) = server.streams
    return stream.by_channel[channel].sid


async def reconnected(ear, wire, before: int = 1) -> None:
    """Wait until the link broke and stands again."""
    await ear.until(e.FeedDown, before, 4.0)
    await ear.until(e.FeedUp, before + 1, 4.0)
    assert wire.streams.connections >= before + 1


class Heard(NamedTuple):
    """One request as the stand-in got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: Any


@contextmanager
def listening(server: KalshiStandIn) -> Iterator[list[Heard]]:
    """Every REST request that comes meanwhile."""
    found: list[Heard] = []

    def note(request: Any, raw: bytes) -> None:
        path = request.path.removeprefix("/trade-api/v2")
        body = json.loads(raw) if raw else None
        found.append(Heard(request.method, path, dict(request.query), request.headers, body))

    server.watchers.append(note)
    try:
        yield found
    finally:
        server.watchers.remove(note)


def labelled(label: str, **more: Any) -> Catalog:
    """One market with one price grid."""
    return catalog(MarketSpec("KXS-1-A", "KXS-1", labels=(label,), **more))


def changed(server: KalshiStandIn, name: str, change: Callable[[Any], Any]) -> None:
    """The answers of one handler are changed before they leave (None: no longer)."""
    server.rewrites[name] = change


def small(**changes: Any) -> Catalog:
    """Four quiet markets on four shards."""
    return small_catalog(4, **changes)


def with_market(base: Catalog, **changes: Any) -> Catalog:
    """A catalog whose first market is changed."""
    return replace(base, markets=(replace(base.markets[0], **changes), *base.markets[1:]))
