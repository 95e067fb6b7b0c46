"""One book of two tokens: price-time priority in YES prices, our clients' orders among everybody else's."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from standins.polymarket.values import ASK, BID, DOLLAR, YES, Json, opposite

if TYPE_CHECKING:
    from standins.polymarket.state import Order

_BOOK_KEYS: Final = (
    "market", "asset_id", "timestamp", "hash", "bids", "asks", "min_order_size", "tick_size", "neg_risk",
    "last_trade_price",
)  # fmt: skip


def book_hash(book: Json) -> str:
    """SHA-1 of a book's compact JSON, keys in their order, with an empty hash in it."""
    blank = {name: book[name] for name in _BOOK_KEYS} | {"hash": ""}
    return hashlib.sha1(msgspec.json.encode(blank), usedforsecurity=False).hexdigest()


@dataclass(slots=True, eq=False)
class Resting:
    """What waits at a price. `order` None: somebody else's, who trades in `token`."""

    side: int
    price: int
    left: int
    token: int
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A part of an order against what rests."""

    resting: Resting
    size: int


@dataclass(slots=True)
class Book:
    """Both sides by YES price."""

    levels: tuple[dict[int, deque[Resting]], dict[int, deque[Resting]]] = field(
        default_factory=lambda: ({}, {})
    )
    totals: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    touched: dict[tuple[int, int], None] = field(default_factory=dict)  # (side, price) since the last telling

    def best(self) -> tuple[int, int]:
        """Best bid and best ask; 0 and 1 dollar where a side is empty."""
        bids, asks = self.totals
        return max(bids, default=0), min(asks, default=DOLLAR)

    def add(self, resting: Resting) -> None:
        """At the end of its queue."""
        self.levels[resting.side].setdefault(resting.price, deque()).append(resting)
        self._change(resting, resting.left)

    def shrink(self, resting: Resting, size: int) -> None:
        """Less of it is left; at nothing it leaves."""
        resting.left -= size
        if not resting.left:
            queue = self.levels[resting.side][resting.price]
            queue.remove(resting)
            if not queue:
                del self.levels[resting.side][resting.price]
        self._change(resting, -size)

    def _change(self, resting: Resting, delta: int) -> None:
        totals = self.totals[resting.side]
        total = totals.get(resting.price, 0) + delta
        if total:
            totals[resting.price] = total
        else:
            del totals[resting.price]
        self.touched[resting.side, resting.price] = None

    def crossing(self, side: int, limit: int) -> Iterator[Resting]:
        """What an order of a side would meet up to its limit, in the order in which it would."""
        against = self.levels[1 - side]
        for price in sorted(against, reverse=side == ASK):
            if (price > limit) if side == BID else (price < limit):
                return
            yield from against[price]

    def plan(self, side: int, limit: int, *, size: int = 0, budget: int = 0, token: int = YES) -> list[Match]:
        """What an order would trade: at most `size` shares, or what `budget` micro-dollars buy of `token`."""
        found = []
        for resting in self.crossing(side, limit):
            if budget:
                price = resting.price if token == YES else opposite(resting.price)
                part = min(resting.left, budget * DOLLAR // price)
                budget -= part * price // DOLLAR
                budget = budget if budget > 1 else 0  # less than a micro-share
            else:
                part = min(resting.left, size)
                size -= part
            if part:
                found.append(Match(resting, part))
            if part < resting.left or not (budget or size):
                break
        return found

    # --- everybody else ---------------------------------------------------------------------------

    def others(self, side: int, price: int) -> int:
        """What others have at a level."""
        return sum(each.left for each in self.levels[side].get(price, ()) if each.order is None)

    def withdraw(self, side: int, price: int, size: int) -> None:
        """Others take back as much, from the end of the queue."""
        for resting in reversed(list(self.levels[side].get(price, ()))):
            if not size:
                return
            if resting.order is None:
                part = min(size, resting.left)
                self.shrink(resting, part)
                size -= part

    def orders(self) -> Iterator[Resting]:
        """All that rests."""
        for levels in self.levels:
            for queue in levels.values():
                yield from queue

    def shown(self, token: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bids ascending and asks descending of one token: the best comes last. Sizes in micro-shares."""
        bids, asks = self.totals
        if token != YES:
            bids, asks = (
                {opposite(price): size for price, size in asks.items()},
                {opposite(price): size for price, size in bids.items()},
            )
        return sorted(bids.items()), sorted(asks.items(), reverse=True)
