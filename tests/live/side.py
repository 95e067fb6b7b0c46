"""What a venue contributes to the fault runs: its stand-in, what goes wrong there, who looks at it."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from live.truth import Told
from live.watch import Watch
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.live_venue import LiveVenue
from pr3dict.store.data_dir import DataDir

Rows = Mapping[str, int]
Spell = Callable[[Any, float], Coroutine[Any, Any, None]]  # goes wrong for so many seconds at most


class Side(Protocol):
    """One venue."""

    name: str
    settings: tuple[str, ...]  # of the process
    kill_settings: tuple[str, ...]  # of one that lives for seconds
    faults: tuple[str, ...]  # the names of all that can go wrong
    unseen: tuple[str, ...]  # what need not strike in a long run
    effects: Mapping[str, str]  # what each leads to, by the names that `Story.seen` counts
    words: Sequence[tuple[str, str]]  # what a lost feed says, and what that is counted as
    provisional: bool  # fills may be taken back
    session_kills: int  # in one data directory
    together: int  # sessions of kills at a time: where lives mostly wait
    doubt_s: float  # for so long an order that a kill cut off keeps everything from being quoted
    spells: tuple[Spell, ...]  # the first comes at the start, the others now and then

    def server(self, catalog: Any, seed: int, **options: Any) -> Any:
        """A stand-in."""

    def catalog(self, hours: float, seed: int, pace: float, outlive_h: float = 2.0) -> Any:
        """Its markets."""

    def venue(self, server: Any, seed: int) -> LiveVenue:
        """What is traded there."""

    def watch(self, server: Any, risk: RiskConfig, place: DataDir) -> Watch:
        """Who looks at it."""

    def works(self, server: Any) -> Iterable[Coroutine[Any, Any, None]]:
        """What happens beside the weather."""

    def bad(self, rate: float) -> Mapping[str, Any]:
        """Settings of the faults; what is rare comes `rate` times as often."""

    def worse(self) -> Mapping[str, Any]:
        """The same for runs of minutes."""

    def quiet(self) -> Mapping[str, Any]:
        """The same without faults."""

    def calm(self, server: Any) -> None:
        """End what does not end with its settings."""

    def reopen(self) -> Mapping[str, Any]:
        """The same as an action of the admin endpoint."""

    async def sweep(self, server: Any, chance: random.Random) -> None:
        """Somebody sweeps a book while frames are late."""

    def told(self, body: Mapping[str, Any], rows: Rows, journal: Path) -> Told:
        """The stand-in's truth; `rows`: the engine's row of each ticker."""

    # --- as a process of its own

    def said(self, server: Any, folder: Path) -> Mapping[str, Any]:
        """What a trader in another process must know: `port`, `settings`; secrets go into `folder`."""

    def environment(self, said: Mapping[str, Any]) -> dict[str, str]:
        """The same as variables."""


SIDES = ("kalshi", "polymarket")


def side_of(venue: str) -> Side:
    """A venue's; raises `KeyError` for one that has none."""
    if venue not in SIDES:
        raise KeyError(venue)
    return cast("Side", importlib.import_module(f"live.{venue}_side").SIDE)
