"""A market that is listed while the engine runs, and what thousands that have paid cost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from duty_floor import risk
from engine_cases import SECOND, START, Desk, cancelled, listing, placed, snapshot

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine import holds as h
from pr3dict.kernels import dtypes as d

READS = {c.ReadOrders, c.ReadFills, c.ReadPositions, c.ReadBalance}


def now(seconds: float) -> int:
    return START + round(seconds * SECOND)


def later(**changes) -> tuple[Desk, list[c.Place]]:
    """A desk that quotes one market when another is listed, at second 2, and the orders of the first."""
    desk = Desk(**changes)
    places = desk.quote()
    desk.accept(1.1, places)
    desk.listings = (listing(0), listing(1))
    desk.at(2, listing(1))
    return desk, places


def test_it_is_quoted_once_the_venue_has_confirmed_what_stands_there():
    """The other market goes on meanwhile."""
    desk, places = later()
    assert {type(x) for x in desk.steps[-1].commands} == READS and len(places) == 2
    assert e.Held(market=1, venue="", why=h.UNRECONCILED, on=True) in desk.steps[-1].derived
    assert desk.engine.account.is_reconciled("kalshi")
    assert desk.quote(2.1, 1) == []
    agreed = desk.agree(3)
    assert e.Held(market=1, venue="", why=h.UNRECONCILED, on=False) in agreed.derived
    assert {place.market for place in placed(agreed)} == {1}
    assert not any(cancelled(step) for step in desk.steps)


def test_answers_of_before_it_was_listed_confirm_nothing():
    desk, _ = later()
    desk.quote(2.1, 1)
    old = {"venue": "kalshi", "asked_ns": now(1.9), "as_of_ns": now(2.05)}
    orders = tuple(
        e.VenueOrder(
            order_id=o.order_id, venue_id=o.venue_id, market=0, side=o.side, sell=o.sell, price=o.price,
            remaining=o.remaining,
        )
        for o in desk.engine.account.open_orders(0)
    )  # fmt: skip
    cash = desk.engine.account.cash_micros
    step = desk.at(
        3,
        e.OrdersRead(**old, orders=orders), e.FillsRead(**old, since_ns=0, fills=()),
        e.PositionsRead(**old, positions=()), e.BalanceRead(**old, cash_micros=cash),
    )  # fmt: skip
    assert placed(step) == [] and h.UNRECONCILED in desk.engine.holds.words(1, "kalshi")
    assert len(placed(desk.agree(4))) == 2


def test_what_somebody_holds_there_keeps_it_from_being_quoted():
    """A position that we never bought, twice confirmed, holds the whole venue, as everywhere."""
    desk, _ = later()
    desk.quote(2.1, 1)
    for second in (3, 4, 8, 12):
        asked = {"venue": "kalshi", "asked_ns": now(second) - 1, "as_of_ns": now(second)}
        strange = e.VenuePosition(market=1, yes_contracts=5_000_000, no_contracts=0)
        fills = e.FillsRead(**asked, since_ns=0, fills=())
        desk.at(second, fills, e.PositionsRead(**asked, positions=(strange,)))
    assert not any(place.market == 1 for step in desk.steps for place in placed(step))
    assert any(name.startswith("anomaly_position_drift") for name in desk.alert_names)


def test_a_feed_that_breaks_before_it_is_confirmed_is_confirmed_as_a_whole():
    desk, _ = later()
    desk.at(2.5, e.FeedDown(venue="kalshi", why="closed"))
    desk.at(3, e.FeedUp(venue="kalshi"))
    desk.agree(3.5)
    assert h.UNRECONCILED not in desk.engine.holds.words(1, "kalshi")
    assert len(placed(desk.at(4, data=snapshot(now(4), 4400, 5600, 1)))) == 2


def test_the_next_process_knows_it_and_holds_it_no_longer_than_its_venue():
    desk, _ = later()
    folded = desk.new_engine()
    for step in desk.steps:
        folded.fold(step)
    assert folded.account.encode() == desk.engine.account.encode()
    assert folded.save() == desk.engine.save()
    desk.restart(folded, 10)
    assert (1, h.UNRECONCILED) not in {(m, why) for _, m, why in folded.holds.to_list()}
    assert h.UNRECONCILED in folded.holds.words(1, "kalshi")
    assert placed(desk.at(11, data=snapshot(now(11), 4400, 5600, 1))) == []


@pytest.mark.parametrize("event", [e.FeedDown(venue="kalshi", why="x"), e.ClockJumped(gap_ns=10**12)])
def test_a_market_that_has_paid_is_not_distrusted(event):
    """Its book is not asked for: no snapshot of it would ever come, and every step would wait for it."""
    desk, _ = later()
    desk.at(3, e.Settled(market=0, value_micros=0))
    step = desk.at(4, event)
    held = {x.market for x in step.derived if isinstance(x, e.Held) and x.why == h.BOOK_INVALID}
    assert held == {1} and c.Resubscribe(market=0) not in step.commands


def test_a_broken_book_is_forgotten_when_its_market_pays():
    desk, _ = later()
    desk.at(3, e.BookInvalid(market=0, why="gap"))
    assert desk.engine.feeds.is_broken(0)
    desk.at(4, e.Settled(market=0, value_micros=0))
    assert not desk.engine.feeds.is_broken(0)
    assert h.BOOK_INVALID not in desk.engine.holds.words(0, "kalshi")


def test_the_picture_of_a_market_that_has_paid_is_kept_until_it_changes():
    desk, places = later()
    bought = desk.fill(places[0], "t1", 3)
    desk.at(3, bought, e.PauseMarket(command_id="", who="me", market=0, paused=True))
    filled = {bought.order_id: bought.size}
    opened = desk.engine.account.open_orders(0)
    desk.at(
        4, *(e.Closed(order_id=o.order_id, why="closed", filled=filled.get(o.order_id, 0)) for o in opened)
    )
    assert desk.engine.view().markets[0] is not desk.engine.view().markets[0]
    desk.at(5, e.Settled(market=0, value_micros=1_000_000))
    first = desk.engine.view().markets[0]
    assert first.status == d.SETTLED and first.is_flat and first.pnl_micros > 0
    desk.at(6, data=snapshot(now(6), 4400, 5600, 1))
    assert desk.engine.view().markets[0] is first
    desk.at(7, e.Settled(market=0, value_micros=0))  # the venue changed its mind
    again = desk.engine.view().markets[0]
    assert again is not first and again.pnl_micros < 0


def test_a_product_of_a_programme_forgets_markets_that_paid():
    """The first stays, for alerts name it, and the newest; the hour is the same as without forgetting."""
    desk = Desk(listing(0, ticker="KXA-0"), risk=risk())
    for m in range(1, 6):
        desk.at(2 * m, listing(m, ticker=f"KXA-{m}"))
        desk.at(2 * m + 1, e.Settled(market=m - 1, value_micros=0))
    (product,) = desk.engine.duty._products.values()
    assert product.markets == [0, 4, 5]
    loaded = desk.new_engine()
    loaded.load(desk.engine.save())
    assert loaded.duty.save(loaded.now_ns) == desk.engine.duty.save(loaded.now_ns)
