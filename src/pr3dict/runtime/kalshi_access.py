"""The way to Kalshi: which hosts, and with which key. What is traded there: `runtime/kalshi_markets.py`.

A key belongs to one environment and its hosts: the key of one is never sent to another, because its
variables, files and keyring entries carry the environment's name and the hosts follow from it. Texts show the
first letters of a key's id and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast, get_args
from urllib.parse import urlsplit

from pr3dict.domain.errors import ConfigError
from pr3dict.runtime.kalshi_markets import (
    Catalogue,
    Found,
    Selection,
    find_markets,
    read_catalogue,
    renumber,
)
from pr3dict.runtime.venue_access import KeyPlaces, Part, checked_url, local_url, reconnects
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import ANSWER_S, HOSTS, KalshiHttp, check_url
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import KalshiStreams, OnFrame
from pr3dict.venues.session import Clock, Sink

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
    "key_names",
    "key_place",
    "key_places",
    "read_catalogue",
    "renumber",
]

KalshiEnv = Literal["demo", "prod", "local"]  # local: a stand-in on this machine
ENVS: Final[tuple[str, ...]] = get_args(KalshiEnv)
REST_PATH: Final = "/trade-api/v2"
WS_PATH: Final = "/trade-api/ws/v2"
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


# --- access ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KalshiAccess:
    """One account (or nobody) at one environment of Kalshi."""

    venue: ClassVar[Literal["kalshi"]] = "kalshi"
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
        return KalshiStreams(
            self.ws_url,
            self.signer,
            http_clock,
            sink,
            markets,
            on_frame,
            reconnects(),
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
    parts = [part for part in key_places(env).find(environment) or () if part is not None]
    if not parts and key:
        raise ConfigError(f"no key for Kalshi's {env}: {_how_to_set(known)}{_others(known, environment)}")
    signer = Signer(parts[0].reveal().strip(), parts[1].reveal()) if parts else None
    name = "without a key" if signer is None else signer.key_id[:8]
    return KalshiAccess(known, rest_url, ws_url, signer, f"kalshi {env} {name}")


def _local_urls(url: str | None) -> tuple[str, str]:
    """Addresses of a stand-in; raises `ConfigError` for any machine but this one."""
    parts = local_url(url, check_url, others="demo or prod", path=REST_PATH)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{parts.scheme}://{parts.netloc}{REST_PATH}", f"{scheme}://{parts.netloc}{WS_PATH}"


def _hosted_urls(env: KalshiEnv, url: str | None) -> tuple[str, str]:
    """Addresses of Kalshi; raises `ConfigError` for a host that is not of this environment."""
    if url is None:
        return HOSTS[env]
    parts = urlsplit(checked_url(url, ("https",), check_url))
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


def key_places(env: str) -> KeyPlaces:
    """Where both lie."""
    key_id, pem = key_names(env)
    return KeyPlaces(f"kalshi-{env}", (Part("key-id", key_id, "id"), Part("private-key", pem, "pem")))


def key_place(env: str, environment: Mapping[str, str]) -> str:
    """Where the key of an environment is taken from, in words; secrets are not read."""
    return key_places(env).place(environment, 1)


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
