"""Orders: one frozen value an order and one table of what may happen to it.

An order whose request or answer was lost is `UNKNOWN` and counts against every limit until the venue says
what became of it. One that left the book while some of its fills may still be unread is `CLOSING` and counts
as well. A closed order never reopens: a fill that arrives late belongs to the ledger and is counted
here, but the state stays.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.units import ASK, BID, PRICE_SCALE


class OrderState(enum.Enum):
    """Where an order is, as far as we know."""

    INTENT = "intent"  # decided and durable, not yet sent
    SENT = "sent"  # no answer yet
    LIVE = "live"  # rests at the venue, filled in part or not at all
    UNKNOWN = "unknown"  # the answer was lost: it may rest, or be filled, or never have arrived
    CANCEL_IN_FLIGHT = "cancel_in_flight"
    CLOSING = "closing"  # out of the book, but its fills are not all read yet
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class OrderEvent(enum.Enum):
    """What can happen to an order."""

    SEND = "send"
    ACK = "ack"  # the venue shows it resting
    PARTIAL_FILL = "partial_fill"
    FILL = "fill"  # nothing remains
    CANCEL_SENT = "cancel_sent"
    CANCEL_REJECT = "cancel_reject"  # the venue refused the cancel: the order rests on
    GONE = "gone"  # out of the book, and what it traded is not known or not all read
    CANCEL = "cancel"  # the venue cancelled it, on our request or its own
    REJECT = "reject"
    EXPIRE = "expire"
    ANSWER_LOST = "answer_lost"  # time-out, dropped connection, server error
    NOT_FOUND = "not_found"  # the venue proves that it never accepted the order


_S = OrderState
_E = OrderEvent

_ENDS: Final = {_E.FILL: _S.FILLED, _E.CANCEL: _S.CANCELLED, _E.EXPIRE: _S.EXPIRED}

_LATE: Final = (
    _E.SEND, _E.ACK, _E.PARTIAL_FILL, _E.FILL, _E.CANCEL, _E.CANCEL_REJECT, _E.EXPIRE, _E.ANSWER_LOST, _E.GONE
)  # fmt: skip

ORDER_TRANSITIONS: Final[Mapping[OrderState, Mapping[OrderEvent, OrderState]]] = {
    # A process may end between sending and noting it: what was never noted as sent may yet be live.
    _S.INTENT: {
        **_ENDS,
        _E.SEND: _S.SENT,
        _E.ACK: _S.LIVE,
        _E.PARTIAL_FILL: _S.LIVE,
        _E.REJECT: _S.REJECTED,
        _E.ANSWER_LOST: _S.UNKNOWN,
        _E.CANCEL_SENT: _S.CANCEL_IN_FLIGHT,
        _E.GONE: _S.CLOSING,
    },
    _S.SENT: {
        **_ENDS,
        _E.SEND: _S.SENT,
        _E.ACK: _S.LIVE,
        _E.PARTIAL_FILL: _S.LIVE,  # a fill may come before the answer
        _E.REJECT: _S.REJECTED,
        _E.ANSWER_LOST: _S.UNKNOWN,
        _E.CANCEL_SENT: _S.CANCEL_IN_FLIGHT,
        _E.GONE: _S.CLOSING,
    },
    _S.LIVE: {
        **_ENDS,
        _E.SEND: _S.LIVE,  # our own notice of sending came after the venue's
        _E.ACK: _S.LIVE,
        _E.PARTIAL_FILL: _S.LIVE,
        _E.CANCEL_SENT: _S.CANCEL_IN_FLIGHT,
        _E.CANCEL_REJECT: _S.LIVE,
        _E.ANSWER_LOST: _S.UNKNOWN,
        _E.GONE: _S.CLOSING,
    },
    _S.UNKNOWN: {
        **_ENDS,
        _E.SEND: _S.UNKNOWN,
        _E.ACK: _S.LIVE,
        _E.PARTIAL_FILL: _S.LIVE,
        _E.REJECT: _S.REJECTED,
        _E.NOT_FOUND: _S.REJECTED,
        _E.CANCEL_SENT: _S.UNKNOWN,  # a cancel into the dark proves nothing
        _E.CANCEL_REJECT: _S.UNKNOWN,
        _E.ANSWER_LOST: _S.UNKNOWN,
        _E.GONE: _S.CLOSING,
    },
    _S.CANCEL_IN_FLIGHT: {
        **_ENDS,
        _E.SEND: _S.CANCEL_IN_FLIGHT,
        _E.ACK: _S.CANCEL_IN_FLIGHT,  # the answer to the order overtaken by our cancel
        _E.PARTIAL_FILL: _S.CANCEL_IN_FLIGHT,
        _E.REJECT: _S.REJECTED,
        _E.CANCEL_SENT: _S.CANCEL_IN_FLIGHT,
        _E.CANCEL_REJECT: _S.LIVE,
        _E.ANSWER_LOST: _S.UNKNOWN,
        _E.GONE: _S.CLOSING,
    },
    # Only its fills are awaited: whatever else arrives is late.
    _S.CLOSING: {
        **_ENDS,
        **{
            e: _S.CLOSING
            for e in (
                _E.SEND, _E.ACK, _E.PARTIAL_FILL, _E.CANCEL_SENT, _E.CANCEL_REJECT, _E.ANSWER_LOST, _E.GONE
            )
        },
    },
    # Late messages about a closed order; the first end stands.
    _S.FILLED: {
        e: _S.FILLED for e in (_E.SEND, _E.ACK, _E.FILL, _E.CANCEL_REJECT, _E.ANSWER_LOST, _E.GONE)
    },
    _S.CANCELLED: {e: _S.CANCELLED for e in _LATE},
    _S.REJECTED: {
        e: _S.REJECTED
        for e in (_E.SEND, _E.REJECT, _E.CANCEL_REJECT, _E.NOT_FOUND, _E.ANSWER_LOST, _E.GONE)
    },
    _S.EXPIRED: {e: _S.EXPIRED for e in _LATE},
}  # fmt: skip

CLOSED_STATES: Final = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})


def advance(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after `event`; raises `WorkError` that names both when the table does not allow it."""
    after = ORDER_TRANSITIONS[state].get(event)
    if after is None:
        raise WorkError(f"an order that is {state.value} cannot take the event {event.value}")
    return after


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order in YES terms: `side` BID buys YES, ASK buys NO or sells YES; sizes in micro-contracts.

    Raises `DataError` for a price outside (0, 1) dollar, a size that is not positive or a fill beyond it.
    """

    id: str
    market: str
    side: int
    price: int
    size: int
    filled: int = 0
    state: OrderState = OrderState.INTENT

    def __post_init__(self) -> None:
        if self.side not in (BID, ASK):
            raise DataError(f"order {self.id}: side {self.side} is neither {BID} (bid) nor {ASK} (ask)")
        if not 0 < self.price < PRICE_SCALE:
            raise DataError(f"order {self.id}: price {self.price} is outside 0 to {PRICE_SCALE}")
        if self.size <= 0 or not 0 <= self.filled <= self.size:
            raise DataError(f"order {self.id}: {self.filled} filled of {self.size} is impossible")

    @property
    def remaining(self) -> int:
        """Micro-contracts that are not filled."""
        return self.size - self.filled

    @property
    def exposed(self) -> int:
        """Micro-contracts that may still fill: zero once closed."""
        return 0 if self.state in CLOSED_STATES else self.remaining

    def on(self, event: OrderEvent) -> Order:
        """The order after an event that fills nothing; raises `WorkError` as `advance` does."""
        if event in (OrderEvent.FILL, OrderEvent.PARTIAL_FILL):
            raise WorkError(f"order {self.id}: a fill needs its size; use fill()")
        return msgspec.structs.replace(self, state=advance(self.state, event))

    def fill(self, size: int) -> Order:
        """The order after a fill of `size`; a late fill of a closed order changes `filled` only.

        Raises `WorkError` when `size` is not positive, exceeds what remains, or the order was never accepted.
        """
        if not 0 < size <= self.remaining:
            raise WorkError(f"order {self.id}: a fill of {size} does not fit the remaining {self.remaining}")
        event = OrderEvent.FILL if size == self.remaining else OrderEvent.PARTIAL_FILL
        return msgspec.structs.replace(self, filled=self.filled + size, state=advance(self.state, event))

    def reduce(self, size: int) -> Order:
        """The order cut to a total of `size`, which must leave something to fill.

        Raises `WorkError` when the order is closed, or `size` would enlarge it or is already filled.
        """
        if self.state in CLOSED_STATES:
            raise WorkError(f"order {self.id} is {self.state.value} and cannot be reduced")
        if not self.filled < size <= self.size:
            raise WorkError(f"order {self.id}: cannot reduce {self.size} ({self.filled} filled) to {size}")
        return msgspec.structs.replace(self, size=size)
