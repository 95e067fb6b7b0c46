"""Markets are listed as Kalshi states them, and their lives become rows: nothing is guessed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, Settled
from pr3dict.domain.market import MarketStatus
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.frames import LifecycleMessage
from pr3dict.venues.kalshi.markets import Lives, life_of, listed
from pr3dict.venues.kalshi.numbers import reader_of

AT_NS = 1_795_355_184_000_000_000
S = 1_000_000_000


def made(kind, body):
    return reader_of(kind)(json.dumps(body).encode())


@pytest.fixture
def make(bodies):
    def build(market=None, event=None, series=None, **options):
        told = listed(
            made(m.Market, {**bodies.MARKET, **(market or {})}),
            made(m.Event, {**bodies.EVENT, **(event or {})}),
            made(m.Series, {**bodies.SERIES, **(series or {})}),
            at_ns=AT_NS,
            **{"row": 3, "direct_member": True, **options},
        )
        return life_of(told, made(m.Market, {**bodies.MARKET, **(market or {})}), event_shard=None)

    return build


@pytest.fixture
def lives(make):
    return Lives([make()])


def news(**fields):
    return made(LifecycleMessage, {"market_ticker": "KXA-1", **fields})


def kinds(rows):
    return [(int(r["market"]), int(r["kind"]), int(r["aux"])) for r in rows]


def test_a_market_is_listed_with_the_fee_in_force(make):
    told = make().listing
    assert (told.market, told.ticker, told.event_id, told.exclusive) == (3, "KXA-1", "KXA", True)
    assert (told.taker_ppm, told.maker_ppm) == (35_000, 8_750)  # half of 0.07 and of 0.0175
    assert (told.trade_unit_micros, told.unit_micros, told.rebate_unit_micros) == (1, 100, 100)
    assert (told.lot, told.min_size, told.nets_positions, told.book_includes_own) == (
        10_000,
        10_000,
        True,
        True,
    )
    assert told.grids[0].prices()[:2] == (100, 200) and len(told.grids) == 7
    assert make(direct_member=False).listing.unit_micros == 10_000


def test_an_event_overrides_its_series_and_a_waiver_both(make):
    assert (
        make(event={"fee_type_override": "quadratic", "fee_multiplier_override": 2}).listing.taker_ppm
        == 140_000
    )
    assert make(event={"fee_type_override": "quadratic"}).listing.maker_ppm == 0
    waived = make(market={"fee_waiver_expiration_time": "2027-01-01T00:00:00Z"}).listing
    assert (waived.taker_ppm, waived.maker_ppm) == (0, 0)
    assert make(market={"fee_waiver_expiration_time": "2026-01-01T00:00:00Z"}).listing.taker_ppm == 35_000


def test_a_fine_grid_comes_from_its_bands(make):
    bands = [
        {"start": "0", "end": "0.1000", "step": "0.0010"},
        {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
        {"start": "0.9000", "end": "1.0000", "step": "0.0010"},
    ]
    prices = make(market={"price_ranges": bands}).listing.grids[0].prices()
    assert prices[:2] == (10, 20) and 1010 not in prices and 1100 in prices and 9990 in prices


@pytest.mark.parametrize(
    "market",
    [
        {"market_type": "scalar"},
        {"price_ranges": []},
        {"exchange_index": None},
        {"price_ranges": [{"start": "0", "end": "1", "step": "0.03"}]},
    ],
)
def test_what_cannot_be_traded_safely_is_refused(make, market):
    with pytest.raises(DataError):
        make(market=market)


def test_an_unknown_status_counts_as_paused(make):
    assert make(market={"status": "frozen_solid"}).status is MarketStatus.PAUSED


def test_opening_and_closing_come_from_the_clock(make):
    lives = Lives([make(market={"status": "initialized"})])
    life = lives["KXA-1"]
    assert kinds(lives.opening(1)) == [(3, d.STATUS, d.INITIALIZED)]
    assert len(lives.tick(life.open_ns - 1)) == 0
    assert kinds(lives.tick(life.open_ns)) == [(3, d.STATUS, d.ACTIVE)]
    assert len(lives.tick(life.open_ns + 1)) == 0
    assert kinds(lives.tick(life.close_ns)) == [(3, d.STATUS, d.CLOSED)]


def test_what_is_over_is_looked_after_no_more_but_keeps_its_name(make, lives):
    other = make(market={"ticker": "KXA-9"}, row=7)
    lives.add([other])
    assert lives.watched == ("KXA-1", "KXA-9") and len(lives.opening(1)) == 2
    assert kinds(lives.opening(1, ["KXA-9"])) == [(7, d.STATUS, d.ACTIVE)]
    lives.leave(["KXA-1", "KXA-0"])
    assert lives.watched == ("KXA-9",) and [life.listing.market for life in lives.all()] == [7]
    assert kinds(lives.tick(other.close_ns)) == [(7, d.STATUS, d.CLOSED)]
    assert lives.rows["KXA-1"] == 3 and lives.by_row[3] == "KXA-1" and "KXA-1" in lives
    rows, events = lives.hear(news(event_type="settled", settlement_value="1.0000"), AT_NS)
    assert kinds(rows) == [(3, d.STATUS, d.SETTLED)] and len(events) == 1


def test_a_close_time_moves_and_the_clock_follows(lives):
    rows, events = lives.hear(news(event_type="close_date_updated", close_ts=1_795_400_000), AT_NS)
    assert kinds(rows) == [(3, d.CLOSE_TIME, 1_795_400_000 * S)] and events == ()
    assert kinds(lives.tick(1_795_400_000 * S)) == [(3, d.STATUS, d.CLOSED)]
    with pytest.raises(DataError):
        lives.hear(news(event_type="close_date_updated"), AT_NS)


def test_pauses_and_reactivation(lives):
    for word, status in (("deactivated", d.PAUSED), ("activated", d.ACTIVE)):
        rows, events = lives.hear(news(event_type=word), AT_NS)
        assert kinds(rows) == [(3, d.STATUS, status)] and events == ()


def test_a_grid_changes_live_or_stops_the_market(lives):
    fine = [{"start": "0", "end": "1", "step": "0.0010"}]
    rows, events = lives.hear(news(event_type="price_level_structure_updated", price_ranges=fine), AT_NS)
    assert kinds(rows) == [(3, d.TICK, 1)] and events == ()
    odd = [{"start": "0", "end": "1", "step": "0.0250"}]
    rows, events = lives.hear(news(event_type="price_level_structure_updated", price_ranges=odd), AT_NS)
    assert kinds(rows) == [(3, d.STATUS, d.PAUSED)] and events == (BookInvalid(market=3, why="tick"),)


@pytest.mark.parametrize(("value", "micros"), [("1.0000", 1_000_000), ("0.0000", 0), ("0.3700", 370_000)])
def test_a_payout_is_what_was_determined(lives, value, micros):
    rows, events = lives.hear(news(event_type="determined", result="scalar", settlement_value=value), AT_NS)
    assert kinds(rows) == [(3, d.STATUS, d.DETERMINED)] and events == ()
    rows, events = lives.hear(news(event_type="settled", settlement_value=value), AT_NS)
    assert events == (Settled(market=3, value_micros=micros),)


def test_an_amended_result_replaces_the_first_even_without_a_notice(lives, bodies):
    lives.hear(news(event_type="determined", result="yes", settlement_value="1.0000"), AT_NS)
    assert lives.hear(news(event_type="settled", settled_ts=1_795_400_000), AT_NS)[1] == ()
    told = {"status": "finalized", "result": "no", "settlement_value_dollars": "0.0000"}
    assert lives.reread(made(m.Market, {**bodies.MARKET, **told}), AT_NS)[1] == (
        Settled(market=3, value_micros=0),
    )


def test_a_payout_of_unknown_value_waits_for_the_markets_word(lives, bodies):
    assert lives.hear(news(event_type="determined", result="yes"), AT_NS)[1] == ()
    assert lives.hear(news(event_type="settled"), AT_NS)[1] == ()
    told = {"status": "finalized", "settlement_value_dollars": "0.5000"}
    assert lives.reread(made(m.Market, {**bodies.MARKET, **told}), AT_NS)[1] == (
        Settled(market=3, value_micros=500_000),
    )


@pytest.mark.parametrize(
    ("result", "events"),
    [
        ("yes", (Settled(market=3, value_micros=1_000_000),)),
        ("no", (Settled(market=3, value_micros=0),)),
        ("void", (Settled(market=3, value_micros=0, refund=True),)),
        ("scalar", ()),
        ("", ()),
    ],
)
def test_a_payout_without_a_value_is_what_its_result_means(lives, bodies, result, events):
    body = {**bodies.MARKET, "status": "finalized", "result": result}
    assert lives.reread(made(m.Market, body), AT_NS)[1] == events


@pytest.mark.parametrize(
    ("status", "aux"),
    [("inactive", d.PAUSED), ("disputed", 8), ("amended", 9), ("closed", d.CLOSED), ("???", d.PAUSED)],
)
def test_what_no_message_told_is_read(lives, bodies, status, aux):
    rows, events = lives.reread(made(m.Market, {**bodies.MARKET, "status": status}), AT_NS)
    assert kinds(rows) == [(3, d.STATUS, aux)] and events == ()
    assert (sum(lives.unknown_words.values()) == 1) == (status == "???")
    assert len(lives.reread(made(m.Market, {**bodies.MARKET, "status": status}), AT_NS)[0]) == 0


def test_unknown_news_distrusts_the_book_and_other_markets_are_ignored(lives):
    rows, events = lives.hear(news(event_type="turned_inside_out"), AT_NS)
    assert len(rows) == 0 and events == (BookInvalid(market=3, why="differs"),)
    rows, events = lives.hear(
        made(LifecycleMessage, {"event_type": "settled", "market_ticker": "KXZ"}), AT_NS
    )
    assert len(rows) == 0 and events == ()
    assert isinstance(rows, np.ndarray) and lives.unknown_words == {"turned_inside_out": 1}


def test_the_clock_is_not_turned_back_by_a_late_body(make, bodies):
    lives = Lives([make(market={"status": "initialized"})])
    life = lives["KXA-1"]
    early = made(m.Market, {**bodies.MARKET, "status": "initialized"})
    assert kinds(lives.tick(life.open_ns)) == [(3, d.STATUS, d.ACTIVE)]
    assert len(lives.reread(early, life.open_ns + 1)[0]) == 0
    assert kinds(lives.tick(life.close_ns)) == [(3, d.STATUS, d.CLOSED)]
    assert len(lives.reread(made(m.Market, bodies.MARKET), life.close_ns + 1)[0]) == 0
    later = {**bodies.MARKET, "close_time": "2026-12-02T00:00:00Z"}  # the close moved: it is open after all
    rows, _ = lives.reread(made(m.Market, later), life.close_ns + 1)
    assert [kind for _, kind, _ in kinds(rows)] == [d.CLOSE_TIME, d.STATUS] and rows["aux"][1] == d.ACTIVE


def test_an_opening_tells_what_a_listing_of_long_ago_does_not(make, bodies):
    """The engine counts in the grids and the close of the journal; the market has moved on meanwhile."""
    journaled = make().listing
    moved = dict(bodies.MARKET, price_ranges=[{"start": "0.0000", "end": "1.0000", "step": "0.0010"}])
    moved["close_time"] = "2026-11-30T00:00:00Z"
    life = life_of(journaled, made(m.Market, moved), event_shard=None)
    place = [len(grid.prices()) for grid in journaled.grids].index(999)
    told = kinds(Lives([life]).opening(AT_NS))
    assert told[1:] == [(3, d.TICK, place), (3, d.CLOSE_TIME, life.close_ns)] and place > 0
    assert kinds(Lives([make()]).opening(AT_NS)) == told[:1]


def test_a_payout_is_told_once_and_again_when_it_is_another(lives, bodies):
    def read(value):
        body = dict(bodies.MARKET, status="finalized", result="yes", settlement_value_dollars=value)
        return lives.reread(made(m.Market, body), AT_NS)[1]

    assert [event.value_micros for event in read("1.0000")] == [1_000_000]
    assert read("1.0000") == ()
    assert [event.value_micros for event in read("0.0000")] == [0]
