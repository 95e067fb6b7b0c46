"""Which of Kalshi's markets are followed, and all that has to be known of them, with few requests.

Events are listed with their markets, so that every open market costs one page for 200 events. A body that
can't be read leaves out its own market and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import KALSHI_STATUS, MarketStatus
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.venue_selection import Selection, most_traded, patiently, renumber, together
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.http import Call, Query, Reply, segment
from pr3dict.venues.kalshi.markets import Life, life_of, listed
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.outcomes import Verdict
from pr3dict.venues.kalshi.rest import MAX_PAGES, KalshiRest, ReadFailedError

SERIES_ONE_BY_ONE: Final = 40  # above it the list of all series is shorter to read
TICKERS_A_CALL: Final = 100
EVENTS_A_PAGE: Final = 200
NOT_FOUND: Final = 404

__all__ = ["Catalogue", "Found", "Selection", "find_markets", "read_catalogue", "renumber"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What Kalshi says of markets, their events and series, as it came."""

    markets: tuple[m.Market, ...]
    events: Mapping[str, m.Event]
    series: Mapping[str, m.Series]
    missing: tuple[tuple[str, str], ...] = ()  # what was named and is not there, and why

    def series_of(self, market: m.Market) -> m.Series | None:
        """The series of a market; None: unknown."""
        event = self.events.get(market.event_ticker)
        return None if event is None else self.series.get(event.series_ticker)


@dataclass(frozen=True, slots=True)
class Found:
    """Markets that can be followed. Rows 0..n-1 in `listing.market`; see `renumber`."""

    lives: tuple[Life, ...]
    left_out: tuple[tuple[str, str], ...]  # ticker, why
    fee_moves: tuple[tuple[str, str], ...] = ()  # ticker, which fee comes when
    catalogue: Catalogue = field(default_factory=lambda: Catalogue((), {}, {}))


async def find_markets(
    rest: KalshiRest,
    selection: Selection,
    *,
    now_ns: int,
    direct_member: bool,
    known: Container[str] = (),
) -> Found:
    """The markets of a selection that are open; a paused one is kept where its ticker is named.

    Those that are `known` already, by ticker, are passed over, and `max_markets` counts the others.

    Raises:
        ReadFailedError: Kalshi did not answer.
        DataError: an answer is not what Kalshi promises.
    """
    catalogue, moves = await asyncio.gather(read_catalogue(rest, selection), _fee_moves(rest))
    left_out = list(catalogue.missing)
    kept: list[m.Market] = []
    for market in catalogue.markets:
        if market.ticker in known:
            continue
        why = _unfit(market, named=market.ticker in selection.tickers)
        if why:
            left_out.append((market.ticker, why))
        else:
            kept.append(market)

    async def lives_of(markets: Sequence[m.Market]) -> list[Life | str]:
        return [_life(catalogue, moves, one, now_ns, direct_member=direct_member) for one in markets]

    lives, refused = await most_traded(
        kept,
        selection.max_markets,
        name=lambda market: market.ticker,
        volume=lambda market: int(market.volume_24h_fp or 0),
        lives=lives_of,
    )
    taken = {life.listing.ticker for life in lives}
    said = [
        (market.ticker, move.text)
        for market in kept
        if market.ticker in taken
        for move in moves.of(catalogue, market)
        if move.at_ns > now_ns
    ]
    return Found(lives, (*left_out, *refused), tuple(said), catalogue)


def _unfit(market: m.Market, *, named: bool) -> str:
    """Why a market can't be followed; "": it can. `status=open` is not trusted to mean active."""
    status = KALSHI_STATUS.get(market.status)
    if status is MarketStatus.ACTIVE or (named and status is MarketStatus.PAUSED):
        return ""
    return f"is {market.status}, not active"


def _life(
    catalogue: Catalogue, moves: FeeMoves, market: m.Market, now_ns: int, *, direct_member: bool
) -> Life | str:
    """The life of a market, or why it can't be traded."""
    event = catalogue.events.get(market.event_ticker)
    if event is None:
        return f"its event {market.event_ticker} is not listed"
    series = catalogue.series.get(event.series_ticker)
    if series is None:
        return f"its series {event.series_ticker} is not listed"
    event, series = moves.in_force(event, series, now_ns)
    try:
        told = listed(market, event, series, row=0, at_ns=now_ns, direct_member=direct_member)
        return life_of(told, market, event.exchange_index)
    except DataError as error:
        return error.message


# --- reading ---------------------------------------------------------------------------------------------


class Listing(NamedTuple):
    """Some events, their markets, and what could not be read or found, with the reason."""

    events: list[m.Event]
    markets: list[m.Market]
    missing: list[tuple[str, str]]


async def read_catalogue(rest: KalshiRest, selection: Selection) -> Catalogue:
    """Markets of a selection with their events and series, each read once."""
    if selection.is_all:
        found = await _list_events(rest, {"status": "open"})
    else:
        found = await _named(rest, selection)
    by_event = {event.event_ticker: event for event in found.events}
    lost = sorted({one.event_ticker for one in found.markets} - set(by_event))
    for event in (await _events(rest, lost)).events:
        by_event[event.event_ticker] = event
    series = await _series(rest, sorted({event.series_ticker for event in by_event.values()}))
    markets = {one.ticker: one for one in found.markets}
    return Catalogue(tuple(markets.values()), by_event, series, tuple(found.missing))


async def _named(rest: KalshiRest, selection: Selection) -> Listing:
    """Whatever is named by ticker, by event or by series."""
    tickers = tuple(dict.fromkeys(selection.tickers))
    series = tuple(dict.fromkeys(selection.series))
    events = tuple(dict.fromkeys(selection.events))
    queries: list[Query] = [{"status": "open", "series_ticker": ticker} for ticker in series]
    by_series, by_event, named = await asyncio.gather(
        together([partial(_list_events, rest, query) for query in queries], rest.http.clock, patient=False),
        _events(rest, events),
        patiently(lambda: rest.markets(tickers=tickers), rest.http.clock) if tickers else _nothing(),
    )
    known, heard = {one.ticker for one in named}, {one.event_ticker for one in by_event.events}
    missing = [(one, "Kalshi knows no such market") for one in tickers if one not in known]
    missing += [(one, "Kalshi knows no such event") for one in events if one not in heard]
    missing += [
        (ticker, "the series has no open event")
        for ticker, part in zip(series, by_series, strict=True)
        if not part.events
    ]
    parts = [by_event, *by_series]
    return Listing(
        [event for part in parts for event in part.events],
        [*(market for part in parts for market in part.markets), *named],
        [*missing, *(one for part in parts for one in part.missing)],
    )


async def _nothing() -> list[Any]:
    return []


async def _events(rest: KalshiRest, tickers: Sequence[str]) -> Listing:
    """These events with their markets; combos are not on the list and are read one by one."""
    parts = [tickers[at : at + TICKERS_A_CALL] for at in range(0, len(tickers), TICKERS_A_CALL)]
    queries: list[Query] = [{"tickers": ",".join(part)} for part in parts]
    pages = await together(
        [partial(_list_events, rest, query) for query in queries], rest.http.clock, patient=False
    )
    found = Listing([], [], [])
    for page in pages:
        found.events.extend(page.events)
        found.markets.extend(page.markets)
        found.missing.extend(page.missing)
    unheard = sorted(set(tickers) - {event.event_ticker for event in found.events})
    for answer in await together([partial(_event, rest, ticker) for ticker in unheard], rest.http.clock):
        if answer is not None:
            found.events.append(answer.event)
            found.markets.extend(answer.markets or answer.event.markets or ())
    return found


async def _event(rest: KalshiRest, ticker: str) -> m.EventAnswer | None:
    """One event with its markets; None: there is none."""
    try:
        answer: m.EventAnswer = await rest.get(
            m.EventAnswer, f"/events/{segment(ticker)}", "/events/{}", public=True
        )
    except ReadFailedError as error:
        if error.status == NOT_FOUND:
            return None
        raise
    return answer


class _RawPage(msgspec.Struct, frozen=True, kw_only=True):
    events: tuple[msgspec.Raw, ...]
    cursor: str


class _RawEvent(m.Event, frozen=True, kw_only=True):
    markets: tuple[msgspec.Raw, ...] | None = None  # type: ignore[assignment]


class _Name(msgspec.Struct, frozen=True, kw_only=True):
    ticker: str = ""
    event_ticker: str = ""


_read_page: Final = reader_of(_RawPage)
_read_event: Final = reader_of(_RawEvent)
_read_market: Final = reader_of(m.Market)
_read_name: Final = reader_of(_Name)


async def _list_events(rest: KalshiRest, query: Query) -> Listing:
    """Every event of a query with its markets, read market by market: a bad one spoils no other."""
    found = Listing([], [], [])
    cursor, seen = "", set[str]()
    for _ in range(MAX_PAGES):
        asked: Query = {
            **query,
            "with_nested_markets": True,
            "limit": EVENTS_A_PAGE,
            "cursor": cursor or None,
        }
        reply = await patiently(partial(_ask, rest, "/events", asked), rest.http.clock)
        try:
            page: _RawPage = _read_page(reply.body)
        except DataError as error:
            raise error.at(file="GET /events") from None
        for raw in page.events:
            _take_event(found, bytes(raw))
        cursor = page.cursor
        if not cursor:
            return found
        if cursor in seen:
            raise DataError(f"the list repeats the cursor {cursor[:40]!r}", file="GET /events")
        seen.add(cursor)
    raise DataError(f"the list has more than {MAX_PAGES:,} pages", file="GET /events")


async def _ask(rest: KalshiRest, path: str, query: Query) -> Reply:
    reply = await rest.http.call(Call("GET", path, query=query, signed=False))
    if reply.outcome.verdict is not Verdict.ACCEPTED:
        raise ReadFailedError(f"GET {path}", reply.outcome, reply.status)
    return reply


def _take_event(found: Listing, raw: bytes) -> None:
    try:
        event: _RawEvent = _read_event(raw)
    except DataError as error:
        found.missing.append((_name_of(raw), f"can't be read ({error})"))
        return
    found.events.append(msgspec.structs.replace(event, markets=None))
    for market in event.markets or ():
        try:
            found.markets.append(_read_market(bytes(market)))
        except DataError as error:
            found.missing.append((_name_of(bytes(market)), f"can't be read ({error})"))


def _name_of(raw: bytes) -> str:
    try:
        name: _Name = _read_name(raw)
    except DataError:
        return "a market without a name"
    return name.ticker or name.event_ticker


async def _series(rest: KalshiRest, tickers: Sequence[str]) -> dict[str, m.Series]:
    if len(tickers) > SERIES_ONE_BY_ONE:
        wanted = set(tickers)
        every = await patiently(rest.all_series, rest.http.clock)
        return {one.ticker: one for one in every if one.ticker in wanted}
    found = await together([partial(rest.series, ticker) for ticker in tickers], rest.http.clock)
    return {one.ticker: one for one in found}


# --- fees that move --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeeMove:
    """A fee of a series or an event from `at_ns` on."""

    at_ns: int
    text: str
    fee_type: str | None
    multiplier: int | None  # ppm


@dataclass(frozen=True, slots=True)
class FeeMoves:
    """Scheduled fees by series and by event, in the order of their times."""

    by_series: Mapping[str, tuple[FeeMove, ...]]
    by_event: Mapping[str, tuple[FeeMove, ...]]

    def of(self, catalogue: Catalogue, market: m.Market) -> tuple[FeeMove, ...]:
        """What moves for one market."""
        event = catalogue.events.get(market.event_ticker)
        if event is None:
            return ()
        return (*self.by_series.get(event.series_ticker, ()), *self.by_event.get(event.event_ticker, ()))

    def in_force(self, event: m.Event, series: m.Series, now_ns: int) -> tuple[m.Event, m.Series]:
        """Event and series with what was scheduled and is due, should their bodies be older than it."""
        for move in self.by_series.get(series.ticker, ()):
            if move.at_ns <= now_ns and move.fee_type is not None and move.multiplier is not None:
                series = msgspec.structs.replace(
                    series, fee_type=move.fee_type, fee_multiplier=move.multiplier
                )
        for move in self.by_event.get(event.event_ticker, ()):
            if move.at_ns <= now_ns:
                event = msgspec.structs.replace(
                    event, fee_type_override=move.fee_type, fee_multiplier_override=move.multiplier
                )
        return event, series


async def _fee_moves(rest: KalshiRest) -> FeeMoves:
    of_series, of_events = await asyncio.gather(
        patiently(rest.series_fee_changes, rest.http.clock),
        patiently(rest.event_fee_changes, rest.http.clock),
    )
    by_series: dict[str, list[FeeMove]] = {}
    by_event: dict[str, list[FeeMove]] = {}
    for one in of_series:
        move = _fee_move(int(one.scheduled_ts), one.fee_type, int(one.fee_multiplier))
        by_series.setdefault(one.series_ticker, []).append(move)
    for two in of_events:
        ppm = None if two.fee_multiplier_override is None else int(two.fee_multiplier_override)
        move = _fee_move(int(two.scheduled_ts), two.fee_type_override, ppm)
        by_event.setdefault(two.event_ticker, []).append(move)
    return FeeMoves(_in_time(by_series), _in_time(by_event))


def _in_time(moves: Mapping[str, list[FeeMove]]) -> dict[str, tuple[FeeMove, ...]]:
    return {name: tuple(sorted(found, key=lambda move: move.at_ns)) for name, found in moves.items()}


def _fee_move(at_ns: int, fee_type: str | None, ppm: int | None) -> FeeMove:
    at = datetime.fromtimestamp(at_ns // NS_PER_SECOND, UTC).isoformat().replace("+00:00", "Z")
    times = "" if ppm is None else f" times {ppm / 1e6:g}"
    return FeeMove(at_ns, f"{fee_type or 'the fee of its series'}{times} from {at}", fee_type, ppm)
