"""The live session under every fault: minutes of venue time here, hours with `make live-faults`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from live.fault_run import run
from live.virtual_time import SECOND, VirtualLoop


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        return run(0.1, folder, seed=3, rate=5.0, pace=3.0)


def test_no_invariant_breaks(outcome):
    assert outcome.wrong == []
    assert outcome.figures["orders"] > 100
    assert outcome.figures["fills"] > 5
    assert outcome.effective["settlement"] >= 3
    assert outcome.figures["replayed_steps"] > 1_000
    assert outcome.figures["worst_case_usd"] > 0


def test_faults_strike_and_are_seen(outcome):
    fired = {name for name, count in outcome.fired.items() if count}
    assert len(fired) >= 22, sorted(set(outcome.fired) - fired)
    for fault in ("lost_answer", "read_lag_ms", "duplicate_private", "expiry", "settlement"):
        assert outcome.effective[fault] > 0, fault


def test_hours_pass_in_no_time_and_in_order():
    loop = VirtualLoop()
    seen: list[tuple[float, str]] = []

    async def at(delay_s: float, word: str) -> None:
        await asyncio.sleep(delay_s)
        seen.append((loop.time(), word))

    async def all_of_them() -> None:
        await asyncio.gather(at(3600.0, "hour"), at(0.001, "soon"), at(60.0, "minute"), thread())

    async def thread() -> None:
        assert await loop.run_in_executor(None, lambda: 7) == 7
        assert loop.now_ns == 0  # time stood still for it

    try:
        loop.run_until_complete(all_of_them())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert [word for _, word in seen] == ["soon", "minute", "hour"]
    assert [round(s) for s, _ in seen] == [0, 60, 3600]
    assert loop.now_ns >= 3600 * SECOND
