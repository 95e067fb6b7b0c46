"""Kalshi's WebSocket, followed without a hole: subscriptions, sequence numbers, snapshots, reconnects.

One connection carries every market and the account's own messages. What is lost is always said: a gap in the
books' numbers invalidates every book and asks for all snapshots, a gap in the account's messages ends the
connection, so that everything is compared again. A link that is up proves nothing: once a second the venue
is asked for its list of subscriptions, and only the answer, by the venue's own time, is a proof of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, ClockSkewed, FeedAlive, FeedDown, FeedUp, Malformed
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.decode import UNREADABLE, KalshiDecoder
from pr3dict.venues.kalshi.frames import (
    ErrorFrame,
    Frame,
    OkFrame,
    SubscribedFrame,
    UnsubscribedFrame,
    read_frame,
)
from pr3dict.venues.kalshi.http import check_url
from pr3dict.venues.kalshi.numbers import milliseconds
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.session import Clock, Reconnects, Seen, Sequences, Silence, Sink

BOOKS: Final = "orderbook_delta"
PUBLIC: Final = (BOOKS, "trade")
GLOBAL: Final = ("market_lifecycle_v2",)
PRIVATE: Final = ("fill", "user_orders", "market_positions", "order_group_updates")
LOSSY: Final = frozenset({"trade", "ticker"})  # a hole in them breaks nothing that we keep
ABOUT_US: Final = frozenset({UNREADABLE, "fill", "user_order", "order_group_updates"})
TICKERS_A_COMMAND: Final = 500
PING_NS: Final = NS_PER_SECOND
SILENT_NS: Final = 5 * NS_PER_SECOND
ANSWER_NS: Final = 5 * NS_PER_SECOND
SNAPSHOT_TRIES: Final = 3
BUFFER_ROWS: Final = 20_480
MAX_FRAME: Final = 64 << 20
TERMINAL: Final = frozenset({10, 25})  # the subscription is dead
AUTH_REQUIRED: Final = 9
SKEW_STEP_NS: Final = NS_PER_SECOND // 4
SKEW_TRIP_NS: Final = NS_PER_SECOND  # a round trip tells skew to half its length: longer ones tell too little

_encode: Final = msgspec.json.Encoder().encode
OnFrame = Callable[[Frame, int], None]


def _parts(tickers: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """As many tickers as one command names."""
    for start in range(0, len(tickers), TICKERS_A_COMMAND):
        yield tickers[start : start + TICKERS_A_COMMAND]


class StreamLost(Exception):
    """The connection is of no more use; its text says why."""


class KalshiStreams:
    """Everything that one account (or, without private channels, anybody) hears from Kalshi.

    `markets` is ticker to row. `on_frame` gets the frames about orders, positions, groups and lifecycle with
    the time of their arrival; a `DataError` that it raises counts as a malformed message.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        clock: Clock,
        sink: Sink,
        markets: Mapping[str, int],
        on_frame: OnFrame,
        reconnects: Reconnects,
        *,
        private: bool = True,
        ticker: bool = False,
        use_yes_price: bool = True,
    ) -> None:
        self.url = check_url(url, ("wss", "ws"))
        self.clock = clock
        self.sink = sink
        self.sequences = Sequences()
        self.silence = Silence(SILENT_NS, clock.now_ns())
        self.malformed = 0
        self.last_malformed = ""
        self.frames = 0
        self.connections = 0
        self.terminal_errors = 0
        self._signer = signer
        self._on_frame = on_frame
        self._reconnects = reconnects
        self._rows = dict(markets)
        self._tickers = {row: ticker for ticker, row in markets.items()}
        self._use_yes_price = use_yes_price
        self._channels = (*PUBLIC, *(("ticker",) if ticker else ()))
        self._whole = (*GLOBAL, *(PRIVATE if private else ()))
        self._out = np.zeros(BUFFER_ROWS, d.EVENT)
        self._decoder = KalshiDecoder(
            self._rows, self._out, no_side_in_yes_price=use_yes_price, live=True, follow=self._follow
        )
        self._ws: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._channel_of: dict[int, str] = {}
        self._commands = 0
        self._asked: dict[int, tuple[str, tuple[str, ...], int]] = {}  # id to channel, tickers, when
        self._subscribing: dict[int, None] = {}  # commands that name markets
        self._again: list[
            tuple[str, tuple[str, ...]]
        ] = []  # channels and tickers to subscribe anew, in parts
        self._pings: dict[int, int] = {}
        self._snapshots: dict[str, tuple[int, int]] = {}  # tickers that wait: when asked, how often
        self._to_ask: dict[str, None] = {}
        self._unsaid = 0  # malformed messages that were not reported yet
        self._up = False
        self._why_closed = ""
        self._skew_ns: int | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether every channel is subscribed."""
        return self._up

    def start(self) -> None:
        """Connect, and stay connected, until `close`."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._live())]

    def failure(self) -> BaseException | None:
        """What ended the streams for good; None: they live."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return task.exception()
        return None

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _live(self) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                why = await self._once(session)
                self._drop(why)
                await self.clock.sleep(self._reconnects.down_ns(self.clock.now_ns()))

    async def _once(self, session: aiohttp.ClientSession) -> str:
        """One connection from its handshake to its end; returns why it ended."""
        path = urlsplit(self.url).path
        headers = self._signer.headers(milliseconds(self.clock.now_ns()), "GET", path)
        try:
            ws = await session.ws_connect(
                self.url, headers=headers, max_msg_size=MAX_FRAME, decode_text=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"no connection: {type(error).__name__}"
        self._ws = ws
        self.connections += 1
        self.silence.restart(self.clock.now_ns())
        watch = asyncio.create_task(self._watch(ws))
        try:
            await self._subscribe_all()
            return await self._hear_all(ws)
        except (StreamLost, aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await ws.close()

    async def _hear_all(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> str:
        while True:
            message = await ws.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.hear(message.data)
                while self._again:
                    await self._subscribe(*self._again.pop())
                if self._to_ask:
                    await self._ask_snapshots()
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"the connection broke: {type(ws.exception()).__name__}"
            else:
                return self._why_closed or f"the venue closed the connection ({ws.close_code})"

    def _drop(self, why: str) -> None:
        """The connection is gone: nothing is followed any more."""
        self._why_closed = ""
        self._ws = None
        self._decoder.reset()
        self.sequences.clear()
        for waiting in (self._channel_of, self._asked, self._pings, self._snapshots, self._to_ask):
            waiting.clear()
        self._subscribing.clear()
        self._again.clear()
        self._report_malformed()
        if self._up:
            self._up = False
            self.sink.push(FeedDown(venue="kalshi", why=why))

    # --- what we say ------------------------------------------------------------------------------

    async def _send(self, cmd: str, params: dict[str, Any] | None = None) -> int:
        """One command; returns its number. Without a connection it is lost: the next one subscribes anew."""
        self._commands += 1
        command: dict[str, Any] = {"id": self._commands, "cmd": cmd}
        if params is not None:
            command["params"] = params
        number = self._commands
        if self._ws is not None and not self._ws.closed:
            await self._ws.send_str(_encode(command).decode())
        return number

    async def _subscribe_all(self) -> None:
        if not self._rows:
            await self._subscribe_whole()
        for channel in self._channels:
            await self._subscribe(channel, tuple(self._rows))
        if self._rows:
            await self._subscribe_whole()

    async def _subscribe_whole(self) -> None:
        for channel in self._whole:
            number = await self._send("subscribe", {"channels": [channel]})
            self._asked[number] = (channel, (), self.clock.now_ns())

    async def _subscribe(self, channel: str, tickers: tuple[str, ...]) -> None:
        for part in _parts(tickers):
            params: dict[str, Any] = {"channels": [channel], "market_tickers": part}
            if channel == BOOKS:
                params["use_yes_price"] = self._use_yes_price
            self._wait_for(await self._send("subscribe", params), channel, part)

    async def add_markets(self, markets: Mapping[str, int]) -> None:
        """Follow more markets, by ticker and row; they join the subscriptions that there are."""
        fresh = {ticker: row for ticker, row in markets.items() if ticker not in self._rows}
        self._rows.update(fresh)
        self._tickers.update({row: ticker for ticker, row in fresh.items()})
        for ticker, row in fresh.items():
            self._decoder.add(ticker, row)
        with suppress(aiohttp.ClientError, OSError):  # the next connection subscribes to all of them
            for channel in self._channels:
                await self._join(channel, tuple(fresh))

    async def _join(self, channel: str, tickers: tuple[str, ...]) -> None:
        if self._ws is None:
            return
        sid = self._sid_of(channel)
        if sid is None:  # one that is on its way takes these in
            await self._subscribe(channel, tickers)
            return
        for part in _parts(tickers):
            params = {"sid": sid, "action": "add_markets", "market_tickers": part}
            self._wait_for(await self._send("update_subscription", params), channel, part)

    def _wait_for(self, number: int, channel: str, tickers: tuple[str, ...]) -> None:
        """A command that names new markets is on its way; their books come with its answer."""
        now_ns = self.clock.now_ns()
        self._asked[number] = (channel, tickers, now_ns)
        self._subscribing[number] = None
        if channel == BOOKS:
            self._snapshots.update(dict.fromkeys(tickers, (now_ns, 1)))

    async def remove_markets(self, tickers: Iterable[str]) -> None:
        """Follow these no more. The last one stays: a filter without markets could mean all of them."""
        gone = tuple(ticker for ticker in tickers if ticker in self._rows)
        if len(gone) == len(self._rows):
            gone = gone[:-1]
        for ticker in gone:
            del self._tickers[self._rows.pop(ticker)]
            self._decoder.remove(ticker)
            self._snapshots.pop(ticker, None)
            self._to_ask.pop(ticker, None)
        with suppress(aiohttp.ClientError, OSError):
            for channel in self._channels:
                for part in _parts(gone):
                    params = {
                        "sid": self._sid_of(channel),
                        "action": "delete_markets",
                        "market_tickers": part,
                    }
                    if params["sid"] is not None:
                        await self._send("update_subscription", params)

    def _sid_of(self, channel: str) -> int | None:
        return next((sid for sid, name in self._channel_of.items() if name == channel), None)

    def snapshot(self, ticker: str) -> None:
        """Ask for a market's whole book, unless it is on its way already."""
        if self._ws is not None and ticker in self._rows and ticker not in self._snapshots:
            self._decoder.forget((ticker,))
            self._to_ask[ticker] = None
            task = asyncio.create_task(self._ask_snapshots())
            self._tasks.append(task)
            task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None and task in self._tasks:
            self._tasks.remove(task)

    async def _ask_snapshots(self) -> None:
        tickers = tuple(self._to_ask)
        self._to_ask.clear()
        sid = self._sid_of(BOOKS)
        if not tickers or sid is None:
            return
        now_ns = self.clock.now_ns()
        for part in _parts(tickers):
            for ticker in part:
                self._snapshots[ticker] = (now_ns, self._snapshots.get(ticker, (0, 1))[1])
            params = {"sids": [sid], "action": "get_snapshot", "market_tickers": part}
            with suppress(aiohttp.ClientError, OSError):  # who receives notices that it is over
                number = await self._send("update_subscription", params)
                self._asked[number] = (BOOKS, part, now_ns)

    # --- what we hear -----------------------------------------------------------------------------

    def hear(self, raw: bytes) -> None:
        """One frame; raises `StreamLost` where the connection is of no more use."""
        now_ns = self.clock.now_ns()
        self.frames += 1
        try:
            count = self._decoder.decode(raw, now_ns)
            if count:
                if self._out["kind"][0] == d.SNAPSHOT:
                    self._whole_book(int(self._out["market"][0]))
                self.sink.put_rows(self._out[:count])
            elif self._decoder.kind:
                self._hear_other(self._decoder.kind, raw, now_ns)
        except DataError as error:
            self._refuse(error)
            if self._decoder.kind in ABOUT_US:
                raise StreamLost(f"a message about our orders can't be read: {error}"[:200]) from None

    def _refuse(self, error: DataError) -> None:
        """A message that can't be read; where it was about a book, that book is lost."""
        self.malformed += 1
        self._unsaid += 1
        self.last_malformed = str(error)
        if self._decoder.lost:
            self._lose((self._decoder.lost,), "negative_size" if error.key in self._rows else "gap")

    def _report_malformed(self) -> None:
        if self._unsaid:
            self.sink.push(Malformed(venue="kalshi", count=self._unsaid, why=self.last_malformed[:200]))
            self._unsaid = 0

    def _whole_book(self, row: int) -> None:
        self._snapshots.pop(self._tickers[row], None)

    def _lose(self, tickers: Iterable[str], why: str) -> None:
        """These books are worthless until their next snapshots, which are asked for."""
        for ticker in tickers:
            self._decoder.forget((ticker,))
            self._to_ask[ticker] = None  # even if one is on its way: it may be what is missing
            self.sink.push(BookInvalid(market=self._rows[ticker], why=why))

    def _follow(self, sid: int, seq: int) -> bool:
        """Judge a frame's number before it is applied; False: it is known, or worthless."""
        channel = self._channel_of.get(sid, "")
        seen = self.sequences.check(sid, seq)
        if seen in (Seen.NEXT, Seen.FIRST):
            return True
        if seen is Seen.REPEAT:
            return channel not in (BOOKS, *LOSSY)  # the account's messages are the same evidence again
        if seen is Seen.REWIND:
            self.sequences.forget(sid)
            self.sequences.check(sid, seq)
        if channel in LOSSY:
            return seen is Seen.GAP
        if channel == BOOKS:
            self._lose(self._rows, "gap")
            return True  # a snapshot counts, a delta finds its book forgotten
        raise StreamLost(f"numbers are missing on the channel {channel or sid}")

    def _hear_other(self, kind: str, raw: bytes, now_ns: int) -> None:
        frame = read_frame(kind, raw)
        match frame:
            case None:
                return
            case SubscribedFrame():
                self._subscribed(frame, now_ns)
            case OkFrame():
                self._ok(frame, now_ns)
            case UnsubscribedFrame():
                channel = self._channel_of.get(frame.sid, str(frame.sid))
                raise StreamLost(f"the venue ended the channel {channel}, which we never asked for")
            case ErrorFrame():
                self._failed(frame)
            case _:
                self._on_frame(frame, now_ns)

    def _subscribed(self, frame: SubscribedFrame, now_ns: int) -> None:
        sid, channel = int(frame.msg.sid), frame.msg.channel
        if self._channel_of.setdefault(sid, channel) != channel:  # whose numbers it counts nobody could say
            raise StreamLost(
                f"the venue gives number {sid} to the channels {self._channel_of[sid]} and {channel}"
            )
        self._asked.pop(frame.id, None)
        self._check_up(now_ns)

    def _check_up(self, now_ns: int) -> None:
        wanted = {*self._whole, *(self._channels if self._rows else ())}
        if not self._up and wanted <= set(self._channel_of.values()):
            self._up = True
            self._reconnects.up(now_ns)
            self.sink.push(FeedUp(venue="kalshi"))

    def _ok(self, frame: OkFrame, now_ns: int) -> None:
        self._asked.pop(frame.id, None)
        self._subscribing.pop(frame.id, None)
        asked_ns = self._pings.pop(frame.id, None)
        listed = frame.subscriptions()
        if asked_ns is None or listed is None:
            return
        venue_ns = int(frame.sending_ts_ms) if frame.sending_ts_ms is not None else asked_ns
        self.silence.heard(now_ns, venue_ns)
        missing = sorted({*self._channel_of.values()} - set(listed.values()))
        if missing:
            raise StreamLost(f"the venue no longer sends the channel {missing[0]}")
        if frame.sending_ts_ms is not None and now_ns - asked_ns <= SKEW_TRIP_NS:
            self._note_skew((asked_ns + now_ns) // 2 - venue_ns)
        if self._up:
            self.sink.push(FeedAlive(venue="kalshi", venue_ns=venue_ns))

    def _note_skew(self, skew_ns: int) -> None:
        """Our clock less the venue's, said again when it has moved."""
        if self._skew_ns is None or abs(skew_ns - self._skew_ns) >= SKEW_STEP_NS:
            self._skew_ns = skew_ns
            self.sink.push(ClockSkewed(venue="kalshi", skew_ns=skew_ns))

    def _failed(self, frame: ErrorFrame) -> None:
        """An error of a command, or the end of a subscription."""
        channel, tickers, _ = self._asked.pop(frame.id, ("", (), 0))
        channel = channel or self._channel_of.get(frame.sid, "")
        code, said = frame.msg.code, frame.msg.msg[:120]
        if code in TERMINAL:
            self.terminal_errors += 1
            raise StreamLost(f"the channel {channel or frame.sid} ended with error {code}: {said}")
        if code != AUTH_REQUIRED and frame.id in self._subscribing:
            self._refused_markets(channel, tickers)
        if code == AUTH_REQUIRED or (channel and not tickers):
            raise StreamLost(f"the channel {channel} is refused with error {code}: {said}")
        raise DataError(f"error {code}: {said}", key=f"command {frame.id} ({channel or 'unknown'})")

    def _refused_markets(self, channel: str, tickers: tuple[str, ...]) -> None:
        """One market that the venue does not know must not cost us all that were named beside it."""
        half = len(tickers) // 2
        if half:
            self._again += [(channel, tickers[:half]), (channel, tickers[half:])]
        elif channel == BOOKS:
            self._snapshots.pop(tickers[0], None)  # it has no book, which is no reason to connect anew

    # --- what time brings -------------------------------------------------------------------------

    async def _watch(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Pings, silence, answers and snapshots that never come; ends the connection where it must."""
        while True:
            await self.clock.sleep(PING_NS)
            now_ns = self.clock.now_ns()
            self._report_malformed()
            why = self._overdue(now_ns)
            if why:
                self._why_closed = why
                await ws.close()
                return
            with suppress(aiohttp.ClientError, OSError):
                self._pings[await self._send("list_subscriptions")] = now_ns
                await self._ask_snapshots()

    def _overdue(self, now_ns: int) -> str:
        """Why the connection must end; "": it need not."""
        if self.silence.is_silent(now_ns):
            return f"the venue said nothing new for {self.silence.lag_ns(now_ns) / 1e9:.1f} s"
        for channel, _, asked_ns in self._asked.values():
            if now_ns - asked_ns > ANSWER_NS and channel not in self._channel_of.values():
                return f"the subscription to {channel} was not answered"
        for ticker, (asked_ns, tries) in self._snapshots.items():
            if now_ns - asked_ns > ANSWER_NS and ticker not in self._to_ask:
                if tries >= SNAPSHOT_TRIES:
                    return f"no snapshot of {ticker} came"
                self._snapshots[ticker] = (now_ns, tries + 1)
                self._to_ask[ticker] = None
        for number in [n for n, at_ns in self._pings.items() if now_ns - at_ns > 2 * SILENT_NS]:
            del self._pings[number]
        return ""
