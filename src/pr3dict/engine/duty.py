"""The hour's allowed absence under a market-maker agreement: how much is left, and the rule that spends it.

Each product has a budget of absence a clock hour. Whatever takes quotes away spends it; once only the reserve
is left, what the config lists in `may_spend` yields until the hour ends: a volume pause no longer pulls, and
quotes stand at the widest spread that still counts. Nothing else is touched: holds, breakers, limits, filters
and the kill switch win always. Once the hour is lost there is nothing to keep, and the pauses are back.

What was absent is a fold over journaled steps, so a restart knows it again; the time in which no process ran
counts as absent, and so does the part of the first hour before the first start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, NS_PER_HOUR, NS_PER_SECOND, PPM_SCALE
from pr3dict.engine.standing import (
    CLOSED,
    NOT_LISTED,
    NOT_RUNNING,
    QUOTED,
    Standing,
    market_standing,
    product_standing,
)
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.kernels import live
from pr3dict.risk.programme import ProgrammeConfig

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine

NO_SPIKE_PPM = 1000 * PPM_SCALE  # no window can trade so many times the average
LOOK_NS = NS_PER_SECOND  # how often the widest spread is looked up while a budget is kept
BUDGET_ALERT = "programme_budget"
BREACH_ALERT = "programme_breach"
_WITHOUT_ORDERS = (  # what changes no order and no hold: a hold has an event of its own
    e.FeedAlive, e.QueueRead, e.PositionsRead, e.BalanceRead, e.BookRead, e.Malformed, e.ClockSkewed,
    e.LoopStalled, e.LogStalled, e.DayStarted, c.ReadOrders, c.ReadOrder, c.ReadFills, c.ReadPositions,
    c.ReadBalance, c.ReadBook, c.Resubscribe, c.Alert, c.Answer, c.SetLatch, c.ClearLatch,
)  # fmt: skip


def touched_markets(step: Step, market_of: Callable[[int], int]) -> set[int] | None:
    """Markets whose standing a step may have changed, None: any. `market_of` an order id, -1: unknown."""
    touched: set[int] = set()
    for item in (*step.inputs, *step.derived, *step.commands):
        if isinstance(item, _WITHOUT_ORDERS):
            continue
        market, order_id = getattr(item, "market", -1), getattr(item, "order_id", 0)
        if market < 0 and order_id == 0:
            return None
        touched.add(market if market >= 0 else market_of(order_id))
    return touched


class ProductState(msgspec.Struct, frozen=True, array_like=True):
    """A product's hour as it is kept in a snapshot; times and spans in ns."""

    hour_ns: int
    absent_ns: int
    closed_ns: int
    why: str
    until_ns: int


class DutyState(msgspec.Struct, frozen=True, array_like=True):
    """All products as of the snapshot's time; `last_ns`: of the last journaled step."""

    last_ns: int
    products: dict[str, ProductState]


class DutyView(msgspec.Struct, frozen=True, kw_only=True):
    """A product's present hour for screens. `why` is empty while it is quoted by its terms."""

    product: str
    hour_ns: int  # when it began
    why: str
    absent_ns: int
    left_ns: int  # of the allowed absence; below 0: the hour is lost
    kept: bool  # only the reserve is left: `may_spend` yields


class ProductHour:
    """One product in the present clock hour; mutable, owned by `Duty`."""

    __slots__ = ("absent_ns", "closed_ns", "hour_ns", "kept", "markets", "since_ns", "until_ns", "why")

    def __init__(self, hour_ns: int) -> None:
        self.markets: list[int] = []
        self.hour_ns = self.since_ns = hour_ns  # accounted for up to `since_ns`
        self.absent_ns = self.closed_ns = 0
        self.why = NOT_LISTED
        self.until_ns = NEVER_NS
        self.kept = False

    def advance(self, now_ns: int) -> None:
        """Account for the time up to `now_ns`, in which nothing changed."""
        while self.since_ns < now_ns:
            end_ns = min(now_ns, self.hour_ns + NS_PER_HOUR)
            span_ns = end_ns - self.since_ns
            if self.why == CLOSED:
                self.closed_ns += span_ns
            elif self.why != QUOTED:
                self.absent_ns += span_ns
            self.since_ns = end_ns
            if end_ns == self.hour_ns + NS_PER_HOUR:
                self.hour_ns, self.absent_ns, self.closed_ns = end_ns, 0, 0


class Duty:
    """All products of a programme; without one it does nothing."""

    def __init__(self, config: ProgrammeConfig | None) -> None:
        self.config = config if config is not None and config.is_duty else None
        self.next_due_ns = NEVER_NS
        self._last_ns = 0
        self._listed = 0
        self._products: dict[str, ProductHour] = {}
        self._standings: dict[int, Standing] = {}  # of markets in which nothing has happened since

    # --- the fold -----------------------------------------------------------------------------------

    def before(self, engine: Engine, now_ns: int, inputs: Sequence[e.Control], *, acts: bool = True) -> None:
        """Time reaches `now_ns`, and `inputs` are about to happen; `acts`: what it means is carried out."""
        if self.config is None:
            return
        for event in inputs:
            if isinstance(event, e.Started):
                self._unseen(engine, self._last_ns or now_ns, now_ns)
            elif isinstance(event, e.ClockJumped):
                self._unseen(engine, event.awake_ns or self._last_ns, now_ns)
        if now_ns >= self.next_due_ns or not acts:
            self._catch_up(engine, now_ns)
            if acts:
                self._act(engine)
            self._plan(now_ns)

    def after(self, engine: Engine, step: Step) -> None:
        """Everything of a journaled step has happened."""
        if self.config is None:
            return
        self._last_ns = engine.now_ns
        self._list(engine)
        self._forget(engine, step)
        self._look(engine, engine.now_ns)
        self._plan(engine.now_ns)

    def _forget(self, engine: Engine, step: Step) -> None:
        """Drop what is known of each market that a step may have changed."""
        touched = touched_markets(step, engine.account.market_of)
        for market in self._standings.copy() if touched is None else touched:
            self._standings.pop(market, None)

    def _unseen(self, engine: Engine, from_ns: int, now_ns: int) -> None:
        """Nobody looked from `from_ns` to `now_ns`: nothing is proven there."""
        self._catch_up(engine, from_ns)
        for product in self._products.values():
            product.advance(from_ns)
            product.why = NOT_RUNNING if product.why != CLOSED else CLOSED
            product.until_ns = NEVER_NS
            product.advance(now_ns)
        self._standings.clear()

    def _catch_up(self, engine: Engine, now_ns: int) -> None:
        """Whatever time alone changed up to `now_ns`, each at its own time."""
        for name, product in self._products.items():
            while product.until_ns <= now_ns:
                at_ns = max(product.until_ns, product.since_ns)
                product.advance(at_ns)
                for market in product.markets:
                    self._standings.pop(market, None)
                product.why, product.until_ns = self._standing(engine, name, product, at_ns)
            product.advance(now_ns)

    def _list(self, engine: Engine) -> None:
        """Give each new market to its product; one that is new was absent since its hour began."""
        assert self.config is not None
        hour_ns = self.config.hour_start_ns(engine.now_ns)
        if not self._products:
            self._products = {one.name: ProductHour(hour_ns) for one in self.config.products}
        for listing in engine.listings[self._listed :]:
            name = self.config.product_of(listing.ticker)
            if name:
                self._products.setdefault(name, ProductHour(hour_ns)).markets.append(listing.market)
        if len(engine.listings) > self._listed:
            self._listed = len(engine.listings)
            for product in self._products.values():
                product.markets[1:-1] = [  # one that has paid says nothing any more; alerts name the first
                    m for m in product.markets[1:-1] if m not in engine.recovery.settled
                ]
                product.kept = False  # the brain's rows may be new: what holds is set again

    def _look(self, engine: Engine, now_ns: int) -> None:
        for name, product in self._products.items():
            found = self._standing(engine, name, product, now_ns)
            if found.why != product.why:
                product.advance(now_ns)
                product.why = found.why
            product.until_ns = found.until_ns

    def _standing(self, engine: Engine, name: str, product: ProductHour, now_ns: int) -> Standing:
        assert self.config is not None
        unknown = [m for m in product.markets if m not in self._standings]
        terms = self.config.terms_of(name) if unknown else None
        for m in unknown:
            assert terms is not None
            orders, settled = engine.account.open_orders(m), m in engine.recovery.settled
            self._standings[m] = market_standing(
                engine.listings[m], engine.holds, orders, terms, now_ns, settled=settled
            )
        return product_standing(self.config, name, [self._standings[m] for m in product.markets])

    # --- the budget ---------------------------------------------------------------------------------

    def _left_ns(self, product: ProductHour) -> int:
        """What is left of the hour's allowed absence as of `since_ns`, in ns."""
        assert self.config is not None
        return self.config.allowance_ns(product.closed_ns) - product.absent_ns

    def _is_kept(self, product: ProductHour) -> bool:
        assert self.config is not None
        return 0 <= self._left_ns(product) <= self.config.reserve_ns and product.why != CLOSED

    def _plan(self, now_ns: int) -> None:
        """When time alone will ask for something."""
        assert self.config is not None
        due_ns = NEVER_NS
        for product in self._products.values():
            product.advance(now_ns)
            due_ns = min(due_ns, product.until_ns, product.hour_ns + NS_PER_HOUR)
            left_ns = self._left_ns(product)
            if product.kept != self._is_kept(product):
                due_ns = now_ns + 1  # what it means is decided at an instant of its own
            elif product.why not in (QUOTED, CLOSED) and left_ns >= 0:
                over_ns = (
                    left_ns - self.config.reserve_ns if left_ns > self.config.reserve_ns else left_ns + 1
                )
                due_ns = min(due_ns, now_ns + over_ns)
            if product.kept:
                due_ns = min(due_ns, (now_ns // LOOK_NS + 1) * LOOK_NS)
        self.next_due_ns = max(due_ns, now_ns + 1)

    def _act(self, engine: Engine) -> None:
        """Keep what is left of a budget, or let go; tell the operator."""
        usual = engine.strategy.params()[0]
        for name, product in self._products.items():
            kept = self._is_kept(product)
            if product.markets:
                self._tell(engine, name, product, kept=kept)
            for m in product.markets:
                if kept:
                    self._keep(engine, name, m, usual)
                elif product.kept:
                    low, high = int(usual.min_spread_micros), int(usual.max_spread_micros)
                    _set_params(engine, m, int(usual.volume_spike_ppm), low, high)
            product.kept = kept

    def _tell(self, engine: Engine, name: str, product: ProductHour, *, kept: bool) -> None:
        left_ns, market = self._left_ns(product), product.markets[0]
        if kept:
            text = f"{name}: {left_ns / 1e9:.1f} s of absence are left this hour; pauses that may, yield"
            engine.watch.say(engine, BUDGET_ALERT, market, text)
        else:
            engine.watch.over(engine, BUDGET_ALERT, market)
        if left_ns < 0:
            text = f"{name}: absent for {product.absent_ns / 1e9:.1f} s of this hour, more than is allowed"
            engine.watch.say(engine, BREACH_ALERT, market, text)
        else:
            engine.watch.over(engine, BREACH_ALERT, market)

    def _keep(self, engine: Engine, name: str, m: int, usual: np.record) -> None:
        """Soft pauses yield in a market, and its quotes stand at the widest spread that counts."""
        assert self.config is not None
        spike_ppm = int(usual.volume_spike_ppm)
        low, high = int(usual.min_spread_micros), int(usual.max_spread_micros)
        market = engine.world.markets[m]
        if "volume_pause" in self.config.may_spend:
            spike_ppm = NO_SPIKE_PPM
            market.paused_until_ns = 0
        fair = max(0, int(market.fair_micros)) // MICROS_PER_PRICE_UNIT
        tick = max(band.step for grid in engine.listings[m].grids for band in grid.bands)
        counts = self.config.terms_of(name).band(fair, fair).max_spread
        widest = max(low, (counts - tick) * MICROS_PER_PRICE_UNIT)  # rounding outward may add a tick
        high = min(high, widest) if "wide_spread" in self.config.may_spend else high
        _set_params(engine, m, spike_ppm, min(widest, high), high)

    # --- pictures -----------------------------------------------------------------------------------

    def view(self, now_ns: int) -> tuple[DutyView, ...]:
        """Every product's present hour."""
        for product in self._products.values():
            product.advance(now_ns)
        return tuple(
            DutyView(
                product=name,
                hour_ns=product.hour_ns,
                why=product.why,
                absent_ns=product.absent_ns,
                left_ns=self._left_ns(product),
                kept=product.kept,
            )
            for name, product in self._products.items()
        )

    def save(self, now_ns: int) -> DutyState | None:
        """The state as of `now_ns`; None without a programme."""
        if self.config is None:
            return None
        for product in self._products.values():
            product.advance(now_ns)
        products = {
            name: ProductState(p.hour_ns, p.absent_ns, p.closed_ns, p.why, p.until_ns)
            for name, p in self._products.items()
        }
        return DutyState(self._last_ns, products)

    def load(self, state: DutyState | None, engine: Engine) -> None:
        """Take over what was saved at the engine's time; markets come from its listings."""
        if self.config is None or state is None:
            return
        self._last_ns = state.last_ns
        known = [one.name for one in self.config.products]
        for name, kept in state.products.items():
            if known and name not in known:  # of other settings than ours
                continue
            product = self._products[name] = ProductHour(kept.hour_ns)
            product.since_ns = engine.now_ns
            product.absent_ns, product.closed_ns = kept.absent_ns, kept.closed_ns
            product.why, product.until_ns = kept.why, kept.until_ns
        self._list(engine)


def _set_params(engine: Engine, m: int, spike_ppm: int, low_micros: int, high_micros: int) -> None:
    row, market = engine.world.params[m], engine.world.markets[m]
    new = (spike_ppm, low_micros, high_micros)
    if new != (int(row.volume_spike_ppm), int(row.min_spread_micros), int(row.max_spread_micros)):
        row.volume_spike_ppm, row.min_spread_micros, row.max_spread_micros = new
        live.hold(engine.world, m, int(market.hold))  # decided again, by the new numbers
