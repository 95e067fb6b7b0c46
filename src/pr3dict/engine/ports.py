"""The edges of the engine as protocols: where events come from, where commands go, where steps are kept.

A live venue, the simulated exchange and the fault simulator all stand behind these, so nothing above them
knows which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from pr3dict.domain.commands import Action
from pr3dict.domain.events import Control
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d


class Batch(NamedTuple):
    """All that reached us by `now_ns`: EVENT rows whose `local_ns` is `now_ns`, and control events."""

    now_ns: int
    data: d.Array
    events: tuple[Control, ...]


class Source(Protocol):
    """Where a process gets its time, its market data and its events, and sends its commands."""

    async def next(self, until_ns: int) -> Batch:
        """Wait until something arrived or the time is `until_ns`; batches never go back in time."""

    def push(self, event: Control) -> None:
        """Hand in an event from this machine (an operator, a clock): the next batch has it."""

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:
        """Pass on commands without waiting; what comes of them arrives as events."""

    async def close(self) -> None:
        """Give back sockets and tasks; what is still on its way is lost."""


class Log(Protocol):
    """Keeps steps: durable when `append` returns, all of its steps or none."""

    def append(self, steps: Sequence[Step]) -> None:
        """Write steps in one transaction; raises `store.journal.LogError` when that failed."""

    def steps(self, after: int = 0) -> Iterable[Step]:
        """The steps with a number above `after`, in order."""
