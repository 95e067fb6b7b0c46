"""`pr3dict live`: what it refuses, and real processes on the stand-in that are asked, stopped and killed."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
import live_process
import polymarket_exchange
from kalshi_exchange import Exchange, quiet_catalog
from kalshi_process import Machine

from pr3dict.cli.doctor import Finding
from pr3dict.cli.live import check_findings, live_command, of_each
from pr3dict.cli.screen import BADGES, badge
from pr3dict.domain.errors import ConfigError, UsageError, WorkError

BOTH = ["kalshi", "polymarket"]


# --- what it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"env": ["prod"]}, "prod trades with real money: add --confirm live, or use --env demo"),
        ({"env": ["prod"], "confirm": "yes"}, "--confirm: 'yes' confirms nothing; write --confirm live"),
        ({"venue": ["polymarket"]}, "prod trades with real money: add --confirm live, or use --env local"),
        ({"venue": ["betfair"]}, "--venue: 'betfair' can't be reached; use kalshi or polymarket"),
        ({"venue": None}, "--venue is missing; give --venue kalshi or polymarket"),
        ({"venue": ["kalshi", "kalshi"]}, "--venue: kalshi is named twice"),
        ({"env": ["demo", "local"]}, "--env: kalshi has two of them, 'demo' and 'local'"),
        ({"env": ["polymarket=prod"]}, "'polymarket=prod' is for a venue that is not traded; add --venue"),
        ({"venue": BOTH, "env": ["local"]}, "--env: 'local' is for which venue\\? write kalshi=local"),
        ({"venue": BOTH, "market": ["X"]}, "--market: 'X' is for which venue\\? write kalshi=X"),
        ({"venue": BOTH, "env": ["kalshi=demo"]}, "prod trades with real money"),
        ({"seconds": 0.0}, "--seconds: 0.0 is not above 0"),
        ({"market": [" "]}, "--market: a name is empty"),
    ],
)
def test_a_command_line_that_can_not_be_meant_is_refused(given, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        live_command(**{"venue": ["kalshi"], "data_dir": tmp_path} | given)


def test_without_a_key_it_says_where_to_put_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", str(tmp_path))
    for name in ("KEY_ID", "KEY_ID_FILE", "PRIVATE_KEY", "PRIVATE_KEY_FILE"):
        monkeypatch.delenv(f"PR3DICT_KALSHI_PROD_{name}", raising=False)
    with pytest.raises(ConfigError, match="no key for Kalshi's prod: set PR3DICT_KALSHI_PROD_KEY_ID"):
        live_command(venue=["kalshi"], env=["prod"], confirm="live", data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_settings_are_checked_before_anything_is_done(tmp_path):
    wrong = ("kalshi.sweep_loss=0.5", "kalshi.subaccount=64", "kalshi.batch_size=3")
    for assignment in (*wrong, "polymarket.batch_from=1", "polymarket.merge_from=3"):
        with pytest.raises(ConfigError, match=f"--set {assignment.partition('=')[0]}: "):
            live_command(venue=["kalshi"], assignments=[assignment], data_dir=tmp_path / "data")


def test_words_of_two_venues_are_told_apart():
    """A name with another mark in it is a name; with one venue no venue has to be said."""
    assert of_each("--market", ["A", "B=C"], ["kalshi"]) == {"kalshi": ["A", "B=C"]}
    assert of_each("--market", ["kalshi=A", "kalshi=B=C"], BOTH) == {
        "kalshi": ["A", "B=C"], "polymarket": None
    }  # fmt: skip


def test_what_the_doctor_finds_broken_forbids_it():
    check_findings([Finding("clock", "ok", "right"), Finding("region", "warn", "ends in 3 days")])
    with pytest.raises(WorkError, match=r"the doctor forbids trading: clock: 9 s off \(set the clock\)$"):
        check_findings(
            [Finding("region", "ok", "fine"), Finding("clock", "fail", "9 s off", "set the clock")]
        )


def test_real_money_looks_like_nothing_else():
    shown = {env: badge({"mode": "live", "env": env}) for env in (*BADGES, "elsewhere")}
    assert "REAL MONEY" in shown["prod"] and "white on red" in shown["prod"]
    assert "white on red" in shown["elsewhere"]
    assert len(set(shown.values())) == 4 and not any("red" in shown[env] for env in ("demo", "local"))
    assert badge({"mode": "paper"}) == "[bold]PR3DICT paper[/bold]"


# --- real processes -------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    with Exchange(quiet_catalog(1)) as exchange:
        found = Machine(exchange, tmp_path)
        try:
            yield found
        finally:
            found.close()


def test_a_process_is_asked_told_and_stopped(machine):
    """status, halt, resume, flatten and explain reach it; SIGTERM leaves nothing; the journal is whole."""
    exchange = machine.exchange
    ticker = exchange.catalog.markets[0].ticker
    process = machine.start()
    machine.quoting()
    bid = max(o["yes_price_dollars"] for o in exchange.truth()["open_orders"] if o["book_side"] == "bid")
    exchange.do("take", ticker=ticker, taker="ask", price=bid, contracts="1000")
    machine.until(lambda: exchange.truth()["positions"])
    machine.quoting()
    status = machine.until(
        lambda: [s for s in [machine.status()] if s["fill_count"] and s["source"] == "process"]
    )[0]
    assert (status["mode"], status["env"], status["running"]) == ("live", "local", True)
    assert status["adapters"]["kalshi"]["malformed"] == 0
    text = machine.run("status")
    assert "LIVE LOCAL STAND-IN" in text and "malformed 0" in text
    machine.run("halt", "--reason", "a test")
    machine.until(lambda: not exchange.truth()["open_orders"])
    machine.run("flatten", "--yes")
    machine.until(lambda: not exchange.truth()["positions"])
    machine.run("resume", "--reason", "a test")
    machine.quoting()
    assert ticker in machine.run("explain", ticker)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    truth = exchange.truth()
    assert not truth["open_orders"] and not truth["groups"] and truth["unexplained"] == []
    assert "0 open orders" in out and exchange.server.key.pem.splitlines()[1] not in out + err
    assert "agrees" in machine.run("journal", "verify") and "agree" in machine.run("journal", "replay")


def test_a_killed_process_leaves_nothing_that_its_successor_can_not_explain(machine):
    exchange = machine.exchange
    process = machine.start()
    left = machine.quoting()
    process.kill()
    process.wait()
    assert left <= {order["order_id"] for order in exchange.truth()["open_orders"]}
    ticker = exchange.catalog.markets[0].ticker
    bid = max(o["yes_price_dollars"] for o in exchange.truth()["open_orders"] if o["book_side"] == "bid")
    exchange.do("take", ticker=ticker, taker="ask", price=bid, contracts="1000")
    held = exchange.truth()["positions"]
    process = machine.start("--json")
    machine.quoting(but=left)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    told = json.loads(out)
    truth = exchange.truth()
    assert held and truth["positions"] == held
    assert {m["ticker"]: float(m["net_position"]) for m in told["status"]["markets"]} == held
    assert not truth["open_orders"] and not truth["groups"]
    alerts = {alert["name"] for alert in told["status"]["alerts"]}
    assert not alerts - {"clock_jumped"} and not told["status"]["breakers"]  # a busy machine may stand still
    assert told["session"]["journal_verified"] and told["session"]["latch"] is None
    names = [order["client_order_id"] for order in truth["orders"]]
    assert len(set(names)) == len(names) and len({name.split("-")[0] for name in names}) == 2


# --- Polymarket, and both ---------------------------------------------------------------------------------


@pytest.fixture
def wallet(tmp_path):
    with polymarket_exchange.Exchange(polymarket_exchange.quiet_catalog(1)) as exchange:
        found = live_process.Machine({"polymarket": exchange}, tmp_path)
        try:
            yield found
        finally:
            found.close()


def test_a_killed_process_at_polymarket_leaves_what_its_successor_explains(wallet):
    """Its heartbeats end with it; what filled meanwhile is known to the next one, which goes on."""
    exchange = wallet.exchanges["polymarket"]
    process = wallet.start()
    left = wallet.quoting()
    process.kill()
    process.wait()
    polymarket_exchange.sweep(exchange, "plain-0")
    assert exchange.truth()["trades"]
    process = wallet.start("--json")
    wallet.quoting(but=left)
    text = wallet.run("status")
    assert "LIVE LOCAL STAND-IN" in text and "polymarket" in text
    wallet.until(lambda: polymarket_exchange.settled(exchange))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    told = json.loads(out)
    held = [float(market["yes_contracts"]) for market in told["status"]["markets"]]
    truth = exchange.truth()
    balances = truth["balances"][exchange.server.address]
    assert held == [float(size) for asset, size in balances.items() if asset != "pusd"]
    assert held[0] > 0 and not truth["open_orders"] and truth["unexplained"] == []
    alerts = {alert["name"] for alert in told["status"]["alerts"]}
    assert not alerts - {"clock_jumped"} and told["session"]["latch"] is None
    assert told["session"]["journal_verified"] and "agree" in wallet.run("journal", "replay")


def test_one_command_trades_both(tmp_path):
    with (
        Exchange(quiet_catalog(1)) as at_kalshi,
        polymarket_exchange.Exchange(polymarket_exchange.quiet_catalog(1)) as at_polymarket,
    ):
        machine = live_process.Machine({"kalshi": at_kalshi, "polymarket": at_polymarket}, tmp_path)
        try:
            process = machine.start()
            machine.until(lambda: len(machine.open_ids()) == 4)
            status = machine.until(
                lambda: [s for s in [machine.status()] if len(s["orders"]) == 4 and s["source"] == "process"]
            )[0]
            assert set(status["adapters"]) == {"kalshi", "polymarket"} == set(status["venues"])
            assert (status["mode"], status["env"]) == ("live", "local")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            assert process.returncode == 0 and not machine.open_ids(), out + err
        finally:
            machine.close()
