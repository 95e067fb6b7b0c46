"""Pairs become cash: one merge at a time, of what is final and offered by no sale, told when confirmed."""

from __future__ import annotations

import asyncio

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.commands import ReadBalance, ReadPositions
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import inventory
from pr3dict.venues.polymarket.inventory import (
    MergeBusyError,
    MergeRequest,
    MergeTerms,
    MergeUnknownError,
    Stage,
)


class Relayer:
    """A port that merges in the stand-in's own ledger; `trouble` is what the next submits meet."""

    def __init__(self) -> None:
        self.venue = None
        self.wallet = ""
        self.trouble = []
        self.asked = []
        self.stages = {}
        self.pending = 2

    async def submit(self, request: MergeRequest) -> str:
        assert not any(left for left in self.stages.values())  # one at a time
        if self.trouble:
            raise self.trouble.pop(0)
        self.asked.append(request)
        name = f"merge-{len(self.asked)}"
        self.stages[name] = self.pending
        return name

    async def stage(self, merge_id: str) -> Stage:
        if self.stages[merge_id]:
            self.stages[merge_id] -= 1
            if self.stages[merge_id]:
                raise MergeUnknownError
            return Stage.PENDING
        request = self.asked[int(merge_id.rpartition("-")[2]) - 1]
        market = next(m for m in self.venue.markets if m.tokens[0] == request.yes)
        why = self.venue.ledger.merge(self.venue.now_ns, self.wallet, market, request.pairs)
        return Stage.FAILED if why else Stage.CONFIRMED


@pytest.fixture
def run(trading_of, monkeypatch):
    monkeypatch.setattr(inventory, "LOOK_NS", 50_000_000)
    monkeypatch.setattr(inventory, "POLL_NS", 20_000_000)
    monkeypatch.setattr(inventory, "BUSY_NS", 20_000_000)

    def go(body, **more):
        port = Relayer()

        def know(server):
            port.venue, port.wallet = server.venue, server.account.wallet

        async def all_of_it():
            terms = {"merges": MergeTerms(threshold=10_000_000)}
            async with trading_of.trading(port=port, terms=terms, on_server=know, **more) as t:
                await body(t, port)

        asyncio.run(all_of_it())

    return go


def test_enough_pairs_are_merged_and_told_once_confirmed(run):
    async def body(t, port):
        t.server.do("split", market="plain-0", shares="9")
        await asyncio.sleep(0.2)
        assert not port.asked
        t.server.do("split", market="plain-0", shares="3")
        merged = await t.ear.until(e.Merged)
        assert (merged.market, merged.pairs, merged.merge_id) == (0, 12_000_000, "merge-1")
        assert port.asked == [
            MergeRequest(t.lives[0].condition, *t.server.venue.markets[0].tokens, False, 12_000_000)
        ]
        t.wire.send(0, [ReadBalance(venue="polymarket"), ReadPositions(venue="polymarket")])
        assert (await t.ear.until(e.BalanceRead)).cash_micros == 10_000_000_000
        assert (await t.ear.until(e.PositionsRead)).positions == ()

    run(body)


def test_what_a_resting_sale_offers_is_left_alone(run):
    async def body(t, port):
        t.wire.merger._terms = MergeTerms(threshold=10**12)
        t.server.do("split", market="plain-0", shares="20")
        t.place(1, side=d.ASK, price=6_000, sell=True, size=7_500_000)
        await t.ear.until(e.Accepted, order_id=1)
        t.wire.merger._terms = MergeTerms(threshold=10_000_000)
        assert (await t.ear.until(e.Merged)).pairs == 12_500_000

    run(body)


def test_fills_that_may_still_fail_are_no_part_of_a_pair(run):
    async def body(t, port):
        t.wire.merger._terms = MergeTerms(threshold=5_000_000)
        t.wire.send(0, [ReadPositions(venue="polymarket")])
        await t.ear.until(e.PositionsRead)  # as the engine does before it quotes
        t.place(1, price=4_900, size=20_000_000)
        t.place(2, side=d.ASK, price=5_100, size=20_000_000)
        await t.ear.until(e.Accepted, 2)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="20")
        t.server.do("take", market="plain-0", taker="bid", price="0.51", shares="20")
        await t.ear.until(e.Filled, 2)
        await asyncio.sleep(0.5)  # both are mined by now
        t.wire.send(0, [ReadPositions(venue="polymarket")])
        (held,) = (await t.ear.until(e.PositionsRead, 2)).positions
        assert (held.yes_contracts, held.no_contracts) == (20_000_000, 20_000_000) and not port.asked

    run(body, faults={"mine_s": [0.01, 0.02], "confirm_s": [600, 600]})


def test_a_busy_wallet_a_lost_answer_and_a_failure_merge_nothing_twice(run):
    async def body(t, port):
        port.trouble = [MergeBusyError(), MergeUnknownError(), MergeBusyError()]
        t.server.do("split", market="plain-0", shares="12")
        await t.ear.until(e.Merged)
        await asyncio.sleep(0.2)
        assert len(port.asked) == 1 and len(t.ear.of(e.Merged)) == 1
        assert (t.wire.merger.done, t.wire.merger.unsure, t.wire.merger.failed) == (1, 1, 0)

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
