"""A desk under a programme: an engine whose venue takes every order and cancel, from second to second."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from engine_cases import NO_ROWS, SECOND, START, Desk, listing, rows

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.order import OrderState
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.risk.programme import ProgrammeConfig

HOUR_S = 3600
FIRST_HOUR_S = 2800  # seconds after START at which a full UTC hour begins
MARKET = listing(ticker="KXA-1")


def programme(**changes):
    return ProgrammeConfig(**({"max_spread": "0.10", "min_size": 5, "reserve_seconds": 12} | changes))


def risk(**changes):
    return RiskConfig(programme=programme(**changes), order_life_seconds=0)


class Floor(Desk):
    """A desk whose venue takes every order and cancel half a second later, and never loses anything."""

    def __init__(self, *listings, risk, config=None, **more):
        super().__init__(*(listings or (MARKET,)), risk=risk, config=config, **more)
        self.waiting: list[e.Control] = []
        self.second = 0.001

    def go(self, until_s, *events, trade=0, data=NO_ROWS):
        """Live from second to second up to `until_s`; events and a trade of so many contracts come first."""
        given = list(events)
        step_s = self.second
        while step_s < until_s:
            step_s = min(self.next_s(step_s, idle=not (given or self.waiting or trade)), until_s)
            now = START + round(step_s * SECOND)
            found = data
            if trade:
                found = rows(now, (d.BID, 5000, trade), kind=d.TRADE)
                trade = 0
            self.note(self.engine.advance(now, found, (*self.waiting, *given)))
            given, data = [], NO_ROWS
            self.second = step_s

    def next_s(self, now_s, *, idle):
        """The next full second; while nothing is under way, the one in which the engine wants to wake."""
        following = int(now_s) + 1
        due_s = (self.engine.next_timer_ns - START) // SECOND + 1
        return max(following, due_s) if idle else following

    def note(self, steps):
        self.steps += steps
        self.waiting = []
        for step in steps:
            for command in step.commands:
                self.waiting += self.answer(command)

    def answer(self, command):
        now, venue = self.engine.now_ns, "kalshi"
        asked = {"venue": venue, "asked_ns": now, "as_of_ns": now + 1}
        account = self.engine.account
        match command:
            case c.Place():
                return [e.Accepted(order_id=command.order_id, venue_id=f"v{command.order_id}")]
            case c.Cancel():
                return [e.Closed(order_id=command.order_id, why="none", filled=0)]
            case c.ReadOrders():
                listed = tuple(
                    e.VenueOrder(
                        order_id=o.order_id, venue_id=o.venue_id, market=m.market, side=o.side,
                        price=o.price, remaining=o.remaining,
                    )
                    for m in self.listings for o in account.open_orders(m.market)
                    if o.state is OrderState.LIVE
                )  # fmt: skip
                return [e.OrdersRead(**asked, orders=listed)]
            case c.ReadFills():
                return [e.FillsRead(**asked, since_ns=command.since_ns, fills=tuple(self.fills))]
            case c.ReadPositions():
                return [e.PositionsRead(**asked, positions=())]
            case c.ReadBalance():
                return [e.BalanceRead(**asked, cash_micros=account.cash_micros)]
        return []

    def product(self, name="KXA"):
        return next(one for one in self.engine.view().duties if one.product == name)

    def live(self):
        orders = self.engine.account.open_orders(0)
        return sorted((o.side, o.price) for o in orders if o.state is OrderState.LIVE)


def opened(*listings, config=None, **terms):
    """A floor that quotes since before the first full hour, seen at its start."""
    floor = Floor(*listings, risk=risk(**terms), config=config)
    floor.waiting = []
    for one in listings or (MARKET,):
        now = START + 2 * SECOND + one.market
        book = rows(now, (d.BID, 4500, 40_000), (d.ASK, 5500, 40_000), market=one.market)
        floor.note(floor.engine.advance(now, book, tuple(floor.waiting)))
    floor.second = 2.1
    floor.go(FIRST_HOUR_S)
    assert floor.product().why == "" and floor.product().absent_ns == 0
    return floor
