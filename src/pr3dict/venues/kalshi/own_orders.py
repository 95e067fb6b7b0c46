"""Our orders as Kalshi names them: ids both ways, and what an amendment must repeat.

A client order id is a prefix, which belongs to one data directory for ever, and our own order id, which that
directory never uses twice: so no client order id is ever sent for two orders, and every order of ours can be
recognised by a process that has forgotten it.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from pr3dict.domain.errors import ConfigError

UNKNOWN: Final = -1
MAX_KEPT: Final = 1 << 17
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{4,32}")


class OwnOrder:
    """What we know of one order; mutable, owned by `OwnOrders`. Sizes in micro-contracts."""

    __slots__ = (
        "answered",
        "dropped",
        "market",
        "order_id",
        "placing",
        "price",
        "side",
        "total",
        "unwanted",
        "venue_id",
    )

    def __init__(self, order_id: int, market: int, side: int, price: int, total: int) -> None:
        self.order_id = order_id
        self.market = market
        self.side = side
        self.price = price
        self.total = total  # filled and resting together; UNKNOWN after a decrease, until Kalshi says
        self.venue_id = ""
        self.placing = False  # a request to place it waits or flies
        self.unwanted = False  # a cancel came meanwhile
        self.dropped = False  # it surely never left
        self.answered = asyncio.Event()  # that request has ended, however


class OwnOrders:
    """All orders that we may have to name; the oldest are forgotten beyond `MAX_KEPT`."""

    def __init__(self, prefix: str) -> None:
        """Raises `ConfigError` for a prefix that could be mistaken."""
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError("a prefix of client order ids has 4 to 32 letters and digits", key="prefix")
        self.prefix = prefix
        self._orders: dict[int, OwnOrder] = {}
        self._by_venue: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def client_id(self, order_id: int) -> str:
        """What we call an order towards Kalshi."""
        return f"{self.prefix}-{order_id}"

    def of_client_id(self, text: str | None) -> int:
        """Our id behind a client order id; 0: it is none of ours."""
        head, dash, tail = (text or "").rpartition("-")
        if head != self.prefix or not dash or not (tail.isascii() and tail.isdecimal()) or tail[0] == "0":
            return 0
        return int(tail)

    def of_venue_id(self, venue_id: str) -> int:
        """Our id behind Kalshi's; 0: not known."""
        return self._by_venue.get(venue_id, 0)

    def get(self, order_id: int) -> OwnOrder | None:
        """What we know of an order."""
        return self._orders.get(order_id)

    def add(self, order: OwnOrder) -> None:
        """Remember an order."""
        self._orders[order.order_id] = order
        while len(self._orders) > MAX_KEPT:
            oldest = next(iter(self._orders))
            self._by_venue.pop(self._orders.pop(oldest).venue_id, None)

    def named(self, order_id: int, venue_id: str) -> None:
        """Kalshi calls an order `venue_id` (an amendment may have given it another id)."""
        if not venue_id:
            return
        self._by_venue[venue_id] = order_id
        order = self._orders.get(order_id)
        if order is not None:
            order.venue_id = venue_id
        elif len(self._by_venue) > 2 * MAX_KEPT:
            del self._by_venue[next(iter(self._by_venue))]

    def venue_id(self, order_id: int, said: str = "") -> str:
        """Kalshi's newest id of an order, or what a command says; "": not known."""
        order = self._orders.get(order_id)
        return order.venue_id if order is not None and order.venue_id else said
