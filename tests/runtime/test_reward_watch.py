"""Rewards in a backtest: a cause of their own beside the same trading, found again instant by instant."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import msgspec
import numpy as np
import pytest

from pr3dict.analytics.incentives import Own
from pr3dict.analytics.rewards import sample_times, take_sample
from pr3dict.domain.rewards import RewardTerms
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.backtest import Replay, compile_kernels, run_backtest
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.tape import Tape, read_tape, write_tape
from pr3dict.strategies.presets import build_config

MICRO = 1_000_000
TERMS = RewardTerms(spread=450, min_size=20 * MICRO, day_micros=5_000 * MICRO)


@cache
def tape():
    return synthetic_market(11, "wide_spread")


@cache
def tapes(*, stated=False):
    events, meta = tape()
    given = msgspec.structs.replace(meta, rewards=TERMS) if stated else meta
    return merge([Tape(events, given)], latency_ns=50_000_000)


def run(mode="off", *, stated=False, terms=None, **changes):
    config = build_config("default").with_changes(rewards=mode, **changes)
    rewards = {} if terms is None else {tape().meta.ticker: terms}
    spec = make_spec(config, preset="default", cash_micros=10_000 * MICRO, rewards=rewards)
    return run_backtest(tapes(stated=stated), spec)


def plain(answer, *but):
    left = {"elapsed_s", "events_per_s", "settings", *but}
    return {key: value for key, value in answer.items() if key not in left}


def test_without_terms_no_mode_changes_anything():
    before = plain(run().to_json())
    assert before["rewards"] == []
    assert plain(run("respect").to_json()) == plain(run("optimise").to_json()) == before


def test_rewards_are_a_cause_of_their_own_beside_the_same_trading():
    without, paid = run(), run(terms=TERMS, quote_size=20)
    base = run(quote_size=20)
    assert plain(run(stated=True).to_json(), "rewards")["fills"] == without.to_json()["fills"]
    earned = paid.report.total.pnl.rewards
    assert earned > MICRO
    assert msgspec.structs.replace(paid.report.total.pnl, rewards=0) == base.report.total.pnl
    assert paid.report.equity_end_micros == base.report.equity_end_micros + earned
    assert paid.report.equity_end_micros - paid.report.equity_start_micros == paid.report.total.pnl.net_micros
    assert np.array_equal(paid.fills, base.fills)
    assert np.array_equal(paid.curve, base.curve)
    (answer,) = paid.to_json()["rewards"]
    assert float(answer["paid"]) * MICRO == pytest.approx(earned)
    assert paid.pessimistic.net_micros > base.pessimistic.net_micros
    assert any("liquidity rewards" in sentence for sentence in paid.assumptions)


def test_terms_of_the_config_win_over_those_of_the_tape():
    small = RewardTerms(spread=450, min_size=20 * MICRO, day_micros=MICRO)
    (score,) = run(stated=True, terms=small).rewards
    assert score.terms == small
    (stated,) = run(stated=True).rewards
    assert stated.terms == TERMS


def test_small_quotes_earn_nothing_until_rewards_are_respected_or_optimised():
    scores = {mode: run(mode, terms=TERMS).rewards[0] for mode in ("off", "respect", "optimise")}
    assert scores["off"].in_band == scores["off"].earned_micros == 0  # 10 contracts, 20 score
    assert scores["respect"].in_band > 100
    assert scores["optimise"].earned_micros > scores["respect"].earned_micros > 0


def test_each_sample_is_the_exchange_at_its_instant():
    """Another replay, stopped by hand at each instant, looked at with plain loops."""
    config = build_config("default").with_changes(rewards="optimise")
    spec = make_spec(
        config, preset="default", cash_micros=10_000 * MICRO, rewards={tape().meta.ticker: TERMS}
    )
    found = run_backtest(tapes(), spec).rewards[0]
    compile_kernels()
    by_hand = Replay(tapes(), spec, "risk-averse")
    times = tapes().events["local_ns"]
    samples = []
    for at_ns in sample_times(tape().meta.ticker, tapes().first_ns[0], tapes().last_ns[0]):
        stop = int(np.searchsorted(times, at_ns, side="right"))
        if stop > int(by_hand.world.clock[0].local_event):
            by_hand.advance(stop - int(by_hand.world.clock[0].local_event))
        w = by_hand.world
        if w.exchange_books[0]["status"] != d.ACTIVE:
            continue
        orders = [
            Own(int(x["side"]), int(x["price"]), int(x["remaining"]))
            for x in w.exchange_orders[0]
            if x["active"] and x["remaining"] > 0
        ]
        grid = w.grids.price_of_level[int(w.exchange_books[0]["grid"])]
        books = tuple(
            {
                int(price): size
                for level, price in enumerate(grid)
                if (size := max(0, int(w.exchange_depth[0, side, level] - w.consumed[0, side, level]))
                    + sum(x.size for x in orders if (x.side, x.price) == (side, int(price))))
            }
            for side in (d.BID, d.ASK)
        )  # fmt: skip
        samples.append(take_sample(at_ns, books, orders, TERMS))
    assert found.samples == tuple(samples)
    assert found.earned_micros == int(sum((x.earned_micros for x in samples), Fraction(0)))


def test_a_tape_keeps_the_terms_that_it_states(tmp_path):
    file = tmp_path / "rewarded.parquet"
    events, meta = tape()
    write_tape(file, events, msgspec.structs.replace(meta, rewards=TERMS))
    assert read_tape(file).meta.rewards == TERMS
    write_tape(file, events, meta)
    assert read_tape(file).meta.rewards is None
