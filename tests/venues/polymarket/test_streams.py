"""The streams lose nothing in silence: freezes, cuts, bad frames, tick changes, an account not heard of."""

from __future__ import annotations

import asyncio
import random
import types

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.commands import Resubscribe
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import book_watch, link, streams
from pr3dict.venues.polymarket.book import BookSpec
from pr3dict.venues.polymarket.streams import PolymarketStreams

CALM = {"array_frames": 0.3}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look often, so that tests do not wait long."""
    monkeypatch.setattr(link, "LOOK_NS", 30_000_000)
    monkeypatch.setattr(link, "PING_NS", 60_000_000)
    monkeypatch.setattr(streams, "ANSWER_NS", 400_000_000)
    monkeypatch.setattr(book_watch, "ROUND_NS", 150_000_000)
    monkeypatch.setattr(book_watch, "AGAIN_NS", 100_000_000)


@pytest.fixture
def run(trading_of):
    """Runs a body against a session."""

    def go(body, **options):
        async def all_of_it():
            async with trading_of.trading(**{"faults": CALM, **options}) as session:
                await body(session)

        asyncio.run(all_of_it())

    return go


async def same_as_rest(t, place):
    """Whether our book is what a read of the venue shows now."""
    life = t.lives[place]
    said = await t.wire.rest.book(life.yes)
    return book_watch.levels_of(said) == t.streams.decoder.books[life.condition].sides


def test_books_follow_everything_that_happens(run):
    async def body(t):
        rng = random.Random(3)
        for _ in range(150):
            place = rng.randrange(2)
            cents = rng.randrange(30, 70)
            t.server.do(
                "level", market=f"plain-{place}", side="bid" if cents < 50 else "ask",
                price=str(cents / 100), shares=str(rng.randrange(0, 50)),
            )  # fmt: skip
            if rng.random() < 0.1:
                t.server.do("take", market="plain-0", taker="bid", price="0.6", shares="3")
        await asyncio.sleep(0.2)
        assert await same_as_rest(t, 0) and await same_as_rest(t, 1)
        assert not t.ear.of(e.BookInvalid) and not t.ear.of(e.Malformed)
        assert t.ear.rows_of(d.LEVEL) and t.ear.rows_of(d.TRADE)
        assert not t.streams.hash_differs

    run(body)


def test_proofs_of_life_come_while_the_venue_answers(run):
    async def body(t):
        first = await t.ear.until(e.FeedAlive)
        later = await t.ear.until(e.FeedAlive, 10)
        assert first.venue_ns < later.venue_ns <= t.clock.now_ns()

    run(body)


def test_a_frozen_stream_is_found_by_another_route(run, trading_of):
    async def body(t):
        t.server.do("freeze", seconds=1.0)
        t.server.do("level", market="plain-0", side="bid", price="0.30", shares="77")
        lost = await t.ear.until(e.BookInvalid)
        assert (lost.market, lost.why) == (0, "differs") and t.wire.books.frozen == 1
        await trading_of.until(lambda: t.streams.decoder.books[t.lives[0].condition].synced, 8.0)
        assert t.streams.decoder.books[t.lives[0].condition].sides[0][3_000] == 77_000_000

    run(body)


def test_dropped_frames_are_noticed(run, trading_of):
    async def body(t):
        t.server.faults.change({"drop_market": 0.5})
        for cents in range(20, 45):
            t.server.do("level", market="plain-0", side="bid", price=str(cents / 100), shares="9")
            await asyncio.sleep(0.01)
        await t.ear.until(e.BookInvalid, market=0)
        t.server.faults.change({"drop_market": 0.0})
        known = t.streams.decoder.books[t.lives[0].condition]
        right = False
        for _ in range(100):
            await asyncio.sleep(0.05)
            right = known.synced and await same_as_rest(t, 0)
            if right:
                break
        assert right, "the book stays wrong"

    run(body)


def test_a_cut_connection_invalidates_its_books_and_comes_back(run, trading_of):
    async def body(t):
        t.server.do("disconnect")
        down = await t.ear.until(e.FeedDown)
        assert down.venue == "polymarket"
        await t.ear.until(e.FeedUp, 2)
        assert {b.market for b in t.ear.of(e.BookInvalid, why="gap")} == {0, 1}
        await trading_of.until(lambda: all(b.synced for b in t.streams.decoder.books.values()))
        assert await same_as_rest(t, 0)

    run(body)


def test_a_cut_market_line_alone_is_no_lost_venue(run, trading_of):
    async def body(t):
        place = next(i for i, s in enumerate(t.server.streams) if type(s).__name__ == "MarketStream")
        extra = BookSpec(
            market=9,
            condition="0x" + "77" * 32,
            yes="1" * 77,
            no="2" * 77,
            tick=100,
            min_size=5,
            neg_risk=False,
        )
        t.streams._lines[0][0].specs.update({f"filler{n}": extra for n in range(98)})
        t.streams.add_markets([extra])
        assert t.streams.lines == 2
        await trading_of.until(lambda: t.streams._lines[1][1].is_up)
        t.server.do("disconnect", stream=place)
        await t.ear.until(e.BookInvalid, 2, why="gap")
        assert not t.ear.of(e.FeedDown)

    # the filler has no book at the venue: only its own line may suffer from that
    run(body)


@pytest.mark.parametrize("fault", ["malformed_frame"])
def test_broken_frames_are_counted_and_everything_comes_again(run, trading_of, fault):
    async def body(t):
        t.server.faults.change({fault: 1.0})
        t.server.do("level", market="plain-0", side="bid", price="0.30", shares="77")
        await t.ear.until(e.Malformed)
        t.server.faults.change({fault: 0.0})
        await trading_of.until(lambda: all(b.synced for b in t.streams.decoder.books.values()), 8.0)
        assert await same_as_rest(t, 0)

    run(body)


def test_unknown_frames_are_nothing(run):
    async def body(t):
        t.server.do("unknown_frame")
        await asyncio.sleep(0.1)
        assert not t.ear.of(e.Malformed) and not t.ear.of(e.FeedDown) and not t.ear.of(e.BookInvalid)

    run(body)


def test_a_tick_change_is_a_new_epoch(run, trading_of):
    async def body(t):
        before = len(t.ear.rows)
        t.server.do("change_tick", market="plain-0", tick="0.001")
        assert (await t.ear.until(e.BookInvalid)).why == "tick"
        await trading_of.until(lambda: t.streams.decoder.books[t.lives[0].condition].synced)
        kinds = [int(r["kind"]) for rows in t.ear.rows[before:] for r in rows if r["market"] == 0]
        assert kinds.index(d.TICK) < kinds.index(d.SNAPSHOT)
        life = t.wire.lives[t.lives[0].condition]
        assert life.tick == 10 and life.listing.grids[life.grid].contains(5_010)
        t.place(1, price=4_010)
        await t.ear.until(e.Accepted, order_id=1)

    run(body)


def test_a_snapshot_that_is_asked_for_comes(run, trading_of):
    async def body(t):
        before = len(t.ear.rows_of(d.SNAPSHOT, 1))
        t.wire.send(0, [Resubscribe(market=1)])
        await trading_of.until(lambda: len(t.ear.rows_of(d.SNAPSHOT, 1)) >= 2 * before)
        assert before > 0

    run(body)


def test_an_account_channel_that_says_nothing_is_given_up(run, trading_of, monkeypatch):
    monkeypatch.setattr(streams, "UNHEARD_NS", 150_000_000)

    async def body(t):
        t.server.faults.change({"drop_user": 1.0})
        t.place(1)
        down = await t.ear.until(e.FeedDown)
        assert "does not mention" in down.why
        t.server.faults.change({"drop_user": 0.0})
        await t.ear.until(e.FeedUp, 2)

    run(body)


def test_messages_about_us_that_can_t_be_read_end_the_channel(run):
    async def body(t):
        t.place(1, price=4_900)
        await t.ear.until(e.Accepted, order_id=1)
        frame = (
            b'{"event_type":"trade","id":"t","taker_order_id":"x","market":"m","asset_id":"a","side":"BUY"}'
        )
        link_ = t.streams._user_link
        with pytest.raises(link.StreamLost, match="about our orders"):
            t.streams.hear_user(t.streams._user, frame)
        assert t.streams.malformed == 1 and link_.is_up

    run(body)


def test_empty_numbers_and_unknown_words_are_read(run):
    async def body(t):
        t.server.faults.change({"empty_numbers": 1.0, "unknown_status": 1.0})
        t.place(1, price=4_900)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("take", market="plain-0", taker="ask", price="0.48", shares="4")
        fill = await t.ear.until(e.Filled, order_id=1)
        assert fill.size == 4_000_000
        await t.ear.until(e.FillFinal)
        assert len(t.ear.of(e.Filled)) == 1

    run(body, faults={"mine_s": [0.05, 0.1], "confirm_s": [0.05, 0.1]})


def test_two_hundred_tokens_a_line(trading_of):
    async def body():
        ear = trading_of.Ear()
        specs = [
            BookSpec(
                market=n, condition=f"0x{n}", yes=f"y{n}", no=f"n{n}", tick=100, min_size=5, neg_risk=False
            )
            for n in range(250)
        ]
        clock = types.SimpleNamespace(now_ns=lambda: 1, sleep=asyncio.sleep)
        found = PolymarketStreams(
            "ws://127.0.0.1:1/ws", "ws://127.0.0.1:1/ws", clock, ear, specs, lambda *_: None,
            trading_of.reconnects,
        )  # fmt: skip
        assert found.lines == 3
        assert [len(line.hello()[0]["assets_ids"]) for line, _ in found._lines] == [200, 200, 100]
        found.remove_markets(["0x3"])
        found.add_markets([specs[3]])
        assert found.lines == 3 and found.decoder.books["0x3"].spec == specs[3]

    asyncio.run(body())


def test_without_a_key_there_is_no_account_channel(trading_of):
    async def body():
        async with trading_of.PolymarketStandIn(trading_of.small_catalog(1)) as server:
            clock, ear = trading_of.VenueClock(server), trading_of.Ear()
            http = trading_of.PolymarketHttp(
                trading_of.hosts_of(server), clock, trading_of.Budget(clock.now_ns())
            )
            lives = await trading_of.find_lives(trading_of.PolymarketRest(http))
            found = PolymarketStreams(
                server.market_ws_url, server.user_ws_url, clock, ear, [lives[0].spec], lambda *_: None,
                trading_of.reconnects,
            )  # fmt: skip
            found.start()
            await ear.until(e.FeedUp)
            await trading_of.until(lambda: ear.rows_of(d.SNAPSHOT))
            server.do("disconnect")
            await ear.until(e.FeedDown)
            await ear.until(e.FeedUp, 2)
            await found.close()
            await http.close()
            assert server.requests["ws_user"] == 0

    asyncio.run(body())
