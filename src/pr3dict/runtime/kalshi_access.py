"""The way to Kalshi: which hosts, and with which key. What is traded there: `runtime/kalshi_markets.py`.

A key belongs to one environment and its hosts: the key of one is never sent to another, because its
variables, files and keyring entries carry the environment's name and the hosts follow from it. Texts show the
first letters of a key's id and nothing else.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args
from urllib.parse import urlsplit

import platformdirs

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.credentials import find_secret, read_secret_file
from pr3dict.runtime.kalshi_markets import (
    Catalogue,
    Found,
    Selection,
    find_markets,
    read_catalogue,
    renumber,
)
from pr3dict.runtime.logs import Secret
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import ANSWER_S, HOSTS, KalshiHttp, check_url
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import KalshiStreams, OnFrame
from pr3dict.venues.session import Backoff, Clock, Reconnects, Sink

__all__ = [
    "ALSO",
    "ENVS",
    "Catalogue",
    "Found",
    "KalshiAccess",
    "KalshiEnv",
    "Selection",
    "find_markets",
    "kalshi_access",
    "key_files",
    "key_names",
    "key_place",
    "read_catalogue",
    "renumber",
]

KalshiEnv = Literal["demo", "prod", "local"]  # local: a stand-in on this machine
ENVS: Final[tuple[str, ...]] = get_args(KalshiEnv)
REST_PATH: Final = "/trade-api/v2"
WS_PATH: Final = "/trade-api/ws/v2"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# Every host of an environment, and the host of its stream (Kalshi's documentation of environments).
ALSO: Final[Mapping[str, Mapping[str, str]]] = {
    "prod": {
        "external-api.kalshi.com": "external-api-ws.kalshi.com",
        "api.elections.kalshi.com": "api.elections.kalshi.com",
    },
    "demo": {
        "external-api.demo.kalshi.co": "external-api-ws.demo.kalshi.co",
        "demo-api.kalshi.co": "demo-api.kalshi.co",
    },
}
RECONNECT_NS: Final = NS_PER_SECOND // 4
RECONNECT_MOST_NS: Final = 30 * NS_PER_SECOND
STABLE_NS: Final = 60 * NS_PER_SECOND
KEYRING: Final = "pr3dict"


# --- access ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KalshiAccess:
    """One account (or nobody) at one environment of Kalshi."""

    env: KalshiEnv
    rest_url: str  # ends in /trade-api/v2
    ws_url: str
    signer: Signer | None  # None: public reads only
    account: str  # names environment and key, for lease, journal and screens

    def http(self, clock: Clock, *, answer_s: float = ANSWER_S) -> KalshiHttp:
        """A REST connection with a budget of its own; its owner closes it."""
        return KalshiHttp(self.rest_url, self.signer, clock, Budget(clock.now_ns()), answer_s=answer_s)

    def streams(
        self,
        http_clock: Clock,
        sink: Sink,
        markets: Mapping[str, int],
        on_frame: OnFrame,
        *,
        private: bool,
        ticker: bool = False,
    ) -> KalshiStreams:
        """The stream of these markets (ticker to row), not connected yet.

        Raises:
            ConfigError: there is no key; Kalshi's stream takes none without.
        """
        if self.signer is None:
            raise ConfigError(f"Kalshi's stream needs a key; {_how_to_set(self.env)}")
        below = random.Random().randrange  # noqa: S311 - spreads reconnects, guards nothing
        links = Reconnects(Backoff(RECONNECT_NS, RECONNECT_MOST_NS, below), STABLE_NS)
        return KalshiStreams(
            self.ws_url,
            self.signer,
            http_clock,
            sink,
            markets,
            on_frame,
            links,
            private=private,
            ticker=ticker,
        )


def kalshi_access(
    env: str, *, url: str | None = None, environment: Mapping[str, str], key: bool = True
) -> KalshiAccess:
    """The way to environment `env`; `key` False: none is needed, one that is there is used.

    Raises:
        ConfigError: no such environment, an address that is not of it, or no key that can be used.
    """
    if env not in ENVS:
        raise ConfigError(f"Kalshi has no environment {env!r}; use {', '.join(ENVS)}", key="env")
    known = cast("KalshiEnv", env)
    rest_url, ws_url = _local_urls(url) if known == "local" else _hosted_urls(known, url)
    found = _find_key(known, environment)
    if found is None and key:
        raise ConfigError(f"no key for Kalshi's {env}: {_how_to_set(known)}{_others(known, environment)}")
    signer = None if found is None else Signer(found[0].reveal().strip(), found[1].reveal())
    name = "without a key" if signer is None else signer.key_id[:8]
    return KalshiAccess(known, rest_url, ws_url, signer, f"kalshi {env} {name}")


def _local_urls(url: str | None) -> tuple[str, str]:
    """Addresses of a stand-in; raises `ConfigError` for any machine but this one."""
    if url is None:
        raise ConfigError("needs the address of a stand-in, such as http://127.0.0.1:8080", key="--url")
    text = _checked(url, ("https", "http"))
    parts = urlsplit(text)
    if parts.hostname not in LOOPBACK:
        raise ConfigError(
            f"{url!r} is another machine, and `local` means this one; use demo or prod", key="--url"
        )
    base = text.removesuffix(REST_PATH)
    if urlsplit(base).path:
        raise ConfigError(f"{url!r} has a path; give scheme, host and port only", key="--url")
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{base}{REST_PATH}", f"{scheme}://{parts.netloc}{WS_PATH}"


def _checked(url: str, schemes: tuple[str, ...]) -> str:
    """As `check_url`, with the option's name in the sentence."""
    try:
        return check_url(url, schemes)
    except ConfigError as error:
        raise ConfigError(str(error), key="--url") from None


def _hosted_urls(env: KalshiEnv, url: str | None) -> tuple[str, str]:
    """Addresses of Kalshi; raises `ConfigError` for a host that is not of this environment."""
    if url is None:
        return HOSTS[env]
    parts = urlsplit(_checked(url, ("https",)))
    stream = ALSO[env].get(parts.netloc)
    if stream is None or parts.path not in ("", REST_PATH):
        hosts = ", ".join(f"https://{host}" for host in ALSO[env])
        raise ConfigError(
            f"{url!r} is no address of Kalshi's {env}; it has {hosts}, and --env local takes a stand-in",
            key="--url",
        )
    return f"https://{parts.netloc}{REST_PATH}", f"wss://{stream}{WS_PATH}"


# --- keys ------------------------------------------------------------------------------------------------


def key_names(env: str) -> tuple[str, str]:
    """The variables that hold the id of the key and the private key of an environment."""
    stem = f"PR3DICT_KALSHI_{env.upper()}"
    return f"{stem}_KEY_ID", f"{stem}_PRIVATE_KEY"


def key_files(env: str, environment: Mapping[str, str]) -> tuple[Path, Path]:
    """The files of the config folder that hold them where no variable does."""
    named = environment.get("PR3DICT_CONFIG_DIR", "")
    folder = Path(named).expanduser() if named else Path(platformdirs.user_config_dir("pr3dict", False))
    return folder / f"kalshi-{env}.id", folder / f"kalshi-{env}.pem"


def key_place(env: str, environment: Mapping[str, str]) -> str:
    """Where the key of an environment is taken from, in words; secrets are not read."""
    names, files = key_names(env), key_files(env, environment)
    if any(environment.get(name) for base in names for name in (base, f"{base}_FILE")):
        file = environment.get(f"{names[1]}_FILE", "")
        return f"the file {file} (private to this user)" if file else f"the variable {names[1]}"
    if any(file.exists() or file.is_symlink() for file in files):
        return f"the file {files[1]} (private to this user)"
    return "the system keyring"


def _find_key(env: str, environment: Mapping[str, str]) -> tuple[Secret, Secret] | None:
    """Id and private key from one place: variables, else files, else the keyring; never a mixture."""
    names, files = key_names(env), key_files(env, environment)
    variables = [name for base in names for name in (base, f"{base}_FILE")]
    if any(environment.get(name) for name in variables):
        return find_secret(names[0], environment), find_secret(names[1], environment)
    if any(file.exists() or file.is_symlink() for file in files):
        return read_secret_file(files[0]), read_secret_file(files[1])
    return _from_keyring(env)


def _from_keyring(env: str) -> tuple[Secret, Secret] | None:
    """Both parts from the system keyring; None: the library or the entries are not there."""
    try:
        keyring: Any = importlib.import_module("keyring")
        errors: Any = importlib.import_module("keyring.errors")
    except ImportError:
        return None
    names = (f"kalshi-{env}-key-id", f"kalshi-{env}-private-key")
    try:
        found = [keyring.get_password(KEYRING, name) for name in names]
    except errors.NoKeyringError:
        return None  # the library is there, a keyring is not
    except errors.KeyringError as error:
        what = f"the system keyring did not answer ({type(error).__name__})"
        raise ConfigError(f"{what}; unlock it, or set {key_names(env)[0]}") from None
    if not any(found):
        return None
    for name, text in zip(names, found, strict=True):
        if not text:
            raise ConfigError(f"the system keyring has no entry {name!r}; `keyring set {KEYRING} {name}`")
    return Secret(found[0]), Secret(found[1].replace("\\n", "\n"))


def _how_to_set(env: str) -> str:
    key_id, pem = key_names(env)
    return (
        f"set {key_id} and {pem}_FILE (a file of mode 0600), or put kalshi-{env}.id and kalshi-{env}.pem "
        "into the config folder, or use the system keyring (`pip install pr3dict[keyring]`)"
    )


def _others(env: str, environment: Mapping[str, str]) -> str:
    """A hint where only another environment's key is set."""
    found = [o for o in ENVS if o != env and any(environment.get(name) for name in key_names(o))]
    return f"; the key of {found[0]} is never used for {env}" if found else ""
