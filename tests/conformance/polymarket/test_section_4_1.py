"""Section 4, first part: the catalogue, and reads of the order API."""

from __future__ import annotations

import json

import msgspec
import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    book_of,
    changed,
    desk,
    first,
    listening,
    live,
    statuses,
    until,
)
from conformance.polymarket.rows import Unused, row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.markets import fee_terms, listed
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.rest import BOOKS_A_CALL, CONDITIONS_A_CALL, READERS, ReadFailedError
from standins.polymarket import small_catalog
from venues.polymarket.bodies import BOOK, CLOB_MARKET, GAMMA_MARKET

UNUSED = (
    Unused("Midpoints, prices and spreads over REST", "the book says more"),
    Unused("The price of the last trade over REST, and the history of prices", "trades come by the stream"),
    Unused("Gamma's lists in pages by offset", "they fail beyond 2,000 rows"),
    Unused("Gamma's prices", "they are cached: nothing is quoted off them"),
)  # fmt: skip


def gamma(**changes) -> m.GammaMarket:
    """A market of the catalogue, changed as the wire would say it."""
    return reader_of(m.GammaMarket)(msgspec.json.encode({**GAMMA_MARKET, **changes}))


def clob(**changes) -> m.ClobMarket:
    """A market of the order API."""
    return READERS[m.ClobMarket](msgspec.json.encode({**CLOB_MARKET, **changes}))


# --- the catalogue ----------------------------------------------------------------------------------


@row("4.1", "The catalogue is read by key, 100 entries a page, to the page that names no cursor.")
def test_keyset():
    async def body(server, desk):
        with listening(server) as heard:
            found = await desk.rest.gamma_markets(closed=False)
        assert len(found.items) == 230 and not found.refused
        pages = [h.query for h in heard if h.path == "/gamma/markets/keyset"]
        assert [q["limit"] for q in pages] == ["100"] * 3 and "after_cursor" not in pages[0]
        assert all("offset" not in q and q["after_cursor"] for q in pages[1:])

    desk(body, catalog=small_catalog(230))


@row("4.2", "What is closed is left out of the catalogue unless it is asked for, so both are asked.")
def test_closed():
    async def body(t):
        t.server.do("resolve", market="plain-0", result="yes")
        assert len((await t.wire.rest.gamma_markets()).items) == 1
        (over,) = (await t.wire.rest.gamma_markets(closed=True)).items
        assert over.closed and over.condition_id == t.lives[0].condition
        assert (await t.ear.until(e.Settled)).value_micros == 10**6

    live(body)


@row("4.3", "A question names at most 100 conditions; more of them are several questions.")
def test_many_conditions():
    async def body(server, desk):
        names = [terms.condition for terms in desk.terms]
        with listening(server) as heard:
            found = await desk.rest.gamma_markets(condition_ids=names)
        assert {item.condition_id for item in found.items} == set(names) and CONDITIONS_A_CALL == 100
        assert len([h for h in heard if h.path == "/gamma/markets/keyset"]) == 3

    desk(body, catalog=small_catalog(230, version="v1"))


@row("4.4", "Outcomes, prices and tokens are JSON inside texts, positions a list; the first one is YES.")
def test_lists_in_texts():
    market = gamma()
    assert market.tokens == tuple(json.loads(GAMMA_MARKET["clobTokenIds"]))
    assert [str(price) for price in market.outcome_prices] == ["0.53", "0.47"]
    assert gamma(clobTokenIds=json.loads(GAMMA_MARKET["clobTokenIds"])).tokens == market.tokens
    assert gamma(version="v2", positionIds=["8", "9"], clobTokenIds=None).tokens == ("8", "9")
    for bad in ("[", '{"a":1}', "7132", 7132):
        with pytest.raises(DataError, match="clobTokenIds"):
            gamma(clobTokenIds=bad)


@row("4.5", "`endDate` is when the outcome is expected, no halt: quoting may go on after it.")
def test_end_date():
    told = listed(gamma(), row=0)
    assert told.resolution_ns == 1_798_718_400 * SECOND and told.close_ns == -1

    async def body(t):
        await t.wire._reread(t.wire.lives.watched)
        assert t.lives[0].listing.resolution_ns < t.clock.now_ns() and statuses(t)[-1] == d.ACTIVE
        await accepted(t, 1)

    live(body, catalog=first(small_catalog(1), end_in_s=-60.0))


@row("4.6", "The widest spread that earns is in cents, the daily rate in dollars.")
def test_reward_units():
    market = gamma()
    assert (int(market.rewards_max_spread), int(market.rewards_min_size)) == (450, 50 * CONTRACT)
    assert int(market.clob_rewards[0].rewardsDailyRate) == 12 * 10**6


@row("4.7", "The fee is what the schedule's numbers say, not its name and not the legacy fees beside it.")
def test_fees():
    legacy = {"makerBaseFee": 1000, "takerBaseFee": 1000, "feeType": "a_new_type"}
    terms = fee_terms(gamma(**legacy))
    assert (terms.taker_ppm, terms.maker_ppm, terms.rebate_ppm) == (40_000, 0, 250_000)
    assert fee_terms(gamma(), clob()).taker_ppm == 50_000  # the order API's word wins
    assert fee_terms(gamma(feeSchedule=None)).taker_ppm == 0
    with pytest.raises(DataError, match="exponent"):
        fee_terms(gamma(feeSchedule={"rate": 0.25, "exponent": 2, "takerOnly": True, "rebateRate": 0.2}))


@row("4.8", "While a resolution is proposed, disputed or anything else, the market is paused.")
@pytest.mark.parametrize("word", ["proposed", "disputed", "a_new_word"])
def test_resolution_under_way(word):
    async def body(t):
        t.server.do("propose", market="plain-0", status=word)
        await t.wire._reread(t.wire.lives.watched)
        assert (statuses(t)[-1], statuses(t, 1)[-1]) == (d.PAUSED, d.ACTIVE)
        t.server.do("propose", market="plain-0", status=None)
        await t.wire._reread(t.wire.lives.watched)
        assert statuses(t)[-1] == d.ACTIVE

    live(body)


@row("4.9", "A market that takes no orders, or is not active, is paused; one that is closed is over.")
def test_not_accepting():
    async def body(t):
        for flag, at, status in (
            ("acceptingOrders", False, d.PAUSED), ("enableOrderBook", False, d.PAUSED),
            ("active", False, d.PAUSED), ("active", True, d.ACTIVE), ("closed", True, d.CLOSED),
        ):  # fmt: skip
            changed(
                t.server,
                "gamma_markets",
                lambda body, flag=flag, at=at: {
                    **body,
                    "markets": [{**market, flag: at} for market in body["markets"]],
                },
            )
            await t.wire._reread(t.wire.lives.watched)
            assert statuses(t)[-1] == status, flag

    live(body, count=1)


@row("4.10", "Gamma's prices never enter a book.")
def test_gamma_prices():
    async def body(t):
        changed(
            t.server,
            "gamma_markets",
            lambda body: {**body, "markets": [{**x, "bestBid": 0.9, "spread": 0} for x in body["markets"]]},
        )
        before = book_of(t)
        await t.wire._reread(t.wire.lives.watched)
        assert book_of(t) == before and max(before[d.BID]) == 4_800

    live(body)


@row("4.11", "A market whose tokens or book are not there yet is left out and named; it hides no other.")
def test_not_listed_yet():
    async def body(server, desk):
        def change(body):
            odd, *rest = body["markets"]
            return {**body, "markets": [{**odd, "clobTokenIds": "[]"}, {**odd, "orderMinSize": "x"}, *rest]}

        changed(server, "gamma_markets", change)
        found = await desk.rest.gamma_markets()
        assert len(found.items) == 5 and len(found.refused) == 1 and "orderMinSize" in found.refused[0]
        with pytest.raises(DataError, match="tokens"):
            listed(found.items[0], row=0)
        server.venue.markets[1].status = "waiting"
        with pytest.raises(ReadFailedError) as error:
            await desk.rest.clob_market(desk.terms[1].condition)
        assert error.value.status == 404

    desk(body)


@row("4.12", "One market is read by Gamma's id, events with their markets by their slug.")
def test_events():
    async def body(_, desk):
        found = await desk.rest.event_markets(slug="field")
        assert [x.slug for x in found.items] == ["field-2", "field-3"] and not found.refused
        assert {x.events[0].slug for x in found.items} == {"field"}
        one = found.items[0]
        assert (await desk.rest.gamma_market(one.id)).condition_id == one.condition_id

    desk(body)


@row("4.13", "Markets of a neg-risk event exclude each other and share its id; others stand alone.")
def test_exclusive():
    async def body(t):
        listings = [life.listing for life in t.lives]
        assert [x.exclusive for x in listings] == [False, False, True, True, False]
        assert listings[2].event_id == listings[3].event_id and listings[2].event_id.startswith("0x")
        assert [life.neg_risk for life in t.lives] == [False, False, True, True, False]

    live(body, count=5)


# --- the order API's reads --------------------------------------------------------------------------


@row("4.14", "What an order must respect (tick, least size, neg-risk, fee) is the order API's word.")
def test_clob_market():
    market, told = gamma(), clob(mts=0.001, mos=15, nr=True, fd={"r": 0.07, "e": 1, "to": True})
    found = listed(market, row=3, clob=told)
    assert (found.grids[0].contains(5_310), found.min_size, found.taker_ppm) == (True, 15 * CONTRACT, 70_000)

    async def body(server, desk):
        terms = desk.terms[0]
        assert await desk.rest.tick_size(terms.yes) == terms.tick == 100
        assert await desk.rest.neg_risk(terms.yes) is terms.neg_risk is False
        assert await desk.rest.condition_of(terms.no) == terms.condition
        assert server.requests["clob_market"] == len(desk.terms)

    desk(body)


@row("4.15", "A compact market may leave its fee out, which means none; unknown fields of it never hurt.")
def test_compact_market():
    found = clob(fd=None, oas=1, aot=True, rfqe=False, ibce=False, r={"mi": 50, "ma": 4.5, "moas": 30})
    assert found.fd is None and int(found.r.ma) == 450 and fee_terms(gamma(), found).taker_ppm == 0
    for missing in ("t", "mts", "mos"):
        with pytest.raises(DataError, match=missing):
            READERS[m.ClobMarket](
                msgspec.json.encode({name: value for name, value in CLOB_MARKET.items() if name != missing})
            )


@row("4.16", "A tick that Polymarket does not have is refused: no grid is guessed.")
def test_unknown_tick():
    for bad in (0.02, "0.0001x", 0, None, "0.05"):
        with pytest.raises(DataError, match="mts"):
            clob(mts=bad)
    assert {int(clob(mts=tick).mts) for tick in (0.1, "0.01", 0.005, 0.0025, 0.001, 1e-4)} == {
        1_000, 100, 50, 25, 10, 1,
    }  # fmt: skip


@row("4.17", "The long form of a market names the winner; equal payouts are a value of half a dollar.")
def test_verbose_market():
    async def body(t):
        t.server.faults.change({"drop_resolved": 1})
        t.server.do("resolve", market="plain-1", result="no")
        assert (await t.wire.rest.verbose_market(t.lives[1].condition)).tokens[1].winner
        changed(t.server, "gamma_markets", lambda body: {**body, "markets": []})
        await t.wire._reread(t.wire.lives.watched)
        settled = await t.ear.until(e.Settled)
        assert (settled.market, settled.value_micros) == (1, 0)

    live(body)


@row("4.18", "Books are read one by one or 500 a question; tokens that are not known are not among them.")
def test_books():
    async def body(server, desk):
        tokens = [token for terms in desk.terms for token in (terms.yes, terms.no)]
        assert [book.asset_id for book in await desk.rest.books(tokens)] == tokens
        with listening(server) as heard:
            found = await desk.rest.books([*tokens, *(str(10**76 + k) for k in range(600))])
        assert len(found) == len(tokens)
        assert [len(h.body) for h in heard] == [BOOKS_A_CALL, 610 - BOOKS_A_CALL] and BOOKS_A_CALL == 500
        with pytest.raises(ReadFailedError) as error:
            await desk.rest.book(str(10**76))
        assert error.value.status == 404

    desk(body)


@row("4.19", "The best price of a book is its highest bid and lowest ask, in whatever order it comes.")
@pytest.mark.parametrize("turned", [False, True])
def test_order_of_levels(turned):
    async def body(t):
        def change(book):
            return {**book, "bids": book["bids"][::-1], "asks": book["asks"][::-1]} if turned else book

        changed(t.server, "book", change)
        t.wire.send(0, [c.ReadBook(market=0)])
        read = await t.ear.until(e.BookRead)
        assert (read.bid_price, read.ask_price) == (4_800, 5_200)

    live(body)


@row("4.20", "A book's hash is SHA-1 over its compact JSON in fixed order, and equals the published one.")
def test_book_hash():
    published = "44d2b579af67a83e4ffd0a0a780fb5f4e241e979"
    assert m.book_hash(msgspec.json.encode(BOOK)) == BOOK["hash"] == published

    async def body(server, desk):
        server.do("take", market="plain-0", taker="bid", price="0.52", shares="1.5")
        for terms in desk.terms:
            for token in (terms.yes, terms.no):
                raw = (await desk.http.call(Call("GET", "/book", query={"token_id": token}))).body
                assert m.book_hash(raw) == json.loads(raw)["hash"]

    desk(body)


@row("4.21", "A book with a price twice, off 0 to 1, or without a time is refused whole.")
def test_damaged_books():
    for change in (
        {"timestamp": None}, {"timestamp": "17"}, {"bids": None}, {"asks": [{"price": "1.5", "size": "1"}]},
        {"bids": [{"price": "0.5", "size": "-1"}]}, {"bids": [{"price": 0.5, "size": "1"}]},
    ):  # fmt: skip
        with pytest.raises(DataError):
            READERS[m.Book](msgspec.json.encode({**BOOK, **change}))


@row("4.22", "The venue says each minute anew how its markets stand; what no message told is found so.")
def test_each_minute():
    async def body(t):
        t.server.venue.by_condition[t.lives[0].condition].accepting = False
        await until(lambda: statuses(t)[-1] == d.PAUSED, 8, lambda: str(statuses(t)))
        assert t.server.requests["gamma_markets"] >= 2

    live(body, speed=60.0, faults={"array_frames": 0})


@row("4.23", "A tick that changed unheard is noticed by that reading, and the book is asked for anew.")
def test_tick_moved_unheard():
    async def body(t):
        t.server.venue.by_condition[t.lives[0].condition].tick = 10
        await t.wire._reread(t.wire.lives.watched)
        assert (await t.ear.until(e.BookInvalid)).market == 0

    live(body)


@row("4.24", "An order for a market that is over is refused for sure, as closed.")
def test_closed_market():
    async def body(server, desk):
        server.do("resolve", market="plain-0", result="yes")
        _, answer, _ = await desk.place(1)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "closed")

    desk(body)
