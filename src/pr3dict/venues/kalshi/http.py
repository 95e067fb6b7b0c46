"""One signed request to Kalshi, paced by the account's budget, with what surely did or did not happen.

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

from pr3dict.domain.errors import ConfigError
from pr3dict.venues.kalshi.budget import COMMON, Budget, Charge
from pr3dict.venues.kalshi.numbers import milliseconds
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Outcome, Verdict, judge
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.session import NEVER_NS, Clock

Method = Literal["GET", "POST", "PUT", "DELETE"]
Query = Mapping[str, str | int | bool | None]
ANSWER_S: Final = 5.0
CONNECT_S: Final = 3.0
MAX_BODY: Final = 64 << 20
_JSON: Final = {"Content-Type": "application/json"}
_TOO_SLOW: Final = Outcome(Verdict.NOT_SENT, "rate_limit", "", "the request budget was spent for too long")
_UNWANTED: Final = Outcome(Verdict.NOT_SENT, "not_sent", "", "cancelled before its turn came")

HOSTS: Final[Mapping[str, tuple[str, str]]] = {
    "prod": (
        "https://external-api.kalshi.com/trade-api/v2",
        "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
    ),
    "demo": (
        "https://external-api.demo.kalshi.co/trade-api/v2",
        "wss://external-api-ws.demo.kalshi.co/trade-api/ws/v2",
    ),
}


class Call(NamedTuple):
    """A request: `path` below the base, `template` as the table of costs names it."""

    method: Method
    path: str
    template: str = ""
    query: Query = MappingProxyType({})
    body: bytes | None = None
    shard: int = COMMON  # whose write bucket pays
    urgent: bool = False
    items: int = 1
    signed: bool = True
    wait_ns: int = NEVER_NS  # longest that it may wait for the budget
    wanted: Callable[[], bool] | None = None  # asked when its turn has come; None: it is


class Reply(NamedTuple):
    """What came back. `status` 0: nothing did."""

    outcome: Outcome
    status: int = 0
    body: bytes = b""


def segment(text: str) -> str:
    """A ticker or an id as one part of a path."""
    return quote(text, safe="")


def check_url(url: str, schemes: Sequence[str]) -> str:
    """`url` without a trailing slash.

    Raises:
        ConfigError: it is no URL of these schemes, or sends a signature in the clear to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{url!r} is no address of an exchange; use one like {HOSTS['demo'][0]}")
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme in ("http", "ws") and not local:
        raise ConfigError(f"{url!r} is not encrypted; use {schemes[0]}")
    return url.rstrip("/")


class KalshiHttp:
    """The REST connection of one account (or, without a signer, of nobody)."""

    def __init__(
        self,
        base_url: str,
        signer: Signer | None,
        clock: Clock,
        budget: Budget,
        *,
        answer_s: float = ANSWER_S,
    ) -> None:
        """`base_url` ends in /trade-api/v2; `answer_s`: without an answer by then, the outcome is unknown."""
        self.base_url = check_url(base_url, ("https", "http"))
        self.clock = clock
        self.budget = budget
        self.rate_limited = 0  # answers of 429
        self.malformed = 0  # answers of success whose body can't be read, counted by who reads it
        self.requests = 0
        self._signer = signer
        self._root = urlsplit(self.base_url).path
        self._timeout = aiohttp.ClientTimeout(total=answer_s, sock_connect=min(CONNECT_S, answer_s))
        self._session: aiohttp.ClientSession | None = None
        self._turns: dict[tuple[bool, int], asyncio.Lock] = {}

    @property
    def is_signed(self) -> bool:
        """Whether there is a key."""
        return self._signer is not None

    async def close(self) -> None:
        """Give back the sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, call: Call) -> Reply:
        """Wait for the budget, sign, send, judge."""
        refusal = await self._paid(call)
        return Reply(refusal) if refusal is not None else await self._send(call)

    def charge(self, call: Call) -> Charge:
        """What a call costs, and which bucket pays."""
        tokens = self.budget.cost(call.method, call.template or call.path, call.items)
        write = call.method != "GET"
        return Charge(tokens, write, call.shard if write else COMMON, call.urgent)

    async def _paid(self, call: Call) -> Outcome | None:
        """Spend the call's tokens, waiting in turn with others of its kind; urgent ones wait for nobody.

        None: it may leave. What is not wanted any more when its turn comes costs nothing.
        """
        if not (call.signed and self._signer):
            return None  # public reads are counted by address, not by account
        charge = self.charge(call)
        until_ns = min(self.clock.now_ns() + call.wait_ns, NEVER_NS)
        if call.urgent:
            return await self._take(call, charge, until_ns)
        async with self._turns.setdefault((charge.write, charge.shard), asyncio.Lock()):
            return await self._take(call, charge, until_ns)

    async def _take(self, call: Call, charge: Charge, until_ns: int) -> Outcome | None:
        while wait_ns := self.budget.wait_ns(charge, now_ns := self.clock.now_ns()):
            if wait_ns > until_ns - now_ns:
                return _TOO_SLOW
            await self.clock.sleep(wait_ns)
        if call.wanted is not None and not call.wanted():
            return _UNWANTED
        self.budget.take(charge, now_ns)
        return None

    def _session_of(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=60)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, cookie_jar=jar)
        return self._session

    def _request_of(self, call: Call) -> tuple[URL, dict[str, str]]:
        pairs = {k: _query_text(v) for k, v in call.query.items() if v is not None}
        query = f"?{urlencode(pairs)}" if pairs else ""
        headers = dict(_JSON) if call.body is not None else {}
        if call.signed and self._signer is not None:
            stamp_ms = milliseconds(self.clock.now_ns())
            headers.update(self._signer.headers(stamp_ms, call.method, self._root + call.path))
        return URL(f"{self.base_url}{call.path}{query}", encoded=True), headers

    async def _send(self, call: Call) -> Reply:
        url, headers = self._request_of(call)
        self.requests += 1
        try:
            async with self._session_of().request(
                call.method, url, headers=headers, data=call.body, allow_redirects=False
            ) as answer:
                status, body = answer.status, await _read(answer)
        except aiohttp.ClientConnectorError as error:
            return Reply(Outcome(Verdict.NOT_SENT, "not_sent", "", f"no connection: {error.strerror}"))
        except aiohttp.ConnectionTimeoutError:
            return Reply(Outcome(Verdict.NOT_SENT, "not_sent", "", "no connection in time"))
        except TimeoutError:
            return Reply(Outcome(Verdict.UNKNOWN, text="timeout"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(Outcome(Verdict.UNKNOWN, text=type(error).__name__))
        if status == RATE_LIMITED:
            self.rate_limited += 1
            self.budget.refused(self.charge(call), self.clock.now_ns())
        return Reply(judge(status, body), status, body)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body; `ValueError` for one that no answer of Kalshi's reaches."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            raise ValueError("too large")
        parts.append(part)
    return b"".join(parts)


def _query_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
