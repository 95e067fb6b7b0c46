"""The client against the stand-in: every call as the venue understands it, and what its faults leave."""

from __future__ import annotations

import asyncio

import pytest

from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import OrderState, TradeState
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import Call, Hosts, PolymarketHttp
from pr3dict.venues.polymarket.models import Book, book_hash
from pr3dict.venues.polymarket.outcomes import Restriction, Verdict
from pr3dict.venues.polymarket.rest import READERS, ReadFailedError
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind
from standins.polymarket import PolymarketStandIn, small_catalog
from venues.polymarket.client_desk import CONTRACT, Desk, at_desk
from venues.polymarket.trading import VenueClock


def run(test):
    """One test, alone in its own loop."""
    asyncio.run(test())


def test_every_kind_of_market_takes_both_sides_and_gives_them_back():
    async def test():
        async with at_desk() as (_, desk):
            assert len(desk.terms) == 5 and len({t.neg_risk for t in desk.terms}) == 2
            for row, terms in enumerate(desk.terms):
                for side, price in ((d.BID, 3_000), (d.ASK, 7_000)):
                    number = 1 + 2 * row + side
                    built, answer, events = await desk.place(number, row, side=side, price=price)
                    assert answer.outcome.verdict is Verdict.ACCEPTED, answer
                    assert events[0].venue_id == built.digest
                    seen = await desk.rest.order(built.digest)
                    assert seen.state is OrderState.LIVE and seen.sizes(built.size) == (built.size, 0)
                    found = desk.requests.recognise(seen, range(1, 30), neg_risk=terms.neg_risk)
                    assert found == number
                both = await desk.rest.open_orders(terms.condition)
                assert {order.asset_id for order in both} == {terms.yes, terms.no}
                assert len(await desk.rest.open_orders(terms.condition, terms.yes)) == 1
            swept = await desk.orders.cancel_all()
            assert len(swept.body.canceled) == 10 and await desk.rest.open_orders() == []

    run(test)


@pytest.mark.parametrize("kind", [WalletKind.PROXY, WalletKind.SAFE, WalletKind.DEPOSIT])
def test_every_kind_of_wallet_trades(kind):
    wallet = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"

    async def test():
        async with PolymarketStandIn(small_catalog()) as server:
            signer = WalletKey("22" * 32, kind, wallet)
            server.open_account(signer.address, wallet=wallet, kind=int(kind), approved=True, deployed=True)
            clock = VenueClock(server)
            hosts = Hosts(server.url, server.gamma_url, server.url, server.url, "ws://[::1]", "ws://[::1]")
            http = PolymarketHttp(hosts, clock, Budget(clock.now_ns()), signer=signer)
            desk = Desk(http, signer)
            await desk.learn()
            for row in range(5):
                built, answer, _ = await desk.place(row + 1, row)
                assert answer.outcome.verdict is Verdict.ACCEPTED, answer
                seen = await desk.rest.order(built.digest)
                assert seen.maker_address.lower() == wallet.lower()
            await http.close()

    run(test)


def test_an_order_that_would_trade_is_refused_or_trades_and_its_trade_is_ours():
    async def test():
        async with at_desk(faults={"mine_s": [0.05, 0.1], "confirm_s": [0.05, 0.1]}) as (_, desk):
            book = await desk.rest.book(desk.terms[0].yes)
            best = min(level.price for level in book.asks)
            _, answer, events = await desk.place(1, price=int(best))
            assert (answer.outcome.verdict, events[0].why) == (Verdict.REFUSED, "post_only_cross")
            built, answer, events = await desk.place(2, price=int(best), size=5 * CONTRACT, tif=d.LIMIT)
            assert answer.outcome.text == "matched" and events[-1].why == "filled"
            assert events[-1].filled == 5 * CONTRACT
            for _ in range(100):
                trades = await desk.rest.trades()
                if trades and all(trade.state is TradeState.CONFIRMED for trade in trades):
                    break
                await asyncio.sleep(0.02)
            assert {trade.taker_order_id for trade in trades} == {built.digest}
            assert sum(m.matched_amount for trade in trades for m in trade.maker_orders) == 5 * CONTRACT
            held = await desk.rest.balance("CONDITIONAL", desk.terms[0].yes)
            assert held.balance == 5 * CONTRACT
            _, answer, events = await desk.place(
                3, side=d.ASK, sell=True, price=3_000, size=5 * CONTRACT, tif=d.IOC
            )
            assert events[-1].why == "filled", (answer, events)

    run(test)


def test_a_batch_and_every_form_of_cancel():
    async def test():
        async with at_desk() as (_, desk):
            made = [desk.build(n, n % 5, price=3_000)[1] for n in range(1, 16)]
            answers = await desk.orders.post_batch(made)
            assert {answer.outcome.verdict for answer in answers} == {Verdict.ACCEPTED}
            one = await desk.orders.cancel(made[0].digest)
            many = await desk.orders.cancel_many([made[0].digest, made[1].digest, "0x" + "77" * 32])
            assert one.outcome.verdict is Verdict.ACCEPTED
            assert [a.outcome.verdict for a in many] == [Verdict.REFUSED, Verdict.ACCEPTED, Verdict.REFUSED]
            assert many[0].outcome.why == many[2].outcome.why == "unknown_order"
            gone = await desk.orders.cancel_market(desk.terms[0].condition)
            assert set(gone.body.canceled) == {made[4].digest, made[9].digest, made[14].digest}
            assert len((await desk.orders.cancel_all()).body.canceled) == 10
            again = await desk.orders.post(made[2])  # an id is never used twice
            assert again.outcome.verdict is not Verdict.ACCEPTED

    run(test)


def test_why_orders_are_refused():
    async def test():
        async with at_desk() as (_, desk):
            for number, (changes, why) in enumerate(
                (
                    ({"size": CONTRACT}, "min_size"),
                    ({"size": 10**6 * CONTRACT}, "no_cash"),
                    ({"side": d.ASK, "sell": True, "price": 7_000}, "not_held"),
                ),
                1,
            ):
                _, answer, events = await desk.place(number, **changes)
                assert (answer.outcome.verdict, events[0].why) == (Verdict.REFUSED, why), answer
            desk.terms[0] = desk.terms[0]._replace(tick=10)  # not what the market has
            _, answer, events = await desk.place(9, price=3_010)
            assert (answer.outcome.verdict, events[0].why) == (Verdict.REFUSED, "off_grid")

    run(test)


@pytest.mark.parametrize("fault", ["lost_answer", "error_after_apply", "ip_limit_after", "malformed_answer"])
def test_an_order_whose_answer_was_lost_is_found_by_its_digest(fault):
    async def test():
        async with at_desk() as (server, desk):
            server.faults.change({fault: 1})
            built, answer, events = await desk.place(1)
            assert answer.outcome.verdict is Verdict.UNKNOWN and events[0].request == "place"
            server.faults.change({fault: 0})
            seen = await desk.rest.order(built.digest)
            assert seen is not None and seen.state is OrderState.LIVE
            server.faults.change({fault: 1})
            assert (await desk.orders.cancel(built.digest)).outcome.verdict is Verdict.UNKNOWN
            server.faults.change({fault: 0})
            assert (await desk.rest.order(built.digest)).state is OrderState.CANCELED

    run(test)


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("lost_request", Verdict.UNKNOWN),
        ("error_before_apply", Verdict.UNKNOWN),
        ("ip_limit_before", Verdict.UNKNOWN),
        ("order_timed_out", Verdict.REFUSED),
        ("too_many_requests", Verdict.REFUSED),
        ("geoblocked", Verdict.REFUSED),
    ],
)
def test_an_order_that_was_never_taken_is_nowhere(fault, verdict):
    async def test():
        async with at_desk() as (server, desk):
            server.faults.change({fault: 1})
            built, answer, _ = await desk.place(1)
            assert answer.outcome.verdict is verdict
            server.faults.change({fault: 0})
            assert await desk.rest.order(built.digest) is None
            assert await desk.rest.open_orders() == []

    run(test)


def test_an_answer_with_null_for_text_is_judged_by_what_it_says():
    async def test():
        async with at_desk(faults={"null_fields": 1}) as (_, desk):
            for number in range(1, 5):
                _, answer, _ = await desk.place(number)
                assert answer.outcome.verdict is Verdict.ACCEPTED, answer
                assert not answer.malformed

    run(test)


def test_a_restart_is_told_and_cancels_go_through_the_window_after_it():
    async def test():
        async with at_desk() as (server, desk):
            built, _, _ = await desk.place(1)
            server.do("restart", seconds=0.2, post_only_s=30.0)
            _, answer, events = await desk.place(2)
            assert answer.outcome.restriction is Restriction.RESTARTING and events[0].why == "not_active"
            await asyncio.sleep(0.4)
            _, answer, events = await desk.place(3, tif=d.LIMIT)
            assert answer.outcome.restriction is Restriction.POST_ONLY and events[0].why == "not_active"
            _, answer, _ = await desk.place(4)
            assert answer.outcome.verdict is Verdict.ACCEPTED
            assert (await desk.orders.cancel(built.digest)).outcome.verdict is Verdict.ACCEPTED

    run(test)


def test_heartbeats_keep_orders_and_their_end_takes_them():
    async def test():
        async with at_desk(speed=20.0) as (_, desk):
            first = await desk.orders.heartbeat("")
            built, _, _ = await desk.place(1)
            told = first.body.heartbeat_id
            for _ in range(4):
                await asyncio.sleep(5 / 20)
                beat = await desk.orders.heartbeat(told)
                assert beat.outcome.verdict is Verdict.ACCEPTED
                told = beat.body.heartbeat_id
            assert (await desk.rest.order(built.digest)).state is OrderState.LIVE
            wrong = await desk.orders.heartbeat("nonsense")
            assert (wrong.outcome.verdict, wrong.body.heartbeat_id) == (Verdict.REFUSED, told)
            for _ in range(200):
                await asyncio.sleep(0.01)
                if (await desk.rest.order(built.digest)).state is OrderState.CANCELED:
                    return
            raise AssertionError("the order outlived its heartbeat")

    run(test)


def test_an_order_ends_at_the_second_that_was_asked_for():
    async def test():
        async with at_desk(speed=60.0) as (_, desk):
            at_ns = desk.http.clock.now_ns() + 150 * 10**9
            built, answer, _ = await desk.place(1, expiry_ns=at_ns)
            assert answer.outcome.verdict is Verdict.ACCEPTED and built.post.order_type == "GTD"
            assert 0 <= at_ns - built.expires_ns < 10**9
            while desk.http.clock.now_ns() < at_ns - 20 * 10**9:
                assert (await desk.rest.order(built.digest)).state is OrderState.LIVE
                await asyncio.sleep(0.05)
            for _ in range(200):
                if (await desk.rest.order(built.digest)).state is OrderState.CANCELED:
                    break
                await asyncio.sleep(0.01)
            assert at_ns - 20 * 10**9 < desk.http.clock.now_ns() < at_ns + 40 * 10**9

    run(test)


def test_the_rest_of_what_a_maker_reads():
    async def test():
        async with at_desk() as (server, desk):
            rest, terms = desk.rest, desk.terms[0]
            assert abs(await rest.venue_time_ns() - server.now_ns()) < 3 * 10**9
            assert await rest.version() == 2
            assert await rest.tick_size(terms.yes) == terms.tick
            assert await rest.neg_risk(desk.terms[2].yes) is True
            assert await rest.condition_of(terms.no) == terms.condition
            assert (await rest.verbose_market(terms.condition)).condition_id == terms.condition
            books = await rest.books([t.yes for t in desk.terms])
            assert [book.asset_id for book in books] == [t.yes for t in desk.terms]
            assert (await rest.event_markets()).items
            cash = await rest.balance()
            assert cash.balance == 10_000 * CONTRACT and max(cash.allowances.values()) > 2**200
            await rest.refresh_balance()
            assert await rest.is_closed_only() is False
            assert await rest.api_keys() == (desk.http.key.key,)
            assert await rest.rate_limit_tier() == "standard"
            assert (await rest.geoblock()).blocked is False and await rest.is_blocked() is False
            rewards = await rest.reward_markets()
            assert rewards.items and not rewards.refused
            assert (await rest.rewards_of(terms.condition)).items[0].condition_id == terms.condition
            built, _, _ = await desk.place(1, size=60 * CONTRACT)
            assert set(await rest.scoring([built.digest])) == {built.digest}
            assert await rest.is_scoring(built.digest) in (True, False)
            date = "2026-11-21"
            await rest.rebates(date, desk.signer.maker)
            await rest.earnings(date)
            await rest.total_earnings(date)
            await rest.reward_percentages()
            with pytest.raises(ReadFailedError):
                await rest.book("1" * 77)

    run(test)


def test_a_wrong_api_key_is_refused_at_the_door():
    async def test():
        async with at_desk() as (_, desk):
            key, _, phrase = desk.http.key.parts()
            desk.http.key = ApiKey(desk.signer.address, key, "bm90IHRoZSBzZWNyZXQ=", phrase)
            _, answer, _ = await desk.place(1)
            assert (answer.outcome.verdict, answer.status) == (Verdict.REFUSED, 401)

    run(test)


def test_books_hash_to_what_they_say():
    async def test():
        async with at_desk() as (_, desk):
            reply = await desk.http.call(Call("GET", "/book", query={"token_id": desk.terms[0].yes}))
            assert READERS[Book](reply.body).hash == book_hash(reply.body)

    run(test)


def test_a_refusal_inside_an_accepted_answer_is_seen():
    async def test():
        async with at_desk(faults={"refused_as_200": 1}) as (_, desk):
            _, answer, events = await desk.place(1, size=CONTRACT)
            assert (answer.status, answer.outcome.verdict) == (200, Verdict.REFUSED)
            assert events[0].why == "min_size"

    run(test)
