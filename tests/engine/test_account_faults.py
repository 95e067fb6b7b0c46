"""The faults of an order's and a fill's life, by their number in the catalogue, one test each or more.

Every test ends by folding its log again, from the start and from snapshots.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from account_desk import SECOND, START, Desk

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK
from pr3dict.kernels import dtypes as d


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.check_fold()


@pytest.fixture
def apart():
    """A venue that keeps YES and NO apart."""
    made = Desk(apart=True)
    yield made
    made.check_fold()


def sent(desk: Desk, **kw: object) -> None:
    desk.place(live=False, **kw)
    desk.do(e.Sent(order_id=1))


# --- A. submit and cancel ---------------------------------------------------------------------------


def test_fault_01_a_lost_order_is_asked_for_until_its_expiry_disproves_it(desk):
    sent(desk, expiry_ns=START + 20 * SECOND)
    asked = [x for x in desk.wait(19) if isinstance(x, c.ReadOrder)]
    assert len(asked) >= 3 and desk.state() == "unknown" and desk.exposed() == 10
    desk.read_order(status="not_found")  # the order may still be on its way
    desk.wait(2)
    desk.read_order(status="not_found")
    assert desk.exposed() == 10 and desk.account.due(desk.now) == ()
    desk.wait(1.5)  # past expiry and skew
    desk.read_order(status="not_found")
    desk.serve()
    assert desk.exposed() == 10  # it may have lived, traded whole and died: its fills are not read yet
    effects = desk.read_fills()
    assert effects.reports == ()
    assert desk.account.due(desk.now) == (e.Presumed(order_id=1, filled=0),)
    [report] = desk.do(e.Presumed(order_id=1, filled=0)).reports
    assert (report.kind, report.why) == (d.REJECT, d.WHY_EXPIRED)
    assert desk.state() == "rejected" and desk.exposed() == 0 and desk.codes() == []


def test_fault_01_without_an_expiry_two_reads_after_the_longest_queue_disprove_it(desk):
    sent(desk)
    desk.wait(29)
    desk.read_order(status="not_found")
    desk.read_fills()
    desk.wait(2)
    desk.read_orders()
    desk.read_fills()
    assert desk.account.due(desk.now) == ()  # one list may be torn
    desk.wait(3)
    assert desk.state() == "unknown"
    desk.read_orders()
    assert desk.account.due(desk.now) == (e.Presumed(order_id=1, filled=0),)
    desk.wait(1)
    assert desk.state() == "rejected"


def test_fault_02_an_order_whose_answer_was_lost_is_adopted_when_found(desk):
    sent(desk)
    desk.do(e.AnswerLost(order_id=1, request="place", why="reset"))
    [report] = desk.read_order(venue_id="v1", remaining=10_000_000).reports
    assert report.kind == d.ACK and desk.state() == "live"
    assert desk.account.venue_id(1) == "v1"


def test_fault_02_or_when_listed(desk):
    sent(desk)
    desk.wait(6)
    assert [r.kind for r in desk.read_orders(desk.row(1)).reports] == [d.ACK]
    assert desk.state() == "live"


def test_fault_03_an_order_that_arrives_late_was_never_given_up(desk):
    sent(desk, expiry_ns=START + 60 * SECOND)
    desk.wait(6)
    for _ in range(3):
        desk.wait(5)
        desk.read_order(status="not_found")
        desk.read_fills()
    assert desk.exposed() == 10
    assert [r.kind for r in desk.do(e.Accepted(order_id=1, venue_id="v1")).reports] == [d.ACK]
    assert desk.state() == "live" and desk.codes() == []


def test_fault_04_an_order_that_arrives_after_its_expiry_is_refused(desk):
    sent(desk, expiry_ns=START + 10 * SECOND)
    desk.wait(30)
    desk.do(e.Refused(order_id=1, why="expired"))
    assert desk.state() == "rejected" and desk.wait(60) == []


def test_fault_05_an_answer_after_adoption_is_the_same_evidence_again(desk):
    sent(desk)
    desk.do(e.AnswerLost(order_id=1, request="place", why="timeout"))
    desk.read_order(venue_id="v1", remaining=10_000_000)
    assert desk.do(e.Accepted(order_id=1, venue_id="v1")).reports == ()
    assert desk.do(e.AnswerLost(order_id=1, request="place", why="502")).reports == ()
    assert desk.state() == "live" and desk.codes() == []


def test_fault_06_a_server_error_is_no_refusal(desk):
    sent(desk)
    assert desk.do(e.AnswerLost(order_id=1, request="place", why="503")).reports == ()
    assert desk.state() == "unknown" and desk.exposed() == 10
    desk.fill(size=10)
    assert desk.state() == "filled" and desk.held == (10, 0)


@pytest.mark.parametrize("why", ["post_only_cross", "min_size", "no_cash"])
def test_fault_07_a_known_refusal_is_final(desk, why):
    sent(desk)
    [report] = desk.do(e.Refused(order_id=1, why=why)).reports
    assert report.why == d.WHY_NAMES.index(why) and desk.wait(60) == []


def test_fault_08_an_unknown_word_of_a_refusal_is_final_too(desk):
    sent(desk)
    [report] = desk.do(e.Refused(order_id=1, why="moon_phase", text="{'code': 77}")).reports
    assert report.kind == d.REJECT and desk.exposed() == 0


def test_fault_10_and_11_each_leg_of_a_batch_has_its_own_outcome(desk):
    for order_id in (1, 2, 3):
        desk.place(order_id, live=False)
        desk.do(e.Sent(order_id=order_id))
    desk.do(e.Accepted(order_id=1, venue_id="a"))
    desk.do(e.Refused(order_id=2, why="min_size"))
    desk.do(e.AnswerLost(order_id=3, request="place", why="a leg without id or reason"))
    assert [desk.state(k) for k in (1, 2, 3)] == ["live", "rejected", "unknown"]
    assert desk.exposed() == 20


def test_fault_12_a_lost_cancel_keeps_the_exposure_until_evidence(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.AnswerLost(order_id=1, request="cancel", why="timeout"))
    assert desk.exposed() == 10
    wanted = desk.wait(1)
    assert {type(x) for x in wanted} == {c.Cancel, c.ReadOrder, c.ReadFills}
    [report] = desk.read_order(status="closed", filled=0).reports
    assert (report.kind, report.size) == (d.CANCELED, 10_000_000)
    assert desk.state() == "cancelled" and desk.wait(60) == []


def test_fault_12_a_look_as_of_before_the_cancel_says_nothing_about_it(desk):
    desk.place()
    desk.wait(3)
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.AnswerLost(order_id=1, request="cancel", why="timeout"))
    desk.read_order(as_of_ns=desk.now - SECOND, remaining=10_000_000)
    assert desk.state() == "unknown"
    desk.wait(0.5)
    desk.read_order(remaining=10_000_000)
    assert desk.state() == "live"
    assert c.Cancel(order_id=1, market=0, venue_id="v1") in desk.wait(3)  # still wanted


def test_fault_13_a_cancel_that_loses_to_a_fill_closes_once_the_fill_is_read(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    assert desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order")).reports == ()
    assert desk.state() == "closing" and desk.exposed() == 10
    assert {type(x) for x in desk.wait(0.001)} == {c.ReadOrder, c.ReadFills}
    assert [r.kind for r in desk.fill(size=10).reports] == [d.FILL_REPORT]
    assert desk.state() == "filled" and desk.codes() == []


def test_fault_13_a_cancel_that_overtook_its_order_proves_nothing(desk):
    sent(desk)
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.Accepted(order_id=1, venue_id="v1"))
    desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order"))
    assert desk.state() == "live" and desk.exposed() == 10
    assert desk.wait(0) == [c.Cancel(order_id=1, market=0, venue_id="v1")]
    desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order"))
    assert desk.state() == "closing"  # this one was sent to an order that stood


def test_fault_13_unknown_there_is_no_proof_while_a_look_still_shows_the_order(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order"))
    desk.wait(1)
    desk.read_fills()
    assert desk.state() == "closing"  # its fills are read, but nobody said yet that it is gone
    desk.read_order(remaining=10_000_000)
    desk.read_order(status="not_found")  # as of no later than the look that showed it
    assert desk.state() == "closing" and desk.exposed() == 10
    assert c.Cancel(order_id=1, market=0, venue_id="v1") in desk.wait(2)
    desk.read_order(status="not_found")
    assert desk.state() == "closing"
    desk.read_fills()
    assert desk.state() == "cancelled"


def test_fault_14_and_18_a_cancel_reply_that_says_more_traded_than_we_booked_waits(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    assert desk.do(e.Closed(order_id=1, why="none", filled=4_000_000)).reports == ()
    assert desk.state() == "closing" and desk.exposed() == 10
    desk.fill(size=1)
    assert desk.state() == "closing"
    reports = desk.fill(size=3).reports
    assert [(r.kind, r.size) for r in reports] == [(d.FILL_REPORT, 3_000_000), (d.CANCELED, 6_000_000)]


def test_fault_14_a_cancel_reply_that_does_not_say_what_traded_waits_for_a_later_read(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="expired", filled=-1))
    desk.read_fills(as_of_ns=desk.now)  # no later than the evidence
    assert desk.state() == "closing"
    desk.wait(1)
    desk.read_fills(as_of_ns=START)
    assert desk.state() == "closing"
    desk.read_fills()
    assert desk.state() == "expired"


def test_fault_14_what_had_traded_when_it_was_accepted_is_not_what_traded_at_its_end(desk):
    sent(desk)
    desk.do(e.Accepted(order_id=1, venue_id="v1", filled=4_000_000))
    desk.do(e.Closed(order_id=1, why="none", filled=-1))
    desk.fill(size=4)
    desk.do(e.Accepted(order_id=1, venue_id="v1", filled=4_000_000))
    assert desk.state() == "closing"
    desk.fill(size=2)
    desk.wait(1)
    desk.read_fills(*desk.account.ledgers[0].fills.values())
    assert desk.state() == "cancelled" and desk.codes() == []


def test_fault_14_a_lookup_later_than_the_end_settles_it_as_well(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=-1))
    desk.read_order(status="closed", filled=0)  # as of the same instant
    assert desk.state() == "closing"
    desk.wait(1)
    desk.read_order(status="closed", filled=0)
    assert desk.state() == "cancelled"


def test_fault_15_a_reduction_keeps_both_names(desk):
    desk.place()
    desk.command(c.Reduce(order_id=1, market=0, remaining=4_000_000))
    desk.do(e.Reduced(order_id=1, remaining=4_000_000, filled=0))
    assert desk.exposed() == 4 and desk.account.venue_id(1) == "v1"
    desk.fill(size=4)
    assert desk.state() == "filled"


def test_fault_16_a_stale_list_does_not_touch_what_is_younger(desk):
    desk.place()
    for _ in range(3):
        desk.wait(1)
        desk.read_orders(asked_ns=desk.now, as_of_ns=START - SECOND)
        desk.read_orders(asked_ns=START + SECOND, as_of_ns=desk.now)
    assert desk.state() == "live" and desk.exposed() == 10
    desk.wait(10)
    desk.do(e.Reduced(order_id=1, remaining=10_000_000, filled=0))  # it was alive just now
    desk.wait(1)
    desk.read_orders()
    desk.wait(0.5)
    desk.read_orders()
    desk.wait(10)
    assert desk.state() == "live"
    desk.read_orders()
    assert desk.state() == "live"  # one list may be torn
    assert c.ReadOrder(order_id=1, market=0, venue_id="v1") in desk.wait(0.1)
    desk.read_orders(desk.row(1))
    desk.wait(10)
    desk.read_orders()
    assert desk.state() == "live"
    desk.wait(1)
    desk.read_order(status="not_found")
    assert desk.state() == "closing" and desk.exposed() == 10


# --- B. fills and settlement --------------------------------------------------------------------------


def test_fault_19_a_fill_may_come_before_the_answer(desk):
    sent(desk)
    desk.fill(size=4)
    assert desk.state() == "live" and desk.exposed() == 6
    assert [r.kind for r in desk.do(e.Accepted(order_id=1, venue_id="v1", filled=4_000_000)).reports] == [
        d.ACK
    ]
    desk.fill(size=6)
    assert desk.state() == "filled" and desk.held == (10, 0)


def test_fault_20_and_21_the_same_fill_by_two_routes_counts_once(desk):
    desk.place()
    desk.fill(size=4, trade_id="x")
    again = e.Filled(
        trade_id="x", order_id=1, market=0, side=0, price=4_500, size=4_000_000, exch_ns=desk.now + 1,
        venue_id="by another route", maker=False,
    )  # fmt: skip
    assert desk.do(again) == ((), (), (), ())
    assert desk.read_fills(again).reports == ()
    assert desk.held == (4, 0) and desk.exposed() == 6 and desk.codes() == []


@pytest.mark.parametrize("change", [{"price": 4_600}, {"size": 5}, {"fee_micros": 1}, {"side": ASK}])
def test_fault_22_the_first_content_of_a_trade_stands(desk, change):
    desk.place()
    desk.fill(size=4, trade_id="x")
    before = (desk.account.cash_micros, desk.held)
    effects = desk.fill(**({"size": 4, "trade_id": "x"} | change))
    assert [a.code for a in effects.anomalies] == ["fill_conflict"]
    assert (desk.account.cash_micros, desk.held) == before and effects.reports == ()


def test_fault_22_a_fill_of_another_side_than_its_order_is_booked_and_copied(desk):
    desk.place()
    effects = desk.fill(size=4, side=ASK)
    assert [a.code for a in effects.anomalies] == ["fill_conflict"] and effects.rebuilt == (0,)
    assert desk.held == (0, 4)


def test_fault_24_a_fill_after_the_end_is_booked_and_alarmed(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    desk.wait(200)
    effects = desk.fill(size=3)
    assert [a.code for a in effects.anomalies] == ["fill_after_close"]
    assert effects.reports == () and effects.rebuilt == (0,)
    assert desk.held == (3, 0) and desk.state() == "cancelled"


def test_fault_25_late_fills_may_overfill_too(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    desk.fill(size=6)
    desk.fill(size=6)
    assert desk.codes() == ["fill_after_close", "overfill"]


def test_fault_24_a_later_word_that_more_had_traded_makes_us_read_fills(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    desk.do(e.Closed(order_id=1, why="none", filled=2_000_000))
    assert [type(x) for x in desk.wait(0)] == [c.ReadFills]


def test_fault_25_more_than_the_order_is_booked_and_alarmed(desk):
    desk.place()
    desk.fill(size=9)
    effects = desk.fill(size=2)
    assert [a.code for a in effects.anomalies] == ["overfill"]
    assert [r.size for r in effects.reports] == [2_000_000] and desk.held == (11, 0)
    effects = desk.fill(size=1)
    assert [a.code for a in effects.anomalies] == ["overfill"] and effects.rebuilt == (0,)
    assert desk.state() == "filled" and desk.held == (12, 0)


@pytest.mark.parametrize("order_id", [0, 77])
def test_fault_26_a_fill_of_an_order_that_we_never_placed_is_ours_to_hold(desk, order_id):
    effects = desk.fill(order_id, size=3)
    assert [a.code for a in effects.anomalies] == ["foreign_fill"] and effects.rebuilt == (0,)
    assert desk.held == (3, 0) and desk.account.next_order_id == max(1, order_id + 1)


def test_fault_27_a_void_takes_the_fill_back_to_the_micro(apart):
    apart.place()
    before = apart.account.cash_micros
    apart.fill(size=4, trade_id="x", final=False, fee_micros=12_345)
    apart.fill(size=1, trade_id="y", price=4_400)
    assert [f.trade_id for f in apart.account.position(2).provisional] == ["x"]
    effects = apart.do(e.FillVoided(market=2, trade_id="x", why="FAILED"))
    assert effects.rebuilt == (2,) and apart.held == (1, 0)
    assert apart.account.cash_micros == before - 440_000
    assert apart.exposed() == 5  # what was matched does not come back to the order
    assert apart.do(e.FillVoided(market=2, trade_id="x", why="FAILED")) == ((), (), (), ())


def test_fault_28_a_void_before_its_fill_leaves_nothing_of_it(apart):
    apart.place()
    effects = apart.do(e.FillVoided(market=2, trade_id="x", why="FAILED"))
    assert [a.code for a in effects.anomalies] == ["void_unknown"]
    effects = apart.fill(size=10, trade_id="x", final=False)
    assert [r.kind for r in effects.reports] == [d.FILL_REPORT] and effects.rebuilt == (2,)
    assert apart.held == (0, 0) and apart.account.cash_micros == 1_000_000_000
    assert apart.state() == "filled"
    apart.fill(size=10, trade_id="x", final=False)
    assert apart.codes() == ["void_unknown"]


def test_fault_29_a_provisional_fill_stays_provisional_until_its_end(apart):
    apart.place()
    apart.fill(size=4, trade_id="x", final=False)
    apart.wait(3_600)
    assert len(apart.account.position(2).provisional) == 1
    apart.do(e.FillFinal(market=2, trade_id="x"))
    assert apart.account.position(2).provisional == () and apart.held == (4, 0)


def test_fault_29_finality_may_come_before_the_fill_or_with_its_repetition(apart):
    apart.place()
    apart.do(e.FillFinal(market=2, trade_id="x"))
    apart.fill(size=4, trade_id="x", final=False)
    apart.fill(size=2, trade_id="y", final=False)
    apart.fill(size=2, trade_id="y")
    assert apart.account.position(2).provisional == () and apart.codes() == []


def test_fault_30_the_first_final_word_stands(apart):
    apart.place()
    apart.fill(size=4, trade_id="x", final=False)
    apart.do(e.FillFinal(market=2, trade_id="x"))
    effects = apart.do(e.FillVoided(market=2, trade_id="x", why="FAILED"))
    assert [a.code for a in effects.anomalies] == ["final_conflict"] and apart.held == (4, 0)
    apart.fill(size=2, trade_id="y", final=False)
    apart.do(e.FillVoided(market=2, trade_id="y", why="FAILED"))
    apart.do(e.FillFinal(market=2, trade_id="y"))
    apart.fill(size=2, trade_id="y", final=True)
    assert apart.codes() == ["final_conflict"] * 3 and apart.held == (4, 0)


def test_fault_31_what_the_venue_says_traded_without_a_trade_is_not_credited(desk):
    desk.place()
    desk.do(e.Closed(order_id=1, why="filled", filled=10_000_000))
    for _ in range(2):
        assert desk.state() == "closing" and desk.held == (0, 0)
        desk.wait(3)
        desk.read_order(status="closed", filled=10_000_000)
        desk.read_fills()
    assert desk.codes() == ["ghost_fill"] and desk.state() == "filled" and desk.held == (0, 0)


def test_fault_31_reads_that_a_clock_may_have_put_before_the_end_contradict_nothing(desk):
    """The venue's clock may be ahead of ours: what it lists as of just after the end may be of before it."""
    desk.place()
    desk.do(e.Closed(order_id=1, why="filled", filled=10_000_000))
    for _ in range(4):
        desk.wait(0.4)
        desk.read_fills()
    assert desk.codes() == [] and desk.state() == "closing" and desk.exposed() == 10
    desk.fill(size=10)
    assert desk.codes() == [] and desk.state() == "filled"


def test_fault_33_fees_are_booked_as_reported(desk):
    desk.place()
    desk.fill(size=4, fee_micros=70_001, rebate_micros=1)
    assert desk.account.cash_micros == 1_000_000_000 - 1_800_000 - 70_000
    assert desk.account.fees_micros(0) == 70_000 and desk.account.fill_count(0) == 1


def test_fault_34_a_settlement_pays_and_an_amendment_pays_the_difference(desk):
    desk.place()
    desk.fill(size=4)
    assert desk.do(e.Settled(market=0, value_micros=1_000_000)) == ((), (), (), ())
    assert desk.held == (0, 0) and desk.account.cash_micros == 1_000_000_000 - 1_800_000 + 4_000_000
    desk.do(e.Settled(market=0, value_micros=1_000_000))
    effects = desk.do(e.Settled(market=0, value_micros=500_000))
    assert [a.code for a in effects.anomalies] == ["settlement_amended"] and effects.rebuilt == (0,)
    assert desk.account.cash_micros == 1_000_000_000 - 1_800_000 + 2_000_000
    desk.do(e.Settled(market=0, value_micros=-1, refund=True))
    assert desk.account.cash_micros == 1_000_000_000
    assert desk.account.position(0).cost_micros == 0


def test_fault_35_settlement_releases_no_order_by_itself(desk):
    sent(desk)
    desk.do(e.AnswerLost(order_id=1, request="place", why="timeout"))
    desk.do(e.Settled(market=0, value_micros=0))
    assert desk.state() == "unknown" and desk.exposed() == 10
    assert [r.kind for r in desk.fill(size=2).reports] == [d.FILL_REPORT]  # it had traded before
    assert desk.account.cash_micros == 1_000_000_000 - 900_000
    desk.do(e.Closed(order_id=1, why="closed", filled=2_000_000))
    assert desk.state() == "cancelled"


def test_fault_37_pairs_become_cash_when_the_venue_confirms_it_and_once(apart):
    apart.place(1)
    apart.place(2, side=ASK)
    apart.fill(1, size=4)
    apart.fill(2, size=3, side=ASK)
    assert apart.held == (4, 3)
    before = apart.account.cash_micros
    merged = e.Merged(market=2, pairs=3_000_000, exch_ns=apart.now, merge_id="0x1")
    assert apart.do(merged).rebuilt == (2,) and apart.do(merged).rebuilt == ()
    assert apart.held == (1, 0) and apart.account.cash_micros == before + 3_000_000


# --- venue, process, people ---------------------------------------------------------------------------


def test_fault_52_orders_wiped_without_a_word_close_after_their_fills_are_read(desk):
    desk.place()
    desk.wait(60)
    for _ in range(2):
        assert desk.exposed() == 10
        desk.wait(1)
        desk.read_orders()
    assert desk.state() == "closing"
    desk.wait(1)
    [report] = desk.read_fills().reports
    assert (report.kind, report.why) == (d.CANCELED, d.WHY_UNKNOWN_ORDER)


def test_fault_58_and_80_money_moved_by_a_person_is_booked_once(desk):
    moved = e.Transferred(venue="kalshi", amount_micros=-5_000_000, why="withdrawal", transfer_id="w1")
    assert desk.do(moved).rebuilt == (0,) and desk.do(moved).rebuilt == ()
    assert desk.account.cash_micros == 995_000_000
    desk.do(e.Transferred(venue="polymarket", amount_micros=1, why="a venue without markets"))
    assert desk.account.cash_micros == 995_000_001


def test_fault_60_an_order_that_lives_after_it_was_disproved_is_taken_out(desk):
    sent(desk)
    desk.do(e.Refused(order_id=1, why="min_size"))
    effects = desk.do(e.Accepted(order_id=1, venue_id="v1"))
    assert effects.commands == (c.Cancel(order_id=1, market=0, venue_id="v1"),)
    assert [a.code for a in effects.anomalies] == ["illegal_transition"]
    assert desk.state() == "rejected"


def test_fault_62_an_intent_of_a_process_that_died_may_have_been_sent(desk):
    desk.place(live=False)
    assert desk.state() == "intent" and desk.exposed() == 10
    desk.do(e.Started(version="2", account="paper", settings="{}", cash_micros=5))
    assert desk.account.cash_micros == 1_000_000_000  # the opening cash counts once
    assert c.ReadOrder(order_id=1, market=0) in desk.wait(6)
    assert desk.state() == "unknown"
    desk.read_order(venue_id="v1", remaining=10_000_000)
    assert desk.state() == "live"
