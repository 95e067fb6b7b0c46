"""Steps of any events and commands, made from the types of their fields."""

import types
from typing import Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from pr3dict.domain.commands import Action
from pr3dict.domain.events import Control
from pr3dict.domain.market import PriceGrid, kalshi_grid, polymarket_grid
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.steps import Quoted, Step

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
REWARDS = st.builds(
    RewardTerms, spread=st.integers(1, 9_999), min_size=st.integers(0, 2**63 - 1),
    day_micros=st.integers(0, 2**63 - 1),
)  # fmt: skip
GRIDS = st.sampled_from([polymarket_grid(100), kalshi_grid("linear_cent")])


def of_type(hint):
    origin = get_origin(hint)
    if hint is int:
        return INT64
    if hint is str:
        return TEXT
    if hint is bool:
        return st.booleans()
    if hint is bytes:
        return st.binary(max_size=40)
    if hint is PriceGrid:
        return GRIDS
    if hint is RewardTerms:
        return REWARDS
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return st.lists(of_type(get_args(hint)[0]), max_size=3).map(tuple)
    if origin in (Union, types.UnionType):
        return st.one_of([of_type(one) for one in get_args(hint)])
    if hint is type(None):
        return st.none()
    if issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        return st.builds(hint, **{name: of_type(hints[name]) for name in hint.__struct_fields__})
    raise NotImplementedError(hint)


CONTROLS = of_type(Control)
ACTIONS = of_type(Action)
PARTS = st.tuples(
    st.integers(0, 2**62),
    st.lists(CONTROLS, max_size=3),
    st.lists(CONTROLS, max_size=3),
    st.lists(ACTIONS, max_size=3),
    st.lists(st.builds(Quoted, INT64, st.binary(max_size=40)), max_size=2),
    st.integers(0, 2**62),
)


def numbered(parts) -> list[Step]:
    """Steps from 1 with times that never fall."""
    times = sorted(part[0] for part in parts)
    return [
        Step(
            number=number,
            now_ns=now_ns,
            inputs=tuple(inputs),
            derived=tuple(derived),
            commands=tuple(commands),
            quotes=tuple(quotes),
            rows=rows,
        )
        for number, (now_ns, (_, inputs, derived, commands, quotes, rows)) in enumerate(
            zip(times, parts, strict=True), 1
        )
    ]


STEPS = st.lists(PARTS, min_size=1, max_size=5).map(numbered)
