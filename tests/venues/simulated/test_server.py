"""The exchange over a socket: evidence, one continuing truth, holes, losses and lines that make no sense."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from pr3dict.domain.commands import Cancel, Place, ReadBalance, ReadOrder, ReadOrders, Reduce
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.events import (
    Accepted,
    AnswerLost,
    BalanceRead,
    BookInvalid,
    Closed,
    FeedAlive,
    FeedDown,
    FeedUp,
    Filled,
    FillsRead,
    NotSent,
    OrdersRead,
    ReadFailed,
    Sent,
    Settled,
    VenueOrder,
)
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import SystemPacer
from pr3dict.venues.simulated import wire
from pr3dict.venues.simulated.client import ExchangeClient
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.server import LOOPBACK, ExchangeServer

sys.path.insert(0, str(Path(__file__).parent))

from exchange_cases import CONTRACT, SECOND, listing, rows, rules

CASH = 1_000 * CONTRACT
OPEN = 1_700_000_000 * SECOND
FAR = 1 << 62
BOOK = (
    (OPEN, d.LEVEL, d.BID, 4_000, 100 * CONTRACT),
    (OPEN, d.LEVEL, d.ASK, 4_500, 100 * CONTRACT),
)


def exchange_of(*more):
    """Market 1 trades, market 0 is there to be numbered."""
    return SimulatedExchange([listing(), listing(1)], rows(*BOOK, *more, market=1), rules(), CASH)


def place(order_id=1, price=4_200, tif=d.POST_ONLY, market=1):
    return Place(order_id=order_id, market=market, side=d.BID, price=price, size=10 * CONTRACT, tif=tif)


class Served:
    """A server with its life, and what a client heard of it."""

    def __init__(self, exchange, speed=1.0):
        self.server = ExchangeServer(exchange, SystemPacer(), speed=speed, start_ns=OPEN + SECOND)
        self.data = []

    async def __aenter__(self):
        self.port = await self.server.start(0)
        self.life = asyncio.create_task(self.server.run())
        return self

    async def __aexit__(self, *_):
        self.life.cancel()
        await self.server.close()

    async def until(self, client, *kinds, most_s=5.0):
        """All events up to the first of each kind."""
        heard = []
        async with asyncio.timeout(most_s):
            while not all(any(isinstance(e, kind) for e in heard) for kind in kinds):
                batch = await client.next(FAR)
                self.data.append(batch.data)
                heard += batch.events
                self.now_ns = batch.now_ns
        return heard

    def rows(self):
        return np.concatenate(self.data)


def of(kind, heard):
    return next(event for event in heard if isinstance(event, kind))


def test_a_session_over_the_socket():
    async def run():
        exchange = exchange_of((OPEN + 3 * SECOND, d.TRADE, d.ASK, 4_200, 4 * CONTRACT))
        async with Served(exchange, speed=5.0) as served:
            client = ExchangeClient(served.port, SystemPacer())
            markets = await client.connect()
            heard = await served.until(client, FeedUp)
            client.send(served.now_ns, [place(), ReadOrders(venue="kalshi"), ReadBalance(venue="kalshi")])
            heard += await served.until(client, Filled, BalanceRead, FeedAlive)
            client.send(served.now_ns, [Reduce(order_id=1, market=1, remaining=CONTRACT)])
            client.send(served.now_ns, [Cancel(order_id=1, market=1)])
            heard += await served.until(client, Closed)
            await client.close()
            return markets, heard, served, served.server.truth()

    markets, heard, served, truth = asyncio.run(run())
    assert [listed.ticker for listed in markets] == ["M0", "M1"]
    kinds = [type(event) for event in heard]
    assert kinds.index(Sent) < kinds.index(Accepted) < kinds.index(OrdersRead) < kinds.index(Filled)
    assert of(Closed, heard).filled == 4 * CONTRACT
    assert of(OrdersRead, heard).orders[0].order_id == 1
    data = served.rows()
    assert (data["local_ns"] >= data["exch_ns"]).all()
    assert (np.diff(data["local_ns"]) >= 0).all()
    assert d.TRADE in data["kind"].tolist()
    assert (truth.open_orders, truth.orders, truth.unexplained) == ((), 1, ())
    assert [fill.trade_id for fill in truth.fills] == [of(Filled, heard).trade_id]
    assert truth.positions[0].yes_contracts == 4 * CONTRACT
    assert truth.cash_micros == CASH - 4 * 420_000


def test_the_truth_outlives_a_client_and_markets_are_numbered_anew():
    async def run():
        exchange = exchange_of((OPEN + 2 * SECOND, d.SETTLE, 0, 0, 1_000_000))
        exchange.extend(rows((OPEN + 3 * SECOND, d.LEVEL, d.BID, 3_000, CONTRACT)))
        async with Served(exchange, speed=4.0) as served:
            first = ExchangeClient(served.port, SystemPacer())
            await first.connect()
            await served.until(first, FeedUp)
            first.send(served.now_ns, [place(tif=d.LIMIT, price=4_500)])
            await served.until(first, Closed)
            first.send(served.now_ns, [place(2, price=4_000)])
            await served.until(first, Accepted)
            await first.close()
            await asyncio.sleep(0.6)  # market 1 pays out while nobody is there
            second = ExchangeClient(served.port, SystemPacer(), not_before_ns=served.now_ns)
            await second.connect()
            second.rows = [7, 3]
            heard = await served.until(second, FeedUp, Settled)
            second.send(served.now_ns, [place(9, price=3_100, market=7), ReadOrder(order_id=9, market=7)])
            heard += await served.until(second, Accepted)
            second.send(served.now_ns, [ReadOrders(venue="kalshi")])
            heard += await served.until(second, OrdersRead)
            await second.close()
            return heard, served, served.server.truth()

    heard, served, truth = asyncio.run(run())
    assert of(Settled, heard).market == 3
    assert [(o.order_id, o.market) for o in of(OrdersRead, heard).orders] == [(9, 7)]
    assert set(served.data[-1]["market"].tolist()) <= {7}
    assert truth.orders == 3 and len(truth.fills) == 1
    assert truth.cash_micros == CASH + 10 * 550_000


async def half_a_server(lines):
    """A server that says fixed lines after the hello, and answers nothing."""
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readline())
        welcome = wire.Welcome(listings=(listing(),), now_ns=OPEN, speed=1.0, cash_micros=CASH)
        writer.write(wire.encode(welcome))
        for line in lines:
            writer.write(line if isinstance(line, bytes) else wire.encode(line))
        while line := await reader.readline():
            asked.append(line)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    return server, server.sockets[0].getsockname()[1], asked


def data_line(seq, price):
    return wire.Data(seq=seq, rows=wire.encode_rows(rows((OPEN, d.LEVEL, d.BID, price, CONTRACT))))


def test_a_hole_makes_the_book_invalid_and_asks_for_it_again():
    async def run():
        server, port, asked = await half_a_server([data_line(1, 100), data_line(2, 200), data_line(4, 400)])
        client = ExchangeClient(port, SystemPacer())
        await client.connect()
        events, prices = [], []
        async with asyncio.timeout(5):
            while 400 not in prices:
                batch = await client.next(FAR)
                events += batch.events
                prices += batch.data["price"].tolist()
        await asyncio.sleep(0.1)
        await client.close()
        server.close()
        await asyncio.sleep(0.1)  # its side of the connection ends too
        return events, prices, [wire.decode_request(line) for line in asked]

    events, prices, asked = asyncio.run(run())
    assert [e for e in events if isinstance(e, BookInvalid)] == [BookInvalid(market=0, why="gap")]
    assert prices == [100, 200, 400]
    assert any(isinstance(line, wire.Ask) and line.command.market == 0 for line in asked)


def test_what_is_not_answered_is_lost_and_what_finds_no_connection_never_left():
    async def run():
        server, port, _ = await half_a_server([])
        client = ExchangeClient(port, SystemPacer(), answer_ns=SECOND // 10)
        await client.connect()
        client.send(OPEN, [place(1, market=0), Cancel(order_id=1, market=0), ReadOrder(order_id=1, market=0)])
        served = Served(exchange_of())
        heard = await served.until(client, ReadFailed)
        client.send(OPEN, [place(2, market=0)])
        server.close()
        client._writer.close()
        down = await served.until(client, FeedDown)
        client.send(OPEN, [place(3, market=0), Cancel(order_id=2, market=0), ReadOrders(venue="kalshi")])
        away = await served.until(client, ReadFailed)
        await client.close()
        await asyncio.sleep(0.1)
        return heard, down, away

    heard, down, away = asyncio.run(run())
    assert AnswerLost(order_id=1, request="place", why="timeout") in heard
    assert AnswerLost(order_id=1, request="cancel", why="timeout") in heard
    assert of(ReadFailed, heard).read == "order"
    assert [e.order_id for e in down if isinstance(e, AnswerLost)] == [2]
    assert NotSent(order_id=3, why="no connection") in away
    assert AnswerLost(order_id=2, request="cancel", why="no connection") in away


def test_a_client_comes_back_by_itself():
    async def run():
        async with Served(exchange_of()) as served:
            client = ExchangeClient(served.port, SystemPacer())
            await client.connect()
            await served.until(client, FeedUp)
            client.send(served.now_ns, [place()])
            await served.until(client, Accepted)
            for one in list(served.server._clients):
                one.writer.close()
            served.data.clear()
            heard = await served.until(client, FeedDown, FeedUp)
            client.send(served.now_ns, [ReadOrders(venue="kalshi")])
            heard += await served.until(client, OrdersRead)
            await client.close()
            return heard, served.rows()

    heard, data = asyncio.run(run())
    assert [order.order_id for order in of(OrdersRead, heard).orders] == [1]
    snapshot = data[data["kind"] == d.SNAPSHOT]
    assert sorted(snapshot[snapshot["market"] == 1]["price"].tolist()) == [4_000, 4_500]
    assert data[data["kind"] == d.STATUS]["aux"].tolist() == [d.ACTIVE, d.ACTIVE]


def test_nobody_there():
    async def run():
        server, port, _ = await half_a_server([])
        server.close()
        await server.wait_closed()
        await ExchangeClient(port, SystemPacer()).connect()

    with pytest.raises(WorkError, match=r"no exchange answers at 127\.0\.0\.1"):
        asyncio.run(run())


def test_a_stranger_is_dropped_and_the_others_stay():
    async def run():
        async with Served(exchange_of()) as served:
            client = ExchangeClient(served.port, SystemPacer())
            await client.connect()
            reader, writer = await asyncio.open_connection(LOOPBACK, served.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.read() == b""
            writer.close()
            client.send(OPEN, [ReadBalance(venue="kalshi")])
            heard = await served.until(client, BalanceRead)
            await client.close()
            return heard

    assert of(BalanceRead, asyncio.run(run())).cash_micros == CASH


def test_lines_survive_the_wire():
    events = rows((OPEN, d.LEVEL, d.ASK, 4_300, 3), (OPEN + 1, d.TRADE, d.BID, 4_300, 2), market=5)
    events["bits"], events["local_ns"] = d.SYNTHETIC, 0
    line = wire.decode_answer(wire.encode(wire.Data(seq=3, rows=wire.encode_rows(events))))
    assert wire.decode_rows(line.rows).tobytes() == events.tobytes()
    assert len(wire.decode_rows(())) == 0
    with pytest.raises(DataError, match="does not fit"):
        wire.decode_rows(((0, 1 << 40, 0, 0, 0, 0, 0, 0),))
    for bad in (b"{}", b"[1]", b'{"op":"ask","id":1}', b"\xff"):
        with pytest.raises(DataError, match="not a line"):
            wire.decode_request(bad)
    fill = Filled(trade_id="a", order_id=1, market=1, side=0, price=1, size=1, exch_ns=1)
    order = VenueOrder(order_id=1, venue_id="x", market=0, side=0, price=1, remaining=1)
    read = FillsRead(venue="kalshi", asked_ns=0, as_of_ns=0, since_ns=0, fills=(fill,))
    assert wire.renumbered(read, [4, 2]).fills[0].market == 2
    assert wire.renumbered(order, {0: 9}).market == 9
    settled = Settled(market=1, value_micros=3)
    assert wire.renumbered(settled, [0, 1]) is settled
