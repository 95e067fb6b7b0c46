"""The stand-in's REST side: what section by section of the API's reference says, asked over HTTP."""

import pytest

from pr3dict.domain.fees import KalshiFeeChange, charge, kalshi_schedule
from standins.kalshi import new_key, sign, small_catalog
from standins.kalshi.auth import ApiKey
from standins.kalshi.probe import ORDERS, Probe, agrees, code, details, run, still
from standins.kalshi.values import MS, SECOND

T0 = "KXA-0-T0"  # shard 0, no maker fees
T1 = "KXB-1-T1"  # shard 1, maker fees, Sports
MARKET_KEYS = {
    "ticker", "event_ticker", "market_type", "yes_sub_title", "no_sub_title", "created_time", "updated_time",
    "open_time", "close_time", "latest_expiration_time", "settlement_timer_seconds", "status",
    "yes_bid_dollars", "yes_bid_size_fp", "yes_ask_dollars", "yes_ask_size_fp", "no_bid_dollars",
    "no_ask_dollars", "last_price_dollars", "volume_fp", "volume_24h_fp", "result", "can_close_early",
    "open_interest_fp", "notional_value_dollars", "previous_yes_bid_dollars", "previous_yes_ask_dollars",
    "previous_price_dollars", "expiration_value", "rules_primary", "rules_secondary",
    "price_level_structure", "price_ranges",
}  # fmt: skip


# --- keys and signatures --------------------------------------------------------------------------


def test_both_kinds_of_key_sign_and_nothing_else_gets_in():
    async def test():
        async with still() as server:
            for key in (server.key, server.rsa_key):
                async with Probe(server, key) as probe:
                    assert (await probe.call("GET", "/portfolio/balance"))[0] == 200
                    assert (await probe.call("GET", "/portfolio/orders", limit=5))[0] == 200  # query unsigned
            stranger = new_key()
            forged = ApiKey(server.key.id, stranger.pem, stranger.public)
            async with Probe(server, stranger) as unknown, Probe(server, forged) as liar:
                status, body = await unknown.call("GET", "/portfolio/balance")
                assert (status, code(body)) == (401, "authentication_error")
                status, body = await liar.call("GET", "/portfolio/balance")
                assert (status, details(body)) == (401, "INCORRECT_API_KEY_SIGNATURE")
                assert (await liar.call("GET", "/portfolio/balance", signed=False))[0] == 401
                assert (await liar.call("GET", "/markets", signed=False))[0] == 200

    run(test())


@pytest.mark.parametrize(
    ("ahead_ms", "status"), [(5_000, 200), (-5_000, 200), (30_000, 401), (-300_000, 401)]
)
def test_a_clock_that_is_off_is_refused(ahead_ms, status):
    async def test():
        async with still() as server, Probe(server) as probe:
            assert probe._session is not None
            stamp = server.now_ns() // MS + ahead_ms
            headers = sign(server.key, stamp, "GET", "/trade-api/v2/portfolio/balance")
            async with probe._session.get(server.url + "/portfolio/balance", headers=headers) as answer:
                assert answer.status == status

    run(test())


def test_scopes_and_the_location_attestation():
    async def test():
        reader = new_key(scopes=("read",))
        async with still(keys=[reader]) as server, Probe(server, reader) as watch, Probe(server) as probe:
            assert (await watch.call("GET", "/portfolio/orders"))[0] == 200
            assert (await watch.place())[0] == 403
            server.do("region", expires_s=server.now_ns() // SECOND - 1)
            assert (await probe.place())[0] == 201  # Financials
            assert (await probe.place(ticker=T1, exchange_index=1))[0] == 403  # Sports
            keys = await probe.get("/api_keys")
            assert keys["api_key_region_expiration_ts"] < server.now_ns() // SECOND
            assert {tuple(key["scopes"]) for key in keys["api_keys"]} == {("read", "write"), ("read",)}

    run(test())


# --- market data -----------------------------------------------------------------------------------


def test_markets_have_every_required_key_and_page_to_an_empty_cursor():
    async def test():
        async with still(catalog=small_catalog(5)) as server, Probe(server) as probe:
            seen, cursor = [], ""
            for _ in range(3):
                body = await probe.get("/markets", limit=2, cursor=cursor)
                seen += body["markets"]
                cursor = body["cursor"]
            assert cursor == "" and len({m["ticker"] for m in seen}) == 5
            assert all(m.keys() >= MARKET_KEYS for m in seen)
            assert (await probe.get("/markets", limit=2, cursor="garbage"))["markets"] == seen[:2]
            status, body = await probe.call("GET", "/markets", limit=1001)
            assert status == 400 and set(body) == {"msg"}
            one = (await probe.get(f"/markets/{T0}"))["market"]
            assert (one["yes_bid_dollars"], one["yes_ask_dollars"]) == ("0.4800", "0.5200")
            assert one["price_ranges"] == [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}]

    run(test())


def test_filters_of_markets():
    async def test():
        specs = small_catalog(4)
        async with still(catalog=specs) as server, Probe(server) as probe:

            async def tickers(**query):
                return [m["ticker"] for m in (await probe.get("/markets", **query))["markets"]]

            server.do("pause_market", ticker=T1)
            assert await tickers(status="paused") == [T1]
            assert T1 not in await tickers(status="open")
            assert await tickers(event_ticker="KXA-0") == [T0]
            assert await tickers(series_ticker="KXA") == [T0, "KXA-2-T2"]
            assert await tickers(tickers=f"{T0},{T1}") == [T0, T1]
            server.do("close_market", ticker=T0)
            assert await tickers(status="closed") == [T0]
            server.pass_time(100)
            assert await tickers(status="settled") == [T0]
            assert (await probe.call("GET", "/markets", min_close_ts=1, max_created_ts=5))[0] == 400

    run(test())


def test_the_book_is_bids_on_two_sides_best_last():
    async def test():
        async with still() as server, Probe(server) as probe:
            book = (await probe.get(f"/markets/{T0}/orderbook"))["orderbook_fp"]
            assert book["yes_dollars"][-1] == ["0.4800", "100.00"]
            assert book["no_dollars"][-1] == ["0.4800", "100.00"]  # a YES ask at 0.52
            await probe.placed(side="ask", price="0.5100", count="7.25")
            book = (await probe.get(f"/markets/{T0}/orderbook", depth=1))["orderbook_fp"]
            assert book["no_dollars"] == [["0.4900", "7.25"]]
            many = await probe.get("/markets/orderbooks", tickers=T0)
            assert many["orderbooks"][0]["orderbook_fp"]["no_dollars"][-1] == ["0.4900", "7.25"]
            assert (await probe.call("GET", "/markets/NO-SUCH/orderbook"))[0] == 404

    run(test())


def test_events_series_programmes_milestones_and_fee_changes():
    async def test():
        async with still() as server, Probe(server) as probe:
            event = await probe.get("/events/KXA-0")
            assert [m["ticker"] for m in event["markets"]] == [T0]
            assert len((await probe.get("/events", limit=200))["events"]) == 4
            assert (await probe.call("GET", "/events", limit=201))[0] == 400
            assert (await probe.get("/series/KXB"))["series"]["fee_type"] == "quadratic_with_maker_fees"
            programme = (await probe.get("/incentive_programs", status="active"))["incentive_programs"][0]
            assert (programme["market_ticker"], programme["target_size_fp"]) == (T0, "1000.00")
            assert (await probe.get("/incentive_programs", status="closed"))["incentive_programs"] == []
            assert (await probe.call("GET", "/milestones"))[0] == 400
            assert len((await probe.get("/milestones", limit=10))["milestones"]) == 1
            changes = (await probe.get("/series/fee_changes"))["series_fee_change_arr"]
            assert [(c["series_ticker"], c["fee_multiplier"]) for c in changes] == [("KXA", 0.5)]
            server.pass_time(86_401)
            assert (await probe.get("/series/fee_changes"))["series_fee_change_arr"] == []
            assert (await probe.get("/series/KXA"))["series"]["fee_type"] == "quadratic_with_maker_fees"
            assert (await probe.get("/historical/cutoff")).keys() >= {"orders_updated_ts"}

    run(test())


def test_trades_and_candles():
    async def test():
        async with still() as server, Probe(server) as probe:
            server.do("take", ticker=T0, taker="ask", price="0.4800", contracts="5")
            server.pass_time(61)
            server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="2.5")
            trades = (await probe.get("/markets/trades", ticker=T0))["trades"]
            assert [(t["yes_price_dollars"], t["count_fp"], t["taker_book_side"]) for t in trades] == [
                ("0.5200", "2.50", "bid"), ("0.4800", "5.00", "ask"),
            ]  # fmt: skip
            now = server.now_ns() // SECOND
            candles = await probe.get(
                f"/series/KXA/markets/{T0}/candlesticks",
                start_ts=now - 600,
                end_ts=now + 600,
                period_interval=1,
            )
            assert sum(float(c["volume_fp"]) for c in candles["candlesticks"]) == 7.5
            market = (await probe.get(f"/markets/{T0}"))["market"]
            assert (market["last_price_dollars"], market["volume_fp"]) == ("0.5200", "7.50")

    run(test())


def test_a_market_that_was_just_created_is_not_found_for_a_moment():
    async def test():
        catalog = small_catalog(1, listed_in_s=10.0, open_in_s=20.0)
        async with still(catalog=catalog) as server, Probe(server) as probe:
            assert (await probe.call("GET", f"/markets/{T0}"))[0] == 404
            server.pass_time(10.5)
            assert (await probe.call("GET", f"/markets/{T0}"))[0] == 404
            server.pass_time(1)
            assert (await probe.get(f"/markets/{T0}"))["market"]["status"] == "initialized"
            assert code((await probe.place())[1]) == "market_inactive"
            server.pass_time(10)
            assert (await probe.place())[0] == 201

    run(test())


# --- orders ----------------------------------------------------------------------------------------


def test_an_order_rests_is_listed_and_cancelled_once():
    async def test():
        async with still() as server, Probe(server) as probe:
            body = await probe.placed(post_only=True, cancel_order_on_pause=True)
            assert (body["fill_count"], body["remaining_count"]) == ("0.00", "10.00")
            assert "average_fill_price" not in body
            order = await probe.listed(body["order_id"])
            assert (order["status"], order["book_side"], order["outcome_side"]) == ("resting", "bid", "yes")
            assert (order["yes_price_dollars"], order["no_price_dollars"]) == ("0.4900", "0.5100")
            assert "time_in_force" not in order
            path = f"{ORDERS}/{body['order_id']}"
            status, gone = await probe.call("DELETE", path, exchange_index=0)
            assert (status, gone["reduced_by"]) == (200, "10.00")
            assert (await probe.call("DELETE", path, exchange_index=0))[0] == 404
            assert (await probe.listed(body["order_id"]))["status"] == "canceled"
            agrees(server)

    run(test())


@pytest.mark.parametrize(
    ("changes", "status", "what"),
    [
        ({"price": 0.49}, 400, "bad_request"),
        ({"count": 10}, 400, "bad_request"),
        ({"count": "0.001"}, 400, "bad_request"),
        ({"count": "0"}, 400, "invalid_order_size"),
        ({"price": "0.4950"}, 400, "invalid_order"),
        ({"price": "0.0000"}, 400, "invalid_order"),
        ({"side": "yes"}, 400, "bad_request"),
        ({"time_in_force": None}, 400, "bad_request"),
        ({"ticker": "NO-SUCH"}, 404, "market_not_found"),
        ({"exchange_index": 2}, 404, "market_not_found"),
        ({"price": "0.5200", "post_only": True}, 400, "invalid_order"),
        ({"expiration_time": 1_000}, 400, "invalid_order"),
        ({"expiration_time": 4_000_000_000, "time_in_force": "immediate_or_cancel"}, 400, "invalid_order"),
        ({"reduce_only": True}, 400, "invalid_order"),
        ({"order_group_id": "none"}, 404, "order_group_not_found"),
        ({"subaccount": 3}, 404, "user_not_found"),
        ({"count": "1000000"}, 400, "insufficient_balance"),
        ({"count": "101", "price": "0.5200", "time_in_force": "fill_or_kill"}, 409,
         "fill_or_kill_insufficient_resting_volume"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(changes, status, what):
    async def test():
        async with still() as server, Probe(server) as probe:
            got, body = await probe.place(**changes)
            assert (got, body.get("code") or code(body)) == (status, what)
            truth = agrees(server)
            assert truth["orders"] == []  # and the id is not burned
            again, _ = await probe.place(client_order_id="c1")
            assert again == 201

    run(test())


def test_a_client_order_id_is_burned_for_ever():
    async def test():
        async with still() as server, Probe(server) as probe:
            body = await probe.placed(client_order_id="x")
            await probe.call("DELETE", f"{ORDERS}/{body['order_id']}", market_ticker=T0)
            status, again = await probe.place(client_order_id="x")
            assert (status, code(again)) == (409, "order_already_exists")
            assert len(agrees(server)["orders"]) == 1

    run(test())


def test_takers_pay_the_reference_fee_and_makers_nothing_here():
    async def test():
        async with still() as server, Probe(server) as probe:
            body = await probe.placed(price="0.5200", time_in_force="immediate_or_cancel", count="10")
            assert (body["fill_count"], body["remaining_count"]) == ("10.00", "0.00")
            assert body["average_fill_price"] == "0.5200"
            terms = kalshi_schedule((KalshiFeeChange(fee_type="quadratic", multiplier_ppm=10**6),)).at(
                server.now_ns()
            )
            due = charge(terms, price=5_200, size=10_000_000, revenue_micros=-5_200_000, maker=False)
            fill = (await probe.get("/portfolio/fills"))["fills"][0]
            assert fill["fee_cost"] == f"{due.fee_micros / 1e6:.6f}" == "0.174800"
            assert fill["is_taker"] and fill["trade_id"] == fill["fill_id"]
            await probe.placed()
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
            fill = (await probe.get("/portfolio/fills"))["fills"][0]
            assert (fill["is_taker"], fill["fee_cost"], fill["count_fp"]) == (False, "0.000000", "4.00")
            agrees(server)

    run(test())


def test_maker_fees_where_the_series_has_them_and_overrides_of_events():
    async def test():
        async with still() as server, Probe(server) as probe:

            async def maker_fee():
                await probe.placed(ticker=T1, exchange_index=1, price="0.4900", count="10")
                server.do("take", ticker=T1, taker="ask", price="0.4900", contracts="10")
                return (await probe.get("/portfolio/fills"))["fills"][0]["fee_cost"]

            assert await maker_fee() == "0.043800"  # 0.0175 x 10 x 0.49 x 0.51 = 0.04373..., to $0.0001
            server.do("event_fees", event="KXB-1", fee_type="quadratic")
            assert await maker_fee() == "0.000000"
            server.do("event_fees", event="KXB-1", multiplier=2.0)
            assert await maker_fee() == "0.087500"
            server.do("waive_fees", ticker=T1, seconds=60)
            assert await maker_fee() == "0.000000"
            server.pass_time(61)
            assert await maker_fee() == "0.087500"
            agrees(server)

    run(test())


def test_amend_keeps_the_queue_only_without_a_new_price_or_more_size():
    async def test():
        async with still() as server, Probe(server) as probe:
            ahead = await probe.placed(price="0.4800", count="5")
            order = (await probe.placed(price="0.4800", count="10"))["order_id"]
            later = await probe.placed(price="0.4800", count="3")

            async def amend(**changes):
                body = {"ticker": T0, "side": "bid", "price": "0.4800", "count": "10", **changes}
                return await probe.call("POST", f"{ORDERS}/{order}/amend", body)

            async def queue():
                path = f"/portfolio/orders/{order}/queue_position"
                return (await probe.get(path))["queue_position_fp"]

            assert await queue() == "105.00"
            status, body = await amend(expiration_time=server.now_ns() // SECOND + 30)
            assert status == 200 and body["remaining_count"] is None and body["fill_count"] is None
            assert await queue() == "105.00"
            status, body = await amend(count="6")
            assert (body["order_id"], body["remaining_count"], await queue()) == (order, "6.00", "105.00")
            await amend(count="9")
            assert await queue() == "108.00"
            await amend(price="0.4700")
            assert await queue() == "100.00"
            assert (await probe.listed(order))["expiration_time"] is not None
            await amend(price="0.4700", count="9", expiration_time=0)
            assert (await probe.listed(order))["expiration_time"] is None
            queues = await probe.get("/portfolio/orders/queue_positions", market_tickers=T0)
            assert {q["order_id"] for q in queues["queue_positions"]} == {
                ahead["order_id"], order, later["order_id"]
            }  # fmt: skip
            assert code((await amend(ticker=T1))[1]) in ("not_found", "order_ticker_mismatch")
            assert code((await amend(side="ask"))[1]) == "order_side_mismatch"
            assert code((await amend(client_order_id="other"))[1]) == "order_id_and_client_order_id_mismatch"
            status, body = await amend(price="0.4700", count="9", updated_client_order_id="new")
            assert body["client_order_id"] == "new"
            assert code((await probe.place(client_order_id="new"))[1]) == "order_already_exists"
            agrees(server)

    run(test())


def test_an_amendment_counts_what_has_filled():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed(price="0.4900", count="10"))["order_id"]
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
            body = {"ticker": T0, "side": "bid", "price": "0.4700", "count": "12"}
            _, answer = await probe.call("POST", f"{ORDERS}/{order}/amend", body)
            assert answer["remaining_count"] == "8.00"
            listed = await probe.listed(order)
            assert (listed["initial_count_fp"], listed["fill_count_fp"]) == ("12.00", "4.00")
            status, answer = await probe.call("POST", f"{ORDERS}/{order}/amend", body | {"count": "4"})
            assert (status, code(answer)) == (400, "invalid_order_size")
            agrees(server)

    run(test())


def test_decrease_by_and_to_in_place():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed())["order_id"]
            path = f"{ORDERS}/{order}/decrease"
            _, body = await probe.call("POST", path, {"reduce_by": "3.00", "exchange_index": 0})
            assert (body["order_id"], body["remaining_count"]) == (order, "7.00")
            _, body = await probe.call("POST", path, {"reduce_to": "2.00", "market_ticker": T0})
            assert body["remaining_count"] == "2.00"
            assert (await probe.call("POST", path, {"reduce_by": "1", "reduce_to": "1"}))[0] == 400
            assert (await probe.call("POST", path, {"reduce_to": "3", "exchange_index": 0}))[0] == 400
            _, body = await probe.call("POST", path, {"reduce_to": "0", "exchange_index": 0})
            assert body["remaining_count"] == "0.00"
            assert (await probe.listed(order))["status"] == "canceled"
            agrees(server)

    run(test())


@pytest.mark.parametrize("stp", ["taker_at_cross", "maker"])
def test_self_trades_are_prevented_both_ways(stp):
    async def test():
        async with still() as server, Probe(server) as probe:
            mine = (await probe.placed(side="ask", price="0.5300", count="10"))["order_id"]
            body = await probe.placed(price="0.5400", count="150", self_trade_prevention_type=stp)
            mine_now = await probe.listed(mine)
            taker = await probe.listed(body["order_id"])
            if stp == "taker_at_cross":
                assert (body["fill_count"], body["remaining_count"]) == ("100.00", "0.00")  # what is better
                assert (mine_now["status"], taker["status"]) == ("resting", "canceled")
            else:
                assert (body["fill_count"], body["remaining_count"]) == ("150.00", "0.00")
                assert (mine_now["status"], taker["status"]) == ("canceled", "executed")
            agrees(server)

    run(test())


def test_self_trade_at_the_touch_fills_nothing():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(side="ask", price="0.5100", count="10")
            body = await probe.placed(price="0.5100", self_trade_prevention_type="taker_at_cross")
            assert (body["fill_count"], body["remaining_count"]) == ("0.00", "0.00")
            assert len(agrees(server)["open_orders"]) == 1

    run(test())


def test_orders_expire_by_the_second_and_reduce_only_is_capped():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = await probe.placed(expiration_time=server.now_ns() // SECOND + 5)
            server.pass_time(3)
            assert (await probe.listed(order["order_id"]))["status"] == "resting"
            server.pass_time(3)
            assert (await probe.listed(order["order_id"]))["status"] == "canceled"
            await probe.placed(price="0.5200", count="4")
            body = await probe.placed(
                side="ask", price="0.4800", count="9", time_in_force="immediate_or_cancel", reduce_only=True
            )
            assert body["fill_count"] == "4.00"
            again = await probe.placed(
                side="ask", price="0.4800", count="9", time_in_force="immediate_or_cancel", reduce_only=True
            )
            assert again["fill_count"] == "0.00"
            agrees(server)

    run(test())


def test_routing_by_shard():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed(ticker=T1, exchange_index=1))["order_id"]
            assert (await probe.call("DELETE", f"{ORDERS}/{order}"))[0] == 404  # goes to shard 0
            assert (await probe.call("DELETE", f"{ORDERS}/{order}", exchange_index=2))[0] == 404
            assert (await probe.call("DELETE", f"{ORDERS}/{order}", exchange_index=-1, market_ticker=T1))[
                0
            ] == 200
            other = (await probe.placed(ticker=T1, exchange_index=-1))["order_id"]
            assert (await probe.call("DELETE", f"{ORDERS}/{other}", market_ticker=T1))[0] == 200
            agrees(server)

    run(test())


def test_batches_answer_item_by_item():
    async def test():
        async with still() as server, Probe(server) as probe:
            good, bad = probe.order(), probe.order(price="0.4950")
            status, body = await probe.call("POST", f"{ORDERS}/batched", {"orders": [good, bad]})
            first, second = body["orders"]
            assert status == 201 and first["error"] is None and first["remaining_count"] == "10.00"
            assert second["error"]["code"] == "invalid_order"
            items = [{"order_id": first["order_id"], "exchange_index": 0}, {"order_id": "none"}]
            status, body = await probe.call("DELETE", f"{ORDERS}/batched", {"orders": items})
            assert status == 200 and body["orders"][0]["reduced_by"] == "10.00"
            assert body["orders"][1]["error"]["code"] == "not_found"
            agrees(server)

    run(test())


def test_cancel_all_reaches_every_shard_and_may_reach_later_orders():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed()
            await probe.placed(ticker=T1, exchange_index=1)
            server.faults.change({"cancel_all_reach_ms": 60_000})
            assert (await probe.call("DELETE", ORDERS))[0] == 204
            late = await probe.placed()
            assert (await probe.listed(late["order_id"]))["status"] == "canceled"
            server.pass_time(61)
            await probe.placed()
            assert len(agrees(server)["open_orders"]) == 1

    run(test())


def test_v1_is_gone_and_lists_page():
    async def test():
        async with still() as server, Probe(server) as probe:
            assert (
                code((await probe.call("POST", "/portfolio/orders", {}))[1]) == "deprecated_v1_order_endpoint"
            )
            assert (await probe.call("DELETE", "/portfolio/orders/x"))[0] == 410
            for cents in range(5):
                await probe.placed(price=f"0.4{cents}00")
            body = await probe.get("/portfolio/orders", limit=3, status="resting")
            rest = await probe.get("/portfolio/orders", limit=3, status="resting", cursor=body["cursor"])
            prices = [o["yes_price_dollars"] for o in body["orders"] + rest["orders"]]
            assert prices == ["0.4400", "0.4300", "0.4200", "0.4100", "0.4000"] and rest["cursor"] == ""
            assert (await probe.get("/portfolio/orders", ticker=T1))["orders"] == []
            assert (await probe.call("GET", "/portfolio/orders", limit=0))[0] == 400

    run(test())
