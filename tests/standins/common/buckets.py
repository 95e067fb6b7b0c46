"""Token buckets."""

from __future__ import annotations

SECOND = 1_000_000_000


class Bucket:
    """Refilled continuously up to its capacity."""

    def __init__(self, rate: float, capacity: float, now_ns: int) -> None:
        self.rate, self.capacity = rate, capacity
        self.tokens, self.at_ns = capacity, now_ns

    def fill(self, now_ns: int) -> float:
        """What is in it now."""
        gained = (now_ns - self.at_ns) * self.rate / SECOND
        self.tokens, self.at_ns = min(self.capacity, self.tokens + gained), now_ns
        return self.tokens
