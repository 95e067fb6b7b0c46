"""Heartbeats, rewards, rebates, the relayer, neg-risk conversion, and the node of the Polymarket stand-in."""

import pytest

from standins.polymarket import small_catalog
from standins.polymarket.chain import Call
from standins.polymarket.crypto import ADDRESSES, address_word, batch_digest, selector, sign_digest, word
from standins.polymarket.probe import Probe, agrees, run, still
from standins.polymarket.rewards import score, two_sided
from standins.polymarket.values import MICRO, NO, PUSD, SECOND, YES, day_of

WALLET = "0x" + "77" * 20


# --- heartbeats -----------------------------------------------------------------------------------


def test_without_heartbeats_all_orders_of_the_key_end():
    async def test():
        async with still() as server, Probe(server) as probe, Probe(server, nonce=1) as quiet:
            await quiet.placed()
            order = await probe.placed()
            status, first = await probe.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
            assert status == 200
            status, wrong = await probe.call("POST", "/v1/heartbeats", {"heartbeat_id": "no"})
            assert (status, wrong) == (400, {"error_msg": "Invalid Heartbeat ID", **first})
            for _ in range(4):
                server.pass_time(5)
                status, first = await probe.call("POST", "/v1/heartbeats", first)
                assert status == 200
            assert (await probe.order(order["orderID"]))["status"] == "LIVE"
            server.pass_time(9)
            assert (await probe.order(order["orderID"]))["status"] == "LIVE"
            server.pass_time(6)
            assert (await probe.order(order["orderID"]))["status"] == "CANCELED"
            assert len(agrees(server)["open_orders"]) == 1  # the quiet key never began
            late = await probe.placed()  # once begun there is no way back
            server.pass_time(6)
            assert (await probe.order(late["orderID"]))["status"] == "CANCELED"

    run(test())


# --- rewards --------------------------------------------------------------------------------------


def test_the_score_of_a_known_example():
    assert score(3.0, 100) == pytest.approx(0.4444, abs=1e-4)
    assert score(3.0, 200) == pytest.approx(0.1111, abs=1e-4)
    assert score(3.0, 300) == score(3.0, 400) == 0.0
    first = 100 * score(3.0, 100) + 200 * score(3.0, 200)
    second = 100 * score(3.0, 100) + 50 * score(3.0, 200)
    assert (first, second) == (pytest.approx(66.67, abs=0.01), pytest.approx(50.0, abs=0.01))
    assert two_sided(first, second, 5_000) == pytest.approx(50.0)
    assert two_sided(first, 0, 5_000) == pytest.approx(22.22, abs=0.01)
    assert two_sided(first, 0, 9_500) == 0


def test_resting_orders_earn_and_are_paid_at_midnight():
    async def test():
        start_ns = (1_795_000_000 // 86_400 * 86_400 + 82_800) * SECOND  # 23:00
        catalog = small_catalog(1, rewards_daily=1_000)
        async with still(catalog, start_ns=start_ns) as server, Probe(server) as probe:
            small = await probe.placed(price=0.49, size=40)
            bid = await probe.placed(price=0.49, size=100)
            assert (await probe.get("/order-scoring", order_id=bid["orderID"])) == {"scoring": True}
            assert (await probe.get("/order-scoring", order_id=small["orderID"])) == {"scoring": False}
            one_sided = (await probe.get("/rewards/user/percentages"))[server.venue.markets[0].spec.condition]
            await probe.placed(token=NO, price=0.49, size=100)
            percent = (await probe.get("/rewards/user/percentages"))[server.venue.markets[0].spec.condition]
            # mid 50.5: ours 44.4 on one side, a third of it counts; others 24.7 and 69.1, the smaller counts
            assert one_sided == pytest.approx(100 * 14.81 / (14.81 + 24.69), abs=0.1)
            # mid 50: ours 60.5 on both sides, others 43.2
            assert percent == pytest.approx(100 * 60.49 / (60.49 + 43.21), abs=0.1)
            server.pass_time(3_500)
            day = day_of(start_ns)
            [row] = (await probe.get("/rewards/user", date=day))["data"]
            # 58 samples of a day's 1,440 and the share that the percentages say
            assert row["earnings"] == pytest.approx(58 * 1_000 / 1_440 * percent / 100, rel=1e-3)
            [total] = await probe.get("/rewards/user/total", date=day)
            assert total["earnings"] == pytest.approx(row["earnings"], abs=1e-5)
            before = await probe.cash()
            server.pass_time(200)
            [paid] = agrees(server)["paid"]
            assert paid["kind"] == "reward"
            assert await probe.cash() - before == round(float(paid["amount"]) * MICRO) > 10 * MICRO

    run(test())


def test_makers_get_their_part_of_the_fees():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(market=2, price=0.49, size=400)
            server.do("take", market="field-2", taker="ask", price="0.49", shares="400")
            server.do("take", market="field-2", taker="ask", price="0.48", shares="100")
            today = day_of(server.now_ns())
            [row] = await probe.get("/rebates/current", date=today, maker_address=probe.owner)
            # sports: 5 % of p (1 - p) a share, of which 15 % goes back; all of it for our own fills
            assert float(row["rebated_fees_usdc"]) == pytest.approx(0.15 * 0.05 * 400 * 0.49 * 0.51, abs=1e-4)
            assert await probe.get("/rebates/current", date="2020-01-01", maker_address=probe.owner) == []

    run(test())


# --- the relayer ----------------------------------------------------------------------------------


class Wallet:
    """A deposit wallet's owner at the relayer."""

    def __init__(self, server, probe):
        self.server, self.probe = server, probe
        self.account = server.open_account(probe.owner, wallet=WALLET, kind=3)
        self.headers = {
            "RELAYER_API_KEY": server.relayer_key(), "RELAYER_API_KEY_ADDRESS": probe.owner,
        }  # fmt: skip

    async def get(self, path, **query):
        return await self.probe.call("GET", f"/relayer{path}", headers=self.headers, **query)

    def body(self, *calls, nonce=None, key="", late_s=600, **changes):
        nonce = self.account.nonce if nonce is None else nonce
        deadline = self.server.now_ns() // SECOND + late_s
        digest = batch_digest(self.account.wallet, nonce, deadline, calls)
        signature = sign_digest(key or self.probe.private_key, digest)
        told = [{"target": c.target, "value": str(c.value), "data": "0x" + c.data.hex()} for c in calls]
        return {
            "type": "WALLET", "from": self.probe.owner, "to": ADDRESSES["wallet_factory"],
            "nonce": str(nonce), "signature": "0x" + signature.hex(), "metadata": "",
            "depositWalletParams": {
                "depositWallet": self.account.wallet, "deadline": str(deadline), "calls": told,
            },
            **changes,
        }  # fmt: skip

    async def submit(self, *calls, **given):
        body = self.body(*calls, **given)
        return await self.probe.call("POST", "/relayer/submit", body, headers=self.headers)

    async def carried_out(self, *calls):
        status, answer = await self.submit(*calls)
        assert (status, answer["state"]) == (200, "STATE_NEW"), answer
        self.server.pass_time(10)
        _, tx = await self.get(f"/v1/account/transactions/{answer['transactionID']}")
        return tx


def pair(name, market, amount, adapter="adapter"):
    """splitPosition or mergePositions of a market."""
    head = selector(f"{name}(address,bytes32,bytes32,uint256[],uint256)") + address_word(
        ADDRESSES["collateral"]
    )
    rest = word(0) + bytes.fromhex(market.spec.condition[2:]) + word(160) + word(amount)
    return Call(ADDRESSES[adapter], 0, head + rest + word(2) + word(1) + word(2))


def test_pairs_are_split_and_merged_once_they_are_mined():
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            market = server.venue.markets[0]
            held = server.venue.ledger.balances[wallet.account.wallet]
            tx = await wallet.carried_out(pair("splitPosition", market, 30 * MICRO))
            assert tx["state"] == "STATE_CONFIRMED" and tx["transaction_hash"]
            assert (held[PUSD], held[market.tokens[YES]]) == (9_970 * MICRO, 30 * MICRO)
            _, answer = await wallet.submit(pair("mergePositions", market, 10 * MICRO))
            assert held[PUSD] == 9_970 * MICRO  # not before it is mined
            _, tx = await wallet.get(f"/v1/account/transactions/{answer['transactionID']}")
            assert (tx["state"], tx["transaction_hash"]) == ("STATE_NEW", "")
            server.pass_time(10)
            assert (held[PUSD], held[market.tokens[NO]]) == (9_980 * MICRO, 20 * MICRO)
            tx = await wallet.carried_out(pair("mergePositions", market, 21 * MICRO))
            assert tx["state"] == "STATE_FAILED" and "overflow" in tx["error_msg"]
            agrees(server)

    run(test())


def test_one_action_at_a_time():
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            call = pair("splitPosition", server.venue.markets[0], MICRO)
            assert (await wallet.submit(call))[0] == 200
            status, answer = await wallet.submit(call)
            assert status == 400 and "wallet busy" in answer["error"] and "active action" in answer["error"]
            server.pass_time(10)
            status, answer = await wallet.submit(call, nonce=0)
            assert (status, answer["error"]) == (400, "batch nonce 0 does not match on-chain nonce 1")
            server.faults.change({"relayer_busy": 1.0})
            assert (await wallet.submit(call))[0] == 400
            server.faults.change({"relayer_busy": 0, "relayer_failed": 1.0})
            tx = await wallet.carried_out(call)
            assert tx["state"] == "STATE_FAILED"
            server.faults.change({"relayer_failed": 0})
            assert (await wallet.carried_out(call))["state"] == "STATE_CONFIRMED"
            _, params = await wallet.get(
                "/v1/account/transactions/params", address=probe.owner, type="WALLET"
            )
            assert params == {"address": probe.owner, "nonce": "2"}
            for _ in range(30):
                status, _ = await wallet.submit(call, nonce=0)
            assert status == 429

    run(test())


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "0x" + "22" * 32}, {"late_s": -1}, {"signature": "0x" + "00" * 65}, {"type": "SAFE"},
        {"to": ADDRESSES["router"]}, {"from": WALLET}, {"depositWalletParams": {}}, {"nonce": 5},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_a_batch_that_does_not_hold_is_refused(changes):
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            status, _ = await wallet.submit(pair("splitPosition", server.venue.markets[0], MICRO), **changes)
            assert status == 400 and server.relayer.transactions == {}
            wallet.headers["RELAYER_API_KEY"] = "wrong"
            assert (await wallet.submit(pair("splitPosition", server.venue.markets[0], MICRO)))[0] == 401

    run(test())


def test_merging_what_backs_a_sell_ends_the_sell():
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            market = server.venue.markets[0]
            await wallet.carried_out(pair("splitPosition", market, 30 * MICRO))
            given = {"wallet": WALLET, "signature_type": 3, "side": "SELL", "price": 0.6}
            orders = [await probe.placed(size=10, **given) for _ in range(3)]
            await wallet.carried_out(pair("mergePositions", market, 15 * MICRO))
            statuses = [(await probe.order(o["orderID"]))["status"] for o in orders]
            assert statuses == ["LIVE", "CANCELED_NOT_ENOUGH_BALANCE", "CANCELED_NOT_ENOUGH_BALANCE"]
            agrees(server)

    run(test())


def test_no_tokens_of_some_outcomes_become_yes_of_the_others():
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            first, second = server.venue.markets[2:4]
            held = server.venue.ledger.balances[wallet.account.wallet]
            await wallet.carried_out(pair("splitPosition", first, 10 * MICRO, "neg_risk_adapter"))
            await wallet.carried_out(pair("splitPosition", second, 10 * MICRO, "neg_risk_adapter"))
            convert = selector("convertPositions(bytes32,uint256,uint256)")
            event = bytes.fromhex(first.event.neg_risk_id[2:])
            call = Call(ADDRESSES["neg_risk_adapter"], 0, convert + event + word(0b01) + word(4 * MICRO))
            cash = held[PUSD]
            assert (await wallet.carried_out(call))["state"] == "STATE_CONFIRMED"
            assert held[PUSD] == cash
            assert (held[first.tokens[NO]], held[second.tokens[YES]]) == (6 * MICRO, 14 * MICRO)
            call = Call(ADDRESSES["neg_risk_adapter"], 0, convert + event + word(0b11) + word(6 * MICRO))
            assert (await wallet.carried_out(call))["state"] == "STATE_CONFIRMED"
            assert held[PUSD] == cash + 6 * MICRO  # two NO: one dollar, and no other outcome is left
            call = Call(ADDRESSES["adapter"], 0, call.data)
            assert (await wallet.carried_out(call))["state"] == "STATE_FAILED"
            agrees(server)

    run(test())


@pytest.mark.parametrize(("result", "paid"), [("yes", 30), ("no", 0), ("void", 15)])
def test_resolved_tokens_are_redeemed(result, paid):
    async def test():
        async with still() as server, Probe(server) as probe:
            wallet = Wallet(server, probe)
            market = server.venue.markets[0]
            given = {"wallet": WALLET, "signature_type": 3}
            await probe.placed(price=0.52, size=30, **given)
            server.pass_time(10)
            redeem = selector("redeemPositions(address,bytes32,bytes32,uint256[])")
            data = redeem + address_word(ADDRESSES["collateral"]) + word(0)
            data += bytes.fromhex(market.spec.condition[2:]) + word(128) + word(2) + word(1) + word(2)
            call = Call(ADDRESSES["adapter"], 0, data)
            assert (await wallet.carried_out(call))["error_msg"].endswith("not received yet")
            server.do("resolve", market="plain-0", result=result)
            before = server.venue.ledger.balances[wallet.account.wallet][PUSD]
            assert (await wallet.carried_out(call))["state"] == "STATE_CONFIRMED"
            assert server.venue.ledger.balances[wallet.account.wallet][PUSD] - before == paid * MICRO
            agrees(server)

    run(test())


def test_the_node_answers_what_a_wallet_asks():
    async def test():
        async with still() as server, Probe(server) as probe:

            async def ask(method, *params):
                body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
                status, answer = await probe.call("POST", "/rpc", body, headers={})
                assert (status, answer["id"]) == (200, 7)
                return answer.get("result") or answer["error"]

            assert await ask("eth_chainId") == hex(137)
            owner = address_word(probe.owner)
            data = "0x" + (selector("balanceOf(address)") + owner).hex()
            cash = await ask("eth_call", {"to": ADDRESSES["collateral"], "data": data}, "latest")
            assert int(cash, 16) == 10_000 * MICRO
            approved = selector("isApprovedForAll(address,address)") + owner + address_word(ADDRESSES["v3"])
            call = {"to": ADDRESSES["conditional"], "data": "0x" + approved.hex()}
            assert int(await ask("eth_call", call, "latest"), 16) == 1
            server.do("approve", approved=False)
            assert int(await ask("eth_call", call, "latest"), 16) == 0
            assert "reverted" in (await ask("eth_call", {"to": WALLET, "data": "0x49493a4d"}))["message"]
            assert "reverted" in (await ask("eth_dance"))["message"]
            assert "reverted" in (await ask("eth_sendRawTransaction", "0xc0"))["message"]
            block = await ask("eth_getBlockByNumber", "latest", False)
            assert abs(int(block["timestamp"], 16) - server.now_ns() // SECOND) <= 1

    run(test())
