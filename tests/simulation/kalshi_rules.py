"""What must hold at Kalshi besides what holds everywhere; names as in docs/simulation.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.http import Call
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.adapter_rules import AdapterRules
from simulation.oracles import Violation
from simulation.texts import read_count, read_price

if TYPE_CHECKING:
    from simulation.kalshi_venue import Group
    from simulation.simulator import Simulation


class Rules(AdapterRules):
    """Watches the wire to Kalshi and its truth."""

    letter = "K"

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.client_id_of: dict[int, str] = {}  # by order
        self._sent: set[str] = set()  # client order ids
        self._told: dict[str, int] = {}  # groups of which the process heard that they fired
        self._resumed_ns = 0

    def born(self) -> None:
        """A process begins; it has groups of its own."""
        super().born()
        self._told.clear()

    def resumes(self) -> None:
        self._resumed_ns = self.world.now_ns

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
        place = self.places[number]
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

    def was_taken(self, order_id: int) -> bool:
        return super().was_taken(order_id) or order_id in self.sim.kalshi.crossed

    # --- each second

    def second(self) -> None:
        """K1, K4, K7 on the venue's truth."""
        super().second()
        venue = self.sim.kalshi
        if sum(venue.cash_of.values()) != venue.exchange.cash_micros:
            text = f"shards hold {venue.cash_of}, the account {venue.exchange.cash_micros}"
            raise Violation("K4 shards", text)
        for market, net in enumerate(venue.net_of):
            if venue.net(market) != net:
                raise Violation("K7 netting", f"market {market}: {net} by fills, {venue.net(market)} held")
        self._engine_nets()

    def _engine_nets(self) -> None:
        process = self.sim.process
        if process is None or not process.began:
            return
        for market in range(len(process.engine.listings)):
            held = process.engine.account.position(market)
            if held.yes_contracts and held.no_contracts:
                raise Violation("K7 netting", f"market {market}: the engine holds {held}")

    def knows_close(self, wire: Any, market: int, now_ns: int) -> bool:
        return bool(wire.lives.of_row(market).close_ns <= now_ns)
