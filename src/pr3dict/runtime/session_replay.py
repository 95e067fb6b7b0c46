"""Proof that a process did what its engine says: its recording and its journal through a fresh engine.

A run of a process is a stretch of the journal that begins with `Started`, and one recording. The engine is
brought to where the run began as a restart would, then takes the same rows and inputs at the same times; what
it concludes, commands and quotes must be what was journaled, and its state in the end the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Started
from pr3dict.domain.steps import Step
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.recovery import begin
from pr3dict.runtime.settings import read_settings
from pr3dict.store.data_dir import DataDir
from pr3dict.store.files import write_whole
from pr3dict.store.journal import Journal
from pr3dict.store.recording import read_rows
from pr3dict.strategies.market_making import MarketMakingStrategy

END_FILE: Final = "end.json"
_PARTS: Final = ("inputs", "derived", "commands", "quotes", "rows")


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What a process wrote beside its recording when it ended in order."""

    number: int  # of its last step
    rows: int  # of market data that its engine saw
    state_hash: str


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """One run, replayed. `difference` is the first one found; None: there is none.

    A run that was killed lacks the last rows of its recording, and is replayed up to there. `was_whole`: it
    ended in order, so the hash of its last state was compared as well.
    """

    first: int
    last: int
    steps: int
    rows: int
    was_whole: bool
    state_hash: str
    difference: str | None = None


def session_name(tapes: Path, first: int) -> str:
    """A name that no recording in `tapes` has yet, for a run whose first step has the number `first`."""
    taken = len(list(tapes.glob(f"{first:012d}-*")))
    return f"{first:012d}-{taken + 1}"


def write_end(folder: Path, engine: Engine) -> None:
    """Note the end of a run beside its recording; a folder that refuses costs only the proof."""
    end = RunEnd(number=engine.number, rows=engine.brain.rows_seen, state_hash=engine.state_hash())
    write_whole(folder / END_FILE, msgspec.json.encode(end))


def replay_session(data_dir: DataDir, first: int | None = None) -> ReplayedRun:
    """Replay the run that began with step `first`, by default the last one, and compare everything.

    Raises:
        DataError: there is no such run, its recording is missing, or its settings are of another version.
        LogError: the journal can't be read.
    """
    with Journal.read(data_dir.journal) as journal:
        runs = run_starts(journal)
        if not runs:
            raise DataError("no process has started here", file=data_dir.journal)
        chosen = runs[-1] if first is None else first
        if chosen not in runs:
            known = ", ".join(str(number) for number in runs[-5:])
            raise DataError(f"no run began with step {chosen}; the last began with {known}", key="step")
        later = [number for number in runs if number > chosen]
        return _replay(data_dir, journal, chosen, later[0] - 1 if later else journal.last_number)


def run_starts(journal: Journal) -> list[int]:
    """The numbers of the steps that processes began with."""
    return [
        stored.number
        for stored in journal.stored()
        if any(columns.source == "input" and columns.kind == "started" for columns in stored.events)
    ]


def _replay(data_dir: DataDir, journal: Journal, first: int, last: int) -> ReplayedRun:
    folder = _recording(data_dir.tapes, first)
    end = _read_end(folder)
    steps = _steps_between(journal, first, last)
    rows = _all_rows(folder)
    engine = _engine_before(journal, steps[0])
    difference, done, seen = _compare(engine, steps, rows)
    if difference is None and end is not None:
        if (end.number, end.rows) != (engine.number, seen):
            difference = f"the run ended with step {end.number} after {end.rows} rows"
        elif end.state_hash != engine.state_hash():
            difference = f"the state after step {end.number} has another hash"
    return ReplayedRun(
        first=first,
        last=last,
        steps=done,
        rows=seen,
        was_whole=end is not None,
        state_hash=engine.state_hash(),
        difference=difference,
    )


def _recording(tapes: Path, first: int) -> Path:
    found = sorted(tapes.glob(f"{first:012d}-*"))
    if not found:
        raise DataError(f"no recording of the run that began with step {first}", file=tapes)
    return found[-1]


def _read_end(folder: Path) -> RunEnd | None:
    try:
        return msgspec.json.decode((folder / END_FILE).read_bytes(), type=RunEnd)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"can't be read ({error})", file=folder / END_FILE) from error


def _steps_between(journal: Journal, first: int, last: int) -> list[Step]:
    steps = []
    for step in journal.steps(after=first - 1):
        if step.number > last:
            break
        steps.append(step)
    return steps


def _all_rows(folder: Path) -> d.Array:
    parts = [] if not any(folder.glob("rows-*")) else list(read_rows(folder))
    return np.concatenate(parts) if parts else np.zeros(0, d.EVENT)


def _engine_before(journal: Journal, start: Step) -> Engine:
    """The engine as it stood before the first step of a run."""
    started = next(event for event in start.inputs if isinstance(event, Started))
    settings = read_settings(started.settings)
    engine = Engine(settings.risk)
    engine.register_strategy(MarketMakingStrategy(config=settings.market_making))
    for step in journal.steps():
        if step.number >= start.number:
            break
        engine.fold(step)
    begin(engine, start.now_ns)
    return engine


def _compare(engine: Engine, steps: Sequence[Step], rows: d.Array) -> tuple[str | None, int, int]:
    """Drive the engine: the first difference, how many steps agree, how many rows it saw."""
    by_time = {step.now_ns: step for step in steps}
    done = 0
    for now_ns, data in _instants(by_time, rows):
        step = by_time.get(now_ns)
        if step is not None and step.rows > engine.brain.rows_seen + len(data):
            break  # the process died with rows in memory
        for made in engine.advance(now_ns, data, step.inputs if step is not None else ()):
            if done == len(steps):  # after the last step that the journal has
                return None, done, engine.brain.rows_seen
            difference = _difference(steps[done], made)
            if difference is not None:
                return difference, done, engine.brain.rows_seen
            done += 1
    else:
        if done < len(steps):
            return f"step {steps[done].number} is not made again", done, engine.brain.rows_seen
    return None, done, engine.brain.rows_seen


def _instants(by_time: dict[int, Step], rows: d.Array) -> Iterator[tuple[int, d.Array]]:
    """All times at which rows or inputs came, with the rows."""
    times, starts = np.unique(rows["local_ns"], return_index=True)
    ends = np.append(starts, len(rows))[1:]
    place = {int(t): (int(a), int(b)) for t, a, b in zip(times, starts, ends, strict=True)}
    for now_ns in sorted(place.keys() | by_time.keys()):
        begin, end = place.get(now_ns, (0, 0))
        yield now_ns, rows[begin:end]


def _difference(journaled: Step, made: Step) -> str | None:
    if journaled == made:
        return None
    if journaled.number != made.number:
        return f"step {journaled.number} is step {made.number} now"
    for part in _PARTS:
        old, new = getattr(journaled, part), getattr(made, part)
        if old != new:
            return f"step {journaled.number}: {part} were {_short(old, new)}"
    return f"step {journaled.number} differs"


def _short(old: Any, new: Any) -> str:
    """The first item that differs, as it was and as it is."""
    if not (isinstance(old, tuple) and isinstance(new, tuple)):
        return f"{old}, now {new}"
    for before, after in zip(old, new, strict=False):
        if before != after:
            return f"{str(before)[:160]}, now {str(after)[:160]}"
    return f"{len(old)}, now {len(new)}"
