"""A process that works on a data directory until it is killed, and what must hold of the folder afterwards.

`python crash_worker.py FOLDER SCENARIO...`: each scenario is forked as a child on the same folder, one after
the other. `ms:N` is killed after N ms, `point:n` kills itself at the n-th pass of a crash point, which
`PR3DICT_CRASH_AT` names to a real process. One JSON line a scenario on stdout.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from pr3dict.domain.commands import Cancel, Place
from pr3dict.domain.events import Halt
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.steps import Quoted, Step
from pr3dict.kernels import dtypes as d
from pr3dict.store import crash_points
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.latch import LatchFile
from pr3dict.store.lease import Lease
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.store.recording import read_rows, segments
from pr3dict.store.tape import TapeFee, TapeMeta

META = TapeMeta(
    venue="polymarket",
    ticker="game",
    event_id="event",
    title="A wins?",
    session="s",
    source_format="recording",
    grids=(polymarket_grid(100),),
    min_size=5_000_000,
    lot=1,
    fee=TapeFee(kind="none", source="made up"),
    nets_positions=False,
    reduce_in_place=False,
    has_trades="recorded",
)
ROUNDS = 6  # of work, when nobody kills


def step(number: int) -> Step:
    cancel = Cancel(order_id=number, market=1, venue_id=f"v{number}" * (number % 40))
    place = Place(order_id=number, market=1, side=0, price=number % 10_000, size=1, tif=0)
    quotes = (Quoted(1, bytes(number % 200)),) * (number % 3)
    return Step(number=number, now_ns=number // 3, commands=(cancel, place), quotes=quotes)


def rows(first: int, count: int) -> d.Array:
    made = np.zeros(count, d.EVENT)
    made["exch_ns"] = made["local_ns"] = made["qty"] = np.arange(first, first + count)
    made["kind"] = d.LEVEL
    return made


class Said:
    """What the child reported as done, line by line through a pipe."""

    def __init__(self, text: str) -> None:
        self.lines = [line.split(" ") for line in text.splitlines()]

    def last(self, word: str) -> int:
        return max((int(line[1]) for line in self.lines if line[0] == word), default=0)

    def of(self, word: str) -> list[str]:
        return [line[1] for line in self.lines if line[0] == word]


def work(folder: Path, say) -> None:
    """Do everything that a process does to its data directory, over and over."""
    place = DataDir(folder).create()
    lease = Lease.take(place, "account", now_ns=1, state=folder.parent / "state")
    latch = LatchFile(place.latch)
    mailbox = Mailbox(place.mailbox)
    with Journal.open(place.journal) as journal:
        recording = place.tapes / f"{journal.last_number}-{os.getpid()}"
        recorder = Recorder(recording, segment_rows=64)
        recorder.list(0, META)
        say(f"recording {recording.name}")
        for turn in range(ROUNDS):
            for size in (1, 7, 2, 1):
                first = journal.last_number + 1
                say(f"append {first + size - 1}")
                journal.append([step(number) for number in range(first, first + size)])
                say(f"appended {journal.last_number}")
            journal.save_snapshot(journal.last_number, b"state %d" % journal.last_number)
            say(f"snapshot {journal.last_number}")
            journal.note_checkpoint(journal.last_number, "hash")
            say("latch_set 1")
            latch.set("test", "sentence", turn)
            say("latched 1")
            latch.clear("me", "because", turn)
            say("latched 0")
            command_id = mailbox.post(Halt(command_id="", who="me", reason="test"))
            say(f"posted {command_id}")
            for command in mailbox.take():
                say(f"answering {command.command_id}")
                mailbox.answer(command.command_id, ok=True, text="done")
            lease.renew()
            recorder.append(rows(recorder.rows, 50))
            if turn % 2:
                recorder.flush()
                say(f"flushed {recorder.rows}")
        recorder.close()
    lease.release()


def check(folder: Path, said: Said) -> list[str]:
    """What is wrong with the folder, given what was reported as done."""
    wrong = []
    place = DataDir(folder).create()
    with (
        Lease.take(place, "account", now_ns=1, state=folder.parent / "state"),
        Journal.open(place.journal) as journal,
    ):
        found = list(journal.steps())
        if found != [step(number) for number in range(1, len(found) + 1)]:
            wrong.append("steps differ")
        if len(found) < said.last("appended"):
            wrong.append(f"{len(found)} steps, {said.last('appended')} were durable")
        if said.last("append") and len(found) > said.last("append"):
            wrong.append("steps that nobody appended")
        snapshot = journal.latest_snapshot()
        if journal.snapshots.defects or (snapshot is None and said.last("snapshot")):
            wrong.append(f"snapshots: {journal.snapshots.defects}")
        if snapshot and (
            snapshot.number < said.last("snapshot") or snapshot.blob != b"state %d" % snapshot.number
        ):
            wrong.append(f"snapshot {snapshot.number}")
    latch = LatchFile(place.latch)
    last = [line for line in said.lines if line[0] in ("latch_set", "latched")][-1:]
    was_clearing = [entry.action for entry in latch.history()[-1:]] == ["cleared"]
    if last == [["latched", "1"]] and not was_clearing and latch.read() is None:
        wrong.append("the latch is gone")
    if last == [["latched", "0"]] and latch.read() is not None:
        wrong.append("the latch came back")
    latch.clear("me", "next scenario", 0)
    mailbox = Mailbox(place.mailbox)
    waiting = {command.command_id for command in mailbox.take()}
    wrong += [
        f"command {command_id} is lost"
        for command_id in said.of("posted")
        if command_id not in waiting and mailbox.wait_for_answer(command_id, 0) is None
    ]
    wrong += mailbox.defects
    for name in said.of("recording"):
        wrong += check_recording(place.tapes / name, said.last("flushed"))
    return wrong


def check_recording(folder: Path, flushed: int) -> list[str]:
    if not any(folder.glob("rows-*.parquet")):
        return ["a flushed recording is gone"] if flushed else []
    found = np.concatenate(list(read_rows(folder)))
    wrong = [] if np.array_equal(found, rows(0, len(found))) else ["rows differ"]
    if len(found) < flushed:
        wrong.append(f"{len(found)} rows, {flushed} were flushed")
    total = 0
    for segment in segments(folder):
        if segment.meta.first_row != total:
            wrong.append(f"{segment.path.name} does not follow")
        total += segment.meta.rows
    return wrong


def run(folder: Path, scenario: str) -> dict:
    """Fork, let it die, look at what it left."""
    read_end, write_end = os.pipe()
    name, _, count = scenario.rpartition(":")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read_end)
            if name != "ms":
                crash_points._left.update({name: int(count)})
            work(folder, lambda text: os.write(write_end, f"{text}\n".encode()))
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    if name == "ms":
        time.sleep(int(count) / 1000)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read_end) as pipe:
        said = Said(pipe.read())
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    code = None if killed else os.waitstatus_to_exitcode(status)
    return {
        "scenario": scenario,
        "killed": killed,
        "code": code,
        "steps": said.last("appended"),
        "wrong": check(folder, said),
    }


if __name__ == "__main__":
    for one in sys.argv[2:]:
        print(json.dumps(run(Path(sys.argv[1]), one)), flush=True)
