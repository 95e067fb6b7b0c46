"""The hour's allowed absence: what spends it, what yields when it runs short, and what never does."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from duty_floor import FIRST_HOUR_S, HOUR_S, MARKET, Floor, opened, programme, risk
from engine_cases import CONTRACT, NO_ROWS, SECOND, START, listing, rows

from pr3dict.domain import events as e
from pr3dict.domain.order import OrderState
from pr3dict.engine.standing import orders_standing
from pr3dict.engine.tracked import OpenOrder
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig


def test_the_part_of_the_first_hour_before_the_start_is_absent_and_the_next_hour_begins_with_a_full_budget():
    floor = Floor(risk=risk())
    assert floor.product().absent_ns > 800 * SECOND  # START is 800 s after a full hour
    assert floor.product().left_ns < 0
    floor = opened()
    assert floor.product().left_ns == 72 * SECOND
    assert (floor.product().hour_ns - START) // SECOND == FIRST_HOUR_S


def test_what_takes_quotes_away_spends_from_when_they_were_last_sure_to_rest():
    floor = opened()
    floor.go(FIRST_HOUR_S + 10)
    pause = e.PauseMarket(command_id="1", who="me", market=0, paused=True)
    floor.go(FIRST_HOUR_S + 30, pause)  # taken in at +11 s, cancels leave at once
    assert floor.product().absent_ns == 19 * SECOND
    assert floor.product().why == "no_orders"
    floor.go(FIRST_HOUR_S + 40, e.PauseMarket(command_id="2", who="me", market=0, paused=False))
    assert floor.product().why == ""
    assert floor.product().absent_ns == 21 * SECOND  # decided at +31 s, accepted at +32 s


def spiked(**terms):
    """A floor at the start of its second full hour, with an average minute of trade behind it.

    The first trades after a quiet time were a spike, so the hour before was kept to its reserve: its end
    costs this one the second that it takes to quote as usual again.
    """
    floor = opened(**terms)
    hour = FIRST_HOUR_S + HOUR_S
    floor.go(hour - 1200)
    for second in range(hour - 1200, hour, 20):
        floor.go(second + 20, trade=1)
    floor.go(hour + 3)
    assert floor.product().absent_ns <= SECOND
    assert len(floor.live()) == 2
    return floor, hour


def test_a_volume_pause_is_cut_short_when_only_the_reserve_is_left_and_pulls_no_more_that_hour():
    floor, hour = spiked(reserve_seconds=30)
    floor.go(hour + 30)
    floor.go(hour + 31, trade=5000)  # paused from +31 s for 60 s
    floor.go(hour + 71)
    assert floor.live() == []
    assert not floor.product().kept
    floor.go(hour + 73.5)  # 42 s of absence reach the reserve; the orders rest a second later
    assert floor.product().kept
    floor.go(hour + 76)
    assert len(floor.live()) == 2
    spent = floor.product().absent_ns
    assert 42 * SECOND < spent < 44 * SECOND
    (_, bid), (_, ask) = floor.live()
    assert ask - bid in (900, 1000)  # as wide as counts, and no wider
    floor.go(hour + 400, trade=9000)
    assert floor.product().absent_ns <= spent + 2 * SECOND  # it pulled nothing
    assert len(floor.live()) == 2
    assert "programme_budget" in floor.alert_names
    floor.go(hour + HOUR_S + 5)
    assert not floor.product().kept
    assert int(floor.engine.world.params[0].max_spread_micros) == 120_000
    floor.go(hour + HOUR_S + 8, trade=90_000)
    assert floor.live() == []  # a new hour, a new budget: the pause pulls again


def test_with_nothing_that_may_spend_every_pause_runs_its_length():
    floor, hour = spiked(may_spend=())
    floor.go(hour + 30)
    floor.go(hour + 95, trade=5000)
    assert floor.product().absent_ns >= 60 * SECOND
    floor.go(hour + 100, trade=20_000)
    floor.go(hour + 140, trade=20_000)
    assert floor.product().left_ns < 0  # the hour is lost rather than the pause
    assert "programme_breach" in floor.alert_names


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (e.PauseMarket(command_id="9", who="me", market=0, paused=True), "no_orders"),
        (e.Halt(command_id="9", who="me", reason="test"), "no_orders"),
        (e.FeedDown(venue="kalshi", why="gone"), "feed_down"),
        (e.BookInvalid(market=0, why="gap"), "no_orders"),
        (e.LoopStalled(gap_ns=2 * SECOND), "no_orders"),
        (e.VenueStatus(venue="kalshi", status="paused"), "closed"),
    ],
)
def test_holds_and_breakers_win_while_a_budget_is_kept(event, why):
    floor, hour = spiked(reserve_seconds=60)
    floor.go(hour + 45, trade=5000)
    assert floor.product().kept
    assert len(floor.live()) == 2
    floor.go(hour + 48, event)
    assert floor.live() == []
    assert floor.product().why == why
    assert floor.engine.world.markets[0].hold != d.HOLD_NOTHING


def test_limits_hold_while_a_budget_is_kept():
    """A position beyond `rebalance_threshold` quotes one side only, whatever the hour needs."""
    floor, hour = spiked(reserve_seconds=60)
    floor.go(hour + 45, trade=5000)
    assert floor.product().kept
    order = next(o for o in floor.engine.account.open_orders(0) if o.side == d.BID)
    fill = e.Filled(
        trade_id="t", order_id=order.order_id, market=0, side=d.BID, price=order.price, size=order.remaining,
        exch_ns=floor.engine.now_ns,
    )  # fmt: skip
    more = [
        msg for k in range(2)
        for msg in [e.Filled(trade_id=f"u{k}", order_id=0, market=0, side=d.BID, price=5000,
                             size=8 * CONTRACT, exch_ns=floor.engine.now_ns)]
    ]  # fmt: skip
    floor.go(hour + 47, fill, *more)
    assert floor.engine.account.position(0).net_contracts == 26 * CONTRACT
    assert {side for side, _ in floor.live()} <= {d.ASK}
    assert floor.product().why


def test_wide_quotes_are_pulled_in_only_where_the_user_says_that_they_may_be():
    for may_spend, widest in ((("volume_pause",), 120_000), (("volume_pause", "wide_spread"), 20_000)):
        wide = MarketMakingConfig(base_spread=Decimal("0.06"), min_spread=Decimal("0.02"))
        floor = Floor(risk=risk(max_spread="0.03", may_spend=may_spend), config=wide)
        floor.waiting = []
        now = START + 2 * SECOND
        book = rows(now, (d.BID, 4500, 40_000), (d.ASK, 5500, 40_000))
        floor.note(floor.engine.advance(now, book, ()))
        floor.second = 2.1
        floor.go(FIRST_HOUR_S + 65)
        params = floor.engine.world.params[0]
        assert floor.product().kept
        assert int(params.max_spread_micros) == widest
        floor.go(FIRST_HOUR_S + 71)
        assert (floor.product().why == "") == (widest == 20_000)


@pytest.mark.parametrize("trade", [0, 5000])
def test_a_restart_in_the_middle_of_an_hour_knows_what_was_spent_and_counts_the_gap(trade):
    floor, hour = spiked(reserve_seconds=60)
    floor.go(hour + 5, trade=trade)
    assert (floor.product().why == "") == (trade == 0)
    before = floor.product()
    again, another = floor.new_engine(), floor.new_engine()
    for step in floor.steps:
        again.fold(step)
        another.fold(step)
    at_ns = floor.engine.now_ns
    assert another.duty.save(at_ns) == floor.engine.duty.save(at_ns)
    at_s = hour + 40
    floor.restart(again, at_s)
    after = floor.product()
    last_s = (floor.steps[-2].now_ns - START) / SECOND
    spent_s = before.absent_ns / SECOND - (floor.second - last_s if before.why else 0)
    assert after.absent_ns / SECOND == pytest.approx(spent_s + at_s - last_s)
    floor.waiting = []
    floor.second = at_s
    floor.note(floor.engine.advance(floor.engine.now_ns + 1, NO_ROWS, ()))
    floor.go(at_s + 3)
    assert floor.product().why == "unreconciled" or floor.product().why == "no_orders"
    assert floor.product().left_ns < 0 or floor.product().kept


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_fold_knows_the_budget_at_every_step(data):
    """From any step on, by a fold from the start or from a snapshot in between."""
    floor = opened()
    for k in range(data.draw(st.integers(3, 8))):
        event = data.draw(
            st.sampled_from(
                [
                    e.PauseMarket(command_id=f"{k}", who="me", market=0, paused=True),
                    e.PauseMarket(command_id=f"{k}", who="me", market=0, paused=False),
                    e.FeedDown(venue="kalshi", why="gone"),
                    e.FeedUp(venue="kalshi"),
                    e.LoopStalled(gap_ns=2 * SECOND),
                    e.ClockJumped(gap_ns=3 * SECOND),
                ]
            )
        )
        floor.go(floor.second + data.draw(st.sampled_from([0.25, 3, 20, 1800])), event)
    cut = data.draw(st.integers(1, len(floor.steps) - 1))
    whole, part = floor.new_engine(), floor.new_engine()
    for k, step in enumerate(floor.steps):
        whole.fold(step)
        if k == cut:
            part.load(whole.save())
        elif k > cut:
            part.fold(step)
    at_ns = floor.engine.now_ns
    assert whole.duty.save(at_ns) == floor.engine.duty.save(at_ns)
    assert part.duty.save(at_ns) == whole.duty.save(at_ns)


ORDERS = st.lists(
    st.tuples(
        st.sampled_from([d.BID, d.ASK]), st.integers(1, 60), st.integers(1, 12),
        st.sampled_from([OrderState.LIVE, OrderState.LIVE, OrderState.SENT, OrderState.UNKNOWN]),
        st.sampled_from([0, 0, 5, 15]),
    ),
    max_size=7,
)  # fmt: skip


@given(ORDERS, st.integers(1, 20), st.integers(1, 30))
def test_two_sided_means_that_some_bid_and_ask_price_hold_the_size_within_the_spread(found, size, spread):
    """Against the definition: try every pair of prices."""
    config = programme(max_spread=Decimal(spread) / 100, min_size=size)
    orders = [
        OpenOrder(k, "", 0, side, False, price * 100 if side == d.BID else 10_000 - price * 100,
                  count * CONTRACT, state, 0, 0, expiry)
        for k, (side, price, count, state, expiry) in enumerate(found)
    ]  # fmt: skip
    sure = [o for o in orders if o.state is OrderState.LIVE and (o.expiry_ns == 0 or o.expiry_ns > 10)]
    two_sided = any(
        sum(o.remaining for o in sure if o.side == d.BID and o.price >= bid) >= size * CONTRACT
        and sum(o.remaining for o in sure if o.side == d.ASK and o.price <= ask) >= size * CONTRACT
        and ask - bid <= spread * 100
        for bid in {o.price for o in sure if o.side == d.BID}
        for ask in {o.price for o in sure if o.side == d.ASK}
    )
    standing = orders_standing(orders, config.terms_of("X"), 10)
    assert (standing.why == "") == two_sided
    ends = [o.expiry_ns for o in sure if o.expiry_ns]
    assert standing.until_ns == min(ends, default=2**63 - 1)


def test_a_product_of_several_markets_needs_as_many_as_its_terms_say():
    two = (MARKET, listing(1, ticker="KXA-2"))
    product = {"name": "A", "series": ["KXA"]}
    for least, why in ((1, ""), (0, "no_orders")):
        floor = Floor(*two, risk=risk(products=[{**product, "min_markets": least}]))
        floor.waiting = []
        now = START + 2 * SECOND
        for m in (0, 1):
            book = rows(now + m, (d.BID, 4500, 40_000), (d.ASK, 5500, 40_000), market=m)
            floor.note(floor.engine.advance(now + m, book, tuple(floor.waiting)))
        floor.second = 2.1
        floor.go(10)
        assert floor.product("A").why == ""
        floor.go(12, e.PauseMarket(command_id="1", who="me", market=1, paused=True))
        assert floor.product("A").why == why
        floor.go(14, e.Settled(market=1, value_micros=0))
        assert floor.product("A").why == ""  # only what is open is owed


def test_without_a_programme_nothing_is_watched():
    floor = Floor(risk=RiskConfig())
    assert floor.engine.view().duties == ()
    assert floor.engine.duty.save(floor.engine.now_ns) is None
