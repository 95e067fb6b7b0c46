"""What is true at the simulated exchange, kept in plain values beside the compiled arrays.

Orders by our id, fills in order, positions and cash booked a second time from the fills alone (so that the
compiled books can be checked against them), and as much of the past as reads that lag behind ask for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from pr3dict.domain.events import Filled, VenueOrder
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.position import yes_cash_micros

OrderStatus = Literal["open", "closed", "refused"]
Key = tuple[str, int]  # ("order", key), ("position", market) or CASH
CASH: Key = ("cash", 0)


class OrderTruth(NamedTuple):
    """An order as the exchange knows it."""

    status: OrderStatus
    order: VenueOrder
    why: str  # why it was refused or closed
    size: int


class Message(NamedTuple):
    """A MESSAGE row as plain numbers, its fields in order."""

    at_ns: int
    id: int
    qty: int
    expiry_ns: int = 0
    fee_micros: int = 0
    rebate_micros: int = 0
    price: int = 0
    market: int = 0
    slot: int = 0
    kind: int = 0
    side: int = 0
    tif: int = 0
    leg: int = 0
    why: int = 0
    maker: int = 0


class BookedOrder:
    """One order of the account, ours or not, for the life of the exchange."""

    __slots__ = (
        "expiry_ns", "filled", "fills", "key", "market", "order_id", "price", "remaining",
        "sell", "side", "size", "slot", "status", "text", "venue_id", "why",
    )  # fmt: skip

    def __init__(
        self, key: int, order_id: int, venue_id: str, market: int, side: int, sell: bool, price: int,
        size: int, expiry_ns: int, slot: int,
    ) -> None:  # fmt: skip
        """`key`: the id inside the exchange; `order_id`: the same, 0 where the order is not ours."""
        self.key, self.order_id, self.venue_id, self.market = key, order_id, venue_id, market
        self.side, self.sell, self.price, self.size, self.expiry_ns = side, sell, price, size, expiry_ns
        self.slot = slot
        self.remaining, self.filled, self.fills = size, 0, 0
        self.status: OrderStatus = "open"
        self.why = self.text = ""

    def listed(self) -> VenueOrder:
        """As the venue lists it."""
        return VenueOrder(
            order_id=self.order_id, venue_id=self.venue_id, market=self.market, side=self.side,
            sell=self.sell, price=self.price, remaining=self.remaining, filled=self.filled,
            expiry_ns=self.expiry_ns,
        )  # fmt: skip

    def next_fill(self, at_ns: int, message: Message) -> Filled:
        """Its next fill from a FILL_REPORT; trade ids are unique for as long as order ids are."""
        name = str(self.order_id) if self.order_id else self.venue_id
        return Filled(
            trade_id=f"{name}.{self.fills + 1}@{at_ns}", order_id=self.order_id, market=self.market,
            side=self.side, sell=self.sell, price=message.price, size=message.qty,
            fee_micros=message.fee_micros, rebate_micros=message.rebate_micros,
            maker=bool(message.maker), exch_ns=at_ns, venue_id=self.venue_id,
        )  # fmt: skip


class Truth:
    """Orders, fills, positions and cash of the account at the exchange."""

    def __init__(
        self, cash_micros: int, positions: Mapping[int, tuple[int, int]], nets: list[bool],
        merge_threshold: int, history_ns: int,
    ) -> None:  # fmt: skip
        """`nets[m]`: market m turns pairs into cash by itself."""
        self.orders: dict[int, BookedOrder] = {}
        self.open: dict[int, BookedOrder] = {}  # by key, in order of arrival
        self.placed_ns: dict[int, int] = {}  # by key: when it arrived
        self.fills: list[Filled] = []  # by time; those taken back are in `void` as well
        self.void: dict[str, str] = {}  # trade id: why
        self.provisional: dict[str, int] = {}  # trade id: place in `fills`
        self.holdings = {m: [0, 0] for m in range(len(nets))}
        self.holdings.update({m: list(held) for m, held in positions.items()})
        self.cash_micros = cash_micros
        self._nets = nets
        self._merge_threshold = merge_threshold
        self._history_ns = history_ns
        self._past: deque[tuple[int, Key, object]] = deque()  # when, what, what it was before
        self._fill_times: list[int] = []

    # --- the past ---------------------------------------------------------------------------------

    def note(self, now_ns: int, key: Key) -> None:
        """Remember what stands at `key` before it changes."""
        if self._history_ns == 0:
            return
        kind, number = key
        before: object
        if kind == "order":
            order = self.open.get(number)
            before = None if order is None else order.listed()
        elif kind == "position":
            before = tuple(self.holdings[number])
        else:
            before = self.cash_micros
        self._past.append((now_ns, key, before))
        while self._past[0][0] < now_ns - self._history_ns:
            self._past.popleft()

    def _as_of(self, at_ns: int) -> dict[Key, object]:
        """What stood at each key that changed after `at_ns`."""
        then: dict[Key, object] = {}
        for when_ns, key, before in reversed(self._past):
            if when_ns <= at_ns:
                break
            then[key] = before
        return then

    def orders_at(self, at_ns: int) -> tuple[VenueOrder, ...]:
        """Open orders as they stood at `at_ns`, by arrival."""
        listed = {key: order.listed() for key, order in self.open.items()}
        for (kind, number), before in self._as_of(at_ns).items():
            if kind == "order":
                if isinstance(before, VenueOrder):
                    listed[number] = before
                else:
                    listed.pop(number, None)
        return tuple(listed[key] for key in sorted(listed, key=lambda key: self.placed_ns[key]))

    def positions_at(self, at_ns: int) -> dict[int, tuple[int, int]]:
        """(yes, no) micro-contracts of each market held at `at_ns`."""
        held = {m: (yes, no) for m, (yes, no) in self.holdings.items()}
        for (kind, number), before in self._as_of(at_ns).items():
            if kind == "position" and isinstance(before, tuple):
                held[number] = before
        return {m: pair for m, pair in held.items() if pair != (0, 0)}

    def cash_at(self, at_ns: int) -> int:
        """Cash at `at_ns`."""
        before = self._as_of(at_ns).get(CASH, self.cash_micros)
        assert isinstance(before, int)
        return before

    def fills_at(self, at_ns: int, since_ns: int) -> tuple[Filled, ...]:
        """Fills from `since_ns` to `at_ns` that stand now."""
        first = bisect_left(self._fill_times, since_ns)
        last = bisect_left(self._fill_times, at_ns + 1)
        return tuple(fill for fill in self.fills[first:last] if fill.trade_id not in self.void)

    def voids_at(self, at_ns: int, since_ns: int) -> tuple[Filled, ...]:
        """Fills from `since_ns` to `at_ns` that were taken back."""
        first = bisect_left(self._fill_times, since_ns)
        last = bisect_left(self._fill_times, at_ns + 1)
        return tuple(fill for fill in self.fills[first:last] if fill.trade_id in self.void)

    def differences(self, cash_micros: int, held: Mapping[int, tuple[int, int]]) -> tuple[str, ...]:
        """Where cash and (yes, no) of each market are not what the fills explain; empty: nowhere."""
        found = []
        if cash_micros != self.cash_micros:
            found.append(f"cash {cash_micros}, explained {self.cash_micros}")
        for m, (yes, no) in self.holdings.items():
            if held[m] != (yes, no):
                found.append(f"market {m} holds {held[m][0]}/{held[m][1]}, explained {yes}/{no}")
        return tuple(found)

    # --- changes ----------------------------------------------------------------------------------

    def list_market(self, market: int, *, nets: bool) -> None:
        """One more market, in which nothing is held."""
        self.holdings[market] = [0, 0]
        self._nets.append(nets)

    def change_cash(self, now_ns: int, amount_micros: int) -> None:
        """Money comes, or goes where it is negative."""
        self.note(now_ns, CASH)
        self.cash_micros += amount_micros

    def hold(self, now_ns: int, market: int, yes: int, no: int) -> None:
        """The position is now this."""
        self.note(now_ns, ("position", market))
        self.holdings[market] = [yes, no]

    def recall(self, fills: Iterable[Filled]) -> None:
        """Fills of an earlier life of the exchange, whose positions and cash it began with: only listed."""
        for fill in sorted(fills, key=lambda fill: fill.exch_ns):
            self.fills.append(fill)
            self._fill_times.append(fill.exch_ns)

    def book(self, now_ns: int, fill: Filled, extra_size: int = 0) -> int:
        """Book a fill, `extra_size` of it as a trade of its own; returns the pairs that became cash."""
        self.fills.append(fill)
        self._fill_times.append(fill.exch_ns)
        if not fill.final:
            self.provisional[fill.trade_id] = len(self.fills) - 1
        self.change_cash(now_ns, cash_of(fill))
        merged = self._exchange(now_ns, fill, fill.size - extra_size)
        return merged + (self._exchange(now_ns, fill, extra_size) if extra_size else 0)

    def _exchange(self, now_ns: int, fill: Filled, size: int) -> int:
        """Move `size` contracts of a fill, with the dollars that are locked with NO contracts."""
        yes, no = _, was_no = self.holdings[fill.market]
        closes = self._nets[fill.market] or fill.sell
        if fill.side == d.BID:
            closed = min(no, size) if closes else 0
            yes, no = yes + size - closed, no - closed
        else:
            closed = min(yes, size) if closes else 0
            yes, no = yes - closed, no + size - closed
        pairs = min(yes, no)
        merged = pairs if 0 < self._merge_threshold <= pairs else 0
        self.hold(now_ns, fill.market, yes - merged, no - merged)
        self.change_cash(now_ns, was_no - no + merged)
        return merged

    def undo(self, now_ns: int, fill: Filled, why: str) -> None:
        """Take a fill back, fees too; what it brought and is no longer held is split from cash."""
        self.void[fill.trade_id] = why
        self.provisional.pop(fill.trade_id, None)
        yes, was_no = self.holdings[fill.market]
        no = was_no
        size = fill.size if fill.side == d.BID else -fill.size
        if self._nets[fill.market]:
            net = yes - no - size
            yes, no = max(net, 0), max(-net, 0)
        elif (fill.side == d.BID) != fill.sell:  # YES contracts were bought, or sold
            yes -= size
        else:
            no += size
        split = max(0, -yes, -no)
        self.hold(now_ns, fill.market, yes + split, no + split)
        self.change_cash(now_ns, was_no - no - split - cash_of(fill))

    def make_final(self, trade_id: str) -> Filled | None:
        """A provisional fill is final now; None where it is not provisional any more."""
        place = self.provisional.pop(trade_id, None)
        if place is None:
            return None
        self.fills[place] = msgspec.structs.replace(self.fills[place], final=True)
        return self.fills[place]


def cash_of(fill: Filled) -> int:
    """Cash of a fill in YES terms, fee and rebate in."""
    return int(yes_cash_micros(fill.side, fill.price, fill.size)) - fill.fee_micros + fill.rebate_micros
