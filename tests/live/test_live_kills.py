"""`pr3dict live` killed while everything goes wrong at its exchange: nothing lost, nothing unexplained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from live.kills import one_session


@pytest.mark.parametrize("venue", ["kalshi", "polymarket"])
def test_random_kills(tmp_path: Path, venue: str):
    """At Polymarket nobody waits here for the three minutes after which an order can't arrive any more."""
    tally, fired = one_session(tmp_path, 2, seed=7, venue=venue, patient=venue == "kalshi")
    assert tally.wrong == []
    assert tally.kills == 2
    assert tally.starts > 2
    assert tally.orders > 2
    assert sum(fired.values()) > 100
