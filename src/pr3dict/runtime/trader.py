"""Between the engine, the journal and the wire: what may leave now, and what waits until it is durable.

No clock, no I/O: a shell feeds it, and the fault simulator feeds it in the same way. Its rules:

- A `Place` leaves only once the journal has the step that made it; cancels and reads never wait. `Reduce` and
  `Renew` wait too: after a crash, a smaller remaining size that no journal entry explains would look like a
  fill, and an expiry that was moved without a record would make absence a false proof of death. `ClearLatch`
  and `Exit` wait, for what they rest on must not be lost; an `Operate` waits, for without its name in the
  journal the next process could do it twice.
- A cancel of an order that still waits takes it back: neither leaves, and the engine hears `NotSent`.
  `CancelAll` and `SetLatch` take back everything that waits.
- Once the kill latch is set no `Place` leaves, whatever the engine says, until a person resumes or flattens.
- Once the journal has refused a write, only cancels, reads and notices leave, and no step is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from pr3dict.domain.commands import (
    Action,
    Answer,
    Cancel,
    CancelAll,
    ClearLatch,
    Exit,
    Operate,
    Place,
    Reduce,
    Renew,
    SetLatch,
)
from pr3dict.domain.events import (
    Control,
    Flatten,
    Latched,
    Listed,
    LogFailed,
    NotSent,
    OperationEnded,
    RequestRefused,
)
from pr3dict.domain.market import Venue
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d

FailureKind = Literal["full", "io"]  # no room: the file is sound; or nothing is known of what was written


class Stepper(Protocol):
    """The part of `engine.engine.Engine` that a trader needs."""

    def advance(self, now_ns: int, data: d.Array, events: Sequence[Control]) -> tuple[Step, ...]:
        """One instant, after a step for each timer before it; steps are numbered and hold their commands."""


class Outcome(NamedTuple):
    """`steps`: to be journaled, in order. `urgent`: leaves at once, `SetLatch` first."""

    steps: tuple[Step, ...]
    urgent: tuple[Action, ...]


class _Waiting(NamedTuple):
    number: int  # of the step that must be durable first
    action: Action


def no_crash(name: str) -> None:
    """The crash point of a process that nobody tests: goes on."""


class Trader:
    """Runs the engine and holds back what is not durable yet.

    `pending` are the events that the next step takes in before all others; who sends `Place`s appends `Sent`
    (or `NotSent`) here, or hands them in with the next events. `venues` are those that a `CancelAll` goes to
    when the journal fails; `Listed` events add theirs.
    """

    def __init__(
        self,
        engine: Stepper,
        *,
        venues: Iterable[Venue] = (),
        crash_point: Callable[[str], None] = no_crash,
    ) -> None:
        self.engine = engine
        self.pending: list[Control] = []
        self.is_blocked = False
        self.failure: FailureKind | None = None
        self._venues: dict[Venue, None] = dict.fromkeys(venues)
        self._waiting: list[_Waiting] = []
        self._flattens: dict[str, None] = {}  # a person's commands that the engine has not answered yet
        self._last_number = 0
        self.crash_point = crash_point

    @property
    def waiting(self) -> tuple[Action, ...]:
        """What is held back, in the order in which it will leave."""
        return tuple(waiting.action for waiting in self._waiting)

    def step(self, now_ns: int, data: d.Array, events: Sequence[Control]) -> Outcome:
        """The engine's steps over `pending` and `events`; what must wait is kept back."""
        inputs = (*self.pending, *events)
        self.pending.clear()
        self._note(inputs)
        self.crash_point("trader.before_step")
        steps = self.engine.advance(now_ns, data, inputs)
        self.crash_point("trader.after_step")
        urgent: list[Action] = []
        for step in steps:
            self._last_number = step.number
            urgent += self._sort_out(step)
        urgent.sort(key=lambda action: not isinstance(action, SetLatch))
        return Outcome(() if self.failure else steps, tuple(urgent))

    def durable(self, number: int) -> tuple[Action, ...]:
        """The journal has all steps up to `number`: these leave now, without those taken back meanwhile."""
        assert number <= self._last_number, f"step {number} was never made, the last is {self._last_number}"
        due = [waiting.action for waiting in self._waiting if waiting.number <= number]
        if due:
            self._waiting = [waiting for waiting in self._waiting if waiting.number > number]
            self.crash_point("trader.durable")
        if any(isinstance(action, ClearLatch) for action in due):
            self.is_blocked = False  # a latch set meanwhile would have taken `ClearLatch` back
        return tuple(due)

    def failed(self, why: str, kind: FailureKind) -> tuple[Action, ...]:
        """The journal refused a write: `LogFailed` is the next input, what waited is `NotSent`.

        Returns what leaves now. `kind` "io" (a failed sync: what is on disk is unknown) leaves no time for
        another step: a `CancelAll` of each venue and `Exit`. Later calls change nothing and return nothing.
        """
        if self.failure is not None:
            return ()
        self.failure = kind
        self.pending.append(LogFailed(why=why))
        self._take_back(self._waiting, "log_failed")
        self._waiting = []
        if kind == "full":
            return ()
        return (*(CancelAll(venue=venue, why="log_failed") for venue in self._venues), Exit(code=1, why=why))

    def _note(self, inputs: Iterable[Control]) -> None:
        for event in inputs:
            if isinstance(event, Listed):
                self._venues.setdefault(event.venue)
            elif isinstance(event, Latched):
                self.is_blocked = True
            elif isinstance(event, Flatten):
                self._flattens[event.command_id] = None

    def _sort_out(self, step: Step) -> tuple[Action, ...]:
        latches: list[Action] = []
        urgent: list[Action] = []
        for action in step.commands:
            if isinstance(action, SetLatch):
                latches.append(action)
                self.is_blocked = True
                self._take_back_all("latched")
            elif isinstance(action, CancelAll):
                self._take_back_all("cancelled")
                urgent.append(action)
            elif isinstance(action, Answer):
                if action.command_id in self._flattens:  # a person's word, which the engine took
                    del self._flattens[action.command_id]
                    self.is_blocked = self.is_blocked and not action.ok
                urgent.append(action)
            elif isinstance(action, Cancel):
                if not self._take_back_order(action.order_id):
                    urgent.append(action)
            elif isinstance(action, Place | Reduce | Renew | Operate | ClearLatch | Exit):
                urgent += self._hold(step.number, action)
            else:
                urgent.append(action)
        return (*latches, *urgent)

    def _hold(self, number: int, action: Action) -> tuple[Action, ...]:
        """Keep an action until it is durable; returns it where it need not wait after a failure."""
        if self.failure is not None:
            if isinstance(action, Exit):
                return (action,)
            self._take_back([_Waiting(number, action)], "log_failed")
        elif self.is_blocked and isinstance(action, Place) and not self._clears_latch():
            self._take_back([_Waiting(number, action)], "latched")
        else:
            self._waiting.append(_Waiting(number, action))
        return ()

    def _clears_latch(self) -> bool:
        return any(isinstance(waiting.action, ClearLatch) for waiting in self._waiting)

    def _take_back_all(self, why: str) -> None:
        self._take_back(self._waiting, why)
        self._waiting = [waiting for waiting in self._waiting if isinstance(waiting.action, Exit)]

    def _take_back_order(self, order_id: int) -> bool:
        """Drop what waits for an order; True where its `Place` was among it, so that it never leaves."""
        mine = [w for w in self._waiting if _order_of(w.action) == order_id]
        if mine:
            self._take_back(mine, "cancelled")
            self._waiting = [w for w in self._waiting if _order_of(w.action) != order_id]
        return any(isinstance(w.action, Place) for w in mine)

    def _take_back(self, dropped: Iterable[_Waiting], why: str) -> None:
        for _, action in dropped:
            if isinstance(action, Place):
                self.pending.append(NotSent(order_id=action.order_id, why=why))
            elif isinstance(action, Reduce | Renew):
                request: Literal["reduce", "renew"] = "reduce" if isinstance(action, Reduce) else "renew"
                refused = RequestRefused(order_id=action.order_id, request=request, why="not_sent", text=why)
                self.pending.append(refused)
            elif isinstance(action, Operate):
                self.pending.append(
                    OperationEnded(
                        market=action.market, operation=action.operation, name=action.name, why=why
                    )
                )


def _order_of(action: Action) -> int:
    """The order that a waiting action is about, 0 where it is about none."""
    return action.order_id if isinstance(action, Place | Reduce | Renew) else 0
