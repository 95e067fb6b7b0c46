"""One process a data directory, and one an account: locks that the system drops when their process dies.

The account's lock lies in a folder of the user, so two processes with different data directories can't trade
one account from one machine. A lock's file names its holder, for the sentence that refuses the second.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import msgspec

from pr3dict.domain.errors import WorkError
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir, state_path

JOINT: Final = " + "  # between the accounts of one process
TRIES: Final = 5
TRY_AGAIN_S: Final = 0.02


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lease."""

    pid: int
    host: str
    started_ns: int
    account: str
    data_dir: str


class LeaseHeldError(WorkError):
    """Another process runs here, or trades this account. `holder` is None where it has not said who it is."""

    def __init__(self, message: str, holder: Holder | None) -> None:
        super().__init__(message)
        self.holder = holder


class LeaseLostError(WorkError):
    """The file of a held lease was removed or replaced: another process may have taken it."""


class Lease:
    """Both locks of a running process; made by `take`, given back by `release` or by its death."""

    def __init__(self, locks: list[tuple[Path, int]]) -> None:
        self._locks = locks

    @classmethod
    def take(cls, data_dir: DataDir, account: str = "", *, now_ns: int, state: Path | None = None) -> Self:
        """Take the data directory, and each account that is named (`joint_account`); paper needs no name.

        `now_ns` is what a refused process is told. `state`: the folder of account locks, by default the
        user's.

        Raises:
            LeaseHeldError: names the process that holds one of them.
            WorkError: a lock's file can't be made.
        """
        holder = Holder(
            pid=os.getpid(),
            host=socket.gethostname(),
            started_ns=now_ns,
            account=account,
            data_dir=str(data_dir.path.resolve()),
        )
        lease = cls([])
        with ExitStack() as undo:
            undo.callback(lease.release)
            lease.add(data_dir.lease, holder, f"the data directory {data_dir.path}")
            for one in accounts_of(account):
                lease.add(account_path(one, state), holder, f"the account {one}")
            undo.pop_all()
        return lease

    def renew(self) -> None:
        """Make sure that the locks still are what another process would find; call it every few seconds.

        Raises:
            LeaseLostError: a lock's file is gone or another one.
        """
        crash_point("lease.renew")
        for path, handle in self._locks:
            mine = os.fstat(handle)
            try:
                found = path.stat()
            except OSError as error:
                raise LeaseLostError(
                    f"{path}: the lease's file is gone ({error}); end this process"
                ) from error
            if (found.st_ino, found.st_dev) != (mine.st_ino, mine.st_dev):
                raise LeaseLostError(f"{path}: the lease's file was replaced; end this process")
            os.utime(handle)

    def release(self) -> None:
        """Give both back; a second call does nothing."""
        while self._locks:
            _, handle = self._locks.pop()
            os.close(handle)  # drops the lock; the file stays, so that nobody locks a removed one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def add(self, path: Path, holder: Holder, what: str) -> None:
        """Lock one more file; raises as `take`."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorkError(f"{path}: the lease can't be taken ({error}); check the folder") from error
        if not _lock_soon(handle, path):
            os.close(handle)
            other = _read_holder(path)
            raise LeaseHeldError(_sentence(what, other), other)
        self._locks.append((path, handle))
        crash_point("lease.locked")
        os.ftruncate(handle, 0)
        os.pwrite(handle, msgspec.json.encode(holder), 0)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock in `path` now; None: nobody.

    Raises:
        WorkError: the file can't be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorkError(f"{path}: can't be read ({error}); check its rights") from error
    try:
        if _try_lock(handle, path, shared=True):
            return None
    finally:
        os.close(handle)
    unknown = Holder(pid=0, host="", started_ns=0, account="", data_dir="")
    return _read_holder(path) or unknown


def joint_account(accounts: Iterable[str]) -> str:
    """The name of several accounts that one process trades; that of one is its own."""
    return JOINT.join(sorted(accounts))


def accounts_of(account: str) -> list[str]:
    """Each account of a name; none of an empty one."""
    return account.split(JOINT) if account else []


def account_path(account: str, state: Path | None = None) -> Path:
    """The lock of an account: its name is hashed, so it shows in no folder."""
    folder = (state_path() if state is None else state) / "accounts"
    return folder / f"{hashlib.sha256(account.encode()).hexdigest()}.lock"


def _lock_soon(handle: int, path: Path) -> bool:
    """Try a few times: `holder_of` holds a lock for an instant."""
    for _ in range(TRIES):
        if _try_lock(handle, path):
            return True
        time.sleep(TRY_AGAIN_S)
    return False


def _try_lock(handle: int, path: Path, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise WorkError(f"{path}: this file system has no locks ({error}); name a local folder") from error
    return True


def _read_holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):  # it has the lock and has not yet written who it is
        return None


def _sentence(what: str, holder: Holder | None) -> str:
    if holder is None:
        return f"{what} is in use by a process that is just starting; try again or name another"
    where = f"process {holder.pid} on {holder.host}, with data in {holder.data_dir}"
    return f"{what} is in use by {where}; end it first (`pr3dict halt` stops its trading)"
