"""`pr3dict record`: live markets kept as tapes, with every hole marked."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pr3dict.domain.errors import DataError, UsageError, WorkError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.venue_follow import Followed, Follower
from pr3dict.runtime.venue_selection import AnyFound, Selection
from pr3dict.runtime.venue_watchers import watcher_of
from pr3dict.store.importers.recording import IMPORTER
from pr3dict.store.importers.run import WrittenTape, import_recordings
from pr3dict.store.recorder import Recorder
from pr3dict.venues.session import Clock

if TYPE_CHECKING:
    from pr3dict.runtime.kalshi_access import KalshiAccess
    from pr3dict.runtime.polymarket_access import PolymarketAccess


@dataclass(frozen=True, slots=True, eq=False)
class RecordSpec:
    """What to record and where to. `seconds` None: until somebody stops it."""

    access: KalshiAccess | PolymarketAccess
    selection: Selection
    out: Path
    seconds: float | None = None
    direct_member: bool = False
    on_found: Callable[[AnyFound], None] | None = None
    on_progress: Callable[[Followed], None] | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of it. `seconds` is time on the clock."""

    session: str
    out: Path
    seconds: float
    followed: Followed
    tapes: tuple[WrittenTape, ...]
    left_out: tuple[tuple[str, str], ...]


async def record(spec: RecordSpec, clock: Clock, stop: asyncio.Event) -> Recorded:
    """Record until `stop`, the time that was asked for, or the payout of every market; then make the tapes.

    Raises:
        UsageError: no market is left to record.
        DataError: the folder can't be made.
        WorkError: the venue can't be asked or followed, it was stopped before, or the disk refused; what was
            kept until then stays in the folder that the sentence names.
    """
    watcher = watcher_of(spec.access, clock, direct_member=spec.direct_member)
    try:
        found = await watcher.find(spec.selection)
        if not found.lives:
            raise UsageError(f"no market to record{_first_reason(found)}")
        if stop.is_set():
            raise WorkError("stopped before a market was followed; nothing was recorded")
        if spec.on_found is not None:
            spec.on_found(found)
        began_ns = clock.now_ns()
        session, folder = _place(spec, began_ns)
        with _keeping(folder) as tape:
            follower = Follower(watcher, clock, found.lives, tape, session)
            await follower.run(spec.seconds, stop, spec.on_progress)
    finally:
        await watcher.close()
    seconds = (clock.now_ns() - began_ns) / NS_PER_SECOND
    tapes = await asyncio.to_thread(_make_tapes, folder, spec.out)
    return Recorded(session, spec.out, seconds, follower.followed(), tapes, found.left_out)


def _first_reason(found: AnyFound) -> str:
    if not found.left_out:
        return ": none is open"
    ticker, why = found.left_out[0]
    more = len(found.left_out) - 1
    return f": {ticker} {why}" + (f" (and {more} more were left out)" if more else "")


def _place(spec: RecordSpec, now_ns: int) -> tuple[str, Path]:
    """The session's name and the folder of its rows; raises `DataError` where `out` can't be made."""
    at = datetime.fromtimestamp(now_ns // NS_PER_SECOND, UTC)
    stem = f"{spec.access.venue}-{spec.access.env}-{at:%Y%m%dT%H%M%SZ}"
    try:
        spec.out.mkdir(parents=True, exist_ok=True)
        names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
        for name in names:
            with suppress(FileExistsError):
                (spec.out / f"{name}.rows").mkdir()
                return name, spec.out / f"{name}.rows"
    except OSError as error:
        raise DataError(f"can't be written ({error.strerror or error})", file=spec.out) from error
    raise DataError("holds a thousand recordings of this second", file=spec.out)


@contextmanager
def _keeping(folder: Path) -> Iterator[Recorder]:
    """A recorder whose failures say where the rows are that were kept."""
    try:
        with Recorder(folder) as tape:
            yield tape
    except WorkError as error:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            raise
        command = f"pr3dict import recording {folder} --out {folder.parent}"
        advice = f"what was kept is in {folder}; `{command}` makes tapes of it"
        raise WorkError(f"{error}; {advice}") from error


def _make_tapes(folder: Path, out: Path) -> tuple[WrittenTape, ...]:
    """One tape a market; the rows go once every tape is in its place."""
    if not any(folder.iterdir()):
        folder.rmdir()
        return ()
    try:
        tapes = tuple(import_recordings(IMPORTER, [folder], out))
    except DataError as error:
        raise WorkError(f"the tapes could not be made ({error}); the rows are in {folder}") from error
    shutil.rmtree(folder)
    return tapes


@contextmanager
def stopping(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and a kill set `stop` while this lasts; a second one interrupts."""
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def take(number: int) -> None:
        seen.append(number)
        stop.set()
        if len(seen) > 1:
            raise KeyboardInterrupt

    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread
            loop.add_signal_handler(number, take, number)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
