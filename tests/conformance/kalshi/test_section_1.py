"""Section 1: hosts, keys, signatures."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from conformance.kalshi.bench import (
    MS,
    SECOND,
    T0,
    accepted,
    adapter,
    anywhere,
    client,
    listening,
    live,
    place,
    run,
    served,
    signer,
    small,
)
from conformance.kalshi.rows import Unused, row
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError
from pr3dict.runtime.kalshi_access import kalshi_access
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.http import HOSTS, check_url
from pr3dict.venues.kalshi.outcomes import Verdict
from pr3dict.venues.kalshi.rest import ReadFailedError
from pr3dict.venues.kalshi.sign import signed_text
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from standins.kalshi import KalshiStandIn, new_key
from venues.kalshi.small_venue import Ear

UNUSED = (
    Unused(
        "The other host names (`api.elections.kalshi.com`, `demo-api.kalshi.co`)",
        "one address an environment is enough",
    ),
    Unused("FIX", "it is given on request only; REST and WebSocket do all that a maker needs"),
    Unused("Perpetuals and margin", "they are no binary markets"),
)


@row(
    "1.1",
    "Demo and prod each have their own REST and WebSocket address, encrypted, and demo's is under kalshi.co.",
    demo=True,
)
def test_hosts():
    assert HOSTS["prod"] == (
        "https://external-api.kalshi.com/trade-api/v2",
        "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
    )
    assert all(".demo.kalshi.co/" in url for url in HOSTS["demo"])
    with pytest.raises(ConfigError, match="not encrypted"):
        check_url("http://external-api.kalshi.com/trade-api/v2", ("https", "http"))

    async def body(account):
        assert isinstance((await account.rest.status()).exchange_active, bool)

    anywhere(body)


@row("1.2", "A key is bound to its environment: demo's is never used for prod, nor prod's for demo.")
def test_keys_do_not_cross():
    key = new_key()
    pair = {"KEY_ID": key.id, "PRIVATE_KEY": key.pem}
    for mine, other in (("demo", "prod"), ("prod", "demo")):
        environment = {f"PR3DICT_KALSHI_{mine.upper()}_{name}": text for name, text in pair.items()}
        access = kalshi_access(mine, environment=environment)
        assert access.rest_url == HOSTS[mine][0] and access.ws_url == HOSTS[mine][1]
        with pytest.raises(ConfigError):
            kalshi_access(other, environment=environment)
        with pytest.raises(ConfigError):
            kalshi_access(mine, url=HOSTS[other][0], environment=environment)


@row(
    "1.3",
    "Every request of the account carries key id, Unix milliseconds as decimal text, and a base64 signature.",
)
def test_three_headers():
    async def body(server, rest):
        with listening(server) as heard:
            await rest.balance()
        headers = heard[0].headers
        assert headers["KALSHI-ACCESS-KEY"] == server.key.id
        assert abs(int(headers["KALSHI-ACCESS-TIMESTAMP"]) - server.now_ns() // MS) < 5_000
        assert len(base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)) == 64

    served(body)


@row(
    "1.4",
    "The signature covers time, method in capitals and path, without a separator and without the query.",
    demo=True,
)
def test_signed_text():
    example = b"1795355183832GET/trade-api/v2/portfolio/balance"
    assert signed_text(1795355183832, "get", "/trade-api/v2/portfolio/balance?subaccount=0") == example

    async def body(account):  # these have queries, and are accepted
        assert int((await account.rest.balance()).balance_dollars) >= 0
        assert isinstance(await account.rest.orders(status="resting", ticker="KXNONE"), list)

    anywhere(body)


@row("1.5", "The signed path begins at the host's root, with /trade-api/v2, for every method.")
def test_signed_path():
    async def body(server, ear, wire):
        with listening(server) as heard:
            order = place(wire, 1)
            await accepted(ear, wire, order)
            await wire.rest.balance()
        assert {h.method for h in heard} >= {"POST", "GET"}  # the stand-in checks signatures over the path
        wire.rest.http._root = ""
        with pytest.raises(ReadFailedError) as error:
            await wire.rest.balance()
        assert error.value.status == 401 and "SIGNATURE" in error.value.outcome.text

    live(body)


@row(
    "1.6",
    "The WebSocket's upgrade is signed as a GET of its path, also where only public channels are heard.",
    demo=True,
)
def test_upgrade_is_signed():
    async def body(account):
        ear = Ear()
        links = Reconnects(Backoff(20 * MS, 500 * MS, lambda n: n // 2), SECOND)
        streams = KalshiStreams(
            account.ws_url, account.who, account.clock, ear, {}, print, links, private=False
        )
        streams.start()
        try:
            await ear.until(e.FeedUp, seconds=10.0)
            await ear.until(e.FeedAlive, seconds=10.0)
            assert streams.connections == 1 and streams.is_up
        finally:
            await streams.close()

    anywhere(body)


@row("1.7", "RSA keys sign with PSS over SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.")
def test_rsa():
    key = new_key("rsa")
    raw = base64.b64decode(signer(key).sign(1795355183832, "GET", "/trade-api/v2/portfolio/balance"))
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)  # no other salt verifies
    key.public.verify(
        raw, signed_text(1795355183832, "GET", "/trade-api/v2/portfolio/balance"), pss, hashes.SHA256()
    )

    async def body(server, rest):
        assert rest.http._signer.algorithm == "rsa-pss"
        assert int((await rest.balance()).balance_dollars) > 0

    served(body, kind="rsa")


@row("1.8", "Ed25519 keys sign the same text and are told apart by their PEM alone.")
def test_ed25519():
    key = new_key("ed25519")
    who = signer(key)
    assert who.algorithm == "ed25519"
    key.public.verify(base64.b64decode(who.sign(5, "POST", "/a")), b"5POST/a")

    async def body(server, rest):
        assert int((await rest.balance()).balance_dollars) > 0

    served(body)


@row(
    "1.9",
    "A request refused because the clocks differ is refused for sure, and the streams measure the "
    "difference.",
)
def test_clock_skew():
    async def body(server, ear, wire):
        await ear.until(e.ClockSkewed)
        assert abs(ear.of(e.ClockSkewed)[0].skew_ns) < SECOND
        server.faults.change({"clock_skew_ms": 60_000})
        wire.send(0, [place(wire, 1)])
        refused = await ear.until(e.Refused)
        assert refused.order_id == 1 and "expired" in refused.text
        assert not server.do("truth")["orders"]

    live(body)


@row(
    "1.10",
    "A key without the right to trade is told at its first order, which is refused for sure; reads go on.",
)
def test_scopes():
    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1)])
        refused = await ear.until(e.Refused)
        assert refused.order_id == 1 and "scope" in refused.text
        assert int((await wire.rest.balance()).balance_dollars) > 0

    live(body, key=new_key(scopes=("read",)))


@row(
    "1.11",
    "Every call names its subaccount, so a key restricted to another one is refused and nothing "
    "lands elsewhere.",
)
def test_restricted_key():
    key = dataclasses.replace(new_key(), subaccount=3)

    async def work():
        async with KalshiStandIn(small(), tier="prestige", keys=(key,)) as server:
            async with client(server, signer(key)) as rest:
                with pytest.raises(ReadFailedError) as error:
                    await rest.balance()
            assert error.value.status == 403 and error.value.outcome.verdict is Verdict.REFUSED
            with listening(server) as heard:
                async with adapter(server, signer(server.key)) as (ear, wire):
                    await accepted(ear, wire, place(wire, 1))
                    for name in ("orders", "fills", "positions", "balance"):
                        await getattr(wire.rest, name)()
        mine = [h for h in heard if h.path.startswith("/portfolio") and "order_groups" not in h.path]
        assert mine and all(str({**h.query, **(h.body or {})}["subaccount"]) == "0" for h in mine)

    run(work())


@row(
    "1.12",
    "The end of the account's region attestation is read, and an order refused for it is refused for sure.",
)
def test_region():
    async def body(server, ear, wire):
        server.do("region", expires_s=1)
        keys = await wire.rest.api_keys()
        assert keys.api_key_region_expiration_ts == 1
        wire.send(0, [place(wire, 1, ticker="KXB-1-T1")])  # sports
        refused = await ear.until(e.Refused)
        assert "location" in refused.text
        await accepted(ear, wire, place(wire, 2, ticker=T0))

    live(body)


@row(
    "1.13",
    "Public reads are not signed and spend no tokens of the account, and work without a key.",
    demo=True,
)
def test_public_reads():
    async def body(account):
        http = account.rest.http
        before = http.budget.tokens(account.clock.now_ns())["read"]
        page = await account.rest.get(m.Markets, "/markets", public=True, query={"limit": 5})
        assert http.budget.tokens(account.clock.now_ns())["read"] >= before
        if account.server is not None:
            with listening(account.server) as heard:
                async with client(account.server, None) as nobody:
                    assert await nobody.status() and await nobody.orderbook(page.markets[0].ticker)
                    assert (await nobody.endpoint_costs()).default_cost == 10
                    await nobody.incentive_programs()
                    await nobody.milestones()
                    await nobody.series_fee_changes()
            assert not any("KALSHI-ACCESS-KEY" in h.headers for h in heard)

    anywhere(body)
