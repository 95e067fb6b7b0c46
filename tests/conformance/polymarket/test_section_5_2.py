"""Section 5: pairs to cash and back, and payouts, on the chain: by the wallet itself, or by the relayer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from conformance.polymarket.bench import CONTRACT, QUICK, VenueClock, accepted, live, run, until
from conformance.polymarket.rows import row
from conformance.polymarket.trade import Books, batch, filled, final, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.inventory import MergeTerms, OperationBusyError, OperationUnknownError, Stage
from pr3dict.venues.polymarket.relayer import NodePort, RelayerKey, RelayerPort, operation_port
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog
from standins.polymarket.values import PUSD

WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
NEVER = {"mine_s": [600, 600]}


class AtServer:
    """The wallet's own port, at a server that is not there yet."""

    def __init__(self):
        self.port = None

    def know(self, server):
        self.port = NodePort(server.rpc_url, WalletKey(PRIVATE_KEY), VenueClock(server))

    def __getattr__(self, name):
        return getattr(self.port, name)


def operating(body, **options):
    """`body(t)`: a session whose pairs are worth merging from ten on; twenty venue seconds a second."""
    port = AtServer()
    terms = {"merges": MergeTerms(threshold=10 * CONTRACT)}
    live(body, port=port, on_server=port.know, terms=terms, **{"speed": 20.0, **options})


async def pairs(t, books, contracts):
    """Buy as many of both tokens, and wait until they are on the chain."""
    size = contracts * CONTRACT
    books.send(order(1, 4_900, size), order(2, 5_100, size, side=d.ASK))
    await t.ear.until(e.Accepted, 2)
    for taker, price in (("ask", "0.49"), ("bid", "0.51")):
        t.server.do("take", market="plain-0", taker=taker, price=price, shares=str(contracts))
    await filled(t, size, 1)
    await filled(t, size, 2)
    await final(t)


async def operate(t, operation, size):
    """Prepare an operation and carry it out; how it ended."""
    ended = len(t.ear.of(e.OperationEnded))
    t.wire.send(0, [c.PrepareOperation(market=0, operation=operation, size=size)])
    made = len(t.ear.of(e.OperationPrepared))
    ready = await t.ear.until(e.OperationPrepared, made + 1)
    t.wire.send(0, [c.Operate(market=0, operation=operation, size=ready.size, name=ready.name)])
    return await t.ear.until(e.OperationEnded, ended + 1)


@row(
    "5.14",
    "Pairs that are final become cash again; it is told once the chain has done it, and everything agrees.",
)
def test_merges():
    async def body(t):
        books = Books(t)
        await pairs(t, books, 12)
        assert (await operate(t, "merge", 50 * CONTRACT)).done
        [merged] = t.ear.of(e.Merged)
        assert (merged.market, merged.pairs) == (0, 12 * CONTRACT) and books.held() == (0, 0)
        await books.agree()

    operating(body)


@row("5.15", "Pairs that are not confirmed, that a resting sale offers, or that are too few, are not merged.")
@pytest.mark.parametrize(("offered", "merged"), [(18, [12 * CONTRACT]), (21, [])])
def test_what_is_not_merged(offered, merged):
    async def body(t):
        t.server.do("split", market="plain-1", shares="30")
        await accepted(t, 3, market=1, side=d.ASK, price=6_000, sell=True, size=offered * CONTRACT)
        await batch(
            t, {"price": 4_900, "size": 30 * CONTRACT}, {"side": d.ASK, "price": 5_100, "size": 30 * CONTRACT}
        )
        await t.ear.until(e.Accepted, 3)
        for taker, price in (("ask", "0.49"), ("bid", "0.51")):
            t.server.do("take", market="plain-0", taker=taker, price=price, shares="30")
        await filled(t, 30 * CONTRACT, 2)
        for market in (0, 1):
            t.wire.send(0, [c.PrepareOperation(market=market, operation="merge", size=99 * CONTRACT)])
        await t.ear.until(e.OperationEnded, 2 - len(merged))
        await until(lambda: len(t.ear.of(e.OperationPrepared)) == len(merged))
        assert [ready.size for ready in t.ear.of(e.OperationPrepared)] == merged
        assert not any(none.done or none.name for none in t.ear.of(e.OperationEnded))

    operating(body, faults=NEVER)


@row("5.21", "Where a split is cheaper than two purchases, cash becomes pairs, and they can be sold.")
def test_splits():
    async def body(t):
        books = Books(t)
        assert (await operate(t, "split", 10 * CONTRACT)).done
        assert [m.pairs for m in t.ear.of(e.Merged)] == [-10 * CONTRACT]
        assert books.held() == (10 * CONTRACT, 10 * CONTRACT)
        await books.agree()
        await accepted(t, 1, side=d.ASK, price=6_000, sell=True)

    operating(body)


@row("5.22", "What a resolved market pays is redeemed on the chain, void markets at half, and counts once.")
@pytest.mark.parametrize("result", ["yes", "no", "void"])
def test_redeems(result):
    async def body(t):
        books = Books(t)
        books.send(order(1, 5_200, 20 * CONTRACT, tif=d.LIMIT))
        await filled(t, 20 * CONTRACT)
        await final(t)
        t.server.do("resolve", market="plain-0", result=result)
        await t.ear.until(e.Settled)
        await books.agree()
        if result == "no":  # nothing to fetch: nothing is begun
            t.wire.send(0, [c.PrepareOperation(market=0, operation="redeem", size=20 * CONTRACT)])
            assert not (await t.ear.until(e.OperationEnded)).done and not t.ear.of(e.OperationPrepared)
            return
        before = t.server.venue.ledger.balances[t.server.account.wallet][PUSD]
        assert (await operate(t, "redeem", 20 * CONTRACT)).done
        paid = t.server.venue.ledger.balances[t.server.account.wallet][PUSD] - before
        assert paid == 20_000_000 // (1 if result == "yes" else 2)
        await books.agree()

    operating(body, speed=60.0)


@row("5.23", "An operation that the chain refuses is told as failed, and nothing moved.")
def test_a_failed_operation():
    async def body(t):
        books = Books(t)
        await pairs(t, books, 12)
        t.server.faults.change({"relayer_failed": 1.0})
        ended = await operate(t, "merge", 12 * CONTRACT)
        assert not ended.done and ended.why and not t.ear.of(e.Merged)
        assert books.held() == (12 * CONTRACT, 12 * CONTRACT)
        await books.agree()

    operating(body)


# --- the relayer ----------------------------------------------------------------------------------------


@asynccontextmanager
async def relayed(**options):
    """A deposit wallet with 50 pairs of the first market, and the relayer's port for it."""
    async with PolymarketStandIn(small_catalog(), **{"speed": 20.0, "faults": QUICK, **options}) as server:
        signer = WalletKey("33" * 32, WalletKind.DEPOSIT, WALLET)
        server.open_account(signer.address, wallet=WALLET, kind=3)
        server.do("split", market="plain-0", shares="50", wallet=WALLET)
        key = RelayerKey(signer.address, server.relayer_key(signer.address))
        port = RelayerPort(server.relayer_url, signer, key, VenueClock(server), answer_s=1.0)
        try:
            yield server, port
        finally:
            await port.close()


def merge_of(server, contracts, operation="merge"):
    spec = server.venue.markets[0].spec
    size = contracts * CONTRACT
    return OperationRequest(operation, spec.condition, *spec.tokens, False, size, size)


def held(server):
    yes, no = server.venue.markets[0].tokens
    wallet = server.venue.ledger.balances[WALLET]
    return wallet[yes] // CONTRACT, wallet[no] // CONTRACT


async def ended(port, request, name, venue_id):
    """The stage of an operation that is over."""
    for _ in range(300):
        progress = await port.stage(request, name, venue_id)
        if progress.stage is not Stage.PENDING:
            return progress
        await asyncio.sleep(0.01)
    raise AssertionError("it never ended")


@row(
    "5.24",
    "A deposit wallet's batch is signed by its owner, and carried out by the relayer, which says its end.",
)
def test_the_relayer():
    async def work():
        async with relayed() as (server, port):
            request = merge_of(server, 20)
            name = await port.prepare(request)
            venue_id = await port.submit(request, name)
            assert held(server) == (50, 50) and name.startswith("0:")
            assert (await ended(port, request, name, venue_id)).stage is Stage.CONFIRMED
            assert held(server) == (30, 30)
            assert (await port.prepare(request)).startswith("1:")

    run(work())


@row(
    "5.25",
    "A wallet has one action at a time: a second one is surely not begun, and may be tried again later.",
)
def test_a_busy_wallet():
    async def work():
        async with relayed(faults={**QUICK, "relayer_s": [2.0, 2.0]}) as (server, port):
            request = merge_of(server, 20)
            name = await port.prepare(request)
            venue_id = await port.submit(request, name)
            with pytest.raises(OperationBusyError, match="busy"):
                await port.submit(request, name)
            assert (await ended(port, request, name, venue_id)).stage is Stage.CONFIRMED
            with pytest.raises(OperationBusyError, match="nonce"):
                await port.submit(request, name)  # the same one happens once
            assert held(server) == (30, 30)

    run(work())


@row(
    "5.26",
    "A batch whose answer was lost is over at its deadline: the wallet's nonce says whether it happened.",
)
@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_batch(happened):
    async def work():
        async with relayed(speed=600.0) as (server, port):
            request = merge_of(server, 20)
            name = await port.prepare(request)
            if happened:
                await port.submit(request, name)
            progress = await ended(port, request, name, "")
            assert progress.stage is (Stage.CONFIRMED if happened else Stage.FAILED)
            assert held(server) == ((30, 30) if happened else (50, 50))

    run(work())


@row(
    "5.27",
    "More than 25 submits a minute are refused by the relayer: nothing is begun, and it is told as busy.",
)
def test_submits_a_minute():
    async def work():
        async with relayed(faults={**QUICK, "relayer_busy": 1.0}, speed=1.0) as (server, port):
            request = merge_of(server, 20)
            name, said = await port.prepare(request), []
            for _ in range(27):
                with pytest.raises(OperationBusyError) as error:
                    await port.submit(request, name)
                said.append(str(error.value))
            assert "busy" in said[24] and "rate limit" in said[25] and held(server) == (50, 50)

    run(work())


@row(
    "5.28",
    "Without the relayer's key, or for a wallet that only the web site moves, merging is refused.",
)
def test_who_can_merge():
    async def work():
        async with relayed() as (server, _):
            clock = VenueClock(server)
            urls = {"relayer": server.relayer_url, "rpc": server.rpc_url, "clock": clock}
            deposit = WalletKey("33" * 32, WalletKind.DEPOSIT, WALLET)
            with pytest.raises(ConfigError, match="relayer's key"):
                operation_port(signer=deposit, key=None, **urls)
            for kind in (WalletKind.PROXY, WalletKind.SAFE):
                with pytest.raises(ConfigError, match="only; turn merging off"):
                    operation_port(signer=WalletKey("33" * 32, kind, WALLET), key=None, **urls)
            wrong = RelayerPort(server.relayer_url, deposit, RelayerKey(deposit.address, "nobody"), clock)
            with pytest.raises((OperationBusyError, OperationUnknownError)):
                await wrong.prepare(merge_of(server, 1))
            await wrong.close()

    run(work())
