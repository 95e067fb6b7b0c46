"""How an engine comes back: a snapshot of its control state, a fold of journaled steps, the brain's rows.

Books and estimators are not kept: they are asked for anew. Orders of the earlier process count in every limit
until the venue says what became of them, and each is cancelled once its venue is connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.steps import Step
from pr3dict.engine import holds as h
from pr3dict.engine.account import Account, OpenOrder
from pr3dict.engine.duty import DutyState
from pr3dict.engine.queues import QueueState
from pr3dict.engine.settings import order_terms
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import live
from pr3dict.kernels.position import value_micros
from pr3dict.risk.breaker_table import DAILY_LOSS

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine

SNAPSHOT_VERSION = 1
_FAIR = int(d.QUOTE.fields["fair_micros"][1])  # type: ignore[index]
_OF_A_PROCESS = (h.STOPPING, h.LOG_FAILED, h.BOOK_INVALID, h.FEED_STALE, h.VENUE_NOT_OPEN)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The control state after a step; canonical, so that equal states give equal bytes."""

    version: int
    number: int
    now_ns: int
    started: e.Started | None
    listings: tuple[e.Listed, ...]
    account: bytes
    breakers: bytes
    gate: bytes
    holds: tuple[tuple[str, int, str], ...]
    opening_micros: int
    day_end_ns: int
    day_start_micros: int
    killed: bool
    marks_micros: dict[int, int]  # last fair value of each market that was ever quoted
    leaving_micros: dict[int, int]  # slippage of each market that a person flattens
    settled: dict[int, e.Settled]
    queues: QueueState | None = None  # None: no venue has said anything
    duty: DutyState | None = None  # None: no programme is kept


def save(engine: Engine) -> bytes:
    """The control state as bytes."""
    state = engine.recovery
    return msgspec.msgpack.encode(
        Snapshot(
            version=SNAPSHOT_VERSION,
            number=engine.number,
            now_ns=engine.now_ns,
            started=engine.started,
            listings=tuple(engine.listings),
            account=engine.account.encode(),
            breakers=engine.breakers.encode(),
            gate=engine.pretrade.gate.encode(),
            holds=tuple(engine.holds.to_list()),
            opening_micros=state.opening_micros,
            day_end_ns=engine.watch.day_end_ns,
            day_start_micros=state.day_start_micros,
            killed=engine.watch.killed,
            marks_micros=dict(sorted(state.marks_micros.items())),
            leaving_micros=dict(sorted(state.leaving_micros.items())),
            settled=dict(sorted(state.settled.items())),
            queues=engine.queues.save(engine.account.orders.open),
            duty=engine.duty.save(engine.now_ns),
        )
    )


def load(engine: Engine, blob: bytes) -> None:
    """Take over a saved state; the engine must be new.

    Raises:
        WorkError: the bytes are no snapshot, or one of another version.
    """
    try:
        kept = msgspec.msgpack.decode(blob, type=Snapshot)
        account = Account.decode(kept.account, order_terms(engine.config))
        engine.breakers.load(kept.breakers)
        engine.pretrade.gate.load(kept.gate)
    except msgspec.MsgspecError as error:
        raise WorkError(f"the snapshot is not readable ({error}); the journal is folded instead") from error
    if kept.version != SNAPSHOT_VERSION:
        raise WorkError(f"the snapshot has version {kept.version}, this program reads {SNAPSHOT_VERSION}")
    engine.number, engine.now_ns, engine.started = kept.number, kept.now_ns, kept.started
    for listing in kept.listings:
        _list(engine, listing)
    account.orders.replaced.update(one.market for one in kept.listings if not one.reduce_in_place)
    engine.account = account
    engine.queues.load(kept.queues)
    for venue, market, why in kept.holds:
        engine.holds.set(market, venue, why, on=True)
    engine.watch.day_end_ns, engine.watch.killed = kept.day_end_ns, kept.killed
    state = engine.recovery
    state.opening_micros, state.has_begun = kept.opening_micros, kept.started is not None
    state.day_start_micros = kept.day_start_micros
    state.marks_micros.update(kept.marks_micros)
    state.leaving_micros.update(kept.leaving_micros)
    state.settled.update(kept.settled)
    engine.duty.load(kept.duty, engine)


class RecoveryState:
    """What only a restart needs: kept while the engine runs, from the same events that a fold sees."""

    def __init__(self) -> None:
        self.opening_micros = 0
        self.has_begun = False
        self.day_start_micros = 0
        self.marks_micros: dict[int, int] = {}
        self.leaving_micros: dict[int, int] = {}
        self.settled: dict[int, e.Settled] = {}
        self.leftovers: dict[int, OpenOrder] = {}  # orders of an earlier process, to be cancelled

    def note(self, event: e.Control) -> None:
        """Remember what the brain's rows can't tell after a restart."""
        match event:
            case e.Started() if not self.has_begun:
                self.opening_micros, self.has_begun = event.cash_micros, True
            case e.DayStarted():
                self.day_start_micros = event.equity_micros
            case e.Flatten() if event.max_slippage_micros >= 0:
                self._leave(event.market, event.max_slippage_micros)
            case e.PauseMarket(paused=False):
                self.leaving_micros.pop(event.market, None)
            case e.Resume():
                self.leaving_micros.clear()
            case e.Settled():
                self.settled.setdefault(event.market, event)
            case _:
                pass

    def _leave(self, market: int, slippage_micros: int) -> None:
        self.leaving_micros[market] = slippage_micros  # -1: all markets of that moment

    def mark(self, step: Step) -> None:
        """Remember the newest fair value of each market."""
        for quoted in step.quotes:
            fair = int(np.frombuffer(quoted.row, np.int64, 1, _FAIR)[0])  # rows of older versions are shorter
            if fair >= 0:
                self.marks_micros[quoted.market] = fair


def fold(engine: Engine, step: Step) -> None:
    """Apply a journaled step without deciding anything."""
    engine.duty.before(engine, step.now_ns, step.inputs, acts=False)
    engine.now_ns, engine.number = step.now_ns, step.number
    for event in (*step.inputs, *step.derived):
        _fold_event(engine, event)
    for command in step.commands:
        engine.account.commanded(step.now_ns, command)
        engine.breakers.fold(step.now_ns, command)
        if isinstance(command, c.Place):
            engine.pretrade.gate.fold(step.now_ns, command)
    engine.recovery.mark(step)
    engine.duty.after(engine, step)


def _fold_event(engine: Engine, event: e.Control) -> None:
    effects = engine.account.apply(engine.now_ns, event)
    engine.breakers.fold(engine.now_ns, event)
    for anomaly in effects.anomalies:
        engine.breakers.fold(engine.now_ns, anomaly)
    engine.recovery.note(event)
    match event:
        case e.Started():
            engine.started = event
        case e.Listed():
            _list(engine, event)
        case e.FeesChanged():
            engine.brain.table.change_fees(event)
        case e.RewardsChanged():
            engine.brain.table.change_rewards(event)
        case e.Held():
            engine.holds.set(event.market, event.venue, event.why, on=event.on)
        case e.DayStarted():
            engine.watch.day_end_ns = event.end_ns
        case e.QueueRead():
            engine.queues.note(event, engine.account.orders.open)
        case e.Tripped(breaker=name) if name == DAILY_LOSS:
            engine.watch.killed = True
        case e.Released(breaker=name) if name == DAILY_LOSS:
            engine.watch.killed = False
        case e.Resume():
            engine.watch.killed = False
        case _:
            pass


def _list(engine: Engine, listing: e.Listed) -> None:
    engine.brain.list_market(listing)
    engine.venues.setdefault(listing.venue)


def recovered(engine: Engine, now_ns: int) -> None:
    """The fold is over: set the brain's rows and hold every venue until it is connected and agrees.

    The commands and holds that this makes are part of the next step.
    """
    engine.now_ns = max(engine.now_ns, now_ns)
    engine.awaits_start = True
    w, state = engine.world, engine.recovery
    account = w.account[0]
    account.local_cash_micros = engine.account.cash_micros
    account.next_order_id = max(int(account.next_order_id), engine.account.next_order_id)
    account.day_end_ns = engine.watch.day_end_ns
    account.day_start_equity_micros = state.day_start_micros
    account.killed = int(engine.watch.killed)
    if engine.started is not None:
        w.rules["day_offset_ns"] = engine.started.day_offset_ns
    for market in range(len(engine.listings)):
        _recover_market(engine, market)
    for venue, market, why in engine.holds.to_list():
        if why in _OF_A_PROCESS or (why == h.UNRECONCILED and market >= 0):  # a venue has that word below
            engine.set_hold(market, venue, why, on=False)
    for venue in engine.venues:
        engine.set_hold(-1, venue, h.FEED_DOWN, on=True)
        engine.set_hold(-1, venue, h.UNRECONCILED, on=True)
    engine.refresh_holds(range(len(engine.listings)))


def _recover_market(engine: Engine, m: int) -> None:
    w, state = engine.world, engine.recovery
    for slot, order in enumerate(engine.account.open_orders(m)[: d.ORDER_SLOTS]):
        state.leftovers[order.order_id] = order
        row = np.zeros(1, d.ORDER)
        row["id"], row["side"], row["price"] = order.order_id, order.side, order.price
        row["qty"] = row["remaining"] = order.remaining
        row["tif"], row["sent_ns"], row["expiry_ns"] = order.tif, order.sent_ns, order.expiry_ns
        row["leg"] = d.SELL_LEG if order.sell else d.BUY_LEG
        row["state"] = d.CANCELING  # it is on its way out, and until then it counts
        engine.brain.adopt(row, m, slot)
    settled = state.settled.get(m)
    if settled is not None:
        w.markets[m].status = d.SETTLED
        w.stats[m].settled = 2 if settled.refund else 1
        w.stats[m].settle_value_micros = settled.value_micros
    engine.rebuild(m)
    mark = state.marks_micros.get(m, -1)
    if mark >= 0 and settled is None:  # the day's loss is measured on, from the last value known
        value = int(value_micros(w.markets[m], mark))
        w.account[0].value_micros += value - int(w.markets[m].value_micros)
        w.markets[m].value_micros = value
    slippage = state.leaving_micros.get(m, state.leaving_micros.get(-1, -1))
    if slippage >= 0 and engine.holds.has(m, "", h.FLATTENING):
        live.leave(w, m, 1, slippage)


def cancel_leftovers(engine: Engine, venue: str) -> None:
    """The venue is connected again: cancel the orders of an earlier process there."""
    for order_id, order in list(engine.recovery.leftovers.items()):
        market = engine.account.market_of(order_id)
        if engine.listings[market].venue == venue:
            del engine.recovery.leftovers[order_id]
            engine.emit(c.Cancel(order_id=order_id, market=market, venue_id=order.venue_id))
