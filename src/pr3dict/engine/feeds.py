"""Whether what we see of a venue is fresh: streams up, alive by the venue's own clock, books whole.

Link up is not data fresh: a venue's markets are held once its last proof of life is older than the limit. The
rule starts with the first proof after the streams came up, so that a source without any (a recording) is not
held for what it can't give.
"""

from __future__ import annotations

from pr3dict.domain.events import BookRead
from pr3dict.domain.market import Venue
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.kernels.world import World


class Feeds:
    """Proofs of life by venue, and the markets whose book waits for a whole snapshot."""

    def __init__(self, timeout_ns: int) -> None:
        """`timeout_ns`: oldest proof of life that counts as fresh; 0: never stale."""
        self._timeout_ns = timeout_ns
        self._alive_ns: dict[Venue, int] = {}
        self._invalid: dict[int, int] = {}  # market to the number of snapshots seen when it broke
        self._differs: dict[int, int] = {}  # market to when the first read that differed was asked

    def alive(self, venue: Venue, now_ns: int, venue_ns: int) -> None:
        """A round trip: the venue's clock read `venue_ns`."""
        self._alive_ns[venue] = max(self._alive_ns.get(venue, 0), min(now_ns, venue_ns))

    def alive_ns(self, venue: Venue) -> int:
        """The newest proof of life of a venue; 0: none."""
        return self._alive_ns.get(venue, 0)

    def forget(self, venue: Venue) -> None:
        """The streams of a venue are down: only a new proof of life counts."""
        self._alive_ns.pop(venue, None)

    def stale_from_ns(self, venue: Venue) -> int:
        """When a venue counts as stale without another proof of life; NEVER_NS: not by this rule."""
        alive_ns = self._alive_ns.get(venue)
        return NEVER_NS if alive_ns is None or self._timeout_ns == 0 else alive_ns + self._timeout_ns

    @property
    def next_due_ns(self) -> int:
        """When the next venue becomes stale."""
        return min((self.stale_from_ns(venue) for venue in self._alive_ns), default=NEVER_NS)

    def expire(self, now_ns: int) -> list[Venue]:
        """The venues that became stale by now; each is named once until it is alive again."""
        stale = [venue for venue in self._alive_ns if self.stale_from_ns(venue) <= now_ns]
        for venue in stale:
            del self._alive_ns[venue]
        return stale

    def break_book(self, market: int, world: World) -> None:
        """The book of a market counts for nothing until its next whole snapshot."""
        self._invalid[market] = int(world.markets[market].snapshots)

    def over(self, market: int) -> None:
        """The market has paid: its book is not waited for any more."""
        self._invalid.pop(market, None)
        self._differs.pop(market, None)

    def whole_again(self, world: World) -> list[int]:
        """The markets whose snapshot has come since their book broke; each is named once."""
        whole = [m for m, seen in self._invalid.items() if int(world.markets[m].snapshots) > seen]
        for m in whole:
            del self._invalid[m]
        return whole

    def is_broken(self, market: int) -> bool:
        """Whether a market waits for a snapshot."""
        return market in self._invalid

    def disagrees(self, read: BookRead, world: World, touch: tuple[int, int]) -> bool:
        """Whether a second route showed another touch than our book twice, while our stream said nothing.

        `touch` is our best bid and ask, -1 where a side is empty. A book that moved since the question was
        asked proves nothing; the market itself may move on between the two reads.
        """
        event_ns = int(world.books["event_ns"][read.market])
        if event_ns >= read.asked_ns or (read.bid_price, read.ask_price) == touch:
            self._differs.pop(read.market, None)
            return False
        first_ns = self._differs.setdefault(read.market, read.asked_ns)
        return first_ns < read.asked_ns and event_ns < first_ns

    def doubted(self) -> list[int]:
        """The markets of which one read differed: the next one decides."""
        return list(self._differs)
