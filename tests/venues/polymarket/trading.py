"""A trading adapter against the stand-in: its wire, what it says, and the venue's truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np

from pr3dict.domain.commands import Place, ReadFills
from pr3dict.domain.events import Control, FeedUp, FillsRead
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import Hosts, PolymarketHttp
from pr3dict.venues.polymarket.markets import Life, life_of, listed
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.own_orders import Known
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.sign import WalletKey
from pr3dict.venues.polymarket.streams import PolymarketStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog

SECOND = 1_000_000_000
__all__ = ["Known", "Trading", "trading", "until"]


class VenueClock:
    """The venue's time, waited for in ours."""

    def __init__(self, server: PolymarketStandIn) -> None:
        self._server = server

    def now_ns(self) -> int:
        return self._server.now_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / SECOND / (self._server.speed or 1.0))


class Ear:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Control] = []
        self.rows: list[np.ndarray] = []

    def put_rows(self, rows: np.ndarray) -> None:
        self.rows.append(rows.copy())

    def push(self, event: Control) -> None:
        self.events.append(event)

    def of(self, kind: type, **fields: Any) -> list[Any]:
        return [
            event
            for event in self.events
            if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items())
        ]

    def rows_of(self, kind: int, market: int = -1) -> list[Any]:
        rows = np.concatenate(self.rows) if self.rows else np.zeros(0, d.EVENT)
        return [r for r in rows if r["kind"] == kind and market in (-1, r["market"])]

    async def until(self, kind: type, count: int = 1, seconds: float = 5.0, **fields: Any) -> Any:
        """The `count`th event of a kind, once it is there."""
        await until(
            lambda: len(self.of(kind, **fields)) >= count, seconds, lambda: f"{kind} in {self.events[-15:]}"
        )
        return self.of(kind, **fields)[count - 1]


async def until(done: Any, seconds: float = 5.0, what: Any = lambda: "something") -> None:
    for _ in range(int(seconds / 0.005)):
        if done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"waited in vain for {what()}")


class Trading(NamedTuple):
    """All parts of a session."""

    server: PolymarketStandIn
    wire: PolymarketWire
    streams: PolymarketStreams
    ear: Ear
    lives: tuple[Life, ...]
    clock: VenueClock

    def place(self, order_id: int, **changes: Any) -> Place:
        """An order of 10 contracts at a price that rests, sent."""
        now_ns = self.clock.now_ns()
        given = {"market": 0, "side": d.BID, "price": 4_000, "size": 10_000_000, "tif": d.POST_ONLY}
        place = Place(order_id=order_id, **{"expiry_ns": now_ns + 300 * SECOND, **given, **changes})
        self.wire.send(now_ns, [place])
        return place


def hosts_of(server: PolymarketStandIn) -> Hosts:
    return Hosts(
        server.url, server.gamma_url, server.url, server.url, server.market_ws_url, server.user_ws_url
    )


async def find_lives(rest: PolymarketRest) -> tuple[Life, ...]:
    lives = []
    found = await rest.gamma_markets()
    assert not found.refused
    for row, market in enumerate(found.items):
        clob = await rest.clob_market(market.condition_id or "")
        lives.append(life_of(listed(market, row=row, clob=clob), market, clob))
    return tuple(lives)


def reconnects() -> Reconnects:
    return Reconnects(Backoff(5_000_000, 50_000_000, random.Random(7).randrange), SECOND)


@asynccontextmanager
async def trading(
    *, count: int = 2, port: Any = None, terms: dict[str, Any] | None = None, wait: bool = True,
    on_server: Any = None, **options: Any,
) -> AsyncIterator[Trading]:  # fmt: skip
    """A session with `count` markets; `options` are the stand-in's."""
    options.setdefault("faults", {"array_frames": 0.3})
    async with PolymarketStandIn(options.pop("catalog", None) or small_catalog(count), **options) as server:
        if on_server is not None:
            on_server(server)
        clock, ear, signer = VenueClock(server), Ear(), WalletKey(PRIVATE_KEY)
        finder = PolymarketHttp(hosts_of(server), clock, Budget(clock.now_ns()), signer=signer)
        key = await PolymarketOrders(finder).find_key()
        lives = await find_lives(PolymarketRest(finder))
        await finder.close()
        http = PolymarketHttp(
            hosts_of(server), clock, Budget(clock.now_ns()), key=key, signer=signer, answer_s=1.0
        )
        wire = PolymarketWire(
            http, None, ear, clock, lives, AdapterTerms(prefix="tests", **(terms or {})), port
        )
        streams = PolymarketStreams(
            server.market_ws_url, server.user_ws_url, clock, ear, [life.spec for life in lives], wire.hear,
            reconnects, key=key,
        )  # fmt: skip
        wire.streams = streams
        try:
            await wire.start()
            if wait:
                await ear.until(FeedUp)
                await until(lambda: all(b.synced for b in streams.decoder.books.values()))
                wire.send(0, [ReadFills(venue="polymarket", since_ns=clock.now_ns())])  # as the engine does
                ear.events.remove(await ear.until(FillsRead))
            yield Trading(server, wire, streams, ear, lives, clock)
        finally:
            await wire.close()
        assert wire.failure() is None, repr(wire.failure())
