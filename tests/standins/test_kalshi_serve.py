"""The stand-in as a process of its own, over tapes, and against requests that mean nothing."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.store.tape import write_tape
from standins.kalshi import KalshiStandIn, sign, tape_catalog
from standins.kalshi.auth import ApiKey
from standins.kalshi.probe import Probe, run

TESTS = Path(__file__).resolve().parents[1]
T0 = "KXA-0-T0"
ORDERS = "/portfolio/events/orders"


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """A generated market as a tape on disk."""
    folder = tmp_path_factory.mktemp("tapes")
    events, meta = synthetic_market(3, "short_dated")
    write_tape(folder / "market.parquet", events, meta)
    return folder / "market.parquet"


def test_a_tape_plays_from_now_on(tape):
    async def test():
        catalog = tape_catalog([str(tape)])
        async with KalshiStandIn(catalog, speed=0, tier="prestige") as server, Probe(server) as probe:
            [spec] = catalog.markets
            server.pass_time(120)
            market = (await probe.get(f"/markets/{spec.ticker}"))["market"]
            assert market["status"] == "active" and float(market["volume_fp"]) > 0
            assert market["yes_bid_dollars"] < market["yes_ask_dollars"]
            bid = market["yes_bid_dollars"]
            order = await probe.placed(ticker=spec.ticker, price=bid, count="500", post_only=True)
            server.pass_time(700)
            listed = await probe.listed(order["order_id"])
            assert float(listed["fill_count_fp"]) > 0
            server.pass_time(400)
            assert (await probe.get(f"/markets/{spec.ticker}"))["market"]["status"] == "finalized"
            assert server.do("truth")["unexplained"] == []

    run(test())


def test_the_process_serves_with_its_faults_and_keys(tape, tmp_path):
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"read_lag_ms": [0, 0], "duplicate_private": 1.0}), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
    command = [
        sys.executable, "-m", "standins.kalshi", "--tapes", str(tape), "--speed", "20", "--faults",
        str(faults),
        "--keys", str(tmp_path / "keys"), "--seed", "4",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            pem = Path(said["rsa_pem"])
            assert pem.stat().st_mode & 0o077 == 0
            key = ApiKey(said["rsa_key_id"], pem.read_text(encoding="utf-8"), None)
            asyncio.run(asyncio.wait_for(_talk(said, key), 30))
        finally:
            process.terminate()
            process.wait(10)


async def _talk(said, key):
    """The machine's own time is good enough for signatures, though the venue's runs ahead."""

    def headers(method, path):
        return sign(key, time.time_ns() // 10**6, method, path)

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{said['rest']}/markets") as answer:
            [market] = (await answer.json())["markets"]
        socket = await session.ws_connect(said["ws"], headers=headers("GET", "/trade-api/ws/v2"))
        params = {"channels": ["orderbook_delta", "user_orders"], "market_ticker": market["ticker"]}
        await socket.send_json({"id": 1, "cmd": "subscribe", "params": params})
        body = {
            "ticker": market["ticker"], "side": "bid", "count": "1.00", "price": "0.0100",
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker",
        }  # fmt: skip
        await asyncio.sleep(0.5)
        path = "/trade-api/v2/portfolio/events/orders"
        async with session.post(
            f"{said['rest']}{ORDERS}", json=body, headers=headers("POST", path)
        ) as answer:
            assert answer.status == 201
        kinds = []
        while kinds.count("user_order") < 2:  # each private frame comes twice
            frame = json.loads((await socket.receive(timeout=10)).data)
            kinds.append(frame["type"])
        assert "orderbook_delta" in kinds
        async with session.get(f"{said['admin']}/truth") as answer:
            truth = await answer.json()
        assert truth["unexplained"] == [] and truth["fired"]["duplicate_private"] >= 1
        await socket.close()


VALUES = (
    None, True, -1, 0, 7, 10**20, 0.5, "", "x", "\u00b2", "0.49", "10.00", "bid", T0, "maker", [], [1], [{}],
    {}, "trade", "orderbook_delta",
)  # fmt: skip
FIELDS = (
    "ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type", "client_order_id",
    "expiration_time", "post_only", "reduce_only", "cancel_order_on_pause", "subaccount", "order_group_id",
    "exchange_index", "reduce_by", "reduce_to", "market_ticker", "updated_client_order_id", "orders",
    "contracts_limit", "contracts_limit_fp", "amount", "client_transfer_id", "order_id",
    "source_exchange_shard",
)  # fmt: skip
PARAMS = ("channels", "market_ticker", "market_tickers", "sid", "sids", "action", "use_yes_price")
ROUNDS = 60


def test_no_request_breaks_the_venue():
    """Seeded nonsense in every field of every request and command: refused, and nothing else happens."""
    chance = random.Random(8)

    def some(names):
        return {name: chance.choice(VALUES) for name in chance.sample(names, chance.randrange(1, 5))}

    async def test():
        async with KalshiStandIn(speed=0, tier="prestige") as server, Probe(server) as probe:
            wire, answered, frames = await probe.connect(), 0, []
            for _ in range(ROUNDS):
                server.pass_time(10)
                order, body = (await probe.placed(price="0.4000", count="0.01"))["order_id"], some(FIELDS)
                for method, path, sent in (
                    ("POST", ORDERS, probe.order(**body)),
                    ("POST", f"{ORDERS}/{order}/amend", probe.order(**body)),
                    ("POST", f"{ORDERS}/{order}/decrease", body),
                    ("POST", f"{ORDERS}/batched", {"orders": [probe.order(**body), body]}),
                    ("DELETE", f"{ORDERS}/batched", {"orders": [body, {"order_id": order, **body}]}),
                    ("POST", "/portfolio/order_groups/create", body),
                    ("POST", "/portfolio/intra_exchange_instance_transfer", body),
                    ("DELETE", ORDERS, body),
                ):
                    status, _ = await probe.call(method, path, sent)
                    assert status < 500, (path, sent)
                    answered += 1
                for command in ("subscribe", "unsubscribe", "update_subscription", chance.choice(VALUES)):
                    await wire.socket.send_json(
                        {"id": chance.choice(VALUES), "cmd": command, "params": some(PARAMS)}
                    )
                assert server.venue.unexplained() == []
            frames = await wire.frames()
            assert answered == 8 * ROUNDS and {"type": "end"} not in frames
            assert sum(frame["type"] == "error" for frame in frames) > 3 * ROUNDS

    run(test())
