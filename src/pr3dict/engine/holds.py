"""Why a market may not be quoted: words that come and go, for one market, one venue or everything."""

from __future__ import annotations

from pr3dict.kernels import dtypes as d

EVERYWHERE = -1

# Words that leave exits free; every other word stops all orders.
PAUSED = "paused"  # a person paused the market
FLATTENING = "flattening"  # a person wants to be out
HALTED = "halted"  # the kill latch
FEED_DOWN = "feed_down"
FEED_STALE = "feed_stale"
BOOK_INVALID = "book_invalid"
UNRECONCILED = "unreconciled"
VENUE_NOT_OPEN = "venue_not_open"
STOPPING = "stopping"
LOG_FAILED = "log_failed"
BREAKER = "breaker:"  # and its name


def _stops_exits(why: str, *, leaving: bool) -> bool:
    """A person who flattens overrides latch and breakers, but no doubt about what we know."""
    if why in (PAUSED, FLATTENING):
        return False
    return not (leaving and (why == HALTED or why.startswith(BREAKER)))


class Holds:
    """The words in force; each set is a dict, so that order never depends on hashing."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, int], dict[str, None]] = {}

    def set(self, market: int, venue: str, why: str, *, on: bool) -> bool:
        """Put a word on or take it off; `market` -1: the whole `venue`, or everything where that is empty.

        Returns whether that changed anything.
        """
        key = ("" if market != EVERYWHERE else venue, market)
        words = self._words.setdefault(key, {})
        if (why in words) == on:
            return False
        if on:
            words[why] = None
        else:
            del words[why]
            if not words:
                del self._words[key]
        return True

    def has(self, market: int, venue: str, why: str) -> bool:
        """Whether just this word stands at just this place."""
        return why in self._words.get(("" if market != EVERYWHERE else venue, market), {})

    def words(self, market: int, venue: str) -> tuple[str, ...]:
        """All that holds a market back: its own words, its venue's, everyone's."""
        found: dict[str, None] = {}
        for key in (("", market), (venue, EVERYWHERE), ("", EVERYWHERE)):
            found.update(self._words.get(key, {}))
        return tuple(found)

    def level(self, market: int, venue: str) -> int:
        """HOLD_* of a market."""
        words = self.words(market, venue)
        if not words:
            return d.HOLD_NOTHING
        leaving = FLATTENING in words
        stops = any(_stops_exits(why, leaving=leaving) for why in words)
        return d.HOLD_ALL if stops else d.HOLD_QUOTES

    def to_list(self) -> list[tuple[str, int, str]]:
        """(venue, market, word) in a canonical order: what a snapshot keeps."""
        return sorted((venue, market, why) for (venue, market), words in self._words.items() for why in words)
