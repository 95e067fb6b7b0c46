"""An import: recordings read one by one or several at a time, each tape whole in its place or not at all."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.store.importers.common import Imported, ImportedSeries, Importer, MarketReport
from pr3dict.store.series import write_series
from pr3dict.store.tape import write_tape

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._@+=-]+")

Progress = Callable[[int, int, str], None]  # recordings done, recordings in all, the next one's name


class WrittenTape(NamedTuple):
    """Where a tape or series went and what it was made of."""

    path: Path
    report: MarketReport


def import_recordings(
    importer: Importer,
    paths: Sequence[Path],
    out: Path,
    progress: Progress | None = None,
    *,
    jobs: int = 1,
) -> list[WrittenTape]:
    """Write one tape a market and session of the recordings at `paths` into the folder `out`.

    Every tape is written whole or not at all, and replaces one of the same name. With `jobs` above 1 that
    many recordings are read at a time, each in a process; tapes, bytes and report are those of one job.

    Raises:
        DataError: an input is not what its format promises, two markets would become the same file, or `out`
            can't be made. What was written before stays; with one job also the tapes of a recording that
            fails later on.
        WorkError: a process of the import was ended from outside.
    """
    for path in paths:
        if not path.exists():
            raise DataError("no such file or folder", file=path)
    units = importer.find(paths)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder for tapes ({error.strerror or error})", file=out) from error
    written: list[WrittenTape] = []
    names = [*(unit.name for unit in units), ""]
    if progress is not None:
        progress(0, len(units), names[0])
    parallel = jobs > 1 and len(units) > 1
    each = _in_processes(importer, units, out, jobs) if parallel else _here(importer, units, out)
    with closing(each):
        for done, tapes in enumerate(each, 1):
            written += tapes
            if progress is not None:
                progress(done, len(units), names[done])
    os.sync()  # once for all files: waiting for each would take longer than writing it
    return written


def write_imported(made: Imported, out: Path) -> WrittenTape:
    """Write one tape or series into `out` under the name of its session and market."""
    path = _path(made, out)
    if isinstance(made, ImportedSeries):
        write_series(path, made.table, made.meta, sync=False)
    else:
        write_tape(path, made.events, made.meta, sync=False)
    return WrittenTape(path, made.report)


def _path(made: Imported, out: Path) -> Path:
    report = made.report
    return out / f"{_UNSAFE.sub('-', report.session)}__{_UNSAFE.sub('-', report.market)}.parquet"


Owners = dict[str, Path]  # which recording a file of this import comes from, by the file's name


def _claim(name: str, unit: Path, owners: Owners) -> None:
    if name in owners:
        both = f"{owners[name]} and {unit}" if owners[name] != unit else f"two markets of {unit}"
        raise DataError(
            f"{both} would both become this file; import them into folders of their own", file=name
        )
    owners[name] = unit


def _write_unit(
    read: Callable[[Path], Iterable[Imported]], unit: Path, out: Path, owners: Owners
) -> list[WrittenTape]:
    """The tapes of one recording, written to `out` as they are read."""
    tapes = []
    for made in read(unit):
        _claim(_path(made, out).name, unit, owners)
        tapes.append(write_imported(made, out))
    return tapes


def _here(importer: Importer, units: Sequence[Path], out: Path) -> Generator[list[WrittenTape], None, None]:
    owners: Owners = {}
    for unit in units:
        yield _write_unit(importer.read, unit, out, owners)


# --- several at a time ----------------------------------------------------------------------------


def _in_processes(
    importer: Importer, units: Sequence[Path], out: Path, jobs: int
) -> Generator[list[WrittenTape], None, None]:
    """As `_here`; a recording goes to a hidden folder and is moved when those before it are in place."""
    staging = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(units)), mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
    )
    owners: Owners = {}
    finished = False
    try:
        waiting = [
            pool.submit(_stage, importer.read, unit, staging / f"{number}")
            for number, unit in enumerate(units)
        ]
        for unit, future in zip(units, waiting, strict=True):
            staged = future.result()
            for tape in staged:
                _claim(tape.path.name, unit, owners)
            yield [WrittenTape(tape.path.replace(out / tape.path.name), tape.report) for tape in staged]
        finished = True
    except BrokenProcessPool as error:
        raise WorkError(
            "a process of the import was ended from outside, perhaps for want of memory; use fewer --jobs"
        ) from error
    finally:
        if not finished:  # nothing that still runs is wanted any more
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(staging, ignore_errors=True)


def _stage(read: Callable[[Path], Iterable[Imported]], unit: Path, folder: Path) -> list[WrittenTape]:
    folder.mkdir()
    return _write_unit(read, unit, folder, {})


def _ignore_interrupts() -> None:
    """Ctrl-C reaches the whole group of processes: the one that the user started ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
