"""Who we are to Polymarket's order API: headers signed by the wallet (L1) or with an API key (L2).

L1 makes or finds API keys; L2 signs every private call over time, method, path and the exact bytes of the
body. A query is not signed. Secrets arrive as text that the caller revealed for this, and are shown nowhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.venues.polymarket.sign import OrderSigner

ADDRESS_HEADER: Final = "POLY_ADDRESS"
KEY_HEADER: Final = "POLY_API_KEY"
NONCE_HEADER: Final = "POLY_NONCE"
PASSPHRASE_HEADER: Final = "POLY_PASSPHRASE"  # noqa: S105 - a name
SIGNATURE_HEADER: Final = "POLY_SIGNATURE"
TIMESTAMP_HEADER: Final = "POLY_TIMESTAMP"


def l1_headers(signer: OrderSigner, timestamp_s: int, nonce: int = 0) -> Mapping[str, str]:
    """Headers by which the key of an address makes or finds its API key of this `nonce`."""
    return {
        ADDRESS_HEADER: signer.address,
        SIGNATURE_HEADER: signer.sign_auth(timestamp_s, nonce),
        TIMESTAMP_HEADER: str(timestamp_s),
        NONCE_HEADER: str(nonce),
    }


def hmac_signature(secret: bytes, timestamp_s: int, method: str, path: str, body: bytes = b"") -> str:
    """HMAC-SHA256 over time, method, path without its query, and body; URL-safe base64 with its padding."""
    text = f"{timestamp_s}{method.upper()}{path.partition('?')[0]}".encode() + body
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode("ascii")


class ApiKey:
    """An API key of an address; heartbeats and "cancel all" reach its own orders only. It shows 4 digits."""

    __slots__ = ("_passphrase", "_secret", "_secret_text", "address", "key")

    def __init__(self, address: str, key: str, secret: str, passphrase: str) -> None:
        """`address` is the signing key's, also for a deposit wallet; `secret` is URL-safe base64.

        Raises:
            ConfigError: a part is missing or malformed; no part is in the sentence.
        """
        parts = (key, passphrase)
        if not all(part and part.isascii() and part.isprintable() and " " not in part for part in parts):
            raise ConfigError("the API key needs its id, its secret and its passphrase", key="api_key")
        try:
            self._secret = base64.b64decode(_standard(secret), validate=True)
        except (binascii.Error, ValueError):
            self._secret = b""
        if not self._secret:
            raise ConfigError("the API key's secret is no base64 text; derive the key anew", key="api_secret")
        self.address = address
        self.key = key
        self._secret_text = secret
        self._passphrase = passphrase

    def __repr__(self) -> str:
        return f"ApiKey({self.key[:4]}..., {self.address})"

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("an API key is never copied or stored")

    def headers(self, timestamp_s: int, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The five headers of a private call."""
        return {
            ADDRESS_HEADER: self.address,
            KEY_HEADER: self.key,
            PASSPHRASE_HEADER: self._passphrase,
            TIMESTAMP_HEADER: str(timestamp_s),
            SIGNATURE_HEADER: hmac_signature(self._secret, timestamp_s, method, path, body),
        }

    def stream_auth(self) -> dict[str, str]:
        """What the user channel's first frame holds under "auth"."""
        return {"apiKey": self.key, "secret": self._secret_text, "passphrase": self._passphrase}

    def parts(self) -> tuple[str, str, str]:
        """(id, secret, passphrase): for the one call that stores them."""
        return self.key, self._secret_text, self._passphrase


def _standard(text: str) -> str:
    """URL-safe base64, with or without padding, as the standard alphabet with padding."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    return plain + "=" * (-len(plain) % 4)


def read_api_key(address: str, body: bytes) -> ApiKey:
    """The key that an answer to an L1 call holds.

    Raises:
        DataError: it holds none; no part of the answer is in the sentence, for it may be half a secret.
    """
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    names = ("apiKey", "secret", "passphrase")
    parts = [found[name] for name in names if name in found] if isinstance(found, dict) else []
    if len(parts) != len(names) or not all(isinstance(part, str) for part in parts):
        raise DataError("the answer holds no apiKey, secret and passphrase", key="api_key")
    try:
        return ApiKey(address, *parts)
    except ConfigError:
        raise DataError("the answer's apiKey, secret or passphrase is malformed", key="api_key") from None
