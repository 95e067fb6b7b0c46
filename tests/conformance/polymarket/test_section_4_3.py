"""Section 4, third part: the account's channel."""

from __future__ import annotations

import pytest

from conformance.polymarket.bench import CONTRACT, MS, SECOND, accepted, live, say, until
from conformance.polymarket.rows import row
from conformance.polymarket.trade import Books, final, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from standins.polymarket.streams import UserStream

MAKER = "0x" + "77" * 32


def user_of(t):
    """The account's connection as the stand-in has it."""
    return next(s for s in t.server.streams if isinstance(s, UserStream))


def order_frame(t, digest, **more):
    """A message about an order of ours."""
    life = t.lives[0]
    return {
        "event_type": "order", "type": "UPDATE", "id": digest, "owner": t.streams._user._key.key,
        "market": life.condition, "asset_id": life.yes, "side": "BUY", "price": "0.4", "status": "LIVE",
        "original_size": "10", "size_matched": "0", "outcome": "Yes", "order_type": "GTD",
        "associate_trades": None, "timestamp": str(t.clock.now_ns() // MS), **more,
    }  # fmt: skip


def trade_frame(t, digest, **more):
    """A message about a trade in which another order took from ours."""
    life, now_s = t.lives[0], t.clock.now_ns() // SECOND
    mine = {
        "order_id": digest, "owner": t.streams._user._key.key, "maker_address": t.server.address,
        "matched_amount": "4", "price": "0.4", "asset_id": life.yes, "outcome": "Yes", "side": "BUY",
    }  # fmt: skip
    return {
        "event_type": "trade", "type": "TRADE", "id": "t1", "taker_order_id": MAKER, "market": life.condition,
        "asset_id": life.no, "side": "BUY", "size": "4", "price": "0.6", "status": "MATCHED",
        "owner": "somebody", "trade_owner": mine["owner"], "trader_side": "MAKER", "fee_rate_bps": "0",
        "match_time": str(now_s), "last_update": str(now_s), "timestamp": str(now_s * 1000),
        "transaction_hash": "", "maker_orders": [mine], **more,
    }  # fmt: skip


@row("4.53", "The account's channel is asked for all markets at once: who we are, and no market.")
def test_hello():
    async def body(t):
        (said,) = t.streams._user.hello()
        assert said["type"] == "user" and "markets" not in said
        assert user_of(t).markets is None and user_of(t).owner == t.server.address

    live(body)


@row("4.54", "Placement, update and cancellation of an order are followed, each with what has traded.")
def test_life_of_an_order():
    async def body(t):
        digest = await accepted(t, 1, price=4_900)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        await until(lambda: any(x.filled == 4 * CONTRACT for x in t.ear.of(e.Accepted, order_id=1)))
        t.server.do("cancel_by_hand", order=digest)
        closed = await t.ear.until(e.Closed, order_id=1)
        assert closed.filled == 4 * CONTRACT

    live(body)


@row("4.55", "A trade's time is read under both its spellings, as seconds, milliseconds or ISO text.")
@pytest.mark.parametrize(
    "change",
    [
        {"match_time": "1763800001"},
        {"match_time": None, "matchtime": "1763800001"},
        {"match_time": "2025-11-22T08:26:41Z"},
        {"match_time": "1763800001000"},
        {"match_time": "", "timestamp": "1763800001000"},
    ],
)
def test_times(change):
    async def body(t):
        digest = await accepted(t, 1)
        said = {name: value for name, value in trade_frame(t, digest, **change).items() if value is not None}
        say(t.server, said, channel="user")
        fill = await t.ear.until(e.Filled)
        assert fill.exch_ns == 1_763_800_001 * SECOND and t.streams.malformed == 0

    live(body)


@row("4.56", "A trade that does not say when it was matched is not guessed at: the channel is given up.")
def test_no_time():
    async def body(t):
        digest = await accepted(t, 1)
        say(t.server, trade_frame(t, digest, match_time="", timestamp=""), channel="user")
        await t.ear.until(e.FeedDown)
        assert not t.ear.of(e.Filled) and t.streams.malformed == 1
        await t.ear.until(e.FeedUp, 2)

    live(body)


@row("4.57", "Numbers that come as empty texts mean not known, where Polymarket is known to send them so.")
def test_empty_numbers():
    async def body(t):
        digest = await accepted(t, 1)
        say(t.server, order_frame(t, digest, size_matched="", original_size=""), channel="user")
        say(t.server, order_frame(t, digest, size_matched="", status="CANCELED", type="CANCELLATION"),
            channel="user")  # fmt: skip
        closed = await t.ear.until(e.Closed, order_id=1)
        assert closed.filled == -1 and t.streams.malformed == 0 and t.streams.connections == 2

    live(body)


@row(
    "4.58",
    "A status that nobody knows is counted and concludes nothing; missing lists never hurt.",
)
def test_unknown_words():
    async def body(t):
        digest = await accepted(t, 1)
        await until(lambda: len(t.ear.of(e.Accepted, order_id=1)) == 2)  # by the answer and by the channel
        before = list(t.ear.events)
        bare = order_frame(t, digest, status="RESTING_ELSEWHERE")
        for name in ("associate_trades", "order_type", "outcome", "owner"):
            del bare[name]
        say(t.server, bare, {"event_type": "greeting", "text": "hello"}, channel="user")
        await until(lambda: t.wire.figures()["unknown_words"] == 1)
        assert [x for x in t.ear.events[len(before) :] if getattr(x, "order_id", 0) == 1] == []
        assert t.streams.malformed == 0

    live(body)


@row("4.59", "A fill takes token, side, price and size from our own part, whatever the top says.")
@pytest.mark.parametrize(
    ("taker", "side", "price"), [("no", "BUY", "0.6"), ("yes", "SELL", "0.4"), ("yes", "SELL", "0.399")]
)
def test_own_row(taker, side, price):
    async def body(t):
        digest = await accepted(t, 1)
        asset = getattr(t.lives[0], taker)
        say(
            t.server,
            trade_frame(t, digest, asset_id=asset, side=side, price=price, size="40"),
            channel="user",
        )
        fill = await t.ear.until(e.Filled)
        assert (fill.order_id, fill.side, fill.price, fill.size) == (1, d.BID, 4_000, 4 * CONTRACT)
        assert fill.maker and fill.fee_micros == 0

    live(body)


@row("4.60", "A message about us that can't be read ends the connection: what it said is read anew.")
@pytest.mark.parametrize("damage", [{"price": 0.4}, {"matched_amount": "4,0"}, {"side": "LONG"}])
def test_unreadable(damage):
    async def body(t):
        digest = await accepted(t, 1)
        said = trade_frame(t, digest)
        said["maker_orders"][0] |= damage
        say(t.server, said, channel="user")
        await t.ear.until(e.FeedDown)
        await t.ear.until(e.FeedUp, 2)
        assert not t.ear.of(e.Filled) and t.ear.of(e.Malformed)

    live(body)


@row("4.61", "Nothing is replayed: what was missed is found by reading orders and trades after a reconnect.")
def test_missed():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT), order(2, 4_000, 10 * CONTRACT))
        await until(lambda: len(t.server.do("truth")["open_orders"]) == 2)
        await t.ear.until(e.Accepted, order_id=2)
        since_ns = t.clock.now_ns()
        user_of(t).frozen_until_ns = 2**62
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        t.server.do("cancel_by_hand", order=t.ear.of(e.Sent, order_id=2)[0].venue_id)
        t.server.do("disconnect")
        await t.ear.until(e.FeedUp, 2)
        assert not t.ear.of(e.Filled) and not t.ear.of(e.Closed)
        t.wire.send(0, [c.ReadOrders(venue="polymarket"), c.ReadFills(venue="polymarket", since_ns=since_ns)])
        (fill,) = (await t.ear.until(e.FillsRead)).fills
        (left,) = (await t.ear.until(e.OrdersRead)).orders
        assert (fill.order_id, fill.size) == (1, 4 * CONTRACT)
        assert (left.order_id, left.remaining) == (1, 6 * CONTRACT)

    live(body)


@row("4.62", "A channel that does not mention an order which was taken carries nothing, and is given up.")
def test_silent_channel():
    async def body(t):
        user_of(t).frozen_until_ns = 2**62
        await accepted(t, 1, expiry_ns=0)
        down = await t.ear.until(e.FeedDown)
        assert "does not mention" in down.why
        await t.ear.until(e.FeedUp, 2)

    live(body, speed=15.0)


@row("4.63", "The venue counts as up once the account's channel and a market channel answer, not before.")
def test_up():
    async def body(t):
        kinds = [type(x) for x in t.ear.events]
        assert kinds.index(e.FeedUp) < kinds.index(e.FeedAlive)
        t.server.cut(user_of(t))
        down = await t.ear.until(e.FeedDown)
        assert down.venue == "polymarket" and not t.ear.of(e.BookInvalid)  # books are another connection's
        await t.ear.until(e.FeedUp, 2)

    live(body)


@row("4.64", "A proof of life is told at the time at which what was answered had been sent, not received.")
def test_proof_of_life():
    async def body(t):
        before = t.clock.now_ns()
        t.server.faults.change({"frame_delay_ms": [100, 100]})
        told = len(t.ear.of(e.FeedAlive))
        alive = await t.ear.until(e.FeedAlive, told + 3, 6.0)
        assert before < alive.venue_ns < t.clock.now_ns() - 50 * MS

    live(body, speed=5.0)


@row("4.65", "A fill that was told by two routes, or again after a reconnect, is one fill.")
def test_two_routes():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        fill = await t.ear.until(e.Filled)
        t.server.do("disconnect")
        await t.ear.until(e.FeedUp, 2)
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0)])
        (again,) = (await t.ear.until(e.FillsRead)).fills
        assert again.trade_id == fill.trade_id
        await final(t)
        assert books.held() == (4 * CONTRACT, 0) and len(t.ear.of(e.Filled)) == 1

    live(body)
