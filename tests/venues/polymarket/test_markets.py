"""Markets as the engine knows them: listing, price grids, the start of games, resolution, restrictions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Settled
from pr3dict.domain.market import MarketStatus
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.frames import ResolvedFrame
from pr3dict.venues.polymarket.markets import Life, Lives, life_of, listed, stated_value, verbose_value
from pr3dict.venues.polymarket.models import ClobMarket, GammaMarket, VerboseMarket
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.outcomes import Restriction
from pr3dict.venues.polymarket.venue_watch import Restrictions

SECOND = 1_000_000_000
NOW_NS = 1_763_800_000 * SECOND
CONDITION = "0x" + "ab" * 32
YES = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
NO = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
BODY: dict[str, Any] = {
    "id": "540817", "conditionId": CONDITION, "slug": "will-x", "question": "Will X?", "version": "v1",
    "active": True, "closed": False, "acceptingOrders": True, "enableOrderBook": True,
    "outcomes": '["Yes","No"]', "outcomePrices": '["0.53","0.47"]', "clobTokenIds": f'["{YES}","{NO}"]',
    "positionIds": None, "endDate": "2026-12-31T12:00:00Z", "orderPriceMinTickSize": 0.01, "orderMinSize": 5,
    "negRisk": False, "feesEnabled": True, "umaResolutionStatus": None, "events": [{"id": "1"}],
    "feeSchedule": {"rate": 0.04, "exponent": 1, "takerOnly": True, "rebateRate": 0.25},
}  # fmt: skip


def gamma(**more: Any) -> GammaMarket:
    found: GammaMarket = reader_of(GammaMarket)(msgspec.json.encode({**BODY, **more}))
    return found


def clob(**more: Any) -> ClobMarket:
    body = {"t": [{"t": YES, "o": "Yes"}, {"t": NO, "o": "No"}], "mts": 0.001, "mos": 15, "nr": True}
    found: ClobMarket = reader_of(ClobMarket)(msgspec.json.encode({**body, **more}))
    return found


def lives(*markets: GammaMarket, **options: Any) -> Lives:
    found: list[Life] = []
    for n, market in enumerate(markets or (gamma(),)):
        found.append(life_of(listed(market, row=n), market))
    return Lives(found, **options)


def statuses(rows: d.Array) -> list[int]:
    return [int(r["aux"]) for r in rows if r["kind"] == d.STATUS]


def test_a_listing_says_what_binds_an_order() -> None:
    found = listed(gamma(), row=3)
    assert (found.market, found.ticker, found.min_size, found.lot) == (3, CONDITION, 5_000_000, 10_000)
    assert not found.nets_positions and not found.reduce_in_place and not found.exclusive
    assert (found.taker_ppm, found.maker_ppm, found.rebate_ppm) == (40_000, 0, 250_000)
    assert found.grids[0].contains(5_300) and not found.grids[0].contains(5_310)
    assert found.grids[1].contains(5_310) and found.resolution_ns == 1_798_718_400 * SECOND
    assert found.close_ns == -1


def test_the_order_api_s_word_wins() -> None:
    found = listed(gamma(), row=0, clob=clob(fd={"r": 0.07, "e": 1, "to": True}))
    assert (found.min_size, found.taker_ppm, found.rebate_ppm) == (15_000_000, 70_000, 250_000)
    assert found.grids[0].contains(5_310)
    life = life_of(found, gamma(), clob())
    assert life.neg_risk and life.tick == 10 and life.terms.tick == 10
    assert listed(gamma(), row=0, clob=clob()).taker_ppm == 0  # it states none: there is none


def test_markets_of_a_neg_risk_event_exclude_each_other() -> None:
    found = listed(gamma(negRisk=True, negRiskMarketID="0xevent"), row=0)
    assert (found.exclusive, found.event_id) == (True, "0xevent")


def test_ids_of_the_second_protocol() -> None:
    ids = [str(int("01" + "cd" * 16 + "00" * 15, 16)), str(int("01" + "cd" * 16 + "00" * 15, 16) | 1)]
    market = gamma(
        version="v2", clobTokenIds=None, positionIds=ids, conditionId="0x01" + "cd" * 16 + "00" * 14
    )
    life = life_of(listed(market, row=0), market)
    assert (life.yes, life.no) == tuple(ids) and len(life.condition) == 66
    assert life.listing.ticker == "0x01" + "cd" * 16 + "00" * 14


@pytest.mark.parametrize(
    "more",
    [
        {"clobTokenIds": None},
        {"clobTokenIds": '["",""]'},
        {"conditionId": None},
        {"orderMinSize": None},
        {"orderPriceMinTickSize": None},
        {"feeSchedule": {"rate": 0.25, "exponent": 2, "takerOnly": True, "rebateRate": 0.2}},
    ],
)
def test_what_can_t_be_traded_is_named(more: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        listed(gamma(**more), row=0)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, MarketStatus.ACTIVE),
        ({"acceptingOrders": False}, MarketStatus.PAUSED),
        ({"active": False}, MarketStatus.PAUSED),
        ({"umaResolutionStatus": "proposed"}, MarketStatus.PAUSED),
        ({"umaResolutionStatus": "disputed"}, MarketStatus.PAUSED),
        ({"closed": True}, MarketStatus.CLOSED),
        (
            {"closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["0","1"]'},
            MarketStatus.SETTLED,
        ),
    ],
)
def test_status_of_a_body(more: dict[str, Any], status: MarketStatus) -> None:
    assert statuses(lives(gamma(**more)).opening(NOW_NS)) == [status]


@pytest.mark.parametrize(
    ("prices", "value"),
    [('["1","0"]', 1_000_000), ('["0","1"]', 0), ('["0.5","0.5"]', 500_000), ('["0.9","0.1"]', -1)],
)
def test_values_of_resolved_markets(prices: str, value: int) -> None:
    assert stated_value(gamma(closed=True, umaResolutionStatus="resolved", outcomePrices=prices)) == value
    assert stated_value(gamma(closed=True, outcomePrices=prices)) == -1


def test_payouts_are_told_once_by_whichever_route() -> None:
    known = lives()
    won = ResolvedFrame(market=CONDITION, timestamp=NOW_NS, winning_asset_id=NO)
    rows, events = known.resolved(won, NOW_NS)
    assert events == (Settled(market=0, value_micros=0),) and statuses(rows) == [MarketStatus.SETTLED]
    over = gamma(closed=True, umaResolutionStatus="resolved", outcomePrices='["0","1"]')
    assert known.reread(over, NOW_NS)[1] == ()
    assert known.prices() == {0: 0}
    void = ResolvedFrame(market=CONDITION, timestamp=NOW_NS)
    fresh = lives()
    assert fresh.resolved(void, NOW_NS)[1] == () and fresh.is_unpaid(CONDITION)
    half = gamma(closed=True, umaResolutionStatus="resolved", outcomePrices='["0.5","0.5"]')
    assert fresh.reread(half, NOW_NS)[1] == (Settled(market=0, value_micros=500_000),)


def test_the_order_api_names_the_winner() -> None:
    def verbose(**more: Any) -> VerboseMarket:
        tokens = [{"token_id": YES, "winner": False}, {"token_id": NO, "winner": True}]
        body = {"condition_id": CONDITION, "tokens": tokens, "closed": True, **more}
        found: VerboseMarket = reader_of(VerboseMarket)(msgspec.json.encode(body))
        return found

    assert verbose_value(verbose(), YES) == 0 and verbose_value(verbose(), NO) == 1_000_000
    assert verbose_value(verbose(is_50_50_outcome=True), YES) == 500_000
    assert verbose_value(verbose(tokens=[{"token_id": YES}]), YES) == -1
    known = lives()
    assert known.reread_over(verbose(), NOW_NS)[1] == (Settled(market=0, value_micros=0),)
    still = lives()
    still.opening(NOW_NS)
    rows, events = still.reread_over(verbose(closed=False, accepting_orders=False), NOW_NS)
    assert events == () and statuses(rows) == [MarketStatus.PAUSED]


def test_quotes_are_out_of_a_book_that_a_game_will_empty() -> None:
    starts = NOW_NS + 300 * SECOND
    market = gamma(clearBookOnStart=True, gameStartTime=starts // SECOND)
    for in_play, after in ((False, MarketStatus.PAUSED), (True, MarketStatus.ACTIVE)):
        known = lives(market, in_play=in_play)
        assert statuses(known.opening(NOW_NS)) == [MarketStatus.ACTIVE]
        assert statuses(known.tick(starts - 61 * SECOND)) == []
        assert statuses(known.tick(starts - 59 * SECOND)) == [MarketStatus.PAUSED]
        rows = known.tick(starts + 11 * SECOND)
        assert statuses(rows) == ([] if after is MarketStatus.PAUSED else [after])
    keeps = lives(gamma(clearBookOnStart=False, gameStartTime=starts // SECOND))
    keeps.opening(NOW_NS)
    assert statuses(keeps.tick(starts)) == []


def test_both_starts_of_a_game_are_heeded_and_whoever_says_that_it_empties_the_book_is_believed() -> None:
    early, late = NOW_NS + 300 * SECOND, NOW_NS + 900 * SECOND
    for ours, theirs in ((early, late), (late, early)):
        for gamma_clears, book_clears in ((True, False), (False, True)):
            market = gamma(clearBookOnStart=gamma_clears, gameStartTime=ours // SECOND)
            book = clob(cbos=book_clears, gst=theirs // SECOND, mts=0.01, mos=5)
            known = Lives([life_of(listed(market, row=0, clob=book), market, book)], in_play=True)
            known.opening(NOW_NS)
            assert statuses(known.tick(early - 61 * SECOND)) == []
            assert statuses(known.tick(early - 59 * SECOND)) == [MarketStatus.PAUSED]
            assert statuses(known.tick(late + 9 * SECOND)) == []
            assert statuses(known.tick(late + 11 * SECOND)) == [MarketStatus.ACTIVE]
            moved = clob(cbos=book_clears, gst=(late + 300 * SECOND) // SECOND)
            assert statuses(known.start_moved(moved, CONDITION, late + 250 * SECOND)) == [MarketStatus.PAUSED]


def test_a_tick_that_is_not_listed_pauses_the_market() -> None:
    known = lives()
    known.opening(NOW_NS)
    rows, _ = known.tick_moved(TickChange(0, 10, NOW_NS), NOW_NS)
    assert [(int(r["kind"]), int(r["aux"])) for r in rows] == [(d.TICK, 1)] and known.of_row(
        0
    ).terms.tick == 10
    rows, _ = known.tick_moved(TickChange(0, 1, NOW_NS), NOW_NS)
    assert [(int(r["kind"]), int(r["aux"])) for r in rows] == [(d.STATUS, MarketStatus.PAUSED)]
    rows, _ = known.tick_moved(TickChange(0, 100, NOW_NS), NOW_NS)
    assert [(int(r["kind"]), int(r["aux"])) for r in rows] == [(d.TICK, 0), (d.STATUS, MarketStatus.ACTIVE)]


def test_restrictions_are_learned_from_answers_and_end_by_themselves() -> None:
    known = Restrictions()
    assert known.in_force(NOW_NS) == ("open", False)
    known.heard(NOW_NS, Restriction.RESTARTING, 0)
    assert known.in_force(NOW_NS) == ("restarting", True)
    assert known.in_force(NOW_NS + SECOND) == ("open", True)
    known.heard(NOW_NS + SECOND, Restriction.RESTARTING, 0)  # quoting tried again: the pause doubles
    assert known.in_force(NOW_NS + 2 * SECOND) == ("restarting", True)
    assert known.in_force(NOW_NS + 3 * SECOND) == ("open", True)
    assert known.in_force(NOW_NS + 200 * SECOND) == ("open", False)
    known.heard(NOW_NS + 200 * SECOND, Restriction.CANCEL_ONLY, 5 * SECOND)
    assert known.in_force(NOW_NS + 204 * SECOND) == ("paused", False)
    assert known.in_force(NOW_NS + 205 * SECOND) == ("open", False)
    known.heard(NOW_NS + 300 * SECOND, Restriction.POST_ONLY, 7 * SECOND)
    assert known.in_force(NOW_NS + 306 * SECOND) == ("open", True)
    assert known.in_force(NOW_NS + 307 * SECOND) == ("open", False)


def test_after_a_restart_markets_take_post_only_orders() -> None:
    known = lives(gamma(), gamma(conditionId="0x" + "cd" * 32, acceptingOrders=False))
    known.opening(NOW_NS)
    assert statuses(known.restrict(NOW_NS, post_only=True)) == [MarketStatus.POST_ONLY_MODE]
    assert statuses(known.restrict(NOW_NS, post_only=False)) == [MarketStatus.ACTIVE]
