from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import fees, market
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.market import Band, Market, MarketStatus, PriceGrid

CENTRES_AND_EDGES = [
    ("whole", "half"), ("whole", "quint"), ("half", "half"), ("half", "quint"),
    ("half", "deci"), ("quint", "quint"), ("quint", "deci"), ("centi", "centi"),
]  # fmt: skip
STEPS = {"whole": 100, "half": 50, "quint": 20, "deci": 10, "centi": 1}
LABELS = [
    "linear_cent", "deci_cent", "tapered_deci_cent", "center_deci_edge_centi_cent",
    *(f"center_{c}_edge_{e}_cent" for c, e in CENTRES_AND_EDGES),
]  # fmt: skip
GRIDS = [market.kalshi_grid(label) for label in LABELS] + [
    market.polymarket_grid(tick) for tick in market.POLYMARKET_TICKS
]
ANY_GRID = st.sampled_from(GRIDS)


def step_at(label: str, price: int) -> int:
    """Step of a label at a price, straight from the venue's table (edges: below 0.10 and above 0.90)."""
    edge = price < 1_000 or price > 9_000
    if label == "linear_cent":
        return 100
    if label == "deci_cent":
        return 10
    if label == "tapered_deci_cent":
        return 10 if edge else 100
    if label == "center_deci_edge_centi_cent":
        return 1 if price < 100 or price > 9_900 else 10
    _, centre, _, outer, _ = label.split("_")
    return STEPS[outer] if edge else STEPS[centre]


@pytest.mark.parametrize("label", LABELS)
def test_a_kalshi_label_has_the_steps_of_its_bands(label: str) -> None:
    expected = tuple(p for p in range(1, 10_000) if p % step_at(label, p) == 0)
    assert market.kalshi_grid(label).prices() == expected


@pytest.mark.parametrize("label", LABELS)
def test_whole_cents_are_valid_on_every_kalshi_grid(label: str) -> None:
    grid = market.kalshi_grid(label)
    assert all(grid.contains(cent) for cent in range(100, 10_000, 100))


@pytest.mark.parametrize("tick", ["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001"])
def test_a_polymarket_tick_reaches_from_tick_to_one_less_tick(tick: str) -> None:
    exact = Fraction(tick)
    prices = market.polymarket_grid(int(exact * 10_000)).prices()
    assert [Fraction(p, 10_000) for p in prices] == [k * exact for k in range(1, int(1 / exact))]


@pytest.mark.parametrize("tick", [0, 2, 20, 500, 10_000, -100])
def test_other_ticks_are_refused(tick: int) -> None:
    with pytest.raises(DataError, match="no tick"):
        market.polymarket_grid(tick)


@pytest.mark.parametrize("label", ["", "linear", "center_tiny_edge_half_cent", "center_whole_edge_half"])
def test_an_unknown_label_points_to_the_price_ranges(label: str) -> None:
    with pytest.raises(DataError, match="price_ranges"):
        market.kalshi_grid(label)


def test_price_ranges_of_a_venue_message() -> None:
    ranges = [
        {"start": "0.0000", "end": "0.1000", "step": "0.0010"},
        {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
        {"start": "0.9000", "end": "1.0000", "step": "0.0010"},
    ]
    assert PriceGrid.from_price_ranges(ranges).prices() == market.kalshi_grid("tapered_deci_cent").prices()


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ([], "no price"),
        ([{"start": "0", "end": "1"}], "row 1: price_ranges: the band lacks step"),
        ([{"start": "0", "end": "1", "step": "0"}], "positive step"),
        ([{"start": "0", "end": "1", "step": "nan"}], "row 1: price_ranges: price 'nan'"),
        ([{"start": "0.5", "end": "0.4", "step": "0.01"}], "start < end"),
        ([{"start": "0", "end": "1", "step": "0.0300"}], "does not divide"),
        ([{"start": "0", "end": "1", "step": "1"}], "no price"),
        (
            [{"start": "0", "end": "0.6", "step": "0.01"}, {"start": "0.5", "end": "1", "step": "0.01"}],
            "row 2: price_ranges: the band overlaps",
        ),
    ],
)
def test_impossible_price_ranges_are_refused(ranges: list[dict[str, str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        PriceGrid.from_price_ranges(ranges)


@given(ANY_GRID, st.integers(-100, 10_100))
def test_floor_and_ceil_are_the_nearest_valid_prices(grid: PriceGrid, price: int) -> None:
    below = [p for p in grid.prices() if p <= price]
    above = [p for p in grid.prices() if p >= price]
    assert grid.floor(price) == (below[-1] if below else None)
    assert grid.ceil(price) == (above[0] if above else None)
    assert grid.contains(price) == (price in grid.prices())


@given(ANY_GRID, st.integers(-50_000, 1_050_000), st.integers(-50_000, 1_050_000))
def test_rounding_goes_away_from_the_middle_and_mirrors(grid: PriceGrid, bid: int, ask: int) -> None:
    rounded_bid, rounded_ask = market.round_quote(grid, bid, ask)
    if rounded_bid is not None:
        assert rounded_bid * 100 <= bid
        assert not any(rounded_bid < p and p * 100 <= bid for p in grid.prices())
    else:
        assert bid < grid.prices()[0] * 100 or bid >= 1_000_000
    no_bid, no_ask = market.round_quote(grid, 1_000_000 - ask, 1_000_000 - bid)
    assert no_bid == (None if rounded_ask is None else 10_000 - rounded_ask)
    assert no_ask == (None if rounded_bid is None else 10_000 - rounded_bid)


def test_the_life_of_a_kalshi_market() -> None:
    status = MarketStatus.INITIALIZED
    for word in ("active", "inactive", "active", "closed", "determined", "disputed", "amended", "finalized"):
        status = market.advance_status(status, market.KALSHI_STATUS[word])
    assert status is MarketStatus.SETTLED


def test_a_polymarket_restart() -> None:
    status = MarketStatus.ACTIVE
    for step in (MarketStatus.RESTARTING, MarketStatus.POST_ONLY_MODE, MarketStatus.ACTIVE):
        status = market.advance_status(status, step)
    assert status is MarketStatus.ACTIVE


TRADING = {MarketStatus.ACTIVE, MarketStatus.PAUSED, MarketStatus.POST_ONLY_MODE, MarketStatus.RESTARTING}


@pytest.mark.parametrize(("start", "end"), list(product(MarketStatus, MarketStatus)))
def test_a_market_never_goes_back(start: MarketStatus, end: MarketStatus) -> None:
    backwards = (
        end is MarketStatus.INITIALIZED
        or start is MarketStatus.SETTLED
        or (start not in TRADING | {MarketStatus.INITIALIZED} and end in TRADING | {MarketStatus.CLOSED})
        or (end in {MarketStatus.DISPUTED, MarketStatus.AMENDED} and (start in TRADING or start <= 3))
    )
    if start is end:
        assert market.advance_status(start, end) is end
    elif backwards:
        with pytest.raises(WorkError, match=f"from {start.name.lower()} to {end.name.lower()}"):
            market.advance_status(start, end)
    elif start in TRADING | {MarketStatus.INITIALIZED}:
        assert market.advance_status(start, end) is end


def test_every_status_has_its_row() -> None:
    assert set(market.STATUS_TRANSITIONS) == set(MarketStatus)


def a_market(**changes: Any) -> Market:
    fields: dict[str, Any] = {
        "venue": "kalshi",
        "id": "KXBTC15M-A",
        "grids": (market.kalshi_grid("tapered_deci_cent"),),
        "min_size": 10_000,
        "lot": 10_000,
        "fees": fees.NO_FEES,
    }
    return Market(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"id": ""}, "id"),
        ({"grids": ()}, "grids"),
        ({"lot": 0}, "min_size"),
        ({"min_size": 5_000}, "min_size"),
        ({"min_size": 15_000}, "min_size"),
        ({"open_ns": 5, "close_ns": 5}, "close_ns"),
        ({"settle_value_micros": 1_000_001}, "settle_value_micros"),
        ({"mutually_exclusive": True}, "event_id"),
    ],
)
def test_a_market_that_contradicts_itself_is_refused(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(DataError, match=key):
        a_market(**changes)


def test_a_market_survives_json() -> None:
    whole = a_market(
        event_id="KXBTC15M",
        mutually_exclusive=True,
        close_ns=7,
        fees=fees.polymarket_schedule("sports"),
        grids=(market.polymarket_grid(100), PriceGrid((Band(0, 10_000, 10),))),
        status=MarketStatus.CLOSED,
        settle_value_micros=1_000_000,
    )
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Market) == whole


def test_only_polymarket_holds_tokens_apart() -> None:
    assert a_market().nets_positions
    assert not a_market(venue="polymarket").nets_positions
