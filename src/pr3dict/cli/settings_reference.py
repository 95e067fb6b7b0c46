"""Writes `docs/reference/config.md`, every setting of a config file, from the settings: `make docs`.

A test holds the file to it.
"""

from __future__ import annotations

import sys

from pr3dict.risk import reference as risk
from pr3dict.strategies.reference import sections
from pr3dict.venues.kalshi.settings import KalshiConfig
from pr3dict.venues.polymarket.settings import PolymarketConfig

KALSHI = """
# Settings of Kalshi

Generated from `pr3dict.venues.kalshi.settings.KalshiConfig`: the `[kalshi]` table, or
`--set kalshi.key=value`. What the adapter does with them is in [kalshi.md](../venues/kalshi.md).

```toml
[kalshi]
sweep_loss = 200
direct_member = true
```
"""

POLYMARKET = """
# Settings of Polymarket

Generated from `pr3dict.venues.polymarket.settings.PolymarketConfig`: the `[polymarket]` table, or
`--set polymarket.key=value`. What the adapter does with them is in [polymarket.md](../venues/polymarket.md).

```toml
[polymarket]
merge_threshold = 50
in_play = true
```
"""


def render() -> str:
    """The whole page in Markdown."""
    kalshi, polymarket = ("".join(sections(kind)) for kind in (KalshiConfig, PolymarketConfig))
    return risk.render() + KALSHI + kalshi + POLYMARKET + polymarket


if __name__ == "__main__":
    sys.stdout.write(render())
