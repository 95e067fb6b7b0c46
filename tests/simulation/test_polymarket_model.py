"""The model of Polymarket itself: its rules, its desk, and what its chain shows."""

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.inventory import Stage
from pr3dict.venues.polymarket.markets import listed
from pr3dict.venues.polymarket.models import GammaMarket
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.requests import Requests, Terms
from simulation.oracles import Violation
from simulation.polymarket_texts import OWNER, Wallet, condition_of, tokens_of
from simulation.simulator import Simulation
from simulation.swarm import draw
from simulation.world import SECOND, START_NS

CONTRACT = 1_000_000
SEED = next(seed for seed in range(100) if draw(seed).adapter == "polymarket")


@pytest.fixture
def sim():
    calm = replace(draw(SEED), intensity={}, clock="none", cash=2_000, exclusive=False)
    sim = Simulation(calm)
    sim.session.prefix = "tests"
    for market, flow in enumerate(sim.flows):
        sim.venue.feed([(START_NS, START_NS, 0, d.ACTIVE, 0, market, d.STATUS, 0, 0), *flow.step()])
    return sim


def body_of(sim, number, *, side=d.BID, price=500, life_s=200):
    """An order as the adapter sends it, and its digest."""
    place = c.Place(
        order_id=number, market=0, side=side, price=price, size=5 * CONTRACT, tif=d.POST_ONLY,
        expiry_ns=sim.world.now_ns + life_s * SECOND,
    )  # fmt: skip
    sim.rules.leaves(place)
    sim.oracles.left[number] = place
    yes, no = tokens_of(0)
    terms = Terms(condition_of(0), yes, no, 100, False)
    built = Requests(Wallet(), OWNER, lambda market: terms, "tests").create(place, sim.world.now_ns)
    return built.body(), built.digest


def call(sim, method, path, body=None, **query):
    raw = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
    status, said = sim.session.desk.handle(Call(method, path, query=query, body=raw, auth="l2"))
    return status, msgspec.json.decode(said)


def fill(sim, number):
    """Somebody takes an order of ours whole."""
    order = sim.venue.exchange.truth.orders[number]
    sim.publish(order.market, sim.take_own(order.listed()))


def run(sim, seconds):
    sim.world.run_until(sim.world.now_ns + seconds * SECOND, lambda: None)


def test_an_order_is_named_by_its_digest_and_taken_once(sim):
    body, digest = body_of(sim, 1)
    status, said = call(sim, "POST", "/order", body)
    assert (status, said["orderID"], said["status"]) == (200, digest, "live")
    assert call(sim, "POST", "/order", body) == (400, {"error": f"order {digest} is invalid. Duplicated."})
    assert call(sim, "GET", f"/data/order/{digest}")[1]["status"].endswith("LIVE")
    assert call(sim, "DELETE", "/order", {"orderID": digest})[1] == {"canceled": [digest], "not_canceled": {}}
    again = call(sim, "DELETE", "/order", {"orderID": digest})[1]
    assert "already canceled or matched" in again["not_canceled"][digest]


def test_an_order_ends_a_minute_before_the_time_that_it_is_given(sim):
    call(sim, "POST", "/order", body_of(sim, 1, life_s=150)[0])
    call(sim, "POST", "/v1/heartbeats", {"heartbeat_id": ""})
    sim.venue.beat_ns = START_NS + 1_000 * SECOND  # the heart beats on
    run(sim, 149)
    assert len(sim.venue.open_orders()) == 1
    run(sim, 1)
    sim.venue.advance()
    assert sim.venue.open_orders() == ()
    late, _ = body_of(sim, 2, life_s=150)
    run(sim, 40)
    assert call(sim, "POST", "/order", late) == (400, {"error": "invalid expiration value"})


def test_without_heartbeats_everything_is_cancelled(sim):
    assert call(sim, "POST", "/v1/heartbeats", {"heartbeat_id": ""})[1] == {"heartbeat_id": "beat-1"}
    status, said = call(sim, "POST", "/v1/heartbeats", {"heartbeat_id": ""})
    assert (status, said["heartbeat_id"]) == (400, "beat-1")
    call(sim, "POST", "/order", body_of(sim, 1)[0])
    run(sim, 10)
    assert len(sim.venue.open_orders()) == 1
    run(sim, 6)
    assert sim.venue.open_orders() == ()


def test_a_trade_reaches_the_chain_between_its_match_and_its_end(sim):
    call(sim, "POST", "/order", body_of(sim, 1, side=d.ASK, price=9_500)[0])
    no = tokens_of(0)[1]
    before = int(call(sim, "GET", "/balance-allowance", asset_type="COLLATERAL")[1]["balance"])
    fill(sim, 1)
    (trade,) = call(sim, "GET", "/data/trades")[1]["data"] or [None]
    assert trade is None or trade["status"] == "MATCHED"
    seen = []
    for _ in range(80):
        (trade,) = call(sim, "GET", "/data/trades")[1]["data"] or [{"status": "MATCHED"}]
        held = int(call(sim, "GET", "/balance-allowance", token_id=no)[1]["balance"])
        cash = int(call(sim, "GET", "/balance-allowance", asset_type="COLLATERAL")[1]["balance"])
        assert before - cash == held // 20  # five NO at five cents
        seen.append((trade["status"], held))
        sim.world.run_until(sim.world.now_ns + SECOND // 20, lambda: None)
    assert seen[0] == ("MATCHED", 0)
    assert seen[-1] == ("CONFIRMED", 5 * CONTRACT)
    ours = [row for row in trade["maker_orders"] if row["owner"] == OWNER]
    assert [(row["asset_id"], row["side"], row["price"]) for row in ours] == [(no, "BUY", "0.05")]


def test_pairs_become_cash_once_and_only_where_they_are(sim):
    call(sim, "POST", "/order", body_of(sim, 1, price=500)[0])
    call(sim, "POST", "/order", body_of(sim, 2, side=d.ASK, price=9_500)[0])
    fill(sim, 1)
    fill(sim, 2)
    run(sim, 5)
    request = OperationRequest("merge", condition_of(0), *tokens_of(0), False, 5 * CONTRACT, 5 * CONTRACT)
    sim.rules._operates |= {"one": 1, "two": 2}
    sim.venue.chain.begin("one", request)
    with pytest.raises(Violation, match="under way"):
        sim.venue.chain.begin("two", request)
    cash = sim.venue.exchange.cash_micros
    run(sim, 20)
    assert sim.venue.exchange.cash_micros == cash + 5 * CONTRACT
    assert sim.venue.exchange.positions() == {} and sim.venue.exchange.unexplained == ()
    sim.venue.chain.begin("two", request)
    run(sim, 20)
    assert sim.venue.chain.operations["two"].stage is Stage.FAILED
    with pytest.raises(Violation, match="not confirmed"):
        sim.rules.said(e.Merged(market=0, pairs=5 * CONTRACT, exch_ns=0, merge_id="two"))


def test_winnings_stay_tokens_until_somebody_redeems_them(sim):
    call(sim, "POST", "/order", body_of(sim, 1, price=500)[0])
    fill(sim, 1)
    run(sim, 5)
    before = sim.venue.dollars()
    sim.settle(0, "one", SECOND)
    run(sim, 3)
    assert call(sim, "GET", "/markets/keyset", condition_ids=(condition_of(0),))[1] == {"markets": []}
    (body,) = call(sim, "GET", "/markets/keyset", condition_ids=(condition_of(0),), closed=True)[1]["markets"]
    assert (body["umaResolutionStatus"], body["outcomePrices"]) == ("resolved", '["1","0"]')
    sim.venue.unredeemed.add(0)
    assert (sim.venue.dollars(), sim.venue.balance(0, False)) == (before, 5 * CONTRACT)
    sim.venue.unredeemed.clear()
    assert (sim.venue.dollars(), sim.venue.balance(0, False)) == (before + 5 * CONTRACT, 0)


def test_the_markets_are_listed_as_the_adapter_reads_them(sim):
    read = reader_of(GammaMarket)
    for market, listing in enumerate(sim.listings):
        found = listed(read(msgspec.json.encode(sim.session.desk.market(market))), row=market)
        assert found == listing


def test_an_order_that_means_something_else_is_noticed(sim):
    body, _ = body_of(sim, 1)
    wrong = msgspec.json.decode(body)
    wrong["order"]["tokenId"] = tokens_of(0)[1]
    with pytest.raises(Violation, match="P3"):
        sim.rules.call_leaves(Call("POST", "/order", body=msgspec.json.encode(wrong)), "place")
    body, _ = body_of(sim, 2)
    sim.rules.call_leaves(Call("POST", "/order", body=body), "place")
    with pytest.raises(Violation, match="twice"):
        sim.rules.call_leaves(Call("POST", "/order", body=body), "place")
