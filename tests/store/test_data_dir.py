"""The data directory: private, writable, nobody else's, or refused in one clear sentence."""

import os
from pathlib import Path

import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store.data_dir import DataDir, default_path, drive_kind


def refused(action) -> str:
    with pytest.raises(DataError) as caught:
        action()
    return str(caught.value)


def test_a_new_one_is_private(tmp_path: Path):
    place = DataDir.of(tmp_path / "a" / "b").create()
    assert place.path.stat().st_mode & 0o777 == 0o700
    for folder in (place.tapes, place.mailbox, place.logs):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert place.create() == place
    assert list(place.logs.iterdir()) == []
    inside = {place.journal, place.latch, place.lease, place.status}
    assert {path.parent for path in inside} == {place.path}


def test_the_rights_of_an_empty_one_are_tightened(tmp_path: Path):
    tmp_path.chmod(0o755)
    DataDir(tmp_path).create()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_the_default_is_the_users(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert DataDir.of().path == default_path()
    assert default_path().name == "pr3dict"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataDir.of("~/x").path == tmp_path / "x"


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    assert "a file, no folder" in refused(DataDir(tmp_path / "file").create)
    assert "can't be written" in refused(DataDir(tmp_path / "file" / "below").create)
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o755)  # whatever umask another test left behind
    (tmp_path / "home" / "letters.txt").touch()
    assert "holds other things and no journal" in refused(DataDir(tmp_path / "home").create)
    assert (tmp_path / "home").stat().st_mode & 0o077  # untouched


def test_one_that_can_not_be_written_is_refused(tmp_path: Path, monkeypatch):
    place = DataDir(tmp_path / "data").create()

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pr3dict.store.data_dir.write_whole", refuse)
    assert "can't be written (Permission denied)" in refused(place.create)


def test_another_users_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 123_456)
    assert "belongs to another user" in refused(DataDir(tmp_path).create)


def test_a_network_drive_is_refused(tmp_path: Path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        f"server:/x {tmp_path}/far nfs4 rw 0 0\n"
        f"/dev/sdb {tmp_path}/far/away\\040here xfs rw 0 0\n"
        "garbage\n"
    )
    assert drive_kind(tmp_path / "near", mounts) == "ext4"
    assert drive_kind(tmp_path / "far" / "x", mounts) == "nfs4"
    assert drive_kind(tmp_path / "far" / "away here" / "x", mounts) == "xfs"
    assert drive_kind(tmp_path / "farther", mounts) == "ext4"
    assert drive_kind(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr("pr3dict.store.data_dir.drive_kind", lambda path: "nfs4")
    assert "network drive (nfs4)" in refused(DataDir(tmp_path / "new").create)


def test_who_only_looks_makes_nothing(tmp_path: Path):
    place = DataDir(tmp_path / "data")
    assert "no such data directory" in refused(place.existing)
    assert not place.path.exists()
    (tmp_path / "file").touch()
    assert "a file, no data directory" in refused(DataDir(tmp_path / "file").existing)
    place.create()
    assert "no process has run here yet" in refused(place.existing)
    place.journal.touch()
    assert place.existing() == place
