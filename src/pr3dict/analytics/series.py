"""Time series of a run, made small enough to draw: samples, a clock without silences, peaks of long lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pr3dict.kernels import dtypes as d

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

# One market at one time. Prices in 1/10,000 dollar, -1: none; `own_*` are our best orders at the exchange.
SAMPLE = np.dtype(
    [
        ("at_ns", "i8"),
        ("fair_micros", "i8"),
        ("net_contracts", "i8"),
        ("bid_price", "i4"),
        ("ask_price", "i4"),
        ("own_bid_price", "i4"),
        ("own_ask_price", "i4"),
        ("market", "i4"),
    ]
)

NS_PER_HOUR = 3_600_000_000_000
SILENCE_NS = NS_PER_HOUR // 4  # shorter pauses between tapes stay on the clock


@dataclass(frozen=True, slots=True)
class Clock:
    """Recorded time only: stretches of time without any tape are taken out, so nothing is drawn there.

    `begins_ns` and `ends_ns` are the recorded stretches in order, `before_ns` what was recorded before each.
    """

    begins_ns: IntArray
    ends_ns: IntArray
    before_ns: IntArray

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Clock:
        """The clock of tapes that each hold (first, last) time; needs one at least."""
        begins: list[int] = []
        ends: list[int] = []
        for first, last in sorted(spans):
            if ends and first - ends[-1] <= SILENCE_NS:
                ends[-1] = max(ends[-1], last)
            else:
                begins.append(first)
                ends.append(last)
        lengths = np.array(ends, np.int64) - np.array(begins, np.int64)
        return cls(np.array(begins, np.int64), np.array(ends, np.int64), np.cumsum(lengths) - lengths)

    @property
    def total_ns(self) -> int:
        """Time that was recorded."""
        return int(self.before_ns[-1] + self.ends_ns[-1] - self.begins_ns[-1])

    def hours(self, at_ns: npt.ArrayLike) -> FloatArray:
        """Recorded hours before each time; a time in a silence is where the silence is."""
        times = np.asarray(at_ns, np.int64)
        row = np.maximum(np.searchsorted(self.begins_ns, times, side="right") - 1, 0)
        inside = np.clip(times, self.begins_ns[row], self.ends_ns[row]) - self.begins_ns[row]
        hours: FloatArray = (self.before_ns[row] + inside) / NS_PER_HOUR
        return hours

    def recorded(self, at_ns: IntArray) -> npt.NDArray[np.bool_]:
        """Whether each time lies in a recorded stretch."""
        row = np.maximum(np.searchsorted(self.begins_ns, at_ns, side="right") - 1, 0)
        inside: npt.NDArray[np.bool_] = (at_ns >= self.begins_ns[row]) & (at_ns <= self.ends_ns[row])
        return inside

    def at_ns(self, hours: float) -> int:
        """The time at which so many hours had been recorded."""
        wanted = round(hours * NS_PER_HOUR)
        row = max(int(np.searchsorted(self.before_ns, wanted, side="right")) - 1, 0)
        return min(int(self.begins_ns[row]) + wanted - int(self.before_ns[row]), int(self.ends_ns[row]))


def peaks(values: npt.NDArray[np.int64] | FloatArray, points: int) -> IntArray:
    """Indices of at most `points` values: the first, the last, each stretch's smallest and largest."""
    n = len(values)
    if n <= points:
        return np.arange(n, dtype=np.int64)
    buckets = max(1, (points - 2) // 2)
    edges = np.linspace(0, n, buckets + 1).astype(np.int64)
    kept = [0, n - 1]
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[low:high]
        kept += [low + int(part.argmin()), low + int(part.argmax())]
    return np.unique(np.array(kept, np.int64))


def holdings(fills: d.Array, ends_ns: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """What was held after each fill and each tape's end: times, sum of |net|, largest |net| of one market.

    A position counts until its tape ends, whether it was paid out there or not. Sizes in micro-contracts.
    """
    m = np.concatenate((fills["market"].astype(np.int64), np.arange(len(ends_ns))))
    times = np.concatenate((fills["exch_ns"], ends_ns)).astype(np.int64)
    after = np.concatenate((np.abs(fills["net_contracts"]), np.zeros(len(ends_ns), np.int64)))
    # A payout is booked at the last instant of a tape: what fills there no longer counts.
    order = np.lexsort((np.arange(len(times)), times))
    held = np.zeros(len(ends_ns), np.int64)
    total = np.zeros(len(order), np.int64)
    largest = np.zeros(len(order), np.int64)
    for row, k in enumerate(order.tolist()):
        held[m[k]] = after[k]
        total[row], largest[row] = held.sum(), held.max()
    return times[order], total, largest
