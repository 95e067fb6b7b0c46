"""One request to Polymarket, signed over its exact bytes, paced, with what surely did or did not happen.

Nothing is retried here: only who knows what a request does may repeat it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

from pr3dict import __version__
from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.auth import ApiKey, l1_headers
from pr3dict.venues.polymarket.budget import Budget, Charge, Host, Kind, Told
from pr3dict.venues.polymarket.numbers import seconds
from pr3dict.venues.polymarket.outcomes import RATE_LIMITED, Outcome, Verdict, judge
from pr3dict.venues.polymarket.sign import OrderSigner
from pr3dict.venues.session import NEVER_NS, Clock

Method = Literal["GET", "POST", "DELETE"]
Auth = Literal["none", "l1", "l2"]
Query = Mapping[str, str | int | bool | Sequence[str] | None]  # a list: the name comes once for each
ANSWER_S: Final = 5.0
CONNECT_S: Final = 3.0
MAX_BODY: Final = 64 << 20
USER_AGENT: Final = f"pr3dict/{__version__}"  # what has none is refused at the door
_MOST_RETRY_S: Final = 3_600
_TOO_SLOW: Final = Outcome(Verdict.NOT_SENT, "rate_limit", "the request budget was spent for too long")
_CLOSED: Final = Outcome(Verdict.NOT_SENT, "not_sent", "the connections were given back")
_UNWANTED: Final = Outcome(Verdict.NOT_SENT, "not_sent", "cancelled before its turn came")


class Hosts(NamedTuple):
    """Where Polymarket's services are."""

    clob: str = "https://clob.polymarket.com"
    gamma: str = "https://gamma-api.polymarket.com"
    data: str = "https://data-api.polymarket.com"
    site: str = "https://polymarket.com"
    ws_market: str = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    ws_user: str = "wss://ws-subscriptions-clob.polymarket.com/ws/user"


PROD: Final = Hosts()


class Call(NamedTuple):
    """A request: `path` below its host, `template` as the table of limits names it."""

    method: Method
    path: str
    template: str = ""
    query: Query = MappingProxyType({})
    body: bytes | None = None
    host: Host = "clob"
    auth: Auth = "none"
    kind: Kind = ""  # whose bucket of the signer pays, and how much
    tokens: int = 0
    urgent: bool = False
    nonce: int = 0  # of an L1 call
    wait_ns: int = NEVER_NS  # longest that it may wait for the budget
    wanted: Callable[[], bool] | None = None  # asked when its turn has come; None: it is


class Reply(NamedTuple):
    """What came back. `status` 0: nothing did."""

    outcome: Outcome
    status: int = 0
    body: bytes = b""
    told: Told = Told()


def segment(text: str) -> str:
    """An id as one part of a path."""
    return quote(text, safe="")


def check_url(url: str, schemes: tuple[str, ...]) -> str:
    """`url` without a trailing slash.

    Raises:
        ConfigError: it is no URL of these schemes, or sends a signature in the clear to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{url!r} is no address of an exchange; use one like {PROD.clob}")
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme in ("http", "ws") and not local:
        raise ConfigError(f"{url!r} is not encrypted; use {schemes[0]}")
    return url.rstrip("/")


def check_hosts(hosts: Hosts) -> Hosts:
    """`hosts` without trailing slashes; raises `ConfigError` as `check_url`."""
    rest = (check_url(url, ("https", "http")) for url in hosts[:4])
    return Hosts(*rest, *(check_url(url, ("wss", "ws")) for url in hosts[4:]))


class PolymarketHttp:
    """The REST connections of one account (or, without a key, of nobody)."""

    def __init__(
        self,
        hosts: Hosts,
        clock: Clock,
        budget: Budget,
        *,
        key: ApiKey | None = None,
        signer: OrderSigner | None = None,
        answer_s: float = ANSWER_S,
    ) -> None:
        """`key` signs private calls, `signer` those for keys; `answer_s`: later, the outcome is unknown.

        Raises `ConfigError` for an address that gives signatures away.
        """
        self.hosts = check_hosts(hosts)
        self.clock = clock
        self.budget = budget
        self.key = key
        self.signer = signer
        self.rate_limited = 0  # answers of 429
        self.requests = 0
        self._bases = {
            "clob": self.hosts.clob,
            "gamma": self.hosts.gamma,
            "data": self.hosts.data,
            "site": self.hosts.site,
        }
        self._timeout = aiohttp.ClientTimeout(total=answer_s, sock_connect=min(CONNECT_S, answer_s))
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._turns: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Give back the sockets; what is asked for afterwards is not sent."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, call: Call) -> Reply:
        """Wait for the budget, sign, send, judge. Raises `ConfigError` for a call whose key is missing."""
        if (call.auth == "l2" and self.key is None) or (call.auth == "l1" and self.signer is None):
            raise ConfigError(
                f"{call.method} {call.path} needs a wallet's key; none is set", key="wallet_key"
            )
        if not await self._paid(call):
            return Reply(_TOO_SLOW)
        if call.wanted is not None and not call.wanted():
            return Reply(_UNWANTED)
        return await self._send(call)

    @staticmethod
    def charge(call: Call) -> Charge:
        """What a call uses of the budget."""
        route = (call.method, call.template or call.path)
        return Charge(call.host, route, call.kind, call.tokens, call.urgent)

    async def _paid(self, call: Call) -> bool:
        """Pay for the call, waiting in turn with others of its kind; urgent ones wait for nobody."""
        charge = self.charge(call)
        until_ns = min(self.clock.now_ns() + call.wait_ns, NEVER_NS)
        if call.urgent:
            return await self._take(charge, until_ns)
        async with self._turns.setdefault(call.kind or f"{call.host} {charge.route}", asyncio.Lock()):
            return await self._take(charge, until_ns)

    async def _take(self, charge: Charge, until_ns: int) -> bool:
        while not self.budget.take(charge, now_ns := self.clock.now_ns()):
            wait_ns = self.budget.wait_ns(charge, now_ns)
            if wait_ns > until_ns - now_ns:
                return False
            await self.clock.sleep(wait_ns)
        return True

    def _session_of(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=60),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            )
        return self._session

    def _request_of(self, call: Call) -> tuple[URL, dict[str, str]]:
        pairs = {k: _query_text(v) for k, v in call.query.items() if v is not None}
        query = f"?{urlencode(pairs, doseq=True)}" if pairs else ""
        headers: dict[str, str] = {"Content-Type": "application/json"} if call.body is not None else {}
        base = self._bases[call.host]
        now_s = seconds(self.clock.now_ns())
        if call.auth == "l2" and self.key is not None:
            path = urlsplit(base).path + call.path
            headers.update(self.key.headers(now_s, call.method, path, call.body or b""))
        elif call.auth == "l1" and self.signer is not None:
            headers.update(l1_headers(self.signer, now_s, call.nonce))
        return URL(f"{base}{call.path}{query}", encoded=True), headers

    async def _send(self, call: Call) -> Reply:
        if self._is_closed:
            return Reply(_CLOSED)
        url, headers = self._request_of(call)
        self.requests += 1
        try:
            async with self._session_of().request(
                call.method, url, headers=headers, data=call.body, allow_redirects=False
            ) as answer:
                status, body, said = answer.status, await _read(answer), answer.headers
        except aiohttp.ClientConnectorError as error:
            return Reply(Outcome(Verdict.NOT_SENT, "not_sent", f"no connection: {error.strerror}"))
        except aiohttp.ConnectionTimeoutError:
            return Reply(Outcome(Verdict.NOT_SENT, "not_sent", "no connection in time"))
        except TimeoutError:
            return Reply(Outcome(Verdict.UNKNOWN, text="timeout"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(Outcome(Verdict.UNKNOWN, text=type(error).__name__))
        told, retry_ns = told_by(said), retry_after_ns(said.get("Retry-After", ""))
        self._account(call, status, told)
        return Reply(judge(status, body, by_signer=told.is_there, retry_ns=retry_ns), status, body, told)

    def _account(self, call: Call, status: int, told: Told) -> None:
        charge, now_ns = self.charge(call), self.clock.now_ns()
        self.budget.told(charge, told, now_ns)
        if status == RATE_LIMITED:
            self.rate_limited += 1
            self.budget.refused(charge, told, now_ns)


def told_by(headers: Mapping[str, str]) -> Told:
    """What the Poly-RateLimit headers of an answer say; what can't be read says nothing."""
    return Told(
        _number(headers.get("Poly-RateLimit-Remaining", "")),
        (_number(headers.get("Poly-RateLimit-Reset", "")) or 0) * NS_PER_SECOND,
        headers.get("Poly-RateLimit-Tier", "").strip(),
        headers.get("Poly-RateLimit-Warning", "").strip().lower() == "true",
    )


def retry_after_ns(text: str) -> int:
    """How long an answer asks to wait, up to an hour; 0: it does not say (or says a date)."""
    found = _number(text)
    return max(0, min(found, _MOST_RETRY_S)) * NS_PER_SECOND if found is not None else 0


def _number(text: str) -> int | None:
    """A number of a header, down to a whole one."""
    whole = text.strip().partition(".")[0]
    digits = whole.removeprefix("-")
    return int(whole) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body; `ValueError` for one that no answer of Polymarket's reaches."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            raise ValueError("too large")
        parts.append(part)
    return b"".join(parts)


def _query_text(value: str | int | bool | Sequence[str]) -> str | Sequence[str]:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value
