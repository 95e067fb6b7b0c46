"""What a venue may still void is not offered for sale: such an order buys the other contract instead."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine_cases import CONTRACT, SECOND, START, Desk, listing, placed, rows

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d


def bought(*, final: bool):
    """A desk that has bought its whole bid, and whose orders are gone; the fill is final or not."""
    desk = Desk(listing(nets_positions=False, reduce_in_place=False))
    places = desk.quote()
    desk.accept(1.1, places)
    bid = next(p for p in places if p.side == d.BID)
    desk.at(1.2, desk.fill(bid, "t1", bid.size // CONTRACT, maker=True, final=final))
    for p in places:
        if p.side == d.ASK:
            desk.at(1.3, e.Closed(order_id=p.order_id, why="none", filled=0))
    return desk, bid.size


def asks_of(desk, seconds):
    """New asks after the book moved."""
    data = rows(START + round(seconds * SECOND), (d.BID, 4_400, 39_000))
    return [p for p in placed(desk.at(seconds, data=data)) if p.side == d.ASK]


def later_asks(desk):
    found = [p for step in desk.steps[5:] for p in placed(step) if p.side == d.ASK]
    for seconds in (3.0, 4.5, 6.0):
        found += asks_of(desk, seconds)
    return found


def agrees(desk):
    """The brain holds what the account holds."""
    held, row = desk.engine.account.position(0), desk.engine.world.markets[0]
    assert (int(row.yes_contracts), int(row.no_contracts)) == (held.yes_contracts, held.no_contracts)
    assert int(desk.engine.world.account[0].local_cash_micros) == desk.engine.account.cash_micros
    return held


def test_what_is_final_is_sold():
    desk, _ = bought(final=True)
    asks = later_asks(desk)
    assert asks and all(p.sell for p in asks)


def test_what_may_be_voided_is_not_sold_and_the_books_agree_when_the_order_fills():
    desk, size = bought(final=False)
    asks = later_asks(desk)
    assert asks and not any(p.sell for p in asks)
    last = asks[-1]
    open_orders = desk.engine.account.open_orders(0)
    units = [o.price if o.side == d.BID else 10_000 - o.price for o in open_orders]
    locked = sum(-(-unit * o.remaining // 10_000) for unit, o in zip(units, open_orders, strict=True))
    assert int(desk.engine.world.markets[0].locked_micros) == locked > 0
    desk.at(6.5, desk.fill(last, "t2", last.size // CONTRACT, maker=True, sell=False, final=False))
    held = agrees(desk)
    assert (held.yes_contracts, held.no_contracts) == (size, last.size)


def test_it_is_sold_once_it_is_final():
    desk, _ = bought(final=False)
    later_asks(desk)
    waiting = desk.engine.account.open_orders(0)
    desk.at(7.0, e.FillFinal(market=0, trade_id="t1"))
    desk.at(7.1, *(e.Closed(order_id=o.order_id, why="none", filled=0) for o in waiting))
    newest = max(o.order_id for o in waiting)
    asks = [p for p in desk.sent(c.Place) if p.side == d.ASK and p.order_id > newest]
    asks += asks_of(desk, 9.0)
    assert asks and all(p.sell for p in asks)
    agrees(desk)
