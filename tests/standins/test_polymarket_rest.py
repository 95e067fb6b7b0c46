"""Requests to the Polymarket stand-in: signatures, orders, why they are refused, cancels, reads, limits."""

import json
from dataclasses import replace

import pytest

from standins.polymarket import small_catalog
from standins.polymarket.book import book_hash
from standins.polymarket.crypto import (
    ORDER_TYPE,
    address_of,
    auth_digest,
    digest_of,
    exchange_domain,
    hmac_text,
    order_struct,
    recover,
    sign_digest,
)
from standins.polymarket.probe import Probe, agrees, run, still
from standins.polymarket.values import NO, SECOND, YES

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
OTHER = "0x" + "22" * 32
TOKEN = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
ORDER = {
    "salt": 123, "maker": ADDRESS, "signer": ADDRESS, "tokenId": TOKEN, "makerAmount": "53000000",
    "takerAmount": "100000000", "side": "BUY", "signatureType": 0, "timestamp": "1700000000000",
    "metadata": "0x" + "00" * 32, "builder": "0x" + "00" * 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "digest"),
    [
        ("standard", "8fc93eeea33ab582c24cf8f3596a555ef6b6d80e34e6af3c37e3e637df56aa7d"),
        ("neg_risk", "f2adb7afb3b370e00c532d22d72a56bddb36f8c9d5601fd2aab5f2f4142d2d03"),
        ("v3", "14fbd826818f4bede37d8d08fb4bf91df49a501a2a09c382e3523a5dbcd5f769"),
    ],
)
def test_known_digests_of_orders(exchange, digest):
    assert digest_of(exchange_domain(exchange), order_struct(ORDER)).hex() == digest


def test_known_signatures():
    digest = digest_of(exchange_domain("standard"), order_struct(ORDER))
    signature = bytes.fromhex(
        "6e096724539d24d8449ebf4165e5ed45347d30706dfe1e905c6d33a0d5eaa4e1"
        "3933351ddd24476bcdfecd7dd6ede6d85210de2a3fe53b0f1b9a12088060e8c11c"
    )
    assert recover(digest, signature) == ADDRESS == address_of(KEY)
    assert sign_digest(KEY, digest) == signature
    auth = bytes.fromhex(
        "0f08c184141f23f61012ba15fef7303dff47a1da48c10ae8a6737eff59618f6e"
        "568b2868fedf252be3eb6e80f3a5f09bfdf609cd8f1c9725f9862742b33dc5fc1b"
    )
    assert recover(auth_digest(ADDRESS, "1700000000", 0), auth) == ADDRESS
    secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    body = '{"orderID":"0xabc"}'
    assert (
        hmac_text(secret, "1700000000", "DELETE", "/order", body)
        == "CCh0pv3QHx8mnEjYvcAGMc9wLMBMufYcmtG-c0x6N3s="
    )
    assert (
        hmac_text(secret, "1700000000", "GET", "/data/orders", "")
        == "4TsKQBGa2N92InmiEciYJz8sZSaH4nBAXoP1jABpQ2s="
    )


def test_the_known_hash_of_a_book():
    book = {
        "market": "0x" + "ab" * 32, "asset_id": TOKEN, "timestamp": "1700000000000", "hash": "44d2",
        "bids": [{"price": "0.51", "size": "10"}, {"price": "0.52", "size": "10"}],
        "asks": [{"price": "0.55", "size": "10"}, {"price": "0.54", "size": "10"}],
        "min_order_size": "5", "tick_size": "0.01", "neg_risk": False, "last_trade_price": "0.53",
    }  # fmt: skip
    assert book_hash(book) == "44d2b579af67a83e4ffd0a0a780fb5f4e241e979"
    shuffled = json.loads(json.dumps(book, sort_keys=True))
    assert book_hash(shuffled) == book_hash(book)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("POLY_ADDRESS", "0x1563915e194D8CfBA1943570603F7606A3115508"), ("POLY_TIMESTAMP", "1700000000"),
        ("POLY_NONCE", "1"), ("POLY_NONCE", "x"), ("POLY_SIGNATURE", "0x" + "00" * 65),
        ("POLY_SIGNATURE", "0xzz"), ("POLY_ADDRESS", ""),
    ],
)  # fmt: skip
def test_a_wrong_level_1_header_gets_no_key(header, value):
    async def test():
        async with still() as server, Probe(server) as probe:
            headers = probe.level_1() | {header: value}
            status, body = await probe.call("GET", "/auth/derive-api-key", headers=headers)
            assert (status, body) == (401, {"error": "Invalid L1 Request headers"})

    run(test())


def test_a_key_is_made_once_and_derived_ever_after():
    async def test():
        async with still() as server, Probe(server) as probe:
            assert (await probe.call("POST", "/auth/api-key", headers=probe.level_1()))[0] == 400
            status, body = await probe.call("GET", "/auth/derive-api-key", headers=probe.level_1())
            assert (status, body) == (200, probe.key.json())
            probe.nonce = 5
            status, body = await probe.call("GET", "/auth/derive-api-key", headers=probe.level_1())
            assert (status, body) == (400, {"error": "Could not derive api key!"})

    run(test())


@pytest.mark.parametrize(
    "header", ["POLY_ADDRESS", "POLY_API_KEY", "POLY_PASSPHRASE", "POLY_TIMESTAMP", "POLY_SIGNATURE"]
)
def test_every_level_2_header_counts(header):
    async def test():
        async with still() as server, Probe(server) as probe:
            right = probe.level_2("GET", "/data/orders", "")
            assert (await probe.call("GET", "/data/orders", headers=right, market="0x0"))[0] == 200
            for value in ("", "1", OTHER):
                assert (await probe.call("GET", "/data/orders", headers=right | {header: value}))[0] == 401
            without = {k: v for k, v in right.items() if k != header}
            assert (await probe.call("GET", "/data/orders", headers=without))[0] == 401
            assert (await probe.call("GET", "/data/trades", headers=right))[0] == 401

    run(test())


def test_the_body_is_signed():
    async def test():
        async with still() as server, Probe(server) as probe:
            headers = probe.level_2("DELETE", "/order", '{"orderID":"0x1"}')
            assert (await probe.call("DELETE", "/order", {"orderID": "0x1"}, headers=headers))[0] == 200
            assert (await probe.call("DELETE", "/order", {"orderID": "0x2"}, headers=headers))[0] == 401

    run(test())


BAD_ORDERS = {
    "of another salt": ({"salt": 2**53 + 1}, "Invalid order payload"),
    "salt as text": ({"salt": "1", "signature": "0x00"}, "Invalid order payload"),
    "amount as number": ({"makerAmount": 4_900_000}, "Invalid order payload"),
    "side": ({"side": "HOLD", "signature": "0x00"}, "Invalid order payload"),
    "signed by nobody": ({"signature": "0x" + "00" * 65}, "invalid signature"),
    "unknown token": ({"tokenId": TOKEN}, "the orderbook does not exist"),
    "not ours": ({"maker": "0x1563915e194D8CfBA1943570603F7606A3115508"}, "the order signer address"),
    "another owner": ({"owner": "0" * 36}, "owner has to be the owner of the API KEY"),
    "off the grid": ({"price": 0.495}, "breaks minimum tick size rule: 0.01"),
    "beyond the grid": ({"price": 1.0}, "breaks minimum tick size rule"),
    "too small": ({"size": 4.99}, "lower than the minimum: 5"),
    "too fine": ({"size": 10.001}, "max accuracy of 2 decimals"),
    "too dear": ({"size": 30_000}, "not enough balance / allowance"),
    "tokens that are not there": ({"side": "SELL"}, "not enough balance / allowance"),
    "crossing": ({"price": 0.52, "post_only": True}, "order crosses book"),
    "post-only FAK": ({"kind": "FAK", "post_only": True}, "only GTC and GTD"),
    "kind": ({"orderType": "IOC"}, "Invalid order payload"),
    "GTC that ends": ({"expiration": 2_000_000_000}, "invalid expiration"),
    "nothing to take": ({"kind": "FAK", "spend": 5.0}, "no orders found to match with FAK order"),
    "not all to take": ({"kind": "FOK", "spend": 60.0, "price": 0.52}, "FOK orders are fully filled"),
    "a marketable crumb": ({"kind": "FAK", "spend": 0.5, "price": 0.52}, "min size: $1"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_ORDERS))
def test_an_order_is_refused_for_its_reason(name):
    changes, text = BAD_ORDERS[name]

    async def test():
        async with still() as server, Probe(server) as probe:
            body = probe.body(**changes)
            status, answer = await probe.call("POST", "/order", body)
            assert status == 400 and text in answer["error"], answer
            status, [leg] = await probe.call("POST", "/orders", [body])
            assert status == 200 and text in leg["errorMsg"]
            assert (leg["success"], leg["orderID"]) == (True, "")
            truth = agrees(server)
            assert truth["orders"] == [] and await probe.cash() == 10_000_000_000

    run(test())


def test_an_order_for_the_other_exchange_is_refused():
    async def test():
        async with still() as server, Probe(server) as probe:
            for market, wrong in ((0, "neg_risk"), (2, "standard"), (4, "standard")):
                body = probe.body(market=market)
                body["order"]["signature"] = probe.sign(body["order"], wrong)
                status, answer = await probe.call("POST", "/order", body)
                assert (status, answer["error"]) == (400, "invalid signature")
                assert (await probe.placed(market=market))["status"] == "live"

    run(test())


def test_the_id_is_the_digest_and_nothing_comes_twice():
    async def test():
        async with still() as server, Probe(server) as probe:
            body = probe.body()
            digest = digest_of(exchange_domain("standard"), order_struct(body["order"]))
            status, answer = await probe.call("POST", "/order", body)
            assert (status, answer["orderID"]) == (200, "0x" + digest.hex())
            status, answer = await probe.call("POST", "/order", body)
            assert status == 400 and "Duplicated." in answer["error"]
            await probe.cancel("0x" + digest.hex())
            assert (await probe.call("POST", "/order", body))[0] == 400

    run(test())


def test_a_deposit_wallet_signs_for_itself():
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = server.open_account(probe.owner, wallet="0x" + "77" * 20, kind=3).wallet
            given = {"wallet": wallet, "signature_type": 3}
            body = probe.body(**given)
            blob = bytes.fromhex(body["order"]["signature"][2:])
            assert len(blob) == 317 and blob[129:-2] == ORDER_TYPE.encode()
            assert (await probe.call("POST", "/order", body))[0] == 200
            for at in (0, 70, 100, 200, 316):  # each part of the blob
                body = probe.body(**given)
                right = body["order"]["signature"]
                spoiled = bytearray(bytes.fromhex(right[2:]))
                spoiled[at] ^= 1
                body["order"]["signature"] = "0x" + spoiled.hex()
                status, answer = await probe.call("POST", "/order", body)
                assert (status, answer["error"]) == (400, "invalid signature"), at
                body["order"]["signature"] = right
                assert (await probe.call("POST", "/order", body))[0] == 200
            server.do("account_flags", wallet=wallet, deployed=False)
            status, answer = await probe.place(**given)
            assert status == 400 and "address of the API KEY" in answer["error"]

    run(test())


@pytest.mark.parametrize(
    ("flag", "text"),
    [("banned", "address banned"), ("closed_only", "closed only"), ("allowed", "deposit wallet flow")],
)
def test_accounts_that_may_not_trade(flag, text):
    async def test():
        async with still() as server, Probe(server) as probe:
            server.do("account_flags", **{flag: flag != "allowed"})
            status, answer = await probe.place()
            assert status == 400 and text in answer["error"]
            closed = await probe.get("/auth/ban-status/closed-only")
            assert closed == {"closed_only": flag == "closed_only"}

    run(test())


def test_without_approvals_nothing_is_bought_or_sold():
    async def test():
        async with still() as server, Probe(server) as probe:
            server.do("split", market="plain-0", shares="50")
            server.do("approve", approved=False)
            for side in ("BUY", "SELL"):
                status, answer = await probe.place(side=side, price=0.5)
                assert (status, answer["error"]) == (400, "not enough balance / allowance")
            allowances = (await probe.get("/balance-allowance", asset_type="COLLATERAL"))["allowances"]
            assert set(allowances.values()) == {"0"}
            server.do("approve")
            assert (await probe.place(side="SELL", price=0.5))[0] == 200

    run(test())


def test_a_gtd_order_ends_a_minute_early():
    async def test():
        async with still() as server, Probe(server) as probe:
            now_s = server.now_ns() // SECOND
            status, answer = await probe.place(kind="GTD", expiration=now_s + 170)
            assert (status, answer["error"]) == (400, "invalid expiration")
            order = await probe.placed(kind="GTD", expiration=now_s + 200)
            server.pass_time(139)
            assert (await probe.order(order["orderID"]))["status"] == "LIVE"
            server.pass_time(2)
            assert (await probe.order(order["orderID"]))["status"] == "CANCELED_EXPIRED_ORDER"
            assert agrees(server)["open_orders"] == []

    run(test())


def test_cancels_in_all_their_forms():
    async def test():
        async with still() as server, Probe(server) as probe, Probe(server, nonce=1) as second:
            ids = [(await probe.placed(market=m, token=t))["orderID"] for m in (0, 1) for t in (YES, NO)]
            theirs = (await second.placed())["orderID"]
            market, asset = server.venue.markets[0].spec.condition, server.venue.markets[0].tokens[NO]
            body = {"market": market, "asset_id": asset}
            status, answer = await probe.call("DELETE", "/cancel-market-orders", body)
            assert (status, answer) == (200, {"canceled": [ids[1]], "not_canceled": {}})
            status, answer = await probe.call("DELETE", "/orders", [ids[0], ids[1], "0xno"])
            assert answer["canceled"] == [ids[0]]
            assert answer["not_canceled"][ids[1]] == "already canceled or matched"
            assert "can't be found" in answer["not_canceled"]["0xno"]
            status, answer = await probe.call("DELETE", "/cancel-all")
            assert (status, answer["canceled"]) == (200, ids[2:])  # of this API key only
            assert (await probe.cancel(theirs))["canceled"] == [theirs]  # the owner is the same
            assert (await probe.call("DELETE", "/orders", ["0x"] * 1_001))[0] == 400
            assert (await probe.call("DELETE", "/cancel-market-orders", {}))[0] == 400
            agrees(server)

    run(test())


def test_fifteen_orders_are_the_most_of_a_batch():
    async def test():
        async with still() as server, Probe(server) as probe:
            status, answer = await probe.call("POST", "/orders", [probe.body()] * 16)
            assert status == 400 and "Too many orders in payload" in answer["error"]
            status, answer = await probe.call("POST", "/orders", [probe.body() for _ in range(15)])
            assert status == 200 and len({leg["orderID"] for leg in answer}) == 15

    run(test())


def test_reads_filter_and_turn_pages():
    async def test():
        async with still() as server, Probe(server) as probe, Probe(server, OTHER) as stranger:
            for k in range(104):
                await probe.placed(market=k % 2, price=0.4)
            first = await probe.get("/data/orders")
            assert (first["limit"], first["count"], len(first["data"])) == (100, 100, 100)
            rest = await probe.get("/data/orders", next_cursor=first["next_cursor"])
            assert (rest["next_cursor"], len(rest["data"])) == ("LTE=", 4)
            market = server.venue.markets[1]
            mine = await probe.get("/data/orders", market=market.spec.condition, asset_id=market.tokens[0])
            assert len(mine["data"]) == 52
            one = await probe.get("/data/orders", id=rest["data"][0]["id"])
            assert one["data"] == rest["data"][:1]
            assert (await stranger.get("/data/orders"))["data"] == []
            assert (await stranger.call("GET", f"/data/order/{rest['data'][0]['id']}"))[0] == 404
            gone = await stranger.cancel(rest["data"][0]["id"])
            assert gone["canceled"] == []

    run(test())


def test_trades_are_read_by_time_and_by_party():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(price=0.52)
            server.pass_time(100)
            await probe.placed(price=0.52)
            newest, oldest = (await probe.get("/data/trades"))["data"]
            assert int(newest["match_time"]) - int(oldest["match_time"]) == 100
            after = await probe.get("/data/trades", after=str(int(oldest["match_time"]) + 1))
            assert [trade["id"] for trade in after["data"]] == [newest["id"]]
            before = await probe.get("/data/trades", before=oldest["match_time"])
            assert [trade["id"] for trade in before["data"]] == [oldest["id"]]
            assert len((await probe.get("/data/trades", maker_address=probe.owner))["data"]) == 2
            assert (await probe.get("/data/trades", maker_address="0x" + "99" * 20))["data"] == []
            assert (await probe.call("GET", "/data/trades", after="soon"))[0] == 400

    run(test())


def test_each_signer_has_its_buckets():
    async def test():
        async with still(tier="standard") as server, Probe(server) as probe, Probe(server, OTHER) as other:
            ids = [(await probe.placed(price=0.3))["orderID"] for _ in range(45)]
            assert probe.headers["Poly-RateLimit-Remaining"] == "15"
            assert probe.headers["Poly-RateLimit-Tier"] == "standard"
            status, _ = await probe.call("POST", "/orders", [probe.body() for _ in range(15)])
            assert status == 200
            assert (await probe.place())[0] == 429
            assert "Poly-RateLimit-Reset" in probe.headers and probe.headers["Retry-After"]
            assert (await other.place())[0] == 200
            assert (await probe.call("DELETE", "/cancel-all"))[0] == 200  # 60 cancelled cost 61
            assert probe.headers["Poly-RateLimit-Remaining"] == "59"
            assert (await probe.call("DELETE", "/orders", ids[:45] * 2))[0] == 429
            server.pass_time(1)
            assert (await probe.place())[0] == 200
            tier = await probe.get("/v1/user/rate-limit-tier")
            assert (tier["tier"], tier["orders_per_second"]) == ("standard", 40)

    run(test())


def test_a_batch_fits_into_its_bucket_or_not_at_all():
    async def test():
        async with still(tier="standard") as server, Probe(server) as probe:
            for _ in range(50):
                await probe.placed(price=0.3)
            assert (await probe.call("POST", "/orders", [probe.body() for _ in range(11)]))[0] == 429
            assert len(agrees(server)["open_orders"]) == 50
            assert (await probe.call("POST", "/orders", [probe.body() for _ in range(10)]))[0] == 200

    run(test())


def test_public_reads_and_their_errors():
    async def test():
        async with still() as server, Probe(server) as probe:
            yes, no = server.venue.markets[0].tokens
            condition = server.venue.markets[0].spec.condition
            plain = {"headers": {}}
            assert await probe.call("GET", "/ok", **plain) == (200, "OK")
            assert await probe.call("GET", "/version", **plain) == (200, {"version": 2})
            _, prices = await probe.call("POST", "/prices", [{"token_id": yes, "side": "BUY"}], **plain)
            assert prices == {yes: {"BUY": "0.48"}}
            _, mids = await probe.call("POST", "/midpoints", [{"token_id": yes}, {"token_id": "1"}], **plain)
            assert mids == {yes: "0.5"}
            _, market = await probe.call("GET", f"/clob-markets/{condition}", **plain)
            assert (market["mts"], market["mos"], market["nr"]) == (0.01, 5, False)
            assert [token["t"] for token in market["t"]] == [yes, no]
            _, long = await probe.call("GET", f"/markets/{condition}", **plain)
            assert long["tokens"][0]["winner"] is False and long["accepting_orders"] is True
            assert (await probe.call("GET", "/book", token_id="1", **plain))[0] == 404
            assert (await probe.call("GET", "/clob-markets/0x00", **plain))[0] == 404
            assert (await probe.call("GET", "/nowhere", **plain))[0] == 404
            assert (await probe.call("POST", "/books", [{}] * 501, **plain))[0] == 400
            v2 = server.venue.markets[4].spec.condition
            assert (await probe.call("GET", f"/clob-markets/{v2}", **plain))[0] == 200
            assert (await probe.call("GET", f"/clob-markets/{v2[:64]}", **plain))[0] == 404
            blocked = (await probe.call("GET", "/api/geoblock", **plain))[1]["blocked"]
            server.faults.change({"geoblocked": 1})
            assert (blocked, (await probe.call("GET", "/api/geoblock", **plain))[1]["blocked"]) == (
                False, True,
            )  # fmt: skip
            assert (await probe.call("POST", "/order", {}, **plain))[0] == 403
            server.faults.change({"geoblocked": 0})
            assert (await probe.call("POST", "/order", {}, **plain))[0] == 401

    run(test())


def test_gamma_lists_markets_before_their_book_is_there():
    async def test():
        catalog = small_catalog(3)
        late = replace(catalog.markets[2], ready_in_s=60)
        catalog = replace(catalog, markets=(*catalog.markets[:2], late))
        async with still(catalog) as server, Probe(server) as probe:
            first = await probe.get("/gamma/markets/keyset", limit=2)
            rest = await probe.get("/gamma/markets/keyset", limit=2, after_cursor=first["next_cursor"])
            assert [m["slug"] for m in rest["markets"]] == ["field-2"] and "next_cursor" not in rest
            token = json.loads(rest["markets"][0]["clobTokenIds"])[0]
            assert (await probe.call("GET", "/book", token_id=token))[0] == 404
            status, answer = await probe.place(market=2)
            assert status == 400 and "not yet ready" in answer["error"]
            wire = await probe.market_stream(token, custom_feature_enabled=True)
            server.pass_time(61)
            assert (await wire.frames("new_market"))[0]["assets_ids"][0] == token
            assert (await probe.place(market=2))[0] == 200
            server.do("resolve", market="field-2", result="void")
            assert (await probe.get("/gamma/markets/keyset"))["markets"][-1]["slug"] == "plain-1"
            closed = await probe.get("/gamma/markets/keyset", closed="true")
            assert json.loads(closed["markets"][0]["outcomePrices"]) == ["0.5", "0.5"]
            status, answer = await probe.place(market=2)
            assert status == 400 and "closed" in answer["error"]
            assert (await probe.call("GET", "/gamma/markets/keyset", limit=500))[0] == 422
            event = (await probe.get("/gamma/events", slug="field", closed="true"))[0]
            assert event["negRisk"] and [m["slug"] for m in event["markets"]] == ["field-2"]

    run(test())
