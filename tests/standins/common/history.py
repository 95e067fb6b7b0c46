"""Values as they were: what a read finds whose index lags behind the matching engine."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any


class History:
    """The versions of each key's value since `keep_ns` ago."""

    def __init__(self, keep_ns: int = 120_000_000_000) -> None:
        self._keep_ns = keep_ns
        self._versions: dict[Any, tuple[list[int], list[Any]]] = {}

    def note(self, now_ns: int, key: Any, value: Any) -> None:
        """From now on the key's value is this; it must not be changed afterwards."""
        times, values = self._versions.setdefault(key, ([], []))
        if times and times[-1] == now_ns:
            values[-1] = value
            return
        times.append(now_ns)
        values.append(value)
        old = bisect_right(times, now_ns - self._keep_ns) - 1
        if old > 16:
            del times[:old], values[:old]

    def at(self, key: Any, ns: int) -> Any:
        """The value at a time; None: it did not exist yet."""
        times, values = self._versions.get(key, ((), ()))
        place = bisect_right(times, ns) - 1
        return values[place] if place >= 0 else None

    def all_at(self, kind: str, ns: int) -> list[Any]:
        """The values at a time of all keys (kind, ...), by first appearance."""
        found = [self.at(key, ns) for key in self._versions if key[0] == kind]
        return [value for value in found if value is not None]
