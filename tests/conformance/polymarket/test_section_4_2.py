"""Section 4, second part: the market channel."""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    MS,
    SECOND,
    accepted,
    book_of,
    catalog,
    changed,
    first,
    live,
    rows_of,
    say,
    statuses,
    until,
)
from conformance.polymarket.captures import Captured, later_books, mlb_game, raw_frames
from conformance.polymarket.rows import Unused, row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import Hash
from pr3dict.venues.polymarket.book_watch import MOST, ROUND_NS
from pr3dict.venues.polymarket.link import PING_NS
from pr3dict.venues.polymarket.streams import ASSETS_A_LINE
from standins.polymarket import MarketSpec, small_catalog
from standins.polymarket.streams import MarketStream

UNUSED = (
    Unused("Depths other than the second (`level`), and subscriptions without a first book (`initial_dump`)",
           "whole books are followed"),
)  # fmt: skip
LEVELS = (
    {4_800 - 100 * k: 100 * CONTRACT for k in range(5)},
    {5_200 + 100 * k: 100 * CONTRACT for k in range(5)},
)


def change(t, price="0.40", size="7", side="BUY", *, market=0, twin=True, touch=("0.48", "0.52"), **more):
    """A `price_change` of one level, told by both tokens unless `twin` is off."""
    life = t.lives[market]
    mirrored = f"{round(10_000 - float(price) * 10_000) / 10_000:g}"
    other = {"BUY": "SELL", "SELL": "BUY"}[side]
    bid, ask = (f"{round(10_000 - float(x) * 10_000) / 10_000:g}" for x in reversed(touch))
    rows = [
        {"asset_id": life.yes, "price": price, "size": size, "side": side, "hash": "",
         "best_bid": touch[0], "best_ask": touch[1]},
        {"asset_id": life.no, "price": mirrored, "size": size, "side": other, "hash": "",
         "best_bid": bid, "best_ask": ask},
    ]  # fmt: skip
    return {
        "event_type": "price_change", "market": life.condition, "timestamp": str(t.clock.now_ns() // MS),
        "price_changes": rows if twin else rows[:1], **more,
    }  # fmt: skip


def lines_of(t):
    """The market connections as the stand-in has them."""
    return [s for s in t.server.streams if type(s).__name__ == "MarketStream"]


def commands_of(monkeypatch):
    """Commands that the stand-in's market connections get from now on."""
    heard = []
    real = MarketStream.command

    def command(stream, body):
        heard.append(body)
        return real(stream, body)

    monkeypatch.setattr(MarketStream, "command", command)
    return heard


async def told(t, price, size, side=d.BID, market=0):
    """Wait until a level is what it must be."""
    await until(lambda: book_of(t, market)[side].get(price, 0) == size, 5, lambda: str(book_of(t, market)))


# --- subscriptions ----------------------------------------------------------------------------------


@row("4.25", "The first message names the tokens as `assets_ids` and asks for the custom messages too.")
def test_first_message():
    async def body(t):
        (said,) = t.streams._lines[0][0].hello()
        assert set(said) == {"type", "assets_ids", "custom_feature_enabled"}
        assert said["type"] == "market" and said["custom_feature_enabled"] is True
        assert said["assets_ids"] == [token for life in t.lives for token in (life.yes, life.no)]
        (line,) = lines_of(t)
        assert list(line.assets) == said["assets_ids"] and line.custom

    live(body)


@row("4.26", "Each token's book comes after the subscription, in an array; before it nothing counts.")
def test_first_books():
    async def body(t):
        assert book_of(t) == book_of(t, 1) == LEVELS
        first_row = rows_of(t, d.SNAPSHOT)[0]
        assert first_row["bits"] & d.SNAP_FIRST and len(rows_of(t, d.LEVEL)) == 0

    live(body, faults={"array_frames": 1})


@row("4.27", "A subscription that stands brings no book: it is left and joined anew to get one.")
def test_resync(monkeypatch):
    heard = commands_of(monkeypatch)

    async def body(t):
        t.wire.send(0, [c.Resubscribe(market=0)])
        await until(lambda: len(heard) >= 3)
        life = t.lives[0]
        assert heard[1] == {"operation": "unsubscribe", "assets_ids": [life.yes, life.no]}
        assert heard[2] == {
            "operation": "subscribe", "assets_ids": [life.yes, life.no], "custom_feature_enabled": True,
        }  # fmt: skip
        await until(lambda: sum(bool(x["bits"] & d.SNAP_FIRST) for x in rows_of(t, d.SNAPSHOT)) >= 2)
        assert book_of(t) == LEVELS

    live(body, speed=5.0)


@row(
    "4.28", "A connection carries at most 200 tokens, both of a market together; more need more connections."
)
def test_shards():
    async def body(t):
        assert t.streams.lines == 2 and ASSETS_A_LINE == 200
        sizes = sorted(len(line.assets) for line in lines_of(t))
        assert sizes == [40, 200] and len({a for line in lines_of(t) for a in line.assets}) == 240
        for life in t.lives:
            assert any({life.yes, life.no} <= set(line.assets) for line in lines_of(t))
        t.server.do(
            "level", market=t.server.venue.markets[119].spec.slug, side="bid", price="0.40", shares="7"
        )
        await told(t, 4_000, 7 * CONTRACT, market=119)

    live(body, catalog=small_catalog(120, version="v1"))


@row("4.29", "Markets are added to and taken from connections that stand.")
def test_later_markets():
    async def body(t):
        life = t.lives[1]
        await t.wire.leave([life.condition])
        await until(lambda: life.yes not in lines_of(t)[0].assets)
        await t.wire.follow([life])
        await until(lambda: life.yes in lines_of(t)[0].assets)
        await until(lambda: t.streams.decoder.books[life.condition].synced)
        assert t.streams.connections == 2 and book_of(t, 1) == LEVELS

    live(body, speed=5.0)


@row("4.30", "PING leaves as text at least each 10 s, and a connection that answers none is given up.")
def test_pings():
    assert PING_NS <= 10 * SECOND

    async def body(t):
        await until(lambda: len(t.ear.of(e.FeedAlive)) >= 3)
        before = t.streams.connections
        for stream in list(t.server.streams):
            stream._queue = lambda text: None  # open, and mute
        down = await t.ear.until(e.FeedDown)
        assert "PONG" in down.why
        await t.ear.until(e.FeedUp, 2)
        await until(lambda: t.streams.connections >= before + 2)

    live(body, speed=15.0)


# --- frames -----------------------------------------------------------------------------------------


@row("4.31", "A frame is one message or an array of them; text that is no JSON by design is passed over.")
def test_arrays():
    async def body(t):
        say(t.server, "", "PONG", "INVALID OPERATION", "hello", channel="market")
        (line,) = lines_of(t)
        line.put([change(t, size="7"), change(t, "0.41", "8")], array=True)
        line.put([change(t, "0.42", "9")])
        await told(t, 4_200, 9 * CONTRACT)
        assert (book_of(t)[0][4_000], book_of(t)[0][4_100]) == (7 * CONTRACT, 8 * CONTRACT)
        assert t.streams.malformed == 0

    live(body)


@row("4.32", "A size in a change is the new total at its price, and 0 takes the level out.")
def test_totals():
    async def body(t):
        for size, want in (("7", 7), ("7", 7), ("12.5", 12.5), ("0", 0), ("0", 0), ("0.000001", 0.000001)):
            say(t.server, change(t, "0.40", size), channel="market")
            await told(t, 4_000, round(want * CONTRACT))
        assert t.streams.malformed == 0

    live(body)


@row("4.33", "Both tokens tell each change: what NO says is mirrored, compared, and never added.")
def test_mirrors():
    async def body(t):
        say(t.server, change(t, "0.40", "7"), channel="market")
        await told(t, 4_000, 7 * CONTRACT)
        life = t.lives[0]
        alone = change(t, "0.41", "8")
        alone["price_changes"] = [x for x in alone["price_changes"] if x["asset_id"] == life.no]
        say(t.server, alone, channel="market")
        await told(t, 4_100, 8 * CONTRACT)
        assert t.streams.decoder.mirrors_differ == 0
        odd = change(t, "0.42", "9")
        odd["price_changes"][1]["size"] = "10"
        say(t.server, odd, channel="market")
        await told(t, 4_200, 9 * CONTRACT)
        assert t.streams.decoder.mirrors_differ == 1

    live(body)


@row("4.34", "Real orders of others, told by both tokens, leave the book that the venue has.")
def test_follows():
    async def body(t):
        chance = random.Random(4)
        for _ in range(150):
            side = chance.choice(("bid", "ask"))
            cents = chance.randrange(30, 49) if side == "bid" else chance.randrange(52, 70)
            t.server.do("level", market="plain-0", side=side, price=f"{cents / 100:.2f}",
                        shares=chance.choice((0, 1, 7.5, 100)))  # fmt: skip
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        market = t.server.venue.markets[0]
        want = [
            {p: q for p in range(100, 10_000, 100) if (q := market.book.others(side, p))} for side in (0, 1)
        ]
        await until(lambda: list(book_of(t)) == want, 5, lambda: f"{book_of(t)} {want}")
        assert t.streams.malformed == t.streams.hash_differs == 0

    live(body)


@row("4.35", "The side of a trade is the taker's; a trade takes nothing out of the book by itself.")
def test_trades():
    async def body(t):
        for token, side, price, want in (
            ("yes", "BUY", "0.52", (d.BID, 5_200)), ("yes", "SELL", "0.48", (d.ASK, 4_800)),
            ("no", "BUY", "0.52", (d.ASK, 4_800)), ("no", "SELL", "0.48", (d.BID, 5_200)),
        ):  # fmt: skip
            before = len(rows_of(t, d.TRADE))
            say(t.server, {
                "event_type": "last_trade_price", "market": t.lives[0].condition, "side": side,
                "asset_id": getattr(t.lives[0], token), "price": price, "size": "12.5", "fee_rate_bps": "0",
                "timestamp": str(t.clock.now_ns() // MS), "transaction_hash": "0xab",
            }, channel="market")  # fmt: skip
            await until(lambda before=before: len(rows_of(t, d.TRADE)) > before)
            trade = rows_of(t, d.TRADE)[-1]
            assert (trade["side"], trade["price"], trade["qty"]) == (*want, 12_500_000)
        assert book_of(t) == LEVELS

    live(body)


@row("4.36", "A tick that changes begins a new book: the old one counts for nothing until a whole one came.")
def test_tick_change():
    async def body(t):
        t.server.do("change_tick", market="plain-0", tick="0.001")
        lost = await t.ear.until(e.BookInvalid)
        assert (lost.market, lost.why) == (0, "tick")
        await until(lambda: t.streams.decoder.books[t.lives[0].condition].synced)
        grid = t.lives[0].listing.grids[int(rows_of(t, d.TICK)["aux"][-1])]
        assert grid.contains(4_010) and book_of(t) == LEVELS and statuses(t)[-1] == d.ACTIVE
        say(t.server, change(t, "0.401", "7"), channel="market")
        await told(t, 4_010, 7 * CONTRACT)

    live(body, speed=5.0)


@row("4.37", "On a tick that was not listed beforehand the market is paused until another one comes.")
def test_unlisted_tick():
    async def body(t):
        t.server.do("change_tick", market="one", tick="0.0001")
        await until(lambda: statuses(t)[-1] == d.PAUSED)
        t.server.do("change_tick", market="one", tick="0.01")
        await until(lambda: statuses(t)[-1] == d.ACTIVE)
        assert statuses(t) == [d.ACTIVE, d.PAUSED, d.ACTIVE]

    live(body, catalog=catalog(MarketSpec("one", "event", ticks=(100, 1))))


@row("4.38", "A tick that changed while nobody listened is told by the next whole book.")
def test_tick_in_a_book():
    async def body(t):
        t.server.faults.change({"drop_market": 1})
        t.server.do("change_tick", market="plain-0", tick="0.001")
        t.server.faults.change({"drop_market": 0})
        t.wire.send(0, [c.Resubscribe(market=0)])
        await until(lambda: t.wire.lives.of_row(0).tick == 10)
        assert await accepted(t, 1, price=4_010)

    live(body, speed=5.0)


@row("4.39", "A best bid and ask by itself changes nothing; a new market and unknown types hurt nothing.")
def test_other_types():
    async def body(t):
        now = {"market": t.lives[0].condition, "timestamp": str(t.clock.now_ns() // MS)}
        say(
            t.server,
            {"event_type": "best_bid_ask", "asset_id": t.lives[0].yes, "best_bid": "0.1", "best_ask": "0.9",
             "spread": "0.8", **now},
            {"event_type": "new_market", "id": "9", "slug": "x", "assets_ids": ["7", "8"], **now},
            {"event_type": "weather", "sunny": True},
            channel="market",
        )  # fmt: skip
        say(t.server, change(t, "0.40", "7"), channel="market")
        await told(t, 4_000, 7 * CONTRACT)
        assert {**book_of(t)[0], 4_000: 0} == {**LEVELS[0], 4_000: 0} and t.streams.malformed == 0

    live(body)


@row("4.40", "A resolution that is announced settles the market by its winning token.")
@pytest.mark.parametrize(("result", "value"), [("yes", 1_000_000), ("no", 0)])
def test_resolved(result, value):
    async def body(t):
        t.server.do("resolve", market="plain-0", result=result)
        settled = await t.ear.until(e.Settled)
        assert (settled.market, settled.value_micros) == (0, value) and statuses(t)[-1] == d.SETTLED

    live(body)


@row("4.41", "A resolution that no message tells, or one without a winner, is read from the catalogue.")
def test_resolved_unheard():
    async def body(t):
        t.server.faults.change({"drop_resolved": 1})
        t.server.do("resolve", market="plain-0", result="no")
        t.server.do("resolve", market="plain-1", result="void")
        changed(t.server, "gamma_markets", lambda body: {**body, "markets": [
            {**x, "umaResolutionStatus": "resolved"} for x in body["markets"]]})  # fmt: skip
        await t.wire._reread(t.wire.lives.watched)
        await t.ear.until(e.Settled, 2)
        assert {x.market: x.value_micros for x in t.ear.of(e.Settled)} == {0: 0, 1: 500_000}

    live(body)


# --- how a wrong book is noticed --------------------------------------------------------------------


@row("4.42", "Three changes in a row that state another touch than ours: the book is asked for anew.")
def test_touch():
    async def body(t):
        for size in ("7", "8"):
            say(t.server, change(t, "0.40", size, touch=("0.47", "0.52")), channel="market")
        await told(t, 4_000, 8 * CONTRACT)
        assert not t.ear.of(e.BookInvalid)
        say(t.server, change(t, "0.40", "9", touch=("0.47", "0.52")), channel="market")
        assert (await t.ear.until(e.BookInvalid)).market == 0
        assert t.streams.malformed == 1 and t.wire.books.frozen == 0  # found here, not by a read
        await until(lambda: book_of(t) == LEVELS)

    live(body, speed=5.0)


@row("4.43", "The hash that each change states is compared with that of our book; two that differ are proof.")
def test_hashes():
    async def body(t):
        found = t.streams.decoder.books[t.lives[0].condition]
        t.server.do("take", market="plain-0", taker="bid", price="0.52", shares="1")
        t.wire.send(0, [c.Resubscribe(market=0)])  # a whole book tells the last price, which a hash covers
        await until(lambda: found.synced and found.trades[0] == "0.52")
        for cents in range(30, 40):
            t.server.do("level", market="plain-0", side="bid", price=f"0.{cents}", shares="7")
            await told(t, cents * 100, 7 * CONTRACT)
            assert found.stated is not None and t.streams.decoder.verify(found) is Hash.MATCHES
        t.server.faults.change({"drop_market": 1})
        t.server.do("level", market="plain-0", side="bid", price="0.20", shares="7")
        t.server.faults.change({"drop_market": 0})
        t.server.do("level", market="plain-0", side="bid", price="0.21", shares="7")
        assert (await t.ear.until(e.BookInvalid)).why == "differs" and t.streams.hash_differs >= 1
        await told(t, 2_000, 7 * CONTRACT)

    live(body, speed=5.0)


@row("4.44", "A stream that is open and silent is found by reading books over REST; a quiet one is none.")
def test_freeze():
    assert ROUND_NS <= 30 * SECOND and MOST >= 100

    async def body(t):
        await until(lambda: t.wire.books is not None and t.wire.books.compared >= 4)  # quiet, and no freeze
        assert t.wire.books.frozen == 0 and not t.ear.of(e.BookInvalid)
        t.server.do("freeze", seconds=3_600, stream=list(t.server.streams).index(lines_of(t)[0]))
        t.server.do("level", market="plain-0", side="bid", price="0.40", shares="7")
        lost = await t.ear.until(e.BookInvalid)
        assert (lost.market, lost.why) == (0, "differs") and t.wire.books.frozen >= 1
        await told(t, 4_000, 7 * CONTRACT)  # by another connection

    live(body, speed=15.0)


@row("4.45", "A message that can't be read makes its market's book worthless, and no other's.")
def test_malformed():
    async def body(t):
        say(t.server, change(t, "1.40", "7"), channel="market")
        assert (await t.ear.until(e.BookInvalid)).market == 0
        await until(lambda: t.streams.decoder.books[t.lives[0].condition].synced)
        assert (await t.ear.until(e.Malformed)).count == 1 and t.streams.connections == 2
        assert {x.market for x in t.ear.of(e.BookInvalid)} == {0}

    live(body, speed=5.0)


@row("4.46", "One whose market can't be told makes the connection worthless: it is made anew with its books.")
def test_unreadable_frame():
    async def body(t):
        say(t.server, '{"event_type":"price_change","price_chan', channel="market")
        await t.ear.until(e.BookInvalid, 2)
        await until(lambda: all(b.synced for b in t.streams.decoder.books.values()))
        assert t.streams.connections == 3 and book_of(t) == book_of(t, 1) == LEVELS

    live(body, speed=5.0)


@row("4.47", "A connection that breaks makes its books worthless until their next whole ones.")
def test_disconnect():
    async def body(t):
        t.server.do("disconnect")
        t.server.do("level", market="plain-0", side="bid", price="0.40", shares="7")
        await t.ear.until(e.FeedDown)
        assert {x.market for x in t.ear.of(e.BookInvalid)} == {0, 1}
        await t.ear.until(e.FeedUp, 2)
        await told(t, 4_000, 7 * CONTRACT)

    live(body)


@row("4.48", "A book older than ours, and one of a token that nobody follows, are no news.")
def test_old_news():
    async def body(t):
        say(t.server, change(t, "0.40", "7"), channel="market")
        await told(t, 4_000, 7 * CONTRACT)
        old = {
            "event_type": "book", "market": t.lives[0].condition, "asset_id": t.lives[0].yes, "hash": "",
            "timestamp": str(t.clock.now_ns() // MS - 60_000), "bids": [], "asks": [], "tick_size": "0.01",
        }  # fmt: skip
        say(t.server, old, {**old, "asset_id": "7132"}, channel="market")
        say(t.server, change(t, "0.41", "8"), channel="market")
        await told(t, 4_100, 8 * CONTRACT)
        assert book_of(t)[0][4_000] == 7 * CONTRACT and t.streams.decoder.ignored == 1

    live(body)


@row("4.49", "An empty side, said as nothing, as 0 or as 1, is a book with one side.")
def test_one_sided():
    async def body(t):
        t.server.do("clear_book", market="plain-0")
        await until(lambda: book_of(t) == ({}, {}))
        t.server.do("level", market="plain-0", side="ask", price="0.60", shares="7")
        await until(lambda: book_of(t) == ({}, {6_000: 7 * CONTRACT}))
        for touch in (("0", "0.6"), ("", "0.6")):
            frame = change(t, "0.70", "5", "SELL", twin=False)
            frame["price_changes"][0] |= {"best_bid": touch[0], "best_ask": touch[1]}
            say(t.server, *[frame] * 3, channel="market")
        await told(t, 7_000, 5 * CONTRACT, d.ASK)
        assert t.streams.malformed == 0 and statuses(t)[-1] == d.ACTIVE

    live(body, catalog=first(small_catalog(1)))


# --- recordings -------------------------------------------------------------------------------------


@row("4.50", "Raw captures decode to the last message; each book and change has the hash that was stated.")
def test_captures(data_dir):
    with gzip.open(data_dir / "raw-ws-samples" / "polymarket-15m-mixed-raw_messages.jsonl.gz") as lines:
        frames = raw_frames(lines)
    found = Captured(frames)
    for frame in frames:
        found.play(frame)
    assert (found.books, found.changes, found.others, found.ignored) == (540, 40, 17, 0)
    assert found.verified == 580


@row("4.51", "In them every later book of a moment that ours had reached is the book rebuilt until then.")
def test_captures_rebuild(data_dir):
    with gzip.open(data_dir / "raw-ws-samples" / "polymarket-15m-mixed-raw_messages.jsonl.gz") as lines:
        frames = raw_frames(lines)
    equal, differ, newer = later_books(frames)
    assert differ == 0 and equal == 523
    assert newer == 11  # the recorder had stopped between: nobody can know what was not recorded


@row("4.52", "Recorded games decode to the last message; a later book is ours less what one trade took.")
@pytest.mark.parametrize(
    ("name", "messages"), [("mlb-laa-nyy-2025-06-19", 3_786), ("mlb-stl-cws-2025-06-19", 4_318)]
)
def test_games(data_dir, name, messages):
    path = data_dir / "polymarket-mlb-l2-2025" / "events" / f"20250619_{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    found = mlb_game(path)
    assert (found.messages, found.lost) == (messages, 0)
    assert found.explained >= 0.75 * (found.explained + found.other) and found.explained > 35
