"""What a command becomes on the wire, and what its answer means to the engine; no I/O.

Every new order carries self-trade prevention that stops the newcomer, is cancelled when its market pauses,
and belongs to its shard's order group, so that what we can't cancel any more the exchange cancels for us.
"""

from __future__ import annotations

from typing import Final, Literal

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import (
    Accepted,
    AnswerLost,
    Closed,
    Control,
    NotSent,
    Reduced,
    Refused,
    Renewed,
    Request,
    RequestRefused,
    Sent,
)
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi.frames import side_of
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.numbers import price_text, seconds, size_text
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict, judge_item
from pr3dict.venues.kalshi.own_orders import UNKNOWN, OwnOrder, OwnOrders

TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
TIMES_IN_FORCE: Final[dict[int, TimeInForce]] = {
    d.POST_ONLY: "good_till_canceled",
    d.LIMIT: "good_till_canceled",
    d.IOC: "immediate_or_cancel",
    d.FOK: "fill_or_kill",
}
NO_ITEM: Final = Outcome(Verdict.UNKNOWN, text="the answer does not name the order")


class Requests:
    """Builds requests and reads answers; `group_of` is the order group of each shard."""

    def __init__(self, orders: OwnOrders, lives: Lives, subaccount: int | None) -> None:
        self.group_of: dict[int, str] = {}
        self._orders = orders
        self._lives = lives
        self._subaccount = subaccount

    def group(self, market: int) -> str:
        """The order group that new orders in a market join; "": none."""
        return self.group_of.get(self._lives.of_row(market).shard, "")

    # --- new orders -------------------------------------------------------------------------------

    def create(self, place: Place) -> a.CreateOrder:
        """A new order; raises `DataError` for a size that Kalshi does not know."""
        life = self._lives.of_row(place.market)
        if life.floor and place.price <= life.floor:
            what = f"{price_text(place.price)} is not above the settlement floor {price_text(life.floor)}"
            raise DataError(what, key=life.listing.ticker)
        rests = place.tif in (d.POST_ONLY, d.LIMIT)
        return a.CreateOrder(
            ticker=life.listing.ticker,
            side="bid" if place.side == BID else "ask",
            count=size_text(place.size),
            price=price_text(place.price),
            time_in_force=TIMES_IN_FORCE[place.tif],
            self_trade_prevention_type="taker_at_cross",
            client_order_id=self._orders.client_id(place.order_id),
            exchange_index=life.shard,
            post_only=place.tif == d.POST_ONLY,
            reduce_only=place.sell and not rests,
            cancel_order_on_pause=True,
            expiration_time=seconds(place.expiry_ns) if rests and place.expiry_ns else None,
            order_group_id=self.group(place.market) or None,
            subaccount=self._subaccount,
        )

    @staticmethod
    def sent(place: Place) -> tuple[Control, ...]:
        """The bytes may leave from now on."""
        return (Sent(order_id=place.order_id),)

    def placed(self, place: Place, outcome: Outcome, body: a.Created | None) -> tuple[Control, ...]:
        """What became of a new order."""
        order_id = place.order_id
        match outcome.verdict:
            case Verdict.NOT_SENT:
                return (NotSent(order_id=order_id, why=outcome.why),)
            case Verdict.REFUSED:
                return (Refused(order_id=order_id, why=outcome.why, text=outcome.text),)
            case Verdict.ACCEPTED if body is not None and self._names(body, order_id):
                return self._accepted(place, body.order_id, int(body.fill_count), int(body.remaining_count))
            case Verdict.ACCEPTED:
                outcome = NO_ITEM
        return (AnswerLost(order_id=order_id, request="place", why=outcome.text),)

    def _names(self, body: a.Created | a.CreatedItem, order_id: int) -> bool:
        """Whether an answer is about this order, and says what Kalshi calls it."""
        return bool(body.order_id) and body.client_order_id in (None, self._orders.client_id(order_id))

    def placed_item(self, place: Place, outcome: Outcome, item: a.CreatedItem | None) -> tuple[Control, ...]:
        """What became of one order of a batch."""
        if outcome.verdict is not Verdict.ACCEPTED:
            return self.placed(place, outcome, None)
        if item is None or item.client_order_id not in (None, self._orders.client_id(place.order_id)):
            return self.placed(place, NO_ITEM, None)
        if item.error is not None:
            return self.placed(place, judge_item(item.error), None)
        if not item.order_id or item.fill_count is None or item.remaining_count is None:
            return self.placed(place, NO_ITEM, None)
        return self._accepted(place, item.order_id, int(item.fill_count), int(item.remaining_count))

    def _accepted(self, place: Place, venue_id: str, filled: int, remaining: int) -> tuple[Control, ...]:
        """Taken; an order of which nothing rests is over at once."""
        order_id = place.order_id
        self._orders.named(order_id, venue_id)
        accepted = Accepted(order_id=order_id, venue_id=venue_id, filled=filled)
        if remaining > 0:
            return (accepted,)
        if filled >= place.size:
            why = "filled"
        elif place.tif == d.POST_ONLY:
            why = "post_only_cross"
        else:
            why = "unfilled_ioc" if place.tif in (d.IOC, d.FOK) else "self_trade"
        return accepted, Closed(order_id=order_id, why=why, filled=filled)

    # --- cancels ----------------------------------------------------------------------------------

    def cancel_item(self, cancel: Cancel) -> a.CancelItem:
        """One order of a batch to cancel; its id at Kalshi must be known."""
        life = self._lives.of_row(cancel.market)
        return a.CancelItem(
            order_id=self._orders.venue_id(cancel.order_id, cancel.venue_id),
            exchange_index=life.shard,
            market_ticker=life.listing.ticker,
            subaccount=self._subaccount,
        )

    def canceled(self, order_id: int, outcome: Outcome, body: a.Canceled | None) -> tuple[Control, ...]:
        """What became of a cancel."""
        if outcome.verdict is Verdict.ACCEPTED and body is not None:
            return (
                Closed(order_id=order_id, why="none", filled=self._traded(order_id, int(body.reduced_by))),
            )
        return self._unchanged(order_id, "cancel", outcome)

    def canceled_item(
        self, order_id: int, outcome: Outcome, item: a.CanceledItem | None
    ) -> tuple[Control, ...]:
        """What became of one cancel of a batch."""
        if outcome.verdict is not Verdict.ACCEPTED:
            return self._unchanged(order_id, "cancel", outcome)
        if item is None or (item.error is None and item.reduced_by is None):
            return self._unchanged(order_id, "cancel", NO_ITEM)
        if item.order_id not in (None, "", self._orders.venue_id(order_id, item.order_id or "")):
            return self._unchanged(order_id, "cancel", NO_ITEM)
        if item.error is not None:
            return self._unchanged(order_id, "cancel", judge_item(item.error))
        assert item.reduced_by is not None
        return (Closed(order_id=order_id, why="none", filled=self._traded(order_id, int(item.reduced_by))),)

    def _traded(self, order_id: int, taken_out: int) -> int:
        """What an order had traded when `taken_out` was taken out of the book; -1: it can't be told."""
        own = self._orders.get(order_id)
        if own is None or own.total == UNKNOWN or taken_out > own.total:
            return -1
        return own.total - taken_out

    def _unchanged(self, order_id: int, request: Request, outcome: Outcome) -> tuple[Control, ...]:
        """Refused, or nobody knows; what never left has to be asked again just the same."""
        if outcome.verdict is Verdict.REFUSED:
            return (RequestRefused(order_id=order_id, request=request, why=outcome.why, text=outcome.text),)
        return (AnswerLost(order_id=order_id, request=request, why=outcome.text),)

    # --- changes ----------------------------------------------------------------------------------

    def decrease(self, command: Reduce) -> a.DecreaseOrder:
        """A reduction in place; raises `DataError` for a size that Kalshi does not know."""
        life = self._lives.of_row(command.market)
        return a.DecreaseOrder(
            exchange_index=life.shard,
            market_ticker=life.listing.ticker,
            reduce_to=size_text(command.remaining),
        )

    def reduced(self, command: Reduce, outcome: Outcome, body: a.Decreased | None) -> tuple[Control, ...]:
        """What became of a reduction."""
        if outcome.verdict is Verdict.ACCEPTED and body is not None:
            self._orders.named(command.order_id, body.order_id)
            return (Reduced(order_id=command.order_id, remaining=int(body.remaining_count)),)
        return self._unchanged(command.order_id, "reduce", outcome)

    def amend_expiry(self, command: Renew, own: OwnOrder) -> a.AmendOrder:
        """Another expiry, everything else as it is."""
        life = self._lives.of_row(command.market)
        return a.AmendOrder(
            ticker=life.listing.ticker,
            side="bid" if own.side == BID else "ask",
            price=price_text(own.price),
            count=size_text(own.total),
            exchange_index=life.shard,
            expiration_time=seconds(command.expiry_ns),
        )

    def renewed(self, command: Renew, outcome: Outcome, body: a.Amended | None) -> tuple[Control, ...]:
        """What became of a renewal; the order may have another id now."""
        if outcome.verdict is Verdict.ACCEPTED and body is not None:
            self._orders.named(command.order_id, body.order_id)
            return (Renewed(order_id=command.order_id, expiry_ns=command.expiry_ns),)
        return self._unchanged(command.order_id, "renew", outcome)

    @staticmethod
    def remembered(command: Renew, order: a.Order) -> OwnOrder:
        """An order of an earlier process, as Kalshi shows it."""
        if order.remaining_count_fp <= 0:
            raise DataError("rests with nothing", key=f"order {order.order_id}")
        total = int(order.fill_count_fp) + int(order.remaining_count_fp)
        side = side_of(order.book_side, None)
        return OwnOrder(command.order_id, command.market, side, int(order.yes_price_dollars), total)
