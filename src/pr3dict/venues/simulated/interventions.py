"""Hands that reach into the simulated exchange from outside: people, other programs, the venue itself.

Each function does one thing at `now_ns` (after `advance` to it) and returns what the account is told of it.
Whatever is done keeps money and contracts: the exchange's books and its fills go on agreeing.
"""

from __future__ import annotations

from typing import Literal

from pr3dict.domain.commands import Place
from pr3dict.domain.events import Control, Filled, Settled, Transferred, VenueStatus
from pr3dict.domain.market import Venue
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_run
from pr3dict.kernels.position import yes_cash_micros
from pr3dict.venues.simulated.exchange import SimulatedExchange

Status = Literal["open", "paused", "restarting", "closed"]
GROUP: str = "the order group was triggered"


def transfer(
    exchange: SimulatedExchange, now_ns: int, venue: Venue, amount_micros: int, *, told: bool = False
) -> list[Control]:
    """A person moves money in, or out where it is negative."""
    exchange.world.account[0].cash_micros += amount_micros
    exchange.truth.change_cash(now_ns, amount_micros)
    return [Transferred(venue=venue, amount_micros=amount_micros, why="transfer")] if told else []


def place_foreign(exchange: SimulatedExchange, now_ns: int, place: Place) -> list[Control]:
    """Somebody else on the account places an order; we hear of its fills only, as of no order of ours."""
    number = 1 + sum(1 for key in exchange.truth.orders if key < 0)
    return exchange.enter(now_ns, place, -number)


def trade_foreign(exchange: SimulatedExchange, now_ns: int, fill: Filled) -> list[Control]:
    """Somebody else on the account trades outside our orders, as `fill` says (its `order_id` is 0)."""
    leg = d.SELL_LEG if fill.sell else d.BUY_LEG
    cash = int(yes_cash_micros(fill.side, fill.price, fill.size))
    exchange_run.book_trade(exchange.world, now_ns, fill.market, fill.side, leg, cash, fill.size)
    exchange.world.account[0].cash_micros += fill.rebate_micros - fill.fee_micros
    exchange.truth.book(now_ns, fill)
    return [fill]


def cancel_by_hand(exchange: SimulatedExchange, now_ns: int, order_id: int) -> list[Control]:
    """A person cancels one of our orders on the venue's page."""
    order = exchange.truth.open.get(order_id)
    if order is None:
        return []
    exchange_run.close(exchange.world, now_ns, order.market, order.slot, d.WHY_NONE)
    return exchange.collect()


def roll_back(exchange: SimulatedExchange, now_ns: int, order_id: int) -> list[Control]:
    """The venue forgets an order that it had accepted, without a word."""
    order = exchange.truth.open.get(order_id)
    if order is not None:
        exchange.remove(now_ns, order)
    return []


def wipe(exchange: SimulatedExchange, now_ns: int, market: int, *, told: bool) -> list[Control]:
    """The venue cancels all that rests in a market (-1: in all), as when a paused one is activated again."""
    said: list[Control] = []
    for order in list(exchange.truth.open.values()):
        if market in (-1, order.market):
            exchange_run.close(exchange.world, now_ns, order.market, order.slot, d.WHY_CLOSED)
            said += exchange.collect()
    return said if told else []


def set_status(
    exchange: SimulatedExchange, now_ns: int, venue: Venue, status: Status, *, told: bool = True
) -> list[Control]:
    """The whole venue pauses (cancels only), restarts or closes (nothing), or opens again.

    Reopening after a pause cancels what rests, where the venue nets positions and `Faults.tells_of_wipe`
    says whether that is told.
    """
    was_paused = exchange.refuses_new == "paused"
    exchange.refuses_all = status if status in ("restarting", "closed") else ""
    if exchange.refuses_new != GROUP:
        exchange.refuses_new = "paused" if status == "paused" else ""
    said: list[Control] = [VenueStatus(venue=venue, status=status)] if told else []
    if status == "open" and was_paused:
        for listing in exchange.listings:
            if listing.nets_positions:
                tells = exchange.faults.tells_of_wipe(now_ns, listing.market)
                said += wipe(exchange, now_ns, listing.market, told=tells)
    return said


def trigger_group(exchange: SimulatedExchange, now_ns: int, *, told: bool = True) -> list[Control]:
    """The order group of the account is triggered: all our orders go, none is taken before `reset_group`."""
    exchange.refuses_new = GROUP
    return wipe(exchange, now_ns, -1, told=told)


def reset_group(exchange: SimulatedExchange) -> None:
    """A person resets the order group."""
    if exchange.refuses_new == GROUP:
        exchange.refuses_new = ""


def amend_settlement(
    exchange: SimulatedExchange, now_ns: int, market: int, value_micros: int
) -> list[Control]:
    """A market that has settled pays another value; the difference is paid or taken back."""
    paid = exchange.paid.get(market)
    if paid is None:
        return []
    yes, no, before = paid
    payout = (yes * value_micros + no * (1_000_000 - value_micros)) // 1_000_000
    exchange.world.account[0].cash_micros += payout - before
    exchange.truth.change_cash(now_ns, payout - before)
    exchange.paid[market] = (yes, no, payout)
    exchange.settled[market] = Settled(market=market, value_micros=value_micros)
    return [exchange.settled[market]]
