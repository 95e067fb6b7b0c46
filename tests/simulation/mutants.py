"""Deliberate bugs, each patched into the living classes for a while: the simulator must find every one.

A mutant that survives a thousand seeds says that the simulator is broken, not that the engine is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.order import CLOSED_STATES
from pr3dict.engine import engine as engine_module
from pr3dict.engine import handlers, pretrade, recovery
from pr3dict.engine.account import Account
from pr3dict.engine.feeds import Feeds
from pr3dict.engine.fills import MarketLedger
from pr3dict.engine.orders import Orders
from pr3dict.kernels import dtypes as d
from pr3dict.risk.breakers import Breakers
from pr3dict.risk.exposure import Exposure
from pr3dict.risk.gate import Gate
from pr3dict.runtime.trader import Trader
from simulation import kalshi_mutants, polymarket_mutants

Patch = tuple[Any, str, Any]  # class or module, or a dict; name or key; what stands there instead


def _without_fields(function: Callable[..., Exposure], **fields: Any) -> Callable[..., Exposure]:
    def exposure_of(*args: Any) -> Exposure:
        held = function(*args)
        values = {name: getattr(held, name) for name in Exposure.__slots__} | fields
        return Exposure(**values)

    return exposure_of


def _timeout_is_refusal() -> list[Patch]:
    lost = Orders.lost

    def as_refused(self, now_ns, order_id, request):
        if request == "place":
            self._refuse(now_ns, order_id, d.WHY_EXPIRED)
        else:
            lost(self, now_ns, order_id, request)

    return [(Orders, "lost", as_refused)]


def _no_fill_dedupe() -> list[Patch]:
    def twice(self, ledger, known, again):
        import msgspec

        self._on_filled(0, msgspec.structs.replace(again, trade_id=f"{again.trade_id}+"))

    return [(Account, "_repeated", twice)]


def _void_only_in_memory() -> list[Patch]:
    fold = recovery._fold_event

    def forgetful(engine, event):
        if not isinstance(event, e.FillVoided):
            fold(engine, event)

    return [(recovery, "_fold_event", forgetful)]


def _list_wipes_younger() -> list[Patch]:
    def wipe(self, order, now_ns, asked_ns, as_of_ns):
        order.end_why = "unknown_order"
        self._close(order, now_ns)

    return [(Orders, "absent", wipe)]


def _counts_inventory_only() -> list[Patch]:
    return [(pretrade, "exposure_of", _without_fields(pretrade.exposure_of, orders=()))]


def _provisional_trusted() -> list[Patch]:
    return [(pretrade, "exposure_of", _without_fields(pretrade.exposure_of, provisional=()))]


def _cancel_is_done() -> list[Patch]:
    def done(self, now_ns, event):
        order = self.open.get(event.order_id)
        if order is not None:
            order.end_why = event.why
            self._close(order, now_ns)

    def ignore(self, now_ns, ledger, fill, *, counts):
        return True

    filled = Account._on_filled

    def only_open(self, now_ns, fill):
        if fill.order_id == 0 or fill.order_id in self.orders.open:
            filled(self, now_ns, fill)

    return [(Orders, "closed_by_venue", done), (Account, "_on_filled", only_open)]


def _no_backfill() -> list[Patch]:
    def ignored(self, now_ns, event):
        reads = self._reads.get(event.venue)
        if reads is not None:
            reads.covers(event, self.terms)
            self.orders.fills_covered(now_ns, event.venue, reads.covered_ns)
            self._heard(reads, now_ns, event, "fills", agrees=True)

    return [(Account, "_on_fills_read", ignored)]


def _place_before_durable() -> list[Patch]:
    hold = Trader._hold

    def at_once(self, number, action):
        return (action,) if isinstance(action, c.Place) else hold(self, number, action)

    return [(Trader, "_hold", at_once)]


def _cancel_waits() -> list[Patch]:
    sort_out = Trader._sort_out

    def patient(self, step):
        from pr3dict.runtime.trader import _Waiting

        urgent = sort_out(self, step)
        self._waiting += [_Waiting(step.number, a) for a in urgent if isinstance(a, c.Cancel)]
        return tuple(a for a in urgent if not isinstance(a, c.Cancel))

    return [(Trader, "_sort_out", patient)]


def _latch_forgotten() -> list[Patch]:
    def nothing(self, inputs):
        for event in inputs:
            if isinstance(event, e.Listed):
                self._venues.setdefault(event.venue)

    return [
        (Trader, "_note", nothing),
        (handlers.HANDLERS, e.Latched, lambda engine, event: None),
        (recovery, "_fold_event", _fold_without(e.Held)),
    ]


def _fold_without(kind: type) -> Callable[[Any, e.Control], None]:
    fold = recovery._fold_event

    def partial(engine, event):
        if not isinstance(event, kind):
            fold(engine, event)

    return partial


def _gate_skipped() -> list[Patch]:
    def pass_all(self, engine, now_ns, message):
        self.changed(message.market)
        return c.Place(
            order_id=message.order_id, market=message.market, side=message.side, sell=message.sell,
            price=message.price, size=message.size, tif=message.tif,
            expiry_ns=now_ns + self._life_ns,
        )  # fmt: skip

    return [(pretrade.Pretrade, "judge", pass_all)]


def _gap_ignored() -> list[Patch]:
    return [(handlers.HANDLERS, e.BookInvalid, lambda engine, event: None)]


def _feed_loss_ignored() -> list[Patch]:
    return [(handlers.HANDLERS, e.FeedDown, lambda engine, event: None)]


def _stale_quoted() -> list[Patch]:
    def never(self, now_ns):
        late = [venue for venue in self._alive_ns if self.stale_from_ns(venue) <= now_ns]
        for venue in late:
            del self._alive_ns[venue]
        return []

    return [(Feeds, "expire", never), (Gate, "_against_market", lambda self, wish, facts: None)]


def _no_expiry() -> list[Patch]:
    init = pretrade.Pretrade.__init__

    def immortal(self, config):
        init(self, config)
        self._life_ns = 0

    return [(pretrade.Pretrade, "__init__", immortal)]


def _ids_reused() -> list[Patch]:
    recovered = recovery.recovered

    def again(engine, now_ns):
        recovered(engine, now_ns)
        engine.world.account[0].next_order_id = 1

    return [(recovery, "recovered", again), (engine_module, "recovered", again)]


def _overfill_ignored() -> list[Patch]:
    return [(Orders, "_check_overfill", lambda self, order: False)]


def _foreign_fill_ignored() -> list[Patch]:
    filled = Account._on_filled

    def ours_only(self, now_ns, fill):
        if fill.order_id:
            filled(self, now_ns, fill)

    return [(Account, "_on_filled", ours_only)]


def _amendment_dropped() -> list[Patch]:
    settle = MarketLedger.settle

    def first_only(self, now_ns, value_micros, *, refund):
        return False if self.settled_ns else settle(self, now_ns, value_micros, refund=refund)

    return [(MarketLedger, "settle", first_only)]


def _breaker_sticks() -> list[Patch]:
    return [(Breakers, "due", lambda self, now_ns: ()), (Breakers, "next_due_ns", 2**63 - 1)]


def _fees_ignored() -> list[Patch]:
    add = MarketLedger._add

    def free(self, fill):
        add(self, fill)
        self.fees_micros -= fill.fee_micros - fill.rebate_micros

    return [(MarketLedger, "_add", free)]


def _voids_ignored() -> list[Patch]:
    return [(Account, "_on_voided", lambda self, now_ns, event: None)]


def _halt_ignored() -> list[Patch]:
    return [(handlers.HANDLERS, e.Halt, lambda engine, event: None)]


def _unreconciled_quoted() -> list[Patch]:
    return [(Account, "is_reconciled", lambda self, venue, *, newest=False: True)]


def _never_asks_again() -> list[Patch]:
    return [(Orders, "due", lambda self, now_ns: []), (Orders, "wants", lambda self, now_ns, stale: [])]


def _lost_cancel_is_done() -> list[Patch]:
    lost = Orders.lost

    def done(self, now_ns, order_id, request):
        order = self.open.get(order_id)
        if request == "cancel" and order is not None and order.state not in CLOSED_STATES:
            order.seen = True
            self._gone(order, now_ns)
        else:
            lost(self, now_ns, order_id, request)

    return [(Orders, "lost", done)]


def _commands_not_folded() -> list[Patch]:
    commanded = Account.commanded

    def partial(self, now_ns, command):
        if not isinstance(command, c.Renew):
            commanded(self, now_ns, command)

    return [(Account, "commanded", partial)]


def _settlement_twice() -> list[Patch]:
    def again(self, now_ns, event):
        ledger = self.ledgers[event.market]
        before = ledger.cash_micros()
        ledger.settle(now_ns, event.value_micros, refund=event.refund)
        change = ledger.cash_micros() - before
        self.cash_micros += change or ledger.trading_cash_micros()
        self._out.rebuilt[event.market] = None

    return [(Account, "_on_settled", again)]


MUTANTS: dict[str, Callable[[], list[Patch]]] = {
    "timeout treated as refusal": _timeout_is_refusal,
    "no fill dedupe": _no_fill_dedupe,
    "void only in memory": _void_only_in_memory,
    "list wipes younger orders": _list_wipes_younger,
    "limit counts inventory only": _counts_inventory_only,
    "provisional trusted": _provisional_trusted,
    "cancelled means done": _cancel_is_done,
    "no backfill": _no_backfill,
    "place before durable": _place_before_durable,
    "cancel waits for the journal": _cancel_waits,
    "latch forgotten": _latch_forgotten,
    "gate skipped": _gate_skipped,
    "gap ignored": _gap_ignored,
    "feed loss ignored": _feed_loss_ignored,
    "stale books quoted": _stale_quoted,
    "no expiry": _no_expiry,
    "ids reused after restart": _ids_reused,
    "overfill ignored": _overfill_ignored,
    "foreign fill ignored": _foreign_fill_ignored,
    "amendment dropped": _amendment_dropped,
    "settlement paid twice": _settlement_twice,
    "breaker never releases": _breaker_sticks,
    "fees ignored": _fees_ignored,
    "voids ignored": _voids_ignored,
    "halt ignored": _halt_ignored,
    "quotes before it is reconciled": _unreconciled_quoted,
    "never asks again": _never_asks_again,
    "lost cancel means done": _lost_cancel_is_done,
    "renewals not counted": _commands_not_folded,
} | (kalshi_mutants.MUTANTS | polymarket_mutants.MUTANTS)

ADAPTERS = dict.fromkeys(kalshi_mutants.ADAPTER, "kalshi") | dict.fromkeys(
    polymarket_mutants.MUTANTS, "polymarket"
)


@contextmanager
def applied(name: str) -> Iterator[None]:
    """The named bug is in force."""
    undo: list[Patch] = []
    try:
        for place, key, value in MUTANTS[name]():
            if isinstance(place, dict):
                undo.append((place, key, place[key]))
                place[key] = value
            else:
                if key not in vars(place):
                    continue  # another module's copy of a name
                undo.append((place, key, vars(place)[key]))
                setattr(place, key, value)
        yield
    finally:
        for place, key, value in reversed(undo):
            if isinstance(place, dict):
                place[key] = value
            else:
                setattr(place, key, value)


def find(name: str, first: int, count: int) -> Any:
    """The first failing outcome under a mutant, None when all `count` seeds pass."""
    from simulation.simulator import Simulation
    from simulation.swarm import draw

    for seed in range(first, first + count):
        options = draw(seed)
        if options.adapter != ADAPTERS.get(name, options.adapter):
            continue  # its code is not there
        with applied(name):
            outcome = Simulation(options).run()
        if outcome.violation.startswith("crash") and "WorkError" not in outcome.violation:
            raise TypeError(f"the mutant itself is broken: {outcome.text}")
        if outcome.violation:
            return outcome
    return None
