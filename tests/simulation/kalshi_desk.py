"""Kalshi's REST API over the modelled venue: a call comes in, a status and a body of JSON go out.

Writes speak of now, reads of an index that lags behind and says how far (`as_of_time`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.http import Call
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.kalshi_venue import GROUP, Group
from simulation.setting import STEPS
from simulation.texts import count_text, moment_text, money_text, price_text, read_count, read_price
from simulation.world import MS, SECOND, START_NS

if TYPE_CHECKING:
    from simulation.simulator import Simulation

Body = dict[str, Any]
Reply = tuple[int, Body]
ORDERS = "/portfolio/events/orders"
GROUPS = "/portfolio/order_groups"
TIERS = {"basic": (200, 100), "advanced": (300, 300), "premier": (1_200, 1_200)}
WINDOW = ("start_datetime", "end_datetime")
TIFS = {"good_till_canceled": d.LIMIT, "immediate_or_cancel": d.IOC, "fill_or_kill": d.FOK}
_encode = msgspec.json.Encoder().encode


def error(status: int, code: str, message: str = "", details: str = "") -> Reply:
    """A refusal in the usual shape."""
    body = {"code": code, "message": message or code.replace("_", " ")}
    return status, {"error": body | ({"details": details} if details else {})}


REFUSALS: dict[str, Reply] = {
    "post_only_cross": error(400, "invalid_order", details="post only cross"),
    "no_cash": error(400, "insufficient_balance"),
    "not_active": error(400, "market_inactive", details="MARKET_INACTIVE"),
    "closed": error(400, "market_closed"),
    "min_size": error(400, "invalid_order_size"),
    "off_grid": error(400, "invalid_price"),
    "expired": (400, {"code": "bad_request", "message": "expiration_time is in the past"}),
    "unknown_order": error(404, "not_found"),
    "rate_limit": (429, {"error": "too many requests"}),
    "none": error(400, "ERR_7741", "moon phase"),
}


def refusal(why: str, text: str) -> Reply:
    """What a refusal of the exchange is on the wire."""
    if text.startswith("401"):
        return error(401, "authentication_error")
    if text == "user_not_found":
        return error(404, "user_not_found")
    if text == GROUP:
        return error(400, "invalid_order", details=GROUP)
    return REFUSALS.get(why, REFUSALS["not_active"])


class Desk:
    """Answers calls; what it does to orders is said on the streams as well."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.venue = sim.kalshi
        self.random = sim.world.stream("kalshi/desk")
        self.tickers = {listing.ticker: listing.market for listing in sim.listings}
        self.events = sorted({listing.event_id for listing in sim.listings})
        self.tier = self.random.choice(sorted(TIERS))
        self.renames = self.random.random() < 0.5
        self.index_ns = 0
        self.created = 0  # groups

    def handle(self, call: Call, *, admitted: bool = False) -> tuple[int, bytes]:
        """The answer to a call that arrives now; one that is `admitted` passed its credentials before."""
        self.venue.advance()
        if call.signed and not admitted and self.world.now_ns < self.venue.faults.unauthorized_until_ns:
            self.world.effect(55)
            status, body = error(401, "authentication_error")
        else:
            status, body = self._route(call)
        return status, _encode(body)

    def _route(self, call: Call) -> Reply:
        match call.method, call.path.split("/")[1:]:
            case "GET", ["portfolio", "orders", name]:
                return self.order(name)
            case "GET", _:
                return 200, self._read(call)
            case "POST", ["portfolio", "events", "orders"]:
                return self.create(msgspec.json.decode(call.body or b""))
            case "POST", ["portfolio", "events", "orders", "batched"]:
                return self._create_all(msgspec.json.decode(call.body or b""))
            case "DELETE", ["portfolio", "events", "orders", "batched"]:
                return self._cancel_all_of(msgspec.json.decode(call.body or b""))
            case "DELETE", ["portfolio", "events", "orders"]:
                self.venue.request(c.CancelAll(venue="kalshi", why="asked"))
                return 200, {}
            case "DELETE", ["portfolio", "events", "orders", name]:
                return self.cancel(name, call.query)
            case "POST", ["portfolio", "events", "orders", name, "amend"]:
                return self.amend(name, msgspec.json.decode(call.body or b""))
            case "POST", ["portfolio", "events", "orders", name, "decrease"]:
                return self.decrease(name, msgspec.json.decode(call.body or b""))
            case "POST", ["portfolio", "order_groups", "create"]:
                return self._create_group(msgspec.json.decode(call.body or b""))
            case "PUT", ["portfolio", "order_groups", name, "reset"]:
                return self._reset_group(name)
        raise AssertionError(f"no such call: {call.method} {call.path}")

    # --- orders

    def create(self, body: Body) -> Reply:
        """A new order."""
        number = int(body["client_order_id"].rpartition("-")[2])
        market = self.tickers[body["ticker"]]
        self.sim.rules.order_arrives(number)
        if self.venue.exchange.truth.orders.get(number) is not None:
            self.world.effect(108)
            return error(409, "order_already_exists")
        if reply := self._not_open(market):
            return reply
        group = self.venue.groups.get(body.get("order_group_id", ""))
        if group is not None:
            self.venue.group_of[number] = group
        tif = d.POST_ONLY if body.get("post_only") else TIFS[body["time_in_force"]]
        place = c.Place(
            order_id=number, market=market, side=d.BID if body["side"] == "bid" else d.ASK,
            price=read_price(body["price"]), size=read_count(body["count"]), tif=tif,
            expiry_ns=body.get("expiration_time", 0) * SECOND,
        )  # fmt: skip
        return self._placed(place, self.venue.request(place))

    def _not_open(self, market: int) -> Reply | None:
        """Why nothing can be asked for in a market."""
        if market in self.venue.closed:
            return error(400, "market_inactive", details="MARKET_INACTIVE")
        if self.venue.shard_of[market] in self.venue.down:
            self.world.effect(103)
            return error(503, "exchange_unavailable")
        return None

    def _placed(self, place: c.Place, answers: tuple[e.Control, ...]) -> Reply:
        truth = self.venue.exchange.truth
        order = truth.orders[place.order_id]
        refused = next((event for event in answers if isinstance(event, e.Refused)), None)
        if refused is not None:
            crosses = refused.why == "post_only_cross" and self.world.fires("cross_accepted")
            if not crosses and refused.why != "self_trade":
                return refusal(refused.why, refused.text)
            self.venue.crossed.add(place.order_id)
            self.world.effect(107)
            why = "SelfTradeCancel" if refused.why == "self_trade" else "PostOnlyCrossCancel"
            self.sim.session.publish_order(order, "canceled", why)
            return 201, self._created(order, 0)
        self.sim.session.publish_order(order, self._status(order), "")
        return 201, self._created(order, order.remaining if place.order_id in truth.open else 0)

    def _created(self, order: BookedOrder, remaining: int) -> Body:
        return {
            "order_id": self.venue.name(order),
            "client_order_id": self.sim.rules.client_id_of[order.order_id],
            "fill_count": count_text(order.filled),
            "remaining_count": count_text(remaining),
            "ts_ms": self.world.now_ns // MS,
        }

    def _create_all(self, body: Body) -> Reply:
        items = []
        for order in body["orders"]:
            status, said = self.create(order)
            name = {"client_order_id": order["client_order_id"]}
            if status == 201:
                items.append(said)
            elif "error" in said and isinstance(said["error"], dict):
                items.append(name | {"error": said["error"]})
            else:
                items.append(name | {"error": {"code": said.get("code", "too_many_requests"), "message": ""}})
        return 201, {"orders": items}

    def cancel(self, name: str, query: Any) -> Reply:
        """Take an order out of the book; a dead or unknown one is 404."""
        self.sim.rules.names_its_shard(query)
        order = self.venue.find(name)
        if order is None:
            return REFUSALS["unknown_order"]
        if reply := self._not_open(order.market):
            return reply
        left = order.remaining
        cancel = c.Cancel(order_id=order.order_id, market=order.market, venue_id=order.venue_id)
        answers = self.venue.request(cancel)
        if any(isinstance(event, e.Closed) for event in answers):
            return 200, {"order_id": name, "reduced_by": count_text(left), "ts_ms": self.world.now_ns // MS}
        return self._refused(answers)

    @staticmethod
    def _refused(answers: tuple[e.Control, ...]) -> Reply:
        why = next((event for event in answers if isinstance(event, e.RequestRefused)), None)
        return REFUSALS["unknown_order"] if why is None else refusal(why.why, why.text)

    def _cancel_all_of(self, body: Body) -> Reply:
        items = []
        for item in body["orders"]:
            status, said = self.cancel(item["order_id"], item)
            problem = said.get("error", said)
            if not isinstance(problem, dict):
                problem = {"code": "too_many_requests", "message": str(problem)}
            items.append(said if status == 200 else {"order_id": item["order_id"], "error": problem})
        return 200, {"orders": items}

    def amend(self, name: str, body: Body) -> Reply:
        """Another expiry in place; whatever would lose the place in the queue is not expected of us."""
        order = self.venue.find(name)
        if order is None or order.key not in self.venue.exchange.truth.open:
            return REFUSALS["unknown_order"]
        if reply := self._not_open(order.market):
            return reply
        if self.sim.venue_status != "open" or self.sim.status_of(order.market) == d.PAUSED:
            return error(409, "trading_is_paused")
        self.sim.rules.amend_arrives(order, body)
        expiry_ns = body.get("expiration_time", order.expiry_ns // SECOND) * SECOND
        renew = c.Renew(
            order_id=order.order_id, market=order.market, venue_id=order.venue_id, expiry_ns=expiry_ns
        )
        answers = self.venue.request(renew)
        if not any(isinstance(event, e.Renewed) for event in answers):
            return self._refused(answers)
        if self.renames and self.world.fires("renamed"):
            self.world.effect(109)
            self.venue.rename(order)
            self.sim.session.publish_order(order, "resting", "Amend")
        return 200, {"order_id": self.venue.name(order), "remaining_count": None, "fill_count": None}

    def decrease(self, name: str, body: Body) -> Reply:
        """Leave `reduce_to` in the book."""
        self.sim.rules.names_its_shard(body)
        order = self.venue.find(name)
        if order is None or order.key not in self.venue.exchange.truth.open:
            return REFUSALS["unknown_order"]
        if reply := self._not_open(order.market):
            return reply
        reduce = c.Reduce(
            order_id=order.order_id, market=order.market, venue_id=order.venue_id,
            remaining=read_count(body["reduce_to"]),
        )  # fmt: skip
        answers = self.venue.request(reduce)
        reduced = next((event for event in answers if isinstance(event, e.Reduced)), None)
        if reduced is None:
            return self._refused(answers)
        return 200, {"order_id": name, "remaining_count": count_text(reduced.remaining)}

    # --- order groups

    def _create_group(self, body: Body) -> Reply:
        self.created += 1
        group = Group(f"group-{self.created}", body["exchange_index"], body["contracts_limit"] * 1_000_000)
        self.venue.groups[group.name] = group
        return 201, {"order_group_id": group.name, "exchange_index": group.shard}

    def _reset_group(self, name: str) -> Reply:
        group = self.venue.groups[name]
        self.sim.rules.reset_arrives(group)
        group.fired = False
        group.window.clear()
        self.sim.say(f"the order group {name} is armed again")
        return 200, {}

    # --- reads

    def _read(self, call: Call) -> Body:
        match call.path.split("/")[1:]:
            case ["exchange", "status"]:
                return self._exchange_status()
            case ["exchange", "user_data_timestamp"]:
                return {"as_of_time": moment_text(self._index())}
            case ["account", "limits"]:
                read, write = TIERS[self.tier]
                return {
                    "usage_tier": self.tier,
                    "read": {"refill_rate": read, "bucket_capacity": 2 * read},
                    "write": {"refill_rate": write, "bucket_capacity": write},
                }
            case ["account", "endpoint_costs"]:
                cheap = [{"method": "DELETE", "path": f"{ORDERS}/{{id}}", "cost": 2}]
                return {"default_cost": 10, "endpoint_costs": cheap}
            case ["exchange", "schedule"]:
                window = self.venue.window_ns
                windows = [dict(zip(WINDOW, map(moment_text, window), strict=True))] if window else []
                return {"schedule": {"standard_hours": [], "maintenance_windows": windows}}
            case ["events"]:
                return {"events": [self._event(name) for name in self.events], "cursor": ""}
            case ["events", "fee_changes"]:
                return {"event_fee_change_arr": [], "cursor": ""}
            case ["series", "fee_changes"]:
                return {"series_fee_change_arr": []}
            case ["series", ticker]:
                fee = {"fee_type": "quadratic_with_maker_fees", "fee_multiplier": 1}
                return {"series": {"ticker": ticker, "title": ticker, **fee}}
            case ["historical", "cutoff"]:
                old = moment_text(START_NS - 14 * 86_400 * SECOND)
                return {"trades_created_ts": old, "orders_updated_ts": old}
            case ["markets"]:
                tickers = str(call.query["tickers"]).split(",")
                return {"markets": [self.market(self.tickers[t]) for t in tickers], "cursor": ""}
            case ["markets", ticker, "orderbook"]:
                return {"orderbook_fp": self._book(self.tickers[ticker])}
            case ["portfolio", what, *rest]:
                return self._account(what, rest, call)
        raise AssertionError(f"no such read: {call.path}")

    def _index(self) -> int:
        """As of when reads speak: it lags, and never runs back."""
        lag = self.random.randint(0, 300) * MS
        if self.world.fires("list_lag"):
            self.world.effect(59)
            lag = self.world.amount("list_lag", 100, 8_000) * MS
        self.index_ns = max(self.index_ns, self.world.now_ns - lag, START_NS)
        return self.index_ns

    def _exchange_status(self) -> Body:
        active = self.sim.venue_status not in ("closed", "restarting")
        trading = self.sim.venue_status == "open"
        return {
            "exchange_active": active,
            "trading_active": trading,
            "exchange_index_statuses": [
                {
                    "exchange_index": shard,
                    "exchange_active": active,
                    "trading_active": trading and shard not in self.venue.down,
                }
                for shard in self.venue.cash_of
            ],
        }

    def _event(self, name: str) -> Body:
        market = next(k for k, listing in enumerate(self.sim.listings) if listing.event_id == name)
        return {
            "event_ticker": name,
            "series_ticker": "SIM",
            "title": name,
            "mutually_exclusive": self.sim.listings[market].exclusive,
            "exchange_index": self.venue.shard_of[market],
        }

    def market(self, market: int) -> Body:
        """What a market says of itself."""
        venue, step = self.venue, STEPS[self.sim.grid_of(market)]
        state = venue.state[market]
        if state == "active" and self.sim.status_of(market) == d.PAUSED:
            state = "inactive"
        result, value = venue.result[market]
        return {
            "ticker": self.sim.listings[market].ticker,
            "event_ticker": self.sim.listings[market].event_id,
            "status": state,
            "open_time": moment_text(START_NS - SECOND),
            "close_time": moment_text(venue.close_ns[market]),
            "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": price_text(step)}],
            "market_type": "binary",
            "result": result,
            "settlement_value_dollars": None if value is None else price_text(value // 100),
            "exchange_index": venue.shard_of[market],
        }

    def _book(self, market: int) -> Body:
        bid, ask = self.sim.displayed_touch(market)
        sides: Body = {}
        if bid > 0:
            sides["yes_dollars"] = [[price_text(bid), "1.00"]]
        if ask > 0:
            sides["no_dollars"] = [[price_text(10_000 - ask), "1.00"]]
        return sides

    def _account(self, what: str, rest: list[str], call: Call) -> Body:
        at_ns, truth = self._index(), self.venue.exchange.truth
        match what, rest:
            case "orders", []:
                return {"orders": self._orders(at_ns, call), "cursor": ""}
            case "fills", []:
                since_ns = int(call.query.get("min_ts") or 0) * SECOND
                fills = truth.fills_at(at_ns, since_ns)
                return {"fills": [self._fill(fill) for fill in fills], "cursor": ""}
            case "positions", []:
                held = truth.positions_at(at_ns)
                return {"market_positions": [self._position(m, *pair) for m, pair in held.items()]}
            case "balance", []:
                cash = truth.cash_at(at_ns)
                shards = [
                    {"exchange_index": shard, "balance": money_text(micros)}
                    for shard, micros in self.venue.cash_of.items()
                ]
                return {
                    "balance": cash // 10_000,
                    "balance_dollars": money_text(cash),
                    "portfolio_value": 0,
                    "balance_breakdown": shards,
                }
        raise AssertionError(f"no such read: {call.path}")

    def order(self, name: str) -> Reply:
        """One order by Kalshi's id, as of the index."""
        at_ns, truth = self._index(), self.venue.exchange.truth
        order = self.venue.find(name)
        if order is None and name.startswith("hand-"):
            return 200, {"order": self._foreign(name)}
        if order is None or truth.placed_ns[order.key] > at_ns or not self._is_kept(order):
            return REFUSALS["unknown_order"]
        listed = next((o for o in truth.orders_at(at_ns) if o.order_id == order.order_id), None)
        return 200, {"order": self._order(order, listed)}

    def _is_kept(self, order: BookedOrder) -> bool:
        return (order.status != "refused" or order.order_id in self.venue.crossed) and (
            order.why != "rolled back"
        )

    def _orders(self, at_ns: int, call: Call) -> list[Body]:
        truth = self.venue.exchange.truth
        resting = {o.order_id: o for o in truth.orders_at(at_ns)}
        if call.query.get("status") == "resting":
            return [self._order(truth.orders[number], listed) for number, listed in resting.items()]
        market = self.tickers[str(call.query["ticker"])]
        return [
            self._order(order, resting.get(order.order_id))
            for order in truth.orders.values()
            if order.market == market and truth.placed_ns[order.key] <= at_ns and self._is_kept(order)
        ]

    @staticmethod
    def _status(order: BookedOrder) -> str:
        if order.status == "open":
            return "resting"
        return "executed" if order.why == "filled" else "canceled"

    def _order(self, order: BookedOrder, listed: e.VenueOrder | None) -> Body:
        status = "resting"
        if listed is None:
            status = "executed" if order.status == "closed" and order.why == "filled" else "canceled"
        filled = order.filled if listed is None else listed.filled
        expiry_ns = order.expiry_ns if listed is None else listed.expiry_ns
        return {
            "order_id": self.venue.name(order),
            "client_order_id": self.sim.rules.client_id_of[order.order_id],
            "ticker": self.sim.listings[order.market].ticker,
            "status": status,
            "book_side": "bid" if order.side == d.BID else "ask",
            "yes_price_dollars": price_text(order.price),
            "initial_count_fp": count_text(order.size),
            "fill_count_fp": count_text(filled),
            "remaining_count_fp": count_text(0 if listed is None else listed.remaining),
            "expiration_time": moment_text(expiry_ns) if expiry_ns else None,
            "exchange_index": self.venue.shard_of[order.market],
        }

    def _foreign(self, name: str) -> Body:
        fill = next(f for f in self.venue.exchange.truth.fills if f.venue_id == name)
        return {
            "order_id": name,
            "ticker": self.sim.listings[fill.market].ticker,
            "status": "executed",
            "book_side": "bid" if fill.side == d.BID else "ask",
            "yes_price_dollars": price_text(fill.price),
            "initial_count_fp": count_text(fill.size),
            "fill_count_fp": count_text(fill.size),
            "remaining_count_fp": "0.00",
        }

    def _fill(self, fill: e.Filled) -> Body:
        order = self.venue.exchange.truth.orders.get(fill.order_id)
        return {
            "trade_id": fill.trade_id,
            "fill_id": fill.trade_id,
            "order_id": fill.venue_id if order is None else self.venue.name(order),
            "ticker": self.sim.listings[fill.market].ticker,
            "book_side": "bid" if fill.side == d.BID else "ask",
            "count_fp": count_text(fill.size),
            "yes_price_dollars": price_text(fill.price),
            "is_taker": not fill.maker,
            "fee_cost": money_text(fill.fee_micros - fill.rebate_micros),
            "created_time": moment_text(fill.exch_ns),
            "ts": fill.exch_ns // SECOND,
        }

    def _position(self, market: int, yes: int, no: int) -> Body:
        return {
            "ticker": self.sim.listings[market].ticker,
            "position_fp": count_text(yes - no),
            "market_exposure_dollars": "0.000000",
            "realized_pnl_dollars": "0.000000",
            "fees_paid_dollars": "0.000000",
        }
