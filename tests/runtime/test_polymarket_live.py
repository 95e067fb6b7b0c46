"""A live session against the Polymarket stand-in: it trades, stops, comes back, and hears what happens."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from live_sessions import alerts, limits, run, settings, verified
from polymarket_exchange import Exchange, Session, agrees, quiet_catalog, settled, sweep, ticker_of

from pr3dict.domain.errors import ConfigError, DataError, UsageError
from pr3dict.domain.events import Flatten, Halt, Resume
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.live import at_venues
from pr3dict.runtime.polymarket_live import ORDER_LIFE_S, PolymarketLive
from pr3dict.runtime.session_replay import replay_session
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.settings import PolymarketConfig
from standins.polymarket import PRIVATE_KEY

CONTRACT = 1_000_000
QUICK = {"mine_s": [0.1, 0.3], "confirm_s": [0.1, 0.3]}
FIRST, SECOND = "plain-0", "plain-1"


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Leases of accounts lie in a folder of the user: the tests have their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def exchange():
    with Exchange(faults=QUICK) as running:
        yield running


def filled(session: Session, slug: str, exchange: Exchange):
    """The market once something of ours traded there."""
    ticker = ticker_of(exchange, slug)
    return session.view and [m for m in session.view.markets if m.ticker == ticker and m.fills]


# --- a session from its start to its end ------------------------------------------------------------


def test_it_quotes_fills_and_leaves_nothing_behind(exchange, tmp_path):
    """Both sides are filled, pairs included, and the end is what the chain says it is."""

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, FIRST, "ask")
            await session.until(lambda: filled(session, FIRST, exchange))
            sweep(exchange, SECOND, "bid")
            await session.until(lambda: filled(session, SECOND, exchange))
            await session.quoting(2)
            status = json.loads(session.data_dir.status.read_bytes())
            await session.until(lambda: settled(exchange))
            result = await session.stop()
        truth = exchange.truth()
        assert result.exit_code == 0 and not truth["open_orders"] and truth["trades"]
        agrees(exchange, result.view)
        assert {order["order_type"] for order in truth["orders"]} == {"GTD"}
        assert (status["mode"], status["env"]) == ("live", "local")
        assert status["adapters"]["polymarket"]["connections"] >= 2
        assert session.figures["malformed"] == 0 and truth["throttled"] == 0
        verified(session)
        replayed = replay_session(session.data_dir)
        assert replayed.difference is None and replayed.was_whole

    run(story())


def test_no_file_that_it_writes_holds_a_key(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        keys = exchange.server.doorkeeper.keys.values()
        secrets = [PRIVATE_KEY[2:]] + [text for key in keys for text in (key.secret, key.passphrase)]
        assert len(secrets) >= 3
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            content = path.read_bytes()
            assert [s for s in secrets if s.encode() in content] == [], path
            assert path.stat().st_mode & 0o077 == 0, path
        assert not any(secret in session.console.getvalue() for secret in secrets)

    run(story())


def test_a_journal_goes_on_where_it_was(exchange, tmp_path):
    """A position stays ours when its market is not chosen any more, and when it pays while nobody runs."""

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, FIRST)
            await session.until(lambda: filled(session, FIRST, exchange))
            await session.until(lambda: settled(exchange))
            first = await session.stop()
        agrees(exchange, first.view)
        won = next(m for m in first.view.markets if m.ticker == ticker_of(exchange, FIRST))
        exchange.do("resolve", market=FIRST, result="yes")
        async with Session(exchange, tmp_path, selection=Selection(tickers=(SECOND,))) as session:
            await session.until(lambda: session.view and session.view.markets[won.market].status == 5)
            await session.quoting()
            again = await session.stop()
        assert again.view.cash_micros == first.view.cash_micros + won.yes_contracts
        assert won.yes_contracts and not alerts(again.view) and again.first > 1
        verified(session)
        assert len({order["id"] for order in exchange.truth()["orders"]}) >= 6
        async with Session(exchange, tmp_path, selection=Selection(tickers=(SECOND,))) as session:
            await session.quoting()  # what was won and is not fetched yet counts in the third life, too
            third = await session.stop()
        assert third.view.cash_micros == again.view.cash_micros and not alerts(third.view)

    run(story())


def test_a_fill_that_fails_after_a_restart_is_taken_back(tmp_path):
    """Matched by one process, failed under the next one, which knows it from the journal alone."""

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, FIRST)
            await session.until(lambda: filled(session, FIRST, exchange))
            first = await session.stop()
        assert not settled(exchange)
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            assert session.figures["unsettled_fills"]
            await session.until(lambda: settled(exchange), 30)
            held = lambda: sum(m.yes_contracts + m.no_contracts for m in session.view.markets)  # noqa: E731
            await session.until(lambda: held() == 0)
            again = await session.stop()
        agrees(exchange, again.view)
        assert again.view.cash_micros > first.view.cash_micros and not alerts(again.view)
        verified(session)

    with Exchange(faults={"mine_s": [9.0, 9.0], "trade_failed": 1.0}) as exchange:
        run(story())


# --- what it refuses ----------------------------------------------------------------------------------


def test_a_data_directory_is_one_accounts(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        access = exchange.access(tmp_path)
        object.__setattr__(access, "account", "polymarket prod 0x12345678")
        async with Session(exchange, tmp_path, access=access) as session:
            with pytest.raises(DataError, match=r"directory of the account 'polymarket local .*--data-dir"):
                await session.task

    run(story())


def test_what_somebody_else_bought_is_left_alone(exchange, tmp_path):
    exchange.do("split", market=FIRST, shares="5")

    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting()
            result = await session.stop()
        assert [m.ticker for m in result.view.markets] == [ticker_of(exchange, SECOND)]
        assert "5 contracts that this journal did not trade" in session.console.getvalue()

    run(story())


def test_nothing_to_trade_is_said(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path, selection=Selection(tickers=("nothing",))) as session:
            with pytest.raises(UsageError, match="no market can be followed: nothing Polymarket lists no"):
                await session.task

    run(story())


def test_orders_live_as_long_as_the_venue_wants():
    venues = (PolymarketLive(None, PolymarketConfig(), Selection()),)
    assert at_venues(RiskConfig(), venues).order_life_seconds == ORDER_LIFE_S == 180
    assert at_venues(RiskConfig(order_life_seconds=600), venues).order_life_seconds == 600
    with pytest.raises(ConfigError, match=re.escape("risk.order_life_seconds: 120 s is shorter")):
        at_venues(RiskConfig(order_life_seconds=120), venues)


# --- what happens meanwhile -----------------------------------------------------------------------------


def test_an_order_is_replaced_before_it_expires(exchange, tmp_path):
    """Nothing is renewed there: the order ends, and another one takes its place."""

    async def story() -> None:
        risk = limits(order_life_seconds=180, renew_before_seconds=175)
        async with Session(exchange, tmp_path, risk=risk) as session:
            await session.quoting(2)
            before = {order["id"] for order in exchange.truth()["open_orders"]}
            await session.until(
                lambda: exchange.quoted() and not before & {o["id"] for o in exchange.truth()["open_orders"]}
            )
            await session.quoting(2)
            result = await session.stop()
        ended = [order for order in exchange.truth()["orders"] if order["id"] in before]
        assert {order["status"] for order in ended} == {"CANCELED"}
        assert not alerts(result.view)
        verified(session)

    run(story())


def test_halt_flatten_resume(exchange, tmp_path):
    async def story() -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, FIRST)
            row = (await session.until(lambda: filled(session, FIRST, exchange)))[0]
            exchange.do("level", market=FIRST, side="bid", price="0.45", shares="500")
            assert (await session.tell(Halt(command_id="", who="me", reason="test"))).ok
            await session.until(lambda: not exchange.truth()["open_orders"])
            flatten = Flatten(command_id="", who="me", market=row.market, max_slippage_micros=200_000)
            assert (await session.tell(flatten)).ok
            flat = lambda: not session.view.markets[row.market].net_contracts  # noqa: E731
            await session.until(lambda: flat() and settled(exchange))
            assert (await session.tell(Resume(command_id="", who="me", reason="test"))).ok
            await session.quoting()
            result = await session.stop()
        agrees(exchange, result.view)
        verified(session)

    run(story())


def test_an_outage_passes(exchange, tmp_path):
    """The streams are cut and refused, reads fail: nothing is quoted blindly, and it comes back."""

    async def story() -> None:
        async with Session(exchange, tmp_path, risk=limits(pause_seconds=1)) as session:
            await session.quoting(2)
            exchange.faults(refuse_upgrade=1.0, read_error=1.0)
            exchange.do("disconnect")
            await session.until(lambda: all("feed_down" in m.holds for m in session.view.markets))
            await session.until(lambda: not exchange.truth()["open_orders"])
            exchange.faults(refuse_upgrade=0, read_error=0)
            await session.quoting(2)
            result = await session.stop()
        assert session.figures["connections"] > 2
        agrees(exchange, result.view)
        verified(session)

    run(story())


def test_the_settings_change_what_is_sent(exchange, tmp_path):
    async def story() -> None:
        risk = limits(order_life_seconds=300)
        config = settings(quote_size=7)
        async with Session(exchange, tmp_path, risk=risk, config=config) as session:
            await session.quoting()
            orders, now_s = exchange.truth()["open_orders"], exchange.truth()["now_ns"] / 1e9
            await session.stop()
        assert {order["original_size"] for order in orders} == {"7"}
        assert all(300 < int(order["expiration"]) - now_s <= 361 for order in orders)

    run(story())


def test_a_market_that_opens_later_is_quoted_and_one_that_paid_is_let_go(tmp_path):
    """New markets are listed anew; one that is resolved leaves the streams."""

    async def story() -> None:
        polymarket = PolymarketConfig(listing_poll_seconds=1)
        chosen = Selection(events=("plain",))
        exchange.do("accept_orders", market=SECOND, accepting=False)
        async with Session(exchange, tmp_path, polymarket=polymarket, selection=chosen) as session:
            await session.quoting(1)
            exchange.do("accept_orders", market=SECOND, accepting=True)
            exchange.do("resolve", market=FIRST, result="no")
            await session.until(lambda: exchange.quoted() == {ticker_of(exchange, SECOND)}, 40)
            await session.until(lambda: any(m.status == 5 for m in session.view.markets))
            result = await session.stop()
        assert result.exit_code == 0 and not alerts(result.view)
        agrees(exchange, result.view)
        verified(session)

    with Exchange(quiet_catalog(2), faults=QUICK) as exchange:
        run(story())
