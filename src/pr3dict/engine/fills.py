"""The ledger of one market: its fills by trade id, merges and settlement, and the position that they make.

A position depends on what happened, never on the order in which we heard of it. With signed sizes b, a of
YES and NO bought less sold, m pairs merged and s pairs split (below), contracts are `yes = b - m + s` and
`no = a - m + s`, and cash is the cash in YES terms less one dollar for each NO contract held: the sum of what
`kernels/position.apply_fill` and `merge_pairs` do fill by fill. A sale of what is not held splits a dollar
into a pair and sells half of it, so s is the deepest shortfall so far, in the order of the exchange's times.

Bound: fills are kept until `OrderTerms.settled_keep_ns` after settlement, then only their sums.
"""

from __future__ import annotations

import msgspec

from pr3dict.domain.events import Filled
from pr3dict.domain.inventory import position_value_micros
from pr3dict.domain.market import Venue
from pr3dict.domain.units import BID, PRICE_SCALE

_FIRST = (-1, 0, "")
_AFTER_FILLS = 1 << 30  # of the same instant: what was merged had to be bought first

Key = tuple[int, int, str]


class Position(msgspec.Struct, frozen=True):
    """Contracts held in a market and cash paid less received there (fees apart), as in a MARKET row."""

    yes_contracts: int
    no_contracts: int
    cost_micros: int
    provisional: tuple[Filled, ...] = ()  # booked above, but the venue may still void them

    @property
    def net_contracts(self) -> int:
        """YES less NO, micro-contracts."""
        return self.yes_contracts - self.no_contracts


def fill_key(fill: Filled) -> Key:
    """Order of a fill at the exchange: time, then trade id with its digits read as a number."""
    return (fill.exch_ns, len(fill.trade_id), fill.trade_id)


def is_same_fill(known: Filled, again: Filled) -> bool:
    """Whether two notices of one trade id agree about everything that moves money."""
    return (
        known.size == again.size
        and known.price == again.price
        and known.side == again.side
        and known.sell == again.sell
        and known.order_id == again.order_id
        and known.fee_micros == again.fee_micros
        and known.rebate_micros == again.rebate_micros
    )


class MarketLedger:
    """Everything that moved contracts or cash in one market; mutable, owned by the account."""

    __slots__ = (
        "changed_ns",
        "fees_micros",
        "fills",
        "finals",
        "forgotten",
        "last_key",
        "market",
        "merged",
        "merges",
        "nets",
        "no_raw",
        "provisional",
        "refund",
        "settled_ns",
        "shrinks",
        "split",
        "value_micros",
        "venue",
        "voids",
        "yes_cash",
        "yes_raw",
    )

    def __init__(self, market: int, venue: Venue, *, nets: bool) -> None:
        self.market = market
        self.venue: Venue = venue
        self.nets = nets
        self.fills: dict[str, Filled] = {}  # booked
        self.provisional: dict[str, Filled] = {}  # of these, what may still be voided
        self.voids: dict[str, int] = {}  # voided trade ids, to the size that is known of them (0: none yet)
        self.finals: dict[str, None] = {}  # finality that came before its fill
        self.merges: list[tuple[int, str, int]] = []  # exchange time, the venue's id, pairs
        self.settled_ns = 0  # 0: open
        self.value_micros = 0
        self.refund = False
        self.forgotten = False
        self.changed_ns = 0  # when we last booked something
        self._reset()

    def _reset(self) -> None:
        self.yes_raw = 0
        self.no_raw = 0
        self.merged = 0
        self.split = 0
        self.yes_cash = 0  # in YES terms: a bid pays, an ask receives
        self.fees_micros = 0  # less rebates
        self.shrinks = False  # a sale or a merge happened: the order of events matters
        self.last_key: Key = _FIRST

    # --- evidence -----------------------------------------------------------------------------

    def book(self, fill: Filled) -> bool:
        """Add a fill that is new; True when the position is not what the fill alone would have made of it."""
        if self.finals and self.finals.pop(fill.trade_id, self) is None and not fill.final:
            fill = msgspec.structs.replace(fill, final=True)
        self.fills[fill.trade_id] = fill
        if not fill.final:
            self.provisional[fill.trade_id] = fill
        if self.nets:
            self._add(fill)
            return False
        key = fill_key(fill)
        late = key < self.last_key and (self.shrinks or fill.sell)
        if late:
            before = self.split
            self.recompute()
            return self.split != before or fill.sell
        self._add(fill)
        self.last_key = max(key, self.last_key)
        return False

    def _add(self, fill: Filled) -> None:
        size = fill.size
        notional = fill.price * size
        self.fees_micros += fill.fee_micros - fill.rebate_micros
        if fill.side == BID:
            self.yes_cash += -notional // PRICE_SCALE  # paid, rounded up
            if fill.sell:
                self.no_raw -= size
            else:
                self.yes_raw += size
        else:
            self.yes_cash += notional // PRICE_SCALE
            if fill.sell:
                self.yes_raw -= size
            else:
                self.no_raw += size
        if fill.sell and not self.nets:
            self._cover()

    def _cover(self) -> None:
        """Split as many pairs as the deepest shortfall needs."""
        self.shrinks = True
        self.split = max(self.split, self.merged - self.yes_raw, self.merged - self.no_raw)

    def merge(self, exch_ns: int, merge_id: str, pairs: int) -> bool:
        """Pairs became cash; False when this merge is known already.

        One without an id was concluded from positions read later than the merge itself: the notice with the
        id, when it comes, takes its place.
        """
        if merge_id and any(merge_id == known for _, known, _ in self.merges):
            return False
        left = pairs if merge_id else 0
        for i, (at_ns, known, booked) in enumerate(self.merges):
            if not known and at_ns >= exch_ns and booked > 0:
                explained = min(booked, left)
                self.merges[i] = (at_ns, known, booked - explained)
                left -= explained
        self.merges = [merge for merge in self.merges if merge[2] != 0]
        self.merges.append((exch_ns, merge_id, pairs))
        self.recompute()
        return True

    def void(self, trade_id: str) -> Filled | None:
        """Take a fill back; returns it when it was booked. Everything is added up again from the log."""
        fill = self.fills.pop(trade_id, None)
        self.provisional.pop(trade_id, None)
        self.voids[trade_id] = fill.size if fill else 0
        if fill is not None:
            self.recompute()
        return fill

    def confirm(self, trade_id: str) -> None:
        """A fill is final: nothing can take it back any more, even if it is still to come."""
        fill = self.fills.get(trade_id)
        if fill is None:
            self.finals[trade_id] = None
        elif self.provisional.pop(trade_id, None) is not None:
            self.fills[trade_id] = msgspec.structs.replace(fill, final=True)

    def is_final(self, trade_id: str) -> bool:
        """Whether the venue has said that this fill stands."""
        return trade_id in self.finals or (trade_id in self.fills and trade_id not in self.provisional)

    def recompute(self) -> None:
        """Add everything up again in the order of the exchange."""
        self._reset()
        merges = sorted(self.merges)
        m = 0
        for fill in sorted(self.fills.values(), key=fill_key):
            while m < len(merges) and merges[m][0] < fill.exch_ns:
                self._add_merge(*merges[m])
                m += 1
            self._add(fill)
            self.last_key = fill_key(fill)
        for merge in merges[m:]:
            self._add_merge(*merge)

    def _add_merge(self, exch_ns: int, _merge_id: str, pairs: int) -> None:
        if self.nets:
            return  # pairs became cash on the fill
        self.merged += pairs
        self.last_key = (exch_ns, _AFTER_FILLS, "")
        self._cover()

    def settle(self, now_ns: int, value_micros: int, *, refund: bool) -> bool:
        """Pay out; True when this amends an earlier payout."""
        if self.settled_ns and (self.value_micros, self.refund) == (value_micros, refund):
            return False
        amends = self.settled_ns != 0
        self.settled_ns = self.settled_ns or now_ns
        self.value_micros = value_micros
        self.refund = refund
        return amends

    def forget(self) -> None:
        """Drop the fills of a market that settled long ago; their sums stay."""
        self.fills.clear()
        self.provisional.clear()
        self.voids.clear()
        self.finals.clear()
        self.merges.clear()
        self.forgotten = True

    # --- what it adds up to ---------------------------------------------------------------------

    def contracts(self) -> tuple[int, int]:
        """YES and NO held before settlement."""
        if self.nets:
            net = self.yes_raw - self.no_raw
            return (net, 0) if net > 0 else (0, -net)
        free = self.split - self.merged
        return self.yes_raw + free, self.no_raw + free

    def trading_cash_micros(self) -> int:
        """Cash that moved in this market, settlement included, fees apart."""
        yes, no = self.contracts()
        cash = self.yes_cash - no
        if not self.settled_ns:
            return cash
        return 0 if self.refund else cash + position_value_micros(yes, no, self.value_micros)

    def cash_micros(self) -> int:
        """All cash that moved in this market."""
        return self.trading_cash_micros() - self.fees_micros

    def position(self) -> Position:
        """What is held now."""
        yes, no = (0, 0) if self.settled_ns else self.contracts()
        return Position(
            yes, no, -self.trading_cash_micros(), tuple(sorted(self.provisional.values(), key=fill_key))
        )

    def confirmed_contracts(self) -> tuple[int, int]:
        """YES and NO held if every provisional fill were voided."""
        if self.settled_ns or not self.provisional:
            return (0, 0) if self.settled_ns else self.contracts()
        firm = MarketLedger(self.market, self.venue, nets=self.nets)
        firm.fills = {k: fill for k, fill in self.fills.items() if k not in self.provisional}
        firm.merges = self.merges
        firm.recompute()
        return firm.contracts()

    # --- snapshot -----------------------------------------------------------------------------

    def save(self) -> LedgerState:
        """Everything, in an order that does not depend on how it arrived."""
        return LedgerState(
            market=self.market,
            venue=self.venue,
            nets=self.nets,
            fills=tuple(sorted(self.fills.values(), key=fill_key)),
            provisional=tuple(sorted(self.provisional)),
            voids=tuple(sorted(self.voids.items())),
            finals=tuple(sorted(self.finals)),
            merges=tuple(sorted(self.merges)),
            settled_ns=self.settled_ns,
            value_micros=self.value_micros,
            refund=self.refund,
            forgotten=self.forgotten,
            changed_ns=self.changed_ns,
            sums=(self.yes_raw, self.no_raw, self.merged, self.split, self.yes_cash, self.fees_micros),
        )

    @classmethod
    def load(cls, state: LedgerState) -> MarketLedger:
        """The ledger that `save` described."""
        ledger = cls(state.market, state.venue, nets=state.nets)
        ledger.fills = {fill.trade_id: fill for fill in state.fills}
        ledger.provisional = {k: ledger.fills[k] for k in state.provisional}
        ledger.voids = dict(state.voids)
        ledger.finals = dict.fromkeys(state.finals)
        ledger.merges = list(state.merges)
        ledger.settled_ns = state.settled_ns
        ledger.value_micros = state.value_micros
        ledger.refund = state.refund
        ledger.changed_ns = state.changed_ns
        if state.forgotten:
            ledger.forgotten = True
            ledger.yes_raw, ledger.no_raw, ledger.merged, ledger.split = state.sums[:4]
            ledger.yes_cash, ledger.fees_micros = state.sums[4:]
        else:
            ledger.recompute()
        return ledger


class LedgerState(msgspec.Struct, frozen=True, array_like=True):
    """A `MarketLedger` at rest."""

    market: int
    venue: Venue
    nets: bool
    fills: tuple[Filled, ...]
    provisional: tuple[str, ...]
    voids: tuple[tuple[str, int], ...]
    finals: tuple[str, ...]
    merges: tuple[tuple[int, str, int], ...]
    settled_ns: int
    value_micros: int
    refund: bool
    forgotten: bool
    changed_ns: int
    sums: tuple[int, int, int, int, int, int]
