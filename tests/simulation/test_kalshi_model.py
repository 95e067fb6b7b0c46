"""The model of Kalshi itself: its rules, its desk, and the event loop in virtual time."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pr3dict.domain import commands as c
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.http import Call
from simulation.kalshi_venue import WINDOW_NS, Group
from simulation.loop import VirtualLoop
from simulation.oracles import Violation
from simulation.simulator import Simulation
from simulation.swarm import draw
from simulation.world import SECOND, START_NS, World

ORDERS = "/portfolio/events/orders"
CONTRACT = 1_000_000


@pytest.fixture
def sim():
    calm = replace(draw(2), intensity={}, clock="none", cash=2_000)
    assert calm.adapter == "kalshi"
    sim = Simulation(calm)
    for market, flow in enumerate(sim.flows):
        sim.venue.feed([(START_NS, START_NS, 0, d.ACTIVE, 0, market, d.STATUS, 0, 0), *flow.step()])
    return sim


def create(sim, number, *, price="0.0500", count="5.00", market=0, group="", life_s=20):
    """A bid far from everybody, as the adapter sends it."""
    body = {
        "ticker": f"SIM-{market}", "side": "bid", "count": count, "price": price,
        "time_in_force": "good_till_canceled", "client_order_id": f"test-{number}", "post_only": True,
        "expiration_time": START_NS // SECOND + life_s, "exchange_index": sim.kalshi.shard_of[market],
    }  # fmt: skip
    if group:
        body["order_group_id"] = group
    sim.rules.client_id_of[number] = f"test-{number}"
    tif, size = d.POST_ONLY, int(float(count) * CONTRACT)
    place = c.Place(order_id=number, market=market, side=d.BID, price=500, size=size, tif=tif)
    sim.oracles.left[number] = place
    return call(sim, "POST", ORDERS, body)


def call(sim, method, path, body=None, **query):
    raw = None if body is None else msgspec.json.encode(body)
    status, said = sim.session.desk.handle(Call(method, path, query=query, body=raw))
    return status, msgspec.json.decode(said)


def test_a_group_fires_beyond_its_limit_within_fifteen_seconds():
    group = Group("g", 0, 10 * CONTRACT)
    group.add(0, 6 * CONTRACT)
    group.add(WINDOW_NS - 1, 4 * CONTRACT)
    assert not group.is_exceeded  # the limit itself is allowed
    group.add(WINDOW_NS, 6 * CONTRACT)
    assert not group.is_exceeded  # the first has left the window
    group.add(WINDOW_NS + 1, 1)
    assert group.is_exceeded


def test_a_fired_group_cancels_and_refuses_until_it_is_reset(sim):
    _, made = call(
        sim, "POST", "/portfolio/order_groups/create", {"contracts_limit": 10, "exchange_index": 0}
    )
    name = made["order_group_id"]
    assert create(sim, 1, group=name)[0] == 201
    sim.kalshi.trigger(sim.kalshi.groups[name])
    assert sim.kalshi.open_orders() == ()
    status, said = create(sim, 2, group=name)
    assert (status, said["error"]["details"]) == (400, "order group is triggered")
    with pytest.raises(Violation, match="nobody resumed"):
        call(sim, "PUT", f"/portfolio/order_groups/{name}/reset", {})
    sim.rules.resumes()
    assert call(sim, "PUT", f"/portfolio/order_groups/{name}/reset", {})[0] == 200
    assert create(sim, 3, group=name)[0] == 201


def test_an_id_is_taken_once_and_an_order_ends_with_its_second(sim):
    status, made = create(sim, 1, life_s=20)
    assert (status, made["remaining_count"]) == (201, "5.00")
    assert create(sim, 1)[1]["error"]["code"] == "order_already_exists"
    sim.world.now_ns = START_NS + 20 * SECOND - 1
    sim.kalshi.advance()
    assert len(sim.kalshi.open_orders()) == 1
    sim.world.now_ns += 1
    sim.kalshi.advance()
    assert sim.kalshi.open_orders() == ()
    name, shard = made["order_id"], sim.kalshi.shard_of[0]
    assert call(sim, "DELETE", f"{ORDERS}/{name}", exchange_index=shard)[0] == 404


def test_only_the_expiry_may_be_amended(sim):
    name = create(sim, 1)[1]["order_id"]
    body = {"price": "0.0500", "count": "5.00", "expiration_time": START_NS // SECOND + 40}
    assert call(sim, "POST", f"{ORDERS}/{name}/amend", body)[0] == 200
    assert sim.kalshi.open_orders()[0].expiry_ns == START_NS + 40 * SECOND
    for other in ({"price": "0.0600"}, {"count": "6.00"}):
        with pytest.raises(Violation, match="K2"):
            call(sim, "POST", f"{ORDERS}/{name}/amend", body | other)


def test_a_shard_without_money_refuses(sim):
    sim.kalshi.cash_of[sim.kalshi.shard_of[0]] = 400_000
    assert create(sim, 1, count="8.00")[0] == 201  # 8 contracts at 5 cents: all that there is
    assert create(sim, 2, count="1.00")[1]["error"]["code"] == "insufficient_balance"


def test_after_the_close_everything_is_refused_and_what_rests_goes(sim):
    name, shard = create(sim, 1, market=1)[1]["order_id"], sim.kalshi.shard_of[1]
    sim.kalshi.move_close(1, START_NS + 5 * SECOND)
    sim.world.run_until(START_NS + 5 * SECOND, lambda: None)
    assert len(sim.kalshi.open_orders()) == 1
    for answer in (create(sim, 2, market=1), call(sim, "DELETE", f"{ORDERS}/{name}", exchange_index=shard)):
        assert answer[0] == 400 and answer[1]["error"]["details"] == "MARKET_INACTIVE"
    sim.world.run_until(START_NS + 10 * SECOND, lambda: None)
    assert sim.kalshi.open_orders() == ()


def test_reads_never_run_back(sim):
    moments = []
    for _ in range(50):
        sim.world.now_ns += SECOND // 100
        moments.append(call(sim, "GET", "/exchange/user_data_timestamp")[1]["as_of_time"])
    assert moments == sorted(moments) and len(set(moments)) > 1


def test_the_loop_runs_in_virtual_time_and_sleeps_with_the_machine():
    world = World(1, {})
    awake_ns = START_NS + 3 * SECOND
    loop = VirtualLoop(world, lambda: awake_ns)
    woke = []

    async def work(span_ns):
        await loop.sleep(span_ns)
        async with lock:
            woke.append((span_ns, world.now_ns - START_NS))

    lock = asyncio.Lock()
    for span_ns in (2 * SECOND, SECOND):
        loop.run(lambda span_ns=span_ns: loop.create_task(work(span_ns)))
    world.run_until(START_NS + 10 * SECOND, lambda: None)
    assert woke == [(SECOND, 4 * SECOND), (2 * SECOND, 5 * SECOND)]  # both begin when the machine wakes
    assert loop.failure is None
