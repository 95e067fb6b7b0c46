"""The settings of risk and engine: defaults, units, and one clear sentence for what is wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pr3dict.cli.config import load_config, load_configs
from pr3dict.domain.errors import ConfigError
from pr3dict.risk.limits import RiskConfig, build_risk

SECOND = 1_000_000_000


def test_caps_are_off_by_default():
    config = RiskConfig()
    assert (
        config.max_order_size_contracts,
        config.max_orders_per_second,
        config.max_orders_per_minute,
        config.price_collar_micros,
        config.max_data_age_ns,
        config.max_loss_per_market_micros,
        config.max_loss_per_event_micros,
        config.max_total_loss_micros,
        config.min_free_cash_micros,
        config.order_life_ns,
    ) == (0,) * 10


def test_integers_of_each_unit():
    config = RiskConfig(
        max_order_size="0.5", price_collar="0.05", max_data_age_seconds="1500ms", max_loss_per_market=2,
        max_loss_per_event=3, max_total_loss="4.5", min_free_cash=6, clock_skew_seconds=1, pause_seconds="2m",
        stall_pause_seconds="0.5", answer_timeout_seconds=4, order_life_seconds="60s",
        renew_before_seconds=20, read_retry_seconds=3, reconcile_interval_seconds=40,
        feed_timeout_seconds=7, stop_timeout_seconds=9,
    )  # fmt: skip
    assert (config.max_order_size_contracts, config.price_collar_micros) == (500_000, 50_000)
    money = (config.max_loss_per_market_micros, config.max_loss_per_event_micros)
    assert (*money, config.max_total_loss_micros) == (2_000_000, 3_000_000, 4_500_000)
    assert config.min_free_cash_micros == 6_000_000
    spans = (
        config.max_data_age_ns, config.clock_skew_ns, config.pause_ns, config.stall_pause_ns,
        config.answer_timeout_ns, config.order_life_ns, config.renew_before_ns, config.read_retry_ns,
        config.reconcile_interval_ns, config.feed_timeout_ns, config.stop_timeout_ns,
    )  # fmt: skip
    assert [ns / SECOND for ns in spans] == [1.5, 1, 120, 0.5, 4, 60, 20, 3, 40, 7, 9]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_loss": 1}, "max_loss: there is no such setting; did you mean max_total_loss[?]"),
        (
            {"max_loss_per_event": -1},
            r"max_loss_per_event: -1 is not allowed; give a number from 0 to 1000000000",
        ),
        ({"max_orders_per_minute": "1.5"}, "max_orders_per_minute: 1.5 is not allowed; give a whole number"),
        ({"max_errors": True}, "max_errors: True is not allowed"),
        ({"min_free_cash": "nan"}, "min_free_cash: nan is not allowed"),
        ({"max_order_size": "0.0000001"}, "max_order_size: 1E-7 is finer than 0.000001"),
        ({"refuse_crossing": "maybe"}, "refuse_crossing: maybe is not allowed; give one of true, false"),
        (
            {"max_loss_per_market": 5, "max_loss_per_event": 4},
            "max_loss_per_market: 5 is above max_loss_per_event 4",
        ),
        ({"max_loss_per_event": 5, "max_total_loss": 4}, "max_loss_per_event: 5 is above max_total_loss 4"),
        (
            {"max_orders_per_second": 61, "max_orders_per_minute": 60},
            "max_orders_per_second: 61 is above max_orders_per_minute 60",
        ),
        ({"order_life_seconds": 10}, "renew_before_seconds: 10 is not below order_life_seconds 10"),
        (
            {"order_life_seconds": 7, "renew_before_seconds": 1},
            r"order_life_seconds: 7 is within answer_timeout_seconds plus clock_skew_seconds \(7\)",
        ),
        (
            {"answer_timeout_seconds": 31},
            "answer_timeout_seconds: 31 is above reconcile_interval_seconds 30",
        ),
    ],
)
def test_what_is_wrong_is_named(settings, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        RiskConfig(**settings)


def test_an_outer_cap_that_is_off_bounds_nothing():
    config = RiskConfig(max_loss_per_market=5, max_orders_per_second=5)
    assert (config.max_loss_per_event, config.max_orders_per_minute) == (0, 0)


def test_frozen_and_changed_as_a_whole():
    config = RiskConfig(max_loss_per_market=5)
    with pytest.raises(ValueError, match="frozen"):
        config.max_errors = 3
    assert config.with_changes(max_errors=3).max_loss_per_market == 5
    with pytest.raises(ConfigError, match=r"^max_loss_per_market: 5 is above"):
        config.with_changes(max_loss_per_event=1)


# --- the file -----------------------------------------------------------------------------------------

FILE = """\
[market_making]
base_spread = 0.05

[risk]
max_loss_per_event = 50
order_life_seconds = "60s"
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mm.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_one_file_serves_both(file):
    path = file(FILE)
    strategy, risk = load_configs("conservative", path, ["quote_size=8", " risk.max_loss_per_market=7"])
    assert (strategy.base_spread, strategy.quote_size, strategy.max_inventory) == (Decimal("0.05"), 8, 30)
    assert (risk.max_loss_per_event, risk.max_loss_per_market, risk.order_life_seconds) == (50, 7, 60)
    assert load_config(None, path).base_spread == Decimal("0.05")


def test_a_file_without_risk_or_no_file_at_all(file):
    path = file("[market_making]\nquote_size = 7\n")
    assert load_configs(None, path) == (load_config(None, path), RiskConfig())
    assert load_configs()[1] == RiskConfig()
    assert load_configs(None, file("[risk]\nmax_errors = 4\n"))[1].max_errors == 4


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("[risk]\nmax_lost = 3\n", [], "mm.toml: risk.max_lost: there is no such setting"),
        ("[risk]\nmax_errors = -3\n", [], "mm.toml: risk.max_errors: -3 is not allowed"),
        ("[risc]\nmax_errors = 3\n", [], "mm.toml: risc: settings go below"),
        ("risk = 3\n", [], r"mm.toml: there is no \[risk\] table"),
        ("[risk]\n", ["risk.max_errors=-1"], "--set risk.max_errors: -1 is not allowed"),
        ("[risk]\n", ["risk.nothing=1"], "--set risk.nothing: there is no such setting"),
        ("[risk]\nmax_errors = 3\nmax_errors = 4\n", [], "mm.toml: not valid TOML"),
    ],
)
def test_a_wrong_file_or_assignment_is_named(file, monkeypatch, text, given, sentence):
    path = file(text)
    monkeypatch.chdir(path.parent)
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        load_configs(None, path.relative_to(path.parent), given)


def test_commands_without_an_engine_check_the_table_as_well(file):
    with pytest.raises(ConfigError, match=r"risk\.max_lost: there is no such setting"):
        load_config(None, file("[market_making]\n[risk]\nmax_lost = 3\n"))


def test_a_contradiction_between_sources_names_the_key_to_change():
    with pytest.raises(ConfigError, match=r"^--set risk.max_loss_per_market: 9 is above max_loss_per_event"):
        build_risk({"max_loss_per_event": 5}, "mm.toml", {"max_loss_per_market": "9"})
    with pytest.raises(ConfigError, match=r"^renew_before_seconds: 10 is not below order_life_seconds 9"):
        build_risk({"order_life_seconds": 9}, "mm.toml")
