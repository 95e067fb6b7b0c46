"""What an amendment repeats of an order is its true total, or nothing is repeated."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.units import BID
from pr3dict.venues.kalshi.own_orders import UNKNOWN, OwnOrder

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(1, 40)),
        st.tuples(st.just("decrease"), st.integers(0, 100)),
        st.tuples(st.just("refused"), st.integers(0, 100)),
        st.tuples(st.just("lost"), st.integers(0, 100)),
        st.tuples(st.just("said"), st.integers(0, 30)),
        st.tuples(st.just("read"), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=300)
@given(STEPS, st.booleans())
def test_the_total_is_true_or_unknown(steps, carried_out):
    """Any word of the past may come at any time, during a decrease too; `carried_out`: what was lost."""
    own, filled, remaining, now_ns = OwnOrder(1, 0, BID, 5000, 100), 0, 100, 0
    past = [(filled, remaining)]

    def truth() -> int:
        return filled + remaining

    async def decrease(left: int, kind: str) -> None:
        nonlocal remaining
        before = await own.begin_decrease()
        own.stated(*past[len(past) // 2])
        applies = kind == "decrease" or (kind == "lost" and carried_out)
        if applies:
            remaining = min(remaining, left)
            past.append((filled, remaining))
            own.stated(*past[-1])
        said = -1 if kind == "refused" else remaining if kind == "decrease" else left
        own.end_decrease(left=said, before=before, sure=kind == "decrease", now_ns=now_ns)

    for kind, number in steps:
        now_ns += 10
        if kind == "fill":
            size = min(number, remaining)
            filled, remaining = filled + size, remaining - size
            past.append((filled, remaining))
        elif kind == "said":
            own.stated(*past[max(0, len(past) - 1 - number)])
        elif kind == "read":
            own.stated(*past[-1], as_of_ns=now_ns)
        elif remaining:
            asyncio.run(decrease(min(number, remaining - 1), kind))
        assert own.total in (UNKNOWN, truth())
    now_ns += 10
    own.stated(*past[-1], as_of_ns=now_ns)
    assert own.total == truth()  # and the newest word settles it


def test_an_amendment_and_a_decrease_never_fly_together():
    async def both() -> list[str]:
        own, seen = OwnOrder(1, 0, BID, 5000, 100), []
        assert own.may_amend(100) and not own.may_amend(100)

        async def decrease() -> None:
            before = await own.begin_decrease()
            seen.append("decrease")
            assert not own.may_amend(100) and not own.may_amend(UNKNOWN)
            own.end_decrease(left=40, before=before, sure=True, now_ns=0)

        task = asyncio.create_task(decrease())
        await asyncio.sleep(0.01)
        seen.append("amended")
        own.amended()
        await task
        assert not own.may_amend(100)
        own.stated(10, 40)
        assert own.may_amend(50)
        return seen

    assert asyncio.run(both()) == ["amended", "decrease"]
