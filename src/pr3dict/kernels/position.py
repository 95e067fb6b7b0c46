"""Contracts and cash of one market: what a fill, a merge and a settlement do to them.

The rows may be MARKET (as we know it) or HOLDING (at the exchange): both hold `yes_contracts`,
`no_contracts` and `cost_micros`. One micro-contract that pays $1 is worth exactly one micro.
"""

from __future__ import annotations

from pr3dict.domain.units import PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import BID
from pr3dict.kernels.jit import kernel

_UNITS = PRICE_SCALE * QTY_SCALE // 1_000_000  # price x size per micro-dollar


@kernel
def yes_cash_micros(side: int, price: int, size: int) -> int:
    """Cash of a fill in YES terms: a bid pays rounded up, an ask receives rounded down."""
    notional = int(price) * int(size)
    if side == BID:
        return -((notional + _UNITS - 1) // _UNITS)
    return notional // _UNITS


@kernel
def apply_fill(row: d.Row, nets: bool, side: int, leg: int, cash_micros: int, size: int) -> int:
    """Book a fill whose cash in YES terms is `cash_micros`; returns the change of cash.

    Buying NO at q is selling YES at 1 - q plus one dollar a contract of collateral, which comes back when
    a pair is netted, sold or settled. On a venue that nets, a pair becomes cash at once. What a sell order
    finds no longer held (its pair was merged) buys the other contract: a split pair, half of it sold.
    """
    if side == BID:
        closed = min(int(row.no_contracts), size) if nets or leg == d.SELL_LEG else 0
        row.no_contracts -= closed
        row.yes_contracts += size - closed
        change = cash_micros + closed
    else:
        closed = min(int(row.yes_contracts), size) if nets or leg == d.SELL_LEG else 0
        row.yes_contracts -= closed
        row.no_contracts += size - closed
        change = cash_micros - (size - closed)
    row.cost_micros -= change
    return change


@kernel
def merge_pairs(row: d.Row, threshold: int) -> int:
    """Turn YES + NO pairs into cash once there are `threshold` of them (0: never); returns the cash."""
    pairs = min(int(row.yes_contracts), int(row.no_contracts))
    if threshold <= 0 or pairs < threshold:
        return 0
    row.yes_contracts -= pairs
    row.no_contracts -= pairs
    row.cost_micros -= pairs
    return pairs


@kernel
def settle(row: d.Row, value: int, refund: bool) -> int:
    """Pay the position out at `value` micros a YES contract and empty it; returns the cash.

    A refund returns what was paid, whatever the value.
    """
    cash = int(row.cost_micros) if refund else value_micros(row, value)
    row.yes_contracts = 0
    row.no_contracts = 0
    row.cost_micros -= cash
    return cash


@kernel
def value_micros(row: d.Row, mark_micros: int) -> int:
    """Worth of the position at a YES price in micros, rounded down once."""
    yes = int(row.yes_contracts) * mark_micros
    return (yes + int(row.no_contracts) * (1_000_000 - mark_micros)) // 1_000_000
