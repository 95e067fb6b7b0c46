"""The markets that a session at Polymarket follows: what was chosen, and what is ours in any other one."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import partial

import structlog

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import MarketStatus
from pr3dict.engine.engine import Engine
from pr3dict.runtime.live_venue import ours
from pr3dict.runtime.polymarket_markets import NOT_FOUND, Found, find_markets
from pr3dict.runtime.rolling import FoundMarkets, RollingTerms
from pr3dict.runtime.venue_selection import Selection, renumber, together
from pr3dict.venues.polymarket.holdings import asset_type
from pr3dict.venues.polymarket.markets import Life, life_of, relisted
from pr3dict.venues.polymarket.models import ClobMarket, GammaMarket
from pr3dict.venues.polymarket.numbers import UNKNOWN
from pr3dict.venues.polymarket.own_orders import Known
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError

Log = structlog.typing.FilteringBoundLogger


class PolymarketMarkets:
    """What Polymarket lists of a selection (see `VenueMarkets`)."""

    def __init__(self, rest: PolymarketRest, terms: RollingTerms) -> None:
        self.rest = rest
        self.terms = terms

    async def find(self, *, room: int = 0, known: Container[str] = ()) -> Found:
        """Markets of the selection that are open, at most `room` (0: no limit), without the `known` ones."""
        selection = self.terms.selection
        wanted = Selection(selection.tickers, selection.events, selection.series, room)
        return await find_markets(self.rest, wanted, known=known)

    async def held(self, lives: Iterable[Life]) -> Mapping[str, int]:
        """Contracts of either token that the wallet holds, by ticker; nobody lists what else it holds."""
        markets = list(lives)
        calls = [partial(self._balance, token) for life in markets for token in (life.yes, life.no)]
        found = await together(calls, self.rest.http.clock)
        return {
            life.listing.ticker: max(found[2 * place : 2 * place + 2]) for place, life in enumerate(markets)
        }

    async def _balance(self, token: str) -> int:
        return int((await self.rest.balance(asset_type(token), token)).balance)

    async def waits_for(self) -> tuple[str, ...]:
        """Nothing: what opens is listed long before, and an unknown tag looks like one without markets."""
        return ()

    def journaled(
        self,
        engine: Engine,
        lives: tuple[Life, ...],
        rows: tuple[int, ...],
        found: FoundMarkets[Life],  # noqa: ARG002 - a life holds all that is needed
    ) -> tuple[Life, ...]:
        """`lives` with these rows, and where the journal listed one already, as it did."""
        return as_journaled(engine, renumber(lives, rows))

    def open_left_out(self, found: FoundMarkets[Life]) -> Mapping[str, str]:
        """Markets that can't be read; those that are closed are nothing to speak of."""
        return {ticker: why for ticker, why in found.left_out if "can't be read" in why}

    def name(self, life: Life) -> str:
        """Its condition, as the order API writes it."""
        return life.condition

    def status(self, life: Life, now_ns: int) -> MarketStatus:  # noqa: ARG002 - it is told, not worked out
        """How a market stands, pauses apart."""
        if not life.over:
            return MarketStatus.ACTIVE
        return MarketStatus.CLOSED if life.value_micros == UNKNOWN else MarketStatus.SETTLED


def as_journaled(engine: Engine, lives: tuple[Life, ...]) -> tuple[Life, ...]:
    """The same markets as the journal listed them: its grids are what the engine counts in, for ever."""
    known = engine.listings
    return tuple(
        relisted(life, known[life.listing.market]) if life.listing.market < len(known) else life
        for life in lives
    )


async def left_open(engine: Engine, chosen: set[str], rest: PolymarketRest, log: Log) -> tuple[Life, ...]:
    """Markets in which something of ours stands or may stand though they were not chosen, or are not open.

    Raises:
        ReadFailedError: Polymarket does not answer.
        DataError: what it lists can't be read.
    """
    wanted = ours(engine, "polymarket", chosen)
    lives = []
    for closed in (None, True):  # the catalogue leaves out what is over unless it is asked for that
        if wanted:
            found = await rest.gamma_markets(condition_ids=tuple(wanted), closed=closed)
            for market in found.items:
                listing = wanted.pop(market.condition_id or "", None)
                if listing is not None:
                    lives.append(await _life(rest, listing, market))
    for ticker in wanted:
        log.error("market not followed", ticker=ticker, why="Polymarket no longer lists it, and we hold it")
    return tuple(lives)


async def _life(rest: PolymarketRest, listing: Listed, market: GammaMarket) -> Life:
    clob: ClobMarket | None = None
    try:
        clob = await rest.clob_market(market.condition_id or "")
    except ReadFailedError as error:
        if error.status != NOT_FOUND:
            raise
    except DataError:
        pass  # the catalogue's word is enough for a market that is not quoted
    return life_of(listing, market, clob)


def earlier_orders(engine: Engine) -> tuple[Known, ...]:
    """All orders of earlier runs that the journal knows by name, or that may stand without one.

    A trade may name any order whose fills are kept, for each step of its way onto the chain is told.
    """
    orders = engine.account.orders
    known = {
        order.order_id: Known(order.order_id, order.market, order.venue_id)
        for order in (*orders.closed.values(), *orders.open.values())
    }
    for ledger in engine.account.ledgers.values():
        for fill in ledger.fills.values():
            if fill.order_id and fill.venue_id:
                known.setdefault(fill.order_id, Known(fill.order_id, fill.market, fill.venue_id))
    return tuple(one for one in known.values() if engine.listings[one.market].venue == "polymarket")
