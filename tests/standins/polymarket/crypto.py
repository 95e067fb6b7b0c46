"""EIP-712 as the venue's contracts read it, and the recovery of signers. Nothing of the product is used."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

from standins.polymarket.values import Json

CHAIN_ID: Final = 137
ADDRESSES: Final = {
    "collateral": "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB",
    "conditional": "0x4D97DCd97eC945f40cF65F87097ACe5EA0476045",
    "standard": "0xE111180000d2663C0091e4f400237545B87B996B",
    "neg_risk": "0xe2222d279d744050d28e00520010520000310F59",
    "v3": "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
    "adapter": "0xAdA100Db00Ca00073811820692005400218FcE1f",
    "neg_risk_adapter": "0xadA2005600Dec949baf300f4C6120000bDB6eAab",
    "old_neg_risk_adapter": "0xd91E80cF2E7be2e162c6513ceD06f1dD0dA35296",
    "router": "0x12121212006e4CD160D18e3f00711DA5c3372600",
    "positions": "0x006F54F7f9A22e0000CC2AB60031000000ae9fEF",
    "neg_risk_module": "0x200000900045e3B6259600682756002200028933",
    "wallet_factory": "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07",
}
ORDER_TYPE: Final = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
NESTED_TYPE: Final = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,"
    "bytes32 salt)" + ORDER_TYPE
)
CALL_TYPE: Final = "Call(address target,uint256 value,bytes data)"
BATCH_TYPE: Final = "Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)" + CALL_TYPE
AUTH_TYPE: Final = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
AUTH_TEXT: Final = "This message attests that I control the given wallet"
SECP256K1_HALF: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def keccak(data: bytes) -> bytes:
    """Keccak-256."""
    return _keccak.new(digest_bits=256, data=data).digest()


def raw(text: str, length: int) -> bytes:
    """The bytes of 0x-hex of exactly this length.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{text!r} is no hex string")
    data = bytes.fromhex(text[2:])
    if len(data) != length:
        raise ValueError(f"{text!r} has {len(data)} bytes, not {length}")
    return data


def word(value: int | bytes) -> bytes:
    """An ABI word."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def address_word(address: str) -> bytes:
    """An address as an ABI word."""
    return word(raw(address, 20))


def checksum(address: bytes | str) -> str:
    """EIP-55."""
    plain = (address if isinstance(address, bytes) else raw(address, 20)).hex()
    digest = keccak(plain.encode()).hex()
    letters = (c.upper() if int(d, 16) >= 8 else c for c, d in zip(plain, digest, strict=False))
    return "0x" + "".join(letters)


def domain(name: str, version: str, contract: str = "") -> bytes:
    """A domain separator on Polygon."""
    fields = "string name,string version,uint256 chainId"
    body = keccak(name.encode()) + keccak(version.encode()) + word(CHAIN_ID)
    if contract:
        fields, body = fields + ",address verifyingContract", body + address_word(contract)
    return keccak(keccak(f"EIP712Domain({fields})".encode()) + body)


def digest_of(separator: bytes, struct: bytes) -> bytes:
    """What is signed."""
    return keccak(b"\x19\x01" + separator + struct)


def order_struct(order: Json) -> bytes:
    """hashStruct of an order as it stands on the wire.

    Raises:
        ValueError: a field is not what it must be.
    """
    side = {"BUY": 0, "SELL": 1}[order["side"]]
    return keccak(
        keccak(ORDER_TYPE.encode()) + word(order["salt"]) + address_word(order["maker"])
        + address_word(order["signer"]) + word(int(order["tokenId"])) + word(int(order["makerAmount"]))
        + word(int(order["takerAmount"])) + word(side) + word(order["signatureType"])
        + word(int(order["timestamp"])) + raw(order["metadata"], 32) + raw(order["builder"], 32)
    )  # fmt: skip


def exchange_domain(exchange: str) -> bytes:
    """The domain of one of the three exchanges ("standard", "neg_risk", "v3")."""
    version = "3" if exchange == "v3" else "2"
    return domain("Polymarket CTF Exchange", version, ADDRESSES[exchange])


def nested_digest(separator: bytes, struct: bytes, wallet: str) -> bytes:
    """What the owner of a deposit wallet signs for an order (ERC-7739)."""
    nested = keccak(
        keccak(NESTED_TYPE.encode()) + struct + keccak(b"DepositWallet") + keccak(b"1") + word(CHAIN_ID)
        + address_word(wallet) + word(0)
    )  # fmt: skip
    return digest_of(separator, nested)


def batch_digest(wallet: str, nonce: int, deadline: int, calls: Sequence[tuple[str, int, bytes]]) -> bytes:
    """What the owner of a deposit wallet signs for a batch of calls."""
    hashed = b"".join(
        keccak(keccak(CALL_TYPE.encode()) + address_word(target) + word(value) + keccak(data))
        for target, value, data in calls
    )
    struct = keccak(
        keccak(BATCH_TYPE.encode()) + address_word(wallet) + word(nonce) + word(deadline) + keccak(hashed)
    )
    return digest_of(domain("DepositWallet", "1", wallet), struct)


def auth_digest(address: str, timestamp: str, nonce: int) -> bytes:
    """What a wallet signs to get its API key."""
    struct = keccak(
        keccak(AUTH_TYPE.encode()) + address_word(address) + keccak(timestamp.encode()) + word(nonce)
        + keccak(AUTH_TEXT.encode())
    )  # fmt: skip
    return digest_of(domain("ClobAuthDomain", "1"), struct)


def recover(digest: bytes, signature: bytes) -> str:
    """Who signed.

    Raises:
        ValueError: nobody can have, or with a high s, which contracts refuse.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise ValueError("a signature has 65 bytes and ends in 27 or 28")
    if int.from_bytes(signature[32:64], "big") > SECP256K1_HALF:
        raise ValueError("the signature's s is high")
    recoverable = signature[:64] + bytes([signature[64] - 27])
    public = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    return checksum(keccak(public.format(compressed=False)[1:])[12:])


def sign_digest(key: str, digest: bytes) -> bytes:
    """r, s and v of a private key, for the stand-in's own tests."""
    signature = PrivateKey(raw(key, 32)).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


def address_of(key: str) -> str:
    """The address of a private key."""
    public = PrivateKey(raw(key, 32)).public_key.format(compressed=False)
    return checksum(keccak(public[1:])[12:])


def hmac_text(secret: str, timestamp: str, method: str, path: str, body: str) -> str:
    """The signature of a private request.

    Raises:
        ValueError: the secret is no url-safe base64.
    """
    try:
        key = base64.urlsafe_b64decode(secret)
    except binascii.Error as error:
        raise ValueError("the secret is no url-safe base64") from error
    text = f"{timestamp}{method}{path}{body}".encode()
    return base64.urlsafe_b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def selector(signature: str) -> bytes:
    """The first four bytes of a call."""
    return keccak(signature.encode())[:4]


def words_of(data: bytes) -> list[int]:
    """The ABI words behind a selector."""
    return [int.from_bytes(data[at : at + 32], "big") for at in range(4, len(data) - 31, 32)]


def array_of(words: Sequence[int], place: int) -> list[int]:
    """The dynamic array whose offset stands at a place.

    Raises:
        ValueError: the data ends before it does.
    """
    start = words[place] // 32
    count = words[start] if start < len(words) else -1
    if not 0 <= count <= len(words) - start - 1:
        raise ValueError("an array is cut short")
    return list(words[start + 1 : start + 1 + count])


def address_in(value: int) -> str:
    """An address from an ABI word."""
    return checksum(value.to_bytes(32, "big")[12:])


def v2_id(token: Any) -> bool:
    """Whether an asset is a position of the second protocol."""
    return int(token) & ((2**64 - 1) << 40) == 0
