"""Polymarket's WebSockets, followed so that nothing is lost in silence: many for books, one for the account.

A connection carries at most `ASSETS_A_LINE` tokens, both of a market on the same one. Nothing is numbered and
nothing is replayed, so every way to notice a hole is used: the touch that changes state, the hash over the
whole book, a book that does not come, an order of ours that the account's channel does not mention, and
(`BookWatch`) another route. The book of a market whose connection is lost is invalid until its next whole
one; without the account's channel the venue counts as lost (`FeedDown`), and everything is compared again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, FeedAlive, FeedDown, FeedUp, Malformed
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.book import BookDecoder, BookSpec, Hash, TickChange, YesBook
from pr3dict.venues.polymarket.book_frames import BookLost, messages
from pr3dict.venues.polymarket.frames import Frame, OrderFrame, TradeFrame, kind_of, read_frame
from pr3dict.venues.polymarket.link import Link, Listener, StreamLost
from pr3dict.venues.session import Clock, Reconnects, Sink

ASSETS_A_LINE: Final = 200
ANSWER_NS: Final = 5 * NS_PER_SECOND
BOOK_TRIES: Final = 3
UNHEARD_NS: Final = 10 * NS_PER_SECOND  # by then the account's channel has mentioned an order that was taken
KNOWN_ORDERS: Final = 1 << 14
CHECKS_A_LOOK: Final = 10  # hashes: each costs some 0.1 ms
BUFFER_ROWS: Final = 20_480
ABOUT_US: Final = frozenset({"order", "trade"})

OnFrame = Callable[[Frame | TickChange, int], None]


class MarketLine(Listener):
    """The markets of one connection."""

    def __init__(self, streams: PolymarketStreams) -> None:
        self._streams = streams
        self.specs: dict[str, BookSpec] = {}  # by condition
        self.waiting: dict[str, tuple[int, int]] = {}  # books to come: when asked, how often
        self.to_ask: dict[str, None] = {}
        self._unsaid: list[dict[str, Any]] = []
        self._checked: dict[str, tuple[bool, str, str]] = {}  # the hash that was verified last
        self._turn: Iterator[str] = iter(())

    @property
    def room(self) -> int:
        """How many more markets fit."""
        return ASSETS_A_LINE // 2 - len(self.specs)

    def add(self, specs: Iterable[BookSpec]) -> None:
        """Follow more markets."""
        fresh = [spec for spec in specs if spec.condition not in self.specs]
        self.specs.update({spec.condition: spec for spec in fresh})
        self._say("subscribe", fresh)

    def remove(self, conditions: Iterable[str]) -> None:
        """Follow these no more."""
        gone = [self.specs.pop(c) for c in list(conditions) if c in self.specs]
        for spec in gone:
            for known in (self.waiting, self.to_ask, self._checked):
                known.pop(spec.condition, None)
        if gone:
            self._unsaid.append({"operation": "unsubscribe", "assets_ids": _assets(gone)})

    def _say(self, operation: str, specs: list[BookSpec]) -> None:
        if specs:
            now_ns = self._streams.clock.now_ns()
            self.waiting.update({spec.condition: (now_ns, 1) for spec in specs})
            self._unsaid.append(
                {"operation": operation, "assets_ids": _assets(specs), "custom_feature_enabled": True}
            )

    def hello(self) -> list[dict[str, Any]]:
        """Everything at once; the books follow."""
        self._unsaid.clear()
        self.to_ask.clear()
        now_ns = self._streams.clock.now_ns()
        self.waiting = {condition: (now_ns, 1) for condition in self.specs}
        listed = _assets(self.specs.values())
        return [{"type": "market", "assets_ids": listed, "custom_feature_enabled": True}]

    def hear(self, raw: bytes) -> None:
        """One frame of the market channel."""
        self._streams.hear_market(self, raw)

    def went_up(self) -> None:
        """The venue may count as up."""
        self._streams.check_up()

    def answered(self) -> None:
        """The venue is there."""
        self._streams.alive()

    def went_down(self, why: str) -> None:
        """None of these books is followed any more."""
        self._streams.lose(self.specs, "gap")
        self._streams.line_down(why)

    def look(self, now_ns: int) -> list[dict[str, Any]]:
        """Books that do not come, and what is to be asked for again; verifies some books."""
        self._streams.report_malformed()
        for condition, (asked_ns, tries) in list(self.waiting.items()):
            if now_ns - asked_ns > ANSWER_NS:
                if tries >= BOOK_TRIES:
                    raise StreamLost(f"no book of {condition} came")
                self.to_ask[condition] = None
        self._verify()
        again = [self.specs[c] for c in self.to_ask if c in self.specs]
        said, self._unsaid = self._unsaid, []
        self.to_ask.clear()
        if again:  # a subscription that stands brings no book, a new one does
            for spec in again:
                self.waiting[spec.condition] = (now_ns, self.waiting.get(spec.condition, (0, 0))[1] + 1)
            assets = _assets(again)
            said.append({"operation": "unsubscribe", "assets_ids": assets})
            said.append({"operation": "subscribe", "assets_ids": assets, "custom_feature_enabled": True})
        return said

    def _verify(self) -> None:
        """Some books in turn, where the venue has stated a hash since the last time."""
        left = CHECKS_A_LOOK
        for _ in range(len(self.specs)):
            condition = next(self._turn, None)
            if condition is None:
                self._turn = iter(list(self.specs))
                condition = next(self._turn)
            book = self._streams.decoder.books.get(condition)
            if book is None or book.stated is None:
                continue
            if self._checked.get(condition) == book.stated and not book.suspect:
                continue
            self._checked[condition] = book.stated
            self._streams.verify(book)
            left -= 1
            if left == 0:
                return


def _assets(specs: Iterable[BookSpec]) -> list[str]:
    return [asset for spec in specs for asset in spec.assets]


class UserLine(Listener):
    """The account's own channel, of all its markets."""

    def __init__(self, streams: PolymarketStreams, key: ApiKey) -> None:
        self._streams = streams
        self._key = key
        self._expected: dict[str, int] = {}  # orders that were taken: since when
        self._mentioned: dict[str, None] = {}

    def expect(self, venue_id: str, now_ns: int) -> None:
        """An order of ours was taken: the channel mentions it, or carries nothing."""
        if venue_id not in self._mentioned:
            self._expected[venue_id] = now_ns

    def hello(self) -> list[dict[str, Any]]:
        """Who we are; no market named means all of them."""
        self._expected.clear()  # what happened before is read, not replayed
        return [{"type": "user", "auth": self._key.stream_auth()}]

    def hear(self, raw: bytes) -> None:
        """One frame of the user channel; one about us that can't be read ends the connection."""
        self._streams.hear_user(self, raw)

    def mentioned(self, frame: OrderFrame | TradeFrame) -> None:
        """The channel carries what is about us."""
        names = (frame.id,) if isinstance(frame, OrderFrame) else _orders_of(frame)
        for name in names:
            self._expected.pop(name, None)
            self._mentioned[name] = None
        while len(self._mentioned) > KNOWN_ORDERS:
            del self._mentioned[next(iter(self._mentioned))]

    def went_up(self) -> None:
        """Orders and trades are followed."""
        self._streams.check_up()

    def answered(self) -> None:
        """The venue is there."""
        self._streams.alive()

    def went_down(self, why: str) -> None:
        """Orders and trades are not followed any more."""
        self._expected.clear()
        self._streams.line_down(why)

    def look(self, now_ns: int) -> list[dict[str, Any]]:
        """Whether it says what it must."""
        for venue_id, since_ns in self._expected.items():
            if now_ns - since_ns > UNHEARD_NS:
                raise StreamLost(f"the account's channel does not mention our order {venue_id}")
        return []


def _orders_of(frame: TradeFrame) -> tuple[str, ...]:
    return frame.taker_order_id, *(order.order_id for order in frame.maker_orders)


class PolymarketStreams:
    """Everything that one account (or, without a key, anybody) hears from Polymarket.

    `on_frame` gets orders, trades, tick changes and ends of markets with the time of their arrival; a
    `DataError` that it raises counts as a malformed message.
    """

    def __init__(
        self,
        market_url: str,
        user_url: str,
        clock: Clock,
        sink: Sink,
        specs: Iterable[BookSpec],
        on_frame: OnFrame,
        reconnects: Callable[[], Reconnects],
        *,
        key: ApiKey | None = None,
    ) -> None:
        """`reconnects` makes one for each connection; `key`: None for market data alone."""
        self.clock = clock
        self.sink = sink
        self.malformed = 0
        self.last_malformed = ""
        self.frames = 0
        self.hash_matches = 0
        self.hash_differs = 0
        self._out = np.zeros(BUFFER_ROWS, d.EVENT)
        self.decoder = BookDecoder(self._out)
        self._market_url = market_url
        self._on_frame = on_frame
        self._reconnects = reconnects
        self._unsaid = 0
        self._up = False
        self._closing = False
        self._started = False
        self._lines: list[tuple[MarketLine, Link]] = []
        self._line_of: dict[str, MarketLine] = {}
        self._conditions: dict[int, str] = {}
        self._user = UserLine(self, key) if key is not None else None
        self._user_link = Link(user_url, clock, reconnects(), self._user) if self._user is not None else None
        self.add_markets(specs)

    # --- life -------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether the account's channel (or, without one, any market's) is followed."""
        return self._up

    @property
    def connections(self) -> int:
        """How often anything was connected."""
        return sum(link.connections for link in self._links())

    @property
    def user_connections(self) -> int:
        """How often the account's channel (without one: anything) was connected."""
        return self._user_link.connections if self._user_link is not None else self.connections

    @property
    def lines(self) -> int:
        """Connections for books."""
        return len(self._lines)

    def _links(self) -> list[Link]:
        own = [self._user_link] if self._user_link is not None else []
        return [*own, *(link for _, link in self._lines)]

    def start(self) -> None:
        """Connect, and stay connected, until `close`."""
        self._started = True
        for link in self._links():
            link.start()

    def failure(self) -> BaseException | None:
        """What ended a connection for good; None: all live."""
        return next((found for link in self._links() if (found := link.failure()) is not None), None)

    async def close(self) -> None:
        """Leave."""
        self._closing = True
        await asyncio.gather(*(link.close() for link in self._links()))

    def add_markets(self, specs: Iterable[BookSpec]) -> None:
        """Follow more markets, where there is room, else on more connections."""
        fresh = [spec for spec in specs if spec.condition not in self._line_of]
        for spec in fresh:
            self.decoder.add(spec)
            self._conditions[spec.market] = spec.condition
        while fresh:
            line = next((line for line, _ in self._lines if line.room > 0), None) or self._new_line()
            part, fresh = fresh[: line.room], fresh[line.room :]
            line.add(part)
            self._line_of.update({spec.condition: line for spec in part})

    def _new_line(self) -> MarketLine:
        line = MarketLine(self)
        link = Link(self._market_url, self.clock, self._reconnects(), line)
        self._lines.append((line, link))
        if self._started:
            link.start()
        return line

    def remove_markets(self, conditions: Iterable[str]) -> None:
        """Follow these no more."""
        for condition in conditions:
            line = self._line_of.pop(condition, None)
            if line is not None:
                line.remove((condition,))
                self._conditions.pop(self.decoder.books[condition].spec.market, None)
                self.decoder.remove(condition)

    def snapshot(self, condition: str) -> None:
        """Ask for a market's whole book, unless it is on its way already."""
        line = self._line_of.get(condition)
        if line is not None and condition not in line.waiting:
            self.decoder.clear((condition,))
            line.to_ask[condition] = None

    def expect(self, venue_id: str) -> None:
        """An order of ours was taken: the account's channel must mention it soon, or counts as frozen."""
        if self._user is not None and self._user_link is not None and self._user_link.is_up:
            self._user.expect(venue_id, self.clock.now_ns())

    def reconnect(self, why: str) -> None:
        """Give the account's channel up and connect it anew: everything is compared after that."""
        if self._user_link is not None:
            self._user_link.drop(why)

    # --- up and down --------------------------------------------------------------------------------

    def check_up(self) -> None:
        """`FeedUp` once what makes the venue is followed."""
        if not self._up and self._is_followed():
            self._up = True
            self.sink.push(FeedUp(venue="polymarket"))

    def _is_followed(self) -> bool:
        books = not self._lines or any(link.is_up for _, link in self._lines)
        return books and (self._user_link is None or self._user_link.is_up)

    def line_down(self, why: str) -> None:
        """`FeedDown` where the account's channel, or the last of the others, is gone."""
        self.report_malformed()
        if self._up and not self._closing and not self._is_followed():
            self._up = False
            self.sink.push(FeedDown(venue="polymarket", why=why))

    def alive(self) -> None:
        """A proof of life: every connection that is up has answered what was sent at this time or later."""
        if self._up:
            proofs = [link.alive_ns for link in self._links() if link.is_up]
            self.sink.push(FeedAlive(venue="polymarket", venue_ns=min(proofs)))

    # --- what we hear -----------------------------------------------------------------------------

    def hear_market(self, line: MarketLine, raw: bytes) -> None:
        """One frame of the market channel; raises `StreamLost` where any book may have missed something."""
        now_ns = self.clock.now_ns()
        self.frames += 1
        try:
            parts = messages(raw)
        except BookLost as error:
            self._refuse(error)
            raise StreamLost(f"a frame can't be read: {error}"[:200]) from None
        for part in parts:
            self._hear_part(line, part, now_ns)

    def _hear_part(self, line: MarketLine, raw: bytes, now_ns: int) -> None:
        try:
            count, said = self.decoder.decode(raw, now_ns)
        except BookLost as error:
            self._refuse(error)
            condition = self._conditions.get(error.market)
            if condition is None:
                raise StreamLost(f"a message can't be read: {error}"[:200]) from None
            self.lose((condition,), "differs")
            return
        if isinstance(said, TickChange):
            self._on_tick(said, now_ns, is_whole=count > 0)
        if count:
            if self._out[0]["kind"] == d.SNAPSHOT:
                line.waiting.pop(self._conditions[int(self._out[0]["market"])], None)
            self.sink.put_rows(self._out[:count])
        if said is not None and not isinstance(said, TickChange):
            self._hear_other(said.kind, said.raw, now_ns)

    def _on_tick(self, change: TickChange, now_ns: int, *, is_whole: bool) -> None:
        """A new grid: its row first, then no book until the next whole one, which is asked for."""
        self._on_frame(change, now_ns)
        self.sink.push(BookInvalid(market=change.market, why="tick"))
        condition = self._conditions[change.market]
        if not is_whole:
            self._line_of[condition].to_ask[condition] = None

    def _hear_other(self, kind: str, raw: bytes, now_ns: int) -> None:
        try:
            frame = read_frame(kind, raw)
            if frame is not None:
                self._on_frame(frame, now_ns)
        except DataError as error:
            self._refuse(error)  # what it would have said is read every minute

    def hear_user(self, line: UserLine, raw: bytes) -> None:
        """One frame of the user channel; raises `StreamLost` where we missed something about us."""
        now_ns = self.clock.now_ns()
        self.frames += 1
        try:
            for part in messages(raw):
                kind = kind_of(part)
                if kind not in ABOUT_US:
                    continue
                frame = read_frame(kind, part)
                if isinstance(frame, OrderFrame | TradeFrame):
                    line.mentioned(frame)
                    self._on_frame(frame, now_ns)
        except DataError as error:
            self._refuse(error)
            raise StreamLost(f"a message about our orders can't be read: {error}"[:200]) from None

    def _refuse(self, error: DataError) -> None:
        self.malformed += 1
        self._unsaid += 1
        self.last_malformed = str(error)

    def report_malformed(self) -> None:
        """Say how many messages were refused since the last time."""
        if self._unsaid:
            why = self.last_malformed[:200]
            self.sink.push(Malformed(venue="polymarket", count=self._unsaid, why=why))
            self._unsaid = 0

    # --- books that are worthless -------------------------------------------------------------------

    def lose(self, conditions: Iterable[str], why: str) -> None:
        """These books are worthless until their next whole ones, which are asked for."""
        for condition in conditions:
            book = self.decoder.books[condition]
            if book.synced:
                self.sink.push(BookInvalid(market=book.spec.market, why=why))
            book.clear()
            self._line_of[condition].to_ask[condition] = None

    def verify(self, book: YesBook) -> None:
        """Compare a book with the hash that the venue stated of it; wrong is what differs twice in a row.

        A hash covers the price of the last trade, and the message that tells that may be a moment behind.
        """
        found = self.decoder.verify(book)
        if found is Hash.MATCHES:
            self.hash_matches += 1
            book.suspect = False
        elif found is Hash.DIFFERS and not book.suspect:
            book.suspect = True
        elif found is Hash.DIFFERS:
            self.hash_differs += 1
            self.lose((book.spec.condition,), "differs")
