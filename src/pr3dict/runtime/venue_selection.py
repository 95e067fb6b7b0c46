"""Which markets of a venue are followed, and how its lists are read with patience; for every venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, cast

import msgspec

from pr3dict.domain.events import Listed
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.session import Clock, NotAnsweredError

AT_ONCE: Final = 8  # requests of a listing that are on their way together
TRIES: Final = 5
FIRST_PAUSE_NS: Final = NS_PER_SECOND // 2
TOO_MANY: Final = 429
SERVER_FAILED: Final = 500
NO_REASON: Final = "the selection is empty; name open markets with --market, --event or --series"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Selection:
    """Markets that are named by any of these; nothing named: every open market.

    A venue has its own words: Polymarket's tickers are condition ids or slugs, its events slugs, its series
    tags.
    """

    tickers: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    max_markets: int = 0  # 0: no limit, else those with the largest volume of 24 h

    @property
    def is_all(self) -> bool:
        """Whether nothing is named."""
        return not (self.tickers or self.events or self.series)


class OneLife(Protocol):
    """A market as its venue's adapter follows it."""

    @property
    def listing(self) -> Listed:
        """What the engine knows of it."""


L = TypeVar("L", bound=OneLife)


class AnyFound(Protocol):
    """The markets of a selection, at any venue."""

    @property
    def lives(self) -> Sequence[OneLife]:
        """Those that can be followed, in rows from 0 on."""

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """(ticker, why) of the others."""

    @property
    def fee_moves(self) -> tuple[tuple[str, str], ...]:
        """(ticker, which fee comes when)."""


def renumber(lives: Sequence[L], rows: Sequence[int]) -> tuple[L, ...]:
    """The same markets with other rows, one each."""
    return tuple(
        cast(
            "L",
            msgspec.structs.replace(
                cast("msgspec.Struct", life), listing=msgspec.structs.replace(life.listing, market=row)
            ),
        )
        for life, row in zip(lives, rows, strict=True)
    )


def reasons(listed: AnyFound) -> str:
    """Why nothing can be followed, in words."""
    return "; ".join(f"{ticker} {why}" for ticker, why in listed.left_out[:3]) or NO_REASON


async def most_traded(
    markets: Sequence[T],
    most: int,
    *,
    name: Callable[[T], str],
    volume: Callable[[T], int],
    lives: Callable[[Sequence[T]], Awaitable[Sequence[L | str]]],
) -> tuple[tuple[L, ...], tuple[tuple[str, str], ...]]:
    """The `most` (0: all) markets of the largest volume in rows from 0 on, and (name, why) of the others.

    `lives` makes them, or says why one can't be followed; such a market leaves its place to the next.
    """
    ranked = sorted(markets, key=lambda one: (-volume(one), name(one)))
    found: list[L] = []
    left_out = []
    while ranked and (not most or len(found) < most):
        room = most - len(found) if most else len(ranked)
        part, ranked = ranked[:room], ranked[room:]
        for market, made in zip(part, await lives(part), strict=True):
            if isinstance(made, str):
                left_out.append((name(market), made))
            else:
                found.append(made)
    why = f"trades less than the {most} markets that were asked for"
    left_out += [(name(market), why) for market in ranked]
    return renumber(found, range(len(found))), tuple(left_out)


async def together(
    calls: Sequence[Callable[[], Awaitable[T]]], clock: Clock, *, patient: bool = True
) -> list[T]:
    """The answers in order, a few calls at a time; `patient`: each is tried again as `patiently` says."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await (patiently(call, clock) if patient else call())

    tasks = [asyncio.ensure_future(one(call)) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:  # the first that fails ends the others: nobody waits for them
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def patiently(call: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """A read again while the venue asks for patience (429) or fails; public reads are throttled by address.

    Raises:
        NotAnsweredError: the venue says no, or keeps on failing.
    """
    pause_ns = FIRST_PAUSE_NS
    for _ in range(TRIES - 1):
        try:
            return await call()
        except NotAnsweredError as error:
            if error.status not in (0, TOO_MANY) and error.status < SERVER_FAILED:
                raise
        await clock.sleep(pause_ns)
        pause_ns *= 2
    return await call()
