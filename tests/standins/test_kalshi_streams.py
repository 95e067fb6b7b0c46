"""The stand-in's WebSocket: commands, channels, numbers, lifecycle, frames as the reference shows them."""

import aiohttp
import pytest

from standins.kalshi import KalshiStandIn, small_catalog
from standins.kalshi.probe import Probe, run, still

T0, T1, T2 = "KXA-0-T0", "KXB-1-T1", "KXA-2-T2"
PRIVATE = ("fill", "user_orders", "market_positions", "order_group_updates")
SNAPSHOT = {"market_ticker", "market_id", "yes_dollars_fp", "no_dollars_fp"}


def of(frames, kind):
    return [frame for frame in frames if frame["type"] == kind]


def error(frames):
    [frame] = of(frames, "error")
    return frame["msg"]["code"]


class Book:
    """A book built from frames alone, in the prices of the subscription."""

    def __init__(self):
        self.sides = {"yes": {}, "no": {}}
        self.seq = 0

    def take(self, frames):
        for frame in frames:
            if "seq" in frame:
                assert frame["seq"] == self.seq + 1
                self.seq = frame["seq"]
            if frame["type"] == "orderbook_snapshot":
                for side in self.sides:
                    levels = frame["msg"].get(f"{side}_dollars_fp", [])
                    self.sides[side] = {price: round(float(size) * 100) for price, size in levels}
            elif frame["type"] == "orderbook_delta":
                side = self.sides[frame["msg"]["side"]]
                price = frame["msg"]["price_dollars"]
                side[price] = side.get(price, 0) + round(float(frame["msg"]["delta_fp"]) * 100)
                assert side[price] >= 0
                if not side[price]:
                    del side[price]


def test_a_stream_must_be_signed_even_for_public_channels():
    async def test():
        async with still() as server, Probe(server) as probe:
            assert await probe.upgrade_status(signed=False) == 401
            assert await probe.upgrade_status() == 400  # signed, but no upgrade

    run(test())


def test_each_command_that_is_wrong_has_its_code():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            cases = [
                ("nonsense", 1),
                ({"id": 1, "cmd": "subscribe"}, 2),
                ({"id": 1, "cmd": "subscribe", "params": {}}, 3),
                ({"id": 1, "cmd": "unsubscribe", "params": {}}, 4),
                ({"id": 1, "cmd": "dance", "params": {}}, 5),
                ({"id": 1, "cmd": "unsubscribe", "params": {"sids": [9]}}, 7),
                ({"id": 1, "cmd": "subscribe", "params": {"channels": ["weather"]}}, 8),
                ({"id": 1, "cmd": "subscribe", "params": {"channels": ["trade"], "market_ticker": "X"}}, 11),
                (
                    {
                        "id": 1,
                        "cmd": "subscribe",
                        "params": {"channels": ["trade"], "market_ticker": T0, "market_tickers": [T0]},
                    },
                    11,
                ),
                (
                    {
                        "id": 1,
                        "cmd": "update_subscription",
                        "params": {"action": "add_markets", "sids": [1, 2]},
                    },
                    12,
                ),
                ({"id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"]}}, 14),
                ({"id": 1, "cmd": "update_subscription", "params": {"sid": 1}}, 15),
            ]
            for command, code in cases:
                if isinstance(command, str):
                    await wire.socket.send_str(command)
                else:
                    await wire.socket.send_json(command)
                assert error(await wire.frames()) == code, command
            await wire.subscribe("fill")
            await wire.send("update_subscription", sid=1, action="get_snapshot", market_tickers=[T0])
            assert error(await wire.frames()) == 13

    run(test())


def test_the_ack_comes_first_and_a_second_subscription_joins_the_first():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            frames = await wire.subscribe("orderbook_delta", market_ticker=T0, use_yes_price=False)
            assert [f["type"] for f in frames] == ["subscribed", "orderbook_snapshot"]
            assert frames[0] == {
                "id": 1, "type": "subscribed", "msg": {"channel": "orderbook_delta", "sid": 1},
                "sending_ts_ms": frames[0]["sending_ts_ms"],
            }  # fmt: skip
            frames = await wire.subscribe("orderbook_delta", market_tickers=[T0, T1])
            assert [(f["type"], f["sid"], f["seq"]) for f in frames] == [
                ("ok", 1, 2),
                ("orderbook_snapshot", 1, 3),
            ]
            assert frames[0]["msg"] == {"market_tickers": [T0, T1]}
            assert frames[1]["msg"]["market_ticker"] == T1
            await wire.send("list_subscriptions", 7)
            [listed] = await wire.frames()
            assert listed["msg"] == [{"channel": "orderbook_delta", "sid": 1}]
            await wire.send("unsubscribe", 8, sids=[1])
            [gone] = await wire.frames()
            assert (gone["type"], gone["seq"], gone["id"]) == ("unsubscribed", 4, 8)
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="7")
            assert await wire.frames() == []

    run(test())


@pytest.mark.parametrize("yes_prices", [False, True])
def test_the_book_of_frames_is_the_book_of_reads(yes_prices):
    async def test():
        async with still() as server, Probe(server) as probe:
            wire, book = await probe.connect(), Book()
            frames = await wire.subscribe("orderbook_delta", market_ticker=T0, use_yes_price=yes_prices)
            assert set(of(frames, "orderbook_snapshot")[0]["msg"]) == SNAPSHOT
            book.take(frames)
            order = (await probe.placed(side="ask", price="0.5100", count="3.50"))["order_id"]
            await probe.placed(price="0.5300", count="12")  # takes our own? no: others at 0.52 follow ours
            server.do("level", ticker=T0, side="bid", price="0.4800", contracts="0")
            server.do("take", ticker=T0, taker="ask", price="0.4700", contracts="55.5")
            await probe.call("DELETE", f"/portfolio/events/orders/{order}", exchange_index=0)
            frames = await wire.frames()
            book.take(frames)
            truth = (await probe.get(f"/markets/{T0}/orderbook"))["orderbook_fp"]
            assert {p: f"{s / 100:.2f}" for p, s in book.sides["yes"].items()} == dict(truth["yes_dollars"])
            no_side = dict(truth["no_dollars"])
            if yes_prices:
                no_side = {f"{1 - float(p):.4f}": size for p, size in no_side.items()}
            assert {p: f"{s / 100:.2f}" for p, s in book.sides["no"].items()} == no_side
            own = [f["msg"] for f in of(frames, "orderbook_delta") if "client_order_id" in f["msg"]]
            assert own and all(body["subaccount"] == 0 for body in own)

    run(test())


def test_an_empty_side_is_absent_and_a_snapshot_takes_the_next_number():
    async def test():
        async with still(catalog=small_catalog(3)) as server, Probe(server) as probe:
            for cents in range(44, 49):
                server.do("level", ticker=T2, side="bid", price=f"0.{cents}00", contracts="0")
            wire = await probe.connect()
            frames = await wire.subscribe("orderbook_delta", market_tickers=[T2, T0])
            bodies = {f["msg"]["market_ticker"]: f["msg"] for f in of(frames, "orderbook_snapshot")}
            assert set(bodies[T2]) == SNAPSHOT - {"yes_dollars_fp"} and set(bodies[T0]) == SNAPSHOT
            await wire.send("update_subscription", 9, sids=[1], action="get_snapshot", market_tickers=[T0])
            [snapshot] = await wire.frames()
            assert (snapshot["id"], snapshot["seq"]) == (9, 3)
            await wire.send("update_subscription", 10, sids=[1], action="delete_markets", market_tickers=[T0])
            [ok] = await wire.frames()
            assert ok["msg"] == {"market_tickers": [T2]} and ok["seq"] == 4
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="7")
            assert await wire.frames() == []

    run(test())


def test_one_execution_on_every_channel():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("orderbook_delta", "trade", "ticker", market_ticker=T0)
            await wire.subscribe(*PRIVATE)
            order = await probe.placed(count="10.00", client_order_id="mine")
            await wire.frames()
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4.00")
            frames = await wire.frames()
            [fill] = of(frames, "fill")
            [trade] = of(frames, "trade")
            [position] = of(frames, "market_position")
            [told] = of(frames, "user_order")
            [delta] = of(frames, "orderbook_delta")
            [ticker] = of(frames, "ticker")
            assert "seq" in trade and "seq" in delta
            assert not any("seq" in frame for frame in (fill, told, position, ticker))
            assert fill["msg"]["trade_id"] == trade["msg"]["trade_id"]
            assert fill["msg"]["order_id"] == told["msg"]["order_id"] == order["order_id"]
            assert (fill["msg"]["is_taker"], fill["msg"]["post_position_fp"]) == (False, "4.00")
            assert (trade["msg"]["taker_book_side"], trade["msg"]["count_fp"]) == ("ask", "4.00")
            assert (told["msg"]["status"], told["msg"]["remaining_count_fp"]) == ("resting", "6.00")
            assert told["msg"]["last_update_reason"] == "Trade"
            assert (position["msg"]["position_fp"], position["msg"]["position_cost_dollars"]) == (
                "4.00",
                "1.9600",
            )
            assert delta["msg"]["delta_fp"] == "-4.00"
            assert ticker["msg"]["last_trade_size_fp"] == "4.00"
            stamps = {f["msg"]["ts_ms"] for f in (fill, trade, delta)}
            assert len(stamps) == 1
            assert fill["msg"].keys() >= {"client_order_id", "purchased_side", "fee_cost", "exchange_index"}

    run(test())


def test_reasons_of_what_happens_to_orders():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("user_orders")
            seconds = server.now_ns() // 10**9

            async def reason():
                return of(await wire.frames(), "user_order")[-1]["msg"].get("last_update_reason")

            first = (await probe.placed())["order_id"]
            assert await reason() is None
            body = {"reduce_by": "1", "exchange_index": 0}
            await probe.call("POST", f"/portfolio/events/orders/{first}/decrease", body)
            assert await reason() == "Decrease"
            body = {"ticker": T0, "side": "bid", "price": "0.4700", "count": "9"}
            await probe.call("POST", f"/portfolio/events/orders/{first}/amend", body)
            assert await reason() == "Amend"
            await probe.placed(
                side="ask", price="0.4700", count="150", self_trade_prevention_type="taker_at_cross"
            )
            frames = await wire.frames()
            assert of(frames, "user_order")[-1]["msg"]["last_update_reason"] == "SelfTradeCancel"
            await probe.placed(expiration_time=seconds + 2)
            server.pass_time(3)
            assert await reason() == "ExpiryCancel"
            server.faults.change({"post_only_cancel": 1.0})
            answer = await probe.placed(price="0.5200", post_only=True)
            assert (answer["fill_count"], answer["remaining_count"]) == ("0.00", "0.00")
            assert await reason() == "PostOnlyCrossCancel"
            await probe.placed(cancel_order_on_pause=True, price="0.4600")
            server.do("pause_trading", seconds=1)
            assert await reason() == "HaltCancel"
            server.pass_time(2)
            server.do("close_market", ticker=T0)
            server.pass_time(1)
            assert await reason() == "CloseCancel"

    run(test())


def test_the_life_of_a_market_in_frames():
    async def test():
        catalog = small_catalog(1, listed_in_s=5.0, open_in_s=10.0, close_in_s=100.0, result="scalar")
        async with still(catalog=catalog) as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("market_lifecycle_v2")
            server.pass_time(5)
            [created] = await wire.frames()
            assert created["msg"]["event_type"] == "created" and created["msg"].keys() >= {
                "open_ts",
                "close_ts",
            }
            server.pass_time(10)
            assert await wire.frames() == []  # nobody is told of an opening
            server.do("pause_market", ticker=T0, seconds=5)
            server.pass_time(6)
            server.do("change_grid", ticker=T0, grid=2)
            server.do("move_close", ticker=T0, in_s=20)
            server.do("event_fees", event="KXA-0", fee_type="quadratic", multiplier=0.5)
            frames = await wire.frames()
            kinds = [f["msg"].get("event_type") for f in of(frames, "market_lifecycle_v2")]
            assert kinds == [
                "deactivated",
                "activated",
                "price_level_structure_updated",
                "close_date_updated",
            ]
            assert frames[2]["msg"]["price_ranges"] == [
                {"start": "0.0000", "end": "1.0000", "step": "0.0010"}
            ]
            [fees] = of(frames, "event_fee_update")
            assert fees["msg"] == {
                "event_ticker": "KXA-0", "fee_type_override": "quadratic", "fee_multiplier_override": 0.5
            }  # fmt: skip
            assert [f["seq"] for f in frames] == [2, 3, 4, 5, 6]
            server.pass_time(21)
            assert await wire.frames() == []  # nor of a close
            server.pass_time(100)
            determined, settled = await wire.frames()
            assert (determined["msg"]["result"], determined["msg"]["settlement_value"]) == (
                "scalar",
                "0.5000",
            )
            assert settled["msg"]["event_type"] == "settled" and "settled_ts" in settled["msg"]

    run(test())


def test_groups_in_frames():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("order_group_updates")
            _, made = await probe.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 5})
            path = f"/portfolio/order_groups/{made['order_group_id']}"
            await probe.call("PUT", f"{path}/limit", {"contracts_limit": 3})
            await probe.placed(order_group_id=made["order_group_id"])
            server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="4")
            await probe.call("PUT", f"{path}/reset")
            await probe.call("PUT", f"{path}/trigger")
            await probe.call("DELETE", path)
            frames = await wire.frames()
            kinds = [f["msg"]["event_type"] for f in of(frames, "order_group_updates")]
            assert kinds == ["created", "limit_updated", "triggered", "reset", "triggered", "deleted"]
            assert [f["msg"].get("contracts_limit_fp") for f in frames[1:]][:2] == ["3.00", None]

    run(test())


def test_pings_come_by_themselves():
    async def test():
        async with KalshiStandIn(speed=100) as server, Probe(server) as probe:
            assert probe._session is not None
            wire = await probe.connect()
            await wire.socket.close()
            from standins.kalshi import sign

            stamp = server.now_ns() // 10**6
            headers = sign(server.key, stamp, "GET", "/trade-api/ws/v2")
            socket = await probe._session.ws_connect(server.ws_url, headers=headers, autoping=False)
            message = await socket.receive(timeout=2)
            assert (message.type, message.data) == (aiohttp.WSMsgType.PING, b"heartbeat")

    run(test())


def test_a_hundred_markets_on_one_connection():
    async def test():
        async with still(catalog=small_catalog(100)) as server, Probe(server) as probe:
            wire = await probe.connect()
            tickers = [market.spec.ticker for market in server.venue.markets]
            frames = await wire.subscribe("orderbook_delta", market_tickers=tickers)
            assert len(of(frames, "orderbook_snapshot")) == 100
            for ticker in tickers:
                server.do("level", ticker=ticker, side="ask", price="0.5100", contracts="1.25")
            deltas = of(await wire.frames(), "orderbook_delta")
            assert [f["seq"] for f in deltas] == list(range(101, 201))

    run(test())
