"""`doctor --venue polymarket`: a fit wallet passes, faults come with advice, a round trip leaves nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))
from polymarket_look import VenueClock, access_to, environment, in_thread, with_standin

from pr3dict.cli import doctor, doctor_venue
from pr3dict.cli.doctor_polymarket import examine_polymarket, examine_selected
from pr3dict.cli.doctor_polymarket_orders import round_trip
from pr3dict.cli.main import run
from pr3dict.domain.errors import UsageError
from pr3dict.runtime.polymarket_access import polymarket_access
from pr3dict.runtime.polymarket_markets import find_markets
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.polymarket.rest import PolymarketRest
from standins.polymarket import small_catalog
from standins.polymarket.errors import RefusedError

PUBLIC = ["host", "venue clock", "order version", "region", "wallet"]
NAMES = [
    *PUBLIC, "API key", "deployment", "standing", "balance", "allowances", "token approvals", "limits",
    "open orders", "stream",
]  # fmt: skip
TRIP = ["order", "order read", "order stream", "cancel"]
NOWHERE = DataDir(Path("/nonexistent/data"))
WALLET = "0x58CA52ebe0DadfdF531Cde7062e76746de4Db1eB"


async def examined(server, access=None, *, named: tuple[str, ...] = (), **options):
    """Findings by name."""
    clock = VenueClock(server)
    if named:
        http = access_to(server).http(clock)
        options["lives"] = (await find_markets(PolymarketRest(http), Selection(named))).lives
        await http.close()
    found = await examine_polymarket(access or access_to(server, key=True), NOWHERE, clock=clock, **options)
    return {finding.name: finding for finding in found}


def states(found) -> dict[str, str]:
    return {name: finding.state for name, finding in found.items() if finding.state != "ok"}


@with_standin(small_catalog(5))
async def test_a_fit_wallet_passes_and_nothing_is_changed(server):
    found = await examined(server, named=("plain-0", "field-2", "second-4"))
    assert list(found) == NAMES and states(found) == {}
    assert found["limits"].figures["tier"] == "standard" and "40 orders/s" in found["limits"].text
    assert found["balance"].figures == {"micros": 10_000_000_000}
    assert set(found["token approvals"].figures) == {"standard", "neg_risk", "v3"}
    assert found["region"].figures["orders"] == "open"
    assert not server.do("truth")["orders"]
    said = json.dumps([finding._asdict() for finding in found.values()])
    assert server.private_key.removeprefix("0x") not in said and server.address in said


@with_standin(small_catalog(2))
async def test_without_a_wallet_what_is_public_is_said(server):
    found = await examined(server, access_to(server))
    assert list(found) == PUBLIC and states(found) == {"wallet": "fail"}
    assert found["wallet"].text == "none is set" and "docs/venues/polymarket.md" in found["wallet"].advice


@with_standin(small_catalog(2), faults={"geoblocked": 1.0})
async def test_a_blocked_region_is_reported_and_never_worked_around(server):
    found = await examined(server)
    assert found["region"].state == "fail" and found["region"].figures["orders"] == "blocked"
    assert "takes no orders from here" in found["region"].text
    assert "does not work around it" in found["region"].advice


@with_standin(small_catalog(2))
async def test_a_closed_web_site_is_a_blocked_region_too(server):
    server.rewrites["geoblock"] = lambda body: body | {"blocked": True, "country": "US", "region": "NY"}
    found = await examined(server)
    assert found["region"].state == "fail" and "closed here (US NY)" in found["region"].text


@with_standin(small_catalog(3))
async def test_what_is_wrong_with_the_account_is_said(server):
    server.do("account_flags", closed_only=True)
    server.do("approve", approved=False)
    found = await examined(server, named=("plain-0", "field-2"))
    failed = dict.fromkeys(("standing", "allowances", "token approvals"), "fail")
    assert {k: v for k, v in states(found).items() if k != "balance"} == failed
    assert "may only close positions" in found["standing"].text
    assert "standard markets, neg-risk markets" in found["allowances"].text


@with_standin(small_catalog(3))
async def test_an_approval_that_no_market_needs_is_a_warning(server):
    del server.account.spenders[next(k for k in server.account.spenders if k.lower().startswith("0xe2222d"))]
    plain = await examined(server, named=("plain-0",))
    assert plain["allowances"].state == "warn" and "neg-risk markets" in plain["allowances"].text
    assert (await examined(server, named=("field-2",)))["allowances"].state == "fail"


def deposit_wallet(server, *, deployed: bool):
    server.open_account(server.address, wallet=WALLET, kind=3, deployed=deployed)
    stem = "PR3DICT_POLYMARKET_LOCAL_"
    more = {f"{stem}WALLET_KIND": "deposit", f"{stem}FUNDER": WALLET}
    return polymarket_access("local", url=server.url, environment=environment(server, **more))


@pytest.mark.parametrize("deployed", [True, False])
def test_a_deposit_wallet_must_be_deployed(deployed):
    @with_standin(small_catalog(1))
    async def go(server):
        found = await examined(server, deposit_wallet(server, deployed=deployed), orders=deployed)
        assert found["wallet"].figures["kind"] == "deposit" and found["wallet"].figures["maker"] == WALLET
        if deployed:
            assert states(found) == {} and list(found)[-4:] == TRIP
        else:
            assert found["deployment"].state == "fail" and "polymarket.com" in found["deployment"].advice

    go()


@with_standin(small_catalog(1), faults={"clock_skew_ms": 30_000})
async def test_a_wrong_clock_is_found(server):
    found = await examined(server)
    assert found["venue clock"].state == "fail"
    assert found["venue clock"].figures["skew_ns"] == pytest.approx(-30e9, abs=1.5e9)


@with_standin(small_catalog(1))
async def test_an_eoa_at_prod_is_a_doubt_and_a_foreign_version_a_fault(server):
    server.rewrites["version"] = lambda _: {"version": 3}
    prod = dataclasses.replace(access_to(server, key=True), env="prod")
    found = await examined(server, prod)
    assert states(found) == {"order version": "fail", "wallet": "warn"}
    assert "deposit wallet" in found["wallet"].advice


@with_standin(small_catalog(1))
async def test_a_key_that_is_not_given_ends_the_examination(server):
    def refuse(_):
        raise RefusedError(401, {"error": "Invalid L1 Request headers"})

    server.rewrites["create_key"] = server.rewrites["derive_key"] = refuse
    found = await examined(server)
    assert list(found)[-1] == "API key" and found["API key"].state == "fail" and found["API key"].advice


@with_standin(small_catalog(1), faults={"read_error": 1.0})
async def test_what_is_not_answered_is_said(server):
    found = await examined(server)
    assert found["API key"].state == "fail" and found["API key"].advice


@with_standin(small_catalog(1), faults={"refuse_upgrade": 1.0})
async def test_a_stream_that_does_not_stand_is_found(server):
    doctor_venue.STREAM_S, before = 0.5, doctor_venue.STREAM_S
    try:
        found = await examined(server)
    finally:
        doctor_venue.STREAM_S = before
    assert found["stream"].state == "fail" and "did not come up" in found["stream"].text


# --- the round trip -----------------------------------------------------------------------------------------


@with_standin(small_catalog(3))
async def test_the_round_trip_is_one_deep_post_only_order_and_leaves_nothing(server):
    bodies = []

    def watch(request, body: bytes) -> None:
        if (request.method, request.path) == ("POST", "/order") and len(body) > 2:
            bodies.append(json.loads(body))

    server.watchers.append(watch)
    found = await examined(server, orders=True)
    assert list(found) == [*NAMES, *TRIP] and states(found) == {}
    (order,) = server.do("truth")["orders"]
    assert order["side"] == "BUY" and order["status"].startswith("CANCELED"), order
    (sent,) = bodies
    assert sent["postOnly"] and sent["orderType"] == "GTD" and int(sent["order"]["takerAmount"]) == 5_000_000
    assert not server.venue.open


@pytest.mark.parametrize(
    "faults",
    [
        {"lost_answer": 0.5},
        {"error_after_apply": 0.5},
        {"drop_user": 1.0},
        {"read_error": 0.4},
        {"error_before_apply": 0.3, "lost_request": 0.3},
    ],
    ids="-".join,
)
def test_whatever_fails_nothing_is_left(faults, monkeypatch):
    monkeypatch.setattr(doctor_venue, "WAIT_S", 0.5)
    monkeypatch.setattr(doctor_venue, "LOOK_NS", 20_000_000)
    for seed in range(3):

        @with_standin(small_catalog(1), seed=seed)
        async def go(server):
            clock = VenueClock(server)
            access = await access_to(server, key=True).with_api_key(clock)
            http = access.http(clock, answer_s=1.0)
            server.faults.change(faults)
            try:
                findings = await round_trip(access, PolymarketRest(http), clock)
            finally:
                await http.close()
            server.faults.change(dict.fromkeys(faults, 0))
            failed = [finding for finding in findings if finding.state == "fail"]
            said = any(finding.name == "clean up" for finding in findings)
            may_stay = said and "lost_request" in faults  # every cancel may have been lost
            assert may_stay or not server.venue.open
            assert findings and all(finding.advice for finding in failed)
            assert failed or [finding.name for finding in findings] == TRIP

        go()


@with_standin(small_catalog(1))
async def test_at_prod_orders_need_a_confirmation(server):
    prod = dataclasses.replace(access_to(server, key=True), env="prod")
    with pytest.raises(UsageError, match="--confirm live"):
        await examine_polymarket(prod, NOWHERE, orders=True)
    assert not server.requests


@with_standin(small_catalog(3))
async def test_named_markets_are_part_of_it(server):
    access = access_to(server, key=True)
    found = await examine_selected(access, NOWHERE, Selection(("field-2", "no")), orders=False)
    assert found[-1].name == "markets" and found[-1].state == "ok"
    assert "no Polymarket lists no open market of this name" in found[-1].text
    none = await examine_selected(access, NOWHERE, Selection(("no",)), orders=False)
    assert none[-1].state == "fail"


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "COMMITS", 5)
    monkeypatch.setattr(doctor.time, "sleep", lambda _: None)
    for name in list(os.environ):
        if name.startswith("PR3DICT_POLYMARKET"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--orders"], "add --confirm live"),
        (["--env", "prod", "--orders", "--confirm", "yes"], "the word is live"),
        (["--env", "demo"], "Polymarket has no environment 'demo'"),
        (["--env", "local", "--url", "http://10.1.1.1:80"], "not encrypted"),
    ],
)
def test_the_command_refuses(quick, tmp_path, capsys, words, text):
    assert run(["doctor", "--data-dir", str(tmp_path / "data"), "--venue", "polymarket", *words]) == 2
    assert text in capsys.readouterr().err


def test_the_command_examines_the_venue(quick, tmp_path, capsys, monkeypatch):
    with in_thread(small_catalog(2)) as server:
        words = ["doctor", "--data-dir", str(tmp_path / "data"), "--venue", "polymarket", "--env", "local"]
        words += ["--url", server.url]
        assert run([*words, "--json"]) == 1, "no wallet"
        checks = json.loads(capsys.readouterr().out)["checks"]
        assert [check["name"] for check in checks][-len(PUBLIC) :] == PUBLIC
        assert "set PR3DICT_POLYMARKET_LOCAL_WALLET_KEY_FILE" in checks[-1]["text"]
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        assert run([*words, "--orders", "--market", "plain-0", "--json"]) == 0
        checks = [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]]
        assert checks[-len(NAMES + TRIP) - 1 :] == [*NAMES, *TRIP, "markets"]
        assert run(words) == 0
        shown = capsys.readouterr().out
        assert "eoa 0x" in shown and server.private_key.removeprefix("0x") not in shown
