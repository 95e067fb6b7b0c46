"""A plain client of the stand-in for its own tests: signs, sends, reads frames, knows nothing else."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Coroutine
from typing import Any, Self

import aiohttp

from standins.polymarket.auth import ApiKey, key_for
from standins.polymarket.crypto import (
    ORDER_TYPE,
    address_of,
    auth_digest,
    digest_of,
    exchange_domain,
    hmac_text,
    nested_digest,
    order_struct,
    sign_digest,
)
from standins.polymarket.server import PolymarketStandIn
from standins.polymarket.values import DOLLAR, MICRO, MS, SECOND, YES, Json

FROZEN_S = 0.5
ZERO = "0x" + "00" * 32


def still(catalog: Any = None, **given: Any) -> PolymarketStandIn:
    """A venue whose time passes only when told, with tokens enough and frames that come one by one."""
    faults = {"array_frames": 0, **given.pop("faults", {})}
    return PolymarketStandIn(catalog, speed=0, tier=given.pop("tier", "elite"), faults=faults, **given)


def agrees(server: PolymarketStandIn) -> Any:
    """What is true, once the venue's books have been checked against each other."""
    truth = server.do("truth")
    assert truth["unexplained"] == []
    return truth


def run(test: Coroutine[Any, Any, Any]) -> None:
    """Run a test's coroutine, 30 s at most."""
    asyncio.run(asyncio.wait_for(test, 30))


class Probe:
    """One client with a key of its own. Answers are (status, body)."""

    def __init__(self, server: PolymarketStandIn, private_key: str = "", *, nonce: int = 0) -> None:
        self.server = server
        self.private_key = private_key or server.private_key
        self.owner = address_of(self.private_key)
        self.nonce = nonce
        self.key: ApiKey = key_for(self.owner, nonce)
        self.headers: Any = {}
        self._session: aiohttp.ClientSession | None = None
        self._salts = itertools.count(1 + nonce * 1_000_000)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        status, body = await self.call("POST", "/auth/api-key", headers=self.level_1())
        assert status in (200, 400), (status, body)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    # --- requests ---------------------------------------------------------------------------------

    def level_1(self) -> dict[str, str]:
        """Headers that a wallet signs."""
        stamp = str(self.server.now_ns() // SECOND)
        signature = sign_digest(self.private_key, auth_digest(self.owner, stamp, self.nonce))
        return {
            "POLY_ADDRESS": self.owner, "POLY_SIGNATURE": "0x" + signature.hex(), "POLY_TIMESTAMP": stamp,
            "POLY_NONCE": str(self.nonce),
        }  # fmt: skip

    def level_2(self, method: str, path: str, body: str) -> dict[str, str]:
        """Headers that an API key signs."""
        stamp = str(self.server.now_ns() // SECOND)
        return {
            "POLY_ADDRESS": self.owner, "POLY_API_KEY": self.key.id, "POLY_PASSPHRASE": self.key.passphrase,
            "POLY_TIMESTAMP": stamp,
            "POLY_SIGNATURE": hmac_text(self.key.secret, stamp, method, path, body),
        }  # fmt: skip

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: Any = None, **query: Any
    ) -> tuple[int, Any]:
        """One request, signed with the API key unless headers are given."""
        assert self._session is not None
        text = "" if body is None else json.dumps(body, separators=(",", ":"))
        signed = self.level_2(method, path, text) if headers is None else headers
        url = self.server.url + path
        async with self._session.request(
            method, url, data=text or None, params=query, headers=signed
        ) as answer:
            raw = await answer.text()
            self.headers = answer.headers
        try:
            return answer.status, json.loads(raw) if raw else None
        except ValueError:
            return answer.status, raw

    async def get(self, path: str, **query: Any) -> Any:
        """The body of a read that must succeed."""
        status, body = await self.call("GET", path, **query)
        assert status == 200, (status, body)
        return body

    # --- orders -----------------------------------------------------------------------------------

    def body(
        self, *, market: int = 0, token: int = YES, side: str = "BUY", price: float = 0.49,
        size: float = 10.0, kind: str = "GTC", post_only: bool = False, expiration: int = 0,
        spend: float = 0.0, **changes: Any,
    ) -> Json:  # fmt: skip
        """A signed order; `spend` dollars for a FAK or FOK BUY; `changes` are made before it is signed."""
        state = self.server.venue.markets[market]
        units, shares = round(price * DOLLAR), round(size * MICRO)
        money = shares * units // DOLLAR
        if spend:
            money = round(spend * MICRO)
            shares = money * DOLLAR // units // 100 * 100
        making, taking = (money, shares) if side == "BUY" else (shares, money)
        wallet = changes.pop("wallet", self.owner)
        kind_of_wallet = changes.pop("signature_type", 0)
        outside = {k: changes.pop(k) for k in ("owner", "orderType", "signature") if k in changes}
        order: Json = {
            "salt": next(self._salts), "maker": wallet,
            "signer": wallet if kind_of_wallet == 3 else self.owner, "tokenId": state.tokens[token],
            "makerAmount": str(making), "takerAmount": str(taking), "side": side,
            "expiration": str(expiration), "signatureType": kind_of_wallet,
            "timestamp": str(self.server.now_ns() // MS), "metadata": ZERO, "builder": ZERO, **changes,
        }  # fmt: skip
        order["signature"] = outside.pop("signature", None) or self.sign(order, state.exchange)
        return {
            "order": order, "owner": self.key.id, "orderType": kind, "postOnly": post_only,
            "deferExec": False, **outside,
        }  # fmt: skip

    def sign(self, order: Json, exchange: str) -> str:
        """An order's signature, for an exchange."""
        separator, struct = exchange_domain(exchange), order_struct(order)
        if order["signatureType"] != 3:
            return "0x" + sign_digest(self.private_key, digest_of(separator, struct)).hex()
        inner = sign_digest(self.private_key, nested_digest(separator, struct, order["maker"]))
        text = ORDER_TYPE.encode()
        return "0x" + (inner + separator + struct + text + len(text).to_bytes(2, "big")).hex()

    async def place(self, **order: Any) -> tuple[int, Any]:
        """Send an order."""
        return await self.call("POST", "/order", self.body(**order))

    async def placed(self, **order: Any) -> Json:
        """Send an order, which must be taken."""
        status, body = await self.place(**order)
        assert status == 200 and body["success"] and body["orderID"], (status, body)
        return dict(body)

    async def cancel(self, order_id: str) -> Json:
        """Cancel one."""
        status, body = await self.call("DELETE", "/order", {"orderID": order_id})
        assert status == 200, (status, body)
        return dict(body)

    async def order(self, order_id: str) -> Json:
        """An order as a read shows it."""
        return dict(await self.get(f"/data/order/{order_id}"))

    async def cash(self) -> int:
        """pUSD on the chain, in base units."""
        return int((await self.get("/balance-allowance", asset_type="COLLATERAL"))["balance"])

    async def tokens(self, market: int = 0, token: int = YES) -> int:
        """Tokens on the chain, in base units."""
        state = self.server.venue.markets[market]
        kind = "CONDITIONAL-V2" if state.spec.version == "v2" else "CONDITIONAL"
        body = await self.get("/balance-allowance", asset_type=kind, token_id=state.tokens[token])
        return int(body["balance"])

    # --- streams ----------------------------------------------------------------------------------

    async def market_stream(self, *assets: str, **more: Any) -> Wire:
        """A market channel of these assets."""
        assert self._session is not None
        wire = Wire(await self._session.ws_connect(self.server.market_ws_url))
        await wire.socket.send_json({"type": "market", "assets_ids": list(assets), **more})
        wire.opening = await wire.frames()
        return wire

    async def user_stream(self, *markets: str, **auth: str) -> Wire:
        """A user channel; markets are condition ids."""
        assert self._session is not None
        wire = Wire(await self._session.ws_connect(self.server.user_ws_url))
        first: Json = {"type": "user", "auth": self.key.json() | auth}
        await wire.socket.send_json(first | ({"markets": list(markets)} if markets else {}))
        wire.opening = await wire.frames()
        return wire


class Wire:
    """One stream. `opening`: the frames that followed its first subscription."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.opening: list[Any] = []

    async def messages(self) -> list[Any]:
        """What was sent by now: all up to the answer to a PING of our own. An end is None."""
        found: list[Any] = []
        try:
            await self.socket.send_str("PING")
            while True:
                message = await self.socket.receive(timeout=FROZEN_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return [*found, None]
                if message.data == "PONG":
                    return found
                found.append(json.loads(message.data))
        except TimeoutError:
            return found
        except ConnectionError:
            return [*found, None]

    async def frames(self, *kinds: str) -> list[Json]:
        """As `messages`, arrays taken apart; only of these event types, where any are named."""
        found = []
        for message in await self.messages():
            found += message if isinstance(message, list) else [message]
        return [frame for frame in found if not kinds or frame is None or frame["event_type"] in kinds]
