"""Signatures of Kalshi's requests: RSA-PSS or Ed25519 over time, method and path, never over query or body.

The keys' text comes from `runtime/credentials.py`; nothing here reads, shows or keeps it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from pr3dict.domain.errors import ConfigError

KEY_HEADER: Final = "KALSHI-ACCESS-KEY"
TIME_HEADER: Final = "KALSHI-ACCESS-TIMESTAMP"
SIGNATURE_HEADER: Final = "KALSHI-ACCESS-SIGNATURE"
MIN_RSA_BITS: Final = 2048
_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
_SHA256: Final = hashes.SHA256()


def signed_text(timestamp_ms: int, method: str, path: str) -> bytes:
    """What is signed: `path` is the whole path of the URL from its root; a query is cut off."""
    return f"{timestamp_ms}{method.upper()}{path.partition('?')[0]}".encode()


class Signer:
    """One API key: who we are and how we prove it. It shows its id's first characters only."""

    __slots__ = ("_key", "algorithm", "key_id")

    def __init__(self, key_id: str, pem: str) -> None:
        """`pem` is an unencrypted private key, RSA or Ed25519.

        Raises:
            ConfigError: the text is no such key, or the id is missing; the text is not part of the sentence.
        """
        if not key_id or not key_id.isascii() or any(c.isspace() for c in key_id):
            raise ConfigError("the id of the API key is missing or no id: copy it from Kalshi's page of keys")
        self.key_id = key_id
        self._key = _read(pem)
        self.algorithm: Literal["rsa-pss", "ed25519"] = (
            "ed25519" if isinstance(self._key, ed25519.Ed25519PrivateKey) else "rsa-pss"
        )

    def __repr__(self) -> str:
        return f"Signer({self.key_id[:4]}..., {self.algorithm})"

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a signer holds a private key and is never copied or stored")

    def sign(self, timestamp_ms: int, method: str, path: str) -> str:
        """The signature in base64."""
        text = signed_text(timestamp_ms, method, path)
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            raw = self._key.sign(text)
        else:
            raw = self._key.sign(text, _PSS, _SHA256)
        return base64.b64encode(raw).decode("ascii")

    def headers(self, timestamp_ms: int, method: str, path: str) -> Mapping[str, str]:
        """The three headers of an authenticated request, or of a WebSocket's upgrade (GET)."""
        return {
            KEY_HEADER: self.key_id,
            TIME_HEADER: str(timestamp_ms),
            SIGNATURE_HEADER: self.sign(timestamp_ms, method, path),
        }


def _read(pem: str) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    what = "an unencrypted private key in PEM form, RSA or Ed25519: download the key anew from Kalshi"
    try:
        key = serialization.load_pem_private_key(pem.strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"the text of the API key is not {what}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(f"the API key is a {type(key).__name__}, not {what}")
    if key.key_size < MIN_RSA_BITS:
        raise ConfigError(f"the API key has {key.key_size} bits; Kalshi's have {MIN_RSA_BITS} or more")
    return key
