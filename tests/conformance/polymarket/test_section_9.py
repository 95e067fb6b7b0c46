"""Section 9: what trips people up, and does not trip us."""

from __future__ import annotations

import asyncio

import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    book_of,
    changed,
    desk,
    listening,
    live,
    until,
)
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import Books, batch, filled, final, next_second, order, other_trader
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.polymarket_access import polymarket_access
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import Lease, LeaseHeldError
from pr3dict.venues.polymarket.outcomes import Restriction
from pr3dict.venues.polymarket.venue_watch import MOST_PAUSE_NS, Restrictions
from standins.polymarket import PRIVATE_KEY
from standins.polymarket.probe import Probe

UNUSED = (
    Unused(
        "The official clients' streams and order loops", "they drop events and repost orders by themselves"
    ),
    Unused("Positions of the Data API", "they are minutes old; balances of the chain are asked for"),
    Unused("Orders of a session key, which its owner does not see", "one process trades with one key"),
)
SLOW = {"mine_s": [600, 600]}


@row("9.1", "The best price is looked for, not taken from one end of the list, whichever way it is sorted.")
@pytest.mark.parametrize("turned", [False, True])
def test_best_prices(turned):
    async def body(t):
        def turn(answer):
            if not turned:
                return answer
            return answer | {"bids": answer["bids"][::-1], "asks": answer["asks"][::-1]}

        changed(t.server, "book", turn)
        t.wire.send(0, [c.ReadBook(market=0)])
        read = await t.ear.until(e.BookRead)
        assert (read.bid_price, read.ask_price) == (4_800, 5_200)

    live(body)


@row("9.2", "A trade is told at each step of its way, twice, late and out of order: it is one fill.")
def test_one_fill():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="3")
        await filled(t, 7 * CONTRACT)
        await final(t)
        await asyncio.sleep(0.2)
        assert [f.size for f in t.ear.of(e.Filled)] in (
            [4 * CONTRACT, 3 * CONTRACT],
            [3 * CONTRACT, 4 * CONTRACT],
        )
        assert len(t.ear.of(e.FillFinal)) + sum(f.final for f in t.ear.of(e.Filled)) == 2
        assert books.held() == (7 * CONTRACT, 0)
        await books.agree()

    live(body, faults={"duplicate_user": 1.0, "reorder_user": 0.3, "unknown_status": 0.5})


@row(
    "9.3",
    "A third of all trades may fail: each is taken back by itself, and what is left agrees with the chain.",
)
def test_failing_trades():
    async def body(t):
        books = Books(t)
        for number in range(1, 13):
            books.send(order(number, 4_900, 5 * CONTRACT))
            await t.ear.until(e.Accepted, order_id=number)
            t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="5")
        await until(lambda: len({f.trade_id for f in t.ear.of(e.Filled)}) == 12)
        await final(t)
        void = len(t.ear.of(e.FillVoided))
        assert 0 < void < 12 and books.held() == ((12 - void) * 5 * CONTRACT, 0)
        await books.agree()
        assert t.server.do("truth")["unexplained"] == []

    live(body, faults={"trade_failed": 0.35, "trade_retrying": 0.35, "retry_s": [0.05, 0.1]})


@row("9.4", "A refusal hides in a batch that was answered 200: each order's own words count.")
def test_hidden_refusals():
    async def body(t):
        sale = {"side": d.ASK, "price": 6_000, "sell": True}
        await batch(t, {"size": 10**6 * CONTRACT}, {"price": 5_300}, sale, {"price": 4_000})
        why = {}
        for number in (1, 2, 3):
            why[number] = (await t.ear.until(e.Refused, order_id=number)).why
        assert why == {1: "no_cash", 2: "post_only_cross", 3: "not_held"}
        await t.ear.until(e.Accepted, order_id=4)
        assert len(t.server.venue.open) == 1 and t.server.requests["place_many"] == 1

    live(body)


@row(
    "9.5", "A purchase that must trade at once buys its size and no more, however much better the prices are."
)
@pytest.mark.parametrize("price", [5_200, 9_000])
def test_never_more_than_its_size(price):
    async def body(t):
        books = Books(t)
        books.send(order(1, price, 30 * CONTRACT, tif=d.IOC))
        closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("filled", 30 * CONTRACT)
        fills = await filled(t, 30 * CONTRACT)
        assert [(f.price, f.size) for f in fills] == [(5_200, 30 * CONTRACT)]
        await final(t)
        await books.agree()
        assert books.held() == (30 * CONTRACT, 0) and not t.server.venue.open

    live(body)


@row(
    "9.6",
    "What of such a purchase finds nobody is cancelled at once; should we die, it ends within two minutes.",
)
def test_the_rest_ends():
    async def body(t):
        books = Books(t)
        with listening(t.server, writes=True) as heard:
            books.send(order(1, 5_200, 130 * CONTRACT, tif=d.IOC))
            closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("unfilled_ioc", 100 * CONTRACT)
        await filled(t, 100 * CONTRACT)
        assert books.state(1) == "" and not t.server.venue.open and books.held() == (100 * CONTRACT, 0)
        [posted] = [h.body for h in heard if h.path == "/order" and h.method == "POST"]
        ahead_s = int(posted["order"]["expiration"]) - 60 - t.clock.now_ns() // SECOND
        assert posted["orderType"] == "GTD" and 100 <= ahead_s <= 122

    live(body)


@row("9.7", "A purchase that must fill whole or not at all would state dollars: it does not leave.")
def test_no_purchase_in_dollars():
    async def body(t):
        t.place(1, price=5_200, tif=d.FOK)
        refused = await t.ear.until(e.NotSent, order_id=1)
        assert "dollars" in refused.why and t.server.requests["place"] == 0

    live(body)


@row("9.8", "A sale that must trade at once states contracts, and what of it finds nobody ends by itself.")
def test_sales_at_once():
    async def body(t):
        t.server.do("split", market="plain-0", shares="130")
        with listening(t.server, writes=True) as heard:
            t.place(1, side=d.ASK, price=4_800, sell=True, size=130 * CONTRACT, tif=d.IOC)
            closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("unfilled_ioc", 100 * CONTRACT)
        [posted] = [h.body for h in heard if h.path == "/order"]
        assert (posted["orderType"], posted["order"]["makerAmount"]) == ("FAK", "130000000")
        t.place(2, side=d.ASK, price=4_900, sell=True, tif=d.FOK)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "unfilled_ioc"

    live(body)


@row("9.9", '"Already canceled or matched" may mean filled: the order is read, and its fill found.')
def test_already_matched():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.faults.change({"drop_user": 1.0})
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        books.send(c.Cancel(order_id=1, market=0))
        refused = await t.ear.until(e.RequestRefused, order_id=1)
        assert refused.why == "unknown_order" and books.state(1)
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0), c.ReadOrder(order_id=1, market=0)])
        read = await t.ear.until(e.OrderRead)
        assert (read.status, read.filled) == ("closed", 10 * CONTRACT)
        await t.ear.until(e.FillsRead)
        assert books.held() == (10 * CONTRACT, 0)

    live(body)


@row(
    "9.10",
    "A coarser tick ends orders that are off it: the venue says so, and new ones keep to the new tick.",
)
def test_a_coarser_tick():
    async def body(t):
        await accepted(t, 1, market=1, price=4_850)
        await accepted(t, 2, market=1, price=4_800)
        t.server.do("change_tick", market="plain-1", tick="0.01")
        await t.ear.until(e.Closed, order_id=1)
        assert [o.price for o in t.server.venue.open.values()] == [4_800]
        await until(lambda: t.wire.lives.of_row(1).tick == 100)
        t.place(3, market=1, price=4_750)
        await t.ear.until(e.NotSent, order_id=3)
        await accepted(t, 4, market=1, price=4_700)

    live(body)


@row(
    "9.11",
    "Nothing is deployed, approved or sent on the chain by itself: a session asks the order API alone.",
)
def test_only_the_order_api():
    async def body(t):
        with listening(t.server) as heard:
            await accepted(t, 1)
            reads = [
                c.ReadOrders(venue="polymarket"),
                c.ReadPositions(venue="polymarket"),
                c.ReadBook(market=0),
            ]
            t.wire.send(
                0, [*reads, c.ReadBalance(venue="polymarket"), c.ReadFills(venue="polymarket", since_ns=0)]
            )
            await t.ear.until(e.FillsRead)
            await t.ear.until(e.BalanceRead)
        paths = {h.path for h in heard}
        assert not {
            p for p in paths if p.startswith(("/relayer", "/rpc", "/positions", "/v2", "/price", "/midpoint"))
        }
        assert t.server.requests["unknown"] == 0

    live(body)


@row("9.12", "A burst of a thousand messages about us loses none of them.")
def test_a_burst():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 2_000 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        for _ in range(300):
            t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="1")
        await filled(t, 300 * CONTRACT)
        await final(t)
        assert len(t.ear.of(e.Filled)) == 300 and books.held() == (300 * CONTRACT, 0)
        assert not t.ear.of(e.FeedDown)

    live(body)


@row("9.13", "Empty texts for numbers and times in every spelling are read, or the fill is found by a read.")
def test_odd_frames():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        await filled(t, 10 * CONTRACT)
        await final(t)
        assert books.held() == (10 * CONTRACT, 0) and books.state(1) == ""
        await books.agree()

    live(body, faults={"empty_numbers": 1.0, "odd_times": 1.0})


@row("9.14", "Null where a text or list belongs does not hide that an order was taken, or cancelled.")
def test_nulls():
    async def body(t):
        def nulls(answer):
            return answer | {"not_canceled": None}

        changed(t.server, "cancel", nulls)
        await accepted(t, 1)
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        assert len((await t.ear.until(e.OrdersRead)).orders) == 1
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        await t.ear.until(e.Closed, order_id=1)

    live(body, faults={"null_fields": 1.0})


@row("9.15", "The answer to an order is not waited for until its trades are settled.")
def test_no_waiting_for_trades():
    async def body(t):
        began = asyncio.get_running_loop().time()
        t.place(1, price=5_200, tif=d.LIMIT)
        told = await t.ear.until(e.Accepted, order_id=1)
        assert told.filled == 10 * CONTRACT and asyncio.get_running_loop().time() - began < 0.5
        assert not (await t.ear.until(e.Filled)).final

    live(body, faults=SLOW)


@row("9.16", "When our heartbeats stop, the venue cancels what still rests: nothing outlives us.")
def test_no_order_outlives_us():
    async def body(t):
        await accepted(t, 1)
        await asyncio.sleep(0.5)
        assert len(t.server.venue.open) == 1
        await t.wire.close()
        await until(lambda: not t.server.venue.open)

    live(body, speed=20.0)


@row("9.17", "Another process with our API key is noticed by its heartbeats; ours count all the same.")
def test_a_second_process():
    async def body(t):
        await accepted(t, 1)
        async with Probe(t.server) as twin:
            said = ""
            for _ in range(30):
                status, told = await twin.call("POST", "/v1/heartbeats", {"heartbeat_id": said})
                said = told["heartbeat_id"]
                if status != 200:
                    await twin.call("POST", "/v1/heartbeats", {"heartbeat_id": said})
                await asyncio.sleep(0.1)
                if t.wire.heartbeats.strangers:
                    break
        assert t.wire.heartbeats.strangers == 1 and t.wire.heartbeats.lost == 0
        assert len(t.server.venue.open) == 1

    live(body, speed=20.0)


@row(
    "9.18",
    "Less than a hundredth of a contract that is left of an order is nothing: the order counts as filled.",
)
def test_dust():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="9.995")
        closed = await t.ear.until(e.Closed, order_id=1)
        assert closed.why == "filled"
        await final(t)
        t.wire.send(0, [c.ReadOrders(venue="polymarket"), c.ReadOrder(order_id=1, market=0)])
        assert (await t.ear.until(e.OrderRead)).status == "closed"
        assert (await t.ear.until(e.OrdersRead)).orders == ()
        assert books.state(1) == "" and books.held() == (9_995_000, 0)
        await books.agree()

    live(body)


@row(
    "9.19",
    "A quiet market is not a dead one: without a message its book is trusted on, as long as reads agree.",
)
def test_quiet_is_not_dead():
    async def body(t):
        await until(lambda: t.wire.books.compared >= 8)
        assert not t.ear.of(e.BookInvalid) and not t.ear.of(e.FeedDown)

    live(body, speed=30.0)


@row(
    "9.20",
    "A connection that answers PING and says nothing is found out by another route, and the book asked anew.",
)
def test_alive_is_not_fresh():
    async def body(t):
        t.server.do("freeze", seconds=12.0)
        t.server.do("level", market="plain-0", side="bid", price="0.49", shares="77")
        lost = await t.ear.until(e.BookInvalid)
        assert (lost.market, lost.why) == (0, "differs") and t.wire.books.frozen >= 1
        await until(lambda: book_of(t)[0].get(4_900) == 77 * CONTRACT)

    live(body, speed=10.0)


@row("9.21", "Nothing is told again after a break: what was missed is read before anything is quoted.")
def test_nothing_is_replayed():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("disconnect")
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        await t.ear.until(e.FeedDown)
        await t.ear.until(e.FeedUp, 2)
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0), c.ReadOrder(order_id=1, market=0)])
        read = await t.ear.until(e.FillsRead)
        assert sum(f.size for f in read.fills) == 10 * CONTRACT
        await t.ear.until(e.OrderRead)
        assert books.held() == (10 * CONTRACT, 0)

    live(body, faults=SLOW)


@row(
    "9.22", "Where a restart does not say how long to wait, the pause doubles from a second to half a minute."
)
def test_pauses():
    venue, now_ns, spans = Restrictions(), 10**18, []
    for _ in range(8):
        venue.heard(now_ns, Restriction.RESTARTING, 0)
        spans.append(venue.until_ns - now_ns)
        now_ns = venue.until_ns
    assert spans == [min(SECOND << k, MOST_PAUSE_NS) for k in range(8)]


@row("9.23", "An order whose market is over is cancelled by the venue with its reason; the position is paid.")
def test_a_market_that_ends_with_orders():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        await filled(t, 4 * CONTRACT)
        await final(t)
        t.server.do("resolve", market="plain-0", result="yes")
        closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("closed", 4 * CONTRACT)
        await t.ear.until(e.Settled)
        await books.agree()
        assert books.held() == (0, 0)

    live(body)


@row(
    "9.24",
    "A trade that confirms after it was called failed, or fails after it was confirmed, is told as such.",
)
def test_contradictions():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        [fill] = await filled(t, 10 * CONTRACT)
        await final(t)
        [trade] = t.server.venue.trades.values()
        t.server.venue._advance(trade, "FAILED")
        t.server.venue.flush()
        void = await t.ear.until(e.FillVoided)
        assert void.trade_id == fill.trade_id and "confirmed" in void.why

    live(body)


@row(
    "9.25",
    "What was bought and sold again within a day of trades leaves books, balances and fees in agreement.",
)
def test_round_trips():
    async def body(t):
        books = Books(t)
        async with other_trader(t.server, plain_0="60") as other:
            for lap in range(3):
                number = 10 * lap
                books.send(order(number + 1, 4_900, 10 * CONTRACT))
                await t.ear.until(e.Accepted, order_id=number + 1)
                await other.placed(side="SELL", price=0.49, size=10)
                await filled(t, 10 * CONTRACT, number + 1)
                await final(t)
                await next_second(t)
                books.send(order(number + 2, 5_100, 10 * CONTRACT, side=d.ASK, sell=True))
                await t.ear.until(e.Accepted, order_id=number + 2)
                await other.placed(price=0.51, size=10)
                await filled(t, 10 * CONTRACT, number + 2)
                await final(t)
                await next_second(t)
        assert books.held() == (0, 0) and books.account.fees_micros(0) <= 0
        await books.agree()
        assert books.account.cash_micros == 10_000_000_000 + 3 * 10 * 20_000

    live(body, speed=10.0)


@row("9.26", "A book that says nothing of an order that it took counts as deaf, and is connected anew.")
def test_an_order_that_nobody_mentions():
    async def body(t):
        t.server.faults.change({"drop_user": 1.0})
        await accepted(t, 1)
        down = await t.ear.until(e.FeedDown)
        t.server.faults.change({"drop_user": 0.0})
        assert down.why
        await t.ear.until(e.FeedUp, 2)

    live(body, speed=10.0)


@row("9.27", "A price or size that no order of the venue can say never leaves, and says why.")
@pytest.mark.parametrize(
    "changes", [{"size": 5_005_000}, {"price": 4_050, "market": 0}, {"price": 0}, {"price": 10_000}]
)
def test_what_cannot_be_said(changes):
    async def body(t):
        t.place(1, **changes)
        refused = await t.ear.until(e.NotSent, order_id=1)
        assert refused.why and t.server.requests["place"] == 0

    live(body)


@row("9.28", "What a person does by hand is seen: a cancel ends our order, an order of his own is not ours.")
def test_by_hand():
    async def body(t):
        name = await accepted(t, 1)
        t.server.do("cancel_by_hand", order=name)
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0
        async with Probe(t.server) as person:
            await person.placed(price=0.30, size=10)
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        [seen] = (await t.ear.until(e.OrdersRead)).orders
        assert (seen.order_id, seen.price, seen.remaining) == (0, 3_000, 10 * CONTRACT)

    live(body)


@row("9.29", "An order of ours that nobody answered for is never sent twice.")
def test_never_twice():
    async def body(server, desk):
        server.faults.change({"lost_answer": 1.0})
        built, _, _ = await desk.place(1)
        server.faults.change({"lost_answer": 0.0})
        again = await desk.orders.post(built)
        assert again.outcome.verdict.value == "unknown" and "Duplicated" in again.outcome.text
        assert len(server.venue.open) == 1

    desk(body)


@row(
    "9.30",
    "One process trades a wallet: a second one with the same key is refused before it asks for anything.",
)
def test_one_process_a_wallet(tmp_path):
    environment = {"PR3DICT_POLYMARKET_LOCAL_WALLET_KEY": PRIVATE_KEY}
    names = {
        polymarket_access("local", url=f"http://127.0.0.1:{port}", environment=environment).account
        for port in (8080, 8081)
    }
    [account] = names
    homes = [DataDir.of(tmp_path / name) for name in ("one", "two")]
    first = Lease.take(homes[0], account, now_ns=1, state=tmp_path / "locks")
    with pytest.raises(LeaseHeldError, match="account"):
        Lease.take(homes[1], account, now_ns=2, state=tmp_path / "locks")
    first.release()
    Lease.take(homes[1], account, now_ns=3, state=tmp_path / "locks").release()
