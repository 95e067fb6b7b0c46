"""The real process dies once at every named point: what the next life finds is whole."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kills import Session, point_kills
from rig import Exchange

from pr3dict.store.crash_points import crash_points


def test_every_point_once(zygote, tmp_path: Path):
    points = crash_points()
    assert len(points) >= 41
    with Exchange(tmp_path, seed=12) as exchange:
        session = Session(zygote, exchange, tmp_path)
        for point in points:
            point_kills(session, point, 1)
        tally = session.finish()
    assert tally.wrong == []
    assert [name for name in points if tally.passes.get(name) != 1] == []
    assert tally.orders > 20
