"""What goes wrong at the stand-in, hook by hook and hazard by hazard, and that its truth stays whole."""

import asyncio
import json
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from standins.kalshi import HAZARDS, HOOKS, small_catalog, synthetic_catalog
from standins.kalshi.probe import ORDERS, Probe, run, still

T0 = "KXA-0-T0"
ALWAYS = 1.0


async def place_and_lose(probe, **changes):
    """The status of an answer, or "lost"."""
    try:
        return (await probe.place(**changes))[0]
    except aiohttp.ServerDisconnectedError:
        return "lost"


@pytest.mark.parametrize(
    ("hook", "status", "orders"),
    [
        ("error_after_apply", 503, 1), ("error_before_apply", 500, 0), ("lost_answer", "lost", 1),
        ("lost_request", "lost", 0), ("too_many_requests", 429, 0),
    ],
)  # fmt: skip
def test_answers_that_say_nothing_of_what_was_done(hook, status, orders):
    async def test():
        async with still() as server, Probe(server) as probe:
            server.faults.change({hook: ALWAYS})
            assert await place_and_lose(probe, client_order_id="once") == status
            server.faults.change({hook: 0})
            assert len(server.do("truth")["orders"]) == orders
            again, _ = await probe.place(client_order_id="once")
            assert again == (409 if orders else 201)
            assert len(server.do("truth")["orders"]) == 1  # the same id never makes a second order
            assert server.faults.fired[hook] == 1

    run(test())


def test_an_answer_that_is_no_json_and_reads_that_fail():
    async def test():
        async with still() as server, Probe(server) as probe:
            server.faults.change({"malformed_answer": ALWAYS, "read_error": ALWAYS})
            with pytest.raises(ValueError, match="Expecting value"):
                await probe.place()
            assert (await probe.call("GET", "/portfolio/orders"))[0] == 504
            assert len(server.do("truth")["open_orders"]) == 1

    run(test())


def test_reads_lag_behind_writes():
    async def test():
        async with still(faults={"read_lag_ms": [300, 300]}) as server, Probe(server) as probe:
            order = (await probe.placed(price="0.5200", count="4"))["order_id"]
            assert (await probe.call("GET", f"/portfolio/orders/{order}"))[0] == 404
            assert (await probe.get("/portfolio/orders"))["orders"] == []
            assert (await probe.get("/portfolio/fills"))["fills"] == []
            assert (await probe.get("/portfolio/positions"))["market_positions"] == []
            stamp = await probe.get("/exchange/user_data_timestamp")
            assert stamp["as_of_time"]
            server.pass_time(0.4)
            assert (await probe.listed(order))["status"] == "executed"
            assert len((await probe.get("/portfolio/fills"))["fills"]) == 1
            rest = (await probe.placed())["order_id"]
            server.pass_time(0.4)
            await probe.call("DELETE", f"{ORDERS}/{rest}", exchange_index=0)
            assert (await probe.listed(rest))["status"] == "resting"

    run(test())


def test_the_venues_clock_can_be_off():
    async def test():
        async with still(faults={"clock_skew_ms": 8_000}) as server, Probe(server) as probe:
            assert probe._session is not None
            async with probe._session.get(server.url + "/exchange/status") as answer:
                shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            assert 7 <= shown - server.now_ns() / 1e9 <= 8
            assert (await probe.call("GET", "/portfolio/balance"))[0] == 200
            server.faults.change({"clock_skew_ms": 12_000})
            assert (await probe.call("GET", "/portfolio/balance"))[0] == 401

    run(test())


def test_a_gap_is_seen_in_the_numbers():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("orderbook_delta", market_ticker=T0)
            server.faults.change({"gap": ALWAYS})
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="1")
            server.faults.change({"gap": 0})
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="2")
            [frame] = await wire.frames()
            assert frame["seq"] == 3

    run(test())


def test_private_frames_are_dropped_doubled_and_held_back():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("user_orders")
            server.faults.change({"drop_private": ALWAYS})
            await probe.placed(client_order_id="dropped")
            server.faults.change({"drop_private": 0, "duplicate_private": ALWAYS})
            await probe.placed(client_order_id="twice")
            server.faults.change({"duplicate_private": 0, "reorder_private": ALWAYS})
            await probe.placed(client_order_id="late")
            server.faults.change({"reorder_private": 0})
            await probe.placed(client_order_id="prompt")
            ids = [frame["msg"]["client_order_id"] for frame in await wire.frames()]
            assert ids == ["twice", "twice", "prompt", "late"]

    run(test())


def test_frames_without_time_cut_short_and_of_unknown_types():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("fill")
            server.faults.change({"omit_ts": ALWAYS})
            await probe.placed(price="0.5200", count="1")
            [frame] = await wire.frames()
            assert "ts_ms" not in frame["msg"] and "ts" in frame["msg"]
            server.do("unknown_frame")
            [frame] = await wire.frames()
            assert frame["type"] == "weather"
            server.faults.change({"malformed_frame": ALWAYS})
            await probe.placed(price="0.5200", count="1")
            with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
                await wire.frames()

    run(test())


def test_a_silent_freeze_loses_frames_and_a_cut_has_no_close_frame():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("orderbook_delta", market_ticker=T0)
            server.do("freeze", seconds=10)
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="1")
            assert await wire.frames() == []
            server.pass_time(11)
            server.do("level", ticker=T0, side="bid", price="0.4500", contracts="2")
            [frame] = await wire.frames()
            assert frame["seq"] == 3
            server.do("disconnect")
            assert await wire.frames() == [{"type": "end"}]
            again = await probe.connect()
            frames = await again.subscribe("orderbook_delta", market_ticker=T0)
            assert [f["type"] for f in frames] == ["subscribed", "orderbook_snapshot"]

    run(test())


@pytest.mark.parametrize("code", [10, 25])
def test_terminal_errors_end_a_subscription(code):
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("orderbook_delta", "trade", market_ticker=T0)
            server.do("end_subscription", code=code, channel="orderbook_delta")
            server.do("take", ticker=T0, taker="ask", price="0.4800", contracts="1")
            frames = await wire.frames()
            assert [f["type"] for f in frames] == ["error", "trade"]
            assert frames[0]["msg"]["code"] == code and frames[0]["sid"] == 1
            frames = await wire.subscribe("orderbook_delta", market_ticker=T0)
            assert frames[0]["msg"]["sid"] == 3

    run(test())


def test_who_reads_too_slowly_overflows():
    async def test():
        async with still() as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("orderbook_delta", market_ticker=T0)
            for stream in server.streams:
                stream.buffer_limit = 5
            for number in range(1, 10):  # nobody writes between these
                server.do("level", ticker=T0, side="bid", price="0.4500", contracts=str(number))
            frames = await wire.frames()
            assert [f["msg"]["code"] for f in frames if f["type"] == "error"] == [25]

    run(test())


def test_a_reactivation_can_wipe_in_silence():
    async def test():
        async with still(faults={"wipe_silently": ALWAYS}) as server, Probe(server) as probe:
            order = (await probe.placed())["order_id"]
            wire = await probe.connect()
            await wire.subscribe("user_orders")
            server.do("pause_market", ticker=T0)
            server.do("activate_market", ticker=T0)
            assert await wire.frames() == []
            assert (await probe.listed(order))["status"] == "canceled"

    run(test())


def test_the_admin_endpoint_sets_acts_and_tells():
    async def test():
        async with still() as server, Probe(server) as probe:
            assert probe._session is not None
            post, url = probe._session.post, server.admin_url
            async with post(f"{url}/faults", json={"gap": 0.5, "read_lag_ms": [1, 2], "seed": 9}) as answer:
                assert (await answer.json())["settings"]["read_lag_ms"] == [1.0, 2.0]
            async with post(f"{url}/faults", json={"gremlins": 1}) as answer:
                assert answer.status == 400 and "gremlins" in (await answer.json())["error"]
            async with post(f"{url}/do", json={"action": "pause_market", "ticker": T0}) as answer:
                assert answer.status == 200
            async with post(f"{url}/do", json={"action": "fly"}) as answer:
                assert answer.status == 400
            async with probe._session.get(f"{url}/truth") as answer:
                assert (await answer.json())["unexplained"] == []
            assert (await probe.get(f"/markets/{T0}"))["market"]["status"] == "inactive"

    run(test())


def test_the_same_seed_gives_the_same_life():
    lives = []

    async def test():
        async with still(
            faults=dict.fromkeys(HAZARDS, 100.0), seed=3, start_ns=1_795_000_000 * 10**9
        ) as server:
            async with Probe(server) as probe:
                for _ in range(20):
                    await probe.place(price="0.4700", count="1")
                    server.pass_time(30)
            truth = server.do("truth")
            lives.append((truth["fired"], [order["status"] for order in truth["orders"]]))

    run(test())
    run(test())
    assert lives[0] == lives[1] and sum(lives[0][0].values()) > 20


def test_hours_under_every_fault_keep_the_books():
    async def test():
        faults = dict.fromkeys(HAZARDS, 30.0) | {
            name: 0.05 for name in HOOKS if not name.endswith("_ms")
        }  # fmt: skip
        faults |= {"read_lag_ms": [0, 500], "pause_s": [1, 10]}
        catalog = synthetic_catalog(3, regime="calm", hours=2.0)
        async with still(catalog=catalog, faults=faults, seed=11) as server, Probe(server) as probe:
            _, group = await probe.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 1000})
            for _ in range(240):
                market = server.faults.chance.choice(server.venue.markets)
                bid, _, ask, _ = market.best()
                inside = 100 if ask - bid > 300 else 0
                for side, price in (("bid", bid + inside), ("ask", ask - inside)):
                    if 0 < price < 10_000:
                        await quiet(
                            probe, ticker=market.spec.ticker, side=side, price=f"{price / 10_000:.4f}",
                            count="5.5", exchange_index=market.spec.exchange_index,
                        )  # fmt: skip
                server.pass_time(30)
                assert server.venue.unexplained() == []
            assert group is None or "order_group_id" in group or "error" in group or "code" in group
            server.pass_time(600)
            truth = server.do("truth")
            assert truth["unexplained"] == [] and truth["open_orders"] == []
            assert len(truth["fills"]) > 20
            missing = {
                name for name in HAZARDS if name not in ("freeze", "disconnect", "channel_error", "overflow")
            }
            assert missing <= set(truth["fired"])

    run(test())


async def quiet(probe, **changes):
    """An order whose answer may be anything."""
    try:
        await probe.place(**changes)
    except (aiohttp.ClientError, ValueError):
        return


def test_frames_come_before_an_answer_that_is_late_and_upgrades_fail():
    async def test():
        async with still(faults={"answer_delay_ms": [200, 200]}) as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.subscribe("user_orders")
            placing = asyncio.create_task(probe.placed())
            message = await wire.socket.receive(timeout=5)
            assert json.loads(message.data)["type"] == "user_order" and not placing.done()
            await placing
            server.faults.change({"refuse_upgrade": ALWAYS})
            assert await probe.upgrade_status() == 502

    run(test())


def test_a_catalog_of_one_market_is_enough():
    async def test():
        async with still(catalog=small_catalog(1)) as server, Probe(server) as probe:
            assert len((await probe.get("/markets"))["markets"]) == 1

    run(test())
