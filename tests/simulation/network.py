"""Links between the process and the venue: latency, loss, duplication, reordering, partition, mute, slowness.

A `Stream` is one connection that delivers in order while it is up; what happens while it is down is lost, as
venues do not replay. `Wire` carries requests and their answers, each on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulation.world import MS, SECOND, World

DEAD_AFTER_NS = 4 * SECOND  # silence after which the session takes a link for dead
RECONNECT_NS = 1 * SECOND


class Stream:
    """One connection from the venue to us; `deliver(message)` on our side, `lost()` when it broke."""

    def __init__(self, world: World, name: str, deliver: Callable[[Any], None]) -> None:
        self.world = world
        self.name = name
        self.deliver = deliver
        self.random = world.stream(f"network/{name}")
        self.is_up = True
        self.cut_until_ns = 0
        self.mute_until_ns = 0
        self.slow_until_ns = 0
        self.slow_by_ns = 0
        self.epoch = 0
        self._busy_ns = 0
        self._last_ns = 0
        self.held: list[Any] = []

    def send(self, message: Any, *, overtakes: bool = False, late_ns: int = 0) -> None:
        """The venue sends one message; it is lost when the connection is down or mute."""
        now = self.world.now_ns
        if not self.is_up or now < self.cut_until_ns or now < self.mute_until_ns:
            return
        delay = self.random.randint(2 * MS, 12 * MS)
        if self.world.fires("jitter"):
            delay += self.random.randint(0, 150 * MS)
        if now < self.slow_until_ns:
            self._busy_ns = max(self._busy_ns, now) + self.slow_by_ns
            delay += self._busy_ns - now
        when = now + delay + late_ns
        if late_ns == 0:
            if not overtakes:
                when = max(when, self._last_ns)
            self._last_ns = max(when, self._last_ns)
        self.world.at(when, self._arrive, self.epoch, message)

    def _arrive(self, epoch: int, message: Any) -> None:
        if epoch == self.epoch and self.is_up and self.world.now_ns >= self.cut_until_ns:
            self.deliver(message)

    def cut(self, for_ns: int) -> None:
        """No message passes for `for_ns`; what was on its way is lost."""
        self.cut_until_ns = self.world.now_ns + for_ns
        self.epoch += 1

    @property
    def is_behind(self) -> bool:
        """Whether a slow drain left messages that are still to come."""
        return self._busy_ns > self.world.now_ns

    def heal(self) -> None:
        """All faults of the link end."""
        self.cut_until_ns = self.mute_until_ns = self.slow_until_ns = 0

    def reset(self) -> None:
        """A new connection: nothing of the old one arrives any more."""
        self.epoch += 1
        self._busy_ns = self._last_ns = 0


class Wire:
    """Requests and answers: each has its own latency, and any of them may be lost."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.stream("network/requests")
        self.cut_until_ns = 0

    def delay_ns(self) -> int:
        """Latency one way."""
        delay = self.random.randint(3 * MS, 25 * MS)
        if self.world.fires("jitter"):
            delay += self.random.randint(0, 300 * MS)
        return delay

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes at the moment."""
        return self.world.now_ns < self.cut_until_ns
