"""What must hold behind any real adapter: it lives, says only what is so, and sends what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.venues.simulated.truth import Truth
from simulation.oracles import Violation
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from pr3dict.domain.steps import Step
    from simulation.simulator import Simulation

CLOSED_FOR_NS = 2_500 * MS  # an adapter looks at its clock once a second


class AdapterRules:
    """Watches the wire to a venue and its truth; `letter` begins the names of its invariants."""

    letter = ""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.places: dict[int, c.Place] = {}
        self.expiry_ns: dict[int, int] = {}  # latest that the engine asked for, by order
        self._unsent: set[int] = set()  # orders of which the adapter said that they never left
        self._closed_ns: dict[int, int] = {}  # since when the process's adapter knows that a market is closed

    def violation(self, name: str, text: str) -> Violation:
        """The invariant of this venue that is broken."""
        return Violation(f"{self.letter}{name}", text)

    def born(self) -> None:
        """A process begins."""
        self._closed_ns.clear()

    def adapter_failed(self, failure: BaseException) -> None:
        """0: no task of the adapter dies."""
        if isinstance(failure, Violation):
            raise failure
        raise self.violation("0 adapter", repr(failure)) from failure

    # --- what the engine asks for

    def leaves(self, place: c.Place) -> None:
        """A new order of the engine."""
        self.places[place.order_id] = place
        self.expiry_ns[place.order_id] = place.expiry_ns

    def renews(self, renew: c.Renew) -> None:
        """An expiry of the engine."""
        known = self.expiry_ns.get(renew.order_id, 0)
        self.expiry_ns[renew.order_id] = max(known, renew.expiry_ns)

    def resumes(self) -> None:
        """A person wants to go on."""

    def decided(self, market: int, order_id: int) -> None:
        """5: nothing is decided for a market that is known to be closed."""
        self._note_closes()  # a close that moved this instant counts
        since = self._closed_ns.get(market, 0)
        process = self.sim.process
        if not since or process is None:
            return
        since = max(since, process.asleep_until_ns)
        if self.world.now_ns > since + CLOSED_FOR_NS:
            late = (self.world.now_ns - since) / SECOND
            text = f"order {order_id} was decided {late:.1f} s after the close"
            raise self.violation("5 closed market", text)

    def stepped(self, step: Step) -> None:
        """A step was made."""

    # --- the wire

    def call_leaves(self, call: Any, kind: str) -> None:
        """A request leaves the adapter."""

    def order_arrives(self, number: int) -> None:
        """8: what never left does not arrive."""
        if number in self._unsent:
            raise self.violation("8 evidence", f"order {number} arrives, but was said never to have left")

    # --- what the adapter says

    def said(self, event: e.Control) -> None:
        """8: what the adapter calls a fact is one, unless the venue itself has lied."""
        match event:
            case e.Refused() | e.NotSent():
                if isinstance(event, e.NotSent):
                    self._unsent.add(event.order_id)
                order = self._truth.orders.get(event.order_id)
                if order is not None and order.status != "refused":
                    raise self.violation("8 evidence", f"{event}, but the venue took the order")
            case e.Accepted() | e.Closed():
                self._stands(event)
            case e.Filled():
                self.traded(event, event.trade_id)
            case e.Settled():
                paid = self.sim.venue.exchange.settled.get(event.market)
                if paid is not None and paid != event:
                    raise self.violation("8 evidence", f"{event}, but the venue paid {paid}")
            case _:
                pass

    @property
    def _truth(self) -> Truth:
        truth: Truth = self.sim.venue.exchange.truth
        return truth

    def was_taken(self, order_id: int) -> bool:
        """Whether the venue ever took an order."""
        order = self._truth.orders.get(order_id)
        return order is not None and order.status != "refused"

    def _stands(self, event: e.Accepted | e.Closed) -> None:
        if event.order_id in self.sim.oracles.lies:
            return
        if not self.was_taken(event.order_id):
            raise self.violation("8 evidence", f"{event}, but the venue never took the order")
        order = self._truth.orders[event.order_id]
        if isinstance(event, e.Closed) and order.status == "open":
            raise self.violation("8 evidence", f"{event}, but the order rests with {order.remaining}")
        if event.filled > order.filled or (isinstance(event, e.Closed) and 0 <= event.filled < order.filled):
            raise self.violation("8 evidence", f"{event}, but {order.filled} traded")

    def traded(self, event: e.Filled, trade_id: str) -> None:
        """A fill is one of the venue's, whose name there is `trade_id`."""
        fill = next((f for f in reversed(self._truth.fills) if f.trade_id == trade_id), None)
        if fill is None:
            raise self.violation("8 evidence", f"{event}, but there was no such trade")
        said = (event.order_id, event.market, event.side, event.size, event.maker)
        if said != (fill.order_id, fill.market, fill.side, fill.size, fill.maker):
            raise self.violation("8 evidence", f"{event} stands for {fill}")

    def finish(self) -> None:
        """Everything is quiet."""

    # --- each second

    def second(self) -> None:
        """1: no order rests beyond the expiry that was asked for; and who knows of which close."""
        for order in self.sim.venue.open_orders():
            asked_ns = self.expiry_ns.get(order.order_id, 0)
            if order.expiry_ns == 0 or order.expiry_ns > asked_ns:
                late = (order.expiry_ns - asked_ns) / SECOND
                text = f"order {order.order_id} rests {late:.3f} s longer than asked for"
                raise self.violation("1 expiry", text)
        self._note_closes()

    def _note_closes(self) -> None:
        wire, process = self.sim.session.wire, self.sim.process
        if wire is None or process is None:
            return
        for market in range(self.sim.options.markets):
            if self.knows_close(wire, market, process.time_now()):
                self._closed_ns.setdefault(market, self.world.now_ns)
            else:
                self._closed_ns.pop(market, None)

    def knows_close(self, wire: Any, market: int, now_ns: int) -> bool:
        """Whether the adapter knows that nothing can be asked for in a market any more."""
        raise NotImplementedError
