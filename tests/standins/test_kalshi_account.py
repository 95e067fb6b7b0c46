"""The stand-in's account over REST: order groups, positions, settlement, cash, limits, pauses, grids."""

import itertools

import pytest

from standins.kalshi import MarketSpec, small_catalog
from standins.kalshi.probe import ORDERS, Probe, agrees, code, run, still

T0 = "KXA-0-T0"  # shard 0, no maker fees
T1 = "KXB-1-T1"  # shard 1, maker fees, Sports


# --- order groups ------------------------------------------------------------------------------------


def test_a_group_triggers_on_what_matches_in_fifteen_seconds():
    async def test():
        async with still() as server, Probe(server) as probe:
            _, body = await probe.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 10})
            group = body["order_group_id"]
            first = await probe.placed(order_group_id=group, count="8")
            await probe.placed(order_group_id=group, price="0.4700")
            alone = await probe.placed(price="0.4600")
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="8")
            assert (await probe.listed(first["order_id"]))["status"] == "executed"
            server.pass_time(16)  # the window has moved on
            second = await probe.placed(order_group_id=group, count="20")
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="10")
            assert (await probe.listed(second["order_id"]))["status"] == "resting"  # 10 is not more than 10
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="0.01")
            assert (await probe.listed(second["order_id"]))["status"] == "canceled"
            assert [o["order_id"] for o in agrees(server)["open_orders"]] == [alone["order_id"]]
            assert (await probe.place(order_group_id=group))[0] == 400
            assert (await probe.call("PUT", f"/portfolio/order_groups/{group}/reset"))[0] == 200
            assert (await probe.place(order_group_id=group))[0] == 201

    run(test())


def test_groups_are_limited_triggered_and_deleted_on_their_own_shard():
    async def test():
        async with still() as server, Probe(server) as probe:
            body = {"contracts_limit_fp": "5.00", "exchange_index": 1}
            status, made = await probe.call("POST", "/portfolio/order_groups/create", body)
            group = made["order_group_id"]
            path = f"/portfolio/order_groups/{group}"
            assert (status, made["exchange_index"]) == (201, 1)
            assert (await probe.place(order_group_id=group))[0] == 404  # an order of shard 0
            order = await probe.placed(order_group_id=group, ticker=T1, exchange_index=1)
            assert (await probe.call("PUT", f"{path}/trigger"))[0] == 404  # shard 0 knows it not
            detail = await probe.get(path)
            assert (detail["orders"], detail["contracts_limit_fp"]) == ([order["order_id"]], "5.00")
            server.do("take", ticker=T1, taker="ask", price="0.4900", contracts="3")
            status, _ = await probe.call("PUT", f"{path}/limit", {"contracts_limit": 2}, exchange_index=1)
            assert status == 200 and (await probe.listed(order["order_id"]))["status"] == "canceled"
            assert (await probe.call("PUT", f"{path}/limit", {"contracts_limit": 0}, exchange_index=1))[
                0
            ] == 400
            assert (await probe.call("DELETE", path, exchange_index=1))[0] == 200
            assert (await probe.get("/portfolio/order_groups"))["order_groups"] == []
            agrees(server)

    run(test())


# --- what is held --------------------------------------------------------------------------------------


def test_positions_net_through_zero_and_cash_follows():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(price="0.5200", count="10", time_in_force="immediate_or_cancel")
            await probe.placed(side="ask", price="0.4800", count="25", time_in_force="immediate_or_cancel")
            held = (await probe.get("/portfolio/positions"))["market_positions"][0]
            assert held["position_fp"] == "-15.00"
            await probe.placed(price="0.5200", count="5", time_in_force="immediate_or_cancel")
            closer = (await probe.get("/portfolio/positions"))["market_positions"][0]
            assert (closer["position_fp"], closer["market_exposure_dollars"]) == ("-10.00", "5.200000")
            assert closer["realized_pnl_dollars"] == "-0.600000"  # and 5 x (0.48 - 0.52)
            assert held["market_exposure_dollars"] == "7.800000"  # 15 NO at 0.52
            assert held["realized_pnl_dollars"] == "-0.400000"  # 10 x (0.48 - 0.52)
            event = (await probe.get("/portfolio/positions"))["event_positions"][0]
            assert event["event_exposure_dollars"] == "5.200000"
            truth = agrees(server)
            fees = sum(float(fill["fee_cost"]) for fill in truth["fills"])
            assert float(truth["cash"]["0"]) == pytest.approx(10_000 - 0.6 - 5.2 - fees)
            balance = await probe.get("/portfolio/balance", exchange_index=0)
            assert balance["balance_dollars"] == truth["cash"]["0"]
            assert (await probe.call("GET", "/portfolio/balance", exchange_index=9))[0] == 404

    run(test())


@pytest.mark.parametrize(
    ("result", "paid", "value"),
    [("yes", 10.0, 100), ("no", 0.0, 0), ("scalar", 3.0, 30), ("void", 5.2, None)],
)
def test_a_market_closes_is_determined_and_pays(result, paid, value):
    async def test():
        catalog = small_catalog(1, close_in_s=60.0, result=result, scalar_price=3_000)
        async with still(catalog=catalog) as server, Probe(server) as probe:
            await probe.placed(price="0.5200", count="10", time_in_force="immediate_or_cancel")
            order = await probe.placed()
            before = float((await probe.get("/portfolio/balance"))["balance_dollars"])
            server.pass_time(60)
            assert code((await probe.place())[1]) == "market_inactive"
            path = f"{ORDERS}/{order['order_id']}"
            assert code((await probe.call("DELETE", path, exchange_index=0))[1]) == "market_inactive"
            server.pass_time(1)
            assert (await probe.listed(order["order_id"]))["status"] == "canceled"
            server.pass_time(5)
            market = (await probe.get(f"/markets/{T0}"))["market"]
            assert (market["status"], market["result"]) == ("determined", result)
            assert (await probe.get("/portfolio/settlements"))["settlements"] == []
            server.pass_time(61)
            assert (await probe.get(f"/markets/{T0}"))["market"]["status"] == "finalized"
            row = (await probe.get("/portfolio/settlements"))["settlements"][0]
            assert (row["market_result"], row["revenue"], row["value"]) == (result, round(paid * 100), value)
            after = float((await probe.get("/portfolio/balance"))["balance_dollars"])
            assert after - before == pytest.approx(paid)
            assert (await probe.get("/portfolio/positions"))["market_positions"] == []
            settled = await probe.get("/portfolio/positions", settlement_status="settled")
            assert settled["market_positions"][0]["position_fp"] == "0.00"
            agrees(server)

    run(test())


def test_results_are_disputed_and_amended_before_and_after_the_payout():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(price="0.5200", count="10", time_in_force="immediate_or_cancel")
            server.do("determine", ticker=T0, result="no")
            server.do("dispute", ticker=T0)
            server.pass_time(600)
            assert (await probe.get(f"/markets/{T0}"))["market"]["status"] == "disputed"
            server.do("amend_result", ticker=T0, result="yes")
            assert (await probe.get(f"/markets/{T0}"))["market"]["status"] == "amended"
            server.pass_time(61)
            assert (await probe.get("/portfolio/settlements"))["settlements"][0]["revenue"] == 1_000
            server.do("amend_result", ticker=T0, result="no")
            row = (await probe.get("/portfolio/settlements"))["settlements"][0]
            assert (row["market_result"], row["revenue"]) == ("no", 0)
            agrees(server)

    run(test())


def test_cash_moves_between_shards_a_moment_later_and_once():
    async def test():
        async with still() as server, Probe(server) as probe:
            number = "0b8f2f6e-92f7-4a4e-9d3d-3f3f2c9f0a11"
            body = {
                "source": "event_contract", "destination": "event_contract", "amount": 50_000,
                "source_exchange_shard": 0, "destination_exchange_shard": 2, "client_transfer_id": number,
            }  # fmt: skip
            path = "/portfolio/intra_exchange_instance_transfer"
            _, first = await probe.call("POST", path, body)
            _, again = await probe.call("POST", path, body)
            assert first == again
            row = await probe.get(f"{path}s/{first['transfer_id']}")
            assert row["transfer"]["status"] == "pending"
            server.pass_time(2)
            shards = {
                b["exchange_index"]: b["balance"]
                for b in (await probe.get("/portfolio/balance"))["balance_breakdown"]
            }
            assert (shards[0], shards[2]) == ("9995.000000", "10005.000000")
            assert (await probe.call("POST", path, body | {"client_transfer_id": "x"}))[0] == 400
            agrees(server)

    run(test())


def test_each_shard_must_cover_its_own_orders():
    async def test():
        async with still(cash_dollars=5.0) as server, Probe(server) as probe:
            await probe.placed(count="10")  # locks 4.90 of 5
            status, body = await probe.place(count="1", price="0.4800")
            assert (status, code(body)) == (400, "insufficient_balance")
            await probe.placed(ticker=T1, exchange_index=1, count="10")
            agrees(server)

    run(test())


# --- limits and the exchange as a whole ------------------------------------------------------------------


def test_tokens_run_out_and_come_back():
    async def test():
        async with still(tier="basic") as server, Probe(server) as probe:
            limits = await probe.get("/account/limits")
            assert (limits["write"], limits["usage_tier"]) == (
                {"refill_rate": 100, "bucket_capacity": 100},
                "basic",
            )
            costs = await probe.get("/account/endpoint_costs")
            assert costs["default_cost"] == 10
            statuses = [(await probe.place())[0] for _ in range(11)]
            assert statuses == [201] * 10 + [429]
            status, body = await probe.place()
            assert (status, body) == (429, {"error": "too many requests"})
            assert (await probe.place(ticker=T1, exchange_index=1))[0] == 201  # its shard's own bucket
            assert (await probe.place(ticker=T1, exchange_index=-1))[0] == 429  # billed to every bucket
            server.pass_time(0.1)
            assert [(await probe.place())[0] for _ in range(2)] == [201, 429]
            server.pass_time(1)
            routed = [(await probe.place(ticker=T1, exchange_index=-1))[0] for _ in range(10)]
            assert routed == [201] * 10
            assert (await probe.place(ticker=T1, exchange_index=1))[0] == 429  # that one's bucket as well
            server.pass_time(1)
            orders = [probe.order() for _ in range(11)]
            assert (await probe.call("POST", f"{ORDERS}/batched", {"orders": orders}))[0] == 429
            assert (await probe.call("POST", f"{ORDERS}/batched", {"orders": orders[:10]}))[0] == 201

    run(test())


def test_fifty_cancels_fit_where_ten_creates_do():
    async def test():
        async with still(tier="basic") as server, Probe(server) as probe:
            ids = []
            for _ in range(4):
                ids += [(await probe.placed())["order_id"] for _ in range(10)]
                server.pass_time(1)
            statuses = [(await probe.call("DELETE", f"{ORDERS}/{i}", exchange_index=0))[0] for i in ids]
            assert statuses == [200] * 40
            assert (await probe.call("DELETE", ORDERS))[0] == 204

    run(test())


def test_pauses_refuse_orders_and_keep_or_wipe_what_rests():
    async def test():
        async with still() as server, Probe(server) as probe:
            kept = (await probe.placed())["order_id"]
            pausing = (await probe.placed(cancel_order_on_pause=True, price="0.4700"))["order_id"]
            server.do("pause_trading", seconds=60)
            status = await probe.get("/exchange/status")
            assert (status["exchange_active"], status["trading_active"]) == (True, False)
            assert "exchange_estimated_resume_time" in status
            assert (await probe.place())[0] == 409
            amend = {"ticker": T0, "side": "bid", "price": "0.4800", "count": "10"}
            assert (await probe.call("POST", f"{ORDERS}/{kept}/amend", amend))[0] == 409
            assert (await probe.listed(pausing))["status"] == "canceled"
            server.pass_time(61)
            assert (await probe.listed(kept))["status"] == "resting"  # a pause of the exchange wipes nothing
            server.do("pause_market", ticker=T0)
            assert code((await probe.place())[1]) == "trading_is_paused"
            server.do("activate_market", ticker=T0)
            assert (await probe.listed(kept))["status"] == "canceled"  # an activated market is empty
            mine = (await probe.placed())["order_id"]
            server.do("pause_exchange")
            assert (await probe.call("DELETE", f"{ORDERS}/{mine}", exchange_index=0))[0] == 409
            server.do("resume")
            assert (await probe.call("DELETE", f"{ORDERS}/{mine}", exchange_index=0))[0] == 200
            agrees(server)

    run(test())


def test_the_book_of_a_paused_market_waits():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed())["order_id"]
            server.do("pause_trading")
            venue = server.venue
            venue.markets[0].waiting[1, 4_900] = 50_000_000  # others would have met us meanwhile
            server.do("resume")
            listed = await probe.listed(order)
            assert (listed["status"], listed["fill_count_fp"]) == ("executed", "10.00")
            agrees(server)

    run(test())


def test_grids_change_under_resting_orders_and_floors_cancel():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed(price="0.0500"))["order_id"]
            assert (await probe.place(price="0.0550"))[0] == 400
            server.do("change_grid", ticker=T0, grid=1)
            market = (await probe.get(f"/markets/{T0}"))["market"]
            assert market["price_level_structure"] == "tapered_deci_cent"
            assert [r["step"] for r in market["price_ranges"]] == ["0.0010", "0.0100", "0.0010"]
            assert (await probe.place(price="0.0550"))[0] == 201
            assert (await probe.listed(order))["status"] == "resting"
            server.do("raise_floor", ticker=T0, price="0.0500")
            assert (await probe.listed(order))["status"] == "canceled"
            assert (await probe.place(price="0.0400"))[0] == 400
            agrees(server)

    run(test())


def test_closes_move_both_ways():
    async def test():
        async with still(catalog=small_catalog(1, close_in_s=100.0)) as server, Probe(server) as probe:
            server.do("move_close", ticker=T0, in_s=200)
            server.pass_time(150)
            assert (await probe.place())[0] == 201
            server.do("move_close", ticker=T0, in_s=10)
            server.pass_time(11)
            assert code((await probe.place())[1]) == "market_inactive"

    run(test())


def test_a_day_of_seeded_trading_keeps_the_books():
    async def test():
        async with still(catalog=small_catalog(2), seed=5) as server, Probe(server) as probe:
            chance = server.faults.chance
            for _, step in zip(
                range(240), itertools.cycle(("place", "take", "amend", "cancel")), strict=False
            ):
                market = chance.choice(server.venue.markets)
                ticker, shard = market.spec.ticker, market.spec.exchange_index
                price, count = f"0.{chance.randrange(44, 57)}00", f"{chance.randrange(1, 3000) / 100:.2f}"
                open_orders = list(server.venue.open_of[market.place].values())
                if step == "place":
                    await probe.place(
                        ticker=ticker, exchange_index=shard, side=chance.choice(("bid", "ask")), price=price,
                        count=count, self_trade_prevention_type=chance.choice(("maker", "taker_at_cross")),
                        time_in_force=chance.choice(("good_till_canceled", "immediate_or_cancel")),
                    )  # fmt: skip
                elif step == "take":
                    server.do(
                        "take",
                        ticker=ticker,
                        taker=chance.choice(("bid", "ask")),
                        price=price,
                        contracts=count,
                    )
                elif step == "amend" and open_orders:
                    order = chance.choice(open_orders)
                    body = {
                        "ticker": ticker,
                        "side": ("bid", "ask")[order.side],
                        "price": price,
                        "count": count,
                    }
                    await probe.call("POST", f"{ORDERS}/{order.id}/amend", body)
                elif open_orders:
                    await probe.call(
                        "DELETE", f"{ORDERS}/{chance.choice(open_orders).id}", exchange_index=shard
                    )
                assert server.venue.unexplained() == []
                for each in server.venue.markets:
                    bid, _, ask, _ = each.best()
                    assert bid < ask
            assert len(server.venue.ledger.fills) > 20

    run(test())


def test_the_catalog_of_generated_markets_trades_by_itself():
    from standins.kalshi import synthetic_catalog

    async def test():
        catalog = synthetic_catalog(2, hours=0.25)
        assert isinstance(catalog.markets[0], MarketSpec)
        async with still(catalog=catalog) as server, Probe(server) as probe:
            server.pass_time(60)
            ticker = catalog.markets[0].ticker
            assert len((await probe.get("/markets/trades", ticker=ticker))["trades"]) > 10
            server.pass_time(900 + 120)
            market = (await probe.get(f"/markets/{ticker}"))["market"]
            assert (market["status"], market["result"]) == ("finalized", catalog.markets[0].result)
            agrees(server)

    run(test())
