"""How the shell writes its journal: in one thread with group commit, or inline where time is simulated.

`JournalThread` takes all steps that wait and writes them in one transaction, so a slow disk makes the
groups larger and never the event loop slower. `JournalInline` writes before the next step: with it a run
at any speed gives the same orders.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from pr3dict.domain.steps import Step
from pr3dict.engine.ports import Log
from pr3dict.runtime.clock import Clock
from pr3dict.store.crash_points import crash_point
from pr3dict.store.journal import LogError

MAX_WAITING = 1 << 16  # steps; a journal that is so far behind has failed
GROUP_STEPS = 512  # inline: steps without an order may wait for each other


class SnapshotLog(Log, Protocol):
    """A log that also keeps snapshots of the state (`store.journal.Journal`)."""

    last_number: int

    def save_snapshot(self, number: int, blob: bytes) -> None:
        """Keep the state after step `number`."""

    def note_checkpoint(self, number: int, state_hash: str) -> None:
        """Keep the hash of the state after step `number`."""

    def checkpoint(self) -> None:
        """Tidy the file up, in an idle moment."""

    def close(self) -> None:
        """Give the file back."""


class SnapshotJob(NamedTuple):
    """The control state after step `number`, to be kept once that step is durable."""

    number: int
    blob: bytes
    state_hash: str


class Written(NamedTuple):
    """All steps up to `number` are durable."""

    number: int


Report = Written | LogError


class Writer(Protocol):
    """Where steps go; what became of them comes to `on_report` in the thread of the event loop.

    `snapshot_error` is the last failure to keep a snapshot; who has told it sets it back to None.
    """

    snapshot_error: LogError | None

    def append(self, step: Step) -> None:
        """Have a step written."""

    def flush(self) -> None:
        """Write now what waits for company."""

    def snapshot(self, job: SnapshotJob) -> None:
        """Have a snapshot kept; one that fails harms nothing."""

    def waiting_ns(self) -> int:
        """How long the oldest step has waited, 0 when none does."""

    def close(self, timeout_s: float) -> bool:
        """Write what waits and end; False when that took longer than `timeout_s`."""


def keep(log: SnapshotLog, job: SnapshotJob) -> None:
    """Write a snapshot and the hash of the state it holds."""
    crash_point("snapshot.begun")
    log.save_snapshot(job.number, job.blob)
    crash_point("snapshot.kept")
    log.note_checkpoint(job.number, job.state_hash)
    crash_point("snapshot.noted")
    log.checkpoint()


class JournalThread:
    """The one thread that writes. `post` runs a function in the event loop (`call_soon_threadsafe`)."""

    def __init__(
        self,
        log: SnapshotLog,
        clock: Clock,
        on_report: Callable[[Report], None],
        post: Callable[..., object],
        *,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.snapshot_error: LogError | None = None
        self._log = log
        self._clock = clock
        self._on_report = on_report
        self._post = post
        self._queue: queue.SimpleQueue[Step | SnapshotJob | None] = queue.SimpleQueue()
        self._max_waiting = max_waiting
        self._appended_ns: dict[int, int] = {}  # steps not known to be durable, with monotonic times
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def append(self, step: Step) -> None:
        """Have a step written.

        Raises:
            LogError: `max_waiting` steps wait already.
        """
        if len(self._appended_ns) >= self._max_waiting:
            sentence = f"{self._max_waiting:,} steps wait for the journal; check the disk"
            raise LogError(sentence, kind="io")
        self._appended_ns[step.number] = self._clock.monotonic_ns()
        self._queue.put(step)

    def flush(self) -> None:
        """Nothing waits longer than the disk takes."""

    def snapshot(self, job: SnapshotJob) -> None:
        """Have a snapshot kept after the steps before it."""
        self._queue.put(job)

    def waiting_ns(self) -> int:
        """How long the oldest step has waited."""
        for since_ns in self._appended_ns.values():
            return self._clock.monotonic_ns() - since_ns
        return 0

    def close(self, timeout_s: float) -> bool:
        """Write what waits and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            items = [self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get_nowait())
            goes_on = None not in items
            goes_on = self._write(items) and goes_on

    def _write(self, items: Iterable[Step | SnapshotJob | None]) -> bool:
        """False after a failure: nothing is tried on a file that refused once."""
        steps = [item for item in items if isinstance(item, Step)]
        try:
            if steps:
                self._log.append(steps)
        except LogError as error:
            self._post(self._on_report, error)
            return False
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must hear of it
            self._post(self._on_report, LogError(f"the journal's thread died: {error!r}", kind="other"))
            return False
        if steps:
            self._post(self._confirm, steps[-1].number)
        for job in items:
            if isinstance(job, SnapshotJob):
                try:
                    keep(self._log, job)
                except LogError as error:
                    self.snapshot_error = error
        return True

    def _confirm(self, number: int) -> None:
        for waiting in list(self._appended_ns):
            if waiting > number:
                break
            del self._appended_ns[waiting]
        self._on_report(Written(number))


class JournalInline:
    """Writes in the caller's thread: with `flush`, or when enough steps have come together."""

    def __init__(self, log: SnapshotLog, on_report: Callable[[Report], None]) -> None:
        self.snapshot_error: LogError | None = None
        self._log = log
        self._on_report = on_report
        self._steps: list[Step] = []

    def append(self, step: Step) -> None:
        """Take a step in; written with the next `flush`, or in a group."""
        self._steps.append(step)
        if len(self._steps) >= GROUP_STEPS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._steps:
            return
        steps, self._steps = self._steps, []
        try:
            self._log.append(steps)
        except LogError as error:
            self._on_report(error)
        else:
            self._on_report(Written(steps[-1].number))

    def snapshot(self, job: SnapshotJob) -> None:
        """Keep a snapshot now."""
        self.flush()
        try:
            keep(self._log, job)
        except LogError as error:
            self.snapshot_error = error

    def waiting_ns(self) -> int:
        """Always 0: nobody runs while a write goes on."""
        return 0

    def close(self, timeout_s: float) -> bool:  # noqa: ARG002 - the signature of a writer
        """Write what waits."""
        self.flush()
        return True
