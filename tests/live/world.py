"""What the fault runs of all venues have alike: their time, how lively their markets are, our settings."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.runtime.synthetic import Regime, market_tape

START_NS: Final = 1_796_000_000 * 1_000_000_000
HOUR_S: Final = 3_600.0
# At the end of a run nothing goes wrong any more; an order in doubt holds quotes back until it has expired.
QUIET_S: Final = 300.0

LIVELY: Final = Regime(
    name="lively",
    about="many takers and a wide spread, so that quotes fill all the time",
    half_spread_cents=3.2,
    levels=5,
    makers=3,
    refresh_rate=60.0,
    noise_rate=500.0,
    noise_contracts=20.0,
    informed_rate=20.0,
    depth_rate=120.0,
)

SETTINGS: Final = (
    "base_spread=0.03", "min_spread=0.02", "min_liquidity=1", "min_existing_spread=0.01",
    "max_portfolio_heat=1.0", "min_time_to_resolution=0.005", "risk.max_loss_per_market=400",
    "risk.max_loss_per_event=600", "risk.max_total_loss=1500",
)  # fmt: skip


def paced(pace: float, hours: float, **changes: Any) -> Regime:
    """`LIVELY` with everything `pace` times as often, for `hours`."""
    rates = ("refresh_rate", "noise_rate", "informed_rate", "depth_rate", "news_rate")
    often = {name: getattr(LIVELY, name) * pace for name in rates}
    volatility = LIVELY.volatility * pace**0.5
    return msgspec.structs.replace(LIVELY, volatility=volatility, hours=hours, **often, **changes)


def flows(regime: Regime, markets: int, seed: int, kinds: tuple[int, ...]) -> tuple[list[Any], d.Array]:
    """(what each market's tape says of it, everybody else in all of them in order of time)."""
    tapes = [market_tape(100 * seed + k, regime, open_ns=0) for k in range(markets)]
    parts = []
    for k, tape in enumerate(tapes):
        rows = tape.events[np.isin(tape.events["kind"], kinds)].copy()
        rows["market"] = k
        parts.append(rows)
    flow = np.concatenate(parts)
    return [tape.meta for tape in tapes], flow[np.argsort(flow["exch_ns"], kind="stable")]
