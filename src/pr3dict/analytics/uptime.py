"""Two-sided uptime by product and clock hour, from a timeline of each market's standing.

A timeline says from when on a market was quoted by the terms (an empty word), closed (no duty), or why it was
absent. What nobody saw is laid over it as absent. Everything is exact in ns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import NamedTuple

from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.engine.standing import CLOSED, NOT_LISTED, QUOTED, Standing, product_standing
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.risk.programme import ProgrammeConfig


class Turn(NamedTuple):
    """From `at_ns` on it is so."""

    at_ns: int
    why: str


class Unseen(NamedTuple):
    """A span of which nothing is proven, and why."""

    from_ns: int
    until_ns: int
    why: str


class Timeline:
    """How one market stood; turns are noted in order of time."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.unseen: list[Unseen] = []

    @property
    def why(self) -> str:
        """How it stands now; `NOT_LISTED` before the first turn."""
        return self.turns[-1].why if self.turns else NOT_LISTED

    def note(self, at_ns: int, why: str) -> None:
        """From `at_ns` on it stands like this; a later note of the same time replaces an earlier one."""
        if self.turns and self.turns[-1].at_ns == at_ns:
            self.turns.pop()
        if self.why != why:
            self.turns.append(Turn(at_ns, why))

    def proven(self) -> list[Turn]:
        """The turns with what nobody saw laid over them; a market that is closed or not listed stays so."""
        if not self.unseen:
            return self.turns
        edges = merge(
            ((turn.at_ns, 0, turn.why) for turn in self.turns),
            sorted(
                edge
                for span in self.unseen
                for edge in ((span.from_ns, 2, span.why), (span.until_ns, 1, span.why))
            ),
        )
        found: list[Turn] = []
        stands, over = NOT_LISTED, list[str]()
        for at_ns, kind, why in edges:
            if kind == 0:
                stands = why
            elif kind == 1:
                over.remove(why)
            else:
                over.append(why)
            now = over[-1] if over and stands not in (CLOSED, NOT_LISTED) else stands
            if found and found[-1].at_ns == at_ns:
                found.pop()
            if now != (found[-1].why if found else NOT_LISTED):
                found.append(Turn(at_ns, now))
        return found


@dataclass(frozen=True, slots=True)
class HourUptime:
    """One product in one clock hour; spans in ns that add up to the hour.

    `absent_ns` has a share for each reason; `ahead_ns` is what of the hour lies after the end of what is
    known, and `closed_ns` when there was no duty.
    """

    product: str
    hour_ns: int
    quoted_ns: int
    absent: Mapping[str, int]
    closed_ns: int
    ahead_ns: int
    allowance_ns: int

    @property
    def absent_ns(self) -> int:
        """Absence for all reasons."""
        return sum(self.absent.values())

    @property
    def left_ns(self) -> int:
        """What is left of the allowed absence; below 0: the hour is lost."""
        return self.allowance_ns - self.absent_ns

    @property
    def is_over(self) -> bool:
        """Whether all of the hour is known."""
        return self.ahead_ns == 0

    @property
    def is_due(self) -> bool:
        """Whether there was any duty in it so far."""
        return self.quoted_ns + self.absent_ns > 0

    @property
    def is_breached(self) -> bool:
        """Whether it can't be kept any more."""
        return self.left_ns < 0

    @property
    def uptime(self) -> float | None:
        """Two-sided share of the time with a duty so far; None: there was none."""
        due_ns = self.quoted_ns + self.absent_ns
        return self.quoted_ns / due_ns if due_ns else None


def product_turns(config: ProgrammeConfig, product: str, markets: Sequence[Timeline]) -> list[Turn]:
    """How a product stood, from those of its markets that were listed."""
    edges = merge(*([(turn.at_ns, k, turn.why) for turn in m.proven()] for k, m in enumerate(markets)))
    stands: dict[int, str] = {}
    found: list[Turn] = []
    for at_ns, k, why in edges:
        stands[k] = why
        listed = [Standing(stands[j], NEVER_NS) for j in sorted(stands)]
        now = product_standing(config, product, listed).why
        if found and found[-1].at_ns == at_ns:
            found.pop()
        if not found or found[-1].why != now:
            found.append(Turn(at_ns, now))
    return found


def hours_of(
    config: ProgrammeConfig, product: str, turns: Sequence[Turn], first_ns: int, known_ns: int, until_ns: int
) -> list[HourUptime]:
    """Cut a product's turns into clock hours: from the one that holds `first_ns` up to `until_ns`.

    Before the first turn it was not listed. What lies after `known_ns`, the end of the journal, is absent up
    to `until_ns` ("not_running"), and ahead after that.
    """
    found = []
    hour_ns = config.hour_start_ns(first_ns)
    place = 0
    while hour_ns < until_ns:
        spans, place = _spans(turns, place, hour_ns, min(hour_ns + NS_PER_HOUR, known_ns))
        missed = min(hour_ns + NS_PER_HOUR, until_ns) - max(hour_ns, known_ns)
        if missed > 0:
            after = turns[-1].why if turns else NOT_LISTED
            why = CLOSED if after == CLOSED else "not_running"
            spans[why] = spans.get(why, 0) + missed
        quoted, closed = spans.pop(QUOTED, 0), spans.pop(CLOSED, 0)
        found.append(
            HourUptime(
                product=product,
                hour_ns=hour_ns,
                quoted_ns=quoted,
                absent=dict(sorted(spans.items(), key=lambda item: (-item[1], item[0]))),
                closed_ns=closed,
                ahead_ns=max(0, hour_ns + NS_PER_HOUR - until_ns),
                allowance_ns=config.allowance_ns(closed),
            )
        )
        hour_ns += NS_PER_HOUR
    return found


def _spans(turns: Sequence[Turn], place: int, from_ns: int, until_ns: int) -> tuple[dict[str, int], int]:
    """Time by word in a span, and how many turns lie before its end; `place`: of those before its start."""
    spans: dict[str, int] = {}
    at_ns = from_ns
    why = turns[place - 1].why if place else NOT_LISTED
    while place < len(turns) and turns[place].at_ns < until_ns:
        turn = turns[place]
        if turn.at_ns > at_ns:
            spans[why] = spans.get(why, 0) + turn.at_ns - at_ns
            at_ns = turn.at_ns
        why = turn.why
        place += 1
    if until_ns > at_ns:
        spans[why] = spans.get(why, 0) + until_ns - at_ns
    return spans, place


def spans_of(turns: Sequence[Turn], known_ns: int) -> Iterator[tuple[Turn, int]]:
    """Each turn with the time at which the next one, or what is known, ends it."""
    for k, turn in enumerate(turns):
        yield turn, turns[k + 1].at_ns if k + 1 < len(turns) else known_ns


def quoted_by_hour(config: ProgrammeConfig, turns: Sequence[Turn], known_ns: int) -> dict[int, int]:
    """Time quoted in ns, by start of the clock hour; hours without any are left out."""
    found: dict[int, int] = {}
    for turn, end_ns in spans_of(turns, known_ns):
        at_ns = turn.at_ns
        while turn.why == QUOTED and at_ns < end_ns:
            hour_ns = config.hour_start_ns(at_ns)
            until_ns = min(end_ns, hour_ns + NS_PER_HOUR)
            found[hour_ns] = found.get(hour_ns, 0) + until_ns - at_ns
            at_ns = until_ns
    return found
