"""Reads over the request link: lists that lag, tear or fail, each with the time that it speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

NAMES = {
    c.ReadOrders: "orders",
    c.ReadOrder: "order",
    c.ReadFills: "fills",
    c.ReadPositions: "positions",
    c.ReadBalance: "balance",
    c.ReadBook: "book",
}


class Reads:
    """Answers the engine's reads from the exchange's present or recent past."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.random = sim.world.stream("network/reads")
        self.count = 0

    def soon(self) -> None:
        """Nothing: the engine itself decides when it reads (the stream's copy comes later)."""

    def ask(self, command: c.Action) -> None:
        """A read leaves."""
        process = self.sim.process
        if process is None:
            return  # it ended with this very turn
        self.count += 1
        asked = process.time_now()
        there = self.random.randint(5 * MS, 60 * MS)
        if self.world.fires("read_failed") or self.world.now_ns < self.sim.session.cut_until_ns:
            self.world.after(there + SECOND, self._fail, self.sim.life, command, "timeout")
            return
        self.world.after(there, self._arrive, self.sim.life, command, asked)

    def _fail(self, life: int, command: c.Action, why: str) -> None:
        process = self.sim.process
        if process is not None and life == self.sim.life:
            read = NAMES[type(command)]
            process.put(e.ReadFailed(venue=self.sim.options.venue, read=read, why=why))  # type: ignore[arg-type]

    def _arrive(self, life: int, command: c.Action, asked_ns: int) -> None:
        if self.world.now_ns < self.sim.venue.faults.unauthorized_until_ns:
            self.world.effect(55)
            self._fail(life, command, "401 unauthorized")
            return
        self.sim.venue.advance()
        lag = 0
        if self.world.fires("list_lag"):
            self.world.effect(59)
            lag = self.world.amount("list_lag", 100, 8_000) * MS
        elif isinstance(command, c.ReadOrders) and self.world.fires("list_old_half"):
            self.world.effect(16)
            lag = self.world.amount("list_old_half", 20, 1_500) * MS
        at = self.world.now_ns - lag
        answers = self._answers(command, asked_ns, at)
        self.world.after(self.random.randint(5 * MS, 60 * MS), self._answer, life, answers)

    def _answer(self, life: int, answers: list[e.Control]) -> None:
        process = self.sim.process
        if (
            process is not None
            and life == self.sim.life
            and self.world.now_ns >= self.sim.session.cut_until_ns
        ):
            for answer in answers:
                process.put(answer)

    def _answers(self, command: c.Action, asked_ns: int, at_ns: int) -> list[e.Control]:
        """The answer as of `at_ns` of the venue's clock, told in ours, never later than we asked."""
        truth = self.sim.venue.exchange.truth
        venue = self.sim.options.venue
        offset = self.sim.clock.offset_ns()
        when = {"asked_ns": asked_ns, "as_of_ns": min(at_ns + offset, asked_ns)}
        if isinstance(command, c.ReadOrders):
            return [e.OrdersRead(venue=venue, orders=truth.orders_at(at_ns), **when)]
        if isinstance(command, c.ReadOrder):
            return [self._order(command, at_ns, when)]
        if isinstance(command, c.ReadFills):
            since = command.since_ns - offset
            fills = truth.fills_at(at_ns, since)
            voids = [
                e.FillVoided(market=fill.market, trade_id=fill.trade_id, why=truth.void[fill.trade_id])
                for fill in truth.voids_at(at_ns, since)
                if truth.void[fill.trade_id] != "ghost"
            ]
            read = e.FillsRead(venue=venue, since_ns=command.since_ns, fills=fills, **when)
            return [*voids, read]
        if isinstance(command, c.ReadPositions):
            held = truth.positions_at(at_ns)
            positions = tuple(
                e.VenuePosition(market=m, yes_contracts=yes, no_contracts=no) for m, (yes, no) in held.items()
            )
            return [e.PositionsRead(venue=venue, positions=positions, **when)]
        if isinstance(command, c.ReadBalance):
            return [e.BalanceRead(venue=venue, cash_micros=truth.cash_at(at_ns), **when)]
        if isinstance(command, c.ReadBook):
            bid, ask = self.sim.displayed_touch(command.market)
            when["as_of_ns"] = asked_ns
            return [e.BookRead(market=command.market, bid_price=bid, ask_price=ask, **when)]
        raise TypeError(f"no read: {command}")

    def _order(self, command: c.ReadOrder, at_ns: int, when: dict[str, int]) -> e.OrderRead:
        truth = self.sim.venue.exchange.truth
        number = command.order_id
        listed = next((o for o in truth.orders_at(at_ns) if o.order_id == number), None)
        if listed is not None:
            return e.OrderRead(
                order_id=number,
                status="open",
                venue_id=listed.venue_id,
                remaining=listed.remaining,
                filled=listed.filled,
                **when,
            )
        known = truth.orders.get(number)
        is_old = known is not None and known.status == "closed" and number not in truth.open
        if known is None or not is_old or known.why == "rolled back" or self.sim.forgets_closed:
            return e.OrderRead(order_id=number, status="not_found", **when)
        return e.OrderRead(
            order_id=number, status="closed", venue_id=known.venue_id, filled=known.filled, **when
        )
