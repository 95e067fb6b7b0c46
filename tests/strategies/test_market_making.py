"""The market maker as an object: inventory by market, fixed size, and decisions of the compiled policy."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import UsageError, WorkError
from pr3dict.strategies import MarketMakingConfig, MarketMakingStrategy
from pr3dict.strategies.decision import as_dict


def strategy(**changes) -> MarketMakingStrategy:
    return MarketMakingStrategy(config=MarketMakingConfig(**changes))


def test_surface_of_the_requirement():
    config = MarketMakingConfig(base_spread=Decimal("0.04"), max_inventory=50, quote_size=10)
    maker = MarketMakingStrategy(config=config)
    maker.update_inventory(market_id="M", side="yes", quantity=10, price=Decimal("0.48"))
    assert maker.inventory("M").net_position == 10 * 10**6
    assert maker.get_position_size(None, Decimal(10_000), Decimal("0.02")) == config.quote_size == 10


def test_inventory_is_exact_and_apart_by_market():
    maker = strategy()
    maker.update_inventory(market_id="A", side="yes", quantity="10.5", price="0.48")
    maker.update_inventory(market_id="A", side="no", quantity=4, price="0.52")
    held = maker.update_inventory(market_id="A", side="sell_yes", quantity=1, price="0.50")
    assert (held.yes_contracts, held.no_contracts) == (9_500_000, 4_000_000)
    # 10.5 x 0.48 paid, 4 NO at 1 - 0.52 paid, 0.50 received
    assert held.cost_micros == 5_040_000 + 1_920_000 - 500_000
    assert maker.inventory("B").gross_position == 0
    netted = maker.update_inventory(market_id="A", side="buy_no", quantity=5, price="0.5", nets=True)
    assert (netted.yes_contracts, netted.no_contracts) == (500_000, 0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"side": "long"}, UsageError),
        ({"quantity": 0}, UsageError),
        ({"quantity": "-1"}, UsageError),
        ({"quantity": "NaN"}, UsageError),
        ({"price": "1.01"}, UsageError),
        ({"price": "0.00001"}, UsageError),
        ({"side": "sell_no"}, WorkError),
    ],
)
def test_an_impossible_fill_changes_nothing(change, error):
    maker = strategy()
    fill = {"market_id": "M", "side": "yes", "quantity": 1, "price": "0.5"} | change
    with pytest.raises(error):
        maker.update_inventory(**fill)
    assert maker.inventory("M").gross_position == 0


def test_what_is_held_shapes_the_decision():
    maker = strategy()
    maker.update_inventory(market_id="M", side="yes", quantity=25, price="0.48")
    held = maker.quote(market_id="M", fair="0.50", liquidity=12_000, hours=24)
    assert held == maker.quote(net=25, fair="0.50", liquidity=12_000, hours=24)
    assert held.state == "rebalancing"
    assert held.bid is None
    assert (held.ask.price, held.ask.size) == (Decimal("0.52"), 10)


def test_touch_clamps_filters_and_absorbs():
    maker = strategy(levels=2)
    free = maker.quote(fair="0.50", liquidity=20_000, hours=72)
    assert [order.price for order in free.bids] == [Decimal("0.48"), Decimal("0.47")]
    tight = maker.quote(fair="0.50", liquidity=20_000, hours=72, best_bid="0.40", best_ask="0.47")
    assert tight.bid.price == Decimal("0.46")
    assert "bid_clamped_post_only" in tight.reasons
    narrow = maker.quote(fair="0.50", liquidity=20_000, hours=72, best_bid="0.49", best_ask="0.50")
    assert narrow.bid is None
    assert "narrow_spread" in narrow.reasons
    away = maker.quote(fair="0.50", liquidity=20_000, hours=72, net=60, best_bid="0.40", best_ask="0.60")
    assert away.is_exit
    assert "exit_unabsorbed" in away.reasons
    unknown = maker.quote(fair="0.50", liquidity=20_000, hours=72, net=60)
    assert "exit_unabsorbed" not in unknown.reasons


@pytest.mark.parametrize(
    "change",
    [
        {"fair": "0"},
        {"fair": "1"},
        {"fair": "nan"},
        {"fair": "half"},
        {"liquidity": -1},
        {"liquidity": "inf"},
        {"hours": "-0.1"},
        {"hours": "1e9"},
        {"net": "nan"},
        {"net": 10**7},
        {"tick": "0.03"},
        {"tick": "0.00005"},
        {"tick": "0"},
        {"tick": "nan"},
        {"best_bid": "0.4"},
        {"best_bid": "0.6", "best_ask": "0.6"},
        {"best_bid": "0.405", "best_ask": "0.6"},
        {"best_bid": "0", "best_ask": "0.6"},
    ],
)
def test_numbers_that_no_market_has_are_refused(change):
    numbers = {"fair": "0.5", "liquidity": 20_000, "hours": 72} | change
    with pytest.raises(UsageError) as caught:
        strategy().quote(**numbers)
    assert "\n" not in str(caught.value)


def test_terms_tell_the_spread_step_by_step():
    decision = strategy().quote(fair="0.5", liquidity=6_000, hours=3, net=25, volatile=True)
    told = [(term.name, str(term.value), term.effect) for term in decision.terms]
    assert told == [
        ("base_spread", "0.04", ""),
        ("low_liquidity", "0.06", "+0.02"),
        ("high_volatility", "0.09", "x1.5"),
        ("time_to_close", "0.18", "x2"),
        ("inventory", "0.234", "x1.3"),
        ("markouts", "0.234", ""),
        ("news", "0.234", ""),
        ("clamp", "0.12", "clamped"),
        ("skew", "-0.02", "-0.02"),
    ]


@given(
    cents=st.integers(3, 97),
    net=st.integers(-60, 60),
    hours=st.sampled_from(["0.2", "3", "24", "72"]),
    liquidity=st.sampled_from([3_000, 6_000, 20_000, 90_000]),
)
@settings(max_examples=60, deadline=None)
def test_yes_and_no_are_told_the_same_story(cents, net, hours, liquidity):
    maker = strategy(levels=3)
    here = maker.quote(fair=Decimal(cents) / 100, net=net, hours=hours, liquidity=liquidity)
    there = maker.quote(fair=1 - Decimal(cents) / 100, net=-net, hours=hours, liquidity=liquidity)
    assert [(1 - o.price, o.size) for o in there.asks] == [(o.price, o.size) for o in here.bids]
    assert [(1 - o.price, o.size) for o in there.bids] == [(o.price, o.size) for o in here.asks]
    assert (there.state, there.spread, there.skew) == (here.state, here.spread, -here.skew)
    assert as_dict(here)["state"] == here.state
