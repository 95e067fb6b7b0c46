"""Renders docs/reference/config.md, all settings of a config file, from the settings themselves: `make docs`.

A test holds the file to it.
"""

from __future__ import annotations

import sys

from pr3dict.risk.limits import RiskConfig
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


def render() -> str:
    """The whole page in Markdown."""
    return reference.render() + HEADER + "".join(reference.sections(RiskConfig))


if __name__ == "__main__":
    sys.stdout.write(render())
