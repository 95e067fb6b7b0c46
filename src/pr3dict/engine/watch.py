"""What the operator is told, once an episode, and the day's loss as the brain counts it.

A look is taken after every instant and, while something is at risk, every few seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import NS_PER_SECOND, QTY_SCALE, format_dollars
from pr3dict.engine.holds import EVERYWHERE
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.risk.breaker_table import DAILY_LOSS, severity_of

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine

LOOK_NS = 5 * NS_PER_SECOND
EPISODE_NS = 60 * NS_PER_SECOND  # what happens at a moment is over when it has not happened again for so long
QUIET_NS = 10 * NS_PER_SECOND  # a book of ours that says nothing for so long is compared by another route
MOST_READS = 20  # such comparisons a look
OLD_QUOTE_NS = 60 * NS_PER_SECOND
NEAR_LIMIT = 0.8  # of the daily loss limit
FILL_RATE_ORDERS = 200  # the newest orders that the fill rate is taken over
LOW_FILL_RATE = 0.1

_SEVERITY: dict[str, c.Severity] = {
    "daily_loss_near": "critical",
    "halted": "critical",
    "journal_failed": "critical",
    "inventory_high": "high",
    "book_differs": "high",
    "fees_changed": "medium",
    "clock_jumped": "high",
    "quote_old": "medium",
    "fill_rate_low": "low",
}


def _severity(name: str) -> c.Severity:
    return _SEVERITY.get(name) or severity_of(name)


class Watch:
    """Alerts that are on, and the edges of day and kill switch."""

    def __init__(self) -> None:
        self.on: dict[tuple[str, int], None] = {}
        self._quiet_ns: dict[tuple[str, int], int] = {}  # of alerts of a moment: when they are over
        self.next_due_ns = NEVER_NS
        self.day_end_ns = 0
        self.killed = False
        self._books_due_ns = 0
        self._placed: deque[int] = deque(maxlen=FILL_RATE_ORDERS)
        self._filled: dict[int, None] = {}

    def say(self, engine: Engine, name: str, market: int, text: str) -> None:
        """Tell the operator, once until it is over."""
        if (name, market) not in self.on:
            self.on[name, market] = None
            engine.emit(c.Alert(name=name, severity=_severity(name), market=market, text=text))

    def happened(self, engine: Engine, name: str, market: int, text: str) -> None:
        """Tell the operator of something that happens at a moment: over once it stayed away for a while."""
        self.say(engine, name, market, text)
        self._quiet_ns[name, market] = engine.now_ns + EPISODE_NS
        self.next_due_ns = min(self.next_due_ns, engine.now_ns + EPISODE_NS)

    def over(self, engine: Engine, name: str, market: int) -> None:
        """Tell that it is over, where it was said."""
        self._quiet_ns.pop((name, market), None)
        if (name, market) in self.on:
            del self.on[name, market]
            engine.emit(c.Alert(name=name, severity=_severity(name), market=market, text="over", on=False))

    def placed(self, order_id: int) -> None:
        """An order left."""
        if len(self._placed) == FILL_RATE_ORDERS:
            self._filled.pop(self._placed[0], None)
        self._placed.append(order_id)

    def filled(self, order_id: int) -> None:
        """An order of ours filled, in part at least."""
        if order_id in self._placed:
            self._filled[order_id] = None

    def look(self, engine: Engine) -> None:
        """Edges at once; what needs a clock every `LOOK_NS` while something is at risk."""
        self._note_day(engine)
        self._note_kill(engine)
        if engine.now_ns >= self.next_due_ns or self.next_due_ns == NEVER_NS:
            for name, market in [key for key, until in self._quiet_ns.items() if until <= engine.now_ns]:
                self.over(engine, name, market)
            at_risk = self._look_at_markets(engine)
            following = (engine.now_ns // LOOK_NS + 1) * LOOK_NS if at_risk else NEVER_NS
            self.next_due_ns = min([following, *self._quiet_ns.values()])

    def rearm(self, engine: Engine) -> None:
        """A person goes on after a daily loss: it counts from here."""
        account = engine.world.account[0]
        account.killed = 0
        self.killed = False
        if self.day_end_ns:
            equity = engine.equity_micros
            account.day_start_equity_micros = equity
            engine.conclude(e.DayStarted(end_ns=self.day_end_ns, equity_micros=equity))
        for name, market in list(self.on):  # what is still wrong is said again
            self.over(engine, name, market)

    def _note_day(self, engine: Engine) -> None:
        if engine.brain.day_end_ns != self.day_end_ns:
            self.day_end_ns = engine.brain.day_end_ns
            equity = engine.brain.day_start_micros
            engine.conclude(e.DayStarted(end_ns=self.day_end_ns, equity_micros=equity))

    def _note_kill(self, engine: Engine) -> None:
        """The brain's kill switch: tripped by the loss, re-armed by the day where the operator said so."""
        killed = engine.brain.is_killed
        if killed == self.killed:
            return
        self.killed = killed
        if killed:
            rules = engine.world.rules[0]
            until_ns = self.day_end_ns if rules.rearm_daily else 0
            limit = format_dollars(self._loss_limit_micros(engine))
            text = f"the day lost {format_dollars(engine.day_loss_micros)}; the limit is {limit}"
            engine.conclude(e.Tripped(breaker=DAILY_LOSS, market=EVERYWHERE, until_ns=until_ns, text=text))
        else:
            engine.conclude(e.Released(breaker=DAILY_LOSS, market=EVERYWHERE))

    def _look_at_markets(self, engine: Engine) -> bool:
        """Whether anything is at risk; markets with a position or an order are looked at."""
        w, count = engine.world, len(engine.listings)
        rows = w.markets[:count]
        net = abs(rows["yes_contracts"] - rows["no_contracts"])
        resting = rows["open_bid"] + rows["open_ask"] > 0
        over = net > w.params["rebalance_threshold"][:count]
        age_ns = engine.now_ns - rows["quoted_ns"]
        old = resting & (rows["quoted_ns"] > 0) & (age_ns > OLD_QUOTE_NS)
        self._set_where(engine, "inventory_high", over, lambda m: f"net of {net[m] // QTY_SCALE} contracts")
        self._set_where(
            engine, "quote_old", old, lambda m: f"a quote {age_ns[m] // NS_PER_SECOND} s old stands"
        )
        self._look_at_account(engine)
        self._compare_books(engine, resting)
        return bool(resting.any() or net.any())

    def _compare_books(self, engine: Engine, resting: npt.NDArray[np.bool_]) -> None:
        """Ask by another route for quiet books with orders of ours: one stream of many may be mute."""
        for market in engine.feeds.doubted():
            engine.emit(c.ReadBook(market=market))
        interval_ns = engine.config.reconcile_interval_ns
        if engine.now_ns < self._books_due_ns or interval_ns == 0:
            return
        self._books_due_ns = engine.now_ns + interval_ns
        seen_ns = engine.world.books["event_ns"][: len(resting)]
        quiet = np.flatnonzero(resting & (seen_ns < engine.now_ns - QUIET_NS))
        for market in quiet[np.argsort(seen_ns[quiet], kind="stable")][:MOST_READS].tolist():
            engine.emit(c.ReadBook(market=market))

    def _look_at_account(self, engine: Engine) -> None:
        limit = self._loss_limit_micros(engine)
        loss = engine.day_loss_micros
        if 0 < limit * NEAR_LIMIT <= loss:
            text = f"the day's loss is {format_dollars(loss)} of {format_dollars(limit)}"
            self.say(engine, "daily_loss_near", EVERYWHERE, text)
        else:
            self.over(engine, "daily_loss_near", EVERYWHERE)
        if len(self._placed) == FILL_RATE_ORDERS:
            share = len(self._filled) / FILL_RATE_ORDERS
            if share < LOW_FILL_RATE:
                text = f"{share:.1%} of the last {FILL_RATE_ORDERS} orders filled"
                self.say(engine, "fill_rate_low", EVERYWHERE, text)
            else:
                self.over(engine, "fill_rate_low", EVERYWHERE)

    def _loss_limit_micros(self, engine: Engine) -> int:
        return int(engine.world.rules["daily_loss_limit_micros"][0])

    def _set_where(
        self, engine: Engine, name: str, wrong: npt.NDArray[np.bool_], text: Callable[[int], str]
    ) -> None:
        """Say it of each market where it is wrong, and that it is over where it was said."""
        said = [market for alert, market in self.on if alert == name and not wrong[market]]
        for market in said:
            self.over(engine, name, market)
        if wrong.any():
            for market in np.flatnonzero(wrong).tolist():
                self.say(engine, name, market, text(market))
