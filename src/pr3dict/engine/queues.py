"""What venues say of the places of our orders in their queues. Shown and compared, never decided on.

So it is part of a snapshot, but not of the state that a replay must meet.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from pr3dict.domain.events import QueueRead
from pr3dict.engine.tracked import OpenOrder


class QueueState(msgspec.Struct, frozen=True):
    """The table as it is kept: micro-contracts ahead by order id, and as of when each venue spoke, ns."""

    ahead: dict[int, int]
    as_of_ns: dict[str, int]


class Queues:
    """The newest figure of each open order; mutable, owned by the engine."""

    def __init__(self) -> None:
        self._ahead: dict[int, int] = {}
        self._as_of_ns: dict[str, int] = {}

    def note(self, event: QueueRead, opened: Container[int]) -> None:
        """Take in what a venue said; `opened` are the ids of orders that may still fill."""
        self._as_of_ns[event.venue] = event.as_of_ns
        self._ahead |= {place.order_id: place.ahead for place in event.positions}
        self._ahead = _of_open(self._ahead, opened)

    def shown(self, order: OpenOrder, venue: str) -> OpenOrder:
        """The order with its place, where the venue has said it."""
        ahead = self._ahead.get(order.order_id)
        if ahead is None:
            return order
        return msgspec.structs.replace(order, queue_ahead=ahead, queue_ns=self._as_of_ns[venue])

    def save(self, opened: Container[int]) -> QueueState | None:
        """What is worth keeping, in a fixed order; None: no venue has said anything."""
        if not self._as_of_ns:
            return None
        ahead = _of_open(self._ahead, opened)
        return QueueState(dict(sorted(ahead.items())), dict(sorted(self._as_of_ns.items())))

    def load(self, kept: QueueState | None) -> None:
        """Take over what `save` described."""
        if kept is not None:
            self._ahead, self._as_of_ns = dict(kept.ahead), dict(kept.as_of_ns)


def _of_open(ahead: dict[int, int], opened: Container[int]) -> dict[int, int]:
    return {order_id: size for order_id, size in ahead.items() if order_id in opened}
