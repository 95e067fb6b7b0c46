"""Figures hold the numbers that they draw: sums, peaks, prices, fills."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pr3dict.analytics import figures as fig
from pr3dict.analytics.markout_curve import MarkoutPoint
from pr3dict.analytics.series import Clock
from pr3dict.domain.ledger import Attribution
from pr3dict.kernels import dtypes as d

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_samples import fill_rows, sample_rows

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
PNL = Attribution(gross_spread=1_234_567, adverse_selection=-2_000_000, inventory=500_000, resolution=-70_001,
                  fees=-30_000, rebates=11, rewards=5)  # fmt: skip


def test_the_ladder_ends_at_its_sum():
    trace = fig.waterfall(PNL)["data"][0]
    assert trace["x"][-1] == PNL.net_micros / 1e6
    assert sum(trace["x"][:-1]) == pytest.approx(trace["x"][-1], abs=1e-9)
    assert trace["measure"] == ["relative"] * 7 + ["total"]
    assert trace["y"][0] == "Spread captured<br>+$1.23"
    assert trace["y"][-1] == "Net<br>\u2212$0.37"
    assert len(set(trace["y"])) == 8
    low, high = fig.waterfall(PNL)["layout"]["xaxis"]["range"]
    steps = np.cumsum([0, *trace["x"][:-1]])
    assert low < steps.min() <= steps.max() < high


def test_a_long_equity_curve_keeps_its_worst_fall():
    rng = np.random.default_rng(2)
    n = 50_000
    times = START + np.arange(n) * SECOND
    values = 10_000_000_000 + np.cumsum(rng.integers(-9_000, 9_000, n))
    clock = Clock.of([(int(times[0]), int(times[-1]))])
    drawn, fall = fig.equity(clock, times, values)["data"]
    assert len(drawn["x"]) == len(drawn["y"]) == len(fall["y"]) <= fig.POINTS + 4
    assert min(fall["y"]) == pytest.approx(-(np.maximum.accumulate(values) - values).max() / 1e6, abs=1e-6)
    assert (drawn["y"][0], drawn["y"][-1]) == (values[0] / 1e6, values[-1] / 1e6)
    assert (np.diff(drawn["x"]) > 0).all()


def test_silence_takes_no_room_and_is_marked():
    day = 86_400 * SECOND
    spans = [(START, START + 3600 * SECOND), (START + 90 * day, START + 90 * day + 7200 * SECOND)]
    times = np.arange(spans[0][0], spans[1][1], 60 * SECOND)
    figure = fig.equity(Clock.of(spans), times, np.arange(len(times)))
    assert figure["layout"]["xaxis"]["range"] == [0, 3]
    assert [line["x0"] for line in figure["layout"]["shapes"]] == [1.0]
    inside = (times <= spans[0][1]) | (times >= spans[1][0])
    assert len(figure["data"][0]["x"]) <= inside.sum()
    assert figure["layout"]["xaxis"]["ticktext"][0] == "14:13<br>21 Sep"


def market():
    samples = sample_rows(
        at_ns=[START + k * SECOND for k in range(4)],
        bid_price=[4000, 4100, -1, -1],
        ask_price=[4200, 4300, 4400, -1],
        own_bid_price=[3900, -1, -1, -1],
        own_ask_price=[4300, 4350, -1, -1],
    )
    fills = fill_rows(
        exch_ns=[START + SECOND, START + 2 * SECOND, START + 2 * SECOND],
        side=[d.BID, d.ASK, d.ASK], maker=[1, 1, 0], price=[3900, 4350, 4000],
        qty=[10_000_000, 2_500_000, 10**6],
        net_contracts=[10_000_000, 7_500_000, 6_500_000],
    )  # fmt: skip
    return samples, fills


def test_a_panel_holds_the_book_our_quotes_and_every_fill():
    samples, fills = market()
    low, high, mid, bid, ask, *marks, position = fig.price(samples, fills, SECOND)["data"]
    assert (low["x0"], low["dx"]) == (START // 10**6, 1000)
    assert low["y"] == [0.40, 0.41, 0.0, None]  # an empty side reaches the edge, no book is a gap
    assert high["y"] == [0.42, 0.43, 0.44, None]
    assert mid["y"] == [0.41, 0.42, None, None]
    assert bid["y"] == [0.39, None, None, None]
    assert ask["y"] == [0.43, 0.435, None, None]
    drawn = [
        (x, y, *more)
        for trace in marks
        for x, y, more in zip(trace["x"], trace["y"], trace["customdata"], strict=True)
    ]
    assert sorted(drawn) == sorted(
        (int(f["exch_ns"]) // 10**6, f["price"] / 10_000, f["qty"] / 1e6, f["net_contracts"] / 1e6)
        for f in fills
    )
    assert [(t["marker"]["symbol"], t["marker"]["color"]) for t in marks] == [
        ("triangle-up", "@bid"), ("triangle-down", "@ask"), ("triangle-down-open", "@ask"),
    ]  # fmt: skip
    assert position["y"] == [0.0, 10.0, 7.5, 6.5, 6.5]
    assert len(position["x"]) == 5
    assert position["x"] == sorted(position["x"])
    low_price, high_price = fig.price(samples, fills, SECOND)["layout"]["yaxis"]["range"]
    assert low_price < 0.39 < 0.435 < high_price < 0.5


def test_inventory_is_what_fills_say():
    _, fills = market()
    clock = Clock.of([(START, START + 4 * SECOND)])
    everything, fullest = fig.inventory(clock, fills, np.array([START + 4 * SECOND]))["data"]
    assert everything["y"] == fullest["y"] == [0, 10, 7.5, 6.5, 0]


def test_intervals_become_bars_around_the_curve():
    points = [
        MarkoutPoint("at fill", 1, 9, 0.004, 0.003, 0.006),
        MarkoutPoint("1 s", 1, 2, -0.001),
        MarkoutPoint("10 s", 0, 0, None),
    ]
    (trace,) = fig.markout_curve([("@own", points)])["data"]
    assert trace["x"] == ["at fill", "1 s", "10 s"]
    assert trace["y"] == [0.4, -0.1, None]
    assert trace["error_y"]["array"] == [0.2, None, None]
    assert trace["error_y"]["arrayminus"] == [0.1, None, None]


def test_figures_are_plain_json_also_without_fills():
    samples, fills = market()
    clock = Clock.of([(START, START + SECOND)])
    none = np.zeros(0, np.int64)
    for figure in (
        fig.waterfall(Attribution()),
        fig.equity(clock, np.array([START, START]), np.array([5, 5])),
        fig.price(samples, fills[:0], SECOND),
        fig.price(samples[:0], fills, SECOND),
        fig.inventory(clock, fills[:0], none),
        fig.inventory(clock, fills[:0], np.array([START])),
    ):
        assert "data" in json.loads(json.dumps(figure, allow_nan=False))
