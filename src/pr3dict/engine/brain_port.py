"""The compiled brain as the engine uses it: rows in, reports in, messages out.

Nothing here decides; it translates between domain values and the arrays of `kernels/world.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pr3dict.domain.events import Listed, Settled
from pr3dict.domain.steps import Quoted
from pr3dict.engine.effects import Report
from pr3dict.engine.market_table import MarketTable
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import live
from pr3dict.kernels.messages import ERRORS
from pr3dict.kernels.world import World

_WISH = int(d.QUOTE.fields["reasons"][1])  # type: ignore[index]  # from here on a quote says what it wants


class Message(NamedTuple):
    """What the brain wants to send: a MESSAGE row of kind NEW, CANCEL or REDUCE."""

    kind: int
    order_id: int
    market: int
    side: int
    sell: bool
    price: int
    size: int
    tif: int


class BrainPort:
    """Drives the local half of the replay's functions over the engine's markets."""

    def __init__(self, capacity: int, params: d.Array, rules: d.Array) -> None:
        """`params` (1,) PARAMS for every market, `rules` (1,) RULES of the strategy."""
        rules = rules.copy()
        rules["merge_threshold"] = 0  # pairs become cash when the venue says so: `Merged`
        self.table = MarketTable(capacity, params, rules)
        self.rows_seen = 0
        self._slots: dict[int, tuple[int, int]] = {}  # order id to (market, slot)
        self._message = np.zeros(1, d.MESSAGE)
        self._event = np.zeros(1, d.EVENT)
        self._spare = np.zeros(1, d.EVENT)
        self._decisions = 0
        self._look()
        self._quoted: dict[int, bytes] = {}  # market to the part of its last quote that says what it wants

    def _look(self) -> None:
        """Keep a view of what is read at every instant: a field of an array costs a tenth of a record's."""
        w = self.table.world
        self._head, self._tail = w.clock["outbox_head"], w.clock["outbox_tail"]
        self._decision_count, self._changed = w.clock["decisions"], w.clock["changed_count"]
        self._error, self._quote_ns = w.account["error"], w.quotes["now_ns"]
        self._cash, self._value = w.account["local_cash_micros"], w.account["value_micros"]
        self._day_start, self._day_end = w.account["day_start_equity_micros"], w.account["day_end_ns"]
        self._killed, self._order_state = w.account["killed"], w.orders["state"]

    @property
    def world(self) -> World:
        """The arrays; they are replaced when more markets are listed than they have room for."""
        return self.table.world

    def list_market(self, listing: Listed) -> None:
        """Give a market its row, and places to fight for where there are more markets than places."""
        if not self.table.add(listing):
            return
        self._look()
        w = self.world
        if 0 < int(w.rules[0].max_markets) < len(self.table):
            live.keep_places(w)

    def see(self, data: d.Array) -> None:
        """EVENT rows reach us; nothing is decided yet."""
        self.rows_seen += len(data)
        live.see(self.world, data, self.table.grids_of, self._spare)

    def follow(self, events: d.Array, first: int, until_ns: int) -> tuple[int, int]:
        """As `kernels.live.follow`: instants of market data alone, until a message wants to leave."""
        following, last_ns = live.follow(
            self.world, events, first, until_ns, self.table.grids_of, self._spare
        )
        self.rows_seen += following - first
        return following, last_ns

    def settle(self, event: Settled, now_ns: int) -> None:
        """A market pays out."""
        stats = self.world.stats[event.market]
        stats.settled = 2 if event.refund else 1
        stats.settle_value_micros = event.value_micros
        row = self._event
        row["exch_ns"] = row["local_ns"] = now_ns
        row["market"], row["kind"], row["qty"] = event.market, d.SETTLE, event.value_micros
        row["bits"] = d.REFUND if event.refund else 0
        live.see(self.world, self._event, self.table.grids_of, self._spare)

    def hear(self, report: Report, now_ns: int) -> bool:
        """A report about an order reaches the brain; False when it holds no such order any more."""
        place = self._slots.get(report.order_id)
        if place is None:
            return False
        m, slot = place
        leg = d.SELL_LEG if report.sell else d.BUY_LEG
        self._message[0] = (
            now_ns, report.order_id, report.size, 0, report.fee_micros, report.rebate_micros, report.price,
            m, slot, report.kind, report.side, 0, leg, report.why, report.maker,
        )  # fmt: skip
        live.hear(self.world, self._message, now_ns)
        if self._order_state[m, slot] == d.FREE:
            del self._slots[report.order_id]
        return True

    def decide(self, now_ns: int) -> None:
        """Decide each market that changed, once, and those whose time has come."""
        live.decide(self.world, now_ns)

    def messages(self) -> Iterator[Message]:
        """What the brain wants to send, oldest first; each is given once."""
        while self._head[0] < self._tail[0]:
            outbox = self.world.outbox
            row = outbox.item(int(self._head[0]) & (len(outbox) - 1))
            self._head[0] += 1
            _, order_id, size, _, _, _, price, market, slot, kind, side, tif, leg, _, _ = row
            if kind == d.NEW:
                self._slots[order_id] = (market, slot)
            yield Message(kind, order_id, market, side, leg == d.SELL_LEG, price, size, tif)

    @property
    def is_changed(self) -> bool:
        """Whether a market waits for a decision."""
        return bool(self._changed[0] > 0)

    @property
    def error(self) -> str:
        """Why the brain stopped: a bounded buffer overflowed; empty while it works."""
        return ERRORS[int(self._error[0])]

    @property
    def equity_micros(self) -> int:
        """Cash plus positions at fair value, or at the last one known."""
        return int(self._cash[0]) + int(self._value[0])

    def holding(self, market: int) -> tuple[int, int]:
        """YES and NO contracts of a market as the brain counts them."""
        rows = self.world.markets
        return int(rows["yes_contracts"][market]), int(rows["no_contracts"][market])

    @property
    def day_start_micros(self) -> int:
        """Equity from which the day's loss counts."""
        return int(self._day_start[0])

    @property
    def day_end_ns(self) -> int:
        """End of the trading day; 0 before its first decision."""
        return int(self._day_end[0])

    @property
    def is_killed(self) -> bool:
        """Whether the day's loss reached its limit."""
        return bool(self._killed[0])

    def new_quotes(self, now_ns: int) -> tuple[Quoted, ...]:
        """The decisions of this instant that want something else than the last journaled one."""
        decisions = int(self._decision_count[0])
        if decisions == self._decisions:
            return ()
        self._decisions = decisions
        quotes = self.world.quotes
        fresh = []
        for m in np.flatnonzero(self._quote_ns[: len(self.table)] == now_ns).tolist():
            row = quotes[m : m + 1].tobytes()
            if self._quoted.get(m) != row[_WISH:]:
                self._quoted[m] = row[_WISH:]
                fresh.append(Quoted(market=m, row=row))
        return tuple(fresh)

    def adopt(self, order: d.Array, market: int, slot: int) -> None:
        """Put an ORDER row (1,) into a slot: an order of an earlier process that may still stand."""
        w = self.world
        w.orders[market, slot] = order[0]
        w.markets[market].slots_used = max(int(w.markets[market].slots_used), slot + 1)
        self._slots[int(order[0].id)] = (market, slot)

    def buys_instead(self, order_id: int) -> None:
        """An order that was to sell what is held leaves as a purchase of the other contract."""
        self.world.orders[self._slots[order_id]]["leg"] = d.BUY_LEG

    def state_bytes(self) -> Iterator[bytes]:
        """Everything that a later decision may read, market by market; for the hash of the state."""
        w, count = self.world, len(self.table)
        yield w.account.tobytes()
        for array in (w.markets, w.quotes, w.books, w.orders, w.depth, w.selections):
            yield np.ascontiguousarray(array[:count]).tobytes()
