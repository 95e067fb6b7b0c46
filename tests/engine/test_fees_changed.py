"""A market's fee that moves is the brain's, the listing's and the next process' fee."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine_cases import Desk, listing

from pr3dict.domain import events as e

MOVED = e.FeesChanged(market=1, taker_ppm=35_000, maker_ppm=8_750)


@pytest.fixture
def desk():
    return Desk(*(listing(m, fee_kind="kalshi", taker_ppm=70_000, unit_micros=100) for m in range(2)))


def rates(engine):
    """What brain and listings say, market by market."""
    brain = [
        (int(row["taker_ppm"]), int(row["maker_ppm"])) for row in engine.world.fees[: len(engine.listings)]
    ]
    assert brain == [(x.taker_ppm, x.maker_ppm) for x in engine.listings]
    return brain


def test_it_is_told_to_brain_and_operator(desk):
    assert rates(desk.engine) == [(70_000, 0), (70_000, 0)]
    desk.at(1, MOVED)
    assert rates(desk.engine) == [(70_000, 0), (35_000, 8_750)]
    assert int(desk.engine.world.fees[1]["unit_micros"]) == 100  # rounding is as it was
    (alert,) = [x for x in desk.alerts if x.name == "fees_changed"]
    assert alert.market == 1 and "35000" in alert.text.replace(",", "")


def test_another_process_knows_it_from_the_journal_and_from_a_snapshot(desk):
    desk.at(1, MOVED)
    folded, loaded = desk.new_engine(), desk.new_engine()
    for step in desk.steps:
        folded.fold(step)
    loaded.load(desk.engine.save())
    assert rates(folded) == rates(loaded) == [(70_000, 0), (35_000, 8_750)]


def test_it_survives_that_the_world_grows(desk):
    desk.at(1, MOVED)
    desk.at(2, *(listing(m, fee_kind="kalshi", taker_ppm=70_000) for m in range(2, 6)))
    assert rates(desk.engine)[1] == (35_000, 8_750)
