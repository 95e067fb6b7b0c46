"""The control state of the engine: orders, fills, positions and cash as a pure fold over events and commands.

`apply` takes an event, `commanded` what the engine sent; both are journaled, so the same two calls in the
same order give the same account again. `due` and `wants` only look: nothing changes until it is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import Venue
from pr3dict.domain.order import CLOSED_STATES
from pr3dict.engine.account_state import decode_state, encode_state
from pr3dict.engine.effects import NOTHING, Anomaly, Effects, Outbox, Report
from pr3dict.engine.fills import MarketLedger, Position, is_same_fill
from pr3dict.engine.operations import Operations
from pr3dict.engine.orders import Orders
from pr3dict.engine.reconcile import (
    VenueReads,
    cash_difference_micros,
    compare_orders,
    differing_positions,
    fill_name,
    unlisted_fills,
)
from pr3dict.engine.tracked import NEVER_NS, OpenOrder, OrderTerms, TrackedOrder

__all__ = [
    "NEVER_NS", "NOTHING", "Account", "Anomaly", "Effects", "OpenOrder", "OrderTerms", "Position", "Report",
]  # fmt: skip

_FLAT = Position(0, 0, 0)


class Account:
    """What we know of our orders and own, for all venues of one process."""

    def __init__(self, terms: OrderTerms) -> None:
        self.terms = terms
        self.cash_micros = 0
        self.opening_micros = 0
        self.next_order_id = 1
        self._started_ns = -1  # of the newest process
        self._began_ns = -1  # of the first one
        self._venues: dict[int, Venue] = {}  # of each market
        self.ledgers: dict[int, MarketLedger] = {}
        self._reads: dict[Venue, VenueReads] = {}
        self._settled: dict[int, int] = {}  # markets whose fills are still kept, to when they paid out
        self._transfers: dict[str, None] = {}
        self.operations = Operations()
        self._out = Outbox()
        self.orders = Orders(terms, self._venues, self._out)
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[int, Any], None]]:
        orders = self.orders
        return {
            e.Started: self._on_started,
            e.Listed: self._on_listed,
            e.ClockJumped: self._on_clock_jumped,
            e.Sent: orders.sent,
            e.NotSent: orders.not_sent,
            e.Accepted: self._on_accepted,
            e.Refused: orders.refused,
            e.AnswerLost: self._on_lost,
            e.TimedOut: self._on_lost,
            e.Closed: orders.closed_by_venue,
            e.Reduced: orders.reduced,
            e.Renewed: orders.renewed,
            e.RequestRefused: orders.request_refused,
            e.Presumed: orders.presumed,
            e.OrderRead: orders.read,
            e.Filled: self._on_filled,
            e.FillFinal: self._on_final,
            e.FillVoided: self._on_voided,
            e.Settled: self._on_settled,
            e.Merged: self._on_merged,
            e.OperationTaken: lambda _now_ns, event: self.operations.taken(event),
            e.OperationEnded: lambda _now_ns, event: self.operations.ended(event),
            e.KeepPairs: lambda _now_ns, event: self.operations.keep(event, self.ledgers.get(event.market)),
            e.Transferred: self._on_transferred,
            e.OrdersRead: self._on_orders_read,
            e.FillsRead: self._on_fills_read,
            e.PositionsRead: self._on_positions_read,
            e.BalanceRead: self._on_balance_read,
            e.ReadFailed: self._on_read_failed,
            e.FeedUp: self._on_feed_up,
            e.FeedDown: self._on_feed_down,
            e.VenueStatus: self._on_venue_status,
        }

    # --- the fold -----------------------------------------------------------------------------------

    def apply(self, now_ns: int, event: e.Control) -> Effects:
        """Take in an event; events that concern nobody's orders or money change nothing."""
        handler = self._handlers.get(type(event))
        if handler is None:
            return NOTHING
        handler(now_ns, event)
        self._forget(now_ns)
        if self.orders.missing:
            for venue in self.orders.missing:
                self._reads[venue].soon("fills", now_ns)
            self.orders.missing.clear()
        if self.orders.resolved:
            for venue in self.orders.resolved:
                if not self._reads[venue].ready:  # what it waits for may be over: do not let it wait longer
                    self._reads[venue].soon("orders", now_ns)
            self.orders.resolved.clear()
        for reads in self._reads.values():
            if not reads.ready and reads.is_confirmed(self._opened(reads.venue)):
                reads.ready = True
        return self._out.take()

    def commanded(self, now_ns: int, command: c.Action) -> None:
        """Note what the engine sent; raises `WorkError` when an order id is used twice."""
        if isinstance(command, c.Place):
            self.orders.placed(now_ns, command)
            self.next_order_id = max(self.next_order_id, command.order_id + 1)
        elif isinstance(command, c.Cancel):
            self.orders.cancel_sent(now_ns, command.order_id)
        elif isinstance(command, c.Reduce):
            self.orders.reduce_sent(now_ns, command)
        elif isinstance(command, c.Renew):
            self.orders.renew_sent(now_ns, command)
        elif isinstance(command, c.ReadOrder):
            self.orders.read_sent(now_ns, command.order_id)
        elif isinstance(command, c.Operate):
            self.operations.sent(self._venues[command.market], command)
        elif isinstance(command, c.CancelAll):
            for order in self._opened(command.venue):
                self.orders.cancel_sent(now_ns, order.order_id)
        elif isinstance(command, c.ReadOrders | c.ReadFills | c.ReadPositions | c.ReadBalance):
            reads = self._reads.get(command.venue)
            if reads is not None:
                reads.asked(_READ_OF[type(command)], now_ns, self.terms)

    def due(self, now_ns: int) -> tuple[e.Control, ...]:
        """What became true by waiting: to be journaled and applied."""
        moved = [
            e.Transferred(venue=venue, amount_micros=reads.unexplained_micros, why="unexplained")
            for venue, reads in self._reads.items()
            if self._money_moved_ns(reads) <= now_ns
        ]
        merged = [
            e.Merged(market=market, pairs=pairs)
            for reads in self._reads.values()
            for market, pairs in sorted(reads.pairs.items())
        ]
        return (*self.orders.due(now_ns), *merged, *moved)

    def wants(self, now_ns: int) -> tuple[c.Action, ...]:
        """Reads, repeated cancels and renewals whose time has come: to be sent and given to `commanded`."""
        stale: dict[Venue, None] = {}
        found = self.orders.wants(now_ns, stale)
        for venue, reads in self._reads.items():
            if venue in stale or min(reads.next_read_ns.values()) <= now_ns:
                found += reads.wants(now_ns, self.terms, fills=venue in stale)
        return tuple(found)

    @property
    def next_due_ns(self) -> int:
        """When `due` or `wants` will next return something."""
        at_ns = self.orders.next_due_ns
        for reads in self._reads.values():
            at_ns = min(at_ns, *reads.next_read_ns.values())
            if reads.pairs:
                at_ns = min(at_ns, reads.changed_ns)
            at_ns = min(at_ns, self._money_moved_ns(reads))
        return at_ns

    def _money_moved_ns(self, reads: VenueReads) -> int:
        if not reads.unexplained_micros:
            return NEVER_NS
        ledgers = [one for one in self.ledgers.values() if one.venue == reads.venue and one.settled_ns]
        payable_micros = sum(sum(one.contracts()) for one in ledgers if not one.forgotten)
        return reads.money_moved_ns(payable_micros, self.terms)

    # --- what it knows ------------------------------------------------------------------------------

    def open_orders(self, market: int) -> tuple[OpenOrder, ...]:
        """Every order of a market that may still fill, by id."""
        found = self.orders.by_market.get(market)
        return tuple(found[k].view() for k in sorted(found)) if found else ()

    def order(self, order_id: int) -> OpenOrder | None:
        """An order that may still fill."""
        order = self.orders.open.get(order_id)
        return order.view() if order else None

    def venue_id(self, order_id: int) -> str:
        """The venue's name of an order; empty where it is not known."""
        order = self.orders.open.get(order_id)
        return order.venue_id if order else ""

    def market_of(self, order_id: int) -> int:
        """The market of an order that is open or was closed lately; -1: unknown."""
        order = self.orders.open.get(order_id) or self.orders.closed.get(order_id)
        return order.market if order else -1

    def position(self, market: int) -> Position:
        """What is held in a market."""
        ledger = self.ledgers.get(market)
        return ledger.position() if ledger else _FLAT

    def fees_micros(self, market: int) -> int:
        """Fees less rebates paid in a market."""
        ledger = self.ledgers.get(market)
        return ledger.fees_micros if ledger else 0

    def fill_count(self, market: int) -> int:
        """Fills of a market that count and are still kept."""
        ledger = self.ledgers.get(market)
        return len(ledger.fills) if ledger else 0

    def is_reconciled(self, venue: Venue, *, newest: bool = False) -> bool:
        """Whether the venue has confirmed everything since the connection, or since its `newest` market."""
        reads = self._reads.get(venue)
        return reads is not None and reads.ready and (not newest or reads.agrees())

    # --- a process, its markets and venues ------------------------------------------------------------

    def _on_started(self, now_ns: int, event: e.Started) -> None:
        if self._began_ns < 0:
            self._began_ns = now_ns
            self.opening_micros = event.cash_micros
            self.cash_micros += event.cash_micros
        self._started_ns = now_ns
        for reads in self._reads.values():
            reads.connected(now_ns, self.terms)

    def _on_listed(self, now_ns: int, event: e.Listed) -> None:
        if event.market in self.ledgers:
            return
        venue = event.venue
        self._venues[event.market] = venue
        self.ledgers[event.market] = MarketLedger(event.market, venue, nets=event.nets_positions)
        if not event.reduce_in_place:
            self.orders.replaced.add(event.market)
        if venue in self._reads:
            self._reads[venue].again(now_ns, self.terms)
            return
        compares = self.terms.reconcile_interval_ns > 0
        reads = self._reads[venue] = VenueReads(venue, now_ns, compares=compares)
        alone = len(self._reads) == 1  # then it holds all the cash; else each says what its share is
        reads.base_micros = self.opening_micros if alone else None
        for other in self._reads.values():
            if not alone and other.agreed_ns["balance"] < 0:
                other.base_micros = None

    def _on_clock_jumped(self, now_ns: int, _event: e.ClockJumped) -> None:
        for reads in self._reads.values():
            if reads.is_connected:  # another is confirmed as a whole when its streams are back
                reads.connected(now_ns, self.terms)

    def _on_feed_up(self, now_ns: int, event: e.FeedUp) -> None:
        if event.venue in self._reads:
            self._reads[event.venue].connected(now_ns, self.terms)

    def _on_feed_down(self, _now_ns: int, event: e.FeedDown) -> None:
        if event.venue in self._reads:
            self._reads[event.venue].disconnected(self.terms)

    def _on_venue_status(self, now_ns: int, event: e.VenueStatus) -> None:
        """A venue that reopens may have dropped our orders without a word."""
        reads = self._reads.get(event.venue)
        if reads is not None and event.status == "open" and self.terms.reconcile_interval_ns:
            reads.soon("orders", now_ns)

    def _opened(self, venue: Venue) -> list[TrackedOrder]:
        venues = self._venues
        return [order for order in self.orders.open.values() if venues.get(order.market) == venue]

    def _on_lost(self, now_ns: int, event: e.AnswerLost | e.TimedOut) -> None:
        self.orders.lost(now_ns, event.order_id, event.request)

    def _on_accepted(self, now_ns: int, event: e.Accepted) -> None:
        if event.order_id >= self.next_order_id:  # an id is never used again, whoever used it first
            self.next_order_id = event.order_id + 1
            text = f"the venue accepted order {event.order_id}, which we never placed"
            self._out.alarm("foreign_order", -1, "", text)
        self.orders.accepted(now_ns, event)

    # --- fills --------------------------------------------------------------------------------------

    def _on_filled(self, now_ns: int, fill: e.Filled) -> None:
        ledger = self._ledger(fill.market, "a fill", fill.trade_id)
        if ledger is None:
            return
        if ledger.forgotten:
            text = f"fill {fill.trade_id} came after the fills of its market were forgotten; it is not booked"
            self._out.alarm("late_fill", fill.market, ledger.venue, text)
            return
        known = ledger.fills.get(fill.trade_id)
        if known is not None:
            self._repeated(ledger, known, fill)
            return
        if fill.trade_id in ledger.voids:
            self._voided_before(now_ns, ledger, fill)
            return
        before = ledger.cash_micros()
        moved = ledger.book(fill)
        self._moved(now_ns, ledger, before)
        self._reads[ledger.venue].recent[fill.market, fill.trade_id] = fill.exch_ns
        agrees = self._fill_order(now_ns, ledger, fill, counts=True)
        if moved or not agrees or (ledger.settled_ns and ledger.value_micros % 1_000_000):
            self._out.rebuilt[fill.market] = None

    def _voided_before(self, now_ns: int, ledger: MarketLedger, fill: e.Filled) -> None:
        """Nothing moves, but the order is used up, once."""
        if fill.final:
            self._contradicted(ledger, fill.trade_id, "is final, but it was voided before")
        if ledger.voids[fill.trade_id] == 0:
            ledger.voids[fill.trade_id] = fill.size
            self._fill_order(now_ns, ledger, fill, counts=False)
            self._out.rebuilt[fill.market] = None

    def _fill_order(self, now_ns: int, ledger: MarketLedger, fill: e.Filled, *, counts: bool) -> bool:
        if self.market_of(fill.order_id) != fill.market:
            if 0 < fill.order_id < self.next_order_id:
                what = f"fill {fill.trade_id} is of order {fill.order_id}, which was closed long ago"
                self._out.alarm("fill_after_close", fill.market, ledger.venue, what)
            else:
                self.next_order_id = max(self.next_order_id, fill.order_id + 1)
                what = f"fill {fill.trade_id} is of an order that we never placed"
                self._out.alarm("foreign_fill", fill.market, ledger.venue, what)
            return False
        return self.orders.filled(now_ns, fill, counts=counts)

    def _repeated(self, ledger: MarketLedger, known: e.Filled, again: e.Filled) -> None:
        if not is_same_fill(known, again):
            text = f"fill {again.trade_id} came again with other content; the first stands"
            self._out.alarm("fill_conflict", ledger.market, ledger.venue, text)
        elif again.final:
            ledger.confirm(again.trade_id)

    def _on_final(self, _now_ns: int, event: e.FillFinal) -> None:
        ledger = self._ledger(event.market, "the finality of a fill", event.trade_id)
        if ledger is None or ledger.forgotten:
            return
        if event.trade_id in ledger.voids:
            self._contradicted(ledger, event.trade_id, "is final, but it was voided before")
        else:
            ledger.confirm(event.trade_id)

    def _on_voided(self, now_ns: int, event: e.FillVoided) -> None:
        ledger = self._ledger(event.market, "a void", event.trade_id)
        if ledger is None or ledger.forgotten or event.trade_id in ledger.voids:
            return
        if ledger.is_final(event.trade_id):
            self._contradicted(ledger, event.trade_id, "is voided, but it was final before")
            return
        before = ledger.cash_micros()
        if ledger.void(event.trade_id) is None:
            text = f"fill {event.trade_id} is voided ({event.why}) before we heard of it"
            self._out.alarm("void_unknown", event.market, ledger.venue, text)
            return
        self._reads[ledger.venue].recent.pop((event.market, event.trade_id), None)
        self._moved(now_ns, ledger, before)
        self._out.rebuilt[event.market] = None

    def _contradicted(self, ledger: MarketLedger, trade_id: str, what: str) -> None:
        text = f"fill {trade_id} {what}; the first word stands"
        self._out.alarm("final_conflict", ledger.market, ledger.venue, text)

    def _ledger(self, market: int, what: str, name: str) -> MarketLedger | None:
        ledger = self.ledgers.get(market)
        if ledger is None:
            text = f"{what} ({name}) names market row {market}, which was never listed"
            self._out.alarm("foreign_fill", market, "", text)
        return ledger

    def _moved(self, now_ns: int, ledger: MarketLedger, before_micros: int) -> None:
        """Bring the totals to what the ledger says now."""
        change = ledger.cash_micros() - before_micros
        self.cash_micros += change
        reads = self._reads[ledger.venue]
        reads.cash_micros += change
        reads.changed_ns = ledger.changed_ns = now_ns
        reads.unexplained_micros = 0  # this may explain it: only a newer read can say that something is left

    # --- settlement and money -----------------------------------------------------------------------

    def _on_settled(self, now_ns: int, event: e.Settled) -> None:
        ledger = self._ledger(event.market, "a settlement", "")
        if ledger is None:
            return
        first = not ledger.settled_ns
        before = ledger.cash_micros()
        amends = ledger.settle(now_ns, event.value_micros, refund=event.refund)
        if first:
            self._settled[event.market] = now_ns
        if first or amends:
            self._moved(now_ns, ledger, before)
        if amends:
            text = f"the market pays {event.value_micros} micros now; it had paid otherwise"
            self._out.alarm("settlement_amended", event.market, ledger.venue, text)
            self._out.rebuilt[event.market] = None

    def _on_merged(self, now_ns: int, event: e.Merged) -> None:
        ledger = self._ledger(event.market, "a merge", event.merge_id)
        if ledger is None or ledger.forgotten:
            return
        self._reads[ledger.venue].pairs.pop(event.market, None)
        before = ledger.cash_micros()
        if ledger.merge(event.exch_ns or now_ns, event.merge_id, event.pairs):
            self._moved(now_ns, ledger, before)
            self._out.rebuilt[event.market] = None

    def _on_transferred(self, now_ns: int, event: e.Transferred) -> None:
        if event.transfer_id:
            if event.transfer_id in self._transfers:
                return
            self._transfers[event.transfer_id] = None
        self.cash_micros += event.amount_micros
        reads = self._reads.get(event.venue)
        if reads is not None:
            reads.cash_micros += event.amount_micros
            reads.changed_ns = now_ns
            reads.unexplained_micros = 0
        market = min((m for m, v in self._venues.items() if v == event.venue), default=-1)
        if market >= 0:
            self._out.rebuilt[market] = None  # which copies the cash as well

    # --- reads --------------------------------------------------------------------------------------

    def _on_read_failed(self, now_ns: int, event: e.ReadFailed) -> None:
        reads = self._reads.get(event.venue)
        if reads is not None and event.read in reads.next_read_ns:
            reads.failed(event.read, now_ns, self.terms)

    def _on_orders_read(self, now_ns: int, event: e.OrdersRead) -> None:
        reads = self._reads.get(event.venue)
        if reads is None:
            return
        found = compare_orders(event, self._opened(event.venue), self.orders.closed, self.terms)
        for row in event.orders:
            self.orders.listed(now_ns, event.as_of_ns, row)
        for order in found.absent:
            self.orders.absent(order, now_ns, event.asked_ns, event.as_of_ns)
        rows = {_order_name(row): row for row in (*found.strays, *found.foreign)}
        fresh, _ = reads.repeated("order ", dict.fromkeys(rows, "stands"), event.as_of_ns)
        for name in fresh:
            row = rows[name]
            whose = "which is closed here" if row.order_id > 0 else "which we never placed"
            text = f"order {row.venue_id} of {row.remaining} stands at the venue, {whose}"
            self._out.alarm("foreign_order", row.market, event.venue, text)
        for row in found.strays:
            self.next_order_id = max(self.next_order_id, row.order_id + 1)
            if _order_name(row) in reads.alarmed:  # seen twice: it is ours to take out
                self._out.commands.append(
                    c.Cancel(order_id=row.order_id, market=row.market, venue_id=row.venue_id)
                )
        open_questions = any(order.state not in CLOSED_STATES for order in found.absent) or bool(found.strays)
        self._heard(reads, now_ns, event, "orders", agrees=not open_questions)

    def _on_fills_read(self, now_ns: int, event: e.FillsRead) -> None:
        reads = self._reads.get(event.venue)
        if reads is None:
            return
        for fill in event.fills:
            self._on_filled(now_ns, fill)
        ghosts = {fill_name(*key): key for key in unlisted_fills(event, reads.recent, self.terms)}
        fresh, certain = reads.repeated("fill ", dict.fromkeys(ghosts, "unlisted"), event.as_of_ns)
        for name in fresh:
            market, trade_id = ghosts[name]
            text = f"fill {trade_id} is booked, but the venue does not list it"
            self._out.alarm("ghost_fill", market, event.venue, text)
        reads.covers(event, self.terms)
        self.orders.fills_covered(now_ns, event.venue, reads.covered_ns)
        self._heard(reads, now_ns, event, "fills", agrees=not ghosts, certain=certain)

    def _on_positions_read(self, now_ns: int, event: e.PositionsRead) -> None:
        reads = self._reads.get(event.venue)
        if reads is None:
            return
        ledgers = [ledger for ledger in self.ledgers.values() if ledger.venue == event.venue]
        found, unsure = differing_positions(event, ledgers, self.terms, self.operations.pairs())
        rows = {f"position {m}": (m, said) for m, said in found.items()}
        how = {name: f"{said} {self._held(m)}" for name, (m, said) in rows.items()}
        fresh, certain = reads.repeated("position ", how, event.as_of_ns, reads.covered_ns)
        for name in fresh:
            market, said = rows[name]
            text = f"the venue says {said[0]} YES and {said[1]} NO, we booked {self._held(market)}"
            self._out.alarm("position_drift", market, event.venue, text)
            held, ledger = self.position(market), self.ledgers.get(market)
            pairs = held.yes_contracts - said[0]
            if ledger and not (ledger.nets or ledger.forgotten) and pairs == held.no_contracts - said[1]:
                reads.pairs[market] = pairs
        self._heard(reads, now_ns, event, "positions", agrees=not (found or unsure), certain=certain)

    def _held(self, market: int) -> str:
        held = self.position(market)
        return f"{held.yes_contracts} YES and {held.no_contracts} NO"

    def _on_balance_read(self, now_ns: int, event: e.BalanceRead) -> None:
        reads = self._reads.get(event.venue)
        if reads is None:
            return
        if reads.base_micros is None:  # its first word is its share; that of the last one is what is left
            others = [other.base_micros for other in self._reads.values() if other is not reads]
            left = self.opening_micros - sum(share or 0 for share in others)
            reads.base_micros = event.cash_micros - reads.cash_micros if None in others else left
        expected = reads.base_micros + reads.cash_micros
        off, unsure = cash_difference_micros(event, expected, reads.changed_ns, self.terms)
        if off and abs(off - self.operations.cash_micros(event.venue)) <= self.terms.cash_tolerance_micros:
            off = 0  # an operation under way has happened already
        how = {"cash": f"{off} {expected}"} if off else {}
        fresh, certain = reads.repeated("cash", how, event.as_of_ns, reads.covered_ns)
        reads.unexplained_micros = off if certain else 0
        if fresh:
            text = f"the venue holds {event.cash_micros} micros of cash, we booked {expected}"
            self._out.alarm("cash_drift", -1, event.venue, text)
        self._heard(reads, now_ns, event, "balance", agrees=not (off or unsure), certain=certain)

    def _heard(
        self,
        reads: VenueReads,
        now_ns: int,
        event: e.OrdersRead | e.FillsRead | e.PositionsRead | e.BalanceRead,
        kind: e.Read,
        *,
        agrees: bool,
        certain: bool = False,
    ) -> None:
        as_of_ns = min(event.as_of_ns, event.asked_ns)  # an answer that was asked for before proves nothing
        reads.heard(kind, now_ns, as_of_ns, self.terms, agrees=agrees)
        if not agrees and kind in ("positions", "balance") and self.terms.reconcile_interval_ns:
            reads.soon("fills", now_ns)  # the likeliest explanation
            if kind == "balance":
                reads.soon("positions", now_ns)  # the next one: a payout
        if certain and self.terms.reconcile_interval_ns:  # a difference that stays
            reads.agreed_ns[kind] = -1
            reads.ready = False

    # --- memory and snapshot ------------------------------------------------------------------------

    def _forget(self, now_ns: int) -> None:
        self.orders.forget(now_ns)
        keep_ns = self.terms.settled_keep_ns
        while self._settled:
            market, settled_ns = next(iter(self._settled.items()))
            if settled_ns + keep_ns > now_ns:
                return
            self.ledgers[market].forget()
            del self._settled[market]

    def encode(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        opened, closed = self.orders.save()
        return encode_state(
            self.operations.save(),
            cash_micros=self.cash_micros,
            opening_micros=self.opening_micros,
            next_order_id=self.next_order_id,
            started_ns=self._started_ns,
            began_ns=self._began_ns,
            ledgers=tuple(self.ledgers[m].save() for m in sorted(self.ledgers)),
            reads=tuple(self._reads[venue].save() for venue in sorted(self._reads)),
            transfers=tuple(sorted(self._transfers)),
            open=opened,
            closed=closed,
        )

    @classmethod
    def decode(cls, blob: bytes, terms: OrderTerms) -> Account:
        """The account that `encode` described; raises `DataError` for anything else."""
        state = decode_state(blob)
        account = cls(terms)
        account.cash_micros = state.cash_micros
        account.opening_micros = state.opening_micros
        account.next_order_id = state.next_order_id
        account._started_ns = state.started_ns
        account._began_ns = state.began_ns
        for saved in state.ledgers:
            account._venues[saved.market] = saved.venue
            account.ledgers[saved.market] = MarketLedger.load(saved)
        waiting = [s for s in account.ledgers.values() if s.settled_ns and not s.forgotten]
        for ledger in sorted(waiting, key=lambda s: (s.settled_ns, s.market)):
            account._settled[ledger.market] = ledger.settled_ns
        account._reads = {saved.venue: VenueReads.load(saved) for saved in state.reads}
        account._transfers = dict.fromkeys(state.transfers)
        account.operations = Operations(state.operations)
        covered = {venue: reads.covered_ns for venue, reads in account._reads.items()}
        account.orders.load(state.open, state.closed, covered)
        return account


def _order_name(row: e.VenueOrder) -> str:
    return f"order {row.order_id} {row.venue_id}"


_READ_OF: dict[type, e.Read] = {
    c.ReadOrders: "orders", c.ReadFills: "fills", c.ReadPositions: "positions", c.ReadBalance: "balance",
}  # fmt: skip
