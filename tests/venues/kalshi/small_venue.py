"""A few hundred lines of Kalshi on a local port: enough to accept orders, and to misbehave on request."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pr3dict.domain.events import Control
from pr3dict.venues.kalshi.sign import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER, Signer

KEY = ed25519.Ed25519PrivateKey.generate()
SIGNER = Signer(
    "key-1",
    KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode(),
)
ROOT = "/trade-api/v2"
Reply = tuple[int, Any]


class WallClock:
    """This machine's time."""

    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9)


class Ear:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Control] = []
        self.rows: list[np.ndarray] = []

    def put_rows(self, rows: np.ndarray) -> None:
        self.rows.append(rows.copy())

    def push(self, event: Control) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type, count: int = 1, seconds: float = 3.0) -> Any:
        """The newest event of a kind, once there are `count`."""
        await until(lambda: len(self.of(kind)) >= count, seconds, lambda: f"{kind.__name__} in {self.events}")
        return self.of(kind)[count - 1]


async def until(done: Callable[[], bool], seconds: float = 3.0, what: Callable[[], str] = lambda: "") -> None:
    for _ in range(int(seconds / 0.005)):
        if done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"waited in vain for {what()}")


def verified(headers: Any, method: str, path: str) -> bool:
    text = f"{headers.get(TIME_HEADER)}{method}{path}".encode()
    try:
        KEY.public_key().verify(base64.b64decode(headers.get(SIGNATURE_HEADER, "")), text)
    except InvalidSignature:
        return False
    return (
        headers.get(KEY_HEADER) == "key-1"
        and abs(time.time_ns() // 10**6 - int(headers[TIME_HEADER])) < 10_000
    )


class SmallVenue:
    """`script[(method, path)]`, a list of replies or functions, is used up before the normal behaviour."""

    def __init__(self, bodies: Any) -> None:
        self.bodies = bodies
        self.script: dict[tuple[str, str], list[Any]] = {}
        self.log: list[tuple[str, str, dict[str, str], Any]] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        self.positions: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.commands: list[dict[str, Any]] = []
        self.channels: dict[str, int] = {}
        self.seqs: dict[int, int] = {}
        self.frozen = False
        self.refuse_upgrade = False
        self.snapshots = True
        self.base = ""
        self.ws_url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/trade-api/ws/v2", self._ws)
        app.router.add_route("*", ROOT + "/{tail:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.base, self.ws_url = f"http://127.0.0.1:{port}{ROOT}", f"ws://127.0.0.1:{port}/trade-api/ws/v2"
        return self

    async def __aexit__(self, *_: object) -> None:
        for ws in self.sockets:
            await ws.close()
        assert self._runner is not None
        await self._runner.cleanup()

    # --- REST -------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(ROOT)
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.log.append((request.method, path, dict(request.query), body))
        if TIME_HEADER in request.headers and not verified(request.headers, request.method, request.path):
            return self._json(401, {"error": {"code": "authentication_error", "message": "bad signature"}})
        scripted = self.script.get((request.method, path)) or self.script.get((request.method, "*"))
        if scripted:
            step = scripted.pop(0)
            if callable(step):
                step = step(request, path, body)
                step = await step if asyncio.iscoroutine(step) else step
            if step is not None:
                return self._json(*step) if isinstance(step, tuple) else step
        return self._json(*self.normal(request.method, path, dict(request.query), body))

    @staticmethod
    def _json(status: int, body: Any) -> web.Response:
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        return web.json_response(body, status=status) if body is not None else web.Response(status=status)

    def normal(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """What a healthy exchange answers."""
        parts = path.strip("/").split("/")
        if path.startswith("/portfolio/events/orders"):
            return self._write(method, parts[3:], body)
        if path == "/portfolio/orders":
            found = [o for o in self.orders.values() if query.get("status", o["status"]) == o["status"]]
            return 200, {
                "orders": [o for o in found if query.get("ticker", o["ticker"]) == o["ticker"]],
                "cursor": "",
            }
        if parts[:2] == ["portfolio", "orders"]:
            order = self.orders.get(parts[2])
            return (
                (200, {"order": order}) if order else (404, {"error": {"code": "not_found", "message": "no"}})
            )
        if path.startswith("/portfolio/order_groups"):
            return (
                (
                    201,
                    {"order_group_id": f"g{query.get('exchange_index', '')}{body.get('exchange_index', '')}"},
                )
                if path.endswith("create")
                else (200, {})
            )
        if path == "/exchange/user_data_timestamp":
            return 200, {"as_of_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if path == "/portfolio/fills":
            return 200, {"fills": self.fills, "cursor": ""}
        if path == "/portfolio/positions":
            return 200, {"market_positions": self.positions, "cursor": ""}
        for kind, sample in self.bodies.BODIES.items():
            if kind.__name__ == {
                "/portfolio/balance": "Balance",
                "/account/limits": "AccountLimits",
                "/account/endpoint_costs": "EndpointCosts",
                "/markets": "Markets",
                "/markets/KXA-1/orderbook": "OrderbookAnswer",
            }.get(path):
                return 200, sample
        if path == "/historical/cutoff":
            old = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 14 * 86_400))
            return 200, {"trades_created_ts": old, "orders_updated_ts": old}
        if path.startswith("/historical"):
            return 200, {parts[1]: [], "cursor": ""}
        if path == "/exchange/status":
            return 200, {"exchange_active": True, "trading_active": True}
        return 404, {"code": "not_found", "message": path}

    def _write(self, method: str, parts: list[str], body: Any) -> Reply:
        if method == "POST" and not parts:
            return self.create(body)
        if method == "POST" and parts == ["batched"]:
            replies = [self.create(order) for order in body["orders"]]
            items = [
                r if s == 201 else {"client_order_id": o["client_order_id"], "error": r["error"]}
                for (s, r), o in zip(replies, body["orders"], strict=True)
            ]
            return 201, {"orders": items}
        if method == "DELETE" and not parts:
            for order in self.orders.values():
                self._cancel(order["order_id"])
            return 204, None
        if method == "DELETE" and parts == ["batched"]:
            replies = [self._cancel(item["order_id"]) for item in body["orders"]]
            return 200, {"orders": [r if s == 200 else {"error": r["error"]} for s, r in replies]}
        order_id, action = parts[0], (parts[1] if len(parts) > 1 else "cancel")
        if action == "cancel":
            return self._cancel(order_id)
        order = self.orders.get(order_id)
        if order is None or order["status"] != "resting":
            return 404, {"error": {"code": "not_found", "message": "no such order"}}
        if action == "decrease":
            order["remaining_count_fp"] = body["reduce_to"]
            return 200, {"order_id": order_id, "remaining_count": body["reduce_to"], "ts_ms": 1795355184001}
        return 200, {
            "order_id": order_id,
            "remaining_count": None,
            "fill_count": None,
            "ts_ms": 1795355184001,
        }

    def create(self, body: dict[str, Any]) -> Reply:
        """A new order rests."""
        if any(o["client_order_id"] == body["client_order_id"] for o in self.orders.values()):
            return 409, {"error": {"code": "order_already_exists", "message": "duplicate"}}
        order_id = f"venue-{len(self.orders) + 1}"
        self.orders[order_id] = {
            **self.bodies.ORDER,
            "order_id": order_id,
            "client_order_id": body["client_order_id"],
            "ticker": body["ticker"],
            "book_side": body["side"],
            "yes_price_dollars": body["price"],
            "initial_count_fp": body["count"],
            "fill_count_fp": "0.00",
            "remaining_count_fp": body["count"],
            "status": "resting",
            "exchange_index": body["exchange_index"],
        }
        return 201, {
            "order_id": order_id,
            "client_order_id": body["client_order_id"],
            "fill_count": "0.00",
            "remaining_count": body["count"],
            "ts_ms": 1795355184001,
        }

    def _cancel(self, order_id: str) -> Reply:
        order = self.orders.get(order_id)
        if order is None or order["status"] != "resting":
            return 404, {"error": {"code": "not_found", "message": "no such order"}}
        order["status"], left = "canceled", order["remaining_count_fp"]
        order["remaining_count_fp"] = "0.00"
        return 200, {"order_id": order_id, "reduced_by": left, "ts_ms": 1795355184001}

    # --- WebSocket --------------------------------------------------------------------------------

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_upgrade or not verified(request.headers, "GET", request.path):
            return web.Response(status=401 if not self.refuse_upgrade else 502)
        ws = web.WebSocketResponse(autoping=True)
        await ws.prepare(request)
        self.channels.clear()
        self.seqs.clear()
        self.sockets.append(ws)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                command = json.loads(message.data)
                self.commands.append(command)
                if not self.frozen:
                    await self.obey(command)
        return ws

    async def obey(self, command: dict[str, Any]) -> None:
        """Subscribe, list, send snapshots."""
        params, number = command.get("params", {}), command["id"]
        if command["cmd"] == "subscribe":
            for channel in params["channels"]:
                sid = self.channels.setdefault(channel, len(self.channels) + 1)
                await self.raw({"id": number, "type": "subscribed", "msg": {"channel": channel, "sid": sid}})
                if channel == "orderbook_delta":
                    await self.books(params["market_tickers"])
        elif command["cmd"] == "list_subscriptions":
            listed = [{"channel": channel, "sid": sid} for channel, sid in self.channels.items()]
            await self.raw({"id": number, "type": "ok", "msg": listed})
        elif params.get("action") == "get_snapshot":
            await self.books(params["market_tickers"])
        elif params.get("action") in ("add_markets", "delete_markets"):
            sid = params["sid"]
            self.seqs[sid] = self.seqs.get(sid, 0) + 1
            named = {"market_tickers": params["market_tickers"]}
            await self.raw({"id": number, "sid": sid, "seq": self.seqs[sid], "type": "ok", "msg": named})
            if params["action"] == "add_markets" and sid == self.channels["orderbook_delta"]:
                await self.books(params["market_tickers"])

    async def books(self, tickers: list[str]) -> None:
        if self.snapshots:
            for ticker in tickers:
                await self.say(
                    "orderbook_delta",
                    "orderbook_snapshot",
                    market_ticker=ticker,
                    yes_dollars_fp=[["0.4500", "10.00"]],
                    no_dollars_fp=[["0.4700", "5.00"]],
                )

    async def say(self, channel: str, kind: str, *, skip: int = 0, **msg: Any) -> None:
        """A frame on a channel; `skip` numbers are left out before it."""
        sid = self.channels[channel]
        self.seqs[sid] = self.seqs.get(sid, 0) + 1 + skip
        await self.raw({"type": kind, "sid": sid, "seq": self.seqs[sid], "msg": msg})

    async def raw(self, frame: dict[str, Any] | bytes) -> None:
        if isinstance(frame, bytes):
            await self.sockets[-1].send_str(frame.decode("latin-1"))
        else:
            await self.sockets[-1].send_str(json.dumps({**frame, "sending_ts_ms": time.time_ns() // 10**6}))

    def calls(self, method: str, prefix: str) -> list[tuple[str, str, dict[str, str], Any]]:
        return [call for call in self.log if call[0] == method and call[1].startswith(prefix)]
