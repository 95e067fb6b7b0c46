"""Virtual time and seeded chance: the heap of what happens next, and every decision that a seed makes.

Each concern (network, disk, market, people, scheduler, venue, and each fault knob) draws from a generator of
its own, so a draw added in one place changes nothing elsewhere. A fault is a numbered decision of its knob:
the list of those that fired is the decision tape, and a run may be told to let only some of them fire.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from random import Random
from typing import Any

from simulation.catalogue import ALL_KNOBS

START_NS = 1_788_220_800_000_000_000  # 2026-09-01T00:00:00Z: any date would do
MS = 1_000_000
SECOND = 1_000_000_000

Fired = tuple[str, int]  # knob and number of its decision


class World:
    """One virtual time line; `at` schedules, `run_until` lets it happen."""

    def __init__(
        self, seed: int, intensity: dict[str, float], allowed: Collection[Fired] | None = None
    ) -> None:
        self.seed = seed
        self.now_ns = START_NS
        self.intensity = intensity
        self.allowed = None if allowed is None else frozenset(allowed)
        self.healed = False
        self.fired: list[Fired] = []
        self.events = 0
        self.injected: Counter[str] = Counter()  # by knob
        self.effective: Counter[int] = Counter()  # by row of the catalogue
        self._heap: list[tuple[int, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._streams: dict[str, Random] = {}
        self._asked: Counter[str] = Counter()
        self._sizes: dict[str, Random] = {}
        self._tie = self.stream("scheduler")

    # --- time

    def at(self, when_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Call `action(*args)` at `when_ns`; simultaneous actions come in an order that the seed draws."""
        self._count += 1
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), self._tie.random(), self._count, action, args))

    def after(self, delay_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Call `action(*args)` in `delay_ns`."""
        self.at(self.now_ns + delay_ns, action, *args)

    def run_until(self, until_ns: int, check: Callable[[], None]) -> None:
        """Let everything up to `until_ns` happen, with `check` after each event."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, _, action, args = heapq.heappop(heap)
            action(*args)
            self.events += 1
            check()
        self.now_ns = max(self.now_ns, until_ns)

    # --- chance

    def stream(self, concern: str) -> Random:
        """The generator of one concern."""
        found = self._streams.get(concern)
        if found is None:
            found = self._streams[concern] = Random(f"{self.seed}/{concern}")
        return found

    def is_on(self, knob: str) -> bool:
        """Whether the seed drew this fault at all."""
        return not self.healed and self.intensity.get(knob, 0.0) > 0.0

    def fires(self, knob: str) -> bool:
        """One decision of a knob: does the fault happen here?"""
        level = self.intensity.get(knob, 0.0)
        if level <= 0.0 or self.healed:
            return False
        number = self._asked[knob]
        self._asked[knob] = number + 1
        if self.stream(knob).random() >= level * ALL_KNOBS[knob].most:
            return False
        if self.allowed is not None and (knob, number) not in self.allowed:
            return False
        self.fired.append((knob, number))
        self.injected[knob] += 1
        self._sizes[knob] = Random(f"{self.seed}/{knob}/{number}")
        return True

    def amount(self, knob: str, low: int, high: int) -> int:
        """A size for the fault that has fired last, whatever other faults of the knob were left out."""
        return self._sizes[knob].randint(low, high)

    def effect(self, row: int) -> None:
        """Count that a fault of the catalogue's `row` took effect."""
        self.effective[row] += 1


class Clock:
    """The machine's two clocks: monotonic time as it is, wall clock as an offset model says.

    Models: none, linear (drift), step (once), periodic (a slow wave).
    """

    def __init__(self, world: World, model: str, size_ns: int, at_ns: int) -> None:
        self.world = world
        self.model = model
        self.size_ns = size_ns
        self.at_ns = at_ns

    def offset_ns(self) -> int:
        """Wall clock less true time; 0 once an operator has set it right."""
        if self.world.healed:
            return 0
        since = self.world.now_ns - START_NS
        if self.model == "linear":
            return self.size_ns * since // (100 * SECOND)
        if self.model == "step":
            return self.size_ns if self.world.now_ns >= self.at_ns else 0
        if self.model == "periodic":
            phase = since % (40 * SECOND)
            return self.size_ns * min(phase, 40 * SECOND - phase) // (20 * SECOND)
        return 0

    def wall_ns(self) -> int:
        """What the machine says the time is."""
        return self.world.now_ns + self.offset_ns()

    def monotonic_ns(self) -> int:
        """Time since the machine started."""
        return self.world.now_ns - START_NS + SECOND
