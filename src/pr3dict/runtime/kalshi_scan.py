"""Kalshi's markets as they are scanned: their listing, fees and programmes, and what they do for a while.

With a key the books come over the stream; without one they are polled, which sees less, and that is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.runtime.kalshi_follow import KalshiWatcher
from pr3dict.runtime.kalshi_markets import Found
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.tapeset import fee_name
from pr3dict.runtime.venue_scan import SESSION, Incentive, Offer, Offers, Terms, Watched, follow, has_book
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.importers.common import EventRow, event_row, events_of, snapshot_rows
from pr3dict.store.tape import Tape
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.rest import BOOKS_A_CALL, KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

POLL_NS: Final = 2 * NS_PER_SECOND
AT_ONCE: Final = 8
UNAUTHORISED: Final = (401, 403)


class KalshiScan:
    """Kalshi as it is scanned (see `ScanVenue`)."""

    def __init__(self, access: KalshiAccess, clock: Clock, *, direct_member: bool) -> None:
        self._watcher = KalshiWatcher(access, clock, direct_member=direct_member)
        self._has_key = access.signer is not None

    async def offers(self, selection: Selection) -> Offers:
        """What is listed; raises `ReadFailedError` or `DataError`."""
        watcher = self._watcher
        found, rewards = await asyncio.gather(watcher.find(selection), _incentives(watcher.rest))
        bodies = {market.ticker: market for market in found.catalogue.markets}
        terms = _terms(found, bodies, rewards, direct_member=watcher.direct_member)
        now_ns = watcher.clock.now_ns()
        return Offers(
            tuple(_offer(life, bodies[life.listing.ticker], terms, now_ns) for life in found.lives),
            found.left_out,
        )

    async def watch(self, lives: Sequence[Life], watch_s: float) -> Watched:
        """What the markets do for a while; raises `WorkError` where the stream did not come up."""
        watcher = self._watcher
        if self._has_key:
            return await follow(watcher, watcher.clock, lives, watch_s)
        return await _poll(watcher.rest, watcher.clock, lives, watch_s)

    async def close(self) -> None:
        """Give back the sockets."""
        await self._watcher.close()


def _offer(life: Life, market: m.Market, terms: Mapping[str, Terms], now_ns: int) -> Offer:
    is_old = now_ns - int(market.open_time) > 24 * NS_PER_HOUR
    ticker, bid, ask = life.listing.ticker, market.yes_bid_dollars, market.yes_ask_dollars
    return Offer(
        life,
        ticker,
        None if bid is None else int(bid),
        None if ask is None else int(ask),
        market.volume_24h_fp == 0 and is_old,
        int(market.volume_24h_fp or 0),
        terms[ticker],
    )


# --- without a key ----------------------------------------------------------------------------------------


async def _poll(rest: KalshiRest, clock: Clock, lives: Sequence[Life], watch_s: float) -> Watched:
    """Books read every two seconds, trades at the end: all that is public without a key."""
    began_ns = clock.now_ns()
    until_ns = began_ns + round(watch_s * NS_PER_SECOND)
    tickers = [life.listing.ticker for life in lives]
    rows: dict[str, list[EventRow]] = {
        ticker: [event_row(began_ns, began_ns, d.STATUS, aux=d.ACTIVE)] for ticker in tickers
    }
    polls = failed = 0
    while True:
        try:
            for ticker, sides in (await _books(rest, tickers)).items():
                at_ns = clock.now_ns()
                rows[ticker] += snapshot_rows(at_ns, at_ns, _levels(sides))
            polls += 1
        except ReadFailedError:
            failed += 1
        left_ns = until_ns - clock.now_ns()
        if left_ns <= 0:
            break
        await clock.sleep(min(POLL_NS, left_ns))
    end_ns = clock.now_ns()
    for known in rows.values():
        known.append(event_row(end_ns, end_ns, d.STATUS, aux=d.ACTIVE))  # it was watched until now
    without = await _add_trades(rest, rows, began_ns, end_ns)
    rough = "what they did in between is not seen, so markouts and movement are rough"
    notes = [f"without a key the books were read {polls} times, every {POLL_NS / 1e9:g} s: {rough}"]
    notes += [f"{failed} reads of the books failed"] if failed else []
    notes += [f"the trades of {len(without)} markets could not be read"] if without else []
    tapes = []
    for life in lives:
        events = events_of(sorted(rows[life.listing.ticker], key=lambda row: row[0]))
        meta = meta_of(life.listing, SESSION, synthetic=False)
        if life.listing.ticker in without:
            meta = msgspec.structs.replace(meta, has_trades="none")
        tapes.append(Tape(events, meta))
    return Watched(tuple(filter(has_book, tapes)), tuple(notes))


async def _books(rest: KalshiRest, tickers: Sequence[str]) -> dict[str, m.BookSides]:
    """Whole books, many a call; one by one where the list of books wants a key."""
    found: dict[str, m.BookSides] = {}
    for start in range(0, len(tickers), BOOKS_A_CALL):
        part = tickers[start : start + BOOKS_A_CALL]
        query = urlencode([("tickers", ticker) for ticker in part])
        try:
            books = await rest.get(m.Orderbooks, f"/markets/orderbooks?{query}", public=True)
            found |= {book.ticker: book.orderbook_fp for book in books.orderbooks if book.ticker in part}
        except ReadFailedError as error:
            if error.status not in UNAUTHORISED:
                raise
            sides = await asyncio.gather(*(rest.orderbook(ticker) for ticker in part))
            found |= dict(zip(part, sides, strict=True))
    return found


def _levels(sides: m.BookSides) -> list[tuple[int, int, int]]:
    """(side, price, size) in YES terms: a NO bid at q is a YES ask at 1 - q."""
    bids = [(d.BID, int(price), int(size)) for price, size in sides.yes_dollars or () if size]
    asks = [(d.ASK, PRICE_SCALE - int(price), int(size)) for price, size in sides.no_dollars or () if size]
    return bids + asks


async def _add_trades(
    rest: KalshiRest, rows: dict[str, list[EventRow]], began_ns: int, end_ns: int
) -> frozenset[str]:
    """Put in what traded in the meantime; returns the markets whose trades could not be read."""
    gate = asyncio.Semaphore(AT_ONCE)
    without = set()

    async def one(ticker: str) -> None:
        async with gate:
            try:
                trades = await rest.trades(ticker, min_ts=began_ns // NS_PER_SECOND)
            except (ReadFailedError, DataError):
                without.add(ticker)
                return
        for trade in trades:
            at_ns, taker = int(trade.created_time), trade.taker_outcome_side or trade.taker_side
            if began_ns <= at_ns <= end_ns and taker in ("yes", "no") and not trade.is_block_trade:
                side = d.BID if taker == "yes" else d.ASK
                price, qty = int(trade.yes_price_dollars), int(trade.count_fp)
                rows[ticker].append(event_row(at_ns, at_ns, d.TRADE, side=side, price=price, qty=qty))

    await asyncio.gather(*(one(ticker) for ticker in rows))
    return frozenset(without)


# --- fees and programmes ----------------------------------------------------------------------------------


async def _incentives(rest: KalshiRest) -> dict[str, list[Incentive]]:
    """Reward periods that run, by market."""
    found: dict[str, list[Incentive]] = {}
    for one in await rest.incentive_programs(status="active", kind="all"):
        discount = None if one.discount_factor_bps is None else int(one.discount_factor_bps) * 100
        incentive = Incentive(
            kind=one.incentive_type,
            reward_micros=int(one.period_reward),
            start_ns=int(one.start_date),
            end_ns=int(one.end_date),
            target=None if one.target_size_fp is None else int(one.target_size_fp),
            discount_ppm=discount,
        )
        found.setdefault(one.market_ticker, []).append(incentive)
    return found


def _terms(
    found: Found,
    bodies: Mapping[str, m.Market],
    rewards: Mapping[str, Sequence[Incentive]],
    *,
    direct_member: bool,
) -> dict[str, Terms]:
    moves: dict[str, list[str]] = {}
    for ticker, text in found.fee_moves:
        moves.setdefault(ticker, []).append(text)
    answer = {}
    for life in found.lives:
        ticker, volume = life.listing.ticker, bodies[life.listing.ticker].volume_24h_fp
        meta = meta_of(life.listing, SESSION, synthetic=False)
        answer[ticker] = Terms(
            fee=fee_name(meta, direct_member=direct_member),
            maker_ppm=life.listing.maker_ppm,
            fee_moves=tuple(moves.get(ticker, ())),
            incentives=tuple(rewards.get(ticker, ())),
            volume_24h=None if volume is None else int(volume),
        )
    return answer
