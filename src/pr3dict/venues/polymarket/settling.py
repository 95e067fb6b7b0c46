"""Our trades on their way onto the chain: matched, mined, confirmed or failed, each told once.

A trade counts from the match on and is provisional until it is confirmed; one that failed never was. Trades
are told again at every step, by two routes, in any order: what is told here is only what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pr3dict.domain.events import Control, Filled, FillFinal, FillVoided
from pr3dict.domain.units import BID, PRICE_SCALE
from pr3dict.venues.polymarket.account_models import TradeState

KEPT: Final = 1 << 16  # trades that are over, and remembered
_ON_CHAIN: Final = frozenset({TradeState.MINED, TradeState.CONFIRMED})
Key = tuple[int, str]  # market, trade id


class Moved:
    """What a fill moves at the venue, once it is on the chain: tokens, and dollars without its fee."""

    __slots__ = ("cash_micros", "no_contracts", "yes_contracts")

    def __init__(self) -> None:
        self.yes_contracts = 0
        self.no_contracts = 0
        self.cash_micros = 0

    def add(self, fill: Filled) -> None:
        """One more fill."""
        of_no = (fill.side == BID) == fill.sell
        price = PRICE_SCALE - fill.price if of_no else fill.price
        tokens = -fill.size if fill.sell else fill.size
        self.cash_micros -= -(-price * tokens // PRICE_SCALE) + fill.fee_micros
        if of_no:
            self.no_contracts += tokens
        else:
            self.yes_contracts += tokens


class Settling:
    """What became of each of our fills."""

    def __init__(self) -> None:
        self._pending: dict[Key, tuple[Filled, TradeState]] = {}
        self._over: dict[Key, TradeState] = {}
        self.unknown_states = 0
        self.confirmed: dict[int, Moved] = {}  # by market, all that was confirmed since the start

    def __len__(self) -> int:
        """Fills that may still be voided."""
        return len(self._pending)

    def recall(self, fill: Filled) -> None:
        """A fill of an earlier process that may still be voided; the next news of it says more."""
        self._pending[fill.market, fill.trade_id] = fill, TradeState.MATCHED

    def note(self, fill: Filled, state: TradeState) -> tuple[Control, ...]:
        """A fill was told in some state (`fill.final` is not looked at): the events of what is new in it."""
        key = fill.market, fill.trade_id
        self.unknown_states += state is TradeState.UNKNOWN
        ended = self._over.get(key)
        if ended is not None:
            return self._after_end(fill, ended, state)
        known = self._pending.get(key)
        if state is TradeState.CONFIRMED:
            self._end(key, state)
            self.confirmed.setdefault(fill.market, Moved()).add(fill)
            if known is None:
                return (_as(fill, final=True),)
            return (FillFinal(market=fill.market, trade_id=fill.trade_id),)
        if state is TradeState.FAILED:
            self._end(key, state)
            void = FillVoided(market=fill.market, trade_id=fill.trade_id, why="the venue says that it failed")
            return (void,) if known is not None else (_as(fill, final=False), void)
        if known is None:
            self._pending[key] = fill, state
            return (_as(fill, final=False),)
        if known[1] is not state and not (known[1] is TradeState.MINED and state is TradeState.MATCHED):
            self._pending[key] = known[0], state
        return ()

    def _after_end(self, fill: Filled, ended: TradeState, state: TradeState) -> tuple[Control, ...]:
        """News of a trade that was over: late ones are none, the other end is a contradiction to be told."""
        if state is ended or state not in (TradeState.CONFIRMED, TradeState.FAILED):
            return ()
        if state is TradeState.CONFIRMED:
            return (FillFinal(market=fill.market, trade_id=fill.trade_id),)
        return (
            FillVoided(market=fill.market, trade_id=fill.trade_id, why="it failed after it was confirmed"),
        )

    def _end(self, key: Key, state: TradeState) -> None:
        self._pending.pop(key, None)
        self._over[key] = state
        if len(self._over) > KEPT:
            del self._over[next(iter(self._over))]

    def is_known(self, market: int, trade_id: str) -> bool:
        """Whether a fill was told already."""
        return (market, trade_id) in self._pending or (market, trade_id) in self._over

    def oldest_ns(self) -> int:
        """When the oldest fill that may still be voided was matched; 0: there is none."""
        return min((fill.exch_ns for fill, _ in self._pending.values()), default=0)

    def markets(self) -> set[int]:
        """Markets with fills that may still be voided: their balances may move at any time."""
        return {market for market, _ in self._pending}

    def off_chain(self) -> Iterator[Filled]:
        """Fills that no balance shows yet."""
        return (fill for fill, state in self._pending.values() if state not in _ON_CHAIN)

    def pending(self, market: int = -1) -> list[Moved]:
        """What each fill of a market (-1: of any) that may still be voided has moved."""
        found = []
        for fill, _ in self._pending.values():
            if market in (-1, fill.market):
                moved = Moved()
                moved.add(fill)
                found.append(moved)
        return found


def _as(fill: Filled, *, final: bool) -> Filled:
    return fill if fill.final == final else msgspec.structs.replace(fill, final=final)
