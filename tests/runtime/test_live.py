"""A live session against the Kalshi stand-in: it trades, stops, comes back, and hears what the venue does."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kalshi_exchange import (
    Exchange,
    Session,
    agrees,
    alerts,
    limits,
    quiet_catalog,
    run,
    settings,
    sweep,
    verified,
)

from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.events import Flatten, Halt, Resume
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.kalshi_access import Selection
from pr3dict.runtime.kalshi_live import KalshiLive
from pr3dict.runtime.live import at_venues
from pr3dict.runtime.live_venue import ORDER_LIFE_S, with_expiry
from pr3dict.runtime.order_groups import GroupFile, KnownGroup
from pr3dict.runtime.session_replay import replay_session
from pr3dict.venues.kalshi.settings import KalshiConfig

CONTRACT = 1_000_000


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Leases of accounts lie in a folder of the user: the tests have their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def exchange():
    with Exchange(quiet_catalog()) as running:
        yield running


def first_ticker(exchange: Exchange) -> str:
    return str(exchange.catalog.markets[0].ticker)


# --- a session from its start to its end ------------------------------------------------------------


def test_it_quotes_fills_and_leaves_nothing_behind(tmp_path):
    """Moving markets: both sides are quoted and filled, and the end is what the exchange says it is."""

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            await session.until(lambda: session.view and sum(m.fills for m in session.view.markets) >= 2, 40)
            status = json.loads(session.data_dir.status.read_bytes())
            result = await session.stop()
        truth = exchange.truth()
        assert result.exit_code == 0 and not truth["open_orders"] and not truth["groups"]
        agrees(exchange, result.view)
        assert all(order["order_group_id"] and order["cancel_order_on_pause"] for order in truth["orders"])
        assert all(order["expiration_time"] for order in truth["orders"])
        assert (status["mode"], status["env"]) == ("live", "local")
        assert status["adapters"]["kalshi"]["connections"] >= 1
        assert session.figures["malformed"] == 0 and truth["throttled"] == 0
        assert GroupFile(session.data_dir.path).read() == ()
        verified(session)
        replayed = replay_session(session.data_dir)
        assert replayed.difference is None and replayed.was_whole

    with Exchange() as exchange:
        run(story())


def test_no_file_that_it_writes_holds_the_key(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        key = exchange.server.key
        secrets = [key.pem, key.pem.strip().splitlines()[1], key.id]
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(written) > 8
        for path in written:
            content = path.read_bytes()
            assert [s for s in secrets if s.encode() in content] == [], path
            assert path.stat().st_mode & 0o077 == 0, path
        assert not any(secret in session.console.getvalue() for secret in secrets)

    run(story())


def test_a_journal_goes_on_where_it_was(exchange, tmp_path):
    """A position stays ours when its market is not chosen any more, and when it pays while nobody runs."""
    ticker, other = (market.ticker for market in exchange.catalog.markets)

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, ticker)
            await session.until(lambda: any(m.net_contracts for m in session.view.markets))
            first = await session.stop()
        agrees(exchange, first.view)
        exchange.do("close_market", ticker=ticker)
        exchange.do("determine", ticker=ticker, result="yes")
        exchange.do("finalize", ticker=ticker)
        async with Session(exchange, tmp_path, selection=Selection(tickers=(other,))) as session:
            paid = lambda: session.view and session.view.markets[row].status == 5  # noqa: E731
            row = next(m.market for m in first.view.markets if m.ticker == ticker)
            await session.until(paid)
            await session.quoting()
            again = await session.stop()
        agrees(exchange, again.view)
        assert again.view.cash_micros > first.view.cash_micros
        assert not alerts(again.view) and again.first > 1
        verified(session)
        names = [order["client_order_id"] for order in exchange.truth()["orders"]]
        assert len({name.split("-")[0] for name in names}) == 2 and len(set(names)) == len(names)

    run(story())


def test_a_copy_of_a_data_directory_never_uses_an_order_id_again(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
        for folder in ("data", "copy"):
            async with Session(exchange, tmp_path, folder=folder) as session:
                await session.quoting()
                assert (await session.stop()).exit_code == 0
        names = [order["client_order_id"] for order in exchange.truth()["orders"]]
        assert len({name.split("-")[0] for name in names}) == 3 and len(set(names)) == len(names)

    run(story())


# --- what it refuses ----------------------------------------------------------------------------------


def test_a_data_directory_is_one_accounts(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        access = exchange.access(tmp_path)
        object.__setattr__(access, "account", "kalshi demo 12345678")
        async with Session(exchange, tmp_path, access=access) as session:
            with pytest.raises(DataError, match=r"directory of the account 'kalshi local .*--data-dir"):
                await session.task

    run(story())


def test_what_somebody_else_bought_is_left_alone(exchange, tmp_path):
    ticker = first_ticker(exchange)
    exchange.do("place_by_hand", ticker=ticker, side="bid", price="0.5200", contracts="5")

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            result = await session.stop()
        assert [m.ticker for m in result.view.markets] == [exchange.catalog.markets[1].ticker]
        assert "5 contracts that this journal did not trade" in session.console.getvalue()
        assert exchange.truth()["positions"] == {ticker: 5.0}

    run(story())


def test_nothing_to_trade_is_said(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path, selection=Selection(tickers=("KXNONE",))) as session:
            with pytest.raises(UsageError, match="no market can be followed: KXNONE Kalshi knows no such"):
                await session.task

    run(story())


def test_an_order_group_file_that_is_damaged_is_named(tmp_path):
    (tmp_path / "order_groups.json").write_text("[[")
    with pytest.raises(DataError, match=r"order_groups\.json: can't be read"):
        GroupFile(tmp_path).read()


def test_every_order_of_a_live_process_expires():
    assert with_expiry(RiskConfig()).order_life_seconds == ORDER_LIFE_S
    assert with_expiry(RiskConfig(order_life_seconds=30)).order_life_seconds == 30
    kalshi = (KalshiLive(None, KalshiConfig(), Selection()),)
    assert at_venues(RiskConfig(), kalshi).order_life_seconds == ORDER_LIFE_S
    assert at_venues(RiskConfig(), kalshi).cash_tolerance_micros == 10_000
    assert at_venues(RiskConfig(cash_tolerance="0.05"), kalshi).cash_tolerance_micros == 50_000


# --- what happens meanwhile -----------------------------------------------------------------------------


def test_a_sweep_halts_it_and_a_person_arms_it_again(exchange, tmp_path):
    """Kalshi's kill switch fires, everything stays cancelled until a resume, which must arm it first."""
    ticker = first_ticker(exchange)

    async def story() -> None:
        async with Session(exchange, tmp_path, kalshi=KalshiConfig(sweep_loss=12)) as session:
            await session.quoting(2)
            for market in exchange.catalog.markets:
                sweep(exchange, market.ticker)
            await session.until(lambda: "halted" in session.view.holds)
            await session.until(lambda: not exchange.truth()["open_orders"])
            assert session.data_dir.latch.exists()
            exchange.faults(error_before_apply=1.0)
            refused = await session.tell(Resume(command_id="", who="me", reason="looked at it"))
            assert not refused.ok and "was not lifted" in refused.text
            assert "halted" in session.view.holds and session.data_dir.latch.exists()
            exchange.faults(error_before_apply=0)
            assert (await session.tell(Resume(command_id="", who="me", reason="looked at it"))).ok
            await session.quoting()
            result = await session.stop()
        assert result.exit_code == 0 and not session.data_dir.latch.exists()
        agrees(exchange, result.view)
        assert ticker in exchange.truth()["positions"]
        verified(session)

    run(story())


def test_people_halt_resume_and_flatten(exchange, tmp_path):
    ticker = first_ticker(exchange)

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, ticker)
            row = await session.until(lambda: [m for m in session.view.markets if m.net_contracts])
            assert (await session.tell(Halt(command_id="", who="me", reason="test"))).ok
            await session.until(lambda: not exchange.truth()["open_orders"])
            slippage = 100_000
            flatten = Flatten(command_id="", who="me", market=row[0].market, max_slippage_micros=slippage)
            assert (await session.tell(flatten)).ok
            await session.until(lambda: not exchange.truth()["positions"])
            assert (await session.tell(Resume(command_id="", who="me", reason="test"))).ok
            await session.quoting(2)
            result = await session.stop()
        agrees(exchange, result.view)
        verified(session)

    run(story())


def test_an_outage_passes(exchange, tmp_path):
    """The stream is cut and refused, reads and orders fail: nothing is quoted blindly, and it comes back."""

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            exchange.faults(refuse_upgrade=1.0, read_error=1.0)
            exchange.do("disconnect")
            await session.until(lambda: all("feed_down" in m.holds for m in session.view.markets))
            await session.until(lambda: not exchange.truth()["open_orders"])
            exchange.faults(refuse_upgrade=0, read_error=0)
            await session.quoting(2)
            result = await session.stop()
        assert session.figures["connections"] >= 2
        agrees(exchange, result.view)
        verified(session)

    run(story())


def test_it_ends_when_a_task_of_the_adapter_dies(exchange, tmp_path, monkeypatch):
    """Without any command that would notice it."""
    from pr3dict.venues.kalshi.adapter import KalshiWire

    async def story() -> None:
        trigger = asyncio.Event()

        async def dies(self) -> None:
            await trigger.wait()
            raise RuntimeError("nobody foresaw this")

        monkeypatch.setattr(KalshiWire, "_watch_status", dies)
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            trigger.set()
            result = await asyncio.wait_for(session.task, 20)
        assert result.exit_code == 1
        assert "nobody foresaw this" in session.console.getvalue()
        assert not exchange.truth()["open_orders"]

    run(story())


def test_groups_of_a_run_that_died_are_deleted_and_nobody_elses(exchange, tmp_path):
    made = exchange.create_groups(2)

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            GroupFile(session.data_dir.path).write((KnownGroup(made[0], 0, 0), KnownGroup("gone", 0, 0)))
            await session.quoting()
            await session.stop()
        assert [group["id"] for group in exchange.truth()["groups"]] == [made[1]]
        assert GroupFile(session.data_dir.path).read() == ()

    run(story())


def test_the_settings_change_what_is_sent(exchange, tmp_path):
    """No order group without a sweep loss; sizes and expiry are the settings'."""
    risk = limits(order_life_seconds=45)

    async def story() -> None:
        kalshi = KalshiConfig(sweep_loss=0)
        async with Session(
            exchange, tmp_path, kalshi=kalshi, risk=risk, config=settings(quote_size=7)
        ) as session:
            await session.quoting()
            orders = exchange.truth()["open_orders"]
            await session.stop()
        assert {order["initial_count_fp"] for order in orders} == {"7.00"}
        assert not any(order.get("order_group_id") for order in orders)
        assert exchange.truth()["requests"].get("create_group", 0) == 0

    run(story())
