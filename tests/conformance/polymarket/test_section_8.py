"""Section 8: taker holds, games whose start empties the book, short crypto markets."""

from __future__ import annotations

import asyncio

import pytest

from conformance.polymarket.bench import CONTRACT, accepted, catalog, changed, desk, live, statuses, until
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import Books, filled, final, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import venue_watch
from pr3dict.venues.polymarket.account_models import OrderState
from pr3dict.venues.polymarket.outcomes import Verdict
from standins.polymarket import MarketSpec

UNUSED = (
    Unused("The stream of scores", "a strategy's matter; a maker has the taker hold to cancel in"),
    Unused("Prices behind short crypto markets (real-time v2)", "no strategy here quotes on them"),
)


def game(**changes):
    return catalog(MarketSpec("game", "game", category="sports", **changes))


HELD = {"catalog": game(hold_s=1), "speed": 4.0}


@row("8.1", "An order that would take where takers are held back is taken, waits, and then fills.")
def test_a_taker_hold():
    async def body(t):
        books = Books(t)
        books.send(order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT))
        told = await t.ear.until(e.Accepted, order_id=1)
        assert told.filled == 0 and not t.ear.of(e.Filled)
        [fill] = await filled(t, 10 * CONTRACT)
        assert (fill.maker, fill.price, fill.fee_micros) == (False, 5_200, 124_800)
        await final(t)
        await books.agree()

    live(body, **HELD)


@row("8.2", "While it waits it can't be cancelled: that is refused, and the order counts as open.")
def test_a_waiting_order_cannot_be_cancelled():
    async def body(t):
        t.place(1, price=5_200, tif=d.LIMIT)
        await t.ear.until(e.Accepted, order_id=1)
        t.wire.send(0, [c.Cancel(order_id=1, market=0), c.ReadOrder(order_id=1, market=0)])
        refused = await t.ear.until(e.RequestRefused, order_id=1)
        assert (refused.request, refused.why) == ("cancel", "none") and "delayed" in refused.text
        assert (await t.ear.until(e.OrderRead)).status == "open"
        await filled(t, 10 * CONTRACT)

    live(body, **HELD)


@row("8.3", "What it waited for may be gone: then it rests (`UNMATCHED`), and can be cancelled.")
def test_waited_in_vain():
    async def body(t):
        t.place(1, price=5_200, tif=d.LIMIT)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("level", market="game", side="ask", price="0.52", shares="0")
        await until(lambda: not any(o.waiting for o in t.server.venue.open.values()))
        [seen] = await t.wire.rest.open_orders()
        assert seen.state is OrderState.UNMATCHED and not t.ear.of(e.Filled)
        t.wire.send(0, [c.ReadOrder(order_id=1, market=0)])
        read = await t.ear.until(e.OrderRead)
        assert (read.status, read.remaining) == ("open", 10 * CONTRACT)
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        assert (await t.ear.until(e.Closed, order_id=1)).filled == 0

    live(body, **HELD)


@row(
    "8.4",
    "Post-only orders, orders that rest and cancels are not held back: a maker has the hold to cancel in.",
)
def test_makers_are_not_held_back():
    async def body(t):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await accepted(t, 1, price=4_900)
        await accepted(t, 2, price=4_800, tif=d.LIMIT)
        t.wire.send(0, [c.Cancel(order_id=1, market=0), c.Cancel(order_id=2, market=0)])
        await t.ear.until(e.Closed, 2)
        assert loop.time() - began < 0.25 and not t.server.venue.open

    live(body, **HELD)


@row("8.5", "A purchase that must trade at once is cancelled after its hold, where nothing was left to take.")
def test_at_once_after_a_hold():
    async def body(t):
        t.place(1, price=5_200, tif=d.IOC)
        await t.ear.until(e.Accepted, order_id=1)
        t.server.do("level", market="game", side="ask", price="0.52", shares="4")
        closed = await t.ear.until(e.Closed, order_id=1)
        assert closed.why == "unfilled_ioc" and not t.server.venue.open
        await until(lambda: sum(f.size for f in t.ear.of(e.Filled)) == 4 * CONTRACT)

    live(body, **HELD)


@row("8.6", "What a hold is, when the game starts and whether that empties the book is read of the market.")
def test_what_is_read():
    async def body(server, desk):
        [market] = (await desk.rest.gamma_markets()).items
        clob = await desk.rest.clob_market(market.condition_id)
        assert (clob.sd, clob.cbos, market.clear_book_on_start) == (3, True, True)
        assert abs(int(clob.gst) - server.venue.markets[0].game_start_ns) < 10**9
        assert int(market.game_start_time) == int(clob.gst)

    desk(body, catalog=game(hold_s=3, game_start_in_s=900.0, clears_at_start=True))


STARTS = {"catalog": game(game_start_in_s=75.0, clears_at_start=True), "speed": 60.0}


@row("8.7", "A market whose start empties the book is paused from a minute before it, and stays out of it.")
def test_the_start_of_a_game():
    async def body(t):
        assert statuses(t) == [d.ACTIVE]
        await until(lambda: statuses(t)[-1] == d.PAUSED)
        start_ns = t.server.venue.markets[0].game_start_ns
        assert start_ns - 61 * 10**9 <= t.clock.now_ns() < start_ns
        await until(lambda: t.clock.now_ns() > start_ns + 15 * 10**9)
        assert statuses(t) == [d.ACTIVE, d.PAUSED] and t.server.venue.markets[0].accepting

    live(body, **STARTS)


@row("8.8", "Orders that rest at the start are cancelled by the venue, and we hear it.")
def test_orders_at_the_start():
    async def body(t):
        await accepted(t, 1)
        closed = await t.ear.until(e.Closed, order_id=1)
        assert (closed.why, closed.filled) == ("none", 0)
        assert t.clock.now_ns() >= t.server.venue.markets[0].game_start_ns

    live(body, **STARTS)


@row("8.9", "On request quoting begins again once the game is on.")
def test_in_play():
    async def body(t):
        await until(lambda: statuses(t)[-1] == d.PAUSED)
        await until(lambda: statuses(t)[-1] == d.ACTIVE)
        assert t.clock.now_ns() >= t.server.venue.markets[0].game_start_ns + 9 * 10**9
        await accepted(t, 1)

    live(body, terms={"in_play": True}, **STARTS)


@row(
    "8.10",
    "A start may move, and the catalogue and the order API may disagree: each of both times is heeded.",
)
@pytest.mark.parametrize("by", ["catalogue", "book"])
def test_a_start_that_moves(by, monkeypatch):
    monkeypatch.setattr(venue_watch, "REREAD_NS", 10 * 10**9)

    async def body(t):
        t.server.do("move_start", market="game", in_s=85, by=by)
        await until(lambda: statuses(t)[-1] == d.PAUSED, 8)
        at_ns = t.clock.now_ns()
        known = t.server.venue.markets[0]
        soonest = known.listed_start_ns if by == "catalogue" else known.game_start_ns
        assert soonest - 61 * 10**9 <= at_ns < soonest

    live(body, catalog=game(game_start_in_s=90_000.0, clears_at_start=True), speed=60.0)


@row("8.11", "Where only one of the two says that the start empties the book, it is believed.")
@pytest.mark.parametrize("who", ["gamma_markets", "clob_market"])
def test_one_of_both_says_so(who):
    def silent(answer):
        if who == "clob_market":
            return answer | {"cbos": False}
        return answer | {"markets": [m | {"clearBookOnStart": False} for m in answer["markets"]]}

    async def body(t):
        await until(lambda: statuses(t)[-1] == d.PAUSED)
        assert t.clock.now_ns() < t.server.venue.markets[0].game_start_ns

    live(body, on_server=lambda server: changed(server, who, silent), **STARTS)


@row("8.12", "A start that does not empty the book changes nothing: quoting goes on.")
def test_a_start_that_clears_nothing():
    async def body(t):
        await accepted(t, 1)
        await until(lambda: t.clock.now_ns() > t.server.venue.markets[0].game_start_ns + 15 * 10**9)
        assert statuses(t) == [d.ACTIVE] and len(t.server.venue.open) == 1

    live(body, catalog=game(game_start_in_s=20.0), speed=60.0)


@row("8.13", "In short crypto markets a taker's request itself is held; its answer is the final outcome.")
def test_a_hold_in_the_request():
    async def body(t):
        loop = asyncio.get_running_loop()
        clob = await t.wire.rest.clob_market(t.lives[0].condition)
        assert clob.itode is True
        began = loop.time()
        t.place(1, price=5_200, tif=d.LIMIT)
        told = await t.ear.until(e.Accepted, order_id=1)
        assert loop.time() - began >= 0.15 and told.filled == 10 * CONTRACT
        began = loop.time()
        await accepted(t, 2)
        assert loop.time() - began < 0.12

    live(body, catalog=catalog(MarketSpec("btc-updown-5m-1795000200", "btc", category="crypto", hold_ms=150)))


@row(
    "8.14",
    "A hold that lasts longer than we wait for an answer leaves the order unknown; its digest finds it.",
)
def test_a_hold_that_is_too_long():
    async def body(server, desk):
        built, answer, events = await desk.place(1, price=5_200, tif=d.LIMIT)
        assert answer.outcome.verdict is Verdict.UNKNOWN and isinstance(events[0], e.AnswerLost)
        for _ in range(100):
            if (seen := await desk.rest.order(built.digest)) is not None:
                break
            await asyncio.sleep(0.02)
        assert seen.state is OrderState.MATCHED

    desk(body, answer_s=0.2, catalog=catalog(MarketSpec("btc", "btc", category="crypto", hold_ms=400)))


@row(
    "8.15", "The time at which an event ends is no halt: a market goes on as long as the venue takes orders."
)
def test_the_end_is_no_halt():
    async def body(t):
        await until(lambda: t.clock.now_ns() > t.server.venue.markets[0].end_ns + 10 * 10**9)
        await accepted(t, 1)
        assert statuses(t) == [d.ACTIVE] and t.lives[0].listing.close_ns == -1
        t.server.do("resolve", market="game", result="no")
        assert (await t.ear.until(e.Settled)).value_micros == 0

    live(body, catalog=game(end_in_s=10.0, resolve_in_s=9_000.0), speed=60.0)


@row("8.16", "From the first word of a resolution on nothing new is quoted.")
def test_a_proposed_resolution(monkeypatch):
    monkeypatch.setattr(venue_watch, "REREAD_NS", 10 * 10**9)

    async def body(t):
        t.server.do("propose", market="game", status="proposed")
        await until(lambda: statuses(t)[-1] == d.PAUSED)
        t.server.do("propose", market="game", status=None)
        await until(lambda: statuses(t)[-1] == d.ACTIVE)
        assert d.PAUSED in statuses(t)

    live(body, catalog=game(), speed=60.0)
