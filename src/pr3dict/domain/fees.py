"""Fee schedules: what a fill costs, by venue, market and date, in exact integers.

A `FeeSchedule` is a list of dated `FeeTerms`; `at(ns)` picks the terms in force, `charge` applies them to one
fill and hands on the order's `FeeState`, because Kalshi rounds over all fills of an order.

Model fee of C contracts at YES price P (both venues; symmetric in YES and NO):

    Kalshi       M * r * C * P * (1 - P)             fee_rounding page and fee PDF of Kalshi's documentation
    Polymarket   C * rate * (P * (1 - P))**exponent  fees page of Polymarket's documentation

Kalshi's rounding of a fill, with u the precision of the account's balance ($0.0001 for a direct member,
$0.01 otherwise) and revenue the fill's cash (negative when it buys):

    trade_fee    = model fee, up to a multiple of the trade-fee unit
    rounding_fee = (revenue - trade_fee) - (the same, down to a multiple of u); joins the order's accumulator
    rebate       = whole rebate units out of the accumulator, at most what keeps the fill's fee >= 0
    fee          = trade_fee + rounding_fee - rebate
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND, PPM_SCALE, PRICE_SCALE, ceil_div, floor_div

CENT_MICROS: Final = 10_000
DIRECT_MEMBER_UNIT_MICROS: Final = 100  # balance precision of an account that trades directly with Kalshi
KALSHI_TAKER_PPM: Final = 70_000
KALSHI_MAKER_PPM: Final = 17_500
KALSHI_COMBO_MAKER_PPM: Final = 35_000  # combos: half of the taker coefficient instead of a quarter


def _utc_ns(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * NS_PER_SECOND


KALSHI_CENTICENT_NS: Final = _utc_ns(2026, 3, 12)  # end of integer-cent fields: balances finer than a cent
KALSHI_MICRO_NS: Final = _utc_ns(2026, 9, 18)  # first capture of the fee_rounding page in its present form
KALSHI_COMBO_NS: Final = _utc_ns(2026, 8, 20)
POLYMARKET_SHORT_CRYPTO_NS: Final = _utc_ns(2026, 1, 6)
POLYMARKET_CRYPTO_NS: Final = _utc_ns(2026, 3, 6)
POLYMARKET_CATEGORIES_NS: Final = _utc_ns(2026, 3, 30)
POLYMARKET_SPORTS_NS: Final = _utc_ns(2026, 7, 10)


class Formula(enum.IntEnum):
    """How a fee is computed; the codes are those of the kernels' fee rows."""

    NONE = 0
    KALSHI = 1
    POLYMARKET = 2


class FeeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What fills of one market cost from `effective_ns` on, multipliers included.

    `order_cents` is Kalshi's oldest rule: the whole order's model fee, up to the next cent. `assumed` marks
    terms chosen because the venue named a fee type that is not known: they are the dearest known ones.
    """

    formula: Formula
    effective_ns: int = 0
    taker_ppm: int = 0  # rate x multiplier
    maker_ppm: int = 0
    rebate_ppm: int = 0  # share of the taker fee that comes back to the maker
    exponent: int = 1
    trade_fee_unit_micros: int = 1  # the model fee is rounded to this
    balance_unit_micros: int = 1  # Kalshi's u
    rebate_unit_micros: int = 1  # the accumulator gives back multiples of this
    order_cents: bool = False
    assumed: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if min(self.taker_ppm, self.maker_ppm, self.rebate_ppm) < 0 or self.rebate_ppm > PPM_SCALE:
            raise DataError(f"fee terms {self.source}: rates must be 0 or more, the rebate share at most 1")
        if not 1 <= self.exponent <= 4:
            raise DataError(f"fee exponent {self.exponent} is outside 1 to 4")
        if min(self.trade_fee_unit_micros, self.balance_unit_micros, self.rebate_unit_micros) < 1:
            raise DataError(f"fee terms {self.source}: rounding units must be positive")


class FeeState(msgspec.Struct, frozen=True):
    """What an order's next fill has to know of its earlier fills; start from `FeeState()`."""

    accumulator_micros: int = 0  # rounding fees not yet given back
    model: int = 0  # exact model fee so far, in units of 1e-20 dollar (only `order_cents` reads it)
    charged_micros: int = 0


class FillFee(msgspec.Struct, frozen=True):
    """The cost of one fill, micros: what is charged, what comes back as maker rebate, what to remember."""

    fee_micros: int
    rebate_micros: int
    state: FeeState


class FeeSchedule(msgspec.Struct, frozen=True):
    """Dated fee terms of one market, ascending; `name` is shown in reports.

    Raises `DataError` when there are no terms or their dates do not ascend.
    """

    name: str
    versions: tuple[FeeTerms, ...]

    def __post_init__(self) -> None:
        dates = [terms.effective_ns for terms in self.versions]
        if not dates or any(b <= a for a, b in pairwise(dates)):
            raise DataError(f"fee schedule {self.name}: there must be terms, and their dates must ascend")

    def at(self, ns: int) -> FeeTerms:
        """The terms in force at `ns`; raises `DataError` for a time before the first."""
        found = None
        for terms in self.versions:
            if terms.effective_ns <= ns:
                found = terms
        if found is None:
            raise DataError(f"fee schedule {self.name} has no terms at {ns} ns")
        return found


def charge(
    terms: FeeTerms,
    *,
    price: int,
    size: int,
    revenue_micros: int,
    maker: bool,
    state: FeeState | None = None,
) -> FillFee:
    """Fee and maker rebate of one fill of `size` micro-contracts at YES `price`.

    `revenue_micros` is the fill's cash without fees (negative when it buys); `state` comes from the order's
    earlier fills.
    """
    state = state if state is not None else FeeState()
    rate_ppm = terms.maker_ppm if maker else terms.taker_ppm
    if terms.formula is Formula.NONE:
        return FillFee(0, 0, state)
    if terms.formula is Formula.POLYMARKET:
        fee = _round_half_up(*_model_fee(rate_ppm, price, size, terms.exponent), terms.trade_fee_unit_micros)
        rebate = _maker_rebate(terms, price, size) if maker else 0
        return FillFee(fee, rebate, state)
    if terms.order_cents:
        return _charge_order_cents(rate_ppm, price, size, state)
    return _charge_kalshi(terms, rate_ppm, price, size, revenue_micros, state)


def _model_fee(rate_ppm: int, price: int, size: int, exponent: int) -> tuple[int, int]:
    """Exact model fee in micros as numerator and denominator."""
    curve = (price * (PRICE_SCALE - price)) ** exponent
    return rate_ppm * size * curve, PPM_SCALE * PRICE_SCALE ** (2 * exponent)


def _round_half_up(numerator: int, denominator: int, unit: int) -> int:
    return floor_div(2 * numerator + denominator * unit, 2 * denominator * unit) * unit


def _maker_rebate(terms: FeeTerms, price: int, size: int) -> int:
    """The maker's share of the fee that its taker paid, rounded down.

    The venue pays a day's pool pro rata to this figure; with the whole pool shared that way, this is it.
    """
    numerator, denominator = _model_fee(terms.taker_ppm, price, size, terms.exponent)
    return floor_div(numerator * terms.rebate_ppm, denominator * PPM_SCALE)


def _charge_kalshi(
    terms: FeeTerms, rate_ppm: int, price: int, size: int, revenue_micros: int, state: FeeState
) -> FillFee:
    numerator, denominator = _model_fee(rate_ppm, price, size, 1)
    unit = terms.trade_fee_unit_micros
    trade_fee = ceil_div(numerator, denominator * unit) * unit
    rounding_fee = (revenue_micros - trade_fee) % terms.balance_unit_micros
    accumulator = state.accumulator_micros + rounding_fee
    back = min(accumulator, trade_fee + rounding_fee) // terms.rebate_unit_micros * terms.rebate_unit_micros
    fee = trade_fee + rounding_fee - back
    after = FeeState(accumulator - back, state.model, state.charged_micros + fee)
    return FillFee(fee, 0, after)


def _charge_order_cents(rate_ppm: int, price: int, size: int, state: FeeState) -> FillFee:
    numerator, denominator = _model_fee(rate_ppm, price, size, 1)
    model = state.model + numerator
    fee = ceil_div(model, denominator * CENT_MICROS) * CENT_MICROS - state.charged_micros
    return FillFee(fee, 0, FeeState(state.accumulator_micros, model, state.charged_micros + fee))


NO_FEES: Final = FeeSchedule("none", (FeeTerms(formula=Formula.NONE, source="no fees"),))


class KalshiFeeChange(msgspec.Struct, frozen=True, kw_only=True):
    """Fee type and multiplier that a series or an event states from `effective_ns` on; None: not stated."""

    effective_ns: int = 0
    fee_type: str | None = None
    multiplier_ppm: int | None = None


def kalshi_schedule(
    series: Sequence[KalshiFeeChange],
    event: Sequence[KalshiFeeChange] = (),
    *,
    direct_member: bool = True,
    waived_until_ns: int | None = None,
) -> FeeSchedule:
    """Fee schedule of a Kalshi market from its series' statements, with the event's overrides on top.

    `waived_until_ns` is the market's fee waiver. An unknown fee type is not an error: its terms are the
    dearest known ones and carry `assumed`. Raises `DataError` when the series never states a type or a
    multiplier.
    """
    changes = [*series, *event]
    dates = {0, KALSHI_CENTICENT_NS, KALSHI_COMBO_NS, KALSHI_MICRO_NS, *(c.effective_ns for c in changes)}
    if waived_until_ns is not None:
        dates.add(waived_until_ns)
    versions: list[FeeTerms] = []
    for ns in sorted(dates):
        fee_type = _stated("fee_type", ns, series, event)
        multiplier = _stated("multiplier_ppm", ns, series, event)
        if not isinstance(fee_type, str) or not isinstance(multiplier, int):
            continue  # before the first statement
        waived = waived_until_ns is not None and ns < waived_until_ns
        terms = _kalshi_terms(ns, fee_type, 0 if waived else multiplier, direct_member)
        last = versions[-1] if versions else None
        if last is None or msgspec.structs.replace(terms, effective_ns=last.effective_ns) != last:
            versions.append(terms)
    if not versions:
        raise DataError("a Kalshi series must state its fee_type and fee_multiplier")
    account = "direct" if direct_member else "cent"
    last_type = _stated("fee_type", versions[-1].effective_ns, series, event)
    return FeeSchedule(f"kalshi-{last_type}-{account}", tuple(versions))


def _stated(
    field: str, ns: int, series: Sequence[KalshiFeeChange], event: Sequence[KalshiFeeChange]
) -> str | int | None:
    """The newest statement of `field` in force at `ns`; the event's wins over the series'."""
    for source in (event, series):
        known = [c for c in source if c.effective_ns <= ns and getattr(c, field) is not None]
        if known:
            value: str | int = getattr(max(known, key=lambda c: c.effective_ns), field)
            return value
    return None


class KalshiRounding(NamedTuple):
    """To what Kalshi rounds, in micros: the model fee (up), the balance (down), what an order gets back."""

    trade_fee_unit_micros: int
    balance_unit_micros: int
    rebate_unit_micros: int
    source: str


def kalshi_rounding(ns: int, *, direct_member: bool) -> KalshiRounding:
    """The rounding rule in force at `ns`; direct members' balances are kept to $0.0001, others' to a cent."""
    unit = DIRECT_MEMBER_UNIT_MICROS if direct_member else CENT_MICROS
    if ns < KALSHI_CENTICENT_NS:
        return KalshiRounding(CENT_MICROS, unit, CENT_MICROS, "Kalshi fee PDF of 2026-02-05")
    if ns < KALSHI_MICRO_NS:
        return KalshiRounding(100, unit, CENT_MICROS, "Kalshi fee_rounding page before 2026-09")
    return KalshiRounding(1, unit, unit, "Kalshi fee_rounding page of 2026-09-18")


def _kalshi_terms(ns: int, fee_type: str, multiplier_ppm: int, direct_member: bool) -> FeeTerms:
    combo_ppm = KALSHI_COMBO_MAKER_PPM if ns >= KALSHI_COMBO_NS else KALSHI_MAKER_PPM
    maker_rates = {
        "quadratic": 0,
        "quadratic_with_maker_fees": KALSHI_MAKER_PPM,
        "quadratic_with_combo_maker_fees": combo_ppm,
    }
    rounding = kalshi_rounding(ns, direct_member=direct_member)
    return FeeTerms(
        formula=Formula.KALSHI,
        effective_ns=ns,
        taker_ppm=ceil_div(KALSHI_TAKER_PPM * multiplier_ppm, PPM_SCALE),
        maker_ppm=ceil_div(maker_rates.get(fee_type, KALSHI_COMBO_MAKER_PPM) * multiplier_ppm, PPM_SCALE),
        trade_fee_unit_micros=rounding.trade_fee_unit_micros,
        balance_unit_micros=rounding.balance_unit_micros,
        rebate_unit_micros=rounding.rebate_unit_micros,
        order_cents=ns < KALSHI_CENTICENT_NS,
        assumed=fee_type not in maker_rates,
        source=rounding.source,
    )


def polymarket_terms(
    rate_ppm: int,
    rebate_ppm: int,
    *,
    exponent: int = 1,
    taker_only: bool = True,
    effective_ns: int = 0,
    fee_unit_micros: int = 10,
    source: str = "the market's own feeSchedule",
) -> FeeTerms:
    """Terms from the numbers that a Polymarket market states (rate, rebate share, exponent, takerOnly).

    Fees are rounded to `fee_unit_micros`, 5 decimals of a dollar; what rounds to zero is free.
    """
    return FeeTerms(
        formula=Formula.POLYMARKET if rate_ppm else Formula.NONE,
        effective_ns=effective_ns,
        taker_ppm=rate_ppm,
        maker_ppm=0 if taker_only else rate_ppm,
        rebate_ppm=rebate_ppm,
        exponent=exponent,
        trade_fee_unit_micros=fee_unit_micros,
        source=source,
    )


# (effective ns, rate, rebate share, exponent) by category. Until 2026 every market was free; the categories
# of 2026-03-30 extended fees to all but geopolitics.
_FREE: Final = (0, 0, 0, 1)
_SHORT_CRYPTO: Final = (POLYMARKET_SHORT_CRYPTO_NS, 250_000, 200_000, 2)
_POLYMARKET_CATEGORIES: Final[dict[str, tuple[tuple[int, int, int, int], ...]]] = {
    "crypto_short": (_FREE, _SHORT_CRYPTO, (POLYMARKET_CATEGORIES_NS, 70_000, 200_000, 1)),
    "crypto": (
        _FREE,
        (POLYMARKET_CRYPTO_NS, 250_000, 200_000, 2),
        (POLYMARKET_CATEGORIES_NS, 70_000, 200_000, 1),
    ),
    "sports": (
        _FREE,
        (POLYMARKET_CATEGORIES_NS, 30_000, 250_000, 1),
        (POLYMARKET_SPORTS_NS, 50_000, 150_000, 1),
    ),
    **{
        category: (_FREE, (POLYMARKET_CATEGORIES_NS, rate_ppm, 250_000, 1))
        for category, rate_ppm in (
            ("finance", 40_000),
            ("politics", 40_000),
            ("mentions", 40_000),
            ("tech", 40_000),
            ("economics", 50_000),
            ("culture", 50_000),
            ("weather", 50_000),
            ("other", 50_000),
        )
    },
    "geopolitics": (_FREE,),
}
POLYMARKET_CATEGORIES: Final = tuple(_POLYMARKET_CATEGORIES)


def polymarket_schedule(category: str) -> FeeSchedule:
    """The published schedule of a Polymarket category, for markets whose own numbers were not recorded.

    Raises `DataError` for an unknown category; a market that states its own numbers uses `polymarket_terms`.
    """
    rows = _POLYMARKET_CATEGORIES.get(category)
    if rows is None:
        known = ", ".join(POLYMARKET_CATEGORIES)
        raise DataError(f"unknown Polymarket fee category {category!r}; known: {known}")
    versions = tuple(
        polymarket_terms(
            rate,
            rebate,
            exponent=exponent,
            effective_ns=ns,
            fee_unit_micros=10 if ns >= POLYMARKET_CATEGORIES_NS else 100,  # 4 decimals in the first months
            source="Polymarket fees page",
        )
        for ns, rate, rebate, exponent in rows
    )
    return FeeSchedule(f"polymarket-{category}", versions)
