"""Our orders as far as evidence goes: each follows the table of `domain/order.py` until its fills are read.

Three grades of knowledge: accepted, refused (proved), lost. A lost order keeps its whole exposure and is
asked for again and again, ever more slowly. An order that left the book closes once what we booked equals
what the venue says it traded; until then it is closing, and its fills are read. A closed order is remembered
for `OrderTerms.closed_keep_ns`. Nothing here sends: `due` says what time has made true, `wants` what to ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.market import Venue
from pr3dict.domain.order import CLOSED_STATES, ORDER_TRANSITIONS, OrderEvent, OrderState
from pr3dict.engine.effects import WHY_CODES, Outbox, Report, fill_report
from pr3dict.engine.tracked import NEVER_NS, PATIENCE, Agenda, OrderTerms, TrackedOrder
from pr3dict.kernels import dtypes as d

_S = OrderState
_E = OrderEvent


class Orders:
    """All orders that are open or were closed not long ago."""

    def __init__(self, terms: OrderTerms, venues: Mapping[int, Venue], out: Outbox) -> None:
        """`venues` says where each market trades, `out` collects what others must know."""
        self.terms = terms
        self.open: dict[int, TrackedOrder] = {}
        self.closed: dict[int, TrackedOrder] = {}
        self.covered_ns: dict[Venue, int] = {}  # all fills of a venue up to this time are booked
        self.missing: dict[Venue, None] = {}  # venues whose fills should be read at once
        self.resolved: dict[Venue, None] = {}  # venues with one order in doubt less
        self.replaced: set[int] = set()  # markets whose orders can't be renewed
        self.by_market: dict[int, dict[int, TrackedOrder]] = {}
        self._closed_queue: deque[TrackedOrder] = deque()
        self._agenda = Agenda()
        self._venues = venues
        self._out = out

    # --- what we did ----------------------------------------------------------------------------

    def placed(self, now_ns: int, command: c.Place) -> None:
        """A new order is durable and may leave; raises `WorkError` for an id that was used before."""
        if command.order_id in self.open or command.order_id in self.closed:
            raise WorkError(f"order id {command.order_id} was used before; an id names one order for ever")
        order = TrackedOrder(now_ns, command)
        self.open[command.order_id] = order
        self.by_market.setdefault(command.market, {})[command.order_id] = order
        self._watch(order)

    def cancel_sent(self, now_ns: int, order_id: int) -> None:
        """A cancel left; into an unknown order it stays a wish."""
        order = self.open.get(order_id)
        if order is None:
            return
        order.wish = order.state is not _S.CLOSING
        order.early += not order.seen
        doubtful = order.state in (_S.UNKNOWN, _S.CLOSING)
        self._move(order, _E.CANCEL_SENT, now_ns)
        order.request = "" if doubtful else "cancel"
        order.asked_ns = now_ns
        if doubtful:
            self._later(order, now_ns)
        self._watch(order)

    def reduce_sent(self, now_ns: int, command: c.Reduce) -> None:
        """A reduction left."""
        order = self.open.get(command.order_id)
        if order is not None and order.request not in ("place", "cancel"):
            order.request = "reduce"
            order.reduce_to = command.remaining
            order.asked_ns = now_ns
            self._watch(order)

    def renew_sent(self, now_ns: int, command: c.Renew) -> None:
        """A renewal left: until it is answered the order may live as long as it asks."""
        order = self.open.get(command.order_id)
        if order is not None:
            order.asked_expiry_ns = max(order.asked_expiry_ns, command.expiry_ns)
            if not order.request:
                order.request = "renew"
                order.asked_ns = now_ns
            self._later(order, now_ns)
            self._watch(order)

    def read_sent(self, now_ns: int, order_id: int) -> None:
        """The order was asked for."""
        order = self.open.get(order_id)
        if order is not None:
            self._later(order, now_ns)
            self._watch(order)

    def _later(self, order: TrackedOrder, now_ns: int) -> None:
        if order.next_ns <= now_ns:  # a read and a cancel of one round count once
            order.next_ns = now_ns + self.terms.backoff_ns(order.tries)
            order.tries += 1

    # --- evidence from our own machine ------------------------------------------------------------

    def sent(self, now_ns: int, event: e.Sent) -> None:
        """The order left."""
        order = self.open.get(event.order_id)
        if order is None:
            return
        if event.venue_id and not order.venue_id:
            order.venue_id = event.venue_id
        if order.state is _S.INTENT:
            order.sent_ns = order.asked_ns = now_ns
        self._move(order, _E.SEND, now_ns)
        self._watch(order)

    def not_sent(self, now_ns: int, event: e.NotSent) -> None:
        """The order surely never left."""
        self._refuse(now_ns, event.order_id, WHY_CODES.get(event.why, d.WHY_NOT_SENT))

    def lost(self, now_ns: int, order_id: int, request: e.Request) -> None:
        """A request got no answer: it may have been carried out or not."""
        order = self.open.get(order_id)
        if order is None:
            return
        answered = order.seen if request == "place" else order.request != request
        if answered:
            order.request = "" if order.request == request else order.request
            self._watch(order)
            return
        order.request = ""
        if request == "renew":
            self._later(order, now_ns)  # nothing is in doubt but its expiry, which is bounded
        else:
            self._doubt(order, _E.ANSWER_LOST, now_ns)
        self._watch(order)

    def _doubt(self, order: TrackedOrder, event: OrderEvent, now_ns: int) -> None:
        """Begin to ask: at once, then ever more slowly."""
        before = order.state
        if self._move(order, event, now_ns) and order.state is not before:
            order.next_ns = now_ns
            order.tries = order.absent = order.short = 0

    # --- evidence from the venue ------------------------------------------------------------------

    def accepted(self, now_ns: int, event: e.Accepted) -> None:
        """The venue took the order; after we learned that by a read it is the same evidence again."""
        order = self._find(event.order_id)
        if order is None:
            return
        if event.venue_id and not order.venue_id:
            order.venue_id = event.venue_id
        if order.state is _S.REJECTED:  # it lives after all: take it out of the book
            self._out.commands.append(
                c.Cancel(order_id=order.order_id, market=order.market, venue_id=order.venue_id)
            )
        self._alive(order, now_ns, now_ns, event.filled)

    def _alive(self, order: TrackedOrder, now_ns: int, as_of_ns: int, filled: int) -> None:
        """The venue showed the order as of `as_of_ns`."""
        before = order.state
        if not self._move(order, _E.ACK, now_ns) or order.state in CLOSED_STATES:
            return
        if before is _S.UNKNOWN and not order.wish:
            order.tries = 0
            order.next_ns = now_ns
        order.seen = True
        order.absent = 0
        order.evidence_ns = max(order.evidence_ns, as_of_ns)
        if order.request == "place":
            order.request = ""
        if not order.told:
            order.told = True
            self._tell(order, d.ACK, order.placed)
        self._note_figure(order, now_ns, filled)
        self._watch(order)

    def _note_figure(self, order: TrackedOrder, now_ns: int, filled: int) -> None:
        """The venue says that `filled` has traded; what we miss is read unless it comes by itself."""
        if filled > order.figure and order.state is not _S.CLOSING:
            order.figure = filled
            if filled > order.booked:
                order.next_ns = now_ns + self.terms.read_retry_ns
                order.tries = 0

    def refused(self, now_ns: int, event: e.Refused) -> None:
        """The venue never accepted the order."""
        self._refuse(now_ns, event.order_id, WHY_CODES.get(event.why, d.WHY_NONE))

    def _refuse(self, now_ns: int, order_id: int, why: int) -> None:
        order = self._find(order_id)
        if order is None:
            return
        if order.seen and order.state not in CLOSED_STATES:
            self._illegal(order, "is refused, but the venue had accepted it")
            return
        was_open = order.state not in CLOSED_STATES
        if self._move(order, _E.REJECT, now_ns) and was_open:
            self._tell(order, d.REJECT, order.size, why)

    def closed_by_venue(self, now_ns: int, event: e.Closed) -> None:
        """The venue took the order out of the book."""
        order = self._find(event.order_id)
        if order is not None:
            self._ended(order, now_ns, event.why, event.filled)

    def _ended(self, order: TrackedOrder, now_ns: int, why: str, filled: int) -> None:
        if order.state in CLOSED_STATES:
            if filled >= 0:  # -1 adds nothing to a closed order
                self._move(order, order.end_event(why), now_ns)
                self._note_late_figure(order, filled)
            return
        if order.state is not _S.CLOSING or why != "none" or order.end_why == "unknown_order":
            order.end_why = why
        order.seen = True
        if filled == order.booked:
            order.figure = filled
            self._close(order, now_ns)
            return
        order.sure = True
        self._gone(order, now_ns, filled)

    def _note_late_figure(self, order: TrackedOrder, filled: int) -> None:
        order.figure = max(order.figure, filled)
        if order.figure > order.booked:  # it traded after its end
            self.missing[self._venues[order.market]] = None

    def _gone(self, order: TrackedOrder, now_ns: int, figure: int = -1, *, sure: bool = True) -> None:
        """It left the book, and fills are to be read: it stays exposed until they are.

        `figure` is the venue's word on what traded until the end, -1: none.
        """
        if order.state is _S.CLOSING:
            order.figure = max(order.figure, figure)
        else:
            order.figure = figure
            order.sure = sure
            order.end_ns = now_ns
            order.wish = False
            order.request = ""
            self._doubt(order, _E.GONE, now_ns)
            order.next_ns = now_ns + 1  # what is read as of this very instant would prove nothing
        self._watch(order)

    def _close(self, order: TrackedOrder, now_ns: int) -> None:
        """All its fills are booked: it is over, and the brain hears of what did not trade."""
        left = order.remaining
        if self._move(order, order.end_event(order.end_why), now_ns) and left > 0:
            self._tell(order, d.CANCELED, left, WHY_CODES.get(order.end_why, d.WHY_NONE))

    def reduced(self, now_ns: int, event: e.Reduced) -> None:
        """The order now rests with less."""
        order = self.open.get(event.order_id)
        if order is None:
            return
        if order.request == "reduce" and event.remaining <= order.reduce_to:  # the answer to the last one
            order.request = ""
            order.reduce_to = 0
        order.exact = event.filled >= 0
        order.size = min(order.size, (event.filled if order.exact else order.booked) + event.remaining)
        self._alive(order, now_ns, now_ns, event.filled)
        self._tell(order, d.REDUCED, event.remaining)

    def renewed(self, now_ns: int, event: e.Renewed) -> None:
        """The order lives longer."""
        order = self.open.get(event.order_id)
        if order is None:
            return
        order.expiry_ns = max(order.expiry_ns, event.expiry_ns)
        if order.asked_expiry_ns <= order.expiry_ns:
            order.asked_expiry_ns = 0
        if order.request == "renew":
            order.request = ""
            order.tries = 0
            order.next_ns = now_ns
        self._alive(order, now_ns, now_ns, -1)

    def request_refused(self, now_ns: int, event: e.RequestRefused) -> None:
        """A cancel, reduction or renewal was refused; "unknown_order": gone, if it ever was there."""
        order = self._find(event.order_id)
        if order is None:
            return
        code = WHY_CODES.get(event.why, d.WHY_NONE)
        if order.state in CLOSED_STATES:
            self._tell(order, d.CANCEL_REJECT, 0, code)
            return
        if order.request == event.request:
            order.request = ""
        if event.request == "renew":
            order.asked_expiry_ns = 0
        if event.why == "unknown_order":
            self._unknown_there(order, now_ns, early=event.request == "cancel" and order.early > 0)
        elif event.request != "renew":
            self._rests_on(order, now_ns, event, code)
        self._watch(order)

    def _unknown_there(self, order: TrackedOrder, now_ns: int, *, early: bool) -> None:
        order.early -= early
        if not order.seen:  # our cancel may have overtaken the order
            self._doubt(order, _E.ANSWER_LOST, now_ns)
        elif early:  # it did: the order arrived behind it, and the cancel is still wanted
            self._move(order, _E.CANCEL_REJECT, now_ns)
            order.next_ns = now_ns
        else:
            if order.state is not _S.CLOSING:
                order.end_why = "unknown_order"
            self._gone(order, now_ns, sure=False)

    def _rests_on(self, order: TrackedOrder, now_ns: int, event: e.RequestRefused, code: int) -> None:
        order.reduce_to = 0
        if not order.seen:
            self._doubt(order, _E.ANSWER_LOST, now_ns)
            return
        if event.request == "cancel":
            order.wish = False  # the brain is told, and decides anew
            if order.market in self.replaced:
                self._later(order, now_ns)
        if order.state is not _S.CANCEL_IN_FLIGHT or event.request == "cancel":
            self._move(order, _E.CANCEL_REJECT, now_ns)
        self._tell(order, d.CANCEL_REJECT, 0, code)

    def filled(self, now_ns: int, f: e.Filled, *, counts: bool) -> bool:
        """A new fill; False when the brain can't be told of it by a report.

        `counts` False: it was voided before it came, so it used up the order but moved nothing.
        """
        order = self.open.get(f.order_id)
        if order is None or order.market != f.market:
            self._late_fill(f)
            return False
        order.booked += f.size
        order.seen = True
        order.evidence_ns = max(order.evidence_ns, f.exch_ns)
        order.absent = 0
        if order.request == "place":
            order.request = ""
        self._out.reports.append(fill_report(f))
        agrees = counts and order.booked - f.size < order.size  # else the brain let go of it before
        if f.side != order.side or f.sell != order.sell:
            self._alarm(
                "fill_conflict", order, f"fill {f.trade_id} is of another side or kind than its order"
            )
            agrees = False
        self._advance_filled(order, now_ns)
        return agrees

    def _advance_filled(self, order: TrackedOrder, now_ns: int) -> None:
        self._check_overfill(order)
        if order.booked >= (order.size if order.exact else order.placed):
            self._move(order, _E.FILL, now_ns)
        elif order.state is _S.CLOSING and order.booked == order.figure:
            self._close(order, now_ns)
        elif order.booked >= order.size:  # reduced, and we can't tell whether these fills came before
            self._move(order, _E.PARTIAL_FILL, now_ns)
            self._gone(order, now_ns)
        else:
            self._move(order, _E.PARTIAL_FILL, now_ns)
        if order.state not in CLOSED_STATES:
            self._watch(order)

    def _check_overfill(self, order: TrackedOrder) -> bool:
        if order.booked <= order.placed:
            return False
        self._alarm("overfill", order, f"filled {order.booked} of {order.placed} micro-contracts")
        return True

    def _late_fill(self, f: e.Filled) -> None:
        order = self.closed.get(f.order_id)
        if order is None:
            return
        order.booked += f.size
        if not self._check_overfill(order):
            self._alarm("fill_after_close", order, f"fill {f.trade_id} of {f.size} came after its end")

    # --- evidence from reads ----------------------------------------------------------------------

    def read(self, now_ns: int, event: e.OrderRead) -> None:
        """One order was looked up."""
        order = self._find(event.order_id)
        if order is None:
            return
        if event.venue_id and not order.venue_id:
            order.venue_id = event.venue_id
        if order.state in CLOSED_STATES:
            self._note_late_figure(order, event.filled)
        elif event.status == "open":
            self._shown(order, now_ns, event.as_of_ns, event.remaining, event.filled)
        elif event.status == "not_found":
            self.absent(order, now_ns, event.asked_ns, event.as_of_ns)
        elif order.state is not _S.CLOSING:
            past = 0 < order.latest_expiry_ns() <= event.as_of_ns
            self._ended(order, now_ns, "expired" if past else "none", event.filled)
        elif event.as_of_ns > order.end_ns:
            order.sure = True
            order.figure = event.filled  # read later than the end: this is the venue's word
            if event.filled == order.booked:
                self._close(order, now_ns)

    def listed(self, now_ns: int, as_of_ns: int, v: e.VenueOrder) -> None:
        """The order is in the venue's list of open ones."""
        order = self.open.get(v.order_id)
        if order is not None:
            if v.venue_id and not order.venue_id:
                order.venue_id = v.venue_id
            self._shown(order, now_ns, as_of_ns, v.remaining, v.filled)

    def _shown(self, order: TrackedOrder, now_ns: int, as_of_ns: int, remaining: int, filled: int) -> None:
        if order.state is _S.CLOSING:
            if as_of_ns > order.end_ns + (self.terms.skew_ns if order.sure else 0):
                order.wish = True  # the venue contradicts itself: take it out of the book again
                order.end_ns = as_of_ns
                order.sure = False
                self._watch(order)
            return
        if order.state is _S.UNKNOWN and order.seen and as_of_ns <= order.asked_ns:
            self._note_figure(order, now_ns, filled)
            return  # older than the request whose outcome is in doubt
        if order.reduce_to and filled == order.booked and remaining <= order.reduce_to:
            order.size = min(order.size, filled + remaining)
            order.reduce_to = 0
            self._tell(order, d.REDUCED, remaining)
        self._alive(order, now_ns, as_of_ns, filled)

    def absent(self, order: TrackedOrder, now_ns: int, asked_ns: int, as_of_ns: int) -> None:
        """A read did not show the order. What is younger than the read is not touched by it."""
        older = min(asked_ns, as_of_ns) - self.terms.skew_ns
        if order.state is _S.CLOSING:
            if min(asked_ns, as_of_ns) > order.end_ns:
                order.sure = True
                self._close_if_explained(order, now_ns)
            return
        if as_of_ns <= order.absent_ns:
            return
        if order.seen:
            if order.evidence_ns >= older:
                return
            order.absent += 1
            order.absent_ns = as_of_ns
            if order.absent >= PATIENCE:
                order.end_why = "expired" if 0 < order.latest_expiry_ns() <= as_of_ns else "unknown_order"
                self._gone(order, now_ns)
                return
            order.next_ns = now_ns
        elif as_of_ns > order.proof_ns(self.terms):
            order.absent += 1
            order.absent_ns = as_of_ns
            if self._is_disproved(order):
                order.next_ns = min(order.next_ns, now_ns)
        self._watch(order)

    def _is_disproved(self, order: TrackedOrder) -> bool:
        """Never seen, absent when it could no longer appear, and without a fill until then.

        Past an expiry one read is proof. Without one, a single list may be torn; two in a row are not.
        """
        needed = 1 if order.expiry_ns else PATIENCE
        if order.state is not _S.UNKNOWN or order.seen or order.absent < needed:
            return False
        return self.covered_ns.get(self._venues[order.market], 0) > order.proof_ns(self.terms)

    def fills_covered(self, now_ns: int, venue: Venue, covered_ns: int) -> None:
        """All fills of a venue up to `covered_ns` are booked: orders that ended before can close."""
        self.covered_ns[venue] = covered_ns
        for order in list(self.open.values()):
            if self._venues.get(order.market) != venue:
                continue
            if order.state is _S.CLOSING:
                order.short += covered_ns > order.end_ns + self.terms.skew_ns
                self._close_if_explained(order, now_ns)
            elif self._is_disproved(order):
                order.next_ns = min(order.next_ns, now_ns)
                self._watch(order)

    def _close_if_explained(self, order: TrackedOrder, now_ns: int) -> None:
        """Close it once its fills were read later than its end, and the venue does not contradict its end."""
        if not order.sure or self.covered_ns.get(self._venues[order.market], 0) <= order.end_ns:
            return
        if order.figure not in (-1, order.booked):
            if order.short < PATIENCE:
                return
            what = f"the venue says that {order.figure} traded, its fills say {order.booked}"
            self._alarm("ghost_fill", order, what)
        self._close(order, now_ns)

    def presumed(self, now_ns: int, event: e.Presumed) -> None:
        """Time has proved that the order was never accepted."""
        order = self._find(event.order_id)
        if order is not None and self._move(order, _E.NOT_FOUND, now_ns):
            self._tell(order, d.REJECT, order.size, d.WHY_EXPIRED if order.expiry_ns else d.WHY_UNKNOWN_ORDER)

    # --- what time brings ---------------------------------------------------------------------------

    def due(self, now_ns: int) -> list[e.Control]:
        """What became true by waiting; changes nothing."""
        found: list[e.Control] = []
        for order in self._attention(now_ns):
            if order.request and order.is_timed_out(self.terms, now_ns):
                found.append(e.TimedOut(order_id=order.order_id, request=order.request))
            elif self._is_disproved(order):
                found.append(e.Presumed(order_id=order.order_id, filled=order.booked))
        return found

    def wants(self, now_ns: int, stale: dict[Venue, None]) -> list[c.Action]:
        """Reads, repeated cancels and renewals that are due; `stale` gets the venues whose fills to read."""
        found: list[c.Action] = []
        for order in self._attention(now_ns):
            if order.next_ns > now_ns:
                continue
            name, market, venue_id = order.order_id, order.market, order.venue_id
            renews = order.is_to_renew(self.terms, now_ns)
            ends = renews and market in self.replaced  # it is quoted anew
            if ends or (order.wish and order.state in (_S.LIVE, _S.UNKNOWN, _S.CLOSING)):
                found.append(c.Cancel(order_id=name, market=market, venue_id=venue_id))
            if order.is_questionable(self.terms, now_ns):
                found.append(c.ReadOrder(order_id=name, market=market, venue_id=venue_id))
                stale[self._venues[market]] = None
            elif renews and not ends:
                until_ns = now_ns + self.terms.order_life_ns
                found.append(c.Renew(order_id=name, market=market, venue_id=venue_id, expiry_ns=until_ns))
        return found

    @property
    def next_due_ns(self) -> int:
        """When `due` or `wants` will next have something to say."""
        return self._agenda.next_ns(self.open)

    def _attention(self, now_ns: int) -> list[TrackedOrder]:
        return self._agenda.take(self.open, now_ns)

    def _watch(self, order: TrackedOrder) -> None:
        """Set the order's alarm anew."""
        due_ns = order.attention_ns(self.terms) if order.state not in CLOSED_STATES else NEVER_NS
        if due_ns != order.due_ns:
            order.due_ns = due_ns
            if due_ns < NEVER_NS:
                self._agenda.add(order, self.open)

    def forget(self, now_ns: int) -> None:
        """Drop orders that were closed long enough ago."""
        queue = self._closed_queue
        keep_ns = self.terms.closed_keep_ns
        while queue and queue[0].closed_ns + keep_ns <= now_ns:
            del self.closed[queue.popleft().order_id]

    # --- inside ---------------------------------------------------------------------------------

    def _find(self, order_id: int) -> TrackedOrder | None:
        return self.open.get(order_id) or self.closed.get(order_id)

    def _move(self, order: TrackedOrder, event: OrderEvent, now_ns: int) -> bool:
        """Follow the table; what it does not allow leaves the order as it is and is an anomaly."""
        after = ORDER_TRANSITIONS[order.state].get(event)
        if after is None:
            self._illegal(order, f"is {order.state.value} and cannot take the event {event.value}")
            return False
        if after is not order.state:
            if order.state in (_S.UNKNOWN, _S.CLOSING):
                self.resolved[self._venues[order.market]] = None
            order.state = after
            if after in CLOSED_STATES:
                order.closed_ns = now_ns
                order.due_ns = NEVER_NS
                order.request, order.wish = "", False
                del self.open[order.order_id]
                del self.by_market[order.market][order.order_id]
                self.closed[order.order_id] = order
                self._closed_queue.append(order)
        return True

    def _tell(self, order: TrackedOrder, kind: int, size: int, why: int = d.WHY_NONE) -> None:
        o = order
        self._out.reports.append(Report(kind, o.order_id, o.market, size, o.price, o.side, o.sell, why=why))

    def _illegal(self, order: TrackedOrder, what: str) -> None:
        self._alarm("illegal_transition", order, what)

    def _alarm(self, code: str, order: TrackedOrder, what: str) -> None:
        venue = self._venues.get(order.market, "")
        self._out.alarm(code, order.market, venue, f"order {order.order_id} {what}")

    # --- snapshot -------------------------------------------------------------------------------

    def save(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Open and closed orders as rows, by id."""
        opened, closed = ([found[k].save() for k in sorted(found)] for found in (self.open, self.closed))
        return opened, closed

    def load(self, opened: list[list[Any]], closed: list[list[Any]], covered_ns: Mapping[Venue, int]) -> None:
        """Take over what `save` described."""
        self.covered_ns = dict(covered_ns)
        for order in map(TrackedOrder.load, opened):
            self.open[order.order_id] = order
            self.by_market.setdefault(order.market, {})[order.order_id] = order
            if order.due_ns < NEVER_NS:
                self._agenda.add(order, self.open)
        ended = sorted(map(TrackedOrder.load, closed), key=lambda o: (o.closed_ns, o.order_id))
        self.closed = {order.order_id: order for order in ended}
        self._closed_queue = deque(ended)
