"""The observer: it changes nothing, its samples are the world's, and day by day the books add up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.runtime.backtest import Replay, run_backtest
from pr3dict.runtime.observer import POINTS, step_ns, trading_days
from pr3dict.runtime.spec import PESSIMISTIC, make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.tape import Tape
from pr3dict.strategies.presets import build_config

LATENCY_NS = 50_000_000
SECOND = 1_000_000_000
DAY_NS = 86_400 * SECOND


def spec():
    return make_spec(build_config("default"), preset="default", cash_micros=10**10)


@cache
def tapes():
    """Two markets over two days of Kalshi's and one of Polymarket's, the second without a settlement."""
    parts = []
    for regime, venue, events in (("wide_spread", "kalshi", None), ("deep_book", "polymarket", 9_000)):
        tape = synthetic_market(3, regime)
        parts.append(Tape(tape.events[:events].copy(), msgspec.structs.replace(tape.meta, venue=venue)))
    return merge(parts, latency_ns=LATENCY_NS)


@cache
def watched():
    return run_backtest(tapes(), spec(), points=POINTS)


def test_a_watched_replay_comes_to_the_same_result():
    answers = [watched().to_json(), run_backtest(tapes(), spec()).to_json()]
    for answer in answers:
        del answer["elapsed_s"], answer["events_per_s"]
    assert answers[0] == answers[1]
    assert len(watched().samples) > 1_000
    assert len(run_backtest(tapes(), spec()).samples) == 0


def test_samples_are_the_world_at_their_time():
    """The same replay stopped at some of the times by hand, one market and one order at a time."""
    rows = watched().samples
    rng = np.random.default_rng(4)
    times = np.unique(rng.choice(rows["at_ns"], 60))
    run = Replay(tapes(), spec(), PESSIMISTIC)
    quoted = 0
    for at_ns in times.tolist():
        until = int((tapes().events["local_ns"] <= at_ns).sum())
        run.advance(until - int(run.world.clock[0].local_event))
        for row in rows[rows["at_ns"] == at_ns]:
            m, w = int(row["market"]), run.world
            book = w.exchange_books[m]
            prices = w.grids.price_of_level[book["grid"]]
            depth = w.exchange_depth[m]
            if int(book["status"]) == d.ACTIVE:
                bids, asks = np.flatnonzero(depth[d.BID] > 0), np.flatnonzero(depth[d.ASK] > 0)
                assert int(row["bid_price"]) == (int(prices[bids[-1]]) if len(bids) else -1)
                assert int(row["ask_price"]) == (int(prices[asks[0]]) if len(asks) else -1)
            own = [o for o in w.exchange_orders[m] if o["active"]]
            bids = [int(o["price"]) for o in own if o["side"] == d.BID]
            asks = [int(o["price"]) for o in own if o["side"] == d.ASK]
            assert int(row["own_bid_price"]) == max(bids, default=-1)
            assert int(row["own_ask_price"]) == min(asks, default=-1)
            quoted += bool(bids and asks)
            held = w.holdings[m]
            assert int(row["net_contracts"]) == int(held["yes_contracts"]) - int(held["no_contracts"])
            assert int(row["fair_micros"]) == int(w.quotes[m]["fair_micros"])
    assert quoted > 20


def test_samples_are_evenly_spaced_in_the_life_of_their_market():
    rows = watched().samples
    assert (np.diff(rows["at_ns"]) >= 0).all()
    for m in range(2):
        times = rows["at_ns"][rows["market"] == m]
        assert len(times) <= POINTS + 1
        assert len(set(np.diff(times).tolist())) == 1
        assert tapes().first_ns[m] <= times[0]
        assert times[-1] <= tapes().last_ns[m]


def test_blocks_add_up_to_every_total():
    result = watched()
    assert [(b.market, b.day) for b in result.blocks] == [
        (0, "2026-08-31"), (0, "2026-09-01"), (0, "2026-09-02"), (1, "2026-09-01"),
    ]  # fmt: skip
    check_blocks(result)
    assert sum(b.fills > 0 for b in result.blocks) >= 2


@pytest.mark.parametrize("seed", [1, 2, 5])
@pytest.mark.parametrize("queue", ["risk-averse", "optimistic"])
def test_blocks_add_up_whatever_the_market_does(seed, queue):
    lives = [synthetic_market(seed, regime) for regime in ("wide_spread", "volatile", "deep_book")]
    chosen = make_spec(build_config("aggressive"), preset="aggressive", cash_micros=10**9, queue=queue)
    result = run_backtest(merge(lives, latency_ns=LATENCY_NS), chosen)
    assert result.report.total.count("fills") > 0
    check_blocks(result)


def check_blocks(result):
    """Net, contracts and fills of the blocks against the report's, by market and in the JSON's decimals."""
    for m, market in enumerate(result.report.markets):
        mine = [b for b in result.blocks if b.market == m]
        assert sum(b.net_micros for b in mine) == market.figures.pnl.net_micros
        assert sum(b.contracts for b in mine) == market.figures.count("contracts_filled")
        assert sum(b.fills for b in mine) == market.figures.count("fills")
    answer = result.to_json()
    assert sum(Decimal(b["net"]) for b in answer["blocks"]) == Decimal(answer["pnl"]["net"])
    assert sum(b["fills"] for b in answer["blocks"]) == answer["fills"]


def test_a_block_holds_the_fills_of_its_day():
    result = watched()
    for block in result.blocks:
        days = [
            trading_days(tapes().metas[block.market].venue, int(f["exch_ns"]), int(f["exch_ns"]))[0][0]
            for f in result.fills
            if f["market"] == block.market
        ]
        assert (
            abs(block.fills - days.count(block.day)) <= 1
        )  # a fill a latency from midnight may fall either way


def test_a_replay_that_starts_again_watches_again():
    run = Replay(tapes(), spec(), PESSIMISTIC, POINTS)
    run._start(1)
    while not run.advance():
        pass
    assert run.observer.samples.tobytes() == watched().samples.tobytes()
    assert run.observer.blocks(run.report()) == watched().blocks


@given(st.integers(1, 400 * DAY_NS), st.integers(2, 2_000))
def test_steps_are_round_and_few(span, points):
    step = step_ns(span, points)
    assert step * points >= span
    assert step % SECOND == 0
    assert step == SECOND or step_ns(span, 10**9) == SECOND


@pytest.mark.parametrize(
    ("venue", "first", "last", "days"),
    [
        ("polymarket", "2026-05-11T23:59:59", "2026-05-12T00:00:00", ["2026-05-11", "2026-05-12"]),
        ("polymarket", "2026-05-11T00:00:00", "2026-05-11T23:59:59", ["2026-05-11"]),
        ("kalshi", "2026-05-11T03:59:59", "2026-05-11T04:00:00", ["2026-05-10", "2026-05-11"]),
        ("kalshi", "2026-01-11T04:59:59", "2026-01-11T05:00:00", ["2026-01-10", "2026-01-11"]),
        # The clocks go forward on 2026-03-08: that day has 23 hours.
        ("kalshi", "2026-03-08T05:00:00", "2026-03-09T04:00:00", ["2026-03-08", "2026-03-09"]),
        ("kalshi", "2026-03-08T05:00:00", "2026-03-09T03:59:59", ["2026-03-08"]),
    ],
)
def test_a_trading_day_ends_at_the_venue_s_midnight(venue, first, last, days):
    times = [int(datetime.fromisoformat(t).replace(tzinfo=UTC).timestamp()) * SECOND for t in (first, last)]
    found, begins = trading_days(venue, *times)
    assert found == days
    assert len(begins) == len(days) - 1
    assert all(times[0] < begin <= times[1] for begin in begins)
