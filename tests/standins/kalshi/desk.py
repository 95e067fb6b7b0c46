"""Order entry: Kalshi's V2 requests and order groups, with every check before the book is touched.

Self-trade prevention is decided here. Volume at the very price of the own order that would be met is not
taken first, although some of it may stand before that order: the matching engine below knows no such order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pr3dict.kernels import dtypes as d
from standins.kalshi.errors import RefusedError, not_found, refused, undecodable
from standins.kalshi.ledger import reserved
from standins.kalshi.matching import GROUP_WINDOW_NS
from standins.kalshi.state import BOOK_SIDE, Group, MarketState, Order
from standins.kalshi.values import (
    BID,
    LOT,
    MICRO,
    MS,
    SECOND,
    Json,
    count_text,
    new_uuid,
    read_count,
    read_price,
)
from standins.kalshi.venue import Venue

GTC, IOC, FOK = "good_till_canceled", "immediate_or_cancel", "fill_or_kill"
MAX_OPEN: Final = 200_000
MAX_GROUPS: Final = 100_000
LATEST_NS: Final = 9_000_000_000 * SECOND  # later times do not fit into 64 bits
SLOTS: Final = d.ORDER_SLOTS  # what the matching engine holds a market


def _field(body: Mapping[str, Any], name: str, kind: type, default: Any = None, *, must: bool = False) -> Any:
    value = body.get(name)
    if value is None:
        if must:
            raise undecodable(f"Key: '{name}' Error: field is required")
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise undecodable(f"field {name}: {type(value).__name__} is not {kind.__name__}")
    return value


class Desk:
    """Takes requests for a `Venue`; each method returns the answer's body or raises `RefusedError`."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._reach_until_ns = 0  # a cancel-all goes on cancelling until then

    # --- what every request goes through ----------------------------------------------------------

    def _check_exchange(self, *, cancels: bool = False) -> None:
        if not self.venue.exchange_active:
            raise refused(409, "exchange_is_paused", message="exchange is paused")
        if not self.venue.trading_active and not cancels:
            raise refused(409, "trading_is_paused", message="trading is paused")

    def market(self, ticker: Any, shard: int | None) -> MarketState:
        """The market that a request reaches; on another shard there is none."""
        market = self.venue.by_ticker.get(ticker)
        if market is None or market.visible_ns > self.venue.now_ns:
            raise not_found("market_not_found")
        if shard is not None and shard >= 0 and shard != market.spec.exchange_index:
            raise not_found("market_not_found")
        return market

    def _check_market(self, market: MarketState, *, cancels: bool = False) -> None:
        if market.is_over or market.status == "initialized":
            raise refused(400, "market_inactive", "MARKET_INACTIVE")
        if market.status == "inactive" and not cancels:
            raise refused(409, "trading_is_paused", message="trading is paused")

    def _find(self, order_id: str, ticker: str | None, shard: int | None) -> Order:
        """An order by id, on the shard that the request reaches."""
        order = self.venue.orders.get(order_id)
        if shard is None or shard < 0:
            market = self.venue.by_ticker.get(ticker) if ticker else None
            if ticker and market is None:
                raise not_found("market_not_found")
            shard = market.spec.exchange_index if market else 0
        if order is None or order.exchange_index != shard or not order.is_open:
            raise not_found()
        if ticker and order.ticker != ticker:
            raise refused(400, "order_ticker_mismatch")
        return order

    def _price(self, market: MarketState, text: Any) -> int:
        price = read_price(text)
        if price is None:
            raise undecodable("price must be a fixed-point dollar string")
        if not market.spec.grids[market.grid].contains(price):
            raise refused(400, "invalid_order", "invalid price")
        return price

    def _count(self, text: Any) -> int:
        count = read_count(text)
        if count is None:
            raise undecodable("count must be a fixed-point string with at most 2 decimals")
        if count < LOT:
            raise refused(400, "invalid_order_size")
        return count

    def _expiry(self, seconds: int) -> int:
        if seconds and not self.venue.now_ns < seconds * SECOND < LATEST_NS:
            raise refused(400, "invalid_order", "expiration_time must be in the future")
        return seconds

    # --- create -----------------------------------------------------------------------------------

    def create(self, body: Mapping[str, Any]) -> Json:
        """POST /portfolio/events/orders."""
        order, tif, size = self._checked(body)
        self.venue.orders[order.id] = order
        self.venue.by_client[order.client_order_id] = order
        self._match(order, tif, size)
        if self._reach_until_ns > self.venue.now_ns:
            self.venue.cancel(order)
        answer: Json = {
            "order_id": order.id, "fill_count": count_text(order.filled),
            "remaining_count": count_text(order.remaining), **order.averages(),
            "ts_ms": self.venue.now_ns // MS,
        }  # fmt: skip
        if order.has_client_id:
            answer["client_order_id"] = order.client_order_id
        return answer

    def _checked(self, body: Mapping[str, Any]) -> tuple[Order, str, int]:
        """The order that a body asks for, its time in force and what it may trade."""
        ticker = _field(body, "ticker", str, must=True)
        side = _field(body, "side", str, must=True)
        tif = _field(body, "time_in_force", str, must=True)
        stp = _field(body, "self_trade_prevention_type", str, must=True)
        for name in ("count", "price"):
            _field(body, name, str, must=True)
        if side not in BOOK_SIDE or tif not in (GTC, IOC, FOK) or stp not in ("taker_at_cross", "maker"):
            raise undecodable("side, time_in_force or self_trade_prevention_type has no such value")
        shard = _field(body, "exchange_index", int)
        client_id = _field(body, "client_order_id", str, "")
        post_only = _field(body, "post_only", bool, default=False)
        reduce_only = _field(body, "reduce_only", bool, default=False)
        expiry = _field(body, "expiration_time", int, 0)
        if _field(body, "subaccount", int, 0) != 0:
            raise not_found("user_not_found")
        self._check_exchange()
        market = self.market(ticker, shard)
        self._check_market(market)
        if (expiry or post_only) and tif != GTC:
            raise refused(400, "invalid_order", "only good_till_canceled orders rest or expire")
        if reduce_only and tif != IOC:
            raise refused(400, "invalid_order", "reduce_only needs immediate_or_cancel")
        if client_id and client_id in self.venue.by_client:
            raise refused(409, "order_already_exists", message="order already exists")
        price, size = self._price(market, body["price"]), self._count(body["count"])
        if market.floor and price < market.floor:
            raise refused(400, "invalid_order", "price below the settlement floor")
        order = Order(
            id=new_uuid(self.venue.faults.chance), client_order_id=client_id, market=market.place,
            ticker=ticker, exchange_index=market.spec.exchange_index, side=BOOK_SIDE.index(side), price=price,
            total=size, key=0, created_ns=self.venue.now_ns, stp=stp, post_only=post_only,
            group=_field(body, "order_group_id", str, ""), has_client_id=bool(client_id),
            cancel_on_pause=_field(body, "cancel_order_on_pause", bool, default=False),
            expiry_s=self._expiry(expiry), remaining=size, updated_ns=self.venue.now_ns,
        )  # fmt: skip
        if not client_id:
            order.client_order_id = new_uuid(self.venue.faults.chance)
        self._check_group(order)
        if reduce_only:
            held = self.venue.position(market)
            size = min(size, max(-held if order.side == BID else held, 0))
        self._check_room(market)
        self._check_cash(market, order, size)
        self._check_match(market, order, tif, size)
        return order, tif, size

    def _check_room(self, market: MarketState) -> None:
        if len(self.venue.open_of[market.place]) >= SLOTS:
            raise refused(400, "invalid_order", f"this stand-in holds {SLOTS} resting orders a market")

    def _check_group(self, order: Order) -> None:
        if not order.group:
            return
        group = self.venue.groups.get(order.group)
        if group is None or group.exchange_index != order.exchange_index:
            raise not_found("order_group_not_found")
        if group.triggered:
            raise refused(400, "invalid_order", "order group is triggered")

    def _check_cash(self, market: MarketState, order: Order, size: int, without: Order | None = None) -> None:
        """The shard must cover the order on top of what rests there (less the one it replaces)."""
        shard = market.spec.exchange_index
        if shard not in self.venue.ledger.cash:
            raise not_found("user_not_found")
        resting = [o for o in self.venue.open_of[market.place].values() if o is not without]
        position = self.venue.position(market)
        locked = reserved(list(self.venue.open_of[market.place].values()), position)
        trial = Order(
            id="", client_order_id="", market=market.place, ticker="", exchange_index=shard, side=order.side,
            price=order.price, total=size, key=0, created_ns=0, stp="", post_only=False, remaining=size,
        )  # fmt: skip
        need = reserved([*resting, trial], position) - locked
        if need > 0 and need > self.venue.free_cash(shard):
            raise refused(400, "insufficient_balance", "available balance too low")

    # --- what it would meet -----------------------------------------------------------------------

    def _levels(self, market: MarketState, side: int, limit: int) -> list[tuple[int, int]]:
        """(price, others' size) of the other side that an order reaches, best first."""
        prices = market.shown[1 - side]
        reached = [p for p in prices if (p <= limit if side == BID else p >= limit)]
        reached.sort(reverse=side != BID)
        return [(p, self.venue.available(market, 1 - side, p)) for p in reached]

    def _own_met(self, market: MarketState, side: int, limit: int) -> list[Order]:
        """Own resting orders that an order would meet, best first."""
        own = [
            o
            for o in self.venue.open_of[market.place].values()
            if o.side != side and (o.price <= limit if side == BID else o.price >= limit)
        ]
        return sorted(own, key=lambda o: (o.price if side == BID else -o.price, o.key))

    def _check_match(self, market: MarketState, order: Order, tif: str, size: int) -> None:
        levels = self._levels(market, order.side, order.price)
        own = self._own_met(market, order.side, order.price)
        if order.post_only and (own or any(count for _, count in levels)):
            if self.venue.faults.hits("post_only_cancel"):
                return
            raise refused(400, "invalid_order", "post only cross")
        if tif == FOK and not own and sum(count for _, count in levels) < size:
            raise refused(409, "fill_or_kill_insufficient_resting_volume")

    def _match(self, order: Order, tif: str, size: int) -> None:
        """Send it into the book; what crosses own orders goes by its self-trade prevention."""
        venue, market = self.venue, self.venue.markets[order.market]
        if size < LOT:  # a reduce-only order with nothing to reduce
            self._end(order, "ReduceOnlyCancel")
            return
        own = self._own_met(market, order.side, order.price)
        if order.post_only and (
            own or any(count for _, count in self._levels(market, order.side, order.price))
        ):
            self._end(order, "PostOnlyCrossCancel")
            return
        while own and order.stp == "maker":
            if self._before(market, order, own[0].price) >= size:
                break
            venue.cancel(own.pop(0), "SelfTradeCancel")
        if own:
            self._up_to_own(order, size, own[0].price)
            return
        code = d.POST_ONLY if order.post_only else {GTC: d.LIMIT, IOC: d.IOC, FOK: d.IOC}[tif]
        why = venue.enter(order, size, code)
        if why:
            raise self._unexpected(order, why)

    def _before(self, market: MarketState, order: Order, own_price: int) -> int:
        levels = self._levels(market, order.side, order.price)
        return sum(c for p, c in levels if (p < own_price if order.side == BID else p > own_price))

    def _up_to_own(self, order: Order, size: int, own_price: int) -> None:
        """Trade what stands better than the own order; the rest of the taker is cancelled there."""
        market, venue = self.venue.markets[order.market], self.venue
        if self._before(market, order, own_price):
            prices = market.spec.grids[market.grid].prices()
            place = prices.index(own_price) + (-1 if order.side == BID else 1)
            limit, order.price, order.end_reason = order.price, prices[place], "SelfTradeCancel"
            why = venue.enter(order, size, d.IOC)
            order.price = limit
            if why:
                raise self._unexpected(order, why)
        if order.is_open:
            self._end(order, "SelfTradeCancel")

    def _end(self, order: Order, reason: str) -> None:
        """Taken and cancelled at once, without a place in the book."""
        order.status, order.remaining, order.reason = "canceled", 0, reason
        self.venue.tell_order(order)

    def _unexpected(self, order: Order, why: str) -> RefusedError:
        """The book refused what the checks let through: the order never was."""
        self.venue.orders.pop(order.id, None)
        self.venue.by_client.pop(order.client_order_id, None)
        return refused(400, "invalid_order", why.replace("_", " "))

    # --- changes ----------------------------------------------------------------------------------

    def cancel(self, order_id: str, ticker: str | None, shard: int | None) -> Json:
        """DELETE /portfolio/events/orders/{order_id}."""
        self._check_exchange(cancels=True)
        order = self._find(order_id, ticker, shard)
        self._check_market(self.venue.markets[order.market], cancels=True)
        gone = self.venue.cancel(order)
        return self._answer(order, {"reduced_by": count_text(gone)})

    def _answer(self, order: Order, fields: Json) -> Json:
        answer: Json = {"order_id": order.id, **fields, "ts_ms": self.venue.now_ns // MS}
        if order.has_client_id:
            answer["client_order_id"] = order.client_order_id
        return answer

    def decrease(self, order_id: str, body: Mapping[str, Any]) -> Json:
        """POST .../decrease."""
        by, to = body.get("reduce_by"), body.get("reduce_to")
        if (by is None) == (to is None):
            raise undecodable("exactly one of reduce_by and reduce_to must be provided")
        size = read_count(by if to is None else to)
        if size is None:
            raise undecodable("reduce_by and reduce_to must be fixed-point strings")
        self._check_exchange()
        order = self._find(order_id, _field(body, "market_ticker", str), _field(body, "exchange_index", int))
        self._check_market(self.venue.markets[order.market])
        left = max(order.remaining - size, 0) if to is None else size
        if left > order.remaining or (to is None and size < LOT):
            raise refused(400, "invalid_order_size")
        if left < order.remaining:
            self.venue.reduce(order, left, "Decrease")
        return self._answer(order, {"remaining_count": count_text(order.remaining)})

    def amend(self, order_id: str, body: Mapping[str, Any]) -> Json:
        """POST .../amend: another price or total, or another expiry alone, which keeps the queue position."""
        ticker = _field(body, "ticker", str, must=True)
        side = _field(body, "side", str, must=True)
        for name in ("count", "price"):
            _field(body, name, str, must=True)
        self._check_exchange()
        market = self.market(ticker, _field(body, "exchange_index", int))
        self._check_market(market)
        order = self.venue.orders.get(order_id)
        if order is None or not order.is_open or order.exchange_index != market.spec.exchange_index:
            raise not_found()
        self._check_names(order, body, ticker, side)
        price, total = self._price(market, body["price"]), self._count(body["count"])
        if total <= order.filled:
            raise refused(400, "invalid_order_size", "count does not exceed what has filled")
        expiry = _field(body, "expiration_time", int)
        expiry = order.expiry_s if expiry is None else self._expiry(expiry)
        before, changed = order.filled, total != order.total or price != order.price
        self._carry_out(market, order, price, total - order.filled, expiry)
        new_id = _field(body, "updated_client_order_id", str)
        if new_id:
            order.client_order_id, order.has_client_id = new_id, True
            self.venue.by_client[new_id] = order
        answer: Json = {
            "remaining_count": count_text(order.remaining) if changed else None,
            "fill_count": count_text(order.filled) if order.filled > before else None,
            "average_fill_price": None, "average_fee_paid": None,
        }  # fmt: skip
        if order.filled > before:
            answer |= order.averages()
        return self._answer(order, answer)

    def _check_names(self, order: Order, body: Mapping[str, Any], ticker: str, side: str) -> None:
        if order.ticker != ticker:
            raise refused(400, "order_ticker_mismatch")
        if side != BOOK_SIDE[order.side]:
            raise refused(400, "order_side_mismatch")
        if body.get("client_order_id") not in (None, order.client_order_id):
            raise refused(400, "order_id_and_client_order_id_mismatch")
        if _field(body, "updated_client_order_id", str) in self.venue.by_client:
            raise refused(409, "order_already_exists", message="order already exists")

    def _carry_out(self, market: MarketState, order: Order, price: int, remaining: int, expiry: int) -> None:
        venue = self.venue
        if price == order.price and remaining <= order.remaining:
            if remaining < order.remaining:
                venue.reduce(order, remaining, "Amend")
            if expiry != order.expiry_s:
                venue.renew(order, expiry)
            return
        was, order.price = order.price, price
        try:
            self._check_cash(market, order, remaining, without=order)
            self._check_match(market, order, GTC, remaining)
            if self._own_met(market, order.side, price):
                raise refused(400, "invalid_order", "self trade")
        finally:
            order.price = was
        order.expiry_s = expiry
        venue.replace(order, price, remaining, d.POST_ONLY if order.post_only else d.LIMIT)

    def cancel_all(self) -> None:
        """DELETE /portfolio/events/orders."""
        self._check_exchange(cancels=True)
        for orders in self.venue.open_of:
            for order in list(orders.values()):
                if not self.venue.markets[order.market].is_over:
                    self.venue.cancel(order)
        reach_ms = self.venue.faults.number("cancel_all_reach_ms")
        self._reach_until_ns = self.venue.now_ns + int(reach_ms * MS)

    # --- batches ----------------------------------------------------------------------------------

    def create_batch(self, body: Mapping[str, Any]) -> Json:
        """POST .../batched: each item for itself."""
        answers = []
        for item in _items(body):
            try:
                answers.append(self.create(item) | {"error": None})
            except RefusedError as error:
                answers.append({"client_order_id": item.get("client_order_id"), "error": error.inner})
        return {"orders": answers}

    def cancel_batch(self, body: Mapping[str, Any]) -> Json:
        """DELETE .../batched: each item for itself."""
        answers = []
        for item in _items(body):
            order_id = str(item.get("order_id", ""))
            try:
                ticker, shard = _field(item, "market_ticker", str), _field(item, "exchange_index", int)
                done = self.cancel(order_id, ticker, shard)
                answers.append(done | {"error": None})
            except RefusedError as error:
                answers.append({"order_id": order_id, "reduced_by": "0.00", "error": error.inner})
        return {"orders": answers}

    # --- order groups -----------------------------------------------------------------------------

    def create_group(self, body: Mapping[str, Any]) -> Json:
        """POST /portfolio/order_groups/create."""
        shard = _field(body, "exchange_index", int, 0)
        if shard not in self.venue.ledger.cash or _field(body, "subaccount", int, 0) != 0:
            raise not_found("user_not_found")
        if len(self.venue.groups) >= MAX_GROUPS:
            raise refused(400, "bad_request", "too many order groups")
        group = Group(new_uuid(self.venue.faults.chance), shard, self._limit(body))
        self.venue.groups[group.id] = group
        self.venue.tell_group(group, "created")
        return {"order_group_id": group.id, "subaccount": 0, "exchange_index": shard}

    def _limit(self, body: Mapping[str, Any]) -> int:
        whole, text = body.get("contracts_limit"), body.get("contracts_limit_fp")
        if text is None and isinstance(whole, int) and not isinstance(whole, bool):
            text = str(whole)
        limit = read_count(text)
        if limit is None or not MICRO <= limit <= 1_000_000 * MICRO:
            raise undecodable("contracts_limit must be 1 to 1000000")
        return limit

    def group(self, group_id: str, shard: int | None) -> Group:
        """A group, on its own shard."""
        group = self.venue.groups.get(group_id)
        if group is None or (shard or 0) != group.exchange_index:
            raise not_found("order_group_not_found")
        return group

    def limit_group(self, group: Group, body: Mapping[str, Any]) -> None:
        """PUT .../limit: triggers at once where it is exceeded already."""
        group.limit = self._limit(body)
        self.venue.tell_group(group, "limit_updated")
        if group.matched_by(self.venue.now_ns, GROUP_WINDOW_NS) > group.limit:
            self.venue.trigger(group)

    def reset_group(self, group: Group) -> None:
        """PUT .../reset."""
        group.triggered = False
        group.matched.clear()
        self.venue.tell_group(group, "reset")

    def delete_group(self, group: Group) -> None:
        """DELETE: removes it and cancels what rests in it."""
        self.venue.cancel_group(group)
        del self.venue.groups[group.id]
        self.venue.tell_group(group, "deleted")


def _items(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = body.get("orders")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise undecodable("orders must be a list of objects")
    return items
