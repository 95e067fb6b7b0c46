"""Estimators, fair values and worst cases give the same bits compiled and as plain Python."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import numba
import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import estimators as est
from pr3dict.kernels import fair, reference, worstcase
from pr3dict.kernels.world import make_grids, new_market

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
CONTRACT = 1_000_000
CENTS = range(100, 10_000, 100)
GRIDS = make_grids([list(CENTS)])


def order_rows(own):
    rows = np.zeros(d.ORDER_SLOTS, d.ORDER)
    for row, order in zip(rows, own, strict=False):
        row.side, row.price, row.remaining, row.state = order
    return rows


def book_rows(levels):
    book = np.zeros(1, d.BOOK)[0]
    depth = np.zeros((2, len(CENTS)), np.int64)
    for (side, price), size in levels.items():
        depth[side, GRIDS.level_of_price[0, price]] = size
    book.bid_level = max(np.flatnonzero(depth[d.BID]), default=-1)
    book.ask_level = min(np.flatnonzero(depth[d.ASK]), default=len(CENTS))
    return book, depth


def scenario_digest():
    """Hash of every market row of a random session through all functions of the three kernels."""
    rng = random.Random(7)
    params = np.zeros(1, d.PARAMS)[0]
    values = {
        "fair_model": d.FAIR_ORDER_FLOW,
        "flow_half_life_ns": 7 * SECOND,
        "flow_weight_ppm": 612_345,
        "volume_window_ns": 10 * SECOND,
        "volume_baseline_ns": 180 * SECOND,
        "volume_spike_ppm": 1_500_000,
        "volatility_grid_ns": 3 * SECOND,
        "volatility_samples": 37,
        "markout_horizon_ns": 9 * SECOND,
        "markout_half_life_contracts": 333 * CONTRACT,
    }
    for name, value in values.items():
        setattr(params, name, value)
    market = new_market()[0]
    market.book_includes_own = 1
    digest = hashlib.sha256()
    now = START
    for step in range(400):
        now += rng.choice([1, 777, SECOND // 3, 4 * SECOND, 11 * SECOND])
        split = rng.randint(0, 99)
        levels = {(d.BID, CENTS[k]): rng.randint(1, 10**13) for k in range(max(0, split - 4), split)}
        levels |= {(d.ASK, CENTS[k]): rng.randint(1, 10**13) for k in range(split, min(99, split + 4))}
        own = [
            reference.Own(*rng.choice(sorted(levels)), rng.randint(1, 10**9), rng.randint(0, 3))
            for _ in range(6)
        ]
        book, depth = book_rows(levels)
        book.event_ns = now - rng.randint(0, SECOND)
        rows = order_rows(own)
        est.sample_volatility(market, params, now)
        est.mature_markouts(market, params, now)
        est.observe_book(market, book, depth, GRIDS, rows, now)
        est.measure_liquidity(market, book, depth, GRIDS, rows)
        for _ in range(rng.randint(0, 3)):
            est.observe_trade(market, params, rng.randint(0, 1), 5000, rng.randint(1, 10**9), now)
        fair.update_fair(market, params, now + rng.randint(0, SECOND))
        est.observe_own_fill(
            market, params, rng.randint(0, 1), rng.randint(1, 9999), rng.randint(1, 10**8), now
        )
        market.yes_contracts, market.no_contracts = rng.randint(0, 10**9), rng.randint(0, 10**9)
        losses = [worstcase.loss_if(market, rows), worstcase.loss_if(market, rows[:3]), (-step, step)]
        yes, no = (np.array(column, np.int64) for column in zip(*losses, strict=True))
        events = np.array([step % 2, step % 2, -1], np.int64)
        results = (
            int(est.volume_spike(market, params, now)),
            int(worstcase.portfolio_heat_micros(yes, no, events)),
            int(worstcase.joined_loss_micros(step, step // 2, int(yes[0]), int(no[0]))),
            int(worstcase.event_worst_loss(yes, no, True)),
            int(worstcase.market_loss_micros(market, rows)),
        )
        digest.update(market.tobytes() + repr((results, yes.tolist(), no.tolist())).encode())
    assert market.vol_count == 37
    assert market.markout_weight > 0
    return digest.hexdigest()


def test_compiled_and_plain_python_agree_to_the_bit():
    other = "0" if numba.config.DISABLE_JIT else "1"
    run = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "NUMBA_DISABLE_JIT": other},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stdout.strip() == scenario_digest()


if __name__ == "__main__":
    print(scenario_digest())
