"""What the ways to all venues have in common: addresses of this machine, and the places of keys.

All parts of a key come from one place: variables of the environment, else private files of the config folder,
else the system keyring. Never a mixture: half of one key and half of another is nobody's.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import platformdirs

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.credentials import find_secret, read_secret_file
from pr3dict.runtime.logs import Secret
from pr3dict.venues.session import Backoff, Reconnects

CheckUrl = Callable[[str, tuple[str, ...]], str]
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
RECONNECT_NS: Final = NS_PER_SECOND // 4
RECONNECT_MOST_NS: Final = 30 * NS_PER_SECOND
STABLE_NS: Final = 60 * NS_PER_SECOND
KEYRING: Final = "pr3dict"


def reconnects() -> Reconnects:
    """When a connection of a stream is made again."""
    below = random.Random().randrange  # noqa: S311 - spreads reconnects, guards nothing
    return Reconnects(Backoff(RECONNECT_NS, RECONNECT_MOST_NS, below), STABLE_NS)


# --- addresses -------------------------------------------------------------------------------------------


def checked_url(url: str, schemes: tuple[str, ...], check: CheckUrl) -> str:
    """As the venue's `check_url`, with the option's name in the sentence."""
    try:
        return check(url, schemes)
    except ConfigError as error:
        raise ConfigError(str(error), key="--url") from None


def local_url(url: str | None, check: CheckUrl, *, others: str, path: str = "") -> SplitResult:
    """Scheme, host and port of a stand-in; `path` may stand behind them.

    Raises:
        ConfigError: there is no address, or it is one of another machine; `others` names the environments
            that have one.
    """
    if url is None:
        raise ConfigError("needs the address of a stand-in, such as http://127.0.0.1:8080", key="--url")
    text = checked_url(url, ("https", "http"), check)
    if urlsplit(text).hostname not in LOOPBACK:
        raise ConfigError(
            f"{url!r} is another machine, and `local` means this one; use {others}", key="--url"
        )
    base = urlsplit(text.removesuffix(path))
    if base.path:
        raise ConfigError(f"{url!r} has a path; give scheme, host and port only", key="--url")
    return base


# --- keys ------------------------------------------------------------------------------------------------


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where settings and keys of this user lie."""
    named = environment.get("PR3DICT_CONFIG_DIR", "")
    return Path(named).expanduser() if named else Path(platformdirs.user_config_dir("pr3dict", False))


class Part(NamedTuple):
    """One part of a key: its variable and the end of its file's name; `name` as the keyring has it."""

    name: str
    variable: str
    suffix: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class KeyPlaces:
    """The places of one key: `stem` names venue and environment, as in `kalshi-demo`."""

    stem: str
    parts: tuple[Part, ...]

    def files(self, environment: Mapping[str, str]) -> tuple[Path, ...]:
        """The file of each part in the config folder."""
        folder = config_folder(environment)
        return tuple(folder / f"{self.stem}.{part.suffix}" for part in self.parts)

    def find(self, environment: Mapping[str, str]) -> tuple[Secret | None, ...] | None:
        """Each part, from the first place that has any; None: no place has.

        Raises:
            ConfigError: a place has a part and lacks one that is not optional, or a part can't be read.
        """
        if self._in_variables(environment):
            return self.in_variables(environment)
        files = self.files(environment)
        if any(map(_is_there, files)):
            pairs = zip(self.parts, files, strict=True)
            return tuple(
                None if part.optional and not _is_there(file) else read_secret_file(file)
                for part, file in pairs
            )
        return self._from_keyring()

    def in_variables(self, environment: Mapping[str, str]) -> tuple[Secret | None, ...]:
        """Each part from its variable, or the file that the variable names; raises as `find`."""
        return tuple(self._variable(part, environment) for part in self.parts)

    def place(self, environment: Mapping[str, str], part: int) -> str:
        """Where `find` would look, in words about one part; secrets are not read."""
        variable = self.parts[part].variable
        if self._in_variables(environment):
            file = environment.get(f"{variable}_FILE", "")
            return f"the file {file} (private to this user)" if file else f"the variable {variable}"
        files = self.files(environment)
        if any(map(_is_there, files)):
            return f"the file {files[part]} (private to this user)"
        return "the system keyring"

    def _in_variables(self, environment: Mapping[str, str]) -> bool:
        return any(
            environment.get(name) for part in self.parts for name in (part.variable, f"{part.variable}_FILE")
        )

    @staticmethod
    def _variable(part: Part, environment: Mapping[str, str]) -> Secret | None:
        names = (part.variable, f"{part.variable}_FILE")
        if part.optional and not any(environment.get(name) for name in names):
            return None
        return find_secret(part.variable, environment)

    def _from_keyring(self) -> tuple[Secret | None, ...] | None:
        """The parts of the system keyring; None: the library or the entries are not there."""
        try:
            keyring: Any = importlib.import_module("keyring")
            errors: Any = importlib.import_module("keyring.errors")
        except ImportError:
            return None
        names = [f"{self.stem}-{part.name}" for part in self.parts]
        try:
            found = [keyring.get_password(KEYRING, name) for name in names]
        except errors.NoKeyringError:
            return None  # the library is there, a keyring is not
        except errors.KeyringError as error:
            what = f"the system keyring did not answer ({type(error).__name__})"
            raise ConfigError(f"{what}; unlock it, or set {self.parts[0].variable}") from None
        if not any(found):
            return None
        for name, text, part in zip(names, found, self.parts, strict=True):
            if not text and not part.optional:
                raise ConfigError(f"the system keyring has no entry {name!r}; `keyring set {KEYRING} {name}`")
        return tuple(Secret(text.replace("\\n", "\n")) if text else None for text in found)


def _is_there(file: Path) -> bool:
    return file.exists() or file.is_symlink()
