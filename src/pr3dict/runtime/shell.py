"""The process around the engine: its loop, its tasks, its signals and its end.

One loop takes what waits, steps the trader, records market data and sends what may leave; the journal is
written beside it, and confirms. Whatever goes wrong ends the process (crash-only): a task that dies, a disk
that refuses, a lease that is lost. Before it ends it cancels; the next start is the only recovery.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from pr3dict.domain.commands import Action, Alert, Answer, CancelAll, ClearLatch, Exit, SetLatch
from pr3dict.domain.events import (
    BookInvalid,
    Control,
    Flatten,
    Halt,
    Listed,
    LogStalled,
    Resume,
    Settled,
    Stopping,
)
from pr3dict.domain.steps import Step
from pr3dict.engine.engine import Engine
from pr3dict.engine.holds import EVERYWHERE, STOPPING
from pr3dict.engine.ports import Batch, Source
from pr3dict.engine.view import EngineView
from pr3dict.runtime.clock import Clock, ClockWatch
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.recovery import begin
from pr3dict.runtime.shell_ports import HeldLease, KillLatch, Operators, Tape
from pr3dict.runtime.trader import Trader
from pr3dict.runtime.writer import (
    JournalInline,
    JournalThread,
    Report,
    SnapshotJob,
    SnapshotLog,
    Writer,
    Written,
)
from pr3dict.store.crash_points import crash_point
from pr3dict.store.journal import LogError, control_hash

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
CLOSE_S: Final = 10.0  # for the journal's last write, and for the adapters to close
CRASH_SEND_S: Final = 0.25  # what a dying process waits for its cancels to leave

Result = TypeVar("Result")
Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class ShellSettings:
    """How often the shell looks, how long it waits, and when it takes a snapshot.

    `inline_journal` writes each step before the next one (see `runtime.writer`); it is for simulated time at
    full speed, where waiting for a disk would cost simulated seconds. After `run_s` seconds the process
    stops; None: never.
    """

    watch_tick_s: float = 0.05
    operator_poll_s: float = 0.1
    status_s: float = 1.0
    tape_flush_s: float = 10.0
    lease_renew_s: float = 5.0
    journal_stall_s: float = 1.0
    stop_timeout_s: float = 10.0
    snapshot_events: int = 20_000
    snapshot_s: float = 300.0
    inline_journal: bool = False
    run_s: float | None = None
    view_s: float = 0.5


@dataclass(frozen=True, slots=True)
class ShellParts:
    """What the shell runs and must give back at the end. `watch` is None where time is simulated.

    `companions` are the tasks of the venues: they live as long as the process, and the other way round.
    `arm` makes the venues take orders again after their own kill switches fired, before a person's resume (or
    flatten) is carried out; it raises where they don't. `facts` are further keys of the status.
    """

    engine: Engine
    trader: Trader
    source: Source
    journal: SnapshotLog
    tape: Tape
    operators: Operators
    latch: KillLatch
    lease: HeldLease
    clock: Clock
    log: Log
    status_path: Path | None = None
    session: str = ""  # names the recording
    is_synthetic: bool = False  # what is recorded was generated
    watch: ClockWatch | None = None
    is_over: Callable[[], bool] | None = None  # the source has nothing more
    on_view: Callable[[EngineView], None] | None = None
    companions: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    arm: Callable[[], Awaitable[None]] | None = None
    facts: Callable[[], Mapping[str, Any]] = dict


class Shell:
    """One run of one process; `run` returns its exit code."""

    def __init__(self, parts: ShellParts, settings: ShellSettings | None = None) -> None:
        self.parts = parts
        self.settings = settings if settings is not None else ShellSettings()
        self.log = parts.log
        self._now_ns = parts.engine.now_ns
        self._ended: asyncio.Future[int] | None = None
        self._writer: Writer | None = None
        self._stop_since_ns = -1  # monotonic; -1: runs on
        self._stop_code = OK
        self._crashed = False
        self._is_stalled = False
        self._noted_events = 0  # control events since the last snapshot
        self._began_ns = self._noted_ns = parts.clock.monotonic_ns()
        self._last_number = parts.journal.last_number
        self._snapshot_number = parts.journal.last_number
        self._has_begun = False
        self._turns = 0
        self._halts = 0  # that people asked for
        self._arming: set[asyncio.Task[None]] = set()

    # --- the run ----------------------------------------------------------------------------------

    async def run(self) -> int:
        """Trade until something ends it: a stop, a failure, an `Exit` of the engine."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._writer = self._make_writer(loop)
        self._take_signals(loop)
        loop.set_exception_handler(self._on_loop_error)
        tasks = [loop.create_task(work(), name=name) for name, work in self._work().items()]
        for task in tasks:
            task.add_done_callback(self._supervise)
        try:
            code = await self._ended
        finally:
            await self._cancel([*tasks, *self._arming])
        return await self._shut_down(code)

    def _work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "engine": self._trade,
            "operator": self._every(self.settings.operator_poll_s, self._hear_operators),
            "status": self._every(self.settings.status_s, self._write_status),
            "tape": self._every(self.settings.tape_flush_s, self._flush_tape),
            "lease": self._every(self.settings.lease_renew_s, self.parts.lease.renew),
            "watch": self._every(self.settings.watch_tick_s, self._look_around),
        }
        if self.parts.on_view is not None:
            work["view"] = self._every(self.settings.view_s, self._show)
        return work | dict(self.parts.companions)

    def _make_writer(self, loop: asyncio.AbstractEventLoop) -> Writer:
        if self.settings.inline_journal:
            return JournalInline(self.parts.journal, self._on_report)
        return JournalThread(self.parts.journal, self.parts.clock, self._on_report, loop.call_soon_threadsafe)

    def _supervise(self, task: asyncio.Task[None]) -> None:
        """No task may end before the process does."""
        assert self._ended is not None
        if task.cancelled() or self._ended.done():
            return
        error = task.exception()
        if error is not None:
            self.log.error("task died", task=task.get_name(), exc_info=error)
            self._crash()
        elif task.get_name() != "engine":
            self.log.error("task ended before the process", task=task.get_name())
            self._crash()

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised (a latch that can't be written, say): as bad as a task that died."""
        self.log.error("callback died", what=context.get("message"), exc_info=context.get("exception"))
        self._crash()

    def _crash(self) -> None:
        """Ask every venue to cancel everything, and end; the engine is not asked any more."""
        self._crashed = True
        with suppress(Exception):
            cancels = [CancelAll(venue=venue, why="crash") for venue in self.parts.engine.venues]
            self.parts.source.send(self._now_ns, cancels)
        self._end(FAILED)

    def _end(self, code: int) -> None:
        assert self._ended is not None
        if not self._ended.done():
            self._ended.set_result(code)

    @staticmethod
    async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one turn ---------------------------------------------------------------------------------

    async def _trade(self) -> None:
        assert self._ended is not None
        while not self._ended.done():
            batch = await self.parts.source.next(self._until_ns())
            if self._ended.done():  # everything is being cancelled: nothing may follow that
                return
            self._turn(self._after(batch))
            self._turns += 1
            if self._turns % 64 == 0:
                await asyncio.sleep(0)  # a source that never waits must not starve the other tasks

    def _after(self, batch: Batch) -> Batch:
        """A batch at the time of the one before moves on by a nanosecond: no two steps have the same time.

        Only so can rows of the recording and inputs of the journal be put together again.
        """
        if batch.now_ns > self._now_ns:
            return batch
        now_ns = self._now_ns + 1
        data = batch.data
        if len(data):
            data = data.copy()
            data["local_ns"] = now_ns
        return Batch(now_ns, data, batch.events)

    def _until_ns(self) -> int:
        return 0 if self.parts.trader.pending else self.parts.engine.next_timer_ns

    def _turn(self, batch: Batch) -> None:
        parts, writer = self.parts, self._writer
        assert writer is not None
        events = batch.events
        if parts.watch is not None:
            events = (*parts.watch.check(), *events)
        self._now_ns = batch.now_ns
        if not self._has_begun:
            begin(parts.engine, batch.now_ns)
            for listing in parts.engine.listings:
                self._list(listing)
            self._has_begun = True
        outcome = parts.trader.step(batch.now_ns, batch.data, events)
        self._record(batch, outcome.steps[-1].inputs if outcome.steps else batch.events)
        if outcome.urgent:
            self._do(outcome.urgent)
        for step in outcome.steps:
            self._keep(step)
        if parts.trader.waiting:
            writer.flush()
        if not outcome.steps and not len(batch.data):
            self._snapshot_when_due(self.settings.snapshot_events)
        if parts.is_over is not None and parts.is_over():
            self.stop("the recording has ended")
        self._stop_when_quiet()

    def _record(self, batch: Batch, inputs: Sequence[Control]) -> None:
        tape = self.parts.tape
        for event in inputs:
            if isinstance(event, Listed):
                tape.list(event.market, meta_of(event, self.parts.session, synthetic=self.parts.is_synthetic))
            elif isinstance(event, BookInvalid):
                tape.gap(event.market, batch.now_ns, event.why)
            elif isinstance(event, Settled):
                tape.settle(event.market, batch.now_ns, event.value_micros, refund=event.refund)
        if len(batch.data):
            tape.append(batch.data)

    def _list(self, listing: Listed) -> None:
        parts = self.parts
        meta = meta_of(listing, parts.session, synthetic=parts.is_synthetic)
        parts.tape.list(listing.market, meta)

    def _keep(self, step: Step) -> None:
        assert self._writer is not None
        self._last_number = step.number
        self._noted_events += len(step.inputs) + len(step.derived) + len(step.commands)
        crash_point("shell.append")
        try:
            self._writer.append(step)
        except LogError as error:
            self._on_report(error)
        self._snapshot_when_due(2 * self.settings.snapshot_events)

    def _do(self, actions: Sequence[Action]) -> None:
        """Carry out what may leave, in order; an `Exit` comes last."""
        outgoing: list[Action] = []
        exits: Exit | None = None
        for action in actions:
            if isinstance(action, SetLatch):
                self.parts.latch.set(action.reason, action.text, self._now_ns)
                self.log.error("kill latch set", reason=action.reason, text=action.text)
            elif isinstance(action, ClearLatch):
                self.parts.latch.clear(action.who, action.reason, self._now_ns)
                self.log.warning("kill latch cleared", who=action.who, reason=action.reason)
            elif isinstance(action, Alert):
                self._alert(action)
            elif isinstance(action, Answer):
                self.parts.operators.answer(action.command_id, action.ok, action.text)
            elif isinstance(action, Exit):
                exits = action
            else:
                outgoing.append(action)
        if outgoing:
            crash_point("shell.send")
            self.parts.source.send(self._now_ns, outgoing)
            crash_point("shell.sent")
        if exits is not None:
            self.log.error("engine asked to end", code=exits.code, why=exits.why)
            self._end(exits.code)

    def _alert(self, alert: Alert) -> None:
        say = {"low": self.log.info, "medium": self.log.warning}.get(alert.severity, self.log.error)
        if not alert.on:
            say = self.log.info
        say("alert" if alert.on else "alert over", name=alert.name, market=alert.market, text=alert.text)

    # --- the journal ------------------------------------------------------------------------------

    def _on_report(self, report: Report) -> None:
        """The journal confirmed, or failed. What it confirms after the end was decided stays here."""
        trader = self.parts.trader
        assert self._ended is not None
        if isinstance(report, Written):
            is_going = trader.failure is None and not self._ended.done()
            actions = trader.durable(report.number) if is_going else ()
            if actions:
                self._do(actions)
            return
        if trader.failure is not None:
            return
        self.log.error("journal failed", why=str(report), reason=report.kind)
        # A full disk harmed nothing, so there is time to see the cancels confirmed; otherwise there is none.
        self._do(trader.failed(str(report), "full" if report.kind in ("full", "read_only") else "io"))
        self.stop("the journal failed", FAILED)

    def _elapsed_s(self, since_ns: int) -> float:
        return (self.parts.clock.monotonic_ns() - since_ns) / 1e9

    def _snapshot_when_due(self, after_events: int) -> None:
        elapsed_s = (self.parts.clock.monotonic_ns() - self._noted_ns) / 1e9
        if self._noted_events >= after_events or (
            self._noted_events and elapsed_s >= self.settings.snapshot_s
        ):
            self._snapshot()

    def _snapshot(self) -> None:
        """Hand the state after the last step to the writer, which keeps it once that step is durable."""
        engine, trader = self.parts.engine, self.parts.trader
        if trader.failure is not None or self._last_number == self._snapshot_number:
            return
        assert self._writer is not None
        crash_point("shell.snapshot")
        job = SnapshotJob(self._last_number, engine.save(), control_hash(engine.account.encode()))
        self._writer.snapshot(job)
        self._snapshot_number = self._last_number
        self._noted_events = 0
        self._noted_ns = self.parts.clock.monotonic_ns()

    # --- what is looked at now and then -------------------------------------------------------------

    def _every(self, seconds: float, look: Callable[[], None]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                look()

        return repeat

    def _look_around(self) -> None:
        """Clocks, the journal's thread and the time a stop may take."""
        parts, writer = self.parts, self._writer
        assert writer is not None
        if parts.watch is not None:
            self._push(parts.watch.check())
        self._push_pending()
        waited_ns = writer.waiting_ns()
        is_stalled = waited_ns >= self.settings.journal_stall_s * 1e9
        if is_stalled and not self._is_stalled:
            self.log.error("journal is slow", waited_s=round(waited_ns / 1e9, 3))
            parts.source.push(LogStalled(gap_ns=waited_ns))
        self._is_stalled = is_stalled
        if self.settings.run_s is not None and self._elapsed_s(self._began_ns) >= self.settings.run_s:
            self.stop("the time is up")
        if writer.snapshot_error is not None:
            self.log.error("snapshot failed", why=str(writer.snapshot_error))
            writer.snapshot_error = None
        self._stop_when_quiet()

    def _push(self, events: Iterable[Control]) -> None:
        for event in events:
            self.parts.source.push(event)

    def _push_pending(self) -> None:
        """What the trader has to tell the engine wakes a source that waits for its venue."""
        pending = self.parts.trader.pending
        if self._has_begun:  # what a first step takes in stays together
            self._push(pending)
            pending.clear()

    def _hear_operators(self) -> None:
        for command in self.parts.operators.take():
            self.log.info("operator", command=type(command).__name__, who=command.who, id=command.command_id)
            self._halts += isinstance(command, Halt)
            if isinstance(command, Resume | Flatten) and self.parts.arm is not None:
                task = asyncio.create_task(self._armed(command, self.parts.arm), name="arm")
                self._arming.add(task)
                task.add_done_callback(self._arming.discard)
            else:
                self.parts.source.push(command)

    async def _armed(self, command: Resume | Flatten, arm: Callable[[], Awaitable[None]]) -> None:
        """Carry a person's command out once the venues take orders; where they don't, all stays halted.

        A halt that comes meanwhile is the later word.
        """
        halts = self._halts
        why = ""
        try:
            await arm()
        except Exception as error:  # whatever it is: the person hears it, and nothing is lifted
            self.log.exception("not armed", command=type(command).__name__)
            why = f"the venue's own stop was not lifted ({error}); nothing was changed, try again"
        if self._halts != halts:
            why = "a halt came in the meantime; nothing was changed"
        if why:
            self.parts.operators.answer(command.command_id, ok=False, text=why)
        else:
            self.parts.source.push(command)

    def _show(self) -> None:
        if self.parts.on_view is not None:
            self.parts.on_view(self.parts.engine.view())

    def _flush_tape(self) -> None:
        self.parts.tape.flush(wait=False)

    def _write_status(self) -> None:
        if self.parts.status_path is not None:
            write_status(self.parts.status_path, self.parts.engine, self.parts.facts())

    # --- the end ----------------------------------------------------------------------------------

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(ValueError, RuntimeError):  # not the main thread: signals are somebody else's
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        """The first asks to stop, the second leaves at once."""
        if self._stop_since_ns >= 0:
            self.log.warning("left at once", signal=number.name)
            self._end(INTERRUPTED)
        else:
            self.stop(number.name, OK)

    def stop(self, why: str, code: int = OK) -> None:
        """Cancel, wait until nothing is open, end."""
        self._stop_code = max(self._stop_code, code)
        if self._stop_since_ns < 0:
            self._stop_since_ns = self.parts.clock.monotonic_ns()
            self.log.info("stopping", why=why)
            self._push_pending()
            self._push((Stopping(why=why),))

    def _stop_when_quiet(self) -> None:
        if self._stop_since_ns < 0:
            return
        parts = self.parts
        waited_s = self._elapsed_s(self._stop_since_ns)
        open_orders = open_order_count(parts.engine)
        if open_orders == 0 and not parts.trader.waiting and not parts.trader.pending and self._heard_stop():
            self._end(self._stop_code)
        elif waited_s >= self.settings.stop_timeout_s:
            self.log.error("orders may still stand", open_orders=open_orders, waited_s=round(waited_s, 1))
            self._end(FAILED)

    def _heard_stop(self) -> bool:
        """Whether the engine took `Stopping` in: before that, an order may still come."""
        return self.parts.engine.holds.has(EVERYWHERE, "", STOPPING)

    async def _shut_down(self, code: int) -> int:
        parts, writer = self.parts, self._writer
        assert writer is not None
        crash_point("shutdown.begun")
        if not self._crashed:
            self._snapshot()
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, writer.close, CLOSE_S):
            self.log.error("the journal did not take its last steps in time")
            code = code or FAILED
        crash_point("shutdown.written")
        if self._crashed or parts.trader.failure == "io":
            await asyncio.sleep(CRASH_SEND_S)
        for what, close in self._closings(loop):
            try:
                await close()
            except Exception:  # one that does not close must not keep the others open
                self.log.exception("could not be closed", what=what)
                code = code or FAILED
            crash_point("shutdown.closed")
        self.log.info("ended", code=code, step=self._last_number)
        return code

    def _closings(
        self, loop: asyncio.AbstractEventLoop
    ) -> tuple[tuple[str, Callable[[], Awaitable[object]]], ...]:
        parts = self.parts

        async def close_source() -> None:
            await asyncio.wait_for(parts.source.close(), CLOSE_S)

        async def last_status() -> None:
            if not self._crashed:
                self._write_status()

        return (
            ("source", close_source),
            ("tape", lambda: loop.run_in_executor(None, parts.tape.close)),
            ("status", last_status),
            ("journal", lambda: loop.run_in_executor(None, parts.journal.close)),
            ("lease", lambda: loop.run_in_executor(None, parts.lease.release)),
        )


def open_order_count(engine: Engine) -> int:
    """Orders of ours that stand or may stand."""
    return sum(len(engine.account.open_orders(market)) for market in range(len(engine.listings)))


def write_status(path: Path, engine: Engine, facts: Mapping[str, Any] | None = None) -> None:
    """Put what the engine shows of itself, and `facts`, into `path`, whole or not at all, for this user."""
    status_of = importlib.import_module("pr3dict.runtime.status").status_of
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):  # a full disk: the journal says so
        temporary.touch(mode=0o600)
        temporary.write_bytes(msgspec.json.encode(status_of(engine.view()) | dict(facts or {})))
        temporary.replace(path)


def run(parts: ShellParts, settings: ShellSettings | None = None) -> int:
    """Run a shell in an event loop of its own; returns the exit code."""
    return in_loop(Shell(parts, settings).run())


def in_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in an event loop of its own (uvloop where it is installed)."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
