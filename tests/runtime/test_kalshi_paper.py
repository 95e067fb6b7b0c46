"""Paper trading on live market data of the Kalshi stand-in: simulated fills, and no order at the venue."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Self

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import paper_sessions
from kalshi_exchange import Exchange, Session, quiet_catalog
from live_sessions import run
from paper_sessions import LATENCY_MS, explained, inputs, played_back, verified
from test_rolling import name, rolling_catalog

from pr3dict.domain.errors import ConfigError, DataError, UsageError
from pr3dict.domain.events import Accepted, FeedDown, FillsRead, Flatten, Halt, Refused, Resume
from pr3dict.runtime.kalshi_access import KalshiAccess, Selection, kalshi_access
from pr3dict.runtime.kalshi_paper import KalshiPaper
from pr3dict.runtime.recovery import kind_of
from pr3dict.runtime.status import status_of
from pr3dict.store.journal import Journal
from pr3dict.venues.kalshi.settings import KalshiConfig
from standins.kalshi.auth import READ, new_key


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Leases of accounts lie in a folder of the user: the tests have their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Venue(Exchange):
    """A stand-in with a key that may only read, and a record of what it was asked."""

    def __init__(self, catalog: Any = None, **options: Any) -> None:
        self.reader = new_key(scopes=(READ,))
        super().__init__(catalog, keys=(self.reader,), **options)
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self.server.watchers.append(lambda request, _: self.asked.append((request.method, request.path)))
        return self

    def read_access(self, home: Path) -> KalshiAccess:
        """The way in with the key that may only read."""
        environment = self.environment(home) | {
            "PR3DICT_KALSHI_LOCAL_KEY_ID": self.reader.id,
            "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": self.reader.pem,
        }
        return kalshi_access("local", url=self.base, environment=environment)

    def untouched(self) -> None:
        """Nobody ever sent it anything but questions, and it never had an order of ours."""
        truth = self.truth()
        assert not truth["orders"] and not truth["fills"] and not truth["positions"] and not truth["groups"]
        assert self.asked and {method for method, _ in self.asked} == {"GET"}
        assert not [path for _, path in self.asked if "/portfolio/" in path]


class PaperSession(paper_sessions.PaperSession):
    """A paper session in this loop, with the key that may only read."""

    def __init__(self, exchange: Venue, home: Path, **changes: Any) -> None:
        given = {"access": exchange.read_access(home), "kalshi": KalshiConfig(), "selection": Selection()}
        given |= {name: changes.pop(name) for name in given if name in changes}
        super().__init__(KalshiPaper(**given), home, **changes)


@pytest.fixture
def exchange():
    with Venue(quiet_catalog()) as running:
        yield running
        running.untouched()


def our_best(session: PaperSession, ticker: str) -> int:
    (market,) = (m for m in session.view.markets if m.ticker == ticker)
    return market.our_bid


def sweep(exchange: Venue, session: PaperSession, ticker: str) -> None:
    """Somebody sells through our bid, at the venue, where nobody sees it."""
    bid = our_best(session, ticker)
    assert bid > 100
    exchange.do("take", ticker=ticker, taker="ask", price=f"{(bid - 100) / 10_000:.4f}", contracts="1000")


# --- a session from its start to its end ------------------------------------------------------------


def test_it_fills_on_moving_markets_and_the_venue_never_hears_of_it(tmp_path):
    """And its own recording, played back, gives much the same fills; a clock that stutters makes others."""

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            await session.until(lambda: sum(m.fills for m in session.view.markets) >= 8, 40)
            status = json.loads(session.data_dir.status.read_bytes())
            result = await session.stop()
        explained(result)
        exchange.untouched()
        figures = session.figures
        assert figures["connections"] == 1 and figures["holes"] == figures["malformed"] == 0
        assert result.view.open_orders == 0 and sum(m.fills for m in result.view.markets) >= 8
        assert (status["mode"], status["env"], status["account"]) == ("paper", "local", "paper kalshi local")
        assert status["simulation"] == {
            "data": "kalshi local", "queue": "risk-averse", "queue_power": None, "latency_ms": LATENCY_MS,
        }  # fmt: skip
        assert not any(listing.book_includes_own for listing in result.recovered.engine.listings)
        verified(session)
        played_back(session, result)

    with Venue() as exchange:
        run(story())


def test_settings_of_the_simulation_are_used(exchange, tmp_path):
    """A slow way: nothing is accepted before both latencies are over."""

    async def story() -> None:
        async with PaperSession(exchange, tmp_path, latency_ms=400, queue="optimistic") as session:
            await session.quoting()
            result = await session.stop()
        explained(result)
        with Journal.read(session.data_dir.journal) as journal:
            steps = list(journal.steps())
        sent = {c.order_id: s.now_ns for s in steps for c in s.commands if type(c).__name__ == "Place"}
        heard = {e.order_id: s.now_ns for s in steps for e in s.inputs if isinstance(e, Accepted)}
        assert heard and all(at - sent[order] >= 790_000_000 for order, at in heard.items())
        assert session.spec.simulation["queue"] == "optimistic"

    run(story())


def test_a_restart_keeps_positions_and_pays_what_settled_meanwhile(exchange, tmp_path):
    ticker, other = (market.ticker for market in exchange.catalog.markets)

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, session, ticker)
            await session.until(lambda: any(m.net_contracts for m in session.view.markets))
            first = await session.stop()
        verified(session)
        (held,) = (m for m in first.view.markets if m.ticker == ticker)
        assert held.net_contracts > 0
        exchange.do("close_market", ticker=ticker)
        exchange.do("determine", ticker=ticker, result="yes")
        exchange.do("finalize", ticker=ticker)
        async with PaperSession(exchange, tmp_path, selection=Selection(tickers=(other,))) as session:
            await session.until(lambda: session.view and session.view.markets[held.market].status == 5)
            await session.quoting()
            again = await session.stop()
        explained(again)
        assert again.view.cash_micros == first.view.cash_micros + held.net_contracts
        assert again.view.markets[held.market].net_contracts == 0
        verified(session)

    run(story())


def test_a_settlement_pays_the_simulated_position(exchange, tmp_path):
    ticker = exchange.catalog.markets[0].ticker

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, session, ticker)
            market = lambda: next(m for m in session.view.markets if m.ticker == ticker)  # noqa: E731
            await session.until(lambda: market().net_contracts)
            exchange.do("close_market", ticker=ticker)
            await session.until(lambda: not market().orders)
            held, cash = market().net_contracts, session.view.cash_micros
            exchange.do("determine", ticker=ticker, result="yes")
            exchange.do("finalize", ticker=ticker)
            await session.until(lambda: market().status == 5 and session.view.cash_micros != cash)
            result = await session.stop()
        assert held > 0 and result.view.cash_micros == cash + held
        explained(result)
        verified(session)

    run(story())


# --- what it refuses ----------------------------------------------------------------------------------


def test_paper_on_live_data_never_mixes_with_other_money():
    accounts = ("paper", "paper kalshi demo", "paper kalshi prod", "kalshi demo 1a2b3c4d", "exchange here:1")
    assert len({kind_of(account) for account in accounts}) == len(accounts)
    assert kind_of("kalshi demo 1a2b3c4d") == kind_of("kalshi demo 99999999")


def test_a_directory_of_a_live_account_is_refused(exchange, tmp_path):
    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting()
            await session.stop()
        access = exchange.read_access(tmp_path)
        object.__setattr__(access, "env", "demo")
        async with PaperSession(exchange, tmp_path, access=access) as session:
            with pytest.raises(DataError, match=r"of the account 'paper kalshi local'.*--data-dir"):
                await session.task

    run(story())


def test_without_a_key_or_a_market_it_says_so(exchange, tmp_path):
    async def story() -> None:
        access = exchange.read_access(tmp_path)
        object.__setattr__(access, "signer", None)
        async with PaperSession(exchange, tmp_path, access=access) as session:
            with pytest.raises(ConfigError, match="stream needs a key"):
                await session.task
        async with PaperSession(exchange, tmp_path, selection=Selection(tickers=("KXNONE",))) as session:
            with pytest.raises(UsageError, match="no market can be followed: KXNONE"):
                await session.task

    run(story())


# --- what happens meanwhile -----------------------------------------------------------------------------


def test_it_lives_through_gaps_and_a_connection_that_breaks(tmp_path):
    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            exchange.faults(gap=0.05)
            await session.until(lambda: session.figures["gaps"] >= 3)
            exchange.faults(gap=0)
            exchange.do("disconnect")
            await session.until(lambda: session.figures["connections"] >= 2)
            await session.quoting(2)
            before = sum(m.fills for m in session.view.markets)
            await session.until(lambda: sum(m.fills for m in session.view.markets) > before)
            result = await session.stop()
        assert result.exit_code == 0 and result.view.open_orders == 0
        assert session.figures["holes"] >= 2 and inputs(session, FeedDown)
        reads = inputs(session, FillsRead)
        assert reads, "after the break everything was compared"
        verified(session)
        exchange.untouched()

    with Venue() as exchange:
        run(story())


def test_a_stop_without_market_data_is_clean(exchange, tmp_path):
    """What rests can't be judged any more; a person's stop cancels it all the same."""

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            exchange.do("freeze", seconds=600)
            await session.until(lambda: session.view.venues["kalshi"])
            result = await session.stop()
        assert result.exit_code == 0 and result.view.open_orders == 0
        verified(session)

    run(story())


def test_a_pause_wipes_the_simulated_orders(exchange, tmp_path):
    ticker = exchange.catalog.markets[0].ticker

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            market = lambda: next(m for m in session.view.markets if m.ticker == ticker)  # noqa: E731
            exchange.do("pause_market", ticker=ticker)
            await session.until(lambda: market().status == 2 and not market().orders)
            exchange.do("activate_market", ticker=ticker)
            await session.quoting(2)
            result = await session.stop()
        explained(result)
        assert not inputs(session, Refused)
        verified(session)

    run(story())


def test_people_halt_resume_and_flatten(exchange, tmp_path):
    ticker = exchange.catalog.markets[0].ticker

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            sweep(exchange, session, ticker)
            market = lambda: next(m for m in session.view.markets if m.ticker == ticker)  # noqa: E731
            await session.until(lambda: market().net_contracts)
            assert (await session.tell(Halt(command_id="", who="me", reason="news"))).ok
            await session.until(lambda: not any(m.orders for m in session.view.markets))
            assert (await session.tell(Resume(command_id="", who="me", reason="over"))).ok
            await session.quoting()
            held = market().net_contracts
            flatten = Flatten(command_id="", who="me", market=market().market, max_slippage_micros=200_000)
            assert (await session.tell(flatten)).ok
            await session.until(lambda: market().net_contracts < held)
            result = await session.stop()
        assert result.exit_code == 0
        verified(session)

    run(story())


def test_paper_and_live_of_one_account_run_side_by_side(tmp_path):
    async def story() -> None:
        access = exchange.access(tmp_path)
        async with (
            Session(exchange, tmp_path, folder="live") as live,
            PaperSession(exchange, tmp_path, folder="paper", access=access) as paper,
        ):
            await live.quoting()
            await paper.quoting()
            assert status_of(live.view)["mode"] == "live" and status_of(paper.view)["mode"] == "paper"
            placed = lambda session: sum(m.orders_placed for m in session.view.markets)  # noqa: E731
            await live.until(lambda: placed(live) == len(exchange.truth()["orders"]))
            assert placed(paper) >= 2
            live.task.cancel()
            paper.task.cancel()
            await asyncio.gather(live.task, paper.task, return_exceptions=True)

    with Venue(quiet_catalog()) as exchange:
        run(story())


def test_it_goes_on_with_the_markets_of_a_series_that_open_under_way(tmp_path):
    """Each is quoted on paper soon after it opened, and what is held in the one before is paid."""

    async def story() -> None:
        chosen = {"selection": Selection(series=("KXR",)), "kalshi": KalshiConfig(listing_poll_seconds=30)}
        async with PaperSession(exchange, tmp_path, **chosen) as session:
            await session.quoting()
            exchange.do("create_market", ticker=name(1))
            await session.quoting(2)
            sweep(exchange, session, name(0))
            await session.until(lambda: session.view.markets[0].net_contracts)
            exchange.do("close_market", ticker=name(0))
            exchange.do("determine", ticker=name(0), result="no")
            exchange.do("finalize", ticker=name(0))
            await session.until(lambda: session.view.markets[0].status == 5)
            sweep(exchange, session, name(1))
            await session.until(lambda: session.view.markets[1].net_contracts)
            result = await session.stop()
        explained(result)
        first, second = result.view.markets
        assert (first.net_contracts, first.fills) == (0, 1) and second.net_contracts > 0
        assert not any(listing.book_includes_own for listing in result.recovered.engine.listings)
        assert session.figures["gaps"] == session.figures["malformed"] == 0
        verified(session)
        exchange.untouched()

    with Venue(rolling_catalog(2)) as exchange:
        run(story())
