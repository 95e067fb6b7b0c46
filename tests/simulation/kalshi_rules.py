"""What must hold at Kalshi besides what holds everywhere; names as in docs/simulation.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.http import Call
from pr3dict.venues.simulated.truth import BookedOrder, Truth
from simulation.oracles import Violation
from simulation.texts import read_count, read_price
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.kalshi_venue import Group
    from simulation.simulator import Simulation

CLOSED_FOR_NS = 2_500 * MS  # the adapter looks at its clock once a second


class Rules:
    """Watches the wire to Kalshi and its truth."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.client_id_of: dict[int, str] = {}  # by order
        self._places: dict[int, c.Place] = {}
        self._expiry_ns: dict[int, int] = {}  # latest that the engine asked for, by order
        self._sent: set[str] = set()  # client order ids
        self._unsent: set[int] = set()  # orders of which the adapter said that they never left
        self._told: dict[str, int] = {}  # groups of which the process heard that they fired
        self._resumed_ns = 0
        self._closed_ns: dict[int, int] = {}  # since when the process's adapter knows that a market is closed

    def born(self) -> None:
        """A process begins; it has groups of its own."""
        self._closed_ns.clear()
        self._told.clear()

    @staticmethod
    def adapter_failed(failure: BaseException) -> None:
        """K0: no task of the adapter dies."""
        if isinstance(failure, Violation):
            raise failure
        raise Violation("K0 adapter", repr(failure)) from failure

    # --- what the engine asks for

    def leaves(self, place: c.Place) -> None:
        """A new order of the engine."""
        self._places[place.order_id] = place
        self._expiry_ns[place.order_id] = place.expiry_ns

    def renews(self, renew: c.Renew) -> None:
        """An expiry of the engine."""
        known = self._expiry_ns.get(renew.order_id, 0)
        self._expiry_ns[renew.order_id] = max(known, renew.expiry_ns)

    def resumes(self) -> None:
        """A person wants to go on."""
        self._resumed_ns = self.world.now_ns

    def decided(self, market: int, order_id: int) -> None:
        """K5: nothing is decided for a market that is known to be closed."""
        since = self._closed_ns.get(market, 0)
        process = self.sim.process
        if not since or process is None:
            return
        since = max(since, process.asleep_until_ns)
        if self.world.now_ns > since + CLOSED_FOR_NS:
            late = (self.world.now_ns - since) / SECOND
            raise Violation("K5 closed market", f"order {order_id} was decided {late:.1f} s after the close")

    # --- the wire

    def call_leaves(self, call: Call, kind: str) -> None:
        """K3, K6: a new order leaves the adapter as the engine wants it, under an id of its own."""
        if kind not in ("place", "batch"):
            return
        body = msgspec.json.decode(call.body or b"")
        for order in body["orders"] if kind == "batch" else [body]:
            self._order_leaves(order, call)

    def _order_leaves(self, order: dict[str, Any], call: Call) -> None:
        client_id = order["client_order_id"]
        number = int(client_id.rpartition("-")[2])
        if client_id in self._sent:
            raise Violation("K6 wire", f"the id {client_id} leaves twice")
        self._sent.add(client_id)
        self.client_id_of[number] = client_id
        place = self._places[number]
        said = (
            order["ticker"], order["side"], read_price(order["price"]), read_count(order["count"]),
            order["self_trade_prevention_type"], order.get("cancel_order_on_pause", False),
            order["exchange_index"], order.get("post_only", False),
        )  # fmt: skip
        meant = (
            self.sim.listings[place.market].ticker, "bid" if place.side == d.BID else "ask", place.price,
            place.size, "taker_at_cross", True, self.sim.kalshi.shard_of[place.market],
            place.tif == d.POST_ONLY,
        )  # fmt: skip
        if said != meant:
            raise Violation("K6 wire", f"order {number} leaves as {said}, the engine asked for {meant}")
        if place.tif == d.POST_ONLY and place.expiry_ns and not order.get("expiration_time"):
            raise Violation("K1 expiry", f"order {number} leaves without an expiry")
        if "batched" not in call.path and call.shard != order["exchange_index"]:
            raise Violation("K6 wire", f"order {number} is paid from the bucket of shard {call.shard}")
        group = order.get("order_group_id")
        if self.sim.options.group_limit and place.tif == d.POST_ONLY and not group:
            raise Violation("K3 group", f"order {number} belongs to no order group")
        if group in self._told:
            raise Violation("K3 group", f"order {number} leaves though {group} has fired and nobody resumed")

    def order_arrives(self, number: int) -> None:
        """K8: what never left does not arrive."""
        if number in self._unsent:
            raise Violation("K8 evidence", f"order {number} arrives, but was said never to have left")

    def names_its_shard(self, fields: Any) -> None:
        """K6: an order's id alone is looked for on shard 0."""
        if fields.get("exchange_index") is None and not fields.get("market_ticker"):
            raise Violation("K6 wire", f"neither shard nor market is named: {fields}")

    def amend_arrives(self, order: BookedOrder, body: dict[str, Any]) -> None:
        """K2: a renewal changes nothing but the expiry, or the place in the queue is lost."""
        said = (read_price(body["price"]), read_count(body["count"]))
        total = order.filled + order.remaining
        if said != (order.price, total):
            text = f"order {order.order_id} has price and total {(order.price, total)}, amended to {said}"
            raise Violation("K2 amend", text)

    # --- order groups

    def group_told(self, name: str) -> None:
        """The process hears that a group fired."""
        if name in self.sim.kalshi.groups and self.sim.kalshi.groups[name].fired:
            self._told[name] = self.world.now_ns

    def reset_arrives(self, group: Group) -> None:
        """K3: only a person's resume arms a group again."""
        self._told.pop(group.name, None)
        if group.fired and self._resumed_ns < group.fired_ns:
            raise Violation("K3 group", f"{group.name} is armed again, but nobody resumed")

    # --- what the adapter says

    def said(self, event: e.Control) -> None:
        """K8: what the adapter calls a fact is one, unless the venue itself has lied."""
        match event:
            case e.Refused() | e.NotSent():
                if isinstance(event, e.NotSent):
                    self._unsent.add(event.order_id)
                order = self._truth.orders.get(event.order_id)
                if order is not None and order.status != "refused":
                    raise Violation("K8 evidence", f"{event}, but the venue took the order")
            case e.Accepted() | e.Closed():
                self._stands(event)
            case e.Filled():
                self._traded(event)
            case e.Settled():
                paid = self.sim.venue.exchange.settled.get(event.market)
                if paid is not None and paid != event:
                    raise Violation("K8 evidence", f"{event}, but the venue paid {paid}")
            case _:
                pass

    @property
    def _truth(self) -> Truth:
        truth: Truth = self.sim.venue.exchange.truth
        return truth

    def _stands(self, event: e.Accepted | e.Closed) -> None:
        order = self._truth.orders.get(event.order_id)
        if event.order_id in self.sim.oracles.lies:
            return
        if order is None or (order.status == "refused" and event.order_id not in self.sim.kalshi.crossed):
            raise Violation("K8 evidence", f"{event}, but the venue never took the order")
        if isinstance(event, e.Closed) and order.status == "open":
            raise Violation("K8 evidence", f"{event}, but the order rests with {order.remaining}")
        if event.filled > order.filled or (isinstance(event, e.Closed) and 0 <= event.filled < order.filled):
            raise Violation("K8 evidence", f"{event}, but {order.filled} traded")

    def _traded(self, event: e.Filled) -> None:
        fill = next((f for f in reversed(self._truth.fills) if f.trade_id == event.trade_id), None)
        if fill is None:
            raise Violation("K8 evidence", f"{event}, but there was no such trade")
        said = (event.order_id, event.market, event.side, event.size, event.maker)
        if said != (fill.order_id, fill.market, fill.side, fill.size, fill.maker):
            raise Violation("K8 evidence", f"{event} stands for {fill}")

    # --- each second

    def second(self) -> None:
        """K1, K4, K7 on the venue's truth."""
        venue = self.sim.kalshi
        for order in venue.open_orders():
            asked_ns = self._expiry_ns.get(order.order_id, 0)
            if order.expiry_ns == 0 or order.expiry_ns > asked_ns:
                late = (order.expiry_ns - asked_ns) / SECOND
                raise Violation(
                    "K1 expiry", f"order {order.order_id} rests {late:.3f} s longer than asked for"
                )
        if sum(venue.cash_of.values()) != venue.exchange.cash_micros:
            text = f"shards hold {venue.cash_of}, the account {venue.exchange.cash_micros}"
            raise Violation("K4 shards", text)
        for market, net in enumerate(venue.net_of):
            if venue.net(market) != net:
                raise Violation("K7 netting", f"market {market}: {net} by fills, {venue.net(market)} held")
        self._engine_nets()
        self._note_closes()

    def _engine_nets(self) -> None:
        process = self.sim.process
        if process is None or not process.began:
            return
        for market in range(len(process.engine.listings)):
            held = process.engine.account.position(market)
            if held.yes_contracts and held.no_contracts:
                raise Violation("K7 netting", f"market {market}: the engine holds {held}")

    def _note_closes(self) -> None:
        wire, process = self.sim.session.wire, self.sim.process
        if wire is None or process is None:
            return
        now_ns = process.time_now()
        for market in range(self.sim.options.markets):
            if wire.lives.of_row(market).close_ns <= now_ns:
                self._closed_ns.setdefault(market, self.world.now_ns)
            else:
                self._closed_ns.pop(market, None)
