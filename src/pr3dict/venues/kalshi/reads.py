"""The engine's reads answered from Kalshi's REST: each says as of when Kalshi's index spoke."""

from __future__ import annotations

import asyncio
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
from pr3dict.venues.kalshi.account_models import Fill, Order
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

    async def answer(self, command: ReadCommand) -> tuple[Control, ...]:
        """The events of one read; raises `ReadFailedError` or `DataError` where there is no usable answer."""
        asked_ns = self._clock.now_ns()
        match command:
            case ReadBook():
                return (await self._book(command.market, asked_ns),)
            case ReadOrder():
                return (await self._order(command, asked_ns),)
        as_of_ns = await self._as_of_ns()
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

    async def _as_of_ns(self) -> int:
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
        self.unlisted["orders"] = sum(order.ticker not in self._lives for order in found)
        listed = tuple(self._venue_order(order) for order in found if order.remaining_count_fp > 0)
        return OrdersRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, orders=listed)

    def _venue_order(self, order: Order) -> VenueOrder:
        return VenueOrder(
            order_id=self.learn(order),
            venue_id=order.order_id,
            market=self._lives.rows.get(order.ticker, FOREIGN),
            side=side_of(order.book_side, None),
            price=int(order.yes_price_dollars),
            remaining=int(order.remaining_count_fp),
            filled=int(order.fill_count_fp),
            expiry_ns=0 if order.expiration_time is None else int(order.expiration_time),
        )

    def learn(self, order: Order) -> int:
        """Our id of an order that Kalshi shows (0: not ours), and its sizes for the next amendment."""
        order_id = self._orders.of_client_id(order.client_order_id)
        if order_id:
            self._orders.named(order_id, order.order_id)
            own = self._orders.get(order_id)
            if own is not None and order.status in _OPEN:
                own.total = int(order.fill_count_fp) + int(order.remaining_count_fp)
        return order_id

    async def find(self, order_id: int, venue_id: str, market: int) -> Order | None:
        """One of our orders, by Kalshi's id or else by our own; None: Kalshi does not show it."""
        venue_id = self._orders.venue_id(order_id, venue_id)
        if venue_id:
            try:
                return await self._rest.order(venue_id)
            except ReadFailedError as error:
                if error.status == 404:
                    return None
                raise
        wanted = self._orders.client_id(order_id)
        ticker = self._lives.by_row[market]
        for order in await self._rest.orders(ticker=ticker):
            if order.client_order_id == wanted:
                return order
        return None

    async def _order(self, command: ReadOrder, asked_ns: int) -> OrderRead:
        as_of_ns = await self._as_of_ns()
        order = await self.find(command.order_id, command.venue_id, command.market)
        if order is None:
            return OrderRead(
                order_id=command.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="not_found"
            )
        if order.status not in _OPEN | _OVER:
            raise DataError(f"has the unknown status {order.status!r}", key=f"order {order.order_id}")
        self.learn(order)
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
        found = await self._rest.fills(min_ts=since_ns // NS_PER_SECOND or None)
        self.unlisted["fills"] = sum(fill.market not in self._lives for fill in found)
        fills = [await self.filled(fill) for fill in found if fill.market in self._lives]
        return FillsRead(
            venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, since_ns=since_ns, fills=tuple(fills)
        )

    async def order_id_of(self, venue_id: str) -> int:
        """Our id of an order by Kalshi's, asked for where it is not known; 0: the order is not ours."""
        known = self._orders.of_venue_id(venue_id)
        if known:
            return known
        try:
            order = await self._rest.order(venue_id)
        except ReadFailedError as error:
            if error.status == 404:
                return 0
            raise
        return self.learn(order)

    async def filled(self, fill: Fill) -> Filled:
        """A listed fill as an event."""
        exch_ns = fill.created_time if fill.created_time is not None else fill.ts
        if exch_ns is None or not fill.id or fill.count_fp <= 0:
            raise DataError("a fill without time, id or size", key=f"fill {fill.id}")
        return Filled(
            trade_id=fill.id,
            order_id=await self.order_id_of(fill.order_id),
            market=self._lives.rows[fill.market],
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
        self.unlisted["positions"] = sum(position.ticker not in self._lives for position in held)
        positions = tuple(
            VenuePosition(
                market=self._lives.rows[position.ticker],
                yes_contracts=max(0, int(position.position_fp)),
                no_contracts=max(0, -int(position.position_fp)),
            )
            for position in held
            if position.ticker in self._lives
        )
        return PositionsRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, positions=positions)

    async def _book(self, market: int, asked_ns: int) -> BookRead:
        sides = await self._rest.orderbook(self._lives.by_row[market], depth=1)
        bids = [int(price) for price, size in sides.yes_dollars or () if size > 0]
        asks = [PRICE_SCALE - int(price) for price, size in sides.no_dollars or () if size > 0]
        return BookRead(
            market=market,
            asked_ns=asked_ns,
            as_of_ns=self._clock.now_ns(),
            bid_price=max(bids, default=-1),
            ask_price=min(asks, default=-1),
        )
