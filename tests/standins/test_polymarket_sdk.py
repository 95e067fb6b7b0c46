"""A client that this project did not write: `polymarket-client` trades and streams against the stand-in."""

import asyncio
import contextlib
import dataclasses
import functools
import ssl
import time
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version

import pytest

from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog
from standins.polymarket.probe import agrees
from standins.polymarket.values import day_of

PINNED = "0.14"
OTHER_KEY = "0x" + "22" * 32
QUICK = {"mine_s": [0.05, 0.1], "confirm_s": [0.05, 0.1], "relayer_s": [0.1, 0.2]}

try:
    found = version("polymarket-client")
except PackageNotFoundError:
    found = ""
if not found.startswith(PINNED):
    pytest.skip(
        f"polymarket-client {PINNED} is not installed: the official client can't run", allow_module_level=True
    )

from polymarket import AsyncSecureClient, RelayerApiKey  # noqa: E402
from polymarket._internal.environment import (  # noqa: E402
    PRODUCTION_CONFIG,
    create_environment,
)
from polymarket._internal.wallet import derive_beacon_deposit_wallet_address  # noqa: E402
from polymarket.errors import RequestRejectedError, TransactionFailedError  # noqa: E402
from polymarket.streams import MarketSpec, UserSpec  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_context():
    """A client loads the machine's certificates eight times and needs none on loopback: once will do."""
    made = functools.cache(ssl.create_default_context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", made)
        yield


def environment_of(server):
    """The client's own settings, pointed at the stand-in."""
    config = dataclasses.replace(
        PRODUCTION_CONFIG, clob_url=server.url, gamma_url=server.gamma_url, relayer_url=server.relayer_url,
        rpc_url=server.rpc_url, clob_market_ws_url=server.market_ws_url, clob_user_ws_url=server.user_ws_url,
        data_url=server.url, relayer_poll_frequency_ms=50,
    )  # fmt: skip
    return create_environment(name="stand-in", config=config)


@contextlib.asynccontextmanager
async def client_of(server, key=PRIVATE_KEY, wallet="", **more):
    """A client of one wallet: its owner's own, if none is named."""
    wallet = wallet or server.address
    client = await AsyncSecureClient.create(
        private_key=key, wallet=wallet, environment=environment_of(server), **more
    )
    try:
        yield client
    finally:
        await client.close()


def run(test):
    asyncio.run(asyncio.wait_for(test, 30))


def test_it_gets_a_key_and_gets_it_again():
    async def test():
        async with PolymarketStandIn() as server:
            async with client_of(server) as client:
                first = client.credentials
            async with client_of(server) as client:
                assert client.credentials == first
                assert await client.fetch_api_keys() == (first.key,)
            async with client_of(server, nonce=3) as client:
                assert client.credentials.key != first.key
                assert not await client.get_closed_only_mode()
            async with client_of(server, credentials=first) as client:
                await client.delete_api_key()
                with pytest.raises(RequestRejectedError) as error:
                    await client.fetch_api_keys()
                assert error.value.status == 401

    run(test())


def test_it_places_reads_and_cancels():
    async def test():
        async with PolymarketStandIn() as server, client_of(server) as client:
            yes, no = server.venue.markets[0].tokens
            kept = await client.create_limit_order(asset_id=yes, price="0.49", size="10", side="BUY")
            posted = await client.post_order(kept)
            assert posted.ok and posted.status == "live" and posted.order_id in server.venue.open
            timed = await client.create_limit_order(
                asset_id=no, price="0.4", size="12.5", side="BUY", expiration=int(time.time()) + 300
            )
            posted_timed = await client.post_order(timed)
            listed = {order.id: order async for order in client.list_open_orders().iter_items()}
            assert set(listed) == {posted.order_id, posted_timed.order_id}
            order = listed[posted_timed.order_id]
            assert (order.price, order.original_size, order.order_type) == (
                Decimal("0.4"), Decimal("12.5"), "GTD",
            )  # fmt: skip
            assert (await client.get_order(order_id=posted.order_id)).size_matched == 0
            answer = await client.cancel_order(order_id=posted.order_id)
            assert answer.canceled == (posted.order_id,) and not answer.not_canceled
            again = await client.cancel_order(order_id=posted.order_id)
            assert list(again.not_canceled) == [posted.order_id]
            assert (await client.cancel_all()).canceled == (posted_timed.order_id,)
            assert agrees(server)["open_orders"] == []

    run(test())


def test_it_sees_each_leg_of_a_batch_by_itself():
    async def test():
        async with PolymarketStandIn() as server, client_of(server) as client:
            market = server.venue.markets[1]
            yes, no = market.tokens
            legs = [
                await client.create_limit_order(
                    asset_id=yes, price="0.481", size="10", side="BUY", post_only=True
                ),
                await client.create_limit_order(
                    asset_id=yes, price="0.52", size="10", side="BUY", post_only=True
                ),
                await client.create_limit_order(asset_id=no, price="0.4", size="99999", side="BUY"),
                await client.create_limit_order(asset_id=no, price="0.47", size="10", side="BUY"),
            ]
            first, crossing, poor, last = await client.post_orders(legs)
            assert first.ok and last.ok and len(server.venue.open) == 2
            assert (crossing.ok, crossing.code) == (False, "post_only_would_cross")
            assert (poor.ok, poor.code) == (False, "not_enough_balance")
            gone = await client.cancel_market_orders(market=market.spec.condition, asset_id=yes)
            assert gone.canceled == (first.order_id,)
            answer = await client.cancel_orders(order_ids=[last.order_id, "0x" + "ab" * 32])
            assert answer.canceled == (last.order_id,) and len(answer.not_canceled) == 1

    run(test())


@pytest.mark.parametrize("place_of", [0, 1, 2, 4], ids=["cents", "tenths", "neg-risk", "second-protocol"])
def test_it_trades_in_every_kind_of_market(place_of):
    async def test():
        async with PolymarketStandIn(faults=QUICK) as server, client_of(server) as client:
            market = server.venue.markets[place_of]
            yes, no = market.tokens
            bought = await client.place_market_order(asset_id=yes, amount="26", side="BUY", order_type="FOK")
            assert bought.ok and bought.status == "matched"
            assert (bought.making_amount, bought.taking_amount) == (Decimal(26), Decimal(50))
            await client.wait_for_order_fill_settlement(bought)
            sold = await client.create_market_order(asset_id=yes, shares="20", side="SELL", order_type="FAK")
            sold = await client.post_order(sold)
            assert sold.ok and sold.taking_amount == Decimal("9.6")
            both = await client.create_limit_order(asset_id=no, price="0.53", size="10", side="BUY")
            assert (await client.post_order(both)).taking_amount == 10
            await asyncio.sleep(0.5)
            kind = "CONDITIONAL-V2" if market.spec.version == "v2" else "CONDITIONAL"
            held = await client.get_balance_allowance(asset_type=kind, asset_id=yes)
            assert held.balance == 30_000_000
            trades = [trade async for trade in client.list_account_trades().iter_items()]
            assert [trade.status for trade in trades] == ["CONFIRMED"] * 3
            assert {trade.trader_side for trade in trades} == {"TAKER"}
            truth = agrees(server)
            assert truth["balances"][server.address][yes] == "30"
            fees = sum(map(int, truth["fees"].values()))
            cash = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
            assert cash == 10_000_000_000 - 26_000_000 + 9_600_000 - 5_200_000 - fees
            rate = {0: 0.04, 1: 0, 2: 0.05, 4: 0.07}[place_of]
            assert fees == pytest.approx(80 * rate * 0.52 * 0.48 * 1e6, abs=30)

    run(test())


def test_it_reads_the_market():
    async def test():
        async with PolymarketStandIn() as server, client_of(server) as client:
            yes, no = server.venue.markets[0].tokens
            book = await client.get_order_book(asset_id=yes)
            assert book.bids[-1].price == Decimal("0.48") and book.asks[-1].price == Decimal("0.52")
            assert len(await client.get_order_books(asset_ids=[yes, no])) == 2
            assert await client.get_midpoint(asset_id=yes) == Decimal("0.5")
            assert await client.get_price(asset_id=no, side="BUY") == Decimal("0.48")
            assert await client.get_spread(asset_id=yes) == Decimal("0.04")
            markets = [market async for market in client.list_markets(page_size=2).iter_items()]
            assert [market.slug for market in markets] == [m.spec.slug for m in server.venue.markets]
            assert markets[0].outcomes.yes.token_id == yes and markets[0].outcomes.no.token_id == no
            assert markets[4].version == "v2" and markets[4].outcomes.yes.position_id
            events = [event async for event in client.list_events().iter_items()]
            assert [event.slug for event in events] == ["plain", "field", "second-protocol"]
            assert (await client.get_market(id=markets[2].id)).state.neg_risk is True
            rewards = [each async for each in client.list_current_rewards().iter_items()]
            assert len(rewards) == 5 and rewards[0].rewards_min_size == 50
            order = await client.create_limit_order(asset_id=yes, price="0.48", size="60", side="BUY")
            posted = await client.post_order(order)
            assert await client.get_orders_scoring(order_ids=[posted.order_id]) == {posted.order_id: True}

    run(test())


def test_it_keeps_its_orders_alive_with_heartbeats():
    async def test():
        async with PolymarketStandIn(speed=8) as server, client_of(server) as client:
            yes, _ = server.venue.markets[0].tokens
            beat = await client.send_order_heartbeat(heartbeat_id="")
            order = await client.create_limit_order(asset_id=yes, price="0.4", size="10", side="BUY")
            posted = await client.post_order(order)
            with pytest.raises(RequestRejectedError, match=r"(?i)heartbeat") as mismatch:
                await client.send_order_heartbeat(heartbeat_id="wrong")
            assert mismatch.value.status == 400
            await client.send_order_heartbeat(heartbeat_id=beat.heartbeat_id)
            assert posted.order_id in server.venue.open
            await asyncio.sleep(16 / 8)  # ten seconds and a sweep
            assert server.venue.orders[posted.order_id].status == "CANCELED"

    run(test())


def test_it_reads_what_makers_earn():
    async def test():
        catalog = small_catalog(1, category="sports", rewards_daily=1_000)
        async with PolymarketStandIn(catalog, speed=0) as server, client_of(server) as client:
            market = server.venue.markets[0]
            order = await client.create_limit_order(
                asset_id=market.tokens[0], price="0.49", size="400", side="BUY"
            )
            posted = await client.post_order(order)
            server.pass_time(200)
            day = day_of(server.now_ns())
            assert await client.get_order_scoring(order_id=posted.order_id) is True
            [earned] = [row async for row in client.list_user_earnings_for_day(date=day).iter_items()]
            [total] = await client.get_total_earnings_for_user_for_day(date=day)
            assert earned.earnings > 0 and total.earnings == pytest.approx(
                earned.earnings, abs=Decimal("1e-5")
            )
            assert 0 < (await client.get_reward_percentages())[market.spec.condition] < 100
            detail = client.list_market_rewards(condition_id=market.spec.condition)
            [detail] = [row async for row in detail.iter_items()]
            assert detail.market_competitiveness > 0 and len(detail.tokens) == 2
            server.do("take", market="plain-0", taker="ask", price="0.49", shares="400")
            [rebate] = await client.get_current_rebates(date=day, maker_address=server.address)
            assert float(rebate.rebated_fees_usdc) == pytest.approx(0.15 * 5 * 4 * 0.49 * 0.51, abs=1e-4)
            assert await client.get_notifications() == ()
            assert agrees(server)["open_orders"] == []

    run(test())


async def until(stream, wanted):
    """Events of a stream up to the first that is wanted."""
    seen = []
    async for event in stream:
        seen.append(event)
        if wanted(event):
            return seen
    raise AssertionError(seen)


def test_it_streams_books_and_its_own_events():
    async def test():
        async with PolymarketStandIn(faults=QUICK) as server, client_of(server) as client:
            market = server.venue.markets[0]
            yes, no = market.tokens
            spec = MarketSpec(token_ids=[yes, no], custom_feature_enabled=True)
            async with await client.subscribe(spec) as books, await client.subscribe(UserSpec()) as own:
                first = await asyncio.wait_for(anext(books), 5)
                assert first.type == "book" and len(first.payload.bids) == 5
                order = await client.create_limit_order(asset_id=no, price="0.49", size="10", side="BUY")
                posted = await client.post_order(order)
                seen = await asyncio.wait_for(until(books, lambda e: e.type == "price_change"), 5)
                rows = {row.asset_id: row for row in seen[-1].payload.price_changes}
                assert rows[no].price == Decimal("0.49") and rows[no].side == "BUY"
                assert rows[yes].price == Decimal("0.51") and rows[yes].side == "SELL"
                server.do("take", market="plain-0", taker="bid", price="0.51", shares="4")
                seen = await asyncio.wait_for(
                    until(own, lambda e: e.type == "trade" and e.payload.status == "CONFIRMED"), 5
                )
                kinds = [e.payload.order_event_type for e in seen if e.type == "order"]
                assert kinds == ["PLACEMENT", "UPDATE"]
                statuses = [e.payload.status for e in seen if e.type == "trade"]
                assert statuses == ["MATCHED", "MINED", "CONFIRMED"]
                trade = seen[-1].payload
                [row] = [row for row in trade.maker_orders if row.order_id == posted.order_id]
                assert (row.side, row.asset_id, row.price) == ("BUY", no, Decimal("0.49"))
                assert row.matched_amount == 4 and trade.trader_side == "MAKER"
                server.do("change_tick", market="plain-0", tick="0.001")
                server.do("resolve", market="plain-0", result="no")
                seen = await asyncio.wait_for(until(books, lambda e: e.type == "market_resolved"), 5)
                assert {"last_trade_price", "tick_size_change", "book"} <= {e.type for e in seen}
                assert seen[-1].payload.winning_asset_id == no
                seen = await asyncio.wait_for(
                    until(own, lambda e: e.type == "order" and e.payload.order_event_type == "CANCELLATION"),
                    5,
                )
                assert seen[-1].payload.status == "CANCELED_MARKET_RESOLVED"

    run(test())


def test_a_deposit_wallet_trades_and_its_pairs_are_split_merged_and_redeemed():
    async def test():
        async with PolymarketStandIn(faults=QUICK) as server:
            wallet = derive_beacon_deposit_wallet_address(server.address, PRODUCTION_CONFIG.wallet_derivation)
            server.open_account(server.address, wallet=wallet, kind=3, deployed=False)
            key = RelayerApiKey(key=server.relayer_key(), address=server.address)
            async with client_of(server, wallet=wallet, api_key=key) as client:
                assert server.venue.accounts[wallet].deployed  # the client saw to it
                for place_of in (0, 2, 4):
                    market = server.venue.markets[place_of]
                    yes, no = market.tokens
                    condition = market.spec.condition
                    order = await client.create_limit_order(asset_id=yes, price="0.52", size="10", side="BUY")
                    assert order.signature_type == 3
                    posted = await client.post_order(order)
                    assert posted.ok and posted.status == "matched", posted
                    await client.wait_for_order_fill_settlement(posted)
                    for amount, call in ((25_000_000, "split_position"), (20_000_000, "merge_positions")):
                        handle = await getattr(client, call)(condition_id=condition, amount=amount)
                        await handle.wait()
                    held = server.venue.ledger.balances[wallet]
                    assert (held[yes], held[no]) == (15_000_000, 5_000_000)
                    server.faults.change({"relayer_failed": 1.0})
                    handle = await client.merge_positions(condition_id=condition, amount="max")
                    with pytest.raises(TransactionFailedError):
                        await handle.wait()
                    server.faults.change({"relayer_failed": 0})
                    assert held[no] == 5_000_000
                    server.do("resolve", market=condition, result="yes")
                    before = held["pusd"]
                    handle = await client.redeem_positions(condition_id=condition)
                    await handle.wait()
                    assert held["pusd"] - before == 15_000_000 and held[yes] == held[no] == 0
            assert server.do("truth")["unexplained"] == []

    run(test())


def test_a_plain_wallet_merges_on_its_own():
    async def test():
        async with PolymarketStandIn(faults=QUICK) as server, client_of(server) as client:
            market = server.venue.markets[0]
            server.do("split", market="plain-0", shares="8")
            handle = await client.merge_positions(condition_id=market.spec.condition, amount=3_000_000)
            await handle.wait()
            assert server.venue.ledger.balances[server.address][market.tokens[0]] == 5_000_000
            agrees(server)

    run(test())


def test_two_clients_make_a_pair_together():
    async def test():
        catalog = small_catalog(1)
        async with PolymarketStandIn(
            dataclasses.replace(catalog, flow=catalog.flow[:0]), faults=QUICK
        ) as server:
            other = server.open_account("0x1563915e194D8CfBA1943570603F7606A3115508").wallet
            async with client_of(server) as one, client_of(server, OTHER_KEY, other) as two:
                yes, no = server.venue.markets[0].tokens
                bid = await one.create_limit_order(asset_id=yes, price="0.6", size="10", side="BUY")
                resting = await one.post_order(bid)
                taker = await two.create_limit_order(asset_id=no, price="0.45", size="10", side="BUY")
                taken = await two.post_order(taker)
                assert (
                    taken.status == "matched" and taken.making_amount == 4
                )  # the better price is the taker's
                await two.wait_for_order_fill_settlement(taken)
                [mine] = [trade async for trade in one.list_account_trades().iter_items()]
                [theirs] = [trade async for trade in two.list_account_trades().iter_items()]
                assert (mine.trader_side, theirs.trader_side) == ("MAKER", "TAKER")
                assert mine.maker_orders[0].order_id == resting.order_id
                held = server.venue.ledger.balances
                assert held[server.address][yes] == held[other][no] == 10_000_000
                assert agrees(server)["open_orders"] == []

    run(test())


def test_it_names_what_restricts_trading():
    async def test():
        async with PolymarketStandIn() as server, client_of(server) as client:
            yes, _ = server.venue.markets[0].tokens
            taker = await client.create_limit_order(asset_id=yes, price="0.52", size="10", side="BUY")
            maker = await client.create_limit_order(
                asset_id=yes, price="0.4", size="10", side="BUY", post_only=True
            )
            server.do("restart", seconds=30, post_only_s=30)
            with pytest.raises(RequestRejectedError) as error:
                await client.post_order(maker)
            assert (error.value.restriction, error.value.retry_after) == ("restarting", 1)
            server.do("post_only", seconds=30)
            with pytest.raises(RequestRejectedError) as error:
                await client.post_order(taker)
            assert error.value.restriction == "post_only" and 28 <= error.value.retry_after <= 30
            [leg] = await client.post_orders([taker])
            assert leg.code == "post_only_mode"
            assert (await client.post_order(maker)).ok
            server.do("cancel_only", seconds=30)
            with pytest.raises(RequestRejectedError) as error:
                await client.post_order(taker)
            assert error.value.restriction == "cancel_only"
            assert len((await client.cancel_all()).canceled) == 1

    run(test())
