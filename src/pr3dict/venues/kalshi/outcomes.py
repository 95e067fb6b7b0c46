"""Which answer means what: accepted, surely refused, or unknown. The table of docs/venues/kalshi.md as code.

Refused means proof that the exchange did not carry the request out. An answer proves that only when it is a
refusal by status *and* its body is one of the three shapes of Kalshi's errors: what a gateway in between says
proves nothing about the exchange behind it. 429 is the exception, since the exchange sends it before it looks
at a request. All else is unknown and has to be asked for.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.venues.kalshi.account_models import Problem

MAX_TEXT: Final = 300


class Verdict(enum.Enum):
    """What became of a request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # surely not carried out
    UNKNOWN = "unknown"  # carried out or not
    NOT_SENT = "not_sent"  # its bytes surely never left


class Outcome(NamedTuple):
    """A verdict with its reason: `why` is a word of `kernels.dtypes.WHY_NAMES`, `text` the venue's own."""

    verdict: Verdict
    why: str = "none"
    code: str = ""
    text: str = ""


ACCEPTED: Final = Outcome(Verdict.ACCEPTED)

REFUSING: Final = frozenset({400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431})
RATE_LIMITED: Final = 429

# 409 is a proof only by its code: an order that "already exists" is one of ours whose answer was lost.
ALREADY_EXISTS: Final = "order_already_exists"
_CONFLICTS: Final[Mapping[str, str]] = {
    "fill_or_kill_insufficient_resting_volume": "unfilled_ioc",
    "trading_is_paused": "not_active",
    "exchange_is_paused": "not_active",
}

# Kalshi's codes, and words of its details, to ours. Details are looked at first: codes are coarse.
_DETAILS: Final[tuple[tuple[str, str], ...]] = (
    ("post only cross", "post_only_cross"),
    ("post_only_cross", "post_only_cross"),
    ("market_inactive", "not_active"),
    ("market inactive", "not_active"),
    ("market is not active", "not_active"),
    ("trading is paused", "not_active"),
    ("trading_paused", "not_active"),
    ("exchange is paused", "not_active"),
    ("market_closed", "closed"),
    ("market closed", "closed"),
    ("self trade", "self_trade"),
    ("self_trade", "self_trade"),
    ("insufficient balance", "no_cash"),
    ("insufficient_balance", "no_cash"),
    ("insufficient funds", "no_cash"),
    ("balance too low", "no_cash"),
    ("tick size", "off_grid"),
    ("tick_size", "off_grid"),
    ("invalid tick", "off_grid"),
    ("price_ranges", "off_grid"),
    ("invalid price", "off_grid"),
    ("expiration", "expired"),
    ("expired", "expired"),
)
_CODES: Final[Mapping[str, str]] = {
    "insufficient_balance": "no_cash",
    "available_balance_too_low": "no_cash",
    "invalid_order_size": "min_size",
    "invalid_price": "off_grid",
    "market_not_found": "not_active",
    "market_inactive": "not_active",
    "trading_paused": "not_active",
    "exchange_paused": "not_active",
    "market_closed": "closed",
    "user_not_found": "no_cash",  # the account has nothing on this shard
    "not_found": "unknown_order",
    "order_not_found": "unknown_order",
    "too_many_requests": "rate_limit",
}


def problem_of(body: bytes) -> Problem | None:
    """The error that a body states, in any of Kalshi's shapes; None: it is none of them.

    {"error": {"code", "message", "details"?}}, {"code", "message", "details"?}, {"msg"}, {"error": "text"}.
    """
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    inner = value.get("error", value)
    if isinstance(inner, str):
        return Problem(message=inner[:MAX_TEXT])
    if not isinstance(inner, dict):
        return None
    code, message, words = (_text(inner.get(key)) for key in ("code", "message", "msg"))
    if not (code or message or words):
        return None
    return Problem(code=code, message=message or words, details=_text(inner.get("details")))


def _text(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else "" if value is None else str(value)[:MAX_TEXT]


def names_group(outcome: Outcome) -> bool:
    """Whether a refusal is about the order's group: it has fired, or is gone."""
    said = outcome.text.lower()
    return outcome.verdict is Verdict.REFUSED and ("order group" in said or "order_group" in said)


def words_of(problem: Problem) -> str:
    """What the venue says, for a log or a person."""
    parts = (problem.code, problem.message, problem.details)
    return ": ".join(dict.fromkeys(part for part in parts if part))


def why_of(problem: Problem) -> str:
    """Our word for a refusal; "none" where Kalshi's says nothing that we know."""
    said = f"{problem.details} {problem.message}".lower()
    for words, why in _DETAILS:
        if words in said:
            return why
    code = problem.code.lower()
    return _CODES.get(code, next((why for words, why in _DETAILS if words in code), "none"))


def judge(status: int, body: bytes) -> Outcome:
    """What an answer to a request that changes something means."""
    if 200 <= status < 300:
        return ACCEPTED
    problem = problem_of(body)
    text = words_of(problem) if problem else f"HTTP {status}"
    code = problem.code if problem else ""
    if status == RATE_LIMITED:
        return Outcome(Verdict.REFUSED, "rate_limit", code, text)
    if problem is None:
        return Outcome(Verdict.UNKNOWN, "none", "", f"HTTP {status} without a reason")
    if status == 409 and code in _CONFLICTS:
        return Outcome(Verdict.REFUSED, _CONFLICTS[code], code, text)
    if status in REFUSING:
        return Outcome(Verdict.REFUSED, why_of(problem), code, text)
    return Outcome(Verdict.UNKNOWN, "none", code, f"HTTP {status}: {text}")


def judge_item(problem: Problem) -> Outcome:
    """What the error of one order in a batch means: the batch was answered, so the exchange speaks."""
    if problem.code == ALREADY_EXISTS:
        return Outcome(Verdict.UNKNOWN, "none", problem.code, words_of(problem))
    lost = ("internal", "timeout", "unavailable", "service")
    if not problem.code or any(word in problem.code.lower() for word in lost):
        return Outcome(Verdict.UNKNOWN, "none", problem.code, words_of(problem))
    why = _CONFLICTS.get(problem.code) or why_of(problem)
    return Outcome(Verdict.REFUSED, why, problem.code, words_of(problem))
