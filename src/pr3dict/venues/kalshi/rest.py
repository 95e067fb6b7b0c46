"""Kalshi's reads: one method a call, typed answers, all pages. What changes something is in `orders.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.http import Call, KalshiHttp, Query, segment
from pr3dict.venues.kalshi.numbers import Reader, reader_of
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Outcome, Verdict
from pr3dict.venues.session import NotAnsweredError

START_TRIES: Final = 4  # of a read without which nothing can begin
PAUSE_NS: Final = NS_PER_SECOND // 4
PAGE: Final = 1000
OLD_PAGE: Final = 200  # most that a page under /historical may have
MAX_PAGES: Final = 2000
BOOKS_A_CALL: Final = 100
_TYPES: Final = (
    m.ExchangeStatus, m.ScheduleAnswer, m.UserDataTimestamp, m.MarketAnswer, m.Markets, m.OrderbookAnswer,
    m.Orderbooks, m.Trades, m.EventAnswer, m.Events, m.SeriesAnswer, m.SeriesList, m.SeriesFeeChanges,
    m.EventFeeChanges, m.MilestoneAnswer, m.Milestones, m.IncentivePrograms, m.Candlesticks,
    a.OrderAnswer, a.Orders, a.QueuePositions, a.QueuePositionAnswer, a.Fills, a.Positions, a.Settlements,
    a.Balance, a.OrderGroups, a.OrderGroup, a.AccountLimits, a.EndpointCosts, a.ApiKeys, a.Cutoff,
)  # fmt: skip
READERS: Final[dict[type, Reader]] = {kind: reader_of(kind) for kind in _TYPES}


class ReadFailedError(NotAnsweredError):
    """A read got no usable answer; `outcome` says why, `status` is 0 where nothing came back."""

    def __init__(self, what: str, outcome: Outcome, status: int) -> None:
        super().__init__(f"Kalshi did not answer {what}: {outcome.text or outcome.verdict.value}")
        self.outcome = outcome
        self.status = status


class KalshiRest:
    """Typed reads over one connection; `subaccount` names whose orders, fills and positions are read.

    A read that got no answer, or was asked to wait, is asked `tries` times; more than once only where nobody
    else asks again, as at a start.
    """

    def __init__(self, http: KalshiHttp, *, subaccount: int | None = None, tries: int = 1) -> None:
        self.http = http
        self.subaccount = subaccount
        self._tries = tries

    # --- the way ----------------------------------------------------------------------------------

    async def get(
        self, kind: type, path: str, template: str = "", *, public: bool = False, query: Query | None = None
    ) -> Any:
        """One body of type `kind`.

        Raises:
            ReadFailedError: there is no answer, or it is an error.
            DataError: the answer is not what its type promises.
        """
        call = Call("GET", path, template, query or {}, signed=self.http.is_signed and not public)
        reply = await self.http.call(call)
        for _ in range(self._tries - 1):
            if reply.outcome.verdict is not Verdict.UNKNOWN and reply.status != RATE_LIMITED:
                break
            await self.http.clock.sleep(PAUSE_NS)
            reply = await self.http.call(call)
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            raise ReadFailedError(f"GET {path}", reply.outcome, reply.status)
        try:
            return READERS[kind](reply.body)
        except DataError as error:
            self.http.malformed += 1
            raise error.at(file=f"GET {path}") from None

    async def pages(
        self, kind: type, path: str, query: Query, *, public: bool = False, limit: int | None = PAGE
    ) -> AsyncIterator[Any]:
        """Every page of a list. A cursor that comes twice ends it with an error: a page would repeat."""
        seen: set[str] = set()
        cursor = ""
        for _ in range(MAX_PAGES):
            asked = {**query, "limit": limit, "cursor": cursor or None}
            page = await self.get(kind, path, query=asked, public=public)
            yield page
            cursor = getattr(page, "cursor", None) or getattr(page, "next_cursor", None) or ""
            if not cursor:
                return
            if cursor in seen:
                raise DataError(f"the list repeats the cursor {cursor[:40]!r}", file=f"GET {path}")
            seen.add(cursor)
        raise DataError(f"the list has more than {MAX_PAGES:,} pages", file=f"GET {path}")

    async def _all(
        self,
        kind: type,
        field: str,
        path: str,
        query: Query,
        *,
        public: bool = False,
        limit: int | None = PAGE,
    ) -> list[Any]:
        found: list[Any] = []
        async for page in self.pages(kind, path, query, public=public, limit=limit):
            found += getattr(page, field) or ()
        return found

    def _mine(self, query: Query) -> Query:
        return {**query, "subaccount": self.subaccount}

    # --- exchange ---------------------------------------------------------------------------------

    async def status(self) -> m.ExchangeStatus:
        """Whether the exchange and its shards are open."""
        found: m.ExchangeStatus = await self.get(m.ExchangeStatus, "/exchange/status", public=True)
        return found

    async def schedule(self) -> m.Schedule:
        """Trading hours and maintenance windows."""
        answer: m.ScheduleAnswer = await self.get(m.ScheduleAnswer, "/exchange/schedule", public=True)
        return answer.schedule

    async def as_of_ns(self) -> int:
        """How fresh reads of the account are at least."""
        answer: m.UserDataTimestamp = await self.get(m.UserDataTimestamp, "/exchange/user_data_timestamp")
        return int(answer.as_of_time)

    # --- markets ----------------------------------------------------------------------------------

    async def market(self, ticker: str) -> m.Market:
        """One market."""
        path = f"/markets/{segment(ticker)}"
        answer: m.MarketAnswer = await self.get(m.MarketAnswer, path, "/markets/{}", public=True)
        return answer.market

    async def markets(
        self, *, tickers: Sequence[str] = (), **query: str | int | bool | None
    ) -> list[m.Market]:
        """All markets that a query selects (`status`, `event_ticker`, `series_ticker`, `mve_filter`, ...)."""
        if not tickers:
            return await self._all(m.Markets, "markets", "/markets", query, public=True)
        found: list[m.Market] = []
        for part in _parts(tickers, BOOKS_A_CALL):
            asked = {**query, "tickers": ",".join(part)}
            found += await self._all(m.Markets, "markets", "/markets", asked, public=True)
        return found

    async def orderbook(self, ticker: str, depth: int = 0) -> m.BookSides:
        """A book; `depth` 0: all of it."""
        path = f"/markets/{segment(ticker)}/orderbook"
        answer: m.OrderbookAnswer = await self.get(
            m.OrderbookAnswer, path, "/markets/{}/orderbook", public=True, query={"depth": depth}
        )
        return answer.orderbook_fp

    async def trades(self, ticker: str, *, min_ts: int | None = None) -> list[m.PublicTrade]:
        """Trades of a market, newest first."""
        query: Query = {"ticker": ticker, "min_ts": min_ts}
        return await self._all(m.Trades, "trades", "/markets/trades", query, public=True)

    async def candlesticks(
        self, series: str, ticker: str, *, start_ts: int, end_ts: int, period_interval: int
    ) -> m.Candlesticks:
        """Candles of 1, 60 or 1,440 minutes."""
        path = f"/series/{segment(series)}/markets/{segment(ticker)}/candlesticks"
        query: Query = {"start_ts": start_ts, "end_ts": end_ts, "period_interval": period_interval}
        found: m.Candlesticks = await self.get(
            m.Candlesticks, path, "/series/{}/markets/{}/candlesticks", public=True, query=query
        )
        return found

    async def event(self, ticker: str) -> m.Event:
        """One event."""
        path = f"/events/{segment(ticker)}"
        answer: m.EventAnswer = await self.get(m.EventAnswer, path, "/events/{}", public=True)
        return answer.event

    async def events(self, **query: str | int | bool | None) -> list[m.Event]:
        """All events that a query selects; combos are not among them."""
        return await self._all(m.Events, "events", "/events", query, public=True, limit=200)

    async def series(self, ticker: str) -> m.Series:
        """One series, with its fee."""
        path = f"/series/{segment(ticker)}"
        answer: m.SeriesAnswer = await self.get(m.SeriesAnswer, path, "/series/{}", public=True)
        return answer.series

    async def all_series(self, **query: str | int | bool | None) -> list[m.Series]:
        """Every series."""
        answer: m.SeriesList = await self.get(m.SeriesList, "/series", public=True, query=query)
        return list(answer.series)

    async def series_fee_changes(self, *, historical: bool = False) -> list[m.SeriesFeeChange]:
        """Fees of series that move."""
        answer: m.SeriesFeeChanges = await self.get(
            m.SeriesFeeChanges, "/series/fee_changes", public=True, query={"show_historical": historical}
        )
        return list(answer.series_fee_change_arr)

    async def event_fee_changes(self) -> list[m.EventFeeChange]:
        """Fees of events that move."""
        return await self._all(
            m.EventFeeChanges, "event_fee_changes", "/events/fee_changes", {}, public=True, limit=None
        )

    async def milestones(self, **query: str | int | bool | None) -> list[m.Milestone]:
        """What happens when in the real world."""
        return await self._all(m.Milestones, "milestones", "/milestones", query, public=True, limit=500)

    async def milestone(self, milestone_id: str) -> m.Milestone:
        """One of them."""
        path = f"/milestones/{segment(milestone_id)}"
        answer: m.MilestoneAnswer = await self.get(m.MilestoneAnswer, path, "/milestones/{}", public=True)
        return answer.milestone

    async def incentive_programs(
        self, *, status: str = "active", kind: str = "liquidity"
    ) -> list[m.IncentiveProgram]:
        """Reward periods; ask by status, for there are more than 100,000 old ones."""
        query: Query = {"status": status, "type": kind}
        return await self._all(
            m.IncentivePrograms, "incentive_programs", "/incentive_programs", query, public=True
        )

    # --- account ----------------------------------------------------------------------------------

    async def orders(self, **query: str | int | bool | None) -> list[a.Order]:
        """Orders of all shards (`status` resting, canceled, executed; `ticker`; `min_ts`)."""
        return await self._all(a.Orders, "orders", "/portfolio/orders", self._mine(query))

    async def each_order(self, **query: str | int | bool | None) -> AsyncIterator[a.Order]:
        """As `orders`, page by page: for who looks for one of many."""
        async for page in self.pages(a.Orders, "/portfolio/orders", self._mine(query)):
            for order in page.orders:
                yield order

    async def order(self, order_id: str) -> a.Order:
        """One order by Kalshi's id."""
        path = f"/portfolio/orders/{segment(order_id)}"
        answer: a.OrderAnswer = await self.get(a.OrderAnswer, path, "/portfolio/orders/{}")
        return answer.order

    async def queue_positions(self, tickers: Iterable[str]) -> list[a.QueuePosition]:
        """Contracts ahead of our resting orders in these markets."""
        found: list[a.QueuePosition] = []
        for part in _parts(list(tickers), BOOKS_A_CALL):
            answer: a.QueuePositions = await self.get(
                a.QueuePositions,
                "/portfolio/orders/queue_positions",
                query=self._mine({"market_tickers": ",".join(part)}),
            )
            found += answer.queue_positions or ()
        return found

    async def queue_position(self, order_id: str) -> int:
        """Micro-contracts ahead of one order."""
        path = f"/portfolio/orders/{segment(order_id)}/queue_position"
        answer: a.QueuePositionAnswer = await self.get(
            a.QueuePositionAnswer, path, "/portfolio/orders/{}/queue_position"
        )
        return int(answer.queue_position_fp)

    async def fills(self, **query: str | int | bool | None) -> list[a.Fill]:
        """Our trades (`min_ts` in seconds, `order_id`, `ticker`)."""
        return await self._all(a.Fills, "fills", "/portfolio/fills", self._mine(query))

    async def cutoff(self) -> a.Cutoff:
        """Since when orders and fills are listed where they always are."""
        found: a.Cutoff = await self.get(a.Cutoff, "/historical/cutoff", public=True)
        return found

    async def old_orders(self, ticker: str) -> AsyncIterator[a.Order]:
        """Orders of a market that ended before the cutoff, page by page."""
        query = self._mine({"ticker": ticker})
        async for page in self.pages(a.Orders, "/historical/orders", query, limit=OLD_PAGE):
            for order in page.orders:
                yield order

    async def old_fills(self, since_ns: int) -> list[a.Fill]:
        """Our trades from before the cutoff; pages that are older than `since_ns` are not turned."""
        found: list[a.Fill] = []
        async for page in self.pages(a.Fills, "/historical/fills", self._mine({}), limit=OLD_PAGE):
            young = [fill for fill in page.fills if fill.traded_ns is None or fill.traded_ns >= since_ns]
            found += young
            if page.fills and not young:
                break
        return found

    async def positions(self, **query: str | int | bool | None) -> list[a.MarketPosition]:
        """What we hold, market by market."""
        return await self._all(a.Positions, "market_positions", "/portfolio/positions", self._mine(query))

    async def settlements(self, **query: str | int | bool | None) -> list[a.Settlement]:
        """What markets paid us."""
        return await self._all(a.Settlements, "settlements", "/portfolio/settlements", self._mine(query))

    async def balance(self, *, exchange_index: int | None = None) -> a.Balance:
        """Money; of all shards where none is named."""
        found: a.Balance = await self.get(
            a.Balance, "/portfolio/balance", query=self._mine({"exchange_index": exchange_index})
        )
        return found

    async def order_groups(self) -> list[a.OrderGroup]:
        """All order groups."""
        answer: a.OrderGroups = await self.get(a.OrderGroups, "/portfolio/order_groups", query=self._mine({}))
        return list(answer.order_groups or ())

    async def order_group(self, group_id: str, *, exchange_index: int) -> a.OrderGroup:
        """One group with its orders."""
        path = f"/portfolio/order_groups/{segment(group_id)}"
        query = self._mine({"exchange_index": exchange_index})
        found: a.OrderGroup = await self.get(a.OrderGroup, path, "/portfolio/order_groups/{}", query=query)
        return found

    async def limits(self) -> a.AccountLimits:
        """Tier and token buckets."""
        found: a.AccountLimits = await self.get(a.AccountLimits, "/account/limits")
        return found

    async def endpoint_costs(self) -> a.EndpointCosts:
        """Tokens of each call."""
        found: a.EndpointCosts = await self.get(a.EndpointCosts, "/account/endpoint_costs", public=True)
        return found

    async def api_keys(self) -> a.ApiKeys:
        """The account's keys, and when its attested region expires."""
        found: a.ApiKeys = await self.get(a.ApiKeys, "/api_keys")
        return found


def _parts(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
