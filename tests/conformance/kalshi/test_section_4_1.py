"""Section 4: connection, channels, messages."""

from __future__ import annotations

import asyncio
import json

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    MS,
    SECOND,
    T0,
    T1,
    accepted,
    book_of,
    catalog,
    commands,
    live,
    place,
    reconnected,
    rows_of,
    say,
    sid_of,
    statuses,
    until,
)
from conformance.kalshi.rows import Unused, row
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.decode import KNOWN_TYPES
from pr3dict.venues.kalshi.frames import KINDS
from pr3dict.venues.kalshi.http import MAX_BODY
from pr3dict.venues.kalshi.streams import MAX_FRAME, TICKERS_A_COMMAND
from standins.kalshi import MarketSpec

UNUSED = (
    Unused("Requests for quotes (`communications`)", "only resting quotes are made"),
    Unused(
        "Settlement indices (`cfbenchmarks_value`, `pyth_value`)",
        "fair values come from the user's own sources",
    ),
    Unused(
        "`skip_ticker_ack`, `send_initial_snapshot`, sharded subscriptions",
        "one connection carries all that is followed",
    ),
    Unused("Compression of the stream", "frames are small, and latency counts"),
)
CHANNELS = {
    "orderbook_delta", "trade", "market_lifecycle_v2", "fill", "user_orders", "market_positions",
    "order_group_updates",
}  # fmt: skip


@row("4.1", "One connection carries all markets and all channels, public and private.")
def test_one_connection():
    async def body(server, ear, wire):
        assert len(server.streams) == 1 and server.requests["ws"] == 1
        (stream,) = server.streams
        assert set(stream.by_channel) == CHANNELS

    live(body)


@row("4.2", "Hundreds of markets are subscribed in parts of at most 500 and followed on one connection.")
def test_hundreds_of_markets():
    async def body(server, ear, wire):
        asked = [
            x["params"]["market_tickers"]
            for x in commands(server, "subscribe")
            if "trade" in x["params"]["channels"]
        ]
        assert [len(part) for part in asked] == [500, 100] and TICKERS_A_COMMAND == 500
        await until(lambda: not wire.streams._snapshots, 10)
        server.do("level", ticker="M599", side="bid", price="0.4900", contracts=7)
        await until(lambda: book_of(ear, 599)[BID].get(4900) == 7 * CONTRACT)
        assert len(server.streams) == 1 and not ear.of(e.Malformed)

    many = catalog(*(MarketSpec(f"M{k}", "E") for k in range(600)))
    live(body, catalog=many)


@row("4.3", "The exchange's heartbeats are answered.")
def test_heartbeat():
    async def body(server, ear, wire):
        (stream,) = server.streams
        await until(lambda: stream.pongs >= 2, 5)
        assert wire.streams.connections == 1

    live(body, speed=50.0)


@row("4.4", "A message may be as large as the exchange allows, 64 MiB.")
def test_large_frames():
    assert MAX_FRAME == MAX_BODY == 64 << 20

    async def body(server, ear, wire):
        say(server, {"type": "weather", "sid": 1, "msg": {"text": "x" * 6_000_000}})
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 7 * CONTRACT)
        assert wire.streams.connections == 1

    live(body)


@row(
    "4.5",
    "A connection that breaks without a close frame is noticed, made again with pauses, and subscribed anew.",
)
def test_disconnect():
    async def body(server, ear, wire):
        server.faults.change({"refuse_upgrade": 1.0})
        server.do("disconnect")
        await ear.until(e.FeedDown)
        await asyncio.sleep(0.2)
        refused = server.faults.fired["refuse_upgrade"]
        assert 2 <= refused <= 12
        server.faults.change({"refuse_upgrade": 0})
        await ear.until(e.FeedUp, 2)
        assert set(next(iter(server.streams)).by_channel) == CHANNELS
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=7)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 7 * CONTRACT)

    live(body)


@row("4.6", "A link that is up but says nothing new is noticed by the exchange's own time, and made again.")
def test_silent_freeze():
    async def body(server, ear, wire):
        server.do("freeze", seconds=1_000.0)
        await reconnected(ear, wire)
        assert "nothing new" in ear.of(e.FeedDown)[0].why

    live(body, speed=10.0)


@row("4.7", "Commands carry a number of their own, and the answer with that number is taken for theirs.")
def test_command_numbers():
    async def body(server, ear, wire):
        await ear.until(e.FeedAlive)
        (stream,) = server.streams
        numbers = [x["id"] for x in stream.commands]
        assert len(numbers) == len(set(numbers)) and min(numbers) > 0
        say(server, {"id": 999, "type": "ok", "msg": []})  # an answer to nobody's question proves nothing
        before = wire.streams.connections
        await asyncio.sleep(0.1)
        assert wire.streams.connections == before

    live(body)


@row("4.8", "The streams count as up only when each channel was acknowledged.")
def test_acknowledgements():
    async def refused(server, ear, wire):
        cls = type(next(iter(server.streams)))
        original = cls._join

        def deaf(self, number, channel, markets, params):
            if channel != "fill":
                original(self, number, channel, markets, params)

        cls._join = deaf
        try:
            server.do("disconnect")
            await ear.until(e.FeedDown)
            await until(lambda: wire.streams.connections >= 3, 5)  # given up, and tried again
            assert len(ear.of(e.FeedUp)) == 1 and not wire.streams.is_up
        finally:
            cls._join = original
        await ear.until(e.FeedUp, 2, 5.0)

    live(refused, speed=10.0)


@row("4.9", "Markets that are added join the subscription that stands, and their books come.")
def test_add_markets():
    async def body(server, ear, wire):
        sid = sid_of(server, "orderbook_delta")
        wire.streams._rows.pop(T1)
        server.do("level", ticker=T1, side="bid", price="0.4900", contracts=7)
        (stream,) = server.streams
        stream.by_channel["orderbook_delta"].markets.pop(1)
        await wire.streams.add_markets({T1: 1})
        await until(lambda: stream.by_channel["orderbook_delta"].markets.keys() >= {1})
        assert sid_of(server, "orderbook_delta") == sid and wire.streams.connections == 1
        await until(lambda: book_of(ear, 1)[BID].get(4900) == 7 * CONTRACT)

    live(body)


@row(
    "4.10",
    "The end of a subscription, told or only missing from the exchange's list, leads to a new connection.",
)
def test_lost_subscription():
    async def body(server, ear, wire):
        (stream,) = server.streams
        sub = stream.by_channel.pop("user_orders")
        del stream.subs[sub.sid]
        await reconnected(ear, wire)
        say(server, {"type": "unsubscribed", "sid": sid_of(server, "user_orders"), "id": 0})
        await reconnected(ear, wire, 2)
        assert all("user_orders" in x.why for x in ear.of(e.FeedDown))

    live(body, speed=3.0)


@row(
    "4.11",
    "The list of subscriptions is asked for every second; its answer is our proof of life, by the "
    "exchange's time.",
)
def test_list_subscriptions():
    async def body(server, ear, wire):
        alive = await ear.until(e.FeedAlive, 2)
        assert abs(alive.venue_ns - server.now_ns()) < 2 * SECOND
        assert len(commands(server, "list_subscriptions")) >= 2

    live(body, speed=3.0)


@row("4.12", "The time at which a frame left the exchange is used where it is stated, and missed nowhere.")
def test_sending_time():
    async def body(server, ear, wire):
        for stream in server.streams:
            stream.put = lambda frame, stream=stream: stream.put_raw(json.dumps(frame).encode())
        await ear.until(e.FeedAlive, 3)
        assert not ear.of(e.Malformed) and wire.streams.connections == 1

    live(body, speed=3.0)


@row(
    "4.13",
    "Frames are told apart by their type, which differs from the channel's name; unknown types are "
    "passed over.",
)
def test_envelopes():
    known = KINDS | KNOWN_TYPES
    assert known >= {
        "orderbook_snapshot", "orderbook_delta", "trade", "ticker", "market_lifecycle_v2", "event_fee_update",
        "fill", "user_order", "market_position", "order_group_updates", "subscribed", "ok", "unsubscribed",
        "error",
    }  # fmt: skip
    assert not known & {"user_orders", "market_positions"}

    async def body(server, ear, wire):
        for kind in ("weather", "event_lifecycle", "rfq_created", "user_orders"):
            say(server, {"type": kind, "sid": 1, "msg": {"anything": 1}})
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
        assert (await ear.until(e.Filled)).order_id == 1
        await until(lambda: any(x.why == "filled" for x in ear.of(e.Closed)))
        assert not ear.of(e.Malformed)

    live(body)


@row("4.14", "Which channels carry numbers is not assumed: a number is followed wherever there is one.")
def test_numbers_anywhere():
    async def body(server, ear, wire):
        sid = sid_of(server, "fill")
        fill = {
            "trade_id": "t", "order_id": "o", "client_order_id": "else-1", "market_ticker": T0,
            "is_taker": False, "book_side": "bid", "yes_price_dollars": "0.4500", "count_fp": "1.00",
            "fee_cost": "0.00",
        }  # fmt: skip
        say(server, {"type": "fill", "sid": sid, "seq": 1, "msg": fill})
        await ear.until(e.Filled)
        say(server, {"type": "fill", "sid": sid, "seq": 3, "msg": fill | {"trade_id": "t3"}})
        await reconnected(ear, wire)
        assert "fill" in ear.of(e.FeedDown)[0].why

    live(body)


@row("4.15", "News of markets that are not ours come unasked on the lifecycle channel and are passed over.")
def test_other_markets():
    async def body(server, ear, wire):
        rows = sum(len(x) for x in ear.rows)
        for kind in ("activated", "deactivated", "settled", "brand_new"):
            say(
                server,
                {
                    "type": "market_lifecycle_v2",
                    "sid": 9,
                    "msg": {"event_type": kind, "market_ticker": "ELSE"},
                },
            )
        await ear.until(e.FeedAlive, len(ear.of(e.FeedAlive)) + 1)
        assert sum(len(x) for x in ear.rows) == rows and wire.lives.unknown_words == {}

    live(body, speed=3.0)


@row("4.16", "A snapshot replaces the whole book; a side that is absent from it is empty.")
def test_snapshot():
    async def body(server, ear, wire):
        await until(lambda: len(book_of(ear, 0)[BID]) == 5)
        (stream,) = server.streams
        sub = stream.by_channel["orderbook_delta"]
        stream.numbered(
            sub, "orderbook_snapshot", {"market_ticker": T0, "no_dollars_fp": [["0.5300", "5.00"]]}
        )
        await until(lambda: book_of(ear, 0) == ({}, {5300: 5 * CONTRACT}))
        stream.numbered(sub, "orderbook_snapshot", {"market_ticker": T0})
        await until(lambda: book_of(ear, 0) == ({}, {}))
        assert wire.streams._decoder.is_synced(T0) and not ear.of(e.BookInvalid)

    live(body)


@row(
    "4.17",
    "A delta adds to its level; what reaches zero is gone, what would fall below it makes the book "
    "worthless.",
)
def test_delta():
    async def body(server, ear, wire):
        await until(lambda: book_of(ear, 0)[BID].get(4800) == 100 * CONTRACT)
        (stream,) = server.streams
        sub = stream.by_channel["orderbook_delta"]
        change = {
            "market_ticker": T0,
            "price_dollars": "0.4800",
            "side": "yes",
            "ts_ms": server.now_ns() // MS,
        }
        stream.numbered(sub, "orderbook_delta", change | {"delta_fp": "-40.50"})
        await until(lambda: book_of(ear, 0)[BID].get(4800) == 59_500_000)
        stream.numbered(sub, "orderbook_delta", change | {"delta_fp": "-59.50"})
        await until(lambda: 4800 not in book_of(ear, 0)[BID])
        snapshots = len(rows_of(ear, 0, d.SNAPSHOT))
        stream.numbered(sub, "orderbook_delta", change | {"delta_fp": "-1.00"})
        assert (await ear.until(e.BookInvalid)).why == "negative_size"
        await until(lambda: len(rows_of(ear, 0, d.SNAPSHOT)) > snapshots)
        assert book_of(ear, 0)[BID][4800] == 100 * CONTRACT and wire.streams.connections == 1

    live(body)


@row("4.18", "Deltas of our own orders, which name them, change the book like all others.")
def test_own_deltas():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4800, size=7 * CONTRACT))
        await until(lambda: book_of(ear, 0)[BID].get(4800) == 107 * CONTRACT)
        assert len(ear.of(e.Accepted)) >= 1 and not ear.of(e.Malformed)

    live(body)


@row("4.19", "NO levels are asked for as YES prices, explicitly, and read so.")
def test_yes_prices():
    async def body(server, ear, wire):
        books = [x for x in commands(server, "subscribe") if "orderbook_delta" in x["params"]["channels"]]
        assert books and all(x["params"]["use_yes_price"] is True for x in books)
        await until(lambda: min(book_of(ear, 0)[ASK], default=0) == 5200)

    live(body)


@row("4.20", "Asked for as NO prices, NO levels give the same book.")
def test_no_prices():
    async def body(server, ear, wire):
        books = [x for x in commands(server, "subscribe") if "orderbook_delta" in x["params"]["channels"]]
        assert all(x["params"]["use_yes_price"] is False for x in books)
        server.do("level", ticker=T0, side="ask", price="0.5100", contracts=3)
        await until(lambda: book_of(ear, 0)[ASK].get(5100) == 3 * CONTRACT)
        assert sorted(book_of(ear, 0)[ASK]) == [5100, 5200, 5300, 5400, 5500, 5600]

    live(body, stream={"use_yes_price": False})


@row("4.21", "A trade of the tape comes at its YES price with the side of its taker.")
def test_trade():
    async def body(server, ear, wire):
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="3")
        server.do("take", ticker=T0, taker="ask", price="0.4800", contracts="2")
        await until(lambda: len(rows_of(ear, 0, d.TRADE)) == 2)
        trades = rows_of(ear, 0, d.TRADE)
        assert [(int(x["side"]), int(x["price"]), int(x["qty"])) for x in trades] == [
            (BID, 5200, 3 * CONTRACT),
            (ASK, 4800, 2 * CONTRACT),
        ]

    live(body)


@row("4.22", "The ticker moves no book; its figures are kept where it is asked for.")
def test_ticker():
    async def body(server, ear, wire):
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=3)
        await until(lambda: wire.streams._decoder.ticker is not None)
        ticker = wire.streams._decoder.ticker
        assert (ticker.bid_price, ticker.bid_size, ticker.ask_price) == (4900, 3 * CONTRACT, 5200)

    live(body, stream={"ticker": True})


@row(
    "4.23", "A fill is booked with the whole fee that it states, once, whichever of its messages comes first."
)
def test_fill():
    async def body(server, ear, wire):
        server.faults.change({"duplicate_private": 1.0})
        await accepted(ear, wire, place(wire, 1, T1, price=4900))
        server.do("take", ticker=T1, taker="ask", price="0.4900", contracts="4")
        fill = await ear.until(e.Filled, 2)
        (true,) = server.do("truth")["fills"]
        assert fill.fee_micros == round(float(true["fee_cost"]) * 1e6) > 0 and fill.maker
        assert {x.trade_id for x in ear.of(e.Filled)} == {
            true["trade_id"]
        }  # the engine books a trade id once

    live(body)


STATUSES = {"resting": e.Accepted, "executed": e.Closed, "canceled": e.Closed, "unknown": None}


def order_frame(server, **changes):
    """A `user_order` of the one order there is."""
    (order,) = server.venue.orders.values()
    return {"type": "user_order", "sid": 5, "msg": {**order.told(), **changes}}


@row(
    "4.24",
    "Each state of an order is told: resting, executed, canceled; a state that is not known is counted.",
)
@pytest.mark.parametrize("word", STATUSES)
def test_order_status(word):
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        await until(lambda: len(ear.of(e.Accepted)) >= 2)
        before = len(ear.events)
        say(server, order_frame(server, status=word, fill_count_fp="4.00", remaining_count_fp="0.00"))
        kind = STATUSES[word]
        if kind is None:
            await until(lambda: wire.figures()["unknown_words"] == 1)
            return
        await until(lambda: any(type(x) is kind for x in ear.events[before:]))
        (told,) = [x for x in ear.events[before:] if type(x) is kind]
        assert (told.order_id, told.filled) == (1, 4 * CONTRACT)

    live(body)


REASONS = {
    "MarginCancel": "no_cash", "SelfTradeCancel": "self_trade", "ExpiryCancel": "expired",
    "CloseCancel": "closed", "HaltCancel": "not_active", "PostOnlyCrossCancel": "post_only_cross",
    "ReduceOnlyCancel": "not_held", "SettlementBoundsCancel": "off_grid", "Decrease": "none",
    "Amend": "none", "Trade": "none", "BrandNew": "none",
}  # fmt: skip


@row(
    "4.25",
    "Each reason for which the exchange takes an order out has its word with us; a new one closes it "
    "just the same.",
)
def test_reasons():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        for count, (reason, why) in enumerate(REASONS.items(), 1):
            say(
                server,
                order_frame(server, status="canceled", remaining_count_fp="0.00", last_update_reason=reason),
            )
            closed = await ear.until(e.Closed, count)
            assert (closed.order_id, closed.why) == (1, why)

    live(body)


@row("4.26", "A decrease that is told keeps the order resting with what it names.")
def test_decrease_told():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        say(server, order_frame(server, remaining_count_fp="3.00", last_update_reason="Decrease"))
        reduced = await ear.until(e.Reduced)
        assert (reduced.order_id, reduced.remaining) == (1, 3 * CONTRACT)

    live(body)


@row(
    "4.27",
    "Of what is told about order groups, a group of ours that fired or is gone halts us; the rest "
    "changes nothing.",
)
@pytest.mark.parametrize("kind", ["created", "reset", "limit_updated", "triggered", "deleted", "brand_new"])
def test_groups(kind):
    async def body(server, ear, wire):
        group = next(iter(wire.groups))
        sid = sid_of(server, "order_group_updates")
        for group_id in ("somebody-elses", group):
            say(
                server,
                {
                    "type": "order_group_updates",
                    "sid": sid,
                    "msg": {"event_type": kind, "order_group_id": group_id},
                },
            )
        if kind in ("triggered", "deleted"):
            assert group in (await ear.until(e.Halt)).command_id
        await ear.until(e.FeedAlive, len(ear.of(e.FeedAlive)) + 1)
        assert len(ear.of(e.Halt)) == (kind in ("triggered", "deleted"))

    live(body, terms={"group_limit": 50 * CONTRACT}, speed=3.0)


@row("4.28", "Positions that are told are read and checked, and change nothing: positions follow from fills.")
def test_positions_told():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
        await ear.until(e.Filled)
        await ear.until(e.FeedAlive, len(ear.of(e.FeedAlive)) + 1)
        assert not ear.of(e.Malformed)
        before = [type(x) for x in ear.events if type(x) is not e.FeedAlive]
        told = {"user_id": "u", "market_ticker": T0, "position_fp": "99.00", "subaccount": 0}
        say(server, {"type": "market_position", "sid": 6, "msg": told})
        await ear.until(e.FeedAlive, len(ear.of(e.FeedAlive)) + 1)
        assert [type(x) for x in ear.events if type(x) is not e.FeedAlive] == before

    live(body, speed=3.0)


@row(
    "4.29",
    "An event's fee that is told to have moved is the engine's at once; null means its series' fee again.",
)
def test_fee_update():
    async def body(server, ear, wire):
        await until(lambda: wire.fees.due_ns > 0)
        server.do("event_fees", event="KXA-0", multiplier=0.5)
        moved = await ear.until(e.FeesChanged)
        assert (moved.market, moved.taker_ppm, moved.maker_ppm) == (0, 35_000, 0)
        server.do("event_fees", event="KXA-0", fee_type="quadratic_with_maker_fees")
        moved = await ear.until(e.FeesChanged, 2)
        assert (moved.market, moved.taker_ppm, moved.maker_ppm) == (0, 70_000, 17_500)
        server.do("event_fees", event="KXA-0")
        moved = await ear.until(e.FeesChanged, 3)
        assert (moved.taker_ppm, moved.maker_ppm) == (70_000, 0)
        assert {x.market for x in ear.of(e.FeesChanged)} == {0}

    live(body, speed=3.0)


@row(
    "4.30",
    "A market that is created, or whose description changes, is no reason to do anything else than before.",
)
def test_created():
    async def body(server, ear, wire):
        for kind in ("created", "metadata_updated"):
            say(
                server,
                {"type": "market_lifecycle_v2", "sid": 8, "msg": {"event_type": kind, "market_ticker": T0}},
            )
        await ear.until(e.FeedAlive, len(ear.of(e.FeedAlive)) + 1)
        assert statuses(ear, 0) == [d.ACTIVE] and not ear.of(e.BookInvalid)

    live(body, speed=3.0)
