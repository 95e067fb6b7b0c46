"""What an order offers and asks for: price and size to the two amounts that are signed, exactly.

Amounts are base units (micros of pUSD, micro-contracts of a token). Source: the table of decimals by tick of
Polymarket's official clients (polymarket-client 0.14.0), which its matching engine checks:

    tick     price  size  amount        tick     price  size  amount
    0.1      1      2     3             0.0025   4      2     6
    0.01     2      2     4             0.001    3      2     5
    0.005    3      2     5             0.0001   4      2     6

A price on the grid times a size of two decimals never has more decimals than `amount`, so an order's amounts
are exact. Orders that spend a budget (purchases of kind FAK and FOK) are not made here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.units import PRICE_SCALE, format_contracts, format_price

Side = Literal["BUY", "SELL"]
LOT: Final = 10_000  # micro-contracts: sizes have two decimals
AMOUNT_PLACES: Final = {1_000: 3, 100: 4, 50: 5, 25: 6, 10: 5, 1: 6}  # by tick in 1/10,000 dollar


class Amounts(NamedTuple):
    """What the maker of an order gives, and what he wants for it; base units."""

    maker: int
    taker: int


def check_price(price: int, tick: int) -> None:
    """Raises `DataError` for a price at which no order may stand."""
    if not polymarket_grid(tick).contains(price):
        what = f"{format_price(price)} is no multiple of the tick {format_price(tick)} inside 0 and 1 dollar"
        raise DataError(what, key="price")


def floor_size(size: int) -> int:
    """The largest size that an order can have, at most `size`; micro-contracts."""
    return size // LOT * LOT


def limit_amounts(side: Side, price: int, size: int, tick: int) -> Amounts:
    """Amounts of an order that buys or sells `size` (down to two decimals) at `price` or better.

    Raises `DataError` for a price off the grid, and for a size of which nothing is left.
    """
    check_price(price, tick)
    tokens = floor_size(size)
    if tokens <= 0:
        raise DataError(f"{format_contracts(size)} contracts are less than 0.01", key="size")
    money = price * tokens // PRICE_SCALE  # exact: tokens are multiples of PRICE_SCALE
    return Amounts(money, tokens) if side == "BUY" else Amounts(tokens, money)


def price_and_size(side: Side, amounts: Amounts) -> tuple[int, int]:
    """The limit price in 1/10,000 dollar and the size in micro-contracts that amounts mean.

    Raises `DataError` when they mean no price of any grid.
    """
    money, tokens = amounts if side == "BUY" else (amounts.taker, amounts.maker)
    if tokens <= 0 or money * PRICE_SCALE % tokens:
        raise DataError(f"amounts {amounts.maker} and {amounts.taker} mean no price", key="makerAmount")
    return money * PRICE_SCALE // tokens, tokens
