"""What else happens to a process: sleep, a second one, a full disk, damaged files, a limit of the day."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from audit import check
from kills import Session
from rig import LOSING, Exchange, Trader, command_line, environment, until

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal

FAILED, HALTED = 1, 3
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with Exchange(tmp_path_factory.mktemp("exchange"), seed=13) as found:
        yield found


@pytest.fixture
def own_exchange(tmp_path):
    with Exchange(tmp_path, seed=14) as found:
        yield found


def quoting(session: Session, **more: object) -> Session:
    starts = session.trader.starts() + 1
    session.trader.start(**more)
    assert session.trader.await_quoting(starts), session.trader.said()
    return session


def steps(session: Session) -> list:
    with Journal.read(session.trader.place.journal) as journal:
        return list(journal.steps())


def logged(session: Session) -> str:
    return "".join(path.read_text() for path in session.trader.place.logs.glob("*.jsonl"))


# --- time and other processes -------------------------------------------------------------------------


def test_a_paused_process_forgets_its_books_and_goes_on(zygote, own_exchange, tmp_path: Path):
    session = quoting(Session(zygote, own_exchange, tmp_path))
    zygote.signal(signal.SIGSTOP)
    time.sleep(2.5)
    zygote.signal(signal.SIGCONT)

    def woken():
        found = steps(session)
        jumps = [s.number for s in found for event in s.inputs if isinstance(event, e.ClockJumped)]
        later = [s for s in found if jumps and s.number > jumps[0]]
        return any(isinstance(command, c.Place) for s in later for command in s.commands)

    assert until(woken, 30, every_s=0.2), "it did not notice, or never quoted again"
    jump = next(s for s in steps(session) for event in s.inputs if isinstance(event, e.ClockJumped))
    assert not any(isinstance(command, c.Place) for command in jump.commands)
    assert session.trader.stop() == 0
    assert check(session.trader.place.journal, own_exchange.truth()).wrong == []


def test_the_second_of_two_processes_is_refused(zygote, own_exchange, tmp_path: Path):
    session = quoting(Session(zygote, own_exchange, tmp_path))
    orders_before = set(own_exchange.truth().order_ids)
    second = DataDir(tmp_path / "second")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pr3dict.cli.main", *command_line(own_exchange, place)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(zygote.state),
        )
        for place in (session.trader.place, second)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [FAILED, FAILED]
    assert f"error: the data directory {session.trader.place.path} is in use by process" in said[0]
    assert f"error: the account exchange 127.0.0.1:{own_exchange.port} is in use by process" in said[1]
    assert session.trader.stop() == 0
    assert check(session.trader.place.journal, own_exchange.truth()).wrong == []
    assert orders_before <= set(own_exchange.truth().order_ids)


# --- the disk -----------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_ends_the_process(zygote, own_exchange, tmp_path: Path):
    session = Session(zygote, own_exchange, tmp_path)
    session.trader.start(file_bytes=300_000)
    assert zygote.ended() == FAILED
    assert "journal" in logged(session)
    assert own_exchange.truth().open_orders == ()
    assert session.finish().wrong == []  # with room again it goes on, and nothing is missing


@contextmanager
def mounted(folder: Path, *options: str):
    """A file system of its own on `folder`; the test is skipped where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_the_process(zygote, own_exchange, tmp_path: Path):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        session = quoting(Session(zygote, own_exchange, disk))
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        assert zygote.ended(20) == FAILED, logged(session)
        assert own_exchange.truth().open_orders == ()
        filler.unlink()
        assert session.finish().wrong == []


def test_a_folder_that_can_not_be_written_is_refused(zygote, exchange, tmp_path: Path):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs"):
        trader = Trader(zygote, exchange, disk)
        trader.log = tmp_path / "trader.log"
        trader.start()
        assert zygote.ended() != 0
        assert f"error: {disk}/data: can't be written" in trader.said()


# --- the files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(zygote, tmp_path_factory):
    """An exchange, and the data directory of a trader that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    with Exchange(folder, seed=15) as found:
        session = quoting(Session(zygote, found, folder))
        time.sleep(0.5)
        assert session.trader.stop() == 0  # so that there is a snapshot, and all is in the main file
        quoting(session)
        time.sleep(0.5)
        session.trader.kill()
        yield session


def cut(place: DataDir) -> None:
    with place.journal.open("r+b") as file:
        file.truncate(place.journal.stat().st_size - 5_000)


def flip(place: DataDir) -> None:
    pages = place.journal.stat().st_size // PAGE_BYTES
    with place.journal.open("r+b") as file:
        file.seek(pages // 2 * PAGE_BYTES)  # says what kind of page it is
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def alter(place: DataDir) -> None:
    with closing(sqlite3.connect(place.journal)) as base:
        base.execute(
            "UPDATE steps SET now_ns = now_ns + 1 WHERE number = (SELECT max(number) - 1 FROM steps)"
        )
        base.commit()


def lose_wal(place: DataDir) -> None:
    place.journal.with_name("control.db-wal").unlink()


def lose(place: DataDir) -> None:
    for path in place.path.glob("control.db*"):
        path.unlink()


def from_the_future(place: DataDir) -> None:
    with closing(sqlite3.connect(place.journal)) as base:
        base.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut, "control.db: "),
        (flip, "control.db: "),
        (alter, "was altered; run `pr3dict journal verify`"),
        (lose_wal, "was durable; put back control.db-wal"),
        (lose, "was durable; put back control.db-wal"),
        (from_the_future, "made by a newer version of pr3dict (tables 99, this one reads 1)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_journal_is_refused(zygote, killed: Session, tmp_path: Path, damage, sentence: str):
    copy = DataDir(tmp_path / "data")
    shutil.copytree(killed.trader.place.path, copy.path)
    damage(copy)
    before = sorted(killed.exchange.truth().order_ids)
    trader = Trader(zygote, killed.exchange, tmp_path)
    trader.start()
    assert zygote.ended() == FAILED
    assert sentence in trader.said()
    assert sorted(killed.exchange.truth().order_ids) == before


def test_the_damaged_ones_were_refused_for_their_damage(killed: Session):
    killed.tally.wrong.clear()
    for path in (killed.trader.place.path / "snapshots").iterdir():  # only the speed of a start hangs on it
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    tally = killed.finish()
    assert tally.wrong == []
    assert "snapshot passed over" in logged(killed)


# --- a limit of the day -------------------------------------------------------------------------------


@pytest.fixture
def losing_exchange(tmp_path):
    with Exchange(tmp_path, seed=16, regimes=(LOSING, LOSING)) as found:
        yield found


def test_the_daily_loss_and_its_latch_survive(zygote, losing_exchange, tmp_path: Path):
    session = quoting(
        Session(zygote, losing_exchange, tmp_path, "daily_loss_limit=0.5", "target_inventory=-40")
    )
    assert until(session.latch.read, 60), "the limit was never hit"
    assert session.latch.read().reason == "daily_loss"
    day_start = until(lambda: day_start_of(session), 10, every_s=0.1)
    session.trader.kill()
    orders = len(losing_exchange.truth().order_ids)
    for _ in range(2):
        quoting(session)
        assert until(lambda: day_start_of(session) == day_start, 10, every_s=0.1), (
            day_start,
            day_start_of(session),
        )
        session.trader.kill()
        assert session.latch.read().reason == "daily_loss"
    session.trader.start()
    time.sleep(1.0)
    assert session.trader.stop() == HALTED
    truth = losing_exchange.truth()
    assert len(truth.order_ids) == orders
    assert check(session.trader.place.journal, truth).wrong == []


def day_start_of(session: Session) -> float | None:
    """Equity at the start of the trading day, from what the process says of itself."""
    try:
        status = json.loads(session.trader.place.status.read_bytes())
    except (OSError, ValueError):
        return None
    return round(float(status["equity"]) - float(status["pnl"]["day"]), 6)
