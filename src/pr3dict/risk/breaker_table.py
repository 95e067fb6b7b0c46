"""Every breaker as one row of a table: what it counts, over what, and what it does.

docs/risk.md has a heading for each name: the place where its alert sends the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from pr3dict.domain.commands import Severity
from pr3dict.risk.gate import ABSURD

Scope = Literal["market", "venue", "all"]
Action = Literal["pause", "halt", "latch"]


class Breaker(NamedTuple):
    """One row. `threshold` and `window` name settings of `RiskConfig`; without a window one event is enough.

    It trips when what it counts reaches the threshold; a threshold of 0 turns it off, an empty one means that
    it can't be turned off. A `pause` returns by itself (after `pause`, a setting), a `halt` waits for a
    person, a `latch` stops everything and also writes the kill latch to disk.
    """

    name: str
    counts: str
    scope: Scope
    action: Action
    severity: Severity
    threshold: str = ""
    window: str = ""
    pause: str = "pause_seconds"


_ROWS: Final = (
    Breaker("errors", "lost answers, time-outs, failed reads", "venue", "pause", "medium", "max_errors",
            "error_window_seconds"),
    Breaker("refusals", "requests that the venue refused", "market", "pause", "medium", "max_refusals",
            "refusal_window_seconds"),
    Breaker("crossings", "post-only orders refused as crossing", "market", "pause", "medium",
            "max_crossings", "crossing_window_seconds"),
    Breaker("fill_burst_contracts", "contracts filled", "market", "pause", "high", "fill_burst_contracts",
            "fill_burst_window_seconds"),
    Breaker("fill_burst_count", "fills", "market", "pause", "high", "fill_burst_count",
            "fill_burst_window_seconds"),
    Breaker("unasked_ends", "orders ended unasked and unfilled, no fill between", "market", "halt",
            "high", "max_unasked_ends", "unasked_window_seconds"),
    Breaker("churn", "orders cancelled soon after they were placed", "market", "pause", "medium",
            "max_churn", "churn_window_seconds"),
    Breaker("absurd_orders", "orders of impossible price or size that the gate refused", "market", "halt",
            "high", "absurd_orders", "absurd_window_seconds"),
    Breaker("settlement_failures", "voids among the last fills", "venue", "halt", "high",
            "max_settlement_failures", "settlement_fills"),
    Breaker("foreign_orders", "orders and fills of the account that are not ours", "venue", "halt", "high",
            "max_foreign_orders", "foreign_window_seconds"),
    Breaker("fill_conflict", "one fill told twice with different figures", "market", "halt", "high"),
    Breaker("drift", "positions, cash or fills that the venue's reads contradict", "all", "latch",
            "critical", "max_drifts", "drift_window_seconds"),
    Breaker("overfill", "an order filled beyond its size", "all", "latch", "critical"),
    Breaker("final_conflict", "a final fill that the venue took back", "all", "latch", "critical"),
    Breaker("daily_loss", "loss of the day, realised plus marked (the strategy's `daily_loss_limit`)", "all",
            "latch", "critical"),
    Breaker("clock_skew", "our clock and the venue's differ", "all", "latch", "critical",
            "clock_skew_seconds"),
    Breaker("clock_jump", "the process slept or its clock jumped", "all", "pause", "high",
            "clock_jump_seconds", pause="stall_pause_seconds"),
    Breaker("loop_stall", "the event loop stood still", "all", "pause", "medium", "loop_stall_seconds",
            pause="stall_pause_seconds"),
    Breaker("log_stall", "the journal confirmed no write", "all", "pause", "high", "log_stall_seconds",
            pause="stall_pause_seconds"),
    Breaker("log_failure", "the journal refused a write", "all", "latch", "critical"),
    Breaker("malformed", "messages that the decoder refused", "venue", "pause", "medium", "max_malformed",
            "malformed_window_seconds"),
    Breaker("book_disagreements", "times that the book differed from a second route", "market", "pause",
            "medium", "max_book_disagreements", "book_window_seconds"),
    Breaker("invalid_books", "times that the book broke", "market", "pause", "medium", "max_invalid_books",
            "book_window_seconds"),
    Breaker("feed_losses", "times that the feed was lost", "venue", "pause", "medium", "max_feed_losses",
            "feed_loss_window_seconds"),
    Breaker("crash_loop", "starts without a clean stop", "all", "latch", "critical", "max_starts",
            "start_window_seconds"),
    Breaker("invariant", "a rule that must always hold was broken", "all", "latch", "critical"),
)  # fmt: skip

BREAKERS: Final[Mapping[str, Breaker]] = MappingProxyType({row.name: row for row in _ROWS})

ANOMALIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "overfill": "overfill",
        "final_conflict": "final_conflict",
        "fill_conflict": "fill_conflict",
        "position_drift": "drift",
        "cash_drift": "drift",
        "ghost_fill": "drift",
        "foreign_order": "foreign_orders",
        "foreign_fill": "foreign_orders",
        "illegal_transition": "invariant",
        **{f"gate_{code}": "absurd_orders" for code in sorted(ABSURD)},
        # Booked and told to the operator; nothing has to stop.
        "fill_after_close": "",
        "late_fill": "",
        "void_unknown": "",
        "settlement_amended": "",
    }
)
"""Which breaker counts an anomaly of the account or the gate; any other is an alert and nothing more."""


DAILY_LOSS: Final = "daily_loss"  # tripped by the brain's kill switch, which the engine watches


def breaker_row(name: str) -> Breaker:
    """The row of a breaker; a name of none (`invariant_brain`) is a broken rule: `invariant`."""
    return BREAKERS.get(name, BREAKERS["invariant"])


def latches(name: str) -> bool:
    """Whether a trip of this breaker stops everything and writes the kill latch."""
    return breaker_row(name).action == "latch"


def severity_of(alert: str) -> Severity:
    """How urgent an alert is: as its breaker, also for an `anomaly_` that one counts; "medium" for others."""
    name = ANOMALIES.get(alert.removeprefix("anomaly_"), "") if alert.startswith("anomaly_") else alert
    known = name in BREAKERS or name.startswith("invariant_")
    return breaker_row(name).severity if known else "medium"
