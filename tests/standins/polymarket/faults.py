"""The faults of this venue: hooks asked per request, frame or trade, and hazards by the hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from standins.common.faults import FaultBox as Faults

# name: what its number means. Ranges are [low, high], drawn uniformly.
HOOKS: Final[dict[str, str]] = {
    # answers to requests
    "error_after_apply": "write carried out, answered 502 (probability)",
    "error_before_apply": "write not carried out, answered 500 (probability)",
    "order_timed_out": "order not taken, answered 500 `order timed out` (probability)",
    "lost_answer": "write carried out, connection closed without an answer (probability)",
    "lost_request": "write not carried out, connection closed without an answer (probability)",
    "too_many_requests": "429 with the signer's headers although there are tokens (probability)",
    "ip_limit_before": "write not carried out, 429 without headers (probability)",
    "ip_limit_after": "write carried out, 429 without headers (probability)",
    "malformed_answer": "200 with a body that is no JSON (probability)",
    "null_fields": "an order's answer has null where text belongs (probability)",
    "refused_as_200": "a refused single order is answered 200 with errorMsg, not 400 (probability)",
    "status_prefix": "a read of orders prefixes statuses with ORDER_STATUS_ (probability)",
    "base_units": "a read of orders gives sizes in base units (probability)",
    "read_error": "read answered 504 (probability)",
    "answer_delay_ms": "answers leave this much later ([low, high])",
    "stream_first": "the frames of a request leave before its answer, else after it (probability)",
    "read_lag_ms": "reads of the account are as of this long ago ([low, high])",
    "clock_skew_ms": "the venue's clock is this much ahead, for signatures and in /time (number)",
    "refuse_upgrade": "a new connection is answered 502 (probability)",
    "geoblocked": "orders are answered 403 (probability)",
    # trades
    "trade_failed": "a trade becomes FAILED instead of MINED (probability)",
    "trade_retrying": "a trade is RETRYING with another hash before it is MINED (probability)",
    "mine_s": "from MATCHED to MINED ([low, high])",
    "confirm_s": "from MINED to CONFIRMED ([low, high])",
    "retry_s": "from RETRYING to MINED ([low, high])",
    # the relayer
    "relayer_failed": "a transaction becomes STATE_FAILED (probability)",
    "relayer_busy": "a submit is answered 400 wallet busy (probability)",
    "relayer_s": "from STATE_NEW to STATE_CONFIRMED ([low, high])",
    # frames of streams
    "drop_user": "a frame of the user channel is dropped (probability)",
    "duplicate_user": "a frame of the user channel comes twice (probability)",
    "reorder_user": "a frame of the user channel is held back past later ones (probability)",
    "odd_times": "a trade's match_time is spelled matchtime, or is no number (probability)",
    "drop_market": "a frame of the market channel is dropped (probability)",
    "drop_resolved": "market_resolved is not told (probability)",
    "empty_numbers": "a frame of the user channel has empty strings for numbers (probability)",
    "unknown_status": "a status that nobody knows is told before the true one (probability)",
    "array_frames": "the frames of a moment leave as one array (probability)",
    "malformed_frame": "a frame is cut short (probability)",
    "frame_delay_ms": "frames leave this much later, in order ([low, high])",
}
HAZARDS: Final[dict[str, str]] = {
    "freeze": "one connection falls silent for freeze_s; PING is answered",
    "disconnect": "one connection is cut",
    "unknown_frame": "a frame of a type that nobody knows",
    "restart": "order routes answer 425 for restart_s, then take post-only orders for post_only_s",
    "cancel_only": "only cancels are taken for restart_s",
    "change_tick": "one market's tick becomes another of its ticks",
    "clear_book": "all resting orders of one market are cancelled",
    "reward_size": "one market's least size for rewards changes",
}
DEFAULTS: Final[dict[str, Any]] = {
    "stream_first": 0.5, "array_frames": 0.2, "mine_s": [1.0, 3.0], "confirm_s": [1.0, 4.0],
    "retry_s": [2.0, 8.0], "relayer_s": [2.0, 6.0], "freeze_s": [5.0, 20.0], "restart_s": [5.0, 30.0],
    "post_only_s": [30.0, 120.0],
}  # fmt: skip
RANGES: Final = (
    "answer_delay_ms", "read_lag_ms", "frame_delay_ms", "mine_s", "confirm_s", "retry_s", "relayer_s",
    "freeze_s", "restart_s", "post_only_s",
)  # fmt: skip


class FaultBox(Faults):
    """The settings, the seeded generator and the counts of this venue."""

    def __init__(self, settings: Mapping[str, Any] | None = None, *, seed: int = 1) -> None:
        super().__init__(settings, seed=seed, hooks=HOOKS, hazards=HAZARDS, defaults=DEFAULTS, ranges=RANGES)
