"""`pr3dict scan --venue`: open markets, filtered by their listing, then watched and judged.

What is watched becomes tapes in memory, judged by `runtime/scan.judge` like any recorded tape.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec
import numpy as np

from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.quote_state import resolution_left_ns
from pr3dict.kernels.selection_rows import new_selection
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.scan import Judged, judge
from pr3dict.runtime.tapeset import market_rows
from pr3dict.runtime.venue_follow import Follower, Watcher
from pr3dict.runtime.venue_selection import OneLife, Selection
from pr3dict.store.importers.recording import read as read_recording
from pr3dict.store.recorder import Recorder
from pr3dict.store.tape import Tape
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.selection import BOOK, DEPTH, TRADES, Candidate, Rejection, rejections, statistics
from pr3dict.venues.session import Clock

if TYPE_CHECKING:
    from pr3dict.runtime.kalshi_access import KalshiAccess
    from pr3dict.runtime.polymarket_access import PolymarketAccess

SESSION: Final = "live"
NO_VOLUME: Final = "no_volume"


class Incentive(msgspec.Struct, frozen=True, kw_only=True):
    """A reward period of a market: what all makers of it share."""

    kind: str
    reward_micros: int
    start_ns: int
    end_ns: int
    target: int | None  # micro-contracts that a side must show, or an order must have
    discount_ppm: int | None = None
    max_spread: int | None = None  # from the midpoint, in 1/10,000 dollar; None: no such bound

    @property
    def micros_an_hour(self) -> int:
        """The reward spread evenly over its period."""
        return self.reward_micros * NS_PER_HOUR // max(1, self.end_ns - self.start_ns)


@dataclass(frozen=True, slots=True)
class Terms:
    """What trading a market costs and pays apart from prices."""

    fee: str
    maker_ppm: int
    fee_moves: tuple[str, ...]
    incentives: tuple[Incentive, ...]
    volume_24h: int | None  # micro-contracts
    dollars_24h: int | None = None  # micros; a venue states one or the other


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A market as the venue lists it: touch (None: not listed), and whether a day passed without a trade."""

    life: OneLife
    label: str  # what a person calls it
    bid: int | None
    ask: int | None
    is_idle: bool
    volume: int  # of a day, in any unit that is the same for all
    terms: Terms


@dataclass(frozen=True, slots=True)
class Offers:
    """All markets of a selection that can be followed, and those that can't."""

    offers: tuple[Offer, ...]
    left_out: tuple[tuple[str, str], ...]


class ScanVenue(Protocol):
    """A venue as it is scanned."""

    async def offers(self, selection: Selection) -> Offers:
        """What is listed; raises `ReadFailedError` or `DataError`."""

    async def watch(self, lives: Sequence[Any], watch_s: float) -> Watched:
        """What the markets do for a while; raises `WorkError` where nothing can be seen."""

    async def close(self) -> None:
        """Give back the sockets."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Tapes of what markets did for a while, and what they can't show."""

    tapes: tuple[Tape, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LiveScanSpec:
    """What to look at, and how long."""

    access: KalshiAccess | PolymarketAccess
    selection: Selection
    config: MarketMakingConfig
    watch_s: float = 60.0
    candidates: int = 50  # of the listing, that are watched
    direct_member: bool = False
    on_stage: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class LiveScan:
    """Every market of the listing, judged; `watched` by name, `notes` say what could not be seen."""

    judged: tuple[Judged, ...]
    terms: Mapping[str, Terms]
    labels: Mapping[str, str]
    watched: frozenset[str]
    left_out: tuple[tuple[str, str], ...]
    watched_s: float
    notes: tuple[str, ...]


async def scan_live(spec: LiveScanSpec, clock: Clock) -> LiveScan:
    """List, filter, watch, judge.

    Raises:
        ReadFailedError: the venue did not answer.
        WorkError: the stream did not come up.
    """
    say = spec.on_stage or (lambda _: None)
    venue = scan_venue_of(spec, clock)
    try:
        say("listing markets")
        found = await venue.offers(spec.selection)
        now_ns = clock.now_ns()
        listed = {
            offer.life.listing.ticker: judge_listing(offer, spec.config, now_ns) for offer in found.offers
        }
        chosen = _candidates(found.offers, listed)[: spec.candidates]
        say(f"watching {len(chosen)} of {len(listed)} markets for {spec.watch_s:g} s")
        began_ns = clock.now_ns()
        is_watched = chosen and spec.watch_s > 0
        seen = await venue.watch(chosen, spec.watch_s) if is_watched else Watched(())
        watched_s = (clock.now_ns() - began_ns) / NS_PER_SECOND
    finally:
        await venue.close()
    say("judging what was seen")
    judged = listed | {tape.meta.ticker: judge(tape, spec.config) for tape in seen.tapes}
    return LiveScan(
        tuple(judged.values()),
        {offer.life.listing.ticker: offer.terms for offer in found.offers},
        {offer.life.listing.ticker: offer.label for offer in found.offers},
        frozenset(tape.meta.ticker for tape in seen.tapes),
        found.left_out,
        watched_s,
        seen.notes,
    )


def scan_venue_of(spec: LiveScanSpec, clock: Clock) -> ScanVenue:
    """The venue of an access as it is scanned; its code is loaded when it is asked for."""
    if spec.access.venue == "kalshi":
        from pr3dict.runtime.kalshi_scan import KalshiScan

        return KalshiScan(spec.access, clock, direct_member=spec.direct_member)
    from pr3dict.runtime.polymarket_scan import PolymarketScan

    return PolymarketScan(spec.access, clock)


# --- what the listing proves ------------------------------------------------------------------------------


def judge_listing(offer: Offer, config: MarketMakingConfig, now_ns: int) -> Judged:
    """A market by its listing alone: time to resolution, touch, and whether anybody trades it.

    Depth and trades are not listed, so their filters are not judged.
    """
    meta = meta_of(offer.life.listing, SESSION, synthetic=False)
    row = new_selection()[0]
    bid, ask = offer.bid, offer.ask
    missing: tuple[str, ...] = (DEPTH, TRADES)
    if bid is None or ask is None:
        missing = (BOOK, *missing)
    else:
        row["samples"] = 1
        if 0 < bid < ask < PRICE_SCALE:
            row["two_sided"], row["spread_sum"], row["mid_sum"] = 1, ask - bid, ask + bid
    left_ns = resolution_left_ns(market_rows([meta])[0], now_ns)
    why = rejections(row, config.to_params()[0], left_ns, missing)
    if offer.is_idle:
        why = (*why, Rejection(NO_VOLUME, "no contract traded in 24 h"))
    stats = statistics(row, missing=missing)
    return Judged(meta, Candidate(meta.ticker, stats, None, why, missing), left_ns)


def _candidates(offers: Sequence[Offer], listed: Mapping[str, Judged]) -> list[OneLife]:
    """Those that nothing speaks against, by what makers could have shared of a day: volume times spread."""

    def rank(offer: Offer) -> tuple[int, str]:
        spread = (offer.ask or 0) - (offer.bid or 0)
        return -offer.volume * max(1, spread), offer.life.listing.ticker

    fit = [one for one in offers if not listed[one.life.listing.ticker].candidate.rejections]
    return [offer.life for offer in sorted(fit, key=rank)]


# --- watching ---------------------------------------------------------------------------------------------


async def follow(watcher: Watcher, clock: Clock, lives: Sequence[Any], watch_s: float) -> Watched:
    """Over the stream, as `record` does, into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pr3dict-scan-") as name:
        folder = Path(name) / "rows"
        with Recorder(folder) as recorder:
            follower = Follower(watcher, clock, lives, recorder, SESSION)
            await follower.run(watch_s, asyncio.Event())
        tapes = [Tape(cast("d.Array", made.events), made.meta) for made in read_recording(folder)]
    gaps = sum(follower.followed().gaps.values())
    notes = (f"{gaps} times a book was lost and read anew",) if gaps else ()
    return Watched(tuple(filter(has_book, tapes)), notes)


def has_book(tape: Tape) -> bool:
    """Whether a tape shows any book."""
    return bool(np.isin(tape.events["kind"], (d.LEVEL, d.SNAPSHOT)).any())
