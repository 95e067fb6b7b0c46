"""Every breaker, cap of the gate and alert fires through `step`, by what a venue or a clock says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_cases import CONTRACT, SECOND, START, Desk, cancelled, listing, placed, rows

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine import holds as h
from pr3dict.engine.brain_port import BrainPort
from pr3dict.kernels import dtypes as d
from pr3dict.risk.breaker_table import BREAKERS
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig


def now(seconds: float) -> int:
    return START + round(seconds * SECOND)


def resting(**risk) -> tuple[Desk, list[c.Place]]:
    """Two accepted orders of one market."""
    desk = Desk(risk=RiskConfig(**risk))
    places = desk.quote()
    desk.accept(1.1, places)
    return desk, places


# --- breakers ---------------------------------------------------------------------------------------


def errors():
    desk, places = resting(max_errors=3)
    for i in range(3):
        desk.at(2 + i, e.AnswerLost(order_id=places[0].order_id, request="cancel", why="timeout"))
    return desk


def refuse_three(desk: Desk, why: str) -> Desk:
    """The venue refuses each order that comes."""
    waiting = desk.quote()
    for second in range(2, 12):
        refused = (e.Refused(order_id=p.order_id, why=why) for p in waiting)
        waiting = placed(desk.at(second * 1.5, *refused))
        nudge = rows(now(second * 1.5 + 0.5), (d.BID, 4500, 40_000 + second))
        waiting += placed(desk.at(second * 1.5 + 0.5, data=nudge))
    return desk


def refusals():
    return refuse_three(Desk(risk=RiskConfig(max_refusals=4)), "rate_limit")


def crossings():
    return refuse_three(Desk(risk=RiskConfig(max_crossings=4)), "post_only_cross")


def fill_burst_contracts():
    desk, places = resting(fill_burst_contracts=5)
    desk.at(1.2, desk.fill(places[0], "a", 3), desk.fill(places[1], "b", 2))
    return desk


def fill_burst_count():
    desk, places = resting(fill_burst_count=3)
    desk.at(1.2, *(desk.fill(places[0], f"t{i}", 1) for i in range(3)))
    return desk


def unasked_ends():
    desk, places = resting(max_unasked_ends=4)
    for second in range(2, 8):
        gone = (e.Closed(order_id=p.order_id, why="expired", filled=0) for p in places)
        places = placed(desk.at(second, *gone))
        desk.accept(second + 0.1, places)
    return desk


def churn():
    desk, _ = resting(max_churn=4, churn_life_seconds=10)
    for i in range(4):
        old = ((d.BID, 4500 + 300 * i, 0), (d.ASK, 5500 + 300 * i, 0))
        new = ((d.BID, 4800 + 300 * i, 40_000), (d.ASK, 5800 + 300 * i, 40_000))
        step = desk.at(2 + i, data=rows(now(2 + i), *old, *new))
        closed = (e.Closed(order_id=order_id, why="none", filled=0) for order_id in cancelled(step))
        desk.accept(2.3 + i, placed(step) + placed(desk.at(2.2 + i, *closed)))
    return desk


def absurd_orders(monkeypatch):
    absurd(monkeypatch, price=9_900)
    desk = Desk(risk=RiskConfig(absurd_orders=2, price_collar="0.05"))
    desk.quote()
    desk.at(5)
    return desk


def settlement_failures():
    desk, places = resting(max_settlement_failures="0.5", settlement_fills=5)
    desk.at(1.2, *(desk.fill(places[0], f"t{i}", 1, final=False) for i in range(3)))
    desk.at(1.3, *(e.FillVoided(market=0, trade_id=f"t{i}", why="failed") for i in range(3)))
    return desk


def foreign_orders():
    desk, _ = resting(max_foreign_orders=2)
    for i in range(2):
        desk.at(2 + i, e.Filled(trade_id=f"x{i}", order_id=0, market=0, side=d.BID, price=5000, size=CONTRACT,
                                exch_ns=now(2)))  # fmt: skip
    return desk


def fill_conflict():
    desk, places = resting()
    desk.at(1.2, desk.fill(places[0], "t", 1))
    desk.at(1.3, desk.fill(places[0], "t", 2))
    return desk


def drift():
    desk, _ = resting()
    for i in range(4):
        at = {"asked_ns": now(40 + 40 * i) - 1, "as_of_ns": now(40 + 40 * i)}
        desk.at(40 + 40 * i, e.FillsRead(venue="kalshi", since_ns=0, fills=(), **at),
                e.PositionsRead(venue="kalshi", **at, positions=(
                    e.VenuePosition(market=0, yes_contracts=7 * CONTRACT, no_contracts=0),)))  # fmt: skip
    return desk


def overfill():
    desk, places = resting()
    desk.at(1.2, desk.fill(places[0], "t", 25))
    return desk


def final_conflict():
    desk, places = resting()
    desk.at(1.2, desk.fill(places[0], "t", 1))
    desk.at(1.3, e.FillVoided(market=0, trade_id="t", why="failed"))
    return desk


def daily_loss():
    desk = Desk(config=MarketMakingConfig(daily_loss_limit=5, quote_size=40, max_order_size=100))
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(1.2, desk.fill(places[0], "t1", 40))
    fall = ((d.BID, 4500, 0), (d.ASK, 5500, 0), (d.BID, 3000, 40_000), (d.ASK, 3400, 40_000))
    desk.at(2, data=rows(now(2), *fall))
    return desk


def said(*events: e.Control, **risk) -> Callable[[], Desk]:
    def scenario() -> Desk:
        desk, _ = resting(**risk)
        for i, event in enumerate(events):
            desk.at(2 + i, event)
        return desk

    return scenario


def crash_loop():
    desk = Desk(risk=RiskConfig(max_starts=3))
    started = e.Started(version="1", account="", settings="", cash_micros=0)
    desk.quote()
    desk.at(2, started)
    desk.at(3, started)
    return desk


def book_disagreements():
    desk, _ = resting(max_book_disagreements=1)
    for seconds in (10, 20):
        at = {"asked_ns": now(seconds - 1), "as_of_ns": now(seconds)}
        desk.at(seconds, e.BookRead(market=0, bid_price=100, ask_price=200, **at))
    return desk


def invariant(monkeypatch):
    desk, _ = resting()
    monkeypatch.setattr(BrainPort, "error", property(lambda self: "a ring is full"))
    desk.at(2)
    return desk


SCENARIOS = {
    "errors": errors,
    "refusals": refusals,
    "crossings": crossings,
    "fill_burst_contracts": fill_burst_contracts,
    "fill_burst_count": fill_burst_count,
    "unasked_ends": unasked_ends,
    "churn": churn,
    "absurd_orders": absurd_orders,
    "settlement_failures": settlement_failures,
    "foreign_orders": foreign_orders,
    "fill_conflict": fill_conflict,
    "drift": drift,
    "overfill": overfill,
    "final_conflict": final_conflict,
    "daily_loss": daily_loss,
    "clock_skew": said(e.ClockSkewed(venue="kalshi", skew_ns=-3 * SECOND)),
    "clock_jump": said(e.ClockJumped(gap_ns=3 * SECOND)),
    "loop_stall": said(e.LoopStalled(gap_ns=SECOND)),
    "log_stall": said(e.LogStalled(gap_ns=3 * SECOND)),
    "log_failure": said(e.LogFailed(why="no space left")),
    "malformed": said(e.Malformed(venue="kalshi", count=30, why="not JSON")),
    "book_disagreements": book_disagreements,
    "invalid_books": said(*(e.BookInvalid(market=0, why="gap") for _ in range(3)), max_invalid_books=3),
    "feed_losses": said(*(e.FeedDown(venue="kalshi", why="x") for _ in range(2)), max_feed_losses=2),
    "crash_loop": crash_loop,
    "invariant": invariant,
}


def test_every_breaker_has_a_scenario():
    assert SCENARIOS.keys() == BREAKERS.keys()


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_breaker(name, monkeypatch):
    scenario = SCENARIOS[name]
    wants_patch = scenario.__code__.co_argcount == 1
    desk = scenario(monkeypatch) if wants_patch else scenario()
    row = BREAKERS[name]
    fired = [trip for trip in desk.tripped() if trip == name or trip.startswith(f"{name}_")]
    assert fired, desk.tripped()
    words = desk.engine.holds.words(0, "kalshi")
    assert any(word.startswith(h.BREAKER + name) for word in words), words
    here = (desk.engine.now_ns - START) / SECOND
    assert not placed(desk.at(here + (1 if row.action == "pause" else 500))), "nothing is quoted meanwhile"
    latches = [x.reason for x in desk.sent(c.SetLatch)]
    assert any(reason.startswith(name) for reason in latches) == (row.action == "latch"), latches
    assert any(alert.startswith(name) for alert in desk.alert_names), desk.alert_names


PAUSES = sorted(name for name, row in BREAKERS.items() if row.action == "pause")


@pytest.mark.parametrize(
    "name", [n for n in PAUSES if n not in ("clock_jump", "feed_losses", "invalid_books")]
)
def test_a_pause_ends_by_itself(name):
    desk = SCENARIOS[name]()
    desk.agree((desk.engine.now_ns - START) / SECOND + 0.1)
    desk.at((desk.engine.now_ns - START) / SECOND + 70)
    assert any(isinstance(x, e.Released) and x.breaker == name for s in desk.steps for x in s.derived)
    assert not any(word == h.BREAKER + name for word in desk.engine.holds.words(0, "kalshi"))
    assert any(not alert.on and alert.name == name for alert in desk.alerts)


# --- the gate ---------------------------------------------------------------------------------------


def absurd(monkeypatch, **wrong) -> None:
    """A policy gone mad: every new order it sends has this price or size (fault 76)."""
    sane = BrainPort.messages

    def mad(self):
        for message in sane(self):
            yield message._replace(**wrong) if message.kind == d.NEW else message

    monkeypatch.setattr(BrainPort, "messages", mad)


MAD = {
    "price_range": {"price": 10_000},
    "price_band": {"price": 100},
    "bad_size": {"size": 0},
    "fat_finger": {"size": 10_000 * CONTRACT},
    "off_grid": {"price": 4_999},
    "lot": {"size": CONTRACT + 1},
    "min_size": {"size": 1},
}


@pytest.mark.parametrize("code", sorted(MAD))
def test_the_gate_refuses_what_a_mad_policy_asks(code, monkeypatch):
    absurd(monkeypatch, **MAD[code])
    desk = Desk()
    assert desk.quote() == []
    assert f"anomaly_gate_{code}" in desk.alert_names


def test_own_orders_never_meet(monkeypatch):
    absurd(monkeypatch, price=5_000)
    desk = Desk()
    assert [p.side for p in desk.quote()] == [d.BID]
    assert "anomaly_gate_own_cross" in desk.alert_names


CAPS = {
    "fat_finger": {"max_order_size": 5},
    "price_collar": {"price_collar": "0.01"},
    "rate_second": {"max_orders_per_second": 1},
    "rate_minute": {"max_orders_per_minute": 1},
    "market_loss": {"max_loss_per_market": 4},
    "event_loss": {"max_loss_per_event": 4},
    "total_loss": {"max_total_loss": 4},
    "cash": {"min_free_cash": "9996"},
}


@pytest.mark.parametrize("code", sorted(CAPS))
def test_a_cap_of_the_settings_stops_an_order(code):
    desk = Desk(risk=RiskConfig(**CAPS[code]))
    assert len(desk.quote()) < 2
    assert f"anomaly_gate_{code}" in desk.alert_names


def test_a_cap_that_is_not_reached_stops_nothing():
    roomy = {
        "max_order_size": 10, "price_collar": "0.02", "max_orders_per_second": 2, "max_orders_per_minute": 2,
        "max_loss_per_market": 5, "max_loss_per_event": 5, "max_total_loss": 5, "min_free_cash": "9990",
    }  # fmt: skip
    desk = Desk(risk=RiskConfig(**roomy))
    assert len(desk.quote()) == 2 and not desk.alerts


def test_no_order_rests_on_an_old_book():
    desk = Desk(risk=RiskConfig(max_data_age_seconds=20), config=MarketMakingConfig(max_quote_age_seconds=60))
    places = desk.quote()
    desk.accept(1.1, places)
    gone = (e.Closed(order_id=p.order_id, why="expired", filled=0) for p in places)
    assert placed(desk.at(30, *gone)) == []
    assert "anomaly_gate_stale" in desk.alert_names


@pytest.mark.parametrize(("final", "refused"), [(True, False), (False, True)])
def test_a_provisional_sale_frees_no_room(final, refused):
    """Ten bought for $4.80 and sold again: ten more fit under $9 only if the sale can't be void."""
    desk = Desk(risk=RiskConfig(max_loss_per_market=9))
    places = desk.quote()
    desk.accept(1.1, places)
    fills = [desk.fill(place, f"t{place.side}", 10, final=final or place.side == d.BID) for place in places]
    done = (e.Closed(order_id=p.order_id, why="filled", filled=10 * CONTRACT) for p in places)
    desk.at(1.2, *fills, *done)
    desk.at(3)
    assert ("anomaly_gate_market_loss" in desk.alert_names) == refused


# --- alerts -----------------------------------------------------------------------------------------


def test_alert_inventory_high_comes_and_goes():
    desk = Desk(config=MarketMakingConfig(quote_size=30, max_order_size=100))
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(1.2, desk.fill(places[0], "t1", 25))
    desk.at(10)
    assert "inventory_high" in desk.alert_names
    desk.at(11, desk.fill(places[1], "t2", 20))
    desk.at(20)
    assert [a.on for a in desk.alerts if a.name == "inventory_high"] == [True, False]


def test_an_anomaly_is_told_again_once_it_had_stayed_away():
    """Twice within a minute is one episode; after a quiet minute it is over, and the next one is told."""
    desk, _ = resting(max_foreign_orders=0)
    stranger = {"order_id": 0, "market": 0, "side": d.BID, "price": 5000, "size": CONTRACT}
    for second in range(2, 350, 4):
        trade = e.Filled(trade_id=f"x{second}", exch_ns=now(second), **stranger)
        desk.at(second, *([trade] if second in (2, 30, 202) else []))
    assert [a.on for a in desk.alerts if a.name == "anomaly_foreign_fill"] == [True, False, True, False]


def test_resume_tells_that_what_it_lifts_is_over():
    desk, places = resting()
    desk.at(1.2, desk.fill(places[0], "t", 25))
    assert "overfill" in desk.alert_names
    desk.at(2, e.Resume(command_id="1", who="me", reason="looked"))
    assert [a.on for a in desk.alerts if a.name == "overfill"] == [True, False]


def test_alert_quote_old():
    """A venue that never answers the cancel leaves an old quote standing."""
    desk, _ = resting(answer_timeout_seconds=30)
    desk.at(2, e.PauseMarket(command_id="1", who="me", market=0, paused=True))
    for second in range(10, 100, 10):
        desk.engine.world.markets["quoted_ns"][0] = now(1)
        desk.at(second)
    assert "quote_old" in desk.alert_names


def test_alert_fill_rate_low():
    desk = Desk(config=MarketMakingConfig(max_quote_age_seconds=1), risk=RiskConfig(max_churn=0))
    places = desk.quote()
    for i in range(220):
        desk.accept(2 + i, places)
        old, new = (4500, 5500) if i % 2 == 0 else (4000, 5000), (4000, 5000) if i % 2 == 0 else (4500, 5500)
        change = ((d.BID, old[0], 0), (d.ASK, old[1], 0), (d.BID, new[0], 40_000), (d.ASK, new[1], 40_000))
        step = desk.at(2.2 + i, data=rows(now(2.2 + i), *change))
        closed = (e.Closed(order_id=order_id, why="none", filled=0) for order_id in cancelled(step))
        places = placed(step) + placed(desk.at(2.4 + i, *closed))
    assert "fill_rate_low" in desk.alert_names


def test_two_markets_of_one_event_share_a_cap():
    pair = (listing(0, event_id="E", exclusive=True), listing(1, event_id="E", exclusive=True))
    desk = Desk(*pair, risk=RiskConfig(max_loss_per_event=8))
    assert len(desk.quote(1, 0)) == 2
    assert len(desk.quote(1.1, 1)) < 2
    assert "anomaly_gate_event_loss" in desk.alert_names


def test_what_a_settled_market_won_covers_nothing_that_is_open():
    """Profit of one outcome is cash once it is paid: the cap of the other outcome stays the same."""
    pair = (listing(0, event_id="E", exclusive=True), listing(1, event_id="E", exclusive=True))
    desk = Desk(*pair, risk=RiskConfig(max_loss_per_event=5))
    first = desk.quote(1, 0)
    desk.accept(1.1, first)
    bid = next(p for p in first if p.side == d.BID)
    done = e.Closed(order_id=bid.order_id, why="filled", filled=10 * CONTRACT)
    desk.at(1.2, desk.fill(bid, "t1", 10), done)
    left = desk.engine.account.open_orders(0)
    gone = (e.Closed(order_id=o.order_id, why="closed", filled=0) for o in left)
    desk.at(2, *gone, e.Settled(market=0, value_micros=1_000_000))
    assert [p.side for p in desk.quote(3, 1, bid=7000, ask=8000)] == [d.ASK]  # the bid may lose $7.30
    assert "anomaly_gate_event_loss" in desk.alert_names
