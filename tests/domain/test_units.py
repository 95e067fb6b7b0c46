from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import units
from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NoPrice, YesPrice

PRICES = st.integers(0, 10_000)
MICROS = st.integers(-(10**15), 10**15)


@given(PRICES)
def test_price_text_round_trips(price: int) -> None:
    assert units.parse_price(units.format_price(price)) == price
    assert units.parse_price(Decimal(price) / 10_000) == price


@given(MICROS)
def test_money_and_quantity_text_round_trip(value: int) -> None:
    assert units.parse_money(units.format_dollars(value), signed=True) == value
    assert units.parse_quantity(units.format_contracts(value), signed=True) == value
    assert Decimal(units.format_dollars(value)) * 10**6 == value


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_any_decimal_is_read_exactly_or_refused(value: Decimal) -> None:
    try:
        micros = units.parse_money(value, signed=True)
    except DataError:
        assert not value.is_finite() or Fraction(value) * 10**6 % 1 or abs(value) > 9 * 10**12
    else:
        assert Fraction(micros, 10**6) == Fraction(value)


@pytest.mark.parametrize(
    ("text", "price"), [("0.4500", 4500), (".48", 4800), ("0", 0), ("1.0000000", 10_000), ("0.0001", 1)]
)
def test_prices_as_venues_write_them(text: str, price: int) -> None:
    assert units.parse_price(text) == price


@pytest.mark.parametrize(
    "text",
    ["nan", "NaN", "inf", "-inf", "1e-2", "0.5e0", "1E1", "", ".", "5.", "0,5", " 0.5", "0.5\n", "+0.5",
     "0x1", "1_0", "\u00bd", "\u0660.\u0665", "-0.1", "1.0001", "0.00001", "0.45001", "0." + "0" * 100],
)  # fmt: skip
def test_texts_that_are_no_price_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        units.parse_price(text)


@pytest.mark.parametrize(
    "value",
    [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("1E-999999")],
)
def test_decimals_that_are_no_amount_are_refused(value: Decimal) -> None:
    with pytest.raises(DataError):
        units.parse_money(value)


@pytest.mark.parametrize("value", [0.5, True, None, b"1"])
def test_inexact_types_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="not exact"):
        units.parse_quantity(value)


def test_amounts_beyond_64_bits_are_refused() -> None:
    assert units.parse_money("9223372036854.775807") == 2**63 - 1
    with pytest.raises(DataError, match="out of range"):
        units.parse_money("9223372036854.775808")


def test_negative_numbers_need_leave() -> None:
    assert units.parse_quantity("-12.50", signed=True) == -12_500_000
    for parse in (units.parse_quantity, units.parse_money, units.parse_ratio):
        with pytest.raises(DataError, match="negative"):
            parse("-12.50")


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (78_000, "0.078"),
        (40_000, "0.04"),
        (500_000, "0.50"),
        (96_000_000, "96.00"),
        (-1, "-0.000001"),
        (0, "0.00"),
    ],
)
def test_dollars_show_two_places_at_least(micros: int, text: str) -> None:
    assert units.format_dollars(micros) == text


@pytest.mark.parametrize(
    ("size", "text"), [(10_000_000, "10"), (10_000, "0.01"), (-2_500_000, "-2.5"), (0, "0")]
)
def test_contracts_show_no_trailing_zeros(size: int, text: str) -> None:
    assert units.format_contracts(size) == text


@given(PRICES)
def test_complement_is_an_involution_across_types(price: int) -> None:
    yes = YesPrice(price)
    assert isinstance(yes.complement(), NoPrice)
    assert yes.complement().units + price == 10_000
    assert yes.complement().complement() == yes


@given(PRICES, PRICES)
def test_yes_and_no_prices_never_mix(a: int, b: int) -> None:
    assert YesPrice(a) != NoPrice(a)  # type: ignore[comparison-overlap]
    assert (YesPrice(a) < YesPrice(b)) == (a < b)
    with pytest.raises(TypeError):
        _ = YesPrice(a) < NoPrice(b)  # type: ignore[operator]
    with pytest.raises(TypeError):
        _ = YesPrice(a) + NoPrice(b)  # type: ignore[operator]


@pytest.mark.parametrize("bad", [-1, 10_001])
def test_typed_prices_are_in_range(bad: int) -> None:
    for kind in (YesPrice, NoPrice):
        with pytest.raises(DataError):
            kind(bad)


@given(MICROS, st.integers(1, 10**7))
def test_each_rounding_goes_its_one_way(a: int, b: int) -> None:
    exact = Fraction(a, b)
    assert exact - 1 < units.floor_div(a, b) <= exact <= units.ceil_div(a, b) < exact + 1
    assert units.trunc_div(a, b) == -units.trunc_div(-a, b) == int(exact)
    assert units.trunc_div(a, -b) == -units.trunc_div(a, b)


@given(PRICES, st.integers(0, 10**12))
def test_a_notional_and_its_complement_make_the_dollar(price: int, size: int) -> None:
    exact = Fraction(price, 10_000) * size
    assert units.notional_floor(price, size) <= exact <= units.notional_ceil(price, size)
    assert units.notional_floor(price, size) + units.notional_ceil(10_000 - price, size) == size


@given(PRICES, PRICES)
def test_mid_is_exact_and_mirrors(bid: int, ask: int) -> None:
    assert Fraction(units.mid_micros(bid, ask), 10**6) == Fraction(bid + ask, 20_000)
    assert units.mid_micros(10_000 - ask, 10_000 - bid) == 10**6 - units.mid_micros(bid, ask)
