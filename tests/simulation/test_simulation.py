"""The fault simulator on a few seeds, its mutants, its determinism, and every failure that was ever kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from simulation import catalogue, mutants, shrink  # noqa: E402
from simulation.oracles import Violation  # noqa: E402
from simulation.run import Tally, run_seed  # noqa: E402
from simulation.simulator import Simulation  # noqa: E402
from simulation.swarm import draw  # noqa: E402

SEEDS = range(36)
TEST_MUTANTS = (
    "no fill dedupe",
    "place before durable",
    "gap ignored",
    "expiry rounded up",
    "group armed without a person",
    "daily loss forgotten on restart",
    "tokens mixed up",
    "heart sleeps",
)
KEPT = sorted(shrink.FOLDER.glob("*.json"))

_HASHES = """
import sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from simulation.simulator import Simulation
from simulation.swarm import draw
for seed in (2, 13, 96, 10):
    options = draw(seed)
    life_ns = options.life_ns if options.adapter == "polymarket" else 10 * 10**9
    short = replace(options, safety_ns=5 * 10**9, liveness_ns=0, life_ns=life_ns)
    print(Simulation(short).run().command_hash)
"""


def hashes(**environment):
    done = subprocess.run(
        [sys.executable, "-c", _HASHES, str(ROOT)],
        capture_output=True, text=True, check=True, timeout=200, env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout.split()


@pytest.fixture(scope="module")
def tally():
    counted = Tally()
    for seed in SEEDS:
        counted.add(run_seed(seed))
    return counted


def test_no_seed_breaks_an_invariant(tally):
    assert [(o.seed, o.text) for o in tally.failures] == []


def test_the_seeds_are_rough(tally):
    assert tally.places > 1_000
    assert tally.fills > 100
    assert tally.lives > len(SEEDS)  # some processes died
    assert tally.rows_effective >= 50
    assert min(tally.adapters[name] for name in ("generic", "kalshi", "polymarket")) >= 8
    assert tally.effective_of(catalogue.KALSHI_ROWS) >= 6
    assert tally.effective_of(catalogue.POLYMARKET_ROWS) >= 6


def test_every_row_of_the_catalogue_has_a_knob_or_a_reason():
    knobs = {row for knob in catalogue.KNOBS.values() for row in knob.rows}
    assert knobs & set(catalogue.LEFT_OUT) == set()
    assert knobs | set(catalogue.LEFT_OUT) == set(range(1, 81))
    assert set(catalogue.KALSHI_ROWS) & knobs == set()
    assert set(catalogue.POLYMARKET_ROWS) & (knobs | set(catalogue.KALSHI_ROWS)) == set()


@pytest.mark.parametrize("name", TEST_MUTANTS)
def test_a_mutant_is_found(name):
    found = mutants.find(name, 0, 20)
    assert found is not None
    assert found.violation


def test_a_mutant_leaves_nothing_behind():
    before = {name: vars(mutants.Orders)[name] for name in ("lost", "due", "wants")}
    with mutants.applied("never asks again"):
        assert mutants.Orders.due is not before["due"]
    assert {name: vars(mutants.Orders)[name] for name in before} == before


def test_a_seed_means_the_same_in_every_process():
    first = hashes(PYTHONHASHSEED="1")
    assert len(first) == 4
    assert hashes(PYTHONHASHSEED="2") == first
    assert hashes(NUMBA_DISABLE_JIT="1") == first  # and without compilation


def test_a_tape_of_decisions_repeats_its_seed():
    options = draw(3)
    whole = Simulation(options).run()
    again = Simulation(options, whole.fired).run()
    assert again.command_hash == whole.command_hash
    none = Simulation(options, []).run()
    assert none.fired == []
    assert none.command_hash != whole.command_hash


def test_a_failure_is_made_small_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(shrink, "FOLDER", tmp_path)
    lines = []
    with mutants.applied("no fill dedupe"):
        found = mutants.find("no fill dedupe", 0, 5)
        path = shrink.tell(found, say=lines.append, most_runs=12)
        options, tape = shrink.load(path)
        again = Simulation(options, tape).run()
    assert again.violation == found.violation
    assert len(tape) <= len(found.fired)
    assert any(found.violation in line for line in lines)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_failure_stays_mended(path):
    options, tape = shrink.load(path)
    outcome = Simulation(options, tape).run()
    assert outcome.violation == "", outcome.text


def test_a_violation_names_its_invariant():
    violation = Violation("I1 position", "engine 1, venue 2")
    assert violation.name == "I1 position"
    assert str(violation) == "I1 position: engine 1, venue 2"
