"""Digests and signatures equal the published vectors, the official clients, and themselves."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.venues.polymarket import sign
from pr3dict.venues.polymarket.auth import ApiKey, hmac_signature, l1_headers, read_api_key
from pr3dict.venues.polymarket.sign import Exchange, Order, WalletKey, WalletKind, exchange_of

NO_CLIENT = "polymarket-client is not installed: its results can't be compared with ours"
NO_OLD_CLIENT = "py-clob-client-v2 is not installed: its results can't be compared with ours"
KEY = "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
TOKEN = 71321045679252212594626385532706912750332728571942532289631379312455583992563
ORDER = Order(123, TOKEN, 53_000_000, 100_000_000, "BUY", 1_700_000_000_000)
WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"

VECTORS = {
    Exchange.STANDARD: "0x8fc93eeea33ab582c24cf8f3596a555ef6b6d80e34e6af3c37e3e637df56aa7d",
    Exchange.NEG_RISK: "0xf2adb7afb3b370e00c532d22d72a56bddb36f8c9d5601fd2aab5f2f4142d2d03",
    Exchange.V3: "0x14fbd826818f4bede37d8d08fb4bf91df49a501a2a09c382e3523a5dbcd5f769",
}
SIGNATURE = (
    "0x6e096724539d24d8449ebf4165e5ed45347d30706dfe1e905c6d33a0d5eaa4e1"
    "3933351ddd24476bcdfecd7dd6ede6d85210de2a3fe53b0f1b9a12088060e8c11c"
)
AUTH = (
    "0x0f08c184141f23f61012ba15fef7303dff47a1da48c10ae8a6737eff59618f6e"
    "568b2868fedf252be3eb6e80f3a5f09bfdf609cd8f1c9725f9862742b33dc5fc1b"
)


@pytest.mark.parametrize("exchange", VECTORS)
def test_the_digest_of_the_published_order(exchange):
    assert WalletKey(KEY).digest(ORDER, exchange) == VECTORS[exchange]
    assert WalletKey("0x" + KEY.upper()).sign(ORDER, exchange).digest == VECTORS[exchange]


def test_the_published_signatures():
    key = WalletKey(KEY)
    assert key.address == key.maker == key.signer == ADDRESS
    assert key.sign(ORDER, Exchange.STANDARD).signature == SIGNATURE
    assert key.sign_auth(1_700_000_000, 0) == AUTH
    assert l1_headers(key, 1_700_000_000) == {
        "POLY_ADDRESS": ADDRESS,
        "POLY_SIGNATURE": AUTH,
        "POLY_TIMESTAMP": "1700000000",
        "POLY_NONCE": "0",
    }


def test_the_published_hmacs():
    api = ApiKey(ADDRESS, "00000000-1111", SECRET, "pass")
    delete = api.headers(1_700_000_000, "DELETE", "/order", b'{"orderID":"0xabc"}')
    assert delete["POLY_SIGNATURE"] == "CCh0pv3QHx8mnEjYvcAGMc9wLMBMufYcmtG-c0x6N3s="
    read = api.headers(1_700_000_000, "GET", "/data/orders?market=0x1")
    assert read == {
        "POLY_ADDRESS": ADDRESS,
        "POLY_API_KEY": "00000000-1111",
        "POLY_PASSPHRASE": "pass",
        "POLY_TIMESTAMP": "1700000000",
        "POLY_SIGNATURE": "4TsKQBGa2N92InmiEciYJz8sZSaH4nBAXoP1jABpQ2s=",
    }
    unpadded = ApiKey(ADDRESS, "k", "_-8", "p")  # URL-safe letters, padding left out
    padded = ApiKey(ADDRESS, "k", "_-8=", "p")
    assert unpadded.headers(1, "GET", "/x") == padded.headers(1, "GET", "/x")


def test_a_signature_is_made_by_the_key_and_by_no_other():
    signed = WalletKey(KEY).sign(ORDER, Exchange.STANDARD)
    digest, raw = bytes.fromhex(signed.digest[2:]), bytes.fromhex(signed.signature[2:])
    assert sign.recover_address(digest, raw) == ADDRESS
    assert sign.recover_address(bytes(32), raw) != ADDRESS
    for broken in (raw[:64], raw[:64] + b"\x00", b"\xff" * 64 + b"\x1b"):
        with pytest.raises(DataError, match="signature"):
            sign.recover_address(digest, broken)


def test_which_exchange_settles_which_asset():
    position = (2 << 248) | (0xABCDEF << 120) | 1
    assert exchange_of(TOKEN, neg_risk=False) is Exchange.STANDARD
    assert exchange_of(TOKEN, neg_risk=True) is Exchange.NEG_RISK
    assert exchange_of(position, neg_risk=True) is Exchange.V3
    assert exchange_of(position | 1 << 103, neg_risk=False) is Exchange.STANDARD
    assert exchange_of(position | 1 << 40, neg_risk=False) is Exchange.STANDARD
    assert exchange_of(position | 1 << 39 | 1 << 104, neg_risk=False) is Exchange.V3


# --- the official clients ---------------------------------------------------------------------------

tokens = st.integers(2**248, 2**256 - 1)
amounts = st.integers(1, 2**60)
orders = st.builds(
    Order,
    st.integers(0, sign.MAX_SALT - 1),
    tokens,
    amounts,
    amounts,
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 2**44),
)
keys = st.integers(1, 2**250).map(lambda n: f"{n:064x}")
KINDS = [(kind, session) for kind in WalletKind for session in (False, True) if not session or kind == 3]


def wallet(key: str, kind: WalletKind, *, session: bool) -> WalletKey:
    return WalletKey(key, kind, "" if kind is WalletKind.EOA else WALLET, session=session)


@settings(max_examples=15, deadline=None)
@given(orders, keys, st.sampled_from(list(Exchange)))
def test_every_wallet_signs_as_polymarket_client_does(order, key, exchange):
    typed = pytest.importorskip("polymarket._internal.actions.orders.typed_data", reason=NO_CLIENT)
    from eth_account import Account
    from polymarket._internal import wallet as theirs
    from polymarket._internal.actions.orders.types import BYTES32_ZERO, UnsignedOrder

    account = Account.from_key("0x" + key)
    for kind, session in KINDS:
        ours = wallet(key, kind, session=session)
        assert ours.address == account.address
        unsigned = UnsignedOrder(
            chain_id=137,
            builder=BYTES32_ZERO,
            exchange_address=exchange.address,
            expiration=0,
            maker=ours.maker,
            maker_amount=order.maker_amount,
            metadata=BYTES32_ZERO,
            order_type="GTC",
            salt=order.salt,
            side=order.side,
            signature_type=int(kind),
            signer=ours.signer,
            taker_amount=order.taker_amount,
            timestamp=order.timestamp_ms,
            token_id=str(order.token_id),
            protocol_version=exchange.version,
        )
        raw = account.sign_typed_data(full_message=typed.build_order_typed_data(unsigned)).signature.hex()
        blob = typed.build_order_signature(unsigned, "0x" + raw)
        whole = theirs.wrap_deposit_wallet_signature(
            signer=account.address, signer_type="SESSION_KEY" if session else "OWNER", signature=blob
        )
        assert ours.sign(order, exchange).signature == whole


@settings(max_examples=15, deadline=None)
@given(orders, keys, st.sampled_from(list(Exchange)))
def test_digest_and_signature_are_those_of_py_clob_client_v2(order, key, exchange):
    module = pytest.importorskip(
        "py_clob_client_v2.order_utils.exchange_order_builder_v2", reason=NO_OLD_CLIENT
    )
    from py_clob_client_v2.order_utils.model.order_data_v2 import OrderV2
    from py_clob_client_v2.signer import Signer

    theirs = module.ExchangeOrderBuilderV2(
        exchange.address, 137, Signer("0x" + key, 137), domain_version=exchange.version
    )
    for kind in WalletKind:
        ours = wallet(key, kind, session=False)
        typed = theirs.build_order_typed_data(
            OrderV2(
                salt=str(order.salt),
                maker=ours.maker,
                signer=ours.signer,
                tokenId=str(order.token_id),
                makerAmount=str(order.maker_amount),
                takerAmount=str(order.taker_amount),
                side=0 if order.side == "BUY" else 1,
                signatureType=int(kind),
                timestamp=str(order.timestamp_ms),
                metadata=sign.ZERO_BYTES32,
                builder=sign.ZERO_BYTES32,
                expiration="0",
            )
        )
        signed = ours.sign(order, exchange)
        assert signed.digest == ours.digest(order, exchange) == theirs.build_order_hash(typed)
        assert signed.signature == theirs.build_order_signature(typed)


@settings(max_examples=15, deadline=None)
@given(keys, st.integers(0, 2**33), st.integers(0, 2**60))
def test_who_we_are_is_proven_as_polymarket_client_does(key, timestamp, nonce):
    l1 = pytest.importorskip("polymarket._internal.l1_auth", reason=NO_CLIENT)
    from eth_account import Account

    theirs = l1.sign_api_key_auth(
        Account.from_key("0x" + key), chain_id=137, timestamp=timestamp, nonce=nonce
    )
    assert WalletKey(key).sign_auth(timestamp, nonce) == theirs.signature


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**33), st.text(max_size=30))
def test_private_calls_are_signed_as_both_clients_do(secret, timestamp, text):
    import base64

    ours = hmac_signature(secret, timestamp, "POST", "/order", text.encode())
    coded = base64.urlsafe_b64encode(secret).decode()
    theirs = pytest.importorskip("polymarket._internal.hmac", reason=NO_CLIENT)
    assert ours == theirs.build_hmac_signature(
        secret=coded, timestamp=timestamp, method="POST", path="/order", body=text
    )
    older = pytest.importorskip("py_clob_client_v2.signing.hmac", reason=NO_OLD_CLIENT)
    if "'" not in text:  # the older client signs other bytes than it sends
        assert ours == older.build_hmac_signature(coded, str(timestamp), "POST", "/order", text)


# --- secrets ----------------------------------------------------------------------------------------


def test_a_key_is_never_shown_copied_or_stored():
    key = WalletKey(KEY, WalletKind.DEPOSIT, WALLET, session=True)
    api = ApiKey(ADDRESS, "00000000-1111-2222", SECRET, "passphrase-1")
    for shown in (repr(key), str(key), repr(api), str(api)):
        assert KEY not in shown and SECRET not in shown and "passphrase" not in shown
        assert ADDRESS in shown
    for held in (key, api):
        with pytest.raises(TypeError, match="never copied or stored"):
            pickle.dumps(held)
    assert api.stream_auth() == {"apiKey": api.key, "secret": SECRET, "passphrase": "passphrase-1"}
    assert api.parts() == (api.key, SECRET, "passphrase-1")


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 32, "ff" * 32, "11" * 31, "0x" + "11" * 33])
def test_what_is_no_key_is_refused_without_being_told(text):
    with pytest.raises(ConfigError, match="no private key") as error:
        WalletKey(text)
    assert not text or text not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "wallet", "session", "what"),
    [
        (WalletKind.EOA, WALLET, False, "key's own address"),
        (WalletKind.DEPOSIT, "", False, "address of its own"),
        (WalletKind.SAFE, ADDRESS, False, "address of its own"),
        (WalletKind.SAFE, WALLET, True, "only a deposit wallet"),
        (WalletKind.SAFE, WALLET.replace("Cc07", "CC07"), False, "checksum"),
        (WalletKind.SAFE, WALLET[:-1], False, "no address"),
        (WalletKind.SAFE, WALLET[2:], False, "no address"),
        (WalletKind.SAFE, "0x" + "zz" * 20, False, "no address"),
    ],
)
def test_a_wallet_that_does_not_fit_is_refused(kind, wallet, session, what):
    with pytest.raises(ConfigError, match=what):
        WalletKey(KEY, kind, wallet, session=session)


def test_an_address_may_be_written_without_its_checksum():
    assert WalletKey(KEY, WalletKind.SAFE, WALLET.lower()).maker == WALLET


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"hidden"',
        b'{"apiKey":"k","secret":"hidden"}',
        b'{"apiKey":"k","secret":7,"passphrase":"hidden"}',
        b'{"apiKey":"k","secret":"!hidden!","passphrase":"p"}',
        b'{"apiKey":"","secret":"aGlkZGVu","passphrase":"hidden"}',
        b'{"apiKey":"k","secret":"hidden',
    ],
)
def test_half_an_api_key_is_refused_without_being_told(body):
    with pytest.raises(DataError) as error:
        read_api_key(ADDRESS, body)
    assert "hidden" not in str(error.value)


def test_an_api_key_is_read():
    found = read_api_key(ADDRESS, f'{{"apiKey":"k-1","secret":"{SECRET}","passphrase":"p","x":1}}'.encode())
    assert found.parts() == ("k-1", SECRET, "p") and found.address == ADDRESS


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0x10", "٣", str(2**256), "9" * 90])
def test_what_is_no_asset_id_is_refused(text):
    with pytest.raises(DataError, match="asset id"):
        sign.parse_token_id(text)
