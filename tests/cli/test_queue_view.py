"""Queue positions and the report on queue models, as people and programs see them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pr3dict.cli.output import console
from pr3dict.cli.queue_view import LEFT_OUT, show_queue
from pr3dict.cli.screen import queue
from pr3dict.domain.events import Listed
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.units import BID
from pr3dict.runtime.queue_report import FEW, MODELS, report_of
from pr3dict.runtime.queue_walk import Estimate, Look, OwnLife, Walked

CONTRACT = 1_000_000
LISTING = Listed(
    market=0, venue="kalshi", ticker="KXA-26-T0", event_id="KXA-26", exclusive=False, title="t",
    grids=(kalshi_grid("linear_cent"),), min_size=CONTRACT, lot=CONTRACT, fee_kind="none",
    nets_positions=True, reduce_in_place=True,
)  # fmt: skip


def report(looks, said):
    """One order with 200 contracts ahead at first; the venue says 100, each model its number of `said`."""
    sizes = np.array(said, np.int64) * CONTRACT
    estimates = tuple(Estimate(Look(0, 1, 100 * CONTRACT), sizes, sizes) for _ in range(looks))
    walked = Walked(
        OwnLife(1, 0, BID, 4500, CONTRACT, 0), 200 * CONTRACT, estimates, dict.fromkeys(LEFT_OUT, 2)
    )
    return report_of([walked], {0: LISTING}, reads=9)


def printed(found):
    with console.capture() as capture:
        show_queue(found)
    return capture.get()


@pytest.mark.parametrize("best", range(len(MODELS)))
def test_the_table_and_the_json_name_the_model_that_fits(best):
    found = report(FEW, [110 if k == best else 150 for k in range(len(MODELS))])
    text = printed(found)
    assert f"use {MODELS[best].option}" in text and "kalshi KXA, middle prices" in text
    assert "+10.00" in text and "5.0%" in text and "+50.00" in text and "25.0%" in text
    assert text.count("2 figures left out") == len(LEFT_OUT)
    answer = json.loads(json.dumps(found.to_json()))
    (one,) = answer["classes"]
    assert one["best"] == {"queue": MODELS[best].queue, "queue_power": MODELS[best].power}
    assert one["models"][best]["mean_error"] == "10" and one["models"][best]["relative_error"] == 0.05
    assert (one["mean_initial_queue"], one["observations"], answer["reads"]) == ("200", FEW, 9)


def test_no_advice_without_figures_or_where_models_are_alike():
    different = [100 + k for k in range(len(MODELS))]
    assert "no advice" in printed(report(FEW - 1, different))
    assert "all models are alike" in printed(report(FEW, [120] * len(MODELS)))
    assert "No venue has told any queue position" in printed(report_of([], {}, reads=0))


def test_the_screen_shows_what_stands_before_our_best_prices():
    market = {"ticker": "A", "bid": "0.45", "ask": "0.55"}

    def order(side, price, ahead, ticker="A"):
        return {"ticker": ticker, "side": side, "price": price, "queue_ahead": ahead}

    orders = [
        order("bid", "0.45", "120.4"), order("bid", "0.45", "1500"), order("bid", "0.44", "7"),
        order("ask", "0.55", None), order("ask", "0.55", "3", "B"),
    ]  # fmt: skip
    assert queue({"orders": orders}, market) == "120/-"
    assert queue({"orders": [*orders, order("ask", "0.55", "0")]}, market) == "120/0"
    assert queue({"orders": []}, market) == "-"
