"""The account's messages and lists as events: what of a trade is ours, and how an order stands.

A trade is told in the taker's words; a resting order of ours has its own row in it, with its own token, side
and price. A purchase of YES may meet a sale of YES, or a purchase of NO (a pair is made), and a sale of YES
also a sale of NO (a pair is burned): where the row is of his other token, the taker's price is what the
row's price leaves of a dollar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Accepted, Closed, Control, Filled
from pr3dict.domain.fees import charge
from pr3dict.domain.units import PRICE_SCALE
from pr3dict.venues.polymarket.account_models import MakerOrder, OrderState, Trade
from pr3dict.venues.polymarket.amounts import LOT, Side
from pr3dict.venues.polymarket.frames import OrderFrame, TradeFrame
from pr3dict.venues.polymarket.markets import Lives
from pr3dict.venues.polymarket.numbers import UNKNOWN
from pr3dict.venues.polymarket.own_orders import OwnOrder, OwnOrders
from pr3dict.venues.polymarket.requests import in_yes_terms
from pr3dict.venues.polymarket.settling import Settling

# What a status says beyond "canceled", in our words.
REASONS: Final = (
    ("market_resolved", "closed"),
    ("market_not_found", "closed"),
    ("not_enough_balance", "no_cash"),
    ("expired", "expired"),
    ("fully filled", "unfilled_ioc"),
    ("no orders found", "unfilled_ioc"),
)


class Us(NamedTuple):
    """Who we are in a trade: the API key's id, and the wallet that the orders are of."""

    owner: str
    wallet: str


class Stranger(Exception):
    """A trade names an order that is ours by its owner, and that we do not know; its text is the digest."""

    def __init__(self, digest: str, condition: str) -> None:
        super().__init__(digest)
        self.digest = digest
        self.condition = condition


class AccountFrames:
    """Turns private messages into events; `unlisted` counts those of markets that are not ours."""

    def __init__(self, orders: OwnOrders, lives: Lives, settling: Settling, us: Us) -> None:
        self.unlisted = 0
        self.unknown_words: dict[str, int] = {}
        self.settling = settling
        self._orders = orders
        self._lives = lives
        self._us = us

    # --- orders -----------------------------------------------------------------------------------

    def order(self, frame: OrderFrame, now_ns: int) -> tuple[Control, ...]:
        """How an order of ours stands.

        Raises:
            DataError: its sizes are not those of the order that we sent.
        """
        order_id = self._orders.of_digest(frame.id)
        if not order_id:
            self.unlisted += 1
            return ()
        own = self._orders.get(order_id)
        size, filled = frame.sizes(None if own is None else own.size)
        size = own.size if own is not None else size
        whole = filled != UNKNOWN and size - filled < LOT
        match frame.state:
            case OrderState.LIVE | OrderState.MATCHED if whole:
                return (Closed(order_id=order_id, why="filled", filled=filled),)
            case OrderState.MATCHED if own is not None and not own.rests:
                return (Closed(order_id=order_id, why="unfilled_ioc", filled=filled),)
            case OrderState.LIVE | OrderState.MATCHED | OrderState.DELAYED:
                return (Accepted(order_id=order_id, venue_id=frame.id, filled=max(0, filled)),)
            case OrderState.CANCELED | OrderState.INVALID:
                return (Closed(order_id=order_id, why=_ending(frame, own, now_ns), filled=filled),)
            case OrderState.UNMATCHED:
                return ()  # it rests or is gone: the engine asks
        self.unknown_words[frame.status] = self.unknown_words.get(frame.status, 0) + 1
        return ()

    # --- trades -----------------------------------------------------------------------------------

    def trade(self, trade: Trade | TradeFrame, *, sure: bool = False) -> tuple[Control, ...]:
        """What is new in a trade at one step of its way.

        Raises:
            Stranger: it names an order that is ours and not known; not with `sure`: then it is nobody's.
            DataError: it can't be read.
        """
        return tuple(
            event for fill in self.fills(trade, sure=sure) for event in self.settling.note(fill, trade.state)
        )

    def fills(self, trade: Trade | TradeFrame, *, sure: bool = False) -> tuple[Filled, ...]:
        """Our fills in a trade, as if they were final; raises as `trade`."""
        if trade.asset_id not in self._lives.tokens:
            self.unlisted += 1
            return ()
        found: list[Filled] = []
        taker_id = self._ours(trade.taker_order_id, trade.market, self._takes(trade), sure=sure)
        if taker_id is not None:
            found += self._taken(trade, taker_id)
        for row in trade.maker_orders:
            mine = row.owner == self._us.owner or row.maker_address.lower() == self._us.wallet.lower()
            order_id = self._ours(row.order_id, trade.market, mine, sure=sure)
            if order_id is not None:
                found.append(self._made(trade, row, order_id))
        return tuple(found)

    def _takes(self, trade: Trade | TradeFrame) -> bool:
        return trade.owner == self._us.owner or trade.trader_side == "TAKER"

    def _ours(self, digest: str, condition: str, mine: bool, *, sure: bool) -> int | None:
        """Our id of an order; 0: ours, and never placed here; None: not ours."""
        order_id = self._orders.of_digest(digest)
        if order_id:
            return order_id
        if not mine:
            return None
        if not sure:
            raise Stranger(digest, condition)
        return 0

    def _made(self, trade: Trade | TradeFrame, row: MakerOrder, order_id: int) -> Filled:
        name = f"{trade.id}/{row.order_id.lower()}"
        return self._filled(
            trade, name, order_id, row.order_id, row.asset_id, row.side, int(row.price),
            int(row.matched_amount), maker=True,
        )  # fmt: skip

    def _taken(self, trade: Trade | TradeFrame, order_id: int) -> Iterator[Filled]:
        """One fill for each resting order that ours took: each has its own exact price."""
        if not trade.maker_orders:
            raise DataError("a trade names no order that was taken", key=f"trade {trade.id}")
        total = sum(int(row.matched_amount) for row in trade.maker_orders)
        if trade.size != UNKNOWN and abs(total - int(trade.size)) >= LOT * len(trade.maker_orders):
            what = f"its parts add up to {total} micro-contracts of {int(trade.size)}"
            raise DataError(what, key=f"trade {trade.id}")
        for row in trade.maker_orders:
            name = f"{trade.id}/{trade.taker_order_id.lower()}/{row.order_id.lower()}"
            same = row.asset_id == trade.asset_id
            price = int(row.price) if same else PRICE_SCALE - int(row.price)
            yield self._filled(
                trade, name, order_id, trade.taker_order_id, trade.asset_id, trade.side, price,
                int(row.matched_amount), maker=False,
            )  # fmt: skip

    def _filled(
        self, trade: Trade | TradeFrame, name: str, order_id: int, digest: str, asset: str, side: Side,
        price: int, size: int, *, maker: bool,
    ) -> Filled:  # fmt: skip
        known = self._lives.tokens.get(asset)
        if known is None or size <= 0 or not 0 < price < PRICE_SCALE:
            raise DataError("a fill of nothing, at no price, or of a token of no market", key=f"trade {name}")
        row, is_no = known
        book_side, yes_price, sell = in_yes_terms(side, price, is_no=is_no)
        fees = self._lives.of_row(row).fees
        fee = charge(fees, price=yes_price, size=size, revenue_micros=0, maker=maker)
        return Filled(
            trade_id=name, order_id=order_id, market=row, side=book_side, sell=sell, price=yes_price,
            size=size, fee_micros=fee.fee_micros, maker=maker, exch_ns=matched_ns(trade), venue_id=digest,
        )  # fmt: skip


def matched_ns(trade: Trade | TradeFrame) -> int:
    """When a trade was matched; raises `DataError` where it does not say."""
    return trade.matched_ns if isinstance(trade, TradeFrame) else int(trade.match_time)


def _ending(frame: OrderFrame, own: OwnOrder | None, now_ns: int) -> str:
    """Why an order left the book, in our words."""
    said = frame.status.lower().replace("-", "_")
    found = next((why for words, why in REASONS if words in said), "none")
    if found != "none" or own is None:
        return found
    if own.at_once:
        return "unfilled_ioc"
    return "expired" if 0 < own.expires_ns <= now_ns else "none"
