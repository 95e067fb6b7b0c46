"""One seed from beginning to end: safety, healing, liveness, quiet, comparison with the truth, replay.

Everything of the world hangs on a `Simulation`; it has no behaviour of its own beyond bringing them together
and counting which fault took effect.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d
from pr3dict.risk.exposure import Exposure
from pr3dict.risk.gate import Gate, MarketFacts, Portfolio, Refusal, Wish
from simulation import liveness, people, setting
from simulation.disk import Disk
from simulation.flow import Flow, Row, row
from simulation.kalshi_rules import Rules
from simulation.kalshi_session import KalshiSession
from simulation.kalshi_venue import KalshiVenue
from simulation.oracles import Oracles, Violation, watching_gate
from simulation.polymarket_rules import PolymarketRules
from simulation.polymarket_session import PolymarketSession
from simulation.polymarket_venue import PolymarketVenue
from simulation.process import Process
from simulation.proof import check_fold, check_replay
from simulation.session import Session
from simulation.swarm import Options
from simulation.venue import Venue
from simulation.weather import Weather
from simulation.world import MS, SECOND, START_NS, Clock, Fired, World

_encode = msgspec.msgpack.Encoder().encode
VALUES = {
    "one": (1_000_000, 0),
    "zero": (0, 0),
    "half": (500_000, 0),
    "amended": (1_000_000, 0),
    "refund": (0, d.REFUND),
}


@dataclass
class Outcome:
    """What one seed came to."""

    seed: int
    adapter: str = "generic"
    violation: str = ""
    text: str = ""
    at_s: float = 0.0
    fired: list[Fired] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    effective: Counter[int] = field(default_factory=Counter)
    virtual_s: float = 0.0
    steps: int = 0
    places: int = 0
    fills: int = 0
    lives: int = 0
    command_hash: str = ""
    state: str = ""
    story: list[str] = field(default_factory=list)


class Simulation:
    """One world, one venue, one data directory, and the processes that live on it one after another."""

    def __init__(self, options: Options, allowed: Collection[Fired] | None = None) -> None:
        self.options = options
        self.world = World(options.seed, options.intensity, allowed)
        plan = self.world.stream("plan")
        at_kalshi, at_polymarket = (options.adapter == name for name in ("kalshi", "polymarket"))
        self.own_in_feed = self.world.fires("own_echo") or options.adapter != "generic"
        self.forgets_closed = options.venue == "polymarket"
        self.keeper = plan.random() < 0.75  # somebody looks at every halt
        self.silent_wipe = plan.random() < 0.5
        self.clock = Clock(
            self.world, options.clock, options.clock_ns, START_NS + plan.randint(5, 60) * SECOND
        )
        self.end_ns: dict[int, int] = {}
        self.world.injected["clock"] += options.clock != "none"
        if self.world.fires("past_end"):
            self.end_ns[options.markets - 1] = START_NS + self.world.amount("past_end", 10, 40) * SECOND
        self.listings = setting.listings(options, own_in_feed=self.own_in_feed, end_ns=self.end_ns)
        self.strategy = setting.strategy(options)
        self.risk = setting.risk(options)
        self.max_order_size = self.risk.max_order_size_contracts
        self.collar_micros = 250_000
        self.life = 0
        self.disk = Disk(self.world)
        self.process: Process | None = None
        self.oracles = Oracles(self)
        self.fates: dict[int, str] = {}  # what markets that are to settle will pay
        self.paid: dict[int, int] = {}
        self.paid_ns = 0
        self.rules: Any = Rules(self) if at_kalshi else PolymarketRules(self) if at_polymarket else None
        self.kalshi: Any = KalshiVenue(self) if at_kalshi else None  # the same as `venue`
        self.polymarket: Any = PolymarketVenue(self) if at_polymarket else None  # the same
        self.modelled: Any = self.kalshi or self.polymarket
        self.venue: Venue = self.modelled or Venue(self)
        sessions = {"kalshi": KalshiSession, "polymarket": PolymarketSession, "generic": Session}
        self.session: Any = sessions[options.adapter](self)
        self.flows = [Flow(self.world, m, self.venue.own_best) for m in range(options.markets)]
        self.weather = Weather(self)
        self.status: dict[int, int] = {}
        self.ticks = setting.ticks(options)
        self.grids = [0] * options.markets
        self.venue_status = "open"
        self.foreign_micros = 0
        self.untold_ns = 0  # when money moved last without a word
        self.money_moved = False  # by a person, told or not: the notice may be lost on its way
        self.recovering = False
        self.flowing = True
        self.watching = True
        self.tape: list[tuple[int, list[tuple[int, d.Array]]]] = []
        self.hash = hashlib.sha256()
        self.steps = 0
        self.story: list[str] = []
        self.expected: dict[int, set[int]] = {}
        self.alerts: Counter[str] = Counter()
        self.resting_ns = 0  # when an order of ours last stood at the venue
        self._version = -1

    # --- the run

    def run(self) -> Outcome:
        """All phases; the outcome says what broke, if anything did."""
        out = Outcome(self.options.seed, self.options.adapter)
        try:
            with watching_gate(self):
                self._phases()
        except Violation as violation:
            out.violation, out.text = violation.name, str(violation)
        except AssertionError as error:
            out.violation, out.text = "assertion", f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - the engine must survive everything
            out.violation, out.text = f"crash {type(error).__name__}", _where(error)
        return self._report(out)

    def _phases(self) -> None:
        world = self.world
        for m, flow in enumerate(self.flows):
            self.venue.feed([row(world.now_ns, m, d.STATUS, aux=d.ACTIVE), *flow.step()])
            world.after(flow.gap_ns(), self._flow, m)
        self.start()
        world.after(SECOND, self._second)
        world.run_until(START_NS + self.options.safety_ns, self.check)
        self._heal()
        liveness.live_again(self)
        self.flowing = False
        liveness.grow_quiet(self)
        self._finish()

    def _flow(self, market: int) -> None:
        if not self.flowing:
            return
        flow = self.flows[market]
        if self.status_of(market) in (d.ACTIVE, d.POST_ONLY_MODE) and self.venue_status == "open":
            self.publish(market, flow.step())
        if market not in self.paid:
            self.world.after(flow.gap_ns(), self._flow, market)

    def flow_on(self, *, flowing: bool) -> None:
        """The others stop, or go on: who waits for an order of unknown fate decides nothing meanwhile."""
        if flowing and not self.flowing:
            for market in set(range(self.options.markets)) - self.paid.keys():
                self.world.after(self.flows[market].gap_ns(), self._flow, market)
        self.flowing = flowing

    def _second(self) -> None:
        self.world.after(SECOND, self._second)
        if not self.world.healed:
            self.weather.second()
        self.oracles.second()
        if self.rules is not None:
            self.rules.second()
        for market, end_ns in self.end_ns.items():
            if self.world.now_ns > end_ns and market not in self.paid:
                self.world.effect(36)

    def check(self) -> None:
        """Cheap, after every event."""
        if self.venue.version != self._version:
            self._version = self.venue.version
            if self.venue.exchange.truth.open:
                self.resting_ns = self.world.now_ns

    def _heal(self) -> None:
        world = self.world
        world.healed = True
        self.say("all faults end")
        self.session.heal()
        self.venue.heal()
        for market in range(self.options.markets):
            if self.status_of(market) in (d.PAUSED, d.RESTARTING, d.POST_ONLY_MODE):
                self._set_status(market, d.ACTIVE)
        self.set_venue_status("open")
        if self.process is not None:
            self.process.asleep_until_ns = 0
            self.process.wake(0)
        if self.world.stream("plan").random() < 0.85:
            for k in (3, 20):
                world.after(k * SECOND, people.resume, self, f"heal-{k}")
                for market in range(self.options.markets):
                    world.after(k * SECOND, people.unpause, self, f"heal-{k}-{market}", market)

    def _finish(self) -> None:
        process = self.process
        if process is None:
            raise Violation("I20 liveness", "there is no process at the end")
        self.oracles.second()
        self.oracles.compare(process)
        if self.rules is not None:
            self.rules.finish()
        self.tape.append((process.first_number, process.batches))
        process.alive = False
        self.world.run_until(self.world.now_ns + SECOND, self.check)  # the disk ends its sync
        check_fold(self, process)
        check_replay(self, process)

    def _report(self, out: Outcome) -> Outcome:
        world = self.world
        out.at_s = (world.now_ns - START_NS) / SECOND
        out.virtual_s = out.at_s
        out.fired = world.fired
        out.injected, out.effective = world.injected, world.effective
        out.steps, out.lives = self.steps, self.life
        out.places = len(self.oracles.left)
        out.fills = len(self.venue.exchange.truth.fills)
        out.command_hash = self.hash.hexdigest()
        out.state = self.disk.latch[0] if self.disk.latch else ""
        out.story = self.story
        return out

    def say(self, text: str) -> None:
        """One line of the story."""
        self.story.append(f"{(self.world.now_ns - START_NS) / SECOND:8.3f} s  {text}")

    # --- lives of the process

    def start(self) -> None:
        """A process begins to live on the data directory."""
        self.life += 1
        try:
            self.process = Process(self, self.life)
        except Exception as error:
            raise Violation("restart", f"life {self.life} cannot start: {_where(error)}") from error
        self.oracles.born(self.process)
        self.say(f"process {self.life} starts at step {self.process.first_number}")
        self.session.start()
        if self.recovering and self.world.fires("crash_again"):
            self.world.effect(73)
            self.world.after(self.world.amount("crash_again", 1, 900) * MS, self._crash_life, self.life)
        self.recovering = False

    def crash(self, *, power: bool, down_ns: int) -> None:
        """The process dies at once."""
        process = self.process
        if process is None:
            return
        self.world.effect(62)
        self._end_life()
        lost = self.disk.crash(power)
        self.oracles.lost_steps()
        if power:
            self.world.effect(63)
        self.say(
            ("power is lost" if power else "the process is killed")
            + (", a written tail with it" if lost else "")
        )
        self.recovering = True
        self.world.after(down_ns, self.start)

    def _crash_life(self, life: int) -> None:
        if self.process is not None and self.life == life and not self.world.healed:
            self.crash(power=True, down_ns=300 * MS)

    def _end_life(self) -> None:
        process = self.process
        assert process is not None
        process.alive = False
        self.tape.append((process.first_number, process.batches))
        self.process = None
        self.session.ended()

    def exited(self, process: Process, command: c.Exit) -> None:
        """The process ends by itself; a supervisor starts the next one."""
        if process is not self.process:
            return
        self.say(f"the process exits with {command.code}: {command.why}")
        self._end_life()
        self.disk.crash(power=False)
        self.oracles.lost_steps()
        self.world.after(2 * SECOND, self.start)

    def log_failed(self, kind: str) -> None:
        """The journal refused a write: the shell stops, as soon as nothing is open or its patience ends."""
        self.say(f"the journal refuses a write ({kind})")
        process = self.process
        if process is not None and kind == "full":
            process.put(e.Stopping(why="the journal failed"))
            self.world.after(5 * SECOND, self._stop, process)

    def _stop(self, process: Process) -> None:
        if process is self.process and process.alive:
            self.exited(process, c.Exit(code=1, why="the journal failed"))

    # --- what the process shows

    def stepped(self, process: Process, step: Step) -> None:
        """A step was made."""
        self.steps += 1
        self.hash.update(_encode((step.number, step.now_ns, step.commands)))
        self.oracles.stepped(process, step)
        if self.rules is not None:
            self.rules.stepped(step)
        for event in step.derived:
            if isinstance(event, e.TimedOut | e.Presumed):
                self._met(event.order_id)
            elif isinstance(event, e.BookInvalid) and event.why == "differs":
                self.world.effect(42 if event.market in self.session.muted else 40)
            elif isinstance(event, e.Tripped):
                self.say(f"breaker {event.breaker} trips for market {event.market}: {event.text}")
            elif isinstance(event, e.Held) and event.why == "feed_stale" and event.on:
                self.world.effect(40)
        for event in step.inputs:
            if isinstance(event, e.AnswerLost):
                self._met(event.order_id)
            elif isinstance(event, e.Filled | e.OrderRead):
                self._seen(event.order_id)
            elif isinstance(event, e.OrdersRead):
                for order in event.orders:
                    self._seen(order.order_id)
            elif isinstance(event, e.Accepted):
                self.expected.pop(-event.order_id, None)
            elif isinstance(event, e.ClockSkewed | e.ClockJumped):
                off = self.options.clock != "none" and abs(self.clock.offset_ns()) > SECOND // 2
                self.world.effective[69] += off

    def _met(self, order_id: int) -> None:
        for fault in self.expected.pop(order_id, ()):
            self.world.effect(fault)

    def _seen(self, order_id: int) -> None:
        for fault in self.expected.pop(-order_id, ()):
            self.world.effect(fault)

    def expect_unknown(self, order_id: int, fault: int) -> None:
        """The fault takes effect once the engine finds the order's outcome unknown."""
        self.expected.setdefault(order_id, set()).add(fault)

    def expect_known(self, order_id: int, fault: int) -> None:
        """The fault takes effect once another route shows the order before its answer does."""
        self.expected.setdefault(-order_id, set()).add(fault)

    def expect_fill_first(self, order_id: int) -> None:
        """As above, for a fill that overtakes the answer."""
        self.expected.setdefault(-order_id, set()).add(19)

    def saw_clock_jump(self, event: e.ClockJumped) -> None:
        """The shell noticed."""
        self.say(f"the shell sees a clock jump of {event.gap_ns / SECOND:.2f} s")

    def alerted(self, alert: c.Alert) -> None:
        """The operator is told; a keeper looks at critical ones."""
        self.alerts[alert.name] += 1
        if alert.on:
            self.say(f"alert {alert.name} ({alert.severity}) market {alert.market}: {alert.text}")
        if alert.on and alert.severity in ("critical", "high") and self.keeper and not self.world.healed:
            delay = self.world.stream("operator").randint(1, 6) * SECOND
            self.world.after(delay, people.resume, self, f"keeper-{self.world.now_ns}")

    def answered(self, answer: c.Answer) -> None:
        """The reply to a person's command."""

    # --- the market

    def publish(self, market: int, rows: list[Row]) -> None:
        """The others act: at the exchange now, in our feed as the network pleases."""
        if rows:
            self.venue.feed(rows)
            self.session.publish(market, rows)

    def take_own(self, order: e.VenueOrder) -> list[Row]:
        """Rows of a taker who takes one of our orders whole."""
        taker = d.ASK if order.side == d.BID else d.BID
        return [row(self.world.now_ns, order.market, d.TRADE, taker, order.price, order.remaining)]

    def displayed_touch(self, market: int) -> tuple[int, int]:
        """Best bid and ask as the feed shows them."""
        sides = [set(self.flows[market].book[side]) for side in (d.BID, d.ASK)]
        for m, side, price in self.session.shown:
            if m == market:
                sides[side].add(price)
        return max(sides[d.BID], default=-1), min(sides[d.ASK], default=-1)

    def status_of(self, market: int) -> int:
        """Status of a market at the venue."""
        return self.status.get(market, d.ACTIVE)

    def grid_of(self, market: int) -> int:
        """Index of the price grid in force."""
        return self.grids[market]

    def tick_of(self, index: int) -> int:
        """The step of a price grid, in 1/10,000 dollar."""
        return self.ticks[index]

    def _set_status(self, market: int, status: int) -> None:
        if self.status_of(market) in (d.CLOSED, d.SETTLED):
            return
        self.status[market] = status
        self.publish(market, [row(self.world.now_ns, market, d.STATUS, aux=status)])

    def pause(self, market: int, for_ns: int, *, told: bool) -> None:
        """A market pauses and comes back; at Kalshi what rested is gone then."""
        if self.status_of(market) != d.ACTIVE:
            return
        self.silent_wipe = not told
        if self.kalshi is not None and self.world.fires("pause_cancels"):
            self.kalshi.pause_orders(market, told=told)
        self._set_status(market, d.PAUSED)
        self.world.after(for_ns, self._unpause, market, told)

    def _unpause(self, market: int, told: bool) -> None:
        if self.status_of(market) != d.PAUSED:
            return
        if not told and any(order.market == market for order in self.venue.open_orders()):
            self.world.effect(52)
        self._set_status(market, d.ACTIVE)

    def pause_exchange(self, for_ns: int) -> None:
        """The whole venue pauses."""
        if self.venue_status == "open":
            if self.kalshi is not None and self.world.fires("pause_cancels"):
                self.kalshi.pause_orders(-1, told=not self.silent_wipe)
            self.set_venue_status("paused")
            self.world.after(for_ns, self.set_venue_status, "open")

    def set_venue_status(self, status: str) -> None:
        """The venue is open, paused, restarting."""
        if self.venue_status != status:
            self.venue_status = status
            self.venue.set_status(status, told=False)  # type: ignore[arg-type]
            self.session.publish_event(e.VenueStatus(venue=self.options.venue, status=status))  # type: ignore[arg-type]

    def restart_venue(self, for_ns: int) -> None:
        """The venue's engine restarts; afterwards it takes post-only orders for a while."""
        if self.venue_status != "open":
            return
        self.world.effect(53)
        self.set_venue_status("restarting")
        self.world.after(for_ns, self._restarted)

    def _restarted(self) -> None:
        self.set_venue_status("open")
        if self.world.healed or self.kalshi is not None:
            return
        for market in range(self.options.markets):
            if self.status_of(market) == d.ACTIVE:
                self._set_status(market, d.POST_ONLY_MODE)
                self.world.after(4 * SECOND, self._end_post_only, market)

    def _end_post_only(self, market: int) -> None:
        if self.status_of(market) == d.POST_ONLY_MODE:
            self._set_status(market, d.ACTIVE)

    def change_tick(self, market: int) -> None:
        """Another price grid holds from now on; levels off it are gone."""
        if self.status_of(market) != d.ACTIVE:
            return
        index = (self.grids[market] + 1) % len(self.ticks)
        step = self.ticks[index]
        flow, now = self.flows[market], self.world.now_ns
        gone = [(s, p) for s in (d.BID, d.ASK) for p in flow.book[s] if p % step]
        rows = [row(now, market, d.LEVEL, s, p, 0) for s, p in gone]
        flow.change_tick(step)
        self.grids[market] = index
        self.publish(market, [*rows, row(now, market, d.TICK, aux=index)])
        self.publish(market, flow.step())

    def settle(self, market: int, word: str, delay_ns: int) -> None:
        """A market closes and pays a little later."""
        if self.status_of(market) in (d.CLOSED, d.SETTLED) or market in self.fates:
            return
        if self.modelled is not None:
            self.modelled.settle(market, word, delay_ns)
            return
        self._set_status(market, d.CLOSED)
        self.world.after(delay_ns, self.pay, market, word)

    def pay(self, market: int, word: str) -> None:
        """A market pays."""
        value, bits = VALUES[word]
        if self.venue.net(market):
            self.world.effect(34)
        self.status[market] = d.SETTLED
        self.paid[market] = value
        self.paid_ns = self.world.now_ns
        self.venue.feed([row(self.world.now_ns, market, d.SETTLE, qty=value, bits=bits)])
        if word == "amended":
            self.world.after(5 * SECOND, self.venue.amend, market, 0)

    def transfer(self, amount_micros: int) -> None:
        """A person moves money; half of the time the venue tells."""
        told = self.world.stream("operator").random() < 0.5
        moved = self.venue.transfer(amount_micros, told=told)
        self.untold_ns = self.untold_ns if told else self.world.now_ns
        self.money_moved = True
        self.say(f"a person moves {moved / 1e6:.2f} dollars")

    @property
    def untold(self) -> bool:
        """Money moved so lately without a word that the engine need not have booked it yet."""
        return self.untold_ns > 0 and self.world.now_ns < self.untold_ns + 90 * SECOND

    def foreign_trade(self, market: int, side: int, contracts: int) -> bool:
        """Somebody else trades on our account."""
        fill = self.venue.trade_foreign(market, side, contracts)
        if fill is not None:
            self.foreign_micros += fill.size
            self.say(f"somebody trades {contracts} contracts of market {market} by hand")
        return fill is not None

    def try_absurd(self, what: int) -> None:
        """The policy asks for something absurd: the gate must refuse it."""
        gate = Gate(self.risk)
        price, size, side = [
            (0, 10**6, 0), (10_000, 10**6, 1), (5_000, 0, 0), (5_000, -(10**6), 1),
            (5_000, 10**12, 0), (9_900, 10**6, 0), (100, 10**6, 1), (5_000, 10**6, 7),
        ][what]  # fmt: skip
        facts = MarketFacts(
            status=d.ACTIVE, min_size=10**6, lot=10**6, on_grid=lambda price: price % 100 == 0,
            fair_micros=500_000, book_age_ns=0, held=False, price_band_micros=250_000, nets_positions=True,
        )  # fmt: skip
        wish = Wish(order_id=1, market=0, side=side, sell=False, price=price, size=size, tif=d.POST_ONLY)
        portfolio = Portfolio(killed=False, halted=False, cash_micros=10**9, locked_micros=0)
        verdict = gate.approve(self.world.now_ns, wish, facts, Exposure(), portfolio)
        if not isinstance(verdict, Refusal) or not verdict.is_absurd:
            raise Violation("I10 absurd order", f"the gate passes {wish}")
        self.world.effect(76)


def _where(error: Exception) -> str:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    place = " < ".join(f"{f.filename.rsplit('/', 2)[-1]}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {error} at {place}"
