"""Fees and rebates of one fill, exact to the micro-dollar.

Kalshi (fee rounding page, 2026-09): the trade fee, rate x contracts x P x (1 - P), is rounded up (to
$0.000001 since 2026-09-18, see domain/fees.py); the balance change is floored to the account's unit; the
difference is a rounding fee that an accumulator of the order gives back in whole units, never below a net fee
of zero. Polymarket (docs, 2026): taker fee shares x rate x p (1 - p) rounded to $0.00001, makers free, and a
share of the fee comes back as rebate.
"""

from __future__ import annotations

from pr3dict.domain.units import PPM_SCALE, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import kernel

_E8 = 100_000_000
_E14 = 100_000_000_000_000
_POLYMARKET_UNIT_MICROS = 10


@kernel
def _curve_fee(rate_ppm: int, price: int, size: int) -> tuple[int, int]:
    """(whole micros, what is left in 1e-14 micro) of rate x contracts x P x (1 - P).

    Stays inside 64 bits up to 5 million contracts.
    """
    per_contract = int(rate_ppm) * (int(price) * (PRICE_SCALE - int(price)))  # 1e-14 dollar
    whole = int(size) // QTY_SCALE
    part = int(size) - whole * QTY_SCALE
    high = per_contract * whole
    micros = high // _E8
    rest = (high - micros * _E8) * QTY_SCALE + per_contract * part
    return micros + rest // _E14, rest % _E14


@kernel
def fee_ceil_micros(rate_ppm: int, price: int, size: int) -> int:
    """The fee curve rounded up to a micro."""
    micros, more = _curve_fee(rate_ppm, price, size)
    return micros + 1 if more > 0 else micros


@kernel
def fee_floor_micros(rate_ppm: int, price: int, size: int) -> int:
    """The fee curve rounded down to a micro."""
    return _curve_fee(rate_ppm, price, size)[0]


@kernel
def kalshi_fee_micros(
    fee: d.Row, rate_ppm: int, price: int, size: int, paid_micros: int, order: d.Row
) -> int:
    """Net fee of one fill that pays `paid_micros`; moves the order's accumulator."""
    unit = int(fee.unit_micros)
    back_unit = int(fee.rebate_unit_micros)
    trade_unit = int(fee.trade_unit_micros)
    model_fee = fee_ceil_micros(rate_ppm, price, size)
    trade_fee = (model_fee + trade_unit - 1) // trade_unit * trade_unit
    debit = paid_micros + trade_fee
    rounding = (debit + unit - 1) // unit * unit - debit
    accumulated = int(order.fee_accumulator_micros) + rounding
    back = min(accumulated, trade_fee + rounding) // back_unit * back_unit
    order.fee_accumulator_micros = accumulated - back
    return trade_fee + rounding - back


@kernel
def polymarket_fee_micros(rate_ppm: int, price: int, size: int) -> int:
    """Taker fee, rounded half up to 5 decimals."""
    unit = _POLYMARKET_UNIT_MICROS
    return (fee_floor_micros(rate_ppm, price, size) + unit // 2) // unit * unit


@kernel
def fill_fee_micros(fee: d.Row, maker: bool, price: int, size: int, paid_micros: int, order: d.Array) -> int:
    """Fee of one fill under the market's schedule.

    Kalshi's rounding fee falls due even where the rate is zero: it keeps the balance on its unit.
    """
    rate = fee.maker_ppm if maker else fee.taker_ppm
    if fee.kind == d.FEE_KALSHI:
        return kalshi_fee_micros(fee, rate, price, size, paid_micros, order)
    if fee.kind == d.FEE_POLYMARKET and rate > 0:
        return polymarket_fee_micros(rate, price, size)
    return 0


@kernel
def fill_rebate_micros(fee: d.Row, maker: bool, price: int, size: int) -> int:
    """Expected rebate of a maker fill: its share of its taker's exact fee, rounded down once."""
    share = int(fee.rebate_ppm)
    if not maker or share == 0:
        return 0
    whole, left = _curve_fee(fee.taker_ppm, price, size)
    # share x left is past 64 bits: millions first; a floor of a floor is the floor.
    millions = left // PPM_SCALE
    left_micros = (share * millions + share * (left - millions * PPM_SCALE) // PPM_SCALE) // _E8
    return (whole * share + left_micros) // PPM_SCALE


@kernel
def expected_maker_fee_micros(fee: d.Row, price: int, size: int) -> int:
    """Maker fee of one fill without the rounding of the balance, which an order's next fills give back."""
    rate = int(fee.maker_ppm)
    if fee.kind == d.FEE_KALSHI:
        unit = max(int(fee.trade_unit_micros), 1)
        return (fee_ceil_micros(rate, price, size) + unit - 1) // unit * unit
    if fee.kind == d.FEE_POLYMARKET and rate > 0:
        return polymarket_fee_micros(rate, price, size)
    return 0
