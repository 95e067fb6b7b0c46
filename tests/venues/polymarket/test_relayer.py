"""Operations on the chain: bytes as the official client's, each happens once, its end is proven."""

from __future__ import annotations

import asyncio

import pytest

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.venues.polymarket import relayer
from pr3dict.venues.polymarket.contracts import Batch, Call, OperationRequest, Transaction, calls_of
from pr3dict.venues.polymarket.inventory import (
    OperationBusyError,
    OperationUnknownError,
    Progress,
    Stage,
)
from pr3dict.venues.polymarket.relayer import NodePort, RelayerKey, RelayerPort, operation_port
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn
from standins.polymarket.crypto import checksum

PAIR = 1_000_000
WALLET = checksum("0x" + "5a" * 20)
QUICK = {"relayer_s": [0.05, 0.1]}
KINDS = {"plain": 0, "neg-risk": 2, "second protocol": 4}  # places of markets in the stand-in's catalogue


class VenueClock:
    """The stand-in's time, moved on by hand where a test says so."""

    def __init__(self, server: PolymarketStandIn) -> None:
        self._server = server
        self.later_ns = 0

    def now_ns(self) -> int:
        return self._server.now_ns() + self.later_ns

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9)


class Bench:
    """A port at the stand-in, and what the wallet holds there."""

    def __init__(self, server: PolymarketStandIn, kind: WalletKind) -> None:
        self.server = server
        self.clock = VenueClock(server)
        wallet = WALLET if kind is WalletKind.DEPOSIT else ""
        if wallet:
            server.open_account(server.address, wallet=WALLET, kind=3)
        self.signer = WalletKey(PRIVATE_KEY, kind, wallet)
        self.port = operation_port(
            relayer=server.relayer_url,
            rpc=server.rpc_url,
            signer=self.signer,
            key=RelayerKey(server.address, server.relayer_key()),
            clock=self.clock,
        )

    def request(self, operation: str, size: int, market: int = 0, no_size: int | None = None):
        spec = self.server.venue.markets[market]
        no_size = size if no_size is None else no_size
        return OperationRequest(operation, spec.spec.condition, *spec.tokens, spec.neg_risk, size, no_size)

    def held(self, market: int = 0) -> tuple[int, int]:
        balances = self.server.venue.ledger.balances[self.signer.maker]
        return tuple(balances[token] for token in self.server.venue.markets[market].tokens)

    @property
    def cash(self) -> int:
        return self.server.venue.ledger.balances[self.signer.maker]["pusd"]

    async def end(self, request, name: str, venue_id: str) -> Progress:
        for _ in range(400):
            progress = await self.port.stage(request, name, venue_id)
            if progress.stage is not Stage.PENDING:
                return progress
            await asyncio.sleep(0.01)
        raise AssertionError(f"{name} never ends")

    async def done(self, request) -> Progress:
        name = await self.port.prepare(request)
        return await self.end(request, name, await self.port.submit(request, name))


@pytest.fixture
def run():
    def go(body, kind=WalletKind.DEPOSIT, **faults):
        async def all_of_it():
            async with PolymarketStandIn(faults={**QUICK, **faults}) as server:
                bench = Bench(server, kind)
                try:
                    await asyncio.wait_for(body(bench), 20)
                finally:
                    await bench.port.close()
                assert server.do("truth")["unexplained"] == []

        asyncio.run(all_of_it())

    return go


BOTH = pytest.mark.parametrize("kind", [WalletKind.DEPOSIT, WalletKind.EOA], ids=["deposit", "eoa"])


@BOTH
@pytest.mark.parametrize("place", KINDS.values(), ids=list(KINDS))
def test_pairs_are_split_merged_and_redeemed_in_every_kind_of_market(run, kind, place):
    async def body(b):
        before = b.cash
        assert (await b.done(b.request("split", 25 * PAIR, place))).stage is Stage.CONFIRMED
        assert b.held(place) == (25 * PAIR, 25 * PAIR) and b.cash == before - 25 * PAIR
        assert (await b.done(b.request("merge", 20 * PAIR, place))).stage is Stage.CONFIRMED
        assert b.held(place) == (5 * PAIR, 5 * PAIR) and b.cash == before - 5 * PAIR
        market = b.server.venue.markets[place]
        b.server.do("resolve", market=market.spec.condition, result="yes")
        no_size = 5 * PAIR if kind is WalletKind.DEPOSIT else 0  # an EOA makes one call
        assert (await b.done(b.request("redeem", 5 * PAIR, place, no_size))).stage is Stage.CONFIRMED
        assert b.cash == before

    run(body, kind)


def test_half_a_dollar_each_is_redeemed_of_a_market_that_is_void(run):
    async def body(b):
        before = b.cash
        await b.done(b.request("split", 10 * PAIR))
        await b.done(b.request("merge", 4 * PAIR))
        b.server.do("resolve", market="plain-0", result="void")
        assert (await b.done(b.request("redeem", 6 * PAIR))).stage is Stage.CONFIRMED
        assert b.cash == before and b.held() == (0, 0)

    run(body)


@BOTH
def test_what_is_handed_in_twice_happens_once(run, kind):
    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        request = b.request("merge", 5 * PAIR)
        name = await b.port.prepare(request)
        first = await b.port.submit(request, name)
        with pytest.raises((OperationBusyError, OperationUnknownError)):
            await b.port.submit(request, name)
        assert (await b.end(request, name, first)).stage is Stage.CONFIRMED
        with pytest.raises((OperationBusyError, OperationUnknownError)):
            await b.port.submit(request, name)
        assert b.held() == (15 * PAIR, 15 * PAIR)

    run(body, kind)


@BOTH
def test_a_name_alone_says_what_became_of_an_operation(run, kind, monkeypatch):
    monkeypatch.setattr(relayer, "GONE_LOOKS", 3)

    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        request = b.request("merge", 5 * PAIR)
        happened = await b.port.prepare(request)
        await b.port.submit(request, happened)
        await asyncio.sleep(0.2)
        b.clock.later_ns = 300 * 10**9
        assert (await b.end(None, happened, "")).stage is Stage.CONFIRMED
        b.clock.later_ns = 0
        never = await b.port.prepare(request)
        assert (await b.port.stage(request, never, "")).stage is Stage.PENDING  # it may still come
        await b.done(b.request("merge", 2 * PAIR))  # by another one of the wallet
        b.clock.later_ns = 0 if kind is WalletKind.EOA else 300 * 10**9
        if kind is WalletKind.EOA:
            progress = await b.end(None, never, "")
            assert progress.stage is Stage.FAILED and "took its place" in progress.why

    run(body, kind)


def test_a_batch_that_never_came_there_is_over_after_its_deadline(run):
    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        request = b.request("merge", 5 * PAIR)
        name = await b.port.prepare(request)
        assert (await b.port.stage(request, name, "")).stage is Stage.PENDING
        b.clock.later_ns = (relayer.DEADLINE_S + relayer.MARGIN_S + 2) * 10**9
        progress = await b.port.stage(request, name, "")
        assert progress.stage is Stage.FAILED and "never handed in" in progress.why

    run(body)


def test_a_transaction_that_no_node_knows_is_sent_again_as_it_was(run, monkeypatch):
    monkeypatch.setattr(relayer, "RESEND_NS", 30_000_000)

    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        request = b.request("merge", 5 * PAIR)
        name = await b.port.prepare(request)
        assert (await b.end(request, name, "")).stage is Stage.CONFIRMED
        assert b.held() == (15 * PAIR, 15 * PAIR)

    run(body, WalletKind.EOA)


@BOTH
def test_a_failure_moves_nothing_and_says_why(run, kind):
    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        b.server.faults.change({"relayer_failed": 1.0})
        progress = await b.done(b.request("merge", 5 * PAIR))
        assert progress.stage is Stage.FAILED and "revert" in progress.why
        b.server.faults.change({"relayer_failed": 0})
        assert b.held() == (20 * PAIR, 20 * PAIR)
        assert (await b.done(b.request("merge", 50 * PAIR))).stage is Stage.FAILED  # more than there is
        assert (await b.done(b.request("merge", 20 * PAIR))).stage is Stage.CONFIRMED

    run(body, kind)


def test_a_busy_wallet_takes_nothing_and_the_operation_may_come_later(run):
    async def body(b):
        await b.done(b.request("split", 20 * PAIR))
        request = b.request("merge", 5 * PAIR)
        name = await b.port.prepare(request)
        b.server.faults.change({"relayer_busy": 1.0})
        with pytest.raises(OperationBusyError, match="wallet busy"):
            await b.port.submit(request, name)
        b.server.faults.change({"relayer_busy": 0})
        venue_id = await b.port.submit(request, name)
        assert (await b.end(request, name, venue_id)).stage is Stage.CONFIRMED

    run(body)


@BOTH
def test_a_server_that_is_gone_is_never_taken_for_an_answer(kind):
    async def test():
        async with PolymarketStandIn(faults=QUICK) as server:
            b = Bench(server, kind)
            request = b.request("split", PAIR)
            name = await b.port.prepare(request)
        with pytest.raises((OperationBusyError, OperationUnknownError)):
            await b.port.submit(request, name)
        with pytest.raises(OperationUnknownError):
            await b.port.stage(request, name, "x")
        await b.port.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"{", OperationUnknownError),
        (200, b"[]", OperationUnknownError),
        (302, b"{}", OperationUnknownError),
        (400, b'{"error": "wallet busy"}', OperationBusyError),
        (408, b'{"error": "timeout"}', OperationUnknownError),
        (409, b'{"error": "conflict"}', OperationUnknownError),
        (429, b"", OperationBusyError),
        (500, b'{"error": "internal"}', OperationUnknownError),
        (502, b"<html>", OperationUnknownError),
    ],
)
def test_an_answer_proves_only_what_it_proves(status, body, error):
    with pytest.raises(error):
        relayer._judged(status, body)


@pytest.mark.parametrize("said", [None, "", "-1", "0x1", 1.5, True, "9" * 30, "\u0661"])
def test_a_nonce_that_is_none_is_refused(said):
    with pytest.raises(OperationUnknownError):
        relayer._whole(said)


@pytest.mark.parametrize("said", [None, 7, "", "7", "0x", "0xzz", "0x" + "1" * 80])
def test_a_number_of_a_node_that_is_none_is_refused(said):
    with pytest.raises(OperationUnknownError):
        relayer._hex(said)


def test_enough_blocks_must_stand_on_a_receipt(monkeypatch):
    async def test():
        port = NodePort("http://127.0.0.1:1", WalletKey(PRIVATE_KEY), None)
        blocks = iter(["0x64", "0x6b", "0x6c"])

        async def rpc(method, *_):
            assert method == "eth_blockNumber"
            return next(blocks)

        monkeypatch.setattr(port, "_rpc", rpc)
        receipt = {"blockNumber": "0x64", "status": "0x1"}
        stages = [(await port._judged(receipt)).stage for _ in range(3)]
        assert stages == [Stage.PENDING, Stage.PENDING, Stage.CONFIRMED]

    asyncio.run(test())


def test_which_wallet_has_which_port():
    where = {"relayer": "https://relayer.example", "rpc": "https://rpc.example", "clock": None}
    key = RelayerKey("0x1", "secret")
    eoa, deposit = WalletKey(PRIVATE_KEY), WalletKey(PRIVATE_KEY, WalletKind.DEPOSIT, WALLET)
    assert isinstance(operation_port(signer=eoa, key=None, **where), NodePort)
    assert isinstance(operation_port(signer=deposit, key=key, **where), RelayerPort)
    with pytest.raises(ConfigError, match="relayer_key"):
        operation_port(signer=deposit, key=None, **where)
    with pytest.raises(ConfigError, match="merged at"):
        operation_port(signer=WalletKey(PRIVATE_KEY, WalletKind.SAFE, WALLET), key=key, **where)
    with pytest.raises(ConfigError, match="not encrypted"):
        operation_port(signer=deposit, key=key, **{**where, "relayer": "http://relayer.example"})
    assert "secret" not in repr(key)


def test_a_name_of_another_kind_of_wallet_is_refused():
    for name in ("", "x", "7", "7:-1", "7:1e3"):
        with pytest.raises(DataError, match="no operation of this kind"):
            relayer._parts(name, 2)
    assert relayer._parts("7:12:0xab", 2) == [7, 12]


# --- bytes -------------------------------------------------------------------------------------------------


def requests_of_all_kinds():
    token = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
    condition = "0x" + "ab" * 32
    for neg_risk in (False, True):
        for operation in ("merge", "split", "redeem"):
            yield OperationRequest(operation, condition, token, token, neg_risk, 123_456, 123_456)
    routed = "02" + "cd" * 15 + "00" * 15
    for operation in ("merge", "split", "redeem"):
        position, size = str(int(routed + "00", 16)), 5 if operation == "redeem" else 7
        yield OperationRequest(operation, f"0x{routed}", position, position, True, size, 7)


def test_the_bytes_are_the_official_clients():
    calls = pytest.importorskip("polymarket._internal.actions.relayer.calls")
    signing = pytest.importorskip("polymarket._internal.actions.relayer.signing.deposit_wallet")
    account = pytest.importorskip("eth_account").Account.from_key(PRIVATE_KEY)
    deposit, eoa = WalletKey(PRIVATE_KEY, WalletKind.DEPOSIT, WALLET), WalletKey(PRIVATE_KEY)
    seen = 0
    for request in requests_of_all_kinds():
        ours = calls_of(request)
        theirs = []
        for place, call in enumerate(ours):
            known = {"condition_id": request.condition}
            plain = {"target": call.target, "collateral": relayer_collateral(), **known}
            if request.operation == "redeem":
                size = (request.yes_size, request.no_size)[place]
                made = (
                    calls.router_redeem_call(router=call.target, outcome_index=place, amount=size, **known)
                    if len(ours) == 2
                    else calls.ctf_redeem_positions_call(
                        ctf=call.target, collateral=relayer_collateral(), **known
                    )
                )
            else:
                routed = len(request.condition) == 64
                words = {"merge": "ctf_merge_positions_call", "split": "ctf_split_position_call"}
                kind = f"router_{request.operation}_call" if routed else words[request.operation]
                where = {"router": call.target, **known} if routed else plain
                made = getattr(calls, kind)(amount=request.size, **where)
            assert made.data == "0x" + call.data.hex() and str(made.to) == call.target, request
            theirs.append(made)
            sent = Transaction(7, 30 * 10**9, 210_000, call)
            raw = account.sign_transaction(
                {
                    "to": call.target, "value": 0, "data": call.data, "gas": 210_000,
                    "gasPrice": 30 * 10**9, "nonce": 7, "chainId": 137,
                }
            ).raw_transaction  # fmt: skip
            assert sent.signed(eoa.sign_contents(sent)) == bytes(raw)
            seen += 1
        batch = Batch(WALLET, 12, 1_790_000_000, ours)
        expected = signing.sign_deposit_wallet_batch(
            account, wallet=WALLET, calls=theirs, nonce="12", deadline="1790000000", chain_id=137
        )
        assert "0x" + deposit.sign_contents(batch).hex() == expected
    assert seen == 10


def relayer_collateral() -> str:
    return "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"


@pytest.mark.parametrize("size", [0, -1, 2**256])
def test_an_amount_that_no_contract_takes_is_refused(size):
    request = next(requests_of_all_kinds())._replace(yes_size=size, no_size=size)
    with pytest.raises(DataError):
        calls_of(request)


def test_a_condition_that_is_none_is_refused():
    for text in ("", "0x", "0x" + "ab" * 31, "0xzz", "0x" + "ab" * 33):
        with pytest.raises(DataError, match="no condition"):
            calls_of(next(requests_of_all_kinds())._replace(condition=text))
    assert isinstance(calls_of(next(requests_of_all_kinds()))[0], Call)
