from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.ledger import Attribution, Fill, Valuation, effective_realized_impact, fold
from pr3dict.domain.units import ASK, BID

PICO = 10**6  # 1e-12 dollar in a micro

MIDS = st.one_of(st.just(-1), st.integers(0, 10**6))
TRADE = st.tuples(
    st.sampled_from("ABC"),  # market
    st.sampled_from([BID, ASK]),
    st.integers(1, 9_999),  # price
    st.one_of(st.integers(1, 10**9), st.integers(1, 10**4).map(lambda lots: lots * 10_000)),
    MIDS,
    MIDS,
    st.integers(0, 10**5),  # fee
    st.integers(0, 10**5),  # rebate
    st.booleans(),  # sell what is held, where possible
)
TRADES = st.lists(TRADE, max_size=20)
VALUATION = st.builds(
    lambda mark, settled, value: Valuation(mark_micros=mark, settled=settled, value_micros=value),
    st.integers(0, 10**6),
    st.booleans(),
    st.one_of(st.sampled_from([0, 10**6, -1]), st.integers(0, 10**6)),
)
VALUATIONS = st.fixed_dictionaries({m: VALUATION for m in "ABC"})


def play(trades: list[tuple[Any, ...]], *, nets: bool) -> tuple[list[Fill], dict[str, Inventory]]:
    """Fills with the cash that an account moves when it makes these trades."""
    held = {m: Inventory() for m in "ABC"}
    fills = []
    for ns, (market, side, price, size, mid, after, fee, rebate, sell) in enumerate(trades):
        before = held[market]
        stock = before.no_contracts if side == BID else before.yes_contracts
        held[market] = before.fill(side, price, size, nets=nets, sell=sell and size <= stock and not nets)
        fills.append(
            Fill(
                exch_ns=ns,
                market=market,
                side=side,
                price=price,
                size=size,
                cash_micros=before.cost_micros - held[market].cost_micros,
                fee_micros=fee,
                rebate_micros=rebate,
                mid_micros=mid,
                after_micros=after,
                trade_id=f"t{ns}",
            )
        )
    return fills, held


def equity(held: Inventory, valuation: Valuation) -> int:
    """Cash and position of a market's account, fees apart."""
    if not valuation.settled:
        return held.payout_micros(valuation.mark_micros) - held.cost_micros
    if valuation.value_micros < 0:
        return 0  # void: what was paid comes back
    return held.settle(valuation.value_micros).realised_micros


@given(TRADES, VALUATIONS, st.booleans())
def test_the_parts_add_up_to_the_change_of_equity(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], nets: bool
) -> None:
    fills, held = play(trades, nets=nets)
    ledger = fold(fills, valuations)
    for market, account in ledger.markets.items():
        own = [f for f in fills if f.market == market]
        costs = sum(f.rebate_micros - f.fee_micros for f in own)
        assert account.attribution.net_micros == equity(held[market], valuations[market]) + costs
        assert account.net_contracts == held[market].net_position
        assert account.fills == len(own)
    total = sum(a.attribution.net_micros for a in ledger.markets.values())
    assert ledger.total.net_micros == total


@given(TRADES, VALUATIONS, st.booleans())
def test_each_part_against_the_formula(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], nets: bool
) -> None:
    fills, _ = play(trades, nets=nets)
    for market, account in fold(fills, valuations).markets.items():
        v = valuations[market]
        gross = adverse = inventory = resolution = Fraction(0)
        own = [f for f in fills if f.market == market]
        for f in own:
            d = (1 if f.side == BID else -1) * Fraction(f.size, PICO)
            mid = f.mid_micros if f.mid_micros >= 0 else f.price * 100
            after = f.after_micros if f.after_micros >= 0 else v.mark_micros
            gross += d * (mid - f.price * 100)
            adverse += d * (after - mid)
            inventory += d * (v.mark_micros - after)
            if v.settled and v.value_micros >= 0:
                resolution += d * (v.value_micros - v.mark_micros)
        if v.settled and v.value_micros < 0:
            resolution = -(gross + adverse + inventory)
        parts = account.attribution
        assert abs(parts.gross_spread - gross) < 1
        assert abs(parts.adverse_selection - adverse) < 1
        assert abs(parts.resolution - resolution) <= 1
        assert abs(parts.inventory - inventory) <= len(own) + 4


@given(TRADES, VALUATIONS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_fills_does_not_matter(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], nets: bool, shuffler: random.Random
) -> None:
    fills, _ = play(trades, nets=nets)
    shuffled = list(fills)
    shuffler.shuffle(shuffled)
    assert fold(shuffled, valuations) == fold(fills, valuations)


@given(TRADES, VALUATIONS, st.booleans())
def test_markets_do_not_touch_each_other(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], nets: bool
) -> None:
    fills, _ = play(trades, nets=nets)
    whole = fold(fills, valuations)
    for market, account in whole.markets.items():
        alone = fold([f for f in fills if f.market == market], valuations)
        assert alone.markets == {market: account}
        assert alone.total == account.attribution


@given(TRADES, VALUATIONS, st.data())
def test_repeated_fills_are_counted_once(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], data: st.DataObject
) -> None:
    fills, _ = play(trades, nets=True)
    again = data.draw(st.lists(st.sampled_from(fills), max_size=5)) if fills else []
    once, twice = fold(fills, valuations), fold(fills + again, valuations)
    assert (twice.markets, twice.total) == (once.markets, once.total)
    assert twice.duplicates == len(again)


@given(TRADES, VALUATIONS, st.booleans())
def test_swapping_yes_and_no_changes_no_part(
    trades: list[tuple[Any, ...]], valuations: dict[str, Valuation], nets: bool
) -> None:
    def flip(value: int) -> int:
        return value if value < 0 else 10**6 - value

    mirrored = [
        (m, 1 - side, 10_000 - price, size, flip(mid), flip(after), fee, rebate, sell)
        for m, side, price, size, mid, after, fee, rebate, sell in trades
    ]
    other_values = {
        m: Valuation(mark_micros=flip(v.mark_micros), settled=v.settled, value_micros=flip(v.value_micros))
        for m, v in valuations.items()
    }
    ours = fold(play(trades, nets=nets)[0], valuations)
    theirs = fold(play(mirrored, nets=nets)[0], other_values)
    assert {m: a.attribution for m, a in theirs.markets.items()} == {
        m: a.attribution for m, a in ours.markets.items()
    }


def a_fill(**changes: Any) -> Fill:
    """10 YES bought at 0.45 with the mid at 0.47."""
    fields: dict[str, Any] = {
        "exch_ns": 1,
        "market": "M",
        "side": BID,
        "price": 4_500,
        "size": 10_000_000,
        "cash_micros": -4_500_000,
        "mid_micros": 470_000,
        "after_micros": 460_000,
    }
    return Fill(**(fields | changes))


def only(fill: Fill, valuation: Valuation) -> Attribution:
    return fold([fill], {"M": valuation}).total


def test_a_fill_by_hand() -> None:
    fill = a_fill(fee_micros=43_600, rebate_micros=1_000)
    won = Valuation(mark_micros=600_000, settled=True, value_micros=1_000_000)
    ledger = fold([fill], {"M": won}, {"M": 250_000})
    assert ledger.total == Attribution(
        gross_spread=200_000,
        adverse_selection=-100_000,
        inventory=1_400_000,
        resolution=4_000_000,
        fees=-43_600,
        rebates=1_000,
        rewards=250_000,
    )
    assert ledger.total.net_micros == 10_000_000 - 4_500_000 - 43_600 + 1_000 + 250_000


def test_without_a_mid_at_the_fill_no_spread_is_claimed() -> None:
    parts = only(a_fill(mid_micros=-1), Valuation(mark_micros=500_000))
    assert (parts.gross_spread, parts.adverse_selection, parts.inventory) == (0, 100_000, 400_000)


def test_a_horizon_that_was_not_reached_ends_at_the_last_mark() -> None:
    parts = only(a_fill(after_micros=-1), Valuation(mark_micros=500_000))
    assert (parts.gross_spread, parts.adverse_selection, parts.inventory) == (200_000, 300_000, 0)


def test_without_a_mark_the_position_is_followed_to_settlement() -> None:
    parts = only(a_fill(), Valuation(settled=True, value_micros=0))
    assert (parts.gross_spread, parts.adverse_selection, parts.inventory) == (200_000, -100_000, 0)
    assert parts.resolution == -4_600_000


def test_a_void_takes_everything_but_fees_back() -> None:
    for mark in (500_000, -1):
        parts = only(a_fill(fee_micros=7), Valuation(mark_micros=mark, settled=True))
        assert (parts.net_micros, parts.gross_spread) == (-7, 200_000)


def test_an_open_position_needs_a_price() -> None:
    with pytest.raises(DataError, match="M: 10000000 micro-contracts are open"):
        only(a_fill(), Valuation())


def test_pairs_need_no_price() -> None:
    no = a_fill(side=ASK, price=4_700, cash_micros=-5_300_000)
    ledger = fold([a_fill(), no], {})
    assert ledger.total.net_micros == 200_000
    assert ledger.markets["M"].value_micros == 10_000_000


@pytest.mark.parametrize("cash", [-4_500_001, 5_500_001])
def test_cash_that_fits_no_contract_is_refused(cash: int) -> None:
    with pytest.raises(DataError, match="cannot move"):
        only(a_fill(cash_micros=cash), Valuation(mark_micros=500_000))


def test_cash_is_a_mix_of_yes_and_no() -> None:
    # Buying 10 at 0.45 while short 4: 6 YES cost 2.70 and 4 NO come back at 0.55.
    ledger = fold([a_fill(cash_micros=-2_700_000 + 2_200_000)], {"M": Valuation(mark_micros=450_000)})
    account = ledger.markets["M"]
    assert account.no_contracts == -4_000_000
    assert ledger.total.net_micros == 0


def test_a_trade_that_comes_back_changed_is_refused() -> None:
    first = a_fill(trade_id="t1")
    changed = msgspec.structs.replace(first, price=4_400, cash_micros=-4_400_000)
    with pytest.raises(DataError, match="M: trade t1 came twice with different price, cash_micros"):
        fold([first, changed], {"M": Valuation(mark_micros=500_000)})


def test_the_same_trade_id_in_two_markets_is_two_trades() -> None:
    ledger = fold(
        [a_fill(trade_id="t1"), a_fill(trade_id="t1", market="N")],
        {"M": Valuation(mark_micros=450_000), "N": Valuation(mark_micros=450_000)},
    )
    assert ledger.duplicates == 0
    assert set(ledger.markets) == {"M", "N"}


def test_rewards_count_without_fills() -> None:
    assert fold([], {}, {"M": 5}).markets["M"].attribution == Attribution(rewards=5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, -1]),
            st.integers(0, 10**6),
            st.integers(0, 10**6),
            st.integers(0, 10**6),
            st.integers(1, 10**9),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_effective_is_realized_plus_impact(trades: list[tuple[int, int, int, int, int]]) -> None:
    halves = effective_realized_impact(trades)
    weight = sum(size for *_, size in trades)
    impact = sum(Fraction(d * (after - mid) * size, weight) for d, _, mid, after, size in trades)
    assert halves.effective == halves.realized + halves.impact
    assert halves.impact == impact


def test_half_spreads_need_trades() -> None:
    with pytest.raises(DataError):
        effective_realized_impact([])
