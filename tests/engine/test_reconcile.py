"""Reads of a venue against the account: what they explain and contradict, when they are asked again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from account_desk import SECOND, START, Desk, listed

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK
from pr3dict.engine.account import NEVER_NS

CASH = 1_000_000_000
ALL = [c.ReadOrders, c.ReadFills, c.ReadPositions, c.ReadBalance]


@pytest.fixture
def desk():
    made = Desk(reconcile_interval_ns=30 * SECOND)
    yield made
    made.check_fold()


def agree(desk: Desk, **kw: int) -> None:
    """The venue confirms everything that is booked."""
    desk.read_orders(
        *(desk.row(o.order_id, o.venue_id, remaining=o.remaining) for o in desk.account.open_orders(0)), **kw
    )
    desk.read_fills(*booked(desk), **kw)
    held = desk.account.position(0)
    row = e.VenuePosition(market=0, yes_contracts=held.yes_contracts, no_contracts=held.no_contracts)
    desk.read_positions(row, **kw)
    desk.read_balance(desk.account.cash_micros, **kw)


def booked(desk: Desk) -> list:
    return list(desk.account.ledgers[0].fills.values())


def kinds(commands: list) -> list[type]:
    return [type(x) for x in commands]


def test_at_the_start_everything_is_read_and_reconciled_once_all_four_agree(desk):
    assert kinds(desk.wait(0)) == ALL
    assert desk.sent[1] == c.ReadFills(venue="kalshi", since_ns=START - 60 * SECOND)
    desk.wait(0.1)
    desk.read_orders()
    desk.read_fills()
    desk.read_positions()
    assert not desk.account.is_reconciled("kalshi")
    desk.read_balance(CASH)
    assert desk.account.is_reconciled("kalshi") and not desk.account.is_reconciled("polymarket")
    assert desk.wait(29.9) == []
    assert kinds(desk.wait(0.2)) == ALL


def test_a_read_that_was_asked_before_the_connection_confirms_nothing(desk):
    agree(desk)
    desk.wait(10)
    assert desk.account.is_reconciled("kalshi")
    desk.do(e.FeedDown(venue="kalshi", why="reset"))
    assert not desk.account.is_reconciled("kalshi")
    agree(desk)
    assert not desk.account.is_reconciled("kalshi")
    desk.wait(5)
    desk.do(e.FeedUp(venue="kalshi"))
    assert kinds(desk.wait(0)) == ALL
    agree(desk, as_of_ns=desk.now - SECOND)
    agree(desk, asked_ns=desk.now - SECOND)
    assert not desk.account.is_reconciled("kalshi")
    assert set(kinds(desk.wait(3))) == set(ALL)  # asked again soon, not an interval later
    agree(desk)
    assert desk.account.is_reconciled("kalshi")


@pytest.mark.parametrize(
    "event", [e.ClockJumped(gap_ns=9), e.Started(version="2", account="paper", settings="{}", cash_micros=0)]
)
def test_after_a_sleep_or_a_restart_everything_is_confirmed_again(desk, event):
    agree(desk)
    desk.wait(1)
    desk.do(event)
    assert not desk.account.is_reconciled("kalshi") and kinds(desk.wait(0)) == ALL
    agree(desk)
    assert desk.account.is_reconciled("kalshi")


def test_an_order_in_doubt_from_before_the_connection_holds_back(desk):
    desk.place(live=False)
    desk.do(e.AnswerLost(order_id=1, request="place", why="reset"))
    desk.wait(1)
    desk.do(e.FeedUp(venue="kalshi"))
    desk.read_orders()
    desk.read_fills()
    desk.read_positions()
    desk.read_balance(CASH)
    assert not desk.account.is_reconciled("kalshi")
    desk.do(e.Refused(order_id=1, why="min_size"))
    desk.read_orders()
    assert desk.account.is_reconciled("kalshi")


def test_an_order_that_is_closing_holds_back_even_if_the_venue_lists_it(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=-1))
    desk.wait(0.1)
    desk.do(e.FeedUp(venue="kalshi"))
    agree(desk, as_of_ns=desk.now)
    assert desk.state() == "cancelled" or not desk.account.is_reconciled("kalshi")
    desk.place(2)
    desk.do(e.Closed(order_id=2, why="none", filled=3_000_000))
    desk.wait(0.1)
    desk.do(e.FeedUp(venue="kalshi"))
    agree(desk)
    assert desk.state(2) == "closing" and not desk.account.is_reconciled("kalshi")
    desk.fill(2, size=3, trade_id="x")
    assert desk.account.is_reconciled("kalshi")


def test_reads_without_an_answer_are_repeated_ever_more_slowly(desk):
    desk.wait(200)
    times = [(now - START) // SECOND for now, x in desk.log if isinstance(x, c.ReadBalance)]
    assert times[:6] == [0, 6, 13, 22, 35, 56]
    desk.do(e.ReadFailed(venue="kalshi", read="balance", why="502"))
    assert c.ReadBalance(venue="kalshi") in desk.wait(31)
    desk.do(e.ReadFailed(venue="kalshi", read="book", why="none of ours"))


def test_a_venue_that_reopens_is_asked_for_its_orders(desk):
    desk.wait(0)
    agree(desk)
    desk.wait(1)
    desk.do(e.VenueStatus(venue="kalshi", status="paused"))
    assert desk.wait(0) == []
    desk.do(e.VenueStatus(venue="kalshi", status="open"))
    assert kinds(desk.wait(0)) == [c.ReadOrders]


def test_without_an_interval_nothing_is_compared_and_nothing_waits_for_it():
    desk = Desk()
    assert desk.account.next_due_ns == NEVER_NS and desk.account.is_reconciled("kalshi")
    desk.do(e.FeedDown(venue="kalshi", why="reset"))
    assert desk.account.is_reconciled("kalshi")
    desk.check_fold()


# --- fills ------------------------------------------------------------------------------------------


def test_fills_that_a_stream_lost_are_booked_from_the_read(desk):
    desk.place()
    missed = e.Filled(trade_id="x", order_id=1, market=0, side=0, price=4_500, size=4_000_000, exch_ns=START)
    [report] = desk.read_fills(missed).reports
    assert report.size == 4_000_000 and desk.held == (4, 0) and desk.codes() == []


def test_fills_are_read_again_with_an_overlap_and_never_with_a_gap(desk):
    desk.wait(10)
    desk.read_fills(since_ns=desk.now - SECOND)  # leaves a gap: proves nothing about what lies before
    assert [x.since_ns for x in desk.wait(60) if isinstance(x, c.ReadFills)][-1] == START - 60 * SECOND
    desk.read_fills()
    known = desk.now
    assert [x.since_ns for x in desk.wait(60) if isinstance(x, c.ReadFills)][-1] == known - 60 * SECOND


def test_a_booked_fill_that_the_venue_does_not_list_twice_is_a_ghost(desk):
    desk.place()
    desk.fill(size=4, trade_id="ghost")
    desk.wait(1)
    desk.read_fills()  # too young to be listed
    desk.wait(100)
    desk.read_fills()
    assert desk.codes() == []
    desk.wait(100)
    assert [x.since_ns for x in desk.sent if isinstance(x, c.ReadFills)][-1] < START  # asked for once more
    desk.read_fills()
    assert desk.codes() == ["ghost_fill"] and not desk.account.is_reconciled("kalshi")
    desk.wait(100)
    desk.read_fills()
    assert desk.codes() == ["ghost_fill"]  # once an episode
    desk.do(e.FillVoided(market=0, trade_id="ghost", why="never settled"))
    assert desk.codes()[-1] == "final_conflict"  # it was booked as final


# --- orders -----------------------------------------------------------------------------------------


def test_orders_of_a_person_are_counted_and_never_fought(desk):
    theirs = desk.row(0, "hand-made")
    desk.wait(1)
    assert desk.read_orders(theirs).anomalies == ()
    desk.wait(1)
    [anomaly] = desk.read_orders(theirs).anomalies
    assert anomaly.code == "foreign_order" and anomaly.market == 0
    desk.wait(1)
    assert desk.read_orders(theirs).anomalies == ()
    assert not any(isinstance(x, c.Cancel) for x in desk.sent)
    agree(desk)
    assert desk.account.is_reconciled("kalshi")  # theirs are no open question of ours


def test_an_order_of_our_past_that_still_stands_is_cancelled_by_its_venue_id(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    ghost = desk.row(1, "v1")
    assert desk.read_orders(ghost).commands == ()  # the list is no younger than its end
    desk.wait(3)
    assert desk.read_orders(ghost).commands == ()
    desk.wait(1)
    effects = desk.read_orders(ghost)
    assert effects.commands == (c.Cancel(order_id=1, market=0, venue_id="v1"),)
    assert [a.code for a in effects.anomalies] == ["foreign_order"]
    assert desk.state() == "cancelled"
    desk.wait(1)
    assert len(desk.read_orders(ghost).commands) == 1  # and again while it stands
    assert desk.read_orders().commands == ()


def test_an_id_that_was_never_ours_moves_our_counter_on(desk):
    desk.do(e.Accepted(order_id=41, venue_id="?"))
    assert desk.account.next_order_id == 42 and desk.codes() == ["foreign_order"]
    desk.read_orders(desk.row(50))
    assert desk.account.next_order_id == 51


def test_a_list_that_shows_more_traded_makes_us_read_the_fills(desk):
    desk.place()
    agree(desk)
    desk.wait(1)
    desk.read_orders(desk.row(1, remaining=7_000_000, filled=3_000_000))
    assert desk.exposed() == 10  # nothing is adopted from a list
    assert kinds(desk.wait(1)) == [c.ReadOrder, c.ReadFills]
    desk.read_fills(
        e.Filled(trade_id="x", order_id=1, market=0, side=0, price=4_500, size=3_000_000, exch_ns=START)
    )
    assert desk.exposed() == 7


def test_a_closing_order_that_is_listed_again_later_is_cancelled_again(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=-1))
    desk.wait(1)
    desk.read_orders(desk.row(1))
    assert not any(isinstance(x, c.Cancel) for x in desk.wait(1))  # lists lag
    desk.wait(5)
    desk.read_orders(desk.row(1))
    assert c.Cancel(order_id=1, market=0, venue_id="v1") in desk.wait(40)
    assert desk.state() == "closing" and desk.exposed() == 10


# --- positions and cash -------------------------------------------------------------------------------


def test_a_position_that_differs_twice_is_a_drift_and_its_end_reconciles(desk):
    agree(desk)
    off = e.VenuePosition(market=0, yes_contracts=5, no_contracts=0)
    desk.wait(10)
    desk.read_positions(off)
    assert desk.codes() == [] and desk.account.is_reconciled("kalshi")
    assert kinds(desk.wait(0)) == [c.ReadFills]  # the likeliest explanation
    desk.wait(10)
    desk.read_positions(off)
    assert desk.codes() == []  # it has not been read yet
    desk.read_fills()
    [anomaly] = desk.read_positions(off).anomalies
    assert (anomaly.code, anomaly.market) == ("position_drift", 0)
    assert not desk.account.is_reconciled("kalshi")
    desk.wait(10)
    desk.read_positions(off)
    assert desk.codes() == ["position_drift"]
    desk.read_positions()
    assert desk.account.is_reconciled("kalshi")


def test_two_different_differences_are_no_drift_yet(desk):
    desk.wait(10)
    for yes in (5, 6, 5):
        desk.read_positions(e.VenuePosition(market=0, yes_contracts=yes, no_contracts=0))
        desk.wait(3)
    assert desk.codes() == []


def test_a_position_in_a_market_that_was_never_listed_is_a_drift(desk):
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_positions(e.VenuePosition(market=9, yes_contracts=5, no_contracts=0))
    assert desk.codes() == ["position_drift"]


def test_a_difference_that_the_fills_explain_is_no_drift(desk):
    desk.place()
    desk.fill(size=4, trade_id="x", final=False)
    desk.fill(size=2, trade_id="y", final=False)
    one_is_void = e.VenuePosition(market=0, yes_contracts=2_000_000, no_contracts=0)
    desk.wait(10)
    for _ in range(3):
        desk.read_positions(one_is_void)
        desk.wait(1)
    desk.do(e.FillVoided(market=0, trade_id="x", why="FAILED"))
    desk.read_fills()
    desk.read_positions(one_is_void)
    assert desk.codes() == [] and desk.held == (2, 0)


def test_a_position_read_says_nothing_about_younger_fills(desk):
    desk.place()
    desk.fill(size=4)
    for _ in range(3):
        desk.read_positions()  # the fill is not yet in the venue's index
    assert desk.codes() == [] and not desk.account.is_reconciled("kalshi")


@pytest.mark.parametrize("yes", [4_000_000, 1_000_000])
def test_provisional_fills_may_or_may_not_be_in_a_position(desk, yes):
    desk.place()
    desk.fill(size=1)
    desk.fill(size=3, final=False)
    for _ in range(2):
        desk.wait(10)
        desk.read_positions(e.VenuePosition(market=0, yes_contracts=yes, no_contracts=0))
    assert desk.codes() == []


def test_cash_that_differs_twice_is_a_drift(desk):
    agree(desk)
    desk.place()
    desk.fill(size=4, fee_micros=3)
    desk.read_balance(CASH)  # the trade is younger than what the venue's index knows
    desk.wait(10)
    desk.read_balance(desk.account.cash_micros + 1)
    assert desk.codes() == []
    desk.wait(10)
    desk.read_fills(*booked(desk))
    [anomaly] = desk.read_balance(desk.account.cash_micros + 1).anomalies
    assert anomaly.code == "cash_drift" and not desk.account.is_reconciled("kalshi")
    desk.read_balance(desk.account.cash_micros)
    desk.wait(31)
    agree(desk)
    assert desk.account.is_reconciled("kalshi") and desk.codes() == ["cash_drift"]


def test_fault_58_money_that_nobody_told_us_of_is_booked_once_everything_else_agrees(desk):
    agree(desk)
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_positions(e.VenuePosition(market=0, yes_contracts=1, no_contracts=0))
        desk.read_balance(CASH - 7)
    assert desk.codes() == ["position_drift", "cash_drift"]
    assert desk.account.due(desk.now) == ()  # not while contracts are in question as well
    desk.read_positions()
    moved = e.Transferred(venue="kalshi", amount_micros=-7, why="unexplained")
    assert desk.account.due(desk.now) == (moved,)
    desk.wait(0)
    assert desk.account.cash_micros == CASH - 7 and desk.account.due(desk.now) == ()
    desk.wait(5)
    desk.read_fills()
    desk.read_balance(CASH - 7)
    assert desk.account.is_reconciled("kalshi")


def test_positions_that_agreed_before_the_money_moved_explain_nothing(desk):
    """An unheard payout moves cash and position: positions are read again before anything is booked."""
    agree(desk)
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_balance(CASH + 7)
    assert desk.account.due(desk.now) == () and c.ReadPositions(venue="kalshi") in desk.wait(1)
    desk.read_positions()
    assert desk.account.due(desk.now) == (e.Transferred(venue="kalshi", amount_micros=7, why="unexplained"),)


def test_money_that_an_amended_payout_may_explain_waits_for_news_of_the_market(desk):
    """Its contracts are gone already, so no position can tell; adapters look at their markets each minute."""
    agree(desk)
    desk.place()
    desk.fill(size=4)
    desk.do(e.Settled(market=0, value_micros=0))
    paid = desk.account.cash_micros
    for _ in range(6):
        desk.wait(10)
        desk.read_fills(*booked(desk))
        desk.read_positions()
        desk.read_balance(paid + 4_000_000)
        assert desk.account.due(desk.now) == () and desk.account.cash_micros == paid
    desk.do(e.Settled(market=0, value_micros=1_000_000))
    desk.read_balance(paid + 4_000_000)
    assert desk.account.cash_micros == paid + 4_000_000 and desk.account.due(desk.now) == ()


def test_money_beyond_what_payouts_explain_waits_no_longer(desk):
    agree(desk)
    desk.place()
    desk.fill(size=4)
    desk.do(e.Settled(market=0, value_micros=0))
    paid = desk.account.cash_micros
    for _ in range(2):
        desk.wait(10)
        desk.read_fills(*booked(desk))
        desk.read_positions()
        desk.read_balance(paid + 4_000_001)
    desk.wait(0)
    assert desk.account.cash_micros == paid + 4_000_001


def test_a_clock_that_jumps_while_the_streams_are_down_connects_nothing(desk):
    """What the venue wants to say of the money waits behind the broken stream: nothing is booked before."""
    agree(desk)
    desk.do(e.FeedDown(venue="kalshi", why="reset"))
    desk.wait(1)
    desk.do(e.ClockJumped(gap_ns=SECOND))
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_positions()
        desk.read_balance(CASH - 7)
    assert desk.account.due(desk.now) == () and desk.account.cash_micros == CASH
    assert not desk.account.is_reconciled("kalshi")
    desk.do(e.FeedUp(venue="kalshi"))
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_positions()
        desk.read_balance(CASH - 7)
    assert desk.account.cash_micros == CASH - 7


@pytest.mark.parametrize("pairs", [2, -3])
def test_pairs_that_somebody_merged_or_split_are_booked_with_an_alarm(pairs):
    desk = Desk(apart=True, reconcile_interval_ns=30 * SECOND)
    desk.place(1)
    desk.place(2, side=ASK)
    desk.fill(1, size=4)
    desk.fill(2, size=5, side=ASK)
    cash = desk.account.cash_micros
    left = e.VenuePosition(
        market=2, yes_contracts=(4 - pairs) * 1_000_000, no_contracts=(5 - pairs) * 1_000_000
    )
    for _ in range(2):
        assert desk.held == (4, 5)
        desk.wait(10)
        desk.read_fills(*desk.account.ledgers[2].fills.values())
        desk.read_positions(left)
    assert desk.codes() == ["position_drift"]
    desk.wait(0)
    assert desk.held == (4 - pairs, 5 - pairs)
    assert desk.account.cash_micros == cash + pairs * 1_000_000
    assert desk.read_positions(left).anomalies == () and desk.account.due(desk.now) == ()
    desk.check_fold()


def test_a_venue_may_state_its_balance_coarsely():
    desk = Desk(reconcile_interval_ns=30 * SECOND, cash_tolerance_micros=9_999)
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_balance(CASH - 9_999)
    assert desk.codes() == []
    for _ in range(2):
        desk.wait(10)
        desk.read_fills()
        desk.read_balance(CASH - 10_000)
    assert desk.codes() == ["cash_drift"]


def test_a_second_venue_brings_its_own_share_of_the_cash(desk):
    desk.do(listed(7, venue="polymarket", nets=False))
    desk.do(
        e.Filled(trade_id="x", order_id=0, market=7, side=ASK, price=9_000, size=10_000_000, exch_ns=START)
    )
    for _ in range(3):
        desk.wait(10)
        desk.do(e.BalanceRead(venue="polymarket", asked_ns=desk.now, as_of_ns=desk.now, cash_micros=77))
        desk.read_balance(CASH)
    assert desk.codes() == ["foreign_fill"]
    for _ in range(2):
        desk.wait(10)
        asked = {"venue": "polymarket", "asked_ns": desk.now, "as_of_ns": desk.now}
        desk.do(e.FillsRead(**asked, since_ns=START, fills=()))
        desk.do(e.BalanceRead(**asked, cash_micros=78))
    assert desk.codes() == ["foreign_fill", "cash_drift"]


def test_reads_of_a_venue_without_markets_change_nothing(desk):
    before = desk.account.encode()
    desk.venue = "synthetic"
    agree(desk)
    desk.do(e.FeedUp(venue="synthetic"))
    desk.do(e.FeedDown(venue="synthetic", why=""))
    desk.do(e.ReadFailed(venue="synthetic", read="orders", why=""))
    desk.command(c.ReadOrders(venue="synthetic"))
    assert desk.account.encode() == before


def test_a_late_notice_of_a_settlement_is_not_paid_twice():
    """The venue's cash shows the payout in two reads before the notice comes: nothing is left to explain."""
    desk = Desk(reconcile_interval_ns=30 * SECOND)
    desk.place()
    desk.fill(1, 10)
    desk.do(e.Closed(order_id=1, why="filled", filled=10_000_000))
    fill = e.Filled(trade_id="t1", order_id=1, market=0, side=0, price=4_500, size=10_000_000, exch_ns=START)
    before = desk.account.cash_micros
    for _ in range(3):
        desk.now += 5 * SECOND
        desk.read_fills(fill)
        desk.read_positions()
        desk.read_balance(before + 10_000_000)
    desk.now += SECOND
    desk.do(e.Settled(market=0, value_micros=1_000_000))
    desk.read_fills(fill)
    desk.read_positions()
    assert desk.account.due(desk.now) == ()
    assert desk.account.cash_micros == before + 10_000_000
