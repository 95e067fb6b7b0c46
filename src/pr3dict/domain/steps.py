"""One step of the engine as it is journaled: what came in, what the engine concluded, what went out."""

from __future__ import annotations

import msgspec

from pr3dict.domain.commands import Action
from pr3dict.domain.events import Control


class Quoted(msgspec.Struct, frozen=True):
    """A decision that differs from the one before it: a QUOTE row of kernels/dtypes as bytes."""

    market: int
    row: bytes


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one instant but market data, which are the rows of the tape with the same local time.

    `number` counts the journaled steps of a data directory from 1. `rows` is how many rows of market data the
    engine had seen in this process after this instant. A fold applies `inputs`, `derived` and `commands` in
    this order.
    """

    number: int
    now_ns: int
    inputs: tuple[Control, ...] = ()
    derived: tuple[Control, ...] = ()
    commands: tuple[Action, ...] = ()
    quotes: tuple[Quoted, ...] = ()
    rows: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing in it needs the journal."""
        return not (self.inputs or self.derived or self.commands or self.quotes)
