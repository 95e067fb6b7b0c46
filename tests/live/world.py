"""The venue of the fault runs: its markets, what goes wrong there and how often, and our settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.runtime.synthetic import Regime, market_tape
from standins.kalshi import Catalog, EventSpec, FeeChange, MarketSpec, SeriesSpec

START_NS: Final = 1_796_000_000 * 1_000_000_000
HOUR_S: Final = 3_600.0
QUIET_S: Final = 180.0  # at the end of a run nothing goes wrong any more: by then everything is quoted again

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

# Of each write, read or frame: how probable. Ranges are ms.
HOOKS: Final[Mapping[str, Any]] = {
    "too_many_requests": 0.01,
    "read_error": 0.01,
    "answer_delay_ms": [0, 150],
    "stream_first": 0.5,
    "read_lag_ms": [0, 1_500],
    "clock_skew_ms": 150,
    "cancel_all_reach_ms": 200,
    "post_only_cancel": 0.5,
    "refuse_upgrade": 0.2,
    "drop_private": 0.01,
    "duplicate_private": 0.05,
    "reorder_private": 0.05,
    "omit_ts": 0.05,
    "frame_delay_ms": [0, 5],
    "shuffle": 1.0,
    "wipe_silently": 0.5,
}
RARE: Final[Mapping[str, float]] = {
    "error_after_apply": 0.01,
    "error_before_apply": 0.01,
    "lost_answer": 0.01,
    "lost_request": 0.01,
    "malformed_answer": 0.005,
    "gap": 0.001,
    "malformed_frame": 0.0005,
}
# How often an hour of venue time.
HAZARDS: Final[Mapping[str, float]] = {
    "freeze": 4.0,
    "disconnect": 3.0,
    "channel_error": 2.0,
    "overflow": 2.0,
    "unknown_frame": 4.0,
    "pause_market": 6.0,
    "pause_trading": 2.0,
    "pause_exchange": 2.0,
    "maintenance": 1.5,
    "trigger_group": 1.5,
    "move_close": 3.0,
    "change_grid": 3.0,
    "fee_update": 3.0,
}
SPANS: Final[Mapping[str, Any]] = {"freeze_s": [2.0, 40.0], "pause_s": [5.0, 90.0]}
QUIET: Final[Mapping[str, Any]] = dict.fromkeys((*HOOKS, *RARE, *HAZARDS), 0)

SETTINGS: Final = (
    "base_spread=0.03", "min_spread=0.02", "min_liquidity=1", "min_existing_spread=0.01",
    "max_portfolio_heat=1.0", "min_time_to_resolution=0.005",
    "risk.order_life_seconds=20", "risk.renew_before_seconds=3", "risk.max_loss_per_market=400",
    "risk.max_loss_per_event=600", "risk.max_total_loss=1500",
)  # fmt: skip


def faults(rate: float = 1.0) -> dict[str, Any]:
    """Everything that can go wrong; what is rare comes `rate` times as often as it is listed.

    Closes move as listed: often they would be put off for ever.
    """
    hazards = {name: often * rate for name, often in HAZARDS.items() if name != "move_close"}
    rare = {name: min(probability * rate, 0.05) for name, probability in RARE.items()}
    return {**HOOKS, **rare, **SPANS, **hazards, "move_close": HAZARDS["move_close"]}


def paced(pace: float) -> Regime:
    """`LIVELY` with everything `pace` times as often."""
    rates = ("refresh_rate", "noise_rate", "informed_rate", "depth_rate", "news_rate")
    changes = {name: getattr(LIVELY, name) * pace for name in rates}
    return msgspec.structs.replace(LIVELY, volatility=LIVELY.volatility * pace**0.5, **changes)


def catalog(
    hours: float, *, seed: int, markets: int = 8, pace: float = 1.0, outlive_h: float = 2.0
) -> Catalog:
    """Markets on four shards, pairs of them in an event: some close and pay on the way, each in its own way.

    The others outlive the run by `outlive_h`.
    """
    regime = msgspec.structs.replace(paced(pace), hours=hours + outlive_h)
    ends = (("yes", 0.3), ("no", 0.45), ("scalar", 0.6), ("void", 0.75))
    series = (SeriesSpec("KXSYN"), SeriesSpec("KXSYNM", fee_type="quadratic_with_maker_fees"))
    events, specs, flows = [], [], []
    for k in range(markets):
        tape = market_tape(100 * seed + k, regime, open_ns=0)
        name = series[k // 2 % 2].ticker
        if k % 2 == 0:
            events.append(EventSpec(f"{name}-E{k // 2}", name, title=tape.meta.title))
        spec = MarketSpec(
            f"{events[-1].ticker}-M{k}", events[-1].ticker, title=tape.meta.title,
            labels=("linear_cent", "deci_cent"), exchange_index=k // 2 % 4,
            close_in_s=(hours + outlive_h) * HOUR_S, result=str(tape.meta.outcome),
        )  # fmt: skip
        if k < len(ends):
            result, share = ends[k]
            spec = replace(spec, result=result, scalar_price=3_700, close_in_s=share * hours * HOUR_S)
        specs.append(spec)
        rows = tape.events[np.isin(tape.events["kind"], (d.LEVEL, d.TRADE, d.TICK))].copy()
        rows["market"] = k
        flows.append(rows)
    flow = np.concatenate(flows)
    return Catalog(
        series, tuple(events), tuple(specs), flow=flow[np.argsort(flow["exch_ns"], kind="stable")],
        fee_changes=(FeeChange("KXSYN", hours * HOUR_S / 2, "quadratic_with_maker_fees", 0.5),),
    )  # fmt: skip
