"""`doctor --venue kalshi`: a fit account passes, faults come with advice, a round trip leaves nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))
from kalshi_look import VenueClock, access_to, environment, with_standin

from pr3dict.cli import doctor
from pr3dict.cli.doctor_kalshi import SKEW_FAIL_NS, examine_kalshi, examine_selected
from pr3dict.cli.main import run
from pr3dict.domain.errors import UsageError
from pr3dict.runtime.kalshi_access import Selection, find_markets, kalshi_access
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.kalshi.rest import KalshiRest
from standins.kalshi import new_key, small_catalog

NAMES = [
    "host", "venue clock", "exchange", "maintenance", "key", "scopes", "subaccount", "region", "limits",
    "costs", "balance", "open orders", "order groups", "stream",
]  # fmt: skip
TRIP = [
    "order group", "order", "order read", "order stream", "amendment", "cancel", "group deleted",
]  # fmt: skip
NOWHERE = DataDir(Path("/nonexistent/data"))


async def examined(server, **options):
    """Findings by name."""
    found = await examine_kalshi(access_to(server), NOWHERE, **options)
    return {finding.name: finding for finding in found}


def states(found) -> dict[str, str]:
    return {name: finding.state for name, finding in found.items() if finding.state != "ok"}


@with_standin(small_catalog(4), tier="basic")
async def test_a_fit_account_passes_quickly_and_cheaply(server):
    server.do("region", expires_s=int(time.time()) + 90 * 86_400)
    await examined(server)
    server.requests.clear()
    began_s = time.perf_counter()
    found = await examined(server)
    assert time.perf_counter() - began_s < 2.0
    assert list(found) == NAMES and states(found) == {}
    assert found["limits"].figures == {"tier": "basic", "read_per_s": 200, "write_per_s": 100}
    assert found["balance"].figures["micros"] == {str(shard): 10_000_000_000 for shard in range(4)}
    private = ("api_keys", "account_limits", "balance", "orders", "groups")
    assert sum(server.requests[name] for name in private) == 5 and sum(server.requests.values()) < 14
    assert server.do("truth")["throttled"] in (0, {}) and not server.do("truth")["orders"]
    key = server.key.id
    assert all(key not in json.dumps(finding._asdict()) for finding in found.values())


@with_standin(small_catalog(4), tier="basic")
async def test_what_is_wrong_with_the_account_is_said(server):
    clock = VenueClock(server)
    now_s = server.now_ns() // 10**9
    server.do("region", expires_s=now_s - 5)
    server.do("pause_trading", seconds=600.0)
    server.do("schedule_maintenance", in_s=3600.0, seconds=7200.0)
    server.do("deposit", dollars=-10_000.0, shard=2)
    access = access_to(server)
    http = access.http(clock)
    lives = (
        await find_markets(KalshiRest(http), Selection(), now_ns=clock.now_ns(), direct_member=True)
    ).lives
    await http.close()
    found = await examined(server, lives=lives)
    assert states(found) == dict.fromkeys(("exchange", "maintenance", "region", "balance"), "warn")
    assert found["exchange"].figures["closed"] == [0, 1, 2, 3]
    assert "expired" in found["region"].text and found["region"].advice
    assert found["balance"].figures["empty"] == [2]
    assert "Thursday 03:00-05:00" in found["maintenance"].text
    server.do("region", expires_s=now_s + 86_400)
    assert (await examined(server))["region"].state == "warn"


@with_standin(small_catalog(2), tier="basic")
async def test_what_is_left_over_is_said(server):
    ticker = server.venue.markets[0].spec.ticker
    server.do("place_by_hand", ticker=ticker, side="bid", price="0.0200", contracts="3")
    server.desk.create_group({"contracts_limit": 100, "exchange_index": 0})
    found = await examined(server)
    assert found["open orders"].state == "warn" and found["open orders"].figures == {"count": 1}
    assert found["order groups"].state == "warn" and found["order groups"].figures == {"count": 1}


def key_with(server, **terms):
    """Another key of the stand-in."""
    import dataclasses

    key = dataclasses.replace(new_key(), **terms)
    server.doorkeeper.keys[key.id] = key
    variables = environment(server) | {
        "PR3DICT_KALSHI_LOCAL_KEY_ID": key.id,
        "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": key.pem,
    }
    return kalshi_access("local", url=server.url, environment=variables)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"scopes": ("read",)}, {"scopes": "fail"}),
        ({"scopes": ("read", "write::trade")}, {}),
        ({"subaccount": 3}, {"subaccount": "warn"}),
    ],
)
def test_what_a_key_may_do_is_said(terms, expected):
    @with_standin(small_catalog(1), tier="basic")
    async def go(server):
        access = key_with(server, **terms)
        account = {"subaccount": terms["subaccount"]} if "subaccount" in terms else {}
        found = {f.name: f for f in await examine_kalshi(access, NOWHERE, **account)}
        of_key = {name: found[name].state for name in ("key", "scopes", "subaccount")}
        assert {n: s for n, s in of_key.items() if s != "ok"} == expected

    go()


def test_a_key_that_is_refused_ends_the_checks():
    @with_standin(small_catalog(1), tier="basic")
    async def go(server):
        stranger = new_key()
        variables = environment(server) | {"PR3DICT_KALSHI_LOCAL_KEY_ID": stranger.id}
        access = kalshi_access("local", url=server.url, environment=variables)
        found = {f.name: f for f in await examine_kalshi(access, NOWHERE)}
        assert list(found)[-1] == "key" and found["key"].state == "fail"
        assert "a key of local" in found["key"].advice
        nobody = {f.name: f for f in await examine_kalshi(access_to(server, key=False), NOWHERE)}
        assert nobody["key"].state == "fail" and nobody["host"].state == "ok"

    go()


@pytest.mark.parametrize(("seconds", "state"), [(-60, "fail"), (60, "fail"), (3.5, "warn"), (0, "ok")])
def test_a_clock_that_is_wrong_is_found(seconds, state):
    @with_standin(small_catalog(1), tier="basic")
    async def go(server):
        class Wrong(VenueClock):
            def now_ns(self) -> int:
                return super().now_ns() + int(seconds * 1e9)

        found = await examined(server, clock=Wrong(server))
        assert found["venue clock"].state == state
        if seconds:
            told = found["venue clock"].figures
            assert abs(told["skew_ns"] - seconds * 1e9) <= told["error_ns"] + 10**9
            assert (abs(told["skew_ns"]) > SKEW_FAIL_NS) == (abs(seconds) > 5)

    go()


@with_standin(small_catalog(1), faults={"refuse_upgrade": 1.0})
async def test_a_stream_that_does_not_stand_is_found(server):
    from pr3dict.cli import doctor_venue

    doctor_venue.STREAM_S, before = 0.5, doctor_venue.STREAM_S
    try:
        found = await examined(server)
    finally:
        doctor_venue.STREAM_S = before
    assert found["stream"].state == "fail" and "did not come up" in found["stream"].text


# --- the round trip of an order ---------------------------------------------------------------------------


@with_standin(small_catalog(4), tier="basic", faults={"read_lag_ms": [300, 500]})
async def test_an_order_makes_its_round_trip_and_leaves_nothing(server):
    found = await examined(server, orders=True)
    assert list(found) == NAMES + TRIP
    assert {name: found[name].state for name in TRIP} == dict.fromkeys(TRIP, "ok")
    truth = server.do("truth")
    (order,) = truth["orders"]
    assert (order["status"], order["initial_count_fp"], order["yes_price_dollars"]) == (
        "canceled",
        "0.01",
        "0.0100",
    )
    assert truth["open_orders"] == [] and truth["groups"] in ([], {}) and truth["fills"] == []


@pytest.mark.parametrize(
    "faults",
    [
        {"error_after_apply": 0.4},
        {"lost_answer": 0.4},
        {"too_many_requests": 0.4},
        {"malformed_answer": 0.3},
        {"drop_private": 1.0},
        {"read_error": 0.4},
        {"error_before_apply": 0.3, "lost_request": 0.3},
    ],
    ids="-".join,
)
def test_whatever_fails_nothing_is_left(faults, monkeypatch):
    from pr3dict.cli import doctor_orders, doctor_venue

    monkeypatch.setattr(doctor_venue, "WAIT_S", 0.5)
    monkeypatch.setattr(doctor_venue, "LOOK_NS", 20_000_000)

    for seed in range(3):

        @with_standin(small_catalog(1), faults=faults, seed=seed)
        async def go(server):
            access, clock = access_to(server), VenueClock(server)
            http = access.http(clock, answer_s=1.0)
            try:
                findings = await doctor_orders.round_trip(access, KalshiRest(http), clock)
            finally:
                await http.close()
            server.faults.change(dict.fromkeys(faults, 0))
            truth = server.do("truth")
            left = [f for f in findings if f.name == "clean up"]
            assert findings
            if not left:
                assert truth["open_orders"] == [] and not truth["groups"]
            failed = [f for f in findings if f.state == "fail"]
            assert failed or [f.name for f in findings] == TRIP
            assert all(f.advice for f in failed)

        go()


@with_standin(small_catalog(1))
async def test_at_prod_orders_need_a_confirmation(server):
    import dataclasses

    prod = dataclasses.replace(access_to(server), env="prod")
    with pytest.raises(UsageError, match="--confirm live"):
        await examine_kalshi(prod, NOWHERE, orders=True)
    assert not server.requests


@with_standin(small_catalog(3))
async def test_named_markets_are_part_of_it(server):
    names = [market.spec.ticker for market in server.venue.markets]
    found = await examine_selected(access_to(server), NOWHERE, Selection((names[2], "NO")), orders=False)
    assert found[-1].name == "markets" and found[-1].state == "ok" and "NO Kalshi knows no" in found[-1].text
    assert next(f for f in found if f.name == "exchange").figures == {"shards": [2]}
    none = await examine_selected(access_to(server), NOWHERE, Selection(("NO",)), orders=False)
    assert none[-1].state == "fail"


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "COMMITS", 5)
    monkeypatch.setattr(doctor.time, "sleep", lambda _: None)
    for name in list(os.environ):
        if name.startswith("PR3DICT_KALSHI"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")


def test_the_command_without_a_key_says_how_to_set_one(quick, tmp_path, capsys):
    words = ["doctor", "--data-dir", str(tmp_path / "data"), "--venue", "kalshi", "--json"]
    assert run(words) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["key"]["state"] == "fail" and "PR3DICT_KALSHI_DEMO_KEY_ID" in checks["key"]["text"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--venue", "nasdaq"], "'nasdaq' can't be reached"),
        (["--orders"], "need --venue"),
        (["--venue", "kalshi", "--env", "prod", "--orders"], "add --confirm live"),
        (["--venue", "kalshi", "--env", "prod", "--orders", "--confirm", "yes"], "the word is live"),
        (["--venue", "kalshi", "--env", "moon"], "no environment 'moon'"),
        (["--venue", "kalshi", "--env", "local", "--url", "http://10.1.1.1:80"], "not encrypted"),
    ],
)
def test_the_command_refuses(quick, tmp_path, capsys, words, text):
    assert run(["doctor", "--data-dir", str(tmp_path / "data"), *words]) == 2
    assert text in capsys.readouterr().err


def test_the_command_examines_the_venue(quick, tmp_path, capsys, monkeypatch):
    from kalshi_look import in_thread

    with in_thread(small_catalog(2)) as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        words = ["--venue", "kalshi", "--env", "local", "--url", server.url, "--orders", "--json"]
        assert run(["doctor", "--data-dir", str(tmp_path / "data"), *words]) == 0
    checks = [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]]
    assert checks[-len(NAMES + TRIP) :] == NAMES + TRIP
