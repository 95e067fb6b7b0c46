"""The kill latch: a file whose being there means that nothing new may be sent, until a person clears it.

Setting and clearing survive a power loss. A latch that can't be read counts as set. Each time it is set or
cleared adds one line to the history beside it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.store.crash_points import crash_point
from pr3dict.store.files import sync_folder, write_whole

UNREADABLE: Final = "latch_unreadable"


class Latch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the latch is set: `reason` is a stable word (a breaker's name, "operator"), `text` a sentence."""

    reason: str
    text: str
    set_ns: int


class LatchEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history. `latch` is what was set, or what stood when it was cleared."""

    action: Literal["set", "cleared"]
    now_ns: int
    latch: Latch
    who: str = ""
    why: str = ""


class LatchFile:
    """The latch of one data directory (`DataDir.latch`)."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.history_path = self.path.with_name("latch_history.jsonl")

    def read(self) -> Latch | None:
        """What the latch says; None only when there surely is none."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return Latch(reason=UNREADABLE, text=f"the latch can't be read ({error})", set_ns=0)
        try:
            return msgspec.json.decode(content, type=Latch)
        except msgspec.MsgspecError as error:
            return Latch(reason=UNREADABLE, text=f"the latch is damaged ({error})", set_ns=0)

    def set(self, reason: str, text: str, now_ns: int) -> Latch:
        """Set the latch, on the disk when this returns; one that is set keeps its first reason.

        Returns what stands now.

        Raises:
            WorkError: the disk refused; the caller must stop sending all the same.
        """
        wanted = Latch(reason=reason, text=text, set_ns=now_ns)
        standing = self.read()
        try:
            if standing is None:
                crash_point("latch.write")
                write_whole(
                    self.path,
                    msgspec.json.encode(wanted),
                    before_rename=lambda: crash_point("latch.rename"),
                )
                crash_point("latch.written")
            self._note(LatchEntry(action="set", now_ns=now_ns, latch=wanted))
        except OSError as error:
            raise WorkError(f"{self.path}: the latch can't be written ({error}); end the process") from error
        return standing or wanted

    def clear(self, who: str, why: str, now_ns: int) -> Latch | None:
        """Remove the latch and return it; None: there was none.

        Raises:
            UsageError: nobody is named, or no reason.
            WorkError: the disk refused; the latch stands.
        """
        if not who.strip() or not why.strip():
            raise UsageError("the kill latch is cleared by a person with a reason: give both")
        standing = self.read()
        if standing is None:
            return None
        try:
            entry = LatchEntry(action="cleared", now_ns=now_ns, latch=standing, who=who, why=why)
            self._note(entry)
            crash_point("latch.clear")
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise WorkError(f"{self.path}: the latch can't be cleared ({error}); it stands") from error
        return standing

    def history(self) -> tuple[LatchEntry, ...]:
        """All lines of the history that can be read, oldest first."""
        try:
            lines = self.history_path.read_bytes().splitlines()
        except OSError:
            return ()
        entries = []
        for line in lines:
            try:
                entries.append(msgspec.json.decode(line, type=LatchEntry))
            except msgspec.MsgspecError:  # the torn last line of a crash
                continue
        return tuple(entries)

    def _note(self, entry: LatchEntry) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(self.history_path, flags, 0o600)
        try:
            os.write(handle, b"\n" * self._is_torn() + msgspec.json.encode(entry) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    def _is_torn(self) -> bool:
        """Whether a crash left a last line without its end."""
        content = self.history_path.read_bytes()
        return bool(content) and not content.endswith(b"\n")
