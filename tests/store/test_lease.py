"""The lease: exactly one process a data directory and an account, whoever dies and however."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pr3dict.domain.errors import WorkError
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import Lease, LeaseHeldError, LeaseLostError, account_path, holder_of

HOLD = """
import sys
from pathlib import Path
from pr3dict.domain.errors import WorkError
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import Lease
try:
    lease = Lease.take(DataDir(Path(sys.argv[1])), sys.argv[2], now_ns=1, state=Path(sys.argv[3]))
except WorkError as error:
    print(error, flush=True)
else:
    print("taken", flush=True)
    sys.stdin.read()
"""


def process(folder: Path, account: str, state: Path) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-c", HOLD, str(folder), account, str(state)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def end(child: subprocess.Popen) -> None:
    child.stdin.close()
    child.wait(timeout=20)
    child.stdout.close()


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data").create()


def test_a_second_process_is_refused_by_name_until_the_first_is_killed(place: DataDir, tmp_path: Path):
    state = tmp_path / "state"
    first, said = process(place.path, "acct", state)
    assert said == "taken"
    with pytest.raises(LeaseHeldError, match=f"data directory .* process {first.pid} on ") as caught:
        Lease.take(place, now_ns=1, state=state)
    assert (caught.value.holder.pid, caught.value.holder.account) == (first.pid, "acct")
    with pytest.raises(LeaseHeldError, match="account acct"):
        Lease.take(DataDir(tmp_path / "other").create(), "acct", now_ns=1, state=state)
    Lease.take(
        DataDir(tmp_path / "other"), "", now_ns=1, state=state
    ).release()  # nothing was kept of the refused one
    assert holder_of(place.lease).pid == first.pid
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=20)
    assert holder_of(place.lease) is None  # its file still names it
    assert json.loads(place.lease.read_bytes())["pid"] == first.pid
    with Lease.take(place, "acct", now_ns=5, state=state):
        assert holder_of(place.lease).pid == os.getpid()
        assert holder_of(place.lease).started_ns == 5
    assert holder_of(place.lease) is None
    first.stdin.close()
    first.stdout.close()


def test_of_many_that_start_at_once_one_gets_it(place: DataDir, tmp_path: Path):
    taken, refused = [], []
    gate = threading.Barrier(8)

    def start():
        gate.wait()
        try:
            taken.append(Lease.take(place, "acct", now_ns=1, state=tmp_path))
        except LeaseHeldError:
            refused.append(1)

    for _ in range(5):
        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(taken), len(refused)) == (1, 7)
        taken.pop().release()
        refused.clear()


def test_to_look_does_not_get_in_the_way_of_a_start(place: DataDir, tmp_path: Path):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            holder_of(place.lease)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            Lease.take(place, now_ns=1, state=tmp_path).release()
    finally:
        stop.set()
        watcher.join()
    assert holder_of(place.lease) is None


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lost_file_ends_the_lease(place: DataDir, tmp_path: Path, how: str):
    lease = Lease.take(place, now_ns=1, state=tmp_path)
    lease.renew()
    place.lease.unlink()
    if how == "replaced":
        place.lease.touch()
    with pytest.raises(LeaseLostError, match="end this process"):
        lease.renew()
    lease.release()
    lease.release()


def test_accounts_are_hashed_and_the_folder_is_private(place: DataDir, tmp_path: Path):
    with Lease.take(place, "my-secret-account", now_ns=1, state=tmp_path / "state"):
        path = account_path("my-secret-account", tmp_path / "state")
        assert path.exists()
        assert "secret" not in path.name
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_can_not_be_made_is_said(place: DataDir, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="can't be taken"):
        Lease.take(place, "acct", now_ns=1, state=tmp_path / "file")
    Lease.take(place, now_ns=1, state=tmp_path).release()
    assert holder_of(tmp_path / "none") is None


def test_a_second_process_hears_it_in_one_sentence(place: DataDir, tmp_path: Path):
    with Lease.take(place, now_ns=1, state=tmp_path):
        child, said = process(place.path, "", tmp_path)
        end(child)
    assert f"process {os.getpid()} on " in said
    assert str(place.path) in said
