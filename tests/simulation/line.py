"""The way of an adapter's requests over the simulated network: lost, late, doubled, badly answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.network import Wire
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    import asyncio

    from simulation.loop import VirtualLoop
    from simulation.simulator import Simulation

ANSWER_NS = 5 * SECOND
Answer = tuple[int, bytes]


class Line:
    """The way of one process's requests; an answer that comes after its death is nobody's.

    A request is one of these kinds: place, batch, cancel, cancel_batch, cancel_all, change, read, other.
    """

    timeout: Any  # the venue's `Reply` when nothing comes back in time
    reset: Any  # when the connection breaks
    unreachable: Any  # when there is none
    gateway_timeout: Any  # when a gateway gives up on a read
    again = ""  # the knob of a proxy that repeats an order, and hands us the second answer

    def __init__(self, sim: Simulation, loop: VirtualLoop) -> None:
        self.sim = sim
        self.world = sim.world
        self.loop = loop
        self.wire: Wire = sim.session.requests.wire
        self.life = sim.life

    # --- what each venue says in its own words

    def kind_of(self, call: Any) -> str:
        """What a call is, in the words of the knobs."""
        raise NotImplementedError

    def numbers(self, call: Any, kind: str) -> list[int]:
        """Our ids of the orders that a call places."""
        raise NotImplementedError

    def reply(self, answer: Answer) -> Any:
        """The venue's `Reply` of a status and a body."""
        raise NotImplementedError

    def busy(self, kind: str) -> Answer | None:
        """What is answered while the venue as a whole takes nothing; None: it does."""
        raise NotImplementedError

    def blanked(self, answer: Answer, leg: int) -> Answer:
        """The answer to a batch with nothing for one of its orders."""
        raise NotImplementedError

    def own_of_cancel(self, call: Any) -> Any:
        """The order that a cancel names, as the venue booked it; None: it has none."""
        raise NotImplementedError

    # --- there

    @property
    def _is_cut(self) -> bool:
        return self.world.now_ns < self.sim.session.cut_until_ns

    async def ask(self, call: Any) -> Any:
        """What comes back; without an answer in time the outcome is unknown."""
        future = self.loop.create_future()
        self._leave(call, future)
        return await future

    def _leave(self, call: Any, future: asyncio.Future[Any]) -> None:
        world, kind = self.world, self.kind_of(call)
        numbers = self.numbers(call, kind) if kind in ("place", "batch") else []
        self.sim.rules.call_leaves(call, kind)
        if self._is_cut:
            if self.wire.random.random() < 0.5:
                self._resolve(future, self.unreachable, 100 * MS)
            else:
                self._resolve(future, self.timeout, ANSWER_NS)
            return
        self._resolve(future, self.timeout, ANSWER_NS)
        delay = self.wire.delay_ns()
        if kind in ("place", "batch"):
            if world.fires("place_lost"):
                self._expect(self.sim.expect_unknown, numbers, 1)
                self._drop(future)
                return
            delay += self._late(numbers)
            if world.fires("request_twice"):
                world.effect(9)
                again = delay + world.amount("request_twice", 1, 3_000) * MS
                world.after(again, self._arrive, call, kind, numbers, None)
            elif world.fires(self.again):
                world.after(delay, self._arrive, call, kind, numbers, None)
                delay += world.amount(self.again, 1, 300) * MS
        elif kind == "cancel" and world.fires("cancel_lost"):
            world.effect(12)
            if world.amount("cancel_lost", 0, 1):
                self._drop(future)
                return
            delay += world.amount("cancel_lost", 1_000, 9_000) * MS
        elif kind == "read" and world.fires("read_failed"):
            self._resolve(future, self.gateway_timeout, delay + SECOND)
            return
        world.after(delay, self._arrive, call, kind, numbers, future)

    def _late(self, numbers: list[int]) -> int:
        world = self.world
        if world.fires("place_expired"):
            self._expect(self.sim.expect_unknown, numbers, 4)
            return self.sim.options.life_ns + world.amount("place_expired", 500, 3_000) * MS
        if world.fires("place_late"):
            self._expect(self.sim.expect_unknown, numbers, 3)
            return world.amount("place_late", 2_000, 12_000) * MS
        return 0

    @staticmethod
    def _expect(note: Any, numbers: list[int], fault: int) -> None:
        for number in numbers:
            note(number, fault)

    def _drop(self, future: asyncio.Future[Any]) -> None:
        """Nothing arrives; half of the time the connection says so."""
        if self.wire.random.random() < 0.5:
            self._resolve(future, self.reset, self.wire.random.randint(100 * MS, 4 * SECOND))

    # --- and back

    def _arrive(self, call: Any, kind: str, numbers: list[int], future: asyncio.Future[Any] | None) -> None:
        if self._is_cut:
            return
        if kind == "cancel" and self.world.fires("cancel_raced"):
            self._race(call)
        taken = any(number in self.sim.venue.exchange.truth.orders for number in numbers)
        busy = None if taken else self.busy(kind)  # a repeated order meets what its first copy did
        answer = busy or self._spoil(kind, numbers, self.sim.session.desk.handle(call, admitted=taken))
        if future is None or not answer[0]:
            return
        delay = self.wire.delay_ns()
        if kind in ("place", "batch"):
            if self.world.fires("answer_late"):
                delay += self.world.amount("answer_late", 1_000, 15_000) * MS
                self._expect(self.sim.expect_known, numbers, 5)
            elif self.world.fires("fill_first"):
                delay += self.world.amount("fill_first", 100, 900) * MS
                for number in numbers:
                    self.sim.expect_fill_first(number)
        self._resolve(future, self.reply(answer), delay)

    def _spoil(self, kind: str, numbers: list[int], answer: Answer) -> Answer:
        """What was carried out may be answered with an error, or with nothing."""
        world = self.world
        if kind == "place":
            if world.fires("server_error"):
                world.effect(6)
                return 503, b'{"error":{"code":"service_unavailable","message":"try again"}}'
            if world.fires("place_answer_lost"):
                self._expect(self.sim.expect_unknown, numbers, 2)
                return 0, b""
        elif kind == "batch":
            if world.fires("batch_failed"):
                world.effect(11)
                return 500, b'{"error":{"code":"service_unavailable","message":"try again"}}'
            if world.fires("batch_leg_blank"):
                world.effect(10)
                return self.blanked(answer, world.amount("batch_leg_blank", 0, len(numbers) - 1))
        elif kind == "change" and world.fires("amend_half"):
            world.effect(15)
            return 502, b"<html>502 Bad Gateway</html>"
        return answer

    def _race(self, call: Any) -> None:
        """Somebody takes the order just before its cancel arrives."""
        order = self.own_of_cancel(call)
        if order is None or order.key not in self.sim.venue.exchange.truth.open:
            return
        self.world.effect(13)
        self.sim.publish(order.market, self.sim.take_own(order.listed()))

    def _resolve(self, future: asyncio.Future[Any], reply: Any, delay_ns: int) -> None:
        self.world.after(delay_ns, self._answer, future, reply)

    def _answer(self, future: asyncio.Future[Any], reply: Any) -> None:
        answered = reply.status and self._is_cut
        if self.life == self.sim.life and self.sim.process is not None and not answered:
            self.loop.resolve(future, reply)
