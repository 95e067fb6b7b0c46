"""The pessimistic worst case against the compiled one, and against a search over every doubt."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.units import notional_ceil, notional_floor
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import worstcase
from pr3dict.kernels.position import apply_fill, yes_cash_micros
from pr3dict.kernels.world import new_market
from pr3dict.risk.exposure import (
    EventLoss,
    Exposure,
    FillExposure,
    OrderExposure,
    event_loss,
    joined_loss,
    losses,
    portfolio_heat,
)

CONTRACT = 1_000_000
sides = st.sampled_from([d.BID, d.ASK])
sizes = st.integers(1, 10**9) | st.integers(1, 30).map(lambda n: n * CONTRACT)
orders = st.lists(
    st.builds(OrderExposure, sides, st.booleans(), st.integers(1, 9_999), sizes), max_size=6
).map(tuple)
fills = st.lists(st.builds(FillExposure, sides, st.booleans(), st.integers(1, 9_999), sizes), max_size=4).map(
    tuple
)
holdings = st.integers(0, 10**9)
costs = st.integers(-(10**9), 10**9)
markets = st.builds(Exposure, holdings, holdings, costs, orders, fills)
settled = st.builds(Exposure, holdings, holdings, costs, orders)


def rows_of(exposure):
    """The same market as the compiled brain holds it."""
    market = new_market()[0]
    market.yes_contracts, market.no_contracts = exposure.yes_contracts, exposure.no_contracts
    market.cost_micros = exposure.cost_micros
    rows = np.zeros(len(exposure.orders), d.ORDER)
    for row, order in zip(rows, exposure.orders, strict=True):
        row["side"], row["price"], row["remaining"] = order.side, order.price, order.remaining
        row["leg"] = d.SELL_LEG if order.sell else d.BUY_LEG
        row["state"] = d.LIVE
    return market, rows.view(d.ORDER)


@given(settled)
def test_without_provisional_fills_it_is_the_compiled_worst_case(exposure):
    assert losses(exposure) == worstcase.loss_if(*rows_of(exposure))


def booked(nets, fills):
    """A position after fills, each booked as the compiled brain books it."""
    row = new_market()[0]
    for fill in fills:
        leg = d.SELL_LEG if fill.sell else d.BUY_LEG
        cash = yes_cash_micros(fill.side, fill.price, fill.size)
        apply_fill(row, nets, fill.side, leg, cash, fill.size)
    return int(row.yes_contracts), int(row.no_contracts), int(row.cost_micros)


def loss_of(yes, no, cost):
    return cost - yes, cost - no


@settings(max_examples=100)
@given(st.booleans(), fills, fills, orders.map(lambda o: o[:4]))
def test_it_is_the_worst_over_every_void_and_every_fill(nets, final, provisional, orders):
    """Venues that net and venues that keep tokens apart, sold legs included, searched completely."""
    exposure = Exposure(*booked(nets, [*final, *provisional]), orders, provisional)
    worst = [-(10**18), -(10**18)]
    for stay in product([False, True], repeat=len(provisional)):
        kept = [fill for fill, holds in zip(provisional, stay, strict=True) if holds]
        base = loss_of(*booked(nets, [*final, *kept]))
        for trade in product([False, True], repeat=len(orders)):
            done = [order for order, fills_too in zip(orders, trade, strict=True) if fills_too]
            bids = sum(o.price * o.remaining for o in done if o.side == d.BID)
            asks = sum((10_000 - o.price) * o.remaining for o in done if o.side == d.ASK)
            gain_bids = sum((10_000 - o.price) * o.remaining for o in done if o.side == d.BID)
            gain_asks = sum(o.price * o.remaining for o in done if o.side == d.ASK)
            worst[0] = max(worst[0], base[0] - (-(asks - gain_bids) // 10_000))
            worst[1] = max(worst[1], base[1] - (-(bids - gain_asks) // 10_000))
    assert losses(exposure) == tuple(worst)


def test_a_provisional_hedge_does_not_count_as_one():
    # 50 YES at 0.40; sold again at 0.45 by a fill that may be void: the loss if NO stays 20 dollars.
    bought = FillExposure(d.BID, False, 4_000, 50 * CONTRACT)
    sold = FillExposure(d.ASK, False, 4_500, 50 * CONTRACT)
    position = booked(True, [bought, sold])
    assert losses(Exposure(*position)) == (-2_500_000, -2_500_000)
    assert losses(Exposure(*position, provisional=(sold,))) == (-2_500_000, 20_000_000)


def test_a_void_takes_back_exactly_what_its_fill_booked():
    fill = FillExposure(d.BID, False, 3_333, 1_234_567)
    if_yes, if_no = losses(Exposure(*booked(False, [fill]), provisional=(fill,)))
    assert (if_yes, if_no) == (0, notional_ceil(3_333, 1_234_567))
    fill = FillExposure(d.ASK, False, 3_333, 1_234_567)
    if_yes, if_no = losses(Exposure(*booked(False, [fill]), provisional=(fill,)))
    assert (if_yes, if_no) == (1_234_567 - notional_floor(3_333, 1_234_567), 0)


@given(st.lists(markets, max_size=5))
def test_an_event_is_the_worst_over_its_outcomes(event):
    pairs = [losses(market) for market in event]
    none = sum(if_no for _, if_no in pairs)
    outcomes = [none] + [none - if_no + if_yes for if_yes, if_no in pairs]
    assert joined_loss(event) == max(*outcomes, 0)


@given(st.lists(markets, max_size=4), markets)
def test_joining_one_market_is_the_compiled_joining(others, market):
    rest = event_loss(others)
    if_yes, if_no = losses(market)
    assert rest.joined(if_yes, if_no) == worstcase.joined_loss_micros(*rest, if_yes, if_no)
    assert rest.joined(if_yes, if_no) == joined_loss([*others, market])
    assert EventLoss().joined(if_yes, if_no) == max(if_yes, if_no, 0)


@given(st.lists(st.tuples(settled, st.integers(-1, 2)), max_size=6))
def test_the_portfolio_is_the_compiled_heat(rows):
    events = {}
    for k, (market, event) in enumerate(rows):
        events.setdefault(event if event >= 0 else (-1, k), []).append(market)
    pairs = np.array([losses(market) for market, _ in rows], np.int64).reshape(-1, 2)
    ids = np.array([event for _, event in rows], np.int64)
    compiled = worstcase.portfolio_heat_micros(pairs[:, 0].copy(), pairs[:, 1].copy(), ids)
    assert portfolio_heat(events.values()) == compiled


@given(markets, sides, st.integers(1, 9_999))
def test_closing_what_is_surely_held_never_raises_the_loss_of_the_market(exposure, side, price):
    size = exposure.closing_contracts(side)
    if size == 0:
        return
    sure = Exposure(exposure.yes_contracts, exposure.no_contracts, exposure.cost_micros, exposure.orders)
    after = sure.with_order(OrderExposure(side, True, price, size))
    assert max(losses(after)) <= max(losses(sure)) + 1  # one rounding


def test_what_is_surely_held_leaves_doubts_and_promises_out():
    held = Exposure(50 * CONTRACT, 10 * CONTRACT, 0)
    assert (held.closing_contracts(d.ASK), held.closing_contracts(d.BID)) == (40 * CONTRACT, 0)
    promised = held.with_order(OrderExposure(d.ASK, True, 5_000, 15 * CONTRACT))
    assert promised.closing_contracts(d.ASK) == 25 * CONTRACT
    doubtful = Exposure(
        50 * CONTRACT, 10 * CONTRACT, 0, (), (FillExposure(d.BID, False, 5_000, 35 * CONTRACT),)
    )
    assert doubtful.closing_contracts(d.ASK) == 5 * CONTRACT
    short = Exposure(0, 7 * CONTRACT, 0, (), (FillExposure(d.BID, False, 5_000, CONTRACT),))
    assert (short.closing_contracts(d.BID), short.closing_contracts(d.ASK)) == (7 * CONTRACT, 0)
