"""The engine's reads answered from Polymarket's REST: each says as of when it speaks at least.

The venue states no time with its lists, and they may lag behind what it has matched: a read counts as one
of `LAG_NS` before it was asked. Balances are those of the chain, while the engine reckons from the match on:
what was matched and is not mined yet is added to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, assert_never

import msgspec

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
    FillVoided,
    OrderRead,
    OrdersRead,
    PositionsRead,
    Read,
    VenueOrder,
    VenuePosition,
)
from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE
from pr3dict.venues.polymarket.account_frames import AccountFrames, Stranger
from pr3dict.venues.polymarket.account_models import OpenOrder, OrderState, Trade, TradeState
from pr3dict.venues.polymarket.amounts import LOT
from pr3dict.venues.polymarket.holdings import Holdings
from pr3dict.venues.polymarket.markets import Lives
from pr3dict.venues.polymarket.models import Book
from pr3dict.venues.polymarket.numbers import UNKNOWN
from pr3dict.venues.polymarket.own_orders import OwnOrders
from pr3dict.venues.polymarket.requests import in_yes_terms
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.session import Clock

ReadCommand = ReadOrders | ReadOrder | ReadFills | ReadPositions | ReadBalance | ReadBook
READ_WORDS: Final[dict[type, Read]] = {
    ReadOrders: "orders", ReadOrder: "order", ReadFills: "fills",
    ReadPositions: "positions", ReadBalance: "balance", ReadBook: "book",
}  # fmt: skip
LAG_NS: Final = NS_PER_SECOND  # by when reads show what was matched
SETTLE_NS: Final = 600 * NS_PER_SECOND  # as long as a trade may be on its way, it is read once more
FOREIGN: Final = -1  # row of a market that is not listed
Recognise = Callable[[OpenOrder, Iterable[int], bool], int]


class PolymarketReads:
    """Answers to reads; `unlisted` counts what stands in markets that are not ours, by kind of read."""

    def __init__(
        self,
        rest: PolymarketRest,
        orders: OwnOrders,
        lives: Lives,
        frames: AccountFrames,
        holdings: Holdings,
        clock: Clock,
        recognise: Recognise,
    ) -> None:
        """`recognise`: which of some order ids of ours an order has, computed from its digest; 0: none."""
        self.unlisted: dict[str, int] = {"orders": 0, "fills": 0}
        self._rest = rest
        self._orders = orders
        self._lives = lives
        self._frames = frames
        self._holdings = holdings
        self._clock = clock
        self._recognise = recognise
        self._trades_read = asyncio.Event()  # before that no balance can be told from what is on its way
        self._strangers: dict[str, None] = {}  # digests that were looked at, and are nobody's

    async def answer(self, command: ReadCommand) -> tuple[Control, ...]:
        """The events of one read; raises `ReadFailedError` or `DataError` where there is no usable answer."""
        asked_ns = self._clock.now_ns()
        as_of_ns = asked_ns - LAG_NS
        match command:
            case ReadBook():
                return (await read_book(self._rest, self._lives, self._clock, command.market),)
            case ReadOrder():
                return (await self._order(command, asked_ns, as_of_ns),)
            case ReadOrders():
                return (await self._all_orders(asked_ns, as_of_ns),)
            case ReadFills():
                return await self._fills(command.since_ns, asked_ns, as_of_ns)
            case ReadPositions():
                await self._trades_read.wait()
                return (await self._positions(asked_ns, as_of_ns),)
            case ReadBalance():
                await self._trades_read.wait()
                cash = await self._holdings.cash_micros()
                return (
                    BalanceRead(venue="polymarket", asked_ns=asked_ns, as_of_ns=as_of_ns, cash_micros=cash),
                )
            case _:
                assert_never(command)

    # --- orders -----------------------------------------------------------------------------------

    async def _all_orders(self, asked_ns: int, as_of_ns: int) -> OrdersRead:
        found = await self._rest.open_orders()
        self.unlisted["orders"] = sum(order.asset_id not in self._lives.tokens for order in found)
        listed = [self._venue_order(order) for order in found]
        resting = tuple(order for order in listed if order is not None)
        return OrdersRead(venue="polymarket", asked_ns=asked_ns, as_of_ns=as_of_ns, orders=resting)

    def _venue_order(self, order: OpenOrder) -> VenueOrder | None:
        """None: nothing of it rests."""
        order_id = self.learn(order)
        size, matched = self._sizes(order, order_id)
        if size - matched < LOT:  # less than any order can say counts as traded
            return None
        row, is_no = self._lives.tokens.get(order.asset_id, (FOREIGN, False))
        side, price, sell = in_yes_terms(order.side, int(order.price), is_no=is_no)
        own = self._orders.get(order_id)
        return VenueOrder(
            order_id=order_id,
            venue_id=order.id,
            market=row,
            side=side,
            sell=sell,
            price=price,
            remaining=size - matched,
            filled=matched,
            expiry_ns=own.expires_ns if own is not None else int(order.expiration or 0),
        )

    def _sizes(self, order: OpenOrder, order_id: int) -> tuple[int, int]:
        """(size, what of it traded), in micro-contracts."""
        own = self._orders.get(order_id)
        size, matched = order.sizes(None if own is None else own.size)
        return size, max(0, matched)

    def learn(self, order: OpenOrder) -> int:
        """Our id of an order that the venue shows; 0: not ours. Nameless orders of ours are recognised."""
        order_id = self._orders.of_digest(order.id)
        if order_id:
            return order_id
        row = self._lives.tokens.get(order.asset_id, (FOREIGN, False))[0]
        nameless = self._orders.nameless(row)
        if not nameless or order.id in self._strangers:
            return 0
        found = self._recognise(order, nameless, self._lives.of_row(row).neg_risk)
        if found:
            self._orders.named(found, order.id)
        else:
            self._strangers[order.id] = None
        return found

    async def identify(self, digest: str) -> int:
        """Our id of an order that a trade names; 0: the venue does not show it, or it is not ours."""
        order = await self._rest.order(digest)
        return 0 if order is None else self.learn(order)

    async def find(self, order_id: int, digest: str, market: int) -> OpenOrder | None:
        """One of our orders, by its digest, or among all that could be it; None: the venue shows none."""
        digest = self._orders.digest(order_id, digest)
        if digest:
            self._orders.named(order_id, digest)
            return await self._rest.order(digest)
        condition = self._lives.by_row[market]
        for order in await self._rest.open_orders(condition):
            if self._is(order, order_id, market):
                return order
        named = {
            row.order_id
            for trade in await self._rest.trades(condition=condition)
            for row in trade.maker_orders
        }
        for name in named:
            if name not in self._strangers and not self._orders.of_digest(name):
                found = await self._rest.order(name)
                if found is not None and self._is(found, order_id, market):
                    return found
        return None

    def _is(self, order: OpenOrder, order_id: int, market: int) -> bool:
        known = self._orders.of_digest(order.id)
        if known:
            return known == order_id
        if self._recognise(order, (order_id,), self._lives.of_row(market).neg_risk) != order_id:
            return False
        self._orders.named(order_id, order.id)
        return True

    async def _order(self, command: ReadOrder, asked_ns: int, as_of_ns: int) -> OrderRead:
        order = await self.find(command.order_id, command.venue_id, command.market)
        if order is None:
            return OrderRead(
                order_id=command.order_id, asked_ns=asked_ns, as_of_ns=as_of_ns, status="not_found"
            )
        size, matched = self._sizes(order, command.order_id)
        is_open = await self._is_open(order, size - matched)
        return OrderRead(
            order_id=command.order_id,
            asked_ns=asked_ns,
            as_of_ns=as_of_ns,
            status="open" if is_open else "closed",
            venue_id=order.id,
            remaining=size - matched if is_open else 0,
            filled=matched,
        )

    async def _is_open(self, order: OpenOrder, remaining: int) -> bool:
        match order.state:
            case OrderState.CANCELED | OrderState.INVALID:
                return False
            case OrderState.LIVE | OrderState.DELAYED:
                return remaining >= LOT
            case OrderState.MATCHED | OrderState.UNMATCHED:  # what is left of it may rest, or be gone
                if remaining < LOT:
                    return False
                listed = await self._rest.open_orders(order.market)
                return any(other.id.lower() == order.id.lower() for other in listed)
        raise DataError(f"has the unknown status {order.status[:40]!r}", key=f"order {order.id}")

    # --- fills, positions -------------------------------------------------------------------------

    async def _fills(self, since_ns: int, asked_ns: int, as_of_ns: int) -> tuple[Control, ...]:
        """All fills since, and older ones of which the end was not heard; what failed is taken back."""
        oldest_ns = self._frames.settling.oldest_ns()
        from_ns = min(since_ns, asked_ns) - SETTLE_NS
        if oldest_ns:
            from_ns = min(from_ns, oldest_ns - NS_PER_SECOND)
        found = {trade.id: trade for trade in await self._rest.trades(after_ns=max(0, from_ns))}
        self.unlisted["fills"] = sum(t.asset_id not in self._lives.tokens for t in found.values())
        fills: list[Filled] = []
        voids: list[Control] = []
        for trade in found.values():
            for fill in await self.own_fills(trade):
                known = self._frames.settling.is_known(fill.market, fill.trade_id)
                if trade.state is TradeState.FAILED and not known and fill.exch_ns < since_ns:
                    continue  # it was over before anybody asks for it
                news = self._frames.settling.note(fill, trade.state)
                voids += [event for event in news if isinstance(event, FillVoided)]
                fills.append(_stated(fill, final=trade.state is TradeState.CONFIRMED))
                self._holdings.touch(fill.market)
        self._trades_read.set()
        read = FillsRead(
            venue="polymarket", asked_ns=asked_ns, as_of_ns=as_of_ns, since_ns=since_ns, fills=tuple(fills)
        )
        return (read, *voids)

    async def own_fills(self, trade: Trade) -> tuple[Filled, ...]:
        """Our fills in a listed trade; orders of ours that it names and we don't know are looked up."""
        for _ in range(1 + len(trade.maker_orders)):
            try:
                return self._frames.fills(trade)
            except Stranger as stranger:
                if stranger.digest in self._strangers or not await self.identify(stranger.digest):
                    break
        return self._frames.fills(trade, sure=True)

    async def _positions(self, asked_ns: int, as_of_ns: int) -> PositionsRead:
        held = await self._holdings.positions()
        positions = tuple(
            VenuePosition(market=row, yes_contracts=yes, no_contracts=no)
            for row, (yes, no) in held.items()
            if yes or no
        )
        return PositionsRead(venue="polymarket", asked_ns=asked_ns, as_of_ns=as_of_ns, positions=positions)


def _stated(fill: Filled, *, final: bool) -> Filled:
    return msgspec.structs.replace(fill, final=final)


def touch_of(book: Book, *, is_no: bool = False) -> tuple[int, int]:
    """(best bid, best ask) of a token's book in YES terms, -1 where a side is empty; whatever its order."""
    bid = max((int(level.price) for level in book.bids if level.size > 0), default=UNKNOWN)
    ask = min((int(level.price) for level in book.asks if level.size > 0), default=UNKNOWN)
    if not is_no:
        return bid, ask
    return (
        UNKNOWN if ask == UNKNOWN else PRICE_SCALE - ask,
        UNKNOWN if bid == UNKNOWN else PRICE_SCALE - bid,
    )


async def read_book(rest: PolymarketRest, lives: Lives, clock: Clock, market: int) -> BookRead:
    """The touch of a market as the venue says it now, by another route than its stream.

    Raises:
        ReadFailedError: there is no answer.
        DataError: it can't be read.
    """
    asked_ns = clock.now_ns()
    bid, ask = touch_of(await rest.book(lives.of_row(market).yes))
    return BookRead(market=market, asked_ns=asked_ns, as_of_ns=clock.now_ns(), bid_price=bid, ask_price=ask)
