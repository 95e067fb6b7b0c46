"""The shell in real time with the real engine, journal and exchange: what ends it, what it leaves behind."""

import asyncio
import dataclasses
import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import ClockWatch, EngineTime, SystemClock, VirtualClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.recovery import kind_of, open_process, recover
from pr3dict.runtime.session_replay import replay_session, session_name
from pr3dict.runtime.settings import settings_text
from pr3dict.runtime.shell import Shell, ShellParts, ShellSettings
from pr3dict.runtime.trader import Trader
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal, LogError
from pr3dict.store.lease import holder_of
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy

sys.path.insert(0, str(Path(__file__).parent))
from live_venue import SPEC, LiveVenue, listing

SETTINGS = ShellSettings(stop_timeout_s=3.0, run_s=20.0, status_s=0.2)


class Story:
    """A shell over a live venue; `play` runs it with what the test does meanwhile."""

    def __init__(self, folder: Path, settings: ShellSettings = SETTINGS, watched: SystemClock | None = None):
        self.data_dir = DataDir.of(folder)
        self.settings = settings
        self.console = io.StringIO()
        self.risk = RiskConfig()
        self.watched = watched

    def new_engine(self) -> Engine:
        engine = Engine(self.risk)
        engine.register_strategy(MarketMakingStrategy(config=SPEC.config))
        return engine

    async def play(self, meanwhile: Callable, journal: type[Journal] = Journal) -> int:
        clock = SystemClock()
        opened = open_process(self.data_dir)
        self.journal = opened.journal
        self.journal.__class__ = journal
        time = EngineTime(clock, not_before_ns=opened.journal.last_ns + 1)
        self.venue = LiveVenue(time)
        started = e.Started(
            version="0",
            account="paper",
            settings=settings_text(SPEC.config, self.risk),
            cash_micros=SPEC.cash_micros,
        )
        log = make_log(None, console=self.console)
        market = listing(time.now_ns())
        found = recover(self.new_engine, opened, started, [market], clock=clock, log=log)
        self.engine = found.engine
        self.source = self.venue.source = LiveSource(Inbox(), time, {"kalshi": self.venue}, {0: "kalshi"})
        session = session_name(self.data_dir.tapes, self.engine.number + 1)
        trader = Trader(self.engine)
        trader.pending += found.inputs
        parts = ShellParts(
            engine=self.engine, trader=trader, source=self.source, journal=opened.journal,
            tape=Recorder(self.data_dir.tapes / session), operators=Mailbox(self.data_dir.mailbox),
            latch=opened.latch_file, lease=opened.lease, clock=clock, log=log,
            status_path=self.data_dir.status, session=session,
            watch=ClockWatch(self.watched or clock, tick_ns=50_000_000), companions={"feed": self.venue.feed},
        )  # fmt: skip
        self.shell = Shell(parts, self.settings)
        running = asyncio.ensure_future(self.shell.run())
        await meanwhile(self)
        return await asyncio.wait_for(running, 30)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(self.console.getvalue())

    async def quoting(self) -> None:
        await self.until(lambda: len(self.venue.exchange.open_orders()) >= 2)

    def sent(self, kind: type) -> list:
        return [command for command in self.venue.wire if isinstance(command, kind)]


@pytest.fixture(autouse=True, scope="module")
def _brain():
    load_brain()  # a compiler at work would stall the loop under the clock's eyes


def run(story: Story, meanwhile: Callable, journal: type[Journal] = Journal) -> int:
    return asyncio.run(story.play(meanwhile, journal))


def test_it_quotes_stops_cleanly_and_proves_its_run(tmp_path):
    story = Story(tmp_path / "data")

    async def stop_when_quoting(story: Story) -> None:
        await story.quoting()
        story.shell.stop("test")

    assert run(story, stop_when_quoting) == 0
    assert story.venue.exchange.open_orders() == ()
    assert holder_of(story.data_dir.lease) is None
    with Journal.read(story.data_dir.journal) as journal:
        intents = {a.order_id for s in journal.steps() for a in s.commands if isinstance(a, c.Place)}
        assert {place.order_id for place in story.sent(c.Place)} <= intents
    proof = replay_session(story.data_dir)
    assert proof.difference is None and proof.steps == story.engine.number
    assert proof.state_hash == story.engine.state_hash()
    assert run(story, stop_when_quoting) == 0, "a second life in the same data directory"
    proof = replay_session(story.data_dir)
    assert proof.difference is None and proof.first > 1


def test_a_snapshot_that_cannot_be_read_is_passed_over(tmp_path):
    story = Story(tmp_path / "data")

    async def stop_when_quoting(story: Story) -> None:
        await story.quoting()
        story.shell.stop("test")

    assert run(story, stop_when_quoting) == 0
    with Journal.open(story.data_dir.journal) as journal:
        blob = journal.latest_snapshot().blob
        journal.save_snapshot(journal.last_number, blob[:-40])
    assert run(story, stop_when_quoting) == 0
    assert "snapshot passed over" in story.console.getvalue()
    assert replay_session(story.data_dir).difference is None


@pytest.mark.parametrize("how", ["feed", "lease", "latch", "brain"])
def test_whatever_dies_ends_the_process_after_a_cancel_all(tmp_path, how, monkeypatch):
    story = Story(tmp_path / "data")

    async def kill(story: Story) -> None:
        await story.quoting()
        if how == "feed":
            story.venue.fails.set()
        elif how == "lease":
            story.data_dir.lease.unlink()
            await story.until(story.shell._ended.done)
        elif how == "latch":
            monkeypatch.setattr("pr3dict.store.latch.write_whole", refuse)
            story.source.push(e.Halt(command_id="1", who="me", reason="now"))
        else:
            story.engine.step = lambda *batch: 1 / 0

    story.settings = ShellSettings(lease_renew_s=0.2, run_s=20.0)
    assert run(story, kill) == 1
    assert [command.venue for command in story.sent(c.CancelAll)] == ["kalshi"]
    assert story.venue.exchange.open_orders() == ()
    assert "died" in story.console.getvalue() and "Error" in story.console.getvalue()
    assert holder_of(story.data_dir.lease) is None
    with Journal.read(story.data_dir.journal) as journal:
        assert journal.last_number > 1


def refuse(*_, **__):
    raise OSError("read-only file system")


def test_a_full_disk_ends_it_after_its_cancels_were_confirmed(tmp_path):
    story = Story(tmp_path / "data")
    places = 0

    async def fill_the_disk(story: Story) -> None:
        nonlocal places
        await story.quoting()
        connection = story.journal._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        await story.until(lambda: "journal failed" in story.console.getvalue())
        places = len(story.sent(c.Place))

    assert run(story, fill_the_disk) == 1
    assert story.venue.exchange.open_orders() == () and story.sent(c.CancelAll)
    assert len(story.sent(c.Place)) == places, "an order left after the journal refused"
    with Journal.read(story.data_dir.journal) as journal:
        intents = {a.order_id for s in journal.steps() for a in s.commands if isinstance(a, c.Place)}
        assert {place.order_id for place in story.sent(c.Place)} <= intents


class BrokenDisk(Journal):
    """A journal whose sync fails."""

    def append(self, steps) -> None:
        if any(isinstance(a, c.Place) for s in steps for a in s.commands):
            raise LogError("control.db: disk I/O error", kind="io")
        super().append(steps)


def test_a_failed_sync_ends_it_at_once_and_no_order_leaves(tmp_path):
    story = Story(tmp_path / "data")

    async def wait(story: Story) -> None:
        await story.until(lambda: story.shell._ended is not None and story.shell._ended.done())

    assert run(story, wait, BrokenDisk) == 1
    assert story.sent(c.Place) == [] and [a.venue for a in story.sent(c.CancelAll)] == ["kalshi"]


class SlowDisk(Journal):
    """A journal that a test holds up."""

    gate = threading.Event()

    def append(self, steps) -> None:
        self.gate.wait(20)
        super().append(steps)


def test_a_slow_journal_holds_orders_back_and_never_a_cancel(tmp_path):
    story = Story(tmp_path / "data", ShellSettings(stop_timeout_s=5.0, journal_stall_s=0.3, run_s=20.0))
    SlowDisk.gate.set()

    async def hold_up(story: Story) -> None:
        await story.quoting()
        SlowDisk.gate.clear()
        await asyncio.sleep(0.05)  # a write that had begun may end
        before = len(story.sent(c.Place))
        await story.until(lambda: "journal is slow" in story.console.getvalue())
        cancels = len(story.sent(c.Cancel)) + len(story.sent(c.CancelAll))
        story.source.push(e.Halt(command_id="1", who="me", reason="now"))
        await story.until(lambda: len(story.sent(c.Cancel)) + len(story.sent(c.CancelAll)) > cancels)
        await story.until(lambda: story.venue.exchange.open_orders() == ())
        assert len(story.sent(c.Place)) == before
        SlowDisk.gate.set()
        story.shell.stop("test")

    assert run(story, hold_up, SlowDisk) == 0
    with Journal.read(story.data_dir.journal) as journal:
        inputs = [x for s in journal.steps() for x in s.inputs]
    assert any(isinstance(x, e.LogStalled) for x in inputs)


def test_a_clock_that_jumps_reaches_the_engine(tmp_path):
    clock = VirtualClock(wall_ns=1_000_000_000_000)
    story = Story(tmp_path / "data", watched=clock)

    async def jump(story: Story) -> None:
        await story.quoting()
        clock.jump_ns(8 * 3_600_000_000_000)
        await story.until(lambda: bool(story.sent(c.Resubscribe)))
        story.shell.stop("test")

    assert run(story, jump) == 0
    with Journal.read(story.data_dir.journal) as journal:
        jumps = [x for s in journal.steps() for x in s.inputs if isinstance(x, e.ClockJumped)]
    assert [x.gap_ns for x in jumps] == [8 * 3_600_000_000_000]


def test_an_inbox_that_overflows_with_events_ends_the_process(tmp_path):
    story = Story(tmp_path / "data")

    async def flood(story: Story) -> None:
        await story.quoting()
        story.source.inbox.max_events = 0

    assert run(story, flood) == 1
    assert "control events wait" in story.console.getvalue()


def test_a_venue_that_does_not_answer_makes_the_stop_fail(tmp_path):
    story = Story(tmp_path / "data", ShellSettings(stop_timeout_s=0.5, run_s=20.0))

    async def mute(story: Story) -> None:
        await story.quoting()
        story.venue.answers = False
        story.shell.stop("test")

    assert run(story, mute) == 1
    assert "orders may still stand" in story.console.getvalue()


def test_a_lease_that_is_held_refuses_the_start(tmp_path):
    data_dir = DataDir.of(tmp_path / "data")
    opened = open_process(data_dir)
    with pytest.raises(WorkError, match="in use by process") as refused:
        open_process(data_dir)
    assert refused.value.exit_code == 1
    opened.close()
    open_process(data_dir).close()


def test_venues_are_armed_before_a_resume_and_a_failure_is_heard(tmp_path):
    """A resume waits for the venues; one that can't be armed, or that a halt overtakes, lifts nothing."""
    story = Story(tmp_path / "data")
    armed: list[bool] = []
    failing = [True]
    gate = asyncio.Event()

    async def arm() -> None:
        armed.append(story.engine.is_halted)
        await gate.wait()
        if failing[0]:
            raise WorkError("the venue says no")

    async def people(story: Story) -> None:
        mailbox = Mailbox(story.data_dir.mailbox)

        async def answered(command_id: str) -> object:
            return await asyncio.to_thread(mailbox.wait_for_answer, command_id, 5)

        def resume() -> str:
            return mailbox.post(e.Resume(command_id="", who="me", reason="test"))

        story.shell.parts = dataclasses.replace(story.shell.parts, arm=arm)
        await story.quoting()
        assert (await answered(mailbox.post(e.Halt(command_id="", who="me", reason="test")))).ok
        gate.set()
        refused = await answered(resume())
        assert not refused.ok and "the venue says no" in refused.text and story.engine.is_halted
        failing[0] = False
        gate.clear()
        late = resume()
        await story.until(lambda: len(armed) == 2)
        assert (await answered(mailbox.post(e.Halt(command_id="", who="me", reason="again")))).ok
        gate.set()
        overtaken = await answered(late)
        assert not overtaken.ok and "a halt came" in overtaken.text and story.engine.is_halted
        places = len(story.sent(c.Place))
        assert (await answered(resume())).ok
        await story.until(lambda: len(story.sent(c.Place)) > places)
        assert armed == [True, True, True]
        story.shell.stop("test")

    assert run(story, people) == 0


def test_the_status_holds_what_the_parts_add(tmp_path):
    story = Story(tmp_path / "data")

    async def look(story: Story) -> None:
        facts = {"adapters": {"kalshi": {"malformed": 3}}}
        story.shell.parts = dataclasses.replace(story.shell.parts, facts=lambda: facts)
        await story.quoting()
        status = story.data_dir.status
        await story.until(lambda: status.exists() and b'"malformed":3' in status.read_bytes())
        story.shell.stop("test")

    assert run(story, look) == 0
    status = json.loads(story.data_dir.status.read_bytes())
    assert (status["mode"], status["env"], status["adapters"]["kalshi"]) == ("paper", None, {"malformed": 3})


def test_a_journal_is_of_one_kind_of_money(tmp_path):
    """What was paper is never continued with orders, nor demo with prod; another key of one account may."""
    assert (
        kind_of("kalshi demo 1a2b3c4d") == kind_of("kalshi demo ffffffff") != kind_of("kalshi prod 1a2b3c4d")
    )
    assert kind_of("exchange 127.0.0.1:1") == kind_of("exchange 127.0.0.1:2") != kind_of("paper")
    story = Story(tmp_path / "data")

    async def stop(story: Story) -> None:
        await story.quoting()
        story.shell.stop("test")

    assert run(story, stop) == 0
    opened = open_process(story.data_dir)
    started = e.Started(version="0", account="kalshi prod 12345678", settings="{}", cash_micros=0)
    log = make_log(None, console=story.console)
    with pytest.raises(DataError, match="directory of the account 'paper', not of 'kalshi prod 12345678'"):
        recover(story.new_engine, opened, started, (), clock=SystemClock(), log=log)
    opened.close()
