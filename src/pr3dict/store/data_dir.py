"""The folder of one trading process: journal, tapes, latch, lease, mailbox and logs, private to its user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import platformdirs

from pr3dict.domain.errors import DataError
from pr3dict.store.files import write_whole

FOLDERS: Final = ("snapshots", "tapes", "mailbox", "logs")
OURS: Final = ("control.db", "lease.lock", *FOLDERS)
NETWORK: Final = ("9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs")


def default_path() -> Path:
    """The platform's folder for a user's data, such as ~/.local/share/pr3dict."""
    return Path(platformdirs.user_data_dir("pr3dict", appauthor=False))


def state_path() -> Path:
    """The platform's folder for a user's state: what is shared by all data directories of a user."""
    return Path(platformdirs.user_state_dir("pr3dict", appauthor=False))


@dataclass(frozen=True, slots=True)
class DataDir:
    """Names of everything in a data directory; nothing is touched before `create` or `existing`."""

    path: Path

    @classmethod
    def of(cls, path: str | Path | None = None) -> Self:
        """The directory that `--data-dir` names, or the default one."""
        return cls(default_path() if path is None else Path(path).expanduser())

    @property
    def journal(self) -> Path:
        """The control events: `store.journal`."""
        return self.path / "control.db"

    @property
    def tapes(self) -> Path:
        """Recorded market data, a folder a run: `store.recorder`."""
        return self.path / "tapes"

    @property
    def latch(self) -> Path:
        """There is this file: nothing new may be sent. `store.latch`."""
        return self.path / "latch.json"

    @property
    def lease(self) -> Path:
        """Held by the one process that runs here: `store.lease`."""
        return self.path / "lease.lock"

    @property
    def mailbox(self) -> Path:
        """Operators' commands and their answers: `store.mailbox`."""
        return self.path / "mailbox"

    @property
    def status(self) -> Path:
        """What the process last said of itself."""
        return self.path / "status.json"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.path / "logs"

    def create(self) -> Self:
        """Make what is missing, private to this user (0700), and prove that it can be written.

        Raises:
            DataError: the path is a file, can't be written, holds other things, belongs to another user, or
                lies on a network drive (a journal is not safe there).
        """
        try:
            is_new = self._check()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)
            for name in FOLDERS:
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
            if is_new:
                _check_drive(self.path)
            write_whole(self.path / "logs" / ".writable", b"")
            (self.path / "logs" / ".writable").unlink()
        except OSError as error:
            what = f"can't be written ({error.strerror or error})"
            raise DataError(f"{what}; name another folder with --data-dir", file=self.path) from error
        return self

    def existing(self) -> Self:
        """This directory, if a process has ever run here.

        Raises:
            DataError: it is missing, no folder, not readable or empty.
        """
        advice = "start `pr3dict paper`, or name the process's folder with --data-dir"
        if not self.path.exists():
            raise DataError(f"no such data directory; {advice}", file=self.path)
        if not self.path.is_dir():
            raise DataError(f"a file, no data directory; {advice}", file=self.path)
        try:
            is_used = self.journal.exists()
        except OSError as error:
            raise DataError(f"can't be read ({error.strerror or error}); {advice}", file=self.path) from error
        if not is_used:
            raise DataError(f"no process has run here yet; {advice}", file=self.path)
        return self

    def _check(self) -> bool:
        """Whether the directory is new here; refuses one that is not ours to use."""
        if not self.path.exists():
            return True
        if not self.path.is_dir():
            raise DataError("a file, no folder; name another folder with --data-dir", file=self.path)
        if self.path.stat().st_uid != os.getuid():
            raise DataError("belongs to another user; name another folder with --data-dir", file=self.path)
        entries = {entry.name for entry in self.path.iterdir()}
        if entries and not entries & set(OURS):
            what = "holds other things and no journal"
            raise DataError(f"{what}; name a new or empty folder with --data-dir", file=self.path)
        return True


def _check_drive(path: Path) -> None:
    kind = drive_kind(path)
    if kind in NETWORK:
        what = f"lies on a network drive ({kind}), where a journal may lose what it confirmed"
        raise DataError(f"{what}; name a folder on a local disk with --data-dir", file=path)


def drive_kind(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that `path` lies on; empty where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = path.resolve()
    best, kind = -1, ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = Path(words[1].replace("\\040", " "))
        depth = len(point.parts)
        if depth >= best and (place == point or point in place.parents):
            best, kind = depth, words[2]
    return kind
