"""Kalshi and Polymarket in one process: one engine, one journal, one set of limits, outages of one venue."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Self

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kalshi_exchange as kalshi
import polymarket_exchange as polymarket
from live_sessions import LiveSession, alerts, limits, run, settings, verified

from pr3dict.domain.errors import DataError, UsageError, WorkError
from pr3dict.domain.events import Halt, Resume
from pr3dict.runtime.kalshi_access import Selection
from pr3dict.runtime.kalshi_live import KalshiLive
from pr3dict.runtime.live import check_venues
from pr3dict.runtime.session_replay import replay_session
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import Lease, LeaseHeldError
from pr3dict.venues.kalshi.settings import KalshiConfig

QUICK = {"mine_s": [0.1, 0.3], "confirm_s": [0.1, 0.3]}


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Both:
    """Both stand-ins, and a session on them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kalshi = kalshi.Exchange(kalshi.quiet_catalog())
        self.polymarket = polymarket.Exchange(faults=QUICK)

    def __enter__(self) -> Self:
        self.kalshi.__enter__()
        self.polymarket.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.polymarket.__exit__()
        self.kalshi.__exit__()

    def quoted(self) -> set[str]:
        return self.kalshi.quoted() | self.polymarket.quoted()

    def venues(self) -> tuple:
        at_kalshi = KalshiLive(self.kalshi.access(self.home), KalshiConfig(), Selection())
        return at_kalshi, self.polymarket.live(self.home)

    def session(self, **changes) -> LiveSession:
        return LiveSession(self.venues(), self.home, self.quoted, **changes)

    def agree(self, view) -> None:
        """Contracts and cash of both venues are what the engine says."""
        truth = self.kalshi.truth()
        ours = [m for m in view.markets if m.venue == "kalshi" and m.net_contracts]
        held = {m.ticker: m.net_contracts / 1e6 for m in ours}
        assert held == truth["positions"] and truth["unexplained"] == []
        cash = sum(round(float(cash) * 1e6) for cash in truth["cash"].values())
        polymarket.agrees(self.polymarket, view, elsewhere_micros=cash)


@pytest.fixture
def both(tmp_path):
    with Both(tmp_path) as running:
        yield running


def test_one_process_quotes_and_fills_at_both(both):
    async def story() -> None:
        async with both.session() as session:
            await session.quoting(4)
            kalshi.sweep(both.kalshi, both.kalshi.catalog.markets[0].ticker)
            polymarket.sweep(both.polymarket, "plain-0")
            await session.until(lambda: sum(m.fills > 0 for m in session.view.markets) == 2)
            await session.until(lambda: polymarket.settled(both.polymarket))
            assert set(session.adapters) == {"kalshi", "polymarket"}
            result = await session.stop()
        assert result.exit_code == 0 and not alerts(result.view)
        assert not both.kalshi.truth()["open_orders"] and not both.polymarket.truth()["open_orders"]
        both.agree(result.view)
        verified(session)
        replayed = replay_session(session.data_dir)
        assert replayed.difference is None and replayed.was_whole
        async with both.session() as session:  # and goes on where it was
            await session.quoting(4)
            again = await session.stop()
        assert again.exit_code == 0 and not alerts(again.view) and again.first > result.first
        both.agree(again.view)

    run(story())


def test_one_portfolio_limit_holds_for_both(both):
    """What one venue may lose takes room from the other: together never more than the limit."""
    most = 12_000_000

    async def story() -> None:
        risk = limits(max_total_loss=12)
        async with both.session(risk=risk, config=settings(quote_size=10, base_spread="0.02")) as session:
            await session.until(lambda: both.kalshi.quoted() or both.polymarket.quoted())
            worst = []
            for _ in range(60):
                await asyncio.sleep(0.05)
                worst.append(worst_case(both))
            view = session.view
            await session.stop()
        assert max(worst) <= most and max(worst) > most / 2
        resting = {m.venue for m in view.markets if m.orders}
        assert len([m for m in view.markets if m.orders]) < 4 and resting

    run(story())


def worst_case(both: Both) -> float:
    """Micros lost if every resting order filled and every one of them lost, by the exchanges' own lists.

    Two sides of a market lose the dearer one at most.
    """
    by_market: dict[str, dict[bool, float]] = {}
    for order in both.kalshi.truth()["open_orders"]:
        bid = order["book_side"] == "bid"
        price = float(order["yes_price_dollars"])
        size = float(order["remaining_count_fp"])
        cost = (price if bid else 1 - price) * size
        sides = by_market.setdefault(order["ticker"], {})
        sides[bid] = sides.get(bid, 0) + cost
    for order in both.polymarket.truth()["open_orders"]:
        cost = float(order["price"]) * (float(order["original_size"]) - float(order["size_matched"]))
        sides = by_market.setdefault(order["market"], {})
        sides[polymarket.is_bid(order)] = sides.get(polymarket.is_bid(order), 0) + cost
    return 1e6 * sum(max(sides.values()) for sides in by_market.values())


@pytest.mark.parametrize("lost", ["kalshi", "polymarket"])
def test_an_outage_of_one_leaves_the_other_quoting(both, lost):
    """Streams, reads and orders of one venue are gone: what rests there counts, the other one is quoted."""
    gone, left = getattr(both, lost), both.polymarket if lost == "kalshi" else both.kalshi

    async def story() -> None:
        async with both.session(risk=limits(pause_seconds=1)) as session:
            await session.quoting(4)
            counted = session.view.heat_micros
            gone.faults(refuse_upgrade=1.0, read_error=1.0, error_before_apply=1.0)
            gone.do("disconnect")
            of = lambda name: [m for m in session.view.markets if m.venue == name]  # noqa: E731
            await session.until(lambda: all("feed_down" in m.holds for m in of(lost)))
            quoted = 0
            for _ in range(40):
                await asyncio.sleep(0.05)
                assert not any(m.holds for m in session.view.markets if m.venue != lost)
                quoted += len(left.quoted()) == 2
            assert quoted > 36
            resting = set(gone.open_ids())
            if resting:  # its cancels were refused or lost: all of it counts at its worst
                known = {order.venue_id for m in of(lost) for order in m.orders}
                assert resting <= known and session.view.heat_micros >= counted * 0.9
            assert resting or lost == "polymarket"  # whose heartbeats end everything by themselves
            gone.faults(refuse_upgrade=0, read_error=0, error_before_apply=0)
            await session.until(lambda: len(both.quoted()) == 4, 40)
            result = await session.stop()
        assert result.exit_code == 0
        both.agree(result.view)
        verified(session)

    run(story())


def test_a_halt_is_one_for_both(both):
    async def story() -> None:
        async with both.session() as session:
            await session.quoting(4)
            assert (await session.tell(Halt(command_id="", who="me", reason="test"))).ok
            await session.until(
                lambda: not both.kalshi.truth()["open_orders"] and not both.polymarket.truth()["open_orders"]
            )
            assert (await session.tell(Resume(command_id="", who="me", reason="test"))).ok
            await session.quoting(4)
            await session.stop()

    run(story())


def test_a_venue_that_can_not_be_reached_at_the_start_is_named(both):
    async def story() -> None:
        both.polymarket.faults(read_error=1.0)
        async with both.session() as session:
            with pytest.raises(WorkError, match="Polymarket did not answer GET /"):
                await session.task
        assert not both.kalshi.truth()["orders"] and not both.kalshi.truth()["groups"]

    run(story())


def test_a_data_directory_of_both_is_of_both(both, tmp_path):
    """One venue alone can't go on where two were: what is held at the other would be nobody's."""

    async def story() -> None:
        async with both.session() as session:
            await session.quoting(4)
            with pytest.raises(LeaseHeldError, match="the account polymarket local"):
                Lease.take(DataDir.of(tmp_path / "other"), both.venues()[1].account, now_ns=1)
            await session.stop()
        async with LiveSession(both.venues()[:1], both.home, both.quoted) as session:
            with pytest.raises(DataError, match=r"of the account 'kalshi .* \+ polymarket .*not of 'kalshi"):
                await session.task

    run(story())


def test_money_of_two_kinds_never_mixes(both):
    at_kalshi, at_polymarket = both.venues()
    check_venues((at_kalshi, at_polymarket))
    object.__setattr__(at_kalshi.access, "account", "kalshi demo 12345678")
    with pytest.raises(UsageError, match="kalshi demo and polymarket local can't share one process"):
        check_venues((at_kalshi, at_polymarket))
    with pytest.raises(UsageError, match="name each venue once"):
        check_venues((at_polymarket, at_polymarket))
