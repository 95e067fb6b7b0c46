"""What can go wrong at a venue, as decisions that the simulated exchange asks for; by default nothing does.

Nothing is drawn here: whoever tests derives from `Faults` and answers each question from decisions of its own
(a seeded tape of them, a table). The exchange carries the answer out, on what is true and on what it tells.
"""

from __future__ import annotations

from typing import NamedTuple

from pr3dict.domain.commands import (
    Cancel,
    Place,
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
    Reduce,
    Renew,
)
from pr3dict.domain.events import AnswerLost, Closed, Control, Filled, Request, RequestRefused

Change = Cancel | Reduce | Renew
ReadCommand = ReadOrders | ReadOrder | ReadFills | ReadPositions | ReadBalance | ReadBook


class PlaceFault(NamedTuple):
    """What happens to a new order instead of the usual; the first field that is set decides.

    `refuse` (a word) refuses it with `text`; `drop` does nothing and loses the answer; `lose` (why) does it
    and loses the answer. `roll_back_ns` after an acceptance the order is gone without a word.
    """

    refuse: str = ""
    text: str = ""
    drop: bool = False
    lose: str = ""
    roll_back_ns: int = 0


class ChangeFault(NamedTuple):
    """What happens to a cancel, reduction or renewal instead; the first field that is set decides.

    `refuse`, `text`, `drop` and `lose` as for a new order. `not_canceled`: a success that lists the order as
    not cancelled; it goes on resting. `lie`: the cancel is answered as done and the order goes on resting.
    """

    refuse: str = ""
    text: str = ""
    drop: bool = False
    lose: str = ""
    not_canceled: bool = False
    lie: bool = False

    def answer(self, change: Change, request: Request, filled: int) -> Control | None:
        """What is said instead of carrying `change` out; None: nothing. `filled` -1: no such order."""
        order_id = change.order_id
        if self.refuse:
            return RequestRefused(order_id=order_id, request=request, why=self.refuse, text=self.text)
        if self.drop:
            return AnswerLost(order_id=order_id, request=request, why="timeout")
        if self.not_canceled:
            why = "unknown_order"
            return RequestRefused(order_id=order_id, request=request, why=why, text="not_canceled")
        if self.lie and filled >= 0:
            return Closed(order_id=order_id, why="none", filled=filled)
        return None


class FillFault(NamedTuple):
    """What happens to a fill after the match.

    `provisional`: told as such, final after `final_after_ns` or void (and undone) after `void_after_ns`,
    where these are not 0. `ghost`: the order counts as matched, nothing is paid, and the fill is never
    told; with `void_after_ns` its failure is. `delay_ns`: told later. `again_after_ns`: told twice, the
    second time at a price `twist` higher. `extra_size` more than remained is filled. `extra_fee_micros`
    more is charged. `silent`: not told, only listed.
    """

    provisional: bool = False
    final_after_ns: int = 0
    void_after_ns: int = 0
    ghost: bool = False
    delay_ns: int = 0
    again_after_ns: int = 0
    twist: int = 0
    extra_size: int = 0
    extra_fee_micros: int = 0
    silent: bool = False


class ReadFault(NamedTuple):
    """What happens to a read. `fail` (why) fails it. The answer is as of `lag_ns` ago, and says so unless
    `says_now`; of a list only the first `tear_at` entries are, the others are as of now (-1: all are old).
    `not_found`: a look-up of one order finds nothing.
    """

    fail: str = ""
    lag_ns: int = 0
    says_now: bool = False
    tear_at: int = -1
    not_found: bool = False


NO_PLACE_FAULT = PlaceFault()
NO_CHANGE_FAULT = ChangeFault()
NO_FILL_FAULT = FillFault()
NO_READ_FAULT = ReadFault()


class Faults:
    """The questions that the exchange asks; this one answers that all is well.

    `history_ns`: how far back a `ReadFault` may go; the exchange remembers that much of the past.
    """

    history_ns: int = 0

    def on_place(self, _now_ns: int, _place: Place) -> PlaceFault:
        """A new order arrives."""
        return NO_PLACE_FAULT

    def on_change(self, _now_ns: int, _change: Change) -> ChangeFault:
        """A cancel, reduction or renewal arrives."""
        return NO_CHANGE_FAULT

    def on_fill(self, _now_ns: int, _fill: Filled) -> FillFault:
        """One of our orders matched."""
        return NO_FILL_FAULT

    def on_read(self, _now_ns: int, _read: ReadCommand) -> ReadFault:
        """A list or a look-up is asked for."""
        return NO_READ_FAULT

    def tells_of_wipe(self, _now_ns: int, _market: int) -> bool:
        """Whether orders that a reactivation cancels are told to us."""
        return True


NO_FAULTS = Faults()
