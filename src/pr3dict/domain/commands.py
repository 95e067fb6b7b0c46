"""What the engine asks the world to do: the only way out of it, as one frozen value each.

Units as in `domain/events.py`. A `Place` is made by `risk/gate.py` only (a test holds it) and leaves the
machine only after the journal has it, and so does an `Operate`; cancels never wait.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pr3dict.domain.events import Operation, snake_case
from pr3dict.domain.market import Venue

Severity = Literal["low", "medium", "high", "critical"]


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Root of all commands."""


class Place(Command, frozen=True, kw_only=True, tag=snake_case):
    """A new order that passed every check."""

    order_id: int
    market: int
    side: int  # BID buys YES terms
    sell: bool = False  # sells what is held instead of buying the side's contract
    price: int
    size: int
    tif: int  # kernels.dtypes.POST_ONLY, LIMIT, IOC, FOK
    expiry_ns: int = 0  # 0: none


class Cancel(Command, frozen=True, kw_only=True, tag=snake_case):
    """Take an order out of the book; `venue_id` is empty where the venue's id is not known yet."""

    order_id: int
    market: int
    venue_id: str = ""


class Reduce(Command, frozen=True, kw_only=True, tag=snake_case):
    """Leave `remaining` in the book, in place."""

    order_id: int
    market: int
    venue_id: str = ""
    remaining: int


class Renew(Command, frozen=True, kw_only=True, tag=snake_case):
    """Move the expiry of a resting order, in place."""

    order_id: int
    market: int
    venue_id: str = ""
    expiry_ns: int


class CancelAll(Command, frozen=True, kw_only=True, tag=snake_case):
    """Everything of ours at a venue, known or not."""

    venue: Venue
    why: str


class ReadOrders(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `OrdersRead` or `ReadFailed`."""

    venue: Venue


class ReadOrder(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `OrderRead` or `ReadFailed`."""

    order_id: int
    market: int
    venue_id: str = ""


class ReadFills(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `FillsRead` or `ReadFailed`."""

    venue: Venue
    since_ns: int


class ReadPositions(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `PositionsRead` or `ReadFailed`."""

    venue: Venue


class ReadBalance(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `BalanceRead` or `ReadFailed`."""

    venue: Venue


class ReadBook(Command, frozen=True, kw_only=True, tag=snake_case):
    """Answered by `BookRead` or `ReadFailed`."""

    market: int


class Resubscribe(Command, frozen=True, kw_only=True, tag=snake_case):
    """Ask for a whole snapshot of a market's book."""

    market: int


class PrepareOperation(Command, frozen=True, kw_only=True, tag=snake_case):
    """Make an operation ready without beginning it: `OperationPrepared`, or `OperationEnded` without name."""

    market: int
    operation: Operation
    size: int  # at most; micro-contracts of pairs, of a redemption both kinds


class Operate(Command, frozen=True, kw_only=True, tag=snake_case):
    """Carry a prepared operation out; leaves only once it is journaled. Answered by `OperationEnded`."""

    market: int
    operation: Operation
    size: int
    name: str


class FollowOperation(Command, frozen=True, kw_only=True, tag=snake_case):
    """Find out what became of an operation of an earlier process; it is not begun again."""

    market: int
    operation: Operation
    size: int
    name: str
    venue_id: str = ""


class SetLatch(Command, frozen=True, kw_only=True, tag=snake_case):
    """Write the kill latch to disk before anything else is done."""

    reason: str
    text: str


class ClearLatch(Command, frozen=True, kw_only=True, tag=snake_case):
    """A person resumed: remove the kill latch."""

    who: str
    reason: str


class Alert(Command, frozen=True, kw_only=True, tag=snake_case):
    """Tell the operator once an episode; `on` False: it is over. `name` is stable, with a runbook anchor."""

    name: str
    severity: Severity
    market: int = -1
    text: str
    on: bool = True


class Answer(Command, frozen=True, kw_only=True, tag=snake_case):
    """The reply to an operator's command."""

    command_id: str
    ok: bool
    text: str


class Exit(Command, frozen=True, kw_only=True, tag=snake_case):
    """End the process with this exit code, after everything before it was done."""

    code: int
    why: str


OrderCommand = Place | Cancel | Reduce | Renew
Action = (
    Place | Cancel | Reduce | Renew | CancelAll
    | ReadOrders | ReadOrder | ReadFills | ReadPositions | ReadBalance | ReadBook | Resubscribe
    | PrepareOperation | Operate | FollowOperation
    | SetLatch | ClearLatch | Alert | Answer | Exit
)  # fmt: skip
