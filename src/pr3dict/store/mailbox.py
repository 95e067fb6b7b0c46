"""Operators' commands to a running process, as files: one command posts them, the process takes and answers.

A command stays in its file until it is answered, so a crash in between loses none: the next process takes it
again, under the same id. What can't be read is set aside, answered with a refusal and reported.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import Flatten, Halt, KeepPairs, PauseMarket, Resume
from pr3dict.store.crash_points import crash_point
from pr3dict.store.files import write_whole

Operator = Halt | Resume | PauseMarket | Flatten | KeepPairs

ANSWERS_KEPT: Final = 200
POLL_S: Final = 0.02
_SUFFIX: Final = ".json"
_posted = itertools.count()
_decode = msgspec.json.Decoder(Operator).decode


class MailAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says to a command."""

    command_id: str
    ok: bool
    text: str


class Mailbox:
    """The mailbox of one data directory (`DataDir.mailbox`); one process takes, any number post.

    Attributes:
        defects: a sentence for each file that was set aside.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.defects: list[str] = []
        self._posts = self.folder / "posts"
        self._answers = self.folder / "answers"
        self._aside = self.folder / "aside"
        self._taken: set[str] = set()
        for path in (self.folder, self._posts, self._answers, self._aside):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- who commands -----------------------------------------------------------------------------

    def post(self, command: Operator) -> str:
        """Hand in a command, on the disk when this returns; its `command_id` is set here and returned.

        Ids rise in the order of posts, without a clock.

        Raises:
            WorkError: the disk refused.
        """
        number = 1 + max(self._numbers(), default=0)
        command_id = f"{number:012d}-{os.getpid()}-{next(_posted)}"
        signed = msgspec.structs.replace(command, command_id=command_id)
        try:
            crash_point("mailbox.post")
            write_whole(self._posts / f"{command_id}{_SUFFIX}", msgspec.json.encode(signed))
        except OSError as error:
            raise WorkError(f"{self.folder}: the command can't be posted ({error})") from error
        return command_id

    def wait_for_answer(self, command_id: str, timeout_s: float) -> MailAnswer | None:
        """The answer to a command; None where none came in time: the command still stands."""
        end_s = time.monotonic() + timeout_s
        path = self._answers / f"{command_id}{_SUFFIX}"
        while True:
            with suppress(FileNotFoundError):
                return msgspec.json.decode(path.read_bytes(), type=MailAnswer)
            if time.monotonic() >= end_s:
                return None
            time.sleep(POLL_S)

    # --- who obeys --------------------------------------------------------------------------------

    def take(self) -> tuple[Operator, ...]:
        """The commands that this process has not taken yet, in the order of their posts.

        One is handed out once a process; it is answered with `answer`. Cheap where there are none.
        """
        names = sorted(entry.name for entry in os.scandir(self._posts) if entry.name.endswith(_SUFFIX))
        commands: list[Operator] = []
        for name in names:
            command_id = name.removesuffix(_SUFFIX)
            if name.startswith(".") or command_id in self._taken:
                continue
            command = self._read(self._posts / name, command_id)
            if command is not None:
                self._taken.add(command_id)
                commands.append(command)
        return tuple(commands)

    def answer(self, command_id: str, ok: bool, text: str) -> None:
        """Answer a command and remove it; a second answer replaces the first.

        Raises:
            WorkError: the disk refused; the command stands and is taken again after a restart.
        """
        try:
            reply = msgspec.json.encode(MailAnswer(command_id=command_id, ok=ok, text=text))
            write_whole(self._answers / f"{command_id}{_SUFFIX}", reply)
            crash_point("mailbox.answered")
            (self._posts / f"{command_id}{_SUFFIX}").unlink(missing_ok=True)
            self._taken.discard(command_id)
            for old in sorted(self._answers.glob(f"*{_SUFFIX}"))[:-ANSWERS_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise WorkError(f"{self.folder}: command {command_id} can't be answered ({error})") from error

    def _read(self, path: Path, command_id: str) -> Operator | None:
        try:
            command: Operator = _decode(path.read_bytes())
        except OSError as error:  # tried again with the next look
            self._report(f"{path}: a command can't be read ({error.strerror or error})")
            return None
        except msgspec.MsgspecError as error:
            kept = self._aside / path.name
            self._report(f"{kept}: a command was not understood and set aside ({error})")
            path.replace(kept)
            self.answer(command_id, ok=False, text=f"the command was not understood ({error})")
            return None
        return msgspec.structs.replace(command, command_id=command_id)

    def _report(self, sentence: str) -> None:
        if sentence not in self.defects:
            self.defects.append(sentence)

    def _numbers(self) -> Iterator[int]:
        for folder in (self._posts, self._answers, self._aside):
            for entry in os.scandir(folder):
                number = entry.name.partition("-")[0]
                if number.isascii() and number.isdigit():
                    yield int(number)
