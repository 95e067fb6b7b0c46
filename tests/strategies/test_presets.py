"""Presets as the requirement has them, and the order in which sources of settings win."""

from decimal import Decimal

import pytest

from pr3dict.domain.errors import ConfigError
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import PRESETS, build_config, preset, read_assignments, read_toml

TABLE = {
    "conservative": ("0.03", "0.06", 30, 5, 30, 10),
    "default": ("0.02", "0.04", 50, 10, 30, 10),
    "aggressive": ("0.015", "0.03", 75, 20, 30, 10),
    "high_frequency": ("0.02", "0.04", 50, 3, 5, 20),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_four_presets_differ_from_the_default_only_in_the_table(name):
    config = preset(name)
    figures = (
        config.min_spread,
        config.base_spread,
        config.max_inventory,
        config.quote_size,
        config.max_quote_age_seconds,
        config.max_markets,
    )
    assert figures == (Decimal(TABLE[name][0]), Decimal(TABLE[name][1]), *TABLE[name][2:])
    rows = {
        "min_spread",
        "base_spread",
        "max_inventory",
        "quote_size",
        "max_quote_age_seconds",
        "max_markets",
    }
    assert config.model_dump(exclude=rows) == MarketMakingConfig().model_dump(exclude=rows)


def test_short_dated():
    params = preset("short_dated").to_params()[0]
    minute = 60 * 10**9
    assert params.min_time_to_resolution_ns == minute
    assert params.max_time_to_resolution_ns == 60 * minute
    assert (params.final_ns, params.closing_ns) == (2 * minute, 5 * minute)
    assert (params.min_spread_micros, params.base_spread_micros, params.max_spread_micros) == (
        10_000,
        10_000,
        60_000,
    )
    assert (params.volatility_multiplier_ppm, params.low_liquidity_addon_micros) == (1_000_000, 0)
    assert (params.min_existing_spread_micros, params.min_liquidity_micros) == (10_000, 2_000 * 10**6)
    assert (params.max_quote_age_ns, params.requote_threshold_micros) == (10**9, 5_000)
    assert (params.volume_window_ns, params.volume_baseline_ns) == (10 * 10**9, 3 * minute)
    assert params.skew_per_10_micros == 5_000
    assert set(PRESETS) == {*TABLE, "short_dated"}


def test_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no preset 'agressive'; did you mean aggressive[?]"):
        preset("agressive")


def test_file_wins_over_preset_and_set_over_file():
    table = read_toml("[market_making]\nbase_spread = 0.05\nquote_size = 7\n", "mm.toml")
    config = build_config("conservative", table, "mm.toml", ["quote_size=8"])
    assert (config.base_spread, config.quote_size, config.max_inventory) == (Decimal("0.05"), 8, 30)


def test_a_file_may_name_its_preset_and_the_command_line_overrides_it():
    table = read_toml('[market_making]\npreset = "aggressive"\n', "mm.toml")
    assert build_config(None, table).quote_size == 20
    assert build_config("high_frequency", table).quote_size == 3
    assert build_config().quote_size == 10


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[market_making", "mm.toml: not valid TOML"),
        ("base_spread = 1", r"mm.toml: base_spread: settings go below \[market_making\]"),
        ("", r"mm.toml: there is no \[market_making\] table"),
        ("[market_makng]\n", "mm.toml: market_makng: settings go below"),
        ("market_making = 3", r"mm.toml: there is no \[market_making\] table"),
    ],
)
def test_a_wrong_file_is_named(text, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        read_toml(text, "mm.toml")


@pytest.mark.parametrize(
    ("file", "single", "sentence"),
    [
        ("quote_size = nan", [], "mm.toml: quote_size: NaN is not allowed"),
        ("quote_sise = 3", [], "mm.toml: quote_sise: there is no such setting; did you mean quote_size[?]"),
        ("quote_size = 3", ["max_inventory=4"], "rebalance_threshold: 20 is above max_inventory 4"),
        ("min_spread = 0.05", [], "mm.toml: min_spread: 0.05 is above base_spread 0.04"),
        ("min_spread = 0.01", ["min_spread=0.05"], "--set min_spread: 0.05 is above"),
        ("", ["levels=99"], "--set levels: 99 is not allowed; give a whole number from 1 to 10"),
        ("", ["levels"], "--set 'levels' is not key=value"),
        ("", ["=3"], "--set '=3' is not key=value"),
        ("", ["levels=1", "levels=2"], "--set levels: it is set twice"),
    ],
)
def test_an_error_names_where_the_setting_came_from(file, single, sentence):
    table = read_toml(f"[market_making]\n{file}\n", "mm.toml")
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        build_config("default", table, "mm.toml", single)


def test_assignments_keep_what_follows_the_first_equals_sign():
    assert read_assignments([" policy = fixed_spread "]) == {"policy": "fixed_spread"}
