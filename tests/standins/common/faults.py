"""What goes wrong at a stand-in, how often, and how often it did: seeded, and settable at any time.

Hooks asked per request or frame have a probability; hazards happen at a rate an hour of venue time. All are
off at first.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any


class FaultBox:
    """The settings, the seeded generator and the counts.

    `hooks` and `hazards` say by name what there is; the names in `ranges` take [low, high], drawn uniformly.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, *, seed: int = 1, hooks: Mapping[str, str],
        hazards: Mapping[str, str], defaults: Mapping[str, Any], ranges: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.chance = random.Random(seed)
        self.hazards = hazards
        self.settings: dict[str, Any] = dict(defaults)
        self.fired: Counter[str] = Counter()
        self.armed: Counter[str] = Counter()
        self._names = {*hooks, *hazards}
        self._ranges = ranges
        self.change(settings or {})

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set some of them; 0 or null turns one off.

        Raises:
            ValueError: names the one that does not exist, or whose value it can't have.
        """
        for name, value in settings.items():
            if name == "seed":
                self.chance.seed(value)
            elif name in self._ranges:
                low, high = value if isinstance(value, list | tuple) else (value or 0, value or 0)
                self.settings[name] = [float(low), float(high)]
            elif name in self._names:
                self.settings[name] = float(value or 0)
            else:
                raise ValueError(f"there is no fault {name!r}; known: {', '.join(sorted(self._names))}")

    def arm(self, name: str, times: int = 1) -> None:
        """Let a hook strike the next times that it is asked, whatever its probability.

        Raises:
            ValueError: names the one that does not exist.
        """
        if name not in self._names or name in self._ranges:
            raise ValueError(
                f"there is no fault {name!r} that strikes; known: {', '.join(sorted(self._names))}"
            )
        self.armed[name] = times

    def hits(self, name: str) -> bool:
        """Whether a hook of a probability strikes now."""
        if self.armed[name] > 0:
            self.armed[name] -= 1
            self.fired[name] += 1
            return True
        probability = self.settings.get(name, 0.0)
        if not probability or (probability < 1.0 and self.chance.random() >= probability):
            return False
        self.fired[name] += 1
        return True

    def number(self, name: str) -> float:
        """A plain number, 0 where it is not set."""
        value = float(self.settings.get(name, 0.0))
        self.fired[name] += value != 0
        return value

    def draw(self, name: str) -> float:
        """A number from a range, 0 where it is not set."""
        low, high = self.settings.get(name, (0.0, 0.0))
        if high <= 0:
            return 0.0
        self.fired[name] += 1
        return self.chance.uniform(low, high)

    def due(self, span_s: float) -> list[str]:
        """The hazards that strike within a span of venue time."""
        found = []
        for name in self.hazards:
            rate = self.settings.get(name, 0.0)
            if rate and self.chance.random() < rate * span_s / 3600:
                self.fired[name] += 1
                found.append(name)
        return found
