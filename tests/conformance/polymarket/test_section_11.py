"""Section 11: the official clients beside us at the stand-in, and what the venue may do to us there."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
import ssl
import time
from importlib.metadata import PackageNotFoundError, version

import pytest

from conformance.polymarket.bench import CONTRACT, accepted, desk, live, until
from conformance.polymarket.rows import row
from conformance.polymarket.trade import OTHER_KEY, Books, batch, filled, final, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.models import book_hash
from standins.polymarket import PRIVATE_KEY
from standins.polymarket.faults import HAZARDS, HOOKS
from standins.polymarket.values import NO, YES


def official(package, pinned):
    """Skips where the official client is not there."""
    try:
        found = version(package)
    except PackageNotFoundError:
        found = ""
    if not found.startswith(pinned):
        pytest.skip(f"{package} {pinned} is not installed: the official client can't run")


async def unified(server, monkeypatch, key=PRIVATE_KEY):
    """`polymarket-client` at the stand-in, with the wallet of a key."""
    official("polymarket-client", "0.14")
    from polymarket import AsyncSecureClient
    from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment

    monkeypatch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
    config = dataclasses.replace(
        PRODUCTION_CONFIG, clob_url=server.url, gamma_url=server.gamma_url, relayer_url=server.relayer_url,
        rpc_url=server.rpc_url, clob_market_ws_url=server.market_ws_url, clob_user_ws_url=server.user_ws_url,
        data_url=server.url,
    )  # fmt: skip
    from standins.polymarket.crypto import address_of

    return await AsyncSecureClient.create(
        private_key=key,
        wallet=address_of(key),
        environment=create_environment(name="stand-in", config=config),
    )


@row(
    "11.1",
    "`polymarket-client` with our wallet lists our orders as we sent them, and what it cancels we hear.",
)
def test_the_unified_client_sees_our_orders(monkeypatch):
    async def body(t):
        ours = {
            await accepted(t, 1, price=4_900),
            await accepted(t, 2, price=5_900, side=d.ASK, size=CONTRACT * 7),
        }
        client = await unified(t.server, monkeypatch)
        try:
            seen = {o.id: o async for o in client.list_open_orders().iter_items()}
            assert set(seen) == ours
            assert {(o.side, str(o.price), str(o.original_size)) for o in seen.values()} == {
                ("BUY", "0.49", "10"), ("BUY", "0.41", "7")
            }  # fmt: skip
            await client.cancel_all()
        finally:
            await client.close()
        await t.ear.until(e.Closed, 2)
        assert not t.server.venue.open

    live(body)


@row(
    "11.2",
    "`polymarket-client` takes our order: both of us see one trade, at our price, and the money adds up.",
)
def test_the_unified_client_takes_our_order(monkeypatch):
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        accepted_as = (await t.ear.until(e.Accepted, order_id=1)).venue_id
        client = await unified(t.server, monkeypatch, OTHER_KEY)
        try:
            taker = await client.create_limit_order(
                asset_id=t.server.venue.markets[0].tokens[NO], price="0.53", size="10", side="BUY"
            )
            posted = await client.post_order(taker)
            assert posted.status == "matched"
            [trade] = [trade async for trade in client.list_account_trades().iter_items()]
        finally:
            await client.close()
        [fill] = await filled(t, 10 * CONTRACT)
        assert (fill.trade_id, fill.price) == (f"{trade.id}/{accepted_as}", 4_900)
        assert trade.maker_orders[0].order_id == accepted_as and trade.trader_side == "TAKER"
        await final(t)
        await books.agree()
        assert t.server.do("truth")["unexplained"] == []

    live(body)


@row(
    "11.3",
    "An order that `polymarket-client` signs and one that we sign rest side by side; only ours is ours.",
)
def test_orders_of_the_unified_client(monkeypatch):
    async def body(t):
        await accepted(t, 1, price=4_900)
        client = await unified(t.server, monkeypatch)
        try:
            made = await client.create_limit_order(
                asset_id=t.server.venue.markets[0].tokens[YES], price="0.42", size="8", side="BUY"
            )
            posted = await client.post_order(made)
        finally:
            await client.close()
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        read = await t.ear.until(e.OrdersRead)
        assert {(o.order_id, o.price, o.remaining) for o in read.orders} == {
            (1, 4_900, 10 * CONTRACT), (0, 4_200, 8 * CONTRACT)
        }  # fmt: skip
        assert posted.order_id in {o.venue_id for o in read.orders}

    live(body)


def old_client(server):
    """`py-clob-client-v2` with our wallet; it blocks."""
    official("py-clob-client-v2", "1.2")
    from py_clob_client_v2 import ClobClient

    client = ClobClient(server.url, 137, key=PRIVATE_KEY)
    client.set_api_creds(client.create_or_derive_api_key())
    return client


@row(
    "11.4",
    "`py-clob-client-v2` sees our order and cancels it, which we hear; an order of its own is not ours.",
)
def test_the_old_client():
    async def body(t):
        name = await accepted(t, 1, price=4_900)

        def use():
            from py_clob_client_v2 import OpenOrderParams, OrderArgs, OrderPayload

            client = old_client(t.server)
            [seen] = client.get_open_orders(OpenOrderParams(market=t.lives[0].condition))
            made = client.create_and_post_order(OrderArgs(t.lives[0].yes, 0.41, 9, "BUY"))
            gone = client.cancel_order(OrderPayload(name))
            return client, seen, made, gone

        client, seen, made, gone = await asyncio.to_thread(use)
        assert (seen["id"], seen["price"], seen["original_size"]) == (name, "0.49", "10")
        assert gone == {"canceled": [name], "not_canceled": {}}
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        [left] = (await t.ear.until(e.OrdersRead)).orders
        assert (left.order_id, left.venue_id, left.remaining) == (0, made["orderID"], 9 * CONTRACT)
        assert client.creds.api_key == t.wire._http.key.key

    live(body)


@row("11.5", "The hash of a book that `py-clob-client-v2` computes is ours, and the venue's.")
def test_hashes():
    async def body(server, desk):
        client = await asyncio.to_thread(old_client, server)
        for terms in desk.terms:
            for token in (terms.yes, terms.no):
                theirs = await asyncio.to_thread(client.get_order_book, token)
                computed = await asyncio.to_thread(client.get_order_book_hash, theirs)
                reply = await desk.http.call(Call("GET", "/book", query={"token_id": token}))
                assert book_hash(reply.body) == computed == (await desk.rest.book(token)).hash

    desk(body, speed=0)


@row(
    "11.6", "Orders at one price trade in the order in which they came: ours waits for what was there before."
)
def test_time_priority():
    async def body(t):
        await accepted(t, 1, price=4_800)  # behind a hundred
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="100")
        await asyncio.sleep(0.1)
        assert not t.ear.of(e.Filled)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="4")
        [fill] = await filled(t, 4 * CONTRACT)
        assert fill.size == 4 * CONTRACT

    live(body)


@row("11.7", "Whether the channel or the answer comes first, or the answer never, an order ends up the same.")
@pytest.mark.parametrize("first", [0.0, 1.0, None])
def test_races(first):
    faults = {"lost_answer": 1.0} if first is None else {"stream_first": first, "answer_delay_ms": [20, 60]}

    async def body(t):
        books = Books(t)
        t.server.faults.change(faults)
        for number in range(1, 9):
            books.send(order(number, 5_200 if number % 2 else 4_000, 5 * CONTRACT, tif=d.LIMIT))
            await asyncio.sleep(0.01)
        await until(lambda: sum(f.size for f in t.ear.of(e.Filled)) == 20 * CONTRACT)
        t.server.faults.change({"lost_answer": 0.0})
        await final(t)
        await until(lambda: [books.state(n) for n in (1, 3, 5, 7)] == [""] * 4)
        assert books.held() == (20 * CONTRACT, 0) and len(t.server.venue.open) == 4
        await books.agree()

    live(body)


@row(
    "11.8", "Every kind of answer that goes wrong, mixed, leaves each order known as taken or as never there."
)
def test_answers_that_go_wrong():
    faults = (
        "error_after_apply", "error_before_apply", "lost_answer", "lost_request", "malformed_answer",
        "ip_limit_after", "ip_limit_before", "order_timed_out", "too_many_requests",
    )  # fmt: skip

    async def body(t):
        t.server.faults.change({**dict.fromkeys(faults, 0.12), "seed": 3})
        for number in range(1, 31):
            t.place(number, price=3_000 + 100 * (number % 3), size=5 * CONTRACT)
        kinds = (e.Accepted, e.Refused, e.NotSent, e.AnswerLost)
        await until(lambda: len({x.order_id for k in kinds for x in t.ear.of(k)}) == 30)
        await asyncio.sleep(0.3)
        t.server.faults.change(dict.fromkeys(faults, 0))
        lost = {x.order_id for x in t.ear.of(e.AnswerLost)}
        assert lost
        for number in lost:
            t.wire.send(0, [c.ReadOrder(order_id=number, market=0, venue_id=t.wire.orders.digest(number))])
        await until(lambda: len(t.ear.of(e.OrderRead)) == len(lost))
        known = {r.order_id for r in t.ear.of(e.OrderRead) if r.status == "open"}
        known |= {x.order_id for x in t.ear.of(e.Accepted)}
        assert {t.wire.orders.digest(n) for n in known} == set(t.server.venue.open)
        refused = {x.order_id for x in t.ear.of(e.Refused)} | {x.order_id for x in t.ear.of(e.NotSent)}
        assert not refused & known

    live(body, tier="elite")


@row(
    "11.9",
    "Reads that lag behind the matching are believed only as of then: no order is called gone too early.",
)
def test_reads_that_lag():
    async def body(t):
        books = Books(t)
        t.server.faults.change({"read_lag_ms": [400, 900]})
        books.send(order(1, 4_000, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        books.send(c.ReadOrders(venue="polymarket"))
        read = await t.ear.until(e.OrdersRead)
        assert read.orders == () and read.as_of_ns <= read.asked_ns - 10**9
        assert books.state(1) == "live"

    live(body)


@row("11.10", "Order sizes in base units and statuses with a prefix are read as what they are.")
def test_other_words():
    async def body(t):
        await batch(t, {"price": 4_900}, {"price": 4_100, "size": 12_340_000})
        await t.ear.until(e.Accepted, 2)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        await filled(t, 4 * CONTRACT)
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        read = await t.ear.until(e.OrdersRead)
        assert {(o.order_id, o.remaining, o.filled) for o in read.orders} == {
            (1, 6 * CONTRACT, 4 * CONTRACT), (2, 12_340_000, 0)
        }  # fmt: skip

    live(body, faults={"base_units": 1.0, "status_prefix": 1.0})


async def trouble(t, books, chance):
    """Orders, cancels, takers and hazards for a while; how many orders there were."""
    rests: list[int] = []
    for number in range(1, 121):
        side, price = chance.choice([(d.BID, 4_900), (d.BID, 4_800), (d.ASK, 5_100), (d.ASK, 5_200)])
        books.send(order(number, price, chance.randrange(5, 20) * CONTRACT, side=side))
        rests.append(number)
        if len(rests) > 5:
            books.send(c.Cancel(order_id=rests.pop(0), market=0))
        if chance.random() < 0.4:
            taker, to = chance.choice([("ask", "0.48"), ("bid", "0.52")])
            t.server.do("take", market="plain-0", taker=taker, price=to, shares=str(chance.randrange(1, 40)))
        if chance.random() < 0.06:
            t.server.controls.hazard(chance.choice(["disconnect", "freeze", "unknown_frame", "clear_book"]))
        await asyncio.sleep(0.015)
    return 120


@row(
    "11.11",
    "Streams cut, frozen, doubled, shuffled, thinned out, trades that fail: afterwards all agrees.",
)
def test_everything_at_once():
    mix = {
        "trade_failed": 0.25, "trade_retrying": 0.3, "duplicate_user": 0.3, "reorder_user": 0.2,
        "drop_user": 0.05, "drop_market": 0.05, "array_frames": 0.4, "unknown_status": 0.2,
        "empty_numbers": 0.1, "odd_times": 0.2, "malformed_frame": 0.01, "lost_answer": 0.03,
        "stream_first": 0.5, "null_fields": 0.2, "frame_delay_ms": [0, 20], "retry_s": [1.0, 2.0],
        "mine_s": [0.5, 1.5], "confirm_s": [0.5, 1.5],
    }  # fmt: skip

    async def body(t):
        books = Books(t)
        placed = await trouble(t, books, random.Random(7))
        t.server.faults.change(dict.fromkeys((k for k in mix if not k.endswith(("_s", "_ms"))), 0.0))
        await asyncio.sleep(1.0)
        books.send(c.CancelAll(venue="polymarket", why="test"))
        await until(lambda: not t.server.venue.open, 8)
        await until(lambda: not t.server.venue.ledger.moving, 8)
        read = len(t.ear.of(e.FillsRead))
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0)])
        await t.ear.until(e.FillsRead, read + 1)
        await books.agree()
        assert t.server.do("truth")["unexplained"] == [] and sum(books.held()) > 0
        assert len({x.order_id for x in t.ear.of(e.Sent)}) == placed

    live(body, faults=mix, speed=10.0, tier="elite")


@row("11.12", "A venue that turns new connections away is knocked at again, later and later, until it opens.")
def test_refused_connections():
    async def body(t):
        t.server.faults.change({"refuse_upgrade": 1.0})
        t.server.do("disconnect")
        await t.ear.until(e.FeedDown)
        knocked = t.server.requests["ws_user"]
        await until(lambda: t.server.requests["ws_user"] >= knocked + 3)
        t.server.faults.change({"refuse_upgrade": 0.0})
        assert (await t.ear.until(e.FeedUp, 2)).venue == "polymarket"

    live(body)


@row(
    "11.13",
    "A market that resolves while orders rest and trades are on their way is settled once, and right.",
)
def test_resolution_in_the_middle():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 20 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="12")
        t.server.do("resolve", market="plain-0", result="yes")
        await t.ear.until(e.Settled)
        await t.ear.until(e.Closed, order_id=1)
        await until(lambda: not t.server.venue.ledger.moving)
        await final(t)
        await books.agree()
        assert books.held() == (0, 0) and len(t.ear.of(e.Settled)) == 1

    live(body)


@row(
    "11.14", "What was sent and is not known to be over is in the books as exposure, until a read says more."
)
def test_exposure_of_the_unknown():
    async def body(t):
        books = Books(t)
        t.server.faults.change({"lost_request": 1.0, "drop_user": 1.0})
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.AnswerLost, order_id=1)
        books.hear()
        [doubtful] = books.account.open_orders(0)
        assert doubtful.order_id == 1
        t.server.faults.change({"lost_request": 0.0, "drop_user": 0.0})
        await asyncio.sleep(1.05)  # reads may lag behind by a second
        books.send(c.ReadOrder(order_id=1, market=0, venue_id=t.wire.orders.digest(1)))
        assert (await t.ear.until(e.OrderRead)).status == "not_found"

    live(body)


@row("11.15", "Every fault that the stand-in knows has a name and a sentence, and strikes when it is armed.")
def test_hooks():
    async def body(server, desk):
        assert all(HOOKS.values()) and all(HAZARDS.values())
        for name in (
            "lost_answer",
            "order_timed_out",
            "too_many_requests",
            "ip_limit_before",
            "lost_request",
        ):
            server.do("arm", fault=name, times=1)
            before = server.faults.fired[name]
            await desk.place(int(time.monotonic_ns() % 10**9))
            assert server.faults.fired[name] == before + 1
        with pytest.raises(ValueError, match="no fault"):
            server.do("arm", fault="rain")

    desk(body)
