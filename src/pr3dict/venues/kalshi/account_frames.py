"""The account's messages as events: fills, how orders stand, and the kill switch at the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Accepted, Closed, Control, Filled, Halt, Reduced
from pr3dict.venues.kalshi.frames import FillFrame, FillMessage, GroupFrame, OrderFrame, OrderMessage, side_of
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.own_orders import OwnOrders

# Why Kalshi took an order out of the book, in our words.
REASONS: Final[Mapping[str, str]] = {
    "SelfTradeCancel": "self_trade",
    "ExpiryCancel": "expired",
    "CloseCancel": "closed",
    "HaltCancel": "not_active",
    "PostOnlyCrossCancel": "post_only_cross",
    "ReduceOnlyCancel": "not_held",
    "SettlementBoundsCancel": "off_grid",
    "MarginCancel": "no_cash",
}

# What takes our order group's protection or its orders away.
GROUP_REASONS: Final[Mapping[str, str]] = {
    "triggered": "an order group fired: more contracts traded within 15 seconds than one sweep may cost",
    "deleted": "an order group was deleted: nothing at the exchange bounds what one sweep may cost",
}


class AccountFrames:
    """Turns private frames into events; `unlisted` counts those of markets that are not ours."""

    def __init__(self, orders: OwnOrders, lives: Lives, groups: Mapping[str, int], subaccount: int) -> None:
        """`groups` are the ids of our order groups; what names another subaccount is not ours."""
        self._subaccount = subaccount
        self.unlisted = 0
        self.unknown_words: dict[str, int] = {}
        self._orders = orders
        self._lives = lives
        self._groups = groups

    def hear(
        self, frame: FillFrame | OrderFrame | GroupFrame, now_ns: int
    ) -> tuple[Control, ...] | FillMessage:
        """The events of a frame; a fill of an order that is not known comes back, for it has to be looked up.

        Raises:
            DataError: a field says what it can't.
        """
        match frame:
            case FillFrame(msg=fill):
                return self._fill(fill, now_ns)
            case OrderFrame(msg=order):
                return self._order(order)
            case GroupFrame():
                return self._group(frame, now_ns)

    def _fill(self, fill: FillMessage, now_ns: int) -> tuple[Control, ...] | FillMessage:
        if fill.market_ticker not in self._lives.names or fill.subaccount not in (None, self._subaccount):
            self.unlisted += 1
            return ()
        order_id = self._orders.of_client_id(fill.client_order_id) or self._orders.of_venue_id(fill.order_id)
        if not order_id and not fill.client_order_id:
            return fill
        if order_id:
            self._orders.named(order_id, fill.order_id)
        return (self.filled(fill, order_id, now_ns),)

    def filled(self, fill: FillMessage, order_id: int, now_ns: int) -> Filled:
        """A fill of the order `order_id` (0: not ours)."""
        if fill.count_fp <= 0:
            raise DataError("a fill of nothing", key="msg.count_fp")
        exch_ns = fill.ts_ms if fill.ts_ms is not None else fill.ts
        return Filled(
            trade_id=fill.trade_id,
            order_id=order_id,
            market=self._lives.names[fill.market_ticker],
            side=side_of(fill.book_side, fill.outcome_side),
            price=int(fill.yes_price_dollars),
            size=int(fill.count_fp),
            fee_micros=max(0, int(fill.fee_cost)),
            rebate_micros=max(0, -int(fill.fee_cost)),
            maker=not fill.is_taker,
            exch_ns=now_ns if exch_ns is None else int(exch_ns),
            venue_id=fill.order_id,
        )

    def _order(self, order: OrderMessage) -> tuple[Control, ...]:
        order_id = self._orders.of_client_id(order.client_order_id) or self._orders.of_venue_id(
            order.order_id
        )
        ours = order.subaccount_number in (None, self._subaccount) and order.ticker in self._lives.names
        if not order_id or not ours:
            self.unlisted += 1
            return ()
        self._orders.named(order_id, order.order_id)
        filled, remaining = int(order.fill_count_fp), int(order.remaining_count_fp)
        reason = order.last_update_reason or ""
        if order.status == "resting":
            own = self._orders.get(order_id)
            if own is not None:
                own.stated(filled, remaining)
            if reason == "Decrease":
                return (Reduced(order_id=order_id, remaining=remaining, filled=filled),)
            return (Accepted(order_id=order_id, venue_id=order.order_id, filled=filled),)
        if order.status == "executed":
            return (Closed(order_id=order_id, why="filled", filled=filled),)
        if order.status == "canceled":
            return (Closed(order_id=order_id, why=REASONS.get(reason, "none"), filled=filled),)
        self.unknown_words[order.status] = self.unknown_words.get(order.status, 0) + 1
        return ()

    def _group(self, frame: GroupFrame, now_ns: int) -> tuple[Control, ...]:
        group_id = frame.msg.order_group_id
        reason = GROUP_REASONS.get(frame.msg.event_type)
        if reason is None or group_id not in self._groups:
            return ()
        at_ns = now_ns if frame.msg.ts_ms is None else int(frame.msg.ts_ms)
        return (group_halt(group_id, at_ns, reason),)


def group_halt(group_id: str, at_ns: int, reason: str) -> Halt:
    """The kill switch at the exchange is a person's halt to us."""
    return Halt(command_id=f"kalshi-group-{group_id}-{at_ns}", who="kalshi", reason=reason)
