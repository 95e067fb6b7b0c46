"""Each breaker trips at its threshold and not one event below, once an episode, and returns as it says."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine.effects import Anomaly
from pr3dict.risk.breaker_table import ANOMALIES, BREAKERS
from pr3dict.risk.breakers import (
    DAILY_LOSS,
    MAX_ENTRIES,
    MAX_FILLS,
    MAX_ORDERS,
    NEVER_NS,
    Breakers,
    latches,
    severity_of,
)
from pr3dict.risk.gate import ABSURD
from pr3dict.risk.limits import RiskConfig

SOURCE = Path(__file__).resolve().parents[2] / "src" / "pr3dict"
CONTRACT = 1_000_000
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def listed(market, venue="kalshi"):
    return e.Listed(
        market=market, venue=venue, ticker=f"T{market}", event_id="E", exclusive=False, title="", grids=(),
        min_size=CONTRACT, lot=CONTRACT, fee_kind="none", nets_positions=True, reduce_in_place=True,
    )  # fmt: skip


def place(order_id, market=0):
    return c.Place(order_id=order_id, market=market, side=0, price=5_000, size=CONTRACT, tif=0)


def fill(n, market=0, size=CONTRACT, exch_ns=NOW, order_id=0):
    return e.Filled(
        trade_id=f"t{n}", order_id=order_id, market=market, side=0, price=5_000, size=size, exch_ns=exch_ns
    )


def fresh(**settings):
    """Markets 0 and 1 on one venue, 2 on the other."""
    breakers = Breakers(RiskConfig(**settings))
    for market, venue in enumerate(("kalshi", "kalshi", "polymarket")):
        breakers.observe(NOW, listed(market, venue))
    return breakers


class Case(NamedTuple):
    """`items(k)` is what happens the k-th time; `count` of it trip `name` in `markets`, under `settings`."""

    name: str
    settings: dict
    items: object
    count: int
    markets: tuple


def order_then(event):
    return lambda k: [place(k), event(k)]


CASES = [
    Case("errors", {"max_errors": 3}, order_then(
        lambda k: e.AnswerLost(order_id=k, request="place", why="reset")), 3, (0, 1)),
    Case("errors", {"max_errors": 3}, order_then(
        lambda k: e.TimedOut(order_id=k, request="cancel")), 3, (0, 1)),
    Case("errors", {"max_errors": 3}, order_then(
        lambda k: e.NotSent(order_id=k, why="no socket")), 3, (0, 1)),
    Case("errors", {"max_errors": 2}, lambda k: [
        e.ReadFailed(venue="polymarket", read="fills", why="503")], 2, (2,)),
    Case("refusals", {"max_refusals": 3}, order_then(
        lambda k: e.Refused(order_id=k, why="no_cash")), 3, (0,)),
    Case("refusals", {"max_refusals": 3}, order_then(
        lambda k: e.RequestRefused(order_id=k, request="cancel", why="rate_limit")), 3, (0,)),
    Case("crossings", {"max_crossings": 3}, order_then(
        lambda k: e.Refused(order_id=k, why="post_only_cross")), 3, (0,)),
    Case("fill_burst_count", {"fill_burst_count": 4}, lambda k: [fill(k, 1)], 4, (1,)),
    Case("fill_burst_contracts", {"fill_burst_contracts": 10}, lambda k: [fill(k, 1, 5 * CONTRACT)], 2, (1,)),
    Case("unasked_ends", {"max_unasked_ends": 3}, order_then(
        lambda k: e.Closed(order_id=k, why="none", filled=0)), 3, (0,)),
    Case("unasked_ends", {"max_unasked_ends": 3}, order_then(
        lambda k: e.Closed(order_id=k, why="expired", filled=-1)), 3, (0,)),
    Case("unasked_ends", {"max_unasked_ends": 3}, order_then(
        lambda k: e.Presumed(order_id=k, filled=0)), 3, (0,)),
    Case("churn", {"max_churn": 3}, lambda k: [place(k, 1), c.Cancel(order_id=k, market=1)], 3, (1,)),
    *[Case("absurd_orders", {}, lambda k, code=code: [
        Anomaly(f"gate_{code}", 1, "kalshi", "100 contracts")], 3, (1,)) for code in sorted(ABSURD)],
    Case("settlement_failures", {"settlement_fills": 10, "max_settlement_failures": "0.2"}, lambda k: [
        fill(k, 2), e.FillVoided(market=2, trade_id=f"t{k}", why="reverted")], 2, (2,)),
    Case("foreign_orders", {"max_foreign_orders": 2}, lambda k: [
        Anomaly("foreign_order", 0, "kalshi", "not ours")], 2, (0, 1)),
    Case("foreign_orders", {"max_foreign_orders": 2}, lambda k: [
        Anomaly("foreign_fill", 0, "kalshi", "not ours")], 2, (0, 1)),
    Case("fill_conflict", {}, lambda k: [Anomaly("fill_conflict", 1, "kalshi", "another price")], 1, (1,)),
    Case("drift", {"max_drifts": 2}, lambda k: [Anomaly("position_drift", 1, "kalshi", "5 not 4")], 2, (-1,)),
    Case("drift", {}, lambda k: [Anomaly("cash_drift", -1, "kalshi", "5 not 4")], 1, (-1,)),
    Case("drift", {}, lambda k: [Anomaly("ghost_fill", 0, "kalshi", "no trade")], 1, (-1,)),
    Case("overfill", {}, lambda k: [Anomaly("overfill", 0, "kalshi", "11 of 10")], 1, (-1,)),
    Case("final_conflict", {}, lambda k: [Anomaly("final_conflict", 0, "kalshi", "both")], 1, (-1,)),
    Case("invariant", {}, lambda k: [Anomaly("illegal_transition", 0, "kalshi", "reopened")], 1, (-1,)),
    Case("clock_skew", {}, lambda k: [e.ClockSkewed(venue="kalshi", skew_ns=-2 * SECOND - 1)], 1, (-1,)),
    Case("clock_jump", {}, lambda k: [e.ClockJumped(gap_ns=2 * SECOND)], 1, (-1,)),
    Case("loop_stall", {}, lambda k: [e.LoopStalled(gap_ns=SECOND // 2)], 1, (-1,)),
    Case("log_stall", {}, lambda k: [e.LogStalled(gap_ns=2 * SECOND)], 1, (-1,)),
    Case("log_failure", {}, lambda k: [e.LogFailed(why="disk full")], 1, (-1,)),
    Case("malformed", {"max_malformed": 6}, lambda k: [
        e.Malformed(venue="kalshi", count=2, why="NaN")], 3, (0, 1)),
    Case("book_disagreements", {}, lambda k: [e.BookInvalid(market=1, why="differs")], 3, (1,)),
    Case("invalid_books", {"max_invalid_books": 3}, lambda k: [e.BookInvalid(market=1, why="gap")], 3, (1,)),
    Case("feed_losses", {"max_feed_losses": 3}, lambda k: [
        e.FeedDown(venue="kalshi", why="reset")], 3, (0, 1)),
    Case("crash_loop", {"max_starts": 3}, lambda k: [
        e.Started(version="1", account="paper", settings="{}", cash_micros=0)], 3, (-1,)),
]  # fmt: skip
IDS = [f"{case.name}-{k}" for k, case in enumerate(CASES)]


def feed(breakers, case, k, at_ns=NOW):
    return [trip for item in case.items(k) for trip in breakers.observe(at_ns, item)]


def test_every_breaker_is_tried():
    # The brain trips the daily loss: the engine concludes it, and `observe` keeps it.
    assert {case.name for case in CASES} == set(BREAKERS) - {DAILY_LOSS}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_it_trips_at_its_threshold_once(case):
    breakers = fresh(**case.settings)
    for k in range(1, case.count):
        assert feed(breakers, case, k) == []
    trips = feed(breakers, case, case.count)
    assert [(trip.breaker, trip.market) for trip in trips] == [(case.name, m) for m in case.markets]
    assert all(len(trip.text) > 3 for trip in trips)
    assert feed(breakers, case, case.count + 1) == []
    blocked = [m for m in range(3) if breakers.is_blocked(m)]
    assert blocked == ([0, 1, 2] if case.markets == (-1,) else list(case.markets))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_who_lets_it_go(case):
    breakers = fresh(**case.settings)
    trips = [trip for k in range(case.count) for trip in feed(breakers, case, k)]
    row = BREAKERS[case.name]
    if row.action == "pause":
        pause_ns = RiskConfig().integer(row.pause)
        assert {trip.until_ns for trip in trips} == {NOW + pause_ns} == {breakers.next_due_ns}
        assert breakers.due(NOW + pause_ns - 1) == ()
        assert breakers.observe(NOW, e.Resume(command_id="1", who="x", reason="y")) == ()
        over = breakers.due(NOW + pause_ns)
    else:
        assert {trip.until_ns for trip in trips} == {0}
        assert breakers.next_due_ns == NEVER_NS
        assert breakers.due(NEVER_NS - 1) == ()
        over = breakers.observe(NOW, e.Resume(command_id="1", who="x", reason="y"))
    assert [(event.breaker, event.market) for event in over] == [(case.name, m) for m in case.markets]
    assert breakers.tripped() == ()
    # A new episode counts from nothing.
    again = [trip for k in range(case.count, 2 * case.count - 1) for trip in feed(breakers, case, k)]
    assert again == []


TIMED = [case for case in CASES if case.count > 1 and BREAKERS[case.name].window != "settlement_fills"]
CAN_BE_OFF = [case for case in CASES if BREAKERS[case.name].threshold not in ("", "clock_skew_seconds")]


@pytest.mark.parametrize("case", TIMED, ids=lambda case: case.name)
def test_what_left_the_window_does_not_count(case):
    span_ns = RiskConfig(**case.settings).integer(BREAKERS[case.name].window)
    late = [e.Filled] if case.name.startswith("fill_burst") else []
    breakers = fresh(**case.settings)
    for k in range(1, case.count):
        assert feed(breakers, case, k) == []
    items = case.items(case.count)
    if late:
        items = [fill(case.count, item.market, item.size, NOW + span_ns) for item in items]
    assert [trip for item in items for trip in breakers.observe(NOW + span_ns, item)] == []


@pytest.mark.parametrize("case", CAN_BE_OFF, ids=lambda case: case.name)
def test_a_threshold_of_0_turns_it_off(case):
    breakers = fresh(**{**case.settings, BREAKERS[case.name].threshold: 0})
    names = {trip.breaker for k in range(30) for trip in feed(breakers, case, k)}
    assert case.name not in names


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (e.ClockSkewed(venue="kalshi", skew_ns=2 * SECOND), "clock_skew"),
        (e.ClockJumped(gap_ns=2 * SECOND - 1), "clock_jump"),
        (e.LoopStalled(gap_ns=SECOND // 2 - 1), "loop_stall"),
        (e.LogStalled(gap_ns=2 * SECOND - 1), "log_stall"),
    ],
)
def test_just_below_a_measured_limit(item, name):
    assert name in BREAKERS
    assert fresh().observe(NOW, item) == ()


# --- what does not count ------------------------------------------------------------------------------


def test_a_cancel_that_lost_its_race_is_no_refusal():
    breakers = fresh(max_refusals=1)
    breakers.observe(NOW, place(1))
    lost = e.RequestRefused(order_id=1, request="cancel", why="unknown_order")
    assert breakers.observe(NOW, lost) == ()


def test_ends_that_we_asked_for_or_that_filled_do_not_count():
    breakers = fresh(max_unasked_ends=1)
    for k, (before, end) in enumerate([
        (c.Cancel(order_id=0, market=0), e.Closed(order_id=0, why="none", filled=0)),
        (c.CancelAll(venue="kalshi", why="halt"), e.Closed(order_id=1, why="none", filled=0)),
        (fill(9, order_id=2), e.Closed(order_id=2, why="expired", filled=-1)),
        (fill(8, market=1), e.Closed(order_id=3, why="expired", filled=1)),
        (fill(7, market=1), e.Closed(order_id=4, why="filled", filled=-1)),
    ]):  # fmt: skip
        breakers.observe(NOW, place(k))
        breakers.observe(NOW, before)
        assert breakers.observe(NOW, end) == ()
    breakers.observe(NOW, place(5))
    breakers.observe(NOW, c.CancelAll(venue="polymarket", why="halt"))  # not of this venue
    assert len(breakers.observe(NOW, e.Closed(order_id=5, why="none", filled=0))) == 1


def test_a_fill_between_starts_the_repeated_execution_count_anew():
    breakers = fresh(max_unasked_ends=2)
    for k in range(3):
        breakers.observe(NOW, place(k))
        assert breakers.observe(NOW, e.Closed(order_id=k, why="expired", filled=0)) == ()
        breakers.observe(NOW, fill(k))
    breakers.observe(NOW, place(3))
    assert breakers.observe(NOW, e.Closed(order_id=3, why="expired", filled=0)) == ()


def test_an_order_that_lived_is_no_churn():
    breakers = fresh(max_churn=1)
    breakers.observe(NOW, place(1))
    breakers.observe(NOW, place(2))
    assert breakers.observe(NOW + SECOND, c.Cancel(order_id=1, market=0)) == ()
    assert len(breakers.observe(NOW + SECOND - 1, c.Cancel(order_id=2, market=0))) == 1
    assert breakers.observe(NOW + SECOND - 1, c.Cancel(order_id=2, market=0)) == ()  # asked again


def test_a_fill_counts_once_by_whichever_route():
    breakers = fresh(fill_burst_count=3)
    read = e.FillsRead(
        venue="kalshi", asked_ns=NOW, as_of_ns=NOW, since_ns=0,
        fills=(fill(1), fill(2), fill(3, exch_ns=NOW - 10 * SECOND)),
    )  # fmt: skip
    for item in (fill(1), fill(1), read, fill(2), read):
        assert breakers.observe(NOW, item) == ()
    assert len(breakers.observe(NOW, fill(4))) == 1  # the one read late was no part of the burst


def test_voids_are_a_share_of_the_last_fills():
    breakers = fresh(settlement_fills=5, max_settlement_failures="0.4")
    void = e.FillVoided(market=2, trade_id="t0", why="reverted")
    assert breakers.observe(NOW, void) == ()
    assert breakers.observe(NOW, void) == ()  # told twice
    for k in range(5):  # t0 comes after its void, and counts once
        assert breakers.observe(NOW, fill(k, 2)) == ()
    breakers.observe(NOW, fill(5, 2))
    assert breakers.observe(NOW, e.FillVoided(market=2, trade_id="t4", why="reverted")) == ()  # t0 has left
    assert len(breakers.observe(NOW, e.FillVoided(market=2, trade_id="t5", why="reverted"))) == 1


def test_a_clean_stop_ends_a_crash_loop():
    breakers = fresh(max_starts=2)
    start = e.Started(version="1", account="paper", settings="{}", cash_micros=0)
    for _ in range(4):
        assert breakers.observe(NOW, start) == ()
        breakers.observe(NOW, e.Stopping(why="signal"))
    assert breakers.observe(NOW, start) == ()
    assert len(breakers.observe(NOW, start)) == 1


@pytest.mark.parametrize("item", [
    Anomaly("fill_after_close", 0, "kalshi", ""), Anomaly("gate_heat", 0, "kalshi", ""),
    Anomaly("some_other", 0, "kalshi", ""), e.FeedUp(venue="kalshi"), c.Resubscribe(market=0),
    e.Sent(order_id=1), e.Closed(order_id=99, why="expired", filled=0), e.Refused(order_id=99, why="no_cash"),
])  # fmt: skip
def test_what_is_only_told(item):
    breakers = fresh(max_refusals=1, max_unasked_ends=1)
    before = breakers.encode()
    assert breakers.observe(NOW, item) == ()
    assert breakers.encode() == before


# --- episodes, folds, bytes -----------------------------------------------------------------------------


def test_a_fault_that_goes_on_puts_off_the_return():
    breakers = fresh(max_book_disagreements=2, pause_seconds=60)
    for k in range(8):
        trips = breakers.observe(NOW + 20 * k * SECOND, e.BookInvalid(market=1, why="differs"))
        assert len(trips) == (1 if k == 1 else 0)
    assert breakers.next_due_ns == NOW + (140 + 60) * SECOND
    assert breakers.due(NOW + 199 * SECOND) == ()
    assert breakers.due(NOW + 200 * SECOND) == (e.Released(breaker="book_disagreements", market=1),)


def test_what_the_engine_concludes_stands():
    breakers = fresh()
    for name in (DAILY_LOSS, "invariant_brain"):
        breakers.observe(NOW, e.Tripped(breaker=name, market=-1, until_ns=0, text="lost"))
    assert breakers.is_blocked(2)
    assert breakers.observe(NOW, e.Released(breaker=DAILY_LOSS, market=-1)) == ()
    assert breakers.tripped() == (("invariant_brain", -1, 0),)
    breakers.observe(NOW, e.Tripped(breaker=DAILY_LOSS, market=-1, until_ns=NOW + 9, text="until midnight"))
    assert breakers.due(NOW + 9) == (e.Released(breaker=DAILY_LOSS, market=-1),)


CONFIG = RiskConfig(
    max_errors=3, max_refusals=3, max_crossings=2, fill_burst_count=4, max_unasked_ends=3, max_churn=3,
    max_book_disagreements=2, max_malformed=5, pause_seconds=2, stall_pause_seconds=1, settlement_fills=5,
)  # fmt: skip
ids = st.integers(1, 6)
venues = st.sampled_from(["kalshi", "polymarket"])
rows = st.integers(0, 2)
word = st.just("x")
inputs = st.one_of(
    st.builds(e.Refused, order_id=ids, why=st.sampled_from(["post_only_cross", "no_cash"])),
    st.builds(e.AnswerLost, order_id=ids, request=st.just("place"), why=word),
    st.builds(e.Closed, order_id=ids, why=st.sampled_from(["none", "expired"]), filled=st.integers(-1, 1)),
    st.builds(fill, st.integers(0, 9), rows, order_id=ids),
    st.builds(e.FillVoided, market=rows, trade_id=st.sampled_from(["t1", "t2"]), why=word),
    st.builds(e.BookInvalid, market=rows, why=st.sampled_from(["differs", "gap"])),
    st.builds(e.Malformed, venue=venues, count=st.integers(1, 3), why=word),
    st.builds(Anomaly, st.sampled_from(sorted(ANOMALIES)), st.integers(-1, 2), venues, word),
    st.just(e.LoopStalled(gap_ns=SECOND)),
)
resume = e.Resume(command_id="1", who="x", reason="y")
sent = st.one_of(st.builds(place, ids, rows), st.builds(c.Cancel, order_id=ids, market=st.just(0)))
steps = st.tuples(
    st.integers(0, 2 * SECOND),
    st.sampled_from([(), (), (), (resume,)]),
    st.lists(inputs, max_size=4),
    st.lists(sent, max_size=4),
)


@given(st.lists(steps, max_size=25), st.integers(0, 24))
def test_a_fold_and_a_restart_end_in_the_same_state(story, cut):
    """Live, what is returned is concluded at once; folded, it comes after the inputs and before the commands.

    A refusal of the gate is in no journal, so only the trip that comes of it is folded.
    """
    live, folded = Breakers(CONFIG), Breakers(CONFIG)
    now = NOW
    for k, (gap, person, evidence, commands) in enumerate(story):
        now += gap
        events, derived = [*person, *evidence], []
        for item in (*events, None, *commands):
            trips = live.due(now) if item is None else live.observe(now, item)
            assert [live.observe(now, trip) for trip in trips] == [()] * len(trips)
            derived += trips
        journal = [x for x in events if not (isinstance(x, Anomaly) and x.code.startswith("gate_"))]
        for item in (*journal, *derived, *commands):
            folded.fold(now, item)
        assert live.encode() == folded.encode()
        assert live.tripped() == folded.tripped()
        if k == cut:
            folded = Breakers(CONFIG)
            folded.load(live.encode())


def test_a_fold_under_other_thresholds_keeps_what_tripped():
    strict, loose = fresh(max_unasked_ends=1), fresh(max_unasked_ends=50)
    end = e.Closed(order_id=1, why="expired", filled=0)
    strict.observe(NOW, place(1))
    (trip,) = strict.observe(NOW, end)
    for item in (place(1), end, trip):
        loose.fold(NOW, item)
    assert loose.tripped() == strict.tripped() == (("unasked_ends", 0, 0),)
    folded = fresh(max_unasked_ends=1)
    for item in (place(1), end):  # the journal tells of no trip
        folded.fold(NOW, item)
    assert folded.tripped() == ()


@given(st.lists(st.tuples(st.integers(0, 30 * SECOND), st.integers(1, 3)), max_size=80))
def test_a_window_against_a_plain_sum(events):
    breakers = fresh(max_malformed=100_000, malformed_window_seconds=60)
    plain, now = deque(), NOW
    for gap, count in events:
        now += gap
        breakers.observe(now, e.Malformed(venue="kalshi", count=count, why="x"))
        plain.append((now, count))
        window = breakers._windows["malformed|kalshi"]
        assert window.total == sum(n for at, n in plain if at > now - 60 * SECOND)


def test_memory_is_bounded():
    breakers = fresh(max_malformed=100_000, fill_burst_contracts=0, fill_burst_count=0)
    for k in range(MAX_ENTRIES + 50):
        breakers.observe(NOW + k, e.Malformed(venue="kalshi", count=2, why="x"))
    window = breakers._windows["malformed|kalshi"]
    assert (len(window.entries), window.total) == (MAX_ENTRIES, 2 * (MAX_ENTRIES + 50))  # none is lost
    for k in range(MAX_ORDERS + 20):
        breakers.observe(NOW, place(k))
    for k in range(MAX_FILLS + 20):
        breakers.observe(NOW, fill(k))
    assert (len(breakers._orders), min(breakers._orders)) == (MAX_ORDERS, 20)
    assert len(breakers._fills["kalshi"]) == MAX_FILLS


# --- the table ----------------------------------------------------------------------------------------


def test_what_latches():
    latching = {name for name in BREAKERS if latches(name)}
    assert latching == {
        "drift", "overfill", "final_conflict", DAILY_LOSS, "clock_skew", "log_failure", "crash_loop",
        "invariant",
    }  # fmt: skip
    assert latches("invariant_brain")
    assert latches("never_heard_of")


@pytest.mark.parametrize(
    ("alert", "severity"),
    [
        ("drift", "critical"),
        ("errors", "medium"),
        ("invariant_brain", "critical"),
        ("anomaly_cash_drift", "critical"),
        ("anomaly_gate_fat_finger", "high"),
        ("anomaly_gate_heat", "medium"),
        ("anomaly_late_fill", "medium"),
        ("feed_down_kalshi", "medium"),
    ],
)
def test_severities(alert, severity):
    assert severity_of(alert) == severity


def test_every_setting_of_the_table_exists():
    fields = RiskConfig.model_fields
    for row in BREAKERS.values():
        assert {row.threshold, row.window} - {""} <= fields.keys(), row.name
        assert row.pause in fields


def test_every_code_of_the_account_is_in_the_table():
    """What the engine reports as odd is either counted by a breaker or known to be only told."""
    codes = set()
    for path in sorted((SOURCE / "engine").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        codes |= set(re.findall(r"(?:Anomaly|alarm|odd|anomaly|notice)\(\s*\"([a-z_]+)\"", text))
    assert codes - set(ANOMALIES) == set()
    assert "ghost_fill" in codes
