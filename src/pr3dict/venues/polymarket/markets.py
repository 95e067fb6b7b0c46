"""Polymarket's markets as the engine knows them: `Listed` from Gamma's body, and rows from its life.

Gamma lists, the order API knows what an order must respect, and neither announces everything: whether a
market takes orders, closes or was paid is read again each minute. `endDate` is when the outcome is expected,
no halt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, Control, FeesChanged, Listed, Settled
from pr3dict.domain.fees import FeeTerms, polymarket_terms
from pr3dict.domain.market import MarketStatus, polymarket_grid
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.amounts import LOT
from pr3dict.venues.polymarket.book import BookSpec, TickChange
from pr3dict.venues.polymarket.frames import ResolvedFrame
from pr3dict.venues.polymarket.models import ClobMarket, GammaFees, GammaMarket, VerboseMarket, clob_condition
from pr3dict.venues.polymarket.numbers import UNKNOWN
from pr3dict.venues.polymarket.requests import Terms
from pr3dict.venues.polymarket.reward_terms import reward_news

# What a live market's tick may become; on any other one the market waits, paused. None of hundredths of a
# cent, whose depth every market would pay for in memory: a market that has it already lists it itself.
LIKELY_TICKS: Final = (100, 10, 50, 25)
START_LEAD_NS: Final = 60 * NS_PER_SECOND  # before a game whose start empties the book, quotes are out of it
START_DONE_NS: Final = 10 * NS_PER_SECOND  # by then it was emptied
HALF: Final = MONEY_SCALE // 2


def fee_terms(market: GammaMarket, clob: ClobMarket | None = None) -> FeeTerms:
    """The fee that a market states; the order API's numbers win where both state some.

    Raises:
        DataError: its curve is none that quoting reckons with.
    """
    stated = market.fee_schedule
    rebate = int(stated.rebateRate) if stated is not None else 0
    rate, exponent, taker_only = 0, 1, True
    if clob is not None and clob.fd is not None:
        rate, exponent, taker_only = int(clob.fd.r), int(clob.fd.e), clob.fd.to
    elif clob is None and stated is not None and market.fees_enabled is not False:
        rate, exponent, taker_only = int(stated.rate), int(stated.exponent), stated.takerOnly
    if rate and exponent != 1:
        what = f"its fee has the exponent {exponent}; only 1 is reckoned with"
        raise DataError(what, key=market.condition_id or market.id)
    return polymarket_terms(rate, rebate if rate else 0, taker_only=taker_only)


def event_of(market: GammaMarket) -> tuple[str, bool]:
    """(the event of a market, whether at most one of its markets ends YES)."""
    if market.neg_risk and market.neg_risk_market_id:
        return market.neg_risk_market_id, True
    events = market.events or ()
    return (f"event-{events[0].id}" if events else str(market.condition_id)), False


def listed(market: GammaMarket, *, row: int, clob: ClobMarket | None = None) -> Listed:
    """What a market is, as row `row`; `clob`: the order API's word on it, which wins.

    Raises:
        DataError: it is no market with two tokens, or its tick, least size or fee is not stated.
    """
    condition = market.condition_id
    if not condition or market.tokens is None:
        raise DataError("has no condition or no tokens yet", key=market.slug or market.id)
    tick, least = _tick_and_least(market, clob)
    event_id, exclusive = event_of(market)
    fees = fee_terms(market, clob)
    ends_ns = UNKNOWN if market.end_date is None else int(market.end_date)
    return Listed(
        market=row,
        venue="polymarket",
        ticker=condition,
        event_id=event_id,
        exclusive=exclusive,
        title=market.question or market.slug or condition,
        grids=tuple(polymarket_grid(t) for t in (tick, *(t for t in LIKELY_TICKS if t != tick))),
        min_size=least,
        lot=LOT,
        fee_kind="polymarket",
        taker_ppm=fees.taker_ppm,
        maker_ppm=fees.maker_ppm,
        rebate_ppm=fees.rebate_ppm,
        trade_unit_micros=fees.trade_fee_unit_micros,
        nets_positions=False,
        reduce_in_place=False,
        book_includes_own=True,
        close_ns=UNKNOWN,
        resolution_ns=ends_ns,
    )


def _tick_and_least(market: GammaMarket, clob: ClobMarket | None) -> tuple[int, int]:
    tick = market.order_price_min_tick_size if clob is None else clob.mts
    least = market.order_min_size if clob is None else clob.mos
    if tick is None or not least:
        raise DataError("states no tick or no least size", key=market.condition_id or market.id)
    return int(tick), -(-int(least) // LOT) * LOT


class Start(NamedTuple):
    """When a game starts (UNKNOWN: there is none), and whether that takes every order out of the book."""

    at_ns: int = UNKNOWN
    clears: bool = False


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What one market is now. `tick`: in 1/10,000 dollar; `grid`: its place in the listing's (-1: none)."""

    listing: Listed
    condition: str  # as the order API and the streams name it
    yes: str
    no: str
    neg_risk: bool
    tick: int
    grid: int
    fees: FeeTerms
    schedule: GammaFees | None = None  # what the catalogue last said of its fee
    start: Start = Start()  # of the game, by the catalogue
    book_start: Start = Start()  # by the order API: they move, and not together
    asking: bool = True  # the order API takes orders
    over: bool = False  # it takes none any more
    value_micros: int = UNKNOWN  # of one YES contract, once the outcome is known

    @property
    def clears(self) -> bool:
        """Whether the start of the game may take every order out of the book."""
        return self.start.clears or self.book_start.clears

    @property
    def terms(self) -> Terms:
        """What an order must know of it."""
        return Terms(self.condition, self.yes, self.no, self.tick, self.neg_risk)

    @property
    def spec(self) -> BookSpec:
        """What its book must know of it."""
        return BookSpec(
            market=self.listing.market, condition=self.condition, yes=self.yes, no=self.no, tick=self.tick,
            min_size=self.listing.min_size, neg_risk=self.neg_risk,
        )  # fmt: skip


def life_of(listing: Listed, market: GammaMarket, clob: ClobMarket | None = None) -> Life:
    """The life of a market from its bodies; raises `DataError` as `listed`."""
    if market.tokens is None or market.condition_id is None:
        raise DataError("has no condition or no tokens yet", key=market.slug or market.id)
    tick, _ = _tick_and_least(market, clob)
    neg_risk = clob.nr if clob is not None else bool(market.neg_risk)
    life = Life(
        listing=listing,
        condition=clob_condition(market.condition_id),
        yes=market.tokens[0],
        no=market.tokens[1],
        neg_risk=neg_risk,
        tick=tick,
        grid=_place_of(tick, listing),
        fees=fee_terms(market, clob),
        schedule=market.fee_schedule,
        book_start=Start() if clob is None else _book_start(clob),
    )
    return _reread(life, market)


def _book_start(clob: ClobMarket) -> Start:
    return Start(_moment(clob.gst), clob.cbos is True)


def _moment(said: int | None) -> int:
    return UNKNOWN if said is None else int(said)


def relisted(life: Life, listing: Listed) -> Life:
    """The same market under another listing: with its row and its grids."""
    return msgspec.structs.replace(life, listing=listing, grid=_place_of(life.tick, listing))


def _place_of(tick: int, listing: Listed) -> int:
    grid = polymarket_grid(tick)
    return listing.grids.index(grid) if grid in listing.grids else -1


def _reread(life: Life, market: GammaMarket) -> Life:
    """What Gamma says of a market's state now."""
    takes = market.accepting_orders is not False and market.enable_order_book is not False
    resolving = bool(market.uma_resolution_status)  # proposed, disputed, or a word that may come
    over = market.closed is True
    return msgspec.structs.replace(
        life,
        asking=takes and market.active is not False and not resolving,
        over=life.over or over,
        start=Start(_moment(market.game_start_time), market.clear_book_on_start is True),
        value_micros=stated_value(market) if over else life.value_micros,
    )


def stated_value(market: GammaMarket) -> int:
    """What one YES contract of a closed market pays, by Gamma; UNKNOWN while it is not resolved."""
    done = "resolved" in (
        (market.uma_resolution_status or "").lower(),
        (market.resolution_status or "").lower(),
    )
    prices = market.outcome_prices
    if not done or prices is None or len(prices) != 2:
        return UNKNOWN
    if prices[0] == prices[1] == Decimal("0.5"):
        return HALF
    pays = {(Decimal(1), Decimal(0)): MONEY_SCALE, (Decimal(0), Decimal(1)): 0}
    return pays.get((prices[0], prices[1]), UNKNOWN)


def verbose_value(market: VerboseMarket, yes: str) -> int:
    """What one YES contract pays, by the order API; UNKNOWN while it names no winner."""
    if market.is_50_50_outcome and market.closed:
        return HALF
    won = [token.token_id for token in market.tokens if token.winner]
    return UNKNOWN if len(won) != 1 else MONEY_SCALE if won[0] == yes else 0


class Lives:
    """All markets of an adapter; turns news about them into rows and events.

    Those that are over leave what is looked after (`leave`), but keep their names: late news of their orders
    and fills is about them still. `in_play`: quote again after a game began whose start emptied the book.
    """

    def __init__(self, lives: Iterable[Life], *, in_play: bool = False) -> None:
        self.by_row: dict[int, str] = {}  # row to condition, as the order API names it
        self.names: dict[str, int] = {}  # conditions to rows
        self.tokens: dict[str, tuple[int, bool]] = {}  # asset ids to (row, whether it is NO)
        self.post_only = False  # the venue takes only post-only orders for now
        self._in_play = in_play
        self._lives: dict[str, Life] = {}
        self._shown: dict[str, MarketStatus] = {}
        self._watched: dict[str, None] = {}
        self._paid: dict[int, int] = {}  # rows to the payout that was told
        self._rates: dict[int, tuple[int, int]] = {}  # rows to the rates that were told since
        self._rewards: dict[int, RewardTerms | None] = {}  # rows to the reward terms that were told
        self.add(lives)

    def add(self, lives: Iterable[Life]) -> None:
        """Look after more markets."""
        for life in lives:
            row = life.listing.market
            self._lives[life.condition] = life
            self._watched[life.condition] = None
            self.by_row[row], self.names[life.condition] = life.condition, row
            self.tokens[life.yes], self.tokens[life.no] = (row, False), (row, True)

    def leave(self, conditions: Iterable[str]) -> None:
        """These are over: nobody looks after them any more."""
        for condition in conditions:
            self._watched.pop(condition, None)

    @property
    def watched(self) -> tuple[str, ...]:
        """The markets that are looked after."""
        return tuple(self._watched)

    def __getitem__(self, condition: str) -> Life:
        return self._lives[condition]

    def __contains__(self, condition: str) -> bool:
        return condition in self._lives

    def all(self) -> list[Life]:
        """All that are looked after."""
        return [self._lives[condition] for condition in self._watched]

    def known(self) -> list[Life]:
        """All that ever were."""
        return list(self._lives.values())

    def of_row(self, row: int) -> Life:
        """The market of a row."""
        return self._lives[self.by_row[row]]

    def terms_of(self, row: int) -> Terms:
        """What an order in a market must know of it."""
        return self.of_row(row).terms

    # --- status -----------------------------------------------------------------------------------

    def status_of(self, life: Life, now_ns: int) -> MarketStatus:
        """A market's status as the engine may know it."""
        if life.over:
            if life.value_micros == UNKNOWN:
                return MarketStatus.CLOSED
            return MarketStatus.SETTLED
        if not life.asking or life.grid < 0 or self._is_start_near(life, now_ns):
            return MarketStatus.PAUSED
        return MarketStatus.POST_ONLY_MODE if self.post_only else MarketStatus.ACTIVE

    def _is_start_near(self, life: Life, now_ns: int) -> bool:
        told = (life.start, life.book_start)
        times = [start.at_ns for start in told if start.at_ns != UNKNOWN]
        if not times or not life.clears or now_ns < min(times) - START_LEAD_NS:
            return False
        return not self._in_play or now_ns < max(times) + START_DONE_NS

    def opening(self, now_ns: int, conditions: Iterable[str] | None = None) -> d.Array:
        """These (or all) as they are: STATUS rows, and TICK rows where a listing says otherwise."""
        rows = []
        for condition in self._watched if conditions is None else conditions:
            life = self._lives[condition]
            status = self._shown[condition] = self.status_of(life, now_ns)
            rows.append(_row(life.listing.market, d.STATUS, int(status), now_ns))
            if life.grid > 0:
                rows.append(_row(life.listing.market, d.TICK, life.grid, now_ns))
        return _joined(rows)

    def tick(self, now_ns: int) -> d.Array:
        """STATUS rows of the markets whose status is another one by now."""
        rows = []
        for life in self.all():
            status = self.status_of(life, now_ns)
            if status is not self._shown.get(life.condition):
                self._shown[life.condition] = status
                rows.append(_row(life.listing.market, d.STATUS, int(status), now_ns))
        return _joined(rows)

    # --- news -------------------------------------------------------------------------------------

    def tick_moved(self, change: TickChange, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """A tick that was listed is a TICK row; on any other one the market is paused until it is back."""
        life = self.of_row(change.market)
        place = _place_of(change.tick, life.listing)
        self._lives[life.condition] = msgspec.structs.replace(life, tick=change.tick, grid=place)
        rows = [_row(change.market, d.TICK, place, now_ns)] if place >= 0 else []
        return _joined([*rows, self.tick(now_ns)]), ()

    def resolved(self, news: ResolvedFrame, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """A winner was announced; without one the market's own body has to say more."""
        life = self._lives.get(news.market)
        if life is None:
            return np.zeros(0, d.EVENT), ()
        value = {life.yes: MONEY_SCALE, life.no: 0}.get(news.winning_asset_id or "", UNKNOWN)
        return self._closed(life, value, now_ns)

    def _closed(self, life: Life, value: int, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        known = life.value_micros if value == UNKNOWN else value
        life = msgspec.structs.replace(life, over=True, value_micros=known)
        self._lives[life.condition] = life
        return self.tick(now_ns), self._payout(life)

    def _fees_changed(self, life: Life) -> tuple[Control, ...]:
        """The rates of a market where the engine knows others, by its listing or the last notice."""
        row, listing, rates = life.listing.market, life.listing, (life.fees.taker_ppm, life.fees.maker_ppm)
        if rates == self._rates.get(row, (listing.taker_ppm, listing.maker_ppm)):
            return ()
        self._rates[row] = rates
        return (FeesChanged(market=row, taker_ppm=rates[0], maker_ppm=rates[1]),)

    def _payout(self, life: Life) -> tuple[Control, ...]:
        """The payout of a market unless it was told as it is."""
        row, value = life.listing.market, life.value_micros
        if not life.over or value == UNKNOWN or self._paid.get(row) == value:
            return ()
        self._paid[row] = value
        return (Settled(market=row, value_micros=value),)

    def has_new_fee(self, market: GammaMarket) -> bool:
        """Whether the catalogue says something else of a market's fee than before; raises `KeyError`."""
        return market.fee_schedule != self._lives[clob_condition(market.condition_id or "")].schedule

    def reread(
        self, market: GammaMarket, now_ns: int, clob: ClobMarket | None = None
    ) -> tuple[d.Array, tuple[Control, ...]]:
        """What a market's body says that no message told us: status, start, fee, tick, payout.

        `clob` is the order API's word on it, where the fee is another one (`has_new_fee`).

        Raises:
            DataError: it states what can't be reckoned with.
        """
        if market.condition_id is None:
            return np.zeros(0, d.EVENT), ()
        life = self._lives[clob_condition(market.condition_id)]
        fresh = _reread(life, market)
        if clob is not None:
            fresh = msgspec.structs.replace(fresh, fees=fee_terms(market, clob), schedule=market.fee_schedule)
        self._lives[life.condition] = fresh
        events: list[Control] = [*self._fees_changed(fresh), *self._payout(fresh)]
        if not fresh.over:
            events += reward_news(self._rewards, life.listing, market, now_ns)
        rows = [self.tick(now_ns)]
        tick = market.order_price_min_tick_size
        if tick is not None and int(tick) != fresh.tick and not fresh.over:
            events.append(BookInvalid(market=life.listing.market, why="differs"))  # its stream knows better
        return _joined(rows), tuple(events)

    def start_moved(self, clob: ClobMarket, condition: str, now_ns: int) -> d.Array:
        """What the order API says of the start of a market's game."""
        life = self._lives[condition]
        self._lives[condition] = msgspec.structs.replace(life, book_start=_book_start(clob))
        return self.tick(now_ns)

    def reread_over(self, market: VerboseMarket, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """What the order API says of a market that the catalogue lists no more."""
        life = self._lives[clob_condition(market.condition_id)]
        if not market.closed:
            takes = market.accepting_orders is not False and market.active is not False
            self._lives[life.condition] = msgspec.structs.replace(life, asking=takes)
            return self.tick(now_ns), ()
        return self._closed(life, verbose_value(market, life.yes), now_ns)

    def restrict(self, now_ns: int, *, post_only: bool) -> d.Array:
        """After a restart the venue takes only post-only orders for a while; rows of all markets."""
        self.post_only = post_only
        return self.tick(now_ns)

    def is_unpaid(self, condition: str) -> bool:
        """Whether a market is over, and what it pays is not known yet."""
        life = self._lives[condition]
        return life.over and life.value_micros == UNKNOWN

    def prices(self) -> Mapping[int, int]:
        """Rows of markets that are over to what one YES contract pays."""
        return {
            life.listing.market: life.value_micros
            for life in self._lives.values()
            if life.over and life.value_micros != UNKNOWN
        }


def _joined(rows: list[d.Array]) -> d.Array:
    return np.concatenate(rows) if rows else np.zeros(0, d.EVENT)


def _row(market: int, kind: int, aux: int, now_ns: int) -> d.Array:
    row = np.zeros(1, d.EVENT)
    row["market"], row["kind"], row["aux"] = market, kind, aux
    row["exch_ns"] = row["local_ns"] = now_ns
    return row
