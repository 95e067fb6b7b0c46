"""Settings: units that convert exactly, bounds and relations that are held, sentences that name the key."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pr3dict.domain.errors import ConfigError
from pr3dict.kernels import dtypes as d
from pr3dict.strategies.config import MarketMakingConfig

NUMBERS = [key for key in MarketMakingConfig.model_fields if MarketMakingConfig.facts(key)["scale"]]


def test_defaults_are_the_requirement():
    params = MarketMakingConfig().to_params()[0]
    hour, second, contract, dollar = 3600 * 10**9, 10**9, 10**6, 10**6
    expected = {
        "base_spread_micros": 40_000,
        "min_spread_micros": 20_000,
        "max_spread_micros": 120_000,
        "low_liquidity_micros": 10_000 * dollar,
        "low_liquidity_addon_micros": 20_000,
        "volatility_multiplier_ppm": 1_500_000,
        "high_volatility_micros": 50_000,
        "volatility_grid_ns": 10 * second,
        "volatility_samples": 60,
        "final_ns": 6 * hour,
        "final_multiplier_ppm": 2_000_000,
        "closing_ns": 24 * hour,
        "closing_multiplier_ppm": 1_500_000,
        "inventory_multiplier_ppm": 1_300_000,
        "inventory_skew_threshold": 10 * contract,
        "skew_per_10_micros": 10_000,
        "target_inventory": 0,
        "rebalance_threshold": 20 * contract,
        "max_inventory": 50 * contract,
        "max_position_size": 100 * contract,
        "exit_inventory": 5 * contract,
        "min_liquidity_micros": 5_000 * dollar,
        "min_time_to_resolution_ns": hour // 2,
        "max_time_to_resolution_ns": 168 * hour,
        "min_existing_spread_micros": 20_000,
        "quote_size": 10 * contract,
        "liquid_market_micros": 50_000 * dollar,
        "liquid_size_multiplier_ppm": 1_000_000,
        "max_quote_age_ns": 30 * second,
        "requote_threshold_micros": 20_000,
        "levels": 1,
        "level_spacing_micros": 10_000,
        "volume_spike_ppm": 3_000_000,
        "volume_window_ns": 60 * second,
        "volume_baseline_ns": 1800 * second,
        "volume_pause_ns": 60 * second,
    }
    assert {name: params[name].item() for name in expected} == expected
    assert MarketMakingConfig().max_markets == 10
    rules = MarketMakingConfig().to_rules()[0]
    expected = {
        "max_heat_ppm": 250_000,
        "daily_loss_limit_micros": 500 * dollar,
        "rearm_daily": 0,
        "max_order_rate": 10.0,
        "max_markets": 10,
        "rotation_interval_ns": 600 * second,
        "rotation_advantage_ppm": 200_000,
        "selection_memory_ns": 6 * 3600 * second,
    }
    assert {name: rules[name].item() for name in expected} == expected


def test_every_params_field_is_driven_by_a_setting():
    driven = {MarketMakingConfig.facts(key)["param"] for key in MarketMakingConfig.model_fields} - {""}
    assert driven | {"volatility_samples", "decision_interval_ns"} == set(d.PARAMS.names or ())


@pytest.mark.parametrize("key", NUMBERS)
def test_each_number_reaches_its_row_exactly(key):
    facts = MarketMakingConfig.facts(key)
    config = MarketMakingConfig()
    if facts["param"]:
        assert config.to_params()[0][facts["param"]] == getattr(config, key) * facts["scale"]
    assert config.integer(key) == getattr(config, key) * facts["scale"]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "abc", "", "1e99", True, None, [1], "-1000001"])
def test_no_number_takes_nonsense(key, value):
    with pytest.raises(ConfigError, match=f"^{key}: .* is not allowed; give a .*number from ") as caught:
        MarketMakingConfig(**{key: value})
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(set(MarketMakingConfig.model_fields) - set(NUMBERS)))
def test_no_choice_takes_another_word(key):
    with pytest.raises(ConfigError, match=f"^{key}: maybe is not allowed; give one of "):
        MarketMakingConfig(**{key: "maybe"})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"min_spread": "0.05"}, "min_spread: 0.05 is above base_spread 0.04"),
        ({"base_spread": "0.13"}, "base_spread: 0.13 is above max_spread 0.12"),
        ({"min_time_to_resolution": 200}, "min_time_to_resolution: 200 is above max_time_to_resolution 168"),
        ({"final_hours": 30}, "final_hours: 30 is above closing_hours 24"),
        ({"inventory_skew_threshold": 21}, "inventory_skew_threshold: 21 is above rebalance_threshold 20"),
        ({"max_inventory": 15}, "rebalance_threshold: 20 is above max_inventory 15"),
        ({"max_inventory": 101}, "max_inventory: 101 is above max_position_size 100"),
        ({"exit_inventory": 51}, "exit_inventory: 51 is above max_inventory 50"),
        ({"quote_size": 101}, "quote_size: 101 is above max_order_size 100"),
        ({"target_inventory": -51}, "target_inventory: -51 is further from 0 than max_inventory 50"),
        ({"max_exit_slippage": "0.3"}, "max_exit_slippage: 0.3 is above price_band 0.2"),
        ({"price_band": "0.055"}, "price_band: 0.055 is below half of max_spread 0.12"),
        ({"volume_baseline_seconds": 30}, "volume_window_seconds: 60 is above volume_baseline_seconds 30"),
        ({"volume_window_seconds": 10}, "volume_baseline_seconds: 1800 is over 42 windows of 10"),
        ({"volatility_window_seconds": 2000}, "volatility_window_seconds: 2000 must be 2 to 128 whole steps"),
        ({"volatility_grid_seconds": 7}, "volatility_window_seconds: 600 must be 2 to 128 whole steps"),
        ({"base_spread": "0.0400001"}, "base_spread: 0.0400001 is finer than 0.000001"),
        ({"base_spread": 0.1 + 0.2 - 0.26}, "base_spread: .* is finer than"),
        ({"levels": "2.5"}, "levels: 2.5 is not allowed; give a whole number from 1 to 10"),
        ({"base_spreed": 1}, "base_spreed: there is no such setting; did you mean base_spread?"),
        ({"qqq": 1}, "qqq: there is no such setting; see docs/reference/config.md"),
    ],
)
def test_what_can_not_be_is_said_in_one_sentence(settings, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence.replace('?', '[?]')}"):
        MarketMakingConfig(**settings)


@pytest.mark.parametrize(
    ("text", "hours"), [("90s", "0.025"), ("30m", "0.5"), ("36h", "36"), ("7d", "168"), ("1800000ms", "0.5")]
)
def test_times_take_a_suffix(text, hours):
    assert MarketMakingConfig(min_time_to_resolution=text).min_time_to_resolution == Decimal(hours)


@given(st.integers(1, 59))
def test_minutes_are_exact_although_hours_are_not_decimal(minutes):
    config = MarketMakingConfig(min_time_to_resolution=f"{minutes}m")
    assert config.to_params()[0].min_time_to_resolution_ns == minutes * 60 * 10**9


def test_a_suffix_is_only_for_times():
    with pytest.raises(ConfigError, match="quote_size: 5m is not allowed"):
        MarketMakingConfig(quote_size="5m")


def test_a_config_is_frozen_and_changes_are_checked_as_a_whole():
    config = MarketMakingConfig(max_inventory=30)
    with pytest.raises(ValidationError, match="frozen"):
        config.max_inventory = 40
    changed = config.with_changes(quote_size=5)
    assert (changed.max_inventory, changed.quote_size, config.quote_size) == (30, 5, 10)
    with pytest.raises(ConfigError, match="rebalance_threshold"):
        config.with_changes(max_inventory=10)


def test_each_setting_says_its_unit_and_meaning():
    for key, field in MarketMakingConfig.model_fields.items():
        assert field.description, key
        assert MarketMakingConfig.facts(key)["unit"] or not MarketMakingConfig.facts(key)["scale"], key
