"""Our own orders taken out of a book that shows them, so that a replay does not queue behind itself.

The journal tells when each order of ours entered the book, traded, shrank and left; the rows tell it again,
among everybody else's changes. A change of ours is the first row at its price and side that moves the level
by just its size about the time that the journal tells; one without such a row counts from that time on.
Trades stay: they happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.store.journal import Journal

SLACK_NS: Final = NS_PER_SECOND // 4  # how far two streams of one venue may be apart
Ints = npt.NDArray[np.int64]
Market = tuple[str, str]  # venue, ticker


class OwnChange(NamedTuple):
    """Our size at a price changed by `size` micro-contracts, between these times of our clock."""

    from_ns: int
    until_ns: int
    side: int
    price: int
    size: int


class _Order:
    """One order as far as the journal was read; sizes in micro-contracts."""

    __slots__ = ("asked_ns", "filled", "is_in", "market", "price", "resting", "side", "size")

    def __init__(self, place: c.Place, now_ns: int) -> None:
        self.market, self.side, self.price, self.size = place.market, place.side, place.price, place.size
        self.resting = place.size
        self.filled = 0
        self.is_in = False  # in the book
        self.asked_ns = now_ns  # when we last asked for a change of it


def own_changes(steps: Iterable[Step]) -> dict[Market, list[OwnChange]]:
    """What our orders did to the books that show them, by market; a market without any is there, too."""
    fold = _Fold()
    for step in steps:
        for event in (*step.inputs, *step.derived):
            fold.hear(step.now_ns, event)
        for command in step.commands:
            fold.ask(step.now_ns, command)
    return {
        (listing.venue, listing.ticker): fold.changes.get(market, [])
        for market, listing in fold.shown.items()
    }


def read_own_changes(journal: Path) -> dict[Market, list[OwnChange]]:
    """As `own_changes` of a journal; raises `LogError` where it can't be read."""
    with Journal.read(journal) as found:
        return own_changes(found.steps())


class _Fold:
    """Orders by id, and the changes that they made."""

    def __init__(self) -> None:
        self.shown: dict[int, e.Listed] = {}  # markets whose feed shows our own orders
        self.changes: dict[int, list[OwnChange]] = {}
        self._orders: dict[int, _Order] = {}
        self._fills: set[tuple[int, str]] = set()

    def ask(self, now_ns: int, command: c.Command) -> None:
        match command:
            case c.Place() if command.market in self.shown:
                self._orders[command.order_id] = _Order(command, now_ns)
            case c.Cancel() | c.Reduce() if command.order_id in self._orders:
                self._orders[command.order_id].asked_ns = now_ns
            case c.CancelAll():
                for order in self._orders.values():
                    order.asked_ns = now_ns
            case _:
                pass

    def hear(self, now_ns: int, event: e.Control) -> None:
        match event:
            case e.Listed() if event.book_includes_own:
                self.shown[event.market] = event
            case e.FillsRead():
                for fill in event.fills:
                    self.hear(now_ns, fill)
            case e.Filled() if (event.market, event.trade_id) not in self._fills:
                self._fills.add((event.market, event.trade_id))
                order = self._orders.get(event.order_id)
                if order is not None:
                    self._enter(order, now_ns)
                    order.filled += event.size
                    self._left(order, min(event.exch_ns, now_ns), now_ns, event.size)
            case (
                e.Accepted()
                | e.Reduced()
                | e.Closed()
                | e.OrderRead()
                | e.Presumed()
                | e.Refused()
                | e.NotSent()
            ):
                order = self._orders.get(event.order_id)
                if order is not None:
                    self._answer(order, now_ns, event)
            case _:
                pass

    def _answer(self, order: _Order, now_ns: int, event: e.Control) -> None:
        match event:
            case e.Accepted() | e.OrderRead(status="open"):
                self._enter(order, now_ns)
            case e.Reduced():
                self._enter(order, now_ns)
                self._left(order, order.asked_ns, now_ns, order.resting - event.remaining)
            case e.Refused() | e.NotSent():
                order.resting = 0
            case e.Closed() if not order.is_in:  # nothing of it ever rested
                order.resting = 0
            case _:  # what it traded and we do not know yet left the book, too
                self._left(order, order.asked_ns, now_ns, order.resting)

    def _enter(self, order: _Order, now_ns: int) -> None:
        if not order.is_in and order.resting > 0:
            order.is_in = True
            self._note(order, order.asked_ns, now_ns, order.resting)

    def _left(self, order: _Order, from_ns: int, now_ns: int, size: int) -> None:
        size = min(size, order.resting)
        if order.is_in and size > 0:
            order.resting -= size
            self._note(order, from_ns, now_ns, -size)

    def _note(self, order: _Order, from_ns: int, now_ns: int, size: int) -> None:
        found = self.changes.setdefault(order.market, [])
        found.append(OwnChange(from_ns, now_ns, order.side, order.price, size))


# --- out of the rows ----------------------------------------------------------------------------------


def take_out(events: d.Array, changes: Sequence[OwnChange], details: Counter[str]) -> npt.NDArray[np.bool_]:
    """Lower the sizes of levels by what of them was ours, in place; returns which rows still say something.

    A level row that only our own change made does not. Counted are rows changed, changes of ours that
    no row shows by itself, and rows that show less than we had there.
    """
    tells = np.ones(len(events), np.bool_)
    kinds = events["kind"]
    levels = (kinds == d.LEVEL) | (kinds == d.SNAPSHOT)
    books = np.cumsum((kinds == d.SNAPSHOT) & ((events["bits"] & d.SNAP_FIRST) != 0))
    for side, price in sorted({(change.side, change.price) for change in changes}):
        rows = np.flatnonzero(levels & (events["side"] == side) & (events["price"] == price))
        here = [change for change in changes if (change.side, change.price) == (side, price)]
        _one_level(events, rows, books, here, tells, details)
    return tells


def _one_level(
    events: d.Array,
    rows: Ints,
    books: Ints,
    changes: Sequence[OwnChange],
    tells: npt.NDArray[np.bool_],
    details: Counter[str],
) -> None:
    shown = events["qty"][rows].copy()
    before = _before(shown, books[rows])
    own = _own_at(events, rows, shown - before, changes, details)
    left = shown - own
    details["own_beyond_shown"] += int((left < 0).sum())
    left = np.maximum(left, 0)
    events["qty"][rows] = left
    is_level = events["kind"][rows] == d.LEVEL
    ours = (own > 0) | (np.concatenate((own[:1], own[:-1])) > 0)
    same = is_level & ours & (left == _before(left, books[rows]))
    tells[rows[same]] = False
    details["own_rows"] += int((left != shown).sum())


def _before(sizes: Ints, books: Ints) -> Ints:
    """What stood at a level before each of its rows; a snapshot that does not name it emptied it."""
    before = np.zeros(len(sizes), np.int64)
    if len(sizes) > 1:
        before[1:] = np.where(books[1:] == books[:-1], sizes[:-1], 0)
    return before


def _own_at(
    events: d.Array, rows: Ints, moved: Ints, changes: Sequence[OwnChange], details: Counter[str]
) -> Ints:
    """How much of each of a level's rows is ours, after the row."""
    local_ns = events["local_ns"][rows]
    first_ns, last_ns = events["local_ns"].min(), events["local_ns"].max()
    is_level = events["kind"][rows] == d.LEVEL
    used = np.zeros(len(rows), np.bool_)
    steps = np.zeros(len(rows) + 1, np.int64)
    for change in changes:
        near = (local_ns >= change.from_ns - SLACK_NS) & (local_ns <= change.until_ns + SLACK_NS)
        found = np.flatnonzero(near & is_level & ~used & (moved == change.size))
        if len(found):
            place = int(found[0])
            used[place] = True
        else:
            place = int(np.searchsorted(local_ns, change.until_ns, side="right"))
            details["own_changes_unseen"] += int(first_ns <= change.until_ns <= last_ns)
        steps[place] += change.size
    own: Ints = np.maximum(np.cumsum(steps[:-1]), 0)
    return own
