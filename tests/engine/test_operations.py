"""Operations on a wallet's tokens: one at a time, journaled by name, followed after a restart."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_cases import CONTRACT, START, Desk, listing

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.market import polymarket_grid
from pr3dict.engine.account import Account
from pr3dict.engine.account_state import AccountState, WithOperations
from pr3dict.engine.operations import (
    LOOK_NS,
    MOST_PAUSE_NS,
    PAUSE_NS,
    PREPARE_NS,
    buying_micros,
    mergeable,
)
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig

PAIR = CONTRACT
FROM = 10 * PAIR
LOOK, PAUSE = LOOK_NS / 1e9, PAUSE_NS / 1e9


def apart(market=0, **changes):
    """A market whose venue keeps YES and NO apart."""
    facts = {
        "venue": "polymarket", "nets_positions": False, "reduce_in_place": False,
        "grids": (polymarket_grid(100),), "lot": PAIR // 100,
    }  # fmt: skip
    return listing(market, **{**facts, **changes})


class Wallet(Desk):
    """An engine whose venue carries operations out."""

    def __init__(self, *listings, **more) -> None:
        super().__init__(*(listings or (apart(),)), risk=RiskConfig(reconcile_interval_seconds=3600), **more)
        self.now = 1.0
        self.at(self.now, e.OperationsUp(venue="polymarket", merge_from=FROM))

    def have(self, pairs, market=0):
        """Pairs that a split made."""
        self.later(0.001, e.Merged(market=market, pairs=-round(pairs * PAIR), exch_ns=1))

    def later(self, seconds, *events):
        self.now += seconds
        return self.at(self.now, *events)

    def look(self):
        """What is wanted at the next look."""
        return wanted(self.later(LOOK))

    def ready(self, command, name="7:1", size=None):
        """The adapter names an operation; what follows."""
        step = self.later(
            0.01,
            e.OperationPrepared(
                market=command.market, operation=command.operation, size=size or command.size, name=name
            ),
        )
        return [x for x in step.commands if isinstance(x, c.Operate)]

    def begin(self, name="7:1"):
        """An operation under way."""
        (command,) = self.look()
        (operate,) = self.ready(command, name)
        return operate

    def done(self, operate):
        """It is confirmed."""
        moved = {"merge": operate.size, "split": -operate.size, "redeem": 0}[operate.operation]
        now_ns = START + round(self.now * 1e9)
        merged = e.Merged(market=operate.market, pairs=moved, exch_ns=now_ns, merge_id=operate.name)
        ended = e.OperationEnded(
            market=operate.market, operation=operate.operation, name=operate.name, done=True
        )
        return self.later(0.01, *((merged,) if moved else ()), ended)

    def fail(self, command, name="", why="no"):
        return self.later(
            0.01,
            e.OperationEnded(market=command.market, operation=command.operation, name=name, why=why),
        )


def wanted(step):
    return [x for x in step.commands if isinstance(x, c.PrepareOperation)]


# --- when one is wanted ----------------------------------------------------------------------------------


def test_enough_pairs_are_prepared_then_journaled_then_cash():
    desk = Wallet()
    desk.have(9.99)
    assert desk.look() == []
    desk.have(0.01)
    cash = desk.engine.account.cash_micros
    (command,) = desk.look()
    assert command == c.PrepareOperation(market=0, operation="merge", size=10 * PAIR)
    assert desk.look() == []  # it was asked already
    (operate,) = desk.ready(command)
    assert operate == c.Operate(market=0, operation="merge", size=10 * PAIR, name="7:1")
    assert desk.engine.account.operations.of("polymarket").name == "7:1"
    assert desk.look() == [] and desk.engine.account.cash_micros == cash
    desk.done(operate)
    assert desk.engine.account.cash_micros == cash + 10 * PAIR
    assert desk.engine.account.position(0).yes_contracts == 0
    assert desk.engine.brain.holding(0) == (0, 0)
    assert desk.engine.account.operations.of("polymarket") is None and desk.look() == []


def test_no_adapter_no_operation():
    desk = Desk(apart(), risk=RiskConfig(reconcile_interval_seconds=3600))
    desk.at(1, e.Merged(market=0, pairs=-100 * PAIR, exch_ns=1))
    for seconds in range(20, 100, 20):
        assert wanted(desk.at(seconds)) == []


def test_the_worthiest_comes_first_and_merges_before_payouts():
    desk = Wallet(apart(0), apart(1), apart(2))
    for market, pairs in ((0, 20), (1, 30), (2, 90)):
        desk.have(pairs, market)
    desk.later(0.01, e.Settled(market=2, value_micros=1_000_000))
    first = desk.begin()
    assert (first.market, first.operation) == (1, "merge")
    desk.done(first)
    second = desk.begin("8:1")
    assert (second.market, second.operation) == (0, "merge")
    desk.done(second)
    third = desk.begin("9:1")
    assert (third.market, third.operation, third.size) == (2, "redeem", 180 * PAIR)
    cash = desk.engine.account.cash_micros
    desk.done(third)
    assert desk.engine.account.cash_micros == cash  # it was booked when the market paid
    assert desk.look() == []
    again = Account.decode(desk.engine.account.encode(), desk.engine.account.terms)
    assert again.operations.redeemed == {2: None} and again.encode() == desk.engine.account.encode()


@pytest.mark.parametrize(("value", "pays"), [(1_000_000, True), (0, True), (500_000, True)])
def test_a_market_that_paid_nothing_for_what_is_held_is_left_alone(value, pays):
    desk = Wallet(apart(0), apart(1))
    desk.have(20)
    desk.later(0.01, e.Settled(market=0, value_micros=value))
    assert [x.operation for x in desk.look()] == ["redeem"]
    desk.later(0.01, e.Settled(market=1, value_micros=value))
    assert desk.look() == []


def test_sales_and_fills_that_may_fail_are_no_pairs():
    desk = Wallet()
    account = desk.engine.account
    desk.have(50)
    assert mergeable(account, 0) == 50 * PAIR
    common = {"market": 0, "price": 5_000, "tif": d.POST_ONLY, "sell": True}
    for order_id, side, size in ((91, d.ASK, 20), (92, d.BID, 5), (93, d.ASK, 7)):
        account.commanded(
            desk.engine.now_ns, c.Place(order_id=order_id, side=side, size=size * PAIR, **common)
        )
    assert mergeable(account, 0) == 23 * PAIR
    buys = {"market": 0, "side": d.ASK, "price": 5_000, "exch_ns": 5, "order_id": 0}
    account.apply(desk.engine.now_ns, e.Filled(trade_id="t", size=40 * PAIR, final=False, **buys))
    assert mergeable(account, 0) == 23 * PAIR
    account.apply(desk.engine.now_ns, e.FillFinal(market=0, trade_id="t"))
    assert mergeable(account, 0) == 23 * PAIR  # YES is the scarce one
    sells = {**buys, "sell": True, "side": d.ASK}
    account.apply(desk.engine.now_ns, e.Filled(trade_id="s", size=9 * PAIR, final=False, **sells))
    assert mergeable(account, 0) == 14 * PAIR  # what may be sold is no pair either


@pytest.mark.parametrize(
    "event",
    [
        e.Halt(command_id="h", who="me", reason="x"),
        e.Stopping(why="over"),
        e.FeedDown(venue="polymarket", why="x"),
        e.LogFailed(why="x"),
    ],
    ids=["halted", "stopping", "feed down", "journal failed"],
)
def test_nothing_is_begun_while_something_is_wrong(event):
    desk = Wallet()
    desk.have(50)
    (command,) = desk.look()
    desk.later(0.01, event)
    assert desk.ready(command) == []  # what was asked for before does not begin either
    assert desk.look() == []


def test_an_answer_that_nobody_asked_for_begins_nothing():
    desk = Wallet()
    desk.have(50)
    assert desk.ready(c.PrepareOperation(market=0, operation="merge", size=PAIR)) == []
    operate = desk.begin()
    assert desk.ready(operate, "another") == []


def test_an_adapter_that_never_answers_is_asked_again():
    desk = Wallet()
    desk.have(50)
    assert len(desk.look()) == 1
    asked = [len(desk.look()) for _ in range(6)]
    assert asked.index(1) + 1 == PREPARE_NS // LOOK_NS and sum(asked) == 1


def test_after_a_failure_it_waits_ever_longer_and_says_so():
    desk = Wallet()
    desk.have(50)
    pauses, last = [], None
    for _ in range(14):
        while not (found := desk.look()):
            pass
        if last is not None:
            pauses.append(desk.now - last)
        desk.ready(found[0])
        desk.fail(found[0], "7:1", "execution reverted")
        last = desk.now
    pauses = [round(pause, 3) for pause in pauses]
    assert pauses == sorted(pauses)
    assert PAUSE <= pauses[0] <= PAUSE + LOOK and 2 * PAUSE <= pauses[1] <= 2 * PAUSE + LOOK
    assert MOST_PAUSE_NS / 1e9 <= pauses[-1] <= MOST_PAUSE_NS / 1e9 + LOOK
    assert "operation_failed" in desk.alert_names
    assert any("execution reverted" in alert.text for alert in desk.alerts)
    assert desk.engine.account.position(0).yes_contracts == 50 * PAIR


def test_what_could_not_begin_is_no_alarm():
    desk = Wallet()
    desk.have(50)
    desk.fail(desk.look()[0], why="there is nothing to do")
    assert desk.look() == [] and "operation_failed" not in desk.alert_names


# --- the fold --------------------------------------------------------------------------------------------


def test_two_at_once_are_never_journaled():
    desk = Wallet(apart(0), apart(1))
    desk.have(50)
    desk.begin()
    with pytest.raises(WorkError, match="before 7:1 had ended"):
        desk.engine.account.commanded(0, c.Operate(market=1, operation="merge", size=1, name="8:1"))


def test_the_bytes_without_operations_are_those_of_before():
    desk = Wallet()
    desk.have(50)
    plain = desk.engine.account.encode()
    assert len(msgspec.msgpack.decode(plain)) == len(AccountState.__struct_fields__)
    operate = desk.begin()
    assert len(msgspec.msgpack.decode(desk.engine.account.encode())) == len(WithOperations.__struct_fields__)
    desk.later(0.01, e.OperationTaken(market=0, name="7:1", venue_id="abc"))
    blob = desk.engine.account.encode()
    again = Account.decode(blob, desk.engine.account.terms)
    assert again.encode() == blob and again.operations.of("polymarket").venue_id == "abc"
    desk.done(operate)
    assert len(msgspec.msgpack.decode(desk.engine.account.encode())) == len(AccountState.__struct_fields__)


def reads(desk, yes, no, cash):
    now_ns = desk.engine.now_ns
    asked = {"venue": "polymarket", "asked_ns": now_ns - 1, "as_of_ns": now_ns}
    held = e.VenuePosition(market=0, yes_contracts=yes, no_contracts=no)
    return (
        e.FillsRead(**asked, since_ns=0, fills=()),
        e.PositionsRead(**asked, positions=(held,) if yes or no else ()),
        e.BalanceRead(**asked, cash_micros=cash),
    )


@pytest.mark.parametrize("happened", [False, True])
def test_while_one_is_under_way_either_reading_agrees(happened):
    desk = Wallet()
    desk.have(50)
    operate = desk.begin()
    cash, left = desk.engine.account.cash_micros, 0 if happened else 50 * PAIR
    there = cash + (50 * PAIR if happened else 0)
    for _ in range(4):
        desk.later(10)
        desk.later(0.001, *reads(desk, left, left, there))
    assert not {"anomaly_position_drift", "anomaly_cash_drift"} & set(desk.alert_names)
    assert desk.engine.account.cash_micros == cash  # nothing is booked before its end
    if happened:
        desk.done(operate)
        assert desk.engine.account.cash_micros == there
    else:
        desk.fail(operate, "7:1")
        assert desk.engine.account.position(0).yes_contracts == 50 * PAIR


def test_anything_else_is_still_seen():
    desk = Wallet()
    desk.have(50)
    desk.begin()
    for _ in range(4):
        desk.later(10)
        desk.later(0.001, *reads(desk, 20 * PAIR, PAIR, desk.engine.account.cash_micros - 3 * PAIR))
    assert {"anomaly_position_drift", "anomaly_cash_drift"} <= set(desk.alert_names)


# --- a restart ---------------------------------------------------------------------------------------------


def restarted(desk):
    """Another process that has folded what this one did, after one snapshot or from the start."""
    folded = desk.new_engine()
    for step in desk.steps:
        if not step.is_empty:
            folded.fold(step)
    loaded = desk.new_engine()
    loaded.load(desk.engine.save())
    assert folded.save() == loaded.save() == desk.engine.save()
    assert folded.account.encode() == desk.engine.account.encode()
    return folded


@pytest.mark.parametrize("taken", [False, True])
def test_a_restart_asks_what_became_of_it_before_another_begins(taken):
    desk = Wallet()
    desk.have(50)
    operate = desk.begin()
    if taken:
        desk.later(0.01, e.OperationTaken(market=0, name="7:1", venue_id="abc"))
    desk.now += 5
    desk.restart(restarted(desk), desk.now)
    desk.now += 0.01
    desk.agree(desk.now)
    assert desk.look() == []  # nobody carries anything out yet
    step = desk.later(0.01, e.OperationsUp(venue="polymarket", merge_from=FROM))
    assert [x for x in step.commands if isinstance(x, c.FollowOperation)] == [
        c.FollowOperation(
            market=0, operation="merge", size=50 * PAIR, name="7:1", venue_id="abc" if taken else ""
        )
    ]
    for _ in range(8):
        assert desk.look() == []
    cash = desk.engine.account.cash_micros
    desk.done(operate)
    desk.done(operate)  # told once more
    assert desk.engine.account.cash_micros == cash + 50 * PAIR and desk.look() == []
    assert len(desk.sent(c.Operate)) == 1


def test_a_restart_after_its_end_does_not_ask():
    desk = Wallet()
    desk.have(50)
    desk.done(desk.begin())
    desk.restart(restarted(desk), desk.now + 5)
    desk.now += 5.01
    step = desk.later(0.01, e.OperationsUp(venue="polymarket", merge_from=FROM))
    assert not [x for x in step.commands if isinstance(x, c.FollowOperation)]


# --- pairs that a person wants ---------------------------------------------------------------------------


def keep(desk, pairs, market=0):
    step = desk.later(0.01, e.KeepPairs(command_id="k", who="me", market=market, pairs=round(pairs * PAIR)))
    (answer,) = [x for x in step.commands if isinstance(x, c.Answer)]
    return answer


def test_what_is_missing_is_split_and_what_is_beyond_is_merged():
    desk = Wallet()
    assert keep(desk, 40).ok
    (command,) = desk.look()
    assert (command.operation, command.size) == ("split", 40 * PAIR)
    cash = desk.engine.account.cash_micros
    (operate,) = desk.ready(command)
    assert desk.engine.account.cash_micros == cash
    desk.done(operate)
    assert desk.engine.account.cash_micros == cash - 40 * PAIR
    assert desk.engine.account.position(0).no_contracts == 40 * PAIR
    assert desk.look() == []  # they are kept
    desk.have(9)
    assert desk.look() == []  # not worth it
    desk.have(1)
    assert [(x.operation, x.size) for x in desk.look()] == [("merge", 10 * PAIR)]


def test_kept_pairs_outlive_the_process_and_go_when_told():
    desk = Wallet()
    keep(desk, 40)
    desk.done(desk.begin())
    desk.restart(restarted(desk), desk.now + 5)
    desk.now += 5.01
    desk.agree(desk.now)
    desk.later(0.01, e.OperationsUp(venue="polymarket", merge_from=FROM))
    assert desk.look() == []
    assert keep(desk, 0).ok
    assert [(x.operation, x.size) for x in desk.look()] == [("merge", 40 * PAIR)]


def test_pairs_that_cost_less_than_a_dollar_or_more_than_there_is_are_not_split():
    desk = Wallet(cash_micros=100 * PAIR)
    keep(desk, 101)
    assert desk.look() == []
    keep(desk, 100)
    assert len(desk.look()) == 1
    assert buying_micros(0, 4_000, 5_000) == 1_100_000  # a spread of ten cents above a dollar
    assert buying_micros(0, 5_100, 5_000) == 990_000  # a crossed book
    assert buying_micros(40_000, 5_100, 5_000) == 990_000 + 10_000 + 9_996
    assert buying_micros(0, -1, 5_000) == -1 == buying_micros(0, 5_000, -1)


def test_a_market_whose_pairs_nobody_can_split_is_refused():
    desk = Wallet(apart(0), listing(1))
    assert not keep(desk, 40, market=1).ok and not keep(desk, 40, market=7).ok
    assert not keep(desk, -1).ok
    alone = Desk(apart(), risk=RiskConfig(reconcile_interval_seconds=3600))
    alone.now, alone.later = 1, lambda s, *events: alone.at(1 + s, *events)
    answer = keep(alone, 40)
    assert answer.ok and answer.text.endswith("so it waits")
    assert desk.engine.account.operations.kept == {} and alone.engine.account.operations.kept == {
        0: 40 * PAIR
    }


def test_no_pairs_are_split_in_a_market_that_has_paid():
    desk = Wallet()
    keep(desk, 40)
    desk.later(0.01, e.Settled(market=0, value_micros=0))
    assert desk.look() == []


# --- conversion --------------------------------------------------------------------------------------------


def test_a_conversion_is_proposed_and_never_done():
    event = {"event_id": "vote", "exclusive": True}
    desk = Wallet(*(apart(m, **event) for m in range(4)), apart(4))
    account = desk.engine.account

    def buy_no(market, contracts, name):
        fill = {"market": market, "side": d.ASK, "price": 5_000, "order_id": 0}
        desk.later(0.01, e.Filled(trade_id=name, size=contracts * PAIR, exch_ns=desk.engine.now_ns, **fill))

    buy_no(0, 30, "a")
    buy_no(4, 90, "b")  # of no such event
    desk.look()
    assert "conversion_possible" not in desk.alert_names
    buy_no(2, 12, "c")
    buy_no(3, 9, "d")
    desk.look()
    (alert,) = [x for x in desk.alerts if x.name == "conversion_possible"]
    # 12 of two outcomes free 12 dollars, 9 of three free 18
    assert alert.market == 0 and alert.text.startswith("9 NO of each of T0, T2, T3") and "$18" in alert.text
    desk.look()
    assert desk.alert_names.count("conversion_possible") == 1
    assert not desk.sent(c.Operate) and not desk.sent(c.PrepareOperation)
    desk.later(0.01, e.Settled(market=3, value_micros=0), e.Settled(market=2, value_micros=0))
    desk.look()
    assert [x.on for x in desk.alerts if x.name == "conversion_possible"] == [True, False]
    assert account.position(0).no_contracts == 30 * PAIR
