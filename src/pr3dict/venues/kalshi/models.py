"""Kalshi's public bodies (exchange, markets, events, series, fees, programmes), as they come over REST.

Fields that we do not use are left out: more of them never hurt. A field without a default must be there.
Words that Kalshi may add to (statuses, types) are plain text; what is not known is treated as such by who
reads it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pr3dict.venues.kalshi.numbers import (
    CentiCents,
    Count,
    Moment,
    MomentS,
    Price,
    Ratio,
    Size,
)


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Root of all bodies."""


# --- exchange ---------------------------------------------------------------------------------------


class ShardStatus(Body, frozen=True, kw_only=True):
    """One matching engine."""

    exchange_index: Count
    exchange_active: bool
    trading_active: bool


class ExchangeStatus(Body, frozen=True, kw_only=True):
    """`GET /exchange/status`; the top level is shard 0."""

    exchange_active: bool
    trading_active: bool
    exchange_estimated_resume_time: Moment | None = None
    exchange_index_statuses: tuple[ShardStatus, ...] | None = None

    def of_shard(self, shard: int) -> tuple[bool, bool]:
        """(exchange active, trading active) of a shard; one that is not listed goes with the top level."""
        for status in self.exchange_index_statuses or ():
            if status.exchange_index == shard:
                return status.exchange_active, status.trading_active
        return self.exchange_active, self.trading_active


class MaintenanceWindow(Body, frozen=True, kw_only=True):
    """Announced downtime."""

    start_datetime: Moment
    end_datetime: Moment


class DayHours(Body, frozen=True, kw_only=True):
    """Trading hours of a day, HH:MM in New York."""

    open_time: str
    close_time: str


class StandardHours(Body, frozen=True, kw_only=True):
    """Trading hours of a week, in force from `start_time` to `end_time`."""

    start_time: Moment
    end_time: Moment
    monday: tuple[DayHours, ...] = ()
    tuesday: tuple[DayHours, ...] = ()
    wednesday: tuple[DayHours, ...] = ()
    thursday: tuple[DayHours, ...] = ()
    friday: tuple[DayHours, ...] = ()
    saturday: tuple[DayHours, ...] = ()
    sunday: tuple[DayHours, ...] = ()


class Schedule(Body, frozen=True, kw_only=True):
    """When the exchange trades, and when it does not."""

    standard_hours: tuple[StandardHours, ...] = ()
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()


class ScheduleAnswer(Body, frozen=True, kw_only=True):
    """`GET /exchange/schedule`."""

    schedule: Schedule


class UserDataTimestamp(Body, frozen=True, kw_only=True):
    """`GET /exchange/user_data_timestamp`: reads of the account are at least this fresh."""

    as_of_time: Moment


# --- markets ----------------------------------------------------------------------------------------


class PriceRange(Body, frozen=True, kw_only=True):
    """Prices from `start` to `end` are multiples of `step`; dollars as text, for `PriceGrid.kalshi`."""

    start: str
    end: str
    step: str

    def as_dict(self) -> dict[str, str]:
        """As the grid wants it."""
        return {"start": self.start, "end": self.end, "step": self.step}


class Market(Body, frozen=True, kw_only=True):
    """One market. `expiration_time` of old is not read."""

    ticker: str
    event_ticker: str
    status: str
    open_time: Moment
    close_time: Moment
    price_ranges: tuple[PriceRange, ...]
    market_type: str
    title: str | None = None
    yes_sub_title: str | None = None
    no_sub_title: str | None = None
    created_time: Moment | None = None
    updated_time: Moment | None = None
    latest_expiration_time: Moment | None = None
    expected_expiration_time: Moment | None = None
    occurrence_datetime: Moment | None = None
    fee_waiver_expiration_time: Moment | None = None
    settlement_timer_seconds: Count | None = None
    can_close_early: bool | None = None
    yes_bid_dollars: Price | None = None
    yes_bid_size_fp: Size | None = None
    yes_ask_dollars: Price | None = None
    yes_ask_size_fp: Size | None = None
    last_price_dollars: Price | None = None
    volume_fp: Size | None = None
    volume_24h_fp: Size | None = None
    open_interest_fp: Size | None = None
    result: str | None = None
    settlement_value_dollars: Price | None = None
    settlement_ts: Moment | None = None
    price_level_structure: str | None = None
    floor_strike: float | None = None
    cap_strike: float | None = None
    strike_type: str | None = None
    rules_primary: str | None = None
    rules_secondary: str | None = None
    is_provisional: bool | None = None
    mve_collection_ticker: str | None = None
    exchange_index: int | None = None
    settlement_bounds_type: str | None = None
    settlement_floor_dollars: Price | None = None


class MarketAnswer(Body, frozen=True, kw_only=True):
    """`GET /markets/{ticker}`."""

    market: Market


class Markets(Body, frozen=True, kw_only=True):
    """A page of `GET /markets`."""

    markets: tuple[Market, ...]
    cursor: str


class BookSides(Body, frozen=True, kw_only=True):
    """Bids of both contracts in their own prices, ascending: the best one is last; null: none.

    Both must be there, since a book whose sides are called otherwise is not an empty one.
    """

    yes_dollars: tuple[tuple[Price, Size], ...] | None
    no_dollars: tuple[tuple[Price, Size], ...] | None


class OrderbookAnswer(Body, frozen=True, kw_only=True):
    """`GET /markets/{ticker}/orderbook`."""

    orderbook_fp: BookSides


class MarketOrderbook(Body, frozen=True, kw_only=True):
    """One of several books."""

    ticker: str
    orderbook_fp: BookSides


class Orderbooks(Body, frozen=True, kw_only=True):
    """`GET /markets/orderbooks`."""

    orderbooks: tuple[MarketOrderbook, ...]


class PublicTrade(Body, frozen=True, kw_only=True):
    """One trade of anybody."""

    trade_id: str
    ticker: str
    count_fp: Size
    yes_price_dollars: Price
    created_time: Moment
    taker_outcome_side: str | None = None
    taker_side: str | None = None
    is_block_trade: bool | None = None


class Trades(Body, frozen=True, kw_only=True):
    """A page of `GET /markets/trades`."""

    trades: tuple[PublicTrade, ...]
    cursor: str


# --- events and series -------------------------------------------------------------------------------


class Event(Body, frozen=True, kw_only=True):
    """Markets about one thing."""

    event_ticker: str
    series_ticker: str
    title: str
    mutually_exclusive: bool
    sub_title: str | None = None
    collateral_return_type: str | None = None
    strike_date: Moment | None = None
    fee_type_override: str | None = None
    fee_multiplier_override: Ratio | None = None
    exchange_index: int | None = None
    markets: tuple[Market, ...] | None = None


class EventAnswer(Body, frozen=True, kw_only=True):
    """`GET /events/{event}`."""

    event: Event
    markets: tuple[Market, ...] | None = None


class Events(Body, frozen=True, kw_only=True):
    """A page of `GET /events`."""

    events: tuple[Event, ...]
    cursor: str


class Series(Body, frozen=True, kw_only=True):
    """A recurring event with one set of rules and fees."""

    ticker: str
    title: str
    fee_type: str
    fee_multiplier: Ratio
    category: str | None = None
    frequency: str | None = None
    tags: tuple[str, ...] | None = None
    exchange_index: int | None = None
    volume_fp: Size | None = None


class SeriesAnswer(Body, frozen=True, kw_only=True):
    """`GET /series/{series}`."""

    series: Series


class SeriesList(Body, frozen=True, kw_only=True):
    """`GET /series`."""

    series: tuple[Series, ...]


class SeriesFeeChange(Body, frozen=True, kw_only=True):
    """A fee that moves at `scheduled_ts`."""

    series_ticker: str
    fee_type: str
    fee_multiplier: Ratio
    scheduled_ts: Moment
    id: str | None = None


class SeriesFeeChanges(Body, frozen=True, kw_only=True):
    """`GET /series/fee_changes`."""

    series_fee_change_arr: tuple[SeriesFeeChange, ...]


class EventFeeChange(Body, frozen=True, kw_only=True):
    """An event's own fee from `scheduled_ts` on; null: the series' fee again."""

    event_ticker: str
    scheduled_ts: Moment
    fee_type_override: str | None = None
    fee_multiplier_override: Ratio | None = None
    id: str | None = None


class EventFeeChanges(Body, frozen=True, kw_only=True):
    """A page of `GET /events/fee_changes`."""

    event_fee_changes: tuple[EventFeeChange, ...]
    cursor: str | None = None


class Milestone(Body, frozen=True, kw_only=True):
    """When something happens in the real world."""

    id: str
    start_date: Moment
    category: str | None = None
    type: str | None = None
    title: str | None = None
    end_date: Moment | None = None
    related_event_tickers: tuple[str, ...] = ()
    primary_event_tickers: tuple[str, ...] = ()
    last_updated_ts: Moment | None = None
    details: dict[str, Any] | None = None


class MilestoneAnswer(Body, frozen=True, kw_only=True):
    """`GET /milestones/{id}`."""

    milestone: Milestone


class Milestones(Body, frozen=True, kw_only=True):
    """A page of `GET /milestones`."""

    milestones: tuple[Milestone, ...]
    cursor: str | None = None


class IncentiveProgram(Body, frozen=True, kw_only=True):
    """One reward period of one market; `period_reward` in micros."""

    id: str
    market_ticker: str
    incentive_type: str
    start_date: Moment
    end_date: Moment
    period_reward: CentiCents
    paid_out: bool
    market_id: str | None = None
    incentive_description: str | None = None
    discount_factor_bps: Count | None = None
    target_size_fp: Size | None = None


class IncentivePrograms(Body, frozen=True, kw_only=True):
    """A page of `GET /incentive_programs`, whose cursor has a name of its own."""

    incentive_programs: tuple[IncentiveProgram, ...]
    next_cursor: str | None = None


class Candlestick(Body, frozen=True, kw_only=True):
    """The end of one candle's span, and what traded in it."""

    end_period_ts: MomentS
    volume_fp: Size
    open_interest_fp: Size


class Candlesticks(Body, frozen=True, kw_only=True):
    """`GET /series/{series}/markets/{market}/candlesticks`."""

    ticker: str
    candlesticks: tuple[Candlestick, ...]
