"""Section 11: the traps that others fell into."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    MS,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    accepted,
    book_of,
    catalog,
    changed,
    heard,
    listening,
    live,
    lives_at,
    place,
    rows_of,
    say,
    served,
    signer,
    statuses,
    until,
)
from conformance.kalshi.rows import Unused, row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.market import round_quote
from pr3dict.domain.units import ASK, BID, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_markets import Selection, find_markets
from pr3dict.venues.kalshi.http import Call
from pr3dict.venues.kalshi.outcomes import Verdict
from pr3dict.venues.kalshi.rest import ReadFailedError
from pr3dict.venues.kalshi.sign import Signer
from standins.kalshi import MarketSpec
from standins.kalshi.streams import Stream

UNUSED = (
    Unused(
        "Throttling of quoters who answer requests for quotes with crossing post-only orders",
        "no quotes are given on request",
    ),
)


async def budgeted(wire) -> None:
    """Wait until there are tokens for a batch: our count of them begins at none."""
    await until(lambda: wire.figures()["write_0"] >= 4_500)


@row(
    "11.1",
    "Orders only ever go to the second version of the order calls; the first one's 410 would be a "
    "sure refusal.",
)
def test_first_version_is_dead():
    async def body(server, ear, wire):
        await budgeted(wire)
        with listening(server) as asked:
            wire.send(0, [place(wire, n, price=4500 - 100 * n) for n in range(1, 6)])  # a batch
            await ear.until(e.Accepted, 5)
            wire.send(0, [c.Renew(order_id=1, market=0, expiry_ns=server.now_ns() + 60 * SECOND)])
            wire.send(0, [c.Reduce(order_id=2, market=0, remaining=CONTRACT), c.Cancel(order_id=3, market=0)])
            await ear.until(e.Renewed)
            await ear.until(e.Reduced)
            wire.send(0, [c.CancelAll(venue="kalshi", why="test")])
            await until(lambda: not server.do("truth")["open_orders"])
        writes = [h.path for h in asked if h.method != "GET"]
        assert len(writes) >= 5 and all(path.startswith("/portfolio/events/orders") for path in writes)
        dead = await wire.rest.http.call(Call("POST", "/portfolio/orders", body=b"{}"))
        assert dead.status == 410 and dead.outcome.verdict is Verdict.REFUSED

    live(body)


@row("11.2", "A bid for NO at q leaves as an ask at 1 - q.")
def test_no_is_an_ask():
    async def body(server, ear, wire):
        with listening(server) as asked:
            no_bid = 4300
            await accepted(ear, wire, place(wire, 1, side=ASK, price=PRICE_SCALE - no_bid))
        assert (asked[0].body["side"], asked[0].body["price"]) == ("ask", "0.5700")
        assert "no_price" not in asked[0].body and "yes_price" not in asked[0].body
        sides = await wire.rest.orderbook(T0)
        assert int(dict(sides.no_dollars)[no_bid]) == 10 * CONTRACT

    live(body, catalog=catalog(MarketSpec(T0, "KXA-0")))


@row(
    "11.3",
    "Counts and prices leave as texts and come back under other names than in lists; both are read "
    "as they are.",
)
def test_texts_and_names():
    async def body(server, ear, wire):
        with listening(server) as asked:
            await accepted(ear, wire, place(wire, 1, price=4900, size=2_250_000))
        assert all(isinstance(asked[0].body[name], str) for name in ("count", "price"))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="1")
        await ear.until(e.Filled)
        (order,) = await wire.rest.orders(status="resting")
        assert (int(order.fill_count_fp), int(order.remaining_count_fp)) == (CONTRACT, 1_250_000)
        wire.send(0, [c.Cancel(order_id=1, market=0)])
        closed = await ear.until(e.Closed)
        assert closed.filled in (CONTRACT, -1)

    live(body)


@row(
    "11.4",
    "A book is the same whether it comes by REST or by the stream, whose names and conventions differ.",
)
def test_two_ways_to_a_book():
    async def body(server, ear, wire):
        server.do("level", ticker=T0, side="ask", price="0.5100", contracts="7.25")
        server.do("level", ticker=T0, side="bid", price="0.4800", contracts=0)
        await until(lambda: book_of(ear, 0)[ASK].get(5100) == 7_250_000 and 4800 not in book_of(ear, 0)[BID])
        sides = await wire.rest.orderbook(T0)
        bids, asks = book_of(ear, 0)
        assert bids == {int(p): int(n) for p, n in sides.yes_dollars}
        assert asks == {PRICE_SCALE - int(p): int(n) for p, n in sides.no_dollars}
        assert int(sides.yes_dollars[-1][0]) == max(bids) and PRICE_SCALE - int(
            sides.no_dollars[-1][0]
        ) == min(asks)

    live(body)


@row("11.5", "The day on which NO levels come as YES prices by default changes nothing for us.")
@pytest.mark.parametrize("ours", [True, False])
def test_default_flips(ours, monkeypatch):
    original = Stream._join

    def flipped(self, number, channel, markets, params):
        original(self, number, channel, markets, {"use_yes_price": True, **params})

    monkeypatch.setattr(Stream, "_join", flipped)

    async def body(server, ear, wire):
        server.do("level", ticker=T0, side="ask", price="0.5100", contracts=3)
        await until(lambda: 5100 in book_of(ear, 0)[ASK])
        assert sorted(book_of(ear, 0)[ASK]) == [5100, 5200, 5300, 5400, 5500, 5600]

    live(body, stream={"use_yes_price": ours})


@row("11.6", "News of orders and positions, whose type is no channel's name, reach us.")
def test_singular_types():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        (order,) = server.venue.orders.values()
        server.do("cancel_by_hand", order=order.id)
        closed = await ear.until(e.Closed)
        assert (closed.order_id, closed.filled) == (1, 0)

    live(body)


class _WrongSigner(Signer):
    """Signs as tutorials do."""

    trap = ""

    def headers(self, timestamp_ms, method, path):
        if self.trap == "seconds":
            return super().headers(timestamp_ms // 1000, method, path)
        if self.trap == "no prefix":
            return super().headers(timestamp_ms, method, path.removeprefix("/trade-api/v2"))
        return super().headers(timestamp_ms, method, path)


@row(
    "11.7",
    "Requests with queries are accepted under either kind of key; a signature that is wrong is a "
    "sure refusal.",
)
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_signing_traps(kind):
    async def body(server, rest):
        assert await rest.positions(ticker=T0, count_filter="position") == []
        key = server.key if kind == "ed25519" else server.rsa_key
        for trap in ("seconds", "no prefix"):
            wrong = _WrongSigner(key.id, key.pem)
            rest.http._signer = wrong
            _WrongSigner.trap = trap
            with pytest.raises(ReadFailedError) as error:
                await rest.balance()
            assert error.value.status == 401 and error.value.outcome.verdict is Verdict.REFUSED
        rest.http._signer = signer(key)
        assert await rest.balance()

    served(body, kind=kind)


@row("11.8", "A cancel reaches an order on any shard, where the id alone would not be found.")
def test_cancel_on_a_shard():
    async def body(server, ear, wire):
        for number, ticker in ((1, T2), (2, T3)):
            await accepted(ear, wire, place(wire, number, ticker))
        venue_id = ear.of(e.Accepted)[0].venue_id
        bare = await wire.rest.http.call(Call("DELETE", f"/portfolio/events/orders/{venue_id}"))
        assert bare.status == 404
        wire.send(0, [c.Cancel(order_id=1, market=2), c.Cancel(order_id=2, market=3)])
        await until(lambda: {x.order_id for x in ear.of(e.Closed)} == {1, 2})
        assert not server.do("truth")["open_orders"]

    live(body)


@row(
    "11.9",
    "Money on one shard pays for no order on another: the refusal says so, and the balance shows "
    "where it lies.",
)
def test_money_elsewhere():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T2)])
        assert (await ear.until(e.Refused)).why == "no_cash"
        shards = {
            int(s.exchange_index): int(s.balance) for s in (await wire.rest.balance()).balance_breakdown
        }
        assert shards[0] == 100 * CONTRACT and shards[2] == 0

    async def emptied(server, ear, wire):
        for shard in (1, 2, 3):
            server.do("deposit", dollars=-100.0, shard=shard)
        await body(server, ear, wire)

    live(emptied, cash_dollars=100.0)


@row(
    "11.10",
    "An order that a late list does not show yet is not taken for gone: the list says as of when it speaks.",
)
def test_reads_lag():
    async def body(server, ear, wire):
        server.faults.change({"read_lag_ms": [2_000, 2_000]})
        await asyncio.sleep(0.6)  # reads of one round share a date
        placed_ns = server.now_ns()
        await accepted(ear, wire, place(wire, 1))
        wire.send(0, [c.ReadOrders(venue="kalshi"), c.ReadOrder(order_id=1, market=0)])
        listed, one = await ear.until(e.OrdersRead), await ear.until(e.OrderRead)
        assert listed.orders == () and one.status == "not_found"
        assert listed.as_of_ns < placed_ns and one.as_of_ns < placed_ns
        assert not ear.of(e.Closed)

    live(body)


@row("11.11", "A cancel that finds no order proves nothing: it is told as unknown, and fills decide.")
def test_cancel_404():
    async def body(server, ear, wire):
        server.faults.change({"drop_private": 1.0})
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
        wire.send(0, [c.Cancel(order_id=1, market=0)])
        refused = await ear.until(e.RequestRefused)
        assert (refused.why, refused.request) == ("unknown_order", "cancel") and not ear.of(e.Closed)
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        (fill,) = (await ear.until(e.FillsRead)).fills
        assert (fill.order_id, fill.size) == (1, 10 * CONTRACT)

    live(body)


@row("11.12", "A new order without an answer is unknown, is never sent again, and is found by our own id.")
@pytest.mark.parametrize("fault", ["lost_answer", "error_after_apply", "error_before_apply", "lost_request"])
def test_lost_answers(fault):
    async def body(server, ear, wire):
        server.faults.change({fault: 1.0})
        with listening(server) as asked:
            wire.send(0, [place(wire, 1)])
            assert (await ear.until(e.AnswerLost)).order_id == 1
            server.faults.change({fault: 0})
            await asyncio.sleep(0.2)
        assert sum(h.method == "POST" for h in asked) == 1 and not ear.of(e.Refused)
        wire.send(0, [c.ReadOrder(order_id=1, market=0)])
        found = await ear.until(e.OrderRead)
        applied = fault in ("lost_answer", "error_after_apply")
        assert found.status == ("open" if applied else "not_found")
        assert len(server.do("truth")["orders"]) == applied

    live(body)


@row(
    "11.13",
    "An expiry leaves in seconds and comes back as a time or in milliseconds; an order that can't "
    "rest has none.",
)
def test_expiries():
    async def body(server, ear, wire):
        until_ns = (server.now_ns() // SECOND + 60) * SECOND + 700 * MS
        with listening(server) as asked:
            await accepted(ear, wire, place(wire, 1, expiry_ns=until_ns))
            wire.send(0, [place(wire, 2, T1, price=5200, tif=d.IOC, expiry_ns=until_ns)])
            await until(lambda: any(x.order_id == 2 for x in ear.of(e.Accepted)))
        assert asked[0].body["expiration_time"] == until_ns // SECOND
        assert asked[1].body.get("expiration_time") is None
        wire.send(0, [c.ReadOrders(venue="kalshi")])
        (listed,) = (await ear.until(e.OrdersRead)).orders
        assert listed.expiry_ns == until_ns // SECOND * SECOND
        (order,) = [o for o in server.venue.orders.values() if o.is_open]
        assert order.told()["expiration_ts_ms"] == listed.expiry_ns // MS and not ear.of(e.Malformed)

    live(body)


@row("11.14", "Orders that a reactivation or a weekly pause takes out are known to be gone.")
def test_wipes():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.do("pause_market", ticker=T0)
        assert (await ear.until(e.Closed)).why == "not_active"
        server.do("activate_market", ticker=T0)
        await accepted(ear, wire, place(wire, 2))
        await accepted(ear, wire, place(wire, 3, T1))
        server.do("pause_trading")
        await until(lambda: {x.order_id for x in ear.of(e.Closed)} == {1, 2, 3})
        assert (await ear.until(e.VenueStatus, 2, 6.0)).status == "paused"
        wire.send(0, [place(wire, 4)])
        await until(lambda: any(x.order_id == 4 for x in (*ear.of(e.Refused), *ear.of(e.AnswerLost))))

    live(body, speed=3.0)


@row(
    "11.15",
    "Nothing is waited for to open or close a market, and an order that a close caught is not given up.",
)
def test_no_notice_of_open_and_close():
    async def body(server, ear, wire):
        await heard(ear, 0, d.STATUS, d.ACTIVE)
        await accepted(ear, wire, place(wire, 1, T0))
        await heard(ear, 0, d.STATUS, d.CLOSED)
        closed = await ear.until(e.Closed)
        assert (closed.order_id, closed.why) == (1, "closed")
        kinds = [s.commands for s in server.streams]
        assert kinds and statuses(ear, 0)[:3] == [d.INITIALIZED, d.ACTIVE, d.CLOSED]

    live(body, speed=10.0, catalog=catalog(MarketSpec(T0, "KXA-0", open_in_s=6.0, close_in_s=26.0)))


@row(
    "11.16",
    "Each order of a batch has its own outcome, and no batch leaves that the budget does not cover whole.",
)
def test_batches():
    async def body(server, ear, wire):
        await budgeted(wire)
        prices = (4500, 4400, 4555, 4300, 5300)  # off the grid, and crossing
        with listening(server) as asked:
            wire.send(0, [place(wire, n, price=price) for n, price in enumerate(prices, 1)])
            await ear.until(e.Refused, 2)
            await ear.until(e.Accepted, 3)
        assert len(asked) == 1 and len(asked[0].body["orders"]) == 5
        assert {x.order_id: x.why for x in ear.of(e.Refused)} == {3: "off_grid", 5: "post_only_cross"}
        assert {x.order_id for x in ear.of(e.Accepted)} == {1, 2, 4}

    live(body)

    async def paced(server, ear, wire):
        for start in (1, 6, 11, 16):
            wire.send(0, [place(wire, n, price=4500) for n in range(start, start + 5)])
        await ear.until(e.Accepted, 20, 8.0)
        assert wire.rest.http.rate_limited == 0 and server.limits.refused == 0

    live(paced, tier="basic", speed=3.0, terms={"place_wait_ns": 60 * SECOND}, cash_dollars=1e6)


@row("11.17", "429, whose error is a bare text, is a sure refusal of an order and only delays a cancel.")
def test_rate_limited():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.faults.change({"too_many_requests": 1.0})
        wire.send(0, [place(wire, 2)])
        assert (await ear.until(e.Refused)).why == "rate_limit"
        wire.send(0, [c.Cancel(order_id=1, market=0)])
        await until(lambda: wire.rest.http.rate_limited >= 2)
        server.faults.change({"too_many_requests": 0})
        assert (await ear.until(e.Closed)).order_id == 1

    live(body)


@row("11.18", "Quotes are rounded to the market's own grid, away from each other, on every band of it.")
def test_tapered_rounding():
    async def body(server, ear, wire):
        grid = wire.lives[T0].listing.grids[0]
        assert round_quote(grid, 45_999, 455_001) == (450, 4600)
        assert round_quote(grid, 955_000, 955_500) == (9550, 9560)
        bid, ask = round_quote(grid, 98_765, 512_345)
        assert (bid, ask) == (980, 5200)
        await accepted(ear, wire, place(wire, 1, price=bid))
        await accepted(ear, wire, place(wire, 2, side=ASK, price=ask))

    live(body, catalog=catalog(MarketSpec(T0, "KXA-0", labels=("tapered_deci_cent",))))


@row("11.19", "Fills of a hundredth of a contract are booked exactly, with the fee that they cost.")
def test_tiny_fills():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T1, price=4900))
        for count in (1, 2, 3):
            server.do("take", ticker=T1, taker="ask", price="0.4900", contracts="0.01")
            fill = await ear.until(e.Filled, count)
            assert fill.size == 10_000
        paid = sum(x.fee_micros - x.rebate_micros for x in ear.of(e.Filled))
        assert paid == sum(round(float(f["fee_cost"]) * 1e6) for f in server.do("truth")["fills"])
        wire.send(0, [c.ReadPositions(venue="kalshi")])
        assert (await ear.until(e.PositionsRead)).positions[0].yes_contracts == 30_000

    live(body)


@row(
    "11.20",
    "A series' fee that moved without a word is found, told to the engine, and is what a new listing says.",
)
def test_fees_move():
    async def body(server, ear, wire):
        await until(lambda: wire.fees.due_ns > 0)
        server.do("series_fees", series="KXA", multiplier=0.5)
        assert not ear.of(e.FeesChanged)
        wire.fees.due_ns = 0
        await ear.until(e.FeesChanged, 2)
        assert {x.market: x.taker_ppm for x in ear.of(e.FeesChanged)} == {0: 35_000, 2: 35_000}
        fresh = {x.listing.ticker: x.listing.taker_ppm for x in await lives_at(wire.rest, server.now_ns())}
        assert (fresh[T0], fresh[T1]) == (35_000, 70_000)
        server.do("waive_fees", ticker=T0, seconds=30.0)
        await wire._reread((T0,))
        assert (await ear.until(e.FeesChanged, 3)).taker_ppm == 0
        assert (await ear.until(e.FeesChanged, 4, 6.0)).taker_ppm == 35_000  # the waiver ended by itself

    live(body, speed=10.0)


@row("11.21", "Times that are missing from messages are missed nowhere, and new words do no harm.")
def test_missing_times():
    async def body(server, ear, wire):
        server.faults.change({"omit_ts": 1.0})
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
        fill = await ear.until(e.Filled)
        assert abs(fill.exch_ns - server.now_ns()) < 5 * SECOND
        await until(lambda: len(rows_of(ear, 0, d.TRADE)) == 1)
        (order,) = server.venue.orders.values()
        new = order.told() | {
            "last_update_reason": "BrandNew",
            "self_trade_prevention_type": "new",
            "new": {},
        }
        say(server, {"type": "user_order", "sid": 5, "msg": new})
        await until(lambda: len(ear.of(e.Accepted)) >= 3)
        assert not ear.of(e.Malformed)

    live(body)


@row("11.22", "A book whose sides come under other names is refused, and not taken for empty.")
def test_renamed_sides():
    async def body(server, rest):
        changed(
            server,
            "orderbook",
            lambda body: {
                "orderbook_fp": {
                    "true": body["orderbook_fp"]["yes_dollars"],
                    "false": body["orderbook_fp"]["no_dollars"],
                }
            },
        )
        with pytest.raises(DataError, match="dollars"):
            await rest.orderbook(T0)
        changed(server, "orderbook", lambda body: {"orderbook_fp": {"yes_dollars": None, "no_dollars": []}})
        assert (await rest.orderbook(T0)).yes_dollars is None

    served(body)


@row("11.23", "Orders and fills that the exchange has moved to its archive are found there.")
def test_archive():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
        await ear.until(e.Filled)
        old = [order.json() for order in server.venue.orders.values()]
        late = {"trades_created_ts": "2026-12-31T00:00:00Z", "orders_updated_ts": "2026-12-31T00:00:00Z"}
        changed(server, "cutoff", lambda body: body | late)
        changed(server, "orders", lambda body: body | {"orders": []})
        changed(server, "order", lambda body: json.loads("{}"))
        changed(server, "old_orders", lambda body: body | {"orders": old})
        wire.lives._lives[T0] = _opened_long_ago(wire.lives[T0])
        wire.orders._orders.clear()
        wire.orders._by_venue.clear()  # a later process, that knows the order by its number alone
        wire.send(0, [c.ReadOrder(order_id=1, market=0)])
        found = await ear.until(e.OrderRead)
        assert (found.status, found.filled) == ("closed", 10 * CONTRACT)

    live(body)


def _opened_long_ago(life):
    import msgspec

    return msgspec.structs.replace(life, open_ns=int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND)


@row("11.24", "A fill that names no subaccount is ours; one of another subaccount is not booked.")
def test_subaccounts_of_fills():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        (order,) = server.venue.orders.values()
        fill = {
            "order_id": order.id, "client_order_id": "conf1-1", "market_ticker": T0, "is_taker": False,
            "book_side": "bid", "yes_price_dollars": "0.4500", "count_fp": "1.00", "fee_cost": "0.0000",
        }  # fmt: skip
        for trade_id, more in (("a", {"subaccount": 7}), ("b", {}), ("c", {"subaccount": 0})):
            say(server, {"type": "fill", "sid": 4, "msg": fill | {"trade_id": trade_id} | more})
        await ear.until(e.Filled, 2)
        assert [x.trade_id for x in ear.of(e.Filled)] == ["b", "c"]
        assert wire.figures()["unlisted"] == 1

    live(body)


@row("11.25", "An order joins the order group of its own shard, and is taken there.")
def test_group_of_own_shard():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, T3))
        (order,) = server.do("truth")["open_orders"]
        assert wire.groups[order["order_group_id"]] == order["exchange_index"] == 3
        groups = {g["id"]: g["exchange_index"] for g in server.do("truth")["groups"]}
        assert groups == wire.groups

    live(body, terms={"group_limit": 50 * CONTRACT})


@row("11.26", "Whoever reads too slowly loses the subscription; we take it up again and compare everything.")
def test_slow_reader():
    async def body(server, ear, wire):
        (stream,) = server.streams
        stream.buffer_limit = 3
        server.faults.change({"frame_delay_ms": [20, 20]})
        for k in range(40):
            server.do("level", ticker=T0, side="bid", price="0.4900", contracts=k + 1)
        await ear.until(e.FeedDown)
        server.faults.change({"frame_delay_ms": None})
        await ear.until(e.FeedUp, 2)
        await until(lambda: book_of(ear, 0)[BID].get(4900) == 40 * CONTRACT)
        assert "error 25" in ear.of(e.FeedDown)[0].why

    live(body)


@row(
    "11.27",
    "A market that can't be found right after it was created is asked for later, and nothing is concluded.",
)
def test_created_not_found():
    async def body(server, ear, wire):
        missed = []
        for _ in range(200):
            try:
                found = await wire.rest.market("LATE")
                break
            except ReadFailedError as error:
                missed.append((error.status, error.outcome.verdict))
                await asyncio.sleep(0.02)
        assert found.ticker == "LATE" and set(missed) == {(404, Verdict.REFUSED)}
        assert not ear.of(e.Malformed) and "LATE" not in wire.lives

    late = catalog(MarketSpec(T0, "KXA-0"), MarketSpec("LATE", "KXA-0", listed_in_s=10.0, open_in_s=100.0))
    live(body, speed=10.0, catalog=late)


@row("11.28", "A paused market of an event that is listed as open is not traded.")
def test_open_is_not_active():
    async def body(server, rest):
        server.do("pause_market", ticker=T0)
        found = await find_markets(rest, Selection(), now_ns=server.now_ns(), direct_member=True)
        assert [life.listing.ticker for life in found.lives] == [T1]
        assert "inactive" in dict(found.left_out)[T0]

    served(body, catalog=catalog(MarketSpec(T0, "KXE"), MarketSpec(T1, "KXE")))
