"""Our books against the venue's by another route, in turn: how a stream that froze in silence is found.

A connection may stay open and answer each PING while it carries nothing, and a market where nothing happens
looks just the same. So each book is compared with `POST /books` now and then. One difference may be news on
its way; a book is wrong when two reads in a row show one while its stream said nothing at all.
"""

from __future__ import annotations

from typing import Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.book import YesBook
from pr3dict.venues.polymarket.models import Book
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.polymarket.streams import PolymarketStreams
from pr3dict.venues.session import Clock

ROUND_NS: Final = 5 * NS_PER_SECOND
AGAIN_NS: Final = 2 * NS_PER_SECOND  # after a round that found something to look at again
MOST: Final = 100  # books a round: with 500 markets, each one is compared within half a minute


class BookWatch:
    """Compares for ever.

    Attributes:
        compared: books that were equal.
        frozen: books that were wrong while their stream said nothing.
        failed: rounds without a usable answer.
    """

    def __init__(self, rest: PolymarketRest, streams: PolymarketStreams, clock: Clock) -> None:
        self.compared = self.frozen = self.failed = 0
        self._rest = rest
        self._streams = streams
        self._clock = clock
        self._doubts: dict[str, int] = {}  # conditions to when the first read that differed was asked
        self._last_ns: dict[str, int] = {}  # when each was compared last

    async def run(self) -> None:
        """A round every few seconds."""
        while True:
            await self._clock.sleep(AGAIN_NS if self._doubts else ROUND_NS)
            await self.round()

    async def round(self) -> None:
        """Compare the books that are doubted, and those that were not compared for longest."""
        books = self._streams.decoder.books
        for known in (self._doubts, self._last_ns):
            for condition in known.keys() - books.keys():
                del known[condition]
        whole = sorted(
            (book for book in books.values() if book.synced),
            key=lambda book: (
                book.spec.condition not in self._doubts,
                self._last_ns.get(book.spec.condition, 0),
            ),
        )[:MOST]
        if not whole:
            return
        asked_ns = self._clock.now_ns()
        try:
            found = await self._rest.books([book.spec.yes for book in whole])
        except (ReadFailedError, DataError):
            self.failed += 1
            return
        stated = {book.asset_id: book for book in found}
        for book in whole:
            self._last_ns[book.spec.condition] = asked_ns
            said = stated.get(book.spec.yes)
            if said is not None:
                self._compare(book, said, asked_ns)

    def _compare(self, book: YesBook, said: Book, asked_ns: int) -> None:
        condition = book.spec.condition
        if not book.synced or book.heard_ns >= asked_ns:
            self._doubts.pop(condition, None)  # it moved meanwhile: this read proves nothing
            return
        if levels_of(said) == book.sides:
            self._doubts.pop(condition, None)
            self.compared += 1
            return
        if int(said.timestamp) < book.exch_ns:
            return  # older than what the stream said
        first_ns = self._doubts.setdefault(condition, asked_ns)
        if first_ns < asked_ns and book.heard_ns < first_ns:
            del self._doubts[condition]
            self.frozen += 1
            self._streams.lose((condition,), "differs")
        elif book.heard_ns >= first_ns:
            self._doubts[condition] = asked_ns  # the stream speaks: begin anew


def levels_of(book: Book) -> tuple[dict[int, int], dict[int, int]]:
    """Sizes by price of a YES token's bids and asks."""
    bids, asks = (
        {int(level.price): int(level.size) for level in side if level.size > 0}
        for side in (book.bids, book.asks)
    )
    return bids, asks
