"""Kalshi in the fault runs: its markets, what goes wrong there and how often, and our settings there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from live import world
from live.world import HOUR_S
from pr3dict.kernels import dtypes as d
from standins.kalshi import Catalog, EventSpec, FeeChange, MarketSpec, SeriesSpec

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
    *world.SETTINGS, "risk.order_life_seconds=20", "risk.renew_before_seconds=3",
)  # fmt: skip


# What each fault leads to, by the names that `Story.seen` counts; "" where nothing may be seen of it.
EFFECTS: Final[Mapping[str, str]] = {
    "error_after_apply": "answer lost", "error_before_apply": "answer lost", "lost_answer": "answer lost",
    "lost_request": "answer lost", "too_many_requests": "refused rate_limit",
    "malformed_answer": "Malformed", "read_error": "ReadFailed", "answer_delay_ms": "answer lost",
    "stream_first": "told twice", "read_lag_ms": "late index", "clock_skew_ms": "ClockSkewed",
    "cancel_all_reach_ms": "CancelAll", "post_only_cancel": "closed post_only_cross",
    "refuse_upgrade": "FeedDown", "gap": "book gap", "drop_private": "found by a read",
    "duplicate_private": "told twice", "reorder_private": "told too late", "omit_ts": "",
    "malformed_frame": "feed unreadable", "frame_delay_ms": "told too late",
    "shuffle": "told twice",
    "wipe_silently": "found by a read", "freeze": "feed silent", "disconnect": "feed closed",
    "channel_error": "feed error 10", "overflow": "feed error 25", "unknown_frame": "",
    "pause_market": "market paused", "pause_trading": "venue paused", "pause_exchange": "venue closed",
    "maintenance": "venue closed", "trigger_group": "halt by kalshi", "move_close": "close moved",
    "change_grid": "grid changed", "fee_update": "", "expiry": "closed expired", "settlement": "Settled",
}  # fmt: skip
FEED_WORDS: Final = (
    ("can't be read", "unreadable"), ("said nothing new", "silent"), ("closed the connection", "closed"),
    ("error 10", "error 10"), ("error 25", "error 25"), ("numbers are missing", "gap"),
    ("snapshot", "no snapshot"),
)  # fmt: skip


def faults(rate: float = 1.0) -> dict[str, Any]:
    """Everything that can go wrong; what is rare comes `rate` times as often as it is listed.

    Closes move as listed: often they would be put off for ever.
    """
    hazards = {name: often * rate for name, often in HAZARDS.items() if name != "move_close"}
    rare = {name: min(probability * rate, 0.05) for name, probability in RARE.items()}
    return {**HOOKS, **rare, **SPANS, **hazards, "move_close": HAZARDS["move_close"]}


def catalog(
    hours: float, *, seed: int, markets: int = 8, pace: float = 1.0, outlive_h: float = 2.0
) -> Catalog:
    """Markets on four shards, pairs of them in an event: some close and pay on the way, each in its own way.

    The others outlive the run by `outlive_h`.
    """
    regime = world.paced(pace, hours + outlive_h)
    metas, flow = world.flows(regime, markets, seed, (d.LEVEL, d.TRADE, d.TICK))
    ends = (("yes", 0.3), ("no", 0.45), ("scalar", 0.6), ("void", 0.75))
    series = (SeriesSpec("KXSYN"), SeriesSpec("KXSYNM", fee_type="quadratic_with_maker_fees"))
    events, specs = [], []
    for k, meta in enumerate(metas):
        name = series[k // 2 % 2].ticker
        if k % 2 == 0:
            events.append(EventSpec(f"{name}-E{k // 2}", name, title=meta.title))
        spec = MarketSpec(
            f"{events[-1].ticker}-M{k}", events[-1].ticker, title=meta.title,
            labels=("linear_cent", "deci_cent"), exchange_index=k // 2 % 4,
            close_in_s=(hours + outlive_h) * HOUR_S, result=str(meta.outcome),
        )  # fmt: skip
        if k < len(ends):
            result, share = ends[k]
            spec = replace(spec, result=result, scalar_price=3_700, close_in_s=share * hours * HOUR_S)
        specs.append(spec)
    return Catalog(
        series, tuple(events), tuple(specs), flow=flow,
        fee_changes=(FeeChange("KXSYN", hours * HOUR_S / 2, "quadratic_with_maker_fees", 0.5),),
    )  # fmt: skip
