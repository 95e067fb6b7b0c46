"""The stand-in's server: CLOB, Gamma, relayer, a node and both channels on loopback, and an admin endpoint.

async with PolymarketStandIn(small_catalog(), faults={"trade_failed": 0.1}) as server:
    client = Client(server.url, server.market_ws_url, server.user_ws_url, server.private_key)
    server.do("take", market="plain-0", taker="ask", price="0.48", shares="5")
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import msgspec
from aiohttp import web

from standins.polymarket.asking import Ask
from standins.polymarket.auth import ApiKey, Doorkeeper
from standins.polymarket.catalog import Catalog, small_catalog
from standins.polymarket.chain import Chain, relayer_key
from standins.polymarket.controls import Controls
from standins.polymarket.crypto import address_of
from standins.polymarket.desk import Desk
from standins.polymarket.errors import RefusedError, refused
from standins.polymarket.faults import FaultBox
from standins.polymarket.limits import Limits
from standins.polymarket.public import Public, geoblock
from standins.polymarket.reads import Reads
from standins.polymarket.relayer import Relayer
from standins.polymarket.state import Account, Note
from standins.polymarket.streams import MarketStream, Stream, UserStream
from standins.polymarket.values import MICRO, MS, SECOND, Json
from standins.polymarket.venue import RESTARTING, Venue

PRIVATE_KEY: Final = "0x" + "11" * 32
TICK_S: Final = 0.004
STREAM_FIRST_MS: Final = 2.0
HAZARD_STEP_S: Final = 1.0  # venue time between looks at the hazards

PUBLIC_ROUTES: Final = (
    ("GET", "/ok", "ok"), ("GET", "/time", "time"), ("GET", "/version", "version"), ("GET", "/book", "book"),
    ("POST", "/books", "books"), ("GET", "/midpoint", "midpoint"), ("POST", "/midpoints", "midpoints"),
    ("GET", "/price", "price"), ("POST", "/prices", "prices"), ("GET", "/spread", "spread"),
    ("POST", "/spreads", "spreads"), ("GET", "/last-trade-price", "last_price"),
    ("POST", "/last-trades-prices", "last_prices"), ("GET", "/tick-size", "tick_size"),
    ("GET", "/neg-risk", "neg_risk"), ("GET", "/fee-rate", "fee_rate"),
    ("GET", "/markets-by-token/{token}", "by_token"), ("GET", "/clob-markets/{condition}", "clob_market"),
    ("GET", "/markets/{condition}", "market"), ("GET", "/prices-history", "history"),
    ("GET", "/rewards/markets/current", "rewards_now"), ("GET", "/rewards/markets/{condition}", "rewards_of"),
    ("GET", "/rebates/current", "rebates"), ("GET", "/gamma/markets/keyset", "gamma_markets"),
    ("GET", "/gamma/markets", "gamma_list"), ("GET", "/gamma/markets/{market_id}", "gamma_market"),
    ("GET", "/gamma/events/keyset", "gamma_events"), ("GET", "/gamma/events", "gamma_event_list"),
)  # fmt: skip
READ_ROUTES: Final = (
    ("GET", "/data/orders", "orders"), ("GET", "/data/order/{order_id}", "order"),
    ("GET", "/data/trades", "trades"), ("GET", "/balance-allowance", "balance"),
    ("GET", "/balance-allowance/update", "balance"), ("GET", "/order-scoring", "scoring"),
    ("POST", "/orders-scoring", "scorings"), ("GET", "/rewards/user", "earnings"),
    ("GET", "/rewards/user/total", "total_earnings"), ("GET", "/rewards/user/percentages", "percentages"),
    ("GET", "/auth/api-keys", "keys"), ("DELETE", "/auth/api-key", "delete_key"),
    ("GET", "/auth/ban-status/closed-only", "closed_only"), ("GET", "/v1/user/rate-limit-tier", "tier"),
    ("GET", "/notifications", "notifications"),
)  # fmt: skip
DESK_ROUTES: Final = (
    ("POST", "/order", "place"), ("POST", "/orders", "place_many"), ("DELETE", "/order", "cancel"),
    ("DELETE", "/orders", "cancel_many"), ("DELETE", "/cancel-all", "cancel_all"),
    ("DELETE", "/cancel-market-orders", "cancel_market"), ("POST", "/v1/heartbeats", "heartbeat"),
)  # fmt: skip
RELAYER_ROUTES: Final = (
    ("GET", "/relayer/deployed", "deployed"), ("GET", "/relayer/v1/account/transactions/params", "params"),
    ("GET", "/relayer/v1/account/transactions/{transaction_id}", "transaction"),
    ("POST", "/relayer/submit", "submit"),
)  # fmt: skip
PLACES: Final = ("place", "place_many")
CANCELS: Final = ("cancel", "cancel_many", "cancel_all", "cancel_market")
LAGGED: Final = ("orders", "order", "trades", "balance")


class PolymarketStandIn:
    """A venue, its server and its time.

    `speed` venue seconds pass in a second from `start_ns` (by default the machine's time) on; 0: time passes
    only with `pass_time`. The wallet of `private_key` is there from the start with `cash_dollars`; others get
    as much when they first ask for an API key, or from `open_account`.
    """

    def __init__(
        self, catalog: Catalog | None = None, *, port: int = 0, speed: float = 1.0,
        start_ns: int | None = None, tier: str = "standard", cash_dollars: float = 10_000.0,
        faults: Mapping[str, Any] | None = None, seed: int = 1, private_key: str = PRIVATE_KEY,
        monotonic_ns: Callable[[], int] = time.monotonic_ns, tick_s: float = TICK_S,
    ) -> None:  # fmt: skip
        self._monotonic_ns, self._tick_s = monotonic_ns, tick_s
        self.speed = speed
        self.faults = FaultBox(faults, seed=seed)
        start = time.time_ns() if start_ns is None else start_ns
        self.venue = Venue(catalog or small_catalog(), start_ns=start, faults=self.faults)
        self.cash_micros = round(cash_dollars * MICRO)
        self.private_key = private_key
        self.address = address_of(private_key)
        self.account = self.venue.open_account(self.address, cash_micros=self.cash_micros)
        self.doorkeeper = Doorkeeper()
        self.limits = Limits(tier)
        self.desk = Desk(self.venue)
        self.public = Public(self.venue)
        self.reads = Reads(self.venue, self.doorkeeper, self.limits)
        self.chain = Chain(self.venue)
        self.relayer = Relayer(self.venue, self.chain)
        self.controls = Controls(self)
        self.streams: dict[Stream, web.Request] = {}
        self.watchers: list[Callable[[web.Request, bytes], None]] = []  # are shown every request
        self.rewrites: dict[str, Callable[[Any], Any]] = {}  # by handler: its answers, changed
        self.requests: Counter[str] = Counter()
        self.port = port
        self._start_ns = self._manual_ns = start
        self._wall_ns = monotonic_ns()
        self._hazard_ns = start
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        self._add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._wall_ns = self._monotonic_ns()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for stream in list(self.streams):
            self.cut(stream)
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The CLOB's REST base; `gamma_url`, `relayer_url`, `rpc_url` and `geoblock_url` lie below it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gamma_url(self) -> str:
        """Gamma."""
        return f"{self.url}/gamma"

    @property
    def relayer_url(self) -> str:
        """The relayer."""
        return f"{self.url}/relayer"

    @property
    def rpc_url(self) -> str:
        """The node."""
        return f"{self.url}/rpc"

    @property
    def geoblock_url(self) -> str:
        """Where one is."""
        return f"{self.url}/api/geoblock"

    @property
    def market_ws_url(self) -> str:
        """The market channel."""
        return f"ws://127.0.0.1:{self.port}/ws/market"

    @property
    def user_ws_url(self) -> str:
        """The user channel."""
        return f"ws://127.0.0.1:{self.port}/ws/user"

    @property
    def admin_url(self) -> str:
        """Where faults are set and actions done."""
        return f"{self.url}/admin"

    def open_account(self, owner: str, **given: Any) -> Account:
        """A wallet with money: `wallet`, `kind` (signature type), `approved`, `deployed`, `cash_micros`."""
        self.catch_up()
        return self.venue.open_account(owner, **{"cash_micros": self.cash_micros, **given})

    def relayer_key(self, owner: str = "") -> str:
        """The relayer API key of an owner."""
        return relayer_key(owner or self.address)

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
            await asyncio.sleep(self._tick_s)

    def do(self, action: str, **arguments: Any) -> Any:
        """An action of `Controls`, now."""
        return self.controls.do(action, **arguments)

    # --- streams ----------------------------------------------------------------------------------

    def _publish(self, notes: list[Note]) -> None:
        for stream in self.streams:
            stream.tell(notes)

    def cut(self, stream: Stream) -> None:
        """Drop a connection without a close frame."""
        request = self._forget(stream)
        if request is not None and request.transport is not None:
            request.transport.abort()

    def _forget(self, stream: Stream) -> web.Request | None:
        """A connection is gone; with the last one nothing needs to be told."""
        request = self.streams.pop(stream, None)
        if not self.streams:
            self.venue.publish = None
        return request

    def _channel(
        self, make: Callable[[web.WebSocketResponse], Stream], name: str
    ) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            self.catch_up()
            self.requests[name] += 1
            if self.faults.hits("refuse_upgrade"):
                return web.Response(status=502, text="bad gateway")
            socket = web.WebSocketResponse(max_msg_size=64 << 20, compress=False)
            await socket.prepare(request)
            stream = make(socket)
            self.streams[stream] = request
            self.venue.publish = self._publish
            task = asyncio.create_task(stream.write())
            try:
                await stream.read(self.catch_up)
            finally:
                self._forget(stream)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return socket

        return serve

    def _market_stream(self, socket: web.WebSocketResponse) -> Stream:
        return MarketStream(self.venue, socket, self.now_ns)

    def _user_stream(self, socket: web.WebSocketResponse) -> Stream:
        return UserStream(self.venue, socket, self.now_ns, self.doorkeeper)

    # --- requests ---------------------------------------------------------------------------------

    def _add_routes(self, app: web.Application) -> None:
        add = app.router.add_route
        add("GET", "/ws/market", self._channel(self._market_stream, "ws_market"))
        add("GET", "/ws/user", self._channel(self._user_stream, "ws_user"))
        add("POST", "/auth/api-key", self._handler(self._create_key, "create_key", level=1))
        add("GET", "/auth/derive-api-key", self._handler(self._derive_key, "derive_key", level=1))
        for routes, holder, level in (
            (PUBLIC_ROUTES, self.public, 0), (READ_ROUTES, self.reads, 2), (DESK_ROUTES, self.desk, 2),
            (RELAYER_ROUTES, self.relayer, 0),
        ):  # fmt: skip
            for method, path, name in routes:
                add(method, path, self._handler(getattr(holder, name), name, level=level))
        add("POST", "/rpc", self._handler(lambda ask: self.chain.rpc(ask.body), "rpc", level=0))
        add("GET", "/api/geoblock", self._handler(self._geoblock, "geoblock", level=0))
        add("GET", "/admin/faults", self._admin_faults)
        add("POST", "/admin/faults", self._admin_faults)
        add("POST", "/admin/do", self._admin_do)
        add("GET", "/admin/truth", self._admin_truth)
        add("*", "/{rest:.*}", self._handler(_nowhere, "unknown", level=0))

    def _geoblock(self, _ask: Ask) -> Json:
        return geoblock(blocked=self.faults.number("geoblocked") >= 1)

    def _clocks(self) -> tuple[int, int]:
        ahead = int(self.faults.number("clock_skew_ms") * MS)
        return self.now_ns() + ahead, time.time_ns() + ahead

    def _create_key(self, ask: Ask) -> Json:
        owner, nonce = self.doorkeeper.level_1(ask.headers, self._clocks())
        key = self.doorkeeper.create(owner, nonce)
        self.venue.owner_of[key.id] = owner
        if self.venue.account_of(owner) is None:
            self.open_account(owner)
        return key.json()

    def _derive_key(self, ask: Ask) -> Json:
        return self.doorkeeper.derive(*self.doorkeeper.level_1(ask.headers, self._clocks())).json()

    def _handler(
        self, handle: Callable[[Ask], Any], name: str, *, level: int
    ) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            self.catch_up()
            self.requests[name] += 1
            told: dict[str, str] = {}
            try:
                for watch in self.watchers:  # one that raises a `RefusedError` answers with it
                    watch(request, raw)
                ask = self._ask(request, raw, name, level)
                told = self._admit(ask, name, level)
                await self._hold(ask, name)
                body = handle(ask)
                self._settle_up(ask, name, body, told)
                body = self.rewrites[name](body) if name in self.rewrites else body
                self.venue.flush()
                status = 200
            except RefusedError as error:
                self.venue.flush()
                status, body, told = error.status, error.body, told | error.headers
            writes = status == 200 and (name in PLACES or name in CANCELS)
            return await self._outcome(request, status, body, told, writes=writes, name=name)

        return serve

    def _ask(self, request: web.Request, raw: bytes, name: str, level: int) -> Ask:
        key: ApiKey | None = None
        if name in PLACES and self.faults.hits("geoblocked"):
            raise refused(403, "Trading restricted in your region, please refer to available regions")
        if level == 2:
            text = raw.decode("utf-8", "replace")
            key = self.doorkeeper.level_2(request.headers, request.method, request.path, text, self._clocks())
        body: Any = None
        if raw:
            try:
                body = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                raise refused(400, "Invalid order payload") from None
        lag_ns = int(self.faults.draw("read_lag_ms") * MS) if name in LAGGED else 0
        now_ns = self.venue.now_ns
        return Ask(request.match_info, request.query, body, now_ns, now_ns - lag_ns, key, request.headers)

    def _admit(self, ask: Ask, name: str, level: int) -> dict[str, str]:
        """Restarts, tokens, and the faults that strike before anything is done; headers of the bucket."""
        if name not in PLACES and name not in CANCELS:
            if level == 2 and name != "heartbeat" and self.faults.hits("read_error"):
                raise RefusedError(504, "upstream request timeout")
            return {}
        if self.venue.mode == RESTARTING:
            raise RefusedError(425, {"error": "service not ready"}, {"Retry-After": "1"})
        kind = "orders" if name in PLACES else "cancels"
        items = len(ask.body) if isinstance(ask.body, list) else 1
        debt = name in ("cancel_all", "cancel_market")
        short = not self.limits.take(ask.now_ns, ask.owner, kind, items, debt=debt)
        if short or self.faults.hits("too_many_requests"):
            told = self.limits.headers(ask.now_ns, ask.owner, kind, refused=True)
            raise RefusedError(429, {"error": "order rate limit exceeded"}, told)
        if name in PLACES and self.faults.hits("order_timed_out"):
            raise refused(500, "order timed out")
        if self.faults.hits("error_before_apply"):
            raise refused(500, "internal server error")
        if self.faults.hits("ip_limit_before"):
            raise RefusedError(429, "Too Many Requests")
        if self.faults.hits("lost_request"):
            raise RefusedError(0, "")
        return self.limits.headers(ask.now_ns, ask.owner, kind)

    async def _hold(self, ask: Ask, name: str) -> None:
        """Where takers wait, so does their request."""
        hold_ms = self.desk.hold_ms(ask.body) if name in PLACES else 0
        if hold_ms and self.speed:
            await asyncio.sleep(hold_ms / 1000 / self.speed)
            self.catch_up()

    def _settle_up(self, ask: Ask, name: str, body: Any, told: dict[str, str]) -> None:
        """A cancel of many costs what it cancelled, whatever is left in the bucket."""
        if name in ("cancel_all", "cancel_market"):
            self.limits.charge(ask.now_ns, ask.owner, "cancels", len(body["canceled"]))
            told |= self.limits.headers(ask.now_ns, ask.owner, "cancels")

    async def _outcome(
        self, request: web.Request, status: int, body: Any, told: Mapping[str, str], *, writes: bool,
        name: str,
    ) -> web.StreamResponse:  # fmt: skip
        """What of the answer arrives."""
        if writes:
            if self.faults.hits("error_after_apply"):
                status, body = 502, "bad gateway"
            elif self.faults.hits("lost_answer"):
                status = 0
            elif self.faults.hits("ip_limit_after"):
                status, body, told = 429, "Too Many Requests", {}
            elif self.faults.hits("malformed_answer"):
                return web.Response(body=b'{"success":true,"orderID', content_type="application/json")
            elif name in PLACES and self.faults.hits("null_fields"):
                legs = body if isinstance(body, list) else [body]
                for leg in legs:
                    leg |= {"errorMsg": leg["errorMsg"] or None, "makingAmount": None}
        delay_ms = self.faults.draw("answer_delay_ms")
        if writes and self.faults.hits("stream_first"):
            delay_ms = max(delay_ms, STREAM_FIRST_MS)
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        if status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if isinstance(body, str) and status >= 400:
            return web.Response(status=status, text=body, headers=told)
        raw = msgspec.json.encode(body)
        return web.Response(status=status, body=raw, content_type="application/json", headers=told)

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
        return web.json_response({"result": result})

    async def _admin_truth(self, _request: web.Request) -> web.Response:
        self.catch_up()
        return web.json_response(self.controls.truth())


def _nowhere(_ask: Ask) -> Json:
    raise refused(404, "not found")
