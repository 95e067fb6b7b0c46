"""Lists and look-ups of the simulated exchange: the truth as of a time, or what `Faults` make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from pr3dict.domain.commands import (
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
)
from pr3dict.domain.events import (
    BalanceRead,
    BookRead,
    Control,
    FillsRead,
    FillVoided,
    OrderRead,
    OrdersRead,
    PositionsRead,
    Read,
    ReadFailed,
    VenueOrder,
    VenuePosition,
)
from pr3dict.domain.market import Venue
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated.exchange import ROLLED_BACK, SimulatedExchange
from pr3dict.venues.simulated.faults import ReadCommand, ReadFault


def answer(exchange: SimulatedExchange, asked_ns: int, now_ns: int, read: ReadCommand) -> list[Control]:
    """What the exchange answers at `now_ns` to a read that was asked at `asked_ns`.

    A list of fills comes with a `FillVoided` for each fill of its span that was taken back.
    """
    fault = exchange.faults.on_read(now_ns, read)
    if fault.fail:
        return [ReadFailed(venue=_venue(exchange, read), read=_word(read), why=fault.fail)]
    old_ns = now_ns - fault.lag_ns
    as_of_ns = now_ns if fault.says_now else old_ns
    match read:
        case ReadOrders():
            orders = _orders(exchange, read.venue, now_ns, old_ns, fault)
            return [OrdersRead(venue=read.venue, asked_ns=asked_ns, as_of_ns=as_of_ns, orders=orders)]
        case ReadOrder():
            return [_order(exchange, read, asked_ns, old_ns, as_of_ns, fault)]
        case ReadFills():
            return _fills(exchange, read, asked_ns, old_ns, as_of_ns)
        case ReadPositions():
            positions = _positions(exchange, read.venue, old_ns)
            return [
                PositionsRead(venue=read.venue, asked_ns=asked_ns, as_of_ns=as_of_ns, positions=positions)
            ]
        case ReadBalance():
            cash = exchange.truth.cash_at(old_ns)
            return [BalanceRead(venue=read.venue, asked_ns=asked_ns, as_of_ns=as_of_ns, cash_micros=cash)]
        case ReadBook():
            bid, ask = touch(exchange, read.market)
            return [
                BookRead(
                    market=read.market, asked_ns=asked_ns, as_of_ns=as_of_ns, bid_price=bid, ask_price=ask
                )
            ]
        case _:
            assert_never(read)


def _venue(exchange: SimulatedExchange, read: ReadCommand) -> Venue:
    if isinstance(read, ReadOrder | ReadBook):
        return exchange.listings[read.market].venue
    return read.venue


def _word(read: ReadCommand) -> Read:
    words: dict[type, Read] = {
        ReadOrders: "orders",
        ReadOrder: "order",
        ReadFills: "fills",
        ReadPositions: "positions",
        ReadBalance: "balance",
        ReadBook: "book",
    }
    return words[type(read)]


def _orders(
    exchange: SimulatedExchange, venue: Venue, now_ns: int, old_ns: int, fault: ReadFault
) -> tuple[VenueOrder, ...]:
    """The list; torn: its first page is old, the others are new, so an entry may be missing or come twice."""
    listed: Sequence[VenueOrder] = exchange.truth.orders_at(old_ns)
    if fault.tear_at >= 0:
        listed = (*listed[: fault.tear_at], *exchange.truth.orders_at(now_ns)[fault.tear_at :])
    return tuple(order for order in listed if exchange.listings[order.market].venue == venue)


def _order(
    exchange: SimulatedExchange, read: ReadOrder, asked_ns: int, old_ns: int, as_of_ns: int, fault: ReadFault
) -> OrderRead:
    known = exchange.order(read.order_id)
    then = {order.order_id: order for order in exchange.truth.orders_at(old_ns)}.get(read.order_id)
    if fault.not_found or known is None or known.status == "refused" or known.why == ROLLED_BACK:
        return OrderRead(order_id=read.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="not_found")
    if then is not None:
        return OrderRead(
            order_id=read.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="open",
            venue_id=then.venue_id, remaining=then.remaining, filled=then.filled,
        )  # fmt: skip
    if exchange.truth.placed_ns[read.order_id] > old_ns:  # younger than the index
        return OrderRead(order_id=read.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="not_found")
    return OrderRead(
        order_id=read.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="closed",
        venue_id=known.order.venue_id, filled=known.order.filled,
    )  # fmt: skip


def _fills(
    exchange: SimulatedExchange, read: ReadFills, asked_ns: int, old_ns: int, as_of_ns: int
) -> list[Control]:
    def here(market: int) -> bool:
        return exchange.listings[market].venue == read.venue

    truth = exchange.truth
    fills = tuple(fill for fill in truth.fills_at(old_ns, read.since_ns) if here(fill.market))
    voided: list[Control] = [
        FillVoided(market=fill.market, trade_id=fill.trade_id, why=truth.void[fill.trade_id])
        for fill in truth.voids_at(old_ns, read.since_ns)
        if here(fill.market)
    ]
    listed = FillsRead(
        venue=read.venue, asked_ns=asked_ns, as_of_ns=as_of_ns, since_ns=read.since_ns, fills=fills
    )
    return [*voided, listed]


def _positions(exchange: SimulatedExchange, venue: Venue, old_ns: int) -> tuple[VenuePosition, ...]:
    return tuple(
        VenuePosition(market=m, yes_contracts=yes, no_contracts=no)
        for m, (yes, no) in exchange.truth.positions_at(old_ns).items()
        if exchange.listings[m].venue == venue
    )


def touch(exchange: SimulatedExchange, market: int) -> tuple[int, int]:
    """Best bid and ask of everybody else; -1: that side is empty."""
    book, grids = exchange.world.exchange_books[market], exchange.world.grids
    count = int(grids.level_count[book.grid])
    bid, ask = int(book.bid_level), int(book.ask_level)
    prices = grids.price_of_level[book.grid]
    return (int(prices[bid]) if bid >= 0 else -1, int(prices[ask]) if ask < count else -1)


def queues(exchange: SimulatedExchange, venue: Venue) -> dict[int, int]:
    """Micro-contracts ahead of each resting order of ours, by our id, as the queue model in force has it.

    Earlier orders of the account at the same price stand ahead, too.
    """
    found: dict[int, int] = {}
    own: dict[tuple[int, int, int], int] = {}  # resting at a price so far
    for order in exchange.truth.open.values():  # by arrival
        row = exchange.world.exchange_orders[order.market, order.slot]
        if exchange.listings[order.market].venue != venue or not row["active"] or row["id"] != order.key:
            continue
        place = order.market, order.side, order.price
        if order.order_id:
            found[order.order_id] = int(row["front"]) + own.get(place, 0)
        own[place] = own.get(place, 0) + order.remaining
    return found


def snapshot(exchange: SimulatedExchange, market: int) -> d.Array:
    """SNAPSHOT rows (without times) of everybody else's book in a market; an empty book is one row."""
    book, grids = exchange.world.exchange_books[market], exchange.world.grids
    depth = exchange.world.exchange_depth[market, :, : int(grids.level_count[book.grid])]
    sides, levels = np.nonzero(depth)
    rows = np.zeros(max(len(sides), 1), d.EVENT)
    rows["market"], rows["kind"] = market, d.SNAPSHOT
    rows["side"][: len(sides)] = sides
    rows["price"][: len(sides)] = grids.price_of_level[book.grid][levels]
    rows["qty"][: len(sides)] = depth[sides, levels]
    rows["bits"][0] |= d.SNAP_FIRST
    rows["bits"][-1] |= d.SNAP_LAST
    return rows


def changes(exchange: SimulatedExchange, market: int, book: d.Array) -> d.Array:
    """LEVEL rows (without times) that make everybody else's book in a market that of SNAPSHOT rows `book`.

    As `kernels.snapshots.flatten_snapshots` makes them: levels that vanish first, then new sizes in the
    snapshot's order; a level that stays as it was gives no row.
    """
    fields = ("side", "price", "qty")
    old = {
        (side, price): qty for side, price, qty in snapshot(exchange, market)[list(fields)].tolist() if price
    }
    new = {(side, price): qty for side, price, qty in book[list(fields)].tolist() if price}
    moved = [(side, price, 0) for side, price in old if (side, price) not in new]
    moved += [(*level, qty) for level, qty in new.items() if old.get(level, 0) != qty]
    rows = np.zeros(len(moved), d.EVENT)
    rows["market"], rows["kind"], rows["bits"] = market, d.LEVEL, d.FROM_SNAPSHOT
    for name, column in zip(fields, zip(*moved, strict=True), strict=bool(moved)):
        rows[name] = column
    return rows


def state(exchange: SimulatedExchange, market: int) -> d.Array:
    """A TICK and a STATUS row (without times) that say what is in force in a market."""
    rows = np.zeros(2, d.EVENT)
    rows["market"] = market
    rows["kind"] = d.TICK, d.STATUS
    rows["aux"] = exchange.grid_index(market), int(exchange.world.exchange_books[market].status)
    return rows
