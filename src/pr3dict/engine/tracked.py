"""One order of ours with all evidence about it, and the agenda of when each needs attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Final, Literal

import msgspec

from pr3dict.domain.commands import Place
from pr3dict.domain.errors import ConfigError
from pr3dict.domain.events import Request
from pr3dict.domain.order import OrderEvent, OrderState

NEVER_NS: Final = 2**63 - 1
_SECOND = 1_000_000_000

_S = OrderState
PATIENCE: Final = 2  # equal reads before we act on what we can't explain
IN_DOUBT: Final = (_S.INTENT, _S.SENT, _S.UNKNOWN, _S.CLOSING)  # the venue's truth about it may differ


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """How long we wait for evidence; spans in ns.

    Raises `ConfigError` when orders would expire before they can be renewed.
    """

    answer_timeout_ns: int = 5 * _SECOND  # a request without an answer is lost after this
    order_life_ns: int = 0  # every order expires this long after it was sent or renewed; 0: never
    renew_before_ns: int = 10 * _SECOND  # before its expiry an order that shall stay is renewed
    skew_ns: int = 2 * _SECOND  # how far apart our clock and a venue's may be, delays in its queue included
    absence_span_ns: int = 30 * _SECOND  # longest that a request may sit in a venue's queue
    read_retry_ns: int = _SECOND  # first pause between reads or cancels that did not settle a question
    read_retry_max_ns: int = 30 * _SECOND
    reconcile_interval_ns: int = 30 * _SECOND  # between whole comparisons with a venue; 0: never compare
    overlap_ns: int = 60 * _SECOND  # fills are read again from this long before the last known time
    closed_keep_ns: int = 900 * _SECOND
    settled_keep_ns: int = 86_400 * _SECOND
    cash_tolerance_micros: int = 0  # a venue may state its balance more coarsely than it keeps it

    def __post_init__(self) -> None:
        if 0 < self.order_life_ns <= self.renew_before_ns + self.skew_ns:
            raise ConfigError("order_life_ns must be longer than renew_before_ns and skew_ns together")

    def backoff_ns(self, tries: int) -> int:
        """Pause after `tries` attempts that settled nothing: doubles up to a limit."""
        return min(self.read_retry_ns << min(tries, 20), self.read_retry_max_ns)


class OpenOrder(msgspec.Struct, frozen=True):
    """An order that may still fill."""

    order_id: int
    venue_id: str
    market: int
    side: int
    sell: bool
    price: int
    remaining: int
    state: OrderState
    tif: int
    sent_ns: int
    expiry_ns: int
    queue_ahead: int = -1  # micro-contracts before it, as the venue said last; -1: it did not say
    queue_ns: int = 0  # as of when


class TrackedOrder:
    """One order and the evidence about it; mutable, owned by `Orders`."""

    __slots__ = (
        "absent",  # consecutive reads that did not show it
        "absent_ns",  # as-of time of the last of them
        "asked_expiry_ns",  # by a renewal without an answer
        "asked_ns",  # when `request` was sent
        "booked",  # size of all its fills, voided ones included: what the venue matched
        "closed_ns",
        "due_ns",  # when to look at it next
        "early",  # cancels that left before the venue had shown it: they may have overtaken it
        "end_ns",  # when we learned that it left the book
        "end_why",
        "evidence_ns",  # last time at which the venue showed it alive
        "exact",  # `size` is the venue's own; else a lower bound after a reduction
        "expiry_ns",
        "figure",  # total traded size as the venue said it; -1: never
        "market",
        "next_ns",  # not before this is it asked for again
        "order_id",
        "placed",  # size as sent
        "price",
        "reduce_to",  # remaining size asked for by a reduction without an answer
        "request",  # what awaits an answer: "", "place", "cancel", "reduce", "renew"
        "seen",  # the venue has shown that it took it
        "sell",
        "sent_ns",
        "short",  # reads of fills that contradicted `figure`
        "side",
        "size",  # total size after reductions
        "state",
        "sure",  # of its end: the venue said so or twice did not show it, more than a refused request
        "tif",
        "told",  # the brain knows that it was accepted
        "tries",  # reads or cancels since the last doubt arose
        "venue_id",
        "wish",  # it shall be cancelled
    )

    def __init__(self, now_ns: int, c: Place) -> None:
        self.order_id = c.order_id
        self.market = c.market
        self.side = c.side
        self.sell = c.sell
        self.price = c.price
        self.placed = self.size = c.size
        self.tif = c.tif
        self.expiry_ns = c.expiry_ns
        self.asked_expiry_ns = 0
        self.venue_id = ""
        self.state = _S.INTENT
        self.booked = 0
        self.sent_ns = self.asked_ns = now_ns
        self.request: Request | Literal[""] = "place"
        self.seen = self.told = self.wish = False
        self.exact = self.sure = True
        self.early = 0
        self.figure = -1
        self.reduce_to = 0
        self.end_ns = 0
        self.end_why = "none"
        self.short = self.tries = self.absent = self.absent_ns = 0
        self.evidence_ns = now_ns
        self.next_ns = now_ns
        self.closed_ns = 0
        self.due_ns = NEVER_NS

    @property
    def remaining(self) -> int:
        """Micro-contracts that may still fill."""
        return max(0, self.size - self.booked)

    def latest_expiry_ns(self) -> int:
        """No later than this does the venue take it out of the book; 0: no bound."""
        return max(self.expiry_ns, self.asked_expiry_ns) if self.expiry_ns else 0

    def proof_ns(self, terms: OrderTerms) -> int:
        """From here on absence says something about an order that was never seen.

        A venue refuses an order that arrives after its expiry. Without an expiry only the longest time that a
        request may wait in the venue's queue bounds it: after that a new order can no longer appear.
        """
        expiry_ns = self.latest_expiry_ns()
        return expiry_ns + terms.skew_ns if expiry_ns else self.sent_ns + terms.absence_span_ns

    def is_timed_out(self, terms: OrderTerms, now_ns: int) -> bool:
        """Whether the answer to its request is overdue."""
        return self._answer_due_ns(terms) <= now_ns

    def is_questionable(self, terms: OrderTerms, now_ns: int) -> bool:
        """Whether it should be looked up, as soon as `next_ns` allows."""
        if self.state is not _S.LIVE:
            return self.state in (_S.UNKNOWN, _S.CLOSING)
        return self.absent > 0 or self.figure > self.booked or self._overdue_ns(terms) <= now_ns

    def is_to_renew(self, terms: OrderTerms, now_ns: int) -> bool:
        """Whether its life should be prolonged, as soon as `next_ns` allows."""
        return self._renewal_ns(terms) <= now_ns

    def attention_ns(self, terms: OrderTerms) -> int:
        """When time alone will next ask for something: an answer overdue, a look-up, a repeat, a renewal."""
        if self.state in (_S.UNKNOWN, _S.CLOSING):
            return self.next_ns
        due_ns = min(self._overdue_ns(terms), self._renewal_ns(terms))
        if self.state is _S.LIVE and (self.wish or self.absent or self.figure > self.booked):
            due_ns = 0
        return min(self._answer_due_ns(terms), max(due_ns, self.next_ns))

    def _answer_due_ns(self, terms: OrderTerms) -> int:
        if not self.request or self.state in (_S.UNKNOWN, _S.CLOSING):
            return NEVER_NS
        return self.asked_ns + terms.answer_timeout_ns

    def _overdue_ns(self, terms: OrderTerms) -> int:
        """From here on the venue should have said that it expired."""
        if self.state is not _S.LIVE or not self.expiry_ns:
            return NEVER_NS
        return self.latest_expiry_ns() + terms.skew_ns + terms.answer_timeout_ns

    def _renewal_ns(self, terms: OrderTerms) -> int:
        if self.state is not _S.LIVE or not (terms.order_life_ns and self.expiry_ns):
            return NEVER_NS
        return NEVER_NS if self.wish or self.request else self.expiry_ns - terms.renew_before_ns

    def end_event(self, why: str) -> OrderEvent:
        """How it ends, with all its fills booked."""
        if why == "filled" or self.booked >= (self.size if self.exact else self.placed):
            return OrderEvent.FILL
        return OrderEvent.EXPIRE if why == "expired" else OrderEvent.CANCEL

    def view(self) -> OpenOrder:
        """A frozen copy."""
        return OpenOrder(
            self.order_id, self.venue_id, self.market, self.side, self.sell, self.price, self.remaining,
            self.state, self.tif, self.sent_ns, self.expiry_ns,
        )  # fmt: skip

    def save(self) -> list[Any]:
        """All fields in the order of their names."""
        fields = [getattr(self, name) for name in self.__slots__]
        fields[_STATE_FIELD] = self.state.value
        return fields

    @classmethod
    def load(cls, fields: list[Any]) -> TrackedOrder:
        """The order that `save` described."""
        order = cls.__new__(cls)
        for name, value in zip(cls.__slots__, fields, strict=True):
            setattr(order, name, value)
        order.state = OrderState(order.state)
        return order


_STATE_FIELD = TrackedOrder.__slots__.index("state")


class Agenda:
    """When to look at which order: a heap of (`due_ns`, order id) whose stale entries are skipped."""

    __slots__ = ("_alarms",)

    def __init__(self) -> None:
        self._alarms: list[tuple[int, int]] = []

    def add(self, order: TrackedOrder, orders: Mapping[int, TrackedOrder]) -> None:
        """Note a new `due_ns`; `orders` are all that may still be due."""
        heappush(self._alarms, (order.due_ns, order.order_id))
        if len(self._alarms) > 64 + 4 * len(orders):  # mostly stale
            self._alarms = [(o.due_ns, o.order_id) for o in orders.values() if o.due_ns < NEVER_NS]
            heapify(self._alarms)

    def next_ns(self, orders: Mapping[int, TrackedOrder]) -> int:
        """When the next order is due."""
        alarms = self._alarms
        while alarms:
            at_ns, order_id = alarms[0]
            order = orders.get(order_id)
            if order is not None and order.due_ns == at_ns:
                return at_ns
            heappop(alarms)
        return NEVER_NS

    def take(self, orders: Mapping[int, TrackedOrder], now_ns: int) -> list[TrackedOrder]:
        """Orders that are due, by id; they stay due until their `due_ns` changes."""
        found: dict[int, TrackedOrder] = {}
        while self.next_ns(orders) <= now_ns and self._alarms:
            order = orders[heappop(self._alarms)[1]]
            found[order.order_id] = order
        for order in found.values():
            heappush(self._alarms, (order.due_ns, order.order_id))
        return [found[order_id] for order_id in sorted(found)]
