"""Secrets come from private files or the environment, and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pr3dict.domain.errors import ConfigError
from pr3dict.runtime.credentials import MAX_BYTES, find_secret, git_tree, read_secret_file
from pr3dict.runtime.logs import redact

TEXT = "-----BEGIN PRIVATE KEY-----\nabcdefghijkl\n-----END PRIVATE KEY-----\n"


def private(folder: Path, text: str | bytes = TEXT, mode: int = 0o600) -> Path:
    path = folder / "key.pem"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read_and_hidden(tmp_path, mode):
    secret = read_secret_file(private(tmp_path, mode=mode))
    assert secret.reveal() == TEXT
    assert f"{secret} {secret!r}" == "*** '***'"
    assert "abcdefghijkl" not in redact("a line with abcdefghijkl inside")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o700, 0o660])
def test_a_file_that_others_may_use_is_refused(tmp_path, mode):
    path = private(tmp_path, mode=mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600") as error:
        read_secret_file(path)
    assert "abcdefghijkl" not in str(error.value)


def test_a_link_a_folder_and_a_missing_file_are_refused(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(private(tmp_path))
    with pytest.raises(ConfigError, match="is a link"):
        read_secret_file(link)
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret_file(tmp_path)
    with pytest.raises(ConfigError, match="can't be read"):
        read_secret_file(tmp_path / "absent")


def test_a_pipe_does_not_make_it_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret_file(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), (" \n", "empty"), (b"\xff\xfe\x00", "no text"), ("x" * (MAX_BYTES + 1), "larger")],
)
def test_what_is_no_key_is_refused(tmp_path, text, why):
    with pytest.raises(ConfigError, match=why):
        read_secret_file(private(tmp_path, text))


@pytest.mark.parametrize("kind", ["tree", "worktree", "bare"])
def test_a_key_inside_a_repository_is_refused(tmp_path, kind):
    home = tmp_path / "repo"
    (home / "deep").mkdir(parents=True)
    if kind == "tree":
        (home / ".git").mkdir()
    elif kind == "worktree":
        (home / ".git").write_text("gitdir: elsewhere\n")
    else:
        (home / "objects").mkdir()
        (home / "HEAD").write_text("ref: refs/heads/main\n")
    path = private(home / "deep")
    assert git_tree(path) == home.resolve()
    with pytest.raises(ConfigError, match="git tree"):
        read_secret_file(path)


def test_the_environment_comes_first_and_never_twice(tmp_path):
    path = private(tmp_path)
    assert find_secret("KEY", {"KEY": "one\\ntwo-three"}).reveal() == "one\ntwo-three"
    assert find_secret("KEY", {"KEY_FILE": str(path)}).reveal() == TEXT
    assert find_secret("KEY", {}, path).reveal() == TEXT
    assert find_secret("KEY", {"KEY": "direct-value"}, path).reveal() == "direct-value"
    with pytest.raises(ConfigError, match="both set"):
        find_secret("KEY", {"KEY": "x", "KEY_FILE": str(path)})
    with pytest.raises(ConfigError, match="KEY: is not set"):
        find_secret("KEY", {})
