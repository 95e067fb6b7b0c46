"""What can go wrong at the exchange: what is told, what is true, and that money and contracts are kept."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.commands import Cancel, Place, ReadFills, ReadOrder, ReadOrders, ReadPositions, Reduce
from pr3dict.domain.events import (
    Accepted,
    AnswerLost,
    Closed,
    Filled,
    FillFinal,
    FillVoided,
    ReadFailed,
    Refused,
    RequestRefused,
    Settled,
    Transferred,
    VenueStatus,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.position import yes_cash_micros
from pr3dict.venues.simulated import interventions as hands
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.faults import ChangeFault, Faults, FillFault, PlaceFault, ReadFault

sys.path.insert(0, str(Path(__file__).parent))

from exchange_cases import CONTRACT, listing, rows, rules

CASH = 1_000 * CONTRACT
BOOK = (
    (10, d.LEVEL, d.BID, 4_000, 100 * CONTRACT),
    (10, d.LEVEL, d.ASK, 4_500, 100 * CONTRACT),
)


class Scripted(Faults):
    """The same decision each time, as the test sets it."""

    history_ns = 1_000

    def __init__(self, *, place=None, change=None, fill=None, read=None):
        self.place, self.change = place or PlaceFault(), change or ChangeFault()
        self.fill, self.read = fill or FillFault(), read or ReadFault()
        self.tells = True

    def on_place(self, now_ns, place):
        return self.place

    def on_change(self, now_ns, change):
        return self.change

    def on_fill(self, now_ns, fill):
        return self.fill

    def on_read(self, now_ns, read):
        return self.read

    def tells_of_wipe(self, now_ns, market):
        return self.tells


def opened(*more, faults=None, nets=True, merge=0, **decisions):
    faults = faults or Scripted(**decisions)
    exchange = SimulatedExchange(
        [listing(nets_positions=nets), listing(1)], rows(*BOOK, *more), rules(merge_threshold=merge), CASH,
        faults=faults,
    )  # fmt: skip
    exchange.advance(10)
    return exchange


def place(order_id=1, side=d.BID, price=4_200, size=10 * CONTRACT, tif=d.POST_ONLY, **more):
    return Place(order_id=order_id, market=0, side=side, price=price, size=size, tif=tif, **more)


def taken(*more, size=10, **how):
    """A resting bid of 10 at 42 cents at time 20 that somebody takes at 30."""
    exchange = opened((30, d.TRADE, d.ASK, 4_200, size * CONTRACT), *more, **how)
    exchange.place(20, place())
    return exchange


def told(exchange, until_ns):
    return [h.event for h in exchange.advance(until_ns) if h.event is not None]


CANCEL = Cancel(order_id=1, market=0)


def test_a_refusal_by_decision_does_nothing():
    exchange = opened(place=PlaceFault(refuse="mystery", text="ERR 7"))
    assert exchange.place(20, place()) == [Refused(order_id=1, why="mystery", text="ERR 7")]
    assert exchange.open_orders() == ()
    assert exchange.order(1).status == "refused"


def test_a_dropped_order_never_was_and_a_lost_answer_was():
    dropped = opened(place=PlaceFault(drop=True))
    assert dropped.place(20, place()) == [AnswerLost(order_id=1, request="place", why="timeout")]
    assert dropped.order(1) is None
    lost = opened(place=PlaceFault(lose="503"))
    said = lost.place(20, place(tif=d.IOC, price=4_500))
    assert [type(event) for event in said] == [Filled, Closed, AnswerLost]
    assert lost.positions() == {0: (10 * CONTRACT, 0)}


def test_an_accepted_order_is_rolled_back_without_a_word():
    exchange = opened(place=PlaceFault(roll_back_ns=50))
    assert isinstance(exchange.place(20, place())[0], Accepted)
    assert exchange.next_ns == 70
    assert told(exchange, 69) == [] and len(exchange.open_orders()) == 1
    assert told(exchange, 70) == [] and exchange.open_orders() == ()
    (read,) = reads.answer(exchange, 80, 80, ReadOrder(order_id=1, market=0))
    assert read.status == "not_found"


@pytest.mark.parametrize(
    ("fault", "answer", "rests"),
    [
        (ChangeFault(refuse="rate_limit", text="429"), RequestRefused, True),
        (ChangeFault(drop=True), AnswerLost, True),
        (ChangeFault(lose="503"), AnswerLost, False),
        (ChangeFault(not_canceled=True), RequestRefused, True),
        (ChangeFault(lie=True), Closed, True),
    ],
)
def test_a_cancel_goes_wrong(fault, answer, rests):
    exchange = opened(change=fault)
    exchange.place(20, place())
    (said,) = exchange.cancel(21, CANCEL)
    assert isinstance(said, answer)
    assert said.order_id == 1
    assert bool(exchange.open_orders()) is rests
    assert (exchange.cash_micros, exchange.unexplained) == (CASH, ())


@pytest.mark.parametrize("nets", [True, False])
def test_a_provisional_fill_becomes_final(nets):
    exchange = taken(nets=nets, fill=FillFault(provisional=True, final_after_ns=5))
    fill, closed, final = told(exchange, 40)
    assert not fill.final
    assert closed == Closed(order_id=1, why="filled", filled=10 * CONTRACT)
    assert final == FillFinal(market=0, trade_id=fill.trade_id)
    assert exchange.fills()[0].final
    assert exchange.void(41, fill.trade_id, "late") == [
        FillVoided(market=0, trade_id=fill.trade_id, why="late")
    ]
    assert exchange.positions() == {0: (10 * CONTRACT, 0)}, "what is final stays"


@pytest.mark.parametrize("nets", [True, False])
def test_a_void_takes_everything_back(nets):
    exchange = taken(nets=nets, fill=FillFault(provisional=True, void_after_ns=5, extra_fee_micros=700))
    fill, _ = told(exchange, 34)
    assert fill.fee_micros == 700
    assert exchange.cash_micros == CASH - 10 * 420_000 - 700
    assert told(exchange, 35) == [FillVoided(market=0, trade_id=fill.trade_id, why="never settled")]
    assert (exchange.cash_micros, exchange.positions(), exchange.fills()) == (CASH, {}, ())
    assert exchange.order(1).order.filled == 10 * CONTRACT, "the order had matched all the same"
    voided, listed = reads.answer(exchange, 36, 36, ReadFills(venue="kalshi", since_ns=0))
    assert (voided.trade_id, listed.fills) == (fill.trade_id, ())


def test_a_void_of_contracts_that_were_merged_splits_a_pair_again():
    exchange = opened(
        (30, d.TRADE, d.ASK, 4_200, 10 * CONTRACT), (31, d.TRADE, d.BID, 4_400, 10 * CONTRACT),
        nets=False, merge=CONTRACT, fill=FillFault(provisional=True, void_after_ns=100),
    )  # fmt: skip
    exchange.place(20, place())
    exchange.place(20, place(2, d.ASK, 4_400))
    told(exchange, 50)
    assert exchange.positions() == {}
    assert exchange.cash_micros == CASH + 10 * 20_000
    told(exchange, 130)  # the first fill never settled: its half of the pair is bought back
    assert exchange.positions() == {0: (0, 10 * CONTRACT)}
    assert exchange.cash_micros == CASH + 10 * 440_000 - 10 * CONTRACT
    told(exchange, 131)
    assert (exchange.positions(), exchange.cash_micros, exchange.unexplained) == ({}, CASH, ())


@pytest.mark.parametrize("nets", [True, False])
@pytest.mark.parametrize("value", [0, 300_000, 1_000_000])
def test_a_void_after_the_payout_takes_the_payout_back(value, nets):
    exchange = taken(
        (40, d.SETTLE, 0, 0, value), nets=nets, fill=FillFault(provisional=True, void_after_ns=50)
    )
    told(exchange, 79)
    assert exchange.cash_micros == CASH - 10 * 420_000 + 10 * value
    told(exchange, 80)
    assert (exchange.cash_micros, exchange.positions(), exchange.unexplained) == (CASH, {}, ())
    hands.amend_settlement(exchange, 90, 0, 500_000)
    assert (exchange.cash_micros, exchange.unexplained) == (CASH, ())


def test_a_ghost_match_pays_nobody():
    exchange = taken(fill=FillFault(ghost=True, void_after_ns=5))
    closed, void = told(exchange, 40)
    assert closed == Closed(order_id=1, why="filled", filled=10 * CONTRACT)
    assert isinstance(void, FillVoided)
    assert (exchange.cash_micros, exchange.positions(), exchange.fills()) == (CASH, {}, ())


def test_fills_told_late_twice_differently_or_never():
    late = taken(fill=FillFault(delay_ns=100))
    assert [type(e) for e in told(late, 129)] == [Closed]
    assert [type(e) for e in told(late, 130)] == [Filled]
    twice = taken(fill=FillFault(again_after_ns=7, twist=100))
    first, _, second = told(twice, 60)
    assert (second.trade_id, second.price) == (first.trade_id, first.price + 100)
    silent = taken(fill=FillFault(silent=True))
    assert [type(e) for e in told(silent, 60)] == [Closed]
    for exchange in (late, twice, silent):
        assert len(exchange.fills()) == 1
        assert exchange.positions() == {0: (10 * CONTRACT, 0)}
        assert exchange.unexplained == ()


def test_more_is_filled_than_was_ordered():
    exchange = taken(fill=FillFault(extra_size=10_000))
    fill, closed = told(exchange, 40)
    assert fill.size == closed.filled == 10 * CONTRACT + 10_000
    assert exchange.positions() == {0: (10 * CONTRACT + 10_000, 0)}
    assert exchange.cash_micros == CASH + yes_cash_micros(d.BID, 4_200, fill.size)
    assert exchange.unexplained == ()


def test_lists_lag_and_tear():
    exchange = taken(size=4)
    told(exchange, 40)
    exchange.place(45, place(2, price=4_100))
    exchange.cancel(50, CANCEL)
    faults = exchange.faults

    def listed(lag_ns, tear_at=-1, **more):
        faults.read = ReadFault(lag_ns=lag_ns, tear_at=tear_at, **more)
        (read,) = reads.answer(exchange, 55, 60, ReadOrders(venue="kalshi"))
        return read.as_of_ns, [(o.order_id, o.remaining // CONTRACT) for o in read.orders]

    assert listed(0) == (60, [(2, 10)])
    assert listed(12, says_now=True) == (60, [(1, 6), (2, 10)])
    assert listed(12) == (48, [(1, 6), (2, 10)])
    assert listed(20) == (40, [(1, 6)])
    assert listed(35) == (25, [(1, 10)])
    assert listed(50) == (10, [])
    assert listed(35, 1) == (25, [(1, 10)]), "the second page holds nothing: order 2 is missing"
    assert listed(35, 0) == (25, [(2, 10)])
    faults.read = ReadFault(lag_ns=35)
    (positions,) = reads.answer(exchange, 55, 60, ReadPositions(venue="kalshi"))
    (fills,) = reads.answer(exchange, 55, 60, ReadFills(venue="kalshi", since_ns=0))
    assert (positions.positions, fills.fills, fills.as_of_ns) == ((), (), 25)
    (young,) = reads.answer(exchange, 55, 60, ReadOrder(order_id=2, market=0))
    (old,) = reads.answer(exchange, 55, 60, ReadOrder(order_id=1, market=0))
    assert (young.status, old.status) == ("not_found", "open")
    faults.read = ReadFault(fail="502")
    (failed,) = reads.answer(exchange, 55, 60, ReadOrder(order_id=1, market=0))
    assert failed == ReadFailed(venue="kalshi", read="order", why="502")


# --- hands from outside -----------------------------------------------------------------------------


def test_money_moves_and_others_trade():
    exchange = opened((40, d.TRADE, d.ASK, 4_100, 5 * CONTRACT))
    assert hands.transfer(exchange, 20, "kalshi", -CONTRACT) == []
    (moved,) = hands.transfer(exchange, 20, "kalshi", 3 * CONTRACT, told=True)
    assert moved == Transferred(venue="kalshi", amount_micros=3 * CONTRACT, why="transfer")
    assert hands.place_foreign(exchange, 20, place(0, price=4_100, size=5 * CONTRACT)) == []
    (foreign,) = exchange.open_orders()
    assert foreign.order_id == 0
    (fill,) = told(exchange, 41)
    assert (fill.order_id, fill.size, fill.venue_id) == (0, 5 * CONTRACT, foreign.venue_id)
    hand = Filled(trade_id="h", order_id=0, market=1, side=d.ASK, price=300, size=CONTRACT, exch_ns=41)
    assert hands.trade_foreign(exchange, 41, hand) == [hand]
    assert exchange.positions() == {0: (5 * CONTRACT, 0), 1: (0, CONTRACT)}
    assert exchange.cash_micros == CASH + 2 * CONTRACT - 5 * 410_000 - 970_000
    assert exchange.unexplained == ()


def test_a_foreign_order_is_cancelled_by_its_venue_id():
    exchange = opened()
    hands.place_foreign(exchange, 20, place(0))
    (foreign,) = exchange.open_orders()
    exchange.cancel(21, Cancel(order_id=0, market=0, venue_id=foreign.venue_id))
    assert exchange.open_orders() == ()


def test_statuses_of_the_venue():
    exchange = opened()
    exchange.place(20, place())
    assert hands.set_status(exchange, 21, "kalshi", "paused") == [
        VenueStatus(venue="kalshi", status="paused")
    ]
    assert exchange.place(22, place(2))[0].why == "not_active"
    assert hands.set_status(exchange, 23, "kalshi", "restarting", told=False) == []
    assert exchange.cancel(24, CANCEL)[0].why == "not_active"
    hands.set_status(exchange, 25, "kalshi", "open")
    assert len(exchange.open_orders()) == 1, "a restart wipes nothing"
    exchange.faults.tells = False
    hands.set_status(exchange, 26, "kalshi", "paused")
    assert hands.set_status(exchange, 27, "kalshi", "open", told=False) == []
    assert exchange.open_orders() == (), "reactivation does, and here without a word"
    assert isinstance(exchange.place(28, place(3))[0], Accepted)


def test_an_order_group_needs_a_person():
    exchange = opened()
    exchange.place(20, place())
    assert hands.trigger_group(exchange, 21) == [Closed(order_id=1, why="closed", filled=0)]
    hands.set_status(exchange, 22, "kalshi", "open")
    assert exchange.place(23, place(2))[0].text == hands.GROUP
    hands.reset_group(exchange)
    assert isinstance(exchange.place(24, place(3))[0], Accepted)
    assert hands.cancel_by_hand(exchange, 25, 3) == [Closed(order_id=3, why="none", filled=0)]
    assert hands.roll_back(exchange, 26, 3) == []


def test_a_settlement_is_amended():
    exchange = taken((40, d.SETTLE, 0, 0, 1_000_000))
    told(exchange, 50)
    before = CASH - 10 * 420_000
    assert exchange.cash_micros == before + 10 * CONTRACT
    assert hands.amend_settlement(exchange, 60, 0, 500_000) == [Settled(market=0, value_micros=500_000)]
    assert exchange.cash_micros == before + 5 * CONTRACT
    hands.amend_settlement(exchange, 61, 0, 0)
    assert (exchange.cash_micros, exchange.unexplained) == (before, ())
    assert hands.amend_settlement(exchange, 62, 1, 0) == []


# --- everything at once -----------------------------------------------------------------------------


class Drawn(Faults):
    """Every question answered by a seed."""

    history_ns = 500

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def on_place(self, now_ns, place):
        pick = self.rng.randrange(8)
        choices = {0: {"refuse": "no_cash"}, 1: {"drop": True}, 2: {"lose": "503"}, 3: {"roll_back_ns": 90}}
        return PlaceFault(**choices.get(pick, {}))

    def on_change(self, now_ns, change):
        return self.rng.choice([ChangeFault()] * 4 + [ChangeFault(lie=True), ChangeFault(lose="x")])

    def on_fill(self, now_ns, fill):
        rng = self.rng
        return FillFault(
            provisional=rng.random() < 0.7,
            final_after_ns=rng.choice([0, 40, 300]),
            void_after_ns=rng.choice([0, 30, 200]),
            ghost=rng.random() < 0.1,
            delay_ns=rng.choice([0, 0, 70]),
            extra_size=rng.choice([0, 0, 10_000]),
            extra_fee_micros=rng.choice([0, 1_234]),
        )


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.booleans())
def test_money_and_contracts_are_kept_whatever_goes_wrong(seed, nets):
    rng = random.Random(seed)
    flow, at = [], 10
    for _ in range(120):
        at += rng.randrange(20)
        side, price = rng.randrange(2), rng.choice([4_100, 4_200, 4_300, 4_400])
        flow.append((at, d.TRADE, side, price, rng.randrange(1, 30) * CONTRACT))
    flow.append((at + 500, d.SETTLE, 0, 0, rng.choice([0, 500_000, 1_000_000])))
    exchange = opened(*flow, faults=Drawn(seed), nets=nets, merge=0 if nets else CONTRACT)
    now, fills, voids = 10, {}, set()

    def hear(events):
        for event in events:
            if isinstance(event, Filled):
                fills.setdefault(event.trade_id, event)
            if isinstance(event, FillVoided):
                voids.add(event.trade_id)

    for number in range(1, 80):
        now += rng.randrange(1, 30)
        hear(told(exchange, now))
        side = rng.randrange(2)
        price = rng.choice([4_100, 4_200] if side == d.BID else [4_300, 4_400])
        hear(exchange.place(now, place(number, side, price, size=rng.randrange(1, 20) * CONTRACT)))
        if rng.random() < 0.3:
            exchange.cancel(now, Cancel(order_id=rng.randrange(1, number + 1), market=0))
        if rng.random() < 0.2:
            exchange.reduce(now, Reduce(order_id=number, market=0, remaining=CONTRACT))
        assert exchange.unexplained == ()
        assert min(min(held) for held in [(0,), *exchange.positions().values()]) >= 0
    hear(told(exchange, now + 10_000))
    assert exchange.unexplained == ()
    assert exchange.positions() == {}
    # What stands is what was told and not taken back; ghosts were never told.
    standing = {fill.trade_id for fill in exchange.fills()}
    assert standing == {trade for trade in fills if trade not in exchange.truth.void}
    assert {trade for trade in exchange.truth.void if trade in fills} <= voids
    # Cash is what the fills that stand, and the payout of what they brought, explain.
    value = int(np.int64(flow[-1][4]))
    cash = CASH
    for fill in exchange.fills():
        sign = 1 if fill.side == d.BID else -1
        cash += yes_cash_micros(fill.side, fill.price, fill.size) - fill.fee_micros
        cash += sign * fill.size * value // 1_000_000
    assert abs(cash - exchange.cash_micros) <= len(exchange.fills())
