"""What goes wrong at the stand-in, how often, and how often it did: seeded, and settable at any time.

Hooks asked per request or frame have a probability; hazards happen at a rate an hour of venue time. All are
off at first.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

# name: what its number means. Ranges are [low, high], drawn uniformly.
HOOKS: Final[dict[str, str]] = {
    # answers to requests
    "error_after_apply": "write carried out, answered 503 (probability)",
    "error_before_apply": "write not carried out, answered 500 (probability)",
    "lost_answer": "write carried out, connection closed without an answer (probability)",
    "lost_request": "write not carried out, connection closed without an answer (probability)",
    "too_many_requests": "429 although there are tokens (probability)",
    "malformed_answer": "200 with a body that is no JSON (probability)",
    "read_error": "read answered 504 (probability)",
    "answer_delay_ms": "answers leave this much later, so that stream frames come first ([low, high])",
    "stream_first": "the frames of a request leave before its answer, else after it (probability)",
    "read_lag_ms": "reads of the account are as of this long ago ([low, high])",
    "clock_skew_ms": "the venue's clock is this much ahead, for signatures and in Date headers (number)",
    "cancel_all_reach_ms": "a cancel-all also takes orders placed this long after it (number)",
    "post_only_cancel": "a crossing post-only order is taken and cancelled, not refused (probability)",
    "refuse_upgrade": "a new connection is answered 502 (probability)",
    # frames of streams
    "gap": "a numbered frame is dropped (probability)",
    "drop_private": "a private frame is dropped (probability)",
    "duplicate_private": "a private frame comes twice (probability)",
    "reorder_private": "a private frame is held back past later ones (probability)",
    "omit_ts": "a frame lacks ts_ms (probability)",
    "malformed_frame": "a frame is cut short (probability)",
    "frame_delay_ms": "frames leave this much later, in order ([low, high])",
    "shuffle": "the frames of one execution leave in random order (probability)",
    "wipe_silently": "orders that a reactivation cancels are not told (probability)",
}
HAZARDS: Final[dict[str, str]] = {
    "freeze": "one connection falls silent for freeze_s",
    "disconnect": "one connection is cut",
    "channel_error": "one subscription ends with error 10",
    "overflow": "one subscription ends with error 25",
    "unknown_frame": "a frame of a type that nobody knows",
    "pause_market": "one market pauses for pause_s and is activated again",
    "pause_trading": "trading pauses for pause_s, cancels go on",
    "pause_exchange": "everything pauses for pause_s, cancels too",
    "maintenance": "as pause_exchange, and every connection is cut",
    "trigger_group": "one order group is triggered",
    "move_close": "one market's close moves by up to ten minutes either way",
    "change_grid": "one market's price grid becomes another of its grids",
    "fee_update": "one event's fees change",
}
DEFAULTS: Final[dict[str, Any]] = {
    "shuffle": 1.0,
    "stream_first": 0.5,
    "freeze_s": [5.0, 20.0],
    "pause_s": [5.0, 60.0],
}
_RANGES: Final = ("answer_delay_ms", "read_lag_ms", "frame_delay_ms", "freeze_s", "pause_s")


class FaultBox:
    """The settings, the seeded generator and the counts."""

    def __init__(self, settings: Mapping[str, Any] | None = None, *, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.settings: dict[str, Any] = dict(DEFAULTS)
        self.fired: Counter[str] = Counter()
        self.change(settings or {})

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set some of them; 0 or null turns one off.

        Raises:
            ValueError: names the one that does not exist, or whose value it can't have.
        """
        for name, value in settings.items():
            if name == "seed":
                self.chance.seed(value)
            elif name in _RANGES:
                low, high = value if isinstance(value, list | tuple) else (value or 0, value or 0)
                self.settings[name] = [float(low), float(high)]
            elif name in HOOKS or name in HAZARDS:
                self.settings[name] = float(value or 0)
            else:
                raise ValueError(f"there is no fault {name!r}; known: {', '.join([*HOOKS, *HAZARDS])}")

    def hits(self, name: str) -> bool:
        """Whether a hook of a probability strikes now."""
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
        for name in HAZARDS:
            rate = self.settings.get(name, 0.0)
            if rate and self.chance.random() < rate * span_s / 3600:
                self.fired[name] += 1
                found.append(name)
        return found
