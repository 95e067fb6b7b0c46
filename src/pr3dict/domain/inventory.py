"""Inventory of one market: contracts held, what they cost, and what they pay in each outcome.

A YES + NO pair pays exactly $1 whatever happens, so it is never risk. Where the venue nets (Kalshi) a pair
turns into its dollar on the fill; where tokens are held apart (Polymarket) it stays until it is merged. Both
are one path here: netting is a purchase followed by a merge. Source of the payoff figures: definition of a
binary contract (pays $1 or $0).
"""

from __future__ import annotations

import msgspec

from pr3dict.domain.errors import WorkError
from pr3dict.domain.units import (
    BID,
    MONEY_SCALE,
    PRICE_SCALE,
    floor_div,
    notional_ceil,
    notional_floor,
)


class Inventory(msgspec.Struct, frozen=True):
    """Micro-contracts held and micros paid for them; fees are not part of the cost.

    `realised_micros` is what sales, merges and settlement brought above the average cost of what they took,
    so that `yes_cost + no_cost - realised` is always cash paid less cash received.
    """

    yes_contracts: int = 0
    no_contracts: int = 0
    yes_cost_micros: int = 0
    no_cost_micros: int = 0
    realised_micros: int = 0

    @property
    def net_position(self) -> int:
        """YES less NO, micro-contracts: +10 contracts is long 10 YES."""
        return self.yes_contracts - self.no_contracts

    @property
    def gross_position(self) -> int:
        """YES plus NO, micro-contracts."""
        return self.yes_contracts + self.no_contracts

    @property
    def pairs(self) -> int:
        """YES + NO pairs, micro-contracts."""
        return min(self.yes_contracts, self.no_contracts)

    @property
    def skew_ratio(self) -> float:
        """Net over gross in [-1, 1], 0 when flat."""
        return self.net_position / self.gross_position if self.gross_position else 0.0

    @property
    def cost_micros(self) -> int:
        """Cash paid less cash received so far; its change is minus the change of cash."""
        return self.yes_cost_micros + self.no_cost_micros - self.realised_micros

    @property
    def pair_pnl_micros(self) -> int:
        """Riskless P&L of the pairs held: their dollars less their average cost (rounded against us)."""
        return self.pairs - self._share_of_cost(self.pairs)

    @property
    def pnl_if_yes_micros(self) -> int:
        """P&L of the market if it resolves YES, fees apart."""
        return self.yes_contracts - self.cost_micros

    @property
    def pnl_if_no_micros(self) -> int:
        """P&L of the market if it resolves NO, fees apart."""
        return self.no_contracts - self.cost_micros

    @property
    def worst_case_micros(self) -> int:
        """P&L in the worse outcome."""
        return min(self.pnl_if_yes_micros, self.pnl_if_no_micros)

    def payout_micros(self, value_micros: int) -> int:
        """What the position pays when one YES contract is worth `value_micros`, rounded down once."""
        return position_value_micros(self.yes_contracts, self.no_contracts, value_micros)

    def fill(self, side: int, price: int, size: int, *, nets: bool, sell: bool = False) -> Inventory:
        """The inventory after a fill of `size` micro-contracts at YES `price`.

        BID buys YES (or, with `sell`, sells NO held); ASK buys NO (or sells YES held). `nets`: the venue
        turns pairs into cash by itself. A purchase costs its notional rounded up, a sale brings it rounded
        down. Raises `WorkError` when more is sold than held: nobody shorts.
        """
        if size <= 0 or not 0 <= price <= PRICE_SCALE:
            raise WorkError(f"a fill of {size} at {price} is impossible")
        trade = _sell_yes if sell else _buy_yes
        if (side == BID) != sell:  # the YES contract changes hands
            after = trade(self, price, size)
        else:
            after = trade(self.mirrored(), PRICE_SCALE - price, size).mirrored()
        return after.merge(after.pairs) if nets else after

    def merge(self, pairs: int) -> Inventory:
        """The inventory after `pairs` micro-pairs became dollars; raises `WorkError` for more than held."""
        if not 0 <= pairs <= self.pairs:
            raise WorkError(f"cannot merge {pairs} micro-pairs of {self.pairs} held")
        yes_cost = _part(self.yes_cost_micros, pairs, self.yes_contracts)
        no_cost = _part(self.no_cost_micros, pairs, self.no_contracts)
        return Inventory(
            self.yes_contracts - pairs,
            self.no_contracts - pairs,
            self.yes_cost_micros - yes_cost,
            self.no_cost_micros - no_cost,
            self.realised_micros + pairs - yes_cost - no_cost,
        )

    def settle(self, value_micros: int) -> Inventory:
        """The flat inventory after resolution; `realised_micros` is then the market's whole trading P&L."""
        if not 0 <= value_micros <= MONEY_SCALE:
            raise WorkError(f"a contract cannot pay {value_micros} micros")
        return Inventory(realised_micros=self.payout_micros(value_micros) - self.cost_micros)

    def mirrored(self) -> Inventory:
        """The same position seen from NO: YES and NO change places."""
        return Inventory(
            self.no_contracts,
            self.yes_contracts,
            self.no_cost_micros,
            self.yes_cost_micros,
            self.realised_micros,
        )

    def _share_of_cost(self, pairs: int) -> int:
        yes_rest = _part(self.yes_cost_micros, self.yes_contracts - pairs, self.yes_contracts)
        no_rest = _part(self.no_cost_micros, self.no_contracts - pairs, self.no_contracts)
        return self.yes_cost_micros - yes_rest + self.no_cost_micros - no_rest


def _buy_yes(held: Inventory, price: int, size: int) -> Inventory:
    return msgspec.structs.replace(
        held,
        yes_contracts=held.yes_contracts + size,
        yes_cost_micros=held.yes_cost_micros + notional_ceil(price, size),
    )


def _sell_yes(held: Inventory, price: int, size: int) -> Inventory:
    if size > held.yes_contracts:
        raise WorkError(
            f"cannot sell {size} of {held.yes_contracts} micro-contracts; buy the other side instead"
        )
    cost = _part(held.yes_cost_micros, size, held.yes_contracts)
    return msgspec.structs.replace(
        held,
        yes_contracts=held.yes_contracts - size,
        yes_cost_micros=held.yes_cost_micros - cost,
        realised_micros=held.realised_micros + notional_floor(price, size) - cost,
    )


def position_value_micros(yes_contracts: int, no_contracts: int, value_micros: int) -> int:
    """Micros that a position is worth when one YES contract is worth `value_micros`, rounded down once."""
    exact = yes_contracts * value_micros + no_contracts * (MONEY_SCALE - value_micros)
    return floor_div(exact, MONEY_SCALE)


def _part(cost_micros: int, part: int, whole: int) -> int:
    """Cost of `part` out of `whole` contracts at average cost, rounded down; the rest keeps the remainder."""
    return floor_div(cost_micros * part, whole) if whole else 0
