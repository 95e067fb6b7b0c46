"""Section 4: numbers, errors, recordings."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    MS,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    Ear,
    VenueClock,
    accepted,
    book_of,
    commands,
    heard,
    live,
    place,
    reconnected,
    rows_of,
    run,
    say,
    signer,
    statuses,
    until,
    usual,
)
from conformance.kalshi.rows import row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.account_models import Positions
from pr3dict.venues.kalshi.decode import KalshiDecoder
from pr3dict.venues.kalshi.frames import read_frame
from pr3dict.venues.kalshi.models import OrderbookAnswer
from pr3dict.venues.kalshi.rest import READERS
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.kalshi import KalshiStandIn


@row("4.31", "A pause and its end are followed as they are told.")
def test_pause_told():
    async def body(server, ear, wire):
        server.do("pause_market", ticker=T0)
        await heard(ear, 0, d.STATUS, d.PAUSED)
        server.do("activate_market", ticker=T0)
        await until(lambda: len(statuses(ear, 0)) == 3)
        assert statuses(ear, 0) == [d.ACTIVE, d.PAUSED, d.ACTIVE]

    live(body)


@row("4.32", "An event of a market's life that is not known makes us look at the market anew.")
def test_unknown_life():
    async def body(server, ear, wire):
        snapshots = len(commands(server, "update_subscription"))
        say(
            server,
            {
                "type": "market_lifecycle_v2",
                "sid": 8,
                "msg": {"event_type": "brand_new", "market_ticker": T0},
            },
        )
        assert (await ear.until(e.BookInvalid)).market == 0
        assert wire.lives.unknown_words == {"brand_new": 1} and snapshots == 0

    live(body)


@row("4.33", "Public trade and private fill of one execution may come in either order, with the same result.")
def test_either_order():
    async def body(server, ear, wire):
        for number in range(1, 9):  # the stand-in shuffles the frames of each execution
            await accepted(ear, wire, place(wire, number, price=4900, size=CONTRACT))
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="1")
        await until(
            lambda: len({x.trade_id for x in ear.of(e.Filled)}) == 8 and len(rows_of(ear, 0, d.TRADE)) == 8
        )
        assert {x.order_id for x in ear.of(e.Filled)} == set(range(1, 9))
        assert not ear.of(e.Malformed) and not server.do("truth")["unexplained"]

    live(body)


@row(
    "4.34",
    "A missing number on the books makes every book worthless, and all snapshots are asked for at once.",
)
def test_gap():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        server.faults.change({"gap": 1.0})
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        server.faults.change({"gap": 0})
        server.do("level", ticker=T1, side="bid", price="0.4900", contracts=9)
        await ear.until(e.BookInvalid, 4)
        assert {x.market for x in ear.of(e.BookInvalid)} == {0, 1, 2, 3}
        await until(lambda: not wire.streams._snapshots and not wire.streams._to_ask)
        assert book_of(ear, 0)[BID][4900] == 7 * CONTRACT and book_of(ear, 1)[BID][4900] == 9 * CONTRACT
        (ask,) = commands(server, "update_subscription")
        assert ask["params"]["action"] == "get_snapshot" and len(ask["params"]["market_tickers"]) == 4
        assert wire.streams.connections == 1 and wire.streams.sequences.gaps == 1

    live(body)


@row("4.35", "A delta that comes between a gap and the snapshot is not applied.")
def test_delta_waits():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        (stream,) = server.streams
        stream._update, kept = (lambda *_: None), stream._update  # no snapshot comes
        sub = stream.by_channel["orderbook_delta"]
        sub.seq += 1
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await ear.until(e.BookInvalid, 4)
        levels = len(rows_of(ear, 0, d.LEVEL))
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=9)
        await asyncio.sleep(0.1)
        assert len(rows_of(ear, 0, d.LEVEL)) == levels
        stream._update = kept

    live(body)


@row("4.36", "A snapshot that does not come is asked for again, and at last over a new connection.")
def test_snapshot_overdue():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        (stream,) = server.streams
        stream._update = lambda *_: None
        stream.by_channel["orderbook_delta"].seq += 1
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await ear.until(e.FeedDown, 1, 6.0)
        assert "snapshot" in ear.of(e.FeedDown)[0].why
        asked = [x for x in stream.commands if x["cmd"] == "update_subscription"]
        assert len(asked) >= 3

    live(body, speed=10.0)


@row("4.37", "A number that comes twice is applied once on the books.")
def test_repeat():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        (stream,) = server.streams
        sub = stream.by_channel["orderbook_delta"]
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        again = {"market_ticker": T0, "price_dollars": "0.4900", "delta_fp": "7.00", "side": "yes"}
        say(server, {"type": "orderbook_delta", "sid": sub.sid, "seq": sub.seq, "msg": again})
        server.do("level", ticker=T0, side="bid", price="0.4700", contracts=1)
        await until(lambda: book_of(ear, 0)[BID].get(4700) == CONTRACT)
        assert book_of(ear, 0)[BID][4900] == 7 * CONTRACT and wire.streams.sequences.repeats == 1

    live(body)


@row("4.38", "Numbers that run back are taken for a gap.")
def test_rewind():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        (stream,) = server.streams
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        sub = stream.by_channel["orderbook_delta"]
        sub.seq = 1
        server.do("level", ticker=T0, side="bid", price="0.4700", contracts=1)
        await ear.until(e.BookInvalid, 4)
        await until(lambda: not wire.streams._snapshots and not wire.streams._to_ask)
        assert book_of(ear, 0)[BID][4900] == 7 * CONTRACT and book_of(ear, 0)[BID][4700] == CONTRACT

    live(body)


@row("4.39", "Answers on a subscription use up its numbers like data, and are no gap.")
def test_numbers_of_answers():
    async def body(server, ear, wire):
        await until(lambda: not wire.streams._snapshots)
        (stream,) = server.streams
        sub = stream.by_channel["orderbook_delta"]
        stream.numbered(sub, "ok", {"market_tickers": [T0]}, id=3)
        wire.send(0, [c.Resubscribe(market=0)])  # its snapshot echoes the number of our command
        await until(lambda: len(commands(server, "update_subscription")) == 1 and not wire.streams._snapshots)
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 7 * CONTRACT)
        assert wire.streams.sequences.gaps == 0

    live(body)


@row(
    "4.40",
    "A missing number on lifecycle or order groups leads to a new connection, on trades it is only counted.",
)
def test_gaps_elsewhere():
    async def body(server, ear, wire):
        (stream,) = server.streams
        stream.by_channel["trade"].seq += 1
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="3")
        await until(lambda: len(rows_of(ear, 0, d.TRADE)) == 1)
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="3")
        await until(lambda: len(rows_of(ear, 0, d.TRADE)) == 2)
        stream.by_channel["trade"].seq += 1
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="3")
        await until(lambda: wire.streams.sequences.gaps == 1)
        assert wire.streams.connections == 1
        for _ in range(2):
            server.do("pause_market", ticker=T1)
            stream.by_channel["market_lifecycle_v2"].seq += 1
            server.do("activate_market", ticker=T1)
        await reconnected(ear, wire)

    live(body)


@row("4.41", "Numbers begin anew with every connection.")
def test_numbers_begin_anew():
    async def body(server, ear, wire):
        for k in range(5):
            server.do("level", ticker=T0, side="bid", price="0.4900", contracts=k + 1)
        server.do("disconnect")
        await reconnected(ear, wire)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 5 * CONTRACT)
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=9)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 9 * CONTRACT)
        assert wire.streams.sequences.gaps == 0 and wire.streams.sequences.rewinds == 0

    live(body)


REFUSALS = (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24, 26, 27, 28, 77)


@row(
    "4.42",
    "An error that answers a command is reported with its code, whichever it is, and the connection stays.",
)
def test_command_errors():
    async def body(server, ear, wire):
        for code in REFUSALS:
            say(server, {"id": 12_345, "type": "error", "msg": {"code": code, "msg": "No"}})
            await until(lambda code=code: f"error {code}: No" in wire.streams.last_malformed)
        assert wire.streams.malformed == len(REFUSALS) and wire.streams.connections == 1
        await ear.until(e.Malformed)
        assert sum(x.count for x in ear.of(e.Malformed)) >= 1

    live(body, speed=3.0)


@row("4.43", "An error that refuses one of our channels, or wants a key, leads to a new connection.")
@pytest.mark.parametrize("code", [8, 9, 26])
def test_refused_channel(code):
    async def body(server, ear, wire):
        number = max(wire.streams._commands, 1) + 1
        wire.streams._asked[number] = ("fill", (), server.now_ns())
        say(server, {"id": number, "type": "error", "msg": {"code": code, "msg": "No"}})
        await reconnected(ear, wire)
        assert f"error {code}" in ear.of(e.FeedDown)[0].why

    live(body)


@row(
    "4.44",
    "Errors 10 and 25 end a subscription for good: a new connection is made and everything is compared.",
)
@pytest.mark.parametrize("code", [10, 25])
@pytest.mark.parametrize("channel", ["orderbook_delta", "user_orders"])
def test_terminal_errors(code, channel):
    async def body(server, ear, wire):
        server.do("end_subscription", code=code, channel=channel)
        await reconnected(ear, wire)
        assert f"error {code}" in ear.of(e.FeedDown)[0].why and wire.streams.terminal_errors == 1
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 7 * CONTRACT)

    live(body)


@row(
    "4.45",
    "A message about our orders that can't be read leads to a new connection; any other one is counted.",
)
def test_unreadable():
    async def body(server, ear, wire):
        say(server, b'{"type":"trade","sid":2,"msg":{"market_ticker":"KXA-0-T0","yes_price_dollars":0.5}}')
        assert (await ear.until(e.Malformed)).count == 1
        assert wire.streams.connections == 1
        say(server, b'{"type":"fill","sid":4,"msg":{"trade_id":"t"}}')
        await reconnected(ear, wire)

    live(body, speed=3.0)


def _lines(path: Path) -> list[bytes]:
    with gzip.open(path, "rb") as file:
        return [line for line in file.read().splitlines() if line.strip()]


@row("4.46", "Recorded frames of the exchange are all read, without a gap and without a level below zero.")
def test_recorded_session(data_dir):
    frames = _lines(data_dir / "raw-ws-samples" / "kalshi-demo-session.jsonl.gz")
    tickers = {json.loads(raw)["msg"].get("market_ticker") for raw in frames if b"orderbook_" in raw} - {None}
    out, numbers = np.zeros(20_000, d.EVENT), {}

    def follow(sid, seq):
        assert seq == numbers.get(sid, seq - 1) + 1
        numbers[sid] = seq
        return True

    decoder = KalshiDecoder({t: k for k, t in enumerate(sorted(tickers))}, out, live=True, follow=follow)
    counts: dict[str, int] = {}
    for raw in frames:
        rows = decoder.decode(raw, 1)
        kind = decoder.kind or "book"
        counts[kind] = counts.get(kind, 0) + 1
        if decoder.kind:
            assert read_frame(decoder.kind, raw) is not None
        else:
            assert rows > 0
    assert counts["book"] == 2_890 and counts["fill"] == 2 and decoder.ignored == len(frames) - 2_890


@row("4.47", "Recorded answers of the exchange's REST are all read.")
def test_recorded_rest(data_dir):
    exchanges = [json.loads(raw) for raw in _lines(data_dir / "raw-ws-samples" / "kalshi-demo-rest.jsonl.gz")]
    read = 0
    for one in exchanges:
        body = one["response_body"].encode()
        kind = (
            OrderbookAnswer if "orderbook" in one["url"] else Positions if "positions" in one["url"] else None
        )
        if kind is not None and one["status"] == 200:
            assert READERS[kind](body)
            read += 1
    assert read == len(exchanges) > 0


@row(
    "4.48",
    "Full books recorded on the exchange are followed frame by frame, crossed nowhere and never below zero.",
)
def test_recorded_books(data_dir):
    folder = data_dir / "kalshi-kxbtc15m-l2-a" / "sessions"
    session = min(path for path in folder.iterdir() if any(path.glob("**/orderbook_delta*")))
    frames = []
    for kind in ("orderbook_snapshot", "orderbook_delta"):
        for path in sorted(session.glob(f"**/{kind}*")):
            for raw in _lines(path):
                line = json.loads(raw)
                payload = line["payload_json"]
                msg = json.loads(payload) if isinstance(payload, str) else payload
                frames.append((line["sequence_number"], {"type": kind, "sid": 1, "msg": msg}))
    frames.sort(key=lambda one: one[0])
    frames = frames[:10_000]
    tickers = sorted({frame["msg"]["market_ticker"] for _, frame in frames})
    out = np.zeros(20_000, d.EVENT)
    decoder = KalshiDecoder({t: k for k, t in enumerate(tickers)}, out, live=True)
    total = sum(decoder.decode(json.dumps(f | {"seq": s}).encode(), 1) for s, f in frames)
    assert total >= len(frames) > 1_000 and decoder.ignored == 0
    for ticker in tickers:
        bids, asks = decoder._books[ticker].sides
        assert max(bids, default=0) < min(asks, default=10_000)


@row("4.49", "A market that the exchange will not subscribe is left out alone: those beside it are followed.")
def test_refused_market():
    async def work():
        async with KalshiStandIn(**usual()) as server:
            clock, ear = VenueClock(server), Ear()
            links = Reconnects(Backoff(20 * MS, 500 * MS, lambda n: n // 2), SECOND)
            rows = {T0: 0, "GONE": 7, T1: 1, T2: 2, T3: 3}
            who = signer(server.key)
            streams = KalshiStreams(
                server.ws_url, who, clock, ear, rows, lambda *_: None, links, private=False
            )
            streams.start()
            try:
                await until(lambda: all(book_of(ear, row)[BID] for row in range(4)))
                await ear.until(e.FeedUp)
                await ear.until(e.Malformed)
                assert not streams._snapshots and streams.connections == 1 and book_of(ear, 7) == ({}, {})
                (stream,) = server.streams
                assert len(stream.by_channel["trade"].markets) == 4
            finally:
                await streams.close()

    run(work())
