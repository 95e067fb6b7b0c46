"""A desk for account tests: keeps the log of what happened, serves timers, checks the fold."""

from __future__ import annotations

from typing import Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import Band, PriceGrid
from pr3dict.domain.units import BID
from pr3dict.engine.account import NEVER_NS, Account, Effects, OrderTerms

SECOND = 1_000_000_000
START = 1_000 * SECOND
GRIDS = (PriceGrid((Band(0, 10_000, 100),)),)


def listed(market: int, *, venue: str = "kalshi", nets: bool = True) -> e.Listed:
    return e.Listed(
        market=market, venue=venue, ticker=f"T{market}", event_id="E", exclusive=False, title="", grids=GRIDS,
        min_size=1, lot=1, fee_kind="none", nets_positions=nets, reduce_in_place=True,
    )  # fmt: skip


class Desk:
    """An account with two netting markets (0, 1) and two that keep YES and NO apart (2, 3)."""

    def __init__(self, *, apart: bool = False, **terms: Any) -> None:
        self.terms = OrderTerms(**({"reconcile_interval_ns": 0} | terms))
        self.account = Account(self.terms)
        self.now = START
        self.log: list[tuple[int, Any]] = []
        self.sent: list[Any] = []  # what the account wanted by itself
        self.venue = "polymarket" if apart else "kalshi"
        self.anomalies: list[Any] = []
        self.trades = 0
        self.do(e.Started(version="1", account="paper", settings="{}", cash_micros=1_000_000_000))
        for market in (2, 3) if apart else (0, 1):
            self.do(listed(market, venue=self.venue, nets=not apart))
        self.market = 2 if apart else 0

    def do(self, event: Any) -> Effects:
        self.log.append((self.now, event))
        effects = self.account.apply(self.now, event)
        self.anomalies += effects.anomalies
        for command in effects.commands:
            self.command(command)
            self.sent.append(command)
        return effects

    def command(self, command: Any) -> None:
        self.log.append((self.now, command))
        self.account.commanded(self.now, command)

    def place(
        self, order_id: int = 1, *, size: int = 10, side: int = BID, live: bool = True, **kw: Any
    ) -> int:
        fields = {"market": self.market, "price": 4_500, "tif": 0} | kw
        self.command(c.Place(order_id=order_id, side=side, size=size * 1_000_000, **fields))
        if live:
            self.do(e.Sent(order_id=order_id))
            self.do(e.Accepted(order_id=order_id, venue_id=f"v{order_id}"))
        return order_id

    def fill(self, order_id: int = 1, size: float = 1, **kw: Any) -> Effects:
        self.trades += 1
        fields: dict[str, Any] = {
            "trade_id": f"t{self.trades}", "market": self.market, "side": BID, "price": 4_500,
            "exch_ns": self.now,
        }  # fmt: skip
        return self.do(e.Filled(order_id=order_id, size=int(size * 1_000_000), **(fields | kw)))

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass, serving every timer at its time; returns what was wanted meanwhile."""
        first, until = len(self.sent), self.now + int(seconds * SECOND)
        rounds = 0
        while (due := self.account.next_due_ns) <= until:
            rounds += 1
            assert rounds < 1_000, "a timer that never ends"
            self.now = max(self.now, due)
            self.serve()
            assert self.account.next_due_ns > self.now, "what was served must not be due any more"
        self.now = until
        return self.sent[first:]

    def serve(self) -> None:
        for event in self.account.due(self.now):
            self.do(event)
        for command in self.account.wants(self.now):
            self.command(command)
            self.sent.append(command)

    # --- answers to reads -----------------------------------------------------------------------

    def read_order(self, order_id: int = 1, status: str = "open", **kw: Any) -> Effects:
        fields = {"asked_ns": self.now, "as_of_ns": self.now} | kw
        return self.do(e.OrderRead(order_id=order_id, status=status, **fields))

    def read_fills(self, *fills: e.Filled, **kw: Any) -> Effects:
        fields = {"asked_ns": self.now, "as_of_ns": self.now, "since_ns": START - 60 * SECOND} | kw
        return self.do(e.FillsRead(venue=self.venue, fills=fills, **fields))

    def read_orders(self, *orders: e.VenueOrder, **kw: Any) -> Effects:
        fields = {"asked_ns": self.now, "as_of_ns": self.now} | kw
        return self.do(e.OrdersRead(venue=self.venue, orders=orders, **fields))

    def read_positions(self, *positions: e.VenuePosition, **kw: Any) -> Effects:
        fields = {"asked_ns": self.now, "as_of_ns": self.now} | kw
        return self.do(e.PositionsRead(venue=self.venue, positions=positions, **fields))

    def read_balance(self, cash_micros: int, **kw: Any) -> Effects:
        fields = {"asked_ns": self.now, "as_of_ns": self.now} | kw
        return self.do(e.BalanceRead(venue=self.venue, cash_micros=cash_micros, **fields))

    def row(self, order_id: int, venue_id: str = "", **kw: Any) -> e.VenueOrder:
        fields = {"market": self.market, "side": BID, "price": 4_500, "remaining": 10_000_000} | kw
        return e.VenueOrder(order_id=order_id, venue_id=venue_id or f"v{order_id}", **fields)

    # --- what is known ----------------------------------------------------------------------------

    def state(self, order_id: int = 1) -> str:
        orders = self.account.orders
        order = orders.open.get(order_id) or orders.closed[order_id]
        return str(order.state.value)

    def exposed(self) -> float:
        """Contracts that may still fill."""
        return sum(order.remaining for order in self.account.open_orders(self.market)) / 1_000_000

    @property
    def held(self) -> tuple[float, float]:
        position = self.account.position(self.market)
        return position.yes_contracts / 1_000_000, position.no_contracts / 1_000_000

    def codes(self) -> list[str]:
        return [anomaly.code for anomaly in self.anomalies]

    def check_fold(self) -> None:
        """The log folds to the same bytes, from its start and from a snapshot at any third of it."""
        blob = self.account.encode()
        for first in (0, len(self.log) // 3, 2 * len(self.log) // 3):
            account = Account(self.terms)
            for k, (now, item) in enumerate(self.log):
                if k == first:
                    account = Account.decode(account.encode(), self.terms)
                if isinstance(item, c.Command):
                    account.commanded(now, item)
                else:
                    account.apply(now, item)
            assert account.encode() == blob
            assert account.next_due_ns == self.account.next_due_ns
            assert account.due(NEVER_NS) == self.account.due(NEVER_NS)
