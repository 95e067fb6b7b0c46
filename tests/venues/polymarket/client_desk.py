"""A client at the stand-in, without streams and without the adapter: what a trader could do by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pr3dict.domain.commands import Place
from pr3dict.domain.events import Control
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import PolymarketHttp
from pr3dict.venues.polymarket.orders import Answer, PolymarketOrders
from pr3dict.venues.polymarket.requests import Built, Requests, Terms
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.sign import WalletKey
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog
from venues.polymarket.trading import VenueClock, hosts_of

CONTRACT = 1_000_000


class Desk:
    """Everything a trader has: reads, requests, and the terms of the listed markets."""

    def __init__(self, http: PolymarketHttp, signer: WalletKey) -> None:
        self.http, self.signer = http, signer
        self.rest, self.orders = PolymarketRest(http), PolymarketOrders(http)
        self.terms: list[Terms] = []
        self.requests: Requests | None = None

    async def learn(self) -> None:
        """Find the key and list the markets, from the catalogue and from the order API."""
        self.http.key = await self.orders.find_key()
        for market in (await self.rest.gamma_markets(closed=False)).items:
            found = await self.rest.clob_market(market.condition_id)
            assert tuple(token.t for token in found.t) == market.tokens
            assert (found.mts, found.nr) == (market.order_price_min_tick_size, market.neg_risk)
            self.terms.append(Terms(market.condition_id, *market.tokens, int(found.mts), neg_risk=found.nr))
        self.requests = Requests(self.signer, self.http.key.key, self.terms.__getitem__, "standin")

    def build(self, number: int, row: int = 0, **changes: Any) -> tuple[Place, Built]:
        fields = {
            "order_id": number,
            "market": row,
            "side": d.BID,
            "price": 4_000,
            "size": 10 * CONTRACT,
            "tif": d.POST_ONLY,
            **changes,
        }
        place = Place(**fields)
        return place, self.requests.create(place, self.http.clock.now_ns())

    async def place(
        self, number: int, row: int = 0, **changes: Any
    ) -> tuple[Built, Answer, tuple[Control, ...]]:
        place, built = self.build(number, row, **changes)
        answer = await self.orders.post(built)
        return built, answer, Requests.placed(place, built, answer.outcome, answer.body)


@asynccontextmanager
async def at_desk(
    signer: WalletKey | None = None, *, answer_s: float = 1.0, on_server: Any = None, **settings: Any
) -> AsyncIterator[tuple[PolymarketStandIn, Desk]]:
    """A desk at a running stand-in; `settings` are the stand-in's, `on_server` is shown it first."""
    async with PolymarketStandIn(settings.pop("catalog", None) or small_catalog(), **settings) as server:
        if on_server is not None:
            on_server(server)
        clock = VenueClock(server)
        signer = signer or WalletKey(PRIVATE_KEY)
        http = PolymarketHttp(
            hosts_of(server), clock, Budget(clock.now_ns()), signer=signer, answer_s=answer_s
        )
        try:
            desk = Desk(http, signer)
            await desk.learn()
            yield server, desk
        finally:
            await http.close()
