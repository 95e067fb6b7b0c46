"""Exact units: the integer scales of price, quantity, money and time, and the conversions at the edges.

Everything inside the program is an integer in YES terms. `Decimal` and strings exist only at the edges
(config, wire, terminal). There is one rounding function a direction, so every rounding says which way.

    price     1/10,000 dollar of a $1 contract     size   1/1,000,000 contract
    money     1/1,000,000 dollar ("micros")        time   ns UTC

One micro-contract that pays $1 pays one micro, so quantities and payouts convert one to one.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from pr3dict.domain.errors import DataError

PRICE_SCALE = 10_000  # price units per dollar: one unit is $0.0001
QTY_SCALE = 1_000_000  # quantity units per contract
MONEY_SCALE = 1_000_000  # money units ("micros") per dollar
MICROS_PER_PRICE_UNIT = MONEY_SCALE // PRICE_SCALE
PPM_SCALE = 1_000_000  # ratios (multipliers, fee rates, shares) are parts per million
NS_PER_SECOND = 1_000_000_000
NS_PER_HOUR = 3600 * NS_PER_SECOND

# Side of the book. A NO bid at q is a YES ask at 1 - q, so two sides describe a market.
BID = 0
ASK = 1

PRICE_DECIMALS = 4
QTY_DECIMALS = 6
MONEY_DECIMALS = 6

_INT64_MAX = 2**63 - 1
_PLAIN_NUMBER = re.compile(r"(-?)([0-9]*)(?:\.([0-9]+))?")
_MAX_TEXT = 64  # longer than any number that fits; keeps hostile input cheap


class YesPrice(msgspec.Struct, frozen=True, order=True):
    """Price of a YES contract in 1/10,000 dollar, 0 to 10,000; never comparable with a `NoPrice`.

    Raises `DataError` when out of range.
    """

    units: int

    def __post_init__(self) -> None:
        _check_price(self.units)

    @classmethod
    def parse(cls, text: str | Decimal) -> YesPrice:
        """The price that a decimal dollar text names, exactly; see `parse_price`."""
        return cls(parse_price(text))

    def complement(self) -> NoPrice:
        """The NO price of the same trade: a YES bid at p is a NO ask at 1 - p."""
        return NoPrice(PRICE_SCALE - self.units)


class NoPrice(msgspec.Struct, frozen=True, order=True):
    """Price of a NO contract in 1/10,000 dollar, 0 to 10,000; never comparable with a `YesPrice`.

    Raises `DataError` when out of range.
    """

    units: int

    def __post_init__(self) -> None:
        _check_price(self.units)

    @classmethod
    def parse(cls, text: str | Decimal) -> NoPrice:
        """The price that a decimal dollar text names, exactly; see `parse_price`."""
        return cls(parse_price(text))

    def complement(self) -> YesPrice:
        """The YES price of the same trade: a NO bid at q is a YES ask at 1 - q."""
        return YesPrice(PRICE_SCALE - self.units)


def parse_price(text: str | Decimal) -> int:
    """Dollars as text to price units, exactly: "0.4500" is 4500.

    Raises `DataError` for anything but a plain decimal number from 0 to 1 with steps of 1/10,000 dollar
    (NaN, infinities, exponents, signs and floats are refused).
    """
    units = _parse_scaled(text, PRICE_DECIMALS, "price")
    if not 0 <= units <= PRICE_SCALE:
        raise DataError(f"price {text} is outside 0 to 1 dollar")
    return units


def parse_quantity(text: str | Decimal | int, *, signed: bool = False) -> int:
    """Contracts to micro-contracts, exactly: "12.50" is 12,500,000.

    Raises `DataError` for anything but a plain decimal number of at most 6 places, and for a negative one
    unless `signed` (book deltas, positions).
    """
    quantity = _parse_scaled(text, QTY_DECIMALS, "quantity")
    if quantity < 0 and not signed:
        raise DataError(f"quantity {text} is negative")
    return quantity


def parse_money(text: str | Decimal | int, *, signed: bool = False) -> int:
    """Dollars to micros, exactly: "0.0587" is 58,700.

    Raises `DataError` for anything but a plain decimal number of at most 6 places, and for a negative one
    unless `signed` (P&L, adjustments).
    """
    micros = _parse_scaled(text, MONEY_DECIMALS, "amount")
    if micros < 0 and not signed:
        raise DataError(f"amount {text} is negative")
    return micros


def parse_ratio(text: str | Decimal | int) -> int:
    """A non-negative ratio (rate, share, multiplier) to parts per million, exactly: "0.0175" is 17,500.

    Raises `DataError` as `parse_money` does.
    """
    ppm = _parse_scaled(text, 6, "ratio")
    if ppm < 0:
        raise DataError(f"ratio {text} is negative")
    return ppm


def format_price(units: int) -> str:
    """Price units as dollars, two places at least: 4500 is "0.45", 4525 is "0.4525"."""
    return _format_scaled(units, PRICE_DECIMALS, 2)


def format_dollars(micros: int) -> str:
    """Micros as dollars, two places at least and no exponent: 78,000 is "0.078", 40,000 is "0.04"."""
    return _format_scaled(micros, MONEY_DECIMALS, 2)


def format_contracts(size: int) -> str:
    """Micro-contracts as contracts, no trailing zeros: 10,000,000 is "10", 10,000 is "0.01"."""
    return _format_scaled(size, QTY_DECIMALS, 0)


def floor_div(numerator: int, denominator: int) -> int:
    """Quotient rounded towards minus infinity."""
    return numerator // denominator


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded towards plus infinity."""
    return -(-numerator // denominator)


def trunc_div(numerator: int, denominator: int) -> int:
    """Quotient rounded towards zero: mirrors exactly when the numerator changes its sign."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def notional_floor(price: int, size: int) -> int:
    """Micros of `size` micro-contracts at `price`, rounded down: what a seller is sure to receive."""
    return floor_div(price * size, PRICE_SCALE)


def notional_ceil(price: int, size: int) -> int:
    """Micros of `size` micro-contracts at `price`, rounded up: what a buyer has to hold."""
    return ceil_div(price * size, PRICE_SCALE)


def mid_micros(bid: int, ask: int) -> int:
    """Middle of two YES prices in micros; exact, since half a price unit is 50 micros."""
    return (bid + ask) * (MICROS_PER_PRICE_UNIT // 2)


def _check_price(units: int) -> None:
    if not 0 <= units <= PRICE_SCALE:
        raise DataError(f"price of {units} units is outside 0 to {PRICE_SCALE}")


def _plain_text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise DataError(f"{what} {value} is not a finite number")
        if not -_MAX_TEXT // 2 < value.adjusted() < _MAX_TEXT // 2:
            raise DataError(f"{what} {value} is out of range")
        return format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{what} {value!r} is a {type(value).__name__}, which is not exact; give a decimal text")


def _parse_scaled(value: str | Decimal | int, decimals: int, what: str) -> int:
    """`value` times 10**decimals as an exact integer that fits 64 bits; `DataError` otherwise."""
    text = _plain_text(value, what)
    match = _PLAIN_NUMBER.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None or not (match[2] or match[3]):
        raise DataError(f"{what} {text[:_MAX_TEXT]!r} is not a plain decimal number")
    sign, whole, fraction = match[1], match[2] or "0", (match[3] or "").rstrip("0")
    if len(fraction) > decimals:
        raise DataError(f"{what} {text} is finer than {10**-decimals:.{decimals}f}")
    scaled = int(whole + fraction.ljust(decimals, "0"))
    if scaled > _INT64_MAX:
        raise DataError(f"{what} {text} is out of range")
    return -scaled if sign else scaled


def _format_scaled(value: int, decimals: int, min_places: int) -> str:
    whole, rest = divmod(abs(value), 10**decimals)
    fraction = f"{rest:0{decimals}d}"
    fraction = fraction[:min_places] + fraction[min_places:].rstrip("0")
    text = f"{whole}.{fraction}" if fraction else f"{whole}"
    return f"-{text}" if value < 0 else text
