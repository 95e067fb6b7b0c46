"""Requests on the wire: how a new order, a cancel or an amendment gets there and back, or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from simulation.network import Wire
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

Change = c.Cancel | c.Reduce | c.Renew
REQUESTS = {c.Cancel: "cancel", c.Reduce: "reduce", c.Renew: "renew"}


class Requests:
    """Sends requests and brings answers back to the process that asked."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.wire = Wire(sim.world)
        self._batch_failed: set[int] = set()
        self._batch_blank: set[int] = set()

    def _is_cut(self) -> bool:
        return self.world.now_ns < self.sim.session.cut_until_ns

    def new_batch(self, places: list[c.Place]) -> None:
        """Orders that leave together share one answer."""
        self._batch_failed.clear()
        self._batch_blank.clear()
        if len(places) < 2:
            return
        if self.world.fires("batch_failed"):
            self.world.effect(11)
            self._batch_failed.update(place.order_id for place in places)
        elif self.world.fires("batch_leg_blank"):
            self.world.effect(10)
            self._batch_blank.add(places[self.world.amount("batch_leg_blank", 0, len(places) - 1)].order_id)

    def place(self, place: c.Place) -> None:
        """A new order leaves."""
        world, number = self.world, place.order_id
        self.sim.oracles.leaves(place)
        delay = self.wire.delay_ns()
        if self._is_cut():
            self._drop(number, "place")
            return
        if world.fires("place_lost"):
            self.sim.expect_unknown(number, 1)
            self._drop(number, "place")
            return
        if world.fires("place_expired"):
            delay += self.sim.options.life_ns + world.amount("place_expired", 500, 3_000) * MS
            self.sim.expect_unknown(number, 4)
        elif world.fires("place_late"):
            delay += world.amount("place_late", 2_000, 12_000) * MS
            self.sim.expect_unknown(number, 3)
        if world.fires("request_twice"):
            world.effect(9)
            world.after(
                delay + world.amount("request_twice", 1, 3_000) * MS,
                self._arrive,
                place,
                self.sim.life,
                "place",
            )
        world.after(delay, self._arrive, place, self.sim.life, "place")

    def change(self, change: Change) -> None:
        """A cancel, reduction or renewal leaves."""
        request = REQUESTS[type(change)]
        if self._is_cut():
            self._drop(change.order_id, request)
            return
        delay = self.wire.delay_ns()
        if request == "cancel" and self.world.fires("cancel_lost"):
            self.world.effect(12)
            if self.world.amount("cancel_lost", 0, 1):
                self._drop(change.order_id, request)
                return
            delay += self.world.amount("cancel_lost", 1_000, 9_000) * MS
        self.world.after(delay, self._arrive, change, self.sim.life, request)

    def cancel_all(self, command: c.CancelAll) -> None:
        """Everything is to go; nobody promises that this arrives."""
        if self._is_cut() or self.world.fires("cancel_lost"):
            return
        self.world.after(self.wire.delay_ns(), self._arrive_all, command)

    def _arrive_all(self, command: c.CancelAll) -> None:
        if not self._is_cut():
            self.sim.venue.request(command)

    def _drop(self, order_id: int, request: str) -> None:
        """Nothing arrives; half of the time the connection says so."""
        if self.wire.random.random() < 0.5:
            lost = e.AnswerLost(order_id=order_id, request=request, why="connection reset")  # type: ignore[arg-type]
            self.world.after(
                self.wire.random.randint(100 * MS, 4 * SECOND), self._answer, self.sim.life, (lost,)
            )

    def _arrive(self, command: c.Place | Change, life: int, request: str) -> None:
        if self._is_cut():
            return
        if isinstance(command, c.Cancel) and self.world.fires("cancel_raced"):
            self._race(command)
        answers = self.sim.venue.request(command)
        number = command.order_id
        if request == "place":
            answers = self._spoil_place(number, answers)
        elif isinstance(command, c.Reduce | c.Renew) and self.world.fires("amend_half"):
            self.world.effect(15)
            answers = (e.AnswerLost(order_id=number, request=request, why="502"),)  # type: ignore[arg-type]
        if answers is not None:
            delay = self.wire.delay_ns()
            if request == "place" and self.world.fires("answer_late"):
                delay += self.world.amount("answer_late", 1_000, 15_000) * MS
                self.sim.expect_known(number, 5)
            elif request == "place" and self.world.fires("fill_first"):
                delay += self.world.amount("fill_first", 100, 900) * MS
                self.sim.expect_fill_first(number)
            self.world.after(delay, self._answer, life, answers)

    def _spoil_place(self, number: int, answers: tuple[e.Control, ...]) -> tuple[e.Control, ...] | None:
        if number in self._batch_failed or number in self._batch_blank or self.world.fires("server_error"):
            if number not in self._batch_failed and number not in self._batch_blank:
                self.world.effect(6)
            return (e.AnswerLost(order_id=number, request="place", why="503"),)
        if self.world.fires("place_answer_lost"):
            self.sim.expect_unknown(number, 2)
            return None
        return answers

    def _race(self, cancel: c.Cancel) -> None:
        """Somebody takes the order just before its cancel arrives."""
        order = self.sim.venue.exchange.truth.open.get(cancel.order_id)
        if order is None:
            return
        self.world.effect(13)
        self.sim.publish(order.market, self.sim.take_own(order))

    def _answer(self, life: int, answers: tuple[e.Control, ...]) -> None:
        process = self.sim.process
        if process is not None and life == self.sim.life and not self._is_cut():
            for answer in answers:
                process.put(answer)
