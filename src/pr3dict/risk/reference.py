"""Renders the settings of strategy, risk and programmes for docs/reference/config.md.

`cli/settings_reference.py` adds those of venues and writes the page.
"""

from __future__ import annotations

from pr3dict.risk.limits import RiskConfig
from pr3dict.risk.programme import IncentiveTerms, MarketRewards, PriceBand, ProductTerms, ProgrammeConfig
from pr3dict.strategies import reference

HEADER = """
# Settings of risk and engine

Generated from `pr3dict.risk.limits.RiskConfig`: the `[risk]` table beside `[market_making]` in the same file,
or `--set risk.key=value`. A cap or a breaker at 0 is off; then only the strategy's own limits hold. What each
of them does is in [risk.md](../risk.md).

```toml
[risk]
max_loss_per_event = 50
max_orders_per_minute = 120
order_life_seconds = "60s"
```
"""

PROGRAMME = """
# Settings of a programme

Generated from `pr3dict.risk.programme.ProgrammeConfig`: the `[programme]` table, or
`--set programme.key=value` for what is no table. Without it no programme is kept. What the terms mean and
what the engine does about them is in [programmes.md](../programmes.md).

```toml
[programme]
max_spread = 0.05
min_size = 100

[[programme.products]]
name = "Bitcoin, 15 minutes"
series = ["KXBTC15M"]
min_markets = 1
```
"""


def render() -> str:
    """Their chapters in Markdown."""
    tables = (ProgrammeConfig, ProductTerms, PriceBand, IncentiveTerms, MarketRewards)
    programme = "".join(line for table in tables for line in reference.sections(table))
    return reference.render() + HEADER + "".join(reference.sections(RiskConfig)) + PROGRAMME + programme
