"""A few hundred lines of Polymarket on a local port: enough to accept orders, and to misbehave on request."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any, Self

from aiohttp import web

from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.http import Hosts
from pr3dict.venues.polymarket.sign import Exchange, Order, WalletKey

KEY = WalletKey("11" * 32)
SECRET = base64.urlsafe_b64encode(b"secret of the small venue").decode()
OWNER = "00000000-1111-2222-3333-444444444444"
API_KEY = ApiKey(KEY.address, OWNER, SECRET, "passphrase")


class WallClock:
    """This machine's time."""

    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9)


def verified(request: web.Request, raw: bytes) -> bool:
    """Whether a private call is signed over exactly what came, its query apart."""
    stamp = request.headers.get("POLY_TIMESTAMP", "")
    text = f"{stamp}{request.method}{request.rel_url.raw_path}".encode() + raw
    right = base64.urlsafe_b64encode(
        hmac.new(b"secret of the small venue", text, hashlib.sha256).digest()
    ).decode()
    return (
        request.headers.get("POLY_SIGNATURE") == right
        and request.headers.get("POLY_API_KEY") == OWNER
        and request.headers.get("POLY_PASSPHRASE") == "passphrase"
        and request.headers.get("POLY_ADDRESS") == KEY.address
        and abs(time.time() - int(stamp)) < 10
    )


class SmallVenue:
    """`script[(method, path)]`, a list of replies or functions, is used up before the normal behaviour."""

    def __init__(self, bodies: Any) -> None:
        self.bodies = bodies
        self.script: dict[tuple[str, str], list[Any]] = {}
        self.log: list[tuple[str, str, dict[str, str], Any]] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.agents: set[str] = set()
        self.hosts = Hosts()
        self.heartbeat = "h0"
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        ws = base.replace("http", "ws")
        self.hosts = Hosts(base, base + "/gamma", base, base, ws, ws)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        path = request.path
        self.agents.add(request.headers.get("User-Agent", ""))
        query = {name: ",".join(request.query.getall(name)) for name in request.query}
        self.log.append((request.method, path, query, body))
        if "POLY_API_KEY" in request.headers and not verified(request, raw):
            return self.json(401, {"error": "Unauthorized/Invalid api key"})
        scripted = self.script.get((request.method, path)) or self.script.get((request.method, "*"))
        if scripted:
            step = scripted.pop(0)
            if callable(step):
                step = step(request, path, body)
                step = await step if asyncio.iscoroutine(step) else step
            if step is not None:
                return self.json(*step) if isinstance(step, tuple) else step
        return self.json(*self.normal(request.method, path, body, request.headers))

    @staticmethod
    def json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw, headers=headers, content_type="application/json")

    def normal(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        """What a healthy venue answers."""
        private = "POLY_API_KEY" in headers
        if (method, path) == ("POST", "/order"):
            return (200, self.place(body)) if private else (401, {"error": "Unauthorized"})
        if (method, path) == ("POST", "/orders"):
            return 200, [self.place(one) for one in body]
        if method == "DELETE":
            return 200, self.cancel(path, body)
        if path.startswith("/data/order/"):
            found = self.orders.get(path.rpartition("/")[2])
            return (200, found) if found else (404, {"error": "order not found"})
        if path == "/data/orders":
            return 200, self.bodies.page(*self.orders.values())
        if path == "/v1/heartbeats":
            return self.beat(body["heartbeat_id"])
        if path in ("/auth/api-key", "/auth/derive-api-key"):
            known = headers.get("POLY_SIGNATURE") == KEY.sign_auth(
                int(headers["POLY_TIMESTAMP"]), int(headers["POLY_NONCE"])
            )
            creds = {"apiKey": OWNER, "secret": SECRET, "passphrase": "passphrase"}
            return (200, creds) if known else (401, {"error": "Invalid L1 Request headers"})
        if path == "/gamma/markets/keyset":
            return 200, {"markets": [self.bodies.GAMMA_MARKET]}
        return 404, {"error": f"no {path}"}

    def place(self, body: Any) -> dict[str, Any]:
        """A new order rests under its digest, if somebody signed it."""
        order = body["order"]
        signed = Order(
            order["salt"],
            int(order["tokenId"]),
            int(order["makerAmount"]),
            int(order["takerAmount"]),
            order["side"],
            int(order["timestamp"]),
        )
        made = KEY.sign(signed, Exchange.STANDARD)
        if order["signature"] != made.signature or body["owner"] != OWNER:
            return {"success": True, "errorMsg": "invalid signature", "orderID": "", "status": ""}
        if made.digest in self.orders:
            return {"success": True, "errorMsg": "Duplicated.", "orderID": "", "status": ""}
        self.orders[made.digest] = {**self.bodies.ORDER, "id": made.digest}
        return {**self.bodies.POSTED, "orderID": made.digest, "takingAmount": ""}

    def cancel(self, path: str, body: Any) -> dict[str, Any]:
        """One, many or all."""
        names = {"/order": lambda: [body["orderID"]], "/orders": lambda: body}
        asked = names.get(path, lambda: list(self.orders))()
        gone = [name for name in asked if self.orders.pop(name, None)]
        left = {name: "already canceled or matched" for name in asked if name not in gone}
        return {"canceled": gone, "not_canceled": left}

    def beat(self, said: str) -> tuple[int, Any]:
        if said not in ("", self.heartbeat):
            return 400, {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": self.heartbeat}
        self.heartbeat = f"h{int(self.heartbeat[1:]) + 1}"
        return 200, {"heartbeat_id": self.heartbeat}
