"""The lives of the stand-in's markets, its restarts, its heartbeats, and its accounts."""

from __future__ import annotations

from functools import partial
from typing import Final

from standins.polymarket.catalog import Catalog
from standins.polymarket.crypto import checksum
from standins.polymarket.faults import FaultBox
from standins.polymarket.matching import Matching
from standins.polymarket.rewards import SAMPLE_S, Rewards
from standins.polymarket.state import Account, MarketState, Note, Order, market_id
from standins.polymarket.values import (
    DOLLAR,
    MS,
    NO,
    SECOND,
    YES,
    Json,
    decimal_text,
    new_uuid,
    opposite,
    price_text,
)

HEARTBEAT_S: Final = 10
SWEEP_S: Final = 5
FINE_ABOVE: Final = 9_600  # and below one dollar less that: the tick becomes finer, once
OPEN, RESTARTING, POST_ONLY, CANCEL_ONLY = "open", "restarting", "post_only", "cancel_only"


class Venue(Matching):
    """Matching, and what moves markets and the exchange as a whole."""

    def __init__(self, catalog: Catalog, *, start_ns: int, faults: FaultBox) -> None:
        super().__init__(catalog, start_ns=start_ns, faults=faults)
        self.mode = OPEN
        self.mode_until_ns = 0
        self.beats: dict[str, tuple[str, int]] = {}  # API key: the id expected next, when the last came
        self.rewards = Rewards(self)
        self._begin()

    def _begin(self) -> None:
        for market in self.markets:
            if market.ready_ns > self.now_ns:
                market.status, market.accepting = "waiting", False
                self.at(market.ready_ns, partial(self._ready, market))
            if market.game_start_ns:
                self.start_game(market, market.game_start_ns)
            due_ns = self.start_ns + int(market.spec.resolve_in_s * SECOND)
            self.at(due_ns, partial(self.resolve, market, market.spec.result))
        self.after(SAMPLE_S, self.rewards.sample)
        day_ns = 86_400 * SECOND
        self.at((self.now_ns // day_ns + 1) * day_ns, self.rewards.midnight)
        self.after(SWEEP_S, self._sweep_beats)
        self.catch_up(self.now_ns)

    # --- accounts ---------------------------------------------------------------------------------

    def open_account(
        self, owner: str, *, wallet: str = "", kind: int = 0, cash_micros: int = 0, approved: bool = True,
        deployed: bool = True,
    ) -> Account:  # fmt: skip
        """A wallet of an owner, with money in it."""
        owner, wallet = checksum(owner), checksum(wallet or owner)
        account = self.accounts.get(wallet)
        if account is None:
            account = self.accounts[wallet] = Account(wallet, owner, kind, deployed)
            if approved:
                account.approve_all()
            self.ledger.note(self.now_ns, wallet)
        if cash_micros:
            self.ledger.deposit(self.now_ns, wallet, cash_micros)
        return account

    def account_of(self, owner: str, kind: int | None = None) -> Account | None:
        """An owner's wallet of a kind; None: the first that has one."""
        mine = [account for account in self.accounts.values() if account.owner == owner]
        fitting = [account for account in mine if kind is None or account.kind == kind]
        return fitting[0] if fitting else None

    def move_money(self, account: Account, micros: int) -> None:
        """A deposit, or a withdrawal where it is negative."""
        self.ledger.deposit(self.now_ns, account.wallet, micros)
        self.sweep()

    # --- markets ----------------------------------------------------------------------------------

    def _ready(self, market: MarketState) -> None:
        market.status, market.accepting = "active", True
        spec = market.spec
        body = {
            "event_type": "new_market", "id": market_id(market.place), "market": spec.condition,
            "condition_id": spec.condition, "question": spec.question, "slug": spec.slug,
            "assets_ids": list(spec.tokens), "clob_token_ids": list(spec.tokens),
            "outcomes": list(spec.outcomes), "active": True,
            "order_price_min_tick_size": price_text(market.tick), "game_start_time": None,
            "tags": [spec.category], "timestamp": self._stamp(),
        }  # fmt: skip
        self.note(Note(market.place, body, custom=True))

    def _stamp(self) -> str:
        return str(self.now_ns // MS)

    def book_json(self, market: MarketState, token: int) -> Json:
        """A `book` event without its hash."""
        bids, asks = market.book.shown(token)
        last = market.last_price
        return {
            "market": market.spec.condition, "asset_id": market.tokens[token], "timestamp": self._stamp(),
            "hash": "", "bids": _levels(bids), "asks": _levels(asks),
            "min_order_size": str(market.spec.min_size), "tick_size": price_text(market.tick),
            "neg_risk": market.neg_risk,
            "last_trade_price": price_text(last if token == YES else opposite(last)) if last else "",
        }  # fmt: skip

    def change_tick(self, market: MarketState, tick: int) -> None:
        """Another price grid: orders off it end, and both tokens' books are told anew."""
        if tick == market.tick or market.status == "resolved":
            return
        old, market.tick = market.tick, tick
        for order in [o for o in self.open.values() if o.market is market and o.price % tick]:
            self.cancel(order, "INVALID")
        for side in (0, 1):
            for price in [p for p in market.book.totals[side] if p % tick]:
                market.book.withdraw(side, price, market.book.others(side, price))
        for token in (YES, NO):
            asset = market.tokens[token]
            body = {
                "event_type": "tick_size_change", "market": market.spec.condition, "asset_id": asset,
                "old_tick_size": price_text(old), "new_tick_size": price_text(tick),
                "timestamp": self._stamp(),
            }  # fmt: skip
            self.note(Note(market.place, body, assets=(asset,)))
        self.flush()
        for token in (YES, NO):
            told = {"event_type": "book"} | self.book_json(market, token)
            self.note(Note(market.place, told, assets=(market.tokens[token],)))

    def flush(self) -> None:
        """As ever; then a market near its end gets its finer tick."""
        moved = [m for m in self.markets if m.spec.auto_tick and m.book.touched]
        super().flush()
        for market in moved:
            bid, ask = market.book.best()
            fine = min(market.spec.ticks)
            ends = bid >= FINE_ABOVE or ask <= DOLLAR - FINE_ABOVE
            if ends and market.tick > fine:
                self.change_tick(market, fine)

    def start_game(self, market: MarketState, at_ns: int) -> None:
        """A market's game starts then, whatever was said before."""
        market.game_start_ns = at_ns

        def start() -> None:
            if market.game_start_ns == at_ns and market.spec.clears_at_start:
                self.clear_book(market)

        self.at(at_ns, start)

    def clear_book(self, market: MarketState) -> None:
        """Everybody's resting orders end, as when a game starts."""
        for order in [o for o in self.open.values() if o.market is market]:
            self.cancel(order)
        for side in (0, 1):
            for price in list(market.book.totals[side]):
                market.book.withdraw(side, price, market.book.others(side, price))
            market.recorded[side].clear()

    def resolve(self, market: MarketState, result: str) -> None:
        """The result is known: yes, no or void; orders end and tokens can be redeemed."""
        if market.status == "resolved":
            return
        for order in [o for o in self.open.values() if o.market is market]:
            order.waiting = False
            self.cancel(order, "CANCELED_MARKET_RESOLVED")
        self.clear_book(market)
        market.status, market.accepting, market.uma = "resolved", False, "resolved"
        market.winner = {"yes": YES, "no": NO}.get(result)
        spec = market.spec
        body = {
            "event_type": "market_resolved", "id": market_id(market.place), "market": spec.condition,
            "assets_ids": list(spec.tokens), "timestamp": self._stamp(),
        }  # fmt: skip
        if market.winner is not None:
            body |= {
                "winning_asset_id": spec.tokens[market.winner],
                "winning_outcome": spec.outcomes[market.winner],
            }
        if not self.faults.hits("drop_resolved"):
            self.note(Note(market.place, body, assets=market.tokens, custom=True))

    # --- the whole exchange -----------------------------------------------------------------------

    def restart(self, seconds: float, post_only_s: float, loses: float = 0.0) -> None:
        """425 for a while, then post-only; `loses` is the share of orders that are gone untold."""
        self.mode, self.mode_until_ns = RESTARTING, self.now_ns + int(seconds * SECOND)
        for order in list(self.open.values()):
            if loses and self.faults.chance.random() < loses:
                self._notes, told = [], self._notes
                self.cancel(order)
                self._notes = told
        until_ns = self.mode_until_ns
        self.at(until_ns, lambda: self._reopen(until_ns, post_only_s))

    def _reopen(self, until_ns: int, post_only_s: float) -> None:
        if self.mode == RESTARTING and self.mode_until_ns == until_ns:
            self.restrict(POST_ONLY, post_only_s)

    def restrict(self, mode: str, seconds: float) -> None:
        """Post-only or cancel-only for a while."""
        self.mode, self.mode_until_ns = mode, self.now_ns + int(seconds * SECOND)
        until_ns = self.mode_until_ns
        self.at(until_ns, lambda: self._free(mode, until_ns))

    def _free(self, mode: str, until_ns: int) -> None:
        if (self.mode, self.mode_until_ns) == (mode, until_ns):
            self.mode = OPEN

    # --- heartbeats -------------------------------------------------------------------------------

    def beat(self, key: str, given: str) -> tuple[bool, str]:
        """A heartbeat of an API key: whether its id was right, and which is expected next."""
        expected = self.beats.get(key, ("", 0))[0]
        if given != expected:
            return False, expected
        fresh = new_uuid(self.faults.chance)
        self.beats[key] = (fresh, self.now_ns)
        return True, fresh

    def _sweep_beats(self) -> None:
        for key, (_, at_ns) in list(self.beats.items()):
            if self.now_ns - at_ns > HEARTBEAT_S * SECOND:
                for order in self.of_key(key):
                    self.cancel(order)
        self.after(SWEEP_S, self._sweep_beats)

    def of_key(self, key: str) -> list[Order]:
        """The open orders of an API key."""
        return [order for order in self.open.values() if order.key == key]

    # --- truth ------------------------------------------------------------------------------------

    def unexplained(self) -> list[str]:
        """Where the venue's own books disagree; empty: they agree."""
        found = self.ledger.faults(self.markets)
        rests = set()
        for market in self.markets:
            bid, ask = market.book.best()
            if bid >= ask:
                found.append(f"{market.spec.slug}: bid {bid}, ask {ask}")
            totals: tuple[dict[int, int], dict[int, int]] = ({}, {})
            for each in market.book.orders():
                totals[each.side][each.price] = totals[each.side].get(each.price, 0) + each.left
                if each.order:
                    rests.add(each.order.id)
                    if each.order.size - each.order.matched != each.left:
                        found.append(f"{each.order.id}: {each.left} rests of {each.order}")
            if totals != market.book.totals:
                found.append(f"{market.spec.slug}: levels {totals}, totals {market.book.totals}")
        waiting = {order.id for order in self.open.values() if order.waiting}
        if rests | waiting != set(self.open):
            found.append(f"resting {sorted(rests)}, open {sorted(self.open)}")
        return found


def _levels(levels: list[tuple[int, int]]) -> list[Json]:
    return [{"price": price_text(price), "size": decimal_text(size)} for price, size in levels]
