"""Our orders as Kalshi names them: ids both ways, and what an amendment must repeat.

An amendment states a total, so one that states too much makes the order larger again and costs its place in
the queue. What Kalshi says of an order after a decrease is therefore believed only where it can't be older:
not more rests than the decrease left, or the read speaks as of later.

A client order id is a prefix, which belongs to one run of a process for ever, and our own order id, which
its journal never uses twice: so no client order id is ever sent for two orders, not even by a copy of the
journal, and every order of ours is recognised by a later process that knows the prefixes of earlier runs.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from pr3dict.domain.errors import ConfigError, DataError

UNKNOWN: Final = -1
NO_BOUND: Final = 2**63 - 1
MAX_KEPT: Final = 1 << 17
MAX_ORDER: Final = 1 << 62
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{4,32}")


class OwnOrder:
    """What we know of one order; mutable, owned by `OwnOrders`. Sizes in micro-contracts."""

    __slots__ = (
        "amending",
        "answered",
        "bound",
        "bound_ns",
        "dropped",
        "heard",
        "market",
        "order_id",
        "placed_ns",
        "placing",
        "price",
        "reducing",
        "side",
        "total",
        "unwanted",
        "venue_id",
    )

    def __init__(
        self, order_id: int, market: int, side: int, price: int, total: int, placed_ns: int = 0
    ) -> None:
        self.order_id = order_id
        self.market = market
        self.side = side
        self.price = price
        self.total = total  # filled and resting together; UNKNOWN after a decrease, until Kalshi says
        self.placed_ns = placed_ns  # 0: by an earlier process
        self.venue_id = ""
        self.placing = False  # a request to place it waits or flies
        self.unwanted = False  # a cancel came meanwhile
        self.dropped = False  # it surely never left
        self.answered = asyncio.Event()  # that request has ended, however
        self.reducing = 0  # decreases on their way
        self.amending: asyncio.Event | None = None  # an amendment is on its way, and set when it is not
        self.bound = NO_BOUND  # since a decrease not more than this rests
        self.bound_ns = 0  # when that decrease had ended
        self.heard: tuple[int, int] | None = None  # what was said of (filled, resting) during a decrease

    def stated(self, filled: int, remaining: int, as_of_ns: int = 0) -> None:
        """Kalshi says how the order stands, as of a time where it is known."""
        if self.reducing:
            self.heard = filled, remaining
        elif remaining <= self.bound or as_of_ns > self.bound_ns:
            self.total = filled + remaining

    def may_amend(self, total: int) -> bool:
        """Whether an amendment that repeats `total` may leave now; then it is on its way until `amended`."""
        if self.reducing or self.amending is not None or self.total != total:
            return False
        self.amending = asyncio.Event()
        return True

    def amended(self) -> None:
        """The amendment has ended, however."""
        if self.amending is not None:
            self.amending.set()
            self.amending = None

    async def begin_decrease(self) -> int:
        """A decrease goes out once no amendment is on its way; returns the total until then."""
        before, self.total = self.total, UNKNOWN
        self.reducing += 1
        if self.amending is not None:
            await self.amending.wait()
        return before

    def end_decrease(self, *, left: int, before: int, sure: bool, now_ns: int) -> None:
        """It has ended: at most `left` rests, surely or perhaps; below 0: it was not carried out."""
        self.reducing -= 1
        if left < 0:
            self.total = before if self.total == UNKNOWN and not self.reducing else self.total
        else:
            self.bound = left if sure else min(self.bound, left)
            self.bound_ns = NO_BOUND if sure else now_ns
        heard, self.heard = self.heard, None
        if heard is not None:
            self.stated(*heard)


class OwnOrders:
    """All orders that we may have to name; the oldest are forgotten beyond `MAX_KEPT`."""

    def __init__(self, prefix: str, first_order: int = 1, earlier: Sequence[tuple[str, int]] = ()) -> None:
        """`prefix` names the orders from `first_order` on, `earlier` those of the runs before, oldest first.

        Raises:
            ConfigError: a prefix could be mistaken, or first orders that do not rise.
        """
        runs = (*earlier, (prefix, first_order))
        if any(not _PREFIX.fullmatch(name) for name, _ in runs) or len({n for n, _ in runs}) < len(runs):
            raise ConfigError("a prefix of client order ids has 4 to 32 letters and digits", key="prefix")
        self._firsts = [first for _, first in runs]
        if self._firsts != sorted(self._firsts):
            raise ConfigError("a later run's first order has the smaller number", key="prefix")
        self._names = [name for name, _ in runs]
        ends = (*self._firsts[1:], MAX_ORDER)
        self._ranges = {name: (first, end) for (name, first), end in zip(runs, ends, strict=True)}
        self._orders: dict[int, OwnOrder] = {}
        self._by_venue: dict[str, int] = {}
        self.newest = first_order - 1  # highest number so far

    def __len__(self) -> int:
        return len(self._orders)

    def client_id(self, order_id: int) -> str:
        """What we call an order towards Kalshi.

        Raises:
            DataError: the order is older than the oldest run that is known.
        """
        place = bisect_right(self._firsts, order_id) - 1
        if place < 0:
            raise DataError("is older than any run of which the prefix is known", key=f"order {order_id}")
        return f"{self._names[place]}-{order_id}"

    def of_client_id(self, text: str | None) -> int:
        """Our id behind a client order id; 0: it is none of ours."""
        head, dash, tail = (text or "").rpartition("-")
        first, end = self._ranges.get(head, (0, 0))
        if not dash or not (tail.isascii() and tail.isdecimal()) or tail[0] == "0" or len(tail) > 18:
            return 0
        return int(tail) if first <= int(tail) < end else 0

    def of_venue_id(self, venue_id: str) -> int:
        """Our id behind Kalshi's; 0: not known."""
        return self._by_venue.get(venue_id, 0)

    def get(self, order_id: int) -> OwnOrder | None:
        """What we know of an order."""
        return self._orders.get(order_id)

    def add(self, order: OwnOrder) -> None:
        """Remember an order."""
        self._orders[order.order_id] = order
        self.newest = max(self.newest, order.order_id)
        while len(self._orders) > MAX_KEPT:
            oldest = next(iter(self._orders))
            self._by_venue.pop(self._orders.pop(oldest).venue_id, None)

    def placing(self) -> list[OwnOrder]:
        """Orders whose request waits or flies."""
        return [order for order in self._orders.values() if order.placing]

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
