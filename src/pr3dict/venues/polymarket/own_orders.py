"""Our orders as Polymarket names them. An order's digest is its id there, and is known before it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from pr3dict.domain.commands import Place
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.requests import Built

MAX_KEPT: Final = 1 << 17


class Known(NamedTuple):
    """An order of an earlier process: its digest ("": it was journaled, but nobody knows whether it left)."""

    order_id: int
    market: int
    digest: str = ""


class OwnOrder:
    """What we know of one order; mutable, owned by `OwnOrders`. Sizes in micro-contracts."""

    __slots__ = (
        "answered",
        "at_once",
        "digest",
        "dropped",
        "expires_ns",
        "market",
        "order_id",
        "over",
        "placing",
        "rests",
        "size",
        "unwanted",
    )

    def __init__(self, place: Place) -> None:
        self.order_id = place.order_id
        self.market = place.market
        self.size = place.size
        self.at_once = place.tif in (d.IOC, d.FOK)  # what does not trade at once is to end
        self.rests = True  # and does not do so by itself
        self.digest = ""
        self.expires_ns = 0  # when the venue ends it; 0: never
        self.placing = False  # a request to place it waits or flies
        self.unwanted = False  # a cancel came meanwhile
        self.dropped = False  # it surely never left
        self.answered = asyncio.Event()  # that request has ended, however
        self.over = asyncio.Event()  # the account's channel said that it left the book

    def built(self, built: Built) -> None:
        """It is signed: this is its name."""
        self.digest = built.digest.lower()
        self.expires_ns = built.expires_ns
        self.rests = built.rests


class OwnOrders:
    """All orders that we may have to name; the oldest are forgotten beyond `MAX_KEPT`."""

    def __init__(self, earlier: Iterable[Known] = ()) -> None:
        """`earlier`: what the journal knows of orders that may still stand."""
        self.newest = 0  # highest number so far
        self._orders: dict[int, OwnOrder] = {}
        self._by_digest: dict[str, int] = {}
        self._digests: dict[int, str] = {}
        self._nameless: dict[int, int] = {}  # orders of which no digest is known, to their market
        for known in earlier:
            self.know(known)

    def __len__(self) -> int:
        return len(self._orders)

    def know(self, known: Known) -> None:
        """An order of an earlier process."""
        self.newest = max(self.newest, known.order_id)
        if known.digest:
            self.named(known.order_id, known.digest)
        else:
            self._nameless[known.order_id] = known.market

    def add(self, order: OwnOrder) -> None:
        """Remember an order."""
        self._orders[order.order_id] = order
        self.newest = max(self.newest, order.order_id)
        if order.digest:
            self.named(order.order_id, order.digest)
        while len(self._orders) > MAX_KEPT:
            oldest = self._orders.pop(next(iter(self._orders)))
            self._by_digest.pop(oldest.digest, None)
            self._digests.pop(oldest.order_id, None)

    def named(self, order_id: int, digest: str) -> None:
        """The venue calls an order `digest`."""
        if not digest:
            return
        digest = digest.lower()
        self._by_digest[digest] = order_id
        self._digests[order_id] = digest
        self._nameless.pop(order_id, None)

    def get(self, order_id: int) -> OwnOrder | None:
        """What we know of an order of this process."""
        return self._orders.get(order_id)

    def of_digest(self, digest: str) -> int:
        """Our id behind the venue's; 0: not known."""
        return self._by_digest.get(digest.lower(), 0)

    def digest(self, order_id: int, said: str = "") -> str:
        """The venue's id of an order, or what a command says; "": not known."""
        return self._digests.get(order_id, said.lower())

    def nameless(self, market: int) -> tuple[int, ...]:
        """Orders in a market of which no digest is known: what is not ours otherwise may be one of these."""
        return tuple(order_id for order_id, row in self._nameless.items() if row == market)

    def placing(self) -> list[OwnOrder]:
        """Orders whose request waits or flies."""
        return [order for order in self._orders.values() if order.placing]
