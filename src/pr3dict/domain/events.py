"""What can happen to a trading process besides market data: every control event, as one frozen value each.

The engine is a fold over these (and over market data, which are rows of numbers: kernels/dtypes.EVENT). They
are journaled as they stand, so a field, once written, keeps its meaning. Times are ns UTC, prices 1/10,000
dollar in YES terms, sizes micro-contracts, money micros. `market` is the engine's row of a market: `Listed`
says which market that is, and a row never changes its market. `order_id` is ours: unique for the life of a
data directory, 0 where an order is not ours.

What is known about an order comes in three grades: accepted, refused (proved), lost. Only the venue's word
closes an order, and only once its fills were read (`Closed.filled`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pr3dict.domain.market import PriceGrid, Venue
from pr3dict.domain.rewards import RewardTerms

Request = Literal["place", "cancel", "reduce", "renew"]
Read = Literal["orders", "order", "fills", "positions", "balance", "book"]
Operation = Literal["merge", "split", "redeem"]  # on the tokens of a wallet, by a contract of the venue's


def snake_case(name: str) -> str:
    """The tag of a class: `FillsRead` becomes "fills_read"."""
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Root of all control events; `kind` is the class name in lower case with underscores."""


# --- a process and its markets --------------------------------------------------------------------


class Started(Event, frozen=True, kw_only=True, tag=snake_case):
    """A process began to use this journal: what it runs and on which account."""

    version: str
    account: str  # names the account: "paper", or the venue's id of it
    settings: str  # canonical JSON of every setting
    cash_micros: int  # opening cash; counts only in the first process of a journal
    day_offset_ns: int = 0  # start of the trading day after midnight UTC


class Listed(Event, frozen=True, kw_only=True, tag=snake_case):
    """Row `market` of the engine is this market from now on."""

    market: int
    venue: Venue
    ticker: str
    event_id: str
    exclusive: bool  # at most one market of this event ends YES
    title: str
    grids: tuple[PriceGrid, ...]  # the first holds now, TICK rows name another by index
    min_size: int
    lot: int
    fee_kind: Literal["none", "kalshi", "polymarket"]
    taker_ppm: int = 0
    maker_ppm: int = 0
    rebate_ppm: int = 0  # share of the taker fee that comes back to the maker
    trade_unit_micros: int = 0  # Kalshi: rounding units of the fee (kernels/dtypes.FEE)
    unit_micros: int = 0
    rebate_unit_micros: int = 0
    nets_positions: bool
    reduce_in_place: bool
    book_includes_own: bool = False  # the feed shows our own orders
    close_ns: int = -1  # -1: unknown
    resolution_ns: int = -1  # expected; -1: unknown
    rewards: RewardTerms | None = None  # for resting quotes


class FeesChanged(Event, frozen=True, kw_only=True, tag=snake_case):
    """What takers and makers of a market pay is another rate from now on."""

    market: int
    taker_ppm: int
    maker_ppm: int


class RewardsChanged(Event, frozen=True, kw_only=True, tag=snake_case):
    """What a market pays for resting quotes is something else from now on; None: nothing."""

    market: int
    rewards: RewardTerms | None


class Stopping(Event, frozen=True, kw_only=True, tag=snake_case):
    """The process was asked to end: cancel, confirm, close."""

    why: str


class ClockJumped(Event, frozen=True, kw_only=True, tag=snake_case):
    """The process slept or its clocks moved apart by `gap_ns`: all that is known may be stale.

    `awake_ns` is the engine's time before that, filled in by the engine, so that a replay knows which timers
    still ran at their own time.
    """

    gap_ns: int
    awake_ns: int = 0


class ClockSkewed(Event, frozen=True, kw_only=True, tag=snake_case):
    """Our clock less the venue's, measured by a round trip."""

    venue: Venue
    skew_ns: int


class LoopStalled(Event, frozen=True, kw_only=True, tag=snake_case):
    """The event loop did not run for `gap_ns`."""

    gap_ns: int


class LogStalled(Event, frozen=True, kw_only=True, tag=snake_case):
    """The journal has not confirmed a write for `gap_ns`."""

    gap_ns: int


class LogFailed(Event, frozen=True, kw_only=True, tag=snake_case):
    """The journal refused a write: nothing may be sent but cancels."""

    why: str


class Latched(Event, frozen=True, kw_only=True, tag=snake_case):
    """The kill latch is set on disk: found at the start, or just written."""

    reason: str
    text: str


# --- orders ---------------------------------------------------------------------------------------


class Sent(Event, frozen=True, kw_only=True, tag=snake_case):
    """The bytes of a new order left (or may have left) this machine."""

    order_id: int
    venue_id: str = ""  # where the venue's id is known before sending (an order digest)


class NotSent(Event, frozen=True, kw_only=True, tag=snake_case):
    """A new order surely never left this machine: it is closed without a fill."""

    order_id: int
    why: str


class Accepted(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue took the order. `filled` is what it says has traded already."""

    order_id: int
    venue_id: str
    filled: int = 0


class Refused(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue proves that the order was never accepted. `why` is a word of `kernels.dtypes.WHY_NAMES`."""

    order_id: int
    why: str
    text: str = ""  # the venue's own words


class AnswerLost(Event, frozen=True, kw_only=True, tag=snake_case):
    """Time-out, dropped connection or server error: the request may have been carried out or not."""

    order_id: int
    request: Request
    why: str


class Closed(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue says that the order is out of the book; `filled` is its total traded size, -1: not said."""

    order_id: int
    why: str  # as `Refused.why`; "none": we asked for it, "filled": nothing remained
    filled: int


class Reduced(Event, frozen=True, kw_only=True, tag=snake_case):
    """The order now rests with `remaining`, its place in the queue kept."""

    order_id: int
    remaining: int
    filled: int = -1  # what it had traded by then; -1: not said


class Renewed(Event, frozen=True, kw_only=True, tag=snake_case):
    """The order now expires at `expiry_ns`, its place in the queue kept."""

    order_id: int
    expiry_ns: int


class RequestRefused(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue refused a cancel, reduction or renewal; `why` "unknown_order": it may be gone already."""

    order_id: int
    request: Request
    why: str
    text: str = ""


class Filled(Event, frozen=True, kw_only=True, tag=snake_case):
    """A trade of ours. `order_id` 0: an order that we never placed. Cash follows from price and size."""

    trade_id: str
    order_id: int
    market: int
    side: int  # BID: we bought YES terms
    sell: bool = False  # contracts held were sold (venues that keep YES and NO apart)
    price: int
    size: int
    fee_micros: int = 0
    rebate_micros: int = 0
    maker: bool = True
    exch_ns: int
    final: bool = True  # False: provisional, the venue may still void it
    venue_id: str = ""


class FillFinal(Event, frozen=True, kw_only=True, tag=snake_case):
    """A provisional fill is final now."""

    market: int
    trade_id: str


class FillVoided(Event, frozen=True, kw_only=True, tag=snake_case):
    """A fill never settled: it is taken back. May come before its `Filled`."""

    market: int
    trade_id: str
    why: str


# --- answers to reads: each says when it was asked and as of when the venue's index spoke ------------


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One open order as the venue lists it; `order_id` 0: not ours."""

    order_id: int
    venue_id: str
    market: int
    side: int
    sell: bool = False
    price: int
    remaining: int
    filled: int = 0
    expiry_ns: int = 0


class OrdersRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """All open orders of the account; younger orders than `as_of_ns` may be missing or shown."""

    venue: Venue
    asked_ns: int
    as_of_ns: int
    orders: tuple[VenueOrder, ...]


class OrderRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """One order looked up. `status` "not_found" proves nothing before the order's expiry."""

    order_id: int
    asked_ns: int
    as_of_ns: int
    status: Literal["open", "closed", "not_found"]
    venue_id: str = ""
    remaining: int = 0
    filled: int = 0  # total traded size


class FillsRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """All fills of the account from `since_ns` to `as_of_ns`."""

    venue: Venue
    asked_ns: int
    as_of_ns: int
    since_ns: int
    fills: tuple[Filled, ...]


class VenuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts held in one market, as the venue says."""

    market: int
    yes_contracts: int
    no_contracts: int


class PositionsRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """All positions of the account; a market that is not named is flat."""

    venue: Venue
    asked_ns: int
    as_of_ns: int
    positions: tuple[VenuePosition, ...]


class BalanceRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """Cash of the account, what resting orders lock included."""

    venue: Venue
    asked_ns: int
    as_of_ns: int
    cash_micros: int


class BookRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """The touch of a market by another route than its stream; a price of -1: that side is empty."""

    market: int
    asked_ns: int
    as_of_ns: int
    bid_price: int
    ask_price: int


class QueueAhead(msgspec.Struct, frozen=True, array_like=True):
    """How many micro-contracts stand before one of our resting orders at its price."""

    order_id: int
    ahead: int


class QueueRead(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue's own queue positions of all our resting orders, at some time from `asked_ns` to `as_of_ns`.

    `positions` names the orders whose figure is new; one that was named before and still rests has the figure
    that it had.
    """

    venue: Venue
    asked_ns: int
    as_of_ns: int
    positions: tuple[QueueAhead, ...] = ()


class ReadFailed(Event, frozen=True, kw_only=True, tag=snake_case):
    """A read got no usable answer."""

    venue: Venue
    read: Read
    why: str


# --- market data and venues -----------------------------------------------------------------------


class FeedUp(Event, frozen=True, kw_only=True, tag=snake_case):
    """The streams of a venue are connected; books follow as snapshots."""

    venue: Venue


class FeedDown(Event, frozen=True, kw_only=True, tag=snake_case):
    """The streams of a venue are gone: its books and order states are no longer followed."""

    venue: Venue
    why: str


class FeedAlive(Event, frozen=True, kw_only=True, tag=snake_case):
    """A round trip over a venue's stream: at `venue_ns` it was followed without a gap."""

    venue: Venue
    venue_ns: int


class BookInvalid(Event, frozen=True, kw_only=True, tag=snake_case):
    """The book of a market can't be trusted until its next whole snapshot."""

    market: int
    why: str  # "gap", "crossed", "overflow", "tick", "differs", "negative_size"


class Malformed(Event, frozen=True, kw_only=True, tag=snake_case):
    """The decoder refused `count` messages since the last notice."""

    venue: Venue
    count: int
    why: str


class VenueStatus(Event, frozen=True, kw_only=True, tag=snake_case):
    """The whole exchange: open, paused (cancels only), restarting or closed (nothing)."""

    venue: Venue
    status: Literal["open", "paused", "restarting", "closed"]


class Settled(Event, frozen=True, kw_only=True, tag=snake_case):
    """A market paid out. A later one for the same market amends it."""

    market: int
    value_micros: int  # of one YES contract
    refund: bool = False  # a void that returns each position's cost


class Merged(Event, frozen=True, kw_only=True, tag=snake_case):
    """Pairs of YES and NO became cash, confirmed; a negative number: cash became pairs."""

    market: int
    pairs: int
    exch_ns: int = 0  # 0: when we heard of it
    merge_id: str = ""  # the venue's id, so that a repeated notice counts once


class OperationsUp(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue's adapter carries out operations on the wallet's tokens from now on.

    `merge_from`: what frees at least this much is worth one; micro-contracts of pairs, or micros.
    """

    venue: Venue
    merge_from: int


class OperationPrepared(Event, frozen=True, kw_only=True, tag=snake_case):
    """An operation that could leave now: `name` is its own for ever, under it it can happen once at most.

    `size`: pairs, at most as many as were asked for; of a redemption, contracts of both kinds.
    """

    market: int
    operation: Operation
    size: int
    name: str


class OperationTaken(Event, frozen=True, kw_only=True, tag=snake_case):
    """The venue took an operation and will carry it out; `venue_id` is what it calls it."""

    market: int
    name: str
    venue_id: str


class OperationEnded(Event, frozen=True, kw_only=True, tag=snake_case):
    """An operation is over: confirmed on the chain, surely without effect, or never begun (no name).

    What it did to pairs and cash is said by `Merged`, before.
    """

    market: int
    operation: Operation
    name: str = ""
    done: bool = False
    why: str = ""


class Transferred(Event, frozen=True, kw_only=True, tag=snake_case):
    """Money moved in (or out: negative) that no trade explains."""

    venue: Venue
    amount_micros: int
    why: str
    transfer_id: str = ""  # the venue's id, so that a repeated notice counts once


# --- people ---------------------------------------------------------------------------------------


class Halt(Event, frozen=True, kw_only=True, tag=snake_case):
    """Cancel everything and refuse new orders until a person resumes."""

    command_id: str
    who: str
    reason: str


class Resume(Event, frozen=True, kw_only=True, tag=snake_case):
    """A person lifts the kill latch and every halt."""

    command_id: str
    who: str
    reason: str


class PauseMarket(Event, frozen=True, kw_only=True, tag=snake_case):
    """Stop (or go on) quoting one market."""

    command_id: str
    who: str
    market: int
    paused: bool


class Flatten(Event, frozen=True, kw_only=True, tag=snake_case):
    """Sell what is held in one market (-1: in all) at most `max_slippage_micros` from fair value."""

    command_id: str
    who: str
    market: int
    max_slippage_micros: int


class KeepPairs(Event, frozen=True, kw_only=True, tag=snake_case):
    """Hold this many pairs of YES and NO of one market, micro-contracts; what is beyond them becomes cash."""

    command_id: str
    who: str
    market: int
    pairs: int


# --- what the engine concludes by itself; journaled, so that a fold needs no timers ------------------


class TimedOut(Event, frozen=True, kw_only=True, tag=snake_case):
    """No answer to a request within the time allowed: its outcome is unknown."""

    order_id: int
    request: Request


class Presumed(Event, frozen=True, kw_only=True, tag=snake_case):
    """Proof by time: an unknown order is past its expiry and was read as absent after it."""

    order_id: int
    filled: int


class DayStarted(Event, frozen=True, kw_only=True, tag=snake_case):
    """The daily loss is measured from `equity_micros` until `end_ns`."""

    end_ns: int
    equity_micros: int


class Held(Event, frozen=True, kw_only=True, tag=snake_case):
    """A market (-1: all of `venue`, or all) may not be quoted, or may again; `why` as in engine/holds.py."""

    market: int
    why: str
    on: bool
    venue: str = ""


class Tripped(Event, frozen=True, kw_only=True, tag=snake_case):
    """A breaker fired; `until_ns` 0: a person must clear it. `market` -1: all markets."""

    breaker: str
    market: int
    until_ns: int
    text: str


class Released(Event, frozen=True, kw_only=True, tag=snake_case):
    """A breaker let go."""

    breaker: str
    market: int


Control = (
    Started | Listed | FeesChanged | RewardsChanged | Stopping
    | ClockJumped | ClockSkewed | LoopStalled | LogStalled | LogFailed | Latched
    | Sent | NotSent | Accepted | Refused | AnswerLost | Closed | Reduced | Renewed | RequestRefused
    | Filled | FillFinal | FillVoided
    | OrdersRead | OrderRead | FillsRead | PositionsRead | BalanceRead | BookRead | QueueRead | ReadFailed
    | FeedUp | FeedDown | FeedAlive | BookInvalid | Malformed | VenueStatus | Settled | Merged | Transferred
    | OperationsUp | OperationPrepared | OperationTaken | OperationEnded
    | Halt | Resume | PauseMarket | Flatten | KeepPairs
    | TimedOut | Presumed | DayStarted | Held | Tripped | Released
)  # fmt: skip
