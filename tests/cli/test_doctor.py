"""`pr3dict doctor`: a fit machine passes, each fault is found with advice, nothing is left behind."""

import json
from pathlib import Path

import pytest

from pr3dict.cli import doctor, main
from pr3dict.domain.commands import Cancel
from pr3dict.domain.steps import Step
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.latch import LatchFile
from pr3dict.store.lease import Lease


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "COMMITS", 20)
    monkeypatch.setattr(doctor.time, "sleep", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


def examine(place: DataDir, *words: str, capsys) -> tuple[int, dict[str, dict]]:
    capsys.readouterr()
    code = main.run(["doctor", "--data-dir", str(place.path), "--json", *words])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return code, {check["name"]: check for check in checks}


def test_a_fit_machine_passes_and_nothing_is_left_behind(place: DataDir, capsys):
    code, checks = examine(place, capsys=capsys)
    states = {name: check["state"] for name, check in checks.items() if name not in ("kernels", "open files")}
    assert code == 0
    assert set(states.values()) <= {"ok", "warn"}
    assert list(checks) == [
        "config",
        "data directory",
        "disk space",
        "commits",
        "lease",
        "journal",
        "kill latch",
        "clock",
        "time zones",
        "kernels",
        "open files",
    ]
    figures = checks["commits"]["figures"]
    assert 0 < figures["p50_us"] <= figures["p99_us"]
    assert sorted(path.name for path in place.path.iterdir()) == ["logs", "mailbox", "snapshots", "tapes"]
    assert main.run(["doctor", "--data-dir", str(place.path)]) == 0
    assert "synced commits took" in capsys.readouterr().out


def test_a_used_directory_says_what_stands_there(place: DataDir, tmp_path: Path, capsys):
    place.create()
    with Journal.open(place.journal) as journal:
        journal.append([Step(number=1, now_ns=1, commands=(Cancel(order_id=1, market=0),))])
        LatchFile(place.latch).set("daily_loss", "lost $50", 1)
        with Lease.take(place, now_ns=1, state=tmp_path / "state"):
            code, checks = examine(place, capsys=capsys)
    assert code == 0
    assert checks["journal"]["text"] == "whole, 1 steps"
    assert (checks["kill latch"]["state"], checks["lease"]["state"]) == ("warn", "warn")
    assert "lost $50" in checks["kill latch"]["text"]
    assert "pr3dict resume" in checks["kill latch"]["advice"]


def failing(checks: dict[str, dict]) -> list[str]:
    return [name for name, check in checks.items() if check["state"] == "fail"]


def test_a_damaged_journal_fails(place: DataDir, capsys):
    place.create()
    place.journal.write_bytes(b"no database" * 1_000)
    code, checks = examine(place, capsys=capsys)
    assert (code, failing(checks)) == (1, ["journal"])
    assert checks["journal"]["advice"]


def test_a_journal_that_lost_its_end_fails(place: DataDir, capsys):
    place.create()
    with Journal.open(place.journal) as journal:
        journal.append([Step(number=1, now_ns=1, commands=(Cancel(order_id=1, market=0),))])
    mark = place.journal.with_suffix(".mark").read_bytes()
    place.journal.unlink()
    place.journal.with_suffix(".mark").unlink()
    Journal.open(place.journal).close()
    place.journal.with_suffix(".mark").write_bytes(mark)
    code, checks = examine(place, capsys=capsys)
    assert (code, failing(checks)) == (1, ["journal"])
    assert "step 1 was durable" in checks["journal"]["text"]


def test_a_wrong_config_and_a_wrong_folder_fail(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    config = tmp_path / "config.toml"
    config.write_text("[risk]\nno_such_key = 1\n")
    code, checks = examine(DataDir(tmp_path / "file"), "--config", str(config), capsys=capsys)
    assert (code, failing(checks)) == (1, ["config", "data directory"])
    assert "no_such_key" in checks["config"]["text"]
    assert "journal" not in checks


@pytest.mark.parametrize(("free", "state"), [(100 << 20, "fail"), (1 << 30, "warn"), (50 << 30, "ok")])
def test_room_on_the_disk(tmp_path: Path, monkeypatch, free: int, state: str):
    class Usage:
        def __init__(self):
            self.free = free

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage())
    assert doctor.check_space(tmp_path).state == state


@pytest.mark.parametrize(("ns", "state"), [(10_000, "ok"), (5_000_000, "warn"), (10**9, "fail")])
def test_a_clock_that_is_set_while_we_look(monkeypatch, ns: int, state: str):
    wall = iter((0, 10**9 + ns))
    steady = iter((0, 10**9))
    monkeypatch.setattr(doctor.time, "time_ns", lambda: next(wall))
    monkeypatch.setattr(doctor.time, "monotonic_ns", lambda: next(steady))
    assert doctor.check_clock().state == state


@pytest.mark.parametrize(("ns", "state"), [(1_000, "ok"), (80_000_000, "warn"), (2_000_000_000, "fail")])
def test_a_slow_disk(place: DataDir, monkeypatch, ns: int, state: str):
    ticks = iter(range(0, 10**15, ns))
    monkeypatch.setattr(doctor.time, "perf_counter_ns", lambda: next(ticks))
    place.create()
    assert doctor.check_commits(place.path).state == state


def test_a_disk_that_refuses(tmp_path: Path):
    assert doctor.check_commits(tmp_path / "none").state == "fail"


def test_a_cold_cache_is_a_warning(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("pr3dict.kernels.jit.used_folders", {tmp_path / "book-123"})
    found = doctor.check_kernels()
    assert (found.state, found.figures["cold"]) == ("warn", ["book"])
    (tmp_path / "book-123" / "kernels_1").mkdir(parents=True)  # as numba does
    (tmp_path / "book-123" / "kernels_1" / "book.nbi").touch()
    assert doctor.check_kernels().state == "ok"


@pytest.mark.parametrize(("soft", "state"), [(64, "fail"), (300, "warn"), (4_096, "ok")])
def test_few_files(monkeypatch, soft: int, state: str):
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, 10_000))
    assert doctor.check_files().state == state
