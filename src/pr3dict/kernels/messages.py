"""The two bounded rings of messages in flight: our requests to the exchange and its reports to us.

Latency is the same for each message of a direction, so both are first in, first out. A full ring stops
the replay with an error instead of losing a message.
"""

from __future__ import annotations

from pr3dict.kernels.jit import kernel
from pr3dict.kernels.world import World

ERROR_NONE = 0
ERROR_OUTBOX_FULL = 1
ERROR_INBOX_FULL = 2
ERROR_FILLS_FULL = 3
ERROR_CURVE_FULL = 4
ERRORS = (
    "",
    "too many requests in flight: the ring of messages to the exchange is full",
    "too many reports in flight: the ring of messages from the exchange is full",
    "more fills than the replay has room for",
    "more equity samples than the replay has room for",
)


@kernel
def request(w: World, now_ns: int, kind: int, m: int, slot: int, size: int) -> None:
    """Send a NEW, CANCEL or REDUCE of the order in `slot`; `size` is what shall rest."""
    clock = w.clock[0]
    if clock.outbox_tail - clock.outbox_head >= len(w.outbox):
        w.account[0].error = ERROR_OUTBOX_FULL
        return
    order = w.orders[m, slot]
    message = w.outbox[clock.outbox_tail & (len(w.outbox) - 1)]
    clock.outbox_tail += 1
    message.at_ns = now_ns + w.rules[0].entry_ns
    message.kind = kind
    message.market = m
    message.slot = slot
    message.id = order.id
    message.qty = size
    message.price = order.price
    message.side = order.side
    message.tif = order.tif
    message.leg = order.leg
    message.expiry_ns = order.expiry_ns


@kernel
def report(w: World, now_ns: int, kind: int, m: int, slot: int, order_id: int, size: int, why: int) -> int:
    """Queue a report that reaches us after the response latency; returns its place in the inbox, -1: full."""
    clock = w.clock[0]
    if clock.inbox_tail - clock.inbox_head >= len(w.inbox):
        w.account[0].error = ERROR_INBOX_FULL
        return -1
    place = int(clock.inbox_tail) & (len(w.inbox) - 1)
    clock.inbox_tail += 1
    message = w.inbox[place]
    message.at_ns = now_ns + w.rules[0].response_ns
    message.kind = kind
    message.market = m
    message.slot = slot
    message.id = order_id
    message.qty = size
    message.why = why
    return place
