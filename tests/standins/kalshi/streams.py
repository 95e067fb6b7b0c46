"""The WebSocket side: one connection's subscriptions, numbers, frames and what goes wrong with them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import WSMsgType, web

from standins.kalshi.state import OUTCOME, BookChange, MarketState, Note
from standins.kalshi.values import ASK, BID, MS, Json, count_text, no_price, price_text

if TYPE_CHECKING:
    from standins.kalshi.faults import FaultBox
    from standins.kalshi.venue import Venue

NUMBERED: Final = frozenset(
    {"orderbook_delta", "trade", "market_lifecycle_v2", "multivariate_market_lifecycle",
     "order_group_updates", "communications"}
)  # fmt: skip
PRIVATE: Final = frozenset({"fill", "user_orders", "market_positions", "order_group_updates"})
FILTERED: Final = frozenset({"orderbook_delta", "trade", "ticker", "fill", "user_orders", "market_positions"})
CHANNELS: Final = NUMBERED | PRIVATE | {"ticker"}
ERRORS: Final = {
    1: "Unable to process message", 2: "Params required", 3: "Channels required",
    4: "Subscription IDs required", 5: "Unknown command", 7: "Unknown subscription ID",
    8: "Unknown channel name", 9: "Authentication required", 10: "Channel error", 11: "Invalid parameter",
    12: "Exactly one subscription ID is required", 13: "Unsupported action", 14: "Market ticker required",
    15: "Action required", 25: "Subscription buffer overflow", 26: "Subscription market limit exceeded",
    27: "Too many commands",
}  # fmt: skip
BUFFER_FRAMES: Final = 50_000
MAX_MARKETS: Final = 500_000


class Subscription:
    """One channel of a connection. `markets` None: all of them."""

    def __init__(self, sid: int, channel: str) -> None:
        self.sid = sid
        self.channel = channel
        self.seq = 0
        self.markets: dict[int, None] | None = None
        self.yes_prices = False

    def wants(self, market: int) -> bool:
        """Whether a note of a market goes to it."""
        return market < 0 or self.markets is None or market in self.markets


class Stream:
    """One connection."""

    def __init__(self, venue: Venue, socket: web.WebSocketResponse, clock: Callable[[], int]) -> None:
        self.venue = venue
        self.faults: FaultBox = venue.faults
        self.socket = socket
        self.subs: dict[int, Subscription] = {}
        self.by_channel: dict[str, Subscription] = {}
        self.frozen_until_ns = 0
        self.sent = 0
        self.pongs = 0  # answers to our heartbeats
        self.commands: deque[Json] = deque(maxlen=10_000)  # as they came
        self.buffer_limit = BUFFER_FRAMES
        self._clock = clock
        self._outbox: deque[bytes] = deque()
        self._late: list[tuple[str, int, Note]] = []
        self._ready = asyncio.Event()
        self._sids = 0

    # --- out --------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Send what is due until the connection ends."""
        while not self.socket.closed:
            await self._ready.wait()
            self._ready.clear()
            while self._outbox and not self.socket.closed:
                delay_ms = self.faults.draw("frame_delay_ms")
                if delay_ms:
                    await asyncio.sleep(delay_ms / 1000)
                frame = self._outbox.popleft()
                try:
                    await self.socket.send_str(frame.decode())
                except (ConnectionError, RuntimeError):
                    return
                self.sent += 1

    def put(self, body: Json) -> None:
        """Any frame, with the time at which it was queued."""
        body["sending_ts_ms"] = self._clock() // MS
        if self._clock() < self.frozen_until_ns:
            return
        frame = msgspec.json.encode(body)
        if self.faults.hits("malformed_frame"):
            frame = frame[: len(frame) // 2]
        self._outbox.append(frame)
        self._ready.set()

    def put_raw(self, frame: bytes) -> None:
        """Bytes as they are."""
        self._outbox.append(frame)
        self._ready.set()

    def numbered(self, sub: Subscription, kind: str, body: Any, **more: Any) -> None:
        """A frame of a subscription, with the next number where its channel has numbers."""
        envelope: Json = {"type": kind, "sid": sub.sid}
        if sub.channel in NUMBERED:
            sub.seq += 1
            envelope["seq"] = sub.seq
            if kind not in ("ok", "unsubscribed", "error") and self.faults.hits("gap"):
                return
        self.put(envelope | more | ({} if body is None else {"msg": body}))

    def error(self, code: int, command: int = 0, sub: Subscription | None = None) -> None:
        """An error frame."""
        body: Json = {"code": code, "msg": ERRORS[code]}
        if sub is not None:
            self.numbered(sub, "error", body, **({"id": command} if command else {}))
        else:
            self.put({"id": command, "type": "error", "msg": body})

    def end(self, sub: Subscription, code: int) -> None:
        """A terminal error: the subscription is dead until the client subscribes again."""
        self.error(code, 0, sub)
        self.subs.pop(sub.sid, None)
        if self.by_channel.get(sub.channel) is sub:
            del self.by_channel[sub.channel]

    def tell(self, notes: Sequence[Note]) -> None:
        """Everything that happened at one moment, to the subscriptions that want it."""
        late, self._late = self._late, []
        for note in notes:
            sub = self.by_channel.get(note.channel)
            if sub is None or not sub.wants(note.market):
                continue
            if len(self._outbox) > self.buffer_limit:
                self._outbox.clear()
                self.end(sub, 25)
                continue
            private = note.channel in PRIVATE
            if private and self.faults.hits("drop_private"):
                continue
            if private and self.faults.hits("reorder_private"):
                self._late.append((note.channel, sub.sid, note))
                continue
            self._send(sub, note)
            if private and self.faults.hits("duplicate_private"):
                self._send(sub, note)
        self._send_late(late)

    def _send_late(self, late: list[tuple[str, int, Note]]) -> None:
        for channel, sid, note in late:
            sub = self.by_channel.get(channel)
            if sub is not None and sub.sid == sid:
                self._send(sub, note)

    def release_late(self) -> None:
        """Send what was held back, though nothing came to pass it."""
        late, self._late = self._late, []
        self._send_late(late)

    def _send(self, sub: Subscription, note: Note) -> None:
        body = note.body
        if isinstance(body, BookChange):
            body = self._change(sub, note.market, body)
        elif note.channel == "fill" or self.faults.settings.get("omit_ts"):
            body = dict(body)
        if "ts_ms" in body and self.faults.hits("omit_ts"):
            body.pop("ts_ms")
        self.numbered(sub, note.type, body)

    def _change(self, sub: Subscription, place: int, change: BookChange) -> Json:
        spec = self.venue.markets[place].spec
        as_no = change.side == ASK and not sub.yes_prices
        body: Json = {
            "market_ticker": spec.ticker, "market_id": spec.id,
            "price_dollars": price_text(no_price(change.price) if as_no else change.price),
            "delta_fp": count_text(change.delta), "side": OUTCOME[change.side], "ts_ms": change.ts_ms,
        }  # fmt: skip
        if change.client_order_id:
            body |= {"client_order_id": change.client_order_id, "subaccount": 0}
        return body

    def _snapshot(self, sub: Subscription, market: MarketState, command: int = 0) -> None:
        body: Json = {"market_ticker": market.spec.ticker, "market_id": market.spec.id}
        bids = sorted(market.shown[BID].items())
        asks = [(p if sub.yes_prices else no_price(p), size) for p, size in market.shown[ASK].items()]
        asks.sort(reverse=sub.yes_prices)
        for name, levels in (("yes_dollars_fp", bids), ("no_dollars_fp", asks)):
            if levels:
                body[name] = [[price_text(p), count_text(size)] for p, size in levels]
        self.numbered(sub, "orderbook_snapshot", body, **({"id": command} if command else {}))

    # --- in ---------------------------------------------------------------------------------------

    async def read(self, before: Callable[[], None]) -> None:
        """Take commands until the connection ends; `before` lets time pass first."""
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                before()
                self.command(message.data)
            elif message.type is WSMsgType.PONG:
                self.pongs += message.data == b"heartbeat"
            elif message.type is WSMsgType.PING:
                await self.socket.pong(message.data)

    def command(self, text: str) -> None:
        """Carry one command out."""
        try:
            body = msgspec.json.decode(text)
        except msgspec.DecodeError:
            self.error(1)
            return
        if not isinstance(body, dict):
            self.error(1)
            return
        self.commands.append(body)
        given = body.get("id")
        number = given if isinstance(given, int) else 0
        params = body.get("params")
        name = str(body.get("cmd"))
        if name == "list_subscriptions":
            held = [{"channel": sub.channel, "sid": sid} for sid, sub in self.subs.items()]
            self.put({"id": number, "type": "ok", "msg": held})
            return
        action = {
            "subscribe": self._subscribe, "unsubscribe": self._unsubscribe,
            "update_subscription": self._update,
        }.get(name)  # fmt: skip
        if action is None:
            self.error(5, number)
        elif not isinstance(params, dict):
            self.error(2, number)
        else:
            action(number, params)

    def _markets(self, params: Json) -> list[MarketState] | int:
        """The markets that parameters name, none where they name none; an error's code."""
        one, many = params.get("market_ticker"), params.get("market_tickers")
        if one is not None and many is not None:
            return 11
        tickers = [one] if one is not None else many or []
        if not isinstance(tickers, list) or not all(isinstance(t, str) for t in tickers):
            return 11
        if len(tickers) > MAX_MARKETS:
            return 26
        found = [self.venue.by_ticker.get(ticker) for ticker in tickers]
        return 11 if None in found else [m for m in found if m is not None]

    def _subscribe(self, number: int, params: Json) -> None:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            self.error(3, number)
            return
        if not all(isinstance(channel, str) and channel in CHANNELS for channel in channels):
            self.error(8, number)
            return
        markets = self._markets(params)
        if isinstance(markets, int):
            self.error(markets, number)
            return
        if "orderbook_delta" in channels and not markets:
            self.error(14, number)
            return
        for channel in channels:
            self._join(number, channel, markets, params)

    def _join(self, number: int, channel: str, markets: list[MarketState], params: Json) -> None:
        sub = self.by_channel.get(channel)
        fresh = sub is None
        if sub is None:
            self._sids += 1
            sub = self.subs[self._sids] = self.by_channel[channel] = Subscription(self._sids, channel)
            sub.yes_prices = params.get("use_yes_price") is True
            if markets and channel in FILTERED:
                sub.markets = {}
            self.put({"id": number, "type": "subscribed", "msg": {"channel": channel, "sid": sub.sid}})
        new = self._add(sub, markets)
        if not fresh:
            self.numbered(sub, "ok", self._held(sub), id=number)
        if channel == "orderbook_delta":
            for market in new:
                self._snapshot(sub, market)
        elif channel == "ticker" and params.get("send_initial_snapshot"):
            for market in new or (self.venue.markets if sub.markets is None else []):
                self.numbered(sub, "ticker", market.ticker_json(self.venue.now_ns))

    def _add(self, sub: Subscription, markets: list[MarketState]) -> list[MarketState]:
        if sub.markets is None:
            return []
        new = [market for market in markets if market.place not in sub.markets]
        sub.markets.update({market.place: None for market in new})
        return new

    def _held(self, sub: Subscription) -> Json:
        places = range(len(self.venue.markets)) if sub.markets is None else sub.markets
        return {"market_tickers": sorted(self.venue.markets[place].spec.ticker for place in places)}

    def _sub_of(self, number: int, params: Json) -> Subscription | None:
        sids = params.get("sids") if "sids" in params else [params["sid"]] if "sid" in params else None
        if not isinstance(sids, list) or len(sids) != 1 or not isinstance(sids[0], int):
            self.error(12, number)
            return None
        sub = self.subs.get(sids[0])
        if sub is None:
            self.error(7, number)
        return sub

    def _unsubscribe(self, number: int, params: Json) -> None:
        sids = params.get("sids")
        if not isinstance(sids, list) or not sids:
            self.error(4, number)
            return
        if not all(isinstance(sid, int) and sid in self.subs for sid in sids):
            self.error(7, number)
            return
        for sid in sids:
            sub = self.subs.pop(sid)
            self.by_channel.pop(sub.channel, None)
            sub.seq += 1
            self.put({"id": number, "sid": sid, "seq": sub.seq, "type": "unsubscribed"})

    def _update(self, number: int, params: Json) -> None:
        action = params.get("action")
        if not action:
            self.error(15, number)
            return
        sub = self._sub_of(number, params)
        if sub is None:
            return
        markets = self._markets(params)
        if isinstance(markets, int):
            self.error(markets, number)
        elif not markets:
            self.error(14, number)
        elif action == "get_snapshot" and sub.channel == "orderbook_delta":
            for market in markets:
                self._snapshot(sub, market, number)
        elif action == "add_markets" and sub.channel in FILTERED:
            new = self._add(sub, markets)
            self.numbered(sub, "ok", self._held(sub), id=number)
            if sub.channel == "orderbook_delta":
                for market in new:
                    self._snapshot(sub, market)
        elif action == "delete_markets" and sub.channel in FILTERED:
            for market in markets:
                if sub.markets is not None:
                    sub.markets.pop(market.place, None)
            self.numbered(sub, "ok", self._held(sub), id=number)
        else:
            self.error(13, number)
