"""The engine's reads answered from Kalshi's REST: each says as of when Kalshi's index spoke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import assert_never

from pr3dict.domain.commands import (
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
)
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import (
    BalanceRead,
    BookRead,
    Control,
    Filled,
    FillsRead,
    OrderRead,
    OrdersRead,
    PositionsRead,
    Read,
    VenueOrder,
    VenuePosition,
)
from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE
from pr3dict.venues.kalshi.account_models import Cutoff, Fill, Order
from pr3dict.venues.kalshi.frames import side_of
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.own_orders import OwnOrders
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

ReadCommand = ReadOrders | ReadOrder | ReadFills | ReadPositions | ReadBalance | ReadBook
READ_WORDS: dict[type, Read] = {
    ReadOrders: "orders", ReadOrder: "order", ReadFills: "fills",
    ReadPositions: "positions", ReadBalance: "balance", ReadBook: "book",
}  # fmt: skip
SHARED_NS = NS_PER_SECOND // 2
MARGIN_S = 60  # between our clock and the one that Kalshi lists orders by
FRESH_NS = 60 * NS_PER_SECOND  # so young, an order that is not found may only be missing yet
CUTOFF_NS = 600 * NS_PER_SECOND  # how long a cutoff is believed
NEW_NS = 7 * 86_400 * NS_PER_SECOND  # nothing so young is moved to the old ones: orders stay two weeks
STRIDE = 5_000  # so many of our numbers below all that a list began with, an order is not in it
FOREIGN = -1  # row of a market that is not listed
_OPEN = frozenset({"resting"})
_OVER = frozenset({"canceled", "executed"})


class KalshiReads:
    """Answers to reads; `unlisted` counts what stands in markets that are not ours, by kind of read."""

    def __init__(self, rest: KalshiRest, orders: OwnOrders, lives: Lives, clock: Clock) -> None:
        self.unlisted: dict[str, int] = {"orders": 0, "fills": 0, "positions": 0}
        self._rest = rest
        self._orders = orders
        self._lives = lives
        self._clock = clock
        self._turn = asyncio.Lock()
        self._asked_ns = -SHARED_NS
        self._as_of = 0
        self._cutoff: Cutoff | None = None
        self._cutoff_ns = 0
        self._in_vain: dict[str, None] = {}  # ids looked for among the old orders, and not found

    async def answer(self, command: ReadCommand) -> tuple[Control, ...]:
        """The events of one read; raises `ReadFailedError` or `DataError` where there is no usable answer."""
        asked_ns = self._clock.now_ns()
        match command:
            case ReadBook():
                return (await read_book(self._rest, self._lives, self._clock, command.market),)
            case ReadOrder():
                return (await self._order(command, asked_ns),)
        as_of_ns = await self.as_of_ns()
        match command:
            case ReadOrders():
                return (await self._all_orders(asked_ns, as_of_ns),)
            case ReadFills():
                return (await self._fills(command.since_ns, asked_ns, as_of_ns),)
            case ReadPositions():
                return (await self._positions(asked_ns, as_of_ns),)
            case ReadBalance():
                balance = await self._rest.balance()
                cash = int(balance.balance_dollars)
                return (BalanceRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, cash_micros=cash),)
            case _:
                assert_never(command)

    async def as_of_ns(self) -> int:
        """As of when reads speak at least, asked before them; reads of one round share an answer."""
        async with self._turn:
            asked_ns = self._clock.now_ns()
            if asked_ns - self._asked_ns > SHARED_NS:
                self._as_of = min(await self._rest.as_of_ns(), self._clock.now_ns())
                self._asked_ns = asked_ns
            return self._as_of

    # --- orders -----------------------------------------------------------------------------------

    async def _all_orders(self, asked_ns: int, as_of_ns: int) -> OrdersRead:
        found = await self._rest.orders(status="resting")
        self.unlisted["orders"] = sum(order.ticker not in self._lives.names for order in found)
        listed = tuple(self._venue_order(order, as_of_ns) for order in found if order.remaining_count_fp > 0)
        return OrdersRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, orders=listed)

    def _venue_order(self, order: Order, as_of_ns: int) -> VenueOrder:
        return VenueOrder(
            order_id=self.learn(order, as_of_ns),
            venue_id=order.order_id,
            market=self._lives.names.get(order.ticker, FOREIGN),
            side=side_of(order.book_side, None),
            price=int(order.yes_price_dollars),
            remaining=int(order.remaining_count_fp),
            filled=int(order.fill_count_fp),
            expiry_ns=0 if order.expiration_time is None else int(order.expiration_time),
        )

    def learn(self, order: Order, as_of_ns: int = 0) -> int:
        """Our id of an order that Kalshi shows (0: not ours), and its sizes for the next amendment."""
        order_id = self._orders.of_client_id(order.client_order_id)
        if order_id:
            self._orders.named(order_id, order.order_id)
            own = self._orders.get(order_id)
            if own is not None and order.status in _OPEN:
                own.stated(int(order.fill_count_fp), int(order.remaining_count_fp), as_of_ns)
        return order_id

    async def find(self, order_id: int, venue_id: str, market: int) -> Order | None:
        """One of our orders, by Kalshi's id or else by our own; None: Kalshi does not show it."""
        venue_id = self._orders.venue_id(order_id, venue_id)
        own, ticker = self._orders.get(order_id), self._lives.by_row[market]
        if venue_id:
            found = await self._by_id(venue_id)
        else:
            since_s = own.placed_ns // NS_PER_SECOND - MARGIN_S if own is not None else 0
            found = await self._by_client_id(order_id, ticker, since_s)
        if found is None and (own is None or not own.placed_ns):  # of an earlier process, maybe long ago
            wanted, began_ns = self._orders.client_id(order_id), self._lives.of_row(market).open_ns
            found = await self._archived(ticker, wanted, began_ns, order_id)
        return found

    async def _by_id(self, venue_id: str) -> Order | None:
        try:
            return await self._rest.order(venue_id)
        except ReadFailedError as error:
            if error.status == 404:
                return None
            raise

    async def _by_client_id(self, order_id: int, ticker: str, since_s: int) -> Order | None:
        """By our own id, which no call takes: page after page, from shortly before it was placed on."""
        listed = self._rest.each_order(ticker=ticker, min_ts=since_s if since_s > 0 else None)
        return await self._among(listed, self._orders.client_id(order_id), order_id)

    async def _among(self, listed: AsyncIterator[Order], wanted: str, number: int) -> Order | None:
        """The order of a list that has the id; our own numbers say when newest first has gone far past it."""
        first = 0
        async for order in listed:
            if wanted in (order.order_id, order.client_order_id):
                return order
            ours = self._orders.of_client_id(order.client_order_id)
            first = first or ours
            if number and 0 < ours < min(first, number) - STRIDE:
                return None
        return None

    # --- what is old enough to be listed elsewhere ------------------------------------------------

    async def _cutoffs(self) -> Cutoff:
        now_ns = self._clock.now_ns()
        if self._cutoff is None or now_ns - self._cutoff_ns > CUTOFF_NS:
            self._cutoff, self._cutoff_ns = await self._rest.cutoff(), now_ns
        return self._cutoff

    async def _archived(self, ticker: str, wanted: str, began_ns: int, number: int = 0) -> Order | None:
        """An order that ended before the cutoff, by either id; not looked for twice, nor where all is new.

        `began_ns`: it can't have ended before this.
        """
        new = began_ns > self._clock.now_ns() - NEW_NS
        if new or wanted in self._in_vain or began_ns >= (await self._cutoffs()).orders_updated_ts:
            return None
        found = await self._among(self._rest.old_orders(ticker), wanted, number)
        if found is None:
            self._in_vain[wanted] = None
        return found

    async def _order(self, command: ReadOrder, asked_ns: int) -> OrderRead:
        as_of_ns = await self.as_of_ns()
        order = await self.find(command.order_id, command.venue_id, command.market)
        if order is None:
            return OrderRead(
                order_id=command.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="not_found"
            )
        if order.status not in _OPEN | _OVER:
            raise DataError(f"has the unknown status {order.status!r}", key=f"order {order.order_id}")
        self.learn(order, as_of_ns)
        return OrderRead(
            order_id=command.order_id,
            asked_ns=asked_ns,
            as_of_ns=as_of_ns,
            status="open" if order.status in _OPEN else "closed",
            venue_id=order.order_id,
            remaining=int(order.remaining_count_fp),
            filled=int(order.fill_count_fp),
        )

    # --- fills, positions, books ------------------------------------------------------------------

    async def _fills(self, since_ns: int, asked_ns: int, as_of_ns: int) -> FillsRead:
        found = {fill.id: fill for fill in await self._rest.fills(min_ts=since_ns // NS_PER_SECOND or None)}
        old = since_ns < asked_ns - NEW_NS and since_ns < (await self._cutoffs()).trades_created_ts
        if old:
            found |= {fill.id: fill for fill in await self._rest.old_fills(since_ns)}
        rows = self._lives.names
        self.unlisted["fills"] = sum(fill.market not in rows for fill in found.values())
        fills = [await self.filled(fill) for fill in found.values() if fill.market in rows]
        return FillsRead(
            venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, since_ns=since_ns, fills=tuple(fills)
        )

    async def order_id_of(self, venue_id: str, ticker: str, traded_ns: int) -> int:
        """Our id of the order of a fill, asked for where it is not known; 0: the order is not ours.

        Raises:
            ReadFailedError: nobody can say yet: Kalshi does not show the order of a fill that is this young.
        """
        known = self._orders.of_venue_id(venue_id)
        if known:
            return known
        try:
            return self.learn(await self._rest.order(venue_id))
        except ReadFailedError as error:
            if error.status != 404 or traded_ns > self._clock.now_ns() - FRESH_NS:
                raise
        order = await self._archived(ticker, venue_id, traded_ns)
        return 0 if order is None else self.learn(order)

    async def filled(self, fill: Fill) -> Filled:
        """A listed fill as an event."""
        exch_ns = fill.traded_ns
        if exch_ns is None or not fill.id or fill.count_fp <= 0:
            raise DataError("a fill without time, id or size", key=f"fill {fill.id}")
        return Filled(
            trade_id=fill.id,
            order_id=await self.order_id_of(fill.order_id, fill.market, int(exch_ns)),
            market=self._lives.names[fill.market],
            side=side_of(fill.book_side, None),
            price=int(fill.yes_price_dollars),
            size=int(fill.count_fp),
            fee_micros=max(0, int(fill.fee_cost)),
            rebate_micros=max(0, -int(fill.fee_cost)),
            maker=not fill.is_taker,
            exch_ns=int(exch_ns),
            venue_id=fill.order_id,
        )

    async def _positions(self, asked_ns: int, as_of_ns: int) -> PositionsRead:
        found = await self._rest.positions(count_filter="position")
        held = [position for position in found if position.position_fp]
        rows = self._lives.names
        self.unlisted["positions"] = sum(position.ticker not in rows for position in held)
        positions = tuple(
            VenuePosition(
                market=rows[position.ticker],
                yes_contracts=max(0, int(position.position_fp)),
                no_contracts=max(0, -int(position.position_fp)),
            )
            for position in held
            if position.ticker in rows
        )
        return PositionsRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, positions=positions)


async def read_book(rest: KalshiRest, lives: Lives, clock: Clock, market: int) -> BookRead:
    """The touch of a market as the venue says it now, by another route than its stream.

    Raises:
        ReadFailedError: there is no answer.
        DataError: it can't be read.
    """
    asked_ns = clock.now_ns()
    sides = await rest.orderbook(lives.by_row[market], depth=1)
    bids = [int(price) for price, size in sides.yes_dollars or () if size > 0]
    asks = [PRICE_SCALE - int(price) for price, size in sides.no_dollars or () if size > 0]
    return BookRead(
        market=market,
        asked_ns=asked_ns,
        as_of_ns=clock.now_ns(),
        bid_price=max(bids, default=-1),
        ask_price=min(asks, default=-1),
    )
