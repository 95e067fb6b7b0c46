"""Kalshi's own queue positions of our orders, polled with what the account has left for reads.

Nothing else waits for a poll: it is left out while the bucket of reads would keep less than its reserve, and
the pauses double while Kalshi does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import QueueAhead, QueueRead
from pr3dict.domain.units import NS_PER_SECOND, PPM_SCALE, ceil_div
from pr3dict.venues.kalshi.account_models import QueuePosition
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.own_orders import OwnOrders
from pr3dict.venues.kalshi.rest import BOOKS_A_CALL, KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

PATH: Final = "/portfolio/orders/queue_positions"
RESERVE_PPM: Final = 500_000  # of the bucket of reads: kept for reads that settle a question
MOST_DOUBLINGS: Final = 5
FORGET_NS: Final = 60 * NS_PER_SECOND  # after the last new order a market that shows none is not asked for


def may_ask(tokens: int, cost: int, capacity: int) -> bool:
    """Whether a poll of `cost` leaves at least the reserve of a bucket that holds `tokens` of `capacity`."""
    return tokens - cost >= ceil_div(capacity * RESERVE_PPM, PPM_SCALE)


class QueuePoll:
    """Asks each `poll_ns` for the queues of the markets where orders of ours may rest.

    Attributes:
        asked: polls that were answered.
        skipped: polls that the budget did not allow.
        failed: polls without a usable answer.
    """

    def __init__(self, rest: KalshiRest, orders: OwnOrders, lives: Lives, clock: Clock, poll_ns: int) -> None:
        self.asked = self.skipped = self.failed = 0
        self._rest = rest
        self._orders = orders
        self._lives = lives
        self._clock = clock
        self._poll_ns = poll_ns
        self._placed_ns: dict[int, int] = {}  # markets where orders may rest, to when one was placed last
        self._told: dict[int, int] = {}  # the figure of each order that Kalshi showed resting
        self._fails = 0

    def placed(self, market: int) -> None:
        """An order of ours is on its way to a market."""
        self._placed_ns[market] = self._clock.now_ns()

    async def run(self, tell: Callable[[QueueRead], None]) -> None:
        """Poll for ever; `tell` gets what each poll found."""
        while True:
            await self._clock.sleep(self._poll_ns << min(self._fails, MOST_DOUBLINGS))
            found = await self.poll()
            if found is not None:
                tell(found)

    async def poll(self) -> QueueRead | None:
        """One poll of all markets; None: nothing rests, no budget, or no answer."""
        markets = sorted(self._placed_ns)
        if not markets:
            return None
        asked_ns = self._clock.now_ns()
        if not self._is_affordable(len(markets), self._rest.http.budget, asked_ns):
            self.skipped += 1
            return None
        try:
            found = await self._rest.queue_positions([self._lives.by_row[market] for market in markets])
        except (ReadFailedError, DataError):
            self.failed += 1
            self._fails += 1
            return None
        self.asked += 1
        self._fails = 0
        return self._changes(asked_ns, markets, found)

    @staticmethod
    def _is_affordable(markets: int, budget: Budget, now_ns: int) -> bool:
        cost = budget.cost("GET", PATH) * ceil_div(markets, BOOKS_A_CALL)
        return may_ask(budget.tokens(now_ns)["read"], cost, budget.limits.read.bucket_capacity)

    def _changes(self, asked_ns: int, markets: Sequence[int], found: Sequence[QueuePosition]) -> QueueRead:
        """What is new; markets where nothing rests are asked for again when an order goes there."""
        now: dict[int, int] = {}
        alive = set()
        for place in found:
            alive.add(self._lives.rows.get(place.market_ticker))
            order_id = self._orders.of_venue_id(place.order_id)
            if order_id:
                now[order_id] = int(place.queue_position_fp)
        for market in markets:
            if market not in alive and self._placed_ns[market] < asked_ns - FORGET_NS:
                del self._placed_ns[market]
        fresh = tuple(
            QueueAhead(order_id, ahead)
            for order_id, ahead in sorted(now.items())
            if self._told.get(order_id) != ahead
        )
        self._told = now
        as_of_ns = self._clock.now_ns()
        return QueueRead(venue="kalshi", asked_ns=asked_ns, as_of_ns=as_of_ns, positions=fresh)
