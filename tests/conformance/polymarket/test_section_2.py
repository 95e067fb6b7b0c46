"""Section 2: keys and wallets."""

from __future__ import annotations

import json
import pickle

import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    at_desk,
    desk,
    listening,
    live,
    run,
    until,
)
from conformance.polymarket.rows import Unused, row
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.auth import ApiKey, hmac_signature, l1_headers, read_api_key
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.rest import ReadFailedError
from pr3dict.venues.polymarket.sign import (
    Exchange,
    Order,
    WalletKey,
    WalletKind,
    recover_address,
)

UNUSED = (
    Unused("The call that ends an API key", "a person does that where the key was made"),
    Unused("Making a session key", "the owner does that; one that was made signs as any other key"),
    Unused("Approvals on the chain", "they are given once, by a person; `doctor` says which are missing"),
    Unused("Builder codes, and their fees", "orders carry none"),
)
KEY = "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
VECTOR = Order(123, 7 * 10**75 + 1, 53_000_000, 100_000_000, "BUY", 1_700_000_000_000)
L1 = (
    "0x0f08c184141f23f61012ba15fef7303dff47a1da48c10ae8a6737eff59618f6e568b2868fedf252be3eb6e80f3a5f09bf"
    "df609cd8f1c9725f9862742b33dc5fc1b"
)


def opened(kind: WalletKind, **flags):
    """Lets the stand-in open a wallet of a kind for the key that `signer_of` gives."""

    def on_server(server):
        server.open_account(signer_of(kind).address, wallet=WALLET, kind=int(kind), **flags)

    return on_server


def signer_of(kind: WalletKind) -> WalletKey:
    """A key of a wallet that is not its own."""
    return WalletKey("22" * 32, kind, WALLET)


# --- level 1 ----------------------------------------------------------------------------------------


@row("2.1", "The wallet proves its address by the published signature, with time and nonce as they are sent.")
def test_level_1_vector():
    headers = l1_headers(WalletKey(KEY), 1_700_000_000)
    assert dict(headers) == {
        "POLY_ADDRESS": ADDRESS, "POLY_SIGNATURE": L1, "POLY_TIMESTAMP": "1700000000", "POLY_NONCE": "0",
    }  # fmt: skip


@row("2.2", "The API key of a wallet is derived, and made where there is none yet.")
def test_key_is_found():
    async def body(server, desk):
        assert (server.requests["derive_key"], server.requests["create_key"]) == (1, 1)
        again = await desk.orders.find_key()
        assert again.parts() == desk.http.key.parts() == (await desk.orders.derive_key()).parts()
        assert server.requests["create_key"] == 1
        with pytest.raises(WorkError, match="Could not create"):
            await desk.orders.create_key()

    desk(body)


@row("2.3", "Another nonce is another API key of the same wallet.")
def test_nonces():
    async def body(_, desk):
        other = await desk.orders.find_key(nonce=7)
        assert other.key != desk.http.key.key and other.address == desk.http.key.address
        assert set(await desk.rest.api_keys()) == {desk.http.key.key, other.key}

    desk(body)


@row("2.4", "A wallet's signature that is not right gets no key, and that is an error, never a retry.")
def test_wrong_level_1():
    async def body(server, desk):
        server.faults.change({"clock_skew_ms": 600_000})
        asked = server.requests.total()
        with pytest.raises(WorkError, match="Invalid L1"):
            await desk.orders.derive_key()
        assert server.requests.total() == asked + 1

    desk(body)


@row("2.5", "An answer without a whole API key is refused, and no part of it is shown.")
def test_half_a_key():
    for half in ({"apiKey": "k", "secret": "c2VjcmV0"}, {"apiKey": "k", "secret": "!", "passphrase": "p"}):
        with pytest.raises(Exception, match="apiKey, secret") as error:
            read_api_key(ADDRESS, json.dumps(half).encode())
        assert "c2VjcmV0" not in str(error.value) and "!" not in str(error.value)


# --- level 2 ----------------------------------------------------------------------------------------


@row("2.6", "Private calls are signed as published: HMAC over time, method, path and body, URL-safe base64.")
def test_level_2_vectors():
    key = ApiKey(ADDRESS, "k", SECRET, "p")
    for method, path, body, want in (
        ("DELETE", "/order", b'{"orderID":"0xabc"}', "CCh0pv3QHx8mnEjYvcAGMc9wLMBMufYcmtG-c0x6N3s="),
        ("GET", "/data/orders", b"", "4TsKQBGa2N92InmiEciYJz8sZSaH4nBAXoP1jABpQ2s="),
    ):
        headers = key.headers(1_700_000_000, method, path, body)
        assert headers["POLY_SIGNATURE"] == want
        assert headers == {
            "POLY_ADDRESS": ADDRESS, "POLY_API_KEY": "k", "POLY_PASSPHRASE": "p",
            "POLY_TIMESTAMP": "1700000000", "POLY_SIGNATURE": want,
        }  # fmt: skip


@row("2.7", "The signed path has no query, and the method is in capitals.")
def test_no_query():
    raw = b"secret" * 4
    plain = hmac_signature(raw, 1_700_000_000, "GET", "/data/orders")
    assert plain == hmac_signature(raw, 1_700_000_000, "get", "/data/orders?market=0xab&next_cursor=MA==")

    async def body(_, desk):  # these have queries, and are accepted
        assert await desk.rest.open_orders(desk.terms[0].condition, desk.terms[0].yes) == []
        assert int((await desk.rest.balance()).balance) > 0

    desk(body)


@row("2.8", "What is signed is the body byte for byte as it is sent: compact JSON, or nothing.")
def test_bytes():
    async def body(server, desk):
        with listening(server) as heard:
            await desk.place(1)
            await desk.orders.cancel_all()
        post, cancel = heard
        assert post.raw == json.dumps(post.body, separators=(",", ":")).encode() and cancel.raw == b""
        for one in heard:
            stamp, sent = one.headers["POLY_TIMESTAMP"], one.headers["POLY_SIGNATURE"]
            secret = desk.http.key._secret
            assert hmac_signature(secret, int(stamp), one.method, one.path, one.raw) == sent

    desk(body)


@row("2.9", "A request that is refused because the clocks differ was surely not carried out.")
def test_clock_skew():
    async def body(server, desk):
        server.faults.change({"clock_skew_ms": 600_000})
        _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and answer.status == 401
        assert [type(event) for event in events] == [e.Refused] and not server.do("truth")["orders"]

    desk(body)


@row("2.10", "The venue's clock is read in whole seconds, and how far ours is off is told.")
def test_clock_is_compared():
    async def body(t):
        await t.wire._read_skew()
        assert abs(t.ear.of(e.ClockSkewed)[-1].skew_ns) < SECOND
        t.server.faults.change({"clock_skew_ms": 30_000})
        await t.wire._read_skew()
        assert -31 * SECOND < t.ear.of(e.ClockSkewed)[-1].skew_ns < -29 * SECOND

    live(body)


@row("2.11", "A wrong API key is refused at the door, for reads and orders alike.")
def test_wrong_key():
    async def body(server, desk):
        desk.http.key = ApiKey(ADDRESS, desk.http.key.key, SECRET, "p")
        with pytest.raises(ReadFailedError) as error:
            await desk.rest.balance()
        assert error.value.status == 401 and error.value.outcome.verdict is Verdict.REFUSED
        _, answer, _ = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and not server.do("truth")["orders"]

    desk(body)


@row("2.12", "An order must be owned by the API key that sends it; another owner is refused for sure.")
def test_owner():
    async def body(_, desk):
        other = await desk.orders.find_key(nonce=7)
        desk.requests._owner = other.key
        _, answer, _ = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and "owner" in answer.outcome.text

    desk(body)


@row("2.13", "Cancelling everything and heartbeats reach the orders of one API key only.")
def test_scope_of_a_key():
    async def body(_, desk):
        mine, _, _ = await desk.place(1)
        first = desk.http.key
        desk.http.key = other = await desk.orders.find_key(nonce=7)
        desk.requests._owner = other.key
        theirs, answer, _ = await desk.place(2)
        assert answer.outcome.verdict is Verdict.ACCEPTED
        swept = await desk.orders.cancel_all()
        assert swept.body.canceled == (theirs.digest,)
        desk.http.key = first
        assert [order.id for order in await desk.rest.open_orders()] == [mine.digest]

    desk(body)


@row("2.14", "The account's channel is opened with the API key in its first message, not with a signature.")
def test_stream_auth():
    async def body(t):
        (auth,) = [s.owner for s in t.server.streams if type(s).__name__ == "UserStream"]
        assert auth == ADDRESS and set(t.streams._user.hello()[0]) == {"type", "auth"}
        assert set(t.streams._user.hello()[0]["auth"]) == {"apiKey", "secret", "passphrase"}

    live(body)


@row("2.15", "A channel that takes the credentials in silence and hangs up never counts as up.")
def test_wrong_stream_credentials():
    async def body(t):
        await until(lambda: t.streams.user_connections >= 2)
        assert not t.ear.of(e.FeedUp) and not t.streams.is_up

    def lose_keys(server):
        server.doorkeeper.of_stream = lambda _auth: None

    live(body, wait=False, on_server=lose_keys)


@row("2.16", "Keys show themselves by their address or first digits alone, and are never stored or copied.")
def test_secrets():
    wallet, key = WalletKey(KEY), ApiKey(ADDRESS, "0123456789", SECRET, "passphrase-xyz")
    for thing in (wallet, key):
        said = repr(thing) + str(thing)
        assert not any(word in said for word in (KEY, SECRET, "passphrase-xyz", "0123456789"))
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    with pytest.raises(ConfigError) as error:
        WalletKey("33" * 31)
    assert "33" not in str(error.value)


# --- wallets ----------------------------------------------------------------------------------------


@row("2.17", "An EOA signs for itself: maker, signer and key are one address.")
def test_eoa():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            await desk.place(1)
        order = heard[0].body["order"]
        assert (order["maker"], order["signer"], order["signatureType"]) == (ADDRESS, ADDRESS, 0)

    desk(body)


@row("2.18", "The key of a proxy or Safe signs for the wallet, which pays; the signer is the key's address.")
@pytest.mark.parametrize("kind", [WalletKind.PROXY, WalletKind.SAFE], ids=lambda kind: kind.name.lower())
def test_proxy_and_safe(kind):
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            _, answer, _ = await desk.place(1)
        order = heard[0].body["order"]
        assert answer.outcome.verdict is Verdict.ACCEPTED
        assert (order["maker"], order["signer"]) == (WALLET, desk.signer.address)
        assert order["signatureType"] == int(kind) and heard[0].headers["POLY_ADDRESS"] == order["signer"]

    desk(body, signer=signer_of(kind), on_server=opened(kind))


@row("2.19", "A deposit wallet is maker and signer; the API key stays that of its owner's address.")
def test_deposit_wallet():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            built, answer, _ = await desk.place(1)
        order = heard[0].body["order"]
        assert answer.outcome.verdict is Verdict.ACCEPTED and answer.body.orderID == built.digest
        assert (order["maker"], order["signer"], order["signatureType"]) == (WALLET, WALLET, 3)
        assert heard[0].headers["POLY_ADDRESS"] == desk.signer.address != WALLET

    desk(body, signer=signer_of(WalletKind.DEPOSIT), on_server=opened(WalletKind.DEPOSIT))


@row(
    "2.20",
    "A deposit wallet's signature is nested (ERC-7739), 317 bytes; the order's id is the plain digest.",
)
def test_nested_signature():
    signer = signer_of(WalletKind.DEPOSIT)
    made = signer.sign(VECTOR, Exchange.STANDARD)
    blob = bytes.fromhex(made.signature[2:])
    length = int.from_bytes(blob[-2:], "big")
    assert len(blob) == 317 == 65 + 32 + 32 + length + 2
    assert blob[65:97] == Exchange.STANDARD.separator and blob[129:-2].startswith(b"Order(uint256 salt,")
    assert made.digest == signer.digest(VECTOR, Exchange.STANDARD)
    plain = bytes.fromhex(made.digest[2:])
    assert recover_address(plain, blob[:65]) != signer.address  # the owner signed the nested text


@row("2.21", "A session key of a deposit wallet signs as such: the wallet is maker, the key says who it is.")
def test_session_key():
    owner = signer_of(WalletKind.DEPOSIT)
    session = WalletKey("33" * 32, WalletKind.DEPOSIT, WALLET, session=True)
    made = session.sign(VECTOR, Exchange.STANDARD)
    assert (session.maker, session.signer) == (WALLET, WALLET) == (owner.maker, owner.signer)
    assert made.digest == owner.digest(VECTOR, Exchange.STANDARD)
    assert session.address[2:].lower() in made.signature and made.signature.endswith("6492" * 16)
    with pytest.raises(ConfigError, match="session"):
        WalletKey("33" * 32, WalletKind.SAFE, WALLET, session=True)


@row("2.22", "Until a deposit wallet is deployed its orders are refused for sure, and the reason is told.")
def test_not_deployed():
    async def body(server, desk):
        _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED
        assert "address of the API KEY" in events[0].text
        server.do("account_flags", wallet=WALLET, deployed=True)
        _, answer, _ = await desk.place(2)
        assert answer.outcome.verdict is Verdict.ACCEPTED

    kind = WalletKind.DEPOSIT
    desk(body, signer=signer_of(kind), on_server=opened(kind, deployed=False))


@row("2.23", "An EOA that is not on the venue's list is refused for sure, in the venue's own words.")
def test_not_allowed():
    async def body(server, desk):
        server.do("account_flags", allowed=False)
        _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and "deposit wallet flow" in events[0].text

    desk(body)


@row("2.24", "A banned account, or one that may only close, is refused for sure; which it is can be read.")
def test_banned():
    async def body(server, desk):
        assert await desk.rest.is_closed_only() is False
        server.do("account_flags", closed_only=True)
        assert await desk.rest.is_closed_only() is True
        _, answer, _ = await desk.place(1)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "not_active")
        server.do("account_flags", closed_only=False, banned=True)
        _, answer, _ = await desk.place(2)
        assert answer.outcome.verdict is Verdict.REFUSED and "banned" in answer.outcome.text

    desk(body)


@row("2.25", "Without approvals no order is taken; the refusal counts as one for want of money.")
def test_approvals():
    async def body(server, desk):
        server.do("approve", approved=False)
        assert set((await desk.rest.balance()).allowances.values()) == {0}
        _, answer, _ = await desk.place(1)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "no_cash")
        server.do("approve")
        assert max((await desk.rest.balance()).allowances.values()) == 2**256 - 1
        _, answer, _ = await desk.place(2)
        assert answer.outcome.verdict is Verdict.ACCEPTED

    desk(body)


@row("2.26", "Nobody trades without both keys: the wallet's, and an API key.")
def test_both_keys():
    async def work():
        async with at_desk() as (server, desk):
            for name in ("key", "signer"):
                kept = getattr(desk.http, name)
                setattr(desk.http, name, None)
                with pytest.raises(ConfigError, match="key"):
                    await PolymarketOrders(desk.http).cancel_all() if name == "key" else (
                        await desk.orders.derive_key()
                    )
                setattr(desk.http, name, kept)
            assert server.requests["cancel_all"] == 0

    run(work())


@row("2.27", "A key that fills through the account's channel sees its own wallet's trades.")
def test_own_trades():
    async def body(t):
        await accepted(t, 1, side=d.ASK, price=5_100)
        t.server.do("take", market="plain-0", taker="bid", price="0.51", shares="4")
        fill = await t.ear.until(e.Filled)
        assert (fill.order_id, fill.size) == (1, 4 * CONTRACT)

    live(body)
