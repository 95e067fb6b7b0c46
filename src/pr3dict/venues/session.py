"""What a session with any venue needs and no venue defines: budgets, back-off, sequence numbers, silence.

Pure bookkeeping: time and chance are passed in, nothing waits, nothing is sent. Times are ns of one clock of
the caller's choice, which must not run back (a call with an older time counts as one at the newest).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, Protocol

from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.domain.events import Control
from pr3dict.domain.units import NS_PER_SECOND, ceil_div
from pr3dict.kernels import dtypes as d

Below = Callable[[int], int]  # a number from 0 up to below its argument: `random.Random(seed).randrange`

NEVER_NS: Final = 2**63 - 1


class Clock(Protocol):
    """The time of a live adapter, and how it waits."""

    def now_ns(self) -> int:
        """Ns UTC; never runs back."""

    async def sleep(self, span_ns: int) -> None:
        """Return `span_ns` later."""


class Sink(Protocol):
    """Where a live adapter puts what it hears (`runtime/inbox.LiveSource`)."""

    def put_rows(self, rows: d.Array) -> None:
        """Market data: EVENT rows; they are copied."""

    def push(self, event: Control) -> None:
        """A control event."""


class NotAnsweredError(WorkError):
    """A read got no usable answer; `status` is 0 where nothing came back."""

    status: int = 0


class TokenBucket:
    """A venue's request budget: `capacity` tokens, refilled continuously at `rate` tokens a second.

    The last `reserve` tokens are for urgent requests (cancels) only. Exact: tokens are counted in 1e-9.
    """

    __slots__ = ("_level", "_now_ns", "capacity", "rate", "reserve")

    def __init__(self, rate: int, capacity: int, now_ns: int, *, reserve: int = 0) -> None:
        """Raises `ConfigError` for a budget that could never be used."""
        if rate <= 0 or capacity <= 0 or not 0 <= reserve < capacity:
            what = f"{rate} tokens/s, capacity {capacity}, reserve {reserve}"
            raise ConfigError(f"a budget needs a rate, and a capacity above its reserve; got {what}")
        self.rate = rate
        self.capacity = capacity
        self.reserve = reserve
        self._level = capacity * NS_PER_SECOND
        self._now_ns = now_ns

    def _refill(self, now_ns: int) -> None:
        if now_ns > self._now_ns:
            self._level = min(
                self.capacity * NS_PER_SECOND, self._level + (now_ns - self._now_ns) * self.rate
            )
            self._now_ns = now_ns

    def tokens(self, now_ns: int) -> int:
        """Whole tokens that are there."""
        self._refill(now_ns)
        return self._level // NS_PER_SECOND

    def take(self, now_ns: int, cost: int, *, urgent: bool = False) -> bool:
        """Spend `cost` tokens if they are there, the reserve apart unless `urgent`."""
        if self.wait_ns(now_ns, cost, urgent=urgent) > 0:
            return False
        self._level -= cost * NS_PER_SECOND
        return True

    def wait_ns(self, now_ns: int, cost: int, *, urgent: bool = False) -> int:
        """How long until `cost` tokens can be spent; 0: now, NEVER_NS: the bucket is too small for it."""
        self._refill(now_ns)
        floor = 0 if urgent else self.reserve
        if cost + floor > self.capacity:
            return NEVER_NS
        missing = (cost + floor) * NS_PER_SECOND - self._level
        return ceil_div(missing, self.rate) if missing > 0 else 0

    def drain(self, now_ns: int) -> None:
        """The venue says that nothing is left, whatever we counted."""
        self._refill(now_ns)
        self._level = 0


class Backoff:
    """Pauses between attempts: they double from `base_ns` to `most_ns`, half of each drawn by chance.

    "Equal jitter": a pause of nominal length p lies in [p/2, p], so that clients which lost one server at one
    instant do not return at one instant, and none returns at once.
    """

    __slots__ = ("_below", "base_ns", "most_ns", "tries")

    def __init__(self, base_ns: int, most_ns: int, below: Below) -> None:
        if not 0 < base_ns <= most_ns:
            raise ConfigError(f"a back-off needs 0 < base ({base_ns} ns) <= most ({most_ns} ns)")
        self.base_ns = base_ns
        self.most_ns = most_ns
        self.tries = 0
        self._below = below

    def next_ns(self) -> int:
        """The next pause."""
        nominal_ns = min(self.base_ns << min(self.tries, 40), self.most_ns)
        self.tries += 1
        return nominal_ns - self._below(nominal_ns // 2 + 1)

    def reset(self) -> None:
        """It worked: the next pause is short again."""
        self.tries = 0


class Reconnects:
    """When to connect again. Bounded: a link that comes up and breaks at once is a failure like any other.

    Only a link that stood for `stable_ns` earns a short pause again.
    """

    __slots__ = ("_backoff", "_up_ns", "lost", "stable_ns")

    def __init__(self, backoff: Backoff, stable_ns: int) -> None:
        self._backoff = backoff
        self._up_ns = NEVER_NS
        self.stable_ns = stable_ns
        self.lost = 0  # links that came up and broke

    def up(self, now_ns: int) -> None:
        """The link stands."""
        self._up_ns = now_ns

    def down_ns(self, now_ns: int) -> int:
        """The link broke, or could not be made: how long to wait before the next attempt."""
        if self._up_ns != NEVER_NS:
            self.lost += 1
            if now_ns - self._up_ns >= self.stable_ns:
                self._backoff.reset()
            self._up_ns = NEVER_NS
        return self._backoff.next_ns()


class Seen(enum.Enum):
    """How a sequence number stands to those before it."""

    FIRST = "first"
    NEXT = "next"
    REPEAT = "repeat"  # the newest number once more: the message is known
    GAP = "gap"  # numbers are missing: what they said is lost
    REWIND = "rewind"  # older than the newest: out of order, or the count began anew


class Sequences:
    """Sequence numbers of the streams of one connection; each counts by itself, in steps of one."""

    __slots__ = ("_last", "gaps", "missed", "repeats", "rewinds")

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self.gaps = 0
        self.missed = 0  # numbers left out
        self.repeats = 0
        self.rewinds = 0

    def check(self, stream: int, number: int) -> Seen:
        """Judge a number and, unless it is old, expect its successor from now on."""
        last = self._last.get(stream)
        if last is not None and number <= last:
            if number == last:
                self.repeats += 1
                return Seen.REPEAT
            self.rewinds += 1
            return Seen.REWIND
        self._last[stream] = number
        if last is None:
            return Seen.FIRST
        if number == last + 1:
            return Seen.NEXT
        self.gaps += 1
        self.missed += number - last - 1
        return Seen.GAP

    def last(self, stream: int) -> int | None:
        """The newest number of a stream; None: it has not begun."""
        return self._last.get(stream)

    def forget(self, stream: int) -> None:
        """The stream begins anew."""
        self._last.pop(stream, None)

    def clear(self) -> None:
        """A new connection: every stream begins anew."""
        self._last.clear()


class Silence:
    """Whether a venue's stream still speaks, by the venue's own time: old news counts as silence.

    A stream is fresh while the newest venue time that was heard is at most `limit_ns` behind ours, as far as
    the clocks agree: their usual distance is learned from the least delay seen, so a clock that is set wrong
    does not look like a frozen stream, but a stream that falls behind does.
    """

    __slots__ = ("_heard_ns", "_least_ns", "_venue_ns", "limit_ns")

    def __init__(self, limit_ns: int, now_ns: int) -> None:
        self.limit_ns = limit_ns
        self.restart(now_ns)

    def restart(self, now_ns: int) -> None:
        """A new connection: it has `limit_ns` to say something."""
        self._heard_ns = now_ns
        self._venue_ns = 0
        self._least_ns = NEVER_NS

    def heard(self, now_ns: int, venue_ns: int) -> None:
        """A message that the venue sent at `venue_ns` by its own clock."""
        self._least_ns = min(self._least_ns, now_ns - venue_ns)
        if venue_ns > self._venue_ns:
            self._venue_ns = venue_ns
            self._heard_ns = now_ns

    @property
    def venue_ns(self) -> int:
        """The newest venue time heard; 0: none."""
        return self._venue_ns

    def lag_ns(self, now_ns: int) -> int:
        """How far the newest news is behind now, less the least delay seen."""
        if self._venue_ns == 0:
            return now_ns - self._heard_ns
        return now_ns - self._venue_ns - self._least_ns

    def is_silent(self, now_ns: int) -> bool:
        """Whether the stream is too old to act on."""
        return self.lag_ns(now_ns) > self.limit_ns
