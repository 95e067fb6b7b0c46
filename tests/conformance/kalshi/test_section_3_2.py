"""Section 3: lives of markets, shards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    accepted,
    catalog,
    changed,
    heard,
    listening,
    live,
    lives_at,
    place,
    rows_of,
    served,
    statuses,
    until,
)
from conformance.kalshi.rows import row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.market import MarketStatus
from pr3dict.domain.units import ASK
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_markets import Selection, find_markets
from standins.kalshi import MarketSpec


@row("3.25", "Each status has its meaning; a status that is not known counts as paused and is counted.")
def test_statuses():
    expected = {
        "initialized": MarketStatus.INITIALIZED,
        "active": MarketStatus.ACTIVE,
        "inactive": MarketStatus.PAUSED,
        "closed": MarketStatus.CLOSED,
        "determined": MarketStatus.DETERMINED,
        "disputed": MarketStatus.DISPUTED,
        "amended": MarketStatus.AMENDED,
        "finalized": MarketStatus.SETTLED,
        "brand_new": MarketStatus.PAUSED,
    }

    async def body(server, ear, wire):
        for word, status in expected.items():
            changed(
                server,
                "markets",
                lambda body, word=word: body | {"markets": [x | {"status": word} for x in body["markets"]]},
            )
            (life,) = await lives_at(wire.rest, server.now_ns())
            assert life.status is status
        await wire._reread(("KXS-1-A",))
        assert statuses(ear, 0)[-1] == d.PAUSED and wire.lives.unknown_words == {"brand_new": 1}

    live(body, catalog=catalog(MarketSpec("KXS-1-A", "KXS-1")))


@row("3.26", "Only markets that state that they are active, or open later, are found for trading.")
def test_found_markets():
    async def body(server, rest):
        server.do("pause_market", ticker=T0)
        server.do("close_market", ticker=T1)
        changed(server, "markets", lambda body: body)
        found = await find_markets(rest, Selection(), now_ns=server.now_ns(), direct_member=True)
        assert {life.listing.ticker for life in found.lives if life.status is MarketStatus.ACTIVE} == {T2, T3}
        assert T1 not in {life.listing.ticker for life in found.lives}

    served(body)


@row("3.27", "A market opens for us by the clock at its opening time, which no message announces.")
def test_opening():
    async def body(server, ear, wire):
        assert statuses(ear, 0)[0] == d.INITIALIZED
        await heard(ear, 0, d.STATUS, d.ACTIVE)
        assert server.venue.by_ticker["KXS-1-A"].status == "active"

    live(body, speed=20.0, catalog=catalog(MarketSpec("KXS-1-A", "KXS-1", open_in_s=8.0)))


@row("3.28", "A market closes for us by the clock at its closing time, which no message announces.")
def test_closing():
    async def body(server, ear, wire):
        await heard(ear, 0, d.STATUS, d.CLOSED)
        assert server.now_ns() >= wire.lives["KXS-1-A"].close_ns

    live(body, speed=20.0, catalog=catalog(MarketSpec("KXS-1-A", "KXS-1", close_in_s=8.0)))


@row("3.29", "When a paused market is activated our orders are read anew, since it took them all out.")
def test_reactivation():
    async def body(server, ear, wire):
        server.faults.change({"wipe_silently": 1.0})
        await accepted(ear, wire, place(wire, 1))
        (order,) = server.venue.open_of[0].values()
        order.cancel_on_pause = False  # so that it rests through the pause
        server.do("pause_market", ticker=T0)
        await heard(ear, 0, d.STATUS, d.PAUSED)
        assert not ear.of(e.Closed)
        server.do("activate_market", ticker=T0)
        assert (await ear.until(e.OrdersRead)).orders == ()
        assert statuses(ear, 0)[-1] == d.ACTIVE

    live(body)


@row(
    "3.30",
    "A cancel after the close is refused for sure; the order is closed by what the exchange tells "
    "afterwards.",
)
def test_cancel_after_close():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        market = server.venue.by_ticker[T0]
        market.status = "closed"
        wire.send(0, [c.Cancel(order_id=1, market=0)])
        refused = await ear.until(e.RequestRefused)
        assert (refused.order_id, refused.why) == (1, "not_active") and not ear.of(e.Closed)
        market.status = "active"
        server.do("close_market", ticker=T0)
        closed = await ear.until(e.Closed)
        assert (closed.order_id, closed.why, closed.filled) == (1, "closed", 0)

    live(body)


@row("3.31", "A close that moves, earlier or later, moves for us too, told or read.")
def test_close_moves():
    async def body(server, ear, wire):
        first = wire.lives[T0].close_ns
        server.do("move_close", ticker=T0, in_s=3_600.0)
        await until(lambda: len(rows_of(ear, 0, d.CLOSE_TIME)) == 1)
        earlier = int(rows_of(ear, 0, d.CLOSE_TIME)["aux"][0])
        assert earlier < first and abs(earlier - server.now_ns() - 3_600 * SECOND) < 5 * SECOND
        server.venue.by_ticker[T0].close_ns += 7_200 * SECOND  # nobody is told
        await wire._reread((T0,))
        assert int(rows_of(ear, 0, d.CLOSE_TIME)["aux"][-1]) - earlier == 7_200 * SECOND

    live(body)


@row("3.32", "A result stops trading at once; money is booked only when the market has paid.")
def test_determined():
    async def body(server, ear, wire):
        server.do("determine", ticker=T0, result="yes")
        await heard(ear, 0, d.STATUS, d.DETERMINED)
        assert not ear.of(e.Settled)
        server.do("finalize", ticker=T0)
        paid = await ear.until(e.Settled)
        assert (paid.market, paid.value_micros, paid.refund) == (0, CONTRACT, False)
        assert statuses(ear, 0)[-1] == d.SETTLED

    live(body)


@row("3.33", "A result in dispute is known as such, and what is amended pays its amended value.")
def test_disputed():
    async def body(server, ear, wire):
        server.do("determine", ticker=T0, result="yes")
        await heard(ear, 0, d.STATUS, d.DETERMINED)
        server.do("dispute", ticker=T0)
        await wire._reread((T0,))
        assert statuses(ear, 0)[-1] == int(MarketStatus.DISPUTED) and not ear.of(e.Settled)
        server.do("amend_result", ticker=T0, result="no")
        server.do("finalize", ticker=T0)
        assert (await ear.until(e.Settled)).value_micros == 0

    live(body)


@row("3.34", "A payout that is amended after it was made is told once more, with its new value.")
def test_amended_payout():
    async def body(server, ear, wire):
        server.do("determine", ticker=T0, result="yes")
        server.do("finalize", ticker=T0)
        assert (await ear.until(e.Settled)).value_micros == CONTRACT
        server.do("amend_result", ticker=T0, result="no")
        await wire._reread((T0,))
        assert (await ear.until(e.Settled, 2)).value_micros == 0
        await wire._reread((T0,))
        assert len(ear.of(e.Settled)) == 2

    live(body)


@row(
    "3.35",
    "A scalar result pays the value that the market states, and nothing is booked before it is stated.",
)
def test_scalar():
    async def body(server, ear, wire):
        server.do("determine", ticker=T0, result="scalar", scalar_price="0.3725")
        await heard(ear, 0, d.STATUS, d.DETERMINED)
        assert wire.lives[T0].value_micros == 372_500
        server.do("finalize", ticker=T0)
        assert (await ear.until(e.Settled)).value_micros == 372_500
        changed(
            server,
            "markets",
            lambda body: (
                body
                | {
                    "markets": [
                        x | {"status": "finalized", "result": "scalar", "settlement_value_dollars": None}
                        for x in body["markets"]
                        if x["ticker"] == T1
                    ]
                }
            ),
        )
        await wire._reread((T1,))
        assert len(ear.of(e.Settled)) == 1

    live(body)


@row("3.36", "A void gives every position its cost back.")
def test_void():
    async def body(server, ear, wire):
        server.do("determine", ticker=T0, result="void")
        server.do("finalize", ticker=T0)
        paid = await ear.until(e.Settled)
        assert (paid.market, paid.refund) == (0, True)

    live(body)


@row(
    "3.37",
    "Resolution is expected when the market says so, else at its latest expiration; it may precede "
    "the close.",
)
def test_expected_expiration():
    async def body(server, rest):
        for name, value in (
            ("expected_expiration_time", "2026-11-23T01:00:00Z"),
            ("expected_expiration_time", None),
        ):
            changed(
                server,
                "markets",
                lambda body, n=name, v=value: (
                    body
                    | {
                        "markets": [
                            x | {n: v, "expiration_time": "2020-01-01T00:00:00Z"} for x in body["markets"]
                        ]
                    }
                ),
            )
            (life,) = await lives_at(rest, server.now_ns())
            at = value or (await rest.markets())[0].latest_expiration_time
            expected = int(datetime(2026, 11, 23, 1, tzinfo=UTC).timestamp()) * SECOND if value else int(at)
            assert life.listing.resolution_ns == expected

    served(body, catalog=catalog(MarketSpec("KXS-1-A", "KXS-1")))


@row("3.38", "A market's shard is read from it or its event; where neither states one it is not traded.")
def test_shard_is_read():
    async def body(server, rest):
        assert [life.shard for life in await lives_at(rest, server.now_ns())] == [0, 1, 2, 3]

        def without(name):
            return lambda body: body | {name: _without_shard(body[name])}

        changed(server, "markets", without("markets"))
        assert [life.shard for life in await lives_at(rest, server.now_ns())] == [0, 1, 2, 3]
        changed(server, "event", without("event"))
        with pytest.raises(DataError, match="exchange_index"):
            await lives_at(rest, server.now_ns())

    served(body)


def _without_shard(body):
    if isinstance(body, list):
        return [_without_shard(one) for one in body]
    return {k: v for k, v in body.items() if k != "exchange_index"}


@row("3.39", "Every call about an order names its shard, and cancels and decreases the market too.")
def test_shard_is_named():
    async def body(server, ear, wire):
        with listening(server) as asked:
            await accepted(ear, wire, place(wire, 1, T2))
            wire.send(0, [c.Renew(order_id=1, market=2, expiry_ns=server.now_ns() + 60 * SECOND)])
            await ear.until(e.Renewed)
            wire.send(0, [c.Reduce(order_id=1, market=2, remaining=2 * CONTRACT)])
            await ear.until(e.Reduced)
            wire.send(0, [c.Cancel(order_id=1, market=2)])
            await ear.until(e.Closed)
        writes = [{**h.query, **(h.body or {})} for h in asked if "/events/orders" in h.path]
        assert len(writes) == 4 and all(str(x["exchange_index"]) == "2" for x in writes)
        assert [x.get("market_ticker", x.get("ticker")) for x in writes] == [T2] * 4

    live(body)


@row(
    "3.40",
    "Money counts where it lies: an order on a shard without enough of it is refused for want of cash.",
)
def test_money_of_a_shard():
    async def body(server, ear, wire):
        server.do("deposit", dollars=-99.0, shard=2)
        balance = await wire.rest.balance()
        assert {int(s.exchange_index): int(s.balance) for s in balance.balance_breakdown}[2] == CONTRACT
        wire.send(0, [place(wire, 1, T2)])
        assert (await ear.until(e.Refused)).why == "no_cash"
        await accepted(ear, wire, place(wire, 2, T0))

    live(body, cash_dollars=100.0)


@row(
    "3.41",
    "On a shard that the account was never set up on orders are refused for sure, with the exchange's words.",
)
def test_unprovisioned_shard():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, T3)])
        refused = await ear.until(e.Refused)
        assert refused.order_id == 1 and "user" in refused.text

    live(body, shards=(0, 1, 2))


@row(
    "3.42",
    "Each shard that we trade on has an order group of its own, and orders join the one of their shard.",
)
def test_group_of_a_shard():
    async def body(server, ear, wire):
        assert sorted(wire.groups.values()) == [0, 1, 2, 3]
        for number, ticker in enumerate((T0, T1, T2, T3), 1):
            await accepted(ear, wire, place(wire, number, ticker, side=ASK, price=5500))
        joined = {o["ticker"]: o["order_group_id"] for o in server.do("truth")["open_orders"]}
        assert {t: wire.groups[g] for t, g in joined.items()} == {T0: 0, T1: 1, T2: 2, T3: 3}

    live(body, terms={"group_limit": 50 * CONTRACT})
