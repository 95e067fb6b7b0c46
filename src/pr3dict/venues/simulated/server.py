"""The simulated exchange as a server: one account and one continuing truth, however often clients leave.

It lives at the pace of a clock, on loopback. Market data leave as they happen; a client that does not read
loses market data (a hole in `seq` tells it so), never what concerns the account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from pr3dict.domain.commands import Resubscribe
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control, VenuePosition
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated import reads, wire
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.faults import ReadCommand
from pr3dict.venues.simulated.link import carry_out
from pr3dict.venues.simulated.source import Pace, Pacer

LOOPBACK: Final = "127.0.0.1"
TICK_S: Final = 0.002  # how long what happens may wait for what happens next
MAX_BACKLOG_BYTES: Final = 1 << 20  # of one client, before market data are left out


class _Client:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.seq = 0
        self.is_welcome = False

    def send(self, line: wire.Line) -> None:
        if not self.writer.is_closing():
            self.writer.write(wire.encode(line))

    def send_rows(self, rows: d.Array, *, always: bool = False) -> None:
        self.seq += 1
        if always or self.writer.transport.get_write_buffer_size() < MAX_BACKLOG_BYTES:
            self.send(wire.Data(seq=self.seq, rows=wire.encode_rows(rows)))


class ExchangeServer:
    """Serves `exchange`, whose recording it lets happen at `speed` from `start_ns` on."""

    def __init__(self, exchange: SimulatedExchange, pacer: Pacer, *, speed: float, start_ns: int) -> None:
        self.exchange = exchange
        self.speed = speed
        self._pace = Pace(pacer, start_ns, speed)
        self._cash_micros = exchange.cash_micros
        self._clients: dict[_Client, None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}  # one a connection
        self._woken = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; returns the port (a free one for 0). The clock starts."""
        self._pace.now_ns()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, port, limit=wire.MAX_LINE_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Let time pass until cancelled."""
        while True:
            self._catch_up()
            self._woken.clear()
            at_ns = self.exchange.next_ns
            if at_ns < NEVER_NS:
                at_ns = max(at_ns, self._pace.now_ns() + int(TICK_S * self.speed * 1e9))
            await self._pace.sleep_until(at_ns, self._woken)

    async def close(self) -> None:
        """Stop listening and drop every client."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def truth(self) -> wire.Truth:
        """What is true now."""
        now_ns = self._catch_up()
        exchange = self.exchange
        return wire.Truth(
            now_ns=now_ns,
            cash_micros=exchange.cash_micros,
            positions=tuple(
                VenuePosition(market=m, yes_contracts=yes, no_contracts=no)
                for m, (yes, no) in exchange.positions().items()
            ),
            open_orders=exchange.open_orders(),
            fills=exchange.fills(),
            orders=len(exchange.truth.orders),
            unexplained=exchange.unexplained,
            settled=tuple(exchange.settled.values()),
            order_ids=tuple(exchange.truth.orders),
        )

    def _catch_up(self) -> int:
        """Let happen what is due and tell every client; returns the time."""
        now_ns = self._pace.now_ns()
        for happened in self.exchange.advance(now_ns):
            if happened.event is not None:
                self._tell((happened.event,))
            else:
                for client in self._clients:
                    if client.is_welcome:
                        client.send_rows(happened.data)
        return now_ns

    def _tell(self, events: Sequence[Control], asker: _Client | None = None) -> None:
        line = wire.Told(events=tuple(events))
        for client in self._clients:
            if client.is_welcome and client is not asker:
                client.send(line)

    # --- one client ---------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(writer)
        self._clients[client] = None
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        try:
            while line := await reader.readline():
                self._hear(client, line)
                await writer.drain()
        except (ConnectionError, DataError, ValueError):  # gone, or no client of ours: it may come again
            pass
        finally:
            del self._clients[client]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _hear(self, client: _Client, line: bytes) -> None:
        request = wire.decode_request(line)
        now_ns = self._catch_up()
        match request:
            case wire.Hello():
                self._welcome(client, now_ns)
            case wire.Ask():
                self._answer(client, request, now_ns)
            case wire.Ping(id=number):
                client.send(wire.Pong(id=number, now_ns=now_ns))
            case wire.TellTruth():
                client.send(self.truth())

    def _welcome(self, client: _Client, now_ns: int) -> None:
        exchange = self.exchange
        client.send(
            wire.Welcome(
                listings=exchange.listings, now_ns=now_ns, speed=self.speed, cash_micros=self._cash_micros
            )
        )
        client.is_welcome = True
        for listing in exchange.listings:
            if listing.market in exchange.settled:
                client.send(wire.Told(events=(exchange.settled[listing.market],)))
            else:
                self._send_book(client, listing.market, now_ns)

    def _send_book(self, client: _Client, market: int, now_ns: int) -> None:
        rows = np.concatenate((reads.state(self.exchange, market), reads.snapshot(self.exchange, market)))
        rows["exch_ns"] = now_ns
        client.send_rows(rows, always=True)

    def _answer(self, client: _Client, ask: wire.Ask, now_ns: int) -> None:
        command = ask.command
        if isinstance(command, Resubscribe):
            self._send_book(client, command.market, now_ns)
            client.send(wire.Answered(id=ask.id, events=()))
            return
        events = tuple(carry_out(self.exchange, ask.asked_ns, now_ns, command))
        client.send(wire.Answered(id=ask.id, events=events))
        if not isinstance(command, ReadCommand):
            self._tell(events, asker=client)
        self._woken.set()
