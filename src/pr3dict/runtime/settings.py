"""Every setting of a process as one canonical text, journaled with its start, and back."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig


class Settings(NamedTuple):
    """What a user sets, in its two tables."""

    market_making: MarketMakingConfig
    risk: RiskConfig


def settings_text(market_making: MarketMakingConfig, risk: RiskConfig, **more: Any) -> str:
    """Canonical JSON of all settings; equal settings give equal texts.

    `more` are tables of what else a process runs with, such as a venue's; a replay does not need them.
    """
    tables = {
        **more,
        "market_making": market_making.model_dump(mode="json"),
        "risk": risk.model_dump(mode="json"),
    }
    return json.dumps(tables, sort_keys=True, separators=(",", ":"))


def read_settings(text: str) -> Settings:
    """The settings of a `Started` event.

    Raises:
        DataError: the text is of another version of pr3dict.
    """
    try:
        tables = json.loads(text)
        return Settings(
            MarketMakingConfig(**tables.get("market_making", {})), RiskConfig(**tables.get("risk", {}))
        )
    except (ConfigError, ValueError, TypeError, AttributeError) as error:
        what = f"the journaled settings are of another version of pr3dict ({error})"
        raise DataError(what, key="settings") from error
