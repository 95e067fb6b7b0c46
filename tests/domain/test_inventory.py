from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import WorkError
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.units import ASK, BID

SIDES = st.sampled_from([BID, ASK])
PRICES = st.integers(1, 9_999)
SIZES = st.integers(1, 10**8)
FILLS = st.lists(st.tuples(SIDES, PRICES, SIZES), max_size=12)
VALUES = st.integers(0, 10**6)
LOTS = st.integers(1, 10**4).map(lambda lots: lots * 10_000)


def after(fills: list[tuple[int, int, int]], *, nets: bool) -> Inventory:
    held = Inventory()
    for side, price, size in fills:
        held = held.fill(side, price, size, nets=nets)
    return held


def test_a_flat_market_has_no_skew() -> None:
    assert Inventory().skew_ratio == 0
    assert Inventory().net_position == 0


def test_skew_is_net_over_gross() -> None:
    held = Inventory(yes_contracts=30_000_000, no_contracts=10_000_000)
    assert (held.net_position, held.gross_position, held.skew_ratio) == (20_000_000, 40_000_000, 0.5)
    assert held.mirrored().skew_ratio == -0.5
    assert Inventory(yes_contracts=1).skew_ratio == 1


@given(FILLS)
def test_venues_differ_in_pairs_only(fills: list[tuple[int, int, int]]) -> None:
    netted, apart = after(fills, nets=True), after(fills, nets=False)
    assert netted.pairs == 0
    assert netted.net_position == apart.net_position
    assert netted.pnl_if_yes_micros == apart.pnl_if_yes_micros
    assert netted.pnl_if_no_micros == apart.pnl_if_no_micros
    assert apart.merge(apart.pairs).cost_micros == netted.cost_micros


class Purse(NamedTuple):
    """The obvious way: contracts and cash, nothing else."""

    yes: int = 0
    no: int = 0
    cash: int = 0


def slow_netting_fill(purse: Purse, side: int, price: int, size: int) -> Purse:
    """Close what is held of the other side first, as Kalshi does (whole lots, so that cash is exact)."""
    yes, no, cash = purse
    if side == BID:
        closed = min(no, size)
        cash += (10_000 - price) * closed // 10_000 - price * (size - closed) // 10_000
        return Purse(yes + size - closed, no - closed, cash)
    closed = min(yes, size)
    cash += price * closed // 10_000 - (10_000 - price) * (size - closed) // 10_000
    return Purse(yes - closed, no + size - closed, cash)


@given(st.lists(st.tuples(SIDES, PRICES, LOTS), max_size=12))
def test_netting_against_the_obvious_way(fills: list[tuple[int, int, int]]) -> None:
    purse, held = Purse(), Inventory()
    for fill in fills:
        purse, held = slow_netting_fill(purse, *fill), held.fill(*fill, nets=True)
        assert (held.yes_contracts, held.no_contracts, -held.cost_micros) == purse


@given(FILLS, st.data())
def test_tokens_held_apart_may_be_sold(fills: list[tuple[int, int, int]], data: st.DataObject) -> None:
    held = after(fills, nets=False)
    side = data.draw(SIDES)
    stock = held.no_contracts if side == BID else held.yes_contracts
    if stock == 0:
        with pytest.raises(WorkError, match="cannot sell"):
            held.fill(side, 5_000, 1, nets=False, sell=True)
        return
    size, price = data.draw(st.integers(1, stock)), data.draw(PRICES)
    sold = held.fill(side, price, size, nets=False, sell=True)
    bought = held.fill(side, price, size, nets=False)
    assert sold.gross_position == held.gross_position - size
    assert sold.net_position == bought.net_position
    # Selling what is held and buying its complement earn the same in both outcomes.
    assert sold.pnl_if_yes_micros == bought.pnl_if_yes_micros
    assert sold.pnl_if_no_micros == bought.pnl_if_no_micros
    with pytest.raises(WorkError, match="buy the other side"):
        held.fill(side, price, stock + 1, nets=False, sell=True)


@given(FILLS, st.booleans(), VALUES)
def test_settlement_realises_exactly_what_the_position_was_worth(
    fills: list[tuple[int, int, int]], nets: bool, value: int
) -> None:
    held = after(fills, nets=nets)
    settled = held.settle(value)
    assert settled.gross_position == 0
    assert settled.realised_micros == held.payout_micros(value) - held.cost_micros
    assert held.settle(10**6).realised_micros == held.pnl_if_yes_micros
    assert held.settle(0).realised_micros == held.pnl_if_no_micros
    assert held.worst_case_micros <= settled.realised_micros


@given(FILLS, st.booleans(), VALUES)
def test_swapping_yes_and_no_mirrors_everything(
    fills: list[tuple[int, int, int]], nets: bool, value: int
) -> None:
    held = after(fills, nets=nets)
    swapped = after([(1 - side, 10_000 - price, size) for side, price, size in fills], nets=nets)
    assert swapped == held.mirrored()
    assert swapped.settle(10**6 - value) == held.settle(value)


@given(FILLS)
def test_cost_of_what_is_held_is_never_lost(fills: list[tuple[int, int, int]]) -> None:
    held = after(fills, nets=True)
    assert held.yes_cost_micros >= 0
    assert held.no_cost_micros >= 0
    if held.gross_position == 0:
        assert held.yes_cost_micros == held.no_cost_micros == 0


@given(FILLS)
def test_merging_every_pair_realises_their_riskless_profit(fills: list[tuple[int, int, int]]) -> None:
    held = after(fills, nets=False)
    realised = held.merge(held.pairs).realised_micros - held.realised_micros
    assert 0 <= realised - held.pair_pnl_micros <= 2  # average costs are rounded against us when quoted


@pytest.mark.parametrize("pairs", [-1, 11])
def test_only_pairs_that_are_held_merge(pairs: int) -> None:
    with pytest.raises(WorkError, match="cannot merge"):
        Inventory(yes_contracts=20, no_contracts=10).merge(pairs)


@pytest.mark.parametrize(("price", "size"), [(-1, 1), (10_001, 1), (5_000, 0), (5_000, -1)])
def test_impossible_fills_are_refused(price: int, size: int) -> None:
    with pytest.raises(WorkError):
        Inventory().fill(BID, price, size, nets=True)


@pytest.mark.parametrize("value", [-1, 1_000_001])
def test_a_contract_pays_between_nothing_and_a_dollar(value: int) -> None:
    with pytest.raises(WorkError):
        Inventory().settle(value)
