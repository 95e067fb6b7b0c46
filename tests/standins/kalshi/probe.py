"""A plain client of the stand-in for its own tests: signs, sends, reads frames, knows nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Self

import aiohttp

from standins.kalshi.auth import ApiKey, sign
from standins.kalshi.server import KalshiStandIn
from standins.kalshi.values import MS

PREFIX = "/trade-api/v2"
ORDERS = "/portfolio/events/orders"
FROZEN_S = 0.5
LAST = 987_654_321


def still(**given: Any) -> KalshiStandIn:
    """A venue whose time passes only when told, with tokens enough."""
    return KalshiStandIn(speed=0, tier=given.pop("tier", "prestige"), **given)


def code(body: Any) -> Any:
    """The code of a nested error."""
    return body["error"]["code"]


def details(body: Any) -> Any:
    """Its details."""
    return body["error"].get("details", "")


def agrees(server: KalshiStandIn) -> Any:
    """What is true, once it has been checked against the simulated exchange."""
    truth = server.do("truth")
    assert truth["unexplained"] == []
    return truth


def run(test: Coroutine[Any, Any, Any]) -> None:
    """Run a test's coroutine, 20 s at most."""
    asyncio.run(asyncio.wait_for(test, 20))


class Probe:
    """One client. Answers are (status, body)."""

    def __init__(self, server: KalshiStandIn, key: ApiKey | None = None) -> None:
        self.server = server
        self.key = key or server.key
        self._session: aiohttp.ClientSession | None = None
        self._ids = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(
        self, method: str, path: str, body: Any = None, *, signed: bool = True, **query: Any
    ) -> tuple[int, Any]:
        """One request below the API's root."""
        assert self._session is not None
        headers = sign(self.key, self.server.now_ns() // MS, method, PREFIX + path) if signed else {}
        async with self._session.request(
            method, self.server.url + path, json=body, params=query, headers=headers
        ) as answer:
            text = await answer.text()
        return answer.status, json.loads(text) if text else None

    async def get(self, path: str, **query: Any) -> Any:
        """The body of a read that must succeed."""
        status, body = await self.call("GET", path, **query)
        assert status == 200, (status, body)
        return body

    def order(self, **changes: Any) -> dict[str, Any]:
        """A post-only bid of 10 at 0.49 in the first market."""
        self._ids += 1
        spec = self.server.venue.markets[0].spec
        return {
            "ticker": spec.ticker, "client_order_id": f"c{self._ids}", "side": "bid", "count": "10.00",
            "price": "0.4900", "time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker",
            "exchange_index": spec.exchange_index, **changes,
        }  # fmt: skip

    async def place(self, **changes: Any) -> tuple[int, Any]:
        """Send such an order."""
        return await self.call("POST", ORDERS, self.order(**changes))

    async def placed(self, **changes: Any) -> dict[str, Any]:
        """Send such an order, which must be taken."""
        status, body = await self.place(**changes)
        assert status == 201, (status, body)
        return dict(body)

    async def listed(self, order_id: str) -> dict[str, Any]:
        """An order as a read shows it."""
        body = await self.get(f"/portfolio/orders/{order_id}")
        return dict(body["order"])

    async def upgrade_status(self, *, signed: bool = True) -> int:
        """How the stream's address answers a request that does not upgrade."""
        assert self._session is not None
        headers = sign(self.key, self.server.now_ns() // MS, "GET", "/trade-api/ws/v2") if signed else {}
        url = self.server.ws_url.replace("ws:", "http:")
        async with self._session.get(url, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def connect(self) -> Wire:
        """A signed stream."""
        assert self._session is not None
        headers = sign(self.key, self.server.now_ns() // MS, "GET", "/trade-api/ws/v2")
        return Wire(await self._session.ws_connect(self.server.ws_url, headers=headers))


class Wire:
    """One stream."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, cmd: str, number: int = 1, **params: Any) -> None:
        """A command."""
        await self.socket.send_json({"id": number, "cmd": cmd, "params": params})

    async def frames(self) -> list[dict[str, Any]]:
        """What was sent by now: all up to the answer to a command of our own, which a frozen stream lacks.

        An end of the connection is a frame of type "end".
        """
        found: list[dict[str, Any]] = []
        try:
            await self.socket.send_json({"id": LAST, "cmd": "list_subscriptions"})
            while True:
                message = await self.socket.receive(timeout=FROZEN_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return [*found, {"type": "end"}]
                frame = json.loads(message.data)
                if frame.get("id") == LAST:
                    return found
                found.append(frame)
        except TimeoutError:
            return found
        except ConnectionError:
            return [*found, {"type": "end"}]

    async def subscribe(self, *channels: str, **params: Any) -> list[dict[str, Any]]:
        """Subscribe and return the frames that follow."""
        await self.send("subscribe", channels=list(channels), **params)
        return await self.frames()
