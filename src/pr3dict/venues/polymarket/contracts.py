"""Calls of Polymarket's contracts that turn dollars into pairs and back, and what a wallet signs for them.

A deposit wallet signs a batch (EIP-712) which the relayer carries out; an EOA signs a transaction of its own
(legacy form with the chain's id, EIP-155). Both name a nonce that the chain takes once: the same batch or
transaction handed in twice happens once at most. Sources: Solidity's ABI, EIP-712, EIP-155.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Operation
from pr3dict.venues.polymarket.sign import CHAIN_ID, is_position_id, keccak256, parse_token_id

COLLATERAL: Final = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"  # pUSD
ADAPTER: Final = "0xAdA100Db00Ca00073811820692005400218FcE1f"
NEG_RISK_ADAPTER: Final = "0xadA2005600Dec949baf300f4C6120000bDB6eAab"
ROUTER: Final = "0x12121212006e4CD160D18e3f00711DA5c3372600"  # of Protocol V2
WALLET_FACTORY: Final = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"

_CALL_TYPE: Final = b"Call(address target,uint256 value,bytes data)"
_BATCH_TYPE: Final = b"Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)" + _CALL_TYPE
_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_MAX_UINT: Final = 2**256


class OperationRequest(NamedTuple):
    """What to do with a market's tokens; micro-contracts.

    `yes_size` and `no_size` are the same of a merge and a split; of a redemption what is held of each.
    """

    operation: Operation
    condition: str  # as the catalogue names it
    yes: str
    no: str
    neg_risk: bool
    yes_size: int
    no_size: int

    @property
    def size(self) -> int:
        """Pairs, or all that is redeemed."""
        return self.yes_size if self.operation != "redeem" else self.yes_size + self.no_size


class Call(NamedTuple):
    """One call of a contract, without money."""

    target: str
    data: bytes


# --- ABI -------------------------------------------------------------------------------------------------


def word(value: int) -> bytes:
    """A number as 32 bytes; raises `DataError` for one that no contract takes."""
    if not 0 <= value < _MAX_UINT:
        raise DataError(f"{value} is no number of a contract's", key="amount")
    return value.to_bytes(32, "big")


def _address(text: str) -> bytes:
    return word(int(text, 16))


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


_SPLIT: Final = _selector("splitPosition(address,bytes32,bytes32,uint256[],uint256)")
_MERGE: Final = _selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)")
_REDEEM: Final = _selector("redeemPositions(address,bytes32,bytes32,uint256[])")
_ROUTER_SPLIT: Final = _selector("split(bytes31,uint256)")
_ROUTER_MERGE: Final = _selector("merge(bytes31,uint256)")
_ROUTER_REDEEM: Final = _selector("redeem(bytes31,uint256,uint256)")
TARGETS: Final = frozenset({ADAPTER, NEG_RISK_ADAPTER, ROUTER})
SPENDING: Final = frozenset({_SPLIT, _ROUTER_SPLIT})
SELECTORS: Final = SPENDING | {_MERGE, _REDEEM, _ROUTER_MERGE, _ROUTER_REDEEM}
_BOTH: Final = word(2) + word(1) + word(2)  # the array of both outcomes' index sets


def _condition(text: str, length: int) -> bytes:
    """A condition of `length` bytes, left in its word; one of Protocol V2 may come padded to 32."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if length == 31 and len(raw) == 32 and raw[31] in (0, 1):
        raw = raw[:31]
    if len(raw) != length:
        raise DataError(f"{text[:80]!r} is no condition of {length} bytes", key="condition")
    return raw.ljust(32, b"\0")


def calls_of(request: OperationRequest) -> tuple[Call, ...]:
    """The calls that carry an operation out.

    Raises:
        DataError: nothing is to be done, or condition or asset are none.
    """
    if request.size <= 0:
        raise DataError(f"a {request.operation} of {request.size} micro-contracts is none", key="size")
    if is_position_id(parse_token_id(request.yes)):
        return _routed(request)
    target = NEG_RISK_ADAPTER if request.neg_risk else ADAPTER
    head = _address(COLLATERAL) + bytes(32) + _condition(request.condition, 32)
    if request.operation == "redeem":
        return (Call(target, _REDEEM + head + word(128) + _BOTH),)
    kind = _MERGE if request.operation == "merge" else _SPLIT
    return (Call(target, kind + head + word(160) + word(request.size) + _BOTH),)


def _routed(request: OperationRequest) -> tuple[Call, ...]:
    condition = _condition(request.condition, 31)
    if request.operation == "redeem":
        sizes = (request.yes_size, request.no_size)
        return tuple(
            Call(ROUTER, _ROUTER_REDEEM + condition + word(place) + word(size))
            for place, size in enumerate(sizes)
            if size > 0
        )
    kind = _ROUTER_MERGE if request.operation == "merge" else _ROUTER_SPLIT
    return (Call(ROUTER, kind + condition + word(request.size)),)


def amount_of(call: Call) -> int:
    """What a split spends, in base units of a dollar; raises `DataError` for one that is cut short."""
    place = 1 if call.data[:4] == _ROUTER_SPLIT else 4
    amount = call.data[4 + 32 * place : 36 + 32 * place]
    if len(amount) != 32:
        raise DataError("a split without an amount", key="calls")
    return int.from_bytes(amount, "big")


# --- a deposit wallet's batch ----------------------------------------------------------------------------


class Batch(NamedTuple):
    """What the owner of a deposit wallet signs: these calls, once, before `deadline_s` (Unix seconds)."""

    wallet: str
    nonce: int
    deadline_s: int
    calls: tuple[Call, ...]

    @property
    def digest(self) -> bytes:
        """The EIP-712 digest."""
        hashed = b"".join(
            keccak256(keccak256(_CALL_TYPE) + _address(call.target) + bytes(32) + keccak256(call.data))
            for call in self.calls
        )
        struct = keccak256(
            keccak256(_BATCH_TYPE)
            + _address(self.wallet)
            + word(self.nonce)
            + word(self.deadline_s)
            + keccak256(hashed)
        )
        domain = keccak256(
            keccak256(_DOMAIN_TYPE)
            + keccak256(b"DepositWallet")
            + keccak256(b"1")
            + word(CHAIN_ID)
            + _address(self.wallet)
        )
        return keccak256(b"\x19\x01" + domain + struct)


# --- a transaction of an EOA -----------------------------------------------------------------------------


class Transaction(NamedTuple):
    """A call that an EOA sends by itself; prices in wei."""

    nonce: int
    gas_price: int
    gas: int
    call: Call

    @property
    def digest(self) -> bytes:
        """What is signed."""
        return keccak256(_rlp([*self._body(), _number(CHAIN_ID), b"", b""]))

    def signed(self, signature: bytes) -> bytes:
        """The bytes that a node takes; `signature`: r, s and 27 or 28."""
        v = signature[64] - 27 + 35 + 2 * CHAIN_ID
        r, s = (_number(int.from_bytes(part, "big")) for part in (signature[:32], signature[32:64]))
        return _rlp([*self._body(), _number(v), r, s])

    def _body(self) -> list[bytes]:
        target = bytes.fromhex(self.call.target[2:])
        numbers = [_number(value) for value in (self.nonce, self.gas_price, self.gas)]
        return [*numbers, target, b"", self.call.data]


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _rlp(items: Sequence[bytes]) -> bytes:
    """A list of byte strings (Ethereum's recursive length prefix)."""
    body = b"".join(i if len(i) == 1 and i[0] < 0x80 else _length(0x80, i) + i for i in items)
    return _length(0xC0, body) + body


def _length(base: int, body: bytes) -> bytes:
    if len(body) < 56:
        return bytes((base + len(body),))
    size = _number(len(body))
    return bytes((base + 55 + len(size),)) + size
