"""A real adapter between engine and modelled venue, on a virtual event loop: what is alike for all venues.

Only sockets are left out: requests go over a simulated line, private notices come as frames that the
adapter's own decoder reads, books as numbered rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.loop import VirtualLoop
from simulation.session import Session
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.simulator import Simulation


class Clock:
    """The adapter's time: the engine's; it waits in virtual time."""

    def __init__(self, time: EngineTime, loop: VirtualLoop) -> None:
        self._time = time
        self._loop = loop

    def now_ns(self) -> int:
        return self._time.now_ns()

    async def sleep(self, span_ns: int) -> None:
        await self._loop.sleep(span_ns)


class Sink:
    """What the adapter says goes to the process that it belongs to."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rules = process.sim.rules

    def put_rows(self, rows: d.Array) -> None:
        self._process.put_rows(rows)

    def push(self, event: e.Control) -> None:
        self._rules.said(event)
        self._process.put(event)


class AdapterSession(Session):
    """A process's adapter, made anew for each process by `_make`."""

    tells_sent = True

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.loop: VirtualLoop | None = None
        self.wire: Any = None

    def _make(self, process: Process, loop: VirtualLoop, clock: Clock, sink: Sink) -> Any:
        """The adapter of a process."""
        raise NotImplementedError

    # --- a process

    def start(self) -> None:
        process = self.sim.process
        assert process is not None
        self.is_up = False
        self.market_stream.reset()
        self.user_stream.reset()
        self.ended()
        loop = self.loop = VirtualLoop(self.world, lambda: process.asleep_until_ns)
        self.wire = self._make(process, loop, Clock(process.time, loop), Sink(process))
        self.sim.rules.born()
        loop.run(lambda: loop.create_task(self._begin(process)))
        self._check()

    def ended(self) -> None:
        """The process is dead: its tasks are gone, what it sent is on its way."""
        if self.wire is not None and self.loop is not None:
            self.loop._awake_ns = lambda: 0
            for task in list(self.wire._tasks):
                task.cancel()
            self.loop.run()

    async def _begin(self, process: Process) -> None:
        try:
            await self.wire.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends
            if process.alive:
                self.sim.exited(process, c.Exit(code=1, why=f"the adapter did not start: {error}"))

    def connect(self) -> None:
        """The adapter starts its streams."""
        life = self.sim.life
        self.world.after(50 * MS, self._connect, life)
        self.world.after(SECOND, self._ping, life)

    def tell_state(self) -> None:
        """The venue tells nobody: the adapter asks."""

    def _check(self) -> None:
        assert self.loop is not None
        failure = self.wire.failure() or self.loop.failure
        if failure is not None:
            self.sim.rules.adapter_failed(failure)

    # --- the venue sends

    def publish_event(self, event: e.Control) -> None:
        """The state of the exchange is told nobody: the adapter asks for it."""

    def publish_user(self, event: e.Control) -> None:
        if isinstance(event, e.Filled):
            self._publish_fill(event)
        elif isinstance(event, e.Closed):
            self.publish_closed(self.sim.venue.exchange.truth.orders[event.order_id], event.why)

    def _publish_fill(self, fill: e.Filled) -> None:
        """A fill of ours; perhaps late, or after younger news."""
        world = self.world
        late_ns = 0
        if world.fires("fill_both_routes"):
            world.effect(21)
            late_ns = world.amount("fill_both_routes", 500, 5_000) * MS
        elif world.fires("fill_shuffled"):
            world.effect(23)
            late_ns = world.amount("fill_shuffled", 50, 900) * MS
        self.send_fill(fill, late_ns)
        order = self.sim.venue.exchange.truth.orders.get(fill.order_id)
        if order is not None and order.status == "open":
            self.publish_partial(order)

    def publish_closed(self, order: BookedOrder, why: str) -> None:
        """An order of ours left the book."""
        raise NotImplementedError

    def publish_partial(self, order: BookedOrder) -> None:
        """An order of ours traded, and rests on."""
        raise NotImplementedError

    def send_fill(self, fill: e.Filled, late_ns: int) -> None:
        """The notice of a fill leaves, delivered `late_ns` after its turn."""
        raise NotImplementedError

    def send_private(self, message: tuple[str, bytes], *, late_ns: int = 0) -> None:
        """A notice about our account; it may come twice, or after younger ones."""
        overtakes = late_ns == 0 and self.world.fires("fill_shuffled")
        self.user_stream.send(message, late_ns=late_ns, overtakes=overtakes)
        if self.world.fires("private_twice"):
            self.world.effect(110)
            late_ns += self.world.amount("private_twice", 1, 2_000) * MS
            self.user_stream.send(message, late_ns=late_ns)

    # --- we receive

    def _on_user(self, message: Any) -> None:
        if self.is_up:
            self._hear(*message)

    def _hear(self, kind: str, raw: bytes) -> None:
        if self.sim.process is not None and self.loop is not None:
            self.loop.run(self._heard, self.wire, kind, raw)
            self._check()

    def _heard(self, wire: Any, kind: str, raw: bytes) -> None:
        raise NotImplementedError

    # --- the engine sends

    def send(self, actions: list[c.Action]) -> None:
        for action in actions:
            if isinstance(action, c.Place):
                self.sim.rules.leaves(action)
                self.sim.oracles.leaves(action)
            elif isinstance(action, c.Renew):
                self.sim.rules.renews(action)
            elif isinstance(action, c.Operate):
                self.sim.rules.operates(action)
        process, loop = self.sim.process, self.loop
        if process is not None and loop is not None:
            loop.run(self.wire.send, process.time_now(), actions)
            self._check()
