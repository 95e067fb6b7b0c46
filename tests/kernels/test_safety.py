"""Every safety rule fires through the whole replay: tape, brain, orders in flight, exchange, reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.replay import run
from pr3dict.kernels.world import World, make_grids, new_market, new_world
from pr3dict.strategies.config import MarketMakingConfig

START = 1_790_000_000 * NS_PER_SECOND
LATENCY = 20_000_000
CENTS = make_grids([range(100, 10_000, 100)])
DEEP = 20_000  # contracts a level


class Story:
    """A tape written second by second: a book around 50 cents, trades, and whatever happens to the market."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.book(0, 4_700, 5_300)

    def add(
        self, second: float, kind: int, *, side: int = 0, price: int = 0, qty: int = 0, aux: int = 0
    ) -> None:
        at = START + round(second * NS_PER_SECOND)
        self.rows.append((at, at + LATENCY, qty, aux, price, 0, kind, side, 0))

    def book(self, second: float, bid: int, ask: int, contracts: int = DEEP) -> None:
        """Replace the book by three levels a side from `bid` down and `ask` up."""
        old = {(r[7], r[4]) for r in self.rows if r[6] == d.LEVEL}
        new = {
            (side, touch + step * (-100 if side == d.BID else 100))
            for side, touch in ((d.BID, bid), (d.ASK, ask))
            for step in range(3)
        }
        for side, price in sorted(old - new) + sorted(new):
            size = contracts * QTY_SCALE if (side, price) in new else 0
            self.add(second, d.LEVEL, side=side, price=price, qty=size)

    def sells(self, second: float, price: int, contracts: int) -> None:
        """Somebody sells YES down to `price`: through our bid if it is better."""
        self.add(second, d.TRADE, side=d.ASK, price=price, qty=contracts * QTY_SCALE)

    def events(self, until_s: int) -> d.Array:
        """The story up to a second, with a level far behind the touch that flickers each second."""
        rows = list(self.rows)
        for second in range(1, until_s):
            at = START + second * NS_PER_SECOND
            rows.append((at, at + LATENCY, (second % 2 + 1) * QTY_SCALE, 0, 1_000, 0, d.LEVEL, d.BID, 0))
        return np.array(sorted(rows, key=lambda row: row[0]), dtype=d.EVENT)


def world(story: Story, *, cash: int = 10_000, hours: float = 72, **settings: Any) -> World:
    """A Kalshi-like market under `settings`, nothing replayed yet."""
    config = MarketMakingConfig(fair_value="mid", **settings)
    rules = config.to_rules()
    rules["entry_ns"] = rules["response_ns"] = LATENCY
    rules["curve_interval_ns"] = 60 * NS_PER_SECOND
    market = new_market()
    market["nets_positions"] = market["reduce_in_place"] = 1
    market["status"] = d.ACTIVE
    market["lot"] = market["min_size"] = QTY_SCALE
    market["close_ns"] = market["resolution_ns"] = START + round(hours * NS_PER_HOUR)
    return new_world(
        CENTS,
        config.to_params(),
        np.zeros(1, d.FEE),
        market,
        grid_of_market=[0],
        rules=rules,
        cash_micros=cash * 1_000_000,
        fill_capacity=1_000,
        curve_capacity=10_000,
    )


class Play:
    """One replay of a story that is `long_s` seconds long, seen at any second on the way."""

    def __init__(self, w: World, story: Story, long_s: int) -> None:
        self.world, self.events = w, story.events(long_s)

    def to(self, second: float) -> None:
        """Go on, event by event, until the next one would be later than `second`."""
        end = START + round(second * NS_PER_SECOND)
        clock = self.world.clock[0]
        while not clock.done and int(self.events[clock.local_event]["local_ns"]) <= end:
            run(self.world, self.events, 1)
        assert self.world.account[0].error == 0


def resting(w: World) -> int:
    return int(w.holdings[0].live_orders)


def net(w: World) -> int:
    return (int(w.holdings[0].yes_contracts) - int(w.holdings[0].no_contracts)) // QTY_SCALE


def reasons(w: World) -> set[str]:
    return {name for k, name in enumerate(d.REASON_NAMES) if int(w.stats[0].reason_counts[k])}


def losing_day() -> Story:
    story = Story()
    story.sells(10, 4_700, 10)
    story.sells(20, 4_700, 10)
    story.book(40, 3_000, 3_600)
    return story


def test_the_daily_loss_limit_cancels_everything_and_refuses_new_orders():
    story = losing_day()
    w = world(story, daily_loss_limit="2")
    play = Play(w, story, 200 + 1)
    play.to(39)
    assert resting(w) == 2 and net(w) == 20 and not w.account[0].killed
    play.to(60)
    assert w.account[0].killed and w.account[0].kills == 1
    assert resting(w) == 0
    sent = int(w.stats[0].orders)
    play.to(200)
    assert int(w.stats[0].orders) == sent and resting(w) == 0
    assert "daily_loss_limit" in reasons(w)


@pytest.mark.parametrize("rearm", [False, True])
def test_a_new_trading_day_rearms_only_if_told_to(rearm: bool):
    story = losing_day()
    midnight = 86_400 - START // NS_PER_SECOND % 86_400
    story.add(midnight + 5, d.LEVEL, side=d.BID, price=1_000, qty=QTY_SCALE)
    w = world(story, daily_loss_limit="2", rearm_daily=rearm)
    play = Play(w, story, midnight + 120 + 1)
    play.to(200)
    assert w.account[0].killed and resting(w) == 0
    play.to(midnight + 120)
    assert bool(w.account[0].killed) is not rearm
    assert (resting(w) > 0) is rearm


def test_a_volume_spike_pulls_quotes_for_a_minute_and_then_they_return():
    story = Story()
    for second in range(30, 1_200, 30):
        story.sells(second, 4_600, 1)
    story.sells(1_205, 4_600, 2_000)
    w = world(story)
    play = Play(w, story, 1_290 + 1)
    play.to(1_204)
    before = resting(w)
    assert before > 0
    play.to(1_215)
    assert w.stats[0].volume_pauses == 1 and resting(w) == 0
    play.to(1_255)
    assert resting(w) == 0
    play.to(1_290)
    assert resting(w) > 0
    assert "volume_pause" in reasons(w)


def test_news_pulls_quotes_while_it_lasts():
    story = Story()
    story.add(60, d.NEWS, aux=d.NEWS_PULL, qty=30 * NS_PER_SECOND)
    w = world(story)
    play = Play(w, story, 120 + 1)
    play.to(59)
    assert resting(w) == 2
    play.to(80)
    assert resting(w) == 0
    play.to(120)
    assert resting(w) == 2


def test_portfolio_heat_cuts_orders_to_what_may_be_lost():
    story = Story()
    for second in range(5, 60, 5):
        story.sells(second, 4_700, 10)
    cold, warm = world(story, cash=24), world(story)
    for w in (cold, warm):
        play = Play(w, story, 120 + 1)
        play.to(120)
    assert warm.account[0].max_heat_micros > 6_000_000
    assert 0 < cold.account[0].max_heat_micros <= 6_000_000
    assert "size_cut_heat" in reasons(cold) and "size_cut_heat" not in reasons(warm)


def test_inventory_near_resolution_is_taken_to_the_book_within_the_slippage_bound():
    story = Story()
    story.sells(10, 4_000, 10)
    story.sells(20, 4_000, 10)
    w = world(story, hours=0.6, min_existing_spread="0.02")
    play = Play(w, story, 1_000 + 1)
    play.to(300)
    assert net(w) == 20
    play.to(1_000)
    assert w.stats[0].forced_exits == 1 and net(w) == 5
    taken = w.fills[: w.clock[0].fill_count]
    taken = taken[taken["maker"] == 0]
    assert taken["qty"].sum() == 15 * QTY_SCALE and (taken["price"] >= 4_500).all()
    assert w.stats[0].exit_alerts == 0


def test_an_exit_that_the_book_cannot_absorb_rests_and_raises_an_alert():
    story = Story()
    story.sells(10, 4_000, 10)
    story.sells(20, 4_000, 10)
    story.book(100, 3_000, 5_300)
    w = world(story, hours=0.6)
    play = Play(w, story, 1_000 + 1)
    play.to(1_000)
    fills = w.fills[: w.clock[0].fill_count]
    assert (fills["maker"] == 1).all() and net(w) == 20
    assert w.stats[0].exit_alerts == 1 and w.holdings[0].live_asks == 1 and w.holdings[0].live_bids == 0


def test_no_order_leaves_the_price_band():
    story = Story()
    w = world(story, price_band="0.01", max_exit_slippage="0.01", max_spread="0.02", base_spread="0.02")
    w.params[0].base_spread_micros = w.params[0].max_spread_micros = 60_000  # wider than settings allow
    play = Play(w, story, 120 + 1)
    play.to(120)
    assert w.stats[0].orders == 0 and "outside_price_band" in reasons(w)


def test_orders_keep_to_our_own_rate_and_cancels_do_not_wait():
    story = Story()
    for k in range(1, 60):
        bid = 4_700 - 300 * (k % 2)
        story.book(k, bid, bid + 600)
    hasty, slow = world(story), world(story, max_orders_per_second="0.1")
    for w in (hasty, slow):
        play = Play(w, story, 59 + 1)
        play.to(59)
    assert hasty.stats[0].orders > 50
    assert 1 <= slow.stats[0].orders <= 1 + 6
    assert slow.stats[0].cancels >= slow.stats[0].orders - 2


def test_a_pause_of_the_market_stops_quotes_and_its_end_brings_them_back():
    story = Story()
    story.add(30, d.STATUS, aux=d.PAUSED)
    story.add(60, d.STATUS, aux=d.ACTIVE)
    w = world(story)
    play = Play(w, story, 100 + 1)
    play.to(29)
    assert resting(w) == 2
    sent = int(w.stats[0].orders)
    play.to(59)
    assert int(w.stats[0].orders) == sent
    play.to(100)
    assert int(w.stats[0].orders) > sent and resting(w) == 2
