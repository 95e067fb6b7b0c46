"""Who carries operations out: Polymarket's relayer for a deposit wallet, a node for an EOA.

A name holds the nonce that the chain takes once, so the same operation handed in twice happens once at most:
`12:1790000000` is a batch with nonce 12 that nobody can carry out after that second, and a transaction of an
EOA is named by nonce, price and amount of gas, and hash. The relayer's word on a batch that it took is its
end. Where its answer was lost, the batch's deadline is waited for: afterwards the wallet's nonce
says whether it happened.

The bytes are those of the official client `polymarket-client`, which is not used here because it names
neither nonce nor deadline before it sends, and wants the wallet's key for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import aiohttp
import msgspec

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.contracts import (
    WALLET_FACTORY,
    Batch,
    OperationRequest,
    Transaction,
    calls_of,
)
from pr3dict.venues.polymarket.http import CONNECT_S, USER_AGENT, check_url, segment
from pr3dict.venues.polymarket.inventory import (
    OperationBusyError,
    OperationPort,
    OperationUnknownError,
    Progress,
    Stage,
)
from pr3dict.venues.polymarket.numbers import seconds
from pr3dict.venues.polymarket.outcomes import problem_of
from pr3dict.venues.polymarket.sign import CHAIN_ID, HasDigest, WalletKind, keccak256
from pr3dict.venues.polymarket.signing import SigningRefusedError
from pr3dict.venues.session import Clock

ANSWER_S: Final = 15.0
DEADLINE_S: Final = 240  # a batch that was not carried out by then never is
MARGIN_S: Final = 30  # how far the chain's clock may be behind ours
RESEND_NS: Final = 60 * NS_PER_SECOND
CONFIRMATIONS: Final = 8  # blocks above a receipt's
GONE_LOOKS: Final = 30  # equal looks before a nonce that another transaction used is believed
_REFUSED: Final = ("insufficient funds", "no connection")  # after which a transaction is nowhere
_MAX_BODY: Final = 1 << 20
_DONE: Final[Mapping[str, Stage]] = {
    "STATE_CONFIRMED": Stage.CONFIRMED,
    "STATE_FAILED": Stage.FAILED,
    "STATE_INVALID": Stage.FAILED,
}
_encode: Final = msgspec.json.Encoder().encode


class ChainSigner(Protocol):
    """Whose signature the chain wants: `WalletKey`, or a key behind a door of its own."""

    @property
    def address(self) -> str:
        """The address of the signing key."""

    @property
    def maker(self) -> str:
        """The wallet that holds money and tokens."""

    @property
    def kind(self) -> WalletKind:
        """How the wallet signs."""

    def sign_contents(self, contents: HasDigest) -> bytes:
        """The signature of a `Batch` or `Transaction`; raises `SigningRefusedError`."""


class RelayerKey(NamedTuple):
    """Polymarket's key for its relayer (web site: Settings, API Keys); shown by its owner only."""

    owner: str
    key: str

    def __repr__(self) -> str:
        return f"RelayerKey({self.owner})"

    def headers(self) -> dict[str, str]:
        """What each request carries."""
        return {"RELAYER_API_KEY": self.key, "RELAYER_API_KEY_ADDRESS": self.owner}


class Door:
    """JSON over HTTP where only what surely happened counts."""

    def __init__(self, url: str, headers: Mapping[str, str], answer_s: float) -> None:
        self._url = check_url(url, ("https", "http"))
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        self._timeout = aiohttp.ClientTimeout(total=answer_s, sock_connect=min(CONNECT_S, answer_s))
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give back the sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """The object of a good answer.

        Raises:
            OperationBusyError: surely refused, or never sent.
            OperationUnknownError: anything else.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        data = None if body is None else _encode(body)
        kind = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._url + path, params=query, data=data, headers=kind, allow_redirects=False
            ) as answer:
                status, raw = answer.status, await answer.content.read(_MAX_BODY)
        except aiohttp.ClientConnectorError as error:
            raise OperationBusyError(f"no connection: {error.strerror}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise OperationUnknownError(type(error).__name__) from None
        return _judged(status, raw)


def _judged(status: int, raw: bytes) -> dict[str, Any]:
    """An answer by what it proves; raises as `Door.ask`."""
    if 400 <= status < 500 and status not in (408, 409):
        raise OperationBusyError(problem_of(raw) or f"HTTP {status}")
    try:
        found: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not 200 <= status < 300 or not isinstance(found, dict):
        raise OperationUnknownError(problem_of(raw) or f"HTTP {status}")
    return found


# --- a deposit wallet ------------------------------------------------------------------------------------


class RelayerPort:
    """An `OperationPort` for a deposit wallet."""

    def __init__(
        self, url: str, signer: ChainSigner, key: RelayerKey, clock: Clock, *, answer_s: float = ANSWER_S
    ) -> None:
        """Raises `ConfigError` for an address that gives the key away."""
        self._door = Door(url, key.headers(), answer_s)
        self._signer = signer
        self._clock = clock

    async def close(self) -> None:
        """Give back the sockets."""
        await self._door.close()

    async def prepare(self, request: OperationRequest) -> str:
        """The wallet's next nonce and a deadline."""
        calls_of(request)  # one that can't be called has no name
        return f"{await self._nonce()}:{self._now_s() + DEADLINE_S}"

    async def submit(self, request: OperationRequest, name: str) -> str:
        """Sign the batch and hand it in; returns the relayer's id of it."""
        nonce, deadline_s = _parts(name, 2)
        batch = Batch(self._signer.maker, nonce, deadline_s, calls_of(request))
        try:
            signature = self._signer.sign_contents(batch)
        except SigningRefusedError as error:
            raise OperationBusyError(str(error)) from None
        calls = [{"target": c.target, "value": "0", "data": "0x" + c.data.hex()} for c in batch.calls]
        body = {
            "type": "WALLET",
            "from": self._signer.address,
            "to": WALLET_FACTORY,
            "nonce": str(nonce),
            "signature": "0x" + signature.hex(),
            "metadata": f"{request.operation} {request.size} of {request.condition}",
            "depositWalletParams": {
                "depositWallet": batch.wallet,
                "deadline": str(deadline_s),
                "calls": calls,
            },
        }
        said = (await self._door.ask("POST", "/submit", body=body)).get("transactionID")
        if not isinstance(said, str) or not said:
            raise OperationUnknownError("the relayer's answer names no transaction")
        return said

    async def stage(self, request: OperationRequest | None, name: str, venue_id: str) -> Progress:  # noqa: ARG002 - a port's signature
        """The relayer's word on what it took; else, after the deadline, the wallet's nonce."""
        nonce, deadline_s = _parts(name, 2)
        try:
            if venue_id:
                found = await self._door.ask("GET", f"/v1/account/transactions/{segment(venue_id)}")
                stage = _DONE.get(str(found.get("state")), Stage.PENDING)
                return Progress(stage, str(found.get("error_msg") or found.get("state")))
            if self._now_s() <= deadline_s + MARGIN_S:
                return Progress(Stage.PENDING)
            if await self._nonce() > nonce:
                return Progress(Stage.CONFIRMED)
        except OperationBusyError as error:
            raise OperationUnknownError(str(error)) from None
        return Progress(Stage.FAILED, "it was never handed in, or not carried out in time")

    async def _nonce(self) -> int:
        query = {"address": self._signer.address, "type": "WALLET"}
        found = await self._door.ask("GET", "/v1/account/transactions/params", query=query)
        return _whole(found.get("nonce"))

    def _now_s(self) -> int:
        return seconds(self._clock.now_ns())


# --- an EOA ----------------------------------------------------------------------------------------------


class NodePort:
    """An `OperationPort` for an EOA, which sends by itself and pays for gas (POL)."""

    def __init__(self, url: str, signer: ChainSigner, clock: Clock, *, answer_s: float = ANSWER_S) -> None:
        """Raises `ConfigError` for an address that is not encrypted."""
        self._door = Door(url, {}, answer_s)
        self._signer = signer
        self._clock = clock
        self._raw = ("", b"")  # hash and bytes of the newest: who signs may count what is signed
        self._sent_ns: dict[str, int] = {}  # names to when they were last sent, or first asked for
        self._gone: dict[str, int] = {}  # names to looks that showed another transaction in their place

    async def close(self) -> None:
        """Give back the sockets."""
        await self._door.close()

    async def prepare(self, request: OperationRequest) -> str:
        """Nonce, gas and hash of the transaction, which is signed but goes nowhere yet."""
        calls = calls_of(request)
        call = calls[0]
        if len(calls) > 1:
            raise OperationBusyError("an EOA redeems one outcome at a time")
        if _hex(await self._rpc("eth_chainId")) != CHAIN_ID:
            raise OperationBusyError(f"the node is of another chain than {CHAIN_ID}")
        latest, pending = await self._count("latest"), await self._count("pending")
        if pending != latest:
            raise OperationBusyError("another transaction of the wallet is under way")
        wanted = {"from": self._signer.address, "to": call.target, "data": "0x" + call.data.hex()}
        gas = _hex(await self._rpc("eth_estimateGas", wanted)) * 13 // 10
        price = _hex(await self._rpc("eth_gasPrice")) * 5 // 4
        raw, tx = self._signed(Transaction(latest, price, gas, call))
        self._raw = (tx, raw)
        return f"{latest}:{price}:{gas}:{tx}"

    async def submit(self, request: OperationRequest, name: str) -> str:
        """Send the transaction; returns its hash."""
        raw, tx = self._rebuilt(request, name)
        try:
            await self._rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except OperationBusyError as error:
            if any(word in str(error).lower() for word in _REFUSED):
                raise
            raise OperationUnknownError(str(error)) from None  # another node may have it
        return tx

    def _rebuilt(self, request: OperationRequest, name: str) -> tuple[bytes, str]:
        """The transaction of a name: as it was prepared, or signed once more after a restart."""
        tx, raw = self._raw
        if tx and tx == name.rpartition(":")[2]:
            return raw, tx
        nonce, price, gas = _parts(name, 3)
        return self._signed(Transaction(nonce, price, gas, calls_of(request)[0]))

    def _signed(self, transaction: Transaction) -> tuple[bytes, str]:
        """Its bytes and hash; the same transaction has the same ones for ever."""
        try:
            raw = transaction.signed(self._signer.sign_contents(transaction))
        except SigningRefusedError as error:
            raise OperationBusyError(str(error)) from None
        return raw, "0x" + keccak256(raw).hex()

    async def stage(self, request: OperationRequest | None, name: str, venue_id: str) -> Progress:
        """The chain's word; a transaction that no node knows is sent again, as it is."""
        nonce, tx = _parts(name, 3)[0], venue_id or name.rpartition(":")[2]
        try:
            used = await self._count("latest") > nonce  # before the receipt, which may come meanwhile
            receipt = await self._rpc("eth_getTransactionReceipt", tx)
            if isinstance(receipt, dict):
                return await self._judged(receipt)
            if used:
                looks = self._gone[name] = self._gone.get(name, 0) + 1
                text = "another transaction of the wallet took its place"
                return Progress(Stage.FAILED if looks >= GONE_LOOKS else Stage.PENDING, text)
            await self._send_again(request, name, tx)
        except OperationBusyError as error:
            raise OperationUnknownError(str(error)) from None
        return Progress(Stage.PENDING)

    async def _send_again(self, request: OperationRequest | None, name: str, tx: str) -> None:
        """Send a transaction once more where nobody has heard of it for a while; it is the same one."""
        now_ns = self._clock.now_ns()
        if request is None or now_ns < self._sent_ns.setdefault(name, now_ns) + RESEND_NS:
            return
        self._sent_ns[name] = now_ns
        raw, again = self._rebuilt(request, name)
        if again == tx:
            with suppress(OperationBusyError):  # who knows it already refuses it
                await self._rpc("eth_sendRawTransaction", "0x" + raw.hex())

    async def _judged(self, receipt: dict[str, Any]) -> Progress:
        """A receipt, once enough blocks stand on its own."""
        if "blockNumber" in receipt:
            above = _hex(await self._rpc("eth_blockNumber")) - _hex(receipt["blockNumber"])
            if above < CONFIRMATIONS:
                return Progress(Stage.PENDING)
        if _hex(receipt.get("status")) == 1:
            return Progress(Stage.CONFIRMED)
        return Progress(Stage.FAILED, "the transaction was reverted")

    async def _count(self, block: str) -> int:
        return _hex(await self._rpc("eth_getTransactionCount", self._signer.address, block))

    async def _rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        found = await self._door.ask("POST", "", body=body)
        if "result" in found:
            return found["result"]
        problem = found.get("error")
        text = problem.get("message") if isinstance(problem, dict) else None
        raise OperationBusyError(f"{method}: {text or 'no result'}")


# --- numbers and the choice between both -------------------------------------------------------------------


def _whole(said: Any) -> int:
    text = str(said) if type(said) in (int, str) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise OperationUnknownError(f"{text[:40]!r} is no nonce")
    return int(text)


def _hex(said: Any) -> int:
    if not isinstance(said, str) or not said.startswith("0x") or len(said) > 66:
        raise OperationUnknownError(f"{str(said)[:40]!r} is no number of a node's")
    try:
        return int(said, 16)
    except ValueError:
        raise OperationUnknownError(f"{said[:40]!r} is no number of a node's") from None


def _parts(name: str, count: int) -> list[int]:
    """The numbers at the head of a name; raises `DataError` for one that is not of this kind of wallet."""
    parts = name.split(":")
    if len(parts) < count or not all(part.isascii() and part.isdecimal() for part in parts[:count]):
        raise DataError(f"{name[:80]!r} is no operation of this kind of wallet", key="name")
    return [int(part) for part in parts[:count]]


def operation_port(
    *, relayer: str, rpc: str, signer: ChainSigner, key: RelayerKey | None, clock: Clock
) -> OperationPort:
    """The port for a wallet; `relayer` and `rpc` are addresses, `key` is for the relayer (an EOA needs none).

    Raises:
        ConfigError: the wallet is a proxy or a Safe, whose operations are done at the web site only; a
            deposit wallet's relayer key is missing; or an address is not encrypted.
    """
    if signer.kind is WalletKind.EOA:
        return NodePort(rpc, signer, clock)
    if signer.kind is not WalletKind.DEPOSIT:
        what = f"pairs of a {signer.kind.name.lower()} wallet are merged at polymarket.com only"
        raise ConfigError(f"{what}; turn merging off, or move to a deposit wallet", key="wallet_kind")
    if key is None:
        what = "merging needs the relayer's key (polymarket.com, Settings, API Keys)"
        raise ConfigError(f"{what}; set it, or turn merging off", key="relayer_key")
    return RelayerPort(relayer, signer, key, clock)
