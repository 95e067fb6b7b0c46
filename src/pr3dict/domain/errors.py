"""Every error that the program raises on purpose, grouped by what the caller does about it.

    Pr3dictError            shown as one sentence, without a traceback; the process ends with `exit_code`
    +-- UsageError      2   change the command line
    +-- ConfigError     2   change a setting; the sentence names the key
    +-- DataError       2   repair or drop an input; the sentence names file, row or key
    +-- WorkError       1   nothing to change in the request: the work itself failed or broke a rule
    +-- RiskStop        3   a limit stopped trading; a person decides how to go on

Exit code 0 is success. A message is one clear sentence that says what was found, where, and what to do.
"""

from __future__ import annotations

from os import PathLike
from typing import ClassVar


class Pr3dictError(Exception):
    """Root of the tree: catch it at the outermost layer, print it, leave with `exit_code`."""

    exit_code: ClassVar[int] = 1


class UsageError(Pr3dictError):
    """The command line asks for something impossible."""

    exit_code: ClassVar[int] = 2


class ConfigError(Pr3dictError):
    """A setting is unknown, malformed or contradicts another.

    `key` is its dotted name; the sentence starts with it when given.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message if key is None else f"{key}: {message}")
        self.key = key


class DataError(Pr3dictError):
    """An input (file, message, number) is not what its format promises.

    `file`, `row` (counted from 1) and `key` say where; those given are put before the sentence.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | PathLike[str] | None = None,
        row: int | None = None,
        key: str | None = None,
    ) -> None:
        place = [str(file)] if file is not None else []
        place += [f"row {row}"] if row is not None else []
        place += [key] if key is not None else []
        super().__init__(": ".join([*place, message]))
        self.message = message
        self.file = file
        self.row = row
        self.key = key

    def at(
        self,
        *,
        file: str | PathLike[str] | None = None,
        row: int | None = None,
        key: str | None = None,
    ) -> DataError:
        """The same error with its place filled in by the layer that knows it; known parts are kept."""
        return DataError(
            self.message,
            file=self.file if self.file is not None else file,
            row=self.row if self.row is not None else row,
            key=self.key if self.key is not None else key,
        )


class WorkError(Pr3dictError):
    """The request was valid but the work failed, or a rule that must always hold was broken."""

    exit_code: ClassVar[int] = 1


class RiskStop(Pr3dictError):
    """A risk limit stopped trading."""

    exit_code: ClassVar[int] = 3
