"""The paper process as a real child: stops, signals, kills, restarts, operators, and the proof of runs."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.engine.engine import Engine
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.paper import new_engine, run_paper
from pr3dict.runtime.session_replay import END_FILE, replay_session, run_starts
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal, LogError
from pr3dict.store.latch import LatchFile
from pr3dict.store.lease import holder_of
from pr3dict.store.mailbox import Mailbox

sys.path.insert(0, str(Path(__file__).parent))
from paper_child import paper_spec

CHILD = Path(__file__).with_name("paper_child.py")
WAIT_S = 60.0


class Child:
    """A paper process in a data directory; ended at the latest with the test."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.data_dir = DataDir.of(folder)
        folder.mkdir(exist_ok=True, mode=0o700)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(CHILD), str(folder), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=env)

    def steps(self) -> int:
        if not self.data_dir.journal.exists():
            return 0
        try:
            with Journal.read(self.data_dir.journal) as journal:
                return journal.last_number
        except LogError:  # it is being made
            return 0

    def wait_until(self, condition) -> None:
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() < end_s, f"{self.steps()} steps"
            time.sleep(0.05)

    def wait_for_steps(self, number: int) -> None:
        self.wait_until(lambda: self.steps() >= number)

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, words = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, words.decode()


@pytest.fixture
def start(tmp_path):
    children: list[Child] = []

    def make(*words: str, folder: Path = tmp_path / "data") -> Child:
        children.append(Child(folder, *words))
        return children[-1]

    yield make
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


def folded(data_dir: DataDir) -> Engine:
    engine = new_engine(paper_spec(data_dir.path, speed=None))
    with Journal.read(data_dir.journal) as journal:
        for step in journal.steps():
            engine.fold(step)
    return engine


def open_orders(engine: Engine) -> int:
    return sum(len(engine.account.open_orders(m)) for m in range(len(engine.listings)))


def test_a_clean_stop_leaves_nothing_open(start):
    child = start("speed=30")
    child.wait_for_steps(30)
    child.process.send_signal(signal.SIGHUP)  # ignored: a closed terminal is no reason to stop
    time.sleep(0.2)
    assert child.process.poll() is None
    code, words = child.end(signal.SIGINT)
    assert code == 0, words
    engine = folded(child.data_dir)
    assert open_orders(engine) == 0
    with Journal.read(child.data_dir.journal) as journal:
        snapshot = journal.latest_snapshot()
        assert snapshot is not None and snapshot.number == journal.last_number
        assert any(isinstance(x, e.Stopping) and x.why == "SIGINT" for s in journal.steps() for x in s.inputs)
    assert holder_of(child.data_dir.lease) is None
    assert json.loads(child.data_dir.status.read_bytes())["journal"]["steps"] == engine.number
    for path in child.data_dir.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    proof = replay_session(child.data_dir)
    assert proof.difference is None and proof.was_whole and proof.steps == engine.number
    logged = (child.data_dir.logs / "process.jsonl").read_text()
    assert '"ended"' in logged


def test_a_second_signal_leaves_at_once(start):
    child = start("speed=2", "latency_ms=2000", "stop_timeout_seconds=60")  # an answer takes 2 s
    child.wait_until(lambda: places(child.data_dir) > 0)
    child.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.process.poll() is None, "it did not wait for its cancels"
    code, words = child.end(signal.SIGINT)
    assert code == 130, words
    assert holder_of(child.data_dir.lease) is None


def test_a_stop_that_is_not_confirmed_in_time_fails(start):
    child = start("speed=2", "latency_ms=2000", "stop_timeout_seconds=0.5")
    child.wait_until(lambda: places(child.data_dir) > 0)
    code, words = child.end(signal.SIGTERM)
    assert code == 1 and "orders may still stand" in words


def test_a_killed_process_goes_on_where_its_journal_ends(start):
    child = start("speed=30")
    child.wait_for_steps(60)
    child.process.kill()
    child.process.wait()
    kept = child.steps()
    assert not (child.data_dir.path / "tapes" / END_FILE).exists()
    again = start("speed=30")
    again.wait_for_steps(kept + 30)
    assert again.end(signal.SIGINT)[0] == 0
    with Journal.read(again.data_dir.journal) as journal:
        starts = run_starts(journal)
        assert starts[0] == 1 and starts[1] > kept
        times = [step.now_ns for step in journal.steps()]
        assert times == sorted(times)
        listed = [x for step in journal.steps() for x in step.inputs if isinstance(x, e.Listed)]
        assert len(listed) == 1, "a known ticker keeps its row"
    assert open_orders(folded(again.data_dir)) == 0
    proof = replay_session(again.data_dir)
    assert proof.difference is None and proof.first == starts[1] and proof.was_whole


def test_the_second_process_is_refused_and_touches_nothing(start):
    child = start("speed=30")
    child.wait_for_steps(5)
    other = start("speed=30")
    _, words = other.process.communicate(timeout=WAIT_S)
    assert other.process.returncode == 1
    assert f"in use by process {child.process.pid}" in words.decode()
    assert child.process.poll() is None
    assert child.end(signal.SIGINT)[0] == 0


def test_halt_survives_a_restart_until_a_person_resumes(start):
    child = start("speed=30")
    child.wait_for_steps(30)
    mailbox = Mailbox(child.data_dir.mailbox)
    answer = mailbox.wait_for_answer(mailbox.post(e.Halt(command_id="", who="me", reason="test")), WAIT_S)
    assert answer is not None and answer.ok
    assert LatchFile(child.data_dir.latch).read() is not None
    child.process.kill()
    child.process.wait()
    before = places(child.data_dir)
    again = start("speed=30")
    again.wait_for_steps(child.steps() + 10)
    assert places(child.data_dir) == before, "an order was placed under the latch"
    resume = e.Resume(command_id="", who="me", reason="checked")
    answer = mailbox.wait_for_answer(mailbox.post(resume), WAIT_S)
    assert answer is not None and answer.ok
    again.wait_until(lambda: places(child.data_dir) > before)
    assert LatchFile(child.data_dir.latch).read() is None
    assert again.end(signal.SIGINT)[0] == 0


def places(data_dir: DataDir) -> int:
    if not data_dir.journal.exists():
        return 0
    try:
        journal = Journal.read(data_dir.journal)
    except LogError:  # it is being made
        return 0
    with journal:
        return sum(columns.kind == "place" for s in journal.stored() for columns in s.events)


def test_a_recording_at_full_speed_replays_to_the_same_state_and_ends_once(tmp_path):
    spec = paper_spec(tmp_path / "data", speed=None, regime="short_dated", preset="short_dated")
    log = make_log(None, console=io.StringIO())
    result = run_paper(spec, log)
    assert result.exit_code == 0 and result.first == 1
    proof = replay_session(spec.data_dir)
    assert proof.difference is None and proof.state_hash == result.state_hash
    assert proof.rows == result.view.rows > 1000
    assert sum(market.orders_placed for market in result.view.markets) > 10
    with pytest.raises(DataError, match="this data directory has seen"):
        run_paper(spec, log)
    assert holder_of(spec.data_dir.lease) is None
    end = result.recording / END_FILE
    said = json.loads(end.read_bytes())
    end.write_text(json.dumps({**said, "state_hash": "0" * 64}))
    assert "another hash" in str(replay_session(spec.data_dir).difference)
    end.write_text(json.dumps({**said, "rows": said["rows"] - 1}))
    assert "the run ended" in str(replay_session(spec.data_dir).difference)
    with pytest.raises(DataError, match="no run began with step 2"):
        replay_session(spec.data_dir, 2)
