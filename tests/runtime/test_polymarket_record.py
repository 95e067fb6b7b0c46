"""Tapes recorded from Polymarket's stand-in, and its scan: the venue's own book, without an account."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from polymarket_look import VenueClock, access_to, freeze, in_thread, lively, with_standin
from venue_tapes import book_of, recorded, tapes_in

from pr3dict.cli.main import run
from pr3dict.domain.errors import UsageError
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.venue_scan import LiveScanSpec, scan_live
from pr3dict.runtime.venue_selection import Selection
from pr3dict.strategies.presets import build_config
from pr3dict.strategies.selection import ranking
from standins.polymarket import small_catalog

HOUR = 3_600.0


def true_book(market) -> tuple[dict[int, int], dict[int, int]]:
    """The venue's own book in YES terms."""
    bids, asks = market.book.totals
    return {p: n for p, n in bids.items() if n}, {p: n for p, n in asks.items() if n}


async def kept(server, out: Path, during, **changes):
    return await recorded(access_to(server), VenueClock(server), out, during, **changes)


async def settled_down(server) -> None:
    """Venue time stands still, and every frame has arrived."""
    freeze(server)
    await asyncio.sleep(0.4)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A recording of two lively markets, with what the venue said in the end."""
    out = tmp_path_factory.mktemp("tapes")
    seen = {}

    @with_standin(lively, speed=4.0)
    async def go(server):
        async def during():
            await asyncio.sleep(2.5)
            await settled_down(server)

        seen["result"] = await kept(server, out, during)
        for market in server.venue.markets:
            seen[market.spec.condition] = true_book(market)
            seen["tokens", market.spec.condition] = market.tokens

    go()
    return out, seen


def test_the_tapes_end_with_the_venues_book(session):
    out, seen = session
    result, tapes = seen["result"], tapes_in(out)
    assert sorted(tapes) == sorted(result.followed.rows) and len(tapes) == 2
    for ticker, tape in tapes.items():
        assert book_of(tape.events) == seen[ticker]
        trades = int((tape.events["kind"] == d.TRADE).sum())
        assert trades == result.followed.trades[ticker] > 5 and len(tape.events) > 100
        assert tape.meta.venue == "polymarket" and tape.meta.fee.kind == "polymarket"
        assert tape.meta.contract_id == seen["tokens", ticker][0] and tape.meta.close_ns is None
    assert not list(out.glob("*.rows")) and result.session.startswith("polymarket-local-")


def test_the_tapes_backtest(session, capsys):
    out, _ = session
    assert run(["backtest", str(out), "--preset", "short_dated", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markets"] == 2


def test_holes_are_marked_and_the_book_is_whole_again(tmp_path):
    seen = {}

    @with_standin(lively, speed=2.0)
    async def go(server):
        async def during():
            await asyncio.sleep(0.8)
            server.do("disconnect")
            await asyncio.sleep(2.2)
            await settled_down(server)

        seen["result"] = await kept(server, tmp_path, during)
        seen.update({market.spec.condition: true_book(market) for market in server.venue.markets})

    go()
    result, tapes = seen["result"], tapes_in(tmp_path)
    assert result.followed.outages == 1
    for ticker, tape in tapes.items():
        assert result.followed.gaps[ticker] == 1, "a lost connection is one hole, however it is told"
        marks = tape.events[(tape.events["bits"] & d.SYNTHETIC) != 0]
        pauses = marks[(marks["kind"] == d.STATUS) & (marks["aux"] == d.PAUSED)]
        assert len(pauses) == 1 and book_of(tape.events) == seen[ticker]


def test_the_life_of_markets_is_on_the_tape(tmp_path):
    @with_standin(small_catalog(2), speed=10.0)
    async def go(server):
        async def during():
            await asyncio.sleep(0.5)
            server.do("change_tick", market="plain-0", tick="0.001")
            await asyncio.sleep(0.5)
            server.do("resolve", market="plain-0", result="no")
            server.do("resolve", market="plain-1", result="void")
            await asyncio.sleep(20)

        result = await kept(server, tmp_path, during)
        assert result.followed.settled == 2 and result.seconds < 100, "it ends with the last payout"
        assert result.followed.outages == 0
        ticks, pays = {}, {}
        for market in server.venue.markets:
            events = tapes_in(tmp_path)[market.spec.condition].events
            ticks[market.spec.slug] = events["aux"][events["kind"] == d.TICK].tolist()
            assert events[-1]["kind"] == d.SETTLE
            pays[market.spec.slug] = int(events[-1]["qty"])
        assert pays == {"plain-0": 0, "plain-1": 500_000} and len(ticks["plain-0"]) == 1

    go()


def test_without_a_market_nothing_is_recorded(tmp_path):
    @with_standin(small_catalog(1))
    async def go(server):
        with pytest.raises(UsageError, match="no market to record: none Polymarket lists no open market"):
            await kept(server, tmp_path, lambda: asyncio.sleep(2), selection=Selection(("none",)))
        assert not list(tmp_path.iterdir())

    go()


# --- scan -------------------------------------------------------------------------------------------------


async def scanned(server, **changes):
    config = build_config(None, assignments=["min_liquidity=100"])
    spec = LiveScanSpec(access_to(server), Selection(), config, **{"watch_s": 1.0, **changes})
    return await scan_live(spec, VenueClock(server))


def quiet(count: int = 4, **changes):
    return small_catalog(count, **{"end_in_s": 24 * HOUR, **changes})


@with_standin(quiet(4))
async def test_the_most_promising_are_watched_and_judged_like_tapes(server):
    for count, slug in enumerate(("plain-0", "plain-1", "field-2", "field-3")):
        server.do("take", market=slug, taker="ask", price="0.48", shares=10 * (count + 1))
        server.do("level", market=slug, side="bid", price="0.48", shares=100)
    watching = asyncio.create_task(scanned(server, candidates=2, watch_s=2.0))
    for _ in range(6):
        await asyncio.sleep(0.3)
        for slug in ("field-2", "field-3"):
            server.do("take", market=slug, taker="ask", price="0.48", shares=3)
            server.do("level", market=slug, side="bid", price="0.48", shares=100)
    seen = await watching
    assert {seen.labels[name] for name in seen.watched} == {"field-2", "field-3"} and seen.notes == ()
    found = ranking(one.candidate for one in seen.judged)
    assert {seen.labels[one.name] for one in found.ranked} == {"field-2", "field-3"}
    for one in found.ranked:
        assert one.statistics.spread == pytest.approx(0.04) and one.statistics.trades_per_hour[1] > 0


@with_standin(quiet(2, rewards_daily=24, rewards_max_spread_cents=4.5))
async def test_fees_and_rewards_are_shown(server):
    seen = await scanned(server, watch_s=0.0)
    terms = {seen.labels[name]: found for name, found in seen.terms.items()}
    (reward,) = terms["plain-0"].incentives
    assert (reward.kind, reward.reward_micros, reward.micros_an_hour) == ("liquidity", 24_000_000, 1_000_000)
    assert (reward.max_spread, reward.target) == (450, server.venue.markets[0].spec.rewards_min_size * 10**6)
    assert terms["plain-0"].fee == "polymarket taker 4%, maker 0%, rebate 25% of the taker's fee"
    assert terms["plain-1"].fee.startswith("polymarket taker 0%")


def test_the_command_ranks_live_markets(monkeypatch, capsys):
    with in_thread(quiet(3)) as server:
        monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
        words = ["scan", "--venue", "polymarket", "--env", "local", "--url", server.url]
        words += ["--watch", "1.2", "--set", "min_liquidity=100"]
        assert run([*words, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["account"] == "polymarket local without a wallet" and answer["markets"] == 3
        groups = [*answer["ranked"], *answer["unscored"], *answer["rejected"]]
        assert {one["label"] for one in groups} == {"plain-0", "plain-1", "field-2"}
        assert all(one["dollars_24h"] is not None and one["programmes"] for one in groups)
        assert run([*words, "--market", "plain-1", "--market", "no"]) == 0
        shown = capsys.readouterr().out
        assert "plain-1" in shown and "0x" not in shown
        assert "no: Polymarket lists no open market of this name" in shown
