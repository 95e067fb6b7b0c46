"""The way between us and a simulated exchange in one process: latencies, and which instant comes next.

Market data reach us at their `local_ns`. A command reaches the exchange `entry_ns` after it was sent, what
the exchange says reaches us `response_ns` after it happened. The exchange runs ahead of us only as far as
nothing that we still may send can change, so the outcome is as if both went through every instant together.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pr3dict.domain.commands import (
    Action,
    Cancel,
    CancelAll,
    Place,
    Reduce,
    Renew,
    Resubscribe,
)
from pr3dict.domain.events import Control, FeedAlive, FeedUp, QueueAhead, QueueRead, Sent, Settled
from pr3dict.domain.market import Venue
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.faults import ReadCommand

OrderRequest = Place | Cancel | Reduce | Renew | CancelAll
Request = OrderRequest | Resubscribe | ReadCommand


class _AskQueues(NamedTuple):
    """A poll of our orders' places in their queues."""

    venue: Venue


class _Sent(NamedTuple):
    at_ns: int  # when it reaches the exchange
    sent_ns: int
    request: Request | _AskQueues


class _Said(NamedTuple):
    at_ns: int  # when it reaches us
    number: int  # in order of speech
    event: Control


class _Book(NamedTuple):
    """A whole book on its way to us."""

    at_ns: int
    after: int  # the last row of the feed that is in it
    rows: d.Array


class Link:
    """Both directions between one process and `exchange`, which holds the same recording as `events`.

    `events` are EVENT rows by `local_ns`; SETTLE rows become `Settled`. `alive_ns`: how often the venues'
    feeds prove that they are alive, from the first row to the last; 0: never. The caller asks `next_ns`,
    takes what arrives at an instant, and sends.
    """

    def __init__(
        self,
        exchange: SimulatedExchange,
        events: d.Array,
        *,
        entry_ns: int,
        response_ns: int,
        alive_ns: int = 0,
        queue_ns: int = 0,
    ) -> None:
        """`queue_ns`: how often, at proofs of life, the places of our orders are asked for; 0: never."""
        settles = events["kind"] == d.SETTLE
        self.exchange = exchange
        self.feed: d.Array = events if not settles.any() else events[~settles]
        self.cursor = 0  # next row of the feed
        self.venues: tuple[Venue, ...] = tuple(dict.fromkeys(x.venue for x in exchange.listings))
        self.end_ns = int(events[-1]["local_ns"]) if len(events) else exchange.now_ns
        self._entry_ns = entry_ns
        self._response_ns = response_ns
        self._payouts = deque(
            (
                int(row["local_ns"]),
                Settled(
                    market=int(row["market"]),
                    value_micros=int(row["qty"]),
                    refund=bool(row["bits"] & d.REFUND),
                ),
            )
            for row in events[settles]
        )
        self._local_ns: list[int] = []  # times of the rows from `_base` on, as plain numbers
        self._base = 0
        self._outbox: deque[_Sent] = deque()
        self._inbox: list[_Said] = []
        self._spoken = 0
        self._books: deque[_Book] = deque()
        self._alive_ns = alive_ns
        self._next_alive_ns = self._row_ns(0) if alive_ns else NEVER_NS
        self._queue_ns = queue_ns
        self._next_queue_ns = 0 if queue_ns else NEVER_NS
        self._ahead: dict[Venue, dict[int, int]] = {venue: {} for venue in self.venues}  # as said last
        self._is_up = False
        self._departed: list[Control] = []  # what left and has not been said yet

    # --- time -------------------------------------------------------------------------------------

    def _row_ns(self, row: int) -> int:
        """Local time of a row of the feed; NEVER_NS past the end."""
        place = row - self._base
        if not 0 <= place < len(self._local_ns):
            if row >= len(self.feed):
                return NEVER_NS
            self._base = row
            self._local_ns = self.feed["local_ns"][row : row + 8192].tolist()
            place = 0
        return self._local_ns[place]

    def _known_ns(self) -> int:
        """The next instant among what is on its way to us already."""
        return min(self._row_ns(self.cursor), self._others_ns())

    def _others_ns(self) -> int:
        """The next instant of anything but a row of the feed."""
        at_ns = self._next_alive_ns
        if self._inbox:
            at_ns = min(at_ns, self._inbox[0].at_ns)
        if self._payouts:
            at_ns = min(at_ns, self._payouts[0][0])
        if self._books:
            at_ns = min(at_ns, self._books[0].at_ns)
        return at_ns

    def _stirs_ns(self) -> int:
        """When something that may tell us anything happens at the exchange next."""
        at_ns = NEVER_NS if self.exchange.is_idle else self.exchange.next_ns
        return min(at_ns, self._outbox[0].at_ns) if self._outbox else at_ns

    def next_ns(self, until_ns: int) -> int:
        """The next instant at which something reaches us, `until_ns` at the latest."""
        while True:
            at_ns = min(self._known_ns(), until_ns)
            heard_ns = self._later(self._stirs_ns())
            if heard_ns > at_ns or heard_ns == NEVER_NS:
                return at_ns
            self._run_exchange(heard_ns + self._entry_ns)

    def _later(self, stirs_ns: int) -> int:
        """When we hear of what happens at the exchange at `stirs_ns`."""
        return NEVER_NS if stirs_ns > NEVER_NS - self._response_ns else stirs_ns + self._response_ns

    def arrives_by(self, now_ns: int) -> bool:
        """Whether something reaches us at `now_ns` or before; after `next_ns` has looked that far."""
        return self._known_ns() <= now_ns

    @property
    def earliest_ns(self) -> int:
        """Before this time nothing reaches us."""
        return min(self._known_ns(), self._later(self._stirs_ns()))

    @property
    def quiet_until_ns(self) -> int:
        """Up to this time, inclusive, nothing but market data reaches us, whatever we do not send."""
        at_ns = min(self._others_ns(), self._later(self._stirs_ns()))
        return at_ns - 1

    @property
    def is_over(self) -> bool:
        """The recording has ended and nothing is on its way."""
        at_end = self.cursor >= len(self.feed) and not self._payouts
        return at_end and not (self._outbox or self._inbox or self._books)

    def _run_exchange(self, until_ns: int) -> None:
        """Let the exchange live up to `until_ns`; commands arrive after the recording of their instant."""
        while self._outbox and self._outbox[0].at_ns <= until_ns:
            sent = self._outbox.popleft()
            self._advance(sent.at_ns)
            self._arrive(sent)
        self._advance(until_ns)

    def _advance(self, until_ns: int) -> None:
        for happened in self.exchange.advance(until_ns):
            if happened.event is not None and not isinstance(happened.event, Settled):
                self._say(happened.exch_ns, (happened.event,))

    def _say(self, now_ns: int, events: Sequence[Control]) -> None:
        for event in events:
            self._spoken += 1
            heapq.heappush(self._inbox, _Said(now_ns + self._response_ns, self._spoken, event))

    def _arrive(self, sent: _Sent) -> None:
        if isinstance(sent.request, Resubscribe):
            self._books.append(self._whole_book(sent.at_ns, sent.request.market))
        elif isinstance(sent.request, _AskQueues):
            self._say(sent.at_ns, self._queue_read(sent, sent.request.venue))
        else:
            self._say(sent.at_ns, carry_out(self.exchange, sent.sent_ns, sent.at_ns, sent.request))

    def _queue_read(self, sent: _Sent, venue: Venue) -> tuple[QueueRead, ...]:
        """The figures that are new; nothing where no order rests."""
        ahead = reads.queues(self.exchange, venue)
        known, self._ahead[venue] = self._ahead[venue], ahead
        fresh = tuple(QueueAhead(k, size) for k, size in ahead.items() if known.get(k) != size)
        if not ahead:
            return ()
        return (QueueRead(venue=venue, asked_ns=sent.sent_ns, as_of_ns=sent.at_ns, positions=fresh),)

    def _whole_book(self, now_ns: int, market: int) -> _Book:
        rows = reads.snapshot(self.exchange, market)
        rows["exch_ns"] = now_ns
        # The feed is in order of exchange time: what has happened by now is in the book.
        after = int(np.searchsorted(self.feed["exch_ns"], now_ns, side="right")) - 1
        heard_ns = now_ns + self._response_ns
        return _Book(max(heard_ns, self._row_ns(after)) if after >= self.cursor else heard_ns, after, rows)

    # --- our side ----------------------------------------------------------------------------------

    def take(self, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """All that reaches us at the instant `now_ns`: rows of market data, and control events."""
        events: list[Control] = self._departed
        self._departed = []
        if self._next_alive_ns <= now_ns:
            if not self._is_up:
                events += [FeedUp(venue=venue) for venue in self.venues]
                self._is_up = True
            venue_ns = now_ns - self._response_ns
            events += [FeedAlive(venue=venue, venue_ns=venue_ns) for venue in self.venues]
            answered_ns = now_ns + self._entry_ns + self._response_ns
            if self._next_queue_ns <= now_ns and answered_ns <= self.end_ns:  # the end waits for no poll
                self._next_queue_ns = now_ns + self._queue_ns
                self._leave(now_ns, [_AskQueues(venue) for venue in self.venues])
            self._next_alive_ns += self._alive_ns
            if self._next_alive_ns > self.end_ns:
                self._next_alive_ns = NEVER_NS
        while self._inbox and self._inbox[0].at_ns <= now_ns:
            events.append(heapq.heappop(self._inbox).event)
        while self._payouts and self._payouts[0][0] <= now_ns:
            events.append(self._payouts.popleft()[1])
        return self._take_data(now_ns), tuple(events)

    def _take_data(self, now_ns: int) -> d.Array:
        first = self.cursor
        if self._row_ns(first) <= now_ns:
            last = first + 1
            while self._row_ns(last) <= now_ns:
                last += 1
            self.cursor = last
        if not self._books or self._books[0].at_ns > now_ns:
            return self.feed[first : self.cursor] if self.cursor > first else NO_DATA
        parts = [self.feed[first : self.cursor]]
        while self._books and self._books[0].at_ns <= now_ns:
            parts += self._patched(self._books.popleft())
        rows = np.concatenate(parts)
        rows["local_ns"] = now_ns
        return rows

    def _patched(self, book: _Book) -> tuple[d.Array, d.Array]:
        """A whole book, and the changes of its market that came after it and that we have seen already."""
        newer = self.feed[book.after + 1 : self.cursor]
        market = book.rows[0]["market"]
        return book.rows, newer[(newer["market"] == market) & (newer["kind"] == d.LEVEL)]

    def skip(self, row: int) -> None:
        """The caller took the feed up to `row`, exclusive, by itself."""
        self.cursor = row

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Commands leave us; those that concern no venue are left out. `Sent` comes with what comes next."""
        for command in commands:
            if isinstance(command, Place):
                self._departed.append(Sent(order_id=command.order_id))
            if isinstance(command, Request):
                self._leave(now_ns, (command,))

    def _leave(self, now_ns: int, requests: Sequence[Request | _AskQueues]) -> None:
        at_ns = max(now_ns + self._entry_ns, self.exchange.now_ns)
        self._outbox.extend(_Sent(at_ns, now_ns, request) for request in requests)

    def flush(self) -> None:
        """Let every command that has left arrive."""
        if self._outbox:
            self._run_exchange(self._outbox[-1].at_ns)


def carry_out(
    exchange: SimulatedExchange, sent_ns: int, now_ns: int, request: OrderRequest | ReadCommand
) -> Sequence[Control]:
    """What it leads to that a request, sent at `sent_ns`, reaches `exchange`, which stands at `now_ns`."""
    match request:
        case Place():
            return exchange.place(now_ns, request)
        case Cancel():
            return exchange.cancel(now_ns, request)
        case Reduce():
            return exchange.reduce(now_ns, request)
        case Renew():
            return exchange.renew(now_ns, request)
        case CancelAll(venue=venue):
            return exchange.cancel_all(now_ns, venue)
        case read:
            return reads.answer(exchange, sent_ns, now_ns, read)
