"""Section 1: hosts, contracts, protocols."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    PolymarketHttp,
    PolymarketRest,
    VenueClock,
    accepted,
    desk,
    hosts_of,
    listening,
    live,
)
from conformance.polymarket.rows import Unused, row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import ConfigError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import SignedOrder
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import PROD, check_hosts, check_url
from pr3dict.venues.polymarket.models import GammaMarket, clob_condition
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.rest import ReadFailedError
from pr3dict.venues.polymarket.sign import (
    CHAIN_ID,
    MAX_SALT,
    ZERO_BYTES32,
    Exchange,
    Order,
    WalletKey,
    exchange_of,
    is_position_id,
    parse_address,
    recover_address,
)
from venues.polymarket.bodies import GAMMA_MARKET

UNUSED = (
    Unused("The staging host", "it is not to be counted on; the stand-in serves tests"),
    Unused("The channels of sports scores and of crypto prices, old and new (RTDS, PolyBolt)",
           "quotes follow the market's own book and trades"),
    Unused("The Data API", "it is late by seconds to minutes: orders, trades and balances say more"),
    Unused("The bridge, and USDC.e wrapped into pUSD", "a person brings the money"),
    Unused("Combos and perpetuals", "they are no binary markets"),
    Unused("Orders of the first order API, its exchanges, its fees in the order",
           "they are refused since 2026-04-28"),
)  # fmt: skip
KEY = WalletKey("11" * 32)
TOKEN = 71321045679252212594626385532706912750332728571942532289631379312455583992563
VECTOR = Order(123, TOKEN, 53_000_000, 100_000_000, "BUY", 1_700_000_000_000)
DIGESTS = {
    Exchange.STANDARD: "0x8fc93eeea33ab582c24cf8f3596a555ef6b6d80e34e6af3c37e3e637df56aa7d",
    Exchange.NEG_RISK: "0xf2adb7afb3b370e00c532d22d72a56bddb36f8c9d5601fd2aab5f2f4142d2d03",
    Exchange.V3: "0x14fbd826818f4bede37d8d08fb4bf91df49a501a2a09c382e3523a5dbcd5f769",
}
SIGNATURE = (
    "0x6e096724539d24d8449ebf4165e5ed45347d30706dfe1e905c6d33a0d5eaa4e13933351ddd24476bcdfecd7dd6ede6d85"
    "210de2a3fe53b0f1b9a12088060e8c11c"
)


@row("1.1", "Each service has its own address, all encrypted; one in the clear is this machine's only.")
def test_hosts():
    assert PROD == (
        "https://clob.polymarket.com", "https://gamma-api.polymarket.com",
        "https://data-api.polymarket.com", "https://polymarket.com",
        "wss://ws-subscriptions-clob.polymarket.com/ws/market",
        "wss://ws-subscriptions-clob.polymarket.com/ws/user",
    )  # fmt: skip
    assert check_hosts(PROD) == PROD
    for url, schemes in (("http://clob.polymarket.com", ("https", "http")), ("ws://a.b/ws", ("wss", "ws"))):
        with pytest.raises(ConfigError, match="not encrypted"):
            check_url(url, schemes)
    assert check_url("http://127.0.0.1:8080/", ("https", "http")) == "http://127.0.0.1:8080"


@row("1.2", "Books and markets are read without any key, and such requests are not signed.")
def test_public_reads():
    async def body(server, _):
        clock = VenueClock(server)
        http = PolymarketHttp(hosts_of(server), clock, Budget(clock.now_ns()))
        rest = PolymarketRest(http)
        try:
            with listening(server) as heard:
                for market in (await rest.gamma_markets()).items:
                    assert (await rest.book(market.tokens[0])).asset_id == market.tokens[0]
                    await rest.clob_market(market.condition_id)
            assert heard and not any(name.startswith("POLY_") for h in heard for name in h.headers)
            with pytest.raises(ConfigError, match="key"):
                await rest.open_orders()
        finally:
            await http.close()

    desk(body)


@row("1.3", "Every request names this program; what names nobody, or a library, is turned away at the door.")
def test_user_agent():
    async def body(_, desk):
        with listening(_) as heard:
            await desk.rest.version()
            await desk.rest.balance()
        assert all(h.headers["User-Agent"].startswith("pr3dict/") for h in heard)

    desk(body)


@row("1.4", "Orders are signed for chain 137 and one of three contracts: standard, neg-risk, or V3.")
def test_contracts():
    assert CHAIN_ID == 137
    known = {
        Exchange.STANDARD: ("0xE111180000d2663C0091e4f400237545B87B996B", "2"),
        Exchange.NEG_RISK: ("0xe2222d279d744050d28e00520010520000310F59", "2"),
        Exchange.V3: ("0xe3333700cA9d93003F00f0F71f8515005F6c00Aa", "3"),
    }
    for exchange, (address, version) in known.items():
        assert (parse_address(exchange.address, "exchange"), exchange.version) == (address, version)
    assert len({exchange.separator for exchange in Exchange}) == 3


@row("1.5", "The order API says that it takes the second version of orders; a change of it is read.")
def test_version():
    async def body(server, desk):
        assert await desk.rest.version() == 2
        server.rewrites["version"] = lambda _: {"version": 3}
        assert await desk.rest.version() == 3

    desk(body)


@row("1.6", "Digests of an order under all three contracts are those of the official clients.")
@pytest.mark.parametrize("exchange", list(DIGESTS), ids=lambda exchange: exchange.name.lower())
def test_digests(exchange):
    assert KEY.digest(VECTOR, exchange) == DIGESTS[exchange]
    made = KEY.sign(VECTOR, exchange)
    assert made.digest == DIGESTS[exchange]
    signed = recover_address(bytes.fromhex(made.digest[2:]), bytes.fromhex(made.signature[2:]))
    assert signed == KEY.address == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


@row("1.7", "Signatures are deterministic: r, s and v of 27 or 28, equal to those of the official clients.")
def test_signature():
    assert KEY.sign(VECTOR, Exchange.STANDARD).signature == SIGNATURE


@row(
    "1.8", "An order says what is signed and no more: no taker, nonce or fee rate, metadata and builder zero."
)
def test_fields():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            await desk.place(1)
        order = heard[0].body["order"]
        assert set(order) == {
            "salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side", "expiration",
            "signatureType", "timestamp", "metadata", "builder", "signature",
        }  # fmt: skip
        assert len(order) == len(SignedOrder.__struct_fields__)
        assert order["metadata"] == order["builder"] == ZERO_BYTES32

    desk(body)


@row("1.9", "The venue's id of an order is its digest, which the engine knows before the order leaves.")
def test_digest_is_the_id():
    async def body(t):
        digest = await accepted(t, 1)
        kinds = [type(event) for event in t.ear.events if getattr(event, "order_id", 0) == 1]
        assert kinds[:2] == [e.Sent, e.Accepted] and t.ear.of(e.Sent)[0].venue_id == digest
        assert [order["id"] for order in t.server.do("truth")["open_orders"]] == [digest]

    live(body)


@row("1.10", "Expiration is not signed: the same order with another one has the same digest.")
def test_expiration_is_not_signed():
    async def body(_, desk):
        now_ns = desk.http.clock.now_ns() // SECOND * SECOND
        place, _built = desk.build(1)
        plain = desk.requests.create(place, now_ns)
        ends = desk.requests.create(replace(place, expiry_ns=now_ns + 600 * SECOND), now_ns)
        assert plain.digest == ends.digest and plain.post.order.signature == ends.post.order.signature
        assert (plain.post.order.expiration, ends.post.order.expiration) == ("0", str(now_ns // SECOND + 660))

    desk(body)


@row("1.11", "A salt has at most 53 bits, so that JSON keeps each one, and follows from our own order id.")
def test_salts():
    async def body(_, desk):
        salts = {desk.requests.salt(number) for number in range(1, 2_000)}
        assert len(salts) == 1_999 and max(salts) < MAX_SALT == 2**53
        assert desk.requests.salt(7) == desk.requests.salt(7)

    desk(body)


@row("1.12", "An order sent twice within a second is one order: the second try is its digest again.")
def test_twice():
    async def body(_, desk):
        _place, built = desk.build(1)
        first = await desk.orders.post(built)
        again = await desk.orders.post(built)
        assert first.outcome.verdict is Verdict.ACCEPTED
        assert again.outcome.verdict is Verdict.UNKNOWN and "Duplicated" in again.outcome.text
        assert [order.id for order in await desk.rest.open_orders()] == [built.digest]

    desk(body)


@row("1.13", "An order's timestamp is in milliseconds, a request's in seconds.")
def test_timestamps():
    async def body(server, desk):
        with listening(server, writes=True) as heard:
            await desk.place(1)
        now_s = desk.http.clock.now_ns() // SECOND
        assert abs(int(heard[0].body["order"]["timestamp"]) // 1000 - now_s) < 5
        assert abs(int(heard[0].headers["POLY_TIMESTAMP"]) - now_s) < 5

    desk(body)


@row("1.14", "Ids of both protocols are told apart by their bits; a position's last byte is its outcome.")
def test_ids():
    condition = (b"\x01" + bytes(range(1, 17)) + bytes(14)).hex()
    yes = int(condition, 16) << 8
    assert is_position_id(yes) and is_position_id(yes | 1) and not is_position_id(TOKEN)
    assert exchange_of(yes, neg_risk=True) is exchange_of(yes, neg_risk=False) is Exchange.V3
    assert exchange_of(TOKEN, neg_risk=True) is Exchange.NEG_RISK
    assert exchange_of(TOKEN, neg_risk=False) is Exchange.STANDARD


@row(
    "1.15", "Gamma's `version` says which ids are a market's: `clobTokenIds`, or `positionIds` of the second."
)
def test_ids_of_gamma():
    async def body(server, desk):
        by_slug = {market.slug: market for market in (await desk.rest.gamma_markets()).items}
        plain, second = by_slug["plain-0"], by_slug["second-4"]
        assert plain.version == "v1" and plain.position_ids is None and plain.tokens == plain.clob_token_ids
        assert second.version == "v2" and second.clob_token_ids is None
        assert second.tokens == second.position_ids
        assert [is_position_id(int(token)) for token in (*plain.tokens, *second.tokens)] == [0, 0, 1, 1]

    desk(body)
    read = reader_of(GammaMarket)
    for change in ({"version": "v2"}, {"clobTokenIds": None}, {"clobTokenIds": "[]"}):
        assert read(msgspec.json.encode({**GAMMA_MARKET, **change})).tokens is None


@row("1.16", "A condition of the second protocol is asked for with 32 bytes; Gamma's 31 would not be found.")
def test_conditions():
    async def body(server, desk):
        (market,) = [x for x in (await desk.rest.gamma_markets()).items if x.version == "v2"]
        assert len(market.condition_id) == 2 + 62
        assert clob_condition(market.condition_id) == market.condition_id + "00"
        assert (await desk.rest.clob_market(market.condition_id)).c == market.condition_id + "00"
        with pytest.raises(ReadFailedError):
            await desk.rest.get(object, f"/clob-markets/{market.condition_id}")

    desk(body)


@row("1.17", "Orders of markets of the second protocol are signed for V3, and taken.")
def test_second_protocol():
    async def body(server, desk):
        place = next(k for k, terms in enumerate(desk.terms) if is_position_id(int(terms.yes)))
        for number, side in ((1, d.BID), (2, d.ASK)):
            built, answer, _ = await desk.place(number, place, side=side, price=4_000 + 2_000 * side)
            assert answer.outcome.verdict is Verdict.ACCEPTED
            order = built.post.order
            assert desk.signer.digest(
                Order(order.salt, int(order.token_id), int(order.maker_amount), int(order.taker_amount),
                      order.side, int(order.timestamp)), Exchange.V3,
            ) == built.digest  # fmt: skip

    desk(body)


@row(
    "1.18",
    "Balances of positions are asked for as those of the second protocol, tokens as those of the first.",
)
def test_balances():
    async def body(t):
        for slug in ("plain-0", "second-4"):
            t.server.do("split", market=slug, shares="7")
        with listening(t.server) as heard:
            t.wire.send(0, [c.ReadPositions(venue="polymarket")])
            read = await t.ear.until(e.PositionsRead)
        kinds = {h.query["token_id"]: h.query["asset_type"] for h in heard if "token_id" in h.query}
        for life in t.lives:
            want = "CONDITIONAL-V2" if is_position_id(int(life.yes)) else "CONDITIONAL"
            assert kinds[life.yes] == kinds[life.no] == want
        held = {p.market: (p.yes_contracts, p.no_contracts) for p in read.positions if p.yes_contracts}
        assert held == {0: (7 * CONTRACT, 7 * CONTRACT), 4: (7 * CONTRACT, 7 * CONTRACT)}

    live(body, count=5)


@row("1.19", "`neg_risk` picks the contract; a signature for the wrong one is refused for sure.")
def test_wrong_contract():
    async def body(server, desk):
        place = next(k for k, terms in enumerate(desk.terms) if terms.neg_risk)
        _, right, _ = await desk.place(1, place)
        assert right.outcome.verdict is Verdict.ACCEPTED
        desk.terms[place] = desk.terms[place]._replace(neg_risk=False)
        _, wrong, _ = await desk.place(2, place)
        assert wrong.outcome.verdict is Verdict.REFUSED and "signature" in wrong.outcome.text
        assert await desk.rest.neg_risk(desk.terms[place].yes) is True

    desk(body)
