"""Real kills: whatever the moment, what was reported as done is on the disk and nothing is half done."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pr3dict.domain.errors import UsageError
from pr3dict.store.crash_points import crash_points, parse

WORKER = Path(__file__).with_name("crash_worker.py")
ROOMS = ("journal.", "latch.", "lease.", "mailbox.", "recorder.", "snapshot.")
STORE = Path(__file__).parents[2] / "src" / "pr3dict" / "store"


def here() -> list[str]:
    """The crash points of this room."""
    source = "".join(path.read_text() for path in STORE.glob("*.py"))
    return [name for name in crash_points() if f'"{name}"' in source]


def lives(folder: Path, scenarios: list[str]) -> list[dict]:
    command = [sys.executable, str(WORKER), str(folder / "data"), *scenarios]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_crash_point_leaves_a_sound_folder(tmp_path: Path):
    points = here()
    assert len(points) >= 20
    assert all(name.startswith(ROOMS) for name in points)
    again = [f"{name}:2" for name in points if name.startswith(("journal", "recorder", "snapshot"))]
    found = lives(tmp_path, [*(f"{name}:1" for name in points), *again])
    assert [one for one in found if one["wrong"]] == []
    missed = [one for one in found if not one["killed"]]
    # the second pass of what happens once a life is never reached: it ends by itself
    assert {one["scenario"] for one in missed} <= {"journal.open:2", "journal.prepared:2"}
    assert all(one["code"] == 0 for one in missed)


def test_random_kills_leave_a_sound_folder(tmp_path: Path):
    moments = random.Random(7)
    found = lives(tmp_path, [f"ms:{moments.randint(1, 120)}" for _ in range(25)])
    assert [one for one in found if one["wrong"]] == []
    assert sum(one["killed"] for one in found) > 12
    assert max(one["steps"] for one in found) > 50  # they got on


def test_the_environment_names_the_point():
    script = (
        "from pr3dict.store.crash_points import crash_point\n"
        "crash_point('latch.write'); print('once', flush=True); crash_point('latch.write'); print('twice')"
    )
    for point, code, said in (("latch.write:2", -signal.SIGKILL, "once\n"), ("", 0, "once\ntwice\n")):
        environment = {**os.environ, "PR3DICT_CRASH_AT": point}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, said)


@pytest.mark.parametrize("text", ["no.such:1", "latch.write", "latch.write:0", "latch.write:x", ":1"])
def test_a_point_that_is_none_is_refused(text: str):
    with pytest.raises(UsageError, match="PR3DICT_CRASH_AT"):
        parse(text)


def test_points_are_found_in_the_sources_and_nowhere_else():
    assert parse("") == {}
    assert parse("journal.committed:12") == {"journal.committed": 12}
    assert list(crash_points()) == sorted(set(crash_points()))
    calls = [
        line
        for path in STORE.parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if "crash_point(" in line and "def " not in line and "re.compile" not in line
    ]
    assert [line for line in calls if '"' not in line] == []  # each call names its point literally
    texts = [path.read_text() for path in STORE.parent.rglob("*.py")]
    assert not any("partial(crash_point" in text for text in texts)  # it would not be found
