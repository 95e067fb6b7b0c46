"""The live session under every fault: minutes of venue time here, hours with `make live-faults`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from live.fault_run import Outcome, run
from live.virtual_time import SECOND, VirtualLoop

# Hours, how many times as often things go wrong and others trade, and which faults must be seen.
RUNS = {
    "kalshi": (0.1, 5.0, 3.0, ("lost_answer", "read_lag_ms", "duplicate_private", "expiry", "settlement")),
    "polymarket": (0.1, 5.0, 6.0, ("lost_answer", "confirm_s", "duplicate_user", "settlement")),
}


@pytest.fixture(scope="module", params=list(RUNS))
def outcome(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"faults-{request.param}")
    hours, rate, pace, _ = RUNS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        return run(hours, folder, venue=request.param, seed=3, rate=rate, pace=pace)


def story(outcome: Outcome) -> str:
    """All that is known of a run that went wrong."""
    return "\n".join((f"{outcome.venue}: {len(outcome.wrong)} violations", *outcome.wrong, outcome.line()))


def test_no_invariant_breaks(outcome):
    assert outcome.wrong == [], story(outcome)
    assert outcome.figures["orders"] > 100, story(outcome)
    assert outcome.figures["fills"] > 5, story(outcome)
    assert outcome.effective["settlement"] >= 3, story(outcome)
    assert outcome.figures["replayed_steps"] > 800, story(outcome)
    assert outcome.figures["worst_case_usd"] > 0, story(outcome)


def test_faults_strike_and_are_seen(outcome):
    fired = {name for name, count in outcome.fired.items() if count}
    assert len(fired) >= 22, f"{sorted(set(outcome.fired) - fired)}: {story(outcome)}"
    for fault in RUNS[outcome.venue][3]:
        assert outcome.effective[fault] > 0, f"{fault}: {story(outcome)}"


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
