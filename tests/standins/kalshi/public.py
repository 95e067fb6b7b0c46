"""Market data and the exchange's own state over REST: what needs no key."""

from __future__ import annotations

from typing import Any, Final

from standins.kalshi.asking import Ask
from standins.kalshi.catalog import EventSpec, milestone_json, programme_json, series_json
from standins.kalshi.errors import bad_parameter, not_found
from standins.kalshi.limits import Limits
from standins.kalshi.state import Candle, MarketState
from standins.kalshi.values import SECOND, Json, count_text, fixed_uuid, iso, iso_s, price_text
from standins.kalshi.venue import Venue

STATUS_OF: Final = {
    "unopened": ("initialized",), "open": ("active",), "paused": ("inactive",),
    "closed": ("closed", "determined", "disputed", "amended"), "settled": ("finalized",),
}  # fmt: skip
SHARDS: Final = {0: "default", 1: "combos", 2: "crypto and commodities", 3: "tennis, baseball, basketball"}
LIVE_DAYS: Final = 90
ORDERS_LIVE_DAYS: Final = 14
DAY_NS: Final = 86_400 * SECOND


class Public:
    """Handlers by name; each takes an `Ask` and returns the answer's body."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.windows: list[tuple[int, int]] = []  # announced maintenance, ns

    # --- the exchange -----------------------------------------------------------------------------

    def status(self, _ask: Ask) -> Json:
        """GET /exchange/status."""
        venue = self.venue
        flags: Json = {
            "exchange_active": venue.exchange_active, "trading_active": venue.trading_active,
            "intra_exchange_transfers_active": venue.exchange_active,
        }  # fmt: skip
        shards = [{"exchange_index": s, "description": SHARDS.get(s, ""), **flags} for s in venue.ledger.cash]
        body = flags | {"exchange_index_statuses": shards}
        if venue.resume_ns:
            body["exchange_estimated_resume_time"] = iso_s(venue.resume_ns)
        return body

    def schedule(self, _ask: Ask) -> Json:
        """GET /exchange/schedule: all week but Thursday's pause."""
        whole = [{"open_time": "00:00", "close_time": "00:00"}]
        thursday = [
            {"open_time": "00:00", "close_time": "03:00"},
            {"open_time": "05:00", "close_time": "00:00"},
        ]
        days = ("monday", "tuesday", "wednesday", "friday", "saturday", "sunday")
        hours: Json = {
            "start_time": iso_s(0),
            "end_time": iso_s(4_102_444_800 * SECOND),
            "thursday": thursday,
        }
        hours |= dict.fromkeys(days, whole)
        windows = [{"start_datetime": iso_s(a), "end_datetime": iso_s(b)} for a, b in self.windows]
        return {"schedule": {"standard_hours": [hours], "maintenance_windows": windows}}

    def user_data_timestamp(self, ask: Ask) -> Json:
        """GET /exchange/user_data_timestamp."""
        return {"as_of_time": iso(ask.as_of_ns)}

    def endpoint_costs(self, _ask: Ask) -> Json:
        """GET /account/endpoint_costs."""
        return Limits.costs_json()

    # --- markets ----------------------------------------------------------------------------------

    def _visible(self) -> list[MarketState]:
        return [m for m in self.venue.markets if m.visible_ns <= self.venue.now_ns]

    def _market(self, ticker: str) -> MarketState:
        market = self.venue.by_ticker.get(ticker)
        if market is None or market.visible_ns > self.venue.now_ns:
            raise not_found()
        return market

    def _json(self, market: MarketState) -> Json:
        return market.json(self.venue.start_ns)

    def markets(self, ask: Ask) -> Json:
        """GET /markets."""
        status = ask.text("status")
        if status and status not in STATUS_OF:
            raise bad_parameter(f"status: {status} is not supported")
        families = [f for f in ("created", "close", "settled", "updated") if self._asks_for(ask, f)]
        if len(families) > 1:
            raise bad_parameter("timestamp filters are mutually exclusive")
        tickers, event, series = ask.words("tickers"), ask.text("event_ticker"), ask.text("series_ticker")
        found = [
            self._json(m)
            for m in self._visible()
            if (not tickers or m.spec.ticker in tickers)
            and (not event or m.spec.event == event)
            and (not series or self.venue.events[m.spec.event].series == series)
            and (not status or m.status in STATUS_OF[status])
            and all(self._in_family(ask, m, family) for family in families)
            and ask.text("mve_filter") != "only"
        ]
        return ask.page("markets", found)

    @staticmethod
    def _asks_for(ask: Ask, family: str) -> bool:
        return ask.whole(f"min_{family}_ts") is not None or ask.whole(f"max_{family}_ts") is not None

    def _in_family(self, ask: Ask, market: MarketState, family: str) -> bool:
        at_ns = {
            "created": self.venue.start_ns, "close": market.close_ns, "settled": market.settled_ns,
            "updated": market.updated_ns,
        }[family]  # fmt: skip
        return bool(at_ns) and ask.within(at_ns, f"min_{family}_ts", f"max_{family}_ts")

    def market(self, ask: Ask) -> Json:
        """GET /markets/{ticker}."""
        return {"market": self._json(self._market(ask.path["ticker"]))}

    def orderbook(self, ask: Ask) -> Json:
        """GET /markets/{ticker}/orderbook."""
        depth = ask.whole("depth") or 0
        if not 0 <= depth <= 100:
            raise bad_parameter("depth: must be between 0 and 100")
        return {"orderbook_fp": self._market(ask.path["ticker"]).book_json(depth)}

    def orderbooks(self, ask: Ask) -> Json:
        """GET /markets/orderbooks."""
        tickers = ask.words("tickers", 100)
        if not tickers:
            raise bad_parameter("tickers: required")
        books = [{"ticker": t, "orderbook_fp": self._market(t).book_json()} for t in tickers]
        return {"orderbooks": books}

    def trades(self, ask: Ask) -> Json:
        """GET /markets/trades, newest first."""
        ticker = ask.text("ticker")
        markets = [self._market(ticker)] if ticker else self._visible()
        found = [row for market in markets for row in market.trades]
        found.sort(key=lambda row: row["created_time"], reverse=True)
        if ask.text("is_block_trade") == "true":
            found = []
        first, last = ask.whole("min_ts"), ask.whole("max_ts")
        if first is not None:
            found = [row for row in found if row["created_time"] >= iso(first * SECOND)]
        if last is not None:
            found = [row for row in found if row["created_time"] < iso((last + 1) * SECOND)]
        return ask.page("trades", found)

    def candlesticks(self, ask: Ask) -> Json:
        """GET /series/{series_ticker}/markets/{ticker}/candlesticks."""
        market = self._market(ask.path["ticker"])
        return {"ticker": market.spec.ticker, "candlesticks": self._candles(ask, market)}

    def many_candlesticks(self, ask: Ask) -> Json:
        """GET /markets/candlesticks."""
        tickers = ask.words("market_tickers", 100)
        rows = [{"market_ticker": t, "candlesticks": self._candles(ask, self._market(t))} for t in tickers]
        return {"markets": rows}

    def _candles(self, ask: Ask, market: MarketState) -> list[Json]:
        minutes = ask.whole("period_interval")
        if minutes not in (1, 60, 1_440):
            raise bad_parameter("period_interval: must be 1, 60 or 1440")
        first, last = ask.whole("start_ts"), ask.whole("end_ts")
        if first is None or last is None:
            raise bad_parameter("start_ts and end_ts: required")
        groups: dict[int, list[Candle]] = {}
        span = minutes * 60
        for end, candle in market.candles.items():
            groups.setdefault(-(-end // span) * span, []).append(candle)
        return [candle_json(end, groups[end]) for end in sorted(groups) if first <= end <= last]

    # --- events and series ------------------------------------------------------------------------

    def _event_json(self, event: EventSpec) -> Json:
        fee_type, multiplier = self.venue.event_fees[event.ticker]
        body: Json = {
            "event_ticker": event.ticker, "series_ticker": event.series, "title": event.title,
            "sub_title": "", "collateral_return_type": event.collateral_return,
            "mutually_exclusive": event.mutually_exclusive, "settlement_sources": [],
            "category": self.venue.series[event.series].category, "product_metadata": None,
            "last_updated_ts": iso(self.venue.start_ns), "fee_type_override": fee_type,
            "fee_multiplier_override": multiplier,
        }  # fmt: skip
        shards = [m.spec.exchange_index for m in self.venue.markets if m.spec.event == event.ticker]
        return body | {"exchange_index": shards[0] if shards else 0}

    def _markets_of(self, ticker: str) -> list[Json]:
        return [self._json(m) for m in self._visible() if m.spec.event == ticker]

    def events(self, ask: Ask) -> Json:
        """GET /events."""
        tickers, series, status = ask.words("tickers"), ask.text("series_ticker"), ask.text("status")
        found = []
        for event in self.venue.events.values():
            markets = self._markets_of(event.ticker)
            if (tickers and event.ticker not in tickers) or (series and event.series != series):
                continue
            if status and not any(m["status"] in STATUS_OF.get(status, ()) for m in markets):
                continue
            body = self._event_json(event)
            found.append(body | {"markets": markets} if ask.text("with_nested_markets") == "true" else body)
        answer = ask.page("events", found, 200)
        if ask.text("with_milestones") == "true":
            answer["milestones"] = [
                milestone_json(m, self.venue.start_ns) for m in self.venue.catalog.milestones
            ]
        return answer

    def event(self, ask: Ask) -> Json:
        """GET /events/{event_ticker}."""
        event = self.venue.events.get(ask.path["event_ticker"])
        if event is None:
            raise not_found()
        body, markets = self._event_json(event), self._markets_of(event.ticker)
        if ask.text("with_nested_markets") == "true":
            body["markets"] = markets
        return {"event": body, "markets": markets}

    def event_metadata(self, ask: Ask) -> Json:
        """GET /events/{event_ticker}/metadata."""
        if ask.path["event_ticker"] not in self.venue.events:
            raise not_found()
        details = [
            {"market_ticker": m["ticker"], "image_url": "", "color_code": ""}
            for m in self._markets_of(ask.path["event_ticker"])
        ]
        return {"image_url": "", "market_details": details, "settlement_sources": []}

    def no_events(self, ask: Ask) -> Json:
        """GET /events/multivariate: there are no combos."""
        return ask.page("events", [], 200)

    def _series_json(self, ticker: str) -> Json:
        return series_json(self.venue.series[ticker], *self.venue.series_fees[ticker], self.venue.start_ns)

    def series(self, ask: Ask) -> Json:
        """GET /series/{series_ticker}."""
        if ask.path["series_ticker"] not in self.venue.series:
            raise not_found()
        return {"series": self._series_json(ask.path["series_ticker"])}

    def series_list(self, ask: Ask) -> Json:
        """GET /series."""
        category = ask.text("category")
        rows = [self._series_json(ticker) for ticker in self.venue.series]
        return {"series": [row for row in rows if not category or row["category"] == category]}

    # --- fees, programmes, milestones -------------------------------------------------------------

    def _fee_rows(self, ask: Ask, *, of_events: bool) -> list[tuple[Any, str]]:
        rows = []
        for change in self.venue.catalog.fee_changes:
            at = self.venue.start_ns + int(change.in_s * SECOND)
            if bool(change.event) == of_events and (at > ask.now_ns or ask.text("show_historical") == "true"):
                rows.append((change, iso_s(at)))
        return rows

    def series_fee_changes(self, ask: Ask) -> Json:
        """GET /series/fee_changes."""
        rows = [
            {
                "id": fixed_uuid("fee", c.series, c.in_s), "series_ticker": c.series, "fee_type": c.fee_type,
                "fee_multiplier": c.multiplier, "scheduled_ts": at,
            }
            for c, at in self._fee_rows(ask, of_events=False)
            if not ask.text("series_ticker") or c.series == ask.text("series_ticker")
        ]  # fmt: skip
        return {"series_fee_change_arr": rows}

    def event_fee_changes(self, ask: Ask) -> Json:
        """GET /events/fee_changes."""
        rows = [
            {
                "id": fixed_uuid("fee", c.event, c.in_s), "event_ticker": c.event, "series_ticker": c.series,
                "fee_type_override": c.fee_type, "fee_multiplier_override": c.multiplier, "scheduled_ts": at,
            }
            for c, at in self._fee_rows(ask, of_events=True)
        ]  # fmt: skip
        return ask.page("event_fee_changes", rows)

    def incentive_programs(self, ask: Ask) -> Json:
        """GET /incentive_programs."""
        status, kind = ask.text("status", "all"), ask.text("type", "all")
        if status not in ("all", "active", "upcoming", "closed", "paid_out"):
            raise bad_parameter(f"status: {status} is not supported")
        rows = []
        for programme in self.venue.catalog.programmes:
            start = self.venue.start_ns + int(programme.start_in_s * SECOND)
            end = self.venue.start_ns + int(programme.end_in_s * SECOND)
            now = "upcoming" if ask.now_ns < start else "active" if ask.now_ns < end else "closed"
            if status not in ("all", "paid_out" if programme.paid_out else now):
                continue
            if kind in ("all", programme.kind):
                market = self.venue.by_ticker[programme.ticker]
                rows.append(programme_json(programme, market.spec.id, self.venue.start_ns))
        return ask.page("incentive_programs", rows, 10_000, "next_cursor")

    def milestones(self, ask: Ask) -> Json:
        """GET /milestones: a limit is mandatory."""
        if ask.whole("limit") is None:
            raise bad_parameter("limit: required")
        event = ask.text("related_event_ticker")
        rows = [
            milestone_json(m, self.venue.start_ns)
            for m in self.venue.catalog.milestones
            if not event or event in m.events
        ]
        return ask.page("milestones", rows, 500)

    def milestone(self, ask: Ask) -> Json:
        """GET /milestones/{milestone_id}."""
        rows = [milestone_json(m, self.venue.start_ns) for m in self.venue.catalog.milestones]
        found = [row for row in rows if row["id"] == ask.path["milestone_id"]]
        if not found:
            raise not_found()
        return {"milestone": found[0]}

    # --- history ----------------------------------------------------------------------------------

    def cutoff(self, ask: Ask) -> Json:
        """GET /historical/cutoff."""
        old = iso_s(ask.now_ns - LIVE_DAYS * DAY_NS)
        return {
            "market_settled_ts": old, "trades_created_ts": old, "market_positions_last_updated_ts": old,
            "orders_updated_ts": iso_s(ask.now_ns - ORDERS_LIVE_DAYS * DAY_NS),
        }  # fmt: skip

    def old_markets(self, ask: Ask) -> Json:
        """GET /historical/markets: the stand-in is younger than any cutoff."""
        return ask.page("markets", [])

    def old_trades(self, ask: Ask) -> Json:
        """GET /historical/trades."""
        return ask.page("trades", [])


def candle_json(end: int, candles: list[Candle]) -> Json:
    """One candlestick of some minutes."""

    def sides(which: str) -> Json:
        rows = [getattr(candle, which) for candle in candles]
        return {
            "open_dollars": price_text(rows[0][0]), "high_dollars": price_text(max(r[1] for r in rows)),
            "low_dollars": price_text(min(r[2] for r in rows)), "close_dollars": price_text(rows[-1][3]),
        }  # fmt: skip

    prices = [price for candle in candles for price in candle.trades]
    price: Json = {
        f"{name}_dollars": None for name in ("open", "high", "low", "close", "mean", "min", "max", "previous")
    }
    if prices:
        values = (
            prices[0], max(prices), min(prices), prices[-1], sum(prices) // len(prices), min(prices),
            max(prices),
        )  # fmt: skip
        price |= {name: price_text(value) for name, value in zip(list(price)[:7], values, strict=True)}
    return {
        "end_period_ts": end, "yes_bid": sides("bid"), "yes_ask": sides("ask"), "price": price,
        "volume_fp": count_text(sum(candle.volume for candle in candles)),
        "open_interest_fp": count_text(candles[-1].open_interest),
    }  # fmt: skip
