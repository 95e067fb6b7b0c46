"""Polymarket's REST APIs over the modelled venue: a call comes in, a status and a body of JSON go out.

Writes speak of now; lists lag a second at most and never say so; balances are those of the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.models import clob_condition
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.polymarket_texts import (
    OWNER,
    STRANGER,
    WALLET,
    condition_of,
    digest_of,
    leg_of,
    size_text,
    tokens_of,
)
from simulation.texts import moment_text, plain_text, read_plain
from simulation.world import MS, SECOND, START_NS

if TYPE_CHECKING:
    from simulation.simulator import Simulation

Body = dict[str, Any]
Reply = tuple[int, Any]
END = "LTE="
_encode = msgspec.json.Encoder().encode

WORDS = {  # why the exchange refuses, in Polymarket's words
    "post_only_cross": "invalid post-only order: order crosses book",
    "self_trade": "invalid post-only order: order crosses book",
    "no_cash": "not enough balance / allowance: the balance is not enough -> balance: 1, order amount: 2",
    "not_held": "not enough balance / allowance: the balance is not enough -> balance: 1, order amount: 2",
    "not_active": "the market is not yet ready to process new orders",
    "closed": "the market is closed",
    "min_size": "Size (1) lower than the minimum: 5",
    "off_grid": "order has invalid price, breaks minimum tick size rule: 0.01",
    "expired": "invalid expiration value",
    "unfilled_ioc": "no orders found to match with FAK order. FAK orders are partially filled or killed",
    "none": "ERR_7741: moon phase",
}


class Desk:
    """Answers calls; what it does to orders is said on the account's channel as well."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.venue = sim.polymarket
        self.random = sim.world.stream("polymarket/desk")
        self.rows = {condition_of(m): m for m in range(sim.options.markets)}
        self.tokens = {t: (m, bool(k)) for m in self.rows.values() for k, t in enumerate(tokens_of(m))}
        self.prefixed = self.random.random() < 0.5  # ORDER_STATUS_LIVE or LIVE
        self.in_units = self.random.random() < 0.2  # sizes of orders in base units

    def handle(self, call: Call, *, admitted: bool = False) -> tuple[int, bytes]:
        """The answer to a call that arrives now; one that is `admitted` passed its credentials before."""
        self.venue.advance()
        refused = self.world.now_ns < self.venue.faults.unauthorized_until_ns
        if call.auth == "l2" and refused and not admitted:
            self.world.effect(55)
            status, body = 401, {"error": "Unauthorized/Invalid api key"}
        else:
            status, body = self._route(call)
        return status, _encode(body)

    def _route(self, call: Call) -> Reply:
        sent = msgspec.json.decode(call.body) if call.body else None
        match call.method, call.path:
            case "POST", "/order":
                return self.create(sent)
            case "POST", "/orders":
                return 200, [self._leg(*self.create(order)) for order in sent]
            case "DELETE", "/order":
                return self._cancel([sent["orderID"]])
            case "DELETE", "/orders":
                return self._cancel(sent)
            case "DELETE", "/cancel-all":
                return 200, self._cancel_all()
            case "POST", "/v1/heartbeats":
                return self.venue.beat(sent["heartbeat_id"])
            case "POST", "/books":
                return 200, [self.book(one["token_id"]) for one in sent]
            case "GET", _:
                return self._read(call)
        raise AssertionError(f"no such call: {call.method} {call.path}")

    # --- orders

    def create(self, body: Body) -> Reply:
        """A new order, alone or one of a batch."""
        signed = body["order"]
        number = self.sim.rules.number_of(signed)
        place = self.sim.rules.places[number]
        neg_risk = self.venue.neg_risk(place.market)
        digest = digest_of(signed, neg_risk=neg_risk)
        self.sim.rules.order_arrives(number)
        if self.venue.exchange.truth.orders.get(number) is not None:
            self.world.effect(201)
            return 400, {"error": f"order {digest} is invalid. Duplicated."}
        self.venue.named(number, digest)
        restriction = self.venue.restriction(place.market, post_only=body["postOnly"])
        if restriction is not None:
            return restriction
        ends_ns = int(signed["expiration"]) * SECOND
        if ends_ns and ends_ns < self.world.now_ns + 180 * SECOND:
            return 400, {"error": WORDS["expired"]}
        tifs = {"GTC": d.LIMIT, "GTD": d.LIMIT, "FAK": d.IOC, "FOK": d.FOK}
        order = msgspec.structs.replace(
            place,
            tif=d.POST_ONLY if body["postOnly"] else tifs[body["orderType"]],
            expiry_ns=ends_ns - 60 * SECOND if ends_ns else 0,
        )
        return self._placed(order, digest, self.venue.request(order))

    def _placed(self, place: c.Place, digest: str, answers: tuple[e.Control, ...]) -> Reply:
        order = self.venue.exchange.truth.orders[place.order_id]
        refused = next((event for event in answers if isinstance(event, e.Refused)), None)
        if refused is not None:
            return self._refusal(refused.why, refused.text)
        if place.tif in (d.IOC, d.FOK) and not order.filled:
            order.status = "refused"  # there never was one
            return self._refusal("unfilled_ioc", "")
        rests = place.order_id in self.venue.exchange.truth.open
        if rests:
            self.sim.session.publish_order(order, "PLACEMENT", "LIVE")
        money, tokens = self.venue.traded(order)
        making, taking = (tokens, money) if place.sell else (money, tokens)
        return 200, {
            "success": True, "errorMsg": "", "orderID": digest,
            "status": "live" if rests else "matched",
            "makingAmount": size_text(making) if tokens else "",
            "takingAmount": size_text(taking) if tokens else "",
        }  # fmt: skip

    def _refusal(self, why: str, text: str) -> Reply:
        if text.startswith("401"):
            return 401, {"error": "Unauthorized/Invalid api key"}
        if why == "rate_limit":
            return 429, {"error": "Too Many Requests"}
        if "group" in text:
            return 400, {"error": "address in closed only mode"}
        if text == "paused":
            return 503, {"error": "Trading is currently cancel-only. New orders are not accepted"}
        return 400, {"error": WORDS.get(why, WORDS["not_active"])}

    @staticmethod
    def _leg(status: int, body: Body) -> Body:
        if status == 200:
            return body
        said = body.get("error") or "Service is in post-only mode"
        return {"success": status == 400, "errorMsg": said, "orderID": "", "status": ""}

    def _cancel(self, digests: list[str]) -> Reply:
        """Take orders out of the book; one that is gone is said to be, with its reason."""
        canceled, left = [], {}
        for digest in digests:
            order = self.venue.find(digest)
            if order is None:
                left[digest] = "order not found"
                continue
            cancel = c.Cancel(order_id=order.order_id, market=order.market, venue_id=order.venue_id)
            answers = self.venue.request(cancel)
            refused = next((event for event in answers if isinstance(event, e.RequestRefused)), None)
            if refused is None:
                canceled.append(digest)
            elif refused.why == "rate_limit" or refused.text.startswith("401"):
                return self._refusal(refused.why, refused.text)
            else:
                left[digest] = "order can't be found - already canceled or matched"
        return 200, {"canceled": canceled, "not_canceled": left}

    def _cancel_all(self) -> Body:
        before = [order.order_id for order in self.venue.open_orders() if order.order_id]
        self.venue.request(c.CancelAll(venue="polymarket", why="asked"))
        gone = [n for n in before if n not in self.venue.exchange.truth.open]
        return {"canceled": [self.venue.digests[n] for n in gone], "not_canceled": {}}

    # --- reads

    def _read(self, call: Call) -> Reply:
        query = call.query
        match call.path.split("/")[1:]:
            case ["time"]:
                return 200, self.world.now_ns // SECOND
            case ["book"]:
                return 200, self.book(str(query["token_id"]))
            case ["v1", "user", "rate-limit-tier"]:
                return 200, {"tier": "Standard"}
            case ["markets", "keyset"]:
                return 200, self._catalogue(call)
            case ["markets", condition]:
                return 200, self._verbose(self.rows[condition])
            case ["data", "orders"]:
                return 200, self._page(self._orders(query.get("market")))
            case ["data", "order", digest]:
                return self._order(digest)
            case ["data", "trades"]:
                return 200, self._page(self._trades(int(str(query.get("after") or 0)), query.get("market")))
            case ["balance-allowance", *_]:
                token = query.get("token_id")
                held = self.venue.balance(*self.tokens[str(token)]) if token else self.venue.dollars()
                return 200, {"balance": str(held), "allowances": {}}
        raise AssertionError(f"no such read: {call.path}")

    @staticmethod
    def _page(entries: list[Body]) -> Body:
        return {"data": entries, "next_cursor": END, "limit": 100, "count": len(entries)}

    def _index(self) -> int:
        """As of when lists speak: up to a second ago."""
        lag = self.random.randint(0, 200) * MS
        if self.world.fires("list_lag"):
            self.world.effect(59)
            lag = self.world.amount("list_lag", 100, 900) * MS
        return max(self.world.now_ns - lag, START_NS)

    def _status(self, word: str) -> str:
        return f"ORDER_STATUS_{word}" if self.prefixed else word

    def _orders(self, condition: Any) -> list[Body]:
        at_ns, truth = self._index(), self.venue.exchange.truth
        asked = None if condition is None else self.rows[clob_condition(str(condition))]
        return [
            self._listed(truth.orders[listed.order_id], listed.filled, "LIVE")
            for listed in truth.orders_at(at_ns)
            if asked in (None, listed.market)
        ]

    def _order(self, digest: str) -> Reply:
        """One order by its digest, also one that is over."""
        at_ns, truth = self._index(), self.venue.exchange.truth
        if digest in self.venue.hands:
            return 200, self._foreign(digest)
        order = self.venue.find(digest)
        known = order is not None and order.status != "refused" and order.why != "rolled back"
        if order is None or not known or truth.placed_ns[order.key] > at_ns:
            return 404, {"error": f"order not found: {digest}"}
        listed = next((o for o in truth.orders_at(at_ns) if o.order_id == order.order_id), None)
        if listed is not None:
            return 200, self._listed(order, listed.filled, "LIVE")
        return 200, self._listed(order, order.filled, "MATCHED" if order.why == "filled" else "CANCELED")

    def _listed(self, order: BookedOrder, filled: int, word: str) -> Body:
        leg, scale = leg_of(order), 1_000_000 if self.in_units else 1
        placed_ns = self.venue.exchange.truth.placed_ns[order.key]
        return {
            "id": self.venue.digests[order.order_id], "status": self._status(word), "owner": OWNER,
            "maker_address": WALLET, "market": condition_of(order.market), "asset_id": leg.token,
            "side": leg.side, "original_size": size_text(order.size * scale),
            "size_matched": size_text(filled * scale), "price": leg.price, "outcome": "Yes",
            "order_type": "GTD", "expiration": str(order.expiry_ns // SECOND + 60),
            "created_at": placed_ns // SECOND,
        }  # fmt: skip

    def _foreign(self, digest: str) -> Body:
        fill = self.venue.hands[digest]
        leg = leg_of(fill)
        return {
            "id": digest, "status": self._status("MATCHED"), "owner": OWNER, "maker_address": WALLET,
            "market": condition_of(fill.market), "asset_id": leg.token, "side": leg.side,
            "original_size": size_text(fill.size), "size_matched": size_text(fill.size), "price": leg.price,
            "created_at": fill.exch_ns // SECOND,
        }  # fmt: skip

    def _trades(self, after_s: int, condition: Any) -> list[Body]:
        at_ns, truth = self._index(), self.venue.exchange.truth
        asked = None if condition is None else self.rows[clob_condition(str(condition))]
        since_ns = after_s * SECOND
        fills = [*truth.fills_at(at_ns, since_ns), *truth.voids_at(at_ns, since_ns)]
        return [
            self.trade(fill)
            for fill in fills
            if asked in (None, fill.market) and truth.void.get(fill.trade_id) != "ghost"
        ]

    def trade(self, fill: e.Filled, state: str = "") -> Body:
        """A trade of ours, told in the taker's words."""
        leg, ours, venue = leg_of(fill), self.venue.digest_of_fill(fill), self.venue
        takes = not fill.maker
        other = self._other(fill, leg)
        rows = [other] if takes else [self._row(ours, leg, fill.size, mine=True)]
        decoy = not takes and venue.draw(fill.trade_id, 2) == 0
        if decoy:  # somebody else's order was taken with ours
            rows.append(self._row("0x" + "dd" * 32, leg, 3_000_000, mine=False))
        top = leg._asdict() if takes else {k: other[v] for k, v in _TOP.items()}
        return {
            "id": fill.trade_id,
            "taker_order_id": ours if takes else "0x" + "ee" * 32,
            "market": condition_of(fill.market), "asset_id": top["token"], "side": top["side"],
            "size": size_text(fill.size + 3_000_000 * decoy), "price": top["price"], "fee_rate_bps": "0",
            "status": state or venue.stage_of(fill), "match_time": str(fill.exch_ns // SECOND),
            "last_update": str(self.world.now_ns // SECOND), "owner": OWNER if takes else STRANGER,
            "maker_address": WALLET if takes else "0x" + "77" * 20,
            "trader_side": "TAKER" if takes else "MAKER", "maker_orders": rows,
        }  # fmt: skip

    def _other(self, fill: e.Filled, leg: Any) -> Body:
        """Whom we met: he trades the same token the other way, or the other token the same way."""
        yes, no = tokens_of(fill.market)
        if self.venue.draw(fill.trade_id, 2):
            side = "BUY" if leg.side == "SELL" else "SELL"
            return self._row("0x" + "cc" * 32, leg._replace(side=side), fill.size, mine=False)
        price = plain_text(10_000 - read_plain(leg.price, 4), 4)
        met = leg._replace(token=no if leg.token == yes else yes, price=price)
        return self._row("0x" + "cc" * 32, met, fill.size, mine=False)

    @staticmethod
    def _row(digest: str, leg: Any, size: int, *, mine: bool) -> Body:
        return {
            "order_id": digest, "owner": OWNER if mine else STRANGER,
            "maker_address": WALLET if mine else "0x" + "77" * 20, "matched_amount": size_text(size),
            "price": leg.price, "asset_id": leg.token, "outcome": "Yes", "side": leg.side,
        }  # fmt: skip

    # --- markets

    def book(self, token: str) -> Body:
        """The touch of a token as both sides of a book."""
        market, is_no = self.tokens[token]
        bid, ask = self.sim.displayed_touch(market)
        if is_no:
            bid, ask = (10_000 - p if p > 0 else -1 for p in (ask, bid))
        sides = ([{"price": plain_text(p, 4), "size": "1"}] if p > 0 else [] for p in (bid, ask))
        bids, asks = sides
        return {
            "market": condition_of(market), "asset_id": token, "timestamp": str(self.world.now_ns // MS),
            "bids": bids, "asks": asks,
        }  # fmt: skip

    def _catalogue(self, call: Call) -> Body:
        asked: Any = call.query.get("condition_ids") or ()
        closed = call.query.get("closed") is True
        rows = [self.rows[clob_condition(name)] for name in asked]
        return {"markets": [self.market(m) for m in rows if self.venue.over[m] == closed]}

    def market(self, market: int) -> Body:
        """What the catalogue says of a market."""
        venue, listing = self.venue, self.sim.listings[market]
        yes, no = tokens_of(market)
        value = self.sim.paid.get(market)
        prices = ["0.5", "0.5"] if value is None else [plain_text(v, 6) for v in (value, 1_000_000 - value)]
        is_v2 = market % 3 == 2
        return {
            "id": str(market + 1), "conditionId": condition_of(market), "slug": f"market-{market}",
            "question": listing.title, "version": "v2" if is_v2 else "v1", "active": True,
            "closed": venue.over[market],
            "acceptingOrders": not venue.over[market] and self.sim.status_of(market) != d.PAUSED,
            "enableOrderBook": True, "outcomes": '["Yes", "No"]',
            "outcomePrices": _encode(prices).decode(),
            ("positionIds" if is_v2 else "clobTokenIds"): _encode([yes, no]).decode(),
            "endDate": moment_text(listing.resolution_ns),
            "orderPriceMinTickSize": venue.tick(market) / 10_000,
            "orderMinSize": 1, "negRisk": venue.neg_risk(market),
            **({"negRiskMarketID": listing.event_id} if venue.neg_risk(market) else {}),
            "feesEnabled": True,
            "feeSchedule": {"rate": 0.02, "exponent": 1, "takerOnly": True, "rebateRate": 0},
            "umaResolutionStatus": "resolved" if value is not None else venue.uma[market],
            "events": [{"id": str(market)}],
        }  # fmt: skip

    def _verbose(self, market: int) -> Body:
        value = self.sim.paid.get(market)
        wins = (value == 1_000_000, value == 0)
        return {
            "condition_id": condition_of(market), "active": True, "closed": self.venue.over[market],
            "accepting_orders": self.sim.status_of(market) == d.ACTIVE,
            "tokens": [{"token_id": t, "winner": w} for t, w in zip(tokens_of(market), wins, strict=True)],
            "is_50_50_outcome": value == 500_000,
        }  # fmt: skip


_TOP = {"token": "asset_id", "side": "side", "price": "price"}
