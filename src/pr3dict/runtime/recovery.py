"""The start of a process: the right to run, the latch, the journal, the state it folds to.

There is no other way to start, so a restart after a crash and after a clean stop are the same. Each step may
be interrupted and done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from pr3dict.domain.errors import DataError, Pr3dictError
from pr3dict.domain.events import Control, Latched, Listed, Started
from pr3dict.engine.engine import Engine
from pr3dict.runtime.clock import Clock, SystemClock
from pr3dict.runtime.listing import numbered
from pr3dict.runtime.logs import no_core_dumps
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.latch import Latch, LatchFile
from pr3dict.store.lease import Lease, accounts_of, joint_account

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Opened:
    """What a process holds before it has an engine; `latch` is what stood when it started."""

    data_dir: DataDir
    lease: Lease
    latch_file: LatchFile
    latch: Latch | None
    journal: Journal
    check: Future[None]  # of the whole journal, which goes on meanwhile

    def close(self) -> None:
        """Give everything back; for a start that does not go on."""
        wait((self.check,))
        self.journal.close()
        self.lease.release()


@dataclass(slots=True)
class Recovered:
    """What a recovery found. `inputs` are the events of the first step, `rows` the row of each wanted market.

    `seconds` says how long each phase took.
    """

    engine: Engine
    inputs: tuple[Control, ...] = ()
    rows: tuple[int, ...] = ()
    snapshot: int = 0  # the step it was taken after, 0: none
    folded: int = 0  # steps after it
    seconds: dict[str, float] = field(default_factory=dict)


def open_process(data_dir: DataDir, account: str = "", *, state: Path | None = None) -> Opened:
    """Take the lease first, then look at anything else; `account` is empty for paper.

    SQLite's check of the whole journal goes on when this returns; `recover` waits for it.
    From here on what the process writes is its user's alone, and a crash of it writes no memory to disk.

    Raises:
        DataError: the data directory can't be used.
        LeaseHeldError: another process runs here, or trades the account.
        LogError: the journal is damaged, incomplete, newer or another program's.
    """
    os.umask(0o077)
    no_core_dumps()
    data_dir.create()
    crash_point("recovery.begun")
    with ExitStack() as undo:
        lease = Lease.take(data_dir, account, now_ns=SystemClock().wall_ns(), state=state)
        undo.callback(lease.release)
        crash_point("recovery.leased")
        latch_file = LatchFile(data_dir.latch)
        latch = latch_file.read()
        crash_point("recovery.latch_read")
        journal = Journal.open(data_dir.journal, check=False)
        check = _in_thread(partial(_check, data_dir.journal))
        crash_point("recovery.journal_open")
        undo.pop_all()
    return Opened(data_dir, lease, latch_file, latch, journal, check)


def _check(path: Path) -> None:
    with Journal.read(path) as journal:
        journal.check()


def _in_thread(work: Callable[[], None]) -> Future[None]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="check")
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def recover(
    make_engine: Callable[[], Engine],
    opened: Opened,
    started: Started,
    listings: Sequence[Listed],
    *,
    clock: Clock,
    log: Log,
) -> Recovered:
    """Fold the journal into a new engine, and say what its first step must take in.

    `make_engine` makes one without a market (a second one where a snapshot can't be read, for that one is
    spoilt). Just before that step `begin` ends the recovery.

    `listings` are the markets to trade; their own row numbers do not count. The inputs are the latch, if it
    is set, `Started`, and `Listed` of each market that the journal does not know.

    Raises:
        DataError: the journal is that of another kind of account: paper, demo and real money never mix.
        LogError: a step can't be read, or the check of the whole journal found damage.
    """
    found = Recovered(make_engine())
    with _timed(found, "snapshot", clock):
        _load_snapshot(make_engine, opened.journal, found, log)
    engine = found.engine
    crash_point("recovery.snapshot_loaded")
    with _timed(found, "fold", clock):
        for step in opened.journal.steps(after=found.snapshot):
            engine.fold(step)
            found.folded += 1
    with _timed(found, "check", clock):
        opened.check.result()
    if engine.started is not None and kind_of(engine.started.account) != kind_of(started.account):
        before, now = engine.started.account, started.account
        what = f"is the data directory of the account {before!r}, not of {now!r}"
        raise DataError(f"{what}; name another one with --data-dir", file=opened.data_dir.path)
    crash_point("recovery.folded")
    fresh, found.rows = numbered(engine.listings, tuple(listings))
    latched: tuple[Control, ...] = ()
    if opened.latch is not None:
        latched = (Latched(reason=opened.latch.reason, text=opened.latch.text),)
    found.inputs = (*latched, started, *fresh)
    log.info(
        "recovered",
        step=engine.number,
        snapshot=found.snapshot,
        folded=found.folded,
        latched=opened.latch is not None,
        **{f"{name}_s": round(seconds, 4) for name, seconds in found.seconds.items()},
    )
    return found


def kind_of(account: str) -> str:
    """Of which money an account is: "paper" with its data, "exchange", or each venue and its environment.

    Another key of the same environment is the same kind.
    """
    return joint_account(map(_kind_of_one, accounts_of(account)))


def _kind_of_one(account: str) -> str:
    words = account.split()
    counted = {"paper": 3, "exchange": 1}.get(words[0] if words else "", 2)
    return " ".join(words[:counted])


def begin(engine: Engine, now_ns: int) -> None:
    """The first step comes at `now_ns`: let an engine that folded a journal take up what it knows.

    The time of that step is all that it depends on, so that the run can be replayed from its journal.
    """
    if engine.number:
        engine.recovered(now_ns)
    crash_point("recovery.recovered")


def _load_snapshot(make_engine: Callable[[], Engine], journal: Journal, found: Recovered, log: Log) -> None:
    """Take over the youngest snapshot; one of another version is passed over: the journal has it all."""
    snapshot = journal.latest_snapshot()
    for defect in journal.snapshots.defects:
        log.warning("snapshot passed over", why=defect)
    if snapshot is None:
        return
    try:
        found.engine.load(snapshot.blob)
    except Pr3dictError as error:
        log.warning("snapshot passed over", why=str(error))
        found.engine = make_engine()
    else:
        found.snapshot = snapshot.number


@contextmanager
def _timed(found: Recovered, phase: str, clock: Clock) -> Iterator[None]:
    began_ns = clock.monotonic_ns()
    yield
    found.seconds[phase] = (clock.monotonic_ns() - began_ns) / 1e9
