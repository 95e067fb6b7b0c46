"""The journal: every step of the engine but market data, in one SQLite file, written before it is acted on.

One row an event or command, one transaction an append, on the disk when `append` returns (WAL, synchronous
FULL). Steps are numbered without gaps and each carries a hash over itself and the hash before it, so what is
missing or altered shows. A small file beside it, the mark, names the last durable step: a journal that lost
its end, or an old copy put in its place, is refused.

Readers open the same file read-only and read pages of steps, each in a transaction of its own: they never
hold up the writer.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from pr3dict.domain.commands import Action
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control
from pr3dict.domain.steps import Quoted, Step
from pr3dict.store.crash_points import crash_point
from pr3dict.store.files import sync_folder
from pr3dict.store.journal_schema import (
    SCHEMA_VERSION,
    Kind,
    LogError,
    connect,
    log_error,
    prepare,
    quick_defect,
    transaction,
    version_of,
)
from pr3dict.store.mark import Mark, MarkWriter, read_mark
from pr3dict.store.snapshots import Snapshot, Snapshots

__all__ = ["Journal", "LogError", "Snapshot", "control_hash"]

CHAIN_START: Final = bytes(32)
PAGE_STEPS: Final = 2_000
MARK_SUFFIX: Final = ".mark"
SOURCES: Final = ("input", "derived", "command")

_encode_body = msgspec.json.Encoder().encode
_encode_link = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.json.Decoder(Control).decode
_decode_command = msgspec.json.Decoder(Action).decode


class Columns(NamedTuple):
    """What a row of `events` says beside its body, so that SQL finds it."""

    source: str
    kind: str
    market: int | None
    order_id: int | None
    trade_id: str | None
    body: str


class Stored(NamedTuple):
    """A step as the tables hold it; `quotes` are (market, row)."""

    number: int
    now_ns: int
    rows: int
    chain: bytes
    events: tuple[Columns, ...]
    quotes: tuple[tuple[int, bytes], ...]


def control_hash(account: bytes) -> str:
    """The hash that `note_checkpoint` keeps of an encoded account (`engine.account.Account.encode`)."""
    return hashlib.sha256(account).hexdigest()


def columns_of(source: str, item: Any) -> Columns:
    """The row of an event or command."""
    return Columns(
        source,
        item.__struct_config__.tag,
        getattr(item, "market", None),
        getattr(item, "order_id", None),
        getattr(item, "trade_id", None),
        _encode_body(item).decode(),
    )


def link(before: bytes, stored: Stored) -> bytes:
    """The chain after a step: SHA-256 over the chain before it and all else that is stored of it."""
    whole = (before, *stored[:3], stored.events, stored.quotes)
    return hashlib.sha256(_encode_link(whole)).digest()


def store_step(before: bytes, step: Step) -> Stored:
    """A step as rows, with the chain that follows `before`."""
    parts = zip(SOURCES, (step.inputs, step.derived, step.commands), strict=True)
    events = tuple(columns_of(source, item) for source, items in parts for item in items)
    quotes = tuple((quote.market, quote.row) for quote in step.quotes)
    stored = Stored(step.number, step.now_ns, step.rows, b"", events, quotes)
    return stored._replace(chain=link(before, stored))


def load_step(stored: Stored) -> Step:
    """The step of its rows; raises `msgspec.MsgspecError` where a body is not what its source holds."""
    inputs: list[Control] = []
    derived: list[Control] = []
    commands: list[Action] = []
    for columns in stored.events:
        if columns[0] == "input":
            inputs.append(_decode_event(columns[5]))
        elif columns[0] == "derived":
            derived.append(_decode_event(columns[5]))
        else:
            commands.append(_decode_command(columns[5]))
    return Step(
        number=stored.number,
        now_ns=stored.now_ns,
        inputs=tuple(inputs),
        derived=tuple(derived),
        commands=tuple(commands),
        quotes=tuple([Quoted(market, row) for market, row in stored.quotes]),
        rows=stored.rows,
    )


class Journal:
    """One data directory's steps; implements `engine.ports.Log`.

    Made by `open` (the one writer) or `read` (a reader). The writer may be called from several threads: calls
    wait for each other. After a failed write the file is closed; whether its steps were kept is unknown until
    the journal is opened again, so they count as written and never sent.

    Attributes:
        path: the file.
        last_number: number of the last step, 0 for none; a reader's is that of its last `refresh`.
        last_ns: time of the last step, 0 for none.
        snapshots: the folder of snapshots beside the file.
    """

    def __init__(self, path: str | Path, *, read_only: bool, create: bool, check: bool) -> None:
        self.path = Path(path)
        self.snapshots = Snapshots(self.path.parent / "snapshots")
        self.last_number = 0
        self.last_ns = 0
        self._chain = CHAIN_START
        self._read_only = read_only
        self._lock = threading.Lock()
        self._mark: MarkWriter | None = None
        self._connection: sqlite3.Connection | None = None
        if create and not self.path.exists():
            _make_file(self.path)
        if not self.path.is_file():
            raise LogError(f"{self.path}: no such journal; name another data directory", kind="missing")
        try:
            self._connection = connect(self.path, read_only=read_only)
            if read_only:
                self._recognize()
            else:
                self._prepare(check=check)
        except sqlite3.Error as error:
            raise log_error(self.path, error) from error
        except LogError:
            self._drop()
            raise

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True, check: bool = True) -> Self:
        """The journal of one writer; a new one where there is none and `create`.

        `check` runs SQLite's quick check over the whole file.

        Raises:
            LogError: the file is missing, damaged, another program's, a newer version's, held by another
                writer, or lacks steps that were durable.
        """
        return cls(path, read_only=False, create=create, check=check)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A reader: never writes, never holds up the writer, may be opened while it runs.

        Raises:
            LogError: as `open`; also where the tables are older than this version's.
        """
        return cls(path, read_only=True, create=False, check=False)

    def _prepare(self, *, check: bool) -> None:
        crash_point("journal.open")
        with self._guarded() as connection:
            prepare(connection, self.path)
        crash_point("journal.prepared")
        if check:
            self.check()
        self.refresh()
        self._refuse(self.mark_defect())
        self._mark = MarkWriter(self.path.with_suffix(MARK_SUFFIX))

    def check(self) -> None:
        """Run SQLite's quick check over the whole file.

        Raises:
            LogError: "corrupt" says what it found.
        """
        self._refuse(self.quick_defect())

    def _refuse(self, defect: str | None) -> None:
        if defect:
            files = f"{self.path.name}-wal or a copy of the whole folder"
            advice = f"put back {files}, or name another data directory"
            raise LogError(f"{self.path}: {defect}; {advice}", kind="corrupt")

    def _recognize(self) -> None:
        with self._guarded() as connection:
            version = version_of(connection, self.path)
        if version < SCHEMA_VERSION:
            what = f"made by an older version of pr3dict (tables {version})" if version else "empty"
            advice = "a process that writes it brings it up to date"
            raise LogError(f"{self.path}: {what}; {advice}", kind="version")
        self.refresh()

    def refresh(self) -> None:
        """Learn the last step from the file: a reader sees what was written since."""
        with self._guarded() as connection:
            found = connection.execute(
                "SELECT number, now_ns, chain FROM steps ORDER BY number DESC LIMIT 1"
            ).fetchone()
        if found is not None:
            self.last_number, self.last_ns, self._chain = found

    def mark_defect(self) -> str | None:
        """What the mark says against this journal; None: nothing, or there is no mark."""
        mark = read_mark(self.path.with_suffix(MARK_SUFFIX))
        if mark is None:
            return None
        if mark.number > self.last_number:
            self.refresh()  # it may have been written since we looked
        if mark.number > self.last_number:
            return f"ends with step {self.last_number}, but step {mark.number} was durable"
        if self.chain_at(mark.number) != mark.chain:
            return f"holds another step {mark.number} than the one that was durable"
        return None

    def close(self) -> None:
        """Give the file back, everything in the main file; a second call does nothing."""
        with self._lock:
            if self._connection is not None and not self._read_only:
                with suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        if self._mark is not None:
            self._mark.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- write ------------------------------------------------------------------------------------

    def append(self, steps: Sequence[Step]) -> None:
        """Write steps in one transaction: durable when this returns, all of them or none.

        Raises:
            LogError: `kind` "order": a number is not the last plus 1, or time went back, and nothing changed;
                any other kind: the write failed and the journal is closed.
        """
        if not steps:
            return
        crash_point("journal.append")
        with self._lock:
            stored = self._chained(steps)
            with self._writing() as connection:
                crash_point("journal.begun")
                _insert(connection, stored)
                crash_point("journal.inserted")
            crash_point("journal.committed")
            last = stored[-1]
            self.last_number, self.last_ns, self._chain = last.number, last.now_ns, last.chain
            if self._mark is not None:
                self._mark.write(Mark(last.number, last.chain))

    def _chained(self, steps: Sequence[Step]) -> list[Stored]:
        stored = []
        number, now_ns, chain = self.last_number, self.last_ns, self._chain
        for step in steps:
            if step.number != number + 1:
                raise LogError(f"{self.path}: step {step.number} can't follow step {number}", kind="order")
            if step.now_ns < now_ns:
                raise LogError(f"{self.path}: step {step.number} goes back in time", kind="order")
            row = store_step(chain, step)
            number, now_ns, chain = step.number, step.now_ns, row.chain
            stored.append(row)
        return stored

    def note_checkpoint(self, number: int, state_hash: str) -> None:
        """Keep the hash of the control state after step `number` (`control_hash`), for `journal verify`.

        Raises:
            LogError: as `append`; "order" where there is no such step, or another hash was kept.
        """
        self._known(number)
        with self._lock, self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?)", (number, state_hash))
            query = "SELECT state_hash FROM checkpoints WHERE number = ?"
            if connection.execute(query, (number,)).fetchone()[0] != state_hash:
                what = f"another hash was kept of the state after step {number}"
                raise LogError(f"{self.path}: {what}; run `pr3dict journal verify`", kind="order")

    def save_snapshot(self, number: int, blob: bytes) -> None:
        """Keep the state after step `number` beside the journal, on the disk when this returns.

        The last three are kept. A failure harms nothing but the speed of the next start.

        Raises:
            LogError: there is no such step ("order"), or the disk refused ("full", "io").
        """
        self._known(number)
        try:
            self.snapshots.save(Snapshot(number, self.chain_at(number), blob))
        except OSError as error:
            kind: Kind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
            raise LogError(f"{self.snapshots.folder}: no snapshot written ({error})", kind=kind) from error

    def _known(self, number: int) -> None:
        if not 1 <= number <= self.last_number:
            raise LogError(f"{self.path}: there is no step {number} yet", kind="order")

    def checkpoint(self) -> None:
        """Move what was written into the main file: slower than an append, so for idle moments."""
        with self._lock, self._guarded(close=True) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # --- read -------------------------------------------------------------------------------------

    def steps(self, after: int = 0) -> Iterator[Step]:
        """The steps with a number above `after`, in order, each proved by its hash.

        Raises:
            LogError: "corrupt" names the step that is missing, was altered or can't be read.
        """
        number, chain = after, self.chain_at(after) if after else CHAIN_START
        for stored in self.stored(after):
            number += 1
            if stored.number != number:
                raise self._unreadable(number, "is missing")
            if stored.chain != link(chain, stored):
                raise self._unreadable(number, "was altered")
            chain = stored.chain
            try:
                yield load_step(stored)
            except (msgspec.MsgspecError, DataError) as error:
                raise self._unreadable(number, f"can't be read ({error})") from error

    def _unreadable(self, number: int, what: str) -> LogError:
        return LogError(f"{self.path}: step {number} {what}; run `pr3dict journal verify`", kind="corrupt")

    def stored(self, after: int = 0) -> Iterator[Stored]:
        """As `steps`, not decoded. Pages are read whole, so nothing is held while the caller works."""
        while True:
            with self._lock, self._guarded() as connection, transaction(connection, "DEFERRED"):
                page = _page(connection, after)
            yield from page
            if len(page) < PAGE_STEPS:
                return
            after = page[-1].number

    def inputs(self, kinds: Sequence[str], after: int = 0) -> list[Control]:
        """The inputs of these kinds in the steps after `after`, in order; nothing else is read.

        Raises:
            LogError: one of them can't be read.
        """
        marks = ", ".join("?" * len(kinds))
        with self._lock, self._guarded() as connection:
            found = connection.execute(
                "SELECT body FROM events WHERE step > ? AND source = 'input'"  # noqa: S608 - marks only
                f" AND kind IN ({marks}) ORDER BY step, position",
                (after, *kinds),
            ).fetchall()
        try:
            return [_decode_event(body) for (body,) in found]
        except (msgspec.MsgspecError, DataError) as error:
            raise LogError(f"{self.path}: an event can't be read ({error})", kind="corrupt") from error

    def chain_at(self, number: int) -> bytes:
        """The chain after step `number`; empty where there is no such step."""
        with self._guarded() as connection:
            found = connection.execute("SELECT chain FROM steps WHERE number = ?", (number,)).fetchone()
        return bytes(found[0]) if found else b""

    def checkpoints(self) -> dict[int, str]:
        """The hashes that were noted, by step."""
        with self._guarded() as connection:
            return dict(connection.execute("SELECT number, state_hash FROM checkpoints ORDER BY number"))

    def latest_snapshot(self) -> Snapshot | None:
        """The youngest snapshot that is whole and of this journal's own past; None: fold from the start.

        What is wrong with those passed over stands in `snapshots.defects`.
        """
        for snapshot in self.snapshots.whole():
            if self.chain_at(snapshot.number) == snapshot.chain:
                return snapshot
            self.snapshots.defects.append(f"snapshot {snapshot.number} is not of this journal; passed over")
        return None

    def quick_defect(self) -> str | None:
        """The first thing that SQLite's quick check finds; reads the whole file."""
        with self._guarded() as connection:
            return quick_defect(connection, self.path)

    def integrity_defect(self) -> str | None:
        """The first thing that SQLite's full integrity check finds; reads the whole file."""
        with self._guarded() as connection:
            found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return None if found == "ok" else found

    # --- the connection ---------------------------------------------------------------------------

    @contextmanager
    def _guarded(self, *, close: bool = False) -> Iterator[sqlite3.Connection]:
        """Errors of SQLite as `LogError`; with `close` one closes the journal."""
        if self._connection is None:
            raise LogError(f"{self.path}: the journal is closed; open it again", kind="closed")
        try:
            yield self._connection
        except sqlite3.Error as error:
            if close:
                self._drop()
            raise log_error(self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is durable at the end."""
        if self._read_only:
            raise LogError(f"{self.path}: was opened to read only", kind="read_only")
        with self._guarded(close=True) as connection, transaction(connection, "IMMEDIATE"):
            yield connection


def _make_file(path: Path) -> None:
    """An empty private file whose name survives a power loss; SQLite gives its helpers the same rights."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
    except OSError as error:
        kind: Kind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
        raise LogError(f"{path}: can't be made ({error.strerror or error})", kind=kind) from error


def _insert(connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
    connection.executemany(
        "INSERT INTO steps (number, now_ns, rows, chain) VALUES (?, ?, ?, ?)",
        [step[:4] for step in stored],
    )
    events = [
        (step.number, position, *columns) for step in stored for position, columns in enumerate(step.events)
    ]
    if events:
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", events)
    quotes = [
        (step.number, position, *quote) for step in stored for position, quote in enumerate(step.quotes)
    ]
    if quotes:
        connection.executemany("INSERT INTO quotes VALUES (?, ?, ?, ?)", quotes)


def _page(connection: sqlite3.Connection, after: int) -> list[Stored]:
    """Up to `PAGE_STEPS` steps after `after` with their rows."""
    heads = connection.execute(
        "SELECT number, now_ns, rows, chain FROM steps WHERE number > ? ORDER BY number LIMIT ?",
        (after, PAGE_STEPS),
    ).fetchall()
    if not heads:
        return []
    span = (after, heads[-1][0])
    events: dict[int, list[Columns]] = {}
    for number, *columns in connection.execute(
        "SELECT step, source, kind, market, order_id, trade_id, body FROM events"
        " WHERE step > ? AND step <= ? ORDER BY step, position",
        span,
    ):
        events.setdefault(number, []).append(Columns(*columns))
    quotes: dict[int, list[tuple[int, bytes]]] = {}
    for number, market, row in connection.execute(
        "SELECT step, market, row FROM quotes WHERE step > ? AND step <= ? ORDER BY step, position", span
    ):
        quotes.setdefault(number, []).append((market, row))
    return [
        Stored(*head, tuple(events.get(head[0], ())), tuple(quotes.get(head[0], ())))  # type: ignore[call-arg]
        for head in heads
    ]
