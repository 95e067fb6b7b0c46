"""Requests to Kalshi over the simulated network: lost, late, doubled, answered badly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.venues.kalshi import http as kalshi_http
from pr3dict.venues.kalshi.http import Call, Reply
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict
from simulation.network import Wire
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    import asyncio

    from simulation.loop import VirtualLoop
    from simulation.simulator import Simulation

ANSWER_NS = 5 * SECOND
TIMEOUT = Reply(Outcome(Verdict.UNKNOWN, text="timeout"))
RESET = Reply(Outcome(Verdict.UNKNOWN, text="ServerDisconnectedError"))
UNREACHABLE = Reply(Outcome(Verdict.NOT_SENT, "not_sent", "", "no connection: unreachable"))
ORDERS = "/portfolio/events/orders"
GATEWAY = b"<html>502 Bad Gateway</html>"
SORRY = b'{"error":{"code":"service_unavailable","message":"try again"}}'
Answer = tuple[int, bytes]


def kind_of(call: Call) -> str:
    """What a call is, in the words of the knobs."""
    if call.method == "GET":
        return "read"
    last = call.path.rsplit("/", 1)[-1]
    if not call.path.startswith(ORDERS):
        return "group"
    if call.path == ORDERS:
        return "place" if call.method == "POST" else "cancel_all"
    if last == "batched":
        return "batch" if call.method == "POST" else "cancel_batch"
    return "cancel" if call.method == "DELETE" else "change"


class Line:
    """The way of one process's requests; an answer that comes after its death is nobody's."""

    def __init__(self, sim: Simulation, loop: VirtualLoop) -> None:
        self.sim = sim
        self.world = sim.world
        self.loop = loop
        self.wire: Wire = sim.session.requests.wire
        self.life = sim.life

    @property
    def _is_cut(self) -> bool:
        return self.world.now_ns < self.sim.session.cut_until_ns

    async def ask(self, call: Call) -> Reply:
        """What comes back; without an answer in time the outcome is unknown."""
        future = self.loop.create_future()
        self._leave(call, future)
        reply: Reply = await future
        return reply

    def _leave(self, call: Call, future: asyncio.Future[Reply]) -> None:
        world, kind = self.world, kind_of(call)
        numbers = self._numbers(call, kind)
        self.sim.rules.call_leaves(call, kind)
        if self._is_cut:
            if self.wire.random.random() < 0.5:
                self._resolve(future, UNREACHABLE, 100 * MS)
            else:
                self._resolve(future, TIMEOUT, ANSWER_NS)
            return
        self._resolve(future, TIMEOUT, ANSWER_NS)
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
            elif world.fires("conflict"):  # who repeats it on the way hands us the second answer
                world.after(delay, self._arrive, call, kind, numbers, None)
                delay += world.amount("conflict", 1, 300) * MS
        elif kind == "cancel" and world.fires("cancel_lost"):
            world.effect(12)
            if world.amount("cancel_lost", 0, 1):
                self._drop(future)
                return
            delay += world.amount("cancel_lost", 1_000, 9_000) * MS
        elif kind == "read" and world.fires("read_failed"):
            self._resolve(future, Reply(Outcome(Verdict.UNKNOWN, text="HTTP 504"), 504, b""), delay + SECOND)
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
    def _expect(note: Callable[[int, int], None], numbers: list[int], fault: int) -> None:
        for number in numbers:
            note(number, fault)

    @staticmethod
    def _numbers(call: Call, kind: str) -> list[int]:
        if kind not in ("place", "batch"):
            return []
        body = msgspec.json.decode(call.body or b"")
        orders = body["orders"] if kind == "batch" else [body]
        return [int(order["client_order_id"].rpartition("-")[2]) for order in orders]

    def _drop(self, future: asyncio.Future[Reply]) -> None:
        """Nothing arrives; half of the time the connection says so."""
        if self.wire.random.random() < 0.5:
            self._resolve(future, RESET, self.wire.random.randint(100 * MS, 4 * SECOND))

    def _arrive(
        self, call: Call, kind: str, numbers: list[int], future: asyncio.Future[Reply] | None
    ) -> None:
        if self._is_cut:
            return
        if kind == "cancel" and self.world.fires("cancel_raced"):
            self._race(call.path.rsplit("/", 1)[-1])
        if self.sim.venue_status in ("closed", "restarting") and kind != "read":
            answer: Answer = (503, SORRY)
        else:
            answer = self._spoil(kind, numbers, self.sim.session.desk.handle(call))
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
        status, body = answer
        self._resolve(future, Reply(kalshi_http.judge(status, body), status, body), delay)

    def _spoil(self, kind: str, numbers: list[int], answer: Answer) -> Answer:
        """What was carried out may be answered with an error, or with nothing."""
        world = self.world
        if kind == "place":
            if world.fires("server_error"):
                world.effect(6)
                return 503, SORRY
            if world.fires("place_answer_lost"):
                self._expect(self.sim.expect_unknown, numbers, 2)
                return 0, b""
        elif kind == "batch":
            if world.fires("batch_failed"):
                world.effect(11)
                return 500, SORRY
            if world.fires("batch_leg_blank"):
                world.effect(10)
                body: Any = msgspec.json.decode(answer[1])
                if answer[0] == 201:
                    body["orders"][world.amount("batch_leg_blank", 0, len(numbers) - 1)] = {}
                return answer[0], msgspec.json.encode(body)
        elif kind == "change" and world.fires("amend_half"):
            world.effect(15)
            return 502, GATEWAY
        return answer

    def _race(self, name: str) -> None:
        """Somebody takes the order just before its cancel arrives."""
        order = self.sim.kalshi.find(name)
        if order is None or order.key not in self.sim.venue.exchange.truth.open:
            return
        self.world.effect(13)
        self.sim.publish(order.market, self.sim.take_own(order.listed()))

    def _resolve(self, future: asyncio.Future[Reply], reply: Reply, delay_ns: int) -> None:
        self.world.after(delay_ns, self._answer, future, reply)

    def _answer(self, future: asyncio.Future[Reply], reply: Reply) -> None:
        answered = reply.status and self._is_cut
        if self.life == self.sim.life and self.sim.process is not None and not answered:
            self.loop.resolve(future, reply)
