"""The stand-in's server: Kalshi's REST and WebSocket on loopback, and an admin endpoint beside them.

async with KalshiStandIn(small_catalog(), faults={"gap": 0.01}) as server:
    client = Client(server.url, server.ws_url, server.key.id, server.key.pem)
    server.do("take", ticker="KXA-0-T0", taker="ask", price="0.4800", contracts="5")
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final, Self

import msgspec
from aiohttp import web

from standins.kalshi.asking import Ask
from standins.kalshi.auth import ApiKey, Doorkeeper, allows, new_key
from standins.kalshi.catalog import Catalog, small_catalog
from standins.kalshi.controls import Controls
from standins.kalshi.desk import Desk
from standins.kalshi.errors import TOO_MANY, RefusedError, not_found, refused, undecodable
from standins.kalshi.faults import FaultBox
from standins.kalshi.limits import Limits
from standins.kalshi.portfolio import Portfolio
from standins.kalshi.public import Public
from standins.kalshi.state import Note
from standins.kalshi.streams import Stream
from standins.kalshi.values import MICRO, MS, SECOND, Json
from standins.kalshi.venue import Venue

PREFIX: Final = "/trade-api/v2"
WS_PATH: Final = "/trade-api/ws/v2"
HEARTBEAT_S: Final = 10.0
TICK_S: Final = 0.004
STREAM_FIRST_MS: Final = 2.0
HAZARD_STEP_S: Final = 1.0  # venue time between looks at the hazards
RESTRICTED: Final = ("Sports", "Elections", "Entertainment")

# method, path, handler; private ones need a key. What is most special comes first.
_P, _O, _G = "/portfolio", "/portfolio/events/orders", "/portfolio/order_groups"
PUBLIC_ROUTES: Final = (
    ("/exchange/status", "status"), ("/exchange/schedule", "schedule"),
    ("/account/endpoint_costs", "endpoint_costs"),
    ("/markets/trades", "trades"), ("/markets/orderbooks", "orderbooks"),
    ("/markets/candlesticks", "many_candlesticks"), ("/markets", "markets"),
    ("/markets/{ticker}", "market"), ("/markets/{ticker}/orderbook", "orderbook"),
    ("/series/{series_ticker}/markets/{ticker}/candlesticks", "candlesticks"),
    ("/events/fee_changes", "event_fee_changes"), ("/events/multivariate", "no_events"),
    ("/events", "events"), ("/events/{event_ticker}", "event"),
    ("/events/{event_ticker}/metadata", "event_metadata"),
    ("/series/fee_changes", "series_fee_changes"), ("/series", "series_list"),
    ("/series/{series_ticker}", "series"), ("/incentive_programs", "incentive_programs"),
    ("/milestones", "milestones"), ("/milestones/{milestone_id}", "milestone"),
    ("/historical/cutoff", "cutoff"), ("/historical/markets", "old_markets"),
    ("/historical/trades", "old_trades"),
)  # fmt: skip
PRIVATE_ROUTES: Final = (
    ("POST", f"{_O}/batched", "create_batch"), ("DELETE", f"{_O}/batched", "cancel_batch"),
    ("POST", _O, "create"), ("DELETE", _O, "cancel_all"), ("DELETE", f"{_O}/{{order_id}}", "cancel"),
    ("POST", f"{_O}/{{order_id}}/amend", "amend"), ("POST", f"{_O}/{{order_id}}/decrease", "decrease"),
    ("GET", f"{_P}/orders/queue_positions", "queue_positions"), ("GET", f"{_P}/orders", "orders"),
    ("GET", f"{_P}/orders/{{order_id}}", "order"),
    ("GET", f"{_P}/orders/{{order_id}}/queue_position", "queue_position"),
    ("POST", f"{_G}/create", "create_group"), ("GET", _G, "groups"),
    ("GET", f"{_G}/{{order_group_id}}", "group"), ("DELETE", f"{_G}/{{order_group_id}}", "delete_group"),
    ("PUT", f"{_G}/{{order_group_id}}/limit", "limit_group"),
    ("PUT", f"{_G}/{{order_group_id}}/trigger", "trigger_group"),
    ("PUT", f"{_G}/{{order_group_id}}/reset", "reset_group"),
    ("GET", f"{_P}/fills", "fills"), ("GET", f"{_P}/positions", "positions"),
    ("GET", f"{_P}/settlements", "settlements"), ("GET", f"{_P}/balance", "balance"),
    ("GET", f"{_P}/summary/total_resting_order_value", "resting_value"),
    ("GET", f"{_P}/subaccounts/balances", "subaccount_balances"),
    ("GET", f"{_P}/subaccounts/netting", "netting"),
    ("POST", f"{_P}/intra_exchange_instance_transfer", "transfer"),
    ("GET", f"{_P}/intra_exchange_instance_transfers", "transfer_list"),
    ("GET", f"{_P}/intra_exchange_instance_transfers/{{transfer_id}}", "transfer_of"),
    ("GET", "/account/limits", "account_limits"), ("POST", "/account/api_usage_level/upgrade", "upgrade"),
    ("GET", "/api_keys", "api_keys"), ("GET", "/historical/orders", "old_orders"),
    ("GET", "/historical/fills", "old_fills"), ("GET", "/historical/positions", "old_positions"),
)  # fmt: skip
DEAD_ROUTES: Final = (
    ("POST", f"{_P}/orders"), ("DELETE", f"{_P}/orders/{{order_id}}"),
    ("POST", f"{_P}/orders/{{order_id}}/amend"),
    ("POST", f"{_P}/orders/{{order_id}}/decrease"), ("POST", f"{_P}/orders/batched"),
    ("DELETE", f"{_P}/orders/batched"),
)  # fmt: skip
CREATED: Final = ("create", "create_batch", "create_group")
LAGGED: Final = ("orders", "order", "fills", "positions", "settlements", "balance", "user_data_timestamp")


class KalshiStandIn:
    """A venue, its server and its time.

    `speed` venue seconds pass in a second from `start_ns` (by default the machine's time) on; 0: time passes
    only with `pass_time`. `monotonic_ns` is the clock that a second is measured by, and every `tick_s` of it
    the venue looks at what is due. `cash_dollars` lies on each of `shards`. `key` signs with Ed25519,
    `rsa_key` (made when first asked for) with RSA-PSS; `keys` adds others.
    """

    def __init__(
        self, catalog: Catalog | None = None, *, port: int = 0, speed: float = 1.0,
        start_ns: int | None = None, tier: str = "basic", cash_dollars: float = 10_000.0,
        shards: Sequence[int] = (0, 1, 2, 3), faults: Mapping[str, Any] | None = None, seed: int = 1,
        keys: Sequence[ApiKey] = (), direct_member: bool = True, skew_ms: int = 10_000,
        monotonic_ns: Callable[[], int] = time.monotonic_ns, tick_s: float = TICK_S,
    ) -> None:  # fmt: skip
        self.speed = speed
        self.tick_s = tick_s
        self._monotonic_ns = monotonic_ns
        self.faults = FaultBox(faults, seed=seed)
        start, self._wall_ns = time.time_ns() if start_ns is None else start_ns, monotonic_ns()
        cash = dict.fromkeys(shards, round(cash_dollars * MICRO))
        self.venue = Venue(
            catalog or small_catalog(), start_ns=start, cash_micros=cash, faults=self.faults,
            direct_member=direct_member,
        )  # fmt: skip
        self.venue.publish = self._publish
        self.key = new_key()
        self.doorkeeper = Doorkeeper([self.key, *keys], skew_ms=skew_ms)
        self.limits = Limits(tier, list(shards), start)
        self.desk = Desk(self.venue)
        self.public = Public(self.venue)
        self.portfolio = Portfolio(self.venue, self.desk, self.limits, self.doorkeeper)
        self.controls = Controls(self)
        self.streams: dict[Stream, web.Request] = {}
        self.requests: Counter[str] = Counter()
        self.watchers: list[Callable[[web.Request, bytes], None]] = []  # are shown every request
        self.rewrites: dict[str, Callable[[Any], Any]] = {}  # by handler: its answers, changed
        self.port = port
        self._rsa: ApiKey | None = None
        self._start_ns = self._manual_ns = start
        self._hazard_ns = self._index_ns = start - 1
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        self._add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._tasks = [asyncio.create_task(self._run())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in list(self.streams):
            self.cut(stream)
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The REST base."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    @property
    def ws_url(self) -> str:
        """The WebSocket."""
        return f"ws://127.0.0.1:{self.port}{WS_PATH}"

    @property
    def admin_url(self) -> str:
        """Where faults are set and actions done."""
        return f"http://127.0.0.1:{self.port}/admin"

    @property
    def rsa_key(self) -> ApiKey:
        """A key that signs with RSA-PSS."""
        if self._rsa is None:
            self._rsa = new_key("rsa")
            self.doorkeeper.keys[self._rsa.id] = self._rsa
        return self._rsa

    # --- time -------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The venue's time."""
        if not self.speed:
            return self._manual_ns
        return self._start_ns + round((self._monotonic_ns() - self._wall_ns) * self.speed)

    def pass_time(self, seconds: float) -> None:
        """Let venue time pass at once, with a `speed` of 0."""
        self._manual_ns += int(seconds * SECOND)
        self.catch_up()

    def catch_up(self) -> None:
        """Let everything up to now happen and tell it."""
        now_ns = self.now_ns()
        self.venue.catch_up(now_ns)
        if now_ns - self._hazard_ns >= HAZARD_STEP_S * SECOND:
            span_s, self._hazard_ns = (now_ns - self._hazard_ns) / SECOND, now_ns
            for name in self.faults.due(span_s):
                self.controls.hazard(name)
            for stream in self.streams:
                stream.release_late()
            self.venue.flush()

    async def _run(self) -> None:
        while True:
            self.catch_up()
            await asyncio.sleep(self.tick_s)

    def do(self, action: str, **arguments: Any) -> Any:
        """An action of `Controls`, now."""
        return self.controls.do(action, **arguments)

    # --- streams ----------------------------------------------------------------------------------

    def _publish(self, notes: Sequence[Note]) -> None:
        for stream in self.streams:
            stream.tell(notes)

    def cut(self, stream: Stream) -> None:
        """Drop a connection without a close frame."""
        request = self.streams.pop(stream, None)
        if request is not None and request.transport is not None:
            request.transport.abort()

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        self.catch_up()
        self.requests["ws"] += 1
        for watch in self.watchers:
            watch(request, b"")
        try:
            self._require_key(request)
            self._check_upgrade()
        except RefusedError as error:
            return web.json_response(error.body, status=error.status)
        socket = web.WebSocketResponse(max_msg_size=64 << 20, compress=False, autoping=False)
        await socket.prepare(request)
        stream = Stream(self.venue, socket, self.now_ns)
        self.streams[stream] = request
        tasks = [asyncio.create_task(stream.write()), asyncio.create_task(self._beat(socket))]
        try:
            await stream.read(self.catch_up)
        finally:
            self.streams.pop(stream, None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    def _check_upgrade(self) -> None:
        if self.faults.hits("refuse_upgrade"):
            raise RefusedError(502, {"code": "bad_gateway", "message": "bad gateway"})

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await asyncio.sleep(max(HEARTBEAT_S / (self.speed or 1.0), 0.05))
            with suppress(ConnectionError, RuntimeError):
                await socket.ping(b"heartbeat")

    # --- requests ---------------------------------------------------------------------------------

    def _add_routes(self, app: web.Application) -> None:
        add = app.router.add_route
        add("GET", WS_PATH, self._serve_stream)
        for path, name in PUBLIC_ROUTES:
            add("GET", PREFIX + path, self._handler(getattr(self.public, name), name, private=False))
        stamp = self._handler(self.public.user_data_timestamp, "user_data_timestamp", private=True)
        add("GET", f"{PREFIX}/exchange/user_data_timestamp", stamp)
        for method, path, name in PRIVATE_ROUTES:
            add(method, PREFIX + path, self._handler(getattr(self.portfolio, name), name, private=True))
        for method, path in DEAD_ROUTES:
            add(method, PREFIX + path, self._handler(_dead, "dead", private=True))
        add("GET", "/admin/faults", self._admin_faults)
        add("POST", "/admin/faults", self._admin_faults)
        add("POST", "/admin/do", self._admin_do)
        add("GET", "/admin/truth", self._admin_truth)
        add("*", "/{rest:.*}", self._handler(_nowhere, "unknown", private=False))

    def _require_key(self, request: web.Request) -> ApiKey:
        key = self._key(request)
        if key is None:
            raise refused(401, "authentication_error", "MISSING_HEADERS")
        return key

    def _key(self, request: web.Request) -> ApiKey | None:
        ahead = int(self.faults.number("clock_skew_ms") * MS)
        clocks = (self.now_ns() + ahead, time.time_ns() + ahead)
        return self.doorkeeper.check(request.headers, request.method, request.path, clocks)

    def _handler(
        self, handle: Callable[[Ask], Any], name: str, *, private: bool
    ) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            self.catch_up()
            self.requests[name] += 1
            for watch in self.watchers:
                watch(request, raw)
            try:
                fate = self._admit(request, raw, name, private=private)
                if fate is not None:
                    return await self._answer(request, fate.status, fate.body)
                body = handle(self._ask(request, raw, name))
                body = self.rewrites[name](body) if name in self.rewrites else body
                self.venue.flush()
                status = 201 if name in CREATED else 204 if body is None else 200
            except RefusedError as error:
                self.venue.flush()
                status, body = error.status, error.body
            return await self._outcome(request, status, body)

        return serve

    def _admit(self, request: web.Request, raw: bytes, name: str, *, private: bool) -> RefusedError | None:
        """Key, scope, tokens; then the faults that strike before anything is done."""
        key = self._require_key(request) if private else self._key(request)
        if key is not None:
            path = request.path.removeprefix(PREFIX)
            if not allows(key, request.method, path):
                return refused(403, "forbidden", "insufficient scope")
            if not _in_subaccount(key, request, raw):
                return refused(403, "forbidden", "the key is restricted to another subaccount")
            if not self._pay(request, raw, path):
                return RefusedError(429, TOO_MANY)
        if name in ("create", "create_batch") and self._is_outside(raw):
            return refused(403, "forbidden", "location attestation expired")
        write = request.method != "GET"
        if private and self.faults.hits("too_many_requests"):
            return RefusedError(429, TOO_MANY)
        if write and self.faults.hits("error_before_apply"):
            return RefusedError(500, {"code": "internal_error", "message": "internal server error"})
        if write and self.faults.hits("lost_request"):
            return RefusedError(0, {})
        if private and not write and self.faults.hits("read_error"):
            return RefusedError(504, {"code": "timeout", "message": "upstream timeout"})
        return None

    def _pay(self, request: web.Request, raw: bytes, path: str) -> bool:
        fields = dict(request.query) | _object(raw)
        shard = _shard(fields.get("exchange_index"))
        batch = path.endswith("/batched")
        items = len(fields["orders"]) if batch and isinstance(fields.get("orders"), list) else 1
        single = "/events/orders" in path and not batch
        routed = single and shard is None and ("ticker" in fields or "market_ticker" in fields)
        return self.limits.take(
            self.now_ns(), request.method, path, items=max(items, 1), shard=None if batch else shard,
            routed=routed,
        )  # fmt: skip

    def _is_outside(self, raw: bytes) -> bool:
        """Whether an order is for a category that the expired location attestation no longer covers."""
        expires = self.doorkeeper.region_expires_s
        if expires is None or expires * SECOND > self.now_ns():
            return False
        body = _object(raw)
        items = body["orders"] if isinstance(body.get("orders"), list) else [body]
        for item in items:
            market = self.venue.by_ticker.get(str(item.get("ticker"))) if isinstance(item, dict) else None
            if market is not None:
                series = self.venue.events[market.spec.event].series
                if self.venue.series[series].category in RESTRICTED:
                    return True
        return False

    def _ask(self, request: web.Request, raw: bytes, name: str) -> Ask:
        body: Json = {}
        if request.method != "GET" and raw:
            try:
                body = msgspec.json.decode(raw)
            except msgspec.DecodeError as error:
                raise undecodable(str(error)) from None
            if not isinstance(body, dict):
                raise undecodable("the body must be an object")
        now_ns = self.venue.now_ns
        if name not in LAGGED:
            return Ask(request.match_info, request.query, body, now_ns, now_ns)
        lag_ns = int(self.faults.draw("read_lag_ms") * MS)
        self._index_ns = max(self._index_ns, now_ns - lag_ns)  # what reads have shown they go on showing
        return Ask(request.match_info, request.query, body, now_ns, self._index_ns)

    async def _outcome(self, request: web.Request, status: int, body: Json | None) -> web.StreamResponse:
        """What of the answer arrives."""
        if request.method != "GET" and status < 300:
            if self.faults.hits("error_after_apply"):
                status, body = 503, {"code": "service_unavailable", "message": "service unavailable"}
            elif self.faults.hits("lost_answer"):
                status = 0
            elif status != 204 and self.faults.hits("malformed_answer"):
                return web.Response(status=status, body=b'{"order_id":', content_type="application/json")
        delay_ms = self.faults.draw("answer_delay_ms")
        if self.faults.hits("stream_first"):
            delay_ms = max(delay_ms, STREAM_FIRST_MS)
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        return await self._answer(request, status, body)

    async def _answer(self, request: web.Request, status: int, body: Json | None) -> web.StreamResponse:
        if status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        ahead_s = self.faults.number("clock_skew_ms") / 1000
        date = {"Date": formatdate(self.now_ns() / SECOND + ahead_s, usegmt=True)}
        if body is None:
            return web.Response(status=status, headers=date)
        raw = msgspec.json.encode(body)
        return web.Response(status=status, body=raw, content_type="application/json", headers=date)

    # --- the admin endpoint -----------------------------------------------------------------------

    async def _admin_faults(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            try:
                self.faults.change(await request.json())
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"settings": self.faults.settings, "fired": dict(self.faults.fired)})

    async def _admin_do(self, request: web.Request) -> web.Response:
        arguments = dict(await request.json())
        try:
            result = self.do(arguments.pop("action", ""), **arguments)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except RefusedError as error:
            return web.json_response(error.body, status=error.status)
        return web.json_response({"result": result})

    async def _admin_truth(self, _request: web.Request) -> web.Response:
        self.catch_up()
        return web.json_response(self.controls.truth())


def _object(raw: bytes) -> Json:
    try:
        body = msgspec.json.decode(raw) if raw else {}
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _in_subaccount(key: ApiKey, request: web.Request, raw: bytes) -> bool:
    """Whether a request names the subaccount that its key is restricted to, or none."""
    fields = dict(request.query) | _object(raw)
    asked = _shard(fields.get("subaccount", key.subaccount))
    return key.subaccount is None or asked == key.subaccount


def _shard(given: Any) -> int | None:
    """A shard as a body or a query names it; None: it does not."""
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() else None


def _dead(_ask: Ask) -> Json:
    raise refused(410, "deprecated_v1_order_endpoint")


def _nowhere(_ask: Ask) -> Json:
    raise not_found()
