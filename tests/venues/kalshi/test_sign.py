"""Signatures are what Kalshi checks: proved with the system's openssl and with published Ed25519 vectors."""

from __future__ import annotations

import base64
import pickle
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pr3dict.domain.errors import ConfigError
from pr3dict.venues.kalshi.sign import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER, Signer, signed_text

KEY_ID = "3f0b6c1e-1111-2222-3333-444455556666"
STAMP_MS = 1_795_355_183_832


def pem_of(key, kind=serialization.PrivateFormat.PKCS8, lock=None) -> str:
    lock = lock or serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, lock).decode()


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_the_signed_text_is_the_documented_one():
    assert signed_text(STAMP_MS, "get", "/trade-api/v2/portfolio/balance?subaccount=1") == (
        b"1795355183832GET/trade-api/v2/portfolio/balance"
    )


@pytest.mark.parametrize(
    "kind", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_openssl_accepts_an_rsa_signature(rsa_key, kind, tmp_path: Path):
    signer = Signer(KEY_ID, pem_of(rsa_key, kind))
    path = "/trade-api/v2/portfolio/events/orders"
    headers = signer.headers(STAMP_MS, "post", path)
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "signature").write_bytes(base64.b64decode(headers[SIGNATURE_HEADER]))
    command = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature"]
    command += [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:32",
        "-sigopt",
        "rsa_mgf1_md:sha256",
    ]
    for text, verdict in ((f"{STAMP_MS}POST{path}", 0), (f"{STAMP_MS}POST{path}?limit=1", 1)):
        done = subprocess.run(command, input=text.encode(), cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == verdict
    assert (headers[KEY_HEADER], headers[TIME_HEADER]) == (KEY_ID, str(STAMP_MS))
    assert signer.algorithm == "rsa-pss"


def test_the_salt_is_as_long_as_the_digest(rsa_key):
    raw = base64.b64decode(Signer(KEY_ID, pem_of(rsa_key)).sign(STAMP_MS, "GET", "/x"))
    text = f"{STAMP_MS}GET/x".encode()
    for salt, valid in ((32, True), (20, False)):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        try:
            rsa_key.public_key().verify(raw, text, pss, hashes.SHA256())
            assert valid
        except InvalidSignature:
            assert not valid


def test_ed25519_is_deterministic_and_verifies():
    # RFC 8032, section 7.1, test 2: this seed has this public key.
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signer = Signer(KEY_ID, pem_of(key))
    raw = base64.b64decode(signer.sign(STAMP_MS, "GET", "/trade-api/ws/v2"))
    assert len(raw) == 64 and raw == base64.b64decode(signer.sign(STAMP_MS, "GET", "/trade-api/ws/v2"))
    check = ed25519.Ed25519PublicKey.from_public_bytes(public).verify
    check(raw, f"{STAMP_MS}GET/trade-api/ws/v2".encode())
    with pytest.raises(InvalidSignature):
        check(raw, f"{STAMP_MS + 1}GET/trade-api/ws/v2".encode())
    assert signer.algorithm == "ed25519"


def test_keys_that_kalshi_would_not_take_are_refused_without_showing_them(rsa_key):
    locked = pem_of(rsa_key, lock=serialization.BestAvailableEncryption(b"x"))
    weak = pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024))
    curve = pem_of(ec.generate_private_key(ec.SECP256R1()))
    for text in (locked, weak, curve, "", "nonsense", pem_of(rsa_key)[:200]):
        with pytest.raises(ConfigError) as error:
            Signer(KEY_ID, text)
        assert "BEGIN" not in str(error.value) and error.value.__cause__ is None
    for key_id in ("", "two words", "a\n", "ü"):
        with pytest.raises(ConfigError, match="id of the API key"):
            Signer(key_id, pem_of(rsa_key))


def test_a_signer_shows_and_gives_nothing_away(rsa_key):
    signer = Signer(KEY_ID, pem_of(rsa_key))
    assert KEY_ID not in repr(signer) and "rsa-pss" in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
