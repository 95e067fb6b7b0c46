"""The kill latch: set is set until a person clears it, and whatever can't be read counts as set."""

import os
from pathlib import Path

import pytest

from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.store.latch import UNREADABLE, Latch, LatchFile


@pytest.fixture
def latch(tmp_path: Path) -> LatchFile:
    return LatchFile(tmp_path / "latch.json")


def test_set_read_and_clear(latch: LatchFile):
    assert latch.read() is None
    assert latch.set("daily_loss", "lost $50", 7) == Latch(reason="daily_loss", text="lost $50", set_ns=7)
    assert LatchFile(latch.path).read() == Latch(reason="daily_loss", text="lost $50", set_ns=7)
    assert latch.path.stat().st_mode & 0o777 == 0o600
    assert latch.clear("ann", "checked the fills", 9) == Latch(reason="daily_loss", text="lost $50", set_ns=7)
    assert latch.read() is None
    assert latch.clear("ann", "again", 10) is None
    assert [(one.action, one.now_ns, one.who, one.why) for one in latch.history()] == [
        ("set", 7, "", ""),
        ("cleared", 9, "ann", "checked the fills"),
    ]


def test_the_first_reason_stands_and_the_second_is_noted(latch: LatchFile):
    latch.set("first", "1", 1)
    assert latch.set("second", "2", 2).reason == "first"
    assert latch.read().reason == "first"
    assert [one.latch.reason for one in latch.history()] == ["first", "second"]


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"reason":1}', b"\xff\xfe", b'{"reason":"x"}'])
def test_what_can_not_be_read_counts_as_set(latch: LatchFile, content: bytes):
    latch.path.write_bytes(content)
    assert latch.read().reason == UNREADABLE
    latch.set("other", "", 1)
    assert latch.read().reason == UNREADABLE  # it is not repaired in passing
    assert latch.clear("ann", "looked at it", 2).reason == UNREADABLE
    assert latch.read() is None


def test_a_folder_in_its_place_counts_as_set(latch: LatchFile):
    latch.path.mkdir()
    assert latch.read().reason == UNREADABLE
    with pytest.raises(WorkError, match="it stands"):
        latch.clear("ann", "why", 1)


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("x", ""), (" ", "x"), ("x", "\n")])
def test_it_is_cleared_by_a_person_with_a_reason(latch: LatchFile, who: str, why: str):
    latch.set("r", "t", 1)
    with pytest.raises(UsageError, match="a person with a reason"):
        latch.clear(who, why, 2)
    assert latch.read() is not None


def test_a_folder_that_is_gone_is_said(tmp_path: Path):
    with pytest.raises(WorkError, match="can't be written"):
        LatchFile(tmp_path / "no" / "latch.json").set("r", "t", 1)


def test_a_torn_line_of_history_hides_no_other(latch: LatchFile):
    latch.set("one", "", 1)
    with latch.history_path.open("ab") as file:
        file.write(b'{"action":"set","now')  # a crash
    latch.set("two", "", 2)
    assert [one.latch.reason for one in latch.history()] == ["one", "two"]


def test_it_is_on_the_disk_before_it_has_its_name(latch: LatchFile, monkeypatch):
    calls = []

    def noted(name, real):
        def call(*args, **keys):
            calls.append(name)
            return real(*args, **keys)

        return call

    for name in ("fsync", "rename", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    latch.set("r", "t", 1)
    renamed = next(k for k, name in enumerate(calls) if name != "fsync")
    assert "fsync" in calls[:renamed]  # the file
    assert "fsync" in calls[renamed:]  # the folder
