"""The markets that a session at Kalshi follows: what was chosen, and what is ours in any other one."""

from __future__ import annotations

import structlog

from pr3dict.engine.engine import Engine
from pr3dict.runtime.kalshi_access import Found, Selection, read_catalogue
from pr3dict.runtime.live_venue import ours
from pr3dict.venues.kalshi.markets import Life, life_of
from pr3dict.venues.kalshi.rest import KalshiRest

Log = structlog.typing.FilteringBoundLogger


def as_journaled(engine: Engine, lives: tuple[Life, ...], listed: Found) -> tuple[Life, ...]:
    """The same markets as the journal listed them: its grids are what the engine counts in, for ever."""
    bodies = {market.ticker: market for market in listed.catalogue.markets}
    return tuple(
        life_of(engine.listings[life.listing.market], bodies[life.listing.ticker], life.shard)
        if life.listing.market < len(engine.listings)
        else life
        for life in lives
    )


async def left_open(engine: Engine, chosen: set[str], rest: KalshiRest, log: Log) -> tuple[Life, ...]:
    """Markets in which something of ours stands or may stand though they were not chosen, or are not open.

    Raises:
        ReadFailedError: Kalshi does not answer.
        DataError: what it lists can't be read.
    """
    wanted = ours(engine, "kalshi", chosen)
    if not wanted:
        return ()
    catalogue = await read_catalogue(rest, Selection(tickers=tuple(wanted)))
    lives = []
    for market in catalogue.markets:
        event = catalogue.events.get(market.event_ticker)
        shard = None if event is None else event.exchange_index
        lives.append(life_of(wanted.pop(market.ticker), market, shard))
    for ticker in wanted:
        log.error("market not followed", ticker=ticker, why="Kalshi no longer lists it, and we hold it")
    return tuple(lives)
