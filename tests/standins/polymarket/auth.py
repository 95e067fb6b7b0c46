"""API keys of the stand-in: level 1 (a wallet's signature) makes them, level 2 (HMAC) proves them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from standins.polymarket.crypto import auth_digest, checksum, hmac_text, raw, recover
from standins.polymarket.errors import RefusedError, refused
from standins.polymarket.values import SECOND, Json, fixed_uuid, read_whole

SKEW_S: Final = 60
_L1: Final = ("POLY_ADDRESS", "POLY_SIGNATURE", "POLY_TIMESTAMP", "POLY_NONCE")
_L2: Final = ("POLY_ADDRESS", "POLY_API_KEY", "POLY_PASSPHRASE", "POLY_TIMESTAMP", "POLY_SIGNATURE")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Credentials of an EOA; the same ones for the same nonce."""

    owner: str
    nonce: int
    id: str
    secret: str
    passphrase: str

    def json(self) -> Json:
        """As the venue hands them out."""
        return {"apiKey": self.id, "secret": self.secret, "passphrase": self.passphrase}


def key_for(owner: str, nonce: int) -> ApiKey:
    """The key that an owner's nonce stands for."""
    seed = hashlib.sha256(f"{owner}/{nonce}".encode()).digest()
    secret = base64.urlsafe_b64encode(seed).decode()
    return ApiKey(owner, nonce, fixed_uuid("key", owner, nonce), secret, hashlib.sha256(seed).hexdigest())


def unauthorized() -> RefusedError:
    """What a wrong level 2 signature gets."""
    return refused(401, "Unauthorized/Invalid api key")


class Doorkeeper:
    """Knows the keys."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}

    def create(self, owner: str, nonce: int) -> ApiKey:
        """A new key.

        Raises:
            RefusedError: 400, this nonce has one.
        """
        key = key_for(owner, nonce)
        if key.id in self.keys:
            raise refused(400, "Could not create api key")
        self.keys[key.id] = key
        return key

    def derive(self, owner: str, nonce: int) -> ApiKey:
        """The key of a nonce.

        Raises:
            RefusedError: 400, there is none.
        """
        key = self.keys.get(key_for(owner, nonce).id)
        if key is None:
            raise refused(400, "Could not derive api key!")
        return key

    def level_1(self, headers: Mapping[str, str], clocks_ns: tuple[int, ...]) -> tuple[str, int]:
        """The EOA that signed, and the nonce.

        Raises:
            RefusedError: 401.
        """
        invalid = refused(401, "Invalid L1 Request headers")
        address, signature, stamp, nonce = (headers.get(name, "") for name in _L1)
        number = read_whole(nonce)
        if number is None or not _is_near(stamp, clocks_ns):
            raise invalid
        try:
            owner = checksum(address)
            signer = recover(auth_digest(owner, stamp, number), raw(signature, 65))
        except Exception as error:  # the signature library has errors of its own
            raise invalid from error
        if signer != owner:
            raise invalid
        return owner, number

    def level_2(
        self, headers: Mapping[str, str], method: str, path: str, body: str, clocks_ns: tuple[int, ...]
    ) -> ApiKey:
        """The key that signed.

        Raises:
            RefusedError: 401.
        """
        address, key_id, passphrase, stamp, signature = (headers.get(name, "") for name in _L2)
        key = self.keys.get(key_id)
        if key is None or not _is_near(stamp, clocks_ns):
            raise unauthorized()
        expected = hmac_text(key.secret, stamp, method, path, body)
        right = hmac.compare_digest(expected.encode(), signature.encode())
        if address.lower() != key.owner.lower() or passphrase != key.passphrase or not right:
            raise unauthorized()
        return key

    def of_stream(self, auth: object) -> ApiKey | None:
        """The key of a user channel's first frame; None: wrong."""
        if not isinstance(auth, dict):
            return None
        key = self.keys.get(str(auth.get("apiKey")))
        if key is None or (auth.get("secret"), auth.get("passphrase")) != (key.secret, key.passphrase):
            return None
        return key


def _is_near(stamp: str, clocks_ns: tuple[int, ...]) -> bool:
    seconds = read_whole(stamp)
    return seconds is not None and any(abs(seconds - clock // SECOND) <= SKEW_S for clock in clocks_ns)
