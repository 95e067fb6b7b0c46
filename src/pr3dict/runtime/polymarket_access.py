"""The way to Polymarket: hosts, wallet, API key. What is traded there: `runtime/polymarket_markets.py`.

A wallet's key belongs to one environment: its variables, files and keyring entries carry the environment's
name, and the hosts follow from it. Texts show the wallet's address and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple, cast, get_args

from pr3dict.domain.errors import ConfigError
from pr3dict.runtime.logs import Secret
from pr3dict.runtime.venue_access import (
    KeyPlaces,
    Part,
    checked_url,
    config_folder,
    local_url,
    reconnects,
)
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.book import BookSpec
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import ANSWER_S, PROD, Hosts, PolymarketHttp, check_url
from pr3dict.venues.polymarket.inventory import OperationPort
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.relayer import RelayerKey, operation_port
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind
from pr3dict.venues.polymarket.signing import RemoteSigner
from pr3dict.venues.polymarket.streams import OnFrame, PolymarketStreams
from pr3dict.venues.session import Clock, Sink

PolymarketEnv = Literal["prod", "local"]  # local: a stand-in on this machine; there is no demo
ENVS: Final[tuple[str, ...]] = get_args(PolymarketEnv)
# How a wallet signs, and whether by a session key.
KINDS: Final[Mapping[str, tuple[WalletKind, bool]]] = {
    "eoa": (WalletKind.EOA, False),
    "proxy": (WalletKind.PROXY, False),
    "safe": (WalletKind.SAFE, False),
    "deposit": (WalletKind.DEPOSIT, False),
    "session": (WalletKind.DEPOSIT, True),
}


WalletSigner = WalletKey | RemoteSigner  # a key of this process, or one behind the socket of `pr3dict signer`


class Urls(NamedTuple):
    """Where Polymarket's services are; `relayer` and `rpc` carry out merges and show the chain."""

    hosts: Hosts = PROD
    relayer: str = "https://relayer-v2.polymarket.com"
    rpc: str = "https://polygon.drpc.org"


@dataclass(frozen=True, slots=True)
class PolymarketAccess:
    """One wallet (or nobody) at one environment of Polymarket."""

    venue: ClassVar[Literal["polymarket"]] = "polymarket"
    env: PolymarketEnv
    urls: Urls
    signer: WalletSigner | None  # None: public reads only
    key: ApiKey | None  # None: not derived yet, or nobody
    account: str  # names environment and wallet, for lease, journal and screens
    relayer_key: RelayerKey | None = None  # for merges of a deposit wallet; None: it is not set

    def operations(self, clock: Clock) -> OperationPort:
        """Who merges pairs, splits and redeems for this wallet; its owner closes it.

        Raises:
            ConfigError: there is no wallet, it is of a kind whose pairs are merged at the web site only, or
                the relayer's key is missing.
        """
        if self.signer is None:
            raise ConfigError(f"no wallet for Polymarket's {self.env}; {_how_to_set(self.env)}")
        return operation_port(
            relayer=self.urls.relayer,
            rpc=self.urls.rpc,
            signer=self.signer,
            key=self.relayer_key,
            clock=clock,
        )

    def http(self, clock: Clock, *, answer_s: float = ANSWER_S) -> PolymarketHttp:
        """REST connections with a budget of their own; their owner closes them."""
        return PolymarketHttp(
            self.urls.hosts,
            clock,
            Budget(clock.now_ns()),
            key=self.key,
            signer=self.signer,
            answer_s=answer_s,
        )

    def streams(
        self, clock: Clock, sink: Sink, markets: Iterable[BookSpec], on_frame: OnFrame, *, private: bool
    ) -> PolymarketStreams:
        """The streams of these markets, not connected yet; `private`: the account's as well.

        Raises:
            ConfigError: the account's channel needs an API key, and there is none.
        """
        if private and self.key is None:
            raise ConfigError(f"the account's channel needs an API key; {_how_to_set(self.env)}")
        hosts = self.urls.hosts
        key = self.key if private else None
        return PolymarketStreams(
            hosts.ws_market, hosts.ws_user, clock, sink, markets, on_frame, reconnects, key=key
        )

    async def with_api_key(self, clock: Clock) -> PolymarketAccess:
        """The same access with an API key: the one that is set, else the wallet's own.

        Where the wallet has none yet, one is made.

        Raises:
            ConfigError: there is no wallet.
            WorkError: Polymarket gave no key.
            DataError: its answer holds none.
        """
        if self.key is not None:
            return self
        if self.signer is None:
            raise ConfigError(f"no wallet for Polymarket's {self.env}; {_how_to_set(self.env)}")
        http = self.http(clock)
        try:
            key = await PolymarketOrders(http).find_key()
        finally:
            await http.close()
        for part in key.parts()[1:]:
            Secret(part)  # known to the log's filter from now on
        return replace(self, key=key)


def polymarket_access(
    env: str, *, url: str | None = None, environment: Mapping[str, str], key: bool = True
) -> PolymarketAccess:
    """The way to environment `env`; `key` False: for public reads alone, so no wallet is looked for.

    Raises:
        ConfigError: no such environment, an address that is not of it, or no wallet that can be used.
    """
    if env not in ENVS:
        raise ConfigError(f"Polymarket has no environment {env!r}; use {' or '.join(ENVS)}", key="env")
    known = cast("PolymarketEnv", env)
    urls = _local_urls(url) if known == "local" else _hosted_urls(url)
    if not key:
        return PolymarketAccess(known, urls, None, None, f"polymarket {env} without a wallet")
    wallet = _find_wallet(known, environment)
    if wallet is None:
        what = f"no wallet for Polymarket's {env}: {_how_to_set(known)}"
        raise ConfigError(f"{what}{_others(known, environment)}")
    signer, api_key, relayer_key = wallet
    return PolymarketAccess(
        known, urls, signer, api_key, f"polymarket {env} {signer.maker[:10]}", relayer_key
    )


def _local_urls(url: str | None) -> Urls:
    """Addresses of a stand-in; raises `ConfigError` for any machine but this one."""
    parts = local_url(url, check_url, others="prod")
    base = f"{parts.scheme}://{parts.netloc}"
    ws = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}/ws"
    hosts = Hosts(base, f"{base}/gamma", base, base, f"{ws}/market", f"{ws}/user")
    return Urls(hosts, f"{base}/relayer", f"{base}/rpc")


def _hosted_urls(url: str | None) -> Urls:
    """Addresses of Polymarket; raises `ConfigError` for any other."""
    if url is not None and checked_url(url, ("https",), check_url) != PROD.clob:
        raise ConfigError(
            f"{url!r} is no address of Polymarket's; it has {PROD.clob}, and --env local takes a stand-in",
            key="--url",
        )
    return Urls()


# --- wallets ---------------------------------------------------------------------------------------------


def _stem(env: str) -> str:
    return f"PR3DICT_POLYMARKET_{env.upper()}"


def signer_variable(env: str) -> str:
    """The variable that names the socket of a signer process (`pr3dict signer`)."""
    return f"{_stem(env)}_SIGNER_SOCKET"


def wallet_places(env: str) -> KeyPlaces:
    """Where the wallet's key lies, and what may lie beside it: keys of the order API and of the relayer."""
    stem = _stem(env)
    names = ("wallet-key", "api-key", "api-secret", "api-passphrase", "relayer-key")
    parts = [Part(n, f"{stem}_{n.upper().replace('-', '_')}", n, optional=n != names[0]) for n in names]
    return KeyPlaces(f"polymarket-{env}", tuple(parts))


def wallet_place(env: str, environment: Mapping[str, str]) -> str:
    """Where the key of an environment's wallet is taken from, in words; secrets are not read."""
    socket = environment.get(signer_variable(env), "")
    return f"the signer process behind {socket}" if socket else wallet_places(env).place(environment, 0)


class _Wallet(NamedTuple):
    signer: WalletSigner
    key: ApiKey | None
    relayer_key: RelayerKey | None


def _find_wallet(env: str, environment: Mapping[str, str]) -> _Wallet | None:
    """The wallet whose key is here, or behind a signer's socket; None: neither is named."""
    places, socket = wallet_places(env), environment.get(signer_variable(env), "")
    signer: WalletSigner
    if socket:
        signer, rest = _remote(places, Path(socket).expanduser(), environment)
    else:
        found = places.find(environment)
        if found is None or found[0] is None:
            return None
        kind, session, funder = _wallet(env, environment)
        signer, rest = WalletKey(found[0].reveal(), kind, funder, session=session), found[1:]
    *api, relayer = (None if part is None else part.reveal().strip() for part in rest)
    parts = [part for part in api if part is not None]
    if len(parts) not in (0, 3):
        names = ", ".join(part.variable for part in places.parts[1:4])
        raise ConfigError(f"an API key has three parts; set {names}, or none of them and it is derived")
    return _Wallet(
        signer,
        ApiKey(signer.address, *parts) if parts else None,
        None if relayer is None else RelayerKey(signer.address, relayer),
    )


def _remote(
    places: KeyPlaces, socket: Path, environment: Mapping[str, str]
) -> tuple[WalletSigner, tuple[Secret | None, ...]]:
    """The wallet of a signer process, and the other keys, which variables may hold."""
    first, *others = places.parts
    if any(environment.get(name) for name in (first.variable, f"{first.variable}_FILE")):
        raise ConfigError(f"{first.variable} and the signer's socket are both set; keep one of them")
    rest = replace(places, parts=tuple(others)).in_variables(environment)
    return RemoteSigner(socket), rest


def _wallet(env: str, environment: Mapping[str, str]) -> tuple[WalletKind, bool, str]:
    """Kind, whether by a session key, and address of the wallet that the key acts for; no secrets."""
    kind_name, funder_name = f"{_stem(env)}_WALLET_KIND", f"{_stem(env)}_FUNDER"
    kind, funder = environment.get(kind_name, "").strip(), environment.get(funder_name, "").strip()
    if not kind and not funder:
        kind, funder = _wallet_file(config_folder(environment) / f"polymarket-{env}.wallet")
    if not kind and funder:
        raise ConfigError(f"say how the wallet signs: {', '.join(KINDS)}", key=kind_name)
    known = KINDS.get((kind or "eoa").lower())
    if known is None:
        raise ConfigError(f"{kind!r} is no kind of wallet; use one of {', '.join(KINDS)}", key=kind_name)
    if known[0] is not WalletKind.EOA and not funder:
        raise ConfigError(
            "the wallet's address is not set; it is on your Polymarket profile", key=funder_name
        )
    return *known, funder


def _wallet_file(file: Path) -> tuple[str, str]:
    """Kind and address of a line like `deposit 0x...`; ("", ""): there is no such file."""
    try:
        words = file.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read ({error})") from None
    if len(words) not in (1, 2):
        raise ConfigError(f"{file}: write the kind of the wallet and its address, as `deposit 0x...`")
    return words[0], words[1] if len(words) > 1 else ""


def _how_to_set(env: str) -> str:
    stem = _stem(env)
    return (
        f"set {stem}_WALLET_KEY_FILE (a file of mode 0600) and, unless the key's own address holds the "
        f"money, {stem}_WALLET_KIND and {stem}_FUNDER; or put polymarket-{env}.wallet-key and "
        f"polymarket-{env}.wallet into the config folder, or use the system keyring "
        "(`pip install pr3dict[keyring]`)"
    )


def _others(env: str, environment: Mapping[str, str]) -> str:
    """A hint where only another environment's wallet is set."""
    names = {o: wallet_places(o).parts[0].variable for o in ENVS if o != env}
    found = [o for o, name in names.items() if any(environment.get(one) for one in (name, f"{name}_FILE"))]
    return f"; the key of {found[0]} is never used for {env}" if found else ""
