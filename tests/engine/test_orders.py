"""Tracked orders: every row of the transition table, reports to the brain, repeats, renewals, memory."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from account_desk import SECOND, START, Desk

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.domain.order import CLOSED_STATES, ORDER_TRANSITIONS, OrderEvent, OrderState
from pr3dict.engine.account import NEVER_NS, OrderTerms
from pr3dict.engine.effects import Report
from pr3dict.kernels import dtypes as d

S, E = OrderState, OrderEvent


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.check_fold()


def bring(desk: Desk, state: OrderState) -> None:
    """Order 1 of 10 contracts in `state`, by the shortest way there."""
    desk.place(live=False)
    if state is S.INTENT:
        return
    desk.do(e.Sent(order_id=1))
    if state is S.UNKNOWN:
        desk.do(e.AnswerLost(order_id=1, request="place", why="timeout"))
    elif state is S.REJECTED:
        desk.do(e.Refused(order_id=1, why="min_size"))
    elif state is not S.SENT:
        desk.do(e.Accepted(order_id=1, venue_id="v1"))
        if state is S.CANCEL_IN_FLIGHT:
            desk.command(c.Cancel(order_id=1, market=0))
        elif state is S.CLOSING:
            desk.do(e.Closed(order_id=1, why="none", filled=-1))
        elif state is S.FILLED:
            desk.fill(size=10)
        elif state is S.CANCELLED:
            desk.do(e.Closed(order_id=1, why="none", filled=0))
        elif state is S.EXPIRED:
            desk.do(e.Closed(order_id=1, why="expired", filled=0))
    assert desk.state() == state.value


def happen(desk: Desk, event: OrderEvent) -> None:
    order = desk.account.orders.open.get(1)
    request = order.request if order and order.request else "place"
    booked = (order or desk.account.orders.closed[1]).booked
    match event:
        case E.SEND:
            desk.do(e.Sent(order_id=1))
        case E.ACK:
            desk.do(e.Accepted(order_id=1, venue_id="v1"))
        case E.PARTIAL_FILL:
            desk.fill(size=1)
        case E.FILL:
            desk.fill(size=10)
        case E.CANCEL_SENT:
            desk.command(c.Cancel(order_id=1, market=0))
        case E.CANCEL_REJECT:
            desk.do(e.RequestRefused(order_id=1, request="cancel", why="not_active"))
        case E.CANCEL:
            desk.do(e.Closed(order_id=1, why="none", filled=booked))
        case E.REJECT:
            desk.do(e.Refused(order_id=1, why="min_size"))
        case E.EXPIRE:
            desk.do(e.Closed(order_id=1, why="expired", filled=booked))
        case E.ANSWER_LOST:
            if order and order.state is S.LIVE:
                request = "reduce"
                desk.command(c.Reduce(order_id=1, market=0, remaining=5_000_000))
            desk.do(e.AnswerLost(order_id=1, request=request, why="timeout"))
        case E.NOT_FOUND:
            desk.do(e.Presumed(order_id=1, filled=0))
        case E.GONE:
            desk.do(e.Closed(order_id=1, why="none", filled=-1))


# Where evidence means something else than the bare word of the table: a cancel that is refused before the
# venue showed the order proves nothing, and a fill after the end belongs to the ledger alone.
MEANS_OTHERWISE = {
    (S.INTENT, E.CANCEL_REJECT): S.UNKNOWN,
    (S.SENT, E.CANCEL_REJECT): S.UNKNOWN,
    (S.CANCEL_IN_FLIGHT, E.REJECT): S.CANCEL_IN_FLIGHT,  # accepted before: the table allows it only unseen
}


@pytest.mark.parametrize(("state", "event"), list(product(S, E)), ids=lambda x: x.value)
def test_every_row_of_the_table(desk, state, event):
    bring(desk, state)
    happen(desk, event)
    after = MEANS_OTHERWISE.get((state, event), ORDER_TRANSITIONS[state].get(event, state))
    assert desk.state() == after.value
    allowed = event in ORDER_TRANSITIONS[state]
    if state not in CLOSED_STATES and (state, event) not in MEANS_OTHERWISE:
        assert ("illegal_transition" in desk.codes()) == (not allowed)
    if not allowed and state in CLOSED_STATES:
        assert desk.exposed() == 0


def test_a_cancel_that_overtook_the_order_may_be_answered_by_its_refusal(desk):
    desk.place(live=False)
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.Sent(order_id=1))
    assert desk.state() == "cancel_in_flight"
    desk.do(e.Refused(order_id=1, why="off_grid"))
    assert desk.state() == "rejected" and desk.codes() == []


def test_reports_are_those_of_the_exchange_one_for_each_evidence(desk):
    desk.place(live=False)
    desk.do(e.Sent(order_id=1))
    told = [*desk.do(e.Accepted(order_id=1, venue_id="v1")).reports]
    told += desk.fill(size=3, fee_micros=7, rebate_micros=2, maker=True).reports
    told += desk.do(e.Reduced(order_id=1, remaining=5_000_000, filled=3_000_000)).reports
    desk.command(c.Cancel(order_id=1, market=0))
    told += desk.do(e.RequestRefused(order_id=1, request="cancel", why="not_active")).reports
    told += desk.do(e.Closed(order_id=1, why="reactivated", filled=3_000_000)).reports
    order = {"order_id": 1, "market": 0, "price": 4_500, "side": d.BID, "sell": False}
    assert told == [
        Report(kind=d.ACK, size=10_000_000, **order),
        Report(kind=d.FILL_REPORT, size=3_000_000, fee_micros=7, rebate_micros=2, maker=True, **order),
        Report(kind=d.REDUCED, size=5_000_000, **order),
        Report(kind=d.CANCEL_REJECT, size=0, why=d.WHY_NOT_ACTIVE, **order),
        Report(kind=d.CANCELED, size=5_000_000, why=d.WHY_REACTIVATED, **order),
    ]
    assert desk.account.next_due_ns == NEVER_NS and desk.codes() == []


def test_a_full_fill_needs_no_further_word(desk):
    desk.place()
    assert [r.kind for r in desk.fill(size=10).reports] == [d.FILL_REPORT]
    assert desk.state() == "filled" and desk.account.open_orders(0) == ()
    assert desk.do(e.Closed(order_id=1, why="filled", filled=10_000_000)).reports == ()
    assert desk.codes() == []


def test_an_immediate_order_trades_and_the_rest_is_cancelled(desk):
    desk.place(live=False, tif=d.IOC)
    desk.do(e.Accepted(order_id=1, venue_id="v1", filled=4_000_000))
    desk.fill(size=4, maker=False)
    [report] = desk.do(e.Closed(order_id=1, why="unfilled_ioc", filled=4_000_000)).reports
    assert (report.kind, report.size, report.why) == (d.CANCELED, 6_000_000, d.WHY_UNFILLED_IOC)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (e.NotSent(order_id=1, why="the journal failed"), d.WHY_NOT_SENT),
        (e.NotSent(order_id=1, why="gate"), d.WHY_GATE),
        (e.Refused(order_id=1, why="post_only_cross"), d.WHY_POST_ONLY_CROSS),
        (e.Refused(order_id=1, why="a word of tomorrow", text="{}"), d.WHY_NONE),
    ],
)
def test_what_never_stood_is_reported_as_refused(desk, event, why):
    desk.place(live=False)
    [report] = desk.do(event).reports
    assert (report.kind, report.size, report.why) == (d.REJECT, 10_000_000, why)
    assert desk.state() == "rejected" and desk.exposed() == 0


def test_a_cancel_of_what_is_closed_already_is_reported_and_changes_nothing(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    desk.fill(size=10)
    [report] = desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order")).reports
    assert (report.kind, report.why) == (d.CANCEL_REJECT, d.WHY_UNKNOWN_ORDER)
    assert desk.codes() == []


def test_a_cancel_without_an_answer_is_repeated_ever_more_slowly(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0, venue_id="v1"))
    assert [x for x in desk.wait(4.9) if isinstance(x, c.Cancel)] == []
    first = START + 5 * SECOND
    desk.wait(120)
    cancels = [now - first for now, x in desk.log if isinstance(x, c.Cancel) and now > START]
    assert [ns // SECOND for ns in cancels] == [0, 1, 3, 7, 15, 31, 61, 91]
    assert desk.state() == "unknown" and desk.exposed() == 10


def test_a_cancel_into_the_unknown_stays_a_wish_until_the_order_is_known(desk):
    desk.place(live=False)
    desk.do(e.Sent(order_id=1))
    desk.do(e.AnswerLost(order_id=1, request="place", why="reset"))
    desk.serve()
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.RequestRefused(order_id=1, request="cancel", why="unknown_order"))
    assert desk.state() == "unknown" and desk.exposed() == 10
    desk.do(e.Accepted(order_id=1, venue_id="late"))
    assert desk.state() == "live"
    assert c.Cancel(order_id=1, market=0, venue_id="late") in desk.wait(2)
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    assert desk.state() == "cancelled" and desk.wait(60) == []


def test_a_refused_cancel_leaves_the_decision_to_the_brain(desk):
    desk.place()
    desk.command(c.Cancel(order_id=1, market=0))
    [report] = desk.do(e.RequestRefused(order_id=1, request="cancel", why="not_active")).reports
    assert report.kind == d.CANCEL_REJECT and desk.state() == "live"
    assert desk.wait(60) == []


def test_a_reduction_whose_answer_is_lost_keeps_the_whole_exposure_until_it_is_read(desk):
    desk.place()
    desk.command(c.Reduce(order_id=1, market=0, remaining=4_000_000))
    assert c.ReadOrder(order_id=1, market=0, venue_id="v1") in desk.wait(6)
    assert desk.state() == "unknown" and desk.exposed() == 10
    reports = desk.read_order(remaining=4_000_000).reports
    assert [(r.kind, r.size) for r in reports] == [(d.REDUCED, 4_000_000)]
    assert desk.state() == "live" and desk.exposed() == 4


def test_a_reduction_that_does_not_say_what_had_traded_is_no_upper_bound(desk):
    desk.place()
    desk.do(e.Reduced(order_id=1, remaining=5_000_000))  # three had traded, but we have not heard of them
    desk.fill(size=3)
    desk.fill(size=2)
    assert desk.state() == "closing"  # either nothing remains or three do: it is asked
    assert any(isinstance(x, c.ReadOrder) for x in desk.wait(1))
    desk.fill(size=3)
    desk.read_order(status="closed", filled=8_000_000)
    assert desk.state() == "cancelled" and desk.held == (8, 0) and desk.codes() == []


def test_orders_with_a_life_are_renewed_before_it_ends():
    desk = Desk(order_life_ns=60 * SECOND)
    desk.place(expiry_ns=START + 60 * SECOND)
    assert desk.wait(49) == []
    assert desk.wait(1.5) == [c.Renew(order_id=1, market=0, venue_id="v1", expiry_ns=START + 110 * SECOND)]
    desk.do(e.Renewed(order_id=1, expiry_ns=START + 110 * SECOND))
    assert desk.wait(48) == []
    [again] = desk.wait(2)
    assert isinstance(again, c.Renew)
    desk.wait(8)  # no answer: asked again, and the order is not in doubt
    assert desk.state() == "live" and desk.sent[-1].expiry_ns > again.expiry_ns
    desk.command(c.Cancel(order_id=1, market=0))
    desk.do(e.RequestRefused(order_id=1, request="renew", why="unknown_order"))
    assert desk.state() == "closing"
    desk.check_fold()


def test_a_renewal_without_an_answer_may_have_prolonged_the_life():
    desk = Desk(order_life_ns=60 * SECOND)
    desk.place(expiry_ns=START + 60 * SECOND)
    wanted = desk.wait(100)
    assert {type(x) for x in wanted} == {c.Renew}  # it is not overdue: the last one asked for more
    assert desk.state() == "live"
    desk.check_fold()


def test_an_order_past_its_expiry_without_a_word_is_asked_for():
    desk = Desk()
    desk.place(expiry_ns=START + 10 * SECOND)
    assert desk.wait(16.9) == []
    assert c.ReadOrder(order_id=1, market=0, venue_id="v1") in desk.wait(0.2)
    assert desk.exposed() == 10
    desk.read_order(status="closed", filled=0)
    assert desk.state() == "expired"
    desk.check_fold()


def test_an_id_names_one_order_for_ever(desk):
    desk.place(7)
    placed = next(x for _, x in desk.log if isinstance(x, c.Place))
    assert desk.account.next_order_id == 8
    desk.do(e.Closed(order_id=7, why="none", filled=0))
    with pytest.raises(WorkError, match="order id 7 was used before"):
        desk.account.commanded(desk.now, placed)


def test_closed_orders_are_forgotten_after_their_span():
    desk = Desk(closed_keep_ns=10 * SECOND)
    desk.place(1)
    desk.do(e.Closed(order_id=1, why="none", filled=0))
    desk.place(2)
    desk.wait(10)
    desk.do(e.Sent(order_id=2))
    assert list(desk.account.orders.closed) == [] and list(desk.account.orders.open) == [2]
    effects = desk.fill(1)
    assert [x.code for x in effects.anomalies] == ["fill_after_close"] and effects.rebuilt == (0,)
    desk.check_fold()


def test_open_orders_shows_every_order_that_may_still_fill(desk):
    for order_id, state in enumerate((S.INTENT, S.SENT, S.LIVE, S.UNKNOWN, S.CANCEL_IN_FLIGHT, S.CLOSING), 1):
        desk.place(order_id, live=state in (S.LIVE, S.CANCEL_IN_FLIGHT, S.CLOSING))
        if state in (S.SENT, S.UNKNOWN):
            desk.do(e.Sent(order_id=order_id))
        if state is S.UNKNOWN:
            desk.do(e.AnswerLost(order_id=order_id, request="place", why="timeout"))
        if state is S.CANCEL_IN_FLIGHT:
            desk.command(c.Cancel(order_id=order_id, market=0))
        if state is S.CLOSING:
            desk.do(e.Closed(order_id=order_id, why="none", filled=3_000_000))
        assert desk.account.open_orders(0)[-1].state is state
    assert desk.exposed() == 60
    assert desk.account.open_orders(1) == ()
    assert desk.account.venue_id(3) == "v3" and desk.account.market_of(3) == 0
    assert desk.account.order(3) == desk.account.open_orders(0)[2]


def test_everything_of_a_venue_may_be_cancelled_at_once(desk):
    desk.place(1)
    desk.place(2, live=False)
    desk.command(c.CancelAll(venue="kalshi", why="halt"))
    assert desk.state(1) == desk.state(2) == "cancel_in_flight"
    desk.place(3, live=False)
    desk.command(c.CancelAll(venue="polymarket", why="halt"))
    assert desk.state(3) == "intent"


def test_a_life_shorter_than_its_renewal_is_refused():
    with pytest.raises(ConfigError, match="order_life_ns must be longer"):
        OrderTerms(order_life_ns=11 * SECOND)
