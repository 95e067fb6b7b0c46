"""What the shell needs of the disk and of people: the tape, the mailbox, the kill latch, the lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pr3dict.domain.events import Flatten, Halt, KeepPairs, PauseMarket, Resume
from pr3dict.kernels import dtypes as d
from pr3dict.store.tape import TapeMeta

Operator = Halt | Resume | PauseMarket | Flatten | KeepPairs


class Tape(Protocol):
    """Keeps market data (`store.recorder.Recorder`)."""

    def list(self, market: int, meta: TapeMeta) -> None:
        """Say what a row is, before its first data."""

    def append(self, rows: d.Array) -> None:
        """Take EVENT rows in; what was not flushed is lost with the process."""

    def gap(self, market: int, now_ns: int, why: str) -> None:
        """The book of a market counts for nothing until its next snapshot."""

    def settle(self, market: int, now_ns: int, value_micros: int, *, refund: bool = False) -> None:
        """A market paid out."""

    def flush(self, *, wait: bool = True) -> None:
        """Write what is in memory."""

    def close(self) -> None:
        """Write what waits and give the folder back."""


class Operators(Protocol):
    """Commands of people (`store.mailbox.Mailbox`)."""

    def take(self) -> Sequence[Operator]:
        """Those that came since the last look."""

    def answer(self, command_id: str, ok: bool, text: str) -> None:
        """Reply to one."""


class KillLatch(Protocol):
    """The latch on disk (`store.latch.LatchFile`)."""

    def set(self, reason: str, text: str, now_ns: int) -> object:
        """Set it, on the disk when this returns."""

    def clear(self, who: str, why: str, now_ns: int) -> object:
        """Remove it."""


class HeldLease(Protocol):
    """The right to run here (`store.lease.Lease`)."""

    def renew(self) -> None:
        """Make sure that it still holds."""

    def release(self) -> None:
        """Give it back."""
