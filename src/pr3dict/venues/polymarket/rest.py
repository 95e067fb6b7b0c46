"""Polymarket's reads: one method a call, typed answers, all pages. What changes things is in `orders.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.budget import Host
from pr3dict.venues.polymarket.http import Auth, Call, PolymarketHttp, Query, segment
from pr3dict.venues.polymarket.numbers import Exact, Reader, Seconds, reader_of
from pr3dict.venues.polymarket.outcomes import Outcome, Verdict
from pr3dict.venues.session import NotAnsweredError

FIRST_CURSOR: Final = "MA=="
END_CURSOR: Final = "LTE="
MAX_PAGES: Final = 2_000
GAMMA_PAGE: Final = 100
CONDITIONS_A_CALL: Final = 100
BOOKS_A_CALL: Final = 500
NOT_FOUND: Final = 404
AssetType = Literal["COLLATERAL", "CONDITIONAL", "CONDITIONAL-V2"]
_TYPES: Final = (
    Seconds, m.Book, tuple[m.Book, ...], m.ClobMarket, m.VerboseMarket, m.MarketByToken, m.TickSize,
    m.NegRisk, m.Version, m.Geoblock, m.GammaMarket, m.GammaMarkets, m.GammaEvents,
    m.RewardMarket, m.RewardMarkets, tuple[m.Rebate, ...], a.OpenOrder, a.OpenOrders, a.Trades,
    a.BalanceAllowance, a.ClosedOnly, a.ApiKeys, a.RateLimitTier, a.Scoring, dict[str, bool], a.Earnings,
    tuple[a.TotalEarning, ...], dict[str, Exact],
)  # fmt: skip
READERS: Final[dict[Any, Reader]] = {kind: reader_of(kind) for kind in _TYPES}
Item = TypeVar("Item")
Again = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class ReadFailedError(NotAnsweredError):
    """A read got no usable answer; `outcome` says why, `status` is 0 where nothing came back."""

    def __init__(self, what: str, outcome: Outcome, status: int) -> None:
        super().__init__(f"Polymarket did not answer {what}: {outcome.text or outcome.verdict.value}")
        self.outcome = outcome
        self.status = status


class Selection(NamedTuple, Generic[Item]):
    """What a catalogue holds, and a sentence for each entry that can't be read: nothing is left out."""

    items: tuple[Item, ...]
    refused: tuple[str, ...]


class PolymarketRest:
    """Typed reads over one set of connections; `again` repeats a call that failed, if it thinks fit."""

    def __init__(self, http: PolymarketHttp, *, again: Again | None = None) -> None:
        self.http = http
        self._again = again

    # --- the way ----------------------------------------------------------------------------------

    async def ask(self, kind: Any, call: Call) -> Any:
        """One body of type `kind`.

        Raises:
            ReadFailedError: there is no answer, or it is an error.
            DataError: the answer is not what its type promises.
        """
        once = partial(self._ask, kind, call)
        return await (once() if self._again is None else self._again(once))

    async def _ask(self, kind: Any, call: Call) -> Any:
        reply = await self.http.call(call)
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            raise ReadFailedError(f"{call.method} {call.path}", reply.outcome, reply.status)
        try:
            return READERS[kind](reply.body)
        except DataError as error:
            raise error.at(file=f"{call.method} {call.path}") from None

    async def get(
        self, kind: Any, path: str, query: Query | None = None, *, auth: Auth = "none",
        host: Host = "clob", template: str = "",
    ) -> Any:  # fmt: skip
        """As `ask`, by GET."""
        return await self.ask(kind, Call("GET", path, template, query or {}, host=host, auth=auth))

    async def pages(
        self, kind: Any, path: str, query: Query, *, auth: Auth = "none", template: str = ""
    ) -> AsyncIterator[Any]:
        """Every page of a list of the order API. A cursor that comes twice ends it with an error."""
        seen, cursor = {FIRST_CURSOR}, FIRST_CURSOR
        for _ in range(MAX_PAGES):
            page = await self.get(kind, path, {**query, "next_cursor": cursor}, auth=auth, template=template)
            yield page
            cursor = page.next_cursor
            if cursor == END_CURSOR:
                return
            if not cursor or cursor in seen:
                raise DataError(f"the list repeats the cursor {cursor[:40]!r}", file=f"GET {path}")
            seen.add(cursor)
        raise DataError(f"the list has more than {MAX_PAGES:,} pages", file=f"GET {path}")

    async def _all(self, kind: Any, path: str, query: Query, *, auth: Auth = "none") -> list[Any]:
        found: list[Any] = []
        async for page in self.pages(kind, path, query, auth=auth):
            found += page.data
        return found

    async def _keyset(self, kind: Any, path: str, query: Query) -> AsyncIterator[Any]:
        """Every page of a list of Gamma; its last one has no cursor."""
        seen: set[str] = set()
        cursor = ""
        for _ in range(MAX_PAGES):
            asked = {"limit": GAMMA_PAGE, **query, "after_cursor": cursor or None}
            page = await self.get(kind, path, asked, host="gamma")
            yield page
            cursor = page.next_cursor or ""
            if not cursor or cursor == END_CURSOR:
                return
            if cursor in seen:
                raise DataError(f"the list repeats the cursor {cursor[:40]!r}", file=f"GET {path}")
            seen.add(cursor)
        raise DataError(f"the list has more than {MAX_PAGES:,} pages", file=f"GET {path}")

    # --- venue ------------------------------------------------------------------------------------

    async def venue_time_ns(self) -> int:
        """The venue's clock, whole seconds."""
        return int(await self.get(Seconds, "/time"))

    async def version(self) -> int:
        """Of the order struct that the venue takes."""
        found: m.Version = await self.get(m.Version, "/version")
        return int(found.version)

    async def geoblock(self) -> m.Geoblock:
        """Whether the web site is blocked where we are; the order API may judge otherwise."""
        found: m.Geoblock = await self.get(m.Geoblock, "/api/geoblock", host="site")
        return found

    async def is_blocked(self) -> bool:
        """Whether the order API refuses orders from where we are, asked by an order without a signature.

        Raises `ReadFailedError` where the answer is neither "blocked" (403) nor "who are you" (400, 401).
        """
        reply = await self.http.call(Call("POST", "/order", body=b"{}"))
        if reply.status in (400, 401, 403):
            return reply.status == 403
        raise ReadFailedError("the probe POST /order", reply.outcome, reply.status)

    # --- markets ----------------------------------------------------------------------------------

    async def book(self, token: str) -> m.Book:
        """The book of one token."""
        found: m.Book = await self.get(m.Book, "/book", {"token_id": token})
        _check_asked(found.asset_id, token, "/book")
        return found

    async def books(self, tokens: Sequence[str]) -> list[m.Book]:
        """Books of many tokens; one that the venue does not know is not among them."""
        found: list[m.Book] = []
        for part in _parts(tokens, BOOKS_A_CALL):
            body = msgspec.json.encode([{"token_id": token} for token in part])
            found += await self.ask(tuple[m.Book, ...], Call("POST", "/books", body=body))
        return found

    async def clob_market(self, condition: str) -> m.ClobMarket:
        """What orders of a market must respect; the condition may be of either protocol."""
        path = f"/clob-markets/{segment(m.clob_condition(condition))}"
        found: m.ClobMarket = await self.get(m.ClobMarket, path, template="/clob-markets/{}")
        if found.c is not None:
            _check_asked(m.clob_condition(found.c), m.clob_condition(condition), path)
        return found

    async def verbose_market(self, condition: str) -> m.VerboseMarket:
        """The long form of a market: whether it is closed, and who won."""
        path = f"/markets/{segment(m.clob_condition(condition))}"
        found: m.VerboseMarket = await self.get(m.VerboseMarket, path, template="/markets/{}")
        _check_asked(m.clob_condition(found.condition_id), m.clob_condition(condition), path)
        return found

    async def condition_of(self, token: str) -> str:
        """The market of a token."""
        path = f"/markets-by-token/{segment(token)}"
        found: m.MarketByToken = await self.get(m.MarketByToken, path, template="/markets-by-token/{}")
        return found.condition_id

    async def tick_size(self, token: str) -> int:
        """In 1/10,000 dollar, now."""
        found: m.TickSize = await self.get(m.TickSize, "/tick-size", {"token_id": token})
        return int(found.minimum_tick_size)

    async def neg_risk(self, token: str) -> bool:
        """Whether the token's orders belong to the neg-risk exchange."""
        found: m.NegRisk = await self.get(m.NegRisk, "/neg-risk", {"token_id": token})
        return found.neg_risk

    async def gamma_pages(
        self, **query: str | int | bool | Sequence[str] | None
    ) -> AsyncIterator[Selection[m.GammaMarket]]:
        """The catalogue's markets that a query selects (`closed`, `slug`, `order`, ...), page by page."""
        async for page in self._keyset(m.GammaMarkets, "/markets/keyset", query):
            items: list[m.GammaMarket] = []
            refused: list[str] = []
            _sort(m.GammaMarket, page.markets, items, refused)
            yield Selection(tuple(items), tuple(refused))

    async def gamma_markets(
        self, *, condition_ids: Sequence[str] = (), **query: str | int | bool | Sequence[str] | None
    ) -> Selection[m.GammaMarket]:
        """All markets of the catalogue that a query selects."""
        items: list[m.GammaMarket] = []
        refused: list[str] = []
        parts = _parts(condition_ids, CONDITIONS_A_CALL) if condition_ids else [()]
        for part in parts:
            async for page in self.gamma_pages(**query, condition_ids=tuple(part) or None):
                items += page.items
                refused += page.refused
        return Selection(tuple(items), tuple(refused))

    async def gamma_market(self, market_id: str) -> m.GammaMarket:
        """One market by Gamma's own id."""
        path = f"/markets/{segment(market_id)}"
        found: m.GammaMarket = await self.get(m.GammaMarket, path, host="gamma", template="/markets/{}")
        return found

    async def event_markets(
        self, **query: str | int | bool | Sequence[str] | None
    ) -> Selection[m.GammaMarket]:
        """The markets of all events that a query selects (`slug`, `tag_slug`, ...); each knows its event."""
        items: list[m.GammaMarket] = []
        refused: list[str] = []
        async for page in self._keyset(m.GammaEvents, "/events/keyset", query):
            for event in page.events:
                found: list[m.GammaMarket] = []
                _sort(m.GammaMarket, event.markets, found, refused)
                items += [_within(market, event) for market in found]
        return Selection(tuple(items), tuple(refused))

    # --- rewards ----------------------------------------------------------------------------------

    async def reward_markets(self, *, sponsored: bool | None = None) -> Selection[m.RewardMarket]:
        """Every market that pays liquidity rewards now."""
        items: list[m.RewardMarket] = []
        refused: list[str] = []
        query: Query = {"sponsored": sponsored}
        async for page in self.pages(m.RewardMarkets, "/rewards/markets/current", query):
            _sort(m.RewardMarket, page.data, items, refused)
        return Selection(tuple(items), tuple(refused))

    async def rewards_of(self, condition: str) -> Selection[m.RewardMarket]:
        """The reward programmes of one market, with its competition."""
        items: list[m.RewardMarket] = []
        refused: list[str] = []
        path = f"/rewards/markets/{segment(m.clob_condition(condition))}"
        async for page in self.pages(m.RewardMarkets, path, {}, template="/rewards/markets/{}"):
            _sort(m.RewardMarket, page.data, items, refused)
        return Selection(tuple(items), tuple(refused))

    async def rebates(self, date: str, maker: str) -> tuple[m.Rebate, ...]:
        """Maker rebates of a day (YYYY-MM-DD) of a wallet."""
        query: Query = {"date": date, "maker_address": maker}
        found: tuple[m.Rebate, ...] = await self.get(tuple[m.Rebate, ...], "/rebates/current", query)
        return found

    async def earnings(self, date: str) -> list[a.Earning]:
        """Our liquidity rewards of a day, by market."""
        query: Query = {"date": date, "signature_type": self._signature_type()}
        return await self._all(a.Earnings, "/rewards/user", query, auth="l2")

    async def total_earnings(self, date: str) -> tuple[a.TotalEarning, ...]:
        """Our liquidity rewards of a day, by asset."""
        query: Query = {"date": date, "signature_type": self._signature_type()}
        found: tuple[a.TotalEarning, ...] = await self.get(
            tuple[a.TotalEarning, ...], "/rewards/user/total", query, auth="l2"
        )
        return found

    async def reward_percentages(self) -> dict[str, Exact]:
        """Our share of each market's rewards now, in percent."""
        query: Query = {"signature_type": self._signature_type()}
        found: dict[str, Exact] = await self.get(
            dict[str, Exact], "/rewards/user/percentages", query, auth="l2"
        )
        return found

    async def scoring(self, digests: Sequence[str]) -> dict[str, bool]:
        """Which of our orders earn rewards at this moment."""
        body = msgspec.json.encode(digests)
        found: dict[str, bool] = await self.ask(
            dict[str, bool], Call("POST", "/orders-scoring", body=body, auth="l2")
        )
        return found

    async def is_scoring(self, digest: str) -> bool:
        """Whether one order earns rewards at this moment."""
        found: a.Scoring = await self.get(a.Scoring, "/order-scoring", {"order_id": digest}, auth="l2")
        return found.scoring

    # --- account ----------------------------------------------------------------------------------

    async def open_orders(self, condition: str | None = None, token: str | None = None) -> list[a.OpenOrder]:
        """Orders that rest; a token is only asked for with its market."""
        market = m.clob_condition(condition) if condition else None
        query: Query = {"market": market, "asset_id": token if market else None}
        found = await self._all(a.OpenOrders, "/data/orders", query, auth="l2")
        return [order for order in found if condition is None or token in (None, order.asset_id)]

    async def order(self, digest: str) -> a.OpenOrder | None:
        """One order by its digest, also one that is over; None: the venue has never seen it.

        Raises `ReadFailedError` and `DataError` as `ask`.
        """
        call = Call("GET", f"/data/order/{segment(digest)}", "/data/order/{}", auth="l2")
        reply = await self.http.call(call)
        if reply.status == NOT_FOUND and "not found" in reply.outcome.text.lower():
            return None
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            raise ReadFailedError(f"GET {call.path}", reply.outcome, reply.status)
        if reply.body.strip() in (b"", b"null"):
            return None
        try:
            found: a.OpenOrder = READERS[a.OpenOrder](reply.body)
        except DataError as error:
            raise error.at(file=f"GET {call.path}") from None
        _check_asked(found.id.lower(), digest.lower(), call.path)
        return found

    async def trades(
        self, *, after_ns: int = 0, condition: str | None = None, maker: str | None = None,
        trade_id: str | None = None,
    ) -> list[a.Trade]:  # fmt: skip
        """Trades of ours from `after_ns` on (whole seconds, down)."""
        query: Query = {
            "after": after_ns // NS_PER_SECOND or None,
            "market": m.clob_condition(condition) if condition else None,
            "maker_address": maker,
            "id": trade_id,
        }
        return await self._all(a.Trades, "/data/trades", query, auth="l2")

    async def balance(self, asset: AssetType = "COLLATERAL", token: str | None = None) -> a.BalanceAllowance:
        """Base units of pUSD or of a token, and what the contracts may take."""
        query = self._asset_query(asset, token)
        found: a.BalanceAllowance = await self.get(a.BalanceAllowance, "/balance-allowance", query, auth="l2")
        return found

    async def refresh_balance(self, asset: AssetType = "COLLATERAL", token: str | None = None) -> None:
        """Have the venue look at the chain again; raises `ReadFailedError`."""
        path = "/balance-allowance/update"
        call = Call("GET", path, query=self._asset_query(asset, token), auth="l2")
        reply = await self.http.call(call)
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            raise ReadFailedError(f"GET {path}", reply.outcome, reply.status)

    async def is_closed_only(self) -> bool:
        """Whether the account may only close positions."""
        found: a.ClosedOnly = await self.get(a.ClosedOnly, "/auth/ban-status/closed-only", auth="l2")
        return found.closed_only

    async def api_keys(self) -> tuple[str, ...]:
        """Ids of the address's API keys."""
        found: a.ApiKeys = await self.get(a.ApiKeys, "/auth/api-keys", auth="l2")
        return found.apiKeys

    async def rate_limit_tier(self) -> str:
        """The signer's tier; a change takes up to three hours to show."""
        found: a.RateLimitTier = await self.get(a.RateLimitTier, "/v1/user/rate-limit-tier", auth="l2")
        return found.tier

    def _asset_query(self, asset: AssetType, token: str | None) -> Query:
        return {"asset_type": asset, "token_id": token, "signature_type": self._signature_type()}

    def _signature_type(self) -> int | None:
        return int(self.http.signer.kind) if self.http.signer is not None else None


def _check_asked(said: str, asked: str, path: str) -> None:
    """Raises `DataError` for an answer about something else than what was asked."""
    if said != asked:
        raise DataError(f"the answer is about {said[:80]!r}", file=f"GET {path}")


def _sort(kind: Any, raws: Iterable[msgspec.Raw], items: list[Any], refused: list[str]) -> None:
    """Read each entry of a page by itself."""
    reader = READERS[kind]
    for raw in raws:
        try:
            items.append(reader(bytes(raw)))
        except DataError as error:
            refused.append(f"{_name_of(bytes(raw))}: {error}")


def _within(market: m.GammaMarket, event: m.GammaEvent) -> m.GammaMarket:
    """A market with the event in which it was listed, which it does not name there."""
    if market.events:
        return market
    return msgspec.structs.replace(market, events=(m.GammaEventRef(id=event.id, slug=event.slug),))


def _name_of(raw: bytes) -> str:
    """How a person finds an entry that can't be read."""
    try:
        found: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    keys = ("slug", "condition_id", "conditionId", "id") if isinstance(found, dict) else ()
    return next((str(found[key])[:80] for key in keys if found.get(key)), "an entry")


def _parts(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
