"""The channels of the Polymarket stand-in, and what goes wrong at it, hook by hook and hazard by hazard."""

import asyncio
import json

import aiohttp
import pytest

from standins.polymarket import HAZARDS, HOOKS, PolymarketStandIn, small_catalog, synthetic_catalog
from standins.polymarket.book import book_hash
from standins.polymarket.probe import Probe, agrees, run, still
from standins.polymarket.values import NO, YES

ALWAYS = 1.0


def books_of(frames, asset):
    """An asset's book after some frames: both sides by price."""
    book = {"BUY": {}, "SELL": {}}
    for frame in frames:
        if frame["event_type"] == "book" and frame["asset_id"] == asset:
            book = {
                side: {level["price"]: level["size"] for level in frame[name]}
                for side, name in (("BUY", "bids"), ("SELL", "asks"))
            }
        elif frame["event_type"] == "price_change":
            for row in frame["price_changes"]:
                if row["asset_id"] == asset:
                    book[row["side"]][row["price"]] = row["size"]
    return {side: {p: s for p, s in levels.items() if s != "0"} for side, levels in book.items()}


def test_changes_lead_from_one_book_to_the_next():
    async def test():
        async with still(synthetic_catalog(1, hours=0.1)) as server, Probe(server) as probe:
            market = server.venue.markets[0]
            wire = await probe.market_stream(*market.tokens)
            assert [frame["asset_id"] for frame in wire.opening] == list(market.tokens)
            frames = list(wire.opening)
            for frame in wire.opening:
                assert frame["hash"] == book_hash(frame)
            for _ in range(20):
                server.pass_time(2)
                frames += await wire.frames()
                for token in (YES, NO):
                    told = books_of(frames, market.tokens[token])
                    read = await probe.get("/book", token_id=market.tokens[token])
                    assert told == {
                        side: {level["price"]: level["size"] for level in read[name]}
                        for side, name in (("BUY", "bids"), ("SELL", "asks"))
                    }
                    assert read["bids"] == sorted(read["bids"], key=lambda level: float(level["price"]))
                    assert read["asks"] == sorted(read["asks"], key=lambda level: -float(level["price"]))
            changes = [frame for frame in frames if frame["event_type"] == "price_change"]
            assert len(changes) > 100
            for change in changes:
                rows = change["price_changes"]
                assert len({row["asset_id"] for row in rows}) == 2  # one order is told on both tokens
                assert all(float(row["best_bid"]) < float(row["best_ask"]) for row in rows)
            assert any(frame["event_type"] == "last_trade_price" for frame in frames)
            assert not any(frame["event_type"] == "best_bid_ask" for frame in frames)  # a custom feature

    run(test())


def test_assets_are_subscribed_and_unsubscribed():
    async def test():
        async with still() as server, Probe(server) as probe:
            yes, no = server.venue.markets[0].tokens
            other = server.venue.markets[1].tokens[0]
            wire = await probe.market_stream(yes, initial_dump=False)
            assert wire.opening == []
            await wire.socket.send_json({"operation": "subscribe", "assets_ids": [yes, other, "77"]})
            assert await wire.messages() == []  # dumps stay off
            again = await probe.market_stream(yes)
            await again.socket.send_json({"operation": "subscribe", "assets_ids": [yes, other]})
            assert [frame["asset_id"] for frame in await again.frames()] == [other]  # no second book of `yes`
            await again.socket.send_json({"operation": "unsubscribe", "assets_ids": [yes]})
            assert await again.frames() == []
            server.do("level", market="plain-0", side="bid", price="0.45", shares="1")
            server.do("level", market="plain-1", side="bid", price="0.45", shares="1")
            assert len(await again.frames()) == 1
            await again.socket.send_json({"operation": "subscribe", "assets_ids": [yes]})
            assert (await again.frames())[0]["event_type"] == "book"
            for text in ("hello", "[1]", '{"assets_ids":1}', '{"operation":"dance","assets_ids":[]}'):
                await again.socket.send_str(text)
                message = await again.socket.receive(timeout=1)
                assert message.data == "INVALID OPERATION"
            assert no not in again.opening[0]["asset_id"]

    run(test())


def test_the_user_channel_knows_whose_it_is():
    async def test():
        async with still() as server, Probe(server) as probe, Probe(server, "0x" + "22" * 32) as other:
            markets = [market.spec.condition for market in server.venue.markets]
            wrong = await probe.user_stream(secret="c2VjcmV0")
            assert wrong.opening == [None]
            mine, theirs = await probe.user_stream(), await other.user_stream()
            some = await probe.user_stream(markets[1])
            order = await probe.placed()
            assert [frame["id"] for frame in await mine.frames("order")] == [order["orderID"]]
            assert await theirs.frames() == [] == await some.frames()
            await some.socket.send_json({"operation": "subscribe", "markets": [markets[0]]})
            assert await some.frames() == []
            await probe.cancel(order["orderID"])
            [frame] = await some.frames()
            assert (frame["type"], frame["status"]) == ("CANCELLATION", "CANCELED")
            await some.socket.send_json({"operation": "unsubscribe", "markets": [markets[0]]})
            await probe.placed()
            assert await some.frames() == []

    run(test())


def test_a_trade_is_told_to_both_sides_with_all_rows():
    async def test():
        key = "0x" + "22" * 32
        async with still() as server, Probe(server) as probe, Probe(server, key) as other:
            await probe.placed(price=0.51, size=10)
            resting = await other.placed(price=0.51, size=10)
            mine, theirs = await probe.user_stream(), await other.user_stream()
            server.do("take", market="plain-0", taker="ask", price="0.51", shares="15")
            [trade] = await mine.frames("trade")
            [seen] = await theirs.frames("trade")
            assert trade["id"] == seen["id"] and len(trade["maker_orders"]) == len(seen["maker_orders"]) == 2
            assert (trade["trade_owner"], seen["trade_owner"]) == (probe.key.id, other.key.id)
            [row] = [r for r in seen["maker_orders"] if r["order_id"] == resting["orderID"]]
            assert (row["matched_amount"], row["price"], row["owner"]) == ("5", "0.51", other.key.id)
            assert trade["trader_side"] == "MAKER" and trade["status"] == "MATCHED"
            server.pass_time(10)
            statuses = [frame["status"] for frame in await mine.frames("trade")]
            assert statuses == ["MINED", "CONFIRMED"]
            taker = await other.placed(price=0.52, size=10)
            *_, frame = await theirs.frames("trade")
            assert frame["taker_order_id"] == taker["orderID"] and frame["trader_side"] == "TAKER"

    run(test())


@pytest.mark.parametrize("hook", ["trade_failed", "trade_retrying"])
def test_trades_fail_and_are_retried(hook):
    async def test():
        async with still(faults={hook: ALWAYS}) as server, Probe(server) as probe:
            wire = await probe.user_stream()
            await probe.placed(price=0.52)
            server.pass_time(30)
            frames = await wire.frames("trade")
            statuses = [frame["status"] for frame in frames]
            if hook == "trade_failed":
                assert statuses == ["MATCHED", "FAILED"] and await probe.tokens() == 0
            else:
                assert statuses == ["MATCHED", "RETRYING", "MINED", "CONFIRMED"]
                assert frames[1]["transaction_hash"] != frames[2]["transaction_hash"]
                assert await probe.tokens() == 10_000_000
            [trade] = (await probe.get("/data/trades"))["data"]
            assert trade["status"] == f"TRADE_STATUS_{statuses[-1]}"
            agrees(server)

    run(test())


async def place_and_lose(probe, body):
    try:
        return (await probe.call("POST", "/order", body))[0]
    except aiohttp.ServerDisconnectedError:
        return "lost"


@pytest.mark.parametrize(
    ("hook", "status", "orders"),
    [
        ("error_after_apply", 502, 1), ("error_before_apply", 500, 0), ("order_timed_out", 500, 0),
        ("lost_answer", "lost", 1), ("lost_request", "lost", 0), ("too_many_requests", 429, 0),
        ("ip_limit_before", 429, 0), ("ip_limit_after", 429, 1), ("malformed_answer", 200, 1),
        ("null_fields", 200, 1),
    ],
)  # fmt: skip
def test_answers_that_say_nothing_of_what_was_done(hook, status, orders):
    async def test():
        async with still() as server, Probe(server) as probe:
            server.faults.change({hook: ALWAYS})
            body = probe.body()
            assert await place_and_lose(probe, body) == status
            if status == 429:
                assert ("Poly-RateLimit-Tier" in probe.headers) == (hook == "too_many_requests")
            server.faults.change({hook: 0})
            truth = agrees(server)
            assert len(truth["open_orders"]) == orders and server.faults.fired[hook] == 1
            again = await place_and_lose(probe, body)  # the digest says which order it is
            assert again == (400 if orders else 200)
            assert len(agrees(server)["orders"]) == 1

    run(test())


def test_a_single_order_is_refused_with_200():
    async def test():
        async with still(faults={"refused_as_200": ALWAYS}) as server, Probe(server) as probe:
            status, answer = await probe.place(price=0.52, post_only=True)
            assert (status, answer["success"], answer["orderID"]) == (200, True, "")
            assert "crosses book" in answer["errorMsg"]

    run(test())


def test_reads_fail_and_lag():
    async def test():
        async with still(faults={"read_lag_ms": [300, 300]}) as server, Probe(server) as probe:
            order = (await probe.placed())["orderID"]
            assert (await probe.call("GET", f"/data/order/{order}"))[0] == 404
            assert (await probe.get("/data/orders"))["data"] == []
            server.pass_time(0.4)
            assert len((await probe.get("/data/orders"))["data"]) == 1
            await probe.cancel(order)
            assert (await probe.order(order))["status"] == "LIVE"
            server.pass_time(0.4)
            assert (await probe.order(order))["status"] == "CANCELED"
            await probe.placed(price=0.52)
            assert (await probe.get("/data/trades"))["data"] == []
            server.faults.change({"read_error": ALWAYS})
            assert (await probe.call("GET", "/data/trades"))[0] == 504

    run(test())


def test_orders_are_read_in_other_words():
    async def test():
        faults = {"status_prefix": ALWAYS, "base_units": ALWAYS}
        async with still(faults=faults) as server, Probe(server) as probe:
            order = await probe.placed(size=12.5)
            shown = await probe.order(order["orderID"])
            assert (shown["status"], shown["original_size"]) == ("ORDER_STATUS_LIVE", "12500000")
            assert (await probe.get("/data/orders"))["data"] == [shown]

    run(test())


def test_from_the_middle_of_december_on_an_asset_needs_its_market():
    async def test():
        eve_ns = 1_797_206_400 * 10**9 - 10**9  # 2026-12-13T23:59:59Z
        async with still(start_ns=eve_ns) as server, Probe(server) as probe:
            order = await probe.placed()
            market = server.venue.markets[0]
            [shown] = (await probe.get("/data/orders", asset_id=market.tokens[0]))["data"]
            assert shown["associate_trades"] == []
            server.pass_time(2)
            assert (await probe.call("GET", "/data/orders", asset_id=market.tokens[0]))[0] == 400
            query = {"asset_id": market.tokens[0], "market": market.spec.condition}
            [shown] = (await probe.get("/data/orders", **query))["data"]
            assert shown["id"] == order["orderID"] and "associate_trades" not in shown

    run(test())


def test_a_fault_strikes_once():
    async def test():
        async with still() as server, Probe(server) as probe:
            server.do("arm", fault="lost_answer")
            assert await place_and_lose(probe, probe.body()) == "lost"
            assert await place_and_lose(probe, probe.body()) == 200
            assert server.faults.fired["lost_answer"] == 1
            with pytest.raises(ValueError, match="no fault 'mine_s' that strikes"):
                server.do("arm", fault="mine_s")

    run(test())


def test_times_of_trades_are_spelled_in_two_ways():
    async def test():
        async with still(faults={"odd_times": ALWAYS}) as server, Probe(server) as probe:
            wire = await probe.user_stream()
            for _ in range(8):
                await probe.placed(price=0.52, size=5)
            frames = await wire.frames("trade")
            spelled = {frame.get("match_time", "")[:2] for frame in frames}
            assert spelled == {"", "20"} and all("matchtime" in f for f in frames if "match_time" not in f)

    run(test())


def test_the_clock_is_off():
    async def test():
        async with still(faults={"clock_skew_ms": 30_000}) as server, Probe(server) as probe:
            _, shown = await probe.call("GET", "/time", headers={})
            assert shown - server.now_ns() // 10**9 in (29, 30, 31)
            assert (await probe.call("GET", "/data/orders"))[0] == 200
            server.faults.change({"clock_skew_ms": 90_000})
            assert (await probe.call("GET", "/data/orders"))[0] == 401

    run(test())


@pytest.mark.parametrize(
    ("hook", "types"),
    [
        ("drop_user", []), ("duplicate_user", ["PLACEMENT", "PLACEMENT", "CANCELLATION", "CANCELLATION"]),
        ("empty_numbers", ["PLACEMENT", "CANCELLATION"]),
        ("unknown_status", ["PLACEMENT", "PLACEMENT", "CANCELLATION", "CANCELLATION"]),
    ],
)  # fmt: skip
def test_user_frames_go_wrong(hook, types):
    async def test():
        async with still(faults={hook: ALWAYS}) as server, Probe(server) as probe:
            wire = await probe.user_stream()
            order = await probe.placed()
            await probe.cancel(order["orderID"])
            frames = await wire.frames()
            assert [frame["type"] for frame in frames] == types
            if hook == "empty_numbers":
                assert {frame["size_matched"] for frame in frames} == {""}
            if hook == "unknown_status":
                assert frames[0]["status"] == "SETTLING_ELSEWHERE" and frames[1]["status"] == "LIVE"

    run(test())


def test_a_frame_is_held_back_past_a_later_one():
    async def test():
        async with still(faults={"reorder_user": ALWAYS}) as server, Probe(server) as probe:
            wire = await probe.user_stream()
            first = await probe.placed()
            server.faults.change({"reorder_user": 0})
            second = await probe.placed()
            assert [f["id"] for f in await wire.frames()] == [second["orderID"], first["orderID"]]

    run(test())


def test_frames_come_as_arrays_cut_short_or_not_at_all():
    async def test():
        async with still(faults={"array_frames": ALWAYS}) as server, Probe(server) as probe:
            yes, no = server.venue.markets[0].tokens
            wire = await probe.market_stream(yes, no, custom_feature_enabled=True)
            await probe.placed()
            [message] = await wire.messages()
            assert [frame["event_type"] for frame in message] == ["price_change", *["best_bid_ask"] * 2]
            server.do("unknown_frame")
            assert (await wire.frames())[0]["event_type"] == "weather"
            server.faults.change({"drop_market": ALWAYS})
            await probe.placed()
            assert await wire.messages() == []
            server.faults.change({"drop_market": 0, "malformed_frame": ALWAYS})
            await probe.placed()
            with pytest.raises(json.JSONDecodeError):
                await wire.messages()

    run(test())


def test_a_frozen_stream_answers_pings_and_a_cut_one_does_not():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.market_stream(server.venue.markets[0].tokens[0])
            server.do("freeze", seconds=10)
            server.do("level", market="plain-0", side="bid", price="0.45", shares="1")
            assert await wire.messages() == []  # PONG came
            server.pass_time(11)
            server.do("level", market="plain-0", side="bid", price="0.45", shares="2")
            assert len(await wire.frames()) == 1  # what was lost is not replayed
            server.do("disconnect")
            assert await wire.messages() == [None]
            assert server.venue.publish is None
            server.faults.change({"refuse_upgrade": ALWAYS})
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await probe.market_stream()

    run(test())


def test_a_restart_then_post_only_then_all_is_well():
    async def test():
        async with still() as server, Probe(server) as probe:
            kept = (await probe.placed())["orderID"]
            server.do("restart", seconds=10, post_only_s=120)
            for method, path, body in (
                ("POST", "/order", probe.body()), ("POST", "/orders", [probe.body()]),
                ("DELETE", "/order", {"orderID": kept}), ("DELETE", "/cancel-all", None),
            ):  # fmt: skip
                assert (await probe.call(method, path, body))[0] == 425
                assert probe.headers["Retry-After"] == "1"
            assert len((await probe.get("/data/orders"))["data"]) == 1
            server.pass_time(11)
            status, answer = await probe.place()
            assert (status, answer["code"]) == (503, "post_only_mode")
            assert 115 <= answer["retry_after_seconds"] <= 120
            _, [leg, maker] = await probe.call("POST", "/orders", [probe.body(), probe.body(post_only=True)])
            assert leg["errorMsg"].startswith("post-only mode") and maker["status"] == "live"
            assert (await probe.cancel(kept))["canceled"] == [kept]
            server.pass_time(121)
            assert (await probe.place())[0] == 200
            server.do("restart", seconds=1, post_only_s=1, loses=1.0)
            assert (await probe.get("/data/orders"))["data"] == []

    run(test())


def test_lost_orders_of_a_restart_are_not_told():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed()
            wire = await probe.user_stream()
            server.do("restart", seconds=1, post_only_s=1, loses=1.0)
            assert await wire.frames() == [] and agrees(server)["open_orders"] == []

    run(test())


def test_takers_wait_where_the_market_holds_them_back():
    async def test():
        async with still(small_catalog(1, hold_s=3)) as server, Probe(server) as probe:
            wire = await probe.user_stream()
            delayed = await probe.placed(price=0.52, size=150)
            assert delayed["status"] == "delayed" and not delayed["tradeIDs"]
            answer = await probe.cancel(delayed["orderID"])
            assert "delayed" in answer["not_canceled"][delayed["orderID"]]
            assert (await probe.placed(price=0.4))["status"] == "live"
            server.do("level", market="plain-0", side="ask", price="0.52", shares="30")
            server.pass_time(3)
            order = await probe.order(delayed["orderID"])
            assert (order["status"], order["size_matched"]) == ("LIVE", "30")
            types = [(f["type"], f["status"]) for f in await wire.frames("order")]
            assert types == [("PLACEMENT", "DELAYED"), ("PLACEMENT", "LIVE"), ("UPDATE", "LIVE")]
            killed = await probe.placed(price=0.53, kind="FOK", spend=20.0)
            server.do("level", market="plain-0", side="ask", price="0.53", shares="0")
            server.pass_time(3)
            order = await probe.order(killed["orderID"])
            assert order["status"].startswith("CANCELED_order couldn't be fully filled")
            agrees(server)

    run(test())


def test_what_waited_in_vain_rests_as_unmatched_until_somebody_takes_of_it():
    async def test():
        async with still(small_catalog(1, hold_s=3)) as server, Probe(server) as probe:
            order = await probe.placed(price=0.52, size=10)
            server.do("level", market="plain-0", side="ask", price="0.52", shares="0")
            server.pass_time(3)
            assert (await probe.order(order["orderID"]))["status"] == "UNMATCHED"
            server.do("take", market="plain-0", taker="ask", price="0.52", shares="4")
            seen = await probe.order(order["orderID"])
            assert (seen["status"], seen["size_matched"]) == ("LIVE", "4")
            assert (await probe.cancel(order["orderID"]))["canceled"] == [order["orderID"]]
            agrees(server)

    run(test())


def test_the_start_of_a_game_moves_with_its_own_hour_in_the_catalogue():
    async def test():
        catalog = small_catalog(1, game_start_in_s=60.0, clears_at_start=True)
        async with still(catalog) as server, Probe(server) as probe:
            order = await probe.placed()
            server.do("move_start", market="plain-0", in_s=120, by="book")
            server.pass_time(61)
            assert (await probe.order(order["orderID"]))["status"] == "LIVE"
            server.pass_time(60)
            assert (await probe.order(order["orderID"]))["status"] == "CANCELED"
            condition = server.venue.markets[0].spec.condition
            said = await probe.get(f"/clob-markets/{condition}")
            listed = (await probe.get("/gamma/markets/keyset"))["markets"][0]
            assert said["gst"] > listed["gameStartTime"]

    run(test())


def test_a_short_hold_keeps_the_request_waiting():
    async def test():
        catalog = small_catalog(1, hold_ms=150)
        async with PolymarketStandIn(catalog) as server, Probe(server) as probe:
            began = asyncio.get_running_loop().time()
            assert (await probe.placed(post_only=True))["status"] == "live"
            assert asyncio.get_running_loop().time() - began < 0.1
            request = asyncio.create_task(probe.placed(price=0.52, size=10))
            await asyncio.sleep(0.05)
            server.do("level", market="plain-0", side="ask", price="0.52", shares="0")  # who rests has time
            assert (await request)["status"] == "live"
            assert asyncio.get_running_loop().time() - began >= 0.15
            agrees(server)

    run(test())


def test_nothing_ends_an_order_that_is_held_back():
    async def test():
        async with still(small_catalog(1, hold_s=30)) as server, Probe(server) as probe:
            await probe.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
            order = await probe.placed(price=0.52, size=10)
            server.pass_time(20)  # no heartbeat came
            assert (await probe.order(order["orderID"]))["status"] == "DELAYED"
            server.pass_time(11)
            assert (await probe.order(order["orderID"]))["status"] == "MATCHED"
            late = await probe.placed(price=0.53, size=10)
            server.do("resolve", market="plain-0", result="yes")
            assert (await probe.order(late["orderID"]))["status"] == "CANCELED_MARKET_RESOLVED"
            server.pass_time(31)
            agrees(server)

    run(test())


def test_a_book_is_cleared_when_the_game_starts():
    async def test():
        catalog = small_catalog(1, game_start_in_s=60.0, clears_at_start=True)
        async with still(catalog) as server, Probe(server) as probe:
            order = await probe.placed()
            info = await probe.get(f"/clob-markets/{server.venue.markets[0].spec.condition}")
            assert info["cbos"] is True and info["gst"]
            server.pass_time(61)
            assert (await probe.order(order["orderID"]))["status"] == "CANCELED"
            book = await probe.get("/book", token_id=server.venue.markets[0].tokens[0])
            assert book["bids"] == book["asks"] == []
            assert (await probe.placed())["status"] == "live"  # it goes on taking orders

    run(test())


def test_a_coarser_tick_ends_orders_off_the_grid():
    async def test():
        async with still() as server, Probe(server) as probe:
            fine = await probe.placed(market=1, price=0.485)
            round_one = await probe.placed(market=1, price=0.48)
            wire = await probe.market_stream(*server.venue.markets[1].tokens)
            server.do("change_tick", market="plain-1", tick="0.01")
            assert (await probe.order(fine["orderID"]))["status"] == "INVALID"
            assert (await probe.order(round_one["orderID"]))["status"] == "LIVE"
            kinds = [frame["event_type"] for frame in await wire.frames()]
            assert kinds == ["price_change", *["tick_size_change"] * 2, *["book"] * 2]
            assert (await probe.place(market=1, price=0.485))[0] == 400

    run(test())


def test_a_tick_gets_finer_near_the_end():
    async def test():
        async with still(small_catalog(1, auto_tick=True)) as server, Probe(server) as probe:
            wire = await probe.market_stream(server.venue.markets[0].tokens[0])
            for cents in range(48, 57):
                server.do("level", market="plain-0", side="ask", price=cents / 100, shares="0")
            server.do("level", market="plain-0", side="bid", price="0.97", shares="50")
            [frame] = await wire.frames("tick_size_change")
            assert (frame["old_tick_size"], frame["new_tick_size"]) == ("0.01", "0.001")
            assert (await probe.placed(price=0.975))["status"] == "live"

    run(test())


def test_a_resolved_market_is_told_unless_it_is_not():
    async def test():
        async with still() as server, Probe(server) as probe:
            plain = await probe.market_stream(server.venue.markets[0].tokens[0])
            rich = await probe.market_stream(server.venue.markets[0].tokens[0], custom_feature_enabled=True)
            order = await probe.placed()
            server.do("resolve", market="plain-0", result="no")
            assert await plain.frames("market_resolved") == []
            [frame] = await rich.frames("market_resolved")
            assert frame["winning_outcome"] == "No"
            assert (await probe.order(order["orderID"]))["status"] == "CANCELED_MARKET_RESOLVED"
            server.faults.change({"drop_resolved": ALWAYS})
            server.do("resolve", market="plain-1", result="yes")
            assert await rich.frames("market_resolved") == []
            condition = server.venue.markets[1].spec.condition
            market = await probe.get(f"/markets/{condition}")
            assert [token["winner"] for token in market["tokens"]] == [True, False] and market["closed"]

    run(test())


def test_everything_goes_wrong_at_once_and_the_truth_stays_whole():
    async def test():
        spoil = ("malformed_frame", "geoblocked", "refuse_upgrade")
        hooks = {n: 0.1 for n in HOOKS if not n.endswith(("_ms", "_s")) and n not in spoil}
        faults = hooks | dict.fromkeys(HAZARDS, 60.0) | {"trade_failed": 0.3, "restart_s": [1, 3]}
        catalog = synthetic_catalog(2, hours=1.0, auto_tick=True)
        async with still(catalog, seed=3, faults=faults) as server, Probe(server) as probe:
            wires = []
            for round_number in range(150):
                server.pass_time(4)
                if round_number % 10 == 0:
                    wires.append(await probe.user_stream())
                    wires.append(await probe.market_stream(*server.venue.markets[0].tokens))
                for market in (0, 1):
                    bid, ask = server.venue.markets[market].book.best()
                    for price, token in ((bid, YES), (10_000 - ask, NO)):
                        if 100 <= price <= 9_900:
                            body = probe.body(market=market, token=token, price=price / 1e4, size=30)
                            await place_and_lose(probe, body)
                if round_number % 7 == 0:
                    await try_cancel_all(probe)
                await probe.call("GET", "/data/orders")
                assert server.venue.unexplained() == []
            truth = agrees(server)
            unasked = {"relayer_failed", "relayer_busy", "refused_as_200", "drop_resolved"}
            assert set(hooks) - set(truth["fired"]) <= unasked
            assert set(HAZARDS) <= set(truth["fired"])
            statuses = {trade["status"] for trade in truth["trades"]}
            assert {"TRADE_STATUS_FAILED", "TRADE_STATUS_CONFIRMED"} <= statuses

    asyncio.run(asyncio.wait_for(test(), 60))


async def try_cancel_all(probe):
    try:
        await probe.call("DELETE", "/cancel-all")
    except aiohttp.ServerDisconnectedError:
        return


def test_an_unknown_fault_or_action_is_named():
    async def test():
        async with still() as server, Probe(server):
            with pytest.raises(ValueError, match="there is no fault 'rain'"):
                server.faults.change({"rain": 1})
            with pytest.raises(ValueError, match="there is no action 'dance'"):
                server.do("dance")
            with pytest.raises(ValueError, match="there is no market"):
                server.do("resolve", market="nowhere")

    run(test())
