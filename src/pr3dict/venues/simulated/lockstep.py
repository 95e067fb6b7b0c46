"""An engine and a simulated exchange through a recording together, as fast as they go: no clock, no tasks.

The order of things at an instant is that of `kernels/replay.py`: the recording at the exchange, our commands
that arrive, what the exchange said, market data, decisions, timers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pr3dict.domain.events import Control
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.link import Link

OnStep = Callable[[Step], None]


class Stepper(Protocol):
    """What of `engine.engine.Engine` is needed here."""

    @property
    def next_timer_ns(self) -> int:
        """When to call `step` again at the latest."""

    def step(self, now_ns: int, data: d.Array, events: tuple[Control, ...]) -> Step:
        """One instant."""

    def follow(self, events: d.Array, first: int, until_ns: int) -> tuple[int, int]:
        """Instants of market data alone: the next row, and the last instant (-1: none)."""


def run_lockstep(
    engine: Stepper,
    exchange: SimulatedExchange,
    events: d.Array,
    entry_ns: int,
    response_ns: int,
    until_ns: int | None = None,
    on_step: OnStep | None = None,
    *,
    alive_ns: int = 0,
) -> Link:
    """Run both to the last row of `events` (or to `until_ns`, inclusive); returns the link with what flies.

    `engine` knows the exchange's markets already, and `exchange` holds the recording `events` by exchange
    time; here they come by `local_ns`. `on_step` hears every step that is not empty. `alive_ns`: how often
    the venues' feeds prove that they are alive; 0: never.
    """
    link = Link(exchange, events, entry_ns=entry_ns, response_ns=response_ns, alive_ns=alive_ns)
    last_ns = link.end_ns if until_ns is None else until_ns

    def step(now_ns: int, data: d.Array, heard: tuple[Control, ...]) -> None:
        done = engine.step(now_ns, data, heard)
        if done.commands:
            link.send(now_ns, done.commands)
        if on_step is not None and not done.is_empty:
            on_step(done)

    while True:
        now_ns = link.next_ns(min(engine.next_timer_ns, last_ns + 1))
        if now_ns > last_ns:
            break
        following, reached_ns = engine.follow(link.feed, link.cursor, min(link.quiet_until_ns, last_ns))
        if reached_ns >= 0:
            link.skip(following)
            step(reached_ns, NO_DATA, ())
            continue
        data, heard = link.take(now_ns)
        step(now_ns, data, heard)
    exchange.advance(last_ns)
    return link
