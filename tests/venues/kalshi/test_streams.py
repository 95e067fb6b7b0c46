"""The streams lose nothing in silence: gaps, dead subscriptions, silence, bad frames, broken connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, ClockSkewed, FeedAlive, FeedDown, FeedUp, Malformed
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import streams as module
from pr3dict.venues.kalshi.frames import FillFrame, OrderFrame
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects

MARKETS = {"KXA-1": 0, "KXA-2": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Watch often, so that tests do not wait long."""
    monkeypatch.setattr(module, "PING_NS", 30_000_000)
    monkeypatch.setattr(module, "ANSWER_NS", 300_000_000)


@pytest.fixture
def live(small, bodies):
    """Runs a test body against a venue and connected streams."""

    @asynccontextmanager
    async def connected(markets=MARKETS, **options):
        async with small.SmallVenue(bodies) as venue:
            ear, frames = small.Ear(), []
            links = Reconnects(Backoff(5_000_000, 50_000_000, random.Random(7).randrange), 10**9)
            streams = KalshiStreams(
                venue.ws_url,
                small.SIGNER,
                small.WallClock(),
                ear,
                markets,
                lambda frame, _: frames.append(frame),
                links,
                **options,
            )
            ear.frames = frames
            streams.start()
            try:
                yield venue, ear, streams
            finally:
                await streams.close()

    def run(body: Callable[..., Awaitable[None]], **options) -> None:
        async def all_of_it() -> None:
            async with connected(**options) as (venue, ear, streams):
                await ear.until(FeedUp)
                await small.until(lambda: len(ear.rows) >= 2)
                await body(venue, ear, streams)

        asyncio.run(all_of_it())

    return run


def test_a_connection_brings_whole_books_and_proofs_of_life(live):
    async def body(venue, ear, streams):
        await ear.until(FeedAlive)
        await ear.until(ClockSkewed)
        rows = np.concatenate(ear.rows[:2])
        assert set(rows["kind"]) == {d.SNAPSHOT}
        assert [(int(r["market"]), int(r["side"]), int(r["price"]), int(r["qty"])) for r in rows[:2]] == [
            (0, d.BID, 4500, 10_000_000),
            (0, d.ASK, 4700, 5_000_000),
        ]
        assert rows["bits"].tolist() == [d.SNAP_FIRST, d.SNAP_LAST] * 2
        books = [c for c in venue.commands if c.get("params", {}).get("channels") == ["orderbook_delta"]]
        assert [c["params"]["use_yes_price"] for c in books] == [True]
        assert {c["params"]["channels"][0] for c in venue.commands if c["cmd"] == "subscribe"} == {
            "orderbook_delta",
            "trade",
            "market_lifecycle_v2",
            "fill",
            "user_orders",
            "market_positions",
            "order_group_updates",
        }
        assert streams.is_up and not ear.of(BookInvalid)

    live(body)


def test_a_gap_invalidates_every_book_and_brings_snapshots(live, small):
    async def body(venue, ear, streams):
        delta = {"market_ticker": "KXA-1", "price_dollars": "0.4500", "delta_fp": "-4.00", "side": "yes"}
        await venue.say("orderbook_delta", "orderbook_delta", **delta)
        await small.until(lambda: len(ear.rows) == 3)
        assert int(ear.rows[2]["qty"][0]) == 6_000_000
        await venue.say("orderbook_delta", "orderbook_delta", skip=1, **delta)
        await ear.until(BookInvalid, 2)
        await small.until(lambda: len(ear.rows) == 5)
        assert {(e.market, e.why) for e in ear.of(BookInvalid)} == {(0, "gap"), (1, "gap")}
        assert all(rows["kind"][0] == d.SNAPSHOT for rows in ear.rows[3:])
        assert (streams.sequences.gaps, streams.sequences.missed) == (1, 1)
        await venue.say("orderbook_delta", "orderbook_delta", **delta)  # from the fresh snapshot of 10
        await small.until(lambda: len(ear.rows) == 6)
        assert int(ear.rows[5]["qty"][0]) == 6_000_000 and not ear.of(FeedDown)

    live(body)


def test_answers_to_commands_count_in_the_sequence(live, small):
    async def body(venue, ear, streams):
        sid = venue.channels["orderbook_delta"]
        venue.seqs[sid] += 1
        await venue.raw(
            {"id": 99, "type": "ok", "sid": sid, "seq": venue.seqs[sid], "msg": {"market_tickers": []}}
        )
        await venue.say(
            "orderbook_delta",
            "orderbook_delta",
            market_ticker="KXA-1",
            price_dollars="0.4400",
            delta_fp="1.00",
            side="yes",
        )
        await small.until(lambda: len(ear.rows) == 3)
        assert streams.sequences.gaps == 0 and not ear.of(BookInvalid)

    live(body)


def test_a_repeated_delta_is_applied_once(live, small):
    async def body(venue, ear, streams):
        delta = {"market_ticker": "KXA-1", "price_dollars": "0.4500", "delta_fp": "-4.00", "side": "yes"}
        for again in (0, -1):
            await venue.say("orderbook_delta", "orderbook_delta", skip=again, **delta)
        await venue.say("orderbook_delta", "orderbook_delta", **{**delta, "delta_fp": "-1.00"})
        await small.until(lambda: len(ear.rows) == 4)
        assert [int(rows["qty"][0]) for rows in ear.rows[2:]] == [6_000_000, 5_000_000]
        assert streams.sequences.repeats == 1

    live(body)


@pytest.mark.parametrize("code", [10, 25])
def test_a_dead_subscription_ends_the_connection_which_comes_back_whole(live, code, small):
    async def body(venue, ear, streams):
        sid = venue.channels["orderbook_delta"]
        await venue.raw({"type": "error", "sid": sid, "msg": {"code": code, "msg": "channel error"}})
        down = await ear.until(FeedDown)
        assert f"error {code}" in down.why and "orderbook_delta" in down.why
        await ear.until(FeedUp, 2)
        await small.until(lambda: len(ear.rows) >= 4)
        assert streams.terminal_errors == 1 and streams.connections == 2

    live(body)


@pytest.mark.parametrize("channel", ["fill", "user_orders", "order_group_updates", "market_lifecycle_v2"])
def test_a_hole_in_the_accounts_messages_is_a_new_connection(live, bodies, channel):
    async def body(venue, ear, streams):
        kind = {"user_orders": "user_order"}.get(channel, channel)
        await venue.say(channel, kind, **bodies.FRAMES[kind])
        await venue.say(channel, kind, skip=2, **bodies.FRAMES[kind])
        down = await ear.until(FeedDown)
        assert channel in down.why
        await ear.until(FeedUp, 2)

    live(body)


def test_a_hole_in_the_trades_breaks_nothing(live, small):
    async def body(venue, ear, streams):
        trade = {
            "market_ticker": "KXA-1",
            "yes_price_dollars": "0.4500",
            "count_fp": "4.00",
            "taker_outcome_side": "no",
        }
        await venue.say("trade", "trade", **trade)
        await venue.say("trade", "trade", skip=3, **trade)
        await small.until(lambda: len(ear.rows) == 4)
        assert streams.sequences.missed == 3 and not ear.of(BookInvalid) and not ear.of(FeedDown)

    live(body)


def test_a_silent_freeze_is_noticed_though_the_link_is_up(live, monkeypatch):
    async def body(venue, ear, streams):
        streams.silence.limit_ns = 200_000_000
        venue.frozen = True
        down = await ear.until(FeedDown)
        assert "nothing new" in down.why
        venue.frozen = False
        await ear.until(FeedUp, 2)

    live(body)


def test_a_broken_link_and_a_refused_handshake_are_survived(live, small):
    async def body(venue, ear, streams):
        venue.refuse_upgrade = True
        await venue.sockets[-1].close()
        await ear.until(FeedDown)
        await asyncio.sleep(0.1)
        assert not streams.is_up and len(ear.of(FeedDown)) == 1
        venue.refuse_upgrade = False
        await ear.until(FeedUp, 2)
        await small.until(lambda: len(ear.rows) >= 4)

    live(body)


def test_a_book_that_falls_below_zero_is_asked_for_again(live, small):
    async def body(venue, ear, streams):
        await venue.say(
            "orderbook_delta",
            "orderbook_delta",
            market_ticker="KXA-2",
            price_dollars="0.4500",
            delta_fp="-11.00",
            side="yes",
        )
        lost = await ear.until(BookInvalid)
        assert (lost.market, lost.why) == (1, "negative_size")
        await small.until(lambda: len(ear.rows) == 3)
        assert ear.rows[2]["market"][0] == 1
        assert (await ear.until(Malformed)).count == 1

    live(body)


def test_bad_frames_are_counted_and_survived(live, small, bodies):
    async def body(venue, ear, streams):
        await venue.raw({"type": "market_position", "sid": 99, "msg": {"market_ticker": 7}})
        await venue.raw({"type": "trade", "sid": 99, "msg": {"market_ticker": 7}})
        await venue.raw({"type": "error", "id": 77, "msg": {"code": 5, "msg": "unknown command"}})
        await venue.raw({"type": "brand_new", "msg": {}})
        await venue.say("fill", "fill", **bodies.FRAMES["fill"])
        await small.until(lambda: bool(ear.frames))
        await ear.until(Malformed)
        assert streams.malformed == 3 == sum(e.count for e in ear.of(Malformed))
        assert isinstance(ear.frames[0], FillFrame) and ear.frames[0].msg.count_fp == 4_000_000

    live(body)


def test_the_engine_may_ask_for_a_snapshot_and_gets_one(live, small):
    async def body(venue, ear, streams):
        streams.snapshot("KXA-2")
        streams.snapshot("KXA-2")
        await small.until(lambda: len(ear.rows) == 3)
        await asyncio.sleep(0.05)
        asked = [c for c in venue.commands if c.get("params", {}).get("action") == "get_snapshot"]
        assert [c["params"]["market_tickers"] for c in asked] == [["KXA-2"]]
        assert len(ear.rows) == 3 and ear.rows[2]["market"].tolist() == [1, 1]

    live(body)


def test_a_snapshot_that_never_comes_is_asked_for_again_and_then_gives_up(live):
    async def body(venue, ear, streams):
        venue.snapshots = False
        streams.snapshot("KXA-1")
        down = await ear.until(FeedDown, seconds=5)
        assert "no snapshot of KXA-1" in down.why
        asked = [c for c in venue.commands if c.get("params", {}).get("action") == "get_snapshot"]
        assert len(asked) == module.SNAPSHOT_TRIES

    live(body)


def test_markets_join_a_running_connection(live, small):
    async def body(venue, ear, streams):
        await streams.add_markets({"KXA-3": 2, "KXA-1": 0})
        await small.until(lambda: len(ear.rows) == 3)
        assert ear.rows[2]["market"].tolist() == [2, 2]
        assert venue.commands[-1]["params"].get("market_tickers") in (["KXA-3"], None)

    live(body)


def test_markets_join_and_leave_the_subscriptions_that_stand(live, small):
    """By their numbers, without a new subscription; frames of a market that left are passed over."""

    async def body(venue, ear, streams):
        sids = [venue.channels[name] for name in ("orderbook_delta", "trade")]
        await streams.add_markets({"KXA-3": 2})
        await small.until(lambda: len(ear.rows) == 3)
        await streams.remove_markets(("KXA-1", "KXA-9"))
        await small.until(lambda: changes(venue)[-1][0] == "delete_markets" and len(changes(venue)) == 4)
        joined = [("add_markets", sid, ["KXA-3"]) for sid in sids]
        assert changes(venue) == joined + [("delete_markets", sid, ["KXA-1"]) for sid in sids]
        await venue.books(["KXA-1", "KXA-3"])
        await small.until(lambda: len(ear.rows) == 4)
        assert ear.rows[3]["market"].tolist() == [2, 2]
        streams.snapshot("KXA-1")
        await asyncio.sleep(0.1)
        assert streams.malformed == 0 and streams.connections == 1
        assert not any(c.get("params", {}).get("action") == "get_snapshot" for c in venue.commands)

    live(body)


def test_the_last_market_never_leaves(live, small):
    """A filter without markets could mean all of them."""

    async def body(venue, ear, streams):
        await streams.remove_markets(("KXA-1", "KXA-2"))
        await small.until(lambda: len(changes(venue)) == 2)
        assert [named for _, _, named in changes(venue)] == [["KXA-1"], ["KXA-1"]]
        await venue.books(["KXA-2"])
        await small.until(lambda: ear.rows[-1]["market"].tolist() == [1, 1])

    live(body)


def changes(venue):
    """Changes of subscriptions so far: action, subscription, tickers."""
    found = [c["params"] for c in venue.commands if c["cmd"] == "update_subscription"]
    return [(p["action"], p["sid"], p["market_tickers"]) for p in found if p["action"] != "get_snapshot"]


def test_a_channel_that_the_venue_forgot_is_noticed(live):
    async def body(venue, ear, streams):
        del venue.channels["fill"]
        assert "fill" in (await ear.until(FeedDown)).why

    live(body)


def test_an_order_message_reaches_the_adapter_and_its_refusal_counts(live, small, bodies):
    async def body(venue, ear, streams):
        def refuse(frame, _):
            raise DataError("no", key="msg")

        await venue.say("user_orders", "user_order", **bodies.FRAMES["user_order"])
        await small.until(lambda: bool(ear.frames))
        assert isinstance(ear.frames[0], OrderFrame)
        streams._on_frame = refuse
        await venue.say("user_orders", "user_order", **bodies.FRAMES["user_order"])
        await small.until(lambda: streams.malformed == 1)

    live(body)


@pytest.mark.parametrize("kind", ["fill", "user_order", "order_group_updates", None])
def test_a_message_about_us_that_cannot_be_read_is_a_new_connection(live, kind):
    async def body(venue, ear, streams):
        await venue.raw(b"{not json" if kind is None else {"type": kind, "sid": 99, "msg": {"trade_id": 7}})
        assert "can't be read" in (await ear.until(FeedDown)).why
        assert (await ear.until(Malformed)).count == 1
        await ear.until(FeedUp, 2)

    live(body)


def test_hundreds_of_markets_share_one_connection(live, small):
    many = {f"KXM-{row}": row for row in range(1_200)}

    async def body(venue, ear, streams):
        await small.until(lambda: len(ear.rows) == 1_200, 10)
        asked = [
            c["params"] for c in venue.commands if c.get("params", {}).get("channels") == ["orderbook_delta"]
        ]
        assert [len(params["market_tickers"]) for params in asked] == [500, 500, 200]
        assert {int(rows["market"][0]) for rows in ear.rows} == set(range(1_200))
        assert not streams._snapshots and streams.connections == 1

    live(body, markets=many)


def test_a_change_that_cannot_be_read_invalidates_its_book_alone(live, small):
    async def body(venue, ear, streams):
        await venue.say(
            "orderbook_delta", "orderbook_delta",
            market_ticker="KXA-2", price_dollars="0.45x", delta_fp="1.00", side="yes",
        )  # fmt: skip
        invalid = await ear.until(BookInvalid)
        assert (invalid.market, invalid.why) == (1, "gap")
        await small.until(lambda: len(ear.rows) >= 3)
        assert set(ear.rows[2]["market"]) == {1}
        assert len(ear.of(BookInvalid)) == 1

    live(body)


def test_a_subscription_of_two_channels_ends_the_connection(live):
    async def body(venue, ear, streams):
        sid = venue.channels["orderbook_delta"]
        await venue.raw({"id": 99, "type": "subscribed", "msg": {"channel": "trade", "sid": sid}})
        down = await ear.until(FeedDown)
        assert f"number {sid}" in down.why

    live(body)
