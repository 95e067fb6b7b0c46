"""The simulated exchange on a venue's live market data: orders that never leave this machine.

It stands between a venue's streams and the engine as the `Sink` of the one and the `Wire` of the other.
What we see now happened at the exchange a latency ago, so the exchange lives that much behind our clock: a
request sent now reaches it when our clock is two latencies on, and what it says is heard at once. This is
the replay's rule of latencies (`link.py`), for data that is not there yet.

Where the market data has a hole, the exchange is blind, and it errs against us: until the first whole book
new orders of that market are refused, resting ones stay where they are and can't be cancelled one by one,
and that book then fills whatever it reaches. `CancelAll`, with which people, breakers and a stop cancel,
waits for no data.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.commands import Action, Cancel, Place, Reduce, Renew, Resubscribe
from pr3dict.domain.events import (
    BookInvalid,
    Control,
    FeedDown,
    FeesChanged,
    Filled,
    Listed,
    QueueAhead,
    QueueRead,
    Sent,
    Settled,
    VenueStatus,
)
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.market_table import fee_row
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.session import Clock, Sink
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.link import Request, carry_out

BLIND: Final = "its market data has a hole"
CLOSED: Final = "the venue is closed"
LONGEST_WAIT_NS: Final = 3600 * NS_PER_SECOND  # event loops refuse timers of centuries
_OVER: Final = (d.CLOSED, d.DETERMINED, d.SETTLED)  # nothing rests there any more


class _Sent(NamedTuple):
    at_ns: int  # of the exchange's time: when it arrives
    sent_ns: int
    request: Request


class LiveExchange:
    """`exchange` fed by the rows and events of one venue as they come, which go on to `sink`.

    `resubscribe` asks the venue for a market's whole book. `run` is a task of the process; a failure of the
    exchange itself is raised by whichever call met it.
    """

    def __init__(
        self,
        exchange: SimulatedExchange,
        venue: Venue,
        sink: Sink,
        clock: Clock,
        resubscribe: Callable[[int], None],
        markets: Iterable[int],
        *,
        latency_ns: int,
        queue_ns: int = 0,
    ) -> None:
        """`markets` are followed, and none has a book yet.

        `latency_ns`: from the exchange to us, and as long back; `queue_ns`: between two looks at our places
        in the queues; 0: none.
        """
        self.exchange = exchange
        self.orders = 0  # that reached the exchange
        self.fills = 0
        self.holes = 0  # times a market's book was lost
        self._venue = venue
        self._sink = sink
        self._clock = clock
        self._resubscribe = resubscribe
        self._latency_ns = latency_ns
        self._queue_ns = queue_ns
        self._next_queue_ns = 0 if queue_ns else NEVER_NS
        self._ahead: dict[int, int] = {}  # as said last
        self._fresh: list[Listed] = []  # markets that open under way, until something happens there
        self._outbox: deque[_Sent] = deque()
        self._markets = list(markets)
        self._held: dict[int, list[_Sent]] = {m: [] for m in self._markets}  # what waits for a whole book
        self._woken = asyncio.Event()

    # --- what the venue says: a `Sink` ------------------------------------------------------------

    def put_rows(self, rows: d.Array) -> None:
        """Market data of the venue: they happen at the exchange, and are passed on."""
        self._sink.put_rows(rows)
        if self._fresh:
            self._list()
        at_ns = self._now_ns()
        self._reach(at_ns - 1)  # at one instant the market comes first
        edges = np.flatnonzero((rows["kind"] == d.SNAPSHOT) & (rows["bits"] & d.SNAP_FIRST != 0)).tolist()
        for start, end in zip([0, *edges], [*edges, len(rows)], strict=True):
            part = rows[start:end]
            if len(part) and part["kind"][0] == d.SNAPSHOT:
                last = 1 + int(np.flatnonzero(part["bits"] & d.SNAP_LAST)[0])
                self._whole_book(at_ns, part[:last])
                part = part[last:]
            self._happen(at_ns, part)
        self._release(at_ns, [market for market in self._held if self._is_over(market)])
        self._reach(at_ns)

    def push(self, event: Control) -> None:
        """An event of the venue: what it means for the exchange, then on to the engine."""
        if self._fresh and not isinstance(event, Listed):
            self._list()
        at_ns = self._now_ns()
        self._reach(at_ns - 1)
        match event:
            case BookInvalid(market=market):
                self._lose(market)
            case FeedDown():
                for market in self._markets:
                    self._lose(market)
            case Settled():
                self._settle(at_ns, event)
            case FeesChanged():
                self._change_fees(event)
            case Listed():  # no order of ours is in the book that the venue shows
                event = msgspec.structs.replace(event, book_includes_own=False)
                self._fresh.append(event)
            case VenueStatus(status=status):
                self.exchange.refuses_new = "" if status == "open" else CLOSED
            case _:
                pass
        self._sink.push(event)

    def _list(self) -> None:
        """Open the markets of which we heard, all at once: each time the exchange moves."""
        self.exchange.list_more(self._fresh)
        for listing in self._fresh:
            self._markets.append(listing.market)
            self._held[listing.market] = []
        self._fresh.clear()

    def _lose(self, market: int) -> None:
        if market not in self._held and not self._is_over(market):
            self.holes += 1
            self._held[market] = []

    def _is_over(self, market: int) -> bool:
        return int(self.exchange.world.exchange_books["status"][market]) in _OVER

    def _happen(self, at_ns: int, rows: d.Array) -> None:
        if len(rows):
            rows = rows.copy()
            rows["exch_ns"] = at_ns
            self.exchange.extend(rows)
            self._advance(at_ns)

    def _whole_book(self, at_ns: int, snapshot: d.Array) -> None:
        """A whole book is the changes that it amounts to; who waited for it goes on."""
        market = int(snapshot["market"][0])
        self._happen(at_ns, reads.changes(self.exchange, market, snapshot))
        self._release(at_ns, [market] if market in self._held else [])

    def _release(self, at_ns: int, markets: Sequence[int]) -> None:
        for market in markets:
            for sent in self._held.pop(market):
                self._carry_out(at_ns, sent)

    def _settle(self, at_ns: int, event: Settled) -> None:
        row = np.zeros(1, d.EVENT)
        row["market"], row["kind"], row["qty"] = event.market, d.SETTLE, event.value_micros
        row["bits"] = d.REFUND if event.refund else 0
        self._happen(at_ns, row)

    def _change_fees(self, event: FeesChanged) -> None:
        listing = msgspec.structs.replace(
            self.exchange.listings[event.market], taker_ppm=event.taker_ppm, maker_ppm=event.maker_ppm
        )
        self.exchange.world.fees[event.market : event.market + 1] = fee_row(listing)

    # --- what we say: a `Wire` ----------------------------------------------------------------------

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:  # noqa: ARG002 - a `Wire`'s signature
        """Commands leave now; those that concern no venue are left out."""
        sent_ns = self._clock.now_ns()
        for command in commands:
            if isinstance(command, Place):
                self._sink.push(Sent(order_id=command.order_id))
            if isinstance(command, Resubscribe):
                self._resubscribe(command.market)
            elif isinstance(command, Request):
                self._outbox.append(_Sent(sent_ns + self._latency_ns, sent_ns, command))
        self._woken.set()

    # --- time ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let what we sent arrive, orders expire and queues be looked at, until cancelled."""
        while True:
            self._woken.clear()
            self.catch_up()
            left_ns = min(LONGEST_WAIT_NS, self.next_ns - self._clock.now_ns())
            timer = asyncio.get_running_loop().call_later(max(0, left_ns) / NS_PER_SECOND, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                timer.cancel()

    @property
    def next_ns(self) -> int:
        """When `catch_up` has something to do, by our clock."""
        sent_ns = self._outbox[0].at_ns if self._outbox else NEVER_NS
        due_ns = min(sent_ns, self.exchange.next_ns, self._next_queue_ns)
        return NEVER_NS if due_ns == NEVER_NS else due_ns + self._latency_ns

    def catch_up(self) -> None:
        """Let everything up to now happen at the exchange."""
        at_ns = self._now_ns()
        self._reach(at_ns)
        if self._next_queue_ns <= at_ns:
            self._next_queue_ns = at_ns + self._queue_ns
            self._look_at_queues(at_ns)

    def _now_ns(self) -> int:
        """The exchange's time."""
        return max(self._clock.now_ns() - self._latency_ns, self.exchange.now_ns)

    def _reach(self, until_ns: int) -> None:
        """What we sent arrives, what expires does, up to `until_ns` of the exchange's time, inclusive."""
        while self._outbox and self._outbox[0].at_ns <= until_ns:
            sent = self._outbox.popleft()
            arrived_ns = max(sent.at_ns, self.exchange.now_ns)
            self._advance(arrived_ns)
            self._arrive(arrived_ns, sent)
        self._advance(until_ns)

    def _advance(self, until_ns: int) -> None:
        for happened in self.exchange.advance(until_ns):
            if happened.event is not None and not isinstance(happened.event, Settled):
                self._say(happened.event)

    def _arrive(self, at_ns: int, sent: _Sent) -> None:
        match sent.request:
            case Place(market=market) if market in self._held:
                self._refuse(at_ns, sent)
            case Cancel(market=market) | Reduce(market=market) | Renew(market=market) if market in self._held:
                self._held[market].append(sent)
            case _:
                self._carry_out(at_ns, sent)

    def _refuse(self, at_ns: int, sent: _Sent) -> None:
        """A new order finds nothing that it could be matched with."""
        before, self.exchange.refuses_new = self.exchange.refuses_new, BLIND
        try:
            self._carry_out(at_ns, sent)
        finally:
            self.exchange.refuses_new = before

    def _carry_out(self, at_ns: int, sent: _Sent) -> None:
        assert not isinstance(sent.request, Resubscribe)
        self.orders += isinstance(sent.request, Place)
        for event in carry_out(self.exchange, sent.sent_ns, at_ns, sent.request):
            self._say(event)

    def _say(self, event: Control) -> None:
        self.fills += isinstance(event, Filled)
        self._sink.push(event)

    def _look_at_queues(self, at_ns: int) -> None:
        """The places of our orders that are new; nothing where no order rests."""
        ahead = reads.queues(self.exchange, self._venue)
        known, self._ahead = self._ahead, ahead
        if ahead:
            fresh = tuple(QueueAhead(k, size) for k, size in ahead.items() if known.get(k) != size)
            self._sink.push(QueueRead(venue=self._venue, asked_ns=at_ns, as_of_ns=at_ns, positions=fresh))
