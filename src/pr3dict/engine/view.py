"""A read-only picture of the engine, for screens and status files: plain frozen values, no arrays.

Units as in `domain/events.py`. Making one costs some microseconds a market; nothing in it changes later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pr3dict.engine.account import OpenOrder
from pr3dict.engine.duty import DutyView
from pr3dict.kernels import dtypes as d
from pr3dict.strategies.decision import STATE_NAMES, reason_names

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine


class MarketView(msgspec.Struct, frozen=True, kw_only=True):
    """One market as it stands. A price of -1: that side is empty or not quoted."""

    market: int
    venue: str
    ticker: str
    title: str
    event_id: str
    status: int
    close_ns: int
    resolution_ns: int
    fair_micros: int
    uncertainty_micros: int
    best_bid: int  # of everyone else
    best_ask: int
    our_bid: int  # best of our orders that may rest
    our_ask: int
    our_bid_size: int
    our_ask_size: int
    state: str
    reasons: tuple[str, ...]
    holds: tuple[str, ...]
    quote_age_ns: int  # -1: never decided
    book_age_ns: int  # -1: no book yet
    yes_contracts: int
    no_contracts: int
    cost_micros: int  # cash paid less received, fees apart
    value_micros: int  # of the position at fair value
    fees_micros: int  # paid, rebates taken off
    loss_yes_micros: int  # worst case with open orders, should YES win
    loss_no_micros: int
    fills: int
    orders_placed: int
    orders: tuple[OpenOrder, ...]
    quote: bytes  # the QUOTE row that stands

    @property
    def net_contracts(self) -> int:
        """YES less NO, micro-contracts."""
        return self.yes_contracts - self.no_contracts

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held there and no order may fill."""
        return not (self.yes_contracts or self.no_contracts or self.orders)

    @property
    def pnl_micros(self) -> int:
        """What the market earned so far: position at fair value, less cost and fees."""
        return self.value_micros - self.cost_micros - self.fees_micros


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole engine at `now_ns`."""

    now_ns: int
    step: int  # journaled steps so far
    rows: int  # rows of market data seen by this process
    account: str
    version: str
    cash_micros: int
    locked_micros: int
    equity_micros: int
    start_micros: int  # opening cash of the journal
    day_loss_micros: int
    daily_loss_limit_micros: int
    heat_micros: int
    heat_limit_micros: int
    killed: bool
    holds: tuple[str, ...]  # on everything
    venues: dict[str, tuple[str, ...]]  # holds by venue
    alerts: tuple[tuple[str, int], ...]  # (name, market) that are on
    markets: tuple[MarketView, ...]
    duties: tuple[DutyView, ...] = ()  # the present hour of each product of a programme

    @property
    def pnl_micros(self) -> int:
        """Change of equity since the journal began."""
        return self.equity_micros - self.start_micros

    @property
    def open_orders(self) -> int:
        """Own orders that may still fill."""
        return sum(len(market.orders) for market in self.markets)


def view_of(engine: Engine) -> EngineView:
    """Look at everything at once."""
    w = engine.world
    account = w.account[0]
    started = engine.started
    return EngineView(
        now_ns=engine.now_ns,
        step=engine.number,
        rows=engine.brain.rows_seen,
        account=started.account if started else "",
        version=started.version if started else "",
        cash_micros=engine.account.cash_micros,
        locked_micros=int(account.locked_micros),
        equity_micros=engine.equity_micros,
        start_micros=engine.recovery.opening_micros,
        day_loss_micros=engine.day_loss_micros,
        daily_loss_limit_micros=int(w.rules[0].daily_loss_limit_micros),
        heat_micros=int(account.heat_micros),
        heat_limit_micros=engine.heat_limit_micros,
        killed=bool(account.killed),
        holds=engine.holds.words(-1, ""),
        venues={venue: engine.holds.words(-1, venue) for venue in engine.venues},
        alerts=tuple(engine.watch.on),
        markets=tuple(_of(engine, m) for m in range(len(engine.listings))),
        duties=engine.duty.view(engine.now_ns),
    )


def _of(engine: Engine, m: int) -> MarketView:
    """A market's picture; of one that has paid it is made once, for days of them would cost every look."""
    kept = engine.finished.get(m)
    if kept is not None:
        return kept
    view = _market(engine, m)
    if m in engine.recovery.settled and view.is_flat:
        view = engine.finished[m] = msgspec.structs.replace(view, holds=())
    return view


def _market(engine: Engine, m: int) -> MarketView:
    w = engine.world
    row, quote, listing = w.markets[m], w.quotes[m], engine.listings[m]
    orders = tuple(engine.queues.shown(o, listing.venue) for o in engine.account.open_orders(m))
    bids = [order for order in orders if order.side == d.BID]
    asks = [order for order in orders if order.side == d.ASK]
    our_bid = max((order.price for order in bids), default=-1)
    our_ask = min((order.price for order in asks), default=-1)
    held = engine.account.position(m)
    decided = int(row.quoted_state) >= 0
    seen_ns = int(w.books[m].event_ns)
    return MarketView(
        market=m,
        venue=listing.venue,
        ticker=listing.ticker,
        title=listing.title,
        event_id=listing.event_id,
        status=int(row.status),
        close_ns=int(row.close_ns),
        resolution_ns=int(row.resolution_ns),
        fair_micros=int(row.fair_micros),
        uncertainty_micros=int(row.uncertainty_micros),
        best_bid=int(row.bid_price),
        best_ask=int(row.ask_price),
        our_bid=our_bid,
        our_ask=our_ask,
        our_bid_size=sum(order.remaining for order in bids if order.price == our_bid),
        our_ask_size=sum(order.remaining for order in asks if order.price == our_ask),
        state=STATE_NAMES[int(quote.state)],
        reasons=reason_names(int(quote.reasons)) if decided else (),
        holds=engine.holds.words(m, listing.venue),
        quote_age_ns=engine.now_ns - int(row.quoted_ns) if decided else -1,
        book_age_ns=engine.now_ns - seen_ns if seen_ns else -1,
        yes_contracts=held.yes_contracts,
        no_contracts=held.no_contracts,
        cost_micros=held.cost_micros,
        value_micros=int(row.value_micros),
        fees_micros=engine.account.fees_micros(m),
        loss_yes_micros=int(row.loss_yes_micros),
        loss_no_micros=int(row.loss_no_micros),
        fills=engine.account.fill_count(m),
        orders_placed=int(w.stats[m].orders),
        orders=orders,
        quote=w.quotes[m : m + 1].tobytes(),
    )
