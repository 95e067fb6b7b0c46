"""What a market is: told to the engine (`Listed`) from a tape's metadata, and to a recording of it."""

from __future__ import annotations

import msgspec
import numpy as np

from pr3dict.domain.events import Listed
from pr3dict.domain.fees import kalshi_rounding
from pr3dict.domain.market import PriceGrid
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.tapeset import TapeSet
from pr3dict.store.tape import TapeFee, TapeMeta

UNKNOWN_NS = -1


def listing_of(
    meta: TapeMeta, market: int, *, at_ns: int, direct_member: bool = False, ticker: str = ""
) -> Listed:
    """Row `market` as the tape states it, with Kalshi's rounding rule in force at `at_ns`.

    `ticker` replaces the tape's where one process trades several recordings of a market. `direct_member` is
    Kalshi's finer balance rounding.
    """
    rounding = kalshi_rounding(at_ns, direct_member=direct_member)
    return Listed(
        market=market,
        venue=meta.venue,
        ticker=ticker or meta.ticker,
        event_id=meta.event_id,
        exclusive=meta.exclusive and ticker in ("", meta.ticker),
        title=meta.title,
        grids=meta.grids,
        min_size=meta.min_size,
        lot=meta.lot,
        fee_kind=meta.fee.kind,
        taker_ppm=meta.fee.taker_ppm,
        maker_ppm=meta.fee.maker_ppm,
        rebate_ppm=meta.fee.rebate_ppm,
        trade_unit_micros=rounding.trade_fee_unit_micros,
        unit_micros=rounding.balance_unit_micros,
        rebate_unit_micros=rounding.rebate_unit_micros,
        nets_positions=meta.nets_positions,
        reduce_in_place=meta.reduce_in_place,
        close_ns=UNKNOWN_NS if meta.close_ns is None else meta.close_ns,
        resolution_ns=UNKNOWN_NS if meta.expected_resolution_ns is None else meta.expected_resolution_ns,
        rewards=meta.rewards,
    )


def listings_of(tapes: TapeSet, *, direct_member: bool = False) -> tuple[Listed, ...]:
    """All markets of a set of tapes, row by row; a market recorded twice is two markets."""
    return tuple(
        listing_of(meta, row, at_ns=tapes.start_ns, direct_member=direct_member, ticker=name)
        for row, (meta, name) in enumerate(zip(tapes.metas, tapes.names, strict=True))
    )


def own_grids(tapes: TapeSet) -> d.Array:
    """The events with a TICK's `aux` as the place in its own market's grids, not in those of all tapes."""
    rows: dict[PriceGrid, int] = {}
    for meta in tapes.metas:
        for grid in meta.grids:
            rows.setdefault(grid, len(rows))
    events = tapes.events.copy()
    ticks = np.flatnonzero(events["kind"] == d.TICK)
    for place in ticks.tolist():
        grids = tapes.metas[int(events["market"][place])].grids
        own = {rows[grid]: number for number, grid in enumerate(grids)}
        events["aux"][place] = own[int(events["aux"][place])]
    return events


def numbered(known: list[Listed], wanted: tuple[Listed, ...]) -> tuple[tuple[Listed, ...], tuple[int, ...]]:
    """`wanted` markets that are not `known` yet, with their rows, and the row of each wanted one.

    A ticker keeps its row for the life of a data directory; new ones get the rows that follow.
    """
    rows = {(listing.venue, listing.ticker): listing.market for listing in known}
    fresh: list[Listed] = []
    for listing in wanted:
        key = (listing.venue, listing.ticker)
        if key not in rows:
            rows[key] = len(rows)
            fresh.append(msgspec.structs.replace(listing, market=rows[key]))
    return tuple(fresh), tuple(rows[listing.venue, listing.ticker] for listing in wanted)


def meta_of(listing: Listed, session: str, *, synthetic: bool) -> TapeMeta:
    """The metadata of a tape that a process records of a market."""
    fee = TapeFee(
        kind=listing.fee_kind,
        taker_ppm=listing.taker_ppm,
        maker_ppm=listing.maker_ppm,
        rebate_ppm=listing.rebate_ppm,
        source="as the recording process knew it",
    )
    return TapeMeta(
        venue=listing.venue,
        ticker=listing.ticker,
        event_id=listing.event_id,
        exclusive=listing.exclusive,
        title=listing.title,
        session=session,
        source_format="recorded",
        grids=listing.grids,
        min_size=listing.min_size,
        lot=listing.lot,
        fee=fee,
        nets_positions=listing.nets_positions,
        reduce_in_place=listing.reduce_in_place,
        close_ns=None if listing.close_ns < 0 else listing.close_ns,
        expected_resolution_ns=None if listing.resolution_ns < 0 else listing.resolution_ns,
        has_trades="recorded",
        synthetic=synthetic,
        rewards=listing.rewards,
    )
