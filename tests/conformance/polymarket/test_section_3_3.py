"""Section 3, third part: cancels, reads, heartbeats, how orders and trades stand."""

from __future__ import annotations

import msgspec
import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    MS,
    SECOND,
    accepted,
    changed,
    desk,
    listening,
    live,
    refusing,
    say,
    until,
)
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import Books, final, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket.account_models import OrderState, TradeState, order_state, trade_state
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.orders import MAX_CANCELS
from pr3dict.venues.polymarket.outcomes import Verdict, judge_cancel
from pr3dict.venues.polymarket.rest import READERS
from standins.polymarket.errors import RefusedError
from standins.polymarket.probe import Probe
from standins.polymarket.reads import STRICT_NS
from standins.polymarket.values import page
from venues.polymarket.bodies import ORDER, TRADE

UNUSED = (
    Unused("Notifications", "orders and trades say the same, sooner"),
    Unused("Cancelling one token's orders in the trading process", "cancels name orders, or take all"),
)


# --- cancels ----------------------------------------------------------------------------------------


@row("3.46", "One order, many, one market's, one token's, or all are cancelled, each by its own call.")
def test_cancels():
    async def body(server, desk):
        terms, one = desk.terms[0], []
        for number in range(1, 9):
            side = d.ASK if number % 2 else d.BID
            built, _, _ = await desk.place(number, number // 7, side=side, price=3_900 + 2_000 * side)
            one.append(built.digest)
        with listening(server, writes=True) as heard:
            assert (await desk.orders.cancel(one[0])).outcome.verdict is Verdict.ACCEPTED
            assert len(await desk.orders.cancel_many(one[1:3])) == 2
            token = await desk.orders.cancel_market(terms.condition, terms.no)
            market = await desk.orders.cancel_market(terms.condition)
            everything = await desk.orders.cancel_all()
        assert set(token.body.canceled) == {one[4]} and set(market.body.canceled) == {one[3], one[5]}
        assert set(everything.body.canceled) == {one[6], one[7]}
        assert [(h.method, h.path, h.body) for h in heard] == [
            ("DELETE", "/order", {"orderID": one[0]}),
            ("DELETE", "/orders", one[1:3]),
            ("DELETE", "/cancel-market-orders", {"market": terms.condition, "asset_id": terms.no}),
            ("DELETE", "/cancel-market-orders", {"market": terms.condition}),
            ("DELETE", "/cancel-all", None),
        ]

    desk(body)


@row("3.47", "A call cancels at most 1,000 orders; more are split, and each still has its own answer.")
def test_most_cancels():
    async def body(server, desk):
        names = [f"0x{number:064x}" for number in range(1_050)]
        with listening(server, writes=True) as heard:
            answers = await desk.orders.cancel_many(names)
        assert len(answers) == 1_050 and max(len(h.body) for h in heard) <= MAX_CANCELS == 1_000
        assert [name for h in heard for name in h.body] == names
        assert {x.outcome.why for x in answers} == {"unknown_order"}

    desk(body, tier="elite", answer_s=20.0)


@row("3.48", '"Already canceled or matched" is no error: the order is unknown until a read has spoken.')
def test_maybe_filled():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("arm", fault="drop_user", times=3)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        books.send(c.Cancel(order_id=1, market=0))
        refused = await t.ear.until(e.RequestRefused)
        assert (refused.why, refused.request) == ("unknown_order", "cancel")
        assert books.state(1) != "" and not t.ear.of(e.Closed)
        t.wire.send(0, [c.ReadOrder(order_id=1, market=0, venue_id=t.ear.of(e.Sent)[0].venue_id)])
        read = await t.ear.until(e.OrderRead)
        assert (read.status, read.filled) == ("closed", 10 * CONTRACT)

    live(body)


@row("3.49", "Lists of an answer to cancels may be null; an order in both, or in none, settles nothing.")
def test_answers_to_cancels():
    name = "0x" + "8f" * 32
    for canceled, left, verdict, why in (
        ([name], None, Verdict.ACCEPTED, "none"),
        ([name.upper().replace("X", "x")], {}, Verdict.ACCEPTED, "none"),
        (
            None,
            {name: "order can't be found - already canceled or matched"},
            Verdict.REFUSED,
            "unknown_order",
        ),
        (None, {name: "order is delayed and can't be canceled"}, Verdict.REFUSED, "none"),
        ([name], {name: "already canceled or matched"}, Verdict.UNKNOWN, "none"),
        ([], {}, Verdict.UNKNOWN, "none"),
        (None, {name: "something new"}, Verdict.UNKNOWN, "none"),
    ):
        raw = msgspec.json.encode({"canceled": canceled, "not_canceled": left})
        found = judge_cancel(reader_of(a.Canceled)(raw), name)
        assert (found.verdict, found.why) == (verdict, why), (canceled, left)


@row("3.50", "A cancel that the venue takes later only (425, 429) is sent again; it was surely not done.")
def test_cancels_are_repeated():
    async def body(t):
        await accepted(t, 1)
        with refusing(t.server, "/order", 425, {"error": "service not ready"}, method="DELETE", times=2):
            t.wire.send(0, [c.Cancel(order_id=1, market=0)])
            await t.ear.until(e.Closed, order_id=1)
        assert not t.ear.of(e.AnswerLost) and not t.server.do("truth")["open_orders"]

    live(body)


@row("3.51", "Cancels work while only cancels are taken, and while only post-only orders are.")
@pytest.mark.parametrize("mode", ["post_only", "cancel_only"])
def test_cancels_in_every_mode(mode):
    async def body(t):
        await accepted(t, 1)
        await accepted(t, 2, price=4_100)
        t.server.do(mode, seconds=60)
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        await t.ear.until(e.Closed, order_id=1)
        t.wire.send(0, [c.CancelAll(venue="polymarket", why="test")])
        await t.ear.until(e.Closed, order_id=2)
        assert not t.server.do("truth")["open_orders"]

    live(body)


@row("3.52", "A cancelled order ends with what the account's channel says had traded, a moment later.")
def test_end_of_a_cancel():
    async def body(t):
        await accepted(t, 1, price=4_900)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        closed = await t.ear.until(e.Closed, order_id=1)
        assert closed.filled == 4 * CONTRACT

    live(body)


# --- reads ------------------------------------------------------------------------------------------


@row("3.53", "Lists are read from cursor MA== page by page to cursor LTE=.")
def test_pages():
    async def body(server, desk):
        for number in range(1, 13):
            await desk.place(number)
        with listening(server) as heard, pytest.MonkeyPatch.context() as patch:
            patch.setattr("standins.polymarket.reads.page", lambda rows, cursor: page(rows, cursor, 5))
            assert len(await desk.rest.open_orders()) == 12
        cursors = [h.query["next_cursor"] for h in heard]
        assert len(cursors) == 3 and cursors[0] == "MA==" and "LTE=" not in cursors

    desk(body)


@row("3.54", "A list whose cursor comes twice, or is missing, is refused: half a list is none.")
@pytest.mark.parametrize("cursor", ["MA==", "", None])
def test_bad_cursors(cursor):
    async def body(server, desk):
        def change(answer):
            rest = {name: value for name, value in answer.items() if name != "next_cursor"}
            return rest if cursor is None else {**rest, "next_cursor": cursor}

        changed(server, "orders", change)
        with pytest.raises(DataError, match="cursor"):
            await desk.rest.open_orders()

    desk(body)


@row("3.55", "One order is read by its digest, also when it is over; one that never was is not found.")
def test_read_of_an_order():
    async def body(_, desk):
        built, _answer, _ = await desk.place(1)
        assert (await desk.rest.order(built.digest)).state is OrderState.LIVE
        await desk.orders.cancel(built.digest)
        assert (await desk.rest.order(built.digest)).state is OrderState.CANCELED
        assert await desk.rest.order("0x" + "11" * 32) is None

    desk(body)


@row("3.56", "Orders of a token are asked for with their market, as from mid December 2026 they must be.")
def test_december():
    async def body(server, desk):
        built, _, _ = await desk.place(1)
        terms = desk.terms[0]
        with listening(server) as heard:
            (found,) = await desk.rest.open_orders(terms.condition, terms.yes)
            assert found.id == built.digest and (await desk.rest.order(built.digest)) is not None
        assert heard[0].query["market"] == terms.condition and heard[0].query["asset_id"] == terms.yes
        reply = await desk.http.call(Call("GET", f"/data/order/{built.digest}", auth="l2"))
        assert b"associate_trades" not in reply.body and b"original_size" in reply.body

    desk(body, start_ns=STRICT_NS + 5 * SECOND)


@row("3.57", "Trades are read from a time on, with margin: what is still on its way is read once more.")
def test_trades_from():
    async def body(t):
        await accepted(t, 1, price=4_900)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        await t.ear.until(e.Filled)
        with listening(t.server) as heard:
            since_ns = t.clock.now_ns()
            t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=since_ns)])
            read = await t.ear.until(e.FillsRead)
        (query,) = [h.query for h in heard if h.path == "/data/trades"]
        assert int(query["after"]) <= since_ns // SECOND - 600
        assert [(f.order_id, f.size) for f in read.fills] == [(1, 4 * CONTRACT)]

    live(body)


@row(
    "3.58",
    "Balances are base units of the wallet that the signature type names, refreshed first.",
)
def test_balance():
    async def body(t):
        with listening(t.server) as heard:
            t.wire.send(0, [c.ReadBalance(venue="polymarket")])
            read = await t.ear.until(e.BalanceRead)
        asked = [h for h in heard if h.path.startswith("/balance-allowance") and "token_id" not in h.query]
        assert [h.path for h in asked] == ["/balance-allowance/update", "/balance-allowance"]
        assert all(h.query == {"asset_type": "COLLATERAL", "signature_type": "0"} for h in asked)
        assert read.cash_micros == 10_000 * 10**6

    live(body)


@row("3.59", "A status is read with or without its prefix and reason, and one that nobody knows is unknown.")
def test_order_states():
    for text, state in (
        ("LIVE", OrderState.LIVE), ("ORDER_STATUS_LIVE", OrderState.LIVE), ("MATCHED", OrderState.MATCHED),
        ("DELAYED", OrderState.DELAYED), ("UNMATCHED", OrderState.UNMATCHED), ("INVALID", OrderState.INVALID),
        ("CANCELED", OrderState.CANCELED), ("CANCELLED", OrderState.CANCELED),
        ("CANCELED_order couldn't be fully filled. FOK orders", OrderState.CANCELED),
        ("CANCELED_MARKET_RESOLVED", OrderState.CANCELED), ("CANCELED_EXPIRED_ORDER", OrderState.CANCELED),
        ("CANCELED_NOT_ENOUGH_BALANCE", OrderState.CANCELED), ("ORDER_STATUS_CANCELED", OrderState.CANCELED),
        ("CANCELED_MARKET_NOT_FOUND", OrderState.CANCELED), ("RESTING", OrderState.UNKNOWN),
        ("CANCELED_ORDER_TIMED_OUT", OrderState.CANCELED), ("", OrderState.UNKNOWN),
    ):  # fmt: skip
        assert order_state(text) is state, text

    async def body(server, desk):
        built, _, _ = await desk.place(1)
        server.faults.change({"status_prefix": 1})
        assert (await desk.rest.order(built.digest)).state is OrderState.LIVE

    desk(body)


@row(
    "3.60",
    "Sizes of orders come in contracts or base units; what we sent tells which, else they are refused.",
)
def test_units():
    async def body(t):
        await accepted(t, 1)
        t.server.faults.change({"base_units": 1})
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        (found,) = (await t.ear.until(e.OrdersRead)).orders
        assert found.remaining == 10 * CONTRACT
        changed(t.server, "orders", lambda page: {
            **page, "data": [{**row, "original_size": "11"} for row in page["data"]]})  # fmt: skip
        t.server.faults.change({"base_units": 0})
        t.wire.send(0, [c.ReadOrders(venue="polymarket")])
        failed = await t.ear.until(e.ReadFailed)
        assert failed.read == "orders" and "size" in failed.why

    live(body)


@row("3.61", "What a read that fails would have said is said to be missing; nothing is assumed in its place.")
def test_failed_reads():
    async def body(t):
        t.server.faults.change({"read_error": 1})
        for command, word in (
            (c.ReadOrders(venue="polymarket"), "orders"),
            (c.ReadPositions(venue="polymarket"), "positions"),
            (c.ReadBalance(venue="polymarket"), "balance"),
            (c.ReadFills(venue="polymarket", since_ns=0), "fills"),
        ):
            t.wire.send(0, [command])
            assert (await t.ear.until(e.ReadFailed, read=word)).read == word

    live(body)


@row("3.62", "In a trade the top is the taker's; ours are the parts that name our orders.")
def test_own_part():
    trade = READERS[a.Trades](msgspec.json.encode({"data": [TRADE], "next_cursor": "LTE="})).data[0]
    assert (trade.side, trade.maker_orders[0].side) == ("SELL", "BUY")

    async def body(t):
        await accepted(t, 1, side=d.ASK, price=5_100)  # buys NO at 0.49
        t.server.do("take", market="plain-0", taker="bid", price="0.51", shares="4")  # buys YES at 0.51
        fill = await t.ear.until(e.Filled)
        assert (fill.side, fill.price, fill.size, fill.sell) == (d.ASK, 5_100, 4 * CONTRACT, False)

    live(body)


# --- heartbeats -------------------------------------------------------------------------------------


@row("3.63", 'The first heartbeat names "", each later one the id that the one before was told.')
def test_heartbeat_ids():
    async def body(t):
        with listening(t.server, writes=True) as heard:
            await until(lambda: len([h for h in heard if h.path == "/v1/heartbeats"]) >= 3)
        names = [h.body["heartbeat_id"] for h in heard if h.path == "/v1/heartbeats"]
        assert "" not in names and len(set(names)) == len(names)
        assert t.wire.heartbeats.beats >= 4 and t.wire.heartbeats.lost == 0

    live(body, speed=20.0)


@row("3.64", "A heartbeat with a wrong id did not count: it is sent again at once with the id that was told.")
def test_wrong_heartbeat():
    async def body(server, desk):
        first = await desk.orders.heartbeat("")
        wrong = await desk.orders.heartbeat("nonsense")
        assert wrong.outcome.verdict is Verdict.REFUSED and wrong.body.heartbeat_id == first.body.heartbeat_id
        right = await desk.orders.heartbeat(wrong.body.heartbeat_id)
        assert right.outcome.verdict is Verdict.ACCEPTED

    desk(body)


@row("3.65", "Heartbeats leave at least each 5 s, so that resting orders live on.")
def test_heartbeats_in_time():
    async def body(t):
        await accepted(t, 1, expiry_ns=0)
        began = t.clock.now_ns()
        with listening(t.server, writes=True) as heard:
            await until(lambda: t.clock.now_ns() - began > 25 * SECOND)
        beats = [h for h in heard if h.path == "/v1/heartbeats"]
        assert len(beats) >= 5 and len(t.server.do("truth")["open_orders"]) == 1

    live(body, speed=20.0)


@row("3.66", "When none came for 10 s all orders of the key end; that is told, and everything is read again.")
def test_heartbeats_stop():
    async def body(t):
        await accepted(t, 1, expiry_ns=0)
        with refusing(t.server, "/v1/heartbeats", 500, {"error": "internal"}, times=1_000):
            closed = await t.ear.until(e.Closed, order_id=1)
            assert closed.filled in (0, -1) and not t.server.do("truth")["open_orders"]
            await t.ear.until(e.FeedDown)
        await t.ear.until(e.FeedUp, 2)

    live(body, speed=10.0)


@row("3.67", "A process does not start to trade where no heartbeat is taken.")
def test_no_heartbeat():
    async def body(t):
        raise AssertionError("it started")

    def deny(server):
        def refuse(request, raw):
            if request.path == "/v1/heartbeats":
                raise RefusedError(500, {"error": "internal"})

        server.watchers.append(refuse)

    with pytest.raises(Exception, match="takes no heartbeat"):
        live(body, on_server=deny)


# --- orders and trades on their way -----------------------------------------------------------------


@row("3.68", "A trade's status is read with or without its prefix; one that nobody knows is not final.")
def test_trade_states():
    for text, state in (
        ("MATCHED", TradeState.MATCHED), ("MATCHED_NOT_BROADCASTED", TradeState.MATCHED),
        ("TRADE_STATUS_MATCHED", TradeState.MATCHED), ("MINED", TradeState.MINED),
        ("RETRYING", TradeState.RETRYING), ("TRADE_STATUS_CONFIRMED", TradeState.CONFIRMED),
        ("FAILED", TradeState.FAILED), ("SETTLED", TradeState.UNKNOWN), ("", TradeState.UNKNOWN),
    ):  # fmt: skip
        assert trade_state(text) is state, text


@row("3.69", "A trade counts from its match on, once, provisionally, and is final when it is confirmed.")
def test_provisional_then_final():
    async def body(t):
        books = Books(t)
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        fill = await t.ear.until(e.Filled)
        assert not fill.final and books.held() == (10 * CONTRACT, 0)
        await final(t)
        assert len(t.ear.of(e.Filled)) == len(t.ear.of(e.FillFinal)) == 1
        assert books.held() == (10 * CONTRACT, 0)

    live(body)


@row("3.70", "A trade that is tried again keeps its exposure, whatever its hash becomes.")
def test_retrying():
    async def body(t):
        books = Books(t)
        t.server.faults.change({"trade_retrying": 1, "retry_s": [0.1, 0.1]})
        books.send(order(1, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        await t.ear.until(e.Filled)
        await until(lambda: t.server.do("truth")["trades"][0]["status"] == "TRADE_STATUS_RETRYING")
        assert books.held() == (10 * CONTRACT, 0)
        await t.ear.until(e.FillFinal)
        assert len(t.ear.of(e.Filled)) == 1 and not t.ear.of(e.FillVoided)

    live(body)


@row("3.71", "A trade that failed is taken back: position, cash and fee are what they were.")
def test_failed():
    async def body(t):
        books = Books(t)
        before = books.account.cash_micros
        t.server.faults.change({"trade_failed": 1})
        books.send(order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT))
        await t.ear.until(e.FillVoided)
        assert books.held() == (0, 0) and books.account.cash_micros == before
        await books.agree()

    live(body)


@row("3.72", "A fill's name is trade and order, so that no step, repetition or other route counts it twice.")
def test_names_of_fills():
    async def body(t):
        books = Books(t)
        t.server.faults.change({"duplicate_user": 1})
        books.send(order(1, 4_900, 10 * CONTRACT), order(2, 4_900, 10 * CONTRACT))
        await t.ear.until(e.Accepted, order_id=2)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="15")
        await t.ear.until(e.FillFinal, 2)
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0)])
        read = await t.ear.until(e.FillsRead)
        fills = t.ear.of(e.Filled)
        assert sorted((f.order_id, f.size // CONTRACT) for f in fills) == [(1, 10), (2, 5)]
        assert {f.trade_id for f in read.fills} == {f.trade_id for f in fills}
        assert len({f.trade_id.partition("/")[0] for f in fills}) == 1
        books.hear()
        assert books.held() == (15 * CONTRACT, 0)

    live(body)


@row("3.73", "Steps of a trade may come in any order, and with words that nobody knows.")
def test_steps_in_disorder():
    async def body(t):
        t.server.faults.change({"reorder_user": 0.5, "unknown_status": 0.5, "duplicate_user": 0.3})
        books = Books(t)
        books.send(*(order(k, 4_900, 10 * CONTRACT) for k in range(1, 6)))
        await until(lambda: len(t.server.do("truth")["open_orders"]) == 5)
        for _ in range(5):
            t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        await until(lambda: len({f.trade_id for f in t.ear.of(e.Filled)}) == 5, 8)
        t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0)])
        await t.ear.until(e.FillsRead)
        assert books.held() == (50 * CONTRACT, 0)
        await final(t)
        assert len(t.ear.of(e.Filled)) == 5

    live(body)


@row("3.74", "An order ends as the venue says: cancelled by hand, for want of money, resolved, expired.")
def test_endings():
    async def body(t):
        await accepted(t, 1)
        await accepted(t, 2, price=4_100, size=100 * CONTRACT)
        t.server.do("cancel_by_hand", order=t.ear.of(e.Sent)[0].venue_id)
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0
        t.server.do("deposit", dollars=-9_990)
        closed = await t.ear.until(e.Closed, order_id=2)
        assert (closed.why, closed.filled) == ("no_cash", 0)
        t.server.do("deposit", dollars=1_000)
        await accepted(t, 3, market=1)
        t.server.do("resolve", market="plain-1", result="no")
        assert (await t.ear.until(e.Closed, order_id=3)).why == "closed"
        told = {
            "id": t.ear.of(e.Sent)[0].venue_id,
            "status": "CANCELED_EXPIRED_ORDER",
            "type": "CANCELLATION",
        }
        said = {"event_type": "order", "timestamp": str(t.clock.now_ns() // MS), "size_matched": "0"}
        say(t.server, {**ORDER, **told, **said, "original_size": "10"}, channel="user")
        assert (await t.ear.until(e.Closed, 2, order_id=1)).why == "expired"

    live(body)


@row("3.75", "A trade of an order that we do not know is looked up: ours by its digest, else a stranger's.")
def test_strangers():
    async def body(t):
        await accepted(t, 1, price=4_900)
        digest = t.ear.of(e.Sent)[0].venue_id
        del t.wire.orders._by_digest[digest]
        t.wire.orders._nameless[1] = 0  # as after a start of which the digest was lost
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="4")
        fill = await t.ear.until(e.Filled)
        assert (fill.order_id, fill.size, fill.venue_id) == (1, 4 * CONTRACT, digest)
        async with Probe(t.server) as by_hand:  # a person with the same keys
            theirs = await by_hand.placed(market=1, price=0.49)
        t.server.do("take", market="plain-1", taker="ask", price="0.49", shares="5")
        fill = await t.ear.until(e.Filled, 2)
        assert (fill.order_id, fill.market, fill.venue_id) == (0, 1, theirs["orderID"])

    live(body)
