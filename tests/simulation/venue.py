"""The venue: the simulated exchange as the truth, seeded faults, and hands that reach into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.simulated import interventions as hands
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.faults import (
    NO_CHANGE_FAULT,
    NO_FILL_FAULT,
    NO_PLACE_FAULT,
    Change,
    ChangeFault,
    Faults,
    FillFault,
    PlaceFault,
)
from simulation.flow import Row
from simulation.world import MS, SECOND, World

if TYPE_CHECKING:
    from simulation.simulator import Simulation

Answers = tuple[e.Control, ...]
KNOWN_REASONS = ("min_size", "no_cash", "not_active", "post_only_cross")
ANSWERS = (e.Accepted, e.Refused, e.Closed, e.Reduced, e.Renewed, e.RequestRefused, e.AnswerLost)


class SeededFaults(Faults):
    """What goes wrong at the venue itself, by the seed's decisions."""

    history_ns = 12 * SECOND

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world: World = sim.world
        self.limited_until_ns = 0
        self.unauthorized_until_ns = 0
        self.group_until_ns = 0
        self.storm_until_ns = 0
        self.provisional = sim.options.venue == "polymarket"
        self.to_void: set[str] = set()

    def heal(self) -> None:
        """All troubles of the venue end."""
        self.limited_until_ns = self.unauthorized_until_ns = self.group_until_ns = self.storm_until_ns = 0

    def on_place(self, now_ns: int, place: c.Place) -> PlaceFault:
        world = self.world
        if now_ns < self.unauthorized_until_ns:
            world.effect(55)
            return PlaceFault(refuse="not_active", text="401 unauthorized")
        if now_ns < self.group_until_ns:
            return PlaceFault(refuse="not_active", text="the order group was triggered")
        if now_ns < self.limited_until_ns:
            world.effect(54)
            return PlaceFault(refuse="rate_limit", text="429")
        if world.fires("refused"):
            world.effect(7)
            why = KNOWN_REASONS[world.amount("refused", 0, len(KNOWN_REASONS) - 1)]
            return PlaceFault(refuse=why, text=why)
        if world.fires("refused_strangely"):
            world.effect(8)
            return PlaceFault(refuse="none", text="ERR_7741: moon phase")
        return NO_PLACE_FAULT

    def on_change(self, now_ns: int, change: Change) -> ChangeFault:
        if now_ns < self.unauthorized_until_ns:
            return ChangeFault(refuse="not_active", text="401 unauthorized")
        if now_ns < self.limited_until_ns and self.world.amount("limited", 0, 3) == 0:
            return ChangeFault(refuse="rate_limit", text="429")
        if isinstance(change, c.Cancel):
            if self.world.fires("cancel_not_done"):
                self.world.effect(14)
                return ChangeFault(not_canceled=True)
            if self.world.fires("cancel_lie"):
                self.world.effect(18)
                self.sim.oracles.allow(change.market, change.order_id)
                return ChangeFault(lie=True)
        return NO_CHANGE_FAULT

    def on_fill(self, now_ns: int, fill: e.Filled) -> FillFault:
        world = self.world
        fields: dict[str, object] = {}
        if self.provisional:
            fields["provisional"] = True
            fields["final_after_ns"] = world.stream("venue").randint(200, 3_000) * MS
            if world.fires("final_late"):
                world.effect(29)
                fields["final_after_ns"] = world.amount("final_late", 10, 60) * SECOND
            storm = now_ns < self.storm_until_ns and world.amount("void_storm", 0, 99) < 35
            if storm or world.fires("void"):
                if storm:
                    world.effect(32)
                world.effect(27)
                fields["final_after_ns"] = 0
                fields["void_after_ns"] = world.stream("venue").randint(1, 30) * SECOND
                self.to_void.add(fill.trade_id)
        if world.fires("fill_late"):
            world.effect(24)
            fields["delay_ns"] = world.amount("fill_late", 1, 60) * SECOND
        if world.fires("fill_twice"):
            world.effect(20)
            fields["again_after_ns"] = world.amount("fill_twice", 1, 4_000) * MS
        elif world.fires("fill_conflict"):
            world.effect(22)
            fields["again_after_ns"] = world.amount("fill_conflict", 1, 4_000) * MS
            fields["twist"] = 100
        if world.fires("fee_noise"):
            world.effect(33)
            fields["extra_fee_micros"] = world.amount("fee_noise", 1, 20_000)
        if fill.order_id and world.fires("overfill"):
            world.effect(25)
            fields["extra_size"] = world.amount("overfill", 1, 3) * 1_000_000
            self.sim.oracles.allow(fill.market, fill.order_id)
        if fill.order_id and world.fires("ghost"):
            world.effect(31)
            self.sim.oracles.allow(fill.market, fill.order_id)
            return FillFault(ghost=True)
        return FillFault(**fields) if fields else NO_FILL_FAULT  # type: ignore[arg-type]

    def tells_of_wipe(self, now_ns: int, market: int) -> bool:
        return not self.sim.silent_wipe


class Venue:
    """The exchange in virtual time; what it says about our account goes to `sim.session`."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.faults = self._make_faults()
        rules = MarketMakingStrategy(sim.strategy).rules()
        rules["merge_threshold"] = 0
        cash = sim.options.cash * 1_000_000
        self.exchange = SimulatedExchange(sim.listings, NO_DATA, rules, cash, faults=self.faults)
        self.version = 0  # changes with the truth
        self._wake_ns = 0
        self._foreign = 0

    def _make_faults(self) -> SeededFaults:
        return SeededFaults(self.sim)

    # --- time

    def feed(self, rows: list[Row]) -> None:
        """The others act."""
        if rows:
            self.exchange.extend(np.array(rows, d.EVENT))
        self.advance()

    def advance(self) -> None:
        """Let the exchange reach the present."""
        happened = self.exchange.advance(self.world.now_ns)
        said = [occurrence.event for occurrence in happened if occurrence.event is not None]
        if said:
            self.version += 1
            self.tell(said)
        self._set_wake()

    def _set_wake(self) -> None:
        when = self.exchange.next_ns
        if when < self.world.now_ns + 3_600 * SECOND and (
            self._wake_ns <= self.world.now_ns or when < self._wake_ns
        ):
            self._wake_ns = when
            self.world.at(when, self._woken, when)

    def _woken(self, when: int) -> None:
        if when == self._wake_ns:
            self.advance()

    def tell(self, said: list[e.Control]) -> None:
        """Evidence about our account goes out on the user stream, settlements with the market data."""
        for event in said:
            if isinstance(event, e.Settled):
                self.sim.session.publish_settlement(event)
            else:
                self.sim.session.publish_user(event)
        self.sim.session.publish_own()

    # --- requests

    def request(self, command: c.Action) -> Answers:
        """A command arrives; returns the answer to it, the rest goes out on the user stream."""
        self.advance()
        now, x = self.world.now_ns, self.exchange
        self.version += 1
        if isinstance(command, c.Place):
            before = self.sim.oracles.before_arrival(command)
            said = x.place(now, command)
            self.sim.oracles.arrived(command, said, before)
        elif isinstance(command, c.Cancel):
            said = x.cancel(now, command)
        elif isinstance(command, c.Reduce):
            said = x.reduce(now, command)
        elif isinstance(command, c.Renew):
            said = x.renew(now, command)
        elif isinstance(command, c.CancelAll):
            said = x.cancel_all(now)
            self._done(said)
            return ()
        else:
            raise TypeError(f"no request: {command}")
        mine = tuple(
            event for event in said if isinstance(event, ANSWERS) and event.order_id == command.order_id
        )
        self._done(
            [event for event in said if not isinstance(event, e.Accepted | e.Refused | e.RequestRefused)]
        )
        return mine

    def _done(self, said: list[e.Control]) -> None:
        self.tell(said)
        self._set_wake()

    # --- reads: as of a time that is said

    def orders(self, at_ns: int) -> tuple[e.VenueOrder, ...]:
        """Open orders as of `at_ns`."""
        return self.exchange.truth.orders_at(at_ns)

    def open_orders(self) -> tuple[e.VenueOrder, ...]:
        """Open orders now."""
        return self.exchange.open_orders()

    def net(self, market: int) -> int:
        """YES less NO contracts."""
        yes, no = self.exchange.positions().get(market, (0, 0))
        return yes - no

    def own_best(self, market: int) -> tuple[int, int]:
        """Best own bid and ask, -1 for none."""
        held = self.exchange.world.holdings[market]
        bid, ask = int(held.own_bid_price), int(held.own_ask_price)
        return (bid if bid > d.NO_BID else -1, ask if ask < d.NO_ASK else -1)

    # --- hands from outside

    def cancel_everything(self, *, told: bool) -> bool:
        """All our orders are gone; whether there were any."""
        self.advance()
        had = bool(self.exchange.truth.open)
        self.version += 1
        self._done(hands.wipe(self.exchange, self.world.now_ns, -1, told=told))
        return had

    def cancel_by_hand(self, order: e.VenueOrder) -> None:
        """A person cancels one order."""
        self.advance()
        self.version += 1
        self._done(hands.cancel_by_hand(self.exchange, self.world.now_ns, order.order_id))

    def roll_back(self, order: e.VenueOrder) -> None:
        """An order disappears."""
        self.advance()
        self.version += 1
        self._done(hands.roll_back(self.exchange, self.world.now_ns, order.order_id))

    def transfer(self, amount_micros: int, *, told: bool) -> int:
        """Move money, at most what is free; returns how much."""
        self.advance()
        account = self.exchange.world.account[0]
        free = int(account.cash_micros) - int(account.reserved_micros)
        amount = max(amount_micros, -max(free, 0))
        self.version += 1
        said = hands.transfer(self.exchange, self.world.now_ns, self.sim.options.venue, amount, told=told)
        self._done(said)
        return amount

    def trade_foreign(self, market: int, side: int, contracts: int) -> e.Filled | None:
        """Somebody else on our account trades at the touch; None where there is nothing to trade with."""
        self.advance()
        touch = reads.touch(self.exchange, market)
        price = touch[1] if side == d.BID else touch[0]
        if price <= 0 or self.exchange.world.exchange_books[market].status != d.ACTIVE:
            return None
        self._foreign += 1
        fill = e.Filled(
            trade_id=f"foreign-{self._foreign}",
            order_id=0,
            market=market,
            side=side,
            price=price,
            size=contracts * 1_000_000,
            fee_micros=self.fee_of_hand(market, price, contracts * 1_000_000),
            maker=False,
            exch_ns=self.world.now_ns,
            venue_id=f"hand-{self._foreign}",
        )
        self.version += 1
        self._done(hands.trade_foreign(self.exchange, self.world.now_ns, fill))
        return fill

    def fee_of_hand(self, market: int, price: int, size: int) -> int:
        """What somebody else on our account pays for a trade."""
        return 0

    def set_status(self, status: hands.Status, *, told: bool) -> None:
        """The whole venue pauses, restarts, opens."""
        self.advance()
        self.version += 1
        self._done(
            hands.set_status(self.exchange, self.world.now_ns, self.sim.options.venue, status, told=told)
        )

    def heal(self) -> None:
        """All troubles of the venue end."""
        self.faults.heal()

    def amend(self, market: int, value_micros: int) -> None:
        """A settled market pays another value."""
        self.advance()
        self.version += 1
        self._done(hands.amend_settlement(self.exchange, self.world.now_ns, market, value_micros))
