"""Paper trading on live market data of Polymarket's stand-in: no account, simulated fills, nothing sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import paper_sessions
from live_sessions import run
from paper_sessions import explained, inputs, played_back, verified
from polymarket_exchange import Exchange, quiet_catalog, ticker_of
from polymarket_look import NOBODY, lively

from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import FeedDown, FillsRead
from pr3dict.runtime.polymarket_access import polymarket_access
from pr3dict.runtime.polymarket_paper import PolymarketPaper
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.settings import PolymarketConfig

SETTLED = 5


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Leases of accounts lie in a folder of the user: the tests have their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Venue(Exchange):
    """A stand-in with a record of what it was asked."""

    def __init__(self, catalog: Any = None, **options: Any) -> None:
        super().__init__(catalog, **options)
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self.server.watchers.append(lambda request, _: self.asked.append((request.method, request.path)))
        return self

    def untouched(self) -> None:
        """Nobody ever sent it anything but public questions, and it never had an order of ours."""
        truth = self.truth()
        assert not truth["orders"] and not truth["trades"]
        assert {(m, p) for m, p in self.asked if m != "GET"} <= {("POST", "/books")}
        private = ("/data/", "/auth/", "/balance", "/v1/", "/relayer", "/rpc", "/ws/user")
        assert self.asked and not [path for _, path in self.asked if path.startswith(private)]


class PaperSession(paper_sessions.PaperSession):
    """A paper session in this loop, of nobody."""

    def __init__(self, exchange: Venue, home: Path, **changes: Any) -> None:
        access = polymarket_access("local", url=exchange.base, environment=NOBODY, key=False)
        given = {"access": access, "polymarket": PolymarketConfig(), "selection": Selection()}
        given |= {name: changes.pop(name) for name in given if name in changes}
        super().__init__(PolymarketPaper(**given), home, **changes)


@pytest.fixture
def exchange():
    with Venue(quiet_catalog()) as running:
        yield running
        running.untouched()


def test_it_fills_on_moving_markets_and_the_venue_never_hears_of_it(tmp_path):
    """And its own recording, played back, gives much the same fills."""

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            await session.until(lambda: sum(m.fills for m in session.view.markets) >= 5, 40)
            status = json.loads(session.data_dir.status.read_bytes())
            result = await session.stop()
        explained(result)
        exchange.untouched()
        figures = session.figures
        assert figures["connections"] == 1 and figures["malformed"] == figures["hashes_differ"] == 0
        assert result.view.open_orders == 0 and sum(m.fills for m in result.view.markets) >= 5
        assert (status["mode"], status["account"]) == ("paper", "paper polymarket local")
        assert status["simulation"]["data"] == "polymarket local"
        assert not any(listing.book_includes_own for listing in result.recovered.engine.listings)
        assert result.view.markets[0].venue == "polymarket"
        verified(session)
        played_back(session, result)

    with Venue(lively()) as exchange:
        run(story())


def test_a_settlement_pays_the_simulated_position_also_after_a_restart(exchange, tmp_path):
    ticker, other = (ticker_of(exchange, slug) for slug in ("plain-0", "plain-1"))

    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            for name in ("plain-0", "plain-1"):
                exchange.do("take", market=name, taker="ask", price="0.4500", shares="1000")
            await session.until(lambda: all(m.net_contracts for m in session.view.markets))
            held, cash = session.market(ticker).net_contracts, session.view.cash_micros
            exchange.do("resolve", market="plain-0", result="yes")
            await session.until(lambda: session.market(ticker).status == SETTLED)
            first = await session.stop()
        assert held > 0 and first.view.cash_micros == cash + held
        verified(session)
        left = next(m for m in first.view.markets if m.ticker == other)
        exchange.do("resolve", market="plain-1", result="void")
        with pytest.raises(UsageError, match="no market can be followed"):
            async with PaperSession(exchange, tmp_path / "fresh") as session:
                await session.task
        async with PaperSession(exchange, tmp_path) as session:
            await session.until(lambda: session.view and session.market(other).status == SETTLED)
            again = await session.stop()
        explained(again)
        assert again.view.cash_micros == first.view.cash_micros + left.net_contracts // 2
        verified(session)

    run(story())


def test_it_lives_through_a_connection_that_breaks(tmp_path):
    async def story() -> None:
        async with PaperSession(exchange, tmp_path) as session:
            await session.quoting(2)
            exchange.do("disconnect")
            await session.until(lambda: session.figures["connections"] >= 2)
            await session.quoting(2)
            result = await session.stop()
        assert result.exit_code == 0 and result.view.open_orders == 0
        assert session.figures["holes"] >= 2 and inputs(session, FeedDown) and inputs(session, FillsRead)
        verified(session)
        exchange.untouched()

    with Venue(lively()) as exchange:
        run(story())
