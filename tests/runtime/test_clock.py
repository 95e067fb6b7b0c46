"""Time that never runs back, and what is said when clocks do."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.events import ClockJumped, LoopStalled
from pr3dict.runtime.clock import JUMP_NS, ClockWatch, EngineTime, SessionClock, VirtualClock

S = 1_000_000_000
MS = 1_000_000
TICK_NS = 50 * MS


def watched() -> tuple[VirtualClock, ClockWatch]:
    clock = VirtualClock(wall_ns=1_700_000_000 * S, monotonic_ns=7 * S)
    return clock, ClockWatch(clock, tick_ns=TICK_NS)


def test_a_calm_clock_says_nothing():
    clock, watch = watched()
    for _ in range(1000):
        clock.pass_ns(TICK_NS)
        assert watch.check() == ()


def test_a_late_look_is_a_stall_and_a_very_late_one_a_sleep():
    clock, watch = watched()
    clock.pass_ns(TICK_NS + 500 * MS)
    assert watch.check() == (LoopStalled(gap_ns=500 * MS),)
    clock.pass_ns(TICK_NS + 8 * 3600 * S)
    assert watch.check() == (ClockJumped(gap_ns=8 * 3600 * S),)
    clock.pass_ns(TICK_NS)
    assert watch.check() == ()


def test_a_suspended_machine_shows_in_the_wall_clock_alone():
    clock, watch = watched()
    clock.pass_ns(TICK_NS)
    clock.jump_ns(3600 * S)
    assert watch.check() == (ClockJumped(gap_ns=3600 * S),)
    clock.jump_ns(-2 * S)
    assert watch.check() == (ClockJumped(gap_ns=-2 * S),)
    assert watch.check() == ()


def test_a_slewed_clock_is_no_jump():
    clock, watch = watched()
    for _ in range(200_000):  # 500 ppm for 10,000 s: 5 s apart in the end
        clock.pass_ns(TICK_NS)
        clock.jump_ns(TICK_NS // 2000)
        assert watch.check() == ()


def test_engine_time_follows_forward_and_goes_on_when_the_wall_clock_is_set_back():
    clock = VirtualClock(wall_ns=100 * S)
    time = EngineTime(clock)
    clock.jump_ns(3600 * S)
    assert time.now_ns() == 3700 * S
    clock.jump_ns(-3600 * S)
    before = time.now_ns()
    clock.pass_ns(10 * S)
    assert time.now_ns() == before + 10 * S


def test_engine_time_starts_no_earlier_than_it_is_told():
    clock = VirtualClock(wall_ns=100 * S)
    assert EngineTime(clock, not_before_ns=200 * S).now_ns() == 200 * S


@given(
    st.lists(
        st.tuples(st.integers(0, 10 * S), st.one_of(st.just(0), st.integers(-10 * S, 10 * S))), max_size=60
    )
)
def test_engine_time_never_runs_back_and_never_stops(moves):
    clock = VirtualClock(wall_ns=1_000 * S)
    time = EngineTime(clock)
    last = time.now_ns()
    for passed, jump in moves:
        clock.pass_ns(passed)
        clock.jump_ns(jump)
        now = time.now_ns()
        assert now - last >= passed - passed // 20 - 1
        assert now >= clock.wall_ns() - JUMP_NS or now >= last
        last = now


@given(st.integers(-JUMP_NS + 1, JUMP_NS - 1))
def test_a_small_difference_is_made_up_for(difference):
    clock = VirtualClock(wall_ns=1_000 * S)
    time = EngineTime(clock)
    clock.jump_ns(difference)
    for _ in range(250):
        clock.pass_ns(50 * MS)
        now = time.now_ns()
    assert now == clock.wall_ns()


def test_what_an_adapter_waits_for_passes_in_the_loop_and_its_time_is_the_engines():
    clock = VirtualClock(wall_ns=100 * S)
    session = SessionClock(EngineTime(clock))
    assert session.now_ns() == 100 * S
    clock.pass_ns(3)
    assert session.now_ns() == 100 * S + 3

    async def story() -> float:
        began = asyncio.get_running_loop().time()
        await session.sleep(-1)
        await session.sleep(S // 50)
        return asyncio.get_running_loop().time() - began

    assert 0.02 <= asyncio.run(story()) < 1.0
