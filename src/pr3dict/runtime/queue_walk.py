"""The simulated exchange's queue models, walked along a recorded market for one real order at a time.

An order of ours stood in a real queue. Each model is given what it would have had in a replay of the
recording, the size displayed when the order joined and what traded and changed at its price since, through
the same compiled functions (`kernels/queue.py`), and says at any time how much stood ahead.

A feed that shows our own orders holds our own changes among everybody else's. They are found in it by price,
side, time and size and taken out, so that no model takes our cancel for another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.queue import queue_after_change, queue_after_trade
from pr3dict.kernels.snapshots import flatten_snapshots

NEVER_NS: Final = 2**63 - 1
SLACK_NS: Final = NS_PER_SECOND // 4  # how far our clock and the venue's may be apart

Ints = npt.NDArray[np.int64]
LeftOut = Literal["not_accepted", "join_not_seen", "behind_own", "gap", "no_tape"]


class Model(NamedTuple):
    """A queue model: its name and power as `--queue` and `--queue-power` take them, and its number."""

    queue: str
    code: int
    power: float | None = None

    @property
    def option(self) -> str:
        """The options that choose it."""
        return f"--queue {self.queue}" + ("" if self.power is None else f" --queue-power {self.power:g}")


class OwnChange(NamedTuple):
    """`size` micro-contracts of an order left the book at about `at_ns`, and `after_ns` at the earliest."""

    at_ns: int
    after_ns: int
    size: int


class Look(NamedTuple):
    """The venue said at some time from `asked_ns` to `as_of_ns` that `ahead` micro-contracts stood ahead."""

    asked_ns: int
    as_of_ns: int
    ahead: int


class OwnLife:
    """One order of ours as the journal tells it, mutable while that is read; ns and micro-contracts.

    Attributes:
        accepted_ns: 0: never.
        until_ns: from here on it may be gone: a cancel was sent, or its end heard.
        gone_ns: from here on it surely is.
        changed_ns: when a cancel or a reduction was sent last.
        taken_out: what reductions and its end took out of the book.
        changes: what left the book, in order of hearing.
        looks: what the venue said of its place.
    """

    __slots__ = (
        "accepted_ns", "changed_ns", "changes", "expiry_ns", "gone_ns", "looks", "market", "order_id",
        "price", "remaining", "sent_ns", "side", "size", "taken_out", "until_ns",
    )  # fmt: skip

    def __init__(
        self, order_id: int, market: int, side: int, price: int, size: int, sent_ns: int, accepted_ns: int = 0
    ) -> None:
        self.order_id, self.market = order_id, market
        self.side, self.price, self.size = side, price, size
        self.sent_ns, self.accepted_ns = sent_ns, accepted_ns
        self.until_ns = self.expiry_ns = self.gone_ns = NEVER_NS
        self.changed_ns = self.taken_out = 0
        self.remaining = size
        self.changes: list[OwnChange] = []
        self.looks: list[Look] = []


class Estimate(NamedTuple):
    """The least and the most that each model said while the venue's figure was on its way, (models,)."""

    look: Look
    least: Ints
    most: Ints


class Walked(NamedTuple):
    """One order's estimates; `initial` stood ahead when it joined. `left_out` counts looks without one."""

    life: OwnLife
    initial: int
    estimates: tuple[Estimate, ...]
    left_out: dict[LeftOut, int]


class _Level(NamedTuple):
    """Rows of one price and side, in order: places in the market's rows, sizes, and whether a trade."""

    places: Ints
    sizes: Ints
    is_trade: npt.NDArray[np.bool_]


class _OwnMove(NamedTuple):
    """Our own size at a price changes by `size`: with the row at `place` (`in_row`), else just before it."""

    place: int
    in_row: bool
    size: int


class MarketWalk:
    """One market's rows of one run, with our orders in it."""

    def __init__(self, events: d.Array, lives: Sequence[OwnLife], *, shows_own: bool, end_ns: int) -> None:
        """`events` are a tape's rows, known until `end_ns`; `shows_own`: the feed shows our own orders."""
        rows = flatten_snapshots(events)
        if shows_own:  # two streams: at one time of the venue, trades come before what they changed
            rows = rows[np.lexsort((rows["kind"] != d.TRADE, rows["exch_ns"]))]
        marked = (rows["kind"] == d.STATUS) & (rows["aux"] == d.PAUSED) & ((rows["bits"] & d.SYNTHETIC) != 0)
        self._rows = rows
        self._times: Ints = np.ascontiguousarray(rows["exch_ns"])
        self._gaps: Ints = self._times[marked]
        self._end_ns = end_ns
        self._shows_own = shows_own
        self._at_price: dict[tuple[int, int], list[OwnLife]] = {}  # in order of sending
        self._levels: dict[tuple[int, int], _Level] = {}
        self._own: dict[tuple[int, int], list[_OwnMove]] = {}
        self._joined: dict[int, int] = {}  # the first row that finds an order in the queue
        for life in sorted(lives, key=lambda life: (life.sent_ns, life.order_id)):
            self._at_price.setdefault((life.side, life.price), []).append(life)
            if life.accepted_ns:
                self._enter(life)

    # --- our own orders in the rows -----------------------------------------------------------------

    def _level(self, life: OwnLife) -> _Level:
        """The sizes shown at an order's price and the trades that meet it there."""
        side, price = life.side, life.price
        found = self._levels.get((side, price))
        if found is None:
            rows = self._rows
            here = rows["price"] == price
            trades = here & (rows["kind"] == d.TRADE) & (rows["side"] != side)
            shown = here & (rows["kind"] == d.LEVEL) & (rows["side"] == side)
            places = np.flatnonzero(trades | shown)
            found = self._levels[side, price] = _Level(places, rows["qty"][places], trades[places])
        return found

    def _enter(self, life: OwnLife) -> None:
        """Find where an order joined, and what it and its changes are in the feed."""
        if not self._shows_own:
            middle_ns = (life.sent_ns + life.accepted_ns) // 2  # as long there as back
            self._joined[life.order_id] = int(np.searchsorted(self._times, middle_ns, "right"))
            return
        own = self._own.setdefault((life.side, life.price), [])
        place = self._row_of(life, life.size, life.sent_ns, life.accepted_ns)
        if place < 0:
            return
        self._joined[life.order_id] = place + 1
        own.append(_OwnMove(place, True, life.size))
        for change in life.changes:
            place = self._row_of(life, -change.size, change.after_ns, change.at_ns)
            before = int(np.searchsorted(self._times, change.at_ns, "left"))
            own.append(_OwnMove(place if place >= 0 else before, place >= 0, -change.size))

    def _row_of(self, life: OwnLife, change: int, first_ns: int, last_ns: int) -> int:
        """The row that shows a change of ours: of just this size, else of a larger one; -1: none does."""
        level = self._level(life)
        places, sizes = level.places[~level.is_trade], level.sizes[~level.is_trade]
        moves = np.diff(sizes, prepend=0)
        times = self._times[places]
        taken = [move.place for move in self._own[life.side, life.price] if move.in_row]
        near = (times >= first_ns - SLACK_NS) & (times <= last_ns + SLACK_NS) & ~np.isin(places, taken)
        for fits in (moves == change, moves * np.sign(change) > abs(change)):
            found = places[near & fits]
            if len(found):
                return int(found[0])
        return -1

    def _own_around(self, life: OwnLife, place: int) -> tuple[int, int]:
        """Size of ours that the feed shows at an order's price just before a row, and after it."""
        before = inside = 0
        for move in self._own.get((life.side, life.price), ()):
            if move.place < place or (move.place == place and not move.in_row):
                before += move.size
            elif move.place == place:
                inside += move.size
        return before, before + inside

    def _is_behind_own(self, life: OwnLife) -> bool:
        """Whether another order of ours may have stood ahead: what left the queue then is not told apart."""
        same = self._at_price[life.side, life.price]
        return any(other.gone_ns > life.sent_ns for other in same[: same.index(life)])

    # --- the walk -----------------------------------------------------------------------------------

    def walk(self, life: OwnLife, models: Sequence[Model]) -> Walked:
        """Every look at an order, with what the models said."""
        why: LeftOut | None = None
        if not life.accepted_ns:
            why = "not_accepted"
        elif life.order_id not in self._joined:
            why = "join_not_seen"
        elif self._is_behind_own(life):
            why = "behind_own"
        if why is not None or not life.looks:
            return Walked(life, 0, (), {why: len(life.looks)} if why is not None else {})
        start = self._joined[life.order_id]
        places, fronts = self._fronts(life, start, models)
        joined_ns = int(self._times[start - 1]) if start else 0
        estimates: list[Estimate] = []
        left_out: Counter[LeftOut] = Counter()
        for look in life.looks:
            last_ns = look.as_of_ns + SLACK_NS
            if last_ns > self._end_ns + SLACK_NS:
                left_out["no_tape"] += 1
            elif ((self._gaps > joined_ns) & (self._gaps <= last_ns)).any():
                left_out["gap"] += 1
            else:
                rows = np.searchsorted(self._times, (look.asked_ns - SLACK_NS, last_ns), "right")
                first, last = np.searchsorted(places, rows, "left").tolist()
                said = fronts[first : last + 1]
                estimates.append(Estimate(look, said.min(axis=0), said.max(axis=0)))
        return Walked(life, int(fronts[0, 0]), tuple(estimates), dict(left_out))

    def _fronts(self, life: OwnLife, start: int, models: Sequence[Model]) -> tuple[Ints, Ints]:
        """The rows at an order's price since it joined, and what each model has ahead before and after each.

        Shapes: (rows,) places and (rows + 1, models) micro-contracts.
        """
        level = self._level(life)
        first = int(np.searchsorted(level.places, start, "left"))
        sizes = [0, 0, *level.sizes[:first][~level.is_trade[:first]].tolist()]
        shown = ahead = sizes[-1]
        if self._shows_own:  # the last of these rows is our order's own
            ahead = sizes[-2] - self._own_around(life, start - 1)[0]
        orders = np.zeros(len(models), d.EXCHANGE_ORDER)
        orders["front"] = max(ahead, 0)
        fronts = np.zeros((len(level.places) - first + 1, len(models)), np.int64)
        fronts[0] = orders["front"]
        for k in range(first, len(level.places)):
            self._row(life, level, k, shown, orders, models)
            shown = shown if level.is_trade[k] else int(level.sizes[k])
            fronts[k - first + 1] = orders["front"]
        return level.places[first:], fronts

    def _row(
        self, life: OwnLife, level: _Level, k: int, shown: int, orders: d.Array, models: Sequence[Model]
    ) -> None:
        """One row at an order's price happens to every model's order; `shown` was displayed before it."""
        size = int(level.sizes[k])
        if level.is_trade[k]:
            for order in orders:
                queue_after_trade(order, size, size)
            return
        own_before, own_after = self._own_around(life, int(level.places[k]))
        old, new = max(shown - own_before, 0), max(size - own_after, 0)
        for order, model in zip(orders, models, strict=True):
            queue_after_change(order, old, new, model.code, 1.0 if model.power is None else model.power)
