"""API keys and the check of signatures: RSA-PSS and Ed25519 over time, method and path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from standins.kalshi.errors import RefusedError, refused
from standins.kalshi.values import MS, fixed_uuid

SKEW_MS: Final = 10_000
_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
READ, WRITE = "read", "write"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the venue knows it. `pem` is the private key, for the client of a test."""

    id: str
    pem: str
    public: Any
    scopes: tuple[str, ...] = (READ, WRITE)
    subaccount: int | None = None
    name: str = "stand-in"


def new_key(
    kind: str = "ed25519", *, name: str = "stand-in", scopes: tuple[str, ...] = (READ, WRITE)
) -> ApiKey:
    """A fresh key, "rsa" or "ed25519"."""
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        form = serialization.PrivateFormat.TraditionalOpenSSL
    else:
        private = ed25519.Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    return ApiKey(fixed_uuid("key", pem), pem, private.public_key(), scopes, name=name)


def sign(key: ApiKey, now_ms: int, method: str, path: str) -> dict[str, str]:
    """The headers of a request, for the stand-in's own tests."""
    text = f"{now_ms}{method}{path}".encode()
    private: Any = serialization.load_pem_private_key(key.pem.encode(), None)
    if isinstance(private, rsa.RSAPrivateKey):
        signature = private.sign(text, _PSS, hashes.SHA256())
    else:
        signature = private.sign(text)
    return {
        "KALSHI-ACCESS-KEY": key.id, "KALSHI-ACCESS-TIMESTAMP": str(now_ms),
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
    }  # fmt: skip


def _unauthenticated(details: str) -> RefusedError:
    return refused(401, "authentication_error", details)


class Doorkeeper:
    """Knows the keys. `skew_ms`: how far a signature's time may be from the venue's or the machine's."""

    def __init__(self, keys: list[ApiKey], *, skew_ms: int = SKEW_MS) -> None:
        self.keys = {key.id: key for key in keys}
        self.skew_ms = skew_ms
        self.region_expires_s: int | None = None

    def check(
        self, headers: Mapping[str, str], method: str, path: str, clocks_ns: tuple[int, ...]
    ) -> ApiKey | None:
        """The key that signed; None: nobody did.

        Raises:
            RefusedError: 401, the signature does not hold.
        """
        key_id = headers.get("KALSHI-ACCESS-KEY")
        stamp, signature = headers.get("KALSHI-ACCESS-TIMESTAMP"), headers.get("KALSHI-ACCESS-SIGNATURE")
        if key_id is None and stamp is None and signature is None:
            return None
        if key_id is None or stamp is None or signature is None:
            raise _unauthenticated("MISSING_HEADERS")
        key = self.keys.get(key_id)
        if key is None:
            raise refused(401, "authentication_error", "NOT_FOUND")
        if not stamp.isascii() or not stamp.isdigit():
            raise _unauthenticated("INVALID_PARAMETER")
        if all(abs(int(stamp) - clock // MS) > self.skew_ms for clock in clocks_ns):
            raise _unauthenticated("header_timestamp_expired")
        try:
            raw = base64.b64decode(signature, validate=True)
            self._verify(key, raw, f"{stamp}{method}{path}".encode())
        except (binascii.Error, InvalidSignature, ValueError):
            raise _unauthenticated("INCORRECT_API_KEY_SIGNATURE") from None
        return key

    @staticmethod
    def _verify(key: ApiKey, signature: bytes, text: bytes) -> None:
        if isinstance(key.public, ed25519.Ed25519PublicKey):
            key.public.verify(signature, text)
        else:
            key.public.verify(signature, text, _PSS, hashes.SHA256())


def allows(key: ApiKey, method: str, path: str) -> bool:
    """Whether a key's scopes cover a request."""
    have = set(key.scopes)
    if method == "GET":
        return READ in have or (path.endswith("/portfolio/balance") and "read::portfolio_balance" in have)
    if WRITE in have:
        return True
    needed = "write::transfer" if "transfer" in path else "write::trade"
    return needed in have
