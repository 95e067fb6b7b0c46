"""Reasons with their figures, statistics in units for people, and the ranking."""

from __future__ import annotations

import numpy as np
import pytest

from pr3dict.domain.units import NS_PER_HOUR, QTY_SCALE
from pr3dict.kernels.selection_rows import SCORE, new_selection
from pr3dict.strategies import selection as sel
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import preset

HOUR = NS_PER_HOUR


def a_row(**values: int) -> np.record:
    """An hour of a market at 40/46 cents with $8,000 within 10 cents."""
    row = new_selection()[0]
    fields = {"samples": 3_600, "two_sided": 3_600, "spread_sum": 600 * 3_600, "mid_sum": 8_600 * 3_600,
              "bid_size_sum": 50 * QTY_SCALE * 3_600, "ask_size_sum": 70 * QTY_SCALE * 3_600,
              "depth_samples": 10, "depth_sum": 10 * 8_000_000_000}  # fmt: skip
    for name, value in (fields | values).items():
        setattr(row, name, value)
    return row


def sentences(
    row: np.record, left_ns: int, name: str = "default", missing: tuple[str, ...] = ()
) -> list[str]:
    found = sel.rejections(row, preset(name).to_params()[0], left_ns, missing)
    return [f"{one.reason}: {one.sentence}" for one in found]


@pytest.mark.parametrize(
    ("row", "left_ns", "expected"),
    [
        (a_row(), 5 * HOUR, []),
        (a_row(spread_sum=100 * 3_600), 5 * HOUR,
         ["narrow_spread: spread $0.0100 < min_existing_spread $0.0200"]),
        (a_row(depth_sum=10 * 1_234_560_000), 5 * HOUR,
         ["low_liquidity: liquidity $1,234.56 < min_liquidity $5,000.00"]),
        (a_row(two_sided=360, spread_sum=600 * 360), 5 * HOUR,
         ["one_sided_book: two-sided 10% of the time < 50%"]),
        (a_row(), HOUR // 4,
         ["too_close_to_resolution: time to resolution 15 min < min_time_to_resolution 30 min"]),
        (a_row(), 200 * HOUR,
         ["too_far_from_resolution: time to resolution 200 h > max_time_to_resolution 168 h"]),
        (a_row(), -1, ["unknown_resolution_time: no close or resolution time is known"]),
        (a_row(samples=0), 5 * HOUR, ["market_not_active: no book was seen while it took orders"]),
        (a_row(spread_sum=100 * 3_600), 0,
         ["too_close_to_resolution: time to resolution 0 s < min_time_to_resolution 30 min",
          "narrow_spread: spread $0.0100 < min_existing_spread $0.0200"]),
    ],
)  # fmt: skip
def test_each_rejection_has_its_figure(row, left_ns, expected):
    assert sentences(row, left_ns) == expected


def test_what_is_missing_is_not_held_against_a_market():
    row = a_row(depth_samples=0, depth_sum=0)
    assert sentences(row, 5 * HOUR)[0].startswith("low_liquidity")
    assert sentences(row, 5 * HOUR, missing=(sel.DEPTH, sel.TRADES)) == []
    nothing = new_selection()[0]
    everything = (sel.BOOK, sel.DEPTH, sel.TRADES)
    assert sentences(nothing, 5 * HOUR, missing=everything) == []
    assert sentences(nothing, HOUR // 4, missing=everything)[0].startswith("too_close")
    assert sentences(nothing, 200 * HOUR, missing=everything)[0].startswith("too_far")
    assert sentences(nothing, -1, missing=everything)[0].startswith("unknown_resolution_time")


def test_statistics_in_dollars_contracts_and_hours():
    row = a_row(movement=40_000, excess=20_000, excess_variance=1e8, minute_movement=40_000)
    row.trades[:] = [30, 10]
    row.contracts[:] = [600 * QTY_SCALE, 200 * QTY_SCALE]
    row.effective, row.effective_contracts = 400 * 800 * QTY_SCALE, 800 * QTY_SCALE
    row.matured[:] = [800 * QTY_SCALE, 400 * QTY_SCALE]
    row.realised[:] = [200 * 800 * QTY_SCALE, -100 * 400 * QTY_SCALE]
    found = sel.statistics(row)
    assert (found.hours, found.two_sided, found.mid, found.spread) == (1.0, 1.0, 0.43, 0.06)
    assert (found.bid_contracts, found.ask_contracts, found.liquidity) == (50, 70, 8_000)
    assert found.trades_per_hour == (30, 10)
    assert found.contracts_per_hour == (600, 200)
    assert found.weaker_share == 0.25
    assert found.effective == pytest.approx(0.02)
    assert found.markouts == pytest.approx((0.01, -0.005))
    assert found.volatility == pytest.approx(0.01)
    assert found.movement == pytest.approx(1e-4)
    assert found.excess_z == pytest.approx(2.0)
    assert found.to_json()["contracts_per_hour"] == {"yes_bought": 600, "yes_sold": 200}
    assert set(found.to_json()["markouts"]) == {"10s", "60s"}


def test_unknown_parts_are_none_not_zero():
    found = sel.statistics(new_selection()[0], missing=(sel.TRADES,))
    unknown = {"two_sided", "mid", "spread", "liquidity", "trades_per_hour", "weaker_share", "effective"}
    assert {name for name in unknown if getattr(found, name) is None} == unknown
    assert found.excess_z is None


def candidate(name: str, score_ppm: int | None, *why: sel.Rejection) -> sel.Candidate:
    row = np.zeros(1, SCORE)[0]
    row.score_ppm = score_ppm or 0
    score = None if score_ppm is None else sel.score_of(row)
    return sel.Candidate(name, sel.statistics(a_row()), score, why)


def test_the_ranking_is_by_score_first_come_first_served_and_keeps_everybody():
    narrow = sel.Rejection("narrow_spread", "spread")
    everyone = [candidate("a", 5), candidate("b", 90), candidate("c", None), candidate("d", 900, narrow),
                candidate("e", 5), candidate("f", -7)]  # fmt: skip
    found = sel.ranking(everyone)
    assert [one.name for one in found.ranked] == ["b", "a", "e", "f"]
    assert [one.name for one in found.unscored] == ["c"]
    assert [one.name for one in found.rejected] == ["d"]


def test_a_score_keeps_exact_money():
    row = np.zeros(1, SCORE)[0]
    row.net_micros, row.score_ppm, row.locked_ns, row.bid_contracts = (
        -1_234_567,
        12_345,
        HOUR // 2,
        3 * QTY_SCALE,
    )
    found = sel.score_of(row).to_json()
    assert (found["net"], found["percent_an_hour"], found["locked_hours"]) == ("-1.234567", 1.2345, 0.5)
    assert found["bid_fills"] == 3


def test_the_defaults_are_those_of_the_requirement():
    config = MarketMakingConfig()
    assert (config.max_markets, config.rotation_minutes, str(config.rotation_advantage)) == (10, 10, "0.2")
    assert preset("short_dated").rotation_minutes == 1
