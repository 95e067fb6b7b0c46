"""Matching behind the stand-in: one account's orders, books and streams over the simulated exchange.

Nothing here knows of HTTP. Time is the caller's: `catch_up` lets the recorded flow, the markets' lives and
expiries happen up to a time, and what streams must tell is handed to `publish` as lists of notes.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.events import Accepted, Closed, Control, Filled, Listed, Reduced, Refused, Renewed
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated.exchange import Occurrence, SimulatedExchange
from standins.common.history import History
from standins.kalshi.catalog import EMPTY, Catalog
from standins.kalshi.faults import FaultBox
from standins.kalshi.ledger import Ledger, reserved
from standins.kalshi.state import BOOK_SIDE, OUTCOME, BookChange, Candle, Group, MarketState, Note, Order
from standins.kalshi.values import (
    BID,
    LOT,
    MS,
    SECOND,
    Json,
    count_text,
    fixed_uuid,
    iso,
    money_text,
    no_price,
    price_text,
)

GROUP_WINDOW_NS: Final = 15 * SECOND
REASONS: Final = {
    "expired": "ExpiryCancel", "closed": "CloseCancel", "reactivated": "HaltCancel",
    "off_grid": "HaltCancel", "none": "", "unfilled_ioc": "",
}  # fmt: skip


class Matching:
    """`cash_micros` is the money on each shard; `publish` gets the notes of each moment."""

    def __init__(
        self, catalog: Catalog, *, start_ns: int, cash_micros: dict[int, int], faults: FaultBox,
        direct_member: bool = True,
    ) -> None:  # fmt: skip
        self.catalog = catalog
        self.start_ns = self.now_ns = start_ns
        self.faults = faults
        self.publish: Callable[[Sequence[Note]], None] = lambda _notes: None
        self.trading_active = self.exchange_active = True
        self.resume_ns = 0
        self.history = History()
        self.ledger = Ledger(self.history, dict(cash_micros))
        self.ledger.note(start_ns)
        self.series = {s.ticker: s for s in catalog.series}
        self.events = {e.ticker: e for e in catalog.events}
        self.series_fees = {s.ticker: (s.fee_type, s.fee_multiplier) for s in catalog.series}
        self.event_fees = {e.ticker: (e.fee_type_override, e.fee_multiplier_override) for e in catalog.events}
        self.markets = [self._market(place) for place in range(len(catalog.markets))]
        self.by_ticker = {m.spec.ticker: m for m in self.markets}
        self.orders: dict[str, Order] = {}
        self.by_client: dict[str, Order] = {}
        self.groups: dict[str, Group] = {}
        self.open_of: list[dict[str, Order]] = [{} for _ in self.markets]
        self._by_key: dict[int, Order] = {}
        self._keys = itertools.count(1)
        self._direct = direct_member
        self.exchange = SimulatedExchange(
            [self._listing(m) for m in self.markets], EMPTY, np.zeros(1, d.RULES), sum(cash_micros.values())
        )
        self._taken = self.exchange.world.holdings["taken"]  # a view: reading through a row costs more
        self._flow = catalog.flow.copy()
        self._flow["exch_ns"] += start_ns
        self._times = self._flow["exch_ns"]
        self._cursor = 0
        self._frozen = np.zeros(len(self.markets), bool)
        self._schedule: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._todo: list[Callable[[], None]] = []
        self._trades: list[list[int]] = []  # recorded trades of this moment: ns, market, taker, price, left
        self._notes: list[Note] = []
        self._moved: dict[int, None] = {}  # markets whose ticker may have changed
        self._mute = False

    # --- the beginning ----------------------------------------------------------------------------

    def _market(self, place: int) -> MarketState:
        spec = self.catalog.markets[place]
        at = self.start_ns
        listed = at + int(spec.listed_in_s * SECOND)
        return MarketState(
            spec, place, open_ns=at + int(spec.open_in_s * SECOND),
            close_ns=at + int(spec.close_in_s * SECOND), visible_ns=listed, updated_ns=at,
        )  # fmt: skip

    def _listing(self, market: MarketState) -> Listed:
        spec = market.spec
        return Listed(
            market=market.place, venue="kalshi", ticker=spec.ticker, event_id=spec.event, exclusive=False,
            title=spec.title, grids=spec.grids, min_size=LOT, lot=LOT, fee_kind="kalshi", nets_positions=True,
            reduce_in_place=True, close_ns=market.close_ns,
        )  # fmt: skip

    def change_grid(self, market: MarketState, grid: int) -> None:
        """A recorded change of a market's price grid."""
        raise NotImplementedError

    # --- time -------------------------------------------------------------------------------------

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time of the venue."""
        heapq.heappush(self._schedule, (at_ns, next(self._numbers), action))

    @property
    def next_ns(self) -> int:
        """When something happens next by itself."""
        flow = int(self._times[self._cursor]) if self._cursor < len(self._times) else NEVER_NS
        due = self._schedule[0][0] if self._schedule else NEVER_NS
        return min(flow, due, self.exchange.next_ns)

    def catch_up(self, now_ns: int) -> None:
        """Let everything up to a time happen and tell it."""
        now_ns = max(now_ns, self.now_ns)
        while self._schedule and self._schedule[0][0] <= now_ns:
            due_ns, _, action = heapq.heappop(self._schedule)
            self._reach(due_ns)
            action()
        self._reach(now_ns)
        self.flush()

    def _reach(self, until_ns: int) -> None:
        until_ns = max(until_ns, self.now_ns)
        last = int(np.searchsorted(self._times, until_ns, "right"))
        rows = self._flow[self._cursor : last]
        self._cursor = last
        first = 0
        for tick in np.flatnonzero(rows["kind"] == d.TICK).tolist():
            self._flow_rows(rows[first:tick], int(rows[tick]["exch_ns"]))
            self.change_grid(self.markets[int(rows[tick]["market"])], int(rows[tick]["aux"]))
            first = tick + 1
        self._flow_rows(rows[first:], until_ns)

    def _flow_rows(self, rows: d.Array, until_ns: int) -> None:
        """Rows of everybody else; where nothing trades, the book waits."""
        if len(rows) and self._frozen.any():
            held = self._frozen[rows["market"]]
            for row in rows[held & (rows["kind"] == d.LEVEL)].tolist():
                market, side, price, size = self.markets[row[5]], row[7], row[4], row[2]
                market.waiting[side, price] = size
            rows = rows[~held]
        self._push(rows, until_ns)

    def _push(self, rows: d.Array, until_ns: int) -> None:
        if len(rows):
            self.exchange.extend(rows)
        until_ns = max(until_ns, self.now_ns)
        happened = self.exchange.advance(until_ns)
        self.now_ns = until_ns
        self.digest(happened)

    def push_row(self, market: MarketState, kind: int, **fields: int) -> None:
        """Let one row of a recording happen now."""
        row = np.zeros(1, d.EVENT)
        row["exch_ns"] = row["local_ns"] = self.now_ns
        row["market"], row["kind"] = market.place, kind
        for name, value in fields.items():
            row[name] = value
        self._push(row, self.now_ns)

    def note(self, note: Note) -> None:
        """Something to tell when this moment is over."""
        self._notes.append(note)

    def flush(self) -> None:
        """Hand what is to be told to the streams."""
        for place in self._moved:
            market = self.markets[place]
            touch = market.best()
            self._note_candle(market, touch)
            if touch != market.touch:
                market.touch = touch
                self.note(Note("ticker", "ticker", place, market.ticker_json(self.now_ns)))
        self._moved.clear()
        if self._notes:
            notes, self._notes = self._notes, []
            self.publish(notes)

    # --- what the simulated exchange says ---------------------------------------------------------

    def digest(self, happened: Sequence[Occurrence]) -> None:
        """Bring orders, books and the account up to what happened."""
        for each in happened:
            if each.event is None:
                self._tell_trades()
                self._take_rows(each.data)
            else:
                self._hear(each.exch_ns, each.event)
        self._tell_trades()
        while self._todo:
            self._todo.pop(0)()

    def hear(self, events: Sequence[Control]) -> None:
        """As `digest`, of the answers to a request."""
        for event in events:
            self._hear(self.now_ns, event)
        while self._todo:
            self._todo.pop(0)()

    def _take_rows(self, rows: d.Array) -> None:
        for at, _, size, _, price, place, kind, side, _ in rows.tolist():
            if kind == d.LEVEL:
                others = self.markets[place].others[side]
                if size:
                    others[price] = size
                else:
                    others.pop(price, None)
                self.refresh(at, self.markets[place], side, price)
            elif kind == d.TRADE:
                self._trades.append([at, place, side, price, size])

    def refresh(self, at: int, market: MarketState, side: int, price: int, client_id: str = "") -> None:
        """Tell what changed at one level of the book that everybody sees."""
        size = market.others[side].get(price, 0)
        world = self.exchange.world
        if size and self._taken[market.place]:
            level = world.grids.level_of_price[world.exchange_books[market.place].grid, price]
            size = max(0, size - int(world.consumed[market.place, side, level]))
        own = self.open_of[market.place].values()
        size += sum(o.remaining for o in own if o.side == side and o.price == price)
        size -= size % LOT
        shown = market.shown[side]
        delta = size - shown.get(price, 0)
        if not delta:
            return
        if size:
            shown[price] = size
        else:
            del shown[price]
        self._moved[market.place] = None
        body = BookChange(side, price, delta, at // MS, client_id)
        self.note(Note("orderbook_delta", "orderbook_delta", market.place, body))

    def _tell_trades(self) -> None:
        """Recorded trades, less what of them was ours and is told already."""
        trades, self._trades = self._trades, []
        for at, place, taker, price, size in trades:
            if size >= LOT:
                trade_id = fixed_uuid("flow", at, place, price, size, len(self.markets[place].trades))
                self._tell_trade(at, self.markets[place], trade_id, taker, price, size - size % LOT)

    def _tell_trade(
        self, at: int, market: MarketState, trade_id: str, taker: int, price: int, size: int
    ) -> None:
        market.last_price, market.last_size = price, size
        market.volume += size
        market.dollar_volume += price * size // 10_000
        market.open_interest += size
        self._moved[market.place] = None
        market.touch = (-1, 0, 0, 0)  # a trade is told by the ticker as well
        self._note_candle(market, market.best(), price, size)
        shared: Json = {
            "trade_id": trade_id, "yes_price_dollars": price_text(price),
            "no_price_dollars": price_text(no_price(price)), "count_fp": count_text(size),
            "taker_outcome_side": OUTCOME[taker], "taker_book_side": BOOK_SIDE[taker],
            "taker_side": OUTCOME[taker], "is_block_trade": False,
        }  # fmt: skip
        row = shared | {"ticker": market.spec.ticker, "created_time": iso(at)}
        market.trades.append(row)
        told = shared | {"market_ticker": market.spec.ticker, "ts": at // SECOND, "ts_ms": at // MS}
        self.note(Note("trade", "trade", market.place, told))

    def _note_candle(
        self, market: MarketState, touch: tuple[int, int, int, int], price: int = 0, size: int = 0
    ) -> None:
        minute = self.now_ns // (60 * SECOND) * 60 + 60
        bid, _, ask, _ = touch
        candle = market.candles.get(minute)
        if candle is None:
            candle = market.candles[minute] = Candle([bid] * 4, [ask] * 4)
        for values, value in ((candle.bid, bid), (candle.ask, ask)):
            values[1], values[2], values[3] = max(values[1], value), min(values[2], value), value
        if size:
            candle.trades.append(price)
            candle.volume += size
        candle.open_interest = market.open_interest

    def _hear(self, at: int, event: Control) -> None:
        order = self._by_key.get(getattr(event, "order_id", 0))
        if order is None:
            return
        match event:
            case Filled():
                self._filled(at, order, event)
                return
            case Accepted():
                self._changed(at, order)
            case Closed():
                self._closed(at, order, event.why)
            case Reduced():
                order.remaining = event.remaining
                order.total = order.filled + order.remaining
                self._changed(at, order)
            case Renewed():
                self._changed(at, order)
            case Refused():
                return
            case _:
                return
        self.refresh(at, self.markets[order.market], order.side, order.price, order.client_order_id)

    def _changed(self, at: int, order: Order) -> None:
        """An order is another: remember it for reads and tell it."""
        order.updated_ns = at
        self.history.note(at, ("order", order.id), order.json())
        if not self._mute:
            self.note(Note("user_orders", "user_order", order.market, order.told()))

    def tell_order(self, order: Order) -> None:
        """Tell (and list) an order that never reached the book."""
        self._changed(self.now_ns, order)

    def _closed(self, at: int, order: Order, why: str) -> None:
        if order.reason == "Replaced":  # an amendment goes on with another place in the queue
            self.open_of[order.market].pop(order.id, None)
            return
        if not order.is_open:
            return
        order.status, order.remaining = "canceled", 0
        order.reason = order.reason or order.end_reason or REASONS.get(why, "")
        self.open_of[order.market].pop(order.id, None)
        self._changed(at, order)

    def _filled(self, at: int, order: Order, fill: Filled) -> None:
        market = self.markets[order.market]
        first = len(self._notes)
        trade_id = fixed_uuid("trade", fill.trade_id)
        order.filled += fill.size
        order.remaining -= fill.size
        order.paid += fill.price * fill.size
        own = fill.price if order.side == BID else no_price(fill.price)
        cost = own * fill.size // 10_000
        if fill.maker:
            order.maker_cost, order.maker_fees = order.maker_cost + cost, order.maker_fees + fill.fee_micros
        else:
            order.taker_cost, order.taker_fees = order.taker_cost + cost, order.taker_fees + fill.fee_micros
        order.reason = "Trade"
        if order.remaining == 0:
            order.status = "executed"
            self.open_of[order.market].pop(order.id, None)
        held = self.ledger.fill(at, order, fill.price, fill.size, fill.fee_micros)
        self._changed(at, order)
        self._list_fill(at, order, fill, trade_id, held.size)
        self.ledger.note(at, market)
        told = self.ledger.told(market)
        self.note(Note("market_positions", "market_position", market.place, told))
        taker = 1 - order.side if fill.maker else order.side
        self._take_from_recording(at, market, taker, fill)
        self._tell_trade(at, market, trade_id, taker, fill.price, fill.size)
        side = order.side if fill.maker else 1 - order.side
        self.refresh(at, market, side, fill.price, order.client_order_id if fill.maker else "")
        if self.faults.settings["shuffle"] and self.faults.hits("shuffle"):
            moment = self._notes[first:]
            self.faults.chance.shuffle(moment)
            self._notes[first:] = moment
        order.reason = "" if order.is_open else order.reason
        self._count_group(at, order, fill.size)

    def _take_from_recording(self, at: int, market: MarketState, taker: int, fill: Filled) -> None:
        """Our part of a recorded trade is told once, as ours."""
        left = fill.size
        for trade in reversed(self._trades):
            if trade[0] == at and trade[1] == market.place and trade[2] == taker and left:
                taken = min(left, trade[4])
                trade[4] -= taken
                left -= taken

    def _list_fill(self, at: int, order: Order, fill: Filled, trade_id: str, position: int) -> None:
        shared: Json = {
            "trade_id": trade_id, "order_id": order.id, "market_ticker": order.ticker,
            "exchange_index": order.exchange_index, "is_taker": not fill.maker,
            "outcome_side": OUTCOME[order.side], "book_side": BOOK_SIDE[order.side],
            "side": OUTCOME[order.side], "action": "buy", "yes_price_dollars": price_text(fill.price),
            "count_fp": count_text(fill.size), "fee_cost": money_text(fill.fee_micros), "ts": at // SECOND,
        }  # fmt: skip
        row = shared | {
            "fill_id": trade_id, "ticker": order.ticker, "no_price_dollars": price_text(no_price(fill.price)),
            "created_time": iso(at), "subaccount_number": 0,
        }  # fmt: skip
        self.ledger.fills.append(row)
        self.ledger.fill_ns.append(at)
        told = shared | {
            "client_order_id": order.client_order_id, "post_position_fp": count_text(position),
            "purchased_side": OUTCOME[order.side], "subaccount": 0, "ts_ms": at // MS,
        }  # fmt: skip
        self.note(Note("fill", "fill", order.market, told))

    def _count_group(self, at: int, order: Order, size: int) -> None:
        group = self.groups.get(order.group)
        if group is None or group.triggered:
            return
        group.matched.append((at, size))
        if group.matched_by(at, GROUP_WINDOW_NS) > group.limit:
            self._todo.append(lambda: self.trigger(group))

    # --- requests of the account, after every check -----------------------------------------------

    def enter(self, order: Order, size: int, tif: int) -> str:
        """Send an order into the book; returns why it was refused, empty: it was not."""
        order.key = next(self._keys)
        self._by_key[order.key] = order
        place = Place(
            order_id=order.key, market=order.market, side=order.side, price=order.price, size=size, tif=tif,
            expiry_ns=order.expiry_s * SECOND,
        )  # fmt: skip
        order.remaining = size
        said = self.exchange.place(self.now_ns, place)
        self.hear(said)
        why = next((event.why for event in said if isinstance(event, Refused)), "")
        if not why and order.is_open:  # after its first fills: the book never shows it crossed
            self.open_of[order.market][order.id] = order
            market = self.markets[order.market]
            self.refresh(self.now_ns, market, order.side, order.price, order.client_order_id)
        return why

    def cancel(self, order: Order, reason: str = "") -> int:
        """Take an order out of the book; returns the micro-contracts that no longer rest."""
        if not order.is_open:
            return 0
        size, order.reason = order.remaining, reason
        self.hear(self.exchange.cancel(self.now_ns, Cancel(order_id=order.key, market=order.market)))
        return size

    def reduce(self, order: Order, remaining: int, reason: str) -> None:
        """Leave less of an order, in place."""
        order.reason = reason
        change = Reduce(order_id=order.key, market=order.market, remaining=remaining)
        self.hear(self.exchange.reduce(self.now_ns, change))
        if order.is_open:
            order.reason = ""

    def renew(self, order: Order, expiry_s: int) -> None:
        """Move an order's expiry, in place."""
        order.expiry_s, order.reason = expiry_s, "Amend"
        change = Renew(order_id=order.key, market=order.market, expiry_ns=expiry_s * SECOND)
        self.hear(self.exchange.renew(self.now_ns, change))
        order.reason = ""

    def replace(self, order: Order, price: int, remaining: int, tif: int) -> None:
        """The same order at another price or with more size: at the end of the queue."""
        order.reason = "Replaced"
        self.hear(self.exchange.cancel(self.now_ns, Cancel(order_id=order.key, market=order.market)))
        order.price, order.total, order.reason = price, order.filled + remaining, "Amend"
        if self.enter(order, remaining, tif):  # the book refused what every check let through
            order.status, order.remaining = "canceled", 0
            self.tell_order(order)
        order.reason = "" if order.is_open else order.reason

    def queue_ahead(self, order: Order) -> int:
        """Micro-contracts that stand before an order at its price."""
        slots = self.exchange.world.exchange_orders[order.market]
        row = slots[slots["id"] == order.key]
        row = row[row["active"] == 1]
        if not len(row):
            return 0
        own = self.open_of[order.market].values()
        before = [o for o in own if (o.side, o.price) == (order.side, order.price) and o.key < order.key]
        return int(row[0]["front"]) + sum(o.remaining for o in before)

    def free_cash(self, shard: int) -> int:
        """Cash of a shard less what its resting orders lock."""
        locked = 0
        for market in self.markets:
            if market.spec.exchange_index == shard and self.open_of[market.place]:
                locked += reserved(list(self.open_of[market.place].values()), self.position(market))
        return self.ledger.cash[shard] - locked

    def position(self, market: MarketState) -> int:
        """Signed micro-contracts."""
        held = self.ledger.positions.get(market.place)
        return held.size if held else 0

    def available(self, market: MarketState, side: int, price: int) -> int:
        """What others show at one level."""
        own = self.open_of[market.place].values()
        size = market.shown[side].get(price, 0)
        return size - sum(o.remaining for o in own if o.side == side and o.price == price)

    # --- order groups -----------------------------------------------------------------------------

    def tell_group(self, group: Group, kind: str) -> None:
        """Tell what became of a group."""
        body: Json = {"event_type": kind, "order_group_id": group.id, "ts_ms": self.now_ns // MS}
        if kind in ("created", "limit_updated"):
            body["contracts_limit_fp"] = count_text(group.limit)
        self.note(Note("order_group_updates", "order_group_updates", -1, body))

    def trigger(self, group: Group) -> None:
        """Cancel what rests in a group and take nothing more for it."""
        if not group.triggered:
            group.triggered = True
            self.tell_group(group, "triggered")
        self.cancel_group(group)

    def cancel_group(self, group: Group) -> None:
        """Cancel what rests in a group."""
        for order in [o for o in self.orders.values() if o.group == group.id and o.is_open]:
            self.cancel(order)
