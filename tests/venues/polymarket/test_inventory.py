"""Operations on the wallet's tokens: one by one, of what is final and unoffered, told once confirmed."""

from __future__ import annotations

import asyncio

import pytest

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.commands import ReadBalance, ReadPositions
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import inventory
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.inventory import (
    NOTHING,
    MergeTerms,
    OperationBusyError,
    OperationUnknownError,
    Progress,
    Stage,
)

PAIR = 1_000_000


class Relayer:
    """A port that works in the stand-in's own ledger; `trouble` is what the next submits meet."""

    def __init__(self) -> None:
        self.venue = None
        self.wallet = ""
        self.trouble = []
        self.prepared = []
        self.submitted = []
        self.looks = {}
        self.pending = 2
        self.takes = True
        self.closed = False

    async def prepare(self, request: OperationRequest) -> str:
        self.prepared.append(request)
        return f"operation-{len(self.prepared)}"

    async def submit(self, request: OperationRequest, name: str) -> str:
        assert name not in self.submitted  # nothing is handed in twice
        if self.trouble:
            raise self.trouble.pop(0)
        self.submitted.append(name)
        return f"id of {name}"

    async def stage(self, request: OperationRequest, name: str, venue_id: str) -> Progress:
        assert venue_id in ("", f"id of {name}")
        looks = self.looks[name] = self.looks.get(name, 0) + 1
        if looks <= self.pending:
            if looks % 2:
                raise OperationUnknownError
            return Progress(Stage.PENDING)
        if name not in self.submitted:
            return Progress(Stage.FAILED, "it was never handed in")
        market = next(m for m in self.venue.markets if m.tokens[0] == request.yes)
        act = self.venue.ledger
        now_ns = self.venue.now_ns
        if request.operation == "merge":
            why = act.merge(now_ns, self.wallet, market, request.size)
        elif request.operation == "split":
            why = act.split(now_ns, self.wallet, market, request.size)
        else:
            why = act.redeem(now_ns, self.wallet, market)
        return Progress(Stage.FAILED if why else Stage.CONFIRMED, why)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def run(trading_of, monkeypatch):
    monkeypatch.setattr(inventory, "POLL_NS", 20_000_000)

    def go(body, **more):
        port = Relayer()

        def know(server):
            port.venue, port.wallet = server.venue, server.account.wallet

        async def all_of_it():
            terms = {"merges": MergeTerms(threshold=10 * PAIR)}
            async with trading_of.trading(port=port, terms=terms, on_server=know, **more) as t:
                up = await t.ear.until(e.OperationsUp)
                assert (up.venue, up.merge_from) == ("polymarket", 10 * PAIR)
                t.wire.send(0, [c.ReadFills(venue="polymarket", since_ns=0)])
                await t.ear.until(e.FillsRead)  # balances say nothing before
                await body(t, port)
            assert port.closed

        asyncio.run(all_of_it())

    return go


async def prepared(t, operation="merge", size=1_000 * PAIR, market=0, count=1):
    """What becomes of a `PrepareOperation`."""
    t.wire.send(0, [c.PrepareOperation(market=market, operation=operation, size=size)])
    return await t.ear.until(e.OperationPrepared, count)


def operate(t, ready):
    fields = {name: getattr(ready, name) for name in ("market", "operation", "size", "name")}
    t.wire.send(0, [c.Operate(**fields)])


async def cash_of(t):
    t.wire.send(0, [ReadBalance(venue="polymarket"), ReadPositions(venue="polymarket")])
    count = len(t.ear.of(e.BalanceRead)) + 1
    return (await t.ear.until(e.BalanceRead, count)).cash_micros


def test_pairs_are_merged_once_the_engine_says_so_and_told_once_confirmed(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="12")
        ready = await prepared(t)
        assert (ready.market, ready.operation, ready.size) == (0, "merge", 12 * PAIR)
        life = t.lives[0]
        assert port.prepared == [
            OperationRequest("merge", life.listing.ticker, life.yes, life.no, False, 12 * PAIR, 12 * PAIR)
        ]
        assert not port.submitted  # preparing begins nothing
        operate(t, ready)
        merged = await t.ear.until(e.Merged)
        assert (merged.market, merged.pairs, merged.merge_id) == (0, 12 * PAIR, ready.name)
        ended = await t.ear.until(e.OperationEnded)
        assert ended.done and ended.name == ready.name and ended.operation == "merge"
        assert t.ear.of(e.OperationTaken)[0].venue_id == f"id of {ready.name}"
        assert t.ear.events.index(merged) < t.ear.events.index(ended)
        assert await cash_of(t) == 10_000_000_000
        assert (await t.ear.until(e.PositionsRead)).positions == ()
        assert t.wire.figures()["operations"] == 1

    run(body)


def test_cash_becomes_pairs(run):
    async def body(t, port):
        operate(t, await prepared(t, "split", 7 * PAIR))
        merged = await t.ear.until(e.Merged)
        assert merged.pairs == -7 * PAIR
        assert await cash_of(t) == 10_000_000_000 - 7 * PAIR
        (held,) = (await t.ear.until(e.PositionsRead)).positions
        assert (held.yes_contracts, held.no_contracts) == (7 * PAIR, 7 * PAIR)

    run(body)


@pytest.mark.parametrize("result", ["yes", "no", "void"])
def test_what_a_market_paid_is_fetched_and_moves_nothing_that_was_booked(run, result):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="30")
        assert await cash_of(t) == 10_000_000_000 - 30 * PAIR
        t.wire.send(0, [c.PrepareOperation(market=0, operation="redeem", size=1)])
        refused = await t.ear.until(e.OperationEnded)
        assert (refused.name, refused.done, refused.why) == ("", False, NOTHING)  # it has not paid
        t.server.do("resolve", market="plain-0", result=result)
        await t.wire._reread(t.wire.lives.watched)
        await t.ear.until(e.Settled)
        assert await cash_of(t) == 10_000_000_000  # counted as cash before it is fetched
        ready = await prepared(t, "redeem", 1)
        assert ready.size == 60 * PAIR
        operate(t, ready)
        assert (await t.ear.until(e.OperationEnded, 2)).done and not t.ear.of(e.Merged)
        held = t.server.venue.ledger.balances[t.server.account.wallet]
        assert held["pusd"] == 10_000_000_000 == await cash_of(t)

    run(body)


def test_what_a_resting_sale_offers_is_left_alone(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="20")
        t.place(1, side=d.ASK, price=6_000, sell=True, size=7_500_000)
        await t.ear.until(e.Accepted, order_id=1)
        assert (await prepared(t)).size == 12_500_000
        t.place(2, side=d.BID, price=4_000, sell=True, size=12_000_000)
        await t.ear.until(e.Accepted, order_id=2)
        t.wire.send(0, [c.PrepareOperation(market=0, operation="merge", size=1_000 * PAIR)])
        assert (await t.ear.until(e.OperationEnded)).why == NOTHING  # 8 are free, which is not worth it

    run(body)


def test_no_more_than_is_asked_for_and_only_whole_lots(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="20")
        assert (await prepared(t, size=15_009_999)).size == 15_000_000

    run(body)


def test_fills_that_may_still_fail_are_no_part_of_a_pair(run):
    async def body(t, port):
        t.wire.send(0, [ReadPositions(venue="polymarket")])
        await t.ear.until(e.PositionsRead)  # as the engine does before it quotes
        t.place(1, price=4_900, size=20_000_000)
        t.place(2, side=d.ASK, price=5_100, size=20_000_000)
        await t.ear.until(e.Accepted, 2)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="20")
        t.server.do("take", market="plain-0", taker="bid", price="0.51", shares="20")
        await t.ear.until(e.Filled, 2)
        await asyncio.sleep(0.3)  # both are mined by now
        t.wire.send(0, [ReadPositions(venue="polymarket")])
        (held,) = (await t.ear.until(e.PositionsRead, 2)).positions
        assert (held.yes_contracts, held.no_contracts) == (20_000_000, 20_000_000)
        t.wire.send(0, [c.PrepareOperation(market=0, operation="merge", size=1_000 * PAIR)])
        assert (await t.ear.until(e.OperationEnded)).why == NOTHING and not port.prepared

    run(body, faults={"mine_s": [0.01, 0.02], "confirm_s": [600, 600]})


def test_a_busy_wallet_begins_nothing_and_a_lost_answer_is_followed_to_its_end(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="12")
        port.trouble = [OperationBusyError("wallet busy")]
        operate(t, await prepared(t))
        ended = await t.ear.until(e.OperationEnded)
        assert (ended.name, ended.done, ended.why) == ("operation-1", False, "wallet busy")
        port.trouble = [OperationUnknownError("timeout")]  # and it never came there
        operate(t, await prepared(t, count=2))
        ended = await t.ear.until(e.OperationEnded, 2)
        assert not ended.done and ended.why == "it was never handed in"
        assert t.wire.operations.unsure == 1 and not t.ear.of(e.Merged)
        operate(t, await prepared(t, count=3))
        assert (await t.ear.until(e.OperationEnded, 3)).done
        assert len(t.ear.of(e.Merged)) == 1 and port.submitted == ["operation-3"]

    run(body)


def test_an_operation_of_an_earlier_process_is_asked_for_and_not_begun_again(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="12")
        port.submitted = ["of before"]
        known = {"market": 0, "operation": "merge", "size": 12 * PAIR, "name": "of before"}
        follow = c.FollowOperation(**known, venue_id="id of of before")
        t.wire.send(0, [follow, follow, c.Operate(**known)])
        ended = await t.ear.until(e.OperationEnded)
        assert ended.done and (await t.ear.until(e.Merged)).merge_id == "of before"
        await asyncio.sleep(0.2)
        assert len(t.ear.of(e.Merged)) == 1 == len(t.ear.of(e.OperationEnded))
        gone = c.FollowOperation(market=77, operation="merge", size=PAIR, name="never", venue_id="")
        t.wire.send(0, [gone])
        assert not (await t.ear.until(e.OperationEnded, 2)).done

    run(body)


def test_a_balance_counts_what_is_on_its_way_whenever_it_moves():
    for moves_when_mined in (False, True):
        count = inventory_count()
        assert count.counted(100, 0, [], 0) == 100
        assert count.counted(100, 0, [7], 7) == 107  # matched
        mined = 107 if moves_when_mined else 100
        assert count.counted(mined, 0, [7], 0) == 107
        assert count.counted(mined, 0, [7, -3], -3) == 104
        assert count.counted(107, 7, [-3], -3) == 104  # the first is confirmed
        assert count.counted(104, 4, [], 0) == 104
    stranger = inventory_count()
    stranger.counted(100, 0, [], 0)
    assert stranger.counted(500, 0, [7], 7) == 507  # what our trades do not explain shows


def inventory_count():
    from pr3dict.venues.polymarket.holdings import Count

    return Count()
