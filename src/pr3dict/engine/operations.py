"""Pairs merged back to cash and payouts redeemed: which operation is under way, and when one is wanted.

A wallet does one at a time. An operation is prepared by the venue's adapter, which gives it a name; the
`Operate` with that name is journaled before it leaves, so a process that ends in the middle leaves a name
behind, and the next one asks what became of it before it begins another. Until then either reading of
positions and cash, with the operation and without, agrees with ours.

To convert NO of several outcomes of one event is proposed to the operator and never done from here: who holds
what afterwards depends on outcomes that a venue may add later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import WorkError
from pr3dict.domain.inventory import position_value_micros
from pr3dict.domain.market import Venue
from pr3dict.domain.units import (
    ASK,
    MICROS_PER_PRICE_UNIT,
    MONEY_SCALE,
    NS_PER_SECOND,
    PRICE_SCALE,
    ceil_div,
    format_contracts,
    format_dollars,
)
from pr3dict.engine import holds as h
from pr3dict.engine.holds import EVERYWHERE
from pr3dict.engine.tracked import NEVER_NS

if TYPE_CHECKING:
    from pr3dict.engine.account import Account
    from pr3dict.engine.engine import Engine
    from pr3dict.engine.fills import MarketLedger

LOOK_NS: Final = 15 * NS_PER_SECOND
PREPARE_NS: Final = 60 * NS_PER_SECOND  # an adapter that has not answered by then is asked again
PAUSE_NS: Final = 30 * NS_PER_SECOND  # after a failure; doubles
MOST_PAUSE_NS: Final = 3_600 * NS_PER_SECOND


class UnderWay(msgspec.Struct, frozen=True, array_like=True):
    """An operation that may have been handed in and has not ended; micro-contracts."""

    venue: Venue
    market: int
    operation: e.Operation
    size: int
    name: str
    venue_id: str = ""

    @property
    def pairs(self) -> int:
        """How many pairs fewer there are once it has happened (negative: more)."""
        return {"merge": self.size, "split": -self.size, "redeem": 0}[self.operation]


class OperationsState(msgspec.Struct, frozen=True, array_like=True):
    """`Operations` at rest."""

    under_way: tuple[UnderWay, ...] = ()
    redeemed: tuple[int, ...] = ()
    kept: tuple[tuple[int, int], ...] = ()


class Operations:
    """What is under way, as a fold over events and commands; part of the account."""

    def __init__(self, state: OperationsState | None = None) -> None:
        state = state or OperationsState()
        self.kept: dict[int, int] = dict(state.kept)  # markets to pairs that a person wants held there
        self.redeemed: dict[int, None] = dict.fromkeys(state.redeemed)  # markets whose payout was fetched
        self._under_way: dict[Venue, UnderWay] = {one.venue: one for one in state.under_way}

    def sent(self, venue: Venue, command: c.Operate) -> None:
        """An operation is journaled and may leave; raises `WorkError` where another one has not ended."""
        before = self._under_way.get(venue)
        if before is not None:
            raise WorkError(f"operation {command.name} began before {before.name} had ended")
        self._under_way[venue] = UnderWay(
            venue, command.market, command.operation, command.size, command.name
        )

    def taken(self, event: e.OperationTaken) -> None:
        """The venue has its own name for it."""
        for venue, one in self._under_way.items():
            if one.name == event.name:
                self._under_way[venue] = msgspec.structs.replace(one, venue_id=event.venue_id)

    def ended(self, event: e.OperationEnded) -> None:
        """It is over; without a name none had begun."""
        self._under_way = {v: one for v, one in self._under_way.items() if one.name != event.name}
        if event.done and event.operation == "redeem":
            self.redeemed[event.market] = None

    def keep(self, event: e.KeepPairs, ledger: MarketLedger | None) -> None:
        """A person wants so many pairs held in a market (0: none); nothing is kept where there are none."""
        if ledger is None or ledger.nets or event.pairs < 0:
            return
        self.kept.pop(event.market, None)
        if event.pairs > 0:
            self.kept[event.market] = event.pairs

    def of(self, venue: Venue) -> UnderWay | None:
        """What is under way at a venue."""
        return self._under_way.get(venue)

    def pairs(self) -> dict[int, int]:
        """By market, how many pairs may be gone already."""
        return {one.market: one.pairs for one in self._under_way.values() if one.pairs}

    def cash_micros(self, venue: Venue) -> int:
        """How much cash may have come already (negative: gone)."""
        one = self._under_way.get(venue)
        return 0 if one is None else one.pairs

    def save(self) -> OperationsState | None:
        """Everything, in an order that does not depend on how it came; None: there never was one."""
        if not (self._under_way or self.redeemed or self.kept):
            return None
        under_way = tuple(self._under_way[venue] for venue in sorted(self._under_way))
        return OperationsState(under_way, tuple(sorted(self.redeemed)), tuple(sorted(self.kept.items())))


class Upkeep:
    """When an operation is wanted; nothing of it outlives the process.

    What an adapter offered to an earlier one counts no more.
    """

    def __init__(self) -> None:
        self.next_due_ns = NEVER_NS
        self._from: dict[Venue, int] = {}  # what is worth an operation, where an adapter carries them out
        self._asked_ns: dict[Venue, int] = {}  # when one was to be prepared
        self._failures: dict[tuple[int, e.Operation], tuple[int, int]] = {}  # how many, until when
        self._proposed: dict[int, None] = {}

    def state(self) -> object:
        """All that a later step may read; None: no adapter carries anything out."""
        if not self._from:
            return None
        parts = (self._from, self._asked_ns, self._failures, self._proposed)
        return (self.next_due_ns, *(tuple(part.items()) for part in parts))

    def up(self, engine: Engine, event: e.OperationsUp) -> None:
        """An adapter carries operations out: what an earlier process left comes first."""
        self._from[event.venue] = event.merge_from
        self.next_due_ns = engine.now_ns + LOOK_NS
        left = engine.account.operations.of(event.venue)
        if left is not None:
            engine.emit(
                c.FollowOperation(
                    market=left.market, operation=left.operation, size=left.size, name=left.name,
                    venue_id=left.venue_id,
                )
            )  # fmt: skip

    def prepared(self, engine: Engine, event: e.OperationPrepared) -> None:
        """It has a name and could leave: it does, where it still may."""
        venue = engine.listings[event.market].venue
        asked = self._asked_ns.pop(venue, None)
        if asked is None or engine.account.operations.of(venue) is not None or not self._may(engine, venue):
            return
        engine.emit(
            c.Operate(market=event.market, operation=event.operation, size=event.size, name=event.name)
        )

    def ended(self, engine: Engine, event: e.OperationEnded) -> None:
        """One is over, or could not begin: another try waits, ever longer."""
        key = (event.market, event.operation)
        self._asked_ns.pop(engine.listings[event.market].venue, None)
        if event.done:
            self._failures.pop(key, None)
            return
        tries = self._failures.get(key, (0, 0))[0] + 1
        pause_ns = min(PAUSE_NS << min(tries - 1, 20), MOST_PAUSE_NS)
        self._failures[key] = (tries, engine.now_ns + pause_ns)
        if event.name:
            text = f"a {event.operation} had no effect: {event.why}"
            engine.watch.happened(engine, "operation_failed", event.market, text)

    def look(self, engine: Engine) -> None:
        """Now and then: have the worthiest operation of each venue prepared."""
        if engine.now_ns < self.next_due_ns:
            return
        self.next_due_ns = engine.now_ns + LOOK_NS
        for venue, least in self._from.items():
            self._propose(engine, venue, least)
            asked_ns = self._asked_ns.get(venue)
            waits = asked_ns is not None and engine.now_ns < asked_ns + PREPARE_NS
            if waits or engine.account.operations.of(venue) is not None or not self._may(engine, venue):
                continue
            wanted = self._wanted(engine, venue, least)
            if wanted is not None:
                self._asked_ns[venue] = engine.now_ns
                engine.emit(wanted)

    @staticmethod
    def _may(engine: Engine, venue: Venue) -> bool:
        """Whether anything may be begun by ourselves."""
        stopped = any(engine.holds.has(EVERYWHERE, "", why) for why in (h.STOPPING, h.LOG_FAILED, h.HALTED))
        return not (stopped or engine.holds.has(EVERYWHERE, venue, h.UNRECONCILED))

    def _wanted(self, engine: Engine, venue: Venue, least: int) -> c.PrepareOperation | None:
        """What moves most cash of all that moves `least`: merges first, then payouts, then splits."""
        found: list[tuple[int, int, c.PrepareOperation]] = []
        for listing in engine.listings:
            if listing.venue != venue or listing.nets_positions:
                continue
            m, account = listing.market, engine.account
            kept = account.operations.kept.get(m, 0)
            merge, missing = mergeable(account, m) - kept, kept - pairs_of(account, m)
            choices: tuple[tuple[int, e.Operation, int, int], ...] = (
                (2, "merge", merge, merge),
                (1, "redeem", *redeemable(account, m)),
                (0, "split", missing, missing if missing > 0 and self._may_split(engine, m, missing) else 0),
            )
            for rank, operation, size, moves in choices:
                until_ns = self._failures.get((m, operation), (0, 0))[1]
                if moves >= max(least, 1) and until_ns <= engine.now_ns:
                    command = c.PrepareOperation(market=m, operation=operation, size=size)
                    found.append((rank, moves, command))
        return max(found, key=lambda one: (one[0], one[1], -one[2].market))[2] if found else None

    @staticmethod
    def _may_split(engine: Engine, market: int, pairs: int) -> bool:
        """Whether cash is free for it, and buying both sides is not cheaper."""
        free = engine.account.cash_micros - int(engine.world.account[0].locked_micros)
        if pairs > free - engine.config.min_free_cash_micros:
            return False
        cost_micros = buying_micros(engine.listings[market].taker_ppm, *engine.touch(market))
        return cost_micros < 0 or cost_micros >= MONEY_SCALE

    def keep(self, engine: Engine, event: e.KeepPairs) -> tuple[bool, str]:
        """Whether what a person wants is kept (as `Operations.keep`), and what the answer says."""
        listing = engine.listings[event.market]
        if listing.nets_positions:
            return False, f"{listing.ticker} has no pairs: its venue nets YES and NO"
        if event.pairs < 0:
            return False, "fewer than no pairs can't be held; give 0 or more"
        text = f"{format_contracts(event.pairs)} pairs of {listing.ticker} are kept, what is beyond is merged"
        if listing.venue not in self._from:
            text += "; nothing there splits or merges yet, so it waits"
        return True, text

    def _propose(self, engine: Engine, venue: Venue, least: int) -> None:
        """Tell of NO held in several outcomes of one event, which a conversion would free cash of.

        NO of k exclusive outcomes turns into k - 1 dollars and YES of all others.
        """
        events: dict[str, list[tuple[int, int]]] = {}
        for listing in engine.listings:
            if listing.venue == venue and listing.exclusive:
                held = engine.account.position(listing.market).no_contracts  # none once it has paid
                if held > 0:
                    events.setdefault(listing.event_id, []).append((held, listing.market))
        proposed: dict[int, None] = {}
        for members in events.values():
            members.sort(reverse=True)
            freed, k = max((k * held, k) for k, (held, _) in enumerate(members))
            if freed >= max(least, 1):
                markets = [market for _, market in members[: k + 1]]
                self._say(engine, sorted(markets), members[k][0], freed)
                proposed[min(markets)] = None
        for market in [m for m in self._proposed if m not in proposed]:
            engine.watch.over(engine, "conversion_possible", market)
        self._proposed = proposed

    @staticmethod
    def _say(engine: Engine, markets: list[int], size: int, freed_micros: int) -> None:
        names = ", ".join(engine.listings[m].ticker for m in markets)
        text = (
            f"{format_contracts(size)} NO of each of {names} could be converted, which frees "
            f"${format_dollars(freed_micros)} and leaves YES of the event's other outcomes; it is never done "
            "by itself: stop, check for outcomes that may still be added, and convert at the venue"
        )
        engine.watch.say(engine, "conversion_possible", markets[0], text)


def pairs_of(account: Account, market: int) -> int:
    """Pairs held in a market that has not paid, fills that may fail included; of one that has, no end."""
    ledger = account.ledgers[market]
    return NEVER_NS if ledger.settled_ns else min(ledger.contracts())


def buying_micros(taker_ppm: int, bid: int, ask: int) -> int:
    """What a pair costs who buys both sides at once, at these prices (1/10,000); -1: one is not for sale.

    YES costs the ask, NO a dollar less the bid, both with the taker's fee of `taker_ppm` p (1 - p).
    """
    if bid < 0 or ask < 0:
        return -1
    prices = (ask, PRICE_SCALE - bid)
    fees = sum(ceil_div(taker_ppm * p * (PRICE_SCALE - p), PRICE_SCALE**2) for p in prices)
    return sum(prices) * MICROS_PER_PRICE_UNIT + fees


def mergeable(account: Account, market: int) -> int:
    """Pairs of a market that are final and that no resting sale offers, micro-contracts."""
    ledger = account.ledgers[market]
    if ledger.nets or ledger.settled_ns:
        return 0
    yes, no = map(min, ledger.confirmed_contracts(), ledger.contracts())
    for order in account.open_orders(market):
        if order.sell and order.side == ASK:
            yes -= order.remaining
        elif order.sell:
            no -= order.remaining
    return max(0, min(yes, no))


def redeemable(account: Account, market: int) -> tuple[int, int]:
    """(contracts held when a market paid, what they paid in micros) that nobody fetched yet.

    Of a market whose fills are forgotten it is nothing.
    """
    ledger = account.ledgers[market]
    if not ledger.settled_ns or ledger.nets or ledger.refund or ledger.forgotten:
        return 0, 0
    if market in account.operations.redeemed:
        return 0, 0
    yes, no = ledger.contracts()
    return yes + no, position_value_micros(yes, no, ledger.value_micros)
