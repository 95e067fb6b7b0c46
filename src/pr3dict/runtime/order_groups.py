"""The order groups that a data directory made at Kalshi and has not seen deleted: a small private file.

A process that dies leaves its groups behind, and an account may have only so many. The next process of the
data directory deletes exactly those that stand here, so no group of anybody else is ever touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.store.files import write_whole

NAME: Final = "order_groups.json"


class KnownGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One group: Kalshi's id of it, the shard it is on, and whose orders it holds."""

    id: str
    shard: int
    subaccount: int


class GroupFile:
    """The groups of one data directory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def read(self) -> tuple[KnownGroup, ...]:
        """All that stand in it; none without a file.

        Raises:
            DataError: it can't be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[KnownGroup, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            what = f"can't be read ({error}); remove it, and its order groups stay at Kalshi unused"
            raise DataError(what, file=self.path) from error

    def write(self, groups: tuple[KnownGroup, ...]) -> None:
        """Keep these, on the disk when this returns.

        Raises:
            WorkError: the disk refused.
        """
        if groups == self.read():
            return
        try:
            write_whole(self.path, msgspec.json.encode(groups))
        except OSError as error:
            raise WorkError(f"{self.path}: the order groups can't be kept ({error})") from error
