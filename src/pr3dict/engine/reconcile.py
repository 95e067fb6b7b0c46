"""The venue's word against ours: what a read contradicts, and when to read again.

A read speaks as of a time of its own, so it can't contradict what is younger (its clock and ours may be
`skew_ns` apart). What differs without such an excuse counts when two reads in a row say the same. Nothing
is adopted from a list: orders and fills follow from evidence about each, and a difference that stays is an
anomaly. Two of them explain themselves and are booked as well: cash that differs while fills and positions
agree was moved by somebody, and equal YES and NO too many or too few were split or merged by somebody.
Orders that a person placed are counted, not fought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from pr3dict.domain.commands import Action, ReadBalance, ReadFills, ReadOrders, ReadPositions
from pr3dict.domain.events import (
    BalanceRead,
    FillsRead,
    OrdersRead,
    PositionsRead,
    Read,
    VenueOrder,
    VenuePosition,
)
from pr3dict.domain.market import Venue
from pr3dict.engine.fills import MarketLedger
from pr3dict.engine.tracked import IN_DOUBT, NEVER_NS, OrderTerms, TrackedOrder

READS: Final[tuple[Read, ...]] = ("orders", "fills", "positions", "balance")
_UNSEEN = -1


# --- comparisons ----------------------------------------------------------------------------------


class OrderDifferences(NamedTuple):
    """What a list of open orders says that we did not know."""

    absent: tuple[TrackedOrder, ...]  # ours, open as far as we know, not listed
    strays: tuple[VenueOrder, ...]  # an id of ours that is closed here or forgotten
    foreign: tuple[VenueOrder, ...]  # not placed by this data directory


def compare_orders(
    read: OrdersRead,
    opened: Iterable[TrackedOrder],
    closed: Mapping[int, TrackedOrder],
    terms: OrderTerms,
) -> OrderDifferences:
    """Compare a list with the venue's orders among ours; `opened` are those of this venue only."""
    ours = {order.order_id: order for order in opened}
    listed = {row.order_id for row in read.orders}
    absent = tuple(order for order_id, order in ours.items() if order_id not in listed)
    strays, foreign = [], []
    for row in read.orders:
        if row.order_id <= 0:
            foreign.append(row)
        elif row.order_id not in ours:
            ended = closed.get(row.order_id)
            if ended is None or read.as_of_ns > ended.closed_ns + terms.skew_ns:
                strays.append(row)
    return OrderDifferences(absent, tuple(strays), tuple(foreign))


def differing_positions(
    read: PositionsRead,
    ledgers: Iterable[MarketLedger],
    terms: OrderTerms,
    under_way: Mapping[int, int] = MappingProxyType({}),
) -> tuple[dict[int, tuple[int, int]], bool]:
    """Markets whose (YES, NO) the venue states differently, and whether any is too young to say.

    A market that is not named is flat. Provisional fills may or may not be in the venue's figure, nor the
    pairs that an operation `under_way` takes away (by market; negative: adds).
    """
    stated: dict[int, VenuePosition] = {row.market: row for row in read.positions}
    differing: dict[int, tuple[int, int]] = {}
    unsure = False
    for ledger in ledgers:
        row = stated.pop(ledger.market, None)
        said = (row.yes_contracts, row.no_contracts) if row else (0, 0)
        held = ledger.position()
        ours = ((held.yes_contracts, held.no_contracts), ledger.confirmed_contracts())
        pairs = under_way.get(ledger.market, 0)
        if said in ours or (pairs and (said[0] + pairs, said[1] + pairs) in ours):
            continue
        if ledger.changed_ns >= read.as_of_ns - terms.skew_ns:
            unsure = True
        else:
            differing[ledger.market] = said
    for market, row in stated.items():
        if row.yes_contracts or row.no_contracts:
            differing[market] = (row.yes_contracts, row.no_contracts)
    return differing, unsure


def cash_difference_micros(
    read: BalanceRead, expected_micros: int, changed_ns: int, terms: OrderTerms
) -> tuple[int, bool]:
    """The venue's cash less ours, 0 where they agree, and whether ours changed too lately to say."""
    difference = read.cash_micros - expected_micros
    if abs(difference) <= terms.cash_tolerance_micros:
        return 0, False
    if changed_ns >= read.as_of_ns - terms.skew_ns:
        return 0, True
    return difference, False


def unlisted_fills(
    read: FillsRead, booked: Mapping[tuple[int, str], int], terms: OrderTerms
) -> list[tuple[int, str]]:
    """Booked fills, as (market, trade id) to exchange time, that the venue should have listed and did not."""
    listed = {(fill.market, fill.trade_id) for fill in read.fills}
    first_ns, last_ns = read.since_ns + terms.skew_ns, read.as_of_ns - terms.skew_ns
    return [key for key, exch_ns in booked.items() if first_ns < exch_ns < last_ns and key not in listed]


# --- when to read -----------------------------------------------------------------------------------


class VenueReads:
    """What one venue was asked and confirmed since it was connected; mutable, owned by the account."""

    __slots__ = (
        "agreed_ns",
        "alarmed",
        "base_micros",
        "cash_micros",
        "changed_ns",
        "connect_ns",
        "covered_ns",
        "doubts",
        "next_read_ns",
        "pairs",
        "ready",
        "recent",
        "tries",
        "unexplained_micros",
        "venue",
    )

    def __init__(self, venue: Venue, now_ns: int, *, compares: bool) -> None:
        self.venue: Venue = venue
        self.connect_ns = now_ns
        self.covered_ns = now_ns  # all fills up to here are booked; none of ours can be older
        self.next_read_ns: dict[Read, int] = {kind: now_ns if compares else NEVER_NS for kind in READS}
        self.tries: dict[Read, int] = dict.fromkeys(READS, 0)
        self.agreed_ns: dict[Read, int] = dict.fromkeys(READS, _UNSEEN)
        self.doubts: dict[str, tuple[str, int]] = {}  # what differed last: how, and as of when first
        self.alarmed: dict[str, str] = {}  # of these, what was reported
        self.recent: dict[tuple[int, str], int] = {}  # fills that the next read should list, to their times
        self.base_micros: int | None = None  # cash of the venue less what moved it since; None: not known yet
        self.cash_micros = 0  # what moved it
        self.changed_ns = 0
        self.unexplained_micros = 0  # cash beyond what we booked, by two reads; to be booked once fills agree
        self.pairs: dict[int, int] = {}  # by two reads, so many pairs of a market became cash unsaid
        self.ready = not compares

    def connected(self, now_ns: int, terms: OrderTerms) -> None:
        """Everything is to be confirmed again."""
        self.connect_ns = now_ns
        if terms.reconcile_interval_ns:
            self.ready = False
            for kind in READS:
                self.soon(kind, now_ns)

    def again(self, now_ns: int, terms: OrderTerms) -> None:
        """Another market came: every read is due once more, though what the venue confirmed still stands."""
        if terms.reconcile_interval_ns and self.is_connected:
            self.connect_ns = now_ns
            for kind in READS:
                self.soon(kind, now_ns)

    def agrees(self) -> bool:
        """Whether all four reads agreed since the connection, or since a market came after it."""
        return all(agreed_ns >= self.connect_ns for agreed_ns in self.agreed_ns.values())

    def disconnected(self, terms: OrderTerms) -> None:
        """Nothing is followed any more."""
        self.connect_ns = NEVER_NS
        self.ready = not terms.reconcile_interval_ns

    @property
    def is_connected(self) -> bool:
        """Whether the venue's streams are followed."""
        return self.connect_ns != NEVER_NS

    def soon(self, kind: Read, now_ns: int) -> None:
        """Ask now."""
        self.next_read_ns[kind] = min(self.next_read_ns[kind], now_ns)
        self.tries[kind] = 0

    def asked(self, kind: Read, now_ns: int, terms: OrderTerms) -> None:
        """A read left; without an answer it is repeated, ever more slowly."""
        wait_ns = terms.answer_timeout_ns + terms.backoff_ns(self.tries[kind])
        self.next_read_ns[kind] = now_ns + wait_ns if terms.reconcile_interval_ns else NEVER_NS
        self.tries[kind] += 1

    def failed(self, kind: Read, now_ns: int, terms: OrderTerms) -> None:
        """A read got no usable answer."""
        self.next_read_ns[kind] = now_ns + terms.backoff_ns(self.tries[kind])

    def heard(self, kind: Read, now_ns: int, as_of_ns: int, terms: OrderTerms, *, agrees: bool) -> None:
        """A read was compared: once it agrees it is due an interval later, else soon."""
        if agrees and as_of_ns >= self.connect_ns:
            self.agreed_ns[kind] = as_of_ns
            self.tries[kind] = 0
            interval_ns = terms.reconcile_interval_ns
            self.next_read_ns[kind] = now_ns + interval_ns if interval_ns else NEVER_NS
        elif terms.reconcile_interval_ns:
            # A doubt is worth a second look well within the interval, however often the first one was unsure.
            longest_ns = terms.reconcile_interval_ns // 3
            self.next_read_ns[kind] = now_ns + min(terms.backoff_ns(self.tries[kind]), longest_ns)
        else:
            self.next_read_ns[kind] = NEVER_NS

    def money_moved_ns(self, payable_micros: int, terms: OrderTerms) -> int:
        """From when on cash that differs for good counts as moved by somebody; NEVER_NS: not by now.

        Fills and positions must agree, read after the difference began: a payout that nobody told us of moves
        cash and position alike. An amended payout moves cash alone; where settled contracts could explain the
        difference (`payable_micros` at most), adapters first get the time to look at their markets again.
        """
        if self.unexplained_micros == 0:
            return NEVER_NS
        first_ns = self.doubts["cash"][1]
        since_ns = max(self.connect_ns, first_ns)
        if any(self.agreed_ns[kind] < since_ns for kind in ("fills", "positions")):
            return NEVER_NS
        if abs(self.unexplained_micros) > payable_micros:
            return first_ns
        return first_ns + 2 * terms.reconcile_interval_ns + terms.answer_timeout_ns

    def is_confirmed(self, opened: Iterable[TrackedOrder]) -> bool:
        """All four reads agreed since the connection, and no order of before it is still in doubt."""
        if not self.agrees():
            return False
        return not any(order.sent_ns < self.connect_ns and order.state in IN_DOUBT for order in opened)

    def wants(self, now_ns: int, terms: OrderTerms, *, fills: bool) -> list[Action]:
        """The reads that are due; `fills`: an order needs its fills now."""
        due = [kind for kind in READS if self.next_read_ns[kind] <= now_ns or (fills and kind == "fills")]
        makers: dict[Read, Action] = {
            "orders": ReadOrders(venue=self.venue),
            "fills": ReadFills(venue=self.venue, since_ns=self.since_ns(terms)),
            "positions": ReadPositions(venue=self.venue),
            "balance": ReadBalance(venue=self.venue),
        }
        return [makers[kind] for kind in due]

    def since_ns(self, terms: OrderTerms) -> int:
        """From when on fills are to be read: with an overlap, and what is in doubt once more."""
        doubtful = [exch_ns for k, exch_ns in self.recent.items() if fill_name(*k) in self.doubts]
        return max(0, min([self.covered_ns, *doubtful]) - terms.overlap_ns)

    def covers(self, read: FillsRead, terms: OrderTerms) -> None:
        """All fills of the read are booked: remember how far we know them."""
        if read.since_ns <= self.covered_ns:
            self.covered_ns = max(self.covered_ns, read.as_of_ns)
        keep_ns = self.covered_ns - terms.overlap_ns
        self.recent = {
            k: ns for k, ns in self.recent.items() if ns >= keep_ns or fill_name(*k) in self.doubts
        }

    def repeated(
        self, group: str, differences: Mapping[str, str], as_of_ns: int, known_ns: int = NEVER_NS
    ) -> tuple[list[str], bool]:
        """Names of a group that differ for the second time in the same way, and whether any still does.

        `differences` is everything of the group that differs in the newest read: name to how. A difference
        counts only once what could explain it is known up to `known_ns`, later than the read that first
        showed it. Each is named once an episode.
        """
        doubts = {}
        certain = []
        for name, how in differences.items():
            before = self.doubts.get(name)
            if before is None or before[0] != how:
                doubts[name] = (how, as_of_ns)
                continue
            doubts[name] = before
            if before[1] < known_ns:
                certain.append(name)
        fresh = [name for name in certain if self.alarmed.get(name) != differences[name]]
        for name in [name for name in self.doubts if name.startswith(group)]:
            del self.doubts[name]
        for name in [n for n in self.alarmed if n.startswith(group) and n not in differences]:
            del self.alarmed[name]
        self.doubts.update(doubts)
        self.alarmed.update({name: differences[name] for name in fresh})
        return fresh, bool(certain)

    # --- snapshot -----------------------------------------------------------------------------

    def save(self) -> ReadsState:
        """Everything, in an order that does not depend on how it arrived."""
        return ReadsState(
            venue=self.venue,
            connect_ns=self.connect_ns,
            covered_ns=self.covered_ns,
            next_read_ns=tuple(self.next_read_ns[kind] for kind in READS),
            tries=tuple(self.tries[kind] for kind in READS),
            agreed_ns=tuple(self.agreed_ns[kind] for kind in READS),
            doubts=tuple(sorted(self.doubts.items())),
            alarmed=tuple(sorted(self.alarmed.items())),
            recent=tuple((*k, self.recent[k]) for k in sorted(self.recent)),
            base_micros=self.base_micros,
            cash_micros=self.cash_micros,
            changed_ns=self.changed_ns,
            unexplained_micros=self.unexplained_micros,
            pairs=tuple(sorted(self.pairs.items())),
            ready=self.ready,
        )

    @classmethod
    def load(cls, state: ReadsState) -> VenueReads:
        """What `save` described."""
        reads = cls(state.venue, state.connect_ns, compares=not state.ready)
        reads.covered_ns = state.covered_ns
        reads.next_read_ns = dict(zip(READS, state.next_read_ns, strict=True))
        reads.tries = dict(zip(READS, state.tries, strict=True))
        reads.agreed_ns = dict(zip(READS, state.agreed_ns, strict=True))
        reads.doubts = dict(state.doubts)
        reads.alarmed = dict(state.alarmed)
        reads.recent = {(market, trade_id): exch_ns for market, trade_id, exch_ns in state.recent}
        reads.base_micros = state.base_micros
        reads.cash_micros = state.cash_micros
        reads.changed_ns = state.changed_ns
        reads.unexplained_micros = state.unexplained_micros
        reads.pairs = dict(state.pairs)
        return reads


def fill_name(market: int, trade_id: str) -> str:
    """Name of a fill among the doubts."""
    return f"fill {market} {trade_id}"


class ReadsState(msgspec.Struct, frozen=True, array_like=True):
    """A `VenueReads` at rest."""

    venue: Venue
    connect_ns: int
    covered_ns: int
    next_read_ns: tuple[int, ...]
    tries: tuple[int, ...]
    agreed_ns: tuple[int, ...]
    doubts: tuple[tuple[str, tuple[str, int]], ...]
    alarmed: tuple[tuple[str, str], ...]
    recent: tuple[tuple[int, str, int], ...]
    base_micros: int | None
    cash_micros: int
    changed_ns: int
    unexplained_micros: int
    pairs: tuple[tuple[int, int], ...]
    ready: bool
