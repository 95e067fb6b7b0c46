"""What every process at a live venue runs round its engine, with real orders or simulated ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

import structlog

from pr3dict.domain.errors import WorkError
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.clock import Clock, ClockWatch, SystemClock
from pr3dict.runtime.inbox import LiveSource
from pr3dict.runtime.paper import OnView
from pr3dict.runtime.recovery import Opened
from pr3dict.runtime.rolling import Rolling
from pr3dict.runtime.shell import ShellParts, ShellSettings
from pr3dict.runtime.trader import Trader
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder

LOOK_S: Final = 0.25  # between two looks at the adapter's tasks

Log = structlog.typing.FilteringBoundLogger
OnFigures = Callable[[Mapping[str, Mapping[str, int]]], None]  # by venue


class ProcessSpec(Protocol):
    """What the specs of live processes and of those on paper say alike."""

    @property
    def data_dir(self) -> DataDir:
        """Where it runs."""

    @property
    def on_view(self) -> OnView | None:
        """Shown the engine each `view_s`."""

    @property
    def view_s(self) -> float:
        """Seconds between two looks."""

    @property
    def on_figures(self) -> OnFigures | None:
        """Shown what the venues' adapters count."""


class FollowedVenue(Protocol):
    """The adapter of a process."""

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""

    def failure(self) -> BaseException | None:
        """What killed a task of it; None: all live."""


def process_parts(
    spec: ProcessSpec,
    opened: Opened,
    engine: Engine,
    source: LiveSource,
    venues: Mapping[Venue, FollowedVenue],
    rollings: Mapping[Venue, Rolling[Any]],
    recorder: Recorder,
    clock: Clock,
    log: Log,
    *,
    arm: Callable[[], Awaitable[None]] | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> ShellParts:
    """What a process at these venues runs, with real orders or simulated ones; `facts` go into its status."""
    figures = partial(figures_of, venues)
    companions: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        **{name: partial(end_with, name, venue) for name, venue in venues.items()},
        **{f"markets of {name}": rolling.run for name, rolling in rollings.items()},
    }
    if spec.on_figures is not None:
        companions["figures"] = partial(show_figures, figures, spec.on_figures, spec.view_s)
    return ShellParts(
        engine=engine,
        trader=Trader(engine, venues=(*engine.venues, *venues), crash_point=crash_point),
        source=source,
        journal=opened.journal,
        tape=recorder,
        operators=Mailbox(spec.data_dir.mailbox),
        latch=opened.latch_file,
        lease=opened.lease,
        clock=clock,
        log=log,
        status_path=spec.data_dir.status,
        session=recorder.folder.name,
        watch=ClockWatch(clock, tick_ns=int(ShellSettings().watch_tick_s * NS_PER_SECOND)),
        on_view=spec.on_view,
        companions=companions,
        arm=arm,
        facts=lambda: {"adapters": figures(), **facts},
    )


def shell_settings(risk: RiskConfig, seconds: float | None, view_s: float, clock: Clock) -> ShellSettings:
    """Of a process at a venue; on another clock than this machine's a write to disk must take no time."""
    return ShellSettings(
        stop_timeout_s=risk.stop_timeout_ns / NS_PER_SECOND,
        run_s=seconds,
        view_s=view_s,
        inline_journal=not isinstance(clock, SystemClock),
    )


def figures_of(venues: Mapping[Venue, FollowedVenue]) -> dict[str, dict[str, int]]:
    """What each venue's adapter counts."""
    return {name: dict(venue.figures()) for name, venue in venues.items()}


async def end_with(name: Venue, venue: FollowedVenue) -> None:
    """End with the adapter: a task of it that died must not wait for the next command to be noticed."""
    while True:
        await asyncio.sleep(LOOK_S)
        failure = venue.failure()
        if failure is not None:
            raise WorkError(f"the {name.capitalize()} adapter failed: {failure}") from failure


async def show_figures(
    figures: Callable[[], Mapping[str, Mapping[str, int]]], on_figures: OnFigures, view_s: float
) -> None:
    """Hand on what the adapters count, each `view_s`."""
    while True:
        on_figures(figures())
        await asyncio.sleep(view_s)
