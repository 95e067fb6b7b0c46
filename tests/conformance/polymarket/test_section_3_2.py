"""Section 3, second part: what an answer to an order means."""

from __future__ import annotations

import pytest

from conformance.polymarket.bench import (
    CONTRACT,
    SECOND,
    accepted,
    catalog,
    changed,
    desk,
    live,
    refusing,
    until,
)
from conformance.polymarket.rows import row
from conformance.polymarket.trade import Books, batch, filled, order
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.outcomes import Restriction, Verdict
from standins.polymarket import MarketSpec

ID = "0x" + "8f" * 32


def reads_of(server) -> int:
    """How often single orders were asked for."""
    return server.requests["order"]


# --- answers of 200 ---------------------------------------------------------------------------------


@row("3.21", "Status live: the order rests under the digest that the answer repeats.")
def test_live():
    async def body(_, desk):
        built, answer, events = await desk.place(1)
        assert answer.outcome.text == "live" and answer.body.orderID == built.digest
        assert events == (e.Accepted(order_id=1, venue_id=built.digest, filled=0),)

    desk(body)


@row("3.22", "Status matched: what traded at once is said by the amounts, in decimals; the rest may rest.")
def test_matched():
    async def body(t):
        books = Books(t)
        books.send(order(1, 5_200, 130 * CONTRACT, tif=d.LIMIT))
        (fill,) = await filled(t, 100 * CONTRACT)
        assert (fill.price, fill.maker) == (5_200, False)
        assert max(x.filled for x in t.ear.of(e.Accepted)) == 100 * CONTRACT
        assert [x["size_matched"] for x in t.server.do("truth")["open_orders"]] == ["100"]
        assert books.state(1) != ""

    live(body)


@row("3.23", "Status delayed: the order waits to trade; it counts as taken and can't be cancelled meanwhile.")
def test_delayed():
    async def body(t):
        t.wire.send(0, [order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT)])
        assert (await t.ear.until(e.Accepted, order_id=1)).filled == 0
        assert [x["status"] for x in t.server.do("truth")["orders"]] == ["DELAYED"]
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        refused = await t.ear.until(e.RequestRefused)
        assert (refused.request, refused.why) == ("cancel", "none") and not t.ear.of(e.Closed)
        await filled(t, 10 * CONTRACT)

    live(body, catalog=catalog(MarketSpec("held", "event", category="sports", hold_s=1)), speed=2.0)


@row("3.24", "Status unmatched: it rests or is gone, so it counts as unknown, and is asked for.")
def test_unmatched():
    async def body(server, desk):
        changed(server, "place", lambda body: {**body, "status": "unmatched"})
        _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.UNKNOWN
        assert [type(event) for event in events] == [e.AnswerLost]
        changed(server, "place", lambda body: {**body, "status": "resting_elsewhere"})
        assert (await desk.place(2))[1].outcome.verdict is Verdict.UNKNOWN

    desk(body)


@row("3.25", "An order that was refused inside an answer of 200 is refused, whatever `success` says.")
def test_refused_as_200():
    async def body(server, desk):
        for success in (True, False):
            server.do("arm", fault="refused_as_200")
            changed(server, "place", lambda body, success=success: {**body, "success": success})
            _, answer, _ = await desk.place(1, price=5_200)
            assert (answer.status, answer.outcome.verdict) == (200, Verdict.REFUSED)
            assert answer.outcome.why == "post_only_cross"

    desk(body)


@row("3.26", "An answer that names another order, an order with an error, or neither, settles nothing.")
@pytest.mark.parametrize(
    "change", [{"orderID": ID}, {"errorMsg": "what"}, {"orderID": ""}, {"orderID": None}, {"success": False}]
)
def test_contradictions(change):
    async def body(server, desk):
        changed(server, "place", lambda body: {**body, **change})
        _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.UNKNOWN and type(events[0]) is e.AnswerLost
        assert len(server.do("truth")["open_orders"]) == 1

    desk(body)


@row("3.27", "Amounts may be empty or null, and lists null: that says nothing about what traded.")
def test_empty_amounts():
    async def body(server, desk):
        for number, empty in enumerate(("", None), 1):
            lists = {"tradeIDs": None, "transactionsHashes": None} if empty is None else {}
            blank = {"makingAmount": empty, "takingAmount": empty, "errorMsg": empty, **lists}
            changed(server, "place", lambda body, blank=blank: {**body, **blank})
            built, answer, events = await desk.place(number)
            assert answer.outcome.verdict is Verdict.ACCEPTED and answer.body.filled("BUY") == -1
            assert events == (e.Accepted(order_id=number, venue_id=built.digest, filled=0),)

    desk(body)


@row("3.28", "An answer of 200 that can't be read settles nothing, and is counted.")
def test_unreadable():
    async def body(t):
        t.server.do("arm", fault="malformed_answer")
        t.place(1)
        assert (await t.ear.until(e.AnswerLost)).order_id == 1
        assert t.ear.of(e.Malformed) and len(t.server.do("truth")["open_orders"]) == 1

    live(body)


@row("3.29", "A batch whose parts are fewer than its orders settles none of them.")
def test_short_batch():
    async def body(t):
        changed(t.server, "place_many", lambda legs: legs[:-1])
        await batch(t, {}, {"price": 4_100}, {"price": 4_200})
        await t.ear.until(e.AnswerLost, 3)
        assert {x.order_id for x in t.ear.of(e.AnswerLost)} == {1, 2, 3}

    live(body)


@row("3.30", "The words of a refusal become reasons; those that are not known keep their own text.")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not enough balance / allowance", "no_cash"),
        ("invalid post-only order: order crosses book", "post_only_cross"),
        ("post-only mode: only post-only orders and cancels are allowed", "not_active"),
        ("order 0x1 is invalid. Price (0.455) breaks minimum tick size rule: 0.01", "off_grid"),
        ("order 0x1 is invalid. Size (4) lower than the minimum: 5", "min_size"),
        ("invalid amount for a marketable BUY order ($0.9), min size: $1", "min_size"),
        ("invalid expiration", "expired"),
        ("the market is not yet ready to process new orders", "not_active"),
        ("order couldn't be fully filled. FOK orders are fully filled or killed.", "unfilled_ioc"),
        (
            "no orders found to match with FAK order. FAK orders are partially filled or killed",
            "unfilled_ioc",
        ),
        ("owner has to be the owner of the API KEY", "none"),
        ("the order signer address has to be the address of the API KEY", "none"),
        ("maker address not allowed, please use the deposit wallet flow", "none"),
        ("address banned", "none"),
        ("address in closed only mode", "not_active"),
        ("Too many orders in payload: 16, max allowed: 15", "none"),
    ],
)
def test_words(text, why):
    async def body(t):
        with refusing(t.server, "/order", 400, {"error": text}):
            t.place(1)
            found = await t.ear.until(e.Refused)
        assert (found.order_id, found.why, found.text) == (1, why, text)

    live(body)


@row("3.31", '"Duplicated." says that the order is there already, so it is looked up, not refused.')
def test_duplicated():
    async def body(t):
        with refusing(t.server, "/order", 400, {"error": "order 0x1 is invalid. Duplicated."}):
            t.place(1)
            assert (await t.ear.until(e.AnswerLost)).order_id == 1
        assert not t.ear.of(e.Refused)

    live(body)


@row("3.32", "A marketable order of less than a dollar is refused for sure.")
def test_least_notional():
    async def body(t):
        t.server.do("split", market="plain-0", shares="10")
        t.wire.send(0, [order(1, 4_800, 2 * CONTRACT, side=d.ASK, sell=True, tif=d.IOC)])
        assert (await t.ear.until(e.Refused)).why == "min_size"

    live(body)


# --- other answers ----------------------------------------------------------------------------------


@row("3.33", "400, 401, 403 and 404 with a reason are refusals for sure.")
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refusals(status):
    async def body(server, desk):
        with refusing(server, "/order", status, {"error": "no"}):
            _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and type(events[0]) is e.Refused

    desk(body)


@row("3.34", "400 and 404 without a reason come from a gateway: what became of the order is not known.")
@pytest.mark.parametrize("status", [400, 404])
def test_gateways(status):
    async def body(server, desk):
        with refusing(server, "/order", status, "<html>bad gateway</html>"):
            _, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.UNKNOWN and type(events[0]) is e.AnswerLost

    desk(body)


@row("3.35", "425: the engine restarts, nothing was taken; the pause that it asks for is kept.")
def test_restarting():
    async def body(server, desk):
        server.do("restart", seconds=30)
        _, answer, events = await desk.place(1)
        assert (answer.status, answer.outcome.verdict) == (425, Verdict.REFUSED)
        assert answer.outcome.restriction is Restriction.RESTARTING
        assert answer.outcome.retry_ns == SECOND and type(events[0]) is e.Refused

    desk(body)


@row("3.36", "429 with the signer's headers: refused for sure, and that bucket counts as empty.")
def test_signer_limit():
    async def body(server, desk):
        server.do("arm", fault="too_many_requests")
        _, answer, _ = await desk.place(1)
        assert (answer.outcome.verdict, answer.outcome.why) == (Verdict.REFUSED, "rate_limit")
        assert not server.do("truth")["orders"] and desk.http.rate_limited == 1

    desk(body)


@row("3.37", "429 without them may come from any door: the order may stand, so it is looked up.")
@pytest.mark.parametrize(("fault", "stands"), [("ip_limit_after", True), ("ip_limit_before", False)])
def test_address_limit(fault, stands):
    async def body(server, desk):
        server.do("arm", fault=fault)
        built, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.UNKNOWN and type(events[0]) is e.AnswerLost
        assert (await desk.rest.order(built.digest) is not None) is stands

    desk(body)


@row("3.38", "503 post-only mode: refused, and until its end only post-only orders and cancels are sent.")
def test_post_only_mode():
    async def body(t):
        t.server.do("post_only", seconds=60)
        t.wire.send(0, [order(1, 4_000, 10 * CONTRACT, tif=d.LIMIT)])
        assert (await t.ear.until(e.Refused)).why == "not_active"
        await until(lambda: t.wire.lives.post_only)
        await accepted(t, 2)
        t.wire.send(0, [c.Cancel(order_id=2, market=0)])
        await t.ear.until(e.Closed, order_id=2)

    live(body)


@row("3.39", "The same mode speaks in a batch order by order; it is understood there too.")
def test_post_only_mode_in_a_batch():
    async def body(t):
        t.server.do("post_only", seconds=60)
        await batch(t, {"tif": d.LIMIT}, {"price": 4_100}, {"tif": d.LIMIT, "price": 4_200})
        await t.ear.until(e.Refused, 2)
        await until(lambda: t.wire.lives.post_only)
        assert {x.order_id for x in t.ear.of(e.Refused)} == {1, 3}

    live(body)


@row("3.40", "503 cancel-only, as text or JSON: refused for sure, and quoting pauses.")
@pytest.mark.parametrize("body_", ["Trading is currently cancel-only.", {"error": "cancel-only mode"}])
def test_cancel_only(body_):
    async def body(t):
        with refusing(t.server, "/order", 503, body_):
            t.place(1)
            assert (await t.ear.until(e.Refused)).why == "not_active"
        assert (await t.ear.until(e.VenueStatus, 1, status="paused")).status == "paused"

    live(body)


@row("3.41", '500 "order timed out": it never reached the book.')
def test_timed_out():
    async def body(server, desk):
        server.do("arm", fault="order_timed_out")
        built, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.REFUSED and type(events[0]) is e.Refused
        assert await desk.rest.order(built.digest) is None

    desk(body)


@row("3.42", "Any other 5xx, no answer, or a broken connection: unknown; the order is found by its digest.")
@pytest.mark.parametrize("fault", ["error_after_apply", "lost_answer"])
def test_lost_answers(fault):
    async def body(t):
        books = Books(t)
        t.server.do("arm", fault=fault)
        books.send(order(1, 4_000, 10 * CONTRACT))
        await t.ear.until(e.AnswerLost)
        digest = t.ear.of(e.Sent)[0].venue_id
        t.wire.send(0, [c.ReadOrder(order_id=1, market=0, venue_id=digest)])
        read = await t.ear.until(e.OrderRead)
        assert (read.status, read.venue_id, read.remaining) == ("open", digest, 10 * CONTRACT)

    live(body)


@row("3.43", "What was lost before it was carried out is not there, which a read by digest shows.")
@pytest.mark.parametrize("fault", ["error_before_apply", "lost_request"])
def test_lost_requests(fault):
    async def body(t):
        t.server.do("arm", fault=fault)
        t.place(1)
        await t.ear.until(e.AnswerLost)
        t.wire.send(0, [c.ReadOrder(order_id=1, market=0, venue_id=t.ear.of(e.Sent)[0].venue_id)])
        assert (await t.ear.until(e.OrderRead)).status == "not_found"
        assert not t.server.do("truth")["orders"]

    live(body)


@row("3.44", "An order whose answer is too late counts as unknown at that time; nothing is sent twice.")
def test_late_answer():
    async def body(server, desk):
        server.faults.change({"answer_delay_ms": [400, 400]})
        built, answer, events = await desk.place(1)
        assert answer.outcome.verdict is Verdict.UNKNOWN and type(events[0]) is e.AnswerLost
        server.faults.change({"answer_delay_ms": 0})
        assert server.requests["place"] == 1 and await desk.rest.order(built.digest) is not None

    desk(body, answer_s=0.2)


@row("3.45", "The fill may come before the answer: the digest that was known tells whose it is.")
def test_fill_first():
    async def body(t):
        t.server.faults.change({"stream_first": 1, "answer_delay_ms": [200, 200]})
        t.wire.send(0, [order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT)])
        fill = await t.ear.until(e.Filled)
        assert fill.order_id == 1
        answered = [x for x in t.ear.of(e.Closed) if x.order_id == 1]
        await t.ear.until(e.Closed, order_id=1)
        kinds = [type(x) for x in t.ear.events]
        assert kinds.index(e.Sent) < kinds.index(e.Filled) and len(answered) <= 1

    live(body)
