"""Another client that this project did not write: `py-clob-client-v2` against the stand-in."""

import asyncio
import time
from importlib.metadata import PackageNotFoundError, version

import pytest

from standins.polymarket import PRIVATE_KEY, PolymarketStandIn
from standins.polymarket.probe import agrees

PINNED = "1.2"

try:
    found = version("py-clob-client-v2")
except PackageNotFoundError:
    found = ""
if not found.startswith(PINNED):
    pytest.skip(
        f"py-clob-client-v2 {PINNED} is not installed: this client can't run", allow_module_level=True
    )

from py_clob_client_v2 import (  # noqa: E402
    AssetType,
    BalanceAllowanceParams,
    ClobClient,
    MarketOrderArgs,
    OpenOrderParams,
    OrderArgs,
    OrderMarketCancelParams,
    OrderPayload,
    OrderScoringParams,
    OrderType,
    PostOrdersV2Args,
    TradeParams,
)
from py_clob_client_v2.clob_types import BookParams  # noqa: E402
from py_clob_client_v2.exceptions import PolyApiException  # noqa: E402

QUICK = {"mine_s": [0.02, 0.05], "confirm_s": [0.02, 0.05]}


def session(use, **given):
    """Let a function use a client of a stand-in's wallet, in a thread: it blocks."""

    def connect(server):
        client = ClobClient(server.url, 137, key=PRIVATE_KEY)
        client.set_api_creds(client.create_or_derive_api_key())
        return use(server, client)

    async def test():
        async with PolymarketStandIn(faults=QUICK, **given) as server:
            await asyncio.wait_for(asyncio.to_thread(connect, server), 30)
            agrees(server)

    asyncio.run(test())


def test_it_derives_the_same_key_again():
    def use(server, client):
        assert client.derive_api_key() == client.creds
        assert client.get_api_keys() == {"apiKeys": [client.creds.api_key]}
        assert client.get_closed_only_mode() == {"closed_only": False}
        other = client.create_api_key(nonce=7)
        assert other.api_key != client.creds.api_key
        client.delete_api_key()
        with pytest.raises(PolyApiException) as error:
            client.get_api_keys()
        assert error.value.status_code == 401

    session(use)


def test_it_places_reads_and_cancels():
    def use(server, client):
        market = server.venue.markets[0]
        yes, no = market.tokens
        kept = client.create_and_post_order(OrderArgs(yes, 0.49, 10, "BUY"), post_only=True)
        assert kept["status"] == "live" and kept["orderID"] in server.venue.open
        soon = int(time.time()) + 300
        timed = client.create_and_post_order(OrderArgs(no, 0.4, 12.34, "BUY", soon), order_type=OrderType.GTD)
        with pytest.raises(PolyApiException) as error:
            client.create_and_post_order(OrderArgs(yes, 0.52, 10, "BUY"), post_only=True)
        assert error.value.status_code == 400 and "order crosses book" in str(error.value)
        listed = client.get_open_orders(OpenOrderParams(market=market.spec.condition))
        assert [order["id"] for order in listed] == [kept["orderID"], timed["orderID"]]
        assert client.get_order(timed["orderID"])["expiration"] == str(soon)
        legs = [
            PostOrdersV2Args(client.create_order(OrderArgs(yes, price, 10, "BUY"))) for price in (0.47, 0.46)
        ]
        refused = PostOrdersV2Args(client.create_order(OrderArgs(yes, 0.45, 1, "BUY")))
        first, second, small = client.post_orders([*legs, refused])
        assert first["orderID"] and second["orderID"] and not small["orderID"]
        assert "lower than the minimum" in small["errorMsg"] and small["success"] is True
        assert client.cancel_order(OrderPayload(first["orderID"]))["canceled"] == [first["orderID"]]
        gone = client.cancel_orders([second["orderID"], first["orderID"]])
        assert gone["canceled"] == [second["orderID"]] and list(gone["not_canceled"]) == [first["orderID"]]
        gone = client.cancel_market_orders(OrderMarketCancelParams(asset_id=no))
        assert gone["canceled"] == [timed["orderID"]]
        assert client.cancel_all() == {"canceled": [kept["orderID"]], "not_canceled": {}}

    session(use)


@pytest.mark.parametrize("place_of", [0, 2, 4], ids=["standard", "neg-risk", "second-protocol"])
def test_it_trades_and_sees_what_it_has(place_of):
    def use(server, client):
        market = server.venue.markets[place_of]
        yes, _ = market.tokens
        asset = {"position_id": yes} if place_of == 4 else {"token_id": yes}
        bought = client.create_and_post_market_order(MarketOrderArgs(amount=26, side="BUY", **asset))
        assert (bought["status"], bought["makingAmount"], bought["takingAmount"]) == ("matched", "26", "50")
        assert bought["transactionsHashes"]
        time.sleep(0.1)
        order = OrderArgs(price=0.48, size=20, side="SELL", **asset)
        sold = client.create_and_post_order(order, order_type=OrderType.FAK)
        assert sold["takingAmount"] == "9.6"
        [trade] = client.get_trades(TradeParams(id=sold["tradeIDs"][0]))
        assert trade["side"] == "SELL" and trade["trader_side"] == "TAKER"
        assert len(client.get_trades(TradeParams(market=market.spec.condition))) == 2
        time.sleep(0.1)
        kind = AssetType.CONDITIONAL if place_of != 4 else "CONDITIONAL-V2"
        held = client.get_balance_allowance(BalanceAllowanceParams(kind, yes))
        assert held["balance"] == "30000000"
        cash = client.update_balance_allowance(BalanceAllowanceParams(AssetType.COLLATERAL))
        fees = sum(map(int, server.do("truth")["fees"].values()))
        assert int(cash["balance"]) == 10_000_000_000 - 26_000_000 + 9_600_000 - fees

    session(use)


def test_the_hash_of_a_book_is_the_one_it_computes():
    def use(server, client):
        yes, no = server.venue.markets[0].tokens
        client.create_and_post_order(OrderArgs(yes, 0.49, 10.5, "BUY"))
        for book in (client.get_order_book(yes), *client.get_order_books([BookParams(yes), BookParams(no)])):
            assert client.get_order_book_hash(book) == book["hash"]
        assert client.get_midpoint(yes) == {"mid": "0.505"}
        assert client.get_spread(no) == {"spread": "0.03"}
        assert client.get_price(yes, "SELL") == {"price": "0.52"}
        assert client.get_tick_size(yes) == "0.01" and client.get_neg_risk(yes) is False
        assert client.get_last_trade_price(yes)["side"] == ""
        assert client.get_version() == 2
        assert abs(client.get_server_time() - time.time()) < 3

    session(use)


def test_it_beats_and_asks_for_rewards():
    def use(server, client):
        yes, _ = server.venue.markets[0].tokens
        first = client.post_heartbeat("")["heartbeat_id"]
        assert client.post_heartbeat(first)["heartbeat_id"] not in ("", first)
        order = client.create_and_post_order(OrderArgs(yes, 0.48, 60, "BUY"))
        assert client.is_order_scoring(OrderScoringParams(order["orderID"])) == {"scoring": True}
        assert len(client.get_current_rewards()) == 5
        percent = client.get_reward_percentages()[server.venue.markets[0].spec.condition]
        assert 0 < percent < 100

    session(use)
