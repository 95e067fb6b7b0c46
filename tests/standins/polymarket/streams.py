"""The WebSocket side: the market and the user channel, their frames, and what goes wrong with them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import WSMsgType, web

from standins.polymarket.book import book_hash
from standins.polymarket.state import Note
from standins.polymarket.values import SECOND, Json, iso_s

if TYPE_CHECKING:
    from standins.polymarket.auth import Doorkeeper
    from standins.polymarket.faults import FaultBox
    from standins.polymarket.venue import Venue

NO_SENSE: Final = "INVALID OPERATION"
PING, PONG = "PING", "PONG"
NUMBERS: Final = ("size_matched", "original_size", "size", "fee_rate_bps")


class Stream:
    """One connection of either channel."""

    def __init__(self, venue: Venue, socket: web.WebSocketResponse, clock: Callable[[], int]) -> None:
        self.venue = venue
        self.faults: FaultBox = venue.faults
        self.socket = socket
        self.frozen_until_ns = 0
        self.sent = 0
        self._clock = clock
        self._outbox: deque[str] = deque()
        self._late: list[Json] = []
        self._ready = asyncio.Event()

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
                try:
                    await self.socket.send_str(self._outbox.popleft())
                except (ConnectionError, RuntimeError):
                    return
                self.sent += 1

    def _queue(self, text: str) -> None:
        self._outbox.append(text)
        self._ready.set()

    def put(self, frames: Sequence[Json], *, array: bool = False) -> None:
        """Frames of one moment, each by itself or all as an array."""
        if not frames or self._clock() < self.frozen_until_ns:
            return
        bodies: list[Any] = [list(frames)] if array else list(frames)
        for body in bodies:
            text = msgspec.json.encode(body).decode()
            self._queue(text[: len(text) // 2] if self.faults.hits("malformed_frame") else text)

    def tell(self, notes: Sequence[Note]) -> None:
        """Everything that happened at one moment, as far as this connection wants it."""
        frames = list(self._chosen(notes))
        self.put(frames, array=len(frames) > 1 and self.faults.hits("array_frames"))

    def _chosen(self, notes: Sequence[Note]) -> Iterable[Json]:
        raise NotImplementedError

    def release_late(self) -> None:
        """Send what was held back, though nothing came to pass it."""
        late, self._late = self._late, []
        self.put(late)

    # --- in ---------------------------------------------------------------------------------------

    async def read(self, before: Callable[[], None]) -> None:
        """Take commands until the connection ends; `before` lets time pass first."""
        async for message in self.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == PING:
                self._queue(PONG)
                continue
            before()
            if not self._command(message.data):
                await self.socket.close()
                return

    def _command(self, text: str) -> bool:
        """Carry one command out; False ends the connection."""
        try:
            body = msgspec.json.decode(text)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict):
            self._queue(NO_SENSE)
            return True
        return self.command(body)

    def command(self, body: Json) -> bool:
        """A command that is an object."""
        raise NotImplementedError


class MarketStream(Stream):
    """Books, prices and trades of assets."""

    def __init__(self, venue: Venue, socket: web.WebSocketResponse, clock: Callable[[], int]) -> None:
        super().__init__(venue, socket, clock)
        self.assets: dict[str, None] = {}
        self.custom = False
        self.dumps = True

    def _chosen(self, notes: Sequence[Note]) -> Iterable[Json]:
        for note in notes:
            if note.owner or (note.custom and not self.custom):
                continue
            if note.assets and not any(asset in self.assets for asset in note.assets):
                continue
            if not self.faults.hits("drop_market"):
                yield self._hashed(note.body)

    @staticmethod
    def _hashed(body: Json) -> Json:
        return body | {"hash": book_hash(body)} if body["event_type"] == "book" else body

    def command(self, body: Json) -> bool:
        """The first frame, or a later subscribe or unsubscribe."""
        given, operation = body.get("assets_ids"), body.get("operation")
        first = body.get("type") in ("market", "MARKET")
        if not isinstance(given, list) or not (first or operation in ("subscribe", "unsubscribe")):
            self._queue(NO_SENSE)
            return True
        if operation == "unsubscribe":
            for asset in given:
                self.assets.pop(str(asset), None)
            return True
        if isinstance(body.get("custom_feature_enabled"), bool):
            self.custom = body["custom_feature_enabled"]
        if isinstance(body.get("initial_dump"), bool):
            self.dumps = body["initial_dump"]
        new = [str(asset) for asset in given if str(asset) not in self.assets]
        self.assets.update(dict.fromkeys(new))
        if self.dumps:
            self._dump(new)
        return True

    def _dump(self, assets: Sequence[str]) -> None:
        """The books of new assets, always as an array; unknown ones get none."""
        books = []
        for asset in assets:
            found = self.venue.by_asset.get(asset)
            if found is not None and found[0].status != "waiting":
                book = self.venue.book_json(*found)
                books.append({"event_type": "book"} | book | {"hash": book_hash(book)})
        self.put(books, array=True)


class UserStream(Stream):
    """Orders and trades of an account. `markets` None: all of them."""

    def __init__(
        self, venue: Venue, socket: web.WebSocketResponse, clock: Callable[[], int], doorkeeper: Doorkeeper
    ) -> None:
        super().__init__(venue, socket, clock)
        self.owner = ""
        self.markets: set[str] | None = None
        self._doorkeeper = doorkeeper

    def command(self, body: Json) -> bool:
        """The first frame proves who it is; later ones change the markets."""
        operation, given = body.get("operation"), body.get("markets")
        conditions = {str(market) for market in given} if isinstance(given, list) else None
        if not self.owner:
            key = self._doorkeeper.of_stream(body.get("auth"))
            if body.get("type") not in ("user", "USER") or key is None:
                return False
            self.owner, self.markets = key.owner, conditions
        elif conditions is not None and operation == "subscribe":
            self.markets = (self.markets or set()) | conditions
        elif conditions is not None and operation == "unsubscribe":
            self.markets = None if self.markets is None else self.markets - conditions
        else:
            self._queue(NO_SENSE)
        return True

    def _odd_time(self, body: Json) -> Json:
        """The other spelling, or the other form."""
        if self.faults.chance.random() < 0.5:
            rest = {name: value for name, value in body.items() if name != "match_time"}
            return rest | {"matchtime": body["match_time"]}
        return body | {"match_time": iso_s(int(body["match_time"]) * SECOND)}

    def _wants(self, note: Note) -> bool:
        if not note.owner or note.owner != self.owner:
            return False
        return self.markets is None or note.body["market"] in self.markets

    def _chosen(self, notes: Sequence[Note]) -> Iterable[Json]:
        late, self._late = self._late, []
        for note in notes:
            if not self._wants(note) or self.faults.hits("drop_user"):
                continue
            body = note.body
            if self.faults.hits("reorder_user"):
                self._late.append(body)
                continue
            if self.faults.hits("empty_numbers"):
                body = {name: "" if name in NUMBERS else value for name, value in body.items()}
            if "match_time" in body and self.faults.hits("odd_times"):
                body = self._odd_time(body)
            if "status" in body and self.faults.hits("unknown_status"):
                yield body | {"status": "SETTLING_ELSEWHERE"}
            yield body
            if self.faults.hits("duplicate_user"):
                yield body
        yield from late
