"""The simulated exchange: the compiled one behind the requests and the evidence of a venue.

It holds a world of its own, is fed by EVENT rows and by our requests, and says what happened as control
events, each at its exchange time. It has no clock and waits for nothing: the caller says what time it is, and
that is also the order of things. At one instant the recording comes first, then expiries, then our requests.
What it tells may be bent by `Faults`; what is true is in its reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.events import (
    Accepted,
    AnswerLost,
    Closed,
    Control,
    Filled,
    FillFinal,
    FillVoided,
    Listed,
    Merged,
    Reduced,
    Refused,
    Renewed,
    Request,
    RequestRefused,
    Settled,
    VenueOrder,
)
from pr3dict.domain.market import Venue
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_run, position
from pr3dict.kernels.dtypes import WHY_NAMES
from pr3dict.kernels.messages import ERRORS
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated.faults import NO_FAULTS, Faults, FillFault
from pr3dict.venues.simulated.opening import grow_world, open_world
from pr3dict.venues.simulated.truth import BookedOrder, Message, OrderTruth, Truth, cash_of

NO_DATA: Final[d.Array] = np.zeros(0, d.EVENT)
ROLLED_BACK: Final = "rolled back"  # why an order is gone that the venue does not know any more
_NO_MARKET: Final = "the exchange has no such market"
_NO_ROOM: Final = "too many open orders in this market"


class Occurrence(NamedTuple):
    """What happened at the exchange at `exch_ns`: rows of market data (the last one's time), or evidence."""

    exch_ns: int
    data: d.Array
    event: Control | None


class _Due(NamedTuple):
    """Something that will be told, or will happen, later."""

    at_ns: int
    number: int  # in order of plan at one time
    what: Control | BookedOrder  # evidence, or an order that vanishes


def _check_numbers(listings: Sequence[Listed]) -> None:
    if [listing.market for listing in listings] != list(range(len(listings))):
        raise DataError("the markets of an exchange are numbered from 0 in order", key="market")


class SimulatedExchange:
    """One account at a simulated venue.

    `events` are EVENT rows by exchange time without SNAPSHOT rows; the `aux` of a TICK names a grid of its
    market's `Listed.grids`. `rules` is a RULES row; its latencies do not count here. `positions` are
    (yes, no) micro-contracts a market.

    Raises:
        DataError: the listings are not numbered from 0.
    """

    def __init__(
        self,
        listings: Sequence[Listed],
        events: d.Array,
        rules: d.Array,
        cash_micros: int,
        positions: Mapping[int, tuple[int, int]] | None = None,
        *,
        faults: Faults = NO_FAULTS,
    ) -> None:
        _check_numbers(listings)
        self.listings = tuple(listings)
        self.faults = faults
        self.now_ns = 0
        self.refuses_all = ""  # why new orders and changes are refused: a restart, a closed venue
        self.refuses_new = ""  # why new orders are refused: a pause, a triggered order group
        self.world, self._grid_rows = open_world(listings, rules, cash_micros)
        nets = [listing.nets_positions for listing in listings]
        threshold = int(self.world.rules[0].merge_threshold)
        held = positions or {}
        self.truth = Truth(cash_micros, held, nets, threshold, faults.history_ns)
        for m, (yes, no) in held.items():
            self.world.holdings[m].yes_contracts, self.world.holdings[m].no_contracts = yes, no
        self._free = [list(range(d.ORDER_SLOTS - 1, -1, -1)) for _ in listings]
        self.paid: dict[int, tuple[int, int, int]] = {}  # yes, no and payout of each settled market
        self.settled: dict[int, Settled] = {}  # what was told last of each
        self._by_venue_id: dict[str, BookedOrder] = {}
        self._due: list[_Due] = []
        self._plans = self._foreign = 0
        self._message = np.zeros(1, d.MESSAGE)
        self._look_at_fields()
        self._request: Request = "cancel"
        self._bent: dict[int, None] = {}  # markets with trades that the compiled exchange did not make
        self._expiry_ns = NEVER_NS
        self._given: d.Array = NO_DATA
        self._rows: d.Array = NO_DATA  # the same rows with the numbers of our own grids
        self._i = 0
        self._times: npt.NDArray[np.int64] = NO_DATA["exch_ns"]
        self._settles: list[int] = []  # rows that settle a market, the next one last
        self._tape_ns = NEVER_NS
        self.extend(events)

    def _look_at_fields(self) -> None:
        """Views of single fields: reading one through a record costs a hundred times as much."""
        clock, account = self.world.clock, self.world.account
        self._head, self._tail = clock["inbox_head"], clock["inbox_tail"]
        self._next_expiry, self._error = clock["next_expiry_ns"], account["error"]

    def list_more(self, listings: Sequence[Listed]) -> None:
        """Open further markets, numbered on from the others; raises `DataError` where they are not."""
        everyone = (*self.listings, *listings)
        _check_numbers(everyone)
        self.world, self._grid_rows = grow_world(self.world, everyone)
        for listing in listings:
            self.truth.list_market(listing.market, nets=listing.nets_positions)
            self._free.append(list(range(d.ORDER_SLOTS - 1, -1, -1)))
        self.listings = everyone
        self._look_at_fields()

    # --- time -------------------------------------------------------------------------------------

    def extend(self, events: d.Array) -> None:
        """Append rows that come after all others; a row older than now happens now."""
        if not len(events):
            return
        floor = self.now_ns
        if self._i < len(self._given):
            floor = max(floor, int(self._given[-1]["exch_ns"]))
        times = events["exch_ns"]
        if int(times[0]) < floor or (np.diff(times) < 0).any():
            events = events.copy()
            events["exch_ns"] = np.maximum(np.maximum.accumulate(times), floor)
        rows = self._numbered(events)
        if self._i < len(self._given):
            same = rows is events and self._rows is self._given
            self._given = np.concatenate((self._given[self._i :], events))
            self._rows = self._given if same else np.concatenate((self._rows[self._i :], rows))
        else:
            self._given, self._rows = events, rows
        self._i = 0
        self._settles = np.flatnonzero(self._given["kind"] == d.SETTLE)[::-1].tolist()
        self._times = self._given["exch_ns"]
        self._tape_ns = int(self._times[0])

    def _numbered(self, events: d.Array) -> d.Array:
        """The rows with every TICK naming a row of our own grids; the same array where they do already."""
        ticks = np.flatnonzero(events["kind"] == d.TICK)
        if not len(ticks):
            return events
        rows = [
            self._grid_rows[self.listings[m].grids[aux]]
            for m, aux in zip(events["market"][ticks], events["aux"][ticks], strict=True)
        ]
        if rows == events["aux"][ticks].tolist():
            return events
        events = events.copy()
        events["aux"][ticks] = rows
        return events

    @property
    def next_ns(self) -> int:
        """When something happens next without us; NEVER_NS: nothing will."""
        due_ns = self._due[0].at_ns if self._due else NEVER_NS
        return min(self._tape_ns, self._expiry_ns, due_ns)

    @property
    def is_idle(self) -> bool:
        """No order rests and nothing is planned: the recording alone says nothing about us but payouts."""
        return not self.truth.open and not self._due

    def advance(self, until_ns: int) -> list[Occurrence]:
        """Let everything up to and including `until_ns` happen; says what did, in order.

        Raises:
            WorkError: a bounded buffer of the exchange overflowed.
        """
        happened: list[Occurrence] = []
        while self.next_ns <= until_ns:
            due_ns = self._due[0].at_ns if self._due else NEVER_NS
            self._advance_tape(min(until_ns, due_ns), happened)
            while self._due and self._due[0].at_ns <= min(until_ns, due_ns):
                due = heapq.heappop(self._due)
                happened.extend(Occurrence(due.at_ns, NO_DATA, event) for event in self._fall_due(due))
        self.now_ns = max(self.now_ns, until_ns)
        return happened

    def _advance_tape(self, until_ns: int, happened: list[Occurrence]) -> None:
        """Rows of the recording and expiries up to `until_ns`."""
        while self._tape_ns <= until_ns or self._expiry_ns <= until_ns:
            first = self._i
            stop = self._settles[-1] + 1 if self._settles else len(self._rows)
            self._i = i = int(exchange_run.advance(self.world, self._rows[:stop], first, until_ns))
            settled = i == stop and i > first and bool(self._settles)
            self._tape_ns = int(self._times[i]) if i < len(self._times) else NEVER_NS
            if i - settled > first:
                data = self._given[first : i - settled]
                happened.append(Occurrence(int(self._times[i - settled - 1]), data, None))
            happened.extend(Occurrence(at_ns, NO_DATA, event) for at_ns, event in self._reports())
            if settled:
                row = self._given[self._settles.pop()]
                event = self._settle(int(row["exch_ns"]), row)
                happened.append(Occurrence(int(row["exch_ns"]), NO_DATA, event))

    def _settle(self, now_ns: int, row: d.Row) -> Settled:
        """Book what the compiled exchange has paid out."""
        m, value, refund = int(row["market"]), int(row["qty"]), bool(row["bits"] & d.REFUND)
        yes, no = self.truth.holdings[m]
        payout = (yes * value + no * (1_000_000 - value)) // 1_000_000
        if refund:  # each position's cost, which only the compiled books know
            payout = int(self.world.account[0].cash_micros) - self.truth.cash_micros
        self.paid[m] = (yes, no, payout)
        self.truth.change_cash(now_ns, payout)
        self.truth.hold(now_ns, m, 0, 0)
        self.settled[m] = Settled(market=m, value_micros=value, refund=refund)
        return self.settled[m]

    def grid_index(self, market: int) -> int:
        """Which of its market's `Listed.grids` is in force."""
        row = int(self.world.exchange_books[market].grid)
        return [self._grid_rows[grid] for grid in self.listings[market].grids].index(row)

    def _plan(self, at_ns: int, what: Control | BookedOrder) -> None:
        self._plans += 1
        heapq.heappush(self._due, _Due(at_ns, self._plans, what))

    def _fall_due(self, due: _Due) -> Sequence[Control]:
        self.now_ns = max(self.now_ns, due.at_ns)
        what = due.what
        if isinstance(what, BookedOrder):
            self.remove(due.at_ns, what)
            return ()
        if isinstance(what, FillFinal):
            return (what,) if self.truth.make_final(what.trade_id) else ()
        if isinstance(what, FillVoided):
            return self.void(due.at_ns, what.trade_id, what.why)
        return (what,)

    def void(self, now_ns: int, trade_id: str, why: str) -> list[Control]:
        """A fill never settles: a provisional one is undone, for a final one this is a contradiction."""
        place = self.truth.provisional.pop(trade_id, None)
        if place is not None:
            self._undo(now_ns, self.truth.fills[place], why)
            self._align()
        found = [fill for fill in reversed(self.truth.fills) if fill.trade_id == trade_id]
        return [FillVoided(market=fill.market, trade_id=trade_id, why=why) for fill in found[:1]]

    def _undo(self, now_ns: int, fill: Filled, why: str) -> None:
        self.truth.undo(now_ns, fill, why)
        leg = d.SELL_LEG if fill.sell else d.BUY_LEG
        cash = cash_of(fill) + fill.fee_micros - fill.rebate_micros
        exchange_run.undo_trade(self.world, now_ns, fill.market, fill.side, leg, cash, fill.size)
        self.world.account[0].cash_micros += fill.fee_micros - fill.rebate_micros
        self._bent[fill.market] = None
        if fill.market in self.paid:
            self._pay_rest(now_ns, fill.market)

    def _pay_rest(self, now_ns: int, m: int) -> None:
        """A trade of a market that has paid out is undone: what it leaves is paid as well."""
        self._align()
        held, settled = self.world.holdings[m], self.settled[m]
        yes, no = self.truth.holdings[m]
        payout = int(position.settle(held, settled.value_micros, settled.refund))
        self.world.account[0].cash_micros += payout
        was_yes, was_no, paid = self.paid[m]
        self.paid[m] = (was_yes + yes, was_no + no, paid + payout)
        self.truth.change_cash(now_ns, payout)
        self.truth.hold(now_ns, m, 0, 0)

    def _align(self) -> None:
        """Where trades were bent, merge or split in the compiled books what the truth holds as pairs.

        The compiled exchange merges between the fills of one taker, before the first of them is bent.
        """
        for m in self._bent:
            held = self.world.holdings[m]
            yes, no = self.truth.holdings[m]
            pairs = yes - int(held.yes_contracts)
            if pairs and pairs == no - int(held.no_contracts):
                exchange_run.split(self.world, m, pairs)
        self._bent.clear()

    def remove(self, now_ns: int, order: BookedOrder) -> None:
        """A resting order is gone without a word, as if it had never been accepted."""
        if order.key in self.truth.open:
            exchange_run.close(self.world, now_ns, order.market, order.slot, d.WHY_NONE)
            self._reports()
            order.why = ROLLED_BACK

    # --- what the compiled exchange reports -----------------------------------------------------------

    def _reports(self) -> list[tuple[int, Control]]:
        """Take the reports of the last call out of the inbox, as evidence with its time."""
        inbox = self.world.inbox
        self._expiry_ns = int(self._next_expiry[0])
        head, tail = int(self._head[0]), int(self._tail[0])
        if self._error[0]:
            what = ERRORS[int(self._error[0])]
            raise WorkError(f"the simulated exchange stopped: {what}; please report this")
        if head == tail:
            self._align()
            return []
        heard: list[tuple[int, Control]] = []
        for place in range(head, tail):
            message = Message._make(inbox[place & (len(inbox) - 1)].item())
            heard.extend((message.at_ns, event) for event in self._hear(message.at_ns, message))
        self._head[0] = tail
        self._align()
        return heard

    def collect(self) -> list[Control]:
        """What the last call of a kernel of `kernels/exchange_run.py` made the exchange say."""
        return [event for _, event in self._reports()]

    def _hear(self, at_ns: int, message: Message) -> Iterator[Control]:
        """Bring the truth up to one report and say what it tells us."""
        order = self.truth.orders[message.id]
        kind = message.kind
        if kind == d.FILL_REPORT:
            yield from self._filled(at_ns, order, message)
            return
        if kind == d.CANCEL_REJECT:
            why = WHY_NAMES[message.why]
            yield RequestRefused(order_id=order.order_id, request=self._request, why=why)
            return
        self.truth.note(at_ns, ("order", order.key))
        event: Control
        if kind == d.ACK:
            self.truth.open[order.key] = order
            event = Accepted(order_id=order.order_id, venue_id=order.venue_id)
        elif kind == d.REJECT:
            self._leave(order, "refused", WHY_NAMES[message.why])
            event = Refused(order_id=order.order_id, why=order.why)
        elif kind == d.CANCELED:
            self._leave(order, "closed", WHY_NAMES[message.why])
            wiped = message.why == d.WHY_REACTIVATED
            if wiped and not self.faults.tells_of_wipe(at_ns, order.market):
                return
            event = Closed(order_id=order.order_id, why=order.why, filled=order.filled)
        else:
            order.remaining = message.qty
            event = Reduced(order_id=order.order_id, remaining=order.remaining, filled=order.filled)
        if order.order_id:  # nobody tells us of orders that we did not place
            yield event

    def _leave(self, order: BookedOrder, status: str, why: str) -> None:
        order.status = "refused" if status == "refused" else "closed"
        order.why = why
        self.truth.open.pop(order.key, None)
        self._free[order.market].append(order.slot)

    def _filled(self, at_ns: int, order: BookedOrder, message: Message) -> Iterator[Control]:
        fill = order.next_fill(at_ns, message)
        fault = self.faults.on_fill(at_ns, fill)
        if fault.extra_size or fault.extra_fee_micros or fault.provisional:
            fill = self._bend(at_ns, fill, fault)
        self.truth.note(at_ns, ("order", order.key))
        order.fills += 1
        order.filled += fill.size
        order.remaining -= message.qty
        merged = self.truth.book(at_ns, fill, fault.extra_size)
        if fault.ghost:
            self._undo(at_ns, fill, "ghost")
            if fault.void_after_ns:
                gone = FillVoided(market=fill.market, trade_id=fill.trade_id, why="never settled")
                self._plan(at_ns + fault.void_after_ns, gone)
        elif fault.delay_ns:
            self._plan(at_ns + fault.delay_ns, fill)
        elif not fault.silent:
            yield fill
        if merged:
            yield Merged(market=fill.market, pairs=merged, exch_ns=fill.exch_ns, merge_id=fill.trade_id)
        if not fault.ghost:
            self._plan_end(at_ns, fill, fault)
        if order.remaining == 0:
            self._leave(order, "closed", "filled")
            if order.order_id:
                yield Closed(order_id=order.order_id, why="filled", filled=order.filled)

    def _bend(self, at_ns: int, fill: Filled, fault: FillFault) -> Filled:
        """The fill as the venue books it: larger, dearer or provisional."""
        bent = msgspec.structs.replace(
            fill,
            size=fill.size + fault.extra_size,
            fee_micros=fill.fee_micros + fault.extra_fee_micros,
            final=not fault.provisional,
        )
        if fault.extra_size:
            cash = cash_of(bent) - cash_of(fill) + fault.extra_fee_micros
            leg = d.SELL_LEG if fill.sell else d.BUY_LEG
            exchange_run.book_trade(self.world, at_ns, fill.market, fill.side, leg, cash, fault.extra_size)
        self.world.account[0].cash_micros -= fault.extra_fee_micros
        self._bent[fill.market] = None
        return bent

    def _plan_end(self, at_ns: int, fill: Filled, fault: FillFault) -> None:
        """When a provisional fill ends, and when a fill is told again."""
        if fault.provisional and fault.final_after_ns:
            self._plan(at_ns + fault.final_after_ns, FillFinal(market=fill.market, trade_id=fill.trade_id))
        if fault.provisional and fault.void_after_ns:
            void = FillVoided(market=fill.market, trade_id=fill.trade_id, why="never settled")
            self._plan(at_ns + fault.void_after_ns, void)
        if fault.again_after_ns:
            again = msgspec.structs.replace(fill, price=fill.price + fault.twist)
            self._plan(at_ns + fault.again_after_ns, again)

    # --- our requests: `advance` to `now_ns` first -------------------------------------------------------

    def place(self, now_ns: int, place: Place) -> list[Control]:
        """A new order arrives. An id seen before makes no second order: we hear what became of it."""
        self._check_time(now_ns)
        known = self.truth.orders.get(place.order_id)
        if known is not None:
            return self._evidence(known)
        fault = self.faults.on_place(now_ns, place)
        if fault.drop:
            return [AnswerLost(order_id=place.order_id, request="place", why="timeout")]
        why, text = self._refusal(place)
        if fault.refuse:
            why, text = fault.refuse, fault.text
        if why:
            order = self._enter(now_ns, place, place.order_id, slot=-1)
            order.status, order.why, order.text = "refused", why, text
            return [Refused(order_id=place.order_id, why=why, text=text)]
        answers = self.enter(now_ns, place, place.order_id)
        if fault.roll_back_ns and place.order_id in self.truth.open:
            self._plan(now_ns + fault.roll_back_ns, self.truth.orders[place.order_id])
        if fault.lose:
            lost = AnswerLost(order_id=place.order_id, request="place", why=fault.lose)
            told = [event for event in answers if not isinstance(event, Accepted | Refused)]
            return [*told, lost]
        return answers

    def _check_time(self, now_ns: int) -> None:
        if now_ns < self.now_ns or self.next_ns <= now_ns:
            raise WorkError(f"a request came at {now_ns} ns, the exchange stands at {self.now_ns} ns")

    def _refusal(self, place: Place) -> tuple[str, str]:
        if not 0 <= place.market < len(self.listings):
            return "unknown_order", _NO_MARKET
        if self.refuses_all or self.refuses_new:
            return "not_active", self.refuses_all or self.refuses_new
        if not self._free[place.market]:
            return "rate_limit", _NO_ROOM
        return "", ""

    def _enter(self, now_ns: int, place: Place, key: int, slot: int) -> BookedOrder:
        venue_id = f"x{len(self.truth.orders) + 1}"
        order = BookedOrder(
            key, max(key, 0), venue_id, place.market, place.side, place.sell, place.price, place.size,
            place.expiry_ns, slot,
        )  # fmt: skip
        self.truth.orders[key] = self._by_venue_id[venue_id] = order
        self.truth.placed_ns[key] = now_ns
        return order

    def enter(self, now_ns: int, place: Place, key: int) -> list[Control]:
        """Let an order reach the compiled exchange; `key` is negative where it is not ours."""
        order = self._enter(now_ns, place, key, self._free[place.market].pop())
        leg = d.SELL_LEG if place.sell else d.BUY_LEG
        return self._arrive(
            Message(
                now_ns, key, place.size, place.expiry_ns, price=place.price, market=place.market,
                slot=order.slot, kind=d.NEW, side=place.side, tif=place.tif, leg=leg,
            )
        )  # fmt: skip

    def _arrive(self, message: Message) -> list[Control]:
        self._message[0] = message
        exchange_run.arrive_at(self.world, message.at_ns, self._message)
        self.now_ns = message.at_ns
        return self.collect()

    def _evidence(self, order: BookedOrder) -> list[Control]:
        if order.status == "refused":
            return [Refused(order_id=order.order_id, why=order.why, text=order.text)]
        said: list[Control] = [
            Accepted(order_id=order.order_id, venue_id=order.venue_id, filled=order.filled)
        ]
        if order.status == "closed":
            said.append(Closed(order_id=order.order_id, why=order.why, filled=order.filled))
        return said

    def cancel(self, now_ns: int, cancel: Cancel) -> list[Control]:
        """Take an order out of the book; one of no id of ours is found by its venue id."""
        return self._change(now_ns, cancel, "cancel")

    def reduce(self, now_ns: int, reduce: Reduce) -> list[Control]:
        """Leave `remaining` in the book, in place."""
        return self._change(now_ns, reduce, "reduce")

    def renew(self, now_ns: int, renew: Renew) -> list[Control]:
        """Move the expiry of a resting order, in place."""
        return self._change(now_ns, renew, "renew")

    def _change(self, now_ns: int, change: Cancel | Reduce | Renew, request: Request) -> list[Control]:
        self._check_time(now_ns)
        order = self._find(change.order_id, change.venue_id)
        fault = self.faults.on_change(now_ns, change)
        bent = fault.answer(change, request, -1 if order is None else order.filled)
        if bent is not None:
            return [bent]
        why = "not_active" if self.refuses_all else "unknown_order"
        if self.refuses_all or order is None or order.key not in self.truth.open:
            answers: list[Control] = [
                RequestRefused(order_id=change.order_id, request=request, why=why, text=self.refuses_all)
            ]
        else:
            answers = self._carry_out(now_ns, change, request, order)
        if fault.lose:
            return [AnswerLost(order_id=change.order_id, request=request, why=fault.lose)]
        return answers

    def _carry_out(
        self, now_ns: int, change: Cancel | Reduce | Renew, request: Request, order: BookedOrder
    ) -> list[Control]:
        if isinstance(change, Renew):
            return self._renew(now_ns, change, order)
        kind = d.CANCEL if isinstance(change, Cancel) else d.REDUCE
        size = change.remaining if isinstance(change, Reduce) else 0
        self._request = request
        return self._arrive(Message(now_ns, order.key, size, market=order.market, slot=order.slot, kind=kind))

    def _renew(self, now_ns: int, renew: Renew, order: BookedOrder) -> list[Control]:
        if 0 < renew.expiry_ns <= now_ns:
            return [RequestRefused(order_id=renew.order_id, request="renew", why="expired")]
        self.truth.note(now_ns, ("order", order.key))
        exchange_run.renew(self.world, order.market, order.slot, renew.expiry_ns)
        self._expiry_ns = int(self._next_expiry[0])
        order.expiry_ns = renew.expiry_ns
        return [Renewed(order_id=order.order_id, expiry_ns=order.expiry_ns)]

    def cancel_all(self, now_ns: int, venue: Venue | None = None) -> list[Control]:
        """Take every order of the account out of the book (of one venue's markets), whoever placed it."""
        said: list[Control] = []
        for order in list(self.truth.open.values()):
            if venue is None or self.listings[order.market].venue == venue:
                cancel = Cancel(order_id=order.order_id, market=order.market, venue_id=order.venue_id)
                said += self.cancel(now_ns, cancel)
        return said

    def _find(self, order_id: int, venue_id: str) -> BookedOrder | None:
        return self.truth.orders.get(order_id) if order_id else self._by_venue_id.get(venue_id)

    # --- the truth as of now -----------------------------------------------------------------------------

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """All resting orders of the account, by arrival."""
        return tuple(order.listed() for order in self.truth.open.values())

    def order(self, order_id: int) -> OrderTruth | None:
        """What became of an order of ours; None: it never arrived."""
        order = self.truth.orders.get(order_id)
        if order is None:
            return None
        return OrderTruth(order.status, order.listed(), order.why, order.size)

    def fills(self, since_ns: int = 0) -> tuple[Filled, ...]:
        """All fills from `since_ns` on that stand, by time."""
        return self.truth.fills_at(NEVER_NS - 1, since_ns)

    def positions(self) -> dict[int, tuple[int, int]]:
        """(yes, no) micro-contracts of each market that is held."""
        return self.truth.positions_at(NEVER_NS)

    @property
    def cash_micros(self) -> int:
        """Cash of the account, what resting orders lock included."""
        return int(self.world.account[0].cash_micros)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Where the compiled books differ from those booked from fills; empty: they agree."""
        columns = [self.world.holdings[name].tolist() for name in ("yes_contracts", "no_contracts")]
        return self.truth.differences(self.cash_micros, dict(enumerate(zip(*columns, strict=True))))
