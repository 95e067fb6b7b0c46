"""The engine in lockstep with the simulated exchange, against the compiled replay: the same to the micro.

One brain decides in both; here the messages go through the account, the gate and the order tracker.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from same_as_replay import compare

from pr3dict.cli.backtest import spec_of
from pr3dict.cli.demo import synthetic_tapes
from pr3dict.runtime.backtest import BacktestSpec
from pr3dict.runtime.tapeset import TapeSet, load
from pr3dict.store.importers import get_importer
from pr3dict.store.importers.run import import_recordings

MS = 1_000_000


def check(tapes: TapeSet, spec: BacktestSpec, *, orders: int) -> None:
    found = compare(tapes, spec)
    assert found.fills == found.replay_fills
    assert found.cash_micros == found.replay_cash_micros == found.account_cash_micros
    assert found.positions == found.replay_positions == found.account_positions
    assert found.orders == found.replay_orders >= orders
    assert not found.latches and not found.unexplained


@pytest.mark.parametrize(
    ("preset", "queue", "seed"), [("default", "risk-averse", 3), ("aggressive", "power", 4)]
)
def test_generated_markets(preset, queue, seed):
    spec = spec_of(preset=preset, queue=queue)
    check(synthetic_tapes(2, seed, spec.latency_ms * MS), spec, orders=200)


GAME = "polymarket-mlb-l2-2025/events/20250617_mlb-cle-sf-2025-06-17.csv.gz"
RECORDED = {
    "kalshi-l2": ("kalshi-kxbtc15m-l2", ["kalshi-kxbtc15m-l2-b"], "short_dated", 1_000),
    "mlb": (
        "polymarket-mlb-l2",
        ["polymarket-mlb-l2-2025/events/20250617_mlb-cle-sf-2025-06-17.csv.gz"],
        "default",
        50,
    ),
    "btc15m": ("polymarket-btc15m-book5", ["polymarket-btc15m-book5"], "short_dated", 50),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_recorded_sessions(name, data_dir, tmp_path):
    form, paths, preset, orders = RECORDED[name]
    import_recordings(get_importer(form), [data_dir / path for path in paths], tmp_path)
    spec = spec_of(preset=preset)
    check(load([tmp_path], latency_ns=spec.latency_ms * MS), spec, orders=orders)
