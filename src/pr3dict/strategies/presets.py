"""Named starting points, and how a config is put together: preset, then file, then single settings.

A later source wins: preset < `[market_making]` table of a TOML file < `key=value` settings. Nothing here
opens a file: `read_toml` takes its text, and the source's name for the error.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from pr3dict.domain.errors import ConfigError
from pr3dict.strategies.config import MarketMakingConfig

Settings = Mapping[str, Any]
TABLE = "market_making"
RISK_TABLE = "risk"  # may stand beside it: limits, breakers and times of the engine (risk/limits.py)
PROGRAMME_TABLE = "programme"  # terms of a venue's programme (risk/programme.py)
VENUE_TABLES = ("kalshi", "polymarket")  # and what is set about a venue (venues/*/settings.py)

_PRESETS: dict[str, dict[str, str | int]] = {
    "default": {},
    "conservative": {"min_spread": "0.03", "base_spread": "0.06", "max_inventory": 30, "quote_size": 5},
    "aggressive": {"min_spread": "0.015", "base_spread": "0.03", "max_inventory": 75, "quote_size": 20},
    "high_frequency": {"quote_size": 3, "max_quote_age_seconds": 5, "max_markets": 20},
    # Markets that live under an hour: crypto 5 and 15 minutes, the endings of live sports.
    "short_dated": {
        "min_time_to_resolution": "1m",
        "max_time_to_resolution": "1h",
        "rotation_minutes": 1,
        "final_hours": "2m",
        "closing_hours": "5m",
        "min_spread": "0.01",
        "base_spread": "0.01",
        "max_spread": "0.06",
        "volatility_multiplier": 1,
        "low_liquidity_addon": 0,
        "min_existing_spread": "0.01",
        "min_liquidity": 2000,
        "max_quote_age_seconds": 1,
        "price_change_requote_threshold": "0.005",
        "volume_window_seconds": 10,
        "volume_baseline_seconds": 180,
        "skew_price_adjustment_per_10": "0.005",
    },
}

PRESETS: Mapping[str, Settings] = MappingProxyType({k: MappingProxyType(v) for k, v in _PRESETS.items()})
"""What each preset sets; everything else is the default."""


def preset_settings(name: str) -> Settings:
    """What a preset sets; raises `ConfigError` with the nearest name for one that does not exist."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(PRESETS)}"
        raise ConfigError(f"there is no preset {name!r}; {hint}", key="preset")
    return PRESETS[name]


def preset(name: str) -> MarketMakingConfig:
    """The config of a preset; raises `ConfigError` for a name that does not exist."""
    return MarketMakingConfig(**preset_settings(name))


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The `[market_making]` table of a TOML text, numbers as exact decimals.

    Raises:
        ConfigError: not TOML, no such table, or an unknown table beside it; the sentence names `source`.
    """
    tables = read_tables(text, source)
    if TABLE not in tables:
        raise ConfigError(f"{source}: there is no [{TABLE}] table; put the settings below that line")
    return tables[TABLE]


def read_tables(text: str, source: str) -> dict[str, dict[str, Any]]:
    """The tables `[market_making]`, `[risk]` and those of venues in a TOML text; numbers as exact decimals.

    Raises:
        ConfigError: not TOML, or anything else outside the tables; the sentence names `source` and the key.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML ({error}); repair the file") from None
    for key, table in document.items():
        known = (TABLE, RISK_TABLE, PROGRAMME_TABLE, *VENUE_TABLES)
        if key not in known:
            tables = ", ".join(f"[{name}]" for name in known)
            raise ConfigError(f"settings go below {tables}, nothing else here", key=f"{source}: {key}")
        if not isinstance(table, dict):
            raise ConfigError(f"{source}: there is no [{key}] table; put the settings below that line")
    return document


def read_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Settings given as `key=value` texts; raises `ConfigError` for one without `=` or given twice."""
    settings: dict[str, str] = {}
    for text in assignments:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise ConfigError(f"--set {text!r} is not key=value; write for example --set base_spread=0.04")
        if key in settings:
            raise ConfigError("it is set twice; keep one", key=f"--set {key}")
        settings[key] = value
    return settings


def build_config(
    preset_name: str | None = None,
    file_settings: Settings | None = None,
    source: str = "config",
    assignments: Iterable[str] = (),
) -> MarketMakingConfig:
    """Put a config together: preset < file < assignments.

    `preset_name` None means the file's own `preset` key, or `default`. An error names where the setting came
    from: `source`, `--set`, or nothing for a preset's own value.
    """
    from_file = dict(file_settings or {})
    file_preset = from_file.pop("preset", "default")
    base = preset_settings(preset_name if preset_name is not None else str(file_preset))
    single = read_assignments(assignments)
    origin = dict.fromkeys(from_file, f"{source}: ") | dict.fromkeys(single, "--set ")
    for key, place in origin.items():
        if key not in MarketMakingConfig.model_fields:
            raise ConfigError(MarketMakingConfig.unknown_key(key), key=f"{place}{key}")
    try:
        return MarketMakingConfig(**{**base, **from_file, **single})
    except ConfigError as error:
        if error.key not in origin:
            raise
        sentence = str(error).removeprefix(f"{error.key}: ")
        raise ConfigError(sentence, key=f"{origin[error.key]}{error.key}") from None
