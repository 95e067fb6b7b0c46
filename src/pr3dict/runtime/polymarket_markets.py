"""Which of Polymarket's markets are followed, and all that has to be known of them, with few requests.

The catalogue (Gamma) lists a hundred markets a page; what orders of a market must respect is then asked of
the order API, which knows better. A body that can't be read leaves out its own market and no other.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pr3dict.domain.errors import DataError
from pr3dict.runtime.venue_selection import Selection, most_traded, patiently, together
from pr3dict.venues.polymarket import rest as r
from pr3dict.venues.polymarket.markets import Life, life_of, listed
from pr3dict.venues.polymarket.models import ClobMarket, GammaMarket, clob_condition

NAMES_A_CALL: Final = 100
BY_VOLUME: Final = "volume24hr"
NOT_FOUND: Final = 404
NOT_YET: Final = "is not yet known to the order API"


@dataclass(frozen=True, slots=True)
class Found:
    """Markets that can be followed. Rows 0..n-1 in `listing.market`; see `renumber`."""

    lives: tuple[Life, ...]
    left_out: tuple[tuple[str, str], ...]  # ticker, why
    fee_moves: tuple[tuple[str, str], ...] = ()  # Polymarket announces none
    bodies: Mapping[str, GammaMarket] = field(
        default_factory=dict
    )  # by ticker, of those that can be followed


class _Listing:
    """What the catalogue said so far: bodies by ticker, and what could not be read or found."""

    def __init__(self) -> None:
        self.markets: dict[str, GammaMarket] = {}
        self.missing: list[tuple[str, str]] = []

    def take(self, page: r.Selection[GammaMarket]) -> None:
        """Add what a page holds."""
        for market in page.items:
            self.markets[_name(market)] = market
        for text in page.refused:
            name, _, why = text.partition(": ")
            self.missing.append((name, f"can't be read ({why})"))


async def find_markets(
    rest: r.PolymarketRest,
    selection: Selection,
    *,
    known: Container[str] = (),
    ask_orders: bool = True,
) -> Found:
    """The markets of a selection that are open; a paused one is kept where its ticker is named.

    Those that are `known` already, by ticker, are passed over, and `max_markets` counts the others.
    `ask_orders` False: the catalogue's word on ticks, sizes and fees is good enough, and no market costs a
    request of its own.

    Raises:
        ReadFailedError: Polymarket did not answer.
        DataError: an answer is not what Polymarket promises.
    """
    rest = r.PolymarketRest(rest.http, again=partial(patiently, clock=rest.http.clock))
    listing = await _read(rest, selection, known)
    fit, left_out = [], list(listing.missing)
    for name, market in listing.markets.items():
        if name in known:
            continue
        why = _unfit(market, named=bool({name, market.slug} & set(selection.tickers)))
        if why:
            left_out.append((name, why))
        else:
            fit.append(market)
    lives, refused = await most_traded(
        fit,
        selection.max_markets,
        name=_name,
        volume=_volume,
        lives=partial(_lives, rest, ask_orders=ask_orders),
    )
    bodies = {life.listing.ticker: listing.markets[life.listing.ticker] for life in lives}
    return Found(lives, (*left_out, *refused), (), bodies)


def _name(market: GammaMarket) -> str:
    """The ticker: the condition as the catalogue writes it; one without is named otherwise."""
    return market.condition_id or market.slug or market.id


def _volume(market: GammaMarket) -> int:
    """Of a day, in millionths of a dollar."""
    return int(market.volume24hr or 0)


def _unfit(market: GammaMarket, *, named: bool) -> str:
    """Why a market can't be followed; "": it can."""
    if market.closed or market.archived:
        return "is closed, not open"
    if not market.condition_id or market.tokens is None:
        return "has no condition or no tokens yet"
    if market.enable_order_book is False:
        return "has no order book"
    takes_orders = market.active is not False and market.accepting_orders is not False
    return "" if takes_orders or named else "takes no orders"


async def _lives(
    rest: r.PolymarketRest, markets: Sequence[GammaMarket], *, ask_orders: bool
) -> list[Life | str]:
    """The life of each market, or why it can't be followed."""
    if not ask_orders:
        return [_life(market, None) for market in markets]
    calls = [partial(_terms, rest, market) for market in markets]
    said = await together(calls, rest.http.clock, patient=False)
    pairs = zip(markets, said, strict=True)
    return [clob if isinstance(clob, str) else _life(market, clob) for market, clob in pairs]


def _life(market: GammaMarket, clob: ClobMarket | None) -> Life | str:
    try:
        return life_of(listed(market, row=0, clob=clob), market, clob)
    except DataError as error:
        return error.message


async def _terms(rest: r.PolymarketRest, market: GammaMarket) -> ClobMarket | str:
    """What the order API says of a market, or why it says nothing that can be used."""
    try:
        return await rest.clob_market(market.condition_id or "")
    except r.ReadFailedError as error:
        if error.status != NOT_FOUND:
            raise
        return NOT_YET
    except DataError as error:
        return f"can't be read ({error})"


# --- reading ---------------------------------------------------------------------------------------------


async def _read(rest: r.PolymarketRest, selection: Selection, known: Container[str]) -> _Listing:
    """Every market of the catalogue that a selection names, each once."""
    listing = _Listing()
    if selection.is_all:
        await _read_all(rest, selection.max_markets, known, listing)
        return listing
    tickers = tuple(dict.fromkeys(selection.tickers))
    conditions = tuple(one for one in tickers if one.startswith("0x"))
    slugs = tuple(one for one in tickers if not one.startswith("0x"))
    calls = [partial(rest.gamma_markets, condition_ids=part) for part in _parts(conditions)]
    calls += [partial(rest.gamma_markets, slug=part) for part in _parts(slugs)]
    calls += [partial(rest.event_markets, slug=one) for one in dict.fromkeys(selection.events)]
    calls += [partial(rest.event_markets, tag_slug=one) for one in dict.fromkeys(selection.series)]
    for page in await together(calls, rest.http.clock, patient=False):
        listing.take(page)
    listing.missing += _unheard(selection, listing)
    return listing


def _parts(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[at : at + NAMES_A_CALL] for at in range(0, len(names), NAMES_A_CALL))


def _unheard(selection: Selection, listing: _Listing) -> list[tuple[str, str]]:
    """What was named, and nothing came of it."""
    markets = listing.markets.values()
    conditions = {clob_condition(one.condition_id) for one in markets if one.condition_id}
    slugs = {one.slug for one in markets} | {name for name, _ in listing.missing}
    events = {event.slug for one in markets for event in one.events or ()}
    missing = []
    for ticker in dict.fromkeys(selection.tickers):
        heard = _condition(ticker) in conditions if ticker.startswith("0x") else ticker in slugs
        if not heard and ticker not in slugs:
            missing.append((ticker, "Polymarket lists no open market of this name"))
    missing += [
        (event, "Polymarket lists no open event of this name")
        for event in dict.fromkeys(selection.events)
        if event not in events
    ]
    return missing


def _condition(ticker: str) -> str:
    try:
        return clob_condition(ticker)
    except DataError:
        return ""


async def _read_all(rest: r.PolymarketRest, most: int, known: Container[str], listing: _Listing) -> None:
    """The catalogue by falling volume, page by page, as far as it is needed; there are hundreds of pages.

    A page that is not in the order that was asked for tells that no page is: then all are read.
    """
    fit = 0
    async for page in rest.gamma_pages(closed=False, order=BY_VOLUME, ascending=False):
        listing.take(page)
        fit += sum(_name(one) not in known and not _unfit(one, named=False) for one in page.items)
        volumes = [_volume(one) for one in page.items]
        if most and fit >= most and volumes == sorted(volumes, reverse=True):
            return
