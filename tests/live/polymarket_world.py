"""Polymarket in the fault runs: its markets, what goes wrong there and how often, and our settings there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from live import world
from live.world import HOUR_S
from pr3dict.kernels import dtypes as d
from standins.polymarket import Catalog, EventSpec, MarketSpec

# Of each write, read, frame or trade: how probable. Ranges are ms, or seconds where the name says so.
HOOKS: Final[Mapping[str, Any]] = {
    "too_many_requests": 0.01,
    "refused_as_200": 0.5,
    "null_fields": 0.05,
    "status_prefix": 0.2,
    "base_units": 0.2,
    "read_error": 0.01,
    "answer_delay_ms": [0, 150],
    "stream_first": 0.5,
    "read_lag_ms": [0, 700],
    "clock_skew_ms": 150,
    "refuse_upgrade": 0.2,
    "trade_failed": 0.1,
    "trade_retrying": 0.15,
    "mine_s": [0.5, 3.0],
    "confirm_s": [0.5, 4.0],
    "retry_s": [2.0, 8.0],
    "relayer_failed": 0.3,
    "relayer_busy": 0.1,
    "relayer_s": [2.0, 6.0],
    "drop_user": 0.01,
    "duplicate_user": 0.05,
    "reorder_user": 0.05,
    "odd_times": 0.05,
    "drop_market": 0.002,
    "drop_resolved": 0.5,
    "empty_numbers": 0.01,
    "unknown_status": 0.02,
    "array_frames": 0.3,
    "frame_delay_ms": [0, 5],
}
RARE: Final[Mapping[str, float]] = {
    "error_after_apply": 0.01,
    "error_before_apply": 0.01,
    "order_timed_out": 0.01,
    "lost_answer": 0.01,
    "lost_request": 0.01,
    "ip_limit_before": 0.005,
    "ip_limit_after": 0.005,
    "malformed_answer": 0.005,
    "malformed_frame": 0.0005,
}
# How often an hour of venue time.
HAZARDS: Final[Mapping[str, float]] = {
    "freeze": 4.0,
    "disconnect": 3.0,
    "unknown_frame": 4.0,
    "restart": 2.0,
    "cancel_only": 2.0,
    "change_tick": 4.0,
    "clear_book": 2.0,
    "reward_size": 2.0,
}
SPANS: Final[Mapping[str, Any]] = {
    "freeze_s": [5.0, 40.0],
    "restart_s": [5.0, 60.0],
    "post_only_s": [20.0, 120.0],
}
CALM: Final[Mapping[str, Any]] = {"mine_s": [0.5, 1.5], "confirm_s": [0.5, 1.5], "relayer_s": [1.0, 2.0]}
QUIET: Final[Mapping[str, Any]] = {**dict.fromkeys((*HOOKS, *RARE, *HAZARDS, "geoblocked"), 0), **CALM}

# Polymarket knows no order that lives shorter; what ends orders sooner are our heartbeats.
SETTINGS: Final = (
    *world.SETTINGS, "risk.order_life_seconds=180",
)  # fmt: skip
TERMS: Final = {"merge_threshold": "5", "in_play": "true", "batch_from": "4"}  # many orders go alone

# What each fault leads to, by the names that `Story.seen` counts; "" where nothing may be seen of it.
EFFECTS: Final[Mapping[str, str]] = {
    "error_after_apply": "answer lost", "error_before_apply": "answer lost", "lost_answer": "answer lost",
    "lost_request": "answer lost", "ip_limit_before": "answer lost", "ip_limit_after": "answer lost",
    "order_timed_out": "refused none", "too_many_requests": "refused rate_limit",
    "malformed_answer": "Malformed", "read_error": "ReadFailed", "clock_skew_ms": "ClockSkewed",
    "refuse_upgrade": "FeedDown", "geoblocked": "refused none", "trade_failed": "FillVoided",
    "confirm_s": "FillFinal", "drop_user": "found by a read", "duplicate_user": "told twice",
    "reorder_user": "told too late", "drop_market": "book differs", "malformed_frame": "feed unreadable",
    "relayer_s": "Merged", "relayer_failed": "operation failed", "relayer_busy": "operation failed",
    "freeze": "book differs", "disconnect": "feed closed", "restart": "venue restarting",
    "cancel_only": "venue paused", "change_tick": "grid changed", "settlement": "Settled",
    "answer_delay_ms": "answer lost", "heartbeat": "feed without heartbeat",
}  # fmt: skip
FEED_WORDS: Final = (
    ("can't be read", "unreadable"), ("does not mention", "mute"), ("heartbeat", "without heartbeat"),
    ("closed the connection", "closed"), ("restarted", "restarted"), ("no book of", "no book"),
    ("no PONG", "silent"), ("no connection", "no connection"),
)  # fmt: skip


def faults(rate: float = 1.0) -> dict[str, Any]:
    """Everything that can go wrong; what is rare comes `rate` times as often as it is listed."""
    hazards = {name: often * rate for name, often in HAZARDS.items()}
    rare = {name: min(probability * rate, 0.05) for name, probability in RARE.items()}
    return {**HOOKS, **rare, **SPANS, **hazards}


def catalog(
    hours: float, *, seed: int, markets: int = 8, pace: float = 1.0, outlive_h: float = 2.0
) -> Catalog:
    """Pairs of markets in an event, the second pair of neg-risk; some are resolved on the way, one is void.

    A game starts in one, which empties its book; one is of the second protocol. The others outlive the run.
    """
    regime = world.paced(pace, hours + outlive_h, grid="linear_cent")
    metas, flow = world.flows(regime, markets, seed, (d.LEVEL, d.TRADE))
    ends = (("yes", 0.3), ("void", 0.45), ("no", 0.6))
    fees = ("politics", "geopolitics", "sports", "crypto")
    events, specs = [], []
    for k, meta in enumerate(metas):
        if k % 2 == 0:
            events.append(EventSpec(f"event-{k // 2}", meta.title, neg_risk=k == 2))
        last_s = (hours + outlive_h) * HOUR_S
        spec = MarketSpec(
            f"market-{k}", events[-1].slug, meta.title, ticks=(100, 10), category=fees[k // 2 % 4],
            version="v2" if k == 6 else "v1", end_in_s=last_s, resolve_in_s=last_s + 60,
            result=str(meta.outcome or "yes"),
        )  # fmt: skip
        if k < len(ends):
            result, share = ends[k]
            end_s = share * hours * HOUR_S
            spec = replace(spec, result=result, end_in_s=end_s, resolve_in_s=end_s + 30)
        if k == 4:
            spec = replace(spec, game_start_in_s=hours * HOUR_S / 2, clears_at_start=True)
        specs.append(spec)
    return Catalog(tuple(events), tuple(specs), flow=flow)
