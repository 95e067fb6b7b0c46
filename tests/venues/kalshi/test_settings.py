"""The `[kalshi]` table: each setting is checked, and becomes what the adapter counts in."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pr3dict.cli.config import load_config, load_configs, load_kalshi
from pr3dict.domain.errors import ConfigError
from pr3dict.venues.kalshi.settings import KalshiConfig


def test_the_defaults_protect():
    config = KalshiConfig()
    assert config.sweep_loss_micros == 100_000_000
    assert config.place_wait_ns == 500_000_000 and config.queue_poll_ns == 5_000_000_000
    assert (config.direct_member, config.subaccount, config.batch_from) == (False, 0, 4)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sweep_loss": "0.99"}, "sweep_loss: 0.99 is less than one contract may lose; give 1 or more"),
        ({"sweep_loss": -1}, "sweep_loss: -1 is not allowed"),
        ({"sweep_loss": "1.0000001"}, "sweep_loss: 1.0000001 is finer than"),
        ({"direct_member": 3}, "direct_member: 3 is not allowed; give one of true, false"),
        ({"subaccount": 64}, "subaccount: 64 is not allowed"),
        ({"batch_from": 1}, "batch_from: 1 is not allowed"),
        ({"place_wait_seconds": "2m"}, "place_wait_seconds: 120.* is not allowed|2m is not allowed"),
        ({"sweep_los": 1}, "sweep_los: there is no such setting; did you mean sweep_loss"),
    ],
)
def test_a_setting_that_can_not_be_meant_is_refused(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        KalshiConfig(**given)


def test_one_file_serves_every_command(tmp_path):
    file = tmp_path / "mm.toml"
    file.write_text(
        "[market_making]\nbase_spread = 0.05\n[risk]\nmax_errors = 7\n"
        '[kalshi]\nsweep_loss = 250\ndirect_member = true\nplace_wait_seconds = "200ms"\n'
    )
    config = load_kalshi(file, ["kalshi.subaccount=3", "risk.max_errors=9", "quote_size=5"])
    assert (config.sweep_loss, config.direct_member, config.subaccount) == (Decimal(250), True, 3)
    assert config.place_wait_ns == 200_000_000
    strategy, risk = load_configs(None, file, ["kalshi.subaccount=3", "risk.max_errors=9", "quote_size=5"])
    assert (strategy.quote_size, risk.max_errors) == (5, 9)
    assert load_config(None, file).base_spread == Decimal("0.05")


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("[kalshi]\nsweep_los = 1\n", [], r"mm\.toml: kalshi\.sweep_los: there is no such setting"),
        ("[kalshi]\nsubaccount = 99\n", [], r"mm\.toml: kalshi\.subaccount: 99 is not allowed"),
        ("", ["kalshi.subaccount=99"], "--set kalshi.subaccount: 99 is not allowed"),
        ("", ["kalshi.subaccount"], "--set 'subaccount' is not key=value"),
    ],
)
def test_errors_name_their_place(tmp_path, text, given, sentence):
    file = tmp_path / "mm.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load_kalshi(file, given)
    with pytest.raises(ConfigError, match=sentence):
        load_configs(None, file, given)
