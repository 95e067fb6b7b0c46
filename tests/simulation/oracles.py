"""What must always hold, checked on the venue's truth and on the wires; numbers as in docs/simulation.md.

The reading of limits is written a second time here, slowly and from fills alone, so that it shares nothing
with the one it checks.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.risk.gate import Gate
from simulation.world import SECOND

if TYPE_CHECKING:
    from pr3dict.domain.steps import Step
    from simulation.process import Process
    from simulation.simulator import Simulation

MONEY_KNOBS = ("fill_conflict", "ghost", "overfill", "final_conflict", "void", "void_storm")
UNIT = 10_000  # price units of a dollar
BID = d.BID


class Violation(AssertionError):
    """An invariant is broken; `name` is its number and word."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Loss(NamedTuple):
    """Worst case in micros: of each market alone, and of all together."""

    markets: tuple[int, ...]
    events: tuple[int, ...]
    total: int


def worst_case(
    fills: list[e.Filled], void: dict[str, str], orders: tuple[e.VenueOrder, ...], sim: Simulation
) -> Loss:
    """Every resting order filled against us, every provisional fill read against us, fees apart."""
    n = sim.options.markets
    if_yes, if_no = [0] * n, [0] * n
    for fill in fills:
        if fill.trade_id in void or fill.market in sim.paid:
            continue
        gain_yes, gain_no = outcome(fill.side, fill.price, fill.size)
        if_yes[fill.market] -= gain_yes
        if_no[fill.market] -= gain_no
        if not fill.final:  # the worse of final and void
            if_yes[fill.market] += max(gain_yes, 0)
            if_no[fill.market] += max(gain_no, 0)
    for order in orders:
        gain_yes, gain_no = outcome(order.side, order.price, order.remaining)
        if_yes[order.market] += max(-gain_yes, 0)
        if_no[order.market] += max(-gain_no, 0)
    yes = [value // UNIT for value in if_yes]
    no = [value // UNIT for value in if_no]
    alone = tuple(max(y, v) for y, v in zip(yes, no, strict=True))
    groups = [[0, 1], *([m] for m in range(2, n))] if sim.options.exclusive else [[m] for m in range(n)]
    events = []
    for group in groups:
        none = sum(no[m] for m in group)
        events.append(
            max(0, none, *(none - no[m] + yes[m] for m in group))
            if len(group) > 1
            else max(0, alone[group[0]])
        )
    return Loss(alone, tuple(events), sum(events))


def outcome(side: int, price: int, size: int) -> tuple[int, int]:
    """Gain of a trade in 1e-4 micros if YES and if NO: a bid pays `price`, an ask receives it."""
    if side == BID:
        return (UNIT - price) * size, -price * size
    return -(UNIT - price) * size, price * size


class Oracles:
    """Watches one simulation; raises `Violation` at the first thing that must not be."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.durable_of: dict[int, int] = {}  # order id to the step that made it
        self.approved: dict[int, None] = {}
        self.left: dict[int, c.Place] = {}
        self.accepted: Counter[int] = Counter()
        self.slack_micros = 0  # what faults beyond anybody's control may add to the worst case
        self.lies: set[int] = set()  # orders about which the venue itself lied
        self.halted = False
        self.flattening: set[int] = set()
        self.broken: set[int] = set()  # markets that wait for a snapshot, as far as the process was told
        self.down = True  # what the process was last told of its streams
        self.alive_ns = 0  # its newest proof of life
        self.reads_seen: set[type] = set()  # kinds of lists that this life has read
        self.filled: dict[int, dict[str, int]] = {}  # by order: sizes of its fills
        self.days: list[tuple[int, e.DayStarted]] = []  # step that began to count the loss of a day
        self.placed_ns: deque[int] = deque()
        self.hashes: dict[int, str] = {}
        self.max_open = 0

    # --- the wire

    def allow(self, market: int, order_id: int) -> None:
        """The venue lies about this order: what it may cost is nobody's fault."""
        self.lies.add(order_id)
        place = self.left.get(order_id)
        self.slack_micros += 4 * (place.size if place is not None else 10_000_000)

    def approves(self, place: c.Place) -> None:
        """The gate approved."""
        if place.order_id in self.approved:
            raise Violation("I5 id reused", f"order {place.order_id} was approved twice")
        self.approved[place.order_id] = None

    def lost_steps(self) -> None:
        """The machine lost what was not durable: those orders never were, their ids may come again."""
        last = self.sim.disk.durable_number
        for number in [n for n, step in self.durable_of.items() if step > last]:
            del self.durable_of[number]
        for number in [n for n in self.approved if n not in self.durable_of]:
            del self.approved[number]
        self.days = [day for day in self.days if day[0] <= last]

    def stepped(self, process: Process, step: Step) -> None:
        """A step was made: who may trade now, and which orders it holds."""
        for command in step.commands:
            if isinstance(command, c.Place):
                if command.order_id in self.durable_of:
                    raise Violation("I5 id reused", f"order {command.order_id} was made in two steps")
                self.durable_of[command.order_id] = step.number
                self._may_quote(step, command)
                if self.sim.rules is not None:
                    self.sim.rules.decided(command.market, command.order_id)
            elif isinstance(command, c.SetLatch):
                self.halted = True
                self.flattening.clear()
            elif isinstance(command, c.ClearLatch):
                self.halted = False
        latched = any(isinstance(command, c.SetLatch) for command in step.commands)
        for event in step.inputs:
            if isinstance(event, e.Halt) and not latched:
                raise Violation("I7 halt", f"the halt {event.command_id} did not set the latch")
            if isinstance(event, e.Latched):
                self.halted = True
                self.flattening.clear()
            elif isinstance(event, e.Flatten):
                self.flattening.update(
                    range(self.sim.options.markets) if event.market < 0 else [event.market]
                )
        self._check_overfill(step)
        self._check_money(step)
        self._note_days(step)

    def born(self, process: Process) -> None:
        """A process begins: it knows nothing of its streams."""
        self.broken = set(range(self.sim.options.markets))
        self.down = True
        self.alive_ns = 0
        self.reads_seen = set()

    def takes_in(self, events: tuple[e.Control, ...], data: d.Array) -> None:
        """What a step takes in: events first, then market data."""
        for event in events:
            self._hear(event)
        if len(data):
            last = (data["kind"] == d.SNAPSHOT) & (data["bits"] & d.SNAP_LAST != 0)
            self.broken.difference_update(data["market"][last].tolist())

    def _hear(self, event: e.Control) -> None:
        match event:
            case e.BookInvalid():
                self.broken.add(event.market)
            case e.FeedDown():
                self.down = True
                self.broken = set(range(self.sim.options.markets))
            case e.FeedUp():
                self.down = False
                self.alive_ns = 0  # its books come anew, so they are fresh
            case e.FeedAlive():
                self.alive_ns = max(self.alive_ns, event.venue_ns)
            case e.OrdersRead() | e.FillsRead() | e.PositionsRead() | e.BalanceRead():
                self.reads_seen.add(type(event))
            case _:
                pass

    def _may_quote(self, step: Step, place: c.Place) -> None:
        """I11, I23 and the recovery: what must be known before an order is decided."""
        if self.down:
            raise Violation("I11 feed down", f"order {place.order_id} was decided while the streams are down")
        if place.market in self.broken:
            raise Violation(
                "I23 broken book", f"order {place.order_id} was decided while its book waits for a snapshot"
            )
        limit = self.sim.risk.feed_timeout_ns + 2 * SECOND + abs(self.sim.clock.offset_ns())
        if self.alive_ns and step.now_ns - self.alive_ns > limit:
            age = (step.now_ns - self.alive_ns) / SECOND
            raise Violation(
                "I11 stale", f"order {place.order_id} was decided {age:.1f} s after the last proof of life"
            )
        if len(self.reads_seen) < 4:
            seen = sorted(kind.__name__ for kind in self.reads_seen)
            raise Violation(
                "R12 unreconciled", f"order {place.order_id} was decided after only {seen} were read"
            )

    def _check_money(self, step: Step) -> None:
        """I2: cash that nothing explains may be booked only where the venue gave none of the reasons."""
        world = self.world
        if self.sim.money_moved or any(world.injected[knob] for knob in MONEY_KNOBS):
            return
        for event in step.derived:
            if isinstance(event, e.Transferred):
                raise Violation("I2 unexplained", f"{event} was booked, but nobody moved money")

    def _note_days(self, step: Step) -> None:
        """I24: the loss of a day counts from its beginning, or from a person's resume."""
        for event in step.derived:
            if isinstance(event, e.DayStarted):
                again = bool(self.days) and self.days[-1][1].end_ns == event.end_ns
                if again and not any(isinstance(x, e.Resume) for x in step.inputs):
                    raise Violation("I24 daily loss", f"{event} begins a day that had begun: {self.days[-1]}")
                self.days.append((step.number, event))

    def _check_day(self, process: Process) -> None:
        counts_from = process.engine.brain.day_start_micros
        if process.log_failed:
            return  # what it decides now is kept by nobody
        if process.began and self.days and counts_from != self.days[-1][1].equity_micros:
            raise Violation(
                "I24 daily loss", f"it counts from {counts_from}, the day from {self.days[-1][1]}"
            )

    def _check_overfill(self, step: Step) -> None:
        """I21: more was filled than ordered, so everything stops."""
        over = 0
        for event in step.inputs:
            fills = (
                event.fills
                if isinstance(event, e.FillsRead)
                else (event,)
                if isinstance(event, e.Filled)
                else ()
            )
            for fill in fills:
                sizes = self.filled.setdefault(fill.order_id, {})
                place = self.left.get(fill.order_id)
                if fill.trade_id in sizes or place is None:
                    continue
                sizes[fill.trade_id] = fill.size
                if sum(sizes.values()) > place.size >= sum(sizes.values()) - fill.size:
                    over = fill.order_id
        if over and not self.halted and not any(isinstance(x, e.Tripped) for x in step.derived):
            raise Violation("I21 overfill", f"order {over} filled beyond its size and nothing stopped")

    def leaves(self, place: c.Place) -> None:
        """A new order leaves the process: I5, I7, I8, I10, I12, I19, I23."""
        sim = self.sim
        number = place.order_id
        if number in self.left:
            raise Violation("I5 id reused", f"order {number} left twice")
        self.left[number] = place
        if number not in self.approved:
            raise Violation("I8 not approved", f"order {number} left without the gate's approval")
        step = self.durable_of.get(number)
        if step is None or step > sim.disk.durable_number:
            raise Violation("I12 not durable", f"order {number} left before step {step} was on disk")
        if sim.disk.latch is not None and place.market not in self.flattening:
            raise Violation("I7 killed", f"order {number} left while the kill latch is set: {sim.disk.latch}")
        if self.halted and place.market not in self.flattening:
            raise Violation("I7 halted", f"order {number} left after a halt")
        self._sane(place)
        self._not_too_fast()

    def _sane(self, place: c.Place) -> None:
        sim = self.sim
        listing = sim.listings[place.market]
        if not all(isinstance(v, int) for v in (place.price, place.size, place.side)):
            raise Violation("I22 no integer", f"{place}")
        if not 0 < place.price < UNIT or place.size < listing.min_size or place.size % listing.lot:
            raise Violation("I10 insane order", f"{place}")
        if place.size > sim.max_order_size:
            raise Violation("I10 fat finger", f"{place}")
        if not any(grid.contains(place.price) for grid in listing.grids):
            raise Violation("I10 off every grid", f"{place}")
        process = sim.process
        assert process is not None
        market = process.engine.world.markets[place.market]
        fair = int(market.fair_micros)
        if fair >= 0 and abs(place.price * 100 - fair) > sim.collar_micros + 250_000:
            raise Violation("I10 collar", f"{place}: fair value is {fair}")
        if place.expiry_ns and place.expiry_ns > process.time_now() + sim.options.life_ns + SECOND:
            raise Violation("R3 life", f"{place} lives longer than set")
        if sim.options.life_ns and not place.expiry_ns:
            raise Violation("R3 life", f"{place} never dies")

    def _not_too_fast(self) -> None:
        now = self.world.now_ns
        self.placed_ns.append(now)
        while self.placed_ns[0] <= now - SECOND:
            self.placed_ns.popleft()
        # The cap counts decisions, the wire what a slow journal let go at once.
        if len(self.placed_ns) > 2 * self.sim.risk.max_orders_per_second + 4 and not self.world.is_on(
            "disk_slow"
        ):
            raise Violation("I19 too fast", f"{len(self.placed_ns)} orders in a second")

    # --- the venue

    def truth(self) -> Loss:
        """Worst case on the venue's truth now."""
        truth = self.sim.venue.exchange.truth
        return worst_case(truth.fills, truth.void, self.sim.venue.open_orders(), self.sim)

    def before_arrival(self, place: c.Place) -> Loss | None:
        """The worst case just before an order arrives."""
        return self.truth()

    def arrived(self, place: c.Place, said: list[e.Control], before: Loss | None) -> None:
        """An order reached the venue: I5, I6, I9."""
        number = place.order_id
        accepted = any(isinstance(event, e.Accepted) for event in said)
        refused = next((event for event in said if isinstance(event, e.Refused)), None)
        if refused is not None and refused.why == "self_trade" and not self._excused():
            raise Violation("I9 own cross", f"{place} would meet our own order")
        if not accepted or before is None:
            return
        after = self.truth()
        limits = self.sim.risk
        slack = self.slack_micros + self.sim.foreign_micros + 2
        closing = self._closes(place)
        m = place.market
        for word, was, now, limit in (
            ("market", before.markets[m], after.markets[m], limits.max_loss_per_market_micros),
            ("total", before.total, after.total, limits.max_total_loss_micros),
        ):
            if limit and now > limit + slack and now > was and not closing:
                raise Violation(
                    "I6 worst case",
                    f"order {number} brings the {word} to {now}, limit {limit}, slack {slack}",
                )

    def _excused(self) -> bool:
        return bool(self.lies) or self.sim.foreign_micros > 0

    def _closes(self, place: c.Place) -> bool:
        net = self.sim.venue.net(place.market)
        held = -net if place.side == BID else net
        return held > 0

    def cancels_leave(self, step: Step, urgent: tuple[c.Action, ...], waiting: tuple[c.Action, ...]) -> None:
        """A cancel never waits for the journal, unless it takes back an order that has not left."""
        at_once = {a.order_id for a in urgent if isinstance(a, c.Cancel)}
        for command in step.commands:
            if (
                isinstance(command, c.Cancel)
                and command.order_id not in at_once
                and command.order_id in self.left
            ):
                raise Violation(
                    "R1 cancel waits", f"the cancel of order {command.order_id} did not leave at once"
                )

    # --- each second

    def second(self) -> None:
        """Full checks: I1 and I2 on the venue itself (I28), I9, I18."""
        sim = self.sim
        if sim.venue.exchange.unexplained:
            raise Violation("I28 venue", "; ".join(sim.venue.exchange.unexplained))
        best: dict[int, list[int]] = {}
        for order in sim.venue.open_orders():
            pair = best.setdefault(order.market, [0, UNIT])
            if order.side == BID:
                pair[0] = max(pair[0], order.price)
            else:
                pair[1] = min(pair[1], order.price)
        for market, (bid, ask) in best.items():
            if bid >= ask:
                raise Violation("I9 own cross", f"market {market}: own bid {bid}, own ask {ask}")
        if sim.process is not None:
            self._bounded(sim.process)
            self._check_day(sim.process)

    def _bounded(self, process: Process) -> None:
        account = process.engine.account
        count = sum(
            len(account.open_orders(m))
            for m in range(self.sim.options.markets)
            if m < len(process.engine.listings)
        )
        self.max_open = max(self.max_open, count)
        if count > 48 * self.sim.options.markets:
            raise Violation("I18 unbounded", f"{count} orders are tracked as open")

    # --- the end

    def compare(self, process: Process) -> None:
        """Everything is quiet: the engine's account is the venue's truth (I1, I2, I3, I4, I13)."""
        sim, account = self.sim, process.engine.account
        exchange = sim.venue.exchange
        ghosts = [trade for trade, why in exchange.truth.void.items() if why == "ghost"]
        for market in range(sim.options.markets):
            held = account.position(market)
            yes, no = exchange.positions().get(market, (0, 0))
            mine = held.yes_contracts - held.no_contracts
            if mine != yes - no:
                raise Violation(
                    "I1 position", f"market {market}: engine {mine}, venue {yes - no}, ghosts {ghosts}"
                )
            ours = {o.order_id: o.remaining for o in account.open_orders(market)}
            theirs = {
                o.order_id: o.remaining for o in sim.venue.open_orders() if o.market == market and o.order_id
            }
            if missing := sorted(set(theirs) - set(ours)):
                raise Violation(
                    "I3 unknown order", f"market {market}: {missing} rest at the venue, we do not know"
                )
            if extra := sorted(set(ours) - set(theirs)):
                states = {
                    o.order_id: str(o.state) for o in account.open_orders(market) if o.order_id in extra
                }
                raise Violation("I4 ghost order", f"market {market}: {states} do not rest at the venue")
            if differ := {k: (v, theirs[k]) for k, v in ours.items() if theirs[k] != v}:
                raise Violation("I13 remaining", f"market {market}: (ours, venue) {differ}")
            if market not in sim.paid and sim.status_of(market) == d.ACTIVE:
                touch, shown = process.engine.touch(market), sim.displayed_touch(market)
                if touch != shown:
                    raise Violation("I23 book", f"market {market}: our touch is {touch}, the venue's {shown}")
        # A void of what was sold meanwhile leaves the pairs to the venue: a pair is worth its dollar.
        ours, theirs = account.cash_micros, exchange.cash_micros
        for market in range(sim.options.markets):
            held = account.position(market)
            ours += min(held.yes_contracts, held.no_contracts)
            theirs += min(exchange.positions().get(market, (0, 0)))
        if ours != theirs and not sim.untold:
            off = ours - theirs
            raise Violation(
                "I2 cash", f"engine {account.cash_micros}, venue {exchange.cash_micros}: off by {off}"
            )


class watching_gate:  # noqa: N801 - reads as a statement
    """While in force, every approval of any gate is told to the oracles."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim

    def __enter__(self) -> None:
        self.approve = approve = Gate.approve
        sim = self.sim

        def watched(gate: Gate, *args, **kwargs):
            verdict = approve(gate, *args, **kwargs)
            if isinstance(verdict, c.Place) and gate._config is sim.risk and sim.watching:
                sim.oracles.approves(verdict)
            return verdict

        Gate.approve = watched  # type: ignore[method-assign]

    def __exit__(self, *exc: object) -> None:
        Gate.approve = self.approve  # type: ignore[method-assign]
