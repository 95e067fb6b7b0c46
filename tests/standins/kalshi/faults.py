"""What goes wrong at the stand-in, how often, and how often it did: seeded, and settable at any time.

Hooks asked per request or frame have a probability; hazards happen at a rate an hour of venue time. All are
off at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from standins.common.faults import FaultBox as Faults

# name: what its number means. Ranges are [low, high], drawn uniformly.
HOOKS: Final[dict[str, str]] = {
    # answers to requests
    "error_after_apply": "write carried out, answered 503 (probability)",
    "error_before_apply": "write not carried out, answered 500 (probability)",
    "lost_answer": "write carried out, connection closed without an answer (probability)",
    "lost_request": "write not carried out, connection closed without an answer (probability)",
    "too_many_requests": "429 although there are tokens (probability)",
    "malformed_answer": "200 with a body that is no JSON (probability)",
    "read_error": "read answered 504 (probability)",
    "answer_delay_ms": "answers leave this much later, so that stream frames come first ([low, high])",
    "stream_first": "the frames of a request leave before its answer, else after it (probability)",
    "read_lag_ms": "reads of the account are as of this long ago ([low, high])",
    "clock_skew_ms": "the venue's clock is this much ahead, for signatures and in Date headers (number)",
    "cancel_all_reach_ms": "a cancel-all also takes orders placed this long after it (number)",
    "post_only_cancel": "a crossing post-only order is taken and cancelled, not refused (probability)",
    "refuse_upgrade": "a new connection is answered 502 (probability)",
    # frames of streams
    "gap": "a numbered frame is dropped (probability)",
    "drop_private": "a private frame is dropped (probability)",
    "duplicate_private": "a private frame comes twice (probability)",
    "reorder_private": "a private frame is held back past later ones (probability)",
    "omit_ts": "a frame lacks ts_ms (probability)",
    "malformed_frame": "a frame is cut short (probability)",
    "frame_delay_ms": "frames leave this much later, in order ([low, high])",
    "shuffle": "the frames of one execution leave in random order (probability)",
    "wipe_silently": "orders that a reactivation cancels are not told (probability)",
}
HAZARDS: Final[dict[str, str]] = {
    "freeze": "one connection falls silent for freeze_s",
    "disconnect": "one connection is cut",
    "channel_error": "one subscription ends with error 10",
    "overflow": "one subscription ends with error 25",
    "unknown_frame": "a frame of a type that nobody knows",
    "pause_market": "one market pauses for pause_s and is activated again",
    "pause_trading": "trading pauses for pause_s, cancels go on",
    "pause_exchange": "everything pauses for pause_s, cancels too",
    "maintenance": "as pause_exchange, and every connection is cut",
    "trigger_group": "one order group is triggered",
    "move_close": "one market's close moves by up to ten minutes either way",
    "change_grid": "one market's price grid becomes another of its grids",
    "fee_update": "one event's fees change",
}
DEFAULTS: Final[dict[str, Any]] = {
    "shuffle": 1.0,
    "stream_first": 0.5,
    "freeze_s": [5.0, 20.0],
    "pause_s": [5.0, 60.0],
}
_RANGES: Final = ("answer_delay_ms", "read_lag_ms", "frame_delay_ms", "freeze_s", "pause_s")


class FaultBox(Faults):
    """The settings, the seeded generator and the counts of this venue."""

    def __init__(self, settings: Mapping[str, Any] | None = None, *, seed: int = 1) -> None:
        super().__init__(settings, seed=seed, hooks=HOOKS, hazards=HAZARDS, defaults=DEFAULTS, ranges=_RANGES)
