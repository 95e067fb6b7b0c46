"""`pr3dict scan --venue kalshi`: open markets, filtered by their listing, then watched and judged.

What is watched becomes tapes in memory, judged by `runtime/scan.judge` like any recorded tape. With a key the
books come over the stream; without one they are polled, which sees less, and that is said.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlencode

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.quote_state import resolution_left_ns
from pr3dict.kernels.selection_rows import new_selection
from pr3dict.runtime.kalshi_access import Found, KalshiAccess, Selection, find_markets
from pr3dict.runtime.kalshi_follow import Follower
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.scan import Judged, judge
from pr3dict.runtime.tapeset import fee_name, market_rows
from pr3dict.store.importers.common import EventRow, event_row, events_of, snapshot_rows
from pr3dict.store.importers.recording import read as read_recording
from pr3dict.store.recorder import Recorder
from pr3dict.store.tape import Tape
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.selection import BOOK, DEPTH, TRADES, Candidate, Rejection, rejections, statistics
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.rest import BOOKS_A_CALL, KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

ANSWER_S: Final = 60.0  # pages of a listing are large
POLL_NS: Final = 2 * NS_PER_SECOND
SESSION: Final = "live"
NO_VOLUME: Final = "no_volume"
AT_ONCE: Final = 8
UNAUTHORISED: Final = (401, 403)


class Incentive(msgspec.Struct, frozen=True, kw_only=True):
    """A reward period of a market: what all makers of it share."""

    kind: str
    reward_micros: int
    start_ns: int
    end_ns: int
    target: int | None  # micro-contracts that a side must show
    discount_ppm: int | None

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


@dataclass(frozen=True, slots=True, eq=False)
class LiveScanSpec:
    """What to look at, and how long."""

    access: KalshiAccess
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
    watched: frozenset[str]
    left_out: tuple[tuple[str, str], ...]
    watched_s: float
    notes: tuple[str, ...]


async def scan_live(spec: LiveScanSpec, clock: Clock) -> LiveScan:
    """List, filter, watch, judge.

    Raises:
        ReadFailedError: Kalshi did not answer.
        WorkError: the stream did not come up.
    """
    say = spec.on_stage or (lambda _: None)
    http = spec.access.http(clock, answer_s=ANSWER_S)
    try:
        rest = KalshiRest(http)
        say("listing markets")
        found, rewards = await asyncio.gather(
            find_markets(rest, spec.selection, now_ns=clock.now_ns(), direct_member=spec.direct_member),
            _incentives(rest),
        )
        bodies = {market.ticker: market for market in found.catalogue.markets}
        now_ns = clock.now_ns()
        listed = {
            life.listing.ticker: judge_listing(life, bodies[life.listing.ticker], spec.config, now_ns)
            for life in found.lives
        }
        chosen = _candidates(found.lives, listed, bodies)[: spec.candidates]
        say(f"watching {len(chosen)} of {len(listed)} markets for {spec.watch_s:g} s")
        began_ns = clock.now_ns()
        tapes, notes = await _watch(spec, rest, clock, chosen)
        watched_s = (clock.now_ns() - began_ns) / NS_PER_SECOND
    finally:
        await http.close()
    say("judging what was seen")
    judged = dict(listed)
    for tape in tapes:
        judged[tape.meta.ticker] = judge(tape, spec.config)
    seen = frozenset(tape.meta.ticker for tape in tapes)
    terms = _terms(found, bodies, rewards, direct_member=spec.direct_member)
    return LiveScan(tuple(judged.values()), terms, seen, found.left_out, watched_s, tuple(notes))


# --- what the listing proves ------------------------------------------------------------------------------


def judge_listing(life: Life, market: m.Market, config: MarketMakingConfig, now_ns: int) -> Judged:
    """A market by its listing alone: time to resolution, touch, and whether anybody trades it.

    Depth and trades are not listed, so their filters are not judged.
    """
    meta = meta_of(life.listing, SESSION, synthetic=False)
    row = new_selection()[0]
    bid, ask = market.yes_bid_dollars, market.yes_ask_dollars
    missing: tuple[str, ...] = (DEPTH, TRADES)
    if bid is None or ask is None:
        missing = (BOOK, *missing)
    else:
        row["samples"] = 1
        if 0 < bid < ask < PRICE_SCALE:
            row["two_sided"], row["spread_sum"], row["mid_sum"] = 1, ask - bid, ask + bid
    left_ns = resolution_left_ns(market_rows([meta])[0], now_ns)
    why = rejections(row, config.to_params()[0], left_ns, missing)
    if market.volume_24h_fp == 0 and now_ns - int(market.open_time) > 24 * NS_PER_HOUR:
        why = (*why, Rejection(NO_VOLUME, "no contract traded in 24 h"))
    stats = statistics(row, missing=missing)
    return Judged(meta, Candidate(meta.ticker, stats, None, why, missing), left_ns)


def _candidates(
    lives: Sequence[Life], listed: Mapping[str, Judged], bodies: Mapping[str, m.Market]
) -> list[Life]:
    """Those that nothing speaks against, by what makers could have shared of a day: volume times spread."""

    def promise(life: Life) -> int:
        body = bodies[life.listing.ticker]
        spread = int(body.yes_ask_dollars or 0) - int(body.yes_bid_dollars or 0)
        return int(body.volume_24h_fp or 0) * max(1, spread)

    fit = [life for life in lives if not listed[life.listing.ticker].candidate.rejections]
    return sorted(fit, key=lambda life: (-promise(life), life.listing.ticker))


# --- watching ---------------------------------------------------------------------------------------------


async def _watch(
    spec: LiveScanSpec, rest: KalshiRest, clock: Clock, lives: Sequence[Life]
) -> tuple[list[Tape], list[str]]:
    """Tapes of what the markets did for a while, and what they can't show."""
    if not lives or spec.watch_s <= 0:
        return [], []
    if spec.access.signer is None:
        return await _poll(spec, rest, clock, lives)
    return await _follow(spec, rest, clock, lives)


async def _follow(
    spec: LiveScanSpec, rest: KalshiRest, clock: Clock, lives: Sequence[Life]
) -> tuple[list[Tape], list[str]]:
    """Over the stream, as `record` does, into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pr3dict-scan-") as name:
        folder = Path(name) / "rows"
        with Recorder(folder) as recorder:
            follower = Follower(spec.access, clock, rest, lives, recorder, SESSION)
            await follower.run(spec.watch_s, asyncio.Event())
        tapes = [Tape(cast("d.Array", made.events), made.meta) for made in read_recording(folder)]
    heard = follower.followed()
    gaps = sum(heard.gaps.values())
    notes = [f"{gaps} times a book was lost and read anew"] if gaps else []
    return [tape for tape in tapes if _has_book(tape)], notes


def _has_book(tape: Tape) -> bool:
    return bool(np.isin(tape.events["kind"], (d.LEVEL, d.SNAPSHOT)).any())


async def _poll(
    spec: LiveScanSpec, rest: KalshiRest, clock: Clock, lives: Sequence[Life]
) -> tuple[list[Tape], list[str]]:
    """Books read every two seconds, trades at the end: all that is public without a key."""
    began_ns = clock.now_ns()
    until_ns = began_ns + round(spec.watch_s * NS_PER_SECOND)
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
    return [tape for tape in tapes if _has_book(tape)], notes


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
