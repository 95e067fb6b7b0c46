"""What a journal says of any moment is what the engine itself was at that moment."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from paper_runs import Run, journal_run, lockstep_run

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Filled
from pr3dict.domain.units import format_contracts
from pr3dict.runtime.journal_tail import KEPT_FILLS
from pr3dict.runtime.look_back import look_back
from pr3dict.runtime.status import status_of
from pr3dict.store.journal import Journal

FOLDED = (
    "yes_contracts", "no_contracts", "open_orders", "fills", "fees", "holds", "state", "reasons",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> tuple[Run, dict[int, dict[str, Any]], dict[int, dict[int, bytes]]]:
    """A run, the engine's own status after each step, and the decisions that stood."""
    statuses: dict[int, dict[str, Any]] = {}
    quotes: dict[int, dict[int, bytes]] = {}
    standing: dict[int, bytes] = {}

    def note(engine, step) -> None:
        standing.update({quoted.market: quoted.row for quoted in step.quotes})
        statuses[step.number] = status_of(engine.view())
        quotes[step.number] = dict(standing)

    return lockstep_run(on_step=note), statuses, quotes


@pytest.mark.parametrize("snapshot", [False, True])
def test_any_moment_is_the_engine_of_that_moment(seen, snapshot, tmp_path):
    run, statuses, quotes = seen
    data_dir = journal_run(run, tmp_path / "dir", snapshot_after=len(run.steps) // 2 if snapshot else 0)
    moments = random.Random(5).sample(range(2, len(run.steps)), 8)
    filled = 0
    with Journal.read(data_dir.journal) as journal:
        for index in [*moments, len(run.steps) - 1]:
            step, following = run.steps[index], run.steps[index + 1 : index + 2]
            if following and following[0].now_ns == step.now_ns:
                continue
            moment = look_back(journal, step.now_ns)
            told, was = moment.status(), statuses[step.number]
            assert {m: quote.tobytes() for m, quote in moment.quotes.items()} == quotes[step.number]
            assert told["cash"] == was["cash"]
            assert told["journal"]["steps"] == was["journal"]["steps"]
            assert [order["order_id"] for order in told["orders"]] == [o["order_id"] for o in was["orders"]]
            for market, engines in zip(told["markets"], was["markets"], strict=True):
                differing = [key for key in FOLDED if market[key] != engines[key]]
                if quotes[step.number].get(market["market"]) is None:
                    differing = [key for key in differing if key not in ("state", "reasons")]
                assert differing == []
            filled = max(filled, told["fill_count"])
    assert filled > 5


def test_the_end_needs_no_moment_and_knows_the_last_fills(seen, tmp_path):
    run, statuses, _ = seen
    data_dir = journal_run(run, tmp_path / "dir")
    with Journal.read(data_dir.journal) as journal:
        told = look_back(journal).status()
    fills = [event for step in run.steps for event in step.inputs if isinstance(event, Filled)]
    assert [fill["trade_id"] for fill in told["fills"]] == [fill.trade_id for fill in fills][-KEPT_FILLS:]
    assert told["fill_count"] == len(fills) == statuses[run.steps[-1].number]["fill_count"]
    for row, market in enumerate(told["markets"]):
        net = sum(f.size if f.side == 0 else -f.size for f in fills if f.market == row)
        assert market["net_position"] == format_contracts(net)


def test_before_the_beginning_there_is_nothing(seen, tmp_path):
    run, *_ = seen
    data_dir = journal_run(run, tmp_path / "dir")
    with Journal.read(data_dir.journal) as journal, pytest.raises(DataError, match="no process had started"):
        look_back(journal, run.steps[0].now_ns - 1)
