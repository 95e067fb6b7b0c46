"""Tapes recorded from the stand-in: their book is the exchange's, holes are marked, and they backtest."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kalshi_look import VenueClock, access_to, freeze, lively, with_standin
from venue_tapes import EVERYTHING, book_of, tapes_in
from venue_tapes import recorded as recorded_by

from pr3dict.cli.main import run
from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.domain.units import ASK, BID, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime import venue_follow
from pr3dict.runtime.kalshi_access import Selection
from pr3dict.runtime.venue_record import RecordSpec, record
from pr3dict.store.importers.recording import read as read_recording
from pr3dict.store.tape import read_tape
from standins.kalshi import small_catalog

SECOND = 1_000_000_000


async def recorded(server, out: Path, during, selection=EVERYTHING, **changes):
    return await recorded_by(access_to(server), VenueClock(server), out, during, selection, **changes)


def true_book(server, ticker: str) -> tuple[dict[int, int], dict[int, int]]:
    """The exchange's own book in YES terms."""
    body = server.venue.by_ticker[ticker].book_json(0)

    def levels(key: str) -> list[tuple[int, int]]:
        return [(round(float(p) * 1e4), round(float(n) * 1e6)) for p, n in body[key] or ()]

    return dict(levels("yes_dollars")), {PRICE_SCALE - p: n for p, n in levels("no_dollars")}


async def settled_down(server) -> None:
    """Venue time stands still, and every frame has arrived."""
    freeze(server)
    await asyncio.sleep(0.4)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A recording of two lively markets, with what the exchange said in the end."""
    out = tmp_path_factory.mktemp("tapes")
    kept = {}

    @with_standin(lively, speed=4.0)
    async def go(server):
        async def during():
            await asyncio.sleep(2.5)
            await settled_down(server)

        kept["result"] = await recorded(server, out, during)
        for market in server.venue.markets:
            kept[market.spec.ticker] = true_book(server, market.spec.ticker)
            kept[f"trades {market.spec.ticker}"] = len(market.trades)

    go()
    return out, kept


def test_the_tapes_end_with_the_exchanges_book(session):
    out, kept = session
    result, tapes = kept["result"], tapes_in(out)
    assert sorted(tapes) == sorted(result.followed.rows) and len(tapes) == 2
    for ticker, tape in tapes.items():
        assert book_of(tape.events) == kept[ticker]
        trades = int((tape.events["kind"] == d.TRADE).sum())
        assert trades == result.followed.trades[ticker] <= kept[f"trades {ticker}"]
        assert len(tape.events) > 100 and trades > 5
        assert tape.meta.fee.taker_ppm == 70_000 and tape.meta.fee.maker_ppm == 0
        assert tape.meta.venue == "kalshi" and not tape.meta.synthetic and tape.meta.close_ns
        assert tape.meta.open_ns and tape.meta.open_ns < tape.meta.close_ns
    assert result.followed.total_rows == sum(result.followed.rows.values())
    assert not list(out.glob("*.rows")), "the rows are gone once the tapes are there"


def test_the_tapes_backtest(session, capsys):
    out, _ = session
    assert run(["backtest", str(out), "--preset", "short_dated", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["markets"] == 2


def test_holes_are_marked_and_the_book_is_whole_again(tmp_path):
    kept = {}

    @with_standin(lively, speed=2.0)
    async def go(server):
        async def during():
            await asyncio.sleep(0.6)
            server.faults.change({"gap": 0.1})
            await asyncio.sleep(0.8)
            server.faults.change({"gap": 0})
            server.do("disconnect")
            await asyncio.sleep(1.2)
            await settled_down(server)

        kept["result"] = await recorded(server, tmp_path, during)
        for market in server.venue.markets:
            kept[market.spec.ticker] = true_book(server, market.spec.ticker)

    go()
    result, tapes = kept["result"], tapes_in(tmp_path)
    assert result.followed.outages == 1
    for ticker, tape in tapes.items():
        assert result.followed.gaps[ticker] > 1
        marks = tape.events[(tape.events["bits"] & d.SYNTHETIC) != 0]
        pauses = marks[(marks["kind"] == d.STATUS) & (marks["aux"] == d.PAUSED)]
        assert len(pauses) >= 1 and (marks["kind"] == d.SNAPSHOT).sum() == len(pauses)
        assert book_of(tape.events) == kept[ticker]


def test_the_life_of_markets_is_on_the_tape(tmp_path):
    @with_standin(small_catalog(2), speed=1.0)
    async def go(server):
        first, second = (market.spec.ticker for market in server.venue.markets)

        async def during():
            await asyncio.sleep(0.4)
            server.do("pause_market", ticker=first)
            server.do("activate_market", ticker=first)
            server.do("change_grid", ticker=first, grid=2)
            await asyncio.sleep(0.2)
            for name in (first, second):
                server.do("close_market", ticker=name)
                server.do("determine", ticker=name, result="no")
                server.do("finalize", ticker=name)
            await asyncio.sleep(5)

        result = await recorded(server, tmp_path, during)
        assert result.followed.settled == 2 and result.seconds < 4, "it ends with the last payout"
        tapes = tapes_in(tmp_path)
        of_first = tapes[first].events
        states = of_first["aux"][of_first["kind"] == d.STATUS].tolist()
        assert states[:3] == [d.ACTIVE, d.PAUSED, d.ACTIVE] and states[-1] == d.SETTLED
        assert (of_first["kind"] == d.TICK).sum() == 1
        for tape in tapes.values():
            assert tape.events[-1]["kind"] == d.SETTLE and tape.events[-1]["qty"] == 0
            assert tape.meta.outcome == "no"

    go()


def test_a_disk_that_refuses_ends_the_recording_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(venue_follow, "FLUSH_NS", SECOND // 2)

    @with_standin(small_catalog(2))
    async def go(server):
        ticker = server.venue.markets[0].spec.ticker
        moved: list[Path] = []

        async def during():
            for count in range(40):
                await asyncio.sleep(0.1)
                server.do("level", ticker=ticker, side="bid", price="0.0100", contracts=count + 1)
                found = [*tmp_path.glob("*.rows/rows-*.parquet")]
                if found and not moved:
                    moved.append(tmp_path / "elsewhere")
                    shutil.move(found[0].parent, moved[0])

        with pytest.raises(WorkError, match=r"the recording stopped.*pr3dict import recording"):
            await recorded(server, tmp_path, during)
        assert len(moved) == 1
        made = list(read_recording(moved[0]))
        assert len(made) == 2 and all(len(tape.events) for tape in made)

    go()


def test_a_recording_that_never_stood_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(venue_follow, "UP_NS", SECOND)

    @with_standin(small_catalog(1), faults={"refuse_upgrade": 1.0})
    async def go(server):
        with pytest.raises(WorkError, match="did not come up within 1 s"):
            await recorded(server, tmp_path, lambda: asyncio.sleep(8))

    go()


def test_without_a_market_nothing_is_recorded(tmp_path):
    @with_standin(small_catalog(1))
    async def go(server):
        with pytest.raises(UsageError, match="no market to record: NONE Kalshi knows no such market"):
            await recorded(server, tmp_path, lambda: asyncio.sleep(2), Selection(("NONE",)))
        stop = asyncio.Event()
        stop.set()
        with pytest.raises(WorkError, match="stopped before a market was followed"):
            await record(RecordSpec(access_to(server), EVERYTHING, tmp_path), VenueClock(server), stop)
        assert not list(tmp_path.iterdir()), "nothing is left behind"

    go()


def test_two_recordings_of_a_second_do_not_meet(tmp_path):
    @with_standin(small_catalog(2))
    async def go(server):
        results = await asyncio.gather(
            *(recorded(server, tmp_path, lambda: asyncio.sleep(0.6)) for _ in range(2))
        )
        assert len({result.session for result in results}) == 2
        assert len(list(tmp_path.glob("*.parquet"))) == 4
        books = [book_of(read_tape(path).events) for path in sorted(tmp_path.glob("*.parquet"))]
        assert all(len(book[BID]) == len(book[ASK]) == 5 for book in books)
        assert all(np.unique(list(book[BID].values())).tolist() == [100_000_000] for book in books)

    go()
