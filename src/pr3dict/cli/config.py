"""Puts the config of a command together from `--preset`, `--config` and `--set`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.risk.limits import RiskConfig, build_risk
from pr3dict.risk.programme import IncentiveTerms, ProgrammeConfig, build_programme
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import (
    PROGRAMME_TABLE,
    RISK_TABLE,
    TABLE,
    VENUE_TABLES,
    build_config,
    read_assignments,
    read_tables,
    read_toml,
)
from pr3dict.venues.kalshi.settings import TABLE as KALSHI_TABLE
from pr3dict.venues.kalshi.settings import KalshiConfig, build_kalshi
from pr3dict.venues.polymarket.settings import TABLE as POLYMARKET_TABLE
from pr3dict.venues.polymarket.settings import PolymarketConfig, build_polymarket

_OTHERS = tuple(f"{table}." for table in (RISK_TABLE, PROGRAMME_TABLE, *VENUE_TABLES))


def load_config(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> MarketMakingConfig:
    """Preset < `[market_making]` of the TOML file < `key=value` assignments.

    The other tables in the file are checked, too, so that one file serves every command.

    Raises:
        ConfigError: the file can't be read, or a setting in any of the three is wrong.
    """
    if file is None:
        return build_config(preset, assignments=assignments)
    text = _read(file)
    config = build_config(preset, read_toml(text, str(file)), str(file), assignments)
    tables = read_tables(text, str(file))
    build_risk(tables.get(RISK_TABLE), str(file))
    build_programme(tables.get(PROGRAMME_TABLE), str(file))
    _check_venues(tables, str(file))
    return config


def load_configs(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> tuple[MarketMakingConfig, RiskConfig]:
    """The strategy's settings and those of `[risk]`, which `risk.key=value` assignments change.

    Either table may be missing in the file.

    Raises:
        ConfigError: the file can't be read, or a setting in any of the three is wrong.
    """
    tables, source = _tables(file)
    given = list(assignments)
    own = [text for text in given if not text.strip().startswith(_OTHERS)]
    _check_venues(tables, source, given)
    risk = build_risk(tables.get(RISK_TABLE), source, _single(RISK_TABLE, given))
    programme = build_programme(tables.get(PROGRAMME_TABLE), source, _single(PROGRAMME_TABLE, given))
    return (
        build_config(preset, tables.get(TABLE), source, own),
        risk if programme is None else risk.with_changes(programme=programme),
    )


def load_kalshi(file: Path | None = None, assignments: Iterable[str] = ()) -> KalshiConfig:
    """The settings of `[kalshi]`, which `kalshi.key=value` assignments change.

    Raises:
        ConfigError: the file can't be read, or a setting in either is wrong.
    """
    tables, source = _tables(file)
    return build_kalshi(tables.get(KALSHI_TABLE), source, _single(KALSHI_TABLE, assignments))


def load_polymarket(file: Path | None = None, assignments: Iterable[str] = ()) -> PolymarketConfig:
    """The settings of `[polymarket]`, which `polymarket.key=value` assignments change.

    Raises:
        ConfigError: the file can't be read, or a setting in either is wrong.
    """
    tables, source = _tables(file)
    return build_polymarket(tables.get(POLYMARKET_TABLE), source, _single(POLYMARKET_TABLE, assignments))


def load_incentives(file: Path | None = None) -> tuple[IncentiveTerms, ...]:
    """The reward periods of `[programme]`; none where it has none.

    Raises:
        ConfigError: the file can't be read, or a setting in it is wrong.
    """
    programme = _programme(file)
    return programme.incentives if programme is not None else ()


def _check_venues(tables: dict[str, dict[str, Any]], source: str, assignments: Iterable[str] = ()) -> None:
    """Raises `ConfigError` for a setting about a venue that is wrong, whether or not it is traded."""
    given = list(assignments)
    build_kalshi(tables.get(KALSHI_TABLE), source, _single(KALSHI_TABLE, given))
    build_polymarket(tables.get(POLYMARKET_TABLE), source, _single(POLYMARKET_TABLE, given))


def load_rewards(file: Path | None = None) -> dict[str, RewardTerms]:
    """What markets pay for resting quotes by `[programme]`, by ticker; raises as `load_incentives`."""
    programme = _programme(file)
    return {one.ticker: one.terms for one in programme.rewards} if programme is not None else {}


def _programme(file: Path | None) -> ProgrammeConfig | None:
    tables, source = _tables(file)
    return build_programme(tables.get(PROGRAMME_TABLE), source)


def _tables(file: Path | None) -> tuple[dict[str, dict[str, Any]], str]:
    """The tables of a file, none without one, and what errors call it."""
    return ({}, "config") if file is None else (read_tables(_read(file), str(file)), str(file))


def _single(table: str, assignments: Iterable[str]) -> dict[str, str]:
    """The assignments to a table, without its name."""
    mark = f"{table}."
    found = (text.strip() for text in assignments)
    return read_assignments(text[len(mark) :] for text in found if text.startswith(mark))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not a UTF-8 text; save it as one") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}; check the path of --config") from None
