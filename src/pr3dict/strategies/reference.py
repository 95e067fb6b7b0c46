"""Renders the strategy's part of the reference of settings; see `cli/settings_reference.py`."""

from __future__ import annotations

from collections.abc import Iterator

from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import PRESETS
from pr3dict.strategies.settings import Settings, plain_value

HEADER = """\
# Settings of the market maker

Generated from `pr3dict.strategies.config.MarketMakingConfig`. Prices are YES prices in dollars of a $1
contract: a spread of 4% is `0.04`. Hours, minutes and seconds also take a text with a suffix (`"90s"`,
`"5m"`, `"36h"`, `"7d"`). A later source wins: preset, then the file, then `--set key=value`.

```toml
[market_making]
preset = "conservative"
base_spread = 0.05
max_inventory = 40
```
"""


def render() -> str:
    """The settings of the market maker and its presets in Markdown."""
    return HEADER + "".join(sections(MarketMakingConfig)) + "".join(_presets())


def sections(settings: type[Settings]) -> Iterator[str]:
    """A chapter for each section of a class of settings, with a table of its settings."""
    section = ""
    for key, field in settings.model_fields.items():
        facts = settings.facts(key)
        if facts["section"] != section:
            section = facts["section"]
            yield f"\n## {section}\n\n| setting | default | unit | allowed | meaning |\n|---|---|---|---|---|"
            yield "\n"
        default = plain_value(field.default)
        yield f"| `{key}` | {default} | {facts['unit']} | {facts['range']} | {field.description} |\n"


def _presets() -> Iterator[str]:
    names = [name for name in PRESETS if name != "default"]
    yield "\n## Presets\n\nAn empty cell is the default.\n\n"
    yield f"| setting | default | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n"
    for key, field in MarketMakingConfig.model_fields.items():
        cells = [str(PRESETS[name].get(key, "")) for name in names]
        if any(cells):
            yield f"| `{key}` | {plain_value(field.default)} | {' | '.join(cells)} |\n"
