"""The stand-in's queue: what stands before an order, by price and time, through everything that moves it."""

from standins.kalshi.probe import ORDERS, Probe, run, still

T0 = "KXA-0-T0"
PRICE = "0.4800"  # 100 contracts of others stand here


def of_one_order(body):
    """Runs `body(server, probe, order id, ahead)` with a bid of 10 behind everybody else's 100."""

    async def test():
        async with still() as server, Probe(server) as probe:
            order = (await probe.placed(price=PRICE, count="10"))["order_id"]

            async def ahead(of=order):
                answer = await probe.get(f"/portfolio/orders/{of}/queue_position")
                return float(answer["queue_position_fp"])

            assert await ahead() == 100
            await body(server, probe, order, ahead)

    run(test())


def test_trades_move_us_forward_and_partial_fills_leave_us_first():
    async def body(server, probe, order, ahead):
        server.do("take", ticker=T0, taker="ask", price=PRICE, contracts=30)
        assert await ahead() == 70
        server.do("take", ticker=T0, taker="ask", price=PRICE, contracts=74)
        assert await ahead() == 0
        assert (await probe.listed(order))["fill_count_fp"] == "4.00"
        later = (await probe.placed(price=PRICE, count="3"))["order_id"]
        assert await ahead(later) == 6  # what is left of ours
        server.do("take", ticker=T0, taker="ask", price=PRICE, contracts=8)
        assert (await probe.listed(order))["status"] == "executed"
        assert await ahead(later) == 0
        assert (await probe.listed(later))["fill_count_fp"] == "2.00"

    of_one_order(body)


def test_those_behind_do_not_count_and_a_level_that_shrinks_below_us_does():
    async def body(server, probe, order, ahead):
        server.do("level", ticker=T0, side="bid", price=PRICE, contracts=180)
        assert await ahead() == 100
        server.do("level", ticker=T0, side="bid", price=PRICE, contracts=120)
        assert await ahead() == 100
        server.do("level", ticker=T0, side="bid", price=PRICE, contracts=40)
        assert await ahead() == 40
        server.do("level", ticker=T0, side="bid", price=PRICE, contracts=90)
        assert await ahead() == 40
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=500)  # a better price
        assert await ahead() == 40

    of_one_order(body)


def test_own_orders_stand_in_time_order_and_leave_their_place_when_they_go():
    async def body(server, probe, order, ahead):
        later = (await probe.placed(price=PRICE, count="5"))["order_id"]
        assert (await ahead(), await ahead(later)) == (100, 110)
        status, answer = await probe.call(
            "POST", f"{ORDERS}/{order}/decrease", {"market_ticker": T0, "reduce_to": "4.00"}
        )
        assert status == 200, answer
        assert (await ahead(), await ahead(later)) == (100, 104)  # in place
        assert (await probe.call("DELETE", f"{ORDERS}/{order}"))[0] == 200
        assert await ahead(later) == 100
        assert (await probe.call("GET", f"/portfolio/orders/{order}/queue_position"))[0] == 404
        listed = (await probe.get("/portfolio/orders/queue_positions", market_tickers=T0))["queue_positions"]
        assert [(row["order_id"], row["queue_position_fp"]) for row in listed] == [(later, "100.00")]

    of_one_order(body)


def test_an_amended_price_or_a_larger_size_joins_at_the_end():
    async def body(server, probe, order, ahead):
        server.do("level", ticker=T0, side="bid", price=PRICE, contracts=150)

        async def amend(**changes):
            asked = {"ticker": T0, "side": "bid", "price": PRICE, "count": "10", **changes}
            status, answer = await probe.call("POST", f"{ORDERS}/{order}/amend", asked)
            assert status == 200, answer

        await amend(count="6")
        assert await ahead() == 100
        await amend(count="6", expiration_time=server.now_ns() // 10**9 + 60)
        assert await ahead() == 100
        await amend(count="7")
        assert await ahead() == 150
        await amend(count="7", price="0.4600")
        assert await ahead() == 100
        await amend(count="7")
        assert await ahead() == 150

    of_one_order(body)
