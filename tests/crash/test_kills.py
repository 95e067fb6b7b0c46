"""Kills of the real process at random moments: nothing lost, nothing twice, nothing unknown."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kills import Session, random_kills
from rig import Exchange


def test_random_kills(zygote, tmp_path: Path):
    with Exchange(tmp_path, seed=11) as exchange:
        tally = random_kills(Session(zygote, exchange, tmp_path), 15, seed=11)
    assert tally.wrong == []
    assert tally.kills == 15
    assert tally.starts > 15
    assert tally.halted >= 2
    assert tally.fills > 10
    assert tally.orders > 50
