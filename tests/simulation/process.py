"""One life of the trading process in virtual time: engine, trader, inbox, clocks, journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.order import OrderState
from pr3dict.engine.engine import Engine
from pr3dict.engine.tracked import IN_DOUBT
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import ClockWatch, EngineTime
from pr3dict.runtime.inbox import Inbox, InboxFull
from pr3dict.runtime.trader import Trader
from pr3dict.strategies.market_making import MarketMakingStrategy
from simulation.flow import Row
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

TICK_NS = SECOND // 2  # how often the shell looks at its clocks
LOG_STALL_NS = 2 * SECOND
NO_ROWS = np.zeros(0, d.EVENT)


class Process:
    """Engine and trader between an inbox and the wires; dropped as a whole when it dies."""

    def __init__(self, sim: Simulation, life: int) -> None:
        """Fold the journal and take up what it says; `life` counts the processes of this data directory."""
        self.sim = sim
        self.world = sim.world
        self.life = life
        self.alive = True
        self.began = False
        self.exit: c.Exit | None = None
        self.log_failed = False
        self.asleep_until_ns = 0
        self.engine = Engine(sim.risk, capacity=4)
        self.engine.register_strategy(MarketMakingStrategy(sim.strategy))
        self.last_ns = 0
        self.first_number = 0
        self.recovered_ns = 0
        for step in sim.disk.steps():
            self.engine.fold(step)
            self.last_ns = max(self.last_ns, step.now_ns)
            self.first_number = step.number
        self.time = EngineTime(sim.clock)
        self.watch = ClockWatch(sim.clock, tick_ns=TICK_NS)
        rows, events = (64, 4_000) if sim.options.small else (4_096, 4_000)
        self.inbox = Inbox(max_rows=rows, max_events=events)
        self.trader = Trader(self.engine, venues=(sim.options.venue,))
        self.batches: list[tuple[int, d.Array]] = []  # the tape of this life
        self._turn_ns = 0  # when the next turn is due; 0: none
        self._began_ns = self.world.now_ns
        self._open()

    def _now(self) -> int:
        return max(self.last_ns + 1, self.time.now_ns())

    def time_now(self) -> int:
        """The time as this process tells it."""
        return max(self.last_ns, self.time.now_ns())

    def in_doubt(self) -> bool:
        """Whether the outcome of any order, or of a cancel, is unknown."""
        account = self.engine.account
        orders = (
            order for market in range(len(self.engine.listings)) for order in account.open_orders(market)
        )
        return any(order.state in (*IN_DOUBT, OrderState.CANCEL_IN_FLIGHT) for order in orders)

    def reasons(self, market: int) -> int:
        """Why the brain quotes as it does: bits R_* of the decision that stands."""
        return int(self.engine.world.quotes[market].reasons)

    def _open(self) -> None:
        sim = self.sim
        inputs: list[e.Control] = []
        if sim.disk.latch is not None:
            reason, text = sim.disk.latch
            inputs.append(e.Latched(reason=reason, text=text))
        inputs.append(
            e.Started(
                version="simulation",
                account="paper",
                settings="{}",
                cash_micros=sim.options.cash * 1_000_000,
            )
        )
        if self.first_number == 0:
            inputs += sim.listings
        self.world.after(TICK_NS, self._look_at_clocks)
        self.world.after(MS, self._begin, tuple(inputs))

    def _begin(self, inputs: tuple[e.Control, ...]) -> None:
        """The end of the recovery and the first step are one instant."""
        if not self.alive:
            return
        self.last_ns = self._now()
        if self.first_number:
            self.recovered_ns = self.last_ns
            self.engine.recovered(self.last_ns)
        self.began = True
        self._turn_ns = 0
        self._step(self.last_ns, NO_ROWS, inputs)
        self.wake(0)

    # --- what comes in

    def put(self, event: e.Control) -> None:
        """A control event arrives."""
        if self.alive:
            self.inbox.put(event)
            self.wake(MS // 5)

    def put_rows(self, rows: list[Row] | d.Array) -> None:
        """Market data arrives."""
        if self.alive and len(rows):
            try:
                self.inbox.put_rows(np.array(rows, d.EVENT))
            except InboxFull as error:
                self.sim.exited(self, c.Exit(code=1, why=str(error)))
                return
            self.wake(MS // 5)

    def wake(self, delay_ns: int) -> None:
        """Take a turn in `delay_ns` at the latest."""
        when = max(self.world.now_ns + delay_ns, self.asleep_until_ns)
        if self._turn_ns == 0 or when < self._turn_ns:
            self._turn_ns = when
            self.world.at(when, self._turn, when)

    def sleep(self, for_ns: int) -> None:
        """The machine sleeps, or the event loop is blocked."""
        self.asleep_until_ns = self.world.now_ns + for_ns
        self._turn_ns = 0
        self.wake(0)

    def _look_at_clocks(self) -> None:
        if not self.alive:
            return
        if self.world.now_ns < self.asleep_until_ns:
            self.world.at(self.asleep_until_ns, self._look_at_clocks)
            return
        for event in self.watch.check():
            self._heard_clock(event)
        waited = self.sim.disk.waiting_ns()
        if waited > LOG_STALL_NS:
            self.put(e.LogStalled(gap_ns=waited))
        self.world.after(TICK_NS, self._look_at_clocks)

    def _heard_clock(self, event: e.ClockJumped | e.LoopStalled) -> None:
        if isinstance(event, e.ClockJumped):
            self.sim.saw_clock_jump(event)
        else:
            self.world.effect(70)
        self.put(event)

    # --- one turn

    def _turn(self, due_ns: int) -> None:
        if not self.alive or not self.began or due_ns != self._turn_ns:
            return
        if self.world.now_ns < self.asleep_until_ns:
            self._turn_ns = 0
            self.wake(0)
            return
        self._turn_ns = 0
        now = self._now()
        if not self.inbox and not self.trader.pending and now < self.engine.next_timer_ns:
            self._set_timer(now)
            return
        for event in self.watch.check():
            self._heard_clock(event)
        self.last_ns = now
        batch = self.inbox.take(now)
        if len(batch.data):
            self.batches.append((now, batch.data))
        self._step(now, batch.data, batch.events)
        if self.alive:
            self._set_timer(now)

    def _step(self, now: int, data: d.Array, events: tuple[e.Control, ...]) -> None:
        outcome = self.trader.step(now, data, events)
        for step in outcome.steps:
            here = step.now_ns == now  # else a timer that was due before
            self.sim.oracles.takes_in(step.inputs, data if here else NO_ROWS)
            self.sim.stepped(self, step)
            self.sim.oracles.cancels_leave(step, outcome.urgent, self.trader.waiting)
            self.sim.disk.append(step, self._durable, self._failed)
        self.sim.oracles.takes_in((), data)
        self._send(outcome.urgent)

    def _set_timer(self, now: int) -> None:
        if self.inbox or self.trader.pending:
            self.wake(MS // 5)
        else:
            self.wake(min(max(self.engine.next_timer_ns - now, 0), 3_600 * SECOND))

    def _durable(self, number: int) -> None:
        if self.alive:
            self._send(self.trader.durable(number))
            if self.alive and self.trader.pending:
                self.wake(MS // 5)

    def _failed(self, why: str, kind: Any) -> None:
        self.log_failed = True
        self.sim.log_failed(kind)
        self._send(self.trader.failed(why, kind))
        if self.alive:
            self.wake(0)

    def _send(self, actions: tuple[c.Action, ...]) -> None:
        wires: list[c.Action] = []
        for action in actions:
            if isinstance(action, c.Place):
                if not self.sim.session.tells_sent:
                    self.trader.pending.append(e.Sent(order_id=action.order_id))
                wires.append(action)
            elif isinstance(action, c.SetLatch):
                self.sim.disk.latch = (action.reason, action.text)
            elif isinstance(action, c.ClearLatch):
                self.sim.disk.latch = None
            elif isinstance(action, c.Alert):
                self.sim.alerted(action)
            elif isinstance(action, c.Answer):
                self.sim.answered(action)
            elif isinstance(action, c.Exit):
                self.exit = action
            else:
                wires.append(action)
        if wires:
            self.sim.session.send(wires)
        if self.exit is not None:
            self.sim.exited(self, self.exit)
