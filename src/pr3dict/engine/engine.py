"""The engine: one function of what happened, `step`, and the state that it folds into.

No clock, socket, thread, chance or disk is in here, so one seed can run the whole of it through every fault,
and a journal replays to the same state. The order of one instant: control events (evidence about orders is
told to the brain), market data, timers, decisions, the gate, commands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.domain.market import Venue
from pr3dict.domain.steps import Quoted, Step
from pr3dict.domain.units import PPM_SCALE, format_contracts, format_price
from pr3dict.engine import holds as h
from pr3dict.engine import recovery
from pr3dict.engine.account import Account, Position
from pr3dict.engine.brain_port import BrainPort, Message
from pr3dict.engine.duty import Duty
from pr3dict.engine.effects import Anomaly, Effects, Report
from pr3dict.engine.feeds import Feeds
from pr3dict.engine.handlers import HANDLERS
from pr3dict.engine.holds import EVERYWHERE, Holds
from pr3dict.engine.operations import Upkeep
from pr3dict.engine.pretrade import Pretrade
from pr3dict.engine.queues import Queues
from pr3dict.engine.recovery import RecoveryState
from pr3dict.engine.settings import order_terms
from pr3dict.engine.view import EngineView, MarketView, view_of
from pr3dict.engine.watch import Watch
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import live
from pr3dict.kernels.book import best_ask, best_bid
from pr3dict.kernels.world import World
from pr3dict.risk.breakers import Breakers
from pr3dict.risk.gate import Refusal
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.market_making import MarketMakingStrategy

_FILL_WORDS = {
    (d.BID, False): "buy_yes",
    (d.BID, True): "sell_no",
    (d.ASK, False): "buy_no",
    (d.ASK, True): "sell_yes",
}
_NO_ROWS = np.zeros(0, d.EVENT)
MOST_ROUNDS = 8  # of decisions at one instant: a refusal by the gate makes one more


class Engine:
    """State and step of one process: any number of markets and venues, one account's money.

    Public attributes are for readers and for the modules of this package; nobody else changes them.
    """

    def __init__(self, config: RiskConfig, *, capacity: int = 64) -> None:
        """`capacity`: markets that fit before the arrays grow."""
        self.config = config
        self.account = Account(order_terms(config))
        self.breakers = Breakers(config)
        self.holds = Holds()
        self.feeds = Feeds(config.feed_timeout_ns)
        self.venues: dict[Venue, None] = {}
        self.now_ns = 0
        self.number = 0
        self.watch = Watch()
        self.queues = Queues()
        self.upkeep = Upkeep()
        self.duty = Duty(config.programme)
        self.recovery = RecoveryState()
        self.unconfirmed: dict[int, None] = {}  # markets that came while their venue was reconciled
        self.finished: dict[int, MarketView] = {}  # pictures of markets that have paid, until they change
        self.started: e.Started | None = None
        self._capacity = capacity
        self._strategy: MarketMakingStrategy | None = None
        self._brain: BrainPort | None = None
        self._pretrade: Pretrade | None = None
        self._derived: list[e.Control] = []
        self._commands: list[c.Action] = []
        self._quotes: list[Quoted] = []
        self._settled: list[e.Settled] = []
        self._held_back: list[c.Action] = []
        self.awaits_start = False
        self._taking_in = False

    # --- set-up -----------------------------------------------------------------------------------

    def register_strategy(self, strategy: MarketMakingStrategy) -> None:
        """Let `strategy` decide; before the first step, and once.

        Raises:
            UsageError: a strategy is registered already.
        """
        if self._strategy is not None:
            raise UsageError("this engine has its strategy already; make another engine for another one")
        self._strategy = strategy
        self._brain = BrainPort(self._capacity, strategy.params(), strategy.rules())
        self._pretrade = Pretrade(self.config)

    @property
    def strategy(self) -> MarketMakingStrategy:
        """The registered strategy; raises `UsageError` without one."""
        if self._strategy is None:
            raise UsageError("the engine has no strategy; call register_strategy first")
        return self._strategy

    @property
    def brain(self) -> BrainPort:
        """The compiled brain; raises `UsageError` before a strategy is registered."""
        if self._brain is None:
            raise UsageError("the engine has no strategy; call register_strategy first")
        return self._brain

    @property
    def pretrade(self) -> Pretrade:
        """The way to the gate; raises `UsageError` before a strategy is registered."""
        if self._pretrade is None:
            raise UsageError("the engine has no strategy; call register_strategy first")
        return self._pretrade

    @property
    def world(self) -> World:
        """The arrays of the brain; they are replaced when more markets are listed than they hold."""
        return self.brain.world

    @property
    def listings(self) -> list[e.Listed]:
        """The markets by row."""
        return self.brain.table.listings

    @property
    def is_halted(self) -> bool:
        """Whether a person or a breaker stopped everything until a person resumes."""
        return self.holds.has(EVERYWHERE, "", h.HALTED)

    @property
    def equity_micros(self) -> int:
        """Cash plus positions at fair value, or at the last one known."""
        return self.brain.equity_micros

    @property
    def day_loss_micros(self) -> int:
        """Equity lost since the trading day began (negative: won)."""
        brain = self.brain
        return brain.day_start_micros - brain.equity_micros

    @property
    def heat_limit_micros(self) -> int:
        """Most that everything together may lose in the worst case."""
        return max(0, self.equity_micros) // PPM_SCALE * int(self.world.rules[0].max_heat_ppm)

    # --- stepping -----------------------------------------------------------------------------------

    @property
    def next_timer_ns(self) -> int:
        """When to call `step` again at the latest."""
        return min(int(live.next_due_ns(self.world)), self._own_due_ns)

    @property
    def _own_due_ns(self) -> int:
        """When something beside the brain is due."""
        return min(
            self.account.next_due_ns,
            self.breakers.next_due_ns,
            self.feeds.next_due_ns,
            self.watch.next_due_ns,
            self.duty.next_due_ns,
            self.upkeep.next_due_ns,
        )

    def step(self, now_ns: int, data: d.Array, events: Sequence[e.Control]) -> Step:
        """One instant: everything that reached us at `now_ns`, and what follows from it.

        `data` are EVENT rows with this local time; a snapshot's rows come whole. Timers that are due happen
        now, so call it at `next_timer_ns` at the latest, or let `advance` do so. Time never goes back.

        Raises:
            WorkError: `now_ns` lies before the last step.
        """
        if now_ns < self.now_ns:
            raise WorkError(f"a step at {now_ns} ns after one at {self.now_ns} ns; time never goes back")
        self.now_ns = now_ns
        self.duty.before(self, now_ns, events)
        self._taking_in = True
        for event in events:
            self.take(event)
        if len(data):
            self.brain.see(data)
            self._find_whole_books()
        for settled in self._settled:
            self.brain.settle(settled, now_ns)
            self.pretrade.changed(settled.market)
        self._settled.clear()
        self._taking_in = False
        for command in self._held_back:
            self._count(command)
        self._held_back.clear()
        self._instant(now_ns)
        return self._finish(tuple(events))

    def advance(self, now_ns: int, data: d.Array, events: Sequence[e.Control]) -> tuple[Step, ...]:
        """`step`, after a step for each timer that was due before `now_ns`, at its own time.

        Returns the steps that are not empty. After a sleep (`ClockJumped`) what was due meanwhile happens
        now: nothing may be decided on what was known before it.
        """
        steps = []
        until_ns, events = self._awake_until(now_ns, events)
        while (due_ns := max(self.next_timer_ns, self.now_ns)) < until_ns:
            steps.append(self.step(due_ns, _NO_ROWS, ()))
            if self.next_timer_ns <= due_ns:
                raise WorkError(f"a timer of {due_ns} ns is due again at once; please report this")
        steps.append(self.step(now_ns, data, events))
        return tuple(step for step in steps if not step.is_empty)

    def _awake_until(self, now_ns: int, events: Sequence[e.Control]) -> tuple[int, tuple[e.Control, ...]]:
        """Before when timers run at their own time, and the events with that time noted in a jump."""
        noted = tuple(
            msgspec.structs.replace(event, awake_ns=self.now_ns)
            if isinstance(event, e.ClockJumped) and event.awake_ns == 0
            else event
            for event in events
        )
        jumps = [event.awake_ns + 1 for event in noted if isinstance(event, e.ClockJumped)]
        return min([now_ns, *jumps]), noted

    def follow(self, events: d.Array, first: int, until_ns: int) -> tuple[int, int]:
        """Instants of market data alone from row `first` on, compiled, while nothing else is due.

        Ends before `until_ns` at the first message that wants to leave, which `step` at the last instant
        sends. Returns the next row and the last instant (-1: none). Where `step` would do as well, so does
        this: it only saves the calls.
        """
        following, last_ns = self.brain.follow(events, first, min(until_ns, self._own_due_ns - 1))
        if last_ns >= 0:
            self.now_ns = last_ns
        return following, last_ns

    def _instant(self, now_ns: int) -> None:
        """What time brings at `now_ns`, then decisions."""
        if self.account.next_due_ns <= now_ns:
            for event in self.account.due(now_ns):
                self.conclude(event)
            for command in self.account.wants(now_ns):
                self.emit(command)
        if self.breakers.next_due_ns <= now_ns:
            for event in self.breakers.due(now_ns):
                self.conclude(event)
        if self.feeds.next_due_ns <= now_ns:
            for venue in self.feeds.expire(now_ns):
                self.set_hold(EVERYWHERE, venue, h.FEED_STALE, on=True)
        self.upkeep.look(self)
        for _ in range(MOST_ROUNDS):
            self.brain.decide(now_ns)
            for message in self.brain.messages():
                self._send(now_ns, message)
            self._quotes += self.brain.new_quotes(now_ns)
            self.watch.look(self)
            if not self.brain.is_changed:  # a refusal, a hold or a breaker asks for another round
                break
        if self.brain.error:
            self.break_off("brain", self.brain.error)

    def _send(self, now_ns: int, message: Message) -> None:
        """Pass on what the brain wants to send; a new order only through the gate."""
        order_id, market = message.order_id, message.market
        if message.kind == d.CANCEL:
            venue_id = self.account.venue_id(order_id)
            self.emit(c.Cancel(order_id=order_id, market=market, venue_id=venue_id))
        elif message.kind == d.REDUCE:
            venue_id = self.account.venue_id(order_id)
            self.emit(c.Reduce(order_id=order_id, market=market, venue_id=venue_id, remaining=message.size))
        else:
            verdict = self.pretrade.judge(self, now_ns, message)
            if isinstance(verdict, c.Place):
                self.watch.placed(order_id)
                self.emit(verdict)
                if verdict.sell != message.sell:
                    self.brain.buys_instead(order_id)
                    self.rebuild(market)
            else:
                self._refuse(now_ns, message, verdict)

    def _refuse(self, now_ns: int, message: Message, refusal: Refusal) -> None:
        report = Report(
            kind=d.REJECT,
            order_id=message.order_id,
            market=message.market,
            size=message.size,
            price=message.price,
            side=message.side,
            sell=message.sell,
            why=d.WHY_GATE,
        )
        self.brain.hear(report, now_ns)
        venue = self.listings[message.market].venue
        self.notice(Anomaly(f"gate_{refusal.code}", message.market, venue, refusal.text))

    def _finish(self, inputs: tuple[e.Control, ...]) -> Step:
        step = Step(
            number=self.number + 1,
            now_ns=self.now_ns,
            inputs=inputs,
            derived=tuple(self._derived),
            commands=tuple(self._commands),
            quotes=tuple(self._quotes),
            rows=self.brain.rows_seen,
        )
        if not step.is_empty:
            self.number += 1
            self.recovery.mark(step)
            self.duty.after(self, step)
        self._derived.clear()
        self._commands.clear()
        self._quotes.clear()
        return step

    # --- what handlers use --------------------------------------------------------------------------

    def take(self, event: e.Control) -> None:
        """One control event happens."""
        effects = self.account.apply(self.now_ns, event)
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        self.absorb(effects)
        self.recovery.note(event)
        self._trip(self.breakers.observe(self.now_ns, event))
        self._release_reconciled()

    def conclude(self, event: e.Control) -> None:
        """The engine concludes an event by itself; it is journaled as such."""
        self._derived.append(event)
        self.take(event)

    def emit(self, command: c.Action) -> None:
        """A command leaves the engine."""
        self._commands.append(command)
        if self._taking_in:
            self._held_back.append(command)
        else:
            self._count(command)

    def _count(self, command: c.Action) -> None:
        """What knows of commands hears of one; a fold tells them after all inputs, so a step does too."""
        self.account.commanded(self.now_ns, command)
        if isinstance(command, c.Place | c.Reduce):
            self.pretrade.changed(command.market)
        self._trip(self.breakers.observe(self.now_ns, command))

    def settle_later(self, event: e.Settled) -> None:
        """The market pays out after the market data of this instant."""
        self._settled.append(event)

    def absorb(self, effects: Effects) -> None:
        """Carry out what the account concluded: tell the brain, ask the venue, notice what is odd."""
        rebuilt = dict.fromkeys(effects.rebuilt)
        for report in effects.reports:
            self.pretrade.changed(report.market)
            self.finished.pop(report.market, None)
            heard = self.brain.hear(report, self.now_ns)
            if report.kind == d.FILL_REPORT:
                self.watch.filled(report.order_id)
                self._tell_strategy(report)
                if not heard or not self._agrees(report.market):
                    rebuilt[report.market] = None
        for market in rebuilt:
            self.rebuild(market)
        for command in effects.commands:
            self.emit(command)
        for anomaly in effects.anomalies:
            self.notice(anomaly)

    def notice(self, anomaly: Anomaly) -> None:
        """Something odd: count it, and say so."""
        self.watch.happened(self, f"anomaly_{anomaly.code}", anomaly.market, anomaly.text)
        self._trip(self.breakers.observe(self.now_ns, anomaly))

    def set_hold(self, market: int, venue: str, why: str, *, on: bool) -> None:
        """Hold back a market (-1: all of `venue`, or all), or let go; the brain decides anew."""
        if not self.holds.set(market, venue, why, on=on):
            return
        self._derived.append(e.Held(market=market, venue=venue, why=why, on=on))
        self.refresh_holds([market] if market != EVERYWHERE else range(len(self.listings)))

    def refresh_holds(self, markets: Iterable[int]) -> None:
        """Tell the brain what is held now."""
        w = self.world
        for m in markets:
            level = self.holds.level(m, self.listings[m].venue)
            if int(w.markets[m].hold) != level:
                live.hold(w, m, level)

    def break_off(self, code: str, text: str) -> None:
        """A rule that must always hold is broken: cancel everything and latch."""
        self._trip((e.Tripped(breaker=f"invariant_{code}", market=EVERYWHERE, until_ns=0, text=text),))

    def cancel_all(self, why: str) -> None:
        """Everything of ours, at every venue."""
        for venue in self.venues:
            self.emit(c.CancelAll(venue=venue, why=why))

    def touch(self, market: int) -> tuple[int, int]:
        """Best bid and ask as we see them, -1 where a side is empty."""
        w = self.world
        return int(best_bid(w.books[market], w.grids)), int(best_ask(w.books[market], w.grids))

    def _trip(self, trips: Iterable[e.Tripped | e.Released]) -> None:
        for trip in trips:
            self.conclude(trip)

    def _release_reconciled(self) -> None:
        if self.awaits_start:  # what an earlier process was told counts no more
            return
        for venue in self.venues:
            if self.holds.has(EVERYWHERE, venue, h.UNRECONCILED) and self.account.is_reconciled(venue):
                self.set_hold(EVERYWHERE, venue, h.UNRECONCILED, on=False)
        for market in list(self.unconfirmed):
            if self.account.is_reconciled(self.listings[market].venue, newest=True):
                del self.unconfirmed[market]
                self.set_hold(market, "", h.UNRECONCILED, on=False)

    def _find_whole_books(self) -> None:
        for market in self.feeds.whole_again(self.world):
            self.set_hold(market, "", h.BOOK_INVALID, on=False)

    def _agrees(self, market: int) -> bool:
        held = self.account.position(market)
        return self.brain.holding(market) == (held.yes_contracts, held.no_contracts)

    def rebuild(self, market: int) -> None:
        """Copy what a market holds, and the cash, from the account to the brain and the strategy."""
        self.pretrade.changed(market)
        self.finished.pop(market, None)
        held = self.account.position(market)
        cash = self.account.cash_micros
        live.rebuild(self.world, market, held.yes_contracts, held.no_contracts, held.cost_micros, cash)
        self._copy_inventory(market, held)

    def _copy_inventory(self, market: int, held: Position) -> None:
        self.strategy.set_inventory(
            market_id=self.listings[market].ticker,
            yes_contracts=held.yes_contracts,
            no_contracts=held.no_contracts,
            cost_micros=held.cost_micros,
        )

    def _tell_strategy(self, report: Report) -> None:
        """Spec 10: the engine calls it on every fill."""
        listing = self.listings[report.market]
        if report.sell:
            mine = self.strategy.inventory(listing.ticker)
            held = mine.no_contracts if report.side == d.BID else mine.yes_contracts
            if held < report.size:  # a sale was told before the purchase that it sells
                self._copy_inventory(report.market, self.account.position(report.market))
                return
        self.strategy.update_inventory(
            market_id=listing.ticker,
            side=_FILL_WORDS[report.side, report.sell],
            quantity=format_contracts(report.size),
            price=format_price(report.price),
            nets=listing.nets_positions,
        )

    # --- recovery, proof, pictures ----------------------------------------------------------------------

    def fold(self, step: Step) -> None:
        """Recovery: apply a journaled step without deciding anything."""
        recovery.fold(self, step)

    def recovered(self, now_ns: int) -> None:
        """The fold is over; what follows from it is part of the next step."""
        recovery.recovered(self, now_ns)

    def save(self) -> bytes:
        """The control state: orders, fills, positions, risk; not books and estimators."""
        return recovery.save(self)

    def load(self, blob: bytes) -> None:
        """Take over a saved control state; raises `WorkError` when the bytes are none."""
        recovery.load(self, blob)

    def view(self) -> EngineView:
        """A read-only picture of everything."""
        return view_of(self)

    def state_hash(self) -> str:
        """SHA-256 of everything that a later step may read."""
        digest = hashlib.sha256()
        for part in (self.account.encode(), self.breakers.encode(), repr(self.holds.to_list()).encode()):
            digest.update(part)
        for part in self.brain.state_bytes():
            digest.update(part)
        if (duty := self.duty.save(self.now_ns)) is not None:
            digest.update(repr(duty).encode())
        if (upkeep := self.upkeep.state()) is not None:
            digest.update(repr(upkeep).encode())
        return digest.hexdigest()
