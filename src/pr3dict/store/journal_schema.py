"""The tables of a journal, how an older one becomes the present one, and what is refused at the door.

`user_version` is the version of the tables. A change of them is one function in `MIGRATIONS`, run inside one
transaction: creating the tables is the first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from pr3dict.domain.errors import WorkError

APPLICATION_ID: Final = 0x50523344  # "PR3D"
SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_MS: Final = 5_000
CHECKPOINT_PAGES: Final = 8_000  # a backstop: the writer checkpoints when it is idle

Kind = Literal[
    "full", "io", "corrupt", "version", "foreign", "missing", "busy", "read_only", "order", "closed", "other"
]


class LogError(WorkError):
    """A journal could not be opened, read or written; `kind` says why in one word."""

    def __init__(self, message: str, *, kind: Kind) -> None:
        super().__init__(message)
        self.kind: Kind = kind


_KINDS: Final[dict[int, tuple[Kind, str]]] = {
    sqlite3.SQLITE_FULL: ("full", "the disk is full; free space and start again"),
    sqlite3.SQLITE_IOERR: ("io", "the disk refused to read or write; check the disk before the next start"),
    sqlite3.SQLITE_CORRUPT: ("corrupt", "the file is damaged; restore a copy or name another data directory"),
    sqlite3.SQLITE_NOTADB: ("foreign", "this is not a journal; name another data directory"),
    sqlite3.SQLITE_BUSY: ("busy", "another process holds the journal; end it first"),
    sqlite3.SQLITE_CONSTRAINT: ("busy", "another process has written to the journal; end it first"),
    sqlite3.SQLITE_READONLY: ("read_only", "the journal can't be written; check the rights of its folder"),
    sqlite3.SQLITE_CANTOPEN: ("io", "the file can't be opened; check its rights and its folder's"),
}


def log_error(path: Path, error: sqlite3.Error) -> LogError:
    """What SQLite said as one sentence and one word."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind, sentence = _KINDS.get(code, ("other", "SQLite refused; check the file"))
    if code == 0 and isinstance(error, sqlite3.DatabaseError):  # found by the module itself: not text, say
        kind, sentence = _KINDS[sqlite3.SQLITE_CORRUPT]
    return LogError(f"{path}: {sentence} ({error})", kind=kind)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection with the settings of a journal; raises `sqlite3.Error`."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, bring those of an old one up to date, set how it is written.

    Raises:
        LogError: the file is another program's, or a newer version's.
        sqlite3.Error: as SQLite gives it.
    """
    version = version_of(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    while version < SCHEMA_VERSION:
        with transaction(connection, "IMMEDIATE"):
            MIGRATIONS[version](connection)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, 0 for an empty file.

    Raises:
        LogError: the file is another program's, or a newer version's.
    """
    found = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if is_empty and found == 0 and version == 0:
        return 0
    if found != APPLICATION_ID or version < 1:
        raise LogError(f"{path}: a database of another program; name another data directory", kind="foreign")
    if version > SCHEMA_VERSION:
        what = f"made by a newer version of pr3dict (tables {version}, this one reads {SCHEMA_VERSION})"
        raise LogError(f"{path}: {what}; install that version", kind="version")
    return version


def _create(connection: sqlite3.Connection) -> None:
    """Version 1. A step's rows in `events` stand in order of `position`: inputs, derived, commands."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(
        "CREATE TABLE steps ("
        " number INTEGER PRIMARY KEY CHECK (number > 0),"
        " now_ns INTEGER NOT NULL,"
        " rows INTEGER NOT NULL,"
        " chain BLOB NOT NULL"  # SHA-256 over the chain of the step before and this step
        ") STRICT"
    )
    connection.execute(
        "CREATE TABLE events ("
        " step INTEGER NOT NULL REFERENCES steps (number),"
        " position INTEGER NOT NULL,"
        " source TEXT NOT NULL CHECK (source IN ('input', 'derived', 'command')),"
        " kind TEXT NOT NULL,"
        " market INTEGER,"
        " order_id INTEGER,"
        " trade_id TEXT,"
        " body TEXT NOT NULL,"  # JSON of the whole event or command
        " PRIMARY KEY (step, position)"
        ") STRICT, WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX events_order ON events (order_id, step) WHERE order_id > 0")
    connection.execute(
        "CREATE TABLE quotes ("
        " step INTEGER NOT NULL REFERENCES steps (number),"
        " position INTEGER NOT NULL,"
        " market INTEGER NOT NULL,"
        " row BLOB NOT NULL,"
        " PRIMARY KEY (step, position)"
        ") STRICT, WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX quotes_market ON quotes (market, step)")
    connection.execute(
        "CREATE TABLE checkpoints ("
        " number INTEGER PRIMARY KEY REFERENCES steps (number),"
        " state_hash TEXT NOT NULL"
        ") STRICT"
    )


MIGRATIONS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {0: _create}
"""From a version to the next."""


@contextmanager
def transaction(connection: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
    """Commits at the end, rolls back on any exception."""
    connection.execute(f"BEGIN {kind}")
    is_done = False
    try:
        yield
        connection.execute("COMMIT")
        is_done = True
    finally:
        if not is_done:
            with suppress(sqlite3.Error):  # SQLite rolls back by itself where the disk failed
                connection.execute("ROLLBACK")


def quick_defect(connection: sqlite3.Connection, path: Path) -> str | None:
    """The first thing that SQLite's quick check finds, or a cut page; raises `sqlite3.Error`."""
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        return f"is damaged ({found})"
    page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
    return "is cut off inside a page" if path.stat().st_size % page_bytes else None
