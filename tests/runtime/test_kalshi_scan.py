"""The scan of live markets: what the listing proves, what watching adds, with a key and without one."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kalshi_look import VenueClock, access_to, environment, freeze, in_thread, lively, with_standin

from pr3dict.cli.main import run
from pr3dict.runtime import kalshi_scan
from pr3dict.runtime.kalshi_access import Selection
from pr3dict.runtime.scan import scan
from pr3dict.runtime.venue_scan import LiveScanSpec, scan_live
from pr3dict.strategies.presets import build_config
from pr3dict.strategies.selection import ranking
from standins.kalshi import Programme, SeriesSpec, small_catalog
from standins.kalshi.catalog import Catalog

HOUR = 3_600.0
WIDE = ("min_existing_spread=0.0001", "min_time_to_resolution=0.01")


def config(*assignments: str):
    return build_config(None, assignments=["min_liquidity=100", *assignments])


async def scanned(server, *assignments: str, key: bool = True, **changes):
    spec = LiveScanSpec(
        access_to(server, key=key), Selection(), config(*assignments), **{"watch_s": 1.0, **changes}
    )
    return await scan_live(spec, VenueClock(server))


def by_name(seen) -> dict:
    return {one.candidate.name: one.candidate for one in seen.judged}


def quiet(count: int = 4, **changes) -> Catalog:
    """Markets with a spread of four cents that close in a day."""
    return small_catalog(count, **{"close_in_s": 24 * HOUR, **changes})


def traded(server, name: str, contracts: int) -> None:
    """A seller takes the best bid of 0.48, which is put back."""
    server.do("take", ticker=name, taker="ask", price="0.4800", contracts=contracts)
    server.do("level", ticker=name, side="bid", price="0.4800", contracts=100)


@with_standin(quiet(5), speed=1.0)
async def test_the_listing_rejects_what_it_proves(server):
    fit, narrow, one_sided, soon, idle = (market.spec.ticker for market in server.venue.markets)
    server.do("level", ticker=narrow, side="bid", price="0.5100", contracts=5)
    for price in ("0.5200", "0.5300", "0.5400", "0.5500", "0.5600"):
        server.do("level", ticker=one_sided, side="ask", price=price, contracts=0)
    server.do("move_close", ticker=soon, in_s=600.0)

    def grown(body):
        for event in body["events"]:
            for market in event.get("markets", ()):
                if market["ticker"] == idle:
                    market["open_time"] = "2020-01-01T00:00:00Z"
        return body

    server.rewrites["events"] = grown
    seen = await scanned(server, watch_s=0.0)
    why = {name: [r.reason for r in one.rejections] for name, one in by_name(seen).items()}
    assert why[fit] == [] and why[idle] == ["no_volume"]
    assert why[narrow] == ["narrow_spread"] and "too_close" in why[soon][0].replace(" ", "_")
    assert why[one_sided] == ["one_sided_book"]
    sentence = by_name(seen)[narrow].rejections[0].sentence
    assert sentence == "spread $0.0100 < min_existing_spread $0.0200"
    assert by_name(seen)[fit].missing == ("depth", "trades") and seen.watched == frozenset()


@with_standin(quiet(4))
async def test_the_most_promising_are_watched_and_judged_like_tapes(server):
    names = [market.spec.ticker for market in server.venue.markets]
    for count, name in enumerate(names):
        traded(server, name, 10 * (count + 1))
    watching = asyncio.create_task(scanned(server, candidates=2, watch_s=2.0))
    for _ in range(6):
        await asyncio.sleep(0.3)
        for name in names:
            traded(server, name, 3)
    seen = await watching
    assert seen.watched == {names[3], names[2]} and seen.watched_s >= 2.0 and seen.notes == ()
    found = ranking(one.candidate for one in seen.judged)
    assert {one.name for one in found.ranked} == {names[3], names[2]}
    assert {one.name for one in found.unscored} == {names[0], names[1]}
    stats = by_name(seen)[names[3]].statistics
    assert stats.spread == pytest.approx(0.04) and stats.bid_contracts == pytest.approx(100, abs=5)
    assert stats.trades_per_hour[1] > 0 and stats.trades_per_hour[0] == 0


@with_standin(quiet(2), speed=1.0)
async def test_without_a_key_the_books_are_polled_and_it_is_said(server):
    names = [market.spec.ticker for market in server.venue.markets]
    for name in names:
        traded(server, name, 5)
    watching = asyncio.create_task(scanned(server, key=False, watch_s=3.0))
    for _ in range(8):
        await asyncio.sleep(0.3)
        for name in names:
            traded(server, name, 2)
    seen = await watching
    assert seen.watched == frozenset(names) and "without a key" in seen.notes[0]
    for one in by_name(seen).values():
        assert one.missing == () and one.score is not None
        assert one.statistics.spread == pytest.approx(0.04)
        sold_per_hour = one.statistics.contracts_per_hour[1]
        assert 8 * HOUR / 3.5 <= sold_per_hour <= 20 * HOUR / 2
    assert server.requests["ws"] == 0 and server.requests["balance"] == 0


def test_a_polled_book_and_a_streamed_one_agree(monkeypatch):
    """A market that moves slowly looks alike both ways."""
    monkeypatch.setattr(kalshi_scan, "POLL_NS", 250_000_000)

    @with_standin(quiet(2))
    async def go(server):
        async def moves():
            for count in range(14):
                price = f"0.{48 - count % 2}00"
                for market in server.venue.markets:
                    server.do("level", ticker=market.spec.ticker, side="bid", price="0.4800",
                              contracts=0 if price == "0.4700" else 100)  # fmt: skip
                await asyncio.sleep(0.25)

        mover = asyncio.create_task(moves())
        both = await asyncio.gather(scanned(server, watch_s=3.0), scanned(server, key=False, watch_s=3.0))
        await mover
        with_key, without = (by_name(seen) for seen in both)
        for name, one in with_key.items():
            ours, polled = one.statistics, without[name].statistics
            assert polled.spread == pytest.approx(ours.spread, abs=0.006)
            assert polled.liquidity == pytest.approx(ours.liquidity, rel=0.3)
            assert polled.mid == pytest.approx(ours.mid, abs=0.003)

    go()


def test_fees_and_programmes_are_shown():
    plain = quiet(2)
    catalog = Catalog(
        (*plain.series[:1], SeriesSpec("KXB", fee_type="quadratic_with_maker_fees")),
        plain.events,
        plain.markets,
        programmes=(
            Programme(plain.markets[0].ticker, -HOUR, HOUR, reward_centicents=200_000, target=500),
            Programme(plain.markets[0].ticker, HOUR, 2 * HOUR),
        ),
        fee_changes=plain.fee_changes,
        flow=plain.flow,
    )

    @with_standin(catalog)
    async def go(server):
        first, second = (market.spec.ticker for market in server.venue.markets)
        seen = await scanned(server, watch_s=0.0)
        terms = seen.terms[first]
        (programme,) = terms.incentives
        assert (programme.reward_micros, programme.micros_an_hour) == (20_000_000, 10_000_000)
        assert (programme.target, programme.discount_ppm) == (500_000_000, 500_000)
        assert terms.fee_moves and terms.fee == "kalshi taker 7%, maker 0%, account in cents"
        assert seen.terms[second].maker_ppm == 17_500 and not seen.terms[second].incentives

    go()


def test_what_is_recorded_and_what_is_scanned_are_judged_alike(tmp_path):
    """The scan of live markets is the scan of the tapes that `record` would have kept."""
    from pr3dict.runtime.venue_record import RecordSpec, record

    @with_standin(lively, speed=3.0)
    async def go(server):
        await asyncio.sleep(0.5)
        spec = RecordSpec(access_to(server), Selection(), tmp_path, 8.0)
        clock = VenueClock(server)
        seen, _ = await asyncio.gather(
            scanned(server, *WIDE, watch_s=8.0),
            record(spec, clock, asyncio.Event()),
        )
        freeze(server)
        settings = config(*WIDE)
        taped = {one.candidate.name: one.candidate for one in scan([tmp_path], settings)}
        assert sorted(taped) == sorted(by_name(seen)) == sorted(seen.watched)
        for name, one in by_name(seen).items():
            ours, theirs = one.statistics, taped[name].statistics
            assert ours.hours == pytest.approx(theirs.hours, abs=3 / 3600)
            assert ours.spread == pytest.approx(theirs.spread, abs=0.004)
            assert ours.liquidity == pytest.approx(theirs.liquidity, rel=0.2)

    go()


def test_the_command_ranks_live_markets(monkeypatch, capsys):
    with in_thread(quiet(3)) as server:
        names = sorted(market.spec.ticker for market in server.venue.markets)
        monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
        words = ["scan", "--venue", "kalshi", "--env", "local", "--url", server.url]
        words += ["--watch", "1.2", "--set", "min_liquidity=100"]
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        assert run([*words, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["account"] == f"kalshi local {server.key.id[:8]}" and answer["markets"] == 3
        groups = [*answer["ranked"], *answer["unscored"], *answer["rejected"]]
        assert sorted(one["market"] for one in groups) == names
        assert all(one["watched"] and "maker_fee_ppm" in one for one in answer["ranked"])
        assert len(answer["ranked"]) == 3 and answer["notes"] == []
        for name in environment(server):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
        assert run([*words, "--market", names[0], "--market", "NO"]) == 0
        shown = capsys.readouterr().out
        assert names[0] in shown and "NO: Kalshi knows no such market" in shown
        assert "Fees and programmes" in shown and "without a key" in shown
