"""The engine through `step`: what venues, clocks and people do, and what leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_cases import CONTRACT, NO_ROWS, SECOND, START, Desk, cancelled, listing, placed, rows, snapshot

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.engine import holds as h
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy


def now(seconds: float) -> int:
    return START + round(seconds * SECOND)


# --- the usual way --------------------------------------------------------------------------------


def test_a_book_makes_two_orders_of_the_default_quote():
    places = Desk().quote()
    assert [(p.side, p.price, p.size) for p in places] == [
        (d.BID, 4800, 10 * CONTRACT),
        (d.ASK, 5200, 10 * CONTRACT),
    ]
    assert all(p.tif == d.POST_ONLY and p.expiry_ns == 0 for p in places)


def test_orders_carry_their_own_death_where_the_settings_say_so():
    risk = RiskConfig(order_life_seconds=60, renew_before_seconds=10)
    places = Desk(risk=risk).quote(seconds=5)
    assert {p.expiry_ns for p in places} == {now(65)}


def test_a_resting_order_is_renewed_before_it_expires():
    desk = Desk(risk=RiskConfig(order_life_seconds=60, renew_before_seconds=10))
    places = desk.quote()
    desk.accept(1.1, places)
    for second in range(2, 56):
        desk.at(second, e.FeedAlive(venue="kalshi", venue_ns=now(second)))
    renewed = desk.sent(c.Renew)
    assert {r.order_id for r in renewed} == {p.order_id for p in places}
    assert all(r.expiry_ns > now(100) for r in renewed)


def test_a_fill_is_told_to_brain_account_and_strategy():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(1.2, desk.fill(places[0], "t1", 4))
    assert desk.engine.brain.holding(0) == (4 * CONTRACT, 0)
    assert desk.engine.account.position(0).yes_contracts == 4 * CONTRACT
    assert desk.engine.account.cash_micros == desk.cash_micros - 4 * 480_000
    assert desk.engine.strategy.inventory("T0").net_position == 4 * CONTRACT


def test_the_engine_calls_update_inventory_of_the_users_own_strategy():
    calls = []

    class Mine(MarketMakingStrategy):
        def update_inventory(self, **fill):
            calls.append(fill)
            return super().update_inventory(**fill)

    desk = Desk(begin=False)
    desk.engine = Engine(RiskConfig())
    desk.engine.register_strategy(Mine())
    desk.at(0, e.Started(version="1", account="", settings="", cash_micros=desk.cash_micros), listing(),
            e.FeedUp(venue="kalshi"))  # fmt: skip
    desk.agree(0.001)
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(1.2, desk.fill(places[1], "t1", 3))
    assert [(x["market_id"], x["side"], x["quantity"], x["price"]) for x in calls] == [
        ("T0", "buy_no", "3", "0.5200")
    ] or [(x["market_id"], x["side"]) for x in calls] == [("T0", "buy_no")]
    assert desk.engine.strategy.inventory("T0").net_position == -3 * CONTRACT


def test_all_waiting_data_is_applied_before_one_decision():
    desk = Desk()
    book = rows(now(1), (d.BID, 3000, 40_000), (d.ASK, 3400, 40_000), (d.ASK, 3400, 0), (d.BID, 4500, 40_000),
                (d.ASK, 5500, 40_000))  # fmt: skip
    places = placed(desk.at(1, data=book))
    assert [p.price for p in places] == [4800, 5200]
    assert int(desk.engine.world.stats["decisions"][0]) == 1


def test_time_never_goes_back():
    desk = Desk()
    desk.at(2)
    with pytest.raises(WorkError, match="time never goes back"):
        desk.at(1)


def test_one_strategy_an_engine():
    engine = Engine(RiskConfig())
    with pytest.raises(UsageError, match="no strategy"):
        engine.step(1, rows(1), [])
    engine.register_strategy(MarketMakingStrategy())
    with pytest.raises(UsageError, match="has its strategy"):
        engine.register_strategy(MarketMakingStrategy())


def test_timers_run_at_their_own_time_before_a_late_step():
    """A quote is decided again when it is 30 s old, also when the next step comes a minute later."""
    desk = Desk()
    desk.accept(1.1, desk.quote())
    steps = desk.engine.advance(now(75), NO_ROWS, ())
    assert int(desk.engine.world.quotes["now_ns"][0]) == now(61)
    assert [step.now_ns for step in steps] == sorted({step.now_ns for step in steps})
    assert all(step.now_ns <= now(75) for step in steps)


def test_what_was_due_in_a_sleep_happens_after_it_was_noticed():
    """No quote is decided at a time that was slept through."""
    desk = Desk()
    desk.accept(1.1, desk.quote())
    before_ns = desk.engine.now_ns
    steps = desk.engine.advance(now(600), NO_ROWS, (e.ClockJumped(gap_ns=599 * SECOND),))
    assert int(desk.engine.world.quotes["now_ns"][0]) == now(600)
    assert [step.now_ns for step in steps] == [now(600)]
    assert steps[0].inputs == (e.ClockJumped(gap_ns=599 * SECOND, awake_ns=before_ns),)


def test_a_replay_runs_the_timers_of_before_a_sleep_at_their_own_time():
    """What ran before the sleep left no step behind; the jump says until when it ran."""
    live, replayed = Desk(), Desk()
    for desk in (live, replayed):
        desk.accept(1.1, desk.quote())
    for second in (31.5, 62.5):
        live.engine.advance(now(second), NO_ROWS, ())  # the quote is looked at again, nothing is sent
    jump = live.engine.advance(now(600), NO_ROWS, (e.ClockJumped(gap_ns=500 * SECOND),))[-1]
    replayed.engine.advance(jump.now_ns, NO_ROWS, jump.inputs)
    assert replayed.engine.state_hash() == live.engine.state_hash()


# --- what stops quoting ---------------------------------------------------------------------------


def test_nothing_is_quoted_before_the_venue_agrees():
    desk = Desk(begin=False)
    desk.at(0, e.Started(version="1", account="", settings="", cash_micros=desk.cash_micros), listing())
    assert desk.quote(1) == []
    step = desk.at(2, e.FeedUp(venue="kalshi"))
    assert {type(x) for x in step.commands} >= {c.ReadOrders, c.ReadFills, c.ReadPositions, c.ReadBalance}
    assert placed(step) == []
    assert len(placed(desk.agree(3))) == 2


def test_a_lost_feed_pulls_quotes_and_a_snapshot_brings_them_back():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    down = desk.at(2, e.FeedDown(venue="kalshi", why="closed"))
    assert sorted(cancelled(down)) == [p.order_id for p in places]
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    desk.at(3, e.FeedUp(venue="kalshi"))
    assert placed(desk.agree(3.1)) == []  # the book is still of before
    back = desk.at(4, data=snapshot(now(4), 4400, 5600))
    assert [p.price for p in placed(back)] == [4800, 5200]
    assert "feed_down_kalshi" in desk.alert_names


@pytest.mark.parametrize("why", ["gap", "crossed", "overflow", "negative_size"])
def test_a_broken_book_is_asked_for_and_not_quoted(why):
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    broken = desk.at(2, e.BookInvalid(market=0, why=why))
    assert sorted(cancelled(broken)) == [p.order_id for p in places]
    assert c.Resubscribe(market=0) in broken.commands
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    assert desk.quote(3, bid=4400) == []
    assert len(placed(desk.at(4, data=snapshot(now(4), 4400, 5600)))) == 2


def test_silence_of_a_feed_that_was_alive_pulls_quotes():
    desk = Desk(risk=RiskConfig(feed_timeout_seconds=10))
    desk.at(0.5, e.FeedAlive(venue="kalshi", venue_ns=now(0.5)))
    places = desk.quote()
    desk.accept(1.1, places)
    silent = desk.at(11)
    assert sorted(cancelled(silent)) == [p.order_id for p in places]
    assert e.Held(market=-1, venue="kalshi", why=h.FEED_STALE, on=True) in silent.derived
    desk.at(11.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    again = desk.at(12, e.FeedAlive(venue="kalshi", venue_ns=now(12)))
    assert len(placed(again)) == 2


def test_proof_of_life_counts_by_the_venues_clock():
    """A feed that lags 12 s behind is stale, however lively the link."""
    desk = Desk(risk=RiskConfig(feed_timeout_seconds=10))
    desk.at(0.5, e.FeedAlive(venue="kalshi", venue_ns=now(0.5)))
    places = desk.quote()
    desk.accept(1.1, places)
    lagging = [desk.at(s, e.FeedAlive(venue="kalshi", venue_ns=now(0.4))) for s in (8, 12)]
    assert sorted(cancelled(lagging[1])) == [p.order_id for p in places]


@pytest.mark.parametrize("status", ["paused", "restarting", "closed"])
def test_an_exchange_that_is_not_open_is_not_quoted(status):
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    shut = desk.at(2, e.VenueStatus(venue="kalshi", status=status))
    assert sorted(cancelled(shut)) == [p.order_id for p in places]
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    assert len(placed(desk.at(3, e.VenueStatus(venue="kalshi", status="open")))) == 2


def test_one_venue_down_leaves_the_other_alone():
    desk = Desk(listing(0), listing(1, venue="polymarket", nets_positions=False))
    kalshi, polymarket = desk.quote(1, 0), desk.quote(1.1, 1)
    desk.accept(1.2, [*kalshi, *polymarket])
    down = desk.at(2, e.FeedDown(venue="kalshi", why="closed"))
    assert sorted(cancelled(down)) == [p.order_id for p in kalshi]


def test_after_a_sleep_everything_is_asked_again():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    woken = desk.at(600, e.ClockJumped(gap_ns=500 * SECOND))
    assert sorted(cancelled(woken)) == [p.order_id for p in places]
    kinds = {type(x) for x in woken.commands}
    assert {c.Resubscribe, c.ReadOrders, c.ReadFills, c.ReadPositions, c.ReadBalance} <= kinds
    assert placed(woken) == []
    assert "clock_jump" in desk.tripped()


def test_a_second_route_that_differs_twice_breaks_the_book():
    desk = Desk()
    desk.accept(1.1, desk.quote())
    for seconds in (10, 20):
        read = {"asked_ns": now(seconds - 1), "as_of_ns": now(seconds), "bid_price": 100, "ask_price": 200}
        step = desk.at(seconds, e.BookRead(market=0, **read))
    assert e.BookInvalid(market=0, why="differs") in step.derived
    assert len(cancelled(step)) == 2
    assert "book_differs" in desk.alert_names


def test_a_failed_journal_leaves_only_cancels():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    failed = desk.at(2, e.LogFailed(why="no space left"))
    assert sorted(cancelled(failed)) == [p.order_id for p in places]
    assert any(isinstance(x, c.CancelAll) for x in failed.commands)
    assert any(isinstance(x, c.SetLatch) for x in failed.commands)
    assert desk.quote(3, bid=4300) == []


# --- people ---------------------------------------------------------------------------------------


def test_halt_cancels_latches_and_waits_for_a_person():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    halted = desk.at(2, e.Halt(command_id="1", who="me", reason="lunch"))
    assert sorted(cancelled(halted)) == [p.order_id for p in places]
    assert next(type(x) for x in halted.commands) is c.SetLatch
    assert c.CancelAll(venue="kalshi", why="halt") in halted.commands
    assert [x.ok for x in halted.commands if isinstance(x, c.Answer)] == [True]
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    assert desk.quote(3, bid=4300) == []
    resumed = desk.at(4, e.Resume(command_id="2", who="me", reason="back"))
    assert c.ClearLatch(who="me", reason="back") in resumed.commands
    assert len(placed(resumed)) == 2


def test_a_latch_found_at_the_start_holds_everything():
    desk = Desk(begin=False)
    desk.at(0, e.Latched(reason="drift", text="before"),
            e.Started(version="1", account="", settings="", cash_micros=desk.cash_micros), listing(),
            e.FeedUp(venue="kalshi"))  # fmt: skip
    desk.agree(0.1)
    assert desk.quote() == []
    assert "halted" in desk.alert_names
    assert len(placed(desk.at(2, e.Resume(command_id="1", who="me", reason="checked")))) == 2


def test_pause_pulls_one_market_only():
    desk = Desk(listing(0), listing(1))
    first, second = desk.quote(1, 0), desk.quote(1.1, 1)
    desk.accept(1.2, [*first, *second])
    paused = desk.at(2, e.PauseMarket(command_id="1", who="me", market=0, paused=True))
    assert sorted(cancelled(paused)) == [p.order_id for p in first]
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in first))
    on = desk.at(3, e.PauseMarket(command_id="2", who="me", market=0, paused=False))
    assert len(placed(on)) == 2


def test_flatten_sells_what_is_held_within_the_slippage():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(
        1.2,
        desk.fill(places[0], "t1", 10),
        e.Closed(order_id=places[0].order_id, why="filled", filled=10 * CONTRACT),
    )
    flat = desk.at(2, e.Flatten(command_id="1", who="me", market=0, max_slippage_micros=60_000))
    assert [x.text for x in flat.commands if isinstance(x, c.Answer)] == [
        "selling what is held in 1 market; quoting stays off there"
    ]
    gone = (e.Closed(order_id=order_id, why="none", filled=0) for order_id in cancelled(flat))
    exits = placed(flat) + placed(desk.at(2.1, *gone))
    assert [(p.side, p.size) for p in exits] == [(d.ASK, 10 * CONTRACT)]
    fair = int(desk.engine.world.markets["fair_micros"][0])
    assert fair - 60_000 <= exits[0].price * 100 <= fair


def test_a_person_may_flatten_while_everything_is_halted():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(1.2, desk.fill(places[0], "t1", 6))
    desk.at(2, e.Halt(command_id="1", who="me", reason=""))
    sizes = {p.order_id: p.size for p in desk.sent(c.Place)}
    left = desk.engine.account.open_orders(0)
    ends = {o.order_id: sizes[o.order_id] - o.remaining for o in left}
    desk.at(2.1, *(e.Closed(order_id=i, why="none", filled=filled) for i, filled in ends.items()))
    flat = desk.at(3, e.Flatten(command_id="2", who="me", market=0, max_slippage_micros=60_000))
    assert [(p.side, p.size, p.tif) for p in placed(flat)] == [(d.ASK, 6 * CONTRACT, d.LIMIT)]


def test_a_person_may_flatten_after_the_daily_loss():
    desk = losing_desk()
    places = desk.sent(c.Place)
    crash(desk, 2)
    desk.at(2.1, e.Closed(order_id=places[1].order_id, why="none", filled=0))
    flat = desk.at(3, e.Flatten(command_id="2", who="me", market=0, max_slippage_micros=60_000))
    assert [(p.side, p.size) for p in placed(flat)] == [(d.ASK, 40 * CONTRACT)]


def test_nobody_flattens_on_a_book_that_is_not_known():
    desk = losing_desk()
    desk.at(2, e.BookInvalid(market=0, why="gap"))
    flatten = e.Flatten(command_id="2", who="me", market=0, max_slippage_micros=60_000)
    assert placed(desk.at(3, flatten)) == []


@pytest.mark.parametrize("command", [
    e.PauseMarket(command_id="1", who="me", market=7, paused=True),
    e.Flatten(command_id="1", who="me", market=7, max_slippage_micros=0),
    e.Flatten(command_id="1", who="me", market=0, max_slippage_micros=-1),
])  # fmt: skip
def test_an_impossible_command_is_answered(command):
    step = Desk().at(1, command)
    assert [x.ok for x in step.commands if isinstance(x, c.Answer)] == [False]


def test_stopping_cancels_everything_and_quotes_nothing_more():
    desk = Desk()
    places = desk.quote()
    desk.accept(1.1, places)
    stopping = desk.at(2, e.Stopping(why="SIGTERM"))
    assert sorted(cancelled(stopping)) == [p.order_id for p in places]
    desk.at(2.1, *(e.Closed(order_id=p.order_id, why="none", filled=0) for p in places))
    assert desk.quote(3, bid=4300) == []


# --- the day's loss ---------------------------------------------------------------------------------


def losing_desk(**settings) -> Desk:
    """Holds 40 YES bought at 0.48 under a limit of $5 a day; the market then falls."""
    config = MarketMakingConfig(daily_loss_limit=5, quote_size=40, max_order_size=100, **settings)
    end_ns = START + 160 * 3600 * SECOND
    desk = Desk(listing(close_ns=end_ns, resolution_ns=end_ns), config=config)
    places = desk.quote()
    desk.accept(1.1, places)
    desk.at(
        1.2,
        desk.fill(places[0], "t1", 40),
        e.Closed(order_id=places[0].order_id, why="filled", filled=40 * CONTRACT),
    )
    return desk


def crash(desk: Desk, seconds: float):
    gone = ((d.BID, 4500, 0), (d.ASK, 5500, 0), (d.BID, 3000, 40_000), (d.ASK, 3400, 40_000))
    return desk.at(seconds, data=rows(now(seconds), *gone))


def test_the_daily_loss_latches_and_cancels():
    desk = losing_desk()
    step = crash(desk, 2)
    assert desk.tripped() == ["daily_loss"]
    assert any(x.reason == "daily_loss" for x in step.commands if isinstance(x, c.SetLatch))
    assert c.CancelAll(venue="kalshi", why="daily_loss") in step.commands
    assert placed(step) == []
    assert desk.engine.world.account["killed"][0] == 1


def test_the_daily_loss_warns_at_four_fifths():
    desk = losing_desk()
    gone = ((d.BID, 4500, 0), (d.ASK, 5500, 0), (d.BID, 3500, 40_000), (d.ASK, 3800, 40_000))
    desk.at(2, data=rows(now(2), *gone))  # 40 x (0.48 - 0.365) = $4.60
    desk.at(10)
    assert "daily_loss_near" in desk.alert_names and not desk.tripped()


def test_the_daily_loss_holds_across_restart_and_midnight():
    desk = losing_desk()
    crash(desk, 2)
    for seconds in (3, 86_400, 2 * 86_400):
        assert placed(crash(desk, seconds)) == []
    again = folded(desk)
    desk.restart(again, 3 * 86_400)
    desk.agree(3 * 86_400 + 1)
    left = again.account.open_orders(0)
    desk.at(3 * 86_400 + 1.5, *(e.Closed(order_id=o.order_id, why="none", filled=0) for o in left))
    assert desk.quote(3 * 86_400 + 2) == []
    resumed = desk.at(3 * 86_400 + 3, e.Resume(command_id="1", who="me", reason="looked"))
    assert placed(resumed), "a person may go on"


def test_the_loss_of_the_day_goes_on_over_a_restart_below_the_limit():
    desk = losing_desk()
    gone = ((d.BID, 4500, 0), (d.ASK, 5500, 0), (d.BID, 3600, 40_000), (d.ASK, 3900, 40_000))
    desk.at(2, data=rows(now(2), *gone))
    lost = desk.engine.day_loss_micros
    again = desk.new_engine()
    again.load(desk.engine.save())
    desk.restart(again, 3)
    assert again.day_loss_micros == lost == 40 * 105_000
    desk.agree(3.1)
    desk.at(4, data=snapshot(now(4), 3300, 3600))  # another $1.20 on top
    assert desk.tripped() == ["daily_loss"]


def test_a_day_that_rearms_by_the_operators_word_needs_no_person():
    desk = losing_desk(rearm_daily=True)
    crash(desk, 2)
    assert not any(isinstance(x, c.SetLatch) for x in desk.sent(c.SetLatch))
    day = 86_400
    until = desk.engine.watch.day_end_ns
    step = desk.at((until - START) / SECOND + 1, data=rows(until + SECOND, (d.BID, 3010, 40_000)))
    assert any(isinstance(x, e.Released) and x.breaker == "daily_loss" for x in step.derived), day


# --- recovery ---------------------------------------------------------------------------------------


def traded_desk() -> Desk:
    desk = Desk(listing(0), listing(1))
    first, second = desk.quote(1, 0), desk.quote(1.1, 1)
    desk.accept(1.2, [*first, *second])
    desk.at(1.3, desk.fill(first[0], "t1", 3), desk.fill(second[1], "t2", 2))
    return desk


def folded(desk: Desk) -> Engine:
    engine = desk.new_engine()
    for step in desk.steps:
        engine.fold(step)
    return engine


def test_a_fold_of_the_steps_gives_the_account_byte_for_byte():
    desk = traded_desk()
    assert folded(desk).account.encode() == desk.engine.account.encode()


def test_a_snapshot_and_a_tail_give_the_same_state():
    desk = traded_desk()
    half = len(desk.steps)
    blob = desk.engine.save()
    desk.at(2, desk.fill(desk.sent(c.Place)[1], "t3", 1))
    engine = desk.new_engine()
    engine.load(blob)
    for step in desk.steps[half:]:
        engine.fold(step)
    assert engine.account.encode() == desk.engine.account.encode()
    assert engine.save() == folded(desk).save()


def test_a_restart_counts_and_cancels_the_orders_of_before():
    desk = traded_desk()
    before = {o.order_id for m in (0, 1) for o in desk.engine.account.open_orders(m)}
    engine = folded(desk)
    step = desk.restart(engine, 10)
    for m in (0, 1):
        row = engine.world.markets[m]
        assert int(row.open_bid) + int(row.open_ask) > 0
    assert set(cancelled(step)) == before
    assert placed(step) == []
    left = {i: desk.engine.account.order(i).remaining for i in before}
    sizes = {p.order_id: p.size for p in desk.sent(c.Place)}
    desk.at(11, *(e.Closed(order_id=i, why="none", filled=sizes[i] - left[i]) for i in before))
    desk.agree(12)
    new = desk.quote(13, 0)
    assert new and min(p.order_id for p in new) > max(before)


def test_the_same_inputs_give_the_same_hash():
    hashes = set()
    for _ in range(2):
        desk = traded_desk()
        hashes.add(desk.engine.state_hash())
    assert len(hashes) == 1
    desk.at(5, desk.fill(desk.sent(c.Place)[0], "t9", 1))
    assert desk.engine.state_hash() not in hashes


def test_a_mute_stream_of_one_market_is_found_by_another_route():
    """The link is alive, this one market's stream says nothing, and the market moves on between two looks."""
    desk = Desk()
    desk.accept(1.1, desk.quote())
    for second in range(2, 90):
        step = desk.at(second, e.FeedAlive(venue="kalshi", venue_ns=now(second)))
        if any(isinstance(x, c.ReadBook) for x in step.commands):
            at = {"asked_ns": step.now_ns, "as_of_ns": step.now_ns + 1}
            moved = e.BookRead(market=0, bid_price=3000 - second, ask_price=4000 - second, **at)
            desk.at(second + 0.5, moved)
    assert "book_differs" in desk.alert_names
    assert desk.sent(c.Resubscribe)


def test_a_sale_told_before_the_purchase_is_no_fault():
    """A venue that keeps YES and NO apart may tell fills out of order; the strategy's inventory follows."""
    desk = Desk(listing(venue="polymarket", nets_positions=False))
    places = desk.quote()
    desk.accept(1.1, places)
    bid = next(p for p in places if p.side == d.BID)
    sale = desk.fill(bid, "late", 2, side=d.ASK, sell=True, order_id=0, exch_ns=now(3), price=5000)
    desk.at(1.2, sale)
    desk.at(1.3, desk.fill(bid, "early", 5, exch_ns=now(1)))
    held = desk.engine.account.position(0)
    mine = desk.engine.strategy.inventory("T0")
    assert (mine.yes_contracts, mine.no_contracts) == (held.yes_contracts, held.no_contracts)
    assert held.yes_contracts - held.no_contracts == 3 * CONTRACT
