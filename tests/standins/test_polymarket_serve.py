"""The Polymarket stand-in as a process of its own, over tapes, and against requests that mean nothing."""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import aiohttp

from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.store.tape import write_tape
from standins.polymarket import tape_catalog
from standins.polymarket.probe import Probe, agrees, run, still

TESTS = Path(__file__).resolve().parents[1]


def test_a_tape_plays_from_now_on(tmp_path):
    events, meta = synthetic_market(3, "short_dated")
    write_tape(tmp_path / "market.parquet", events, meta)

    async def test():
        async with still(tape_catalog([str(tmp_path / "market.parquet")])) as server, Probe(server) as probe:
            server.pass_time(120)
            market = server.venue.markets[0]
            assert market.volume_micros > 0
            order = await probe.placed(price=market.book.best()[0] / 1e4, size=500, post_only=True)
            server.pass_time(700)
            assert float((await probe.order(order["orderID"]))["size_matched"]) > 0
            server.pass_time(400)
            assert market.status == "resolved" and market.winner is not None
            agrees(server)

    run(test())


def test_the_process_serves_with_its_faults_and_key(tmp_path):
    faults, key = tmp_path / "faults.json", tmp_path / "key"
    faults.write_text(json.dumps({"duplicate_user": 1.0, "array_frames": 0}), encoding="utf-8")
    key.write_text("0x" + "33" * 32, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
    command = [
        sys.executable, "-m", "standins.polymarket", "--markets", "2", "--speed", "20", "--faults",
        str(faults), "--key-file", str(key), "--seed", "4", "--cash", "50",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            asyncio.run(asyncio.wait_for(_talk(said), 20))
        finally:
            process.terminate()
            process.wait(10)


async def _talk(said):
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{said['gamma']}/markets/keyset") as answer:
            markets = (await answer.json())["markets"]
        assert [market["slug"] for market in markets] == ["plain-0", "plain-1"]
        token = json.loads(markets[0]["clobTokenIds"])[0]
        async with session.ws_connect(said["ws_market"]) as socket:
            await socket.send_json({"type": "market", "assets_ids": [token]})
            assert json.loads((await socket.receive(timeout=5)).data)[0]["event_type"] == "book"
            action = {"action": "level", "market": "plain-0", "side": "bid", "price": "0.45", "shares": "7"}
            async with session.post(f"{said['admin']}/do", json=action) as answer:
                assert answer.status == 200
            frame = json.loads((await socket.receive(timeout=5)).data)
            assert frame["price_changes"][0]["size"] == "7"
        async with session.post(f"{said['admin']}/do", json={"action": "dance"}) as answer:
            assert answer.status == 400
        async with session.post(f"{said['admin']}/faults", json={"rain": 1}) as answer:
            assert "there is no fault" in (await answer.json())["error"]
        async with session.get(f"{said['admin']}/truth") as answer:
            truth = await answer.json()
        assert truth["unexplained"] == [] and truth["balances"][said["address"]] == {"pusd": "50"}


VALUES = (
    None, True, -1, 0, 3, 7, 10**20, 0.5, "", "x", "\u00b2", "0x", "0x00", "0x" + "11" * 20, "0x" + "11" * 32,
    "0x" + "11" * 65, "0.49", "1000000", "BUY", "GTD", "9" * 78, "9" * 400, [], [1], [{}], {}, {"order": 1},
)  # fmt: skip
ORDER_FIELDS = (
    "salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side", "expiration",
    "signatureType", "timestamp", "metadata", "builder", "signature",
)  # fmt: skip
OUTER_FIELDS = ("order", "owner", "orderType", "postOnly", "deferExec")
OTHER_FIELDS = (
    "orderID", "market", "asset_id", "heartbeat_id", "token_id", "side", "type", "from", "to", "nonce",
    "signature", "depositWalletParams", "jsonrpc", "id", "method", "params", "auth", "markets",
    "assets_ids", "operation", "custom_feature_enabled", "initial_dump",
)  # fmt: skip
ROUNDS = 60


def test_no_request_breaks_the_venue():
    """Seeded nonsense in every field of every request and frame: refused, and nothing else happens."""
    chance = random.Random(8)

    def some(names):
        return {name: chance.choice(VALUES) for name in chance.sample(names, chance.randrange(1, 5))}

    async def test():
        async with still() as server, Probe(server) as probe:
            market, user = await probe.market_stream(), await probe.user_stream()
            answered = 0
            for _ in range(ROUNDS):
                server.pass_time(10)
                body, outer = probe.body(price=0.4, size=5), probe.body(price=0.4, size=5)
                spoiled = {**body, "order": {**body["order"], **some(ORDER_FIELDS)}}
                for method, path, sent in (
                    ("POST", "/order", spoiled), ("POST", "/order", {**outer, **some(OUTER_FIELDS)}),
                    ("POST", "/orders", [spoiled, chance.choice(VALUES)]),
                    ("POST", "/order", some(OTHER_FIELDS)),
                    ("POST", "/orders", chance.choice(VALUES)), ("DELETE", "/order", some(OTHER_FIELDS)),
                    ("DELETE", "/orders", [chance.choice(VALUES)]), ("DELETE", "/orders", some(OTHER_FIELDS)),
                    ("DELETE", "/cancel-market-orders", some(OTHER_FIELDS)),
                    ("POST", "/v1/heartbeats", some(OTHER_FIELDS)), ("POST", "/books", [some(OTHER_FIELDS)]),
                    ("POST", "/prices", [some(OTHER_FIELDS)]), ("POST", "/orders-scoring", [1, None]),
                    ("POST", "/rpc", some(OTHER_FIELDS)), ("POST", "/relayer/submit", some(OTHER_FIELDS)),
                ):  # fmt: skip
                    status, _ = await probe.call(method, path, sent)
                    assert status < 500, (method, path, sent)
                    answered += 1
                for path in ("/data/orders", "/data/trades", "/balance-allowance", "/gamma/markets/keyset"):
                    names = ("next_cursor", "after", "asset_type", "token_id", "signature_type", "limit")
                    query = {n: str(chance.choice(VALUES)) for n in chance.sample(names, 3)}
                    assert (await probe.call("GET", path, **query))[0] < 500, (path, query)
                for wire in (market, user):
                    await wire.socket.send_json(some(OTHER_FIELDS))
                assert server.venue.unexplained() == []
            assert answered == 15 * ROUNDS and len(server.streams) == 2
            assert server.venue.by_condition and agrees(server)

    run(test())
