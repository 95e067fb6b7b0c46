"""Group commit: order, durability and failures of the thread that writes the journal."""

import asyncio
import threading
import time
from typing import ClassVar

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.runtime.clock import SystemClock
from pr3dict.runtime.writer import JournalInline, JournalThread, Report, SnapshotJob, Written
from pr3dict.store.journal import Journal, LogError


def step(number: int) -> Step:
    return Step(number=number, now_ns=number, inputs=(e.FeedUp(venue="kalshi"),))


class SlowJournal(Journal):
    """The real journal behind a gate that a test opens."""

    gate = threading.Event()
    groups: ClassVar[list[int]] = []

    def append(self, steps) -> None:
        self.groups.append(len(steps))
        self.gate.wait(10)
        super().append(steps)


async def settle(seen: list[Report], number: int) -> None:
    end_s = time.monotonic() + 10
    while not any(isinstance(r, LogError) or r.number >= number for r in seen):
        assert time.monotonic() < end_s, seen
        await asyncio.sleep(0.005)


def test_steps_that_wait_are_written_in_one_transaction(tmp_path):
    async def story() -> tuple[list[Report], list[int]]:
        SlowJournal.gate.clear()
        SlowJournal.groups.clear()
        journal = SlowJournal.open(tmp_path / "control.db")
        seen: list[Report] = []
        post = asyncio.get_running_loop().call_soon_threadsafe
        writer = JournalThread(journal, SystemClock(), seen.append, post)
        writer.append(step(1))
        while not SlowJournal.groups:  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.001)
        for number in range(2, 101):
            writer.append(step(number))
        await asyncio.sleep(0.05)
        assert seen == [] and writer.waiting_ns() >= 40_000_000
        SlowJournal.gate.set()
        await settle(seen, 100)
        assert writer.waiting_ns() == 0
        assert writer.close(5)
        journal.close()
        return seen, list(SlowJournal.groups)

    seen, groups = asyncio.run(story())
    assert seen == [Written(1), Written(100)] and groups == [1, 99]
    with Journal.read(tmp_path / "control.db") as kept:
        assert [s.number for s in kept.steps()] == list(range(1, 101))


def test_a_full_disk_is_reported_once_and_nothing_is_tried_again(tmp_path):
    async def story() -> list[Report]:
        journal = Journal.open(tmp_path / "control.db")
        journal.append([step(1)])
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        seen: list[Report] = []
        post = asyncio.get_running_loop().call_soon_threadsafe
        writer = JournalThread(journal, SystemClock(), seen.append, post)
        for number in range(2, 3000):
            writer.append(step(number))
        await settle(seen, 10**9)
        assert writer.close(5)
        return seen

    seen = asyncio.run(story())
    errors = [report for report in seen if isinstance(report, LogError)]
    assert [error.kind for error in errors] == ["full"] and seen[-1] is errors[0]
    durable = max([report.number for report in seen if isinstance(report, Written)], default=1)
    with Journal.read(tmp_path / "control.db") as kept:
        assert kept.last_number == durable


def test_a_journal_too_far_behind_has_failed(tmp_path):
    SlowJournal.gate.clear()
    journal = SlowJournal.open(tmp_path / "control.db")
    writer = JournalThread(journal, SystemClock(), lambda report: None, lambda *call: None, max_waiting=10)
    for number in range(1, 11):
        writer.append(step(number))
    with pytest.raises(LogError, match="10 steps wait"):
        writer.append(step(11))
    SlowJournal.gate.set()
    assert writer.close(5)
    journal.close()


def test_a_snapshot_is_kept_after_its_step_and_its_failure_harms_nothing(tmp_path):
    journal = Journal.open(tmp_path / "control.db")
    seen: list[Report] = []
    writer = JournalThread(journal, SystemClock(), seen.append, lambda call, *args: call(*args))
    writer.append(step(1))
    writer.snapshot(SnapshotJob(1, b"state", "hash"))
    writer.snapshot(SnapshotJob(9, b"too early", "hash"))
    writer.append(step(2))
    assert writer.close(5)
    assert seen[-1] == Written(2)
    assert writer.snapshot_error is not None and "no step 9" in str(writer.snapshot_error)
    snapshot = journal.latest_snapshot()
    assert snapshot is not None and (snapshot.number, snapshot.blob) == (1, b"state")
    assert journal.checkpoints() == {1: "hash"}
    journal.close()


def test_inline_writing_is_durable_when_flush_returns(tmp_path):
    journal = Journal.open(tmp_path / "control.db")
    seen: list[Report] = []
    writer = JournalInline(journal, seen.append)
    writer.append(step(1))
    writer.append(step(2))
    assert seen == [] and journal.last_number == 0
    writer.flush()
    writer.flush()
    assert seen == [Written(2)] and journal.last_number == 2
    writer.append(step(4))
    assert writer.close(1)
    assert isinstance(seen[-1], LogError) and seen[-1].kind == "order"
    journal.close()
