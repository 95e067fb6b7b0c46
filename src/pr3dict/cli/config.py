"""Puts the config of a command together from `--preset`, `--config` and `--set`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pr3dict.domain.errors import ConfigError
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import build_config, read_toml


def load_config(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> MarketMakingConfig:
    """Preset < `[market_making]` of the TOML file < `key=value` assignments.

    Raises:
        ConfigError: the file can't be read, or a setting in any of the three is wrong.
    """
    if file is None:
        return build_config(preset, assignments=assignments)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not a UTF-8 text; save it as one") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}; check the path of --config") from None
    return build_config(preset, read_toml(text, str(file)), str(file), assignments)
