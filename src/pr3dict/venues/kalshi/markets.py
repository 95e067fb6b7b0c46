"""Kalshi's markets as the engine knows them: `Listed` from a market's body, and rows from its life.

Opening and closing are announced by no message, so the times of each market are watched here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import BookInvalid, Control, Listed, Settled
from pr3dict.domain.fees import KalshiFeeChange, kalshi_rounding, kalshi_schedule
from pr3dict.domain.market import KALSHI_STATUS, MarketStatus, PriceGrid, kalshi_grid
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.frames import LifecycleMessage
from pr3dict.venues.kalshi.models import Event, Market, PriceRange, Series
from pr3dict.venues.kalshi.numbers import CENTI_CONTRACT

# What a live market's grid may become; on any other one the market waits, paused. Seven, since a listing
# holds eight grids, and none of hundredths of a cent, whose depth every market would pay for in memory.
LIKELY_GRIDS: Final = (
    "linear_cent", "deci_cent", "tapered_deci_cent", "center_half_edge_deci_cent",
    "center_whole_edge_half_cent", "center_half_edge_quint_cent", "center_half_edge_half_cent",
)  # fmt: skip


def grid_of(ranges: Iterable[PriceRange]) -> PriceGrid:
    """The grid that `price_ranges` states; raises `DataError` where it states none."""
    return PriceGrid.from_price_ranges([band.as_dict() for band in ranges])


def listed(
    market: Market, event: Event, series: Series, *, row: int, at_ns: int, direct_member: bool
) -> Listed:
    """What a market is, as row `row`, with the fee in force at `at_ns`.

    Raises:
        DataError: its grid or its fee can't be read, or it is no binary market.
    """
    if market.market_type != "binary":
        raise DataError(f"is a {market.market_type} market; only binary ones are traded", key=market.ticker)
    now = grid_of(market.price_ranges)
    others = [grid for grid in map(kalshi_grid, LIKELY_GRIDS) if grid != now]
    waived = market.fee_waiver_expiration_time
    override = KalshiFeeChange(fee_type=event.fee_type_override, multiplier_ppm=event.fee_multiplier_override)
    terms = kalshi_schedule(
        [KalshiFeeChange(fee_type=series.fee_type, multiplier_ppm=int(series.fee_multiplier))],
        [override],
        direct_member=direct_member,
        waived_until_ns=None if waived is None else int(waived),
    ).at(at_ns)
    rounding = kalshi_rounding(at_ns, direct_member=direct_member)
    expected = market.expected_expiration_time or market.latest_expiration_time
    return Listed(
        market=row,
        venue="kalshi",
        ticker=market.ticker,
        event_id=market.event_ticker,
        exclusive=event.mutually_exclusive,
        title=market.title or event.title,
        grids=(now, *others),
        min_size=CENTI_CONTRACT,
        lot=CENTI_CONTRACT,
        fee_kind="kalshi",
        taker_ppm=terms.taker_ppm,
        maker_ppm=terms.maker_ppm,
        trade_unit_micros=rounding.trade_fee_unit_micros,
        unit_micros=rounding.balance_unit_micros,
        rebate_unit_micros=rounding.rebate_unit_micros,
        nets_positions=True,
        reduce_in_place=True,
        book_includes_own=True,
        close_ns=int(market.close_time),
        resolution_ns=-1 if expected is None else int(expected),
    )


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What one market is now. `shard` is where its orders go."""

    listing: Listed
    shard: int
    status: MarketStatus
    open_ns: int
    close_ns: int
    grid: int = 0  # place in the listing's grids of the one that holds; -1: it is none of them
    waived_ns: int = 0  # until when nobody pays a fee; 0: no waiver
    floor: int = 0  # settlement floor, a price of YES: no order may rest at or below it; 0: none
    value_micros: int = -1  # of one YES contract, once it is determined

    @property
    def shown(self) -> MarketStatus:
        """Its status as the engine may know it: paused while its grid is one that was never listed."""
        lost = self.status is MarketStatus.ACTIVE and self.grid < 0
        return MarketStatus.PAUSED if lost else self.status


def life_of(listing: Listed, market: Market, event_shard: int | None) -> Life:
    """The life of a market from its body.

    Raises:
        DataError: its shard is not stated by market or event; it is never guessed.
    """
    shard = market.exchange_index if market.exchange_index is not None else event_shard
    if shard is None:
        raise DataError("neither the market nor its event states an exchange_index", key=market.ticker)
    value = market.settlement_value_dollars
    return Life(
        listing=listing,
        shard=shard,
        status=KALSHI_STATUS.get(market.status, MarketStatus.PAUSED),
        grid=_place_of(grid_of(market.price_ranges), listing),
        waived_ns=int(market.fee_waiver_expiration_time or 0),
        floor=int(market.settlement_floor_dollars or 0),
        open_ns=int(market.open_time),
        close_ns=int(market.close_time),
        value_micros=-1 if value is None else int(value) * MICROS_PER_PRICE_UNIT,
    )


def _place_of(grid: PriceGrid, listing: Listed) -> int:
    """Which of the listing's grids it is; -1: none of them."""
    return listing.grids.index(grid) if grid in listing.grids else -1


class Lives:
    """All markets of an adapter; turns news about them into rows and events.

    Those that are over leave what is looked after (`leave`), but keep their names: late news of their orders
    and fills is about them still.
    """

    def __init__(self, lives: Iterable[Life]) -> None:
        self._lives: dict[str, Life] = {}
        self._watched: dict[str, None] = {}
        self.by_row: dict[int, str] = {}
        self.rows: dict[str, int] = {}
        self.names: dict[str, int] = {}  # these rows, and those of markets that an earlier run traded
        self.add(lives)
        self._paid: dict[int, tuple[Control, ...]] = {}  # rows, and the payout that was told
        self.unknown_words: dict[str, int] = {}  # of statuses and event types, with how often they came

    def add(self, lives: Iterable[Life]) -> None:
        """Look after more markets."""
        for life in lives:
            ticker, row = life.listing.ticker, life.listing.market
            self._lives[ticker] = life
            self._watched[ticker] = None
            self.by_row[row], self.rows[ticker] = ticker, row
            self.names[ticker] = row

    def know(self, rows: Mapping[str, int]) -> None:
        """Markets that nobody looks after here; fills of them are ours all the same."""
        for ticker, row in rows.items():
            self.names.setdefault(ticker, row)

    def leave(self, tickers: Iterable[str]) -> None:
        """These are over: nobody looks after them any more."""
        for ticker in tickers:
            self._watched.pop(ticker, None)

    @property
    def watched(self) -> tuple[str, ...]:
        """The markets that are looked after."""
        return tuple(self._watched)

    def __getitem__(self, ticker: str) -> Life:
        return self._lives[ticker]

    def __contains__(self, ticker: str) -> bool:
        return ticker in self._lives

    def shards(self) -> tuple[int, ...]:
        """The shards that the markets which are looked after are on."""
        return tuple(sorted({life.shard for life in self.all()}))

    def all(self) -> list[Life]:
        """All that are looked after."""
        return [self._lives[ticker] for ticker in self._watched]

    def of_row(self, row: int) -> Life:
        """The market of a row."""
        return self._lives[self.by_row[row]]

    def opening(self, now_ns: int, tickers: Iterable[str] | None = None) -> d.Array:
        """These (or all) as they are: STATUS rows, and TICK and CLOSE_TIME where a listing says otherwise."""
        rows = []
        for life in self.all() if tickers is None else [self._lives[ticker] for ticker in tickers]:
            row = life.listing.market
            rows.append(_row(row, d.STATUS, int(life.shown), now_ns))
            if life.grid > 0:
                rows.append(_row(row, d.TICK, life.grid, now_ns))
            if life.close_ns != life.listing.close_ns:
                rows.append(_row(row, d.CLOSE_TIME, life.close_ns, now_ns))
        return _joined(rows)

    def tick(self, now_ns: int) -> d.Array:
        """STATUS rows of the markets whose time to open or to close has come."""
        rows = []
        for life in self.all():
            ticker = life.listing.ticker
            if life.status is MarketStatus.INITIALIZED and life.open_ns <= now_ns < life.close_ns:
                rows.append(self._to(ticker, MarketStatus.ACTIVE, now_ns))
            elif life.status in (MarketStatus.ACTIVE, MarketStatus.PAUSED) and life.close_ns <= now_ns:
                rows.append(self._to(ticker, MarketStatus.CLOSED, now_ns))
        return _joined(rows)

    def _to(self, ticker: str, status: MarketStatus, now_ns: int) -> d.Array:
        life = msgspec.structs.replace(self._lives[ticker], status=status)
        self._lives[ticker] = life
        return _row(life.listing.market, d.STATUS, int(life.shown), now_ns)

    def hear(self, news: LifecycleMessage, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """Rows and events of one notice; nothing for markets that are not ours."""
        life = self._lives.get(news.market_ticker)
        nothing = np.zeros(0, d.EVENT)
        if life is None:
            return nothing, ()
        ticker, row = news.market_ticker, life.listing.market
        match news.event_type:
            case "activated":
                return self._to(ticker, MarketStatus.ACTIVE, now_ns), ()
            case "deactivated":
                return self._to(ticker, MarketStatus.PAUSED, now_ns), ()
            case "close_date_updated":
                return self._close_moved(ticker, news, now_ns), ()
            case "price_level_structure_updated":
                if news.price_ranges is None:
                    raise DataError("a new price grid is not stated", key="msg.price_ranges")
                return self._grid_moved(ticker, grid_of(news.price_ranges), now_ns)
            case "determined":
                value = (
                    -1
                    if news.settlement_value is None
                    else int(news.settlement_value) * MICROS_PER_PRICE_UNIT
                )
                self._lives[ticker] = msgspec.structs.replace(life, value_micros=value)
                return self._to(ticker, MarketStatus.DETERMINED, now_ns), ()
            case "settled":
                return self._settled(ticker, news, now_ns)
            case "metadata_updated":
                self._metadata(ticker, news)
                return nothing, ()
            case "created":
                return nothing, ()
        self.unknown_words[news.event_type] = self.unknown_words.get(news.event_type, 0) + 1
        return nothing, (BookInvalid(market=row, why="differs"),)  # something changed: look at it anew

    def _close_moved(self, ticker: str, news: LifecycleMessage, now_ns: int) -> d.Array:
        if news.close_ts is None:
            raise DataError("a moved close time is not stated", key="msg.close_ts")
        life = msgspec.structs.replace(self._lives[ticker], close_ns=int(news.close_ts))
        self._lives[ticker] = life
        return _row(life.listing.market, d.CLOSE_TIME, life.close_ns, now_ns)

    def _grid_moved(self, ticker: str, grid: PriceGrid, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """A grid that was listed is a TICK; on any other one the market is paused until it is back."""
        before = self._lives[ticker]
        place, row = _place_of(grid, before.listing), before.listing.market
        life = self._lives[ticker] = msgspec.structs.replace(before, grid=place)
        rows = [_row(row, d.TICK, place, now_ns)] if place >= 0 else []
        if life.shown is not before.shown:
            rows.append(_row(row, d.STATUS, int(life.shown), now_ns))
        return _joined(rows), (BookInvalid(market=row, why="tick"),) if place < 0 else ()

    def _metadata(self, ticker: str, news: LifecycleMessage) -> None:
        """Of all that may change about a market's description, its settlement floor binds our orders."""
        more = news.additional_metadata
        floor = news.settlement_floor_dollars
        if floor is None and more is not None:
            floor = more.settlement_floor_dollars
        if floor is not None:
            self._lives[ticker] = msgspec.structs.replace(self._lives[ticker], floor=int(floor))

    def _settled(
        self, ticker: str, news: LifecycleMessage, now_ns: int
    ) -> tuple[d.Array, tuple[Control, ...]]:
        """A payout: what the notice states. What was determined before may have been amended without one."""
        life = self._lives[ticker]
        rows = self._to(ticker, MarketStatus.SETTLED, now_ns)
        if news.settlement_value is None:
            return rows, ()  # the adapter reads what the market says of itself
        value = int(news.settlement_value) * MICROS_PER_PRICE_UNIT
        self._lives[ticker] = msgspec.structs.replace(self._lives[ticker], value_micros=value)
        return rows, self._told(life.listing.market, value, "")

    def _told(self, row: int, value_micros: int, result: str) -> tuple[Control, ...]:
        """The payout of a market unless it was told as it is: bodies repeat it for ever."""
        payout = _payout(row, value_micros, result)
        if payout == self._paid.get(row, ()):
            return ()
        self._paid[row] = payout
        return payout

    def reread(self, market: Market, now_ns: int) -> tuple[d.Array, tuple[Control, ...]]:
        """What a market's body says that no notice told us: status, close time, grid, payout."""
        life = self._lives[market.ticker]
        grid = grid_of(market.price_ranges)  # first: what can't be read changes nothing
        row = life.listing.market
        rows: list[d.Array] = []
        events: tuple[Control, ...] = ()
        if int(market.close_time) != life.close_ns:
            life = msgspec.structs.replace(life, close_ns=int(market.close_time))
            rows.append(_row(row, d.CLOSE_TIME, life.close_ns, now_ns))
        if market.settlement_value_dollars is not None:
            value = int(market.settlement_value_dollars) * MICROS_PER_PRICE_UNIT
            life = msgspec.structs.replace(life, value_micros=value)
        self._lives[market.ticker] = msgspec.structs.replace(
            life,
            floor=int(market.settlement_floor_dollars or 0),
            waived_ns=int(market.fee_waiver_expiration_time or 0),
        )
        if _place_of(grid, life.listing) != life.grid:
            moved, events = self._grid_moved(market.ticker, grid, now_ns)
            rows.append(moved)
        life = self._lives[market.ticker]
        status = KALSHI_STATUS.get(market.status)
        if status is None:
            self.unknown_words[market.status] = self.unknown_words.get(market.status, 0) + 1
            status = MarketStatus.PAUSED
        if _is_behind(status, life, now_ns):
            status = life.status
        if status is not life.status:
            rows.append(self._to(market.ticker, status, now_ns))
        if status is MarketStatus.SETTLED:
            events = (*events, *self._told(row, life.value_micros, market.result or ""))
        return _joined(rows), events


def _is_behind(status: MarketStatus, life: Life, now_ns: int) -> bool:
    """Whether a body still says what the clock has overtaken: not open yet, or not closed yet."""
    if status is MarketStatus.INITIALIZED:
        return life.open_ns <= now_ns
    return status in (MarketStatus.ACTIVE, MarketStatus.PAUSED) and life.close_ns <= now_ns


# What a result pays where no value is stated; a scalar one states its value or can't be booked.
PAYS: Final = {"yes": 1_000_000, "no": 0}
VOID: Final = "void"


def _payout(row: int, value_micros: int, result: str) -> tuple[Control, ...]:
    """The payout of a market: its value where it is stated, else what its result means."""
    if value_micros < 0 and result == VOID:
        return (Settled(market=row, value_micros=0, refund=True),)
    value_micros = value_micros if value_micros >= 0 else PAYS.get(result, -1)
    return () if value_micros < 0 else (Settled(market=row, value_micros=value_micros),)


def _joined(rows: list[d.Array]) -> d.Array:
    return np.concatenate(rows) if rows else np.zeros(0, d.EVENT)


def _row(market: int, kind: int, aux: int, now_ns: int) -> d.Array:
    row = np.zeros(1, d.EVENT)
    row["market"], row["kind"], row["aux"] = market, kind, aux
    row["exch_ns"] = row["local_ns"] = now_ns
    return row
