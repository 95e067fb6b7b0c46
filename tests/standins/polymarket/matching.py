"""Matching behind the stand-in: orders of clients among the flow of everybody else, and the life of trades.

Nothing here knows of HTTP. Time is the caller's: `catch_up` lets the recorded flow, expiries and settlements
happen up to a time, and what streams must tell is handed to `publish` as lists of notes.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pr3dict.kernels import dtypes as d
from standins.common.history import History
from standins.polymarket.book import Match, Resting, book_hash
from standins.polymarket.catalog import Catalog
from standins.polymarket.crypto import ADDRESSES
from standins.polymarket.errors import OrderError
from standins.polymarket.faults import FaultBox
from standins.polymarket.ledger import HOUSE, Ledger
from standins.polymarket.state import (
    CROWD,
    FAK,
    FOK,
    Account,
    Leg,
    MarketState,
    Note,
    Order,
    Share,
    Trade,
    fee_of,
)
from standins.polymarket.values import (
    BID,
    BUY,
    DOLLAR,
    MS,
    NO,
    PUSD,
    SECOND,
    SELL,
    YES,
    Json,
    cost_of,
    cost_up,
    day_of,
    decimal_text,
    new_hash,
    new_uuid,
    opposite,
    price_text,
)

NEVER_NS: Final = 2**63 - 1
LONGEST_LAG_NS: Final = 120 * SECOND
EXPIRES_EARLY_S: Final = 60
LEAST_TAKEN_MICROS: Final = 1_000_000  # marketable orders need a dollar
FOK_TEXT: Final = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_TEXT: Final = (
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
)
NO_MONEY: Final = "not enough balance / allowance"
CROSSES: Final = "invalid post-only order: order crosses book"


class Matching:
    """Markets, accounts, orders and trades. `publish` gets the notes of each moment."""

    def __init__(self, catalog: Catalog, *, start_ns: int, faults: FaultBox) -> None:
        self.catalog = catalog
        self.start_ns = self.now_ns = start_ns
        self.faults = faults
        self.publish: Callable[[Sequence[Note]], None] | None = None  # None: nobody listens
        self.history = History()
        self.ledger = Ledger(self.history)
        self.events = {event.slug: event for event in catalog.events}
        self.markets = [self._market(place) for place in range(len(catalog.markets))]
        self.by_condition = {m.spec.condition: m for m in self.markets}
        self.by_asset = {asset: (m, token) for m in self.markets for token, asset in enumerate(m.tokens)}
        self.accounts: dict[str, Account] = {}  # by wallet
        self.owner_of: dict[str, str] = {}  # EOA by API key
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.ended: deque[tuple[int, Order]] = deque()  # of late, for reads that lag
        self.trades: dict[str, Trade] = {}
        self.trade_ids: dict[str, list[str]] = defaultdict(list)  # by EOA
        self.maker_fees: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._flow = catalog.flow.copy()
        self._flow["exch_ns"] += start_ns
        self._times = self._flow["exch_ns"]
        self._cursor = 0
        self._schedule: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._notes: list[Note] = []

    def _market(self, place: int) -> MarketState:
        spec, at = self.catalog.markets[place], self.start_ns
        market = MarketState(
            spec, self.events[spec.event], place, ready_ns=at + int(spec.ready_in_s * SECOND),
            end_ns=at + int(spec.end_in_s * SECOND), start_ns=at, tick=spec.ticks[0],
            rewards_min_size=spec.rewards_min_size,
        )  # fmt: skip
        if spec.game_start_in_s is not None:
            market.game_start_ns = market.listed_start_ns = at + int(spec.game_start_in_s * SECOND)
        return market

    # --- time -------------------------------------------------------------------------------------

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time of the venue."""
        heapq.heappush(self._schedule, (at_ns, next(self._numbers), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something some venue seconds from now."""
        self.at(self.now_ns + int(seconds * SECOND), action)

    @property
    def next_ns(self) -> int:
        """When something happens next by itself."""
        flow = int(self._times[self._cursor]) if self._cursor < len(self._times) else NEVER_NS
        return min(flow, self._schedule[0][0] if self._schedule else NEVER_NS)

    def catch_up(self, now_ns: int) -> None:
        """Let everything up to a time happen and tell it, moment by moment."""
        now_ns = max(now_ns, self.now_ns)
        while self._schedule and self._schedule[0][0] <= now_ns:
            due_ns, _, action = heapq.heappop(self._schedule)
            self._flow_until(due_ns)
            action()
            self.flush()
        self._flow_until(now_ns)
        self.flush()

    def _flow_until(self, until_ns: int) -> None:
        until_ns = max(until_ns, self.now_ns)
        last = int(np.searchsorted(self._times, until_ns, "right"))
        rows = self._flow[self._cursor : last].tolist()
        self._cursor = last
        for at, _, size, aux, price, place, kind, side, _ in rows:
            if at != self.now_ns:
                self.flush()
                self.now_ns = max(at, self.now_ns)
            market = self.markets[place]
            if kind == d.LEVEL:
                self.crowd_level(market, side, price, size)
            elif kind == d.TRADE:
                self.crowd_trade(market, side, price, size)
            elif kind == d.TICK:
                self.change_tick(market, market.spec.ticks[aux % len(market.spec.ticks)])
        if until_ns != self.now_ns:
            self.flush()
        self.now_ns = until_ns

    def change_tick(self, market: MarketState, tick: int) -> None:
        """Another price grid."""
        raise NotImplementedError

    # --- everybody else ---------------------------------------------------------------------------

    def crowd_level(self, market: MarketState, side: int, price: int, size: int) -> None:
        """What others show at a level becomes this, but for what our clients took of it."""
        recorded = market.recorded[side]
        delta = size - recorded.get(price, 0)
        recorded[price] = size
        if market.status == "resolved":
            return
        told = min(market.traded[side].pop(price, 0), max(-delta, 0))  # what trades have taken already
        if size == 0:
            market.book.withdraw(side, price, market.book.others(side, price))
        elif delta < 0:
            market.book.withdraw(side, price, -delta - told)
        elif delta > 0:
            left = self._crowd_takes(market, side, price, delta)
            if left:
                market.book.add(Resting(side, price, left, self._crowd_token()))

    def crowd_trade(self, market: MarketState, side: int, price: int, size: int) -> None:
        """Somebody takes at a price or better; `side` is the taker's."""
        if market.status == "resolved":
            return
        self._crowd_takes(market, side, price, size)
        traded = market.traded[1 - side]
        traded[price] = traded.get(price, 0) + size

    def _crowd_token(self) -> int:
        return self.faults.chance.choice((YES, NO))

    def _crowd_takes(self, market: MarketState, side: int, price: int, size: int) -> int:
        """Somebody's order up to a price; returns what of it is left."""
        plan = market.book.plan(side, price, size=size)
        if not plan:
            return size
        token = self._crowd_token()
        action = BUY if (side == BID) == (token == YES) else SELL
        for group in _by_price(plan):
            chance = self.faults.chance
            if any(match.resting.order for match in group):
                taker_id, key = new_hash(chance), new_uuid(chance)
                self._trade(market, None, taker_id, key, token, action, group)
            else:
                self._crowd_only(market, token, action, group)
        return size - sum(match.size for match in plan)

    def _crowd_only(self, market: MarketState, token: int, action: str, group: list[Match]) -> None:
        """Others among themselves: nobody's account changes."""
        size, yes_price = sum(match.size for match in group), group[0].resting.price
        for match in group:
            market.book.shrink(match.resting, match.size)
        self._tell_last(market, token, action, yes_price, size, new_hash(self.faults.chance))
        day = day_of(self.now_ns)
        fee = fee_of(size, yes_price, market.fee_rate_ppm)
        market.fees_micros[day] = market.fees_micros.get(day, 0) + fee
        self.maker_fees[day, market.place][CROWD] += fee

    # --- orders -----------------------------------------------------------------------------------

    def _plan(self, order: Order) -> list[Match]:
        return order.market.book.plan(
            order.side, order.yes_price, size=order.size, budget=order.budget, token=order.token
        )

    def enter(self, order: Order, *, again: bool = False) -> list[Trade]:
        """Take an order: match it, let the rest wait, or hold it back; returns its trades.

        Raises:
            OrderError: it is refused, and nothing of it happened.
        """
        plan = self._plan(order)
        if plan and order.post_only:
            raise OrderError(CROSSES)
        if not plan and order.kind == FAK:
            raise OrderError(FAK_TEXT)
        if order.kind == FOK and not self._fills(order, plan):
            raise OrderError(FOK_TEXT)
        taken = sum(cost_of(match.size, _own(order, match)) for match in plan)
        if plan and not again and (order.budget or cost_of(order.size, order.price)) < LEAST_TAKEN_MICROS:
            raise OrderError(f"invalid amount for a marketable {order.action} order, min size: $1")
        self._check_money(order, plan, taken)
        self.orders[order.id] = order
        if plan and order.market.spec.hold_s and not again:
            order.status, order.waiting = "DELAYED", True
            self.open[order.id] = order
            self.tell_order(order, "PLACEMENT")
            self.after(order.market.spec.hold_s, lambda: self._release(order))
            return []
        return self._execute(order, plan, again=again)

    def _fills(self, order: Order, plan: list[Match]) -> bool:
        if not order.budget:
            return sum(match.size for match in plan) == order.size
        left = order.budget - sum(cost_of(match.size, _own(order, match)) for match in plan)
        return bool(plan) and left <= 1  # less than a micro-share is no share

    def _check_money(self, order: Order, plan: list[Match], taken: int) -> None:
        fee = sum(
            fee_of(sum(m.size for m in group), group[0].resting.price, order.market.fee_rate_ppm)
            for group in _by_price(plan)
        )
        if order.action == SELL:
            need = order.size
        elif order.budget:
            need = taken + fee
        else:
            rest = order.size - sum(match.size for match in plan)
            need = taken + fee + cost_up(rest, order.price)
        account, market = order.account, order.market
        exchange = self.exchange_address(market)
        if order.action == BUY:
            allowed = account.spenders.get(exchange, 0) >= need
        else:
            allowed = exchange in account.operators
        others = [o for o in self.open.values() if o is not order]
        if not allowed or need > self.ledger.available(account.wallet, order.spends, others):
            raise OrderError(NO_MONEY)

    def exchange_address(self, market: MarketState) -> str:
        """The contract that settles a market."""
        return ADDRESSES[market.exchange]

    def _release(self, order: Order) -> None:
        """A taker hold is over: look at the order again; it fills, or it rests."""
        if not order.waiting:
            return
        order.waiting = False
        del self.open[order.id]
        order.status = "LIVE"
        try:
            self.enter(order, again=True)
        except OrderError as error:
            self._over(
                order, f"CANCELED_{error}" if str(error) != NO_MONEY else "CANCELED_NOT_ENOUGH_BALANCE"
            )

    def _execute(self, order: Order, plan: list[Match], *, again: bool) -> list[Trade]:
        market, key = order.market, order.key
        if not again:
            self.tell_order(order, "PLACEMENT")
        made = [
            self._trade(market, order, order.id, key, order.token, order.action, group)
            for group in _by_price(plan)
        ]
        left = 0 if order.budget else order.size - order.matched
        if order.kind in (FAK, FOK):
            order.status = "MATCHED"
        elif left:
            order.resting = Resting(order.side, order.yes_price, left, order.token, order)
            market.book.add(order.resting)
            self.open[order.id] = order
            order.status = "UNMATCHED" if again and not made else order.status  # it waited in vain
        else:
            order.status = "MATCHED"
        if made or again:
            self.tell_order(order, "UPDATE")
        else:
            self._remember(order)
        return made

    def _trade(
        self, market: MarketState, taker: Order | None, taker_id: str, key: str, token: int, action: str,
        group: list[Match],
    ) -> Trade:  # fmt: skip
        """One taker against what rests at one price."""
        yes_price = group[0].resting.price
        price = yes_price if token == YES else opposite(yes_price)
        size = sum(match.size for match in group)
        trade = Trade(
            new_uuid(self.faults.chance), market, taker_id, key, taker.account.wallet if taker else CROWD,
            taker, token, action, price, size, fee_of(size, price, market.fee_rate_ppm), self.now_ns, [],
            updated_ns=self.now_ns,
        )  # fmt: skip
        cost = 0
        for match in group:
            share = self._share(match)
            trade.makers.append(share)
            part = cost_of(match.size, price)
            cost += part
            self._settlement(trade, share, part)
            market.book.shrink(match.resting, match.size)
            self.maker_fees[day_of(self.now_ns), market.place][share.wallet] += fee_of(
                match.size, price, market.fee_rate_ppm
            )
        trade.legs += [Leg(trade.taker_wallet, PUSD, -trade.fee), Leg(HOUSE, PUSD, trade.fee)]
        if taker:
            taker.matched += size
            taker.paid += cost
            taker.trades.append(trade.id)
        self._book_trade(trade)
        return trade

    def _share(self, match: Match) -> Share:
        resting, order = match.resting, match.resting.order
        price = resting.price if resting.token == YES else opposite(resting.price)
        action = BUY if (resting.side == BID) == (resting.token == YES) else SELL
        if order is None:
            chance = self.faults.chance
            return Share(
                new_hash(chance), new_uuid(chance), CROWD, resting.token, action, price, match.size, None
            )
        return Share(order.id, order.key, order.account.wallet, order.token, action, price, match.size, order)

    def _settlement(self, trade: Trade, share: Share, cost: int) -> None:
        """What changes hands between the taker and one maker: swap, mint or merge. `cost` is the taker's."""
        taker, maker, size = trade.taker_wallet, share.wallet, share.size
        assets = trade.market.tokens
        taken, made = assets[trade.token], assets[share.token]
        if trade.action == BUY:
            trade.legs += [Leg(taker, PUSD, -cost), Leg(taker, taken, size)]
        else:
            trade.legs += [Leg(taker, PUSD, cost), Leg(taker, taken, -size)]
        if share.action == SELL:
            proceeds = cost if trade.action == BUY else size - cost
            trade.legs += [Leg(maker, PUSD, proceeds), Leg(maker, made, -size)]
        else:
            spent = cost if trade.action == SELL else size - cost
            trade.legs += [Leg(maker, PUSD, -spent), Leg(maker, made, size)]
        if trade.token != share.token:
            trade.minted += size if trade.action == BUY else -size

    def _book_trade(self, trade: Trade) -> None:
        """Tell a trade, list it for its parties, and let it go to the chain."""
        market = trade.market
        self.trades[trade.id] = trade
        self.ledger.moving[trade.id] = trade
        for owner in {self.owner_of[key] for key in trade.parties()}:
            self.trade_ids[owner].append(trade.id)
        day = day_of(self.now_ns)
        market.fees_micros[day] = market.fees_micros.get(day, 0) + trade.fee
        self.tell_trade(trade)
        for share in trade.makers:
            if share.order:
                self._maker_filled(share.order, trade, share.size)
        yes_price = trade.price if trade.token == YES else opposite(trade.price)
        self._tell_last(
            market, trade.token, trade.action, yes_price, trade.size, new_hash(self.faults.chance)
        )
        self.after(self.faults.draw("mine_s"), lambda: self._mine(trade, retried=False))

    def _maker_filled(self, order: Order, trade: Trade, size: int) -> None:
        order.matched += size
        order.paid += cost_of(size, order.price)
        if trade.id not in order.trades:
            order.trades.append(trade.id)
        order.status = "LIVE" if order.left else "MATCHED"
        if not order.left:
            self.open.pop(order.id, None)
        self.tell_order(order, "UPDATE")

    def _mine(self, trade: Trade, *, retried: bool) -> None:
        chance = self.faults.chance
        trade.hash = new_hash(chance)
        if self.faults.hits("trade_failed"):
            self.ledger.moving.pop(trade.id, None)
            self._advance(trade, "FAILED")
        elif not retried and self.faults.hits("trade_retrying"):
            self._advance(trade, "RETRYING")
            self.after(self.faults.draw("retry_s"), lambda: self._mine(trade, retried=True))
        else:
            self._advance(trade, "MINED")
            self.after(self.faults.draw("confirm_s"), lambda: self._confirm(trade))

    def _confirm(self, trade: Trade) -> None:
        self.ledger.settle(self.now_ns, trade)
        self._advance(trade, "CONFIRMED")

    def _advance(self, trade: Trade, status: str) -> None:
        trade.status, trade.updated_ns = status, self.now_ns
        self.tell_trade(trade)

    # --- the end of orders ------------------------------------------------------------------------

    def cancel(self, order: Order, status: str = "CANCELED") -> bool:
        """Take an order out of the book; False: it does not rest."""
        if order.id not in self.open or order.waiting:
            return False
        del self.open[order.id]
        if order.resting and order.resting.left:
            order.market.book.shrink(order.resting, order.resting.left)
        self._over(order, status)
        return True

    def _over(self, order: Order, status: str) -> None:
        order.status = status
        self.tell_order(order, "CANCELLATION")

    def expire_at(self, order: Order) -> None:
        """A GTD order ends a minute before it says."""
        due_ns = (order.expiry_s - EXPIRES_EARLY_S) * SECOND

        def expire() -> None:
            self.cancel(order, "CANCELED_EXPIRED_ORDER")

        self.at(due_ns, expire)

    def sweep(self) -> None:
        """Cancel, newest first, what an account can no longer pay."""
        needs: dict[tuple[str, str], list[Order]] = defaultdict(list)
        for order in self.open.values():
            needs[order.account.wallet, order.spends].append(order)
        for (wallet, asset), orders in needs.items():
            short = -self.ledger.available(wallet, asset, orders)
            for order in reversed(orders):
                if short <= 0:
                    break
                kept = order.reserved()
                if self.cancel(order, "CANCELED_NOT_ENOUGH_BALANCE"):
                    short -= kept

    # --- telling ----------------------------------------------------------------------------------

    def note(self, note: Note) -> None:
        """Something to tell when this moment is over."""
        self._notes.append(note)

    def _remember(self, order: Order) -> None:
        rests = order.id in self.open
        self.history.note(self.now_ns, ("order", order.id), (rests, order.json()))
        if not rests:
            self.ended.append((self.now_ns, order))
            while self.ended[0][0] < self.now_ns - LONGEST_LAG_NS:
                self.ended.popleft()

    def tell_order(self, order: Order, kind: str) -> None:
        """An event of an order, to its owner."""
        self._remember(order)
        place = order.market.place
        self.note(Note(place, order.told(kind, self.now_ns), self.owner_of[order.key]))

    def tell_trade(self, trade: Trade) -> None:
        """An event of a trade, to each of its parties; the others' rows are in it as well."""
        parties = trade.parties()
        self.history.note(self.now_ns, ("trade", trade.id), {k: trade.json(r) for k, r in parties.items()})
        for key, role in parties.items():
            self.note(Note(trade.market.place, trade.told(key, role), self.owner_of[key]))

    def _tell_last(
        self, market: MarketState, token: int, action: str, yes_price: int, size: int, tx: str
    ) -> None:
        price = yes_price if token == YES else opposite(yes_price)
        asset = market.tokens[token]
        market.last_price, market.last_side = yes_price, action
        market.volume_micros += cost_of(size, price)
        market.prices.append((self.now_ns // SECOND, yes_price))
        body = {
            "event_type": "last_trade_price", "market": market.spec.condition, "asset_id": asset,
            "price": price_text(price), "size": decimal_text(size), "side": action, "fee_rate_bps": "0",
            "timestamp": str(self.now_ns // MS), "transaction_hash": tx,
        }  # fmt: skip
        self.note(Note(market.place, body, assets=(asset,)))

    def flush(self) -> None:
        """Hand what is to be told to the streams: first the books of this moment, then the rest."""
        books: list[Note] = []
        for market in self.markets:
            if market.book.touched:
                books += self._book_notes(market)
        if self._notes or books:
            notes, self._notes = [*books, *self._notes], []
            if self.publish is not None:
                self.publish(notes)

    def book_json(self, market: MarketState, token: int) -> Json:
        """A `book` event of one token without its hash."""
        raise NotImplementedError

    def _book_notes(self, market: MarketState) -> list[Note]:
        touched, market.book.touched = market.book.touched, {}
        bid, ask = market.book.best()
        if self.publish is None:
            market.touch = (bid, ask)
            return []
        rows = []
        marks = [book_hash(self.book_json(market, token)) for token in (YES, NO)]  # each covers a whole book
        for side, price in touched:
            size = decimal_text(market.book.totals[side].get(price, 0))
            rows += [_row(market, token, side, price, size, bid, ask, marks[token]) for token in (YES, NO)]
        stamp, condition = str(self.now_ns // MS), market.spec.condition
        change = {
            "event_type": "price_change", "market": condition, "timestamp": stamp, "price_changes": rows,
        }  # fmt: skip
        found = [Note(market.place, change, assets=market.tokens)]
        if (bid, ask) != market.touch:
            market.touch = (bid, ask)
            for token in (YES, NO):
                best, worst = (bid, ask) if token == YES else (opposite(ask), opposite(bid))
                body = {
                    "event_type": "best_bid_ask", "market": condition, "asset_id": market.tokens[token],
                    "best_bid": price_text(best), "best_ask": price_text(worst),
                    "spread": price_text(worst - best), "timestamp": stamp,
                }  # fmt: skip
                found.append(Note(market.place, body, assets=(market.tokens[token],), custom=True))
        return found


def _row(
    market: MarketState, token: int, side: int, price: int, size: str, bid: int, ask: int, mark: str
) -> Json:
    """A row of a price_change: what a level of the one book is on one token."""
    if token == NO:
        side, price, bid, ask = 1 - side, opposite(price), opposite(ask), opposite(bid)
    asset = market.tokens[token]
    return {
        "asset_id": asset, "price": price_text(price), "size": size, "side": BUY if side == BID else SELL,
        "hash": mark, "best_bid": price_text(bid) if bid else "0",
        "best_ask": price_text(ask) if ask < DOLLAR else "1",
    }  # fmt: skip


def _own(order: Order, match: Match) -> int:
    """A match's price on the order's token."""
    return match.resting.price if order.token == YES else opposite(match.resting.price)


def _by_price(plan: list[Match]) -> list[list[Match]]:
    """What an order meets at each price."""
    return [list(group) for _, group in itertools.groupby(plan, lambda match: match.resting.price)]
