"""How long each market had one of the places of `max_markets`, and why one never had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.kernels.selection import mean_left_ns
from pr3dict.kernels.world import World
from pr3dict.strategies.selection import rejections

NO_PLACES: Mapping[str, object] = MappingProxyType({"selected_hours": None, "times_selected": None})


@dataclass(frozen=True, slots=True)
class Places:
    """What a market had of the places: for how long together, and how often it got one."""

    selected_ns: int
    times: int

    def to_json(self) -> dict[str, object]:
        """Hours and a count."""
        return {"selected_hours": self.selected_ns / NS_PER_HOUR, "times_selected": self.times}


def places(world: World) -> tuple[Places, ...]:
    """One a market; empty where there were no more markets than places."""
    if not world.clock[0]["selecting"]:
        return ()
    now_ns = int(world.clock[0]["now_ns"])
    found = []
    for row, market in zip(world.selections, world.markets, strict=True):
        held_ns = 0 if market["waiting"] else now_ns - int(row["selected_since_ns"])
        found.append(Places(int(row["selected_ns"]) + held_ns, int(row["times_selected"])))
    return tuple(found)


def unselected(world: World, m: int) -> tuple[str, ...]:
    """Why a market that was seen never had a place; empty where it had one or there was no choice."""
    row = world.selections[m]
    if not world.clock[0]["selecting"] or row["times_selected"] or not row["samples"]:
        return ()
    why = rejections(row, world.params[m], mean_left_ns(row))
    if why:
        return tuple(f"not_selected: {one.sentence}, on average while it was open" for one in why)
    percent = int(world.scores[m]["score_ppm"]) / 10_000
    most = int(world.rules[0]["max_markets"])
    return (f"not_selected: {most} markets scored higher; its last score was {percent:.4g} % an hour",)
