"""Markets that open while a live session runs: found, told to the engine, quoted, let go when they paid."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kalshi_exchange import Exchange, Session, agrees, run, sweep, verified
from kalshi_process import Machine

from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Held
from pr3dict.runtime.kalshi_access import Selection
from pr3dict.runtime.session_replay import replay_session
from pr3dict.store.journal import Journal
from pr3dict.venues.kalshi.settings import KalshiConfig

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)
from standins.kalshi.catalog import Catalog, EventSpec, MarketSpec, SeriesSpec, standing_book  # noqa: E402

LATER_S = 300 * 86_400.0
SERIES = Selection(series=("KXR",))


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def rolling_catalog(count: int, shards: int = 1, others: int = 0) -> Catalog:
    """`count` markets of a series, of which the first is open, and `others` of another, not open yet."""
    events, markets = [], []
    for k in range(count + others):
        series = "KXR" if k < count else "KXOTHER"
        events.append(EventSpec(f"{series}-{k}", series))
        late = {} if k == 0 else {"listed_in_s": LATER_S, "open_in_s": LATER_S, "close_in_s": 2 * LATER_S}
        spec = MarketSpec(f"{series}-{k}-T", events[-1].ticker, exchange_index=k % shards, close_in_s=1_800.0)
        markets.append(replace(spec, settlement_timer_s=1, determine_after_s=0.1, **late))
    flow = np.concatenate([standing_book(k) for k in range(count + others)])
    series = (SeriesSpec("KXR"), SeriesSpec("KXOTHER"))
    return Catalog(series, tuple(events), tuple(markets), flow=flow)


def name(k: int) -> str:
    return f"KXR-{k}-T"


def quoted(exchange: Exchange, ticker: str) -> bool:
    """Whether both sides of a market rest at the exchange."""
    sides = {o["book_side"] for o in exchange.truth()["open_orders"] if o["ticker"] == ticker}
    return sides == {"bid", "ask"}


def pays(exchange: Exchange, ticker: str) -> None:
    exchange.do("close_market", ticker=ticker)
    exchange.do("determine", ticker=ticker, result="yes")
    exchange.do("finalize", ticker=ticker)


def events_of(session: Session, kind: type) -> list:
    with Journal.read(session.data_dir.journal) as journal:
        return [
            event
            for step in journal.steps()
            for event in (*step.inputs, *step.derived)
            if isinstance(event, kind)
        ]


def started(exchange: Exchange, tmp_path: Path, **changes) -> Session:
    given = {"selection": SERIES, "kalshi": KalshiConfig(listing_poll_seconds=30)}
    return Session(exchange, tmp_path, **given | changes)


def test_it_rolls_from_market_to_market(tmp_path):
    """Each market is quoted soon after it was created, traded, and let go once it paid; nothing is lost."""

    async def story() -> None:
        async with started(exchange, tmp_path) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            for k in range(1, 3):
                exchange.do("create_market", ticker=name(k))
                exchange.do("create_market", ticker=f"KXOTHER-{k + 2}-T")
                await session.until(lambda k=k: quoted(exchange, name(k)), 10)
                sweep(exchange, name(k - 1))
                pays(exchange, name(k - 1))
                stream = next(iter(exchange.server.streams))
                books = stream.by_channel["orderbook_delta"]
                await session.until(lambda k=k, books=books: list(books.markets) == [k])
                assert stream.by_channel["trade"].markets.keys() == books.markets.keys()
            await session.until(lambda: session.view.markets[1].status == 5)
            assert session.figures["connections"] == 1 and session.figures["gaps"] == 0
            assert session.figures["malformed"] == 0
            result = await session.stop()
        assert [m.ticker for m in result.view.markets] == [name(k) for k in range(3)]
        assert sum(m.fills for m in result.view.markets) >= 2 and result.exit_code == 0
        agrees(exchange, result.view)
        verified(session)
        replayed = replay_session(session.data_dir)
        assert replayed.difference is None and replayed.was_whole
        reconciled = [(e.market, e.on) for e in events_of(session, Held) if e.why == "unreconciled"]
        assert reconciled == [(-1, True), (-1, False)] + [(k, on) for k in (1, 2) for on in (True, False)]

    with Exchange(rolling_catalog(3, others=2)) as exchange:
        run(story())


def test_a_place_is_free_when_a_market_closed_flat(tmp_path):
    """One market at a time: the next one waits, though it was created and opened long before."""

    async def story() -> None:
        selection = Selection(series=("KXR",), max_markets=1)
        async with started(exchange, tmp_path, selection=selection) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            exchange.do("create_market", ticker=name(1))
            exchange.do("create_market", ticker=name(2), open_in_s=3)
            await asyncio.sleep(2.5)
            assert len(session.view.markets) == 1
            exchange.do("close_market", ticker=name(0))
            await session.until(lambda: quoted(exchange, name(1)), 10)
            exchange.do("close_market", ticker=name(1))
            await session.until(lambda: quoted(exchange, name(2)), 10)
            result = await session.stop()
        assert [m.ticker for m in result.view.markets] == [name(0), name(1), name(2)]
        agrees(exchange, result.view)
        verified(session)

    with Exchange(rolling_catalog(3)) as exchange:
        run(story())


def test_the_first_market_on_a_shard_brings_its_order_group(tmp_path):
    async def story() -> None:
        async with started(exchange, tmp_path) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            exchange.do("create_market", ticker=name(1), open_in_s=5)  # which nobody will announce
            created = time.monotonic()
            await session.until(lambda: quoted(exchange, name(1)), 10)
            assert time.monotonic() - created < 7.5  # asking ever more slowly would take more than 8 s
            groups = {group["id"]: group["exchange_index"] for group in exchange.truth()["groups"]}
            assert sorted(groups.values()) == [0, 1]
            orders = exchange.truth()["open_orders"]
            assert all(groups[order["order_group_id"]] == order["exchange_index"] for order in orders)
            result = await session.stop()
        assert result.exit_code == 0 and not exchange.truth()["groups"]
        agrees(exchange, result.view)
        verified(session)

    with Exchange(rolling_catalog(2, shards=2)) as exchange:
        run(story())


def test_the_list_finds_what_was_never_announced(tmp_path):
    """The notice is lost: the next look at the list of the series has the market."""

    async def story() -> None:
        kalshi = KalshiConfig(listing_poll_seconds=1)
        async with started(exchange, tmp_path, kalshi=kalshi) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            exchange.do("freeze", seconds=0.5)
            exchange.do("create_market", ticker=name(1))
            await session.until(lambda: quoted(exchange, name(1)), 10)
            result = await session.stop()
        assert len(result.view.markets) == 2

    with Exchange(rolling_catalog(2)) as exchange:
        run(story())


def test_it_can_be_switched_off(tmp_path):
    async def story() -> None:
        kalshi = KalshiConfig(listing_poll_seconds=0)
        async with started(exchange, tmp_path, kalshi=kalshi) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            exchange.do("create_market", ticker=name(1))
            await asyncio.sleep(2)
            result = await session.stop()
        assert len(result.view.markets) == 1

    with Exchange(rolling_catalog(2)) as exchange:
        run(story())


def test_what_somebody_else_bought_in_a_new_market_is_left_alone(tmp_path):
    async def story() -> None:
        async with started(exchange, tmp_path) as session:
            await session.until(lambda: quoted(exchange, name(0)))
            exchange.do("create_market", ticker=name(1), open_in_s=2)
            await asyncio.sleep(1.1)
            exchange.server.venue.by_ticker[name(1)].open_ns += 3 * 10**9  # not before somebody bought
            await asyncio.sleep(1.2)
            exchange.do("place_by_hand", ticker=name(1), side="bid", price="0.5200", contracts="5")
            await session.until(lambda: "did not trade" in session.console.getvalue(), 10)
            assert not quoted(exchange, name(1)) and len(session.view.markets) == 1
            result = await session.stop()
        assert result.exit_code == 0 and exchange.truth()["positions"] == {name(1): 5.0}

    with Exchange(rolling_catalog(2)) as exchange:
        run(story())


def test_it_rolls_over_processes_that_are_killed(tmp_path):
    """Each is killed while it quotes; meanwhile its market pays and the next one opens."""
    with Exchange(rolling_catalog(4)) as exchange:
        machine = Machine(exchange, tmp_path)
        try:
            for k in (0, 2):
                machine.start("--series", "KXR", "--set", "kalshi.listing_poll_seconds=30")
                machine.until(lambda k=k: quoted(exchange, name(k)))
                if k == 0:  # this one rolls itself before it dies
                    exchange.do("create_market", ticker=name(1))
                    machine.until(lambda: quoted(exchange, name(1)))
                sweep(exchange, name(k))
                machine.until(lambda k=k: name(k) in exchange.truth()["positions"])
                time.sleep(0.5)  # a death with an order on its way has tests of its own
                machine.processes[-1].kill()
                machine.processes[-1].wait()
                exchange.do("create_market", ticker=name(2 if k == 0 else 3))
                for over in (0, 1) if k == 0 else (2,):
                    pays(exchange, name(over))
                time.sleep(1.2)
            process = machine.start("--series", "KXR", "--json")
            machine.until(lambda: quoted(exchange, name(3)))
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            assert process.returncode == 0, err
            told, truth = json.loads(out), exchange.truth()
            assert [m["ticker"] for m in told["status"]["markets"]] == [name(k) for k in range(4)]
            assert [m["settled"] for m in told["status"]["markets"]] == ["1.00", "1.00", "1.00", None]
            assert not truth["open_orders"] and not truth["groups"] and truth["unexplained"] == []
            assert truth["positions"] == {} and told["session"]["journal_verified"]
            assert float(told["status"]["cash"]) == sum(float(cash) for cash in truth["cash"].values())
            assert not told["status"]["alerts"] and not told["status"]["breakers"]
            assert "agrees" in machine.run("journal", "verify")
            assert "agree" in machine.run("journal", "replay")
        finally:
            machine.close()


def test_it_waits_for_the_first_market_of_a_series(tmp_path):
    """Between two of them none is open: that is no reason to end; a series that is not there is one."""

    async def story() -> None:
        async with started(exchange, tmp_path) as session:
            await session.until(lambda: "no market is open yet" in session.console.getvalue())
            exchange.do("create_market", ticker=name(1))
            await session.until(lambda: quoted(exchange, name(1)))
            await session.stop()
        async with started(exchange, tmp_path, selection=Selection(series=("KXNONE",))) as session:
            with pytest.raises(UsageError, match="Kalshi knows no series 'KXNONE'"):
                await session.task

    with Exchange(rolling_catalog(2)) as exchange:
        exchange.do("close_market", ticker=name(0))
        run(story())
