"""Incentives in a backtest: they change nothing, and a second look at the same instants finds them again."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from pr3dict.analytics.incentives import SHARE_SCALE, snapshot_ns, snapshot_score
from pr3dict.kernels import dtypes as d
from pr3dict.risk.programme import IncentiveTerms
from pr3dict.runtime.backtest import Replay, compile_kernels, run_backtest
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.strategies.presets import build_config

SECOND = 1_000_000_000
SPAN_S = 1200


@cache
def tapes():
    return merge([synthetic_market(11, "wide_spread")], latency_ns=50_000_000)


def iso(at_ns):
    return datetime.fromtimestamp(at_ns // SECOND, UTC).isoformat()


def period(**changes):
    start = tapes().start_ns // SECOND * SECOND
    given = {"ticker": tapes().metas[0].ticker, "target_size": 20, "discount_factor": "0.5", "reward": 100,
             "start": iso(start - 60 * SECOND), "end": iso(start + SPAN_S * SECOND)}  # fmt: skip
    return IncentiveTerms(**(given | changes))


def spec(*incentives):
    return make_spec(
        build_config("default"), preset="default", cash_micros=10_000_000_000, incentives=incentives
    )


def test_a_backtest_with_incentives_is_the_same_backtest_with_a_score_beside_it():
    plain, scored = run_backtest(tapes(), spec()), run_backtest(tapes(), spec(period()))
    without, beside = plain.to_json(), scored.to_json()
    assert without.pop("incentives") == []
    (score,) = beside.pop("incentives")
    for answer in (without, beside):
        del answer["elapsed_s"], answer["events_per_s"]
    assert without == beside
    assert score["unseen"] >= 60  # the minute before the tape begins
    assert score["snapshots"] + score["void"] + score["unseen"] == SPAN_S + 60
    assert 0 < score["share"] < 1
    assert score["quoted"] > 100


def test_the_score_is_that_of_the_exchange_at_each_instant():
    """Another replay, stopped by hand before the event after each instant, looked at with plain loops."""
    terms = period()
    found = run_backtest(tapes(), spec(terms)).incentives[0]
    compile_kernels()
    run = Replay(tapes(), spec(), "risk-averse")
    times = tapes().events["local_ns"]
    total = valid = 0
    first = -(-tapes().first_ns[0] // SECOND)
    for second in range(first, terms.end_ns // SECOND):
        stop = int(np.searchsorted(times, snapshot_ns(terms.ticker, second), side="right"))
        if stop > int(run.world.clock[0].local_event):
            run.advance(stop - int(run.world.clock[0].local_event))
        w = run.world
        sides, mine = ({}, {}), ({}, {})
        for order in w.exchange_orders[0]:
            if order["active"] and order["remaining"] > 0:
                at = mine[int(order["side"])]
                at[int(order["price"])] = at.get(int(order["price"]), 0) + int(order["remaining"])
        grid = w.grids.price_of_level[int(w.exchange_books[0]["grid"])]
        for side in (d.BID, d.ASK):
            for level, price in enumerate(grid):
                shown = int(w.exchange_depth[0, side, level] - w.consumed[0, side, level])
                size = max(0, shown) + mine[side].get(int(price), 0)
                if size:
                    sides[side][int(price)] = size
        share = snapshot_score(sides, mine, 20_000_000, 500_000)
        if share is not None:
            valid += 1
            total += share.numerator * SHARE_SCALE // share.denominator
    assert (found.valid, found.score) == (valid, total)


@pytest.mark.parametrize(
    "changes", [{"ticker": "another"}, {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}]
)
def test_what_the_tapes_do_not_hold_scores_nothing(changes):
    scores = run_backtest(tapes(), spec(period(**changes))).incentives
    assert all(score.valid == score.score == 0 and score.reward_micros == 0 for score in scores)
