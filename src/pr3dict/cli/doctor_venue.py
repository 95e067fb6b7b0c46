"""What the doctors of all venues share: findings about markets, clocks and streams, and the order's trip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from pr3dict.cli.doctor import Finding, State
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control, FeedUp, Malformed
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.venue_selection import AnyFound
from pr3dict.store.data_dir import DataDir
from pr3dict.store.lease import holder_of
from pr3dict.venues.session import Clock, NotAnsweredError

STREAM_S: Final = 10.0
WAIT_S: Final = 5.0
LOOK_NS: Final = NS_PER_SECOND // 5
LOOKS: Final = 25
UNAUTHORISED: Final = (401, 403)


async def in_order(*checks: Awaitable[list[Finding]]) -> list[Finding]:
    """The findings of checks that run together."""
    return [finding for part in await asyncio.gather(*checks) for finding in part]


def unanswered(name: str, error: Exception, news: str, refused: str) -> list[Finding]:
    """What failed to be read; `news` is where the venue says how it is, `refused` what 401 and 403 mean."""
    advice = f"try again; {news} may know more"
    if isinstance(error, DataError):
        advice = "report it: the venue says something that this version does not understand"
    elif isinstance(error, NotAnsweredError) and error.status in UNAUTHORISED:
        advice = refused
    return [Finding(name, "fail", str(error), advice)]


def markets_finding(found: AnyFound) -> Finding:
    """How many markets of a selection can be traded."""
    left = "; ".join(f"{ticker} {why}" for ticker, why in found.left_out[:3])
    left += f" and {len(found.left_out) - 3} more" if len(found.left_out) > 3 else ""
    figures = {"markets": len(found.lives), "left_out": len(found.left_out)}
    if not found.lives:
        return Finding("markets", "fail", f"none is left: {left or 'none is open'}", "name others", figures)
    text = f"{len(found.lives)} can be traded" + (f"; left out: {left}" if left else "")
    return Finding("markets", "ok", text, "", figures)


def clock_finding(venue: str, skew_ns: int, rough_ns: int, warn_ns: int, fail_ns: int) -> Finding:
    """Our time less the venue's, give or take `rough_ns`."""
    sure_ns = max(0, abs(skew_ns) - rough_ns)
    state: State = "fail" if sure_ns > fail_ns else "warn" if sure_ns > warn_ns else "ok"
    advice = (
        "" if state == "ok" else "let a time service steer this clock: signatures of a wrong time are refused"
    )
    text = f"ours is {skew_ns / 1e9:+.1f} s from {venue}'s, give or take {rough_ns / 1e9:.1f} s"
    return Finding("venue clock", state, text, advice, {"skew_ns": skew_ns, "error_ns": rough_ns})


def runs_here(place: DataDir) -> str:
    """Who trades in the data directory, in words; "": nobody."""
    holder = holder_of(place.lease) if place.lease.exists() else None
    return f"process {holder.pid} trades in {place.path}" if holder else ""


def leftover_finding(name: str, count: int, runs: str, advice: str) -> Finding:
    """Orders or groups that stand at the venue; those of a process that runs are no leftovers."""
    if not count or runs:
        text = f"{count}" + (f"; {runs}" if runs else "") if count else "none"
        return Finding(name, "ok", text, "", {"count": count})
    return Finding(name, "warn", f"{count} left over", advice, {"count": count})


# --- the stream -------------------------------------------------------------------------------------------


class Streams(Protocol):
    """A venue's streams."""

    def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Leave."""


class BookEar:
    """A sink that waits for the subscription and the first whole book."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.whole = asyncio.Event()
        self.why = ""

    def put_rows(self, rows: d.Array) -> None:
        """Market data."""
        if (rows["bits"] & d.SNAP_LAST).any():
            self.whole.set()

    def push(self, event: Control) -> None:
        """The link's life."""
        if isinstance(event, FeedUp):
            self.up.set()
        elif isinstance(event, Malformed):
            self.why = event.why


async def stream_finding(streams: Streams, ear: BookEar, url: str, market: str) -> Finding:
    """Connect, subscribe to everything that trading needs, wait for a book of `market` ("": for none)."""
    began_s = time.perf_counter()
    streams.start()
    try:
        await asyncio.wait_for(ear.up.wait(), STREAM_S)
        if market:
            await asyncio.wait_for(ear.whole.wait(), STREAM_S)
    except TimeoutError:
        text = f"{url} did not come up within {STREAM_S:g} s"
        if ear.up.is_set():
            text = f"no book of {market} came within {STREAM_S:g} s"
        text += f" ({ear.why})" if ear.why else ""
        return Finding("stream", "fail", text, "check the network; a proxy may stop WebSockets")
    finally:
        await streams.close()
    took_ms = (time.perf_counter() - began_s) * 1000
    text = f"market data and account subscribed in {took_ms:,.0f} ms"
    text += f", first book of {market}" if market else "; no market is open to take a book of"
    return Finding("stream", "ok", text, "", {"ms": round(took_ms, 1)})


# --- an order's trip --------------------------------------------------------------------------------------


class Step(Exception):
    """A step that failed; `finding` says how."""

    def __init__(self, name: str, text: str, advice: str) -> None:
        super().__init__(text)
        self.finding = Finding(name, "fail", text, advice)


class OrderEar:
    """Remembers the orders of the private stream, and calls whoever waits."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.news = asyncio.Event()
        self.seen: dict[str, str] = {}  # the venue's id to the newest status

    def put_rows(self, rows: d.Array) -> None:
        """Market data is of no interest here."""

    def push(self, event: Control) -> None:
        """The link's life."""
        if isinstance(event, FeedUp):
            self.up.set()

    def note(self, order_id: str, status: str) -> None:
        """An order is said to have this status."""
        self.seen[order_id] = status
        self.news.set()

    async def came_up(self) -> bool:
        """Whether the stream stands in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.up.wait(), WAIT_S)
        return self.up.is_set()

    async def until(self, order_id: str, statuses: Sequence[str]) -> bool:
        """Whether the order is heard of with one of these statuses in time."""

        async def wait() -> None:
            while self.seen.get(order_id) not in statuses:
                self.news.clear()
                await self.news.wait()

        with suppress(TimeoutError):
            await asyncio.wait_for(wait(), WAIT_S)
            return True
        return False


async def comes_true(is_so: Callable[[], Awaitable[bool]], clock: Clock) -> bool:
    """Look a few times: reads lag behind writes."""
    for _ in range(LOOKS):
        with suppress(NotAnsweredError):
            if await is_so():
                return True
        await clock.sleep(LOOK_NS)
    return False
