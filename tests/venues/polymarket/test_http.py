"""Requests are signed, paced and judged; reads follow every page; every order has its own outcome."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from aiohttp import web

from pr3dict.domain.commands import Place
from pr3dict.domain.errors import ConfigError, DataError, WorkError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.budget import Budget, Charge, Told
from pr3dict.venues.polymarket.http import (
    PROD,
    USER_AGENT,
    Call,
    Hosts,
    PolymarketHttp,
    check_hosts,
    check_url,
    retry_after_ns,
    told_by,
)
from pr3dict.venues.polymarket.numbers import Exact, Seconds
from pr3dict.venues.polymarket.orders import MAX_BATCH, PolymarketOrders, restriction_in
from pr3dict.venues.polymarket.outcomes import Restriction, Verdict
from pr3dict.venues.polymarket.requests import Requests, Terms
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError

SECOND = 1_000_000_000


def run(small, bodies, body, *, answer_s=2.0, key=True):
    """A test body with a venue and a connection."""

    async def all_of_it():
        async with small.SmallVenue(bodies) as venue:
            clock = small.WallClock()
            http = PolymarketHttp(
                venue.hosts,
                clock,
                Budget(clock.now_ns()),
                key=small.API_KEY if key else None,
                signer=small.KEY,
                answer_s=answer_s,
            )
            try:
                await body(venue, http)
            finally:
                await http.close()

    asyncio.run(all_of_it())


def builder(small, bodies):
    terms = Terms(bodies.CONDITION, bodies.YES, bodies.NO, 100, neg_risk=False)
    requests = Requests(small.KEY, small.OWNER, lambda row: terms, "test")

    def build(number, **changes):
        fields = {
            "order_id": number,
            "market": 0,
            "side": d.BID,
            "price": 5300,
            "size": 100_000_000,
            "tif": d.POST_ONLY,
            **changes,
        }
        return requests.create(Place(**fields), time.time_ns())

    return build


def test_a_signed_read_is_answered_and_a_wrong_signature_is_refused(small, bodies):
    async def body(venue, http):
        venue.script["GET", "/balance-allowance"] = [(200, bodies.BODIES[a.BalanceAllowance])]
        balance = await PolymarketRest(http).balance("CONDITIONAL", bodies.YES)
        assert balance.balance == 1_000_000_000 and balance.allowances == {bodies.WALLET: 2**256 - 1}
        query = {"asset_type": "CONDITIONAL", "token_id": bodies.YES, "signature_type": "0"}
        assert venue.log[-1][2] == query
        http.key._secret = b"another"
        with pytest.raises(ReadFailedError, match="Unauthorized") as error:
            await PolymarketRest(http).balance()
        assert error.value.status == 401

    secret = small.API_KEY._secret
    try:
        run(small, bodies, body)
    finally:
        small.API_KEY._secret = secret


def test_every_request_says_who_asks(small, bodies):
    async def body(venue, http):
        await PolymarketRest(http).gamma_markets(closed=False)
        assert venue.agents == {USER_AGENT} and "pr3dict/" in USER_AGENT
        assert venue.log[-1][2] == {"limit": "100", "closed": "false"}

    run(small, bodies, body)


def test_every_page_is_read_and_a_cursor_that_turns_in_circles_is_refused(small, bodies):
    async def body(venue, http):
        def page(cursor):
            return 200, {**bodies.page(bodies.TRADE), "next_cursor": cursor}

        rest, key = PolymarketRest(http), ("GET", "/data/trades")
        venue.script[key] = [page("b"), page("c"), page("LTE=")]
        found = await rest.trades(after_ns=1_763_800_000_999_999_999, condition=bodies.CONDITION)
        assert len(found) == 3
        assert [call[2]["next_cursor"] for call in venue.log] == ["MA==", "b", "c"]
        assert venue.log[0][2] == {"after": "1763800000", "market": bodies.CONDITION, "next_cursor": "MA=="}
        for circle in (["b", "c", "b"], ["MA=="], [""]):
            venue.script[key] = [page(cursor) for cursor in circle]
            with pytest.raises(DataError, match="repeats the cursor"):
                await rest.trades()

    run(small, bodies, body)


@pytest.mark.parametrize(
    "broken", [{"data": [], "next_cursor": None}, {"data": []}, {"next_cursor": "LTE="}, []]
)
def test_a_page_that_may_be_cut_off_is_refused(small, bodies, broken):
    async def body(venue, http):
        venue.script["GET", "/data/orders"] = [(200, broken)]
        with pytest.raises(DataError, match="GET /data/orders"):
            await PolymarketRest(http).open_orders()

    run(small, bodies, body)


def test_gamma_s_pages_end_without_a_cursor_and_odd_markets_are_named(small, bodies):
    async def body(venue, http):
        odd = {**bodies.GAMMA_MARKET, "slug": "odd-one", "orderPriceMinTickSize": 0.003}
        venue.script["GET", "/gamma/markets/keyset"] = [
            (200, {"markets": [bodies.GAMMA_MARKET, odd], "next_cursor": "x"}),
            (200, {"markets": [bodies.GAMMA_MARKET], "next_cursor": None}),
            (200, {"markets": []}),
        ]
        found = await PolymarketRest(http).gamma_markets(condition_ids=[f"0x{n:064x}" for n in range(101)])
        assert len(found.items) == 2 and found.items[0].tokens == (bodies.YES, bodies.NO)
        (refused,) = found.refused
        assert refused.startswith("odd-one: ") and "tick" in refused
        assert [len(call[2]["condition_ids"].split(",")) for call in venue.log] == [100, 100, 1]
        assert [call[2].get("after_cursor") for call in venue.log] == [None, "x", None]

    run(small, bodies, body)


def test_a_token_is_asked_for_with_its_market_only(small, bodies):
    async def body(venue, http):
        build, orders, rest = builder(small, bodies), PolymarketOrders(http), PolymarketRest(http)
        await orders.post(build(1))
        assert len(await rest.open_orders(bodies.CONDITION, bodies.YES)) == 1
        assert venue.log[-1][2]["asset_id"] == bodies.YES
        assert await rest.open_orders(bodies.CONDITION, bodies.NO) == []
        assert len(await rest.open_orders()) == 1
        assert set(venue.log[-1][2]) == {"next_cursor"}

    run(small, bodies, body)


def test_an_order_is_asked_for_by_the_digest_that_was_known_before(small, bodies):
    async def body(venue, http):
        build, orders, rest = builder(small, bodies), PolymarketOrders(http), PolymarketRest(http)
        built = build(1)
        assert await rest.order(built.digest) is None
        assert (await orders.post(built)).outcome.verdict is Verdict.ACCEPTED
        found = await rest.order(built.digest)
        assert found is not None and found.id == built.digest
        assert found.sizes(100_000_000) == (100_000_000, 12_500_000)
        again = await orders.post(built)  # the venue has it already: ours, look it up
        assert (again.outcome.verdict, again.outcome.text) == (Verdict.UNKNOWN, "Duplicated.")
        for nothing in (b"", b"null"):
            venue.script["GET", "*"] = [(200, nothing)]
            assert await rest.order(built.digest) is None
        other = ((500, b"x"), (403, b"not found"), (404, b"page not found"), (404, b'{"error":"no"}'))
        for status, said in other:
            venue.script["GET", "*"] = [(status, said)]
            with pytest.raises(ReadFailedError):
                await rest.order(built.digest)
        venue.script["GET", "*"] = [(200, {**bodies.ORDER, "price": ""})]
        with pytest.raises(DataError, match="GET /data/order"):
            await rest.order(built.digest)

    run(small, bodies, body)


def test_what_never_left_what_was_lost_and_what_was_refused(small, bodies):
    async def hang(request, path, body):
        await asyncio.sleep(1)
        return 200, {}

    async def cut(request, path, body):
        request.transport.abort()
        return web.Response()

    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        venue.script["POST", "/order"] = [
            hang,
            cut,
            (503, {"code": "x"}),
            (302, b""),
            (200, b"[]"),
            (200, b"{}"),
            (200, {**bodies.POSTED, "orderID": "0x77"}),
            (400, {"error": "not enough balance / allowance"}),
        ]
        answers = [await orders.post(build(n)) for n in range(1, 9)]
        assert [answer.outcome.verdict for answer in answers] == [Verdict.UNKNOWN] * 7 + [Verdict.REFUSED]
        assert answers[4].malformed and not answers[5].malformed
        assert all(answer.body is None for answer in answers)

    run(small, bodies, body, answer_s=0.2)


def test_an_accepted_answer_that_cannot_be_read_is_unknown_and_said(small, bodies):
    async def body(venue, http):
        build = builder(small, bodies)
        venue.script["POST", "/order"] = [(200, {**bodies.POSTED, "takingAmount": 12.5})]
        answer = await PolymarketOrders(http).post(build(1))
        assert answer.outcome.verdict is Verdict.UNKNOWN and "takingAmount" in answer.malformed

    run(small, bodies, body)


def test_each_order_of_a_batch_has_its_own_outcome(small, bodies):
    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        built = [build(n) for n in range(1, 6)]
        restart = "post-only mode: only post-only orders and cancels are allowed"
        good = {**bodies.POSTED, "orderID": built[0].digest}
        venue.script["POST", "/orders"] = [
            (
                200,
                [
                    good,
                    {"success": True, "errorMsg": restart, "orderID": "", "status": ""},
                    {**good, "orderID": built[0].digest},  # another's
                    {**good, "orderID": built[3].digest, "makingAmount": []},
                    {**good, "orderID": built[4].digest, "status": "unmatched"},
                ],
            ),
            (200, [good, good]),
            (200, b'{"x":'),
            (429, {"error": "rate limited"}),
        ]
        answers = await orders.post_batch(built)
        verdicts = [answer.outcome.verdict for answer in answers]
        assert verdicts == [Verdict.ACCEPTED, Verdict.REFUSED] + [Verdict.UNKNOWN] * 3
        assert answers[0].body.orderID == built[0].digest and "makingAmount" in answers[3].malformed
        assert restriction_in(answers) is Restriction.POST_ONLY
        assert restriction_in(answers[2:]) is Restriction.NONE
        for _ in range(3):
            answers = await orders.post_batch(built)
            assert {answer.outcome.verdict for answer in answers} == {Verdict.UNKNOWN} and len(answers) == 5
        answers = await orders.post_batch(built)
        assert {answer.outcome.verdict for answer in answers} == {Verdict.ACCEPTED}
        for count in (0, MAX_BATCH + 1):
            with pytest.raises(WorkError, match="1 to 15"):
                await orders.post_batch([built[0]] * count)

    run(small, bodies, body)


def test_every_form_of_cancel(small, bodies):
    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        built = [build(n) for n in range(1, 6)]
        await orders.post_batch(built)
        gone = await orders.cancel(built[0].digest)
        assert gone.outcome.verdict is Verdict.ACCEPTED
        assert venue.log[-1] == ("DELETE", "/order", {}, {"orderID": built[0].digest})
        many = await orders.cancel_many([b.digest for b in built[:2]])
        assert [answer.outcome.verdict for answer in many] == [Verdict.REFUSED, Verdict.ACCEPTED]
        assert many[0].outcome.why == "unknown_order"
        await orders.cancel_market(bodies.CONDITION, bodies.YES)
        body = {"market": bodies.CONDITION, "asset_id": bodies.YES}
        assert venue.log[-1] == ("DELETE", "/cancel-market-orders", {}, body)
        await orders.post_batch(built)
        before = http.budget.tokens(http.clock.now_ns())["cancels"]
        swept = await orders.cancel_all()
        assert sorted(swept.body.canceled) == sorted(b.digest for b in built)
        assert venue.log[-1] == ("DELETE", "/cancel-all", {}, None)
        assert http.budget.tokens(http.clock.now_ns())["cancels"] <= before - 4
        venue.script["DELETE", "*"] = [(200, {}), (200, []), (503, b"")]
        for _ in range(3):
            assert (await orders.cancel_all()).outcome.verdict is Verdict.UNKNOWN
        assert await orders.cancel_many([]) == ()

    run(small, bodies, body)


def test_more_cancels_than_one_request_can_pay_for_are_split(small, bodies):
    async def body(venue, http):
        answers = await PolymarketOrders(http).cancel_many([f"0x{n:064x}" for n in range(150)])
        assert [len(call[3]) for call in venue.log] == [108, 42] and len(answers) == 150

    run(small, bodies, body)


def test_heartbeats_follow_the_id_that_the_venue_expects(small, bodies):
    async def body(venue, http):
        orders = PolymarketOrders(http)
        first = await orders.heartbeat("")
        assert (first.outcome.verdict, first.body.heartbeat_id) == (Verdict.ACCEPTED, "h1")
        wrong = await orders.heartbeat("h9")
        assert (wrong.outcome.verdict, wrong.body.heartbeat_id) == (Verdict.REFUSED, "h1")
        assert (await orders.heartbeat(wrong.body.heartbeat_id)).body.heartbeat_id == "h2"
        venue.script["POST", "/v1/heartbeats"] = [
            (200, {"heartbeat_id": ""}),
            (200, {}),
            (400, {"error": "no"}),
            (500, b""),
        ]
        answers = [await orders.heartbeat("h2") for _ in range(4)]
        verdicts = [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.REFUSED, Verdict.UNKNOWN]
        assert [answer.outcome.verdict for answer in answers] == verdicts
        assert all(answer.body is None for answer in answers)

    run(small, bodies, body)


def test_an_api_key_is_derived_or_made(small, bodies):
    async def body(venue, http):
        orders = PolymarketOrders(http)
        key = await orders.find_key(3)
        assert key.parts() == small.API_KEY.parts() and key.address == small.KEY.address
        venue.script["GET", "/auth/derive-api-key"] = [(400, {"error": "Could not derive api key!"})] * 2
        assert (await orders.find_key()).key == small.OWNER
        venue.script["POST", "/auth/api-key"] = [(400, {"error": "exists"})]
        with pytest.raises(WorkError, match="exists"):
            await orders.find_key()
        venue.script["GET", "/auth/derive-api-key"] = [(200, {"apiKey": "k", "secret": "hidden"})]
        with pytest.raises(DataError) as error:
            await orders.derive_key()
        assert "hidden" not in str(error.value)

    run(small, bodies, body, key=False)


def test_without_a_key_nothing_private_is_asked(small, bodies):
    async def body(venue, http):
        with pytest.raises(ConfigError, match="wallet_key"):
            await PolymarketRest(http).open_orders()
        http.signer = None
        with pytest.raises(ConfigError, match="wallet_key"):
            await PolymarketOrders(http).derive_key()
        assert venue.log == []

    run(small, bodies, body, key=False)


def test_nobody_there_is_not_sent(small, bodies):
    async def body():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            base = f"http://127.0.0.1:{closed.getsockname()[1]}"
        clock = small.WallClock()
        hosts = Hosts(base, base, base, base, "ws://localhost", "ws://localhost")
        http = PolymarketHttp(hosts, clock, Budget(clock.now_ns()), key=small.API_KEY, signer=small.KEY)
        answer = await PolymarketOrders(http).post(builder(small, bodies)(1))
        assert answer.outcome.verdict is Verdict.NOT_SENT
        await http.close()

    asyncio.run(body())


def test_the_probe_tells_a_blocked_region(small, bodies):
    async def body(venue, http):
        rest = PolymarketRest(http)
        assert await rest.is_blocked() is False
        assert venue.log[-1] == ("POST", "/order", {}, {})
        venue.script["POST", "/order"] = [(403, b"<html>"), (500, b"")]
        assert await rest.is_blocked() is True
        with pytest.raises(ReadFailedError):
            await rest.is_blocked()
        venue.script["GET", "/api/geoblock"] = [(200, bodies.BODIES[m.Geoblock])]
        found = await rest.geoblock()
        assert (found.blocked, found.country) == (True, "US")

    run(small, bodies, body)


def test_every_read_decodes_its_body(small, bodies):
    def answer(kind):
        return (200, bodies.BODIES[kind])

    async def body(venue, http):
        rest, cond = PolymarketRest(http), bodies.CONDITION
        venue.script["GET", "*"] = []
        for call, kind, check in (
            (rest.venue_time_ns(), Seconds, lambda x: x == 1_763_800_000 * SECOND),
            (rest.version(), m.Version, lambda x: x == 2),
            (rest.book(bodies.YES), m.Book, lambda x: x.bids[1].price == 5200 and x.tick_size == 100),
            (
                rest.clob_market(cond),
                m.ClobMarket,
                lambda x: (x.mts, x.mos, x.fd.r) == (100, 5_000_000, 50_000),
            ),
            (rest.verbose_market(cond), m.VerboseMarket, lambda x: x.tokens[0].winner is True),
            (rest.condition_of(bodies.YES), m.MarketByToken, lambda x: x == cond),
            (rest.tick_size(bodies.YES), m.TickSize, lambda x: x == 100),
            (rest.neg_risk(bodies.YES), m.NegRisk, lambda x: x is False),
            (rest.gamma_market("540817"), m.GammaMarket, lambda x: x.rewards_max_spread == 450),
            (rest.event_markets(slug="x"), m.GammaEvents, lambda x: x.items[0].id == "540817"),
            (rest.reward_markets(), m.RewardMarkets, lambda x: x.items[0].rewards_min_size == 50_000_000),
            (rest.rewards_of(cond), m.RewardMarkets, lambda x: x.items[0].total_daily_rate == 12_500_000),
            (
                rest.rebates("2026-11-21", "0x1"),
                tuple[m.Rebate, ...],
                lambda x: x[0].rebated_fees_usdc == 3_210_000,
            ),
            (rest.earnings("2026-11-21"), a.Earnings, lambda x: str(x[0].earnings) == "0.237519"),
            (rest.total_earnings("2026-11-21"), tuple[a.TotalEarning, ...], lambda x: len(x) == 1),
            (rest.reward_percentages(), dict[str, Exact], lambda x: x[cond] == 12.5),
            (rest.is_scoring(bodies.DIGEST), a.Scoring, lambda x: x is True),
            (rest.is_closed_only(), a.ClosedOnly, lambda x: x is False),
            (rest.api_keys(), a.ApiKeys, lambda x: x == (bodies.OWNER,)),
            (rest.rate_limit_tier(), a.RateLimitTier, lambda x: x == "standard"),
            (rest.refresh_balance(), a.ClosedOnly, lambda x: x is None),
        ):
            venue.script["GET", "*"].append(answer(kind))
            assert check(await call), kind
        venue.script["POST", "*"] = [answer(tuple[m.Book, ...]), answer(dict[str, bool])]
        assert len(await rest.books([bodies.YES])) == 1
        assert await rest.scoring([bodies.DIGEST]) == {bodies.DIGEST: True}

    run(small, bodies, body)


# --- pace -------------------------------------------------------------------------------------------


class Meter:
    """The venue's own count of one signer's bucket, with its own clock."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst, self.level, self.at = rate, burst, float(burst), time.monotonic()
        self.refused = 0

    def pay(self, cost: int) -> bool:
        now = time.monotonic()
        self.level, self.at = min(self.burst, self.level + (now - self.at) * self.rate), now
        if self.level < cost:
            self.refused += 1
            return False
        self.level -= cost
        return True


def test_twenty_two_sided_requotes_a_second_stay_inside_a_standard_tier(small, bodies):
    """Batches of two orders, two cancels each: the venue's own meters refuse nothing, and nothing is late."""

    async def body(venue, http):
        placed, cancelled = Meter(40, 60), Meter(80, 120)

        def post(request, path, body):
            return None if placed.pay(len(body)) else (429, {"error": "rate limited"})

        def delete(request, path, body):
            return None if cancelled.pay(len(body)) else (429, {"error": "rate limited"})

        venue.script["POST", "/orders"] = [post] * 200
        venue.script["DELETE", "/orders"] = [delete] * 200
        build, orders = builder(small, bodies), PolymarketOrders(http)
        verdicts, waits = [], []

        async def requote(number):
            built = [build(2 * number + side, price=5000 + 100 * side) for side in (1, 2)]
            start = time.monotonic()
            answers = await orders.post_batch(built, wait_ns=SECOND // 2)
            waits.append(time.monotonic() - start)
            gone = await orders.cancel_many([b.digest for b in built])
            verdicts.extend(answer.outcome.verdict for answer in (*answers, *gone))

        start, tasks = time.monotonic(), []
        for number in range(60):
            tasks.append(asyncio.create_task(requote(number)))
            await asyncio.sleep(max(0.0, start + (number + 1) / 20 - time.monotonic()))
        await asyncio.gather(*tasks)
        assert (placed.refused, cancelled.refused, http.rate_limited) == (0, 0, 0)
        assert set(verdicts) == {Verdict.ACCEPTED} and len(verdicts) == 240
        assert sorted(waits)[30] < 0.25

    run(small, bodies, body)


def test_a_refusal_by_the_signer_s_limit_empties_that_bucket_alone(small, bodies):
    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        told = {"Poly-RateLimit-Remaining": "0", "Poly-RateLimit-Tier": "copper", "Retry-After": "2"}
        venue.script["POST", "/order"] = [lambda *_: venue.json(429, {"error": "slow down"}, told)]
        answer = await orders.post(build(1))
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "rate_limit")
        assert answer.outcome.retry_ns == 2 * SECOND
        left = http.budget.tokens(http.clock.now_ns())
        assert left["orders"] < 10 and left["cancels"] > 100 and http.budget.tier == "copper"
        late = await orders.post(build(2), wait_ns=1000)
        assert late.outcome.verdict is Verdict.NOT_SENT or left["orders"] > 0

    run(small, bodies, body)


def test_a_429_from_the_door_is_unknown_and_slows_the_route(small, bodies):
    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        venue.script["POST", "/order"] = [(429, b"")]
        assert (await orders.post(build(1))).outcome.verdict is Verdict.UNKNOWN
        assert http.rate_limited == 1
        charge = http.charge(Call("POST", "/order", kind="orders", tokens=1))
        now_ns = http.clock.now_ns()
        assert http.budget.tokens(now_ns)["orders"] >= 52
        assert http.budget.wait_ns(charge, now_ns) >= 0

    run(small, bodies, body)


def test_an_order_that_nobody_wants_any_more_or_that_waits_too_long_is_not_sent(small, bodies):
    async def body(venue, http):
        build, orders = builder(small, bodies), PolymarketOrders(http)
        answer = await orders.post(build(1), wanted=lambda: False)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.NOT_SENT, "not_sent")
        charge = Charge("clob", ("POST", "/order"), "orders", 1)
        http.budget.refused(charge, Told(remaining=0), http.clock.now_ns())
        answer = await orders.post(build(2), wait_ns=1000)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.NOT_SENT, "rate_limit")
        assert venue.log == []

    run(small, bodies, body)


def test_headers_are_read_and_nonsense_in_them_says_nothing():
    told = told_by(
        {
            "Poly-RateLimit-Remaining": "-3.5",
            "Poly-RateLimit-Reset": "1763800000",
            "Poly-RateLimit-Tier": " Gold ",
            "Poly-RateLimit-Warning": "TRUE",
        }
    )
    assert told == Told(-3, 1_763_800_000 * SECOND, "Gold", warned=True) and told.is_there
    for odd in ("", "x", "1e9", "٣", "9" * 30, "--1"):
        assert not told_by({"Poly-RateLimit-Remaining": odd, "Poly-RateLimit-Reset": odd}).is_there
        assert retry_after_ns(odd) == 0
    assert retry_after_ns("99999") == 3600 * SECOND and retry_after_ns("-1") == 0


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "ftp://127.0.0.1/x", "https://", "https://a@b.c/x", "https://b.c/?y=1", "no"],
)
def test_an_address_that_gives_signatures_away_is_refused(url):
    with pytest.raises(ConfigError):
        check_url(url, ("https", "http"))
    with pytest.raises(ConfigError):
        check_hosts(PROD._replace(clob=url))


def test_the_venue_s_own_addresses_are_encrypted():
    assert check_hosts(PROD) == PROD
    assert all(url.startswith(("https://", "wss://")) for url in PROD)
    with pytest.raises(ConfigError):
        check_hosts(PROD._replace(ws_user="ws://example.com"))


def test_the_body_is_compact_and_signed_byte_for_byte(small, bodies):
    built = builder(small, bodies)(1)
    assert built.body() == json.dumps(json.loads(built.body()), separators=(",", ":")).encode()
