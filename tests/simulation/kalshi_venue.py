"""Kalshi's own rules on top of the simulated exchange: order groups, shards, closing, payouts, names.

The exchange below stays the truth about orders, fills and cash; what is kept here is worked out from its
fills a second time, so that the two can be compared.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated import interventions as hands
from pr3dict.venues.simulated.faults import PlaceFault
from pr3dict.venues.simulated.truth import BookedOrder, cash_of
from simulation.flow import Row, row
from simulation.venue import SeededFaults, Venue
from simulation.world import MS, SECOND, START_NS

if TYPE_CHECKING:
    from simulation.simulator import Simulation

WINDOW_NS = 15 * SECOND
ALLOCATION_NS = 10 * SECOND
GROUP = "order group is triggered"
SHARDS = (0, 0, 2, 3)
RESULTS = {  # what a market is determined to be: result and value of one YES contract, None: not stated
    "one": ("yes", 1_000_000),
    "zero": ("no", 0),
    "half": ("scalar", 500_000),
    "amended": ("yes", 1_000_000),
    "refund": ("void", None),
}


class Group:
    """A kill switch: more than `limit` micro-contracts within 15 s cancel its orders and refuse new ones."""

    def __init__(self, name: str, shard: int, limit: int) -> None:
        self.name = name
        self.shard = shard
        self.limit = limit
        self.fired = False
        self.fired_ns = 0
        self.window: deque[tuple[int, int]] = deque()

    def add(self, at_ns: int, size: int) -> None:
        """Contracts of the group traded."""
        self.window.append((at_ns, size))
        while self.window[0][0] <= at_ns - WINDOW_NS:
            self.window.popleft()

    @property
    def is_exceeded(self) -> bool:
        """Whether it has to fire."""
        return not self.fired and sum(size for _, size in self.window) > self.limit


class KalshiFaults(SeededFaults):
    """What goes wrong at Kalshi itself."""

    def on_place(self, now_ns: int, place: c.Place) -> PlaceFault:
        venue = self.sim.kalshi
        shard = venue.shard_of[place.market]
        if now_ns < venue.unknown_until_ns.get(shard, 0):
            self.world.effect(104)
            return PlaceFault(refuse="none", text="user_not_found")
        if venue.is_fired(place.order_id):
            return PlaceFault(refuse="not_active", text=GROUP)
        if venue.lacks(place):
            self.world.effect(102)
            return PlaceFault(refuse="no_cash", text="insufficient_balance")
        return super().on_place(now_ns, place)


class KalshiVenue(Venue):
    """One account at Kalshi."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        n = sim.options.markets
        random = self.world.stream("kalshi")
        self.random = random
        self.shard_of = [random.choice(SHARDS) for _ in range(n)]
        if sim.options.exclusive:
            self.shard_of[1] = self.shard_of[0]  # an event lives on one shard
        self.groups: dict[str, Group] = {}
        self.group_of: dict[int, Group] = {}  # by order
        self.crossed: set[int] = set()  # accepted, and cancelled for crossing
        self.names: dict[str, int] = {}  # order by the id that it has now
        self.name_of: dict[int, str] = {}
        self.unknown_until_ns: dict[int, int] = {}  # by shard: the account is not known there
        self.down: set[int] = set()  # shards that do not trade
        self.net_of = [0] * n
        shards = sorted({0, *self.shard_of})
        cash = sim.options.cash * 1_000_000
        self.cash_of = {shard: cash // len(shards) for shard in shards}
        self.cash_of[0] += cash - sum(self.cash_of.values())
        self.allocates = random.random() < 0.5  # balances are levelled every ten seconds
        self.tells_amendments = random.random() < 0.5
        self._booked = 0
        # lives of the markets, as their bodies state them
        self.close_ns = [listing.close_ns for listing in sim.listings]
        self.state = ["active"] * n
        self.result: list[tuple[str, int | None]] = [("", None)] * n
        self.closed: set[int] = set()
        for market in range(n):
            self._plan_close(market)
        self.window_ns: tuple[int, int] | None = None  # of announced maintenance
        if self.world.fires("maintenance"):
            begin_ns = START_NS + self.world.amount("maintenance", 65, 85) * SECOND
            self.window_ns = (begin_ns, begin_ns + self.world.amount("maintenance", 3, 8) * SECOND)
            self.world.at(self.window_ns[0], self._maintain, "closed")
            self.world.at(self.window_ns[1], self._maintain, "open")
        self.world.after(ALLOCATION_NS, self._allocate)

    def _make_faults(self) -> SeededFaults:
        return KalshiFaults(self.sim)

    def heal(self) -> None:
        super().heal()
        self.unknown_until_ns.clear()
        self.down.clear()
        self.allocate()

    # --- what every change brings

    def feed(self, rows: list[Row]) -> None:
        """The others act; nobody does after the close."""
        super().feed([r for r in rows if r[5] not in self.closed or r[6] in (d.STATUS, d.SETTLE)])

    def advance(self) -> None:
        super().advance()
        self._book()

    def tell(self, said: list[e.Control]) -> None:
        self._book_fills()
        super().tell(said)
        self._book()

    def _book(self) -> None:
        """Book what traded, and let groups fire that it brought beyond their limit."""
        if self._booked < len(self.exchange.truth.fills):
            self._book_fills()
        for group in self.groups.values():
            if group.is_exceeded:
                self.world.effect(101)
                self.trigger(group)

    def _book_fills(self) -> None:
        truth = self.exchange.truth
        for fill in truth.fills[self._booked :]:
            if fill.order_id in self.group_of:
                self.group_of[fill.order_id].add(fill.exch_ns, fill.size)
            if fill.trade_id in truth.void or fill.market in self.sim.paid:
                continue
            was = self.net_of[fill.market]
            now = was + (fill.size if fill.side == d.BID else -fill.size)
            self.net_of[fill.market] = now
            self.cash_of[self.shard_of[fill.market]] += cash_of(fill) + max(-was, 0) - max(-now, 0)
        self._booked = len(truth.fills)

    # --- order groups

    def is_fired(self, order_id: int) -> bool:
        """Whether an order would join a group that has fired."""
        group = self.group_of.get(order_id)
        return group is not None and group.fired

    def trigger(self, group: Group) -> None:
        """Everything of the group is cancelled, and told."""
        group.fired, group.fired_ns = True, self.world.now_ns
        self.sim.say(f"the order group {group.name} fires")
        said: list[e.Control] = []
        for order in list(self.exchange.truth.open.values()):
            if self.group_of.get(order.order_id) is group:
                said += hands.cancel_by_hand(self.exchange, self.world.now_ns, order.order_id)
        self.version += 1
        self._done(said)
        self.sim.session.publish_group(group.name, "triggered")

    # --- shards

    def lacks(self, place: c.Place) -> bool:
        """Whether a shard's balance does not cover an order beside those that rest there."""
        shard = self.shard_of[place.market]
        locked = sum(
            self._needs(order.market, order.side, order.price, order.remaining)
            for order in self.exchange.truth.open.values()
            if self.shard_of[order.market] == shard
        )
        need = self._needs(place.market, place.side, place.price, place.size)
        return need > 0 and locked + need > max(self.cash_of[shard], 0)

    def _needs(self, market: int, side: int, price: int, size: int) -> int:
        net = self.net_of[market]
        opens = size - min(size, max(-net if side == d.BID else net, 0))
        return opens * (price if side == d.BID else 10_000 - price) // 10_000

    def move_between(self, source: int, target: int, amount_micros: int) -> None:
        """A person moves money between shards."""
        self.cash_of[source] -= amount_micros
        self.cash_of[target] += amount_micros

    def allocate(self) -> None:
        """Level the balances of all shards."""
        total = sum(self.cash_of.values())
        for shard in self.cash_of:
            self.cash_of[shard] = total // len(self.cash_of)
        self.cash_of[0] += total - sum(self.cash_of.values())

    def _allocate(self) -> None:
        self.world.after(ALLOCATION_NS, self._allocate)
        if self.allocates or self.world.healed:
            self.allocate()

    def transfer(self, amount_micros: int, *, told: bool) -> int:
        moved = super().transfer(amount_micros, told=told)
        richest = max(self.cash_of, key=lambda shard: (self.cash_of[shard], shard))
        self.cash_of[richest] += moved
        return moved

    # --- pauses

    def pause_orders(self, market: int, *, told: bool) -> None:
        """Orders that asked for it are cancelled when their market pauses (-1: all markets)."""
        self.version += 1
        before = len(self.exchange.truth.open)
        self._done(hands.wipe(self.exchange, self.world.now_ns, market, told=told))
        if before > len(self.exchange.truth.open):
            self.world.effect(113)

    def _maintain(self, status: str) -> None:
        self.world.effect(111)
        self.sim.set_venue_status(status)

    # --- the end of a market

    def _plan_close(self, market: int) -> None:
        if self.close_ns[market] < self.world.now_ns + 3_600 * SECOND:
            self.world.at(self.close_ns[market], self._close, market, self.close_ns[market])

    def move_close(self, market: int, close_ns: int) -> None:
        """The close moves, earlier or later."""
        if market in self.closed:
            return
        self.close_ns[market] = close_ns // SECOND * SECOND
        self._plan_close(market)
        self.sim.session.publish_life(market, "close_date_updated", close_ts=close_ns // SECOND)

    def _close(self, market: int, planned_ns: int) -> None:
        """Nothing can be asked for any more; what rests goes shortly after. No notice of the close itself."""
        if market in self.closed or planned_ns != self.close_ns[market]:
            return
        self.advance()
        self.closed.add(market)
        self.state[market] = "closed"
        self.sim.status[market] = d.CLOSED
        self.sim.say(f"market {market} closes")
        if any(order.market == market for order in self.open_orders()):
            self.world.effect(106)
        self.world.after(self.random.randint(300, 4_000) * MS, self._clear, market)
        if market not in self.sim.fates:
            self.settle(market, "one", self.random.randint(2, 20) * SECOND)

    def _clear(self, market: int) -> None:
        self.feed([row(self.world.now_ns, market, d.STATUS, aux=d.CLOSED)])

    def settle(self, market: int, word: str, delay_ns: int) -> None:
        """What becomes of a market `delay_ns` after its close; it closes within seconds."""
        if word in ("one", "zero") and self.world.fires("dispute"):
            word = "amended"
        self.sim.fates[market] = word
        if market not in self.closed:
            close_ns = self.world.now_ns + self.random.randint(1, 4) * SECOND
            if close_ns < self.close_ns[market]:
                self.move_close(market, close_ns)
        wait_ns = max(self.close_ns[market] - self.world.now_ns, 0) + 5 * SECOND + delay_ns // 2
        self.world.after(wait_ns, self._determine, market, word)
        self.world.after(wait_ns + delay_ns // 2 + 4 * SECOND, self._finalize, market, word)
        if word == "amended":
            self.world.after(wait_ns + SECOND, self._dispute, market, "disputed", RESULTS["amended"])
            self.world.after(wait_ns + 2 * SECOND, self._dispute, market, "amended", RESULTS["zero"])

    def _determine(self, market: int, word: str) -> None:
        self.state[market] = "determined"
        self.result[market] = result, value = RESULTS[word]
        said = {} if value is None else {"settlement_value": value // 100}
        self.sim.session.publish_life(market, "determined", result=result, **said)

    def _dispute(self, market: int, state: str, result: tuple[str, int | None]) -> None:
        """The market's body says so; a notice may."""
        self.world.effect(112)
        self.state[market], self.result[market] = state, result
        word, value = result
        if state == "amended" and self.tells_amendments and value is not None:
            self.sim.session.publish_life(market, "determined", result=word, settlement_value=value // 100)

    def _finalize(self, market: int, word: str) -> None:
        self.state[market] = "finalized"
        net, shard = self.net_of[market], self.shard_of[market]
        self.sim.pay(market, "zero" if word == "amended" else word)
        value = self.result[market][1]
        if value is None:
            self.cash_of[shard] += self.exchange.paid[market][2]
            if net == 0:  # money without a position looks moved by a person until the payout is read
                self.sim.money_moved = True
        else:
            self.cash_of[shard] += (max(net, 0) * value + max(-net, 0) * (1_000_000 - value)) // 1_000_000
        self.net_of[market] = 0

    # --- names

    def name(self, order: BookedOrder) -> str:
        """Kalshi's id of an order now."""
        number = order.order_id
        if number not in self.name_of:
            self.name_of[number] = order.venue_id
            self.names[order.venue_id] = number
        return self.name_of[number]

    def rename(self, order: BookedOrder) -> None:
        """An amendment gave an order another id; the old one is not known any more."""
        old = self.name(order)
        del self.names[old]
        new = f"{order.venue_id}r{self.random.randrange(10**6)}"
        self.name_of[order.order_id] = new
        self.names[new] = order.order_id

    def find(self, name: str) -> BookedOrder | None:
        """The order of an id."""
        number = self.names.get(name)
        return None if number is None else self.exchange.truth.orders[number]
