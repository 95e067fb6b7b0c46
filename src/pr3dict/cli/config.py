"""Puts the config of a command together from `--preset`, `--config` and `--set`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pr3dict.domain.errors import ConfigError
from pr3dict.risk.limits import RiskConfig, build_risk
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import (
    RISK_TABLE,
    TABLE,
    build_config,
    read_assignments,
    read_tables,
    read_toml,
)

_RISK = f"{RISK_TABLE}."


def load_config(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> MarketMakingConfig:
    """Preset < `[market_making]` of the TOML file < `key=value` assignments.

    A `[risk]` table in the file is checked, too, so that one file serves every command.

    Raises:
        ConfigError: the file can't be read, or a setting in any of the three is wrong.
    """
    if file is None:
        return build_config(preset, assignments=assignments)
    text = _read(file)
    config = build_config(preset, read_toml(text, str(file)), str(file), assignments)
    build_risk(read_tables(text, str(file)).get(RISK_TABLE), str(file))
    return config


def load_configs(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> tuple[MarketMakingConfig, RiskConfig]:
    """The strategy's settings and those of `[risk]`, which `risk.key=value` assignments change.

    Either table may be missing in the file.

    Raises:
        ConfigError: the file can't be read, or a setting in any of the three is wrong.
    """
    tables: dict[str, dict[str, Any]] = {}
    source = "config"
    if file is not None:
        source = str(file)
        tables = read_tables(_read(file), source)
    given = list(assignments)
    own = [text for text in given if not text.strip().startswith(_RISK)]
    single = read_assignments(text.strip()[len(_RISK) :] for text in given if text.strip().startswith(_RISK))
    return (
        build_config(preset, tables.get(TABLE), source, own),
        build_risk(tables.get(RISK_TABLE), source, single),
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not a UTF-8 text; save it as one") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}; check the path of --config") from None
