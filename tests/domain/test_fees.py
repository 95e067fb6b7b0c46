from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain import fees
from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import FeeSchedule, FeeState, FeeTerms, Formula, KalshiFeeChange

LOT = 10_000  # 0.01 contract
PRICES = st.integers(1, 9_999)
SIZES = st.integers(1, 10**6).map(lambda lots: lots * LOT)
FILLS = st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=8)  # size, maker
NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9


def kalshi(
    fee_type: str = "quadratic", *, multiplier_ppm: int = 10**6, direct: bool = True, ns: int = NOW
) -> FeeTerms:
    change = KalshiFeeChange(fee_type=fee_type, multiplier_ppm=multiplier_ppm)
    return fees.kalshi_schedule([change], direct_member=direct).at(ns)


def buy_fee(terms: FeeTerms, contracts: str, price: int, *, maker: bool = False) -> int:
    size = int(Fraction(contracts) * 10**6)
    revenue = -price * size // 10_000
    return fees.charge(terms, price=price, size=size, revenue_micros=revenue, maker=maker).fee_micros


# contracts, price, maker, net fee of a direct member, of another account: the venue's and worked examples
EXAMPLES = [
    ("10", 4_700, False, 174_400, 180_000),
    ("10", 4_700, True, 43_600, 50_000),
    ("100", 5_000, False, 1_750_000, 1_750_000),
    ("100", 5_000, True, 437_500, 440_000),
    ("1", 550, False, 3_700, 5_000),
    ("2.5", 3_330, False, 38_900, 47_500),
]


@pytest.mark.parametrize(("contracts", "price", "maker", "direct", "cent"), EXAMPLES)
def test_worked_examples_of_the_present_rule(
    contracts: str, price: int, maker: bool, direct: int, cent: int
) -> None:
    for member, expected in ((True, direct), (False, cent)):
        terms = kalshi("quadratic_with_maker_fees", direct=member)
        assert buy_fee(terms, contracts, price, maker=maker) == expected


def test_makers_are_free_where_the_series_does_not_charge_them() -> None:
    assert buy_fee(kalshi("quadratic"), "10", 4_700, maker=True) == 0


ROUNDINGS = st.tuples(
    st.sampled_from([1, 100]), st.sampled_from([100, 10_000]), st.sampled_from([100, 10_000])
)


def kalshi_order(
    terms: FeeTerms, price: int, fills: list[tuple[int, bool]], revenue_per_contract: int
) -> tuple[list[int], FeeState]:
    state, charged = FeeState(), []
    for size, maker in fills:
        revenue = revenue_per_contract * size // 10_000
        fill = fees.charge(terms, price=price, size=size, revenue_micros=revenue, maker=maker, state=state)
        assert fill.rebate_micros == 0
        charged.append(fill.fee_micros)
        state = fill.state
    return charged, state


@given(PRICES, FILLS, ROUNDINGS, st.booleans())
def test_what_an_order_paid_is_its_trade_fees_and_what_the_accumulator_still_holds(
    price: int, fills: list[tuple[int, bool]], rounding: tuple[int, int, int], buys: bool
) -> None:
    trade_unit, balance_unit, rebate_unit = rounding
    terms = FeeTerms(
        formula=Formula.KALSHI,
        taker_ppm=70_000,
        maker_ppm=17_500,
        trade_fee_unit_micros=trade_unit,
        balance_unit_micros=balance_unit,
        rebate_unit_micros=rebate_unit,
    )
    charged, state = kalshi_order(terms, price, fills, -price if buys else price)
    p = Fraction(price, 10_000)
    trade_fees = 0
    for size, maker in fills:
        exact = Fraction(7, 400 if maker else 100) * size * p * (1 - p)
        trade_fees += math.ceil(exact / trade_unit) * trade_unit
    assert sum(charged) == state.charged_micros == trade_fees + state.accumulator_micros
    assert min(charged) >= 0
    assert state.accumulator_micros >= 0


@given(PRICES, FILLS, st.booleans())
def test_the_balance_stays_on_its_unit(price: int, fills: list[tuple[int, bool]], direct: bool) -> None:
    terms = kalshi("quadratic_with_maker_fees", direct=direct)
    unit = 100 if direct else 10_000
    charged, _ = kalshi_order(terms, price, fills, -price)
    for (size, _maker), fee in zip(fills, charged, strict=True):
        assert (-price * size // 10_000 - fee) % unit == 0


@given(st.integers(1, 99), st.lists(st.integers(1, 5_000), min_size=1, max_size=12), st.booleans())
def test_splitting_an_order_costs_no_more_than_its_roundings(
    cents: int, contracts: list[int], direct: bool
) -> None:
    terms = kalshi(direct=direct)
    price = cents * 100
    fills = [(n * 10**6, False) for n in contracts]
    split, state = kalshi_order(terms, price, fills, -price)
    (whole,), _ = kalshi_order(terms, price, [(sum(contracts) * 10**6, False)], -price)
    unit = terms.balance_unit_micros
    assert state.accumulator_micros < unit
    assert sum(split) < whole + unit + len(fills) * terms.trade_fee_unit_micros
    assert sum(split) > whole - unit


@given(PRICES, st.lists(SIZES, min_size=1, max_size=8))
def test_the_oldest_rule_charges_the_whole_order_to_the_cent(price: int, sizes: list[int]) -> None:
    terms = kalshi(ns=0)
    assert terms.order_cents
    split, _ = kalshi_order(terms, price, [(size, False) for size in sizes], -price)
    p = Fraction(price, 10_000)
    assert sum(split) == math.ceil(Fraction(7, 100) * sum(sizes) * p * (1 - p) / 10_000) * 10_000
    assert min(split) >= 0


@given(PRICES, SIZES, st.booleans(), st.sampled_from([0, fees.KALSHI_CENTICENT_NS, NOW]))
def test_fees_do_not_know_yes_from_no(price: int, size: int, maker: bool, ns: int) -> None:
    for terms in (kalshi("quadratic_with_maker_fees", ns=ns), fees.polymarket_terms(50_000, 150_000)):
        one, other = (
            fees.charge(terms, price=p, size=size, revenue_micros=-1_230_000, maker=maker)
            for p in (price, 10_000 - price)
        )
        assert one == other


def test_dated_versions_of_the_rounding_rule() -> None:
    march, september = kalshi(ns=fees.KALSHI_CENTICENT_NS), kalshi(ns=fees.KALSHI_MICRO_NS)
    assert kalshi(ns=fees.KALSHI_CENTICENT_NS - 1).order_cents
    assert (march.trade_fee_unit_micros, march.rebate_unit_micros, march.order_cents) == (100, 10_000, False)
    assert (september.trade_fee_unit_micros, september.rebate_unit_micros) == (1, 100)
    assert all(kalshi(ns=ns).source for ns in (0, fees.KALSHI_CENTICENT_NS, NOW))


def test_combo_makers_pay_half_of_the_taker_rate_since_august() -> None:
    fee_type = "quadratic_with_combo_maker_fees"
    assert kalshi(fee_type, ns=fees.KALSHI_COMBO_NS - 1).maker_ppm == 17_500
    assert kalshi(fee_type, ns=fees.KALSHI_COMBO_NS).maker_ppm == 35_000


def test_an_events_override_wins_field_by_field_from_its_date() -> None:
    schedule = fees.kalshi_schedule(
        [KalshiFeeChange(fee_type="quadratic_with_maker_fees", multiplier_ppm=10**6)],
        [KalshiFeeChange(effective_ns=NOW, multiplier_ppm=500_000)],
    )
    before, after = schedule.at(NOW - 1), schedule.at(NOW)
    assert (before.taker_ppm, before.maker_ppm) == (70_000, 17_500)
    assert (after.taker_ppm, after.maker_ppm) == (35_000, 8_750)


def test_a_scheduled_change_of_the_series_takes_effect_on_its_date() -> None:
    schedule = fees.kalshi_schedule(
        [
            KalshiFeeChange(fee_type="quadratic", multiplier_ppm=10**6),
            KalshiFeeChange(effective_ns=NOW, fee_type="quadratic_with_maker_fees"),
        ]
    )
    assert schedule.at(NOW - 1).maker_ppm == 0
    assert schedule.at(NOW).maker_ppm == 17_500


def test_a_waiver_ends_on_its_date() -> None:
    change = KalshiFeeChange(fee_type="quadratic", multiplier_ppm=10**6)
    schedule = fees.kalshi_schedule([change], waived_until_ns=NOW)
    assert schedule.at(NOW - 1).taker_ppm == 0
    assert schedule.at(NOW).taker_ppm == 70_000


@pytest.mark.parametrize("fee_type", ["flat", "cubic"])
def test_an_unknown_type_is_charged_the_dearest_known_terms_and_says_so(fee_type: str) -> None:
    terms = kalshi(fee_type)
    assert terms.assumed
    assert terms.maker_ppm >= kalshi("quadratic_with_combo_maker_fees").maker_ppm
    assert not kalshi().assumed


def test_a_series_must_state_its_fees() -> None:
    for series in ([], [KalshiFeeChange(fee_type="quadratic")], [KalshiFeeChange(multiplier_ppm=1)]):
        with pytest.raises(DataError, match="must state"):
            fees.kalshi_schedule(series)


def test_nothing_is_known_before_the_first_statement() -> None:
    late = KalshiFeeChange(effective_ns=NOW, fee_type="quadratic", multiplier_ppm=10**6)
    with pytest.raises(DataError, match="no terms at"):
        fees.kalshi_schedule([late]).at(NOW - 1)


def test_schedules_ascend() -> None:
    for versions in ((), (FeeTerms(formula=Formula.NONE, effective_ns=5), FeeTerms(formula=Formula.NONE))):
        with pytest.raises(DataError, match="ascend"):
            FeeSchedule("x", versions)


@pytest.mark.parametrize(
    "bad",
    [{"taker_ppm": -1}, {"rebate_ppm": 1_000_001}, {"exponent": 0}, {"balance_unit_micros": 0}],
)
def test_impossible_terms_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(DataError):
        FeeTerms(formula=Formula.KALSHI, **bad)  # type: ignore[arg-type]


# category, dollars for 100 shares at 0.50 and at 0.10 (the venue's table of late 2026), rebate share
POLYMARKET = [
    ("crypto", 1_750_000, 630_000, 200_000),
    ("sports", 1_250_000, 450_000, 150_000),
    ("politics", 1_000_000, 360_000, 250_000),
    ("weather", 1_250_000, 450_000, 250_000),
    ("geopolitics", 0, 0, 0),
]


@pytest.mark.parametrize(("category", "middle", "edge", "share"), POLYMARKET)
def test_polymarket_table(category: str, middle: int, edge: int, share: int) -> None:
    terms = fees.polymarket_schedule(category).at(NOW)
    for price, fee in ((5_000, middle), (1_000, edge)):
        taker = fees.charge(terms, price=price, size=10**8, revenue_micros=0, maker=False)
        maker = fees.charge(terms, price=price, size=10**8, revenue_micros=0, maker=True)
        assert (taker.fee_micros, taker.rebate_micros) == (fee, 0)
        assert (maker.fee_micros, maker.rebate_micros) == (0, fee * share // 10**6)


def test_polymarket_before_its_fees_was_free() -> None:
    june_2025 = int(datetime(2025, 6, 18, tzinfo=UTC).timestamp()) * 10**9
    for category in fees.POLYMARKET_CATEGORIES:
        assert fees.polymarket_schedule(category).at(june_2025).formula is Formula.NONE


def test_the_first_crypto_fees_were_squared() -> None:
    terms = fees.polymarket_schedule("crypto_short").at(fees.POLYMARKET_SHORT_CRYPTO_NS)
    fill = fees.charge(terms, price=5_000, size=10**8, revenue_micros=0, maker=False)
    assert fill.fee_micros == 1_562_500  # 100 x 0.25 x (1/4)^2, the published 1.5625 for 100 shares


@given(PRICES, st.integers(1, 10**12), st.sampled_from([1, 2]))
def test_polymarket_rounds_to_five_decimals(price: int, size: int, exponent: int) -> None:
    terms = fees.polymarket_terms(50_000, 0, exponent=exponent)
    p = Fraction(price, 10_000)
    exact = Fraction(5, 100) * size * (p * (1 - p)) ** exponent
    fee = fees.charge(terms, price=price, size=size, revenue_micros=0, maker=False).fee_micros
    assert fee % 10 == 0
    assert -5 <= exact - fee < 5  # half up
    assert fee == 0 or fee >= 10


def test_a_polymarket_market_may_charge_makers() -> None:
    terms = fees.polymarket_terms(50_000, 0, taker_only=False)
    assert fees.charge(terms, price=5_000, size=10**8, revenue_micros=0, maker=True).fee_micros == 1_250_000


def test_an_unknown_category_names_the_known_ones() -> None:
    with pytest.raises(DataError, match="'chess'; known: crypto_short"):
        fees.polymarket_schedule("chess")


def test_no_fees_cost_nothing() -> None:
    fill = fees.charge(fees.NO_FEES.at(NOW), price=5_000, size=10**8, revenue_micros=-1, maker=False)
    assert (fill.fee_micros, fill.rebate_micros) == (0, 0)
