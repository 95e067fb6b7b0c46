"""Where a venue's secrets come from: the environment, or a private file. Never a command line.

A file is refused when anybody else may read it, when it is a link (its target could be swapped), or when it
lies where a commit could pick it up. What was read is a `Secret` from the first moment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pr3dict.domain.errors import ConfigError
from pr3dict.runtime.logs import Secret

PRIVATE: Final = 0o600
MAX_BYTES: Final = 16_384  # a key of 16,384 bits is smaller


def read_secret_file(path: Path) -> Secret:
    """The text of a private file.

    Raises:
        ConfigError: the file is missing, a link, not ours, readable or writable by others, too large, no
            text, empty, or inside a git working tree; the sentence says what to do.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if path.is_symlink():
            raise ConfigError(f"{path}: is a link; name the key's own file") from None
        raise ConfigError(f"{path}: the file of the key can't be read ({error.strerror})") from None
    try:
        _check(path, os.fstat(handle))
        raw = os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than any key ({MAX_BYTES:,} bytes); name the key's file")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no text; name the key's PEM file") from None
    if not text.strip():
        raise ConfigError(f"{path}: is empty; save the key there")
    return Secret(text)


def _check(path: Path, found: os.stat_result) -> None:
    """Everything about the open file itself, so that it can't be exchanged in between."""
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is no regular file; name the key's file")
    if found.st_uid != os.getuid():
        raise ConfigError(f"{path}: belongs to another user; copy the key to a file of your own")
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~PRIVATE:
        raise ConfigError(f"{path}: has mode {mode:04o}, others may use the key; run `chmod 600 {path}`")
    home = git_tree(path)
    if home is not None:
        raise ConfigError(f"{path}: lies in the git tree {home}, where a commit may publish it; move it out")


def git_tree(path: Path) -> Path | None:
    """The git working tree (or repository) that holds `path`; None: it is in none."""
    for folder in path.resolve().parents:
        if (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir()):
            return folder
    return None


def find_secret(name: str, environment: Mapping[str, str], file: Path | None = None) -> Secret:
    r"""The secret called `name`: from variable `name`, from the file that `name`_FILE names, or from `file`.

    A variable may hold a PEM text on one line with `\n` for its line ends, as environments often need it.

    Raises:
        ConfigError: it is nowhere, or in the environment twice, or its file is refused.
    """
    direct, named = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if direct and named:
        raise ConfigError(f"{name} and {name}_FILE are both set; keep one of them", key=name)
    if direct:
        return Secret(direct.replace("\\n", "\n"))
    if named:
        return read_secret_file(Path(named).expanduser())
    if file is not None:
        return read_secret_file(file)
    raise ConfigError(f"is not set: set it, or {name}_FILE to a file of mode 0600", key=name)
